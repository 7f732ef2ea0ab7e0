"""`lth own`: from a table of one's own and a folder of images to a report, in one command.

All that is made lies in one folder:

    report.html     the report, in one file
    report.ipynb    the notebook that it was made from, executed
    own.json        what was given, what text alone answers, and the studies
    records/        the records of all runs
    data/           the table and the regions of the images, as the studies read them

The table and the regions are named after their content, and the names go into the studies: another
table, or other images, make other runs, never mixed ones. What is done is not done again.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import shlex
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from lthlib.errors import FeatureError, RecordError, StudyError, TaskError, reason
from lthlib.packs import pack
from lthlib.real_text import READ_WORDS
from lthlib.records import (
    Files,
    RecordStore,
    project_root,
    sha256,
    to_json,
    write_atomically,
)
from lthlib.study import MODELS, Study
from lthlib.workflow import estimate
from lthlib.workflow.local import Say, default_workers, device, missing, run

if TYPE_CHECKING:
    import pandas as pd

    from lthlib.lab.features.extract import Regions

Add = Callable[..., argparse.ArgumentParser]

ABOUT, RECORDS, DATA = "own.json", "records", "data"
REPORT, NOTEBOOK = "report.html", "report.ipynb"
DIGITS = 8
"""Hexadecimal digits of a digest that go into a name."""
NAMED = 3
"""Images that an error names before it counts."""
DEFAULTS: dict[str, Any] = {
    "name": None,
    "by": "grid",
    "cells": 6,
    "models": list(MODELS),
    "seeds": 3,
    "ladder": [0.5, 0.8],
    "epochs": 6,
    "batch_size": 16,
    "learning_rate": 5e-4,
}
"""What the command sets unless told otherwise."""
LEAST = {"train": 8, "validation": 2, "test": 4}
"""Items of a part below which nothing can be trained, chosen or tested."""
TEXT_TOKENS = 64
"""Tokens of an item's text, as the lab pads it."""
SECONDS_A_TOKEN = 3e-5
"""Time of one token of one item in training, on one core, where no run tells better."""
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


# -- the command ----------------------------------------------------------------------------------
def add_command(add: Add) -> None:
    """Register the command; `add` makes a command of a name, a function and its purpose."""
    own = add("own", _own, "from a table of image, text, label and a folder of images to a report")
    own.epilog = (
        "The table is CSV or JSON Lines with the columns image (a path below IMAGES), text and "
        "label (one of two values), and optionally item and split (train, validation or test). "
        "Beside each model run its controls: without images, with another image's, and with a "
        "random mask. What was stopped goes on when the same command is run again."
    )
    own.add_argument("table", nargs="?", type=Path, help="table with the columns below")
    own.add_argument("images", nargs="?", type=Path, metavar="IMAGES", help="folder of images")
    own.add_argument(
        "--example", type=Path, metavar="FOLDER",
        help="write a small table and its images there, and say how to go on",
    )  # fmt: skip
    own.add_argument("--name", help="short name of the data (default: the table's)")
    own.add_argument("--out", type=Path, help="folder to write to (default: NAME-report)")
    own.add_argument(
        "--by", choices=("grid", "detector"),
        help="regions: cells of plain pixels (grid), or torchvision's Faster R-CNN",
    )  # fmt: skip
    own.add_argument("--cells", type=int, help="grid: cells along each edge (%(default)s)")
    own.add_argument("--models", nargs="+", help=", ".join(MODELS))
    own.add_argument("--seeds", type=int, help="how many runs of each study (%(default)s)")
    own.add_argument(
        "--ladder", nargs="+", type=float, metavar="SPARSITY",
        help="shares of weights to prune, rising (0.5 0.8)",
    )  # fmt: skip
    own.add_argument("--epochs", type=int, help="passes at each level (%(default)s)")
    own.add_argument("--batch-size", type=int, help="items in one step (%(default)s)")
    own.add_argument("--learning-rate", type=float, help="its peak (%(default)s)")
    own.set_defaults(**DEFAULTS)
    own.add_argument("--workers", type=int, help="processes at once (default: one a core)")


def _own(options: argparse.Namespace) -> int:
    if options.example is not None:
        return _example(options.example)
    if options.table is None or options.images is None:
        raise TaskError("give a table and a folder of images, or --example FOLDER")
    _studies(options, "own-data", "regions")  # what will not do is refused before images are read
    given = check(options.table, options.images, options.name, say=_print)
    _print(f"{given.told()}: all of them can be read")
    for line in given.unread():
        _print(line)
    regions = _Regions(options.by, options.cells, _digest(given.pixels))
    studies = _studies(options, given.task, regions.store)
    about = {**_about(given, options.images, studies), "command": command_line(options)}
    out = (options.out or Path(f"{given.name}-report")).resolve()
    with _on_disk(out):
        write_atomically(out / ABOUT, to_json(about))
        write_atomically(out / DATA / "own" / given.file, given.content)
        with _data_folder(out / DATA):
            _extract(regions, given, options.images, out / DATA / "features")
            store = RecordStore(str(out / RECORDS))
            if jobs := missing(studies, store):
                workers = min(len(jobs), options.workers or default_workers())
                known, on = _likely(studies, given, regions) | _measured(store, studies), device()
                seconds = estimate.seconds_of(jobs, known, on)
                _print(f"training: {estimate.in_words(seconds, workers, on)}; to stop is safe")
            run(studies, store, workers=options.workers)
        write_report(out)
    print(f"The report is at {(out / REPORT).as_uri()}; records: {out / RECORDS}")
    return 0


def _example(folder: Path) -> int:
    from lthlib.lab.example import write_example

    table, images = write_example(folder)
    print(f"{table}: a table, and its images in {images}. To go on:")
    print(f'lth own "{table}" "{images}" --cells 3')
    return 0


# -- what was given -------------------------------------------------------------------------------
@dataclass(frozen=True)
class Given:
    """A table that was read and whose images were all opened.

    parts: item, image, text, label (0 or 1) by part; labels: as they are written (class 0, class
    1); content: the table's bytes; pixels: SHA-256 of each image's pixels, by name.
    """

    name: str
    suffix: str
    content: bytes
    parts: Mapping[str, pd.DataFrame]
    labels: tuple[str, str]
    pixels: Mapping[str, str]

    @property
    def task(self) -> str:
        return f"own-{self.name}-{sha256(self.content)[:DIGITS]}"

    @property
    def file(self) -> str:
        """The table's name where the task looks for it."""
        return f"{self.task.removeprefix('own-')}{self.suffix}"

    def unread(self) -> list[str]:
        """What models will not read of the texts: what is too long, and words they do not know."""
        import pandas as pd

        every = pd.concat(self.parts.values())["text"]
        unread = _unread(every, self.parts["train"]["text"])
        longer, strange = unread["longer"], unread["strange"]
        lines = []
        if longer:
            lines.append(
                f"{longer:,} of {len(every):,} texts are longer than the {READ_WORDS} words and "
                "marks that models read: the rest is cut, for the text model as well"
            )
        if strange:
            lines.append(
                f"{strange:,} of {len(every):,} texts have no word that models know (one that at "
                "least two training texts have): of these models see length and marks alone"
            )
        return lines

    def told(self) -> str:
        items = sum(len(part) for part in self.parts.values())
        return f"{items:,} items with {len(self.pixels):,} images"


def check(
    table: Path, images: Path, name: str | None = None, say: Say = lambda line: None
) -> Given:
    """Read the table and open every image that it names, before anything is made of them.

    name: of the data; the table's own, in small letters, unless given.

    Raises TaskError for a name that will not do, a table that cannot be read or in which labels or
    items are too few, and for images that lie outside the folder or are missing; FeatureError for
    images that cannot be read.
    """
    from lthlib.lab.tasks.own import SUFFIXES, read_own

    chosen = _checked_name(name, table)
    suffix = table.suffix.lower()
    if suffix not in SUFFIXES:
        raise TaskError(f"{table} is no table: give a file that ends in {' or '.join(SUFFIXES)}")
    parts, labels = read_own(table)
    _check_counts(table, parts, labels)
    if not images.is_dir():
        raise TaskError(f"{images} is no folder of images")
    names = sorted({image for part in parts.values() for image in part["image"]})
    pixels = _pixels(table, images, names, say)
    for part, items in parts.items():
        if items["image"].map(pixels).nunique() < 2:
            raise TaskError(
                f"{table}: every item for {part} has the same image, so that none can be shown "
                "another's: add items with other images, or name their split"
            )
    return Given(chosen, suffix, table.read_bytes(), parts, labels, pixels)


def _checked_name(name: str | None, table: Path) -> str:
    # A file may be called anything; what a person typed is not changed behind their back.
    own = re.sub(r"[^a-z0-9]+", "-", table.stem.lower()).strip("-")[:40].rstrip("-") or "data"
    chosen = own if name is None else name
    if not _NAME.fullmatch(chosen) or len(chosen) > 40:
        raise TaskError(
            f"{chosen!r} will not do as a name: give --name with up to 40 small letters, digits "
            "and hyphens"
        )
    return chosen


def _check_counts(table: Path, parts: Mapping[str, pd.DataFrame], labels: Sequence[str]) -> None:
    for part, least in LEAST.items():
        if len(parts[part]) < least:
            raise TaskError(
                f"{table} leaves {len(parts[part])} items for {part}, and {least} are the least: "
                "add items, or name their split"
            )
    for part in ("train", "test"):
        if parts[part]["label"].nunique() < 2:
            only = labels[int(parts[part]["label"].iloc[0])]
            raise TaskError(
                f"{table}: every item for {part} has the label {only!r}: add items of the other "
                "label, or name their split"
            )


def _pixels(table: Path, images: Path, names: Sequence[str], say: Say) -> dict[str, str]:
    """SHA-256 of each image's size and pixels."""
    from lthlib.lab.features.extract import read_pixels

    outside = [n for n in names if Path(n).is_absolute() or ".." in Path(n).parts]
    if outside:
        raise TaskError(f"{table}: images that lie outside {images}: {_some(outside)}")
    # Two names of one file would be two images, which could end up in two parts.
    roundabout = [name for name in names if PurePosixPath(name).as_posix() != name]
    if roundabout:
        raise TaskError(f"{table}: write the names of images plainly: {_some(roundabout)}")
    lost = [name for name in names if not _is_there(images / name)]
    if lost:
        raise TaskError(
            f"{len(lost):,} of {len(names):,} images are not in {images}: {_some(lost)}"
            f"{_near(images, lost[0])}"
        )
    say(f"opening {len(names):,} images")
    found, broken = {}, {}
    for name in names:
        try:
            pixels = read_pixels(images / name)
            found[name] = sha256(str(pixels.shape).encode() + pixels.tobytes())
        except FeatureError as error:
            broken[name] = str(error)
    if broken:
        first = next(iter(broken.values()))
        rest = f"; {len(broken) - 1:,} more: {_some(list(broken)[1:])}" if len(broken) > 1 else ""
        raise FeatureError(f"{first}{rest}")
    return found


def _near(images: Path, name: str) -> str:
    """A file that is called the same but for case, or for how its letters are coded."""

    def plain(text: str) -> str:
        return unicodedata.normalize("NFC", text).casefold()

    there = (path.relative_to(images).as_posix() for path in images.rglob("*") if path.is_file())
    same = next((other for other in there if plain(other) == plain(name)), None)
    if same is None:
        return ""
    how = "case" if same.casefold() == name.casefold() else "how its letters are coded (Unicode)"
    return f"; {same!r} is there, which differs in {how} alone"


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # such as a name that is too long for any file
        return False


def _some(names: Sequence[str]) -> str:
    rest = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + rest


def _print(line: str) -> None:
    print(line, flush=True)


def _digest(pixels: Mapping[str, str]) -> str:
    return sha256(to_json(dict(pixels)))[:DIGITS]


# -- regions --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Regions:
    """How regions are made, and of which images (their digest)."""

    by: str
    cells: int
    images: str

    @property
    def store(self) -> str:
        """Name of the store: another for other images, and for regions made otherwise."""
        return f"{self.by}{self.cells if self.by == 'grid' else ''}-{self.images}"

    @property
    def count(self) -> int:
        from lthlib.lab.features.extract import REGIONS

        return self.cells**2 if self.by == "grid" else REGIONS

    def extractor(self) -> Regions:
        import torch

        from lthlib.lab.features.extract import Extractor, Grid, pretrained

        if self.by == "grid":
            return Grid(self.cells)
        return Extractor(pretrained().to("cuda" if torch.cuda.is_available() else "cpu"))


def _extract(regions: _Regions, given: Given, images: Path, folder: Path) -> None:
    """The regions of all images, unless they are there."""
    from lthlib.lab.features.extract import extract_folder
    from lthlib.lab.features.store import ABOUT as FINISHED

    if (folder / regions.store / FINISHED).is_file():
        return
    names = sorted(given.pixels)
    extract_folder(regions.extractor(), images, folder / regions.store, names=names, say=_said)


def _said(done: int, of: int) -> None:
    if done == of or done % 500 == 0:
        _print(f"regions of {done:,} of {of:,} images")


# -- studies --------------------------------------------------------------------------------------
def _studies(options: argparse.Namespace, task: str, features: str) -> list[Study]:
    """For each model the ladder with a random mask at one level, and two dense controls.

    Raises StudyError and FeatureError for options that will not do.
    """
    if options.seeds < 1:
        raise StudyError(f"--seeds {options.seeds} will not do: give 1 or more")
    if options.workers is not None and options.workers < 1:
        raise StudyError(f"--workers {options.workers} will not do: give 1 or more")
    if options.by == "grid" and not 1 <= options.cells <= 32:
        raise FeatureError(f"--cells {options.cells} will not do: give 1 to 32")
    shared = {
        "task": task,
        "features": features,
        "start": "random",
        "epochs": options.epochs,
        "batch_size": options.batch_size,
        "learning_rate": options.learning_rate,
        "seeds": list(range(options.seeds)),
    }
    ladder = {
        "ladder": options.ladder,
        "branches": ["random-mask"],
        "branch_levels": [len(options.ladder) // 2 + 1],
    }
    models = list(dict.fromkeys(options.models))
    return [
        *(Study.build(shared, model=model, **ladder) for model in models),
        *(
            Study.build(shared, model=model, regions=shown, levels=0)
            for shown in ("none", "shuffled")
            for model in models
        ),
    ]


def _likely(
    studies: Sequence[Study], given: Given, regions: _Regions
) -> dict[estimate.Kind, estimate.Pace]:
    """How fast a core is, from how many tokens an item has."""
    pace = estimate.Pace(SECONDS_A_TOKEN * (TEXT_TOKENS + regions.count), len(given.parts["train"]))
    return {(study.model, study.task, study.size, "cpu"): pace for study in studies}


def _measured(store: RecordStore, studies: Sequence[Study]) -> dict[estimate.Kind, estimate.Pace]:
    """How fast runs of the same data were that are there."""
    wanted = {(study.model, study.task, study.size) for study in studies}
    return {kind: pace for kind, pace in estimate.paces([store]).items() if kind[:3] in wanted}


def command_line(options: argparse.Namespace) -> str:
    """The command with what is not as usual; of paths the last part."""
    words = ["lth", "own", options.table.name, options.images.resolve().name]
    for name, usual in DEFAULTS.items():
        value = getattr(options, name)
        if value != usual:
            values = value if isinstance(value, list) else [value]
            words += [f"--{name.replace('_', '-')}", *map(str, values)]
    return shlex.join(words)


def _about(given: Given, images: Path, studies: Sequence[Study]) -> dict[str, Any]:
    """What the report has to know beside the records."""
    return {
        "name": given.name,
        "labels": list(given.labels),
        "counts": [_counted(name, part, given) for name, part in given.parts.items()],
        "pictures": len(given.pixels),
        "images": str(images.resolve()),
        "records": RECORDS,
        "text": _text_alone(given),
        "studies": [study.model_dump(mode="json") for study in studies],
    }


def _text_alone(given: Given) -> dict[str, Any]:
    """What rules and a model answer that read the text and see no image."""
    from lthlib.lab import text_only
    from lthlib.lab.tasks.vocabulary import cut

    # As much of a text as models read: a rule that reads more would be no control.
    parts = {
        "dev" if name == "validation" else name: part.assign(
            text=part["text"].map(lambda text: cut(text, READ_WORDS))
        )
        for name, part in given.parts.items()
    }
    if not parts["train"]["text"].str.contains(r"\w", regex=True).any():
        raise TaskError(f"{given.name}: no text for training has a word: models have to read one")
    return dict(text_only.caption_tables(given.name, parts))


def _counted(name: str, part: pd.DataFrame, given: Given) -> dict[str, Any]:
    seen = set(given.parts["train"]["image"].map(given.pixels))
    return {
        "part": name,
        "items": len(part),
        "class_1": int(part["label"].sum()),
        "images": int(part["image"].nunique()),
        "texts": int(part["text"].nunique()),
        "of_training": int(part["image"].map(given.pixels).isin(seen).sum()),
        **_unread(part["text"], given.parts["train"]["text"]),
    }


def _unread(texts: pd.Series[str], train: pd.Series[str]) -> dict[str, int]:
    """How many texts are longer than models read, and in how many they know no word that is read.

    A mark is no word: most texts end in one, and it says nothing of what a text is about.
    """
    from lthlib.lab.tasks.published import vocabulary_of
    from lthlib.lab.tasks.vocabulary import words

    known = {word for word in vocabulary_of(train) if re.match(r"\w", word)}
    found = [words(text) for text in texts]
    return {
        "longer": sum(len(own) > READ_WORDS for own in found),
        "strange": sum(not known & set(own[:READ_WORDS]) for own in found),
    }


@contextlib.contextmanager
def _data_folder(folder: Path) -> Iterator[None]:
    """Tasks are looked for there, by this process and those that it starts."""
    before = os.environ.get("LTHLIB_DATA")
    os.environ["LTHLIB_DATA"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["LTHLIB_DATA"]
        else:
            os.environ["LTHLIB_DATA"] = before


@contextlib.contextmanager
def _on_disk(out: Path) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise  # of what is printed, not of a file
    except OSError as error:
        raise RecordError(
            f"{out} cannot be written ({reason(error)}): make room or name another folder with "
            "--out; the same command then goes on"
        ) from None


# -- the report -----------------------------------------------------------------------------------
def write_report(out: Path) -> bool:
    """Execute the notebook on what lies in `out`, and make a page of it; False if both are fresh.

    Raises NotebookError for a notebook that fails, RecordError for records that are damaged.
    """
    from lthlib.book.execution import execute
    from lthlib.book.page import page

    notebook = project_root(Path(__file__).parent) / "notebooks" / "own.ipynb"
    key = _key(out, notebook)
    mark = f'<meta name="lthlib-key" content="{key}">'
    with contextlib.suppress(OSError):
        if (out / NOTEBOOK).is_file() and mark in (out / REPORT).read_text(encoding="utf-8"):
            return False
    _print("writing the report")
    executed = execute(notebook, {"store": "."}, folder=out, environment={})
    write_atomically(out / NOTEBOOK, to_json(executed))
    write_atomically(out / REPORT, page(executed, head=mark).encode())
    return True


def _key(out: Path, notebook: Path) -> str:
    """One number for all that the report comes from: notebook, code, records, what was given."""
    import lthlib
    from lthlib.book.execution import read_pair
    from lthlib.book.sources import code_of

    about, cells = (out / ABOUT).read_bytes(), read_pair(notebook)
    code = code_of(cells, Path(lthlib.__path__[0]))
    digest = hashlib.sha256(repr((cells, code)).encode() + about)
    for study in json.loads(about)["studies"]:
        for name in Study.build(study).run_ids():
            digest.update((out / RECORDS / name / "manifest.json").read_bytes())
    return digest.hexdigest()


# -- what comes with the repository ---------------------------------------------------------------
def pack_example(out: Path, target: Path) -> None:
    """Pack the records of the example's report, for the book: `records/example`.

    Its pictures are drawn again wherever they are shown, so that no image comes with it.
    Raises RecordError for records that are missing or damaged.
    """
    about = json.loads((out / ABOUT).read_bytes())
    for study in about["studies"]:
        pack(Study.build(study).run_ids(), RecordStore(str(out / RECORDS)), Files(target))
    write_atomically(target / ABOUT, to_json({**about, "images": None, "records": "."}))
