"""What the three models have in common: one call signature, and named groups of parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

if TYPE_CHECKING:
    from lthlib.lab.tasks.inputs import Inputs

Size = Literal["tiny", "base"]
Kernels = Literal["plain", "fused", "compiled"]
Precision = Literal["float32", "bfloat16"]
Group = Literal["language", "vision", "fusion", "embeddings", "head"]

GROUPS: tuple[Group, ...] = ("language", "vision", "fusion", "embeddings", "head")
SIZES: tuple[Size, ...] = ("tiny", "base")


class Encoded(NamedTuple):
    """What an encoder makes of a batch: the pooled vector and one state per word and region."""

    pooled: Tensor  # float32 [B, H]
    text: Tensor  # float32 [B, T, H]
    regions: Tensor  # float32 [B, R, H]


def shape(size: Size) -> dict[str, Any]:
    """What all three configurations share at a size, under transformers' names.

    `base` is BERT-base's. `tiny` is what one processor core trains at about 20 steps of 128 items
    a second; it has no dropout, because drawing the random numbers takes a third of such a step.
    """
    # VisualBERT and LXMERT have no other attention in transformers; UNITER follows them.
    attention = {"attn_implementation": "eager"}
    if size == "base":
        return {
            **attention,
            "hidden_size": 768,
            "num_attention_heads": 12,
            "intermediate_size": 3072,
            "max_position_embeddings": 512,
            "hidden_dropout_prob": 0.1,
            "attention_probs_dropout_prob": 0.1,
        }
    return {
        **attention,
        "hidden_size": 64,
        "num_attention_heads": 4,
        "intermediate_size": 128,
        "max_position_embeddings": 64,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }


class VLModel(nn.Module):
    """A vision-language encoder with a small task head on its pooled vector.

    A subclass gives `name`, `encode`, and `groups`: a mapping from a prefix of parameter names
    to the group they belong to, where the longest matching prefix decides. `boxes` says whether
    the model is told where a region lies. `kernels` and `precision` say how it computes
    (:func:`lthlib.lab.models.set_arithmetic`).
    """

    name: ClassVar[str]
    groups: ClassVar[Mapping[str, Group]]

    def __init__(self, backbone: PreTrainedModel, *, size: Size, boxes: bool, outputs: int) -> None:
        super().__init__()
        self.size = size
        self.boxes = boxes
        self.hidden: int = backbone.config.hidden_size
        self.backbone = backbone
        self.kernels: Kernels = "plain"
        self.precision: Precision = "float32"
        self.head = nn.Linear(self.hidden, outputs)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def encode(self, inputs: Inputs) -> Encoded:
        """States of `inputs`; padding never reaches the state of anything else."""
        raise NotImplementedError

    def forward(self, inputs: Inputs) -> Tensor:
        """Logits [B, outputs] of `inputs`, float32 whatever they were computed in."""
        low = self.precision == "bfloat16"
        with torch.autocast(inputs.input_ids.device.type, torch.bfloat16, enabled=low):
            logits: Tensor = self.head(self.encode(inputs).pooled)
        return logits.float()


def seven_numbers(boxes: Tensor) -> Tensor:
    """Position input of regions, [..., 4] -> [..., 7]: x1, y1, x2, y2, w, h, w * h.

    Source: Chen et al. 2020 (UNITER), section 3.1.
    """
    x1, y1, x2, y2 = boxes.unbind(-1)
    width, height = x2 - x1, y2 - y1
    return torch.stack((x1, y1, x2, y2, width, height, width * height), dim=-1)
