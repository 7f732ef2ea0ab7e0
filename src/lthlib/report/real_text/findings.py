"""What real text says, in computed sentences: one paragraph a function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from lthlib.real_text import CEILING, FEATURES, READ_WORDS, REPORTS_READ, SHARE
from lthlib.report import findings
from lthlib.report.baselines.tables import Baselines
from lthlib.report.exhibits import MEASURES, model_name
from lthlib.report.judgement.verdicts import verdict_sentence
from lthlib.report.ranking import RANKING
from lthlib.report.reading import records_line
from lthlib.report.real_text.evidence import (
    BLIND,
    FOLLOWED,
    PRESET,
    SHOWN,
    SHUFFLED,
    Part,
    Rule,
    missing,
)
from lthlib.report.statistics import DENSE_LEVEL, paired_differences
from lthlib.report.tidy import focus, in_order
from lthlib.report.words import finished, listed

_INTERVALS = "in brackets 95 % t intervals over seeds, paired, each taken alone"


def not_run(what: str) -> str:
    """What is missing, and how to make it."""
    return f"Not run yet: {what}. `lth run --preset {PRESET}` makes them."


@finished
def records_sentence(parts: Sequence[Part]) -> str:
    """Which records the chapter shows, and how many of the preset's runs are not there."""
    readings = [reading for part in parts for reading in part.readings]
    line, left = records_line(readings), missing(parts)
    if not left:
        return line
    held = sum(len(reading.runs) for reading in readings)
    return f"{line} {not_run(f'{left} of the {held + left} runs of the preset `{PRESET}`')}"


@finished
def made_up_sentence() -> str:
    """What the regions are, and what they can and cannot show."""
    return (
        f"The regions are made up (the store `{FEATURES}`): no photograph and no detector is "
        f"behind them. For {100 * SHARE:g} % of the items the subject's box lies on the side that "
        "the caption's relation and label ask for, and for the rest on a side drawn at random. "
        f"Boxes and words together so allow an accuracy of {100 * CEILING:g} %, and boxes alone "
        "chance. They can show that these models learn from words and boxes together on real "
        "captions, and nothing of what they would learn from photographs."
    )


# -- captions -------------------------------------------------------------------------------------
@finished
def followed_sentence(parts: Sequence[Part], rules: Sequence[Rule]) -> str:
    """Dense models by what they are shown, and whether the regions were learned."""
    told = [
        f"{SHOWN[part.shown]} on {findings.by_model(_dense(part), 'accuracy')}" for part in parts
    ]
    text = f"Dense models are right {'; '.join(told)}. {_epochs(parts)}"
    held = {part.shown: part for part in parts}
    if FOLLOWED not in held:
        return f"{text} {not_run('models with made-up regions')}"
    beats = _dense(held[FOLLOWED]).groupby("model")["beats"].all()
    learned, not_learned = _named(beats, True), _named(beats, False)
    rest = f", and not for {listed(not_learned)}" if not_learned else ""
    return (
        f"{text} That they beat the constant answer ({100 * rules[0].accuracy:.1f} %) with made-up "
        f"regions at every seed is shown for {listed(learned) if learned else 'no model'}{rest}."
        f"{_shuffled(held)}"
    )


def _epochs(parts: Sequence[Part]) -> str:
    """How long the models of all parts train."""
    models: dict[int, list[str]] = {}
    for study in (reading.study for part in parts for reading in part.readings):
        names = models.setdefault(study.epochs, [])
        if study.model not in names:
            names.append(study.model)
    told = [
        f"{epochs} epoch{'' if epochs == 1 else 's'} ({listed([model_name(m) for m in names])})"
        for epochs, names in sorted(models.items())
    ]
    return f"They train for {listed(told)}, whatever a model is shown."


def _shuffled(held: dict[str, Part]) -> str:
    if SHUFFLED not in held:
        return f" {not_run('models with the regions of another item')}"
    beats = _dense(held[SHUFFLED])["beats"]
    if not beats.any():
        return " With the regions of another item no model is shown to beat it, at any seed."
    return (
        f" With the regions of another item {beats.sum()} of {len(beats)} runs beat it, each by a "
        "test of its own."
    )


@finished
def kept_sentence(part: Part) -> str:
    """Do tickets keep what the regions taught, and at which level is it lost?"""
    main = part.quality[part.quality["branch"] == "main"]
    changes = _changes(main, "accuracy")
    texts = []
    for model in in_order(main["model"]):
        own = main[main["model"] == model]
        if own.loc[own["level"] == DENSE_LEVEL, "beats"].all():
            texts.append(f"{model_name(model)}: {changes[model]}; {_loss(own)}")
        else:
            texts.append(f"{model_name(model)}'s dense models have nothing sure to keep")
    told = ". ".join(texts)
    return f"Tickets against their dense models, in accuracy ({_INTERVALS}): {told}."


def _changes(main: pd.DataFrame, measure: str) -> dict[str, str]:
    """By model, the change from dense at each level in points, paired by seed."""
    changes = paired_differences(main, measure, groups=["model"]).sort_values("level")
    return {
        str(model): ", ".join(
            f"{findings.points(row)} at {findings.sparsity_of(main, row['level'])}"
            for _, row in own.iterrows()
        )
        for model, own in changes.groupby("model")
    }


def _loss(own: pd.DataFrame) -> str:
    """The first level at which no seed, or not every one, is shown to beat the constant answer."""
    by_level = own.groupby("level")["beats"]
    none, every = by_level.any(), by_level.all()
    lost = [level for level in none.index if not none[level]]
    partly = [level for level in every.index if none[level] and not every[level]]
    if lost:
        return f"that any is left is not shown at {findings.sparsity_of(own, lost[0])}, at any seed"
    if partly:
        where = findings.sparsity_of(own, partly[0])
        count = int((~own.loc[own["level"] == partly[0], "beats"].astype(bool)).sum())
        seeds = own["run"].nunique()
        return f"that any is left is not shown at {where} at {count} of {seeds} seeds"
    return "that some is left is shown at every level and seed"


@finished
def tested_sentence(part: Part) -> str:
    """The verdicts of the tests, as every chapter words them."""
    return verdict_sentence(part.judged.rows)


@finished
def controls_sentence(part: Part) -> str:
    """The random masks, at the level that has them."""
    level = focus(part.quality)
    said = _controls_sentence(part.quality, level)
    return f"At {findings.sparsity_of(part.quality, level)} sparsity: {said[0].lower()}{said[1:]}"


@finished
def blind_sentence(part: Part, rules: Sequence[Rule]) -> str:
    """Do blind models beat the constant answer, and do they reach the rules that read the text?"""
    dense = _dense(part)
    constant, readers = rules[0], rules[1:]
    beats = dense.groupby("model")["beats"].sum()
    counts = [
        f"{beats[model]} of {dense.loc[dense['model'] == model, 'run'].nunique()} seeds "
        f"({model_name(model)})"
        for model in in_order(dense["model"])
    ]
    same = dense["positive_share"].isin([0.0, 1.0])
    told = [
        f"Blind dense models are right on {findings.by_model(dense, 'accuracy')}; the constant "
        f"answer ({constant.name}) on {100 * constant.accuracy:.1f} %. They beat it at "
        f"{listed(counts)}.",
        f"Of their {len(dense)} runs, {same.sum()} answer{'s' if same.sum() == 1 else ''} "
        "everything alike."
        if same.any()
        else "",
        *(_against(rule, dense) for rule in readers),
    ]
    return " ".join(text for text in told if text)


def _against(rule: Rule, dense: pd.DataFrame) -> str:
    """Where the models' means lie beside a rule's accuracy and its interval."""
    means = dense.groupby("model")["accuracy"].mean().astype(float)
    places = {
        "above": means.index[means > rule.high],
        "inside": means.index[(means >= rule.low) & (means <= rule.high)],
        "below": means.index[means < rule.low],
    }
    told = [
        f"{listed([model_name(m) for m in in_order(names.to_series())])} "
        f"{'is' if len(names) == 1 else 'are'} {place}"
        for place, names in places.items()
        if len(names)
    ]
    ends = f"{100 * rule.low:.1f} to {100 * rule.high:.1f}"
    return (
        f'The rule "{rule.name}" is right on {100 * rule.accuracy:.1f} % (95 % exact interval over '
        f"decisions {ends}): by its mean over seeds {listed(told)} that interval."
    )


@finished
def why_sentence(part: Part, found: Baselines, data: str = "VSR current random") -> str:
    """Why reading captions need not help: both labels; and what the opposite answers would give."""
    common = found.common(data)
    even = common["captions_of_both_labels_evenly"] / common["captions"]
    seen = common["caption_in_training"] / common["test_items"]
    dense = _dense(part)
    labels = dense.groupby("model")[["accuracy", "trivial_accuracy"]].mean().astype(float)
    below = labels.index[labels["accuracy"] < 1 - labels["trivial_accuracy"]]
    leaning = found.answer(data, "opposite", where="opposite")
    start = (
        f"{100 * even:.1f} % of the captions are as often True as False, {100 * seen:.1f} % of the "
        "test items have a caption of training, and where its labels lean one way there, the test "
        f"label is the other one for {100 * leaning.share:.1f} %"
    )
    if below.empty:
        return f"{start}: what is learned of a caption by heart does not help on the test items."
    names = [model_name(m) for m in in_order(below.to_series())]
    turned = dense[dense["model"].isin(below)].assign(accuracy=1 - dense["accuracy"])
    return (
        f"{start}. A model that learns captions by heart is therefore wrong where it knows them. "
        f"On average over seeds, which is not tested, {listed(names)} "
        f"{'lies' if len(names) == 1 else 'lie'} below the worse of the two constant answers, and "
        "with every answer turned round would be right on "
        f"{findings.by_model(turned, 'accuracy')}."
    )


# -- reports --------------------------------------------------------------------------------------
@finished
def ranking_sentence(part: Part, rules: Sequence[Rule]) -> str:
    """Do blind models order reports by finding, and how far from the text model?"""
    dense = _dense(part)
    text = next(rule for rule in rules if rule.auc is not None)
    chance = float(dense["chance"].mean())
    told = [
        f"{findings.by_model(dense, name)} ({MEASURES[name].title}; the {text.name} reaches "
        f"{getattr(text, name)[1]} %, and no order at all {100 * floor:.1f} %)"
        for name, floor in zip(RANKING, (0.5, chance), strict=True)
    ]
    auc = dense.groupby("model")["auc"].mean().astype(float)
    reached = [m for m in in_order(dense["model"]) if text.auc and auc[m] >= text.auc[0]]
    names = listed([model_name(m) for m in reached]) if reached else "No model"
    return (
        "Accuracy hides what the order of scores shows, for most findings are rare. Blind dense "
        f"models reach {'; and '.join(told)}. {names} {'reach' if len(reached) > 1 else 'reaches'} "
        f"the {text.name}'s AUC on average over seeds, which is not tested."
    )


@finished
def lengths_sentence(found: Baselines) -> str:
    """How much of a report is read, by models and by the rules beside them."""
    row = found.lengths[found.lengths["part"] == "test"].iloc[0]
    read, whole = (found.average(data, "auc")["value"] for data in (REPORTS_READ, "Open-I"))
    return (
        f"Models read the first {READ_WORDS} words and marks of a report, and {row['longer']} of "
        f"{row['items']} test reports are longer. The text model here reads as much; it reads all "
        f"of them in the chapter on baselines, which makes its AUC {100 * whole:.1f} in place of "
        f"{100 * read:.1f} %."
    )


@finished
def ranking_kept_sentence(part: Part) -> str:
    """What pruning does to the order of reports."""
    main = part.quality[part.quality["branch"] == "main"]
    texts = []
    for name in RANKING:
        changes = _changes(main, name)
        told = [f"{model_name(model)} {changes[model]}" for model in in_order(main["model"])]
        texts.append(f"in {MEASURES[name].title}, {'; '.join(told)}")
    said = ". ".join(text[0].upper() + text[1:] for text in texts)
    return f"Tickets against their dense models ({_INTERVALS}). {said}."


# -- in short -------------------------------------------------------------------------------------
@finished
def short_sentence(parts: Sequence[Part], rules: Mapping[str, Sequence[Rule]]) -> str:
    """The answers to the chapter's questions, for its top and for other pages."""
    told = []
    for part in parts:
        if part.shown == FOLLOWED:
            told.append(_short_followed(part))
        elif part.shown == BLIND:
            told.append(_short_blind(part, rules[part.task]))
    return f"On real text, {'; '.join(told)}." if told else not_run("the runs of this chapter")


def _short_followed(part: Part) -> str:
    means = 100 * _dense(part).groupby("model")["accuracy"].mean().astype(float)
    ends = " to ".join(dict.fromkeys(f"{end:.1f}" for end in (means.min(), means.max())))
    main = part.quality[part.quality["branch"] == "main"]
    told = []
    for level in sorted(main["level"].unique()):
        beats = main[main["level"] == level].groupby("model")["beats"].all()
        count = _count(int(beats.sum()), len(beats))
        if level == DENSE_LEVEL:
            told.append(f"{count} beat the constant answer at every seed")
        else:
            verb = "does" if len(beats) == 1 else "do"
            told.append(f"at {findings.sparsity_of(main, level)} sparsity {count} {verb}")
    return (
        f"where made-up regions follow {100 * SHARE:g} % of the captions, dense models are right "
        f"on {ends} % of at best {100 * CEILING:g} %, and {', '.join(told)}"
    )


def _short_blind(part: Part, rules: Sequence[Rule]) -> str:
    by_model = _dense(part).groupby("model")
    every, mean = by_model["beats"].all(), by_model["accuracy"].mean().astype(float)
    best = max(rules[1:], key=lambda rule: rule.accuracy)
    reached = _count(int((mean >= best.accuracy).sum()), len(mean))
    return (
        f"on `{part.task}`, {_count(int(every.sum()), len(mean))} blind models beat the constant "
        f"answer at every seed, and by their means {reached} reach the "
        f"best rule that reads the text ({100 * best.accuracy:.1f} %)"
    )


def _count(number: int, of: int) -> str:
    return f"{number or 'none'} of {of}"


def _dense(part: Part) -> pd.DataFrame:
    frame = part.quality
    return frame[(frame["level"] == DENSE_LEVEL) & (frame["branch"] == "main")]


def _named(by_model: pd.Series[bool], wanted: bool) -> list[str]:
    names = by_model.index[by_model.astype(bool) == wanted].to_series()
    return [model_name(model) for model in in_order(names)]


WITH = {
    "random-mask": "a random mask of the same sparsity",
    "shuffled-mask": "the ticket's mask shuffled within each layer",
    "reinitialised": "the ticket's mask and fresh start values",
    "high-magnitude": "the largest weights pruned instead of the smallest",
}


def _controls_sentence(quality: pd.DataFrame, level: int) -> str:
    """Accuracy of each branch of a level, and at how many seeds its ticket has more right."""
    frame = quality[quality["level"] == level]
    wide = frame.pivot_table("accuracy", ["model", "run"], "branch")
    sentences = []
    for branch, words in WITH.items():
        own = frame[frame["branch"] == branch]
        if own.empty:
            continue
        better = (wide["main"] > wide[branch]).reset_index(name="better")
        counts = []
        for model in in_order(own["model"]):
            seeds = better.loc[better["model"] == model, "better"]
            counts.append(f"{seeds.sum()} of {len(seeds)} ({model_name(model)})")
        sentences.append(
            f"With {words}, accuracy is {findings.by_model(own, 'accuracy')}; the ticket has more "
            f"right at {listed(counts)} seeds, which is counted and not tested."
        )
    return " ".join(sentences) or "No controls were recorded for these studies."
