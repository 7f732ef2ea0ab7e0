"""The reference study: its parts, each of which answers one question. Plain data.

The three models share a recipe of three epochs, as the main source had. Parts that were run once
in the source have three seeds here, so that what training alone changes can be seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Cell = Mapping[str, Any]

_MODELS = ("visualbert", "lxmert", "uniter")
_TASKS = ("digits", "digit-reports")
_CONTROLS = ["random-mask", "reinitialised"]
# The source's five learning rates, 0.5 to 1.5 times its usual one; ours is ten times as large.
PUBLISHED_RATES = (5e-4, 7.5e-4, 1e-3, 1.25e-3, 1.5e-3)
# Wide enough to hold rates that are too small and too large.
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
# What 25 % and 50 % a round reach in three rounds: levels that both published ladders share.
SHARED_LEVELS = [0.578125, 0.875]
_THREE, _TEN = [0, 1, 2], list(range(10))


@dataclass(frozen=True)
class Part:
    """Studies that answer one question together.

    about: the question; shared: settings of all its studies; cells: one mapping a study.
    """

    about: str
    shared: Cell
    cells: Sequence[Cell] = field(default_factory=tuple)


def _each(models: Sequence[str] = _MODELS, tasks: Sequence[str] = ("digits",)) -> list[Cell]:
    return [{"model": model, "task": task} for task in tasks for model in models]


RECIPE: Cell = {"epochs": 3, "batch_size": 128}
# Findings are rare: three epochs do not learn them.
REPORTS_RECIPE: Cell = {"epochs": 5, "batch_size": 64}

PARTS: dict[str, Part] = {
    "published-concluding": Part(
        "what the main source ran, on its concluding ladder",
        {**RECIPE, "protocol": "as_published", "ladder": "concluding", "seeds": _TEN},
        _each(),
    ),
    "published-secondary": Part(
        "what the main source ran, on its secondary ladder",
        {**RECIPE, "protocol": "as_published", "ladder": "secondary", "seeds": _TEN},
        _each(),
    ),
    "concluding": Part(
        "lottery tickets at the sparsities of the concluding ladder, with controls at every level",
        {**RECIPE, "ladder": "concluding", "branches": _CONTROLS, "observe": ["weights"],
         "seeds": _TEN},
        _each(),
    ),
    "secondary": Part(
        "lottery tickets at the sparsities of the secondary ladder",
        {**RECIPE, "ladder": "secondary", "branches": _CONTROLS, "branch_levels": [3],
         "seeds": _TEN},
        _each(),
    ),
    "reports": Part(
        "lottery tickets for several findings at once",
        {**REPORTS_RECIPE, "ladder": "concluding", "branches": _CONTROLS, "seeds": _THREE},
        _each(tasks=("digit-reports",)),
    ),
    "published-rates": Part(
        "what the main source ran, at five learning rates",
        {**RECIPE, "protocol": "as_published", "ladder": "secondary", "seeds": _THREE},
        [{**cell, "learning_rate": rate} for cell in _each(tasks=_TASKS)
         for rate in PUBLISHED_RATES],
    ),
    "rates": Part(
        "lottery tickets at five learning rates: when do the original weights help?",
        {**RECIPE, "ladder": "concluding", "branches": ["reinitialised"], "branch_levels": [3],
         "observe": ["weights"], "seeds": _THREE},
        [{**cell, "learning_rate": rate} for cell in _each() for rate in RATES],
    ),
    "sufficient": Part(
        "a sufficient recipe: four times as long",
        {"epochs": 12, "batch_size": 128, "ladder": SHARED_LEVELS, "branches": _CONTROLS,
         "observe": ["weights"], "seeds": _THREE},
        _each(),
    ),
    "longer": Part(
        "training longer before pruning: 1, 3 or 12 epochs, then the same recipe for the ticket",
        {**RECIPE, "search": "one-shot", "ladder": SHARED_LEVELS, "seeds": _THREE},
        [{**cell, "dense_epochs": epochs} for cell in _each() for epochs in (1, 3, 12)],
    ),
    "observed": Part(
        "weights, hidden states, and error barriers between two trainings of each level",
        {**RECIPE, "ladder": "concluding", "observe": ["weights", "states", "barriers"],
         "seeds": _THREE},
        _each(),
    ),
    "histories": Part(
        "how often each test item is forgotten by models that train on it",
        {"epochs": 12, "batch_size": 128, "levels": 0, "train_on": "train+test", "seeds": _THREE},
        _each(),
    ),
    "scratch": Part(
        "dense models from a random start, trained as usual and four times as long",
        {"batch_size": 128, "start": "random", "levels": 0, "seeds": _THREE},
        [{**cell, "epochs": epochs} for cell in _each() for epochs in (3, 12)],
    ),
    "blind": Part(
        "dense models that see no image, or another item's",
        {**RECIPE, "levels": 0, "seeds": _THREE},
        [{**cell, "regions": regions} for cell in _each() for regions in ("none", "shuffled")]
        + [{**cell, **REPORTS_RECIPE, "regions": "none"} for cell in _each(tasks=_TASKS[1:])],
    ),
}  # fmt: skip
