"""What a crash leaves: the outcome of `python -m benchmarks.faults` as tables and sentences."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from lthlib.errors import RecordError
from lthlib.report.exhibits import Exhibit
from lthlib.report.plain import plain_table
from lthlib.report.words import counted, finished, listed

Found = Mapping[str, Any]
COMMAND = "python -m benchmarks.faults"
PHASES = (
    "start-up", "beginning the run", "training", "writing a level", "between levels",
    "finishing the run", "removing parts", "after the records",
)  # fmt: skip
"""Where a study can stand when it is struck, in their order."""
WRONG = {
    "stray": "temporary files or forgotten parts",
    "damaged": "damaged files among those that count as finished",
    "locked": "locks still held",
    "computed_twice": "levels computed again after they were finished",
    "left_running": "processes left running",
    "unclear_ends": "ends without one clear line",
}
"""What else is looked for, beside differing bytes; each counted."""
_DISKS = {
    "tmpfs": "a disk of its own (tmpfs) that was filled",
    "injected": "writes that failed as on a full disk, since none could be mounted",
}


def read_faults(path: Path) -> Found | None:
    """The outcome; None where the file is missing. Raises RecordError where it is damaged."""
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text())
        kinds, total = found["kinds"].values(), found["totals"]
        hits = [hit["phase"] for kind in kinds for hit in kind["hits"]]
        whole = len(hits) == total["kills"] and set(hits) <= set(PHASES)
        whole = whole and {*WRONG, "differing_runs", "runs", "studies"} <= total.keys()
        whole = whole and {"made", "seed", "hardware", "versions", "study"} <= found["about"].keys()
    except (ValueError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise RecordError(f"{path} is damaged: run `{COMMAND}` again")
    return dict(found)


@finished
def summary(found: Found | None) -> str:
    """What was done, and whether anything was lost, in a few sentences."""
    if found is None:
        return f"No faults have been tried yet: `{COMMAND}` does it."
    total = found["totals"]
    differing = total["differing_runs"]
    same = (
        f"All {total['runs']:,} equal the uninterrupted run in every byte"
        if not differing
        else f"**{differing:,} of {total['runs']:,} differ from the uninterrupted run**"
    )
    return (
        f"{counted(total['kills'], 'time')} a running study was struck at a random moment and "
        f"resumed, until all {counted(total['runs'], 'run')} were finished. {same}. "
        f"{_what_else(total)} {_computed(total)}"
    )


def _what_else(total: Mapping[str, int]) -> str:
    """What was looked for beside differing bytes: all that was found, or that nothing was."""
    wrong = [f"{thing} ({total[name]:,})" for name, thing in WRONG.items() if total[name]]
    if wrong:
        return f"**Found as well: {listed(wrong)}.**"
    return f"Nothing else was found: no {', no '.join(WRONG.values())}."


def _computed(total: Mapping[str, int]) -> str:
    return (
        f"{counted(total['levels_trained'], 'level')} were trained; "
        f"{total['levels_given_up']:,} more had been begun when a strike came, and were trained "
        "again from their start."
    )


def kinds_table(found: Found) -> Exhibit:
    """One row per kind of fault: how often, on how many runs, and how many of them differ."""
    rows = [
        {
            "what happens": each["about"].replace("`", ""),
            "times": f"{len(each['hits']):,}",
            "struck": _victims(each),
            "studies": f"{each['studies']:,}",
            "runs": f"{each['runs']:,}",
            "identical": f"{each['runs'] - each['differing_runs']:,}",
            "anything else": f"{sum(each['findings'][name] for name in WRONG):,}",
        }
        for each in found["kinds"].values()
    ]
    caption = (
        "Faults at random moments, each followed by a resume; a study may be struck several times "
        "before it is left to finish. Identical: runs of which every file equals the uninterrupted "
        f"run's. Compared were {found['about']['comparison']}. Anything else: "
        f"{'; '.join(WRONG.values())}. {_disks(found)}{about(found)}"
    )
    return plain_table(pd.DataFrame(rows), caption)


def phases_table(found: Found) -> Exhibit:
    """How many strikes of each kind fell on each phase of a study."""
    hits = [hit for each in found["kinds"].values() for hit in each["hits"]]
    seen = [phase for phase in PHASES if any(hit["phase"] == phase for hit in hits)]
    rows = []
    for name, each in {**found["kinds"], "all": {"hits": hits}}.items():
        counts = pd.Series([hit["phase"] for hit in each["hits"]]).value_counts()
        rows.append({"kind": name, **{phase: f"{counts.get(phase, 0):,}" for phase in seen}})
    caption = (
        "Where the study stood when it was struck, from what its processes had noted on disk. "
        "Moments were drawn uniformly over the work of an uninterrupted study, in measured "
        "processor seconds, over the writes that were left, or over the room that was left on a "
        f"disk, with the seed {found['about']['seed']}; those that came after its end do not "
        "count. Start-up is long beside so small a study: packages are imported. After the "
        f"records: the notebook reads them, or processes end. {about(found)}"
    )
    return plain_table(pd.DataFrame(rows), caption)


def _victims(each: Found) -> str:
    counts = pd.Series([hit["victim"] for hit in each["hits"]]).value_counts(sort=False)
    return ", ".join(f"{victim} {count}" for victim, count in counts.items())


def _disks(found: Found) -> str:
    disks = [_DISKS.get(disk, disk) for disk in found["about"].get("disks", ())]
    return f"A full disk is {listed(disks)}. " if disks else ""


def about(found: Found) -> str:
    """When, on what and on which study it was done."""
    how = found["about"]
    study = how["study"]
    small = " A small check that everything runs, not the whole." if how["small"] else ""
    return (
        f"Done on {how['made'][:10]} in {how['seconds'] / 60:.0f} minutes on "
        f"{how['hardware']['processor']} with torch {how['versions']['torch']}, on a study of "
        f"{study['levels']} pruned levels and {counted(study['train_items'], 'training item')}."
        f"{small}"
    )
