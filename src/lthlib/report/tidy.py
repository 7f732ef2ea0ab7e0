"""Summaries over seeds, in long form: the one way from runs to what a table or a figure shows.

A tidy frame has one row for each run and condition, and the columns run, level, branch, ...,
sparsity, sparsity_all and measures. What is made of it here has one row for each condition and
measure (:func:`over_seeds`), or for each seed of it (:func:`with_seeds`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from lthlib.errors import RecordError
from lthlib.report.measures import BRANCH_ORDER, STAGE_ORDER
from lthlib.report.statistics import (
    DENSE_LEVEL,
    Floats,
    Interval,
    jackknife_interval,
    seed_summary,
    t_interval,
)
from lthlib.study import MODALITIES, MODELS

OF_PAIRS = ("other_ticket", "relative_fidelity", "own_answers")
"""Measures of pairs of seeds, beside those whose names end with floor."""


def interval_of(name: str) -> Callable[[Floats, float], Interval]:
    """The interval over seeds of a measure: floors and what rests on them are jackknifed."""
    of_pairs = name in OF_PAIRS or name.endswith("floor")
    return jackknife_interval if of_pairs else t_interval


def over_seeds(frame: pd.DataFrame, by: Sequence[str], names: Sequence[str]) -> pd.DataFrame:
    """Mean over seeds with its interval, and the mean sparsity, of each condition and measure.

    by: what tells conditions apart, such as level and branch; of several models, model first.
    Returns by, sparsity, sparsity_all, measure, mean, low, high, n, seeds, interval; see
    :func:`lthlib.report.statistics.seed_summary`. Raises RecordError for runs of several studies,
    and for a seed that lacks a condition.
    """
    require_one_study(frame)
    groups = ["model"] if "model" in by else []
    within = [column for column in by if column != "model"]
    sparsity = frame.groupby(list(by), as_index=False)[["sparsity", "sparsity_all"]].mean()
    parts = [
        sparsity.merge(
            seed_summary(frame, within, name, groups=groups, interval=interval_of(name)).assign(
                measure=name
            ),
            on=list(by),
        )
        for name in names
    ]
    return pd.concat(parts, ignore_index=True)


def with_seeds(frame: pd.DataFrame, by: Sequence[str], names: Sequence[str]) -> pd.DataFrame:
    """:func:`over_seeds` beside each seed's own number: more columns run and value."""
    values = frame.melt(["run", *by], list(names), var_name="measure", value_name="value")
    return values.merge(over_seeds(frame, by, names), on=[*by, "measure"], validate="many_to_one")


def wide(summary: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """A summary with a row a condition: of each measure x the columns x, x_low and x_high."""
    keys = [*by, "sparsity", "sparsity_all"]
    parts = [
        own.set_index(keys)[["mean", "low", "high"]].set_axis(
            [str(name), f"{name}_low", f"{name}_high"], axis=1
        )
        for name, own in summary.groupby("measure", sort=False)
    ]
    return pd.concat(parts, axis=1).reset_index()


def require_one_study(frame: pd.DataFrame) -> None:
    """Refuse to average over different studies; with a column `model`, over those of one model."""
    studies = frame["run"].str.replace(r"-s\d+$", "", regex=True)
    models = frame["model"] if "model" in frame.columns else pd.Series("", index=frame.index)
    for _, names in studies.groupby(models):
        if len(names.unique()) > 1:
            several = ", ".join(sorted(names.unique()))
            raise RecordError(f"means over seeds need the runs of one study, not of {several}")


# -- choosing and ordering rows -------------------------------------------------------------------
def main_branch(frame: pd.DataFrame) -> pd.DataFrame:
    """Tickets and dense models, without their controls."""
    return frame[frame["branch"] == "main"]


def in_order(models: pd.Series[str]) -> list[str]:
    """The different models of a column, in the order in which this project names them."""
    return sorted(models.unique(), key=lambda m: (MODELS.index(m) if m in MODELS else 99, m))


def models_in_order(data: pd.DataFrame) -> pd.DataFrame:
    """The same rows, sorted by model as this project names them, and otherwise as they were."""
    rank = {model: place for place, model in enumerate(in_order(data["model"]))}
    return data.sort_values("model", key=lambda names: names.map(rank), kind="stable")


def in_level_order(data: pd.DataFrame) -> pd.DataFrame:
    """Rows by level, then the main branch before its controls, then stages as they happen."""
    rank = {name: i for i, name in enumerate((*BRANCH_ORDER, *STAGE_ORDER))}
    keys = [name for name in ("level", "branch", "stage") if name in data.columns]
    return data.sort_values(
        keys, key=lambda c: c if c.name == "level" else c.map(rank), kind="stable"
    ).reset_index(drop=True)


# -- frames that several notebooks start from -----------------------------------------------------
def left_by_modality(levels: pd.DataFrame) -> pd.DataFrame:
    """The table of levels with what is left of each modality that has prunable weights.

    Returns its columns, and left_MODALITY, a share of the modality's own prunable weights.
    """
    has = [m for m in MODALITIES if (levels[f"prunable_{m}"] > 0).all()]
    left = {f"left_{m}": 1 - levels[f"zeros_{m}"] / levels[f"prunable_{m}"] for m in has}
    return levels.assign(**left)


def with_dense_cells(agreements: pd.DataFrame) -> pd.DataFrame:
    """Agreements with rows of level 0: dense agrees with itself, rightly (a) or wrongly (e)."""
    dense = agreements.drop_duplicates("run")
    right = dense["accuracy_dense"]
    cells = {"a": right, "b": 0 * right, "c": 0 * right, "e": 1 - right, "g": 0 * right}
    own = dense.assign(level=DENSE_LEVEL, sparsity=0.0, sparsity_all=0.0, **cells)
    return pd.concat([own, agreements], ignore_index=True)


def passed(gate: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """At how many seeds the best trivial rule is beaten: by, beats, seeds.

    gate: a frame of :func:`lthlib.report.measures.beats_trivial`.
    """
    return gate.groupby(list(by), as_index=False).agg(beats=("beats", "sum"), seeds=("run", "size"))


def wins(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """At how many seeds a ticket has more than each of its controls: model, level, branch, wins.

    Counted, and not tested.
    """
    keys = ["model", "level", "run"]
    main = main_branch(frame)[[*keys, name]].rename(columns={name: "ticket"})
    both = frame[frame["branch"] != "main"].merge(main, on=keys, validate="many_to_one")
    more = both.assign(wins=both["ticket"] > both[name])
    return more.groupby(["model", "level", "branch"])["wins"].sum().reset_index()


def collapses(levels: pd.DataFrame) -> pd.DataFrame:
    """Where less than 1 % of a modality is left first: model, collapsed, level, sparsity, seeds.

    seeds: of how many, at that level.
    """
    main = main_branch(levels)
    hit = main[main["collapsed"] != ""]
    first = hit.groupby(["model", "collapsed"], sort=False)["level"].transform("min")
    at_first = hit[hit["level"] == first]
    by = at_first.groupby(["model", "collapsed", "level"], sort=False)
    found = pd.DataFrame({"sparsity": by["sparsity"].mean(), "seeds": by["run"].nunique()})
    return found.reset_index()


def focus(quality: pd.DataFrame) -> int:
    """The level that prose speaks of: the middle one of those with controls, or of all.

    It is chosen by its place on the ladder and never by its result.
    """
    beyond = quality[quality["level"] != DENSE_LEVEL]
    controls = beyond[beyond["branch"] != "main"]
    levels = sorted((controls if len(controls) else beyond)["level"].unique())
    return int(levels[len(levels) // 2]) if levels else DENSE_LEVEL
