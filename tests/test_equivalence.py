"""Equivalence against pingouin, by hand, and in simulation: how often it is wrongly shown."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pingouin
import pytest
from scipy import stats

from lthlib.errors import RecordError
from lthlib.report.judgement.equivalence import (
    EQUIVALENT,
    INCONCLUSIVE,
    INFERIOR,
    SUPERIOR,
    smallest_margins,
    tost,
    verdict,
)
from lthlib.report.statistics import holm_rows

DIFFERENCES = [0.004, -0.006, 0.001, 0.003, -0.002]


def test_tost_is_pingouins() -> None:
    before = np.array([0.90, 0.93, 0.91, 0.95, 0.92])
    theirs = pingouin.tost(before + DIFFERENCES, before, bound=0.01, paired=True)
    assert tost(DIFFERENCES, 0.01).p == pytest.approx(float(theirs["pval"].iloc[0]), rel=1e-9)


def test_tost_by_hand() -> None:
    """Mean .01, sd .01, n 4, margin .02: both t are (.02 -+ .01) / .005 = 6 and 2, 3 dof."""
    found = tost([0.0, 0.02, 0.0, 0.02], 0.02)
    sd = np.std([0.0, 0.02, 0.0, 0.02], ddof=1)
    assert found.p_lower == pytest.approx(stats.t.sf(0.03 / (sd / 2), 3))
    assert found.p_upper == found.p == pytest.approx(stats.t.sf(0.01 / (sd / 2), 3))


@pytest.mark.parametrize("margin", [0.002, 0.005, 0.0055, 0.006, 0.01])
def test_equivalence_is_the_interval_of_90_percent_inside_the_margin(margin: float) -> None:
    found = tost(DIFFERENCES, margin)
    inside = -margin < found.low and found.high < margin  # type: ignore[operator]
    assert (found.p < 0.05) == inside  # type: ignore[operator]


@pytest.mark.parametrize("seeds", [3, 10])
def test_at_the_margin_itself_equivalence_is_shown_to_one_in_twenty(seeds: int) -> None:
    """Type I error: differences whose true mean is the margin; few seeds, and many."""
    draws = 0.01 + np.random.default_rng(0).normal(0, 0.003, size=(1000, seeds))
    shown = np.mean([tost(row, 0.01).p < 0.05 for row in draws])  # type: ignore[operator]
    assert 0.03 < shown < 0.07


def test_no_difference_is_no_evidence_of_equality() -> None:
    """Three wild seeds: a t test finds nothing, and equivalence is not shown either."""
    wild = [0.05, -0.04, 0.01]
    assert stats.ttest_1samp(wild, 0).pvalue > 0.5
    assert tost(wild).p > 0.3  # type: ignore[operator]


def test_pairing_matters() -> None:
    """Planted fault: the same numbers taken as unpaired do not show what pairing shows."""
    before = np.linspace(0.80, 0.95, 6)
    after = before + np.array([0.001, -0.001, 0.002, 0.0, -0.002, 0.001])
    unpaired = pingouin.tost(after, before, bound=0.01, paired=False)
    assert tost(after - before).p < 0.001 < 0.3 < unpaired["pval"].iloc[0]  # type: ignore[operator]


@pytest.mark.parametrize(
    ("differences", "note"),
    [
        ([0.1], "one seed: no interval and no test"),
        ([0.1, 0.2], "2 seeds: too few for a test"),
        ([0.1, 0.1, 0.1], "no spread between seeds: no test"),
        ([0.1, np.nan, 0.2, 0.3], "not defined for 1 of 4 seeds: no test"),
    ],
)
def test_what_cannot_be_tested_says_why(differences: list[float], note: str) -> None:
    found = tost(differences)
    assert found.note == note
    assert found.p is None
    assert found.p_lower is None


@pytest.mark.parametrize("margin", [0, -0.01, float("nan")])
def test_a_margin_is_above_zero(margin: float) -> None:
    with pytest.raises(RecordError, match="margin"):
        tost(DIFFERENCES, margin)


@pytest.mark.parametrize(
    ("p_equivalence", "p_difference", "difference", "word"),
    [
        (0.01, 0.90, 0.000, EQUIVALENT),
        (0.01, 0.01, -0.004, EQUIVALENT),  # different, by less than the margin
        (0.90, 0.01, -0.100, INFERIOR),
        (0.90, 0.01, 0.100, SUPERIOR),
        (0.20, 0.20, -0.010, INCONCLUSIVE),
        (0.05, 0.05, -0.010, INCONCLUSIVE),
    ],
)
def test_verdicts(p_equivalence: float, p_difference: float, difference: float, word: str) -> None:
    assert verdict(p_equivalence, p_difference, difference) == word


def test_the_smallest_margin_is_where_the_verdict_turns() -> None:
    """Just below, at least one of the family's tests fails after Holm; at it, all hold."""
    draw = np.random.default_rng(2)
    changes = [draw.normal(mean, 0.004, 8) for mean in (0.0, 0.003, -0.02)]
    tests = pd.DataFrame(
        {
            "difference": [c.mean() for c in changes],
            "sd": [c.std(ddof=1) for c in changes],
            "n": 8,
            "note": "",
        }
    )
    for i, margin in enumerate(smallest_margins(tests)):
        for at, shown in ((margin, True), (margin - 0.0005, False)):
            p = np.array([[tost(c, at).p for c in changes]], dtype=np.float64)
            assert (holm_rows(p)[0, i] < 0.05) == shown


def test_untestable_members_have_no_margin_and_count_for_nothing() -> None:
    tests = pd.DataFrame(
        {"difference": [0.0, 0.0], "sd": [0.004, np.nan], "n": 8, "note": ["", "one seed"]}
    )
    both, alone = smallest_margins(tests), smallest_margins(tests.iloc[:1])
    assert both[0] == alone[0]
    assert pd.isna(both[1])
