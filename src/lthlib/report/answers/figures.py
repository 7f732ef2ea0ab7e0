"""Figures of the chapter on answers: a panel a model, and in each the label-blind null.

Frames are those of :class:`frames.Answers`: `kept` for measures of agreement,
`probabilities` for those of probabilities, and others by their name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lthlib.errors import RecordError
from lthlib.report.answers.kept import answer_map
from lthlib.report.draw import (
    BLACK,
    BLUE,
    BRANCH_LOOKS,
    GREEN,
    ORANGE,
    PANEL_HEIGHT,
    PAPER,
    PURPLE,
    SKY,
    SPARSITY_AXIS,
    VERMILLION,
    WIDTH,
    Look,
    finish_axes,
    ladder,
    level_axis,
    paper_style,
    spoken,
)
from lthlib.report.exhibits import (
    MEASURES,
    Exhibit,
    intervals,
    model_name,
    seeds_and_items,
    sparsity_text,
)
from lthlib.report.measures import Floats
from lthlib.report.show import sparsity_note
from lthlib.report.statistics import DENSE_LEVEL, t_interval
from lthlib.report.tidy import in_order, over_seeds
from lthlib.report.words import counted, proper

NULL = Look("label-blind null", BLACK, "_", "--")
CHANCE = Look("independent seeds", BLACK, "D", "")
LOOKS = {
    **{branch: BRANCH_LOOKS[branch] for branch in ("main", "random-mask", "reinitialised")},
    "other_ticket": Look("ticket, other seed", SKY, "v", (0, (5, 1, 1, 1))),
    "fidelity_skill": Look("same skill only", GREEN, "^", "-."),
    "floor": Look("dense, other seed", PURPLE, "P", ":"),
}
LEAST_IN_BIN = 10
NEAR_FLOOR = (-8.0, 8.0)  # ends of an axis, in points: 100 to 0 hides what lies near the floor
_BLIND = "Label-blind null: a model with the ticket's share of each answer, which looks at nothing."


# -- one measure over the ladder, with what it would be for a poor reason -------------------------
def accuracy_null_figure(frame: pd.DataFrame) -> Exhibit:
    """Accuracy of tickets and controls, beside what the share of each answer alone gives."""
    dense = {model: float(own["accuracy_dense"].mean()) for model, own in _by_model(frame)}
    series = {"main": "accuracy", "random-mask": "accuracy", "reinitialised": "accuracy"}
    return _beside(frame, "accuracy", series, "Accuracy", _BLIND, {"dense": dense})


def fidelity_null_figure(frame: pd.DataFrame) -> Exhibit:
    """Fidelity beside its three controls: blind, the same skill, and another seed."""
    series = {"main": "fidelity", "other_ticket": "other_ticket"}
    series |= {"fidelity_skill": "fidelity_skill", "floor": "floor"}
    note = (
        f"{_BLIND} Same skill only: a model with the ticket's accuracy on each label, whose "
        "errors have nothing to do with dense's. Ticket, other seed: against this seed's dense "
        "model. Dense, other seed: the floor, no pruning at all."
    )
    return _beside(frame, "fidelity", series, "Fidelity to the dense model", note)


def floor_difference_figure(frame: pd.DataFrame) -> Exhibit:
    """How far fidelity lies from its floor: of the own ticket, another seed's, and skill alone.

    frame: of :attr:`frames.Answers.beside_floor`. Raises RecordError where it is empty.
    """
    if frame.empty:
        raise RecordError("no ticket beats the trivial rule, or one seed: no distance from a floor")
    columns = {"main": "fidelity", "other_ticket": "other_ticket"}
    columns |= {"fidelity_skill": "fidelity_skill"}
    name = "beyond_floor"
    parts = [
        over_seeds(
            frame.assign(**{name: frame[column] - frame["floor"]}), ["model", "level"], [name]
        ).assign(series=key)
        for key, column in columns.items()
    ]
    data = pd.concat(parts, ignore_index=True)
    looks = {key: LOOKS[key] for key in columns}
    zero = {LOOKS["floor"].name: dict.fromkeys(in_order(frame["model"]), 0.0)}
    figure = ladder(
        data,
        looks,
        series="series",
        label="points from the floor",
        lines=zero,
        between=NEAR_FLOOR,
        panel="model",
    ).figure
    low, high = (end / 100 for end in NEAR_FLOOR)
    own = data[data["series"] == "main"]
    outside = "; ".join(
        f"{model_name(row['model'])} at {sparsity_text(row['sparsity'])} %, {100 * row['mean']:.1f}"
        for _, row in own[(own["mean"] < low) | (own["mean"] > high)].iterrows()
    )
    note = proper(f" Tickets outside the axis: {outside}.") if outside else ""
    caption = (
        f"Fidelity minus its floor, in points: {_over(frame)}. 0 is the agreement of two dense "
        "models of different seeds; below it pruning changes more answers than another seed does. "
        "Where the ticket of another seed lies as high, a ticket keeps no more of its own "
        "model's answers than of another's. Same skill only: a model with the ticket's accuracy on "
        "each label, and errors of its own. Only levels at which every seed beats the trivial "
        "rule."
        f"{note} {sparsity_note(frame)}"
    )
    alt = (
        "Line chart of the distance of fidelity from its floor against sparsity, a panel a model. "
        f"First and last means, in points: {proper(spoken(data, looks, 'series', 2))}."
    )
    return Exhibit(caption, alt, data, figure)


def churn_figure(frame: pd.DataFrame) -> Exhibit:
    """Unnecessary churn: changed answers beyond what the change of accuracy asks for."""
    note = f"{_BLIND} Unnecessary churn is 1 - F - |A_m - A_d|."
    return _beside(frame, "unnecessary_churn", {"main": "unnecessary_churn"}, "Churn", note)


def probability_figure(frame: pd.DataFrame, name: str) -> Exhibit:
    """A measure of probabilities (ece, brier, nll, kl, ...) beside its null and its floor."""
    series = {"main": name}
    if f"{name}_floor" in frame.columns:
        series["floor"] = f"{name}_floor"
        frame = frame[frame["level"] != DENSE_LEVEL]
    notes = {
        "ece": " 15 bins of equal width on (0, 1]; a model that always says 1/2 has an error of 0.",
        "brier": " A model that always says 1/2 has 0.25.",
    }
    note = (
        "Label-blind null: the same probabilities, dealt out anew among the items."
        f"{notes.get(name, '')}"
    )
    title = MEASURES[name].title
    exhibit = _beside(frame, name, series, title[0].upper() + title[1:], note)
    if name == "kl" and exhibit.figure is not None and (frame[name] > 0).any():
        # On a linear axis the null leaves no room to tell ticket and floor apart.
        for axes in exhibit.figure.axes:
            axes.set_yscale("log", nonpositive="clip")
    return exhibit


def reliability_figure(bins: pd.DataFrame, level: int) -> Exhibit:
    """Reliability diagram: are answers right as often as their probability says?

    bins: of :func:`calibration.reliability`, with the model; drawn for dense and one level.
    """
    chosen = bins[bins["level"].isin([DENSE_LEVEL, level])]
    least = min(LEAST_IN_BIN, chosen["decisions"].max())  # few items fill no bin
    chosen = chosen[chosen["decisions"] >= least]
    data = pd.DataFrame(
        {"model": model, "level": place, "bin": number, "seeds": len(own)}
        | {"confidence": own["confidence"].mean(), "accuracy": own["accuracy"].mean()}
        | dict(zip(("low", "high"), t_interval(own["accuracy"])[:2], strict=True))
        for (model, place, number), own in chosen.groupby(["model", "level", "bin"])
    )
    share = f"{sparsity_text(chosen.loc[chosen['level'] == level, 'sparsity'].mean())} %"
    looks = {DENSE_LEVEL: LOOKS["floor"], level: LOOKS["main"]}
    names = {DENSE_LEVEL: "dense", level: f"ticket, {share}"}
    with paper_style():
        figure, panels = _panels(data, "answers that are right, %", levels=False)
        for axes, model in panels:
            axes.plot([0, 100], [0, 100], color=BLACK, linestyle="--", lw=1, label="calibrated")
            for place, look in looks.items():
                own = data[(data["model"] == model) & (data["level"] == place)]
                middle = _in_percent(own["accuracy"])
                low, high = (
                    _in_percent(own[end].fillna(own["accuracy"])) for end in ("low", "high")
                )
                axes.errorbar(
                    _in_percent(own["confidence"]),
                    middle,
                    yerr=[middle - low.clip(0, 100), high.clip(0, 100) - middle],
                    color=look.colour,
                    marker=look.marker,
                    markersize=6,
                    linestyle=look.line,
                    label=names[place],
                )
            axes.set(xlim=(48, 101), ylim=(0, 103))
        panels[-1][0].set_xlabel("mean probability of the given answers, %")
        finish_axes(figure, panels[0][0])
    caption = (
        f"Reliability of dense models and of tickets at {share} sparsity: how often answers are "
        f"right, by the probability that the model gives them, {_seeds(chosen)}; bars: 95 % t "
        "interval over seeds. Below the diagonal a model is too sure of itself. Bins as for the "
        f"calibration error; a bin of fewer than {least} decisions of a seed is left out."
    )
    alt = "; ".join(
        f"{model_name(model)}, {names[int(own['level'].iloc[0])]}: right "
        f"{100 * own['accuracy'].iloc[0]:.0f} % at {100 * own['confidence'].iloc[0]:.0f} % sure, "
        f"{100 * own['accuracy'].iloc[-1]:.0f} % at {100 * own['confidence'].iloc[-1]:.0f} %"
        for model, rows in _by_model(data)
        for _, own in rows.groupby("level")
    )
    return Exhibit(caption, f"Reliability diagram, a panel a model. {alt}.", data, figure)


def _beside(
    frame: pd.DataFrame,
    name: str,
    series: Mapping[str, str],
    title: str,
    note: str,
    lines: Mapping[str, Mapping[str, float]] | None = None,
) -> Exhibit:
    """series: look -> column; the null is <name>_null."""
    looks = {key: LOOKS[key] for key in series} | {"null": NULL}
    data = _summary(frame, name, {**series, "null": f"{name}_null"})
    looks = {key: look for key, look in looks.items() if key in set(data["series"])}
    label = MEASURES[name].heading
    figure = ladder(data, looks, series="series", label=label, lines=lines, panel="model").figure
    caption = f"{title}: {_over(frame)}. {note} {sparsity_note(frame)}"
    alt = (
        f"Line chart of {MEASURES[name].title} against sparsity, a panel a model. First and last "
        f"means: {spoken(data, looks, 'series', 1 if MEASURES[name].unit == 'share' else 3)}."
    )
    return Exhibit(caption, alt, data, figure)


def _summary(frame: pd.DataFrame, name: str, series: Mapping[str, str]) -> pd.DataFrame:
    """Means over seeds of several columns, which are all drawn as the measure `name`.

    series: its name -> column. A name of a branch takes that branch, any other the main one.
    """
    parts: list[pd.DataFrame] = []
    for key, column in series.items():
        rows = frame[frame["branch"] == (key if key in BRANCH_LOOKS else "main")]
        # What a figure is about stays, even if it is defined nowhere.
        if rows.empty or (parts and rows[column].isna().all()):
            continue
        # The column goes by the measure's name, for its unit and the ends of its axis.
        data = over_seeds(rows, ["model", "level"], [column])
        parts.append(data.assign(measure=name, series=key))
    return pd.concat(parts, ignore_index=True)


# -- figures with a form of their own -------------------------------------------------------------
def faithfulness_null_figure(frame: pd.DataFrame) -> Exhibit:
    """Accuracy on faithful and unfaithful decisions, each with its label-blind null."""
    looks = {
        "faithful_accuracy": Look("faithful", BLUE, "o"),
        "unfaithful_accuracy_dense": Look("unfaithful: dense", VERMILLION, "s"),
        "unfaithful_accuracy_pruned": Look("unfaithful: pruned", GREEN, "^"),
    }
    main = frame[frame["branch"] == "main"]
    parts = {name: _summary(main, name, {name: name, "null": f"{name}_null"}) for name in looks}
    with paper_style():
        figure, panels = _panels(main, "accuracy, %")
        for axes, model in panels:
            for name, look in looks.items():
                own = parts[name][parts[name]["model"] == model]
                measured, null = (own[own["series"] == key] for key in (name, "null"))
                _band(axes, measured, look)
                axes.plot(null["level"], _in_percent(null["mean"]), color=look.colour, ls="--")
            axes.plot([], [], color=BLACK, ls="--", label="label-blind null of each")
            axes.set_ylim(-3, 103)
        finish_axes(figure, panels[0][0])
    data = pd.concat(parts.values(), ignore_index=True)
    caption = (
        f"Accuracy where ticket and dense model agree (faithful), and of each where they do not: "
        f"{_over(main)}. Dashed, in the same colour: the label-blind null. {sparsity_note(main)}"
    )
    alt = "; ".join(spoken(parts[name], {name: look}, "series") for name, look in looks.items())
    return Exhibit(
        caption, f"Line chart, a panel a model. First and last means: {alt}.", data, figure
    )


def kappa_figure(frame: pd.DataFrame) -> Exhibit:
    """Kappa, and between which ends it could lie at the fidelity that was found."""
    main = frame[frame["branch"] == "main"]
    names = ["kappa", "kappa_low", "kappa_high", "kappa_null"]
    data = over_seeds(main, ["model", "level"], names)
    with paper_style():
        figure, panels = _panels(main, "kappa")
        for axes, model in panels:
            own = {n: data[(data["model"] == model) & (data["measure"] == n)] for n in names}
            level = own["kappa"]["level"]
            low, high = (own[name]["mean"].astype(float) for name in ("kappa_low", "kappa_high"))
            area = axes.fill_between(level, low, high, color=SKY, alpha=0.35, linewidth=0)
            area.set_label("possible at this fidelity")
            _band(axes, own["kappa"], BRANCH_LOOKS["main"])
            null = own["kappa_null"]["mean"].astype(float)
            axes.plot(level, null, color=BLACK, ls="--", label=NULL.name)
        finish_axes(figure, panels[0][0])
    caption = (
        f"Kappa of tickets with their dense model: {_over(main)}. Shaded: between which ends kappa "
        f"lies for two models of this fidelity, whatever their shares of answers. {_BLIND} "
        f"{sparsity_note(main)}"
    )
    looks = {"kappa": BRANCH_LOOKS["main"], "kappa_null": NULL}
    alt = spoken(
        data.assign(series=data["measure"]).replace({"measure": "kappa_.*"}, "kappa", regex=True),
        looks,
        "series",
        2,
    )
    return Exhibit(
        caption, f"Line chart of kappa, a panel a model. First and last means: {alt}.", data, figure
    )


def flips_figure(frame: pd.DataFrame) -> Exhibit:
    """Answers lost (right before, wrong now) and gained, with null and floor."""
    main = frame[frame["branch"] == "main"]
    names = ["negative_flips", "positive_flips", "negative_flips_null", "positive_flips_null"]
    data = over_seeds(main, ["model", "level"], names)
    bars = {
        "positive_flips": ("gained", SKY, 1, ""),
        "negative_flips": ("lost", VERMILLION, -1, "//"),
    }
    with paper_style():
        figure, panels = _panels(main, "share of decisions, %")
        for axes, model in panels:
            for name, (word, colour, sign, hatch) in bars.items():
                own = _one(data, model, name)
                mean = _in_percent(own["mean"])
                low, high = (_in_percent(own[end].fillna(own["mean"])) for end in ("low", "high"))
                axes.bar(
                    own["level"],
                    sign * mean,
                    yerr=[mean - low.clip(0), high.clip(max=100) - mean][::sign],
                    width=0.6,
                    color=colour,
                    hatch=hatch,
                    edgecolor=BLACK,
                    linewidth=0.6,
                    error_kw={"elinewidth": 1.2},
                    label=word,
                )
                null = _one(data, model, f"{name}_null")
                axes.plot(
                    null["level"],
                    sign * _in_percent(null["mean"]),
                    color=BLACK,
                    marker="D",
                    mfc=PAPER,
                    ls="",
                    label=NULL.name if sign > 0 else None,
                )
            floor = main.loc[main["model"] == model, "floor"].mean()
            if pd.notna(floor):
                half = 50 * (1 - float(floor))
                axes.axhline(half, color=BLACK, ls=":", label="dense, other seed")
                axes.axhline(-half, color=BLACK, ls=":")
            axes.axhline(0, color=BLACK, linewidth=0.8)
            axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
        finish_axes(figure, panels[0][0])
    caption = (
        f"Answers gained (only the ticket is right, above) and lost (only dense is right, below): "
        f"{_over(main)}. {_BLIND} Dotted: half of the decisions on which two dense models of "
        "different seeds differ, which is what each gains and loses on average. "
        f"{sparsity_note(main)}"
    )
    looks = {name: Look(word, colour, "") for name, (word, colour, _, _) in bars.items()}
    alt = spoken(data.assign(series=data["measure"]), looks, "series")
    return Exhibit(caption, f"Bars, a panel a model. First and last means: {alt}.", data, figure)


def exemplar_figure(shares: pd.DataFrame) -> Exhibit:
    """Pruning-identified exemplars at each level, beside those that seeds alone make.

    shares: the frame of that name; `blind` is its pie for shuffled answers.
    """
    looks = {
        "pie": Look("all seeds", BLUE, "o"),
        "halves": Look("halves of the seeds", ORANGE, "s", "-."),
        "null": Look("halves, dense only", PURPLE, "P", ":"),
        "blind": NULL,
    }
    with paper_style():
        figure, panels = _panels(shares, "PIE, % of decisions")
        for axes, model in panels:
            own = shares[shares["model"] == model]
            for name, look in looks.items():
                if own[name].isna().all():
                    continue
                _plot(axes, own["level"], _in_percent(own[name]), look)
            low, high = (100 * own[end] for end in ("low", "high"))
            axes.fill_between(own["level"], low, high, color=BLUE, alpha=0.2, lw=0)
            axes.set_ylim(bottom=0)
        finish_axes(figure, panels[0][0])
    seeds = counted(shares["seeds"], "seed")
    caption = (
        f"Pruning-identified exemplars: decisions whose most frequent answer over {seeds} "
        f"changes from dense to pruned, of {_range(shares['decisions'])} (band: exact 95 % "
        "interval over decisions; seeds are not resampled). Halves: dense models of one half of "
        "the seeds against tickets of the other, and (dotted) against dense models of the other, "
        f"mean over all halvings. Tied decisions, at most {100 * shares['tied'].max():.1f} %, are "
        "no PIE. "
        f"Label-blind null: tickets whose answers are dealt out anew. {sparsity_note(shares)}"
    )
    alt = "; ".join(
        f"{model_name(model)}, {look.name}: {_first_last(own[name])}"
        for model, own in _by_model(shares)
        for name, look in looks.items()
    )
    return Exhibit(
        caption, f"Line chart of PIE, a panel a model. First and last: {alt}.", shares, figure
    )


def consistency_figure(counts: pd.DataFrame, level: int) -> Exhibit:
    """At how many seeds is the same decision unfaithful, at one level?

    counts: of :func:`kept.unfaithful_counts`.
    """
    chosen = counts[counts["level"] == level]
    with paper_style():
        figure, panels = _panels(chosen, "share of decisions, %", levels=False)
        for axes, model in panels:
            own = chosen[(chosen["model"] == model) & (chosen["seeds"] > 0)]
            axes.bar(
                own["seeds"], 100 * own["share"], color=SKY, edgecolor=BLACK, lw=0.6, label="found"
            )
            _plot(axes, own["seeds"], _in_percent(own["by_chance"]), CHANCE)
        panels[-1][0].set_xlabel("seeds at which a decision is unfaithful")
        panels[-1][0].set_xticks(range(1, int(chosen["seeds"].max()) + 1))
        finish_axes(figure, panels[0][0])
    never = "; ".join(
        f"{model_name(m)} {100 * own.loc[own['seeds'] == 0, 'share'].iloc[0]:.1f} %"
        for m, own in _by_model(chosen)
    )
    share = sparsity_text(chosen["sparsity"].mean())
    caption = (
        f"At how many seeds the same decision is unfaithful, at {share} % sparsity. Not drawn: "
        f"decisions that are faithful at every seed ({never}). Independent seeds: what each seed's "
        "share of unfaithful decisions would give if they fell anywhere."
    )
    alt = "; ".join(
        f"{model_name(m)}: {100 * own['share'].iloc[-1]:.1f} % at every seed, "
        f"{100 * own['by_chance'].iloc[-1]:.1f} % by chance"
        for m, own in _by_model(chosen)
    )
    return Exhibit(caption, f"Bar chart, a panel a model. {alt}.", chosen, figure)


def group_figure(groups: pd.DataFrame, level: int, what: str) -> Exhibit:
    """Fidelity within each relation, category or finding at one level, with its null.

    groups: of :func:`kept.by_group`.
    """
    chosen = groups[groups["level"] == level]
    looks = {"fidelity_null": NULL, "fidelity_skill": LOOKS["fidelity_skill"]}
    looks |= {"floor": LOOKS["floor"]}
    beside = {name: look for name, look in looks.items() if chosen[name].notna().any()}
    data = pd.concat(
        [_group_summary(chosen, name) for name in ("fidelity", *beside)], ignore_index=True
    )
    found = data[data["measure"] == "fidelity"]
    order = found.groupby("group")["mean"].mean().sort_values().index.to_list()
    with paper_style():
        figure, panels = _panels(chosen, "", levels=False, height=0.27 * len(order) + 0.7)
        for axes, model in panels:
            own = found[found["model"] == model].set_index("group").loc[order]
            mean = _in_percent(own["mean"])
            low, high = (_in_percent(own[end].fillna(own["mean"])) for end in ("low", "high"))
            bars = [mean - low.clip(0, 100), high.clip(0, 100) - mean]
            place = np.arange(len(order))
            axes.errorbar(
                mean, place, xerr=bars, fmt="o", color=BLUE, elinewidth=1.4, label="ticket"
            )
            for name, look in beside.items():
                other = _one(data, model, name).set_index("group").loc[order, "mean"]
                marker = "D" if look is NULL else look.marker
                (points,) = axes.plot(_in_percent(other), place, color=look.colour, ls="")
                points.set(marker=marker, markerfacecolor=PAPER, label=look.name)
            axes.set_yticks(place, labels=order)
        panels[-1][0].set_xlabel("fidelity, %")
        finish_axes(figure, panels[0][0])
    share = sparsity_text(chosen["sparsity"].mean())
    caption = (
        f"Fidelity by {what} at {share} % sparsity: mean over {_seeds(chosen)}, "
        f"{_range(chosen['decisions'])} decisions each; bars: {intervals(chosen)}. {_BLIND} "
        "Its share is that over all decisions. Same skill only: two models of these accuracies, "
        "whose errors are independent. Dense, other seed: how often dense models of different "
        "seeds agree there. Ordered by the mean over models."
    )
    ends = "; ".join(
        f"{model_name(m)}: least {_extreme(own, 'idxmin')}, most {_extreme(own, 'idxmax')}"
        for m, own in _by_model(found)
    )
    return Exhibit(caption, f"Dot chart of fidelity by {what}. {ends}.", data, figure)


def block_figure(matrix: pd.DataFrame, sparsity: Mapping[int, float], model: str) -> Exhibit:
    """Equal answers between all levels of all seeds: ordered by level, then by seed.

    sparsity: of each level.
    """
    keys = {"by level": ["level", "run"], "by seed": ["run", "level"]}
    low = float(matrix["fidelity"].min())
    with paper_style():
        figure = Figure(figsize=(WIDTH, 8.2), layout="constrained", facecolor=PAPER)
        rows = figure.subplots(2)
        for axes, (title, order) in zip(rows, keys.items(), strict=True):
            rows_of, columns_of = ([f"{key}_{side}" for key in order] for side in "ab")
            wide = matrix.pivot_table("fidelity", rows_of, columns_of)
            blocks = wide.index.get_level_values(0).to_list()
            starts = [i for i, name in enumerate(blocks) if not i or name != blocks[i - 1]]
            sns.heatmap(
                100 * wide,
                ax=axes,
                cmap="cividis",
                vmin=np.floor(100 * low),
                vmax=100,
                square=True,
                rasterized=True,
                xticklabels=False,
                yticklabels=False,
                cbar_kws={"label": "equal answers, %"},
            )
            edges = [*starts, len(wide)]
            axes.hlines(edges, 0, len(wide), color=PAPER, linewidth=1)
            axes.vlines(edges, 0, len(wide), color=PAPER, linewidth=1)
            texts = [
                sparsity_text(sparsity[blocks[i]]) if order[0] == "level" else _seed(blocks[i])
                for i in starts
            ]
            middles = (np.array(edges[:-1]) + np.array(edges[1:])) / 2
            axes.set_yticks(middles, labels=texts, rotation=0)
            axes.set_xticks(middles, labels=texts, rotation=90)
            words = {"level": "sparsity, %", "run": "seed"}[order[0]]
            axes.set(title=f"{title}", xlabel=words, ylabel=words)
    seeds, levels = matrix["run_a"].nunique(), matrix["level_a"].nunique()
    caption = (
        f"{model_name(model)}: share of test decisions that two models answer alike, for all "
        f"{levels} levels of {counted(seeds, 'seed')}. Above, models of one "
        "level stand together; below, the same numbers with models of one seed together. Bright "
        "blocks along the diagonal are models that belong together."
    )
    alt = f"Heat maps of equal answers between {seeds * levels} models, from {100 * low:.1f} % up."
    # A run's name is long, and there are thousands of pairs.
    seed = {f"seed_{side}": matrix[f"run_{side}"].map(_seed) for side in "ab"}
    data = matrix.assign(**seed)[["seed_a", "level_a", "seed_b", "level_b", "fidelity"]]
    return Exhibit(caption, alt, data, figure)


def map_figure(matrices: Mapping[str, pd.DataFrame], sparsity: Mapping[int, float]) -> Exhibit:
    """All models as points whose distances are shares of different answers.

    matrices: the fidelity matrix of each model.
    """
    maps = {model: answer_map(matrix) for model, matrix in matrices.items()}
    data = pd.concat([points.assign(model=model) for model, points in maps.items()])
    levels = sorted(data["level"].unique())
    colours = sns.color_palette("viridis", len(levels))
    with paper_style():
        figure, panels = _panels(data, "", levels=False, alike=False)
        for axes, model in panels:
            points = maps[model]
            for _, own in points.sort_values("level").groupby("run"):
                axes.plot(own["x"], own["y"], color="#888888", linewidth=0.7, zorder=1)
            for level, colour in zip(levels, colours, strict=True):
                at = points[points["level"] == level]
                marker = "*" if level == DENSE_LEVEL else "o"
                label = f"{sparsity_text(sparsity[level])} %"
                size = 110 if level == DENSE_LEVEL else 45
                dots = axes.scatter(at["x"], at["y"], s=size, color=[colour], marker=marker)
                dots.set(label=label, edgecolor=BLACK, linewidth=0.5)
            axes.set(xticks=[], yticks=[])
            axes.set_aspect("equal", adjustable="datalim")
        finish_axes(figure, panels[0][0])
    shown = ", ".join(f"{model_name(m)} {100 * maps[m]['shown'].iloc[0]:.0f} %" for m in maps)
    caption = (
        "Models as points: the square of their distance is the share of answers in which they "
        f"differ, as far as a plane can show it (classical scaling; it holds {shown}). A grey line "
        "joins the levels of one "
        f"seed, from dense (star) on; colours: sparsity. {_seeds(data)}."
    )
    alt = f"Map of {len(data)} models by the answers they share; the plane holds {shown}."
    return Exhibit(caption, alt, data, figure)


# -- parts ----------------------------------------------------------------------------------------
def _panels(
    frame: pd.DataFrame,
    label: str,
    *,
    levels: bool = True,
    alike: bool = True,
    height: float = PANEL_HEIGHT,
) -> tuple[Figure, list[tuple[Axes, str]]]:
    """A figure with a titled panel for each model, one above the other.

    levels: whether the horizontal axis holds levels; alike: whether the panels share it.
    """
    models = in_order(frame["model"])
    size = (WIDTH, height * len(models) + 0.9)
    figure = Figure(figsize=size, layout="constrained", facecolor=PAPER)
    rows = figure.subplots(len(models), sharex=alike, squeeze=False)[:, 0]
    for axes, model in zip(rows, models, strict=True):
        axes.set(title=model_name(model), ylabel=label)
        if levels:
            level_axis(axes, frame)
            axes.set_xlabel(SPARSITY_AXIS if axes is rows[-1] else "")
    return figure, list(zip(rows, models, strict=True))


def _band(axes: Axes, part: pd.DataFrame, look: Look) -> None:
    """A mean over seeds of one measure, with its interval as a band, cut where the measure ends."""
    measure = MEASURES[str(part["measure"].iloc[0])]
    scale = 100 if measure.unit == "share" else 1
    mean, low, high = (_scaled(part[name], scale) for name in ("mean", "low", "high"))
    low, high = low.clip(min=scale * measure.low), high.clip(max=scale * measure.high)
    axes.fill_between(part["level"], low, high, color=look.colour, alpha=0.18, lw=0)
    _plot(axes, part["level"], mean, look)


def _plot(axes: Axes, x: pd.Series[int], y: Floats, look: Look) -> None:
    axes.plot(
        x,
        y,
        color=look.colour,
        marker=look.marker,
        linestyle=look.line,
        linewidth=2,
        markersize=6,
        label=look.name,
    )


def _in_percent(column: pd.Series[float]) -> Floats:
    return _scaled(column, 100)


def _scaled(column: pd.Series[float], scale: float) -> Floats:
    numbers = column.astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
    return np.asarray(scale * numbers, dtype=np.float64)


def _one(data: pd.DataFrame, model: str, measure: str) -> pd.DataFrame:
    return data[(data["model"] == model) & (data["measure"] == measure)]


def _group_summary(groups: pd.DataFrame, name: str) -> pd.DataFrame:
    return over_seeds(groups, ["model", "group"], [name])


def _by_model(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    for model in in_order(frame["model"]):
        yield model, frame[frame["model"] == model]


# -- words ----------------------------------------------------------------------------------------
def _over(frame: pd.DataFrame) -> str:
    """On how much a figure of means rests, and what its bars or bands are."""
    main = frame[frame["branch"] == "main"]
    return f"mean over {seeds_and_items(main)}; bars and bands: {intervals(main)}"


def _seeds(frame: pd.DataFrame) -> str:
    return counted(frame.groupby("model")["run"].nunique(), "seed")


def _range(values: pd.Series[int]) -> str:
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _first_last(values: pd.Series[float]) -> str:
    known = values.dropna()
    if known.empty:
        return "not defined"
    return f"{100 * known.iloc[0]:.1f} % to {100 * known.iloc[-1]:.1f} %"


def _extreme(part: pd.DataFrame, which: str) -> str:
    row = part.loc[getattr(part["mean"].astype(float), which)()]
    return f"{row['group']} {100 * row['mean']:.1f} %"


def _seed(run: str) -> str:
    return run.rpartition("-s")[2]
