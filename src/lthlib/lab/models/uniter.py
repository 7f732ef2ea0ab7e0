"""UNITER (Chen et al. 2020) on transformers' BERT encoder.

One stream: words and regions are embedded, joined into one sequence, and read by BERT's layers.
Parameter names below `UniterModel` follow the original code, so that its checkpoints can be read
(`lthlib.lab.models.checkpoints`). The original gathers the words and regions of each item into a
sequence without holes; here padding stays where it is and is masked, which gives the same states
and fixed shapes.
"""

# transformers leaves most of its constructors unannotated
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from transformers import BertConfig, PreTrainedModel
from transformers.models.bert.modeling_bert import BertEmbeddings, BertEncoder, BertPooler

from lthlib.lab.models.model import Encoded, Group, Size, VLModel, seven_numbers, shape

if TYPE_CHECKING:
    from lthlib.lab.tasks.inputs import Inputs


class UniterConfig(BertConfig):
    """BERT's configuration, and the length of a region's feature vector."""

    model_type = "uniter"

    img_dim: int = 2048


def configuration(size: Size, *, vocabulary_size: int, feature_dim: int) -> UniterConfig:
    """UNITER at a size; `base` has the depth and width of the paper's UNITER-base."""
    return UniterConfig(
        vocab_size=vocabulary_size,
        img_dim=feature_dim,
        num_hidden_layers=12 if size == "base" else 4,
        **shape(size),
    )


class UniterImageEmbeddings(nn.Module):
    """Region features and boxes, each through a linear map and a layer norm, then summed."""

    def __init__(self, config: UniterConfig) -> None:
        super().__init__()
        hidden, eps = config.hidden_size, config.layer_norm_eps
        self.img_linear = nn.Linear(config.img_dim, hidden)
        self.img_layer_norm = nn.LayerNorm(hidden, eps=eps)
        self.pos_linear = nn.Linear(7, hidden)
        self.pos_layer_norm = nn.LayerNorm(hidden, eps=eps)
        self.LayerNorm = nn.LayerNorm(hidden, eps=eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, features: Tensor, positions: Tensor, type_embedding: Tensor) -> Tensor:
        """[B, R, D], [B, R, 7] and [H] -> [B, R, H]."""
        content = self.img_layer_norm(self.img_linear(features))
        place = self.pos_layer_norm(self.pos_linear(positions))
        embedded: Tensor = self.dropout(self.LayerNorm(content + place + type_embedding))
        return embedded


class UniterModel(PreTrainedModel):
    """The encoder, from words and regions to states and a pooled vector."""

    config_class = UniterConfig
    base_model_prefix = "uniter"
    _supports_sdpa = True

    def __init__(self, config: UniterConfig) -> None:
        super().__init__(config)
        self.embeddings = BertEmbeddings(config)
        self.img_embeddings = UniterImageEmbeddings(config)
        self.encoder = BertEncoder(config)
        self.pooler = BertPooler(config)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        text_mask: Tensor,
        region_features: Tensor,
        boxes: Tensor,
        region_mask: Tensor,
    ) -> Encoded:
        """States of [B, T] words and [B, R] regions; boxes are x1, y1, x2, y2 in [0, 1]."""
        words = self.embeddings(input_ids)
        # Regions carry token type 1, words type 0 (original code, `UniterModel`).
        region_type = self.embeddings.token_type_embeddings.weight[1]
        regions = self.img_embeddings(region_features, seven_numbers(boxes), region_type)
        mask = torch.cat((text_mask, region_mask), dim=1).to(words.dtype)
        bias = (1.0 - mask)[:, None, None, :] * torch.finfo(words.dtype).min
        states = self.encoder(torch.cat((words, regions), dim=1), bias).last_hidden_state
        text, seen = states.split((words.shape[1], regions.shape[1]), dim=1)
        return Encoded(self.pooler(states), text, seen)


class Uniter(VLModel):
    """UNITER with a task head."""

    name = "uniter"
    groups: ClassVar[Mapping[str, Group]] = {
        "backbone.embeddings.": "embeddings",
        "backbone.img_embeddings.": "vision",
        "backbone.encoder.": "fusion",
        "backbone.pooler.": "fusion",
        "head.": "head",
    }

    def __init__(self, config: UniterConfig, *, size: Size, outputs: int) -> None:
        super().__init__(UniterModel(config), size=size, boxes=True, outputs=outputs)

    def encode(self, inputs: Inputs) -> Encoded:
        encoded: Encoded = self.backbone(
            inputs.input_ids,
            inputs.text_mask,
            inputs.region_features,
            inputs.boxes,
            inputs.region_mask,
        )
        return encoded
