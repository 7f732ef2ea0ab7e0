"""Tasks on published data: captions, reports, questions and image sets, with or without regions.

The files lie in a data folder (see :mod:`lthlib.lab.corpora`, :mod:`lthlib.lab.vqa` and
:mod:`lthlib.lab.pictures`); regions lie in a store below it,

    features/NAME/    a store of region features: VSR's by image file, Open-I's by report

Without a store a task can only be blind, but for small images, whose regions are their pixels.
Parts never share what would give answers away: VSR's are its authors', or grouped by caption;
Open-I's validation part is carved from its training reports, of which each is of another patient.
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
from lthlib.lab.cache import default_folder
from lthlib.lab.features.store import RegionStore
from lthlib.lab.tasks import vocabulary
from lthlib.lab.tasks.inputs import Credits, Inputs, Split, StoredInputs, Task, blank_regions
from lthlib.lab.tasks.own import read_own, table_file
from lthlib.lab.tasks.parts import PARTS, SHARES, by_group
from lthlib.lab.tasks.pictures import PICTURES
from lthlib.lab.tasks.source import CARVED, Open, Parts, Patches, Source
from lthlib.lab.tasks.vqa import QUESTIONS
from lthlib.lab.wordpieces import WordPieces

OWN = "own-"
LEAST_SEEN = 2
"""Training texts that a word must be in to have an id of its own."""

Encode = Callable[[Sequence[str], int], NDArray[np.int64]]


def data_folder(chosen: Path | str | None = None) -> Path:
    """Where published data lies: `chosen`, else $LTHLIB_DATA, else `data` in the cache folder."""
    folder = Path(chosen or os.environ.get("LTHLIB_DATA") or default_folder() / "data")
    if folder.is_file():
        raise TaskError(f"{folder} is no folder for data: name one, which need not exist yet")
    return folder


def load(
    name: str,
    *,
    features: str | None = None,
    folder: Path | str | None = None,
    items: Mapping[str, int | None] | None = None,
    pieces: WordPieces | None = None,
) -> Task:
    """A task of `NAMES` from a data folder, or `own-NAME`: see :mod:`lthlib.lab.tasks.own`.

    features: name of a store of region features there; without one every item has one blank
    region, or its pixels. items: how many items of a part to take at the most, the first in a
    shuffled order.
    Raises TaskError for files that are missing or damaged, FeatureError for a store that is, or
    that lacks an image.
    """
    root = data_folder(folder)
    source = open_source(name, root)
    store = RegionStore(root / "features" / features) if features else None
    parts = {
        part: _some(table, (items or {}).get(part)) for part, table in source.read(root).items()
    }
    if store is not None:
        parts = _placed(parts, store)
    words = pieces.words if pieces else vocabulary_of(parts["train"]["text"])

    def encode(texts: Sequence[str], width: int) -> NDArray[np.int64]:
        if pieces:
            return pieces.encode(texts, width)
        return vocabulary.encode(texts, width, words)

    splits = {part: _split(table, source, encode, store) for part, table in parts.items()}
    return Task(
        name=name,
        kind="single" if source.decisions == ("label",) else "multi",
        decisions=source.decisions,
        classes=source.classes,
        vocabulary=words,
        feature_dim=splits["train"].inputs.take(slice(0, 1)).region_features.shape[2],
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


def _split(table: pd.DataFrame, source: Source, encode: Encode, store: RegionStore | None) -> Split:
    ids = torch.from_numpy(encode(table["text"].tolist(), source.width))
    mask = ids != vocabulary.PAD
    inputs: Inputs | StoredInputs
    if store is not None:
        inputs = StoredInputs(ids, mask, torch.tensor(table["row"].to_numpy()), store)
    elif source.patches is not None:
        inputs = _of_pixels(ids, mask, source.patches(table["pixels"].to_numpy()))
    else:
        inputs = blank_regions(ids, mask)
    labels = torch.tensor(table[list(source.decisions)].to_numpy(dtype=np.int64))
    facts = table[[c for c in source.facts if c in table]].reset_index(drop=True)
    return Split(tuple(table["item"]), inputs, labels, facts, _credits(table, source.credits))


def _of_pixels(ids: torch.Tensor, mask: torch.Tensor, patches: Patches) -> Inputs:
    features, boxes = patches
    return Inputs(
        input_ids=ids,
        text_mask=mask,
        region_features=torch.from_numpy(features),
        boxes=torch.from_numpy(boxes).expand(len(ids), *boxes.shape),
        region_mask=torch.ones(1, 1, dtype=torch.bool).expand(len(ids), len(boxes)),
    )


def _credits(table: pd.DataFrame, slots: int) -> Credits | None:
    if not slots:
        return None
    classes, worth = (
        torch.tensor(table[[f"{name}_{i}" for i in range(slots)]].to_numpy())
        for name in ("class", "worth")
    )
    return Credits(classes, worth)


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
    carved = by_group(found["train"], found["train"]["report"], CARVED)
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


def _own(name: str, root: Path) -> Source:
    parts, classes = read_own(table_file(root, name))
    return Source(lambda _: parts, width=64, classes=classes)


PUBLISHED: dict[str, Source] = {
    "vsr-v1-random": Source(_vsr("v1", "random")),
    "vsr-v1-zeroshot": Source(_vsr("v1", "zeroshot")),
    "vsr-random": Source(_vsr("current", "random")),
    "vsr-zeroshot": Source(_vsr("current", "zeroshot")),
    "vsr-grouped": Source(_vsr_grouped),
    "open-i": Source(_openi, corpora.OPENI_FINDINGS, 64, ("item",)),
}
_OPEN: Mapping[str, Open] = {**QUESTIONS, **PICTURES}
NAMES = (*PUBLISHED, *_OPEN)


def open_source(name: str, root: Path) -> Source:
    """How a task of `NAMES`, or `own-NAME`, is read from a data folder.

    Raises TaskError for files that are missing or damaged, where its classes lie in them.
    """
    if name in PUBLISHED:
        return PUBLISHED[name]
    return _OPEN[name](root) if name in _OPEN else _own(name.removeprefix(OWN), root)
