"""Resampling: seeds and items are both samples, and a verdict should survive a change of either.

The t tests of this report take the items as given: they ask about another seed on the same items.
The crossed bootstrap draws both. McNemar's exact test takes one seed as given and asks about other
items. Each sees one thing that the others do not.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from lthlib.errors import RecordError
from lthlib.report.exhibits import Exhibit, model_name, sparsity_text
from lthlib.report.judgement.families import adjust
from lthlib.report.measures import at_stage
from lthlib.report.plain import plain_table
from lthlib.report.reading import Reading
from lthlib.report.statistics import ALPHA, DENSE_LEVEL, MIN_SEEDS, Floats, Interval, t_interval
from lthlib.report.tidy import in_order
from lthlib.report.words import counted, points

DRAWS = 2000


def correctness(predictions: pd.DataFrame, *, stage: str) -> dict[int, Floats]:
    """The share of each item's decisions that the main branch gets right, by level.

    Returns arrays [seeds, items] by level, in the order of runs and items; with one decision per
    item they hold 0 and 1. Raises RecordError where a run lacks a level or an item.
    """
    chosen = at_stage(predictions, stage)
    chosen = chosen[chosen["branch"] == "main"]
    right = chosen.assign(right=(chosen["label"] == chosen["prediction"]).astype(float))
    wide = right.pivot_table("right", ["level", "run"], "item", observed=True)
    if wide.isna().to_numpy().any():
        level, run = wide.index[wide.isna().any(axis=1)][0]
        raise RecordError(f"run {run}, level {level} lacks an item that others have: record it")
    runs = wide.index.get_level_values("run").nunique()
    arrays: dict[int, Floats] = {}
    for level, part in wide.groupby(level="level"):
        if len(part) != runs:
            raise RecordError(f"level {level} has {len(part)} of {runs} runs: finish them")
        arrays[int(str(level))] = part.to_numpy(dtype=np.float64)
    return arrays


def crossed_bootstrap(differences: Floats, *, level: float = 0.95, draws: int = DRAWS) -> Interval:
    """A percentile interval for a mean, over seeds and items drawn anew with replacement.

    differences: [seeds, items], ticket minus reference. Each draw takes as many seeds and as many
    items as there are, and all their crossings (the pigeonhole bootstrap of Owen 2007). It errs in
    both directions, as the tests of this function simulate. Where seeds differ most, it is too
    narrow, because the spread of n seeds is drawn as (n - 1) / n of itself and their tails not at
    all: of 95 % it covers some 78 % at three seeds and 90 % at ten. Where chance within a seed and
    item dominates, it is too wide, for it counts that up to three times. So it stands beside the
    t interval and never in its place. The generator starts from a fixed seed.

    No interval, and `kind` says so, with fewer than three seeds.
    """
    seeds, items = differences.shape
    if seeds < MIN_SEEDS:
        count = "one seed" if seeds == 1 else f"{seeds} seeds"
        return Interval(None, None, seeds, f"no interval: {count}")
    rows, columns = _weights(seeds, draws, 0), _weights(items, draws, 1)
    means = np.einsum("di,di->d", rows @ differences, columns)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    kind = f"{100 * level:g} % crossed bootstrap of {seeds} seeds and {items:,} items"
    return Interval(float(low), float(high), seeds, kind)


@lru_cache(maxsize=4)
def _weights(count: int, draws: int, stream: int) -> Floats:
    """[draws, count], how often each of `count` is drawn, over count; the same for each level."""
    random = np.random.default_rng([stream, count])
    return random.multinomial(count, np.full(count, 1 / count), size=draws) / count


def bootstrap_rows(reading: Reading) -> pd.DataFrame:
    """Both intervals of each level against dense, one row per level.

    Returns study, model, level, sparsity, n, items, difference, low, high (t interval over seeds),
    low_crossed, high_crossed (both sources).
    """
    arrays = correctness(reading.predictions, stage=reading.stage)
    sparsity = reading.levels.groupby("level")["sparsity"].mean()
    rows = []
    for level, right in arrays.items():
        if level == DENSE_LEVEL:
            continue
        change = right - arrays[DENSE_LEVEL]
        over_seeds, crossed = t_interval(change.mean(axis=1)), crossed_bootstrap(change)
        rows.append(
            {
                "study": reading.study.name,
                "model": reading.study.model,
                "level": level,
                "sparsity": sparsity[level],
                "n": change.shape[0],
                "items": change.shape[1],
                "difference": float(change.mean()),
                "low": over_seeds.low,
                "high": over_seeds.high,
                "low_crossed": crossed.low,
                "high_crossed": crossed.high,
                "note": "" if crossed.low is not None else crossed.kind,
            }
        )
    return pd.DataFrame(rows)


def mcnemar_p(first: Floats, second: Floats) -> float | None:
    """Exact two-sided p that two models of one seed are right equally often; [items] each.

    An item is won where the first has more of its decisions right, lost where it has fewer; wins
    against losses are a fair coin (McNemar 1947, exact by the binomial). With several decisions per
    item it is the sign test over items. None where the two do not differ on any item.

    >>> mcnemar_p(np.array([1, 1, 1, 1, 1, 0.0]), np.array([0, 0, 0, 0, 0, 0.0]))
    0.0625
    """
    wins, losses = int((first > second).sum()), int((first < second).sum())
    if wins + losses == 0:
        return None
    return float(stats.binomtest(wins, wins + losses).pvalue)


def mcnemar_rows(reading: Reading) -> pd.DataFrame:
    """Ticket against dense within each seed, one row per level and run, adjusted after Holm.

    Returns study, model, level, sparsity, run, won, lost (items), p_within_seed, holm_within_seed.
    """
    arrays = correctness(reading.predictions, stage=reading.stage)
    sparsity = reading.levels.groupby("level")["sparsity"].mean()
    rows: list[dict[str, Any]] = []
    for level in [k for k in arrays if k != DENSE_LEVEL]:
        for run, ticket, dense in zip(
            sorted(reading.runs), arrays[level], arrays[DENSE_LEVEL], strict=True
        ):
            row = {"study": reading.study.name, "model": reading.study.model, "level": level}
            row |= {"sparsity": sparsity[level], "run": run}
            row |= {"won": int((ticket > dense).sum()), "lost": int((ticket < dense).sum())}
            rows.append(row | {"p_within_seed": mcnemar_p(ticket, dense)})
    return adjust(pd.DataFrame(rows).astype({"p_within_seed": "Float64"}))


def resampling_table(intervals: pd.DataFrame, within: pd.DataFrame) -> Exhibit:
    """Seeds, both sources, and single seeds, level by level, against dense.

    intervals, within: frames of :func:`bootstrap_rows` and :func:`mcnemar_rows`, of one or more
    studies.
    """
    rank = {model: i for i, model in enumerate(in_order(intervals["model"]))}
    ordered = intervals.assign(_m=intervals["model"].map(rank)).sort_values(["_m", "level"])
    by_level = within.assign(
        worse=(within["holm_within_seed"] < ALPHA) & (within["lost"] > within["won"]),
        better=(within["holm_within_seed"] < ALPHA) & (within["won"] > within["lost"]),
    ).groupby(["study", "level"])[["worse", "better"]]
    counts = by_level.sum()
    rows = []
    for _, row in ordered.iterrows():
        seeds = counts.loc[(row["study"], row["level"])]
        rows.append(
            {
                "model": model_name(row["model"]),
                "sparsity, %": sparsity_text(row["sparsity"]),
                "difference, points": points(row["difference"]),
                "t interval over seeds": _ends(row, "low", "high"),
                "seeds and items": row["note"] or _ends(row, "low_crossed", "high_crossed"),
                "seeds worse": f"{int(seeds['worse'])} of {row['n']}",
                "seeds better": f"{int(seeds['better'])} of {row['n']}",
            }
        )
    over = counted(int(intervals["n"].max()), "seed")
    caption = (
        f"Accuracy minus dense under two kinds of chance, {over} and "
        f"{intervals['items'].max():,} test items: 95 % t interval over seeds with the items as "
        f"given, and 95 % percentile interval of {DRAWS:,} crossed bootstrap draws of seeds and "
        "items, which is too narrow where few seeds differ much. Seeds worse and better: where "
        "McNemar's exact test within the seed (a sign test over items that have several "
        "decisions) is below 5 % after Holm over all levels and seeds of the study."
    )
    data = intervals.merge(counts.reset_index(), on=["study", "level"])
    return plain_table(pd.DataFrame(rows), caption, data=data)


def _ends(row: pd.Series[Any], low: str, high: str) -> str:
    if pd.isna(row[low]):
        return "no interval: one seed"
    return f"{points(row[low])} to {points(row[high])}"
