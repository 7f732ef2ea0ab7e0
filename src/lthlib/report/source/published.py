"""The numbers that the main source printed, as tidy frames.

The main source is the report of Hu (see the book's references). Its numbers lie beside this file
in `published.json`, each as it was printed, with what is known about it: misprints and what they
should read, headings that belong to other numbers, constant answers, and standard deviations that
it never printed but that its p-values determine. Nothing here is ours.

A table is named by its number ("Table 4"); tables without one have a name of ours ("Appendix
secondary VisualBERT average fidelity"). Models and pruning sets are named as in a study.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any, cast

import numpy as np
import pandas as pd

from lthlib.errors import RecordError, unknown
from lthlib.study import PUBLISHED_AMOUNTS

ITEMS, TRUE_LABELS = 1012, 535
"""Captions behind its VSR tables, and how many are true: the development split of VSR v1."""
CONSTANT = {
    "always True": TRUE_LABELS / ITEMS,
    "always False": (ITEMS - TRUE_LABELS) / ITEMS,
}
ALL_NEGATIVE = 10469 / 10808
"""Accuracy of "no finding at all" on Open-I's 772 test reports with 14 findings each."""
_RULES = {
    "always-true": "always True",
    "always-false": "always False",
    "half-and-half": "half of the runs always True, half always False",
    "all-negative": "all negative",
    "all-positive": "all positive",
}
KINDS = {
    "misprint": "are printed wrongly, and what they should read is known",
    "heading": "stand under a heading that belongs to other numbers",
    "constant": "are marked as what a rule reaches that looks at no input",
    "batches": "are averages over batches, which are not the measure of all answers",
    "degenerate": "are tests of equal samples, or of samples without spread",
    "impossible": "cannot be, given other tables of the source",
    "quoted": "are quoted from others, and not all as those print them",
    "scan": "have a stray character beside them",
}
"""What a mark says of the numbers that carry it."""


@cache
def _document() -> dict[str, Any]:
    text = files("lthlib.report.source").joinpath("published.json").read_text(encoding="utf-8")
    return cast("dict[str, Any]", json.loads(text))


@cache
def _cells() -> pd.DataFrame:
    document = _document()
    about, corrected = document["notes"], document["corrected"]
    rows = []
    for table in document["tables"]:
        head = {k: v for k, v in table.items() if k not in {"cells", "lines", "caption"}}
        for values in table["cells"]:
            cell = dict(zip(document["fields"], values, strict=True))
            codes = cell.pop("notes")
            cell["model"] = cell["model"] or table["model"]
            fixed = [corrected[code] for code in codes if code in corrected]
            rows.append(
                {
                    **head,
                    **cell,
                    "corrected": fixed[0] if fixed else cell["value"],
                    "kinds": "; ".join(about[code]["kind"] for code in codes),
                    "note": " ".join(about[code]["text"] for code in codes),
                    "rule": next((_RULES[code] for code in codes if code in _RULES), ""),
                }
            )
    frame = pd.DataFrame(rows)
    numbers = ["value", "corrected", "amount", "amount_b", "learning_rate", "n_runs"]
    frame = frame.astype(dict.fromkeys(numbers, float))
    frame["share"] = np.where(frame["unit"] == "percent", frame["corrected"] / 100, np.nan)
    frame.loc[frame["unit"] == "fraction", "share"] = frame["corrected"]
    by_value = (frame["metric"] == "accuracy") & (frame["dataset"] == "VSR") & (frame["rule"] == "")
    frame.loc[by_value, "rule"] = frame.loc[by_value, "share"].map(constant_answer)
    return frame.assign(sd=_recovered(frame))


def _recovered(frame: pd.DataFrame) -> pd.Series[float]:
    """The recovered SD of each number that compares one pruned model with dense, or is its own."""
    first, second = frame["amount"], frame["amount_b"]
    alone = first.where(first.notna(), second).where(first.isna() | second.isna())
    keys = ["model", "pruning_set", "metric", "amount"]
    wanted = frame.assign(amount=alone, paired=first.notna() & second.notna())[[*keys, "paired"]]
    spread = recovered_sd()[[*keys, "sd"]]
    found = wanted.merge(spread, on=keys, how="left", validate="many_to_one")
    return found["sd"].mask(found["paired"])


def cells() -> pd.DataFrame:
    """Every number of every table, one row each.

    table, model, dataset, pruning_set, unit, n_runs_claimed, n_runs (what its own numbers imply),
    row, column, row_published, column_published, metric, value (as printed; a lost decimal point
    is put back), raw (the text), amount (share pruned in each round; missing for dense), amount_b
    (of the other model of a pair), learning_rate, corrected (value, or what a misprint should
    read), kinds (see KINDS), note, rule (the rule without input whose accuracy this is, or empty),
    share (corrected, in 0..1, where the unit is a share), sd (recovered from p-values, for means
    over runs; a share).
    """
    return _cells().copy()


def table(name: str) -> pd.DataFrame:
    """The numbers of one table, in the order in which it prints them.

    Raises RecordError for a name that no table with numbers has.

    >>> table("Table 4")[["amount", "value", "sd"]].head(3)
       amount    value        sd
    0     NaN  0.52252  0.018901
    1    0.25  0.50464  0.025174
    2    0.50  0.48498  0.022618
    """
    found = cells()
    names = found["table"].unique().tolist()
    if name not in names:
        raise RecordError(unknown("table of the main source", name, names))
    return found[found["table"] == name].reset_index(drop=True)


def select(**choices: object) -> pd.DataFrame:
    """The numbers that agree with all choices, such as metric="accuracy", model="uniter".

    Raises RecordError where none does.
    """
    found = cells()
    for name, value in choices.items():
        found = found[found[name] == value]
    if found.empty:
        asked = ", ".join(f"{name} {value!r}" for name, value in choices.items())
        raise RecordError(f"the main source prints no number with {asked}")
    return found.reset_index(drop=True)


def tables() -> pd.DataFrame:
    """One row per table: table, caption, line, model, dataset, pruning_set, numbers.

    Tables 1.1 and 1.2 hold words only.
    """
    rows = [
        {**{k: t[k] for k in ("table", "caption", "model", "dataset", "pruning_set")},
         "line": t["lines"][0], "numbers": len(t["cells"])}
        for t in _document()["tables"]
    ]  # fmt: skip
    rows += [
        {"table": t["table"], "caption": t["caption"], "line": t["line"], "numbers": 0}
        for t in _document()["word_tables"]
    ]
    return pd.DataFrame(rows).sort_values("line", ignore_index=True)


def word_table(name: str) -> pd.DataFrame:
    """One of the tables that hold words only: samples, winning ticket, non-winning ticket."""
    found = {t["table"]: t["cells"] for t in _document()["word_tables"]}
    if name not in found:
        raise RecordError(unknown("table of words in the main source", name, found))
    return pd.DataFrame(found[name], columns=["samples", "winning ticket", "non-winning ticket"])


def figures() -> pd.DataFrame:
    """One row per figure: figure, line, shows, data (where its numbers are), note."""
    return pd.DataFrame(_document()["figures"])


def inline_numbers() -> pd.DataFrame:
    """Numbers of the running text: line, quantity, value, unit, corrected, note."""
    return pd.DataFrame(_document()["inline_numbers"])


def inline_number(quantity: str) -> float:
    """One number of the running text as printed, by its quantity.

    Raises RecordError for a quantity that it does not name.
    """
    found = {row["quantity"]: row["value"] for row in _document()["inline_numbers"]}
    if quantity not in found:
        raise RecordError(unknown("number in the text of the main source", quantity, found))
    return float(found[quantity])


def misprints() -> pd.DataFrame:
    """What is printed wrongly, twice or not at all: line, text."""
    return pd.DataFrame(_document()["misprints"])


def recovered_sd() -> pd.DataFrame:
    """Standard deviations over runs that the source did not print and its p-values determine.

    model, pruning_set, metric, amount (missing for dense), sd (a share), n_runs.
    """
    return pd.DataFrame(_document()["recovered_sd"]).astype({"amount": float})


def level_of(pruning_set: str, amount: float | None) -> int:
    """The level of our ladder that an amount of the source stands for; dense is 0.

    >>> level_of("concluding", 0.25), level_of("secondary", 0.25), level_of("secondary", None)
    (3, 1, 0)
    """
    if amount is None or pd.isna(amount) or amount == 0:
        return 0
    return PUBLISHED_AMOUNTS[pruning_set].index(amount) + 1


def constant_answer(share: float) -> str:
    """The rule without input whose accuracy on the source's captions this is; else empty.

    Accuracies are printed with four or five decimals, and one item more or less is a step of 0.001.

    >>> constant_answer(0.47134), constant_answer(0.5287), constant_answer(0.48)
    ('always False', 'always True', '')
    """
    return next((rule for rule, a in CONSTANT.items() if abs(share - a) < 0.51e-4), "")
