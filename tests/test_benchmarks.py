"""Benchmarks: they run, compare like with like, and write one file the book can read."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
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
    assert set(found) == {"about", "masks", "ladder", "pruning"}
    assert found["about"]["small"]
    for table in (report.masks_table, report.ladder_table, report.pruning_table):
        assert not table(found).data.empty


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_a_store_larger_than_its_batches_stays_on_disk(tmp_path: Path) -> None:
    """A store of 0.9 GB, batches of 19 MB: what a batch takes, and nothing of the rest."""
    folder = streaming.sparse_store(tmp_path / "store", 3000)
    assert (folder / "regions.safetensors").stat().st_size > 800 * 2**20
    found = streaming.stream(folder, questions=20_000, batches=6)
    assert found["peak_bytes"] - found["before_bytes"] < 200 * 2**20


def test_store_and_table_give_the_same_features(tmp_path: Path) -> None:
    found = streaming.against_table(tmp_path, images=3, repeats=1)
    assert set(found) == {"store", "table", "ratio"}
    table = streaming.TsvSource(tmp_path / "obj36.tsv")
    store = streaming.RegionStore(tmp_path / "store")
    for row, name in enumerate(table.images):
        assert (store.features(np.array([row]))[0] == table.read(name).features).all()
