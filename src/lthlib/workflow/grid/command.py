"""`lth grid`: the command, and what it says before anything is started."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from lthlib.errors import GridError, StudyError
from lthlib.machine import cores
from lthlib.packs import check_target, reference_store
from lthlib.records import RecordStore, open_store, shipped_store
from lthlib.report.words import in_bytes
from lthlib.study import PRESETS, Study, plan
from lthlib.workflow import data, estimate
from lthlib.workflow.grid import controller, forecast
from lthlib.workflow.grid.plan import Plan, being_written
from lthlib.workflow.grid.slots import visible_devices
from lthlib.workflow.grid.studies import read_studies
from lthlib.workflow.local import Job, missing

Add = Callable[..., argparse.ArgumentParser]
CLUSTER_JOBS = 100
"""Jobs in a cluster's queue at once, unless told otherwise."""


def add_command(add: Add) -> None:
    """Register the command; `add` makes a command of a name, a function and its purpose."""
    grid = add("grid", _grid, "spread a study over the cores, GPUs and machines that you have")
    grid.epilog = (
        "A study file (TOML, YAML or JSON) names settings; lists of values multiply: models x "
        "tasks x ladders x seeds. One job is one run, or a part of it. What was stopped, or "
        "killed, goes on when the same command is given again; what is finished is not done again."
    )
    grid.add_argument("study", nargs="?", type=Path, metavar="STUDY", help="a study file")
    grid.add_argument("--preset", help=f"instead of a study file: {', '.join(PRESETS)}")
    grid.add_argument("--store", help="folder or URL of records (default: records/local)")
    grid.add_argument(
        "--profile", default="local", help="local, slurm, or a folder with your own (local)"
    )
    grid.add_argument("--dry-run", action="store_true", help="say what would be done, and how long")
    grid.add_argument("--jobs", type=int, help="jobs at once (one a GPU or core; SLURM: 100)")
    grid.add_argument(
        "--gpus", type=int, help="GPUs to use at once, one a job (local: all; SLURM: 0)"
    )
    grid.add_argument("--gres", default="gpu:1", help="what a GPU job asks of SLURM (%(default)s)")
    grid.add_argument("--device", choices=("cpu", "cuda"), help="train there (cuda, where --gpus)")
    grid.add_argument("--rounds", type=int, help="at most this many levels a job (default: all)")
    grid.add_argument("--retries", type=int, help="tries after a failure (default: the profile's)")
    grid.add_argument("--work", type=Path, help="folder for controllers (default: STORE/grid)")
    grid.add_argument("--keep", action="store_true", help="keep the logs of a grid that went well")
    grid.add_argument("--book", action="store_true", help="then build the book from the store")


def _grid(options: argparse.Namespace) -> int:
    controller.require_snakemake()
    if options.book and options.preset is None:
        raise StudyError("--book shows the runs of a preset: name it with --preset")
    studies, store = _studies(options), _store(options.store)
    profile = controller.Profile.named(options.profile)
    devices = _devices(options, profile)
    _check(options)
    jobs = missing(studies, store)
    at_once = _at_once(options.jobs, profile, len(devices))
    plan = Plan.of(
        jobs,
        store,
        options.rounds,
        device=options.device or ("cuda" if devices else "cpu"),
        allotment=("slots" if profile.local else "slurm") if devices else "none",
        devices=devices,
    )
    _tell(studies, jobs, plan, store, at_once)
    lack = data.lacking(job.study for job in jobs)
    if options.dry_run:
        if lack:
            print(f"before they can run: {lack}")
        return 0
    if lack:
        raise GridError(lack)
    profile.check()
    if jobs:
        _run(options, profile, plan, jobs, store, at_once)
    return _book(options) if options.book else 0


def _run(
    options: argparse.Namespace,
    profile: controller.Profile,
    plan: Plan,
    jobs: Sequence[Job],
    store: RecordStore,
    at_once: int,
) -> None:
    store.files.check_writable()
    folder = controller.working_folder(store, options.work)
    given = controller.arguments(
        profile, folder, at_once, options.gres, len(plan.devices), options.retries
    )
    print(f"to stop and go on is safe; logs: {folder}", flush=True)
    controller.control(plan, folder, given, jobs, store, profile.stop, _say)
    print(f"all runs are in {store.files.url}")
    if not options.keep:
        shutil.rmtree(folder, ignore_errors=True)


def _say(line: str) -> None:
    print(line, flush=True)


def _book(options: argparse.Namespace) -> int:
    from lthlib.workflow.cli import _book as build

    return build(options)


# -- what was asked -------------------------------------------------------------------------------
def _studies(options: argparse.Namespace) -> list[Study]:
    if (options.study is None) == (options.preset is None):
        raise StudyError("name a study file or --preset, one of the two")
    return plan(options.preset) if options.study is None else read_studies(options.study)


def _store(url: str | None) -> RecordStore:
    """A store that processes on other machines find under the same name."""
    folder = url is not None and "://" not in url
    store = open_store(Path(str(url)).resolve() if folder else url)
    check_target(store)
    return store


def _check(options: argparse.Namespace) -> None:
    for name in ("jobs", "rounds"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise StudyError(f"--{name} {value} will not do: give 1 or more")
    if options.retries is not None and options.retries < 0:
        raise StudyError(f"--retries {options.retries} will not do: give 0 or more")


def _devices(options: argparse.Namespace, profile: controller.Profile) -> list[str]:
    """GPUs to use at once: the names of this machine's, or under SLURM a number for each."""
    if options.gpus is not None and options.gpus < 0:
        raise StudyError(f"--gpus {options.gpus} will not do: give 0 or more")
    if not profile.local:
        return [str(number) for number in range(options.gpus or 0)]
    seen = visible_devices() if options.device != "cpu" or options.gpus else []
    if options.gpus is None:
        return seen
    if options.gpus > len(seen):
        raise GridError(
            f"--gpus {options.gpus}: this machine shows {len(seen)} (CUDA_VISIBLE_DEVICES names "
            "those that may be used)"
        )
    return seen[: options.gpus]


def _at_once(asked: int | None, profile: controller.Profile, gpus: int) -> int:
    """Jobs at once: one for each GPU and no more, or for each core; on a cluster, so many."""
    if gpus:
        return min(asked or gpus, gpus)
    return asked or (cores() if profile.local else CLUSTER_JOBS)


# -- what it says beforehand ----------------------------------------------------------------------
def _tell(
    studies: Sequence[Study], jobs: Sequence[Job], plan: Plan, store: RecordStore, at_once: int
) -> None:
    left = 0
    for study in studies:
        todo = [name for name in study.run_ids() if not store.has(name)]
        print(f"{study.name}: {_state(study, todo, store)}")
        left += len(todo)
    runs = sum(len(study.seeds) for study in studies)
    if not jobs:
        print(f"all {runs:,} runs are in {store.files.url}: nothing to do")
        return
    recorded = [store, reference_store(), shipped_store()]
    seconds = estimate.seconds_of(jobs, estimate.paces(recorded), plan.device)
    at_once = min(at_once, len(jobs))
    print(
        f"{left:,} of {runs:,} runs to do in {plan.jobs:,} jobs, {at_once:,} at once, on "
        f"{plan.device}: {estimate.in_words(seconds, at_once, plan.device)}; "
        f"{_room(jobs, at_once, recorded)}"
    )


def _room(jobs: Sequence[Job], at_once: int, recorded: Sequence[RecordStore]) -> str:
    """What will be needed on disk, in words."""
    found = forecast.record_bytes(jobs, forecast.bytes_per_training(recorded), at_once)
    if found is None:
        return "how much they store is not known: no run of this kind is recorded"
    kept, running = map(in_bytes, found)
    return f"they store about {kept}, and {running} more while they run"


def _state(study: Study, todo: Sequence[str], store: RecordStore) -> str:
    begun = [name for name in todo if store.levels_done(name)]
    written = [name for name in todo if being_written(store, name)]
    parts = [f"{len(study.seeds):,} runs", f"{len(study.seeds) - len(todo):,} finished"]
    if begun:
        levels = sum(store.levels_done(name) for name in begun)
        parts.append(f"{len(begun):,} begun ({levels:,} levels done)")
    if written:
        parts.append(f"{len(written):,} being written by another process")
    return f"{', '.join(parts)}, {len(todo):,} to do; each {study.trainings()} trainings"
