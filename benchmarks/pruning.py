"""Exact global pruning against `torch.nn.utils.prune.global_unstructured`: time and memory.

python -m benchmarks.pruning                  110 million weights, five repeats (minutes)
python -m benchmarks.pruning 1000000 -r 3     another size
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

from benchmarks.timing import compare, interleave, peak_bytes, summary
from lthlib.lab.scores import score
from lthlib.lab.tickets import Ticket, prune

SPARSITY = 0.5
BASE_SIZE, LARGE_SIZE = 110_000_000, 340_000_000
"""Weights of BERT-base and of BERT-large."""
COMPARED_ON_CPU = 200_000_000
"""Above it torch's way needs 16 GB and a minute on a processor: only this library is measured."""
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


def measure(sizes: Sequence[int], repeats: int, device: str = "cpu") -> dict[str, Any]:
    """For each number of weights: seconds, their ratio, and the memory each needs above them.

    extra_bytes: on a CPU the peak of a process of its own that prunes, less the peak of one that
    only makes the weights; on a GPU what its allocator gave at most, less the weights. differing,
    differing_beyond_ties: on how many weights the masks differ.
    """
    return {
        str(size): _on_gpu(size, repeats) if device == "cuda" else _on_cpu(size, repeats)
        for size in sizes
    }


def _on_cpu(size: int, repeats: int) -> dict[str, Any]:
    ways = ("lthlib", "torch") if size <= COMPARED_ON_CPU else ("lthlib",)
    weights_alone = peak_bytes(make_weights, size)
    memory = {"lthlib": prune_with_lthlib, "torch": prune_with_torch}
    extra = {way: peak_bytes(memory[way], size) - weights_alone for way in ways}
    return {**_timed(make_weights(size), ways, repeats), "extra_bytes": extra}


def _on_gpu(size: int, repeats: int) -> dict[str, Any]:
    weights = {name: weight.cuda() for name, weight in make_weights(size).items()}
    extra: dict[str, int] = {}
    for way, function in (("lthlib", _pruned_in_place), ("torch", with_torch)):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function(weights)
        extra[way] = int(torch.cuda.max_memory_allocated()) - before
    weights = {name: weight.cuda() for name, weight in make_weights(size).items()}
    return {**_timed(weights, ("lthlib", "torch"), repeats), "extra_bytes": extra}


def _pruned_in_place(weights: Mapping[str, Tensor]) -> Ticket:
    return with_lthlib(weights, {name: weight.clone() for name, weight in weights.items()})


def _timed(weights: Mapping[str, Tensor], names: Sequence[str], repeats: int) -> dict[str, Any]:
    into = {name: weight.clone() for name, weight in weights.items()}
    gpu = next(iter(weights.values())).is_cuda

    def waited(way: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            way()
            if gpu:
                torch.cuda.synchronize()

        return run

    ways = {"lthlib": lambda: with_lthlib(weights, into), "torch": lambda: with_torch(weights)}
    seconds = interleave({name: waited(ways[name]) for name in names}, repeats)
    found = {
        "weights": sum(weight.numel() for weight in weights.values()),
        "sparsity": SPARSITY,
        "seconds": summary(seconds),
    }
    if "torch" in names:
        found |= _differing(weights, with_lthlib(weights, into), with_torch(weights))
        found |= compare(seconds, "lthlib", "torch")
    return found


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
