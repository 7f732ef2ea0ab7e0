"""Tasks on VQA v2 and VQA-CP v2: the answer of 3,129 or so, each with its worth.

Classes are the answers that are the first one of at least nine training questions; a question whose
first answer is another has the label one beyond them, which no model can give. The validation part
is carved from the training part, by image: VQA-CP has none, and its test part must tune nothing.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lthlib.lab.tasks.parts import by_group
from lthlib.lab.tasks.source import CARVED, Open, Source
from lthlib.lab.vqa import PARTS, PEOPLE, Questions, answer_classes, credit, read_vqa

WIDTH = 24
FACTS = ("item", "text", "image", "question_type", "answer_type", "usual_credit")


def credits_table(found: Questions, classes: tuple[str, ...]) -> pd.DataFrame:
    """What each question's answers are worth: columns class_0 to class_9 and worth_0 to worth_9.

    class: int64, the number of classes where there is no further answer among them; worth: float32.
    """
    place = {answer: i for i, answer in enumerate(classes)}
    known = found.answer.map(place).to_numpy(dtype=float, na_value=np.nan)
    people = np.bincount(found.row, weights=found.count, minlength=len(found.table))
    worth = credit(found.count, people[found.row].astype(np.int64))
    kept = ~np.isnan(known)
    row = found.row[kept]
    slot = np.arange(len(row)) - np.searchsorted(row, row, side="left")
    which = np.full((len(found.table), PEOPLE), len(classes), dtype=np.int64)
    which[row, slot] = known[kept].astype(np.int64)
    worths = np.zeros(which.shape, dtype=np.float32)
    worths[row, slot] = worth[kept]
    columns = {f"class_{i}": which[:, i] for i in range(PEOPLE)}
    return pd.DataFrame(columns | {f"worth_{i}": worths[:, i] for i in range(PEOPLE)})


def _carved(train: Questions) -> dict[str, Questions]:
    """Train and validation, which share no image."""
    numbered = train.table[["image"]].assign(row=np.arange(len(train.table)))
    parts = by_group(numbered, numbered["image"].astype(str), CARVED)
    return {part: train.take(own["row"].to_numpy()) for part, own in parts.items()}


def usual_answers(train: pd.DataFrame, classes: int) -> pd.Series[int]:
    """The class that most training questions of each type have as their first answer.

    The rule that looks at nothing but how a question begins; a type whose answers are no classes
    is left out.
    """
    known = train[train["label"] < classes]
    counts = known.groupby(["question_type", "label"], observed=True).size()
    largest: pd.Series[int] = (
        counts.groupby(level=0, observed=True).idxmax().map(lambda key: key[1])
    )
    return largest


def usual_credit(table: pd.DataFrame, usual: pd.Series[int]) -> NDArray[np.float32]:
    """What that answer is worth for each question: float32 [N], 0 for a type without one."""
    answer = table["question_type"].astype(object).map(usual).fillna(-1).to_numpy(dtype=np.int64)
    slots = range(PEOPLE)
    which = table[[f"class_{i}" for i in slots]].to_numpy()
    worth = table[[f"worth_{i}" for i in slots]].to_numpy(dtype=np.float32)
    credit: NDArray[np.float32] = (worth * (which == answer[:, None])).sum(axis=1)
    return credit


def _source(name: str, root: Path) -> Source:
    found = read_vqa(root, name)
    questions = {**_carved(found["train"]), "test": found["test"]}
    classes = answer_classes(questions["train"].table["first"])
    place = {answer: i for i, answer in enumerate(classes)}
    parts: dict[str, pd.DataFrame] = {}
    for part, own in questions.items():
        label = own.table["first"].map(place).astype("Float64").fillna(len(classes))
        parts[part] = pd.concat(
            [own.table.assign(label=label.astype(np.int64)), credits_table(own, classes)], axis=1
        )
    usual = usual_answers(parts["train"], len(classes))
    for table in parts.values():
        table["usual_credit"] = usual_credit(table, usual)
    return Source(lambda _: parts, width=WIDTH, facts=FACTS, classes=classes, credits=PEOPLE)


QUESTIONS: dict[str, Open] = {name: partial(_source, name) for name in PARTS}
