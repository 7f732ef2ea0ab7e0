"""Structured removal: the smaller model answers as the masked one, and counts what is dead."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lthlib.errors import TicketError
from lthlib.lab.models import VLModel, build, prunable_names
from lthlib.lab.models.attention import fuse_attention
from lthlib.lab.shrink import (
    Site,
    count_dead,
    dead_units,
    shrink,
    sites,
    structured_ticket,
)
from lthlib.lab.tasks import load
from lthlib.lab.tasks.inputs import Inputs
from lthlib.lab.tickets import Ticket, random_mask

every_model = pytest.mark.parametrize("name", ["visualbert", "lxmert", "uniter"])
every_kernel = pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])
SITES = {"visualbert": 8, "lxmert": 14, "uniter": 8}


@pytest.fixture(scope="module")
def inputs() -> Inputs:
    task = load("digits", train_items=32, validation_items=8, test_items=8)
    taken = task.train.inputs.take(slice(0, 32))
    # One item shows no region at all.
    hidden = torch.arange(len(taken)) == 3
    return replace(taken, region_mask=taken.region_mask & ~hidden[:, None])


def make(name: str, inputs: Inputs, fused: bool = False) -> VLModel:
    """A model whose biases are not zero, as trained ones are not."""
    model = build(
        name, size="tiny", vocabulary_size=int(inputs.input_ids.max()) + 1,
        feature_dim=inputs.region_features.shape[-1], outputs=2, seed=0,
    ).eval()  # fmt: skip
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter, value in model.named_parameters():
            value.normal_(0, 0.3 if parameter.endswith("bias") else 0.15, generator=generator)
            if "norm" in parameter.lower() and parameter.endswith("weight"):
                value.add_(1.0)
    if fused:
        fuse_attention(model)
    return model


@torch.no_grad()
def kill(model: VLModel, site: Site, units: list[int], side: str) -> None:
    """Set the weights into units, or out of them, to zero; biases stay."""
    index = [unit * site.width + i for unit in units for i in range(site.width)]
    if side == "into":
        model.get_parameter(f"{site.into}.weight")[index] = 0
    else:
        model.get_parameter(f"{site.out}.weight")[:, index] = 0


@torch.inference_mode()
def both(large: VLModel, small: VLModel, inputs: Inputs) -> tuple[Tensor, Tensor]:
    return large(inputs), small(inputs)


@every_kernel
@every_model
def test_what_is_dead_goes_and_the_answers_stay(name: str, fused: bool, inputs: Inputs) -> None:
    model = make(name, inputs, fused)
    before = model(inputs)
    for place, site in enumerate(sites(model)):
        kill(model, site, [1], "into")
        kill(model, site, [place % 2 * 2, 3], "out")
    large, small = both(model, (found := shrink(model)).model, inputs)
    assert found.removed == {kind: 3 * found.total[kind] // total for kind, total in UNITS.items()}
    assert (large - before).abs().max() > 1e-2, "what went was not nothing"
    torch.testing.assert_close(small, large, rtol=1e-5, atol=1e-5)
    fewer = sum(p.numel() for p in found.model.parameters())
    assert fewer < sum(p.numel() for p in model.parameters())


UNITS = {"head": 4, "neuron": 128}


@every_model
def test_every_layer_is_a_site(name: str, inputs: Inputs) -> None:
    model = make(name, inputs)
    found = sites(model)
    assert len(found) == SITES[name] == len({site.name for site in found})
    assert {site.kind: site.total for site in found} == UNITS
    covered = {f"{path}.weight" for s in found for path in (s.into, s.out, *s.others)}
    assert covered <= {n for n, _ in model.named_parameters()}
    encoder = {n for n, p in model.named_parameters() if "encoder" in n and p.dim() == 2}
    # Beside them an encoder has but the maps that read regions.
    assert {n.split(".")[2] for n in encoder - covered} <= {"visn_fc"}


@every_model
def test_a_site_without_live_units_keeps_one(name: str, inputs: Inputs) -> None:
    model = make(name, inputs)
    for site in sites(model):
        kill(model, site, list(range(site.total)), "into" if site.kind == "head" else "out")
    found = shrink(model)
    large, small = both(model, found.model, inputs)
    torch.testing.assert_close(small, large, rtol=1e-5, atol=1e-5)
    assert {site.total for site in sites(found.model)} == {1}


@every_model
def test_nothing_is_removed_from_a_live_model(name: str, inputs: Inputs) -> None:
    model = make(name, inputs)
    found = shrink(model)
    assert set(found.removed.values()) == {0}
    large, small = both(model, found.model, inputs)
    assert torch.equal(large, small)
    for parameter, value in found.model.named_parameters():
        assert value is not model.get_parameter(parameter)


@every_model
def test_the_model_itself_stays_as_it_is(name: str, inputs: Inputs) -> None:
    model = make(name, inputs).train()
    before = {n: v.clone() for n, v in model.state_dict().items()}
    structured_ticket(model, 0.5)
    shrink(model)
    assert model.training
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())


@every_kernel
@every_model
@pytest.mark.parametrize("share", [0.0, 0.25, 0.75, 0.99])
def test_a_structured_ticket_is_removed_whole(
    name: str, fused: bool, share: float, inputs: Inputs
) -> None:
    model = make(name, inputs, fused)
    ticket = structured_ticket(model, share)
    ticket.apply_(dict(model.named_parameters()))
    found = shrink(model)
    large, small = both(model, found.model, inputs)
    torch.testing.assert_close(small, large, rtol=1e-5, atol=1e-5)
    for kind, total in UNITS.items():
        each = min(round(share * total), total - 1)
        assert found.removed[kind] == each * found.total[kind] // total
    assert shrink(found.model).removed == {"head": 0, "neuron": 0}


def test_units_of_the_lowest_norm_go_first(inputs: Inputs) -> None:
    model = make("uniter", inputs)
    site = next(s for s in sites(model) if s.kind == "head")
    with torch.no_grad():
        for path in (site.into, *site.others):
            model.get_parameter(f"{path}.weight")[16:32] *= 0.01
        model.get_parameter(f"{site.out}.weight")[:, 16:32] *= 0.01
    ticket = structured_ticket(model, 0.25)
    into, out = dead_units(site, ticket.masks)
    assert into.tolist() == out.tolist() == [False, True, False, False]


@pytest.mark.parametrize("share", [-0.1, 1.0, 2.0])
def test_another_share_is_refused(share: float, inputs: Inputs) -> None:
    with pytest.raises(TicketError, match="share of heads and neurons"):
        structured_ticket(make("uniter", inputs), share)


# -- counting -------------------------------------------------------------------------------------
def prunable(model: VLModel, inputs: Inputs) -> dict[str, Tensor]:
    return {n: model.get_parameter(n) for n in prunable_names(model, "encoder", inputs)}


@every_model
def test_a_ticket_and_its_masked_model_have_the_same_dead(name: str, inputs: Inputs) -> None:
    model = make(name, inputs)
    ticket = random_mask(
        dense := Ticket.dense(prunable(model, inputs)),
        torch.Generator().manual_seed(0),
        round(0.97 * dense.prunable),
    )
    ticket.apply_(dict(model.named_parameters()))
    counts, removed = count_dead(model, ticket), shrink(model)
    assert counts["neuron"]["dead"] > 0
    for kind, found in counts.items():
        assert found["dead"] == removed.removed[kind]
        # LXMERT's last visual branch feeds nothing, and no pruning reaches it.
        own = [s for s in sites(model) if s.kind == kind]
        reached = [s for s in own if f"{s.out}.weight" in ticket.masks]
        assert found["total"] == sum(s.total for s in reached)
        assert removed.total[kind] == sum(s.total for s in own)
        assert (len(reached) < len(own)) == (name == "lxmert")


@every_model
@pytest.mark.parametrize("sparsity", [0.95, 0.98])
def test_chance_is_what_random_masks_give(name: str, sparsity: float, inputs: Inputs) -> None:
    model = make(name, inputs)
    dense, draw = Ticket.dense(prunable(model, inputs)), torch.Generator().manual_seed(0)
    found = [
        count_dead(model, random_mask(dense, draw, round(sparsity * dense.prunable)))["neuron"]
        for _ in range(20)
    ]
    mean = sum(each["dead"] for each in found) / len(found)
    assert mean == pytest.approx(found[0]["expected"], rel=0.12)


def test_weights_that_no_mask_covers_are_in_no_denominator(inputs: Inputs) -> None:
    model = make("lxmert", inputs)
    assert count_dead(model, Ticket({})) == {}
