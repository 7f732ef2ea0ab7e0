r"""One's own data: a table of images, texts and labels.

A table is CSV with a header, or JSON Lines, with these columns:

    image    name of an image, as the store of its regions has it; \ is read as /
    text     what the model reads
    label    one of two values, such as true and false; the one that sorts last is class 1
    item     optional: a unique name; the row's number without it
    split    optional: train, validation or test; without it images are dealt out by their names,
             70, 10 and 20 %, so that no image is in two parts

CSV may be separated by commas, semicolons or tabs, and may have lines above its header; columns
are found in any case, and others are left alone.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pandas as pd

from lthlib.errors import TaskError, reason
from lthlib.foreign import kind_of
from lthlib.lab.tasks.parts import PARTS, SHARES, by_group

NEEDED, OPTIONAL = ("image", "text", "label"), ("item", "split")
SUFFIXES = (".csv", ".jsonl")
LONGEST_FIELD = 2**20
MOST_ABOVE = 20
"""Lines in which a header is looked for."""
_SEPARATORS = (",", ";", "\t")


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
    reads = _json_rows if path.suffix.lower() == ".jsonl" else _csv_rows
    for number, row in enumerate(reads(_text(path), path), start=1):
        yield _checked(row, f"{path}, row {number}") | {"row": number}


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TaskError(f"{path} cannot be read ({reason(error)})") from None
    if data and (what := kind_of(data)):
        raise TaskError(f"{path} is no table, but {what}")
    encoding = "utf-16" if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        raise TaskError(f"{path} is no UTF-8 text: save it as UTF-8") from None


def _csv_rows(text: str, path: Path) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(LONGEST_FIELD)
    separator, above = _layout(text, path)
    lines = io.StringIO(text, newline="")
    for _ in range(above):
        lines.readline()
    reader = csv.reader(lines, delimiter=separator, strict=True)
    number = 0
    try:
        header = [_known(name) for name in next(reader)]
        twice = [name for name in (*NEEDED, *OPTIONAL) if header.count(name) > 1]
        if twice:
            raise TaskError(f"{path}: column {twice[0]!r} is there twice; leave one of them out")
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            number += 1
            if len(row) < len(header) or any(cell.strip() for cell in row[len(header) :]):
                raise TaskError(f"{path}, row {number} has more or fewer cells than the header")
            yield dict(zip(header, row, strict=False))
    except csv.Error as error:
        raise TaskError(
            f"{path}, row {number + 1} (or a quote that never closes) is no CSV that can be read "
            f"({error}, line {above + reader.line_num})"
        ) from None


def _layout(text: str, path: Path) -> tuple[str, int]:
    """The separator under which a line has all columns that are needed, and the lines above it."""
    lines = text.split("\n", MOST_ABOVE)[:MOST_ABOVE]
    best: list[str] = []
    for separator in _SEPARATORS:
        for above, line in enumerate(lines):
            header = [_known(cell) for cell in line.replace('"', "").split(separator)]
            if set(NEEDED) <= set(header):
                return separator, above
            best = max(best, header, key=lambda cells: len({*NEEDED} & {*cells}))
    missing = next(name for name in NEEDED if name not in best)
    near = get_close_matches(missing, best, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    found = ", ".join(map(repr, (cell for cell in best if cell))) or "none"
    raise TaskError(f"{path} has no column {missing!r} (found: {found[:200]}){hint}")


def _known(cell: str) -> str:
    """A heading; one of ours whatever its case."""
    plain = cell.strip()
    return plain.lower() if plain.lower() in (*NEEDED, *OPTIONAL) else plain


def _json_rows(text: str, path: Path) -> Iterator[dict[str, Any]]:
    lines = [line for line in text.split("\n") if line.strip()]
    for number, line in enumerate(lines, start=1):
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
    # Tables made on Windows; a regions' store has its names with /.
    return found | {"image": found["image"].replace("\\", "/")}


def _labels(table: pd.DataFrame, path: Path) -> tuple[str, str]:
    labels = sorted(table["label"].unique())
    if len(labels) != 2:
        first = table.drop_duplicates("label")["row"].iloc[min(2, len(labels) - 1)]
        some = ", ".join(map(repr, labels[:4]))
        raise TaskError(f"{path} has {len(labels)} labels, not 2 ({some}; row {first})")
    if labels[0].casefold() == labels[1].casefold():
        raise TaskError(f"{path}: labels {labels[0]!r} and {labels[1]!r} differ in case alone")
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
