"""`lth data` and `lth features`: published data and region features on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lthlib.errors import FeatureError, TaskError, unknown
from lthlib.real_text import FEATURES, MAKE_FEATURES
from lthlib.study import EMBEDDED, Study

if TYPE_CHECKING:
    import pandas as pd

Add = Callable[..., argparse.ArgumentParser]


def add_commands(add: Add) -> None:
    """Register both commands; `add` makes a command of a name, a function and its purpose."""
    data = add("data", _data, "list published data sets, or fetch them")
    data.add_argument("action", choices=("list", "get"))
    data.add_argument("names", nargs="*", metavar="name", help="data sets to get")
    _add_folder(data)
    features = add("features", _features, "keep region features in a store, or check one")
    features.epilog = (
        "Formats: lxmert-tsv (LXMERT's tables of COCO, train2014_obj36.tsv and val2014_obj36.tsv, "
        "which its authors publish beside their code), vsr (a folder with features.pt, boxes.pt "
        "and names.txt), "
        "openi (a pickle), npz and hdf5 (arrays images, features, boxes and, where boxes are in "
        "pixels, sizes). extract reads a folder of images with torchvision's Faster R-CNN. follow "
        "makes regions up: their boxes follow the captions of a task for a known share of items. "
        "What was stopped goes on when the same command is run again."
    )
    features.add_argument("action", choices=("import", "extract", "follow", "check"))
    features.add_argument("name", help="name of the store in the data folder")
    features.add_argument(
        "source", nargs="*", type=Path,
        help="what to read: a file or folder, or for import several files that make one store",
    )  # fmt: skip
    features.add_argument("--format", help="import: of the source")
    features.add_argument("--extractor", default="not said", help="who made the features")
    features.add_argument("--half", action="store_true", help="16 bits: half the disk, 3 digits")
    features.add_argument(
        "--by", choices=("detector", "grid"), default="detector",
        help="extract: by torchvision's Faster R-CNN, or in 6 by 6 cells of plain pixels",
    )  # fmt: skip
    features.add_argument("--regions", type=int, default=36, help="extract: how many an image (36)")
    features.add_argument(
        "--overlap", type=float, default=0.5,
        help="extract: IoU above which the worse of two regions is left out (0.5; source: 0.04)",
    )  # fmt: skip
    features.add_argument("--share", type=float, help="follow: share of items, 0 to 1")
    features.add_argument("--seed", type=int, default=0, help="follow: of what is drawn (0)")
    features.add_argument(
        "--task", help="check: has the store all that it needs? follow: whose captions"
    )
    _add_folder(features)


def _add_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folder", type=Path, help="data folder (default: LTHLIB_DATA, or cache)")


def _data(options: argparse.Namespace) -> int:
    from lthlib.lab import datasets
    from lthlib.lab.tasks.published import data_folder

    folder = data_folder(options.folder)
    if options.action == "get":
        if not options.names:
            raise TaskError(f"name a data set to get: {', '.join(datasets.DATA_SETS)}")
        for name in options.names:
            datasets.get(name, folder)
        return 0
    print(f"data folder: {folder}")
    for name, found in datasets.DATA_SETS.items():
        print(f"{name}: {datasets.state(name, folder)}. {found.about}. Licence: {found.licence}.")
        for file in found.files:
            known = f"{file.size:,} bytes  sha256 {file.sha256}" if file.sha256 else "by hand"
            print(f"    {file.path}  {known}  {file.url}")
    return 0


def _features(options: argparse.Namespace) -> int:
    from lthlib.lab.tasks.published import data_folder

    folder = data_folder(options.folder) / "features" / options.name
    actions = {"import": _import, "extract": _extract, "follow": _follow, "check": _check}
    return actions[options.action](options, folder)


def _import(options: argparse.Namespace, folder: Path) -> int:
    from lthlib.lab.features.sources import import_regions, open_source

    if not options.format or not options.source:
        raise FeatureError("give --format and what to import: see `lth features --help`")
    source = open_source(options.format, *options.source)
    kept = import_regions(
        source,
        folder,
        extractor=options.extractor,
        dtype="F16" if options.half else "F32",
        say=_said,
    )
    print(_told(kept))
    return 0


def _extract(options: argparse.Namespace, folder: Path) -> int:
    import torch

    from lthlib.lab.features.extract import Extractor, Grid, Regions, extract_folder, pretrained

    if len(options.source) != 1:
        raise FeatureError("give one folder of images: see `lth features --help`")
    extractor: Regions
    if options.by == "grid":
        extractor = Grid()
    else:
        detector = pretrained().to("cuda" if torch.cuda.is_available() else "cpu")
        extractor = Extractor(detector, regions=options.regions, overlap=options.overlap)
    print(_told(extract_folder(extractor, options.source[0], folder, half=options.half, say=_said)))
    return 0


def _follow(options: argparse.Namespace, folder: Path) -> int:
    from lthlib.lab.features.synthetic import follow_captions

    if options.task is None or options.share is None:
        raise FeatureError("give --task and --share, such as `--task vsr-random --share 0.9`")
    if not 0 <= options.share <= 1:
        raise FeatureError(f"--share {options.share:g} is no share of items: give 0 to 1")
    if options.seed < 0:
        raise FeatureError(f"--seed {options.seed} will not do: give a whole number from 0")
    items = _captioned(options.task, options.folder)
    print(_told(follow_captions(items, folder, share=options.share, seed=options.seed)))
    return 0


def _captioned(task: str, folder: Path | None) -> pd.DataFrame:
    """All items of a task whose captions name a relation: that is what boxes can follow."""
    import pandas as pd

    from lthlib.lab.tasks.published import PUBLISHED, data_folder

    if task not in PUBLISHED:
        raise FeatureError(unknown("task with published captions", task, PUBLISHED))
    items = pd.concat(PUBLISHED[task].read(data_folder(folder)).values(), ignore_index=True)
    if "relation" not in items or not items["relation"].all():
        raise FeatureError(f"--task {task}: its texts name no relation that boxes could follow")
    return items


def _check(options: argparse.Namespace, folder: Path) -> int:
    from lthlib.lab.features.store import RegionStore
    from lthlib.lab.tasks import load

    kept = RegionStore(folder)
    kept.verify()
    print(_told(kept))
    if options.task:
        load(options.task, features=options.name, folder=options.folder)
        print(f"it has regions for every item of {options.task}")
    return 0


def lacking(studies: Iterable[Study]) -> str:
    """What studies need and the data folder lacks, in one line with the remedy; "" for nothing.

    Nothing is read but names of files: whether they are whole is seen when a run begins.
    """
    needed = [study for study in studies if study.task not in EMBEDDED]
    if not needed:
        return ""
    from lthlib.lab.datasets import DATA_SETS, state
    from lthlib.lab.tasks.published import data_folder

    root = data_folder()
    sets = dict.fromkeys(_data_set(study.task, DATA_SETS) for study in needed)
    missing = [name for name in sets if name and state(name, root) != "complete"]
    stores = dict.fromkeys(study.features for study in needed)
    absent = [name for name in stores if name and not (root / "features" / name).is_dir()]
    parts = [f"{', '.join(missing)} (`lth data get {' '.join(missing)}`)"] if missing else []
    for name in absent:
        made = MAKE_FEATURES if name == FEATURES else f"lth features import {name} ..."
        parts.append(f"the regions {name} (`{made}`)")
    return f"the data folder {root} lacks {' and '.join(parts)}" if parts else ""


def _data_set(task: str, known: Iterable[str]) -> str:
    """The data set that a task reads: the longest whose name its own begins with; "" for none."""
    return max((name for name in known if task.startswith(name)), key=len, default="")


def _said(done: int, of: int) -> None:
    if done == of or done % 1000 == 0:
        print(f"{done:,} of {of:,} images", flush=True)


def _told(kept: Any) -> str:
    return (
        f"{kept.folder}: {len(kept):,} images, {kept.regions} regions of {kept.feature_dim} "
        f"features, extractor: {kept.extractor}"
    )
