"""A small data set that the project makes itself: how many shapes are in the picture?

A picture shows one to nine coloured shapes, and a text says of how many there are more ("there are
more than three shapes", "at least four shapes are here"). Pictures come in pairs of the same part,
three shapes apart, and each text is said of both: it is true of one and false of the other. So a
model that reads the text alone is right on half of the items, in every part, whatever it does.

Pictures are drawn on a raster of whole numbers, so that they are the same everywhere.
"""

from __future__ import annotations

import csv
import functools
import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lthlib.errors import TaskError, reason
from lthlib.records import write_atomically

NAME, TABLE, IMAGES = "shapes", "shapes.csv", "images"
PAIRS = {"train": 140, "validation": 20, "test": 40}
"""Pairs of pictures in each part: 400 pictures, and six items of a pair."""
GAP = 3
"""How many more shapes one picture of a pair has; as many texts tell the two apart."""
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
COLOURS = ((200, 40, 40), (30, 140, 60), (40, 80, 200))
KINDS = ("circle", "square", "triangle")
CELLS, CELL, RADIUS, SHIFT = 3, 32, 11, 3
"""Cells along each edge, the pixels of one, half a shape's width, and how far it may be off."""
_FINE = 4  # points along each edge of a pixel that are looked at


class Shape(NamedTuple):
    """What fills one cell: its middle in pixels, half its width, its kind and its colour."""

    x: int
    y: int
    radius: int
    kind: str
    colour: tuple[int, int, int]


class Item(NamedTuple):
    """One row of the table."""

    image: str
    text: str
    label: str
    split: str


@functools.cache
def example() -> tuple[tuple[Item, ...], dict[str, tuple[Shape, ...]]]:
    """All items, and what each picture shows, by its file's name; the same each time."""
    random = np.random.default_rng(0)
    items: list[Item] = []
    pictures: dict[str, tuple[Shape, ...]] = {}
    for part, pairs in PAIRS.items():
        for _ in range(pairs):
            fewer = int(random.integers(1, CELLS**2 - GAP + 1))
            names = []
            for count in (fewer, fewer + GAP):
                names.append(f"{len(pictures):03d}.png")
                pictures[names[-1]] = tuple(_shapes(count, random))
            for count in range(fewer, fewer + GAP):
                text = _text(count, plain=bool(random.integers(2)))
                items += [
                    Item(names[1], text, "true", part),
                    Item(names[0], text, "false", part),
                ]
    return tuple(items), pictures


def _shapes(count: int, random: np.random.Generator) -> Iterator[Shape]:
    for cell in random.permutation(CELLS**2)[:count]:
        row, column = divmod(int(cell), CELLS)
        right, down = random.integers(-SHIFT, SHIFT + 1, size=2)
        yield Shape(
            CELL * column + CELL // 2 + int(right),
            CELL * row + CELL // 2 + int(down),
            RADIUS + int(random.integers(-1, 2)),
            KINDS[random.integers(len(KINDS))],
            COLOURS[random.integers(len(COLOURS))],
        )


def _text(count: int, *, plain: bool) -> str:
    """That there are more than `count` shapes, in one of two ways."""
    if plain:
        return f"there are more than {NUMBERS[count]} shapes"
    return f"at least {NUMBERS[count + 1]} shapes are here"


def picture(name: str) -> Image.Image:
    """A picture by its file's name, 96 by 96. Raises TaskError for one that the example lacks."""
    shapes = example()[1].get(name)
    if shapes is None:
        raise TaskError(f"the example has no picture {name!r}")
    return Image.fromarray(_drawn(shapes))


def _drawn(shapes: tuple[Shape, ...]) -> NDArray[np.uint8]:
    """uint8 [H, W, 3]: each pixel the mean of its points, in whole numbers."""
    side, points = CELLS * CELL, CELL * _FINE
    fine = np.full((side * _FINE, side * _FINE, 3), 255, dtype=np.uint32)
    for shape in shapes:
        # A shape lies within its cell, however far it is off.
        left, top = (place // CELL * points for place in (shape.x, shape.y))
        fine[top : top + points, left : left + points][_covers(shape, left, top)] = shape.colour
    sums = fine.reshape(side, _FINE, side, _FINE, 3).sum(axis=(1, 3))
    return np.asarray(sums // _FINE**2, dtype=np.uint8)


def _covers(shape: Shape, left: int, top: int) -> NDArray[np.bool_]:
    """Which points of the cell that begins there lie in a shape."""
    # Twice the place of each point, so that all of them are whole numbers.
    along, unit = 2 * np.arange(CELL * _FINE) + 1, 2 * _FINE
    right = along[None, :] + 2 * left - unit * shape.x
    down = along[:, None] + 2 * top - unit * shape.y
    reach = unit * shape.radius
    if shape.kind == "circle":
        return np.asarray(right**2 + down**2 <= reach**2)
    inside = (abs(right) <= reach) & (abs(down) <= reach)
    if shape.kind == "square":
        return np.asarray(inside)
    return np.asarray(inside & (2 * abs(right) <= down + reach))


def write_example(folder: Path) -> tuple[Path, Path]:
    """Write the table and the pictures; returns where they lie.

    Raises TaskError for a folder that cannot be written, and for a table there that is another.
    """
    items, pictures = example()
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Item._fields)
    writer.writerows(items)
    table, images = folder / TABLE, folder / IMAGES
    try:
        if table.exists() and table.read_text(encoding="utf-8") != text.getvalue():
            raise TaskError(f"{table} is there, and is not the example's: name another folder")
        images.mkdir(parents=True, exist_ok=True)
        for name in pictures:
            picture(name).save(images / name, "PNG")
        # Written last, so that a table that is there has all its pictures.
        write_atomically(table, text.getvalue().encode())
    except (OSError, UnicodeDecodeError) as error:
        why = reason(error) if isinstance(error, OSError) else "it holds something else"
        raise TaskError(f"{folder} cannot be written ({why}): name another folder") from None
    return table, images
