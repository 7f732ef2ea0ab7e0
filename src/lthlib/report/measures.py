"""Measures of a pruned model against the labels and against its dense model.

Everything here comes from predictions alone. A predictions frame has one row per decision:

    run, level, branch, stage    which model answered; these four name one record
    item, decision               which question: a test item, and one finding of it (or "label")
    label, prediction            the right answer and the given one, as class numbers from 0

Several runs may be concatenated. Classes 0 and 1 are False and True. Numbers are taken over all
decisions at once and never averaged over batches, which changes precision, recall and F1.

Some ratios do not exist, such as the precision of a model that never says True. The frames then
hold <NA> (all measures are nullable Float64) and the column `flags` says why. Kappa and Matthews
correlation keep one convention instead: 0/0 counts as 0, no association, and is flagged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from lthlib.errors import RecordError, unknown
from lthlib.report.statistics import DENSE_LEVEL, proportion_interval
from lthlib.study import BRANCHES

RECORD = ["run", "level", "branch", "stage"]
CASE = ["item", "decision"]
COLUMNS = [*RECORD, *CASE, "label", "prediction"]
STAGE_ORDER = ("pruned", "rewound", "trained")
BRANCH_ORDER = ("main", *BRANCHES)
CELLS = ("a", "b", "c", "e", "g")
FACTS = [*RECORD, "sparsity", "sparsity_all"]
TOLERANCE = 1e-12

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


# -- the predictions, checked and laid out as records x cases -------------------------------------
@dataclass(frozen=True)
class Grid:
    """Predictions as arrays [R records, C cases]; a case is one decision of one item."""

    records: pd.DataFrame  # R rows: run, level, branch, stage
    cases: pd.DataFrame  # C rows: item, decision
    run: Ints  # [R], the run of each record
    present: Bools  # [R, C], cases that this record has
    label: Ints  # [R, C], 0 where absent
    prediction: Ints  # [R, C], 0 where absent

    @cached_property
    def binary(self) -> Bools:
        """[R], True where the record's labels are False and True only."""
        return np.asarray(self.label.max(axis=1) <= 1)

    @cached_property
    def whole(self) -> bool:
        """Does every record have every case?"""
        return bool(self.present.all())

    @cached_property
    def finding(self) -> tuple[Ints, pd.Index[Any]]:
        """[C], the number of each case's decision; and the decisions in sorted order."""
        number, names = pd.factorize(self.cases["decision"], sort=True)
        return number.astype(np.int64), pd.Index(names)

    def tally(self, values: Ints) -> Ints:
        """[R, D, K], how often a record has each of the values 0..K-1 within each decision.

        values: [R, C].
        """
        group, names = self.finding
        shape = (len(self.records), len(names), int(values.max()) + 1)
        place = (np.arange(shape[0])[:, None] * shape[1] + group) * shape[2] + values
        flat = place.ravel() if self.whole else place[self.present]
        return np.bincount(flat, minlength=int(np.prod(shape))).reshape(shape)

    def per_item(self, counted: Bools) -> Ints:
        """[R, I], how many cases of each item are counted; counted: [R, C]."""
        if len(self._items) == len(self.cases):
            return np.asarray(counted & self.present, dtype=np.int64)
        here = np.asarray(counted & self.present, dtype=np.int64)
        return np.asarray(np.add.reduceat(here, self._items, axis=1))

    @cached_property
    def _items(self) -> Ints:
        """[I], where each item's cases begin, which lie side by side."""
        number = pd.factorize(self.cases["item"])[0]
        return np.flatnonzero(np.diff(number, prepend=-1)).astype(np.int64)

    def sizes(self) -> pd.DataFrame:
        """R rows: items, decisions."""
        items = _count(self.per_item(np.ones_like(self.present)) > 0)
        return pd.DataFrame({"items": items, "decisions": _count(self.present)})

    def where(self, chosen: Bools) -> Grid:
        """The grid of these records alone, as if the others had never been; chosen: [R]."""
        run = pd.factorize(self.run[chosen])[0].astype(np.int64)
        records = self.records.loc[chosen].reset_index(drop=True)
        present = self.present[chosen]
        label, prediction = self.label[chosen], self.prediction[chosen]
        held: Bools = np.asarray(present.any(axis=0))
        if held.all():
            return Grid(records, self.cases, run, present, label, prediction)
        cases = self.cases.loc[held].reset_index(drop=True)
        return Grid(records, cases, run, present[:, held], label[:, held], prediction[:, held])

    def dense(self) -> Ints:
        """[R], the position of each record's dense record."""
        is_dense = (
            (self.records["level"] == DENSE_LEVEL)
            & (self.records["branch"] == "main")
            & (self.records["stage"] == "trained")
        ).to_numpy()
        position = np.full(self.run.max() + 1, -1)
        position[self.run[is_dense]] = np.nonzero(is_dense)[0]
        found: Ints = position[self.run]
        if (found < 0).any():
            run = self.records["run"].iloc[int(np.argmax(found < 0))]
            raise RecordError(
                f"run {run} has no dense record (level 0, main, trained) to compare with"
            )
        return found


Predictions = pd.DataFrame | Grid
"""Predictions as they are read, or laid out once for several measures of them."""


def check_predictions(predictions: Predictions) -> None:
    """Refuse predictions that cannot be compared decision by decision.

    Raises RecordError, in one line that names the first fault: a missing column, no rows, a gap,
    an unknown branch or stage, a class that cannot be, a decision recorded twice, one that a
    record lacks and others of its run have, or two labels for one decision.
    """
    grid_of(predictions)


def grid_of(predictions: Predictions) -> Grid:
    """Predictions, checked and laid out; a grid is given back as it is."""
    if isinstance(predictions, Grid):
        return predictions
    missing = [column for column in COLUMNS if column not in predictions.columns]
    if missing:
        raise RecordError(f"predictions have no column {missing[0]!r}: read them from a record")
    if predictions.empty:
        raise RecordError("predictions are empty: choose a run that has some")
    laid = _laid_in_blocks(predictions) or _laid_anyhow(predictions)
    records, cases, present, label, prediction = laid
    run = pd.factorize(records["run"])[0].astype(np.int64)
    grid = Grid(records, cases, run, present, label, prediction)
    _check_same_cases(grid)
    _check_same_labels(grid)
    _check_classes(grid)
    return grid


_Laid = tuple[pd.DataFrame, pd.DataFrame, Bools, Ints, Ints]
"""Records, cases, and what a grid holds of each: present, label, prediction."""


def _laid_anyhow(predictions: pd.DataFrame) -> _Laid:
    """Rows in any order, cell by cell."""
    record, records = _codes(predictions, RECORD)
    case, cases = _codes(predictions, CASE)
    shape = (len(records), len(cases))
    cell = record * shape[1] + case
    times = np.bincount(cell, minlength=shape[0] * shape[1])
    if times.max() > 1:
        row, column = divmod(int(np.argmax(times > 1)), shape[1])
        raise RecordError(
            f"{_name(records, row)}: {_case(cases, column)} is recorded twice: record it once"
        )
    label, prediction = (np.zeros(shape, dtype=np.int64) for _ in range(2))
    label.ravel()[cell] = _classes(predictions, "label")
    prediction.ravel()[cell] = _classes(predictions, "prediction")
    return records, cases, times.reshape(shape) > 0, label, prediction


def _laid_in_blocks(predictions: pd.DataFrame) -> _Laid | None:
    """Rows of one record after another, each with the same cases in the same order.

    So records are written, and then nothing need be looked up. None where rows lie otherwise.
    """
    if not all(isinstance(predictions[c].dtype, pd.CategoricalDtype) for c in CASE):
        return None
    case = [predictions[column].cat.codes.to_numpy() for column in CASE]
    again = np.flatnonzero(np.logical_and.reduce([code == code[0] for code in case]))
    width = int(again[1]) if len(again) > 1 else len(predictions)
    if len(predictions) % width or not all(_same_in_blocks(code, width) for code in case):
        return None
    for column in RECORD:
        values = predictions[column]
        words = isinstance(values.dtype, pd.CategoricalDtype)
        whole = (values.cat.codes if words else values).to_numpy().reshape(-1, width)
        if not (whole == whole[:, :1]).all():
            return None
    record, records = _codes(predictions.iloc[::width], RECORD)
    place, cases = _codes(predictions.iloc[:width], CASE)
    shape = (len(records), len(cases))
    if len(record) > shape[0] or len(place) > shape[1]:
        return None  # something is recorded twice
    label, prediction = (
        _classes(predictions, name).reshape(shape)[np.argsort(record)][:, np.argsort(place)]
        for name in ("label", "prediction")
    )
    return records, cases, np.ones(shape, dtype=bool), label, prediction


def _same_in_blocks(values: npt.NDArray[Any], width: int) -> bool:
    return bool((values.reshape(-1, width) == values[:width]).all())


def _codes(frame: pd.DataFrame, columns: list[str]) -> tuple[Ints, pd.DataFrame]:
    """A number for each row, by its values in some columns; and those values, in sorted order."""
    code, values = np.zeros(len(frame), dtype=np.int64), []
    for column in columns:
        order = {"branch": BRANCH_ORDER, "stage": STAGE_ORDER}.get(column)
        part, levels = _in_order(frame[column], order)
        if (part < 0).any():
            value = frame[column].iloc[int(np.argmax(part < 0))]
            if order is not None and not pd.isna(value):
                raise RecordError(f"predictions: {unknown(column, value, order)}")
            raise RecordError(f"predictions: column {column!r} has a gap: record the run again")
        code = code * len(levels) + part
        values.append(levels)
    used, position = _used(code, int(np.prod([len(levels) for levels in values])))
    parts = np.unravel_index(used, [len(levels) for levels in values])
    named = zip(columns, values, parts, strict=True)
    table = pd.DataFrame({name: levels.take(part) for name, levels, part in named})
    return position.astype(np.int64), table


def _in_order(column: pd.Series[Any], order: tuple[str, ...] | None) -> tuple[Ints, pd.Index[Any]]:
    """A number for each row by its value, -1 where it has none; and the values, in order.

    order: the values that there can be; None: those that there are, sorted.
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        # Words that rows hold the numbers of: only the words need be looked at.
        words = pd.Series(pd.Index(column.cat.categories))
        number, levels = _in_order(words, order)
        return np.append(number, -1)[column.cat.codes.to_numpy()], levels
    if order is None and len(column) and pd.api.types.is_integer_dtype(column.dtype):
        whole = column.to_numpy()
        if whole.dtype.kind == "i":
            least = int(whole.min())
            used, position = _used(whole.astype(np.int64) - least, int(whole.max()) - least + 1)
            return position, pd.Index((used + least).astype(whole.dtype))
    if order is None:
        codes, levels = pd.factorize(column, sort=True)
        return codes.astype(np.int64), pd.Index(levels)
    levels = pd.Index(order)
    return levels.get_indexer(pd.Index(column)).astype(np.int64), levels


def _used(code: Ints, possible: int) -> tuple[Ints, Ints]:
    """np.unique with its inverse, for codes below `possible`; without sorting where that is few."""
    if possible > 4 * len(code) + 1024:
        used, position = np.unique(code, return_inverse=True)
        return used, position.astype(np.int64)
    used = np.flatnonzero(np.bincount(code, minlength=possible))
    place = np.zeros(possible, dtype=np.int64)
    place[used] = np.arange(len(used))
    return used, place[code]


def _classes(frame: pd.DataFrame, column: str) -> Ints:
    values = frame[column]
    if values.isna().any() or not pd.api.types.is_integer_dtype(values) or values.min() < 0:
        raise RecordError(f"predictions: column {column!r} must hold class numbers 0, 1, ...")
    return values.to_numpy(dtype=np.int64)


def _check_same_cases(grid: Grid) -> None:
    if grid.whole:
        return
    starts = np.unique(grid.run, return_index=True)[1]
    wanted = np.logical_or.reduceat(grid.present, starts, axis=0)[grid.run]
    lacking = wanted & ~grid.present
    if lacking.any():
        row, column = (int(i[0]) for i in np.nonzero(lacking))
        raise RecordError(
            f"{_name(grid.records, row)}: {_case(grid.cases, column)} is missing, and other "
            "records of this run have it: record the level again"
        )


def _check_same_labels(grid: Grid) -> None:
    first = np.unique(grid.run, return_index=True)[1][grid.run]
    differs = grid.label != grid.label[first]
    if differs.any():
        row, column = (int(i[0]) for i in np.nonzero(differs))
        raise RecordError(
            f"{_name(grid.records, row)}: {_case(grid.cases, column)} has label "
            f"{grid.label[row, column]}, and {grid.label[first[row], column]} elsewhere in the run"
        )


def _check_classes(grid: Grid) -> None:
    odd = grid.binary[:, None] & (grid.prediction > 1)
    if odd.any():
        row, column = (int(i[0]) for i in np.nonzero(odd))
        raise RecordError(
            f"{_name(grid.records, row)}: {_case(grid.cases, column)} has prediction "
            f"{grid.prediction[row, column]}, and its labels are 0 and 1 only"
        )


def _name(records: pd.DataFrame, row: int) -> str:
    run, level, branch, stage = records.iloc[row][RECORD]
    return f"run {run}, level {level}, {branch}, {stage}"


def _case(cases: pd.DataFrame, column: int) -> str:
    item, decision = cases.iloc[column][CASE]
    return f"decision {decision!r} of item {item!r}"


def _count(where: Bools) -> Ints:
    return np.asarray(where.sum(axis=1), dtype=np.int64)


def _measure(values: Floats, defined: Bools | None = None) -> pd.Series[float]:
    """A nullable column; <NA> where a value is not defined."""
    mask = np.zeros(len(values), dtype=bool) if defined is None else ~defined
    return pd.Series(pd.arrays.FloatingArray(np.where(mask, 0.0, values), mask))


def _ratio(top: Ints | Floats, bottom: Ints | Floats) -> pd.Series[float]:
    """top / bottom; <NA> where bottom is 0."""
    return _measure(_quotient(top, bottom), bottom != 0)


def _quotient(top: Ints | Floats, bottom: Ints | Floats) -> Floats:
    """top / bottom; 0 where bottom is 0."""
    quotient = np.zeros(np.shape(top), dtype=np.float64)
    return np.divide(top, bottom, out=quotient, where=bottom != 0)


def _flags(reasons: dict[str, Bools]) -> list[str]:
    """One text per row: the reasons that hold there, joined by "; "."""
    rows = zip(*reasons.values(), strict=True)
    return [
        "; ".join(text for text, holds in zip(reasons, row, strict=True) if holds) for row in rows
    ]


# -- quality: against the labels ------------------------------------------------------------------
def quality(predictions: Predictions) -> pd.DataFrame:
    """How well each record answers, over all its decisions.

    With tp, fp, tn, fn counted over all decisions (for several findings: pooled) and n their sum:
        accuracy = (tp + tn) / n            precision = tp / (tp + fp)
        recall = tp / (tp + fn)             specificity = tn / (tn + fp)
        f1 = 2 tp / (2 tp + fp + fn)        balanced_accuracy = (recall + specificity) / 2
        informedness (J) = recall + specificity - 1
        mcc = (tp tn - fp fn) / sqrt((tp + fp)(tp + fn)(tn + fp)(tn + fn)), where 0/0 counts as 0
        positive_share = (tp + fp) / n, of the answers; label_positive_share = (tp + fn) / n
    macro_precision, macro_recall and macro_f1 are means over the findings where each is defined;
    with one finding they equal the plain ones. trivial_rule and trivial_accuracy belong to the
    best rule that looks at no input (see :func:`trivial`); trivial_balanced_accuracy and
    trivial_macro_f1 are the most that such rules reach of these.

    Where a decision has more than two classes, accuracy is the share of right answers, the macro
    means are over classes, balanced_accuracy is macro_recall, mcc is Gorodkin's R_K, and what needs
    a positive class is <NA>, counts too.

    Returns one row per (run, level, branch, stage): items, decisions, measures, counts, flags.
    Raises RecordError for predictions that :func:`check_predictions` refuses, and for records of
    which only some have two classes.

    >>> answers = pd.DataFrame({"run": "r", "level": 0, "branch": "main", "stage": "trained",
    ...     "item": list("abcd"), "decision": "label", "label": [1, 1, 0, 0],
    ...     "prediction": [1, 0, 0, 0]})
    >>> quality(answers)[["accuracy", "precision", "recall", "informedness"]].iloc[0].to_list()
    [0.75, 1.0, 0.5, 0.5]
    """
    grid = grid_of(predictions)
    if not grid.binary.any():
        return _quality_of_classes(grid)
    confusion = _confusion(grid)
    counts = _counts(confusion.sum(axis=1))
    macro, undefined = _macro(confusion)
    tp, fp, tn, fn = counts.to_numpy().T
    flags = _flags(
        {
            "constant prediction: False": tp + fp == 0,
            "constant prediction: True": tn + fn == 0,
            "no positive labels": tp + fn == 0,
            "no negative labels": tn + fp == 0,
            "macro means leave out findings where they are not defined": undefined,
        }
    )
    parts = [grid.records, grid.sizes(), _rates(counts), macro, _best_trivial(grid), counts]
    return pd.concat(parts, axis=1).assign(flags=flags)


def quality_by_decision(predictions: Predictions) -> pd.DataFrame:
    """The measures of :func:`quality` for each finding alone: one row per record and decision."""
    grid = grid_of(predictions)
    confusion = _confusion(grid)
    record, finding = np.nonzero(confusion.sum(axis=2))
    names = np.unique(grid.cases["decision"])
    rows = grid.records.iloc[record].reset_index(drop=True).assign(decision=names[finding])
    counts = _counts(confusion[record, finding])
    return pd.concat([rows, _rates(counts), counts], axis=1)


def _confusion(grid: Grid) -> Ints:
    """[R, D, 4], counts of tn, fp, fn, tp for each finding."""
    if not grid.binary.all():
        run = grid.records["run"].iloc[int(np.argmin(grid.binary))]
        raise RecordError(
            f"run {run} has more classes than False and True, and other runs, or the measures of "
            "one finding, have these two: measure it by itself"
        )
    counts = grid.tally(2 * grid.label + grid.prediction)
    return np.pad(counts, [(0, 0), (0, 0), (0, 4 - counts.shape[2])])


def _counts(confusion: Ints) -> pd.DataFrame:
    return pd.DataFrame(confusion, columns=["tn", "fp", "fn", "tp"])[["tp", "fp", "tn", "fn"]]


def _rates(counts: pd.DataFrame) -> pd.DataFrame:
    tp, fp, tn, fn = counts.to_numpy(dtype=np.float64).T
    n = tp + fp + tn + fn
    recall, specificity = _ratio(tp, tp + fn), _ratio(tn, tn + fp)
    spread = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return pd.DataFrame(
        {
            "accuracy": _ratio(tp + tn, n),
            "balanced_accuracy": (recall + specificity) / 2,
            "precision": _ratio(tp, tp + fp),
            "recall": recall,
            "f1": _ratio(2 * tp, 2 * tp + fp + fn),
            "specificity": specificity,
            "informedness": recall + specificity - 1,
            "mcc": _measure(_quotient(tp * tn - fp * fn, spread)),
            "positive_share": _ratio(tp + fp, n),
            "label_positive_share": _ratio(tp + fn, n),
        }
    )


def _macro(confusion: Ints) -> tuple[pd.DataFrame, Bools]:
    """R rows of means over findings; and where some finding had to be left out."""
    record, finding = np.nonzero(confusion.sum(axis=2))
    names = ["precision", "recall", "f1"]
    rates = _rates(_counts(confusion[record, finding]))[names]
    means = rates.groupby(record).mean().add_prefix("macro_")
    several = np.bincount(record) > 1
    undefined = rates.isna().any(axis=1).groupby(record).any().to_numpy()
    return means, undefined & several


def _quality_of_classes(grid: Grid) -> pd.DataFrame:
    """The columns of :func:`quality` for decisions between more than two classes."""
    rows = [
        _rates_of_classes(label[here], answer[here])
        for label, answer, here in zip(grid.label, grid.prediction, grid.present, strict=True)
    ]
    found = pd.DataFrame(rows)
    rates = found.drop(columns="flags").astype("Float64")
    none = dict.fromkeys(("precision", "recall", "f1", "specificity", "informedness"), pd.NA)
    shares = dict.fromkeys(("positive_share", "label_positive_share"), pd.NA)
    counts = dict.fromkeys(("tp", "fp", "tn", "fn"), pd.NA)
    missing = pd.DataFrame({**none, **shares}, index=rates.index).astype("Float64")
    missing = missing.join(pd.DataFrame(counts, index=rates.index).astype("Int64"))
    parts = [grid.records, grid.sizes(), rates, missing, _best_trivial(grid)]
    return pd.concat(parts, axis=1).assign(flags=found["flags"])


def _rates_of_classes(label: Ints, answer: Ints) -> dict[str, Any]:
    """Of one record: macro means over the classes where each is defined, and R_K.

    Source of R_K: Gorodkin 2004, "Comparing two K-category assignments by a K-category correlation
    coefficient". 0/0 counts as 0, as for two classes.
    """
    size = int(max(label.max(), answer.max())) + 1
    right, given, true = (
        np.bincount(values, minlength=size) for values in (label[label == answer], answer, label)
    )
    recall, precision = _ratio(right, true), _ratio(right, given)
    f1 = _ratio(2 * right, true + given)
    n = len(label)
    covered = right.sum() * n - (true * given).sum()
    spread = np.sqrt(float(n**2 - (given**2).sum()) * float(n**2 - (true**2).sum()))
    constant = int((given > 0).sum()) == 1
    return {
        "accuracy": right.sum() / n,
        "balanced_accuracy": recall.mean(),
        "mcc": covered / spread if spread else 0.0,
        "macro_precision": precision.mean(),
        "macro_recall": recall.mean(),
        "macro_f1": f1.mean(),
        "flags": f"constant prediction: class {given.argmax()}" if constant else "",
    }


# -- trivial rules: what needs no input -----------------------------------------------------------
def trivial(labels: pd.DataFrame) -> pd.DataFrame:
    """Rules that look at no input, best first.

    labels: one row per decision with columns decision and label, e.g. the predictions of one
    record. The rules are each constant answer and, with several findings, the most frequent value
    of each finding. All are chosen on the very labels they are scored on, which favours them: a
    model has to beat the best that no input can do.

    Returns rule, right, decisions, accuracy, low, high (exact 95 % interval, Clopper and Pearson;
    with several findings it is too narrow, since the findings of one item belong together).

    >>> trivial(pd.DataFrame({"decision": "label", "label": [1] * 535 + [0] * 477}))[
    ...     ["rule", "accuracy"]].round(6).values.tolist()
    [['always True', 0.528656], ['always False', 0.471344]]
    """
    missing = [column for column in ("decision", "label") if column not in labels.columns]
    if missing or labels.empty:
        what = f"no column {missing[0]!r}" if missing else "no rows"
        raise RecordError(f"labels for trivial rules have {what}: give decision and label")
    counts = pd.crosstab(labels["decision"], labels["label"])
    counts = counts.reindex(columns=range(max(2, int(labels["label"].max()) + 1)), fill_value=0)
    given = counts.sum().tolist()
    right = {_always(k, len(given)): hits for k, hits in enumerate(given)}
    if len(counts) > 1:
        right[_EACH] = int(counts.max(axis=1).sum())
    rows = [
        (rule, hits, len(labels), hits / len(labels), *proportion_interval(hits, len(labels))[:2])
        for rule, hits in right.items()
    ]
    names = ["rule", "right", "decisions", "accuracy", "low", "high"]
    table = pd.DataFrame(rows, columns=names)
    return table.sort_values("accuracy", ascending=False, kind="stable", ignore_index=True)


_EACH = "most frequent value of each finding"


def _always(answer: int, classes: int) -> str:
    return f"always {bool(answer)}" if classes == 2 else f"always class {answer}"


def _best_trivial(grid: Grid) -> pd.DataFrame:
    """R rows: the best trivial rule of each record's labels, and its accuracy."""
    counts = grid.tally(grid.label)
    counts = np.pad(counts, [(0, 0), (0, 0), (0, max(0, 2 - counts.shape[2]))])
    right = counts.max(axis=2).sum(axis=1)
    constant = counts.sum(axis=1)
    answers, classes = constant.argmax(axis=1), counts.shape[2]
    rules = [
        _always(answer, classes) if best == alone else _EACH
        for answer, best, alone in zip(answers, right, constant.max(axis=1), strict=True)
    ]
    return pd.DataFrame(
        {
            "trivial_rule": rules,
            "trivial_accuracy": _ratio(right, constant.sum(axis=1)),
            "trivial_balanced_accuracy": _trivial_balance(counts),
            "trivial_macro_f1": _trivial_f1(counts),
        }
    )


def _trivial_balance(counts: Ints) -> pd.Series[float]:
    """R values: the best balanced accuracy without input; counts: [R, D, K], labels by finding.

    It pools all findings: an answer is worth its share of all labels of its class, and the best
    rule gives each finding the answer that is worth most.
    """
    total = counts.sum(axis=1)
    held = _count(total > 0)
    worth = _quotient(counts, np.broadcast_to(total[:, None], counts.shape))
    best = worth.max(axis=2).sum(axis=1)
    # With two classes it is not defined where one is missing, as for a model.
    return _measure(_quotient(best, held), held >= (2 if counts.shape[2] == 2 else 1))


def _trivial_f1(counts: Ints) -> pd.Series[float]:
    """R values: the best macro F1 without input; counts: [R, D, K], labels by finding.

    An answer that is always given, and right in a share p, has an F1 of 2p / (1 + p). Of two
    classes F1 is that of True, and the mean is over findings; of more it is over the classes.
    """
    n = counts.sum(axis=2)
    if counts.shape[2] == 2:
        true = counts[..., 1]
        return _ratio(_quotient(2 * true, n + true).sum(axis=1), _count(true > 0))
    most = counts.sum(axis=1).max(axis=1)
    return _ratio(_quotient(2 * most, n.sum(axis=1) + most), _count(counts.sum(axis=1) > 0))


def beats_trivial(predictions: Predictions, *, alpha: float = 0.05) -> pd.DataFrame:
    """Does each record beat the best trivial rule? The gate before anything else is claimed.

    Model and rule answer the same items, so they are paired: an item is won when the model has
    more of its decisions right than the rule has, and lost when it has fewer. p is the exact
    one-sided sign test of wins against losses; with one decision per item this is McNemar's exact
    test. An item counts once however many findings it has, for they belong together. The gate
    opens (`beats`) where p < alpha and the accuracy is the higher one.

    Returns run, level, branch, stage, accuracy, trivial_rule, trivial_accuracy, wins, losses, p,
    beats, flags. Raises RecordError as :func:`check_predictions` does.
    """
    grid = grid_of(predictions)
    common = grid.tally(grid.label).argmax(axis=2)
    rule_right = grid.per_item(common[:, grid.finding[0]] == grid.label)
    model_right = grid.per_item(grid.prediction == grid.label)
    wins, losses = _count(model_right > rule_right), _count(model_right < rule_right)
    p = stats.binom.sf(wins - 1, wins + losses, 0.5)
    accuracy = _ratio(model_right.sum(axis=1), _count(grid.present))
    best = _best_trivial(grid)[["trivial_rule", "trivial_accuracy"]]
    beats = (p < alpha) & (accuracy > best["trivial_accuracy"]).to_numpy(dtype=bool)
    flags = _flags({"answers exactly like the trivial rule": wins + losses == 0})
    table = pd.concat([grid.records, accuracy.rename("accuracy"), best], axis=1)
    return table.assign(wins=wins, losses=losses, p=p, beats=beats, flags=flags)


# -- agreement: against the dense model -----------------------------------------------------------
def agreements(predictions: Predictions) -> pd.DataFrame:
    """How each record's answers agree with those of the dense model of the same run.

    Each decision falls into one of five cells, as dense (d) and pruned model (m) are right or not:
        a  both right                  b  only dense right: negative flip
        c  only pruned right: positive flip
        e  both wrong, same answer     g  both wrong, different answers (0 with two classes)
    From their shares, with the formula numbers of the first source:
        fidelity F = a + e (3); invariability (6) is the same number
        faithful_accuracy A_f = a / F, over faithful decisions (4)
        unfaithful_accuracy_dense U_d = b / (1 - F), _pruned U_m = c / (1 - F), over the others (5)
        confidence C = A_f / A_m (7), with A_m = a + c the pruned model's accuracy
        churn = 1 - F; unnecessary_churn = 1 - F - |A_m - A_d| (Milani Fard et al. 2016)
        negative_flips = b, positive_flips = c, flips = b + c (Dutta et al. 2024)
        kappa = (F - Pe) / (1 - Pe), Pe = sum over classes of p q (Cohen 1960); 0/0 counts as 0
        kappa_low, kappa_high: what F alone allows, two classes (see :func:`kappa_bounds`)
        mcc: Matthews correlation of d and m, for any number of classes (Gorodkin 2004); 0/0 is 0
    n_a ... n_g are counts; McNemar's test needs n_b and n_c. trivial_fidelity is the fidelity of
    the best constant answer (per finding): a model that looks at nothing gets as much. Decisions of
    several findings are pooled.

    Returns one row per record other than dense itself, whose agreement with itself says nothing.
    Raises RecordError as :func:`check_predictions` does, and for a run without its dense record.
    """
    grid = grid_of(predictions)
    dense = grid.dense()
    table = pd.concat([grid.records, grid.sizes(), _compare(grid, grid.prediction[dense])], axis=1)
    pruned = np.flatnonzero(dense != np.arange(len(dense)))
    return table.iloc[pruned].reset_index(drop=True)


def agreement(dense: pd.DataFrame, pruned: pd.DataFrame) -> pd.Series[Any]:
    """The measures of :func:`agreements` between any two records with the same items.

    dense, pruned: item, decision, label, prediction of one record each; the names of their runs
    and levels do not matter, so that two seeds or two levels can be compared as well.

    Eight captions, four of them true. Both are right on three (a), each alone on two (b, c), and
    one gets the same wrong answer (e); each says True five times, so Pe = (25 + 9) / 64:

    >>> case = {"item": list("stuvwxyz"), "decision": "label", "label": [1, 1, 1, 1, 0, 0, 0, 0]}
    >>> dense = pd.DataFrame(case | {"prediction": [1, 1, 1, 0, 0, 0, 1, 1]})
    >>> pruned = pd.DataFrame(case | {"prediction": [1, 1, 0, 1, 0, 1, 1, 0]})
    >>> both = agreement(dense, pruned)
    >>> for name in ("a", "b", "c", "e", "fidelity", "faithful_accuracy", "confidence", "kappa"):
    ...     print(f"{name}: {both[name]:.4g}")
    a: 0.375
    b: 0.25
    c: 0.25
    e: 0.125
    fidelity: 0.5
    faithful_accuracy: 0.75
    confidence: 1.2
    kappa: -0.06667
    """
    rows = [(dense, DENSE_LEVEL), (pruned, DENSE_LEVEL + 1)]
    named = [frame.assign(run="pair", level=i, branch="main", stage="trained") for frame, i in rows]
    row: pd.Series[Any] = agreements(pd.concat(named, ignore_index=True)).iloc[0]
    return row.drop(RECORD)


def _compare(grid: Grid, dense: Ints) -> pd.DataFrame:
    """All measures of agreement; dense: [R, C], the dense answers beside each record's own."""
    n = _count(grid.present)
    right_d = (dense == grid.label) & grid.present
    right_m = (grid.prediction == grid.label) & grid.present
    same = (dense == grid.prediction) & grid.present
    changed = ~same & grid.present
    wrong = grid.present & ~right_d & ~right_m
    cells = {
        "a": _count(right_d & right_m),
        "b": _count(right_d & ~right_m),
        "c": _count(right_m & ~right_d),
        "e": _count(wrong & same),
        "g": _count(wrong & changed),
    }
    # Every measure is counted by itself, not taken from the cells, so that check_identities tests
    # one against the other.
    accuracy_dense, accuracy_pruned = _ratio(_count(right_d), n), _ratio(_count(right_m), n)
    fidelity = _ratio(_count(same), n)
    faithful = _ratio(_count(same & right_m), _count(same))
    flips_down, flips_up = _ratio(cells["b"], n), _ratio(cells["c"], n)
    measures = {
        "accuracy_dense": accuracy_dense,
        "accuracy_pruned": accuracy_pruned,
        "fidelity": fidelity,
        "invariability": fidelity,
        "faithful_accuracy": faithful,
        "unfaithful_accuracy_dense": _ratio(_count(changed & right_d), _count(changed)),
        "unfaithful_accuracy_pruned": _ratio(_count(changed & right_m), _count(changed)),
        "confidence": faithful / accuracy_pruned.mask(accuracy_pruned == 0),
        **{name: _ratio(count, n) for name, count in cells.items()},
        "churn": _ratio(_count(changed), n),
        "unnecessary_churn": _ratio(_count(changed) - abs(cells["c"] - cells["b"]), n),
        "negative_flips": flips_down,
        "positive_flips": flips_up,
        "flips": flips_down + flips_up,
    }
    chance, degenerate = _beyond_chance(grid, dense, _count(same))
    counts = {f"n_{name}": count for name, count in cells.items()}
    flags = _flags(
        {
            "no unfaithful decision": _count(changed) == 0,
            "no faithful decision": _count(same) == 0,
            "pruned model is never right": _count(right_m) == 0,
            **degenerate,
        }
    )
    return pd.concat([pd.DataFrame(measures), chance, pd.DataFrame(counts)], axis=1).assign(
        flags=flags
    )


def _beyond_chance(grid: Grid, dense: Ints, same: Ints) -> tuple[pd.DataFrame, dict[str, Bools]]:
    """Kappa and its kin, from how often each model gives each class; and what is degenerate."""
    classes = max(2, int(max(dense.max(), grid.prediction.max())) + 1)

    def given(answers: Ints) -> Floats:
        per_finding = grid.tally(answers)
        short = classes - per_finding.shape[2]
        return np.pad(per_finding, [(0, 0), (0, 0), (0, short)]).astype(np.float64)

    d_finding, m_finding = given(dense), given(grid.prediction)
    d, m = d_finding.sum(axis=1), m_finding.sum(axis=1)
    n = d.sum(axis=1)
    expected, observed = (d * m).sum(axis=1), n * same
    spread = np.sqrt((n**2 - (d**2).sum(axis=1)) * (n**2 - (m**2).sum(axis=1)))
    low, high = kappa_bounds(same / n)
    table = pd.DataFrame(
        {
            "kappa": _measure(_quotient(observed - expected, n**2 - expected)),
            "kappa_low": _measure(low, grid.binary),
            "kappa_high": _measure(high, grid.binary),
            "mcc": _measure(_quotient(observed - expected, spread)),
            "trivial_fidelity": _ratio(d_finding.max(axis=2).sum(axis=1), n),
            "positive_share_dense": _measure(d[:, 1] / n, grid.binary),
            "positive_share_pruned": _measure(m[:, 1] / n, grid.binary),
        }
    )
    degenerate = {
        "dense model is constant": d.max(axis=1) == n,
        "pruned model is constant": m.max(axis=1) == n,
        "degenerate: kappa is 0/0, counted as 0": n**2 == expected,
    }
    return table, degenerate


def kappa_bounds(fidelity: Floats) -> tuple[Floats, Floats]:
    """The least and the largest kappa that two models with two classes can have, given fidelity F.

    -(1 - F) / (1 + F) <= kappa <= F^2 / (F^2 + 2 (1 - F)), reached by like and by unlike shares of
    True answers. At F = 0.9 kappa may lie anywhere from -0.05 to 0.80: F alone says little.
    """
    f = np.asarray(fidelity, dtype=np.float64)
    return -(1 - f) / (1 + f), f**2 / (f**2 + 2 * (1 - f))


def kappa_range(p: float, q: float) -> tuple[float, float]:
    """The least and the largest kappa of two models that say True with shares p and q.

    Fidelity lies in |p + q - 1| <= F <= 1 - |p - q|, and kappa grows with it. Two models that
    always agree by being constant have 0/0, counted as 0.
    """
    by_chance = p * q + (1 - p) * (1 - q)
    if by_chance == 1:
        return 0.0, 0.0
    low, high = abs(p + q - 1), 1 - abs(p - q)
    return (low - by_chance) / (1 - by_chance), (high - by_chance) / (1 - by_chance)


def fidelity_matrix(
    predictions: Predictions, *, branch: str = "main", stage: str = "trained"
) -> pd.DataFrame:
    """Share of equal answers between every two records, over levels and seeds.

    Takes the records of one branch and stage, and the dense ones. Returns the long form, with both
    orders of each pair: run_a, level_a, run_b, level_b, fidelity; :func:`square` spreads it out.
    Raises RecordError as :func:`check_predictions` does, and if runs differ in items or labels.
    """
    grid = grid_at(
        predictions,
        lambda at: _at(at, stage) & ((at["branch"] == branch) | (at["level"] == DENSE_LEVEL)),
    )
    if not grid.whole or (grid.label != grid.label[0]).any():
        raise RecordError(
            "fidelity matrix: the runs have different items or labels; "
            "choose runs of one task and one data seed"
        )
    answers = grid.prediction.astype(np.min_scalar_type(int(grid.prediction.max())))
    same = np.stack([_count(answers == row) for row in answers]) / answers.shape[1]
    i, j = (index.ravel() for index in np.indices(same.shape))
    run, level = (grid.records[name].array for name in ("run", "level"))
    pairs = {"run_a": run[i], "level_a": level[i], "run_b": run[j], "level_b": level[j]}
    return pd.DataFrame({**pairs, "fidelity": same.ravel()})


def square(matrix: pd.DataFrame) -> pd.DataFrame:
    """A fidelity matrix as a square: rows and columns are (run, level)."""
    wide = matrix.pivot_table("fidelity", ["run_a", "level_a"], ["run_b", "level_b"])
    return wide.rename_axis(index=["run", "level"], columns=["run", "level"])


def seed_floor(matrix: pd.DataFrame) -> float | None:
    """Mean fidelity between dense models of different seeds; None with one seed.

    What training alone changes, with no pruning at all: fidelity to the dense model of the same
    seed has a meaning only beside it.
    """
    dense = (matrix["level_a"] == DENSE_LEVEL) & (matrix["level_b"] == DENSE_LEVEL)
    pairs = matrix.loc[dense & (matrix["run_a"] != matrix["run_b"]), "fidelity"]
    return float(pairs.mean()) if len(pairs) else None


# -- identities: what must hold between the measures ----------------------------------------------
def check_identities(predictions: pd.DataFrame) -> None:
    """Assert that the measures of every record fit together, to 1e-12.

    Raises RecordError that names run, level and the first identity that does not hold, which means
    that a measure, or the code that makes it, is wrong.
    """
    require_identities(agreements(predictions))


def require_identities(table: pd.DataFrame) -> None:
    """:func:`check_identities` for a frame of :func:`agreements`."""
    errors = identity_errors(table)
    off = (errors > TOLERANCE) | errors.isna()
    if off.to_numpy().any():
        row = int(np.argmax(off.any(axis=1)))
        identity = str(off.columns[int(np.argmax(off.iloc[row]))])
        raise RecordError(
            f"{_name(table, row)}: identity {identity} is off by {errors.iloc[row][identity]:.3g}: "
            "a measure is wrong; do not publish this record"
        )


def identity_errors(table: pd.DataFrame) -> pd.DataFrame:
    """How far each record is from each identity between its measures; 0 where one says nothing.

    table: a frame of :func:`agreements`. Five identities link accuracies A_d and A_m, fidelity F,
    faithful accuracy A_f, unfaithful accuracies U_d and U_m, confidence C and the cells. With two
    classes g = 0, and (A_d, A_m, F) determine all the rest; with more, weaker forms hold. Products
    stand in place of ratios, so that rounding does not grow where F or 1 - F is small.

    Returns one column per identity, in the order of `table`.
    """
    number = {
        name: table[name].to_numpy(dtype=np.float64, na_value=0.0) for name in _IDENTITY_INPUT
    }
    d, m, f = (number[name] for name in ("accuracy_dense", "accuracy_pruned", "fidelity"))
    a_f, u_d, u_m = (
        number[f"{name}"]
        for name in ("faithful_accuracy", "unfaithful_accuracy_dense", "unfaithful_accuracy_pruned")
    )
    a, b, c, e, g = (number[name] for name in CELLS)
    confidence = number["confidence"]
    errors = {
        "0 (a + b + c + e + g = 1)": a + b + c + e + g - 1,
        "0 (A_d = a + b)": a + b - d,
        "0 (A_m = a + c)": a + c - m,
        "0 (F = a + e)": a + e - f,
        "0 (invariability = F)": number["invariability"] - f,
        "1 ((1-F)(U_d + U_m) = 1 - F - g)": (1 - f) * (u_d + u_m) - (1 - f - g),
        "2 (A_d = F A_f + (1-F) U_d)": f * a_f + (1 - f) * u_d - d,
        "2 (A_m = F A_f + (1-F) U_m)": f * a_f + (1 - f) * u_m - m,
        "4 (C A_m = A_f)": np.where(m > 0, confidence * m - a_f, 0),
        "5 (A_d + A_m - 1 <= F)": np.maximum(d + m - 1 - f, 0),
        "5 (F <= 1 - |A_d - A_m|)": np.maximum(f - 1 + abs(d - m), 0),
    }
    p, q = number["positive_share_dense"], number["positive_share_pruned"]
    two_classes = {
        "1 (g = 0)": g,
        "3 (2a = A_d + A_m - 1 + F)": 2 * a - (d + m - 1 + f),
        "3 (2b = 1 - F + A_d - A_m)": 2 * b - (1 - f + d - m),
        "3 (2c = 1 - F - A_d + A_m)": 2 * c - (1 - f - d + m),
        "3 (2e = 1 + F - A_d - A_m)": 2 * e - (1 + f - d - m),
        "4 (2 F A_f = A_d + A_m - 1 + F)": 2 * f * a_f - (d + m - 1 + f),
        "4 (2 (1-F) U_d = 1 - F + A_d - A_m)": 2 * (1 - f) * u_d - (1 - f + d - m),
        "4 (2 F A_m C = A_d + A_m - 1 + F)": np.where(
            m > 0, 2 * f * m * confidence - (d + m - 1 + f), 0
        ),
        "5 (1 - A_d - A_m <= F)": np.maximum(1 - d - m - f, 0),
        "5 (|p + q - 1| <= F)": np.maximum(abs(p + q - 1) - f, 0),
        "5 (F <= 1 - |p - q|)": np.maximum(f - 1 + abs(p - q), 0),
    }
    binary = table["kappa_low"].notna().to_numpy()
    errors |= {name: np.where(binary, error, 0) for name, error in two_classes.items()}
    return pd.DataFrame({name: abs(error) for name, error in errors.items()}, index=table.index)


_IDENTITY_INPUT = [
    *("accuracy_dense", "accuracy_pruned", "fidelity", "invariability", "faithful_accuracy"),
    *("unfaithful_accuracy_dense", "unfaithful_accuracy_pruned", "confidence", *CELLS),
    *("positive_share_dense", "positive_share_pruned"),
]


# -- which rows, and how sparse they are ----------------------------------------------------------
def at_stage(frame: pd.DataFrame, stage: str) -> pd.DataFrame:
    """The rows of one stage, and the dense ones, which have no other stage than trained."""
    rows: pd.DataFrame = frame.loc[_at(frame, stage)]
    return rows


def _at(frame: pd.DataFrame, stage: str) -> pd.Series[bool]:
    if stage not in STAGE_ORDER:
        raise RecordError(unknown("stage", stage, STAGE_ORDER))
    return (frame["stage"] == stage) | (frame["level"] == DENSE_LEVEL)


def grid_of_tickets(predictions: Predictions, stage: str) -> Grid:
    """The grid of dense models and of tickets at one stage, without controls."""
    return grid_at(predictions, lambda records: _at(records, stage) & (records["branch"] == "main"))


def grid_at(predictions: Predictions, chosen: Callable[[pd.DataFrame], pd.Series[bool]]) -> Grid:
    """The grid of some records alone, chosen by a frame's columns run, level, branch, stage."""
    if not isinstance(predictions, Grid):
        return grid_of(predictions[chosen(predictions)])
    held = chosen(predictions.records).to_numpy(dtype=bool)
    if not held.any():
        raise RecordError("predictions are empty: choose a run that has some")
    return predictions.where(held)


def describe(
    measures: pd.DataFrame, levels: pd.DataFrame, runs: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Put beside each measure how sparse its record is, and whose run it is.

    measures: a frame with run, level, branch, stage; levels: the records' table of that name, from
    which sparsity (share of prunable weights that are zero) and sparsity_all (of all weights) are
    taken; runs: one row per run with column run and what tells studies apart (model, task, seed).

    Raises RecordError if a record or a run is not described, or twice.
    """
    facts = levels[FACTS]
    joined = _join(measures, facts, RECORD, "levels")
    return joined if runs is None else describe_runs(joined, runs)


def describe_runs(frame: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The latter half of :func:`describe`: whose run each row's is."""
    return _join(frame, runs, ["run"], "runs")


def _join(left: pd.DataFrame, right: pd.DataFrame, on: list[str], name: str) -> pd.DataFrame:
    """A left merge, each of whose rows must find one; without pandas' cost for small frames."""
    ours, theirs = (list(zip(*(f[c].tolist() for c in on), strict=True)) for f in (left, right))
    place = {key: row for row, key in enumerate(theirs)}
    if len(place) < len(theirs):
        twice = next(key for key in theirs if theirs.count(key) > 1)
        raise RecordError(f"{name} describe {_told(on, twice)} twice: give each once")
    lacking = next((key for key in ours if key not in place), None)
    if lacking is not None:
        where = _told(on, lacking)
        raise RecordError(f"{name} do not describe {where}: read them from the same runs")
    found = right.drop(columns=on).take([place[key] for key in ours])
    return pd.concat([left.reset_index(drop=True), found.reset_index(drop=True)], axis=1)


def _told(columns: list[str], key: tuple[Any, ...]) -> str:
    return ", ".join(f"{column} {value}" for column, value in zip(columns, key, strict=True))
