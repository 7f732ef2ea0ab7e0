"""Dying in the middle of a write: for processes that tests and the fault script start and resume.

What happens is what the library does, up to the chosen moment: the temporary file that a death
leaves behind is the real one.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lthlib import records

MOMENTS = ("half", "whole", "renamed")
"""Half of the file is written; all of it, not yet in its place; all of it, in its place."""


def die(*_: object) -> None:
    """What `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def full(*_: object) -> None:
    """What a full disk does."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def die_in_write(limit: int, moment: str = "half") -> None:
    """From now on, die in the `limit`-th file that records write, at one of MOMENTS."""
    _stop_in_write(limit, moment, die)


def fill_disk_in_write(limit: int) -> None:
    """From now on, the disk is full halfway through the `limit`-th file, and for all after it."""
    _stop_in_write(limit, "half", full)


def die_in_removal(limit: int) -> None:
    """From now on, die once `limit` files of the first folder that records remove are gone."""

    def rmtree(path: str, **_: Any) -> None:
        for file in [p for p in sorted(Path(path).rglob("*")) if p.is_file()][:limit]:
            file.unlink()
        die()

    setattr(shutil, "rmtree", rmtree)  # noqa: B010  (a function is put in another's place)


def _stop_in_write(limit: int, moment: str, stop: Callable[..., None]) -> None:
    if moment not in MOMENTS:
        raise ValueError(f"{moment!r} is none of {', '.join(MOMENTS)}")
    real, sync, count = records.write_atomically, os.fsync, 0

    def write(path: Path, data: bytes) -> None:
        nonlocal count
        count += 1
        if count < limit:
            real(path, data)
        elif moment == "renamed":
            real(path, data)
            stop()
        else:
            # The library syncs a file once it is written and before it is put into its place.
            os.fsync = stop
            try:
                real(path, data[: len(data) // 2] if moment == "half" else data)
            finally:
                os.fsync = sync

    records.write_atomically = write
