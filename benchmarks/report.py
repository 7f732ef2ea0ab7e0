"""The report as records grow: time and memory of verifying, reading, measuring and judging them.

python -m benchmarks.report            100, 1,000 and 10,000 runs (some minutes, 6 GB of disk)
python -m benchmarks.report --small    seconds

Runs are made up after those of the preset `quick` that come with the repository: the same files,
with as many levels, branches, stages and test items, and answers drawn anew for each. So they take
as long to read as real ones, and their numbers mean nothing.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.memory import tree_bytes, watched
from lthlib.packs import pack, store_at
from lthlib.records import Files, RecordStore, shipped_store, to_json, to_parquet, write_sealed
from lthlib.report.judgement import verdicts
from lthlib.report.reading import processes, read_many
from lthlib.study import Study, plan

SEEDS = 10
SIZES, SMALL = (100, 1_000, 10_000), (30, 60)
MOST_PACKED = 1_000
"""Packs are made slowly, so that they can be read fast: of no more runs than these."""
STEPS = ("verify", "read", "judge")
RUNS, PACKS = "runs", "packs"


# -- records, made up --------------------------------------------------------------------------
class Scratch(Files):
    """Files that need not survive a power cut, and so are written without waiting for the disk."""

    def write(self, name: str, data: bytes) -> None:
        path = Path(self.path(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


@lru_cache
def studies(runs: int) -> tuple[Study, ...]:
    """So many runs of ten seeds each: the studies of `quick` on digits, at many learning rates."""
    patterns = [study for study in plan("quick") if study.task == "digits"]
    return tuple(
        Study.build(
            patterns[number % len(patterns)].model_dump()
            | {"seeds": list(range(SEEDS)), "learning_rate": round(1e-3 + 1e-6 * number, 9)}
        )
        for number in range(runs // SEEDS)
    )


@lru_cache
def _template(run: str) -> tuple[dict[str, Any], dict[str, pd.DataFrame], bytes]:
    """study.json, tables and tickets of a shipped run."""
    store = shipped_store()
    tables = {
        name: store.table(name, [run]) for name in ("levels", "predictions", "training", "curves")
    }
    return store.study(run), tables, store.blob(run, "tickets.safetensors")


def _write_run(files: Files, study: Study, seed: int, shipped: Sequence[str]) -> None:
    """One run after a shipped one of its model, its margins disturbed by noise of its own."""
    name = study.run_id(seed)
    about, tables, tickets = _template(shipped[seed % len(shipped)])
    draw = np.random.default_rng([int(study.hash, 16), seed])
    about = {**about, "run": name, "seed": seed, "hash": study.hash, "study": study.settings()}
    blobs = {"study.json": to_json(about)}
    for table, frame in tables.items():
        made = _disturbed(frame, draw) if table == "predictions" else frame
        blobs[f"{table}.parquet"] = to_parquet(made.assign(run=name))
    # A tenth of the masks' bytes, behind the header that says which is where.
    begin = 8 + int.from_bytes(tickets[:8], "little")
    whole = np.frombuffer(tickets, dtype=np.uint8).copy()
    places = draw.integers(begin, len(whole), size=len(whole) // 10)
    whole[places] = draw.integers(256, size=len(places))
    blobs["tickets.safetensors"] = whole.tobytes()
    write_sealed(files, name, blobs, {"run": name})


def _disturbed(frame: pd.DataFrame, draw: np.random.Generator) -> pd.DataFrame:
    """Two logits moved apart or together by a number per item, and as much per answer."""
    logits = np.stack(frame["logits"].to_list())
    item = pd.factorize(frame["item"])[0]
    noise = draw.normal(size=item.max() + 1)[item] + draw.normal(size=len(frame))
    logits[:, 1] += noise.astype(np.float32)
    answers = (logits[:, 1] > logits[:, 0]).astype(np.int8)
    held = pd.Series(list(logits), index=frame.index, dtype=object)
    return frame.assign(prediction=answers, logits=held)


def write_study(folder: Path, study: Study, packed: bool) -> None:
    """Ten runs, and the pack of them."""
    shipped = shipped_store()
    like = next(s for s in plan("quick") if (s.model, s.task) == (study.model, study.task))
    files, key = Scratch(folder / RUNS), shipped.study(like.run_ids()[0])["items"]
    store = RecordStore(files.url)
    if not files.exists(f"items/{key}/manifest.json"):
        store.write_items(key, shipped.items(key))
    for seed in study.seeds:
        _write_run(files, study, seed, like.run_ids())
    if packed:
        pack(study.run_ids(), store, Scratch(folder / PACKS))


# -- time and memory ---------------------------------------------------------------------------
def report(url: Path, runs: int, workers: int) -> dict[str, Any]:
    """What a report does with so many runs: check them all, read and measure them, judge them."""
    store, asked = store_at(url), studies(runs)
    found: dict[str, Any] = {"before_bytes": tree_bytes()}
    with watched() as found["verify"]:
        damaged = store.damaged(run for study in asked for run in study.run_ids())
    assert not damaged
    with watched() as found["read"]:
        readings = read_many(asked, store, workers=workers)
    with watched() as found["judge"]:
        judged = verdicts.judge(readings)
    assert len(judged.scored["run"].unique()) == runs
    steps = [found[name] for name in STEPS]
    found["seconds"] = sum(step["seconds"] for step in steps)
    found["peak_bytes"] = max(step["peak_bytes"] for step in steps)
    return found


def _send(pipe: Any, *what: Any) -> None:
    pipe.send(report(*what))


def in_a_process_of_its_own(*what: Any) -> dict[str, Any]:
    """:func:`report`, whose memory is then its alone."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, *what))
    process.start()
    sender.close()
    try:
        found: dict[str, Any] = receiver.recv()
    except EOFError:
        raise RuntimeError(f"a report of {what[1]} runs died before it was measured") from None
    process.join()
    return found


def growth(found: Mapping[str, Mapping[str, float]], name: str) -> float | None:
    """The exponent with which a number grows with the runs: the slope in logarithms.

    None for a single number of runs. 1 is linear.
    """
    if len(found) < 2:
        return None
    runs = np.log([int(count) for count in found])
    return float(np.polyfit(runs, np.log([each[name] for each in found.values()]), 1)[0])


def form(folder: Path) -> dict[str, Any]:
    """How large one made-up run is."""
    store, study = RecordStore(folder / RUNS), studies(SEEDS)[0]
    answers = store.answers(study.run_ids()[:1])
    files = store.manifest(study.run_ids()[0])["files"]
    records = answers[["level", "branch", "stage"]].drop_duplicates()
    return {
        "seeds": SEEDS,
        "levels": int(records["level"].nunique()),
        "records": len(records),
        "items": int(answers["item"].nunique()),
        "decisions": len(answers),
        "bytes": sum(file["bytes"] for file in files.values()),
    }


def measure(small: bool = False) -> dict[str, Any]:
    """The report at each number of runs: of runs by one process and by several, and of packs."""
    sizes = SMALL if small else SIZES
    cores = len(os.sched_getaffinity(0))
    found: dict[str, Any] = {"runs": {}, "several": {}, "packs": {}}
    with tempfile.TemporaryDirectory() as place:
        folder, there = Path(place), 0
        for size in sizes:
            _make(folder, studies(size)[there:], size <= MOST_PACKED, cores)
            there = len(studies(size))
            found["runs"][str(size)] = in_a_process_of_its_own(folder / RUNS, size, 1)
            if (several := processes(size)) > 1:
                shared = in_a_process_of_its_own(folder / RUNS, size, several)
                found["several"][str(size)] = {"processes": several, **shared}
            if size <= MOST_PACKED:
                found["packs"][str(size)] = in_a_process_of_its_own(folder / PACKS, size, 1)
        found["form"] = form(folder)
    for kind in ("runs", "packs"):
        found[f"growth of {kind}"] = {
            name: growth(found[kind], name) for name in ("seconds", "peak_bytes")
        }
    return found


def _make(folder: Path, wanted: Sequence[Study], packed: bool, cores: int) -> None:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, mp_context=spawn) as pool:
        list(pool.map(partial(write_study, folder, packed=packed), wanted))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report")
    parser.add_argument("--small", action="store_true", help="seconds, to check that all runs")
    print(json.dumps(measure(parser.parse_args().small), indent=1))


if __name__ == "__main__":
    main()
