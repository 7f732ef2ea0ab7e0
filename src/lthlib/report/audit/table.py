"""A whole table at once: every check that its columns allow, one verdict a row.

A verdict is one of four:

    impossible       no models and no runs could give these numbers, however they were printed
    constant answer  the accuracy is exactly what a model gets that looks at nothing
    possible         every check that applies is passed, which does not make the numbers right
    not checked      the row has too few numbers for any check
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from lthlib.errors import RecordError, unknown
from lthlib.report.audit.checks import (
    CHECKS,
    COUNTS,
    IMPOSSIBLE,
    NUMBERS,
    SHARES,
    TWO_CLASSES_ONLY,
    Audited,
)
from lthlib.report.audit.granularity import MOST_DECISIONS
from lthlib.report.audit.printed import read
from lthlib.report.measures import Ints

POSSIBLE, UNCHECKED = "possible", "not checked"
DEVIATIONS = tuple(f"sd_{name}" for name in SHARES)
SETTINGS = ("items", "positives", "runs")
UNDERSTOOD = (*SHARES, *COUNTS, *NUMBERS, *DEVIATIONS, *SETTINGS)


def audit_table(
    table: pd.DataFrame,
    *,
    items: int | None = None,
    positives: int | None = None,
    runs: int | None = None,
    classes: int = 2,
    percent: bool = False,
) -> pd.DataFrame:
    """One verdict for each row of a table of printed numbers, with the reasons in words.

    table: one row per model or comparison, numbers as text (or floats; zeros at the end are then
        lost, which only makes the audit milder). Columns have the names of
        :func:`lthlib.report.measures.agreements` and :func:`~lthlib.report.measures.quality`;
        `accuracy` stands for the pruned model's where there is no `accuracy_pruned`. sd_<column> is
        a standard deviation over runs. Other columns are left alone.
    items, positives, runs: how many decisions, how many of them true, and how many runs each mean
        is over; as arguments or as columns. What is not given leaves out the checks that need it;
        without runs the numbers are taken as means over an unknown number of them.
    classes: how many answers there are; with more than two, fewer checks apply.
    percent: shares are printed in %.

    Returns the table's index with verdict, why (empty where there is nothing to say) and checks
    (the names of those that applied). Raises RecordError for a column that cannot be read.

    >>> table = pd.DataFrame({"accuracy": ["0.47134", "0.50464", "0.50461"]})
    >>> audit_table(table, items=1012, positives=477, runs=10)["verdict"].tolist()
    ['constant answer', 'possible', 'impossible']
    """
    audited = _audited(table, items, positives, runs, classes, percent)
    outcomes = [outcome for check in CHECKS for outcome in check(audited)]
    verdict = np.full(len(table), UNCHECKED, dtype=object)
    reasons: list[list[str]] = [[] for _ in range(len(table))]
    names: list[list[str]] = [[] for _ in range(len(table))]
    for outcome in outcomes:
        for row in np.flatnonzero(outcome.applies):
            names[row].append(outcome.check)
        fails = outcome.fails & outcome.applies
        verdict[outcome.applies & (verdict == UNCHECKED)] = POSSIBLE
        verdict[fails & (verdict != IMPOSSIBLE)] = outcome.verdict
        for row in np.flatnonzero(fails):
            reasons[row].append(outcome.why(int(row)))
    columns = {
        "verdict": verdict,
        "why": ["; ".join(texts) for texts in reasons],
        "checks": [", ".join(dict.fromkeys(texts)) for texts in names],
    }
    return pd.DataFrame(columns, index=table.index)


def _audited(
    table: pd.DataFrame,
    items: int | None,
    positives: int | None,
    runs: int | None,
    classes: int,
    percent: bool,
) -> Audited:
    if not set(table.columns) & {*SHARES, *NUMBERS}:
        raise RecordError(
            f"audit: no column is understood among {', '.join(map(str, table.columns))}; "
            f"known: {', '.join((*SHARES, *COUNTS, *NUMBERS))}"
        )
    for column in map(str, table.columns):
        if column.startswith("sd_") and column not in UNDERSTOOD:
            raise RecordError(f"audit: {unknown('column', column, UNDERSTOOD)}")
    if classes < 2:
        raise RecordError("audit: classes must be 2 or more")
    in_percent = {*SHARES, *DEVIATIONS} if percent else set()
    columns = {
        name: read(table[name], percent=name in in_percent, what=name)
        for name in UNDERSTOOD
        if name in table.columns and name not in SETTINGS
        if classes == 2 or name not in TWO_CLASSES_ONLY
    }
    given = {"items": items, "positives": positives, "runs": runs}
    settings = {name: _setting(table, name, number) for name, number in given.items()}
    if ((settings["positives"] > settings["items"]) & (settings["items"] > 0)).any():
        raise RecordError("audit: more positives than items; correct one of the two")
    return Audited(columns, classes=classes, **settings)


def _setting(table: pd.DataFrame, name: str, given: int | None) -> Ints:
    """Whole numbers of a setting, one a row; 0 where it is not known."""
    if name not in table.columns:
        if given is not None and not 0 < given <= MOST_DECISIONS:
            raise RecordError(f"audit: {name} must lie between 1 and {MOST_DECISIONS:,}")
        return np.full(len(table), given or 0, dtype=np.int64)
    numbers = read(table[name], what=name)
    if (numbers.decimals != 0).any() or (numbers.mantissa < 0).any():
        raise RecordError(f"audit: column {name!r} must hold whole numbers")
    return np.where(numbers.present, numbers.mantissa, given or 0)
