"""Processes of the fault script: found by a mark in their environment, killed by their number.

A mark is found in all descendants, those too whose parents are dead. Linux only (/proc).
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar

MARK = "LTH_FAULTS_MARK"
Found = TypeVar("Found")
POLL_SECONDS = 0.03
TICKS = os.sysconf("SC_CLK_TCK")


def living(mark: str) -> dict[int, str]:
    """What each living process with this mark is: worker, kernel, helper, or other."""
    found, wanted = {}, f"{MARK}={mark}".encode()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    found[int(folder.name)] = _role(command)
    return found


def _role(command: str) -> str:
    if "resource_tracker" in command:
        return "helper"
    if "spawn_main" in command:
        return "worker"
    return "kernel" if "ipykernel_launcher" in command else "other"


def in_role(mark: str, role: str) -> list[int]:
    return sorted(pid for pid, its in living(mark).items() if its == role)


def work_of(pid: int) -> float:
    """Processor seconds of a process and of its children that have ended; 0 once it is gone.

    Unlike the time on the wall they hardly depend on what else the machine does, so that a share of
    them is the same moment of a study each time.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    # After the name, which may hold anything: fields 14 to 17 of proc(5).
    return sum(map(int, text.rpartition(")")[2].split()[11:15])) / TICKS


def work_done(mark: str, without: Collection[int] = ()) -> float:
    """The same of all living processes with a mark, but for some."""
    return sum(work_of(pid) for pid in living(mark) if pid not in without)


def kill(pid: int) -> bool:
    """SIGKILL; False where there is no such process any more."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition: Callable[[], Found | None], seconds: float) -> Found | None:
    """The first true value of the condition; None when the time is up."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            return None
        time.sleep(POLL_SECONDS)
    return found


def end_all(mark: str, seconds: float = 15.0) -> list[str]:
    """Wait for all processes with this mark; kills what is left then, and says what it was."""
    if wait_until(lambda: not living(mark), seconds):
        return []
    left = living(mark)
    for pid in left:
        kill(pid)
    wait_until(lambda: not living(mark), seconds)
    return [f"a {role} outlived its study by {seconds:.0f} s" for role in left.values()]
