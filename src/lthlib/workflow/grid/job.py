"""One job of a grid: some levels of one run, in a process that may die at any time.

It runs where Snakemake put it, with the controller's folder as its working folder. It reads there
what to do (`plan.json`) and keeps a diary there, a line of JSON for each thing that happened
(`log/RUN.jsonl`): which machine, process and device, every level begun, why it ended. The
traceback of an error that nobody expected lies beside it (`log/RUN.txt`).
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lthlib.errors import (
    GridError,
    LthError,
    RecordError,
    UnusableRecordError,
    in_one_line,
)
from lthlib.records import RecordStore, remove_claim
from lthlib.workflow.grid.plan import Plan, being_written
from lthlib.workflow.grid.slots import VISIBLE, device_slot
from lthlib.workflow.local import Job

POLL_SECONDS = 0.5
DONE = ("done", "nothing to do")
CLAIM_SECONDS = 3600.0
"""How long a claim at a URL may stand without a level more."""


class Diary:
    """What happened to one run under one controller. A job of the run follows another, never two
    at a time, so that its lines are never mixed."""

    def __init__(self, folder: Path, run: str) -> None:
        self.path = folder / "log" / f"{run}.jsonl"

    def write(self, event: str, **more: Any) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = {"time": datetime.now(UTC).isoformat(), "event": event, **more}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def keep(self, text: str) -> None:
        """A traceback, beside the diary."""
        with self.path.with_suffix(".txt").open("a", encoding="utf-8") as file:
            file.write(text)

    def read(self) -> list[dict[str, Any]]:
        """All lines that are whole: a killed job may have left half of one."""
        found = []
        with contextlib.suppress(OSError):
            for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
                with contextlib.suppress(ValueError):
                    found.append(json.loads(line))
        return found

    def last_word(self) -> str:
        """Why the run's last job ended, in one line."""
        lines = self.read()
        last = lines[-1] if lines else {}
        if last.get("event") in ("refused", "failed"):
            return str(last["why"])
        if last.get("event") in DONE:
            return "its last job said that it is done: do all machines see the same store?"
        if not lines:
            return "none of its jobs was begun"
        return "its last job ended without a word (killed, out of memory, or out of time?)"


def work(folder: Path, run: str, number: int) -> None:
    """Do the job of a run with this number: bring the run as far as the plan says.

    What is done already is not done again, whoever did it. Raises GridError in one line.
    """
    plan, diary = Plan.read(folder), Diary(folder, run)
    part = Part(RecordStore(plan.store), plan.job(run), plan.runs[run]["until"], number)
    before = diary.read()
    if before and before[-1]["event"] == "refused":
        raise GridError(f"{run}: {before[-1]['why']}")  # trying again cannot help
    diary.write(
        "started", job=number, host=socket.gethostname(), process=os.getpid(),
        slurm_job=os.environ.get("SLURM_JOB_ID"),
    )  # fmt: skip
    try:
        _free_claims_of_the_dead(part, before)
        _wait_until_free(part, diary)
        if part.is_done():
            diary.write("nothing to do")
            return
        with _device(plan) as device:
            # What is said of the device is said while it is held, whatever comes: another job may
            # take it within the millisecond in which it is free.
            diary.write("device", device=device, visible=os.environ.get(VISIBLE))
            try:
                _train(part, device, diary)
            finally:
                diary.write("device given back")
        diary.write("done", until=part.until)
    except LthError as error:
        # A store or a machine may be well again; another error comes back however often one tries.
        again = isinstance(error, (RecordError, GridError))
        again = again and not isinstance(error, UnusableRecordError)
        diary.write("failed" if again else "refused", why=str(error))
        raise GridError(f"{run}: {error}") from None
    except Exception as error:
        diary.keep(traceback.format_exc())
        diary.write("failed", why=f"{type(error).__name__}: {in_one_line(error)}")
        raise


@dataclass(frozen=True)
class Part:
    """A job of a run: all jobs' ends, counted in levels, and which of them this is.

    Where runs are trained together, it is a job of all of them.
    """

    store: RecordStore
    job: Job
    untils: Sequence[int]
    number: int

    @property
    def until(self) -> int:
        return self.untils[self.number]

    def is_done(self) -> bool:
        """Is there nothing left of it? The last job also seals the run."""
        if self.number == len(self.untils) - 1:
            return all(map(self.store.has, self.job.runs))
        return all(
            self.store.has(run) or self.store.levels_done(run) >= self.until
            for run in self.job.runs
        )

    def is_being_written(self) -> bool:
        return any(being_written(self.store, run) for run in self.job.runs)


def _wait_until_free(part: Part, diary: Diary) -> None:
    """Wait while another process writes the run, and goes on with it.

    A job waits before it takes a device, so that it keeps none from others. At a URL the claim of a
    writer that died elsewhere may stay: after an hour without a level more the run is tried, and
    the store refuses it with the claim's name.
    """
    said, levels, since = False, -1, time.monotonic()
    while part.is_being_written():
        if not said:
            diary.write("waiting", why="another process writes this run")
            said = True
        if not part.store.files.local:
            done = part.store.levels_done(part.job.name)
            if done != levels:
                levels, since = done, time.monotonic()
            elif time.monotonic() - since > CLAIM_SECONDS:
                return
        time.sleep(POLL_SECONDS)


def _free_claims_of_the_dead(part: Part, before: Sequence[dict[str, Any]]) -> None:
    """At a URL no system frees the claim of a killed job: that of an earlier try of this job is
    freed here, and that of a process of this machine that is no more.

    Snakemake tries again only once it knows that the try before has ended.
    """
    if part.store.files.local:
        return
    tries = [(line.get("host"), line.get("process")) for line in before]
    for run in part.job.runs:
        claim = f"locks/{run}.json"
        if part.store.files.exists(claim):
            held = part.store.files.read(claim)
            owner = json.loads(held)
            if (owner["host"], owner["process"]) in tries or _is_gone(owner):
                remove_claim(part.store.files, run, held)


def _is_gone(owner: dict[str, Any]) -> bool:
    if owner["host"] != socket.gethostname():
        return False
    try:
        os.kill(int(owner["process"]), 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False


@contextlib.contextmanager
def _device(plan: Plan) -> Iterator[str]:
    """The device to train on, held until the end."""
    if plan.allotment != "slots":
        yield plan.device
        return
    with device_slot(plan.devices) as slot:
        os.environ[VISIBLE] = slot
        yield plan.device


def _train(part: Part, device: str, diary: Diary) -> None:
    # One thread a job: many jobs share a machine. Set before torch reads it.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import torch

    from lthlib.lab.lottery import run as run_in_lab

    if device == "cuda" and not torch.cuda.is_available():
        raise GridError(
            f"a GPU was asked for, and on {socket.gethostname()} torch sees none: check the driver "
            "there, or give --device cpu"
        )
    run_in_lab(
        part.job.study,
        part.job.seed,
        part.store,
        device=device,
        progress=lambda text: diary.write("says", text=text),
        until=part.until,
    )
