"""Records: the only door between the lab, which writes them, and the report, which reads them.

One run (one study at one seed) is one folder of plain files that other programs can read too:

    study.json            resolved parameters, versions, hardware, wall time
    levels.parquet        exact counts, losses and timing, a row per (level, branch, stage)
    predictions.parquet   every prediction on every test item, a row per decision
    training.parquet      how often each training item was learned and forgotten
    curves.parquet        losses per epoch
    tickets.safetensors   bit-packed masks
    manifest.json         size and SHA-256 of each of these, written last

A run without a manifest is not finished. While it grows, each finished level lies in
`parts/level-NNN` with a manifest of its own, so that a killed run goes on where it stopped and a
finished level is never computed again. Files are written beside their place and moved into it;
nothing is ever appended to or changed. A store is a local folder or any fsspec URL.
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd
from filelock import BaseFileLock, FileLock, Timeout
from fsspec.implementations.memory import MemoryFileSystem

from lthlib.errors import RecordError, UnusableRecordError, reason
from lthlib.parquet import answers_from_parquet, from_parquet

FORMAT = 1
LAB_FORMAT = 1
"""Raised when the lab would compute other numbers from the same study."""
IDENTITY = ("lab", "start weights", "task data")
"""What a finished run must share with the present code to count as the same run."""
TABLES = ("levels", "predictions", "training", "curves")
OBSERVED = ("weights", "states", "barriers")
"""Tables that only studies with such an observation have."""
PROBE_BYTES = 2**20
"""Written to a store before a run, to see whether there is any room."""
READERS = 4
"""Runs whose files are checked at the same time."""
Blobs = Mapping[str, bytes]


PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}")
"""How :func:`write_atomically` names a file that is not yet in its place."""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def file_sha256(path: Path) -> str:
    """The same for a file of any size, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def to_json(data: Any) -> bytes:
    return (json.dumps(data, indent=1, sort_keys=True) + "\n").encode()


def to_parquet(frame: pd.DataFrame) -> bytes:
    """The frame as Parquet; equal frames give equal bytes."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer, engine="pyarrow", index=False, compression="zstd")
    return buffer.getvalue()


class Files:
    """Whole files under one root, local or remote: read, write atomically, list, remove."""

    def __init__(self, url: str | os.PathLike[str]) -> None:
        self.url = os.fspath(url)
        try:
            self.fs, root = fsspec.core.url_to_fs(self.url)
        except (ValueError, ImportError) as error:
            raise RecordError(f"store {self.url!r} cannot be opened: {error}") from None
        self.root = str(root).rstrip("/")
        self.local = "file" in (
            self.fs.protocol if isinstance(self.fs.protocol, tuple) else (self.fs.protocol,)
        )
        root_, above = Path(self.root), Path(self.root).parents
        if self.local and any(path.is_file() for path in (root_, *above)):
            raise RecordError(
                f"{self.url} is no folder: name one, which need not exist yet, or a URL"
            )

    def path(self, name: str) -> str:
        return f"{self.root}/{name}" if name else self.root

    def exists(self, name: str) -> bool:
        return bool(self.fs.exists(self.path(name)))

    def names(self, folder: str = "") -> list[str]:
        """Sorted names directly under a folder; an absent folder holds none."""
        try:
            found = self.fs.ls(self.path(folder), detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise RecordError(f"{self.path(folder)} cannot be read: {reason(error)}") from None
        return sorted(str(path).rstrip("/").rsplit("/", 1)[-1] for path in found)

    def read(self, name: str) -> bytes:
        try:
            return bytes(self.fs.cat_file(self.path(name)))
        except FileNotFoundError:
            raise RecordError(f"{self.path(name)} is missing") from None
        except OSError as error:
            raise RecordError(f"{self.path(name)} cannot be read: {reason(error)}") from None

    def write(self, name: str, data: bytes) -> None:
        """All of the file or none of it, also when the machine stops halfway."""
        try:
            self._put(name, data)
        except OSError as error:
            raise RecordError(
                f"{self.path(name)} cannot be written: {reason(error)}; nothing of it was kept, "
                "and what was finished before stands: free the cause and run again"
            ) from None

    def _put(self, name: str, data: bytes) -> None:
        path = self.path(name)
        if self.local:
            write_atomically(Path(path), data)
        else:
            # Object stores show an object only once it is whole.
            self.fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            self.fs.pipe_file(path, data)

    def check_writable(self) -> None:
        """Write a file and remove it: what cannot be kept need not be computed. RecordError."""
        probe = f"locks/probe-{secrets.token_hex(8)}"
        try:
            self._put(probe, bytes(PROBE_BYTES))
            self.remove_file(probe)
        except (OSError, NotImplementedError) as error:
            why = reason(error) if isinstance(error, OSError) else "it can only be read"
            raise RecordError(
                f"{self.url} cannot be written: {why}; nothing was begun: name another store, or "
                "free the cause"
            ) from None

    @property
    def of_one_process(self) -> bool:
        """Is all that is written here seen by this process only?"""
        fs = self.fs
        while (below := getattr(fs, "fs", None)) is not None:  # a cache, or a folder of another
            fs = below
        return isinstance(fs, MemoryFileSystem)

    def remove_file(self, name: str) -> None:
        self.fs.rm_file(self.path(name))

    def remove(self, name: str) -> None:
        """Remove a folder and all in it. (`fs.rm` would read brackets in a path as a pattern.)"""
        if self.local:
            shutil.rmtree(self.path(name), ignore_errors=True)
            return
        for path in self.fs.find(self.path(name)):
            self.fs.rm_file(path)

    def sweep(self, folder: str) -> None:
        """Remove what killed writers left half-written in a folder that nobody needs to write."""
        if self.local:
            for path in Path(self.path(folder)).glob(".*"):
                if TEMPORARY.fullmatch(path.name):
                    path.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes) -> None:
    """A local file, all of it or none of it. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    # As any new file: for everyone whom the folder and the umask admit. (mkstemp's are private.)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


# -- manifests ----------------------------------------------------------------------------------
def write_sealed(files: Files, folder: str, blobs: Blobs, about: Mapping[str, Any]) -> None:
    """Write the files of a folder, then the manifest that makes them count."""
    for name, data in blobs.items():
        files.write(f"{folder}/{name}", data)
    listing = {name: {"bytes": len(data), "sha256": sha256(data)} for name, data in blobs.items()}
    manifest = {"format": FORMAT, **about, "files": listing}
    files.write(f"{folder}/manifest.json", to_json(manifest))


def read_manifest(files: Files, folder: str) -> dict[str, Any]:
    where = files.path(f"{folder}/manifest.json")
    try:
        manifest = json.loads(files.read(f"{folder}/manifest.json"))
        found, listing = manifest["format"], manifest["files"]
        whole = all({"bytes", "sha256"} <= entry.keys() for entry in listing.values())
        # A name is a plain file of this folder: a manifest from elsewhere must not point outside.
        whole = whole and all(PLAIN_NAME.fullmatch(name) for name in listing)
    except (ValueError, KeyError, TypeError, AttributeError):
        whole, found = False, FORMAT
    if found != FORMAT:
        raise UnusableRecordError(
            f"{where} has record format {found!r}, and this version reads {FORMAT}: "
            f"{remedy(files, folder)}"
        )
    if not whole:
        raise UnusableRecordError(f"{where} is damaged: {remedy(files, folder)}")
    return dict(manifest)


def read_sealed(files: Files, folder: str, name: str, manifest: Mapping[str, Any]) -> bytes:
    """One file of a sealed folder, checked against its manifest."""
    where = files.path(f"{folder}/{name}")
    if name not in manifest["files"]:
        raise RecordError(f"{where} is not in its manifest: this run did not record it")
    expected = manifest["files"][name]
    data = files.read(f"{folder}/{name}")
    if len(data) != expected["bytes"]:
        what = f"{len(data):,} bytes where {expected['bytes']:,} were written"
        if sha256(data.replace(b"\r\n", b"\n")) == expected["sha256"]:
            what = "its line ends were changed, as by git with core.autocrlf"
        raise UnusableRecordError(f"{where} is damaged: {what}: {remedy(files, folder)}")
    if sha256(data) != expected["sha256"]:
        raise UnusableRecordError(
            f"{where} is damaged: its SHA-256 differs from the manifest's: {remedy(files, folder)}"
        )
    return data


def remedy(files: Files, folder: str) -> str:
    """What to do about a folder of records that is of no use as it is.

    Records that come with the repository are restored from it; others took as long to make as they
    will take again, and a person decides about that, so that nothing is deleted in passing.
    """
    store, path = Path(files.root), files.path(folder)
    if files.local and store.name != "local":
        with contextlib.suppress(RecordError):
            if store.parent == project_root(store) / "records":
                return f"it comes with the repository: restore it by `git checkout -- '{path}'`"
    if folder.startswith("items/"):
        return f"move {path} away, or delete it: the next run of its task writes it again"
    return (
        f"move {path} away, or delete it, and run its study again, which takes as long as it took"
    )


# -- store --------------------------------------------------------------------------------------
class RecordStore:
    """Finished runs under one root: find, read, verify; and :meth:`writer` for new ones."""

    def __init__(self, url: str | os.PathLike[str]) -> None:
        self.files = Files(url)

    def __repr__(self) -> str:
        return f"RecordStore({self.files.url!r})"

    def runs(self) -> list[str]:
        """Names of all finished runs."""
        return [name for name in self.files.names() if self.has(name)]

    def has(self, run: str) -> bool:
        """Is the run finished?"""
        return self.files.exists(f"{run}/manifest.json")

    def levels_done(self, run: str) -> int:
        """Levels of an unfinished run that need not be computed again."""
        return len(_finished_levels(self.files, run))

    def manifest(self, run: str) -> dict[str, Any]:
        if not self.has(run):
            raise RecordError(
                f"run {run} is not in {self.files.url}, or not finished: run its study first"
            )
        return read_manifest(self.files, run)

    def blob(self, run: str, name: str) -> bytes:
        """One file of a finished run, whole and verified."""
        return read_sealed(self.files, run, name, self.manifest(run))

    def study(self, run: str) -> dict[str, Any]:
        """study.json of a run."""
        return dict(json.loads(self.blob(run, "study.json")))

    def verify(self, run: str) -> None:
        """Read every file of a run, and of the items that it tested.

        Raises RecordError that names the first damaged one.
        """
        self._items_blob(self._verify_files(run))

    def _verify_files(self, run: str) -> str:
        """Read every file of a run; returns the key of its items."""
        manifest = self.manifest(run)
        for name in manifest["files"]:
            read_sealed(self.files, run, name, manifest)
        return str(json.loads(read_sealed(self.files, run, "study.json", manifest))["items"])

    def damaged(self, runs: Iterable[str]) -> dict[str, RecordError]:
        """Those of the runs that :meth:`verify` refuses, each with its first fault.

        Several are read at a time: a disk, and far more a URL, is waited for, and hashing frees
        the interpreter.
        """
        names = list(runs)
        # Many runs test the same items: these are read once, and not kept.
        check_items = cache(lambda key: len(self._items_blob(key)))
        with ThreadPoolExecutor(READERS) as pool:
            faults = list(pool.map(partial(self._fault, check_items=check_items), names))
        return {n: fault for n, fault in zip(names, faults, strict=True) if fault is not None}

    def _fault(self, run: str, check_items: Callable[[str], object]) -> RecordError | None:
        try:
            check_items(self._verify_files(run))
        except RecordError as error:
            return error
        return None

    def table(self, name: str, runs: Iterable[str] | None = None) -> pd.DataFrame:
        """One table (TABLES, OBSERVED) of the named runs, or of all."""
        if name not in (*TABLES, *OBSERVED):
            raise RecordError(f"no table {name!r}; a run has {', '.join((*TABLES, *OBSERVED))}")
        return from_parquet(self._blobs(f"{name}.parquet", self.runs() if runs is None else runs))

    def answers(self, runs: Iterable[str]) -> pd.DataFrame:
        """The columns :data:`lthlib.parquet.ANSWERS` of predictions, with words as categories.

        As much as measures ask of predictions, for a fraction of the time and memory.
        """
        return answers_from_parquet(self._blobs("predictions.parquet", runs))

    def _blobs(self, name: str, runs: Iterable[str]) -> list[bytes]:
        blobs = [self.blob(run, name) for run in runs]
        if not blobs:
            raise RecordError(f"no finished run in {self.files.url}: run a study first")
        return blobs

    def studies(self, runs: Iterable[str]) -> list[dict[str, Any]]:
        """study.json of several runs."""
        return [self.study(run) for run in runs]

    def check_identity(self, run: str, identity: Mapping[str, Any]) -> None:
        """Refuse a finished run that the present code, weights or data would not make again."""
        self.compare_identity(self.study(run), identity)

    def compare_identity(self, about: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
        """The same for study.json of a run, where it has been read."""
        run, made = about["run"], dict(about.get("identity", {}))
        changed = [k for k in IDENTITY if k in identity and made.get(k) != identity[k]]
        if changed:
            raise UnusableRecordError(
                f"run {run} was made with another {', '.join(changed)}: its numbers do not belong "
                f"to this version; {remedy(self.files, run)}"
            )

    def check_begun(self, run: str, identity: Mapping[str, Any]) -> None:
        """The same for a run that was begun and is not finished, as far as `identity` goes."""
        try:
            begun = self.files.read(_begun(run))
        except RecordError:
            return  # not begun, or finished in this moment
        if changed := _changed(begun, identity, identity):
            raise _begun_otherwise(self.files, run, changed)

    def tidy(self, run: str) -> None:
        """Remove what a process killed between sealing a run and cleaning up left behind."""
        if self.files.exists(f"{run}/parts") and self.has(run):
            self.files.remove(f"{run}/parts")

    def release(self, run: str, processes: Iterable[int]) -> None:
        """Free a run that processes of this machine claimed at a URL, and that were then killed.

        A local store needs none of this: the system frees the locks of the dead.
        """
        claim = f"locks/{run}.json"
        if self.files.local or not self.files.exists(claim):
            return
        held = self.files.read(claim)
        owner = json.loads(held)
        if owner["host"] == socket.gethostname() and owner["process"] in processes:
            remove_claim(self.files, run, held)

    def copy(self, run: str, target: RecordStore) -> None:
        """Copy a finished run, verified, and the items it tested; a run that is there stays."""
        manifest = self.manifest(run)
        blobs = {name: self.blob(run, name) for name in manifest["files"]}
        key = str(json.loads(blobs["study.json"])["items"])
        for name in (run, key):
            if not PLAIN_NAME.fullmatch(name):
                raise RecordError(f"{name!r} in {self.files.url} is no name of a run or of items")
        target.write_items(key, self.items(key))
        if not target.has(run):
            write_sealed(target.files, run, blobs, {"run": run})

    # Items: what the test items of a task are (text, relation, ...), once for all its runs.
    def write_items(self, key: str, items: pd.DataFrame) -> None:
        folder, data = f"items/{key}", to_parquet(items)
        if not self.files.exists(f"{folder}/manifest.json"):
            try:
                write_sealed(self.files, folder, {"items.parquet": data}, {"items": key})
            except RecordError:
                # Another run may have written the same items, and swept, at the same time.
                if not self.files.exists(f"{folder}/manifest.json"):
                    raise
        self.files.sweep(folder)

    def items(self, key: str) -> pd.DataFrame:
        return pd.read_parquet(io.BytesIO(self._items_blob(key)))

    def _items_blob(self, key: str) -> bytes:
        manifest = read_manifest(self.files, f"items/{key}")
        return read_sealed(self.files, f"items/{key}", "items.parquet", manifest)

    @contextlib.contextmanager
    def writer(
        self, run: str, identity: Mapping[str, Any], wait: float = -1
    ) -> Iterator[RunWriter]:
        """The one process that may write this run.

        identity: what the run depends on beside its name (start weights, task data, code format);
            an unfinished run that was begun with another identity is refused.
        wait: seconds to wait for another local process that writes it; -1 waits for ever.
        """
        with _claim(self.files, run, wait):
            yield RunWriter(self.files, run, identity)


class RunWriter:
    """Writes one run, level by level."""

    def __init__(self, files: Files, run: str, identity: Mapping[str, Any]) -> None:
        self.files, self.run = files, run
        files.sweep(run)
        self.finished = files.exists(f"{run}/manifest.json")
        if self.finished:
            # A process killed after sealing and before cleaning leaves its parts behind.
            files.remove(f"{run}/parts")
            return
        begun, begin = _begun(run), to_json(dict(identity))
        if not files.exists(begun):
            files.write(begun, begin)
        elif (found := files.read(begun)) != begin:
            raise _begun_otherwise(files, run, _changed(found, identity))

    def levels(self) -> list[int]:
        """Levels that are finished, in order and without gaps."""
        return _finished_levels(self.files, self.run)

    def read_level(self, level: int, name: str) -> bytes:
        """One verified file of a finished level."""
        folder = _part(self.run, level)
        return read_sealed(self.files, folder, name, read_manifest(self.files, folder))

    def write_level(self, level: int, tables: Mapping[str, pd.DataFrame], blobs: Blobs) -> None:
        """Seal one level: its tables, and whatever the next level needs."""
        data = {f"{name}.parquet": to_parquet(frame) for name, frame in tables.items()}
        write_sealed(self.files, _part(self.run, level), {**data, **blobs}, {"level": level})

    def finish(self, study: Mapping[str, Any], tickets: bytes) -> None:
        """Join the levels into the run's own files, seal them, and drop the parts."""
        blobs = {"study.json": to_json(study), "tickets.safetensors": tickets}
        observed = set(read_manifest(self.files, _part(self.run, 0))["files"])
        for name in (*TABLES, *(t for t in OBSERVED if f"{t}.parquet" in observed)):
            parts = [self.read_level(level, f"{name}.parquet") for level in self.levels()]
            frames = [pd.read_parquet(io.BytesIO(part)) for part in parts]
            joined = pd.concat([f for f in frames if len(f)] or frames[:1], ignore_index=True)
            blobs[f"{name}.parquet"] = to_parquet(joined)
        write_sealed(self.files, self.run, blobs, {"run": self.run})
        self.files.remove(f"{self.run}/parts")
        self.finished = True


def _begun(run: str) -> str:
    """The file that says with what identity a run was begun."""
    return f"{run}/parts/identity.json"


def _changed(begun: bytes, identity: Mapping[str, Any], among: Iterable[str] | None = None) -> str:
    """What differs between the identity that a run was begun with and today's, of these keys."""
    try:
        old = dict(json.loads(begun))
    except (ValueError, TypeError):
        return "identity (its identity.json is damaged)"
    keys = {*old, *identity} if among is None else among
    return ", ".join(sorted(k for k in keys if old.get(k) != identity.get(k)))


def _begun_otherwise(files: Files, run: str, changed: str) -> UnusableRecordError:
    return UnusableRecordError(
        f"run {run} was begun with another {changed}: going on would mix two runs; use another "
        f"store, or {remedy(files, run)}"
    )


def _part(run: str, level: int) -> str:
    return f"{run}/parts/level-{level:03d}"


def _finished_levels(files: Files, run: str) -> list[int]:
    done: list[int] = []
    while files.exists(f"{_part(run, len(done))}/manifest.json"):
        done.append(len(done))
    return done


@contextlib.contextmanager
def _claim(files: Files, run: str, wait: float) -> Iterator[None]:
    """Hold a run against other processes.

    On a local disk this is a lock that the system frees when its holder dies. Elsewhere it is a
    file that only one process can create, and a person frees it after a crash.
    """
    if files.local:
        lock = _lock(Path(files.path(f"locks/{run}.lock")), run, wait)
        try:
            yield
        finally:
            lock.release()
        return
    path_ = files.path(f"locks/{run}.json")
    # The token tells this claim from a later one of the same process.
    owner = {
        "host": socket.gethostname(), "process": os.getpid(), "user": getpass.getuser(),
        "token": secrets.token_hex(8),
    }  # fmt: skip
    claim = to_json(owner)
    files.fs.makedirs(files.path("locks"), exist_ok=True)
    try:
        with files.fs.open(path_, "xb") as file:
            file.write(claim)
    except FileExistsError:
        raise RecordError(
            f"run {run} is claimed by {json.loads(files.read(f'locks/{run}.json'))}: "
            f"if that process is gone, delete {path_}"
        ) from None
    try:
        yield
    finally:
        remove_claim(files, run, claim)


def remove_claim(files: Files, run: str, claim: bytes) -> None:
    """Remove this claim of a run at a URL, and no other that has taken its place."""
    name = f"locks/{run}.json"
    with contextlib.suppress(FileNotFoundError):
        if files.fs.exists(files.path(name)) and files.read(name) == claim:
            files.remove_file(name)


def _lock(path: Path, run: str, wait: float) -> BaseFileLock:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, timeout=wait)
        lock.acquire()
    except Timeout:
        raise RecordError(f"run {run} is being written by another process") from None
    except OSError as error:
        raise RecordError(f"{path} cannot be written: {reason(error)}") from None
    return lock


def open_store(url: str | os.PathLike[str] | None = None) -> RecordStore:
    """A store by folder or URL; None is the project's own `records/local`."""
    return RecordStore(url if url is not None else project_root() / "records" / "local")


def shipped_store() -> RecordStore:
    """The records that come with the repository."""
    return RecordStore(project_root() / "records" / "shipped")


def project_root(start: Path | None = None) -> Path:
    """The folder with `_config.yml` and `notebooks`, above the current one or above this file."""
    here = (start or Path.cwd()).resolve()
    for folder in [here, *here.parents, *Path(__file__).resolve().parents]:
        if (folder / "_config.yml").is_file() and (folder / "notebooks").is_dir():
            return folder
    raise RecordError(f"{here} is not inside the project: change to its folder, or name a store")


def common_runs(stores: Sequence[RecordStore], runs: Iterable[str]) -> RecordStore:
    """The first store that holds all of these runs finished."""
    wanted = list(runs)
    for store in stores:
        if all(store.has(run) for run in wanted):
            return store
    missing = [run for run in wanted if not stores[0].has(run)]
    raise RecordError(
        f"run {missing[0]} is finished in none of {', '.join(s.files.url for s in stores)}: "
        "run its study first (`make report`, or papermill with notebooks/prune.ipynb)"
    )
