"""Snakemake in a process that does not outlive the command that started it.

python -m lthlib.workflow.grid.snake PARENT SIGNAL ARGUMENTS-OF-SNAKEMAKE
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

POLL_SECONDS = 1.0


def end_with(parent: int, way: int) -> None:
    """Once the parent has died, send a signal to Snakemake and its local jobs: one group."""
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    os.killpg(os.getpgid(0), way)


def main() -> None:
    parent, way, *arguments = sys.argv[1:]
    # A shell lets what it starts in the background ignore interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=end_with, args=(int(parent), int(way)), daemon=True).start()
    from snakemake.cli import main as snakemake

    snakemake(arguments)


if __name__ == "__main__":
    main()
