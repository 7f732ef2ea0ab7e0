"""What the recorded baselines say, in computed sentences: one paragraph a function."""

from __future__ import annotations

from typing import Any

import pandas as pd

from lthlib.report.baselines.tables import (
    BERTHOP_AUC,
    FEW,
    Answer,
    Baselines,
    left_out,
    published_accuracies,
    rows_of,
)
from lthlib.report.exhibits import model_name
from lthlib.report.source import published
from lthlib.report.statistics import t_interval
from lthlib.report.tidy import in_order
from lthlib.report.words import listed

CURRENT, V1 = "VSR current random", "VSR v1 random"
V1_APART = "VSR v1 zeroshot"
OPENI = "Open-I"


def opposite_sentence(found: Baselines) -> str:
    """The rule that sees no image, beside the best model of VSR's own README."""
    rule, model = found.answer(CURRENT, "opposite"), best_published(CURRENT)
    older, older_model = found.answer(V1, "opposite"), best_published(V1)
    return (
        "On the random test split of VSR's current version, answering the opposite of the label "
        f"that the same caption had in training is right on {_of(rule)}. {model['model']}, the "
        "best model of VSR's README, sees the images and is published with "
        f"{_percent(model['accuracy'])}, {_place(rule, model['accuracy'])}. On version 1 the rule "
        f"reaches {_of(older)}, and {older_model['model']} {_percent(older_model['accuracy'])}, "
        f"{_place(older, older_model['accuracy'])}. The published numbers have no intervals."
    )


def source_sentence(found: Baselines) -> str:
    """The same rule on the items on which the main source judged its models."""
    rule, majority = (found.answer(V1, name, part="dev") for name in ("opposite", "majority"))
    printed = published.select(dataset="VSR", metric="accuracy")
    above = int((printed["share"] > rule.share).sum())
    best = printed.nlargest(1, "share").iloc[0]
    return (
        f"The main source judged its models on {rule.items:,} items, the dev split of version 1. "
        f"There the rule is right on {_of(rule, False)}, and always giving the most common "
        f"training label on {_of(majority, False)}. Of the {len(printed)} accuracies on VSR that "
        f"the main source prints, of dense and pruned models, {above or 'none'} "
        f"{'is' if above < 2 else 'are'} higher; its highest is {_percent(best['share'])} "
        f"({model_name(best['model'])}, {best['table']}), {_place(rule, best['share'])}."
    )


def why_sentence(found: Baselines) -> str:
    """Where the rule gets its answers from."""
    common, total = found.common(CURRENT), found.answer(CURRENT, "opposite").items
    leaning = found.answer(CURRENT, "opposite", where="opposite")
    others = [found.answer(CURRENT, "opposite", where=name) for name in ("even", "unseen")]
    rest = Answer(sum(each.right for each in others), sum(each.items for each in others))
    even = common["captions_of_both_labels_evenly"] / common["captions"]
    return (
        f"Captions come in twins: {_percent(even)} of the {common['captions']:,.0f} different "
        "captions of the current version are as often True as False. A split at random parts "
        f"twins: {_percent(common['caption_in_training'] / common['test_items'])} of the test "
        f"items have a caption of training, and for {_percent(leaning.items / total)} its training "
        f"labels lean one way. There the rule is right on {_of(leaning, False)}; elsewhere, where "
        f"it can only give the most common label, on {_of(rest, False)}. "
        f"{_how_many(common['both_in_training'])} both caption and image of a training item."
    )


def text_model_sentence(found: Baselines) -> str:
    """Even a linear model of the words finds it, from the wrong side."""
    usual, turned = (found.answer(CURRENT, name) for name in ("text", "reversed"))
    return (
        "A linear model of the words learns the labels of training, of which test has the "
        f"opposite. Reversed, it is right on {_of(turned, False)}; as it is, on "
        f"{_of(usual, False)}. In both cases its settings are those that are best on dev."
    )


def control_sentence(found: Baselines) -> str:
    """New splits of the same items: by item the rule stays, by caption it is gone."""
    shares = found.resplits.assign(share=found.resplits["right"] / found.resplits["items"])
    by_item, by_caption, majority, turned = (
        rows_of(shares, data=CURRENT, by=by, rule=rule)["share"]
        for by, rule in (
            ("item", "opposite"),
            ("caption", "opposite"),
            ("caption", "majority"),
            ("caption", "reversed"),
        )
    )
    return (
        f"Control: the same items, split anew {len(by_item)} times. Split by item, the rule is "
        f"right on {_range(by_item)}. Split by caption, so that no caption is on both sides, it "
        f"knows no caption and is right on {_range(by_caption)}, the most common label on "
        f"{_range(majority)} and the reversed text model on {_range(turned)}."
    )


def limits_sentence(found: Baselines) -> str:
    """What this does not show: models may still use the image."""
    rule, text = (found.answer(V1_APART, name) for name in ("opposite", "text"))
    model, shared = best_published(V1_APART), found.common(V1_APART)["caption_in_training"]
    return (
        "So accuracy on the random split does not tell how much of an image was used. It does not "
        "follow that a model uses the rule. In the zero-shot split of version 1, "
        f"{_how_many(shared).lower()} a caption of training; the rule is right on "
        f"{_of(rule, False)}, the text model on {_of(text, False)}, and {model['model']} is "
        f"published with {_percent(model['accuracy'])}, {_place(rule, model['accuracy'])}."
    )


def constants_sentence(found: Baselines) -> str:
    """Open-I: what answering nothing is worth."""
    negative, positive = (found.answer(OPENI, name) for name in ("all negative", "all positive"))
    printed = published.select(dataset="OPEN-I", metric="accuracy")
    plateaus = [int((printed["rule"] == name).sum()) for name in ("all negative", "all positive")]
    return (
        f"Open-I's {found.common(OPENI)['test_items']:,.0f} test reports have "
        f"{negative.items:,} decisions. Saying that no finding is there is right on "
        f"{negative.share:.7f} of them, and that every finding is there on {positive.share:.7f}. "
        f"Of the main source's {len(printed)} accuracies on Open-I, {plateaus[0]} are the first "
        f"number and {plateaus[1]} the second. The report alone is right on "
        f"{_of(found.answer(OPENI, 'text'), False)}."
    )


def report_sentence(found: Baselines) -> str:
    """Open-I: what the report says without the image."""
    auc, new, ap = (
        found.average(OPENI, *which) for which in (("auc",), ("auc", "unseen"), ("ap",))
    )
    own = rows_of(found.findings, data=OPENI)
    few = own.loc[own["auc"].notna() & (own["test_positive"] < FEW), ["finding", "test_positive"]]
    named = listed([f"{name} ({count})" for name, count in few.itertuples(index=False)])
    return (
        f"The report alone ranks the findings with a macro AUC of {_interval(auc)} over "
        f"{auc['findings']:.0f} findings, and a mean average precision of {_interval(ap)}; on the "
        f"{new['items']:,} reports whose text is not word for word in training, the AUC is "
        f"{_interval(new)}. A model of image and report was published with {BERTHOP_AUC:.4f}, "
        f"{_place_in(auc['low'], auc['high'], BERTHOP_AUC)}. {left_out(own)} With fewer than {FEW} "
        f"positive test reports, {named} can hardly be judged."
    )


def own_sentence(found: Baselines, dense: pd.DataFrame) -> str:
    """This project's own tasks: can they be answered without the image?

    dense: see :func:`tables.dense_answers`.
    """
    rules = rows_of(found.answers, data="digits", part="test", where="all")
    counts = {f"{row.right:,} of {row.items:,}" for row in rules.itertuples()}
    common, auc = found.common("digits"), found.average("digit-reports", "auc")
    even = common["captions_of_both_labels_evenly"] == common["captions"]
    twins = "Every caption of `digits` is as often True as False: " if even else "On `digits`, "
    parts = [
        f"{twins}every rule above is right on {listed(sorted(counts))} test items.",
        _blind(dense),
        "In `digit-reports` the text names some of the findings, as reports do: text alone ranks "
        f"them with a macro AUC of {_interval(auc)}, and only what lies above it was seen.",
    ]
    return " ".join(part for part in parts if part)


def _blind(dense: pd.DataFrame) -> str:
    """Trained models without the image, beside those with it, on the captions."""
    digits = rows_of(dense, task="digits")
    blind = digits[digits["regions"] != "shown"]
    if blind.empty:
        return "Models trained without images (part `blind`) are not run yet."
    told = []
    for regions, words in (("none", "without any image"), ("shuffled", "with another item's"),
                           ("shown", "with its own")):  # fmt: skip
        own = rows_of(digits, regions=regions)
        means = [
            f"{_seeds(rows_of(own, model=model)['accuracy'])} ({model_name(model)})"
            for model in in_order(own["model"])
        ]
        told += [f"{words} {listed(means)}"] if means else []
    return f"Dense models, trained alike, are right {'; '.join(told)}."


def best_published(data: str, part: str = "test") -> pd.Series[Any]:
    """The best published model of a split: model, accuracy, source."""
    return rows_of(published_accuracies(), data=data, part=part).nlargest(1, "accuracy").iloc[0]


def _of(answer: Answer, whole: bool = True) -> str:
    low, high = answer.ends
    items = f" of {answer.items:,} items" if whole else ""
    ends = f"{100 * low:.1f} to {100 * high:.1f}"
    return f"{_percent(answer.share)}{items} (95 % exact interval {ends} %)"


def _place(answer: Answer, other: float) -> str:
    return _place_in(*answer.ends, other)


def _place_in(low: float, high: float, other: float) -> str:
    """Where a published number lies; it has no interval of its own."""
    side = "inside" if low <= other <= high else "above" if other > high else "below"
    return f"which lies {side} that interval"


def _interval(row: pd.Series[Any]) -> str:
    ends = f"{row['low']:.3f} to {row['high']:.3f}"
    return f"{row['value']:.3f} (95 % bootstrap interval {ends})"


def _range(shares: pd.Series[float]) -> str:
    low, high = 100 * shares.min(), 100 * shares.max()
    return f"{_percent(shares.mean())} (splits: {low:.1f} to {high:.1f} %)"


def _seeds(shares: pd.Series[float]) -> str:
    low, high, n, _ = t_interval(shares)
    if low is None or high is None:
        return f"on {_percent(shares.mean())}, one seed"
    ends = f"{100 * max(low, 0):.1f} to {100 * min(high, 1):.1f}"
    return f"on {_percent(shares.mean())}, 95 % t interval over {n} seeds {ends}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _how_many(count: float) -> str:
    return "No test item has" if count == 0 else f"{count:,.0f} test items have"
