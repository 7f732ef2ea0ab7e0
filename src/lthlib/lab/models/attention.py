"""Scaled dot-product attention for models that transformers gives none.

VisualBERT and LXMERT compute attention in three products and a softmax, each in memory of its own.
Here the same weights go through `torch.nn.functional.scaled_dot_product_attention`, which a GPU
does in one kernel; results are equal up to rounding. Modules keep their names, so that state
dicts, checkpoints and tickets fit both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.lxmert.modeling_lxmert import LxmertAttention
from transformers.models.visual_bert.modeling_visual_bert import VisualBertSelfAttention

if TYPE_CHECKING:
    from lthlib.lab.models.model import VLModel

LEAST_BIAS = -1e30
"""Stands for minus infinity: it survives bfloat16, and a row of nothing else gives no NaN."""


def fuse_attention(model: VLModel) -> None:
    """Let every attention of a model go through one fused kernel, in place."""
    # UNITER's layers are BERT's, for which transformers has it built in.
    if model.name == "uniter":
        model.backbone.config._attn_implementation = "sdpa"
    for module in model.modules():
        if type(module) in _FUSED:
            module.__class__ = _FUSED[type(module)]


def _attend(
    module: VisualBertSelfAttention | LxmertAttention,
    states: Tensor,
    context: Tensor,
    mask: Tensor | None,
) -> tuple[Tensor]:
    """Attention of [B, L, H] over [B, M, H]; mask: added to scores, [B, 1, 1 or L, M]."""
    size, dropout = module.attention_head_size, module.dropout.p

    def heads(linear: nn.Module, values: Tensor) -> Tensor:
        split: Tensor = linear(values).unflatten(-1, (-1, size))
        return split.transpose(1, 2)

    attended = F.scaled_dot_product_attention(
        heads(module.query, states),
        heads(module.key, context),
        heads(module.value, context),
        attn_mask=None if mask is None else mask.clamp(min=LEAST_BIAS),
        dropout_p=dropout if module.training else 0.0,
    )
    return (attended.transpose(1, 2).flatten(2),)


class _FusedVisualBertSelfAttention(VisualBertSelfAttention):
    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        output_attentions: bool = False,
    ) -> tuple[Tensor]:
        _refuse(output_attentions)
        return _attend(self, hidden_states, hidden_states, attention_mask)


class _FusedLxmertAttention(LxmertAttention):
    def forward(
        self,
        hidden_states: Tensor,
        context: Tensor,
        attention_mask: Tensor | None = None,
        output_attentions: bool = False,
    ) -> tuple[Tensor]:
        _refuse(output_attentions)
        return _attend(self, hidden_states, context, attention_mask)


_FUSED: dict[type, type] = {
    VisualBertSelfAttention: _FusedVisualBertSelfAttention,
    LxmertAttention: _FusedLxmertAttention,
}


def _refuse(output_attentions: bool) -> None:
    if output_attentions:
        raise NotImplementedError("a fused kernel keeps no attention weights: use plain kernels")
