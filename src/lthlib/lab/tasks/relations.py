"""Spatial relations between two digits, by name and by geometry.

The names and their meta-categories are VSR's (Liu, Emerson and Collier 2023, "Visual Spatial
Reasoning", TACL, table 1), where the picture's plane alone decides them. Relations come in
opposite pairs, so that a picture of a true caption and a picture of a false one look alike.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import numpy as np

from lthlib.lab.tasks import scenes as sc
from lthlib.lab.tasks.scenes import Flags, Ints, Part, Scenes

NOUNS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

APART = 10  # pixels between centres from which left, right, above, below are clear
LEVEL = 4  # pixels between centres up to which two digits stand side by side, or in a column
NEAR, FAR = 5, 24  # pixels between boxes: near up to the first, far from the second
DETACHED = 6  # pixels between boxes from which digits do not touch, to any eye

SIZES = (10, 20)  # pixels a side of the digits in these scenes
INK = 96  # a pixel at least this bright, of 255, belongs to the stroke of a digit
OVERLAP = 2  # pixels that the boxes of touching digits share at least, so that it shows

_TRIES = 24  # places tried for a pair before its scene is drawn afresh
_FAR_OUT = 10**6
_PRETRAINING = 71  # keeps these scenes apart from every task's

ACROSS, DOWN, BESIDE, STACKED, DISTANCE, CONTACT = range(6)  # rows of `evidence`


class Relation(NamedTuple):
    """A name, VSR's meta-category, the evidence that decides it, and which sign makes it true."""

    name: str
    meta_category: str
    evidence: int
    sign: int


RELATIONS = (
    Relation("left of", "Projective", ACROSS, 1),
    Relation("right of", "Projective", ACROSS, -1),
    Relation("above", "Projective", DOWN, 1),
    Relation("below", "Projective", DOWN, -1),
    Relation("at the left side of", "Adjacency", BESIDE, 1),
    Relation("at the right side of", "Adjacency", BESIDE, -1),
    Relation("over", "Projective", STACKED, 1),
    Relation("under", "Projective", STACKED, -1),
    Relation("near", "Proximity", DISTANCE, 1),
    Relation("far from", "Proximity", DISTANCE, -1),
    Relation("close to", "Proximity", DISTANCE, 1),
    Relation("far away from", "Proximity", DISTANCE, -1),
    Relation("next to", "Unallocated", DISTANCE, 1),
    Relation("away from", "Directional", DISTANCE, -1),
    Relation("touching", "Topological", CONTACT, 1),
    Relation("detached from", "Topological", CONTACT, -1),
)
_EVIDENCE = np.array([relation.evidence for relation in RELATIONS])
_SIGN = np.array([relation.sign for relation in RELATIONS])


def evidence(subject: Ints, other: Ints) -> Ints:
    """What the boxes [..., 4] in pixels say, as [6, ...]: 1, -1, or 0 where it is not clear.

    ACROSS 1: subject further left by APART; DOWN 1: further up by APART; BESIDE and STACKED: the
    same, for digits side by side (in a column); DISTANCE 1: at most NEAR apart, -1: at least FAR;
    CONTACT 1: boxes overlap (scenes let none but touching digits do that), -1: DETACHED apart.
    """
    twice_right = other[..., 0] + other[..., 2] - subject[..., 0] - subject[..., 2]
    twice_down = other[..., 1] + other[..., 3] - subject[..., 1] - subject[..., 3]
    gap = sc.gap_squared(subject, other)
    across = np.sign(twice_right) * (np.abs(twice_right) >= 2 * APART)
    down = np.sign(twice_down) * (np.abs(twice_down) >= 2 * APART)
    beside = across * (np.abs(twice_down) <= 2 * LEVEL)
    stacked = down * (np.abs(twice_right) <= 2 * LEVEL)
    distance = (gap <= NEAR**2).astype(np.int64) - (gap >= FAR**2)
    contact = (gap == 0).astype(np.int64) - (gap >= DETACHED**2)
    return np.stack([across, down, beside, stacked, distance, contact])


def holds(relation: Ints, subject: Ints, other: Ints) -> Ints:
    """Whether each relation [...] holds between boxes [..., 4]: 1 yes, -1 no, 0 not clear."""
    kind = np.broadcast_to(_EVIDENCE[relation], subject.shape[:-1])
    decided = np.take_along_axis(evidence(subject, other), kind[None], axis=0)[0]
    return np.asarray(decided * _SIGN[relation])


def sentence(subject: int, relation: int, other: int) -> str:
    """`the seven is left of the three`."""
    return f"the {NOUNS[subject]} is {RELATIONS[relation].name} the {NOUNS[other]}"


# --- scenes in which a relation holds, or does not -------------------------------------------


def slide_together(random: np.random.Generator, image: Ints, size: Ints) -> tuple[Ints, Ints]:
    """Corners [N, 2] of two digits [N, 2] whose ink meets, side by side or in a column."""
    count = len(image)
    each = np.arange(count)
    full, upright = np.full(count, sc.FULL), np.zeros(count, dtype=np.int64)
    column = random.integers(0, 2, count) == 1
    order = np.where(random.integers(0, 2, (count, 1)) == 1, [1, 0], [0, 1])
    image, size = image[each[:, None], order], size[each[:, None], order]
    ink = [sc.patches(image[:, s], size[:, s], full, upright) >= INK for s in (0, 1)]
    first, second = (np.where(column[:, None, None], i.swapaxes(1, 2), i) for i in ink)

    # Move the second across the first by `offset`, then along it until some row's ink meets.
    middle, slack = (size[:, 0] - size[:, 1]) // 2, size.min(axis=1) // 3
    offset = random.integers(middle - slack, middle + slack + 1)
    row = np.arange(sc.LARGEST) - offset[:, None]
    inside = (row >= 0) & (row < sc.LARGEST)
    moved = second[each[:, None], np.where(inside, row, 0)] & inside[..., None]
    end = np.where(first.any(2), sc.LARGEST - 1 - first[..., ::-1].argmax(2), -_FAR_OUT)
    start = np.where(moved.any(2), moved.argmax(2), _FAR_OUT)
    along = (end - start).max(axis=1)

    corner = np.zeros((2, count, 2), dtype=np.int64)  # x or y, scene, first or second
    corner[0, :, 1], corner[1, :, 1] = np.where(column, [offset, along], [along, offset])
    corner -= corner.min(axis=2, keepdims=True)
    spare = np.maximum(sc.CANVAS - (corner + size).max(axis=2), 0)
    corner += random.integers(0, spare + 1)[..., None]
    x, y = np.take_along_axis(corner, order[None], axis=2)
    return x, y


def in_contact(one: Ints, two: Ints) -> Flags:
    """Whether boxes [..., 4] overlap enough to show it, and lie on the canvas."""
    shared = np.minimum(one[..., 2:], two[..., 2:]) - np.maximum(one[..., :2], two[..., :2])
    end = np.maximum(one, two).max(axis=-1)
    return cast(Flags, (shared.min(axis=-1) >= OVERLAP) & (end <= sc.CANVAS))


def _place_pair(
    random: np.random.Generator, image: Ints, size: Ints, relation: Ints, wanted: Flags
) -> tuple[Ints, Ints, Flags]:
    """Corners [N, 2] of the first two slots with `relation` [N] clearly `wanted` [N], if found."""
    sides = np.broadcast_to(size[:, None, :2], (len(size), _TRIES, 2))
    x, y = sc.anywhere(random, sides)
    touch = (_EVIDENCE[relation] == CONTACT) & ((_SIGN[relation] == 1) == wanted)
    pairs = slide_together(random, image[touch, :2], size[touch, :2])
    x[touch], y[touch] = (corner[:, None] for corner in pairs)

    boxes = np.stack([x, y, x + sides, y + sides], axis=-1)
    one, two = boxes[:, :, 0], boxes[:, :, 1]
    good = holds(relation[:, None], one, two) == np.where(wanted, 1, -1)[:, None]
    apart = sc.gap_squared(one, two) >= sc.CLEARANCE**2
    good &= np.where(touch[:, None], in_contact(one, two), apart)
    each, first = np.arange(len(size)), good.argmax(axis=1)
    return x[each, first], y[each, first], good[each, first]


def draw(
    random: np.random.Generator, digits: Ints, relation: Ints, wanted: Flags, part: Part
) -> Scenes:
    """Scenes of `digits` [N, 8] (-1: none) in which `relation` [N] of the first to the second
    clearly holds where `wanted` [N], and clearly does not where it is not.

    Images are those of one part. Whatever does not fit is drawn afresh, whole, so that what ends
    on a canvas depends on `digits` alone and on the truth of the relation.
    """
    image, left, top, size = (np.full(digits.shape, sc.EMPTY, dtype=np.int64) for _ in range(4))
    rows = np.arange(len(digits))
    while len(rows):
        image[rows] = sc.pick_images(random, digits[rows], part)
        sides = random.integers(SIZES[0], SIZES[1] + 1, (len(rows), sc.SLOTS))
        size[rows] = np.where(digits[rows] == sc.EMPTY, 0, sides)
        x, y = np.zeros_like(left[rows]), np.zeros_like(top[rows])
        x[:, :2], y[:, :2], paired = _place_pair(
            random, image[rows], size[rows], relation[rows], wanted[rows]
        )
        fits = sc.fill(random, x, y, size[rows], digits[rows] != sc.EMPTY, np.full(len(rows), 2))
        left[rows], top[rows] = x, y
        rows = rows[~(fits & paired)]
    full = np.full_like(image, sc.FULL)
    return Scenes(image, left, top, size, full, np.zeros_like(image))


def draw_digits(random: np.random.Generator, count: int) -> Ints:
    """Which digits to show [count, 8]: 2 to 6 different ones, then -1."""
    shown = random.permuted(np.tile(np.arange(10), (count, 1)), axis=1)[:, : sc.SLOTS]
    many = random.integers(2, 7, count)
    return np.where(np.arange(sc.SLOTS) < many[:, None], shown, sc.EMPTY)


# --- for pre-training --------------------------------------------------------------------------


class Captions(NamedTuple):
    """One caption per scene: its text, and the two digits and the relation it speaks of [N]."""

    text: list[str]
    subject: Ints
    relation: Ints
    object: Ints


def training_scenes(count: int, seed: int) -> Scenes:
    """Scenes of training images only, none of them an item of a task, for pre-training."""
    random = sc.generator(seed, _PRETRAINING)
    relation = random.integers(0, len(RELATIONS), count)
    wanted = random.integers(0, 2, count) == 1
    return draw(random, draw_digits(random, count), relation, wanted, "train")


def captions(scenes: Scenes, seed: int, *, truth: bool = True) -> Captions:
    """A random caption for each scene that is clearly true of it (or, clearly false)."""
    random = sc.generator(seed, _PRETRAINING, 1)
    boxes, count = scenes.boxes, len(scenes)
    signs = evidence(boxes[:, :, None], boxes[:, None])[_EVIDENCE]
    signs *= _SIGN[:, None, None, None]
    both = scenes.present[:, :, None] & scenes.present[:, None] & ~np.eye(sc.SLOTS, dtype=np.bool_)
    fit = (signs == (1 if truth else -1)) & both
    fit = fit.transpose(1, 0, 2, 3).reshape(count, len(RELATIONS), sc.SLOTS**2)
    # First the relation, rare ones about as readily as common ones, then a pair it is true of.
    found = fit.any(axis=2)
    weight = np.cumsum(found / np.maximum(found.sum(axis=0), 1), axis=1)
    relation = (random.random((count, 1)) * weight[:, -1:] < weight).argmax(axis=1)
    fit = fit[np.arange(count), relation]
    pair = (random.random(fit.shape) * fit).argmax(axis=1)
    row = np.arange(count)
    subject, other = scenes.digit[row, pair // sc.SLOTS], scenes.digit[row, pair % sc.SLOTS]
    text = [sentence(*words) for words in zip(subject, relation, other, strict=True)]
    return Captions(text, subject, relation, other)
