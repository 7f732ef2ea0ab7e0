"""Scores: larger is kept longer, by hand and through pruning."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from lthlib.errors import StudyError, TicketError
from lthlib.lab.scores import SCORES, score
from lthlib.lab.tickets import Ticket, prune
from lthlib.study import Study

WEIGHTS = {"a": torch.tensor([[0.5, -2.0], [0.0, 1.0]]), "b": torch.tensor([-3.0])}
START = {
    "a": torch.tensor([[4.0, 0.1], [-0.2, 0.3]]),
    "b": torch.tensor([0.05]),
    "bias": torch.ones(2),
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def survivors(name: str, zeros: int) -> list[list[float]]:
    scores = score(name, WEIGHTS, START, generator())
    ticket = prune(Ticket.dense(WEIGHTS), scores, zeros, "global", {})
    return [WEIGHTS[n][m].tolist() for n, m in ticket.masks.items()]


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("low-magnitude", [[-2.0], [-3.0]]),
        ("high-magnitude", [[0.5, 0.0], []]),
        ("magnitude-at-init", [[0.5, 1.0], []]),
    ],
)
def test_what_each_score_keeps_of_five_weights(name: str, kept: list[list[float]]) -> None:
    assert survivors(name, 3) == kept


@pytest.mark.parametrize("name", SCORES)
def test_scores_have_the_names_order_and_shapes_of_the_weights(name: str) -> None:
    scores = score(name, WEIGHTS, START, generator())
    assert [(n, s.shape) for n, s in scores.items()] == [(n, w.shape) for n, w in WEIGHTS.items()]


@pytest.mark.parametrize("name", SCORES)
def test_scores_change_no_weight_and_share_no_memory(name: str) -> None:
    weights = {n: torch.nn.Parameter(w.clone()) for n, w in WEIGHTS.items()}
    start = {n: w.clone() for n, w in START.items()}
    for values in score(name, weights, start, generator()).values():
        assert not values.requires_grad
        values.fill_(7.0)
    assert all(torch.equal(weights[n], WEIGHTS[n]) for n in WEIGHTS)
    assert all(torch.equal(start[n], START[n]) for n in START)


def test_the_random_score_depends_on_the_generator_alone() -> None:
    others = {n: torch.zeros_like(w) for n, w in WEIGHTS.items()}
    first = score("random", WEIGHTS, START, generator(1))
    torch.manual_seed(99)
    again = score("random", others, {}, generator(1))
    assert all(torch.equal(first[n], again[n]) for n in WEIGHTS)
    assert not torch.equal(first["a"], score("random", WEIGHTS, START, generator(2))["a"])


def test_the_study_and_the_lab_know_the_same_scores() -> None:
    assert get_args(Study.model_fields["score"].annotation) == tuple(SCORES)


def test_an_unknown_score_is_refused_with_the_nearest() -> None:
    with pytest.raises(StudyError, match="unknown score 'magnitud'; did you mean 'low-magnitude'"):
        score("magnitud", WEIGHTS, START, generator())


@pytest.mark.parametrize(
    ("start", "found"),
    [({"a": START["a"]}, "b is absent"), ({**START, "b": torch.ones(2)}, r"b is \[2\]")],
)
def test_a_start_that_does_not_fit_is_refused(start: dict[str, torch.Tensor], found: str) -> None:
    with pytest.raises(TicketError, match=f"start weights: {found}, and \\[1\\] in the model"):
        score("magnitude-at-init", WEIGHTS, start, generator())
