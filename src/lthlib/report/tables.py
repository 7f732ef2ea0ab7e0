"""Tables: measures as text, one row per level, with sparsity, seeds and intervals said.

Each function takes frames that :func:`lthlib.report.measures.describe` has described, and returns
an Exhibit whose `table` holds finished text (a number that does not exist reads "not defined" and
why) and whose `data` holds the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from lthlib.errors import RecordError
from lthlib.report.exhibits import (
    MEASURES,
    NOT_RUN,
    Exhibit,
    in_order,
    intervals,
    model_name,
    require_one_study,
    seeds_and_items,
    sparsity_text,
    summarise,
    summary_text,
)
from lthlib.report.measures import BRANCH_ORDER, STAGE_ORDER, at_stage
from lthlib.report.statistics import DENSE_LEVEL, require_complete
from lthlib.report.words import counted
from lthlib.study import MODALITIES

QUALITY = (
    *("accuracy", "balanced_accuracy", "precision", "recall", "f1", "informedness", "mcc"),
    *("positive_share", "tp", "fp", "tn", "fn"),
)
QUALITY_OF_CLASSES = ("accuracy", "balanced_accuracy", "macro_precision", "macro_f1", "mcc")
"""Where a decision has more than two classes, none of them is the positive one."""
AGREEMENT = (
    *("fidelity", "kappa", "faithful_accuracy", "unfaithful_accuracy_dense"),
    *("unfaithful_accuracy_pruned", "confidence", "unnecessary_churn", "a", "b", "c", "e", "g"),
)
COMPARISON = ("accuracy", "fidelity", "kappa")
SPARSITY, OF_ALL = "sparsity, %", "of all weights, %"
_SPARSITY = "Sparsity is the share of prunable weights that are zero; beside it, of all weights."


def levels_table(levels: pd.DataFrame) -> Exhibit:
    """What was pruned, and where: counts of each level, means over the seeds of one study."""
    require_one_study(levels)
    require_complete(levels, ["level", "branch", "stage"])
    left = {f"left_{m}": _left(levels, m) for m in MODALITIES if _has(levels, m)}
    frame = levels.assign(**left)
    numbers = ["sparsity", "sparsity_all", "zeros", "prunable", "weights", *left]
    numbers += ["epochs", "steps", "validation_accuracy", "train_loss"]
    keys = ["level", "branch", "stage"]
    data = in_level_order(frame.groupby(keys, as_index=False)[numbers].mean())
    events = frame.groupby(keys)[["collapsed", "last_event"]].agg(_distinct).reset_index()
    data = data.merge(events, on=keys)
    table = pd.DataFrame(
        {
            **{key: data[key].astype(str) for key in keys},
            SPARSITY: data["sparsity"].map(sparsity_text),
            OF_ALL: data["sparsity_all"].map(sparsity_text),
            "zeros": data["zeros"].map("{:,.0f}".format),
            "prunable weights": data["prunable"].map("{:,.0f}".format),
            **{f"left in {m[5:]}, %": data[m].map(sparsity_text) for m in left},
            "collapsed": data["collapsed"].replace("", "none"),
            "last event": data["last_event"],
            "epochs": data["epochs"].map("{:g}".format),
            "validation accuracy, %": data["validation_accuracy"].map(_percent),
        }
    )
    seeds = levels["run"].nunique()
    caption = (
        f"Levels of the ladder: means over {counted(seeds, 'seed')}. "
        f"{_SPARSITY} A modality has collapsed when less than 1 % of it is left."
    )
    return Exhibit(caption, _extent("levels", data), data, table=table)


def quality_table(
    quality: pd.DataFrame,
    *,
    gate: pd.DataFrame | None = None,
    stage: str = "trained",
    measures: Sequence[str] | None = None,
) -> Exhibit:
    """How well each level answers; gate: a frame of beats_trivial, for one more column.

    measures: QUALITY, or QUALITY_OF_CLASSES where there are several, unless given.
    """
    chosen = at_stage(quality, stage)
    if measures is None:
        measures = QUALITY_OF_CLASSES if chosen["tp"].isna().all() else QUALITY
    columns = {}
    if gate is not None:
        keys = ["run", "level", "branch", "stage"]
        passed = chosen[keys].merge(gate[[*keys, "beats"]], on=keys, validate="one_to_one")
        seeds = passed.groupby(["level", "branch"])["beats"]
        columns["beats trivial rule"] = seeds.agg(lambda s: f"{s.sum()} of {len(s)}")
    best = chosen.iloc[0]
    rule = f"{best['trivial_rule']}, {100 * best['trivial_accuracy']:.1f} %"
    test = " Seeds beat it by an exact one-sided test over items, p < 0.05." if columns else ""
    note = f"Best rule that looks at no input: {rule}.{test}"
    return measures_table("Quality against the labels", chosen, measures, note, columns)


def agreement_table(
    agreements: pd.DataFrame, *, stage: str = "trained", measures: Sequence[str] = AGREEMENT
) -> Exhibit:
    """How far each level keeps the answers of its dense model."""
    note = (
        "Faithful decisions are those where dense and pruned model agree; "
        "a, b, c, e, g are shares of all decisions and sum to 100 %."
    )
    chosen = at_stage(agreements, stage)
    return measures_table("Agreement with the dense model", chosen, measures, note)


def comparison_table(
    quality: pd.DataFrame, agreements: pd.DataFrame, *, stage: str = "trained"
) -> Exhibit:
    """Models side by side, level by level, for the main branch.

    quality, agreements: described with a column `model`. Raises RecordError without it.
    """
    frames = [at_stage(frame, stage) for frame in (quality, agreements)]
    if any("model" not in frame.columns for frame in frames):
        raise RecordError("comparison: no column 'model'; give describe() the frame of runs too")
    frames = [frame[frame["branch"] == "main"] for frame in frames]
    by = ["model", "level"]
    data = pd.concat(
        [summarise(frames[0], by, ["accuracy"]), summarise(frames[1], by, ["fidelity", "kappa"])],
        ignore_index=True,
    )
    levels = sorted(data["level"].unique())
    sparsity = data.groupby("level")["sparsity"].mean()
    columns: dict[tuple[str, str], list[str]] = {
        ("", "level"): [str(level) for level in levels],
        ("", SPARSITY): [sparsity_text(sparsity[level]) for level in levels],
    }
    for model in in_order(data["model"]):
        own = data[data["model"] == model]
        columns[model_name(model), OF_ALL] = _own_sparsity(own, levels)
        for name in COMPARISON:
            cells = own[own["measure"] == name].set_index("level")
            heading = MEASURES[name].heading
            columns[model_name(model), heading] = [_compared(name, cells, k) for k in levels]
    caption = (
        f"The models side by side: {seeds_and_items(frames[0])}. Mean over seeds; in brackets: "
        f"{intervals(frames[0])}. {_SPARSITY}"
    )
    return Exhibit(caption, _extent("models", data), data, table=pd.DataFrame(columns))


def measures_table(
    title: str,
    frame: pd.DataFrame,
    measures: Sequence[str],
    note: str,
    extra: Mapping[str, pd.Series[str]] | None = None,
) -> Exhibit:
    """Measures by level and branch: means over seeds, with intervals where there are several.

    frame: one row for each run, level and branch; note: what the caption says beside; extra: more
    columns, by (level, branch).
    """
    by = ["level", "branch"]
    data = in_level_order(summarise(frame, by, measures))
    rows = data.drop_duplicates(by)
    index = pd.MultiIndex.from_frame(rows[by])
    columns = level_columns(rows)
    for name in measures:
        measure, part = MEASURES[name], data[data["measure"] == name].set_index(by).loc[index]
        columns[measure.heading] = [summary_text(measure, row) for _, row in part.iterrows()]
    columns |= {heading: list(cells.loc[index]) for heading, cells in (extra or {}).items()}
    caption = (
        f"{title}: {seeds_and_items(frame)}. Mean over seeds; in brackets: {intervals(frame)}. "
        f"{note} {_SPARSITY}"
    )
    return Exhibit(caption, _extent(title.lower(), data), data, table=pd.DataFrame(columns))


def level_columns(rows: pd.DataFrame) -> dict[str, list[str]]:
    """What rows of a table begin with; rows: level, branch, sparsity, sparsity_all."""
    return {
        "level": [str(level) for level in rows["level"]],
        "branch": list(rows["branch"]),
        SPARSITY: [sparsity_text(share) for share in rows["sparsity"]],
        OF_ALL: [sparsity_text(share) for share in rows["sparsity_all"]],
    }


def _compared(name: str, cells: pd.DataFrame, level: int) -> str:
    if level in cells.index:
        return summary_text(MEASURES[name], cells.loc[[level]].iloc[0])
    return "is dense" if level == DENSE_LEVEL else NOT_RUN


def _own_sparsity(own: pd.DataFrame, levels: Sequence[int]) -> list[str]:
    shares = own.groupby("level")["sparsity_all"].mean()
    return [sparsity_text(shares[k]) if k in shares.index else NOT_RUN for k in levels]


def in_level_order(data: pd.DataFrame) -> pd.DataFrame:
    """Rows by level, then the main branch before its controls, then stages as they happen."""
    rank = {name: i for i, name in enumerate((*BRANCH_ORDER, *STAGE_ORDER))}
    keys = [name for name in ("level", "branch", "stage") if name in data.columns]
    return data.sort_values(
        keys, key=lambda c: c if c.name == "level" else c.map(rank), kind="stable"
    ).reset_index(drop=True)


def _has(levels: pd.DataFrame, modality: str) -> bool:
    return bool((levels[f"prunable_{modality}"] > 0).all())


def _left(levels: pd.DataFrame, modality: str) -> pd.Series[float]:
    return 1 - levels[f"zeros_{modality}"] / levels[f"prunable_{modality}"]


def _percent(share: float) -> str:
    return MEASURES["accuracy"].text(share) if pd.notna(share) else "not measured"


def _distinct(texts: pd.Series[str]) -> str:
    return "; ".join(sorted(set(texts) - {""}))


def _extent(what: str, data: pd.DataFrame) -> str:
    levels = data["level"].nunique()
    top = sparsity_text(data["sparsity"].max())
    return f"Table of {what}: {levels} levels, up to {top} % of prunable weights zero."
