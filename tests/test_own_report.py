"""`lth own`: from a table and a folder of images to a report, resumed, refused, and read."""

from __future__ import annotations

import csv
import errno
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lthlib.book.check import check
from lthlib.book.page import page
from lthlib.errors import FeatureError, LthError, RecordError, TaskError
from lthlib.lab import example
from lthlib.packs import PackedStore
from lthlib.records import RecordStore, project_root
from lthlib.report import own_data
from lthlib.report.baselines.tables import dense_of
from lthlib.study import Study
from lthlib.workflow import cli, own
from lthlib.workflow.local import missing

ROOT = project_root(Path(__file__).parent)
SHIPPED = ROOT / "records" / "example"
TINY = [
    *("--models", "uniter", "--seeds", "1", "--epochs", "1", "--cells", "1", "--workers", "1"),
    *("--ladder", "0.4", "0.8"),
]
Rows = list[dict[str, Any]]


# -- made-up data ---------------------------------------------------------------------------------
def rows(count: int = 60) -> Rows:
    return [
        {
            "image": f"sub folder/{i:02d}.png",
            "text": f"the picture is {'dark' if i % 3 else 'light'}",
            "label": ("cat", "dog")[i % 2],
        }
        for i in range(count)
    ]


def write_table(path: Path, given: Sequence[dict[str, Any]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(given[0]))
        writer.writeheader()
        writer.writerows(given)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder, with a space in its name, of a table and its pictures."""
    folder = tmp_path / "my data"
    (folder / "pics" / "sub folder").mkdir(parents=True)
    random = np.random.default_rng(0)
    for row in rows():
        pixels = random.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "pics" / row["image"])
    write_table(folder / "pets.csv", rows())
    return folder


def command(data: Path, *more: str) -> list[str]:
    return ["own", str(data / "pets.csv"), str(data / "pics"), *TINY, *more]


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Runs are made here, without processes and without a report; their names are noted."""
    from lthlib.lab import lottery
    from lthlib.workflow import local

    trained: list[str] = []

    def run(studies: Sequence[Study], store: RecordStore, **_: Any) -> list[str]:
        for job in local.missing(studies, store):
            trained.append(lottery.run(job.study, job.seed, store))
        return trained

    monkeypatch.setattr(own, "run", run)
    monkeypatch.setattr(own, "write_report", lambda out: True)
    return trained


# -- the example ----------------------------------------------------------------------------------
def test_the_example_is_the_same_each_time_and_every_text_is_as_often_true_as_false() -> None:
    items, pictures = example.example()
    example.example.cache_clear()
    assert example.example() == (items, pictures)
    assert len(pictures) == 400 and len(items) == 1200 == len(set(items))
    counts = Counter((item.split, item.text, item.label) for item in items)
    for split, text, _ in counts:
        assert counts[split, text, "true"] == counts[split, text, "false"]
    parts = {name: {item.split for item in items if item.image == name} for name in pictures}
    assert all(len(where) == 1 for where in parts.values())


def test_texts_say_of_pictures_what_is_drawn() -> None:
    items, pictures = example.example()
    for item in items:
        words = item.text.split()
        number = example.NUMBERS.index(next(w for w in words if w in example.NUMBERS))
        most = number if "more" in words else number - 1
        assert (len(pictures[item.image]) > most) == (item.label == "true")


def test_a_picture_shows_its_shapes_apart_and_whole() -> None:
    name, shapes = next((n, s) for n, s in example.example()[1].items() if len(s) == 9)
    pixels = np.asarray(example.picture(name))
    assert pixels.shape == (96, 96, 3)
    assert (pixels[[0, -1]] == 255).all() and (pixels[:, [0, -1]] == 255).all()
    for shape in shapes:
        assert tuple(pixels[shape.y, shape.x]) == shape.colour


def test_the_example_is_written_once_and_over_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a folder"
    assert cli.main(["own", "--example", str(folder)]) == 0
    said = capsys.readouterr().out
    assert f'lth own "{folder}/shapes.csv" "{folder}/images" --cells 3' in said
    given = own.check(folder / "shapes.csv", folder / "images")
    assert [len(part) for part in given.parts.values()] == [840, 120, 240]
    with Image.open(folder / "images" / "399.png") as kept:
        assert (np.asarray(kept) == np.asarray(example.picture("399.png"))).all()
    (folder / "shapes.csv").write_text("image,text,label\n")
    with pytest.raises(TaskError, match="is there, and is not the example's"):
        example.write_example(folder)


# -- the command ----------------------------------------------------------------------------------
def test_a_second_call_trains_nothing_and_other_data_are_other_runs(
    data: Path, tmp_path: Path, in_process: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LTHLIB_DATA", "elsewhere")
    assert cli.main(command(data)) == 0
    assert len(in_process) == 3
    out = tmp_path / "pets-report"
    about = json.loads((out / "own.json").read_text())
    assert [study["regions"] for study in about["studies"]] == ["shown", "none", "shuffled"]
    assert about["studies"][0]["branches"] == ["random-mask"]
    assert cli.main(command(data)) == 0
    assert len(in_process) == 3
    # One label more or less, or one pixel, and nothing of the old runs is taken for the new.
    left: list[str] = []
    store = RecordStore(str(out / "records"))
    monkeypatch.setattr(
        own, "run", lambda studies, *_, **__: left.extend(j.name for j in missing(studies, store))
    )
    changed = rows()
    changed[0]["label"] = "dog"
    write_table(data / "pets.csv", changed)
    assert cli.main(command(data)) == 0
    pixels = np.asarray(Image.open(data / "pics" / changed[0]["image"])).copy()
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(data / "pics" / changed[0]["image"])
    assert cli.main(command(data)) == 0
    assert len({*left, *in_process}) == 9
    assert [p.name for p in data.iterdir() if p.name not in {"pics", "pets.csv"}] == []


def test_json_lines_do_as_well_as_csv(data: Path) -> None:
    path = data / "pets.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows()))
    a, b = (own.check(data / f"pets{s}", data / "pics") for s in (".csv", ".jsonl"))
    for part in ("train", "validation", "test"):
        pd.testing.assert_frame_equal(a.parts[part], b.parts[part])
    assert a.task != b.task and a.file.endswith(".csv") and b.file.endswith(".jsonl")


def one_label(data: Path) -> None:
    write_table(data / "pets.csv", [{**row, "label": "cat"} for row in rows()])


def one_label_in_test(data: Path) -> None:
    splits = ["train", "train", "validation", "validation", "test", "train"]
    given = [{**row, "split": splits[i % 6]} for i, row in enumerate(rows())]
    write_table(data / "pets.csv", given)


def too_few(data: Path) -> None:
    write_table(data / "pets.csv", rows(4))


def third_label(data: Path) -> None:
    write_table(data / "pets.csv", [{**rows()[0], "label": "cow"}, *rows()[1:]])


def no_column(data: Path) -> None:
    write_table(data / "pets.csv", [{"image": "a", "label": "b"}])


def no_words(data: Path) -> None:
    write_table(data / "pets.csv", [{**row, "text": "?!"} for row in rows()])


def outside_image(data: Path) -> None:
    write_table(data / "pets.csv", [{**rows()[0], "image": "../pets.csv"}, *rows()[1:]])


def no_table(data: Path) -> None:
    (data / "pets.csv").unlink()


def no_utf8(data: Path) -> None:
    (data / "pets.csv").write_bytes(b"image,text,label\na,\xff,b\n")


def no_images(data: Path) -> None:
    shutil.rmtree(data / "pics")


def missing_image(data: Path) -> None:
    for number in range(3, 8):
        (data / "pics" / "sub folder" / f"{number:02d}.png").unlink()


def broken_image(data: Path) -> None:
    path = data / "pics" / "sub folder" / "03.png"
    path.write_bytes(path.read_bytes()[:90])
    (data / "pics" / "sub folder" / "05.png").write_bytes(b"")


def nothing(data: Path) -> None:
    pass


REFUSED: list[tuple[Callable[[Path], None], list[str], str]] = [
    (no_table, [], r"pets\.csv cannot be read \(No such file or directory\)"),
    (no_utf8, [], "is no UTF-8 text"),
    (no_column, [], "has no column 'text'"),
    (one_label, [], r"has 1 labels, not 2 \('cat'; row 1\)"),
    (third_label, [], "has 3 labels, not 2"),
    (one_label_in_test, [], "every item for test has the label 'cat'"),
    (too_few, [], "leaves"),
    (no_words, [], "no text for training has a word"),
    (outside_image, [], r"images that lie outside .*: \.\./pets\.csv"),
    (no_images, [], "is no folder of images"),
    (missing_image, [], r"5 of 60 images are not in .*03\.png.*05\.png and 2 more"),
    (broken_image, [], r"03\.png is no image that can be read .*; 1 more: sub folder/05\.png"),
    (nothing, ["--name", "Über"], "'Über' will not do as a name"),
    (nothing, ["--models", "unitr"], "unknown model 'unitr'; did you mean 'uniter'"),
    (nothing, ["--ladder", "0.8", "0.4"], "sparsities must rise"),
    (nothing, ["--ladder", "1.5"], "is no sparsity"),
    (nothing, ["--seeds", "0"], "--seeds 0 will not do"),
    (nothing, ["--cells", "0"], "--cells 0 will not do"),
    (nothing, ["--epochs", "0"], "epochs: 0 will not do"),
    (nothing, ["--workers", "0"], "--workers 0 will not do"),
]


@pytest.mark.parametrize(("spoil", "more", "said"), REFUSED, ids=[s for *_, s in REFUSED])
def test_what_will_not_do_is_refused_in_one_line_and_leaves_nothing(
    data: Path,
    tmp_path: Path,
    spoil: Callable[[Path], None],
    more: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoil(data)
    monkeypatch.chdir(tmp_path)
    assert cli.main(command(data, *more)) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("lth: ") and "\n" not in error
    assert re.search(said, error), error
    assert [p.name for p in tmp_path.iterdir()] == ["my data"]


def test_a_table_without_images_and_no_arguments_are_refused() -> None:
    for arguments in (["own"], ["own", "table.csv"]):
        assert cli.main(arguments) == 1


def test_another_ending_is_refused(data: Path) -> None:
    (data / "pets.csv").rename(data / "pets.xlsx")
    with pytest.raises(TaskError, match=r"give a file that ends in \.csv or \.jsonl"):
        own.check(data / "pets.xlsx", data / "pics")


def test_a_folder_that_cannot_be_written_and_a_full_disk_are_named(
    data: Path, tmp_path: Path, in_process: list[str], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "file").write_text("")
    assert cli.main(command(data, "--out", str(tmp_path / "file"))) == 1
    assert "file cannot be written" in capsys.readouterr().err

    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(own, "write_atomically", full)
    assert cli.main(command(data, "--out", str(tmp_path / "out"))) == 1
    said = capsys.readouterr().err
    assert "cannot be written (No space left on device): make room" in said
    assert said.count("\n") == 1 and not (tmp_path / "out").exists() and not in_process


# -- the report -----------------------------------------------------------------------------------
@pytest.mark.slow
def test_a_stranger_gets_a_page_that_stands_alone_after_a_kill_as_well(
    data: Path, tmp_path: Path
) -> None:
    """Killed in the middle of a training; run again; run a third time, which does nothing."""
    out = tmp_path / "the report"
    killed = (
        "import sys\n"
        "from benchmarks import killing\n"
        "from lthlib.workflow import cli, own\n"
        "from lthlib.lab import lottery\n"
        "from lthlib.workflow import local\n"
        "def run(studies, store, **_):\n"
        "    killing.die_in_write(9)\n"
        "    for job in local.missing(studies, store):\n"
        "        lottery.run(job.study, job.seed, store)\n"
        "own.run = run\n"
        "cli.main(sys.argv[1:])\n"
    )
    arguments = command(data, "--out", str(out))
    path = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": "/tmp"}
    dead = subprocess.run(
        [sys.executable, "-c", killed, *arguments], cwd=tmp_path, env=path, check=False,
        capture_output=True,
    )  # fmt: skip
    assert dead.returncode == -9 and not (out / "report.html").exists()
    whole = [sys.executable, "-m", "lthlib.workflow.cli", *arguments]
    said = []
    for _ in range(2):
        done = subprocess.run(
            whole, cwd=tmp_path, env=path, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert "runs to do" in said[0] and "writing the report" in said[0]
    assert "nothing to train" in said[1] and "writing the report" not in said[1]
    text = (out / "report.html").read_text()
    (tmp_path / "alone").mkdir()
    shutil.copy(out / "report.html", tmp_path / "alone" / "index.html")
    assert check(tmp_path / "alone") == []
    for path_ in (str(tmp_path), str(ROOT), str(Path.home()), "/tmp/"):
        assert path_ not in text and path_ not in (out / "report.ipynb").read_text()
    for words in ("Does the model look at the image?", "too few items", "random mask", "1 seed"):
        assert words in text
    assert "Traceback" not in text and 'class="exhibit-image" src="data:' in text


def test_a_page_shows_text_and_outputs_and_no_code() -> None:
    notebook = {
        "cells": [
            {"cell_type": "markdown", "source": ["# A <b> & title\n", "**Bold**"]},
            {
                "cell_type": "code",
                "source": ["secret()"],
                "outputs": [
                    {"data": {"text/html": ["<figure>F</figure>"], "text/plain": "'no'"}},
                    {"data": {"application/papermill.record/text/plain": "'glued'"}},
                    {"output_type": "stream", "text": ["a < b"]},
                    {"data": {"text/markdown": "*said*"}},
                ],
            },
        ]
    }
    text = page(notebook, head="<meta name=m>")
    assert "<title>A &lt;b&gt; &amp; title</title>" in text and "<meta name=m>" in text
    for shown in ("<strong>Bold</strong>", "<figure>F</figure>", "a &lt; b", "<em>said</em>"):
        assert shown in text
    for hidden in ("secret", "glued", "'no'"):
        assert hidden not in text
    assert "prefers-color-scheme:dark" in text and "width=device-width" in text


def test_a_broken_image_leaves_a_word_and_a_large_one_a_thumbnail(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"no image")
    Image.new("RGB", (2000, 500), "red").save(tmp_path / "y.png")
    Image.new("P", (5, 5)).save(tmp_path / "z.gif")

    def open_image(name: str) -> Image.Image:
        return Image.open(tmp_path / name)

    for name in ("x.png", "gone.png", "<b>.png"):
        assert "cannot be read any more" in own_data.picture(name, open_image)
    assert "&lt;b&gt;" in own_data.picture("<b>.png", open_image)
    assert "cannot be read" in own_data.picture("no such", example.picture)
    for name in ("y.png", "z.gif"):
        shown = own_data.picture(name, open_image)
        assert shown.startswith('<img src="data:image/') and len(shown) < 3000


def test_what_looking_adds_is_paired_by_seed() -> None:
    dense = pd.DataFrame(
        [
            {"model": "uniter", "regions": regions, "run": f"{regions}-s{seed}", "accuracy": a}
            for regions, values in {
                "shown": (0.80, 0.90, 0.85), "none": (0.50, 0.60, 0.55),
                "shuffled": (0.90, 0.70, 0.85),
            }.items()
            for seed, a in enumerate(values)
        ]
    )  # fmt: skip
    found = own_data.looks(dense).set_index("control")
    assert found["difference"].round(9).to_dict() == {"none": 0.3, "shuffled": 0.033333333}
    assert round(found.loc["none", "low"], 9) == 0.3  # the same at every seed
    assert found.loc["shuffled", "low"] < 0
    # The same at every seed: no spread, no test, and no claim.
    assert found["p_looks"].isna().tolist() == [True, False]
    assert "For UNITER that is not shown." in own_data.looks_sentence(own_data.looks(dense))
    seen = dense[dense["regions"] != "shuffled"].copy()
    seen.loc[seen["regions"] == "none", "accuracy"] += [0.0, 0.01, -0.01]
    blind = seen[seen["regions"] == "none"].assign(regions="shuffled")
    told = own_data.looks_sentence(own_data.looks(pd.concat([seen, blind])))
    assert "UNITER looks at it." in told and "+30.0 points" in told


# -- what is shipped ------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def shipped() -> own_data.Given:
    return own_data.read_given(SHIPPED)


def test_the_shipped_pack_is_whole_small_and_of_the_example(shipped: own_data.Given) -> None:
    store = shipped.store
    assert isinstance(store, PackedStore)
    assert store.runs() == sorted(run for study in shipped.studies for run in study.run_ids())
    for run in store.runs():
        store.verify(run)
    items, _ = example.example()
    kept = store.items(store.study(store.runs()[0])["items"])
    assert kept[["image", "text"]].to_numpy().tolist() == [
        [item.image, item.text] for item in items if item.split == "test"
    ]
    assert sum(p.stat().st_size for p in SHIPPED.rglob("*") if p.is_file()) < 1_500_000
    assert "/" not in (SHIPPED / "own.json").read_text()


def test_the_example_is_learned_from_its_images_alone(shipped: own_data.Given) -> None:
    dense = dense_of(shipped.studies, shipped.store)
    means = dense.pivot_table("accuracy", "model", "regions")
    assert (means["shown"] > 0.7).all()
    assert (means[["none", "shuffled"]] < 0.6).all(axis=None)
    for rule in ("majority", "opposite", "text"):
        assert shipped.text.answer("shapes", rule).share <= 0.55


def test_a_folder_that_is_none_of_ours_and_a_damaged_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="run `lth own` first"):
        own_data.read_given(tmp_path)
    for text in ("{", "[]", '{"name": "a"}', '{"text": 3}'):
        (tmp_path / "own.json").write_text(text)
        with pytest.raises(RecordError, match=r"own\.json is damaged"):
            own_data.read_given(tmp_path)


def test_errors_are_of_this_library() -> None:
    assert all(issubclass(kind, LthError) for kind in (FeatureError, TaskError))


# -- what a fresh pair of eyes found --------------------------------------------------------------
def test_names_that_go_round_about_and_endless_ones_are_refused(data: Path) -> None:
    for name, said in (("./sub folder/00.png", "plainly"), ("x" * 300 + ".png", "are not in")):
        first, *rest = rows()
        write_table(data / "pets.csv", [{**first, "image": name}, *rest])
        with pytest.raises(TaskError, match=said):
            own.check(data / "pets.csv", data / "pics")


def test_a_part_with_one_image_has_no_other_to_show(data: Path) -> None:
    names = [row["image"] for row in rows()]
    split = ["train", "validation", "test"]
    given = [
        {**row, "split": split[i % 3], "image": names[0] if i % 3 == 2 else names[i]}
        for i, row in enumerate(rows())
    ]
    write_table(data / "pets.csv", given)
    with pytest.raises(TaskError, match="every item for test has the same image"):
        own.check(data / "pets.csv", data / "pics")


def test_images_of_training_in_the_test_part_are_counted_by_their_pixels(data: Path) -> None:
    names = [row["image"] for row in rows()]
    given = own.check(data / "pets.csv", data / "pics")
    assert own._counted("test", given.parts["test"], given)["of_training"] == 0
    (data / "pics" / names[1]).write_bytes((data / "pics" / names[0]).read_bytes())
    assert given.pixels[names[0]] != given.pixels[names[1]]
    same = own.check(data / "pets.csv", data / "pics")
    assert same.pixels[names[0]] == same.pixels[names[1]]
    counts = pd.DataFrame([{"part": "test", "items": 10, "of_training": 4}])
    assert "4 of 10 test items show an image" in own_data._seen_in_training(counts)


def test_a_label_puts_no_markdown_into_the_page() -> None:
    html = page(
        {"cells": [{"cell_type": "markdown", "source": "# a\n\n![x](http://evil.example/a.png)"}]}
    )
    assert "<img" not in html


def test_a_table_in_capital_letters_is_read(data: Path) -> None:
    path = data / "PETS.JSONL"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows()))
    assert own.check(path, data / "pics").name == "pets"


def test_what_an_image_adds_ends_where_accuracy_does() -> None:
    runs = [f"lxmert-own-x-s{seed}" for seed in range(3)]
    dense = pd.DataFrame(
        [
            {"model": "lxmert", "run": run, "regions": regions, "accuracy": accuracy}
            for regions, values in {"shown": (1, 0.5, 1), "none": (0.5,) * 3}.items()
            for run, accuracy in zip(runs, values, strict=True)
        ]
        + [{"model": "lxmert", "run": r, "regions": "shuffled", "accuracy": 0.5} for r in runs]
    )
    found = own_data.looks(dense)
    assert found["high"].tolist() == [1, 1] and (found["low"] > -1).all()
