"""VQA v2 at its full size, made up: memory of reading and of streaming, and time against a table.

python -m benchmarks.streaming            the size of VQA v2, in a sparse file (some minutes)
python -m benchmarks.streaming --small    seconds

Questions and answers have the form and the number of the published ones. Features lie in a sparse
file, which has the size of the real one and reads as zeros: it tells memory, not disk speed.
"""

from __future__ import annotations

import argparse
import base64
import json
import multiprocessing
import os
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.memory import tree_bytes, watched
from benchmarks.timing import compare, interleave, summary
from lthlib.lab import vqa
from lthlib.lab.features.regions import ImageRegions
from lthlib.lab.features.sources import TsvSource, import_regions
from lthlib.lab.features.store import Plan, StoreWriter
from lthlib.lab.tasks import load

IMAGES = {"train": 82_783, "test": 40_504}  # COCO's train and val 2014
QUESTIONS = {part: about.count for part, about in vqa.PARTS["vqa-v2"].items()}
REGIONS, FEATURES = 36, 2048
BATCH = 64
STORE = "zeros"
_WORDS = "what is the color of this man doing where are they how many dogs can you see"
OFTEN = 3000
"""Different answers: VQA v2 has 3,129 that are frequent."""


def image_name(part: str, number: int) -> str:
    return f"COCO_{vqa.PARTS['vqa-v2'][part].images}_{number:012d}"


def sparse_store(folder: Path, images: dict[str, int]) -> Path:
    """A finished store of zeros that takes no room on disk."""
    names = tuple(image_name(part, i) for part, count in images.items() for i in range(count))
    plan = Plan(names, REGIONS, FEATURES, "zeros")
    with StoreWriter(folder, plan) as writer:
        writer._done["done"] = 1  # nothing is put in: the file's holes are the features
        writer.finish()
    return folder


def write_questions(folder: Path, images: dict[str, int], questions: dict[str, int]) -> None:
    """Archives of VQA v2's form: questions on random images, ten answers each."""
    draw = np.random.default_rng(0)
    texts = [" ".join(draw.choice(_WORDS.split(), 6)) + "?" for _ in range(1000)]
    answers = [_answers(draw) for _ in range(min(6000, sum(questions.values()) // 40))]
    first = 0
    for part, count in questions.items():
        about = vqa.PARTS["vqa-v2"][part]
        on = draw.integers(images[part], size=count)
        text, answer = (
            draw.integers(len(texts), size=count),
            draw.integers(len(answers), size=count),
        )
        asked = (
            f'{{"image_id": {on[i]}, "question": "{texts[text[i]]}", "question_id": {first + i}}}'
            for i in range(count)
        )
        answered = (
            f'{{"question_type": "what is", "image_id": {on[i]}, "question_id": {first + i}, '
            f"{answers[answer[i]]}}}"
            for i in range(count)
        )
        _write_list(folder / about.questions, "questions", asked)
        _write_list(folder / about.annotations, "annotations", answered)
        first += count


def _answers(draw: np.random.Generator) -> str:
    """The middle of an annotation: frequent answers more often, some people of another mind."""
    said = [f"answer {int(i)}" for i in OFTEN * draw.random(3) ** 2]
    ten = draw.choice(said, 10, p=[0.7, 0.2, 0.1])
    given = [
        {"answer": str(answer), "answer_confidence": "yes", "answer_id": i + 1}
        for i, answer in enumerate(ten)
    ]
    told = {"multiple_choice_answer": str(ten[0]), "answer_type": "other", "answers": given}
    return json.dumps(told)[1:-1]


def _write_list(path: Path, name: str, records: Iterator[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open(f"{name}.json", "w", force_zip64=True) as file,
    ):
        file.write(f'{{"info": {{}}, "{name}": ['.encode())
        for number, record in enumerate(records):
            file.write((", " if number else "").encode() + record.encode())
        file.write(b"]}")


def stream(folder: Path, batches: int) -> dict[str, Any]:
    """Read VQA from a data folder twice, then draw batches of random training questions."""
    torch.set_num_threads(1)
    os.environ |= {"LTHLIB_DATA": str(folder), "LTHLIB_CACHE": str(folder / "cache")}
    found: dict[str, Any] = {"before_bytes": tree_bytes()}
    with watched() as found["first reading"]:
        load("vqa-v2", features=STORE)
    with watched() as found["next reading"]:
        task = load("vqa-v2", features=STORE)
    generator = torch.Generator().manual_seed(0)
    seconds = []
    with watched() as found["batches"]:
        for index in torch.randint(len(task.train), (batches, BATCH), generator=generator):
            began = time.perf_counter()
            batch = task.train.inputs.take(index)
            targets = task.train.targets(index, task.outputs)
            seconds.append(time.perf_counter() - began)
            assert batch.region_features.shape == (BATCH, REGIONS, FEATURES)
            assert targets.shape == (BATCH, task.outputs)
    return found | {
        "answers": task.outputs,
        "questions": sum(map(len, (task.train, task.validation, task.test))),
        "batch_seconds": float(np.median(seconds)),
    }


def _stream(folder: Path, batches: int, counts: dict[str, int], pipe: Any) -> None:
    expect(counts)
    pipe.send(stream(folder, batches))


def expect(counts: dict[str, int]) -> None:
    """Let the reader take this number of questions for VQA v2's."""
    parts = vqa.PARTS["vqa-v2"]
    for part, count in counts.items():
        parts[part] = replace(parts[part], count=count)


def write_table(path: Path, images: int) -> Path:
    """LXMERT's table for images with random features."""
    draw = np.random.default_rng(0)
    with path.open("wb") as file:
        for i in range(images):
            corner = draw.uniform(0, 200, (REGIONS, 2))
            boxes = np.hstack([corner, corner + 50]).astype("<f4")
            features = draw.random((REGIONS, FEATURES), dtype=np.float32)
            coded = [base64.b64encode(array.tobytes()) for array in (boxes, features)]
            file.write(b"\t".join([b"%06d" % i, b"480", b"640", *[b""] * 4, b"36", *coded]) + b"\n")
    return path


def against_table(folder: Path, images: int, repeats: int) -> dict[str, Any]:
    """The same batches of images from a store and from the table it was made of."""
    table = TsvSource(write_table(folder / "obj36.tsv", images))
    store = import_regions(table, folder / "store", extractor="made up")
    draw = np.random.default_rng(1)
    names = [[table.images[i] for i in draw.integers(images, size=BATCH)] for _ in range(4)]

    def from_store() -> None:
        for some in names:
            store.features(store.rows(some))

    def from_table() -> None:
        for some in names:
            found: list[ImageRegions] = [table.read(name) for name in some]
            np.stack([one.features for one in found])

    seconds = interleave({"store": from_store, "table": from_table}, repeats)
    return {**summary(seconds), "ratio": compare(seconds, "store", "table")}


def measure(small: bool = False) -> dict[str, Any]:
    """Both parts; the first in a process of its own, whose memory is its alone."""
    images = {"train": 20, "test": 10} if small else IMAGES
    questions = {"train": 400, "test": 100} if small else QUESTIONS
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        store = sparse_store(folder / "features" / STORE, images)
        write_questions(folder, images, questions)
        context = multiprocessing.get_context("spawn")
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(
            target=_stream, args=(folder, 3 if small else 200, questions, sender)
        )
        process.start()
        sender.close()
        found = receiver.recv()
        process.join()
        found |= {
            "images": sum(images.values()),
            "store_bytes": (store / "regions.safetensors").stat().st_size,
        }
        table = against_table(folder, 20 if small else 256, 1 if small else 5)
        return {"streaming": found, "table": table}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streaming")
    parser.add_argument("--small", action="store_true", help="seconds, to check that all runs")
    print(json.dumps(measure(parser.parse_args().small), indent=1))


if __name__ == "__main__":
    main()
