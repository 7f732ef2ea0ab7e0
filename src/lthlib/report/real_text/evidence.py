"""The runs of the preset `real-text`, and the rules that read the text of the same test items."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import pandas as pd

from lthlib.errors import RecordError
from lthlib.real_text import CAPTIONS, REPORTS, REPORTS_READ
from lthlib.records import RecordStore
from lthlib.report import ranking
from lthlib.report.baselines.tables import RULES, Baselines
from lthlib.report.judgement.verdicts import Judged, judge
from lthlib.report.measures import RECORD, at_stage
from lthlib.report.reading import Reading, joined, read, recorded
from lthlib.study import Study, plan

PRESET = "real-text"
FOLLOWED, SHUFFLED, BLIND = "followed", "shuffled", "blind"
SHOWN = {
    FOLLOWED: "with made-up regions",
    SHUFFLED: "with another item's regions",
    BLIND: "blind",
}
"""What a model is shown beside the text."""
# Data set of the recorded baselines, its constant answer, and its rules that read the text.
_RULES_OF: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    CAPTIONS: ("VSR current random", "majority", ("opposite", "text", "reversed")),
    REPORTS: (REPORTS_READ, "all negative", ("text",)),
}


def shown(study: Study) -> str:
    """Which key of SHOWN a study is."""
    return {"none": BLIND, "shuffled": SHUFFLED}.get(study.regions, FOLLOWED)


@dataclass(frozen=True)
class Part:
    """Studies of one task that are shown the same, one of each model."""

    readings: tuple[Reading, ...]

    @property
    def task(self) -> str:
        return self.readings[0].study.task

    @property
    def shown(self) -> str:
        return shown(self.readings[0].study)

    @property
    def pruned(self) -> bool:
        """Whether there are levels beyond dense."""
        return len(self.readings[0].study.rungs()) > 1

    @cached_property
    def quality(self) -> pd.DataFrame:
        """How well each run answers at each level: of trained models, with the column `beats`.

        Tasks of several findings have auc and average_precision too.
        """
        quality = joined(self.readings, "quality")
        gate = joined(self.readings, "gate")[[*RECORD, "beats"]]
        frame = quality.merge(gate, on=RECORD, how="left", validate="one_to_one")
        if not ranking.ranks_findings(self.readings[0]):
            return frame
        ranks = [ranking.ranking(at_stage(r.predictions, r.stage)) for r in self.readings]
        return frame.merge(pd.concat(ranks), on=RECORD, how="left", validate="one_to_one")

    @cached_property
    def agreements(self) -> pd.DataFrame:
        """How far each level keeps its dense model's answers; empty where nothing is pruned."""
        return joined(self.readings, "agreements")

    @cached_property
    def judged(self) -> Judged:
        """Tickets against dense and their controls, tested."""
        return judge(self.readings)


def gather(store: RecordStore, studies: Iterable[Study] | None = None) -> list[Part]:
    """What a store holds of the preset, in its order; studies and seeds that are not there are out.

    studies: others than those of the preset. Raises RecordError where nothing is there.
    """
    planned = list(plan(PRESET) if studies is None else studies)
    held = [study for study in planned if any(store.has(run) for run in study.run_ids())]
    if not held:
        raise RecordError(
            f"no run of the preset {PRESET} is in {store.files.url}: run "
            f"`lth run --preset {PRESET}` first, or name another store"
        )
    groups: dict[tuple[str, str], list[Reading]] = {}
    for study in held:
        reading = read(recorded(study, store), store)
        groups.setdefault((study.task, shown(study)), []).append(reading)
    return [Part(tuple(group)) for group in groups.values()]


def missing(parts: Sequence[Part], studies: Iterable[Study] | None = None) -> int:
    """How many runs of the preset, or of these studies, the parts do not hold."""
    held = {run for part in parts for reading in part.readings for run in reading.runs}
    planned = {run for s in (plan(PRESET) if studies is None else studies) for run in s.run_ids()}
    return len(planned - held)


def by_task(parts: Sequence[Part]) -> dict[str, list[Part]]:
    """The parts of each task, in the order of SHOWN."""
    order = list(SHOWN)
    tasks = dict.fromkeys(part.task for part in parts)
    return {
        task: sorted((p for p in parts if p.task == task), key=lambda p: order.index(p.shown))
        for task in tasks
    }


# -- rules that read the text ---------------------------------------------------------------------
class Rule(NamedTuple):
    """What answers without a trained model: right decisions among all, and measures of ranking.

    low, high: exact 95 % interval of the accuracy over decisions; text: all three, in %.
    auc, average_precision: value and text with interval; None where a rule ranks nothing.
    """

    key: str
    name: str
    accuracy: float
    low: float
    high: float
    text: str
    auc: tuple[float, str] | None = None
    average_precision: tuple[float, str] | None = None


def rules_of(parts: Sequence[Part], found: Baselines) -> list[Rule]:
    """The recorded rules for the items that the parts of one task were tested on.

    The constant answer is first. Raises RecordError where models and rules were not judged on the
    same number of decisions and labels.
    """
    task = parts[0].task
    data, constant, readers = _RULES_OF[task]
    for part in parts:
        _check_items(part, found, data, constant)
    rules = []
    for key in (constant, *readers):
        answer = found.answer(data, key)
        ranks = task == REPORTS and key == "text"
        rules.append(
            Rule(
                key,
                RULES[key],
                answer.share,
                *answer.ends,
                answer.text(),
                *(_ranked(found, data, kind) if ranks else None for kind in ("auc", "ap")),
            )
        )
    return rules


def _check_items(part: Part, found: Baselines, data: str, constant: str) -> None:
    """The same items have as many decisions, and as many of the constant answer."""
    answer, tested = found.answer(data, constant), part.quality.iloc[0]
    right = max(tested["tp"] + tested["fn"], tested["tn"] + tested["fp"])
    if (answer.items, answer.right) != (tested["decisions"], right):
        raise RecordError(
            f"the baselines of {data} are over {answer.items:,} decisions, {answer.right:,} of the "
            f"common kind, and the records of {part.task} over {tested['decisions']:,} and "
            f"{right:,}: count them again with `python -m lthlib.lab.baselines DATA_FOLDER`"
        )


def _ranked(found: Baselines, data: str, kind: str) -> tuple[float, str]:
    row = found.average(data, kind)
    ends = " to ".join(f"{100 * row[end]:.1f}" for end in ("low", "high"))
    return float(row["value"]), f"{100 * row['value']:.1f} ({ends})"
