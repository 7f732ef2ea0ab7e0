"""Regions made up so that they follow the captions: to check that real text can be learned from.

For a known share of items the subject's box lies on the side that the caption asks for, where it is
true, and on the other side, where it is false; for the rest the side is drawn at random. So a
model that reads words and boxes together can reach share + (1 - share) / 2, and one that reads
either alone stays at chance: the sides mean opposite things for half of the relations.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from lthlib.lab.features.regions import Floats, ImageRegions
from lthlib.lab.features.store import Plan, RegionStore, StoreWriter

REGIONS, FEATURE_DIM = 4, 16
SUBJECT, OBJECT = 0, 1
STRENGTH = 30.0
"""About the length of a detector's features: VisualBERT adds them, projected by small weights and
not normed, to positions that are, and would not tell subject from object by shorter ones."""


def follow_captions(
    items: pd.DataFrame, folder: Path, *, share: float, seed: int = 0
) -> RegionStore:
    """A store with regions of each item: subject, object, and two that mean nothing.

    items: columns item, relation and label (0 or 1). Features say which region is the subject and
    which the object, in two of their numbers, and are noise otherwise.
    """
    draw = np.random.default_rng(seed)
    follows = draw.random(len(items)) < share
    said = items["label"].to_numpy(dtype=bool) ^ items["relation"].map(_reversed).to_numpy()
    left = np.where(follows, said, draw.random(len(items)) < 0.5)
    plan = Plan(tuple(items["item"]), REGIONS, FEATURE_DIM, f"made up: {share:.0%} follow, {seed=}")
    with StoreWriter(folder, plan) as writer:
        for item, subject_left in zip(items["item"], left, strict=True):
            writer.put(ImageRegions(item, _features(draw), _boxes(draw, bool(subject_left))))
        return writer.finish()


def _reversed(relation: str) -> bool:
    """Half of the relations, by their name: there, true means that the subject is on the right."""
    return hashlib.sha256(relation.encode()).digest()[0] % 2 == 1


def _features(draw: np.random.Generator) -> Floats:
    features = draw.normal(0, 0.1, (REGIONS, FEATURE_DIM)).astype(np.float32)
    features[SUBJECT, 0] += 1
    features[OBJECT, 1] += 1
    return np.float32(STRENGTH) * features


def _boxes(draw: np.random.Generator, subject_left: bool) -> Floats:
    """[R, 4] as shares of the image; subject and object each in one half of it."""
    sides = draw.uniform(0.15, 0.3, (REGIONS, 2))
    corners = draw.uniform(0, 1 - sides)
    for region, on_left in ((SUBJECT, subject_left), (OBJECT, not subject_left)):
        corners[region, 0] = draw.uniform(0, 0.2) + (0 if on_left else 0.5)
    return np.hstack([corners, corners + sides]).astype(np.float32)
