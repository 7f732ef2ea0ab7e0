"""Verdicts: one row per model and level, with what was shown and what was not.

Against each reference a ticket is *equivalent*, *inferior*, *superior* or *inconclusive*, or the
question does not apply (see :func:`equivalence.verdict`); beside it stands how much
of its answers it keeps, measured by what training alone changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lthlib.errors import RecordError
from lthlib.report.exhibits import (
    MEASURES,
    Exhibit,
    Measure,
    model_name,
    sparsity_text,
    summary_text,
)
from lthlib.report.judgement.contrasts import (
    AGAINST_DENSE,
    NEITHER_BEATS,
    REFERENCES,
    contrast_tests,
    contrasts,
    scores,
)
from lthlib.report.judgement.equivalence import (
    EQUIVALENT,
    INCONCLUSIVE,
    INFERIOR,
    NOT_APPLICABLE,
    SUPERIOR,
    UNTRAINED,
    VERDICTS,
)
from lthlib.report.reading import Reading
from lthlib.report.statistics import ALPHA, DENSE_LEVEL, Floats, Interval, coverage
from lthlib.report.tidy import in_order, interval_of
from lthlib.report.words import counted, listed, points, points_of

TITLES = {
    "dense": "dense",
    "random-mask": "a random mask",
    "reinitialised": "fresh start values",
    "shuffled-mask": "its mask shuffled",
    "high-magnitude": "the largest pruned",
}
NOT_WORSE = (EQUIVALENT, SUPERIOR)
NOT_INFERIOR = f"{INCONCLUSIVE}, not inferior"
_KEPT: Measure = MEASURES["relative_fidelity"]


APART = 2.0
"""Points by which one seed's dense model must trail all others to be told apart."""


@dataclass(frozen=True)
class Judged:
    """Studies that differ in their model alone, scored, tested and judged.

    scored, tests: frames of :mod:`contrasts`; rows: of :func:`verdict_rows`.
    """

    readings: tuple[Reading, ...]
    scored: pd.DataFrame
    tests: pd.DataFrame
    rows: pd.DataFrame


def judge(readings: Sequence[Reading]) -> Judged:
    """Score, test and judge; raises RecordError without readings."""
    scored = scores(readings)
    tests = contrast_tests(contrasts(scored))
    return Judged(tuple(readings), scored, tests, verdict_rows(scored, tests))


# -- the table -------------------------------------------------------------------------------------
def verdict_rows(scored: pd.DataFrame, tests: pd.DataFrame) -> pd.DataFrame:
    """Each row of the tests, with means over seeds of its ticket's fidelity.

    scored, tests: frames of :func:`contrasts.scores` and ``contrast_tests``.
    Returns the tests and, for fidelity and relative_fidelity: x, x_low, x_high (95 % t interval; of
    the latter jackknife), x_n (seeds where it is defined).
    """
    tickets = scored[(scored["level"] != DENSE_LEVEL) & (scored["branch"] == "main")]
    rows = []
    kept = {
        name: tickets[name].to_numpy(dtype=np.float64, na_value=np.nan)
        for name in ("fidelity", "relative_fidelity")
    }
    groups: dict[Any, Any] = dict(tickets.groupby(["study", "level"]).indices)
    for (study, level), own in groups.items():
        row: dict[str, Any] = {"study": study, "level": level}
        for name, values in kept.items():
            found = _summary(values[own], interval_of(name))
            row |= {f"{name}{end}": value for end, value in found.items()}
        rows.append(row)
    return tests.merge(pd.DataFrame(rows), on=["study", "level"], validate="many_to_one")


def _summary(
    values: Floats, interval: Callable[[Floats, float], Interval]
) -> dict[str, float | int | None]:
    defined = values[~np.isnan(values)]
    if not len(defined):
        return {"": None, "_low": None, "_high": None, "_n": 0}
    found = interval(defined, 1 - ALPHA)
    return {"": float(defined.mean()), "_low": found.low, "_high": found.high, "_n": found.n}


def verdict_table(rows: pd.DataFrame) -> Exhibit:
    """One row per model and level: what is judged, the verdicts, and the answers kept.

    rows: a frame of :func:`verdict_rows`, of studies that differ in their model alone.
    """
    against = [r for r in REFERENCES if r in set(rows["against"])]
    judged, margin = judged_by(rows)
    body = []
    for _, level in _levels(rows):
        first = level.iloc[0]
        cells = {
            "model": model_name(first["model"]),
            "sparsity, %": sparsity_text(first["sparsity"]),
        }
        by_reference = level.set_index("against")
        cells |= {f"vs {TITLES[r]}": _cell(by_reference, r) for r in against}
        cells |= {
            judged.heading: judged.text(first["score"]),
            MEASURES["accuracy"].heading: MEASURES["accuracy"].text(first["accuracy"]),
            _KEPT.heading: _kept_text(first),
            "of all weights, %": sparsity_text(first["sparsity_all"]),
        }
        body.append(cells)
    caption = (
        f"Verdicts on {judged.title}: {seeds_line(rows)}, every test paired by seed. In brackets: "
        f"mean difference in points. {_meaning(margin)} "
        "Control did not train: it beats that rule at no seed and its seeds lie within "
        f"{points_of(margin)} of one another, so that a ticket that learns anything is better and "
        "nothing is left to test. Relative fidelity: agreement with the dense model over the "
        "agreement between dense models of different seeds, with a 95 % jackknife interval over "
        "seeds, since pairs of seeds share models. "
        "Sparsity is the share of prunable weights that are zero; last, of all weights."
    )
    if (rows["sparsity"] == 1).any():
        caption += " A sparsity of 100 is meant so: no prunable weight is left."
    alt = f"Table of verdicts: {len(body)} levels of {rows['model'].nunique()} models."
    return Exhibit(caption, alt, rows, table=pd.DataFrame(body))


def verdict_grid(rows: pd.DataFrame) -> Exhibit:
    """The verdicts against dense at a glance: a row per model, a column per sparsity.

    rows: a frame of :func:`verdict_rows`, of studies that differ in their model alone.
    """
    dense = rows[rows["against"] == AGAINST_DENSE]
    judged, margin = judged_by(rows)
    columns = sorted(dense["level"].unique())
    heads = dense.groupby("level")["sparsity"].mean().map(sparsity_text)
    body = []
    for model in in_order(dense["model"]):
        own = dense[dense["model"] == model].set_index("level")
        cells = {f"{heads[k]} % sparse": _short(own.loc[k]) for k in columns if k in own.index}
        body.append({"model": model_name(model), **cells})
    caption = (
        f"Is a ticket as good as its dense model? {seeds_line(dense)}, paired by seed; in "
        f"brackets: mean difference in {judged.title}, in points. {_meaning(margin)}"
    )
    alt = f"Grid of verdicts against dense: {len(body)} models, {len(columns)} sparsities."
    return Exhibit(caption, alt, dense, table=pd.DataFrame(body).fillna("not run"))


def _short(row: pd.Series[Any]) -> str:
    """A verdict in a word, with its difference."""
    word = _short_word(_word(row)).split(":")[0]
    if pd.isna(row["difference"]) or word in (NOT_APPLICABLE, UNTRAINED):
        return word
    return f"{word} ({points(row['difference'])})"


def _short_word(word: str) -> str:
    """Without the reason why a verdict does not apply."""
    return NOT_APPLICABLE if word.startswith(NOT_APPLICABLE) else word


def _meaning(margin: float) -> str:
    return (
        f"Equivalent: within ±{points_of(margin)} (TOST); inferior or superior: different "
        "(paired t) and not equivalent; each at 5 % after Holm within a column of one model. "
        f"Inconclusive: neither is shown; not inferior: yet no loss of {points_of(margin)} or more "
        "(one-sided, after Holm). Not applicable: dense does not beat the best rule that "
        "looks at no input at every seed, or has less than five margins over it, or, against a "
        "control, neither beats it at any seed."
    )


def judged_by(rows: pd.DataFrame) -> tuple[Measure, float]:
    """The measure and the margin that all rows of a frame of contrasts share.

    Raises RecordError where tasks are mixed that are judged on different ones.
    """
    found = rows[["measure", "margin"]].drop_duplicates()
    if len(found) != 1:
        raise RecordError("verdicts of tasks that are judged differently: show each by itself")
    measure, margin = found.iloc[0]
    return MEASURES[measure], float(margin)


def _levels(rows: pd.DataFrame) -> list[tuple[Any, pd.DataFrame]]:
    """Parts of one study and level, in the order of models and levels."""
    order = {model: i for i, model in enumerate(in_order(rows["model"]))}
    ranked = rows.assign(_rank=rows["model"].map(order))
    return [
        (key, part.drop(columns="_rank"))
        for key, part in ranked.groupby(["_rank", "study", "level"], sort=True)
    ]


def _cell(by_reference: pd.DataFrame, against: str) -> str:
    if against not in by_reference.index:
        return "not run"
    row: pd.Series[Any] = by_reference.loc[[against]].iloc[0]
    word = _short_word(_word(row))
    if pd.isna(row["difference"]) or word in (NOT_APPLICABLE, UNTRAINED):
        return word
    return f"{word} ({points(row['difference'])})"


def _kept_text(row: pd.Series[Any]) -> str:
    return summary_text(
        _KEPT,
        pd.Series(
            {
                "mean": row["relative_fidelity"],
                "low": row["relative_fidelity_low"],
                "high": row["relative_fidelity_high"],
                "n": row["relative_fidelity_n"],
                "seeds": row["n"] if row["relative_fidelity_n"] else 0,
            }
        ),
    )


def seeds_line(rows: pd.DataFrame) -> str:
    """How many seeds the tests of a frame rest on."""
    low, high = int(rows["n"].min()), int(rows["n"].max())
    if low == high:
        return f"{low} seed{'' if low == 1 else 's'}"
    return f"{low} to {high} seeds"


# -- in words --------------------------------------------------------------------------------------
def verdict_sentence(rows: pd.DataFrame) -> str:
    """What is shown against dense, then model by model, then against controls and of the answers.

    rows: a frame of :func:`verdict_rows`, of studies that differ in their model alone.
    """
    dense = rows[rows["against"] == AGAINST_DENSE]
    models = in_order(rows["model"])
    sentences = [_conclusion(dense)]
    sentences += [f"{model_name(m)}: {_ladder(dense[dense['model'] == m])}." for m in models]
    for against in REFERENCES[1:]:
        own = rows[rows["against"] == against]
        if len(own):
            sentences.append(_against_control(own, len(dense)))
    sentences += [_kept_sentence(dense[dense["model"] == m]) for m in models]
    return " ".join(sentence for sentence in sentences if sentence)


def _conclusion(dense: pd.DataFrame) -> str:
    """At how many levels each thing is shown against dense, the best news first."""
    words = [_short_word(_word(row)) for _, row in dense.iterrows()]
    tested = [word for word in words if word in (*NOT_WORSE, NOT_INFERIOR, INFERIOR, INCONCLUSIVE)]
    judged, margin = judged_by(dense)
    if not tested:
        return f"Of {len(words)} levels, none can be tested against dense."
    equal, better = tested.count(EQUIVALENT), tested.count(SUPERIOR)
    verb = "is" if max(equal, better) < 2 else "are"
    if better and not equal:
        parts = [f"{better} {verb} shown to be better than dense"]
    else:
        parts = [f"{equal or 'none'} {verb} shown to be as good as dense"]
        parts += [f"{better} better"] if better else []
    for word, text in (
        (NOT_INFERIOR, f"inconclusive, yet shown to lose less than {points_of(margin)}"),
        (INFERIOR, "inferior"),
        (INCONCLUSIVE, "altogether inconclusive"),
    ):
        if tested.count(word):
            parts.append(f"{tested.count(word)} {text}")
    if len(words) > len(tested):
        parts.append(f"{len(words) - len(tested)} not tested")
    levels = counted(len(words), "level")
    return f"By {judged.title}, within {points_of(margin)}: of {levels}, {'; '.join(parts)}."


def _word(row: pd.Series[Any]) -> str:
    """A verdict as it is shown: non-inferiority is a finding, if not the one that was asked for."""
    return NOT_INFERIOR if row["verdict"] == INCONCLUSIVE and _not_inferior(row) else row["verdict"]


def dense_sentence(scored: pd.DataFrame, longer: pd.DataFrame | None = None) -> str:
    """Between which accuracies the dense models of each model lie over seeds.

    A seed whose dense model learned little makes its tickets look good, and every interval wide.
    longer: scores of a recipe that trains longer, for what dense models can reach.
    """
    parts = []
    for model, shares in _dense_accuracy(scored).items():
        text = f"{shares[0]:.1f} to {shares[-1]:.1f} % for {model_name(model)}"
        apart = len(shares) > 2 and shares[1] - shares[0] > APART
        parts.append(f"{text} (lowest but one: {shares[1]:.1f} %)" if apart else text)
    counts = [len(shares) for shares in _dense_accuracy(scored).values()]
    text = f"Over {counted(counts, 'seed')} the dense models' own accuracy lies at {listed(parts)}."
    if longer is None:
        return f"{text} Where that is a wide range, so are the intervals below."
    further = _dense_accuracy(longer)
    reach = [
        f"{sum(shares) / len(shares):.1f} % ({model_name(model)})"
        for model, shares in further.items()
    ]
    over = counted([len(shares) for shares in further.values()], "seed")
    return (
        f"{text} Trained for longer they reach {listed(reach)}, over {over}. Where that is more, a "
        "ticket that is better than dense here is better than a dense model that could still learn."
    )


def coverage_sentence(scored: pd.DataFrame) -> str:
    """How far the t intervals of few seeds hold what they claim, on our own dense accuracies."""
    shares = [values for values in _dense_accuracy(scored).values() if len(values) > 5]
    if not shares:
        return "There are too few seeds to say how often such intervals hold."
    parts = []
    for n in (3, 5):
        found = sorted(100 * coverage(values, n) for values in shares)
        parts.append(f"{found[0]:.0f} to {found[-1]:.0f} % at {n} seeds")
    return (
        "Drawn again and again from the dense accuracies of a model at "
        f"{counted([len(values) for values in shares], 'seed')}, 95 % t intervals hold their mean "
        f"in {listed(parts)}: least often where one seed is an outlier, which a few seeds mostly "
        "miss."
    )


def _dense_accuracy(scored: pd.DataFrame) -> dict[str, list[float]]:
    """Accuracies of dense models in %, by model, the lowest first."""
    dense = scored[(scored["level"] == DENSE_LEVEL) & (scored["branch"] == "main")]
    return {
        model: sorted((100 * dense.loc[dense["model"] == model, "accuracy"]).tolist())
        for model in in_order(dense["model"])
    }


def _not_inferior(row: pd.Series[Any]) -> bool:
    return bool(pd.notna(row["holm_not_inferior"]) and row["holm_not_inferior"] < ALPHA)


def _ladder(own: pd.DataFrame) -> str:
    """The levels of one model by verdict, such as "equivalent at 27.1 % sparsity; inferior ..."."""
    places: dict[str, list[str]] = {}
    for _, row in own.sort_values("level").iterrows():
        places.setdefault(_word(row), []).append(sparsity_text(row["sparsity"]))
    if len(places) == 1:
        return f"{next(iter(places))} at every level"
    return (
        "; ".join(f"{word} at {listed(shares)} %" for word, shares in places.items()) + " sparsity"
    )


def _against_control(own: pd.DataFrame, levels: int) -> str:
    """What became of the comparisons with one control, of all levels: every one is counted."""
    title = TITLES[str(own["against"].iloc[0])]
    words = [_short_word(_word(row)) for _, row in own.iterrows()]
    better = words.count(SUPERIOR)
    judged = sum(word in (*VERDICTS[:-1], NOT_INFERIOR) for word in words)
    parts = []
    if judged:
        parts.append(f"better at {better} of the {judged} levels that can be compared")
    if words.count(UNTRAINED):
        parts.append(f"at {words.count(UNTRAINED)} {UNTRAINED.replace('control', 'the control')}")
    neither = sum(_word(row) == NEITHER_BEATS for _, row in own.iterrows())
    if neither:
        parts.append(f"at {neither} neither beats the trivial rule")
    if failed := words.count(NOT_APPLICABLE) - neither:
        parts.append(f"at {failed} dense does not beat the trivial rule at every seed")
    rest = len(words) - judged - words.count(UNTRAINED) - words.count(NOT_APPLICABLE)
    if rest:
        parts.append(f"at {rest} no test is possible")
    if levels > len(words):
        parts.append(f"{levels - len(words)} are not run")
    counted = f"{levels} level{'' if levels == 1 else 's'}"
    return f"Tickets against {title}, {counted}: {'; '.join(parts)}."


def _kept_sentence(own: pd.DataFrame) -> str:
    """What the sparsest ticket that is not worse than dense keeps of its answers."""
    good = own[[_word(row) in (*NOT_WORSE, NOT_INFERIOR) for _, row in own.iterrows()]]
    if good.empty:
        return ""
    row = good.sort_values("level").iloc[-1]
    model, share = model_name(row["model"]), sparsity_text(row["sparsity"])
    text = (
        f"{model}'s sparsest ticket that is not worse ({share} %) still gives another answer on "
        f"{MEASURES['churn'].text(1 - row['fidelity'])} % of all decisions"
    )
    if pd.isna(row["relative_fidelity"]):
        return f"{text}."
    floor = row["fidelity"] / row["relative_fidelity"]
    return f"{text}; two dense seeds disagree on about {MEASURES['churn'].text(1 - floor)} %."


def count_verdicts(rows: pd.DataFrame) -> pd.DataFrame:
    """How many levels got each verdict: one row per study and reference."""
    word = rows["verdict"].where(rows["verdict"].isin(VERDICTS), "no test")
    word = word.mask(rows["verdict"].str.startswith(NOT_APPLICABLE), NOT_APPLICABLE)
    columns = [*VERDICTS, "no test"]
    counted = pd.crosstab([rows["study"], rows["against"]], word)
    return counted.reindex(columns=columns, fill_value=0).reset_index().rename_axis(columns=None)
