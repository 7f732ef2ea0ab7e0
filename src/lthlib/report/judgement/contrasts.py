"""Contrasts: each ticket against its references, seed by seed, and every test of them.

A ticket has up to three references: its own dense model (does it keep the accuracy?), a random
mask of the same sparsity (is the choice of weights worth anything?), and its own mask with fresh
start values (are the original weights?). All share the ticket's seed, and so its items and order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from lthlib.errors import RecordError
from lthlib.report.answers.kept import relative_fidelity, same_skill, seed_floors
from lthlib.report.judgement.equivalence import (
    LARGEST_PART,
    NOT_APPLICABLE,
    UNTRAINED,
    criterion,
    verdict,
)
from lthlib.report.judgement.families import adjust
from lthlib.report.measures import RECORD, grid_of_tickets
from lthlib.report.reading import Reading
from lthlib.report.statistics import (
    ALPHA,
    DENSE_LEVEL,
    MOST_FLIPPED,
    Bools,
    Floats,
    detectable_difference,
    hedges_g_av,
    refusal,
    seeds_for_equivalence,
    sign_flip_rows,
    t_interval,
    wilcoxon_rows,
)
from lthlib.report.tidy import models_in_order
from lthlib.study import Study

STUDY = ["study", "model", "task", "protocol", "ladder", "measure", "margin"]
CONDITION = [*STUDY, "level", "sparsity", "sparsity_all"]
AGAINST_DENSE = "dense"
REFERENCES = (AGAINST_DENSE, "random-mask", "reinitialised", "shuffled-mask", "high-magnitude")
# Gan et al. (2022): a relaxed winning ticket keeps 99 % of the dense score.
RELAXED = 0.99


# -- scores: one row per record -------------------------------------------------------------------
def scores(readings: Sequence[Reading]) -> pd.DataFrame:
    """What is compared, one row per run, level and branch of the studies, at their judged stage.

    Returns study, model, task, protocol, ladder, original_weights (does a ticket start from
    theta_0?), run, seed, level, branch, sparsity, sparsity_all, items, decisions, accuracy and the
    other columns of :func:`lthlib.report.measures.quality`, measure and margin (the task's own,
    see :func:`equivalence.criterion`), score (its value), trivial_score (the most that no input
    gives), beats, validation_accuracy, and for the main branch fidelity,
    relative_fidelity (see :func:`lthlib.report.answers.kept.relative_fidelity`) and
    fidelity_skill, the fidelity of a model with the ticket's accuracy whose errors are independent
    of dense (see :func:`lthlib.report.answers.kept.same_skill`).
    """
    if not readings:
        raise RecordError("no records to compare: read at least one study")
    # All studies at once: a merge of two small frames costs as much as one of two large ones.
    agreements, floors = _stacked(readings, "agreements"), _floors(readings)
    kept = relative_fidelity(agreements, floors, groups=[_READING])
    skill = _all([_skill(reading) for reading in readings])
    frame = _stacked(readings, "quality").drop(columns="flags")
    for other, columns in (
        (_stacked(readings, "gate"), ["beats"]),
        (_stacked(readings, "levels"), ["validation_accuracy"]),
        (kept, ["fidelity", "relative_fidelity"]),
        (skill.rename(columns={"fidelity": "fidelity_skill"}), ["fidelity_skill"]),
    ):
        on = [_READING, *RECORD]
        frame = frame.merge(other[[*on, *columns]], on=on, how="left", validate="1:1")
    about = pd.DataFrame([study_columns(reading.study) for reading in readings])
    named = about.take(frame[_READING].to_numpy(dtype=np.int64)).set_index(frame.index)
    return judged_on(frame.drop(columns=_READING).join(named))


def judged_on(frame: pd.DataFrame) -> pd.DataFrame:
    """Put the task's measure and margin beside each row, its score and that of trivial rules.

    frame: task, and of each task's measure x the columns x and trivial_x.
    """
    parts = []
    for task, own in frame.groupby("task", sort=False):
        measure, margin = criterion(str(task)).measure, criterion(str(task)).margin
        score, trivial = own[measure], own[f"trivial_{measure}"]
        parts.append(own.assign(measure=measure, margin=margin, score=score, trivial_score=trivial))
    return pd.concat(parts).loc[frame.index]


_READING = "_reading"
"""The place of a row's reading among those that are given."""


def _all(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Frames one below the other, each row with the number of its own."""
    number = np.repeat(np.arange(len(frames)), [len(frame) for frame in frames])
    return pd.concat(frames, ignore_index=True).assign(**{_READING: number})


def _stacked(readings: Sequence[Reading], name: str) -> pd.DataFrame:
    """One frame of all readings, each at its own stage."""
    frame = _all([getattr(reading, name) for reading in readings])
    stages = np.array([reading.stage for reading in readings])[frame[_READING].to_numpy()]
    held = (frame["stage"].to_numpy() == stages) | (frame["level"] == DENSE_LEVEL).to_numpy()
    rows: pd.DataFrame = frame.loc[held]
    return rows


def _floors(readings: Sequence[Reading]) -> pd.DataFrame:
    """Floors of each reading; the pairs of records that floors need are a small part of all."""
    pairs = []
    for reading in readings:
        level, run_a, run_b = (reading.matrix[c].to_numpy() for c in ("level_a", "run_a", "run_b"))
        pairs.append(reading.matrix[(level == DENSE_LEVEL) & (run_a != run_b)])
    return seed_floors(_all(pairs), groups=[_READING])


def _skill(reading: Reading) -> pd.DataFrame:
    if reading.skill is not None:
        return reading.skill
    return same_skill(grid_of_tickets(reading.predictions, reading.stage))


def study_columns(study: Study) -> dict[str, Any]:
    """What names a study in every row that comes from it."""
    return {
        "study": study.name,
        "protocol": study.protocol,
        "ladder": study.ladder if isinstance(study.ladder, str) else "list",
        "original_weights": study.rewind == "weights" and study.rewind_step == 0,
    }


# -- contrasts: one row per seed, level and reference ----------------------------------------------
def contrasts(scored: pd.DataFrame) -> pd.DataFrame:
    """Ticket and reference side by side, one row per study, level, reference and seed.

    scored: a frame of :func:`scores`. Where a seed lacks the ticket or the reference, the row is
    there and its numbers are <NA>, so that whatever is made of it can say so.

    Returns study ... sparsity_all, against, run, accuracy (the ticket's), score (of what the task
    is judged on), reference (its score), difference, trivial_score, beats, reference_beats. Raises
    RecordError for a study without dense rows.
    """
    _check_scores(scored)
    pruned = scored[scored["level"] != DENSE_LEVEL]
    facts = pruned.groupby([*STUDY, "level"])[["sparsity", "sparsity_all"]].mean().reset_index()
    runs: dict[str, list[str]] = {}
    for study, run in sorted(set(zip(scored["study"], scored["run"], strict=True))):
        runs.setdefault(study, []).append(run)
    keys = zip(*(scored[c].tolist() for c in ("study", "level", "branch", "run")), strict=True)
    place = {key: row for row, key in enumerate(keys)}
    recorded = {key[:3] for key in place}
    rows = []  # the row of facts, reference, run, and the places of ticket and reference
    levels = zip(facts["study"].tolist(), facts["level"].tolist(), strict=True)
    for fact, (study, level) in enumerate(levels):
        for against in REFERENCES:
            if against == AGAINST_DENSE:
                reference = (study, DENSE_LEVEL, "main")
            elif (reference := (study, level, against)) not in recorded:
                continue
            for run in runs[study]:
                ticket = place.get((study, level, "main", run), -1)
                rows.append((fact, against, run, ticket, place.get((*reference, run), -1)))
    facts_of, against_of, run_of, ours_at, theirs_at = map(list, zip(*rows, strict=True))
    table = facts.take(facts_of).reset_index(drop=True).assign(against=against_of, run=run_of)
    sides = scored[["accuracy", "score", "trivial_score", "beats"]].reset_index(drop=True)
    # Where a run lacks a record, its place is none of the index, and its numbers are <NA>.
    ours, theirs = (sides.reindex(p).reset_index(drop=True) for p in (ours_at, theirs_at))
    table = table.assign(
        accuracy=ours["accuracy"],
        score=ours["score"],
        reference=theirs["score"],
        difference=ours["score"] - theirs["score"],
        trivial_score=theirs["trivial_score"],
        beats=ours["beats"],
        reference_beats=theirs["beats"],
    )
    values = ["accuracy", "score", "reference", "difference", "trivial_score"]
    return table[[*CONDITION, "against", "run", *values, "beats", "reference_beats"]]


def _check_scores(scored: pd.DataFrame) -> None:
    """Refuse a study with a record twice, or without dense ones."""
    twice = scored[scored.duplicated(["study", "run", "level", "branch"])]
    whole = set(scored.loc[scored["level"] == DENSE_LEVEL, "study"])
    for name in sorted({*twice["study"], *(set(scored["study"]) - whole)}):
        own = twice[twice["study"] == name]
        if len(own):
            row = own.iloc[0]
            raise RecordError(f"{row['run']}: level {row['level']}, {row['branch']} is there twice")
        raise RecordError(f"{name} has no dense row (level 0) to compare with: keep it")


# -- tests: one row per level and reference --------------------------------------------------------
def contrast_tests(paired: pd.DataFrame) -> pd.DataFrame:
    """Every test of every contrast, adjusted within its family, and the verdict.

    paired: a frame of :func:`contrasts`. score and reference are means over seeds of what the task
    is judged on (`measure`), and difference that of their differences,
    with low, high (95 % t interval) and low_90, high_90 (which TOST looks at); g_av is Hedges' g;
    detectable the smallest true difference that a t test would find with 80 % power; seeds_needed
    the seeds that show equivalence with 80 % power where nothing differs; ratio the mean of
    score over reference; beats and reference_beats at how many seeds each beats the best
    trivial rule. Columns p_x are as they are and holm_x adjusted (see
    :mod:`families`); where `note` says why there can be no test, they are <NA>.

    A contrast is `not applicable`, and untested, where dense does not beat the best trivial rule
    at every seed, or has so little over it that the margin is more than LARGEST_PART of that (a
    ticket that lost what dense learned could still be called equivalent), and against a control
    where neither it nor the ticket beats it at any seed.
    Against a control that did not train it is untested too: the control beats that rule at no seed
    and its seeds lie within the margin of one another, so that a test would tell how far the
    ticket is from chance, which the rule tells better, and g would divide by next to nothing. For
    the same reason g_av is <NA> where either side has no spread.
    """
    dense = paired[paired["against"] == AGAINST_DENSE]
    gates = dense["reference_beats"].eq(True).groupby([dense["study"], dense["level"]]).sum()
    opened = gates.groupby("study").min()
    learned = (dense["reference"] - dense["trivial_score"]).groupby(dense["study"]).mean()
    groups: dict[Any, Any] = dict(paired.groupby([*CONDITION, "against"]).indices)
    after, before = _sides(paired)
    accuracy = paired["accuracy"].to_numpy(dtype=np.float64, na_value=np.nan)
    beats, reference_beats = (
        paired[c].eq(True).to_numpy(dtype=bool) for c in ("beats", "reference_beats")
    )
    rows, able = [], []
    for key, own in sorted(groups.items(), key=lambda group: int(group[1][0])):
        row = dict(zip([*CONDITION, "against"], key, strict=True))
        row |= {"n": len(own), "accuracy": accuracy[own].mean()}
        row |= _numbers(after[own], before[own])
        row |= {"beats": int(beats[own].sum()), "reference_beats": int(reference_beats[own].sum())}
        closed = _closed(row, int(opened[row["study"]]), learned[row["study"]])
        note = closed or _untrained(row, after[own], before[own]) or row["note"]
        rows.append(row | {"note": note} | dict.fromkeys(_TESTS))
        if not note:
            able.append((own, rows[-1]))
    for seeds, margin in sorted({(len(own), row["margin"]) for own, row in able}):
        same = [each for each in able if (len(each[0]), each[1]["margin"]) == (seeds, margin)]
        places = np.array([own for own, _ in same])
        relaxed = np.array([row["against"] == AGAINST_DENSE for _, row in same])
        found = _tests(after[places], before[places], margin, relaxed=relaxed)
        for (_, row), values in zip(same, found, strict=True):
            row.update(values)
    missing = dict.fromkeys([*_NUMBERS, *(c for c in rows[0] if c.startswith("p_"))], "Float64")
    table = adjust(pd.DataFrame(rows).astype(missing))
    judged = table[["note", "holm_equivalence", "holm_difference", "difference"]]
    return table.assign(verdict=[_verdict(*row) for row in judged.itertuples(index=False)])


_NUMBERS = (
    *("accuracy", "score", "reference", "difference", "ratio"),
    *("low", "high", "low_90", "high_90"),
    *("sd", "g_av", "detectable", "seeds_needed"),
)


def _numbers(after: Floats, before: Floats) -> dict[str, Any]:
    """What can be said of one contrast without a test; [seeds] of ticket and reference."""
    change = after - before
    wide = t_interval(change) if np.isfinite(change).all() else None
    narrow = t_interval(change, 1 - 2 * ALPHA) if np.isfinite(change).all() else None
    return {
        "score": after.mean(),
        "reference": before.mean(),
        "difference": change.mean(),
        "low": wide and wide.low,
        "high": wide and wide.high,
        "low_90": narrow and narrow.low,
        "high_90": narrow and narrow.high,
        # A reference that scores nothing has no share that could be kept.
        "ratio": float(np.mean(after / before)) if (before != 0).all() else None,
        "note": refusal(change),
    }


NEITHER_BEATS = f"{NOT_APPLICABLE}: neither beats the trivial rule"


def _closed(row: Mapping[str, Any], dense_beats: int, learned: float) -> str:
    """Why the verdict does not apply, by the gate that trivial rules are; "" where it does.

    learned: by how much dense models score more than these rules, mean over seeds.
    """
    if dense_beats < row["n"]:
        return (
            f"{NOT_APPLICABLE}: dense beats the trivial rule at {dense_beats} of {row['n']} seeds"
        )
    if row["margin"] > LARGEST_PART * learned:
        return f"{NOT_APPLICABLE}: dense is too near the trivial rule for the margin"
    if row["beats"] == 0 and row["reference_beats"] == 0:
        return NEITHER_BEATS
    return ""


def _untrained(row: Mapping[str, Any], after: Floats, before: Floats) -> str:
    """UNTRAINED against a control that is constant at chance; "" against any other."""
    if row["against"] == AGAINST_DENSE or row["reference_beats"]:
        return ""
    # A missing ticket or control is another reason, and comparisons with NaN are false.
    return UNTRAINED if np.ptp(before) < row["margin"] and np.isfinite(after).all() else ""


def _tests(
    after: Floats, before: Floats, margin: float, *, relaxed: Bools
) -> list[dict[str, float | None]]:
    """Every test of contrasts that refusal() lets pass, all at once.

    after, before: [contrasts, seeds], scores of tickets and references; relaxed: [contrasts],
    where it is asked whether the ticket keeps RELAXED of the reference.
    """
    change, lost = after - before, after - RELAXED * before
    sd, seeds = change.std(axis=1, ddof=1), change.shape[1]
    spread = np.minimum(np.ptp(after, axis=1), np.ptp(before, axis=1)) > 1e-12
    asked = relaxed & np.array([not refusal(row) for row in lost])
    p_relaxed: list[float | None] = [None] * len(change)
    for place, p in zip(np.flatnonzero(asked), _t_test(lost[asked], 0, "greater"), strict=True):
        p_relaxed[place] = float(p)
    above, below = _t_test(change, -margin, "greater"), _t_test(change, margin, "less")
    columns = (
        sd,
        [hedges_g_av(*pair) if s else None for *pair, s in zip(after, before, spread, strict=True)],
        [detectable_difference(float(one), seeds) for one in sd],
        [seeds_for_equivalence(float(one), margin) for one in sd],
        _t_test(change, 0, "two-sided"),
        sign_flip_rows(change) if seeds <= MOST_FLIPPED else [None] * len(change),
        wilcoxon_rows(change),
        np.maximum(above, below),  # TOST, of which the interval is a group's own
        above,
        p_relaxed,
    )
    return [dict(zip(_TESTS, values, strict=True)) for values in zip(*columns, strict=True)]


def _t_test(differences: Floats, mean: float, alternative: str) -> Floats:
    """[contrasts], p of a t test of each row against a mean."""
    return np.asarray(stats.ttest_1samp(differences, mean, axis=1, alternative=alternative).pvalue)


_TESTS = (
    *("sd", "g_av", "detectable", "seeds_needed", "p_difference", "p_sign_flip", "p_wilcoxon"),
    *("p_equivalence", "p_not_inferior", "p_relaxed"),
)


def _sides(part: pd.DataFrame) -> tuple[Floats, Floats]:
    """[seeds], scores of the ticket and of its reference; NaN where one is missing."""
    after, before = (
        part[c].to_numpy(dtype=np.float64, na_value=np.nan) for c in ("score", "reference")
    )
    return after, before


def _verdict(note: str, p_equivalence: float, p_difference: float, difference: float) -> str:
    return note or verdict(p_equivalence, p_difference, difference)


def in_reading_order(tests: pd.DataFrame) -> pd.DataFrame:
    """Rows of contrasts by model, in this project's order, then by level, then by reference."""
    against = {name: i for i, name in enumerate(REFERENCES)}
    ranked = tests.assign(_a=tests["against"].map(against)).sort_values(["study", "level", "_a"])
    return models_in_order(ranked.drop(columns="_a"))
