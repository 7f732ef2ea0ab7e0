"""One's own data: a table of images, texts and labels.

A table is CSV with a header, or JSON Lines, with these columns:

    image    name of an image, as the store of its regions has it
    text     what the model reads
    label    one of two values, such as true and false; the one that sorts last is class 1
    item     optional: a unique name; the row's number without it
    split    optional: train, validation or test; without it images are dealt out by their names,
             70, 10 and 20 %, so that no image is in two parts
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from lthlib.errors import TaskError, reason
from lthlib.lab.tasks.parts import PARTS, SHARES, by_group

NEEDED, OPTIONAL = ("image", "text", "label"), ("item", "split")
SUFFIXES = (".csv", ".jsonl")
LONGEST_FIELD = 2**20


def table_file(folder: Path, name: str) -> Path:
    """Where the table of a task `own-NAME` lies in a data folder. Raises TaskError without one."""
    found = [p for p in ((folder / "own" / f"{name}{s}") for s in SUFFIXES) if p.is_file()]
    if len(found) != 1:
        places = " or ".join(f"{name}{suffix}" for suffix in SUFFIXES)
        what = "twice" if found else "nowhere"
        raise TaskError(
            f"the table of own-{name} is {what} in {folder / 'own'}: put {places} there"
        )
    return found[0]


def read_own(path: Path) -> tuple[dict[str, pd.DataFrame], tuple[str, str]]:
    """The parts of a table, and its two labels as they are written (class 0, class 1).

    Returns by part: item, image, text, label (0 or 1). Raises TaskError, with the row, for a line
    that is no row, a column that is missing, an empty cell, a third label, an item that is named
    twice, another split, and a part without items.
    """
    table = pd.DataFrame(_rows(path))
    if table.empty:
        raise TaskError(f"{path} has no rows")
    labels = _labels(table, path)
    if "item" not in table:
        table["item"] = [f"row-{number:06d}" for number in table["row"]]
    twice = table["item"][table["item"].duplicated()]
    if len(twice):
        row = table.loc[twice.index[0], "row"]
        raise TaskError(f"{path}, row {row}: item {twice.iloc[0]!r} is there twice")
    table["label"] = (table["label"] == labels[1]).astype(int)
    parts = _parts(table, path)
    if empty := [part for part in PARTS if not len(parts[part])]:
        raise TaskError(f"{path} leaves no items for {empty[0]}: add items, or name their split")
    columns = ["item", "image", "text", "label"]
    return {part: parts[part][columns].reset_index(drop=True) for part in PARTS}, labels


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """Rows with their numbers, from 1 for the first after the header."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = (
                _json_rows(file, path) if path.suffix.lower() == ".jsonl" else _csv_rows(file, path)
            )
            for number, row in enumerate(rows, start=1):
                yield _checked(row, f"{path}, row {number}") | {"row": number}
    except UnicodeDecodeError:
        raise TaskError(f"{path} is no UTF-8 text: save it as UTF-8") from None
    except csv.Error as error:
        raise TaskError(f"{path} is no CSV that can be read ({error})") from None
    except OSError as error:
        raise TaskError(f"{path} cannot be read ({reason(error)})") from None


def _csv_rows(file: Any, path: Path) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(LONGEST_FIELD)
    reader = csv.DictReader(file, strict=True)
    missing = [name for name in NEEDED if name not in (reader.fieldnames or ())]
    if missing:
        found = ", ".join(map(repr, reader.fieldnames or ())) or "none"
        raise TaskError(f"{path} has no column {missing[0]!r} (found: {found[:200]})")
    for number, row in enumerate(reader, start=1):
        if None in row or None in row.values():
            raise TaskError(f"{path}, row {number} has more or fewer cells than the header")
        yield row


def _json_rows(file: Any, path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(file, start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise TaskError(f"{path}, row {number} is no JSON") from None
        if not isinstance(row, dict):
            raise TaskError(f"{path}, row {number} is no object with image, text and label")
        yield row


def _checked(row: dict[str, Any], where: str) -> dict[str, str]:
    """The known cells of a row as text."""
    found = {}
    for name in (*NEEDED, *OPTIONAL):
        if name not in row and name in OPTIONAL:
            continue
        value = row.get(name)
        plain = isinstance(value, str | int) and str(value).strip()
        if not plain:
            raise TaskError(f"{where}: {name} is {value!r}, where text is expected")
        found[name] = str(value).strip()
    return found


def _labels(table: pd.DataFrame, path: Path) -> tuple[str, str]:
    labels = sorted(table["label"].unique())
    if len(labels) != 2:
        first = table.drop_duplicates("label")["row"].iloc[min(2, len(labels) - 1)]
        some = ", ".join(map(repr, labels[:4]))
        raise TaskError(f"{path} has {len(labels)} labels, not 2 ({some}; row {first})")
    return str(labels[0]), str(labels[1])


def _parts(table: pd.DataFrame, path: Path) -> dict[str, pd.DataFrame]:
    if "split" not in table:
        return by_group(table, table["image"], SHARES)
    if table["split"].isna().any():
        row = table.loc[table["split"].isna(), "row"].iloc[0]
        raise TaskError(f"{path}, row {row} has no split, and other rows have one")
    other = table[~table["split"].isin(PARTS)]
    if len(other):
        row, split = other[["row", "split"]].iloc[0]
        raise TaskError(f"{path}, row {row}: split is {split!r}, not {', '.join(PARTS)}")
    return {part: table[table["split"] == part] for part in PARTS}
