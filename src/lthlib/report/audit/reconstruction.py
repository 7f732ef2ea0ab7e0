"""From means and the p-values between them back to the number of runs and the deviations.

k conditions have k unknown standard deviations, and k (k - 1) / 2 pairwise p-values over-determine
them: only the right number of runs, and the right test, fits them all.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Literal

import numpy as np
import pandas as pd
from scipy import optimize, special, stats

from lthlib.errors import RecordError
from lthlib.report.audit.printed import read
from lthlib.report.measures import Bools, Floats, Ints

Test = Literal["student", "welch"]
TESTS: tuple[Test, ...] = ("student", "welch")
# Another number of runs is ruled out if its error is this many times larger.
CLEARLY = 3
# Least squares leaves 9 of 15 degrees of freedom: an honest table exceeds this once in 10,000.
WITHIN = 1.5
PAIR_COLUMNS = ("first", "second", "p")


@dataclass(frozen=True)
class Reconstruction:
    """What the p-values say about the runs behind a table of means.

    by_runs: test, runs, rms (of the error of log p), rounding (the rms that printed digits alone
        cause) and fits, for each number of runs and each test, best first.
    sd: standard deviation (n - 1 in the denominator) of each condition at the best fit.
    """

    by_runs: pd.DataFrame
    sd: pd.Series[float]
    pairs: int
    unknown: int

    @property
    def best(self) -> pd.Series[float]:
        row: pd.Series[float] = self.by_runs.iloc[0]
        return row

    @property
    def runs(self) -> int | None:
        """The number of runs, where one fits and every other is clearly worse; else None."""
        return int(self.best["runs"]) if self._stands_out("runs") else None

    @property
    def test(self) -> str | None:
        """The test, where one fits and the other is clearly worse at any number of runs."""
        return str(self.best["test"]) if self._stands_out("test") else None

    def times_worse(self, column: str) -> float:
        """How many times larger the error is for the best of the other runs, or tests."""
        return self._other(column) / max(float(self.best["rms"]), 1e-300)

    def _other(self, column: str) -> float:
        others = self.by_runs.loc[self.by_runs[column] != self.best[column], "rms"]
        return float(others.min()) if len(others) else float("inf")

    def _stands_out(self, column: str) -> bool:
        enough = max(CLEARLY * self.best["rms"], self.best["rounding"] / CLEARLY)
        return bool(self.best["fits"]) and self._other(column) > enough

    @property
    def verdict(self) -> str:
        if not self.best["fits"]:
            return (
                "no number of runs and no test of independent samples fits: another test, runs "
                "that differ in number, or a misprint"
            )
        if self.runs is None:
            fitting = sorted(self.by_runs.loc[self.by_runs["fits"], "runs"].unique())
            return f"not determined: {', '.join(map(str, fitting))} runs fit"
        name = {"student": "Student's t-test", "welch": "Welch's t-test", None: "t-test"}[self.test]
        return f"{self.runs} runs, {name} of independent samples"


def reconstruct(
    means: Mapping[Hashable, object],
    pairs: pd.DataFrame,
    *,
    runs: Iterable[int] = range(2, 16),
    tests: Sequence[Test] = TESTS,
    known_sd: Mapping[Hashable, float] | None = None,
) -> Reconstruction:
    """Number of runs, test and standard deviations from means and pairwise p-values.

    means: the printed mean of each condition; pairs: columns first, second (two conditions) and p,
    two-sided, as printed. For Student's test with n runs in each condition
        t_ij = |m_i - m_j| / sqrt((s_i^2 + s_j^2) / n), p_ij = 2 P(T > t_ij), 2 n - 2 degrees,
    so that s^2 solves linear equations, which start a least-squares fit of log p. Welch's test has
    the same t, and degrees of freedom by Satterthwaite. A pair of equal means (p = 1) says nothing
    about deviations and is left out. known_sd: deviations that are known, such as 0 for a model
    that gives one answer in every run.

    A number of runs fits where the root mean square error of log p is at most 1.5 times what the
    printed digits of means and p-values cause by themselves; the true number nearly always does.

    Raises RecordError for unknown conditions, p-values outside (0, 1], or fewer usable pairs than
    unknown deviations.
    """
    problem = _problem(means, pairs, dict(known_sd or {}))
    fits = [(test, n, *_fit(problem, n, test)) for test in tests for n in runs]
    rows = [
        (test, n, float(np.sqrt(np.mean(error**2))), float(np.sqrt(np.mean(slack**2))))
        for test, n, _, error, slack in fits
    ]
    table = pd.DataFrame(rows, columns=["test", "runs", "rms", "rounding"])
    table["fits"] = table["rms"] <= WITHIN * table["rounding"]
    order = table.sort_values("rms", kind="stable").index
    # A table with nothing to tell the numbers apart is shown in order of runs.
    order = table.index if table["fits"].all() else order
    sd = pd.Series(fits[order[0]][2], index=list(means), name="sd")
    return Reconstruction(
        table.loc[order].reset_index(drop=True), sd, len(problem.p), int(problem.free.sum())
    )


def odd_pair(
    means: Mapping[Hashable, object], pairs: pd.DataFrame, *, runs: int, test: Test = "student"
) -> pd.DataFrame:
    """Which single p-value does not belong to the others, and what they say it should be.

    Leaves out each pair in turn and fits the rest. Returns first, second, p, implied (the p-value
    that the fit to the others gives) and rms of the fit without the pair, the odd one first. An
    honest table has no pair without which the fit becomes much better.
    """
    problem = _problem(means, pairs, {})
    rows = []
    for row in range(len(problem.p)):
        sd, error, _ = _fit(problem.without(row), runs, test)
        implied = float(np.exp(_log_p(problem, sd, runs, test)[row]))
        label = pairs.loc[problem.used].iloc[row][list(PAIR_COLUMNS)]
        rows.append((*label, implied, float(np.sqrt(np.mean(error**2)))))
    names = [*PAIR_COLUMNS, "implied", "rms"]
    return pd.DataFrame(rows, columns=names).sort_values("rms", ignore_index=True)


@dataclass(frozen=True)
class _Problem:
    mean: Floats  # [K]
    unit: Floats  # [K], one step of the last printed digit of each mean
    first: Ints  # [P], condition of each usable pair
    second: Ints  # [P]
    p: Floats  # [P]
    p_slack: Floats  # [P], standard error of log p from its printed digits
    start: Floats  # [K], known deviations; 0 where free
    free: Bools  # [K]
    used: list[Hashable]  # rows of the pairs that are used

    @property
    def apart(self) -> Floats:
        return np.abs(self.mean[self.first] - self.mean[self.second])

    def without(self, row: int) -> _Problem:
        keep = np.arange(len(self.p)) != row
        return replace(
            self,
            first=self.first[keep],
            second=self.second[keep],
            p=self.p[keep],
            p_slack=self.p_slack[keep],
            used=[name for name, kept in zip(self.used, keep, strict=True) if kept],
        )


def _problem(
    means: Mapping[Hashable, object], pairs: pd.DataFrame, known: Mapping[Hashable, float]
) -> _Problem:
    missing = [column for column in PAIR_COLUMNS if column not in pairs.columns]
    if missing:
        raise RecordError(f"p-values have no column {missing[0]!r}: give first, second and p")
    names = {name: i for i, name in enumerate(means)}
    strange = (set(pairs["first"]) | set(pairs["second"]) | set(known)) - set(names)
    if strange:
        raise RecordError(f"p-values name condition {min(map(str, strange))!r}, which has no mean")
    mean, (chance, unit) = read(means.values(), what="means"), _p_values(pairs["p"])
    if not ((chance > 0) & (chance <= 1)).all():
        raise RecordError("p-values must lie above 0 and up to 1: correct or leave out the others")
    first, second = (
        pairs[column].map(names).to_numpy(dtype=np.int64) for column in PAIR_COLUMNS[:2]
    )
    usable = (mean.value[first] != mean.value[second]) & (chance < 1)
    start = np.array([known.get(name, 0.0) for name in means])
    free = np.array([name not in known for name in means])
    if usable.sum() < free.sum():
        raise RecordError(
            f"p-values: {usable.sum()} usable pairs cannot give {free.sum()} deviations; "
            "give more pairs, or deviations that are known"
        )
    return _Problem(
        mean=mean.value,
        unit=mean.unit,
        first=first[usable],
        second=second[usable],
        p=chance[usable],
        p_slack=unit[usable] / chance[usable] / np.sqrt(3),
        start=start,
        free=free,
        used=list(pairs.index[usable]),
    )


def _p_values(texts: Iterable[object]) -> tuple[Floats, Floats]:
    """p-values and one step of their last printed digit; they may be as small as 1e-300."""
    try:
        parsed = [Decimal("".join(str(text).split())) for text in texts]
    except InvalidOperation:
        raise RecordError(
            "p-values: a cell is no number; correct it or leave the pair out"
        ) from None
    unit = [10.0 ** int(number.as_tuple().exponent) for number in parsed]
    return np.array([float(number) for number in parsed]), np.array(unit)


def _fit(problem: _Problem, runs: int, test: Test) -> tuple[Floats, Floats, Floats]:
    """Deviations [K], errors of log p [P], and the standard errors that digits cause [P]."""
    start = problem.start.copy()
    start[problem.free] = _start(problem, runs)

    def deviations(free: Floats) -> Floats:
        sd = np.broadcast_to(problem.start, (*free.shape[:-1], len(problem.start))).copy()
        sd[..., problem.free] = free
        return sd

    def error(free: Floats) -> Floats:
        return _log_p(problem, deviations(free), runs, test) - np.log(problem.p)

    def slopes(free: Floats) -> Floats:
        step = 1e-7 * np.maximum(np.abs(free), scale)
        return np.asarray((error(free + np.diag(step)) - error(free)).T / step)

    # A deviation that starts at 0 must be able to leave it.
    scale = np.maximum(start[problem.free], 1e-3 * problem.apart.max())
    found = optimize.least_squares(
        error, scale, jac=slopes, method="lm", x_scale=scale, xtol=1e-12, ftol=1e-12
    )
    sd = np.abs(deviations(found.x))
    return sd, error(found.x), np.hypot(problem.p_slack, _slack_of_means(problem, sd, runs, test))


def _start(problem: _Problem, runs: int) -> Floats:
    """Deviations by linear equations, s_i^2 + s_j^2 = n (m_i - m_j)^2 / t_ij^2, none negative."""
    t = stats.t.isf(problem.p / 2, 2 * runs - 2)
    total = np.asarray(runs * problem.apart**2 / t**2)
    design = np.zeros((len(problem.p), len(problem.mean)))
    rows = np.arange(len(problem.p))
    design[rows, problem.first] = design[rows, problem.second] = 1
    rest = total - design @ problem.start**2
    variances, _ = optimize.nnls(design[:, problem.free] / total[:, None], rest / total)
    return np.asarray(np.sqrt(variances))


def _log_p(
    problem: _Problem, sd: Floats, runs: int, test: Test, apart: Floats | None = None
) -> Floats:
    """log p of each pair for given deviations."""
    one, other = sd[..., problem.first] ** 2, sd[..., problem.second] ** 2
    both = np.maximum(one + other, 1e-300)
    t = (problem.apart if apart is None else apart) / np.sqrt(both / runs)
    degrees: Floats | float = 2.0 * runs - 2
    if test == "welch":
        degrees = (runs - 1) * both**2 / np.maximum(one**2 + other**2, 1e-300)
    return np.asarray(np.log(np.maximum(2 * special.stdtr(degrees, -t), 1e-300)))


def _slack_of_means(problem: _Problem, sd: Floats, runs: int, test: Test) -> Floats:
    """Standard error of log p because the two means of a pair are printed with few digits."""
    blur = np.hypot(problem.unit[problem.first], problem.unit[problem.second]) / np.sqrt(12)
    ends = [np.maximum(problem.apart + sign * blur, 0) for sign in (-1, 1)]
    middle = _log_p(problem, sd, runs, test)
    far = [np.abs(_log_p(problem, sd, runs, test, apart=end) - middle) for end in ends]
    return np.asarray(np.maximum(*far))
