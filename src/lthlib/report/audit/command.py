"""`lth audit TABLE.csv`: a verdict for each row of anybody's table, on the terminal."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd

from lthlib.errors import RecordError
from lthlib.report.audit.checks import IMPOSSIBLE, OF_ITEMS, SHARES
from lthlib.report.audit.granularity import consistent_runs
from lthlib.report.audit.table import UNDERSTOOD, audit_table

CLEAN, FAULTY, BAD_INPUT = 0, 1, 2


def run(options: argparse.Namespace) -> int:
    """Print the verdicts; 0: nothing impossible, 1: something is, 2: bad input, in one line.

    options: table (path), items, positives, runs, classes, percent, as for `audit_table`.
    """
    try:
        table = read_csv(Path(options.table))
        verdicts = audit_table(
            table,
            items=options.items,
            positives=options.positives,
            runs=options.runs,
            classes=options.classes,
            percent=options.percent,
        )
        lines = [*_lines(table, verdicts), *_runs_line(table, options)]
    except RecordError as error:
        print(f"lth: {options.table}: {error}", file=sys.stderr)
        return BAD_INPUT
    print("\n".join(lines))
    return FAULTY if (verdicts["verdict"] == IMPOSSIBLE).any() else CLEAN


def read_csv(path: Path) -> pd.DataFrame:
    """A table with every cell as its text.

    Raises RecordError for a file that is missing, no text, no CSV, or without rows.
    """
    try:
        lines = pd.read_csv(
            path, header=None, dtype=str, keep_default_na=False, encoding="utf-8-sig"
        ).fillna("")
    except FileNotFoundError:
        raise RecordError("no such file") from None
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise RecordError(f"not a CSV file: {' '.join(str(error).split())}") from None
    # The header is taken here, as pandas would rename a column that is there twice.
    table = lines.iloc[1:].reset_index(drop=True).set_axis(lines.iloc[0].str.strip(), axis=1)
    if table.columns.duplicated().any():
        raise RecordError(f"column {table.columns[table.columns.duplicated()][0]!r} is there twice")
    if table.empty:
        raise RecordError("the table has no rows")
    return table


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
    return [*lines, f"{len(table)} rows: {counts}. Checked: {', '.join(checks) or 'nothing'}."]


def _runs_line(table: pd.DataFrame, options: argparse.Namespace) -> list[str]:
    """Which numbers of runs the means allow, where nobody said how many there were."""
    names = [name for name in table.columns if SHARES.get(name) == OF_ITEMS]
    if options.runs or options.items is None or "runs" in table.columns or not names:
        return []
    values = [value for name in names for value in table[name]]
    runs = consistent_runs(values, options.items, percent=options.percent)
    allowed = ", ".join(map(str, runs)) or "none"
    return [f"Numbers of runs up to 30 that allow all of {', '.join(names)}: {allowed}."]
