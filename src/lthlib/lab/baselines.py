"""What text alone answers: rules that see no image, on the published data and on our own tasks.

    python -m lthlib.lab.baselines [DATA_FOLDER] [--out records/baselines]

writes one small JSON file for each of VSR, Open-I and the embedded tasks: counts of right answers
and ranking measures, with the SHA-256 of every file that was read. The texts and labels of others
stay where they are. Without a data folder (see :mod:`lthlib.lab.corpora`) only the embedded tasks
are done. It takes about a minute on one core.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from lthlib.errors import LthError
from lthlib.lab import corpora, provenance
from lthlib.lab.tasks import Split, load
from lthlib.lab.tasks.vocabulary import cut, words
from lthlib.lab.text_only import (
    SETTINGS,
    Tables,
    caption_tables,
    finding_tables,
    resplit_tables,
    reversed_choice,
)
from lthlib.real_text import READ_WORDS, REPORTS_READ
from lthlib.records import project_root


def vsr(folder: Path) -> Tables:
    """Both versions of VSR with both splits; re-splits of the random ones."""
    found = []
    for name, split in corpora.VSR_ITEMS:
        data, parts = f"VSR {name} {split}", corpora.read_vsr(folder, name, split)
        found.append(caption_tables(data, parts))
        if split == "random":
            found.append(resplit_tables(data, parts, reversed_choice(found[-1])))
    return _joined(found)


def openi(folder: Path) -> Tables:
    """Open-I: what the report says about the findings that were labelled from it.

    Models read the beginning of a report, so that the same rules are judged on that too; lengths
    say how many reports are longer.
    """
    parts = corpora.read_openi(folder)
    begun = {
        name: part.assign(text=part["text"].map(lambda text: cut(text, READ_WORDS)))
        for name, part in parts.items()
    }
    found = [
        finding_tables(data, own["train"], own["test"], corpora.OPENI_FINDINGS)
        for data, own in (("Open-I", parts), (REPORTS_READ, begun))
    ]
    lengths = [
        {
            "data": "Open-I",
            "part": name,
            "items": len(part),
            "longer": sum(len(words(text)) > READ_WORDS for text in part["text"]),
        }
        for name, part in parts.items()
    ]
    return _joined([*found, {"lengths": lengths}])


def embedded() -> Tables:
    """The control: the same rules on this project's own tasks."""
    digits, reports = load("digits"), load("digit-reports")
    splits = {"train": digits.train, "dev": digits.validation, "test": digits.test}
    captions = {name: _texts(split, ["label"]) for name, split in splits.items()}
    train, test = (_texts(split, reports.decisions) for split in (reports.train, reports.test))
    found = finding_tables(reports.name, train, test, reports.decisions)
    return _joined([caption_tables(digits.name, captions), found])


def _texts(split: Split, names: Sequence[str]) -> pd.DataFrame:
    labels = pd.DataFrame(split.labels.numpy(), columns=list(names))
    return labels.assign(text=split.facts["text"].to_numpy())


def _joined(found: Sequence[Tables]) -> Tables:
    names = dict.fromkeys(name for tables in found for name in tables)
    return {name: [row for tables in found for row in tables.get(name, [])] for name in names}


def inputs(folder: Path, names: Sequence[Path]) -> dict[str, str]:
    """SHA-256 of files of the data folder, by their names there."""
    return {
        name.as_posix(): hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names
    }


def record(tables: Tables, came_from: Mapping[str, str]) -> dict[str, Any]:
    """What is written of one data set: the tables, and where they come from."""
    about = provenance.describe_environment(torch.device("cpu"))
    about["versions"]["scikit-learn"] = version("scikit-learn")
    made = {"made": provenance.now(), "by": "python -m lthlib.lab.baselines"}
    return {"about": {**made, **about, "settings": SETTINGS, "inputs": dict(came_from)}, **tables}


def main(arguments: Sequence[str] | None = None) -> int:
    """Compute and write; errors of this library become one line and exit status 1."""
    parser = argparse.ArgumentParser(prog="python -m lthlib.lab.baselines", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("data", nargs="?", type=Path, help="folder that holds vsr/ and openi/")
    parser.add_argument("--out", type=Path, help="default: records/baselines of this project")
    options = parser.parse_args(arguments)
    try:
        out = options.out or project_root() / "records" / "baselines"
        for name, found in _records(options.data):
            out.mkdir(parents=True, exist_ok=True)
            (out / f"{name}.json").write_text(json.dumps(_rounded(found), indent=1) + "\n")
            print(f"{out / name}.json")
    except LthError as error:
        print(f"baselines: {error}", file=sys.stderr)
        return 1
    return 0


def _records(data: Path | None) -> Iterator[tuple[str, dict[str, Any]]]:
    if data is not None:
        files = [corpora.vsr_file(*key, p) for key, n in corpora.VSR_ITEMS.items() for p in n]
        yield "vsr", record(vsr(data), inputs(data, files))
        yield "openi", record(openi(data), inputs(data, [corpora.OPENI_FILE]))
    own = {name: provenance.task_key(load(name)) for name in ("digits", "digit-reports")}
    yield "embedded", record(embedded(), own)


def _rounded(value: Any) -> Any:
    """Six digits of every float: what is beyond them differs between machines."""
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return round(value, 6) if isinstance(value, float) else value


if __name__ == "__main__":
    sys.exit(main())
