"""Ranking measures: by hand, by symmetry, and where there is nothing to rank."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lthlib.report.ranking import ranking


def record(
    labels: dict[str, list[int]], scores: dict[str, list[float]], level: int = 0
) -> pd.DataFrame:
    parts = [
        pd.DataFrame(
            {
                "run": "r-s0",
                "level": level,
                "branch": "main",
                "stage": "trained",
                "item": [f"i{n}" for n in range(len(label))],
                "decision": name,
                "label": label,
                "prediction": [int(z >= 0) for z in scores[name]],
                "logits": [np.array([z]) for z in scores[name]],
            }
        )
        for name, label in labels.items()
    ]
    return pd.concat(parts, ignore_index=True)


def test_two_findings_by_hand() -> None:
    labels = {"a": [1, 0, 1, 0], "b": [1, 0, 0, 0]}
    scores = {"a": [3.0, 2.0, 1.0, 0.0], "b": [-1.0, -2.0, -3.0, -4.0]}
    row = ranking(record(labels, scores)).iloc[0]
    # a: 3 of 4 pairs in order; precision at its two hits is 1 and 2/3. b: all in order.
    assert row["auc"] == pytest.approx((3 / 4 + 1) / 2)
    assert row["average_precision"] == pytest.approx(((1 + 2 / 3) / 2 + 1) / 2)
    assert row["chance"] == pytest.approx((1 / 2 + 1 / 4) / 2)
    assert (row["findings"], row["undefined"]) == (2, "")


def test_one_score_for_all_is_chance() -> None:
    row = ranking(record({"a": [1, 0, 0, 0]}, {"a": [-5.0] * 4})).iloc[0]
    assert row["auc"] == 0.5 and row["average_precision"] == row["chance"] == 0.25


def test_a_finding_that_nobody_has_is_left_out_and_named() -> None:
    labels = {"Hernia": [0, 0, 0], "Mass": [0, 1, 0], "Edema": [1, 1, 1]}
    scores = {name: [0.1, 0.9, 0.2] for name in labels}
    row = ranking(record(labels, scores)).iloc[0]
    assert row["auc"] == 1 and row["findings"] == 1
    assert row["undefined"] == "Hernia, Edema"
    alone = ranking(record({"Hernia": [0, 0, 0]}, {"Hernia": [0.1, 0.9, 0.2]})).iloc[0]
    assert pd.isna(alone["auc"]) and pd.isna(alone["average_precision"])


def test_the_order_of_scores_is_all_that_counts() -> None:
    draw = np.random.default_rng(1)
    label, z = (draw.random(200) < 0.1).astype(int).tolist(), draw.normal(size=200)
    stretched = record({"a": label}, {"a": (np.exp(z) - 3).tolist()}, level=1)
    frame = pd.concat([record({"a": label}, {"a": z.tolist()}), stretched])
    plain, moved = (row for _, row in ranking(frame).iterrows())
    assert plain["auc"] == pytest.approx(moved["auc"])
    assert plain["average_precision"] == pytest.approx(moved["average_precision"])
