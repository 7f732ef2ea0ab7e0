"""What masks cost in a training step, and a ladder against the way the main source did it."""

from __future__ import annotations

import copy
import time
from typing import Any

import torch
from torch import nn
from torch.nn.utils import prune as torch_prune
from torch.utils.data import DataLoader, Dataset

from benchmarks.timing import compare, interleave, peak_bytes, summary
from lthlib.lab import models
from lthlib.lab.lottery import Lab
from lthlib.lab.tasks import Inputs, Task, load
from lthlib.lab.tickets import Ticket, random_mask
from lthlib.lab.training import deterministic, loss_of, train
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
def measure_masks(
    items: int, repeats: int, size: str = "tiny", device: str = "cpu"
) -> dict[str, Any]:
    """A training step with half of the prunable weights masked against one of the dense model."""
    return {name: _masks_of(name, items, repeats, size, device) for name in MODELS}


def _masks_of(name: str, items: int, repeats: int, size: str, device: str) -> dict[str, Any]:
    study = study_of(name, items, size)
    with deterministic():
        lab = Lab(study, 0, device)
        dense = lab.dense_ticket()
        half = random_mask(dense, torch.Generator().manual_seed(0), zeros=dense.prunable // 2)

        def step(ticket: Ticket) -> float:
            """Seconds of a step, over all steps of an epoch but the first (so it takes two)."""
            moments: list[float] = []
            lab.rewind(lab.theta_0)
            train(
                lab.model, lab.task, study, 0, ticket=ticket,
                after_step=lambda *_: moments.append(_moment(device)),
            )  # fmt: skip
            return (moments[-1] - moments[0]) / (len(moments) - 1)

        ways = {"masked": lambda: step(half), "dense": lambda: step(dense)}
        seconds = interleave(ways, repeats)
    return {**summary(seconds), **compare(seconds, "masked", "dense")}


def _moment(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


# -- ladder -------------------------------------------------------------------------------------
class _Items(Dataset[dict[str, torch.Tensor]]):
    """Items one by one, as the source's loader reads them."""

    def __init__(self, task: Task) -> None:
        self.inputs, self.labels = task.train.inputs, task.train.labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        fields = {name: value[index] for name, value in vars(self.inputs).items()}
        return {**fields, "label": self.labels[index]}


def train_their_way(model: models.VLModel, task: Task, study: Study, amount: float) -> None:
    """Three rounds as pytorch-lightning's callback runs them: DataLoader, `torch.nn.utils.prune`.

    After each epoch `global_unstructured` removes `amount` of what is left of every weight and
    bias; the reparametrisation stays in place, as it does there.
    """
    pairs = [
        (module, name)
        for module in model.modules()
        for name in ("weight", "bias")
        if isinstance(getattr(module, name, None), nn.Parameter)
    ]
    loader = DataLoader(_Items(task), batch_size=study.batch_size, shuffle=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=study.learning_rate)
    for _ in range(study.epochs):
        model.train()
        for batch in loader:
            labels = batch.pop("label")
            loss = loss_of(task, model(Inputs(**batch)), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), study.clip_norm)
            optimizer.step()
        torch_prune.global_unstructured(pairs, torch_prune.L1Unstructured, amount=amount)


def train_our_way(lab: Lab, amount: float) -> None:
    """The same three rounds by this library."""
    ticket = lab.dense_ticket()

    def prune_after_epoch(_: int) -> Ticket:
        nonlocal ticket
        zeros = ticket.zeros + round(amount * (ticket.prunable - ticket.zeros))
        ticket = lab._prune(lab.state(), zeros, ticket, 1)
        return ticket

    train(lab.model, lab.task, lab.study, 0, ticket=ticket, after_epoch=prune_after_epoch)


def ladder_study(model: str, items: int, size: str) -> Study:
    return study_of(model, items, size, protocol="as_published", ladder=list(AMOUNTS), epochs=3)


def ladder(way: str, model: str, items: int, size: str) -> None:
    """A whole ladder, one way."""
    lab = Lab(ladder_study(model, items, size), 0)
    for amount in AMOUNTS:
        lab.rewind(lab.theta_0)
        if way == "ours":
            train_our_way(lab, amount)
        else:
            train_their_way(copy.deepcopy(lab.model), lab.task, lab.study, amount)


def measure_ladder(items: int, repeats: int, size: str = "tiny") -> dict[str, Any]:
    """Seconds and memory of the ladder, ours against the source's way."""
    found: dict[str, Any] = {}
    for model in MODELS:
        load("digits", train_items=items, validation_items=8, test_items=8)  # into the cache

        def run(way: str, model: str = model) -> None:
            ladder(way, model, items, size)

        with deterministic():
            seconds = interleave(
                {"ours": lambda: run("ours"), "theirs": lambda: run("theirs")}, repeats
            )
        found[model] = {
            **summary(seconds),
            **compare(seconds, "ours", "theirs"),
            "peak_bytes": {
                way: peak_bytes(ladder, way, model, items, size) for way in ("ours", "theirs")
            },
        }
    return found
