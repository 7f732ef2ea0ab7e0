"""Readers of the published data: Visual Spatial Reasoning and Open-I, texts and labels only.

The files are not part of this project. A data folder holds them as

    vsr/splits_v1/{random,zeroshot}/{train,dev,test}.jsonl    VSR as of its first preprint
    vsr/splits/{random,zeroshot}/{train,dev,test}.jsonl       VSR as of its camera-ready version
    openi/openIdf.csv                                         Open-I with the labels of Li et al.

VSR (Liu and others 2023) is `data/splits` of github.com/cambridgeltl/visual-spatial-reasoning, at
commit b1cf884d for v1 and b27a0af0 for the current version. openIdf.csv is in
github.com/masoud-monajati/BERTHop at commit 3fd30761; its 3,684 reports and their split are those
of Li and others (2020), arXiv:2009.01523.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from lthlib.errors import TaskError, reason

VSR_FOLDERS = {"v1": "splits_v1", "current": "splits"}
VSR_ITEMS = {
    ("v1", "random"): {"train": 7083, "dev": 1012, "test": 2024},
    ("v1", "zeroshot"): {"train": 5440, "dev": 259, "test": 731},
    ("current", "random"): {"train": 7680, "dev": 1097, "test": 2195},
    ("current", "zeroshot"): {"train": 3489, "dev": 340, "test": 1222},
}
OPENI_FILE = Path("openi") / "openIdf.csv"
OPENI_ITEMS = {"train": 2912, "test": 772}
OPENI_FINDINGS = (
    *("Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia"),
    *("Pneumothorax", "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening"),
    "Hernia",
)


class VsrItem(NamedTuple):
    """One caption with one image; label 1 where the caption is true of it."""

    text: str
    image: str
    label: int
    relation: str = ""


def vsr_file(version: str, split: str, part: str) -> Path:
    """Where a part of VSR lies in a data folder."""
    return Path("vsr") / VSR_FOLDERS[version] / split / f"{part}.jsonl"


def read_vsr(folder: Path, version: str, split: str) -> dict[str, pd.DataFrame]:
    """The parts train, dev and test of one split of VSR: text, image, label.

    folder: the data folder; version: v1 or current; split: random or zeroshot.
    Raises TaskError for a file that is missing, a line that is no item (with its number), and a
    number of items other than VSR's.
    """
    parts = {}
    for part, items in VSR_ITEMS[version, split].items():
        path = folder / vsr_file(version, split, part)
        parts[part] = pd.DataFrame(read_vsr_file(path))
        _check_count(path, len(parts[part]), items, f"VSR {version}, {split} split, {part}")
    return parts


def read_vsr_file(path: Path) -> list[VsrItem]:
    """The items of one file of VSR, in its order. Raises TaskError as :func:`read_vsr` does."""
    return [_vsr_item(line, f"{path}, line {number}") for number, line in _lines(path)]


def _vsr_item(line: str, where: str) -> VsrItem:
    try:
        found = json.loads(line)
        item = VsrItem(
            found["caption"], found["image"], found["label"], str(found.get("relation", ""))
        )
    except ValueError:
        raise TaskError(f"{where} is no JSON: get the file again") from None
    except (TypeError, KeyError):
        raise TaskError(
            f"{where} has no caption, image and label: give a file of VSR as it is published"
        ) from None
    if item.label not in (0, 1) or not all(isinstance(text, str) and text for text in item[:2]):
        raise TaskError(
            f"{where} has label {item.label!r}, caption {item.text!r} and image {item.image!r}; "
            "a label is 0 or 1, and the others are text: get the file again"
        )
    return item


def read_openi(folder: Path) -> dict[str, pd.DataFrame]:
    """The parts train and test of Open-I: text, and 0 or 1 for each of 14 findings.

    Raises TaskError for a file that is missing, has other columns, or has a row that is no report
    (with its line), and a number of reports other than that of Li et al.
    """
    path = folder / OPENI_FILE
    reports = pd.DataFrame(_reports(path))
    parts = {part: reports[reports["split"] == part] for part in OPENI_ITEMS}
    for part, items in OPENI_ITEMS.items():
        _check_count(path, len(parts[part]), items, f"Open-I, {part}")
    return {name: part.drop(columns="split").reset_index(drop=True) for name, part in parts.items()}


def _reports(path: Path) -> Iterator[dict[str, str | int]]:
    rows = csv.DictReader(line for _, line in _lines(path))
    missing = {"id", "TXT", "split", *OPENI_FINDINGS} - set(rows.fieldnames or ())
    if missing:
        raise TaskError(f"{path} has no column {min(missing)!r}: give BERTHop's openIdf.csv")
    for row in rows:
        where = f"{path}, line {rows.line_num}"
        wrong = [name for name in OPENI_FINDINGS if row[name] not in ("0", "1")]
        if wrong:
            raise TaskError(
                f"{where}: {wrong[0]} is {row[wrong[0]]!r}, not 0 or 1: get the file again"
            )
        if row["split"] not in OPENI_ITEMS or not row["TXT"]:
            raise TaskError(f"{where}: no report, or no part train or test: get the file again")
        yield {
            "report": row["id"],
            "text": row["TXT"],
            "split": row["split"],
            **{name: int(row[name]) for name in OPENI_FINDINGS},
        }


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines, with their ends. Raises TaskError for a file that cannot be read."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            yield from enumerate(file, start=1)
    except UnicodeDecodeError:
        raise TaskError(f"{path} is no UTF-8 text: get the file again") from None
    except OSError as error:
        raise TaskError(
            f"{path} cannot be read ({reason(error)}): name the folder that holds vsr/ and openi/, "
            "or fetch them with `lth data get`"
        ) from None


def _check_count(path: Path, found: int, published: int, what: str) -> None:
    if found != published:
        raise TaskError(
            f"{path} has {found:,} items where {what} has {published:,}: "
            "it is cut short or of another version"
        )
