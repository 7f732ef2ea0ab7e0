"""Tables that are finished as they stand: one exhibit from one frame."""

from __future__ import annotations

import pandas as pd

from lthlib.report.exhibits import Exhibit


def plain_table(table: pd.DataFrame, caption: str, *, data: pd.DataFrame | None = None) -> Exhibit:
    """An exhibit of a frame of finished text; data: the numbers behind it, where they differ."""
    heads = ", ".join(str(column) for column in table.columns)
    alt = f"Table of {len(table)} {'row' if len(table) == 1 else 'rows'}: {heads}."
    return Exhibit(caption, alt, table if data is None else data, table=table.astype(str))
