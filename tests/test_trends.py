"""Trends and correlations against scipy, pingouin, statsmodels, and arithmetic traps."""

from __future__ import annotations

import warnings
from itertools import permutations, product

import numpy as np
import pandas as pd
import pingouin
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from scipy import stats

from lthlib.report.judgement.trends import (
    correlations,
    correlations_table,
    fisher_interval,
    over_levels,
    page_test,
    trends,
    trends_table,
    within_seeds,
)
from scored import SPARSITY, ladder, scored

LEVELS = range(1, 7)


def study(seeds: int = 5, seed: int = 0, slope: float = -0.3) -> pd.DataFrame:
    """Accuracy, fidelity and share of True answers with noise of their own."""
    draw = np.random.default_rng(seed)
    own = draw.normal(0, 0.02, seeds)
    accuracy = {k: 0.95 + slope * SPARSITY[k] + own + draw.normal(0, 0.01, seeds) for k in LEVELS}
    share = {k: 0.5 + draw.normal(0, 0.03, seeds) for k in LEVELS}
    fidelity = {k: accuracy[k] / 2 + 0.4 + draw.normal(0, 0.01, seeds) for k in LEVELS}
    dense = {0: np.full(seeds, 0.95)}
    return scored(
        {(k, "main"): v for k, v in (dense | accuracy).items()},
        fidelity=dense | fidelity,
        share=dense | share,
    )


SCORED = study()
PRUNED = SCORED[SCORED["level"] > 0].astype({"accuracy": float, "fidelity": float})


# -- trends ---------------------------------------------------------------------------------------
def test_page_is_scipys_on_falling_sparsity() -> None:
    wide = PRUNED.pivot_table("accuracy", "run", "level")[[6, 5, 4, 3, 2, 1]]
    theirs = stats.page_trend_test(wide.to_numpy())
    row = trends(SCORED).set_index("measure").loc["accuracy"]
    assert (row["L"], row["p_trend"]) == pytest.approx((theirs.statistic, theirs.pvalue))


def test_a_rise_is_no_fall() -> None:
    rising = trends(study(slope=0.05)).set_index("measure").loc["accuracy"]
    assert rising["p_trend"] > 0.9
    assert trends(SCORED)["p_trend"].max() < 1e-4


def test_the_slope_is_that_of_a_mixed_model() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mixed = smf.mixedlm("accuracy ~ sparsity", PRUNED, groups=PRUNED["run"]).fit()
    row = trends(SCORED).set_index("measure").loc["accuracy"]
    assert row["slope"] == pytest.approx(mixed.params["sparsity"], rel=1e-6)
    assert row["slope_low"] < -0.3 < row["slope_high"]


def test_levels_at_chance_have_no_say_in_a_trend() -> None:
    """A slope through a collapse says how many dead levels the ladder has."""
    frame = SCORED.copy()
    dead = frame["level"] >= 5
    frame.loc[dead, ["accuracy", "fidelity", "beats"]] = [0.5, 0.5, False]
    kept = frame[~dead]
    pd.testing.assert_frame_equal(trends(frame), trends(kept))
    assert trends(frame)["levels"].tolist() == [4, 4]
    frame.loc[frame["level"] >= 3, "beats"] = False
    refused = trends(frame)
    assert refused["p_trend"].isna().all()
    assert refused["note"].iloc[0] == "2 of 6 levels beat the trivial rule: too few for a trend"


def test_the_branches_and_dense_have_no_say() -> None:
    frame = ladder()
    wild = frame.copy()
    others = (wild["branch"] != "main") | (wild["level"] == 0)
    wild.loc[others, "accuracy"] = 0.123
    pd.testing.assert_frame_equal(trends(wild), trends(frame))


# -- correlations ---------------------------------------------------------------------------------
def test_within_seeds_is_pingouins_repeated_measures_correlation() -> None:
    theirs = pingouin.rm_corr(PRUNED, x="accuracy", y="fidelity", subject="run").iloc[0]
    found = within_seeds(PRUNED, "accuracy", "fidelity")
    assert (found.r, found.p) == pytest.approx((theirs["r"], theirs["pval"]))
    assert found.dof == theirs["dof"]
    assert (found.low, found.high) == pytest.approx(tuple(theirs["CI95"]), abs=0.006)


def test_the_partial_one_is_a_regression_with_an_intercept_per_seed() -> None:
    seeds = pd.get_dummies(PRUNED["run"], dtype=float)
    model = sm.OLS(PRUNED["fidelity"], PRUNED[["accuracy", "positive_share"]].join(seeds)).fit()
    t = model.tvalues["accuracy"]
    found = within_seeds(PRUNED, "accuracy", "fidelity", ["positive_share"])
    assert found.dof == model.df_resid
    assert found.p == pytest.approx(model.pvalues["accuracy"])
    assert found.r == pytest.approx(t / np.sqrt(t**2 + model.df_resid))


def test_differences_between_seeds_are_no_correlation_within() -> None:
    """Planted fault: pooling the points would find what only seeds differ in."""
    draw, own = np.random.default_rng(1), np.repeat(np.linspace(0, 1, 6), 6)
    frame = pd.DataFrame({"run": np.repeat(list("abcdef"), 6), "x": own, "y": own})
    frame[["x", "y"]] += draw.normal(0, 0.05, (36, 2))
    assert stats.pearsonr(frame["x"], frame["y"])[0] > 0.9
    found = within_seeds(frame, "x", "y")
    assert abs(found.r) < 0.4  # type: ignore[arg-type]
    assert found.p > 0.05  # type: ignore[operator]


def test_over_levels_is_pearson_of_six_means() -> None:
    means = PRUNED.groupby("level")[["accuracy", "fidelity", "positive_share"]].mean()
    r, p = stats.pearsonr(means["accuracy"], means["fidelity"])
    found = over_levels(PRUNED, "accuracy", "fidelity")
    assert (found.r, found.p) == pytest.approx((r, p))
    partial = pingouin.partial_corr(means, "accuracy", "fidelity", "positive_share").iloc[0]
    found = over_levels(PRUNED, "accuracy", "fidelity", ["positive_share"])
    assert (found.r, found.p) == pytest.approx((partial["r"], partial["p_val"]))


def test_a_label_blind_model_has_no_correlation_left() -> None:
    """Accuracy and fidelity both follow the share of True answers: r is 1 and says nothing."""
    share = np.linspace(0.7, 0.1, 6)
    frame = pd.DataFrame(
        {
            "run": np.repeat(list("abc"), 6),
            "level": np.tile(LEVELS, 3),
            "positive_share": np.concatenate([share, share[::-1], share * 0.8]),
        }
    )
    frame["accuracy"] = 0.47 + 0.06 * frame["positive_share"]
    frame["fidelity"] = 0.31 + 0.38 * frame["positive_share"]
    noise = np.random.default_rng(1).normal(0, 1e-3, (18, 2))
    noisy = frame.assign(
        accuracy=frame["accuracy"] + noise[:, 0], fidelity=frame["fidelity"] + noise[:, 1]
    )
    assert within_seeds(noisy, "accuracy", "fidelity").r > 0.95  # type: ignore[operator]
    partial = within_seeds(noisy, "accuracy", "fidelity", ["positive_share"])
    assert abs(partial.r) < 0.5  # type: ignore[arg-type]
    assert within_seeds(frame, "accuracy", "fidelity").note.startswith("the measures determine")


def test_same_skill_alone_gives_a_correlation_near_one() -> None:
    """Errors that dense has no part in, and r is near 1 all the same: it must stand beside r."""
    accuracy = {k: (0.9 - 0.05 * k + np.array([0, 0.004, 0.009])).tolist() for k in LEVELS}
    independent = {k: [0.97 * a + 0.03 * (1 - a) for a in v] for k, v in accuracy.items()}
    values = {(0, "main"): [0.97] * 3} | {(k, "main"): v for k, v in accuracy.items()}
    dense = {0: [0.97] * 3}
    noise = np.random.default_rng(0).normal(0, 0.002, (7, 3))
    skill = {k: (np.array(v) + noise[k]).tolist() for k, v in (dense | independent).items()}
    found = correlations(scored(values, skill=skill, fidelity=dense | accuracy))  # type: ignore[arg-type]
    assert found["r_skill"].iloc[0] > 0.99
    assert found["r_skill_published"].iloc[0] > 0.99
    exhibit = correlations_table(found)
    assert exhibit.table is not None
    assert exhibit.table["same skill (seeds)"].iloc[0] == "+1.00"
    assert "Same skill" in exhibit.caption


def test_the_dense_point_is_left_out() -> None:
    """Fidelity 1 and a high accuracy at level 0 would make a correlation of their own."""
    wild = SCORED.copy()
    wild.loc[wild["level"] == 0, ["accuracy", "fidelity"]] = [5.0, 9.0]
    pd.testing.assert_frame_equal(correlations(wild), correlations(SCORED))


def test_fisher_is_pingouins_and_the_methods() -> None:
    """Section B7 of this project's method: r = .959 of six points has [.67, 1.00]."""
    low, high = fisher_interval(0.54442, 4)
    assert (round(low, 2), round(high, 2)) == (-0.48, 0.94)
    x, y = np.random.default_rng(0).normal(size=(2, 12))
    theirs = pingouin.corr(x, y).iloc[0]
    assert fisher_interval(theirs["r"], 10) == pytest.approx(tuple(theirs["CI95"]), abs=0.006)


# -- refusals -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (study(seeds=1), "one seed: too few for a test"),
        (study(seeds=2), "2 seeds: too few for a test"),
        (SCORED.assign(fidelity=0.9, accuracy=0.5), "no test"),
        (SCORED.drop(index=SCORED.index[-1]), "has no accuracy at level 6: no test"),
    ],
)
def test_trends_refuse_in_words(frame: pd.DataFrame, words: str) -> None:
    found = trends(frame)
    assert found["p_trend"].isna().all()
    assert words in found["note"].iloc[0]
    table = trends_table(found).table
    assert table is not None
    assert words in table["p"].iloc[0]


def test_constant_columns_get_no_correlation() -> None:
    found = correlations(SCORED.assign(positive_share=0.5))
    plain, partial = found.iloc[0], found.iloc[1]
    assert pd.notna(plain["r"])
    assert partial[["r", "p_correlation", "r_published", "p_published"]].isna().all()
    assert partial["note"] == "positive_share does not vary within seeds: no test"
    table = correlations_table(found).table
    assert table is not None
    assert table["p (seeds)"].iloc[1] == partial["note"]


def test_few_seeds_keep_the_published_way_and_lose_ours() -> None:
    row = correlations(study(seeds=2)).iloc[0]
    assert pd.notna(row["p_published"])
    assert pd.isna(row["p_correlation"])
    assert row["note"] == "2 seeds: too few for a test"


def test_page_is_scipys_without_ties_and_a_permutation_test_with_them() -> None:
    draw = np.random.default_rng(0)
    values = draw.random((4, 5)) + 0.2 * np.arange(5)
    ours, theirs = page_test(values), stats.page_trend_test(values, method="exact")
    assert ours == pytest.approx((theirs.statistic, theirs.pvalue))
    tied = np.array([[0.5, 0.5, 0.5, 0.9], [0.5, 0.5, 0.8, 0.9], [0.5, 0.5, 0.5, 0.7]])
    weights = np.arange(1, 5)
    ranks = stats.rankdata(tied, axis=1)
    sums = [[np.dot(p, weights) for p in permutations(row)] for row in ranks]
    every = [sum(chosen) for chosen in product(*sums)]
    share = np.mean(np.array(every) >= (ranks @ weights).sum())
    assert page_test(tied)[1] == pytest.approx(share)
