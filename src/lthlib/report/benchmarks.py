"""Benchmarks as frames of text: ratios of two ways within one run of `python -m benchmarks`.

Each function takes the results of one device.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from lthlib.errors import RecordError
from lthlib.report.exhibits import model_name

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


def steps(found: Found) -> pd.DataFrame:
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
    return pd.DataFrame(rows)


def kernels(found: Found) -> pd.DataFrame:
    """The library's own ways of computing one epoch, against its plain kernels."""
    rows = [
        {"size": size, "model": model_name(model), "kernels": kernels, **_ratio(ratio)}
        for size, models in found["steps"].items()
        for model, each in models.items()
        for kernels, ratio in each["kernels"].items()
    ]
    return pd.DataFrame(rows)


def study(found: Found) -> pd.DataFrame:
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
    return pd.DataFrame(rows)


def _of_kernels(each: Found, kernels: str) -> Found:
    """The ratios of one way of ours against the peers."""
    return each if kernels == each["usual"] else {"against": each["plain_against"]}


def ladder(found: Found) -> pd.DataFrame:
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
    return pd.DataFrame(rows)


def cores(found: Found) -> pd.DataFrame:
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
    return pd.DataFrame(rows)


def together(found: Found) -> pd.DataFrame:
    """Tiny models trained at once, against one after another."""
    rows = [
        {"model": model_name(model), "models at once": count, **_ratio(each)}
        for model, blocks in found["together"].items()
        for count, each in blocks.items()
    ]
    return pd.DataFrame(rows)


def masks(found: Found) -> pd.DataFrame:
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
    return pd.DataFrame(rows)


def pruning(found: Found) -> pd.DataFrame:
    """Exact global pruning against `torch.nn.utils.prune.global_unstructured`."""
    return pd.DataFrame(map(_pruning_row, found["pruning"].values())).fillna("")


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


def streaming(found: Found) -> pd.DataFrame:
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
    return pd.DataFrame(rows)


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


_PEER = {"ours": "ours", "lightning": "Lightning", "loop": "plain loop", "trainer": "Trainer"}
_LAYOUTS = {
    "threads": "one process of ours",
    **{f"{peer}, processes": f"{name} in processes" for peer, name in _PEER.items()},
}


def _against(each: Found, names: Mapping[str, str] = _PEER) -> dict[str, str]:
    return {
        f"against {({**_PEER, **names})[peer]}": f"{ratio['ratio_of_medians']:.2f} "
        f"({ratio['lowest_ratio']:.2f} to {ratio['highest_ratio']:.2f})"
        for peer, ratio in each["against"].items()
    }


def _times(seconds: Found) -> str:
    return f"{seconds['min']:.3g}, {seconds['median']:.3g}"


def _rounded(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _share(found: Found, speed: float, precision: str) -> str:
    return f"{speed / found['peak'][precision]:.0%}"


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


def report(found: Found) -> pd.DataFrame:
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
    return pd.DataFrame(rows)


def writing(found: Found) -> pd.DataFrame:
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
    return pd.DataFrame(rows)
