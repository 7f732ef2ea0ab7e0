"""Figures of the main source, made again: its points, where it prints them, and our lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lthlib.reference import PUBLISHED_RATES
from lthlib.report.draw import (
    BLACK,
    BLUE,
    GREEN,
    HEIGHT,
    ORANGE,
    PAPER,
    PURPLE,
    SKY,
    VERMILLION,
    WIDTH,
    Look,
    finish_axes,
    paper_style,
)
from lthlib.report.exhibits import MEASURES, Exhibit, Measure, model_name
from lthlib.report.measures import Floats
from lthlib.report.reading import Reading
from lthlib.report.source import published
from lthlib.report.source.columns import numbers
from lthlib.report.source.evidence import (
    LABEL_BLIND,
    NOT_RUN_YET,
    Arm,
    Evidence,
    Printed,
    amount_text,
    arms,
    levels_of,
    rate_text,
    seeds_line,
)
from lthlib.report.source.rates import by_rate
from lthlib.report.statistics import DENSE_LEVEL
from lthlib.report.words import counted
from lthlib.study import PUBLISHED_AMOUNTS, PUBLISHED_ROUNDS, cumulative

SOURCE = Look("source", BLACK, "X", (0, (1, 1)))
ARM_LOOKS = (Look("ours, as published", BLUE, "o"), Look("ours, lottery", GREEN, "s", "--"))
RATE_LOOKS = (
    Look("", BLUE, "o"),
    Look("", VERMILLION, "s", "--"),
    Look("", GREEN, "^", "-."),
    Look("", PURPLE, "D", ":"),
    Look("", ORANGE, "X", (0, (5, 1, 1, 1, 1, 1))),
)
_AXIS = "pruned in each of three rounds, %"
_IN_SOURCE = {"unfaithful_accuracy_dense": "unfaithful_accuracy"}


def ladder_figure(
    evidence: Evidence, *, model: str, ladder: str, panels: Sequence[tuple[str, str]]
) -> Exhibit:
    """Measures over the levels, one panel each: the source with its SDs, and both our protocols.

    panels: pairs of a measure and the source's table that prints it.
    """
    columns = arms(evidence, model, ladder)[:2]
    first = 0 if "accuracy" in {measure for measure, _ in panels} else 1
    with paper_style():
        figure, rows = _panels(len(panels))
        for axes, (measure, table) in zip(rows, panels, strict=True):
            axes.set_ylabel(MEASURES[measure].heading)
            _draw_source(axes, Printed(table), measure)
            for arm, look in zip(columns, ARM_LOOKS, strict=True):
                if arm.reading is not None:
                    draw_series(axes, _main_rows(arm, measure), measure, arm.summary(measure), look)
            _draw_blind(axes, columns[0], measure)
            _references(axes, columns, measure)
            _amount_axis(axes, ladder, first)
        rows[-1].set_xlabel(_AXIS)
        finish_axes(figure, rows[0])
    tables = [Printed(table) for _, table in panels]
    names = " and ".join(MEASURES[measure].title for measure, _ in panels)
    caption = (
        f"{model_name(model)}, {ladder} ladder: {names}. Crosses: the "
        f"source ({tables[0].runs}), bars its standard deviation over runs where its p-values "
        f"determine it. Thin lines: single seeds of ours; thick lines: mean; band: 95 % t interval "
        f"over seeds. Label-blind: what a model would reach that gives each answer as often as the "
        f"one as published, and looks at nothing. {seeds_line(columns)} Both protocols reach the "
        f"same sparsity at each mark.{_reference_words(columns, [m for m, _ in panels])}"
    )
    data = pd.concat(
        [
            numbers(printed, columns, [measure])
            for printed, (measure, _) in zip(tables, panels, strict=True)
        ],
        ignore_index=True,
    )
    return Exhibit(caption, _ladder_alt(panels, columns, ladder), data, figure)


def final_share_figure(evidence: Evidence) -> Exhibit:
    """Share of weights pruned in the end against the share pruned in each round."""
    counted = _counted(evidence)
    said = published.inline_number("final pruned share for 10% per epoch")
    amounts = np.linspace(0, 1, 101)
    with paper_style():
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained", facecolor=PAPER)
        axes = figure.subplots()
        exact = [100 * cumulative(a) for a in amounts]
        axes.plot(100 * amounts, exact, color=SKY, linewidth=2, label="1 − (1 − p)³")
        looks = dict(zip(("secondary", "concluding"), (RATE_LOOKS[1], RATE_LOOKS[0]), strict=True))
        for ladder, part in counted.groupby("ladder"):
            look = looks[str(ladder)]
            axes.plot(
                100 * part["amount"], 100 * part["share"], linestyle="", color=look.colour,
                marker=look.marker, markersize=7, label=f"counted, {ladder}",
            )  # fmt: skip
        axes.plot([10], [said], linestyle="", color=BLACK, marker="X", markersize=9, label="source")
        axes.set(xlabel=_AXIS, ylabel="pruned in the end, %", xlim=(0, 102), ylim=(0, 103))
        finish_axes(figure, axes)
    runs = sum(len(reading.runs) for reading in evidence.all())
    off = f" They differ from it by at most {counted['off'].max():.1g}." if runs else ""
    caption = (
        f"Share of prunable weights that are zero after {PUBLISHED_ROUNDS} rounds, as published. "
        f"Line: the exact formula. Marks: counted in {runs} runs of ours, which is exact and has "
        f"no interval.{off} Cross: the one point in the source's text, 10 % a round and "
        f"{said:g} % in the end; {PUBLISHED_ROUNDS} rounds of 10 % make {100 * cumulative(0.1):.1f}"
        " %."
    )
    alt = (
        f"Curve of the final against the per-round share of pruned weights: 10 % a round gives "
        f"{100 * cumulative(0.1):.1f} %, the source says {said:g} %; 50 % gives "
        f"{100 * cumulative(0.5):.1f} %."
    )
    return Exhibit(caption, alt, counted, figure)


def rates_figure(evidence: Evidence, *, model: str, task: str, table: str) -> Exhibit:
    """Accuracy over pruning and learning rate: the source above, ours below."""
    printed, readings = Printed(table), by_rate(evidence, model, task)
    levels = list(levels_of("secondary"))
    rows = []
    with paper_style():
        figure, panels = _panels(2)
        for place, (rate, cells) in enumerate(printed.cells.groupby("learning_rate")):
            arm = Arm("ours", readings[place])
            ours = arm.by_seed("accuracy").mean().reindex(levels)
            sides = {"source": cells.set_index("level")["share"].reindex(levels), "ours": ours}
            look = RATE_LOOKS[place]
            name = rate_text(float(str(rate)))
            for axes, (side, values) in zip(panels, sides.items(), strict=True):
                axes.plot(
                    levels, 100 * values.astype(float), color=look.colour, marker=look.marker,
                    linestyle=look.line, markersize=6, linewidth=1.6, label=name,
                )  # fmt: skip
                at = rate_text(arm.reading.study.learning_rate) if arm.reading else ""
                rows.append(
                    pd.DataFrame(
                        {"whose": side, "learning_rate": name if side == "source" else at,
                         "level": levels, "accuracy": values.to_numpy()}
                    )
                )  # fmt: skip
        rules = (published.ALL_NEGATIVE, _trivial_accuracy(readings))
        for axes, side, rule in zip(panels, ("source", "ours"), rules, strict=True):
            axes.set(ylabel=f"{side}: accuracy, %", ylim=(0, 105))
            if side == "ours" and not any(readings):
                axes.text(0.5, 0.5, NOT_RUN_YET, transform=axes.transAxes, ha="center")
            _amount_axis(axes, "secondary")
            if rule is not None:
                draw_reference(axes, Reference("all negative", rule))
        panels[-1].set_xlabel(_AXIS)
        finish_axes(figure, panels[0])
    data = pd.concat(rows, ignore_index=True)
    times = PUBLISHED_RATES[0] / printed.cells["learning_rate"].min()
    seeds = counted([len(r.runs) for r in readings if r is not None] or [0], "seed")
    caption = (
        f"Accuracy over all decisions of {model_name(model)}: above the source on Open-I "
        f"({printed.runs}), below ours on {task} (mean of {seeds}, no interval). Lines: "
        f"the source's five learning rates, and ours in the same order, {times:g} times as "
        f'large. Dashed: the answer "nothing found" to everything, '
        f"{100 * published.ALL_NEGATIVE:.2f} % for the source"
        f"{'' if rules[1] is None else f' and {100 * rules[1]:.1f} % for ours'}."
    )
    return Exhibit(caption, _rates_alt(model, data), data, figure)


# -- parts ----------------------------------------------------------------------------------------
def _panels(count: int) -> tuple[Figure, list[Axes]]:
    size = (WIDTH, HEIGHT + (count - 1) * 0.7 * HEIGHT)
    figure = Figure(figsize=size, layout="constrained", facecolor=PAPER)
    return figure, list(figure.subplots(count, squeeze=False, sharex=True)[:, 0])


def _amount_axis(axes: Axes, ladder: str, first: int = DENSE_LEVEL) -> None:
    levels = list(levels_of(ladder))[first:]
    names = [amount_text(ladder, level).removesuffix(" %") for level in levels]
    axes.set_xticks(levels, labels=names)


def _draw_source(axes: Axes, printed: Printed, measure: str) -> None:
    cells = _points(printed, measure)
    axes.errorbar(
        cells["level"], 100 * cells["share"], yerr=100 * cells["sd"].fillna(0),
        color=SOURCE.colour, marker=SOURCE.marker, linestyle=SOURCE.line, markersize=7,
        elinewidth=1.2, capsize=3, linewidth=1.2, label=SOURCE.name, zorder=5,
    )  # fmt: skip


def _draw_blind(axes: Axes, arm: Arm, measure: str) -> None:
    """What the shares of answers alone would give, for our run of the source's protocol."""
    if arm.reading is None:
        return
    null = Arm(LABEL_BLIND, arm.reading, blind=True).by_seed(measure).mean()
    axes.plot(
        null.index, 100 * null, color=VERMILLION, marker="D", markersize=4, linewidth=1.4,
        linestyle="-.", label="label-blind, as published",
    )  # fmt: skip


def _points(printed: Printed, measure: str) -> pd.DataFrame:
    """The source's numbers of a measure against dense, by level; dense agrees with itself."""
    cells = printed.cells
    here = cells["metric"] == _IN_SOURCE.get(measure, measure)
    if measure == "fidelity":
        here &= cells["level"] == DENSE_LEVEL
        cells = cells.assign(level=cells["level_b"])
    return cells[here].sort_values("level")


def _main_rows(arm: Arm, measure: str) -> pd.DataFrame:
    frame = arm.frame(measure)
    return frame.assign(**{measure: frame[measure].astype("Float64")})


def _references(axes: Axes, columns: Sequence[Arm], measure: str) -> None:
    """What a rule without input reaches, and for fidelity what two dense seeds share."""
    if measure == "accuracy":
        draw_reference(axes, Reference("always True, source", published.CONSTANT["always True"]))
    floor = _floor(columns)
    if measure == "fidelity" and floor is not None:
        draw_reference(axes, Reference("two dense seeds, ours", floor, ":"))


def _reference_words(columns: Sequence[Arm], measures: Sequence[str]) -> str:
    texts = []
    if "accuracy" in measures:
        share = published.CONSTANT["always True"]
        texts.append(f" Dashed: always True on the source's captions, {100 * share:.1f} %.")
    floor = _floor(columns)
    if "fidelity" in measures and floor is not None:
        texts.append(
            f" Dotted: two of our dense models of other seeds agree on {100 * floor:.1f} %."
        )
    return "".join(texts)


def _floor(columns: Sequence[Arm]) -> float | None:
    found = [arm.reading.floor for arm in columns if arm.reading is not None]
    return next((floor for floor in found if floor is not None), None)


def _ladder_alt(panels: Sequence[tuple[str, str]], columns: Sequence[Arm], ladder: str) -> str:
    parts = []
    last = len(PUBLISHED_AMOUNTS[ladder])
    for measure, table in panels:
        cells = _points(Printed(table), measure)
        ends = [f"{100 * share:.1f} %" for share in cells["share"].iloc[[0, -1]]]
        texts = [f"source {' to '.join(ends)}"]
        for arm in columns:
            means = arm.by_seed(measure).mean()
            if len(means):
                texts.append(f"{arm.name} {100 * means.iloc[0]:.1f} % to {100 * means[last]:.1f} %")
        parts.append(f"{MEASURES[measure].title}: {'; '.join(texts)}")
    return f"Line chart over the amount pruned each round. {'. '.join(parts)}."


def _rates_alt(model: str, data: pd.DataFrame) -> str:
    texts = []
    for side, part in data.groupby("whose", sort=False):
        known = part["accuracy"].dropna()
        ends = (
            f"{100 * known.min():.1f} % to {100 * known.max():.1f} %"
            if len(known)
            else "not run yet"
        )
        texts.append(f"{side} {ends}")
    return f"Accuracy of {model_name(model)} by learning rate and pruning: {'; '.join(texts)}."


def _counted(evidence: Evidence) -> pd.DataFrame:
    """Measured sparsity of each level of both ladders, as published, over all models and seeds."""
    rows = []
    for ladder, amounts in PUBLISHED_AMOUNTS.items():
        for reading in evidence.readings(f"published-{ladder}"):
            levels = reading.levels
            here = levels[(levels["branch"] == "main") & (levels["stage"] == reading.stage)]
            for level, part in here.groupby("level"):
                amount = amounts[int(str(level)) - 1]
                share = part["zeros"] / part["prunable"]
                rows.append((ladder, amount, reading.study.model, share.mean(), len(share),
                             (share - cumulative(amount)).abs().max()))  # fmt: skip
    names = ["ladder", "amount", "model", "share", "runs", "off"]
    return pd.DataFrame(rows, columns=names)


def _trivial_accuracy(readings: Sequence[Reading | None]) -> float | None:
    known = [reading for reading in readings if reading is not None]
    return float(known[0].quality["trivial_accuracy"].iloc[0]) if known else None


# -- parts ----------------------------------------------------------------------------------------
class Reference(NamedTuple):
    """A level line to compare with; value is a share."""

    name: str
    value: float
    line: str = "--"


def draw_series(axes: Axes, frame: pd.DataFrame, name: str, mean: pd.DataFrame, look: Look) -> None:
    """Seeds as thin lines, their mean as a thick one, its interval as a band."""
    for _, seed in frame.sort_values("level").groupby("run"):
        axes.plot(seed["level"], _percent(seed[name]), color=look.colour, linewidth=0.8, alpha=0.45)
    low, high = _cut(mean, name)
    axes.fill_between(mean["level"], low, high, color=look.colour, alpha=0.15, linewidth=0)
    axes.plot(
        mean["level"],
        _percent(mean["mean"]),
        color=look.colour,
        marker=look.marker,
        linestyle=look.line,
        linewidth=2,
        markersize=6,
        label=look.name,
    )


def draw_reference(axes: Axes, reference: Reference) -> None:
    axes.axhline(
        100 * reference.value,
        color=BLACK,
        linestyle=reference.line,
        linewidth=1.3,
        label=reference.name,
    )


def _cut(mean: pd.DataFrame, name: str) -> tuple[Floats, Floats]:
    """The ends of the intervals in %, cut where the measure ends."""
    measure = MEASURES.get(name, Measure(name))
    low, high = _percent(mean["low"]), _percent(mean["high"])
    return low.clip(min=100 * measure.low), high.clip(max=100 * measure.high)


def _percent(column: pd.Series[float]) -> Floats:
    values = column.astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
    return np.asarray(100 * values, dtype=np.float64)
