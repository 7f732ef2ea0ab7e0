"""Intervals over seeds, exact intervals for shares, paired differences, effects and power.

Every function takes and returns plain numbers or data frames. The unit of every interval and of
every test is the seed: one run is one number. Before anything is averaged, the table of seeds by
conditions is checked to be complete, for a missing seed would silently compare different runs.
What cannot be tested is refused in words (see :func:`refusal`) and never gets a p-value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import pingouin
from scipy import stats

from lthlib.errors import RecordError

DENSE_LEVEL = 0
CONDITIONS = ("level", "branch", "stage")
ALPHA = 0.05
POWER = 0.8
# Two differences have one degree of freedom: a t test then finds nothing but the absurd.
MIN_SEEDS = 3
# 2 ** 12 patterns of signs can be counted out; beyond, a t test needs no such help.
MOST_FLIPPED = 12

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Means = TypeVar("Means", "pd.Series[float]", pd.DataFrame)


class Interval(NamedTuple):
    """An interval, or the reason why there is none.

    low, high: the ends, in the unit of the values; None where there is no interval.
    n: how many values it rests on.
    kind: what it is, in words for a caption.
    """

    low: float | None
    high: float | None
    n: int
    kind: str


def t_interval(values: Iterable[float], level: float = 0.95) -> Interval:
    """Student's t interval for a mean: mean -+ t(n - 1) sd / sqrt(n).

    values: one number per seed. One number has no spread, hence no interval: low and high are
    then None and `kind` says so. Over normal values it covers as it claims at three seeds too,
    where a percentile bootstrap covers 74 % instead of 95; where one seed is an outlier it covers
    less (:func:`coverage`).

    Raises RecordError without values, or with a value that is not finite.

    >>> low, high, n, kind = t_interval([0.90, 0.92, 0.94])
    >>> round(low, 4), round(high, 4), n, kind
    (0.8703, 0.9697, 3, '95 % t interval over 3 seeds')
    >>> t_interval([0.90])
    Interval(low=None, high=None, n=1, kind='no interval: one seed')
    """
    numbers = np.asarray(list(values), dtype=float)
    if not numbers.size:
        raise RecordError("t interval: no values; give one number per seed")
    if not np.isfinite(numbers).all():
        raise RecordError("t interval: a value is not finite; leave undefined values out first")
    if numbers.size == 1:
        return Interval(None, None, 1, "no interval: one seed")
    mean, error = numbers.mean(), numbers.std(ddof=1) / np.sqrt(numbers.size)
    reach = float(_t_quantile(level, numbers.size - 1) * error)
    kind = f"{percent(level)} t interval over {numbers.size} seeds"
    return Interval(float(mean - reach), float(mean + reach), int(numbers.size), kind)


def coverage(values: Sequence[float], n: int) -> float:
    """How often t intervals of n values, drawn from these with replacement, hold their mean.

    values: of all seeds there are, one number each, taken for the whole population; n up to five,
    so that every draw can be counted. A draw of n equal values has no width and holds no mean but
    its own.

    >>> round(coverage([0.95, 0.96, 0.97, 0.96, 0.95, 0.60], 3), 2)
    0.42
    """
    numbers = np.asarray(values, dtype=np.float64)
    drawn = numbers[np.stack(np.meshgrid(*[range(len(numbers))] * n), axis=-1).reshape(-1, n)]
    reach = _t_quantile(0.95, n - 1) * drawn.std(axis=1, ddof=1) / np.sqrt(n)
    return float((np.abs(drawn.mean(axis=1) - numbers.mean()) <= reach + 1e-12).mean())


def jackknife_interval(values: Iterable[float], level: float = 0.95) -> Interval:
    """Student's t interval over jackknife pseudo-values (Tukey 1958), one per seed.

    values: of :func:`pair_values` or another mean over pairs of seeds. Pairs share models, and an
    interval over means of pairs as they are covers far less than it says. Two seeds make one pair,
    which has no spread: below three there is no interval, and `kind` says so.

    Raises RecordError as :func:`t_interval` does.

    >>> jackknife_interval([0.84, 0.92, 1.0]).kind
    '95 % jackknife interval over 3 seeds'
    >>> jackknife_interval([0.9, 0.9])
    Interval(low=None, high=None, n=2, kind='no interval: 2 of at least 3 seeds')
    """
    found = t_interval(values, level)
    if found.n < MIN_SEEDS:
        return Interval(
            None, None, found.n, f"no interval: {found.n} of at least {MIN_SEEDS} seeds"
        )
    return found._replace(kind=f"{percent(level)} jackknife interval over {found.n} seeds")


def pair_values(
    pairs: pd.DataFrame, value: str, *, groups: Sequence[str] = (), seed: str = "run"
) -> pd.DataFrame:
    """One number a seed from a measure of pairs of seeds: the one way to every floor.

    pairs: groups, <seed>_a, <seed>_b, value; a pair may be there once or either way round, and
    those of a seed with itself are left out. Each seed has the mean over its pairs, either way
    round, and from three seeds on the jackknife pseudo-value of it (:func:`pseudo_values`), whose
    mean is the mean over all pairs.

    Returns groups, seed, value; no rows where there is one seed.
    """
    ours, theirs = f"{seed}_a", f"{seed}_b"
    between = pairs.loc[pairs[ours] != pairs[theirs], [*groups, ours, theirs, value]]
    turned = between.rename(columns={ours: theirs, theirs: ours})
    both = pd.concat([between, turned], ignore_index=True)
    means = both.groupby([*groups, ours])[value].mean().reset_index()
    by = means.groupby(list(groups))[value] if groups else means[value]
    values = by.transform(pseudo_values) if groups else pseudo_values(means[value])
    return means.assign(**{value: values}).rename(columns={ours: seed})


def pseudo_values(means: Means) -> Means:
    """Jackknife pseudo-values of a mean over all pairs of n things (Tukey 1958).

    means: for each thing (row), the mean over its n - 1 pairs; their own mean U is that over all.
    Without one thing the mean over pairs is (n U - 2 m) / (n - 2), so that the pseudo-value
    n U - (n - 1) U_without is (2 (n - 1) m - n U) / (n - 2). Fewer than three have none: as given.

    >>> pseudo_values(pd.Series([0.90, 0.92, 0.94])).round(2).to_list()
    [0.84, 0.92, 1.0]
    """
    n = len(means)
    return means if n < 3 else (2 * (n - 1) * means - n * means.mean()) / (n - 2)


@lru_cache
def _t_quantile(level: float, freedom: int) -> float:
    return float(stats.t.ppf((1 + level) / 2, freedom))


def proportion_interval(successes: int, n: int, level: float = 0.95) -> Interval:
    """Exact (Clopper and Pearson 1934) interval for one share of n independent decisions.

    It never covers less than `level`; it knows items only, not seeds.

    >>> low, high, n, kind = proportion_interval(0, 10)
    >>> low, round(high, 4), kind
    (0.0, 0.3085, '95 % Clopper-Pearson interval over 10 decisions')
    """
    if not 0 <= successes <= n or n == 0:
        raise RecordError(f"share of {successes} in {n}: needs 0 <= successes <= n and n > 0")
    exact = stats.binomtest(int(successes), int(n)).proportion_ci(level, method="exact")
    kind = f"{percent(level)} Clopper-Pearson interval over {n:,} decisions"
    return Interval(float(exact.low), float(exact.high), int(n), kind)


def percent(level: float) -> str:
    """A confidence level in words, such as "95 %"."""
    return f"{100 * level:g} %"


def require_complete(
    frame: pd.DataFrame,
    by: Sequence[str],
    *,
    groups: Sequence[str] = (),
    seed: str = "run",
) -> None:
    """Every seed of a group must appear exactly once in every condition of that group.

    by: columns that vary within a run (level, branch, stage); groups: columns that tell studies
    apart (model, task), each with seeds of its own; seed: the column that names the run.

    Raises RecordError that names the first missing or doubled cell.
    """
    missing = [column for column in (*groups, *by, seed) if column not in frame.columns]
    if missing:
        raise RecordError(f"the table has no column {missing[0]!r}; it has {_list(frame.columns)}")
    if frame.empty:
        raise RecordError("the table is empty: choose a level, branch and stage that were recorded")
    for group, part in _split(frame, groups):
        cells = part.groupby([*by, seed], observed=True).size()
        seeds = sorted(part[seed].unique())
        whole = pd.MultiIndex.from_tuples(
            [(*key, s) for key in _keys(part, by) for s in seeds], names=[*by, seed]
        )
        counts = cells.reindex(whole, fill_value=0)
        wrong = counts[counts != 1]
        if len(wrong):
            cell = dict(zip([*groups, *by, seed], (*group, *wrong.index[0]), strict=True))
            where = ", ".join(f"{name} {value}" for name, value in cell.items())
            what = "is missing" if wrong.iloc[0] == 0 else f"is there {wrong.iloc[0]} times"
            raise RecordError(
                f"seed by condition table: {where} {what}; every seed is needed once in each "
                f"condition (finish its run, or leave out the seed or the condition)"
            )


def seed_summary(
    frame: pd.DataFrame,
    by: Sequence[str],
    value: str,
    *,
    groups: Sequence[str] = (),
    seed: str = "run",
    level: float = 0.95,
    interval: Callable[[Floats, float], Interval] = t_interval,
) -> pd.DataFrame:
    """Mean over seeds with its interval, one row per condition.

    frame: one row per condition and seed; by, groups, seed: see :func:`require_complete`; interval:
    :func:`t_interval`, or :func:`jackknife_interval` for what is a mean over pairs of seeds.

    Returns groups, by, mean, low, high, n, seeds, interval. n counts the seeds where the value is
    defined and seeds all of them; mean is <NA> where n = 0, low and high where n < 2.

    Raises RecordError for a table that is not complete.

    >>> table = pd.DataFrame({"run": ["s0", "s1"], "level": [0, 0], "accuracy": [0.8, 0.9]})
    >>> seed_summary(table, ["level"], "accuracy")[["level", "mean", "low", "high", "n"]].round(3)
       level  mean    low   high  n
    0      0  0.85  0.215  1.485  2
    """
    require_complete(frame, by, groups=groups, seed=seed)
    rows = []
    for key, part in _split(frame, [*groups, *by]):
        defined = part[value].dropna().to_numpy(dtype=np.float64)
        found = interval(defined, level) if defined.size else Interval(None, None, 0, "not defined")
        mean = float(defined.mean()) if defined.size else None
        rows.append((*key, mean, found.low, found.high, found.n, len(part), found.kind))
    names = [*groups, *by, "mean", "low", "high", "n", "seeds", "interval"]
    summary = pd.DataFrame(rows, columns=names)
    return summary.astype({"mean": "Float64", "low": "Float64", "high": "Float64"})


def paired_differences(
    frame: pd.DataFrame,
    value: str,
    *,
    groups: Sequence[str] = (),
    level: float = 0.95,
) -> pd.DataFrame:
    """Each condition minus dense, paired by run: mean difference with its t interval.

    frame: run, level, branch, stage, value. Dense is level 0 of the same run, so that both sides
    share start, data order and items. Tests of such differences are made in declared families, by
    :mod:`lthlib.report.judgement.contrasts`.

    Returns groups, level, branch, stage, difference, low, high, n, flags (why there could be no
    test, by :func:`refusal`); numbers that do not exist are <NA>.

    Raises RecordError for a table that is not complete, or has no dense row.
    """
    require_complete(frame, CONDITIONS, groups=groups)
    tables = []
    for key, part in _split(frame, groups):
        table = _against_dense(part, value, level)
        names = pd.DataFrame([key] * len(table), columns=list(groups), index=table.index)
        tables.append(pd.concat([names, table], axis=1))
    return pd.concat(tables, ignore_index=True)


def _against_dense(part: pd.DataFrame, value: str, level: float) -> pd.DataFrame:
    dense = part[part["level"] == DENSE_LEVEL].set_index("run")[value]
    if dense.empty:
        raise RecordError("paired differences: no dense row (level 0); keep it in the table")
    rows = []
    for key, condition in _split(part[part["level"] != DENSE_LEVEL], CONDITIONS):
        pruned = condition.set_index("run")[value].reindex(dense.index)
        rows.append((*key, *_paired(pruned, dense, level)))
    numbers = ["difference", "low", "high"]
    table = pd.DataFrame(rows, columns=[*CONDITIONS, *numbers, "n", "flags"])
    return table.astype(dict.fromkeys(numbers, "Float64"))


def _paired(
    pruned: pd.Series[float], dense: pd.Series[float], level: float
) -> tuple[float | None, float | None, float | None, int, str]:
    """difference, low, high, n, flags of one condition against dense."""
    after = pruned.to_numpy(dtype=np.float64, na_value=np.nan)
    before = dense.to_numpy(dtype=np.float64, na_value=np.nan)
    change, n = after - before, len(dense)
    why_not = refusal(change)
    if not np.isfinite(change).all():
        return None, None, None, n, why_not
    found = t_interval(change, level)
    return float(change.mean()), found.low, found.high, n, why_not


# -- what can be tested ---------------------------------------------------------------------------
def refusal(differences: Iterable[float]) -> str:
    """Why differences, one per seed, allow no test, in words for a cell; "" where they do.

    Refused: fewer than three seeds, a value that is not defined, and no spread between seeds, for
    then a t statistic is a ratio of rounding errors.

    >>> refusal([0.1, 0.2]), refusal([0.1, 0.1, 0.1]), refusal([0.1, 0.2, 0.4])
    ('2 seeds: too few for a test', 'no spread between seeds: no test', '')
    """
    numbers = np.asarray(list(differences), dtype=np.float64)
    n, undefined = len(numbers), int((~np.isfinite(numbers)).sum())
    if undefined:
        return f"not defined for {undefined} of {n} seeds: no test"
    if n == 1:
        return "one seed: no interval and no test"
    if n < MIN_SEEDS:
        return f"{n} seeds: too few for a test"
    return "no spread between seeds: no test" if np.ptp(numbers) < 1e-12 else ""


def holm_rows(p: Floats) -> Floats:
    """Each row of p-values adjusted after Holm (1979), as one family; p: [F, tests]."""
    tests = p.shape[1]
    order = np.argsort(p, axis=1)
    stepped = np.take_along_axis(p, order, axis=1) * (tests - np.arange(tests))
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, np.maximum.accumulate(stepped, axis=1).clip(max=1), axis=1)
    return adjusted


# -- effects, exact tests and power, for pairs that refusal() lets pass ---------------------------
def hedges_g_av(after: Iterable[float], before: Iterable[float]) -> float:
    """Hedges' g_av of paired values: mean difference / sqrt((s1^2 + s2^2) / 2), less its bias.

    The average of the two variances stands in the denominator (d_av of Cumming 2012), not that of
    the differences, so that a close pairing does not inflate it. The bias goes with
    1 - 3 / (4 df - 1), df = 2 (n - 1).
    """
    first, second = (np.asarray(list(v), dtype=np.float64) for v in (after, before))
    return float(pingouin.compute_effsize(first, second, paired=True, eftype="hedges"))


def sign_flip_p(differences: Iterable[float]) -> float | None:
    """Exact two-sided p of the mean difference over all 2^n patterns of signs (Fisher 1935).

    It needs no normal distribution. Its least p is 2 / 2^n: 0.25 with three seeds. None with more
    than twelve seeds, where the patterns are too many to count out.

    >>> sign_flip_p([0.1, 0.2, 0.4])
    0.25
    """
    numbers = np.asarray(list(differences), dtype=np.float64)
    if len(numbers) > MOST_FLIPPED:
        return None
    return float(sign_flip_rows(numbers[None])[0])


def sign_flip_rows(differences: Floats) -> Floats:
    """:func:`sign_flip_p` of each row, [tests, seeds] with at most twelve seeds."""
    # All patterns of a few dozen rows at a time take some ten megabytes.
    parts = np.array_split(differences, -(-len(differences) // 64)) if len(differences) else []
    found = [
        stats.permutation_test(
            (part,), np.mean, permutation_type="samples", vectorized=True, n_resamples=np.inf,
            axis=1,
        ).pvalue
        for part in parts
    ]  # fmt: skip
    return np.concatenate(found) if found else np.zeros(0)


def wilcoxon_p(differences: Iterable[float]) -> float:
    """Two-sided p of Wilcoxon's signed ranks, with zeros ranked and then dropped (Pratt 1959).

    Exact up to twelve seeds, ties and zeros included: all patterns of signs of the ranks. Beyond,
    as scipy does it.

    >>> wilcoxon_p([0.1, 0.2, 0.2, 0.0, -0.1])
    0.375
    """
    return float(wilcoxon_rows(np.asarray(list(differences), dtype=np.float64)[None])[0])


def wilcoxon_rows(differences: Floats) -> Floats:
    """:func:`wilcoxon_p` of each row, [tests, seeds]."""
    if differences.shape[1] > MOST_FLIPPED:
        found = [stats.wilcoxon(row, zero_method="pratt").pvalue for row in differences]
        return np.array(found, dtype=np.float64)
    # Ties must not hang on the last bit of a difference between shares.
    ranks = stats.rankdata(np.round(abs(differences), 12), axis=1)
    return sign_flip_rows(np.sign(np.round(differences, 12)) * ranks)


def detectable_difference(sd: float, n: int) -> float:
    """The true difference that a paired t test of n seeds finds with 80 % power at 5 %, two-sided.

    sd: of the differences, in their unit, as is the result. Found from the noncentral t (Cohen
    1988).

    >>> round(detectable_difference(0.01, 10), 4)
    0.01
    """
    return sd * _detectable_effect(n)


@lru_cache
def _detectable_effect(n: int) -> float:
    return float(pingouin.power_ttest(n=n, power=POWER, alpha=ALPHA, contrast="paired"))


def seeds_for_equivalence(sd: float, margin: float, *, most: int = 1000) -> int | None:
    """The seeds with which two one-sided tests show equivalence with 80 % power at no difference.

    Power = 2 P(T > t) - 1 with T noncentral at margin sqrt(n) / sd and t the 95 % quantile, both
    with n - 1 degrees of freedom (Phillips 1990, for a true difference of 0). None beyond `most`.

    >>> seeds_for_equivalence(0.01, 0.01)
    11
    """
    first, step = MIN_SEEDS, 32
    while first <= most:
        # Most often few seeds are enough, and the noncentral t is slow.
        n = np.arange(first, min(first + step, most + 1))
        beyond = stats.nct.sf(stats.t.ppf(1 - ALPHA, n - 1), n - 1, margin * np.sqrt(n) / sd)
        enough = n[2 * beyond - 1 >= POWER]
        if len(enough):
            return int(enough[0])
        first, step = int(n[-1]) + 1, 4 * step
    return None


def _split(
    frame: pd.DataFrame, columns: Sequence[str]
) -> list[tuple[tuple[object, ...], pd.DataFrame]]:
    """Parts of a frame by the values of columns, in sorted order; no columns: the whole frame."""
    if not columns:
        return [((), frame)]
    return [
        (tuple(key), part)
        for key, part in frame.groupby(list(columns), observed=True, dropna=False, sort=True)
    ]


def _keys(frame: pd.DataFrame, columns: Sequence[str]) -> list[tuple[object, ...]]:
    return list(frame[list(columns)].drop_duplicates().itertuples(index=False, name=None))


def _list(names: Iterable[object]) -> str:
    return ", ".join(str(name) for name in names)
