"""Files of every published data set, harmed at random: refused in one line, or read as they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import made_vqa
from lthlib.errors import TaskError
from lthlib.lab import pictures, vqa
from lthlib.lab.archives import unpack
from test_features import mutated
from test_pictures import digits, idx, write_cifar, write_cub

TIMES = 250


def vqa_archive(folder: Path, patch: Any) -> tuple[Path, Callable[[], object]]:
    made_vqa.small_counts(patch)
    patch.setenv("LTHLIB_CACHE", str(folder / "cache"))
    made_vqa.write_vqa(folder)
    path = folder / vqa.PARTS["vqa-v2"]["test"].annotations
    return path, lambda: vqa.read_vqa(folder, "vqa-v2")


def vqa_lists(folder: Path, patch: Any) -> tuple[Path, Callable[[], object]]:
    vqa_archive(folder, patch)
    path = folder / vqa.PARTS["vqa-cp-v2"]["test"].annotations
    return path, lambda: vqa.read_vqa(folder, "vqa-cp-v2")


def mnist(folder: Path, patch: Any) -> tuple[Path, Callable[[], object]]:
    patch.setattr(pictures, "MNIST_PARTS", {"train": 6, "t10k": 4})
    for part, count in pictures.MNIST_PARTS.items():
        pixels, labels = digits(count, 0)
        idx(folder / pictures.mnist_file(part, "images-idx3"), 2051, pixels)
        idx(folder / pictures.mnist_file(part, "labels-idx1"), 2049, labels.astype(np.uint8))
    return folder / pictures.mnist_file("train", "images-idx3"), lambda: pictures.read_mnist(folder)


def cifar(folder: Path, patch: Any) -> tuple[Path, Callable[[], object]]:
    patch.setattr(pictures, "CIFAR_RECORDS", {"train": 5, "test": 2})
    path = write_cifar(folder, "cifar-10", np.zeros((7, 32, 32, 3), np.uint8), np.arange(7), 5)
    return path, lambda: pictures.read_cifar(folder, "cifar-10")


def cub(folder: Path, patch: Any) -> tuple[Path, Callable[[], object]]:
    sizes = {"IMAGES": 60, "CLASSES": 4, "TRAIN": 40, "PARTS": 2, "ATTRIBUTES": 6}
    for name, size in sizes.items():
        patch.setattr(pictures, f"CUB_{name}", size)
    return write_cub(folder) / "bounding_boxes.txt", lambda: pictures.read_cub(folder)


def attributes(folder: Path, patch: Any) -> tuple[Path, Callable[[], object]]:
    _, _ = cub(folder, patch)
    path = folder / pictures.CUB_FOLDER / "attributes" / "image_attribute_labels.txt"
    return path, lambda: pictures.read_cub(folder).attributes


def packed(folder: Path, patch: Any) -> tuple[Path, Callable[[], object]]:
    path, _ = cifar(folder, patch)

    def once() -> None:
        target = folder / f"out-{len(list(folder.iterdir()))}"
        unpack(path, target, most_bytes=200_000)

    return path, once


@pytest.mark.slow
@pytest.mark.parametrize("kind", [vqa_archive, vqa_lists, mnist, cifar, cub, attributes, packed])
def test_harmed_files_are_refused_in_one_line(kind: Any, tmp_path: Path, monkeypatch: Any) -> None:
    path, read = kind(tmp_path, monkeypatch)
    read()
    whole, draw, refused = path.read_bytes(), np.random.default_rng(5), 0
    for _ in range(TIMES):
        path.write_bytes(mutated(whole, draw))
        try:
            read()
        except TaskError as error:
            refused += 1
            assert "\n" not in str(error) and str(tmp_path) in str(error)
    assert refused > TIMES / 5
    assert not list(tmp_path.glob(".unpacking-*"))
