"""Batches of a split by index, without asking the device anything.

But for regions that are too many for the device: they are read from their store, batch by batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from lthlib.lab.models import Kernels
from lthlib.lab.tasks.inputs import HeldInputs, Inputs, StoredInputs


@dataclass(frozen=True)
class Batches:
    """Items on a device, and how far each batch of them is to be cut.

    lengths: int64 [N, 2] on the CPU, words and regions of each item; None leaves batches as wide as
    their split.
    """

    inputs: Inputs | StoredInputs | HeldInputs
    lengths: Tensor | None

    @classmethod
    def of(
        cls,
        inputs: Inputs | StoredInputs | HeldInputs,
        device: torch.device,
        kernels: Kernels = "plain",
    ) -> Batches:
        """plain: batches as they are; fused: cut to their longest item; compiled: to the split's.

        Compiled kernels are made for one shape, and making them takes a minute.
        """
        if kernels == "plain":
            return cls(inputs.to(device), None)
        lengths = inputs.lengths().cpu().clamp(min=1)
        if kernels == "compiled":
            lengths = lengths.amax(dim=0).expand(len(lengths), 2)
        return cls(inputs.to(device), lengths)

    def in_order(self, order: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Inputs]]:
        """Batches of the items at `order` (int64, on the CPU), each with its items' numbers.

        The whole order goes to the device at once: a copy at each step would make it wait.
        """
        if len(order) == 0:
            return
        indices = torch.split(order.to(self.inputs.device), batch_size)
        widths = self._widths(order, batch_size)
        for index, width in zip(indices, widths, strict=True):
            batch = self.inputs.take(index)
            yield index, batch if width is None else batch.cut(*width)

    def _widths(self, order: Tensor, batch_size: int) -> list[tuple[int, int] | None]:
        if self.lengths is None:
            return [None] * -(-len(order) // batch_size)
        parts = torch.split(self.lengths[order], batch_size)
        return [(int(words), int(regions)) for words, regions in (p.amax(dim=0) for p in parts)]
