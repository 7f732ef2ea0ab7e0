"""What a grid has to do: runs, the jobs that each is cut into, and the file that tells jobs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from lthlib.errors import GridError
from lthlib.records import RecordStore, to_json, write_atomically
from lthlib.study import Study
from lthlib.workflow.local import Job

PLAN = "plan.json"
Allotment = Literal["none", "slurm", "slots"]


@dataclass(frozen=True)
class Plan:
    """The jobs of one controller.

    store: URL of the records.
    studies: settings by name of a study.
    runs: by name of a run its study, its seed, and until how many levels each of its jobs goes.
    device: what jobs train on, cpu or cuda.
    allotment: who gives a job its GPU: nobody, SLURM, or a lock on one of `devices`.
    """

    store: str
    studies: Mapping[str, Mapping[str, Any]]
    runs: Mapping[str, Mapping[str, Any]]
    device: str = "cpu"
    allotment: Allotment = "none"
    devices: Sequence[str] = field(default_factory=tuple)

    @classmethod
    def of(cls, jobs: Iterable[Job], store: RecordStore, levels: int | None, **more: Any) -> Plan:
        """A plan of runs; levels: the most that one job computes, None for all."""
        studies, runs = {}, {}
        for job in jobs:
            studies[job.study.name] = job.study.settings()
            runs[job.name] = {
                "study": job.study.name,
                "seed": job.seed,
                "until": untils(job, store, levels),
            }
        return cls(store.files.url, studies, runs, **more)

    @cached_property
    def last(self) -> list[str]:
        """The last job of each run."""
        return [f"{run}.{len(about['until']) - 1}" for run, about in self.runs.items()]

    @property
    def jobs(self) -> int:
        return sum(len(about["until"]) for about in self.runs.values())

    def job(self, run: str) -> Job:
        about = self.runs[run]
        return Job(Study.build(self.studies[about["study"]]), int(about["seed"]))

    def write(self, folder: Path) -> None:
        write_atomically(folder / PLAN, to_json(self.__dict__))

    @classmethod
    def read(cls, folder: Path) -> Plan:
        """The plan in a controller's folder. Raises GridError."""
        try:
            return cls(**json.loads((folder / PLAN).read_bytes()))
        except (OSError, ValueError, TypeError) as error:
            raise GridError(f"{folder / PLAN} cannot be read: {error}") from None


def untils(job: Job, store: RecordStore, levels: int | None) -> list[int]:
    """How many levels are done after each job of a run, from where the store has it."""
    all_levels = len(job.study.rungs())
    if levels is None:
        return [all_levels]
    done = store.levels_done(job.name)
    # All levels may be there and the run not yet sealed: its last job does that.
    return [*range(done + levels, all_levels, levels), all_levels]


def being_written(store: RecordStore, run: str) -> bool:
    """Does a process hold this run right now?

    Told by its lock in a folder; at a URL by the claim that its writer leaves there.
    """
    if not store.files.local:
        return store.files.exists(f"locks/{run}.json")
    path = Path(store.files.path(f"locks/{run}.lock"))
    if not path.is_file():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except (Timeout, OSError):
        return True
