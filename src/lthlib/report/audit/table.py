"""A whole table at once: every check that its columns allow, one verdict a row.

A verdict is one of five:

    impossible       no models and no runs could give these numbers, however they were printed
    depends          they could not under the usual convention, and could under another that is
                     usual too (more answers, averages over classes, folds): say which it is
    constant answer  the accuracy is exactly what a model gets that looks at nothing
    possible         every check that applies is passed, which does not make the numbers right
    not checked      the row has too few numbers for any check
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from lthlib.errors import RecordError, unknown
from lthlib.report.audit.checks import (
    CHECKS,
    CONSTANT,
    COUNTS,
    IMPOSSIBLE,
    NUMBERS,
    OF_MEANS,
    OF_TRUE_ANSWER,
    SAME_ITEMS,
    SHARES,
    TWO_ANSWERS,
    TWO_CLASSES_ONLY,
    Audited,
)
from lthlib.report.audit.granularity import MOST_DECISIONS
from lthlib.report.audit.printed import Printed, read
from lthlib.report.measures import Ints

POSSIBLE, UNCHECKED, DEPENDS = "possible", "not checked", "depends"
_RANK = {UNCHECKED: 0, POSSIBLE: 1, CONSTANT: 2, DEPENDS: 3, IMPOSSIBLE: 4}
AVERAGES, TEST_SETS = ("binary", "classes"), ("same", "folds")
# What an average over classes is not, and what no fold shares with another.
AVERAGED = ("precision", "recall", "f1")
# Columns that exist for two answers only: a table that has one says so.
_BINARY_ONLY = ("specificity", "positive_share", "positive_share_dense", "positive_share_pruned")
DEVIATIONS = tuple(f"sd_{name}" for name in SHARES)
SETTINGS = ("items", "positives", "runs")
UNDERSTOOD = (*SHARES, *COUNTS, *NUMBERS, *DEVIATIONS, *SETTINGS)


def audit_table(
    table: pd.DataFrame,
    *,
    items: int | None = None,
    positives: int | None = None,
    runs: int | None = None,
    classes: int | None = None,
    average: str | None = None,
    test_set: str | None = None,
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
    classes: how many answers there are; with more than two, fewer checks apply. average: what
        precision, recall and F1 are: "binary", those of True answers, or "classes", averages over
        classes (macro, weighted). test_set: "same", each run answers the same items, or "folds",
        the runs share them out. Where one is not given the first is tried, and what fails by it
        alone `depends`. positives, counts and shares of True answers say themselves that there are
        two answers.
    percent: shares are printed in %.

    Returns the table's index with verdict, why (empty where there is nothing to say) and checks
    (the names of those that applied). Raises RecordError for a column that cannot be read.

    >>> table = pd.DataFrame({"accuracy": ["0.47134", "0.50464", "0.50461"]})
    >>> told = {"items": 1012, "positives": 477, "runs": 10}
    >>> audit_table(table, **told, test_set="same")["verdict"].tolist()
    ['constant answer', 'possible', 'impossible']
    >>> audit_table(table, **told)["verdict"].tolist()
    ['constant answer', 'possible', 'depends']
    """
    audited = _audited(table, items, positives, runs, _Told(classes, average, test_set), percent)
    outcomes = [outcome for check in CHECKS for outcome in check(audited)]
    verdict = np.full(len(table), UNCHECKED, dtype=object)
    reasons: list[list[str]] = [[] for _ in range(len(table))]
    names: list[list[str]] = [[] for _ in range(len(table))]
    for outcome in outcomes:
        for row in np.flatnonzero(outcome.applies):
            names[row].append(outcome.check)
        fails = outcome.fails & outcome.applies
        depends = set(outcome.assumes) - audited.told
        if outcome.check not in ("range", "constant answer") and (audited.runs == 0).any():
            # A median obeys no identity that holds for means.
            outcome = replace(outcome, assumes=(*outcome.assumes, OF_MEANS))
            depends.add(OF_MEANS)
        for word, where in (
            (POSSIBLE, outcome.applies),
            (DEPENDS if depends else outcome.verdict, fails),
        ):
            verdict[where & (np.vectorize(_RANK.get)(verdict) < _RANK[word])] = word
        for row in np.flatnonzero(fails):
            reasons[row].append(outcome.why(int(row)))
    columns = {
        "verdict": verdict,
        "why": ["; ".join(texts) for texts in reasons],
        "checks": [", ".join(dict.fromkeys(texts)) for texts in names],
    }
    return pd.DataFrame(columns, index=table.index)


class _Told(NamedTuple):
    """The conventions of a table, as far as they were given."""

    classes: int | None
    average: str | None
    test_set: str | None

    def check(self) -> None:
        if self.classes is not None and self.classes < 2:
            raise RecordError("audit: classes must be 2 or more")
        for name, given, known in (
            ("average", self.average, AVERAGES),
            ("test set", self.test_set, TEST_SETS),
        ):
            if given is not None and given not in known:
                raise RecordError(f"audit: {unknown(name, given, known)}")


def _audited(
    table: pd.DataFrame,
    items: int | None,
    positives: int | None,
    runs: int | None,
    told: _Told,
    percent: bool,
) -> Audited:
    told.check()
    if not set(table.columns) & {*SHARES, *NUMBERS}:
        raise RecordError(
            f"audit: no column is understood among {', '.join(map(str, table.columns))}; "
            f"known: {', '.join((*SHARES, *COUNTS, *NUMBERS))}"
        )
    for column in map(str, table.columns):
        if column.startswith("sd_") and column not in UNDERSTOOD:
            raise RecordError(f"audit: {unknown('column', column, UNDERSTOOD)}")
    binary = positives is not None or {*COUNTS, *_BINARY_ONLY, "positives"} & set(table.columns)
    classes = told.classes or 2
    left_out = {*TWO_CLASSES_ONLY} if classes > 2 else set()
    left_out |= {*AVERAGED} if told.average == "classes" else set()
    in_percent = {*SHARES, *DEVIATIONS} if percent else set()
    columns = {
        name: read(table[name], percent=name in in_percent, what=name)
        for name in UNDERSTOOD
        if name in table.columns and name not in SETTINGS
        if name not in left_out
    }
    given = {"items": items, "positives": positives, "runs": runs}
    settings = {name: _setting(table, name, number) for name, number in given.items()}
    if all(name in columns for name in COUNTS):
        settings = _from_counts(settings, columns)
    if told.test_set == "folds":
        # The runs share the items out: no count is over all of them.
        several = settings["runs"] > 1
        settings |= {name: np.where(several, 0, settings[name]) for name in ("items", "positives")}
    if ((settings["positives"] > settings["items"]) & (settings["items"] > 0)).any():
        raise RecordError("audit: more positives than items; correct one of the two")
    known = {
        TWO_ANSWERS: told.classes is not None or bool(binary),
        OF_TRUE_ANSWER: told.average == "binary",
        SAME_ITEMS: told.test_set == "same",
    }
    holds = frozenset(name for name, held in known.items() if held)
    return Audited(columns, classes=classes, told=holds, **settings)


def _from_counts(settings: dict[str, Ints], columns: Mapping[str, Printed]) -> dict[str, Ints]:
    """Items and positives of one run are the sums of its counts, where nobody gave them."""
    counts = {name: columns[name] for name in COUNTS}
    whole = np.logical_and.reduce([c.present & (c.decimals == 0) for c in counts.values()])
    sums = {
        "items": sum(c.mantissa for c in counts.values()),
        "positives": counts["tp"].mantissa + counts["fn"].mantissa,
    }
    once = whole & (settings["runs"] == 1)
    return settings | {
        name: np.where(once & (settings[name] == 0), number, settings[name])
        for name, number in sums.items()
    }


def _setting(table: pd.DataFrame, name: str, given: int | None) -> Ints:
    """Whole numbers of a setting, one a row; 0 where it is not known."""
    if name not in table.columns:
        if given is not None and not 0 < given <= MOST_DECISIONS:
            raise RecordError(f"audit: {name} must lie between 1 and {MOST_DECISIONS:,}")
        return np.full(len(table), given or 0, dtype=np.int64)
    numbers = read(table[name], what=name)
    whole, rest = np.divmod(numbers.mantissa, 10**numbers.decimals)
    if rest.any() or (whole < 0).any():
        raise RecordError(f"audit: column {name!r} must hold whole numbers")
    return np.where(numbers.present, whole, given or 0)
