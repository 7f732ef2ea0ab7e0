"""Region features from images: by a detector, or in a grid that needs none.

The detector is torchvision's Faster R-CNN (Ren and others 2015). As in bottom-up attention
(Anderson and others 2018) a region is a proposal of the detector, its features are what the
detector's box head makes of it, and regions that overlap a better one too much are left out. Every
image gets exactly as many regions as are asked for: where too few are left, the best of those left
out come back, and at last the whole image.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.nn import functional

from lthlib.errors import FeatureError, reason
from lthlib.lab.features.regions import ImageRegions
from lthlib.lab.features.store import Plan, RegionStore, StoreWriter
from lthlib.opaque import on_white

REGIONS = 36
OVERLAP = 0.5
"""Overlap (IoU) above which the worse of two regions is left out; the main source set 0.04."""
ORIENTATION = 0x0112  # EXIF: how the camera was held
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
MOST_PIXELS = 100_000_000


class Regions(Protocol):
    """What makes regions of images: how many, and what to call the features."""

    regions: int

    @property
    def identity(self) -> str: ...

    def __call__(self, names: Sequence[str], images: Sequence[Tensor]) -> list[ImageRegions]: ...


class Grid:
    """Equal cells of an image, each with its own pixels as features: nothing to fetch or to learn.

    side: cells along each edge; pixels: each cell is shrunk to so many by so many, in grey.
    """

    def __init__(self, side: int = 6, pixels: int = 8) -> None:
        if side < 1 or pixels < 1:
            raise FeatureError(
                f"a grid of {side} cells of {pixels} pixels: give at least 1 of each"
            )
        self.side, self.pixels, self.regions = side, pixels, side * side

    @property
    def identity(self) -> str:
        return (
            f"grid of {self.side} by {self.side} cells, {self.pixels} by {self.pixels} grey pixels"
        )

    def __call__(self, names: Sequence[str], images: Sequence[Tensor]) -> list[ImageRegions]:
        """Cells row by row; float32 [3, H, W] in 0..1 gives grey values in 0..1."""
        return [self._cells(name, image) for name, image in zip(names, images, strict=True)]

    def _cells(self, name: str, image: Tensor) -> ImageRegions:
        points = self.side * self.pixels
        grey = image.mean(dim=0)[None, None]
        small = functional.interpolate(grey, (points, points), mode="bilinear", antialias=True)
        cells = small[0, 0].reshape(self.side, self.pixels, self.side, self.pixels)
        features = cells.permute(0, 2, 1, 3).reshape(self.regions, -1)
        edges = np.linspace(0, 1, self.side + 1)
        boxes = [
            (left, top, right, bottom)
            for top, bottom in pairwise(edges)
            for left, right in pairwise(edges)
        ]
        height, width = image.shape[1:]
        scale = np.array([width, height, width, height])
        return ImageRegions(
            name, features.numpy(), np.array(boxes) * scale, (float(width), float(height))
        )


class Extractor:
    """Exactly `regions` regions of any image, by a Faster R-CNN of torchvision.

    overlap: as `OVERLAP`, in (0, 1]. Raises FeatureError for values outside their range.
    """

    def __init__(
        self, detector: nn.Module, *, regions: int = REGIONS, overlap: float = OVERLAP
    ) -> None:
        if regions < 1 or not 0 < overlap <= 1:
            raise FeatureError(f"{regions} regions, overlap {overlap}: give at least 1, and 0 to 1")
        self.detector = detector.eval()
        self.regions, self.overlap = regions, overlap

    @property
    def identity(self) -> str:
        """What made the features: detector, its weights, and the settings."""
        import torchvision

        digest = hashlib.sha256()
        for name, tensor in self.detector.state_dict().items():
            digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
        return (
            f"{type(self.detector).__name__} {digest.hexdigest()[:12]}, {self.regions} regions, "
            f"overlap {self.overlap:g}, torchvision {torchvision.__version__.partition('+')[0]}"
        )

    @torch.inference_mode()
    def __call__(self, names: Sequence[str], images: Sequence[Tensor]) -> list[ImageRegions]:
        """Regions of some images, each float32 [3, H, W] in 0..1; boxes are in their pixels."""
        device = next(self.detector.parameters()).device
        sizes = [(image.shape[1], image.shape[2]) for image in images]
        detector: Any = self.detector
        scaled, _ = detector.transform([image.to(device) for image in images], None)
        maps = detector.backbone(scaled.tensors)
        proposals, _ = detector.rpn(scaled, maps)
        whole = [torch.tensor([[0.0, 0.0, w, h]], device=device) for h, w in scaled.image_sizes]
        boxes = [torch.cat(pair) for pair in zip(proposals, whole, strict=True)]
        heads = detector.roi_heads
        pooled = heads.box_head(heads.box_roi_pool(maps, boxes, scaled.image_sizes))
        logits, _ = heads.box_predictor(pooled)
        # Class 0 is the background; a region counts by its best other class.
        scores = logits.softmax(-1)[:, 1:].amax(-1)
        counts = [len(own) for own in boxes]
        found = []
        for name, own, of, features, size, shape in zip(
            names, boxes, scores.split(counts), pooled.split(counts), sizes, scaled.image_sizes,
            strict=True,
        ):  # fmt: skip
            kept = self._chosen(own, of)
            scale = torch.tensor([size[1] / shape[1], size[0] / shape[0]], device=device).repeat(2)
            found.append(
                ImageRegions(
                    name,
                    features[kept].float().cpu().numpy(),
                    (own[kept] * scale).cpu().numpy(),
                    (float(size[1]), float(size[0])),
                )
            )
        return found

    def _chosen(self, boxes: Tensor, scores: Tensor) -> Tensor:
        """Indices [regions]: the best that do not overlap, then the best that do; the last box,
        which is the whole image, only where there is nothing else."""
        from torchvision.ops import nms

        sides = boxes[:-1, 2:] - boxes[:-1, :2]
        real = torch.nonzero((sides > 0).all(dim=1)).flatten()
        apart = real[nms(boxes[real], scores[real], self.overlap)]
        rest = real[~torch.isin(real, apart)]
        rest = rest[scores[rest].argsort(descending=True, stable=True)]
        order = torch.cat((apart, rest))[: self.regions]
        filled = order.new_full((self.regions - len(order),), len(boxes) - 1)
        return torch.cat((order, filled))


def pretrained() -> nn.Module:
    """torchvision's Faster R-CNN with a ResNet-50 (Li and others 2021), trained on COCO.

    Its weights, 167 MB, are fetched once and checked by torchvision; 1,024 features a region.
    Raises FeatureError where they are not there and cannot be fetched.
    """
    from torchvision.models import detection

    weights = detection.FasterRCNN_ResNet50_FPN_V2_Weights.DEFAULT
    try:
        model: nn.Module = detection.fasterrcnn_resnet50_fpn_v2(weights=weights)
    except OSError as error:
        cache = Path(torch.hub.get_dir()) / "checkpoints"
        raise FeatureError(
            f"the detector cannot be fetched ({error}); get {weights.url} and put it into {cache}"
        ) from None
    return model


def extract_folder(
    extractor: Regions,
    images: Path,
    folder: Path,
    *,
    batch_size: int = 4,
    half: bool = False,
    names: Sequence[str] | None = None,
    say: Callable[[int, int], None] = lambda done, of: None,
) -> RegionStore:
    """Regions of every image below a folder, named by their paths; goes on where it stopped.

    names: paths below the folder of the images to take; all that are there unless given.

    Raises FeatureError for a folder without images, and for the first image that is broken.
    """
    names = _images(images) if names is None else list(names)
    probe = extractor([names[0]], [_read(images / names[0])])[0]
    plan = Plan(
        tuple(names), extractor.regions, probe.features.shape[1], extractor.identity,
        "F16" if half else "F32",
    )  # fmt: skip
    with StoreWriter(folder, plan) as writer:
        left = writer.missing()
        done = len(names) - len(left)
        for some in _batches(images, left, batch_size):
            for found in extractor(some, [_read(images / name) for name in some]):
                writer.put(found)
            done += len(some)
            say(done, len(names))
        return writer.finish()


def _batches(folder: Path, names: Sequence[str], size: int) -> Iterator[list[str]]:
    """Images of equal width and height together.

    A batch of unequal ones is padded, and what lies in the padding changes the proposals.
    """
    alike: dict[tuple[int, int], list[str]] = {}
    for name in names:
        with _opened(folder / name) as image:
            alike.setdefault(image.size, []).append(name)
    for group in alike.values():
        yield from (group[start : start + size] for start in range(0, len(group), size))


def _images(folder: Path) -> list[str]:
    try:
        folder.stat()
        found = (p.relative_to(folder).as_posix() for p in folder.rglob("*"))
        named = (name for name in found if name.lower().endswith(SUFFIXES))
        names = sorted(name for name in named if (folder / name).is_file())
    except OSError as error:
        raise FeatureError(f"{folder} cannot be read ({reason(error)})") from None
    if not names:
        raise FeatureError(f"{folder} holds no image ({', '.join(SUFFIXES)})")
    return names


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            if image.width * image.height > MOST_PIXELS:
                raise FeatureError(f"{path} has {image.width} x {image.height} pixels: scale it")
            if image.mode.startswith(("I", "F")):
                raise FeatureError(
                    f"{path} has more than 8 bits a pixel (mode {image.mode}), which would be cut "
                    "off: save it with 8"
                )
            turned = image.getexif().get(ORIENTATION, 1) != 1
            yield ImageOps.exif_transpose(image) if turned else image
    except Image.DecompressionBombError as error:
        raise FeatureError(f"{path} is too large ({error})") from None
    except (OSError, ValueError, SyntaxError) as error:
        raise FeatureError(f"{path} is no image that can be read ({error})") from None


def read_pixels(path: Path) -> NDArray[np.uint8]:
    """The whole of an image, uint8 [H, W, 3]; what is transparent lies on white.

    Raises FeatureError where it cannot be read.
    """
    with _opened(path) as image:
        return np.array(on_white(image))


def _read(path: Path) -> Tensor:
    """float32 [3, H, W] in 0..1."""
    return torch.from_numpy(read_pixels(path)).permute(2, 0, 1).float() / 255
