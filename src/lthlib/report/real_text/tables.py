"""Tables and figures of real text: models beside rules that read the text of the same items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from lthlib.real_text import CEILING, SHARE
from lthlib.report.draw import BLUE, BRANCH_LOOKS, Look, ladder, spoken
from lthlib.report.exhibits import (
    MEASURES,
    Exhibit,
    intervals,
    model_name,
    seeds_and_items,
    sparsity_text,
    summary_text,
)
from lthlib.report.plain import plain_table
from lthlib.report.ranking import RANKING
from lthlib.report.real_text.evidence import BLIND, FOLLOWED, SHOWN, SHUFFLED, Part, Rule
from lthlib.report.show import sparsity_note
from lthlib.report.statistics import DENSE_LEVEL
from lthlib.report.tidy import in_order, models_in_order, over_seeds

BY = ["model", "level", "branch"]
BEST = "best possible"
DENSE_LOOK = {"dense": Look("dense models", BLUE, "o", "")}
PLACES = {FOLLOWED: "made-up\nregions", SHUFFLED: "another\nitem's", BLIND: "blind"}


# -- one part along its ladder --------------------------------------------------------------------
def ladder_figure(part: Part, rules: Sequence[Rule], measure: str = "accuracy") -> Exhibit:
    """Accuracy or a ranking measure along the ladder, a panel a model, beside what rules reach.

    The lines are the best possible accuracy of boxes and words, where boxes are shown, or else the
    best of the rules that read the text; and the constant answer.
    """
    data = models_in_order(over_seeds(part.quality, BY, [measure]))
    looks = _looks(data)
    lines = reference_lines(part, rules, measure)
    models = in_order(data["model"])
    title = MEASURES[measure].heading
    figure = ladder(
        data,
        looks,
        series="branch",
        label=title,
        lines={name: dict.fromkeys(models, value) for name, value in lines.items()},
        panel="model",
    ).figure
    said = "; ".join(f"{name}, {100 * value:.1f} %" for name, value in lines.items())
    caption = (
        f"{part.task}, {SHOWN[part.shown]}: {MEASURES[measure].title} by sparsity. "
        f"{seeds_and_items(part.quality)}; mean over seeds, bars: {intervals(part.quality)}. "
        f"Dashed and dotted: {said}. {sparsity_note(part.quality)}"
    )
    alt = f"{title} along the ladder. {spoken(data, looks, 'branch')}. Lines: {said}."
    return Exhibit(caption, alt, data, figure)


def _looks(data: pd.DataFrame) -> dict[str, Look]:
    return {b: look for b, look in BRANCH_LOOKS.items() if b in set(data["branch"])}


def reference_lines(part: Part, rules: Sequence[Rule], measure: str) -> dict[str, float]:
    """What a part's models are to be compared with, by name: shares."""
    constant, readers = rules[0], rules[1:]
    if measure != "accuracy":
        known = {rule.name: getattr(rule, measure) for rule in rules}
        lines = {name: ranked[0] for name, ranked in known.items() if ranked}
        chance = 0.5 if measure == "auc" else float(part.quality["chance"].mean())
        return {**lines, "no order at all": chance}
    if part.shown == BLIND:
        best = max(readers, key=lambda rule: rule.accuracy)
        return {best.name: best.accuracy, constant.name: constant.accuracy}
    return {BEST: CEILING, constant.name: constant.accuracy}


def fidelity_figure(part: Part) -> Exhibit:
    """Share of decisions on which a level answers as its dense model, beside another seed's."""
    data = models_in_order(over_seeds(part.agreements, BY, ["fidelity"]))
    looks = _looks(data)
    trivial = part.agreements.groupby("model")["trivial_fidelity"].mean()
    constant = {str(model): float(share) for model, share in trivial.items()}
    other = {str(r.study.model): r.floor for r in part.readings if r.floor is not None}
    lines: dict[str, Mapping[str, float]] = {"a constant answer": constant}
    if other:
        lines = {"dense of another seed": other, **lines}
    figure = ladder(
        data, looks, series="branch", label=MEASURES["fidelity"].heading, lines=lines, panel="model"
    ).figure
    named = " and ".join(lines)
    caption = (
        f"{part.task}, {SHOWN[part.shown]}: fidelity to the dense model by sparsity. "
        f"{seeds_and_items(part.agreements)}; mean over seeds, bars: {intervals(part.agreements)}. "
        f"Lines: how far {named} agree{'' if other else 's'} with the dense model, means over "
        f"seeds. {sparsity_note(part.agreements)}"
    )
    alt = f"Fidelity along the ladder. {spoken(data, looks, 'branch')}."
    return Exhibit(caption, alt, data, figure)


def part_table(part: Part, rules: Sequence[Rule]) -> Exhibit:
    """Every level and control of one part, then the rules for the same items."""
    ranks = [name for name in RANKING if name in part.quality]
    data = _summaries(part, ["accuracy", *ranks])
    rows = [_level_row(own, ["accuracy", *ranks]) for _, own in data.groupby(BY, sort=False)]
    rows += [_rule_row(rule, ranks) for rule in rules]
    if part.shown != BLIND:
        rows.append(_best_row(ranks))
    ranked = ""
    if ranks:
        count, undefined = part.quality["findings"].max(), part.quality["undefined"].iloc[0]
        ranked = (
            f" Ranking measures are means over {count} findings"
            + (f"; without a positive test report: {undefined}" if undefined else "")
            + ". Their intervals for rules: Bayesian bootstrap over test reports."
        )
    caption = (
        f"{part.task}, {SHOWN[part.shown]}: {seeds_and_items(part.quality)}. Models: mean over "
        f"seeds, in brackets {intervals(part.quality)}. Rules answer the same items, the first "
        "of them without reading anything; in brackets: 95 % Clopper-Pearson interval over "
        "decisions. Seeds beat the constant answer by an exact "
        f"one-sided test over items, p < 0.05.{ranked} {sparsity_note(part.quality)}"
    )
    return plain_table(pd.DataFrame(rows).fillna(""), caption, data=data)


def _summaries(part: Part, measures: Sequence[str]) -> pd.DataFrame:
    """Means over seeds by model, level, branch and measure; `beats` says at how many seeds."""
    data = over_seeds(part.quality, BY, measures)
    if len(part.agreements):
        kept = over_seeds(part.agreements, BY, ["fidelity"])
        data = pd.concat([data, kept], ignore_index=True)
    beats = part.quality.groupby(BY, as_index=False)["beats"].agg(_how_many)
    return models_in_order(data.merge(beats, on=BY).sort_values(["level", "branch"]))


def _how_many(seeds: pd.Series[bool]) -> str:
    return f"{seeds.sum()} of {len(seeds)}"


def _level_row(own: pd.DataFrame, measures: Sequence[str]) -> dict[str, str]:
    """One level and branch of one model as text."""
    first, dense = own.iloc[0], own["level"].iloc[0] == DENSE_LEVEL
    cells = {
        row["measure"]: summary_text(MEASURES[row["measure"]], row) for _, row in own.iterrows()
    }
    return {
        "what answers": f"{model_name(first['model'])}, {_level_name(first)}",
        **{MEASURES[name].heading: cells[name] for name in measures},
        "beats the constant answer": first["beats"],
        MEASURES["fidelity"].heading: "is dense" if dense else cells["fidelity"],
    }


def _level_name(row: pd.Series[Any]) -> str:
    if row["level"] == DENSE_LEVEL:
        return "dense"
    return f"{BRANCH_LOOKS[row['branch']].name} at {sparsity_text(row['sparsity'])} %"


def _rule_row(rule: Rule, ranks: Sequence[str]) -> dict[str, str]:
    row = {
        "what answers": f"rule: {rule.name}",
        MEASURES["accuracy"].heading: rule.text,
    }
    for name in ranks:
        ranked = getattr(rule, name)
        row[MEASURES[name].heading] = ranked[1] if ranked else "ranks nothing"
    return row


def _best_row(ranks: Sequence[str]) -> dict[str, str]:
    text = f"{100 * CEILING:.1f}"
    return {
        "what answers": f"{BEST}: {100 * SHARE:g} % of items follow",
        MEASURES["accuracy"].heading: text,
        **dict.fromkeys([MEASURES[name].heading for name in ranks], "not known"),
    }


# -- dense models, by what they are shown ---------------------------------------------------------
def dense_quality(parts: Sequence[Part]) -> pd.DataFrame:
    """Quality of the dense models of parts of one task."""
    frames = [part.quality for part in parts]
    every = pd.concat(frames, ignore_index=True)
    return every[(every["level"] == DENSE_LEVEL) & (every["branch"] == "main")]


def _trained_alike(parts: Sequence[Part]) -> str:
    """On what dense models of several parts rest: each part has runs of the same seeds."""
    every = dense_quality(parts)
    return seeds_and_items(every.assign(run=every["seed"]))


def dense_figure(parts: Sequence[Part], rules: Sequence[Rule]) -> Exhibit:
    """Accuracy of the dense models of one task by what they are shown, a panel a model."""
    here = [part for part in parts if part.shown in PLACES]
    order = [key for key in PLACES if key in {part.shown for part in here}]
    data = models_in_order(
        pd.concat(
            [
                over_seeds(dense_quality([part]), ["model", "level"], ["accuracy"]).assign(
                    shown=part.shown, place=order.index(part.shown), series="dense"
                )
                for part in here
            ],
            ignore_index=True,
        )
    )
    best = max(rules, key=lambda rule: rule.accuracy)
    lines = {BEST: CEILING} if order != [BLIND] else {}
    lines |= {f"rule: {best.name}": best.accuracy}
    models, every = in_order(data["model"]), dense_quality(here)
    figure = ladder(
        data,
        DENSE_LOOK,
        series="series",
        label=MEASURES["accuracy"].heading,
        lines={name: dict.fromkeys(models, value) for name, value in lines.items()},
        along=("place", "what is shown beside the caption", [PLACES[key] for key in order]),
        panel="model",
    ).figure
    said = "; ".join(f"{name}, {100 * value:.1f} %" for name, value in lines.items())
    constant = f"The {rules[0].name} is right on {100 * rules[0].accuracy:.1f} %."
    caption = (
        f"{here[0].task}, dense models: accuracy by what they are shown. {_trained_alike(here)}; "
        f"mean over seeds, bars: {intervals(every)}. Lines: {said}. {constant}"
    )
    shares = {
        f"{model_name(row['model'])} {SHOWN[row['shown']]}": 100 * row["mean"]
        for _, row in data.iterrows()
    }
    spoken_shares = ", ".join(f"{name} {share:.1f} %" for name, share in shares.items())
    return Exhibit(caption, f"Dot chart of accuracy. {spoken_shares}. Lines: {said}.", data, figure)


def dense_table(parts: Sequence[Part], rules: Sequence[Rule]) -> Exhibit:
    """What dense models of one task make of what they are shown, beside the rules, a row each."""
    rows, numbers = [], []
    for part in parts:
        dense = dense_quality([part])
        data = models_in_order(over_seeds(dense, ["model", "level"], ["accuracy"]))
        numbers.append(data.assign(shown=part.shown))
        beats = dense.groupby("model")["beats"].agg(_how_many)
        rows += [
            {
                "what answers": f"{model_name(row['model'])}, {SHOWN[part.shown]}",
                MEASURES["accuracy"].heading: summary_text(MEASURES["accuracy"], row),
                "beats the constant answer": beats[row["model"]],
            }
            for _, row in data.iterrows()
        ]
    rows += [_rule_row(rule, ()) for rule in rules]
    if any(part.shown != BLIND for part in parts):
        rows.append(_best_row(()))
    every = dense_quality(parts)
    caption = (
        f"{parts[0].task}, dense models: {_trained_alike(parts)}. Mean over "
        f"seeds, in brackets {intervals(every)}; rules: 95 % Clopper-Pearson interval over "
        "decisions of the same test items."
    )
    table = pd.DataFrame(rows).fillna("")
    return plain_table(table, caption, data=pd.concat(numbers, ignore_index=True))
