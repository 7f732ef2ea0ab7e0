"""What a level can record beside its predictions: weights, hidden states, error barriers.

Each function returns the rows of one table, as plain data: the report reads them without torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lthlib.lab.models import VLModel
from lthlib.lab.tasks import Task
from lthlib.lab.tickets import Ticket
from lthlib.lab.training import answer

Rows = list[dict[str, Any]]
State = dict[str, Tensor]

STATE_ITEMS = 200
"""Test items whose hidden states are recorded, from the first on."""
LINE_POINTS = 11
"""Points on the line between two trainings, ends included."""


# -- weights ------------------------------------------------------------------------------------
def weight_rows(
    ticket: Ticket, trained: State, start: State, dense: State, groups: Mapping[str, str]
) -> Rows:
    """How surviving prunable weights stand to where they started, and to the dense model's.

    correlation_*: Pearson's r over survivors (Ma et al. 2021 look at initial against final
    weights); distance_*: |w - w_ref| / |w_ref|; same_sign_start: share of survivors with the sign
    that they started with. None where a group has fewer than two survivors, or no spread.
    Returns a row for each group with prunable weights, and one for "all".
    """
    names = {"all": list(ticket.masks)}
    for name in ticket.masks:
        names.setdefault(groups[name], []).append(name)
    return [
        {"group": group, **_compared(ticket, members, trained, start, dense)}
        for group, members in names.items()
    ]


def _compared(
    ticket: Ticket, names: Sequence[str], trained: State, start: State, dense: State
) -> dict[str, Any]:
    w, w_start, w_dense = (
        torch.cat([state[n][ticket.masks[n]] for n in names]).double()
        for state in (trained, start, dense)
    )
    same_sign = (torch.sign(w) == torch.sign(w_start)).double()
    return {
        "survivors": len(w),
        "correlation_start": _correlation(w, w_start),
        "correlation_dense": _correlation(w, w_dense),
        "distance_start": _distance(w, w_start),
        "distance_dense": _distance(w, w_dense),
        "same_sign_start": float(same_sign.mean()) if len(w) else None,
    }


def _correlation(x: Tensor, y: Tensor) -> float | None:
    if len(x) < 2:
        return None
    x, y = x - x.mean(), y - y.mean()
    spread = float(x.norm() * y.norm())
    return float(x @ y) / spread if spread > 0 else None


def _distance(x: Tensor, reference: Tensor) -> float | None:
    norm = float(reference.norm())
    return float((x - reference).norm()) / norm if norm > 0 else None


# -- hidden states ------------------------------------------------------------------------------
@torch.inference_mode()
def state_rows(model: VLModel, task: Task) -> Rows:
    """Hidden states [H] of the first test items at three sites, dropout off.

    pooled: what the head reads; words, regions: means over the states of words and of regions,
    without padding, as the last layer leaves them.
    """
    model.eval()
    device = next(model.parameters()).device
    items = task.test.items[:STATE_ITEMS]
    inputs = task.test.inputs.take(slice(len(items))).to(device)
    encoded = model.encode(inputs)
    sites = {
        "pooled": encoded.pooled,
        "words": _mean(encoded.text, inputs.text_mask),
        "regions": _mean(encoded.regions, inputs.region_mask),
    }
    return [
        {"item": item, "site": site, "state": state}
        for site, states in sites.items()
        for item, state in zip(items, states.float().cpu().numpy(), strict=True)
    ]


def _mean(states: Tensor, mask: Tensor) -> Tensor:
    """[B, L, H] over the places of `mask` [B, L]."""
    weight = mask.unsqueeze(-1).to(states.dtype)
    return (states * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)


# -- barriers -----------------------------------------------------------------------------------
def line_rows(
    model: VLModel, task: Task, one: State, other: State, rewind: Callable[[State], None]
) -> Rows:
    """Test error and loss along the line from `one` (alpha 0) to `other` (alpha 1).

    Frankle et al. 2020, section 2: the height of the error above the mean of its ends is the
    barrier. error: share of wrong test decisions. `rewind` puts weights into the model, which is
    left at `one`.
    """
    rows = []
    for alpha, state in _line(one, other):
        rewind(state)
        found = answer(model, task, task.test)
        rows.append({"alpha": alpha, "error": 1 - found.accuracy, "loss": found.loss})
    rewind(one)
    return rows


def _line(one: State, other: State) -> Iterator[tuple[float, State]]:
    for point in range(LINE_POINTS):
        alpha = point / (LINE_POINTS - 1)
        yield (
            alpha,
            {
                name: torch.lerp(value, other[name], alpha) if value.is_floating_point() else value
                for name, value in one.items()
            },
        )
