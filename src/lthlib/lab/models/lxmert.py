"""LXMERT (Tan and Bansal 2019): transformers' model behind this project's call signature.

Two streams, one for words and one for regions, that meet in cross-modality layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from transformers import LxmertConfig, LxmertModel

from lthlib.lab.models.model import Encoded, Group, Size, VLModel, shape

if TYPE_CHECKING:
    from lthlib.lab.tasks.inputs import Inputs


def configuration(size: Size, *, vocabulary_size: int, feature_dim: int) -> LxmertConfig:
    """LXMERT at a size; `base` has the paper's 9 language, 5 object and 5 cross layers."""
    language, objects, cross = (9, 5, 5) if size == "base" else (1, 1, 2)
    return LxmertConfig(
        vocab_size=vocabulary_size,
        visual_feat_dim=feature_dim,
        l_layers=language,
        r_layers=objects,
        x_layers=cross,
        **shape(size),
    )


class Lxmert(VLModel):
    """LXMERT with a task head."""

    name = "lxmert"
    groups: ClassVar[Mapping[str, Group]] = {
        "backbone.embeddings.": "embeddings",
        "backbone.encoder.layer.": "language",
        "backbone.encoder.visn_fc.": "vision",
        "backbone.encoder.r_layers.": "vision",
        "backbone.encoder.x_layers.": "fusion",
        "backbone.pooler.": "fusion",
        "head.": "head",
    }

    def __init__(self, config: LxmertConfig, *, size: Size, outputs: int) -> None:
        super().__init__(LxmertModel(config), size=size, boxes=True, outputs=outputs)

    def encode(self, inputs: Inputs) -> Encoded:
        # Where an item shows no region at all, every key of the cross attention is masked, and a
        # softmax over equal scores would average what lies in the padding: make it zero.
        shown = inputs.region_mask[..., None]
        out = self.backbone(
            input_ids=inputs.input_ids,
            attention_mask=inputs.text_mask,
            visual_feats=inputs.region_features.masked_fill(~shown, 0.0),
            visual_pos=inputs.boxes.masked_fill(~shown, 0.0),
            visual_attention_mask=inputs.region_mask,
        )
        return Encoded(out.pooled_output, out.language_output, out.vision_output)
