"""What sparsity buys: latency, memory and file size of pruned models against dense ones.

python -m benchmarks.savings            base and tiny size (some minutes on one core)
python -m benchmarks.savings --small    a check that everything runs (seconds)

On a CPU: dense, dense with zeros, compressed rows (CSR) and structured removal; file sizes, and how
many heads and neurons recorded tickets leave dead. On a GPU: dense, dense with zeros, structured
removal and 2:4, in float16. Masks are those of magnitude pruning; time does not hang on which
weights are left.
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import gc
import multiprocessing
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from benchmarks.memory import tree_bytes
from benchmarks.timing import compare, interleave, summary
from lthlib.errors import TicketError, in_one_line
from lthlib.lab import models
from lthlib.lab.coding import encode, entropy_bytes, export_ticket
from lthlib.lab.models import VLModel
from lthlib.lab.models.attention import fuse_attention
from lthlib.lab.models.model import Size
from lthlib.lab.scores import score
from lthlib.lab.shrink import count_dead, shrink, structured_ticket
from lthlib.lab.sparse import inputs_as, to_2_to_4, to_csr
from lthlib.lab.tasks import Inputs, Task, load
from lthlib.lab.tickets import Ticket, prune
from lthlib.records import Files, RecordStore, shipped_store, to_json
from lthlib.study import MODELS, reference

SPARSITIES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
REMOVED = (0.25, 0.5, 0.75)
"""Shares of the heads and neurons of each layer that structured removal takes out."""
ZEROS_AT = 0.9
BASE_MODEL = "uniter"
PUBLISHED_WORDS, PUBLISHED_FEATURES = 30_522, 2048
"""BERT's vocabulary and the length of published region features: 111 million weights."""
Row = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What is timed: a model of a size, at some sparsities, with turns for each batch size."""

    size: Size
    model: str
    sparsities: tuple[float, ...]
    turns: dict[int, int]
    warm_up: int = 1


def ladder() -> tuple[float, ...]:
    """The sparsities of the reference study's tickets, at which the book wants times and sizes."""
    return tuple(rung.sparsity for rung in reference("concluding")[0].rungs() if rung.level)


def plans(small: bool, device: str) -> list[Plan]:
    if small:
        return [Plan("tiny", model, (0.5, 0.9), {1: 2, 8: 2}) for model in MODELS]
    at = tuple(sorted({*SPARSITIES, *ladder()}))
    tiny = [Plan("tiny", model, at, {1: 21, 8: 21, 64: 9}) for model in MODELS]
    if device == "cuda":
        return [*tiny, Plan("base", BASE_MODEL, SPARSITIES, {1: 31, 8: 31, 64: 31, 512: 15}, 3)]
    # A turn of all ways at 64 items would take half a minute.
    return [*tiny, Plan("base", BASE_MODEL, SPARSITIES, {1: 9, 8: 5, 32: 2})]


def measure(small: bool, device: str) -> dict[str, Any]:
    """All that this module measures, as plain data; lists of rows.

    latency: seconds of one forward pass, by size, model, way, share and batch; ratio to dense.
    break_even: the sparsity at which CSR is as fast as dense, by interpolation.
    two_of_four: why there is no 2:4 here, or None.
    memory: bytes that a model holds, in a process of its own (CPU) or on the device.
    files: bytes of a pruned model in several forms, and the bound; dead: heads and neurons that
    tickets leave dead. Both hang on no device, and are measured where that is the CPU.
    """
    task = load("digits", train_items=16 if small else 512, validation_items=8, test_items=8)
    found: dict[str, Any] = {"latency": [], "memory": [], "files": [], "dead": []}
    for plan in plans(small, device):
        print(f"  {plan.model} at {plan.size} size", flush=True)
        found["latency"] += _latency(plan, task, device)
    found["break_even"] = break_even(found["latency"])
    found["two_of_four"] = refusal_of_2_to_4()
    found["memory"] = _memory(small, task, device)
    if device == "cpu":
        print("  files and what is dead", flush=True)
        files, dead = _at_size(small)
        found["files"] = [*files, *_files_of_starts(small, task), *_files_of_records()]
        found["dead"] = [*_dead_of_records(), *_dead_of_starts(small, task), *dead]
    return found


# -- models --------------------------------------------------------------------------------------
def make(name: str, size: Size, task: Task, device: str = "cpu") -> VLModel:
    """A model in evaluation mode; tiny ones from their pre-trained start, base ones at random."""
    model = models.build(
        name,
        size=size,
        vocabulary_size=len(task.vocabulary),
        feature_dim=task.feature_dim,
        outputs=task.outputs,
        seed=0,
    ).eval()
    if size == "tiny":
        models.load_start(model)
    fuse_attention(model)
    return model.to(device)


def masked_weights(model: VLModel, task: Task) -> dict[str, Tensor]:
    """The weights that a study would prune."""
    device = next(model.parameters()).device
    sample = task.train.inputs.take(torch.arange(8)).to(device)
    named = dict(model.named_parameters())
    return {name: named[name] for name in models.prunable_names(model, "encoder", sample)}


def pruned(weights: Mapping[str, Tensor], sparsity: float) -> Ticket:
    dense = Ticket.dense(weights)
    scores = score("low-magnitude", weights, weights, torch.Generator())
    return prune(dense, scores, round(sparsity * dense.prunable), "global", {})


def with_ticket(model: VLModel, ticket: Ticket) -> VLModel:
    masked = copy.deepcopy(model)
    ticket.apply_(dict(masked.named_parameters()))
    return masked


def make_way(way: str, share: float, dense: VLModel, weights: Mapping[str, Tensor]) -> VLModel:
    """A dense model turned one way; weights: those that are pruned, in float32."""
    if way == "structured":
        return shrink(with_ticket(dense, structured_ticket(dense, share))).model
    if way == "2:4":
        return to_2_to_4(dense)
    if way in ("zeros", "csr"):
        masked = with_ticket(dense, pruned(weights, share))
        return to_csr(masked) if way == "csr" else masked
    return dense


def ways_of(plan: Plan, device: str) -> list[tuple[str, float]]:
    """Way and share: sparsity, or share of the heads and neurons of each layer removed."""
    own = [("csr", sparsity) for sparsity in plan.sparsities]
    if device == "cuda":
        own = [("dense float32", 0.0)]
        if refusal_of_2_to_4() is None:
            own.append(("2:4", 0.5))
    removed = [("structured", share) for share in REMOVED]
    return [("dense", 0.0), ("zeros", ZEROS_AT), *own, *removed]


def all_ways(plan: Plan, task: Task, device: str) -> dict[tuple[str, float], VLModel]:
    """Every way of a plan; at tiny size also recorded tickets, less what is dead of them."""
    full = make(plan.model, plan.size, task, device)
    weights = masked_weights(full, task)
    dense = copy.deepcopy(full).half() if device == "cuda" else full
    made = {
        (way, share): make_way(way, share, full if way == "dense float32" else dense, weights)
        for way, share in ways_of(plan, device)
    }
    if plan.size == "tiny":
        for about, ticket in tickets_of(shipped_store()):
            is_first = (about["model"], about["task"]) == (plan.model, task.name)
            if is_first and ticket.zeros and ("removed", ticket.sparsity) not in made:
                made["removed", ticket.sparsity] = shrink(with_ticket(dense, ticket)).model
    return made


@cache
def refusal_of_2_to_4() -> str | None:
    """Why this machine has no 2:4, in one line; None where a small model went through."""
    try:
        task = load("digits", train_items=16, validation_items=8, test_items=8)
        model = to_2_to_4(
            make(BASE_MODEL, "tiny", task, "cuda" if torch.cuda.is_available() else "cpu")
        )
        inputs = inputs_as(task.train.inputs.take(slice(0, 8)).to("cuda"), torch.float16)
        with torch.inference_mode():
            if bool(model(inputs).isfinite().all()):
                return None
        return "its results are not finite"
    except (TicketError, RuntimeError, ValueError, TypeError) as error:
        # Kernels that a build of torch lacks for a GPU show when they are called.
        return in_one_line(error)


# -- latency -------------------------------------------------------------------------------------
def _latency(plan: Plan, task: Task, device: str) -> list[Row]:
    """Rows of one model: every way takes its turn, batch size by batch size."""
    made = all_ways(plan, task, device)
    inputs = task.train.inputs.to(device)
    rows: list[Row] = []
    for batch, turns in plan.turns.items():
        taken = inputs.take(torch.arange(batch, device=device) % len(inputs))
        calls = {
            f"{way}@{share!r}": _call(model, taken, device) for (way, share), model in made.items()
        }
        with torch.inference_mode():
            seconds = interleave(calls, turns, plan.warm_up)
        times = summary(seconds)
        for (way, share), name in zip(made, calls, strict=True):
            rows.append(
                {
                    "size": plan.size,
                    "model": plan.model,
                    "way": way,
                    "share": share,
                    "batch": batch,
                    "tokens": taken.text_mask.shape[1] + taken.region_mask.shape[1],
                    **times[name],
                    **compare(seconds, name, "dense@0.0"),
                }
            )
    return rows


def _call(model: VLModel, inputs: Inputs, device: str) -> Callable[[], None]:
    own = inputs_as(inputs, model.head.weight.dtype)

    def forward() -> None:
        model(own)
        if device == "cuda":
            torch.cuda.synchronize()

    return forward


def break_even(rows: Sequence[Row]) -> list[Row]:
    """Where CSR's time meets dense's: linear between the measured sparsities.

    By minima, which other programs on the machine touch least.

    sparsity is None where it is slower (or faster, at `first`) at every sparsity measured.
    """
    found = []
    keys = {(row["size"], row["model"], row["batch"]): None for row in rows if row["way"] == "csr"}
    for size, model, batch in keys:
        points = sorted(
            (row["share"], row["ratio_of_minima"])
            for row in rows
            if (row["size"], row["model"], row["batch"], row["way"]) == (size, model, batch, "csr")
        )
        found.append(
            {
                "size": size,
                "model": model,
                "batch": batch,
                "sparsity": _crossing(points),
                "first": points[0][0],
                "last": points[-1][0],
                "ratio_at_first": points[0][1],
                "ratio_at_last": points[-1][1],
            }
        )
    return found


def _crossing(points: Sequence[tuple[float, float]]) -> float | None:
    """The last place where the ratio falls to 1."""
    crossings = [
        x + (1 - a) / (b - a) * (y - x) for (x, a), (y, b) in pairwise(points) if a > 1 >= b
    ]
    return crossings[-1] if crossings and points[-1][1] <= 1 else None


# -- memory --------------------------------------------------------------------------------------
MEMORY_OF = (
    ("dense", 0.0), ("zeros", ZEROS_AT), ("csr", 0.5), ("csr", ZEROS_AT), ("structured", 0.5),
)  # fmt: skip


def _memory(small: bool, task: Task, device: str) -> list[Row]:
    size: Size = "tiny" if small else "base"
    if device == "cuda":
        return _memory_of_device(size, task)
    rows = []
    for way, share in MEMORY_OF[:1] if small else MEMORY_OF:
        # A process for each, so that none has what another left behind.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            held = pool.submit(held_bytes, size, way, share).result()
        rows.append(
            {"size": size, "model": BASE_MODEL, "way": way, "share": share, "held_bytes": held}
        )
    return rows


def held_bytes(size: Size, way: str, share: float) -> int:
    """Memory that a model holds after a forward pass, beyond what was there before (Linux)."""
    torch.set_num_threads(1)
    task = load("digits", train_items=16, validation_items=8, test_items=8)
    # What the first product and the first pass allocate for good belongs to no model.
    with torch.inference_mode():
        make(BASE_MODEL, "tiny", task)(task.train.inputs)
    before = settled_bytes()
    dense = make(BASE_MODEL, size, task)
    model = make_way(way, share, dense, masked_weights(dense, task))
    del dense
    with torch.inference_mode():
        model(task.train.inputs.take(slice(0, 8)))
    return settled_bytes() - before


def settled_bytes() -> int:
    """Anonymous memory after what is free was given back to the system."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    return tree_bytes()


def _memory_of_device(size: Size, task: Task) -> list[Row]:
    """What each model holds on the GPU, and the most that a pass of 64 items adds to it."""
    rows = []
    inputs = task.train.inputs.to("cuda").take(torch.arange(64, device="cuda") % len(task.train))
    made = all_ways(Plan(size, BASE_MODEL, (), {}), task, "cuda")
    while made:
        way, share = next(iter(made))
        model = made.pop((way, share))
        own = inputs_as(inputs, model.head.weight.dtype)
        with torch.inference_mode():
            model(own)  # what a first pass allocates for good counts to no model
            torch.cuda.synchronize()
            before = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            model(own)
        torch.cuda.synchronize()
        added = torch.cuda.max_memory_allocated() - before
        # Nothing is shared between models, so that what is freed with one is what it held.
        del model
        gc.collect()
        held = before - torch.cuda.memory_allocated()
        rows.append(
            {
                "size": size, "model": BASE_MODEL, "way": way, "share": share,
                "held_bytes": held, "pass_bytes": added,
            }
        )  # fmt: skip
    return rows


# -- files ---------------------------------------------------------------------------------------
def sizes_of(ticket: Ticket, weights: dict[str, Tensor], folder: Path) -> Row:
    """Bytes of a whole model, pruned by a ticket: written once, and in other forms by their parts.

    dense: as safetensors with its zeros; coded: :func:`lthlib.lab.coding.export_ticket`, written
    and measured; bits: the same with the masks as records keep them; csr: the same with indices of
    32 bits for each weight and each row in place of masks; bound: the same with masks at their
    entropy. code, entropy, bits_alone: masks alone.
    """
    exported = export_ticket(folder / "pruned.safetensors", ticket, weights)
    code = encode(ticket)
    kept = ticket.prunable - ticket.zeros
    rows = sum(mask.shape[0] + 1 for mask in ticket.masks.values())
    rest = exported - len(code)
    bits, entropy = len(ticket.to_bytes("")), entropy_bytes(ticket)
    return {
        "sparsity": ticket.sparsity,
        "weights": sum(value.numel() for value in weights.values()),
        "prunable": ticket.prunable,
        "kept": kept,
        "dense": _dense_bytes(weights, folder),
        "coded": exported,
        "coded_bfloat16": exported - 2 * kept,
        "bits": rest + bits,
        "csr": rest + 4 * kept + 4 * rows,
        "bound": rest + entropy,
        "code": len(code),
        "entropy": entropy,
        "bits_alone": bits,
    }


def _dense_bytes(weights: dict[str, Tensor], folder: Path) -> int:
    path = folder / "dense.safetensors"
    if not path.exists():
        safetensors.torch.save_file({n: v.contiguous() for n, v in weights.items()}, path)
    return path.stat().st_size


def _rows_of_files(
    weights: dict[str, Tensor], tickets: Sequence[Ticket], **about: Any
) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        return [{**about, **sizes_of(ticket, weights, Path(folder))} for ticket in tickets]


def _at_size(small: bool) -> tuple[list[Row], list[Row]]:
    """Files and dead units of a model of 111 million weights, drawn at random, layer by layer."""
    size: Size = "tiny" if small else "base"
    model = models.build(
        "visualbert",
        size=size,
        vocabulary_size=100 if small else PUBLISHED_WORDS,
        feature_dim=64 if small else PUBLISHED_FEATURES,
        outputs=2,
        seed=0,
    )
    weights = {name: value.detach() for name, value in model.named_parameters()}
    kinds = (torch.nn.Linear, torch.nn.Embedding)
    covered = {
        f"{path}.weight": weights[f"{path}.weight"]
        for path, module in model.named_modules()
        if isinstance(module, kinds) and path != "head"
    }
    for place, value in enumerate(covered.values()):
        # Layers of trained models differ in scale, and so in density once pruned as one.
        value.mul_(0.75 + 0.5 * (place % 5) / 4)
    about: Row = {"of": "drawn", "size": size, "model": "visualbert", "task": None}
    files: list[Row] = []
    dead: list[Row] = []
    for sparsity in (0.0, *SPARSITIES):
        ticket = pruned(covered, sparsity)
        files += _rows_of_files(weights, [ticket], **about)
        dead += _dead_rows(model, ticket, about)
    return files, dead


def _files_of_starts(small: bool, task: Task) -> list[Row]:
    """The pre-trained starts, pruned to the sparsities of the reference study's tickets."""
    rows = []
    for name in MODELS:
        model = make(name, "tiny", task)
        weights = {n: value.detach() for n, value in model.named_parameters()}
        covered = masked_weights(model, task)
        at = (0.5, 0.9) if small else sorted({*SPARSITIES, *ladder()})
        tickets = [pruned(covered, sparsity) for sparsity in (0.0, *at)]
        rows += _rows_of_files(weights, tickets, of="starts", size="tiny", model=name)
    return rows


def tickets_of(
    store: RecordStore, branches: Sequence[str] = ("main",)
) -> Iterator[tuple[Row, Ticket]]:
    """What each ticket of a store is, and the ticket: of runs that keep masks, as packs do not."""
    for run in store.runs():
        study = store.study(run)["study"]
        data = store.blob(run, "tickets.safetensors")
        keys = store.table("levels", [run])[["level", "branch"]].drop_duplicates()
        for level, branch in keys[keys["branch"].isin(branches)].itertuples(index=False):
            about = {
                **{name: study[name] for name in ("model", "size", "task")},
                "of": "recorded",
                "run": run,
                "level": int(level),
                "branch": branch,
            }
            prefix = f"level-{level:03d}/{branch}"
            yield about, Ticket.from_bytes(data, prefix=prefix)


def recorded(
    store: RecordStore, branches: Sequence[str] = ("main",)
) -> Iterator[tuple[Row, VLModel, Ticket]]:
    """The same with the model at its start."""
    starts: dict[tuple[str, str], VLModel] = {}
    for about, ticket in tickets_of(store, branches):
        key = (about["model"], about["task"])
        if key not in starts:
            task = load(about["task"], train_items=8, validation_items=8, test_items=8)
            starts[key] = make(about["model"], about["size"], task)
        yield about, starts[key], ticket


def _files_of_records() -> list[Row]:
    """Tickets that come with the project, with the start's values for the trained ones."""
    rows: list[Row] = []
    for about, model, ticket in recorded(shipped_store()):
        weights = {name: value.detach() for name, value in model.named_parameters()}
        rows += _rows_of_files(weights, [ticket], **about)
    return rows


# -- dead heads and neurons ----------------------------------------------------------------------
def _dead_of_records() -> list[Row]:
    """Tickets that come with the project, and random masks of the same sparsity."""
    rows: list[Row] = []
    for about, model, ticket in recorded(shipped_store(), ("main", "random-mask")):
        rows += _dead_rows(model, ticket, about)
    return rows


def _dead_of_starts(small: bool, task: Task) -> list[Row]:
    """Sparser than any recorded ticket: the pre-trained starts, pruned at once."""
    rows: list[Row] = []
    for name in MODELS:
        model = make(name, "tiny", task)
        covered = masked_weights(model, task)
        for sparsity in SPARSITIES[-2:] if small else SPARSITIES:
            about = {"of": "starts", "size": "tiny", "model": name, "task": task.name}
            rows += _dead_rows(model, pruned(covered, sparsity), about)
    return rows


def _dead_rows(model: VLModel, ticket: Ticket, about: Row) -> list[Row]:
    counts = count_dead(model, ticket)
    return [
        {**about, "sparsity": ticket.sparsity, "kind": kind, **numbers}
        for kind, numbers in counts.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.savings", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--small", action="store_true", help="seconds, to check that all runs")
    parser.add_argument("--out", type=Path, help="JSON file (default: print)")
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(1)
    # Not above: that module imports this one.
    from benchmarks.__main__ import measure as measure_parts

    part = {"savings": lambda: measure(options.small, device)}
    found = to_json(measure_parts(part, device, options.small))
    if options.out is None:
        print(found.decode())
    else:
        path = options.out.resolve()
        Files(path.parent).write(path.name, found)
        print(f"written to {path}")


if __name__ == "__main__":
    main()
