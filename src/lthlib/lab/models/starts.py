"""The pre-trained starts that ship with the library: weights, and a record of how they were made.

A start is two files: `<name>.safetensors` holds every parameter but the task head's, under the
names of `VLModel`; `<name>.json` holds the record (seeds, steps, versions, loss curves) and the
SHA-256 of the first.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from lthlib.errors import WeightsError
from lthlib.lab.models.model import VLModel
from lthlib.records import write_atomically

WEIGHTS = Path(__file__).parent / "weights"
HEAD = "head."


def start_name(model: VLModel) -> str:
    """Name of the start that fits a model, such as `uniter-tiny` or `visualbert-no-boxes-tiny`."""
    boxes = "" if model.boxes else "-no-boxes"
    return f"{model.name}{boxes}-{model.size}"


def load_start(model: VLModel, folder: Path = WEIGHTS) -> dict[str, Any]:
    """Put the pre-trained weights into everything but the task head; returns their record.

    Raises WeightsError, and leaves the model as it was, when a file is missing or damaged or was
    made for another model.
    """
    name = start_name(model)
    record = read_record(name, folder)
    path = folder / f"{name}.safetensors"
    content = _read(path, name)
    digest = hashlib.sha256(content).hexdigest()
    if digest != record.get("sha256"):
        raise WeightsError(
            f"{path}: damaged weights, SHA-256 {digest[:12]}... where {name}.json says "
            f"{str(record.get('sha256'))[:12]}...; {_remedy(name)}"
        )
    try:
        weights = safetensors.torch.load(content)
    except SafetensorError as error:
        raise WeightsError(f"{path}: not a safetensors file ({error}); {_remedy(name)}") from None
    own = body(model)
    ours, theirs = _shapes(own), _shapes(weights)
    if ours != theirs:
        odd = min(n for n in ours.keys() | theirs.keys() if ours.get(n) != theirs.get(n))
        raise WeightsError(
            f"{path}: made for another model: {odd} is {theirs.get(odd, 'absent')} in the file and "
            f"{ours.get(odd, 'absent')} in the model; {_remedy(name)}"
        )
    model.load_state_dict(weights, strict=False)
    return record


def read_record(name: str, folder: Path = WEIGHTS) -> dict[str, Any]:
    """The record of a start; raises WeightsError when it is missing or cannot be read."""
    path = folder / f"{name}.json"
    try:
        record: dict[str, Any] = json.loads(_read(path, name))
    except ValueError as error:
        raise WeightsError(f"{path}: not a JSON record ({error}); {_remedy(name)}") from None
    return record


def save_start(model: VLModel, record: Mapping[str, Any], folder: Path = WEIGHTS) -> Path:
    """Write a start and its record; returns the path of the weights.

    The weights come first and the record, which names their digest, last: a crash between the two
    leaves a pair that `load_start` refuses.
    """
    name = start_name(model)
    tensors = {k: v.detach().cpu().contiguous() for k, v in body(model).items()}
    content = safetensors.torch.save(tensors, metadata={"record": f"{name}.json"})
    full = {
        "weights": f"{name}.safetensors",
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "parameters": sum(tensor.numel() for tensor in tensors.values()),
        **record,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.safetensors"
    write_atomically(path, content)
    write_atomically(folder / f"{name}.json", (json.dumps(full, indent=1) + "\n").encode())
    return path


def body(model: VLModel) -> dict[str, Tensor]:
    """State of everything but the task head, by name (aliases of the live weights)."""
    return {k: v for k, v in model.state_dict().items() if not k.startswith(HEAD)}


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in tensors.items()}


def _read(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror or error}; {_remedy(name)}") from None


def _remedy(name: str) -> str:
    model, *rest = name.split("-")
    if rest[-1] != "tiny":
        return "no start of this size is shipped: set start=random or size=tiny"
    boxes = " -p boxes False" if "no" in rest else ""
    return (
        "restore it from the repository, or make it again: "
        f"papermill notebooks/pretrain.ipynb runs/pretrain-{model}.ipynb -p model {model}{boxes}"
    )
