"""Signs of how numbers came about: constant answers, averages over batches, the kind of a test."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lthlib.errors import RecordError
from lthlib.report.audit.printed import Printed, read
from lthlib.report.audit.reconstruction import Reconstruction, reconstruct
from lthlib.report.measures import Bools, Floats, Ints

NOT_CONSTANT, EITHER = -1, -2
BATCH_MEASURES = ("f1", "precision", "recall", "accuracy")


# -- constant answers -----------------------------------------------------------------------------
def constant_answers(
    values: Iterable[object],
    counts: Mapping[str, int],
    *,
    runs: int = 1,
    percent: bool = False,
) -> list[str]:
    """Which printed accuracies are exactly what models get that give every item one answer.

    values: printed accuracies (means over runs); counts: how many items have each label, such as
    {"False": 477, "True": 535}. A mean over runs of constant models is sum(k_c count_c) / (N n),
    where k_c of n runs always answer c. Two labels; with one run this is a share of one label.

    Returns for each value "always False", "always True", "4 of 10 runs always True, the others
    always False", or "". It is a sign and no proof: an honest mean may happen to hit one of the
    n + 1 values out of N n. Values with too few digits to tell one count from the next get "".

    >>> labels = {"False": 477, "True": 535}
    >>> constant_answers(["0.47134", "0.5287", "0.50000", "0.5"], labels, runs=4)
    ['always False', 'always True', '2 of 4 runs always True, the others always False', '']
    """
    if len(counts) != 2 or min(counts.values()) < 1 or runs < 1:
        raise RecordError("constant answers: give the counts of two labels, and the number of runs")
    found = constant_runs(read(values, percent=percent), counts, runs)
    return [describe_constant(k, runs, *counts) for k in found]


def constant_runs(printed: Printed, counts: Mapping[str, int], runs: int) -> Ints:
    """How many of the runs always give the second answer, all others the first.

    NOT_CONSTANT where that is not so; EITHER where labels are balanced and the accuracy is a half,
    which every mixture of constant answers gets. See :func:`constant_answers`.
    """
    n_first, n_second = counts.values()
    items, k = n_first + n_second, np.arange(runs + 1)
    shares = ((runs - k) * n_first + k * n_second) / (items * runs)
    span = printed.range()
    hit = (span.low[:, None] <= shares) & (shares <= span.high[:, None])
    # A sign only where the digits tell one count from the next, and one mixture from another.
    decisions = np.where(hit[:, 0] | hit[:, -1], items, items * runs)
    counts_in_span = np.floor(span.high * decisions) - np.ceil(span.low * decisions) + 1
    balanced = n_first == n_second
    sharp = ((hit.sum(axis=1) == 1) | balanced & hit[:, 0]) & (counts_in_span == 1)
    return np.where(sharp, EITHER if balanced else hit.argmax(axis=1), NOT_CONSTANT)


def describe_constant(k: int, runs: int, first: str, second: str) -> str:
    """In words what :func:`constant_runs` returned; empty where it is not constant."""
    if k == EITHER:
        return f"always {first} or always {second} in each run"
    if k in (0, runs):
        return f"always {second if k else first}"
    return (
        ""
        if k == NOT_CONSTANT
        else f"{k} of {runs} runs always {second}, the others always {first}"
    )


# -- averages over batches ------------------------------------------------------------------------
def batch_averages(
    labels: npt.ArrayLike, predictions: npt.ArrayLike, sizes: Iterable[int]
) -> pd.DataFrame:
    """Precision, recall, F1 and accuracy averaged over batches, beside those of all items.

    labels, predictions: 0 and 1, in the order in which the items were read. Each batch of `size`
    items gives one value (0/0 counts as 0, as torchmetrics has it), and the values are averaged
    with the sizes of their batches as weights, as Lightning's logging does. Only accuracy comes
    out right: precision, recall and F1 of all items are not averages over batches.

    Returns size (0: all items at once), f1, precision, recall, accuracy.

    >>> batch_averages([1, 1, 0, 0], [1, 1, 1, 1], [2]).round(3).values.tolist()
    [[0.0, 0.667, 0.5, 1.0, 0.5], [2.0, 0.5, 0.5, 0.5, 0.5]]
    """
    label, given = (np.asarray(x, dtype=np.int64) for x in (labels, predictions))
    if label.shape != given.shape or label.ndim != 1 or not label.size:
        raise RecordError("batch averages: give as many predictions as labels, at least one")
    rows = [(size, *_averaged(label, given, size or len(label))) for size in (0, *sizes)]
    return pd.DataFrame(rows, columns=["size", *BATCH_MEASURES])


def _averaged(label: npt.NDArray[np.int64], given: npt.NDArray[np.int64], size: int) -> list[float]:
    starts = np.arange(0, len(label), size)

    def per_batch(where: npt.NDArray[np.bool_]) -> Floats:
        return np.add.reduceat(where.astype(np.float64), starts)

    tp = per_batch((label == 1) & (given == 1))
    said, true, right = per_batch(given == 1), per_batch(label == 1), per_batch(label == given)
    n = per_batch(np.ones(len(label), dtype=bool))
    tops, bottoms = (2 * tp, tp, tp, right), (said + true, said, true, n)
    values = [
        np.divide(top, bottom, out=np.zeros(len(n)), where=bottom > 0)
        for top, bottom in zip(tops, bottoms, strict=True)
    ]
    return [float(np.average(value, weights=n)) for value in values]


def batch_sizes(
    scan: pd.DataFrame, printed: Mapping[str, object], *, percent: bool = False
) -> pd.DataFrame:
    """Which batch sizes explain printed values; also with two neighbouring digits transposed.

    scan: what :func:`batch_averages` returns; printed: some of f1, precision, recall, accuracy.
    Returns the rows of `scan` where every value agrees as printed. Where there is none, those
    where all but one do, and that one with two neighbouring digits changed over: `transposed`
    names it, and is empty otherwise.
    """
    strange = set(printed) - set(BATCH_MEASURES)
    if strange:
        raise RecordError(
            f"batch sizes: {min(strange)!r} is not one of {', '.join(BATCH_MEASURES)}"
        )
    exact = {name: _agrees(scan[name], [text], percent) for name, text in printed.items()}
    swapped = {
        name: _agrees(scan[name], _transpositions(str(text)), percent)
        for name, text in printed.items()
    }
    off = ~pd.DataFrame(exact, index=scan.index)
    one_swapped = (off.sum(axis=1) == 1) & (off & pd.DataFrame(swapped, index=scan.index)).any(
        axis=1
    )
    names = off.apply(lambda row: ", ".join(off.columns[row]), axis=1)
    found = scan.assign(transposed=names)
    same = found[~off.any(axis=1)]
    return (same if len(same) else found[one_swapped]).reset_index(drop=True)


def _agrees(values: pd.Series[float], texts: Sequence[object], percent: bool) -> Bools:
    if not texts:
        return np.zeros(len(values), dtype=bool)
    span, numbers = read(texts, percent=percent).range(), values.to_numpy()[:, None]
    return np.asarray(((span.low <= numbers) & (numbers <= span.high)).any(axis=1))


def _transpositions(text: str) -> list[str]:
    """The text with each two neighbouring, different digits behind the point changed over."""
    point = text.find(".")
    return [
        text[:i] + text[i + 1] + text[i] + text[i + 2 :]
        for i in range(point + 1, len(text) - 1)
        if text[i] != text[i + 1] and (text[i] + text[i + 1]).isdigit()
    ]


# -- the kind of a test ---------------------------------------------------------------------------
def kind_of_test(
    means: Mapping[Any, object], pairs: pd.DataFrame, fit: Reconstruction | None = None
) -> dict[str, str]:
    """Were the samples treated as independent or as paired; by Student or by Welch?

    means, pairs: see :func:`lthlib.report.audit.reconstruct`; fit: what it found, if known. Two
    signs:
    identical samples have p = 1 in a test of independent samples, where a paired test divides 0 by
    0 and prints nothing; and the p-values of independent samples follow from one deviation each,
    which those of paired samples (one deviation for each pair) do not.

    Returns `samples`, `test` and, for each, `why`.
    """
    printed = read(means.values(), what="means")
    value = dict(zip(means, printed.value, strict=True))
    same = pairs["first"].map(value) == pairs["second"].map(value)
    ones = same & (pairs["p"].astype(str).str.strip().astype(float) == 1)
    fit = fit or reconstruct(means, pairs)
    fits, over = bool(fit.best["fits"]), fit.pairs > fit.unknown
    samples, why = "not determined", "no identical samples, and no pairs to spare"
    if ones.any():
        samples, why = "independent", f"{int(ones.sum())} pairs of equal means have p = 1"
    elif over and fits:
        samples = "independent"
        why = f"{fit.unknown} deviations explain {fit.pairs} p-values to {fit.best['rms']:.1g}"
    elif over:
        samples, why = "not independent, or misprinted", fit.verdict
    test = {"student": "Student", "welch": "Welch", None: "not determined"}[fit.test]
    worse = fit.times_worse("test")
    reason = f"the other test fits {worse:,.0f} times worse" if fit.test else "both tests fit"
    reason = reason if fits else "neither test fits"
    return {"samples": samples, "why_samples": why, "test": test, "why_test": reason}
