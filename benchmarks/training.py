"""What masks cost in a training step; and the studies that other benchmarks train."""

from __future__ import annotations

import time
from typing import Any

import torch

from benchmarks.shapes import vsr_lab
from benchmarks.timing import compare, interleave, summary
from lthlib.lab.lottery import Lab
from lthlib.lab.tickets import Ticket, random_mask
from lthlib.lab.training import deterministic, train
from lthlib.study import MODELS, Study

AMOUNTS = (0.25, 0.50)
"""Shares of the remaining weights pruned per round, of the source's concluding ladder."""


def study_of(model: str, items: int, size: str, **more: Any) -> Study:
    return Study.build(
        {
            "model": model,
            "size": size,
            "start": "random",
            "train_items": items,
            "validation_items": 8,
            "test_items": 8,
            "epochs": 1,
            **more,
        }
    )


# -- masks --------------------------------------------------------------------------------------
def measure_masks(device: str, small: bool) -> dict[str, Any]:
    """A training step with half of the prunable weights masked against one of the dense model."""
    gpu = device == "cuda"
    how = {"tiny": (1280, 64, 15), "base": (640, 32, 5) if gpu else (12, 4, 3)}
    if small:
        return {"tiny": {"uniter": _masks_of("uniter", "tiny", device, 32, 8, 1)}}
    return {
        size: {name: _masks_of(name, size, device, *each) for name in MODELS}
        for size, each in how.items()
    }


def _masks_of(
    name: str, size: str, device: str, items: int, batch_size: int, repeats: int
) -> dict[str, Any]:
    with deterministic():
        if size == "tiny":
            lab = Lab(study_of(name, items, size, batch_size=batch_size), 0, device)
        else:
            low = {"kernels": "fused", "precision": "bfloat16"} if device == "cuda" else {}
            lab = vsr_lab(name, items, device, batch_size=batch_size, **low)
        dense = lab.dense_ticket()
        half = random_mask(dense, torch.Generator().manual_seed(0), zeros=dense.prunable // 2)

        def step(ticket: Ticket) -> float:
            """Seconds of a step, over all steps of an epoch but the first (so it takes two)."""
            moments: list[float] = []
            lab.rewind(lab.theta_0)

            def note(done: int, _: torch.optim.Optimizer) -> None:
                if done in (1, last):  # a GPU goes on by itself in between
                    moments.append(_moment(device))

            last = len(lab.task.train) // batch_size
            train(lab.model, lab.task, lab.study, 0, ticket=ticket, after_step=note)
            return (moments[1] - moments[0]) / (last - 1)

        ways = {"masked": lambda: step(half), "dense": lambda: step(dense)}
        seconds = interleave(ways, repeats)
    return {**summary(seconds), **compare(seconds, "masked", "dense")}


def _moment(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def ladder_study(model: str, items: int, size: str) -> Study:
    """A ladder of the protocol as_published: three rounds of one epoch for each of AMOUNTS."""
    return study_of(model, items, size, protocol="as_published", ladder=list(AMOUNTS), epochs=3)
