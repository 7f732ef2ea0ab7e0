"""Region features from images: exactly so many regions, within the image, the same every time."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from lthlib.errors import FeatureError
from lthlib.lab.features import extract, store
from lthlib.lab.features.extract import Extractor, Grid, extract_folder, read_pixels

pytest.importorskip("torchvision")

torch.set_num_threads(1)


class Backbone(nn.Module):
    out_channels = 8

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 8, 5, stride=8, padding=2)

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        return OrderedDict({"0": self.body(images)})


def small(proposals: int = 60) -> nn.Module:
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.rpn import AnchorGenerator
    from torchvision.ops import MultiScaleRoIAlign

    torch.manual_seed(0)
    return FasterRCNN(
        Backbone(),
        min_size=64,
        max_size=128,
        rpn_anchor_generator=AnchorGenerator(((12, 24, 40),), ((0.5, 1.0, 2.0),)),
        box_roi_pool=MultiScaleRoIAlign(["0"], output_size=3, sampling_ratio=2),
        box_head=nn.Sequential(nn.Flatten(), nn.Linear(72, 10), nn.ReLU()),
        box_predictor=Predictor(),
        rpn_post_nms_top_n_test=proposals,
    )


class Predictor(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scores, self.boxes = nn.Linear(10, 5), nn.Linear(10, 20)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.scores(features), self.boxes(features)


def pictures(folder: Path, count: int = 5) -> Path:
    folder.mkdir()
    draw = np.random.default_rng(2)
    for i in range(count):
        pixels = draw.integers(0, 256, (40 + 8 * (i // 2), 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    (folder / "notes.txt").write_text("no image")
    return folder


def overlaps(boxes: Tensor) -> Tensor:
    from torchvision.ops import box_iou

    return box_iou(boxes, boxes) - torch.eye(len(boxes))


def test_a_folder_becomes_a_store(tmp_path: Path) -> None:
    images = pictures(tmp_path / "images")
    seen: list[tuple[int, int]] = []
    extractor = Extractor(small(), regions=12)
    kept = extract_folder(
        extractor, images, tmp_path / "store", batch_size=2, say=lambda *n: seen.append(n)
    )
    assert kept.images == tuple(f"{i}.png" for i in range(5))
    assert kept.features(np.arange(5)).shape == (5, 12, 10)
    assert kept.sizes.tolist() == [[64, 40 + 8 * (i // 2)] for i in range(5)]
    assert seen == [(2, 5), (4, 5), (5, 5)]
    assert "12 regions, overlap 0.5" in kept.extractor
    kept.verify()


def test_batches_change_nothing_but_rounding(tmp_path: Path) -> None:
    images = pictures(tmp_path / "images")
    made = [
        extract_folder(Extractor(small(), regions=8), images, tmp_path / f"{n}", batch_size=n)
        for n in (1, 5)
    ]
    every = np.arange(5)
    assert np.allclose(made[0].boxes(every), made[1].boxes(every), atol=1e-4)
    assert np.allclose(made[0].features(every), made[1].features(every), atol=1e-4)


def test_regions_do_not_overlap_until_too_few_are_left(tmp_path: Path) -> None:
    image = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(1))
    few = Extractor(small(), regions=3, overlap=0.3)(["a"], [image])[0]
    assert overlaps(torch.from_numpy(few.boxes)).max() <= 0.3
    many = Extractor(small(), regions=40, overlap=0.3)(["a"], [image])[0]
    assert len(many.boxes) == 40 and overlaps(torch.from_numpy(many.boxes)).max() > 0.3
    assert (many.boxes[:3] == few.boxes).all()
    assert len(np.unique(many.boxes, axis=0)) == 40


def test_too_few_proposals_are_filled_with_the_whole_image() -> None:
    image = torch.rand(3, 32, 48, generator=torch.Generator().manual_seed(1))
    found = Extractor(small(proposals=4), regions=10)(["a"], [image])[0]
    whole = (found.boxes == np.array([0, 0, 48, 32], dtype=np.float32)).all(axis=1)
    assert whole.sum() >= 6 and found.features.shape == (10, 10)
    assert np.ptp(found.features[whole], axis=0).max() == 0


def test_another_setting_or_weight_is_another_identity() -> None:
    plain = Extractor(small()).identity
    assert plain == Extractor(small()).identity
    assert plain != Extractor(small(), overlap=0.04).identity
    changed = small()
    with torch.no_grad():
        next(changed.parameters()).add_(1e-3)
    assert plain != Extractor(changed).identity


def test_it_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: Any) -> None:
    images = pictures(tmp_path / "images")
    monkeypatch.setattr(store, "BLOCK", 1)
    extractor = Extractor(small(), regions=6)

    def stop(done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract_folder(extractor, images, tmp_path / "store", batch_size=2, say=stop)
    seen: list[tuple[int, int]] = []
    again = extract_folder(
        extractor, images, tmp_path / "store", batch_size=2, say=lambda *n: seen.append(n)
    )
    whole = extract_folder(extractor, images, tmp_path / "whole", batch_size=2)
    assert seen == [(4, 5), (5, 5)]
    assert np.allclose(again.features(np.arange(5)), whole.features(np.arange(5)), atol=1e-4)


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html>", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_a_broken_image_is_named(tmp_path: Path, content: bytes) -> None:
    images = pictures(tmp_path / "images", 2)
    (images / "1.png").write_bytes(content)
    with pytest.raises(FeatureError, match=r"1.png is no image"):
        extract_folder(Extractor(small()), images, tmp_path / "store")


def test_an_image_that_is_cut_short_is_named(tmp_path: Path) -> None:
    images = pictures(tmp_path / "images", 1)
    path = images / "0.png"
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(FeatureError, match=r"0.png is no image that can be read"):
        extract_folder(Extractor(small()), images, tmp_path / "store")


def test_an_enormous_image_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(extract, "MOST_PIXELS", 1000)
    with pytest.raises(FeatureError, match="64 x 40 pixels"):
        extract_folder(Extractor(small()), pictures(tmp_path / "images"), tmp_path / "store")


def test_folders_and_settings_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match="cannot be read"):
        extract_folder(Extractor(small()), tmp_path / "nothing", tmp_path / "store")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FeatureError, match="holds no image"):
        extract_folder(Extractor(small()), tmp_path / "empty", tmp_path / "store")
    for settings in ({"regions": 0}, {"overlap": 0.0}, {"overlap": 1.5}):
        with pytest.raises(FeatureError, match="give at least 1"):
            Extractor(small(), **settings)  # type: ignore[arg-type]


# -- the grid ---------------------------------------------------------------------------------
def test_cells_of_a_grid_hold_their_own_pixels() -> None:
    image = torch.zeros(3, 12, 24)
    image[:, :6, 12:] = 1.0  # the upper right quarter
    (found,) = Grid(side=2, pixels=3)(["a"], [image])
    assert found.boxes.tolist() == [[0, 0, 12, 6], [12, 0, 24, 6], [0, 6, 12, 12], [12, 6, 24, 12]]
    assert found.features.mean(axis=1) == pytest.approx([0, 1, 0, 0], abs=0.1)
    assert found.features.shape == (4, 9) and found.size == (24.0, 12.0)


def test_a_folder_becomes_a_store_without_a_detector(tmp_path: Path) -> None:
    kept = extract_folder(Grid(), pictures(tmp_path / "images"), tmp_path / "store")
    assert (kept.regions, kept.feature_dim) == (36, 64)
    assert kept.extractor == "grid of 6 by 6 cells, 8 by 8 grey pixels"
    with pytest.raises(FeatureError, match="give at least 1"):
        Grid(side=0)


def test_images_of_more_than_8_bits_are_refused_and_held_upright(tmp_path: Path) -> None:
    deep = tmp_path / "deep.png"
    Image.fromarray(np.arange(0, 60_000, 1000, dtype=np.uint16).reshape(6, 10)).save(deep)
    with pytest.raises(FeatureError, match="more than 8 bits a pixel"):
        read_pixels(deep)
    turned = Image.fromarray(np.arange(60, dtype=np.uint8).reshape(6, 10))
    exif = turned.getexif()
    exif[0x0112] = 6  # the camera was held on its side
    turned.save(tmp_path / "phone.png", exif=exif)
    assert read_pixels(tmp_path / "phone.png").shape == (10, 6, 3)


def test_images_in_folders_are_named_by_their_path(tmp_path: Path) -> None:
    for name in ("b/2.png", "a/1.png", "a/folder.png/x.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".txt"):
            (tmp_path / name).write_text("no image")
        else:
            Image.new("RGB", (12, 12)).save(tmp_path / name)
    store = extract_folder(Grid(2), tmp_path, tmp_path / "store")
    assert store.images == ("a/1.png", "b/2.png")
