"""The records of a study, read and measured once: what a notebook starts from."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, pairwise
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from lthlib.errors import RecordError
from lthlib.machine import cores, worker_pool
from lthlib.records import RecordStore
from lthlib.report import measures
from lthlib.report.answers.kept import same_skill
from lthlib.report.exhibits import model_name
from lthlib.report.statistics import DENSE_LEVEL
from lthlib.study import Study, reference

AT_ONCE = 100
"""Runs that are measured at once, where their items are the same."""
PARALLEL_FROM = 2_000
"""Runs from which on several processes are worth their start, which takes seconds."""
MOST_WORKERS = 4
"""Each takes a third of a gigabyte."""
MOST_ROWS = 3_000_000
"""Predictions that are held at once, over all readings: about a gigabyte."""


class Stored:
    """Predictions that are read when they are asked for, and let go when others need the room.

    A page of a few studies holds all of them, and a thousand studies take no more memory than a
    few: what is measured of predictions is kept, and they themselves are mostly not asked for.
    """

    _recent: ClassVar[list[weakref.ref[Stored]]] = []

    def __init__(self, store: RecordStore, runs: Sequence[str]) -> None:
        self.store, self.runs = store, list(runs)
        self.frame: pd.DataFrame | None = None

    def read(self) -> pd.DataFrame:
        """As they are recorded; raises RecordError for a run that is missing or damaged."""
        found = self.store.table("predictions", self.runs) if self.frame is None else self.frame
        self.frame = found
        others = [held for held in (ref() for ref in Stored._recent) if held not in (None, self)]
        rows = len(found)
        for other in others:
            rows += 0 if other.frame is None else len(other.frame)
            if rows > MOST_ROWS:
                other.frame = None
        holding = [self, *(other for other in others if other.frame is not None)]
        Stored._recent[:] = [weakref.ref(held) for held in holding]
        return found


class _Predictions:
    """The field of a reading that holds predictions, or knows where they are stored."""

    def __get__(self, reading: Reading | None, _: object = None) -> pd.DataFrame:
        if reading is None:
            raise AttributeError("predictions are a reading's own")  # the field has no default
        held: pd.DataFrame | Stored = vars(reading)["predictions"]
        return held.read() if isinstance(held, Stored) else held

    def __set__(self, reading: Reading, value: pd.DataFrame | Stored) -> None:
        vars(reading)["predictions"] = value


@dataclass(frozen=True)
class Reading:
    """One study's records, measured; every frame is described with sparsity, model, task, seed.

    floor: mean fidelity between dense models of different seeds; None with one seed.
    about: study.json of each run.
    predictions: a frame, or where one is stored; read from there as a frame either way.
    skill: :func:`lthlib.report.answers.kept.same_skill` of the tickets; None: not measured yet.
    """

    study: Study
    source: str
    about: tuple[dict[str, Any], ...]
    levels: pd.DataFrame
    quality: pd.DataFrame
    agreements: pd.DataFrame
    gate: pd.DataFrame
    matrix: pd.DataFrame
    floor: float | None
    store: RecordStore
    predictions: _Predictions = _Predictions()
    skill: pd.DataFrame | None = None

    @property
    def runs(self) -> list[str]:
        return self.study.run_ids()

    def table(self, name: str) -> pd.DataFrame:
        """A table of the records as it is: training, curves, weights, states or barriers."""
        return self.store.table(name, self.runs)

    def items(self) -> pd.DataFrame:
        """Text and facts of each test item."""
        return self.store.items(self.about[0]["items"])

    @property
    def stage(self) -> str:
        return self.study.judged_stage

    @property
    def title(self) -> str:
        """The study in words, as a heading tells it from others in the same notebook."""
        study = self.study
        return f"{model_name(study.model)} on {study.task}: {_how(study)} ({study.hash})"


def read(study: Study, store: RecordStore) -> Reading:
    """All finished runs of a study.

    Raises RecordError for a run that is missing or damaged, and where the measures of a record do
    not fit together.
    """
    return _read_batch([study], store)[0]


def read_many(
    studies: Sequence[Study], store: RecordStore, *, workers: int | None = None
) -> list[Reading]:
    """:func:`read` of each study, measured many at a time, which is several times as fast.

    workers: processes; None: as many as :func:`processes` says.
    Raises RecordError as :func:`read` does.
    """
    batches = _batches(studies)
    if workers is None:
        workers = processes(sum(len(study.seeds) for study in studies))
    if workers == 1 or len(batches) < 2:
        found = [_read_batch(batch, store) for batch in batches]
    else:
        # Not forked: a page's process may have threads.
        with worker_pool(min(workers, len(batches))) as pool:
            found = list(pool.map(partial(_read_batch, store=store), batches))
    return [reading for batch in found for reading in batch]


def processes(runs: int) -> int:
    """How many processes read so many runs: one, and several of very many."""
    return min(cores(), MOST_WORKERS) if runs >= PARALLEL_FROM else 1


def _batches(studies: Sequence[Study]) -> list[list[Study]]:
    """Neighbours that answer the same items, as far as their settings tell."""
    batches: list[list[Study]] = []
    for _, alike in groupby(studies, lambda s: (s.task, s.data_seed, s.test_items)):
        runs = AT_ONCE
        for study in alike:
            if runs + len(study.seeds) > AT_ONCE:
                batches.append([])
                runs = 0
            batches[-1].append(study)
            runs += len(study.seeds)
    return batches


def _read_batch(studies: Sequence[Study], store: RecordStore) -> list[Reading]:
    names = [study.run_ids() for study in studies]
    try:
        grid = measures.grid_of(store.answers([run for own in names for run in own]))
        if len(studies) == 1 or (grid.whole and grid.binary.all()):
            return _measured(studies, store, grid)
    except RecordError:
        if len(studies) == 1:
            raise
        return [reading for study in studies for reading in _read_batch([study], store)]
    # Other items, or answers of many classes: each by itself.
    return [
        reading
        for study, own in zip(studies, names, strict=True)
        for reading in _measured([study], store, _of_runs(grid, own))
    ]


def _measured(studies: Sequence[Study], store: RecordStore, grid: measures.Grid) -> list[Reading]:
    """Readings of studies whose answers lie in one grid; of several: all of it, False or True."""
    names = [study.run_ids() for study in studies]
    about = [_about(own, store) for own in names]
    # One frame of all, split at the end: what a small table costs is mostly its frame.
    table = store.table("levels", [run for own in names for run in own])
    runs = pd.concat(
        [
            pd.DataFrame({"run": own, "model": s.model, "task": s.task, "seed": list(s.seeds)})
            for s, own in zip(studies, names, strict=True)
        ]
    )
    levels = _by_study(measures.describe_runs(table, runs), names)
    facts = table[measures.FACTS]

    def split(frame: pd.DataFrame) -> list[pd.DataFrame]:
        return _by_study(measures.describe(frame, facts, runs), names)

    agreements = measures.agreements(grid)
    measures.require_identities(agreements)
    quality, agreement, gate = (
        split(frame) for frame in (measures.quality(grid), agreements, measures.beats_trivial(grid))
    )
    skill = _skills(grid, studies, names)
    readings = []
    for number, study in enumerate(studies):
        matrix = measures.fidelity_matrix(_of_runs(grid, names[number]), stage=study.judged_stage)
        reading = Reading(
            study=study,
            source=store.files.url,
            about=about[number],
            levels=levels[number],
            quality=quality[number],
            agreements=agreement[number],
            gate=gate[number],
            matrix=matrix,
            floor=measures.seed_floor(matrix),
            predictions=Stored(store, names[number]),
            store=store,
            skill=skill[number],
        )
        readings.append(reading)
    return readings


def _of_runs(grid: measures.Grid, runs: Sequence[str]) -> measures.Grid:
    held = grid.records["run"].isin(runs).to_numpy(dtype=bool)
    return grid if held.all() else grid.where(held)


def _about(runs: Sequence[str], store: RecordStore) -> tuple[dict[str, Any], ...]:
    """study.json of each run, all made by the same code, weights and data."""
    about = tuple(store.studies(runs))
    for run in about[1:]:
        store.compare_identity(run, about[0]["identity"])
    return about


def _by_study(frame: pd.DataFrame, names: Sequence[Sequence[str]]) -> list[pd.DataFrame]:
    """The rows of each study's runs, in their order."""
    if len(names) == 1:
        return [frame]
    number = {run: place for place, own in enumerate(names) for run in own}
    of_rows = np.array([number[run] for run in frame["run"].tolist()])
    order = np.argsort(of_rows, kind="stable")
    ends = np.searchsorted(of_rows[order], np.arange(len(names) + 1)).tolist()
    ranked = frame.take(order)
    parts = [ranked.iloc[begin:end] for begin, end in pairwise(ends)]
    return [part.set_axis(pd.RangeIndex(len(part))) for part in parts]


def _skills(
    grid: measures.Grid, studies: Sequence[Study], names: Sequence[Sequence[str]]
) -> list[pd.DataFrame | None]:
    """same_skill of each study's tickets; None where it has none, or answers of many classes."""
    found: list[pd.DataFrame | None] = [None] * len(studies)
    if not grid.binary.all():
        return found
    for stage in {study.judged_stage for study in studies}:
        own = [i for i, study in enumerate(studies) if study.judged_stage == stage]
        runs = [run for i in own for run in names[i]]
        tickets = measures.grid_of_tickets(_of_runs(grid, runs), stage)
        if (tickets.records["level"] == DENSE_LEVEL).all():
            continue
        skill = same_skill(tickets)
        for i, part in zip(own, _by_study(skill, [names[i] for i in own]), strict=True):
            found[i] = part if len(part) else None
    return found


def recorded(study: Study, store: RecordStore) -> Study:
    """The study with those of its seeds that the store holds.

    Raises RecordError where it holds none.
    """
    held = _held(study, store)
    if held is None:
        raise _none_of(study, store)
    return held


def recorded_part(part: str, store: RecordStore, **choices: Any) -> list[Study]:
    """The studies of a part of the reference study that agree with `choices`, as recorded.

    Studies without any record are left out, and seeds without one too.
    """
    held = [_held(study, store) for study in reference(part, **choices)]
    return [study for study in held if study is not None]


def read_part(part: str, store: RecordStore, **choices: Any) -> list[Reading]:
    """What recorded_part finds, read and measured; records_line says what is there.

    Raises RecordError where nothing is.
    """
    studies = recorded_part(part, store, **choices)
    if not studies:
        raise _none_of(reference(part, **choices)[0], store)
    return read_many(studies, store)


def _held(study: Study, store: RecordStore) -> Study | None:
    seeds = tuple(seed for seed in study.seeds if store.has(study.run_id(seed)))
    return study.model_copy(update={"seeds": seeds}) if seeds else None


def _none_of(study: Study, store: RecordStore) -> RecordError:
    return RecordError(
        f"no run of {study.name} is in {store.files.url}: run `lth run --preset full` first"
    )


def pruned(readings: Sequence[Reading]) -> list[Reading]:
    """The readings with levels beyond dense: only they have answers to compare with dense ones."""
    return [reading for reading in readings if len(reading.study.rungs()) > 1]


def side_by_side(readings: Sequence[Reading]) -> list[list[Reading]]:
    """Readings in groups whose studies differ in the model alone, in the order they are given."""
    groups: dict[str, list[Reading]] = {}
    for reading in readings:
        settings = {
            k: v for k, v in reading.study.settings().items() if k not in {"model", "boxes"}
        }
        groups.setdefault(repr(sorted(settings.items())), []).append(reading)
    return list(groups.values())


Name = Callable[[str], str]
Say = Callable[[str], None]


def each(readings: Sequence[Reading], say: Say) -> Iterator[tuple[Reading, Name]]:
    """Each reading, under its title where there are several, with a maker of unique names.

    The names of the first are as they are given, so that other pages know them.
    """
    for group, name in each_group([[reading] for reading in readings], say):
        yield group[0], name


def each_group(
    groups: Sequence[Sequence[Reading]], say: Say
) -> Iterator[tuple[Sequence[Reading], Name]]:
    """The same for groups of readings."""
    for number, group in enumerate(groups):
        study = group[0].study
        if len(groups) > 1:
            title = group[0].title if len(group) == 1 else f"{study.task}: {_how(study)}"
            say(f"**{title}**")
        suffix = f"-{study.hash}" if number else ""
        yield group, lambda key, suffix=suffix: key + suffix  # type: ignore[misc]


def floors(readings: Sequence[Reading]) -> pd.Series[float]:
    """Fidelity between dense models of different seeds, by model; none where there is one seed."""
    found = {r.study.model: r.floor for r in readings if r.floor is not None}
    return pd.Series(found, dtype=float)


def joined(readings: Sequence[Reading], name: str) -> pd.DataFrame:
    """One frame (levels, quality, agreements, gate) of several readings, each at its own stage."""
    frames: list[pd.DataFrame] = [
        measures.at_stage(getattr(reading, name), reading.stage) for reading in readings
    ]
    return pd.concat(frames, ignore_index=True)


def records_line(readings: Sequence[Reading]) -> str:
    """Which records a page shows: how many, from where, made when, and on what."""
    if not readings:
        raise RecordError("no records are shown: name at least one study")
    about = [run for reading in readings for run in reading.about]
    models = _listed([model_name(r.study.model) for r in readings])
    tasks = _listed([r.study.task for r in readings])
    seeds = _listed([run["seed"] for run in about])
    made = sorted(run["finished"][:10] for run in about)
    when = made[0] if made[0] == made[-1] else f"{made[0]} to {made[-1]}"
    machines = _listed([_machine(run) for run in about])
    torch = _listed([run["versions"]["torch"] for run in about])
    sources = {r.source for r in readings}
    where = " and ".join(_where(source) for source in sorted(sources))
    count = f"{len(about)} {'run' if len(about) == 1 else 'runs'}"
    return (
        f"Shown here: {count} of {models} on {tasks} (seeds {seeds}) from {where}, "
        f"made {when} on {machines} with torch {torch}."
    )


def _how(study: Study) -> str:
    ladder = f"{study.ladder} ladder" if isinstance(study.ladder, str) else "a ladder of its own"
    return f"protocol {study.protocol}, {ladder}"


def _where(source: str) -> str:
    name = source.rstrip("/")
    if name.endswith("records/shipped"):
        return "records/shipped, the records that come with the repository"
    return "records/local, made in this folder" if name.endswith("records/local") else source


def _machine(run: dict[str, Any]) -> str:
    hardware = run["hardware"]
    return str(hardware["processor"] if hardware["device"] == "cpu" else hardware["device"])


def _listed(values: Sequence[object]) -> str:
    return ", ".join(dict.fromkeys(str(value) for value in values))
