"""The state of the records: what each run was made with, how old it is, and whether it is repeated.

A record never changes, but what it was made with may: other packages are installed, or other start
weights ship. The tables here say so, and compare local runs with shipped ones item by item.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd

import lthlib
from lthlib.errors import RecordError
from lthlib.packs import PackedStore
from lthlib.records import LAB_FORMAT, RecordStore
from lthlib.study import Study

Stores = Mapping[str, RecordStore]
KEY = ["level", "branch", "stage", "item", "decision"]


def studies(stores: Stores) -> pd.DataFrame:
    """One row per study and store: its seeds, and every setting that differs from the default."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for where, name, about in _runs(stores):
        study = name.removesuffix(f"-s{about['seed']}")
        settings = _settings(about["study"])
        row = rows.setdefault(
            (where, study),
            {"study": study, "records": where, "seeds": "", "minutes": 0.0, "settings": settings},
        )
        row["seeds"] = f"{row['seeds']}, {about['seed']}".removeprefix(", ")
        row["minutes"] += _minutes(about)
    table = pd.DataFrame(list(rows.values()))
    return table.assign(minutes=table["minutes"].map("{:.0f}".format))


def runs(stores: Stores) -> pd.DataFrame:
    """One row per run: when, how long, on what, with which versions, and what has changed since.

    Raises RecordError that names the first damaged file of any run.
    """
    rows = []
    for where, name, about in _runs(stores):
        stores[where].verify(name)
        rows.append(
            {
                "run": name,
                "made": _time(about["finished"]),
                "minutes": f"{_minutes(about):.1f}",
                "files": "whole",
                "since then": _changes(about),
                "records": where,
                "hardware": _hardware(about["hardware"]),
                "commit": _commit(about),
                "versions": _versions(about),
            }
        )
    return pd.DataFrame(rows)


def packs(stores: Mapping[str, PackedStore]) -> pd.DataFrame:
    """The same of packed runs, one row per study: what its runs share stands once.

    Each pack is verified once. Raises RecordError that names the first damaged file.
    """
    rows = []
    for where, store in stores.items():
        for study, held in store.packed().items():
            store.verify(held[0])  # the files of a pack are those of all its runs
            about = sorted((store.study(run) for run in held), key=lambda run: run["seed"])
            made = sorted(run["finished"] for run in about)
            rows.append(
                {
                    "study": study,
                    "seeds": ", ".join(str(run["seed"]) for run in about),
                    "made": " to ".join(dict.fromkeys(_time(t) for t in (made[0], made[-1]))),
                    "files": "whole",
                    "since then": _each(_changes(run) for run in about),
                    "records": where,
                    "hardware": _each(_hardware(run["hardware"]) for run in about),
                    "commit": _each(_commit(run) for run in about),
                    "versions": _each(_versions(run) for run in about),
                }
            )
    if not rows:
        raise RecordError("no pack holds a finished run: name a store of packs")
    return pd.DataFrame(rows)


def bytes_a_run(store: PackedStore) -> float:
    """Size of all files of a store of packs over the number of runs that it holds."""
    files = store.files
    return float(files.fs.du(files.root) / len(store.runs()))


def _each(texts: Iterable[str]) -> str:
    """The different ones, in their order."""
    return "; or ".join(dict.fromkeys(texts))


def _time(stamp: str) -> str:
    return stamp[:16].replace("T", " ")


def _commit(about: Mapping[str, Any]) -> str:
    return about["commit"][:10] + about["commit"][40:] or "not known"


def _versions(about: Mapping[str, Any]) -> str:
    return ", ".join(f"{package} {number}" for package, number in about["versions"].items())


def repeated(local: RecordStore, shipped: RecordStore) -> pd.DataFrame | None:
    """Runs that both stores hold: how many of their answers are the same; None without any."""
    both = [name for name in local.runs() if shipped.has(name)]
    if not both:
        return None
    rows = []
    for name in both:
        ours, theirs = (_answers(store, name) for store in (local, shipped))
        if not ours.index.equals(theirs.index):
            raise RecordError(
                f"run {name} has other levels or items in {local.files.url} than in "
                f"{shipped.files.url}: delete one of them"
            )
        same = (ours == theirs).groupby("level").mean()
        rows.append(
            {
                "run": name,
                "answers": f"{len(ours):,}",
                "same": _share(float((ours == theirs).mean())),
                "same, level by level": ", ".join(_share(share) for share in same),
            }
        )
    return pd.DataFrame(rows)


def _runs(stores: Stores) -> list[tuple[str, str, dict[str, Any]]]:
    found = [
        (where, name, store.study(name)) for where, store in stores.items() for name in store.runs()
    ]
    if not found:
        raise RecordError("no store holds a finished run: run `make report` first")
    return found


def _answers(store: RecordStore, run: str) -> pd.Series[int]:
    frame = store.table("predictions", [run])
    return frame.set_index(KEY)["prediction"].sort_index()


def _settings(settings: Mapping[str, Any]) -> str:
    """The settings that are not their default."""
    default = Study.build().settings()
    named = [f"{k} {_plain(v)}" for k, v in settings.items() if v != default.get(k)]
    return ", ".join(named) or "none"


def _plain(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(str(part) for part in value)}]"
    return str(value)


def _minutes(about: Mapping[str, Any]) -> float:
    """What the run took: a run that was interrupted began long before it ended."""
    if "seconds" in about:  # older records lack it
        return float(about["seconds"]) / 60
    began, ended = (datetime.datetime.fromisoformat(about[k]) for k in ("started", "finished"))
    return (ended - began).total_seconds() / 60


def _hardware(hardware: Mapping[str, Any]) -> str:
    device = hardware["device"]
    where = hardware["processor"] if device == "cpu" else f"{device}, {hardware['processor']}"
    return f"{where}, {hardware['cores']} cores"


def _changes(about: Mapping[str, Any]) -> str:
    changes = []
    for package, then in about["versions"].items():
        now = _installed(package)
        if now not in {then, ""}:
            changes.append(f"{package} {then} is now {now}")
    identity = about["identity"]
    if identity.get("lab") != LAB_FORMAT:
        changes.append("the lab now computes other numbers from the same study")
    start = identity["start weights"]
    own = about["study"].get("checkpoint") is not None
    if start != "random" and not own and start not in _shipped_starts():
        changes.append("its start weights are no longer those that ship")
    return "; ".join(changes) or "nothing has changed"


def _installed(package: str) -> str:
    """The installed version; "" where it is none to compare, such as Python's own."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _shipped_starts() -> set[str]:
    folder = Path(lthlib.__path__[0]) / "lab" / "models" / "weights"
    return {json.loads(path.read_text())["sha256"] for path in folder.glob("*.json")}


def _share(share: float) -> str:
    return "100 %" if share == 1 else f"{100 * share:.2f} %"
