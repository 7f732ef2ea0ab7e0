"""Region features read from disk: memory at VQA v2's size, and time against LXMERT's table.

python -m benchmarks.streaming            the size of VQA v2, in a sparse file (a minute or two)
python -m benchmarks.streaming --small    seconds

A sparse file has the size of the real one and reads as zeros: it tells memory, not disk speed.
"""

from __future__ import annotations

import argparse
import base64
import json
import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.timing import compare, interleave, summary
from lthlib.lab.features.regions import ImageRegions
from lthlib.lab.features.sources import TsvSource, import_regions
from lthlib.lab.features.store import Plan, RegionStore, StoreWriter
from lthlib.lab.tasks.inputs import StoredInputs

IMAGES, QUESTIONS = 123_287, 658_111  # COCO's train and val 2014, VQA v2's train and val
REGIONS, FEATURES, WORDS = 36, 2048, 20
BATCH = 64


def sparse_store(folder: Path, images: int) -> Path:
    """A finished store of zeros that takes no room on disk."""
    plan = Plan(tuple(f"{i:06d}" for i in range(images)), REGIONS, FEATURES, "zeros")
    with StoreWriter(folder, plan) as writer:
        writer._done["done"] = 1  # nothing is put in: the file's holes are the features
        writer.finish()
    return folder


def anonymous_bytes() -> int:
    """Memory of this process that is no file's: what must fit beside the page cache (Linux)."""
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("RssAnon:")).split()[1]) * 1024


def stream(folder: Path, questions: int, batches: int) -> dict[str, float]:
    """Draw batches of random questions; peak memory, and time for each."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    before, store = anonymous_bytes(), RegionStore(folder)
    inputs = StoredInputs(
        input_ids=torch.randint(5, 30_000, (questions, WORDS), generator=generator),
        text_mask=torch.ones(questions, WORDS, dtype=torch.bool),
        rows=torch.randint(len(store), (questions,), generator=generator),
        store=store,
    )
    peak, seconds = 0, []
    for index in torch.randint(questions, (batches, BATCH), generator=generator):
        began = time.perf_counter()
        batch = inputs.take(index)
        seconds.append(time.perf_counter() - began)
        assert batch.region_features.shape == (BATCH, REGIONS, FEATURES)
        peak = max(peak, anonymous_bytes())
    return {"peak_bytes": peak, "before_bytes": before, "batch_seconds": float(np.median(seconds))}


def _stream(folder: Path, questions: int, batches: int, pipe: Any) -> None:
    pipe.send(stream(folder, questions, batches))


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


def measure(images: int, questions: int, batches: int, repeats: int) -> dict[str, Any]:
    """Both parts; the first in a process of its own, whose memory is its alone."""
    with tempfile.TemporaryDirectory() as place:
        folder = sparse_store(Path(place) / "sparse", images)
        context = multiprocessing.get_context("spawn")
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_stream, args=(folder, questions, batches, sender))
        process.start()
        sender.close()
        found = receiver.recv()
        process.join()
        size = (folder / "regions.safetensors").stat().st_size
        return {
            "streaming": {"images": images, "questions": questions, "store_bytes": size, **found},
            "table": against_table(Path(place), min(images, 256), repeats),
        }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streaming")
    parser.add_argument("--small", action="store_true", help="seconds, to check that all runs")
    small = parser.parse_args().small
    found = measure(20, 100, 3, 1) if small else measure(IMAGES, QUESTIONS, 200, 5)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
