"""Proves `lth grid` on a real SLURM, and writes what happened to benchmarks/results/slurm.json.

    python tests/slurm/prove.py             all of it, a quarter of an hour of two cores
    python tests/slurm/prove.py --small     short runs: every check, no worthwhile throughput
    python tests/slurm/prove.py --only throughput        again, on a machine that does nothing else

It starts a cluster of one node with two files that stand for GPUs (cluster.py; needs root), runs
one small study over it in many ways, kills jobs and controllers, and compares every final record
with that of a plain run. What was computed is counted in the diaries that jobs keep.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import yaml
from cluster import cluster

from lthlib.lab.provenance import describe_environment, now
from lthlib.records import RecordStore, open_store, project_root, to_json, write_atomically
from lthlib.study import Study
from lthlib.workflow import local
from lthlib.workflow.grid.controller import HERE
from lthlib.workflow.grid.plan import Plan

OUT = project_root(Path(__file__).parent) / "benchmarks" / "results" / "slurm.json"
COMPARED = ("predictions.parquet", "training.parquet", "curves.parquet", "tickets.safetensors")
PARTS = ("checks", "planning", "throughput")
LEAST_RATIO = 1.8
PATIENCE = 600.0
CANCEL_SECONDS = 5.0
"""Within which a stopped controller's jobs are to be out of the queue: SLURM kills after two."""
KILL_AFTER = 0.3
"""Seconds into a level at which it is killed."""
SETTINGS: dict[str, Any] = {
    "model": "uniter", "task": "digits", "epochs": 3, "ladder": [0.4, 0.7, 0.9],
    "train_items": 2000, "validation_items": 200, "test_items": 400, "batch_size": 32,
}  # fmt: skip
LONG: dict[str, Any] = {**SETTINGS, "train_items": 8000, "epochs": 2, "ladder": [0.5, 0.8]}
SMALL: dict[str, Any] = {**SETTINGS, "train_items": 1000}
FAST = {
    "seconds-between-status-checks": 1, "slurm-init-seconds-before-status-checks": 1,
    "latency-wait": 5, "default-resources": {"runtime": 60, "mem_mb": 1000},
}  # fmt: skip
"""What differs from the profile that is shipped: a cluster of one node can be asked often."""


# A process of its own, since a child's peak of memory begins with what its parent has.
MEASURE = """
import resource, subprocess, sys, time
began = time.monotonic()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
seconds = time.monotonic() - began
print(seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@dataclass
class Ground:
    """Where all this happens, and what every record is compared with."""

    folder: Path
    settings: dict[str, Any]
    profile: Path
    plain: RecordStore

    def study(self, seeds: Sequence[int]) -> Study:
        return Study.build(self.settings, seeds=list(seeds))

    def file(self, seeds: Sequence[int], name: str = "study") -> Path:
        path = self.folder / f"{name} {len(seeds)}.json"
        path.write_text(json.dumps({**self.settings, "seeds": list(seeds)}))
        return path

    def store(self, name: str) -> RecordStore:
        """A new store, in a folder whose name is as awkward as a folder's may be."""
        return open_store(self.folder / f"{name} [{{1}}] it's")

    def command(self, seeds: Sequence[int], store: RecordStore, *more: str) -> list[str]:
        return [
            sys.executable, "-m", "lthlib.workflow.cli", "grid", str(self.file(seeds)),
            "--store", store.files.url, "--keep", *more,
        ]  # fmt: skip

    def slurm(self, seeds: Sequence[int], store: RecordStore, *more: str) -> list[str]:
        own = ["--profile", str(self.profile), "--gpus", "2", "--device", "cpu"]
        return self.command(seeds, store, *own, *more)


# -- what happened --------------------------------------------------------------------------------
def diaries(store: RecordStore) -> list[dict[str, Any]]:
    """All lines of all diaries of all controllers, in order of time."""
    lines = []
    for path in Path(store.files.root).glob("grid/*/log/*.jsonl"):
        for line in path.read_text().splitlines():
            with contextlib.suppress(ValueError):
                lines.append(
                    {"run": path.stem, "controller": path.parents[1].name, **json.loads(line)}
                )
    return sorted(lines, key=lambda line: line["time"])


def begun(store: RecordStore) -> Counter[str]:
    """How often each level of each run was begun."""
    return Counter(line["text"] for line in diaries(store) if line["event"] == "says")


def levels(store: RecordStore, study: Study) -> dict[str, int]:
    """Levels begun in all, and those that the study has."""
    counted = begun(store)
    return {
        "levels": len(study.seeds) * len(study.rungs()),
        "computations_begun": sum(counted.values()),
        "levels_begun_again": sum(count - 1 for count in counted.values()),
        "finished_levels_begun_again": begun_though_finished(store),
    }


def begun_though_finished(store: RecordStore) -> int:
    """Levels that a job began after a later one of the run had been begun, or its job was done."""
    reached: dict[str, int] = {}  # levels that are finished, as far as the diaries told
    count = 0
    for line in diaries(store):
        run = line["run"]
        if line["event"] == "says":
            level = int(line["text"].rpartition(" ")[2])
            count += level < reached.get(run, 0)
            reached[run] = max(reached.get(run, 0), level)
        elif line["event"] == "done":
            reached[run] = max(reached.get(run, 0), line["until"])
    return count


def cut_levels(store: RecordStore, runs: Sequence[str]) -> list[str]:
    """The level in which each run was when its first job ended."""
    found = []
    for run in runs:
        lines = [line for line in diaries(store) if line["run"] == run]
        starts = [place for place, line in enumerate(lines) if line["event"] == "started"]
        first = lines[: starts[1]] if len(starts) > 1 else lines
        found += [line["text"] for line in first if line["event"] == "says"][-1:]
    return found


def holdings(store: RecordStore) -> list[tuple[str, str, float, float]]:
    """Run, device, and from when to when it was held (POSIX seconds)."""
    found, open_ = [], {}
    for line in diaries(store):
        key = (line["controller"], line["run"])
        at = datetime.fromisoformat(line["time"]).timestamp()
        if line["event"] == "device":
            open_[key] = (line["visible"], at)
        elif line["event"] in ("device given back", "started") and key in open_:
            # A killed job says nothing more: until the next try begins, it may have held it.
            device, since = open_.pop(key)
            found.append((line["run"], device, since, at))
    return found


def meetings(store: RecordStore) -> int:
    """Jobs that found their run being written, or done, by another controller."""
    return sum(line["event"] in ("waiting", "nothing to do") for line in diaries(store))


def shared(found: Sequence[tuple[str, str, float, float]]) -> int:
    """Pairs of jobs that held the same device at the same time."""
    pairs = [(a, b) for i, a in enumerate(found) for b in found[:i]]
    return sum(a[1] == b[1] and a[2] < b[3] and b[2] < a[3] for a, b in pairs)


def together(found: Sequence[tuple[str, str, float, float]]) -> int:
    """Pairs of jobs that ran at the same time at all."""
    pairs = [(a, b) for i, a in enumerate(found) for b in found[:i]]
    return sum(a[2] < b[3] and b[2] < a[3] for a, b in pairs)


def differing(store: RecordStore, plain: RecordStore, runs: Sequence[str]) -> list[str]:
    """Files of these runs that are not, byte by byte, what a plain run wrote."""
    bad = []
    for run in runs:
        store.verify(run)
        ours, theirs = (s.manifest(run)["files"] for s in (store, plain))
        bad += [f"{run}/{name}" for name in COMPARED if ours[name] != theirs[name]]
        tables = [s.table("levels", [run]).drop(columns="seconds") for s in (store, plain)]
        try:
            pd.testing.assert_frame_equal(*tables, check_exact=True)
        except AssertionError:
            bad.append(f"{run}/levels.parquet")
    return bad


# -- doing ----------------------------------------------------------------------------------------
def finish(command: Sequence[str]) -> float:
    """Run a command to its end; returns its seconds. What it says is shown if it fails."""
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{done.stdout}{done.stderr}\nfailed: {command}")
    return time.monotonic() - began


@contextlib.contextmanager
def started(command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """A controller, killed with all that it started here if it is not over at the end."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            kill(process)


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a controller and Snakemake below it at once, so that neither can tidy up."""
    for each in [*psutil.Process(process.pid).children(recursive=True), process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait()


def ended(process: subprocess.Popen[str]) -> None:
    said, _ = process.communicate(timeout=PATIENCE)
    if process.returncode:
        raise SystemExit(f"{said}\na controller failed")


def until(true: Callable[[], Any], process: subprocess.Popen[str] | None = None) -> Any:
    began = time.monotonic()
    while not (found := true()):
        if process is not None and process.poll() is not None:
            raise SystemExit(f"{process.communicate()[0]}\nit ended before it could be killed")
        if time.monotonic() - began > PATIENCE:
            raise SystemExit("waited in vain")
        time.sleep(0.05)
    return found


def in_level(store: RecordStore, run: str, level: int) -> dict[str, Any]:
    """The job that is in this level of a run: its process and its id in SLURM; {} for none."""
    lines = [line for line in diaries(store) if line["run"] == run]
    if not lines or not lines[-1].get("text", "").endswith(f"level {level}"):
        return {}
    return [line for line in lines if line["event"] == "started"][-1]


def queue() -> list[str]:
    said = subprocess.run(["squeue", "-h", "-o", "%i"], capture_output=True, text=True, check=True)
    return said.stdout.split()


def cancel(*jobs: str) -> None:
    subprocess.run(["scancel", *jobs], check=True)


# -- the checks -----------------------------------------------------------------------------------
def check_devices(ground: Ground) -> dict[str, Any]:
    """Jobs that run at the same time get different devices."""
    seeds, store = range(4), ground.store("devices")
    finish(ground.slurm(seeds, store))
    study, held = ground.study(seeds), holdings(store)
    return {
        "jobs": len(held),
        "devices": sorted({device for _, device, _, _ in held}),
        "jobs_at_the_same_time": together(held),
        "sharing_a_device": shared(held),
        **levels(store, study),
        "files_that_differ": differing(store, ground.plain, study.run_ids()),
        "passed": together(held) > 0 and shared(held) == 0 and len({h[1] for h in held}) == 2,
    }


def check_more_seeds(ground: Ground) -> dict[str, Any]:
    """A seed more runs only what is new."""
    store = open_store(ground.store("devices").files.url)
    before = {run: store.files.read(f"{run}/manifest.json") for run in store.runs()}
    earlier = {line["controller"] for line in diaries(store)}
    finish(ground.slurm(range(5), store))
    new = {line["run"] for line in diaries(store) if line["controller"] not in earlier}
    runs = ground.study(range(5)).run_ids()
    same = all(store.files.read(f"{run}/manifest.json") == data for run, data in before.items())
    finish(ground.slurm(range(5), store))
    controllers = {line["controller"] for line in diaries(store)}
    return {
        "runs_there": len(before),
        "runs_done": len(new),
        "runs_done_by_a_third_call": len(controllers) - len(earlier) - 1,
        "files_that_differ": differing(store, ground.plain, runs),
        "passed": same and new == {runs[-1]} and len(controllers) == len(earlier) + 1,
    }


def check_killed_jobs(ground: Ground) -> dict[str, Any]:
    """A job that is cancelled, and one whose process is killed, are tried again and resume."""
    seeds, store = range(2), ground.store("jobs")
    study = ground.study(seeds)
    one, two = study.run_ids()
    with started(ground.slurm(seeds, store)) as process:
        job = until(lambda: in_level(store, one, 1), process)
        time.sleep(KILL_AFTER)
        cancel(job["slurm_job"])
        job = until(lambda: in_level(store, two, 2), process)
        time.sleep(KILL_AFTER)
        os.kill(job["process"], signal.SIGKILL)
        ended(process)
    again = {text: count for text, count in begun(store).items() if count > 1}
    tries = Counter(line["run"] for line in diaries(store) if line["event"] == "started")
    return {
        "killed": 2,
        "tries": sum(tries.values()),
        **levels(store, study),
        "files_that_differ": differing(store, ground.plain, study.run_ids()),
        "passed": again == dict.fromkeys(cut_levels(store, (one, two)), 2)
        and len(again) == 2
        and set(tries.values()) == {2},
    }


def check_killed_controller(ground: Ground) -> dict[str, Any]:
    """A controller that is killed and started again: its jobs go on, and none is done twice."""
    seeds, store = range(4), ground.store("controller")
    study = ground.study(seeds)
    with started(ground.slurm(seeds, store)) as process:
        until(lambda: store.runs() and any(in_level(store, r, 1) for r in study.run_ids()), process)
        kill(process)
    finished, left = len(store.runs()), len(queue())
    finish(ground.slurm(seeds, store))
    counts = levels(store, study)
    return {
        "runs_finished_when_killed": finished,
        "jobs_left_in_the_queue": left,
        **counts,
        "files_that_differ": differing(store, ground.plain, study.run_ids()),
        "passed": counts["levels_begun_again"] == 0 and left > 0,
    }


def check_all_killed(ground: Ground) -> dict[str, Any]:
    """Controller and jobs are killed at once, as when a machine fails: only cut levels are lost."""
    seeds, store = range(3), ground.store("everything")
    study = ground.study(seeds)
    first = study.run_ids()[:2]
    with started(ground.slurm(seeds, store)) as process:
        until(lambda: any(in_level(store, run, 2) for run in study.run_ids()), process)
        time.sleep(KILL_AFTER)
        kill(process)
        cancel(*queue())
        until(lambda: not queue())
    done = sum(store.levels_done(run) for run in study.run_ids() if not store.has(run))
    done += sum(len(study.rungs()) for run in study.run_ids() if store.has(run))
    cut = sum(begun(store).values()) - done
    finish(ground.slurm(seeds, store))
    counts = levels(store, study)
    return {
        "levels_done_when_killed": done,
        "levels_cut": cut,
        **counts,
        "files_that_differ": differing(store, ground.plain, study.run_ids()),
        "passed": counts["levels_begun_again"] == cut <= len(first),
    }


def check_stopped(ground: Ground) -> dict[str, Any]:
    """A controller that is told to end takes its jobs out of the queue, and is started again."""
    seeds, store = range(2), ground.store("stopped")
    study = ground.study(seeds)
    with started(ground.slurm(seeds, store)) as process:
        until(lambda: any(in_level(store, run, 1) for run in study.run_ids()), process)
        process.terminate()
        process.wait(PATIENCE)
    status, finished = process.returncode, len(store.runs())
    # Sooner than the jobs could end by themselves.
    time.sleep(CANCEL_SECONDS)
    left = len(queue())
    until(lambda: not queue())
    finish(ground.slurm(seeds, store))
    counts = levels(store, study)
    return {
        "exit_status": status,
        "jobs_left_in_the_queue": left,
        **counts,
        "files_that_differ": differing(store, ground.plain, study.run_ids()),
        "passed": status == 130
        and left == 0
        and finished < len(seeds)
        and 1 <= counts["levels_begun_again"] <= len(seeds),
    }


def check_two_controllers(ground: Ground) -> dict[str, Any]:
    """Two controllers at once on one store, over SLURM."""
    seeds, store = range(4), ground.store("two")
    study = ground.study(seeds)
    command = ground.slurm(seeds, store)
    with started(command) as one, started(command) as two:
        ended(one)
        ended(two)
    counts = levels(store, study)
    held, met = holdings(store), meetings(store)
    controllers = len({line["controller"] for line in diaries(store)})
    return {
        "controllers": controllers,
        "jobs_that_met_another": met,
        **counts,
        "sharing_a_device": shared(held),
        "files_that_differ": differing(store, ground.plain, study.run_ids()),
        "passed": controllers == 2
        and met > 0
        and counts["levels_begun_again"] == 0
        and shared(held) == 0,
    }


def check_two_local(ground: Ground) -> dict[str, Any]:
    """Two controllers on one machine, without SLURM: file locks keep their devices apart."""
    store, other = ground.store("here"), ground.store("there")
    study = ground.study(range(2))
    own = ("--profile", "local", "--gpus", "2", "--device", "cpu")
    os.environ["CUDA_VISIBLE_DEVICES"] = "0,1"
    try:
        with (
            started(ground.command(range(2), store, *own)) as one,
            started(ground.command(range(2), store, *own)) as two,
            started(ground.command(range(2), other, *own)) as three,
        ):
            for process in (one, two, three):
                ended(process)
    finally:
        del os.environ["CUDA_VISIBLE_DEVICES"]
    held = [*holdings(store), *holdings(other)]
    both = [levels(each, study) for each in (store, other)]
    counts = {name: sum(each[name] for each in both) for name in both[0]}
    bad = [name for s in (store, other) for name in differing(s, ground.plain, study.run_ids())]
    return {
        "controllers": 3,
        "jobs_at_the_same_time": together(held),
        "sharing_a_device": shared(held),
        **counts,
        "files_that_differ": bad,
        "passed": counts["levels_begun_again"] == 0 and shared(held) == 0 and together(held) > 0,
    }


def check_chain(ground: Ground) -> dict[str, Any]:
    """A run as a chain of jobs of one level each."""
    seeds, store = range(2), ground.store("chain")
    study = ground.study(seeds)
    finish(ground.slurm(seeds, store, "--rounds", "1"))
    jobs = Counter(line["run"] for line in diaries(store) if line["event"] == "started")
    counts = levels(store, study)
    return {
        "jobs": sum(jobs.values()),
        **counts,
        "files_that_differ": differing(store, ground.plain, study.run_ids()),
        "passed": set(jobs.values()) == {len(study.rungs())} and counts["levels_begun_again"] == 0,
    }


CHECKS = (
    check_devices, check_more_seeds, check_killed_jobs, check_killed_controller, check_all_killed,
    check_stopped, check_two_controllers, check_two_local, check_chain,
)  # fmt: skip


# -- measured -------------------------------------------------------------------------------------
def throughput(ground: Ground, runs: int, turns: int) -> dict[str, Any]:
    """One worker against two, in turns: seconds of the whole command, start to end."""
    found: dict[str, Any] = {}
    for name in ("local", "slurm"):
        profile = "local" if name == "local" else str(ground.profile)
        seconds: dict[int, list[float]] = {1: [], 2: []}
        alone: list[float] = []
        for turn in range(turns):
            for workers in (1, 2):
                store = ground.store(f"{name} {workers} {turn}")
                own = ("--profile", profile, "--gpus", "0", "--jobs", str(workers))
                seconds[workers].append(finish(ground.command(range(runs), store, *own)))
                alone += _training_seconds(store) if workers == 1 else []
        one, two = (statistics.median(seconds[workers]) for workers in (1, 2))
        found[name] = {
            "runs": runs,
            "seconds": {str(workers): times for workers, times in seconds.items()},
            "ratio": one / two,
            "seconds_per_run": statistics.median(alone),
            # What is not training: Snakemake, imports, the task's making, the queue.
            "overhead_per_job": one / runs - statistics.median(alone),
        }
    return found


def _training_seconds(store: RecordStore) -> list[float]:
    return [float(store.study(run)["seconds"]) for run in store.runs()]


def planning(ground: Ground, sizes: Sequence[int]) -> list[dict[str, float]]:
    """Seconds and memory that Snakemake needs before the first job of so many is started."""
    found = []
    for jobs in sizes:
        folder = ground.folder / f"plan {jobs}"
        folder.mkdir()
        study = ground.study(range(jobs))
        all_jobs = [local.Job(study, seed) for seed in study.seeds]
        Plan.of(all_jobs, ground.store("none"), None).write(folder)
        command = [
            sys.executable, "-m", "snakemake", "--snakefile", str(HERE / "Snakefile"),
            "--directory", str(folder), "--cores", "1", "--dry-run", "--quiet", "all",
        ]  # fmt: skip
        told = subprocess.run(
            [sys.executable, "-c", MEASURE, *command], capture_output=True, text=True, check=True
        )
        seconds, kilobytes = map(float, told.stdout.split())
        found.append({"jobs": jobs, "seconds": seconds, "bytes": 1024 * kilobytes})
    return found


def about(small: bool) -> dict[str, Any]:
    said = subprocess.run(["sinfo", "--version"], capture_output=True, text=True, check=True)
    import torch

    environment = describe_environment(torch.device("cpu"))
    names = ("snakemake", "snakemake-executor-plugin-slurm", "filelock")
    return {
        "made": now(),
        "small": small,
        "hardware": environment["hardware"],
        "load_before": os.getloadavg()[0],
        "versions": {
            **environment["versions"],
            "slurm": said.stdout.split()[-1],
            "python": platform.python_version(),
            **{name: version(name) for name in names},
        },
    }


def checks(ground: Ground) -> dict[str, Any]:
    local.run([ground.study(range(5))], ground.plain, workers=2, say=lambda _: None)
    found = {}
    for check in CHECKS:
        began = time.monotonic()
        outcome = check(ground)
        bad = outcome["files_that_differ"] or outcome.get("finished_levels_begun_again")
        outcome["passed"] = bool(outcome["passed"]) and not bad
        outcome["seconds"] = time.monotonic() - began
        found[check.__name__.removeprefix("check_")] = {"what": check.__doc__, **outcome}
        word = "passed" if outcome["passed"] else "FAILED"
        print(f"{word}: {check.__doc__} {outcome}", flush=True)
    return found


def prove(folder: Path, parts: Sequence[str], small: bool) -> dict[str, Any]:
    """These parts in this folder; "about" says of each when, and on what."""
    profile = folder / "profile"
    profile.mkdir()
    shipped = yaml.safe_load((HERE / "profiles" / "slurm" / "config.yaml").read_text())
    (profile / "config.yaml").write_text(yaml.safe_dump({**shipped, **FAST}))
    plain = open_store(folder / "plain")
    ground = Ground(folder, SMALL if small else SETTINGS, profile, plain)
    long = Ground(folder, SMALL if small else LONG, profile, plain)
    sizes = (100, 1000, 5000) if small else (100, 2000, 20000)
    ways: dict[str, Callable[[], Any]] = {
        "checks": lambda: checks(ground),
        "planning": lambda: planning(ground, sizes),
        "throughput": lambda: throughput(long, 4, 1 if small else 2),
    }
    found: dict[str, Any] = {"about": {}}
    for part in parts:
        found["about"][part] = about(small)
        found[part] = ways[part]()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--small", action="store_true", help="short runs")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="other parts stay")
    parser.add_argument("--out", type=Path, default=OUT, help="file (default: %(default)s)")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory(prefix="lthlib grid ") as folder, cluster():
        found = prove(Path(folder), options.only, options.small)
    old = json.loads(options.out.read_text()) if options.out.is_file() else {"about": {}}
    found = {**old, **found, "about": {**old["about"], **found["about"]}}
    write_atomically(options.out, to_json(found))
    print(f"written to {options.out}")
    for name, measured in found.get("throughput", {}).items():
        print(f"{name}: two workers do {measured['ratio']:.2f} times what one does")
    passed = all(outcome["passed"] for outcome in found.get("checks", {}).values())
    fast = all(each["ratio"] >= LEAST_RATIO for each in found.get("throughput", {}).values())
    return 0 if passed and (fast or options.small) else 1


if __name__ == "__main__":
    sys.exit(main())
