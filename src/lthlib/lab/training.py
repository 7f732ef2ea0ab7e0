"""The loop: the one place where weights change and masks are enforced."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils import deterministic as memory

from lthlib.errors import TrainingError
from lthlib.lab.batches import Batches
from lthlib.lab.models import VLModel
from lthlib.lab.tasks import Inputs, Split, Task
from lthlib.lab.tickets import Ticket
from lthlib.study import Study

FINE_TUNE_SHARE = 0.1
"""Fine-tuning after pruning goes on at this constant share of the peak learning rate."""


def derive_seed(*parts: object) -> int:
    """A 63-bit seed from any words and numbers, the same on every machine.

    Each use of randomness gets a generator of its own, so that a run that is resumed at a level
    draws what the uninterrupted run drew there.
    """
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@contextlib.contextmanager
def deterministic(threads: int = 1) -> Iterator[None]:
    """Deterministic kernels and a fixed number of threads: sums depend on how they are split."""
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    filled = memory.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True)
    # Filling every fresh tensor guards against reads of what nobody wrote; it takes 3 % of a step.
    memory.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        memory.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
        torch.set_num_threads(before[1])


# -- learning rate ------------------------------------------------------------------------------
def rate(step: int, total: int, warmup: float) -> float:
    """Share of the peak learning rate at a step: linear up, then linear down to nothing.

    >>> [round(rate(step, 10, 0.2), 3) for step in (0, 1, 2, 9)]
    [0.5, 1.0, 1.0, 0.125]
    """
    up = round(warmup * total)
    if step < up:
        return (step + 1) / up
    return (total - step) / (total - up)


def rate_at(step: int, total: int, study: Study, schedule: str) -> float:
    """The learning rate under a schedule: "full" or "constant" (fine-tuning)."""
    share = FINE_TUNE_SHARE if schedule == "constant" else rate(step, total, study.warmup)
    return study.learning_rate * share


def set_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


def steps_in(items: int, study: Study) -> int:
    """Optimizer steps in one epoch."""
    return -(-items // study.batch_size)


# -- masks --------------------------------------------------------------------------------------
class Guard:
    """Keeps a ticket's zeros at zero while an optimizer works.

    Gradients are masked *before* clipping, since pruned weights must not count in the norm; weights
    are masked after the step. Both are needed: gradient masks alone let moments that were carried
    over revive pruned weights.
    """

    def __init__(self, weights: Sequence[Tensor], masks: Sequence[Tensor]) -> None:
        """weights and their masks, pairs of one shape; a mask is 0 or 1 in its weight's type."""
        self.weights, self.masks = list(weights), list(masks)

    @classmethod
    def of(cls, model: nn.Module, ticket: Ticket | None) -> Guard:
        """A guard of the model's own parameters, which lose the pruned weights at once."""
        if ticket is None or ticket.zeros == 0:
            return cls([], [])
        parameters = dict(model.named_parameters())
        ticket.apply_(parameters)
        weights = [parameters[name] for name in ticket.masks]
        return cls(
            weights,
            [
                mask.to(device=weight.device, dtype=weight.dtype)
                for weight, mask in zip(weights, ticket.masks.values(), strict=True)
            ],
        )

    def mask_gradients(self) -> None:
        pairs = [
            (w.grad, m) for w, m in zip(self.weights, self.masks, strict=True) if w.grad is not None
        ]
        if pairs:
            torch._foreach_mul_([g for g, _ in pairs], [m for _, m in pairs])

    @torch.no_grad()
    def mask_weights(self) -> None:
        if self.weights:
            torch._foreach_mul_(self.weights, self.masks)

    def mask_moments(self, optimizer: torch.optim.Optimizer) -> None:
        """Forget what an optimizer remembers of weights that were pruned while it worked."""
        for weight, mask in zip(self.weights, self.masks, strict=True):
            for name, moment in optimizer.state[weight].items():
                if name.startswith("exp_avg"):
                    moment.mul_(mask)


def make_optimizer(model: nn.Module, study: Study) -> torch.optim.AdamW:
    """AdamW; biases and layer norms (all vectors) do not decay, as in the models' own papers."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    return adamw(
        [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim <= 1], study
    )


def adamw(matrices: Sequence[Tensor], vectors: Sequence[Tensor], study: Study) -> torch.optim.AdamW:
    """The optimizer of a study: matrices decay, vectors do not."""
    return torch.optim.AdamW(
        [
            {"params": list(matrices), "weight_decay": study.weight_decay},
            {"params": list(vectors), "weight_decay": 0.0},
        ],
        lr=study.learning_rate,
        fused=True,
    )


# -- predictions --------------------------------------------------------------------------------
def loss_of(task: Task, logits: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy, or the mean binary cross entropy over decisions for multi-label tasks.

    Where answers are right in part, the binary cross entropy of each answer with its worth, summed
    over answers (as LXMERT's and UNITER's authors train on VQA).

    logits: [B, outputs]; targets: labels, int64 [B, K], or worths, float32 [B, outputs].
    """
    if task.kind == "single" and not targets.is_floating_point():
        return F.cross_entropy(logits, targets[:, 0])
    loss = F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype))
    return loss * logits.shape[1] if task.kind == "single" else loss


def decide(task: Task, logits: Tensor) -> Tensor:
    """Predicted labels, int64 [B, K].

    Ties fall as in the first source: equal logits give class 0 (argmax), and a zero logit gives 1
    (sigmoid(0) >= 0.5). A model of zeros answers so, and what it answers is then an artefact.
    """
    if task.kind == "single":
        return logits.argmax(dim=1, keepdim=True)
    return (logits >= 0).long()


@torch.inference_mode()
def predict(
    model: VLModel, split: Split, batch_size: int = 512, items: Tensor | None = None
) -> Tensor:
    """Logits [N, outputs] of every item, or of those at `items`, on the CPU, with dropout off.

    Raises TrainingError when one of them is no finite number.
    """
    model.eval()
    batches = Batches.of(split.inputs, next(model.parameters()).device, model.kernels)
    order = torch.arange(len(split)) if items is None else items
    # Parts stay on the device until all are there: fetching each would make a GPU wait.
    logits = torch.cat([model(batch) for _, batch in batches.in_order(order, batch_size)]).cpu()
    if not logits.isfinite().all():
        raise TrainingError(
            "the model's answers are no numbers: lower the learning rate or the gradient norm"
        )
    return logits


MOST_LOGITS = 128
"""Logits that are kept of one decision: of VQA's 3,129 there would be gigabytes."""


@dataclass
class Answers:
    """What a model says of N items.

    prediction: int64 [N, K]; loss and accuracy: means over them; logits: float32 [N, outputs], and
    None where there are too many to keep; confidence: float32 [N], the probability of the answer,
    there; credit: float32 [N], what the answer is worth, where answers are right in part.
    """

    prediction: Tensor
    loss: float
    accuracy: float
    logits: Tensor | None = None
    confidence: Tensor | None = None
    credit: Tensor | None = None


def answer(model: VLModel, task: Task, split: Split, batch_size: int = 512) -> Answers:
    """Answers to every item of a split. Raises TrainingError as :func:`predict` does."""
    every = torch.arange(len(split))
    if task.kind == "multi" or task.outputs <= MOST_LOGITS:  # a finding has one logit
        logits = predict(model, split, batch_size)
        return replace(_answers(task, logits, split, every), logits=logits)
    parts = []
    for index in torch.split(every, batch_size):
        logits = predict(model, split, batch_size, index)
        probability = logits.softmax(1) if split.credits is None else logits.sigmoid()
        part = _answers(task, logits, split, index)
        parts.append(replace(part, confidence=probability.gather(1, part.prediction).flatten()))
    return _together(parts)


def _answers(task: Task, logits: Tensor, split: Split, index: Tensor) -> Answers:
    prediction, targets = decide(task, logits), split.targets(index, task.outputs)
    return Answers(
        prediction,
        float(loss_of(task, logits, targets)),
        float((prediction == split.labels[index]).float().mean()),
        credit=targets.gather(1, prediction).flatten() if split.credits else None,
    )


def _together(parts: list[Answers]) -> Answers:
    """Parts after one another; means over all items."""
    shares = np.array([len(part.prediction) for part in parts], dtype=float)
    shares /= shares.sum()

    def joined(name: str) -> Tensor | None:
        found = [getattr(part, name) for part in parts]
        return None if found[0] is None else torch.cat(found)

    return Answers(
        torch.cat([part.prediction for part in parts]),
        float(shares @ [part.loss for part in parts]),
        float(shares @ [part.accuracy for part in parts]),
        confidence=joined("confidence"),
        credit=joined("credit"),
    )


# -- the loop -----------------------------------------------------------------------------------
@dataclass
class Training:
    """What one training left behind, beside the weights.

    curves: a row per epoch; items: a row per training item: `learned` (epoch of its first right
    answer, -1 for never), `forgotten` (times it went from right to wrong between two presentations,
    Toneva et al. 2019), `right_at_end` (at its last presentation).
    """

    curves: pd.DataFrame
    items: pd.DataFrame
    steps: int


class History:
    """Counts, item by item, what was learned and forgotten, as the batches go by."""

    def __init__(self, items: int, device: torch.device) -> None:
        self.right = torch.zeros(items, dtype=torch.bool, device=device)
        self.learned = torch.full((items,), -1, dtype=torch.int16, device=device)
        self.forgotten = torch.zeros(items, dtype=torch.int16, device=device)

    def see(self, index: Tensor, right: Tensor, epoch: int) -> None:
        self.forgotten[index] += (self.right[index] & ~right).short()
        first = right & (self.learned[index] < 0)
        self.learned[index] = torch.where(first, epoch, self.learned[index]).short()
        self.right[index] = right

    def frame(self, names: tuple[str, ...]) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "item": names,
                "learned": self.learned.cpu().numpy(),
                "forgotten": self.forgotten.cpu().numpy(),
                "right_at_end": self.right.cpu().numpy(),
            }
        )


AfterStep = Callable[[int, torch.optim.Optimizer], None]
AfterEpoch = Callable[[int], Ticket | None]


def train(
    model: VLModel,
    task: Task,
    study: Study,
    seed: int,
    *,
    ticket: Ticket | None = None,
    first_step: int = 0,
    schedule: str = "full",
    after_step: AfterStep | None = None,
    after_epoch: AfterEpoch | None = None,
) -> Training:
    """Train in place from step `first_step` to the end, holding the ticket's zeros at zero.

    seed: of the order of items and of dropout; equal for dense and for every level of a run, so
        that they are paired.
    schedule: "full" (warm up, then down to nothing) or "constant" (fine-tuning).
    after_step: called with the number of steps done and the optimizer.
    after_epoch: called with the number of epochs done; may return the ticket to go on with.
    Raises TrainingError when the loss is no longer a finite number.
    """
    loop = _Loop(model, task, study, ticket, schedule)
    curves = []
    with torch.random.fork_rng(devices=[loop.device] if loop.device.type == "cuda" else []):
        torch.manual_seed(derive_seed(seed, "dropout", first_step))
        for epoch in range(first_step // loop.per_epoch, study.epochs):
            curves.append(loop.epoch(epoch, seed, first_step, after_step))
            if after_epoch is not None and (new := after_epoch(epoch + 1)) is not None:
                loop.guard = Guard.of(model, new)
                loop.guard.mask_moments(loop.optimizer)
    items = loop.history.frame(task.train.items)
    return Training(pd.DataFrame(curves), items, loop.total - first_step)


class _Loop:
    """One training under way: the model, its data on the device, its optimizer and its guard."""

    def __init__(
        self, model: VLModel, task: Task, study: Study, ticket: Ticket | None, schedule: str
    ) -> None:
        self.model, self.task, self.study, self.schedule = model, task, study, schedule
        self.device = next(model.parameters()).device
        self.batches = Batches.of(task.train.inputs, self.device, model.kernels)
        self.labels = task.train.labels.to(self.device)
        self.credits = task.train.credits.to(self.device) if task.train.credits else None
        self.per_epoch = steps_in(len(self.labels), study)
        self.total = self.per_epoch * study.epochs
        self.optimizer, self.guard = make_optimizer(model, study), Guard.of(model, ticket)
        self.history = History(len(self.labels), self.device)

    def epoch(
        self, epoch: int, seed: int, first_step: int, after_step: AfterStep | None
    ) -> dict[str, float]:
        """One pass, less the steps before `first_step`; returns a row of the curves."""
        self.model.train()
        order = order_of(len(self.labels), seed, epoch)
        # Sums stay on the device: reading them at every step would make a GPU wait.
        loss_sum, right_sum = (torch.zeros((), device=self.device) for _ in range(2))
        first = epoch * self.per_epoch
        skipped = max(0, first_step - first) * self.study.batch_size
        rest, seen = order[skipped:], 0
        batches = self.batches.in_order(rest, self.study.batch_size)
        for step, (index, batch) in enumerate(batches, start=max(first, first_step)):
            loss, right = self.step(step, index, batch)
            self.history.see(index, right, epoch)
            loss_sum += loss * len(index)
            right_sum += right.sum()
            seen += len(index)
            if after_step is not None:
                after_step(step + 1, self.optimizer)
        learning_rate = float(self.optimizer.param_groups[0]["lr"])
        means = float(loss_sum / seen), float(right_sum / seen)
        return curve_row(epoch, *means, self.model, self.task, learning_rate)

    def step(self, step: int, index: Tensor, batch: Inputs) -> tuple[Tensor, Tensor]:
        """One optimizer step on the items `index`: mean loss, and which items were right."""
        set_rate(self.optimizer, rate_at(step, self.total, self.study, self.schedule))
        logits, labels = self.model(batch), self.labels[index]
        worth = self.credits.take(index, self.task.outputs) if self.credits else None
        loss = loss_of(self.task, logits, labels if worth is None else worth)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.guard.mask_gradients()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.study.clip_norm)
        self.optimizer.step()
        self.guard.mask_weights()
        return loss.detach(), (decide(self.task, logits.detach()) == labels).all(dim=1)


def order_of(items: int, seed: int, epoch: int) -> Tensor:
    """In which order a seed sees its items in an epoch: int64 [items]."""
    order = np.random.default_rng(derive_seed(seed, "order", epoch)).permutation(items)
    return torch.from_numpy(order)


def curve_row(
    epoch: int, loss: float, accuracy: float, model: VLModel, task: Task, learning_rate: float
) -> dict[str, float]:
    """What an epoch came to. Raises TrainingError when its loss is no finite number."""
    if not np.isfinite(loss):
        raise TrainingError(
            f"the loss is {loss} after epoch {epoch}: lower the learning rate or the gradient norm"
        )
    validation = answer(model, task, task.validation)
    return {
        "epoch": epoch,
        "train_loss": loss,
        "train_accuracy": accuracy,
        "validation_loss": validation.loss,
        "validation_accuracy": validation.accuracy,
        "learning_rate": learning_rate,
    }
