"""What is asked of a store after a crash: functions of a folder and of a journal, and no more.

A journal is what `start/sitecustomize.py` writes: lines of a process's number, `begin` or `end`,
what it does (`level` RUN LEVEL, `write` PATH, `remove` PATH). The script adds a line `0 sealed RUN
LEVEL` for each level that it finds finished after a kill.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from filelock import FileLock, Timeout

from lthlib.errors import LthError
from lthlib.records import RecordStore, read_manifest, read_sealed

Note = tuple[int, tuple[str, ...]]


@dataclass
class Findings:
    """What is wrong, by kind; each a list of lines, empty where all is well."""

    differing: list[str] = field(default_factory=list)
    stray: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    locked: list[str] = field(default_factory=list)
    computed_twice: list[str] = field(default_factory=list)
    unclear_ends: list[str] = field(default_factory=list)
    left_running: list[str] = field(default_factory=list)

    def add(self, other: Findings) -> None:
        for each in fields(self):
            getattr(self, each.name).extend(getattr(other, each.name))

    def lines(self) -> list[str]:
        return [f"{name}: {line}" for name, lines in vars(self).items() for line in lines]


def read_journal(path: Path) -> list[Note]:
    """(process, words) of each line."""
    if not path.exists():
        return []
    lines = [line.split(" ") for line in path.read_text().splitlines()]
    return [(int(first), tuple(words)) for first, *words in lines]


def check_finished(store: Path, whole: Path, notes: Sequence[Note]) -> Findings:
    """A store whose study was killed and resumed to its end, beside an uninterrupted one."""
    return Findings(
        differing=differences(store, whole),
        stray=stray_files(store),
        damaged=damaged_runs(store),
        locked=held_locks(store),
        computed_twice=computed_twice(notes),
    )


def differences(store: Path, whole: Path) -> list[str]:
    """Files and folders that only one of the two has, or that differ in a byte."""
    ours, theirs = tree(store), tree(whole)
    return sorted(name for name in {*ours, *theirs} if ours.get(name, 0) != theirs.get(name, 0))


def tree(folder: Path) -> dict[str, bytes | None]:
    """Content of every file below a folder by its relative path, hidden ones too; None: folders."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def stray_files(store: Path) -> list[str]:
    """Temporary files anywhere, and parts of runs that are finished."""
    names = sorted(tree(store))
    hidden = [name for name in names if Path(name).name.startswith(".")]
    finished = [run for run in RecordStore(store).runs() if f"{run}/parts" in names]
    return hidden + [f"{run}/parts" for run in finished]


def damaged_runs(store: Path) -> list[str]:
    """What counts as finished (runs, levels, items) and is not whole."""
    records, found = RecordStore(store), []
    for name in records.files.names():
        for part in _sealed(records, name):
            try:
                manifest = read_manifest(records.files, part)
                for file in manifest["files"]:
                    read_sealed(records.files, part, file, manifest)
            except LthError as error:
                found.append(str(error))
    return found


def _sealed(store: RecordStore, name: str) -> Iterable[str]:
    """Folders under a name of the store that have a manifest."""
    folders = [name, *(f"{name}/{inner}" for inner in store.files.names(name))]
    if not store.has(name):  # the parts of a finished run count for nothing any more
        folders += [f"{name}/parts/{inner}" for inner in store.files.names(f"{name}/parts")]
    return [folder for folder in folders if store.files.exists(f"{folder}/manifest.json")]


def sealed_levels(store: Path) -> list[tuple[str, str]]:
    """(run, level) of every finished level of an unfinished run."""
    records = RecordStore(store)
    return [
        (run, str(level))
        for run in records.files.names()
        for level in range(records.levels_done(run))
    ]


def held_locks(store: Path) -> list[str]:
    """Locks that no other process can take."""
    found = []
    for path in sorted((store / "locks").glob("*.lock")):
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
            lock.release()
        except Timeout:
            found.append(path.name)
    return found


def computed_twice(notes: Iterable[Note]) -> list[str]:
    """Levels that were begun after they had been finished."""
    finished: set[tuple[str, ...]] = set()
    found = []
    for _, words in notes:
        if words[:2] == ("end", "level") or words[0] == "sealed":
            finished.add(words[-2:])
        elif words[:2] == ("begin", "level") and words[-2:] in finished:
            found.append(f"{words[-2]} level {words[-1]}")
    return found


def levels(notes: Iterable[Note]) -> tuple[int, int]:
    """How many trainings of a level were begun, and how many different levels were finished."""
    begun, finished = 0, set()
    for _, words in notes:
        begun += words[:2] == ("begin", "level")
        if words[:2] == ("end", "level") or words[0] == "sealed":
            finished.add(words[-2:])
    return begun, len(finished)


def phase(notes: Sequence[Note], finished: bool) -> str:
    """Where an attempt stood when it was killed, from the last thing that it noted.

    notes: of the killed processes, in this attempt only.
    finished: whether all runs of the study are.
    """
    if finished:
        return "after the records"
    if not notes:
        return "start-up"
    words = notes[-1][1]
    if words[1] == "level":
        return "training" if words[0] == "begin" else "between levels"
    path = Path(words[2])
    if words[1] == "remove":
        return "removing parts"
    if path.suffix == ".npz":  # the items of the task, kept for the next time
        return "start-up"
    if path.parent.name.startswith("level-"):
        return "writing a level"
    begun = path.name == "identity.json" or path.parent.parent.name == "items"
    return "beginning the run" if begun else "finishing the run"
