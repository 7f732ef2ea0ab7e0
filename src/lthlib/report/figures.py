"""Figures: one thin line per seed, their mean, and a t interval; drawn to be read on a phone.

Each function takes frames that :func:`lthlib.report.measures.describe` has described, for the runs
of one study (of one study per model in a comparison), and returns an Exhibit. Levels stand at even
distances, which for a ladder that prunes a fixed share of the rest is a logarithmic scale of what
is left; the labels give their sparsity. Colours are those of Okabe and Ito (2008), and every series
has a marker and a line style of its own, so that no reading hangs on colour. The background is
opaque, for pages that may be dark.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lthlib.errors import RecordError
from lthlib.report.exhibits import (
    MEASURES,
    Exhibit,
    Measure,
    in_order,
    intervals,
    require_one_study,
    seeds_and_items,
    sparsity_text,
    summarise,
)
from lthlib.report.measures import CELLS, Floats, at_stage
from lthlib.report.statistics import DENSE_LEVEL
from lthlib.report.words import counted
from lthlib.study import MODALITIES

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
PAPER, GRID = "#FFFFFF", "#DDDDDD"

# A figure this wide is shown at three quarters of its size on a phone: 12 points become 9.
WIDTH, HEIGHT, POINTS = 4.8, 3.9, 12
MOST_TICKS = 14


class Look(NamedTuple):
    """How one series is drawn, and what it is called."""

    name: str
    colour: str
    marker: str
    line: str | tuple[int, tuple[int, ...]] = "-"


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
FAITHFULNESS_LOOKS = {
    "faithful_accuracy": Look("faithful: both models", BLUE, "o"),
    "unfaithful_accuracy_dense": Look("unfaithful: dense", VERMILLION, "s", "--"),
    "unfaithful_accuracy_pruned": Look("unfaithful: pruned", GREEN, "^", "-."),
}
MODALITY_LOOKS = {
    "language": Look("language", BLUE, "o"),
    "vision": Look("vision", VERMILLION, "s", "--"),
    "fusion": Look("fusion", GREEN, "^", "-."),
}
CELL_LOOKS = {
    "a": (BLUE, ""),
    "b": (VERMILLION, "//"),
    "c": (SKY, "\\\\"),
    "e": (YELLOW, ".."),
    "g": (PURPLE, "xx"),
}


# -- figures --------------------------------------------------------------------------------------
def accuracy_figure(quality: pd.DataFrame, *, stage: str = "trained") -> Exhibit:
    """Accuracy over the ladder, with its controls and the best trivial rule."""
    frame = at_stage(quality, stage)
    rule, accuracy = frame.iloc[0][["trivial_rule", "trivial_accuracy"]]
    reference = Reference(_trivial(rule), float(accuracy))
    return _ladder_figure(frame, "accuracy", "Accuracy", [reference])


def fidelity_figure(
    agreements: pd.DataFrame, *, floor: float | None = None, stage: str = "trained"
) -> Exhibit:
    """Fidelity to dense over the ladder, beside what a constant answer and another seed reach.

    floor: see :func:`lthlib.report.measures.seed_floor`; None leaves it out.
    """
    frame = at_stage(agreements, stage)
    trivial = float(frame.groupby("run")["trivial_fidelity"].first().mean())
    references = [Reference(_trivial("a constant answer"), trivial)]
    if floor is not None:
        references.append(Reference("dense of another seed", floor, ":"))
    return _ladder_figure(frame, "fidelity", "Fidelity to the dense model", references)


def faithfulness_figure(agreements: pd.DataFrame, *, stage: str = "trained") -> Exhibit:
    """Accuracy where dense and pruned model agree, and of each where they do not."""
    frame = _main(at_stage(agreements, stage))
    data = summarise(frame, ["level"], list(FAITHFULNESS_LOOKS))
    with paper_style():
        figure, axes = _canvas("accuracy, %", data)
        for name, look in FAITHFULNESS_LOOKS.items():
            draw_series(axes, frame, name, data[data["measure"] == name], look)
        finish_axes(figure, axes)
    caption = (
        f"Accuracy on faithful decisions (dense and pruned model agree) and on the others: "
        f"{_lines(frame)}. A line stops where no such decision is left. {sparsity_note(frame)}"
    )
    series = {look.name: data[data["measure"] == name] for name, look in FAITHFULNESS_LOOKS.items()}
    return Exhibit(
        caption,
        _alt("accuracy on faithful and unfaithful decisions", series),
        _behind(frame, data, ["level"]),
        figure,
    )


def cells_figure(agreements: pd.DataFrame, *, stage: str = "trained") -> Exhibit:
    """How the decisions divide into the five cells a, b, c, e, g, level by level."""
    frame = _main(at_stage(agreements, stage))
    frame = pd.concat([_dense_cells(frame), frame], ignore_index=True)
    data = summarise(frame, ["level"], list(CELLS))
    shares = data.pivot_table("mean", "level", "measure").astype(float)[list(CELLS)]
    seen = [cell for cell in CELLS if shares[cell].max() > 0]
    with paper_style():
        figure, axes = _canvas("share of decisions, %", data)
        areas = axes.stackplot(
            shares.index.to_numpy(),
            *(100 * shares[cell].to_numpy() for cell in seen),
            labels=[MEASURES[cell].title for cell in seen],
            colors=[CELL_LOOKS[cell][0] for cell in seen],
            edgecolor=PAPER,
            linewidth=0.8,
        )
        for area, cell in zip(areas, seen, strict=True):
            area.set_hatch(CELL_LOOKS[cell][1])
        axes.set_ylim(0, 100)
        axes.margins(x=0)
        finish_axes(figure, axes)
    empty = "" if "g" in seen else " Cell g (different wrong answers) is empty."
    caption = (
        f"What becomes of the dense model's decisions: mean shares over {seeds_and_items(frame)}."
        f"{empty} Dense itself, at 0, is right (a) or wrong (e). {sparsity_note(frame)}"
    )
    series = {MEASURES[cell].title: data[data["measure"] == cell] for cell in seen}
    alt = _alt("shares of the five cells", series, "Stacked areas")
    return Exhibit(caption, alt, _behind(frame, data, ["level"]), figure)


def _dense_cells(agreements: pd.DataFrame) -> pd.DataFrame:
    """Level 0 of each run: dense agrees with itself, rightly (a) or wrongly (e)."""
    dense = agreements.drop_duplicates("run")
    right = dense["accuracy_dense"]
    cells = {"a": right, "b": 0 * right, "c": 0 * right, "e": 1 - right, "g": 0 * right}
    return dense.assign(level=DENSE_LEVEL, sparsity=0.0, sparsity_all=0.0, **cells)


def fidelity_matrix_figure(matrix: pd.DataFrame, levels: pd.DataFrame) -> Exhibit:
    """Share of equal answers between levels: within a seed, and between different seeds.

    matrix: see :func:`lthlib.report.measures.fidelity_matrix`; levels: the table of that name, for
    the sparsity of each level.
    """
    require_one_study(matrix.rename(columns={"run_a": "run"}))
    same = matrix["run_a"] == matrix["run_b"]
    panels = {"same seed": matrix[same], "different seeds": matrix[~same]}
    means = {
        name: part.pivot_table("fidelity", "level_a", "level_b", aggfunc="mean")
        for name, part in panels.items()
        if len(part)
    }
    sparsity = levels.groupby("level")["sparsity"].mean()
    low = min(float(square.min().min()) for square in means.values())
    with paper_style():
        figure = Figure(figsize=(WIDTH, 4.1 * len(means)), layout="constrained", facecolor=PAPER)
        rows = figure.subplots(len(means), squeeze=False)[:, 0]
        for axes, (name, square) in zip(rows, means.items(), strict=True):
            ticks = [sparsity_text(sparsity[level]) for level in square.index]
            sns.heatmap(
                100 * square,
                ax=axes,
                cmap="cividis",
                vmin=np.floor(100 * low),
                vmax=100,
                square=True,
                annot=len(square) <= 7,
                fmt=".0f",
                annot_kws={"size": POINTS},
                xticklabels=ticks,
                yticklabels=ticks,
                cbar_kws={"label": "equal answers, %"},
            )
            axes.set(title=name, xlabel=SPARSITY_AXIS, ylabel="sparsity, %")
            axes.tick_params(axis="x", rotation=90)
            axes.tick_params(axis="y", rotation=0)
    seeds = matrix["run_a"].nunique()
    between = (
        "Different seeds: mean over all pairs of two seeds; its diagonal is what training alone "
        "changes."
        if len(means) > 1
        else "There is one seed, and so no second panel."
    )
    caption = (
        f"Share of test decisions that two levels answer alike. Same seed: mean over "
        f"{counted(seeds, 'seed')}. {between} {sparsity_note(levels)}"
    )
    data = matrix.assign(pairs=np.where(same, "same seed", "different seeds"))
    ends = {
        name: f"{100 * square.to_numpy()[0, -1]:.1f} % between dense and the sparsest level"
        for name, square in means.items()
    }
    alt = "Heat map of equal answers between levels; " + "; ".join(
        f"{name}: {text}" for name, text in ends.items()
    )
    return Exhibit(caption, f"{alt}.", data, figure)


def comparison_figure(
    quality: pd.DataFrame, agreements: pd.DataFrame, *, stage: str = "trained"
) -> Exhibit:
    """Accuracy and fidelity of the models side by side; needs a column `model`."""
    frames = {"accuracy": quality, "fidelity": agreements}
    frames = {name: _main(at_stage(frame, stage)) for name, frame in frames.items()}
    if any("model" not in frame.columns for frame in frames.values()):
        raise RecordError("comparison: no column 'model'; give describe() the frame of runs too")
    data = pd.concat(
        [summarise(frame, ["model", "level"], [name]) for name, frame in frames.items()],
        ignore_index=True,
    )
    looks = {model: MODEL_LOOKS[model] for model in in_order(data["model"])}
    with paper_style():
        figure = Figure(figsize=(WIDTH, 1.7 * HEIGHT), layout="constrained", facecolor=PAPER)
        rows = figure.subplots(2, sharex=True)
        for axes, (name, frame) in zip(rows, frames.items(), strict=True):
            level_axis(axes, data)
            axes.set_ylabel(MEASURES[name].heading)
            axes.set_xlabel("")
            for model, look in looks.items():
                own = data[(data["model"] == model) & (data["measure"] == name)]
                draw_series(axes, frame[frame["model"] == model], name, own, look)
        best = frames["accuracy"].iloc[0]
        draw_reference(rows[0], Reference(_trivial(best["trivial_rule"]), best["trivial_accuracy"]))
        rows[1].set_xlabel(SPARSITY_AXIS)
        finish_axes(figure, rows[0])
    caption = (
        f"Accuracy (above) and fidelity to the dense model (below) of the models: "
        f"{_lines(frames['accuracy'])}. Dashed: {_rule(frames['accuracy'])}. "
        f"{sparsity_note(frames['accuracy'])}"
    )
    series = {
        f"{look.name} {name}": data[(data["model"] == model) & (data["measure"] == name)]
        for name in frames
        for model, look in looks.items()
    }
    behind = pd.concat(
        [
            _behind(frame, data[data["measure"] == name], ["model", "level"])
            for name, frame in frames.items()
        ],
        ignore_index=True,
    )
    return Exhibit(caption, _alt("accuracy and fidelity of the models", series), behind, figure)


def density_figure(levels: pd.DataFrame, *, stage: str = "trained") -> Exhibit:
    """What each modality keeps of its prunable weights, over the ladder."""
    frame = _main(at_stage(levels, stage))
    require_one_study(frame)
    names = [m for m in MODALITIES if (frame[f"prunable_{m}"] > 0).all()]
    kept = {m: 1 - frame[f"zeros_{m}"] / frame[f"prunable_{m}"] for m in names}
    frame = frame.assign(**kept)
    by_level = frame.groupby("level", as_index=False)
    data = by_level[["sparsity", "sparsity_all", *names]].mean()
    with paper_style():
        figure, axes = _canvas("share left, %", data)
        for name in names:
            mean = data.assign(mean=data[name], low=np.nan, high=np.nan)
            draw_series(axes, frame, name, mean, MODALITY_LOOKS[name])
        # Linear below 1 %, so that nothing left at all has a place too.
        axes.set_yscale("symlog", linthresh=1, linscale=0.5)
        axes.set_ylim(0, 130)
        axes.set_yticks([0, 1, 3, 10, 30, 100], labels=["0", "1", "3", "10", "30", "100"])
        axes.axhline(1, color=BLACK, linestyle="--", linewidth=1.2, label="collapse: below 1 %")
        finish_axes(figure, axes)
    seeds = frame["run"].nunique()
    caption = (
        f"Share of each modality's prunable weights that is left: mean and single lines of "
        f"{counted(seeds, 'seed')}, on a logarithmic scale that is linear "
        f"below 1 %. Below the dashed line a modality counts as collapsed. {sparsity_note(frame)}"
    )
    series = {m: data.assign(mean=data[m]) for m in names}
    shown = frame[["run", "level", "sparsity", "sparsity_all", *names]]
    return Exhibit(caption, _alt("share left of each modality", series), shown, figure)


# -- parts ----------------------------------------------------------------------------------------
class Reference(NamedTuple):
    """A level line to compare with; value is a share."""

    name: str
    value: float
    line: str = "--"


_FONT_SIZES = (
    *("font.size", "axes.labelsize", "axes.titlesize", "xtick.labelsize", "ytick.labelsize"),
    "legend.fontsize",
)
SPARSITY_AXIS = "sparsity (prunable weights that are zero), %"


def _ladder_figure(
    frame: pd.DataFrame, name: str, title: str, references: Sequence[Reference]
) -> Exhibit:
    """One measure of the main branch over the ladder, controls as markers, references as lines."""
    data = summarise(frame, ["level", "branch"], [name])
    looks = {b: look for b, look in BRANCH_LOOKS.items() if b in set(data["branch"])}
    with paper_style():
        figure, axes = _canvas(MEASURES[name].heading, data)
        for branch, look in looks.items():
            part = data[data["branch"] == branch]
            if branch == "main":
                draw_series(axes, frame[frame["branch"] == branch], name, part, look)
            else:
                _mark(axes, name, part, look, list(looks).index(branch))
        for reference in references:
            draw_reference(axes, reference)
        finish_axes(figure, axes)
    controls = " Markers with bars: controls, with the same interval." if len(looks) > 1 else ""
    lines = "; ".join(f"{r.name}, {100 * r.value:.1f} %" for r in references)
    kinds = "Dashed" if len(references) == 1 else "Dashed and dotted"
    caption = f"{title}: {_lines(frame)}.{controls} {kinds}: {lines}. {sparsity_note(frame)}"
    series = {look.name: data[data["branch"] == branch] for branch, look in looks.items()}
    alt = f"{_alt(name, series)} {kinds}: {lines}."
    return Exhibit(caption, alt, _behind(frame, data, ["level", "branch"]), figure)


@contextmanager
def paper_style() -> Iterator[None]:
    settings: dict[str, Any] = dict.fromkeys(_FONT_SIZES, POINTS)
    settings |= sns.axes_style("whitegrid", {"grid.color": GRID, "axes.edgecolor": BLACK})
    settings |= {"hatch.linewidth": 0.6, "hatch.color": "#00000066"}
    settings |= {f"figure.constrained_layout.{side}_pad": 0.1 for side in "wh"}
    # Keys are checked when they are set; their type lists every one that matplotlib has.
    with mpl.rc_context(cast(Any, settings)):
        yield


def _canvas(label: str, data: pd.DataFrame) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained", facecolor=PAPER)
    axes = figure.subplots()
    axes.set_ylabel(label)
    level_axis(axes, data)
    return figure, axes


def level_axis(axes: Axes, data: pd.DataFrame) -> None:
    sparsity = data.groupby("level")["sparsity"].mean()
    sparsity = sparsity.iloc[:: -(-len(sparsity) // MOST_TICKS)]
    labels = [sparsity_text(share) for share in sparsity]
    axes.set_xticks(sparsity.index.to_numpy(), labels=labels)
    if len(labels) > 6 or max(map(len, labels)) > 5:
        axes.tick_params(axis="x", labelrotation=90)
    axes.set_xlabel(SPARSITY_AXIS)


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


def _mark(axes: Axes, name: str, mean: pd.DataFrame, look: Look, place: int) -> None:
    """A control: its mean as a marker, its interval as a bar, a little to the side of its level."""
    middle, (low, high) = _percent(mean["mean"]), _cut(mean, name)
    axes.errorbar(
        mean["level"] + 0.09 * place,
        middle,
        yerr=np.nan_to_num(np.stack([middle - low, high - middle])),
        fmt=look.marker,
        color=look.colour,
        markeredgecolor=BLACK,
        markeredgewidth=0.6,
        markersize=7,
        elinewidth=1.5,
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


def _cut(mean: pd.DataFrame, name: str) -> tuple[Floats, Floats]:
    """The ends of the intervals in %, cut where the measure ends."""
    measure = MEASURES.get(name, Measure(name))
    low, high = _percent(mean["low"]), _percent(mean["high"])
    return low.clip(min=100 * measure.low), high.clip(max=100 * measure.high)


def _percent(column: pd.Series[float]) -> Floats:
    values = column.astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
    return np.asarray(100 * values, dtype=np.float64)


def _behind(frame: pd.DataFrame, summary: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """The numbers of a figure: every seed's own value beside the mean and its interval."""
    names = list(summary["measure"].unique())
    values = frame.melt(["run", *by], names, var_name="measure", value_name="value")
    return values.merge(summary, on=[*by, "measure"], validate="many_to_one")


def _main(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["branch"] == "main"]


# -- words ----------------------------------------------------------------------------------------
def _lines(frame: pd.DataFrame) -> str:
    found = intervals(frame)
    if found.startswith("no interval"):
        return f"{seeds_and_items(frame)}; {found}"
    return f"{seeds_and_items(frame)}; thin lines: single seeds; thick lines: mean; band: {found}"


def _trivial(rule: str) -> str:
    return f"{rule} (trivial)"


def _rule(frame: pd.DataFrame) -> str:
    rule, accuracy = frame.iloc[0][["trivial_rule", "trivial_accuracy"]]
    return f"best rule that looks at no input ({rule}), {100 * accuracy:.1f} %"


def sparsity_note(frame: pd.DataFrame) -> str:
    prunable, everything = (frame[name].max() for name in ("sparsity", "sparsity_all"))
    return (
        f"At the last level {sparsity_text(prunable)} % of prunable weights are zero, "
        f"which is {sparsity_text(everything)} % of all weights."
    )


def _alt(what: str, series: Mapping[str, pd.DataFrame], kind: str = "Line chart") -> str:
    ends = "; ".join(f"{name} {_ends(part)}" for name, part in series.items())
    return f"{kind} of {what} against sparsity. Means: {ends}."


def _ends(part: pd.DataFrame) -> str:
    defined = part[part["mean"].notna()]
    if defined.empty:
        return "not defined anywhere"
    texts = [
        f"{100 * row['mean']:.1f} % at {sparsity_text(row['sparsity'])} % sparsity"
        for _, row in defined.iloc[[0, -1]].iterrows()
    ]
    return texts[0] if len(defined) == 1 else " to ".join(texts)
