"""What a model sees, and what a task is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Literal

import pandas as pd
import torch
from torch import Tensor

from lthlib.lab.features.store import RegionStore


@dataclass(frozen=True)
class Inputs:
    """What every model sees of N items; all tensors share the first axis.

    input_ids: int64 [N, T], 0 is padding, starts with [CLS]; text_mask: bool [N, T];
    region_features: float32 [N, R, D]; boxes: float32 [N, R, 4], x1 y1 x2 y2 in 0..1;
    region_mask: bool [N, R].
    """

    input_ids: Tensor
    text_mask: Tensor
    region_features: Tensor
    boxes: Tensor
    region_mask: Tensor

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def device(self) -> torch.device:
        return self.input_ids.device

    def lengths(self) -> Tensor:
        """Words and regions of each item, as far as any is to be seen: int64 [N, 2]."""
        return torch.stack((_length(self.text_mask), _length(self.region_mask)), dim=1)

    def cut(self, words: int, regions: int) -> Inputs:
        """The same items with the first words and regions only: what lies behind is padding."""
        return Inputs(
            self.input_ids[:, :words],
            self.text_mask[:, :words],
            self.region_features[:, :regions],
            self.boxes[:, :regions],
            self.region_mask[:, :regions],
        )

    def take(self, index: Tensor | slice) -> Inputs:
        """The items at `index`, in that order."""
        return Inputs(*(getattr(self, field.name)[index] for field in fields(self)))

    def to(self, device: torch.device | str) -> Inputs:
        """The same items on another device."""
        return Inputs(*(_moved(getattr(self, field.name), device) for field in fields(self)))

    def join(self, other: Inputs) -> Inputs:
        """The items of both, these first."""
        names = [field.name for field in fields(self)]
        return Inputs(*(torch.cat((getattr(self, n), getattr(other, n))) for n in names))

    def hide_regions(self) -> Inputs:
        """All regions blank, and all of them attended to: not even their number tells anything."""
        return replace(
            self,
            region_features=torch.zeros_like(self.region_features),
            boxes=torch.zeros_like(self.boxes),
            region_mask=torch.ones_like(self.region_mask),
        )

    def shuffle_regions(self) -> Inputs:
        """Regions of the item half of all items further on: no item keeps its own."""
        count = len(self)
        other = (torch.arange(count) + count // 2) % count
        return replace(
            self,
            region_features=self.region_features[other],
            boxes=self.boxes[other],
            region_mask=self.region_mask[other],
        )

    def content(self) -> Iterator[bytes]:
        """All that a model is shown, for a digest."""
        for field in fields(self):
            yield getattr(self, field.name).contiguous().numpy().tobytes()


@dataclass(frozen=True)
class _ByImage:
    """Items that know which row of a table of images holds their regions.

    input_ids and text_mask as in :class:`Inputs`; rows: int64 [N].
    """

    input_ids: Tensor
    text_mask: Tensor
    rows: Tensor

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def device(self) -> torch.device:
        return self.input_ids.device

    @property
    def regions(self) -> int:
        """Regions of every image."""
        raise NotImplementedError

    def lengths(self) -> Tensor:
        """Words and regions of each item: int64 [N, 2]."""
        words = _length(self.text_mask)
        return torch.stack((words, torch.full_like(words, self.regions)), dim=1)


@dataclass(frozen=True)
class StoredInputs(_ByImage):
    """The same for items whose regions stay on disk until a batch asks for them."""

    store: RegionStore

    @property
    def regions(self) -> int:
        return self.store.regions

    def take(self, index: Tensor | slice) -> Inputs:
        """The items at `index`, in that order, on the device of the text."""
        ids = self.input_ids[index]
        rows = self.rows[index if isinstance(index, slice) else index.cpu()].numpy()
        boxes = torch.from_numpy(self.store.boxes(rows))
        return Inputs(
            input_ids=ids,
            text_mask=self.text_mask[index],
            region_features=torch.from_numpy(self.store.features(rows)).to(ids.device),
            boxes=boxes.to(ids.device),
            region_mask=torch.ones(boxes.shape[:2], dtype=torch.bool, device=ids.device),
        )

    def to(self, device: torch.device | str) -> StoredInputs | HeldInputs:
        """The same items, whose batches come to another device.

        On a GPU with room for them, the regions are held there: each image's once.
        """
        device = torch.device(device)
        if device.type == "cuda" and self.held_bytes() < HELD_SHARE * _free_bytes(device):
            return self.hold(device)
        return replace(
            self, input_ids=self.input_ids.to(device), text_mask=self.text_mask.to(device)
        )

    def held_bytes(self) -> int:
        """Memory that all regions of these items take as float32."""
        images = len(torch.unique(self.rows))
        return images * self.store.regions * (self.store.feature_dim + 4) * 4

    def hold(self, device: torch.device | str) -> HeldInputs:
        """The same items with their regions in the memory of a device."""
        images, place = torch.unique(self.rows, return_inverse=True)
        shape = (len(images), self.store.regions)
        features = torch.empty(*shape, self.store.feature_dim, device=device)
        boxes = torch.empty(*shape, 4, device=device)
        for part in torch.split(torch.arange(len(images)), HELD_AT_ONCE):
            rows = images[part].numpy()
            features[part[0] : part[-1] + 1] = torch.from_numpy(self.store.features(rows))
            boxes[part[0] : part[-1] + 1] = torch.from_numpy(self.store.boxes(rows))
        return HeldInputs(
            self.input_ids.to(device),
            self.text_mask.to(device),
            place.to(device),
            features,
            boxes,
        )

    def join(self, other: StoredInputs) -> StoredInputs:
        """The items of both, these first."""
        names = ("input_ids", "text_mask", "rows")
        both = {name: torch.cat((getattr(self, name), getattr(other, name))) for name in names}
        return StoredInputs(**both, store=self.store)

    def hide_regions(self) -> Inputs:
        """All regions blank, as one stretch of zeros that takes no memory."""
        shape = (self.store.regions, self.store.feature_dim)
        return blank_regions(self.input_ids, self.text_mask, *shape)

    def shuffle_regions(self) -> StoredInputs:
        """Regions of the image half of all images further on: no item keeps its own image.

        Images follow one another in the order of their names' SHA-256. In the store's own order
        the image half of all further on could tell the label: names may come class by class.
        """
        images, place = torch.unique(self.rows, return_inverse=True)
        names = [self.store.images[row] for row in images.tolist()]
        digests = [hashlib.sha256(name.encode()).digest() for name in names]
        order = torch.tensor(sorted(range(len(names)), key=digests.__getitem__))
        other = torch.empty_like(images)
        other[order] = images[order].roll(len(images) // 2)
        return replace(self, rows=other[place])

    def content(self) -> Iterator[bytes]:
        """All that a model is shown, for a digest; the store by its own digest."""
        for tensor in (self.input_ids, self.text_mask, self.rows):
            yield tensor.contiguous().numpy().tobytes()
        yield self.store.digest.encode()


HELD_SHARE = 0.25
"""Share of a GPU's free memory that the regions of one split may take."""
HELD_AT_ONCE = 1024
"""Images copied at once: 0.3 GB of VSR's."""


@dataclass(frozen=True)
class HeldInputs(_ByImage):
    """The same for items whose regions lie on their device, each image's once.

    features: float32 [images, R, D]; boxes: float32 [images, R, 4].
    """

    features: Tensor
    boxes: Tensor

    @property
    def regions(self) -> int:
        return self.features.shape[1]

    def take(self, index: Tensor | slice) -> Inputs:
        """The items at `index`, in that order."""
        rows = self.rows[index]
        boxes = self.boxes[rows]
        shown = torch.ones(boxes.shape[:2], dtype=torch.bool, device=boxes.device)
        return Inputs(
            self.input_ids[index], self.text_mask[index], self.features[rows], boxes, shown
        )

    def to(self, device: torch.device | str) -> HeldInputs:
        """The same items on another device."""
        return HeldInputs(*(getattr(self, field.name).to(device) for field in fields(self)))


def _moved(tensor: Tensor, device: torch.device | str) -> Tensor:
    """The tensor there; one row that stands for all stays one: blank regions take no memory."""
    if len(tensor) > 1 and tensor.stride(0) == 0:
        return tensor[:1].to(device).expand_as(tensor)
    return tensor.to(device)


def _free_bytes(device: torch.device) -> int:
    return int(torch.cuda.mem_get_info(device)[0])


def _length(mask: Tensor) -> Tensor:
    """One past the last true place of each row: bool [N, L] -> int64 [N]."""
    places = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    return (mask * places).amax(dim=1)


def blank_regions(
    input_ids: Tensor, text_mask: Tensor, regions: int = 1, feature_dim: int = 1
) -> Inputs:
    """Texts with regions that show nothing, all attended to: zeros that take no memory."""
    count, blank = len(input_ids), torch.zeros(1, 1, 1)
    return Inputs(
        input_ids=input_ids,
        text_mask=text_mask,
        region_features=blank.expand(count, regions, feature_dim),
        boxes=blank.expand(count, regions, 4),
        region_mask=torch.ones(1, 1, dtype=torch.bool).expand(count, regions),
    )


@dataclass(frozen=True)
class Credits:
    """What answers are worth, where several people answered: few of each item's are worth anything.

    classes: int64 [N, S], the number of classes where there is none; worth: float32 [N, S] in 0..1.
    """

    classes: Tensor
    worth: Tensor

    def to(self, device: torch.device | str) -> Credits:
        """The same on another device."""
        return Credits(self.classes.to(device), self.worth.to(device))

    def join(self, other: Credits) -> Credits:
        """Those of both, these first."""
        return Credits(
            torch.cat((self.classes, other.classes)), torch.cat((self.worth, other.worth))
        )

    def take(self, index: Tensor, outputs: int) -> Tensor:
        """Worth of every class for the items at `index`: float32 [B, outputs]."""
        classes, worth = self.classes[index], self.worth[index]
        spread = torch.zeros(len(index), outputs + 1, device=worth.device)
        return spread.scatter_(1, classes, worth)[:, :outputs]


@dataclass(frozen=True)
class Split:
    """N items of one part of a task.

    items: unique names, such as "test-000017"; labels: int64 [N, K]; facts: one row per item with
    its name, its text, what it is about, and all that is needed to draw its scene; credits: where
    an answer may be right in part.
    """

    items: tuple[str, ...]
    inputs: Inputs | StoredInputs | HeldInputs
    labels: Tensor
    facts: pd.DataFrame
    credits: Credits | None = None

    def __len__(self) -> int:
        return len(self.items)

    def to(self, device: torch.device | str) -> Split:
        """The same items, shown on another device; labels and credits stay on the CPU."""
        return replace(self, inputs=self.inputs.to(device))

    def join(self, other: Split) -> Split:
        """The items of both, these first."""
        return Split(
            (*self.items, *other.items),
            self.inputs.join(other.inputs),  # type: ignore[arg-type, union-attr]
            torch.cat((self.labels, other.labels)),
            pd.concat((self.facts, other.facts), ignore_index=True),
            self.credits.join(other.credits) if self.credits and other.credits else None,
        )

    def targets(self, index: Tensor, outputs: int) -> Tensor:
        """What to learn of the items at `index`: labels, or float32 [B, outputs] of credits."""
        return self.labels[index] if self.credits is None else self.credits.take(index, outputs)


@dataclass(frozen=True)
class Task:
    """A task: three splits and what there is to decide on each item.

    kind "single": one decision between `classes`, two logits, cross entropy, the prediction is the
    greatest logit (a tie is class 0). kind "multi": one decision per name in `decisions`, one logit
    each, binary cross entropy, the prediction is logit >= 0.
    """

    name: str
    kind: Literal["single", "multi"]
    decisions: tuple[str, ...]
    classes: tuple[str, ...]
    vocabulary: tuple[str, ...]
    feature_dim: int
    train: Split
    validation: Split
    test: Split

    def to(self, device: torch.device | str) -> Task:
        """The same task, shown on another device."""
        names = ("train", "validation", "test")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    @property
    def outputs(self) -> int:
        """How many logits a model gives per item."""
        return len(self.classes) if self.kind == "single" else len(self.decisions)
