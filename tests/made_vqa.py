"""Files of VQA v2 and VQA-CP v2 in small, with known answers."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from lthlib.lab import vqa

COLOURS = ("red", "blue", "green")
COUNTS = {"vqa-v2": {"train": 120, "test": 40}, "vqa-cp-v2": {"train": 90, "test": 30}}


def question(identity: int, part: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """One question with its ten answers: of colours, or yes and no."""
    draw = np.random.default_rng(identity)
    image = int(draw.integers(1, 40))
    if identity % 2:
        text, kind, first = "What color is it?", "other", COLOURS[int(draw.integers(3))]
    else:
        text, kind, first = "Is it a bus?", "yes/no", ("yes", "no")[int(draw.integers(2))]
    most = int(draw.integers(4, 11))
    answers = [first] * most + [f"odd {i}" for i in range(10 - most)]
    asked = {"question_id": identity, "image_id": image, "question": text}
    answered = {
        "question_id": identity,
        "image_id": image,
        "question_type": "what color is" if kind == "other" else "is it",
        "answer_type": kind,
        "multiple_choice_answer": first,
        "answers": [
            {"answer": answer, "answer_confidence": "yes", "answer_id": i + 1}
            for i, answer in enumerate(answers)
        ],
    }
    if part:
        asked["coco_split"] = answered["coco_split"] = part
    return asked, answered


def write_part(folder: Path, name: str, part: str, first: int, count: int) -> None:
    """Questions `first` to `first + count` as that part's files."""
    about = vqa.PARTS[name][part]
    cp = name == "vqa-cp-v2"
    made = [
        question(first + i, ("train2014", "val2014")[i % 2] if cp else "") for i in range(count)
    ]
    for path, what, rows in (
        (folder / about.questions, "questions", [asked for asked, _ in made]),
        (folder / about.annotations, "annotations", [answered for _, answered in made]),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        if cp:
            path.write_text(json.dumps(rows))
            continue
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(vqa.UNPACKED[path.name], json.dumps({"info": {"x": [1]}, what: rows}))


def write_vqa(folder: Path) -> Path:
    """All four parts."""
    for name, counts in COUNTS.items():
        write_part(folder, name, "train", 1000, counts["train"])
        write_part(folder, name, "test", 5000, counts["test"])
    return folder


def small_counts(patch: Any) -> None:
    """Let the readers expect these files' numbers of questions."""
    parts = {
        name: {
            part: vqa.Part(p.questions, p.annotations, COUNTS[name][part], p.images)
            for part, p in found.items()
        }
        for name, found in vqa.PARTS.items()
    }
    patch.setattr(vqa, "PARTS", parts)
