"""What a model sees, and what a task is."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import pandas as pd
import torch
from torch import Tensor


@dataclass(frozen=True)
class Inputs:
    """What every model sees of N items; all tensors share the first axis.

    input_ids: int64 [N, T], 0 is padding, starts with [CLS]; text_mask: bool [N, T];
    region_features: float32 [N, R, D]; boxes: float32 [N, R, 4], x1 y1 x2 y2 in 0..1;
    region_mask: bool [N, R].
    """

    input_ids: Tensor
    text_mask: Tensor
    region_features: Tensor
    boxes: Tensor
    region_mask: Tensor

    def __len__(self) -> int:
        return len(self.input_ids)

    def take(self, index: Tensor | slice) -> Inputs:
        """The items at `index`, in that order."""
        return Inputs(*(getattr(self, field.name)[index] for field in fields(self)))

    def to(self, device: torch.device | str) -> Inputs:
        """The same items on another device."""
        return Inputs(*(getattr(self, field.name).to(device) for field in fields(self)))


_FIELDS = fields(Inputs)


@dataclass(frozen=True)
class Split:
    """N items of one part of a task.

    items: unique names, such as "test-000017"; labels: int64 [N, K]; facts: one row per item with
    its name, its text, what it is about, and all that is needed to draw its scene.
    """

    items: tuple[str, ...]
    inputs: Inputs
    labels: Tensor
    facts: pd.DataFrame

    def __len__(self) -> int:
        return len(self.items)

    def join(self, other: Split) -> Split:
        """The items of both, these first."""
        pairs = [(getattr(self.inputs, f.name), getattr(other.inputs, f.name)) for f in _FIELDS]
        return Split(
            (*self.items, *other.items),
            Inputs(*(torch.cat(pair) for pair in pairs)),
            torch.cat((self.labels, other.labels)),
            pd.concat((self.facts, other.facts), ignore_index=True),
        )


@dataclass(frozen=True)
class Task:
    """A task: three splits and what there is to decide on each item.

    kind "single": one decision between `classes`, two logits, cross entropy, the prediction is the
    greatest logit (a tie is class 0). kind "multi": one decision per name in `decisions`, one logit
    each, binary cross entropy, the prediction is logit >= 0.
    """

    name: str
    kind: Literal["single", "multi"]
    decisions: tuple[str, ...]
    classes: tuple[str, ...]
    vocabulary: tuple[str, ...]
    feature_dim: int
    train: Split
    validation: Split
    test: Split

    @property
    def outputs(self) -> int:
        """How many logits a model gives per item."""
        return len(self.classes) if self.kind == "single" else len(self.decisions)
