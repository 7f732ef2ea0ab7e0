"""Fused kernels, cut padding, bfloat16 and compilation: the same answers, up to their rounding."""

from __future__ import annotations

import copy
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils import deterministic as memory

from lthlib.errors import StudyError
from lthlib.lab import lottery, models
from lthlib.lab.batches import Batches
from lthlib.lab.models.attention import fuse_attention
from lthlib.lab.tasks import Inputs, Task, load
from lthlib.lab.tasks.inputs import blank_regions
from lthlib.lab.tickets import random_mask
from lthlib.lab.training import deterministic, predict, train
from lthlib.records import open_store
from lthlib.study import MODELS, Study, plan

SMALL = {"epochs": 1, "batch_size": 16, "train_items": 64, "validation_items": 16, "test_items": 32}
every_model = pytest.mark.parametrize("name", MODELS)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
DEVICES = ["cpu", pytest.param("cuda", marks=needs_gpu)]


@pytest.fixture(scope="module")
def task() -> Task:
    return load("digits", train_items=64, validation_items=16, test_items=32)


def build(task: Task, name: str, dropout: float = 0.0) -> models.VLModel:
    model = models.build(
        name,
        size="tiny",
        vocabulary_size=len(task.vocabulary),
        feature_dim=task.feature_dim,
        outputs=task.outputs,
        seed=0,
    )
    models.load_start(model)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = dropout
    return model


def changed(model: models.VLModel, kernels: str, precision: str = "float32") -> models.VLModel:
    other = copy.deepcopy(model)
    models.set_arithmetic(other, kernels, precision)  # type: ignore[arg-type]
    return other


@every_model
def test_fused_attention_gives_the_same_logits_and_gradients(task: Task, name: str) -> None:
    plain = build(task, name)
    fused = changed(plain, "fused")
    assert list(plain.state_dict()) == list(fused.state_dict())
    batch = task.train.inputs.take(slice(16))
    for model in (plain, fused):
        model.train()
        model(batch).square().sum().backward()
    torch.testing.assert_close(fused(batch), plain(batch), rtol=1e-4, atol=1e-5)
    pairs = zip(plain.named_parameters(), fused.parameters(), strict=True)
    for (parameter, one), other in pairs:
        assert (one.grad is None) == (other.grad is None), parameter
        if one.grad is not None and other.grad is not None:
            torch.testing.assert_close(other.grad, one.grad, rtol=1e-3, atol=1e-4)


@every_model
def test_where_no_region_is_shown_fused_attention_agrees_too(task: Task, name: str) -> None:
    plain = build(task, name).eval()
    batch = task.train.inputs.take(slice(8))
    batch = replace(batch, region_mask=torch.zeros_like(batch.region_mask))
    for precision, tolerance in (("float32", 1e-5), ("bfloat16", 0.1)):
        logits = changed(plain, "fused", precision)(batch)
        torch.testing.assert_close(logits, plain(batch), rtol=tolerance, atol=tolerance)


@every_model
def test_dropout_works_in_fused_attention(task: Task, name: str) -> None:
    model = changed(build(task, name, dropout=0.5), "fused")
    batch = task.train.inputs.take(slice(8))
    for module in model.modules():  # in attention alone, so that nothing else can differ
        own = any(module is m.dropout for m in model.modules() if hasattr(m, "attention_head_size"))
        if isinstance(module, torch.nn.Dropout) and not own:
            module.p = 0.0
    model.train()
    assert not torch.equal(model(batch), model(batch))
    model.eval()
    assert torch.equal(model(batch), model(batch))


def test_fused_attention_keeps_no_weights(task: Task) -> None:
    model = build(task, "visualbert")
    fuse_attention(model)
    attention = model.backbone.encoder.layer[0].attention.self
    with pytest.raises(NotImplementedError, match="plain kernels"):
        attention(torch.zeros(1, 2, 64), output_attentions=True)


@every_model
def test_batches_cut_to_their_longest_item_give_the_same_logits(task: Task, name: str) -> None:
    model = build(task, name).eval()
    inputs = task.train.inputs
    assert isinstance(inputs, Inputs)
    order = inputs.lengths().sum(dim=1).argsort()  # short ones together
    whole = Batches.of(inputs, torch.device("cpu"))
    cut = Batches.of(inputs, torch.device("cpu"), "fused")
    narrower = 0
    for (index, wide), (again, batch) in zip(
        whole.in_order(order, 8), cut.in_order(order, 8), strict=True
    ):
        assert torch.equal(index, again)
        narrower += batch.input_ids.numel() < wide.input_ids.numel()
        assert batch.text_mask.any(dim=0).all() and batch.region_mask.any(dim=0).all()
        torch.testing.assert_close(model(batch), model(wide), rtol=1e-4, atol=1e-5)
    assert narrower > 0, "nothing was cut: the test shows nothing"


def test_compiled_batches_have_one_width(task: Task) -> None:
    inputs = task.train.inputs.take(slice(64)).cut(9, 5)
    batches = Batches.of(inputs, torch.device("cpu"), "compiled")
    order = torch.arange(64)
    shapes = {batch.input_ids.shape for _, batch in batches.in_order(order, 16)}
    assert len(shapes) == 1


def test_an_empty_order_has_no_batches(task: Task) -> None:
    batches = Batches.of(task.train.inputs, torch.device("cpu"), "fused")
    assert list(batches.in_order(torch.arange(0), 8)) == []


@every_model
def test_bfloat16_answers_nearly_alike_and_keeps_weights_in_float32(task: Task, name: str) -> None:
    plain = build(task, name).eval()
    low = changed(plain, "fused", "bfloat16")
    one, other = predict(plain, task.test), predict(low, task.test)
    assert other.dtype == torch.float32
    assert not torch.equal(one, other)
    assert float((one - other).abs().max()) < 0.1 * float(one.abs().max())
    study = Study.build(SMALL, model=name, kernels="fused", precision="bfloat16")
    train(low, task, study, 0)
    assert {p.dtype for p in low.parameters()} == {torch.float32}


@pytest.mark.parametrize("device", DEVICES)
@every_model
def test_a_fast_study_repeats_bit_for_bit(tmp_path: Path, name: str, device: str) -> None:
    fast = (
        {"kernels": "fused", "precision": "bfloat16"} if device == "cuda" else {"kernels": "fused"}
    )
    study = Study.build(SMALL, model=name, levels=1, **fast)
    stores = [open_store(tmp_path / place) for place in ("one", "other")]
    for store in stores:
        lottery.run(study, 0, store, device=device)
    name = study.run_id(0)
    for file in ("predictions.parquet", "curves.parquet", "tickets.safetensors"):
        assert stores[0].blob(name, file) == stores[1].blob(name, file)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling needs a C++ compiler")
def test_a_compiled_model_trains_like_a_fused_one(task: Task) -> None:
    study = Study.build(SMALL, model="uniter", kernels="compiled")
    fused, compiled = (changed(build(task, "uniter"), k) for k in ("fused", "compiled"))
    for model in (fused, compiled):
        train(model, task, study, 0)
    for one, other in zip(fused.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-3)


def test_blank_regions_take_no_memory_on_another_device(task: Task) -> None:
    blank = blank_regions(task.train.inputs.input_ids, task.train.inputs.text_mask, 36, 2048)
    moved = blank.to("meta")
    assert moved.region_features.shape == blank.region_features.shape
    for field in (moved.region_features, moved.boxes):
        assert field.untyped_storage().nbytes() <= 36 * 2048 * 4
    alone = blank.take(slice(0, 1)).to("meta")
    assert alone.region_features.shape == (1, 36, 2048)


def test_what_was_compiled_before_does_not_decide_what_is_compiled_now() -> None:
    """More versions of one forward than torch would keep by itself: each is compiled all the same,
    and one too many is an error instead of another way to compute."""
    seen: list[int] = []

    def backend(graph: torch.fx.GraphModule, _: object) -> Any:
        seen.append(1)
        return graph.forward

    @torch.compile(backend=backend, dynamic=False)
    def twice(x: torch.Tensor) -> torch.Tensor:
        return 2 * x

    models.forget_compiled()
    for width in range(2, 22):
        twice(torch.ones(width))
    assert len(seen) == 20
    models.forget_compiled()
    twice(torch.ones(2))
    assert len(seen) == 21
    with pytest.raises(torch._dynamo.exc.FailOnRecompileLimitHit):
        for width in range(2, 3 + models.MOST_VERSIONS):
            twice(torch.ones(width))


def test_deterministic_mode_fills_no_fresh_tensors_and_puts_all_back() -> None:
    before = memory.fill_uninitialized_memory, torch.are_deterministic_algorithms_enabled()
    with deterministic():
        assert torch.are_deterministic_algorithms_enabled()
        assert not memory.fill_uninitialized_memory
    now = memory.fill_uninitialized_memory, torch.are_deterministic_algorithms_enabled()
    assert now == before


def test_arithmetic_names_a_study_and_leaves_older_names_alone() -> None:
    assert Study.build().hash == Study.build(kernels="plain", precision="float32").hash
    assert all(s.precision == "bfloat16" and s.kernels == "fused" for s in plan("base"))
    with pytest.raises(StudyError, match="kernels"):
        Study.build(kernels="fast")


# -- on a GPU -----------------------------------------------------------------------------------
@needs_gpu
@every_model
def test_no_step_makes_a_gpu_wait(name: str) -> None:
    """No step asks the device for a value: `set_sync_debug_mode` turns each wait into an error.

    As studies run there: deterministic, fused, in bfloat16, with a mask.
    """
    study = Study.build(SMALL, model=name, kernels="fused", precision="bfloat16")
    lab = lottery.Lab(study, 0, "cuda")
    dense = lab.dense_ticket()
    half = random_mask(dense, torch.Generator().manual_seed(0), zeros=dense.prunable // 2)
    steps: list[int] = []

    def watch(step: int, _: torch.optim.Optimizer) -> None:
        # From the first step to the last of the epoch: what comes after reads the means.
        steps.append(step)
        torch.cuda.set_sync_debug_mode("error" if step < 4 else "default")

    with deterministic():
        train(lab.model, lab.task, study, 0, ticket=half)  # what is made once may wait
        try:
            train(lab.model, lab.task, study, 0, ticket=half, after_step=watch)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert steps == [1, 2, 3, 4]


@needs_gpu
@every_model
def test_a_gpu_trains_like_a_processor(task: Task, name: str) -> None:
    study = Study.build(SMALL, model=name, epochs=2)
    with deterministic():
        here, there = build(task, name), build(task, name).cuda()
        train(here, task, study, 0)
        train(there, task.to("cuda"), study, 0)
    one, other = predict(here, task.test), predict(there, task.test)
    torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-2)
    assert torch.equal(one.argmax(1), other.argmax(1))
