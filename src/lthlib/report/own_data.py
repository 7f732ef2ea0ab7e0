"""The report on one's own data: what was given, what is learned without looking, what is kept.

`lth own` writes a folder with records and `own.json`; everything here is made from those two, and
from the images, of which the report shows a few. Judging and describing tickets is not done here:
the notebook takes that from the same functions as every other chapter.
"""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from scipy import stats

from lthlib.errors import LthError, RecordError, reason
from lthlib.opaque import on_white
from lthlib.packs import store_at
from lthlib.real_text import READ_WORDS
from lthlib.records import RecordStore
from lthlib.report.baselines.tables import RULES, SHOWN, Answer, Baselines, dense_of, rows_of
from lthlib.report.exhibits import Exhibit, model_name, sparsity_text
from lthlib.report.findings import points as points_with_interval
from lthlib.report.judgement.contrasts import AGAINST_DENSE
from lthlib.report.judgement.families import adjust
from lthlib.report.judgement.verdicts import judged_by
from lthlib.report.plain import plain_table
from lthlib.report.questions.gallery import STYLE, Gallery, Seen, chosen, see, tallies
from lthlib.report.reading import Reading, read
from lthlib.report.statistics import (
    ALPHA,
    DENSE_LEVEL,
    POWER,
    proportion_interval,
    refusal,
    t_interval,
)
from lthlib.report.tidy import in_order
from lthlib.report.words import counted, finished, listed, points, points_of
from lthlib.study import Study

ABOUT = "own.json"
TABLES = ("answers", "shared", "resplits", "findings", "averages", "parts", "lengths")
FLIPPED = 12
"""How many test items are shown."""
SAMPLE = 4
"""How many are shown as they were given."""
THUMBNAIL = 160
"""Pixels of a picture's longer edge."""
FEW_POINTS = 5.0
"""Half an interval over items, in points, above which test items are called few."""
CONTROLS = ("none", "shuffled")

OpenImage = Callable[[str], Image.Image]


@dataclass(frozen=True)
class Given:
    """What `lth own` was given and what it ran.

    labels: as they are written (class 0, class 1); counts: part, items, class_1, images, texts;
    pictures: how many different images; images: their folder, or None where they are drawn anew;
    text: what rules without images answer; command: what was typed.
    """

    name: str
    command: str
    labels: tuple[str, str]
    counts: pd.DataFrame
    pictures: int
    images: Path | None
    text: Baselines
    studies: tuple[Study, ...]
    store: RecordStore

    def readings(self) -> list[Reading]:
        """The studies with a ladder, read and measured. Raises RecordError as `read` does."""
        return [read(study, self.store) for study in self.studies if study.regions == "shown"]

    def dense(self) -> pd.DataFrame:
        """Dense models that see the image, none, or another's; see `tables.dense_answers`."""
        return dense_of(self.studies, self.store)

    def open_image(self, name: str) -> Image.Image:
        """An image as it was given. Raises OSError where it is gone or broken."""
        if self.images is None:
            raise FileNotFoundError(name)
        return Image.open(self.images / name)


def read_given(folder: Path) -> Given:
    """What lies in a folder that `lth own` made. Raises RecordError for one that it did not."""
    path = folder / ABOUT
    try:
        about = json.loads(path.read_bytes())
        tables = {name: pd.DataFrame(about["text"].get(name, [])) for name in TABLES}
        return Given(
            name=str(about["name"]),
            command=str(about["command"]),
            labels=(str(about["labels"][0]), str(about["labels"][1])),
            counts=pd.DataFrame(about["counts"]),
            pictures=int(about["pictures"]),
            images=Path(about["images"]) if about["images"] else None,
            text=Baselines({}, **tables),
            studies=tuple(Study.build(study) for study in about["studies"]),
            store=store_at(folder / about["records"]),
        )
    except OSError as error:
        raise RecordError(f"{path} cannot be read ({reason(error)}): run `lth own` first") from None
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise RecordError(f"{path} is damaged: run `lth own` again") from None


# -- what was given -------------------------------------------------------------------------------
def made(given: Given) -> str:
    """What was typed to get here, as Markdown."""
    if given.images is not None:
        return f"Made by\n\n```sh\n{given.command}\n```"
    return (
        "One command goes from a table of images, texts and labels and a folder of images to such "
        "a page, in one file. Here it is shown on a small example that the project draws itself: "
        "pictures of one to nine shapes, and texts that say of how many there are more. Each text "
        "is said of two pictures, and is true of one of them.\n\n"
        f"```sh\nlth own --example {given.name}\n{_in_folder(given)}\n```\n\n"
        "With one's own table and images only the second line is typed; the page on published data "
        "says what a table holds, and `lth own --help` what else can be set. Stopped, the command "
        "goes on when it is typed again."
    )


def _in_folder(given: Given) -> str:
    """The example's command, as typed beside the folder that it was written to."""
    first, second, table, images, *rest = given.command.split()
    return " ".join([first, second, f"{given.name}/{table}", f"{given.name}/{images}", *rest])


@finished
def given_sentence(given: Given) -> str:
    """How much was given, and what the two labels are called in what follows."""
    # Within backticks nothing is Markdown but a backtick.
    first, second = (" ".join(label.replace("`", "'").split()) for label in given.labels)
    items = counted([given.counts["items"].sum()], "item")
    text = f"`{given.name}`: {items} with {counted(given.pictures, 'image')}."
    if (first.lower(), second.lower()) != ("false", "true"):
        text += f" Below, True stands for the label `{second}` and False for `{first}`."
    return text + _seen_in_training(given.counts) + _unread(given.counts)


def _seen_in_training(counts: pd.DataFrame) -> str:
    """How many test items show an image that training shows too, by its pixels."""
    test = counts[counts["part"] == "test"].iloc[0]
    if not test["of_training"]:
        return " No test item shows an image of training."
    return (
        f" {test['of_training']:,} of {test['items']:,} test items show an image, by its pixels, "
        "that training shows too: on these a model can know the image by heart."
    )


def _unread(counts: pd.DataFrame) -> str:
    """How many texts are cut, and how many have no word that models know."""
    if "longer" not in counts:
        return ""  # made before this was counted
    items, longer, strange = (int(counts[name].sum()) for name in ("items", "longer", "strange"))
    told = ""
    if longer:
        told += (
            f" {longer:,} of {items:,} texts are longer than the {READ_WORDS} words and marks that "
            "are read, by models and by the text model beside them."
        )
    if strange:
        told += (
            f" {strange:,} of {items:,} texts have no word that models know, which is one that at "
            "least two training texts have: of these models see length and marks alone."
        )
    return told


def given_table(given: Given) -> Exhibit:
    """Items, labels, images and texts of each part."""
    counts = given.counts
    table = pd.DataFrame(
        {
            "part": counts["part"],
            "items": counts["items"].map("{:,}".format),
            f"labelled {given.labels[0]}": (counts["items"] - counts["class_1"]).map("{:,}".format),
            f"labelled {given.labels[1]}": counts["class_1"].map("{:,}".format),
            "different images": counts["images"].map("{:,}".format),
            "different texts": counts["texts"].map("{:,}".format),
        }
    )
    caption = (
        "What was given. Models learn from the items for training; those for validation choose the "
        "settings of the text model; all else below is about the test items."
    )
    return plain_table(table, caption, data=counts)


def sample(given: Given, open_image: OpenImage | None = None, most: int = SAMPLE) -> Gallery:
    """Some test items as they were given; see :func:`flipped` for open_image."""
    run = given.studies[0].run_ids()[0]
    items = given.store.items(given.store.study(run)["items"])
    answers = given.store.table("predictions", [run]).drop_duplicates("item")
    items = items.merge(answers[["item", "label"]], on="item")
    places = np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int)
    shown = items.iloc[places]
    cards = [
        _head(given, row, bool(row["label"]), open_image or given.open_image) + "</article>"
        for _, row in shown.iterrows()
    ]
    caption = f"{len(cards)} of {counted(len(items), 'test item')}, at even distances in the table."
    return _gallery("".join(cards), caption, f"{len(cards)} items as they were given.", shown)


# -- does it look at the image? -------------------------------------------------------------------
def looks(dense: pd.DataFrame) -> pd.DataFrame:
    """What its own image adds to a dense model's accuracy, paired by seed.

    dense: see :meth:`Given.dense`. Returns model, control (none, shuffled), shown, other (mean
    accuracies), difference, low, high (95 % t interval over seeds, cut at -1 and 1, <NA> with
    one), n, flags (what the interval is, or why there is none), p_looks, holm_looks.
    """
    wide = dense.assign(seed=dense["run"].str.rpartition("-s")[2].astype(int)).pivot_table(
        "accuracy", ["model", "seed"], "regions"
    )
    rows = []
    for model in in_order(dense["model"]):
        for control in CONTROLS:
            both = wide.loc[model][["shown", control]].dropna()
            change = both["shown"] - both[control]
            found = t_interval(change)
            means = (model, control, both["shown"].mean(), both[control].mean(), change.mean())
            p = None if refusal(change) else float(stats.ttest_1samp(change, 0).pvalue)
            rows.append((*means, found.low, found.high, found.n, found.kind, p))
    names = ["model", "control", "shown", "other", "difference", "low", "high", "n", "flags"]
    numbers = dict.fromkeys(("low", "high", "p_looks"), "Float64")
    table = adjust(pd.DataFrame(rows, columns=[*names, "p_looks"]).astype(numbers))
    # No two accuracies are further apart than this.
    return table.assign(low=table["low"].clip(-1), high=table["high"].clip(upper=1))


@finished
def looks_sentence(found: pd.DataFrame) -> str:
    """Which models are shown to look at the image; found: a frame of :func:`looks`."""
    parts, shown = [], []
    for model in in_order(found["model"]):
        own = found[found["model"] == model].set_index("control")
        told = [
            f"{points_with_interval(row)} against {_WITHOUT[str(control)]}"
            for control, row in own.iterrows()
        ]
        parts.append(f"{model_name(model)}: {listed(told)}")
        if (own["holm_looks"] < ALPHA).fillna(False).all() and (own["difference"] > 0).all():
            shown.append(model_name(model))
    rest = [m for m in map(model_name, in_order(found["model"])) if m not in shown]
    verdict = f"{listed(shown)} {'looks' if len(shown) == 1 else 'look'} at it." if shown else ""
    if rest:
        verdict += f" For {listed(rest)} that is not shown."
    seeds = int(found["n"].max())
    interval = "in brackets 95 % t intervals" if seeds > 1 else "and one seed has no interval"
    return (
        f"What the item's own image adds to accuracy. {'; '.join(parts)} "
        f"({counted(seeds, 'seed')}, paired; {interval}). Does the model look at the image, by "
        f"paired t tests against both controls, after Holm over all {len(found)}? "
        f"{verdict.strip()}"
    )


_WITHOUT = {"none": "no image", "shuffled": "another item's"}


@finished
def text_sentence(given: Given) -> str:
    """What is right without any image, by rules that are no neural network."""
    best = constant(given)
    return (
        f"The best constant answer is right on {best.text()} % of the {best.items:,} test items, "
        f"a text model on {_of(given, 'text').text()} % and the opposite of what training said of "
        f"the same text on {_of(given, 'opposite').text()} % (in brackets, 95 % exact intervals "
        "over items). A model that does no better has not been shown to need images."
    )


def constant(given: Given) -> Answer:
    """The better of the two answers that look at nothing, judged by the test items themselves."""
    (row,) = (row for _, row in given.counts.iterrows() if row["part"] == "test")
    return Answer(max(row["class_1"], row["items"] - row["class_1"]), row["items"])


def looks_table(given: Given, dense: pd.DataFrame) -> Exhibit:
    """Everything that answers the test items, from a constant to models that see the image."""
    found = looks(dense)
    rows = [{"what answers": "best constant answer", "accuracy, %": constant(given).text()}]
    rows += [
        {"what answers": RULES[rule], "accuracy, %": _of(given, rule).text()}
        for rule in ("opposite", "text")
    ]
    for regions, words in SHOWN.items():
        for model in in_order(dense["model"]):
            own = rows_of(dense, model=model, regions=regions)["accuracy"]
            row = {"what answers": f"{model_name(model)} {words}", "accuracy, %": _mean(own)}
            if regions != "shown":
                added = rows_of(found, model=model, control=regions).iloc[0]
                row["own image adds"] = points_with_interval(added)
            rows.append(row)
    caption = (
        f"What answers the {constant(given).items:,} test items, and how often it is right. Rules: "
        "in brackets, 95 % exact (Clopper-Pearson) interval over items. Models are dense and "
        f"trained alike: mean over {counted(int(found['n'].max()), 'seed')}, in brackets 95 % t "
        "interval over seeds, cut where accuracy ends; differences are paired by seed, and no "
        "interval is adjusted for there being several. Text model: "
        "logistic regression on TF-IDF weighted words and n-grams, chosen on validation items."
    )
    return plain_table(pd.DataFrame(rows).fillna(""), caption, data=dense)


def _of(given: Given, rule: str) -> Answer:
    return given.text.answer(given.name, rule)


def _mean(values: pd.Series[float]) -> str:
    low, high, *_ = t_interval(values)
    text = f"{100 * values.mean():.1f}"
    if low is None or high is None:
        return f"{text} (one seed)"
    return f"{text} ({100 * max(low, 0):.1f} to {100 * min(high, 1):.1f})"


# -- is it enough? --------------------------------------------------------------------------------
@finished
def enough_sentence(given: Given, tests: pd.DataFrame) -> str:
    """What these items and seeds could have found; tests: of :func:`contrasts.contrast_tests`."""
    items = constant(given).items
    half = 100 * _half(items)
    text = (
        f"Is this enough? With {counted(items, 'test item')} the 95 % interval of an accuracy near "
        f"50 % reaches {half:.1f} points to either side."
    )
    if half > FEW_POINTS:
        text += (
            " That is too few items to conclude anything about smaller differences between two "
            "models, however many seeds are run."
        )
    dense = tests[(tests["against"] == AGAINST_DENSE) & (tests["note"] == "")]
    if dense.empty:
        why = listed(list(dict.fromkeys(tests.loc[tests["against"] == AGAINST_DENSE, "note"])))
        return f"{text} No level can be tested against its dense model: {why}."
    ends = [points(share).lstrip("+") for share in (dense["detectable"].min(),
                                                    dense["detectable"].max())]  # fmt: skip
    span = ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
    text += (
        f" With {counted(dense['n'], 'seed')} the smallest true difference from dense that a "
        f"paired test finds with {100 * POWER:g} % power is {span} points, level by level."
    )
    _, margin = judged_by(dense)
    if dense["detectable"].max() > margin:
        text += (
            f" Where that is more than {points_of(margin)}, a verdict of inconclusive means too "
            "few seeds, not that nothing changed."
        )
    return text


def _half(items: int) -> float:
    found = proportion_interval(items // 2, items)
    assert found.low is not None and found.high is not None
    return (found.high - found.low) / 2


# -- items whose answers change -------------------------------------------------------------------
def flipped(given: Given, open_image: OpenImage | None = None, most: int = FLIPPED) -> Gallery:
    """The test items whose answers change most often on the way down the ladder, with their images.

    open_image: what opens an image by its name; the given folder's unless said. Where no level
    beats the trivial rule together with its dense model, no change means anything, and the page
    says so instead.
    """
    studies = [see(study, given.store) for study in given.studies if study.regions == "shown"]
    ranked = chosen(studies, unstable=len(studies[0].found.items), stable=0)
    shown = ranked[ranked["changed"] > 0].head(most)
    facts = studies[0].facts.set_index("item")
    counts = tallies(studies, list(shown["item"]))
    label = dict(zip(studies[0].found.items, studies[0].found.label.tolist(), strict=True))
    cards = [
        _card(given, facts.loc[item], label[item], counts[counts["item"] == item],
              open_image or given.open_image)
        for item in shown["item"]
    ]  # fmt: skip
    alt = f"{len(cards)} test items with image, text, label and answers."
    data = ranked.drop(columns="kind").merge(facts.reset_index(), on="item")
    body = "".join(cards) or f"<p>{_nothing(studies)}</p>"
    return _gallery(body, _flipped_caption(studies, len(cards)), alt, data)


def _gallery(cards: str, caption: str, alt: str, data: pd.DataFrame) -> Gallery:
    style = f"<style>{STYLE}{_MORE_STYLE}</style>"
    body = f'<div class="lth-gallery">{style}<div class="lth-cards">{cards}</div></div>'
    return Gallery(caption, alt, data, body=body)


def _nothing(studies: Sequence[Seen]) -> str:
    if not any(study.beats.any() for study in studies):
        return (
            "No item is shown: at no level are dense and ticket both shown to beat the best "
            "constant answer, so that what changes there means nothing."
        )
    return "No answer changes at any level that beats the best constant answer."


def _flipped_caption(studies: Sequence[Seen], cards: int) -> str:
    seeds = listed([f"{len(s.found.runs)} ({model_name(s.study.model)})" for s in studies])
    return (
        f"{cards} of {counted(len(studies[0].found.items), 'test item')}, those whose answers "
        "change most often between dense and ticket, over all models, seeds and levels that beat "
        "the best constant answer. Each cell has the answer of most seeds, whether it is right "
        f"(✓) or wrong (✗), and how many seeds give it. Seeds: {seeds}."
    )


def _card(
    given: Given, facts: pd.Series[str], label: bool, counts: pd.DataFrame, open_image: OpenImage
) -> str:
    levels = counts.drop_duplicates("level").sort_values("level")
    heads = [
        "dense" if level == DENSE_LEVEL else f"{sparsity_text(share)} %"
        for level, share in zip(levels["level"], levels["sparsity"], strict=True)
    ]
    rows = "".join(
        f'<tr><th scope="row">{html.escape(model_name(model))}</th>'
        + "".join(
            f"<td>{_answer(given, row, label)}</td>"
            for _, row in rows_of(counts, model=model).sort_values("level").iterrows()
        )
        + "</tr>"
        for model in in_order(counts["model"])
    )
    head = "".join(f'<th scope="col">{text}</th>' for text in ("", *heads))
    return (
        f"{_head(given, facts, label, open_image)}"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></article>"
    )


def _head(given: Given, facts: pd.Series[str], label: bool, open_image: OpenImage) -> str:
    """The upper half of a card, whose element stays open."""
    return (
        f'<article class="lth-card">{picture(facts["image"], open_image)}'
        f'<p class="lth-text"><strong>{html.escape(facts["text"])}</strong><br>'
        f"label: {html.escape(given.labels[int(label)])} · {html.escape(facts['image'])}</p>"
    )


def _answer(given: Given, row: pd.Series[Any], label: bool) -> str:
    """The answer of most seeds, in the table's own words."""
    said, seeds = int(row["true"]), int(row["seeds"])
    if 2 * said == seeds:
        return f"split {said}/{seeds}"
    answer = 2 * said > seeds
    mark = "✓" if answer == label else "✗"
    word = html.escape(given.labels[int(answer)])
    return f"{mark} {word} {max(said, seeds - said)}/{seeds}"


def picture(name: str, open_image: OpenImage) -> str:
    """A small picture that lies in the page, or a word in its place where it cannot be read."""
    try:
        with open_image(name) as image:
            data, kind = _small(image)
    except (OSError, ValueError, SyntaxError, LthError, Image.DecompressionBombError):
        return f'<p class="lth-lost">The image {html.escape(name)} cannot be read any more.</p>'
    packed = base64.b64encode(data).decode()
    return f'<img src="data:image/{kind};base64,{packed}" alt="{html.escape(name)}">'


def _small(image: Image.Image) -> tuple[bytes, str]:
    """The image no larger than a thumbnail, as PNG or JPEG, whichever is smaller."""
    plain = on_white(image)
    plain.thumbnail((THUMBNAIL, THUMBNAIL))
    files = {}
    for kind, options in (("png", {"optimize": True}), ("jpeg", {"quality": 80})):
        buffer = io.BytesIO()
        plain.save(buffer, kind, **options)
        files[kind] = buffer.getvalue()
    kind = min(files, key=lambda name: len(files[name]))
    return files[kind], kind


_MORE_STYLE = """
.lth-gallery img{display:block;max-width:10rem;max-height:10rem;margin:0 auto;
outline:1px solid rgba(128,128,128,.6)}
.lth-gallery .lth-text{overflow-wrap:anywhere}
.lth-gallery .lth-lost{border:1px dashed currentColor;padding:1rem;font-size:.85em}
"""
