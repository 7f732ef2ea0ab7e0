"""Probabilities: against scikit-learn and scipy, by hand, and with planted faults."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import expit, rel_entr
from sklearn.metrics import brier_score_loss, log_loss

from lthlib.errors import RecordError
from lthlib.report.answers import calibration
from lthlib.report.answers import kept as answers
from synthetic import one_record


def record(
    label: np.ndarray, log_odds: np.ndarray, *, two: bool = True, **more: object
) -> pd.DataFrame:
    """A record with these log-odds, as two logits or as one."""
    frame = one_record(label, (np.asarray(log_odds) > 0).astype(int), **more)  # type: ignore[arg-type]
    logits = [[1.0, 1.0 + z] if two else [z] for z in log_odds]
    return frame.assign(logits=logits)


def some(seed: int, n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    label = draw.integers(2, size=n)
    return label, draw.normal(2 * (2 * label - 1), 2)


@pytest.mark.parametrize("two", [True, False])
def test_log_odds_of_two_logits_and_of_one(two: bool) -> None:
    label, z = some(0, 20)
    frame = calibration.with_log_odds(record(label, z, two=two))
    assert frame["log_odds"].to_numpy() == pytest.approx(z)


def test_logits_that_were_not_kept_are_left_out_and_odd_ones_refused() -> None:
    label, z = some(0, 4)
    frame = record(label, z)
    kept = frame.copy()
    kept.loc[0, "logits"] = None
    assert len(calibration.with_log_odds(kept)) == 3
    with pytest.raises(RecordError, match="no logits were kept"):
        calibration.with_log_odds(frame.assign(logits=None))
    with pytest.raises(RecordError, match="no column 'logits'"):
        calibration.with_log_odds(frame.drop(columns="logits"))
    frame["logits"] = [[1.0], [1.0, 2.0, 3.0], [1.0], [1.0]]
    with pytest.raises(RecordError, match="a decision has 3 logits"):
        calibration.with_log_odds(frame)


def test_brier_and_log_loss_are_those_of_scikit_learn() -> None:
    label, z = some(1)
    row = calibration.calibration(record(label, z)).iloc[0]
    assert row["brier"] == pytest.approx(brier_score_loss(label, expit(z)))
    assert row["nll"] == pytest.approx(log_loss(label, expit(z)))


def test_ece_bin_by_bin() -> None:
    label, z = some(2)
    p = expit(z)
    confidence, right = np.maximum(p, 1 - p), (p > 0.5) == (label == 1)
    expected, edges = 0.0, np.linspace(0, 1, 16)
    for low, high in pairwise(edges):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            gap = abs(right[inside].mean() - confidence[inside].mean())
            expected += inside.mean() * gap
    row = calibration.calibration(record(label, z)).iloc[0]
    assert row["ece"] == pytest.approx(expected)
    assert row["overconfidence"] == pytest.approx(confidence.mean() - right.mean())


def test_reliability_holds_the_bins_behind_the_calibration_error() -> None:
    label, z = some(2)
    frame = pd.concat([record(label, z), record(label, 3 * z, level=1)])
    bins = calibration.reliability(frame)
    gap = bins["decisions"] * (bins["accuracy"] - bins["confidence"]).abs()
    ece = gap.groupby(bins["level"]).sum() / len(label)
    assert ece.to_numpy() == pytest.approx(calibration.calibration(frame)["ece"].to_numpy())
    assert bins.groupby("level")["decisions"].sum().tolist() == [len(label)] * 2
    upper = (bins["bin"] + 1) / calibration.BINS
    assert (bins["confidence"] <= upper + 1e-12).all()
    assert (bins["confidence"] > upper - 1 / calibration.BINS - 1e-12).all()


def test_reliability_by_hand() -> None:
    # Sure by 3/4 four times and right three times; sure by 0.99 once, and wrong.
    z = [np.log(3)] * 4 + [np.log(99)]
    bins = calibration.reliability(record(np.array([1, 1, 1, 0, 0]), np.array(z)))
    assert bins["decisions"].tolist() == [4, 1]
    assert bins["accuracy"].tolist() == [0.75, 0.0]
    assert bins["confidence"].tolist() == pytest.approx([0.75, 0.99])


def test_ece_finds_planted_overconfidence_and_passes_an_honest_model() -> None:
    draw = np.random.default_rng(3)
    z = draw.normal(0, 2, 40_000)
    label = (draw.random(40_000) < expit(z)).astype(int)
    honest, bold = (calibration.calibration(record(label, k * z)).iloc[0] for k in (1, 3))
    assert honest["ece"] < 0.01
    assert bold["ece"] > 0.08 and bold["overconfidence"] == pytest.approx(bold["ece"], abs=0.01)


def test_a_coin_is_perfectly_calibrated() -> None:
    label = np.array([0, 1] * 50)
    row = calibration.calibration(record(label, np.zeros(100))).iloc[0]
    assert (row["ece"], row["brier"]) == (0, 0.25)
    assert row["nll"] == pytest.approx(np.log(2))


def test_an_answer_counts_as_it_was_given_where_rounded_logits_tie() -> None:
    frame = record(np.array([1, 1]), np.zeros(2)).assign(prediction=[1, 0])
    row = calibration.calibration(frame).iloc[0]
    assert row["confidence_mean"] == 0.5 and row["overconfidence"] == 0


def test_enormous_logits_stay_finite() -> None:
    label = np.array([0, 1, 0])
    frame = pd.concat([record(label, [900, 900, -900]), record(label, [-900, 900, 900], level=1)])
    assert np.isfinite(calibration.calibration(frame)["nll"]).all()
    row = calibration.divergence(frame).iloc[0]
    assert row["kl"] == pytest.approx(2 * 900 / 3) and row["js"] == pytest.approx(2 * np.log(2) / 3)


def test_divergences_are_those_of_scipy() -> None:
    label, d = some(4)
    _, m = some(5)
    row = calibration.divergence(pd.concat([record(label, d), record(label, m, level=1)])).iloc[0]
    p, q = (np.stack([expit(z), expit(-z)]) for z in (d, m))
    assert row["kl"] == pytest.approx(rel_entr(p, q).sum(axis=0).mean())
    middle = (p + q) / 2
    js = (rel_entr(p, middle) + rel_entr(q, middle)).sum(axis=0).mean() / 2
    assert row["js"] == pytest.approx(js)
    assert row["logit_spearman"] == pytest.approx(stats.spearmanr(d, m).statistic)
    assert row["margin_change"] == pytest.approx(np.mean(np.sign(d) * (m - d)))


def test_a_copy_is_nowhere_and_a_weaker_copy_loses_margin_only() -> None:
    label, d = some(6)
    frame = pd.concat([record(label, d), record(label, d, level=1), record(label, d / 2, level=2)])
    copy, weaker = (row for _, row in calibration.divergence(frame).iterrows())
    assert copy[["kl", "js", "margin_change"]].tolist() == pytest.approx([0, 0, 0], abs=1e-12)
    assert weaker["margin_change"] == pytest.approx(-abs(d).mean() / 2)
    assert weaker["logit_spearman"] == pytest.approx(1)


def test_spearman_of_several_findings_is_their_mean_and_needs_spread() -> None:
    names = ("often", "never")
    z = np.array([3.0, -5, 4, -6, 5, -7])
    up = np.array([1.0, -3, 2, -2, 3, -1])  # rises for one finding as dense does, falls never
    label = np.zeros(6, int)
    dense = record(label, z, two=False, decisions=names)
    frame = pd.concat([dense, record(label, up, two=False, decisions=names, level=1)])
    row = calibration.divergence(frame).iloc[0]
    assert row["logit_spearman"] == pytest.approx((1 - 1) / 2)
    flat = pd.concat([dense, record(label, 0 * z, two=False, decisions=names, level=1)])
    row = calibration.divergence(flat).iloc[0]
    assert pd.isna(row["logit_spearman"]) and "do not vary" in row["flags"]


def test_shuffled_probabilities_are_the_mean_over_all_pairs() -> None:
    label, d = some(7, 400)
    _, m = some(8, 400)
    frame = pd.concat([record(label, d), record(label, m, level=1)], ignore_index=True)
    found = [
        calibration.divergence(answers.shuffled(frame, seed=s))["kl"].iloc[0] for s in range(20)
    ]
    p, q = expit(d), expit(m)
    cross = -p.mean() * np.log(q).mean() - (1 - p).mean() * np.log(1 - q).mean()
    entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p)).mean()
    assert np.mean(found) == pytest.approx(cross - entropy, rel=0.03)


def test_the_floor_is_the_mean_over_other_seeds() -> None:
    label, first = some(9, 50)
    runs = {"s0": first, "s1": -first, "s2": first}
    dense = pd.concat(record(label, z, run=run) for run, z in runs.items())
    floor = calibration.divergence_floor(dense).set_index("run")
    assert floor["logit_spearman"].mean() == pytest.approx((-1 - 1 + 1) / 3)
    two = calibration.divergence_floor(dense[dense["run"] != "s2"]).set_index("run")
    pair = pd.concat([record(label, first), record(label, -first, level=1)])
    turned = pd.concat([record(label, -first), record(label, first, level=1)])
    either = [calibration.divergence(way)["kl"][0] for way in (pair, turned)]
    assert two["kl"].tolist() == pytest.approx([np.mean(either)] * 2)
    assert calibration.divergence_floor(dense[dense["run"] == "s0"]).empty


def test_the_floor_of_kl_is_jackknifed() -> None:
    """Pairs share models; KL is not symmetric, so each pair counts either way round."""
    draw = np.random.default_rng(3)
    label, runs = draw.integers(0, 2, 60), [f"s{i}" for i in range(4)]
    logits = {run: draw.normal(0, 2, 60) for run in runs}
    dense = pd.concat(record(label, z, run=run) for run, z in logits.items())
    floor = calibration.divergence_floor(dense).set_index("run")["kl"]

    def mean(chosen: list[str]) -> float:
        kl = [
            (
                expit(a) * np.log(expit(a) / expit(b)) + expit(-a) * np.log(expit(-a) / expit(-b))
            ).mean()
            for a, b in ((logits[i], logits[j]) for i in chosen for j in chosen if i != j)
        ]
        return float(np.mean(kl))

    values = [4 * mean(runs) - 3 * mean([r for r in runs if r != left]) for left in runs]
    assert floor.loc[runs].tolist() == pytest.approx(values, abs=1e-4)


def test_missing_dense_logits_are_named() -> None:
    label, z = some(10, 5)
    with pytest.raises(RecordError, match="run r has decisions without dense logits"):
        calibration.divergence(record(label, z, level=1))
