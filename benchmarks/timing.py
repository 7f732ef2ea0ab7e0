"""Timing side by side: A B A B, so that a machine that slows down slows both."""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch


def interleave(
    ways: Mapping[str, Callable[[], object]], repeats: int, warm_up: int = 1
) -> dict[str, list[float]]:
    """Seconds of each way, each run `repeats` times in turn after `warm_up` uncounted turns.

    A way that returns a float has timed itself: what it does before and after does not count.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(warm_up + repeats):
        for name, way in ways.items():
            began = time.perf_counter()
            own = way()
            spent = own if isinstance(own, float) else time.perf_counter() - began
            if turn >= warm_up:
                seconds[name].append(spent)
    return seconds


def compare(seconds: Mapping[str, list[float]], ours: str, theirs: str) -> dict[str, float]:
    """Ratio ours / theirs of minima and of medians, and the spread of the ratios turn by turn."""
    a, b = seconds[ours], seconds[theirs]
    ratios = sorted(x / y for x, y in zip(a, b, strict=True))
    return {
        "ratio_of_minima": min(a) / min(b),
        "ratio_of_medians": statistics.median(a) / statistics.median(b),
        "lowest_ratio": ratios[0],
        "highest_ratio": ratios[-1],
    }


def summary(seconds: Mapping[str, list[float]]) -> dict[str, dict[str, float]]:
    """Minimum and median of each way, in seconds."""
    return {
        name: {"min": min(values), "median": statistics.median(values), "repeats": len(values)}
        for name, values in seconds.items()
    }


def _measure(function: Callable[..., object], arguments: tuple[Any, ...], pipe: Any) -> None:
    torch.set_num_threads(1)  # as in the parent, which a spawned process does not inherit
    function(*arguments)
    pipe.send(_own_peak())


def _own_peak() -> int:
    """Largest resident memory of this process so far, in bytes.

    On Linux from VmHWM: a spawned process inherits its parent's `ru_maxrss`.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def peak_bytes(function: Callable[..., object], *arguments: Any) -> int:
    """Largest resident memory of a fresh process that calls the function (of a module)."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(function, arguments, sender))
    process.start()
    sender.close()
    try:
        peak = int(receiver.recv())
    except EOFError:
        raise RuntimeError(f"{function.__name__}{arguments} died before it was measured") from None
    process.join()
    return peak
