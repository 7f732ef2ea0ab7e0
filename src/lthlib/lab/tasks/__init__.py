"""The tasks by name: made from a seed and kept on disk, or read from a folder of published data."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from lthlib.errors import TaskError, unknown
from lthlib.lab.cache import default_folder
from lthlib.lab.tasks import digit_reports, digits, published, vocabulary
from lthlib.lab.tasks.cache import cached
from lthlib.lab.tasks.inputs import Inputs, Split, Task
from lthlib.lab.tasks.items import Items, Recipe
from lthlib.lab.tasks.scenes import CROP, Part, Scenes
from lthlib.lab.tasks.scenes import render as render_scenes
from lthlib.lab.wordpieces import WordPieces

__all__ = ["TASKS", "Inputs", "Split", "Task", "load", "render"]

_RECIPES = {recipe.name: recipe for recipe in (digits.RECIPE, digit_reports.RECIPE)}
TASKS = tuple(_RECIPES)
"""Those that are made; `published.NAMES` are the others."""
MOST = 200_000  # items of one part; as many take about a gigabyte


def load(
    name: str,
    *,
    data_seed: int = 0,
    train_items: int | None = None,
    validation_items: int | None = None,
    test_items: int | None = None,
    cache: Path | str | None = None,
    features: str | None = None,
    pieces: WordPieces | None = None,
    folder: Path | str | None = None,
) -> Task:
    """The task `name`, made from `data_seed` or found in the folder `cache`.

    Counts left out are the task's own (8,000, 800 and 1,600). The same arguments give the same
    items everywhere. The three parts share no digit image, whatever the seeds. Published tasks
    come from the data folder instead, with the region features that are named
    (:func:`lthlib.lab.tasks.published.load`). pieces: how to split texts; whole words unless given.
    folder: the data folder, in place of the usual one.
    Raises TaskError for an unknown name, a seed below 0, or a count that cannot be.
    """
    own = name.startswith(published.OWN)
    if not own and name not in (known := (*TASKS, *published.NAMES)):
        raise TaskError(unknown("task", name, known))
    asked = {"train": train_items, "validation": validation_items, "test": test_items}
    if own or name not in TASKS:
        return published.load(name, features=features, items=asked, pieces=pieces, folder=folder)
    if not _whole(data_seed) or data_seed < 0:
        raise TaskError(f"data_seed must be a whole number from 0, not {data_seed!r}")
    recipe = _RECIPES[name]
    place = default_folder() if cache is None else Path(cache)
    counts = {part: _count(recipe, cast(Part, part), value) for part, value in asked.items()}
    splits = {
        part: _split(recipe, cast(Part, part), n, data_seed, place, pieces)
        for part, n in counts.items()
    }
    return Task(
        name=name,
        kind=recipe.kind,
        decisions=recipe.decisions,
        classes=recipe.classes,
        vocabulary=pieces.words if pieces else vocabulary.vocabulary(),
        feature_dim=CROP * CROP,
        **splits,
    )


def render(split: Split, item: int) -> NDArray[np.float32]:
    """The canvas [64, 64] of an item, 0 (paper) to 1 (ink), drawn again from its facts."""
    row = split.facts.iloc[[item]]
    drawn = Scenes(*(np.array(row[field.name].tolist()) for field in fields(Scenes)))
    return cast(NDArray[np.float32], render_scenes(drawn)[0].astype(np.float32) / np.float32(255))


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _count(recipe: Recipe, part: Part, asked: int | None) -> int:
    if asked is None:
        return recipe.counts[part]
    if not _whole(asked) or not 1 <= asked <= MOST:
        raise TaskError(f"{part}_items must be a whole number from 1 to {MOST}, not {asked!r}")
    if asked % recipe.step:
        raise TaskError(
            f"{part}_items must be even for {recipe.name}, not {asked}: "
            "each caption comes with a scene of which it is true and one of which it is false"
        )
    return asked


def _split(
    recipe: Recipe, part: Part, count: int, seed: int, folder: Path, pieces: WordPieces | None
) -> Split:
    key = json.dumps([recipe.name, recipe.version, part, count, seed])
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    path = folder / f"{recipe.name}-{part}-{digest}.npz"
    items = cached(path, lambda: recipe.make(part, count, seed))
    names = tuple(f"{part}-{i:06d}" for i in range(count))
    encode = pieces.encode if pieces else vocabulary.encode
    ids = torch.from_numpy(encode(items.text.tolist(), recipe.width))
    return Split(names, _inputs(items, ids), torch.from_numpy(items.labels), _facts(names, items))


def _inputs(items: Items, ids: torch.Tensor) -> Inputs:
    regions = items.regions
    return Inputs(
        input_ids=ids,
        text_mask=ids != vocabulary.PAD,
        region_features=torch.from_numpy(regions.region_features),
        boxes=torch.from_numpy(regions.unit_boxes),
        region_mask=torch.from_numpy(regions.mask),
    )


def _facts(names: tuple[str, ...], items: Items) -> pd.DataFrame:
    columns = {"item": list(names), "text": items.text.tolist()}
    columns |= {name: column.tolist() for name, column in items.facts.items()}
    columns |= {field.name: list(getattr(items.scenes, field.name)) for field in fields(Scenes)}
    return pd.DataFrame(columns | {"region_label": list(items.regions.label)})
