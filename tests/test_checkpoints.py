"""Published checkpoints: every key accounted for, and the original code's outputs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from lthlib.errors import WeightsError
from lthlib.lab.models import VLModel, build
from lthlib.lab.models.checkpoints import (
    load_checkpoint,
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
    account = load_checkpoint(model.eval(), folder / "uniter.checkpoint.safetensors")
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
    account = load_checkpoint(model, path)
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
        load_checkpoint(model, path)
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


# -- the three architectures ----------------------------------------------------------------------
def built(name: str, *, boxes: bool = True, feature_dim: int = 8) -> VLModel:
    dims = {"vocabulary_size": 30, "feature_dim": feature_dim, "outputs": 2}
    return build(name, size="tiny", boxes=boxes, seed=3, **dims)


def visualbert_th(name: str) -> str:
    """As the authors of VisualBERT named it."""
    for ours, theirs in {
        "visual_token_type_embeddings": "token_type_embeddings_visual",
        "visual_position_embeddings": "position_embeddings_visual",
        "visual_projection": "projection",
    }.items():
        name = name.replace(ours, theirs)
    return f"bert.bert.{name}"


def with_old_norms(name: str) -> str:
    head, _, last = name.rpartition(".")
    norm = head.rpartition(".")[2].lower().endswith("norm")
    return f"{head}.{ {'weight': 'gamma', 'bias': 'beta'}[last] }" if norm else name


LAYOUTS: dict[str, tuple[str, Callable[[str], str], tuple[str, ...]]] = {
    "VisualBERT, the hub": ("visualbert", "visual_bert.{}".format, ("cls.predictions.bias",)),
    "VisualBERT, native": ("visualbert", visualbert_th, ("bert.cls.predictions.bias",)),
    "VisualBERT, fine-tuned": ("visualbert", visualbert_th, ("bert.classifier.weight",)),
    "LXMERT, native": (
        "lxmert",
        "module.bert.{}".format,
        (
            *("module.cls.predictions.bias", "module.obj_predict_head.decoder_dict.obj.bias"),
            "module.answer_head.logit_fc.3.weight",
        ),
    ),
    "LXMERT, the hub": ("lxmert", "bert.{}".format, ("answer_head.logit_fc.3.bias",)),
    "LXMERT, fine-tuned": ("lxmert", "lxmert.{}".format, ("answer_head.logit_fc.0.weight",)),
    "UNITER, native": ("uniter", "uniter.{}".format, ("itm_output.weight",)),
    "UNITER, on several GPUs": ("uniter", "module.uniter.{}".format, ("module.vqa_output.0.bias",)),
    "UNITER, compiled": ("uniter", "_orig_mod.uniter.{}".format, ("_orig_mod.cls.x",)),
    "UNITER, both": ("uniter", "_orig_mod.module.uniter.{}".format, ("_orig_mod.module.cls.x",)),
    "UNITER, the other way": ("uniter", "module._orig_mod.uniter.{}".format, ()),
    "UNITER, a mirror on the hub": (
        "uniter",
        "{}".format,
        ("img_embeddings.mask_embedding.weight", "embeddings.position_ids"),
    ),
    "LXMERT, the encoder alone": ("lxmert", "{}".format, ()),
    "VisualBERT, the encoder alone": ("visualbert", "{}".format, ("embeddings.position_ids",)),
    "UNITER, old norms": (
        "uniter",
        lambda name: f"uniter.{with_old_norms(name)}",
        ("cls.predictions.bias", "uniter.embeddings.position_ids"),
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_native_layouts_round_trip(layout: str, tmp_path: Path) -> None:
    name, theirs, extra = LAYOUTS[layout]
    source, target = (
        built(name, boxes=name != "visualbert"),
        built(name, boxes=name != "visualbert"),
    )
    expected = {k: torch.randn(v.shape) for k, v in source.state_dict().items() if "head." not in k}
    file = {theirs(k.removeprefix("backbone.")): v for k, v in expected.items()}
    path = tmp_path / "weights.pth"
    torch.save(file | {key: torch.zeros(2) for key in extra}, path)
    account = load_checkpoint(target, path)
    state = target.state_dict()
    assert all(torch.equal(state[k], v) for k, v in expected.items())
    assert set(account.loaded) == set(expected)
    assert account.new == ("head.bias", "head.weight")
    assert set(account.left_out) == set(extra)


def test_visualbert_with_boxes_keeps_its_own_position_embedding(tmp_path: Path) -> None:
    model, plain = built("visualbert"), built("visualbert", boxes=False)
    path = tmp_path / "weights.th"
    file = {visualbert_th(k.removeprefix("backbone.")): v for k, v in plain.state_dict().items()}
    torch.save({k: v for k, v in file.items() if "head." not in k}, path)
    account = load_checkpoint(model, path)
    assert all(
        name.startswith(("head.", "backbone.embeddings.visual_projection.position"))
        for name in account.new
    )
    assert len(account.new) == 2 + 4


@pytest.mark.parametrize(("name", "other"), [("uniter", "lxmert"), ("lxmert", "visualbert")])
def test_a_checkpoint_of_another_architecture_is_refused(
    name: str, other: str, tmp_path: Path
) -> None:
    layouts = {"uniter": "UNITER, native", "lxmert": "LXMERT, native"}
    layouts["visualbert"] = "VisualBERT, native"
    theirs = LAYOUTS[layouts[other]][1]
    state = built(other, boxes=other != "visualbert").state_dict()
    path = tmp_path / "weights.pth"
    file = {theirs(k.removeprefix("backbone.")): v for k, v in state.items() if "head." not in k}
    torch.save(file, path)
    with pytest.raises(WeightsError, match=f"{name} does not have .* give a checkpoint of {name}"):
        load_checkpoint(built(name), path)


def test_another_feature_dimension_is_said_in_numbers(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    state = built("uniter", feature_dim=16).state_dict()
    file = {
        f"uniter.{k.removeprefix('backbone.')}": v for k, v in state.items() if "head." not in k
    }
    torch.save(file, path)
    with pytest.raises(
        WeightsError, match=r"img_linear.weight \(\[64, 16\] in the file, \[64, 8\]"
    ):
        load_checkpoint(built("uniter"), path)


def test_the_same_weights_under_two_names_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({f"{w}uniter.pooler.dense.bias": torch.zeros(64) for w in ("", "module.")}, path)
    with pytest.raises(WeightsError, match="the same weights twice"):
        load_checkpoint(built("uniter"), path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    weights, model = original(small()), small()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    weights["uniter.pooler.dense.bias"][3] = value
    torch.save(weights, tmp_path / "weights.pt")
    with pytest.raises(WeightsError, match=r"backbone.pooler.dense.bias holds what is no number"):
        load_checkpoint(model, tmp_path / "weights.pt")
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_what_is_no_checkpoint_is_said_and_no_unsafe_way_is_offered(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    for content, said in (
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:a\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html></html>", "a web page"),
    ):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=said) as caught:
            read_weights(path)
        assert "weights_only" not in str(caught.value)
    torch.save(small(), path)  # a whole model: code would have to run
    with pytest.raises(WeightsError, match="it holds more than tensors") as caught:
        read_weights(path)
    assert "weights_only" not in str(caught.value)


def test_a_checkpoint_with_masks_beside_its_weights_is_told_to_fold_them(tmp_path: Path) -> None:
    pruned = {}
    for name, value in original(small()).items():
        if name.endswith(".weight") and value.dim() == 2 and "layer." in name:
            pruned |= {f"{name}_orig": value, f"{name}_mask": (value > 0).float()}
        else:
            pruned[name] = value
    torch.save(pruned, tmp_path / "pruned.pt")
    with pytest.raises(WeightsError, match=r"torch\.nn\.utils\.prune\.remove\(module, name\)"):
        load_checkpoint(small(), tmp_path / "pruned.pt")
