"""Rules and models that are shown the text and nothing else, and how well they answer.

All functions take frames with a column text and labels of 0 and 1, and return tables as lists of
rows: plain counts and numbers that a JSON file can hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupShuffleSplit, KFold, ShuffleSplit, cross_val_predict
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline, make_pipeline

from lthlib.errors import TaskError

Row = dict[str, Any]
Tables = dict[str, list[Row]]
Parts = Mapping[str, pd.DataFrame]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

SETTINGS = {"resplits": 10, "draws": 1000, "folds": 5, "seed": 0}


class Choice(NamedTuple):
    """What is chosen of the text model: n-grams of up to `words` words, and inverse penalty `c`."""

    words: int
    c: float


PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0)
CAPTION_CHOICES = tuple(Choice(words, c) for words in (1, 3) for c in PENALTIES)
# Reports are long, and have some hundred thousand different triples of words.
REPORT_CHOICES = tuple(Choice(words, c) for words in (1, 2) for c in PENALTIES)


# -- one label an item: is the caption true? ------------------------------------------------------
def most_common(labels: pd.Series[int]) -> int:
    """The more frequent of the labels 0 and 1; 0 where they are even."""
    return int(labels.mean() > 0.5)


def opposite(train: pd.DataFrame, text: pd.Series[str]) -> pd.DataFrame:
    """Answer the opposite of what the same text was mostly labelled in training.

    train: text, label. Where the training labels of a text are even, or it does not occur in
    training, the answer is the most common training label.

    Returns answer (0 or 1) and where: opposite, even or unseen, which of the three cases it is.

    >>> train = pd.DataFrame({"text": ["a", "a", "b", "c", "d"], "label": [1, 0, 1, 0, 1]})
    >>> opposite(train, pd.Series(["a", "b", "c", "new"])).to_numpy().tolist()
    [[1, 'even'], [0, 'opposite'], [1, 'opposite'], [1, 'unseen']]
    """
    lean = text.map(train.groupby("text")["label"].mean())
    where = np.select([lean.isna(), lean == 0.5], ["unseen", "even"], "opposite")
    answer = np.where(where == "opposite", lean < 0.5, most_common(train["label"]))
    return pd.DataFrame({"answer": answer.astype(int), "where": where}, index=text.index)


def text_model(choice: Choice) -> Pipeline:
    """Logistic regression on TF-IDF weighted n-grams of words; several labels: one of each."""
    words = TfidfVectorizer(ngram_range=(1, choice.words), token_pattern=r"\w+")
    return make_pipeline(words, OneVsRestClassifier(LogisticRegression(C=choice.c, max_iter=2000)))


def caption_tables(data: str, parts: Parts) -> Tables:
    """Rules that read the caption alone, on one split.

    parts: train, dev and test with text, label and, where there are some, image.

    Returns the tables parts (counts), shared (what test and training have in common), choices (of
    the text model: right answers on dev) and answers (right answers by part and rule; `where` tells
    the cases of :func:`opposite` apart). The text model is judged on test, as it is and reversed,
    each with the choice that is best on dev.
    """
    train, dev, test = parts["train"], parts["dev"], parts["test"]
    answers = [row for part in ("dev", "test") for row in _by_rule(data, part, parts)]
    right = {choice: _right(choice, train, dev) for choice in CAPTION_CHOICES}
    best, worst = max(right, key=right.__getitem__), min(right, key=right.__getitem__)
    for name, choice in (("text", best), ("reversed", worst)):
        found = _right(choice, train, test)
        row = {"right": found if name == "text" else len(test) - found, "items": len(test)}
        where = {"data": data, "part": "test", "rule": name, "where": "all"}
        answers.append({**where, **row, **choice._asdict()})
    return {
        "parts": [_part(data, name, part) for name, part in parts.items()],
        "shared": [_shared(data, parts)],
        "choices": [
            {"data": data, **choice._asdict(), "right": count, "items": len(dev)}
            for choice, count in right.items()
        ],
        "answers": answers,
    }


def resplit_tables(
    data: str, parts: Parts, choice: Choice, count: int = SETTINGS["resplits"]
) -> Tables:
    """The same rules on new random splits of the same items: by item, and by caption.

    By item, a caption may lie in training and test, as in the published split; by caption, it may
    not, which is the control. choice: of the reversed text model, from the published split.
    """
    pool = pd.concat(parts.values(), ignore_index=True)
    sizes = {f"{part}_size": len(parts[part]) / len(pool) for part in ("train", "test")}
    by_item = ShuffleSplit(count, random_state=SETTINGS["seed"], **sizes).split(pool)
    by_caption = GroupShuffleSplit(count, random_state=SETTINGS["seed"], **sizes).split(
        pool, groups=pool["text"]
    )
    rows = []
    for by, folds in (("item", by_item), ("caption", by_caption)):
        for seed, (inside, outside) in enumerate(folds):
            train, test = pool.iloc[inside], pool.iloc[outside]
            rule = opposite(train, test["text"])
            right = {
                "majority": int((test["label"] == most_common(train["label"])).sum()),
                "opposite": int((test["label"] == rule["answer"]).sum()),
                "reversed": len(test) - _right(choice, train, test),
            }
            common = {"data": data, "by": by, "resplit": seed, "items": len(test)}
            covered = int((rule["where"] == "opposite").sum())
            rows += [
                {**common, "rule": name, "right": hits, "covered": covered}
                for name, hits in right.items()
            ]
    return {"resplits": rows}


def reversed_choice(tables: Tables) -> Choice:
    """The choice of the reversed text model among the tables of :func:`caption_tables`."""
    row = next(row for row in tables["answers"] if row["rule"] == "reversed")
    return Choice(row["words"], row["c"])


def _right(choice: Choice, train: pd.DataFrame, test: pd.DataFrame) -> int:
    model = text_model(choice).fit(train["text"], train["label"])
    return int((model.predict(test["text"]) == test["label"]).sum())


def _by_rule(data: str, part: str, parts: Parts) -> Iterator[Row]:
    """Counts of right answers of the two rules without a model, on dev or test."""
    train, judged = parts["train"], parts[part]
    rule = opposite(train, judged["text"])
    majority = rule.assign(answer=most_common(train["label"]))
    cases = {"majority": {"all": majority}, "opposite": {"all": rule}}
    cases["opposite"] |= {w: rule[rule["where"] == w] for w in ("opposite", "even", "unseen")}
    for name, wheres in cases.items():
        for where, given in wheres.items():
            right = int((judged["label"][given.index] == given["answer"]).sum())
            key = {"data": data, "part": part, "rule": name, "where": where}
            yield {**key, "right": right, "items": len(given)}


def _part(data: str, name: str, part: pd.DataFrame) -> Row:
    images = {"images": part["image"].nunique()} if "image" in part.columns else {}
    counts = {"items": len(part), "true": int(part["label"].sum())}
    return {"data": data, "part": name, **counts, "captions": part["text"].nunique(), **images}


def _shared(data: str, parts: Parts) -> Row:
    """How far training gives test away, and how many captions of all parts come as twins."""
    train, test = parts["train"], parts["test"]
    labels = pd.concat(parts.values()).groupby("text")["label"].agg(["mean", "size"])
    twins = labels[labels["mean"] == 0.5]
    row = {
        "data": data,
        "test_items": len(test),
        "caption_in_training": int(test["text"].isin(train["text"]).sum()),
        "captions": len(labels),
        "captions_of_both_labels_evenly": len(twins),
        "items_of_such_captions": int(twins["size"].sum()),
        "items": int(labels["size"].sum()),
    }
    if "image" in test.columns:
        pairs = pd.MultiIndex.from_frame(train[["text", "image"]])
        row["image_in_training"] = int(test["image"].isin(train["image"]).sum())
        row["both_in_training"] = int(
            pd.MultiIndex.from_frame(test[["text", "image"]]).isin(pairs).sum()
        )
    return row


# -- several labels an item: which findings hold? -------------------------------------------------
def finding_tables(
    data: str,
    train: pd.DataFrame,
    test: pd.DataFrame,
    names: Sequence[str],
    *,
    choices: Sequence[Choice] = REPORT_CHOICES,
    draws: int = SETTINGS["draws"],
) -> Tables:
    """What a text model answers about each finding.

    train, test: text, and 0 or 1 for each of `names`. The model's settings are chosen of `choices`
    in training, by five-fold cross-validation of the macro AUC. A finding without both labels in
    training and test has no measure. Intervals are 95 % percentile intervals of the Bayesian
    bootstrap over test items (Rubin 1981: random weights, so that no rare finding drops out of a
    draw).

    Returns the tables findings (AUC and average precision of each), averages (their means over
    findings: on all test items, and on those whose text does not occur in training, where these
    have both labels of some finding), choices, and answers (right decisions of constant rules and
    of the model at even odds). Raises TaskError where no finding has both labels.
    """
    known = [name for name in names if _both(train[name]) and _both(test[name])]
    if not known:
        raise TaskError(f"{data}: no finding has both labels in training and test; give more items")
    labels: Ints = train[known].to_numpy()
    macro = {choice: _validated(choice, train["text"], labels) for choice in choices}
    choice = max(macro, key=macro.__getitem__)
    model = text_model(choice).fit(train["text"], labels)
    scores = pd.DataFrame(model.decision_function(test["text"]), test.index, known)
    unseen = test.index[~test["text"].isin(train["text"])]
    whole, new = (_ranked(test.loc[rows], scores.loc[rows], draws) for rows in (test.index, unseen))
    per_finding = [
        {
            "data": data,
            "finding": name,
            **{f"{part}_positive": int(frame[name].sum()) for part, frame in _two(train, test)},
            **{k: v for kind in whole for k, v in _summary(whole[kind], name, kind).items()},
        }
        for name in names
    ]
    averages = [
        {"data": data, "where": where, "measure": kind, **_mean(ranked[kind]), "items": count}
        for where, ranked, count in (("all", whole, len(test)), ("unseen", new, len(unseen)))
        for kind in ranked
        if len(ranked[kind].value)
    ]
    truth: Bools = test[list(names)].to_numpy() == 1
    given: Bools = scores.reindex(columns=list(names), fill_value=-1.0).to_numpy() > 0
    constant = {"all negative": np.zeros_like(truth), "all positive": np.ones_like(truth)}
    return {
        "findings": per_finding,
        "averages": averages,
        "choices": [
            {"data": data, **each._asdict(), "macro_auc": value} for each, value in macro.items()
        ],
        "answers": [
            {"data": data, "part": "test", "rule": rule, "where": "all",
             "right": int((truth == answers).sum()), "items": truth.size,
             **(choice._asdict() if rule == "text" else {})}
            for rule, answers in {**constant, "text": given}.items()
        ],
        "shared": [
            {"data": data, "test_items": len(test), "caption_in_training": len(test) - len(unseen)}
        ],
    }  # fmt: skip


class Ranked(NamedTuple):
    """A ranking measure of each finding: its value, and its values under random weights."""

    value: pd.Series[float]  # by finding
    drawn: pd.DataFrame  # draws x findings


def _ranked(test: pd.DataFrame, scores: pd.DataFrame, draws: int) -> dict[str, Ranked]:
    weights = np.random.default_rng(SETTINGS["seed"]).exponential(size=(draws, len(test)))
    even = np.ones((1, len(test)))
    names = [name for name in scores.columns if _both(test[name])]
    value, drawn = (
        {name: ranking(test[name].to_numpy(), scores[name].to_numpy(), w) for name in names}
        for w in (even, weights)
    )
    return {
        kind: Ranked(
            pd.Series({name: value[name][kind][0] for name in names}),
            pd.DataFrame({name: drawn[name][kind] for name in names}),
        )
        for kind in ("auc", "ap")
    }


def ranking(labels: Ints, scores: Floats, weights: Floats) -> dict[str, Floats]:
    """Area under the ROC curve and average precision, under many weightings of the items at once.

    labels [N] of 0 and 1, both there; scores [N]; weights [D, N] above 0.
    With P(s), N(s) the weight of positive, negative items of score s, and P, N without s in all:
        auc = sum over s of N(s) (P(> s) + P(s) / 2) / (P N)
        ap = sum over s of P(s) / P * P(>= s) / (P(>= s) + N(>= s))

    Returns auc [D] and ap [D], those of scikit-learn's roc_auc_score and average_precision_score.

    >>> found = ranking(np.array([1, 0, 1, 0]), np.array([4., 3., 2., 1.]), np.ones((1, 4)))
    >>> found["auc"].tolist(), found["ap"].round(4).tolist()
    ([0.75], [0.8333])
    """
    order = np.argsort(-scores, kind="stable")
    first = np.flatnonzero(np.r_[True, np.diff(scores[order]) != 0])  # of each different score
    positive, negative = (
        np.add.reduceat(weights[:, order] * part[order], first, axis=1)
        for part in (labels, 1 - labels)
    )
    above, below = positive.cumsum(axis=1), negative.cumsum(axis=1)
    won = (negative * (above - positive / 2)).sum(axis=1)
    precision = above / (above + below)
    return {
        "auc": won / (above[:, -1] * below[:, -1]),
        "ap": (positive * precision).sum(axis=1) / above[:, -1],
    }


def _summary(ranked: Ranked, name: str, kind: str) -> Row:
    """Value and interval of one finding; all None where it has none."""
    if name not in ranked.value.index:
        return {kind: None, f"{kind}_low": None, f"{kind}_high": None}
    low, high = _ends(ranked.drawn[name])
    return {kind: float(ranked.value[name]), f"{kind}_low": low, f"{kind}_high": high}


def _mean(ranked: Ranked) -> Row:
    low, high = _ends(ranked.drawn.mean(axis=1))
    value = float(ranked.value.mean())
    return {"value": value, "low": low, "high": high, "findings": len(ranked.value)}


def _ends(values: pd.Series[float]) -> tuple[float, float]:
    low, high = np.quantile(values.to_numpy(), [0.025, 0.975])
    return float(low), float(high)


def _validated(choice: Choice, text: pd.Series[str], labels: Ints) -> float:
    """Macro AUC of scores that each item got from a model that had not seen it."""
    folds = KFold(SETTINGS["folds"], shuffle=True, random_state=SETTINGS["seed"])
    scores = cross_val_predict(
        text_model(choice), text, labels, cv=folds, method="decision_function"
    )
    return float(roc_auc_score(labels, scores, average="macro"))


def _both(labels: pd.Series[int]) -> bool:
    return 0 < labels.sum() < len(labels)


def _two(train: pd.DataFrame, test: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    yield from (("train", train), ("test", test))
