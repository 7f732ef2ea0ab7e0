"""Figures of tidy summaries: a ladder, stacked shares, a heat map; to be read on a phone.

Each function takes a frame of :mod:`lthlib.report.tidy` and returns a :class:`Drawing`. Levels
stand at even distances, which for a ladder that prunes a fixed share of the rest is a logarithmic
scale of what is left; the labels give their sparsity. Colours are those of Okabe and Ito (2008),
and every series has a marker and a line style of its own, so that no reading hangs on colour. The
background is opaque, for pages that may be dark.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from lthlib.report.exhibits import MEASURES, Measure, model_name, sparsity_text
from lthlib.report.measures import Floats
from lthlib.report.tidy import in_order
from lthlib.report.words import proper

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
PAPER, GRID = "#FFFFFF", "#DDDDDD"

# A figure this wide is shown at three quarters of its size on a phone: 12 points become 9.
WIDTH, HEIGHT, POINTS = 4.8, 3.9, 12
PANEL_HEIGHT = 2.7
MOST_TICKS = 14
_ROW = 0.62  # inches of a forest plot that one level takes
SPARSITY_AXIS = "sparsity (prunable weights that are zero), %"
_FONT_SIZES = (
    *("font.size", "axes.labelsize", "axes.titlesize", "xtick.labelsize", "ytick.labelsize"),
    "legend.fontsize",
)


class Look(NamedTuple):
    """How one series is drawn, and what it is called."""

    name: str
    colour: str
    marker: str = "o"
    line: str | tuple[int, tuple[int, ...]] = "-"
    hatch: str = ""


class Drawing(NamedTuple):
    """A figure, the numbers behind it, and its main numbers for a reader who cannot see it."""

    figure: Figure
    data: pd.DataFrame
    alt: str

    def save(self, folder: Path, name: str) -> list[Path]:
        """Write the numbers as `name`.csv, and the figure as `name`.png beside it."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{name}.csv", folder / f"{name}.png"]
        self.data.to_csv(paths[0], index=False)
        self.figure.savefig(paths[1], dpi=200)
        return paths


BRANCH_LOOKS = {
    "main": Look("ticket", BLUE, "o"),
    "random-mask": Look("random mask", ORANGE, "s", "--"),
    "shuffled-mask": Look("shuffled mask", GREEN, "^", "-."),
    "reinitialised": Look("re-initialised", VERMILLION, "D", ":"),
    "high-magnitude": Look("high magnitude", PURPLE, "X", (0, (5, 1, 1, 1, 1, 1))),
}
MODEL_LOOKS = {
    "visualbert": Look("VisualBERT", BLUE, "o"),
    "lxmert": Look("LXMERT", VERMILLION, "s", "--"),
    "uniter": Look("UNITER", GREEN, "^", "-."),
}


# -- a ladder -------------------------------------------------------------------------------------
def ladder(
    data: pd.DataFrame,
    looks: Mapping[str, Look],
    *,
    series: str = "measure",
    panel: str = "",
    label: str = "",
    lines: Mapping[str, float | Mapping[str, float]] | None = None,
    between: tuple[float, float] | None = None,
    along: tuple[str, str, Sequence[str]] | None = None,
) -> Drawing:
    """Means over the ladder with their intervals as bars; thin lines are single seeds.

    data: a frame of :func:`lthlib.report.tidy.over_seeds`, or of `with_seeds` for thin lines.
    looks: the series that are drawn, by their value in the column `series`. One that lacks levels
        which another has, such as a control, is drawn as markers alone.
    panel: a column whose values get a panel each, below one another: "model", "measure".
    label: of the vertical axis; without it, the measure's own.
    lines: level lines by name, in the unit of the measure; of panels, by panel.
    between: the ends of the vertical axis, as drawn (in % for shares).
    along: instead of levels, a column with places 0, 1, ..., its label, and a text for each place.
    """
    panels = _panels(data, panel)
    place = along[0] if along else "level"
    drawn = {key: look for key, look in looks.items() if (data[series] == key).any()}
    with paper_style():
        height = PANEL_HEIGHT * len(panels) + 0.9 if len(panels) > 1 else HEIGHT
        figure = Figure(figsize=(WIDTH, height), layout="constrained", facecolor=PAPER)
        shared = panel != "measure"
        rows = figure.subplots(len(panels), sharex=True, sharey=shared, squeeze=False)[:, 0]
        for axes, (name, part) in zip(rows, panels.items(), strict=True):
            for number, (key, look) in enumerate(drawn.items()):
                aside = 0.07 * (number - (len(drawn) - 1) / 2)
                _series(axes, part[part[series] == key], look, aside, place, part[place].nunique())
            # After seaborn, which labels axes by columns.
            _horizontal(axes, data, along)
            axes.set_ylabel(label or MEASURES[str(part["measure"].iloc[0])].heading)
            if panel == "model":
                axes.set_title(model_name(name))
            if axes is not rows[-1]:
                axes.set_xlabel("")
            _level_lines(axes, lines or {}, name, _scale(part))
        if between is not None:
            rows[0].set_ylim(*between)
        finish_axes(figure, max(rows, key=lambda axes: len(axes.get_legend_handles_labels()[0])))
    means = spoken(data, drawn, series, panel=panel, over=place)
    return Drawing(figure, data, f"Means: {means}.{_spoken_lines(lines or {}, _scale(data))}")


def _panels(data: pd.DataFrame, panel: str) -> dict[str, pd.DataFrame]:
    """Parts of a frame by panel, models in their order and others as they come."""
    if not panel:
        return {"": data}
    names = in_order(data[panel]) if panel == "model" else list(data[panel].unique())
    return {name: data[data[panel] == name] for name in names}


def _series(
    axes: Axes, part: pd.DataFrame, look: Look, aside: float, place: str, places: int
) -> None:
    """One series, a little to the side of its place so that bars do not hide each other."""
    means = part.drop_duplicates([place, "measure"]).sort_values(place)
    if means["mean"].notna().sum() == 0:
        return
    joined = len(means) >= places - 1  # a ticket has no dense level in what compares with dense
    if joined and "value" in part:
        sns.lineplot(
            part.assign(value=_scale(part) * part["value"].astype(float)),
            x=place, y="value", units="run", estimator=None, ax=axes, color=look.colour,
            linewidth=0.8, alpha=0.45, legend=False,
        )  # fmt: skip
    mean, low, high = (_scale(part) * column for column in _cut(means))
    axes.errorbar(
        means[place] + aside,
        mean,
        # One seed has no interval, hence no bar.
        yerr=np.nan_to_num(np.stack([mean - low, high - mean])).clip(min=0),
        color=look.colour,
        marker=look.marker,
        linestyle=look.line if joined else "",
        linewidth=1.8,
        markersize=6,
        elinewidth=1.2,
        label=look.name,
    )


def _cut(means: pd.DataFrame) -> tuple[Floats, Floats, Floats]:
    """Means and ends of intervals, which are cut where the measure ends."""
    name = str(means["measure"].iloc[0])
    measure = MEASURES.get(name, Measure(name))
    mean, low, high = (means[column].astype("Float64") for column in ("mean", "low", "high"))
    ends = mean, low.clip(lower=measure.low), high.clip(upper=measure.high)
    return _floats(ends[0]), _floats(ends[1]), _floats(ends[2])


def _level_lines(
    axes: Axes, lines: Mapping[str, float | Mapping[str, float]], panel: str, scale: float
) -> None:
    for style, (name, values) in zip(("--", ":"), lines.items(), strict=False):
        value = values.get(panel) if isinstance(values, Mapping) else values
        if value is not None:
            axes.axhline(scale * value, color=BLACK, linestyle=style, linewidth=1.3, label=name)


def _horizontal(
    axes: Axes, data: pd.DataFrame, along: tuple[str, str, Sequence[str]] | None
) -> None:
    if along is None:
        level_axis(axes, data)
        return
    _, label, texts = along
    axes.set_xticks(range(len(texts)), labels=list(texts))
    axes.set_xlabel(label)


def _scale(part: pd.DataFrame) -> float:
    """Shares are drawn in %."""
    name = str(part["measure"].iloc[0])
    return 100.0 if MEASURES.get(name, Measure(name)).unit == "share" else 1.0


def _spoken_lines(lines: Mapping[str, float | Mapping[str, float]], scale: float) -> str:
    """The level lines of a figure, with their values, for its alt text."""
    told = []
    for name, values in lines.items():
        each = values if isinstance(values, Mapping) else {"": values}
        told += [f"{name} {key}".strip() + f", {scale * v:.1f}" for key, v in each.items()]
    return f" Lines: {'; '.join(told)}." if told else ""


# -- shares that add up, and squares --------------------------------------------------------------
def stacked(data: pd.DataFrame, looks: Mapping[str, Look], label: str) -> Drawing:
    """Mean shares over the ladder that add up to all; series that are 0 everywhere are left out.

    data: a frame of :func:`lthlib.report.tidy.over_seeds` or `with_seeds`; looks: by measure.
    """
    shares = data.pivot_table("mean", "level", "measure").astype(float)
    seen = {name: look for name, look in looks.items() if shares[name].max() > 0}
    with paper_style():
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained", facecolor=PAPER)
        axes = figure.subplots()
        axes.set(ylabel=label, ylim=(0, 100))
        level_axis(axes, data)
        areas = axes.stackplot(
            shares.index.to_numpy(),
            *(100 * shares[name].to_numpy() for name in seen),
            labels=[look.name for look in seen.values()],
            colors=[look.colour for look in seen.values()],
            edgecolor=PAPER,
            linewidth=0.8,
        )
        for area, look in zip(areas, seen.values(), strict=True):
            area.set_hatch(look.hatch)
        axes.margins(x=0)
        finish_axes(figure, axes)
    return Drawing(figure, data, f"Stacked areas. {spoken(data, seen, 'measure', panel='')}.")


def heat(
    squares: Mapping[str, pd.DataFrame], data: pd.DataFrame, sparsity: pd.Series[float], label: str
) -> Drawing:
    """Squares of shares between levels, one below the other on one scale.

    squares: by title, level x level; data: the numbers behind them; sparsity: by level.
    """
    low = min(float(square.min().min()) for square in squares.values())
    with paper_style():
        figure = Figure(figsize=(WIDTH, 4.1 * len(squares)), layout="constrained", facecolor=PAPER)
        rows = figure.subplots(len(squares), squeeze=False)[:, 0]
        for axes, (title, square) in zip(rows, squares.items(), strict=True):
            ticks = [sparsity_text(sparsity[level]) for level in square.index]
            sns.heatmap(
                100 * square, ax=axes, cmap="cividis", vmin=np.floor(100 * low), vmax=100,
                square=True, annot=len(square) <= 7, fmt=".0f", annot_kws={"size": POINTS},
                xticklabels=ticks, yticklabels=ticks, cbar_kws={"label": label},
            )  # fmt: skip
            axes.set(title=title, xlabel=SPARSITY_AXIS, ylabel="sparsity, %")
            axes.tick_params(axis="x", rotation=90)
            axes.tick_params(axis="y", rotation=0)
    ends = (
        f"{title}: {100 * square.to_numpy()[0, -1]:.1f} % between dense and the sparsest level"
        for title, square in squares.items()
    )
    return Drawing(figure, data, f"Heat map of {label}; {'; '.join(ends)}.")


# -- single items ---------------------------------------------------------------------------------
def scenes(
    canvases: Sequence[npt.NDArray[np.float32]],
    boxes: Sequence[Sequence[Sequence[float]]],
    texts: Sequence[str],
    labels: Sequence[str],
) -> Drawing:
    """Scenes with the boxes of their regions, each under its text and its label.

    canvases: [H, W], 0 (paper) to 1 (ink); boxes: x1 y1 x2 y2 in 0..1 for each region of a scene.
    """
    rows = -(-len(canvases) // 2)
    figure = Figure(figsize=(4.6, 3.25 * rows), layout="constrained", facecolor=PAPER)
    axes = figure.subplots(rows, 2, squeeze=False).ravel()
    for ax in axes:
        ax.set_axis_off()
    for ax, canvas, regions, text, label in zip(axes, canvases, boxes, texts, labels, strict=False):
        height, width = canvas.shape
        ax.imshow(canvas, cmap="Greys", vmin=0, vmax=1, extent=(0, width, height, 0))
        for x1, y1, x2, y2 in regions:
            corner, reach = (x1 * width, y1 * height), ((x2 - x1) * width, (y2 - y1) * height)
            ax.add_patch(Rectangle(corner, *reach, fill=False, edgecolor=ORANGE, linewidth=1.5))
        ax.add_patch(Rectangle((0, 0), width, height, fill=False, linewidth=0.8))
        ax.set_title(f"{textwrap.fill(text, 24)}\n[{label}]", fontsize=POINTS - 2)
    told = ["; ".join(" ".join(f"{x:.3f}" for x in box) for box in each) for each in boxes]
    data = pd.DataFrame({"text": texts, "label": labels, "boxes": told})
    seen = "; ".join(f"{text} [{label}]" for text, label in zip(texts, labels, strict=True))
    return Drawing(figure, data, f"Scenes, each with its text and label: {seen}")


# -- differences ----------------------------------------------------------------------------------
def forest(
    data: pd.DataFrame, looks: Mapping[str, Look], label: str, *, band: float, near: float
) -> Drawing:
    """Differences by level with two intervals each: thick bars low_90 to high_90, thin low to high.

    data: model, level, sparsity, difference, low, high, low_90, high_90 and reference, as shares;
    bars end where the score of what is compared does, at 0 and 1.
    band: half the width of the grey band around 0. near: differences up to it share a panel; others
    have one below on a scale of their own, for one scale would squeeze the band.
    """
    shown = {key: look for key, look in looks.items() if (data["model"] == key).any()}
    close = data["difference"].abs().le(near).fillna(True).astype(bool)
    panels = [part for part in (data[close], data[~close]) if len(part)]
    rows = [part["level"].nunique() for part in panels]
    with paper_style():
        size = (WIDTH, 1.0 + 0.7 * len(panels) + _ROW * sum(rows))
        figure = Figure(figsize=size, layout="constrained", facecolor=PAPER)
        drawn = figure.subplots(len(panels), height_ratios=rows, squeeze=False)[:, 0]
        for axes, part in zip(drawn, panels, strict=True):
            _forest_panel(axes, part, shown, band)
            if part["difference"].abs().le(near).any():
                axes.set_xlim(-100 * near, 100 * near)
        drawn[-1].set_xlabel(label)
        # One label for all: a panel of a single level is too low for its own.
        figure.supylabel("sparsity, %", fontsize=drawn[-1].xaxis.label.get_fontsize())
        finish_axes(figure, drawn[-1])
    told = (
        f"{look.name}: "
        + ", ".join(
            f"{100 * row['difference']:+.1f} at {sparsity_text(row['sparsity'])} %"
            for _, row in data[data["model"] == key].iterrows()
            if pd.notna(row["difference"])
        )
        for key, look in shown.items()
    )
    return Drawing(figure, data, f"Forest plot, {label}. {'; '.join(told)}.")


def _forest_panel(axes: Axes, part: pd.DataFrame, looks: Mapping[str, Look], band: float) -> None:
    """The levels of one panel, on a linear scale of points."""
    axes.axvspan(-100 * band, 100 * band, color=GRID, linewidth=0, zorder=0)
    axes.axvline(0, color=BLACK, linewidth=1)
    levels = part.groupby("level")["sparsity"].mean()
    height = {level: place for place, level in enumerate(levels.index)}
    for place, (model, look) in enumerate(looks.items()):
        own = part[part["model"] == model]
        offset = 0.24 * (place - (len(looks) - 1) / 2)
        _forest_rows(axes, own, look, own["level"].map(height).to_numpy(dtype=np.float64) + offset)
    axes.set_yticks(list(height.values()), labels=[sparsity_text(s) for s in levels])
    axes.set_ylim(len(levels) - 0.5, -0.5)
    axes.xaxis.set_major_formatter(lambda t, _: proper(f"{t:+g}") if t else "0")


def _forest_rows(axes: Axes, own: pd.DataFrame, look: Look, height: Floats) -> None:
    least, most = (limit - _floats(own["reference"]) for limit in (0.0, 1.0))
    for low, high, width in (("low", "high", 1.1), ("low_90", "high_90", 3.2)):
        left, right = (100 * np.clip(_floats(own[end]), least, most) for end in (low, high))
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


# -- parts ----------------------------------------------------------------------------------------
def _floats(column: pd.Series[float]) -> Floats:
    return np.asarray(column.astype("Float64").to_numpy(np.float64, na_value=np.nan), np.float64)


@contextmanager
def paper_style() -> Iterator[None]:
    """Fonts, grid and paddings of every figure."""
    settings: dict[str, Any] = dict.fromkeys(_FONT_SIZES, POINTS)
    settings |= sns.axes_style("whitegrid", {"grid.color": GRID, "axes.edgecolor": BLACK})
    settings |= {"hatch.linewidth": 0.6, "hatch.color": "#00000066"}
    settings |= {f"figure.constrained_layout.{side}_pad": 0.1 for side in "wh"}
    # Keys are checked when they are set; their type lists every one that matplotlib has.
    with mpl.rc_context(cast(Any, settings)):
        yield


def level_axis(axes: Axes, data: pd.DataFrame) -> None:
    """Levels at even distances, labelled with their sparsity."""
    sparsity = data.groupby("level")["sparsity"].mean()
    sparsity = sparsity.iloc[:: -(-len(sparsity) // MOST_TICKS)]
    labels = [sparsity_text(share) for share in sparsity]
    axes.set_xticks(sparsity.index.to_numpy(), labels=labels)
    if len(labels) > 6 or max(map(len, labels)) > 5:
        axes.tick_params(axis="x", labelrotation=90)
    axes.set_xlabel(SPARSITY_AXIS)


def finish_axes(figure: Figure, axes: Axes) -> None:
    """The legend, below the axes so that it costs no width; reference lines come last."""
    named = list(zip(*axes.get_legend_handles_labels(), strict=True))
    named.sort(key=lambda pair: isinstance(pair[0], Line2D) and pair[0].get_color() == BLACK)
    handles, labels = zip(*named, strict=True)
    columns = 1 if max(map(len, labels)) > 24 else 2
    # Every line of the legend beyond two makes the figure taller, not the axes smaller.
    further = max(0, -(-len(labels) // columns) - 2)
    figure.set_figheight(figure.get_figheight() + 0.26 * further)
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        handlelength=2.2,
        columnspacing=1.2,
    )


def spoken(
    data: pd.DataFrame,
    looks: Mapping[str, Look],
    series: str,
    digits: int = 1,
    *,
    panel: str = "model",
    over: str = "level",
) -> str:
    """The first and the last mean of each series of each panel, for a figure's alt text.

    digits: decimals of what is drawn; over: the column along which it is drawn.
    """
    parts = []
    for title, rows in _panels(data, panel).items():
        for key, look in looks.items():
            own = rows[(rows[series] == key) & rows["mean"].notna()].sort_values(over)
            named = f"{model_name(title) if panel == 'model' else title}, " if title else ""
            if own.empty:
                parts.append(f"{named}{look.name}: not defined")
                continue
            ends = [f"{_scale(own) * own['mean'].iloc[i]:.{digits}f}" for i in (0, -1)]
            parts.append(f"{named}{look.name}: {ends[0]} to {ends[1]}")
    return "; ".join(parts)
