"""A folder of region features that is read in place, however large it is.

    regions.safetensors   features [N, R, D] and boxes [N, R, 4], x1 y1 x2 y2 as shares of the image
    images.parquet        which image is which row, its width and height
    store.json            counts, who extracted it, and a SHA-256 of each, written last

Pages of the features are read when they are asked for, so that a store of 36 GB takes no memory
but the page cache's. A store that is being written keeps its rows in `writing.*` files and goes on
where it stopped; without `store.json` it is no store.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from lthlib.errors import FeatureError, reason
from lthlib.lab.features.regions import Floats, ImageRegions, checked
from lthlib.records import file_sha256, sha256, to_json, to_parquet, write_atomically

FORMAT = 1
REGIONS, IMAGES, ABOUT = "regions.safetensors", "images.parquet", "store.json"
WRITING, DONE, PLAN = "writing.safetensors", "writing.done", "writing.json"
LOCK = "writing.lock"
TYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2")}
BLOCK = 256
"""Images between two marks of what is safely on disk."""
NAMED = 5
"""Names that an error lists before it counts."""


@dataclass(frozen=True)
class Plan:
    """What a store will hold. images: unique names in order; extractor: who made the features.

    dtype: F32, or F16 for half the disk and three digits; source: a fingerprint of where they come
    from, so that a store never goes on from another one.
    """

    images: tuple[str, ...]
    regions: int
    feature_dim: int
    extractor: str
    dtype: str = "F32"
    source: str = ""

    def check(self) -> None:
        """Raises FeatureError for a plan that cannot be."""
        if self.dtype not in TYPES:
            raise FeatureError(f"features are kept as {' or '.join(TYPES)}, not {self.dtype!r}")
        if not self.images or self.regions < 1 or self.feature_dim < 1:
            raise FeatureError(
                f"{len(self.images)} images of {self.regions} regions with {self.feature_dim} "
                "features: there must be at least one of each"
            )
        if twice := _twice(self.images):
            raise FeatureError(f"images named twice: {_some(twice)}")

    def shape(self) -> dict[str, Any]:
        """What the store says of itself, but for its digests."""
        return {
            "format": FORMAT,
            "images": len(self.images),
            "regions": self.regions,
            "feature_dim": self.feature_dim,
            "dtype": self.dtype,
            "extractor": self.extractor,
        }


# -- reading ------------------------------------------------------------------------------------
class RegionStore:
    """Region features of many images, read in place.

    images: their names, by row; sizes: [N, 2], width and height ((1, 1) where they are unknown).
    """

    def __init__(self, folder: Path | str) -> None:
        """Raises FeatureError where there is no finished store, or one that is cut or changed."""
        self.folder = Path(folder)
        self.about = _about(self.folder)
        table = _images(self.folder, self.about)
        self.images: tuple[str, ...] = tuple(table["image"])
        self.sizes = table[["width", "height"]].to_numpy(dtype=np.float64)
        self.regions, self.feature_dim = int(self.about["regions"]), int(self.about["feature_dim"])
        self.extractor = str(self.about["extractor"])
        layout = _Layout(len(self.images), self.regions, self.feature_dim, str(self.about["dtype"]))
        path = self.folder / REGIONS
        layout.check(path)
        self._features = layout.open(path, "features")
        self._boxes = layout.open(path, "boxes")
        self._rows = {image: row for row, image in enumerate(self.images)}
        self._of_coco = _by_number(self.images)

    @property
    def digest(self) -> str:
        """What names the store's content: two stores with the same digest hold the same."""
        return sha256(to_json(self.about["sha256"]))

    def __len__(self) -> int:
        return len(self.images)

    def __contains__(self, image: object) -> bool:
        return self._row(str(image)) is not None

    def _row(self, image: str) -> int | None:
        """The row of an image under its own name, or another of COCO's names for it."""
        return self._rows.get(image, self._of_coco.get(_number(image) or ""))

    def rows(self, images: Iterable[str]) -> NDArray[np.int64]:
        """The row of each image. Raises FeatureError that lists images which are not there.

        COCO's images go by their number: COCO_train2014_000000000009 (LXMERT's tables) and
        000000000009.jpg (VSR's) are one image.
        """
        wanted = list(images)
        found = [self._row(image) for image in wanted]
        missing = list(
            dict.fromkeys(i for i, row in zip(wanted, found, strict=True) if row is None)
        )
        if missing:
            raise FeatureError(
                f"{self.folder} has no regions of {_counted(missing)}: {_some(missing)}; extract "
                "them too, or leave out the items that need them"
            )
        return np.array(found, dtype=np.int64)

    def features(self, rows: NDArray[np.int64]) -> Floats:
        """[n, R, D] of these rows, as a new array in memory."""
        return np.asarray(self._features[rows], dtype=np.float32)

    def boxes(self, rows: NDArray[np.int64]) -> Floats:
        """[n, R, 4], x1 y1 x2 y2 as shares of the image, as a new array in memory."""
        return np.asarray(self._boxes[rows], dtype=np.float32)

    def verify(self) -> None:
        """Read everything once. Raises FeatureError where the content is not what was written."""
        if file_sha256(self.folder / REGIONS) != self.about["sha256"][REGIONS]:
            raise FeatureError(f"{self.folder / REGIONS} is damaged: make the store again")


_COCO = re.compile(r"(?:.*/)?(?:COCO_(?:train|val|test)20\d\d_)?(\d{12})(?:\.jpe?g)?")


def _number(image: str) -> str | None:
    """COCO's number of an image, twelve digits; None for a name of another kind."""
    match = _COCO.fullmatch(image)
    return match[1] if match else None


def _by_number(images: Iterable[str]) -> dict[str, int]:
    """Rows by COCO's number, where it belongs to one image only."""
    numbers = [(number, row) for row, image in enumerate(images) if (number := _number(image))]
    counts = Counter(number for number, _ in numbers)
    return {number: row for number, row in numbers if counts[number] == 1}


def _about(folder: Path) -> dict[str, Any]:
    path = folder / ABOUT
    try:
        about: dict[str, Any] = json.loads(path.read_bytes())
        known = {"format", "images", "regions", "feature_dim", "dtype", "extractor", "sha256"}
        if missing := known - about.keys():
            raise ValueError(f"no {min(missing)!r}")
        for name in ("images", "regions", "feature_dim"):
            if not isinstance(about[name], int) or not 0 < about[name] < 2**40:
                raise ValueError(f"{name} is {about[name]!r}")
        if about["dtype"] not in TYPES or not {REGIONS, IMAGES} <= set(about["sha256"]):
            raise ValueError(f"dtype is {about['dtype']!r}, digests are {about['sha256']!r}")
    except OSError as error:
        if (folder / PLAN).exists():
            raise FeatureError(
                f"{folder} is only half written: run the same command again, and it goes on"
            ) from None
        raise FeatureError(f"{folder} is no store of region features ({reason(error)})") from None
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise FeatureError(f"{path} is damaged ({error}): make the store again") from None
    if about["format"] != FORMAT:
        raise FeatureError(
            f"{path} has format {about['format']!r}, and this version reads {FORMAT}: make the "
            "store again"
        )
    return about


def _images(folder: Path, about: Mapping[str, Any]) -> pd.DataFrame:
    path = folder / IMAGES
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FeatureError(
            f"{path} cannot be read ({reason(error)}): make the store again"
        ) from None
    if sha256(content) != about["sha256"][IMAGES]:
        raise FeatureError(f"{path} is damaged: make the store again")
    table = pd.read_parquet(path)
    if len(table) != about["images"]:
        raise FeatureError(f"{folder / ABOUT} counts other images than {IMAGES}: make it again")
    return table


@dataclass(frozen=True)
class _Layout:
    """Where everything lies in regions.safetensors: fixed by the counts alone."""

    images: int
    regions: int
    feature_dim: int
    dtype: str

    def header(self) -> bytes:
        """The file's first bytes (safetensors: length, JSON, spaces to a multiple of 8)."""
        entries, start = {}, 0
        for name, shape, kind in self._tensors():
            end = start + int(np.prod(shape, dtype=object)) * TYPES[kind].itemsize
            entries[name] = {"dtype": kind, "shape": shape, "data_offsets": [start, end]}
            start = end
        text = json.dumps(entries, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text

    def _tensors(self) -> list[tuple[str, list[int], str]]:
        return [
            ("features", [self.images, self.regions, self.feature_dim], self.dtype),
            ("boxes", [self.images, self.regions, 4], "F32"),
        ]

    def place(self, name: str) -> tuple[int, int, np.dtype[Any]]:
        """Where a tensor begins in the file, how many bytes a row of it takes, and its type."""
        start = len(self.header())
        for tensor, shape, kind in self._tensors():
            row = shape[1] * shape[2] * TYPES[kind].itemsize
            if tensor == name:
                return start, row, TYPES[kind]
            start += shape[0] * row
        raise KeyError(name)

    @property
    def bytes(self) -> int:
        start, row, _ = self.place("boxes")
        return start + self.images * row

    def open(self, path: Path, name: str) -> NDArray[Any]:
        start, row, kind = self.place(name)
        shape = (self.images, self.regions, row // (self.regions * kind.itemsize))
        return np.memmap(path, kind, mode="r", offset=start, shape=shape)

    def check(self, path: Path) -> None:
        header = self.header()
        try:
            with path.open("rb") as file:
                begun, size = file.read(len(header)), os.fstat(file.fileno()).st_size
        except OSError as error:
            raise FeatureError(
                f"{path} cannot be read ({reason(error)}): make the store again"
            ) from None
        if begun != header or size != self.bytes:
            raise FeatureError(
                f"{path} is cut or changed ({size:,} bytes of {self.bytes:,}): make the store again"
            )


# -- writing ------------------------------------------------------------------------------------
class StoreWriter:
    """Writes a store image by image, in any order, and goes on after a stop.

        with StoreWriter(folder, plan) as writer:
            for image in writer.missing():
                writer.put(regions_of(image))
            writer.finish()

    What was put in before a stop stays, up to the last block of 256 images.
    Raises FeatureError for a plan that cannot be, a folder that holds a finished store or a half
    written one of another plan, and a disk that is full.
    """

    def __init__(self, folder: Path | str, plan: Plan) -> None:
        plan.check()
        self.folder, self.plan = Path(folder), plan
        self._layout = _Layout(len(plan.images), plan.regions, plan.feature_dim, plan.dtype)
        self._rows = {image: row for row, image in enumerate(plan.images)}
        self._file: IO[bytes] | None = None
        self._unmarked = 0
        self._lock = FileLock(self.folder / LOCK, timeout=0)
        if (self.folder / ABOUT).exists():
            raise FeatureError(
                f"{self.folder} holds a finished store: name another; features that lie in several "
                "files are imported by one command that names them all"
            )
        with _on_disk(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._begin()
            self._done = np.fromfile(self.folder / DONE, dtype=_DONE)
        if len(self._done) != len(plan.images):
            raise FeatureError(f"{self.folder / DONE} is damaged: remove {self.folder}")

    def _begin(self) -> None:
        """Lay out the files, unless an earlier writer with the same plan has."""
        about = {"names": _digest_of(self.plan.images), "source": self.plan.source}
        mark = to_json({**self.plan.shape(), **about})
        path = self.folder / PLAN
        if path.exists():
            if path.read_bytes() != mark:
                raise FeatureError(
                    f"{self.folder} is half written with other images or settings, or from another "
                    "file: name another store, or remove this one"
                )
            if (self.folder / REGIONS).exists():  # stopped while it finished
                (self.folder / REGIONS).replace(self.folder / WRITING)
            return
        with (self.folder / WRITING).open("wb") as file:
            file.write(self._layout.header())
            file.truncate(self._layout.bytes)
        np.zeros(len(self.plan.images), dtype=_DONE).tofile(self.folder / DONE)
        write_atomically(path, mark)

    def __enter__(self) -> StoreWriter:
        try:
            self._lock.acquire()
        except Timeout:
            raise FeatureError(f"{self.folder} is being written by another process") from None
        with _on_disk(self.folder):
            # Not a memory map: a disk that is full would then kill the process.
            self._file = (self.folder / WRITING).open("r+b")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._mark()
            self._file.close()
            self._file = None
        self._lock.release()

    def missing(self) -> list[str]:
        """Images that were not put in yet, in the plan's order."""
        return [i for i, done in zip(self.plan.images, self._done["done"], strict=True) if not done]

    def put(self, found: ImageRegions) -> None:
        """Check the regions of one image and write them.

        Raises FeatureError as :func:`regions.checked` does, and for an image outside the plan.
        """
        row = self._rows.get(found.image)
        if row is None:
            raise FeatureError(f"image {found.image!r} is not in the plan of {self.folder}")
        features, boxes = checked(
            found, regions=self.plan.regions, feature_dim=self.plan.feature_dim
        )
        with _on_disk(self.folder):
            self._write("features", row, features)
            self._write("boxes", row, boxes)
            self._done[row] = (1, found.size)
            self._unmarked += 1
            if self._unmarked >= BLOCK:
                self._mark()

    def _write(self, name: str, row: int, values: Floats) -> None:
        start, length, kind = self._layout.place(name)
        assert self._file is not None, "use the writer in a with statement"
        with np.errstate(over="ignore"):
            kept = values.astype(kind)
        if not np.isfinite(kept).all():
            raise FeatureError(
                f"image {self.plan.images[row]!r}: a feature is too large for {self.plan.dtype}; "
                "keep features as F32"
            )
        self._file.seek(start + row * length)
        self._file.write(kept.tobytes())

    def _mark(self) -> None:
        """Note what is done, once it is on disk."""
        assert self._file is not None
        self._file.flush()
        os.fsync(self._file.fileno())
        write_atomically(self.folder / DONE, self._done.tobytes())
        self._unmarked = 0

    def finish(self) -> RegionStore:
        """Write the index and the digests, and open the store.

        Raises FeatureError while images are missing.
        """
        if left := self.missing():
            raise FeatureError(f"{self.folder} lacks {_counted(left)}: {_some(left)}")
        assert self._file is not None, "use the writer in a with statement"
        with _on_disk(self.folder):
            self._mark()
            self._file.close()
            self._file = None
            (self.folder / WRITING).replace(self.folder / REGIONS)
            table = pd.DataFrame(
                {
                    "image": self.plan.images,
                    "width": self._done["size"][:, 0],
                    "height": self._done["size"][:, 1],
                }
            )
            index = to_parquet(table)
            write_atomically(self.folder / IMAGES, index)
            digests = {REGIONS: file_sha256(self.folder / REGIONS), IMAGES: sha256(index)}
            about = to_json({**self.plan.shape(), "sha256": digests})
            write_atomically(self.folder / ABOUT, about)
            for name in (DONE, PLAN, LOCK):
                (self.folder / name).unlink(missing_ok=True)
        return RegionStore(self.folder)


_DONE = np.dtype([("done", "u1"), ("size", "<f8", 2)])


@contextlib.contextmanager
def _on_disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FeatureError(
            f"{folder} cannot be written ({reason(error)}): make room or name another folder; the "
            "same command then goes on"
        ) from None


def _digest_of(names: Sequence[str]) -> str:
    return sha256("\n".join(names).encode())


def _twice(names: Sequence[str]) -> list[str]:
    counts = pd.Series(names, dtype=object).value_counts()
    return [str(name) for name in counts.index[counts > 1]]


def _some(names: Sequence[str]) -> str:
    rest = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + rest


def _counted(names: Sequence[str]) -> str:
    return f"{len(names):,} {'image' if len(names) == 1 else 'images'}"
