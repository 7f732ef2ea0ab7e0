"""Measure everything and write one JSON file that the book shows.

python -m benchmarks                  the full set (about ten minutes on two cores)
python -m benchmarks --small          a check that everything runs (seconds)
"""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks import pruning, streaming, training
from lthlib.lab.provenance import describe_environment
from lthlib.records import Files, to_json

RESULTS = Path(__file__).parent / "results"


def measure(small: bool, device: str) -> dict[str, Any]:
    items, repeats = (256, 1) if small else (1280, 15)
    sizes = (100_000,) if small else (110_000_000,)
    torch.set_num_threads(1)
    found: dict[str, Any] = {
        "about": {
            "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "small": small,
            "device": device,
            # All but the step is measured on the processor in every case.
            "devices": {
                "masks": device,
                "ladder": "cpu",
                "pruning": "cpu",
                "streaming": "cpu",
            },
            "amounts": training.AMOUNTS,
            "items": items,
            "batch_size": training.study_of("uniter", items, "tiny").batch_size,
            **describe_environment(torch.device(device)),
        }
    }
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "masks": lambda: training.measure_masks(items, repeats, device=device),
        "ladder": lambda: training.measure_ladder(items, max(1, repeats // 2)),
        "pruning": lambda: pruning.measure(sizes, 1 if small else 5),
        "streaming": lambda: streaming.measure(small),
    }
    for name, function in parts.items():
        print(f"measuring {name}", flush=True)
        found[name] = function()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--small", action="store_true", help="seconds, to check that all runs")
    parser.add_argument("--out", type=Path, help="file (default: benchmarks/results/DEVICE.json)")
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    found = measure(options.small, device)
    path = (options.out or RESULTS / f"{device}.json").resolve()
    Files(path.parent).write(path.name, to_json(found))
    print(f"written to {path}")


if __name__ == "__main__":
    main()
