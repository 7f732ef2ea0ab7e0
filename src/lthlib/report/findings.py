"""Findings: computed sentences about models side by side, for the opening page.

Each function takes described frames of one or more models, at one stage (see
:func:`lthlib.report.reading.joined`), and returns one paragraph. The words never claim more than
the numbers: they say what was measured, with its interval, and leave judging to the reader. They
speak of one level, which is chosen by its place on the ladder and never by its result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from lthlib.report.exhibits import (
    MEASURES,
    in_order,
    model_name,
    sparsity_text,
    summarise,
    summary_text,
)
from lthlib.report.statistics import DENSE_LEVEL, paired_differences
from lthlib.report.words import listed, signed

WITH = {
    "random-mask": "a random mask of the same sparsity",
    "shuffled-mask": "the ticket's mask shuffled within each layer",
    "reinitialised": "the ticket's mask and fresh start values",
    "high-magnitude": "the largest weights pruned instead of the smallest",
}


def focus(quality: pd.DataFrame) -> int:
    """The level that the sentences speak of: the middle one of those with controls, or of all."""
    pruned = quality[quality["level"] != DENSE_LEVEL]
    controls = pruned[pruned["branch"] != "main"]
    levels = sorted((controls if len(controls) else pruned)["level"].unique())
    return int(levels[len(levels) // 2]) if levels else DENSE_LEVEL


def dense_sentence(quality: pd.DataFrame, gate: pd.DataFrame) -> str:
    """How well the dense models answer, and whether they beat a rule that looks at no input."""
    dense = quality[quality["level"] == DENSE_LEVEL]
    best = dense.iloc[0]
    beats = gate[gate["level"] == DENSE_LEVEL].groupby("model")["beats"].all()
    fails = [model_name(m) for m in in_order(dense["model"]) if not beats[m]]
    verdict = "Every dense model beats it at every seed."
    if fails:
        verdict = (
            f"{listed(fails)} {'is' if len(fails) == 1 else 'are'} not shown to beat it at every "
            "seed; what follows says little there."
        )
    return (
        f"The dense models are right on {by_model(dense, 'accuracy')} of all decisions. The best "
        f"rule that looks at no input ({best['trivial_rule']}) is right on "
        f"{100 * best['trivial_accuracy']:.1f} %. {verdict}"
    )


def accuracy_sentence(quality: pd.DataFrame, level: int) -> str:
    """How accuracy changes from dense to one level, in points, paired by seed."""
    main = main_branch(quality)
    changes = paired_differences(main, "accuracy", groups=["model"])
    rows = {m: _row(changes[changes["level"] == level], m) for m in in_order(main["model"])}
    parts = [f"{points(row)} for {model_name(m)}" for m, row in rows.items()]
    unclear = [model_name(m) for m, row in rows.items() if _includes_none(row)]
    note = (
        f" For {listed(unclear)} the interval, taken alone, includes no change." if unclear else ""
    )
    of_all = sparsity_of(main, level, "sparsity_all")
    return (
        f"With {sparsity_of(main, level)} of the prunable weights gone ({of_all} of all weights), "
        f"accuracy changes by {listed(parts)}.{note}"
    )


def ladder_sentence(quality: pd.DataFrame, gate: pd.DataFrame) -> str:
    """How accuracy changes at every level, and where the trivial rule is not shown to be beaten."""
    main = main_branch(quality)
    changes = paired_differences(main, "accuracy", groups=["model"])
    models, levels = in_order(main["model"]), sorted(changes["level"].unique())
    shares = {level: sparsity_of(main, level) for level in levels}
    rungs = [f"{shares[k]} ({sparsity_of(main, k, 'sparsity_all')} of all weights)" for k in levels]
    parts = []
    for model in models:
        own = changes[changes["model"] == model].dropna(subset=["difference"])
        steps = [f"{signed(row['difference'])}" for _, row in own.sort_values("level").iterrows()]
        parts.append(f"{', '.join(steps)} ({model_name(model)})")
    return (
        f"Along the ladder, at {listed(rungs)}, accuracy changes by {'; '.join(parts)} points. "
        f"{_against_the_rule(gate, shares)}"
    )


def _against_the_rule(gate: pd.DataFrame, shares: Mapping[int, str]) -> str:
    """Where models are not shown to beat the trivial rule; `shares` names the levels."""
    main = main_branch(gate)
    never, at_some = [], []
    for level, share in shares.items():
        here = main[main["level"] == level]
        beats = {m: here.loc[here["model"] == m, "beats"] for m in in_order(here["model"])}
        failed = [model_name(m) for m in beats if not beats[m].any()]
        if failed:
            never.append(f"{listed(failed)} at {share}")
        partly = [
            f"{model_name(m)} at {beats[m].sum()} of {len(beats[m])}"
            for m in beats
            if beats[m].any() and not beats[m].all()
        ]
        if partly:
            at_some.append(f"{listed(partly)} seeds ({share})")
    sentences = []
    if never:
        sentences.append(
            f"Not shown to beat the rule that looks at no input, at any seed: {'; '.join(never)}."
        )
    if at_some:
        sentences.append(
            "Shown to beat the rule that looks at no input at some seeds only: "
            f"{'; '.join(at_some)}."
        )
    return (
        " ".join(sentences)
        or "All of them are still shown to beat the rule that looks at no input."
    )


def collapse_sentence(levels: pd.DataFrame) -> str:
    """Which modality has less than 1 % of its prunable weights left, and where."""
    main = main_branch(levels)
    hit = main[main["collapsed"] != ""]
    places = []
    for (model, text), part in hit.groupby(["model", "collapsed"], sort=False):
        first = int(part["level"].min())
        runs = main.loc[main["model"] == model, "run"].nunique()
        seeds = f"{part.loc[part['level'] == first, 'run'].nunique()} of {runs} seeds"
        where = f"from {sparsity_of(main, first)} on ({seeds} there)"
        places.append(f"{text} of {model_name(str(model))} {where}")
    if not places:
        return "Every modality of every model keeps at least 1 % of its prunable weights."
    return f"Pruning leaves less than 1 % of one modality: {listed(places)}."


def answers_sentence(agreements: pd.DataFrame, floors: pd.Series[float], level: int) -> str:
    """What share of a ticket's answers is another than its dense model's.

    floors: fidelity between dense models of different seeds, by model; empty with one seed.
    """
    at_level = main_branch(agreements)
    at_level = at_level[at_level["level"] == level]
    text = (
        f"The same tickets give another answer than their dense models on "
        f"{by_model(at_level, 'churn')} of all decisions."
    )
    if len(floors):
        parts = [
            f"{100 * (1 - floors[m]):.1f} % ({model_name(m)})" for m in in_order(_names(floors))
        ]
        text += f" Two dense models that differ in their seed alone disagree on {listed(parts)}."
    return text


def controls_sentence(quality: pd.DataFrame, level: int) -> str:
    """Accuracy of each branch of a level, and at how many seeds its ticket has more right."""
    frame = quality[quality["level"] == level]
    wide = frame.pivot_table("accuracy", ["model", "run"], "branch")
    sentences = []
    for branch, words in WITH.items():
        own = frame[frame["branch"] == branch]
        if own.empty:
            continue
        better = (wide["main"] > wide[branch]).reset_index(name="better")
        counts = []
        for model in in_order(own["model"]):
            seeds = better.loc[better["model"] == model, "better"]
            counts.append(f"{seeds.sum()} of {len(seeds)} ({model_name(model)})")
        sentences.append(
            f"With {words}, accuracy is {by_model(own, 'accuracy')}; the ticket has more right at "
            f"{listed(counts)} seeds, which is counted and not tested."
        )
    return " ".join(sentences) or "No controls were recorded for these studies."


def reading_note(quality: pd.DataFrame) -> str:
    """What the numbers in these sentences are."""
    seeds = quality.groupby("model")["run"].nunique().max()
    interval = (
        f"in brackets 95 % t intervals over {seeds} seeds, paired by seed where they are changes"
        if seeds > 1
        else "of one seed, and so without an interval"
    )
    return (
        f"All numbers are means on {quality['items'].max():,} test items of "
        f"{quality['task'].iloc[0]}, {interval}."
    )


def main_branch(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["branch"] == "main"]


def _names(series: pd.Series[float]) -> pd.Series[str]:
    return series.index.to_series()


def by_model(frame: pd.DataFrame, measure: str) -> str:
    """One measure of every model, such as "93.1 % (VisualBERT; 91.0 to 95.2) and ..."."""
    data = summarise(frame, ["model", "level"], [measure])
    parts = []
    for model in in_order(frame["model"]):
        value, _, interval = summary_text(MEASURES[measure], _row(data, model)).partition(" (")
        inside = f"{model_name(model)}; {interval}" if interval else f"{model_name(model)})"
        parts.append(f"{value} % ({inside}")
    return listed(parts)


def sparsity_of(frame: pd.DataFrame, level: int, of: str = "sparsity") -> str:
    """Sparsity of a level, as a range where models differ in it."""
    shares = frame.loc[frame["level"] == level, of]
    ends = dict.fromkeys(sparsity_text(share) for share in (shares.min(), shares.max()))
    return f"{' to '.join(ends)} %"


def _row(frame: pd.DataFrame, model: str) -> pd.Series[Any]:
    """The one row of a model."""
    return frame[frame["model"] == model].iloc[0]


def _includes_none(row: pd.Series[Any]) -> bool:
    """Does the interval of a difference include no difference?"""
    return not row.isna()["low"] and bool(row["low"] <= 0 <= row["high"])


def points(row: pd.Series[Any]) -> str:
    """One paired difference in points, such as "−0.3 points (−1.1 to +0.5)"."""
    if row.isna()["difference"]:
        return f"an unknown number of points ({row['flags']})"
    text = f"{signed(row['difference'])} points"
    if row.isna()["low"]:
        return text
    return f"{text} ({signed(row['low'])} to {signed(row['high'])})"
