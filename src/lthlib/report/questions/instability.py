"""Instability: how far apart do two trainings end that differ in the order of items alone?

Both start from the same ticket. On the straight line between their weights the error either stays
low, and they lie in one basin, or it rises to a barrier between them (Frankle et al. 2020,
section 2). They call a network stable where the barrier is below two points, and claim that tickets
match dense models only where they are stable.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from lthlib.errors import RecordError
from lthlib.report.draw import BLUE, PANEL_HEIGHT, PAPER, WIDTH, Look, ladder, paper_style, spoken
from lthlib.report.exhibits import (
    MEASURES,
    Exhibit,
    model_name,
    seeds_and_items,
    sparsity_text,
    summary_text,
)
from lthlib.report.measures import Floats, at_stage
from lthlib.report.reading import Reading
from lthlib.report.statistics import DENSE_LEVEL
from lthlib.report.tidy import in_order, models_in_order, over_seeds
from lthlib.report.words import counted, signed

STABLE = 0.02
"""A barrier below this is stable (Frankle et al. 2020)."""
MATCHING = 0.01
"""A ticket matches where its accuracy is at most this much below dense."""
MARKERS = "os^DvX*P<>"


def barriers(paths: pd.DataFrame) -> pd.DataFrame:
    """Error barrier of each line: sup over alpha of E(alpha), less the mean of the two ends.

    paths: table `barriers`: run, level, alpha from 0 to 1, error (share of wrong decisions). The
    supremum is taken over the points that were measured, so the barrier is at least what is given,
    and at least half of what the ends are apart, for they are points too.

    Returns run, level, barrier, ends (mean error of the ends), apart (their difference), other
    (error of the second training, at alpha 1).
    Raises RecordError where an end of a line is missing.

    >>> line = pd.DataFrame({"run": "r", "level": 0, "alpha": [0, 0.5, 1],
    ...                      "error": [0.10, 0.25, 0.14]})
    >>> barriers(line).round(3).values.tolist()
    [['r', 0, 0.13, 0.12, 0.04, 0.14]]
    """
    rows = []
    for (run, level), line in paths.groupby(["run", "level"]):
        error = line.sort_values("alpha").set_index("alpha")["error"]
        if not {0.0, 1.0} <= set(error.index):
            raise RecordError(f"run {run}, level {level}: the line lacks an end: record it again")
        one, other = error.loc[0.0], error.loc[1.0]
        ends = (one + other) / 2
        rows.append((run, level, error.max() - ends, ends, abs(one - other), other))
    return pd.DataFrame(rows, columns=["run", "level", "barrier", "ends", "apart", "other"])


def surely_beats(
    accuracy: pd.Series[float],
    trivial: pd.Series[float],
    items: pd.Series[int],
    alpha: float = 0.05,
) -> pd.Series[bool]:
    """Does a model of this accuracy beat the trivial rule, whatever its answers are?

    The gate is the one-sided sign test of items won against items lost, and of the second training
    only the accuracy is kept. Won less lost is n (A - T); lost items are at most n min(T, 1 - A),
    and p grows with them, so the p of that many is the greatest that fits.

    >>> surely_beats(pd.Series([0.95, 0.51]), pd.Series([0.5, 0.5]), pd.Series([100, 100])).tolist()
    [True, False]
    """
    lost = np.rint(items * np.minimum(trivial, 1 - accuracy))
    won = lost + np.rint(items * (accuracy - trivial))
    p: Floats = stats.binom.sf(won - 1, won + lost, 0.5)
    return (accuracy > trivial) & (p < alpha)


def measured(reading: Reading) -> pd.DataFrame:
    """The barriers of a study, beside what its tickets reach.

    Two trainings that both fail against the trivial rule have no barrier between them and say
    nothing. Where one of them learns and the other does not, the order of items decides: that is as
    unstable as a ticket can be, and it counts.

    Returns model, seed, run, level, sparsity, sparsity_all, barrier, ends, apart, change (accuracy
    less that of dense, both of the first training), beats (dense and one end at least beat the best
    trivial rule), one_learns (that, and the other end does not), learnt, failed (error of the
    better and of the worse end), items, decisions.
    """
    keys = ["run", "level"]
    frames = [at_stage(frame, reading.stage) for frame in (reading.quality, reading.gate)]
    quality, gate = (frame[frame["branch"] == "main"] for frame in frames)
    names = ["model", "seed", *keys, "sparsity", "sparsity_all", "accuracy", "items", "decisions"]
    rows = barriers(reading.table("barriers")).merge(quality[names], on=keys)
    rows = rows.merge(gate[[*keys, "beats", "trivial_accuracy"]], on=keys)
    dense = rows[rows["level"] == DENSE_LEVEL].set_index("run")
    rows["change"] = rows["accuracy"].astype(float) - rows["run"].map(dense["accuracy"])
    first, counts = rows["beats"].astype(bool), rows["run"].map(dense["beats"]).astype(bool)
    second = surely_beats(1 - rows["other"], rows["trivial_accuracy"], rows["items"])
    rows["beats"], rows["one_learns"] = counts & (first | second), counts & (first ^ second)
    rows["learnt"], rows["failed"] = (rows["ends"] + s * rows["apart"] / 2 for s in (-1, 1))
    return rows.drop(columns=["accuracy", "trivial_accuracy", "other"])


def barrier_figure(rows: pd.DataFrame) -> Exhibit:
    """The barrier over the ladder, dense included; levels that say nothing have none."""
    data = over_seeds(_counted(rows), ["model", "level"], ["barrier"])
    looks = {"barrier": Look("two orders of items", BLUE, "o")}
    data["series"] = "barrier"
    stable = dict.fromkeys(in_order(rows["model"]), STABLE)
    figure = ladder(
        data,
        looks,
        series="series",
        label="barrier, points",
        lines={"stable below": stable},
        panel="model",
    ).figure
    caption = (
        "Error barrier between two trainings of the same ticket that differ in the order of items: "
        f"mean over {seeds_and_items(rows)}; bars: 95 % t interval over seeds. Level 0 is dense. "
        f"{_LEFT_OUT} Dashed: {100 * STABLE:.0f} points."
    )
    alt = f"Line charts of the barrier in points by level: {spoken(data, looks, 'series')}"
    return Exhibit(caption, f"{alt}.", data, figure)


_LEFT_OUT = (
    "A level is left out where neither training beats the best trivial rule: between two models "
    "that did not learn there is no barrier, and that says nothing. Where one of the two learns, "
    "it counts; its barrier is then half of what the ends are apart, or more."
)


def _counted(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(barrier=rows["barrier"].astype("Float64").where(rows["beats"]))


def path_figure(paths: pd.DataFrame, rows: pd.DataFrame) -> Exhibit:
    """The error along the line, one curve a level, mean over seeds; a panel a model.

    paths: tables `barriers` of the same runs as `rows`, a frame of :func:`measured`.
    """
    named = paths.merge(rows[["model", "run", "level", "sparsity"]], on=["run", "level"])
    by = ["model", "level", "alpha"]
    data = named.groupby(by, as_index=False)[["error", "sparsity"]].mean()
    models, levels = in_order(data["model"]), sorted(data["level"].unique())
    with paper_style():
        height = PANEL_HEIGHT * len(models) + 1.3
        figure = Figure(figsize=(WIDTH, height), layout="constrained", facecolor=PAPER)
        panels = figure.subplots(len(models), sharex=True, sharey=True, squeeze=False)[:, 0]
        colours = _colours(len(levels))
        for axes, model in zip(panels, models, strict=True):
            axes.set(title=model_name(model), ylabel="error, %")
            for place, (level, colour) in enumerate(zip(levels, colours, strict=True)):
                line = data[(data["model"] == model) & (data["level"] == level)]
                name = f"{sparsity_text(data.loc[data['level'] == level, 'sparsity'].mean())} %"
                marker = MARKERS[place % len(MARKERS)]
                axes.plot(
                    line["alpha"],
                    100 * line["error"],
                    color=colour,
                    marker=marker,
                    markersize=4.5,
                    label=name,
                )
        panels[-1].set_xlabel("place on the line (0 and 1: the two trainings)")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside lower center", ncols=3, title="sparsity", frameon=False
        )
    caption = (
        "Test error along the straight line between two trainings of the same ticket, level by "
        f"level: mean over {seeds_and_items(rows)}. The two differ in the order of items alone."
    )
    tops = data.groupby("model")["error"].max()
    seen = "; ".join(f"{model_name(model)} {100 * tops[model]:.1f} %" for model in models)
    alt = f"Line charts of test error between two trainings. Greatest mean error: {seen}."
    return Exhibit(caption, alt, named, figure)


def _colours(count: int) -> list[tuple[float, float, float, float]]:
    from matplotlib import colormaps

    return [colormaps["viridis"](x) for x in np.linspace(0, 0.9, count)]


def barrier_table(rows: pd.DataFrame) -> Exhibit:
    """Barriers, how many seeds are stable, and the change of accuracy beside them."""
    data = models_in_order(over_seeds(_counted(rows), ["model", "level"], ["barrier"]))
    groups = dict(list(rows.groupby(["model", "level"])))
    cells = []
    for _, row in data.iterrows():
        own = groups[row["model"], row["level"]]
        counted = own[own["beats"]]
        stable = int((counted["barrier"] < STABLE).sum())
        cells.append(
            {
                "model": model_name(row["model"]),
                "sparsity, %": sparsity_text(row["sparsity"]),
                "barrier, points": summary_text(MEASURES["barrier"], row),
                "stable seeds": f"{stable} of {len(counted)}" if len(counted) else "none counts",
                "ends apart, points": f"{100 * own['apart'].mean():.1f}",
                "accuracy less dense, points": signed(own["change"].mean()),
            }
        )
    caption = (
        f"Error barriers of {seeds_and_items(rows)}; in brackets 95 % t intervals over seeds. "
        f"Stable: below {100 * STABLE:.0f} points. {_LEFT_OUT}"
    )
    table = pd.DataFrame(cells)
    return Exhibit(caption, f"Table of {len(table)} barriers.", rows, table=table)


def stability_sentence(rows: pd.DataFrame) -> str:
    """Are dense models and tickets stable, and do only stable tickets match?"""
    above = rows[rows["beats"]]
    parts = []
    for model in in_order(rows["model"]):
        dense = rows[(rows["model"] == model) & (rows["level"] == DENSE_LEVEL)]
        stable = int((dense["barrier"] < STABLE).sum())
        height = 100 * dense["barrier"].mean()
        seeds = f"{stable} of {counted(len(dense), 'seed')}"
        parts.append(f"{model_name(model)} {height:.1f} points, stable at {seeds}")
    return (
        f"Between two trainings of the dense model the error barrier is: {'; '.join(parts)}. "
        f"{_order_decides(above)}{_matching(above[above['level'] != DENSE_LEVEL])}"
    )


def _order_decides(counted: pd.DataFrame) -> str:
    """Where one of two trainings learns and the other does not."""
    parts = [
        f"{model_name(row['model'])} at {sparsity_text(row['sparsity'])} %, seed {row['seed']} "
        f"({100 * row['failed']:.1f} % of answers wrong after one training, "
        f"{100 * row['learnt']:.1f} % after the other)"
        for _, row in counted[counted["one_learns"]].iterrows()
    ]
    if not parts:
        return ""
    return (
        "Where only the order of items differs, one training is shown to beat the rule that looks "
        f"at no input and the other is not: {'; '.join(parts)}. "
    )


def _matching(tickets: pd.DataFrame) -> str:
    """Do stable tickets match their dense model more often than others?"""
    if tickets.empty:
        return "No ticket beats the best trivial rule, so there is none to compare with dense."
    kinds = {"stable": tickets["barrier"] < STABLE, "not stable": tickets["barrier"] >= STABLE}
    match, above = tickets["change"] >= -MATCHING, tickets["change"] > MATCHING
    parts = [
        f"{int((match & kind).sum())} of {int(kind.sum())} that are {name}"
        for name, kind in kinds.items()
        if kind.any()
    ]
    reach = f"{100 * MATCHING:.0f} point"
    text = (
        f"Of the tickets that beat the best trivial rule after one of the two trainings at least, "
        f"a ticket being one level of one seed ({_seeds_a_model(tickets)}), {' and '.join(parts)} "
        f"are at most {reach} below their dense model; {int(above.sum())} of these are more than "
        f"{reach} above it. Levels of one seed are no independent cases, so nothing is tested."
    )
    if len(parts) == 1:
        other = next(name for name, kind in kinds.items() if not kind.any())
        text += f" None is {other}: nothing here says that stability is what matters."
    return text


def _seeds_a_model(rows: pd.DataFrame) -> str:
    return f"{counted(rows.groupby('model')['run'].nunique(), 'seed')} a model"
