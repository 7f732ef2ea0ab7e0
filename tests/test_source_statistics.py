"""The source's tests give what other code gives, and refuse what has no answer."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pandas as pd
import pingouin
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lthlib.errors import RecordError
from lthlib.report.source import significance as tests

numbers = st.floats(0, 1, allow_nan=False).map(lambda x: round(x, 6))
pairs = st.lists(st.tuples(numbers, numbers), min_size=3, max_size=10)


@given(pairs)
def test_students_test_is_scipys(values: list[tuple[float, float]]) -> None:
    a, b = zip(*values, strict=True)
    found = tests.student_t(a, b)
    if max(np.ptp(a), np.ptp(b)) < tests.SPREAD:
        assert found.p is None
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = stats.ttest_ind(a, b)
    assert found.p == pytest.approx(expected.pvalue, abs=1e-9)


def test_students_test_by_hand() -> None:
    # Means 2 and 3, variances 1 and 1: t = -1 / sqrt(2/3), 4 degrees of freedom.
    found = tests.student_t([1, 2, 3], [2, 3, 4])
    assert found.statistic == pytest.approx(-1 / np.sqrt(2 / 3))
    assert found.p == pytest.approx(2 * stats.t.sf(np.sqrt(1.5), 4))


def test_the_source_had_the_p_of_a_constant_against_a_spread() -> None:
    """One side without spread is a test; two are not, though the source prints p = 1."""
    constant = [477 / 1012] * 4
    assert tests.student_t([0.5, 0.52, 0.54, 0.55], constant).p is not None
    assert tests.student_t(constant, constant).text == "no test: no spread between seeds"
    assert tests.student_t([0.5] * 4, constant).text == "no test: no spread between seeds"


@given(pairs)
def test_the_paired_test_is_pingouins(values: list[tuple[float, float]]) -> None:
    a, b = (np.asarray(side) for side in zip(*values, strict=True))
    found = tests.paired_t(a.tolist(), b.tolist())
    assert found.statistic == pytest.approx((a - b).mean())
    if np.ptp(a - b) < 1e-5:
        return
    expected = pingouin.ttest(a, b, paired=True)
    assert found.p == pytest.approx(float(expected["p_val"].iloc[0]), abs=1e-6)
    assert found.low is not None and found.high is not None
    assert found.low <= found.statistic <= found.high


@pytest.mark.parametrize("test", [tests.student_t, tests.paired_t])
@pytest.mark.parametrize(
    ("a", "b", "why"),
    [
        ([], [], "0 seeds"),
        ([0.5], [0.6], "1 seed"),
        ([0.5, 0.6], [0.6, 0.4], "2 seeds"),
        ([0.5, 0.6, float("nan")], [0.6, 0.4, 0.3], "not defined for 1 of 3 seeds"),
    ],
)
def test_too_little_is_refused_in_words(test, a, b, why: str) -> None:  # type: ignore[no-untyped-def]
    found = test(a, b)
    assert found.p is None
    assert found.text == f"no test: {why}" == found.holm_text


def test_equal_differences_keep_their_mean_and_get_no_p() -> None:
    found = tests.paired_t([0.5, 0.6, 0.7], [0.4, 0.5, 0.6])
    assert found.p is None and found.statistic == pytest.approx(0.1)
    assert "all differences are equal" in found.text


def test_samples_of_different_seeds_are_an_error() -> None:
    with pytest.raises(RecordError, match="two samples of the same seeds"):
        tests.paired_t([0.1, 0.2, 0.3], [0.1, 0.2])


def signed_rank_by_hand(change: np.ndarray) -> float:
    """Exact two-sided p with Pratt's zeros, by going through all signs."""
    ranks = stats.rankdata(np.abs(change))
    ranks[change == 0] = 0
    seen = min(ranks[change > 0].sum(), ranks[change < 0].sum())
    moving = ranks[change != 0]
    sums = [
        sum(r for r, up in zip(moving, signs, strict=True) if up)
        for signs in itertools.product([False, True], repeat=len(moving))
    ]
    least = np.minimum(sums, moving.sum() - np.asarray(sums))
    return float((least <= seen + 1e-9).mean())


@pytest.mark.parametrize(
    "change",
    [
        [1, 2, 3, 4, 5, 6],
        [1, -2, 3, 4, -5, 6, 7],
        [0, 0, 1, 2, -1, 3],
        [2, 2, 2, -2, 1, 1, 0],
    ],
)
def test_the_exact_signed_rank_test_goes_through_all_signs(change: list[float]) -> None:
    found = tests.wilcoxon(change, [0.0] * len(change), exact=True)
    assert found.p == pytest.approx(signed_rank_by_hand(np.asarray(change, dtype=float)))


def test_models_that_are_equal_in_each_run_get_one_p() -> None:
    """Unlike in the source's Table 6, where ties were broken somehow."""
    dense = [0.52, 0.53, 0.5, 0.54, 0.51, 0.55, 0.49, 0.52, 0.53, 0.5]
    levels = {0: dense, **{level: [477 / 1012] * 10 for level in (3, 4, 5, 6)}}
    ranks = tests.ranks_within_seed(pd.DataFrame(levels))
    found = {tests.wilcoxon(ranks[k].tolist(), ranks[0].tolist(), exact=False).p for k in (3, 4, 5)}
    assert len(found) == 1
    assert ranks[3].tolist() == [2.5] * 10
    same = tests.wilcoxon(ranks[3].tolist(), ranks[4].tolist(), exact=False)
    assert same.text == "no test: the two samples are equal"


def test_pearson_refuses_constants_and_few_points() -> None:
    assert tests.pearson([1, 2, 3], [1, 2, 4]).text == "no test: 3 levels"
    assert tests.pearson([1, 1, 1, 1], [1, 2, 4, 3]).text == "no test: a column is constant"
    broken = tests.pearson([1, 2, 3, float("nan")], [1, 2, 4, 3])
    assert broken.text == "no test: a level is not defined"


def test_partial_correlation_by_its_formula() -> None:
    draw = np.random.default_rng(3)
    x, y, z = draw.normal(size=(3, 8))
    r = np.corrcoef([x, y, z])
    expected = (r[0, 1] - r[0, 2] * r[1, 2]) / np.sqrt((1 - r[0, 2] ** 2) * (1 - r[1, 2] ** 2))
    found = tests.partial_pearson(x, y, z)
    assert found.statistic == pytest.approx(expected)
    assert tests.partial_pearson(x, y, x).p is None
    assert tests.partial_pearson(x, y, np.ones(8)).text == "no test: a column is constant"


def test_holm_by_hand_and_without_tests_not_made() -> None:
    outcomes = [tests.Outcome(p) for p in (0.01, 0.04, 0.03)]
    assert [o.p_holm for o in tests.holm(outcomes)] == pytest.approx([0.03, 0.06, 0.06])
    refused = tests.Outcome(None, why="no test: 2 seeds")
    assert [o.p_holm for o in tests.holm([refused, tests.Outcome(0.04)])] == [None, 0.04]
    assert tests.holm([refused]) == [refused]
