"""Tickets: exact to one weight, nested, bit for bit through a file, and loud when damaged."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

from lthlib.errors import LthError, StudyError, TicketError
from lthlib.lab import selection, tickets
from lthlib.lab.tickets import (
    SCOPES,
    Ticket,
    collapsed,
    keep_largest,
    merge_tickets,
    prune,
    random_mask,
    share_out,
    shuffled_mask,
)

SHA = "ab" * 32
REPEATABLE = settings(derandomize=True, deadline=None)
GROUPS = {f"w{i}": group for i, group in enumerate(["language", "vision", "language", "fusion"])}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# -- strategies ---------------------------------------------------------------------------------
SHAPES = st.lists(st.lists(st.integers(0, 5), max_size=3).map(tuple), min_size=1, max_size=4)


@st.composite
def scored(draw: st.DrawFn) -> dict[str, Tensor]:
    """One to four tensors of scores, scalars and empty ones among them, most of them tied."""
    shapes = draw(SHAPES)
    grain = draw(st.sampled_from([1, 3, 1000]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    dtype = draw(st.sampled_from([torch.float32, torch.float64, torch.bfloat16]))
    return {
        f"w{i}": torch.tensor(rng.integers(-grain, grain + 1, shape) / grain, dtype=dtype)
        for i, shape in enumerate(shapes)
    }


@st.composite
def masked(draw: st.DrawFn, scores: dict[str, Tensor]) -> Ticket:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kept = draw(st.sampled_from([0.0, 0.3, 0.9, 1.0]))
    return Ticket({n: torch.tensor(rng.random(s.shape) < kept) for n, s in scores.items()})


def flat(tensors: dict[str, Tensor]) -> np.ndarray:
    return torch.cat([t.reshape(-1).double() for t in tensors.values()]).numpy()


def by_full_sort(ticket: Ticket, scores: dict[str, Tensor], zeros: int) -> np.ndarray:
    """Another implementation: sort everything, stably, and drop from the front."""
    kept = flat(dict(ticket.masks)).astype(bool)
    order = np.argsort(np.where(kept, flat(scores), -np.inf), kind="stable")
    order = np.concatenate([order[~kept[order]], order[kept[order]]])
    kept[order[:zeros]] = False
    return kept


# -- the mask itself ----------------------------------------------------------------------------
@pytest.mark.parametrize("mask", [torch.ones(2), torch.ones(2, dtype=torch.uint8), [True, False]])
def test_only_boolean_masks(mask: object) -> None:
    with pytest.raises(TicketError, match=r"^mask of w: .* where torch\.bool belongs"):
        Ticket({"w": mask})  # type: ignore[dict-item]


def test_a_ticket_is_frozen_and_keeps_no_hold_of_what_made_it() -> None:
    masks = {"w": torch.ones(2, dtype=torch.bool)}
    ticket = Ticket(masks)
    masks["v"] = masks["w"]
    assert list(ticket.masks) == ["w"]
    with pytest.raises(TypeError):
        ticket.masks["v"] = masks["w"]  # type: ignore[index]
    with pytest.raises(AttributeError):
        ticket.masks = masks  # type: ignore[misc]


def test_counts_by_hand() -> None:
    masks = {
        "w0": torch.tensor([[True, False], [False, False]]),
        "w1": torch.tensor([True, True]),
        "w2": torch.tensor(False),
        "w3": torch.ones(0, dtype=torch.bool),
    }
    ticket = Ticket(masks)
    assert (ticket.zeros, ticket.prunable, ticket.sparsity) == (4, 7, 4 / 7)
    assert ticket.density() == pytest.approx(3 / 7)
    assert ticket.density(["w0", "w2"]) == pytest.approx(1 / 5)
    assert ticket.counts_by_group({**GROUPS, "bias": "head"}) == {
        "language": (4, 5), "vision": (0, 2), "fusion": (0, 0),
    }  # fmt: skip
    assert Ticket({}).sparsity == 0.0
    with pytest.raises(TicketError, match="no mask of 'w9'"):
        ticket.density(["w9"])
    with pytest.raises(TicketError, match="no group is given for 'w0'"):
        ticket.counts_by_group({})


# -- applying -----------------------------------------------------------------------------------
@REPEATABLE
@given(st.data())
def test_apply_leaves_survivors_bitwise_and_the_rest_plus_zero(data: st.DataObject) -> None:
    scores = data.draw(scored())
    ticket = data.draw(masked(scores))
    strange = [-1.5, -0.0, math.inf, -math.inf, math.nan, 1e-45, 3.0]
    parameters = {
        n: nn.Parameter(torch.tensor(strange).repeat(s.numel())[: s.numel()].reshape(s.shape))
        for n, s in scores.items()
    }
    before = {n: p.detach().clone().view(torch.int32) for n, p in parameters.items()}
    ticket.apply_({**parameters, "bias": torch.ones(1)})
    for name, mask in ticket.masks.items():
        after = parameters[name].detach().view(torch.int32)
        assert torch.equal(after[mask], before[name][mask])
        assert not after[~mask].any(), "the bits of +0.0 are all zero"


def test_apply_refuses_before_it_changes_anything() -> None:
    ticket = Ticket({"a": torch.tensor([False]), "b": torch.tensor([False, True])})
    parameters = {"a": torch.ones(1), "b": torch.ones(1, 2)}
    with pytest.raises(TicketError, match=r"'b' has shape \[1, 2\], and its mask \[2\]"):
        ticket.apply_(parameters)
    with pytest.raises(TicketError, match="parameters: 'b' is missing"):
        ticket.apply_({"a": parameters["a"]})
    assert parameters["a"].item() == 1.0


# -- pruning ------------------------------------------------------------------------------------
@settings(REPEATABLE, max_examples=200)
@given(st.data())
def test_global_pruning_is_a_full_stable_sort(data: st.DataObject) -> None:
    scores = data.draw(scored())
    ticket = data.draw(masked(scores))
    zeros = data.draw(st.integers(ticket.zeros, ticket.prunable))
    pruned = prune(ticket, scores, zeros, "global", {})
    assert np.array_equal(flat(dict(pruned.masks)), by_full_sort(ticket, scores, zeros))


@settings(REPEATABLE, max_examples=200)
@given(st.data(), st.sampled_from(SCOPES))
def test_every_scope_is_exact_and_nested(data: st.DataObject, scope: str) -> None:
    scores = data.draw(scored())
    ticket = data.draw(masked(scores))
    zeros = data.draw(st.integers(ticket.zeros, ticket.prunable))
    pruned = prune(ticket, scores, zeros, scope, GROUPS)
    assert pruned.zeros == zeros
    assert pruned.is_within(ticket)
    assert list(pruned.masks) == list(ticket.masks)
    assert pruned.shapes == ticket.shapes


@REPEATABLE
@given(st.data(), st.sampled_from(SCOPES))
def test_a_ladder_shrinks_level_by_level(data: st.DataObject, scope: str) -> None:
    scores = data.draw(scored())
    ticket = Ticket.dense(scores)
    for zeros in sorted(data.draw(st.lists(st.integers(0, ticket.prunable), max_size=4))):
        smaller = prune(ticket, scores, zeros, scope, GROUPS)
        assert smaller.is_within(ticket)
        assert smaller.zeros == zeros
        ticket = smaller


@REPEATABLE
@given(st.data())
def test_layers_and_modalities_are_equally_sparse(data: st.DataObject) -> None:
    scores = data.draw(scored())
    dense = Ticket.dense(scores)
    zeros = data.draw(st.integers(0, dense.prunable))
    share = zeros / max(dense.prunable, 1)
    layers = prune(dense, scores, zeros, "layer", {})
    for mask in layers.masks.values():
        assert abs(int((~mask).sum()) - share * mask.numel()) < 1 + 1e-9
    modalities = prune(dense, scores, zeros, "modality", GROUPS)
    for gone, size in modalities.counts_by_group(GROUPS).values():
        assert abs(gone - share * size) < 1 + 1e-9


def test_within_a_modality_one_threshold_rules() -> None:
    scores = {
        "w0": torch.tensor([1.0, 2.0]), "w1": torch.tensor([9.0, 8.0]),
        "w2": torch.tensor([3.0, 4.0]), "w3": torch.tensor([5.0, 0.0]),
    }  # fmt: skip
    pruned = prune(Ticket.dense(scores), scores, 4, "modality", GROUPS)
    assert [m.tolist() for m in pruned.masks.values()] == [
        [False, False], [True, False], [True, True], [True, False],
    ]  # fmt: skip


def test_ties_go_first_tensor_first_and_lowest_index_first() -> None:
    scores = {"z": torch.zeros(2, 2), "a": torch.tensor([0.0, -0.0, 1.0])}
    pruned = prune(Ticket.dense(scores), scores, 5, "global", {})
    assert pruned.masks["z"].tolist() == [[False, False], [False, False]]
    assert pruned.masks["a"].tolist() == [False, True, True]
    fewer = prune(Ticket.dense(scores), scores, 3, "global", {})
    assert fewer.masks["z"].tolist() == [[False, False], [False, True]]


def test_a_bare_threshold_would_be_inexact_with_ties() -> None:
    """The planted fault: with zero-initialised weights it drops far more than was asked."""
    scores = {"w0": torch.cat([torch.zeros(900), torch.rand(100, generator=seeded()) + 1])}
    threshold = scores["w0"].kthvalue(300).values
    assert int((scores["w0"] <= threshold).sum()) == 900
    assert prune(Ticket.dense(scores), scores, 300, "global", {}).zeros == 300


@pytest.mark.parametrize("amount", [0.2, 0.5, 0.97])
def test_equal_to_torch_where_nothing_is_tied(amount: float) -> None:
    shapes, at, modules, weights = [(37, 11), (5, 64), (1, 3)], 0, [], {}
    distinct = torch.randperm(1000, generator=seeded(3)).float().add_(1)
    for i, shape in enumerate(shapes):
        module = nn.Linear(shape[1], shape[0], bias=False)
        values = distinct[at : (at := at + math.prod(shape))].reshape(shape)
        module.weight = nn.Parameter(values * (-1) ** i)
        weights[f"w{i}"] = module.weight.detach().clone()
        modules.append((module, "weight"))
    ticket = Ticket.dense(weights)
    for _ in range(3):
        torch_prune.global_unstructured(modules, torch_prune.L1Unstructured, amount=amount)
        zeros = ticket.zeros + round(amount * (ticket.prunable - ticket.zeros))
        ticket = prune(ticket, {n: w.abs() for n, w in weights.items()}, zeros, "global", {})
        for (module, _), mask in zip(modules, ticket.masks.values(), strict=True):
            assert torch.equal(module.weight_mask.bool(), mask)


def test_mixed_precisions_are_compared_exactly() -> None:
    step = 2.0**-30
    scores = {
        "w0": torch.tensor([1.0, 1.0]),
        "w1": torch.tensor([1.0 + step, 1.0 - step], dtype=torch.float64),
    }
    pruned = prune(Ticket.dense(scores), scores, 2, "global", {})
    assert [m.tolist() for m in pruned.masks.values()] == [[False, True], [True, False]]
    tiny = {"w0": torch.tensor([2e-30, 1e-30], dtype=torch.bfloat16), "w1": torch.ones(1)}
    pruned = prune(Ticket.dense(tiny), tiny, 1, "global", {})
    assert [m.tolist() for m in pruned.masks.values()] == [[True, False], [True]]


def test_transposed_scores_go_by_their_own_order() -> None:
    scores = {"w0": torch.arange(6.0).reshape(2, 3).T}
    pruned = prune(Ticket.dense(scores), scores, 3, "global", {})
    assert pruned.masks["w0"].tolist() == [[False, True], [False, True], [False, True]]


def test_infinite_scores_have_their_place() -> None:
    scores = {"w0": torch.tensor([math.inf, 0.0, -math.inf, math.inf])}
    pruned = prune(Ticket.dense(scores), scores, 3, "global", {})
    assert pruned.masks["w0"].tolist() == [False, False, False, True]


def test_pruning_refuses_what_it_cannot_do_exactly() -> None:
    scores = {"w0": torch.tensor([0.1, 0.2, 0.3])}
    half = Ticket({"w0": torch.tensor([True, False, True])})
    for zeros in (0, 4, -1):
        with pytest.raises(TicketError, match=f"cannot prune to {zeros} zeros: the ticket has 1"):
            prune(half, scores, zeros, "global", {})
    with pytest.raises(StudyError, match="unknown scope 'globl'; did you mean 'global'"):
        prune(half, scores, 2, "globl", {})
    with pytest.raises(TicketError, match="no group is given for 'w0'"):
        prune(half, scores, 2, "modality", {})
    with pytest.raises(TicketError, match="scores: 'w0' is missing"):
        prune(half, {}, 2, "global", {})
    with pytest.raises(TicketError, match="scores: the ticket has no mask of 'w1'"):
        prune(half, {**scores, "w1": scores["w0"]}, 2, "global", {})
    with pytest.raises(TicketError, match=r"'w0' has shape \[3, 1\]"):
        prune(half, {"w0": scores["w0"][:, None]}, 2, "global", {})
    with pytest.raises(TicketError, match=r"torch\.int64 where floating point belongs"):
        prune(half, {"w0": torch.tensor([1, 2, 3])}, 2, "global", {})


def test_scores_that_are_not_numbers_are_refused_where_they_count() -> None:
    scores = {"w0": torch.tensor([math.nan, 0.2, 0.3])}
    with pytest.raises(TicketError, match=r"scores of w0: 1 of 3 are not a number"):
        prune(Ticket.dense(scores), scores, 1, "global", {})
    without = Ticket({"w0": torch.tensor([False, True, True])})
    assert prune(without, scores, 2, "global", {}).masks["w0"].tolist() == [False, False, True]


# -- selection and shares -----------------------------------------------------------------------
@REPEATABLE
@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.data())
def test_keep_largest_is_a_stable_sort(values: list[int], data: st.DataObject) -> None:
    scores = np.array(values, dtype=np.float32)
    drop = data.draw(st.integers(0, len(values)))
    cut = data.draw(st.integers(0, len(values)))
    dense = [np.ones(cut, bool), np.ones(len(values) - cut, bool)]
    kept = keep_largest([scores[:cut], scores[cut:]], dense, drop)
    expected = np.ones(len(values), bool)
    expected[np.argsort(scores, kind="stable")[:drop]] = False
    assert np.array_equal(np.concatenate(kept), expected)
    assert all(mask.all() for mask in dense), "what came in is not changed"


@pytest.mark.parametrize("sample", [1, 7, 300, 1 << 20])
@pytest.mark.parametrize("kind", ["normal", "tied", "sorted", "two kinds of numbers", "infinite"])
def test_a_sample_that_misleads_changes_nothing(
    kind: str, sample: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few sampled scores bracket the threshold badly, or not at all."""
    monkeypatch.setattr(tickets, "SAMPLE", sample)
    draw = np.random.default_rng(0)
    parts = [draw.normal(size=n).astype(np.float32) for n in (1000, 1, 400)]
    if kind == "tied":
        parts = [np.round(part) for part in parts]
    elif kind == "sorted":
        parts = [np.sort(part)[::-1].copy() for part in parts]
    elif kind == "two kinds of numbers":
        parts[2] = draw.normal(size=400)
    elif kind == "infinite":
        parts[0][::3], parts[2][::4] = np.inf, -np.inf
    masks = [draw.random(len(part)) < 0.7 for part in parts]
    flat, held = np.concatenate(parts), np.concatenate(masks)
    for drop in (1, 2, 300, int(held.sum()) - 1, int(held.sum())):
        expected = held.copy()
        expected[np.flatnonzero(held)[np.argsort(flat[held], kind="stable")[:drop]]] = False
        kept = keep_largest(parts, masks, drop)
        assert np.array_equal(np.concatenate(kept), expected)


@REPEATABLE
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1), st.data())
def test_share_out(pairs: list[tuple[int, int]], data: st.DataObject) -> None:
    sizes = [max(pair) for pair in pairs]
    least = [min(pair) for pair in pairs]
    total = data.draw(st.integers(sum(least), sum(sizes)))
    shares = share_out(total, sizes, least)
    assert sum(shares) == total
    assert all(low <= n <= size for low, n, size in zip(least, shares, sizes, strict=True))
    # Those above their minimum all have the same share, but for rounding.
    free = [(n, size) for low, n, size in zip(least, shares, sizes, strict=True) if n > low]
    if free:
        highest = min((n + 1) / size for n, size in free)
        lowest = max((n - 1) / size for n, size in free)
        assert lowest <= highest


def test_share_out_by_hand() -> None:
    assert share_out(7, [10, 10, 1], [0, 0, 0]) == [4, 3, 0], "3.33, 3.33, 0.33: first remainder"
    assert share_out(10, [10, 10], [8, 0]) == [8, 2], "what is sparser already stays"
    assert share_out(0, [0, 0], [0, 0]) == [0, 0]


# -- branches and comparison --------------------------------------------------------------------
@REPEATABLE
@given(st.data())
def test_branches_keep_the_counts(data: st.DataObject) -> None:
    scores = data.draw(scored())
    ticket = data.draw(masked(scores))
    drawn = random_mask(ticket, seeded(1))
    assert drawn.zeros == ticket.zeros
    assert drawn.shapes == ticket.shapes
    zeros = data.draw(st.integers(0, ticket.prunable))
    assert random_mask(ticket, seeded(1), zeros=zeros).zeros == zeros
    shuffled = shuffled_mask(ticket, seeded(1))
    assert shuffled.shapes == ticket.shapes
    for name, mask in ticket.masks.items():
        assert int(shuffled.masks[name].sum()) == int(mask.sum())


def test_branches_are_drawn_by_their_generator_alone() -> None:
    weights = {"w0": torch.rand(40, 50, generator=seeded())}
    ticket = prune(Ticket.dense(weights), weights, 1000, "global", {})
    for branch in (random_mask, shuffled_mask):
        first = branch(ticket, seeded(1))
        torch.manual_seed(99)
        assert branch(ticket, seeded(1)) == first
        assert branch(ticket, seeded(2)) != first


def test_a_random_mask_is_uniform() -> None:
    ticket = Ticket({"w0": torch.tensor([False, False, True]), "w1": torch.tensor([[True, True]])})
    generator, draws = seeded(5), 4000
    kept = sum(flat(dict(random_mask(ticket, generator).masks)) for _ in range(draws)) / draws
    assert np.abs(kept - 0.6).max() < 4 * math.sqrt(0.6 * 0.4 / draws)


@REPEATABLE
@given(st.data())
def test_sets_agree_with_sets(data: st.DataObject) -> None:
    scores = data.draw(scored())
    a, b = data.draw(masked(scores)), data.draw(masked(scores))
    x, y = (set(np.flatnonzero(flat(dict(t.masks)))) for t in (a, b))
    assert set(np.flatnonzero(flat(dict((a & b).masks)))) == x & y
    assert set(np.flatnonzero(flat(dict((a | b).masks)))) == x | y
    assert a.is_within(b) == (x <= y)
    assert a.iou(b) == (len(x & y) / len(x | y) if x | y else 1.0)
    assert (a == b) == (x == y)


def test_chance_overlap() -> None:
    weights = {"w0": torch.zeros(1000)}
    for zeros in (0, 300, 800):
        a = random_mask(Ticket.dense(weights), seeded(1), zeros=zeros)
        density = 1 - zeros / 1000
        assert a.expected_iou(a) == pytest.approx(density / (2 - density))
    generator = seeded(2)
    small, large = (random_mask(Ticket.dense(weights), generator, zeros=z) for z in (900, 400))
    seen = [random_mask(small, generator).iou(random_mask(large, generator)) for _ in range(400)]
    assert np.mean(seen) == pytest.approx(small.expected_iou(large), rel=0.01)
    empty = random_mask(small, generator, zeros=1000)
    assert empty.iou(empty) == empty.expected_iou(empty) == 1.0


def test_tickets_of_two_models_do_not_mix() -> None:
    a = Ticket({"w0": torch.tensor([True])})
    b = Ticket({"w0": torch.tensor([True, False])})
    assert a != b
    assert a != Ticket({"w1": torch.tensor([True])})
    with pytest.raises(TicketError, match="made for another model"):
        a & b
    with pytest.raises(TicketError, match="no mask of 'w1'"):
        a.iou(Ticket({**a.masks, "w1": torch.tensor([True])}))


def test_collapse_is_less_than_one_percent_left() -> None:
    masks = {
        "w0": torch.arange(200) < 1, "w1": torch.arange(100) < 1, "w3": torch.zeros(0).bool(),
    }  # fmt: skip
    modalities = ("language", "vision", "fusion")
    assert collapsed(Ticket(masks), GROUPS, modalities) == ("language",)
    assert collapsed(Ticket(masks), GROUPS, modalities, least=0.02) == ("language", "vision")
    assert collapsed(Ticket(masks), GROUPS, ("vision",)) == ()


# -- files --------------------------------------------------------------------------------------
@REPEATABLE
@given(st.data())
def test_a_file_gives_back_what_was_saved(data: st.DataObject) -> None:
    scores = data.draw(scored())
    tickets = {f"level-{i:03d}/main": data.draw(masked(scores)) for i in range(3)}
    file = merge_tickets(tickets, SHA)
    for prefix, ticket in tickets.items():
        read = Ticket.from_bytes(file, prefix=prefix, start_sha256=SHA)
        assert read == ticket
        assert list(read.masks) == list(ticket.masks)
        assert all(mask.dtype == torch.bool for mask in read.masks.values())


def test_masks_take_a_bit_each_and_any_reader_finds_them() -> None:
    mask = torch.zeros(3, 5, dtype=torch.bool)
    mask[0, 0] = mask[1, 3] = mask[2, 4] = True
    file = Ticket({"w": mask}).to_bytes(SHA, prefix="level-003/main")
    arrays = safetensors.numpy.load(file)
    assert {n: a.tolist() for n, a in arrays.items()} == {
        "level-003/main/w": [0b00000001, 0b01000001]
    }


def test_order_survives_a_file_because_it_decides_ties() -> None:
    file = Ticket.dense({"z": torch.zeros(1), "a": torch.zeros(1)}).to_bytes(SHA)
    assert list(Ticket.from_bytes(file).masks) == ["z", "a"]
    swapped = file.replace(rb"\"z\":[1],\"a\":[1]", rb"\"a\":[1],\"z\":[1]")
    assert swapped != file
    assert "SHA-256" in refused(swapped)


def test_equal_tickets_give_equal_bytes() -> None:
    """Safetensors writes several metadata entries in an order that changes from call to call."""
    ticket = Ticket.dense({"b": torch.zeros(9), "a": torch.zeros(3)})
    assert len({ticket.to_bytes(SHA) for _ in range(20)}) == 1


def test_tickets_that_belong_elsewhere_are_refused() -> None:
    ticket = Ticket.dense({"w": torch.zeros(3)})
    file = ticket.to_bytes(SHA, prefix="level-001/main")
    with pytest.raises(TicketError, match=r"unknown ticket 'level-002/main'; did you mean"):
        Ticket.from_bytes(file, prefix="level-002/main")
    with pytest.raises(TicketError, match="belongs to the start weights abababababab, not to cdcd"):
        Ticket.from_bytes(file, prefix="level-001/main", start_sha256="cd" * 32)
    with pytest.raises(TicketError, match="ticket b masks another model than a"):
        merge_tickets({"a": ticket, "b": Ticket.dense({"w": torch.zeros(4)})}, SHA)
    with pytest.raises(TicketError, match="no ticket to save"):
        merge_tickets({}, SHA)


def refused(file: bytes) -> str:
    with pytest.raises(LthError) as caught:
        Ticket.from_bytes(file)
    text = str(caught.value)
    assert isinstance(caught.value, TicketError)
    assert "\n" not in text
    return text


def test_every_single_flipped_bit_is_noticed() -> None:
    ticket = Ticket({"w": torch.tensor([True, False, True]), "v": torch.tensor([[True] * 9])})
    file = ticket.to_bytes("s")
    assert Ticket.from_bytes(file) == ticket
    for position in range(8 * len(file)):
        broken = bytearray(file)
        broken[position // 8] ^= 1 << position % 8
        refused(bytes(broken))


def test_every_truncation_is_noticed() -> None:
    file = Ticket.dense({"w": torch.zeros(100), "v": torch.zeros(())}).to_bytes("s")
    for length in range(len(file)):
        assert "damaged ticket file" in refused(file[:length])
    refused(file + b"\0")


@pytest.mark.parametrize("file", [b"", b"not a ticket", b"\x89PNG\r\n" * 9, b"\0" * 64])
def test_other_files_are_no_tickets(file: bytes) -> None:
    assert refused(file).startswith("damaged ticket file: ")


def test_another_format_and_strangers_headers_are_refused() -> None:
    arrays = {"ticket/w": np.zeros(1, np.uint8)}
    newer = {"format": 2, "start_sha256": "s", "shapes": {"w": [3]}, "sha256": {}}
    file = safetensors.numpy.save(arrays, metadata={"lthlib.tickets": json.dumps(newer)})
    assert "of format 2, and this version reads format 1" in refused(file)
    assert "damaged" in refused(safetensors.numpy.save(arrays))
    for about in ('{"format": 1}', "[]", "1", "{"):
        file = safetensors.numpy.save(arrays, metadata={"lthlib.tickets": about})
        assert "damaged" in refused(file)


# -- selection on any device --------------------------------------------------------------------
FLOATS = st.floats(width=32, allow_nan=False)
TIED = st.sampled_from([0.0, -0.0, 1.0, -1.0, float("inf"), float("-inf"), 1e-45, -1e-45])


@REPEATABLE
@given(
    scores=st.lists(st.lists(FLOATS | TIED, max_size=30), min_size=1, max_size=4),
    data=st.data(),
)
def test_radix_selection_drops_what_a_stable_sort_would(
    scores: list[list[float]], data: st.DataObject
) -> None:
    tensors = [torch.tensor(part, dtype=torch.float32) for part in scores]
    masks = [
        torch.tensor(data.draw(st.lists(st.booleans(), min_size=len(t), max_size=len(t))),
                     dtype=torch.bool)
        for t in tensors
    ]  # fmt: skip
    kept = sum(int(mask.sum()) for mask in masks)
    drop = data.draw(st.integers(0, kept))
    found = selection.keep_largest(tensors, masks, drop)
    flat, held = torch.cat(tensors), torch.cat(masks)
    lowest = flat[held].argsort(stable=True)[:drop]
    expected = held.clone()
    expected[held.nonzero()[lowest]] = False
    assert torch.equal(torch.cat(found), expected)
    again = keep_largest([t.numpy() for t in tensors], [m.numpy() for m in masks], drop)
    assert all(np.array_equal(a.numpy(), b) for a, b in zip(found, again, strict=True))


# -- devices and size ---------------------------------------------------------------------------
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("scope", SCOPES)
def test_a_gpu_gives_the_same_masks_and_keeps_them(scope: str) -> None:
    scores = {f"w{i}": torch.randint(0, 9, (50, 40), generator=seeded(i)).float() for i in range(4)}
    there = {n: s.cuda() for n, s in scores.items()}
    here = prune(Ticket.dense(scores), scores, 5000, scope, GROUPS)
    ticket = prune(Ticket.dense(there), there, 5000, scope, GROUPS)
    assert all(mask.is_cuda for mask in ticket.masks.values())
    assert here == ticket
    assert Ticket.from_bytes(ticket.to_bytes(SHA)) == here
    here.apply_(there)
    assert all(not weight[~ticket.masks[n]].any() for n, weight in there.items())
    assert shuffled_mask(ticket, seeded(1)) == shuffled_mask(here, seeded(1))
    assert random_mask(ticket, seeded(1)) == random_mask(here, seeded(1))


MEMORY = """
import resource, sys, torch
from lthlib.lab.tickets import Ticket, prune
torch.set_num_threads(1)
scores = {f"w{i}": torch.rand(1000, 1000) for i in range(20)}
if sys.argv[1] == "tied":
    for score in scores.values():
        score.round_()
ticket = Ticket.dense(scores)
def peak():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
before = peak()
assert prune(ticket, scores, 12_345_678, "global", {}).zeros == 12_345_678
print((peak() - before) / (20e6 * 4))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("kind", ["distinct", "tied"])
def test_twenty_million_weights_need_less_than_twice_their_scores(kind: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, kind], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 2.0
