"""Pruned models that compute with their zeros left out: CSR on a CPU, 2:4 on a GPU.

Both turn the linear maps of a model's encoder; embeddings, layer norms and the head of the task
stay as they are. They are for inference: what they return cannot be trained.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace

import torch
from torch import Tensor, nn

from lthlib.errors import TicketError
from lthlib.lab.models import VLModel, group_of
from lthlib.lab.tasks.inputs import Inputs
from lthlib.lab.tickets import Ticket

GROUP, KEPT = 4, 2
"""2:4: of four weights in a row of a matrix at most two are not zero."""
_TILE = 64
"""Sides that every kernel for 2:4 takes are multiples of this."""


class CsrLinear(nn.Module):
    """A linear map whose weight lies in compressed rows, with indices of 32 bits."""

    weight: Tensor
    bias: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach()
        with warnings.catch_warnings():
            # torch calls its CSR tensors a beta at their first use.
            warnings.simplefilter("ignore", UserWarning)
            rows = weight.to_sparse_csr()
            # values() is a view that would keep all of `rows` and its 64-bit indices alive.
            weight = torch.sparse_csr_tensor(
                rows.crow_indices().int(),
                rows.col_indices().int(),
                rows.values().clone(),
                rows.shape,
            )
        self.register_buffer("weight", weight)
        self.register_buffer("bias", linear.bias.detach().clone())

    @property
    def nbytes(self) -> int:
        """Values, column indices and row pointers, and the bias."""
        parts = (self.weight.values(), self.weight.col_indices(), self.weight.crow_indices())
        return sum(part.nbytes for part in (*parts, self.bias))

    def forward(self, values: Tensor) -> Tensor:
        """[..., inputs] -> [..., outputs]."""
        # The sparse factor on the left: torch's own linear() on a CSR weight takes five times as
        # long (torch 2.15, MKL).
        flat = values.reshape(-1, values.shape[-1])
        bias = self.bias[:, None].expand(-1, len(flat))
        product = torch.addmm(bias, self.weight, flat.t()).t()
        return product.reshape(*values.shape[:-1], -1)


def linear_maps(model: VLModel) -> dict[str, nn.Linear]:
    """The linear maps that may be turned, by path: those outside the head.

    A subclass of nn.Linear computes something of its own, and is left as it is.
    """
    return {
        path: module
        for path, module in model.named_modules()
        if type(module) is nn.Linear and group_of(model, f"{path}.weight") != "head"
    }


@torch.no_grad()
def to_csr(model: VLModel) -> VLModel:
    """A copy of the model, in evaluation mode, whose pruned linear maps lie in compressed rows.

    Maps without any zero stay dense. Raises TicketError for a model that is not on a CPU or not in
    float32.
    """
    small = copy.deepcopy(model).eval()
    for path, linear in linear_maps(small).items():
        if bool(linear.weight.all()):
            continue
        if linear.weight.device.type != "cpu" or linear.weight.dtype != torch.float32:
            raise TicketError(
                f"CSR: {path} is {linear.weight.dtype} on {linear.weight.device}: give a model in "
                "float32 on the CPU"
            )
        small.set_submodule(path, CsrLinear(linear))
    return small


# -- 2:4 -----------------------------------------------------------------------------------------
@torch.no_grad()
def two_of_four(model: VLModel) -> Ticket:
    """The ticket that keeps the two largest of each four weights in a row, ties by position.

    It covers the linear maps whose rows divide into fours.
    """
    masks = {}
    for path, linear in linear_maps(model).items():
        if linear.in_features % GROUP == 0:
            fours = linear.weight.detach().abs().reshape(-1, GROUP)
            best = fours.argsort(dim=1, descending=True, stable=True)[:, :KEPT]
            kept = torch.zeros_like(fours, dtype=torch.bool).scatter_(1, best, True)
            masks[f"{path}.weight"] = kept.reshape(linear.weight.shape)
    return Ticket(masks)


def refuse_without_2_to_4(device: torch.device | str) -> None:
    """Raises TicketError where 2:4 is not to be had: only on a GPU of NVIDIA's Ampere or later."""
    kind = torch.device(device).type
    if kind != "cuda" or not torch.cuda.is_available() or torch.version.hip:
        raise TicketError(f"2:4 needs an NVIDIA GPU, and the model is on {kind}: use CSR there")
    if torch.cuda.get_device_capability(device) < (8, 0):
        raise TicketError("2:4 needs an NVIDIA GPU of compute capability 8.0 or later")


@torch.no_grad()
def to_2_to_4(model: VLModel, dtype: torch.dtype = torch.float16) -> VLModel:
    """A copy of the model in `dtype`, in evaluation mode, whose linear maps lie in 2:4 form.

    Of each four weights the two largest stay: a model that was trained under the ticket of
    :func:`two_of_four` loses nothing. Maps whose sides are no multiples of 64 stay dense. Give
    the model's inputs through :func:`inputs_as`.

    Raises TicketError on a CPU, on a GPU that has no such kernels, and for another dtype.
    """
    refuse_without_2_to_4(next(model.parameters()).device)
    if dtype not in (torch.float16, torch.bfloat16):
        raise TicketError(f"2:4 in {dtype}: choose torch.float16 or torch.bfloat16")
    small = copy.deepcopy(model).eval()
    two_of_four(small).apply_(dict(small.named_parameters()))
    small = small.to(dtype)
    for linear in linear_maps(small).values():
        if linear.out_features % _TILE == 0 and linear.in_features % _TILE == 0:
            with warnings.catch_warnings():
                # torch calls the form a prototype at its first use.
                warnings.simplefilter("ignore", UserWarning)
                packed = torch.sparse.to_sparse_semi_structured(linear.weight.detach())
            linear.weight = nn.Parameter(packed, requires_grad=False)
    return small


def inputs_as(inputs: Inputs, dtype: torch.dtype) -> Inputs:
    """The same inputs with features and boxes in another precision."""
    return replace(
        inputs, region_features=inputs.region_features.to(dtype), boxes=inputs.boxes.to(dtype)
    )
