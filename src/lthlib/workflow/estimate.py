"""How long a study will take, told beforehand from what recorded runs took."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

from lthlib.records import RecordStore
from lthlib.study import Study
from lthlib.workflow.local import Job

# Seconds per epoch of 8,000 items on one core, where no recorded run tells better.
USUAL_SECONDS = 4.0


Kind = tuple[str, str, str]  # model, task, size


def seconds_per_epoch(stores: Iterable[RecordStore]) -> dict[Kind, float]:
    """Median seconds of an epoch, by (model, task, size), over recorded trainings.

    The first run of each study counts; evaluation is part of what was measured.
    """
    found: dict[Kind, list[float]] = {}
    for store in stores:
        first = {run.rpartition("-s")[0]: run for run in reversed(store.runs())}
        for run in first.values():
            settings = store.study(run)["study"]
            levels = store.table("levels", [run])
            timed = levels[(levels["epochs"] > 0) & (levels["seconds"] > 0)]
            kind = (settings["model"], settings["task"], settings["size"])
            # Runs that are trained together share their seconds.
            models = settings.get("together", 1)
            found.setdefault(kind, []).extend(timed["seconds"] / timed["epochs"] / models)
    return {kind: statistics.median(seconds) for kind, seconds in found.items() if seconds}


def core_seconds(jobs: Sequence[Job], measured: Mapping[Kind, float]) -> float | None:
    """What these jobs will take on one core: epochs of all their trainings, times the usual.

    None where a job is of a size of which no run was measured.
    """
    total = 0.0
    for study in (job.study for job in jobs):
        seconds = measured.get((study.model, study.task, study.size))
        if seconds is None and study.size != "tiny":
            return None
        total += _epochs(study) * study.together * (seconds or USUAL_SECONDS)
    return total


def _epochs(study: Study) -> int:
    """Epochs of one run: all trainings of all levels."""
    later = (study.trainings() - 1) * study.epochs
    barriers = len(study.rungs()) * study.epochs if "barriers" in study.observe else 0
    return (study.dense_epochs or study.epochs) + later + barriers


def in_words(seconds: float | None, workers: int) -> str:
    """Core time, and time on the clock, in hours or minutes."""
    if seconds is None:
        return "how long is not known: no run of this size is recorded"
    return f"about {_time(seconds)} of one core, {_time(seconds / workers)} on {workers}"


def _time(seconds: float) -> str:
    minutes = seconds / 60
    return f"{minutes / 60:.1f} h" if minutes >= 90 else f"{max(1, round(minutes))} min"
