"""Notebooks on records in which measures are not defined: none stops, and no cell is no number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from degenerate import Answer, Case, execute, write_own, write_part
from lthlib.report.answers import kept
from lthlib.report.exhibits import MEASURES
from lthlib.report.statistics import pseudo_values

BOTH = [0, 1] * 10


def noisy(y: np.ndarray, seed: int, level: int) -> np.ndarray:
    wrong = np.random.default_rng([seed, level]).random(len(y)) < 0.15 + 0.1 * level
    return np.where(wrong, 1 - y, y)


def always(value: int) -> Answer:
    return lambda y, *_: np.full_like(y, value)


def by_seed(y: np.ndarray, seed: int, level: int) -> np.ndarray:
    """Seeds 0 and 1 agree on nothing, seed 2 on some items with both."""
    return [y, 1 - y, noisy(y, seed, level)][seed]


CASES = {
    "two seeds agree on nothing": Case(BOTH, by_seed, seeds=2),
    "without one seed they agree on nothing": Case(BOTH, by_seed),
    "always False": Case(BOTH, always(0)),
    "always True": Case(BOTH, always(1)),
    "right everywhere": Case(BOTH, lambda y, *_: y),
    "wrong everywhere": Case(BOTH, lambda y, *_: 1 - y),
    "dense right, tickets constant": Case(BOTH, lambda y, _, k: 0 * y if k else y),
    "dense wrong": Case(BOTH, lambda y, s, k: noisy(y, s, k) if k else 1 - y),
    "one item": Case([1], noisy),
    "one kind of label": Case([1] * 20, noisy),
    "one seed": Case(BOTH, noisy, seeds=1),
    "logits of 0": Case(BOTH, noisy, margin=0.0),
}


@pytest.mark.parametrize("name", CASES)
def test_own_data_are_reported(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = execute("own", monkeypatch, store=str(write_own(tmp_path, CASES[name])))
    assert {"own-ladder-table", "own-verdicts", "own-power"} <= page.shown.keys()
    assert page.faults() == []


@pytest.mark.slow
@pytest.mark.parametrize("notebook", ["answers", "verdicts"])
@pytest.mark.parametrize("name", CASES)
def test_chapters_are_written(
    name: str, notebook: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = execute(notebook, monkeypatch, store=str(write_part(tmp_path, CASES[name])))
    assert len(page.shown) > 10
    assert page.faults() == []


def test_a_ratio_without_all_its_pseudo_values_is_missing() -> None:
    """Pairs agree on 0, 0.7 and 0.3: the ratio is 0.6 / (1 / 3) = 1.8, and its two known
    pseudo-values have a mean of 2.54."""
    floor = pseudo_values(np.array([0.35, 0.15, 0.5]))
    assert floor.mean() == pytest.approx(1 / 3)
    assert np.isnan(kept._ratio_values(np.full(3, 0.6), np.asarray(floor))).all()


def test_a_measure_that_is_missing_reads_not_defined_with_its_reason() -> None:
    assert MEASURES["balanced_accuracy"].text(float("nan")) == (
        "not defined (only one kind of label)"
    )
    assert MEASURES["relative_fidelity"].text(float("nan")) == (
        "not defined (one seed, or seeds that agree on nothing)"
    )
    assert MEASURES["accuracy"].text(float("nan")) == "not defined"


@pytest.mark.parametrize(
    ("changed", "icc", "why"),
    [
        (np.eye(5, 1, dtype=bool), None, "one decision: no ICC"),
        (np.tile([True, False, True, False], (3, 1)), 1.0, "no interval: all seeds alike"),
    ],
)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_an_icc_without_spread_says_so(changed: np.ndarray, icc: float | None, why: str) -> None:
    assert kept._icc(changed) == (icc, None, None, why)
