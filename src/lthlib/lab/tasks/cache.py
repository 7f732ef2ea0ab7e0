"""Made items on disk: found again by name, checked by digest, replaced in one step."""

from __future__ import annotations

import hashlib
import io
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lthlib.lab.tasks.items import Items
from lthlib.records import write_atomically

_DIGEST = hashlib.sha256().digest_size


def default_folder() -> Path:
    """Where made items are kept: $LTHLIB_CACHE, else `lthlib` in the user's cache folder."""
    if chosen := os.environ.get("LTHLIB_CACHE"):
        return Path(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "lthlib"


def cached(path: Path, make: Callable[[], Items]) -> Items:
    """The items kept at `path`; made, and kept there, if the file is missing or damaged.

    A folder that cannot be written costs a warning and the time to make the items again.
    """
    items = _read(path)
    if items is None:
        items = make()
        try:
            _write(path, items)
        except OSError as error:
            warnings.warn(
                f"items are not kept for the next time: {error}; "
                "set LTHLIB_CACHE to a folder that can be written",
                stacklevel=2,
            )
    return items


def _read(path: Path) -> Items | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, body = content[:_DIGEST], content[_DIGEST:]
    if hashlib.sha256(body).digest() != digest:
        return None
    with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
        return Items.from_arrays(dict(arrays))


def _write(path: Path, items: Items) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **items.arrays())  # type: ignore[arg-type]
    body = buffer.getvalue()
    write_atomically(path, hashlib.sha256(body).digest() + body)
