"""The tests of the main source as it made them, and the paired test that its data call for.

The source compares accuracies, fidelities and faithful accuracies of two models over runs with
Student's two-sample t-test, ranks of accuracy with Wilcoxon's test, and means over runs with
Pearson's correlation. Its runs are paired by seed, which neither of the first two uses on purpose:
the paired t-test stands here beside them.

Every function refuses what has no answer (too few seeds, samples without spread, undefined values)
and says why in words; none of them returns a p-value then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pingouin
from scipy import stats

from lthlib.errors import RecordError
from lthlib.report.words import counted

LEAST_SEEDS = 3
SPREAD = 1e-12  # below this, numbers that should differ are the same but for rounding

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Outcome:
    """What a test says: p, or None and the reason; statistic is t, W or r, low and high its ends.

    p_holm: adjusted within a family by :func:`holm`.
    """

    p: float | None
    statistic: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    why: str = ""
    p_holm: float | None = None

    @property
    def text(self) -> str:
        """The p-value, or why there is none."""
        return self.why if self.p is None else p_text(self.p)

    @property
    def holm_text(self) -> str:
        """The p-value after Holm's adjustment, or why there is none."""
        return self.why if self.p_holm is None else p_text(self.p_holm)


def p_text(p: float) -> str:
    """A p-value as text, with three digits of it.

    >>> p_text(0.04786), p_text(9.18439e-8), p_text(1.0)
    ('0.0479', '9.2e-08', '1')
    """
    return f"{p:.3g}" if p >= 1e-4 else f"{p:.1e}"


def _refused(why: str, n: int) -> Outcome:
    return Outcome(None, n=n, why=f"no test: {why}")


def _samples(first: Sequence[float], second: Sequence[float]) -> tuple[Floats, Floats]:
    a, b = (np.asarray(values, dtype=float) for values in (first, second))
    if a.shape != b.shape or a.ndim != 1:
        raise RecordError(f"two samples of the same seeds are needed, not {a.shape} and {b.shape}")
    return a, b


def _unfit(a: Floats, b: Floats) -> str:
    """Why no test of these two samples can be made, if so."""
    if len(a) < LEAST_SEEDS:
        return counted(len(a), "seed")
    undefined = int((~np.isfinite(a) | ~np.isfinite(b)).sum())
    return f"not defined for {undefined} of {len(a)} seeds" if undefined else ""


def student_t(first: Sequence[float], second: Sequence[float]) -> Outcome:
    """Student's two-sample t-test with pooled variance, two-sided: the source's test of two models.

    t = (mean_1 - mean_2) / (s sqrt(2 / n)) with s^2 the mean of both variances and 2n - 2 degrees
    of freedom. It takes the two samples for independent, though run i of both shares its seed.

    first, second: one number per seed, in the same order. Refused where neither sample has any
    spread: the source prints p = 1 there for equal constants.

    >>> student_t([0.5, 0.6, 0.7], [0.4, 0.5, 0.6]).text
    '0.288'
    >>> student_t([0.47134] * 3, [0.47134] * 3).text
    'no test: no spread between seeds'
    """
    a, b = _samples(first, second)
    if why := _unfit(a, b):
        return _refused(why, len(a))
    if max(np.ptp(a), np.ptp(b)) < SPREAD:
        return _refused("no spread between seeds", len(a))
    sides = [(float(x.mean()), float(x.std(ddof=1)), len(x)) for x in (a, b)]
    found = stats.ttest_ind_from_stats(*sides[0], *sides[1])
    return Outcome(float(found.pvalue), float(found.statistic), n=len(a))


def paired_t(first: Sequence[float], second: Sequence[float]) -> Outcome:
    """The t-test of the differences by seed, two-sided; its statistic is the mean difference.

    low, high: its 95 % t interval. Refused where all seeds differ by the same amount; the mean
    difference is given wherever it exists.
    """
    a, b = _samples(first, second)
    change = a - b
    mean = float(change.mean()) if len(a) and np.isfinite(change).all() else None
    if why := _unfit(a, b):
        return replace(_refused(why, len(a)), statistic=mean)
    if np.ptp(change) < SPREAD:
        return replace(_refused("all differences are equal", len(a)), statistic=mean)
    found = stats.ttest_rel(a, b)
    interval = found.confidence_interval(0.95)
    return Outcome(float(found.pvalue), mean, float(interval.low), float(interval.high), len(a))


def ranks_within_seed(table: pd.DataFrame) -> pd.DataFrame:
    """The rank of each level within its seed, 1 for the lowest; ties share their mean rank.

    table: one row per seed, one column per level.
    """
    return table.rank(axis=1)


def wilcoxon(first: Sequence[float], second: Sequence[float], *, exact: bool) -> Outcome:
    """Wilcoxon's signed-rank test of paired samples, two-sided; its statistic is W.

    The source gives it ranks of accuracy within each run, which are full of ties: exact=False is
    the normal approximation with its correction for ties that such data force. exact=True counts
    all signs and takes zero differences in by Pratt's rule; give it the accuracies themselves.
    """
    a, b = _samples(first, second)
    if why := _unfit(a, b):
        return _refused(why, len(a))
    change = a - b
    if np.abs(change).max() < SPREAD:
        return _refused("the two samples are equal", len(a))
    if exact:
        method: Any = stats.PermutationMethod(n_resamples=np.inf)
        found = stats.wilcoxon(change, zero_method="pratt", method=method)
    else:
        found = stats.wilcoxon(change, method="asymptotic")
    return Outcome(float(found.pvalue), float(found.statistic), n=len(a))


def pearson(x: Sequence[float], y: Sequence[float]) -> Outcome:
    """Pearson's r with its p and the 95 % interval of Fisher's z; its statistic is r.

    x, y: one number per level, dense left out: there fidelity is 1 by definition. Refused below
    four points, where Fisher's interval does not exist, and for a constant column.
    """
    a, b = _samples(x, y)
    if len(a) < 4:
        return _refused(f"{len(a)} levels", len(a))
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return _refused("a level is not defined", len(a))
    if min(np.ptp(a), np.ptp(b)) < SPREAD:
        return _refused("a column is constant", len(a))
    found = stats.pearsonr(a, b)
    low, high = found.confidence_interval(0.95)
    return Outcome(float(found.pvalue), float(found.statistic), float(low), float(high), len(a))


def partial_pearson(x: Sequence[float], y: Sequence[float], given: Sequence[float]) -> Outcome:
    """Pearson's r of x and y with what a third column explains taken out of both.

    Refused as :func:`pearson` is, below five points, and where the third column leaves nothing.
    """
    a, b = _samples(x, y)
    c = np.asarray(given, dtype=float)
    if len(a) < 5:
        return _refused(f"{len(a)} levels", len(a))
    plain = [pearson(a.tolist(), c.tolist()), pearson(b.tolist(), c.tolist())]
    refused = next((outcome for outcome in plain if outcome.statistic is None), None)
    if refused:
        return refused
    if max(abs(outcome.statistic or 0.0) for outcome in plain) > 1 - SPREAD:
        return _refused("the third column leaves nothing to explain", len(a))
    frame = pd.DataFrame({"x": a, "y": b, "c": c})
    row = pingouin.partial_corr(frame, "x", "y", "c").iloc[0]
    low, high = (float(end) for end in row["CI95"])
    return Outcome(float(row["p_val"]), float(row["r"]), low, high, len(a))


def holm(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """One family of tests, each with Holm's (1979) adjusted p; tests not made do not count.

    >>> [o.p_holm for o in holm([Outcome(0.01), Outcome(None, why="no test"), Outcome(0.04)])]
    [0.02, None, 0.04]
    """
    made = [o.p for o in outcomes if o.p is not None]
    if not made:
        return list(outcomes)
    adjusted = iter(pingouin.multicomp(made, method="holm")[1].tolist())
    return [o if o.p is None else replace(o, p_holm=float(next(adjusted))) for o in outcomes]
