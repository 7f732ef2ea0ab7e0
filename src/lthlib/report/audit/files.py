"""Tables as people have them: from any spreadsheet, in any language, with a title or without.

A table is read as text, cell by cell, since its digits matter; what is no table is refused in one
line that says what it is instead.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

import pandas as pd

from lthlib.errors import RecordError, reason
from lthlib.foreign import kind_of
from lthlib.report.audit.table import UNDERSTOOD

MOST_BYTES = 50_000_000
MOST_TITLES = 20
"""Lines above the header that are looked through."""
_SEPARATORS = (",", ";", "\t")
_DECIMAL_COMMA = re.compile(r"^\s*([-\u2010-\u2015\u2212+]?\d+),(\d+\s*%?)\s*$")
_THOUSANDS = re.compile(r"^\s*\d{1,3}(,\d{3})+\s*$")
_IN_PERCENT = re.compile(r"[\s,]*[(\[]?\s*%\s*[)\]]?$")
WHOLE = ("items", "positives", "runs", "tp", "fp", "tn", "fn")


def read_csv(path: Path) -> pd.DataFrame:
    """A table with every cell as its text, and its columns under the names that the audit knows.

    Separators may be commas, semicolons or tabs, decimals commas where the separator is none or the
    cell is quoted. Lines above the header are skipped; so are empty rows and empty columns without
    a name. Names are matched without regard to case, blanks and hyphens, and a name that ends in %
    says that its shares are in %.

    Raises RecordError, in one line, for a file that is missing, no text, no table, without rows, or
    with a column twice.
    """
    lines = _rows(_text(path))
    place = _header(lines)
    names = [_name(cell) for cell in lines[place]]
    rows = [row for row in lines[place + 1 :] if any(cell.strip() for cell in row)]
    if not rows:
        raise RecordError("the table has no rows")
    columns: dict[str, list[str]] = {}
    for number, name in enumerate(names):
        cells = [row[number] if number < len(row) else "" for row in rows]
        if not name and not any(cell.strip() for cell in cells):
            continue
        # The header is taken here, as pandas would rename a column that is there twice.
        if name in columns:
            raise RecordError(f"column {name!r} is there twice")
        columns[name] = [_plain(cell, name) for cell in cells]
    for number, row in enumerate(rows, start=1):
        if len(row) > len(names) and any(cell.strip() for cell in row[len(names) :]):
            raise RecordError(f"row {number} has {len(row)} cells, and the header {len(names)}")
    table = pd.DataFrame(columns, dtype=str)
    for name, given in zip(names, lines[place], strict=True):
        if name in UNDERSTOOD and _IN_PERCENT.search(given):
            table[name] = [cell and f"{cell.removesuffix('%')}%" for cell in table[name]]
    return table


def near_names(columns: Iterable[str]) -> dict[str, str]:
    """Columns that are left alone and have nearly a name that is understood."""
    found: dict[str, str] = {}
    for column in columns:
        if column not in UNDERSTOOD:
            near = get_close_matches(_key(column), UNDERSTOOD, n=1, cutoff=0.75)
            found |= {column: near[0]} if near else {}
    return found


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise RecordError("no such file") from None
    except OSError as error:
        raise RecordError(f"cannot be read: {reason(error)}") from None
    if len(data) > MOST_BYTES:
        raise RecordError(f"more than {MOST_BYTES:,} bytes: this is no table of printed numbers")
    if what := kind_of(data):
        raise RecordError(f"not a CSV file, but {what}; save the table as CSV")
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        # Spreadsheets of older systems; its digits are those of every code page.
        text = data.decode("cp1252", errors="replace")
    if "\0" in text:
        raise RecordError("not a CSV file: it holds bytes that no text has")
    return text


def _rows(text: str) -> list[list[str]]:
    """The cells of each line, by the separator under which most names are understood."""
    found = []
    for separator in _SEPARATORS:
        try:
            rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
        except csv.Error as error:
            found.append((-1, [[f"{error}"]]))
            continue
        known = max((_understood(row) for row in rows[:MOST_TITLES]), default=0)
        found.append((known, rows))
    known, rows = max(found, key=lambda pair: pair[0])
    if known < 0:
        raise RecordError(f"not a CSV file: {rows[0][0]}")
    return rows


def _header(lines: Sequence[Sequence[str]]) -> int:
    """The first line that names an understood column; RecordError where none does."""
    filled = [place for place, row in enumerate(lines[:MOST_TITLES]) if any(row)]
    if not filled:
        raise RecordError("not a CSV file: it is empty")
    for place in filled:
        if _understood(lines[place]):
            return place
    names = [cell for cell in lines[filled[0]] if cell.strip()]
    near = [f"{name!r} (did you mean {other!r}?)" for name, other in near_names(names).items()]
    raise RecordError(
        f'no column is understood among {", ".join(near or names)}; the page "Audit a table of '
        'your own" lists the names, such as accuracy, fidelity, kappa and recall'
    )


def _understood(row: Iterable[str]) -> int:
    return sum(_name(cell) in UNDERSTOOD for cell in row)


def _name(cell: str) -> str:
    """A heading under the name that the audit knows; as it is where it knows none."""
    key = _key(_IN_PERCENT.sub("", cell))
    return key if key in UNDERSTOOD else cell.strip()


def _key(cell: str) -> str:
    return re.sub(r"[\s\-]+", "_", cell.strip().lower())


def _plain(cell: str, name: str) -> str:
    """A number with a decimal point and without marks between its thousands."""
    if name not in UNDERSTOOD:
        return cell.strip()
    if name in WHOLE and _THOUSANDS.match(cell):
        return cell.replace(",", "")
    return _DECIMAL_COMMA.sub(r"\1.\2", cell)
