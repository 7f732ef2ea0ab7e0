"""Intervals and paired tests against hand-computed numbers, scipy, and simulated coverage."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pingouin
import pytest
from scipy import stats

from lthlib.errors import RecordError
from lthlib.report.statistics import (
    coverage,
    detectable_difference,
    hedges_g_av,
    holm_rows,
    paired_differences,
    proportion_interval,
    require_complete,
    seed_summary,
    seeds_for_equivalence,
    sign_flip_p,
    sign_flip_rows,
    t_interval,
    wilcoxon_p,
    wilcoxon_rows,
)


def seeds(values: dict[int, list[float]], model: str = "uniter") -> pd.DataFrame:
    """One row per level and seed; values: accuracies of the seeds by level."""
    rows = [
        {"model": model, "run": f"{model}-s{seed}", "level": level, "branch": "main"}
        | {"stage": "trained", "accuracy": accuracy}
        for level, accuracies in values.items()
        for seed, accuracy in enumerate(accuracies)
    ]
    return pd.DataFrame(rows).astype({"accuracy": "Float64"})


LADDER = {0: [0.90, 0.92, 0.94], 1: [0.91, 0.92, 0.95], 2: [0.80, 0.83, 0.79]}


# -- intervals ------------------------------------------------------------------------------------
def test_t_interval_by_hand() -> None:
    """Mean .92, sd .02, t(2) = 4.302653: half width .0496829."""
    found = t_interval([0.90, 0.92, 0.94])
    assert found.low == pytest.approx(0.92 - 0.0496829, abs=1e-6)
    assert found.high == pytest.approx(0.92 + 0.0496829, abs=1e-6)
    assert found.kind == "95 % t interval over 3 seeds"


def test_t_interval_is_scipys() -> None:
    values = np.random.default_rng(0).normal(size=7)
    theirs = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    found = t_interval(values, level=0.9)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))
    assert found.kind.startswith("90 % t interval")


def test_t_interval_covers_as_it_claims_with_three_seeds() -> None:
    draws = np.random.default_rng(1).normal(size=(2000, 3))
    found = [t_interval(row) for row in draws]
    covered = np.mean([low < 0 < high for low, high, *_ in found])  # type: ignore[operator]
    assert 0.935 < covered < 0.965


def test_one_seed_has_no_interval_and_says_so() -> None:
    assert t_interval([0.9]) == (None, None, 1, "no interval: one seed")


@pytest.mark.parametrize("values", [[], [0.9, float("nan")], [0.9, float("inf")]])
def test_t_interval_refuses_what_is_no_number(values: list[float]) -> None:
    with pytest.raises(RecordError, match="t interval"):
        t_interval(values)


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (10, 10), (535, 1012), (1, 3)])
def test_proportion_interval_is_clopper_pearsons(successes: int, n: int) -> None:
    """By the beta quantiles that define it."""
    found = proportion_interval(successes, n)
    low = stats.beta.ppf(0.025, successes, n - successes + 1) if successes else 0.0
    high = stats.beta.ppf(0.975, successes + 1, n - successes) if successes < n else 1.0
    assert (found.low, found.high) == pytest.approx((low, high))


@pytest.mark.parametrize(("successes", "n"), [(1, 0), (-1, 10), (11, 10)])
def test_proportion_interval_refuses_impossible_counts(successes: int, n: int) -> None:
    with pytest.raises(RecordError, match="needs 0 <= successes <= n"):
        proportion_interval(successes, n)


# -- complete tables and summaries ----------------------------------------------------------------
def test_seed_summary_by_hand() -> None:
    table = seed_summary(seeds(LADDER), ["level"], "accuracy").set_index("level")
    assert table["mean"].tolist() == pytest.approx([0.92, 0.92 + 0.02 / 3, 0.80 + 0.02 / 3])
    assert table.loc[0, "low"] == pytest.approx(0.92 - 0.0496829, abs=1e-6)
    assert (table["n"] == 3).all()


def test_a_missing_seed_is_named() -> None:
    frame = seeds(LADDER)
    frame = frame.drop(index=frame.index[-1])
    with pytest.raises(RecordError, match=r"level 2, run uniter-s2 is missing"):
        seed_summary(frame, ["level"], "accuracy")


def test_a_seed_recorded_twice_is_named() -> None:
    frame = seeds(LADDER)
    doubled = pd.concat([frame, frame.iloc[[4]]])
    with pytest.raises(RecordError, match=r"level 1, run uniter-s1 is there 2 times"):
        require_complete(doubled, ["level"])


def test_groups_have_seeds_of_their_own() -> None:
    both = pd.concat([seeds(LADDER), seeds({0: [0.7, 0.8]}, model="lxmert")])
    table = seed_summary(both, ["level"], "accuracy", groups=["model"])
    assert table[["model", "level", "seeds"]].to_numpy().tolist() == [
        ["lxmert", 0, 2],
        ["uniter", 0, 3],
        ["uniter", 1, 3],
        ["uniter", 2, 3],
    ]


def test_an_undefined_value_is_left_out_and_counted() -> None:
    frame = seeds({0: [0.9, 0.8, 0.7], 1: [0.5, 0.5, 0.5]})
    frame.loc[frame["level"] == 1, "accuracy"] = pd.NA
    frame.loc[0, "accuracy"] = pd.NA
    table = seed_summary(frame, ["level"], "accuracy")
    assert table["mean"].iloc[0] == pytest.approx(0.75)
    assert table[["n", "seeds"]].to_numpy().tolist() == [[2, 3], [0, 3]]
    assert table["mean"].isna().tolist() == [False, True]
    assert table["interval"].tolist() == ["95 % t interval over 2 seeds", "not defined"]


def test_an_unknown_column_and_an_empty_table_are_named() -> None:
    with pytest.raises(RecordError, match="no column 'fidelity'"):
        seed_summary(seeds(LADDER), ["fidelity"], "accuracy")
    with pytest.raises(RecordError, match="is empty"):
        seed_summary(seeds(LADDER).iloc[:0], ["level"], "accuracy")


def test_coverage_by_hand_and_by_simulation() -> None:
    """Of the 27 draws of three from {0, 0, 3} those that hold the mean, 1, can be counted."""
    # Three equal values have no width: 8 + 1 draws miss. Two zeros and a three, 12 draws: 1 -+ 4.3;
    # a zero and two threes, 6 draws: 2 -+ 4.3. Both hold it.
    assert coverage([0.0, 0.0, 3.0], 3) == pytest.approx(18 / 27)
    draw = np.random.default_rng(0)
    normal = draw.normal(size=40)
    assert coverage(normal.tolist(), 3) > 0.9
    outlier = [0.716, 0.916, 0.942, 0.942, 0.942, 0.958, 0.960, 0.965, 0.969, 0.988]
    theirs = np.array([draw.choice(outlier, 5) for _ in range(4000)])
    reach = stats.t.ppf(0.975, 4) * stats.sem(theirs, axis=1)
    held = np.mean(np.abs(theirs.mean(axis=1) - np.mean(outlier)) <= reach)
    assert coverage(outlier, 5) == pytest.approx(held, abs=0.03)
    assert coverage(outlier, 5) < 0.75


# -- paired differences ---------------------------------------------------------------------------
def test_paired_differences_are_scipys() -> None:
    table = paired_differences(seeds(LADDER), "accuracy").set_index("level")
    for level in (1, 2):
        theirs = stats.ttest_rel(LADDER[level], LADDER[0])
        row = table.loc[level]
        ends = theirs.confidence_interval(0.95)
        assert (row["low"], row["high"]) == pytest.approx((ends.low, ends.high))
        assert row["difference"] == pytest.approx(np.mean(LADDER[level]) - 0.92)


def test_groups_are_paired_each_by_itself() -> None:
    alone = paired_differences(seeds(LADDER), "accuracy")
    other = {0: [0.6, 0.7, 0.8], 1: [0.5, 0.65, 0.7]}
    both = pd.concat([seeds(LADDER), seeds(other, model="lxmert")], ignore_index=True)
    grouped = paired_differences(both, "accuracy", groups=["model"])
    mine = grouped[grouped["model"] == "uniter"]
    assert mine["low"].tolist() == alone["low"].tolist()
    theirs = grouped.loc[grouped["model"] == "lxmert", "difference"]
    assert theirs.item() == pytest.approx(-0.25 / 3)


@pytest.mark.parametrize(
    ("pruned", "flag", "difference"),
    [
        ([0.90, 0.92, 0.94], "no spread between seeds: no test", 0.0),
        ([0.85, 0.87, 0.89], "no spread between seeds: no test", -0.05),
        ([0.85, None, 0.89], "not defined for 1 of 3 seeds: no test", None),
    ],
)
def test_degenerate_pairs_are_flagged(
    pruned: list[float], flag: str, difference: float | None
) -> None:
    row = paired_differences(seeds({0: LADDER[0], 1: pruned}), "accuracy").iloc[0]
    assert row["flags"] == flag
    if difference is None:
        assert pd.isna(row["difference"])
    else:
        assert row["difference"] == pytest.approx(difference)


def test_one_seed_gets_a_difference_and_no_test() -> None:
    row = paired_differences(seeds({0: [0.9], 1: [0.8]}), "accuracy").iloc[0]
    assert row["difference"] == pytest.approx(-0.1)
    assert pd.isna(row["low"])
    assert row["flags"] == "one seed: no interval and no test"


def test_without_dense_there_is_nothing_to_pair_with() -> None:
    frame = seeds(LADDER)
    with pytest.raises(RecordError, match="no dense row"):
        paired_differences(frame[frame["level"] > 0], "accuracy")


# -- what can be tested ---------------------------------------------------------------------------
@pytest.mark.parametrize("seeds_", [1, 2])
def test_too_few_seeds_are_flagged(seeds_: int) -> None:
    frame = seeds({0: [0.9, 0.7][:seeds_], 1: [0.8, 0.7][:seeds_]})
    row = paired_differences(frame, "accuracy").iloc[0]
    assert "seed" in row["flags"]


def test_pairing_is_by_run_and_not_by_row() -> None:
    """Planted fault: the same rows in another order must not pair other seeds."""
    frame = seeds(LADDER)
    shuffled = frame.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(
        paired_differences(shuffled, "accuracy"), paired_differences(frame, "accuracy")
    )
    swapped = frame.assign(accuracy=[*frame["accuracy"][:3], *frame["accuracy"][:2:-1]])
    other = paired_differences(swapped, "accuracy")["low"]
    assert not np.allclose(other.astype(float), paired_differences(frame, "accuracy")["low"])


# -- effects, exact tests, power ------------------------------------------------------------------
PAIRS = np.random.default_rng(3).normal([[0.02], [0.0]], 0.01, size=(2, 8))


def test_hedges_g_av_by_hand() -> None:
    """Cumming's average of the two variances, and the correction for 2 (n - 1) = 14 dof."""
    after, before = PAIRS
    spread = np.sqrt((after.var(ddof=1) + before.var(ddof=1)) / 2)
    expected = (after - before).mean() / spread * (1 - 3 / (4 * 14 - 1))
    assert hedges_g_av(after, before) == pytest.approx(expected)


def test_hedges_g_av_is_not_the_g_of_the_differences() -> None:
    after, before = PAIRS[0], PAIRS[0] - 0.02 + 1e-5 * np.arange(8)
    of_differences = (after - before).mean() / (after - before).std(ddof=1)
    assert of_differences > 100 * hedges_g_av(after, before)


def test_sign_flips_by_counting_them_out() -> None:
    change = PAIRS[0] - PAIRS[1]
    signs = np.array(list(itertools.product([-1, 1], repeat=8)))
    means = abs((signs * change).mean(axis=1))
    assert sign_flip_p(change) == pytest.approx(np.mean(means >= abs(change.mean()) - 1e-15))


def test_sign_flips_of_many_seeds_are_not_counted_out() -> None:
    assert sign_flip_p(np.arange(1.0, 14.0)) is None


@pytest.mark.parametrize("digits", [6, 0])
@pytest.mark.parametrize("seed", range(4))
def test_wilcoxon_is_scipys_exact_one_with_ties_and_zeros(digits: int, seed: int) -> None:
    change = np.round(np.random.default_rng(seed).normal(0.5, 1.2, 7), digits)
    exact = stats.PermutationMethod(n_resamples=np.inf)
    theirs = stats.wilcoxon(change, zero_method="pratt", method=exact).pvalue
    assert wilcoxon_p(change) == pytest.approx(theirs)


def test_wilcoxon_does_not_break_ties_by_rounding() -> None:
    """0.93 - 0.90 and 0.33 - 0.30 differ in their last bits and in nothing else."""
    raw = [0.93 - 0.90, 0.33 - 0.30, 0.30 - 0.33, 0.5, 0.7]
    assert wilcoxon_p(raw) == wilcoxon_p([0.03, 0.03, -0.03, 0.5, 0.7])


def test_detectable_difference_is_detected_four_times_in_five() -> None:
    size = detectable_difference(0.01, 6)
    draws = np.random.default_rng(0).normal(size, 0.01, size=(4000, 6))
    assert np.mean(stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05) == pytest.approx(
        0.8, abs=0.02
    )


@pytest.mark.parametrize("sd", [0.004, 0.008])
def test_seeds_for_equivalence_reach_their_power_and_one_less_does_not(sd: float) -> None:
    needed = seeds_for_equivalence(sd, 0.01)
    assert needed is not None

    def power(n: int) -> float:
        draws = np.random.default_rng(0).normal(0, sd, size=(20_000, n))
        reach = stats.t.ppf(0.95, n - 1) * draws.std(axis=1, ddof=1) / np.sqrt(n)
        return float(np.mean(abs(draws.mean(axis=1)) + reach < 0.01))

    assert power(needed) > 0.79
    assert power(needed - 1) < 0.81
    assert power(needed - 1) < power(needed)


def test_a_hopeless_spread_needs_more_seeds_than_there_are() -> None:
    assert seeds_for_equivalence(1.0, 0.01) is None


def test_rows_are_tested_as_each_alone() -> None:
    """Many tests at once give the numbers of scipy and pingouin for one, to the last bit."""
    draw = np.random.default_rng(3)
    for seeds in (3, 5, 10):
        rows = np.round(draw.normal(0.002, 0.01, size=(150, seeds)), 4)
        flips = [
            stats.permutation_test(
                (row,), np.mean, permutation_type="samples", vectorized=True, n_resamples=np.inf
            ).pvalue
            for row in rows
        ]
        assert sign_flip_rows(rows).tolist() == flips
        assert wilcoxon_rows(rows).tolist() == [wilcoxon_p(row) for row in rows]
    p = draw.random((40, 7))
    alone = [pingouin.multicomp(row, method="holm")[1].tolist() for row in p]
    assert holm_rows(p).tolist() == alone


def test_seeds_for_equivalence_are_found_in_steps() -> None:
    n = np.arange(3, 1001)
    for sd in (0.001, 0.01, 0.03, 0.06, 0.1, 0.2):
        beyond = stats.nct.sf(stats.t.ppf(0.95, n - 1), n - 1, 0.01 * np.sqrt(n) / sd)
        enough = n[2 * beyond - 1 >= 0.8]
        assert seeds_for_equivalence(sd, 0.01) == (int(enough[0]) if len(enough) else None)
