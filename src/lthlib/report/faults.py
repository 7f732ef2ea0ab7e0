"""What a crash leaves: the outcome of `python -m benchmarks.faults` as frames."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from lthlib.errors import RecordError

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


def strikes(found: Found) -> pd.DataFrame:
    """One row a strike: kind, victim, phase (of PHASES) and seconds of the study until then."""
    return pd.DataFrame([hit for each in found["kinds"].values() for hit in each["hits"]])


def kinds(found: Found) -> pd.DataFrame:
    """One row a kind of fault: kind, about, times, struck, studies, runs, identical, else.

    struck: by how many victims of which sort; identical: runs of which every file equals the
    uninterrupted run's; else: how much of WRONG was found.
    """
    struck = strikes(found).groupby("kind")["victim"]
    return pd.DataFrame(
        {
            "kind": name,
            "about": each["about"].replace("`", ""),
            "times": len(each["hits"]),
            "struck": ", ".join(
                f"{victim} {count}"
                for victim, count in struck.get_group(name).value_counts(sort=False).items()
            ),
            "studies": each["studies"],
            "runs": each["runs"],
            "identical": each["runs"] - each["differing_runs"],
            "else": sum(each["findings"][what] for what in WRONG),
        }
        for name, each in found["kinds"].items()
    )


def phases(found: Found) -> pd.DataFrame:
    """How many strikes of each kind, and of all, fell on each phase that was struck."""
    struck = strikes(found)
    counts = pd.crosstab(struck["kind"], struck["phase"])
    seen = [phase for phase in PHASES if phase in counts]
    table = counts.reindex(index=list(found["kinds"]), columns=seen)
    table.loc["all"] = table.sum()
    return table.rename_axis(index="kind", columns=None).reset_index()


def totals(found: Found) -> pd.DataFrame:
    """What was looked for after all resumes, and how often it was found: what, found."""
    total = found["totals"]
    wrong = {"runs that differ from the uninterrupted run": total["differing_runs"]}
    wrong |= {thing: total[name] for name, thing in WRONG.items()}
    return pd.DataFrame({"what": list(wrong), "found": list(wrong.values())})
