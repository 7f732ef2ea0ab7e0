"""What every process of the fault script starts with: Python imports this file by its name.

Each process gets one clock that stands still, and one mark in place of the commit, so that two runs
that do the same write the same bytes. It also gets the study to run as a preset, and notes in a
journal what it begins and writes; a note is one line that is appended at once, so that a killed
process leaves whole lines. Where no disk can be filled, writes fail as on a full one. The library's
own files are not touched.

Nothing is imported here before the process itself imports it: the patches wait for the modules.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

STILL = "2000-01-01T00:00:00+00:00"
JOURNAL, STUDY, FULL = "LTH_FAULTS_JOURNAL", "LTH_FAULTS_STUDY", "LTH_FAULTS_FULL"
PRESET = "faults"


def note(*words: object) -> None:
    """One line in the journal: this process, and what it does."""
    if path := os.environ.get(JOURNAL):
        line = " ".join(map(str, (os.getpid(), *words))) + "\n"
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, line.encode())
        os.close(handle)


@contextlib.contextmanager
def noted(*words: object) -> Iterator[None]:
    note("begin", *words)
    yield
    note("end", *words)


def add_preset(study: Any) -> None:
    settings = json.loads(os.environ[STUDY])
    study.PRESETS[PRESET] = study.Preset("the study of the fault script", settings, [{}])


def note_writes(records: Any) -> None:
    write, remove = records.write_atomically, records.Files.remove

    def write_and_note(path: Any, data: bytes) -> None:
        with noted("write", path, len(data)):
            write(path, data)

    def remove_and_note(files: Any, name: str) -> None:
        with noted("remove", files.path(name)):
            remove(files, name)

    records.write_atomically = write_and_note
    records.Files.remove = remove_and_note
    if limit := os.environ.get(FULL):
        from benchmarks.killing import fill_disk_in_write

        fill_disk_in_write(int(limit))


def stop_clock(provenance: Any) -> None:
    provenance.now = lambda: STILL
    provenance._commit = lambda: "fixed"


def note_levels(lottery: Any) -> None:
    lottery.time = SimpleNamespace(perf_counter=lambda: 0.0)
    write_level = lottery.Lab.write_level

    def write_and_note(lab: Any, writer: Any, rung: Any) -> None:
        with noted("level", lab.name, rung.level):
            write_level(lab, writer, rung)

    lottery.Lab.write_level = write_and_note


PATCHES: dict[str, Callable[[Any], None]] = {
    "lthlib.study": add_preset,
    "lthlib.records": note_writes,
    "lthlib.lab.provenance": stop_clock,
    "lthlib.lab.lottery": note_levels,
}


class Patching:
    """Finds the modules of PATCHES as Python does, and patches each once it is there."""

    def find_spec(self, name: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        if name not in PATCHES:
            return None
        patch = PATCHES.pop(name)  # taken out first, so that the search below does not end here
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def load_and_patch(module: ModuleType) -> None:
            load(module)
            patch(module)

        setattr(spec.loader, "exec_module", load_and_patch)  # noqa: B010
        return spec


if STUDY in os.environ:
    sys.meta_path.insert(0, Patching())
