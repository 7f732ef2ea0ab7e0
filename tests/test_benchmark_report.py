"""The benchmark of the report: its runs are whole, and it counts what it says."""

from __future__ import annotations

import json
import multiprocessing
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks import memory, report, writing

from lthlib.packs import store_at
from lthlib.records import shipped_store
from lthlib.report import benchmarks as tables
from lthlib.report.reading import read
from lthlib.study import plan

ABOUT = {
    "made": "2025-01-01T00:00:00+00:00",
    "commit": "0" * 40,
    "hardware": {"device": "cpu", "processor": "made up", "cores": 2},
    "versions": {"torch": "0"},
}


def results(name: str, part: dict[str, Any]) -> dict[str, Any]:
    found = {"about": {"parts": {name: ABOUT}}, name: part}
    return dict(json.loads(json.dumps(found)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("made")
    report.write_study(made, report.studies(20)[1], packed=True)
    return made


@pytest.mark.parametrize("kind", [report.RUNS, report.PACKS])
def test_made_runs_are_whole_and_like_the_shipped_ones(folder: Path, kind: str) -> None:
    store, study = store_at(folder / kind), report.studies(20)[1]
    names = study.run_ids()
    assert len(names) == report.SEEDS
    for name in names:
        store.verify(name)
    like = next(s for s in plan("quick", task="digits") if s.model == study.model)
    for table in ("predictions", "levels", "curves"):
        ours, theirs = (
            s.table(table, [run])
            for s, run in ((store, names[0]), (shipped_store(), like.run_id(0)))
        )
        if kind == report.RUNS:  # packs leave out controls that are not yet trained
            assert len(ours) == len(theirs)
        assert set(ours.columns) == set(theirs.columns)
    found = read(study, store)
    assert found.quality["accuracy"].between(0.4, 1).all()
    # Ten seeds on the same items, none with the answers of another.
    main = found.matrix[found.matrix["run_a"] != found.matrix["run_b"]]
    assert (main["fidelity"] < 1).all()


def test_no_two_made_files_are_the_same(folder: Path) -> None:
    store, study = store_at(folder / report.RUNS), report.studies(20)[1]
    files = [store.manifest(run)["files"] for run in study.run_ids()]
    for name in files[0]:
        assert len({each[name]["sha256"] for each in files}) == len(files), name


def test_growth_is_the_exponent() -> None:
    linear = {"10": {"seconds": 2.0}, "100": {"seconds": 20.0}, "1000": {"seconds": 200.0}}
    assert report.growth(linear, "seconds") == pytest.approx(1)
    square = {"10": {"seconds": 1.0}, "100": {"seconds": 100.0}}
    assert report.growth(square, "seconds") == pytest.approx(2)
    assert report.growth({"10": {"seconds": 1.0}}, "seconds") is None


def _hold(pipe: Any) -> None:
    ballast = np.ones(2**24)
    pipe.send(len(ballast))
    pipe.recv()


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_memory_of_children_counts() -> None:
    before = memory.tree_bytes()
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_hold, args=(theirs,))
    process.start()
    ours.recv()
    during = memory.tree_bytes()
    ours.send("enough")
    process.join()
    assert during - before > 2**27
    assert memory.tree_bytes() - before < 2**26


@pytest.mark.slow
def test_the_report_is_measured_and_told() -> None:
    part = report.measure(small=True)
    assert set(part["runs"]) == set(part["packs"]) == {str(size) for size in report.SMALL}
    for each in part["runs"].values():
        assert each["seconds"] == pytest.approx(sum(each[s]["seconds"] for s in report.STEPS))
    assert part["form"] == {
        "seeds": 10, "levels": 4, "records": 14, "items": 1600, "decisions": 22_400,
        "bytes": part["form"]["bytes"],
    }  # fmt: skip
    assert len(tables.report(results("report", part))) == 2 * len(report.SMALL)


@pytest.mark.slow
def test_writing_is_a_part_of_a_run(tmp_path: Path) -> None:
    part = writing.measure(small=True)
    spent = {k: v for k, v in part["seconds"].items() if k != "training and evaluation"}
    assert set(spent) == {"items", "levels", "finish"}
    assert all(seconds > 0 for seconds in spent.values())
    computed = part["seconds"]["training and evaluation"]
    assert part["share"] == pytest.approx(sum(spent.values()) / computed)
    assert part["levels"] == 2
    assert len(tables.writing(results("writing", part))) == 4
