"""Image sets: real ones where there is a data folder, small ones in their format, and harm."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lthlib.errors import StudyError, TaskError
from lthlib.lab import lottery, pictures
from lthlib.lab.tasks import load
from lthlib.records import RecordStore
from lthlib.report.measures import quality
from lthlib.study import Study

Ints = NDArray[np.int64]


def idx(path: Path, magic: int, array: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    head = np.array([magic, *array.shape], dtype=">u4").tobytes()
    path.write_bytes(gzip.compress(head + array.tobytes()))


def digits(count: int, seed: int) -> tuple[NDArray[np.uint8], Ints]:
    """Images of 28 by 28 whose class is the row of a bright bar."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(10, size=count)
    pixels = draw.integers(0, 60, (count, 28, 28)).astype(np.uint8)
    pixels[np.arange(count), 2 * labels + 4] = 255
    return pixels, labels


@pytest.fixture
def mnist(tmp_path: Path, monkeypatch: Any) -> Path:
    monkeypatch.setattr(pictures, "MNIST_PARTS", {"train": 600, "t10k": 150})
    for seed, (part, count) in enumerate(pictures.MNIST_PARTS.items()):
        pixels, labels = digits(count, seed)
        idx(tmp_path / pictures.mnist_file(part, "images-idx3"), 2051, pixels)
        idx(tmp_path / pictures.mnist_file(part, "labels-idx1"), 2049, labels.astype(np.uint8))
    monkeypatch.setenv("LTHLIB_DATA", str(tmp_path))
    return tmp_path


def write_cifar(
    folder: Path, name: str, pixels: NDArray[np.uint8], labels: Ints, train: int, **harm: bytes
) -> Path:
    """An archive in the binary format; harm: other content of a member, by its stem."""
    about = pictures._CIFAR[name]
    coarse = np.zeros((len(labels), about.labels - 1), dtype=np.uint8)
    rows = np.hstack(
        [coarse, labels[:, None], pixels.transpose(0, 3, 1, 2).reshape(len(labels), -1)]
    )
    parts = np.split(rows[:train].astype(np.uint8), len(about.train))
    members = dict(zip(about.train, (part.tobytes() for part in parts), strict=True))
    members[about.test] = rows[train:].astype(np.uint8).tobytes()
    members[about.names] = "\n".join(f"class-{i}" for i in range(about.classes)).encode() + b"\n\n"
    path = folder / pictures.cifar_file(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for member, content in members.items():
            content = harm.get(Path(member).stem, content)
            info = tarfile.TarInfo(f"{about.folder}/{member}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture
def cifar(tmp_path: Path, monkeypatch: Any) -> tuple[Path, NDArray[np.uint8], Ints]:
    monkeypatch.setattr(pictures, "CIFAR_RECORDS", {"train": 50, "test": 20})
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (70, 32, 32, 3)).astype(np.uint8)
    monkeypatch.setenv("LTHLIB_DATA", str(tmp_path))
    return tmp_path, pixels, draw.integers(10, size=70)


# -- MNIST ----------------------------------------------------------------------------------------
def test_mnist_is_read_and_carved(mnist: Path) -> None:
    task = load("mnist")
    assert len(task.train) + len(task.validation) == 600 and len(task.test) == 150
    assert 40 < len(task.validation) < 80 and task.classes == tuple("0123456789")
    pixels, labels = digits(150, 1)
    inputs = task.test.inputs.take(slice(0, 2))
    assert inputs.region_features.shape == (2, 16, 49)
    assert torch.allclose(
        inputs.region_features[0, 5].reshape(7, 7) * 255,
        torch.from_numpy(pixels[0, 7:14, 7:14].astype(np.float32)),
    )
    assert inputs.boxes[0, 5].tolist() == [0.25, 0.25, 0.5, 0.5]
    assert task.test.labels[:, 0].tolist() == labels.tolist()


def test_real_mnist_has_its_counts() -> None:
    folder = Path(os.environ.get("LTHLIB_DATA", ""))
    if not (folder / "mnist").is_dir():
        pytest.skip("needs a data folder with MNIST")
    found = pictures.read_mnist(folder)
    assert found.pixels.shape == (70_000, 28, 28, 1)
    # Published counts of each digit in the training part.
    assert np.bincount(found.labels[:60_000]).tolist() == [
        *(5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
    ]
    task = load("mnist", train_items=1000)
    assert (len(task.train), len(task.test)) == (1000, 10_000)


def test_pictures_are_learned_and_blind_models_are_not_better_than_a_constant(
    mnist: Path, tmp_path: Path
) -> None:
    plain: dict[str, Any] = {
        "task": "mnist", "model": "visualbert", "start": "random", "levels": 1, "epochs": 10,
        "batch_size": 32, "learning_rate": 0.003,
    }  # fmt: skip
    store = RecordStore(tmp_path / "store")
    right = {}
    for regions in ("shown", "none"):
        study = Study.build(**plain, regions=regions)
        run = lottery.run(study, 0, store)
        row = quality(store.table("predictions", [run])).query("level == 0 and stage == 'trained'")
        right[regions] = float(row["accuracy"].iloc[0]), float(row["trivial_accuracy"].iloc[0])
    assert right["shown"][0] > 3 * right["shown"][1]
    assert right["none"][0] <= right["none"][1]


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda p: p.unlink(), "is missing: `lth data list`"),
        (lambda p: p.write_bytes(p.read_bytes()[:-30]), "is damaged"),
        (lambda p: p.write_text("<html>"), "is damaged"),
        (lambda p: p.write_bytes(gzip.compress(b"\0" * 50_000_000)), "is no IDX file"),
        (lambda p: idx(p, 2051, digits(599, 0)[0]), "is no IDX file of 600 x 28 x 28"),
    ],
)
def test_files_that_are_no_mnist_are_refused(mnist: Path, harm: Any, reason: str) -> None:
    harm(mnist / pictures.mnist_file("train", "images-idx3"))
    with pytest.raises(TaskError, match=reason):
        load("mnist")


def test_a_label_outside_of_the_classes_is_refused(mnist: Path) -> None:
    idx(mnist / pictures.mnist_file("t10k", "labels-idx1"), 2049, np.full(150, 11, np.uint8))
    with pytest.raises(TaskError, match="has label 11, and 10 classes"):
        load("mnist")


# -- CIFAR ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["cifar-10", "cifar-100"])
def test_cifar_is_read_from_its_archive(cifar: Any, name: str) -> None:
    folder, pixels, labels = cifar
    write_cifar(folder, name, pixels, labels, 50)
    found = pictures.read_cifar(folder, name)
    assert np.array_equal(found.pixels, pixels) and np.array_equal(found.labels, labels)
    task = load(name)
    assert task.outputs == {"cifar-10": 10, "cifar-100": 100}[name]
    assert task.test.inputs.take(slice(0, 1)).region_features.shape == (1, 16, 192)
    assert task.test.facts["class"][0] == f"class-{labels[50]}"


def test_real_cifar_comes_through_the_format(tmp_path: Path, monkeypatch: Any) -> None:
    file = Path(os.environ.get("LTHLIB_DATA", "")) / "cifar" / "cifar10_subset.npz"
    if not file.is_file():
        pytest.skip("needs a data folder with images of CIFAR-10")
    subset = np.load(file, allow_pickle=False)
    monkeypatch.setattr(pictures, "CIFAR_RECORDS", {"train": 3000, "test": 1000})
    pixels = np.concatenate([subset["x_train"], subset["x_test"]])
    labels = np.concatenate([subset["y_train"], subset["y_test"]])
    write_cifar(tmp_path, "cifar-10", pixels, labels, 3000)
    found = pictures.read_cifar(tmp_path, "cifar-10")
    assert np.array_equal(found.pixels, pixels) and np.bincount(found.labels).tolist() == [400] * 10


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        ({"test_batch": b"12"}, "test_batch.bin has 2 bytes"),
        ({"batches.meta": b"one two"}, "names 2 classes, not 10"),
        ({"batches.meta": b"x" * 70_000}, "has 70,000 bytes"),
    ],
)
def test_archives_that_are_no_cifar_are_refused(
    cifar: Any, harm: dict[str, bytes], reason: str
) -> None:
    folder, pixels, labels = cifar
    write_cifar(folder, "cifar-10", pixels, labels, 50, **harm)
    with pytest.raises(TaskError, match=reason):
        pictures.read_cifar(folder, "cifar-10")


def test_cut_and_empty_archives_are_refused(cifar: Any) -> None:
    folder, pixels, labels = cifar
    path = write_cifar(folder, "cifar-10", pixels, labels, 50)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(TaskError, match="is damaged"):
        pictures.read_cifar(folder, "cifar-10")
    with tarfile.open(path, "w:gz"):
        pass
    with pytest.raises(TaskError, match=r"holds no cifar-10-batches-bin/batches\.meta\.txt"):
        pictures.read_cifar(folder, "cifar-10")
    path.unlink()
    with pytest.raises(TaskError, match="is missing"):
        pictures.read_cifar(folder, "cifar-10")


# -- CUB ------------------------------------------------------------------------------------------
def write_cub(folder: Path, images: int = 60, classes: int = 4) -> Path:
    """Metadata of CUB's form: every third image tests, class i has attribute i."""
    root = folder / pictures.CUB_FOLDER
    (root / "parts").mkdir(parents=True)
    (root / "attributes").mkdir()
    number, of = range(1, images + 1), [i % classes for i in range(images)]
    lines = {
        "classes.txt": [f"{i} {i:03d}.Bird_{i}" for i in range(1, classes + 1)],
        "images.txt": [f"{i} bird_{c}/{i}.jpg" for i, c in zip(number, of, strict=True)],
        "image_class_labels.txt": [f"{i} {c + 1}" for i, c in zip(number, of, strict=True)],
        "train_test_split.txt": [f"{i} {int(i % 3 != 0)}" for i in number],
        "bounding_boxes.txt": [f"{i} 1.0 2.0 {i}.0 4.0" for i in number],
        "parts/parts.txt": ["1 back", "2 left eye"],
        "parts/part_locs.txt": [f"{i} {p} 5.0 6.0 {p - 1}" for i in number for p in (1, 2)],
        "attributes/image_attribute_labels.txt": [
            f"{i} {a} {int(a == c + 1)} 3 1.5" + (" 0 0" if i == 7 else "")
            for i, c in zip(number, of, strict=True)
            for a in range(1, 7)
        ],
    }
    for name, content in lines.items():
        (root / name).write_text("\n".join(content) + "\n")
    (folder / "cub" / "attributes.txt").write_text(
        "\n".join(f"{a} has_colour::colour {a}" for a in range(1, 7))
    )
    return root


@pytest.fixture
def cub(tmp_path: Path, monkeypatch: Any) -> Path:
    sizes = {"IMAGES": 60, "CLASSES": 4, "TRAIN": 40, "PARTS": 2, "ATTRIBUTES": 6}
    for name, size in sizes.items():
        monkeypatch.setattr(pictures, f"CUB_{name}", size)
    monkeypatch.setenv("LTHLIB_DATA", str(tmp_path))
    return write_cub(tmp_path)


def test_cub_is_read_with_boxes_parts_and_attributes(cub: Path, tmp_path: Path) -> None:
    found = pictures.read_cub(tmp_path)
    assert found.classes == tuple(f"Bird_{i}" for i in range(1, 5))
    first = found.images.iloc[0]
    assert (first["image"], first["label"], first["train"]) == ("bird_0/1.jpg", 0, True)
    assert found.images.loc[9, ["x", "width"]].tolist() == [1.0, 9.0]
    assert found.parts.query("image == 9")["part"].tolist() == ["back", "left eye"]
    assert found.parts.query("image == 9")["visible"].tolist() == [False, True]
    assert found.attributes.shape == (60, 6)
    assert (found.attributes.to_numpy()[:, :4].argmax(1) == found.images["label"]).all()
    assert not found.attributes.to_numpy()[:, 4:].any()


def test_cub_makes_two_tasks(cub: Path, monkeypatch: Any) -> None:
    task = load("cub")
    assert len(task.train) + len(task.validation) == 40 and len(task.test) == 20
    assert task.classes[0] == "Bird_1" and task.test.facts["image"][0] == "bird_2/3.jpg"
    monkeypatch.setattr("lthlib.lab.tasks.pictures.LEAST_PRESENT", 10)
    several = load("cub-attributes")
    assert several.decisions == tuple(f"has_colour::colour {a}" for a in range(1, 5))
    assert several.kind == "multi" and (several.test.labels.sum(dim=1) == 1).all()


def test_real_cub_has_its_counts(tmp_path: Path) -> None:
    real = Path(os.environ.get("LTHLIB_DATA", "")) / "cub"
    if not (real / "images.txt").is_file():
        pytest.skip("needs a data folder with CUB's metadata")
    (tmp_path / "cub").mkdir()
    (tmp_path / pictures.CUB_FOLDER).symlink_to(real)
    found = pictures.read_cub(tmp_path)
    assert len(found.images) == 11_788 and int(found.images["train"].sum()) == 5_994
    assert found.classes[0] == "Black_footed_Albatross" and len(found.parts) == 15 * 11_788
    assert found.parts["part"].nunique() == 15


def numbered(cell: str) -> str:
    return "".join(f"{i} {cell}\n" for i in range(1, 61))


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("images.txt", "1 a.jpg\n3 b.jpg\n", "does not name 60 things by their number"),
        ("image_class_labels.txt", numbered("5"), "a number outside of 1 to 4"),
        ("image_class_labels.txt", "1 4\n" * 60, "does not number 60 images in order"),
        ("bounding_boxes.txt", "1 2 3\n" * 60, "rows, not 60 whole ones"),
        ("bounding_boxes.txt", "1 2 3 4 5 6\n" * 60, "is no table of numbers"),
        ("bounding_boxes.txt", "<html> a b c d\n" * 60, "no table of numbers"),
        ("train_test_split.txt", numbered("1"), "is another split"),
    ],
)
def test_files_that_are_no_cub_are_refused(
    cub: Path, tmp_path: Path, file: str, content: str, reason: str
) -> None:
    (cub / file).write_text(content)
    with pytest.raises(TaskError, match=reason) as refusal:
        pictures.read_cub(tmp_path)
    assert "\n" not in str(refusal.value)


# -- studies --------------------------------------------------------------------------------------
def test_small_images_need_no_store_and_birds_do() -> None:
    assert Study.build(task="cifar-10", start="random").task == "cifar-10"
    with pytest.raises(StudyError, match="cub has none without a store of features"):
        Study.build(task="cub", start="random")


def test_patches_put_together_are_the_image() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 6, 3)).astype(np.uint8)
    features, boxes = pictures.patches(pixels, 2)
    again = (features.reshape(2, 2, 3, 2, 2, 3) * 255).round().astype(np.uint8)
    assert np.array_equal(again.transpose(0, 1, 3, 2, 4, 5).reshape(2, 4, 6, 3), pixels)
    assert boxes[-1].tolist() == pytest.approx([2 / 3, 0.5, 1, 1])
