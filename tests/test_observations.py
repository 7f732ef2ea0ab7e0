"""Observations: right by hand, and nothing else changes for their sake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lthlib.lab import lottery
from lthlib.lab.observations import LINE_POINTS, weight_rows
from lthlib.lab.tickets import Ticket
from lthlib.records import RecordStore, open_store
from lthlib.study import MODELS, Study

SMALL: dict[str, Any] = {
    "epochs": 1, "batch_size": 16, "train_items": 48, "validation_items": 16, "test_items": 32,
    "start": "random",
}  # fmt: skip


def run(folder: Path, **choices: Any) -> tuple[RecordStore, str]:
    study, store = Study.build({**SMALL, **choices}), open_store(folder)
    return store, lottery.run(study, 0, store)


def test_weights_by_hand() -> None:
    mask = torch.tensor([True, True, True, False])
    ticket = Ticket({"a": mask})
    start = {"a": torch.tensor([1.0, -2.0, 3.0, 9.0])}
    trained = {"a": torch.tensor([2.0, 4.0, 6.0, 0.0])}
    dense = {"a": torch.tensor([-1.0, -2.0, -3.0, 5.0])}
    rows = weight_rows(ticket, trained, start, dense, {"a": "fusion"})
    assert [row["group"] for row in rows] == ["all", "fusion"]
    row = rows[0]
    assert row["survivors"] == 3
    assert row["correlation_start"] == pytest.approx(np.corrcoef([2, 4, 6], [1, -2, 3])[0, 1])
    assert row["correlation_dense"] == pytest.approx(-1)
    assert row["distance_dense"] == pytest.approx(3)
    assert row["same_sign_start"] == pytest.approx(2 / 3)


def test_weights_of_a_group_without_survivors_are_not_defined() -> None:
    ticket = Ticket({"a": torch.zeros(3, dtype=torch.bool)})
    ones = {"a": torch.ones(3)}
    (row, _) = weight_rows(ticket, ones, ones, ones, {"a": "vision"})
    assert row["survivors"] == 0
    assert [v for k, v in row.items() if k not in {"group", "survivors"}] == [None] * 5


@pytest.mark.parametrize("model", MODELS)
def test_observing_changes_nothing_that_is_observed(model: str, tmp_path: Path) -> None:
    choices = {"model": model, "ladder": [0.3, 0.6], "branches": ["reinitialised"]}
    plain, name = run(tmp_path / "plain", **choices)
    watched, other = run(tmp_path / "watched", observe=["weights", "states", "barriers"], **choices)
    for table in ("predictions", "training", "curves"):
        one, two = plain.table(table, [name]), watched.table(table, [other])
        assert one.drop(columns="run").equals(two.drop(columns="run")), table
    weights = watched.table("weights", [other])
    assert set(weights["branch"]) == {"main", "reinitialised"}
    dense = weights[(weights["level"] == 0) & (weights["group"] == "all")].iloc[0]
    assert (dense["correlation_dense"], dense["distance_dense"]) == (pytest.approx(1), 0)
    reborn = weights[(weights["branch"] == "reinitialised") & (weights["group"] == "all")]
    assert (reborn["correlation_start"].abs() < 0.9).all()


def test_barriers_start_at_the_run_and_end_at_another_training(tmp_path: Path) -> None:
    store, name = run(tmp_path, model="uniter", ladder=[0.5], observe=["barriers"])
    lines, answers = store.table("barriers", [name]), store.table("predictions", [name])
    assert lines.groupby("level").size().to_list() == [LINE_POINTS] * 2
    trained = answers[answers["stage"] == "trained"]
    wrong = (trained["prediction"] != trained["label"]).groupby(trained["level"]).mean()
    starts = lines[lines["alpha"] == 0].set_index("level")["error"]
    assert starts.to_list() == pytest.approx(wrong.to_list())
    losses = lines.pivot(index="alpha", columns="level", values="loss")
    assert (losses.loc[0.0] != losses.loc[1.0]).all(), "the second training is another one"


def test_states_are_those_of_the_trained_model(tmp_path: Path) -> None:
    store, name = run(tmp_path, model="lxmert", ladder=[0.5], observe=["states"])
    states = store.table("states", [name])
    assert states.groupby(["level", "site"]).size().to_list() == [32] * 6
    wide = np.stack(states["state"].to_list())
    assert np.isfinite(wide).all()
    pooled = states[states["site"] == "pooled"]
    # A pooled vector comes out of tanh.
    assert np.abs(np.stack(pooled["state"].to_list())).max() <= 1


def test_dense_epochs_train_the_dense_level_longer_and_no_other(tmp_path: Path) -> None:
    store, name = run(
        tmp_path, model="uniter", search="one-shot", ladder=[0.5], dense_epochs=3, epochs=2
    )
    levels = store.table("levels", [name])
    trained = levels[levels["stage"] == "trained"].set_index("level")["epochs"]
    assert trained.to_dict() == {0: 3, 1: 2}
    assert store.table("curves", [name]).groupby("level").size().to_dict() == {0: 3, 1: 2}


def test_test_items_that_are_trained_on_have_histories(tmp_path: Path) -> None:
    store, name = run(tmp_path, model="uniter", levels=0, train_on="train+test")
    items = store.table("training", [name])["item"]
    assert len(items) == 48 + 32
    assert items.str.startswith("test-").sum() == 32
    assert store.study(name)["task"]["test_items"] == 32
