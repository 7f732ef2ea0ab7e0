"""Scores made up for tests: a frame as contrasts.scores makes it, no records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from lthlib.report.judgement.contrasts import judged_on

SPARSITY = (0.0, 0.271, 0.428, 0.578, 0.657, 0.784, 0.875)


def scored(
    values: Mapping[tuple[int, str], Sequence[float | None]],
    *,
    model: str = "uniter",
    validation: Mapping[int, Sequence[float]] | None = None,
    fidelity: Mapping[int, Sequence[float]] | None = None,
    share: Mapping[int, Sequence[float]] | None = None,
    skill: Mapping[int, Sequence[float]] | None = None,
    study: str | None = None,
    trivial: float = 0.5,
) -> pd.DataFrame:
    """values: accuracies of the seeds by (level, branch); None leaves a seed's record out.

    validation, fidelity, share (of True answers), skill (fidelity of a model of the same accuracy
    with errors of its own): of the main branch, by level.
    """
    rows = []
    for (level, branch), accuracies in values.items():
        main = branch == "main"
        for seed, accuracy in enumerate(accuracies):
            if accuracy is None:
                continue
            rows.append(
                {
                    "study": study or f"{model}-digits-lottery-concluding-00000000",
                    "model": model,
                    "task": "digits",
                    "protocol": "lottery",
                    "ladder": "concluding",
                    "original_weights": True,
                    "run": f"{model}-s{seed}",
                    "level": level,
                    "branch": branch,
                    "sparsity": SPARSITY[level],
                    "sparsity_all": 0.9 * SPARSITY[level],
                    "accuracy": accuracy,
                    "trivial_accuracy": trivial,
                    "beats": accuracy > trivial + 0.03,
                    "validation_accuracy": _of(validation, level, seed, main, accuracy),
                    "fidelity": _of(fidelity, level, seed, main and level > 0, 0.9),
                    "fidelity_skill": _of(skill, level, seed, main and level > 0, 0.9),
                    "relative_fidelity": _of(fidelity, level, seed, main and level > 0, 0.9) / 0.95,
                    "positive_share": _of(share, level, seed, main, 0.5),
                }
            )
    numbers = ["accuracy", "fidelity", "fidelity_skill", "relative_fidelity", "positive_share"]
    return judged_on(pd.DataFrame(rows).astype(dict.fromkeys(numbers, "Float64")))


def ladder(
    seeds: int = 6, drops: Sequence[float] = (-0.01, 0.0, 0.02, 0.2), seed: int = 0
) -> pd.DataFrame:
    """A study whose levels lose `drops` of accuracy, with both controls near chance."""
    draw = np.random.default_rng(seed)
    dense = 0.95 + draw.normal(0, 0.01, seeds)
    values: dict[tuple[int, str], Sequence[float]] = {(0, "main"): dense.tolist()}
    for level, drop in enumerate(drops, start=1):
        values[level, "main"] = (dense - drop + draw.normal(0, 0.003, seeds)).tolist()
        for branch in ("random-mask", "reinitialised"):
            values[level, branch] = (0.6 + draw.normal(0, 0.01, seeds)).tolist()
    return scored(values)


def _of(
    given: Mapping[int, Sequence[float]] | None, level: int, seed: int, there: bool, other: float
) -> float:
    if not there:
        return np.nan
    return other if given is None else given[level][seed]
