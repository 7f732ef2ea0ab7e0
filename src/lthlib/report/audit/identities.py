"""What accuracies, fidelity and faithful accuracy must satisfy together, also as means over runs.

With two classes a dense model (accuracy A_d) and a pruned one (A_m) that agree on a share F of the
decisions leave no freedom: both are right on a = (A_d + A_m - 1 + F) / 2, dense alone on
b = (1 - F + A_d - A_m) / 2, pruned alone on c = (1 - F - A_d + A_m) / 2, and faithful accuracy is
A_f = a / F. Ratios averaged over runs keep the identities up to a covariance, which standard
deviations bound: mean(F A_f) = mean(F) mean(A_f) + cov, |cov| <= s_F s_Af for deviations with n in
the denominator. With n - 1 there it is (n - 1) / n of that; nobody says which was printed, so that
the larger bound is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lthlib.errors import RecordError
from lthlib.report.audit.printed import Printed, Range, read
from lthlib.report.measures import Floats, kappa_bounds, kappa_range

# Means and deviations of honest tables are floats: a bound is not broken by their last bits.
FLOATS = 1e-9


class Product(NamedTuple):
    """One identity left x right = cell, for means over runs.

    gap: how far the cell is from the product of the two means (signed, at the printed values);
    bound: the largest gap that means over runs allow; excess: by how much the gap must exceed it,
    whatever the lost digits were (0: feasible); NaN where a number is missing.
    """

    gap: Floats
    bound: Floats
    excess: Floats


def product(
    left: Printed,
    right: Printed,
    cell: Range,
    runs: Any,
    left_sd: Printed | None = None,
    right_sd: Printed | None = None,
) -> Product:
    """Can mean(left right) be this cell, given the means of left and right, shares over n runs?

    Without deviations the bound is that of any two shares:
    max(0, l + r - 1) <= mean(l r) <= min(l, r). With them it is |cov| <= s_l s_r too, whichever
    denominator they have. With one run nothing is averaged, and the cell is the product.
    """
    n = np.broadcast_to(np.asarray(runs, dtype=np.float64), len(left))
    one, two = left.range(), right.range()
    middle = cell - one * two
    widest = Range(np.maximum(one.low + two.low - 1, 0), np.minimum(one.high, two.high))
    excess = np.where(n > 1, cell.apart(widest), 0.0)
    bound = np.where(n > 1, np.nan, 0.0)
    if left_sd is not None and right_sd is not None:
        spread = left_sd.range() * right_sd.range()
        bound = np.where(n > 1, spread.high, 0.0)
    zero = Range(-bound, bound)
    excess = np.fmax(excess, np.where(np.isnan(bound), 0.0, middle.apart(zero)))
    known = middle.known()
    value = (cell.low + cell.high) / 2 - left.value * right.value
    excess = np.where(excess > FLOATS, excess, 0.0)
    return Product(value, bound, np.where(known, excess, np.nan))


def cells_from(dense: Range, pruned: Range, fidelity: Range) -> dict[str, Range]:
    """a, b, c, e of two classes from A_d, A_m, F; linear, hence exact for means over runs too."""
    return {
        "a": (dense + pruned - 1 + fidelity) * 0.5,
        "b": (1 - fidelity + dense - pruned) * 0.5,
        "c": (1 - fidelity - dense + pruned) * 0.5,
        "e": (1 + fidelity - dense - pruned) * 0.5,
    }


def agreement_excess(one: Range, other: Range, fidelity: Range, classes: int = 2) -> Floats:
    """By how much F leaves |x + y - 1| <= F <= 1 - |x - y|; 0 where it does not.

    one, other: accuracies of the two models, or their shares of True answers. Both ends hold for
    every run and are convex, so they hold for means over runs. With more than two classes
    (accuracies only) two models may be wrong in different ways, and the lower end is x + y - 1.
    """
    both = one + other - 1
    low = both.size() if classes == 2 else both
    high = 1 - (one - other).size()
    below, above = low.low - fidelity.high, fidelity.low - high.high
    worst = np.maximum(below, above)
    return np.where(worst > FLOATS, worst, np.where(np.isnan(worst), np.nan, 0.0))


def kappa_limits(fidelity: Range, runs: Any) -> Range:
    """What kappa may be, given fidelity, two classes.

    One run: -(1 - F) / (1 + F) <= kappa <= F^2 / (F^2 + 2 (1 - F)). The lower end is concave and
    the upper end lies below F, so that they do not hold for means over runs; the convex hull does,
    F - 1 <= mean kappa <= F.
    """
    low_f, high_f = np.clip(fidelity.low, 0, 1), np.clip(fidelity.high, 0, 1)
    single = np.asarray(runs) == 1
    low = np.where(single, kappa_bounds(low_f)[0], low_f - 1)
    high = np.where(single, kappa_bounds(high_f)[1], high_f)
    return Range(low, high)


def feasibility(
    table: pd.DataFrame, *, runs: int | None = None, percent: bool = False
) -> pd.DataFrame:
    """Are (A_d, A_m, F, A_f) possible together, row by row? Binary decisions, means over runs.

    table: accuracy_dense, accuracy_pruned, fidelity, faithful_accuracy as printed; runs, here or
    as a column (default 1); sd_fidelity and sd_faithful_accuracy, if known, sharpen the bound.

    Returns gap (A_d + A_m - 1 + F) / 2 - F A_f, bound (of its size), times (gap / bound) and
    feasible. The test does not ask whose accuracy on unfaithful decisions is printed.

    >>> row = {"accuracy_dense": ["0.80"], "accuracy_pruned": ["0.70"], "fidelity": ["0.90"],
    ...     "faithful_accuracy": ["0.7778"]}
    >>> feasibility(pd.DataFrame(row), runs=1)["feasible"].tolist()
    [True]
    >>> feasibility(pd.DataFrame(row | {"faithful_accuracy": ["0.9"]}), runs=1)["feasible"].tolist()
    [False]
    """
    get = _reader(table, percent)
    f, faithful = get("fidelity"), get("faithful_accuracy")
    dense, pruned = get("accuracy_dense"), get("accuracy_pruned")
    cell = cells_from(dense.range(), pruned.range(), f.range())["a"]
    n = table["runs"].to_numpy() if runs is None and "runs" in table.columns else (runs or 1)
    sds = [get(name) if name in table.columns else None for name in _SD]
    found = product(f, faithful, cell, n, *sds)
    gap = (dense.value + pruned.value - 1 + f.value) / 2 - f.value * faithful.value
    with np.errstate(divide="ignore", invalid="ignore"):
        times = np.abs(gap) / found.bound
    columns = {"gap": gap, "bound": found.bound, "times": times, "feasible": found.excess == 0}
    return pd.DataFrame(columns, index=table.index)


_SD = ("sd_fidelity", "sd_faithful_accuracy")


def whose_accuracy(table: pd.DataFrame, *, percent: bool = False) -> pd.Series[float]:
    """Whose is an accuracy on unfaithful decisions that is printed without saying?

    table: accuracy_pruned, fidelity, faithful_accuracy and unfaithful_accuracy. The pruned
    model's accuracy is rebuilt under both readings, F A_f + (1 - F) (1 - U) if U is the dense
    model's and F A_f + (1 - F) U if it is the pruned one's. Returns the root mean square errors of
    both, `dense` and `pruned`: the smaller one is the better reading.
    """
    get = _reader(table, percent)
    f, faithful, u = (
        get(name).value for name in ("fidelity", "faithful_accuracy", "unfaithful_accuracy")
    )
    rebuilt = {"dense": f * faithful + (1 - f) * (1 - u), "pruned": f * faithful + (1 - f) * u}
    actual = get("accuracy_pruned").value
    return pd.Series(
        {name: float(np.sqrt(np.mean((value - actual) ** 2))) for name, value in rebuilt.items()}
    )


def kappa_table(table: pd.DataFrame, *, percent: bool = False) -> pd.DataFrame:
    """Kappa from fidelity and the shares of True answers, with all that it could have been.

    table: fidelity, positive_share_dense (p), positive_share_pruned (q). Returns expected
    (Pe = p q + (1 - p)(1 - q)), kappa = (F - Pe) / (1 - Pe), where 0/0 counts as 0; f_low and
    f_high, what F alone allows in one run; low and high, what p and q alone allow; and outside,
    whether F itself is impossible with p and q. Exact for one run; of means over runs kappa is the
    kappa of an average confusion, not the average kappa.
    """
    get = _reader(table, percent)
    f, p, q = (
        get(name).value for name in ("fidelity", "positive_share_dense", "positive_share_pruned")
    )
    expected = p * q + (1 - p) * (1 - q)
    same = expected == 1
    kappa = np.where(same, 0.0, (f - expected) / np.where(same, 1.0, 1 - expected))
    f_low, f_high = kappa_bounds(f)
    ends = np.array([kappa_range(*pair) for pair in zip(p, q, strict=True)]).reshape(-1, 2)
    shares = get("positive_share_dense").range(), get("positive_share_pruned").range()
    columns = {
        "expected": expected,
        "kappa": kappa,
        "f_low": f_low,
        "f_high": f_high,
        "low": ends[:, 0],
        "high": ends[:, 1],
        "outside": agreement_excess(*shares, get("fidelity").range()) > 0,
    }
    return pd.DataFrame(columns, index=table.index)


def _reader(table: pd.DataFrame, percent: bool) -> Callable[[str], Printed]:
    def get(name: str) -> Printed:
        if name not in table.columns:
            raise RecordError(f"the table has no column {name!r}; add it, or leave the check out")
        return read(table[name], percent=percent, what=name)

    return get
