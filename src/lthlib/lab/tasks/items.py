"""Items as they are made and kept: whole numbers and text, before any tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lthlib.lab.tasks.scenes import Ints, Part, Regions, Scenes

Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Items:
    """N items: text [N], labels [N, K] of 0 and 1, what was drawn, what was detected, and
    further columns [N] of facts."""

    text: NDArray[np.str_]
    labels: Ints
    scenes: Scenes
    regions: Regions
    facts: Columns

    def __len__(self) -> int:
        return len(self.text)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All of it under flat names, as the cache keeps it."""
        return {
            "text": self.text,
            "labels": self.labels,
            **{f"scenes.{f.name}": getattr(self.scenes, f.name) for f in fields(Scenes)},
            **{f"regions.{f.name}": getattr(self.regions, f.name) for f in fields(Regions)},
            **{f"facts.{name}": column for name, column in self.facts.items()},
        }

    @classmethod
    def from_arrays(cls, arrays: Columns) -> Items:
        """The reverse of `arrays`."""

        def part(prefix: str) -> dict[str, NDArray[Any]]:
            return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}

        scenes, regions = Scenes(**part("scenes.")), Regions(**part("regions."))
        return cls(arrays["text"], arrays["labels"], scenes, regions, part("facts."))


@dataclass(frozen=True)
class Recipe:
    """How a task is made, and what is asked in it.

    version: raise it whenever the same arguments would make other items; width: tokens of a text;
    counts: items of train, validation and test unless asked otherwise; step: counts must be a
    multiple of it; make: part, count, seed -> items.
    """

    name: str
    version: int
    kind: Literal["single", "multi"]
    decisions: tuple[str, ...]
    classes: tuple[str, ...]
    width: int
    counts: Mapping[Part, int]
    step: int
    make: Callable[[Part, int, int], Items]
