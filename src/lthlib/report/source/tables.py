"""Tables of the main source by level, made again: its numbers, and beside them ours.

Each function builds one kind of table for any model and ladder. `table` names the source's table;
cells hold finished text, the data behind an exhibit hold the numbers of both sides in long form.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import pandas as pd

from lthlib.report.exhibits import MEASURES, Exhibit
from lthlib.report.plain import plain_table
from lthlib.report.source import significance as tests
from lthlib.report.source.columns import (
    EQUAL,
    SD,
    fidelity_by_run,
    floors_line,
    mean_text,
    numbers,
    our_columns,
    pair_name,
    pair_numbers,
    printed_numbers,
    scale_columns,
    test_numbers,
    tested_columns,
    tests_line,
    trivial_line,
)
from lthlib.report.source.evidence import (
    LABEL_BLIND,
    Arm,
    Evidence,
    Printed,
    amount_text,
    arms,
    levels_of,
    ours_line,
    printed_p,
)
from lthlib.report.source.published import ITEMS, TRUE_LABELS
from lthlib.report.statistics import DENSE_LEVEL


# -- means by level -------------------------------------------------------------------------------
def measure_table(
    evidence: Evidence, *, table: str, model: str, ladder: str, measure: str, counts: str = ""
) -> Exhibit:
    """One measure at each level: the source, as published, lottery, and random masks.

    counts: the source's table of mean counts, for the same measure taken over all answers.
    """
    printed, columns = Printed(table), arms(evidence, model, ladder)
    levels = list(levels_of(ladder))
    heading = MEASURES[measure].heading
    shown = {
        f"source: {heading}": [printed.share_text(measure, k) for k in levels],
        **(_from_counts(Printed(counts), measure, levels) if counts else {}),
        **our_columns(columns, [measure], levels),
        f"{columns[0].name}: answers True, %": columns[0].texts("positive_share", levels),
    }
    rule = trivial_line(columns) if measure == "accuracy" else _always_true(columns, measure)
    caption = f"Source ({printed.runs}): {SD} {ours_line(columns[:2])} {EQUAL} {rule}"
    return plain_table(
        pd.DataFrame({**scale_columns(ladder, levels), **shown}),
        caption.strip(),
        data=numbers(printed, columns, [measure, "positive_share"]),
    )


def _from_counts(printed: Printed, measure: str, levels: Sequence[int]) -> dict[str, list[str]]:
    """Precision, recall or F1 of the source's mean counts, which is that of all its answers."""
    texts = []
    for level in levels:
        fp, fn, tp = (_count(printed, cell, level) for cell in ("fp", "fn", "tp"))
        top, bottom = {
            "precision": (tp, tp + fp),
            "recall": (tp, tp + fn),
            "f1": (2 * tp, 2 * tp + fp + fn),
        }[measure]
        texts.append(f"{100 * top / bottom:.1f}" if bottom else "not defined")
    return {f"source: {measure} of its mean counts, %".replace("f1", "F1"): texts}


def _always_true(columns: Sequence[Arm], measure: str) -> str:
    """What the rule "always True" has of this measure, on both sides' items."""
    shares = {"the source's captions": TRUE_LABELS / ITEMS}
    known = [arm.reading for arm in columns if arm.reading is not None]
    if known:
        shares["our items"] = float(known[0].quality["label_positive_share"].iloc[0])
    values = {
        where: {"precision": p, "recall": 1.0, "f1": 2 * p / (1 + p)}[measure]
        for where, p in shares.items()
    }
    texts = " and ".join(f"{100 * value:.1f} % on {where}" for where, value in values.items())
    return f"Always True has {texts}."


def faithfulness_table(evidence: Evidence, *, table: str, model: str, ladder: str) -> Exhibit:
    """Accuracy on faithful decisions, and of each model on the others."""
    printed, columns = Printed(table), arms(evidence, model, ladder)[:2]
    levels = list(levels_of(ladder))[1:]
    names = ["faithful_accuracy", "unfaithful_accuracy_dense", "unfaithful_accuracy_pruned"]
    shown = {
        "source: faithful, %": [printed.share_text("faithful_accuracy", k) for k in levels],
        "source: unfaithful, %": [printed.share_text("unfaithful_accuracy", k) for k in levels],
        **our_columns(columns, names, levels),
        **our_columns([Arm(LABEL_BLIND, columns[0].reading, blind=True)], names[:2], levels),
    }
    caption = (
        f"Accuracy where dense and pruned model agree (faithful) and where they do not. Source: "
        f"{printed.runs}; {SD} Its unfaithful accuracy is that of the dense model. With two "
        f"answers one of two models that disagree is right: the two unfaithful accuracies sum to "
        f"100 % whatever pruning does. Label-blind: what a model would reach that gives each "
        f"answer as often as the one as published, and looks at nothing. {ours_line(columns)} "
        f"{EQUAL}"
    )
    return plain_table(
        pd.DataFrame({**scale_columns(ladder, levels), **shown}),
        caption,
        data=numbers(printed, columns, names),
    )


def confusion_table(evidence: Evidence, *, table: str, model: str, ladder: str) -> Exhibit:
    """Counts of tn, fp, fn, tp, and informedness, which is 0 for any rule that sees no label."""
    printed, columns = Printed(table), arms(evidence, model, ladder)[:2]
    levels, cells = list(levels_of(ladder)), ("tn", "fp", "fn", "tp")
    counts = [[_count(printed, cell, k) for cell in cells] for k in levels]
    shown = {
        "source: tn, fp, fn, tp": [", ".join(f"{n:.0f}" for n in row) for row in counts],
        "source: informedness J": [f"{_informedness(row):.3f}" for row in counts],
    }
    for arm in columns:
        means = {cell: arm.by_seed(cell).mean() for cell in cells if arm.reading is not None}
        shown[f"{arm.name}: tn, fp, fn, tp"] = [
            ", ".join(f"{means[c][k]:.1f}" for c in cells) if means else arm.gap for k in levels
        ]
        shown[f"{arm.name}: informedness J"] = arm.texts("informedness", levels)
    caption = (
        f"Mean counts over runs; the source cuts their decimals. Source: {printed.runs}, 1,012 "
        f"captions. Informedness is recall + specificity - 1: a model that ignores its input has "
        f"0. {ours_line(columns)} {EQUAL}"
    )
    return plain_table(
        pd.DataFrame({**scale_columns(ladder, levels), **shown}),
        caption,
        data=numbers(printed, columns, [*cells, "informedness"]),
    )


def fidelity_pairs_table(evidence: Evidence, *, table: str, model: str, ladder: str) -> Exhibit:
    """Mean fidelity between every two levels of the same run."""
    printed, columns = Printed(table), arms(evidence, model, ladder)[:2]
    pairs = list(combinations(levels_of(ladder), 2))
    shown = {
        "levels compared": [pair_name(ladder, pair) for pair in pairs],
        "source: fidelity, %": [printed.share_text("fidelity", *pair) for pair in pairs],
    }
    data = [printed_numbers(printed)]
    for arm in columns:
        values = {pair: fidelity_by_run(arm.reading, pair) for pair in pairs}
        shown[f"{arm.name}: fidelity, %"] = [mean_text(values[pair], arm.gap) for pair in pairs]
        data.append(pair_numbers(arm.name, values))
    caption = (
        f"Share of test items on which two levels of the same run give the same answer. Source: "
        f"{printed.runs}; {SD} {ours_line(columns)} {floors_line(columns)}"
    )
    return plain_table(pd.DataFrame(shown), caption, data=pd.concat(data, ignore_index=True))


# -- tests ----------------------------------------------------------------------------------------
def dense_tests_table(evidence: Evidence, *, table: str, model: str, ladder: str) -> Exhibit:
    """Accuracy of each level against dense: the source's test, and the paired one with Holm."""
    printed, columns = Printed(table), arms(evidence, model, ladder)[:2]
    pairs = [(level, DENSE_LEVEL) for level in levels_of(ladder)[1:]]
    metric = "p_value_ttest_accuracy"
    shown = {
        "compared": [f"dense and {amount_text(ladder, k)}" for k, _ in pairs],
        "source: p": [printed_p(printed.at(metric, k)) for k, _ in pairs],
        **tested_columns(columns, pairs, "accuracy"),
    }
    caption = (
        f"Accuracy of each level against dense. Source: {printed.runs}; it reads p above 0.05 as a "
        f"winning ticket, but that a difference was not shown does not show that there is none. "
        f"{tests_line(columns, len(pairs))}"
    )
    return plain_table(pd.DataFrame(shown), caption, data=test_numbers(columns, pairs, "accuracy"))


def pair_tests_table(
    evidence: Evidence, *, table: str, model: str, ladder: str, measure: str, metric: str
) -> Exhibit:
    """A measure of agreement with dense, compared between every two pruned levels."""
    printed, columns = Printed(table), arms(evidence, model, ladder)[:2]
    pairs = list(combinations(list(levels_of(ladder))[1:], 2))
    shown = {
        "levels compared": [pair_name(ladder, pair) for pair in pairs],
        "source: p": [printed_p(printed.at(metric, *pair)) for pair in pairs],
        **tested_columns(columns, [(b, a) for a, b in pairs], measure),
    }
    title = MEASURES[measure].title
    also = (
        " The accuracy of the pruned model on these decisions is 100 % minus this one, and so has "
        "the same p-values."
        if measure == "unfaithful_accuracy_dense"
        else ""
    )
    caption = (
        f"{title[0].upper()}{title[1:]} at two levels, over runs.{also} Source: {printed.runs}. "
        f"{tests_line(columns, len(pairs))}"
    )
    return plain_table(
        pd.DataFrame(shown),
        caption,
        data=test_numbers(columns, [(b, a) for a, b in pairs], measure),
    )


def wilcoxon_table(evidence: Evidence, *, table: str, model: str, ladder: str) -> Exhibit:
    """Ranks of accuracy within each run against dense, and the exact test of the accuracies."""
    printed, columns = Printed(table), arms(evidence, model, ladder)[:2]
    levels = list(levels_of(ladder))[1:]
    metric = "p_value_wilcoxon_accuracy"
    shown = {
        "compared": [f"dense and {amount_text(ladder, k)}" for k in levels],
        "source: p": [printed_p(printed.at(metric, k)) for k in levels],
    }
    for arm in columns:
        accuracy = arm.by_seed("accuracy")
        ranks = tests.ranks_within_seed(accuracy)
        for words, part, exact in (("ranks", ranks, False), ("exact", accuracy, True)):
            shown[f"{arm.name}: {words}"] = [
                tests.wilcoxon(part[k].tolist(), part[0].tolist(), exact=exact).text
                if k in part.columns
                else arm.gap
                for k in levels
            ]
    caption = (
        "p of Wilcoxon's signed-rank test against dense. Ranks: as the source, of the ranks that "
        "the levels take by accuracy within each run, by the normal approximation with ties. "
        "Exact: of the accuracies, all signs counted, zeros by Pratt's rule. Where models are "
        f"equal in each run, one test gives one p. Source: {printed.runs}. {ours_line(columns)}"
    )
    return plain_table(pd.DataFrame(shown), caption, data=numbers(printed, columns, ["accuracy"]))


def _count(printed: Printed, cell: str, level: int) -> float:
    found = printed.at(f"confusion_{cell}", level)
    return float("nan") if found is None else float(found["value"])


def _informedness(counts: Sequence[float]) -> float:
    tn, fp, fn, tp = counts
    return tp / (tp + fn) + tn / (tn + fp) - 1
