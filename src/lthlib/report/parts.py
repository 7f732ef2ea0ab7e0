"""Parts of the reference study that may not have been run yet."""

from __future__ import annotations

from typing import Any

from lthlib.records import RecordStore
from lthlib.reference import PARTS
from lthlib.report.reading import Reading, read_many, recorded_part


def held_part(part: str, store: RecordStore, **choices: Any) -> list[Reading]:
    """:func:`lthlib.report.reading.read_part`, or nothing where no run of the part is recorded.

    Raises RecordError for a run that is there and damaged.
    """
    return read_many(recorded_part(part, store, **choices), store)


def not_run(*parts: str) -> str:
    """What is missing, and how to make it."""
    what = "; ".join(f"{PARTS[part].about} (part `{part}`)" for part in parts)
    return f"Not run yet: {what}. `lth run --preset full` makes it."
