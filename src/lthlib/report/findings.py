"""Findings: computed sentences about models side by side, for the opening page.

Each function takes described frames of one or more models, at one stage (see
:func:`lthlib.report.reading.joined`), and returns one paragraph. The words never claim more than
the numbers: they say what was measured, with its interval, and leave judging to the reader. They
speak of one level, which is chosen by its place on the ladder and never by its result.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from lthlib.report.exhibits import MEASURES, model_name, sparsity_text, summary_text
from lthlib.report.tidy import in_order, over_seeds
from lthlib.report.words import listed, signed


def by_model(frame: pd.DataFrame, measure: str) -> str:
    """One measure of every model, such as "93.1 % (VisualBERT; 91.0 to 95.2) and ..."."""
    data = over_seeds(frame, ["model", "level"], [measure])
    parts = []
    for model in in_order(frame["model"]):
        value, _, interval = summary_text(MEASURES[measure], _row(data, model)).partition(" (")
        inside = f"{model_name(model)}; {interval}" if interval else f"{model_name(model)})"
        parts.append(f"{value} % ({inside}")
    return listed(parts)


def sparsity_of(frame: pd.DataFrame, level: int, of: str = "sparsity") -> str:
    """Sparsity of a level, as a range where models differ in it."""
    shares = frame.loc[frame["level"] == level, of]
    ends = dict.fromkeys(sparsity_text(share) for share in (shares.min(), shares.max()))
    return f"{' to '.join(ends)} %"


def _row(frame: pd.DataFrame, model: str) -> pd.Series[Any]:
    """The one row of a model."""
    return frame[frame["model"] == model].iloc[0]


def points(row: pd.Series[Any]) -> str:
    """One paired difference in points, such as "−0.3 points (−1.1 to +0.5)"."""
    if row.isna()["difference"]:
        return f"an unknown number of points ({row['flags']})"
    text = f"{signed(row['difference'])} points"
    if row.isna()["low"]:
        return text
    return f"{text} ({signed(row['low'])} to {signed(row['high'])})"
