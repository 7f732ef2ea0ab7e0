"""Tables that are finished as they stand: one exhibit from one frame."""

from __future__ import annotations

import pandas as pd

from lthlib.report import show
from lthlib.report.exhibits import Exhibit


def plain_table(table: pd.DataFrame, caption: str, *, data: pd.DataFrame | None = None) -> Exhibit:
    """An exhibit of a frame of finished text; data: the numbers behind it, where they differ."""
    made = show.table(table, data=data)
    return Exhibit(caption, made.alt, made.data, table=made.table)
