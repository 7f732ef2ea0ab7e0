"""What the verdicts rest on: differences with intervals, effects, margins and power.

Each function takes a frame of :func:`contrasts.contrast_tests`, of studies that
differ in their model alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lthlib.report.draw import (
    BLACK,
    GRID,
    MODEL_LOOKS,
    PAPER,
    WIDTH,
    Look,
    finish_axes,
    level_axis,
    paper_style,
)
from lthlib.report.exhibits import Exhibit, model_name, sparsity_text
from lthlib.report.judgement.contrasts import AGAINST_DENSE
from lthlib.report.judgement.equivalence import MARGINS, smallest_margins
from lthlib.report.judgement.verdicts import TITLES, judged_by, points, points_of, seeds_line
from lthlib.report.measures import Floats
from lthlib.report.statistics import POWER
from lthlib.report.tidy import in_order
from lthlib.report.words import proper

NEAR = 0.05  # differences that share a panel with the margin
_ROW = 0.62  # inches of a forest plot that one level takes
NONE = "no margin under 100 points"


# -- tables ----------------------------------------------------------------------------------------
def differences_table(tests: pd.DataFrame) -> Exhibit:
    """Every contrast: the difference with its interval, its effect, and all tests of it."""
    judged, margin = judged_by(tests)
    rows = []
    for _, row in _ordered(tests).iterrows():
        cells = {
            "model": model_name(row["model"]),
            "sparsity, %": sparsity_text(row["sparsity"]),
            "against": TITLES[row["against"]],
            "difference, points": _with_interval(row),
        }
        if row["note"]:
            cells |= dict.fromkeys(_TESTED, row["note"])
        else:
            cells |= {head: show(row) for head, show in _TESTED.items()}
        rows.append(cells)
    caption = (
        f"Each ticket minus its reference, in {judged.title}: {seeds_line(tests)}, paired by seed. "
        "In brackets: 95 % t interval over seeds. g_av: Hedges' g with the average of both "
        "variances (Cumming 2012). Control did not train: it beats the trivial rule at no seed and "
        f"its seeds lie within {points_of(margin)} of one another, and nothing is tested. "
        "p-values as they are and, after the arrow, after Holm within a study; "
        f"TOST and non-inferiority with a margin of {points_of(margin)}. Exact sign flips cannot "
        "fall below 2 in 2^n of n seeds."
    )
    table = pd.DataFrame(rows)
    alt = f"Table of {len(rows)} differences in {judged.title} between tickets and references."
    return Exhibit(caption, alt, tests, table=table)


def _p_pair(name: str) -> Callable[[pd.Series[Any]], str]:
    return lambda row: f"{p_text(row['p_' + name])} → {p_text(row['holm_' + name])}"


_TESTED: dict[str, Callable[[pd.Series[Any]], str]] = {
    "g_av": lambda row: (
        "one side has no spread" if pd.isna(row["g_av"]) else proper(f"{row['g_av']:.2f}")
    ),
    "paired t": _p_pair("difference"),
    "sign flips": _p_pair("sign_flip"),
    "Wilcoxon": _p_pair("wilcoxon"),
    "TOST": _p_pair("equivalence"),
    "not inferior": _p_pair("not_inferior"),
}


def p_text(p: Any) -> str:
    """A p-value as text; "no test" where there is none.

    >>> p_text(0.0312), p_text(0.00001), p_text(0.9999)
    ('0.031', '< 0.001', '> 0.999')
    """
    if pd.isna(p):
        return "no test"
    if p < 0.001:
        return "< 0.001"
    return "> 0.999" if p > 0.999 else f"{p:.3f}"


def power_table(tests: pd.DataFrame) -> Exhibit:
    """What these seeds could have found: spread of the differences, and what it can detect."""
    judged, margin = judged_by(tests)
    own = _ordered(tests[tests["against"] == AGAINST_DENSE])
    rows = []
    for _, row in own.iterrows():
        cells = {
            "model": model_name(row["model"]),
            "sparsity, %": sparsity_text(row["sparsity"]),
            "seeds": str(row["n"]),
        }
        if row["note"]:
            rows.append(cells | dict.fromkeys(_POWERED, row["note"]))
        else:
            rows.append(cells | {head: show(row) for head, show in _POWERED.items()})
    caption = (
        f"What the paired tests against dense can find in {judged.title}: {seeds_line(own)}. "
        "Detectable: the true "
        f"difference that a two-sided t test at 5 % finds with {100 * POWER:g} % power, before "
        "Holm. Seeds needed: for equivalence within "
        f"±{points_of(margin)} to be shown with the same power where nothing differs."
    )
    alt = f"Table of power: {len(rows)} levels."
    return Exhibit(caption, alt, own[_POWER_COLUMNS], table=pd.DataFrame(rows))


_POWER_COLUMNS = ["study", "model", "level", "sparsity", "n", "sd", "detectable", "seeds_needed"]
_POWERED: dict[str, Callable[[pd.Series[Any]], str]] = {
    "sd of differences, points": lambda row: f"{100 * row['sd']:.2f}",
    "detectable, points": lambda row: f"{100 * row['detectable']:.2f}",
    "seeds needed": lambda row: (
        "more than 1,000" if pd.isna(row["seeds_needed"]) else f"{row['seeds_needed']:.0f}"
    ),
}


# -- figures ---------------------------------------------------------------------------------------
def differences_figure(tests: pd.DataFrame, *, against: str = AGAINST_DENSE) -> Exhibit:
    """A forest plot: the score minus one reference's at each level, with both intervals."""
    judged, margin = judged_by(tests)
    own = _ordered(tests[tests["against"] == against])
    looks = {m: MODEL_LOOKS[m] for m in in_order(own["model"])}
    # One scale for both would squeeze the margin, or need a logarithm that belies distances.
    near = own["difference"].abs().le(NEAR).fillna(True).astype(bool)
    panels = [part for part in (own[near], own[~near]) if len(part)]
    rows = [part["level"].nunique() for part in panels]
    with paper_style():
        size = (WIDTH, 1.0 + 0.7 * len(panels) + _ROW * sum(rows))
        figure = Figure(figsize=size, layout="constrained", facecolor=PAPER)
        drawn = figure.subplots(len(panels), height_ratios=rows, squeeze=False)[:, 0]
        for axes, part in zip(drawn, panels, strict=True):
            _forest_panel(axes, part, looks, margin)
        drawn[-1].set_xlabel(f"difference in {judged.title}, points")
        # One label for all: a panel of a single level is too low for its own.
        figure.supylabel("sparsity, %", fontsize=drawn[-1].xaxis.label.get_fontsize())
        finish_axes(figure, drawn[-1])
    title = TITLES[against]
    caption = (
        f"Tickets minus {title} in {judged.title}, by sparsity: {seeds_line(own)}, paired by seed. "
        "Thick bars: 90 % t interval, which shows equivalence where it lies in the grey band of "
        f"±{points_of(margin)} (before Holm); thin bars: 95 %; both end where "
        f"{judged.title} does, at 0 and 100 %. {_panels_line(panels)}No bar: one seed."
    )
    alt = f"Forest plot of differences in {judged.title} against {title}, in points. " + "; ".join(
        f"{look.name}: "
        + ", ".join(
            f"{points(row['difference'])} at {sparsity_text(row['sparsity'])} %"
            for _, row in own[own["model"] == model].iterrows()
            if pd.notna(row["difference"])
        )
        for model, look in looks.items()
    )
    return Exhibit(f"{caption}", f"{alt}.", own, figure)


def _panels_line(panels: Sequence[pd.DataFrame]) -> str:
    if len(panels) < 2:
        return ""
    return (
        f"Above: differences of up to {points_of(NEAR)}; bars that leave the panel go on. "
        "Below: the others, on a scale of their own. "
    )


def _forest_panel(axes: Axes, part: pd.DataFrame, looks: Mapping[str, Look], margin: float) -> None:
    """The levels of one panel, on a linear scale of points."""
    axes.axvspan(-100 * margin, 100 * margin, color=GRID, linewidth=0, zorder=0)
    axes.axvline(0, color=BLACK, linewidth=1)
    levels = part.groupby("level")["sparsity"].mean()
    height = {level: place for place, level in enumerate(levels.index)}
    for place, (model, look) in enumerate(looks.items()):
        own = part[part["model"] == model]
        offset = 0.24 * (place - (len(looks) - 1) / 2)
        _forest(axes, own, look, own["level"].map(height).to_numpy(dtype=np.float64) + offset)
    if part["difference"].abs().le(NEAR).any():
        axes.set_xlim(-100 * NEAR, 100 * NEAR)
    axes.set_yticks(list(height.values()), labels=[sparsity_text(s) for s in levels])
    axes.set_ylim(len(levels) - 0.5, -0.5)
    axes.xaxis.set_major_formatter(lambda t, _: proper(f"{t:+g}") if t else "0")


def _forest(axes: Axes, own: pd.DataFrame, look: Look, height: Floats) -> None:
    for low, high, width in (("low", "high", 1.1), ("low_90", "high_90", 3.2)):
        # The ticket's score ends at 0 and at 1, and so does its difference.
        ends = (_floats(own[end]) for end in (low, high))
        least, most = (limit - _floats(own["reference"]) for limit in (0.0, 1.0))
        left, right = (100 * np.clip(end, least, most) for end in ends)
        axes.hlines(height, left, right, look.colour, linewidth=width)
    axes.plot(
        100 * _floats(own["difference"]),
        height,
        color=look.colour,
        marker=look.marker,
        markeredgecolor=BLACK,
        markeredgewidth=0.6,
        linestyle="none",
        markersize=7,
        label=look.name,
    )


def margins_table(tests: pd.DataFrame, margins: tuple[float, ...] = MARGINS) -> pd.DataFrame:
    """The smallest margin of each test against dense: study, model, level, sparsity, margin, note.

    And for each of `margins` a column `within_x` that says whether equivalence is shown there.
    """
    dense = tests[tests["against"] == AGAINST_DENSE]
    parts = [part.assign(margin=smallest_margins(part)) for _, part in dense.groupby("study")]
    own = pd.concat(parts)
    columns = ["study", "model", "level", "sparsity", "sparsity_all", "n", "margin", "note"]
    shown = {f"within_{m:g}": own["margin"].le(m).fillna(False) for m in margins}
    return own[columns].assign(**shown).reset_index(drop=True)


def margins_figure(tests: pd.DataFrame) -> Exhibit:
    """How far the verdict hangs on the margin: the smallest that shows equivalence with dense."""
    _, margin = judged_by(tests)
    own = margins_table(tests)
    looks = {m: MODEL_LOOKS[m] for m in in_order(own["model"])}
    with paper_style():
        figure = Figure(figsize=(WIDTH, 3.9), layout="constrained", facecolor=PAPER)
        axes = figure.subplots()
        level_axis(axes, own)
        for model, look in looks.items():
            part = own[own["model"] == model]
            axes.plot(
                part["level"],
                100 * _floats(part["margin"]),
                color=look.colour,
                marker=look.marker,
                linestyle=look.line,
                linewidth=2,
                markersize=7,
                label=look.name,
            )
        line = f"this report's margin, {points_of(margin)}"
        axes.axhline(100 * margin, color=BLACK, linestyle="--", linewidth=1.3, label=line)
        axes.set_yscale("log")
        axes.set_ylim(0.2, 100)
        marks = [0.3, 1, 3, 10, 30, 100]
        axes.set_yticks(marks, labels=[f"{mark:g}" for mark in marks])
        axes.minorticks_off()
        axes.set_ylabel("smallest margin, points")
        finish_axes(figure, axes)
    caption = (
        f"Sensitivity to the margin: {seeds_line(own)}. Each mark is the smallest margin at which "
        "the ticket would be called equivalent to dense (TOST at 5 %, after Holm within a "
        "ladder), on a logarithmic scale. A mark below the dashed line is equivalent in this "
        "report; no mark: no test, for the reasons in the table."
    )
    alt = "Line chart of the smallest margin that shows equivalence with dense. " + "; ".join(
        f"{look.name}: {_margin_texts(own[own['model'] == model])}" for model, look in looks.items()
    )
    return Exhibit(caption, f"{alt}.", own, figure)


def _margin_texts(part: pd.DataFrame) -> str:
    able = part[part["margin"].notna()]
    if able.empty:
        return "no test"
    return ", ".join(
        f"{points_of(round(float(row['margin']), 4))} at {sparsity_text(row['sparsity'])} %"
        for _, row in able.iterrows()
    )


def _ordered(tests: pd.DataFrame) -> pd.DataFrame:
    """Rows by model, in this project's order, then by level, then by reference."""
    order = {model: i for i, model in enumerate(in_order(tests["model"]))}
    against = {name: i for i, name in enumerate(TITLES)}
    rank = tests.assign(_m=tests["model"].map(order), _a=tests["against"].map(against))
    return rank.sort_values(["_m", "study", "level", "_a"]).drop(columns=["_m", "_a"])


def _with_interval(row: pd.Series[Any]) -> str:
    if pd.isna(row["difference"]):
        return "not defined"
    text = points(row["difference"])
    return (
        text if pd.isna(row["low"]) else f"{text} ({points(row['low'])} to {points(row['high'])})"
    )


def _floats(column: pd.Series[float]) -> Floats:
    return np.asarray(column.astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan))
