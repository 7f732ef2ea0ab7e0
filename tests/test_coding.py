"""The code of tickets: nothing lost, near the bound, and no harm from damaged bytes."""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lthlib.errors import TicketError
from lthlib.lab import coding
from lthlib.lab.coding import decode, encode, entropy_bytes, export_ticket, load_ticket
from lthlib.lab.scores import score
from lthlib.lab.tickets import Ticket, prune

LARGE = {"a.weight": [1536, 768], "b.weight": [768, 768], "c.weight": [768, 64]}
TINY = {f"layer.{i}.weight": [128, 64] for i in range(8)}


def drawn(shapes: dict[str, list[int]], density: float, seed: int = 0) -> Ticket:
    generator = torch.Generator().manual_seed(seed)
    return Ticket({n: torch.rand(s, generator=generator) < density for n, s in shapes.items()})


# -- masks --------------------------------------------------------------------------------------
shapes = st.lists(st.lists(st.integers(0, 40), min_size=0, max_size=3), min_size=0, max_size=4)


@given(shapes, st.floats(0, 1), st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_every_ticket_comes_back(sides: list[list[int]], density: float, seed: int) -> None:
    ticket = drawn({f"w{i}": side for i, side in enumerate(sides)}, density, seed)
    coded = encode(ticket)
    again = decode(coded, ticket.shapes)
    assert again == ticket
    assert list(again.masks) == list(ticket.masks)
    assert encode(again) == coded


@given(st.lists(st.integers(0, 3000), max_size=60), st.integers(0, 1))
@settings(deadline=None)
def test_gaps_of_any_length_come_back(gaps: list[int], invert: int) -> None:
    """Runs that no random mask has: beyond 255, beyond any mean."""
    kept = np.zeros(sum(gaps) + len(gaps), dtype=bool)
    kept[np.cumsum(np.asarray(gaps, dtype=np.int64) + 1) - 1] = True
    ticket = Ticket({"w": torch.from_numpy(kept ^ bool(invert))})
    assert decode(encode(ticket), ticket.shapes) == ticket


@pytest.mark.parametrize("kept", [True, False])
def test_all_or_nothing_takes_no_room(kept: bool) -> None:
    ticket = Ticket({n: torch.full(s, kept) for n, s in LARGE.items()})
    assert entropy_bytes(ticket) == 0
    assert len(encode(ticket)) < 40
    assert decode(encode(ticket), LARGE) == ticket


@pytest.mark.parametrize(
    "density", [0.5, 0.45, 0.4, 0.382, 0.35, 0.3, 0.25, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005]
)
def test_large_tickets_lie_within_two_percent_of_the_bound(density: float) -> None:
    """Twice as near as the aim, with all headers, at either end."""
    for share in (density, 1 - density):
        ticket = drawn(LARGE, share)
        assert entropy_bytes(ticket) <= len(encode(ticket)) <= 1.02 * entropy_bytes(ticket)


@pytest.mark.parametrize("density", [0.75, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
def test_tiny_tickets_lie_within_five_percent_of_the_bound(density: float) -> None:
    ticket = drawn(TINY, density)
    assert len(encode(ticket)) <= 1.05 * entropy_bytes(ticket)


def test_layers_of_different_density_are_coded_each_by_its_own() -> None:
    weights = {n: torch.randn(s) * 2**i for i, (n, s) in enumerate(LARGE.items())}
    dense = Ticket.dense(weights)
    scores = score("low-magnitude", weights, weights, torch.Generator())
    for sparsity in (0.5, 0.8, 0.95):
        ticket = prune(dense, scores, round(sparsity * dense.prunable), "global", {})
        assert len(encode(ticket)) <= 1.03 * entropy_bytes(ticket)
        share = ticket.density()
        pooled = -share * math.log2(share) - (1 - share) * math.log2(1 - share)
        assert len(encode(ticket)) < pooled * ticket.prunable / 8, "one density for all"


def test_the_bound_is_shannons() -> None:
    mask = torch.arange(1000) < 110
    entropy = -0.11 * math.log2(0.11) - 0.89 * math.log2(0.89)
    assert entropy_bytes(Ticket({"w": mask})) == pytest.approx(125 * entropy)


# -- damage ---------------------------------------------------------------------------------------
def test_another_model_is_refused() -> None:
    coded = encode(drawn(TINY, 0.3))
    swapped = dict(reversed(TINY.items()))
    for other in (LARGE, swapped, {**TINY, "layer.0.weight": [64, 128]}):
        with pytest.raises(TicketError, match="masks another model"):
            decode(coded, other)


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_no_damage_goes_unseen(data: st.DataObject) -> None:
    coded = bytearray(encode(drawn({"w": [40, 30]}, 0.1)))
    cut = data.draw(st.integers(0, len(coded) - 1))
    place, change = data.draw(st.integers(0, len(coded) - 1)), data.draw(st.integers(1, 255))
    damaged = bytearray(coded)
    damaged[place] ^= change
    for bad in (coded[:cut], damaged, coded + b"\0"):
        with pytest.raises(TicketError) as caught:
            decode(bytes(bad), {"w": [40, 30]})
        assert "\n" not in str(caught.value)


@given(st.binary(max_size=80), st.integers(0, 10_000))
@settings(max_examples=300, deadline=None)
def test_bytes_made_on_purpose_do_no_harm(body: bytes, size: int) -> None:
    """Behind a digest that fits: either some ticket of the right shape, or one line."""
    try:
        ticket = coding._decode_all(body, {"w": [size]})
    except TicketError:
        return
    assert ticket.shapes == {"w": [size]}


@pytest.mark.parametrize("way", [coding.HUFFMAN_BITS, coding.HUFFMAN_GAPS])
def test_a_bomb_is_refused_before_it_takes_room(way: int) -> None:
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = stream.compress(bytes(50_000_000)) + stream.flush()
    number = coding._varint(8) if way == coding.HUFFMAN_GAPS else b""
    body = bytes([way]) + number + coding._varint(len(bomb)) + bomb
    with pytest.raises(TicketError, match="inflates to another length"):
        coding._decode_all(body, {"w": [64]})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "ends too early"),
        (bytes([coding.RICE_GAPS]) + b"\x41", "more weights than there are"),
        (bytes([coding.RICE_GAPS]) + b"\xff" * 9, "a number has no end"),
        (bytes([coding.RICE_GAPS]) + b"\x01\x7f", "longer than its weights need"),
        (bytes([coding.RICE_GAPS]) + b"\x02\x01\x01", "another number of weights"),
        (bytes([coding.RICE_GAPS | 31 << 3]) + b"\x01\xff\xff\xff\xff\x01\x01", "leads outside"),
        (bytes([coding.HUFFMAN_BITS]) + b"\x02\xff\xff", "cannot be inflated"),
        (bytes([coding.BITS]) + bytes(9), "1 bytes too many"),
    ],
)
def test_each_fault_is_named(body: bytes, said: str) -> None:
    with pytest.raises(TicketError, match=said):
        coding._decode_all(body, {"w": [64]})


def test_other_formats_are_named() -> None:
    coded = bytearray(encode(drawn(TINY, 0.5)))
    coded[len(coding.MAGIC)] = 9
    with pytest.raises(TicketError, match="format 9"):
        decode(bytes(coded), TINY)
    with pytest.raises(TicketError, match="no coded ticket"):
        decode(b"PK\x03\x04" + bytes(40), TINY)


# -- files ----------------------------------------------------------------------------------------
def state(dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    tensors = {n: torch.randn(s, generator=generator).to(dtype) for n, s in TINY.items()}
    return {**tensors, "layer.0.bias": torch.randn(128), "steps": torch.tensor([3, 4])}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_pruned_model_comes_back(tmp_path: Path, dtype: str) -> None:
    ticket, weights = drawn(TINY, 0.2), state()
    path = tmp_path / "pruned.safetensors"
    written = export_ticket(path, ticket, weights, dtype)
    assert written == path.stat().st_size
    again, loaded = load_ticket(path)
    assert again == ticket and set(loaded) == set(weights)
    ticket.apply_(weights)
    for name, value in weights.items():
        expected = value.to(coding.DTYPES[dtype]) if name in TINY else value
        assert torch.equal(loaded[name], expected), name
        assert not torch.signbit(loaded[name][loaded[name] == 0]).any()


def test_the_file_is_as_small_as_what_it_holds(tmp_path: Path) -> None:
    ticket, weights = drawn(LARGE, 0.1), {n: torch.randn(s) for n, s in LARGE.items()}
    written = export_ticket(tmp_path / "p", ticket, weights)
    kept = ticket.prunable - ticket.zeros
    assert 0 <= written - 4 * kept - len(encode(ticket)) < 600
    assert export_ticket(tmp_path / "q", ticket, weights) == written
    assert (tmp_path / "p").read_bytes() == (tmp_path / "q").read_bytes()
    half = export_ticket(tmp_path / "h", ticket, weights, "bfloat16")
    assert written - half == pytest.approx(2 * kept, abs=16)


def test_any_reader_of_safetensors_opens_it(tmp_path: Path) -> None:
    export_ticket(tmp_path / "p", drawn(TINY, 0.2), state())
    tensors = safetensors.torch.load_file(tmp_path / "p")
    assert {"masks", "survivors", "whole/layer.0.bias", "whole/steps"} == set(tensors)


def test_what_cannot_be_exported_is_named(tmp_path: Path) -> None:
    ticket, weights = drawn(TINY, 0.2), state()
    path = tmp_path / "p"
    with pytest.raises(TicketError, match="did you mean 'float16'"):
        export_ticket(path, ticket, weights, "floot16")
    with pytest.raises(TicketError, match=r"'layer.3.weight' is missing"):
        export_ticket(path, ticket, {n: w for n, w in weights.items() if n != "layer.3.weight"})
    weights["layer.2.weight"].fill_(1e6)
    with pytest.raises(TicketError, match=r"'layer.2.weight' has survivors that float16 cannot"):
        export_ticket(path, ticket, weights, "float16")
    assert not path.exists()
    with pytest.raises(TicketError, match=r"cannot be written: .*nothing of it was kept"):
        export_ticket(Path("/dev/null/p"), ticket, weights)


@pytest.mark.parametrize("place", [0.02, 0.2, 0.6, 0.99])
def test_a_damaged_file_is_refused(tmp_path: Path, place: float) -> None:
    path = tmp_path / "p"
    export_ticket(path, drawn(TINY, 0.2), state())
    whole = path.read_bytes()
    at = int(place * len(whole))
    for bad in (whole[:at], whole[:at] + bytes([whole[at] ^ 8]) + whole[at + 1 :]):
        path.write_bytes(bad)
        with pytest.raises(TicketError) as caught:
            load_ticket(path)
        assert "\n" not in str(caught.value)


def test_what_is_no_export_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p"
    with pytest.raises(TicketError, match="cannot be read: No such file"):
        load_ticket(path)
    safetensors.torch.save_file({"w": torch.ones(3)}, path)
    with pytest.raises(TicketError, match="no exported ticket"):
        load_ticket(path)
    with pytest.raises(TicketError, match=r"claims 1,099,511,627,776 masked weights"):
        load_ticket(made_up(path, {"w": [2**20, 2**20]}))


def made_up(path: Path, shapes: Any, **tensors: torch.Tensor) -> Path:
    """A file that says of itself what an export says, with a digest that fits."""
    empty = {"masks": torch.zeros(30, dtype=torch.uint8), "survivors": torch.zeros(0)}
    held = {**empty, **tensors}
    about = {"format": 1, "shapes": shapes, "sha256": coding._content_digest(held)}
    safetensors.torch.save_file(held, path, metadata={coding._ABOUT: json.dumps(about)})
    return path


@pytest.mark.parametrize(
    ("shapes", "tensors"),
    [
        ({"w": [float("inf")]}, {}),
        ({"w": [0, 2**70]}, {}),
        ({"w": [0, 2**62, 4]}, {}),
        ({"w": [-1]}, {}),
        ({"w": "many"}, {}),
        ({"w": [2]}, {"masks": torch.zeros(30, dtype=torch.bfloat16)}),
        ({"w": [2]}, {"survivors": torch.zeros(0, dtype=torch.int64)}),
        # Its own content in place of what the mask leaves of it.
        ({"w": [2]}, {"whole/w": torch.ones(2)}),
    ],
)
def test_a_file_made_to_mislead_is_refused_in_one_line(
    tmp_path: Path, shapes: Any, tensors: dict[str, torch.Tensor]
) -> None:
    with pytest.raises(TicketError) as caught:
        load_ticket(made_up(tmp_path / "p", shapes, **tensors))
    assert "\n" not in str(caught.value)


def test_nested_beyond_reason_is_refused(tmp_path: Path) -> None:
    held = {"masks": torch.zeros(30, dtype=torch.uint8), "survivors": torch.zeros(0)}
    deep = "[" * 100_000 + "]" * 100_000
    safetensors.torch.save_file(held, tmp_path / "p", metadata={coding._ABOUT: deep})
    with pytest.raises(TicketError, match="no exported ticket"):
        load_ticket(tmp_path / "p")
