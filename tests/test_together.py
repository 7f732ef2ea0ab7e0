"""Seeds trained at once give what they give one by one, up to rounding, and resume alike."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from lthlib.errors import RecordError, StudyError, TrainingError
from lthlib.lab import lottery, together
from lthlib.lab.tickets import Ticket, random_mask
from lthlib.records import RecordStore, open_store
from lthlib.study import MODELS, Study
from lthlib.workflow.local import missing

SMALL: dict[str, Any] = {
    "epochs": 2, "batch_size": 16, "train_items": 56, "validation_items": 16, "test_items": 32,
}  # fmt: skip
CASES: dict[str, dict[str, Any]] = {
    **{
        name: {"model": name, "levels": 1, "branches": ["random-mask"], "rewind_step": 2}
        for name in MODELS
    },
    "as-published": {"protocol": "as_published", "ladder": [0.3], "epochs": 3},
    "reports": {"task": "digit-reports", "levels": 1, "observe": ["barriers"]},
    "fine-tuned": {"levels": 1, "rewind": "none"},
}


def study_of(case: dict[str, Any], **more: Any) -> Study:
    return Study.build({**SMALL, **case, **more})


def compare(one: RecordStore, a: str, other: RecordStore, b: str) -> None:
    """Every table of two runs: equal but for their names, times, and rounding."""
    for table in ("levels", "training", "curves"):
        here = one.table(table, [a]).drop(columns=["run", "seconds"], errors="ignore")
        there = other.table(table, [b]).drop(columns=["run", "seconds"], errors="ignore")
        pd.testing.assert_frame_equal(here, there, rtol=1e-3, atol=1e-5)
    here, there = one.table("predictions", [a]), other.table("predictions", [b])
    np.testing.assert_allclose(
        np.stack(here["logits"]), np.stack(there["logits"]), rtol=1e-3, atol=1e-3
    )
    assert one.blob(a, "tickets.safetensors") == other.blob(b, "tickets.safetensors")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_together_equals_one_by_one_up_to_rounding(tmp_path: Path, case: dict[str, Any]) -> None:
    alone, block = study_of(case), study_of(case, together=2)
    one, other = open_store(tmp_path / "one"), open_store(tmp_path / "together")
    lottery.run(block, 3, other)
    assert other.runs() == [block.run_id(2), block.run_id(3)], "a block is always whole"
    for seed in (2, 3):
        lottery.run(alone, seed, one)
        compare(one, alone.run_id(seed), other, block.run_id(seed))


def test_a_block_that_was_stopped_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped between the sealing of one seed's level and the other's, and between their ends."""
    study = study_of({"levels": 1}, together=2)
    whole = open_store(tmp_path / "whole")
    lottery.run(study, 0, whole)
    store = open_store(tmp_path / "stopped")
    for name in ("write_level", "finish"):
        with monkeypatch.context() as patch:
            stop_after_first(patch, name)
            with pytest.raises(InterruptedError):
                lottery.run(study, 0, store)
    lottery.run(study, 1, store)
    for run in study.model_copy(update={"seeds": (0, 1)}).run_ids():
        for file in ("predictions.parquet", "training.parquet", "tickets.safetensors"):
            assert store.blob(run, file) == whole.blob(run, file)
        assert not store.files.exists(f"{run}/parts")


def stop_after_first(patch: pytest.MonkeyPatch, name: str) -> None:
    real, calls = getattr(lottery.RunWriter, name), []

    def stopping(writer: Any, *args: Any) -> None:
        if calls:
            raise InterruptedError
        calls.append(1)
        real(writer, *args)

    patch.setattr(lottery.RunWriter, name, stopping)


def test_one_run_of_a_block_cannot_be_made_alone(tmp_path: Path) -> None:
    study = study_of({"levels": 0}, together=2)
    store = open_store(tmp_path)
    lottery.run(study, 0, store)
    store.files.remove(study.run_id(1))
    with pytest.raises(RecordError, match=r"trained together with .*-s0, which is finished"):
        lottery.run(study, 1, store)


def test_a_failure_of_one_stops_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = study_of({"levels": 1}, together=3)
    real = lottery.Lab._evaluate

    def evaluate(lab: Any, *args: Any) -> None:
        if lab.seed == 1:
            raise TrainingError("seed 1 fails")
        real(lab, *args)

    monkeypatch.setattr(lottery.Lab, "_evaluate", evaluate)
    with pytest.raises(TrainingError, match="seed 1 fails"):
        lottery.run(study, 0, open_store(tmp_path))
    assert not open_store(tmp_path).runs()


def test_a_loss_that_is_no_number_is_told(tmp_path: Path) -> None:
    study = study_of({"levels": 0, "learning_rate": 1.0, "clip_norm": 1e30}, together=2)
    wild = study.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(TrainingError, match="lower the learning rate"):
        lottery.run(wild, 0, open_store(tmp_path))


def test_models_of_different_studies_are_not_stacked(tmp_path: Path) -> None:
    labs = [lottery.Lab(study_of({}, epochs=epochs), 0) for epochs in (1, 2)]
    calls = [together.Call(lab.model, lab.task, lab.study, 0) for lab in labs]
    with pytest.raises(ValueError, match="cannot be stacked"):
        together.train_together(calls)


def test_a_model_whose_hook_gives_no_ticket_keeps_its_own() -> None:
    """As `training.train` does: None means to go on as before."""
    labs = [lottery.Lab(study_of({}, train_items=32), seed) for seed in (0, 1)]
    halves = [
        random_mask(t := lab.dense_ticket(), torch.Generator().manual_seed(0), t.prunable // 2)
        for lab in labs
    ]

    def call(lab: lottery.Lab, ticket: Ticket, after: Any) -> together.Call:
        return together.Call(
            lab.model, lab.task, lab.study, lab.seed, ticket=ticket, after_epoch=after
        )

    together.train_together(
        [
            call(labs[0], halves[0], lambda _: None),
            call(labs[1], halves[1], lambda _: halves[1]),
        ]
    )
    for lab, half in zip(labs, halves, strict=True):
        state = lab.state()
        assert all(not state[name][~mask].any() for name, mask in half.masks.items())


# -- meeting -------------------------------------------------------------------------------------
def meeting_of(
    monkeypatch: pytest.MonkeyPatch, works: list[Callable[[Any], None]]
) -> tuple[together.Meeting, list[Callable[[], None]]]:
    """Works that are given a trainer, and a training that only says whose calls it was given."""
    monkeypatch.setattr(together, "train_together", lambda calls: [c.seed for c in calls])
    meeting = together.Meeting(len(works))
    trainers = [meeting.trainer(place) for place in range(len(works))]

    def bound(place: int, work: Callable[[Any], None]) -> Callable[[], None]:
        return lambda: work(lambda: trainers[place](None, None, None, place))

    return meeting, [bound(place, work) for place, work in enumerate(works)]


def test_those_that_wait_are_trained_when_the_last_one_leaves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    got: list[int] = []
    waits = lambda train: got.append(train())  # noqa: E731
    for works in ([waits, lambda _: None], [lambda _: None, waits], [waits, waits, lambda _: None]):
        meeting, bound = meeting_of(monkeypatch, works)
        meeting.run(bound, contextlib.nullcontext)
    assert got == [0, 1, 0, 1]


def test_an_interruption_stops_all_works_before_it_is_raised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A caller that is told of it frees what the works write to."""
    began, done = threading.Event(), []

    def work(train: Callable[[], int]) -> None:
        began.set()
        patience = time.monotonic() + 30
        while meeting.failure is None and time.monotonic() < patience:
            time.sleep(0.01)
        train()
        done.append("wrote")

    def interrupt() -> None:
        began.wait()
        os.kill(os.getpid(), signal.SIGINT)

    meeting, bound = meeting_of(monkeypatch, [work, work])
    # A shell lets what it starts in the background ignore interrupts.
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    before = threading.active_count()
    threading.Thread(target=interrupt).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            meeting.run(bound, contextlib.nullcontext)
    finally:
        signal.signal(signal.SIGINT, usual)
    assert threading.active_count() == before
    assert done == []


def test_a_block_is_one_job(tmp_path: Path) -> None:
    study = study_of({}, together=2, seeds=[0, 1, 2, 5])
    assert [job.seed for job in missing([study], open_store(tmp_path))] == [0, 2, 5]


@pytest.mark.parametrize(
    "choices",
    [
        {"size": "base", "start": "random"},
        {"kernels": "fused"},
        {"precision": "bfloat16"},
        {"task": "vsr-random", "start": "random", "features": "coco"},
    ],
)
def test_what_cannot_be_stacked_is_refused(choices: dict[str, Any]) -> None:
    with pytest.raises(StudyError, match="together"):
        Study.build(together=2, **choices)
