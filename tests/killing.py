"""Dying in the middle: for scripts that tests start, to be resumed by the tests."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from lthlib import records


def die(*_: object) -> None:
    """What `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_in_write(limit: int) -> None:
    """From now on, die halfway through the `limit`-th file that records write."""
    real, count = records.write_atomically, 0

    def write(path: Path, data: bytes) -> None:
        nonlocal count
        count += 1
        if count == limit:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_name(f".{path.name}.half").write_bytes(data[: len(data) // 2])
            die()
        real(path, data)

    records.write_atomically = write
