"""Do faithful items look different? What an item shows, against how often its answers change."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from lthlib.report.exhibits import Exhibit, in_order, model_name
from lthlib.report.questions.gallery import Seen
from lthlib.report.statistics import holm

FACTS = {
    "relation": "its relation",
    "label": "the label",
    "subject": "its subject (a digit)",
    "object": "its object (a digit)",
    "boxes": "how many boxes it has",
}


def looks(studies: Sequence[Seen], boxes: pd.Series[int]) -> pd.DataFrame:
    """How much each visible fact says of the share of an item's answers that change.

    The unit is the item; its share is taken over seeds and levels that beat the trivial rule, so
    seeds are not told apart here. Tested with Kruskal and Wallis's H, corrected for ties; the
    effect is epsilon^2 = (H - k + 1) / (n - k), the share of the variance of ranks between k
    groups of n items (Tomczak and Tomczak 2014). Holm's adjustment is over the whole table.

    boxes: how many boxes each item has, by item.
    Returns model, fact, most, most_changed, least, least_changed (values of the fact and their mean
    shares), effect, p, p_holm, groups, items, seeds, flags.
    """
    rows = []
    for study in studies:
        frame = study.facts.set_index("item").loc[study.found.items]
        frame = frame.assign(label=study.found.label, boxes=boxes, changed=study.changed)
        for fact in FACTS:
            row = _one(frame["changed"], frame[fact].astype(str))
            about = {"model": study.study.model, "fact": fact, "seeds": len(study.found.runs)}
            rows.append({**about, **row, "items": len(frame)})
    table = pd.DataFrame(rows).astype({"effect": "Float64", "p": "Float64"})
    return table.assign(p_holm=holm(table["p"]))


def _one(changed: pd.Series[float], values: pd.Series[str]) -> dict[str, object]:
    means = changed.groupby(values).mean().sort_values(kind="stable")
    row: dict[str, object] = {
        "most": means.index[-1],
        "most_changed": float(means.iloc[-1]),
        "least": means.index[0],
        "least_changed": float(means.iloc[0]),
        "groups": len(means),
    }
    if len(means) < 2 or np.ptp(changed) == 0:
        why = "one value only: no test" if len(means) < 2 else "no spread between items: no test"
        return {**row, "effect": None, "p": None, "flags": why}
    found = stats.kruskal(*(part for _, part in changed.groupby(values)))
    groups, n = len(means), len(changed)
    effect = (float(found.statistic) - groups + 1) / (n - groups)
    return {**row, "effect": effect, "p": float(found.pvalue), "flags": ""}


def looks_table(found: pd.DataFrame) -> Exhibit:
    """Which values of a fact change most and least, and how much the fact says."""
    rows = [
        {
            "model": model_name(row["model"]),
            "fact": FACTS[row["fact"]],
            "changes most": f"{row['most']}: {100 * row['most_changed']:.1f} %",
            "changes least": f"{row['least']}: {100 * row['least_changed']:.1f} %",
            "explains, %": row["flags"] or f"{100 * row['effect']:.1f}".replace("-", "−"),
            "p (Holm)": row["flags"] or _p_text(row["p_holm"]),
        }
        for model in in_order(found["model"])
        for _, row in found[found["model"] == model].iterrows()
    ]
    caption = (
        "What an item shows, against the share of its answers that change from dense to ticket "
        f"(mean over seeds, {_seeds(found)}, and over levels that beat the best trivial rule): "
        f"{found['items'].max():,} test items, which are the units of the tests (Kruskal and "
        "Wallis; Holm over the table). Explained is the share of the variance of ranks, "
        "epsilon squared."
    )
    table = pd.DataFrame(rows)
    return Exhibit(caption, f"Table of {len(table)} facts of items.", found, table=table)


def looks_sentence(found: pd.DataFrame) -> str:
    """What tells changed items from kept ones, and how little or much of it."""
    parts = []
    for model in in_order(found["model"]):
        own = found[(found["model"] == model) & (found["p_holm"] < 0.05)]
        own = own.sort_values("effect", ascending=False)
        words = [f"{FACTS[row['fact']]} ({100 * row['effect']:.1f} %)" for _, row in own.iterrows()]
        parts.append(f"{model_name(model)}: {', '.join(words) or 'none of them'}")
    return (
        "Of what an item shows, these tell how often its answer changes (p < 0.05 after Holm; in "
        f"brackets the share of the variance of ranks that they explain): {'; '.join(parts)}."
    )


def _p_text(p: float) -> str:
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}"


def _seeds(found: pd.DataFrame) -> str:
    low, high = found["seeds"].min(), found["seeds"].max()
    return f"{low} to {high} seeds" if low != high else f"{low} {'seed' if low == 1 else 'seeds'}"
