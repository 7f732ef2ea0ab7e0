"""Packs: all runs of one study in one folder, small enough to come with the repository.

    packs.json                     says that this folder holds packs
    items/<key>/                   the test items, as in any store
    <study>/runs.*.json            study.json of each run, and the SHA-256 of its full files
    <study>/levels.*.parquet ...   the tables of all its runs, joined
    <study>/manifest.json          size and SHA-256 of each file, written last

A pack holds less than the records that it is made from, and says what: answers to every item at
every level and stage of the ticket, and of controls once they are trained; logits of trained (or
judged) models, rounded to two decimals; training histories of dense models; no masks. Read through
:class:`PackedStore` it looks like any other store.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lthlib.errors import RecordError
from lthlib.parquet import answers_from_parquet
from lthlib.records import (
    FORMAT,
    OBSERVED,
    PLAIN_NAME,
    TABLES,
    Files,
    RecordStore,
    project_root,
    read_manifest,
    read_sealed,
    sha256,
    to_json,
    write_sealed,
)
from lthlib.study import Study

MARK = "packs.json"
HUNDREDTHS = 100
"""Logits are kept as whole hundredths."""
_NO_LOGITS = np.iinfo(np.int16).min
_RUN = re.compile(r"(?P<study>.+)-s(?P<seed>\d+)")
_WORDS = ("run", "branch", "stage", "item", "decision", "group", "site")


# -- writing ------------------------------------------------------------------------------------
def pack(runs: Iterable[str], source: RecordStore, target: Files) -> str:
    """Pack finished runs of one study; returns the study's name.

    Runs of that study that are packed there already stay, and runs of the same name are replaced,
    once the new pack is whole. Raises RecordError for runs that are missing, damaged, of different
    studies, or made with other start weights or other items than those that are there.
    """
    names = list(runs)
    studies = {_study_of(name) for name in names}
    if len(studies) != 1:
        several = ", ".join(sorted(studies))
        raise RecordError(f"a pack holds the runs of one study, not of {several or 'none'}")
    (study,) = studies
    manifests = {name: source.manifest(name)["files"] for name in names}
    about = [{**source.study(name), "files": manifests[name]} for name in names]
    there = _Pack.read(target, study).without(names)
    for run in [*about, *there.about]:
        source.check_identity(names[0], run["identity"])
    recorded = set.intersection(*(set(files) for files in manifests.values()))
    stage = Study.build(about[0]["study"]).judged_stage
    tables = {
        name: _smaller(name, source.table(name, names), stage)
        for name in (*TABLES, *OBSERVED)
        if f"{name}.parquet" in recorded
    }
    key = str(about[0]["items"])
    RecordStore(target.url).write_items(key, source.items(key))
    if not target.exists(MARK):
        target.write(MARK, to_json({"format": FORMAT, "holds": "packs of records"}))
    there.join(about, tables).write(target, study)
    return study


@dataclass(frozen=True)
class _Pack:
    """What a pack holds: study.json of each run, and the joined tables as they are stored."""

    about: list[dict[str, Any]]
    tables: dict[str, pd.DataFrame]

    @classmethod
    def read(cls, files: Files, study: str) -> _Pack:
        """The pack of a study, or an empty one."""
        if not files.exists(f"{study}/manifest.json"):
            return cls([], {})
        manifest = read_manifest(files, study)
        blobs = {n.split(".")[0]: read_sealed(files, study, n, manifest) for n in manifest["files"]}
        about = json.loads(blobs.pop("runs"))
        return cls(about, {name: _from_parquet(data) for name, data in blobs.items()})

    def without(self, runs: list[str]) -> _Pack:
        return _Pack(
            [run for run in self.about if run["run"] not in runs],
            {name: table[~table["run"].isin(runs)] for name, table in self.tables.items()},
        )

    def join(self, about: list[dict[str, Any]], tables: dict[str, pd.DataFrame]) -> _Pack:
        """Both, in the order of seeds."""
        whole = sorted([*self.about, *about], key=lambda run: int(run["seed"]))
        order = {run["run"]: place for place, run in enumerate(whole)}
        joined = {}
        for name, table in tables.items():
            both = pd.concat([self.tables.get(name, table[:0]), table], ignore_index=True)
            joined[name] = both.iloc[both["run"].map(order).argsort(kind="stable")]
        return _Pack(whole, joined)

    def write(self, files: Files, study: str) -> None:
        """Seal it. Files are named after their content, so that the pack that is there stays whole
        until the new manifest takes its place."""
        parts = {f"{name}.parquet": _parquet(table) for name, table in self.tables.items()}
        parts["runs.json"] = to_json(self.about)
        blobs = {_named_after_content(name, data): data for name, data in parts.items()}
        runs = [run["run"] for run in self.about]
        write_sealed(files, study, blobs, {"study": study, "runs": runs})
        for name in files.names(study):
            if name not in {*blobs, "manifest.json"}:
                files.remove_file(f"{study}/{name}")


def _study_of(run: str) -> str:
    match = _RUN.fullmatch(run)
    if not match or not PLAIN_NAME.fullmatch(run):
        raise RecordError(f"{run!r} is no name of a run")
    return match["study"]


def _by_study(runs: Iterable[str]) -> dict[str, list[str]]:
    members: dict[str, list[str]] = {}
    for run in runs:
        members.setdefault(_study_of(run), []).append(run)
    return members


def _smaller(name: str, table: pd.DataFrame, stage: str) -> pd.DataFrame:
    if name == "predictions":
        return _smaller_predictions(table, stage)
    if name == "training":
        return table[(table["level"] == 0) & (table["branch"] == "main")]
    if name == "states":
        halves = [np.asarray(state, dtype=np.float16) for state in table["state"]]
        return table.assign(state=_objects(halves))
    return table


def _smaller_predictions(table: pd.DataFrame, stage: str) -> pd.DataFrame:
    """Answers as they are; for two classes one margin stands for two logits."""
    judged = (table["stage"] == stage) | (table["level"] == 0)
    kept = table[judged | (table["branch"] == "main")]
    logits = np.stack(kept["logits"].to_list())
    if logits.shape[1] > 2:
        raise RecordError("packs know decisions between two classes only")
    margin = logits[:, -1] - logits[:, 0] if logits.shape[1] == 2 else logits[:, 0]
    rounded = np.clip(np.rint(margin * HUNDREDTHS), _NO_LOGITS + 1, np.iinfo(np.int16).max)
    rounded[~judged[kept.index].to_numpy()] = _NO_LOGITS
    return kept.drop(columns="logits").assign(
        margin=rounded.astype(np.int16), logits=np.int8(logits.shape[1])
    )


def _named_after_content(name: str, data: bytes) -> str:
    stem, suffix = name.split(".")
    return f"{stem}.{sha256(data)[:8]}.{suffix}"


def _from_parquet(data: bytes) -> pd.DataFrame:
    frame = pd.read_parquet(io.BytesIO(data))
    return frame.astype({column: "str" for column in _WORDS if column in frame.columns})


def _parquet(frame: pd.DataFrame) -> bytes:
    """Words as dictionaries, whole numbers as small as they can be: equal frames, equal bytes."""
    narrow = frame.reset_index(drop=True)
    for column in narrow.columns:
        if column in _WORDS:
            narrow[column] = narrow[column].astype("category")
        elif pd.api.types.is_integer_dtype(narrow[column].dtype):
            narrow[column] = pd.to_numeric(narrow[column], downcast="integer")
    buffer = io.BytesIO()
    table = pa.Table.from_pandas(narrow, preserve_index=False)
    pq.write_table(table, buffer, compression="zstd", compression_level=19)
    return buffer.getvalue()


# -- reading ------------------------------------------------------------------------------------
class PackedStore(RecordStore):
    """Packs under one root, read as if each run lay there by itself. Nothing can be written."""

    def __repr__(self) -> str:
        return f"PackedStore({self.files.url!r})"

    def packed(self) -> dict[str, list[str]]:
        """The runs of each study that is packed here."""
        return {
            name: list(self._manifest(name)["runs"])
            for name in self.files.names()
            if name != "items" and self.files.exists(f"{name}/manifest.json")
        }

    def runs(self) -> list[str]:
        return sorted(run for runs in self.packed().values() for run in runs)

    def has(self, run: str) -> bool:
        study = _study_of(run)
        held = self.files.exists(f"{study}/manifest.json")
        return held and run in self._manifest(study)["runs"]

    def manifest(self, run: str) -> dict[str, Any]:
        if not self.has(run):
            raise RecordError(
                f"run {run} is not packed in {self.files.url}: run its study, then `lth pack`"
            )
        return self._manifest(_study_of(run))

    def _manifest(self, study: str) -> dict[str, Any]:
        return read_manifest(self.files, study)

    def blob(self, run: str, name: str) -> bytes:
        """One file of the pack that holds a run, whole and verified."""
        return self._file([run], name)

    def _file(self, runs: list[str], name: str) -> bytes:
        """One file of the pack that holds these runs of one study, read once for all of them."""
        manifest = self.manifest(runs[0])
        for run in set(runs).difference(manifest["runs"]):
            self.manifest(run)  # raises
        stem = name.split(".")[0]
        found = next((file for file in manifest["files"] if file.split(".")[0] == stem), name)
        return read_sealed(self.files, _study_of(runs[0]), found, manifest)

    def study(self, run: str) -> dict[str, Any]:
        return self.studies([run])[0]

    def studies(self, runs: Iterable[str]) -> list[dict[str, Any]]:
        wanted = list(runs)
        about = {
            entry["run"]: dict(entry)
            for members in _by_study(wanted).values()
            for entry in json.loads(self._file(members, "runs.json"))
        }
        return [about[run] for run in wanted]

    def _verify_files(self, run: str) -> str:
        for name in self.manifest(run)["files"]:
            self.blob(run, name)
        return str(self.study(run)["items"])

    def damaged(self, runs: Iterable[str]) -> dict[str, RecordError]:
        """As any store's; the files of a pack, which are those of all its runs, are read once."""
        packs = {members[0]: members for members in _by_study(runs).values()}
        lacking = [r for own in packs.values() for r in own[1:] if not self.has(r)]
        found = super().damaged([*packs, *lacking])
        for one, members in packs.items():
            if one in found:
                found.update(dict.fromkeys(members, found[one]))
        return found

    def table(self, name: str, runs: Iterable[str] | None = None) -> pd.DataFrame:
        if name not in (*TABLES, *OBSERVED):
            raise RecordError(f"no table {name!r}; a run has {', '.join((*TABLES, *OBSERVED))}")
        packs = self._packs(self.runs() if runs is None else runs)
        frames = [self._part(name, members) for members in packs]
        return pd.concat(frames, ignore_index=True)

    def answers(self, runs: Iterable[str]) -> pd.DataFrame:
        packs = self._packs(runs)
        blobs = [self._file(members, "predictions.parquet") for members in packs]
        frame = answers_from_parquet(blobs)
        wanted = [run for members in packs for run in members]
        held = frame["run"].isin(wanted)
        chosen = frame if held.all() else frame[held].reset_index(drop=True)
        return chosen.astype({"level": "int64"})

    def _packs(self, runs: Iterable[str]) -> list[list[str]]:
        """The wanted runs of each pack."""
        packs = list(_by_study(runs).values())
        if not packs:
            raise RecordError(f"no pack in {self.files.url}: run a study, then `lth pack`")
        return packs

    def _part(self, name: str, runs: list[str]) -> pd.DataFrame:
        frame = _from_parquet(self._file(runs, f"{name}.parquet"))
        return _wider(name, frame[frame["run"].isin(runs)].reset_index(drop=True))

    def writer(self, *_: Any, **__: Any) -> Any:
        raise RecordError(f"{self.files.url} holds packs, which are only read: name another store")


def _wider(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with the types and columns that a record's own table has."""
    if name == "predictions":
        frame = frame.assign(logits=_logits(frame)).drop(columns="margin")
    whole = [c for c in frame.columns if pd.api.types.is_integer_dtype(frame[c].dtype)]
    small = ("label", "prediction")
    return frame.astype({column: "int64" for column in whole if column not in small})


def _objects(values: list[Any]) -> pd.Series[Any]:
    """A column with an array in each cell."""
    return pd.Series(values, dtype=object)


def _logits(frame: pd.DataFrame) -> pd.Series[Any]:
    """Arrays [2] of -m/2, m/2 for a margin m, or [1] of a single logit; None where none is kept."""
    margin = frame["margin"].to_numpy()
    value = (margin / HUNDREDTHS).astype(np.float32)
    two = bool(len(frame)) and int(frame["logits"].iloc[0]) == 2
    rows = np.stack((-value / 2, value / 2), axis=1) if two else value[:, None]
    held = zip(rows, margin != _NO_LOGITS, strict=True)
    return _objects([row if is_held else None for row, is_held in held])


# -- opening ------------------------------------------------------------------------------------
def store_at(url: str | os.PathLike[str]) -> RecordStore:
    """The store at a folder or URL, be it of runs or of packs."""
    return PackedStore(url) if Files(url).exists(MARK) else RecordStore(url)


def named_store(url: str | os.PathLike[str]) -> RecordStore:
    """The store that a person names to read from. Raises RecordError where nothing is there."""
    store = store_at(url)
    if not store.files.exists(""):
        raise RecordError(f"{url} is not there: name a folder, or a URL, that holds records")
    return store


def check_target(store: RecordStore) -> None:
    """Refuse a store that no other process can add runs to. Raises RecordError."""
    url = store.files.url
    if store.files.of_one_process:
        raise RecordError(
            f"{url} lives in one process only: name a folder, or a URL that other processes can "
            "reach"
        )
    if store.files.exists(MARK):
        raise RecordError(f"{url} holds packs, which are only read: name another store")


def reference_store(url: str = "") -> RecordStore:
    """The records of the reference study: at `url`, where LTHLIB_REFERENCE says, or shipped."""
    own = url or os.environ.get("LTHLIB_REFERENCE", "")
    return named_store(own) if own else store_at(project_root() / "records" / "reference")


def other_packs() -> list[PackedStore]:
    """The packs beside the reference records that come with this project."""
    folders = sorted((project_root() / "records").glob(f"*/{MARK}"))
    return [PackedStore(path.parent) for path in folders if path.parent.name != "reference"]
