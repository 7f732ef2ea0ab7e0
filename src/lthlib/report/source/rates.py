"""Tables of the main source over learning rates, made again; ours stand below each of its rows.

Its five rates are 0.5 to 1.5 times its usual one, and ours 0.5 to 1.5 times ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import pandas as pd

from lthlib.reference import PUBLISHED_RATES
from lthlib.report.exhibits import MEASURES, Exhibit
from lthlib.report.plain import plain_table
from lthlib.report.reading import Reading
from lthlib.report.source.columns import (
    arm_numbers,
    fidelity_by_run,
    mean_text,
    pair_name,
    pair_numbers,
    printed_numbers,
    trivial_line,
)
from lthlib.report.source.evidence import (
    AS_PUBLISHED,
    LOTTERY,
    Arm,
    Evidence,
    Printed,
    amount_text,
    exact_sparsity,
    levels_of,
    ours_line,
    printed_share,
    rate_text,
)
from lthlib.report.words import counted


# -- learning rates -------------------------------------------------------------------------------
def rates_table(
    evidence: Evidence, *, table: str, model: str, task: str, measure: str, note: str = ""
) -> Exhibit:
    """One measure over five learning rates and seven levels, the source's row above ours."""
    printed = Printed(table)
    readings = by_rate(evidence, model, task)
    levels = list(levels_of("secondary"))
    rows, data = [], [printed_numbers(printed)]
    for place, (rate, cells) in enumerate(printed.cells.groupby("learning_rate")):
        at = {row["level"]: printed_share(row) for _, row in cells.iterrows()}
        rows.append(["source", rate_text(float(str(rate))), *(at[k] for k in levels)])
        arm = Arm(AS_PUBLISHED, readings[place] if place < len(readings) else None)
        ours = rate_text(arm.reading.study.learning_rate) if arm.reading else ""
        rows.append(["ours", ours, *_with_rule(arm, measure, levels)])
        data.append(arm_numbers(arm, [measure]).assign(learning_rate=ours))
    heads = ["", "learning rate", *(amount_text("secondary", k) for k in levels)]
    columns = [Arm(AS_PUBLISHED, reading) for reading in readings] or [Arm(AS_PUBLISHED, None)]
    caption = (
        f"{MEASURES[measure].heading}, by learning rate and by the amount pruned in each of three "
        f"rounds; what then remains is (1 - p)^3, not the 1 - p of the source's headings. Source: "
        f"{printed.runs}. {_fewest(columns)} A rule in brackets is what all runs of a cell "
        f"answer. {trivial_line(columns)} {note}"
    )
    return plain_table(
        pd.DataFrame(rows, columns=heads), caption.strip(), data=pd.concat(data, ignore_index=True)
    )


def rate_fidelity_table(
    evidence: Evidence, *, table: str, model: str, task: str, place: int
) -> Exhibit:
    """Fidelity between the pruned levels at one learning rate; place: 0 for the lowest."""
    printed = Printed(table)
    readings = by_rate(evidence, model, task)
    arm = Arm(AS_PUBLISHED, readings[place] if place < len(readings) else None)
    pairs = list(combinations(list(levels_of("secondary"))[1:], 2))
    values = {pair: fidelity_by_run(arm.reading, pair) for pair in pairs}
    constant = _constant_levels(arm)
    shown = {
        "levels compared": [pair_name("secondary", pair) for pair in pairs],
        "source: fidelity, %": [printed.share_text("fidelity", *pair) for pair in pairs],
        f"{arm.name}: fidelity, %": [mean_text(values[p], arm.gap) for p in pairs],
        "ours: both constant": [
            f"{(constant[a] & constant[b]).sum()} of {counted(arm.seeds, 'seed')}"
            if arm.reading is not None
            else arm.gap
            for a, b in pairs
        ],
    }
    rate = float(printed.cells["learning_rate"].iloc[0])
    caption = (
        f"Share of test items on which two pruned levels of one run give the same answer. Source: "
        f"learning rate {rate_text(rate)}; all its models here give one "
        f"constant answer by its own tables, so each of these numbers could only be 0 or 100. "
        f"{ours_line([arm])}"
    )
    data = pd.concat([printed_numbers(printed), pair_numbers(arm.name, values)], ignore_index=True)
    return plain_table(pd.DataFrame(shown), caption, data=data)


def lottery_rates_table(evidence: Evidence, *, model: str) -> Exhibit:
    """Tickets over five wider learning rates, beside re-initialised survivors of one level."""
    readings = sorted(evidence.readings("rates", model=model), key=lambda r: r.study.learning_rate)
    levels = list(levels_of("concluding"))
    rows, data = [], []
    for reading in readings:
        rate = rate_text(reading.study.learning_rate)
        for branch, words in (("main", "ticket"), ("reinitialised", "re-initialised")):
            arm = Arm(words, reading, branch)
            rows.append([rate, words, *arm.texts("accuracy", levels)])
            data.append(arm_numbers(arm, ["accuracy"]).assign(learning_rate=rate))
    if not readings:
        rows.append([*[Arm(LOTTERY, None).gap] * (len(levels) + 2)])
    heads = ["learning rate", "", *(f"{exact_sparsity('concluding', k)} %" for k in levels)]
    caption = (
        "Accuracy in % of lottery tickets by learning rate and sparsity; re-initialised: the "
        f"ticket's mask with fresh start values. {_fewest([Arm(LOTTERY, r) for r in readings])}"
    )
    numbers = pd.concat(data, ignore_index=True) if data else pd.DataFrame(columns=heads)
    return plain_table(pd.DataFrame(rows, columns=heads), caption, data=numbers)


def by_rate(evidence: Evidence, model: str, task: str) -> list[Reading | None]:
    """One reading for each of the rates that stand for the source's, lowest first."""
    return [
        evidence.reading("published-rates", model=model, task=task, learning_rate=rate)
        for rate in PUBLISHED_RATES
    ]


def _with_rule(arm: Arm, measure: str, levels: Sequence[int]) -> list[str]:
    """The measure at each level, and the constant answer where all runs give it."""
    means, positive = arm.by_seed(measure), arm.by_seed("positive_share")
    texts = []
    for level in levels:
        if level not in means.columns:
            texts.append(arm.gap)
            continue
        defined = means[level].dropna()
        text = MEASURES[measure].text(defined.mean()) if len(defined) else "not defined"
        shares = set(positive[level])
        rule = {0.0: " (always False)", 1.0: " (always True)"} if len(shares) == 1 else {}
        texts.append(text + rule.get(shares.pop(), ""))
    return texts


def _constant_levels(arm: Arm) -> pd.DataFrame:
    """[seeds, levels] Does the model give one constant answer?"""
    return arm.by_seed("positive_share").isin([0.0, 1.0])


def _fewest(columns: Sequence[Arm]) -> str:
    seeds = counted([arm.seeds for arm in columns] or [0], "seed")
    items = [arm.reading.quality["items"].iloc[0] for arm in columns if arm.reading]
    on = f" on {items[0]:,} test items" if items else ""
    return f"Ours: means over {seeds} of each learning rate{on}, without intervals."
