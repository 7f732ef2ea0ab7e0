"""What is pruned first: every score gives each weight a number, and the LARGER is kept LONGER.

Zhou et al. (2019, "Deconstructing Lottery Tickets") compare these and more; their names
stand in brackets below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Generator, Tensor

from lthlib.errors import StudyError, TicketError, unknown

Weights = Mapping[str, Tensor]
Scores = dict[str, Tensor]


def low_magnitude(weights: Weights, start: Weights, generator: Generator) -> Scores:
    """|theta_T|: small trained weights go first (Frankle and Carbin 2019, section 2).

    ["large final"] The rule of iterative magnitude pruning.
    """
    return {name: weight.detach().abs() for name, weight in weights.items()}


def high_magnitude(weights: Weights, start: Weights, generator: Generator) -> Scores:
    """-|theta_T|: large trained weights go first, a control that should do harm.

    ["small final"] Where what it leaves trains as well as a ticket, magnitude explains nothing.
    """
    return {name: weight.detach().abs().neg_() for name, weight in weights.items()}


def random(weights: Weights, start: Weights, generator: Generator) -> Scores:
    """Uniform in [0, 1), blind to the weights; `generator` alone decides.

    ["random"] The control that any score has to beat.
    """
    return {
        name: torch.rand(weight.shape, generator=generator, device=generator.device)
        for name, weight in weights.items()
    }


def magnitude_at_init(weights: Weights, start: Weights, generator: Generator) -> Scores:
    """|theta_0|: weights that were small before training go first.

    ["large init"] Tells whether a ticket needs training at all, or is there in the start.
    """
    for name, weight in weights.items():
        if name not in start or start[name].shape != weight.shape:
            found = list(start[name].shape) if name in start else "absent"
            raise TicketError(
                f"start weights: {name} is {found}, and {list(weight.shape)} in the model; "
                "give the start that this model was trained from"
            )
    return {name: start[name].detach().abs() for name in weights}


SCORES: dict[str, Callable[[Weights, Weights, Generator], Scores]] = {
    "low-magnitude": low_magnitude,
    "high-magnitude": high_magnitude,
    "random": random,
    "magnitude-at-init": magnitude_at_init,
}


def score(name: str, weights: Weights, start: Weights, generator: Generator) -> Scores:
    """Scores of all prunable weights, in the names, order and shapes of `weights`.

    weights: the prunable weights as they are now (theta_T).
    start: theta_0; it may hold more names than `weights`.
    generator: read by "random" alone.

    Raises StudyError for an unknown name, and TicketError where `start` does not fit.
    """
    if name not in SCORES:
        raise StudyError(unknown("score", name, SCORES))
    return SCORES[name](weights, start, generator)
