"""What the exhibits of the main source are made from: its numbers, and our records beside them.

An *arm* is one of the columns that stand beside the source: its own protocol run by us, tickets at
the same sparsity, and the controls of those tickets. Records that are not there yet leave their
column with the words "not run yet".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import pandas as pd

from lthlib.records import RecordStore
from lthlib.report.answers.kept import label_blind
from lthlib.report.exhibits import MEASURES, sparsity_text, summary_text
from lthlib.report.measures import at_stage
from lthlib.report.parts import held_part
from lthlib.report.reading import Reading
from lthlib.report.source import published
from lthlib.report.statistics import DENSE_LEVEL, seed_summary
from lthlib.report.words import counted
from lthlib.study import PUBLISHED_AMOUNTS, Study, cumulative

Ladder = Literal["secondary", "concluding"]
NOT_RUN_YET = "not run yet"
AS_PUBLISHED, LOTTERY = "ours, as published", "ours, lottery"
RANDOM_MASK, LABEL_BLIND = "ours, random mask", "label-blind"


@dataclass(frozen=True)
class Sample:
    """A task as its items show it: two scenes, the make-up of its splits, and all test labels.

    scenes: canvas [H, W], boxes, text and label of single items, as :func:`scenes.gallery` takes
    them; splits: number of items of each; facts: what is known of each test item; labels: one row
    per test item, one column of 0 and 1 per decision.
    """

    scenes: Mapping[str, Sequence[Any]]
    splits: Mapping[str, int]
    facts: pd.DataFrame
    labels: pd.DataFrame


# -- records --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Evidence:
    """Readings of some parts of the reference study; a part may be there in part, or not at all.

    samples: what the embedded tasks look like, where a chapter shows them.
    """

    by_part: Mapping[str, Sequence[Reading]]
    samples: Mapping[str, Sample] = field(default_factory=dict)

    def readings(self, part: str, **choices: Any) -> list[Reading]:
        """The readings of a part whose studies agree with `choices`."""
        return [
            reading
            for reading in self.by_part.get(part, ())
            if all(getattr(reading.study, name) == value for name, value in choices.items())
        ]

    def reading(self, part: str, **choices: Any) -> Reading | None:
        """The first of them; None where there is none."""
        return next(iter(self.readings(part, **choices)), None)

    def all(self) -> list[Reading]:
        return [reading for readings in self.by_part.values() for reading in readings]


def gather(store: RecordStore, parts: Iterable[str], **choices: Any) -> Evidence:
    """What the store holds of some parts, of the studies that agree with `choices`."""
    return Evidence({part: held_part(part, store, **choices) for part in parts})


def seeds_held(study: Study, store: RecordStore) -> int:
    """How many seeds of a study are finished."""
    return sum(store.has(run) for run in study.run_ids())


# -- arms -----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Arm:
    """One reading and one branch of it, at the stage where its protocol judges levels."""

    name: str
    reading: Reading | None
    branch: str = "main"
    blind: bool = False  # what a model would reach that has only this arm's shares of answers

    def frame(self, measure: str) -> pd.DataFrame:
        """run, level, branch, stage and the measure, dense included where it has one."""
        if self.reading is None:
            return pd.DataFrame()
        quality = self.reading.quality
        frame = quality if measure in quality.columns else self.reading.agreements
        if self.blind:
            frame = self._null
        here = at_stage(frame, self.reading.stage)
        return here[(here["branch"] == self.branch) | (here["level"] == DENSE_LEVEL)]

    @cached_property
    def _null(self) -> pd.DataFrame:
        assert self.reading is not None
        answers = at_stage(self.reading.predictions, self.reading.stage)
        return label_blind(answers[answers["branch"] == self.branch])

    def by_seed(self, measure: str) -> pd.DataFrame:
        """[seeds, levels] of a measure; missing where it is not defined, empty without records."""
        frame = self.frame(measure)
        if frame.empty:
            return frame
        return frame.set_index(["run", "level"])[measure].astype(float).unstack()  # noqa: PD010

    def column(self, measure: str, level: int) -> list[float]:
        """One number per seed; none where the level was not run."""
        table = self.by_seed(measure)
        return table[level].tolist() if level in table.columns else []

    def summary(self, measure: str) -> pd.DataFrame:
        """Mean, interval and seeds by level, as :func:`statistics.seed_summary` gives them."""
        if self.reading is None:
            return pd.DataFrame(columns=["level"])
        if measure not in self._summaries:
            self._summaries[measure] = seed_summary(self.frame(measure), ["level"], measure)
        return self._summaries[measure]

    @cached_property
    def _summaries(self) -> dict[str, pd.DataFrame]:
        """What was summarised before: cells and data of one exhibit ask for the same."""
        return {}

    def texts(self, measure: str, levels: Sequence[int]) -> list[str]:
        """The measure at each level as text, with its interval."""
        rows = {row["level"]: row for _, row in self.summary(measure).iterrows()}
        return [
            summary_text(MEASURES[measure], rows[level]) if level in rows else self.gap
            for level in levels
        ]

    @property
    def gap(self) -> str:
        """What stands where this arm has no number."""
        return NOT_RUN_YET if self.reading is None else "not run here"

    @property
    def seeds(self) -> int:
        return 0 if self.reading is None else len(self.reading.runs)

    @property
    def says(self) -> str:
        """The arm and how much it rests on, in words."""
        name = self.name.removeprefix("ours, ")
        if self.reading is None:
            return f"{name}, {NOT_RUN_YET}"
        items = self.reading.quality["items"].iloc[0]
        return f"{name}, {counted(self.seeds, 'seed')} and {items:,} test items"


def arms(evidence: Evidence, model: str, ladder: str) -> tuple[Arm, Arm, Arm]:
    """As published, lottery at the same sparsity, and random masks of that sparsity."""
    ours = evidence.reading(f"published-{ladder}", model=model)
    tickets = evidence.reading(ladder, model=model)
    return (
        Arm(AS_PUBLISHED, ours),
        Arm(LOTTERY, tickets),
        Arm(RANDOM_MASK, tickets, "random-mask"),
    )


# -- the source -----------------------------------------------------------------------------------
@dataclass(frozen=True)
class Printed:
    """One table of the source about one model and pruning set, by level of our ladder."""

    name: str

    @cached_property
    def cells(self) -> pd.DataFrame:
        """The table's numbers with level and level_b, the levels that its amounts stand for."""
        cells = published.table(self.name)
        ladder = cells["pruning_set"].iloc[0]
        ladder = ladder if ladder in PUBLISHED_AMOUNTS else "secondary"
        return cells.assign(
            level=[published.level_of(ladder, amount) for amount in cells["amount"]],
            level_b=[published.level_of(ladder, amount) for amount in cells["amount_b"]],
        )

    def at(self, metric: str, level: int, level_b: int = DENSE_LEVEL) -> pd.Series[Any] | None:
        """The one number of a level, or of a pair of levels in either order."""
        return self._places.get((metric, *sorted((level, level_b))))

    @cached_property
    def _places(self) -> dict[tuple[Any, ...], pd.Series[Any]]:
        return {
            (cell["metric"], *sorted((cell["level"], cell["level_b"]))): cell
            for _, cell in self.cells.iterrows()
        }

    def share_text(self, metric: str, level: int, level_b: int = DENSE_LEVEL) -> str:
        """A share in % with its recovered SD, and which rule without input it is, if one."""
        cell = self.at(metric, level, level_b)
        return "none printed" if cell is None else printed_share(cell)

    @property
    def runs(self) -> str:
        """How many runs the table claims, and how many its own numbers imply where they differ."""
        claimed, found = self.cells[["n_runs_claimed", "n_runs"]].iloc[0]
        if pd.isna(claimed):
            return "one run, as far as it says"
        text = f"{claimed:.0f} runs claimed"
        return text if claimed == found else f"{text}, {found:.0f} implied by its own numbers"


def printed_share(cell: pd.Series[Any]) -> str:
    """A printed share in %, with SD, misprint and constant answer said."""
    text = f"{100 * cell['share']:.2f}"
    if pd.notna(cell["sd"]):
        text += f" ± {100 * cell['sd']:.2f}"
    if "misprint" in cell["kinds"]:
        return f"{text} (printed {str(cell['raw']).replace(' ', '')})"
    return f"{text} ({cell['rule']})" if cell["rule"] else text


def printed_p(cell: pd.Series[Any] | None) -> str:
    """A printed p-value, with what it should read where it is a misprint."""
    if cell is None:
        return "none printed"
    text = str(cell["raw"]).replace(" ", "")
    if "misprint" in cell["kinds"]:
        return f"{text} (misprint of about {cell['corrected']:.2g})"
    if "degenerate" in cell["kinds"]:
        return f"{text} (degenerate)"
    return text


# -- words shared by exhibits ---------------------------------------------------------------------
def amount_text(ladder: str, level: int) -> str:
    """What is pruned each round at a level, such as "25 %"."""
    return "dense" if level == DENSE_LEVEL else f"{100 * PUBLISHED_AMOUNTS[ladder][level - 1]:g} %"


def rate_text(rate: float) -> str:
    """A learning rate without powers of ten.

    >>> rate_text(7.5e-05), rate_text(0.001)
    ('0.000075', '0.001')
    """
    return f"{rate:.7f}".rstrip("0")


def exact_sparsity(ladder: str, level: int) -> str:
    """Sparsity in % after three rounds."""
    if level == DENSE_LEVEL:
        return "0"
    return sparsity_text(cumulative(PUBLISHED_AMOUNTS[ladder][level - 1]))


def levels_of(ladder: str) -> range:
    """Dense and every level of a ladder."""
    return range(len(PUBLISHED_AMOUNTS[ladder]) + 1)


def middle_level(ladder: str) -> int:
    """The level that sentences speak of: the middle one, the later of two, as the findings have it.

    >>> middle_level("concluding")
    4
    """
    pruned = levels_of(ladder)[1:]
    return pruned[len(pruned) // 2]


def seeds_line(columns: Sequence[Arm]) -> str:
    """Which records stand in our columns, in words."""
    return f"Ours: {'; '.join(arm.says for arm in columns)}."


def span_line(name: str, readings: Sequence[Reading]) -> str:
    """How many seeds and items the readings of several models rest on, in words."""
    if not readings:
        return f"{name}, {NOT_RUN_YET}"
    seeds = counted([len(reading.runs) for reading in readings], "seed")
    items = readings[0].quality["items"].iloc[0]
    return f"{name}, {seeds} and {items:,} test items"


def ours_line(columns: Sequence[Arm]) -> str:
    """Which records stand in our columns, and what their brackets hold, in words."""
    several = max(arm.seeds for arm in columns) > 1
    interval = "95 % t interval over seeds, cut where a measure ends"
    return seeds_line(columns) + (f" In brackets: {interval}." if several else "")
