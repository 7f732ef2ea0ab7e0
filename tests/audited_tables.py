"""Honest tables for the audit, thousands at a time: drawn answers, measured, averaged, printed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

# The conventions of these tables, as `audit_table` takes them.
TOLD: dict[str, Any] = {"classes": 2, "average": "binary", "test_set": "same"}
Floats = npt.NDArray[np.float64]
Cut = Callable[[Floats, int], list[str]]


def rounded(values: Floats, digits: int) -> list[str]:
    return ["" if np.isnan(v) else f"{v:.{digits}f}" for v in values]


def cut(values: Floats, digits: int) -> list[str]:
    """Decimals dropped, as integer division or a spreadsheet's format may do."""
    scale = 10**digits
    return ["" if np.isnan(v) else f"{np.trunc(v * scale) / scale:.{digits}f}" for v in values]


def honest(
    rows: int,
    *,
    items: int,
    runs: int,
    digits: int,
    seed: int = 0,
    how: Cut = rounded,
    ddof: int = 1,
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
            table[f"sd_{name}"] = how(measures[name].std(axis=1, ddof=ddof), digits)
    return pd.DataFrame(table).assign(items=items, positives=positives, runs=runs)


def of_classes(
    rows: int, *, items: int, runs: int, classes: int, average: str, seed: int = 0
) -> pd.DataFrame:
    """Rows of a dense and a pruned model with several answers; macro or weighted averages."""
    draw = np.random.default_rng(seed)
    label = draw.integers(0, classes, (rows, 1, items))
    skill = draw.uniform(0.2, 0.95, (2, rows, 1, 1))
    shape = (rows, runs, items)
    dense, pruned = (
        np.where(draw.random(shape) < own, label, draw.integers(0, classes, shape)) for own in skill
    )
    same, right_d, right_m = dense == pruned, dense == label, pruned == label
    measures = {
        "accuracy_dense": right_d.mean(-1),
        "accuracy_pruned": right_m.mean(-1),
        "fidelity": same.mean(-1),
        "faithful_accuracy": (same & right_d).sum(-1) / same.sum(-1),
        "kappa": _kappa(dense, pruned, same.mean(-1), classes),
    }
    hits, said, true = (
        np.stack([where(k).sum(-1) for k in range(classes)], -1).astype(float)
        for where in (
            lambda k: right_m & (label == k),
            lambda k: pruned == k,
            lambda k: np.broadcast_to(label == k, shape),
        )
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        each = {
            "precision": np.nan_to_num(hits / said),
            "recall": np.nan_to_num(hits / true),
            "f1": np.nan_to_num(2 * hits / (said + true)),
        }
    weights = true / true.sum(-1, keepdims=True) if average == "weighted" else 1 / classes
    measures |= {name: (values * weights).sum(-1) for name, values in each.items()}
    table = {name: rounded(values.mean(axis=1), 4) for name, values in measures.items()}
    for name in ("fidelity", "faithful_accuracy"):
        table[f"sd_{name}"] = rounded(measures[name].std(axis=1), 4) if runs > 1 else [""] * rows
    frame = pd.DataFrame(table)
    return frame.assign(positives=label.sum(axis=(1, 2))) if classes == 2 else frame


def _kappa(dense: Any, pruned: Any, same: Floats, classes: int) -> Floats:
    by_chance = sum((dense == k).mean(-1) * (pruned == k).mean(-1) for k in range(classes))
    return np.asarray((same - by_chance) / (1 - by_chance))


def in_folds(rows: int, *, items: int, folds: int, seed: int = 0) -> pd.DataFrame:
    """Means over the folds of a cross-validation, whose sizes differ by one; two answers."""
    draw = np.random.default_rng(seed)
    sizes = np.array([items // folds + (i < items % folds) for i in range(folds)])
    positives = draw.binomial(sizes, 0.5, (rows, folds))
    tp = draw.binomial(positives, draw.uniform(0.2, 1, (rows, 1)))
    tn = draw.binomial(sizes - positives, draw.uniform(0.2, 1, (rows, 1)))
    with np.errstate(divide="ignore", invalid="ignore"):
        measures = {
            "accuracy": (tp + tn) / sizes,
            "recall": tp / positives,
            "specificity": tn / (sizes - positives),
        }
    return pd.DataFrame({name: rounded(v.mean(axis=1), 4) for name, v in measures.items()})


def in_medians(rows: int, *, items: int, runs: int, seed: int = 0) -> pd.DataFrame:
    """Medians over runs, which obey no identity of means."""
    each = [
        honest(rows, items=items, runs=1, digits=9, seed=seed * 100 + run) for run in range(runs)
    ]
    names = ["accuracy_dense", "accuracy_pruned", "fidelity", "faithful_accuracy"]
    return pd.DataFrame(
        {
            name: rounded(
                np.nanmedian([pd.to_numeric(one[name], errors="coerce") for one in each], axis=0), 4
            )
            for name in names
        }
    )
