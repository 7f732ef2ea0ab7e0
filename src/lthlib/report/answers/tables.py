"""Tables of the chapter on answers: every number beside its null, its floor and its interval.

Frames are those of :class:`frames.Answers`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd

from lthlib.report.answers.kept import EXPECTED, group_differences
from lthlib.report.exhibits import (
    MEASURES,
    NOT_DEFINED,
    Exhibit,
    Measure,
    intervals,
    model_name,
    seeds_and_items,
    sparsity_text,
    summary_text,
)
from lthlib.report.plain import plain_table
from lthlib.report.statistics import ALPHA, DENSE_LEVEL, seed_summary, t_interval
from lthlib.report.tidy import in_order, over_seeds
from lthlib.report.words import counted, proper

IS_DENSE = "is dense"
_SIGNED = -1.0  # the least that a difference of shares can be
# Under their second name: negative flips are b, positive flips are c, flips their sum.
_REPEATS = ("flips", "negative_flips", "positive_flips")


def kept_table(frame: pd.DataFrame) -> Exhibit:
    """Fidelity of every level beside its null, its floor, and the tickets of other seeds."""
    headings = {
        "fidelity": "fidelity, %",
        "fidelity_null": "label-blind, %",
        "fidelity_residual": "residual, points",
        "fidelity_skill": "same skill, %",
        "floor": "floor, %",
        "relative_fidelity": "relative to floor",
        "other_ticket": "ticket of another seed, %",
        "own_answers": "own minus other, points",
        "kappa": "kappa",
    }
    main = frame[frame["branch"] == "main"]
    note = (
        "Residual: fidelity minus what the ticket's share of each answer alone would give. Same "
        "skill: two models of these accuracies whose errors are independent. Floor: two dense "
        "models that differ in their seed alone."
    )
    return _levels(main, headings, "Answers kept", note)


def null_table(frame: pd.DataFrame, level: int) -> Exhibit:
    """Every measure at one level: as found, of the label-blind null, and what is left."""
    chosen = frame[(frame["branch"] == "main") & (frame["level"] == level)]
    models = in_order(chosen["model"])
    shown = [name for name in EXPECTED if name not in _REPEATS]
    if not chosen["g"].any() and not chosen["g_null"].any():
        shown.remove("g")
    columns: dict[str, list[str]] = {"measure": [MEASURES[name].heading for name in shown]}
    for model in models:
        own = chosen[chosen["model"] == model]
        for suffix, word in (("", "found"), ("_null", "label-blind"), ("_residual", "residual")):
            cells = [_mean_text(name, own[f"{name}{suffix}"], suffix) for name in shown]
            columns[f"{model_name(model)}: {word}"] = cells
    caption = (
        f"Every measure at {_share(chosen)} sparsity beside its label-blind null, which is what it "
        f"would be if the ticket only had its share of each answer: mean over "
        f"{seeds_and_items(chosen)}; in brackets: {intervals(chosen)}. Residual: the difference. "
        "a, b, c, e and g share out all decisions by who is right: both models (a), dense alone "
        "(b), the ticket alone (c), neither, with the same answer (e) or with another (g, of which "
        "there is none with two answers). Churn is 1 - fidelity."
    )
    kinds = [f"{name}{suffix}" for name in shown for suffix in ("", "_null", "_residual")]
    return plain_table(pd.DataFrame(columns), caption, data=chosen[["run", "model", *kinds]])


def exemplar_table(shares: pd.DataFrame, icc: pd.DataFrame) -> Exhibit:
    """Pruning-identified exemplars, and whether seeds change the same decisions.

    shares, icc: of :func:`kept.exemplar_shares` and `unfaithful_icc`, each with
    `blind`, the same of shuffled answers.
    """
    keys = ["model", "level"]
    ours = icc.rename(columns={"blind": "icc_blind", "low": "icc_low", "high": "icc_high"})
    names = [*keys, "icc", "icc_low", "icc_high", "icc_blind", "flags"]
    data = _sorted(shares.merge(ours[names], on=keys, validate="one_to_one"))
    columns = {
        "PIE, %": [_with_ends(row, "pie") for _, row in data.iterrows()],
        **{
            heading: [_percent(value) for value in data[name]]
            for name, heading in (
                ("loss", "right before, %"),
                ("gain", "right now, %"),
                ("tied", "tied, %"),
                ("halves", "PIE, halves, %"),
                ("null", "dense halves, %"),
                ("excess", "excess, points"),
                ("blind", "label-blind PIE, %"),
            )
        },
        "ICC": [_icc_text(row) for _, row in data.iterrows()],
        "label-blind ICC": [_number(value) for value in data["icc_blind"]],
    }
    caption = (
        "Pruning-identified exemplars (PIE, Hooker et al. 2019): decisions whose most frequent "
        f"answer over {counted(data['seeds'], 'seed')} changes from dense to pruned, of "
        f"{_range(data['decisions'])}; in brackets the exact 95 % interval over decisions, seeds "
        "not resampled. Right before, right now: PIE where only the dense, only the pruned answer "
        "is right. Tied: no most frequent answer, no PIE. Halves: dense models of half of the "
        "seeds against tickets of the other half, and against its dense models; excess is their "
        "difference. ICC(2,1): whether the same decisions are unfaithful at different seeds, "
        "with its 95 % F interval. Label-blind: both for answers dealt out anew among the items."
    )
    table = pd.DataFrame({**_level_columns(data), **columns})
    return plain_table(table, caption, data=data)


_LEFT_OUT = "Levels at which some seed does not beat the trivial rule are left out."


def block_table(tests: pd.DataFrame) -> Exhibit:
    """Whether the answers of one seed's levels belong together, by model.

    tests: of :attr:`frames.Answers.blocks`.
    """
    data = tests
    rows = [
        {
            "model": model_name(row["model"]),
            "same seed, %": _percent(row["within"], 2),
            "different seeds, %": _percent(row["between"], 2),
            "difference, points": _percent(row["difference"], 2),
            "p": row["flags"] or _p(row["p_block"]),
            "p, Holm": row["flags"] or _p(row["holm_block"]),
            "seeds": f"{row['seeds']}",
            "levels": f"{row['levels']} of {row['levels'] + row['left_out']}",
        }
        for _, row in data.iterrows()
    ]
    done = int(tests["permutations"].max())
    caption = (
        "Equal answers between different levels, of the same seed and of different seeds. p: "
        f"one-sided permutation test, the seeds' names permuted within each level, {done:,} times; "
        "Holm over the models of this table. Its smallest possible value is "
        f"{1 / (1 + done):.4f}. {_LEFT_OUT}"
        if done
        else "Equal answers between different levels, of the same seed and of different seeds; "
        f"no test was made, and the cells say why. {_LEFT_OUT}"
    )
    return plain_table(pd.DataFrame(rows), caption, data=data)


def probability_table(frame: pd.DataFrame) -> Exhibit:
    """Calibration of every level, and its distance from dense.

    frame: the probabilities.
    """
    names = ["ece", "brier", "nll", "overconfidence", "kl", "js", "margin_change"]
    headings = {name: MEASURES[name].heading for name in [*names, "logit_spearman"]}
    floors = "; ".join(
        f"{model_name(model)} {own['kl_floor'].mean():.3f}, Spearman "
        f"{_fixed(own['logit_spearman_floor'].mean())}"
        for model in in_order(frame["model"])
        for own in [frame[frame["model"] == model]]
        if own["kl_floor"].notna().any()
    )
    note = (
        "Calibration error over 15 bins of equal width on (0, 1]. KL is that of the dense model's "
        "probabilities from the ticket's. Margin change: how much weaker (negative) the ticket's "
        "log-odds are for dense's answers."
    )
    note += f" Between dense models of different seeds KL is: {floors}." if floors else ""
    return _levels(frame, headings, "Probabilities", note)


def group_table(groups: pd.DataFrame, level: int, what: str) -> Exhibit:
    """Accuracy, fidelity and flips within each group at one level; which groups lose most.

    groups: of :func:`kept.by_group` with a column model.
    """
    chosen = groups[groups["level"] == level]
    data = group_gaps(groups, level)
    rows = []
    for model in in_order(chosen["model"]):
        own = chosen[chosen["model"] == model]
        means = own.groupby("group").mean(numeric_only=True)
        gaps = data[data["model"] == model].set_index("group")
        fidelity = seed_summary(own, ["group"], "fidelity").set_index("group")
        for group in fidelity["mean"].sort_values().index:
            mean = means.loc[group]
            rows.append(
                {
                    "model": model_name(model),
                    what: str(group),
                    "decisions": f"{mean['decisions']:,.0f}",
                    "dense accuracy, %": _percent(mean["accuracy_dense"]),
                    "accuracy, %": _percent(mean["accuracy"]),
                    "fidelity, %": summary_text(MEASURES["fidelity"], fidelity.loc[group]),
                    "two dense seeds, %": _percent(mean["floor"]),
                    "same skill, %": _percent(mean["fidelity_skill"]),
                    "label-blind, %": _percent(mean["fidelity_null"]),
                    "lost, %": _percent(mean["negative_flips"]),
                    "gained, %": _percent(mean["positive_flips"]),
                    "fidelity minus the rest, points": proper(
                        summary_text(replace(MEASURES["fidelity"], low=_SIGNED), gaps.loc[group])
                    ),
                }
            )
    count = chosen["group"].nunique()
    caption = (
        f"By {what}, at {_share(chosen)} sparsity: mean over seeds; in brackets: "
        f"{intervals(chosen)}. Last column: its intervals hold for all {count} groups of a model "
        f"together (Bonferroni). Two dense seeds: how often dense models of different seeds agree "
        "there. Same skill: two models of these accuracies on each label, whose errors are "
        "independent. Label-blind: the ticket's share of answers over all groups."
    )
    return plain_table(pd.DataFrame(rows), caption, data=data)


def group_gaps(groups: pd.DataFrame, level: int) -> pd.DataFrame:
    """Fidelity of each group minus that of the rest at one level, mean over seeds.

    Intervals are simultaneous: each has level 1 - 0.05 / groups (Bonferroni). Returns model, group,
    mean, low, high, n, seeds, interval.
    """
    chosen = groups[groups["level"] == level]
    parts = []
    for model in in_order(chosen["model"]):
        own = group_differences(chosen[chosen["model"] == model], "fidelity")
        each = 1 - ALPHA / own["group"].nunique()
        parts.append(seed_summary(own, ["group"], "difference", level=each).assign(model=model))
    return pd.concat(parts, ignore_index=True)


# -- parts ----------------------------------------------------------------------------------------
def _levels(frame: pd.DataFrame, headings: dict[str, str], title: str, note: str) -> Exhibit:
    """A row for each model and level, a column for each measure: mean and interval over seeds."""
    keys = ["model", "level"]
    data = over_seeds(frame, keys, list(headings))
    rows = _sorted(data.drop_duplicates(keys))
    columns = _level_columns(rows)
    places = pd.MultiIndex.from_frame(rows[keys])
    for name, heading in headings.items():
        cells = data[data["measure"] == name].set_index(keys).loc[places]
        columns[heading] = [
            IS_DENSE
            if cells["n"].iloc[i] == 0 and place[1] == DENSE_LEVEL
            else proper(summary_text(_measure(name), cells.iloc[i]))
            for i, place in enumerate(places)
        ]
    caption = (
        f"{title}: mean over {seeds_and_items(frame)}; in brackets: {intervals(frame)}. {note} "
        "Sparsity is the share of prunable weights that are zero."
    )
    return plain_table(pd.DataFrame(columns), caption, data=data)


def _measure(name: str) -> Measure:
    """The measure of a column; a null is written as its measure, a residual with its sign."""
    base = name.removesuffix("_residual").removesuffix("_null").removesuffix("_skill")
    known = MEASURES[base]
    return replace(known, low=_SIGNED) if name.endswith("_residual") else known


def _level_columns(rows: pd.DataFrame) -> dict[str, list[str]]:
    return {
        "model": [model_name(model) for model in rows["model"]],
        "sparsity, %": [sparsity_text(share) for share in rows["sparsity"]],
    }


def _sorted(data: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order of models, then of levels."""
    models = in_order(data["model"])
    key = data["model"].map(models.index) * 1_000 + data["level"]
    return data.iloc[key.argsort(kind="stable")].reset_index(drop=True)


def _mean_text(name: str, values: pd.Series[float], suffix: str) -> str:
    """Mean over seeds; of a residual with its interval."""
    known, measure = values.dropna().astype(float), MEASURES[name]
    if known.empty:
        return NOT_DEFINED
    text, found = measure.text(float(known.mean())), t_interval(known)
    if suffix == "_residual" and found.low is not None and found.high is not None:
        text += f" ({measure.text(found.low)} to {measure.text(found.high)})"
    return proper(text)


def _with_ends(row: pd.Series[float], name: str) -> str:
    return f"{_percent(row[name])} ({_percent(row['low'])} to {_percent(row['high'])})"


def _icc_text(row: pd.Series[Any]) -> str:
    if pd.isna(row["icc"]):
        return str(row["flags"])
    if pd.isna(row["icc_low"]):
        return f"{row['icc']:.2f} ({row['flags']})"
    return proper(f"{row['icc']:.2f} ({row['icc_low']:.2f} to {row['icc_high']:.2f})")


def _percent(value: float, digits: int = 1) -> str:
    return NOT_DEFINED if pd.isna(value) else proper(f"{100 * value:.{digits}f}")


def _number(value: float) -> str:
    return NOT_DEFINED if pd.isna(value) else proper(f"{value:.2f}")


def _fixed(value: float) -> str:
    return NOT_DEFINED if pd.isna(value) else proper(f"{value:.3f}")


def _p(value: float) -> str:
    return NOT_DEFINED if pd.isna(value) else f"{value:.4f}"


def _share(frame: pd.DataFrame) -> str:
    return f"{sparsity_text(frame['sparsity'].mean())} %"


def _range(values: pd.Series[int]) -> str:
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
