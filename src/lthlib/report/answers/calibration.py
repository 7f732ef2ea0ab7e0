"""Probabilities: are they right, and how far does pruning move them?

From logits alone. Decisions are False or True; a decision with two logits has softmax
probabilities (digits), one with a single logit a sigmoid (each finding of digit-reports). Both are
one number, the log-odds of True, and everything here is a function of it. Natural logarithms:
KL, JS and NLL are in nats.

The label-blind null of every measure here is the measure of
:func:`kept.shuffled` predictions.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import special, stats

from lthlib.errors import RecordError
from lthlib.report.measures import CASE, RECORD, Bools, Floats, Ints
from lthlib.report.statistics import DENSE_LEVEL, pair_values

BINS = 15
CALIBRATION = ("ece", "brier", "nll", "confidence_mean", "overconfidence")
DIVERGENCE = ("kl", "js", "margin_change", "logit_spearman")


def with_log_odds(predictions: pd.DataFrame) -> pd.DataFrame:
    """The rows that have logits, with `log_odds`, the log of P(True) / P(False).

    logits: a list of two numbers (z_True - z_False is the log-odds) or of one. Rows whose logits
    were not kept are left out: shipped records keep them for levels at the stage that is judged.

    Raises RecordError without logits at all, or with another number of them.
    """
    if "logits" not in predictions.columns:
        raise RecordError("predictions have no column 'logits': read them from a record")
    kept = predictions[predictions["logits"].notna()]
    if kept.empty:
        raise RecordError("no logits were kept for these records: choose the stage that is judged")
    sizes = kept["logits"].map(len)
    if sizes.max() > 2 or sizes.min() < 1:
        odd = sizes[(sizes > 2) | (sizes < 1)].iloc[0]
        raise RecordError(f"a decision has {odd} logits, and True or False needs one or two")
    flat = np.concatenate(kept["logits"].to_numpy()).astype(np.float64)
    last = np.cumsum(sizes.to_numpy()) - 1
    # With one logit the other side is 0.
    first = np.where(sizes.to_numpy() == 2, flat[last - 1], 0.0)
    return kept.drop(columns="logits").assign(log_odds=flat[last] - first)


def probability(log_odds: Floats) -> Floats:
    """P(True) = 1 / (1 + exp(-z)).

    >>> probability(np.array([0.0, np.log(3)])).round(3).tolist()
    [0.5, 0.75]
    """
    return np.asarray(special.expit(log_odds), dtype=np.float64)


# -- one model against the labels -----------------------------------------------------------------
def expected_calibration_error(confidence: Floats, right: Bools, *, bins: int = BINS) -> float:
    """ECE: how far confidence and accuracy are apart, over bins of confidence (Guo et al. 2017).

    confidence: probability of each given answer; right: whether it is right.
    ECE = sum over bins of (n_b / n) |accuracy_b - confidence_b|, with `bins` bins of equal width on
    (0, 1], of which answers to one of two can only fill those from 1/2 up. It does not know skill:
    a coin that says 1/2 has ECE 0. Each bin's noise counts as error, the more the fewer decisions.

    Two of three answers at 0.9 are right, and one at 0.6 is wrong:

    >>> confidence, right = np.array([0.9, 0.9, 0.9, 0.6]), np.array([True, True, False, False])
    >>> round(expected_calibration_error(confidence, right), 4)  # 3/4 |2/3 - 0.9| + 1/4 |0 - 0.6|
    0.325
    """
    gaps = np.bincount(_bin(confidence, bins), weights=right - confidence, minlength=bins)
    return float(abs(gaps).sum() / len(right))


def _bin(confidence: Floats, bins: int) -> Ints:
    """The bin of each confidence: `bins` of equal width on (0, 1], each with its upper end."""
    return np.asarray(np.clip(np.ceil(confidence * bins) - 1, 0, bins - 1), dtype=np.int64)


def _given(part: pd.DataFrame) -> tuple[Floats, Bools]:
    """The probability of each given answer, and whether it is right.

    The answer is the one that was given: rounded logits may tie, and 1/2 says neither.
    """
    z, answer = part["log_odds"].to_numpy(), part["prediction"].to_numpy()
    return probability(np.where(answer == 1, z, -z)), answer == part["label"].to_numpy()


def calibration(predictions: pd.DataFrame, *, bins: int = BINS) -> pd.DataFrame:
    """How right each record's probabilities are, over all its decisions (findings pooled).

        ece               expected calibration error (:func:`expected_calibration_error`)
        brier             mean of (P(True) - label)^2 (Brier 1950; half his sum over both classes)
        nll               mean of -log P(label), nats
        confidence_mean   mean probability of the given answer
        overconfidence    confidence_mean - accuracy

    Returns run, level, branch, stage, decisions and these, for records with logits.
    Raises RecordError as :func:`with_log_odds` does.
    """
    rows = []
    for key, part in with_log_odds(predictions).groupby(RECORD, sort=True):
        z, y = part["log_odds"].to_numpy(), part["label"].to_numpy()
        confidence, right = _given(part)
        error = expected_calibration_error(confidence, right, bins=bins)
        brier = np.mean((probability(z) - y) ** 2)
        nll = np.mean(np.logaddexp(0, np.where(y == 1, -z, z)))
        mean = confidence.mean()
        rows.append((*key, len(part), error, brier, nll, mean, mean - right.mean()))
    return pd.DataFrame(rows, columns=[*RECORD, "decisions", *CALIBRATION])


def reliability(predictions: pd.DataFrame, *, bins: int = BINS) -> pd.DataFrame:
    """The bins behind the calibration error: a reliability diagram (DeGroot and Fienberg 1983).

    Returns run, level, branch, stage, bin, decisions, confidence (mean probability of the given
    answers), accuracy: a row for each bin of each record that holds a decision. The decisions'
    weighted mean of |accuracy - confidence| is `ece` of :func:`calibration`.
    Raises RecordError as :func:`with_log_odds` does.
    """
    frame = with_log_odds(predictions)
    confidence, right = _given(frame)
    binned = frame[RECORD].assign(
        bin=_bin(confidence, bins), confidence=confidence, accuracy=right.astype(float)
    )
    return binned.groupby([*RECORD, "bin"], as_index=False).agg(
        decisions=("accuracy", "size"),
        confidence=("confidence", "mean"),
        accuracy=("accuracy", "mean"),
    )


# -- pruned against dense -------------------------------------------------------------------------
def divergence(predictions: pd.DataFrame) -> pd.DataFrame:
    """How far each record's probabilities are from those of the dense model of its run.

        kl              mean over decisions of KL(p_dense || p_pruned), nats
        js              mean Jensen-Shannon divergence (Lin 1991), nats; at most log 2
        margin_change   mean of (pruned minus dense) log-odds for the answer that dense gives:
                        negative where pruning weakens dense's answers
        logit_spearman  rank correlation of the log-odds over decisions; with several findings the
                        mean over those where both models vary, for pooled it would only repeat how
                        often each finding is True

    Returns run, level, branch, stage, decisions, these, and flags; logit_spearman is <NA> where a
    model gives every decision the same logit. Raises RecordError as :func:`with_log_odds` does, and
    for a run without a dense record.
    """
    frame = with_log_odds(predictions)
    is_dense = (frame["level"] == DENSE_LEVEL) & (frame["branch"] == "main")
    dense = frame.loc[is_dense, ["run", *CASE, "log_odds"]]
    return _against(frame[frame["level"] != DENSE_LEVEL], dense, ["run"])


def divergence_floor(predictions: pd.DataFrame) -> pd.DataFrame:
    """:func:`divergence` between dense models of different seeds, one number a run.

    Returns run, kl, js, margin_change, logit_spearman, pseudo-values of means over pairs either way
    round (see :func:`lthlib.report.statistics.pair_values`); no rows with one seed. Raises
    RecordError where two dense models answer different items.
    """
    dense = with_log_odds(predictions[predictions["level"] == DENSE_LEVEL])
    runs = sorted(dense["run"].unique())
    parts = []
    for run in runs:
        reference = dense.loc[dense["run"] == run, [*CASE, "log_odds"]]
        others = dense[dense["run"] != run]
        if len(others):
            found = _against(others, reference, [])
            parts.append(found.rename(columns={"run": "run_b"}).assign(run_a=run))
    if not parts:
        return pd.DataFrame(columns=["run", *DIVERGENCE])
    pairs = pd.concat(parts, ignore_index=True)
    values = [pair_values(pairs, name).set_index("run") for name in DIVERGENCE]
    return pd.concat(values, axis=1).reset_index()


def _against(frame: pd.DataFrame, dense: pd.DataFrame, also: list[str]) -> pd.DataFrame:
    """Each record of a frame against dense log-odds, which are found by item, decision and `also`.

    dense: also, item, decision, log_odds.
    """
    named = dense.rename(columns={"log_odds": "dense"})
    joined = frame.merge(named, on=[*also, *CASE], how="left", validate="many_to_one")
    if joined["dense"].isna().any():
        run = joined.loc[joined["dense"].isna(), "run"].iloc[0]
        raise RecordError(f"run {run} has decisions without dense logits: record the run again")
    d, m = (joined[name].to_numpy() for name in ("dense", "log_odds"))
    joined = joined.assign(kl=_kl(d, m), js=_js(d, m), margin_change=np.where(d > 0, m - d, d - m))
    records = joined.groupby(RECORD, sort=True)
    sums = records[["kl", "js", "margin_change"]].mean()
    ranks = [_spearman(part) for _, part in records]
    table = records.size().rename("decisions").to_frame().join(sums).reset_index()
    table["logit_spearman"] = pd.array(ranks, dtype="Float64")
    constant = table["logit_spearman"].isna()
    return table.assign(flags=np.where(constant, "a model's logits do not vary: no Spearman", ""))


def _kl(dense: Floats, pruned: Floats) -> Floats:
    """KL of two answers with these log-odds, from log-probabilities, which never overflow."""
    p = probability(dense)
    true = np.logaddexp(0, -pruned) - np.logaddexp(0, -dense)
    false = np.logaddexp(0, pruned) - np.logaddexp(0, dense)
    return np.asarray(p * true + (1 - p) * false, dtype=np.float64)


def _js(dense: Floats, pruned: Floats) -> Floats:
    p, q = probability(dense), probability(pruned)
    middle = (p + q) / 2
    return np.asarray(_entropy(middle) - (_entropy(p) + _entropy(q)) / 2, dtype=np.float64)


def _entropy(p: Floats) -> Floats:
    return np.asarray(stats.entropy(np.stack([p, 1 - p])), dtype=np.float64)


def _spearman(part: pd.DataFrame) -> float | None:
    found = [
        float(stats.spearmanr(own["dense"], own["log_odds"]).statistic)
        for _, own in part.groupby("decision")
        if np.ptp(own["dense"]) > 0 and np.ptp(own["log_odds"]) > 0
    ]
    return float(np.mean(found)) if found else None
