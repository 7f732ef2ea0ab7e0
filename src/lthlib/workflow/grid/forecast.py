"""What a grid will take, told beforehand from recorded runs: hours, and bytes of records."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

from lthlib.records import RecordStore
from lthlib.study import Study
from lthlib.workflow.local import Job

OF_TEST = ("predictions.parquet",)
OF_TRAINING = ("training.parquet",)
"""Files that grow with the test items, and with the training items; the others with neither."""
WEIGHT_BYTES = 4
Kind = tuple[str, str, str]  # model, task, size


@dataclass(frozen=True)
class Bytes:
    """Bytes that one training of a run leaves in its record.

    per_test, per_train: for each test item and for each training item; rest: beside them;
    test, train: how many items the recorded runs had; weights: how many the model has.
    """

    per_test: float
    per_train: float
    rest: float
    test: int
    train: int
    weights: int

    def of(self, study: Study) -> float:
        """Bytes of the record of one run of a study."""
        items = self.per_test * (study.test_items or self.test)
        items += self.per_train * (study.train_items or self.train)
        return study.trainings() * (items + self.rest)

    def while_running(self, study: Study) -> float:
        """Bytes that a run takes beside, until it is finished: trained weights of each level, and
        those that are rewound to."""
        return WEIGHT_BYTES * self.weights * (len(study.rungs()) + 1)


def kind_of(settings: Mapping[str, Any]) -> Kind:
    return (settings["model"], settings["task"], settings["size"])


def bytes_per_training(stores: Iterable[RecordStore]) -> dict[Kind, Bytes]:
    """By (model, task, size), the median over the first recorded run of each study."""
    found: dict[Kind, list[Bytes]] = {}
    for store in stores:
        first = {run.rpartition("-s")[0]: run for run in reversed(store.runs())}
        for run in first.values():
            about = store.study(run)
            files = about.get("files") or store.manifest(run)["files"]
            found.setdefault(kind_of(about["study"]), []).append(_measured(about, files))
    return {kind: _median(many) for kind, many in found.items()}


def _median(many: Sequence[Bytes]) -> Bytes:
    columns = zip(*map(astuple, many), strict=True)
    return Bytes(*(statistics.median(values) for values in columns))


def _measured(about: Mapping[str, Any], files: Mapping[str, Mapping[str, int]]) -> Bytes:
    trainings = Study.build(about["study"]).trainings()
    test, train = about["task"]["test_items"], about["task"]["train_items"]
    sizes = {name: entry["bytes"] / trainings for name, entry in files.items()}
    of_test = sum(sizes.pop(name, 0.0) for name in OF_TEST)
    of_train = sum(sizes.pop(name, 0.0) for name in OF_TRAINING)
    weights = about["weights"]["all"]
    return Bytes(of_test / test, of_train / train, sum(sizes.values()), test, train, weights)


def record_bytes(
    jobs: Sequence[Job], measured: Mapping[Kind, Bytes], at_once: int
) -> tuple[float, float] | None:
    """What the records of these runs will take, and what the largest `at_once` take while they run.

    None where none of a kind was recorded.
    """
    kinds = [measured.get(kind_of(job.study.settings())) for job in jobs]
    pairs = [(found, job.study) for found, job in zip(kinds, jobs, strict=True) if found]
    if len(pairs) < len(jobs):
        return None
    # A job makes as many runs as are trained together.
    kept = sum(study.together * found.of(study) for found, study in pairs)
    running = [study.together * found.while_running(study) for found, study in pairs]
    return kept, sum(sorted(running, reverse=True)[:at_once])
