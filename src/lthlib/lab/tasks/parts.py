"""Parts of a task that share nothing which would give answers away."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import pandas as pd

PARTS = ("train", "validation", "test")
SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}  # as VSR's authors split it


def by_group(
    table: pd.DataFrame, groups: pd.Series[str], shares: Mapping[str, float]
) -> dict[str, pd.DataFrame]:
    """Parts of about these shares such that no group is in two of them.

    Groups follow one another in the order of their SHA-256, which depends on nothing but their
    names, and fill part after part.
    """
    order = sorted(groups.unique(), key=lambda group: hashlib.sha256(group.encode()).digest())
    sizes = groups.value_counts()
    reached = np.cumsum([sizes[group] for group in order]) / len(table)
    ends = np.cumsum(list(shares.values()))
    part_of = {
        group: list(shares)[int(np.searchsorted(ends[:-1], share, side="left"))]
        for group, share in zip(order, reached, strict=True)
    }
    parts = groups.map(part_of)
    return {part: table[parts == part].reset_index(drop=True) for part in shares}
