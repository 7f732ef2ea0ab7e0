"""Reading checkpoints that other people published, with every key accounted for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import safetensors.torch
import torch
from torch import Tensor

from lthlib.errors import WeightsError
from lthlib.lab.models.starts import HEAD
from lthlib.lab.models.uniter import Uniter, UniterConfig

# What an original UNITER checkpoint holds beside the encoder: the heads of its pre-training and
# fine-tuning tasks, and the embedding that marks a masked region, which only pre-training uses.
LEFT_OUT = (
    "cls.",
    "feat_regress.",
    "region_classifier.",
    "itm_output.",
    "vqa_output.",
    "nlvr2_output.",
    "uniter.img_embeddings.mask_embedding.",
)
ENCODER = "uniter."


class Account(NamedTuple):
    """What became of every key: names in the model, or in the checkpoint for `left_out`."""

    loaded: tuple[str, ...]
    new: tuple[str, ...]
    left_out: tuple[str, ...]


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a `.safetensors` file, or of a torch file, which is read without running code.

    Raises WeightsError when the file is missing, damaged, or holds anything but named tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return dict(safetensors.torch.load(path.read_bytes()))
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # on a damaged file torch's unpickler raises whatever it stumbles on
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"{path}: cannot be read as weights ({reason}); fetch it anew") from None
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


def load_original_uniter(model: Uniter, path: Path) -> Account:
    """Load a checkpoint under the original UNITER's names; only the task head stays new.

    Raises WeightsError, and leaves the model as it was, when a key of the checkpoint is unknown,
    or a parameter of the encoder is missing from it or has another shape.
    """
    weights = read_weights(path)
    left_out = {key for key in weights if key.startswith(LEFT_OUT)}
    state = {
        f"backbone.{key.removeprefix(ENCODER)}": tensor
        for key, tensor in weights.items()
        if key.startswith(ENCODER) and key not in left_out
    }
    own = model.state_dict()
    new = {key for key in own if key.startswith(HEAD)}
    stray = {key for key in weights if not key.startswith(ENCODER)} - left_out
    _refuse(path, "keys that UNITER does not have", stray | (state.keys() - own.keys()))
    _refuse(path, "no weights for", own.keys() - state.keys() - new)
    _refuse(path, "another shape for", {k for k, v in state.items() if v.shape != own[k].shape})
    model.load_state_dict(state, strict=False)
    return Account(tuple(state), tuple(sorted(new)), tuple(sorted(left_out)))


def _refuse(path: Path, what: str, names: set[str]) -> None:
    if names:
        some = ", ".join(sorted(names)[:3])
        raise WeightsError(
            f"{path}: {what} {some} ({len(names)} in all); "
            "give a checkpoint of the original UNITER that fits the model's configuration"
        )
