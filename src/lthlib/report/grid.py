"""A grid of machines: what runs cost, what many of them would cost, and what was proven on SLURM.

Costs are those of recorded runs, their means multiplied; what Snakemake and SLURM add was measured
by `tests/slurm/prove.py`, whose outcome lies in `benchmarks/results/slurm.json`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lthlib.errors import RecordError
from lthlib.packs import PackedStore
from lthlib.records import RecordStore
from lthlib.report.exhibits import Exhibit
from lthlib.report.plain import plain_table
from lthlib.report.words import counted, finished, in_bytes, listed

Found = Mapping[str, Any]
SIZES = (10, 1_000, 100_000)
"""Numbers of runs that the cost model is shown for."""
FILES_A_RUN = 8
"""Files that a finished run leaves in a store, its manifest and its lock among them."""
_CHECKS = {
    "devices": "jobs at the same time have different devices",
    "more_seeds": "a seed more runs only what is new",
    "killed_jobs": "a job is cancelled, another killed",
    "killed_controller": "the controller is killed, and started again",
    "all_killed": "controller and jobs are killed at once",
    "stopped": "the controller is told to end, and started again",
    "two_controllers": "two controllers at once on one store",
    "two_local": "three controllers at once without SLURM",
    "chain": "a run as a chain of jobs of one level",
}
_COUNTS = {
    "jobs": "{} jobs",
    "jobs_at_the_same_time": "{} pairs of jobs at the same time",
    "sharing_a_device": "{} pairs on one device at once",
    "exit_status": "exit status {}",
    "runs_there": "{} runs were there",
    "runs_done": "{} done",
    "runs_done_by_a_third_call": "{} by one more call",
    "killed": "{} killed",
    "tries": "{} tries",
    "controllers": "{} controllers",
    "runs_finished_when_killed": "{} runs were finished then",
    "jobs_left_in_the_queue": "{} jobs in the queue after it",
    "jobs_that_met_another": "{} jobs found their run taken or done",
    "levels_done_when_killed": "{} levels were done then",
    "levels_cut": "{} cut",
}


# -- what runs cost -------------------------------------------------------------------------------
def recorded_costs(stores: Mapping[str, RecordStore]) -> pd.DataFrame:
    """One row per finished run: store, run, study, device, levels, seconds, bytes, weights.

    seconds: of one core, or of one GPU, as `device` says. bytes: of the run's files as they were
    written, not as they are packed.
    """
    rows = []
    for where, store in stores.items():
        for run in store.runs():
            about = store.study(run)
            files = about.get("files") or store.manifest(run)["files"]
            rows.append(
                {
                    "store": where,
                    "run": run,
                    "study": run.rpartition("-s")[0],
                    "device": about["hardware"]["device"],
                    "levels": about["levels"],
                    "seconds": about["seconds"],
                    "bytes": sum(entry["bytes"] for entry in files.values()),
                    "weights": about["weights"]["all"],
                }
            )
    if not rows:
        raise RecordError(f"no finished run in {listed(list(stores))}: run a study first")
    return pd.DataFrame(rows)


def packed_bytes(store: RecordStore) -> float | None:
    """Bytes of a run once its study is packed, on average; None for a store that is not packed."""
    if not isinstance(store, PackedStore):
        return None
    sizes = [
        sum(entry["bytes"] for entry in store.manifest(runs[0])["files"].values())
        for runs in store.packed().values()
    ]
    return float(sum(sizes) / len(store.runs()))


def cost_model(costs: pd.DataFrame, found: Found | None) -> pd.DataFrame:
    """What 10, 1,000 and 100,000 runs like the recorded ones would take, by store and device.

    costs: as :func:`recorded_costs` gives them. found: the outcome on SLURM, for what a job costs
    beside its training; None leaves that out.
    Returns store, device, recorded, runs, jobs (one a level), hours, hours_jobs (what they cost
    beside), bytes, files, plan_seconds and plan_bytes (Snakemake's, before the first job).
    """
    overhead = found["throughput"]["slurm"]["overhead_per_job"] if found else np.nan
    rows = []
    for (store, device), runs in costs.groupby(["store", "device"], sort=False):
        for count in SIZES:
            plan = planning(found, count) if found else (np.nan, np.nan)
            rows.append(
                {
                    "store": store,
                    "device": device,
                    "recorded": len(runs),
                    "runs": count,
                    "jobs": count * runs["levels"].mean(),
                    "hours": count * runs["seconds"].mean() / 3600,
                    "hours_jobs": count * overhead / 3600,
                    "bytes": count * runs["bytes"].mean(),
                    "files": count * FILES_A_RUN,
                    "plan_seconds": plan[0],
                    "plan_bytes": plan[1],
                }
            )
    return pd.DataFrame(rows)


def planning(found: Found, jobs: int) -> tuple[float, float]:
    """Seconds and bytes that Snakemake needs to plan so many jobs: a line through what was measured
    (least squares), and so no more than a guess far beyond it."""
    measured = pd.DataFrame(found["planning"])
    lines = (np.polyfit(measured["jobs"], measured[name], 1) for name in ("seconds", "bytes"))
    seconds, bytes_ = (float(np.polyval(line, jobs)) for line in lines)
    return seconds, bytes_


def cost_table(costs: pd.DataFrame, found: Found | None) -> Exhibit:
    """The cost model as a table."""
    model = cost_model(costs, found)
    rows = [
        {
            "runs like those in": row["store"],
            "runs": f"{row['runs']:,}",
            "hours of one " + ("core" if row["device"] == "cpu" else "GPU"): _hours(row["hours"]),
            "for jobs beside": _hours(row["hours_jobs"]),
            "on 100 at once": _hours((row["hours"] + np.nan_to_num(row["hours_jobs"])) / 100),
            "records": in_bytes(row["bytes"]),
            "files": f"{row['files']:,}",
            "jobs of one level": f"{row['jobs']:,.0f}",
            "Snakemake's plan": _plan_text(row),
        }
        for row in model.to_dict("records")
    ]
    recorded = listed(
        [
            f"{counted(len(runs), 'run')} of {counted(runs['study'].nunique(), 'study')} in "
            f"{store} ({'one core' if device == 'cpu' else 'one GPU'} each)".replace(
                "studys", "studies"
            )
            for (store, device), runs in costs.groupby(["store", "device"], sort=False)
        ]
    )
    how = "Without an outcome on SLURM, what a job costs beside its training is left out."
    if found:
        how = (
            "For jobs beside: starting a job, importing, making the task, waiting to be asked; "
            "per job as measured on SLURM, which was asked every second: with the waits of the "
            f"profile it is more. Snakemake's plan: from {_sizes(found)} jobs that it was measured "
            "with, one job a run, along a line: beyond them a guess."
        )
    return plain_table(
        pd.DataFrame(rows).fillna(""),
        f"Means over {recorded}, multiplied. No interval: a mean of runs on one kind of machine "
        f"says little of another. {how}",
        data=model,
    )


def _plan_text(row: Mapping[Any, Any]) -> str:
    if np.isnan(row["plan_seconds"]):
        return "not measured"
    return f"{_seconds(max(0.0, row['plan_seconds']))}, {in_bytes(max(0.0, row['plan_bytes']))}"


def _sizes(found: Found) -> str:
    return listed([f"{entry['jobs']:,}" for entry in found["planning"]])


@finished
def cost_sentence(costs: pd.DataFrame, found: Found | None, packed: float | None) -> str:
    """What dominates, and where it ends."""
    many = SIZES[-1]
    said = (
        f"A recorded run took {costs['seconds'].mean():.0f} s and "
        f"{in_bytes(costs['bytes'].mean())} on average over {counted(len(costs), 'run')}; "
        f"{many:,} of them would fill "
        f"{in_bytes(many * costs['bytes'].mean())} in {many * FILES_A_RUN:,} files"
    )
    if packed is not None:
        said += (
            f", or {in_bytes(packed * many)} once they are packed (`lth pack`), which "
            "also spares a network file system most of those files"
        )
    if found is None:
        return f"{said}."
    overhead = found["throughput"]["slurm"]["overhead_per_job"]
    share = overhead / (overhead + costs["seconds"].mean())
    return (
        f"{said}. A job cost {overhead:.0f} s beside its training where SLURM was asked every "
        f"second, {100 * share:.0f} % of such a run's time, and costs more with the profile's "
        "gentler waits; so tiny runs are not worth cutting into jobs of one level, and long ones "
        "are cut for their wall-time limit only."
    )


@finished
def gpu_sentence(results: Mapping[str, Found]) -> str:
    """GPU hours of many fine-tunings of base size, as `make bench` measured them on a GPU.

    results: as :func:`lthlib.report.benchmarks.read_benchmarks` gives them.
    """
    part = results.get("cuda", {}).get("vsr")
    if part is None:
        return (
            "No base-size model has been measured on a GPU yet, so GPU hours are missing here: "
            "`make bench` on such a machine gives them."
        )
    seconds = float(np.mean([each["fine_tuning_seconds"] for each in part["models"].values()]))
    machine = results["cuda"]["about"]["parts"]["vsr"]["hardware"]["device"]
    hours = listed([f"{count:,} take {_hours(count * seconds / 3600)}" for count in SIZES])
    return (
        f"On one {machine}, a fine-tuning of base size on items of VSR's number and size takes "
        f"{seconds:.0f} s (mean of {counted(len(part['models']), 'model')}); so {hours}. A run has "
        "one such training for each level and each control."
    )


@finished
def planning_sentence(found: Found) -> str:
    """How many jobs one controller can be given."""
    per_job = planning(found, 2)[0] - planning(found, 1)[0]
    memory = planning(found, 2)[1] - planning(found, 1)[1]
    largest = max(found["planning"], key=lambda entry: entry["jobs"])
    return (
        "Snakemake holds a whole study in memory and plans it before the first job: "
        f"{1000 * per_job:.1f} ms and {in_bytes(memory)} a job (slopes of lines). The most that "
        f"was measured: {largest['jobs']:,} jobs, planned in {_seconds(largest['seconds'])} with "
        f"{in_bytes(largest['bytes'])}."
    )


@finished
def while_running(costs: pd.DataFrame) -> str:
    """Bytes that an unfinished run takes beside."""
    most = costs.iloc[int((costs["weights"] * (costs["levels"] + 1)).to_numpy().argmax())]
    beside = 4 * most["weights"] * (most["levels"] + 1)
    return (
        "A run that is not finished keeps the trained weights of each level beside its records, up "
        f"to {in_bytes(beside)} for a recorded run of {most['levels']} levels and "
        f"{most['weights']:,} weights; they go when it is finished."
    )


# -- what was proven ------------------------------------------------------------------------------
def read_outcome(path: Path) -> dict[str, Any] | None:
    """The outcome of `tests/slurm/prove.py`; None where it has not been run.

    Raises RecordError for a file that is damaged.
    """
    if not path.is_file():
        return None
    try:
        found = dict(json.loads(path.read_text()))
        if {"about", "checks", "throughput", "planning"} <= found.keys():
            return found
    except (ValueError, TypeError):
        pass
    raise RecordError(f"{path} is damaged: run `python tests/slurm/prove.py` again")


def outcome_table(found: Found) -> Exhibit:
    """Every check with its counts."""
    rows = [
        {
            "what is done": _CHECKS.get(name, name),
            "what happened": ", ".join(_counts(check)),
            "levels of the study": f"{check['levels']}" if "levels" in check else "",
            "computations begun": f"{check['computations_begun']}" if "levels" in check else "",
            "files that differ": f"{len(check['files_that_differ'])}",
            "passed": "yes" if check["passed"] else "NO",
        }
        for name, check in sorted(found["checks"].items(), key=lambda each: _place(each[0]))
    ]
    caption = (
        "Checks on SLURM. Computations begun: levels that jobs began to train, counted in their "
        "diaries; more than the study has are levels in which a job was killed, and which were "
        "begun again. Files that differ: of predictions, training histories, curves, masks and "
        f"levels, against those of a plain run, byte by byte (levels but for their seconds). "
        f"{about(found, 'checks')}"
    )
    return plain_table(pd.DataFrame(rows), caption, data=pd.DataFrame(rows))


def _place(name: str) -> int:
    return list(_CHECKS).index(name) if name in _CHECKS else len(_CHECKS)


def _counts(check: Mapping[str, Any]) -> Iterable[str]:
    for name, words in _COUNTS.items():
        if name in check:
            yield words.format(check[name])
    if devices := check.get("devices"):
        yield f"devices {listed(devices)}"


def throughput_table(found: Found) -> Exhibit:
    """One worker against two."""
    rows = [
        {
            "profile": name,
            "runs": f"{each['runs']}",
            **{
                f"seconds with {workers}": ", ".join(f"{s:.0f}" for s in each["seconds"][workers])
                for workers in ("1", "2")
            },
            "times the throughput": f"{each['ratio']:.2f}",
            "seconds of a run's training": f"{each['seconds_per_run']:.1f}",
            "of a job beside it": f"{each['overhead_per_job']:.1f}",
        }
        for name, each in found["throughput"].items()
    ]
    caption = (
        "Two workers against one, a core each, in turns on one machine; the whole command, from "
        "start to end. Times the throughput: ratio of medians. A job beside its training: the "
        "command with one worker, by runs, less the median training, with the profile's waiting "
        f"times set to a second. {about(found, 'throughput')}"
    )
    return plain_table(pd.DataFrame(rows), caption)


@finished
def outcome_sentence(found: Found) -> str:
    """How many checks passed, and what was counted in them."""
    checks = found["checks"]
    passed = sum(check["passed"] for check in checks.values())
    counts = ("computations_begun", "levels", "levels_begun_again", "finished_levels_begun_again")
    begun, levels, again, redone = (
        sum(check.get(name, 0) for check in checks.values()) for name in counts
    )
    differ = sum(len(check["files_that_differ"]) for check in checks.values())
    ratios = [f"{each['ratio']:.2f} ({name})" for name, each in found["throughput"].items()]
    throughput = f"Two workers did {listed(ratios)} times what one does."
    if found["about"]["throughput"]["small"]:
        throughput = "Throughput was only tried with runs too short to measure it."
    return (
        f"{passed} of {counted(len(checks), 'check')} passed. In them {levels} levels had to be "
        f"computed, and {begun} computations were begun: {again - redone} levels were begun again "
        f"because a job was killed in them, and {redone or 'none'} that was finished. "
        f"{differ or 'No'} "
        f"{'file differs' if differ == 1 else 'files differ'} from a plain run's. {throughput}"
    )


def about(found: Found, part: str) -> str:
    """When and on what a part was made."""
    how = found["about"][part]
    versions = how["versions"]
    small = " A small check, too short to measure throughput." if how["small"] else ""
    return (
        f"Made on {how['made'][:10]} on {how['hardware']['processor']} with "
        f"{counted(how['hardware']['cores'], 'core')} (load before: {how['load_before']:.1f}), "
        f"SLURM {versions['slurm']} on one node with two files that stand for GPUs, "
        f"Snakemake {versions['snakemake']}, its SLURM plugin "
        f"{versions['snakemake-executor-plugin-slurm']}, torch {versions['torch']}.{small}"
    )


# -- what is shipped ------------------------------------------------------------------------------
def file_text(path: Path, language: str) -> str:
    """A file as it is, as a block of code."""
    return f"```{language}\n{path.read_text(encoding='utf-8').rstrip()}\n```"


# -- numbers as text ------------------------------------------------------------------------------
def _hours(hours: float) -> str:
    if np.isnan(hours):
        return "not measured"
    if hours < 0.1:
        return f"{60 * hours:.1f} min"
    return f"{hours:.1f} h" if hours < 100 else f"{hours:,.0f} h"


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 600 else _hours(seconds / 3600)
