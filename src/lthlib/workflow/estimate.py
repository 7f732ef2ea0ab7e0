"""How long a study will take, told beforehand from what recorded runs took."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass

from lthlib.records import RecordStore
from lthlib.study import Study
from lthlib.workflow.local import Job

Kind = tuple[str, str, str, str]  # model, task, size, device: cpu or cuda


@dataclass(frozen=True)
class Pace:
    """How fast runs of a kind are.

    seconds: of one training item in one epoch, evaluation included; items: how many training items
    there are where a study names no number.
    """

    seconds: float
    items: float


USUAL = Pace(4.0 / 8000, 8000)
"""Of a tiny model on one core, where no recorded run tells better."""


def paces(stores: Iterable[RecordStore]) -> dict[Kind, Pace]:
    """Medians over recorded trainings, by (model, task, size, device).

    The first run of each study counts; evaluation is part of what was measured.
    """
    found: dict[Kind, list[Pace]] = {}
    for store in stores:
        first = {run.rpartition("-s")[0]: run for run in reversed(store.runs())}
        for run in first.values():
            about = store.study(run)
            settings, items = about["study"], about["task"]["train_items"]
            levels = store.table("levels", [run])
            timed = levels[(levels["epochs"] > 0) & (levels["seconds"] > 0)]
            device = about["identity"].get("device", "cpu")
            kind = (settings["model"], settings["task"], settings["size"], device)
            # Runs that are trained together share their seconds.
            seconds = timed["seconds"] / timed["epochs"] / settings.get("together", 1) / items
            found.setdefault(kind, []).extend(Pace(each, items) for each in seconds)
    return {kind: _median(many) for kind, many in found.items() if many}


def _median(many: Sequence[Pace]) -> Pace:
    return Pace(*(statistics.median(values) for values in zip(*map(astuple, many), strict=True)))


def seconds_of(
    jobs: Sequence[Job], measured: Mapping[Kind, Pace], device: str = "cpu"
) -> float | None:
    """What these jobs will take on one core, or on one GPU (device cuda), one after another.

    Epochs of all their trainings, times the items, times the usual. None where a job is of a kind
    of which no run was measured; a tiny model on a core is guessed.
    """
    total = 0.0
    for study in (job.study for job in jobs):
        pace = measured.get((study.model, study.task, study.size, device))
        if pace is None and (study.size, device) != ("tiny", "cpu"):
            return None
        pace = pace or USUAL
        items = study.train_items or pace.items
        total += _epochs(study) * study.together * items * pace.seconds
    return total


def _epochs(study: Study) -> int:
    """Epochs of one run: all trainings of all levels."""
    later = (study.trainings() - 1) * study.epochs
    barriers = len(study.rungs()) * study.epochs if "barriers" in study.observe else 0
    return (study.dense_epochs or study.epochs) + later + barriers


def in_words(seconds: float | None, workers: int, device: str = "cpu") -> str:
    """Time of one core or GPU, and time on the clock, in hours or minutes."""
    if seconds is None:
        return "how long is not known: no run of this kind is recorded"
    one = "core" if device == "cpu" else "GPU"
    return f"about {_time(seconds)} of one {one}, {_time(seconds / workers)} on {workers}"


def _time(seconds: float) -> str:
    minutes = seconds / 60
    return f"{minutes / 60:.1f} h" if minutes >= 90 else f"{max(1, round(minutes))} min"
