"""Families: every test shown is in exactly one, and Holm sees all of it and nothing else."""

from __future__ import annotations

import pandas as pd
import pingouin
import pytest

from lthlib.errors import RecordError
from lthlib.report.judgement.contrasts import contrast_tests, contrasts
from lthlib.report.judgement.families import CLAIMS, adjust, count_families, families_table
from lthlib.report.judgement.trends import correlations, trends
from scored import ladder

SCORED = ladder()
TESTS = contrast_tests(contrasts(SCORED))
FRAMES = [TESTS, trends(SCORED), correlations(SCORED)]


def test_every_test_shown_is_in_exactly_one_family() -> None:
    counted = count_families(FRAMES)
    assert not counted.duplicated(["study", "against", "claim"]).any()
    shown = sum(frame.filter(like="p_").filter(regex="^p_").notna().sum().sum() for frame in FRAMES)
    assert counted["tests"].sum() == shown
    assert set(counted["claim"]) <= set(CLAIMS)


def test_every_declared_claim_is_adjusted_or_says_why_not() -> None:
    for frame in FRAMES:
        for column in (c for c in frame.columns if c.startswith("p_")):
            adjusted = column.replace("p_", "holm_", 1) in frame.columns
            assert adjusted == (CLAIMS[column].why_not == "")


def test_holm_is_pingouins_within_each_reference() -> None:
    for _, part in TESTS.groupby("against"):
        p = part["p_difference"].astype(float)
        expected = pingouin.multicomp(p.tolist(), method="holm")[1]
        assert part["holm_difference"].astype(float).tolist() == pytest.approx(expected)


def test_a_second_study_changes_nothing_in_the_first() -> None:
    other = ladder(seed=1).assign(study="another")
    both = contrast_tests(contrasts(pd.concat([SCORED, other], ignore_index=True)))
    mine = both[both["study"] != "another"].reset_index(drop=True)
    pd.testing.assert_series_equal(mine["holm_difference"], TESTS["holm_difference"])


def test_an_undeclared_test_is_refused() -> None:
    with pytest.raises(RecordError, match=r"p_diference.*p_difference"):
        adjust(pd.DataFrame({"study": ["a"], "p_diference": [0.01]}))


def test_one_family_in_two_tables_is_refused() -> None:
    """Planted fault: half of the levels in each table would halve the correction."""
    with pytest.raises(RecordError, match="in two tables"):
        count_families([TESTS[TESTS["level"] < 3], TESTS[TESTS["level"] >= 3]])


def test_refused_tests_do_not_count_in_the_family() -> None:
    frame = pd.DataFrame({"study": "a", "p_trend": pd.array([0.01, None], dtype="Float64")})
    assert adjust(frame)["holm_trend"].tolist() == [0.01, pd.NA]
    counted = count_families([frame]).iloc[0]
    assert (counted["tests"], counted["refused"]) == (1, 1)


def test_the_table_names_every_claim_that_is_made() -> None:
    exhibit = families_table(FRAMES)
    assert exhibit.table is not None
    questions = {CLAIMS[c].question for c in count_families(FRAMES)["claim"]}
    assert set(exhibit.table["question"]) == questions
    assert f"{exhibit.data['tests'].sum()} in {len(exhibit.data)} families" in exhibit.caption
