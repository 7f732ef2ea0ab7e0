"""What sparsity buys: the benchmark runs, and its tables say what its numbers say."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from benchmarks import savings as bench
from matplotlib.figure import Figure

import synthetic
from lthlib.records import project_root, shipped_store
from lthlib.report import fronts, measures, savings
from lthlib.report.exhibits import Exhibit
from lthlib.report.reading import Reading
from lthlib.study import Study, reference

ROOT = project_root(Path(__file__).parent)
MODELS = ("visualbert", "lxmert", "uniter")
HARDWARE = {"processor": "a processor", "device": "cpu", "cores": 2, "threads": 1}
LADDER = tuple(rung.sparsity for rung in reference("concluding")[0].rungs())


# -- the benchmark -------------------------------------------------------------------------------
@pytest.mark.slow
def test_one_command_measures_every_part(tmp_path: Path) -> None:
    out = tmp_path / "cpu.json"
    command = [sys.executable, "-m", "benchmarks.savings", "--small", "--out", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    found = savings.read_savings(tmp_path)["cpu"]
    assert found["about"]["device"] == device and set(found["about"]["parts"]) == {"savings"}
    times = savings.rows_of(found, "latency")
    assert set(times["model"]) == set(MODELS)
    assert (times["min"] > 0).all() and (times["min"] <= times["median"]).all()
    assert {"dense", "zeros", "structured", "removed"} <= set(times["way"])
    assert (savings.rows_of(found, "memory")["held_bytes"] > 0).all()
    assert "2:4" in savings.two_of_four_sentence(found)
    if device == "cuda":
        return
    files, dead = savings.rows_of(found, "files"), savings.rows_of(found, "dead")
    assert set(files["of"]) == {"drawn", "starts", "recorded"} and set(dead["kind"]) == {
        "head", "neuron",
    }  # fmt: skip
    assert (files["bound"] <= files["coded"]).all() and (files["code"] >= files["entropy"]).all()
    assert (files["coded"] <= files["bits"]).all() and (files["coded"] < files["csr"]).all()
    for exhibit in every_exhibit(found):
        drawn(exhibit)
        assert "too short to be a measurement" in exhibit.caption


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ([2.0, 1.5, 0.5], 0.85),  # halfway between the last two
        ([2.0, 1.0, 0.5], 0.8),
        ([3.0, 2.0, 1.5], None),  # never
        ([0.9, 0.8, 0.7], None),  # always
        ([2.0, 0.9, 1.2], None),  # not at the end: noise
        ([1.5, 0.5, 1.5], None),
    ],
)
def test_break_even_is_interpolated(ratios: list[float], expected: float | None) -> None:
    rows = [
        {"size": "base", "model": "uniter", "way": "csr", "batch": 1, "share": share,
         "ratio_of_minima": ratio}
        for share, ratio in zip((0.5, 0.8, 0.9), ratios, strict=True)
    ]  # fmt: skip
    (found,) = bench.break_even(rows)
    assert found["sparsity"] == (None if expected is None else pytest.approx(expected))
    assert (found["ratio_at_first"], found["ratio_at_last"]) == (ratios[0], ratios[-1])


def test_tickets_come_with_their_names() -> None:
    store = shipped_store()
    run = store.runs()[0]
    levels = store.table("levels", [run])
    found = [
        (about["level"], about["branch"], ticket.sparsity)
        for about, ticket in bench.tickets_of(store, ("main", "random-mask"))
        if about["run"] == run
    ]
    for level, branch, sparsity in found:
        own = levels[(levels["level"] == level) & (levels["branch"] == branch)]
        assert own["sparsity"].iloc[0] == pytest.approx(sparsity)
    assert {branch for _, branch, _ in found} == {"main", "random-mask"}


def test_every_form_of_a_file_holds_what_it_must(tmp_path: Path) -> None:
    weights = {"a.weight": torch.randn(64, 32), "a.bias": torch.randn(64)}
    ticket = bench.pruned({"a.weight": weights["a.weight"]}, 0.75)
    found = bench.sizes_of(ticket, weights, tmp_path)
    kept = 64 * 32 // 4
    assert found["kept"] == kept and found["weights"] == 64 * 33
    assert found["coded"] - found["code"] == found["bits"] - found["bits_alone"]
    assert found["coded"] - found["coded_bfloat16"] == 2 * kept
    assert found["csr"] - (found["coded"] - found["code"]) == 4 * kept + 4 * 65
    assert 0 < found["dense"] - 4 * 64 * 33 < 300
    assert found["coded"] == (tmp_path / "pruned.safetensors").stat().st_size


# -- planted numbers -----------------------------------------------------------------------------
def planted() -> dict[str, Any]:
    """CSR that breaks even at 80 % at base size and never at tiny; a code 3 % beyond the bound."""
    latency = []
    for size, models in (("tiny", MODELS), ("base", ("uniter",))):
        for model in models:
            for batch in (1, 8):
                slow = 1.0 if size == "base" else 4.0
                ways = [("dense", 0.0, 1.0), ("zeros", 0.9, 1.02), ("structured", 0.5, 0.6)]
                ways += [("csr", s, slow * 5 * (1 - s)) for s in (0.5, 0.7, 0.9)]
                ways += [("removed", 0.9, 0.8)] if size == "tiny" else []
                for way, share, ratio in ways:
                    latency.append(
                        {
                            "size": size, "model": model, "way": way, "share": share,
                            "batch": batch, "tokens": 20, "min": 0.01 * ratio,
                            "median": 0.011 * ratio, "repeats": 5, "ratio_of_minima": ratio,
                            "ratio_of_medians": ratio, "lowest_ratio": 0.9 * ratio,
                            "highest_ratio": 1.1 * ratio,
                        }
                    )  # fmt: skip
    files = [
        {
            "of": of, "size": size, "model": model, "sparsity": sparsity, "weights": 1000,
            "prunable": 1000, "kept": round(1000 * (1 - sparsity)), "dense": 4000,
            "coded": 4000 * (1 - sparsity) + 103, "coded_bfloat16": 2000 * (1 - sparsity) + 103,
            "bits": 4000 * (1 - sparsity) + 125, "csr": 8000 * (1 - sparsity),
            "bound": 4000 * (1 - sparsity) + 100, "code": 103 if sparsity else 20,
            "entropy": 100 if sparsity else 0, "bits_alone": 125,
            "task": "digits" if of == "recorded" else None,
            "run": f"{model}-s0" if of == "recorded" else None,
            "level": level if of == "recorded" else None,
        }
        for of, size, models in (
            ("drawn", "base", ("visualbert",)), ("starts", "tiny", MODELS),
            ("recorded", "tiny", MODELS),
        )
        for model in models
        for level, sparsity in enumerate((0.0, 0.5, 0.9))
    ]  # fmt: skip
    dead = [
        {
            "of": of, "size": "tiny", "model": model, "task": "digits", "run": f"{model}-s0",
            "branch": branch, "level": level, "sparsity": 0.3 * level, "kind": kind,
            "total": 16 if kind == "head" else 512, "dead": level * (kind == "neuron"),
            "expected": 0.25,
        }
        for of, branch in (("recorded", "main"), ("recorded", "random-mask"), ("starts", None))
        for model in MODELS
        for level in (1, 2)
        for kind in ("head", "neuron")
    ]  # fmt: skip
    memory = [
        {"size": "base", "model": "uniter", "way": way, "share": share, "held_bytes": held}
        for way, share, held in (("dense", 0.0, 4e8), ("csr", 0.9, 1e8))
    ]
    return {
        "about": {
            "small": False, "device": "cpu",
            "parts": {
                "savings": {
                    "made": "2026-01-01T00:00:00", "hardware": dict(HARDWARE), "commit": "01234567",
                    "versions": {"torch": "2.15"},
                }
            },
        },
        "savings": {
            "latency": latency, "memory": memory, "files": files, "dead": dead,
            "break_even": bench.break_even(latency), "two_of_four": "no GPU",
        },
    }  # fmt: skip


def every_exhibit(found: savings.Found) -> list[Exhibit]:
    exhibits = [savings.memory_table(found), savings.files_figure(found), savings.dead_table(found)]
    exhibits += [savings.files_table(found, of) for of in ("drawn", "starts", "recorded")]
    for size in savings.base_and_tiny(found):
        exhibits.append(savings.latency_table(found, size))
        exhibits += [savings.ratio_figure(found, way, size) for way in ("csr", "structured")]
    return [exhibit for exhibit in exhibits if exhibit is not None]


def drawn(exhibit: Exhibit) -> None:
    assert exhibit.caption and exhibit.alt and not exhibit.data.empty
    if exhibit.figure is None:
        assert exhibit.table is not None and not exhibit.table.isin(["nan", "None"]).any().any()
        return
    assert isinstance(exhibit.figure, Figure)
    exhibit.figure.savefig(io.BytesIO())
    for axes in exhibit.figure.axes:
        assert axes.get_ylabel()
    assert exhibit.figure.axes[-1].get_xlabel()


def test_exhibits_are_whole() -> None:
    found = planted()
    for exhibit in every_exhibit(found):
        drawn(exhibit)
        assert "2026-01-01" in exhibit.caption


def test_sentences_say_what_was_planted() -> None:
    found = planted()
    base, tiny = (savings.break_even_sentence(found, size) for size in ("base", "tiny"))
    assert "as fast as dense at 80.0\u00a0% (batch of 1) and 80.0\u00a0% (batch of 8)" in base
    assert tiny.count("pays at none") == 3 and "takes 2.00 times as long" in tiny
    assert "takes 1.02 times as long" in savings.zeros_sentence(found)
    assert "so zeros alone save no time" in savings.zeros_sentence(found)
    assert "at most 3.0\u00a0% longer" in savings.coding_sentence(found)
    assert "within the aim" in savings.coding_sentence(found)
    dead = savings.dead_sentence(found)
    assert "0 of 48 heads (by chance 0.75) and 6 of 1,536 neurons (by chance 0.75)" in dead
    assert "VisualBERT at 90.0\u00a0%: 0.80" in savings.removal_sentence(found)
    assert "50.0\u00a0% removed, 0.60" in savings.structured_sentence(found, "base")
    assert "no GPU" in savings.two_of_four_sentence(found)


def test_memory_is_told_against_dense() -> None:
    exhibit = savings.memory_table(planted())
    assert exhibit is not None and exhibit.table is not None
    assert list(exhibit.table["against dense"]) == ["1.00", "0.25"]


def test_a_gpu_s_results_have_parts_of_their_own() -> None:
    found = planted()
    rows = found["savings"]["latency"]
    found["savings"] = {
        "latency": [
            *(row for row in rows if row["way"] != "csr"), {**rows[0], "way": "2:4", "share": 0.5}
        ],
        "memory": [{**found["savings"]["memory"][0], "pass_bytes": 5e7}],
        "break_even": [], "files": [], "dead": [], "two_of_four": None,
    }  # fmt: skip
    found["about"]["parts"]["savings"]["hardware"]["device"] = "a GPU"
    assert "on a GPU" in savings.two_of_four_sentence(found)
    assert savings.ratio_figure(found, "csr", "base") is None
    assert savings.files_table(found, "drawn") is None and savings.dead_table(found) is None
    assert "not timed" in savings.break_even_sentence(found, "base")
    for exhibit in every_exhibit(found):
        drawn(exhibit)
    assert savings.first_with({"cuda": found, "later": planted()}, "files") == planted()


def test_files_without_this_part_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "cpu.json").write_text(json.dumps({"about": {}, "masks": {}}))
    (tmp_path / "cuda.json").write_text(json.dumps(planted()))
    assert set(savings.read_savings(tmp_path)) == {"cuda"}


# -- records and cost ----------------------------------------------------------------------------
def readings() -> list[Reading]:
    found = []
    for model in MODELS:
        study = Study.build({"model": model, "ladder": "concluding", "seeds": [0, 1, 2]})
        names = [f"{model}-digits-s{seed}" for seed in range(3)]
        predicted = synthetic.predictions(
            runs=names, levels=6, branches=("random-mask",), items=200
        )
        levels = synthetic.levels(predicted)
        share = levels["level"].map(dict(enumerate(LADDER)))
        levels = levels.assign(sparsity=share, sparsity_all=0.9 * share)
        runs = synthetic.runs(predicted).assign(task="digits")
        parts = {
            "quality": measures.quality(predicted),
            "agreements": measures.agreements(predicted),
            "gate": measures.beats_trivial(predicted),
        }
        found.append(
            Reading(
                study=study, source="", about=({"hardware": HARDWARE},),
                levels=levels.merge(runs, on="run"), matrix=pd.DataFrame(), floor=None,
                predictions=predicted, store=None,  # type: ignore[arg-type]
                **{n: measures.describe(frame, levels, runs) for n, frame in parts.items()},
            )
        )  # fmt: skip
    return found


@pytest.fixture(scope="module")
def read() -> list[Reading]:
    return readings()


def test_every_level_costs_a_training(read: list[Reading]) -> None:
    costs = fronts.search_costs(read)
    assert costs.groupby("level")["trainings"].unique().map(list).to_dict() == {
        level: [level + 1] for level in range(7)
    }
    assert (costs["ratio"] == costs["trainings"]).all(), "20 seconds each"
    exhibit = fronts.search_table(costs, read)
    drawn(exhibit)
    assert "3 seeds" in exhibit.caption and "95 % t interval" in exhibit.caption
    assert "takes 7 trainings" in fronts.search_sentence(costs)


def test_costs_are_those_of_the_same_sparsity() -> None:
    found = fronts.costs_at(planted(), "uniter", pd.Series([0.0, 0.6, 0.9]))
    assert found["kilobytes"].tolist() == pytest.approx([4.103, 1.703, 0.503])
    # CSR at tiny size: 20 (1 - s) times dense's 10 ms, which dense itself takes.
    assert found["milliseconds"].tolist() == pytest.approx([10.0, 80.0, 20.0])


def test_the_front_is_what_nothing_else_beats(read: list[Reading]) -> None:
    rows = fronts.front_rows(read, planted())
    for (_, measure), own in rows.groupby(["model", "measure"]):
        for cost in fronts.COSTS:
            front = own[own[f"front_{cost}"]]
            assert (front["low"].astype(float) > front["trivial"]).all()
            for _, point in own.iterrows():
                rival = own[
                    (own[cost] <= point[cost])
                    & (own["mean"] >= point["mean"])
                    & ((own[cost] < point[cost]) | (own["mean"] > point["mean"]))
                ]
                beaten = len(rival) > 0 or not point["low"] > point["trivial"]
                assert point[f"front_{cost}"] == (not beaten), (measure, cost)
    dense = rows[(rows["level"] == 0) & (rows["measure"] == "fidelity")]
    assert len(dense) == 3 and (dense["mean"].astype(float) == 1).all()
    assert dense["front_kilobytes"].all() and dense["front_milliseconds"].all()


def test_front_figures_and_table_are_whole(read: list[Reading]) -> None:
    found = planted()
    rows = fronts.front_rows(read, found)
    for measure in ("accuracy", "fidelity"):
        for cost in fronts.COSTS:
            exhibit = fronts.front_figure(rows, read, found, measure, cost)
            drawn(exhibit)
            assert "3 seeds, 200 test items" in exhibit.caption
            assert "95 % t interval over seeds" in exhibit.caption
    table = fronts.front_table(rows, read, found)
    drawn(table)
    assert table.table is not None and len(table.table) == 3 * (1 + 6 * 2)
    said = fronts.front_sentence(rows)
    assert "of 13 entries of each model" in said and "by means over seeds" in said
