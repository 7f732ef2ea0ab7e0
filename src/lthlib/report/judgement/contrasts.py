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
    MARGIN,
    NOT_APPLICABLE,
    UNTRAINED,
    tost,
    verdict,
)
from lthlib.report.judgement.families import adjust
from lthlib.report.measures import RECORD, at_stage
from lthlib.report.reading import Reading, joined
from lthlib.report.statistics import (
    ALPHA,
    DENSE_LEVEL,
    Floats,
    detectable_difference,
    hedges_g_av,
    refusal,
    seeds_for_equivalence,
    sign_flip_p,
    t_interval,
    wilcoxon_p,
)
from lthlib.study import Study

STUDY = ["study", "model", "task", "protocol", "ladder"]
CONDITION = [*STUDY, "level", "sparsity", "sparsity_all"]
AGAINST_DENSE = "dense"
REFERENCES = (AGAINST_DENSE, "random-mask", "reinitialised", "shuffled-mask", "high-magnitude")
# Gan et al. (2022): a relaxed winning ticket keeps 99 % of the dense score.
RELAXED = 0.99


# -- scores: one row per record -------------------------------------------------------------------
def scores(readings: Sequence[Reading]) -> pd.DataFrame:
    """What is compared, one row per run, level and branch of the studies, at their judged stage.

    Returns study, model, task, protocol, ladder, original_weights (does a ticket start from
    theta_0?), run, seed, level, branch, sparsity, sparsity_all, items, decisions, accuracy,
    positive_share, trivial_accuracy, beats, validation_accuracy, and for the main branch fidelity,
    relative_fidelity (see :func:`lthlib.report.answers.kept.relative_fidelity`) and
    fidelity_skill, the fidelity of a model with the ticket's accuracy whose errors are independent
    of dense (see :func:`lthlib.report.answers.kept.same_skill`).
    """
    parts = [_scores(reading) for reading in readings]
    if not parts:
        raise RecordError("no records to compare: read at least one study")
    return pd.concat(parts, ignore_index=True)


def _scores(reading: Reading) -> pd.DataFrame:
    kept = relative_fidelity(joined([reading], "agreements"), seed_floors(reading.matrix))
    skill = same_skill(_tickets(reading)).rename(columns={"fidelity": "fidelity_skill"})
    frame = joined([reading], "quality").drop(columns="flags")
    for other, columns in (
        (joined([reading], "gate"), ["beats"]),
        (joined([reading], "levels"), ["validation_accuracy"]),
        (kept, ["fidelity", "relative_fidelity"]),
        (skill, ["fidelity_skill"]),
    ):
        frame = frame.merge(other[[*RECORD, *columns]], on=RECORD, how="left", validate="1:1")
    return frame.assign(**study_columns(reading.study))


def _tickets(reading: Reading) -> pd.DataFrame:
    """Predictions of dense and of tickets, no controls."""
    predictions = at_stage(reading.predictions, reading.stage)
    return predictions[predictions["branch"] == "main"]


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

    Returns study ... sparsity_all, against, run, accuracy, reference, difference, beats,
    reference_beats. Raises RecordError for a study without dense rows.
    """
    return pd.concat([_contrasts(part) for _, part in scored.groupby("study")], ignore_index=True)


def _contrasts(part: pd.DataFrame) -> pd.DataFrame:
    name = part["study"].iloc[0]
    twice = part[part.duplicated(["run", "level", "branch"])]
    if len(twice):
        row = twice.iloc[0]
        raise RecordError(f"{row['run']}: level {row['level']}, {row['branch']} is there twice")
    if not (part["level"] == DENSE_LEVEL).any():
        raise RecordError(f"{name} has no dense row (level 0) to compare with: keep it")
    wide = part.set_index(["branch", "level", "run"])[["accuracy", "beats"]]
    runs = sorted(part["run"].unique())
    pruned = part[part["level"] != DENSE_LEVEL]
    facts = pruned.groupby([*STUDY, "level"])[["sparsity", "sparsity_all"]].mean().reset_index()
    rows = []
    for _, level in facts.iterrows():
        number = int(level["level"])
        recorded = set(pruned.loc[pruned["level"] == number, "branch"])
        ticket = _of_runs(wide, "main", number, runs)
        for against in REFERENCES:
            if against == AGAINST_DENSE:
                reference = _of_runs(wide, "main", DENSE_LEVEL, runs)
            elif against in recorded:
                reference = _of_runs(wide, against, number, runs)
            else:
                continue
            both = ticket.join(reference.add_prefix("reference_")).reset_index(names="run")
            rows.append(both.assign(**level, against=against))
    table = pd.concat(rows, ignore_index=True).rename(columns={"reference_accuracy": "reference"})
    table["difference"] = table["accuracy"] - table["reference"]
    values = ["accuracy", "reference", "difference", "beats", "reference_beats"]
    return table[[*CONDITION, "against", "run", *values]]


def _of_runs(wide: pd.DataFrame, branch: str, level: int, runs: Sequence[str]) -> pd.DataFrame:
    """[runs] rows, <NA> for a run that lacks this record."""
    wanted = pd.MultiIndex.from_product([[branch], [level], runs])
    return wide.reindex(wanted).droplevel([0, 1])


# -- tests: one row per level and reference --------------------------------------------------------
def contrast_tests(paired: pd.DataFrame, *, margin: float = MARGIN) -> pd.DataFrame:
    """Every test of every contrast, adjusted within its family, and the verdict.

    paired: a frame of :func:`contrasts`. difference is the mean over seeds in shares of accuracy,
    with low, high (95 % t interval) and low_90, high_90 (which TOST looks at); g_av is Hedges' g;
    detectable the smallest true difference that a t test would find with 80 % power; seeds_needed
    the seeds that show equivalence with 80 % power where nothing differs; ratio the mean of
    accuracy over reference; beats and reference_beats at how many seeds each beats the best
    trivial rule. Columns p_x are as they are and holm_x adjusted (see
    :mod:`families`); where `note` says why there can be no test, they are <NA>.

    A contrast is `not applicable`, and untested, where dense does not beat the best trivial rule
    at every seed, and against a control where neither it nor the ticket beats it at any seed.
    Against a control that did not train it is untested too: the control beats that rule at no seed
    and its seeds lie within the margin of one another, so that a test would tell how far the
    ticket is from chance, which the rule tells better, and g would divide by next to nothing. For
    the same reason g_av is <NA> where either side has no spread.
    """
    dense = paired[paired["against"] == AGAINST_DENSE]
    gates = dense["reference_beats"].eq(True).groupby([dense["study"], dense["level"]]).sum()
    opened = gates.groupby("study").min()
    rows = []
    for key, part in paired.groupby([*CONDITION, "against"], sort=False):
        row = dict(zip([*CONDITION, "against"], key, strict=True)) | _numbers(part)
        closed = _closed(row, int(opened[row["study"]]))
        row["note"] = closed or _untrained(row, part, margin) or row["note"]
        rows.append(row | _tests(part, margin, able=not row["note"]))
    missing = dict.fromkeys([*_NUMBERS, *(c for c in rows[0] if c.startswith("p_"))], "Float64")
    table = adjust(pd.DataFrame(rows).astype(missing))
    return table.assign(verdict=[_verdict(row) for _, row in table.iterrows()])


_NUMBERS = (
    *("accuracy", "reference", "difference", "ratio", "low", "high", "low_90", "high_90"),
    *("sd", "g_av", "detectable", "seeds_needed"),
)


def _numbers(part: pd.DataFrame) -> dict[str, Any]:
    """What can be said of one contrast without a test."""
    after, before = _sides(part)
    change = after - before
    wide = t_interval(change) if np.isfinite(change).all() else None
    narrow = t_interval(change, 1 - 2 * ALPHA) if np.isfinite(change).all() else None
    return {
        "n": len(part),
        "accuracy": after.mean(),
        "reference": before.mean(),
        "beats": int(part["beats"].eq(True).sum()),
        "reference_beats": int(part["reference_beats"].eq(True).sum()),
        "difference": change.mean(),
        "low": wide and wide.low,
        "high": wide and wide.high,
        "low_90": narrow and narrow.low,
        "high_90": narrow and narrow.high,
        "ratio": float(np.mean(after / before)),
        "note": refusal(change),
    }


NEITHER_BEATS = f"{NOT_APPLICABLE}: neither beats the trivial rule"


def _closed(row: Mapping[str, Any], dense_beats: int) -> str:
    """Why the verdict does not apply, by the gate that trivial rules are; "" where it does."""
    if dense_beats < row["n"]:
        return (
            f"{NOT_APPLICABLE}: dense beats the trivial rule at {dense_beats} of {row['n']} seeds"
        )
    if row["beats"] == 0 and row["reference_beats"] == 0:
        return NEITHER_BEATS
    return ""


def _untrained(row: Mapping[str, Any], part: pd.DataFrame, margin: float) -> str:
    """UNTRAINED against a control that is constant at chance; "" against any other."""
    if row["against"] == AGAINST_DENSE or row["reference_beats"]:
        return ""
    after, before = _sides(part)
    # A missing ticket or control is another reason, and comparisons with NaN are false.
    return UNTRAINED if np.ptp(before) < margin and np.isfinite(after).all() else ""


def _tests(part: pd.DataFrame, margin: float, *, able: bool) -> dict[str, float | None]:
    if not able:
        return dict.fromkeys(_TESTS)
    after, before = _sides(part)
    change, lost = after - before, after - RELAXED * before
    relaxed = part["against"].iloc[0] == AGAINST_DENSE and not refusal(lost)
    sd, found = float(change.std(ddof=1)), tost(change, margin)
    spread = min(np.ptp(after), np.ptp(before)) > 1e-12
    values = (
        *(
            sd,
            hedges_g_av(after, before) if spread else None,
            detectable_difference(sd, len(change)),
        ),
        *(seeds_for_equivalence(sd, margin), float(stats.ttest_1samp(change, 0).pvalue)),
        *(sign_flip_p(change), wilcoxon_p(change), found.p, found.p_lower),
        _above_zero(lost) if relaxed else None,
    )
    return dict(zip(_TESTS, values, strict=True))


_TESTS = (
    *("sd", "g_av", "detectable", "seeds_needed", "p_difference", "p_sign_flip", "p_wilcoxon"),
    *("p_equivalence", "p_not_inferior", "p_relaxed"),
)


def _sides(part: pd.DataFrame) -> tuple[Floats, Floats]:
    """[seeds], accuracy of the ticket and of its reference; NaN where it is missing."""
    after, before = (
        part[c].to_numpy(dtype=np.float64, na_value=np.nan) for c in ("accuracy", "reference")
    )
    return after, before


def _above_zero(numbers: Floats) -> float:
    return float(stats.ttest_1samp(numbers, 0, alternative="greater").pvalue)


def _verdict(row: pd.Series[Any]) -> str:
    if row["note"]:
        return str(row["note"])
    return verdict(row["holm_equivalence"], row["holm_difference"], row["difference"])
