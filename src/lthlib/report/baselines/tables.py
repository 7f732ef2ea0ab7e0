"""What text alone answers: the recorded baselines, beside published models and our own.

`python -m lthlib.lab.baselines` counts the answers of rules that see no image, and keeps the counts
in `records/baselines`; everything here is made from those. Accuracies have exact (Clopper and
Pearson 1934) intervals, which take items as independent.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score

from lthlib.errors import RecordError
from lthlib.records import RecordStore
from lthlib.report import measures
from lthlib.report.answers.calibration import with_log_odds
from lthlib.report.draw import (
    BLACK,
    BLUE,
    GREEN,
    GRID,
    ORANGE,
    PAPER,
    PURPLE,
    VERMILLION,
    WIDTH,
    Look,
    finish_axes,
    paper_style,
)
from lthlib.report.exhibits import NOT_DEFINED, Exhibit, model_name
from lthlib.report.plain import plain_table
from lthlib.report.source import published
from lthlib.report.statistics import DENSE_LEVEL, proportion_interval, t_interval
from lthlib.report.tidy import in_order
from lthlib.study import Study, reference

FILES = ("vsr", "openi", "embedded")
FEW = 10
"""Fewer positive test items than this are too few to rank models by."""
RULES = {
    "majority": "most common training label",
    "opposite": "opposite of the caption's training label",
    "text": "text model",
    "reversed": "text model, reversed",
    "all negative": "no finding at all",
    "all positive": "every finding",
}
LOOKS = {
    "majority": Look(RULES["majority"], ORANGE, "s"),
    "opposite": Look(RULES["opposite"], BLUE, "o"),
    "reversed": Look(RULES["reversed"], GREEN, "^"),
}
WHERE = {
    "opposite": "seen, training labels lean one way",
    "even": "seen, training labels are even",
    "unseen": "not seen in training",
}
PUBLISHED_LOOKS = {
    "VisualBERT": Look("VisualBERT, published", VERMILLION, "P"),
    "LXMERT": Look("LXMERT, published", VERMILLION, "X"),
}
SPLITS = {
    ("VSR current random", "test"): "current, random test split",
    ("VSR v1 random", "test"): "v1, random test split",
    ("VSR v1 random", "dev"): "v1, random dev split (main source)",
    ("VSR v1 zeroshot", "test"): "v1, zero-shot test split",
    ("VSR current zeroshot", "test"): "current, zero-shot test split",
}
SHOWN = {
    "shown": "with its image",
    "none": "without any image",
    "shuffled": "with another item's image",
}
_TEXT_MODEL = "Text model: logistic regression on TF-IDF weighted n-grams of words"


class Published(NamedTuple):
    """An accuracy that others published for a model that sees the images; a share."""

    data: str
    part: str
    model: str
    accuracy: float
    source: str


_V1 = "VSR README, commit c28c02bf"
_CURRENT = "VSR README, commit b27a0af0"
# The README of the current version also gives zero-shot accuracies, of a split with 616 test items
# that is not the one in its repository; they are left out.
LEADERBOARD = (
    Published("VSR v1 random", "test", "VisualBERT", 0.574, _V1),
    Published("VSR v1 random", "test", "ViLT", 0.710, _V1),
    Published("VSR v1 random", "test", "LXMERT", 0.725, _V1),
    Published("VSR v1 zeroshot", "test", "VisualBERT", 0.540, _V1),
    Published("VSR v1 zeroshot", "test", "ViLT", 0.624, _V1),
    Published("VSR v1 zeroshot", "test", "LXMERT", 0.632, _V1),
    Published("VSR current random", "test", "VisualBERT", 0.552, _CURRENT),
    Published("VSR current random", "test", "CLIP, frozen", 0.560, _CURRENT),
    Published("VSR current random", "test", "CLIP, fine-tuned", 0.651, _CURRENT),
    Published("VSR current random", "test", "ViLT", 0.693, _CURRENT),
    Published("VSR current random", "test", "LXMERT", 0.701, _CURRENT),
)
BERTHOP_AUC = 0.9812
"""Mean AUC on Open-I of a model of image and report: Monajatipoor et al. 2022, abstract."""


@dataclass(frozen=True)
class Baselines:
    """The recorded tables, joined over data sets, and where each data set's come from.

    answers: data, part, rule, where, right, items, words, c; shared: what training and test have in
    common; resplits: data, by, resplit, rule, right, items, covered; findings and averages: ranking
    measures; parts: counts; lengths: how many texts are longer than what models read.
    """

    about: dict[str, dict[str, Any]]
    answers: pd.DataFrame
    shared: pd.DataFrame
    resplits: pd.DataFrame
    findings: pd.DataFrame
    averages: pd.DataFrame
    parts: pd.DataFrame
    lengths: pd.DataFrame

    def answer(self, data: str, rule: str, *, part: str = "test", where: str = "all") -> Answer:
        """How often a rule is right. Raises RecordError where that was not counted."""
        row = _one(self.answers, data=data, part=part, rule=rule, where=where)
        return Answer(int(row["right"]), int(row["items"]))

    def common(self, data: str) -> pd.Series[Any]:
        """The row of `shared` of one data set."""
        return _one(self.shared, data=data)

    def average(self, data: str, measure: str, where: str = "all") -> pd.Series[Any]:
        """The row of `averages`: measure auc or ap, where all or unseen."""
        return _one(self.averages, data=data, measure=measure, where=where)


class Answer(NamedTuple):
    """Right answers among items, or among decisions."""

    right: int
    items: int

    @property
    def share(self) -> float:
        return self.right / self.items

    @property
    def ends(self) -> tuple[float, float]:
        """Exact 95 % interval."""
        low, high, *_ = proportion_interval(self.right, self.items)
        assert low is not None
        assert high is not None
        return low, high

    def text(self) -> str:
        """Share and interval in %, or why there is none.

        >>> Answer(1605, 2195).text(), Answer(0, 0).text()
        ('73.1 (71.2 to 75.0)', 'not defined (no item)')
        """
        if not self.items:
            return f"{NOT_DEFINED} (no item)"
        low, high = self.ends
        return f"{100 * self.share:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def read_baselines(folder: Path) -> Baselines:
    """The recorded baselines. Raises RecordError for a file that is missing or damaged."""
    found = {name: _read(folder / f"{name}.json") for name in FILES}
    tables = {
        name: pd.DataFrame([row for each in found.values() for row in each.get(name, [])])
        for name in (f.name for f in fields(Baselines) if f.name != "about")
    }
    return Baselines({name: each["about"] for name, each in found.items()}, **tables)


def _read(path: Path) -> dict[str, Any]:
    again = "`python -m lthlib.lab.baselines DATA_FOLDER` makes it"
    try:
        found = json.loads(path.read_text())
    except OSError:
        raise RecordError(f"{path} is missing: {again}") from None
    except ValueError:
        raise RecordError(f"{path} is damaged: {again} again") from None
    if not isinstance(found, dict) or not {"about", "answers", "shared"} <= found.keys():
        raise RecordError(f"{path} holds no baselines: {again} again")
    return found


def rows_of(frame: pd.DataFrame, **key: object) -> pd.DataFrame:
    """The rows of a frame that agree with all of key."""
    for name, value in key.items():
        frame = frame[frame[name] == value]
    return frame


def _one(frame: pd.DataFrame, **key: object) -> pd.Series[Any]:
    rows = rows_of(frame, **key)
    if len(rows) != 1:
        asked = ", ".join(f"{name} {value!r}" for name, value in key.items())
        raise RecordError(f"the recorded baselines have {len(rows)} rows of {asked}, not one")
    return rows.iloc[0]


def made_of(found: Baselines) -> str:
    """When and with what the baselines were counted, and from how many files."""
    dates = sorted({about["made"][:10] for about in found.about.values()})
    about = found.about["vsr"]
    files = sum(len(found.about[name]["inputs"]) for name in ("vsr", "openi"))
    return (
        f"Counted {' and '.join(dates)} with scikit-learn {about['versions']['scikit-learn']} from "
        f"{files} files of others, which do not come with this project; `records/baselines` keeps "
        "the counts and the SHA-256 of each file."
    )


def published_accuracies() -> pd.DataFrame:
    """Published models that see the images: data, part, model, accuracy, source.

    The main source judged its models on the development split of VSR v1; its dense models are
    here with the mean over its runs, once for each of its two ladders.
    """
    own = published.select(dataset="VSR", metric="accuracy")
    dense = own[own["amount"].isna() & own["pruning_set"].isin(["secondary", "concluding"])]
    rows = [
        Published("VSR v1 random", "dev", model_name(row["model"]), row["share"],
                  f"main source, {row['table']}")
        for _, row in dense.iterrows()
    ]  # fmt: skip
    return pd.DataFrame([*LEADERBOARD, *rows])


# -- captions -------------------------------------------------------------------------------------
def rules_table(found: Baselines) -> Exhibit:
    """Accuracy of each rule on each split, beside the best published model."""
    models = published_accuracies()
    rows = []
    for (data, part), name in SPLITS.items():
        held = set(rows_of(found.answers, data=data, part=part)["rule"])
        answers = {r: found.answer(data, r, part=part) for r in RULES if r in held}
        best = rows_of(models, data=data, part=part).nlargest(1, "accuracy")
        shown = [f"{m}: {100 * a:.1f} ({s})" for _, _, m, a, s in best.itertuples(index=False)]
        rows.append(
            {
                "VSR": name,
                "items": f"{answers['majority'].items:,}",
                **{
                    f"{RULES[r]}, %": answers[r].text() if r in answers else "chosen on it"
                    for r in ("majority", "opposite", "text", "reversed")
                },
                "published, with images, %": shown[0] if shown else "none for these items",
            }
        )
    caption = (
        "Accuracy on VSR of rules that read the caption and see no image; in brackets: 95 % "
        f"Clopper-Pearson interval over items. {_TEXT_MODEL}, its settings chosen on dev; "
        "reversed, it answers the opposite of what it predicts. Published: the best model of the "
        "source that is named; no intervals were published."
    )
    return plain_table(pd.DataFrame(rows), caption, data=_with_shares(found.answers))


def cases_table(found: Baselines) -> Exhibit:
    """Where the opposite rule knows the caption, and how it does there and elsewhere."""
    rows = []
    for (data, part), name in SPLITS.items():
        total = found.answer(data, "opposite", part=part).items
        for where, words in WHERE.items():
            answer = found.answer(data, "opposite", part=part, where=where)
            rows.append(
                {
                    "VSR": name,
                    "caption": words,
                    "items": f"{answer.items:,} ({100 * answer.items / total:.1f} %)",
                    "accuracy of the rule, %": answer.text(),
                }
            )
    caption = (
        "The rule that answers the opposite of the caption's training label, case by case; where "
        "it has nothing to go by, it gives the most common training label. In brackets behind "
        "items: their share; behind accuracy: 95 % Clopper-Pearson interval over items."
    )
    counts = _with_shares(rows_of(found.answers, rule="opposite"))
    return plain_table(pd.DataFrame(rows), caption, data=counts)


def shared_table(found: Baselines) -> Exhibit:
    """What test items have in common with training items."""
    data = found.shared.dropna(subset=["captions"])

    def share(row: pd.Series[Any], part: str, whole: str) -> str:
        if pd.isna(row[part]):
            return "each item has its own"
        return f"{row[part]:,.0f} of {row[whole]:,.0f} ({100 * row[part] / row[whole]:.1f} %)"

    rows = [
        {
            "data": row["data"],
            "test items with a caption of training": share(
                row, "caption_in_training", "test_items"
            ),
            "with an image of training": share(row, "image_in_training", "test_items"),
            "with both": share(row, "both_in_training", "test_items"),
            "captions with both labels evenly": share(
                row, "captions_of_both_labels_evenly", "captions"
            ),
        }
        for _, row in data.iterrows()
    ]
    caption = (
        "What the test items of each split share with its training items, and how many different "
        "captions of all its parts occur with True as often as with False. Counts of whole splits, "
        "so there is no interval."
    )
    return plain_table(pd.DataFrame(rows), caption, data=data)


def resplits_table(found: Baselines) -> Exhibit:
    """The control: the same items split anew, by item and by caption."""
    rows = []
    for (data, by), part in found.resplits.groupby(["data", "by"], sort=False):
        right = (part["right"] / part["items"]).groupby(part["rule"])
        rows.append(
            {
                "VSR": str(data).removeprefix("VSR "),
                "split anew by": by,
                "known and leaning, % of test items": _spread(part["covered"] / part["items"]),
                **{f"{RULES[rule]}, %": _spread(right.get_group(rule)) for rule in LOOKS},
            }
        )
    count = found.resplits["resplit"].nunique()
    caption = (
        f"The items of the random splits, split anew {count} times: by item, as they are "
        "published, and by caption, so that no caption is in training and test. Mean, and in "
        f"brackets the lowest and highest of {count} splits; they share items, so there is no "
        "interval."
    )
    return plain_table(pd.DataFrame(rows), caption, data=found.resplits)


def _spread(values: pd.Series[float]) -> str:
    mean, low, high = (100 * values.mean(), 100 * values.min(), 100 * values.max())
    return f"{mean:.1f} ({low:.1f} to {high:.1f})"


def _with_shares(answers: pd.DataFrame) -> pd.DataFrame:
    """Counts of answers with accuracy, low and high; missing where there is no item."""
    counted = [Answer(*row) for row in answers[["right", "items"]].itertuples(index=False)]
    ends = [(a.share, *a.ends) if a.items else (np.nan,) * 3 for a in counted]
    shares = pd.DataFrame(ends, columns=["accuracy", "low", "high"], index=answers.index)
    return pd.concat([answers, shares], axis=1)


def rules_figure(found: Baselines) -> Exhibit:
    """Accuracy of the rules on each split of VSR, beside published models that see the images."""
    models = published_accuracies()
    models = models[models["model"].isin(list(PUBLISHED_LOOKS))].sort_values("accuracy")
    # Of the main source's two dense models of a kind, the better one.
    models = models.drop_duplicates(["data", "part", "model"], keep="last")
    keys = pd.DataFrame(list(SPLITS), columns=["data", "part"]).assign(place=range(len(SPLITS)))
    rules = keys.merge(_with_shares(rows_of(found.answers, where="all")))
    rules, seen = rules[rules["rule"].isin(list(LOOKS))], keys.merge(models)
    with paper_style():
        figure = Figure(figsize=(WIDTH, 6.4), layout="constrained", facecolor=PAPER)
        axes = figure.subplots()
        for number, (rule, look) in enumerate(LOOKS.items()):
            own = rules[rules["rule"] == rule]
            _dots(axes, own, "accuracy", own["place"] + 0.2 * (number - 1.5), look, 100)
        for model, look in PUBLISHED_LOOKS.items():
            own = seen[seen["model"] == model]
            axes.plot(100 * own["accuracy"], own["place"] + 0.3, look.marker, markersize=9,
                      color=look.colour, markeredgecolor=BLACK, label=look.name)  # fmt: skip
        for place in range(1, len(SPLITS)):
            axes.axhline(place - 0.5, color=GRID, linewidth=1.5)
        axes.axvline(50, color=BLACK, linestyle="--", linewidth=1.3, label="half")
        axes.set_yticks(range(len(SPLITS)), labels=[_broken(name) for name in SPLITS.values()])
        axes.grid(visible=False, axis="y")
        axes.set(xlabel="accuracy, %", ylim=(len(SPLITS) - 0.5, -0.5))
        finish_axes(figure, axes)
    caption = (
        "Rules that see no image and published models that do, on VSR. Bars: 95 % Clopper-Pearson "
        "intervals over the items of each split; published accuracies have none. The main source "
        "judged its models on the dev split of v1; of its dense models the better one of its two "
        "ladders is shown. For the zero-shot split as it lies in the repository no accuracy is "
        "published."
    )
    alt = "; ".join(
        ", ".join([f"{name}: " + _spoken(rules, "rule", at), _spoken(seen, "model", at)])
        for at, name in enumerate(SPLITS.values())
    )
    behind = pd.concat([rules, seen], ignore_index=True).drop(columns="place")
    return Exhibit(caption, f"Dot chart of accuracy on VSR. {alt}.", behind, figure)


def _dots(
    axes: Axes, part: pd.DataFrame, kind: str, places: Iterable[float], look: Look, scale: float = 1
) -> None:
    """Values with intervals from the columns low and high, side by side with their places."""
    below, above = part[kind] - part["low"], part["high"] - part[kind]
    axes.errorbar(
        scale * part[kind],
        list(places),
        xerr=scale * np.stack([below, above]),
        fmt=look.marker,
        color=look.colour,
        markersize=7,
        elinewidth=1.5,
        label=look.name,
    )


def _spoken(frame: pd.DataFrame, column: str, place: int) -> str:
    here = frame[frame["place"] == place]
    said = [f"{row[column]} {100 * row['accuracy']:.1f} %" for _, row in here.iterrows()]
    return ", ".join(said) or "nothing published"


def _broken(name: str) -> str:
    """A split's name on lines short enough for the side of a figure."""
    return textwrap.fill(name, 14)


# -- findings -------------------------------------------------------------------------------------
def findings_figure(found: Baselines, data: str = "Open-I") -> Exhibit:
    """AUC of the text model for each finding, beside its mean and a published model."""
    own = rows_of(found.findings, data=data).sort_values("auc", na_position="last")
    known = own.dropna(subset=["auc"]).rename(columns={"auc_low": "low", "auc_high": "high"})
    known, mean = known.assign(place=range(len(known))), found.average(data, "auc")
    many = known["test_positive"] >= FEW
    with paper_style():
        figure = Figure(figsize=(WIDTH, 6.0), layout="constrained", facecolor=PAPER)
        axes = figure.subplots()
        for part, look in (
            (known[many], Look("text model", BLUE, "o")),
            (known[~many], Look(f"text model, below {FEW} positives", PURPLE, "D")),
        ):
            _dots(axes, part, "auc", part["place"], look)
        names = known["finding"].str.replace("_", " ") + known["test_positive"].map(" ({})".format)
        axes.set_yticks(known["place"], labels=names)
        for value, colour, line, label in (
            (mean["value"], BLUE, "--", "mean of the text model"),
            (BERTHOP_AUC, VERMILLION, ":", "mean of BERTHop, image and text"),
        ):
            axes.axvline(value, color=colour, linestyle=line, linewidth=2, label=label)
        axes.set(xlabel="AUC", xlim=(None, 1.0))
        finish_axes(figure, axes)
    caption = (
        f"{data}: how well the report alone ranks its {mean['items']:,} test reports, finding by "
        "finding; in brackets: positive test reports. Bars: 95 % intervals of the Bayesian "
        f"bootstrap over test reports. {left_out(own)} BERTHop sees image and report "
        "(Monajatipoor and others 2022, abstract; no interval was published)."
    )
    spoken = ", ".join(f"{r['finding']} {r['auc']:.3f}" for _, r in known.iterrows())
    alt = f"Dot chart of AUC. {spoken}; mean {mean['value']:.3f}, BERTHop {BERTHOP_AUC:.3f}."
    return Exhibit(caption, alt, own, figure)


def findings_table(found: Baselines, data: str = "Open-I") -> Exhibit:
    """Ranking measures of the text model for each finding."""
    own = rows_of(found.findings, data=data)
    table = pd.DataFrame(
        {
            "finding": own["finding"].str.replace("_", " "),
            "positive in training": own["train_positive"].map("{:,}".format),
            "in test": own["test_positive"].map("{:,}".format),
            "AUC": [_ranked(row, "auc") for _, row in own.iterrows()],
            "average precision": [_ranked(row, "ap") for _, row in own.iterrows()],
            "note": [_note(row) for _, row in own.iterrows()],
        }
    )
    mean = found.average(data, "auc")
    caption = (
        f"{data}, report alone, {mean['items']:,} test reports. {_TEXT_MODEL}, its settings chosen "
        "by cross-validation in training. In brackets: 95 % interval of the Bayesian bootstrap "
        "over test reports."
    )
    return plain_table(table, caption, data=own)


def _ranked(row: pd.Series[Any], kind: str) -> str:
    if pd.isna(row[kind]):
        return f"{NOT_DEFINED} (no positive)"
    return f"{row[kind]:.3f} ({row[f'{kind}_low']:.3f} to {row[f'{kind}_high']:.3f})"


def _note(row: pd.Series[Any]) -> str:
    if pd.isna(row["auc"]):
        return "left out of means"
    return f"fewer than {FEW} positives" if row["test_positive"] < FEW else ""


def left_out(own: pd.DataFrame) -> str:
    """Which findings have no AUC, in a sentence; nothing where all have one."""
    missing = own.loc[own["auc"].isna(), "finding"].tolist()
    return (
        f"Without a positive report, and so without AUC: {', '.join(missing)}." if missing else ""
    )


# -- our own tasks --------------------------------------------------------------------------------
def dense_answers(store: RecordStore, parts: Iterable[str]) -> pd.DataFrame:
    """Dense models of parts of the reference study, on their test items, as far as recorded.

    Returns one row a run: task, model, regions (shown, none, shuffled), run, accuracy, macro_auc
    (over findings; missing for a task with one decision).
    """
    return dense_of((study for part in parts for study in reference(part)), store)


def dense_of(studies: Iterable[Study], store: RecordStore) -> pd.DataFrame:
    """The same of some studies."""
    rows = []
    for study in studies:
        held = [run for run in study.run_ids() if store.has(run)]
        if not held:
            continue
        told = store.table("predictions", held)
        dense = told[(told["level"] == DENSE_LEVEL) & (told["branch"] == "main")]
        dense = measures.at_stage(dense, "trained")
        accuracy = measures.quality(dense).set_index("run")["accuracy"]
        rows += [
            {"task": study.task, "model": study.model, "regions": study.regions, "run": run,
             "accuracy": float(accuracy[run]), "macro_auc": _macro_auc(own)}
            for run, own in dense.groupby("run")
        ]  # fmt: skip
    columns = ["task", "model", "regions", "run", "accuracy", "macro_auc"]
    return pd.DataFrame(rows, columns=columns)


def _macro_auc(predictions: pd.DataFrame) -> float:
    """Mean AUC over findings where both labels occur; missing for a single decision."""
    told = with_log_odds(predictions)
    found = [
        roc_auc_score(own["label"], own["log_odds"])
        for _, own in told.groupby("decision")
        if 0 < own["label"].sum() < len(own)
    ]
    return float(np.mean(found)) if len(found) > 1 else np.nan


def own_table(found: Baselines, dense: pd.DataFrame) -> Exhibit:
    """Text alone on this project's own tasks, beside dense models that see no image, and that do.

    dense: see :func:`dense_answers`.
    """
    rows = []
    for task in ("digits", "digit-reports"):
        own = rows_of(found.answers, data=task, part="test", where="all")
        for rule in own["rule"]:
            ranks = task == "digit-reports" and rule == "text"
            auc = found.average(task, "auc") if ranks else None
            rows.append(
                {
                    "task": task,
                    "what answers": RULES[rule],
                    "accuracy, %": found.answer(task, rule).text(),
                    "macro AUC": "not a ranking" if auc is None else
                    f"{auc['value']:.3f} ({auc['low']:.3f} to {auc['high']:.3f})",
                }
            )  # fmt: skip
        here = dense[dense["task"] == task]
        for regions, words in SHOWN.items():
            part = here[here["regions"] == regions]
            rows += [
                {
                    "task": task,
                    "what answers": f"{model_name(model)} {words}",
                    "accuracy, %": _mean_text(part.loc[part["model"] == model, "accuracy"], 100, 1),
                    "macro AUC": _mean_text(part.loc[part["model"] == model, "macro_auc"], 1, 3),
                }
                for model in in_order(part["model"])
            ]
    caption = (
        "This project's own tasks. Rules: in brackets, 95 % Clopper-Pearson interval over "
        "decisions for accuracy, Bayesian bootstrap over test items for AUC. Dense models, trained "
        "alike: mean over n seeds, in brackets 95 % t interval over seeds, cut where the measure "
        "ends."
    )
    return plain_table(pd.DataFrame(rows), caption, data=dense)


def _mean_text(values: pd.Series[float], scale: float, digits: int) -> str:
    defined = values.dropna()
    if defined.empty:
        return "one decision only"
    low, high, n, _ = t_interval(defined)
    mean = f"{scale * defined.mean():.{digits}f}"
    if low is None or high is None:
        return f"{mean} (n = 1: no interval)"
    ends = [f"{scale * end:.{digits}f}" for end in (max(low, 0.0), min(high, 1.0))]
    return f"{mean} ({ends[0]} to {ends[1]}, n = {n})"
