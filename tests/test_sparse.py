"""Pruned models that leave their zeros out: the same answers as dense ones."""

from __future__ import annotations

import sys

import pytest
import torch
from benchmarks.savings import settled_bytes
from torch import Tensor, nn

from lthlib.errors import TicketError
from lthlib.lab.models import VLModel, build, prunable_names
from lthlib.lab.sparse import (
    CsrLinear,
    inputs_as,
    linear_maps,
    to_2_to_4,
    to_csr,
    two_of_four,
)
from lthlib.lab.tasks import load
from lthlib.lab.tasks.inputs import Inputs
from lthlib.lab.tickets import Ticket, random_mask

every_model = pytest.mark.parametrize("name", ["visualbert", "lxmert", "uniter"])
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture(scope="module")
def inputs() -> Inputs:
    task = load("digits", train_items=32, validation_items=8, test_items=8)
    return task.train.inputs.take(slice(0, 32))


def make(name: str, inputs: Inputs) -> VLModel:
    model = build(
        name, size="tiny", vocabulary_size=int(inputs.input_ids.max()) + 1,
        feature_dim=inputs.region_features.shape[-1], outputs=2, seed=0,
    ).eval()  # fmt: skip
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.1 * torch.randn(value.shape, generator=generator))
    return model


def masked(name: str, inputs: Inputs, sparsity: float) -> VLModel:
    model = make(name, inputs)
    weights = {n: model.get_parameter(n) for n in prunable_names(model, "encoder", inputs)}
    dense = Ticket.dense(weights)
    draw = torch.Generator().manual_seed(0)
    random_mask(dense, draw, round(sparsity * dense.prunable)).apply_(weights)
    return model


# -- CSR -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("shape", [(5,), (2, 5), (3, 4, 5)])
def test_a_map_in_compressed_rows_is_the_same_map(shape: tuple[int, ...]) -> None:
    linear = nn.Linear(5, 7)
    with torch.no_grad():
        linear.weight[torch.rand(7, 5, generator=torch.Generator().manual_seed(0)) < 0.7] = 0
        linear.weight[2] = 0
    values = torch.randn(*shape)
    with torch.inference_mode():
        torch.testing.assert_close(CsrLinear(linear)(values), linear(values))
        turned = values.transpose(0, -1).contiguous().transpose(0, -1)  # other strides
        torch.testing.assert_close(CsrLinear(linear)(turned), linear(values))


def test_bytes_are_those_of_values_indices_and_rows() -> None:
    linear = nn.Linear(5, 7)
    with torch.no_grad():
        linear.weight.zero_()[3, 2:4] = 1.0
    assert CsrLinear(linear).nbytes == 2 * 4 + 2 * 4 + 8 * 4 + 7 * 4


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_a_map_in_compressed_rows_holds_no_more_than_it_says() -> None:
    """The way to compressed rows goes through larger indices, which must not stay."""
    linear = nn.Linear(1024, 1024)
    with torch.no_grad():
        linear.weight[torch.rand(1024, 1024) < 0.8] = 0
    CsrLinear(linear)
    before = settled_bytes()
    held = [CsrLinear(linear) for _ in range(16)]
    assert settled_bytes() - before < 1.2 * sum(each.nbytes for each in held)


@every_model
@pytest.mark.parametrize("sparsity", [0.5, 0.9, 0.99])
def test_csr_answers_as_the_masked_model(name: str, sparsity: float, inputs: Inputs) -> None:
    model = masked(name, inputs, sparsity)
    small = to_csr(model)
    with torch.inference_mode():
        torch.testing.assert_close(small(inputs), model(inputs), rtol=1e-4, atol=1e-5)
    turned = [m for m in small.modules() if isinstance(m, CsrLinear)]
    assert len(turned) > 20
    assert not any(isinstance(m, CsrLinear) for m in model.modules())
    assert type(small.head) is nn.Linear


@every_model
def test_maps_without_zeros_stay_dense(name: str, inputs: Inputs) -> None:
    model = make(name, inputs)
    small = to_csr(model)
    assert not any(isinstance(m, CsrLinear) for m in small.modules())
    with torch.inference_mode():
        assert torch.equal(small(inputs), model(inputs))


def test_csr_needs_float32(inputs: Inputs) -> None:
    model = masked("uniter", inputs, 0.5).bfloat16()
    with pytest.raises(TicketError, match=r"bfloat16 on cpu: give a model in float32 on the CPU"):
        to_csr(model)


# -- 2:4 -----------------------------------------------------------------------------------------
@every_model
def test_two_of_four_are_kept_and_they_are_the_largest(name: str, inputs: Inputs) -> None:
    model = make(name, inputs)
    ticket = two_of_four(model)
    maps = linear_maps(model)
    assert {f"{p}.weight" for p, m in maps.items() if m.in_features % 4 == 0} == set(ticket.masks)
    assert ticket.sparsity == 0.5
    for path, mask in ticket.masks.items():
        fours = mask.reshape(-1, 4)
        assert (fours.sum(dim=1) == 2).all()
        size = model.get_parameter(path).detach().abs().reshape(-1, 4)
        least = size.masked_fill(~fours, torch.inf).amin(dim=1)
        most = size.masked_fill(fours, -torch.inf).amax(dim=1)
        assert (least >= most).all()


def test_ties_go_by_position(inputs: Inputs) -> None:
    model = make("uniter", inputs)
    path, linear = next(iter(linear_maps(model).items()))
    with torch.no_grad():
        linear.weight.fill_(1.0)
    mask = two_of_four(model).masks[f"{path}.weight"].reshape(-1, 4)
    assert (mask == torch.tensor([True, True, False, False])).all()


def test_a_cpu_has_no_2_to_4(inputs: Inputs) -> None:
    with pytest.raises(TicketError) as caught:
        to_2_to_4(make("uniter", inputs))
    assert str(caught.value) == "2:4 needs an NVIDIA GPU, and the model is on cpu: use CSR there"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@every_model
def test_models_take_inputs_of_less_precision(
    name: str, dtype: torch.dtype, inputs: Inputs
) -> None:
    """What 2:4 builds on: a whole model in half precision."""
    model = make(name, inputs)
    with torch.inference_mode():
        expected = model(inputs)
        found = model.to(dtype)(inputs_as(inputs, dtype)).float()
    torch.testing.assert_close(found, expected, rtol=0.1, atol=0.1)


@on_gpu
@every_model
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_2_to_4_answers_as_the_masked_model(name: str, dtype: torch.dtype, inputs: Inputs) -> None:
    model = make(name, inputs).cuda()
    small = to_2_to_4(model, dtype)
    two_of_four(model).apply_(dict(model.named_parameters()))
    own = inputs_as(inputs.to("cuda"), dtype)
    with torch.inference_mode():
        torch.testing.assert_close(
            small(own).float(), model.to(dtype)(own).float(), rtol=0.05, atol=0.05
        )
    packed: list[Tensor] = [m.weight for m in linear_maps(small).values()]
    assert sum(type(weight) not in (Tensor, nn.Parameter) for weight in packed) > 10


@on_gpu
def test_2_to_4_needs_half_precision(inputs: Inputs) -> None:
    with pytest.raises(TicketError, match=r"choose torch.float16 or torch.bfloat16"):
        to_2_to_4(make("uniter", inputs).cuda(), torch.float32)


@on_gpu
def test_csr_is_refused_on_a_gpu(inputs: Inputs) -> None:
    with pytest.raises(TicketError, match="on the CPU"):
        to_csr(masked("uniter", inputs, 0.5).cuda())
