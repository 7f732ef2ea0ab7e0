"""Real captions and reports, run end to end: the studies of the preset `real-text`. Plain data.

No region features come with the captions, so models go blind, or are shown regions that are made up
(:mod:`lthlib.lab.features.synthetic`): for a known share of items their boxes follow the caption.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Cell = Mapping[str, Any]

CAPTIONS, REPORTS = "vsr-random", "open-i"
READ_WORDS = 62
"""Words and marks of a text that models read: 64 places, less that of its beginning and its end."""
REPORTS_READ = f"Open-I, first {READ_WORDS} words"
"""Baselines of as much of a report as models read."""
FEATURES = "follow-90"
"""Name of the store of regions."""
SHARE = 0.9
"""Share of its items whose boxes follow the caption."""
MAKE_FEATURES = f"lth features follow {FEATURES} --task {CAPTIONS} --share {SHARE:g}"
CEILING = SHARE + (1 - SHARE) / 2
"""Best accuracy that boxes and words together allow: the other items are right by chance."""

# Few epochs of small steps: it is the steps that random starts need, on one core.
SHARED: Cell = {
    "start": "random",
    "epochs": 2,
    "batch_size": 32,
    "ladder": (0.8, 0.95),
    "validation_items": 256,
    "seeds": [0, 1, 2],
}
FOLLOWED: Cell = {"features": FEATURES, "branches": ["random-mask"], "branch_levels": [1]}
# Blind models of captions are not expected to know what a ticket could lose: one level will do.
BLIND: Cell = {"regions": "none", "ladder": (0.95,)}
# Reports are a third as many.
REPORTS_BLIND: Cell = {"regions": "none", "batch_size": 16}
# A control of dense models alone, so nothing is pruned.
SHUFFLED: Cell = {"features": FEATURES, "regions": "shuffled", "ladder": "imp", "levels": 0}

# VisualBERT's random start needs twice as long before it learns from boxes at every seed.
_MODELS: Mapping[str, Cell] = {"visualbert": {"epochs": 4}, "lxmert": {}, "uniter": {}}
CELLS: tuple[Cell, ...] = tuple(
    {"task": task, "model": model, **own, **what}
    for task, what in (
        (CAPTIONS, FOLLOWED),
        (CAPTIONS, BLIND),
        (REPORTS, REPORTS_BLIND),
        (CAPTIONS, SHUFFLED),
    )
    for model, own in _MODELS.items()
)
