"""What a ticket costs to find, and the front of accuracy and cost: records beside measurements.

Costs are those of the same sparsity, measured by `benchmarks.savings` on the same three models: the
coded file of a model pruned so far, and the time of a forward pass in compressed rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lthlib.report.benchmarks import Found, about
from lthlib.report.draw import (
    BLACK,
    BRANCH_LOOKS,
    PANEL_HEIGHT,
    PAPER,
    WIDTH,
    finish_axes,
    paper_style,
)
from lthlib.report.exhibits import (
    MEASURES,
    Exhibit,
    intervals,
    model_name,
    seeds_and_items,
    sparsity_text,
    summary_text,
)
from lthlib.report.measures import at_stage
from lthlib.report.plain import plain_table
from lthlib.report.reading import Reading, joined
from lthlib.report.savings import PART, measured
from lthlib.report.statistics import DENSE_LEVEL, t_interval
from lthlib.report.tidy import in_order, models_in_order, over_seeds
from lthlib.report.words import counted, finished

COSTS = {"kilobytes": "file size, kB", "milliseconds": "time of a pass, ms"}
FRONT = "on the front"


# -- what finding a ticket costs ------------------------------------------------------------------
def search_costs(readings: Sequence[Reading]) -> pd.DataFrame:
    """One row a run and level: trainings and seconds to find the ticket, controls left out.

    Iterative pruning trains dense and every level before; one-shot dense and the level itself.
    Returns model, run, level, sparsity, trainings, seconds, dense_seconds, ratio.
    """
    parts = []
    for reading in readings:
        levels = at_stage(reading.levels, "trained")
        levels = levels[levels["branch"] == "main"].sort_values(["run", "level"])
        for _, own in levels.groupby("run"):
            seconds = own["seconds"].to_numpy()
            iterative = reading.study.search == "iterative"
            spent = np.cumsum(seconds) if iterative else seconds[0] + seconds * (own["level"] > 0)
            trainings = own["level"] + 1 if iterative else 1 + (own["level"] > 0)
            part = own[["model", "run", "level", "sparsity", "sparsity_all"]]
            parts.append(
                part.assign(
                    trainings=trainings,
                    seconds=spent,
                    dense_seconds=seconds[0],
                    ratio=spent / seconds[0],
                )
            )
    return pd.concat(parts, ignore_index=True)


def search_table(costs: pd.DataFrame, readings: Sequence[Reading]) -> Exhibit:
    """Trainings and seconds to find the ticket of each level, and as a multiple of one training."""
    rows = []
    for (model, level), own in models_in_order(costs).groupby(["model", "level"], sort=False):
        rows.append(
            {
                "model": model_name(str(model)),
                "level": f"{level}",
                "sparsity, %": sparsity_text(own["sparsity"].mean()),
                "trainings": f"{own['trainings'].iloc[0]}",
                "seconds": _with_interval(own["seconds"], 1),
                "trainings' worth": _with_interval(own["ratio"], 2),
            }
        )
    seeds = counted(costs.groupby("model")["run"].nunique(), "seed")
    machines = {_machine(run["hardware"]) for reading in readings for run in reading.about}
    caption = (
        f"What finding a ticket costs: training from the start to each level, {seeds}, controls "
        "left out. Trainings' worth: divided by the dense training of the same seed. Mean over "
        "seeds; in brackets: 95 % t interval over seeds. Seconds as the records have them, with "
        f"answering the test items, on {' and '.join(sorted(machines))}."
    )
    return plain_table(pd.DataFrame(rows), caption, data=costs)


def _machine(hardware: dict[str, Any]) -> str:
    on_cpu = hardware["device"] == "cpu"
    return (
        f"{hardware['processor']} with {counted(hardware['threads'], 'thread')}"
        if on_cpu
        else str(hardware["device"])
    )


@finished
def search_sentence(costs: pd.DataFrame) -> str:
    """The cost of the sparsest tickets, in trainings."""
    last = costs[costs["level"] == costs.groupby("model")["level"].transform("max")]
    texts = []
    for model, own in models_in_order(last).groupby("model", sort=False):
        interval = t_interval(own["ratio"])
        span = "" if interval.low is None else f" ({interval.low:.2f} to {interval.high:.2f})"
        texts.append(f"{model_name(str(model))} {own['ratio'].mean():.2f}{span}")
    trainings, seeds = (
        last["trainings"].iloc[0],
        counted(last.groupby("model")["run"].nunique(), "seed"),
    )
    return (
        f"A ticket of the last level takes {trainings} trainings. In time, as a multiple of one "
        f"dense training (mean over {seeds}, 95 % t interval): {'; '.join(texts)}. Pruned weights "
        "are trained as zeros, so a sparse level is no cheaper than a dense one."
    )


def _with_interval(values: pd.Series[float], digits: int) -> str:
    interval = t_interval(values)
    text = f"{values.mean():,.{digits}f}"
    if interval.low is None:
        return text
    return f"{text} ({interval.low:,.{digits}f} to {interval.high:,.{digits}f})"


# -- the front ------------------------------------------------------------------------------------
def costs_at(found: Found, model: str, sparsities: pd.Series[float]) -> pd.DataFrame:
    """Kilobytes and milliseconds of a tiny model at each sparsity, linear between measured ones.

    Time is that of CSR, and of the dense model where nothing is pruned, at the largest batch.
    """
    files = measured(found, "files", of="starts", model=model).sort_values("sparsity")
    times = measured(found, "latency", size="tiny", model=model)
    times = times[times["way"].isin(["dense", "csr"]) & (times["batch"] == times["batch"].max())]
    csr = times[times["way"] == "csr"].sort_values("share")
    dense = float(times.loc[times["way"] == "dense", "min"].iloc[0])
    seconds = np.interp(sparsities, csr["share"], csr["min"])
    return pd.DataFrame(
        {
            "kilobytes": np.interp(sparsities, files["sparsity"], files["coded"]) / 1e3,
            "milliseconds": 1e3 * np.where(sparsities > 0, seconds, dense),
            "batch": times["batch"].max(),
        },
        index=sparsities.index,
    )


def front_rows(readings: Sequence[Reading], found: Found) -> pd.DataFrame:
    """Accuracy and fidelity of each model, level and branch with their cost, and who is in front.

    Returns model, level, branch, sparsity, sparsity_all, measure, mean, low, high, n, seeds,
    kilobytes, milliseconds, batch, trivial, and front_kilobytes, front_milliseconds: no other of
    the same model is at least as good and costs no more, by their means, and the whole interval
    lies above the trivial rule, which costs nothing.
    """
    quality, agreements = joined(readings, "quality"), joined(readings, "agreements")
    summary = pd.concat(
        [
            over_seeds(quality, ["model", "level", "branch"], ["accuracy"]),
            _with_dense(
                over_seeds(agreements, ["model", "level", "branch"], ["fidelity"]), quality
            ),
        ],
        ignore_index=True,
    )
    trivial = {
        "accuracy": quality.groupby("model")["trivial_accuracy"].first().to_dict(),
        "fidelity": agreements.groupby("model")["trivial_fidelity"].mean().to_dict(),
    }
    parts = []
    for (model, measure), own in summary.groupby(["model", "measure"], sort=False):
        own = own.join(costs_at(found, str(model), own["sparsity"]))
        own["trivial"] = float(trivial[str(measure)][model])
        # One seed has no interval: its value stands for the lower end.
        beats = own["low"].astype("Float64").fillna(own["mean"]).astype(float) > own["trivial"]
        for cost in COSTS:
            own[f"front_{cost}"] = beats & _undominated(own[cost], own["mean"].astype(float))
        parts.append(own)
    return models_in_order(pd.concat(parts, ignore_index=True))


def _with_dense(fidelity: pd.DataFrame, quality: pd.DataFrame) -> pd.DataFrame:
    """Dense agrees with itself, by definition and without an interval."""
    dense = quality[quality["level"] == DENSE_LEVEL]
    seeds = dense.groupby("model")["run"].nunique()
    rows = pd.DataFrame(
        {
            "model": seeds.index,
            "level": DENSE_LEVEL,
            "branch": "main",
            "sparsity": 0.0,
            "sparsity_all": 0.0,
            "measure": "fidelity",
            "mean": 1.0,
            "low": 1.0,
            "high": 1.0,
            "n": seeds.to_numpy(),
            "seeds": seeds.to_numpy(),
        }
    )
    rest = fidelity[fidelity["level"] != DENSE_LEVEL]
    return pd.concat([rows, rest], ignore_index=True)


def _undominated(cost: pd.Series[float], value: pd.Series[float]) -> pd.Series[bool]:
    found = []
    for own_cost, own_value in zip(cost, value, strict=True):
        no_worse = (cost <= own_cost) & (value >= own_value)
        better = (cost < own_cost) | (value > own_value)
        found.append(not (no_worse & better).any())
    return pd.Series(found, index=cost.index)


def front_figure(
    rows: pd.DataFrame, readings: Sequence[Reading], found: Found, measure: str, cost: str
) -> Exhibit:
    """Accuracy or fidelity against file size or time: a panel a model, the front as a line."""
    data = rows[rows["measure"] == measure]
    models = in_order(data["model"])
    looks = {name: look for name, look in BRANCH_LOOKS.items() if name in set(data["branch"])}
    with paper_style():
        height = PANEL_HEIGHT * len(models) + 1.2
        figure = Figure(figsize=(WIDTH, height), layout="constrained", facecolor=PAPER)
        panels = figure.subplots(len(models), sharex=True, sharey=True, squeeze=False)[:, 0]
        for axes, model in zip(panels, models, strict=True):
            own = data[data["model"] == model]
            for branch, look in looks.items():
                _draw_points(axes, own[own["branch"] == branch], cost, look)
            front = own[own[f"front_{cost}"]].sort_values(cost)
            axes.plot(
                front[cost], 100 * front["mean"].astype(float), color=BLACK, linewidth=1.2,
                linestyle="-", marker="o", markersize=13, markerfacecolor="none", label=FRONT,
            )  # fmt: skip
            axes.axhline(
                100 * own["trivial"].iloc[0], color=BLACK, linestyle="--", linewidth=1.3,
                label="a rule that looks at no input",
            )  # fmt: skip
            axes.set(title=model_name(model), ylabel=MEASURES[measure].heading)
        panels[-1].set_xlabel(COSTS[cost])
        finish_axes(figure, panels[0])
    caption = (
        f"{_title(measure, cost, data)}: {_what(readings, measure)}. {_how(cost, data, found)}"
    )
    return Exhibit(caption, _alt(data, cost, measure), data, figure)


def _draw_points(axes: Any, own: pd.DataFrame, cost: str, look: Any) -> None:
    middle = 100 * own["mean"].astype(float)
    ends = [(100 * own[name].astype(float)).clip(0, 100) for name in ("low", "high")]
    axes.errorbar(
        own[cost],
        middle,
        yerr=np.nan_to_num(np.stack([middle - ends[0], ends[1] - middle])).clip(min=0),
        fmt=look.marker,
        color=look.colour,
        markersize=6,
        elinewidth=1.5,
        label=look.name,
    )


def _title(measure: str, cost: str, data: pd.DataFrame) -> str:
    against = {
        "kilobytes": "the size of the coded file",
        "milliseconds": f"the time of a forward pass of {data['batch'].iloc[0]} items",
    }[cost]
    return f"{MEASURES[measure].title.capitalize()} against {against}"


def _what(readings: Sequence[Reading], measure: str) -> str:
    frame = joined(readings, "quality" if measure == "accuracy" else "agreements")
    return (
        f"lottery tickets of the concluding ladder, dense (rightmost file) and controls, "
        f"{seeds_and_items(frame)}; points: mean; bars: {intervals(frame)}"
    )


def _how(cost: str, data: pd.DataFrame, found: Found) -> str:
    costs = {
        "kilobytes": "The file is that of the pre-trained start, pruned by magnitude to the same "
        "sparsity, weights in float32. A control is drawn at its ticket's size; a random mask "
        "could be kept as the seed that drew it.",
        "milliseconds": "Tickets and controls in compressed rows (CSR), dense as it is; least "
        "of all turns. As dense with zeros each would take dense's time.",
    }[cost]
    return (
        f"{costs} Circles joined by a line: nothing of the same model is at least as good and "
        "costs no more, by their means, and the whole interval lies above the rule that looks at "
        f"no input (dashed), which costs nothing. {about(found, PART)}"
    )


def _alt(data: pd.DataFrame, cost: str, measure: str) -> str:
    parts = []
    for model in in_order(data["model"]):
        front = data[(data["model"] == model) & data[f"front_{cost}"]].sort_values(cost)
        points = ", ".join(
            f"{100 * row['mean']:.1f} % at {row[cost]:,.3g}" for _, row in front.iterrows()
        )
        parts.append(f"{model_name(model)}: {points or 'none'}")
    return f"Scatter chart of {measure} against {COSTS[cost]}. In front: {'; '.join(parts)}."


def front_table(rows: pd.DataFrame, readings: Sequence[Reading], found: Found) -> Exhibit:
    """Every point of the figures: what it costs, what it gives, and whether it is in front."""
    keys = ["model", "level", "branch"]
    wide = rows[rows["measure"] == "accuracy"]
    fidelity = rows[rows["measure"] == "fidelity"].set_index(keys)
    texts = []
    for _, row in wide.iterrows():
        other = fidelity.loc[tuple(row[key] for key in keys)]
        texts.append(
            {
                "model": model_name(row["model"]),
                "branch": row["branch"] if row["level"] else "dense",
                "sparsity, %": sparsity_text(row["sparsity"]),
                "file, kB": f"{row['kilobytes']:,.0f}",
                "pass, ms": f"{row['milliseconds']:.3g}",
                "accuracy, %": summary_text(MEASURES["accuracy"], row),
                "fidelity, %": "is dense"
                if row["level"] == 0
                else summary_text(MEASURES["fidelity"], other),
                "accuracy in front by": _fronts(row),
                "fidelity in front by": _fronts(other),
            }
        )
    caption = (
        f"Accuracy, fidelity and cost: {_what(readings, 'accuracy')}. In front: nothing of the "
        "same model is at least as good and costs no more, by their means, and the whole interval "
        "lies above the rule that looks at no input. Pass: "
        f"{wide['batch'].iloc[0]} items. {about(found, PART)}"
    )
    return plain_table(pd.DataFrame(texts), caption, data=rows)


def _fronts(row: Any) -> str:
    names = {"kilobytes": "size", "milliseconds": "time"}
    return ", ".join(name for cost, name in names.items() if row[f"front_{cost}"]) or "neither"


@finished
def front_sentence(rows: pd.DataFrame) -> str:
    """Who stands on the front of accuracy, by size and by time."""
    own = rows[rows["measure"] == "accuracy"]
    texts = []
    for model in in_order(own["model"]):
        part = own[own["model"] == model]
        by_size, by_time = part[part["front_kilobytes"]], part[part["front_milliseconds"]]
        texts.append(
            f"{model_name(model)}: by size {_members(by_size)}; by time {_members(by_time)}"
        )
    return (
        f"In front with their accuracy, by means over seeds, which are not tested, are of "
        f"{_entries(own)} of each model: {'. '.join(texts)}."
    )


def _entries(own: pd.DataFrame) -> str:
    sizes = own.groupby("model").size()
    return counted(sizes, "entry").replace("entrys", "entries")


def _members(part: pd.DataFrame) -> str:
    if part.empty:
        return "nothing"
    dense = (part["level"] == DENSE_LEVEL).any()
    pruned = part[part["level"] != DENSE_LEVEL]
    counts = pruned["branch"].value_counts()
    texts = ["dense"] if dense else []
    for branch, count in counts.items():
        name = "ticket" if branch == "main" else f"control ({branch})"
        texts.append(counted(int(count), name))
    return " and ".join(texts)
