"""What a grid costs and what was proven: arithmetic by hand, and files that are not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lthlib.errors import RecordError
from lthlib.packs import pack, store_at
from lthlib.records import Files, shipped_store
from lthlib.report import grid
from lthlib.report.words import in_bytes

ABOUT: dict[str, Any] = {
    "made": "2026-01-02T03:04:05+00:00", "small": False, "load_before": 0.1,
    "hardware": {"processor": "a processor", "cores": 2},
    "versions": {
        "slurm": "22.05", "snakemake": "9.0", "torch": "2.0",
        "snakemake-executor-plugin-slurm": "2.0",
    },
}  # fmt: skip
OUTCOME: dict[str, Any] = {
    "about": dict.fromkeys(("checks", "planning", "throughput"), ABOUT),
    "checks": {
        "devices": {
            "what": "x", "passed": True, "jobs": 4, "devices": ["0", "1"], "levels": 16,
            "computations_begun": 16, "levels_begun_again": 0, "files_that_differ": [],
        },
        "killed_jobs": {
            "what": "x", "passed": False, "killed": 2, "tries": 4, "levels": 8,
            "computations_begun": 10, "levels_begun_again": 2,
            "finished_levels_begun_again": 0, "files_that_differ": ["a/b"],
        },
    },
    "throughput": {
        "slurm": {
            "runs": 4, "seconds": {"1": [100.0], "2": [52.0]}, "ratio": 100 / 52,
            "seconds_per_run": 20.0, "overhead_per_job": 36.0,
        }
    },
    "planning": [
        {"jobs": 100, "seconds": 3.0, "bytes": 100e6},
        {"jobs": 300, "seconds": 5.0, "bytes": 120e6},
    ],
}  # fmt: skip
COSTS = pd.DataFrame(
    {
        "store": ["s", "s", "t"], "run": ["a-s0", "a-s1", "b-s0"], "study": ["a", "a", "b"],
        "device": ["cpu", "cpu", "cuda"], "levels": [3, 5, 2], "seconds": [30.0, 42.0, 7.2],
        "bytes": [1000, 3000, 10_000], "weights": [100, 100, 1000],
    }
)  # fmt: skip


def test_the_model_is_means_multiplied() -> None:
    model = grid.cost_model(COSTS, OUTCOME)
    assert list(model["runs"]) == [10, 1_000, 100_000] * 2
    first, last = model.iloc[1], model.iloc[5]
    assert first["hours"] == pytest.approx(1_000 * 36 / 3600)
    assert first["bytes"] == 1_000 * 2_000
    assert first["jobs"] == 4_000
    assert first["hours_jobs"] == pytest.approx(1_000 * 36 / 3600)
    assert first["plan_seconds"] == pytest.approx(2 + 1_000 / 100)
    assert last["hours"] == pytest.approx(100_000 * 7.2 / 3600)
    assert last["device"] == "cuda"


def test_the_table_says_cores_and_gpus_apart() -> None:
    exhibit = grid.cost_table(COSTS, OUTCOME)
    assert exhibit.table is not None
    assert {"hours of one core", "hours of one GPU"} <= set(exhibit.table.columns)
    assert exhibit.table["hours of one core"].tolist()[3:] == ["", "", ""]
    assert "2 runs of 1 study in s (one core each)" in exhibit.caption
    assert exhibit.data["bytes"].iloc[0] == 20_000
    bare = grid.cost_table(COSTS, None)
    assert bare.table is not None
    assert set(bare.table["for jobs beside"]) == {"not measured"}


def test_sentences_are_computed() -> None:
    said = grid.cost_sentence(COSTS, OUTCOME, 500.0)
    assert "A recorded run took 26 s and 5 kB on average over 3 runs" in said
    assert "A job cost 36 s beside its training where SLURM was asked every second" in said
    assert "50 MB once they are packed" in said
    assert "12 kB for a recorded run of 2 levels and 1,000 weights" in grid.while_running(COSTS)
    planned = grid.planning_sentence(OUTCOME)
    assert "10.0 ms and 100 kB a job (slopes of lines)" in planned
    most = max(OUTCOME["planning"], key=lambda entry: entry["jobs"])
    assert f"The most that was measured: {most['jobs']:,} jobs" in planned
    told = grid.outcome_sentence(OUTCOME)
    assert "1 of 2 checks passed" in told
    assert "24 levels had to be computed, and 26 computations were begun: 2 levels" in told
    assert "and none that was finished" in told
    assert "1 file differs" in told
    assert "1.92 (slurm)" in told
    short = {**OUTCOME, "about": {**OUTCOME["about"], "throughput": {**ABOUT, "small": True}}}
    assert "too short to measure" in grid.outcome_sentence(short)


def test_gpu_hours_come_from_the_benchmarks() -> None:
    assert "GPU hours are missing" in grid.gpu_sentence({"cpu": {}})
    cuda = {
        "about": {"parts": {"vsr": {"hardware": {"device": "a GPU"}}}},
        "vsr": {"models": {"a": {"fine_tuning_seconds": 4.0}, "b": {"fine_tuning_seconds": 3.2}}},
    }
    said = grid.gpu_sentence({"cuda": cuda})
    assert "takes 4 s (mean of 2 models)" in said
    assert "1,000 take 1.0 h and 100,000 take 100 h" in said


def test_a_check_that_failed_stands_out() -> None:
    exhibit = grid.outcome_table(OUTCOME)
    assert exhibit.table is not None
    assert exhibit.table["passed"].tolist() == ["yes", "NO"]
    assert "devices 0 and 1" in exhibit.table["what happened"].iloc[0]
    assert "SLURM 22.05" in exhibit.caption
    assert grid.throughput_table(OUTCOME).table is not None


def test_an_outcome_is_read_absent_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "slurm.json"
    assert grid.read_outcome(path) is None
    path.write_text(json.dumps(OUTCOME))
    assert grid.read_outcome(path) == OUTCOME
    for text in ("{", "{}", "3"):
        path.write_text(text)
        with pytest.raises(RecordError, match="is damaged"):
            grid.read_outcome(path)


def test_costs_of_shipped_runs_and_of_their_packs_agree(tmp_path: Path) -> None:
    store = shipped_store()
    pack([run for run in store.runs() if run.startswith("lxmert")], store, Files(tmp_path))
    packed = store_at(tmp_path)
    whole = grid.recorded_costs({"x": store})
    same = grid.recorded_costs({"x": packed})
    lxmert = whole[whole["study"].str.startswith("lxmert")].reset_index(drop=True)
    pd.testing.assert_frame_equal(lxmert, same)
    assert (whole["seconds"] > 0).all()
    size = grid.packed_bytes(packed)
    assert size is not None
    assert 0 < size < whole["bytes"].mean()
    assert grid.packed_bytes(store) is None


def test_a_store_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no finished run"):
        grid.recorded_costs({"empty": store_at(tmp_path)})


def test_sizes_in_words() -> None:
    assert [in_bytes(size) for size in (1, 2.5e6, 3e13)] == ["1 kB", "2.5 MB", "30 TB"]
