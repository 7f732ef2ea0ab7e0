"""How a task on published data is read, before any tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Parts = Mapping[str, pd.DataFrame]
"""By part: `item` (unique), `text`, `image` (its name in a store), a column for each decision."""
Patches = tuple[NDArray[np.float32], NDArray[np.float32]]

VALIDATION_SHARE = 0.1
"""Of a published training part that comes without a validation part."""
CARVED = {"train": 1 - VALIDATION_SHARE, "validation": VALIDATION_SHARE}


@dataclass(frozen=True)
class Source:
    """A task's parts, its decisions, tokens of a text, classes, and facts to keep.

    Facts go into records, which may be shipped: Open-I's licence keeps its reports out of them.
    credits: of an item's classes, how many may be worth something (columns class_0, worth_0, ...);
    0 where an answer is right or wrong. patches: regions of plain pixels, features [N, R, D] and
    boxes [R, 4], of the images at N rows, which the column `pixels` gives.
    """

    read: Callable[[Path], Parts]
    decisions: tuple[str, ...] = ("label",)
    width: int = 24
    facts: tuple[str, ...] = ("item", "text", "image", "relation")
    classes: tuple[str, ...] = ("False", "True")
    credits: int = 0
    patches: Callable[[NDArray[np.int64]], Patches] | None = None


Open = Callable[[Path], Source]
"""A task whose classes are told by the files of its data folder."""
