"""The main source's numbers, laid out as the audit wants them: one row per pruned model.

Printed texts are kept as they are, since their digits matter.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from functools import cache
from typing import NamedTuple

import pandas as pd

from lthlib.report.exhibits import model_name
from lthlib.report.source import published
from lthlib.report.tidy import in_order
from lthlib.study import PUBLISHED_AMOUNTS

SETS = ("secondary", "concluding")
GROUPS = tuple((model, ladder) for model in ("visualbert", "lxmert", "uniter") for ladder in SETS)
FAITHFULNESS = ("fidelity", "faithful_accuracy", "unfaithful_accuracy")
CONFUSION = ("tn", "fp", "fn", "tp")


def group_name(model: object, pruning_set: object) -> str:
    """A model and a ladder, such as "LXMERT concluding"."""
    return f"{model_name(str(model))} {pruning_set}"


def share_text(amount: object) -> str:
    """An amount as a heading, such as "25 %"; dense for 0.

    >>> share_text(0.25), share_text(0.0)
    ('25 %', 'dense')
    """
    share = float(str(amount))
    return f"{100 * share:g} %" if share else "dense"


def by_group(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The name and the rows of each model and ladder that a table has, in the source's order."""
    for model, ladder in GROUPS:
        part = table[(table["model"] == model) & (table["pruning_set"] == ladder)]
        if len(part):
            yield group_name(model, ladder), part


def counted(table: pd.DataFrame, column: str) -> str:
    """How many rows of each model have a mark, in words: "10 of 12 (VisualBERT), ..."."""
    parts = [table[table["model"] == model] for model in in_order(table["model"])]
    return joined(
        f"{part[column].sum()} of {len(part)} ({model_name(part['model'].iloc[0])})"
        for part in parts
    )


def joined(parts: Iterable[object]) -> str:
    """Words in a row, with "and" before the last.

    >>> joined(["a", "b", "c"]), joined(["a"]), joined([])
    ('a, b and c', 'a', 'none')
    """
    texts = [str(part) for part in parts]
    if len(texts) < 2:
        return "".join(texts) or "none"
    return f"{', '.join(texts[:-1])} and {texts[-1]}"


def rows() -> pd.DataFrame:
    """The 36 pruned models of the VSR form: three models, two ladders, six amounts.

    model, pruning_set, amount, runs (that its own numbers imply); as printed: accuracy_dense,
    accuracy_pruned, fidelity (to dense), faithful_accuracy, unfaithful_accuracy, recall, precision,
    f1 (concluding only); recovered deviations over runs sd_fidelity, sd_faithful_accuracy.
    """
    return _rows().copy()


@cache
def _rows() -> pd.DataFrame:
    return pd.concat([_group(*group) for group in GROUPS], ignore_index=True)


def _group(model: str, pruning_set: str) -> pd.DataFrame:
    cells = published.select(model=model, pruning_set=pruning_set)
    accuracy = cells[cells["metric"] == "accuracy"].set_index("amount")["raw"]
    table = accuracy[accuracy.index.notna()].rename("accuracy_pruned").to_frame()
    table["accuracy_dense"] = accuracy[accuracy.index.isna()].iloc[0]
    for metric in ("faithful_accuracy", "unfaithful_accuracy", "recall", "precision", "f1"):
        own = cells[(cells["metric"] == metric) & cells["amount"].notna()]
        table[metric] = own.set_index("amount")["raw"]
    fidelity = cells[(cells["metric"] == "fidelity") & cells["amount"].isna()]
    table["fidelity"] = fidelity.set_index("amount_b")["raw"]
    for metric in ("fidelity", "faithful_accuracy"):
        table[f"sd_{metric}"] = _deviations(model, pruning_set, metric).reindex(table.index)
    first = {"model": model, "pruning_set": pruning_set}
    table = table.rename_axis("amount").reset_index().assign(runs=int(cells["n_runs"].iloc[0]))
    return table.assign(**first)[[*first, *table.columns]]


def _deviations(model: str, pruning_set: str, metric: str) -> pd.Series[float]:
    """Recovered deviations by amount; models of one and the same accuracy share theirs."""
    found = published.recovered_sd()
    keep = (found["model"] == model) & (found["pruning_set"] == pruning_set)
    own = found[keep & (found["metric"] == metric)].set_index("amount")["sd"]
    return own.reindex(list(PUBLISHED_AMOUNTS[pruning_set])).ffill()


def fidelity_entries() -> pd.DataFrame:
    """Fidelity between any two models, with both accuracies: model, pruning_set, amount, amount_b,
    fidelity, accuracy_dense (of the first model), accuracy_pruned (of the second)."""
    cells = published.cells()
    accuracy = cells[(cells["metric"] == "accuracy") & cells["pruning_set"].isin(SETS)]
    keys = ["model", "pruning_set", "amount"]
    by_amount = accuracy[[*keys, "raw"]].fillna({"amount": 0.0})
    entries = cells[(cells["metric"] == "fidelity") & cells["pruning_set"].isin(SETS)]
    table = entries[[*keys, "amount_b", "raw"]].rename(columns={"raw": "fidelity"})
    table = table.fillna({"amount": 0.0})
    for left, name in (("amount", "accuracy_dense"), ("amount_b", "accuracy_pruned")):
        named = by_amount.rename(columns={"raw": name, "amount": left})
        table = table.merge(named, on=["model", "pruning_set", left], validate="many_to_one")
    return table


class Pairs(NamedTuple):
    """Means and pairwise p-values of one measure: what :func:`reconstruct` takes."""

    means: Mapping[Hashable, object]
    pairs: pd.DataFrame


def pairs(model: str, pruning_set: str, metric: str) -> Pairs:
    """The p-values between the pruned models of a group, and the means that they compare.

    For accuracy, those of dense (amount 0) against each pruned model.
    """
    cells = published.select(model=model, pruning_set=pruning_set)
    tests = cells[cells["metric"] == f"p_value_ttest_{metric}"]
    first, second = tests["amount"], tests["amount_b"]
    means = cells[cells["metric"] == metric]
    if metric == "accuracy":
        first, second = 0 * first, first
        by_amount = means.set_index(means["amount"].fillna(0.0))["raw"]
    elif metric == "fidelity":
        by_amount = means[means["amount"].isna()].set_index("amount_b")["raw"]
    else:
        by_amount = means.set_index("amount")["raw"]
    table = pd.DataFrame({"first": first, "second": second, "p": tests["raw"]})
    return Pairs(by_amount.to_dict(), table.reset_index(drop=True))


def confusions() -> pd.DataFrame:
    """The average confusion matrices of the concluding ladders: model, amount (dense: 0), counts,
    accuracy as printed, and the shares of True answers and labels."""
    cells = published.select(pruning_set="concluding").fillna({"amount": 0.0})
    keys = ["model", "amount"]
    counts = cells[cells["metric"].str.startswith("confusion_")]
    table = counts.pivot_table("value", keys, "metric", sort=False).rename(
        columns=lambda name: name.removeprefix("confusion_")
    )[list(CONFUSION)]
    accuracy = cells[cells["metric"] == "accuracy"].set_index(keys)["raw"]
    total = table.sum(axis=1)
    table = table.assign(accuracy=accuracy, total=total)
    table["positive_share"] = (table["tp"] + table["fp"]) / total
    table["recall"] = table["tp"] / (table["tp"] + table["fn"])
    table["false_alarms"] = table["fp"] / (table["fp"] + table["tn"])
    return table.rename_axis(columns=None).reset_index()
