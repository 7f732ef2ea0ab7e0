"""What was made or read once, on disk: found again by name, checked by digest, replaced whole."""

from __future__ import annotations

import hashlib
import os
import sys
import warnings
from pathlib import Path

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


def kept(path: Path) -> bytes | None:
    """What was kept at `path`; None where it is missing or damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, body = content[:_DIGEST], content[_DIGEST:]
    return body if hashlib.sha256(body).digest() == digest else None


def keep(path: Path, body: bytes) -> None:
    """Keep it at `path`.

    A folder that cannot be written costs a warning and the time to make it again.
    """
    try:
        write_atomically(path, hashlib.sha256(body).digest() + body)
    except OSError as error:
        warnings.warn(
            f"items are not kept for the next time: {error}; "
            "set LTHLIB_CACHE to a folder that can be written",
            stacklevel=3,
        )
