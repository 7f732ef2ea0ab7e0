"""Packs: all runs of one study in one folder, small enough to come with the repository.

    packs.json                     says that this folder holds packs
    items/<key>/                   the test items, as in any store
    <study>/runs.json              study.json of each run, and the SHA-256 of its full files
    <study>/levels.parquet ...     the tables of all its runs, joined
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
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lthlib.errors import RecordError
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
    to_json,
    write_sealed,
)

MARK = "packs.json"
HUNDREDTHS = 100
"""Logits are kept as whole hundredths."""
_NO_LOGITS = np.iinfo(np.int16).min
_RUN = re.compile(r"(?P<study>.+)-s(?P<seed>\d+)")
_WORDS = ("run", "branch", "stage", "item", "decision", "group", "site")


# -- writing ------------------------------------------------------------------------------------
def pack(runs: Iterable[str], source: RecordStore, target: Files) -> str:
    """Pack finished runs of one study; returns the study's name.

    A pack of the same study that is there is replaced, once the new one is whole.
    Raises RecordError for runs that are missing, damaged, or of different studies.
    """
    names = list(runs)
    studies = {_study_of(name) for name in names}
    if len(studies) != 1:
        raise RecordError(
            f"a pack holds the runs of one study, not of {', '.join(sorted(studies))}"
        )
    (study,) = studies
    manifests = {name: source.manifest(name)["files"] for name in names}
    about = [{**source.study(name), "files": manifests[name]} for name in names]
    for run in about[1:]:
        source.check_identity(run["run"], about[0]["identity"])
    (key,) = {str(run["items"]) for run in about}
    recorded = set.intersection(*(set(files) for files in manifests.values()))
    wanted = [name for name in (*TABLES, *OBSERVED) if f"{name}.parquet" in recorded]
    stage = "pruned" if about[0]["study"]["protocol"] == "as_published" else "trained"
    blobs = {"runs.json": to_json(about)}
    for name in wanted:
        table = source.table(name, names)
        blobs[f"{name}.parquet"] = _parquet(_smaller(name, table, stage))
    RecordStore(target.url).write_items(key, source.items(key))
    if not target.exists(MARK):
        target.write(MARK, to_json({"format": FORMAT, "holds": "packs of records"}))
    write_sealed(target, study, blobs, {"study": study, "runs": names})
    return study


def _study_of(run: str) -> str:
    match = _RUN.fullmatch(run)
    if not match or not PLAIN_NAME.fullmatch(run):
        raise RecordError(f"{run!r} is no name of a run")
    return match["study"]


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

    def studies(self) -> list[str]:
        """Names of the studies that are packed here."""
        return [
            name
            for name in self.files.names()
            if name != "items" and self.files.exists(f"{name}/manifest.json")
        ]

    def runs(self) -> list[str]:
        return sorted(run for study in self.studies() for run in self._manifest(study)["runs"])

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
        return read_sealed(self.files, _study_of(run), name, self.manifest(run))

    def study(self, run: str) -> dict[str, Any]:
        about = json.loads(self.blob(run, "runs.json"))
        return next(dict(entry) for entry in about if entry["run"] == run)

    def verify(self, run: str) -> None:
        for name in self.manifest(run)["files"]:
            self.blob(run, name)

    def table(self, name: str, runs: Iterable[str] | None = None) -> pd.DataFrame:
        if name not in (*TABLES, *OBSERVED):
            raise RecordError(f"no table {name!r}; a run has {', '.join((*TABLES, *OBSERVED))}")
        wanted = self.runs() if runs is None else list(runs)
        packs: dict[str, list[str]] = {}
        for run in wanted:
            packs.setdefault(_study_of(run), []).append(run)
        frames = [self._part(name, members) for members in packs.values()]
        if not frames:
            raise RecordError(f"no pack in {self.files.url}: run a study, then `lth pack`")
        return pd.concat(frames, ignore_index=True)

    def _part(self, name: str, runs: list[str]) -> pd.DataFrame:
        data = self.blob(runs[0], f"{name}.parquet")
        for run in runs[1:]:
            self.manifest(run)
        frame = pd.read_parquet(io.BytesIO(data), filters=[("run", "in", runs)])
        return _wider(name, frame)

    def writer(self, *_: Any, **__: Any) -> Any:
        raise RecordError(f"{self.files.url} holds packs, which are only read: name another store")


def _wider(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with the types and columns that a record's own table has."""
    if name == "predictions":
        frame = frame.assign(logits=_logits(frame)).drop(columns="margin")
    wide = frame.astype({column: "str" for column in _WORDS if column in frame.columns})
    whole = [c for c in wide.columns if pd.api.types.is_integer_dtype(wide[c].dtype)]
    small = ("label", "prediction")
    return wide.astype({column: "int64" for column in whole if column not in small})


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


def reference_store(url: str = "") -> RecordStore:
    """The records of the reference study: at `url`, where LTHLIB_REFERENCE says, or shipped."""
    own = url or os.environ.get("LTHLIB_REFERENCE", "")
    return store_at(own or project_root() / "records" / "reference")
