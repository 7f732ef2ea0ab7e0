"""What the audit finds in the main source where numbers are held against each other.

p-values against means, fidelity against accuracies, and what was misprinted.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from lthlib.report.audit import source
from lthlib.report.audit.detectors import batch_sizes, constant_answers, kind_of_test
from lthlib.report.audit.findings import (
    Finding,
    items_and_labels,
    shares,
    table_of,
)
from lthlib.report.audit.granularity import consistent_runs
from lthlib.report.audit.identities import feasibility, kappa_table, whose_accuracy
from lthlib.report.audit.labels import always_true_by_batch
from lthlib.report.audit.reconstruction import Reconstruction, odd_pair, reconstruct
from lthlib.report.audit.source import joined, share_text
from lthlib.report.audit.table import audit_table
from lthlib.report.exhibits import Exhibit, model_name
from lthlib.report.measures import kappa_bounds
from lthlib.report.source import published

E15 = ("lxmert", "secondary", "faithful_accuracy")  # its p-values do not fit together


# -- p-values -------------------------------------------------------------------------------------
@cache
def reconstructions() -> dict[tuple[str, str, str], Reconstruction]:
    """Runs, test and deviations behind the p-values of each group and measure of faithfulness.

    The p-values that belong to no other is left out of the one group that has it.
    """
    found = {}
    for model, ladder in source.GROUPS:
        for metric in source.FAITHFULNESS:
            found[model, ladder, metric] = reconstruct(*_clean_pairs(model, ladder, metric))
    return found


def _clean_pairs(model: str, ladder: str, metric: str) -> source.Pairs:
    """Means and p-values of a group, without the p-value that does not belong to its table."""
    means, pairs = source.pairs(model, ladder, metric)
    if (model, ladder, metric) == E15:
        odd = odd_pair(means, pairs, runs=10).iloc[0]
        keep = (pairs["first"] != odd["first"]) | (pairs["second"] != odd["second"])
        pairs = pairs[keep]
    return source.Pairs(means, pairs)


def recovered() -> pd.DataFrame:
    """Standard deviations that the p-values determine: model, pruning_set, metric, amount, sd.

    Where the number of runs is not determined (three different models only), the source's ten are
    taken. Accuracies have one p-value a model, and deviations only where one is known: 0 for a
    model that is constant in every run, and that of a mixture of constant models.
    """
    rows = []
    for (model, ladder, metric), fit in reconstructions().items():
        if fit.runs is None:
            fit = reconstruct(*source.pairs(model, ladder, metric), runs=[10], tests=["student"])
        rows += [(model, ladder, metric, amount, sd) for amount, sd in fit.sd.items()]
    for model, ladder in source.GROUPS:
        rows += _accuracy_deviations(model, ladder)
    columns = ["model", "pruning_set", "metric", "amount", "sd"]
    return pd.DataFrame(rows, columns=columns)


def _accuracy_deviations(model: str, ladder: str) -> list[tuple[str, str, str, Hashable, float]]:
    items, counts = items_and_labels()
    table = source.rows()
    own = table[(table["model"] == model) & (table["pruning_set"] == ladder)]
    runs = int(own["runs"].iloc[0])
    known: dict[Hashable, float] = {}
    for amount, printed in zip(own["amount"], own["accuracy_pruned"], strict=True):
        text = f"{float(printed):.5f}"
        answer = constant_answers([text], counts, runs=runs)[0]
        if answer:
            k = int(answer.split()[0]) if answer[0].isdigit() else 0
            right = [counts["True"] / items] * k + [counts["False"] / items] * (runs - k)
            known[amount] = float(np.std(right, ddof=1))
    if not known:
        return []
    means, pairs = source.pairs(model, ladder, "accuracy")
    fit = reconstruct(means, pairs, runs=[runs], tests=["student"], known_sd=known)
    return [(model, ladder, "accuracy", amount, sd) for amount, sd in fit.sd.items()]


def runs_by_p_values() -> Finding:
    """How many runs, and which test, the pairwise p-values give away."""
    rows, runs, errors, worse = [], dict[str, set[int]](), [], []
    for (model, ladder, metric), fit in reconstructions().items():
        name, told = source.group_name(model, ladder), fit.runs is not None
        times = (fit.times_worse("runs"), fit.times_worse("test")) if told else ()
        shown = [f"{number:,.0f}" for number in times] or ["", ""]
        what, rms = metric.replace("_", " "), float(fit.best["rms"])
        rows.append((name, what, fit.pairs, fit.runs or "not determined", f"{rms:.1g}", *shown))
        if fit.runs is not None:
            runs.setdefault(name, set()).add(fit.runs)
            errors.append(rms)
            worse.append(times)
    (least_runs, least_test), (most_runs, most_test) = np.min(worse, axis=0), np.max(worse, axis=0)
    verdict = (
        "One deviation a model and one number of runs explain all p-values of a group to a root "
        f"mean square error of log p of {min(errors):.5f} to {max(errors):.3f}: "
        f"{joined(f'{name} {joined(sorted(n))} runs' for name, n in runs.items())}. The next best "
        f"number of runs fits {least_runs:.0f} to {most_runs:.0f} times worse, Welch's test "
        f"{least_test:.0f} to {most_test:,.0f} times. The standard deviations of "
        f"{len(recovered())} printed means follow; none was printed."
    )
    heads = ("group", "measure", "p-values", "runs", "rms of log p", "next runs, times worse")
    caption = (
        "Number of runs from means and pairwise p-values (Student's t-test, runs alike in number): "
        "error of the best fit, and how many times larger it is for the next best number of runs "
        "and for Welch's test. Where four of six models are the same, three deviations explain "
        "three p-values for any number of runs."
    )
    claim = "Every p-value compares 10 runs with 10 runs."
    exhibit = table_of(rows, (*heads, "Welch, times worse"), caption)
    return Finding(claim, [reconstruct], verdict, exhibit)


def kind() -> Finding:
    """Independent or paired samples, and tests of equal samples."""
    rows = []
    for model, ladder in source.GROUPS:
        metric = "faithful_accuracy"
        fit = reconstructions()[model, ladder, metric]
        found = kind_of_test(*source.pairs(model, ladder, metric), fit=fit)
        rows.append((source.group_name(model, ladder), *found.values()))
    wilcoxon = published.select(metric="p_value_wilcoxon_accuracy")
    same = wilcoxon[wilcoxon["amount"] >= 0.75]["raw"]
    ones = [row[0] for row in rows if "p = 1" in row[2]]
    welch = sum(row[3] == "Student" for row in rows)
    verdict = (
        f"The samples were treated as independent: in {joined(ones)} equal samples have p = 1, "
        f"where a paired test has no value. {welch} groups are told to be Student's test, not "
        "Welch's. Dense and pruned model of one run share their seed, so a paired test was "
        f"called for. Table 6 gives {same.nunique()} different p-values ({joined(same.unique())}) "
        f"to {len(same)} models with the same accuracy in every run, which only the breaking of "
        "ties explains."
    )
    heads = ("group", "samples", "why", "test", "why the test")
    caption = "What the t-tests of faithful accuracy were."
    claim = "A t-test shows which pruned models differ from the dense model."
    return Finding(claim, [kind_of_test], verdict, table_of(rows, heads, caption))


def odd_p_value() -> Finding:
    """The p-value that does not belong to the others of its table."""
    means, pairs = source.pairs(*E15)
    whole = reconstruct(means, pairs, runs=[10], tests=["student"])
    table = odd_pair(means, pairs, runs=10)
    odd, rest = table.iloc[0], table.iloc[1:]
    rows = [
        (
            share_text(row.first),
            share_text(row.second),
            row.p,
            f"{row.implied:.3g}",
            f"{row.rms:.2g}",
        )
        for row in table.head(4).itertuples()
    ]
    verdict = (
        f"All {whole.pairs} p-values of {source.group_name(*E15[:2])}, faithful accuracy, fit 10 "
        f"runs with an error of {whole.best['rms']:.2f}; without {odd['p']} (pruned by "
        f"{share_text(odd['first'])} against {share_text(odd['second'])}) with "
        f"{odd['rms']:.5f}, and without any other no better than {rest['rms'].min():.2f}. The "
        f"others imply {odd['implied']:.3g}: exponent "
        f"{_exponent(odd['implied'])} was printed as {_exponent(float(odd['p']))}."
    )
    heads = ("pruned", "against", "printed p", "implied by the others", "error without it")
    caption = "Which p-value does not belong: the four pairs without which the rest fits best."
    claim = f"p = {odd['p']} for two sparse models."
    return Finding(claim, [odd_pair], verdict, table_of(rows, heads, caption))


def _exponent(number: float) -> int:
    return int(f"{number:e}".partition("e")[2])


# -- accuracies, fidelity, faithful accuracy ------------------------------------------------------
def feasible_rows() -> tuple[pd.DataFrame, dict[str, list[int]]]:
    """Rows of the source that can be at some admitted number of runs; and these, by group.

    Adds to :func:`source.rows` the columns of :func:`feasibility` at the most lenient number of
    runs, and impossible_at: the numbers at which the row is impossible.
    """
    parts, admitted = [], {}
    for name, own in source.by_group(source.rows()):
        model, ladder = own["model"].iloc[0], own["pruning_set"].iloc[0]
        admitted[name] = admitted_runs(model, ladder)
        found = {n: feasibility(_with_deviations(own, n)) for n in admitted[name]}
        times = pd.DataFrame({n: each["times"] for n, each in found.items()})
        best = times.idxmin(axis=1)
        lenient = pd.concat([found[int(n)].loc[best == n] for n in best.unique()])
        fails = pd.DataFrame({n: ~each["feasible"] for n, each in found.items()})
        impossible_at = [[n for n in admitted[name] if row[n]] for _, row in fails.iterrows()]
        parts.append(own.join(lenient).assign(impossible_at=pd.Series(impossible_at, own.index)))
    return pd.concat(parts), admitted


@cache
def admitted_runs(model: str, ladder: str) -> list[int]:
    """The numbers of runs of a group: what p-values determine, or what GRIM allows up to 30."""
    told = {fit.runs for (*key, _), fit in reconstructions().items() if key == [model, ladder]}
    told.discard(None)
    if told:
        return sorted(n for n in told if n is not None)
    _, counts = items_and_labels()
    cells = published.select(model=model, pruning_set=ladder)
    own = cells[cells["metric"].isin(["accuracy", "recall"]) & (cells["value"] < 1)]
    sizes = np.where(own["metric"] == "recall", counts["True"], sum(counts.values()))
    return consistent_runs(own["raw"], list(sizes))


def _with_deviations(rows: pd.DataFrame, runs: int) -> pd.DataFrame:
    """Rows of one group with the deviations that their p-values have at a number of runs."""
    model, ladder = rows["model"].iloc[0], rows["pruning_set"].iloc[0]
    columns = {}
    for metric in ("fidelity", "faithful_accuracy"):
        pairs = _clean_pairs(model, ladder, metric)
        fit = reconstruct(*pairs, runs=[runs], tests=["student"])
        # Models of one and the same accuracy share theirs.
        columns[f"sd_{metric}"] = rows["amount"].map(fit.sd).ffill()
    return rows.assign(runs=runs, **columns)


def _row_name(row: pd.Series[Any]) -> str:
    return f"{source.group_name(row['model'], row['pruning_set'])} {share_text(row['amount'])}"


def impossible_rows() -> Finding:
    """Which rows of accuracies, fidelity and faithful accuracy can be at all."""
    table, admitted = feasible_rows()
    rows = []
    for name, own in source.by_group(table):
        times = _span(own["times"], ".1f" if own["times"].max() < 20 else ".0f")
        feasible = f"{own['feasible'].sum()} of {len(own)}"
        gaps, bounds = _span(own["gap"], "+.3f"), _span(own["bound"], ".4f")
        rows.append((name, joined(admitted[name]), gaps, bounds, times, feasible))
    none = table[~table["feasible"]]
    some = table[table["feasible"] & (table["impossible_at"].map(len) > 0)]
    least, most = (none.sort_values("times").iloc[i] for i in (0, -1))
    verdict = (
        "Rows that can be averages of any two models over a number of runs that the printed "
        f"numbers admit: {source.counted(table, 'feasible')}. The {len(none)} others, whatever "
        f"that number is, miss what is allowed by {least['times']:.1f} times ({_row_name(least)}) "
        f"to {most['times']:.0f} times ({_row_name(most)}), whichever model the accuracy on "
        "unfaithful captions belongs to."
    )
    for _, row in some.iterrows():
        name = source.group_name(row["model"], row["pruning_set"])
        verdict += (
            f" {_row_name(row)} is impossible for {joined(row['impossible_at'])} runs alone, and "
            f"{joined(admitted[name])} are admitted."
        )
    heads = ("group", "runs", "gap", "largest possible", "gap / largest", "feasible")
    caption = (
        "Gap (A_d + A_m - 1 + F) / 2 - F A_f of the six rows of a group: zero in each run, and for "
        "means over runs no larger than the product of the standard deviations of F and A_f, "
        "which the p-values give for each number of runs that is admitted: the one that p-values "
        "determine, or those that the steps of the means allow. Shown for the most lenient."
    )
    claim = "Faithful accuracy, fidelity and accuracy are measured on the same runs."
    return Finding(claim, [feasibility], verdict, table_of(rows, heads, caption))


def _span(values: pd.Series[float], form: str) -> str:
    low, high = (format(end, form) for end in (values.min(), values.max()))
    return low if low == high else f"{low} to {high}"


def whose() -> Finding:
    """Whose accuracy on unfaithful captions is printed, and what the dense model then was."""
    rows, better, table = [], 0, source.rows()
    for name, own in source.by_group(table):
        error = whose_accuracy(own)
        f, faithful, u = (
            own[column].astype(float)
            for column in ("fidelity", "faithful_accuracy", "unfaithful_accuracy")
        )
        implied = (f * faithful + (1 - f) * u).mean()
        better += int(error["dense"] < error["pruned"])
        rows.append(
            (
                name,
                f"{error['dense']:.4f}",
                f"{error['pruned']:.4f}",
                own["accuracy_dense"].iloc[0],
                f"{implied:.3f}",
            )
        )
    trained = [r for r in rows if r[0].startswith(("LXMERT", "UNITER"))]
    verdict = (
        f"{better} of {len(rows)} groups fit the reading that accuracy on unfaithful captions is "
        "the dense model's. Then the dense model of these tables had accuracy "
        f"{joined(r[4] for r in trained)} in {joined(r[0] for r in trained)}, where the accuracy "
        f"tables say {joined(r[3] for r in trained)}: it was not the same model."
    )
    heads = ("group", "error if dense", "error if pruned", "dense, printed", "dense, implied")
    caption = (
        "Accuracy of the pruned model rebuilt from fidelity and both accuracies, root mean square "
        "error under either reading; dense accuracy as printed and as implied by the first."
    )
    claim = "Unfaithful accuracy grows as models are pruned."
    return Finding(claim, [whose_accuracy], verdict, table_of(rows, heads, caption))


def fidelity_beyond_bounds() -> Finding:
    """Fidelity entries that the models' shares of True answers rule out."""
    items, counts = items_and_labels()
    entries = source.fidelity_entries()
    entries = entries[entries["pruning_set"] == "concluding"].reset_index(drop=True)
    share = shares().set_index(["model", "amount"])["positive_share"]
    for left, name in (("amount", "dense"), ("amount_b", "pruned")):
        keys = pd.MultiIndex.from_frame(entries[["model", left]])
        found = share.reindex(keys).to_numpy()
        entries[f"positive_share_{name}"] = [f"{max(q, 0):.4f}" for q in found]
    entries["runs"] = [admitted_runs(str(model), "concluding")[0] for model in entries["model"]]
    columns = ["fidelity", "positive_share_dense", "positive_share_pruned", "runs"]
    entries["out"] = audit_table(entries[columns], classes=2)["verdict"] == "impossible"
    lr = published.select(pruning_set="lr", metric="fidelity")
    off = lr[(lr["row"] != lr["column"]) & ~lr["table"].str.contains("first printing")]
    mixed = off[(off["value"] > 0) & (off["value"] < 100)]
    constant = _constant_false(items, counts)
    verdict = (
        f"{entries['out'].sum()} of {len(entries)} entries of the concluding fidelity matrices are "
        "impossible for models with these shares of True answers: "
        f"{source.counted(entries, 'out')}. LXMERT pruned by 40 % always says False, "
        f"so that {constant}. The learning-rate models are all "
        f"constant, so that two of them agree on 0 or 100 % of the captions; {len(mixed)} of "
        f"{len(off)} printed entries say something else."
    )
    rows = [
        (
            model_name(str(row.model)),
            f"{share_text(row.amount)} and {share_text(row.amount_b)}",
            row.fidelity,
            row.positive_share_dense,
            row.positive_share_pruned,
        )
        for row in entries[entries["out"]].itertuples()
    ]
    heads = ("model", "between", "fidelity", "True answers, one", "True answers, other")
    caption = "Entries outside |p + q - 1| <= F <= 1 - |p - q|, for shares p and q of True answers."
    claim = "The appendix gives the fidelity between every two models."
    return Finding(claim, [audit_table], verdict, table_of(rows, heads, caption))


def _constant_false(items: int, counts: dict[str, int]) -> str:
    """What LXMERT's dense model and a model that always says False must have in common."""
    cells = published.select(model="lxmert", pruning_set="concluding").fillna({"amount": 0.0})
    dense = cells[cells["amount"] == 0].set_index("metric")["value"]
    tp = dense["recall"] * counts["True"]
    tn = dense["accuracy"] * items - tp
    said_false = tn + counts["True"] - tp
    must = {
        "fidelity": said_false / items,
        "faithful accuracy": tn / said_false,
        "unfaithful accuracy": tp / (items - said_false),
    }
    table = source.rows()
    keep = (table["model"] == "lxmert") & (table["pruning_set"] == "concluding")
    row = table[keep & (table["amount"] == 0.4)].iloc[0]
    parts = [
        f"{name} must be {value:.4f} (printed {float(row[name.replace(' ', '_')]):.4f})"
        for name, value in must.items()
    ]
    return joined(parts)


def kappa() -> Finding:
    """Agreement beyond chance of the concluding models."""
    table = source.rows()
    table = table[table["pruning_set"] == "concluding"].reset_index(drop=True)
    share = shares().set_index(["model", "amount"])["positive_share"].clip(lower=0)
    dense = share.xs(0.0, level="amount")
    table["positive_share_dense"] = [f"{dense[m]:.5f}" for m in table["model"]]
    table["positive_share_pruned"] = [
        f"{share[key]:.5f}" for key in zip(table["model"], table["amount"], strict=True)
    ]
    found = kappa_table(table)
    chance = found["kappa"] < 0.005
    below = int(chance.sum())
    low, high = kappa_bounds(np.array([0.9]))
    confidence = table["faithful_accuracy"].astype(float) / table["accuracy_pruned"].astype(float)
    verdict = (
        f"{below} of {len(table)} pruned models agree with their dense model no more than chance "
        f"would have it (kappa {_span(found.loc[chance, 'kappa'].round(2) + 0.0, '+.2f')}); the "
        f"other {len(table) - below} have {_span(found.loc[~chance, 'kappa'], '+.2f')}. "
        f"Fidelity alone says little: at 0.9 kappa may lie from {low[0]:+.2f} to {high[0]:+.2f}. "
        f"Confidence, which the source defines and never prints, is {confidence.min():.3f} to "
        f"{confidence.max():.3f}; it follows from accuracies and fidelity."
    )
    rows = [
        (
            model_name(model),
            share_text(amount),
            fidelity,
            f"{row.kappa:+.2f}",
            f"{row.f_low:+.2f} to {row.f_high:+.2f}",
            f"{row.low:+.2f} to {row.high:+.2f}",
            f"{c:.3f}",
        )
        for model, amount, fidelity, row, c in zip(
            table["model"],
            table["amount"],
            table["fidelity"],
            found.itertuples(),
            confidence,
            strict=True,
        )
    ]
    heads = ("model", "pruned per round", "fidelity", "kappa", "allowed by fidelity")
    more = ("allowed by both shares", "confidence")
    caption = (
        "Cohen's kappa of dense and pruned model from mean fidelity and mean shares of True "
        "answers, the range that fidelity alone allows in one run, and the range that both "
        "shares of True answers allow."
    )
    claim = "Fidelity measures how far a pruned model keeps the answers of its dense model."
    return Finding(claim, [kappa_table], verdict, table_of(rows, (*heads, *more), caption))


# -- misprints ------------------------------------------------------------------------------------
def misprints() -> Finding:
    """What is printed wrongly; first what arithmetic proves."""
    f1 = batch_sizes(always_true_by_batch(), {"f1": "0.6538", "recall": "0.9684"}).iloc[0]
    odd = odd_pair(*source.pairs(*E15), runs=10).iloc[0]
    table = published.misprints()
    verdict = (
        f"{len(table)} faults are known. Arithmetic proves three: F1 0.6538 stands for "
        f"{f1['f1']:.4f} (two digits changed places), p = {odd['p']} for {odd['implied']:.3g} (the "
        "exponent), and of a correlation's p = 0.80794 one digit is wrong, as shown above."
    )
    exhibit: Exhibit = table_of(
        table[["line", "text"]].to_numpy().tolist(),
        ("line of the source", "what is wrong"),
        "Misprints, missing headings and numbers that contradict the text.",
    )
    return Finding("The tables are printed as they were computed.", [odd_pair, batch_sizes],
                   verdict, exhibit)  # fmt: skip
