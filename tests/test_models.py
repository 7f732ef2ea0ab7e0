"""The three models: one call signature, what they may and may not see, and what may be pruned."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
import torch

from lthlib.errors import StudyError, WeightsError
from lthlib.lab.models import (
    GROUPS,
    VLModel,
    build,
    dead_names,
    group_of,
    load_start,
    prunable_names,
    save_start,
    set_prior,
    start_name,
)
from lthlib.lab.models.starts import WEIGHTS, read_record
from lthlib.lab.tasks.inputs import Inputs
from lthlib.lab.tasks.vocabulary import vocabulary

torch.set_num_threads(1)  # tiny tensors: a second thread costs more than it gives

VARIANTS = [("visualbert", True), ("visualbert", False), ("lxmert", True), ("uniter", True)]
WORDS, REGIONS, FEATURES = 12, 8, 64

every_model = pytest.mark.parametrize(("name", "boxes"), VARIANTS)


def make(name: str, boxes: bool = True, *, seed: int = 0, outputs: int = 2) -> VLModel:
    return build(
        name,
        size="tiny",
        boxes=boxes,
        vocabulary_size=len(vocabulary()),
        feature_dim=FEATURES,
        outputs=outputs,
        seed=seed,
    ).eval()


@pytest.fixture
def inputs() -> Inputs:
    """Six items of 4 to 12 words and 2 to 8 regions, the rest padding."""
    generator = torch.Generator().manual_seed(0)
    words = torch.tensor([4, 12, 7, 9, 5, 10])
    regions = torch.tensor([8, 2, 3, 5, 4, 6])
    text_mask = torch.arange(WORDS) < words[:, None]
    region_mask = torch.arange(REGIONS) < regions[:, None]
    ids = torch.randint(5, len(vocabulary()), (6, WORDS), generator=generator)
    features = torch.rand(6, REGIONS, FEATURES, generator=generator)
    corners = torch.rand(6, REGIONS, 2, generator=generator) / 2
    boxes = torch.cat((corners, corners + 0.25), dim=-1)
    return Inputs(
        input_ids=ids * text_mask,
        text_mask=text_mask,
        region_features=features * region_mask[..., None],
        boxes=boxes * region_mask[..., None],
        region_mask=region_mask,
    )


@every_model
def test_one_call_gives_one_row_of_logits_per_item(name: str, boxes: bool, inputs: Inputs) -> None:
    model = make(name, boxes, outputs=5)
    logits = model(inputs)
    assert logits.shape == (6, 5)
    assert logits.isfinite().all()
    states = model.encode(inputs)
    assert states.pooled.shape == (6, model.hidden)
    assert states.text.shape == (6, WORDS, model.hidden)
    assert states.regions.shape == (6, REGIONS, model.hidden)


@every_model
def test_items_of_a_batch_do_not_see_each_other(name: str, boxes: bool, inputs: Inputs) -> None:
    model = make(name, boxes)
    alone = torch.cat([model(inputs.take(slice(i, i + 1))) for i in range(6)])
    torch.testing.assert_close(model(inputs), alone, rtol=1e-5, atol=1e-6)


@every_model
def test_what_lies_in_the_padding_changes_no_logit(name: str, boxes: bool, inputs: Inputs) -> None:
    model = make(name, boxes)
    words, regions = ~inputs.text_mask, ~inputs.region_mask
    other = replace(
        inputs,
        input_ids=inputs.input_ids.masked_fill(words, 17),
        region_features=inputs.region_features.masked_fill(regions[..., None], 0.7),
        boxes=inputs.boxes.masked_fill(regions[..., None], 0.3),
    )
    assert torch.equal(model(inputs), model(other))


@every_model
def test_padding_changes_no_logit_where_no_region_is_shown(
    name: str, boxes: bool, inputs: Inputs
) -> None:
    model = make(name, boxes)
    blind = replace(inputs, region_mask=torch.zeros_like(inputs.region_mask))
    other = replace(blind, region_features=blind.region_features + 1, boxes=blind.boxes / 2)
    assert model(blind).isfinite().all()
    assert torch.equal(model(blind), model(other))


@every_model
def test_order_of_regions_does_not_matter_and_order_of_words_does(
    name: str, boxes: bool, inputs: Inputs
) -> None:
    model = make(name, boxes)
    order = torch.arange(REGIONS - 1, -1, -1)
    turned = replace(
        inputs,
        region_features=inputs.region_features[:, order],
        boxes=inputs.boxes[:, order],
        region_mask=inputs.region_mask[:, order],
    )
    torch.testing.assert_close(model(inputs), model(turned), rtol=1e-5, atol=1e-6)
    swapped = inputs.input_ids.clone()
    swapped[:, 1:3] = swapped[:, [2, 1]]
    assert not torch.allclose(model(inputs), model(replace(inputs, input_ids=swapped)), atol=1e-5)


@every_model
def test_features_always_reach_the_answer_and_boxes_only_with_boxes(
    name: str, boxes: bool, inputs: Inputs
) -> None:
    model = make(name, boxes)
    features = replace(inputs, region_features=inputs.region_features.flip(-1))
    assert not torch.allclose(model(inputs), model(features), atol=1e-5)
    moved = replace(inputs, boxes=1 - inputs.boxes.flip(-1))
    if boxes:
        assert not torch.allclose(model(inputs), model(moved), atol=1e-5)
    else:
        assert torch.equal(model(inputs), model(moved))


@every_model
def test_a_build_depends_on_its_seed_alone(name: str, boxes: bool) -> None:
    torch.manual_seed(1)
    first = make(name, boxes, seed=5).state_dict()
    torch.manual_seed(2)
    torch.rand(7)
    state = torch.get_rng_state()
    second = make(name, boxes, seed=5).state_dict()
    assert torch.equal(torch.get_rng_state(), state), "a build must not draw from the global stream"
    assert all(torch.equal(first[key], second[key]) for key in first)
    third = make(name, boxes, seed=6).state_dict()
    for part in ("backbone", "head.weight"):
        assert any(not torch.equal(first[k], third[k]) for k in first if k.startswith(part))


@every_model
def test_every_parameter_belongs_to_exactly_one_group(name: str, boxes: bool) -> None:
    model = make(name, boxes)
    groups = {parameter: group_of(model, parameter) for parameter, _ in model.named_parameters()}
    assert set(groups.values()) <= set(GROUPS)
    streams = {"language", "vision", "fusion"} if name == "lxmert" else {"vision", "fusion"}
    assert set(groups.values()) == streams | {"embeddings", "head"}
    assert {n for n, g in groups.items() if g == "head"} == {"head.weight", "head.bias"}
    for module_name, module in model.named_modules():
        if isinstance(module, torch.nn.Embedding):
            assert groups[f"{module_name}.weight"] == "embeddings"
    with pytest.raises(KeyError, match="nonsense"):
        group_of(model, "nonsense.weight")


@pytest.mark.parametrize(
    ("name", "parameter", "group"),
    [
        ("visualbert", "backbone.embeddings.visual_projection.position.weight", "vision"),
        ("visualbert", "backbone.embeddings.LayerNorm.weight", "embeddings"),
        ("uniter", "backbone.img_embeddings.pos_linear.weight", "vision"),
        ("uniter", "backbone.encoder.layer.0.attention.self.query.weight", "fusion"),
        ("uniter", "backbone.pooler.dense.weight", "fusion"),
        ("lxmert", "backbone.encoder.layer.0.intermediate.dense.weight", "language"),
        ("lxmert", "backbone.encoder.r_layers.0.intermediate.dense.weight", "vision"),
        ("lxmert", "backbone.encoder.visn_fc.box_fc.weight", "vision"),
        ("lxmert", "backbone.encoder.x_layers.1.lang_inter.dense.weight", "fusion"),
    ],
)
def test_groups_by_name(name: str, parameter: str, group: str) -> None:
    model = make(name)
    assert parameter in dict(model.named_parameters())
    assert group_of(model, parameter) == group


@every_model
def test_dead_parameters_are_those_that_training_cannot_move(
    name: str, boxes: bool, inputs: Inputs
) -> None:
    model = make(name, boxes)
    dead = dead_names(model, inputs)
    if name == "lxmert":
        assert len(dead) == 16
        assert all(".x_layers.1.visn_" in parameter for parameter in dead)
    else:
        assert dead == ()
    assert all(parameter.grad is None for parameter in model.parameters())
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    torch.nn.functional.cross_entropy(model(inputs), torch.tensor([0, 1, 0, 1, 1, 0])).backward()
    optimizer.step()
    after = model.state_dict()
    still = {k for k in dead if torch.equal(before[k], after[k])}
    assert still == set(dead)
    weights = prunable_names(model, "encoder", inputs)
    assert not [k for k in weights if torch.equal(before[k], after[k])]


@every_model
def test_prunable_sets_grow_and_leave_out_what_they_should(
    name: str, boxes: bool, inputs: Inputs
) -> None:
    model = make(name, boxes)
    parameters = dict(model.named_parameters())
    dead = set(dead_names(model, inputs))
    encoder = prunable_names(model, "encoder", inputs)
    with_embeddings = prunable_names(model, "encoder+embeddings", inputs)
    everything = prunable_names(model, "everything", inputs)
    assert set(encoder) < set(with_embeddings) < set(everything)
    assert set(everything) == set(parameters) - dead
    assert list(everything) == [n for n in parameters if n not in dead], "the model's own order"
    assert {group_of(model, n) for n in encoder} <= {"language", "vision", "fusion"}
    assert {group_of(model, n) for n in set(with_embeddings) - set(encoder)} == {"embeddings"}
    assert all(parameters[n].ndim == 2 for n in with_embeddings)
    # Every matrix is accounted for: in the encoder, an embedding table, the head, or dead.
    matrices = {n for n, p in parameters.items() if p.ndim == 2}
    assert matrices == set(with_embeddings) | {"head.weight"} | {n for n in dead if n in matrices}
    with pytest.raises(StudyError, match="encoder"):
        prunable_names(model, "encoders", inputs)


@every_model
def test_tiny_is_tiny(name: str, boxes: bool) -> None:
    count = sum(parameter.numel() for parameter in make(name, boxes).parameters())
    assert 150_000 <= count <= 300_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "millions"), [("visualbert", 112), ("lxmert", 209), ("uniter", 111)]
)
def test_base_has_the_size_of_the_paper(name: str, millions: float) -> None:
    with torch.device("meta"):
        # On the meta device no weight is made, so that this costs no memory.
        model = build(
            name,
            size="base",
            vocabulary_size=30522,
            feature_dim=2048,
            outputs=2,
            seed=0,
        )
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count == pytest.approx(millions * 1e6, rel=0.01)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "uniterr"}, "did you mean 'uniter'"),
        ({"size": "small"}, "tiny, base"),
        ({"name": "lxmert", "boxes": False}, "always sees boxes"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(change: dict[str, object], said: str) -> None:
    choice = {"name": "uniter", "size": "tiny", "boxes": True} | change
    with pytest.raises(StudyError, match=said) as refusal:
        build(**choice, vocabulary_size=9, feature_dim=4, outputs=2, seed=0)  # type: ignore[arg-type]
    assert "\n" not in str(refusal.value)


def test_a_prior_makes_an_untaught_head_expect_what_the_labels_hold(inputs: Inputs) -> None:
    model = make("uniter", outputs=3)
    labels = torch.tensor([[1, 0, 0]] * 3 + [[0, 0, 1]] * 96)
    set_prior(model, labels)
    expected = torch.tensor([3.5 / 100, 0.5 / 100, 96.5 / 100])
    torch.testing.assert_close(model.head.bias.detach().sigmoid(), expected)
    model.head.weight.data.zero_()
    torch.testing.assert_close(model(inputs).detach().sigmoid(), expected.expand(6, 3))


# -- starts -------------------------------------------------------------------------------------
@every_model
def test_a_start_fills_all_but_the_head(name: str, boxes: bool) -> None:
    fresh, one, two = (
        make(name, boxes, seed=1),
        make(name, boxes, seed=1),
        make(name, boxes, seed=2),
    )
    record = load_start(one)
    load_start(two)
    for key, value in one.state_dict().items():
        if key.startswith("head."):
            assert torch.equal(value, fresh.state_dict()[key])
        else:
            assert torch.equal(value, two.state_dict()[key])
    assert not torch.equal(one.head.weight, two.head.weight), "a fresh head per seed"
    assert record["model"] == name


@every_model
def test_shipped_starts_fit_the_vocabulary_and_the_size_limit(name: str, boxes: bool) -> None:
    stem = start_name(make(name, boxes))
    record = read_record(stem)
    words = files("lthlib.lab.tasks").joinpath("vocabulary.txt").read_bytes()
    assert record["vocabulary_sha256"] == hashlib.sha256(words).hexdigest(), "pre-train again"
    content = (WEIGHTS / f"{stem}.safetensors").read_bytes()
    assert len(content) <= 1_200_000
    assert record["sha256"] == hashlib.sha256(content).hexdigest()


@every_model
def test_a_saved_start_comes_back_bit_for_bit(
    name: str, boxes: bool, inputs: Inputs, tmp_path: Path
) -> None:
    saved, other = make(name, boxes, seed=1), make(name, boxes, seed=2)
    save_start(saved, {"model": name}, tmp_path)
    load_start(other, tmp_path)
    other.head.load_state_dict(saved.head.state_dict())
    assert torch.equal(saved(inputs), other(inputs))
    again = (tmp_path / f"{start_name(saved)}.safetensors").read_bytes()
    save_start(saved, {"model": name}, tmp_path)
    assert (tmp_path / f"{start_name(saved)}.safetensors").read_bytes() == again


def _remove(path: Path) -> None:
    path.unlink()


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [_remove, _truncate, _flip])
@pytest.mark.parametrize("suffix", ["safetensors", "json"])
def test_a_damaged_start_is_named_and_changes_nothing(
    damage: Callable[[Path], None], suffix: str, tmp_path: Path
) -> None:
    model = make("uniter", seed=1)
    save_start(make("uniter", seed=2), {"model": "uniter", "pad": "x" * 400}, tmp_path)
    path = tmp_path / f"uniter-tiny.{suffix}"
    if suffix == "json" and damage is _flip:
        path.write_text(path.read_text().replace('"sha256": "', '"sha256": "0', 1))
    else:
        damage(path)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(WeightsError) as refusal:
        load_start(model, tmp_path)
    said = str(refusal.value)
    assert "uniter-tiny" in said
    assert "papermill notebooks/pretrain.ipynb" in said
    assert "\n" not in said
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_a_start_for_another_model_is_refused(tmp_path: Path) -> None:
    build_small = build(
        "uniter", size="tiny", vocabulary_size=7, feature_dim=FEATURES, outputs=2, seed=0
    )
    save_start(build_small, {"model": "uniter"}, tmp_path)
    with pytest.raises(WeightsError, match="made for another model"):
        load_start(make("uniter"), tmp_path)


def test_there_is_no_start_of_base_size(tmp_path: Path) -> None:
    model = make("uniter")
    model.size = "base"
    with pytest.raises(WeightsError, match="start=random or size=tiny"):
        load_start(model, tmp_path)
