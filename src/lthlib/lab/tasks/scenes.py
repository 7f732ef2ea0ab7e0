"""Scenes: handwritten digits on a canvas, and the regions that a detector would find on it.

The digits are the 1,797 images of 8 x 8 pixels and 17 grey levels that scikit-learn carries
(Alpaydin and Kaynak 1998, "Optical Recognition of Handwritten Digits", UCI). Everything here
works on whole batches of scenes, and in whole numbers: weights and pixels are integers that a
float holds exactly, so that every machine, whatever its BLAS, makes the same bytes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from functools import cache
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from lthlib.errors import TaskError

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Bytes = NDArray[np.uint8]
Part = Literal["train", "validation", "test"]

CANVAS = 64  # pixels a side
SLOTS = 8  # things a scene has room for
REGIONS = 8  # boxes a detector returns at most
CROP = 8  # pixels a side of a region's crop, so 64 features
SMALLEST, LARGEST = 8, 28  # pixels a side of a drawn digit
DISTRACTORS = (11, 18)  # pixels a side of a box that holds no digit
CLEARANCE = 3  # pixels between two digits that do not touch
WIDEST = LARGEST + 4  # pixels a side of a box, jitter included
FULL = 16  # the shade of a digit as it was scanned; less is fainter

DISTRACTOR = 10  # region class of a box that holds no digit
EMPTY = -1  # slot or region that is not there

_SPLIT_SEED = 1797  # never a parameter: a pre-trained start must not have seen test images
_SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}
_SOURCE_SHA256 = "8f26b2bd9d135c256808f68f14fdabddde6d9c7f869ae419704b051f0f14b3b3"
_DETECTION = 2  # the stream of the detector, apart from those that draw scenes
_CHUNK = 1024  # scenes rendered at once; bounds memory, changes nothing else
_TRIES = 48  # positions tried for one digit before its whole scene is drawn afresh


def generator(*key: int) -> np.random.Generator:
    """A stream of random numbers of its own for each `key`, the same on every machine."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))


@cache
def digit_images() -> tuple[Bytes, Ints]:
    """The images [1797, 8, 8] in 0..16 and the digit each shows [1797].

    Raises TaskError if the installed scikit-learn carries other images.
    """
    from sklearn.datasets import load_digits

    images, shown = load_digits(return_X_y=True)
    pixels = images.reshape(-1, 8, 8).astype(np.uint8)
    if hashlib.sha256(pixels.tobytes()).hexdigest() != _SOURCE_SHA256:
        raise TaskError(
            "scikit-learn's digits are not the 1,797 images that the tasks are made of: "
            "reinstall scikit-learn from the lock file"
        )
    return pixels, shown.astype(np.int64)


@cache
def images_of(part: Part) -> tuple[Ints, ...]:
    """Rows of `digit_images` that belong to one part, by digit; parts share no image."""
    _, shown = digit_images()
    random = generator(_SPLIT_SEED)
    first, last = {
        "train": (0.0, _SHARES["train"]),
        "validation": (_SHARES["train"], _SHARES["train"] + _SHARES["validation"]),
        "test": (_SHARES["train"] + _SHARES["validation"], 1.0),
    }[part]
    rows = [random.permutation(np.flatnonzero(shown == digit)) for digit in range(10)]
    return tuple(np.sort(r[round(first * len(r)) : round(last * len(r))]) for r in rows)


@dataclass(frozen=True)
class Scenes:
    """What was drawn: N scenes of SLOTS things; slots with `image` -1 are empty.

    image: row of `digit_images` [N, 8]; left, top: pixel of the upper left corner [N, 8];
    size: pixels a side [N, 8]; shade: brightness in sixteenths [N, 8]; turns: quarter turns [N, 8].
    """

    image: Ints
    left: Ints
    top: Ints
    size: Ints
    shade: Ints
    turns: Ints

    def __len__(self) -> int:
        return len(self.image)

    def take(self, index: Ints | slice) -> Scenes:
        """The scenes at `index`, in that order."""
        return Scenes(*(getattr(self, field.name)[index] for field in fields(self)))

    @property
    def present(self) -> Flags:
        """Slots that hold a digit [N, 8]."""
        return cast(Flags, self.image != EMPTY)

    @property
    def digit(self) -> Ints:
        """The digit shown in each slot, -1 where there is none [N, 8]."""
        return np.where(self.present, digit_images()[1][self.image], EMPTY)

    @property
    def boxes(self) -> Ints:
        """x1 y1 x2 y2 of every slot in pixels [N, 8, 4]; x2 and y2 lie just outside."""
        return np.stack([self.left, self.top, self.left + self.size, self.top + self.size], axis=-1)


@dataclass(frozen=True)
class Regions:
    """What a detector found in N scenes, in an order that carries no information.

    crops: uint8 [N, 8, 64]; boxes: pixels x1 y1 x2 y2 [N, 8, 4]; mask: [N, 8];
    label: the digit in the box, 10 for a distractor, -1 for padding [N, 8].
    """

    crops: Bytes
    boxes: Ints
    mask: Flags
    label: Ints

    def __len__(self) -> int:
        return len(self.crops)

    @property
    def region_features(self) -> NDArray[np.float32]:
        """The crops in 0..1 [N, 8, 64]."""
        return self.crops.astype(np.float32) / np.float32(255)

    @property
    def unit_boxes(self) -> NDArray[np.float32]:
        """The boxes in parts of the canvas, 0..1 [N, 8, 4]."""
        return self.boxes.astype(np.float32) / np.float32(CANVAS)


# --- placing ---------------------------------------------------------------------------------


def gap_squared(a: Ints, b: Ints) -> Ints:
    """Squared distance in pixels between boxes [..., 4]; 0 where they meet or overlap."""
    apart_x = np.maximum(np.maximum(a[..., 0] - b[..., 2], b[..., 0] - a[..., 2]), 0)
    apart_y = np.maximum(np.maximum(a[..., 1] - b[..., 3], b[..., 1] - a[..., 3]), 0)
    return cast(Ints, apart_x**2 + apart_y**2)


def anywhere(random: np.random.Generator, size: Ints) -> tuple[Ints, Ints]:
    """A random corner for things of `size` pixels (any shape), wholly on the canvas."""
    left = random.integers(0, CANVAS - size + 1)
    return left, random.integers(0, CANVAS - size + 1)


def fill(
    random: np.random.Generator, left: Ints, top: Ints, size: Ints, wanted: Flags, placed: Ints
) -> Flags:
    """Places, in `left` and `top`, the `wanted` slots [N, 8] from slot `placed` [N] on.

    Each comes to lie at least CLEARANCE pixels from all before it. Returns the scenes [N] for
    which that worked; the others are to be drawn afresh.
    """
    fits = np.ones(len(left), dtype=np.bool_)
    boxes = np.stack([left, top, left + size, top + size], axis=-1)
    for slot in range(SLOTS):
        rows = np.flatnonzero(fits & wanted[:, slot] & (placed <= slot))
        side = np.broadcast_to(size[rows, slot, None], (len(rows), _TRIES))
        x, y = anywhere(random, side)
        tried = np.stack([x, y, x + side, y + side], axis=-1)
        near = gap_squared(tried[:, :, None], boxes[rows, None, :slot]) < CLEARANCE**2
        clear = np.logical_not((near & wanted[rows, None, :slot]).any(axis=2))
        each, first = np.arange(len(rows)), clear.argmax(axis=1)
        boxes[rows, slot] = tried[each, first]
        fits[rows] = clear[each, first]
    left[:], top[:] = boxes[..., 0], boxes[..., 1]
    return fits


def pick_images(random: np.random.Generator, digit: Ints, part: Part) -> Ints:
    """A random image of `part` for each digit (any shape); -1 stays -1."""
    pools = images_of(part)
    counts = np.array([len(pool) for pool in pools])
    table = np.full((10, counts.max()), EMPTY, dtype=np.int64)
    for shown, pool in enumerate(pools):
        table[shown, : len(pool)] = pool
    chosen = random.integers(0, counts[digit])
    return np.where(digit == EMPTY, EMPTY, table[digit, chosen])


# --- drawing ---------------------------------------------------------------------------------


@cache
def _enlarging() -> NDArray[np.float32]:
    """Bilinear weights [size, pixel, source]: row `pixel` sums to 2 x size, in whole numbers."""
    weights = np.zeros((LARGEST + 1, LARGEST, 8), dtype=np.float32)
    for size in range(SMALLEST, LARGEST + 1):
        for pixel in range(size):
            # centre of the pixel in the source, in units of 1 / (2 size) of a source pixel
            whole, part = divmod(8 * (2 * pixel + 1) - size, 2 * size)
            weights[size, pixel, max(whole, 0)] += 2 * size - part
            weights[size, pixel, min(whole + 1, 7)] += part
    return weights


@cache
def _shrinking() -> NDArray[np.float32]:
    """Area weights [width, crop pixel, pixel]: row `crop pixel` sums to width."""
    weights = np.zeros((WIDEST + 1, CROP, WIDEST), dtype=np.float32)
    for width in range(1, WIDEST + 1):
        edges = np.arange(width) * CROP  # in eighths of a pixel
        for cell in range(CROP):
            end = np.minimum(edges + CROP, (cell + 1) * width)
            weights[width, cell, :width] = np.maximum(end - np.maximum(edges, cell * width), 0)
    return weights


def _quotient(numerator: NDArray[np.float32] | Ints, denominator: Ints) -> Bytes:
    """The quotient of whole numbers, rounded, halves upwards."""
    return ((2 * numerator.astype(np.int64) + denominator) // (2 * denominator)).astype(np.uint8)


def patches(image: Ints, size: Ints, shade: Ints, turns: Ints) -> Bytes:
    """The drawn digits, each in the upper left of [M, 28, 28], in 0..255; inputs are [M]."""
    source = digit_images()[0][image].astype(np.float32)
    for quarter in (1, 2, 3):
        turned = turns == quarter
        source[turned] = np.rot90(source[turned], quarter, axes=(1, 2))
    weights = _enlarging()[size]
    drawn = weights @ source @ weights.transpose(0, 2, 1)
    light = drawn.astype(np.int64) * (255 * shade)[:, None, None]
    full = 16 * FULL * (2 * size) ** 2
    return _quotient(light, full[:, None, None])


def render(scenes: Scenes) -> Bytes:
    """The canvases [N, 64, 64] in 0..255; where digits overlap the brighter pixel wins."""
    canvas = np.zeros((len(scenes), CANVAS + LARGEST, CANVAS + LARGEST), dtype=np.uint8)
    row, slot = at = np.nonzero(scenes.present)
    drawn = patches(scenes.image[at], scenes.size[at], scenes.shade[at], scenes.turns[at])
    across = np.arange(LARGEST)
    x = scenes.left[at][:, None, None] + across
    y = scenes.top[at][:, None, None] + across[:, None]
    for s in range(SLOTS):  # one slot at a time, so that no canvas is written twice at once
        one = slot == s
        place = (row[one, None, None], y[one], x[one])
        canvas[place] = np.maximum(canvas[place], drawn[one])
    return canvas[:, :CANVAS, :CANVAS]


def crop(canvas: Bytes, boxes: Ints) -> Bytes:
    """What is inside the pixel boxes [N, R, 4] of canvases [N, 64, 64], as [N, R, 64]."""
    padded = np.pad(canvas, ((0, 0), (0, WIDEST), (0, WIDEST)))
    across = np.arange(WIDEST)
    row = np.arange(len(canvas))[:, None, None, None]
    x = boxes[..., 0, None, None] + across
    y = boxes[..., 1, None, None] + across[:, None]
    width, height = boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1]
    inside = padded[row, y, x].astype(np.float32)
    sums = _shrinking()[height] @ inside @ _shrinking()[width].swapaxes(-1, -2)
    area = np.maximum(width * height, 1)[..., None, None]
    return _quotient(sums, area).reshape(*boxes.shape[:2], CROP * CROP)


# --- detecting -------------------------------------------------------------------------------


def _jittered(random: np.random.Generator, boxes: Ints, size: Ints) -> Ints:
    reach = 1 + (size >= 16)[..., None]  # about a tenth of the side, in whole pixels
    moved = boxes + random.integers(-reach, reach + 1, boxes.shape)
    return cast(Ints, np.clip(moved, 0, CANVAS))


def _covered(boxes: Ints, digits: Ints) -> Flags:
    """Whether boxes [N, T, 4] show more than 40 % of a digit [N, 8, 4], as [N, T, 8]."""
    b, d = boxes[:, :, None], digits[:, None]
    width = np.minimum(b[..., 2], d[..., 2]) - np.maximum(b[..., 0], d[..., 0])
    height = np.minimum(b[..., 3], d[..., 3]) - np.maximum(b[..., 1], d[..., 1])
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    return cast(Flags, 5 * shared > 2 * (d[..., 2] - d[..., 0]) * (d[..., 3] - d[..., 1]))


def _distractors(random: np.random.Generator, scenes: Scenes) -> tuple[Ints, Flags]:
    """Up to two boxes on background or on a piece of a digit: [N, 2, 4] and which exist [N, 2]."""
    tries = 16
    shape = (len(scenes), 2 * tries)
    side = random.integers(DISTRACTORS[0], DISTRACTORS[1] + 1, shape)
    x, y = anywhere(random, side)
    boxes = np.stack([x, y, x + side, y + side], axis=-1)
    free = ~(_covered(boxes, scenes.boxes) & scenes.present[:, None]).any(axis=2)
    free = free.reshape(-1, 2, tries)
    first = free.argmax(axis=2)[..., None, None]
    chosen = np.take_along_axis(boxes.reshape(-1, 2, tries, 4), first, axis=2)[:, :, 0]
    asked = random.integers(0, 3, len(scenes))[:, None] > np.arange(2)
    return chosen, free.any(axis=2) & asked


def detect(scenes: Scenes, seed: int) -> Regions:
    """Boxes as a detector would give them: jittered, with distractors, in random order.

    Every digit is found. `seed` decides jitter, distractors and order.
    """
    random = generator(seed, _DETECTION)
    extra, exists = _distractors(random, scenes)
    boxes = np.concatenate([_jittered(random, scenes.boxes, scenes.size), extra], axis=1)
    label = np.concatenate([scenes.digit, np.where(exists, DISTRACTOR, EMPTY)], axis=1)
    # Keep the digits, then the distractors there is room for; then mix, padding last.
    kept = np.argsort(2 * (label == EMPTY) + (label == DISTRACTOR), axis=1, kind="stable")
    kept = kept[:, :REGIONS]
    empty = np.take_along_axis(label, kept, axis=1) == EMPTY
    mixed = np.argsort(random.random(kept.shape) + empty, axis=1, kind="stable")
    kept = np.take_along_axis(kept, mixed, axis=1)
    label = np.take_along_axis(label, kept, axis=1)
    mask = label != EMPTY
    boxes = np.take_along_axis(boxes, kept[..., None], axis=1) * mask[..., None]
    crops = np.concatenate(
        [
            crop(render(scenes.take(slice(i, i + _CHUNK))), boxes[i : i + _CHUNK])
            for i in range(0, max(len(scenes), 1), _CHUNK)
        ]
    )
    return Regions(crops * mask[..., None], boxes, mask, label)
