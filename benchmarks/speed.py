"""How fast models train: this library against three peers, its own ways, and the machine's peak.

python -m benchmarks.speed [--small]     prints the part of the results that this module measures
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import peers
from benchmarks.shapes import vsr_lab
from benchmarks.timing import compare, interleave, peak_bytes, summary
from benchmarks.training import AMOUNTS, ladder_study, study_of
from lthlib.lab import models
from lthlib.lab.batches import Batches
from lthlib.lab.lottery import Lab
from lthlib.lab.together import Call, train_together
from lthlib.lab.training import deterministic, train
from lthlib.machine import cores
from lthlib.study import MODELS

Found = dict[str, Any]
FINE_TUNINGS = 390
"""Fine-tunings in the main source's study of VSR."""


# -- the machine --------------------------------------------------------------------------------
def measure_peak(device: str, small: bool) -> Found:
    """Most operations a second that a square matrix product reaches, by precision."""
    sides = (256, 512) if small else (1024, 2048) if device == "cpu" else (4096, 8192, 16384)
    kinds = [torch.float32] if device == "cpu" else [torch.float32, torch.bfloat16]
    return {
        str(kind).removeprefix("torch."): max(_products(side, kind, device) for side in sides)
        for kind in kinds
    }


def _products(side: int, kind: torch.dtype, device: str) -> float:
    a, b = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
    repeats = 10 if device == "cpu" else 30

    def multiply() -> None:
        for _ in range(repeats):
            a @ b
        wait(device)

    seconds = interleave({"product": multiply}, 5, warm_up=2)["product"]
    return 2.0 * side**3 * repeats / min(seconds)


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


# -- a training step ----------------------------------------------------------------------------
def measure_steps(device: str, small: bool) -> Found:
    """Seconds of an epoch of dense training in every way, tiny models on digits, base-size on VSR.

    A small check takes one tiny model for both.
    """
    gpu = device == "cuda"
    # Base-size items on a processor: a few batches only, or it would take an hour.
    how = {
        "tiny": (6400 if gpu else 1280, 64, 5),
        "base": (1920, 32, 3) if gpu else (24, 8, 2),
    }
    if small:
        return {size: {"uniter": _steps("uniter", size, device, 16, 8, 1, small)} for size in how}
    return {
        size: {name: _steps(name, size, device, *each) for name in MODELS}
        for size, each in how.items()
    }


def _lab(
    name: str, task: str, device: str, items: int, batch_size: int, kernels: str, small: bool
) -> Lab:
    how = {"kernels": kernels, "precision": "bfloat16" if device == "cuda" else "float32"}
    if task == "tiny":
        return Lab(study_of(name, items, "tiny", batch_size=batch_size, **how), 0, device)
    size = "tiny" if small else "base"
    return vsr_lab(name, items, device, size, batch_size=batch_size, **how)


def _steps(
    name: str,
    size: str,
    device: str,
    items: int,
    batch_size: int,
    repeats: int,
    small: bool = False,
) -> Found:
    """One model. `plain`, `fused`, `compiled` are this library's kernels; the rest are peers."""
    labs = {
        kernels: _lab(name, size, device, items, batch_size, kernels, small)
        for kernels in own_ways(device)
    }

    def way(kernels: str, train_one: peers.Way) -> Callable[[], float]:
        def timed() -> float:
            labs[kernels].rewind(labs[kernels].theta_0)
            # As each is used: studies are deterministic, the peers leave torch as it is.
            own = train_one is peers.ours
            with deterministic() if own else contextlib.nullcontext():
                wait(device)
                began = time.perf_counter()
                train_one(labs[kernels], None)
                wait(device)
                return time.perf_counter() - began

        return timed

    models.forget_compiled()
    ways = {kernels: way(kernels, peers.ours) for kernels in labs}
    ways |= {peer: way("plain", train_one) for peer, train_one in peers.THEIRS.items()}
    with peers.quietly():
        seconds = interleave(ways, repeats)
        memory = {each: _device_bytes(run, labs.values(), device) for each, run in ways.items()}
    flops = {
        kernels: flops_per_epoch(lab) for kernels, lab in labs.items() if kernels != "compiled"
    }
    usual = usual_kernels(size, device)
    return {
        "items": items,
        "batch_size": batch_size,
        "precision": labs[usual].study.precision,
        "usual": usual,
        "seconds": summary(seconds),
        "flops": flops,
        "against": {peer: compare(seconds, usual, peer) for peer in peers.THEIRS},
        "plain_against": {peer: compare(seconds, "plain", peer) for peer in peers.THEIRS},
        "kernels": {k: compare(seconds, k, "plain") for k in labs if k != "plain"},
        **({"device_bytes": memory} if device == "cuda" else {}),
    }


def own_ways(device: str) -> tuple[str, ...]:
    return ("plain", "fused", "compiled") if device == "cuda" else ("plain", "fused")


def usual_kernels(size: str, device: str) -> str:
    """What the presets use: plain kernels for tiny models on a processor, fused ones elsewhere."""
    return "plain" if size == "tiny" and device == "cpu" else "fused"


def _device_bytes(run: Callable[[], object], labs: Iterable[Lab], device: str) -> int:
    """What a way takes beside the models and items that lie there already."""
    if device != "cuda":
        return 0
    for lab in labs:
        lab.model.zero_grad()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    return int(torch.cuda.max_memory_allocated()) - before


def flops_per_epoch(lab: Lab) -> int:
    """Operations of matrix products in one epoch, forwards and backwards, padding included."""
    batches = Batches.of(lab.task.train.inputs, lab.device, lab.model.kernels)
    order = torch.arange(len(lab.task.train))
    lab.model.train()
    with FlopCounterMode(display=False) as counter:
        for _, batch in batches.in_order(order, lab.study.batch_size):
            lab.model(batch).sum().backward()
    lab.model.zero_grad()
    return int(counter.get_total_flops())


# -- the whole study of VSR ---------------------------------------------------------------------
def measure_vsr(device: str, small: bool) -> Found:
    """One base-size fine-tuning as the study of VSR has 390: three epochs of its training items.

    On a processor a few batches of it, and the rest by their number.
    """
    from benchmarks.shapes import VSR_EPOCHS, VSR_ITEMS, evaluation_share

    items = VSR_ITEMS if device == "cuda" and not small else 16
    found: dict[str, Found] = {}
    for name in MODELS[-1:] if small else MODELS:
        batch_size, kernels = min(32, items // 2), usual_kernels("base", device)
        lab = _lab(name, "base", device, items, batch_size, kernels, small)
        seconds = interleave({"epoch": _epoch(lab, device)}, 2)["epoch"]
        epoch = min(seconds) * VSR_ITEMS / items
        found[name] = {
            "items": items,
            "epoch_seconds": epoch,
            "fine_tuning_seconds": epoch * VSR_EPOCHS,
            "flops_per_second": flops_per_epoch(lab) / min(seconds),
            "precision": lab.study.precision,
            "whole": items == VSR_ITEMS,
        }
    mean = sum(each["fine_tuning_seconds"] for each in found.values()) / len(found)
    return {
        "models": found,
        "fine_tunings": FINE_TUNINGS,
        "study_seconds": FINE_TUNINGS * mean,
        "evaluation_share": evaluation_share(),
    }


def _epoch(lab: Lab, device: str) -> Callable[[], float]:
    def timed() -> float:
        with deterministic():
            wait(device)
            began = time.perf_counter()
            train(lab.model, lab.task, lab.study, 0)
            wait(device)
            return time.perf_counter() - began

    return timed


# -- a ladder -----------------------------------------------------------------------------------
def ladder(way: str, model: str, items: int, size: str = "tiny") -> None:
    """A whole ladder of the protocol as_published on the CPU, one way."""
    lab = Lab(ladder_study(model, items, size), 0)
    with peers.quietly():
        run_ladder(way, lab)


def run_ladder(way: str, lab: Lab) -> None:
    for amount in AMOUNTS:
        lab.rewind(lab.theta_0)
        peers.WAYS[way](lab, amount)


def measure_ladder(items: int, repeats: int, theirs: Sequence[str]) -> Found:
    """Seconds and memory of a tiny ladder on one core, in our way and these peers'."""
    found: Found = {}
    for model in MODELS[-1:] if items < 100 else MODELS:
        lab = Lab(ladder_study(model, items, "tiny"), 0)
        ways = {way: _ladder_way(way, lab) for way in ("ours", *theirs)}
        with peers.quietly():
            seconds = interleave(ways, repeats)
        found[model] = {
            "seconds": summary(seconds),
            "against": {peer: compare(seconds, "ours", peer) for peer in theirs},
            "peak_bytes": {way: peak_bytes(ladder, way, model, items) for way in ways},
        }
    return found


def _ladder_way(way: str, lab: Lab) -> Callable[[], None]:
    def run() -> None:
        with deterministic() if way == "ours" else contextlib.nullcontext():
            run_ladder(way, lab)

    return run


# -- all cores ----------------------------------------------------------------------------------
def measure_cores(items: int, repeats: int, hands: int, theirs: Sequence[str]) -> Found:
    """Ladders an hour of the whole machine: processes of one thread, or one process of all threads.

    Ours and the peers, each in both layouts: one process is how a peer is used, and processes tell
    what the layout does from what the loop does. Each process makes its lab, waits for the others,
    and then runs ladders: what is timed is from the first start to the last end, over the ladders
    that were run.
    """
    layouts = {
        "processes": ("ours", hands, 1),
        "threads": ("ours", 1, hands),
        **{peer: (peer, 1, hands) for peer in theirs},
        **{f"{peer}, processes": (peer, hands, 1) for peer in theirs},
    }
    found: Found = {}
    for model in MODELS[-1:] if items < 100 else MODELS:
        ways = {
            name: _crew(way, model, items, processes, threads)
            for name, (way, processes, threads) in layouts.items()
        }
        with contextlib.ExitStack() as stack:
            runs = {name: stack.enter_context(crew) for name, crew in ways.items()}
            seconds = interleave(runs, repeats)
        found[model] = {
            "seconds": summary(seconds),
            "against": {name: compare(seconds, "processes", name) for name in layouts if
                        name != "processes"},
        }  # fmt: skip
    return {"cores": hands, "models": found}


@contextlib.contextmanager
def _crew(
    way: str, model: str, items: int, processes: int, threads: int
) -> Iterator[Callable[[], float]]:
    """Waiting processes; each call lets all of them run a ladder: seconds by their number."""
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(processes)]
    crew = [
        context.Process(target=_hand, args=(way, model, items, threads, there), daemon=True)
        for _, there in pipes
    ]
    for process in crew:
        process.start()
    for here, _ in pipes:
        here.recv()  # ready

    def run() -> float:
        began = time.perf_counter()
        for here, _ in pipes:
            here.send("go")
        for here, _ in pipes:
            here.recv()
        return (time.perf_counter() - began) / processes

    try:
        yield run
    finally:
        for process in crew:
            process.terminate()
            process.join()


def _hand(way: str, model: str, items: int, threads: int, pipe: Any) -> None:
    torch.set_num_threads(threads)
    lab = Lab(ladder_study(model, items, "tiny"), 0)
    with peers.quietly(), deterministic(threads) if way == "ours" else contextlib.nullcontext():
        pipe.send("ready")
        while pipe.recv() == "go":
            run_ladder(way, lab)
            pipe.send("done")


# -- seeds at once ------------------------------------------------------------------------------
def measure_together(items: int, repeats: int, device: str, blocks: Sequence[int]) -> Found:
    """Tiny models trained at once against one after another: seconds of an epoch for each."""
    return {
        name: {str(count): _together(name, items, repeats, device, count) for count in blocks}
        for name in MODELS
    }


def _together(name: str, items: int, repeats: int, device: str, count: int) -> Found:
    study = study_of(name, items, "tiny")
    lab = Lab(study, 0, device)
    copies: list[models.VLModel] = [copy.deepcopy(lab.model) for _ in range(count)]

    def at_once() -> None:
        train_together([Call(model, lab.task, study, i) for i, model in enumerate(copies)])
        wait(device)

    def one_by_one() -> None:
        for seed, model in enumerate(copies):
            train(model, lab.task, study, seed)
        wait(device)

    with deterministic():
        seconds = interleave({"together": at_once, "one by one": one_by_one}, repeats)
    return {**summary(seconds), **compare(seconds, "together", "one by one")}


def parts(small: bool, device: str, hands: int) -> Mapping[str, Callable[[], Found]]:
    """All that this module measures, by the name it has among the results.

    A small check takes one peer, and one process, where each costs processes of its own.
    """
    items, repeats = (64, 1) if small else (1280, 7)
    theirs = tuple(peers.THEIRS)[: 1 if small else None]
    hands = 1 if small else min(hands, 8)
    blocks = (2,) if small else (2, 4, 8) if device == "cpu" else (2, 8, 32)
    return {
        "peak": lambda: measure_peak(device, small),
        "steps": lambda: measure_steps(device, small),
        "vsr": lambda: measure_vsr(device, small),
        "ladder": lambda: measure_ladder(items, repeats, theirs),
        "cores": lambda: measure_cores(items, max(1, repeats // 2), hands, theirs),
        "together": lambda: measure_together(items, max(1, repeats // 2), device, blocks),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed")
    parser.add_argument("--small", action="store_true", help="seconds, to check that all runs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    found = {name: run() for name, run in parts(options.small, device, cores()).items()}
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
