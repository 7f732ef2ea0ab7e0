"""Intervals and paired tests against hand-computed numbers, scipy, and simulated coverage."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lthlib.errors import RecordError
from lthlib.report.statistics import (
    paired_differences,
    proportion_interval,
    require_complete,
    seed_summary,
    t_interval,
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


# -- paired differences ---------------------------------------------------------------------------
def test_paired_differences_are_scipys() -> None:
    table = paired_differences(seeds(LADDER), "accuracy").set_index("level")
    for level in (1, 2):
        theirs = stats.ttest_rel(LADDER[level], LADDER[0])
        row = table.loc[level]
        assert row["t"] == pytest.approx(theirs.statistic)
        assert row["p"] == pytest.approx(theirs.pvalue)
        ends = theirs.confidence_interval(0.95)
        assert (row["low"], row["high"]) == pytest.approx((ends.low, ends.high))
        assert row["difference"] == pytest.approx(np.mean(LADDER[level]) - 0.92)
    smaller, larger = sorted(table["p"])
    assert sorted(table["p_holm"]) == pytest.approx([min(1, 2 * smaller), max(2 * smaller, larger)])


def test_holm_takes_each_group_as_one_family() -> None:
    alone = paired_differences(seeds(LADDER), "accuracy")
    other = {0: [0.6, 0.7], 1: [0.5, 0.65]}
    both = pd.concat([seeds(LADDER), seeds(other, model="lxmert")], ignore_index=True)
    grouped = paired_differences(both, "accuracy", groups=["model"])
    mine = grouped[grouped["model"] == "uniter"]
    assert mine["p_holm"].tolist() == pytest.approx(alone["p_holm"].tolist())
    single = grouped[grouped["model"] == "lxmert"].iloc[0]
    assert single["p_holm"] == single["p"]


@pytest.mark.parametrize(
    ("pruned", "flag", "difference"),
    [
        ([0.90, 0.92, 0.94], "no spread between seeds: no test", 0.0),
        ([0.85, 0.87, 0.89], "no spread between seeds: no test", -0.05),
        ([0.85, None, 0.89], "not defined for 1 of 3 seeds: no test", None),
    ],
)
def test_degenerate_pairs_get_no_p(
    pruned: list[float], flag: str, difference: float | None
) -> None:
    row = paired_differences(seeds({0: LADDER[0], 1: pruned}), "accuracy").iloc[0]
    assert row["flags"] == flag
    assert pd.isna(row["p"])
    assert pd.isna(row["p_holm"])
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
