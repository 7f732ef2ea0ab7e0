"""Benchmarks: they run, compare like with like, and write one file the book can read."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from benchmarks import peers, shapes, speed, streaming, timing, training
from benchmarks.__main__ import ON_CPU, joined, parts

from lthlib.lab.lottery import Lab
from lthlib.lab.models import VLModel
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


@pytest.mark.parametrize("peer", peers.THEIRS)
def test_peers_train_all_weights_and_prune_as_many(peer: str) -> None:
    """Like is compared with like: every way ends with the same number of zeros, weights moved."""
    lab = Lab(training.ladder_study("uniter", 32, "tiny"), 0)
    trained: list[VLModel] = []
    real = peers.copy.deepcopy

    def noted(model: VLModel) -> VLModel:
        trained.append(real(model))
        return trained[-1]

    with pytest.MonkeyPatch.context() as patch, peers.quietly():
        patch.setattr(peers, "copy", SimpleNamespace(deepcopy=noted))
        peers.THEIRS[peer](lab, 0.5)
    (theirs,) = trained
    # Lightning makes its pruning permanent where training ends; the others leave a mask beside.
    masks = [b for n, b in theirs.named_buffers() if n.endswith("_mask")]
    zeros = sum(int((v == 0).sum()) for v in (masks or theirs.parameters()))
    peers.ours(lab, 0.5)
    assert zeros == sum(int((p == 0).sum()) for p in lab.model.parameters())
    moved = dict(theirs.named_parameters())
    start = {n: v for n, v in lab.theta_0.items() if n in lab.prunable}
    after = {n: moved.get(n, moved.get(f"{n}_orig")) for n in start}
    assert all(not torch.equal(after[n], start[n]) for n in start if start[n].any())


def test_operations_are_counted_as_by_hand() -> None:
    """Six for each weight of a linear map and each place it is applied to, at the least."""
    lab = Lab(training.study_of("uniter", 32, "tiny", batch_size=16), 0)
    places = 32 * (lab.task.train.inputs.input_ids.shape[1] + 8)
    weights = sum(
        p.numel() for n, p in lab.model.named_parameters() if "encoder" in n and p.ndim == 2
    )
    found = speed.flops_per_epoch(lab)
    assert 6 * weights * places < found < 8 * weights * places


def test_made_up_items_have_the_size_of_vsrs() -> None:
    task = shapes.vsr_task(20)
    assert task.train.inputs.region_features.shape == (20, 36, 2048)
    lengths = task.train.inputs.lengths()
    assert lengths[:, 0].max() < 20 and (lengths[:, 1] == 36).all()


def test_parts_measured_again_replace_only_themselves() -> None:
    old = {"about": {"parts": {"a": 1, "b": 1}}, "a": 1, "b": 1}
    new = {"about": {"parts": {"b": 2}}, "b": 2}
    both = joined(old, new)
    assert both == {"about": {"parts": {"a": 1, "b": 2}}, "a": 1, "b": 2}


def test_a_gpu_measures_what_is_its_own() -> None:
    assert set(parts(False, "cpu")) - set(parts(False, "cuda")) == set(ON_CPU)


TABLES = {  # the other parts are measured by tests of their own
    "steps": (report.steps, report.kernels),
    "vsr": (report.study,),
    "ladder": (report.ladder,),
    "cores": (report.cores,),
    "together": (report.together,),
    "masks": (report.masks,),
    "pruning": (report.pruning,),
    "streaming": (report.streaming,),
}


@pytest.mark.slow
def test_one_command_writes_one_file(tmp_path: Path) -> None:
    out = tmp_path / "cpu.json"
    command = [sys.executable, "-m", "benchmarks", "--small", "--only", "peak", *TABLES]
    command += ["--out", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    found = json.loads(out.read_text())
    assert set(found) == {"about", "peak", *TABLES}
    assert all(part["small"] for part in found["about"]["parts"].values())
    for tables in TABLES.values():
        for table in tables:
            assert not table(found).empty


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
