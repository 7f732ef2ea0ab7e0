"""Measure everything and write one JSON file that the book shows.

python -m benchmarks                  the full set (40 minutes on two cores, ten on a GPU)
python -m benchmarks --small          a check that everything runs (minutes)
python -m benchmarks --only steps     some parts; the others stay as the file has them
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks import pruning, savings, speed, training
from lthlib.lab.provenance import describe_environment
from lthlib.machine import cores
from lthlib.records import Files, to_json

RESULTS = Path(__file__).parent / "results"
ON_CPU = ("ladder", "cores", "streaming", "report", "writing")
"""Parts that are measured on the processor in every case, and so not at all beside a GPU."""

Part = Callable[[], dict[str, Any]]


def parts(small: bool, device: str) -> dict[str, Part]:
    """What is measured there, by name, in the order of what matters most."""
    sizes = (100_000,) if small else (pruning.BASE_SIZE, pruning.LARGE_SIZE)
    every: Mapping[str, Part] = {
        **speed.parts(small, device, cores()),
        "masks": lambda: training.measure_masks(device, small),
        "pruning": lambda: pruning.measure(sizes, 1 if small else 3, device),
        "savings": lambda: savings.measure(small, device),
        "streaming": lambda: _on_cpu("streaming", small),
        "report": lambda: _on_cpu("report", small),
        "writing": lambda: _on_cpu("writing", small),
    }
    return {name: part for name, part in every.items() if device == "cpu" or name not in ON_CPU}


def _on_cpu(name: str, small: bool) -> dict[str, Any]:
    """Measured by a module that needs the report's packages, which a GPU machine may lack."""
    found: dict[str, Any] = importlib.import_module(f"benchmarks.{name}").measure(small)
    return found


def measure(chosen: Mapping[str, Part], device: str, small: bool) -> dict[str, Any]:
    """Each part, and under "about" when, how long and on what it was measured."""
    found: dict[str, Any] = {"about": {"device": device, "parts": {}}}
    for name, part in chosen.items():
        print(f"measuring {name}", flush=True)
        began = time.perf_counter()
        found[name] = part()
        seconds = time.perf_counter() - began
        found["about"]["parts"][name] = {
            "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "seconds": seconds,
            "small": small,
            **describe_environment(torch.device(device)),
        }
        print(f"  {seconds:.0f} s", flush=True)
    return found


def joined(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The new results, and those parts of the old that were not measured again."""
    about = {**old["about"]["parts"], **new["about"]["parts"]}
    return {**old, **new, "about": {**new["about"], "parts": about}}


def main() -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    names = list(parts(False, device))
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--small", action="store_true", help="minutes, to check that all runs")
    parser.add_argument("--only", nargs="+", choices=names, help="measure these parts alone")
    parser.add_argument("--out", type=Path, help="file (default: benchmarks/results/DEVICE.json)")
    options = parser.parse_args()
    path = (options.out or RESULTS / f"{device}.json").resolve()
    torch.set_num_threads(1)
    files = Files(path.parent)
    for name, part in parts(options.small, device).items():
        if options.only is not None and name not in options.only:
            continue
        # After each part, so that what was measured stays when a lease or a machine ends.
        found = measure({name: part}, device, options.small)
        if files.exists(path.name):
            found = joined(json.loads(files.read(path.name)), found)
        files.write(path.name, to_json(found))
    print(f"written to {path}")


if __name__ == "__main__":
    main()
