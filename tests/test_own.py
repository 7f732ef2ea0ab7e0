"""One's own data: tables that are read, and tables that are refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lthlib.errors import StudyError, TaskError
from lthlib.lab import corpora
from lthlib.lab.features.extract import read_pixels
from lthlib.lab.tasks import load, vocabulary
from lthlib.lab.tasks.own import read_own, table_file
from lthlib.lab.tasks.published import PUBLISHED
from lthlib.real_text import READ_WORDS
from lthlib.study import Study
from lthlib.workflow import own


def rows(count: int = 60) -> list[dict[str, Any]]:
    return [
        {
            "image": f"{i // 2:03d}.png",
            "text": f'the cat, number {i % 7}, is "here"',
            "label": ["no", "yes"][i % 2],
        }
        for i in range(count)
    ]


def write(path: Path, content: list[dict[str, Any]]) -> Path:
    if path.suffix == ".csv":
        pd.DataFrame(content).to_csv(path, index=False)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in content))
    return path


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_both_forms_are_read_alike(tmp_path: Path, suffix: str) -> None:
    parts, labels = read_own(write(tmp_path / f"t{suffix}", rows()))
    assert labels == ("no", "yes")
    assert sum(map(len, parts.values())) == 60
    images = [set(part["image"]) for part in parts.values()]
    assert not (images[0] & images[1] or images[0] & images[2] or images[1] & images[2])
    every = pd.concat(parts.values()).sort_values("item")
    assert every["item"].tolist() == [f"row-{i:06d}" for i in range(1, 61)]
    assert every["label"].tolist() == [0, 1] * 30
    assert every["text"].iloc[3] == 'the cat, number 3, is "here"'


def test_splits_and_names_that_are_given_are_kept(tmp_path: Path) -> None:
    given = [
        {**row, "item": f"i{n}", "split": ["train", "train", "validation", "test"][n % 4]}
        for n, row in enumerate(rows())
    ]
    parts, _ = read_own(write(tmp_path / "t.csv", given))
    assert [len(part) for part in parts.values()] == [30, 15, 15]
    assert parts["test"]["item"].tolist()[:2] == ["i3", "i7"]


def changed(at: int, **cells: Any) -> list[dict[str, Any]]:
    content = rows()
    content[at] = {**content[at], **cells}
    return content


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (changed(4, text=""), "row 5: text is "),
        (changed(4, image=None), "row 5: image is "),
        (changed(4, label="maybe"), r"has 3 labels, not 2 .*row 5"),
        ([{**row, "label": "yes"} for row in rows()], "has 1 labels, not 2"),
        ([{**row, "item": "same"} for row in rows()], "row 2: item 'same' is there twice"),
        ([{**row, "split": "dev"} for row in rows()], "row 1: split is 'dev', not train"),
        ([{**row, "split": "train"} for row in rows()], "leaves no items for validation"),
        ([], "has no"),
    ],
)
def test_tables_that_will_not_do(
    tmp_path: Path, suffix: str, content: list[dict[str, Any]], said: str
) -> None:
    path = write(tmp_path / f"t{suffix}", content)
    if not content:
        path.write_text("image,text,label\n" if suffix == ".csv" else "")
    with pytest.raises(TaskError, match=said) as refusal:
        read_own(path)
    assert "\n" not in str(refusal.value) and str(path) in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", b"picture,text,label\na,b,c\n", "has no column 'image'"),
        ("t.csv", b"image,text,label\na,b\n", "row 1 has more or fewer cells"),
        ("t.csv", b"image,text,label\na,b,c,d\n", "row 1 has more or fewer cells"),
        ("t.csv", b"image,text,label\na,\xff\xfe,c\n", "no UTF-8"),
        ("t.csv", b'image,text,label\na,"b,c\n', "no CSV that can be read"),
        ("t.jsonl", b'{"image": "a", "text": "b", "label": 1}\n{"image": \n', "row 2 is no JSON"),
        ("t.jsonl", b"[1, 2]\n", "row 1 is no object"),
        ("t.jsonl", b"<!DOCTYPE html>\n", "is no table, but a web page"),
        ("t.jsonl", b"[" * 100_000, "row 1 is no JSON"),
    ],
)
def test_files_that_are_no_tables(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(TaskError, match=said):
        read_own(path)


def test_a_table_is_found_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    with pytest.raises(
        TaskError, match=r"own-cats is nowhere in .*: put cats.csv or cats.jsonl there"
    ):
        table_file(tmp_path, "cats")
    path = write(tmp_path / "own" / "cats.csv", rows())
    assert table_file(tmp_path, "cats") == path
    write(tmp_path / "own" / "cats.jsonl", rows())
    with pytest.raises(TaskError, match="own-cats is twice"):
        table_file(tmp_path, "cats")


def test_it_becomes_a_task(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "own").mkdir()
    write(tmp_path / "own" / "cats.csv", rows())
    monkeypatch.setenv("LTHLIB_DATA", str(tmp_path))
    task = load("own-cats")
    assert task.classes == ("no", "yes") and task.outputs == 2
    assert {"item", "text", "image"} <= set(task.test.facts)
    study = Study.build(task="own-cats", regions="none", start="random")
    assert "own-cats" in study.name
    for name in ("own-", "own-Cats", "own-a/b", "own-..", "own-a\n"):
        with pytest.raises(StudyError, match="unknown task"):
            Study.build(task=name, regions="none", start="random")


READERS: dict[str, Callable[[Path], object]] = {
    "own.csv": read_own,
    "own.jsonl": read_own,
    "vsr.jsonl": corpora.read_vsr_file,
}


@pytest.mark.parametrize("name", READERS)
def test_damaged_tables_give_one_line_or_a_table(tmp_path: Path, name: str) -> None:
    """400 mutations of each: a TaskError in one line, or what the reader promises."""
    from test_features import mutated

    draw, path = np.random.default_rng(3), tmp_path / name
    content = [
        {**row, "caption": row["text"], "label": int(row["label"] == "yes")} for row in rows()
    ]
    whole = write(path, content).read_bytes()
    refused = 0
    for _ in range(400):
        path.write_bytes(mutated(whole, draw))
        try:
            READERS[name](path)
        except TaskError as error:
            refused += 1
            assert "\n" not in str(error) and len(str(error)) < 1000
    assert refused > 50


# -- tables as people have them -------------------------------------------------------------------
PLAIN = "image,text,label\n" + "".join(
    f"{i:02d}.png,the cat {i},{['no', 'yes'][i % 2]}\n" for i in range(60)
)
AS_SAVED = {
    "semicolons": PLAIN.replace(",", ";"),
    "tabs": PLAIN.replace(",", "\t"),
    "capitals and blanks": PLAIN.replace("image,text,label", " Image , TEXT,Label"),
    "a title above": f"My pictures,,\n\n{PLAIN}",
    "carriage returns": PLAIN.replace("\n", "\r\n"),
    "empty lines": PLAIN.replace("\n", "\n\n"),
    "empty columns": PLAIN.replace("\n", ",,\n"),
    "lines of old Macs": PLAIN.replace("\n", "\r"),
    "a title of two lines": f"My pictures\rof cats\n{PLAIN}",
    "a mark twice": f"\ufeff{PLAIN}",
    "a column of its own": PLAIN.replace("\n", ",x\n").replace("label,x", "label,remark"),
}


@pytest.mark.parametrize("how", AS_SAVED)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_table_reads_alike_however_it_was_saved(tmp_path: Path, how: str, encoding: str) -> None:
    (tmp_path / "plain.csv").write_text(PLAIN)
    (tmp_path / "saved.csv").write_bytes(AS_SAVED[how].encode(encoding))
    plain, saved = (read_own(tmp_path / f"{name}.csv") for name in ("plain", "saved"))
    assert plain[1] == saved[1]
    for part, items in plain[0].items():
        pd.testing.assert_frame_equal(items, saved[0][part])


def test_paths_of_windows_and_empty_lines_of_json_are_read(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(PLAIN.replace("\n0", "\nsub\\0"))
    parts, _ = read_own(tmp_path / "t.csv")
    assert any(image.startswith("sub/0") for image in parts["train"]["image"])
    lines = [json.dumps(row) for row in rows()]
    (tmp_path / "t.jsonl").write_text("\n\n".join(lines) + "\n\n")
    assert sum(map(len, read_own(tmp_path / "t.jsonl")[0].values())) == 60


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (PLAIN.replace("label", "label,text"), "column .text. is there twice"),
        (PLAIN.replace("03.png,the cat 3", '03.png,"the cat 3'), "row 4 .* line"),
        (PLAIN.replace("image", "imgae"), "no column 'image' .*did you mean 'imgae'"),
        (PLAIN.replace(",no", ",Yes"), "differ in case alone"),
        (PLAIN.replace("3,yes", "3,Yes"), "row 4: labels 'Yes' and 'yes' differ in case alone"),
        (PLAIN.replace("yes", "1").replace("3,1", "3,1.0"), "row 4: labels '1' and '1.0'"),
        (PLAIN.replace("yes", "\u00e9").replace("3,\u00e9", "3,e\u0301"), "row 4: .*Unicode"),
        (PLAIN.replace("label", "label,splt"), "'splt'; did you mean 'split'"),
        (PLAIN.partition("\n")[2], r"no column 'image' \(found: '00.png', 'the cat 0', 'no'\)"),
        (PLAIN.replace("cat 2", "c\0t 2"), "line 4 holds a zero byte"),
        ("version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        ("PK\x03\x04", "a ZIP archive"),
    ],
)  # fmt: skip
def test_faults_of_a_table_name_the_place(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(TaskError, match=said) as caught:
        read_own(tmp_path / "t.csv")
    assert "\n" not in str(caught.value)


def test_the_line_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(PLAIN.replace("cat 2", "chat \u00e9").encode("latin-1"))
    with pytest.raises(TaskError, match=r"line 4 is no UTF-8 text"):
        read_own(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_bytes(PLAIN.encode("utf-16-le"))
    with pytest.raises(TaskError, match=r"line 1 holds a zero byte, as UTF-16"):
        read_own(tmp_path / "t.csv")


def test_parts_are_known_in_any_case(tmp_path: Path) -> None:
    given = [
        {**row, "split": ["Train", "VALIDATION", "test"][n % 3]} for n, row in enumerate(rows())
    ]
    parts, _ = read_own(write(tmp_path / "t.csv", given))
    assert [len(part) for part in parts.values()] == [20, 20, 20]


def test_names_in_json_are_read_as_in_a_header(tmp_path: Path) -> None:
    told = [{"Image": row["image"], "TEXT ": row["text"], "label": n % 2 * 1.0} for n, row in
            enumerate(rows())]  # fmt: skip
    parts, labels = read_own(write(tmp_path / "t.jsonl", told))
    assert labels == ("0.0", "1.0") and sum(map(len, parts.values())) == 60


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"image": "a", "text": "b", "text": "c", "label": 1}', "row 2: .*'text' is there twice"),
        ('{"image": "a", "text": "b", "Text": "c", "label": 1}', "row 2: .*'text' is there twice"),
        ('{"imgae": "a", "text": "b", "label": 1}', "row 2 has no .*'image'.*did you mean 'imgae'"),
        ('{"image": "a", "text": "b", "label": 1, "splt": "x"}', "row 2: .*did you mean 'split'"),
        ('{"image": "a", "text": "b", "label": NaN}', "row 2: label is nan"),
        ('{"image": "a",', "row 2 is no JSON: write each row in a line of its own"),
    ],
)
def test_faults_of_a_row_in_json_name_the_row(tmp_path: Path, line: str, said: str) -> None:
    whole = '{"image": "a", "text": "b", "label": 0, "about": {"text": 1, "Text": 2}}'
    (tmp_path / "t.jsonl").write_text(f"{whole}\n{line}\n")
    with pytest.raises(TaskError, match=said) as caught:
        read_own(tmp_path / "t.jsonl")
    assert "\n" not in str(caught.value)


# -- pictures -------------------------------------------------------------------------------------
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_lies_on_white(tmp_path: Path, mode: str) -> None:
    """Drawings on a transparent ground: their hidden colour, mostly black, must never show."""
    drawing = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    drawing.paste((0, 0, 0, 255), (2, 2, 5, 5))
    if mode == "P":
        drawing = drawing.convert("P")
        drawing.info["transparency"] = drawing.getpixel((0, 0))
        drawing.putpixel((2, 2), 7)
    else:
        drawing = drawing.convert(mode)
    drawing.save(tmp_path / "d.png")
    pixels = read_pixels(tmp_path / "d.png")
    assert (pixels[0, 0] == 255).all() and pixels.min() < 255


def test_an_opaque_image_stays_as_it_is(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "o.png")
    assert np.array_equal(read_pixels(tmp_path / "o.png"), pixels)


# -- texts ----------------------------------------------------------------------------------------
def test_a_text_is_cut_where_models_stop_reading() -> None:
    text = "One two, three. Four"
    assert [vocabulary.cut(text, n) for n in (0, 2, 3, 5, 9)] == [
        "", "One two", "One two,", "One two, three.", text
    ]  # fmt: skip
    assert vocabulary.words(vocabulary.cut(text, 3)) == vocabulary.words(text)[:3]
    assert PUBLISHED["open-i"].width - 2 == READ_WORDS


# -- what models do not read ----------------------------------------------------------------------
def given_of(train: list[str], test: list[str]) -> own.Given:
    """What `lth own` was given of these texts."""
    texts = {"train": train, "validation": train[:2], "test": test}
    parts = {
        name: pd.DataFrame({"image": "a.png", "text": own_texts, "label": 0})
        for name, own_texts in texts.items()
    }
    return own.Given("made", ".csv", b"", parts, ("a", "b"), {"a.png": "0"})


def test_texts_of_which_models_see_marks_alone_have_no_word_that_they_know() -> None:
    """Every text ends in the full stop that models know."""
    given = given_of(["да.", "нет."], ["кот.", "пёс.", "дом."])
    assert given.unread() == [
        "7 of 7 texts have no word that models know (one that at least two training texts have): "
        "of these models see length and marks alone"
    ]
    assert [own._counted(n, p, given)["strange"] for n, p in given.parts.items()] == [2, 2, 3]


def test_a_word_beyond_those_that_are_read_is_not_known() -> None:
    far = " ".join(f"new{i}" for i in range(READ_WORDS)) + " red"
    given = given_of(["red one", "red two"], ["red", far])
    assert own._counted("test", given.parts["test"], given)["strange"] == 1
    assert given.unread()[0].startswith("1 of 6 texts are longer than the 62 words")
    assert given.unread()[1].startswith("1 of 6 texts have no word that models know")
