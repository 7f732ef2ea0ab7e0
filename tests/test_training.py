"""The loop: masks hold through every step, runs repeat bit for bit, histories count right."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from lthlib.errors import TrainingError
from lthlib.lab import models, training
from lthlib.lab.regions import show_regions
from lthlib.lab.tasks import Task, load
from lthlib.lab.tickets import Ticket, random_mask
from lthlib.lab.training import Guard, deterministic, make_optimizer, predict, rate, train
from lthlib.study import MODELS, Study

STUDY = Study.build(epochs=2, batch_size=16, train_items=64, validation_items=16, test_items=32)


@pytest.fixture(scope="module")
def task() -> Task:
    return load("digits", train_items=64, validation_items=16, test_items=32)


def build(task: Task, name: str = "uniter", seed: int = 0) -> models.VLModel:
    return models.build(
        name,
        size="tiny",
        boxes=True,
        vocabulary_size=len(task.vocabulary),
        feature_dim=task.feature_dim,
        outputs=task.outputs,
        seed=seed,
    )


def half_ticket(model: models.VLModel, task: Task) -> Ticket:
    names = models.prunable_names(model, "encoder", task.train.inputs.take(torch.arange(4)))
    dense = Ticket.dense({n: p for n, p in model.named_parameters() if n in names})
    scores = {n: p.detach().abs() for n, p in model.named_parameters() if n in names}
    groups = {n: models.group_of(model, n) for n in names}
    from lthlib.lab.tickets import prune

    return prune(dense, scores, dense.prunable // 2, "global", groups)


@pytest.mark.parametrize("name", MODELS)
def test_after_every_step_pruned_weights_gradients_and_moments_are_zero(
    task: Task, name: str
) -> None:
    model = build(task, name)
    ticket = half_ticket(model, task)
    parameters = dict(model.named_parameters())
    checked = []

    def check(step: int, optimizer: torch.optim.Optimizer) -> None:
        for key, mask in ticket.masks.items():
            weight = parameters[key]
            pruned = ~mask
            assert not weight[pruned].any()
            assert weight.grad is not None
            assert not weight.grad[pruned].any()
            state = optimizer.state[weight]
            assert not state["exp_avg"][pruned].any()
            assert not state["exp_avg_sq"][pruned].any()
        checked.append(step)

    with deterministic():
        train(model, task, STUDY, 0, ticket=ticket, after_step=check)
    assert checked == list(range(1, 9))
    moved = [n for n, m in ticket.masks.items() if parameters[n][m].abs().sum() > 0]
    assert moved == list(ticket.masks), "survivors must live"


def test_moments_are_forgotten_when_pruning_in_the_middle(task: Task) -> None:
    """as_published prunes while the optimizer works: the invariant holds there too."""
    model = build(task)
    ticket = half_ticket(model, task)
    parameters = dict(model.named_parameters())
    checked = []

    def check(step: int, optimizer: torch.optim.Optimizer) -> None:
        for key, mask in ticket.masks.items() if step > 4 else []:
            moments = [v for k, v in optimizer.state[parameters[key]].items() if "exp" in k]
            assert len(moments) == 2
            assert not any(moment[~mask].any() for moment in moments)
            checked.append(step)

    train(model, task, STUDY, 0, after_step=check, after_epoch=lambda _: ticket)
    assert set(checked) == {5, 6, 7, 8}


def test_answers_that_are_no_numbers_are_refused(task: Task) -> None:
    model = build(task)
    with torch.no_grad():
        model.head.bias.fill_(float("nan"))
    with pytest.raises(TrainingError, match="no numbers"):
        predict(model, task.test)


def test_pruned_gradients_do_not_count_in_the_norm_that_clipping_sees(task: Task) -> None:
    model = build(task)
    ticket = half_ticket(model, task)
    guard = Guard.of(model, ticket)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    guard.mask_gradients()
    norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0))
    everything = sum(p.numel() for p in model.parameters())
    assert norm == pytest.approx((everything - ticket.zeros) ** 0.5, rel=1e-5)


def test_a_mask_forgotten_after_the_step_would_be_caught(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted fault: without the guard, pruned weights come back."""
    monkeypatch.setattr(Guard, "mask_gradients", lambda self: None)
    monkeypatch.setattr(Guard, "mask_weights", lambda self: None)
    model = build(task)
    ticket = half_ticket(model, task)
    train(model, task, STUDY, 0, ticket=ticket)
    assert any(p[~ticket.masks[n]].any() for n, p in model.named_parameters() if n in ticket.masks)


def test_repeats_bit_for_bit_whatever_the_global_generator_says(task: Task) -> None:
    states, curves = [], []
    for noise in (1, 2):
        torch.manual_seed(noise)
        with deterministic():
            model = build(task)
            curves.append(train(model, task, STUDY, 5).curves)
        states.append(model.state_dict())
    assert all(torch.equal(states[0][n], states[1][n]) for n in states[0])
    assert curves[0].equals(curves[1])
    other = build(task)
    train(other, task, STUDY, 6)
    assert not torch.equal(
        other.state_dict()[next(iter(states[0]))], states[0][next(iter(states[0]))]
    )


def test_training_leaves_the_global_generator_alone(task: Task) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    train(build(task), task, STUDY, 0)
    assert torch.equal(torch.rand(1), expected)


def test_schedule_is_linear_up_then_down() -> None:
    rates = [rate(step, 10, 0.2) for step in range(10)]
    assert rates[:3] == pytest.approx([0.5, 1.0, 1.0])
    assert rates[-1] == pytest.approx(1 / 8)
    assert rate(0, 10, 0.0) == 1.0


def test_constant_schedule_and_first_step(task: Task) -> None:
    seen: list[float] = []
    result = train(
        build(task), task, STUDY, 0, schedule="constant", first_step=5,
        after_step=lambda step, optimizer: seen.append(optimizer.param_groups[0]["lr"]),
    )  # fmt: skip
    assert seen == [STUDY.learning_rate * training.FINE_TUNE_SHARE] * 3
    assert result.steps == 3


def test_vectors_do_not_decay(task: Task) -> None:
    groups = make_optimizer(build(task), STUDY).param_groups
    assert groups[0]["weight_decay"] == STUDY.weight_decay
    assert groups[1]["weight_decay"] == 0
    assert all(p.ndim > 1 for p in groups[0]["params"])
    assert all(p.ndim <= 1 for p in groups[1]["params"])


def test_a_loss_that_is_no_number_stops_the_training(task: Task) -> None:
    model = build(task)
    with torch.no_grad():
        next(model.parameters()).fill_(float("inf"))
    with pytest.raises(TrainingError, match=r"loss is (nan|inf) after epoch 0: lower"):
        train(model, task, STUDY, 0)


def test_history_counts_learning_and_forgetting() -> None:
    history = training.History(3, torch.device("cpu"))
    answers = [
        [False, True, False],
        [True, False, False],
        [False, True, False],
        [True, False, False],
    ]
    for epoch, right in enumerate(answers):
        history.see(torch.tensor([0, 1, 2]), torch.tensor(right), epoch)
    frame = history.frame(("a", "b", "c"))
    assert frame["learned"].tolist() == [1, 0, -1]
    assert frame["forgotten"].tolist() == [1, 2, 0]
    assert frame["right_at_end"].tolist() == [True, False, False]


def test_decisions_break_ties_as_the_first_source_did(task: Task) -> None:
    assert training.decide(task, torch.zeros(2, 2)).tolist() == [[0], [0]]
    multi = dataclasses.replace(task, kind="multi")
    assert training.decide(multi, torch.tensor([[0.0, 0.1, -0.1]])).tolist() == [[1, 1, 0]]


def test_prediction_does_not_depend_on_the_batch(task: Task) -> None:
    model = build(task)
    torch.testing.assert_close(
        predict(model, task.test, 32), predict(model, task.test, 7), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("name", MODELS)
def test_a_blind_model_sees_no_image(task: Task, name: str) -> None:
    model = build(task, name)
    blind = show_regions(task, "none")
    inputs = blind.test.inputs
    same_text = dataclasses.replace(
        blind.test,
        inputs=dataclasses.replace(
            inputs,
            input_ids=inputs.input_ids[:1].expand_as(inputs.input_ids),
            text_mask=inputs.text_mask[:1].expand_as(inputs.text_mask),
        ),
    )
    logits = predict(model, same_text)
    torch.testing.assert_close(logits, logits[:1].expand_as(logits), atol=1e-6, rtol=0)


def test_shuffled_regions_are_always_anothers(task: Task) -> None:
    features = show_regions(task, "shuffled").test.inputs.region_features
    assert not any(
        torch.equal(a, b) for a, b in zip(features, task.test.inputs.region_features, strict=True)
    )
    assert torch.equal(features.sum(), task.test.inputs.region_features.sum()) or torch.isclose(
        features.sum(), task.test.inputs.region_features.sum()
    )


def test_random_masks_train_too(task: Task) -> None:
    model = build(task)
    ticket = random_mask(half_ticket(model, task), torch.Generator().manual_seed(0))
    train(model, task, STUDY, 0, ticket=ticket)
    assert all(
        not p[~ticket.masks[n]].any() for n, p in model.named_parameters() if n in ticket.masks
    )
