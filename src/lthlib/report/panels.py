"""Summaries over seeds, model by model: a panel each in a figure, a block of rows in a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lthlib.report.exhibits import (
    MEASURES,
    in_order,
    model_name,
    sparsity_text,
    summarise,
    summary_text,
)
from lthlib.report.figures import (
    BLACK,
    PAPER,
    WIDTH,
    Look,
    finish_axes,
    level_axis,
    paper_style,
)

PANEL_HEIGHT = 2.7


def ladder_panels(
    summary: pd.DataFrame,
    looks: Mapping[str, Look],
    *,
    series: str,
    label: str,
    lines: Mapping[str, Mapping[str, float]] | None = None,
    between: tuple[float, float] | None = None,
    along: tuple[str, str, Sequence[str]] | None = None,
) -> Figure:
    """Means with t intervals as bars, over the ladder or along another column; a panel a model.

    summary: model, sparsity, measure, mean, low, high, the column `series`, whose values `looks`
        draws, and level; see :func:`lthlib.report.exhibits.summarise`.
    lines: level lines by name, each with its value by model, in the unit of the measure.
    between: the ends of the vertical axis, as drawn (in % for shares).
    along: instead of levels, a column with places 0, 1, ..., its label, and a text for each place.
    """
    models = in_order(summary["model"])
    with paper_style():
        height = PANEL_HEIGHT * len(models) + 0.9
        figure = Figure(figsize=(WIDTH, height), layout="constrained", facecolor=PAPER)
        rows = figure.subplots(len(models), sharex=True, sharey=True, squeeze=False)[:, 0]
        for axes, model in zip(rows, models, strict=True):
            own = summary[summary["model"] == model]
            _horizontal(axes, summary, along)
            axes.set(title=model_name(model), ylabel=label)
            if axes is not rows[-1]:
                axes.set_xlabel("")
            for place, (name, look) in enumerate(looks.items()):
                aside = 0.07 * (place - (len(looks) - 1) / 2)
                _series(axes, own[own[series] == name], look, aside, along[0] if along else "level")
            for style, (name, values) in zip(("--", ":"), (lines or {}).items(), strict=False):
                if model in values:
                    value = values[model] * _scale(own)
                    axes.axhline(value, color=BLACK, linestyle=style, linewidth=1.3, label=name)
        if between is not None:
            rows[0].set_ylim(*between)
        finish_axes(figure, max(rows, key=lambda axes: len(axes.get_legend_handles_labels()[0])))
    return figure


def level_table(frame: pd.DataFrame, names: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measures by model and level as finished text, and the summary behind it.

    frame: model, run, level, sparsity, sparsity_all and the measures `names`, one row a run and
    level; see :func:`lthlib.report.exhibits.summarise`.
    """
    data = models_in_order(summarise(frame, ["model", "level"], names))
    rows = data.drop_duplicates(["model", "level"])
    columns = {
        "model": list(rows["model"].map(model_name)),
        "sparsity, %": list(rows["sparsity"].map(sparsity_text)),
    }
    for name in names:
        own = data[data["measure"] == name]
        texts = [summary_text(MEASURES[name], row) for _, row in own.iterrows()]
        columns[MEASURES[name].heading] = texts
    return pd.DataFrame(columns), data


def models_in_order(data: pd.DataFrame) -> pd.DataFrame:
    """The same rows, sorted by model as this project names them, and otherwise as they were."""
    rank = {model: place for place, model in enumerate(in_order(data["model"]))}
    return data.sort_values("model", key=lambda names: names.map(rank), kind="stable")


def spoken(
    summary: pd.DataFrame,
    looks: Mapping[str, Look],
    series: str,
    digits: int = 1,
    *,
    over: str = "level",
) -> str:
    """The first and the last mean of each series of each model, for a figure's alt text.

    digits: decimals of what is drawn; over: the column along which it is drawn.
    """
    parts = []
    for model in in_order(summary["model"]):
        for name, look in looks.items():
            own = summary[(summary["model"] == model) & (summary[series] == name)]
            own = own[own["mean"].notna()].sort_values(over)
            if own.empty:
                parts.append(f"{model_name(model)}, {look.name}: not defined")
                continue
            ends = [f"{_scale(own) * own['mean'].iloc[i]:.{digits}f}" for i in (0, -1)]
            parts.append(f"{model_name(model)}, {look.name}: {ends[0]} to {ends[1]}")
    return "; ".join(parts)


def _horizontal(
    axes: Axes, summary: pd.DataFrame, along: tuple[str, str, Sequence[str]] | None
) -> None:
    if along is None:
        level_axis(axes, summary)
        return
    _, label, texts = along
    axes.set_xticks(range(len(texts)), labels=list(texts))
    axes.set_xlabel(label)


def _series(axes: Axes, part: pd.DataFrame, look: Look, aside: float, over: str) -> None:
    """One series, a little to the side of its place so that bars do not hide each other."""
    if part["mean"].notna().sum() == 0:
        return
    measure, scale = MEASURES[str(part["measure"].iloc[0])], _scale(part)
    part = part.sort_values(over)
    mean, low, high = (
        part[name].astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
        for name in ("mean", "low", "high")
    )
    below, above = mean - low.clip(min=measure.low), high.clip(max=measure.high) - mean
    axes.errorbar(
        part[over] + aside,
        scale * mean,
        # One seed has no interval, hence no bar.
        yerr=scale * np.nan_to_num(np.stack([below, above])).clip(min=0),
        color=look.colour,
        marker=look.marker,
        linestyle=look.line,
        linewidth=1.8,
        markersize=6,
        elinewidth=1.2,
        label=look.name,
    )


def _scale(part: pd.DataFrame) -> float:
    """Shares are drawn in %."""
    return 100.0 if MEASURES[str(part["measure"].iloc[0])].unit == "share" else 1.0
