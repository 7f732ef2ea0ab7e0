"""Correlations again, from printed columns, and those that arithmetic alone brings about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from lthlib.errors import RecordError
from lthlib.report.audit.printed import read
from lthlib.report.measures import Floats


def pearson_range(
    x: Iterable[object],
    y: Iterable[object],
    *,
    printed_p: object = None,
    percent: bool = False,
) -> pd.Series[Any]:
    """Pearson's r and its two-sided p from printed columns, with the range that rounding leaves.

    x, y: printed numbers, one each of at least three rows; a 0.5 among longer ones is 0.50000.
    printed_p: a p-value to hold against it. r is monotone in every single number near the printed
    values, so its range over half a step of each last digit is found where every number moves the
    way r rises, or falls.

    Returns r, p, p_low, p_high, n and, with printed_p, verdict. There is no r, and the verdict
    says why, where a column does not vary.
    """
    one, two = (read(v, what=w).with_common_decimals() for v, w in ((x, "x"), (y, "y")))
    keep = one.present & two.present
    if len(one) != len(two) or keep.sum() < 3:
        raise RecordError("correlation: give two columns of one length, with three rows or more")
    a, b = one.value[keep], two.value[keep]
    row: dict[str, Any] = {"r": np.nan, "p": np.nan, "p_low": np.nan, "p_high": np.nan}
    row["n"] = int(keep.sum())
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return pd.Series(row | {"verdict": "no correlation: a column does not vary"})
    r = _r(a, b)
    halves = one.unit[keep] / 2, two.unit[keep] / 2
    ends = [_r(*_moved(a, b, *halves, sign)) for sign in (-1, 1)]
    ps = [_p(end, len(a)) for end in ends] + [_p(r, len(a))]
    row |= {"r": r, "p": ps[-1], "p_low": min(ps), "p_high": max(ps)}
    if ends[0] * ends[1] < 0:
        row["p_high"] = 1.0
    if printed_p is not None:
        row["verdict"] = _verdict(printed_p, row)
    return pd.Series(row)


def _r(a: Floats, b: Floats) -> float:
    return float(np.corrcoef(a, b)[0, 1])


def _p(r: float, n: int) -> float:
    t = abs(r) * np.sqrt((n - 2) / max(1 - r**2, 1e-300))
    return float(2 * stats.t.sf(t, n - 2))


def _moved(
    a: Floats, b: Floats, half_a: Floats, half_b: Floats, sign: int
) -> tuple[Floats, Floats]:
    """Every number moved by half a step, the way that r rises (sign 1) or falls (-1)."""
    za, zb = stats.zscore(a), stats.zscore(b)
    r = _r(a, b)
    return a + sign * half_a * np.sign(zb - r * za), b + sign * half_b * np.sign(za - r * zb)


def _verdict(printed_p: object, row: Mapping[str, Any]) -> str:
    low, high = row["p_low"], row["p_high"]
    if _agrees(str(printed_p), low, high):
        return "reproduced"
    near = [text for text in _one_digit_off(str(printed_p)) if _agrees(text, low, high)]
    if near:
        return f"one digit off: {' or '.join(near)}"
    return "not reproduced, nor with any one digit changed"


def _agrees(text: str, low: float, high: float) -> bool:
    span = read([text], what="p").range()
    return bool(span.low[0] <= high and low <= span.high[0])


def _one_digit_off(text: str) -> list[str]:
    return [
        text[:i] + digit + text[i + 1 :]
        for i, old in enumerate(text)
        for digit in "0123456789"
        if old.isdigit() and digit != old
    ]


def label_blind(
    positive_share: Sequence[float] | Floats, label_share: float, dense_share: float
) -> pd.DataFrame:
    """What a model that only has its share of True answers would score, and how it would agree.

    positive_share: q, the share of True answers of each pruned model; label_share: pi, of the
    labels; dense_share: p, of the dense model's answers. A model that answers True on a share q of
    the items without a look at them has accuracy (1 - pi) + (2 pi - 1) q and fidelity
    (1 - p) + (2 p - 1) q on average. Both are lines in q, so that over pruned models accuracy and
    fidelity correlate perfectly, with the sign of :func:`label_blind_sign`, and say nothing.
    """
    q = np.asarray(positive_share, dtype=np.float64)
    accuracy = (1 - label_share) + (2 * label_share - 1) * q
    fidelity = (1 - dense_share) + (2 * dense_share - 1) * q
    return pd.DataFrame({"positive_share": q, "accuracy": accuracy, "fidelity": fidelity})


def label_blind_sign(label_share: float, dense_share: float) -> int:
    """Sign of the correlation of accuracy and fidelity over label-blind models: +1, -1, or 0.

    >>> label_blind_sign(0.529, 0.693), label_blind_sign(0.529, 0.465)
    (1, -1)
    """
    return int(np.sign((2 * label_share - 1) * (2 * dense_share - 1)))
