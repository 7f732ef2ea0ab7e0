"""Region features: checked, kept, read in place, and read from what others published."""

from __future__ import annotations

import base64
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch

from lthlib.errors import FeatureError
from lthlib.lab.features import sources, store
from lthlib.lab.features.regions import ImageRegions, checked
from lthlib.lab.features.restricted import load_arrays
from lthlib.lab.features.sources import ArraySource, import_regions, open_source
from lthlib.lab.features.store import Plan, RegionStore, StoreWriter

REGIONS, DIM, WIDTH, HEIGHT = 3, 4, 40, 20
NAMES = ("a.jpg", "b.jpg", "c.jpg")


def made(image: str, *, pixels: bool = True) -> ImageRegions:
    """Regions of an image, always the same for a name."""
    draw = np.random.default_rng(sum(map(ord, image)))
    corner, side = draw.random((REGIONS, 2)) * 0.4, 0.1 + draw.random((REGIONS, 2)) * 0.4
    boxes = np.hstack([corner, corner + side]).astype(np.float32)
    size = (WIDTH, HEIGHT) if pixels else (1, 1)
    scale = np.array([*size, *size], dtype=np.float32)
    features = draw.normal(size=(REGIONS, DIM)).astype(np.float32)
    return ImageRegions(image, features, boxes * scale, (float(size[0]), float(size[1])))


def plan(**changes: Any) -> Plan:
    given = {"images": NAMES, "regions": REGIONS, "feature_dim": DIM, "extractor": "a test"}
    return Plan(**(given | changes))


def written(folder: Path, **changes: Any) -> RegionStore:
    with StoreWriter(folder, plan(**changes)) as writer:
        for image in writer.missing():
            writer.put(made(image))
        return writer.finish()


# -- one image --------------------------------------------------------------------------------
def test_boxes_become_shares_of_the_image_and_what_was_given_stays() -> None:
    found = ImageRegions("a", np.ones((1, DIM)), np.array([[4, 5, 20, 15]]), (40.0, 20.0))
    before = found.boxes.copy()
    features, boxes = checked(found, regions=1, feature_dim=DIM)
    assert boxes.tolist() == [[0.1, 0.25, 0.5, 0.75]] or np.allclose(
        boxes, [[0.1, 0.25, 0.5, 0.75]]
    )
    assert features.dtype == boxes.dtype == np.float32
    assert (found.boxes == before).all() and not np.shares_memory(features, found.features)


def test_rounding_at_the_border_is_no_fault() -> None:
    found = ImageRegions("a", np.ones((1, DIM)), np.array([[-1e-5, 0, 1 + 1e-5, 1.0]]))
    assert checked(found, regions=1, feature_dim=DIM)[1].tolist() == [[0, 0, 1, 1]]


@pytest.mark.parametrize(
    ("box", "fault"),
    [
        ((20, 5, 4, 15), "corners in the wrong order"),
        ((4, 15, 20, 5), "corners in the wrong order"),
        ((4, 5, 4, 15), "no area"),
        ((4, 5, 41, 15), "outside the image of 40 x 20"),
        ((-3, 5, 20, 15), "outside the image"),
        ((4, 5, np.nan, 15), "is not finite"),
        ((4, 5, np.inf, 15), "is not finite"),
    ],
)
def test_a_box_that_cannot_be_is_named(box: tuple[float, ...], fault: str) -> None:
    found = made("b.jpg")
    found.boxes[1] = box
    with pytest.raises(FeatureError, match=rf"'b.jpg', region 1: box .*{fault}"):
        checked(found, regions=REGIONS, feature_dim=DIM)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"features": np.full((REGIONS, DIM), np.nan)}, "region 0: a feature is not finite"),
        ({"features": np.ones((REGIONS, DIM + 1))}, "5 features a region, where 4"),
        ({"features": np.ones((REGIONS - 1, DIM))}, "features of 2 regions"),
        ({"boxes": np.ones((REGIONS - 1, 4))}, r"boxes \[2, 4\]"),
        ({"features": np.ones(DIM)}, "not decimals"),
        ({"features": np.ones((REGIONS, DIM), dtype=int)}, "not decimals"),
        ({"boxes": np.full((REGIONS, 4), "x")}, "not numbers"),
        ({"size": (0.0, 20.0)}, "size 0.0 x 20.0"),
    ],
)
def test_an_image_that_does_not_fit_is_refused(change: dict[str, Any], fault: str) -> None:
    given = {"image": "b.jpg", "features": np.ones((REGIONS, DIM)), "boxes": made("b.jpg").boxes}
    found = ImageRegions(**(given | {"size": (40.0, 20.0)} | change))
    with pytest.raises(FeatureError, match=fault):
        checked(found, regions=REGIONS, feature_dim=DIM)


# -- the store --------------------------------------------------------------------------------
def test_what_is_put_in_comes_out_in_any_order(tmp_path: Path) -> None:
    kept = written(tmp_path / "store")
    rows = kept.rows(["c.jpg", "a.jpg", "c.jpg"])
    expected = [
        checked(made(n), regions=REGIONS, feature_dim=DIM) for n in ("c.jpg", "a.jpg", "c.jpg")
    ]
    assert (kept.features(rows) == np.stack([f for f, _ in expected])).all()
    assert (kept.boxes(rows) == np.stack([b for _, b in expected])).all()
    assert kept.sizes.tolist() == [[WIDTH, HEIGHT]] * 3
    assert len(kept) == 3 and "a.jpg" in kept and "z.jpg" not in kept
    kept.verify()
    assert sorted(p.name for p in kept.folder.iterdir()) == sorted(
        [store.REGIONS, store.IMAGES, store.ABOUT]
    )


def test_other_programs_can_read_it(tmp_path: Path) -> None:
    kept = written(tmp_path / "store")
    tensors = safetensors.numpy.load_file(kept.folder / store.REGIONS)
    assert (tensors["features"] == kept.features(np.arange(3))).all()
    assert (tensors["boxes"] == kept.boxes(np.arange(3))).all()


def test_half_precision_takes_half_and_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    half, full = written(tmp_path / "half", dtype="F16"), written(tmp_path / "full")
    every = np.arange(3)
    assert np.allclose(half.features(every), full.features(every), atol=2e-3)
    assert half.features(every).dtype == np.float32
    assert (half.boxes(every) == full.boxes(every)).all()
    found = made("a.jpg")
    found.features[0, 0] = 1e6
    with (
        StoreWriter(tmp_path / "other", plan(dtype="F16")) as writer,
        pytest.raises(FeatureError, match=r"'a.jpg': a feature is too large for F16"),
    ):
        writer.put(found)


def test_missing_images_are_listed_by_name(tmp_path: Path) -> None:
    kept = written(tmp_path / "store")
    with pytest.raises(
        FeatureError, match=r"no regions of 7 images: x0, x1, x2, x3, x4 and 2 more"
    ):
        kept.rows(["a.jpg", *(f"x{i}" for i in range(7)), "x0"])


def test_a_writer_goes_on_where_one_stopped(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(store, "BLOCK", 1)
    folder = tmp_path / "store"
    with pytest.raises(KeyboardInterrupt), StoreWriter(folder, plan()) as writer:
        writer.put(made("b.jpg"))
        raise KeyboardInterrupt
    with pytest.raises(FeatureError, match="only half written"):
        RegionStore(folder)
    with StoreWriter(folder, plan()) as writer:
        assert writer.missing() == ["a.jpg", "c.jpg"]
        for image in writer.missing():
            writer.put(made(image))
        again = writer.finish()
    whole = written(tmp_path / "whole")
    for name in (store.REGIONS, store.IMAGES, store.ABOUT):
        assert (again.folder / name).read_bytes() == (whole.folder / name).read_bytes()


def test_a_writer_that_was_killed_loses_at_most_a_block(tmp_path: Path) -> None:
    code = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_features import made, plan
from lthlib.lab.features import store
store.BLOCK = 2
names = tuple(f"{i}.jpg" for i in range(5))
with store.StoreWriter(Path(sys.argv[1]), plan(images=names)) as writer:
    for image in names[:3]:
        writer.put(made(image))
    os._exit(9)
"""
    folder = tmp_path / "store"
    here = str(Path(__file__).parent)
    assert subprocess.run([sys.executable, "-c", code, folder, here], check=False).returncode == 9
    names = tuple(f"{i}.jpg" for i in range(5))
    with StoreWriter(folder, plan(images=names)) as writer:
        assert writer.missing() == ["2.jpg", "3.jpg", "4.jpg"]
        for image in writer.missing():
            writer.put(made(image))
        kept = writer.finish()
    expected = np.stack([made(name).features for name in names])
    assert (kept.features(np.arange(5)) == expected).all()


def test_one_that_stopped_while_it_finished_is_finished(tmp_path: Path) -> None:
    kept = written(tmp_path / "store")
    reference = {p.name: p.read_bytes() for p in kept.folder.iterdir()}
    folder = tmp_path / "again"
    with StoreWriter(folder, plan()) as writer:
        for image in writer.missing():
            writer.put(made(image))
    (folder / store.WRITING).rename(folder / store.REGIONS)
    with StoreWriter(folder, plan()) as writer:
        assert writer.missing() == []
        writer.finish()
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == reference


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"images": ()}, "0 images"),
        ({"images": ("a.jpg", "b.jpg", "a.jpg")}, "named twice: a.jpg"),
        ({"dtype": "BF16"}, "F32 or F16"),
        ({"regions": 0}, "0 regions"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(
    tmp_path: Path, changes: dict[str, Any], fault: str
) -> None:
    with pytest.raises(FeatureError, match=fault):
        StoreWriter(tmp_path / "store", plan(**changes))
    assert not (tmp_path / "store").exists()


def test_writers_do_not_mix(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with StoreWriter(folder, plan()) as writer:
        writer.put(made("a.jpg"))
        with pytest.raises(FeatureError, match="another process"), StoreWriter(folder, plan()):
            pass
        with pytest.raises(FeatureError, match=r"lacks 2 images: b.jpg, c.jpg"):
            writer.finish()
        with pytest.raises(FeatureError, match="not in the plan"):
            writer.put(made("z.jpg"))
    with pytest.raises(FeatureError, match="other images or settings"):
        StoreWriter(folder, plan(regions=5))
    with pytest.raises(FeatureError, match="other images or settings"):
        StoreWriter(folder, plan(images=("a.jpg", "b.jpg", "d.jpg")))
    written(folder)
    with pytest.raises(FeatureError, match="holds a finished store"):
        StoreWriter(folder, plan())


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: Any) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with StoreWriter(tmp_path / "store", plan()) as writer:
        monkeypatch.setattr(os, "fsync", full)
        monkeypatch.setattr(store, "BLOCK", 1)
        with pytest.raises(FeatureError, match=r"cannot be written \(No space left.*goes on"):
            writer.put(made("a.jpg"))


def test_damage_is_found(tmp_path: Path) -> None:
    kept = written(tmp_path / "store")
    path = kept.folder / store.REGIONS
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(FeatureError, match="damaged"):
        RegionStore(kept.folder).verify()
    path.write_bytes(content[:-1])
    with pytest.raises(FeatureError, match="cut or changed"):
        RegionStore(kept.folder)
    with pytest.raises(FeatureError, match="no store of region features"):
        RegionStore(tmp_path / "nothing")
    about = json.loads((kept.folder / store.ABOUT).read_text())
    (kept.folder / store.ABOUT).write_text(json.dumps(about | {"format": 2}))
    with pytest.raises(FeatureError, match="format 2"):
        RegionStore(kept.folder)


# -- published formats ------------------------------------------------------------------------
def tsv_line(found: ImageRegions) -> bytes:
    coded = [base64.b64encode(np.float32(a).tobytes()) for a in (found.boxes, found.features)]
    width, height = (str(int(side)).encode() for side in found.size)
    empty = base64.b64encode(np.zeros(len(found.boxes), dtype=np.int64).tobytes())
    count = str(len(found.boxes)).encode()
    return b"\t".join([found.image.encode(), height, width, *[empty] * 4, count, *coded]) + b"\n"


def write_tsv(path: Path) -> Path:
    path.write_bytes(b"".join(tsv_line(made(name)) for name in NAMES))
    return path


def write_vsr(folder: Path) -> Path:
    folder.mkdir()
    (folder / "names.txt").write_text("\n".join(NAMES) + "\n")
    parts = [made(name, pixels=False) for name in NAMES]
    torch.save(torch.tensor(np.stack([p.features for p in parts])), folder / "features.pt")
    torch.save(torch.tensor(np.stack([p.boxes for p in parts])), folder / "boxes.pt")
    return folder


def openi_content() -> dict[str, Any]:
    return {n: (made(n).features, made(n).boxes, (np.int64(WIDTH), HEIGHT)) for n in NAMES}


def write_openi(path: Path) -> Path:
    path.write_bytes(pickle.dumps(openi_content(), protocol=4))
    return path


def arrays() -> dict[str, Any]:
    parts = [made(name) for name in NAMES]
    return {
        "images": np.array(NAMES),
        "features": np.stack([p.features for p in parts]),
        "boxes": np.stack([p.boxes for p in parts]),
        "sizes": np.array([p.size for p in parts]),
    }


def write_npz(path: Path) -> Path:
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays())
    return path


def write_hdf5(path: Path) -> Path:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        for name, array in arrays().items():
            file[name] = [n.encode() for n in NAMES] if name == "images" else array
    return path


WRITERS: dict[str, Callable[[Path], Path]] = {
    "lxmert-tsv": write_tsv,
    "vsr": write_vsr,
    "openi": write_openi,
    "npz": write_npz,
    "hdf5": write_hdf5,
}


@pytest.mark.parametrize("kind", sources.FORMATS)
def test_every_format_gives_the_same_store(tmp_path: Path, kind: str) -> None:
    seen: list[tuple[int, int]] = []
    source = open_source(kind, WRITERS[kind](tmp_path / "published"))
    folder = tmp_path / "store"
    kept = import_regions(source, folder, extractor="X101", say=lambda *counts: seen.append(counts))
    assert kept.images == NAMES and kept.extractor == "X101"
    expected = [checked(made(n), regions=REGIONS, feature_dim=DIM) for n in NAMES]
    assert (kept.features(np.arange(3)) == np.stack([f for f, _ in expected])).all()
    assert np.allclose(kept.boxes(np.arange(3)), np.stack([b for _, b in expected]), atol=1e-6)
    assert kept.sizes.tolist() == [[1, 1] if kind == "vsr" else [WIDTH, HEIGHT]] * 3
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_old_torch_files_are_read_too(tmp_path: Path) -> None:
    folder = write_vsr(tmp_path / "vsr")
    for name in ("features", "boxes"):
        tensor = torch.load(folder / f"{name}.pt", weights_only=True)
        torch.save(tensor, folder / f"{name}.pt", _use_new_zipfile_serialization=False)
    assert (open_source("vsr", folder).read("b.jpg").features == made("b.jpg").features).all()


def test_a_table_is_read_line_by_line(tmp_path: Path) -> None:
    source = open_source("lxmert-tsv", write_tsv(tmp_path / "obj36.tsv"))
    assert source.images == NAMES
    assert (source.read("c.jpg").boxes == made("c.jpg").boxes).all()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda lines: [lines[0], lines[1][:50]], "line 2 has . columns, not 10"),
        (lambda lines: [lines[0], lines[0]], "line 2: image 'a.jpg' is there twice"),
        (lambda lines: [], "is empty"),
    ],
)
def test_a_table_that_is_cut_says_where(tmp_path: Path, change: Any, fault: str) -> None:
    path = tmp_path / "obj36.tsv"
    path.write_bytes(b"".join(change([tsv_line(made(name)) for name in NAMES])))
    with pytest.raises(FeatureError, match=fault):
        open_source("lxmert-tsv", path)


def test_another_number_of_regions_is_named_by_image(tmp_path: Path) -> None:
    path = write_openi(tmp_path / "regions.pkl")
    held = openi_content()
    features, boxes, size = held[(name := list(held)[1])]
    path.write_bytes(pickle.dumps({**held, name: (features[:-1], boxes[:-1], size)}))
    with pytest.raises(FeatureError, match=rf"{name!r} has features of 2 regions .* 3 regions are"):
        import_regions(open_source("openi", path), tmp_path / "store", extractor="X101")


def test_arrays_must_belong_together(tmp_path: Path) -> None:
    for name, array in {"boxes": arrays()["boxes"][:2], "features": np.ones((3, 4))}.items():
        given = {k: v for k, v in arrays().items() if k != "images"} | {name: array}
        with pytest.raises(FeatureError, match=f"{name} are"):
            ArraySource(tmp_path, NAMES, given)
    given = {k: v for k, v in arrays().items() if k != "images"}
    with pytest.raises(FeatureError, match="names an image twice"):
        ArraySource(tmp_path, ("a", "b", "a"), given)


@pytest.mark.parametrize("kind", sources.FORMATS)
def test_a_file_that_is_missing_or_something_else(tmp_path: Path, kind: str) -> None:
    with pytest.raises(FeatureError):
        open_source(kind, tmp_path / "nothing")
    page = tmp_path / "page"
    page.write_text("<!DOCTYPE html><html><body>404: Not Found</body></html>\n")
    with pytest.raises(FeatureError):
        open_source(kind, page)


def test_an_unknown_format_is_named() -> None:
    with pytest.raises(FeatureError, match="did you mean 'lxmert-tsv'"):
        open_source("lxmert", Path("x"))


def test_an_archive_that_unpacks_to_a_disk_full_is_refused(
    tmp_path: Path, monkeypatch: Any
) -> None:
    path = write_npz(tmp_path / "features.npz")
    monkeypatch.setattr(sources, "MOST_UNPACKED", 100)
    with pytest.raises(FeatureError, match="unpacks to"):
        open_source("npz", path)


# -- pickles ----------------------------------------------------------------------------------
@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_arrays_are_read_whatever_their_protocol(tmp_path: Path, protocol: int) -> None:
    given = {
        "one": (np.arange(6, dtype=">f4").reshape(2, 3), np.asfortranarray(np.eye(3))),
        "two": [np.float32(1.5), np.int64(7), "text", None, True, b"bytes", np.zeros(0)],
    }
    path = tmp_path / "arrays.pickle"
    path.write_bytes(pickle.dumps(given, protocol=protocol))
    found = load_arrays(path)
    for ours, theirs in zip(found["one"], given["one"], strict=True):
        assert (ours == theirs).all() and ours.shape == theirs.shape
    assert found["two"][:6] == given["two"][:6] and found["two"][6].shape == (0,)


def test_pickles_of_numpy_1_are_read(tmp_path: Path) -> None:
    path = tmp_path / "arrays.pickle"
    content = pickle.dumps(np.eye(2), protocol=2).replace(b"numpy._core.", b"numpy.core.")
    path.write_bytes(content)
    assert (load_arrays(path) == np.eye(2)).all()


class Calls:
    """What a malicious file holds."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize(
    "made_call",
    [
        lambda mark: Calls(os.system, f"touch {mark}"),
        lambda mark: Calls(eval, f"open({str(mark)!r}, 'w')"),
        lambda mark: Calls(exec, f"open({str(mark)!r}, 'w')"),
        lambda mark: Calls(np.save, str(mark), np.eye(2)),
        lambda mark: Calls(subprocess.Popen, ["touch", str(mark)]),
        lambda mark: Calls(np.fromfile, str(mark)),
    ],
)
def test_a_pickle_that_calls_code_does_not_run(tmp_path: Path, made_call: Any) -> None:
    mark, path = tmp_path / "it-ran", tmp_path / "evil.pickle"
    for protocol in range(6):
        hidden = {"a.jpg": (np.eye(2), made_call(mark), (1, 1))}
        path.write_bytes(pickle.dumps(hidden, protocol=protocol))
        with pytest.raises(FeatureError, match="it calls"):
            load_arrays(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    "content",
    [
        np.array([{"a": 1}, None], dtype=object),
        np.array(["text"]),
        np.zeros(2, dtype=[("a", "f4"), ("b", "i4")]),
        np.array(["2020-01-01"], dtype="M8[D]"),
        {1, 2},
        Path("x"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "arrays.pickle"
    path.write_bytes(pickle.dumps(content, protocol=4))
    with pytest.raises(FeatureError, match="no pickle of plain arrays"):
        load_arrays(path)


def test_a_pickle_that_names_itself_again_and_again_is_read_once(tmp_path: Path) -> None:
    level: list[Any] = [1.0]
    for _ in range(200):
        level = [level, level]  # 2^200 leaves, were each followed
    path = tmp_path / "laughs.pickle"
    path.write_bytes(pickle.dumps(level, protocol=4))
    assert len(load_arrays(path)) == 2


# -- damage -----------------------------------------------------------------------------------
def mutated(content: bytes, draw: np.random.Generator) -> bytes:
    """The file with some bytes changed, cut, doubled, or swapped for noise."""
    data = bytearray(content)
    kind = draw.integers(5)
    place = int(draw.integers(len(data)))
    if kind == 0:
        for at in draw.integers(len(data), size=draw.integers(1, 9)):
            data[at] = draw.integers(256)
    elif kind == 1:
        del data[place:]
    elif kind == 2:
        del data[place : place + int(draw.integers(1, 40))]
    elif kind == 3:
        data[place:place] = draw.bytes(int(draw.integers(1, 40)))
    else:
        data[place] ^= 1 << int(draw.integers(8))
    return bytes(data)


@pytest.mark.parametrize("kind", [*sources.FORMATS, "store"])
def test_damaged_files_give_one_line_or_sound_regions(tmp_path: Path, kind: str) -> None:
    """400 mutations of each format: a FeatureError, or regions that pass every check."""
    draw = np.random.default_rng(7)
    if kind == "store":
        root = written(tmp_path / "whole").folder
        files = [root / name for name in (store.REGIONS, store.IMAGES, store.ABOUT)]
    else:
        root = WRITERS[kind](tmp_path / "whole")
        files = sorted(root.iterdir()) if root.is_dir() else [root]
    whole = {file: file.read_bytes() for file in files}
    refused = 0
    for turn in range(400):
        file = files[turn % len(files)]
        file.write_bytes(mutated(whole[file], draw))
        refused += not survives(kind, root, tmp_path / f"store-{turn}")
        file.write_bytes(whole[file])
    assert refused > 100


def survives(kind: str, root: Path, target: Path) -> bool:
    """Whether the damaged file gave a store; its numbers are then checked."""
    try:
        if kind == "store":
            kept = RegionStore(root)
            kept.verify()
        else:
            kept = import_regions(open_source(kind, root), target, extractor="X101")
    except FeatureError as error:
        assert "\n" not in str(error)
        return False
    every = np.arange(len(kept))
    boxes = kept.boxes(every)
    assert np.isfinite(kept.features(every)).all()
    assert ((boxes >= 0) & (boxes <= 1)).all() and (boxes[..., 2:] >= boxes[..., :2]).all()
    return True


# -- files as people have them --------------------------------------------------------------------
def test_several_files_make_one_store_and_an_image_in_two_is_named(tmp_path: Path) -> None:
    parts = [tmp_path / "train.tsv", tmp_path / "val.tsv"]
    for path, names in zip(parts, (NAMES[:2], NAMES[2:]), strict=True):
        path.write_bytes(b"".join(tsv_line(made(name)) for name in names))
    joined = import_regions(open_source("lxmert-tsv", *parts), tmp_path / "one", extractor="x")
    assert joined.images == NAMES
    with pytest.raises(FeatureError, match="2 images are in two of the files"):
        open_source("lxmert-tsv", parts[0], parts[0])
    with pytest.raises(FeatureError, match="command that names them all"):
        import_regions(open_source("lxmert-tsv", parts[1]), tmp_path / "one", extractor="x")


def test_an_import_goes_on_from_the_same_file_only(tmp_path: Path) -> None:
    """Planted fault: the second file has the same images and other features."""
    lines = [tsv_line(made(name)) for name in NAMES]
    (tmp_path / "cut.tsv").write_bytes(b"".join([*lines[:2], lines[2][:-9] + b"\n"]))
    (tmp_path / "other.tsv").write_bytes(b"".join(lines))
    with pytest.raises(FeatureError, match="line 3"):
        import_regions(
            open_source("lxmert-tsv", tmp_path / "cut.tsv"), tmp_path / "s", extractor="x"
        )
    with pytest.raises(FeatureError, match=r"half written .* from another file"):
        import_regions(
            open_source("lxmert-tsv", tmp_path / "other.tsv"), tmp_path / "s", extractor="x"
        )


@pytest.mark.parametrize("kind", sources.FORMATS)
def test_a_fingerprint_is_of_the_whole_content(tmp_path: Path, kind: str) -> None:
    path = WRITERS[kind](tmp_path / kind)
    before = open_source(kind, path).fingerprint
    assert before == open_source(kind, path).fingerprint
    target = path / "features.pt" if path.is_dir() else path
    content = bytearray(target.read_bytes())
    content[len(content) // 2] ^= 1
    target.write_bytes(bytes(content))
    try:
        after = open_source(kind, path).fingerprint
    except FeatureError:
        return
    assert after != before


def test_bottom_up_attentions_own_columns_are_read(tmp_path: Path) -> None:
    lines = []
    for number, name in enumerate(NAMES, start=9):
        cells = tsv_line(made(name)).rstrip(b"\n").split(b"\t")
        lines.append(b"\t".join([b"%d" % number, cells[2], cells[1], *cells[7:]]) + b"\n")
    (tmp_path / "six.tsv").write_bytes(b"".join(lines))
    ours = import_regions(
        open_source("lxmert-tsv", tmp_path / "six.tsv"), tmp_path / "six", extractor="x"
    )
    theirs = written(tmp_path / "store")
    assert ours.images == ("000000000009", "000000000010", "000000000011")
    rows = np.arange(3)
    assert np.array_equal(ours.features(rows), theirs.features(rows))
    assert np.allclose(ours.boxes(rows), theirs.boxes(rows))


def test_numbers_of_regions_that_differ_are_told_before_anything_is_written(tmp_path: Path) -> None:
    few = ImageRegions("d", np.ones((1, DIM)), np.array([[0, 0, 4, 4]]), (40.0, 20.0))
    (tmp_path / "t.tsv").write_bytes(tsv_line(made("a")) + tsv_line(few))
    with pytest.raises(FeatureError, match="its images have 1 to 3 regions"):
        open_source("lxmert-tsv", tmp_path / "t.tsv")


def test_cocos_images_are_found_by_their_number(tmp_path: Path) -> None:
    kept = written(
        tmp_path / "s", images=("COCO_train2014_000000000009", "COCO_val2014_000000000012", "12")
    )
    names = ["000000000009.jpg", "val2014/COCO_val2014_000000000012.jpg", "000000000012", "12"]
    assert kept.rows(names).tolist() == [0, 1, 1, 2]
    assert "000000000009.jpg" in kept and "000000000010.jpg" not in kept
    # A number that two images have finds neither.
    both = ("COCO_train2014_000000000009", "COCO_test2015_000000000009", "x")
    twice = written(tmp_path / "t", images=both)
    with pytest.raises(FeatureError, match="no regions of 1 image"):
        twice.rows(["000000000009.jpg"])
    assert twice.rows(both).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"<!DOCTYPE html><html></html>", "a web page"),
    ],
)
def test_pointers_and_pages_are_named(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "t.tsv").write_bytes(content)
    with pytest.raises(FeatureError, match=said):
        open_source("lxmert-tsv", tmp_path / "t.tsv")
