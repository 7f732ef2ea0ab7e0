"""What the rows of a table are checked for; :func:`lthlib.report.audit.audit_table` runs them all.

A check takes the table and yields outcomes: where it applies, where it fails, and why, in words.
Every check works on all rows at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lthlib.report.audit.detectors import (
    EITHER,
    NOT_CONSTANT,
    constant_runs,
    describe_constant,
)
from lthlib.report.audit.granularity import MOST_DECISIONS, mean_of_counts
from lthlib.report.audit.identities import (
    FLOATS,
    Product,
    agreement_excess,
    cells_from,
    kappa_limits,
    product,
)
from lthlib.report.audit.printed import Printed, Range
from lthlib.report.measures import Bools, Floats, Ints

IMPOSSIBLE, CONSTANT = "impossible", "constant answer"
# What a check takes for granted where nobody said, and what says it.
TWO_ANSWERS = "there are two answers"
OF_TRUE_ANSWER = "precision, recall and F1 are those of True answers, not averages over classes"
SAME_ITEMS = "every run answers the same items"
OF_MEANS = "numbers of several runs are means, not medians"
ASSUMPTIONS = {
    TWO_ANSWERS: "--classes with their number",
    OF_TRUE_ANSWER: "--average binary or classes",
    SAME_ITEMS: "--test-set same or folds",
    OF_MEANS: "--runs with their number, if they are means",
}
# Counts are compared as counts: a gap this small is the last bits of a float.
COUNT_FLOATS = 1e-6

# What each share is a share of: all items, the true ones, the false ones, or some of them.
OF_ITEMS, OF_TRUE, OF_FALSE, OF_SOME = "items", "true items", "false items", "some items"
_GROUPS = {
    OF_ITEMS: (
        *("accuracy", "accuracy_dense", "accuracy_pruned", "fidelity", "invariability", "churn"),
        *("unnecessary_churn", "flips", "negative_flips", "positive_flips", *"abceg"),
        *("positive_share", "positive_share_dense", "positive_share_pruned"),
    ),
    OF_TRUE: ("recall",),
    OF_FALSE: ("specificity",),
    OF_SOME: (
        *("precision", "f1", "faithful_accuracy", "unfaithful_accuracy"),
        *("unfaithful_accuracy_dense", "unfaithful_accuracy_pruned"),
    ),
}
SHARES = {name: group for group, names in _GROUPS.items() for name in names}
COUNTS = ("tp", "fp", "tn", "fn")
NUMBERS = ("kappa",)
TWO_CLASSES_ONLY = {"recall", "specificity", "precision", "f1", "positive_share", *COUNTS}


@dataclass(frozen=True)
class Audited:
    """A table as the checks see it: printed columns, and what each row rests on.

    items, positives, runs: [R], 0 where not known. told: the ASSUMPTIONS that are known to hold.
    """

    columns: Mapping[str, Printed]
    items: Ints
    positives: Ints
    runs: Ints
    classes: int
    told: frozenset[str]

    def has(self, *names: str) -> bool:
        return all(name in self.columns for name in names)

    def __getitem__(self, name: str) -> Range:
        printed = self.columns[name]
        if name not in COUNTS:
            return printed.range()
        # A count of one run was counted and not rounded.
        exact, ends = (self.runs == 1) & (printed.decimals == 0), printed.range()
        return Range(*(np.where(exact, printed.value, end) for end in (ends.low, ends.high)))

    def value(self, name: str) -> Floats:
        return self.columns[name].value

    @property
    def pruned(self) -> str:
        """The name of the column with the pruned model's accuracy."""
        return "accuracy_pruned" if self.has("accuracy_pruned") else "accuracy"

    def size_of(self, group: str) -> Ints:
        """[R], how many items a share of this group is a share of; 0 where not known."""
        known = (self.items > 0) & (self.positives > 0)
        sizes = {
            OF_ITEMS: self.items,
            OF_TRUE: self.positives,
            OF_FALSE: np.where(known, self.items - self.positives, 0),
        }
        return sizes.get(group, np.zeros_like(self.items))


@dataclass(frozen=True)
class Outcome:
    """What one check says of every row: where it applies, where it fails, and why.

    text: a format string; numbers: [R] of each name in it; assumes: what it takes for granted.
    """

    check: str
    applies: Bools
    fails: Bools
    text: str
    numbers: Mapping[str, Any] = field(default_factory=dict)
    verdict: str = IMPOSSIBLE
    assumes: tuple[str, ...] = ()

    def why(self, row: int) -> str:
        text = self.text.format(**{name: values[row] for name, values in self.numbers.items()})
        return f"{text} (if {' and '.join(self.assumes)})" if self.assumes else text


Check = Callable[[Audited], Iterator[Outcome]]


def in_range(table: Audited) -> Iterator[Outcome]:
    """A share lies between 0 and 1, kappa between -1 and 1, and a deviation within its share."""
    limits = {
        **dict.fromkeys(SHARES, Range.exactly(0.0).to(1.0)),
        "kappa": Range.exactly(-1.0).to(1.0),
    }
    for name, limit in limits.items():
        if table.has(name):
            yield _within(table, name, limit, "range")
    for name in SHARES:
        if table.has(name, f"sd_{name}"):
            yield _deviation(table, name)


def _within(table: Audited, name: str, limits: Range, check: str) -> Outcome:
    gap = table[name].apart(limits)
    ends = {"low": limits.low, "high": limits.high}
    return Outcome(
        check,
        ~np.isnan(gap),
        gap > FLOATS,
        _words(name) + " {value:.6g} lies outside [{low:.4g}, {high:.4g}]",
        {"value": table.value(name), **{k: np.broadcast_to(v, gap.shape) for k, v in ends.items()}},
    )


def _deviation(table: Audited, name: str) -> Outcome:
    """n shares with mean m have a variance of at most m (1 - m) n / (n - 1)."""
    mean, sd, n = table[name], table[f"sd_{name}"], table.runs
    middle = np.clip(0.5, mean.low, mean.high)
    most = np.sqrt(np.clip(middle * (1 - middle), 0, None) * n / np.maximum(n - 1, 1))
    return Outcome(
        "range",
        mean.known() & sd.known() & (n > 1),
        sd.low - most > FLOATS,
        f"the standard deviation of {_words(name)} exceeds {{most:.4g}}, which its mean allows",
        {"most": most},
    )


def granularity(table: Audited) -> Iterator[Outcome]:
    """A mean of n counts over N items is a multiple of 1 / (N n)."""
    for name, group in SHARES.items():
        if not table.has(name):
            continue
        of, printed = table.size_of(group), table.columns[name]
        decisions = of * table.runs
        applies = printed.present & (decisions > 0) & (decisions <= MOST_DECISIONS)
        assumes = (SAME_ITEMS,) if group == OF_ITEMS else (SAME_ITEMS, OF_TRUE_ANSWER)
        yield Outcome(
            "granularity",
            applies,
            ~mean_of_counts(printed, np.where(applies, decisions, 1), 1),
            f"{_words(name)} {{value:.9g}} is no mean of {{runs}} over {{of:,}} {group}",
            {"value": printed.value, "runs": [_counts(n) for n in table.runs], "of": of},
            assumes=_needed(assumes, table),
        )


def _needed(assumes: tuple[str, ...], table: Audited) -> tuple[str, ...]:
    """One run answers one set of items, whatever there is of others."""
    return tuple(a for a in assumes if a != SAME_ITEMS or (table.runs > 1).any())


def fidelity_bounds(table: Audited) -> Iterator[Outcome]:
    """Two accuracies, or two shares of True answers, bound the fidelity between the models."""
    sides = [("accuracy_dense", table.pruned), ("positive_share_dense", "positive_share_pruned")]
    for one, other in sides if table.classes == 2 else sides[:1]:
        if not table.has(one, other, "fidelity"):
            continue
        excess = agreement_excess(table[one], table[other], table["fidelity"], table.classes)
        yield Outcome(
            "fidelity bounds",
            ~np.isnan(excess),
            excess > 0,
            "fidelity {value:.6g} misses by {excess:.4f} what "
            f"{_words(one)} and {_words(other)} allow",
            {"value": table.value("fidelity"), "excess": excess},
            assumes=(TWO_ANSWERS,) if table.classes == 2 else (),
        )


def identities(table: Audited) -> Iterator[Outcome]:
    """Ratios times what they are shares of must give the cells, up to a covariance over runs."""
    if table.classes > 2 or not table.has("accuracy_dense", table.pruned, "fidelity"):
        return
    cells = cells_from(table["accuracy_dense"], table[table.pruned], table["fidelity"])
    for name, cell in cells.items():
        yield Outcome(
            "identities",
            cell.known(),
            cell.apart(Range.exactly(0.0).to(1.0)) > FLOATS,
            f"cell {name} would be {{cell:.4f}}",
            {"cell": cell.middle},
            assumes=(TWO_ANSWERS,),
        )
        if table.has(name):
            yield replace(_same(table, name, cell), assumes=(TWO_ANSWERS,))
    fidelity = table.columns["fidelity"]
    churn = _complement(fidelity)
    ratios = {
        "faithful_accuracy": (fidelity, ["a"]),
        "unfaithful_accuracy_dense": (churn, ["b"]),
        "unfaithful_accuracy_pruned": (churn, ["c"]),
        "unfaithful_accuracy": (churn, ["b", "c"]),
    }
    for name, (weight, whose) in ratios.items():
        if table.has(name):
            yield _ratio(table, name, weight, [cells[cell] for cell in whose])


def _complement(shares: Printed) -> Printed:
    return Printed(10**shares.decimals - shares.mantissa, shares.decimals, shares.present)


def _ratio(table: Audited, name: str, weight: Printed, cells: list[Range]) -> Outcome:
    """An accuracy on some decisions; where it does not say whose it is, one reading must do."""
    sds = [table.columns.get(f"sd_{part}") for part in ("fidelity", name)]
    runs = np.where(table.runs > 0, table.runs, np.inf)
    readings: list[Product] = [
        product(weight, table.columns[name], cell, runs, *sds) for cell in cells
    ]
    excess = np.minimum.reduce([reading.excess for reading in readings])
    return Outcome(
        "identities",
        ~np.isnan(excess),
        excess > 0,
        f"{_words(name)} misses by {{excess:.4f}} what both accuracies and fidelity determine",
        {"excess": excess},
        assumes=(TWO_ANSWERS,),
    )


def _same(table: Audited, name: str, other: Range) -> Outcome:
    gap = table[name].apart(other)
    return Outcome(
        "identities",
        ~np.isnan(gap),
        gap > FLOATS,
        f"{_words(name)} {{value:.6g}} should be {{other:.6g}}",
        {"value": table.value(name), "other": other.middle},
    )


def sums(table: Audited) -> Iterator[Outcome]:
    """Two names for one thing, and sums: they hold for means over runs as for one run."""
    if table.has("churn", "fidelity"):
        yield _same(table, "churn", 1 - table["fidelity"])
    if table.has("invariability", "fidelity"):
        yield _same(table, "invariability", table["fidelity"])
    for name, cell in {"negative_flips": "b", "positive_flips": "c"}.items():
        if table.has(name, cell):
            yield _same(table, name, table[cell])
    if table.has("flips", "negative_flips", "positive_flips"):
        yield _same(table, "flips", table["negative_flips"] + table["positive_flips"])


def kappa(table: Audited) -> Iterator[Outcome]:
    """Kappa within what fidelity allows; and, for one run, what the shares of True make it."""
    if table.classes > 2 or not table.has("kappa", "fidelity"):
        return
    limits = _within(table, "kappa", kappa_limits(table["fidelity"], table.runs), "kappa")
    yield replace(limits, assumes=(TWO_ANSWERS,))
    if table.has("positive_share_dense", "positive_share_pruned"):
        p, q = table["positive_share_dense"], table["positive_share_pruned"]
        expected = p * q + (1 - p) * (1 - q)
        gap = (table["kappa"] * (1 - expected)).apart(table["fidelity"] - expected)
        yield Outcome(
            "kappa",
            ~np.isnan(gap) & (table.runs == 1),
            gap > FLOATS,
            "kappa does not follow from fidelity and the shares of True answers",
            assumes=(TWO_ANSWERS,),
        )


def confusion(table: Audited) -> Iterator[Outcome]:
    """Accuracy from recall and specificity, counts from their sums, ratios from one confusion."""
    known = (table.items > 0) & (table.positives > 0)
    items, true = (
        Range.exactly(np.where(known, n, np.nan)) for n in (table.items, table.positives)
    )
    counts = {
        name: table[name] * of
        for name, of in {
            table.pruned: items,
            "recall": true,
            "specificity": items - true,
            "positive_share": items,
        }.items()
        if table.has(name)
    }
    yield from (
        replace(outcome, assumes=_needed((SAME_ITEMS, *outcome.assumes), table))
        for outcome in _confusion(table, items, true, counts)
    )


def _confusion(
    table: Audited, items: Range, true: Range, counts: Mapping[str, Range]
) -> Iterator[Outcome]:
    right, hits = counts.get(table.pruned), counts.get("recall")
    rejected, said = counts.get("specificity"), counts.get("positive_share")
    if right and hits:
        below = (right - hits).apart(Range(np.zeros_like(items.low), (items - true).high))
        yield _follows(below, "accuracy and recall leave an impossible number of true negatives")
    if right and hits and rejected:
        gap = right.apart(hits + rejected)
        yield _follows(gap, "accuracy does not follow from recall and specificity")
    if hits and rejected and said:
        gap = said.apart(hits + items - true - rejected)
        yield _follows(gap, "the share of True answers does not follow from recall and specificity")
    if right and hits and table.has("precision"):
        yield from _one_confusion(table, hits, hits + items - true - right + hits, true)
    if table.has(*COUNTS):
        yield from _sums_of_counts(table, items, true, right)


def _follows(
    gap: Floats,
    text: str,
    where: Bools | bool = True,
    assumes: tuple[str, ...] = (OF_TRUE_ANSWER,),
) -> Outcome:
    applies = ~np.isnan(gap) & where
    return Outcome("confusion", applies, gap > COUNT_FLOATS, text, assumes=assumes)


def _one_confusion(table: Audited, hits: Range, said: Range, true: Range) -> Iterator[Outcome]:
    """Precision and F1 of one run; averages of such ratios over runs need not obey this."""
    single = (table.runs == 1) & (table.value("precision") > 0)
    gap = (table["precision"] * said).apart(hits)
    yield _follows(gap, "precision does not follow from accuracy and recall", single)
    if table.has("f1"):
        gap = (table["f1"] * (said + true)).apart(hits * 2)
        text = "F1 does not follow from accuracy and recall (is it a mean over batches?)"
        yield _follows(gap, text, single)


def _sums_of_counts(
    table: Audited, items: Range, true: Range, right: Range | None
) -> Iterator[Outcome]:
    """Counts may be means over runs whose decimals were cut, which their ranges allow for."""
    tp, fp, tn, fn = (table[name] for name in COUNTS)
    text = "tp + fn is not the number of true items"
    yield _follows((tp + fn).apart(true), text, assumes=())
    text = "tp + fp + tn + fn is not the number of items"
    yield _follows((tp + fp + tn + fn).apart(items), text, assumes=())
    if right:
        text = "accuracy does not follow from the counts"
        yield _follows((tp + tn).apart(right), text, assumes=())


def constant_answer(table: Audited) -> Iterator[Outcome]:
    """Accuracies that constant answers get, unless recall tells otherwise; a sign, not a fault."""
    if table.classes > 2:
        return
    known = (table.positives > 0) & (table.items > table.positives)
    settings = np.stack([table.items, table.positives, np.maximum(table.runs, 1)])
    for name in ("accuracy_dense", table.pruned):
        if not table.has(name):
            continue
        printed = table.columns[name].with_common_decimals()
        texts = np.full(len(known), "", dtype=object)
        for items, positives, runs in np.unique(settings[:, known], axis=1).T.tolist():
            rows = known & np.equal(settings.T, [items, positives, runs]).all(axis=1)
            labels = {"False": items - positives, "True": positives}
            k = np.where(rows, constant_runs(printed, labels, runs), NOT_CONSTANT)
            if name == table.pruned and table.has("recall"):
                k = _unless_recall_differs(k, table["recall"], runs)
            hits = k != NOT_CONSTANT
            texts[hits] = [describe_constant(j, runs, *labels) for j in k[hits]]
        yield Outcome(
            "constant answer",
            known & printed.present,
            texts != "",
            f"{_words(name)} is what constant answers get: {{texts}}",
            {"texts": texts},
            CONSTANT,
        )


def _unless_recall_differs(k: Ints, recall: Range, runs: int) -> Ints:
    """Recall of k runs that always say True is k of them; NOT_CONSTANT where it is not."""
    said = np.where(k == EITHER, np.rint(recall.middle * runs), k) / runs
    return np.where(recall.apart(Range.exactly(said)) > FLOATS, NOT_CONSTANT, k)


def _counts(runs: int) -> str:
    return "1 count" if runs == 1 else f"{runs} counts"


def _words(name: str) -> str:
    return name.replace("_", " ")


CHECKS: tuple[Check, ...] = (
    in_range,
    granularity,
    fidelity_bounds,
    identities,
    sums,
    kappa,
    confusion,
    constant_answer,
)
