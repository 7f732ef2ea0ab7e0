"""Figures 3 to 7 of the main source: what items of the tasks look like, and how they are made up.

Its data are Open-I and VSR; ours are the embedded tasks of the same forms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lthlib.report.draw import BLUE, ORANGE, PAPER, WIDTH, finish_axes, paper_style, scenes
from lthlib.report.exhibits import Exhibit
from lthlib.report.plain import plain_table
from lthlib.report.source import published
from lthlib.report.source.evidence import NOT_RUN_YET, Evidence, Sample

SHOWN = 2
_LOOKS = ((BLUE, ""), (ORANGE, "//"))


def sample_of(task: Any, render: Callable[[Any, int], Any]) -> Sample:
    """What the figures need of a task of the lab, whose `render` draws a scene."""
    test = task.test
    labels = pd.DataFrame(np.asarray(test.labels), columns=list(task.decisions))
    inputs, shown = test.inputs, range(SHOWN)
    return Sample(
        scenes={
            "canvases": [render(test, item) for item in shown],
            "boxes": [inputs.boxes[i][inputs.region_mask[i]].tolist() for i in shown],
            "texts": test.facts["text"].head(SHOWN).tolist(),
            "labels": [_said(labels.iloc[i], task.classes) for i in shown],
        },
        splits={"train": len(task.train), "validation": len(task.validation), "test": len(test)},
        facts=test.facts,
        labels=labels,
    )


def _said(row: pd.Series[int], classes: Sequence[str]) -> str:
    """The label of one item in words."""
    if len(row) == 1:
        return classes[int(row.iloc[0])]
    return ", ".join(str(name) for name, there in row.items() if there) or "normal"


def scene_figure(evidence: Evidence, *, task: str) -> Exhibit:
    """Items as a person would see them."""
    sample = evidence.samples.get(task)
    if sample is None:
        return _missing(task)
    made = scenes(**sample.scenes)
    caption = (
        f"{SHOWN} test items of {task}: the scene, the boxes of its regions, the text, and in "
        "brackets the label. A box without a digit is a distractor. These are single items, so "
        "there is no interval."
    )
    return Exhibit(caption, made.alt, made.data, made.figure)


def findings_figure(evidence: Evidence, *, task: str) -> Exhibit:
    """Share of test items with each finding, and with none."""
    sample = evidence.samples.get(task)
    if sample is None:
        return _missing(task)
    shares = sample.labels.mean().sort_values(ascending=False)
    shares = pd.concat([pd.Series({"normal": (sample.labels.sum(axis=1) == 0).mean()}), shares])
    quoted = published.inline_numbers().set_index("quantity")["value"]
    train, test = quoted["OPEN-I training / testing samples"]
    caption = (
        f"Share of the {sample.splits['test']:,} test items of {task} with each finding; an item "
        f"may have several. Counts of all items, so there is no interval. {_splits(sample)} The "
        f"source says {train:,} training and {test:,} test items of Open-I, and draws its 14 "
        f"findings and Normal without numbers."
    )
    return _bars({"test items": shares}, "share of test items, %", caption)


def relations_figure(evidence: Evidence, *, task: str) -> Exhibit:
    """Share of test items with each spatial relation."""
    sample = evidence.samples.get(task)
    if sample is None:
        return _missing(task)
    shares = sample.facts["relation"].value_counts(normalize=True)
    quoted = published.inline_numbers().set_index("quantity")["value"]
    caption = (
        f"Share of the {sample.splits['test']:,} test items of {task} with each of "
        f"{len(shares)} relations. Counts of all items, so there is no interval. The source draws "
        f"{quoted['VSR data points']:,} captions of VSR over its relations without numbers; "
        f'"touching" is its largest.'
    )
    return _bars({"test items": shares}, "share of test items, %", caption)


def labels_figure(evidence: Evidence, *, task: str) -> Exhibit:
    """Share of False and True labels: the source's whole data set, and our test items."""
    sample = evidence.samples.get(task)
    counts = published.inline_numbers().set_index("quantity")["value"]["VSR labels False / True"]
    sides = {"source, VSR": pd.Series(counts, index=["False", "True"]) / sum(counts)}
    if sample is not None:
        true = float(sample.labels.iloc[:, 0].mean())
        sides[f"ours, {task}"] = pd.Series({"False": 1 - true, "True": true})
    ours = f"{sample.splits['test']:,} test items of {task}" if sample else f"{task} {NOT_RUN_YET}"
    caption = (
        f"Share of each label: {counts[0]:,} False and {counts[1]:,} True captions of VSR as the "
        f"source counts them, and {ours}. Counts of all items, so there is no interval."
    )
    return _bars(sides, "share of items, %", caption)


def _bars(sides: Mapping[str, pd.Series[float]], axis: str, caption: str) -> Exhibit:
    """Horizontal bars, in % and with their values; the first side gives the order."""
    names = list(next(iter(sides.values())).index)
    height = 0.8 / len(sides)
    with paper_style():
        size = (WIDTH, 1.6 + 0.3 * len(names) * len(sides))
        figure = Figure(figsize=size, layout="constrained", facecolor=PAPER)
        axes = figure.subplots()
        for place, (side, shares) in enumerate(sides.items()):
            at = np.arange(len(names)) + height * place
            colour, hatch = _LOOKS[place]
            bars = axes.barh(
                at, 100 * shares.reindex(names), height, color=colour, hatch=hatch, label=side
            )
            axes.bar_label(bars, fmt="%.1f", padding=3)
        axes.set_yticks(np.arange(len(names)) + height * (len(sides) - 1) / 2, labels=names)
        axes.invert_yaxis()
        axes.margins(x=0.15)
        axes.set_xlabel(axis)
        axes.grid(visible=False, axis="y")
        finish_axes(figure, axes)
    data = pd.concat(
        [pd.DataFrame({"whose": side, "value": s.index, "share": s.to_numpy()})
         for side, s in sides.items()], ignore_index=True,
    )  # fmt: skip
    told = "; ".join(
        f"{side}: " + ", ".join(f"{name} {100 * shares[name]:.1f} %" for name in names)
        for side, shares in sides.items()
    )
    return Exhibit(caption, f"Bar chart. {told}.", data, figure)


def _splits(sample: Sample) -> str:
    counts = ", ".join(f"{count:,} {name}" for name, count in sample.splits.items())
    return f"Splits: {counts}."


def _missing(task: str) -> Exhibit:
    words = f"the items of {task} were not loaded here"
    return plain_table(pd.DataFrame({"": [words]}), f"{words[0].upper()}{words[1:]}.")
