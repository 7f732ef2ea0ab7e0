"""What a detector found in one image, checked before anything is made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lthlib.errors import FeatureError

Floats = NDArray[np.float32]

OVER = 1e-3
"""How far a box may lie outside its image, as a share of its side: rounding of published files."""


@dataclass(frozen=True)
class ImageRegions:
    """Regions of one image, as they are read: nothing is checked yet.

    image: its name; features: [R, D]; boxes: [R, 4], x1 y1 x2 y2 in units of `size`; size: width
    and height of the image, (1, 1) where boxes are shares of it.
    """

    image: str
    features: NDArray[Any]
    boxes: NDArray[Any]
    size: tuple[float, float] = (1.0, 1.0)


def checked(found: ImageRegions, *, regions: int, feature_dim: int) -> tuple[Floats, Floats]:
    """Features [R, D] and boxes [R, 4] as shares of the image, x1 y1 x2 y2 in 0..1; both new.

    regions: how many there must be; feature_dim: D.
    Raises FeatureError, with the image and the region (from 0), for another number of regions or
    features, a number that is not finite, corners in the wrong order, a box without area, and one
    that lies outside its image by more than `OVER` of its side.
    """
    features, boxes = _shaped(found, regions, feature_dim)
    where = f"image {found.image!r}"
    width, height = found.size
    if not (0 < width < np.inf and 0 < height < np.inf):
        raise FeatureError(f"{where} has size {width} x {height}: give its width and height")
    if len(bad := np.flatnonzero(~np.isfinite(features).all(axis=1))):
        raise FeatureError(f"{where}, region {bad[0]}: a feature is not finite; extract it again")
    with np.errstate(over="ignore"):
        shares = boxes / np.array([width, height, width, height], dtype=np.float64)
    _check_boxes(shares, boxes, where, found.size)
    return features.astype(np.float32), np.clip(shares, 0, 1).astype(np.float32)


def _shaped(found: ImageRegions, regions: int, feature_dim: int) -> tuple[NDArray[Any], Floats]:
    where = f"image {found.image!r}"
    features, boxes = np.asarray(found.features), np.asarray(found.boxes)
    if features.ndim != 2 or features.dtype.kind != "f":
        raise FeatureError(
            f"{where}: features are {features.dtype}{list(features.shape)}, not decimals "
            f"[{regions}, {feature_dim}]"
        )
    if len(features) != regions or boxes.shape != (regions, 4):
        raise FeatureError(
            f"{where} has features of {len(features)} regions and boxes {list(boxes.shape)}, where "
            f"{regions} regions are expected: name their number, or extract it again"
        )
    if features.shape[1] != feature_dim:
        raise FeatureError(
            f"{where} has {features.shape[1]} features a region, where {feature_dim} are expected"
        )
    if boxes.dtype.kind not in "fiu":
        raise FeatureError(f"{where}: boxes are {boxes.dtype}, not numbers")
    return features, boxes.astype(np.float64)


def _check_boxes(
    shares: NDArray[np.float64], boxes: Floats, where: str, size: tuple[float, float]
) -> None:
    faults = {
        "is not finite": ~np.isfinite(shares).all(axis=1),
        "has its corners in the wrong order": (shares[:, 2:] < shares[:, :2]).any(axis=1),
        "has no area": (shares[:, 2:] == shares[:, :2]).any(axis=1),
        f"lies outside the image of {size[0]:g} x {size[1]:g}": (
            (shares < -OVER) | (shares > 1 + OVER)
        ).any(axis=1),
    }
    for fault, bad in faults.items():
        if bad.any():
            region = int(np.flatnonzero(bad)[0])
            box = ", ".join(f"{corner:g}" for corner in boxes[region])
            raise FeatureError(f"{where}, region {region}: box ({box}) {fault}")
