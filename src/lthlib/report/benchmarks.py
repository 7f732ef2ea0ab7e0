"""Benchmarks as tables: ratios of two ways, taken within one run of `python -m benchmarks`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from lthlib.errors import RecordError
from lthlib.report.exhibits import Exhibit, model_name
from lthlib.report.plain import plain_table

Found = Mapping[str, Any]
OTHER = ("faults", "slurm")
"""Results that are no device's: they have readers of their own."""


def read_benchmarks(folder: Path) -> dict[str, Found]:
    """The results of each device, by name. Raises RecordError for a file that is damaged."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        if path.stem in OTHER:
            continue
        try:
            found[path.stem] = json.loads(path.read_text())
        except ValueError:
            raise RecordError(f"{path} is damaged: run `make bench` again") from None
    return found


DEVICES = {"cpu": "on a processor", "cuda": "on a GPU"}


def what_is_there(found: Mapping[str, Found]) -> list[str]:
    """A sentence for each device that has not been measured."""
    return [
        f"Nothing has been measured {words} yet: `make bench` on such a machine does it, and the "
        "tables below then get its figures."
        for device, words in DEVICES.items()
        if device not in found
    ]


def steps_table(found: Found) -> Exhibit:
    """An epoch of dense training: this library against three peers, and against the peak."""
    rows = []
    for size, models in found["steps"].items():
        for model, each in models.items():
            # Those of the presets, then the plain ones, which are what the peers compute with.
            for kernels in dict.fromkeys((each["usual"], "plain")):
                seconds = each["seconds"][kernels]["min"]
                speed = each["flops"][kernels] / seconds
                rows.append(
                    {
                        "size": size,
                        "model": model_name(model),
                        "kernels": kernels,
                        "items": f"{each['items']:,} by {each['batch_size']}",
                        "items a second": _rounded(each["items"] / seconds),
                        "share of the peak": _share(found, speed, each["precision"]),
                        **_against(_of_kernels(each, kernels)),
                    }
                )
    kinds = sorted({m["precision"] for models in found["steps"].values() for m in models.values()})
    caption = (
        f"An epoch of dense training in {' and '.join(kinds)}, tiny models on digits, base-size "
        "ones on made-up items of VSR's size (36 regions of 2,048 numbers, captions padded to 30, "
        "about as VSR's authors pad them). Kernels: first what the presets use there; the peers "
        "compute with the models' own, which are the plain ones, so that plain rows tell the loop "
        "alone. Fused ones also cut padding, which a peer's user could do as well. "
        "Share of the peak: operations of matrix products, forwards and backwards, a second, over "
        f"the most that a square matrix product reached in the same run ({_peak(found)}). {PEERS} "
        f"{RATIOS} {about(found, 'steps')}"
    )
    return plain_table(pd.DataFrame(rows), caption)


def kernels_table(found: Found) -> Exhibit:
    """The library's own ways of computing one epoch, against its plain kernels."""
    rows = [
        {"size": size, "model": model_name(model), "kernels": kernels, **_ratio(ratio)}
        for size, models in found["steps"].items()
        for model, each in models.items()
        for kernels, ratio in each["kernels"].items()
    ]
    caption = (
        "The same epochs by this library's other kernels, against its plain ones: fused (attention "
        "in one kernel, batches cut to their longest item) and, on a GPU, compiled besides "
        f"(torch.compile). {RATIOS} {about(found, 'steps')}"
    )
    return plain_table(pd.DataFrame(rows), caption)


def study_table(found: Found) -> Exhibit:
    """What the fine-tunings of the main source's study of VSR take."""
    part = found["vsr"]
    rows = [
        {
            "model": model_name(model),
            "seconds of an epoch": f"{each['epoch_seconds']:,.1f}",
            "seconds of a fine-tuning": f"{each['fine_tuning_seconds']:,.1f}",
            "share of the peak": _share(found, each["flops_per_second"], each["precision"]),
        }
        for model, each in part["models"].items()
    ]
    counted = {each["items"] for each in part["models"].values()}
    whole = all(each["whole"] for each in part["models"].values())
    how = "measured whole" if whole else f"reckoned from {max(counted)} items"
    caption = (
        f"A base-size fine-tuning on items of VSR's number and size, an epoch {how}. At the mean "
        f"of these, the {part['fine_tunings']} fine-tunings of the main source's study of VSR take "
        f"{_hours(part['study_seconds'])} on this machine; the source gives 3.5 hours for one run "
        f"of one model. {_beside(part)}{about(found, 'vsr')}"
    )
    return plain_table(pd.DataFrame(rows), caption)


def _of_kernels(each: Found, kernels: str) -> Found:
    """The ratios of one way of ours against the peers."""
    return each if kernels == each["usual"] else {"against": each["plain_against"]}


def _beside(part: Found) -> str:
    if "evaluation_share" not in part:
        return ""
    return (
        "Steps alone: answering the validation items after each epoch, and all held-out items at "
        f"the end, is {part['evaluation_share']:.0%} more by operations. "
    )


def ladder_table(found: Found) -> Exhibit:
    """A ladder as the main source ran it, by this library and by three peers, on one core."""
    rows = [
        {
            "model": model_name(model),
            "seconds (minimum, median)": _times(each["seconds"]["ours"]),
            **_against(each),
            "peak memory, MB": ", ".join(
                f"{_PEER.get(way, way)} {peak / 1e6:,.0f}"
                for way, peak in each["peak_bytes"].items()
            ),
        }
        for model, each in found["ladder"].items()
    ]
    caption = (
        "A tiny ladder of the protocol as_published (three rounds of training and pruning for each "
        f"of two amounts) with one thread. {PEERS} {RATIOS} {about(found, 'ladder')}"
    )
    return plain_table(pd.DataFrame(rows), caption)


def cores_table(found: Found) -> Exhibit:
    """The same ladders by the whole machine."""
    part = found["cores"]
    rows = [
        {
            "model": model_name(model),
            "seconds of a ladder (minimum, median)": _times(each["seconds"]["processes"]),
            **_against(each, _LAYOUTS),
        }
        for model, each in part["models"].items()
    ]
    caption = (
        f"The same ladders on all {part['cores']} cores: this library runs a process of one thread "
        "on each, as `lth run` does; one process of ours, and of each peer, as it is used, has as "
        "many threads as there are cores. Against a peer in processes: laid out as ours, which "
        "its users would have to do themselves; that ratio tells what the loop alone does. Seconds "
        "are those of the machine for each ladder. "
        f"{PEERS} {RATIOS} {about(found, 'cores')}"
    )
    return plain_table(pd.DataFrame(rows), caption)


def together_table(found: Found) -> Exhibit:
    """Tiny models trained at once, against one after another."""
    rows = [
        {"model": model_name(model), "models at once": count, **_ratio(each)}
        for model, blocks in found["together"].items()
        for count, each in blocks.items()
    ]
    caption = (
        "An epoch of several tiny models trained at once (a study's `together`), against the same "
        f"models one after another. {RATIOS} {about(found, 'together')}"
    )
    return plain_table(pd.DataFrame(rows), caption)


def masks_table(found: Found) -> Exhibit:
    """A training step with half of the prunable weights masked, against a dense one."""
    rows = [
        {
            "size": size,
            "model": model_name(model),
            **_ratio(each),
            **_seconds(each, "masked", "dense"),
        }
        for size, models in found["masks"].items()
        for model, each in models.items()
    ]
    title = "A training step with half of the prunable weights masked, against a dense one"
    return _table(rows, found, "masks", title)


def pruning_table(found: Found) -> Exhibit:
    """Exact global pruning against `torch.nn.utils.prune.global_unstructured`."""
    caption = (
        "Global magnitude pruning to half, this library against "
        "torch.nn.utils.prune.global_unstructured; at the larger size a processor runs the library "
        "alone, since torch's way needs several times as much memory and minutes. Extra memory: "
        "above the weights, scores and masks included. "
        f"{RATIOS} {about(found, 'pruning')}"
    )
    rows = pd.DataFrame(map(_pruning_row, found["pruning"].values())).fillna("")
    return plain_table(rows, caption)


def _pruning_row(each: Found) -> dict[str, str]:
    row = {
        "weights": f"{each['weights']:,}",
        "seconds (minimum, median)": _times(each["seconds"]["lthlib"]),
        "extra memory, MB": f"{each['extra_bytes']['lthlib'] / 1e6:,.0f}",
        "extra memory over scores": f"{each['extra_bytes']['lthlib'] / (4 * each['weights']):.2f}",
    }
    if "torch" not in each["seconds"]:
        return row
    return {
        **row,
        **_ratio(each),
        "torch's seconds": _times(each["seconds"]["torch"]),
        "torch's memory, MB": f"{each['extra_bytes']['torch'] / 1e6:,.0f}",
        "masks differ in": f"{each['differing']:,} weights, "
        f"{each['differing_beyond_ties']:,} of them no ties",
    }


def streaming_table(found: Found) -> Exhibit:
    """Memory and time of reading questions and regions at VQA v2's size."""
    part = found["streaming"]["streaming"]
    rows = [
        {
            "part": name,
            "seconds": f"{part[name]['seconds']:.3g}",
            "most memory beside the page cache, GB": f"{part[name]['peak_bytes'] / 1e9:.2f}",
        }
        for name in ("first reading", "next reading", "batches")
    ]
    against = found["streaming"]["table"]["ratio"]
    caption = (
        f"{part['questions']:,} questions with the regions of {part['images']:,} images, made up "
        f"at VQA v2's size: the store has {part['store_bytes'] / 1e9:.1f} GB in a sparse file that "
        "reads as zeros, so that this tells memory, not the speed of a disk. First reading: from "
        "the archives; next reading: from what was kept of them. A batch of 64 random questions "
        f"with the worth of {part['answers']:,} answers takes {1000 * part['batch_seconds']:.0f} "
        "ms (median). The same batches of 256 images from a store take "
        f"{against['ratio_of_medians']:.3f} times as long as from LXMERT's table (medians; "
        f"{against['ratio_of_minima']:.3f} of minima). {about(found, 'streaming')}"
    )
    return plain_table(pd.DataFrame(rows), caption)


def about(found: Found, part: str) -> str:
    """When and on what a part was measured."""
    how = found["about"]["parts"][part]
    hardware = how["hardware"]
    machine = hardware["processor"] if hardware["device"] == "cpu" else hardware["device"]
    threads = "all threads" if part == "cores" else "one thread"
    small = " A small check, too short to be a measurement." if how.get("small") else ""
    return (
        f"Measured on {how['made'][:10]} on {machine} ({hardware['cores']} cores) with {threads} "
        f"and torch {how['versions']['torch']}, at commit {how['commit'][:7] or 'unknown'}.{small}"
    )


RATIOS = (
    "Ratios are of seconds, ours over theirs: below 1 the first is faster. The one of medians, in "
    "brackets the lowest and highest of all turns; the ways took turns within one run."
)
_PEER = {"ours": "ours", "lightning": "Lightning", "loop": "plain loop", "trainer": "Trainer"}
_LAYOUTS = {
    "threads": "one process of ours",
    **{f"{peer}, processes": f"{name} in processes" for peer, name in _PEER.items()},
}
PEERS = (
    "Lightning: pytorch-lightning's loop with its pruning callback, the main source's way; plain "
    "loop: a DataLoader and torch.nn.utils.prune, the VSR authors' way; Trainer: Hugging Face's. "
    "All with the same model, items, batch size and precision."
)


def _against(each: Found, names: Mapping[str, str] = _PEER) -> dict[str, str]:
    return {
        f"against {({**_PEER, **names})[peer]}": f"{ratio['ratio_of_medians']:.2f} "
        f"({ratio['lowest_ratio']:.2f} to {ratio['highest_ratio']:.2f})"
        for peer, ratio in each["against"].items()
    }


def _times(seconds: Found) -> str:
    return f"{seconds['min']:.3g}, {seconds['median']:.3g}"


def _peak(found: Found) -> str:
    return ", ".join(f"{peak / 1e12:.3g} TFLOP/s in {kind}" for kind, peak in found["peak"].items())


def _rounded(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _share(found: Found, speed: float, precision: str) -> str:
    return f"{speed / found['peak'][precision]:.0%}"


def _hours(seconds: float) -> str:
    minutes = seconds / 60
    return f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:,.1f} hours"


def _table(rows: list[dict[str, str]], found: Found, part: str, title: str) -> Exhibit:
    caption = (
        f"{title}. Ratios below 1 mean that the first is faster. Of the ratio the table gives the "
        "one of medians, the one of minima, and in brackets the lowest and highest of all turns; "
        f"the two ways took turns. {about(found, part)}"
    )
    return plain_table(pd.DataFrame(rows), caption)


def _ratio(each: Found) -> dict[str, str]:
    return {
        "ratio of medians": f"{each['ratio_of_medians']:.3f} "
        f"({each['lowest_ratio']:.3f} to {each['highest_ratio']:.3f})",
        "ratio of minima": f"{each['ratio_of_minima']:.3f}",
    }


def _seconds(each: Found, ours: str, theirs: str) -> dict[str, str]:
    times = each.get("seconds", each)
    return {
        f"seconds, {way} (minimum, median)": f"{times[way]['min']:.3g}, {times[way]['median']:.3g}"
        for way in (ours, theirs)
    }


def _megabytes(peak: Mapping[str, float], ours: str, theirs: str) -> str:
    return f"{peak[ours] / 1e6:,.0f} against {peak[theirs] / 1e6:,.0f}"


def report_table(found: Found) -> Exhibit:
    """Time and memory of a report as its records grow."""
    part = found["report"]
    kinds = {
        "runs": "runs, one process",
        "several": "runs, {processes} processes",
        "packs": "packs, one process",
    }
    rows = [
        {
            "records": kind.format(**each),
            "runs": f"{int(runs):,}",
            "seconds": f"{each['seconds']:,.1f}",
            **{
                f"{step}, seconds": f"{each[name]['seconds']:,.1f}"
                for name, step in (("verify", "check"), ("read", "read and measure"),
                                   ("judge", "judge"))
            },
            "most memory, GB": f"{each['peak_bytes'] / 1e9:.2f}",
        }
        for name, kind in kinds.items()
        for runs, each in part[name].items()
    ]  # fmt: skip
    form = part["form"]
    slopes = ", ".join(
        f"{part[f'growth of {kind}']['seconds']:.2f} for {kind}" for kind in ("runs", "packs")
    )
    caption = (
        f"Runs made up after those of the preset quick: studies of {form['seeds']} seeds, each run "
        f"with {form['levels']} levels, {form['records']} records of {form['items']:,} test items "
        f"and {form['bytes'] / 1e6:.2f} MB. Check: every file against its SHA-256, as `lth verify` "
        "does. Read and measure: quality, agreements, the gate, fidelity between all records of a "
        "study, and its floor. Judge: every test of the verdicts. Each line is a fresh process, "
        "nothing is kept from one to the next, and the files lie in the page cache. Memory is that "
        "of all its processes beside the page cache. Seconds grow with the number of runs to the "
        f"power {slopes} (slope in logarithms; 1 is linear). {about(found, 'report')}"
    )
    return plain_table(pd.DataFrame(rows), caption)


def writing_table(found: Found) -> Exhibit:
    """What writing records takes of a run."""
    part = found["writing"]
    computed = part["seconds"]["training and evaluation"]
    names = {"items": "the test items", "levels": "its levels", "finish": "the finished run"}
    rows = [
        {
            "written": text,
            "seconds": f"{part['seconds'][name]:.2f}",
            "share of training and evaluation, %": f"{100 * part['seconds'][name] / computed:.2f}",
        }
        for name, text in names.items()
    ]
    total = part["share"] * computed
    share = f"{100 * part['share']:.2f}"
    rows.append({"written": "all", "seconds": f"{total:.2f}", list(rows[0])[2]: share})
    caption = (
        f"Records of one run of {model_name(part['model'])} as in the preset quick: "
        f"{part['levels']} levels, {part['trainings']} trainings of {part['epochs']} epochs, "
        f"{part['bytes'] / 1e6:.2f} MB. Seconds from a finished level to its seal on the disk, the "
        f"wait for the disk included, beside {computed:,.1f} s of training and evaluation. "
        f"{about(found, 'writing')}"
    )
    return plain_table(pd.DataFrame(rows), caption)
