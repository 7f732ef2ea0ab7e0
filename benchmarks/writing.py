"""What writing records takes of a run: seconds beside those of training and evaluation.

python -m benchmarks.writing            one run of the preset `quick`, as far as its first level
python -m benchmarks.writing --small    seconds, of a few items
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from lthlib.lab import lottery
from lthlib.records import Blobs, RecordStore, RunWriter
from lthlib.study import Study, plan

FEW: Mapping[str, Any] = {"train_items": 128, "validation_items": 32, "test_items": 32, "epochs": 1}


class TimedStore(RecordStore):
    """A store that knows how many seconds were spent on writing into it, by what was written."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.seconds = {"items": 0.0, "levels": 0.0, "finish": 0.0}

    @contextlib.contextmanager
    def counted(self, step: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[step] += time.perf_counter() - began

    def write_items(self, key: str, items: pd.DataFrame) -> None:
        with self.counted("items"):
            super().write_items(key, items)

    @contextlib.contextmanager
    def writer(
        self, run: str, identity: Mapping[str, Any], wait: float = -1
    ) -> Iterator[RunWriter]:
        with super().writer(run, identity, wait) as writer:
            yield _TimedWriter(writer, self)


class _TimedWriter(RunWriter):
    def __init__(self, writer: RunWriter, store: TimedStore) -> None:
        vars(self).update(vars(writer))
        self.store = store

    def write_level(self, level: int, tables: Mapping[str, pd.DataFrame], blobs: Blobs) -> None:
        with self.store.counted("levels"):
            super().write_level(level, tables, blobs)

    def finish(self, study: Mapping[str, Any], tickets: bytes) -> None:
        with self.store.counted("finish"):
            super().finish(study, tickets)


def study_of(model: str, small: bool) -> Study:
    """The study of `quick` on digits as far as the first level of its ladder, controls and all."""
    (study,) = plan("quick", model=model, task="digits")
    few = {"seeds": [0], "ladder": list(study.ladder[:1]), **(FEW if small else {})}
    return Study.build(study.model_dump() | few)


def measure(small: bool = False, model: str = "uniter") -> dict[str, Any]:
    """Seconds that one run spends on its records, and on training and evaluation."""
    study = study_of(model, small)
    with tempfile.TemporaryDirectory() as folder:
        store = TimedStore(folder)
        run = lottery.run(study, 0, store)
        # What each level took from its start to just before it is written.
        computed = float(store.study(run)["seconds"])
        written = sum(file["bytes"] for file in store.manifest(run)["files"].values())
    return {
        "model": model,
        "levels": len(study.rungs()),
        "trainings": study.trainings(),
        "epochs": study.epochs,
        "seconds": {**store.seconds, "training and evaluation": computed},
        "share": sum(store.seconds.values()) / computed,
        "bytes": written,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.writing")
    parser.add_argument("--small", action="store_true", help="seconds, to check that all runs")
    print(json.dumps(measure(parser.parse_args().small), indent=1))


if __name__ == "__main__":
    main()
