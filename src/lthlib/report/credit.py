"""Answers that are right in part: what they are worth, by the type of the question.

VQA asks ten people, and an answer is worth more the more of them gave it; accuracy against the most
frequent answer alone undervalues a model. Types differ so much (one half of all yes-or-no questions
is answered by chance) that a mean over all tells little about a pruned model.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lthlib.errors import RecordError
from lthlib.report.exhibits import MEASURES, Exhibit, intervals, seeds_and_items, summary_text
from lthlib.report.measures import RECORD, at_stage
from lthlib.report.reading import Reading
from lthlib.report.show import OF_ALL, SPARSITY, level_columns
from lthlib.report.tidy import in_level_order, over_seeds

EVERY = "all"
USUAL = "usual answer of its type"


def credit(predictions: pd.DataFrame, kinds: pd.Series[str]) -> pd.DataFrame:
    """Mean worth of each record's answers, over all questions and over those of each kind.

    predictions: with a column credit, 0 to 1; kinds: kind of each question, by item.
    Returns run, level, branch, stage, kind ("all" first), questions, credit.
    Raises RecordError without credits, and for items of which no kind is known.
    """
    if "credit" not in predictions.columns:
        raise RecordError("predictions have no column 'credit': answers are right or wrong here")
    kind = predictions["item"].map(kinds)
    if kind.isna().any():
        item = predictions["item"][kind.isna()].iloc[0]
        raise RecordError(f"no kind is known of item {item!r}: give the items of this record")
    named = predictions.assign(kind=kind)
    both = pd.concat([named.assign(kind=EVERY), named], ignore_index=True)
    grouped = both.groupby([*RECORD, "kind"], sort=False)["credit"]
    return grouped.agg(questions="size", credit="mean").reset_index()


def has_credit(reading: Reading) -> bool:
    """Whether answers are right in part in a study."""
    return "credit" in reading.predictions.columns


def credit_table(reading: Reading, by: str = "answer_type") -> Exhibit:
    """VQA accuracy of each level and branch, over all questions and by their type.

    by: the column of the items that names the type: answer_type or question_type.
    """
    items = reading.items().set_index("item")[by].astype(str)
    found = credit(at_stage(reading.predictions, reading.stage), items)
    facts = reading.quality[[*RECORD, "items", "decisions", "sparsity", "sparsity_all", "model"]]
    frame = found.merge(facts, on=RECORD, how="left", validate="many_to_one")
    kinds = [EVERY, *sorted(set(found["kind"]) - {EVERY})]
    data = pd.concat(
        [_of_kind(frame[frame["kind"] == kind]).assign(kind=kind) for kind in kinds],
        ignore_index=True,
    )
    every = in_level_order(data[data["kind"] == EVERY])
    keys = every[["level", "branch"]]
    columns = level_columns(every)
    sizes = found.groupby("kind")["questions"].first()
    rule = _rule(reading.items(), by, kinds)
    for name, cell in {"level": "rule", "branch": USUAL, SPARSITY: "", OF_ALL: ""}.items():
        columns[name] = [*columns[name], cell]
    for kind in kinds:
        own = keys.merge(data[data["kind"] == kind], on=["level", "branch"], how="left")
        heading = f"{kind} ({sizes[kind]:,}), %"
        cells = [summary_text(MEASURES["credit"], row) for _, row in own.iterrows()]
        columns[heading] = [*cells, MEASURES["credit"].text(rule[kind])]
    caption = (
        f"VQA accuracy by {by.replace('_', ' ')}: {seeds_and_items(frame)}. What an answer is "
        "worth: min(n / 3, 1), where n of the people asked gave it, averaged over leaving each of "
        f"them out. Mean over seeds; in brackets: {intervals(frame)}; number of questions in each "
        "heading. The last row is the rule that gives each question the most frequent answer that "
        "training questions of its question type have: no image, and no word after the first few."
    )
    alt = f"Table of VQA accuracy: {len(every)} rows, {len(kinds) - 1} types of questions."
    return Exhibit(caption, alt, data, table=pd.DataFrame(columns))


def _rule(items: pd.DataFrame, by: str, kinds: Sequence[str]) -> dict[str, float]:
    """What the usual answer of a question's type is worth, by kind."""
    means = items.groupby(items[by].astype(str))["usual_credit"].mean()
    return {kind: items["usual_credit"].mean() if kind == EVERY else means[kind] for kind in kinds}


def _of_kind(frame: pd.DataFrame) -> pd.DataFrame:
    return over_seeds(frame, ["level", "branch"], ["credit"])
