"""What the tables of the main source's design share: columns, words of captions, data in long form.

Pairs of levels are tested as the source tested them and, beside it, paired by seed with Holm's
adjustment over the pairs of one table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from lthlib.report.exhibits import MEASURES
from lthlib.report.reading import Reading
from lthlib.report.source import significance as tests
from lthlib.report.source.evidence import (
    Arm,
    Printed,
    amount_text,
    exact_sparsity,
    seeds_line,
)
from lthlib.report.statistics import t_interval
from lthlib.report.words import proper

EACH_ROUND, SPARSITY = "pruned each round", "sparsity, %"
Pair = tuple[int, int]
SD = (
    "mean over runs, ± the standard deviation that its p-values determine, where they do; "
    "in brackets the rule without input whose accuracy it is."
)
EQUAL = (
    "Lottery tickets stand at the sparsity that the source's amount reaches in three rounds, and "
    "are trained after pruning."
)


# -- parts: columns -------------------------------------------------------------------------------
def scale_columns(ladder: str, levels: Sequence[int]) -> dict[str, list[str]]:
    return {
        EACH_ROUND: [amount_text(ladder, level) for level in levels],
        SPARSITY: [exact_sparsity(ladder, level) for level in levels],
    }


def our_columns(
    columns: Sequence[Arm], measures: Sequence[str], levels: Sequence[int]
) -> dict[str, list[str]]:
    return {
        f"{arm.name}: {MEASURES[name].heading}": arm.texts(name, levels)
        for arm in columns
        for name in measures
    }


def tested_columns(
    columns: Sequence[Arm], pairs: Sequence[Pair], measure: str
) -> dict[str, list[str]]:
    """Difference in points, the source's p, and the paired p, raw and adjusted, of each arm."""
    shown = {}
    for arm in columns:
        student, paired = outcomes(arm, pairs, measure)
        lacks = [not outcome.n for outcome in student]
        texts = {
            "difference, points": [points(o) for o in paired],
            "Student p": [o.text for o in student],
            "paired p": [o.text for o in paired],
            "Holm": [o.holm_text for o in paired],
        }
        for words, column in texts.items():
            shown[f"{arm.name}: {words}"] = [
                arm.gap if lack else text for lack, text in zip(lacks, column, strict=True)
            ]
    return shown


def outcomes(
    arm: Arm, pairs: Sequence[Pair], measure: str
) -> tuple[list[tests.Outcome], list[tests.Outcome]]:
    """The source's test and the paired one for each pair (first minus second), as one family."""
    table = arm.by_seed(measure)

    def each(test: Callable[[list[float], list[float]], tests.Outcome]) -> list[tests.Outcome]:
        return [
            _refused_if_flat(test(table[a].tolist(), table[b].tolist()), arm, table[[a, b]])
            if {a, b} <= set(table.columns)
            else tests.Outcome(None, why=arm.gap)
            for a, b in pairs
        ]

    return each(tests.student_t), tests.holm(each(tests.paired_t))


def _refused_if_flat(outcome: tests.Outcome, arm: Arm, pair: pd.DataFrame) -> tests.Outcome:
    """The outcome without p and interval where one side is the same at every seed.

    A t-test takes both samples to be drawn from something that varies; a model that gives every
    item the same answer has its accuracy from the labels alone. The mean difference stays.
    """
    flat = [level for level in pair.columns if np.ptp(pair[level]) < tests.SPREAD]
    if outcome.p is None or not flat:
        return outcome
    shares = arm.by_seed("positive_share")[flat]
    constant = bool(shares.isin([0.0, 1.0]).all(axis=None))
    reason = "one side gives every item the same answer" if constant else "one side does not vary"
    return replace(outcome, p=None, low=None, high=None, why=f"no test: {reason}, at every seed")


def points(outcome: tests.Outcome) -> str:
    if outcome.statistic is None:
        return outcome.why
    text = f"{100 * outcome.statistic:+.1f}"
    if outcome.low is not None and outcome.high is not None:
        text += f" ({100 * outcome.low:+.1f} to {100 * outcome.high:+.1f})"
    return proper(text)


def fidelity_by_run(reading: Reading | None, pair: Pair) -> list[float]:
    """Fidelity between two levels of each run."""
    if reading is None:
        return []
    matrix = reading.matrix
    same = matrix["run_a"] == matrix["run_b"]
    here = same & (matrix["level_a"] == pair[0]) & (matrix["level_b"] == pair[1])
    return matrix.loc[here, "fidelity"].tolist()


def mean_text(values: Sequence[float], gap: str) -> str:
    if not values:
        return gap
    found, measure = t_interval(values), MEASURES["fidelity"]
    text = measure.text(sum(values) / len(values))
    if found.low is None or found.high is None:
        return text
    return f"{text} ({measure.text(max(found.low, 0.0))} to {measure.text(min(found.high, 1.0))})"


def pair_name(ladder: str, pair: Pair) -> str:
    return " and ".join(amount_text(ladder, level) for level in pair)


# -- parts: words and numbers ---------------------------------------------------------------------
def trivial_line(columns: Sequence[Arm]) -> str:
    """The best rule without input on our items."""
    known = [arm.reading for arm in columns if arm.reading is not None]
    if not known:
        return ""
    best = known[0].quality.iloc[0]
    return (
        f"On our items the best rule that looks at no input ({best['trivial_rule']}) is right on "
        f"{100 * best['trivial_accuracy']:.1f} %."
    )


def floors_line(columns: Sequence[Arm]) -> str:
    """Fidelity between dense models of two seeds, which pruning has no part in."""
    found = [arm.reading.floor for arm in columns if arm.reading and arm.reading.floor is not None]
    if not found:
        return "With one seed there is no pair of dense models to compare with."
    return f"Two of our dense models that differ in their seed agree on {100 * found[0]:.1f} %."


def tests_line(columns: Sequence[Arm], tests_made: int) -> str:
    return (
        f"Student: two-sample t-test with pooled variance, as the source. Paired: t-test of the "
        f"differences by seed, with their mean and 95 % t interval in points; Holm over "
        f"those of the {tests_made} pairs of one column that can be tested. {seeds_line(columns)}"
    )


def numbers(printed: Printed, columns: Sequence[Arm], measures: Sequence[str]) -> pd.DataFrame:
    """The numbers of both sides: whose, level, level_b, measure, value, sd, low, high, runs."""
    parts = [printed_numbers(printed), *(arm_numbers(arm, measures) for arm in columns)]
    return pd.concat([part for part in parts if len(part)], ignore_index=True)


def printed_numbers(printed: Printed) -> pd.DataFrame:
    names = ["level", "level_b", "metric", "value", "corrected", "sd", "n_runs", "raw", "kinds"]
    cells = printed.cells[[*names, "learning_rate"]].assign(whose="source")
    return cells.rename(columns={"metric": "measure", "n_runs": "runs"}).dropna(axis=1, how="all")


def arm_numbers(arm: Arm, measures: Sequence[str]) -> pd.DataFrame:
    parts = [
        arm.summary(name).assign(whose=arm.name, measure=name)
        for name in measures
        if arm.reading is not None
    ]
    if not parts:
        return pd.DataFrame()
    table = pd.concat(parts, ignore_index=True).rename(columns={"mean": "value", "n": "runs"})
    return table[["whose", "level", "measure", "value", "low", "high", "runs"]]


def pair_numbers(name: str, values: dict[Pair, list[float]]) -> pd.DataFrame:
    rows = [
        {"whose": name, "level": a, "level_b": b, "measure": "fidelity", "run": run, "value": value}
        for (a, b), found in values.items()
        for run, value in enumerate(found)
    ]
    return pd.DataFrame(rows)


def test_numbers(columns: Sequence[Arm], pairs: Sequence[Pair], measure: str) -> pd.DataFrame:
    rows = []
    for arm in columns:
        student, paired = outcomes(arm, pairs, measure)
        for (a, b), one, two in zip(pairs, student, paired, strict=True):
            rows.append(
                {
                    "whose": arm.name,
                    "level": a,
                    "level_b": b,
                    "measure": measure,
                    "difference": two.statistic,
                    "low": two.low,
                    "high": two.high,
                    "student_p": one.p,
                    "paired_p": two.p,
                    "holm_p": two.p_holm,
                    "seeds": two.n,
                    "flags": two.why or one.why,
                }
            )
    return pd.DataFrame(rows)
