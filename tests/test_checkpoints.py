"""Original UNITER checkpoints: every key accounted for, and the original code's outputs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from lthlib.errors import WeightsError
from lthlib.lab.models.checkpoints import (
    load_original_uniter,
    original_uniter_config,
    read_weights,
)
from lthlib.lab.models.uniter import Uniter, UniterConfig
from lthlib.lab.tasks.inputs import Inputs

torch.set_num_threads(1)  # tiny tensors: a second thread costs more than it gives


def small() -> Uniter:
    config = UniterConfig(
        vocab_size=30,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=12,
        img_dim=8,
        attn_implementation="eager",
    )
    torch.manual_seed(0)
    return Uniter(config, size="tiny", outputs=2)


def original(model: Uniter) -> dict[str, Tensor]:
    """The model's weights as the original would have named them, with its pre-training heads."""
    weights = {
        name.replace("backbone.", "uniter.", 1): torch.randn(tensor.shape)
        for name, tensor in model.state_dict().items()
        if name.startswith("backbone.")
    }
    extra = (
        "uniter.img_embeddings.mask_embedding.weight",
        "cls.predictions.bias",
        "itm_output.weight",
        "feat_regress.bias",
        "region_classifier.net.0.weight",
    )
    return weights | {name: torch.zeros(2) for name in extra}


def test_original_code_and_ours_agree() -> None:
    """Pooled vector and last states, to 1e-5, on tensors that the original code computed."""
    shared = os.environ.get("LTHLIB_SHARED")
    if not shared:
        pytest.skip("LTHLIB_SHARED is not set")
    folder = Path(shared) / "golden"
    model = Uniter(original_uniter_config(folder / "uniter.config.json"), size="tiny", outputs=3)
    account = load_original_uniter(model.eval(), folder / "uniter.checkpoint.safetensors")
    golden = read_weights(folder / "uniter.expected.safetensors")
    text, regions = golden["text_mask"].bool(), golden["region_mask"].bool()
    got = model.encode(
        Inputs(golden["input_ids"], text, golden["region_features"], golden["boxes"], regions)
    )
    for ours, theirs in (
        (got.pooled, golden["pooled"]),
        (got.text * text[..., None], golden["text_states"]),
        (got.regions * regions[..., None], golden["region_states"]),
    ):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    stored = read_weights(folder / "uniter.checkpoint.safetensors")
    assert len(account.loaded) + len(account.left_out) == len(stored)
    assert "uniter.img_embeddings.mask_embedding.weight" in account.left_out


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_every_key_is_loaded_new_or_left_out(suffix: str, tmp_path: Path) -> None:
    model = small()
    weights, path = original(model), tmp_path / f"uniter.{suffix}"
    if suffix == "pt":
        torch.save(weights, path)
    else:
        safetensors.torch.save_file(weights, path)
    head = model.head.weight.detach().clone()
    account = load_original_uniter(model, path)
    state = model.state_dict()
    assert set(account.loaded) | set(account.new) == set(state)
    assert account.new == ("head.bias", "head.weight")
    assert torch.equal(model.head.weight, head)
    assert len(account.left_out) == 5
    for name in account.loaded:
        assert torch.equal(state[name], weights[name.replace("backbone.", "uniter.", 1)])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"uniter.pooler.dense.weight": None}, "no weights for backbone.pooler.dense.weight"),
        ({"uniter.pooler.dense.weight": torch.zeros(3, 3)}, "another shape for"),
        ({"uniter.extra.weight": torch.zeros(3)}, "does not have backbone.extra.weight"),
        ({"bert.extra.weight": torch.zeros(3)}, "does not have bert.extra.weight"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_whole(
    change: dict[str, Tensor | None], said: str, tmp_path: Path
) -> None:
    model = small()
    changed = {k: v for k, v in (original(model) | change).items() if v is not None}
    path = tmp_path / "uniter.safetensors"
    safetensors.torch.save_file(changed, path)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(WeightsError, match=said) as refusal:
        load_original_uniter(model, path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


class _Code:
    """Stands for an object whose unpickling would run code."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.system, ("exit 3",))


@pytest.mark.parametrize("kind", ["missing", "truncated", "not a checkpoint", "code", "a tensor"])
@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_an_unreadable_checkpoint_is_named(kind: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"uniter.{suffix}"
    if kind == "truncated":
        if suffix == "pt":
            torch.save(original(small()), path)
        else:
            safetensors.torch.save_file(original(small()), path)
        path.write_bytes(path.read_bytes()[:500])
    elif kind == "not a checkpoint":
        path.write_text("hello")
    elif kind == "code":
        torch.save({"a": _Code()}, path)
    elif kind == "a tensor":
        torch.save(torch.zeros(3), path)
    with pytest.raises(WeightsError) as refusal:
        read_weights(path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)
