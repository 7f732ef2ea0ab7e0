"""Region features as others published them: one reader a format, one image at a time.

lxmert-tsv   one line an image, base64 within tabs: LXMERT's `*_obj36.tsv` (Tan and Bansal 2019),
             or bottom-up attention's own six columns (Anderson and others 2018)
vsr          a folder with features.pt, boxes.pt and names.txt (Liu and others 2023)
openi        a pickle {id: (features, boxes, (width, height))} (Li and others 2020)
npz          arrays `images`, `features`, `boxes`, and `sizes` where boxes are in pixels
hdf5         data sets of the same names
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from lthlib.errors import FeatureError, in_one_line, reason, unknown
from lthlib.foreign import kind_of, kind_of_file
from lthlib.lab.features.regions import ImageRegions
from lthlib.lab.features.restricted import load_arrays
from lthlib.lab.features.store import Plan, RegionStore, StoreWriter
from lthlib.records import file_sha256, sha256

TSV_FIELDS = (
    *("img_id", "img_h", "img_w", "objects_id", "objects_conf", "attrs_id", "attrs_conf"),
    *("num_boxes", "boxes", "features"),
)
BOTTOM_UP_FIELDS = ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features")
LONGEST_LINE = 64 * 2**20
MOST_UNPACKED = 64 * 2**30
"""What a compressed file may unpack to: a small file can claim to hold a disk full."""


class Source(Protocol):
    """Published features: the images they are of, and the regions of each."""

    @property
    def images(self) -> tuple[str, ...]: ...

    @property
    def fingerprint(self) -> str:
        """A SHA-256 of all that is read: what goes on after a stop must be the same."""

    def read(self, image: str) -> ImageRegions:
        """Raises FeatureError where the file has none, or is damaged there."""


class TsvSource:
    """LXMERT's table. The file is scanned once for where its lines begin, and never read whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._starts: dict[str, tuple[int, int]] = {}
        self._fields: tuple[str, ...] = ()
        self._counts: set[int] = set()
        self._digest = hashlib.sha256()
        try:
            with path.open("rb") as file:
                self._scan(file)
        except OSError as error:
            raise _unreadable(path, error) from None
        if not self._starts:
            raise FeatureError(f"{path} is empty")
        if len(self._counts) > 1:
            raise FeatureError(
                f"{path}: its images have {min(self._counts)} to {max(self._counts)} regions, and "
                "a store needs the same number of each: take a table with a fixed number, such as "
                "LXMERT's with 36, or extract them again so"
            )

    @property
    def fingerprint(self) -> str:
        return self._digest.hexdigest()

    @property
    def images(self) -> tuple[str, ...]:
        return tuple(self._starts)

    def _scan(self, file: Any) -> None:
        number, start = 0, 0
        while line := file.readline(LONGEST_LINE + 1):
            number += 1
            if len(line) > LONGEST_LINE:
                raise FeatureError(
                    f"{self.path}, line {number} has more than {LONGEST_LINE // 2**20} MiB: this "
                    "is no table of region features"
                )
            self._digest.update(line)
            self._fields = self._fields or _FIELDS_OF.get(line.count(b"\t") + 1, TSV_FIELDS)
            if line.count(b"\t") != len(self._fields) - 1:
                what = kind_of(line) if number == 1 else ""
                raise FeatureError(
                    f"{self.path}, line {number} has {line.count(bytes([9])) + 1} columns, not "
                    f"{len(self._fields)}: it is {what or 'cut short, or no table of regions'}"
                )
            cells = line.split(b"\t", len(self._fields) - 2)
            name = _image_name(cells[0].decode("utf-8", "replace"))
            count = cells[self._fields.index("num_boxes")]
            self._counts |= {int(count)} if count.isdigit() else set()
            if name in self._starts:
                raise FeatureError(f"{self.path}, line {number}: image {name!r} is there twice")
            self._starts[name] = (start, number)
            start += len(line)

    def read(self, image: str) -> ImageRegions:
        start, number = self._starts[image]
        with self.path.open("rb") as file:
            file.seek(start)
            cells = file.readline().rstrip(b"\r\n").split(b"\t")
        fields = dict(zip(self._fields, cells, strict=True))
        try:
            count = int(fields["num_boxes"])
            width, height = (
                fields[name] for name in (("img_w", "img_h") if "img_w" in fields else
                                          ("image_w", "image_h"))
            )  # fmt: skip
            size = float(int(width)), float(int(height))
            boxes = _decoded(fields["boxes"]).reshape(count, 4)
            features = _decoded(fields["features"]).reshape(count, -1)
        except (ValueError, binascii.Error) as error:
            raise FeatureError(f"{self.path}, line {number} is damaged ({error})") from None
        return ImageRegions(image, features, boxes, size)


_FIELDS_OF = {len(fields): fields for fields in (TSV_FIELDS, BOTTOM_UP_FIELDS)}


def _image_name(text: str) -> str:
    """A bare number is COCO's own, whose files are named by twelve digits."""
    return f"{int(text):012d}" if text.isdigit() and len(text) < 12 else text


def _decoded(text: bytes) -> NDArray[np.float32]:
    return np.frombuffer(base64.b64decode(text, validate=True), dtype="<f4")


class ArraySource:
    """Arrays that hold all images: features [N, R, D], boxes [N, R, 4], and sizes [N, 2] or none.

    Raises FeatureError where they do not belong together.
    """

    _DIMENSIONS: ClassVar[Mapping[str, int]] = {"features": 3, "boxes": 3, "sizes": 2}

    def __init__(
        self,
        path: Path,
        names: Sequence[str],
        arrays: Mapping[str, Any],
        files: Sequence[Path] = (),
    ) -> None:
        self.files = files or [path]
        for name, array in arrays.items():
            shape = tuple(array.shape)
            if len(shape) != self._DIMENSIONS[name] or shape[0] != len(names):
                raise FeatureError(
                    f"{path}: {name} are {list(shape)} for {len(names)} images, where "
                    f"{self._DIMENSIONS[name]} dimensions, images first, are expected"
                )
        self.images = tuple(names)
        self.features, self.boxes = arrays["features"], arrays["boxes"]
        self.sizes = arrays.get("sizes")
        self._rows = {name: row for row, name in enumerate(names)}
        if len(self._rows) != len(names):
            raise FeatureError(f"{path} names an image twice")

    @cached_property
    def fingerprint(self) -> str:
        return _fingerprint(self.files)

    def read(self, image: str) -> ImageRegions:
        row = self._rows[image]
        features, boxes = (np.asarray(array[row]) for array in (self.features, self.boxes))
        if self.sizes is None:
            return ImageRegions(image, features, boxes)
        width, height = (float(side) for side in np.asarray(self.sizes[row]))
        return ImageRegions(image, features, boxes, (width, height))


def _vsr(folder: Path) -> ArraySource:
    """VSR's own files: tensors [N, 36, D] and [N, 36, 4], and the names of their images."""
    names = _text(folder / "names.txt").split("\n")
    names = [name.strip() for name in names if name.strip()]
    files = {name: folder / f"{name}.pt" for name in ("features", "boxes")}
    arrays = {name: _tensor(path) for name, path in files.items()}
    return ArraySource(folder, names, arrays, [folder / "names.txt", *files.values()])


def _tensor(path: Path) -> Any:
    """A tensor on disk, mapped rather than read where its format allows it."""
    import torch

    if not path.is_file():
        raise FeatureError(f"{path} is missing: VSR's features come as features.pt, boxes.pt")
    try:
        try:
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:  # a file of before torch 1.6 cannot be mapped
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its parsers meet
        what = kind_of_file(path)
        told = in_one_line(error) if not what or "ZIP" in what else f"it is {what}"
        raise FeatureError(f"{path} is no tensor file: {told}") from None
    if not isinstance(found, torch.Tensor) or found.layout is not torch.strided:
        raise FeatureError(f"{path} holds a {type(found).__name__}, not one tensor")
    return found.detach().numpy()


@dataclass
class _Mapping:
    """Regions that are in memory already, by image."""

    path: Path
    held: Mapping[str, tuple[Any, Any, Any]]

    @property
    def images(self) -> tuple[str, ...]:
        return tuple(self.held)

    @property
    def fingerprint(self) -> str:
        return _fingerprint([self.path])

    def read(self, image: str) -> ImageRegions:
        features, boxes, size = self.held[image]
        try:
            width, height = (float(side) for side in size)
        except (TypeError, ValueError):
            raise FeatureError(f"{self.path}: image {image!r} has size {size!r}") from None
        return ImageRegions(image, features, boxes, (width, height))


def _openi(path: Path) -> _Mapping:
    found = load_arrays(path)
    if not isinstance(found, dict) or not found:
        raise FeatureError(f"{path} holds a {type(found).__name__}, not features by report")
    for image, value in found.items():
        arrays = isinstance(value, tuple | list) and len(value) == 3
        if not arrays or not all(isinstance(part, np.ndarray) for part in value[:2]):
            raise FeatureError(f"{path}: {image!r} is not (features, boxes, (width, height))")
    return _Mapping(path, {str(image): tuple(value) for image, value in found.items()})


def _npz(path: Path) -> ArraySource:
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > MOST_UNPACKED:
            raise FeatureError(
                f"{path} unpacks to {unpacked / 2**30:.0f} GiB, more than {MOST_UNPACKED // 2**30}"
            )
        with np.load(path, allow_pickle=False) as file:
            _require(path, set(file.files))
            names = [str(name) for name in file["images"].tolist()]
            arrays = {name: file[name] for name in _ARRAYS if name in file.files}
    except OSError as error:
        raise _unreadable(path, error) from None
    except FeatureError:
        raise
    except Exception as error:  # zip and npy fail in many ways
        raise FeatureError(f"{path} is no npz file of arrays: {error}") from None
    return ArraySource(path, names, arrays)


def _hdf5(path: Path) -> ArraySource:
    try:
        import h5py
    except ImportError:
        raise FeatureError("HDF5 needs one more library: pip install 'lthlib[data]'") from None
    try:
        file = h5py.File(path, "r")
        _require(path, set(file.keys()))
        names = [n.decode() if isinstance(n, bytes) else str(n) for n in file["images"][:]]
        arrays = {name: file[name] for name in _ARRAYS if name in file}
        return ArraySource(path, names, arrays)
    except FeatureError:
        raise
    except Exception as error:  # the library raises OSError, KeyError, RuntimeError and others
        raise FeatureError(f"{path} is no HDF5 file of region features: {error}") from None


_ARRAYS = ("features", "boxes", "sizes")
FORMATS: dict[str, Callable[[Path], Source]] = {
    "lxmert-tsv": TsvSource,
    "vsr": _vsr,
    "openi": _openi,
    "npz": _npz,
    "hdf5": _hdf5,
}


@dataclass
class Joined:
    """Several files as one source, such as COCO's images for training and for validation."""

    sources: Sequence[Source]

    def __post_init__(self) -> None:
        self._of = {image: source for source in self.sources for image in source.images}
        if len(self._of) < sum(len(source.images) for source in self.sources):
            counts = Counter(image for source in self.sources for image in source.images)
            twice = [image for image, count in counts.items() if count > 1]
            raise FeatureError(
                f"{len(twice):,} images are in two of the files, {twice[0]!r} the first of them: "
                "leave one of these files out"
            )

    @property
    def images(self) -> tuple[str, ...]:
        return tuple(self._of)

    @property
    def fingerprint(self) -> str:
        return sha256("".join(source.fingerprint for source in self.sources).encode())

    def read(self, image: str) -> ImageRegions:
        return self._of[image].read(image)


def open_source(kind: str, *paths: Path | str) -> Source:
    """Published features in one of the `FORMATS`, in one file or several.

    Raises FeatureError for an unknown format, a file that is missing, damaged, or in another, and
    an image that is in two files.
    """
    if kind not in FORMATS:
        raise FeatureError(unknown("format", kind, FORMATS))
    opened = [FORMATS[kind](Path(path)) for path in paths]
    return opened[0] if len(opened) == 1 else Joined(opened)


def _fingerprint(files: Iterable[Path]) -> str:
    return sha256("".join(file_sha256(path) for path in files).encode())


def import_regions(
    source: Source,
    folder: Path | str,
    *,
    extractor: str,
    dtype: str = "F32",
    say: Callable[[int, int], None] = lambda done, of: None,
) -> RegionStore:
    """Put all regions of a source into a store; goes on where an earlier call stopped.

    The first image says how many regions and features there are, and the others must agree.
    extractor: who made the features; say: is told how many images of how many are done.
    Raises FeatureError, and leaves what was written so far, for the first image that is damaged.
    """
    first = source.read(source.images[0])
    regions, feature_dim = np.shape(first.features) if np.ndim(first.features) == 2 else (0, 0)
    plan = Plan(tuple(source.images), regions, feature_dim, extractor, dtype, source.fingerprint)
    with StoreWriter(folder, plan) as writer:
        left = writer.missing()
        for done, image in enumerate(left, start=len(source.images) - len(left) + 1):
            writer.put(source.read(image))
            say(done, len(source.images))
        return writer.finish()


def _require(path: Path, names: Iterable[str]) -> None:
    if missing := {"images", "features", "boxes"} - set(names):
        raise FeatureError(f"{path} has no array {min(missing)!r}: see `lth features --help`")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise FeatureError(f"{path} is no UTF-8 text") from None
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> FeatureError:
    return FeatureError(f"{path} cannot be read ({reason(error)})")
