"""A second opinion on captions: from drawn ink alone, by rules written without the first's.

The library decides a relation by corners of boxes. Here each digit is drawn on a canvas of its
own, and its ink is all there is: centres of mass, shared rows and columns, shortest distances.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from lthlib.lab.tasks.scenes import Scenes, render

Ink = NDArray[np.bool_]
BRIGHT = 96  # of 255
SLACK = 2  # pixels between the rows, or columns, of two digits side by side
MARGIN = 6  # pixels between centres of mass; fewer is borderline
NEAR, FAR = 22, 23  # pixels between the nearest ink; between the two is borderline


def ink(fields: Mapping[str, Sequence[int]], slot: int, least: int = BRIGHT) -> Ink:
    """The ink of one digit of a scene, drawn alone."""
    columns = {name: np.asarray(fields[name])[None].copy() for name in Scenes.__annotations__}
    columns["image"][:, np.arange(columns["image"].shape[1]) != slot] = -1
    return render(Scenes(**columns))[0] >= least


def _towards(axis: int, direction: int, *, side_by_side: bool = False) -> Callable[..., bool]:
    def judge(subject: Ink, other: Ink) -> bool:
        lead = direction * float(np.nonzero(other)[axis].mean() - np.nonzero(subject)[axis].mean())
        assert abs(lead) >= MARGIN, "borderline"
        if side_by_side:
            one, two = (np.flatnonzero(one.any(axis=axis)) for one in (subject, other))
            assert max(one[0] - two[-1], two[0] - one[-1]) <= SLACK, "not side by side"
        return lead > 0

    return judge


def _distance(subject: Ink, other: Ink) -> float:
    return float(distance_transform_edt(~other)[subject].min())


def _near(subject: Ink, other: Ink) -> bool:
    apart = _distance(subject, other)
    assert apart <= NEAR or apart >= FAR, "borderline"
    return apart <= NEAR


def _touches(subject: Ink, other: Ink) -> bool:
    apart = _distance(subject, other)
    assert apart < 2 or apart > 5, "borderline"
    return apart < 2


def _not(judge: Callable[..., bool]) -> Callable[..., bool]:
    return lambda subject, other: not judge(subject, other)


ROWS, COLUMNS = 0, 1
JUDGES: dict[str, Callable[[Ink, Ink], bool]] = {
    "left of": _towards(COLUMNS, 1),
    "right of": _towards(COLUMNS, -1),
    "above": _towards(ROWS, 1),
    "below": _towards(ROWS, -1),
    "at the left side of": _towards(COLUMNS, 1, side_by_side=True),
    "at the right side of": _towards(COLUMNS, -1, side_by_side=True),
    "over": _towards(ROWS, 1, side_by_side=True),
    "under": _towards(ROWS, -1, side_by_side=True),
    "near": _near,
    "close to": _near,
    "next to": _near,
    "far from": _not(_near),
    "far away from": _not(_near),
    "away from": _not(_near),
    "touching": _touches,
    "detached from": _not(_touches),
}
