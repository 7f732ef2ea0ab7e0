"""Reading checkpoints that other people published, with every key accounted for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import safetensors.torch
import torch
from torch import Tensor

from lthlib.errors import WeightsError, in_one_line
from lthlib.foreign import kind_of_file
from lthlib.lab.models.model import VLModel
from lthlib.lab.models.starts import HEAD
from lthlib.lab.models.uniter import UniterConfig


@dataclass(frozen=True)
class Naming:
    """How published checkpoints of one architecture name their weights.

    encoder: prefixes of the encoder's weights, the longest first where one begins another;
    renamed: parts of names that changed since; left_out: what a task head or pre-training has
    beside the encoder; ours: parts of our encoder that no published checkpoint has.
    """

    encoder: tuple[str, ...]
    left_out: tuple[str, ...]
    renamed: Mapping[str, str] = field(default_factory=dict)
    ours: tuple[str, ...] = ()


_BARE = ("embeddings.", "img_embeddings.", "encoder.", "pooler.")
NAMINGS = {
    # The hub's names, and those of the authors' `.th` files (allennlp wraps the model twice).
    "visualbert": Naming(
        encoder=("visual_bert.", "bert.bert."),
        renamed={
            "token_type_embeddings_visual": "visual_token_type_embeddings",
            "position_embeddings_visual": "visual_position_embeddings",
            "embeddings.projection.": "embeddings.visual_projection.",
        },
        left_out=("cls.", "bert.cls.", "bert.classifier.", "classifier."),
        ours=("backbone.embeddings.visual_projection.position",),
    ),
    # `model_LXRT.pth`, saved from a model on several GPUs, and the hub's file.
    "lxmert": Naming(
        encoder=("bert.", "lxmert."),
        left_out=("cls.", "obj_predict_head.", "answer_head."),
    ),
    "uniter": Naming(
        encoder=("uniter.",),
        left_out=(
            *("cls.", "feat_regress.", "region_classifier.", "itm_output.", "vqa_output."),
            # The embedding of a masked region: only pre-training uses it.
            *("nlvr2_output.", "uniter.img_embeddings.mask_embedding."),
            "img_embeddings.mask_embedding.",
        ),
    ),
}
_MASK = "_mask"  # of torch.nn.utils.prune, beside a weight that ends with _orig
_WRAPPERS = ("_orig_mod.", "module.", "_orig_mod.")  # of torch.compile and DataParallel, either way
_OLD_NORMS = {".gamma": ".weight", ".beta": ".bias"}  # of TensorFlow's BERT
_BUFFERS = (".position_ids", ".visual_position_ids", ".token_type_ids")  # of older transformers


class Account(NamedTuple):
    """What became of every key: names in the model, or in the checkpoint for `left_out`."""

    loaded: tuple[str, ...]
    new: tuple[str, ...]
    left_out: tuple[str, ...]

    def told(self, path: Path) -> str:
        """One line that accounts for every key."""
        return (
            f"{path.name}: {len(self.loaded)} tensors loaded; new: {', '.join(self.new)}; "
            f"left out: {', '.join(self.left_out) or 'none'}"
        )


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a `.safetensors` file, or of a torch file, which is read without running code.

    Raises WeightsError when the file is missing, damaged, or holds anything but named tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return dict(safetensors.torch.load(path.read_bytes()))
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # on a damaged file torch's unpickler raises whatever it stumbles on
        reason = in_one_line(error)
        # What torch advises, to read it with weights_only=False, would run the code of a stranger.
        if "eights only load failed" in reason:
            reason = "it holds more than tensors"
        what = kind_of_file(path)
        # A torch file is a ZIP archive itself.
        what = "" if "ZIP" in what else what
        told = f"it is {what}" if what else f"{reason}; fetch it anew"
        raise WeightsError(f"{path}: cannot be read as weights: {told}") from None
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise WeightsError(f"{path}: holds other things than named tensors; give a state dict")
    return content


def original_uniter_config(path: Path) -> UniterConfig:
    """Configuration from an original `config/uniter-*.json`.

    Its `vocab_size_or_config_json_file` is the vocabulary size; `img_dim` is not in the files of
    the original repository, whose code sets it to 2048.
    """
    values = json.loads(path.read_text())
    if "vocab_size_or_config_json_file" in values:
        values["vocab_size"] = values.pop("vocab_size_or_config_json_file")
    return UniterConfig(**values | {"attn_implementation": "eager"})


def load_checkpoint(model: VLModel, path: Path) -> Account:
    """Load a published checkpoint of the model's architecture; only the task head stays new.

    VisualBERT with boxes also keeps its position embedding, which the published one lacks.
    Raises WeightsError, and leaves the model as it was, when a key of the checkpoint is unknown,
    or a parameter of the encoder is missing from it, has another shape, or is not finite.
    """
    naming, weights = NAMINGS[model.name], read_weights(path)
    if masks := [key for key in weights if key.endswith(_MASK)]:
        raise WeightsError(
            f"{path}: pruned by torch.nn.utils.prune, whose masks are apart from the weights "
            f"({masks[0]} and {len(masks) - 1} more): fold them first, by "
            "torch.nn.utils.prune.remove(module, name), and save again"
        )
    named = {key: _our_name(key, naming) for key in weights}
    left_out = {key for key, ours in named.items() if ours is None}
    state = {ours: weights[key] for key, ours in named.items() if ours is not None}
    if len(state) + len(left_out) < len(weights):
        raise WeightsError(f"{path}: names the same weights twice; give a checkpoint of one model")
    own = model.state_dict()
    new = {key for key in own if key.startswith((HEAD, *naming.ours))}
    odd = {k for k in state.keys() & own.keys() if state[k].shape != own[k].shape}
    _refuse(path, model, f"keys that {model.name} does not have", state.keys() - own.keys())
    _refuse(path, model, "no weights for", own.keys() - state.keys() - new)
    _refuse(path, model, "another shape for", {_shapes(k, state[k], own[k]) for k in odd})
    if broken := sorted(k for k, value in state.items() if not bool(value.isfinite().all())):
        raise WeightsError(f"{path}: {broken[0]} holds what is no number: its training has failed")
    model.load_state_dict(state, strict=False)
    return Account(tuple(state), tuple(sorted(new - state.keys())), tuple(sorted(left_out)))


def _our_name(key: str, naming: Naming) -> str | None:
    """A checkpoint's name as the model has it; None for what is left out."""
    name = key
    for wrapper in _WRAPPERS:
        name = name.removeprefix(wrapper)
    if name.startswith(naming.left_out) or name.endswith(_BUFFERS):
        return None
    # The hub also has files of the encoder alone, mirrors of UNITER among them.
    if name.startswith(_BARE):
        name = f"backbone.{name}"
    for prefix in naming.encoder:
        if name.startswith(prefix):
            name = f"backbone.{name.removeprefix(prefix)}"
            break
    for old, now in naming.renamed.items():
        name = name.replace(old, now)
    for old, now in _OLD_NORMS.items():
        name = name.removesuffix(old) + now if name.endswith(old) else name
    return name


def _shapes(name: str, theirs: Tensor, ours: Tensor) -> str:
    return f"{name} ({list(theirs.shape)} in the file, {list(ours.shape)} in the model)"


def _refuse(path: Path, model: VLModel, what: str, names: Set[str]) -> None:
    if names:
        some = ", ".join(sorted(names)[:3])
        raise WeightsError(
            f"{path}: {what} {some} ({len(names)} in all); give a checkpoint of {model.name} that "
            "fits the model's size, vocabulary and features"
        )
