"""`digit-reports`: which of 14 findings does the scene show? Open-I's form on digits.

Findings are rare and long-tailed, and most scenes are normal, as in the chest X-rays of Open-I
(Demner-Fushman et al. 2016; with the labels of Li et al. 2020, 72 % of test items are normal and
a finding holds of 3.1 % of them on average). The report never lies, but it leaves findings out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lthlib.lab.tasks import relations as rel
from lthlib.lab.tasks import scenes as sc
from lthlib.lab.tasks.items import Items, Recipe
from lthlib.lab.tasks.scenes import EMPTY, Flags, Ints, Part, Scenes


class Finding(NamedTuple):
    """A name, and the share of scenes that show it, before contradictions are resolved."""

    name: str
    share: float


FINDINGS = (
    Finding("zero", 0.095),  # digits that a normal scene does not show
    Finding("seven", 0.080),
    Finding("six", 0.045),
    Finding("large digit", 0.040),
    Finding("four", 0.032),
    Finding("touching digits", 0.030),
    Finding("small digit", 0.026),
    Finding("faint digit", 0.022),
    Finding("one", 0.017),
    Finding("turned digit", 0.014),  # by a quarter turn
    Finding("twin digits", 0.012),  # two of the same
    Finding("crowding", 0.010),  # five digits; usually two or three
    Finding("lone digit", 0.008),
    Finding("empty half", 0.006),  # nothing in the left half, or nothing in the right half
)
NAMES = tuple(finding.name for finding in FINDINGS)
_COLUMN = {name: column for column, name in enumerate(NAMES)}

USUAL_DIGITS = np.array([2, 3, 5, 8, 9])
FOREIGN = {"zero": 0, "seven": 7, "six": 6, "four": 4, "one": 1}
USUAL, LARGE, SMALL = (14, 17), (26, 28), (8, 9)  # pixels a side; jitter never mixes them up
FAINT = 6  # sixteenths of the usual brightness
MIDDLE, REACH = sc.CANVAS // 2, 6  # a half counts as used from 6 pixels beyond the middle

_ABNORMAL = 0.4  # findings come together: all are drawn among this share of scenes
_NAMED = 0.5  # chance that the report names a finding that is there
_DENIED = 2.0  # a finding that is not there is denied this often, in units of its share
_SENTENCES = 5  # at most
_STREAM = {"train": 21, "validation": 22, "test": 23}


def draw_findings(random: np.random.Generator, count: int) -> Flags:
    """Which findings each scene is to show [count, 14], free of contradictions."""
    share = np.array([finding.share for finding in FINDINGS]) / _ABNORMAL
    found = random.random((count, len(FINDINGS))) < share
    found &= random.random((count, 1)) < _ABNORMAL

    def clear(where: Flags, *names: str) -> None:
        for name in names:
            found[where, _COLUMN[name]] = False

    clear(
        found[:, _COLUMN["lone digit"]],
        *FOREIGN,
        *("touching digits", "small digit", "twin digits", "crowding", "empty half"),
    )
    clear(found[:, _COLUMN["crowding"]], "large digit", "empty half")
    clear(found[:, _COLUMN["empty half"]], "large digit", "twin digits")
    clear(found[:, _COLUMN["touching digits"]], "turned digit")  # they meet as they stand upright
    foreign = [_COLUMN[name] for name in FOREIGN]
    most = np.where(found[:, _COLUMN["empty half"]], 1, 2)  # half a canvas has little room
    found[:, foreign] &= np.cumsum(found[:, foreign], axis=1) <= most[:, None]
    return found


def _shown(random: np.random.Generator, found: Flags) -> Ints:
    """Which digits make the findings true [N, 8]; the first is a usual one, -1 is none."""
    count = len(found)
    digits = np.full((count, sc.SLOTS), EMPTY, dtype=np.int64)
    usual = random.permuted(np.tile(USUAL_DIGITS, (count, 1)), axis=1)
    digits[:, :5] = usual
    twin = found[:, _COLUMN["twin digits"]]
    digits[twin, 1] = digits[twin, 0]
    foreign = found[:, [_COLUMN[name] for name in FOREIGN]]
    strangers = foreign.sum(axis=1)
    total = np.where(found[:, _COLUMN["empty half"]], 2, random.integers(2, 4, count))
    total = np.maximum(total, strangers + 1 + twin)
    total[found[:, _COLUMN["crowding"]]] = 5
    total[found[:, _COLUMN["lone digit"]]] = 1
    digits[np.arange(sc.SLOTS) >= total[:, None]] = EMPTY
    # foreign digits take the last places
    rank = np.cumsum(foreign, axis=1)
    for column, digit in enumerate(FOREIGN.values()):
        rows = np.flatnonzero(foreign[:, column])
        digits[rows, total[rows] - rank[rows, column]] = digit
    return digits


def _sizes(random: np.random.Generator, found: Flags, total: Ints) -> Ints:
    """Pixels a side [N, 8], one of the `total` [N] digits large, or small, where found."""
    count, each = len(found), np.arange(len(found))
    size = random.integers(USUAL[0], USUAL[1] + 1, (count, sc.SLOTS))
    first = random.integers(0, total)
    for name, slot, (least, most) in (
        ("large digit", first, LARGE),
        ("small digit", (first + 1) % total, SMALL),
    ):
        special = random.integers(least, most + 1, count)
        size[each, slot] = np.where(found[:, _COLUMN[name]], special, size[each, slot])
    return np.where(np.arange(sc.SLOTS) < total[:, None], size, 0)


def _placed(
    random: np.random.Generator, found: Flags, image: Ints, size: Ints
) -> tuple[Ints, Ints, Flags]:
    """Corners [N, 8], and whether they show the findings that concern places [N]."""
    present = image != EMPTY
    left, top = np.zeros_like(image), np.zeros_like(image)
    touch = found[:, _COLUMN["touching digits"]]
    left[touch, :2], top[touch, :2] = rel.slide_together(random, image[touch, :2], size[touch, :2])
    fits = sc.fill(random, left, top, size, present, np.where(touch, 2, 0))
    boxes = np.stack([left, top, left + size, top + size], axis=-1)
    fits &= ~touch | rel.in_contact(boxes[:, 0], boxes[:, 1])

    start = np.where(present, left, sc.CANVAS).min(axis=1)
    end = np.where(present, left + size, 0).max(axis=1)
    empty = (start >= MIDDLE) | (end <= MIDDLE)
    spread = (start <= MIDDLE - REACH) & (end >= MIDDLE + REACH)
    return left, top, fits & np.where(found[:, _COLUMN["empty half"]], empty, spread)


def draw(random: np.random.Generator, found: Flags, part: Part) -> Scenes:
    """Scenes of images of one part that show the findings [N, 14], those and no others."""
    digits = _shown(random, found)
    total = (digits != EMPTY).sum(axis=1)
    turns, shade = np.zeros_like(digits), np.full_like(digits, sc.FULL)
    turns[found[:, _COLUMN["turned digit"]], 0] = 1
    faint = found[:, _COLUMN["faint digit"]]
    shade[faint, random.integers(0, total[faint])] = FAINT

    image, left, top, size = (np.full_like(digits, EMPTY) for _ in range(4))
    rows = np.arange(len(found))
    while len(rows):
        image[rows] = sc.pick_images(random, digits[rows], part)
        size[rows] = _sizes(random, found[rows], total[rows])
        left[rows], top[rows], fits = _placed(random, found[rows], image[rows], size[rows])
        rows = rows[~fits]
    return Scenes(image, left, top, size, shade, turns)


def write_reports(random: np.random.Generator, found: Flags) -> tuple[list[str], Flags]:
    """A report of each scene, and which findings it names [N, 14]: about half of those there.

    It denies some that are not there, and calls only normal scenes normal.
    """
    share = np.array([finding.share for finding in FINDINGS])
    named = found & (random.random(found.shape) < _NAMED)
    denied = ~found & (random.random(found.shape) < _DENIED * share)
    order = np.argsort(random.random(found.shape), axis=1)
    style = random.integers(0, len(_FOUND), found.shape)
    overall = random.integers(0, 2 * len(_NORMAL), len(found))
    texts = []
    for row in range(len(found)):
        said = []
        if overall[row] < len(_NORMAL) and not found[row].any():
            said.append(_NORMAL[overall[row]])
        for column in order[row]:
            if named[row, column] and len(said) < _SENTENCES:
                said.append(_FOUND[style[row, column]].format(NAMES[column]))
            elif denied[row, column] and len(said) < _SENTENCES:
                said.append(f"no {NAMES[column]}.")
            else:
                named[row, column] = False
        texts.append(" ".join(said) or "digits seen.")
    return texts, named


_FOUND = ("{} seen.", "{} present.")
_NORMAL = ("normal scene.", "clear.", "no findings.")


def make(part: Part, count: int, seed: int) -> Items:
    """`count` items of one part; the same for the same arguments."""
    random = sc.generator(seed, _STREAM[part])
    found = draw_findings(random, count)
    scenes = draw(random, found, part)
    texts, named = write_reports(random, found)
    return Items(
        text=np.array(texts),
        labels=found.astype(np.int64),
        scenes=scenes,
        regions=sc.detect(scenes, int(random.integers(2**63))),
        facts={
            "findings": _listed(found),
            "named": _listed(named),
            "normal": np.logical_not(found.any(axis=1)),
        },
    )


def _listed(flags: Flags) -> NDArray[np.str_]:
    return np.array([",".join(NAMES[column] for column in np.flatnonzero(row)) for row in flags])


RECIPE = Recipe(
    name="digit-reports",
    version=2,
    kind="multi",
    decisions=NAMES,
    classes=("absent", "present"),
    width=24,
    counts={"train": 8000, "validation": 800, "test": 1600},
    step=1,
    make=make,
)
