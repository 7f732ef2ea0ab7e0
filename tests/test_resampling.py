"""The crossed bootstrap and McNemar's test against brute force, scipy and planted faults."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import synthetic
from lthlib.errors import RecordError
from lthlib.report.judgement.resampling import correctness, crossed_bootstrap, mcnemar_p

RUNS = [f"uniter-digits-s{seed}" for seed in range(3)]


def crossed(
    draw: np.random.Generator, seeds: int, items: int, spreads: tuple[float, float, float]
) -> np.ndarray:
    """Differences with true mean 0, from seeds, items and their crossings of these spreads."""
    by_seed, by_item = draw.normal(0, spreads[0], (seeds, 1)), draw.normal(0, spreads[1], items)
    return by_seed + by_item + draw.normal(0, spreads[2], (seeds, items))


# -- correctness ----------------------------------------------------------------------------------
def test_correctness_is_the_accuracy_item_by_item() -> None:
    predicted = synthetic.predictions(runs=RUNS, levels=2, decisions=synthetic.FINDINGS)
    arrays = correctness(predicted, stage="trained")
    right = predicted.assign(right=predicted["label"] == predicted["prediction"])
    for level, array in arrays.items():
        own = right[right["level"] == level]
        assert array.shape == (3, 40)
        assert array.mean(axis=1) == pytest.approx(own.groupby("run")["right"].mean().to_list())
        one = own[(own["run"] == RUNS[1]) & (own["item"] == "test-000007")]["right"].mean()
        assert array[1, 7] == pytest.approx(one)


def test_only_the_main_branch_at_its_stage_counts() -> None:
    plain = synthetic.predictions(runs=RUNS, levels=1)
    noise = plain[plain["level"] == 1].assign(branch="random-mask", prediction=0)
    stale = plain[plain["level"] == 1].assign(stage="rewound", prediction=0)
    mixed = pd.concat([plain, noise, stale], ignore_index=True)
    assert (correctness(mixed, stage="trained")[1] == correctness(plain, stage="trained")[1]).all()


@pytest.mark.parametrize(
    ("drop", "message"),
    [
        (lambda p: (p["level"] == 1) & (p["run"] == RUNS[2]), "level 1 has 2 of 3 runs"),
        (
            lambda p: (p["level"] == 1) & (p["item"] == "test-000003") & (p["run"] == RUNS[0]),
            "lacks",
        ),
    ],
)
def test_incomplete_tables_are_refused(drop, message: str) -> None:  # type: ignore[no-untyped-def]
    predicted = synthetic.predictions(runs=RUNS, levels=2)
    with pytest.raises(RecordError, match=message):
        correctness(predicted[~drop(predicted)], stage="trained")


# -- crossed bootstrap ----------------------------------------------------------------------------
def test_it_is_what_a_plain_loop_gives() -> None:
    change = crossed(np.random.default_rng(0), 6, 40, (0.02, 0.05, 0.1))
    draw, means = np.random.default_rng(1), []
    for _ in range(4000):
        rows, columns = draw.integers(6, size=6), draw.integers(40, size=40)
        means.append(change[rows][:, columns].mean())
    found = crossed_bootstrap(change, draws=4000)
    assert (found.low, found.high) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.003)


def test_it_gives_the_same_numbers_each_time() -> None:
    change = crossed(np.random.default_rng(0), 5, 30, (0.02, 0.05, 0.1))
    assert crossed_bootstrap(change) == crossed_bootstrap(change.copy())


def test_items_widen_it_where_items_differ() -> None:
    """Seeds that all lose on the same items: a t interval over seeds sees no chance at all."""
    change = np.tile(np.random.default_rng(0).choice([-1.0, 0.0], 100, p=[0.1, 0.9]), (4, 1))
    found = crossed_bootstrap(change)
    assert found.high - found.low > 0.08  # type: ignore[operator]
    assert np.ptp(change.mean(axis=1)) == 0


@pytest.mark.parametrize(
    ("seeds", "spreads", "low", "high"),
    [
        (20, (0.03, 0.02, 0.02), 0.90, 0.97),
        (10, (0.03, 0.02, 0.02), 0.86, 0.94),
        (3, (0.03, 0.02, 0.02), 0.70, 0.86),
        (10, (0.005, 0.02, 0.3), 0.98, 1.00),
    ],
)
def test_it_covers_as_its_docstring_admits(
    seeds: int, spreads: tuple[float, float, float], low: float, high: float
) -> None:
    """Too narrow where few seeds differ most, too wide where crossings do."""
    draw = np.random.default_rng(7)
    found = [crossed_bootstrap(crossed(draw, seeds, 60, spreads), draws=400) for _ in range(300)]
    covered = np.mean([a < 0 < b for a, b, *_ in found])  # type: ignore[operator]
    assert low <= covered <= high


@pytest.mark.parametrize(("seeds", "kind"), [(1, "one seed"), (2, "2 seeds")])
def test_too_few_seeds_get_no_interval(seeds: int, kind: str) -> None:
    assert crossed_bootstrap(np.zeros((seeds, 9))) == (None, None, seeds, f"no interval: {kind}")


# -- McNemar --------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(3))
def test_mcnemar_is_the_exact_binomial(seed: int) -> None:
    draw = np.random.default_rng(seed)
    ticket, dense = draw.integers(2, size=(2, 60)).astype(float)
    b, c = int(((ticket == 0) & (dense == 1)).sum()), int(((ticket == 1) & (dense == 0)).sum())
    exact = min(1.0, 2 * stats.binom.cdf(min(b, c), b + c, 0.5))
    assert mcnemar_p(ticket, dense) == pytest.approx(exact)


def test_mcnemar_is_paired_by_item() -> None:
    """Planted fault: the same numbers of right answers on other items are other evidence."""
    dense = np.array([1.0] * 90 + [0.0] * 10)
    ticket = np.array([1.0] * 80 + [0.0] * 20)
    moved = np.roll(ticket, 45)
    assert mcnemar_p(ticket, dense) < 0.01 < mcnemar_p(moved, dense)  # type: ignore[operator]


def test_equal_answers_get_no_p() -> None:
    assert mcnemar_p(np.ones(5), np.ones(5)) is None
