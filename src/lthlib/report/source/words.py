"""Sentences of the chapters on the main source: its claim, what its numbers are, and what ours say.

Every number in them is computed, from its own tables or from our records. They say what was
measured and leave judging to the reader.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lthlib.reference import PUBLISHED_RATES
from lthlib.report.exhibits import MEASURES, model_name, sparsity_text, summary_text
from lthlib.report.measures import at_stage
from lthlib.report.reading import Reading, records_line
from lthlib.report.source import published
from lthlib.report.source.evidence import (
    NOT_RUN_YET,
    Arm,
    Evidence,
    amount_text,
    arms,
    levels_of,
    middle_level,
    rate_text,
)
from lthlib.report.words import counted, listed
from lthlib.study import MODELS, PUBLISHED_AMOUNTS, cumulative

ALPHA = 0.05  # the source's threshold


def records_sentence(evidence: Evidence) -> str:
    """Which records a chapter shows."""
    readings = evidence.all()
    if not readings:
        return "None of the records of this chapter has been made yet; the source stands alone."
    return records_line(readings)


# -- one model and ladder -------------------------------------------------------------------------
def claim_sentence(model: str, ladder: str) -> str:
    """What the source concludes from its accuracies: p above 0.05 is a winning ticket."""
    chosen = {"model": model, "pruning_set": ladder, "dataset": "VSR"}
    accuracy = published.select(metric="accuracy", **chosen)
    tests = published.select(metric="p_value_ttest_accuracy", **chosen)
    share = accuracy.set_index("amount")["share"]
    dense = float(accuracy.loc[accuracy["amount"].isna(), "share"].iloc[0])
    tickets = tests[tests["corrected"] > ALPHA]
    parts = [
        f"{100 * row['amount']:g} % a round (p = {row['raw']}; {100 * share[row['amount']]:.2f} % "
        f"against {100 * dense:.2f} %)"
        for _, row in tickets.iterrows()
    ]
    name = model_name(model)
    found = f"{name} is one at {listed(parts)}" if parts else f"none of the levels of {name} is one"
    return (
        f"The source calls a pruned model a winning ticket where a t-test of its accuracy against "
        f"dense gives p above {ALPHA}. On this ladder {found}."
    )


def numbers_sentence(model: str, ladder: str) -> str:
    """What the source's accuracies are: constant answers, runs, and a dense model above them."""
    chosen = {"model": model, "pruning_set": ladder, "dataset": "VSR"}
    accuracy = published.select(metric="accuracy", **chosen)
    pruned = accuracy[accuracy["amount"].notna()]
    constant = pruned[pruned["rule"] != ""]
    parts = [
        f"{len(cells)} with {_values(cells)}: {rule}"
        for rule, cells in constant.groupby("rule", sort=False)
    ]
    dense = float(accuracy.loc[accuracy["amount"].isna(), "share"].iloc[0])
    best = published.CONSTANT["always True"]
    side = "above" if dense > best else "below"
    text = (
        f"Of its {len(pruned)} pruned accuracies, {_count(len(constant))} of a rule that looks at "
        f"no input{f' ({listed(parts)})' if parts else ''}. Its dense model has "
        f"{100 * dense:.2f} %, {side} the {100 * best:.2f} % of answering True to all "
        f"{published.ITEMS:,} captions."
    )
    runs = accuracy[["n_runs_claimed", "n_runs"]].iloc[0]
    if runs.iloc[0] != runs.iloc[1]:
        text += f" It claims {runs.iloc[0]:.0f} runs; its own numbers only fit {runs.iloc[1]:.0f}."
    return text


def ours_sentences(evidence: Evidence, model: str, ladder: str) -> list[str]:
    """What our records of the same design say: as published, as a lottery, and random masks."""
    return [_arm_sentence(arm, ladder) for arm in arms(evidence, model, ladder)]


def _arm_sentence(arm: Arm, ladder: str) -> str:
    name = arm.name.removeprefix("ours, ").capitalize()
    if arm.reading is None:
        return f"{name}: {NOT_RUN_YET}."
    gate = at_stage(arm.reading.gate, arm.reading.stage)
    beats = gate[gate["branch"] == arm.branch].groupby("level")["beats"].agg(["sum", "size"])
    rows = {row["level"]: row for _, row in arm.summary("accuracy").iterrows()}
    shown = [level for level in levels_of(ladder) if level in rows and level in beats.index]
    parts = [
        f"{amount_text(ladder, level)} {summary_text(MEASURES['accuracy'], rows[level])}"
        for level in shown
    ]
    return (
        f"{name}, {counted(arm.seeds, 'seed')}: accuracy in %, for dense and by the share pruned "
        f"each round: {'; '.join(parts)}. {_beats_sentence(beats.loc[shown], ladder)}"
    )


def _beats_sentence(beats: pd.DataFrame, ladder: str) -> str:
    """Where the trivial rule is shown to be beaten; beats: `sum` of `size` seeds, by level."""
    every, some, never = [], [], []
    for level, row in beats.iterrows():
        name = amount_text(ladder, int(str(level)))
        if row["sum"] == row["size"]:
            every.append(name)
        elif row["sum"]:
            some.append(f"{name} ({row['sum']} of {row['size']})")
        else:
            never.append(name)
    kinds = {"every seed": every, "some seeds only": some, "no seed": never}
    said = [f"at {seeds} for {listed(names)}" for seeds, names in kinds.items() if names]
    return f"The best rule that looks at no input is shown to be beaten {'; '.join(said)}."


# -- learning rates -------------------------------------------------------------------------------
def rates_sentence(dataset: str) -> str:
    """What the source's accuracies over learning rates are."""
    cells = published.select(pruning_set="lr", metric="accuracy", dataset=dataset)
    parts = [
        f"{len(own)} with {_values(own)} ({rule})"
        for rule, own in cells[cells["rule"] != ""].groupby("rule", sort=False)
    ]
    left = cells[cells["rule"] == ""]
    rest = f" The others, {len(left)} of them, are not." if len(left) else " There are no others."
    return (
        f"Of the source's {len(cells)} accuracies over learning rates on {dataset}, those of a "
        f"rule that looks at no input are {listed(parts)}.{rest}"
    )


def rates_claim() -> str:
    """The source's claim about learning rates on Open-I, with the numbers that it rests on."""
    cells = published.select(pruning_set="lr", metric="accuracy", dataset="OPEN-I")
    dense = cells[cells["amount"] == 0].set_index(["model", "learning_rate"])["share"]
    pruned = cells[cells["amount"] > 0]
    before = dense.loc[list(zip(pruned["model"], pruned["learning_rate"], strict=True))].to_numpy()
    above = pruned[pruned["share"].to_numpy() > before]
    lowest = above["learning_rate"].min()
    at_lowest = int((above["learning_rate"] == lowest).sum())
    return (
        "The source concludes that small learning rates find winning tickets. Its pruned models "
        f"are above their dense one in {len(above)} of {len(pruned)} cells, {at_lowest} of them at "
        f"the lowest rate ({rate_text(lowest)}), by {100 * _least(above, dense):.2f} to "
        f"{100 * _most(above, dense):.2f} points, each from what it says is one run."
    )


def _gains(above: pd.DataFrame, dense: pd.Series[float]) -> list[float]:
    return [
        float(row["share"] - dense[row["model"], row["learning_rate"]])
        for _, row in above.iterrows()
    ]


def _least(above: pd.DataFrame, dense: pd.Series[float]) -> float:
    return min(_gains(above, dense))


def _most(above: pd.DataFrame, dense: pd.Series[float]) -> float:
    return max(_gains(above, dense))


def our_rates_sentence(evidence: Evidence, task: str) -> str:
    """How many of our cells over the same learning rates are a constant answer, as published."""
    readings = evidence.readings("published-rates", task=task)
    if not readings:
        return f"Ours on {task}: {NOT_RUN_YET}."
    cells, constant, beats = 0, 0, 0
    for reading in readings:
        quality = at_stage(reading.quality, reading.stage)
        gate = at_stage(reading.gate, reading.stage)
        shares = quality.groupby("level")["positive_share"].agg(["min", "max"])
        same = (shares["min"] == shares["max"]) & shares["max"].isin([0.0, 1.0])
        cells, constant = cells + len(shares), constant + int(same.sum())
        beats += int(gate.groupby("level")["beats"].all().sum())
    grid = len(MODELS) * len(PUBLISHED_RATES)
    return (
        f"Ours on {task}, as published, {len(readings)} of {grid} models and rates: of {cells} "
        f"cells {constant} are one constant answer at all of their seeds, and {beats} beat the "
        f"best rule that looks at no input at all of theirs ({_seeds(readings)})."
    )


def _seeds(readings: Sequence[Reading]) -> str:
    """How many studies have how many seeds, such as "1 seed in 40 studies, 10 seeds in 2"."""
    counts = pd.Series([len(reading.runs) for reading in readings]).value_counts().sort_index()
    return ", ".join(f"{counted(int(str(n)), 'seed')} in {of} studies" for n, of in counts.items())


# -- the summary ----------------------------------------------------------------------------------
def headline_sentence(evidence: Evidence) -> str:
    """Accuracy of all models at the middle level, under both protocols."""
    level = middle_level("concluding")
    parts = []
    for model in MODELS:
        texts = []
        for arm in arms(evidence, model, "concluding")[:2]:
            found = arm.column("accuracy", level)
            name = arm.name.removeprefix("ours, ")
            texts.append(
                f"{100 * sum(found) / len(found):.1f} % {name}" if found else f"{name} {arm.gap}"
            )
        parts.append(f"{model_name(model)} {' and '.join(texts)}")
    amount = PUBLISHED_AMOUNTS["concluding"][level - 1]
    return (
        f"At the middle level ({100 * amount:g} % a round, {sparsity_text(cumulative(amount))} % "
        f"in the end) mean accuracy is: {'; '.join(parts)}. The two differ in nothing but the "
        "protocol: what is pruned and when, whether weights rewind, and whether training follows."
    )


def constant_rows_sentence() -> str:
    """How many of the source's pruned accuracies on VSR are constant answers, over all models."""
    cells = published.select(metric="accuracy", dataset="VSR")
    rows = cells[cells["pruning_set"].isin(list(PUBLISHED_AMOUNTS)) & cells["amount"].notna()]
    parts = [
        f"{len(own)} {rule}" for rule, own in rows[rows["rule"] != ""].groupby("rule", sort=False)
    ]
    return (
        f"Of the {len(rows)} pruned accuracies in its two ladders, {(rows['rule'] != '').sum()} "
        f"are constant answers: {listed(parts)}."
    )


def misprints_sentence() -> str:
    """How many misprints are known, and what kinds of numbers carry a mark."""
    kinds = published.cells()["kinds"].str.split("; ").explode()
    counts = kinds[kinds != ""].value_counts()
    parts = [f"{count} {published.KINDS[str(kind)]}" for kind, count in counts.items()]
    return (
        f"{len(published.misprints())} misprints and slips of the source are known. Of the "
        f"{len(published.cells()):,} numbers in its tables: {'; '.join(parts)}."
    )


# -- parts ----------------------------------------------------------------------------------------
def _count(number: int) -> str:
    """The beginning of "... of a rule": how many accuracies are its."""
    return f"{number or 'none'} {'is that' if number < 2 else 'are those'}"


def _values(cells: pd.DataFrame) -> str:
    """The printed values of some cells, each once."""
    return " or ".join(dict.fromkeys(cells["raw"].astype(str).str.replace(" ", "")))
