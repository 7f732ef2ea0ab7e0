"""Tasks on image sets: one question for all images, and one class for each.

Of small images the regions are squares of plain pixels; CUB's come from a store. Without
looking, no model can do better than the most frequent class: the text says nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lthlib.lab.pictures import Cub, Pictures, patches, read_cifar, read_cub, read_mnist
from lthlib.lab.tasks.parts import by_group
from lthlib.lab.tasks.source import CARVED, Open, Parts, Source

WIDTH = 8
LEAST_PRESENT = 50
"""Training images that must show an attribute of CUB for it to be asked for."""
BIRD = "Which bird is it?"


def _small(read: Callable[[Path], Pictures], text: str, side: int, root: Path) -> Source:
    """Images that are small enough to be held, cut into squares of `side` pixels."""
    found = read(root)
    rows = np.arange(len(found.labels))
    table = pd.DataFrame({"text": text, "label": found.labels, "pixels": rows})
    table["class"] = np.array(found.classes)[found.labels]
    parts = _carved(table, rows < found.train)
    return Source(
        lambda _: parts,
        width=WIDTH,
        facts=("item", "class"),
        classes=found.classes,
        patches=lambda at: patches(found.pixels[at], side),
    )


def _carved(table: pd.DataFrame, train: Any) -> Parts:
    """Train, validation (a tenth of the published training part) and test, with unique names."""
    named = {}
    for part, own in (("train", table[train]), ("test", table[~train])):
        names = [f"{part}-{i:05d}" for i in range(len(own))]
        named[part] = own.assign(item=names, image=own.get("image", names))
    return {**by_group(named["train"], named["train"]["item"], CARVED), "test": named["test"]}


def _birds(found: Cub) -> Parts:
    named = found.images.assign(text=BIRD)
    named["class"] = np.array(found.classes)[named["label"]]
    return _carved(named, named["train"].to_numpy())


def _cub(root: Path) -> Source:
    """Which of 200 birds it is; facts hold the bird's box, in pixels."""
    found = read_cub(root)
    parts = _birds(found)
    facts = ("item", "image", "class", "x", "y", "width", "height")
    return Source(lambda _: parts, width=WIDTH, facts=facts, classes=found.classes)


def _cub_attributes(root: Path) -> Source:
    """What can be seen of the bird: attributes that at least 50 training images show."""
    found = read_cub(root)
    shown = found.attributes[found.images["train"]].sum()
    asked = tuple(shown.index[shown >= LEAST_PRESENT])
    images = pd.concat([found.images, found.attributes[[*asked]].astype(int)], axis=1)
    parts = _carved(images.assign(text=BIRD), images["train"].to_numpy())
    return Source(lambda _: parts, decisions=asked, width=WIDTH, facts=("item", "image"))


PICTURES: dict[str, Open] = {
    "mnist": partial(_small, read_mnist, "Which digit is it?", 7),
    "cifar-10": partial(_small, partial(read_cifar, name="cifar-10"), "What is it?", 8),
    "cifar-100": partial(_small, partial(read_cifar, name="cifar-100"), "What is it?", 8),
    "cub": _cub,
    "cub-attributes": _cub_attributes,
}
