"""Records made up for tests: the right columns, known answers, no training.

Every model here is a coin: it is right with a chance that falls with the level, and its answers
hang on those of the level above it as a pruned model's do. The numbers mean nothing; the shapes,
names and types are those of a real record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

FINDINGS = ("seven", "overlap", "crowded")
RECORD = ["run", "level", "branch", "stage"]


def predictions(
    *,
    runs: Sequence[str] = ("uniter-digits-s0",),
    levels: int = 3,
    items: int = 40,
    decisions: Sequence[str] = ("label",),
    classes: int = 2,
    branches: Sequence[str] = (),
    stages: Sequence[str] = ("trained",),
    seed: int = 0,
) -> pd.DataFrame:
    """Levels 0 to `levels`, controls and stages on all but level 0."""
    draw = np.random.default_rng(seed)
    names = [f"test-{i:06d}" for i in range(items)]
    item, decision = np.repeat(names, len(decisions)), np.tile(list(decisions), items)
    label = draw.integers(classes, size=len(item))
    frames = []
    for run in runs:
        dense = _answers(draw, label, 0.9, classes)
        frames.append(_record(run, 0, "main", "trained", item, decision, label, dense))
        for level in range(1, levels + 1):
            for branch in ("main", *branches):
                for stage in stages:
                    skill = 0.95 - 0.08 * level - 0.15 * (branch != "main")
                    fresh = _answers(draw, label, skill, classes)
                    kept = np.where(draw.random(len(label)) < 0.7, dense, fresh)
                    frames.append(_record(run, level, branch, stage, item, decision, label, kept))
    return pd.concat(frames, ignore_index=True)


def one_record(
    label: Sequence[int],
    prediction: Sequence[int],
    *,
    run: str = "r",
    level: int = 0,
    branch: str = "main",
    stage: str = "trained",
    decisions: Sequence[str] = ("label",),
) -> pd.DataFrame:
    """One record with given labels and predictions, item by item and decision by decision."""
    count = len(label) // len(decisions)
    item = np.repeat([f"test-{i:06d}" for i in range(count)], len(decisions))
    decision = np.tile(list(decisions), count)
    return _record(
        run, level, branch, stage, item, decision, np.asarray(label), np.asarray(prediction)
    )


def pair(label: Sequence[int], dense: Sequence[int], pruned: Sequence[int]) -> pd.DataFrame:
    """A run of two records: dense and one pruned level."""
    return pd.concat(
        [one_record(label, dense), one_record(label, pruned, level=1)], ignore_index=True
    )


def from_cells(a: int, b: int, c: int, e: int, g: int = 0) -> pd.DataFrame:
    """A run of two records with these counts of cells; labels are 0, wrong answers 1 and 2."""
    dense = [0] * a + [0] * b + [1] * c + [1] * e + [1] * g
    pruned = [0] * a + [1] * b + [0] * c + [1] * e + [2] * g
    label = [0] * len(dense)
    if g:
        # A third class must be seen in a label, or the answer 2 could not be.
        label[-1], dense[-1], pruned[-1] = 2, 0, 1
    return pair(label, dense, pruned)


def levels(predicted: pd.DataFrame, *, final: float = 0.9) -> pd.DataFrame:
    """levels.parquet for given predictions: 20 % of what is left goes at each level."""
    rows = []
    groups = {"language": 60_000, "vision": 30_000, "fusion": 30_000, "embeddings": 0, "head": 0}
    prunable, weights = sum(groups.values()), 150_000
    for run, level, branch, stage in predicted[RECORD].drop_duplicates().itertuples(index=False):
        zeros = round(prunable * (1 - 0.8**level))
        share = zeros / prunable
        row: dict[str, object] = {"run": run, "level": level, "branch": branch, "stage": stage}
        row |= {"amount": np.nan, "sparsity": share, "sparsity_all": zeros / weights}
        row |= {"zeros": zeros, "prunable": prunable, "weights": weights}
        for name, size in groups.items():
            tilt = {"language": 0.9, "vision": 1.2}.get(name, 1.0)
            zeroed = round(size * min(1.0, share * tilt))
            row |= {f"zeros_{name}": zeroed, f"prunable_{name}": size}
        accuracy = final - 0.02 * level
        row |= {"collapsed": "", "last_event": "train", "epochs": 6.0, "steps": 378}
        row |= {"train_loss": 0.1, "validation_loss": 0.2, "validation_accuracy": accuracy}
        rows.append(row | {"seconds": 20.0})
    return pd.DataFrame(rows)


def runs(predicted: pd.DataFrame, models: Mapping[str, str] | None = None) -> pd.DataFrame:
    """One row per run with its model and seed, read off names such as uniter-digits-s0."""
    names = predicted["run"].drop_duplicates()
    model = names.str.split("-").str[0] if models is None else names.map(dict(models))
    seed = names.str.extract(r"s(\d+)$")[0].astype(int)
    return pd.DataFrame({"run": names, "model": model, "seed": seed}).reset_index(drop=True)


def _answers(
    draw: np.random.Generator, label: np.ndarray, skill: float, classes: int
) -> np.ndarray:
    """Right with chance `skill`, else one of the other classes."""
    other = (label + draw.integers(1, classes, size=len(label))) % classes
    return np.where(draw.random(len(label)) < skill, label, other)


def _record(
    run: str,
    level: int,
    branch: str,
    stage: str,
    item: np.ndarray,
    decision: np.ndarray,
    label: np.ndarray,
    prediction: np.ndarray,
) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "run": run,
            "level": level,
            "branch": branch,
            "stage": stage,
            "item": item,
            "decision": decision,
            "label": label,
            "prediction": prediction,
        }
    )
    return frame.astype({"label": "int8", "prediction": "int8"})
