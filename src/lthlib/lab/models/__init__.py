"""VisualBERT, LXMERT and UNITER behind one call signature.

`build` makes a fresh model, `load_start` gives it the shipped pre-trained weights, and the rest
says what its parameters are: which group each belongs to, which may be pruned, which are dead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lthlib.errors import StudyError, unknown
from lthlib.lab.models import lxmert, uniter, visualbert
from lthlib.lab.models.attention import fuse_attention
from lthlib.lab.models.model import (
    GROUPS,
    SIZES,
    Encoded,
    Group,
    Kernels,
    Precision,
    Size,
    VLModel,
)
from lthlib.lab.models.starts import load_start, save_start, start_name

if TYPE_CHECKING:
    from lthlib.lab.tasks.inputs import Inputs

__all__ = [
    "GROUPS",
    "MODELS",
    "SIZES",
    "Encoded",
    "Group",
    "Kernels",
    "Precision",
    "VLModel",
    "build",
    "dead_names",
    "group_of",
    "load_start",
    "prunable_names",
    "save_start",
    "set_arithmetic",
    "set_prior",
    "start_name",
]

MODELS = ("visualbert", "lxmert", "uniter")
PRUNABLE = ("encoder", "encoder+embeddings", "everything")


def build(
    name: str,
    *,
    size: Size,
    boxes: bool = True,
    vocabulary_size: int,
    feature_dim: int,
    outputs: int,
    seed: int,
) -> VLModel:
    """A fresh model on the CPU, the same for the same arguments whatever ran before.

    `outputs` is the number of logits. `boxes=False` is VisualBERT as published, which is not told
    where regions lie; the other two always are. Raises StudyError for a name, size or combination
    that does not exist.
    """
    if name not in MODELS:
        raise StudyError(unknown("model", name, MODELS))
    if size not in SIZES:
        raise StudyError(unknown("size", size, SIZES))
    if not boxes and name != "visualbert":
        raise StudyError(f"boxes=False is VisualBERT as published; {name} always sees boxes")
    dims = {"vocabulary_size": vocabulary_size, "feature_dim": feature_dim}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name == "visualbert":
            config = visualbert.configuration(size, **dims)
            return visualbert.VisualBert(config, size=size, boxes=boxes, outputs=outputs)
        if name == "lxmert":
            return lxmert.Lxmert(lxmert.configuration(size, **dims), size=size, outputs=outputs)
        return uniter.Uniter(uniter.configuration(size, **dims), size=size, outputs=outputs)


def set_arithmetic(model: VLModel, kernels: Kernels, precision: Precision) -> None:
    """How a fresh model computes, in place; weights and their names stay.

    kernels: "plain" (transformers' own modules), "fused" (one kernel for each attention) or
        "compiled" (fused, and the whole model through torch.compile, which pays on a GPU).
    precision: "float32", or "bfloat16" for matrix products and attention (autocast); weights,
        layer norms, the loss and the optimizer stay in float32.
    """
    model.kernels, model.precision = kernels, precision
    if kernels != "plain":
        fuse_attention(model)
    if kernels == "compiled":
        # In place: a wrapper would give every parameter another name.
        model.compile(dynamic=False)


MOST_VERSIONS = 64
"""Shapes and modes of all models of a run for which a forward is compiled: six or so."""


def forget_compiled() -> None:
    """Begin anew with compiled kernels: what ran before in this process must not decide anything.

    torch keeps so many versions of one forward, over all models, and without more ado computes what
    goes beyond them uncompiled, which gives other last digits. Here that is an error.
    """
    torch.compiler.reset()
    torch._dynamo.config.recompile_limit = MOST_VERSIONS
    torch._dynamo.config.fail_on_recompile_limit_hit = True


@torch.no_grad()
def set_prior(model: VLModel, labels: Tensor) -> None:
    """Put the head's bias at the log odds of each decision in the training labels, [N, K].

    For heads with one logit per decision. Where positives are rare, a head without bias spends its
    first epochs on learning that they are (Lin et al. 2017, "Focal loss", section 3.3). Half an
    item is added to each count, so that what never occurs gets no infinite bias.
    """
    positive = labels.double().sum(dim=0) + 0.5
    negative = len(labels) + 1 - positive
    model.head.bias.copy_(torch.log(positive / negative))


def group_of(model: VLModel, parameter: str) -> Group:
    """The group that a parameter belongs to, by its longest matching prefix."""
    prefixes = [prefix for prefix in model.groups if parameter.startswith(prefix)]
    if not prefixes:
        raise KeyError(f"{model.name} has no group for parameter {parameter!r}")
    return model.groups[max(prefixes, key=len)]


def dead_names(model: VLModel, example: Inputs) -> tuple[str, ...]:
    """Parameters that no logit depends on, found by a backward pass over `example`.

    LXMERT's last cross layer goes on to refine the regions, which nothing reads when the answer
    comes from the pooled vector alone. Such tensors never train, so they belong in no count.
    """
    parameters = dict(model.named_parameters())
    was_training = model.training
    model.eval()
    try:
        with torch.enable_grad():
            total = model(example).sum()
            gradients = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
    finally:
        model.train(was_training)
    return tuple(
        name for name, gradient in zip(parameters, gradients, strict=True) if gradient is None
    )


def prunable_names(model: VLModel, which: str, example: Inputs) -> tuple[str, ...]:
    """The parameters that pruning may touch, in the model's own order, dead ones left out.

    - "encoder": weight matrices of linear maps, outside the head (Frankle and Carbin 2019;
      biases, layer norms and the output layer are not pruned);
    - "encoder+embeddings": those and the embedding tables;
    - "everything": every parameter, the head and biases too, as the first source did it.

    Raises StudyError for another value of `which`.
    """
    if which not in PRUNABLE:
        raise StudyError(unknown("prunable set", which, PRUNABLE))
    names = [name for name, _ in model.named_parameters()]
    if which != "everything":
        kinds = (nn.Linear,) if which == "encoder" else (nn.Linear, nn.Embedding)
        weights = {
            f"{path}.weight" for path, module in model.named_modules() if isinstance(module, kinds)
        }
        names = [n for n in names if n in weights and group_of(model, n) != "head"]
    dead = set(dead_names(model, example))
    return tuple(name for name in names if name not in dead)
