"""Readers of image sets with one class an image: MNIST, CIFAR-10, CIFAR-100 and CUB-200-2011.

A data folder holds them as they are published,

    mnist/{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz
    cifar/cifar-10-binary.tar.gz, cifar/cifar-100-binary.tar.gz     the binary versions, no pickles
    cub/CUB_200_2011/, cub/attributes.txt                           CUB_200_2011.tgz, unpacked

Archives of pixels are read in place: only the members that are named here, each of the size that
it must have. Nothing in them is run, and nothing of them is unpacked.
"""

from __future__ import annotations

import gzip
import tarfile
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lthlib.errors import TaskError, in_one_line, reason
from lthlib.lab.archives import DAMAGED

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Pictures:
    """Images of a training part, then of a test part.

    pixels: uint8 [N, H, W, C]; labels: int64 [N]; train: how many of them are the training part;
    classes: names by label.
    """

    pixels: Pixels
    labels: NDArray[np.int64]
    train: int
    classes: tuple[str, ...]


# -- MNIST ----------------------------------------------------------------------------------------
MNIST_PARTS = {"train": 60_000, "t10k": 10_000}
DIGITS = tuple(map(str, range(10)))
_IMAGES, _LABELS = 2051, 2049  # the first four bytes of an IDX file, which tell what it holds


def mnist_file(part: str, what: str) -> Path:
    """Where a file of MNIST lies in a data folder; what: images-idx3 or labels-idx1."""
    return Path("mnist") / f"{part}-{what}-ubyte.gz"


def read_mnist(folder: Path) -> Pictures:
    """MNIST (LeCun and others 1998), 28 by 28. Raises TaskError for a file that is not MNIST's."""
    pixels, labels = [], []
    for part, count in MNIST_PARTS.items():
        path = folder / mnist_file(part, "images-idx3")
        pixels.append(_idx(path, _IMAGES, (count, 28, 28))[..., None])
        path = folder / mnist_file(part, "labels-idx1")
        labels.append(_checked(_idx(path, _LABELS, (count,)), DIGITS, path))
    return Pictures(np.concatenate(pixels), np.concatenate(labels), MNIST_PARTS["train"], DIGITS)


def _idx(path: Path, magic: int, shape: tuple[int, ...]) -> Pixels:
    """An IDX file of whole bytes: magic number and sizes as big-endian integers, then the bytes."""
    head = np.array([magic, *shape], dtype=">u4").tobytes()
    size = len(head) + int(np.prod(shape))
    try:
        with gzip.open(path) as file:
            content = file.read(size + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise TaskError(f"{path} is damaged ({in_one_line(error)}): get it again") from None
    except OSError as error:
        raise TaskError(_missing(path, error)) from None
    if len(content) != size or not content.startswith(head):
        raise TaskError(f"{path} is no IDX file of {' x '.join(map(str, shape))}: get it again")
    return np.frombuffer(content, np.uint8, offset=len(head)).reshape(shape)


# -- CIFAR ----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Cifar:
    """How a binary archive is laid out: each record is its labels, of which the last counts, then
    32 x 32 pixels, colour by colour."""

    folder: str
    train: tuple[str, ...]
    test: str
    names: str
    labels: int
    classes: int


CIFAR_RECORDS = {"train": 50_000, "test": 10_000}
_SIDE = 32
_CIFAR = {
    "cifar-10": _Cifar(
        "cifar-10-batches-bin",
        tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
        "test_batch.bin",
        "batches.meta.txt",
        labels=1,
        classes=10,
    ),
    "cifar-100": _Cifar(
        "cifar-100-binary", ("train.bin",), "test.bin", "fine_label_names.txt", 2, 100
    ),
}


def cifar_file(name: str) -> Path:
    """Where the archive of `cifar-10` or `cifar-100` lies in a data folder."""
    return Path("cifar") / f"{name}-binary.tar.gz"


def read_cifar(folder: Path, name: str) -> Pictures:
    """CIFAR-10 or CIFAR-100 (Krizhevsky 2009), 32 by 32 in colour, by its fine labels.

    Raises TaskError for an archive that is missing, damaged, or lacks a file or a record.
    """
    about, path = _CIFAR[name], folder / cifar_file(name)
    record = about.labels + 3 * _SIDE**2
    each = CIFAR_RECORDS["train"] // len(about.train) * record
    sizes = dict.fromkeys(about.train, each) | {about.test: CIFAR_RECORDS["test"] * record}
    found = _members(path, about.folder, sizes, about.names)
    classes = tuple(found.pop(about.names).decode("ascii", "replace").split())
    if len(classes) != about.classes:
        raise TaskError(f"{path} names {len(classes)} classes, not {about.classes}: get it again")
    rows = np.concatenate([np.frombuffer(found[n], np.uint8).reshape(-1, record) for n in sizes])
    pixels = rows[:, about.labels :].reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1)
    labels = _checked(rows[:, about.labels - 1], classes, path)
    return Pictures(np.ascontiguousarray(pixels), labels, CIFAR_RECORDS["train"], classes)


MOST_NAMES = 2**16  # bytes of a list of class names


def _members(path: Path, folder: str, sizes: dict[str, int], listed: str) -> dict[str, bytes]:
    """Files of a .tar.gz, each of exactly its size, and a list of names."""
    wanted = {f"{folder}/{name}": name for name in (*sizes, listed)}
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r|gz") as archive:
            for member in archive:
                name = wanted.get(member.name)
                file = archive.extractfile(member) if name and member.isreg() else None
                if name is None or file is None:
                    continue
                if member.size > MOST_NAMES if name == listed else member.size != sizes[name]:
                    raise TaskError(
                        f"{path}: {member.name} has {member.size:,} bytes, and should have "
                        f"{sizes.get(name, 'fewer')}: get it again"
                    )
                found[name] = file.read()
    except TaskError:
        raise
    except DAMAGED as error:
        raise TaskError(f"{path} is damaged ({in_one_line(error)}): get it again") from None
    except OSError as error:
        raise TaskError(_missing(path, error)) from None
    if lacking := wanted.values() - found.keys():
        raise TaskError(f"{path} holds no {folder}/{min(lacking)}: get it again")
    return found


# -- CUB ------------------------------------------------------------------------------------------
CUB_FOLDER = Path("cub") / "CUB_200_2011"
CUB_IMAGES, CUB_CLASSES, CUB_TRAIN = 11_788, 200, 5_994
CUB_PARTS, CUB_ATTRIBUTES = 15, 312


@dataclass(frozen=True)
class Cub:
    """CUB-200-2011 (Wah and others 2011) in a data folder, without the images themselves.

    images: by number from 1: image (its path below `images`), label (from 0), train, and the bird's
    box x, y, width, height in pixels; classes: names by label.
    """

    folder: Path
    images: pd.DataFrame
    classes: tuple[str, ...]

    @cached_property
    def parts(self) -> pd.DataFrame:
        """Where each of 15 parts lies: image (its number), part (its name), x, y, visible.

        Raises TaskError for a file that is missing or is another.
        """
        names = _column(self.folder / "parts" / "parts.txt", CUB_PARTS)
        path = self.folder / "parts" / "part_locs.txt"
        found = _table(path, ["image", "part", "x", "y", "visible"], CUB_PARTS * len(self.images))
        _within(path, found["image"], len(self.images))
        _within(path, found["part"], CUB_PARTS)
        return found.assign(part=found["part"].map(names), visible=found["visible"] == 1)

    @cached_property
    def attributes(self) -> pd.DataFrame:
        """What people saw: bool [images, 312], a column for each attribute's name.

        Raises TaskError for a file that is missing or is another. Some lines of the published file
        have more columns than they should: what stands beyond the fourth is not read.
        """
        beside = self.folder.parent / "attributes.txt"
        inside = self.folder / "attributes.txt"
        names = _column(inside if inside.is_file() else beside, CUB_ATTRIBUTES)
        path = self.folder / "attributes" / "image_attribute_labels.txt"
        columns = ["image", "attribute", "present", "certainty"]
        found = _table(path, columns, CUB_ATTRIBUTES * len(self.images), spare=3)
        _within(path, found["image"], len(self.images))
        _within(path, found["attribute"], CUB_ATTRIBUTES)
        seen = np.zeros((len(self.images), CUB_ATTRIBUTES), dtype=bool)
        seen[found["image"] - 1, found["attribute"] - 1] = found["present"] == 1
        return pd.DataFrame(seen, index=self.images.index, columns=[*names])


def read_cub(folder: Path) -> Cub:
    """CUB-200-2011 in a data folder. Raises TaskError for a file that is missing or is another."""
    root = folder / CUB_FOLDER
    classes = _column(root / "classes.txt", CUB_CLASSES)
    names = _column(root / "images.txt", CUB_IMAGES)
    images = pd.DataFrame({"image": names})
    for name, column in (("image_class_labels", "label"), ("train_test_split", "train")):
        path = root / f"{name}.txt"
        images[column] = _table(path, ["image", column], CUB_IMAGES)[column].to_numpy()
        if column == "label":
            _within(path, images["label"], CUB_CLASSES)
    boxes = ["x", "y", "width", "height"]
    found = _table(root / "bounding_boxes.txt", ["image", *boxes], CUB_IMAGES)
    images[boxes] = found[boxes].to_numpy()
    if int((images["train"] == 1).sum()) != CUB_TRAIN:
        raise TaskError(f"{root / 'train_test_split.txt'} is another split: get CUB again")
    images = images.assign(label=images["label"] - 1, train=images["train"] == 1)
    return Cub(root, images, tuple(name.split(".", 1)[-1] for name in classes))


def _table(path: Path, columns: Sequence[str], rows: int, spare: int = 0) -> pd.DataFrame:
    """Numbers between blanks, a row a line. Raises TaskError for what is not that."""
    names = [*columns, *(f"spare {i}" for i in range(spare))]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a row with too many cells
            found = pd.read_csv(path, sep=r"\s+", header=None, names=names, index_col=False)
        numbers: pd.DataFrame = found[list(columns)].apply(pd.to_numeric)
    except OSError as error:
        raise TaskError(_missing(path, error)) from None
    except (ValueError, TypeError, pd.errors.ParserWarning) as error:
        raise TaskError(
            f"{path} is no table of numbers ({in_one_line(error)}): get it again"
        ) from None
    if len(numbers) != rows or numbers.isna().any(axis=None):
        raise TaskError(f"{path} has {len(numbers):,} rows, not {rows:,} whole ones: get it again")
    an_image_a_row = not {"part", "attribute"} & set(columns)
    if an_image_a_row and numbers["image"].tolist() != list(range(1, rows + 1)):
        raise TaskError(f"{path} does not number {rows:,} images in order: get it again")
    return numbers


def _column(path: Path, rows: int) -> pd.Series[str]:
    """Names by their number, from 1; a line is a number and a name, which may hold blanks."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise TaskError(f"{path} is no text: get it again") from None
    except OSError as error:
        raise TaskError(_missing(path, error)) from None
    cells = [line.split(maxsplit=1) for line in lines if line.strip()]
    numbers = [cell[0] for cell in cells if len(cell) == 2]
    if numbers != [str(i) for i in range(1, rows + 1)]:
        raise TaskError(f"{path} does not name {rows:,} things by their number: get it again")
    return pd.Series([cell[1].strip() for cell in cells], index=range(1, rows + 1))


def _within(path: Path, numbers: pd.Series[Any], most: int) -> None:
    if not numbers.between(1, most).all() or not (numbers % 1 == 0).all():
        raise TaskError(f"{path} holds a number outside of 1 to {most:,}: get it again")


def _checked(labels: NDArray[Any], classes: Sequence[str], path: Path) -> NDArray[np.int64]:
    if labels.max() >= len(classes):
        raise TaskError(
            f"{path} has label {labels.max()}, and {len(classes)} classes: get it again"
        )
    return labels.astype(np.int64)


def _missing(path: Path, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{path} is missing: `lth data list` says where it comes from"
    return f"{path} cannot be read ({reason(error)})"


# -- regions of plain pixels ----------------------------------------------------------------------
def patches(pixels: Pixels, side: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Images cut into squares, row by row: features [N, R, side * side * C] in 0..1, boxes [R, 4].

    pixels: [N, H, W, C], where `side` divides H and W; boxes are shares of the image, x1 y1 x2 y2.
    """
    count, height, width, colours = pixels.shape
    rows, columns = height // side, width // side
    cut = pixels.reshape(count, rows, side, columns, side, colours).transpose(0, 1, 3, 2, 4, 5)
    y, x = np.divmod(np.arange(rows * columns), columns)
    corners = np.stack((x / columns, y / rows, (x + 1) / columns, (y + 1) / rows), axis=1)
    features = cut.reshape(count, rows * columns, -1).astype(np.float32) / np.float32(255)
    return features, corners.astype(np.float32)
