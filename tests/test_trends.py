"""Trends and correlations against scipy, pingouin, statsmodels, and arithmetic traps."""

from __future__ import annotations

import warnings

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
