"""Made items on disk: found again by name."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lthlib.lab.cache import keep, kept
from lthlib.lab.tasks.items import Items


def cached(path: Path, make: Callable[[], Items]) -> Items:
    """The items kept at `path`; made, and kept there, if the file is missing or damaged."""
    body = kept(path)
    if body is None:
        items = make()
        buffer = io.BytesIO()
        np.savez(buffer, **items.arrays())  # type: ignore[arg-type]
        keep(path, buffer.getvalue())
        return items
    with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
        return Items.from_arrays(dict(arrays))
