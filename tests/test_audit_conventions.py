"""Honest tables of every usual convention: none is called impossible, told or not told."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from audited_tables import TOLD, honest, in_folds, in_medians, of_classes
from lthlib.report.audit import audit_table

ROWS = 1000
KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "sample deviations": (
        lambda: honest(ROWS, items=57, runs=3, digits=5, seed=1),
        TOLD,
    ),
    "population deviations": (
        lambda: honest(ROWS, items=57, runs=3, digits=5, seed=2, ddof=0),
        TOLD,
    ),
    "one decimal of a percentage": (
        lambda: honest(ROWS, items=57, runs=5, digits=3, seed=3),
        TOLD,
    ),
    "four answers, macro": (
        lambda: of_classes(ROWS, items=60, runs=4, classes=4, average="macro", seed=4),
        {"runs": 4, "items": 60, "classes": 4},
    ),
    "four answers, one run": (
        lambda: of_classes(ROWS, items=60, runs=1, classes=4, average="weighted", seed=5),
        {"runs": 1, "items": 60, "classes": 4},
    ),
    "two answers, macro": (
        lambda: of_classes(ROWS, items=60, runs=1, classes=2, average="macro", seed=6),
        {"runs": 1, "items": 60, "classes": 2, "average": "classes"},
    ),
    "two answers, weighted": (
        lambda: of_classes(ROWS, items=60, runs=1, classes=2, average="weighted", seed=7),
        {"runs": 1, "items": 60, "classes": 2, "average": "classes"},
    ),
    "medians of runs": (
        lambda: in_medians(ROWS, items=57, runs=4, seed=9),
        {"items": 57, "classes": 2, "average": "binary"},
    ),
    "unequal folds": (
        lambda: in_folds(ROWS, items=103, folds=5, seed=8),
        {"runs": 5, "items": 103, "positives": 52, "test_set": "folds"},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_no_honest_table_is_called_impossible(kind: str) -> None:
    make, told = KINDS[kind]
    table = make()
    settings = {k: v for k, v in told.items() if k in ("items", "positives", "runs")}
    for conventions in (told, settings):
        found = audit_table(table, **conventions)
        wrong = found[found["verdict"] == "impossible"]
        assert wrong.empty, wrong["why"].iloc[0]
    if "runs" not in told:
        return  # nothing says that they are no means
    # Told what it is, nothing is left open either.
    assert (audit_table(table, **told)["verdict"] != "depends").all()


@pytest.mark.parametrize("kind", ["four answers, macro", "two answers, macro", "unequal folds"])
def test_what_fails_by_a_convention_alone_says_which(kind: str) -> None:
    make, told = KINDS[kind]
    settings = {k: v for k, v in told.items() if k in ("items", "positives", "runs")}
    found = audit_table(make(), **settings)
    open_rows = found[found["verdict"] == "depends"]
    assert len(open_rows) > ROWS / 10
    assert open_rows["why"].str.contains(r"\(if ").all()


def test_counts_of_one_run_are_exact_and_give_items_and_positives() -> None:
    row = {"tp": "23", "fp": "2", "tn": "23", "fn": "2"}
    table = pd.DataFrame([row | {"accuracy": text} for text in ("90%", "92%", "93%")])
    found = audit_table(table, runs=1)
    assert found["verdict"].tolist() == ["impossible", "possible", "impossible"]
    # 46 of 50, and recall 23 of 25: no number of items had to be given.
    more = pd.DataFrame([row | {"recall": text} for text in ("0.92", "0.93")])
    found = audit_table(more, runs=1, average="binary")
    assert found["verdict"].tolist() == ["possible", "impossible"]
    # Means over runs may be rounded.
    assert audit_table(table.iloc[[0]], runs=3)["verdict"].tolist() != ["impossible"]


def test_a_zero_that_was_cut_keeps_both_signs() -> None:
    row = {"fidelity": ["0.45"], "positive_share_dense": ["0.5"], "positive_share_pruned": ["0.5"]}
    for text in ("-0.0", "0.0"):
        found = audit_table(pd.DataFrame(row | {"kappa": [text]}), runs=1)
        assert found["verdict"].tolist() == ["possible"], text
