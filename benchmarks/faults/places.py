"""One study and its store: started, killed, resumed; and the uninterrupted run it must equal."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.faults import checks
from benchmarks.faults.processes import MARK, POLL_SECONDS, end_all, living, work_done
from lthlib.records import RecordStore
from lthlib.study import Study

ROOT = Path(__file__).parents[2]
START = Path(__file__).parent / "start"
PATIENCE = 300.0
"""Seconds after which a process that should end is said to hang."""
PAGE = 4096
SETTINGS: dict[str, Any] = {
    "train_items": 128, "validation_items": 32, "test_items": 32, "batch_size": 16, "epochs": 3,
    "levels": 3, "branches": ["random-mask"],
}  # fmt: skip
SHAPES: dict[str, dict[str, Any]] = {"one": {"seeds": [0]}, "two": {"seeds": [0, 1]}}
"""Runs of a study: one run in one worker, or two in two workers at once."""


@dataclass(frozen=True)
class Hit:
    """One fault that found its target alive.

    seconds: after the start of the process; phase: where the study stood (`checks.phase`).
    """

    kind: str
    victim: str
    phase: str
    seconds: float


@dataclass
class Place:
    """A folder with one study's store, its journal and its own cache."""

    folder: Path
    shape: str
    store: Path
    findings: checks.Findings = field(default_factory=checks.Findings)
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    seen: int = 0
    """Notes of the journal that were there before the present attempt."""
    started: float = 0.0
    work: float = 0.0
    old: set[int] = field(default_factory=set)
    """Processes of earlier attempts that still lived when the present one began."""

    @property
    def journal(self) -> Path:
        return self.folder / "journal"

    @property
    def notebook(self) -> Path:
        return self.folder / "prune.ipynb"

    @property
    def settings(self) -> dict[str, Any]:
        return {**SETTINGS, **SHAPES[self.shape]}

    def runs(self) -> list[str]:
        return Study.build(self.settings).run_ids()

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        return {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            # The library beside this script, wherever another one may be installed.
            "PYTHONPATH": os.pathsep.join([str(START), str(ROOT), str(ROOT / "src")]),
            "LTH_FAULTS_STUDY": json.dumps(self.settings),
            "LTH_FAULTS_JOURNAL": str(self.journal),
            "LTHLIB_CACHE": str(self.folder / "cache"),
            MARK: self.mark,
            **(more or {}),
        }

    # -- starting -------------------------------------------------------------------------------
    def start_lth(self, more: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """`lth run` of the study, one worker for each run."""
        workers = str(len(self.settings["seeds"]))
        options = ["run", "--preset", "faults", "--store", str(self.store), "--workers", workers]
        return self._start([str(Path(sys.executable).with_name("lth")), *options], more)

    def start_grid(self) -> subprocess.Popen[bytes]:
        """`lth grid` of the study on this machine; its working folders lie beside the store."""
        options = ["grid", "--preset", "faults", "--store", str(self.store)]
        options += ["--work", str(self.folder / "grid"), "--jobs", str(len(self.settings["seeds"]))]
        return self._start([str(Path(sys.executable).with_name("lth")), *options], None)

    def start_notebook(self) -> subprocess.Popen[bytes]:
        """The notebook `prune`, executed by papermill."""
        program = str(Path(sys.executable).with_name("papermill"))
        given = json.dumps({"preset": "faults", "store": str(self.store), "workers": 1})
        options = ["notebooks/prune.ipynb", str(self.notebook), "-y", given, "--no-progress-bar"]
        return self._start([program, *options, "--log-level", "ERROR"], None)

    def _start(self, command: list[str], more: Mapping[str, str] | None) -> subprocess.Popen[bytes]:
        self.begin_attempt()
        with (self.folder / "stdout").open("wb") as out, (self.folder / "stderr").open("wb") as err:
            return subprocess.Popen(
                command, cwd=ROOT, env=self.environment(more), stdout=out, stderr=err,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip

    def begin_attempt(self) -> None:
        """From here on notes belong to a new attempt; what was finished before is noted, too."""
        with self.journal.open("a") as file:
            for run, level in checks.sealed_levels(self.store):
                file.write(f"0 sealed {run} {level}\n")
        self.seen, self.started = len(checks.read_journal(self.journal)), time.monotonic()
        self.work, self.old = 0.0, set(living(self.mark))

    # -- watching -------------------------------------------------------------------------------
    def finished(self) -> bool:
        """All runs are sealed, and nothing is left to remove."""
        store = RecordStore(self.store)
        return all(store.has(r) and not store.files.exists(f"{r}/parts") for r in self.runs())

    def hit(self, kind: str, victim: str, process: int | None = None) -> Hit:
        """What has just been killed, and where the study stood.

        process: whose notes tell; None takes all that began in this attempt.
        """
        seconds = time.monotonic() - self.started
        notes = checks.read_journal(self.journal)
        old = {pid for pid, _ in notes[: self.seen]}
        new = notes[self.seen :]
        own = [n for n in new if (n[0] == process if process else n[0] not in old)]
        done = self.finished()
        # What counts as finished must be whole after every kill, not in the end alone.
        self.findings.damaged += checks.damaged_runs(self.store)
        return Hit(kind, victim, checks.phase(own, done), round(seconds, 3))

    def watch(self, process: subprocess.Popen[bytes], until: float = math.inf) -> bool:
        """Wait until this attempt has done so much work, in processor seconds, or has ended.

        Whether it still runs. What it has done is kept as `work`.
        """
        end = time.monotonic() + PATIENCE
        while (running := process.poll() is None) and self.work < until and time.monotonic() < end:
            time.sleep(POLL_SECONDS)
            self.work = max(self.work, work_done(self.mark, self.old))
        return running

    def wait(self, process: subprocess.Popen[bytes]) -> int | None:
        """The exit status; None, and a finding, where the process hangs."""
        try:
            return process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.findings.unclear_ends.append(f"a process hung for {PATIENCE:.0f} s")
            self.findings.left_running += end_all(self.mark, 0.0)
            process.wait()
            return None

    def expect_one_line(self, status: int | None, words: str) -> None:
        """`lth` must have ended with status 1 and one line that says what happened."""
        said = (self.folder / "stderr").read_text(errors="replace")
        one_line = said.startswith("lth: ") and said.count("\n") == 1 and words in said
        if status != 1 or not one_line:
            self.findings.unclear_ends.append(f"status {status}, said {said[-2000:]!r}")

    def expect_end(self, process: subprocess.Popen[bytes]) -> None:
        """An undisturbed process must end with status 0."""
        if status := self.wait(process):
            said = (self.folder / "stderr").read_text(errors="replace")
            self.findings.unclear_ends.append(f"resumed: status {status}, said {said[-2000:]!r}")

    def check(self, whole: Whole) -> checks.Findings:
        """All that is asked of the finished study; nothing of it may still run."""
        self.findings.left_running += end_all(self.mark)
        notes = checks.read_journal(self.journal)
        self.findings.add(checks.check_finished(self.store, whole.store, notes))
        return self.findings


# -- uninterrupted --------------------------------------------------------------------------------
@dataclass(frozen=True)
class Whole:
    """An uninterrupted run of one shape, and what it took.

    work: processor seconds of `lth run` and of the notebook, with all that they start; sizes: bytes
    of each file that was written, in order; shown: what the notebook showed.
    """

    store: Path
    work: Mapping[str, float]
    sizes: tuple[int, ...]
    shown: tuple[str, ...]

    def rounded(self) -> dict[str, float]:
        return {name: round(seconds, 1) for name, seconds in self.work.items()}

    def needed(self) -> int:
        """Bytes of a disk that the study needs at most: nothing is removed before the end."""
        return sum(-(-size // PAGE) * PAGE for size in self.sizes)


def uninterrupted(folder: Path, shape: str, ways: Collection[str] = ()) -> Whole:
    """Run a shape to its end by `lth run`, and by further ways: "notebook", "grid".

    Raises RuntimeError where two uninterrupted runs differ: then no comparison means anything.
    """
    with place_in(folder / "lth", shape) as place:
        process = place.start_lth()
        place.watch(process)
        place.expect_end(process)
        refuse(place.findings)
        work = {"lth": place.work}
    shown: tuple[str, ...] = ()
    for way in ways:
        with place_in(folder / way, shape) as other:
            process = other.start_grid() if way == "grid" else other.start_notebook()
            other.watch(process)
            other.expect_end(process)
            work[way] = other.work
            other.findings.differing += checks.differences(other.store, place.store)
            refuse(other.findings)
            shown = outputs(other) if way == "notebook" else shown
    sizes = tuple(
        int(words[-1])
        for _, words in checks.read_journal(place.journal)
        if words[:2] == ("end", "write") and words[2].startswith(f"{place.store}/")
    )
    return Whole(place.store, work, sizes, shown)


def refuse(findings: checks.Findings) -> None:
    """Raise RuntimeError where anything was found of an uninterrupted run."""
    if lines := findings.lines():
        raise RuntimeError(f"an uninterrupted run will not do: {lines[0]}")


def outputs(place: Place) -> tuple[str, ...]:
    """What its notebook shows, cell by cell, without what was printed and where its store lies."""
    cells = json.loads(place.notebook.read_text())["cells"]
    shown = [o for cell in cells for o in cell.get("outputs", ()) if o["output_type"] != "stream"]
    return tuple(json.dumps(o, sort_keys=True).replace(str(place.store), "STORE") for o in shown)


# -- folders --------------------------------------------------------------------------------------
@contextlib.contextmanager
def place_in(folder: Path, shape: str, store: Path | None = None) -> Iterator[Place]:
    """A fresh place; all of its processes are ended when it is left, whatever happened."""
    folder.mkdir(parents=True)
    place = Place(folder, shape, store or folder / "store")
    try:
        yield place
    finally:
        end_all(place.mark, 0.0)


class Disk:
    """A small disk that can be filled: a tmpfs of its own, where it may be mounted.

    folder: where it is mounted; size: its bytes.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self.ballast = folder, folder / "ballast"
        folder.mkdir(parents=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        self.real = _succeeds(command)

    def free(self) -> int:
        """Bytes that can still be written."""
        about = os.statvfs(self.folder)
        return about.f_bavail * about.f_frsize

    def leave(self, free: int) -> None:
        """Fill the disk so that so many bytes are free, to a page."""
        self.ballast.unlink(missing_ok=True)
        self.ballast.write_bytes(bytes(max(0, self.free() - free)))

    def close(self) -> None:
        if self.real:
            subprocess.run(["umount", str(self.folder)], check=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def _succeeds(command: list[str]) -> bool:
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except OSError:
        return False
