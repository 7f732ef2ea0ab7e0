"""A compact code for tickets, and files that hold a pruned model: coded masks, surviving weights.

A mask of n weights of which a share d is kept needs n H(d) bits, H(d) = -d log2 d - (1 - d)
log2(1 - d), if nothing is known of it but d (Shannon 1948). Each tensor is written in the shortest
of four ways, none of which lies far from that:

- its bits, eight to a byte;
- those bytes in Huffman's code (Huffman 1952);
- the gaps between the weights of the rarer kind, in Rice's code (Rice and Plaunt 1971), which is
  Golomb's (1966) with powers of two: near the best for gaps that are geometrically distributed;
- the gaps as bytes, 255 standing for "255 and more to come", in Huffman's code.

Huffman's code is DEFLATE's with the search for repetitions turned off: it needs a table of its own,
so it is for large tensors, and the third way for small ones. Records keep their own format
(:func:`lthlib.lab.tickets.merge_tickets`), which any reader of safetensors can open.
"""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor

from lthlib.errors import TicketError, in_one_line, reason, unknown
from lthlib.lab.tickets import Bits, Ticket
from lthlib.records import write_atomically

Shapes = Mapping[str, Sequence[int]]
Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

MAGIC, FORMAT = b"LTHC", 1
_HEAD = len(MAGIC) + 1 + 8 + 8
BITS, HUFFMAN_BITS, RICE_GAPS, HUFFMAN_GAPS = range(4)
_PRUNED_ARE_RARER = 4
_MORE = 255
"""As a gap: 255, and the next byte belongs to the same gap."""


def entropy_bytes(ticket: Ticket) -> float:
    """The bound: the sum over tensors of n H(share kept), in bytes.

    >>> entropy_bytes(Ticket({"w": torch.tensor([True, False] * 8)}))
    2.0
    """
    return sum(_entropy(m.numel(), int(m.count_nonzero())) for m in ticket.masks.values()) / 8


def _entropy(size: int, kept: int) -> float:
    parts = [count for count in (kept, size - kept) if count]
    return sum(count * math.log2(size / count) for count in parts)


# -- masks ---------------------------------------------------------------------------------------
def encode(ticket: Ticket) -> bytes:
    """The ticket's masks as bytes, without names and shapes, which the model knows.

    The same ticket gives the same bytes with the same version of zlib, and the same ticket back
    with every version.
    """
    body = b"".join(_encode(mask.reshape(-1).cpu().numpy()) for mask in ticket.masks.values())
    return MAGIC + bytes([FORMAT]) + _shapes_digest(ticket.shapes) + _digest(body) + body


def decode(data: bytes, shapes: Shapes) -> Ticket:
    """The ticket that :func:`encode` wrote, on the CPU; shapes: as `Ticket.shapes` gives them.

    Needs memory for the ticket and, one tensor after the other, for up to 40 bytes for each of its
    weights, whatever the data say. Raises TicketError for data that are damaged, of another format,
    or of a ticket with other names, shapes or order.
    """
    if data[: len(MAGIC)] != MAGIC or len(data) < _HEAD:
        raise TicketError("no coded ticket: it does not begin as one; was another file read?")
    if data[len(MAGIC)] != FORMAT:
        raise TicketError(
            f"coded ticket of format {data[len(MAGIC)]}, and this version reads format {FORMAT}: "
            "read it with the version that wrote it"
        )
    model, content = data[_HEAD - 16 : _HEAD - 8], data[_HEAD - 8 : _HEAD]
    if model != _shapes_digest(shapes):
        raise TicketError("the coded ticket masks another model: its names or shapes differ")
    body = data[_HEAD:]
    if content != _digest(body):
        raise _damaged("its digest differs")
    return _decode_all(body, shapes)


def _decode_all(body: bytes, shapes: Shapes) -> Ticket:
    reader = _Reader(body)
    masks = {}
    for name, shape in shapes.items():
        bits = _decode(reader, math.prod(shape))
        masks[name] = torch.from_numpy(bits).reshape(tuple(shape))
    if reader.left:
        raise _damaged(f"{reader.left} bytes too many")
    return Ticket(masks)


def _encode(kept: Bits) -> bytes:
    """One tensor's mask, in the shortest way."""
    count = int(np.count_nonzero(kept))
    pruned_are_rarer = 2 * count > kept.size
    rare = ~kept if pruned_are_rarer else kept
    packed = np.packbits(rare, bitorder="little")
    gaps = np.diff(np.flatnonzero(rare), prepend=-1) - 1
    flag = _PRUNED_ARE_RARER if pruned_are_rarer else 0
    shift, rice = _best_rice(gaps)
    squeezed, huffman = _huffman(packed), _huffman(_gaps_to_bytes(gaps))
    number = _varint(gaps.size)
    ways = {
        BITS: packed.nbytes,
        HUFFMAN_BITS: len(squeezed),
        RICE_GAPS: len(number) + rice,
        HUFFMAN_GAPS: len(number) + len(huffman),
    }
    best = min(ways, key=lambda way: (ways[way], way))
    if best == BITS:
        return bytes([BITS | flag]) + packed.tobytes()
    if best == HUFFMAN_BITS:
        return bytes([HUFFMAN_BITS | flag]) + squeezed
    if best == RICE_GAPS:
        return bytes([RICE_GAPS | flag | shift << 3]) + number + _rice(gaps, shift)
    return bytes([HUFFMAN_GAPS | flag]) + number + huffman


def _decode(reader: _Reader, size: int) -> Bits:
    first = int(reader.take(1)[0])
    way, flag, shift = first & 3, first & _PRUNED_ARE_RARER, first >> 3
    if way in (BITS, HUFFMAN_BITS):
        length = -(-size // 8)
        packed = reader.take(length) if way == BITS else reader.inflate(length)
        if packed.size != length:
            raise _damaged("bits are missing")
        rare = np.unpackbits(packed, count=size, bitorder="little").view(np.bool_)
    else:
        count = reader.varint()
        if count > size:
            raise _damaged("more weights than there are")
        gaps = _read_rice(reader, count, size, shift) if way == RICE_GAPS else None
        if gaps is None:
            gaps = _bytes_to_gaps(reader.inflate(count + (size - count) // _MORE), count)
        rare = np.zeros(size, dtype=np.bool_)
        rare[_positions(gaps, size)] = True
    return ~rare if flag else rare


def _positions(gaps: Ints, size: int) -> Ints:
    # Gaps of at most `size` add up to no more than size * size, which int64 holds.
    if gaps.size and not 0 <= int(gaps.min()) <= int(gaps.max()) <= size:
        raise _damaged("a gap leads outside")
    places = np.cumsum(gaps + 1) - 1
    if places.size and int(places[-1]) >= size:
        raise _damaged("a gap leads outside")
    return places


# -- gaps as bytes, for Huffman's code -----------------------------------------------------------
def _gaps_to_bytes(gaps: Ints) -> Bytes:
    """Each gap as its multiples of 255, one byte each, and its rest."""
    further, rest = np.divmod(gaps, _MORE)
    coded = np.full(gaps.size + int(further.sum()), _MORE, dtype=np.uint8)
    coded[np.cumsum(further + 1) - 1] = rest
    return coded


def _bytes_to_gaps(coded: Bytes, count: int) -> Ints:
    ends = np.flatnonzero(coded != _MORE)
    if ends.size != count or (coded.size and coded[-1] == _MORE):
        raise _damaged("another number of weights than it says")
    return np.diff(np.cumsum(coded, dtype=np.int64)[ends], prepend=0)


# -- Rice's code ---------------------------------------------------------------------------------
def _best_rice(gaps: Ints) -> tuple[int, int]:
    """The number of low bits that gives the shortest code, and its bytes."""
    mean = float(gaps.mean()) if gaps.size else 0.0
    guess = max(0, round(math.log2(max(mean, 1.0) * math.log(2))))
    return min(
        ((shift, _rice_bytes(gaps, shift)) for shift in range(max(0, guess - 1), guess + 2)),
        key=lambda found: found[1],
    )


def _rice_bytes(gaps: Ints, shift: int) -> int:
    unary = -(-(gaps.size + int((gaps >> shift).sum())) // 8)
    return -(-gaps.size * shift // 8) + len(_varint(unary)) + unary


def _rice(gaps: Ints, shift: int) -> bytes:
    """The low bits of all gaps, then the rest of each gap: that many zeros and a one."""
    low = (gaps[:, None] >> np.arange(shift)) & 1
    high = gaps >> shift
    unary = np.zeros(gaps.size + int(high.sum()), dtype=np.uint8)
    unary[np.cumsum(high + 1) - 1] = 1
    rest = np.packbits(unary, bitorder="little").tobytes()
    lows = np.packbits(low.astype(np.uint8), bitorder="little").tobytes()
    return lows + _varint(len(rest)) + rest


def _read_rice(reader: _Reader, count: int, size: int, shift: int) -> Ints:
    lows = reader.take(-(-count * shift // 8))
    length = reader.varint()
    if length > -(-(count + (size >> shift)) // 8):
        raise _damaged("longer than its weights need")
    ones = np.flatnonzero(np.unpackbits(reader.take(length), bitorder="little"))
    if ones.size != count:
        raise _damaged("another number of weights than it says")
    high = np.diff(ones, prepend=-1) - 1
    low = np.unpackbits(lows, count=count * shift, bitorder="little").reshape(count, shift)
    # Sums of bits, with no more memory than the bits themselves take.
    gaps = high << shift
    for place in range(shift):
        gaps += low[:, place].astype(np.int64) << place
    return gaps


# -- bytes ---------------------------------------------------------------------------------------
class _Reader:
    """Takes the parts of coded data one after the other; never beyond their end."""

    def __init__(self, data: bytes) -> None:
        self.data, self.place = memoryview(data), 0

    @property
    def left(self) -> int:
        return len(self.data) - self.place

    def take(self, length: int) -> Bytes:
        if length > self.left:
            raise _damaged("it ends too early")
        part = self.data[self.place : self.place + length]
        self.place += length
        return np.frombuffer(part, dtype=np.uint8)

    def varint(self) -> int:
        """A number of at most 63 bits, seven to a byte, the lowest first."""
        value = 0
        for place in range(9):
            byte = int(self.take(1)[0])
            value |= (byte & 127) << (7 * place)
            if byte < 128:
                return value
        raise _damaged("a number has no end")

    def inflate(self, most: int) -> Bytes:
        """What was deflated, refused beyond `most` bytes before it takes room."""
        packed = self.take(self.varint())
        stream = zlib.decompressobj(wbits=-15)
        try:
            found = stream.decompress(packed.tobytes(), most + 1)
            # The end of the stream may still lie in what was not looked at.
            found += stream.decompress(stream.unconsumed_tail, 1) if len(found) <= most else b""
        except zlib.error:
            raise _damaged("it cannot be inflated") from None
        if len(found) > most or not stream.eof or stream.unused_data:
            raise _damaged("it inflates to another length")
        return np.frombuffer(found, dtype=np.uint8)


def _huffman(data: Bytes) -> bytes:
    """Length and content: DEFLATE without a search for repetitions, and without zlib's frame."""
    stream = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_HUFFMAN_ONLY)
    packed = stream.compress(data.tobytes()) + stream.flush()
    return _varint(len(packed)) + packed


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:8]


def _shapes_digest(shapes: Shapes) -> bytes:
    listed = [[name, [int(side) for side in shape]] for name, shape in shapes.items()]
    return _digest(json.dumps(listed).encode())


def _damaged(what: str) -> TicketError:
    return TicketError(f"damaged coded ticket: {what}; restore it, or code the ticket again")


# -- files of a pruned model ---------------------------------------------------------------------
FILE_FORMAT = 1
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
MOST_WEIGHTS = 2**30
"""Three times the weights of BERT-large: a file that claims more is refused."""
_ABOUT, _MASKS, _SURVIVORS, _WHOLE = "lthlib.pruned", "masks", "survivors", "whole/"


def export_ticket(
    path: Path, ticket: Ticket, weights: Mapping[str, Tensor], dtype: str = "float32"
) -> int:
    """Write a pruned model: coded masks, the weights that survive, all else whole; its bytes.

    weights: a state dict; what the ticket masks is kept where the mask says so, in `dtype`
        (float32, bfloat16 or float16), tensor by tensor in the ticket's order; what it does not
        mask stays as it is. The file is safetensors: `masks` (uint8), `survivors`, `whole/<name>`.

    Raises TicketError for weights that do not fit the ticket, a survivor that is not finite in
    `dtype`, another dtype, or a file that cannot be written, of which nothing is then kept.
    """
    if dtype not in DTYPES:
        raise TicketError(unknown("dtype", dtype, DTYPES))
    ticket._check_fits(weights, "weights")
    kept = [
        weights[name].detach().cpu()[mask.cpu()].to(DTYPES[dtype])
        for name, mask in ticket.masks.items()
    ]
    for name, part in zip(ticket.masks, kept, strict=True):
        if not bool(part.isfinite().all()):
            raise TicketError(f"weights: {name!r} has survivors that {dtype} cannot hold")
    tensors = {
        _MASKS: torch.frombuffer(bytearray(encode(ticket)), dtype=torch.uint8),
        _SURVIVORS: torch.cat(kept) if kept else torch.empty(0, dtype=DTYPES[dtype]),
        **{
            _WHOLE + name: value.detach().cpu().contiguous()
            for name, value in weights.items()
            if name not in ticket.masks
        },
    }
    about = {"format": FILE_FORMAT, "shapes": ticket.shapes, "sha256": _content_digest(tensors)}
    # One text, since safetensors writes several entries in random order.
    metadata = {_ABOUT: json.dumps(about, separators=(",", ":"))}
    content = safetensors.torch.save(tensors, metadata=metadata)
    try:
        write_atomically(path, content)
    except OSError as error:
        raise TicketError(
            f"{path} cannot be written: {reason(error)}; nothing of it was kept"
        ) from None
    return len(content)


def load_ticket(path: Path, most_weights: int = MOST_WEIGHTS) -> tuple[Ticket, dict[str, Tensor]]:
    """The ticket and the state dict of an exported model, pruned weights at +0.0, on the CPU.

    most_weights: a file that claims more masked weights is refused before it takes room.

    Raises TicketError for a file that is missing, damaged, or of another format.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TicketError(f"{path} cannot be read: {reason(error)}; export it again") from None
    try:
        tensors = safetensors.torch.load(content)
        length = int.from_bytes(content[:8], "little")
        about = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][_ABOUT])
        found, shapes = about["format"], _checked_shapes(about["shapes"])
        masks, survivors, digest = tensors[_MASKS], tensors[_SURVIVORS], about["sha256"]
        _check_kinds(tensors, shapes)
    except (*_NO_TICKET, SafetensorError) as error:
        raise TicketError(
            f"{path} is no exported ticket ({in_one_line(error)}); export it again"
        ) from None
    if found != FILE_FORMAT:
        raise TicketError(
            f"{path} has format {found!r}, and this version reads {FILE_FORMAT}: read it with the "
            "version that wrote it"
        )
    if digest != _content_digest(tensors):
        raise TicketError(f"{path} is damaged: its SHA-256 differs; export it again")
    weights = sum(math.prod(shape) for shape in shapes.values())
    if weights > most_weights or _largest(shapes) > most_weights:
        raise TicketError(
            f"{path} claims {weights:,} masked weights, more than the {most_weights:,} allowed"
        )
    ticket = decode(masks.numpy().tobytes(), shapes)
    if survivors.dim() != 1 or len(survivors) != ticket.prunable - ticket.zeros:
        raise TicketError(f"{path} is damaged: survivors and masks differ in number")
    whole = {n.removeprefix(_WHOLE): t for n, t in tensors.items() if n.startswith(_WHOLE)}
    return ticket, {**_filled(ticket, survivors), **whole}


_NO_TICKET = (
    KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError,
)  # fmt: skip
"""What a file that was made to be read as a ticket, and is none, can raise on the way."""


def _check_kinds(tensors: Mapping[str, Tensor], shapes: Shapes) -> None:
    """Raises ValueError for tensors of other kinds than an export has, or that two parts give."""
    if tensors[_MASKS].dtype != torch.uint8:
        raise ValueError(f"masks are {tensors[_MASKS].dtype}")
    if tensors[_SURVIVORS].dtype not in DTYPES.values():
        raise ValueError(f"survivors are {tensors[_SURVIVORS].dtype}")
    if twice := [name for name in shapes if _WHOLE + name in tensors]:
        raise ValueError(f"{twice[0]!r} is both masked and whole")


def _largest(shapes: Shapes) -> int:
    """The longest side: a tensor without weights may still claim one that no tensor can have."""
    return max((side for shape in shapes.values() for side in shape), default=0)


def _filled(ticket: Ticket, survivors: Tensor) -> dict[str, Tensor]:
    weights, begin = {}, 0
    for name, mask in ticket.masks.items():
        end = begin + int(mask.count_nonzero())
        weights[name] = torch.zeros(mask.shape, dtype=survivors.dtype)
        weights[name][mask] = survivors[begin:end]
        begin = end
    return weights


def _checked_shapes(shapes: Mapping[str, Any]) -> dict[str, list[int]]:
    found = {str(name): [int(side) for side in shape] for name, shape in shapes.items()}
    if any(side < 0 for shape in found.values() for side in shape):
        raise ValueError("a shape has a negative side")
    return found


def _content_digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        # As bytes, since numpy knows no bfloat16.
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
