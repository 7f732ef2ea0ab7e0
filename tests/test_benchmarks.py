"""Benchmarks: they run, compare like with like, and write one file the book can read."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from benchmarks import streaming, timing, training

from lthlib.lab.lottery import Lab
from lthlib.report import benchmarks as report

ROOT = Path(__file__).parents[1]


def test_ratios_are_taken_turn_by_turn() -> None:
    seconds = {"ours": [1.0, 2.0, 4.0], "theirs": [2.0, 2.0, 5.0]}
    assert timing.compare(seconds, "ours", "theirs") == {
        "ratio_of_minima": 0.5, "ratio_of_medians": 1.0, "lowest_ratio": 0.5, "highest_ratio": 1.0,
    }  # fmt: skip
    assert timing.summary(seconds)["ours"] == {"min": 1.0, "median": 2.0, "repeats": 3}


def test_ways_take_turns() -> None:
    order: list[str] = []
    timing.interleave({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2)
    assert order == ["a", "b"] * 3
    assert timing.interleave({"a": lambda: 7.0}, 2) == {"a": [7.0, 7.0]}


def hold(megabytes: int) -> None:
    torch.ones(megabytes * 2**18)


@pytest.mark.slow
def test_peak_memory_is_the_childs_own() -> None:
    ballast = torch.ones(2**28)  # a gigabyte here must not count there
    small, large = timing.peak_bytes(hold, 1), timing.peak_bytes(hold, 301)
    assert 290 * 2**20 < large - small < 310 * 2**20
    assert small < ballast.numel() * 4


def test_both_ways_prune_the_same_number_of_weights() -> None:
    lab = Lab(training.ladder_study("uniter", 32, "tiny"), 0)
    theirs = copy.deepcopy(lab.model)
    training.train_their_way(theirs, lab.task, lab.study, 0.5)
    masks = {n: b for n, b in theirs.named_buffers() if n.endswith("_mask")}
    zeros = sum(int((mask == 0).sum()) for mask in masks.values())
    training.train_our_way(lab, 0.5)
    ours = sum(int((p == 0).sum()) for p in lab.model.parameters())
    assert sum(m.numel() for m in masks.values()) == sum(p.numel() for p in lab.model.parameters())
    assert zeros == ours


@pytest.mark.slow
def test_one_command_writes_one_file(tmp_path: Path) -> None:
    out = tmp_path / "cpu.json"
    command = [sys.executable, "-m", "benchmarks", "--small", "--out", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    found = json.loads(out.read_text())
    assert set(found) == {"about", "masks", "ladder", "pruning", "streaming"}
    assert found["about"]["small"]
    for table in (
        report.masks_table, report.ladder_table, report.pruning_table, report.streaming_table,
    ):  # fmt: skip
        assert not table(found).data.empty


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_a_store_larger_than_its_batches_stays_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store of 0.9 GB, batches of 19 MB: what a batch takes, and nothing of the rest."""
    images, questions = {"train": 2000, "test": 1000}, {"train": 2000, "test": 500}
    store = streaming.sparse_store(tmp_path / "features" / streaming.STORE, images)
    assert (store / "regions.safetensors").stat().st_size > 800 * 2**20
    streaming.write_questions(tmp_path, images, questions)
    for name in ("LTHLIB_DATA", "LTHLIB_CACHE"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setattr(streaming.vqa, "PARTS", copy.deepcopy(streaming.vqa.PARTS))
    streaming.expect(questions)
    found = streaming.stream(tmp_path, batches=6)
    assert found["batches"]["peak_bytes"] - found["before_bytes"] < 300 * 2**20
    assert found["questions"] == 2500
