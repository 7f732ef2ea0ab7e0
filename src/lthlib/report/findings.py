"""Findings: computed sentences about models side by side, for the opening page.

Each function takes described frames of one or more models (see
:func:`lthlib.report.measures.describe`) and returns one paragraph. The words never claim more than
the numbers: they say what was measured, with its interval, and leave judging to the reader.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lthlib.report.exhibits import (
    MEASURES,
    in_order,
    model_name,
    sparsity_text,
    summarise,
    summary_text,
)
from lthlib.report.measures import at_stage
from lthlib.report.statistics import DENSE_LEVEL, paired_differences
from lthlib.study import TASKS

BRANCH_WORDS = {
    "random-mask": "with a random mask",
    "shuffled-mask": "with the mask shuffled within layers",
    "reinitialised": "with the ticket's mask but fresh start values",
    "high-magnitude": "with the largest weights pruned",
}


def dense_sentence(quality: pd.DataFrame, gate: pd.DataFrame) -> str:
    """How well the dense models answer, and whether they beat a rule that looks at no input."""
    dense = quality[quality["level"] == DENSE_LEVEL]
    data = summarise(dense, ["model", "level"], ["accuracy"]).set_index("model")
    parts = [
        f"{model_name(m)} {_percent(data.loc[[m]].iloc[0])}" for m in in_order(dense["model"])
    ]
    best = dense.iloc[0]
    first = gate[gate["level"] == DENSE_LEVEL].groupby("model")["beats"].all()
    fails = [model_name(m) for m in in_order(dense["model"]) if not first[m]]
    verdict = (
        "Every dense model beats it at every seed."
        if not fails
        else f"{_and(fails)} does not beat it at every seed, so what is said of it below is moot."
    )
    return (
        f"Before pruning, accuracy is {_and(parts)}. "
        f"The best rule that looks at no input ({best['trivial_rule']}) reaches "
        f"{100 * best['trivial_accuracy']:.1f} %. {verdict}"
    )


def accuracy_sentence(quality: pd.DataFrame, gate: pd.DataFrame) -> str:
    """How accuracy changes from dense to each level, in points, paired by seed."""
    main = _main(quality)
    changes = paired_differences(main, "accuracy", groups=["model"])
    sentences = []
    for level in _pruned_levels(main):
        row = changes[changes["level"] == level].set_index("model")
        parts = [f"{model_name(m)} {_points(row.loc[m])}" for m in in_order(main["model"])]
        sentences.append(f"at {_sparsity(main, level)} sparsity {_and(parts)}")
    beaten = _main(gate).groupby(["model", "level"])["beats"].any()
    lost = [
        f"{model_name(m)} at {_sparsity(main, level)}"
        for m in in_order(main["model"])
        for level in _pruned_levels(main)
        if not beaten.get((m, level), True)
    ]
    trivial = f" No better than that rule at any seed: {_and(lost)}." if lost else ""
    return f"Accuracy of the tickets against dense: {'; '.join(sentences)}.{trivial}"


def answers_sentence(agreements: pd.DataFrame, floors: pd.Series[float]) -> str:
    """What share of answers is another than the dense model's, level by level.

    floors: fidelity between dense models of different seeds, by model; empty with one seed.
    """
    main = _main(agreements)
    main = main[main["level"] != DENSE_LEVEL]
    data = summarise(main, ["model", "level"], ["churn"])
    sentences = []
    for level in _pruned_levels(main):
        row = data[data["level"] == level].set_index("model")
        parts = [f"{model_name(m)} {_percent(row.loc[[m]].iloc[0])}" for m in in_order(main["model"])]
        sentences.append(f"at {_sparsity(main, level)} sparsity {_and(parts)}")
    text = f"Answers that differ from the dense model's: {'; '.join(sentences)}."
    if len(floors):
        parts = [f"{model_name(m)} {100 * (1 - floors[m]):.1f} %" for m in floors.index]
        text += (
            f" For comparison, two dense models that differ only in their seed differ in "
            f"{_and(parts)} of their answers."
        )
    return text


def controls_sentence(quality: pd.DataFrame) -> str:
    """Accuracy of each branch beside the ticket's, at the levels where branches were made."""
    frame = at_stage(quality, "trained")
    levels = sorted(frame.loc[frame["branch"] != "main", "level"].unique())
    if not levels:
        return "No controls were recorded for these studies."
    frame = frame[frame["level"].isin(levels)]
    data = summarise(frame, ["model", "level", "branch"], ["accuracy"])
    sentences = []
    for (level, branch), part in data[data["branch"] != "main"].groupby(["level", "branch"]):
        tickets = data[(data["level"] == level) & (data["branch"] == "main")].set_index("model")
        own = part.set_index("model")
        parts = [
            f"{model_name(m)} {_percent(own.loc[[m]].iloc[0])}, its ticket "
            f"{_percent(tickets.loc[[m]].iloc[0])}"
            for m in in_order(part["model"])
        ]
        sentences.append(
            f"{BRANCH_WORDS[str(branch)]} at {_sparsity(frame, level)} sparsity: {'; '.join(parts)}"
        )
    return f"Accuracy of the controls, {'. '.join([sentences[0], *map(_capital, sentences[1:])])}."


def reading_note(quality: pd.DataFrame) -> str:
    """What the numbers in these sentences are."""
    seeds = quality.groupby("model")["run"].nunique().max()
    items = quality["items"].max()
    task = quality["task"].iloc[0]
    assert task in TASKS
    interval = (
        f"in brackets, the 95 % t interval over {seeds} seeds; for differences, paired by seed"
        if seeds > 1
        else "there is one seed, and so no interval"
    )
    return f"All on {items:,} test items of {task}; means, {interval}."


def _main(frame: pd.DataFrame) -> pd.DataFrame:
    chosen = at_stage(frame, "trained")
    return chosen[chosen["branch"] == "main"]


def _pruned_levels(frame: pd.DataFrame) -> list[int]:
    return sorted(level for level in frame["level"].unique() if level != DENSE_LEVEL)


def _sparsity(frame: pd.DataFrame, level: int) -> str:
    return f"{sparsity_text(frame.loc[frame['level'] == level, 'sparsity'].mean())} %"


def _percent(row: pd.Series[float]) -> str:
    """One row of a summary, such as "93.1 % (91.0 to 95.2)"."""
    text = summary_text(MEASURES[str(row["measure"])], row)
    head, _, tail = text.partition(" (")
    return f"{head} %" + (f" ({tail}" if tail else "")


def _points(row: pd.Series[float]) -> str:
    """One paired difference in points, such as "-0.3 points (-1.1 to 0.5)"."""
    if pd.isna(row["difference"]):
        return f"not compared ({row['flags']})"
    text = f"{100 * row['difference']:+.1f} points"
    if pd.isna(row["low"]):
        return text
    return f"{text} ({100 * row['low']:+.1f} to {100 * row['high']:+.1f})"


def _and(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
