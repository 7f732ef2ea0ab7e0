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

from lthlib.errors import RecordError
from lthlib.report.exhibits import (
    MEASURES,
    Exhibit,
    in_order,
    model_name,
    seeds_and_items,
    sparsity_text,
    summarise,
    summary_text,
)
from lthlib.report.figures import BLUE, PAPER, WIDTH, Look, paper_style
from lthlib.report.measures import at_stage
from lthlib.report.panels import PANEL_HEIGHT, ladder_panels, models_in_order, spoken
from lthlib.report.reading import Reading
from lthlib.report.statistics import DENSE_LEVEL

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

    Returns run, level, barrier, ends (mean error of the ends), apart (their difference).
    Raises RecordError where an end of a line is missing.

    >>> line = pd.DataFrame({"run": "r", "level": 0, "alpha": [0, 0.5, 1],
    ...                      "error": [0.10, 0.25, 0.14]})
    >>> barriers(line).round(3).values.tolist()
    [['r', 0, 0.13, 0.12, 0.04]]
    """
    rows = []
    for (run, level), line in paths.groupby(["run", "level"]):
        error = line.sort_values("alpha").set_index("alpha")["error"]
        if not {0.0, 1.0} <= set(error.index):
            raise RecordError(f"run {run}, level {level}: the line lacks an end: record it again")
        one, other = error.loc[0.0], error.loc[1.0]
        ends = (one + other) / 2
        rows.append((run, level, error.max() - ends, ends, abs(one - other)))
    return pd.DataFrame(rows, columns=["run", "level", "barrier", "ends", "apart"])


def measured(reading: Reading) -> pd.DataFrame:
    """The barriers of a study, beside what its tickets reach.

    Returns model, run, level, sparsity, sparsity_all, barrier, ends, apart, change (accuracy less
    that of dense), beats (dense and this level both beat the best trivial rule), items, decisions.
    """
    keys = ["run", "level"]
    frames = [at_stage(frame, reading.stage) for frame in (reading.quality, reading.gate)]
    quality, gate = (frame[frame["branch"] == "main"] for frame in frames)
    names = ["model", *keys, "sparsity", "sparsity_all", "accuracy", "items", "decisions"]
    rows = barriers(reading.table("barriers")).merge(quality[names], on=keys)
    rows = rows.merge(gate[[*keys, "beats"]], on=keys)
    dense = rows[rows["level"] == DENSE_LEVEL].set_index("run")
    rows["change"] = rows["accuracy"].astype(float) - rows["run"].map(dense["accuracy"])
    rows["beats"] &= rows["run"].map(dense["beats"]).astype(bool)
    return rows.drop(columns="accuracy")


def barrier_figure(rows: pd.DataFrame) -> Exhibit:
    """The barrier over the ladder, dense included; levels that say nothing have none."""
    data = summarise(_counted(rows), ["model", "level"], ["barrier"])
    looks = {"barrier": Look("two orders of items", BLUE, "o")}
    data["series"] = "barrier"
    stable = dict.fromkeys(in_order(rows["model"]), STABLE)
    figure = ladder_panels(
        data, looks, series="series", label="barrier, points", lines={"stable below": stable}
    )
    caption = (
        "Error barrier between two trainings of the same ticket that differ in the order of items: "
        f"mean over {seeds_and_items(rows)}; bars: 95 % t interval over seeds. Level 0 is dense. "
        f"{_LEFT_OUT} Dashed: {100 * STABLE:.0f} points."
    )
    alt = f"Line charts of the barrier in points by level: {spoken(data, looks, 'series')}"
    return Exhibit(caption, f"{alt}.", data, figure)


_LEFT_OUT = (
    "A level that does not beat the best trivial rule is left out: between two models that give "
    "one answer to all there is no barrier, and that says nothing."
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
    data = models_in_order(summarise(_counted(rows), ["model", "level"], ["barrier"]))
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
                "accuracy less dense, points": _signed(own["change"].mean()),
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
    counted = rows[rows["beats"]]
    parts = []
    for model in in_order(rows["model"]):
        dense = rows[(rows["model"] == model) & (rows["level"] == DENSE_LEVEL)]
        stable = int((dense["barrier"] < STABLE).sum())
        height = 100 * dense["barrier"].mean()
        seeds = f"{stable} of {len(dense)} {'seed' if len(dense) == 1 else 'seeds'}"
        parts.append(f"{model_name(model)} {height:.1f} points, stable at {seeds}")
    return (
        f"Between two trainings of the dense model the error barrier is: {'; '.join(parts)}. "
        f"{_matching(counted[counted['level'] != DENSE_LEVEL])}"
    )


def _matching(tickets: pd.DataFrame) -> str:
    """Do stable tickets match their dense model more often than others?"""
    kinds = {"stable": tickets["barrier"] < STABLE, "not stable": tickets["barrier"] >= STABLE}
    match = tickets["change"] >= -MATCHING
    parts = [
        f"{int((match & kind).sum())} of {int(kind.sum())} that are {name}"
        for name, kind in kinds.items()
        if kind.any()
    ]
    text = (
        f"Of the tickets that beat the best trivial rule, a ticket being one level of one seed, "
        f"{' and '.join(parts) or 'none, for there are none,'} match their dense model to "
        f"{100 * MATCHING:.0f} point."
    )
    if len(parts) == 1:
        text += " Without tickets of the other kind, nothing says that stability is what matters."
    return text


def _signed(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "−")
