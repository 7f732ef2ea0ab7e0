"""What the audit finds in the main source: its models, its splits, its averages.

Each finding is a claim, the function that tests it, an exhibit and a verdict whose every number is
computed from the printed numbers. What follows from measures together and from p-values stands in
:mod:`lthlib.report.audit.findings_together`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lthlib.report.audit import source
from lthlib.report.audit.correlations import label_blind, label_blind_sign, pearson_range
from lthlib.report.audit.detectors import batch_sizes, constant_answers
from lthlib.report.audit.granularity import granularity
from lthlib.report.audit.labels import (
    SPLITS,
    always_true_by_batch,
    open_i_counts,
    vsr_counts,
)
from lthlib.report.audit.source import joined, share_text
from lthlib.report.draw import BLACK, HEIGHT, MODEL_LOOKS, PAPER, WIDTH, paper_style
from lthlib.report.exhibits import Exhibit, model_name
from lthlib.report.measures import Floats
from lthlib.report.plain import plain_table
from lthlib.report.show import number, say, show
from lthlib.report.source import published
from lthlib.report.source.significance import Outcome, p_text, partial_pearson

PRINTED = "Printed numbers of the main source; nothing here is ours."
# Informedness up to here counts as none: that of a coin on 1,012 captions has a standard error of
# 0.03 in one run.
_NO_SKILL = 0.05


@dataclass(frozen=True)
class Finding:
    """claim: what the source says or shows; by: the functions that test it."""

    claim: str
    by: Sequence[Callable[..., object]]
    verdict: str
    exhibit: Exhibit


def present(finding: Finding, name: str) -> None:
    """Show a finding in a notebook: claim, verdict, exhibit; the verdict can be glued by name."""
    tools = ", ".join(f"`{tool.__name__}`" for tool in finding.by)
    number(name, finding.verdict)
    say(f"**Claim.** {finding.claim}\n\n**Verdict** (by {tools}). {finding.verdict}")
    show(finding.exhibit, f"{name}-table")


def items_and_labels() -> tuple[int, dict[str, int]]:
    """How many captions the source's numbers are over, and how many of each label."""
    counts = vsr_counts("dev")
    return sum(counts.values()), counts


def table_of(rows: Iterable[Sequence[object]], columns: Sequence[str], caption: str) -> Exhibit:
    return plain_table(pd.DataFrame(list(rows), columns=list(columns)), f"{caption} {PRINTED}")


# -- what was evaluated, and what the models said -------------------------------------------------
def split() -> Finding:
    """Which file of VSR the numbers are over."""
    rows, fits = [], {}
    printed = published.select(table="Table 4", metric="accuracy")["raw"]
    for name in SPLITS:
        counts = vsr_counts(name)
        size = sum(counts.values())
        fits[name] = sum(bool(text) for text in constant_answers(printed, counts))
        shares = [f"{counts[label] / size:.5f}" for label in ("False", "True")]
        rows.append((name, f"{size:,}", f"{counts['True']:,}", *shares, fits[name]))
    items, counts = items_and_labels()
    found = next(name for name in SPLITS if fits[name] == max(fits.values()))
    verdict = (
        f"The file with {items:,} captions, {counts['True']} of them true, is the {found} split of "
        f"VSR version 1; its test split has {sum(vsr_counts('test').values()):,}. {fits[found]} of "
        f"{len(printed)} accuracies of Table 4 are a class share of the {found} split, and "
        f"{fits['test']} of the test split. Results on a held-out test split were not reported."
    )
    heads = ("split", "captions", "true", "always False", "always True", "rows of Table 4")
    caption = (
        "Splits of VSR version 1 (random): captions, accuracy of the two constant answers, and how "
        "many of the seven accuracies of Table 4 equal one of them."
    )
    claim = "Models are evaluated on a test set of 1,012 captions."
    return Finding(claim, [constant_answers], verdict, table_of(rows, heads, caption))


def constant_rows() -> Finding:
    """Pruned models of the VSR form that give every caption one answer."""
    table = source.rows()
    _, counts = items_and_labels()
    # Tables of five digits; a 0.5 in them is 0.50000.
    table["answer"] = [
        constant_answers([f"{float(text):.5f}"], counts, runs=int(runs))[0]
        for text, runs in zip(table["accuracy_pruned"], table["runs"], strict=True)
    ]
    hit = table[table["answer"] != ""]
    whole = hit[hit["answer"].isin(["always False", "always True"])]
    places = [f"{name} {len(part)}" for name, part in source.by_group(whole)]
    halves = [
        f"{source.group_name(row.model, row.pruning_set)} {share_text(row.amount)} ({row.answer})"
        for row in hit.drop(whole.index).itertuples()
    ]
    verdict = (
        f"{len(whole)} of {len(table)} pruned rows have in every run the accuracy of a model that "
        f"always says False ({counts['False']} of {sum(counts.values()):,}): {joined(places)}. "
        f"{joined(halves)} {'is' if len(halves) == 1 else 'are'} a mixture of constant models."
    )
    rows = [
        (
            source.group_name(row.model, row.pruning_set),
            share_text(row.amount),
            row.accuracy_pruned,
            row.runs,
            row.answer,
        )
        for row in hit.itertuples()
    ]
    heads = ("group", "pruned per round", "accuracy", "runs", "constant answers that give it")
    caption = "Pruned rows whose accuracy is exactly that of constant answers."
    claim = "Accuracy levels off at high sparsity, which shows what pruning does."
    return Finding(claim, [constant_answers], verdict, table_of(rows, heads, caption))


def constant_cells() -> Finding:
    """The accuracies of the learning-rate experiment on VSR."""
    cells = published.select(dataset="VSR", pruning_set="lr", metric="accuracy")
    _, counts = items_and_labels()
    answers = pd.Series(constant_answers(cells["raw"], counts), index=cells.index)
    table = pd.crosstab(cells["model"].map(model_name), answers)
    hits = int((answers != "").sum())
    verdict = (
        f"{hits} of {len(cells)} cells are the accuracy of a constant answer, dense models "
        f"included: {joined(f'{n} {name}' for name, n in answers.value_counts().items())}."
    )
    rows = [(model, *numbers) for model, numbers in zip(table.index, table.values, strict=True)]
    heads = ("model", *table.columns)
    caption = f"Constant answers among the {len(cells)} accuracies of five rates and seven levels."
    claim = "Some learning rates keep the accuracy of the dense model at every sparsity."
    return Finding(claim, [constant_answers], verdict, table_of(rows, heads, caption))


def plateaus() -> Finding:
    """Open-I accuracies that are those of saying no, or yes, to everything."""
    cells = published.select(dataset="OPEN-I", metric="accuracy")
    counts = open_i_counts()
    answers = constant_answers(cells["raw"], counts, percent=True)
    plateau = 100 * counts["negative"] / sum(counts.values())
    kind = np.where(cells["value"] > plateau, "above the plateau", "below the plateau")
    kind = np.where(np.array(answers) != "", answers, kind)
    names = ("always negative", "always positive", "above the plateau", "below the plateau")
    numbers = {name: cells.loc[kind == name] for name in names}
    counted = {name: len(part) for name, part in numbers.items()}
    above = numbers["above the plateau"]["value"]
    below = numbers["below the plateau"]["column"].unique()
    verdict = (
        f"{counted['always negative']} of {len(cells)} cells are the {plateau:.2f} % that a model "
        f"gets by finding nothing in any report ({counts['negative']:,} of "
        f"{sum(counts.values()):,} cells), {counted['always positive']} what it gets by finding "
        f"everything everywhere. {counted['above the plateau']} lie above ({above.min():.2f} to "
        f"{above.max():.2f} %) and {counted['below the plateau']} below, all of these in the "
        f"column {joined(below)}."
    )
    rows = [
        (name, len(part), f"{part['value'].min():g} to {part['value'].max():g}")
        for name, part in numbers.items()
    ]
    caption = (
        f"The {len(cells)} Open-I accuracies (three models, five rates, seven levels) by kind."
    )
    heads = ("kind", "cells", "accuracy, %")
    claim = "Many sparse models match the dense accuracy on Open-I: winning tickets."
    return Finding(claim, [constant_answers], verdict, table_of(rows, heads, caption))


def batches() -> Finding:
    """F1, precision and recall of the learning-rate experiment: one model, two batch sizes."""
    cells = published.select(dataset="VSR", pruning_set="lr")
    scan = always_true_by_batch()
    rows, sentences = [], []
    for (model, column), part in _true_cells(cells).groupby(["model", "column"], sort=False):
        printed = {
            name: "".join(str(part.loc[part["metric"] == name, "raw"].iloc[0]).split())
            for name in ("f1", "recall", "precision")
        }
        found = batch_sizes(scan, printed)
        rows.append((model_name(str(model)), column, *printed.values(), _sizes(found)))
    table = pd.DataFrame(rows, columns=["model", "column", "F1", "recall", "precision", "batch"])
    by_number = table.groupby(list(table.columns.drop("column")), sort=False)["column"]
    grouped = by_number.agg(_distinct).reset_index()
    for row in grouped.itertuples():
        sentences.append(f"{row.model} F1 {row.F1}, recall {row.recall}: {row.batch}")
    whole, four, thirty_two = (scan[scan["size"] == n].iloc[0] for n in (0, 4, 32))
    verdict = (
        f"One and the same constant model has F1 {whole['f1']:.4f} over all captions, "
        f"{thirty_two['f1']:.4f} averaged over batches of 32 and {four['f1']:.4f} (recall "
        f"{four['recall']:.4f}) over batches of 4, in the order of the label file. "
        f"{'; '.join(sentences)}."
    )
    heads = ("model", "F1", "recall", "precision", "explained by", "columns (share left)")
    caption = (
        "Printed measures of the learning-rate cells that always say True, and which batch size "
        "gives them, from the real labels in file order."
    )
    claim = "F1 tells the two models apart: it is lower for LXMERT than for VisualBERT."
    exhibit = table_of(grouped.to_numpy().tolist(), heads, caption)
    return Finding(claim, [batch_sizes], verdict, exhibit)


def _distinct(names: pd.Series[str]) -> str:
    return joined(dict.fromkeys(names))


def _true_cells(cells: pd.DataFrame) -> pd.DataFrame:
    """F1, recall, precision where the model says True at all."""
    keep = cells["metric"].isin(["f1", "recall", "precision"]) & (cells["value"] > 0)
    return cells[keep]


def _sizes(found: pd.DataFrame) -> str:
    if found.empty:
        return "no batch size up to 64"
    sizes = "batches of " + " or ".join(f"{size:.0f}" for size in found["size"])
    swapped = found["transposed"].iloc[0]
    return f"{sizes}, with two digits of {swapped.upper()} transposed" if swapped else sizes


# -- granularity ----------------------------------------------------------------------------------
def runs_by_granularity() -> Finding:
    """GRIM: which numbers of runs the printed means allow."""
    items, counts = items_and_labels()
    rows, sentences = [], []
    for model, ladder in source.GROUPS:
        cells = published.select(model=model, pruning_set=ladder)
        for metrics in (("accuracy", "recall"), ("fidelity",)):
            own = cells[cells["metric"].isin(metrics)].drop_duplicates(["metric", "raw"])
            own = own[own["value"] < 1]
            sizes = np.where(own["metric"] == "recall", counts["True"], items)
            table = granularity(own["raw"], list(sizes))
            allowed = table.loc[table["all_consistent"], "runs"].tolist()
            best = table.sort_values("consistent", kind="stable").iloc[-1]
            what = " and ".join(own["metric"].unique())
            rest = f"none (at most {best['consistent']}, with {best['runs']} runs)"
            rows.append((source.group_name(model, ladder), what, len(own), _runs(allowed) or rest))
            if metrics[0] == "accuracy":
                text = f"{min(allowed)} or a multiple" if allowed else "none"
                sentences.append(f"{source.group_name(model, ladder)} {text}")
    fidelity = [row for row in rows if row[1] == "fidelity"]
    fails = sum(str(row[3]).startswith("none") for row in fidelity)
    verdict = (
        f"Numbers of runs that allow every printed accuracy and recall: {'; '.join(sentences)}. "
        f"{fails} of {len(fidelity)} tables of fidelity ({sum(int(r[2]) for r in fidelity)} "
        "different values) are averages of agreement counts for no number of runs up to 30. None "
        "does not contradict the number that p-values give below: it says that these means are no "
        "plain averages of counts over all captions, by rounding or by cutting, whatever number "
        "of runs their p-values were computed with."
    )
    heads = ("group", "measures", "values", "runs from 1 to 30 that allow all")
    caption = (
        f"Granularity: a mean of n counts over {items:,} captions ({counts['True']} for recall) is "
        "a multiple of one part in that many times n. Rounding and cutting are both accepted."
    )
    claim = "Every number is an average over 10 runs."
    return Finding(claim, [granularity], verdict, table_of(rows, heads, caption))


def _runs(allowed: Sequence[int]) -> str:
    return ", ".join(map(str, allowed))


# -- the headline correlation ---------------------------------------------------------------------
def pearson_rows() -> Finding:
    """The four correlations of the text, computed again from its tables."""
    inline = published.inline_numbers()
    printed = dict(zip(inline["line"], inline["value"], strict=True))
    table = source.rows()
    table = table[table["pruning_set"] == "concluding"].set_index("model")
    rows, verdicts = [], []
    for line, model, x, y in _CORRELATIONS:
        one, two = (table.loc[[model], name] for name in (x, y))
        found = pearson_range(one, two, printed_p=f"{float(printed[line]):.5f}")
        span = f"{found['p_low']:.5f} to {found['p_high']:.5f}"
        pair = f"{model_name(model)}: {_plain(x)} and {_plain(y)}"
        p = f"{float(printed[line]):.5f}"
        rows.append((pair, p, f"{found['r']:+.5f}", f"{found['p']:.5f}", span, found["verdict"]))
        verdicts.append(str(found["verdict"]).startswith("reproduced"))
    uniter, faithful = rows[2], rows[3]
    verdict = (
        f"{sum(verdicts)} of {len(rows)} are reproduced from six pruned rows, without the dense "
        f"one. UNITER's {uniter[1]}: {uniter[5]} (the tables give {uniter[3]}). VisualBERT's "
        f"{faithful[1]} for faithful accuracy: {faithful[5]}; the tables give {faithful[3]} and "
        f"r = {faithful[2]}, and so the correlation that the conclusion calls negative is positive."
    )
    heads = ("rows of the concluding ladder", "printed p", "r", "p", "p within rounding", "verdict")
    caption = "Pearson correlations over the six pruned rows of a concluding ladder."
    claim = "Accuracy and fidelity correlate for VisualBERT alone (p = 0.00245)."
    return Finding(claim, [pearson_range], verdict, table_of(rows, heads, caption))


_CORRELATIONS = (
    (733, "visualbert", "accuracy_pruned", "fidelity"),
    (751, "lxmert", "accuracy_pruned", "fidelity"),
    (765, "uniter", "accuracy_pruned", "fidelity"),
    (742, "visualbert", "faithful_accuracy", "accuracy_pruned"),
)


def _plain(name: str) -> str:
    return name.removesuffix("_pruned").replace("_", " ")


def shares() -> pd.DataFrame:
    """Shares of True answers of the concluding models, from accuracy and recall (five digits).

    With P of N captions true, tp = recall P and tn = accuracy N - tp, so that the share is
    (2 recall P + N - P - accuracy N) / N, finer than the printed counts. model, amount (dense: 0),
    positive_share, informedness (recall + specificity - 1), accuracy.
    """
    items, counts = items_and_labels()
    cells = published.select(pruning_set="concluding").fillna({"amount": 0.0})
    wide = cells[cells["metric"].isin(["accuracy", "recall"])]
    wide = wide.pivot_table("value", ["model", "amount"], "metric", sort=False).reset_index()
    true, false = counts["True"], counts["False"]
    said = 2 * wide["recall"] * true + false - wide["accuracy"] * items
    false_alarms = (said - wide["recall"] * true) / false
    return wide.assign(
        positive_share=said / items, informedness=wide["recall"] - false_alarms
    ).rename_axis(columns=None)


def blind_correlation() -> Finding:
    """What a label-blind model with the same share of True answers would score."""
    items, counts = items_and_labels()
    pi = counts["True"] / items
    table, rows, points, without = shares(), [], [], list[str]()
    table_of_rows = source.rows()
    concluding = table_of_rows[table_of_rows["pruning_set"] == "concluding"]
    for model in MODEL_LOOKS:
        own = table[table["model"] == model]
        p = float(own.loc[own["amount"] == 0, "positive_share"].iloc[0])
        pruned = own[own["amount"] > 0]
        f = concluding.loc[concluding["model"] == model, "fidelity"].to_numpy(dtype=float)
        blind = label_blind(pruned["positive_share"].to_numpy(), pi, p)
        a, q = (pruned[name].to_numpy(dtype=float) for name in ("accuracy", "positive_share"))
        partial = partial_pearson(a.tolist(), f.tolist(), q.tolist())
        skilled = pruned["informedness"].to_numpy(dtype=float) > _NO_SKILL
        if skilled.any():
            kept = [column[~skilled].tolist() for column in (a, f, q)]
            without.append(f"{model_name(model)} {_partial_text(partial_pearson(*kept))}")
        rows.append(
            (
                model_name(model),
                f"{p:.3f}",
                f"{label_blind_sign(pi, p):+d}",
                f"{_r(a, f):+.3f}",
                f"{_r(a, q):+.3f}",
                f"{_r(f, q):+.3f}",
                _partial_text(partial),
                f"{np.abs(a - blind['accuracy']).mean():.4f}",
                f"{pruned['informedness'].min():+.3f} to {pruned['informedness'].max():+.3f}",
            )
        )
        points.append(pruned.assign(fidelity=f, blind_accuracy=blind["accuracy"].to_numpy(),
                                    blind_fidelity=blind["fidelity"].to_numpy()))  # fmt: skip
    given = [f"{row[0]} from {row[3]} to {row[6]}" for row in rows]
    first, *others = rows
    verdict = (
        "Accuracy and fidelity of models without skill are both lines in their share of True "
        f"answers, so they correlate by arithmetic, with sign {first[2]} for {first[0]}, "
        f"{joined(f'{row[2]} for {row[0]}' for row in others)}. This explains {first[0]}, the one "
        f"model for which the source claims it: the informedness of its six pruned models is "
        f"{first[8]}, none at all. It is no full account of the others, some of whose models kept "
        f"skill ({joined(f'{row[8]} for {row[0]}' for row in others)}). Given that share, the "
        f"correlation over six rows changes for {joined(given)}. Six rows exclude "
        f"little, and fewer are left where those with skill (above {_NO_SKILL}) are left out: "
        f"{joined(without)}. {first[0]}'s trend says nothing of pruning; what the others' say, six "
        "means cannot tell."
    )
    return Finding(
        "Fidelity falls with accuracy for VisualBERT, so that fidelity measures pruning.",
        [label_blind, label_blind_sign],
        verdict,
        _blind_figure(pd.concat(points, ignore_index=True), pi, rows),
    )


def _partial_text(partial: Outcome) -> str:
    """A partial correlation with its interval, or why there is none."""
    if partial.statistic is None or partial.p is None:
        return partial.why
    ends = f"{partial.low:+.2f} to {partial.high:+.2f}"
    return f"{partial.statistic:+.2f} (95 % interval {ends}, p {p_text(partial.p)})"


def _r(a: Floats, b: Floats) -> float:
    return float(np.corrcoef(a, b)[0, 1])


def _blind_figure(points: pd.DataFrame, pi: float, rows: Sequence[Sequence[str]]) -> Exhibit:
    with paper_style():
        figure = Figure(figsize=(WIDTH, 1.7 * HEIGHT), layout="constrained", facecolor=PAPER)
        above, below = figure.subplots(2, sharex=True)
        for model, look in MODEL_LOOKS.items():
            own = points[points["model"] == model].sort_values("positive_share")
            x = 100 * own["positive_share"]
            style = {"color": look.colour, "marker": look.marker, "linestyle": "none"}
            above.plot(x, 100 * own["accuracy"], label=look.name, **style)
            below.plot(x, 100 * own["fidelity"], **style)
            below.plot(x, 100 * own["blind_fidelity"], color=look.colour, linestyle=look.line)
        q = np.array([0.0, 1.0])
        line = 100 * label_blind(q, pi, 0.5)["accuracy"]
        above.plot(100 * q, line, color=BLACK, linestyle="--", label="label-blind")
        above.set_ylabel("accuracy, %")
        below.set(ylabel="fidelity to dense, %", xlabel="answers True, %")
        figure.legend(*above.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    ends = "; ".join(f"{row[0]}: r {row[3]}, given the share of True {row[6]}" for row in rows)
    caption = (
        "Accuracy (above) and fidelity (below) of the 18 pruned models of the concluding ladders "
        "against their share of True answers; lines: what a model gets that only has this share. "
        f"Means over runs as printed, no interval. {PRINTED}"
    )
    alt = f"Points near lines of label-blind models. Accuracy and fidelity correlate: {ends}."
    return Exhibit(caption, alt, points, figure)


def skill() -> Finding:
    """How much the concluding models know: informedness, and counts against accuracy."""
    items, counts = items_and_labels()
    table, confusion = shares(), source.confusions()
    from_counts = (confusion["tp"] + confusion["tn"]) / items
    worst = float(np.abs(from_counts - confusion["accuracy"].astype(float)).max())
    known = table[(table["informedness"] > _NO_SKILL) & (table["amount"] > 0)]
    below = [
        f"{model_name(str(row.model))} ({row.informedness:+.3f})"
        for row in table[(table["amount"] == 0) & (table["informedness"] <= _NO_SKILL)].itertuples()
    ]
    names = [
        f"{model_name(str(row.model))} {share_text(row.amount)} ({row.informedness:+.3f})"
        for row in known.itertuples()
    ]
    rows = []
    for model, own in table.groupby("model", sort=False):
        for row in own.itertuples():
            q = float(str(row.positive_share))
            coin = label_blind([q], counts["True"] / items, 0.5)["accuracy"][0]
            amount = share_text(row.amount)
            share, j = f"{q:.3f}", f"{row.informedness:+.3f}"
            rows.append((model_name(str(model)), amount, share, j, row.accuracy, f"{coin:.4f}"))
    verdict = (
        f"{len(known)} of {int((table['amount'] > 0).sum())} pruned models of the concluding "
        f"ladders have an informedness above {_NO_SKILL}: {joined(names)}. Of the dense models "
        f"{joined(below)} does not reach it either, and so had next to no skill to lose. The "
        f"average confusion "
        f"matrices agree with the accuracies to {worst:.5f}, and two counts that were cut to "
        f"whole numbers may be off by {2 / items:.5f}."
    )
    heads = ("model", "pruned per round", "answers True", "informedness", "accuracy", "coin")
    caption = (
        "Concluding ladders: share of True answers, informedness (recall + specificity - 1), "
        "accuracy, and accuracy of a coin that says True as often."
    )
    claim = "Pruned models keep some ability on VSR."
    return Finding(claim, [label_blind], verdict, table_of(rows, heads, caption))
