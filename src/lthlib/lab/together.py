"""Several tiny models trained at once, as one stack of weights.

A tiny model leaves a processor, and far more a GPU, waiting between small products. Seeds of one
study do the same steps on other numbers, so their weights can lie in one tensor with an axis more:
one product then does what several did. Each model sees its own order of items, its own masks, its
own clipping; results equal those of training one by one up to rounding.

Nothing else of a run changes: a `Meeting` lets each lab go on in a thread of its own, one at a
time, until all of them have something to train.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch.func import functional_call

from lthlib.lab.models import VLModel
from lthlib.lab.tasks import Inputs, Task
from lthlib.lab.tickets import Ticket
from lthlib.lab.training import (
    AfterEpoch,
    AfterStep,
    Guard,
    History,
    Training,
    adamw,
    curve_row,
    decide,
    loss_of,
    order_of,
    rate_at,
    set_rate,
    steps_in,
)
from lthlib.study import Study


@dataclass(frozen=True)
class Call:
    """One training that is to be done beside others; arguments as :func:`training.train` has."""

    model: VLModel
    task: Task
    study: Study
    seed: int
    ticket: Ticket | None = None
    first_step: int = 0
    schedule: str = "full"
    after_step: AfterStep | None = None
    after_epoch: AfterEpoch | None = None

    @property
    def shared(self) -> tuple[Any, ...]:
        """What all calls of a stack must have in common."""
        return self.study.settings(), self.first_step, self.schedule, self.model.name


def train_together(calls: Sequence[Call]) -> list[Training]:
    """Train several models in place, as `training.train` would one by one, up to rounding.

    All share task, settings, first step and schedule, and have no dropout; seeds, weights, tickets
    and what happens after steps and epochs are each one's own. `after_step` gets no optimizer.
    Raises TrainingError when a loss is no longer a finite number.
    """
    if any(call.shared != calls[0].shared for call in calls):
        raise ValueError("trainings of different studies cannot be stacked")
    stack = _Stack(calls)
    curves: list[list[dict[str, float]]] = [[] for _ in calls]
    for epoch in range(calls[0].first_step // stack.per_epoch, calls[0].study.epochs):
        for rows, row in zip(curves, stack.epoch(epoch), strict=True):
            rows.append(row)
        stack.after_epoch(epoch + 1)
    steps = stack.total - calls[0].first_step
    return [
        Training(pd.DataFrame(rows), items, steps)
        for rows, items in zip(curves, stack.items(), strict=True)
    ]


class _Stack:
    """The trainings under way: weights [S, ...] of S models, of which each model holds a view."""

    def __init__(self, calls: Sequence[Call]) -> None:
        first = calls[0]
        self.calls, self.model, self.task, self.study = calls, first.model, first.task, first.study
        self.device = next(self.model.parameters()).device
        self.inputs = self.task.train.inputs.to(self.device)
        self.labels = self.task.train.labels.to(self.device)
        self.credits = self.task.train.credits.to(self.device) if self.task.train.credits else None
        self.count, self.size = len(calls), len(self.labels)
        self.per_epoch = steps_in(self.size, self.study)
        self.total = self.per_epoch * self.study.epochs
        self.weights = self._stacked()
        self.tickets = [call.ticket for call in calls]
        self.guard = self._guard()
        self.optimizer = adamw(
            # One axis more than each model's own: matrices have three.
            [p for p in self.weights.values() if p.ndim > 2],
            [p for p in self.weights.values() if p.ndim <= 2],
            self.study,
        )
        self.history = History(self.count * self.size, self.device)

    def _stacked(self) -> dict[str, Tensor]:
        parameters = [dict(call.model.named_parameters()) for call in self.calls]
        weights: dict[str, Tensor] = {}
        for name in parameters[0]:
            stacked = torch.stack([each[name].detach() for each in parameters]).requires_grad_()
            weights[name] = stacked
            # The models see every change without a copy.
            for each, own in zip(parameters, stacked.detach(), strict=True):
                each[name].data = own
        return weights

    def _guard(self) -> Guard:
        """A guard of the stack; a model without a ticket keeps all its weights."""
        tickets = self.tickets
        held = next((ticket for ticket in tickets if ticket is not None and ticket.zeros), None)
        if held is None:
            return Guard([], [])
        masks = {}
        for name, mask in held.masks.items():
            own = [torch.ones_like(mask) if t is None else t.masks[name] for t in tickets]
            masks[name] = torch.stack(own).to(self.device, self.weights[name].dtype)
        guard = Guard([self.weights[name] for name in masks], list(masks.values()))
        for call, ticket in zip(self.calls, tickets, strict=True):
            if ticket is not None:
                ticket.apply_(dict(call.model.named_parameters()))
        return guard

    # -- an epoch -------------------------------------------------------------------------------
    def epoch(self, epoch: int) -> list[dict[str, float]]:
        """One pass of all models, less the steps before the first; a row of curves for each."""
        for call in self.calls:
            call.model.train()
        orders = torch.stack([order_of(self.size, call.seed, epoch) for call in self.calls])
        first = epoch * self.per_epoch
        done = max(0, self.calls[0].first_step - first)
        rest = orders[:, done * self.study.batch_size :].to(self.device)
        loss_sum, right_sum = (torch.zeros(self.count, device=self.device) for _ in range(2))
        own = torch.arange(self.count, device=self.device)[:, None] * self.size
        batches = torch.split(rest, self.study.batch_size, dim=1)
        for step, index in enumerate(batches, start=first + done):
            loss, right = self.step(step, index)
            self.history.see((index + own).flatten(), right.flatten(), epoch)
            loss_sum += loss * index.shape[1]
            right_sum += right.sum(dim=1)
            for call in self.calls:
                if call.after_step is not None:
                    call.after_step(step + 1, self.optimizer)
        seen = rest.shape[1]
        learning_rate = float(self.optimizer.param_groups[0]["lr"])
        sums = zip((loss_sum / seen).tolist(), (right_sum / seen).tolist(), strict=True)
        return [
            curve_row(epoch, *means, call.model, self.task, learning_rate)
            for means, call in zip(sums, self.calls, strict=True)
        ]

    def step(self, step: int, index: Tensor) -> tuple[Tensor, Tensor]:
        """A step of each model on its own items [S, B]: mean losses [S], what was right [S, B]."""
        set_rate(self.optimizer, rate_at(step, self.total, self.study, self.calls[0].schedule))
        logits, labels = self._logits(index), self.labels[index]
        losses = torch.stack(
            [loss_of(self.task, *each) for each in zip(logits, self._targets(index), strict=True)]
        )
        self.optimizer.zero_grad(set_to_none=True)
        losses.sum().backward()  # type: ignore[no-untyped-call]
        self.guard.mask_gradients()
        self._clip()
        self.optimizer.step()
        self.guard.mask_weights()
        decided = decide(self.task, logits.detach().flatten(0, 1)).view(labels.shape)
        return losses.detach(), (decided == labels).all(dim=2)

    def _logits(self, index: Tensor) -> Tensor:
        def one(weights: dict[str, Tensor], *fields: Tensor) -> Tensor:
            logits: Tensor = functional_call(self.model, weights, (Inputs(*fields),))
            return logits

        batch = self.inputs.take(index)
        fields = tuple(vars(batch).values())
        logits: Tensor = torch.vmap(one, randomness="error")(self.weights, *fields)
        return logits

    def _targets(self, index: Tensor) -> list[Tensor]:
        if self.credits is None:
            return list(self.labels[index])
        return [self.credits.take(own, self.task.outputs) for own in index]

    @torch.no_grad()
    def _clip(self) -> None:
        """The gradient of each model to its own norm, as torch's clip_grad_norm_ does it."""
        gradients = [p.grad for p in self.weights.values() if p.grad is not None]
        norms = torch.stack([g.flatten(1).norm(dim=1) for g in gradients]).norm(dim=0)
        scale = (self.study.clip_norm / (norms + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(scale.view(-1, *[1] * (gradient.ndim - 1)))

    # -- between and after epochs ---------------------------------------------------------------
    def after_epoch(self, done: int) -> None:
        """Let each model's own hook look at it; tickets that they give hold from here on."""
        hooks = [call.after_epoch for call in self.calls]
        new = [hook(done) if hook is not None else None for hook in hooks]
        if any(ticket is not None for ticket in new):
            both = zip(new, self.tickets, strict=True)
            self.tickets = [given if given is not None else held for given, held in both]
            self.guard = self._guard()
            self.guard.mask_moments(self.optimizer)

    def items(self) -> list[pd.DataFrame]:
        """The history of each model's training items."""
        whole = self.history.frame(self.task.train.items * self.count)
        starts = range(0, len(whole), self.size)
        return [whole.iloc[i : i + self.size].reset_index(drop=True) for i in starts]


# -- meeting ------------------------------------------------------------------------------------
WAKE_SECONDS = 0.5
"""How late an interruption may be raised."""


class Meeting:
    """Works that go on side by side, one at a time, and train together where all of them train.

    Threads stand for coroutines here: only the one whose turn it is runs, so nothing races, and
    the order of all that happens is the same in every run.
    """

    def __init__(self, count: int) -> None:
        self.count, self.turn = count, 0
        self.changed = threading.Condition()
        self.calls: dict[int, Call] = {}
        self.given: dict[int, Training] = {}
        self.left = set(range(count))
        self.failure: BaseException | None = None

    def run(
        self,
        works: Sequence[Callable[[], None]],
        context: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """Do all of them, each inside `context()`; raises the first error, having stopped all.

        So does an interruption from outside: nothing goes on behind the caller's back, who may free
        what the works write to.
        """
        threads = [
            threading.Thread(target=self._work, args=(place, work, context), daemon=True)
            for place, work in enumerate(works)
        ]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                # The system may hand an interruption to any thread; Python raises it in this one,
                # and only when it wakes.
                while thread.is_alive():
                    thread.join(WAKE_SECONDS)
        except BaseException as error:
            with self.changed:
                self.failure = self.failure or error
                self.changed.notify_all()
            for thread in threads:
                if thread.is_alive():
                    thread.join()
            raise
        if self.failure is not None:
            raise self.failure

    def trainer(self, place: int) -> Callable[..., Training]:
        """What the work at this place calls in place of `training.train`."""

        def train(model: VLModel, task: Task, study: Study, seed: int, **more: Any) -> Training:
            self.calls[place] = Call(model, task, study, seed, **more)
            if set(self.calls) != self.left:
                self._pass_on(place)
                self._wait(place)
            # The turn comes back once the others have trained, or have left without.
            if place not in self.given:
                self._train_all()
            if self.failure is not None:
                raise _Stopped
            return self.given.pop(place)

        return train

    def _train_all(self) -> None:
        places = sorted(self.calls)
        trained = train_together([self.calls[place] for place in places])
        self.given = dict(zip(places, trained, strict=True))
        self.calls.clear()

    def _work(
        self,
        place: int,
        work: Callable[[], None],
        context: Callable[[], AbstractContextManager[None]],
    ) -> None:
        try:
            self._wait(place)
            with context():
                work()
        except BaseException as error:
            self.failure = self.failure or error
        finally:
            with self.changed:
                self.left.discard(place)
                self.calls.pop(place, None)
            self._pass_on(place)

    def _wait(self, place: int) -> None:
        with self.changed:
            self.changed.wait_for(lambda: self.turn == place or self.failure is not None)
        if self.failure is not None:
            raise _Stopped

    def _pass_on(self, place: int) -> None:
        with self.changed:
            later = sorted(self.left, key=lambda other: (other <= place, other))
            self.turn = later[0] if later else -1
            self.changed.notify_all()


class _Stopped(Exception):
    """Another work failed; this one goes no further."""
