"""Trends along the ladder, and how accuracy and fidelity go together, seed by seed.

Levels of one seed belong together: a correlation over all points, or over means of levels, counts
them as if they did not. Dense stays out of every number here: its fidelity is 1 by definition, and
one such point can make a correlation out of nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pingouin
from scipy import stats

from lthlib.report.exhibits import Exhibit, model_name
from lthlib.report.judgement.families import adjust
from lthlib.report.judgement.verdicts import seeds_line
from lthlib.report.plain import plain_table
from lthlib.report.statistics import DENSE_LEVEL, MIN_SEEDS, t_interval
from lthlib.report.tidy import in_order
from lthlib.report.words import p_text, points, proper

MEASURED = ("accuracy", "fidelity")
# What accuracy would go with if the ticket's errors had nothing to do with those of dense.
SKILL = ("accuracy", "fidelity_skill")
MIN_LEVELS = 3
GIVEN = "positive_share"


def along_the_ladder(part: pd.DataFrame, value: str) -> tuple[pd.DataFrame, str]:
    """One measure of a study's main branch as seeds x pruned levels; and why it cannot be used.

    Only levels at which the ticket beats the best trivial rule at every seed: levels at chance lie
    on a line of their own, and a slope through them says how many of them the ladder has.

    The reason is "" where it can: every seed has every level, there are three of each at least,
    and the measure is not constant within every seed.
    """
    pruned = part[(part["branch"] == "main") & (part["level"] != DENSE_LEVEL)]
    learned = pruned["beats"].eq(True).groupby(pruned["level"]).transform("all")
    chosen = pruned[learned.to_numpy(dtype=bool)]
    if chosen["level"].nunique() < MIN_LEVELS:
        there, of = chosen["level"].nunique(), pruned["level"].nunique()
        wide = pd.DataFrame(index=pruned["run"].unique(), columns=chosen["level"].unique())
        return wide, f"{there} of {of} levels beat the trivial rule: too few for a trend"
    wide = chosen.pivot_table(value, "run", "level", dropna=False).astype(float)
    lacking = wide.index[wide.isna().any(axis=1)]
    if len(lacking):
        level = wide.columns[wide.loc[lacking[0]].isna()][0]
        return wide, f"{lacking[0]} has no {value} at level {level}: no test"
    if len(wide) < MIN_SEEDS:
        count = "one seed" if len(wide) == 1 else f"{len(wide)} seeds"
        return wide, f"{count}: too few for a test"
    if np.ptp(wide.to_numpy(), axis=1).max() < 1e-12:
        return wide, f"{value} is constant within every seed: no test"
    return wide, ""


# -- trends ----------------------------------------------------------------------------------------
def trends(scored: pd.DataFrame) -> pd.DataFrame:
    """Does a measure fall with sparsity? One row per study and measure.

    Page's L (1963) ranks the levels within each seed and asks whether the ranks fall as sparsity
    rises, one-sided. Beside it the size: the slope of a least-squares line of each seed, in shares
    per unit of sparsity, its mean and 95 % t interval over seeds; with every seed at the same
    levels that is also the estimate of a mixed model with an intercept and a slope per seed.

    Returns study, model, measure, n, levels, L, p_trend, holm_trend, slope, slope_low, slope_high,
    note (why there is no test).
    """
    rows = []
    for study, part in scored.groupby("study"):
        for measure in MEASURED:
            row = {"study": study, "model": part["model"].iloc[0], "measure": measure}
            rows.append(row | _trend(part, measure))
    return adjust(pd.DataFrame(rows).astype(dict.fromkeys(_TREND, "Float64")))


MOST_LEVELS = 8
_TREND = ("L", "p_trend", "slope", "slope_low", "slope_high")


def _trend(part: pd.DataFrame, measure: str) -> dict[str, Any]:
    wide, note = along_the_ladder(part, measure)
    row: dict[str, Any] = {"n": len(wide), "levels": wide.shape[1], "note": note}
    row |= dict.fromkeys(_TREND)
    if note:
        return row
    main = part[part["branch"] == "main"]
    sparsity = main.groupby("level")["sparsity"].mean().loc[wide.columns]
    downwards = wide[sparsity.sort_values(ascending=False).index]
    page = page_test(downwards.to_numpy(dtype=np.float64))
    slopes = np.polyfit(sparsity.to_numpy(dtype=np.float64), wide.to_numpy().T, 1)[0]
    low, high = t_interval(slopes)[:2]
    numbers = (*page, slopes.mean(), low, high)
    return row | dict(zip(_TREND, numbers, strict=True))


def page_test(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Page's L and its exact one-sided p, given the ties (Page 1963).

    values: [seeds, levels], levels in the order in which they are expected to rise. Under the null
    every order of a seed's own ranks is as likely as any other. scipy's test knows no ties; levels
    that collapsed are tied, and it then finds too little. Up to MOST_LEVELS levels; more raise
    ValueError.

    >>> statistic, p = page_test(np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]))
    >>> statistic, round(p, 4)
    (28.0, 0.0278)
    """
    levels = values.shape[1]
    if levels > MOST_LEVELS:
        raise ValueError(f"Page's test: {levels} levels; up to {MOST_LEVELS} are enumerated")
    orders = np.array(list(permutations(range(levels))))
    weights = np.arange(1, levels + 1)
    chances, observed = np.ones(1), 0
    for row in values:
        # Twice the ranks are whole numbers, ties included.
        twice = np.rint(2 * stats.rankdata(row)).astype(np.int64)
        sums = twice[orders] @ weights
        chances = np.convolve(chances, np.bincount(sums) / len(sums))
        observed += int(twice @ weights)
    return observed / 2, float(chances[observed:].sum())


def trends_table(found: pd.DataFrame) -> Exhibit:
    """Page's test and the mean slope of each model and measure."""
    rows = []
    for _, row in _ordered(found).iterrows():
        cells = {"model": model_name(row["model"]), "measure": row["measure"]}
        if row["note"]:
            rows.append(cells | dict.fromkeys(_TREND_HEADS, row["note"]))
            continue
        tenth = [points(row[name] / 10) for name in ("slope", "slope_low", "slope_high")]
        slope = f"{tenth[0]} ({tenth[1]} to {tenth[2]})"
        texts = (str(row["levels"]), slope, f"{row['L']:.0f}", _p_pair(row, "trend"))
        rows.append(cells | dict(zip(_TREND_HEADS, texts, strict=True)))
    caption = (
        f"Trends over the pruned levels at which the ticket beats the trivial rule at every seed: "
        f"{seeds_line(found)}. Slope: least squares within each "
        "seed on true sparsity, mean with 95 % t interval over seeds, in points per 10 % of the "
        "prunable weights. Page's L: do ranks within seeds fall, one-sided; p as it is and, after "
        "the arrow, after Holm over both measures. Dense is left out."
    )
    return plain_table(pd.DataFrame(rows), caption, data=found)


_TREND_HEADS = ("levels", "slope, points", "Page's L", "p")


# -- correlations ----------------------------------------------------------------------------------
class Correlation(NamedTuple):
    """A correlation with its 95 % interval by Fisher's z; None where `note` says why not.

    dof: degrees of freedom of its t test, from which the interval's width comes too.
    """

    r: float | None
    low: float | None
    high: float | None
    dof: int
    p: float | None
    note: str


def within_seeds(frame: pd.DataFrame, x: str, y: str, given: Sequence[str] = ()) -> Correlation:
    """Repeated-measures correlation: do x and y go together within a seed?

    frame: one row per run and level. A model y = seed + b x + c given, with an intercept per seed
    and one slope for all (Bland and Altman 1995; Bakdash and Marusich 2017); r = t / sqrt(t^2 +
    dof) with the t of b and dof = rows - seeds - 1 - len(given). With `given` it is the partial
    correlation at equal values of those. Interval: see :func:`fisher_interval`.

    No number, and `note` says why, with fewer than three seeds, undefined values, or where x, y or
    what is given does not vary within seeds beyond the rest.
    """
    names, seeds = [x, y, *given], frame["run"].nunique()
    dof = len(frame) - seeds - 1 - len(given)
    if seeds < MIN_SEEDS:
        count = "one seed" if seeds == 1 else f"{seeds} seeds"
        return _none(dof, f"{count}: too few for a test")
    values = frame[names].astype("Float64").astype(float)
    # An intercept per seed is the same as taking each seed's mean away (Frisch and Waugh 1933).
    return _partial(values - values.groupby(frame["run"]).transform("mean"), dof, "within seeds")


def _partial(values: pd.DataFrame, dof: int, where: str) -> Correlation:
    """The correlation of the first two columns given the others, with so many degrees of freedom.

    Refused in words where a column is undefined or constant, and where the columns are linearly
    dependent, for then the number is a ratio of rounding errors.
    """
    undefined = [name for name in values if values[name].isna().any()]
    if undefined:
        return _none(dof, f"{undefined[0]} is not defined everywhere: no test")
    if dof < 2:
        return _none(dof, "too few levels for a test")
    centred = values - values.mean()
    flat = [name for name in values if centred[name].abs().max() < 1e-9]
    if flat:
        return _none(dof, f"{flat[0]} does not vary {where}: no test")
    if np.linalg.matrix_rank(centred / centred.std(), tol=1e-6) < values.shape[1]:
        return _none(dof, "the measures determine each other: no test")
    x, y, *given = values.columns
    if given:
        r = float(pingouin.partial_corr(centred, x, y, covar=given)["r"].iloc[0])
    else:
        r = float(centred[x].corr(centred[y]))
    p = 2 * stats.t.sf(abs(r) * np.sqrt(dof / (1 - r**2)), dof)
    return Correlation(r, *fisher_interval(r, dof), dof, float(p), "")


def _none(dof: int, note: str) -> Correlation:
    return Correlation(None, None, None, dof, None, note)


def fisher_interval(r: float, dof: int) -> tuple[float, float]:
    """The 95 % interval of a correlation whose t test has `dof` degrees of freedom (Fisher 1921).

    For a plain correlation of n pairs dof = n - 2, and the width of z is 1.96 / sqrt(n - 3).

    >>> [round(end, 2) for end in fisher_interval(0.95927, 4)]
    [0.67, 1.0]
    """
    reach = stats.norm.ppf(0.975) / np.sqrt(dof - 1)
    low, high = np.tanh(np.arctanh(r) + np.array([-reach, reach]))
    return float(low), float(high)


def over_levels(frame: pd.DataFrame, x: str, y: str, given: Sequence[str] = ()) -> Correlation:
    """Pearson's correlation of level means, plain or partial: the main source's way.

    It has one point per level however many seeds there are, and so says nothing about seeds. With
    `given`, the partial correlation, with one degree of freedom less for each.
    """
    means = frame.groupby("level")[[x, y, *given]].mean().astype(float)
    return _partial(means, len(means) - 2 - len(given), "between levels")


def correlations(scored: pd.DataFrame) -> pd.DataFrame:
    """Accuracy and fidelity together: the source's way and the repeated-measures way.

    One row per study and kind: plain, and partial given the share of True answers, which alone
    moves both measures of a model that knows nothing. Dense is left out.

    Neither is evidence that answers are kept: with two classes |accuracy - fidelity| <= 1 -
    accuracy of dense, so that under a good dense model the two can hardly part. r_skill and
    r_skill_published are therefore the same correlations with the fidelity of a model that has the
    ticket's accuracy and errors of its own (see :func:`lthlib.report.answers.kept.same_skill`).

    Returns study, model, kind, n, levels, r_skill, r_skill_published; r_published, low_published,
    high_published, p_published and note_published over level means; r, low, high, dof,
    p_correlation, holm_correlation and note over seeds and levels.
    """
    rows = []
    for study, part in scored.groupby("study"):
        points_of_seeds = part[(part["branch"] == "main") & (part["level"] != DENSE_LEVEL)]
        for kind, given in KINDS.items():
            row: dict[str, Any] = {"study": study, "model": part["model"].iloc[0], "kind": kind}
            row |= {"n": part["run"].nunique(), "levels": points_of_seeds["level"].nunique()}
            old = over_levels(points_of_seeds, *MEASURED, given)
            row |= {f"{name}_published": value for name, value in old._asdict().items()}
            new = within_seeds(points_of_seeds, *MEASURED, given)._asdict()
            row |= {
                "r_skill_published": over_levels(points_of_seeds, *SKILL, given).r,
                "r_skill": within_seeds(points_of_seeds, *SKILL, given).r,
            }
            rows.append(row | new | {"p_correlation": new["p"]})
    numbers = ["r", "low", "high", "p_correlation", "r_skill", "r_skill_published"]
    numbers += [f"{name}_published" for name in ("r", "low", "high", "p")]
    table = pd.DataFrame(rows).drop(columns="p").astype(dict.fromkeys(numbers, "Float64"))
    return adjust(table)


KINDS: Mapping[str, tuple[str, ...]] = {"plain": (), "given the share of True": (GIVEN,)}


def correlations_table(found: pd.DataFrame) -> Exhibit:
    """As the source computed it, beside what the seeds allow."""
    rows = []
    for _, row in _ordered(found).iterrows():
        rows.append(
            {
                "model": model_name(row["model"]),
                "correlation": row["kind"],
                "over level means": _r_text(row, "_published"),
                "same skill (means)": _skill_text(row, "_published"),
                "p (means)": row["note_published"] or p_text(row["p_published"]),
                "within seeds": _r_text(row, ""),
                "same skill (seeds)": _skill_text(row, ""),
                "p (seeds)": row["note"] or _p_pair(row, "correlation"),
            }
        )
    caption = (
        f"Accuracy and fidelity over the {found['levels'].max()} pruned levels: "
        f"{seeds_line(found)}. Over level means: Pearson, as the main source did, one point per "
        "level. Within seeds: repeated-measures correlation of seeds and levels. Given the share "
        "of True: partial, at equal shares of True answers. Same skill: the same correlation with "
        "the fidelity of a model of the ticket's accuracy whose errors are independent of dense. "
        "Accuracy and fidelity cannot differ by more than the dense model's share of errors, so "
        "that r near 1 is what any ticket of these accuracies shows; only what goes beyond same "
        "skill would speak of answers that are kept. In brackets: 95 % interval by Fisher's z. "
        "p as it is and, after the arrow, after Holm over both kinds. Dense is left out, for its "
        "fidelity is 1 by definition."
    )
    return plain_table(pd.DataFrame(rows), caption, data=found)


def _r_text(row: pd.Series[Any], suffix: str) -> str:
    if row[f"note{suffix}"]:
        return "no number"
    r, low, high = (f"{row[name + suffix]:+.2f}" for name in ("r", "low", "high"))
    return proper(f"{r} ({low} to {high})")


def _skill_text(row: pd.Series[Any], suffix: str) -> str:
    r = row[f"r_skill{suffix}"]
    return "no number" if pd.isna(r) else proper(f"{r:+.2f}")


def _p_pair(row: pd.Series[Any], name: str) -> str:
    return f"{p_text(row['p_' + name])} → {p_text(row['holm_' + name])}"


def _ordered(frame: pd.DataFrame) -> pd.DataFrame:
    rank = {model: i for i, model in enumerate(in_order(frame["model"]))}
    order = frame["model"].map(rank).sort_values(kind="stable").index
    return frame.loc[order]
