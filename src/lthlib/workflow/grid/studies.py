"""Study files: many studies in a few lines of TOML, YAML or JSON.

    model = ["visualbert", "lxmert", "uniter"]
    ladder = [[0.5, 0.8], "secondary"]
    seeds = "0-9"

    [[cells]]
    task = "digits"

    [[cells]]
    task = "digit-reports"
    epochs = [4, 12]

A key is a setting of a study. A list of values stands for one study each, and lists multiply:
these are 3 models x 2 ladders x (1 + 2) studies, at ten seeds each. Settings that are lists by
themselves (a ladder of sparsities, branches) stand for several when they are lists of lists.
"""

from __future__ import annotations

import itertools
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lthlib.errors import StudyError, in_one_line, reason, unknown
from lthlib.study import LADDERS, Study, joined

CELLS = "cells"
LISTS = ("ladder", "branches", "branch_levels", "observe")
"""Settings that are lists by themselves."""
_SEEDS = re.compile(r"(\d+)-(\d+)")


def read_studies(path: Path) -> list[Study]:
    """The studies that a file describes, each once, in its order.

    Raises StudyError for a file that is missing, no TOML, YAML or JSON, or describes what is no
    study.
    """
    described = _read(path)
    if not isinstance(described, dict) or not described:
        raise StudyError(f"{path} describes no study: give settings such as model and seeds")
    cells = described.pop(CELLS, [{}])
    if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        raise StudyError(f"{path}: {CELLS} must be a list of tables of settings")
    if not cells:
        raise StudyError(f"{path}: {CELLS} is empty: describe a study, or leave it out")
    found = []
    for number, cell in enumerate(cells, start=1):
        where = f"{path}, cell {number}" if len(cells) > 1 else str(path)
        try:
            found += [Study.build(settings) for settings in expand({**described, **cell})]
        except StudyError as error:
            raise StudyError(f"{where}: {error}") from None
    return joined(found)


def expand(settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every combination of the values that settings list. Raises StudyError."""
    for name in settings:
        if name not in Study.model_fields:
            raise StudyError(unknown("setting", name, [*Study.model_fields, CELLS]))
    choices = [_values(name, value) for name, value in settings.items()]
    for values in itertools.product(*choices):
        yield dict(zip(settings, values, strict=True))


def _values(name: str, value: Any) -> list[Any]:
    """The values that one setting stands for: one, or all of a list."""
    if name == "seeds":
        return [_seeds(value)]
    if not isinstance(value, list):
        return [value]
    if name in LISTS and not any(isinstance(v, list) for v in value):
        ladders = name == "ladder" and value and all(v in LADDERS for v in value)
        return value if ladders else [value]
    if not value:
        raise StudyError(f"{name}: an empty list stands for no study")
    return value


def _seeds(value: Any) -> Any:
    """A range such as "0-9" as a list, its ends included."""
    if isinstance(value, int) and not isinstance(value, bool):
        raise StudyError(f'seeds: write [{value}] for one seed, or "0-{value}" for several')
    if not isinstance(value, str):
        return value
    match = _SEEDS.fullmatch(value)
    if not match or int(match[1]) > int(match[2]):
        raise StudyError(f'seeds: {value!r} is neither a list nor a range such as "0-9"')
    return list(range(int(match[1]), int(match[2]) + 1))


# -- formats --------------------------------------------------------------------------------------
def _yaml(text: str) -> Any:
    import yaml

    return yaml.safe_load(text)


_FORMATS: dict[str, Callable[[str], Any]] = {
    ".toml": tomllib.loads,
    ".json": json.loads,
    ".yaml": _yaml,
    ".yml": _yaml,
}


def _read(path: Path) -> Any:
    parse = _FORMATS.get(path.suffix.lower())
    if parse is None:
        raise StudyError(f"{path} is no study file: it must end in .toml, .yaml or .json")
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise StudyError(f"{path} cannot be read: {reason(error)}") from None
    except UnicodeDecodeError:
        raise StudyError(f"{path} is no text in UTF-8") from None
    try:
        return parse(text)
    except Exception as error:  # each format has its own, and YAML's is known once it is imported
        kind = path.suffix[1:].upper()
        raise StudyError(f"{path} is no valid {kind}: {in_one_line(error)}") from None
