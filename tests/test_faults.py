"""What a crash leaves: nothing that a finished run would not have, and no process either."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from benchmarks.faults import __main__ as faults
from benchmarks.faults import checks, places, processes
from benchmarks.faults.kinds import KINDS

from degenerate import Page, execute
from lthlib import records
from lthlib.errors import RecordError
from lthlib.records import open_store
from lthlib.report import faults as report
from test_records import write_run

ROOT = Path(__file__).parents[1]

DIE = """
import sys
sys.path[:0] = [sys.argv[2], sys.argv[2] + "/tests"]
from benchmarks.killing import die_in_write
from lthlib.records import open_store
from test_records import write_run
die_in_write(int(sys.argv[3]), sys.argv[4])
write_run(open_store(sys.argv[1]))
"""


# -- what was wrong once --------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("limit", "moment"), [(1, "half"), (2, "whole"), (16, "half"), (22, "whole"), (22, "renamed")]
)
def test_a_write_that_was_killed_leaves_nothing_once_resumed(
    tmp_path: Path, limit: int, moment: str
) -> None:
    """The half-written file of a killed writer, of items and of the run, is gone after a resume."""
    place = tmp_path / "store"
    command = [sys.executable, "-c", DIE, str(place), str(ROOT), str(limit), moment]
    assert subprocess.run(command, check=False).returncode == -9
    assert moment == "renamed" or checks.stray_files(place)
    for store in (place, tmp_path / "whole"):
        write_run(open_store(store))
    assert checks.differences(place, tmp_path / "whole") == []
    assert checks.stray_files(place) == []


@pytest.mark.slow
def test_workers_end_with_the_controller_that_was_killed(tmp_path: Path) -> None:
    with places.place_in(tmp_path / "study", "one") as place:
        process = place.start_lth()
        assert processes.wait_until(lambda: processes.in_role(place.mark, "worker"), 60)
        process.kill()
        process.wait()
        assert processes.end_all(place.mark, 30) == []
        assert checks.damaged_runs(place.store) == []


def test_items_that_another_run_has_just_written_are_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs write the same items at once; the second one's temporary file is swept."""
    store, items = open_store(tmp_path), pd.DataFrame({"item": ["a"]})
    monkeypatch.setattr(records.os, "fsync", lambda _: swept())

    def swept() -> None:
        monkeypatch.undo()
        open_store(tmp_path).write_items("k", items)

    store.write_items("k", items)
    assert store.items("k")["item"].tolist() == ["a"]
    assert checks.stray_files(tmp_path) == []


# -- the checks find what is planted --------------------------------------------------------------
@pytest.fixture
def stores(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("store", "whole"):
        write_run(open_store(tmp_path / name))
    return tmp_path / "store", tmp_path / "whole"


def found(store: Path, whole: Path, notes: list[checks.Note] | None = None) -> dict[str, list[str]]:
    findings = checks.check_finished(store, whole, notes or [])
    return {name: lines for name, lines in vars(findings).items() if lines}


def test_two_stores_of_the_same_run_are_clean(stores: tuple[Path, Path]) -> None:
    assert found(*stores) == {}
    assert checks.tree(stores[0])


@pytest.mark.parametrize("name", ["r/manifest.json", "r/study.json", "items/k/items.parquet"])
def test_one_changed_byte_is_found(stores: tuple[Path, Path], name: str) -> None:
    path = stores[0] / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert found(*stores)["differing"] == [name]


def test_a_missing_and_an_empty_file_are_found(stores: tuple[Path, Path]) -> None:
    (stores[0] / "r" / "curves.parquet").unlink()
    (stores[0] / "r" / "extra").mkdir()
    said = found(*stores)
    assert said["differing"] == ["r/curves.parquet", "r/extra"]
    assert "curves.parquet is missing" in said["damaged"][0]


def test_stray_files_and_parts_are_found(stores: tuple[Path, Path]) -> None:
    (stores[0] / "r" / ".study.json.abcd1234").write_bytes(b"{")
    (stores[0] / "r" / "parts").mkdir()
    assert checks.stray_files(stores[0]) == ["r/.study.json.abcd1234", "r/parts"]


def test_a_held_lock_is_found(stores: tuple[Path, Path]) -> None:
    with open_store(stores[0]).writer("r", {}):
        code = (
            "import sys; from pathlib import Path; from benchmarks.faults import checks; "
            "print(checks.held_locks(Path(sys.argv[1])))"
        )
        command = [sys.executable, "-c", code, str(stores[0])]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout == "['r.lock']\n"
    assert checks.held_locks(stores[0]) == []


def notes(*lines: str) -> list[checks.Note]:
    return [(7, tuple(line.split())) for line in lines]


def test_a_level_computed_twice_is_found() -> None:
    once = notes("begin level r 0", "begin level r 0", "end level r 0", "begin level r 1")
    assert checks.computed_twice(once) == []
    assert checks.levels(once) == (3, 1)
    assert checks.computed_twice([*once, *notes("begin level r 0")]) == ["r level 0"]
    # The process died before it could note the end, but the level was there on the disk.
    sealed = [*once, (0, ("sealed", "r", "1")), *notes("begin level r 1")]
    assert checks.computed_twice(sealed) == ["r level 1"]
    assert checks.computed_twice([*once, *notes("begin level other 0")]) == []


@pytest.mark.parametrize(
    ("line", "where"),
    [
        (None, "start-up"),
        ("begin write /c/digits-train.npz 9", "start-up"),
        ("begin write /s/r/parts/identity.json 9", "beginning the run"),
        ("end write /s/items/k/manifest.json 9", "beginning the run"),
        ("begin level r 0", "training"),
        ("begin write /s/r/parts/level-000/levels.parquet 9", "writing a level"),
        ("end level r 0", "between levels"),
        ("begin write /s/r/manifest.json 9", "finishing the run"),
        ("begin remove /s/r/parts", "removing parts"),
    ],
)
def test_phases_come_from_the_last_note(line: str | None, where: str) -> None:
    before = notes(line) if line else []
    assert checks.phase(before, False) == where
    assert where in report.PHASES
    assert checks.phase(before, True) == "after the records"


def test_kills_are_shared_among_all_kinds() -> None:
    assert sum(kind.share for kind in KINDS.values()) == pytest.approx(1)
    counts = faults.shares(200, KINDS)
    assert counts.keys() == KINDS.keys()
    assert 200 <= sum(counts.values()) < 200 + len(KINDS)
    assert min(faults.shares(1, KINDS).values()) == 1


# -- the script -----------------------------------------------------------------------------------
@pytest.mark.slow
def test_a_handful_of_kills(tmp_path: Path) -> None:
    out = tmp_path / "faults.json"
    command = [sys.executable, "-m", "benchmarks.faults", "--kills", "2", "--out", str(out)]
    command += ["--kind", "write"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    result = report.read_faults(out)
    assert result
    assert result["totals"]["kills"] == 2
    assert result["totals"]["differing_runs"] == result["totals"]["computed_twice"] == 0
    assert report.totals(result)["found"].sum() == 0
    assert report.kinds(result)["times"].tolist() == [2]


# -- the page -------------------------------------------------------------------------------------
def outcome() -> dict[str, Any]:
    hits = [
        {"kind": "write", "victim": "in a write, half", "phase": phase, "seconds": 1.0}
        for phase in ("training", "training", "writing a level")
    ]
    clean = dict.fromkeys(vars(checks.Findings()), 0)
    kind = {
        "about": "dies in a write", "hits": hits, "studies": 2, "runs": 2, "differing_runs": 0,
        "findings": clean,
    }  # fmt: skip
    return {
        "about": {
            "made": "2026-01-02T03:04:05+00:00", "seconds": 120.0, "seed": 3, "small": False,
            "study": places.SETTINGS, "comparison": "all files", "disks": ["tmpfs"],
            "hardware": {"processor": "a machine"}, "versions": {"torch": "9"},
        },
        "kinds": {"write": kind},
        "totals": {
            "kills": 3, "resumes": 3, "studies": 2, "runs": 2, "identical_runs": 2,
            "differing_runs": 0, "levels_trained": 8, "levels_given_up": 1, **clean,
        },
    }  # fmt: skip


def page(found: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Page:
    (folder / "faults.json").write_text(json.dumps(found))
    return execute("faults", monkeypatch, results=str(folder / "faults.json"))


def test_the_page_counts_what_was_struck(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = page(outcome(), tmp_path, monkeypatch)
    assert "a resume: **3**" in made.said[0] and "in every byte: **2**" in made.said[0]
    (row,) = made.shown["kinds"].data.to_dict("records")
    assert (row["times"], row["identical"], row["struck"]) == (3, 2, "in a write, half 3")
    phases = made.shown["phases"].data
    assert phases.iloc[-1].to_dict() == {"kind": "all", "training": 2, "writing a level": 1}
    assert made.shown["totals"].data["found"].sum() == 0 and made.faults() == []


def test_the_page_does_not_hide_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = outcome()
    bad["totals"] |= {"differing_runs": 1, "stray": 2}
    made = page(bad, tmp_path, monkeypatch)
    assert "in every byte: **1**" in made.said[0]
    found = made.shown["totals"].data.set_index("what")["found"]
    assert found["runs that differ from the uninterrupted run"] == 1
    assert found["temporary files or forgotten parts"] == 2 and found.sum() == 3


def test_the_page_says_what_makes_it_and_refuses_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert report.read_faults(tmp_path / "faults.json") is None
    absent = execute("faults", monkeypatch, results=str(tmp_path / "faults.json"))
    assert "`python -m benchmarks.faults` does it" in absent.said[0] and not absent.shown
    path = tmp_path / "faults.json"
    for damaged in ("{", "[]", json.dumps({**outcome(), "kinds": {}})):
        path.write_text(damaged)
        with pytest.raises(RecordError, match=r"faults.json is damaged: run `python -m"):
            report.read_faults(path)
    path.write_text(json.dumps(outcome()))
    assert report.read_faults(path) == outcome()
