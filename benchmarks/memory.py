"""How much memory a block of code takes at most, beside the page cache (Linux)."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def tree_bytes() -> int:
    """Memory of this process and of all that it started that is no file's (Linux)."""
    found, waiting = 0, [os.getpid()]
    while waiting:
        process = waiting.pop()
        # A process may end between two looks at it.
        with suppress(OSError, StopIteration):
            status = Path(f"/proc/{process}/status").read_text().splitlines()
            anonymous = next(line for line in status if line.startswith("RssAnon:"))
            found += int(anonymous.split()[1]) * 1024
            for task in Path(f"/proc/{process}/task").iterdir():
                waiting += [int(child) for child in (task / "children").read_text().split()]
    return found


@contextmanager
def watched() -> Iterator[dict[str, float]]:
    """Seconds that the block takes, and the most memory of this process and its children."""
    found = {"peak_bytes": float(tree_bytes()), "seconds": 0.0}
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            found["peak_bytes"] = max(found["peak_bytes"], tree_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    try:
        yield found
    finally:
        found["seconds"] = time.perf_counter() - began
        over.set()
        watcher.join()
