"""The records of a study, read and measured once: what a notebook starts from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lthlib.errors import RecordError
from lthlib.records import RecordStore
from lthlib.report import measures
from lthlib.report.exhibits import model_name
from lthlib.study import Study, reference


@dataclass(frozen=True)
class Reading:
    """One study's records, measured; every frame is described with sparsity, model, task, seed.

    floor: mean fidelity between dense models of different seeds; None with one seed.
    about: study.json of each run.
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
    predictions: pd.DataFrame
    store: RecordStore

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
    names = study.run_ids()
    predictions = store.table("predictions", names)
    levels = store.table("levels", names)
    about = tuple(store.study(name) for name in names)
    for run in about[1:]:
        store.check_identity(run["run"], about[0]["identity"])
    runs = pd.DataFrame(
        {"run": names, "model": study.model, "task": study.task, "seed": list(study.seeds)}
    )

    def describe(frame: pd.DataFrame) -> pd.DataFrame:
        return measures.describe(frame, levels, runs)

    agreements = measures.agreements(predictions)
    measures.require_identities(agreements)
    matrix = measures.fidelity_matrix(predictions, stage=study.judged_stage)
    return Reading(
        study=study,
        source=store.files.url,
        about=about,
        levels=levels.merge(runs, on="run"),
        quality=describe(measures.quality(predictions)),
        agreements=describe(agreements),
        gate=describe(measures.beats_trivial(predictions)),
        matrix=matrix,
        floor=measures.seed_floor(matrix),
        predictions=predictions,
        store=store,
    )


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
    return [read(study, store) for study in studies]


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
