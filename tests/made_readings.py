"""Readings made up for tests, from predictions and the further tables of a record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pandas as pd

import synthetic
from lthlib.records import RecordStore
from lthlib.report import measures
from lthlib.report.reading import Reading
from lthlib.study import Study


class MadeStore:
    """What a reading asks of its store."""

    def __init__(self, tables: Mapping[str, pd.DataFrame], items: pd.DataFrame) -> None:
        self.tables, self.facts = tables, items

    def table(self, name: str, runs: list[str]) -> pd.DataFrame:
        frame = self.tables[name]
        return frame[frame["run"].isin(runs)].reset_index(drop=True)

    def items(self, key: str) -> pd.DataFrame:
        return self.facts


def reading(
    predictions: pd.DataFrame,
    *,
    study: Study | None = None,
    tables: Mapping[str, pd.DataFrame] | None = None,
    items: pd.DataFrame | None = None,
) -> Reading:
    """A reading of these predictions; runs are renamed after the study's own, in their order."""
    names = sorted(predictions["run"].unique())
    study = study or Study(model="uniter", task="digits", seeds=tuple(range(len(names))))
    renamed = dict(zip(names, study.run_ids(), strict=True))
    predictions = predictions.assign(run=predictions["run"].map(renamed))
    tables = {
        name: frame.assign(run=frame["run"].map(renamed)) for name, frame in (tables or {}).items()
    }
    levels = synthetic.levels(predictions)
    runs = pd.DataFrame(
        {"run": study.run_ids(), "model": study.model, "task": "digits", "seed": list(study.seeds)}
    )
    store = MadeStore(tables, facts(predictions) if items is None else items)
    matrix = measures.fidelity_matrix(predictions)
    described = {
        "quality": measures.quality(predictions),
        "agreements": measures.agreements(predictions),
        "gate": measures.beats_trivial(predictions),
    }
    return Reading(
        study=study,
        source="made up",
        about=({"items": "none"},),
        levels=levels.merge(runs, on="run"),
        matrix=matrix,
        floor=measures.seed_floor(matrix),
        predictions=predictions,
        store=cast(RecordStore, store),
        **{k: measures.describe(frame, levels, runs) for k, frame in described.items()},
    )


def facts(predictions: pd.DataFrame) -> pd.DataFrame:
    """One row per item, about nothing in particular."""
    names = sorted(predictions["item"].unique())
    relations = ["near", "left of"]
    return pd.DataFrame(
        {
            "item": names,
            "text": [f"the one is near the two ({name})" for name in names],
            "relation": [relations[i % 2] for i in range(len(names))],
            "meta_category": "Proximity",
            "subject": "one",
            "object": "two",
        }
    )


def with_logits(predictions: pd.DataFrame, margin: Any = None) -> pd.DataFrame:
    """The same with two logits, whose difference is `margin`, or 2 for True and -2 for False."""
    difference = np.where(predictions["prediction"] == 1, 2.0, -2.0) if margin is None else margin
    logits = [np.array([-m / 2, m / 2], dtype=np.float32) for m in difference]
    return predictions.assign(logits=pd.Series(logits, index=predictions.index, dtype=object))
