r"""One's own data: a table of images, texts and labels.

A table is CSV with a header, or JSON Lines, with these columns:

    image    name of an image, as the store of its regions has it; \ is read as /
    text     what the model reads
    label    one of two values, such as true and false; the one that sorts last is class 1
    item     optional: a unique name; the row's number without it
    split    optional: train, validation or test; without it images are dealt out by their names,
             70, 10 and 20 %, so that no image is in two parts

CSV may be separated by commas, semicolons or tabs, and may have lines above its header; columns
and splits are found in any case, and other columns are left alone.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import unicodedata
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from itertools import islice
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
        # Some programs put a second mark before a text that has one.
        text = data.decode(encoding).lstrip("\ufeff")
    except UnicodeDecodeError as error:
        before = error.object[: error.start].decode(encoding, "ignore")
        raise TaskError(
            f"{path}, line {_line_after(before)} is no UTF-8 text: save it as UTF-8"
        ) from None
    if "\0" in text:
        raise TaskError(
            f"{path}, line {_line_after(text.partition(chr(0))[0])} holds a zero byte, as UTF-16 "
            "without its mark does: save it as UTF-8"
        )
    return text


def _line_after(before: str) -> int:
    """The number of the line in which what stands before ends."""
    return len(io.StringIO(f"{before}.", newline="").readlines())


def _csv_rows(text: str, path: Path) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(LONGEST_FIELD)
    separator, above = _layout(text)
    lines = io.StringIO(text, newline="")
    for _ in range(above):
        lines.readline()
    reader = csv.reader(lines, delimiter=separator, strict=True)
    number = 0
    try:
        header = _columns(next(reader, []), str(path))
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


def _layout(text: str) -> tuple[str, int]:
    """The separator and the lines above the header: of the first line with most of our columns."""
    best, separator, above = 0, _SEPARATORS[0], 0
    lines = list(islice(io.StringIO(text, newline=""), MOST_ABOVE))
    for sign in _SEPARATORS:
        for number, line in enumerate(lines):
            found = {_known(cell) for cell in line.replace('"', "").split(sign)}
            if len(found & {*NEEDED}) > best:
                best, separator, above = len(found & {*NEEDED}), sign, number
    return separator, above


def _columns(names: Sequence[str], where: str) -> list[str]:
    """Headings as we know them; TaskError for one that is missing, there twice, or misspelt."""
    known = [_known(name) for name in names]
    others = [name for name in known if name and name not in (*NEEDED, *OPTIONAL)]
    for name in (*NEEDED, *OPTIONAL):
        if known.count(name) > 1:
            raise TaskError(f"{where}: column {name!r} is there twice; leave one of them out")
    for name in NEEDED:
        if name not in known:
            near = get_close_matches(name, others, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            found = ", ".join(map(repr, filter(None, known)))[:200] or "none"
            raise TaskError(f"{where} has no column {name!r} (found: {found}){hint}")
    # Passed over, it would have the items dealt out by another rule, and nobody would notice.
    if "split" not in known and (near := get_close_matches("split", others, n=1, cutoff=0.8)):
        raise TaskError(
            f"{where}: column {near[0]!r}; did you mean 'split'? Name it so, or less like it"
        )
    return known


def _known(cell: str) -> str:
    """A heading; one of ours whatever its case."""
    plain = cell.strip()
    return plain.lower() if plain.lower() in (*NEEDED, *OPTIONAL) else plain


def _json_rows(text: str, path: Path) -> Iterator[dict[str, Any]]:
    lines = (line for line in io.StringIO(text, newline=None) if line.strip())
    for number, line in enumerate(lines, start=1):
        where = f"{path}, row {number}"
        try:
            # As pairs: a dictionary would keep the last of two that have one name.
            pairs = json.loads(line, object_pairs_hook=tuple)
        except (ValueError, RecursionError):
            raise TaskError(f"{where} is no JSON: write each row in a line of its own") from None
        if not isinstance(pairs, tuple):
            raise TaskError(f"{where} is no object with image, text and label")
        names = _columns([name for name, _ in pairs], where)
        yield dict(zip(names, (value for _, value in pairs), strict=True))


def _checked(row: dict[str, Any], where: str) -> dict[str, str]:
    """The known cells of a row as text."""
    found = {}
    for name in (*NEEDED, *OPTIONAL):
        if name not in row and name in OPTIONAL:
            continue
        value = row.get(name)
        plain = isinstance(value, str | int | float) and value == value
        if not plain or not str(value).strip():
            raise TaskError(f"{where}: {name} is {value!r}, where text is expected")
        found[name] = str(value).strip()
    # Tables made on Windows; a regions' store has its names with /.
    return found | {"image": found["image"].replace("\\", "/")}


def _labels(table: pd.DataFrame, path: Path) -> tuple[str, str]:
    rows = table.drop_duplicates("label").set_index("label")["row"]  # in which each is first
    labels = sorted(rows.index)
    forms: dict[str, str] = {}
    for label in labels:
        other = forms.setdefault(_meant(label), label)
        if other != label:
            alone = "case" if other.casefold() == label.casefold() else "form (1 and 1.0, Unicode)"
            raise TaskError(
                f"{path}, row {max(rows[other], rows[label])}: labels {other!r} and {label!r} "
                f"differ in {alone} alone: write them alike"
            )
    if len(labels) != 2:
        first, some = rows.iloc[min(2, len(labels) - 1)], ", ".join(map(repr, labels[:4]))
        raise TaskError(
            f"{path} has {len(labels)} labels, not 2 ({some}; row {first}): leave items of two"
        )
    return str(labels[0]), str(labels[1])


def _meant(label: str) -> str:
    """A label without what only its writing adds: capitals, Unicode's forms, a number's zeros."""
    try:
        return str(float(label))
    except ValueError:
        return unicodedata.normalize("NFC", label).casefold()


def _parts(table: pd.DataFrame, path: Path) -> dict[str, pd.DataFrame]:
    if "split" not in table:
        return by_group(table, table["image"], SHARES)
    if table["split"].isna().any():
        row = table.loc[table["split"].isna(), "row"].iloc[0]
        raise TaskError(f"{path}, row {row} has no split, and other rows have one")
    splits = table["split"].str.lower()
    other = table[~splits.isin(PARTS)]
    if len(other):
        row, split = other[["row", "split"]].iloc[0]
        raise TaskError(f"{path}, row {row}: split is {split!r}, not {', '.join(PARTS)}")
    return {part: table[splits == part] for part in PARTS}
