"""Two of the main source's measures that it defined and never printed: confidence, invariability.

Formula 6 (invariability) is formula 3 (fidelity). With two classes formula 7 (confidence) follows
from the two accuracies and fidelity. Both are computed here by their own definition, and beside
it by what they follow from.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from lthlib.report.exhibits import Exhibit, intervals, seeds_and_items
from lthlib.report.measures import Floats
from lthlib.report.show import level_table


def determined(agreements: pd.DataFrame) -> pd.DataFrame:
    """Invariability and confidence of tickets, beside what gives them without counting.

    C = A_f / A_m by definition; with two classes C = (A_d + A_m - 1 + F) / (2 F A_m), where A_d and
    A_m are the accuracies of dense and pruned model and F is fidelity.

    agreements: a frame of :func:`lthlib.report.measures.agreements`, described, two classes.
    Returns its main branch with confidence_formula, confidence_error and invariability_error (how
    far each is from what it follows from).
    """
    main = agreements[agreements["branch"] == "main"]
    d, m, f, c, i = (
        main[name].astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
        for name in ("accuracy_dense", "accuracy_pruned", "fidelity", "confidence", "invariability")
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        formula: Floats = np.where(f * m > 0, (d + m - 1 + f) / (2 * f * m), np.nan)
    return main.assign(
        confidence_formula=formula,
        confidence_error=np.abs(formula - c),
        invariability_error=np.abs(i - f),
    )


def determined_table(agreements: pd.DataFrame) -> Exhibit:
    """Fidelity, invariability and confidence, level by level."""
    frame = determined(agreements)
    table, data = level_table(frame, ["fidelity", "invariability", "confidence"])
    caption = (
        f"Two measures that the main source defined and did not print: {seeds_and_items(frame)}. "
        f"Mean over seeds; in brackets: {intervals(frame)}."
    )
    return Exhibit(caption, f"Table of {len(table)} levels.", data, table=table)


def determined_sentence(agreements: pd.DataFrame) -> str:
    """How far the two are from what they follow from."""
    frame = determined(agreements)
    confidence = frame["confidence"].dropna().astype(float)
    return (
        f"In {len(frame)} tickets, a ticket being one level of one run, invariability differs from "
        f"fidelity by {_small(frame['invariability_error'])}, and confidence from what "
        f"the two accuracies and fidelity give by {_small(frame['confidence_error'])}. "
        f"Neither adds a number. Confidence runs from {confidence.min():.3f} to "
        f"{confidence.max():.3f}; above 1 it says only that items on which both models agree are "
        "answered better than others."
    )


def _small(errors: pd.Series[float]) -> str:
    """The greatest of errors that should be rounding."""
    greatest = float(errors.max())
    return f"at most {greatest:.0e}" if greatest else "nothing at all"
