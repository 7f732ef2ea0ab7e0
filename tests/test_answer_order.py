"""Answers of VQA v2 in the order of LXMERT and of UNITER."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from lthlib.errors import TaskError
from lthlib.lab.answers import in_order, read_answers


def test_rows_follow_their_answers() -> None:
    rows = torch.tensor([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    moved = in_order(rows, ("yes", "no", "two"), ("two", "yes", "no"))
    assert moved.tolist() == [[3, 30], [1, 10], [2, 20]]
    assert in_order(moved, ("two", "yes", "no"), ("yes", "no", "two")).equal(rows)


@pytest.mark.parametrize(
    ("theirs", "ours", "said"),
    [
        (("yes", "no"), ("yes", "maybe"), "2 differ, such as 'maybe'"),
        (("yes", "no"), ("yes", "no", "two"), "1 differ, such as 'two'"),
        (("yes", "yes"), ("yes", "yes"), "do not hold the same answers"),
        (("yes", "no", "two"), ("yes", "no", "two"), "2 rows cannot belong to 3 answers"),
    ],
)
def test_other_answers_are_refused(
    theirs: tuple[str, ...], ours: tuple[str, ...], said: str
) -> None:
    with pytest.raises(TaskError, match=said):
        in_order(torch.zeros(2), theirs, ours)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"yes": 0, "no": 2}, "not 0 to 1, each once"),
        ({"yes": True, "no": 0}, "not 0 to 1, each once"),
        (["yes", 3], "neither a list of answers"),
        (["yes", "yes"], "names an answer twice"),
        ("yes", "neither a list of answers"),
    ],
)
def test_files_that_are_no_answers(tmp_path: Path, content: Any, said: str) -> None:
    path = tmp_path / "answers.json"
    path.write_text(json.dumps(content))
    with pytest.raises(TaskError, match=said):
        read_answers(path)
    path.write_text("<html>")
    with pytest.raises(TaskError, match="cannot be read"):
        read_answers(path)


def test_lists_and_mappings_are_one(tmp_path: Path) -> None:
    path = tmp_path / "answers.json"
    path.write_text(json.dumps({"no": 1, "yes": 0}))
    assert read_answers(path) == ("yes", "no")
    path.write_text(json.dumps(["yes", "no"]))
    assert read_answers(path) == ("yes", "no")


@pytest.mark.skipif(not os.environ.get("LTHLIB_SHARED"), reason="LTHLIB_SHARED is not set")
def test_the_published_lists_agree_at_one_index() -> None:
    labels = Path(os.environ["LTHLIB_SHARED"]) / "data" / "labels"
    lxmert = read_answers(labels / "lxmert_vqa_trainval_label2ans.json")
    assert lxmert == read_answers(labels / "lxmert_vqa_trainval_ans2label.json")
    uniter = read_answers(labels / "uniter_ans2label.json")
    assert len(lxmert) == len(uniter) == 3129
    assert sum(a == b for a, b in zip(lxmert, uniter, strict=True)) == 1
    moved = in_order(torch.arange(3129), lxmert, uniter)
    assert [lxmert[i] for i in moved.tolist()] == list(uniter)
