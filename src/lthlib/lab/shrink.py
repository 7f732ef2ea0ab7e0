"""Structured removal: attention heads and feed-forward neurons that are dead are taken out.

A unit is a head or a neuron. It is dead where all weights out of it are zero, so that nothing
reads it, or all weights into it are zero, so that it says the same whatever it is shown: a neuron
the activation of its bias; a head the bias of its values, whose weights in the average sum to one.
That constant goes into the bias that follows, and the smaller model answers as the larger one, up
to rounding, in evaluation (dropout would have dropped the constant now and then).

Heads are found by their query, key and value, neurons by their pair of linear maps, so that this
works on all three models. Embeddings, the pooler and the head of the task stay as they are.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lthlib.errors import TicketError
from lthlib.lab.models import VLModel
from lthlib.lab.tickets import Ticket

_ATTENTIONS = ("self", "att")
_PARTS = ("query", "key", "value")
_PAIRS = (("intermediate", "output"), ("lang_inter", "lang_output"), ("visn_inter", "visn_output"))


@dataclass(frozen=True)
class Site:
    """The heads of one attention, or the neurons of one feed-forward layer.

    name: path of the module; kind: "head" or "neuron"; into, out: paths of the linear maps whose
    rows lead into the units, and whose columns lead out; others: further maps with rows for each
    unit (query and key); total: how many units; width: rows of each.
    """

    name: str
    kind: str
    into: str
    out: str
    others: tuple[str, ...]
    total: int
    width: int

    def rows(self, weight: Tensor) -> Tensor:
        """The weights into each unit: [total, width * inputs]."""
        return weight.reshape(self.total, -1)

    def columns(self, weight: Tensor) -> Tensor:
        """The weights out of each unit: [total, outputs * width]."""
        return weight.t().reshape(self.total, -1)


class Shrunk(NamedTuple):
    """A smaller model, and how many units it lost, of how many, by kind."""

    model: VLModel
    removed: dict[str, int]
    total: dict[str, int]


def sites(model: VLModel) -> list[Site]:
    """Every attention and feed-forward layer of a model, in the model's order."""
    return [site for path, module in model.named_modules() for site in _sites_of(path, module)]


def _sites_of(path: str, module: nn.Module) -> Iterator[Site]:
    """The sites whose two sides are children of this module."""
    for name in _ATTENTIONS:
        attention: Any = getattr(module, name, None)
        if all(isinstance(getattr(attention, part, None), nn.Linear) for part in _PARTS):
            inner = f"{path}.{name}"
            yield Site(
                name=inner,
                kind="head",
                into=f"{inner}.value",
                out=f"{path}.output.dense",
                others=(f"{inner}.query", f"{inner}.key"),
                total=int(attention.num_attention_heads),
                width=int(attention.attention_head_size),
            )
    for first, second in _PAIRS:
        inner_map = getattr(getattr(module, first, None), "dense", None)
        if isinstance(inner_map, nn.Linear):
            names = (f"{path}.{first}.dense", f"{path}.{second}.dense")
            yield Site(f"{path}.{first}", "neuron", *names, (), inner_map.out_features, 1)


# -- what is dead --------------------------------------------------------------------------------
def dead_units(site: Site, weights: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Which units have only zeros into them, and which only zeros out: bool [total] each.

    weights: parameter name -> weights, or masks; a tensor that is absent has no zeros.
    """
    into, out = weights.get(f"{site.into}.weight"), weights.get(f"{site.out}.weight")
    alive = torch.zeros(site.total, dtype=torch.bool)
    return (
        alive if into is None else ~site.rows(into).bool().any(dim=1),
        alive if out is None else ~site.columns(out).bool().any(dim=1),
    )


def count_dead(model: VLModel, ticket: Ticket) -> dict[str, dict[str, float]]:
    """How many units a ticket leaves dead, by kind: total, dead, and expected by chance.

    Counted are units whose weights the ticket may prune: a layer that feeds nothing (LXMERT's last
    visual branch) has no mask, and belongs in no denominator.

    expected: the mean number under random masks with as many zeros in each tensor, to the first
    order in 1 / size: a unit with m weights of a tensor of which the share d is kept has none left
    with the chance (1 - d) ** m.
    """
    found: dict[str, dict[str, float]] = {}
    for site in sites(model):
        if not any(f"{path}.weight" in ticket.masks for path in (site.into, site.out)):
            continue
        into, out = dead_units(site, ticket.masks)
        counts = found.setdefault(site.kind, {"total": 0, "dead": 0, "expected": 0.0})
        counts["total"] += site.total
        counts["dead"] += int((into.to(out.device) | out).count_nonzero())
        counts["expected"] += site.total * _chance(site, ticket)
    return found


def _chance(site: Site, ticket: Ticket) -> float:
    alive = 1.0
    for path in (site.into, site.out):
        mask = ticket.masks.get(f"{path}.weight")
        if mask is not None:
            density = float(mask.float().mean())
            alive *= 1 - (1 - density) ** (mask.numel() / site.total)
    return 1 - alive


# -- removal -------------------------------------------------------------------------------------
@torch.no_grad()
def shrink(model: VLModel) -> Shrunk:
    """A copy of the model, in evaluation mode, without the units that are dead.

    One unit of each site stays even where all are dead, since layers of no units are not defined.
    The copy keeps the names of its parameters, in smaller shapes; it cannot be saved as a start.
    """
    small = copy.deepcopy(model).eval()
    removed, total = {"head": 0, "neuron": 0}, {"head": 0, "neuron": 0}
    weights = dict(small.named_parameters())
    for site in sites(small):
        into, out = dead_units(site, weights)
        keep = ~(into | out)
        if not keep.any():
            keep[0] = True
        _fold(small, site, into & ~keep)
        _keep(small, site, keep)
        removed[site.kind] += int((~keep).count_nonzero())
        total[site.kind] += site.total
    return Shrunk(small, removed, total)


def _fold(model: VLModel, site: Site, units: Tensor) -> None:
    """Put what constant units say into the bias that follows them."""
    into, out = _linear(model, site.into), _linear(model, site.out)
    says = into.bias
    if site.kind == "neuron":
        layer: Any = model.get_submodule(site.name)
        says = layer.intermediate_act_fn(says)
    constant = says * units.repeat_interleave(site.width)
    out.bias.add_(out.weight @ constant)


def _keep(model: VLModel, site: Site, units: Tensor) -> None:
    index = units.repeat_interleave(site.width).nonzero().flatten()
    for path in (site.into, *site.others):
        _narrow(_linear(model, path), rows=index)
    _narrow(_linear(model, site.out), columns=index)
    if site.kind == "head":
        attention: Any = model.get_submodule(site.name)
        attention.num_attention_heads = int(units.count_nonzero())
        # BERT's and VisualBERT's name for the same number, and LXMERT's.
        for name in ("all_head_size", "head_size"):
            if hasattr(attention, name):
                setattr(attention, name, len(index))


def _narrow(linear: nn.Linear, rows: Tensor | None = None, columns: Tensor | None = None) -> None:
    if rows is not None:
        linear.weight = nn.Parameter(linear.weight[rows].clone())
        linear.bias = nn.Parameter(linear.bias[rows].clone())
        linear.out_features = len(rows)
    if columns is not None:
        linear.weight = nn.Parameter(linear.weight[:, columns].contiguous())
        linear.in_features = len(columns)


def _linear(model: VLModel, path: str) -> nn.Linear:
    linear = model.get_submodule(path)
    assert isinstance(linear, nn.Linear), path
    return linear


# -- structured masks ----------------------------------------------------------------------------
@torch.no_grad()
def structured_ticket(model: VLModel, share: float) -> Ticket:
    """A ticket on purpose: in each site the `share` of units of the lowest norm, rounded, is dead.

    The norm of a unit is that of all weights into and out of it, queries and keys included. At
    least one unit of each site stays. Raises TicketError for a share outside [0, 1).
    """
    if not 0 <= share < 1:
        raise TicketError(f"share {share!r}: give the share of heads and neurons to remove, 0 to 1")
    weights = {name: value for name, value in model.named_parameters() if name.endswith("weight")}
    masks: dict[str, Tensor] = {}
    for site in sites(model):
        inner = [f"{path}.weight" for path in (site.into, *site.others)]
        outer = f"{site.out}.weight"
        squares = sum(site.rows(weights[name]).square().sum(dim=1) for name in inner)
        squares = squares + site.columns(weights[outer]).square().sum(dim=1)
        alive = torch.ones(site.total, dtype=torch.bool, device=squares.device)
        drop = min(round(share * site.total), site.total - 1)
        alive[squares.argsort(stable=True)[:drop]] = False
        units = alive.repeat_interleave(site.width)
        masks |= {name: units[:, None].expand_as(weights[name]).clone() for name in inner}
        masks[outer] = units.expand_as(weights[outer]).clone()
    return Ticket({name: masks[name] for name in weights if name in masks})
