"""The answers of VQA v2: the same 3,129 everywhere, and in another order with each model.

LXMERT's and UNITER's lists agree at one index only, so that a head, or a file of predictions, of
the one means nothing to the other until its rows are put in order.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lthlib.errors import TaskError


def read_answers(path: Path) -> tuple[str, ...]:
    """The answers by index, of a list of answers or a mapping from answer to index.

    Raises TaskError for a file that is neither, or whose indices are not 0 to n - 1, each once.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TaskError(f"{path} cannot be read as a list of answers ({error})") from None
    if isinstance(found, dict):
        found = _by_index(found, path)
    if not isinstance(found, list) or not all(isinstance(answer, str) for answer in found):
        raise TaskError(f"{path} is neither a list of answers nor a mapping from answer to index")
    if len(set(found)) != len(found):
        raise TaskError(f"{path} names an answer twice")
    return tuple(found)


def _by_index(found: Mapping[str, Any], path: Path) -> list[str]:
    indices = list(found.values())
    if not all(type(i) is int for i in indices) or sorted(indices) != list(range(len(found))):
        raise TaskError(f"{path}: the indices of answers are not 0 to {len(found) - 1}, each once")
    return sorted(found, key=lambda answer: int(found[answer]))


def in_order(rows: Tensor, theirs: Sequence[str], ours: Sequence[str]) -> Tensor:
    """Rows [A, ...] that follow `theirs`, put into the order of `ours`.

    Raises TaskError where the two are not the same answers, and names one that is missing.
    """
    if len(rows) != len(theirs):
        raise TaskError(f"{len(rows)} rows cannot belong to {len(theirs)} answers")
    place = {answer: i for i, answer in enumerate(theirs)}
    odd = sorted(set(ours) ^ set(theirs))
    if odd or len(place) != len(theirs) or len(ours) != len(theirs):
        example = f", such as {odd[0]!r}" if odd else ""
        raise TaskError(f"the two lists do not hold the same answers ({len(odd)} differ{example})")
    return rows[torch.tensor([place[answer] for answer in ours])]
