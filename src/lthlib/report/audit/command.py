"""`lth audit TABLE.csv`: a verdict for each row of anybody's table, on the terminal."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from lthlib.errors import RecordError
from lthlib.report.audit.checks import ASSUMPTIONS, IMPOSSIBLE, OF_ITEMS, SHARES
from lthlib.report.audit.files import near_names, read_csv
from lthlib.report.audit.granularity import consistent_runs
from lthlib.report.audit.printed import read
from lthlib.report.audit.table import DEPENDS, UNDERSTOOD, audit_table

CLEAN, FAULTY, BAD_INPUT = 0, 1, 2


def run(options: argparse.Namespace) -> int:
    """Print the verdicts; 0: nothing impossible, 1: something is, 2: bad input, in one line.

    options: table (path), items, positives, runs, classes, average, test_set, percent, as for
    `audit_table`.
    """
    try:
        table = read_csv(Path(options.table))
        verdicts = _audit(table, options)
        lines = [*_lines(table, verdicts), *_runs_line(table, options), *_asked(verdicts)]
    except RecordError as error:
        print(f"lth: {options.table}: {error}", file=sys.stderr)
        return BAD_INPUT
    print("\n".join(lines))
    return FAULTY if (verdicts["verdict"] == IMPOSSIBLE).any() else CLEAN


def _audit(table: pd.DataFrame, options: argparse.Namespace) -> pd.DataFrame:
    told = {
        name: getattr(options, name)
        for name in ("items", "positives", "runs", "classes", "average", "test_set")
    }
    verdicts = audit_table(table, **told, percent=options.percent)
    if not options.percent and _looks_percent(table):
        otherwise = audit_table(table, **told, percent=True)
        wrong = verdicts["verdict"] == IMPOSSIBLE
        if wrong.any() and (otherwise.loc[wrong, "verdict"] != IMPOSSIBLE).any():
            raise RecordError(
                "all shares lie between 1 and 100: are they in %? Then add --percent, or write the "
                "% into the cells or the headings"
            )
    return verdicts


def _looks_percent(table: pd.DataFrame) -> bool:
    values = [read(table[name], what=name).value for name in SHARES if name in table.columns]
    known = np.concatenate([v[~np.isnan(v)] for v in values]) if values else np.zeros(0)
    return bool(len(known) and (known > 1).all() and (known <= 100).all())


def _lines(table: pd.DataFrame, verdicts: pd.DataFrame) -> list[str]:
    names = [column for column in table.columns if column not in UNDERSTOOD]
    rows = table[names].agg(" ".join, axis=1) if names else [f"row {i + 1}" for i in table.index]
    width = max(map(len, rows))
    lines = [
        f"{name:<{width}}  {verdict}{': ' if why else ''}{why}"
        for name, verdict, why in zip(rows, verdicts["verdict"], verdicts["why"], strict=True)
    ]
    counts = ", ".join(
        f"{count} {name}" for name, count in verdicts["verdict"].value_counts().items()
    )
    checks = sorted({name for text in verdicts["checks"] for name in text.split(", ") if name})
    lines.append(f"{len(table)} rows: {counts}. Checked: {', '.join(checks) or 'nothing'}.")
    near = [f"{name!r} (did you mean {known!r}?)" for name, known in near_names(names).items()]
    return [*lines, *([f"Left alone: {', '.join(near)}."] if near else [])]


def _asked(verdicts: pd.DataFrame) -> list[str]:
    """Which option settles the rows that hang on a convention."""
    reasons = " ".join(verdicts.loc[verdicts["verdict"] == DEPENDS, "why"])
    options = [option for assumed, option in ASSUMPTIONS.items() if assumed in reasons]
    if not options:
        return []
    return [
        "A row that depends could not be if what its brackets say holds, and may be otherwise; "
        f"say which it is: {', '.join(options)}."
    ]


def _runs_line(table: pd.DataFrame, options: argparse.Namespace) -> list[str]:
    """Which numbers of runs the means allow, where nobody said how many there were."""
    names = [name for name in table.columns if SHARES.get(name) == OF_ITEMS]
    if options.runs or options.items is None or "runs" in table.columns or not names:
        return []
    values = [value for name in names for value in table[name]]
    runs = consistent_runs(values, options.items, percent=options.percent)
    allowed = ", ".join(map(str, runs)) or "none"
    return [f"Numbers of runs up to 30 that allow all of {', '.join(names)}: {allowed}."]
