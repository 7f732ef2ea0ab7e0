"""Parts of the reference study that may not have been run yet."""

from __future__ import annotations

from typing import Any

from lthlib.records import RecordStore
from lthlib.reference import PARTS
from lthlib.report.reading import Reading, read_part
from lthlib.study import reference


def held_part(part: str, store: RecordStore, **choices: Any) -> list[Reading]:
    """:func:`lthlib.report.reading.read_part`, or nothing where no run of the part is recorded.

    Raises RecordError for a run that is there and damaged.
    """
    names = [run for study in reference(part, **choices) for run in study.run_ids()]
    return read_part(part, store, **choices) if any(map(store.has, names)) else []


def not_run(*parts: str) -> str:
    """What is missing, and how to make it."""
    what = "; ".join(f"{PARTS[part].about} (part `{part}`)" for part in parts)
    return f"Not run yet: {what}. `lth run --preset full` makes it."
