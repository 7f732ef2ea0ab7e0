"""Exact global pruning against `torch.nn.utils.prune.global_unstructured`: time and memory.

python -m benchmarks.pruning                  110 million weights, five repeats (minutes)
python -m benchmarks.pruning 1000000 -r 3     another size
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

from benchmarks.timing import compare, interleave, peak_bytes, summary
from lthlib.lab.scores import score
from lthlib.lab.tickets import Ticket, prune

SPARSITY = 0.5
BASE_SIZE = 110_000_000
ROWS, COLUMNS = 3072, 768


def make_weights(size: int) -> dict[str, Tensor]:
    """At least `size` normal weights, in matrices shaped like those of a base-size encoder."""
    generator = torch.Generator().manual_seed(0)
    columns = min(COLUMNS, size)
    rows = min(ROWS, -(-size // columns))
    count = -(-size // (rows * columns))
    return {
        f"layer{i:03d}.weight": torch.empty(rows, columns).normal_(0, 0.02, generator=generator)
        for i in range(count)
    }


def with_lthlib(weights: Mapping[str, Tensor], into: Mapping[str, Tensor]) -> Ticket:
    """Score, select and set to zero; `into` are the weights themselves, or a copy of them."""
    dense = Ticket.dense(weights)
    scores = score("low-magnitude", weights, weights, torch.Generator())
    ticket = prune(dense, scores, round(SPARSITY * dense.prunable), "global", {})
    ticket.apply_(into)
    return ticket


def with_torch(weights: Mapping[str, Tensor]) -> dict[str, nn.Module]:
    """The same with torch's own function, which leaves `weights` as they are."""
    modules = {name: nn.Module() for name in weights}
    for name, module in modules.items():
        module.weight = nn.Parameter(weights[name], requires_grad=False)
    torch_prune.global_unstructured(
        [(module, "weight") for module in modules.values()],
        pruning_method=torch_prune.L1Unstructured,
        amount=SPARSITY,
    )
    return modules


def measure(sizes: Sequence[int], repeats: int) -> dict[str, Any]:
    """For each number of weights: seconds, their ratio, and the memory each needs above them.

    extra_bytes: peak of a process of its own that prunes, less the peak of one that only makes
    the weights. differing, differing_beyond_ties: on how many weights the masks differ.
    """
    memory = {size: _extra_bytes(size) for size in sizes}
    return {str(size): {**_timed(size, repeats), "extra_bytes": memory[size]} for size in sizes}


def _timed(size: int, repeats: int) -> dict[str, Any]:
    weights = make_weights(size)
    into = {name: weight.clone() for name, weight in weights.items()}
    seconds = interleave(
        {"lthlib": lambda: with_lthlib(weights, into), "torch": lambda: with_torch(weights)},
        repeats,
    )
    return {
        "weights": sum(weight.numel() for weight in weights.values()),
        "sparsity": SPARSITY,
        **_differing(weights, with_lthlib(weights, into), with_torch(weights)),
        "seconds": summary(seconds),
        **compare(seconds, "lthlib", "torch"),
    }


def _differing(
    weights: Mapping[str, Tensor], ticket: Ticket, modules: Mapping[str, nn.Module]
) -> dict[str, int]:
    """On how many weights the two masks differ, and on how many that are no ties.

    Both prune the same number, but torch's top-k leaves open which of equal magnitudes go.
    """
    threshold = min(float(weights[n][m].abs().min()) for n, m in ticket.masks.items() if m.any())
    differing = beyond_ties = 0
    for name, mask in ticket.masks.items():
        theirs = modules[name].get_buffer("weight_mask").bool()
        odd = weights[name][mask != theirs].abs()
        differing += odd.numel()
        beyond_ties += int((odd != threshold).count_nonzero())
    return {"differing": differing, "differing_beyond_ties": beyond_ties}


def _extra_bytes(size: int) -> dict[str, int]:
    weights_alone = peak_bytes(make_weights, size)
    return {
        "lthlib": peak_bytes(prune_with_lthlib, size) - weights_alone,
        "torch": peak_bytes(prune_with_torch, size) - weights_alone,
    }


def prune_with_lthlib(size: int) -> None:
    """Make weights and prune them in place, for a process whose memory is watched."""
    weights = make_weights(size)
    with_lthlib(weights, weights)


def prune_with_torch(size: int) -> None:
    """Make weights and prune them with torch, for a process whose memory is watched."""
    with_torch(make_weights(size))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pruning", description=__doc__.split("\n")[0]
    )
    parser.add_argument("sizes", type=int, nargs="*", default=[BASE_SIZE], help="weights to prune")
    parser.add_argument("-r", "--repeats", type=int, default=5, help="timed turns of each way")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(json.dumps(measure(options.sizes, options.repeats), indent=1))


if __name__ == "__main__":
    main()
