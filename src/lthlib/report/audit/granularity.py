"""GRIM: a mean of n runs over N items is a whole number of right answers over N n, or a fault.

Brown and Heathers 2017, "The GRIM test" (Social Psychological and Personality Science 8), carried
from means of answers on a scale to means of shares over runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lthlib.errors import RecordError
from lthlib.report.audit.printed import Printed, read
from lthlib.report.measures import Bools

# Above this the products of the test no longer fit; no printed digit could tell such means apart.
MOST_DECISIONS = 10**8


def mean_of_counts(values: Printed, items: Any, runs: Any) -> Bools:
    """Can each value be printed from k / (items runs) for a whole k? Exact, in whole numbers.

    values: [R]; items, runs: whole numbers, or [R] of them. Rounding and cutting at the printed
    digit are both accepted, so that no honest mean fails. True where no value is present.

    >>> mean_of_counts(read(["0.47134", "0.47135"]), items=1012, runs=10).tolist()
    [True, False]
    """
    decisions = np.broadcast_to(np.asarray(items) * np.asarray(runs), len(values)).astype(np.int64)
    if (decisions < 1).any() or (decisions > MOST_DECISIONS).any():
        raise RecordError(
            f"granularity: items times runs must lie between 1 and {MOST_DECISIONS:,}: give both"
        )
    size, step = np.abs(values.mantissa), 2 * 10**values.decimals
    # Least k with k / decisions >= (size - 1/2) / 10^decimals; it must not exceed size + 1.
    k = -((-(2 * size - 1) * decisions) // step)
    fits = np.maximum(k, 0) * step <= (2 * size + 2) * decisions
    return np.asarray(~values.present | fits)


def granularity(
    values: Iterable[object],
    items: int | Sequence[int],
    *,
    most: int = 30,
    percent: bool = False,
) -> pd.DataFrame:
    """For each number of runs 1 to `most`: how many of the printed means it allows.

    values: printed means of shares, as text where zeros at the end matter; items: what each is a
    share of (one number, or one a value: accuracy is a share of all items, recall of the true).

    Returns runs, consistent, values, by_chance (how many values of so many digits would agree with
    that number of runs anyway; near `values` the test says nothing) and all_consistent.

    >>> table = granularity(["0.52252", "0.50464", "0.48498", "0.47134"], 1012)
    >>> table.loc[table["all_consistent"], "runs"].tolist()
    [10, 20, 30]
    """
    printed = read(values, percent=percent)
    if not printed.present.any():
        raise RecordError("granularity: no values; give at least one printed mean")
    sizes = np.broadcast_to(np.asarray(items), len(printed))
    count = int(printed.present.sum())
    rows = []
    for runs in range(1, most + 1):
        consistent = int((mean_of_counts(printed, sizes, runs) & printed.present).sum())
        chance = np.minimum(1.5 * printed.unit * sizes * runs, 1)[printed.present].sum()
        rows.append((runs, consistent, count, float(chance), consistent == count))
    names = ["runs", "consistent", "values", "by_chance", "all_consistent"]
    return pd.DataFrame(rows, columns=names)


def consistent_runs(
    values: Iterable[object], items: int | Sequence[int], **options: Any
) -> list[int]:
    """The numbers of runs that allow all values; see :func:`granularity`."""
    table = granularity(values, items, **options)
    return [int(runs) for runs in table.loc[table["all_consistent"], "runs"]]
