"""VisualBERT (Li et al. 2019): transformers' model behind this project's call signature.

One stream, like UNITER. As published it is shown what a region looks like but not where it lies;
`boxes=True` adds the position of each region to its embedding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from transformers import VisualBertConfig, VisualBertModel

from lthlib.lab.models.model import Encoded, Group, Size, VLModel, seven_numbers, shape

if TYPE_CHECKING:
    from lthlib.lab.tasks.inputs import Inputs


def configuration(size: Size, *, vocabulary_size: int, feature_dim: int) -> VisualBertConfig:
    """VisualBERT at a size; `base` has the depth and width of the paper's."""
    return VisualBertConfig(
        vocab_size=vocabulary_size,
        visual_embedding_dim=feature_dim,
        pad_token_id=0,
        num_hidden_layers=12 if size == "base" else 4,
        **shape(size),
    )


class BoxedProjection(nn.Linear):
    """VisualBERT's visual projection, plus UNITER's position embedding.

    It takes the place of `visual_projection`, whose weights keep their names, and reads features
    and the seven position numbers side by side: [..., D + 7] -> [..., H].
    """

    def __init__(self, feature_dim: int, hidden: int, eps: float) -> None:
        super().__init__(feature_dim, hidden)
        self.position = nn.Linear(7, hidden)
        self.position_norm = nn.LayerNorm(hidden, eps=eps)

    def forward(self, features_and_position: Tensor) -> Tensor:
        features = features_and_position[..., : self.in_features]
        position = features_and_position[..., self.in_features :]
        placed: Tensor = self.position_norm(self.position(position))
        return super().forward(features) + placed


class VisualBert(VLModel):
    """VisualBERT with a task head, with boxes or, as published, without."""

    name = "visualbert"
    groups: ClassVar[Mapping[str, Group]] = {
        "backbone.embeddings.": "embeddings",
        "backbone.embeddings.visual_projection.": "vision",
        "backbone.encoder.": "fusion",
        "backbone.pooler.": "fusion",
        "head.": "head",
    }

    def __init__(self, config: VisualBertConfig, *, size: Size, boxes: bool, outputs: int) -> None:
        backbone = VisualBertModel(config)
        if boxes:
            projection = BoxedProjection(
                config.visual_embedding_dim, config.hidden_size, config.layer_norm_eps
            )
            projection.apply(backbone._init_weights)
            backbone.embeddings.visual_projection = projection
        super().__init__(backbone, size=size, boxes=boxes, outputs=outputs)

    def encode(self, inputs: Inputs) -> Encoded:
        visual = inputs.region_features
        if self.boxes:
            visual = torch.cat((visual, seven_numbers(inputs.boxes)), dim=-1)
        out = self.backbone(
            input_ids=inputs.input_ids,
            attention_mask=inputs.text_mask.long(),
            visual_embeds=visual,
            visual_attention_mask=inputs.region_mask.long(),
        )
        words = inputs.input_ids.shape[1]
        states = out.last_hidden_state
        return Encoded(out.pooler_output, states[:, :words], states[:, words:])
