"""Studies whose measures are not defined, written as records, and notebooks run on them.

Nothing is trained: a case gives labels and the answers of each seed and record, and all else of a
record is made up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import synthetic
from lthlib.records import RecordStore, project_root, to_json
from lthlib.report import show
from lthlib.report.draw import Drawing
from lthlib.report.exhibits import Exhibit
from lthlib.study import Study, reference

NOTEBOOKS = project_root(Path(__file__).parent) / "notebooks"
NO_NUMBER = re.compile(r"\b([nN]a[nN]|NAN|[iI]nf|NaT|None)\b|<NA>")
Answer = Callable[[np.ndarray, int, int], np.ndarray]
"""Of labels [N], seed and level: the answers [N], 0 or 1."""


@dataclass(frozen=True)
class Case:
    """labels: of the test items; answer: what each record says; seeds: how many runs.

    margin: the log-odds of each answer.
    """

    labels: Sequence[int]
    answer: Answer
    seeds: int = 3
    margin: float = 2.0

    def predictions(self, study: Study) -> pd.DataFrame:
        label = np.array(self.labels)
        records = [
            synthetic.one_record(
                label, self.answer(label, seed, level),
                run=study.run_id(seed), level=level, branch=branch,
            )
            for seed in study.seeds
            for level, branch in _records(study)
        ]  # fmt: skip
        told = pd.concat(records, ignore_index=True)
        sides = np.where(told["prediction"] == 1, self.margin, -self.margin)
        logits = [np.array([-m / 2, m / 2], dtype=np.float32) for m in sides]
        return told.assign(logits=pd.Series(logits, dtype=object))


def _records(study: Study) -> list[tuple[int, str]]:
    """Level and branch of every record of a study."""
    rungs = range(1, len(study.rungs()))
    at = study.branch_levels or rungs
    controls = [(level, branch) for level in rungs if level in at for branch in study.branches]
    return [(0, "main"), *((level, "main") for level in rungs), *controls]


def write_study(study: Study, case: Case, store: RecordStore) -> Study:
    """Records of a study whose answers are the case's; the study with the case's seeds."""
    study = study.model_copy(update={"seeds": tuple(range(case.seeds))})
    predictions = case.predictions(study)
    names = sorted(predictions["item"].unique())
    items = pd.DataFrame({"item": names, "text": [f"the one is near {n}" for n in names]})
    facts = {"relation": "near", "meta_category": "Proximity", "subject": "one", "object": "two"}
    store.write_items("made-up", items.assign(image="none.png", **facts))
    for seed in study.seeds:
        run = study.run_id(seed)
        own = predictions[predictions["run"] == run]
        tables = {"predictions": own, "levels": synthetic.levels(own)}
        tables |= dict.fromkeys(("training", "curves"), own[["run"]].head(1))
        with store.writer(run, {}) as writer:
            writer.write_level(0, tables, {})
            writer.finish(_about(study, run, seed), b"")
    return study


def _about(study: Study, run: str, seed: int) -> dict[str, Any]:
    return {
        "run": run, "seed": seed, "items": "made-up", "finished": "2026-01-01T00:00:00",
        "study": study.model_dump(mode="json", exclude={"seeds"}),
        "hardware": {"device": "cpu", "processor": "made up"}, "versions": {"torch": "0"},
        "identity": {},
    }  # fmt: skip


# -- what notebooks show of them -------------------------------------------------------------------
@dataclass
class Page:
    """What a notebook said and showed."""

    said: list[str] = field(default_factory=list)
    shown: dict[str, Exhibit] = field(default_factory=dict)

    def show(self, made: Drawing | show.Table | Exhibit, name: str, caption: str = "") -> None:
        """As a notebook's: an exhibit of the old kind has its caption with it."""
        self.shown[name] = made if isinstance(made, Exhibit) else show.as_exhibit(made, caption)

    def faults(self) -> list[str]:
        """Every text that holds no number where one should be, and infinite columns of data."""
        texts = {f"said {place}": text for place, text in enumerate(self.said)}
        for name, exhibit in self.shown.items():
            texts |= {f"{name}, caption": exhibit.caption, f"{name}, alt": exhibit.alt}
            if exhibit.table is not None:
                cells = exhibit.table.to_numpy().ravel()
                texts |= {f"{name}, cell {place}": str(cell) for place, cell in enumerate(cells)}
        found = [f"{where}: {text}" for where, text in texts.items() if NO_NUMBER.search(text)]
        for name, exhibit in self.shown.items():
            numbers = exhibit.data.select_dtypes("number")
            wrong = np.isinf(numbers.to_numpy(dtype=float, na_value=np.nan)).any(axis=0)
            found += [f"{name}, data: {column} is infinite" for column in numbers.columns[wrong]]
        return found


def execute(name: str, monkeypatch: pytest.MonkeyPatch, **parameters: Any) -> Page:
    """Run a notebook's cells here, with these parameters; figures are made, and not drawn."""
    page = Page()
    monkeypatch.setattr(show, "say", page.said.append)
    monkeypatch.setattr(show, "number", lambda name, text: page.said.append(text))
    monkeypatch.setattr(show, "show", page.show)
    source = (NOTEBOOKS / f"{name}.py").read_text()
    for key, value in parameters.items():
        source, count = re.subn(
            rf"(?m)^({key}: .*?) = [^#\n]*", lambda m, v=value: f"{m[1]} = {v!r}  ", source
        )
        assert count == 1, f"{name} has no parameter {key}"
    exec(compile(source, name, "exec"), {"__name__": name})
    return page


def write_own(folder: Path, case: Case, models: Sequence[str] = ("uniter",)) -> Path:
    """A folder as `lth own` leaves it: models and their controls."""
    shared = {"task": "own-made-00000000", "features": "grid1-00000000", "start": "random"}
    ladder = {"ladder": [0.3, 0.5], "branches": ["random-mask"], "branch_levels": [2]}
    studies = [Study.build(shared, model=model, **ladder) for model in models]
    studies += [
        Study.build(shared, model=model, regions=shown, levels=0)
        for shown in ("none", "shuffled") for model in models
    ]  # fmt: skip
    store = RecordStore(folder / "records")
    written = [write_study(study, case, store) for study in studies]
    items, ones = len(case.labels), int(sum(case.labels))
    count = {"items": items, "class_1": ones, "images": 1, "texts": items, "of_training": 0}
    answer = {"data": "made", "part": "test", "where": "all", "right": ones, "items": items}
    about = {
        "name": "made", "command": "lth own made.csv images", "labels": ["no", "yes"],
        "counts": [{"part": part, **count} for part in ("train", "validation", "test")],
        "pictures": 1, "images": str(folder), "records": "records",
        "text": {"answers": [{**answer, "rule": rule} for rule in ("text", "opposite")]},
        "studies": [study.model_dump(mode="json") for study in written],
    }  # fmt: skip
    (folder / "own.json").write_bytes(to_json(about))
    return folder


def write_part(folder: Path, case: Case, part: str = "concluding", models: int = 1) -> Path:
    """Records of the first studies of a part of the reference study."""
    store = RecordStore(folder / "records")
    for study in reference(part)[:models]:
        write_study(study, case, store)
    return folder / "records"
