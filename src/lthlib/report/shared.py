"""Exhibits and frames of several notebooks: what only one shows stands in it."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lthlib.report import tidy
from lthlib.report.draw import BRANCH_LOOKS, MODEL_LOOKS, Drawing, ladder
from lthlib.report.exhibits import NOT_RUN, model_name, sparsity_text
from lthlib.report.judgement.contrasts import AGAINST_DENSE, in_reading_order
from lthlib.report.measures import at_stage
from lthlib.report.reading import Reading, floors, joined
from lthlib.report.show import Table, ladder_table, lines, models_table, table, texts
from lthlib.report.statistics import DENSE_LEVEL, paired_differences

BY_MODEL, BY_BRANCH = ["model", "level"], ["level", "branch"]


def standing(readings: Sequence[Reading]) -> pd.DataFrame:
    """How dense models and tickets of several models stand: a row a model and level.

    Returns model, level, sparsity, sparsity_all; accuracy, fidelity and churn with their intervals
    (x_low, x_high); change (of accuracy from dense, paired by seed, with its interval); beats (at
    how many of `seeds` the best trivial rule is beaten); trivial_rule, trivial_accuracy; and
    floor_churn, the share on which two dense seeds differ (<NA> with one seed).
    """
    quality, agreements = (
        tidy.main_branch(joined(readings, name)) for name in ("quality", "agreements")
    )
    found = tidy.wide(tidy.over_seeds(quality, BY_MODEL, ["accuracy"]), BY_MODEL)
    kept = tidy.wide(tidy.over_seeds(agreements, BY_MODEL, ["fidelity", "churn"]), BY_MODEL)
    changes = paired_differences(quality, "accuracy", groups=["model"]).rename(
        columns={"difference": "change", "low": "change_low", "high": "change_high"}
    )
    gate = tidy.passed(tidy.main_branch(joined(readings, "gate")), BY_MODEL)
    rules = quality.groupby(BY_MODEL, as_index=False)[["trivial_rule", "trivial_accuracy"]].first()
    for other in (
        kept.drop(columns=["sparsity", "sparsity_all"]),
        changes[[*BY_MODEL, "change", "change_low", "change_high"]],
        gate,
        rules,
    ):
        found = found.merge(other, on=BY_MODEL, how="left", validate="one_to_one")
    return tidy.models_in_order(
        found.assign(floor_churn=(1 - found["model"].map(floors(readings))).astype("Float64"))
    )


def controls(readings: Sequence[Reading], level: int) -> pd.DataFrame:
    """Accuracy of each branch of one level: model, branch, accuracy with its interval, wins, seeds.

    wins: at how many seeds the ticket has more right; counted, and not tested.
    """
    quality = joined(readings, "quality")
    own = quality[quality["level"] == level]
    by = ["model", "level", "branch"]
    found = tidy.wide(tidy.over_seeds(own, by, ["accuracy"]), by)
    seeds = own.groupby(by, as_index=False).agg(seeds=("run", "nunique"))
    for other in (tidy.wins(own, "accuracy"), seeds):
        found = found.merge(other, on=by, how="left", validate="one_to_one")
    return tidy.models_in_order(found[found["branch"] != "main"])


def accuracy_and_fidelity(quality: pd.DataFrame, agreements: pd.DataFrame) -> Drawing:
    """Both of several models over the ladder, accuracy above; frames at one stage, with `model`."""
    frames = {"accuracy": tidy.main_branch(quality), "fidelity": tidy.main_branch(agreements)}
    parts = [tidy.with_seeds(frame, BY_MODEL, [name]) for name, frame in frames.items()]
    data = pd.concat(parts, ignore_index=True)
    looks = {model: MODEL_LOOKS[model] for model in tidy.in_order(data["model"])}
    best = frames["accuracy"].iloc[0]
    trivial = {f"{best['trivial_rule']} (trivial)": {"accuracy": float(best["trivial_accuracy"])}}
    return ladder(data, looks, series="model", panel="measure", lines=trivial)


def accuracy_and_agreement(quality: pd.DataFrame, agreements: pd.DataFrame) -> Table:
    """Models side by side, level by level: accuracy, fidelity and kappa of the main branch."""
    frames = [tidy.main_branch(frame) for frame in (quality, agreements)]
    parts = [(frames[0], ["accuracy"]), (frames[1], ["fidelity", "kappa"])]
    data = pd.concat(
        [tidy.over_seeds(frame, BY_MODEL, names) for frame, names in parts], ignore_index=True
    )
    return models_table(data, lambda name, k: "is dense" if name and k == DENSE_LEVEL else NOT_RUN)


def fidelity(reading: Reading) -> Drawing:
    """Fidelity over the ladder, beside what a constant answer and another dense seed reach."""
    frame = at_stage(reading.agreements, reading.stage)
    beside = {
        "a constant answer (trivial)": float(
            frame.groupby("run")["trivial_fidelity"].first().mean()
        )
    }
    if reading.floor is not None:
        beside["dense of another seed"] = reading.floor
    data = tidy.with_seeds(frame, BY_BRANCH, ["fidelity"])
    return ladder(data, BRANCH_LOOKS, series="branch", lines=beside)


def measures(frame: pd.DataFrame, names: Sequence[str], **extra: pd.Series[str]) -> Table:
    """Measures of one study by level and branch; see :func:`lthlib.report.show.ladder_table`."""
    return ladder_table(tidy.over_seeds(frame, BY_BRANCH, names), extra)


def power(tests: pd.DataFrame) -> Table:
    """What the tests against dense could have found: spread of differences, and what it detects.

    tests: a frame of :func:`lthlib.report.judgement.contrasts.contrast_tests`. Detectable is the
    true difference that a two-sided paired t test at 5 % finds with 80 % power, before Holm; seeds
    needed are those for equivalence to be shown with the same power where nothing differs.
    """
    own = in_reading_order(tests[tests["against"] == AGAINST_DENSE])
    told = {
        "sd of differences, points": texts(100 * own["sd"], "{:.2f}".format),
        "detectable, points": texts(100 * own["detectable"], "{:.2f}".format),
        "seeds needed": texts(own["seeds_needed"], "{:.0f}".format, "more than 1,000"),
    }
    cells = {
        "model": own["model"].map(model_name),
        "sparsity, %": own["sparsity"].map(sparsity_text),
        "seeds": own["n"],
        **{head: cell.mask(own["note"] != "", own["note"]) for head, cell in told.items()},
    }
    data = ["study", "model", "level", "sparsity", "n", "sd", "detectable", "seeds_needed"]
    return table(pd.DataFrame(cells), data=own[data])


# -- lines of prose --------------------------------------------------------------------------------
def dense_lines(stands: pd.DataFrame) -> str:
    """A line a model: how often dense is right, beside the best rule that looks at no input.

    stands: a frame of :func:`standing`.
    """
    return lines(
        stands[stands["level"] == DENSE_LEVEL],
        "- **{model}**, dense: right on {accuracy:%} of all decisions; {trivial_rule} on "
        "{trivial_accuracy:%}, beaten at {beats} of {seeds} seeds",
    )


def level_lines(stands: pd.DataFrame, level: int) -> str:
    """A line a model: what a ticket of one level does to accuracy and to answers."""
    return lines(
        stands[stands["level"] == level],
        "- **{model}** with {sparsity:%} of its prunable weights gone ({sparsity_all:%} of all): "
        "accuracy {change:pt} points, another answer on {churn:%}; two dense seeds differ on "
        "{floor_churn:%}",
    )


def control_lines(found: pd.DataFrame) -> str:
    """A line a control, of a frame of :func:`controls`."""
    return lines(
        found,
        "- **{model}**, {branch}: {accuracy:%}; the ticket has more at {wins} of {seeds} seeds",
    )


def changes_table(stands: pd.DataFrame) -> Table:
    """Accuracy of each ticket less its dense model's, and at how many seeds the rule is beaten."""
    pruned = stands[stands["level"] != DENSE_LEVEL]
    template = "{model}|{level}|{sparsity:%}|{sparsity_all:%}|{change:pt}|{beats} of {seeds}"
    heads = ["model", "level", "sparsity", "of all weights", "change, points", "beats the rule at"]
    cells = [line.split("|") for line in lines(pruned, template).splitlines()]
    data = ["model", "level", "sparsity", "sparsity_all", "change", "change_low", "change_high"]
    return table(pd.DataFrame(cells, columns=heads), data=pruned[[*data, "beats", "seeds"]])
