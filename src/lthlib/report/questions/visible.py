"""Do faithful items look different? What an item shows, against how often its answers change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from lthlib.report.exhibits import Exhibit, model_name, sparsity_text
from lthlib.report.judgement.families import adjust
from lthlib.report.questions.gallery import Seen
from lthlib.report.tidy import in_order
from lthlib.report.words import counted, proper

FACTS = {
    "relation": "its relation",
    "label": "the label",
    "subject": "its subject (a digit)",
    "object": "its object (a digit)",
    "boxes": "how many boxes it has",
}


def looks(studies: Sequence[Seen], boxes: pd.Series[int]) -> pd.DataFrame:
    """How much each visible fact says of the share of an item's answers that change.

    The unit is the item; its share is taken at one level (see :class:`Seen`), over the seeds at
    which that level beats the trivial rule, so seeds are not told apart here. Tested with Kruskal
    and Wallis's H, corrected for ties; the effect is eta^2 = (H - k + 1) / (n - k), the share
    of the variance of ranks between k groups of n items (Tomczak and Tomczak 2014). Holm's
    adjustment is over the whole table. The control is the same statistic of how often two dense
    models of different seeds differ on the item, which pruning has no part in.

    boxes: how many boxes each item has, by item.
    Returns study, model, fact, sparsity, most, most_changed, least, least_changed (values of the
    fact and their mean shares), effect, effect_seeds (<NA> with one seed), p_visible, holm_visible,
    groups, items, seeds (that count at the level), flags.
    """
    rows = []
    for study in studies:
        frame = study.facts.set_index("item").loc[study.found.items]
        frame = frame.assign(label=study.found.label, boxes=boxes, changed=study.changed_at_level)
        place = study.found.levels.index(study.level)
        about = {
            "study": study.study.name,
            "model": study.study.model,
            "sparsity": study.sparsity[place],
            "seeds": int(study.beats[:, place].sum()),
            "items": len(frame),
        }
        for fact in FACTS:
            values = frame[fact].astype(str)
            row = _one(frame["changed"], values)
            if not about["seeds"]:
                row["flags"] = "does not beat the trivial rule: no test"
            by_seed = study.changed_by_seed
            control = None if by_seed is None else _one(pd.Series(by_seed, frame.index), values)
            row["effect_seeds"] = control["effect"] if control else None
            rows.append({**about, "fact": fact, **row})
    numbers = ["effect", "effect_seeds", "p_visible"]
    return adjust(pd.DataFrame(rows).astype(dict.fromkeys(numbers, "Float64")))


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
        return {**row, "effect": None, "p_visible": None, "flags": why}
    found = stats.kruskal(*(part for _, part in changed.groupby(values)))
    groups, n = len(means), len(changed)
    effect = (float(found.statistic) - groups + 1) / (n - groups)
    return {**row, "effect": effect, "p_visible": float(found.pvalue), "flags": ""}


def looks_table(found: pd.DataFrame) -> Exhibit:
    """Which values of a fact change most and least, and how much the fact says."""
    rows = [
        {
            "model": model_name(row["model"]),
            "fact": FACTS[row["fact"]],
            "changes most": f"{row['most']}: {100 * row['most_changed']:.1f} %",
            "changes least": f"{row['least']}: {100 * row['least_changed']:.1f} %",
            "explains, %": row["flags"] or _percent(row["effect"]),
            "explains between dense seeds, %": _percent(row["effect_seeds"]),
            "p (Holm)": row["flags"] or _p_text(row["holm_visible"]),
        }
        for model in in_order(found["model"])
        for _, row in found[found["model"] == model].iterrows()
    ]
    caption = (
        "What an item shows, against the share of its answers that change from dense to ticket at "
        f"{_sparsity(found)} % sparsity (mean over seeds, {_seeds(found)} that beat the best "
        f"trivial rule there): {found['items'].max():,} test items, which are the units of the "
        "tests (Kruskal and Wallis; Holm over the table). Explained is the share of the variance "
        "of ranks, eta squared. Beside it stands the same share for answers that differ "
        "between dense models of two seeds, which pruning has no part in."
    )
    table = pd.DataFrame(rows)
    return Exhibit(caption, f"Table of {len(table)} facts of items.", found, table=table)


def looks_sentence(found: pd.DataFrame) -> str:
    """What tells changed items from kept ones, and whether pruning has a part in it."""
    told = found[found["holm_visible"] < 0.05]
    start = "No visible fact is shown to tell" if told.empty else "These facts tell"
    text = (
        f"{start} how often an item's answer changes at {_sparsity(found)} % sparsity (p < 0.05 "
        "after Holm; in brackets the share of the variance of ranks that a fact explains, then "
        "what it explains of answers that differ between two dense seeds)."
    )
    parts = []
    for model in in_order(found["model"]):
        own = told[told["model"] == model].sort_values("effect", ascending=False)
        words = [
            f"{FACTS[row['fact']]} ({_percent(row['effect'])} %, {_percent(row['effect_seeds'])})"
            for _, row in own.iterrows()
        ]
        parts.append(f"{model_name(model)}: {', '.join(words) or 'none of them'}")
    return f"{text} {'; '.join(parts)}.{_without_pruning(told)}"


def _without_pruning(told: pd.DataFrame) -> str:
    """Whether dense models that differ in their seed show as much, fact by fact."""
    known = told.dropna(subset="effect_seeds")
    if known.empty:
        return ""
    most = int((known["effect_seeds"] >= known["effect"] / 2).sum())
    return (
        f" In {most} of these {len(known)} at least half of it is there between dense seeds, which "
        "pruning has no part in."
    )


def _percent(share: Any) -> str:
    return "no test" if pd.isna(share) else proper(f"{100 * share:.1f}")


def _sparsity(found: pd.DataFrame) -> str:
    """The sparsity of the level, as a range where models differ in it."""
    ends = (found["sparsity"].min(), found["sparsity"].max())
    return " to ".join(dict.fromkeys(sparsity_text(share) for share in ends))


def _p_text(p: float) -> str:
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}"


def _seeds(found: pd.DataFrame) -> str:
    return counted(found["seeds"], "seed")
