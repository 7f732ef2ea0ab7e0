"""Honest tables for the audit, thousands at a time: drawn answers, measured, averaged, printed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Cut = Callable[[Floats, int], list[str]]


def rounded(values: Floats, digits: int) -> list[str]:
    return ["" if np.isnan(v) else f"{v:.{digits}f}" for v in values]


def cut(values: Floats, digits: int) -> list[str]:
    """Decimals dropped, as integer division or a spreadsheet's format may do."""
    scale = 10**digits
    return ["" if np.isnan(v) else f"{np.trunc(v * scale) / scale:.{digits}f}" for v in values]


def honest(
    rows: int, *, items: int, runs: int, digits: int, seed: int = 0, how: Cut = rounded
) -> pd.DataFrame:
    """Rows of means over runs of a dense and a pruned binary model; each row has its own skills.

    Every row draws the shares of the eight combinations (label, dense, pruned), and every run its
    answers to the same labels. Ratios that some run does not have are left empty.
    """
    draw = np.random.default_rng(seed)
    positives = items // 2 + 3
    true, false = (
        draw.multinomial(n, draw.dirichlet([1.5] * 4, (rows, 1)), (rows, runs)).astype(float)
        for n in (positives, items - positives)
    )  # [rows, runs, 4]: both say True; only dense; only pruned; none
    a, e = true[..., 0] + false[..., 3], true[..., 3] + false[..., 0]
    b, c = true[..., 1] + false[..., 2], true[..., 2] + false[..., 1]
    tp, fp = true[..., [0, 2]].sum(-1), false[..., [0, 2]].sum(-1)
    said_dense = true[..., :2].sum(-1) + false[..., :2].sum(-1)
    p, q, f = said_dense / items, (tp + fp) / items, (a + e) / items
    expected = p * q + (1 - p) * (1 - q)
    with np.errstate(divide="ignore", invalid="ignore"):
        measures = {
            "accuracy_dense": (a + b) / items,
            "accuracy_pruned": (a + c) / items,
            "fidelity": f,
            "churn": 1 - f,
            "faithful_accuracy": a / (a + e),
            "unfaithful_accuracy_dense": b / (b + c),
            "unfaithful_accuracy_pruned": c / (b + c),
            "unfaithful_accuracy": b / (b + c),
            "a": a / items,
            "b": b / items,
            "kappa": np.where(expected == 1, 0, (f - expected) / (1 - expected)),
            "recall": tp / positives,
            "specificity": (items - positives - fp) / (items - positives),
            "precision": tp / (tp + fp),
            "f1": 2 * tp / (tp + fp + positives),
            "positive_share_dense": p,
            "positive_share_pruned": q,
            "positive_share": q,
            "tp": tp,
            "fp": fp,
            "tn": items - positives - fp,
            "fn": positives - tp,
        }
    table = {name: how(values.mean(axis=1), digits) for name, values in measures.items()}
    if runs > 1:
        for name in ("fidelity", "faithful_accuracy", "unfaithful_accuracy_dense"):
            table[f"sd_{name}"] = how(measures[name].std(axis=1, ddof=1), digits)
    return pd.DataFrame(table).assign(items=items, positives=positives, runs=runs)
