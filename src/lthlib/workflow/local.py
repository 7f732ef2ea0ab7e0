"""Runs of studies on the cores of one machine, one single-threaded process each.

Two processes of one thread train tiny models faster than one process of two threads, and a run
gives the same numbers however many others go on beside it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from lthlib.errors import StudyError, TrainingError
from lthlib.machine import cores, end_workers, uninterrupted, worker_pool
from lthlib.packs import check_target
from lthlib.records import LAB_FORMAT, RecordStore
from lthlib.study import Study

Say = Callable[[str], None]
POLL_SECONDS = 1.0
SAY_SECONDS = 10.0
STILL_SECONDS = 60.0
"""Within a training that takes long, a sign of life comes as often."""


@dataclass(frozen=True)
class Job:
    """One run that is still to be done, and with it those that are trained together with it."""

    study: Study
    seed: int

    @property
    def name(self) -> str:
        return self.study.run_id(self.seed)

    @property
    def runs(self) -> list[str]:
        """Names of all runs that it makes."""
        return [self.study.run_id(seed) for seed in self.study.block(self.seed)]

    def trainings(self, levels: int | None = None) -> int:
        """Training runs in the whole job, or in its first levels."""
        rungs = self.study.rungs()[:levels]
        return sum(1 + len(self.study.branches_at(rung.level)) for rung in rungs)


def missing(studies: Sequence[Study], store: RecordStore) -> list[Job]:
    """Runs that the store does not hold finished, in the order of the studies.

    Raises RecordError for a run, finished or only begun, that the present code and weights would
    not make.
    """
    jobs: list[Job] = []
    for study in studies:
        identity = _identity(study)
        for seed in study.seeds:
            name = study.run_id(seed)
            if store.has(name):
                store.check_identity(name, identity)
                store.tidy(name)
            elif not any(seed in study.block(job.seed) for job in jobs if job.study is study):
                jobs.append(job := Job(study, seed))
                for own in job.runs:
                    store.check_begun(own, identity)
    return jobs


def runs_to_do(jobs: Sequence[Job], store: RecordStore) -> list[str]:
    """Names of the runs that these jobs would finish; one job trains a whole block of seeds."""
    return [run for job in jobs for run in job.runs if not store.has(run)]


def _identity(study: Study) -> dict[str, Any]:
    """What can be told of a run's identity without torch and without making its task."""
    if study.start == "random":
        return {"lab": LAB_FORMAT, "start weights": "random"}
    if study.checkpoint is not None:
        return {"lab": LAB_FORMAT}
    folder = files("lthlib") / "lab" / "models" / "weights"
    try:
        record = json.loads((folder / f"{study.start_name}.json").read_text())
        return {"lab": LAB_FORMAT, "start weights": record["sha256"]}
    except (OSError, ValueError, KeyError):
        # A missing or damaged start is the lab's to report, where it is needed.
        return {"lab": LAB_FORMAT}


def run(
    studies: Sequence[Study],
    store: RecordStore,
    *,
    workers: int | None = None,
    say: Say | None = None,
) -> list[str]:
    """Run what is missing of these studies; returns the names of all their runs.

    workers: processes at once; None takes one for each core (one, where there is a GPU).
    Shows which training of how many is done, and the time left. What is finished stays finished
    whatever happens to the rest; the first error is raised once the others have been stopped.
    """
    say = say or _print
    names = [name for study in studies for name in study.run_ids()]
    jobs = missing(studies, store)
    if not jobs:
        say(f"all {len(names)} runs are in {store.files.url}: nothing to train")
        return names
    if workers is not None and workers < 1:
        raise StudyError(f"workers: {workers} is no number of processes; give 1 or more")
    check_target(store)
    store.files.check_writable()
    count = min(len(jobs), workers or default_workers())
    say(
        f"{len(runs_to_do(jobs, store))} of {len(names)} runs to do in {count} processes; "
        f"records go to {store.files.url}"
    )
    _run_jobs(jobs, store, count, say)
    return names


def device() -> str:
    """Where runs of this machine train: cuda, where torch finds a GPU, and cpu elsewhere."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def default_workers() -> int:
    """One process for each core that this process may use; one, where there is a GPU."""
    return 1 if device() == "cuda" else cores()


def _work(job: Job, url: str) -> str:
    # Imported here: the parent never needs the lab, and a spawned child starts from nothing.
    from lthlib.lab.lottery import run as run_in_lab

    return run_in_lab(job.study, job.seed, RecordStore(url), device=device())


def _run_jobs(jobs: list[Job], store: RecordStore, workers: int, say: Say) -> None:
    progress = Progress(jobs, store, say)
    with worker_pool(workers) as pool:
        with uninterrupted():
            futures = {pool.submit(_work, job, store.files.url): job for job in jobs}
        try:
            _watch(futures, progress)
        except BaseException:
            ended = end_workers(pool)
            for name in (name for job in jobs for name in job.runs):
                store.release(name, ended)
            raise


def _watch(futures: dict[Future[str], Job], progress: Progress) -> None:
    left = set(futures)
    while left:
        done, left = wait(left, timeout=POLL_SECONDS)
        for future in done:
            try:
                future.result()
            except BrokenProcessPool:
                raise TrainingError(
                    "a training process died (killed, or out of memory?); what was finished is "
                    "kept: run again, with fewer workers if memory was short"
                ) from None
        progress.tell(last=not left)


class Progress:
    """Says how many trainings are done and how long the rest will take."""

    def __init__(self, jobs: Sequence[Job], store: RecordStore, say: Say) -> None:
        self.jobs, self.store, self.say = list(jobs), store, say
        self.total = sum(job.trainings() for job in jobs)
        self.began, self.at_start = time.monotonic(), self.done()
        self.last_said, self.last_done = self.began, self.at_start

    def done(self) -> int:
        return sum(
            job.trainings() if self.store.has(job.name) else job.trainings(self._levels(job))
            for job in self.jobs
        )

    def _levels(self, job: Job) -> int:
        return self.store.levels_done(job.name)

    def tell(self, last: bool = False) -> None:
        elapsed = time.monotonic() - self.last_said
        if not last and elapsed < SAY_SECONDS:
            return
        done = self.done()
        if done == self.last_done and elapsed < STILL_SECONDS and not last:
            return
        self.last_said, self.last_done = time.monotonic(), done
        runs = [run for job in self.jobs for run in job.runs]
        finished = sum(map(self.store.has, runs))
        self.say(
            f"training {done} of {self.total}, run {finished} of {len(runs)} done"
            + self._left(done)
        )

    def _left(self, done: int) -> str:
        """Time left at the speed so far; nothing until there is a speed."""
        spent, computed = time.monotonic() - self.began, done - self.at_start
        if computed == 0 or done == self.total:
            return f", {_minutes(spent)} spent"
        return f", about {_minutes(spent / computed * (self.total - done))} left"


def _minutes(seconds: float) -> str:
    return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"


def _print(line: str) -> None:
    print(line, flush=True, file=sys.stdout)
