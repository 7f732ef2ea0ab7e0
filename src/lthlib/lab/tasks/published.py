"""Tasks on published data: VSR's captions and Open-I's reports, with or without their regions.

The files lie in a data folder (see :mod:`lthlib.lab.corpora`); regions lie in a store below it,

    features/NAME/    a store of region features: VSR's by image file, Open-I's by report

Without a store a task can only be blind. Parts never share what would give answers away: VSR's
are its authors', or grouped by caption; Open-I's validation part is carved from its training
reports, of which each is of another patient.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from lthlib.errors import TaskError
from lthlib.lab import corpora
from lthlib.lab.features.store import RegionStore
from lthlib.lab.tasks import vocabulary
from lthlib.lab.tasks.cache import default_folder
from lthlib.lab.tasks.inputs import Inputs, Split, StoredInputs, Task, blank_regions
from lthlib.lab.tasks.own import read_own, table_file
from lthlib.lab.tasks.parts import PARTS, SHARES, by_group
from lthlib.lab.wordpieces import WordPieces

OWN = "own-"
LEAST_SEEN = 2
"""Training texts that a word must be in to have an id of its own."""
VALIDATION_SHARE = 0.1

Encode = Callable[[Sequence[str], int], NDArray[np.int64]]
Parts = Mapping[str, pd.DataFrame]
"""By part: `item` (unique), `text`, `image` (its name in a store), a column for each decision."""


def data_folder(chosen: Path | str | None = None) -> Path:
    """Where published data lies: `chosen`, else $LTHLIB_DATA, else `data` in the cache folder."""
    return Path(chosen or os.environ.get("LTHLIB_DATA") or default_folder() / "data")


def load(
    name: str,
    *,
    features: str | None = None,
    folder: Path | str | None = None,
    items: Mapping[str, int | None] | None = None,
    pieces: WordPieces | None = None,
) -> Task:
    """A task of `PUBLISHED` from a data folder, or `own-NAME`: see :mod:`lthlib.lab.tasks.own`.

    features: name of a store of region features there; without one every item has one blank
    region. items: how many items of a part to take at the most, the first in a shuffled order.
    Raises TaskError for files that are missing or damaged, FeatureError for a store that is, or
    that lacks an image.
    """
    root = data_folder(folder)
    recipe = PUBLISHED[name] if name in PUBLISHED else _own(name.removeprefix(OWN), root)
    store = RegionStore(root / "features" / features) if features else None
    parts = {
        part: _some(table, (items or {}).get(part)) for part, table in recipe.read(root).items()
    }
    if store is not None:
        parts = _placed(parts, store)
    words = pieces.words if pieces else vocabulary_of(parts["train"]["text"])

    def encode(texts: Sequence[str], width: int) -> NDArray[np.int64]:
        if pieces:
            return pieces.encode(texts, width)
        return vocabulary.encode(texts, width, words)

    splits = {part: _split(table, recipe, encode, store) for part, table in parts.items()}
    return Task(
        name=name,
        kind="single" if recipe.decisions == ("label",) else "multi",
        decisions=recipe.decisions,
        classes=recipe.classes,
        vocabulary=words,
        feature_dim=store.feature_dim if store else 1,
        **splits,
    )


def _placed(parts: Parts, store: RegionStore) -> dict[str, pd.DataFrame]:
    """The parts with each item's row of the store; all images that lack one are refused at once.

    A store may hold regions of each item rather than of each image.
    """
    every = pd.concat(parts.values(), keys=parts.keys())
    by_item = every["item"].iloc[0] in store
    every = every.assign(row=store.rows(every["item" if by_item else "image"]))
    return {str(part): own.droplevel(0) for part, own in every.groupby(level=0, sort=False)}


# -- text -----------------------------------------------------------------------------------------
def vocabulary_of(texts: Iterable[str]) -> tuple[str, ...]:
    """The five special tokens, then words of at least two texts: frequent first, then by letter."""
    counts = Counter(word for text in texts for word in set(vocabulary.words(text)))
    kept = sorted((w for w, n in counts.items() if n >= LEAST_SEEN), key=lambda w: (-counts[w], w))
    return (*vocabulary.vocabulary()[: vocabulary.UNK + 1], *kept)


def _split(
    table: pd.DataFrame, recipe: _Published, encode: Encode, store: RegionStore | None
) -> Split:
    ids = torch.from_numpy(encode(table["text"].tolist(), recipe.width))
    mask = ids != vocabulary.PAD
    inputs: Inputs | StoredInputs
    if store is None:
        inputs = blank_regions(ids, mask)
    else:
        inputs = StoredInputs(ids, mask, torch.tensor(table["row"].to_numpy()), store)
    labels = torch.tensor(table[list(recipe.decisions)].to_numpy(dtype=np.int64))
    facts = table[[c for c in recipe.facts if c in table]].reset_index(drop=True)
    return Split(tuple(table["item"]), inputs, labels, facts)


# -- parts ----------------------------------------------------------------------------------------
def _vsr(version: str, split: str) -> Callable[[Path], Parts]:
    def read(root: Path) -> Parts:
        found = corpora.read_vsr(root, version, split)
        return {
            part: _vsr_items(found[theirs], theirs)
            for part, theirs in zip(PARTS, ("train", "dev", "test"), strict=True)
        }

    return read


def _vsr_items(table: pd.DataFrame, part: str) -> pd.DataFrame:
    names = [f"{part}-{i:05d}" for i in range(len(table))]
    return table.assign(item=names)


def _vsr_grouped(root: Path) -> Parts:
    """The current random split's items, split anew so that no caption is in two parts."""
    found = corpora.read_vsr(root, "current", "random")
    table = pd.concat([_vsr_items(found[part], part) for part in found], ignore_index=True)
    groups = table["text"].map(_same)
    return by_group(table, groups, SHARES)


def _same(text: str) -> str:
    """A caption's words: what differs in spaces, case or its full stop is one caption."""
    return " ".join(re.findall(r"\w+", text.lower()))


def _openi(root: Path) -> Parts:
    found = {part: _openi_items(table) for part, table in corpora.read_openi(root).items()}
    shares = {"train": 1 - VALIDATION_SHARE, "validation": VALIDATION_SHARE}
    carved = by_group(found["train"], found["train"]["report"], shares)
    return {**carved, "test": found["test"]}


def _openi_items(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(item="report-" + table["report"].astype(str), image=table["report"])


def _some(table: pd.DataFrame, most: int | None) -> pd.DataFrame:
    """The first items in an order that is shuffled, and the same for any number of them."""
    if most is None:
        return table
    if most > len(table):
        raise TaskError(f"{most} items are asked for, and this part has {len(table)}")
    order = np.random.default_rng(0).permutation(len(table))[:most]
    return table.iloc[np.sort(order)].reset_index(drop=True)


class _Published:
    """How a published task is read: its parts, its decisions, tokens of a text, facts to keep.

    Facts go into records, which may be shipped: Open-I's licence keeps its reports out of them.
    """

    def __init__(
        self,
        read: Callable[[Path], Parts],
        decisions: Sequence[str] = ("label",),
        width: int = 24,
        facts: Sequence[str] = ("item", "text", "image", "relation"),
        classes: tuple[str, str] = ("False", "True"),
    ) -> None:
        self.read, self.decisions, self.classes = read, tuple(decisions), classes
        self.width, self.facts = width, tuple(facts)


def _own(name: str, root: Path) -> _Published:
    parts, classes = read_own(table_file(root, name))
    return _Published(lambda _: parts, width=64, classes=classes)


PUBLISHED: dict[str, _Published] = {
    "vsr-v1-random": _Published(_vsr("v1", "random")),
    "vsr-v1-zeroshot": _Published(_vsr("v1", "zeroshot")),
    "vsr-random": _Published(_vsr("current", "random")),
    "vsr-zeroshot": _Published(_vsr("current", "zeroshot")),
    "vsr-grouped": _Published(_vsr_grouped),
    "open-i": _Published(_openi, corpora.OPENI_FINDINGS, 64, ("item",)),
}
