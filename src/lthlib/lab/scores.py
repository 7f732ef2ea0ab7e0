"""What is pruned first: every score gives each weight a number, and the LARGER is kept LONGER.

Zhou et al. (2019, "Deconstructing Lottery Tickets", section 2) compare these and more; their names
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

    ["large final"] The rule of iterative magnitude pruning; before that Han et al. (2015).
    """
    return {name: weight.detach().abs() for name, weight in weights.items()}


def high_magnitude(weights: Weights, start: Weights, generator: Generator) -> Scores:
    """-|theta_T|: large trained weights go first, a control that should do harm.

    ["small final"] Prasanna et al. (2020, section 4) call what it keeps the "bad" ticket of BERT.
    """
    return {name: weight.detach().abs().neg_() for name, weight in weights.items()}


def random(weights: Weights, start: Weights, generator: Generator) -> Scores:
    """Uniform in [0, 1), blind to the weights; `generator` alone decides.

    ["random"] Frankle and Carbin (2019, appendix G) and Frankle et al. (2021) as a sanity check.
    """
    return {
        name: torch.rand(weight.shape, generator=generator, device=generator.device)
        for name, weight in weights.items()
    }


def magnitude_at_init(weights: Weights, start: Weights, generator: Generator) -> Scores:
    """|theta_0|: weights that were small before training go first (Frankle et al. 2021, section 5).

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
