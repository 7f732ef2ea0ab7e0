"""Readers of VQA v2 and VQA-CP v2: questions, the answers that people gave, and their worth.

A data folder holds, as they are published (archives are read in place; unpacked files do as well),

    vqa/v2_Questions_{Train,Val}_mscoco.zip, vqa/v2_Annotations_{Train,Val}_mscoco.zip
    vqa-cp/vqacp_v2_{train,test}_{questions,annotations}.json

Files of hundreds of megabytes are read as a stream, once: what is needed of them is then kept in
the cache folder, under a name that their content gives.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lthlib.errors import TaskError, in_one_line, reason
from lthlib.lab.cache import default_folder, keep, kept
from lthlib.records import file_sha256

LARGEST = 2**31
"""Bytes of one unpacked file: VQA v2's largest has 0.4 GB."""
COCO_PARTS = ("train2014", "val2014")
PEOPLE = 10
"""Answers that each question has."""
LEAST_GIVEN = 9
"""Training questions that must have an answer as their first one, for it to be a class."""
VERSION = 1  # of what is kept in the cache


@dataclass(frozen=True)
class Part:
    """Where a published part lies, and how many questions it has."""

    questions: str
    annotations: str
    count: int
    images: str | None  # COCO's part; None where each question says it


_V2 = "v2_{}_{}_mscoco.zip"
PARTS: dict[str, dict[str, Part]] = {
    "vqa-v2": {
        "train": Part(
            f"vqa/{_V2.format('Questions', 'Train')}",
            f"vqa/{_V2.format('Annotations', 'Train')}",
            443_757,
            "train2014",
        ),
        "test": Part(
            f"vqa/{_V2.format('Questions', 'Val')}",
            f"vqa/{_V2.format('Annotations', 'Val')}",
            214_354,
            "val2014",
        ),
    },
    "vqa-cp-v2": {
        part: Part(
            f"vqa-cp/vqacp_v2_{part}_questions.json",
            f"vqa-cp/vqacp_v2_{part}_annotations.json",
            count,
            None,
        )
        for part, count in (("train", 438_183), ("test", 219_928))
    },
}
UNPACKED = {
    "v2_Questions_Train_mscoco.zip": "v2_OpenEnded_mscoco_train2014_questions.json",
    "v2_Questions_Val_mscoco.zip": "v2_OpenEnded_mscoco_val2014_questions.json",
    "v2_Annotations_Train_mscoco.zip": "v2_mscoco_train2014_annotations.json",
    "v2_Annotations_Val_mscoco.zip": "v2_mscoco_val2014_annotations.json",
}


@dataclass(frozen=True)
class Questions:
    """N questions and M different answers to them, of which each was given `count` times.

    table: item, image, text, question_type, answer_type, first (the answer most people gave);
    row: int64 [M], the question of each answer, rising; answer: str [M]; count: int64 [M].
    """

    table: pd.DataFrame
    row: NDArray[np.int64]
    answer: pd.Series[str]
    count: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> Questions:
        """The questions at `rows`, in that order."""
        place = np.full(len(self.table), -1)
        place[rows] = np.arange(len(rows))
        new = place[self.row]
        order = np.argsort(new, kind="stable")
        order = order[new[order] >= 0]
        return Questions(
            self.table.iloc[rows].reset_index(drop=True),
            new[order],
            self.answer.iloc[order].reset_index(drop=True),
            self.count[order],
        )


def read_vqa(folder: Path, name: str) -> dict[str, Questions]:
    """The parts train and test of `vqa-v2` or `vqa-cp-v2`.

    Raises TaskError for a file that is missing, cut, or no file of VQA, for questions without
    answers and the reverse, and for another number of questions than was published.
    """
    return {part: _kept_part(folder, name, part) for part in PARTS[name]}


# -- what an answer is worth ----------------------------------------------------------------------
def credit(given: NDArray[np.int64], people: NDArray[np.int64]) -> NDArray[np.float32]:
    """Worth of answers that `given` of `people` gave: VQA's accuracy.

    min(n / 3, 1), averaged over all choices of one person to leave out (Antol and others 2015,
    section 3): 0, 0.3, 0.6, 0.9 and 1 for 0, 1, 2, 3 and at least 4 of ten.
    """
    with_others = np.minimum(given / 3, 1) * (people - given)
    without_one = np.minimum((given - 1) / 3, 1) * given
    worth: NDArray[np.float32] = ((with_others + without_one) / people).astype(np.float32)
    return worth


def answer_classes(first: Iterable[str], least: int = LEAST_GIVEN) -> tuple[str, ...]:
    """Answers that are the first one of at least `least` questions: frequent first, then by letter.

    The rule of LXMERT, UNITER and Si and others (2023), applied to training questions alone.
    Raises TaskError where none is.
    """
    counts = Counter(first)
    found = sorted((a for a, n in counts.items() if n >= least), key=lambda a: (-counts[a], a))
    if not found:
        raise TaskError(f"no answer is the first one of {least} training questions: give more")
    return tuple(found)


MARKS = ';/[]"{}()=+\\_-><@`,?!'
_IN_NUMBER = re.compile(r"\d,\d")
_PERIOD = re.compile(r"\.(?!\d)")
_SPELT = "zero one two three four five six seven eight nine ten"
_NUMBERS = {word: str(number) for number, word in enumerate(_SPELT.split())} | {"none": "0"}
_ARTICLES = {"a", "an", "the"}
# Short forms that are no other word without their apostrophe, as "were" or "its" would be.
_SHORT = """
    ain't aren't can't couldn't could've didn't doesn't don't hadn't hasn't haven't he's i'm isn't
    it'd i've mightn't might've mustn't needn't o'clock she's shouldn't should've that's there's
    they'd they're they've wasn't weren't we've what's when's where's who's won't wouldn't would've
    y'all you'd you'll you're you've
"""
_WITH_APOSTROPHE = {form.replace("'", ""): form for form in _SHORT.split()}


def normal(answer: str) -> str:
    """An answer in the form in which VQA's evaluation compares answers, but for rare short forms.

    Lower case; marks go, or become a space inside of a word; numbers up to ten as digits; no
    articles; short forms with their apostrophe.
    """
    text = " ".join(answer.lower().split())
    source = text
    for mark in MARKS:
        beside_space = f"{mark} " in source or f" {mark}" in source
        text = text.replace(mark, "" if beside_space or _IN_NUMBER.search(source) else " ")
    words = [_NUMBERS.get(word, word) for word in _PERIOD.sub("", text).split()]
    return " ".join(_WITH_APOSTROPHE.get(w, w) for w in words if w not in _ARTICLES)


# -- files ----------------------------------------------------------------------------------------
def _kept_part(folder: Path, name: str, part: str) -> Questions:
    """A part as it is kept in the cache, or read and kept there."""
    about = PARTS[name][part]
    paths = [_found(folder / file) for file in (about.questions, about.annotations)]
    digests = [file_sha256(path) for path in paths]
    key = hashlib.sha256(" ".join([str(VERSION), str(about.images), *digests]).encode())
    place = default_folder() / f"{name}-{part}-{key.hexdigest()[:16]}.parquet"
    body = kept(place)
    if body is None:
        table = _read_part(paths[0], paths[1], about)
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd")
        body = buffer.getvalue()
        keep(place, body)
    return _questions(pq.read_table(pa.BufferReader(body)))


def _found(path: Path) -> Path:
    """An archive, or the file that it holds beside it. Raises TaskError where there is neither."""
    unpacked = path.with_name(UNPACKED.get(path.name, path.name))
    found = next((place for place in (path, unpacked) if place.is_file()), None)
    if found is None:
        raise TaskError(
            f"{path} is missing: `lth data list` says where it comes from; put it there, or name "
            "another data folder with LTHLIB_DATA"
        )
    return found


def _read_part(questions: Path, annotations: Path, about: Part) -> pa.Table:
    """Columns item, image, text, question_type, answer_type, first, and lists answers, counts."""
    asked = _asked(questions, about)
    columns: dict[str, list[Any]] = {name: [] for name in _SCHEMA.names}
    for number, found in enumerate(_records(annotations, "annotations"), start=1):
        where = f"{annotations}, annotation {number}"
        try:
            identity = found["question_id"]
            image, text = asked.pop(identity)
            counts = Counter(normal(answer["answer"]) for answer in found["answers"])
            row = (
                *(f"question-{identity}", image, text),
                *(found["question_type"], found["answer_type"]),
                *(normal(found["multiple_choice_answer"]), list(counts), list(counts.values())),
            )
        except KeyError as error:
            raise TaskError(
                f"{where} has no {error}, or it answers no question of {questions.name}, or one "
                "that was answered before: get both files again"
            ) from None
        except (TypeError, AttributeError):
            raise TaskError(f"{where} is no annotation of VQA: get the file again") from None
        if not all(isinstance(word, str) and word for word in row[3:5]):
            raise TaskError(f"{where} has no type of question or answer that is text")
        if not counts or len(counts) > PEOPLE:
            raise TaskError(f"{where} has {len(counts)} different answers, not 1 to {PEOPLE}")
        for name, value in zip(columns, row, strict=True):
            columns[name].append(value)
    if asked:
        raise TaskError(
            f"{annotations} leaves {len(asked):,} questions of {questions.name} without an "
            f"answer, such as {next(iter(asked))}: get both files again"
        )
    if len(columns["item"]) != about.count:
        raise TaskError(
            f"{questions} has {len(columns['item']):,} questions, not {about.count:,}: "
            "get the file again"
        )
    try:
        return pa.table(columns, schema=_SCHEMA)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise TaskError(f"{annotations} holds what is no text ({in_one_line(error)})") from None


_WORD = pa.dictionary(pa.int32(), pa.string())
_SCHEMA = pa.schema(
    {
        "item": pa.string(),
        "image": _WORD,
        "text": pa.string(),
        "question_type": _WORD,
        "answer_type": _WORD,
        "first": _WORD,
        "answers": pa.list_(pa.string()),
        "counts": pa.list_(pa.int8()),
    }
)


def _number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _asked(path: Path, about: Part) -> dict[int, tuple[str, str]]:
    """Image and text of each question, by its number."""
    asked: dict[int, tuple[str, str]] = {}
    for number, found in enumerate(_records(path, "questions"), start=1):
        try:
            identity, text = found["question_id"], found["question"]
            coco, image_id = about.images or found["coco_split"], found["image_id"]
            if not (_number(identity) and _number(image_id) and coco in COCO_PARTS):
                raise ValueError
            image = f"COCO_{coco}_{image_id:012d}"
        except (KeyError, TypeError, ValueError):
            raise TaskError(
                f"{path}, question {number} is no question of VQA: get the file again"
            ) from None
        if identity in asked:
            raise TaskError(f"{path}, question {number}: {identity} is there twice")
        if not isinstance(text, str) or not text.strip():
            raise TaskError(f"{path}, question {number} has no text: get the file again")
        asked[identity] = image, text
    return asked


def _records(path: Path, name: str) -> Iterator[Mapping[str, Any]]:
    """Objects of the list `name`, or of a file that is one list, one after the other."""
    import ijson  # type: ignore[import-untyped]

    try:
        with _opened(path) as (file, wrapped):
            yield from ijson.items(
                _Shallow(file, path), f"{name}.item" if wrapped else "item", use_float=True
            )
    except (ijson.JSONError, UnicodeDecodeError) as error:
        told = in_one_line(error)
        raise TaskError(f"{path} is cut, or no JSON ({told}): get it again") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise TaskError(f"{path} is damaged ({in_one_line(error)}): get it again") from None
    except OSError as error:
        raise TaskError(f"{path} cannot be read ({reason(error)})") from None


class _Shallow:
    """A JSON file that is refused where its lists and objects lie deeper than VQA's.

    A parser's memory grows with depth, so that a small file of brackets alone could take all of it.
    """

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self._file, self._path = file, path
        self._depth = self._quotes = 0
        self._cut = b""  # a backslash at the end of what was read, whose character comes next

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        text = _ESCAPED.sub(b"", self._cut + data)
        self._cut = b"\\" if text.endswith(b"\\") else b""
        codes = np.frombuffer(text, np.uint8)
        quotes = self._quotes + np.cumsum(codes == ord('"'))
        depth = self._depth + np.cumsum(np.where(quotes % 2 == 0, _STEPS[codes], 0))
        if len(codes):
            self._depth, self._quotes = int(depth[-1]), int(quotes[-1]) % 2
            if depth.max() > DEEPEST:
                raise TaskError(f"{self._path} is nested deeper than VQA: get it again")
        return data


DEEPEST = 8
"""Lists and objects within one another: VQA's annotations have five."""
_ESCAPED = re.compile(rb"\\.", re.DOTALL)
_STEPS = np.zeros(256, dtype=np.int64)
_STEPS[[ord("["), ord("{")]], _STEPS[[ord("]"), ord("}")]] = 1, -1


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], bool]]:
    """The file, or the only one of an archive; and whether its list lies in an object."""
    if path.suffix != ".zip":
        with path.open("rb") as file:
            wrapped = file.read(64).lstrip()[:1] == b"{"
            file.seek(0)
            yield file, wrapped
        return
    with zipfile.ZipFile(path) as archive:
        members = [m for m in archive.infolist() if not m.is_dir()]
        if len(members) != 1 or members[0].file_size > LARGEST:
            raise TaskError(
                f"{path} holds {len(members)} files of {sum(m.file_size for m in members):,} "
                f"bytes, where one of at most {LARGEST:,} is expected: get it again"
            )
        with archive.open(members[0]) as member:
            yield member, True


def _questions(table: pa.Table) -> Questions:
    answers = table["answers"].combine_chunks()
    lengths = answers.value_lengths().to_numpy(zero_copy_only=False)
    return Questions(
        table.drop_columns(["answers", "counts"]).to_pandas(),
        np.repeat(np.arange(len(table), dtype=np.int64), lengths),
        answers.flatten().dictionary_encode().to_pandas(),
        table["counts"].combine_chunks().flatten().to_numpy().astype(np.int64),
    )
