"""Tickets: named boolean masks with exact counts, how they are pruned, compared, saved and read.

True means kept. A ticket only ever shrinks: :func:`prune` drops weights from a ticket and revives
none, and it drops exactly as many as asked, ties and zero weights included.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Generator, Tensor

from lthlib.errors import StudyError, TicketError, unknown
from lthlib.lab import selection

SCOPES = ("global", "layer", "modality")

Bits = NDArray[np.bool_]
Values = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Ticket:
    """One boolean mask per prunable tensor, True where a weight is kept.

    masks: parameter name -> bool tensor of that parameter's shape. Their order is the model's, and
        decides ties; nobody may change a mask in place.

    Raises TicketError for a mask that is not boolean: a float mask of 0.5 would scale weights.
    """

    masks: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        for name, mask in self.masks.items():
            if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
                kind = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
                raise TicketError(f"mask of {name}: {kind} where torch.bool belongs (True = kept)")
        object.__setattr__(self, "masks", MappingProxyType(dict(self.masks)))

    @classmethod
    def dense(cls, parameters: Mapping[str, Tensor]) -> Ticket:
        """The ticket that keeps every weight of `parameters`, on their devices."""
        return cls({n: torch.ones_like(p, dtype=torch.bool) for n, p in parameters.items()})

    # -- counts ---------------------------------------------------------------------------------
    @property
    def shapes(self) -> dict[str, list[int]]:
        return {name: list(mask.shape) for name, mask in self.masks.items()}

    @property
    def prunable(self) -> int:
        """Number of weights that the masks cover."""
        return sum(mask.numel() for mask in self.masks.values())

    @property
    def zeros(self) -> int:
        """Number of pruned weights."""
        return self.prunable - self._kept()

    @property
    def sparsity(self) -> float:
        """Share of prunable weights that are pruned, in [0, 1]; 0 where nothing is prunable."""
        return self.zeros / max(self.prunable, 1)

    def density(self, names: Iterable[str] | None = None) -> float:
        """Share of weights kept, of all prunable ones or of the named tensors, in [0, 1].

        Raises TicketError for a name without a mask.
        """
        chosen = self if names is None else self._only(names)
        return 1.0 - chosen.sparsity

    def counts_by_group(self, groups: Mapping[str, str]) -> dict[str, tuple[int, int]]:
        """Group -> (zeros, prunable).

        groups: parameter name -> group; it may name more parameters than the ticket masks. Raises
        TicketError for a mask without a group.
        """
        parts = {g: self._only(names) for g, names in _by_group(self.masks, groups).items()}
        return {group: (part.zeros, part.prunable) for group, part in parts.items()}

    def _kept(self) -> int:
        return sum(int(mask.count_nonzero()) for mask in self.masks.values())

    def _only(self, names: Iterable[str]) -> Ticket:
        try:
            return Ticket({name: self.masks[name] for name in names})
        except KeyError as error:
            raise TicketError(f"the ticket has no mask of {error}") from None

    # -- use ------------------------------------------------------------------------------------
    @torch.no_grad()
    def apply_(self, parameters: Mapping[str, Tensor]) -> None:
        """Set pruned weights to +0.0 in place; survivors keep their bits.

        parameters: name -> tensor, on any device; may hold more than the ticket masks. Multiplying
        instead would leave -0.0, and turn inf into nan. Raises TicketError, before anything
        changes, for a missing name or another shape.
        """
        self._check_fits(parameters, "parameters")
        for name, mask in self.masks.items():
            weight = parameters[name]
            weight.masked_fill_(~mask.to(weight.device), 0.0)

    def _check_fits(self, tensors: Mapping[str, Tensor], what: str) -> None:
        for name, mask in self.masks.items():
            if name not in tensors:
                raise TicketError(f"{what}: {name!r} is missing, which the ticket masks")
            if tensors[name].shape != mask.shape:
                raise TicketError(
                    f"{what}: {name!r} has shape {list(tensors[name].shape)}, and its mask "
                    f"{list(mask.shape)}; the ticket was made for another model"
                )

    def _check_same_names(self, tensors: Mapping[str, Tensor], what: str) -> None:
        self._check_fits(tensors, what)
        odd = next((name for name in tensors if name not in self.masks), None)
        if odd is not None:
            raise TicketError(f"{what}: the ticket has no mask of {odd!r}")

    # -- sets -----------------------------------------------------------------------------------
    def __eq__(self, other: object) -> bool:
        """Same names, same shapes, same masks."""
        if not isinstance(other, Ticket) or self.shapes != other.shapes:
            return False
        return all(torch.equal(m, other.masks[n].to(m.device)) for n, m in self.masks.items())

    __hash__ = None  # type: ignore[assignment]

    def __and__(self, other: Ticket) -> Ticket:
        """What both tickets keep."""
        return Ticket({n: a & b for n, a, b in self._pairs(other)})

    def __or__(self, other: Ticket) -> Ticket:
        """What either ticket keeps."""
        return Ticket({n: a | b for n, a, b in self._pairs(other)})

    def is_within(self, other: Ticket) -> bool:
        """Whether `other` keeps every weight that this ticket keeps."""
        return not any(bool((a & ~b).any()) for _, a, b in self._pairs(other))

    def iou(self, other: Ticket) -> float:
        """Intersection over union of the kept weights, in [0, 1]; 1 if both keep nothing."""
        either = (self | other)._kept()
        return (self & other)._kept() / either if either else 1.0

    def expected_iou(self, other: Ticket) -> float:
        """What `iou` would be by chance: two random masks of these sizes.

        The intersection of a and b weights out of n, drawn blindly, is hypergeometric with mean
        ab/n; the ratio of expectations, (ab/n) / (a + b - ab/n), differs from the expected ratio by
        O(1/n). At equal density rho it is rho / (2 - rho).
        """
        self._check_same_names(other.masks, "other ticket")
        a, b = self._kept(), other._kept()
        both = a * b / max(self.prunable, 1)
        return both / (a + b - both) if a + b else 1.0

    def _pairs(self, other: Ticket) -> list[tuple[str, Tensor, Tensor]]:
        self._check_same_names(other.masks, "other ticket")
        return [(n, m, other.masks[n].to(m.device)) for n, m in self.masks.items()]

    # -- files ----------------------------------------------------------------------------------
    def to_bytes(self, start_sha256: str, prefix: str = "ticket") -> bytes:
        """A file that holds this ticket alone; see :func:`merge_tickets`."""
        return merge_tickets({prefix: self}, start_sha256)

    @classmethod
    def from_bytes(
        cls, data: bytes, *, prefix: str = "ticket", start_sha256: str | None = None
    ) -> Ticket:
        """Read the ticket saved under `prefix`, on the CPU.

        start_sha256: if given, a ticket that belongs to other start weights is refused.

        Raises TicketError for a damaged file (each ticket carries its own SHA-256), another
        format, an unknown prefix, or another start.
        """
        about, arrays = _open(data)
        if prefix not in about["sha256"]:
            raise TicketError(unknown("ticket", prefix, about["sha256"]))
        if start_sha256 is not None and about["start_sha256"] != start_sha256:
            raise TicketError(
                f"ticket {prefix} belongs to the start weights {about['start_sha256'][:12]}, not "
                f"to {start_sha256[:12]}; load those, or find the ticket anew"
            )
        try:
            packed = {name: arrays[f"{prefix}/{name}"] for name in about["shapes"]}
            sound = _digest(about, prefix, packed) == about["sha256"][prefix]
        except (KeyError, TypeError):
            sound = False
        if not sound:
            raise _damaged(f"the SHA-256 of {prefix} does not match its content")
        return cls({name: _unpack(packed[name], shape) for name, shape in about["shapes"].items()})


# -- pruning ------------------------------------------------------------------------------------
def prune(
    ticket: Ticket,
    scores: Mapping[str, Tensor],
    zeros: int,
    scope: str,
    groups: Mapping[str, str],
) -> Ticket:
    """Drop the lowest scores among the weights that `ticket` keeps, until exactly `zeros` are gone.

    scores: one floating tensor per mask; larger = kept longer. Those of pruned weights are ignored.
    scope: "global" (one threshold for all weights), "layer" (the same sparsity in each tensor) or
        "modality" (the same sparsity in each of `groups`). In the last two, whole numbers are
        given to the largest remainders, so that the total is exact; a part that is sparser
        already stays as it is.
    groups: parameter name -> group, read by "modality" alone; it may hold more names.

    Equal scores go in the order of their position: the first tensor first, the lowest flat index
    first. Selection is exact and runs where the scores lie, so that its result does not depend on
    the device: on a CPU it copies a hundredth of the scores, on a GPU the largest tensor's. Masks
    stay on their devices.

    Raises TicketError for scores that do not fit or are not numbers, for fewer zeros than there are
    already, or more than there are weights; StudyError for an unknown scope.
    """
    ticket._check_same_names(scores, "scores")
    parts = _parts(ticket.masks, scope, groups)
    before = [ticket._only(names) for names in parts]
    if not ticket.zeros <= zeros <= ticket.prunable:
        raise TicketError(
            f"cannot prune to {zeros} zeros: the ticket has {ticket.zeros} already, "
            f"of {ticket.prunable} prunable weights, and pruning revives none"
        )
    wanted = share_out(zeros, [part.prunable for part in before], [part.zeros for part in before])
    masks: dict[str, Tensor] = {}
    for part, count in zip(before, wanted, strict=True):
        kept = _keep(part.masks, scores, count - part.zeros)
        for (name, mask), bits in zip(part.masks.items(), kept, strict=True):
            masks[name] = bits.reshape(mask.shape).to(mask.device)
    return Ticket({name: masks[name] for name in ticket.masks})


def _keep(masks: Mapping[str, Tensor], scores: Mapping[str, Tensor], drop: int) -> list[Tensor]:
    """Flat masks less the `drop` lowest scores, found on the GPU where all scores lie on one."""
    for name in masks:
        _check_scores(name, scores[name], masks[name])
    devices = {scores[name].device for name in masks}
    if len(devices) == 1 and (device := devices.pop()).type == "cuda":
        flat = [scores[name].detach().reshape(-1) for name in masks]
        # Halves and bfloat16 become float32 without loss; float64 would not.
        if all(score.dtype != torch.float64 for score in flat):
            bits = [mask.reshape(-1).to(device) for mask in masks.values()]
            return selection.keep_largest([score.float() for score in flat], bits, drop)
    kept = keep_largest(
        [_values(scores[name]) for name in masks],
        [mask.reshape(-1).cpu().numpy() for mask in masks.values()],
        drop,
    )
    return [torch.from_numpy(bits) for bits in kept]


def keep_largest(scores: Sequence[Values], masks: Sequence[Bits], drop: int) -> list[Bits]:
    """The masks less the `drop` lowest of the scores that they keep; a new array for each.

    scores and masks are flat, pairs of equal length; scores hold no NaN where they are kept. The
    result is that of a full stable sort, at the cost of reading them a few times: find the
    threshold, drop all that lie below, and of those that equal it the first few.
    """
    if drop == 0:
        return [mask.copy() for mask in masks]
    threshold, ties = _threshold(scores, masks, drop)
    result = []
    for values, mask in zip(scores, masks, strict=True):
        kept = mask & (values >= threshold)
        if ties > 0:
            equal = kept & (values == threshold)
            found = int(np.count_nonzero(equal))
            if found > ties:
                # The cut falls inside this tensor: what equals the threshold after it stays.
                equal[np.flatnonzero(equal)[ties] :] = False
            kept &= ~equal
            ties -= min(ties, found)
        result.append(kept)
    return result


SAMPLE = 1 << 20
"""Scores that tell about where the threshold lies."""


def _threshold(scores: Sequence[Values], masks: Sequence[Bits], drop: int) -> tuple[float, int]:
    """The `drop`-th lowest kept score, and how many scores equal to it have to go.

    As Floyd and Rivest (1975) select: a sample brackets the threshold, and only what lies in the
    bracket, a hundredth, is copied and looked at. A sample that misled costs time and no more.
    """
    pool, below = _between(scores, masks, *_bracket(scores, masks, drop))
    if not below < drop <= below + len(pool):
        pool, below = _between(scores, masks, -np.inf, np.inf)
    last = drop - below - 1
    pool.partition(last)
    threshold: float = pool[last]
    return threshold, last + 1 - int(np.count_nonzero(pool[: last + 1] < threshold))


def _bracket(scores: Sequence[Values], masks: Sequence[Bits], drop: int) -> tuple[Any, Any]:
    """Two scores between which the `drop`-th lowest kept one most likely lies.

    As numpy's scalars: compared with a Python float, float32 would round a float64 score.
    """
    total = sum(int(np.count_nonzero(mask)) for mask in masks)
    # An odd step, so that it does not keep to a few columns of a matrix.
    step = total // SAMPLE | 1
    pairs = zip(scores, masks, strict=True)
    sample = np.sort(np.concatenate([values[::step][mask[::step]] for values, mask in pairs]))
    # Five standard deviations of a place that is drawn at random.
    place, margin = drop / total * len(sample), 2.5 * len(sample) ** 0.5
    low, high = int(place - margin), int(place + margin) + 1
    return (
        sample[low] if 0 <= low < len(sample) else -np.inf,
        sample[high] if high < len(sample) else np.inf,
    )


def _between(
    scores: Sequence[Values], masks: Sequence[Bits], low: Any, high: Any
) -> tuple[Values, int]:
    """A copy of the kept scores from `low` to `high`, and how many kept ones lie below."""
    below, parts = 0, []
    for values, mask in zip(scores, masks, strict=True):
        inside = mask & (values >= low)
        below += int(np.count_nonzero(mask)) - int(np.count_nonzero(inside))
        inside &= values <= high
        parts.append(values[inside])
    return np.concatenate(parts), below


def share_out(total: int, sizes: Sequence[int], least: Sequence[int]) -> list[int]:
    """Whole numbers that sum to `total`, each the same share of its size and none under `least`.

    Largest remainders get what rounding leaves over, earlier ones first among equals. Where the
    common share lies under a `least`, that one stays at it and the others share the rest.

    >>> share_out(5, [4, 4, 2], [0, 0, 0]), share_out(5, [4, 4, 2], [3, 0, 0])
    ([2, 2, 1], [3, 1, 1])
    """
    fixed: set[int] = set()
    while True:
        open_ = [i for i in range(len(sizes)) if i not in fixed]
        rest = total - sum(least[i] for i in fixed)
        size = max(sum(sizes[i] for i in open_), 1)
        short = {i for i in open_ if rest * sizes[i] < least[i] * size}
        if not short:
            break
        fixed |= short
    shares = list(least)
    for i in open_:
        shares[i] = rest * sizes[i] // size
    by_remainder = sorted(open_, key=lambda i: rest * sizes[i] % size, reverse=True)
    for i in by_remainder[: total - sum(shares)]:
        shares[i] += 1
    return shares


def _parts(names: Iterable[str], scope: str, groups: Mapping[str, str]) -> list[list[str]]:
    """Names of the tensors that share one threshold, part by part."""
    if scope == "global":
        return [list(names)]
    if scope == "layer":
        return [[name] for name in names]
    if scope == "modality":
        return list(_by_group(names, groups).values())
    raise StudyError(unknown("scope", scope, SCOPES))


def _by_group(names: Iterable[str], groups: Mapping[str, str]) -> dict[str, list[str]]:
    result: dict[str, list[str]] = {}
    for name in names:
        if name not in groups:
            raise TicketError(f"no group is given for {name!r}, which the ticket masks")
        result.setdefault(groups[name], []).append(name)
    return result


def _check_scores(name: str, score: Tensor, mask: Tensor) -> None:
    if not score.is_floating_point():
        raise TicketError(f"scores of {name}: {score.dtype} where floating point belongs")
    strange = score.detach().isnan()
    if strange.any() and (strange := strange & mask.to(strange.device)).any():
        raise TicketError(
            f"scores of {name}: {int(strange.count_nonzero())} of {score.numel()} are not a "
            "number; the weights they come from have diverged"
        )


def _values(score: Tensor) -> Values:
    """A tensor's scores as a flat array: a view where they are float32 or float64 on the CPU."""
    score = score.detach().cpu().reshape(-1)
    if score.dtype not in (torch.float32, torch.float64):
        score = score.float()
    values: Values = score.numpy()
    return values


# -- branches, and the guard against collapse ---------------------------------------------------
def random_mask(ticket: Ticket, generator: Generator, zeros: int | None = None) -> Ticket:
    """`zeros` (as many as `ticket` has) anywhere among all prunable weights, with equal chance."""
    scores = {
        name: torch.rand(mask.shape, generator=generator, device=generator.device)
        for name, mask in ticket.masks.items()
    }
    wanted = ticket.zeros if zeros is None else zeros
    return prune(Ticket.dense(ticket.masks), scores, wanted, "global", {})


def shuffled_mask(ticket: Ticket, generator: Generator) -> Ticket:
    """Each mask permuted within its tensor: every layer keeps its sparsity, none its choice.

    The layer-wise shuffling of Frankle et al. (2021, "Pruning Neural Networks at Initialization").
    """

    def shuffle(mask: Tensor) -> Tensor:
        order = torch.randperm(mask.numel(), generator=generator, device=generator.device)
        return mask.reshape(-1)[order.to(mask.device)].reshape(mask.shape)

    return Ticket({name: shuffle(mask) for name, mask in ticket.masks.items()})


def collapsed(
    ticket: Ticket, groups: Mapping[str, str], modalities: Sequence[str], least: float = 0.01
) -> tuple[str, ...]:
    """The modalities of which less than the share `least` is left, in the order given.

    Global pruning can wipe out one modality whole, and then the model no longer sees or reads what
    its accuracy seems to rest on. A modality without prunable weights cannot collapse.
    """
    counts = ticket.counts_by_group(groups)
    return tuple(
        modality
        for modality in modalities
        if modality in counts and _share_left(*counts[modality]) < least
    )


def _share_left(zeros: int, prunable: int) -> float:
    return (prunable - zeros) / prunable if prunable else 1.0


# -- files --------------------------------------------------------------------------------------
FORMAT = 1
_ABOUT = "lthlib.tickets"


def merge_tickets(tickets: Mapping[str, Ticket], start_sha256: str) -> bytes:
    """Pack tickets of one model into one safetensors file: a bit for each weight.

    tickets: prefix -> ticket; a mask is stored as `<prefix>/<parameter>`, uint8, its bits in C
        order from the lowest bit of the first byte.
    start_sha256: names the weights that the tickets belong to, a mask being half a ticket.

    Equal tickets give equal bytes. The metadata is one JSON text, since safetensors writes several
    entries in random order; it holds the format, the start, the shapes (their order is the
    ticket's) and a SHA-256 for each ticket. Raises TicketError if the tickets differ in shapes, or
    if there is none.
    """
    shapes = next((ticket.shapes for ticket in tickets.values()), None)
    if shapes is None:
        raise TicketError("there is no ticket to save")
    about: dict[str, Any] = {"format": FORMAT, "start_sha256": start_sha256, "shapes": shapes}
    arrays: dict[str, NDArray[np.uint8]] = {}
    digests: dict[str, str] = {}
    for prefix, ticket in tickets.items():
        if list(ticket.shapes.items()) != list(shapes.items()):
            raise TicketError(
                f"ticket {prefix} masks another model than {next(iter(tickets))}; save it in a "
                "file of its own"
            )
        packed = {name: _pack(mask) for name, mask in ticket.masks.items()}
        digests[prefix] = _digest(about, prefix, packed)
        arrays |= {f"{prefix}/{name}": bits for name, bits in packed.items()}
    metadata = {_ABOUT: json.dumps({**about, "sha256": digests}, separators=(",", ":"))}
    return bytes(safetensors.numpy.save(arrays, metadata=metadata))


def _open(data: bytes) -> tuple[dict[str, Any], dict[str, NDArray[np.uint8]]]:
    """What a file says about itself, and its arrays."""
    try:
        arrays = safetensors.numpy.load(data)
        length = int.from_bytes(data[:8], "little")
        about = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][_ABOUT])
        found = about["format"]
        keys = {"format", "start_sha256", "shapes", "sha256"}
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise _damaged(str(error) if isinstance(error, SafetensorError) else "no header") from None
    if found != FORMAT:
        raise TicketError(
            f"ticket file of format {found}, and this version reads format {FORMAT}: read it with "
            "the version that wrote it"
        )
    if set(about) != keys:
        raise _damaged("the header is incomplete")
    return about, arrays


def _digest(about: Mapping[str, Any], prefix: str, packed: Mapping[str, NDArray[np.uint8]]) -> str:
    """SHA-256 of all that a ticket is: format, start, prefix, names, shapes in order, and bits."""
    fields = [about["format"], about["start_sha256"], prefix, list(about["shapes"].items())]
    digest = hashlib.sha256(json.dumps(fields).encode())
    for name, bits in packed.items():
        digest.update(f"{name} {bits.dtype} {bits.shape}".encode())
        digest.update(bits.tobytes())
    return digest.hexdigest()


def _pack(mask: Tensor) -> NDArray[np.uint8]:
    return np.packbits(mask.reshape(-1).cpu().numpy(), bitorder="little")


def _unpack(bits: NDArray[np.uint8], shape: Sequence[int]) -> Tensor:
    flat = np.unpackbits(bits, count=math.prod(shape), bitorder="little")
    return torch.from_numpy(flat.view(np.bool_)).reshape(tuple(shape))


def _damaged(what: str) -> TicketError:
    return TicketError(f"damaged ticket file: {what}; restore it, or run its level again")
