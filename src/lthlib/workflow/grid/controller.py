"""The controller: Snakemake over one plan, in a working folder of its own.

Each controller has its own folder below the store's `grid/`, so that two of them never wait for one
lock of Snakemake's; a run itself is claimed by the store's lock, once for all controllers. Nothing
in such a folder is needed to go on: a controller that was killed is simply started again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any

from lthlib.errors import GridError, reason, unknown
from lthlib.records import RecordStore
from lthlib.workflow.grid.job import DONE, Diary
from lthlib.workflow.grid.plan import Plan
from lthlib.workflow.local import Job, Progress, Say

HERE = Path(__file__).parent
PROFILES = ("local", "slurm")
LOG = "snakemake.log"
NAMED = 3
"""Failed runs that an error names before it counts."""
POLL_SECONDS = 0.5
LATENCY_SECONDS = 60.0
"""As long as `latency-wait` of the profile for SLURM."""
STOP_SECONDS = 60.0
"""How long Snakemake may take to cancel its jobs before it is killed."""


def require_snakemake() -> None:
    """Raises GridError where the extra is not installed."""
    if find_spec("snakemake") is None:
        raise GridError(
            "the grid needs Snakemake: pip install -e '.[grid]' in the project's folder"
        )


@dataclass(frozen=True)
class Profile:
    """A folder with Snakemake's options, and what it runs jobs with."""

    folder: Path
    executor: str

    @classmethod
    def named(cls, name: str) -> Profile:
        """One that comes with the library, or a folder. Raises GridError."""
        folder = HERE / "profiles" / name if name in PROFILES else Path(name).resolve()
        path = folder / "config.yaml"
        if not path.is_file():
            raise GridError(f"{unknown('profile', name, PROFILES)}, or a folder with a config.yaml")
        import yaml

        try:
            options = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
            executor = str(options.get("executor", "local"))
        except (OSError, ValueError, AttributeError, yaml.YAMLError):
            raise GridError(f"{path} is no valid profile: see Snakemake's own pages") from None
        return cls(folder, executor)

    def check(self) -> None:
        """Can jobs be handed over from this machine? A plan needs no such thing.

        Raises GridError where not.
        """
        if self.executor == "slurm" and find_spec("snakemake_executor_plugin_slurm") is None:
            raise GridError(
                f"{self.folder} asks for SLURM: pip install -e '.[grid]' in the project's folder"
            )
        if self.executor == "slurm" and shutil.which("sbatch") is None:
            raise GridError(
                f"{self.folder} asks for SLURM, and this machine has no sbatch: start it where "
                "jobs are handed in (--dry-run tells what it would do from anywhere)"
            )

    @property
    def local(self) -> bool:
        return self.executor == "local"

    @property
    def stop(self) -> signal.Signals:
        """How to end Snakemake and its local jobs: at once, since a job can die at any time; but
        interrupted, it cancels what it has in a cluster's queue."""
        return signal.SIGKILL if self.local else signal.SIGINT


def working_folder(store: RecordStore, work: Path | None) -> Path:
    """A new folder for one controller: where `work` says, or below a store that is a folder."""
    above = work or (Path(store.files.root) / "grid" if store.files.local else Path("lth-grid"))
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    folder = above.resolve() / f"{stamp}-{socket.gethostname()}-{os.getpid()}"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise GridError(f"{folder} cannot be made: {reason(error)}; name another --work") from None
    return folder


def arguments(
    profile: Profile, folder: Path, jobs: int, gres: str, gpus: int, retries: int | None
) -> list[str]:
    """Snakemake's command line.

    Its own lock of the folder is not needed, and could not be read where a name holds braces.
    """
    given = [
        "--snakefile", str(HERE / "Snakefile"), "--directory", str(folder),
        "--profile", str(profile.folder), "--cores" if profile.local else "--jobs", str(jobs),
        "--keep-going", "--rerun-incomplete", "--rerun-triggers", "mtime", "--nocolor",
        "--scheduler", "greedy", "--nolock",
    ]  # fmt: skip
    if retries is not None:
        given += ["--retries", str(retries)]
    if gpus and profile.local:
        given += ["--resources", f"gpu={gpus}", "--set-resources", "part:gpu=1"]
    elif gpus:
        given += ["--set-resources", f"part:gres={gres}"]
    return given


def control(
    plan: Plan,
    folder: Path,
    given: Sequence[str],
    jobs: Sequence[Job],
    store: RecordStore,
    way: signal.Signals,
    say: Say,
) -> None:
    """Run Snakemake until every run of the plan is in the store, and say how far it is.

    given: its command line. way: the signal that stops it.
    Raises GridError, in one line, for jobs that failed and for Snakemake's own troubles.
    """
    try:
        plan.write(folder)
        log = (folder / LOG).open("wb")
    except OSError as error:
        raise GridError(f"{folder} cannot be written: {reason(error)}") from None
    watch = Progress(jobs, store, say)
    with log:
        parent = [str(os.getpid()), str(int(way))]
        child = subprocess.Popen(
            [sys.executable, "-m", "lthlib.workflow.grid.snake", *parent, *given],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=folder,
            start_new_session=True,  # one group with its local jobs, to be stopped together
        )  # fmt: skip
        before = signal.signal(signal.SIGTERM, _interrupt)
        try:
            while child.poll() is None:
                time.sleep(POLL_SECONDS)
                watch.tell()
        except BaseException:
            _stop(child, way)
            raise
        finally:
            signal.signal(signal.SIGTERM, before)
    if lost := _lost(jobs, store, folder):
        raise GridError(_why(lost, len(jobs), folder))
    if watch.last_done < watch.total:
        watch.tell(last=True)


def _lost(jobs: Sequence[Job], store: RecordStore, folder: Path) -> list[str]:
    """The runs that are not in the store at the end.

    A file system of several machines may show a run some time after its job said that it is done.
    """
    until = time.monotonic() + LATENCY_SECONDS
    while True:
        lost = [job.name for job in jobs if not all(map(store.has, job.runs))]
        late = any(line["event"] in DONE for r in lost for line in Diary(folder, r).read()[-1:])
        if not late or time.monotonic() > until:
            return lost
        time.sleep(POLL_SECONDS)


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


def _stop(child: subprocess.Popen[Any], way: signal.Signals) -> None:
    for each, seconds in ((way, STOP_SECONDS), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(child.pid, each)
            child.wait(seconds)


def _why(lost: Sequence[str], of: int, folder: Path) -> str:
    """What became of runs that are not finished, in one line."""
    diaries = {run: Diary(folder, run) for run in lost}
    begun = [run for run, diary in diaries.items() if diary.read()]
    if not begun:
        return f"no job was begun: {_last_error(folder / LOG)}; the log is {folder / LOG}"
    named = "; ".join(f"{run}: {diaries[run].last_word()}" for run in begun[:NAMED])
    more = f"; and {len(lost) - NAMED:,} more" if len(lost) > NAMED else ""
    where = diaries[begun[0]].path if len(lost) == 1 else folder / "log"
    return f"{len(lost):,} of {of:,} runs are not finished: {named}{more}; log: {where}"


def _last_error(path: Path) -> str:
    """The line of Snakemake's log that says most about why it stopped."""
    lines = [line.strip() for line in path.read_text(errors="replace").splitlines()]
    lines = [line for line in lines if line]
    for at, line in enumerate(lines):
        if line.startswith(("WorkflowError:", "Error:")) and at + 1 < len(lines):
            return f"{line} {lines[at + 1]}"[:300]
    told = [line for line in lines if "rror" in line or "sbatch" in line]
    return (told or lines or ["Snakemake said nothing"])[-1][:300]
