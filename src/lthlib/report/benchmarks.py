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


def read_benchmarks(folder: Path) -> dict[str, Found]:
    """The results of each device, by name. Raises RecordError for a file that is damaged."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        try:
            found[path.stem] = json.loads(path.read_text())
        except ValueError:
            raise RecordError(f"{path} is damaged: run `make bench` again") from None
    return found


def masks_table(found: Found) -> Exhibit:
    """A training step with half of the prunable weights masked, against a dense one."""
    rows = [
        {"model": model_name(model), **_ratio(each), **_seconds(each, "masked", "dense")}
        for model, each in found["masks"].items()
    ]
    title = "A training step with half of the prunable weights masked, against a dense one"
    return _table(rows, found, "masks", title)


def ladder_table(found: Found) -> Exhibit:
    """A ladder as the main source ran it, by this library and by the source's own means."""
    rows = [
        {
            "model": model_name(model),
            **_ratio(each),
            **_seconds(each, "ours", "theirs"),
            "peak memory, MB": _megabytes(each["peak_bytes"], "ours", "theirs"),
        }
        for model, each in found["ladder"].items()
    ]
    amounts = " and ".join(f"{100 * amount:.0f} %" for amount in found["about"]["amounts"])
    return _table(
        rows,
        found,
        "ladder",
        f"A ladder of the protocol as_published with the amounts {amounts}, training and pruning: "
        "this library against the source's way (torch.nn.utils.prune, DataLoader, plain AdamW)",
    )


def pruning_table(found: Found) -> Exhibit:
    """Exact global pruning against `torch.nn.utils.prune.global_unstructured`."""
    rows = [
        {
            "weights": f"{each['weights']:,}",
            **_ratio(each),
            **_seconds(each, "lthlib", "torch"),
            "extra memory, MB": _megabytes(each["extra_bytes"], "lthlib", "torch"),
            "masks differ in": f"{each['differing']:,} weights, "
            f"{each['differing_beyond_ties']:,} of them no ties",
        }
        for each in found["pruning"].values()
    ]
    return _table(
        rows,
        found,
        "pruning",
        "Global magnitude pruning: this library against torch.nn.utils.prune.global_unstructured",
    )


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
    how = found["about"]
    hardware = how["hardware"]
    machine = hardware["processor"] if how["devices"][part] == "cpu" else hardware["device"]
    small = " A small check, too short to be a measurement." if how["small"] else ""
    return (
        f"Measured on {how['made'][:10]} on {machine} with one thread and torch "
        f"{how['versions']['torch']}.{small}"
    )


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
