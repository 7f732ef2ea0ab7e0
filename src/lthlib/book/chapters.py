"""Chapters: which notebook with which parameters makes which, and is it fresh?

`book/chapters.toml` declares them. A chapter is an executed notebook in `book/chapters`, and it
carries a key: the SHA-256 of all that its numbers come from, which is the cells of its notebook,
its parameters, the manifests of the records that it reads, the code that reads them, and the
versions of the packages that compute. A chapter whose key is not today's is executed again, so a
number can never be older than what it was computed from. Records are verified on the way: a
damaged one stops the build with its name.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import platform
import re
import tomllib
from collections.abc import Callable, Mapping
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, fields
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, get_args

import lthlib
from lthlib.book.execution import NotebookError, execute, read_pair
from lthlib.book.sources import code_of, files_of
from lthlib.errors import LthError, unknown
from lthlib.machine import end_workers, uninterrupted, worker_pool
from lthlib.packs import PackedStore, named_store, store_at
from lthlib.records import Files, RecordStore, common_runs, to_json
from lthlib.study import DEFAULT_PRESET, studies_from_parameters

Reads = Literal["study", "reference", "all", "none"]

WORKERS = 2  # chapters executed at once; each is a process and its kernel

# Versions of these can change a number or the look of a figure, or are told on a page.
PACKAGES = (
    "lthlib", "numpy", "pandas", "pyarrow", "scipy", "pingouin", "matplotlib", "seaborn",
    "torch", "transformers", "safetensors", "scikit-learn",
)  # fmt: skip


@dataclass(frozen=True)
class Chapter:
    """One chapter of the book.

    name: page name; the executed notebook is `book/chapters/<name>.ipynb`.
    notebook: name of the notebook in `notebooks`.
    parameters: what papermill passes to it.
    title: the page's heading; "" keeps the notebook's own.
    reads: "study": the runs of the studies that its parameters describe, from the first store that
        holds all of them; "reference": the records of the reference study; "all": every run of
        every store; "none".
    store: a store of the chapter's own, of which it reads every run, in place of `reads`.
    inputs: further files it depends on, as patterns below the project's folder.
    """

    name: str
    notebook: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    title: str = ""
    reads: Reads = "none"
    store: str = ""
    inputs: tuple[str, ...] = ()


_ENTRIES = tuple(f.name for f in fields(Chapter) if f.name != "name")


@dataclass(frozen=True)
class Book:
    """The chapters of the project in folder `root`, and the stores that they read, in order."""

    root: Path
    preset: str
    stores: tuple[str, ...]
    chapters: tuple[Chapter, ...]
    reference: str = "records/reference"

    @property
    def folder(self) -> Path:
        return self.root / "book" / "chapters"

    def path(self, chapter: Chapter) -> Path:
        return self.folder / f"{chapter.name}.ipynb"

    def store(self, name: str) -> RecordStore:
        """A store by URL, or by folder below the project's."""
        return store_at(self.url(name))

    def url(self, name: str) -> str | Path:
        return name if "://" in name else self.root / name


def read_book(root: Path) -> Book:
    """The declaration in `book/chapters.toml`.

    Three variables overrule it where they are set: LTHLIB_PRESET its preset, LTHLIB_STORE its first
    store, LTHLIB_REFERENCE the store of the reference study.

    Raises NotebookError for a file that is missing, no TOML, or says something unknown, RecordError
    for a variable that names a store which is not there.
    """
    path = root / "book" / "chapters.toml"
    try:
        declared = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise NotebookError(f"{path} cannot be read: {error}") from None
    chapters = []
    for name, entry in declared.get("chapters", {}).items():
        _check_entry(f"{path}, chapter {name}", entry)
        chapters.append(Chapter(name, **{**entry, "inputs": tuple(entry.get("inputs", ()))}))
    preset = os.environ.get("LTHLIB_PRESET") or declared.get("preset", DEFAULT_PRESET)
    stores = list(declared.get("stores", ("records/local", "records/shipped")))
    stores[0] = os.environ.get("LTHLIB_STORE") or stores[0]
    reference = os.environ.get("LTHLIB_REFERENCE") or declared.get("reference", Book.reference)
    book = Book(root, preset, tuple(stores), tuple(chapters), reference)
    for own in filter(None, map(os.environ.get, ("LTHLIB_STORE", "LTHLIB_REFERENCE"))):
        named_store(book.url(own))
    return book


def _check_entry(where: str, entry: Mapping[str, Any]) -> None:
    for key in entry:
        if key not in _ENTRIES:
            raise NotebookError(f"{where}: {unknown('entry', key, _ENTRIES)}")
    if "notebook" not in entry:
        raise NotebookError(f"{where}: names no notebook")
    if entry.get("reads", "none") not in get_args(Reads):
        raise NotebookError(f"{where}: {unknown('reads', entry['reads'], get_args(Reads))}")


# -- freshness ----------------------------------------------------------------------------------
@dataclass(frozen=True)
class Edition:
    """A chapter as it has to be today: the parameters to execute it with, and its key."""

    chapter: Chapter
    parameters: Mapping[str, Any]
    key: str


def editions(book: Book) -> list[Edition]:
    """Today's edition of every chapter. Verifies each record it counts on, once.

    Raises RecordError for a missing or damaged record, NotebookError for a pair that differs.
    """
    digest = cache(_digest)

    @cache
    def held(name: str) -> dict[str, str]:
        """Every run of a store; of packs, the first run of each, which stands for its study."""
        store = book.store(name)
        return {run: digest(store.files.url, run) for run in _told_apart(store)}

    found = []
    for chapter in book.chapters:
        parameters = dict(chapter.parameters)
        runs: dict[str, str] = {}
        if chapter.reads == "study":
            parameters.setdefault("preset", book.preset)
            studies = studies_from_parameters(parameters)
            wanted = [run for study in studies for run in study.run_ids()]
            stores = {name: book.store(name) for name in book.stores}
            chosen = common_runs(list(stores.values()), wanted)
            parameters["store"] = next(name for name, store in stores.items() if store is chosen)
            runs = {run: digest(chosen.files.url, run) for run in wanted}
        elif chapter.reads == "reference":
            parameters["store"] = book.reference
            runs = held(book.reference)
        elif chapter.reads == "all":
            own = dict.fromkeys(other.store for other in book.chapters if other.store)
            parameters["stores"] = [*book.stores, book.reference, *own]
            for name in parameters["stores"]:
                runs |= {f"{name}/{run}": digest for run, digest in held(name).items()}
        elif chapter.store:
            parameters["store"] = chapter.store
            runs = held(chapter.store)
        cells = read_pair(book.root / "notebooks" / chapter.notebook)
        key = _sha256(
            {
                "cells": cells,
                "parameters": parameters,
                "title": chapter.title,
                "records": runs,
                "code": code_of(cells, Path(lthlib.__path__[0])),
                "inputs": files_of(book.root, chapter.inputs),
                "versions": {"python": platform.python_version(), **_versions()},
            }
        )
        found.append(Edition(chapter, parameters, key))
    return found


def is_fresh(path: Path, key: str) -> bool:
    """Is the chapter at `path` whole, unchanged since it was executed, and made for this key?"""
    try:
        notebook = json.loads(path.read_bytes())
        mark = notebook["metadata"]["lthlib"]
        return bool(mark["key"] == key and mark["content"] == _sha256(notebook["cells"]))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def refresh(book: Book, say: Callable[[str], object] = print) -> list[str]:
    """Execute every chapter that is missing or stale; returns their names.

    A chapter that fails leaves its previous file as it was.
    """
    stale = [e for e in editions(book) if not is_fresh(book.path(e.chapter), e.key)]
    if not stale:
        return []
    say(f"{len(stale)} of {len(book.chapters)} chapters are not up to date: executing them")
    # Made here once: a kernel that makes it says so, and what a kernel says is a warning.
    importlib.import_module("matplotlib.font_manager")
    # Processes: papermill changes the working folder, which threads would share.
    with worker_pool(min(WORKERS, len(stale))) as pool:
        with uninterrupted():
            made = {pool.submit(_make, book, edition): edition.chapter for edition in stale}
        try:
            for number, future in enumerate(as_completed(made), start=1):
                source = future.result()
                say(f"chapter {number} of {len(stale)}: {made[future].name}{source}")
        except BrokenProcessPool:
            raise NotebookError("a process that executes chapters died: build again") from None
        except KeyboardInterrupt:
            end_workers(pool)
            raise
        finally:
            pool.shutdown(cancel_futures=True)
    return [edition.chapter.name for edition in stale]


def _make(book: Book, edition: Edition) -> str:
    """Execute one chapter and put it in its place; returns where its records come from."""
    chapter = edition.chapter
    try:
        executed = execute(
            book.root / "notebooks" / f"{chapter.notebook}.ipynb",
            edition.parameters,
            folder=book.root,
            environment={"LTHLIB_CHAPTER": chapter.name},
        )
    except LthError as error:
        raise NotebookError(f"chapter {chapter.name}: {error}") from None
    if chapter.title:
        _set_title(executed, chapter.title)
    executed["metadata"]["lthlib"] = {
        "key": edition.key,
        "content": _sha256(executed["cells"]),
        "notebook": f"notebooks/{chapter.notebook}.py",
        "parameters": dict(edition.parameters),
    }
    Files(book.folder).write(book.path(chapter).name, to_json(executed))
    return f" (from {edition.parameters['store']})" if "store" in edition.parameters else ""


def _set_title(notebook: dict[str, Any], title: str) -> None:
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = re.sub(r"\A# .*", f"# {title}", "".join(cell["source"]))
            return


def _told_apart(store: RecordStore) -> list[str]:
    if isinstance(store, PackedStore):
        return [runs[0] for runs in store.packed().values()]
    return store.runs()


def _digest(url: str, run: str) -> str:
    """A run in one number, after all its files are found to be what its manifest says."""
    store = store_at(url)
    store.verify(run)
    items = store.study(run)["items"]
    return _sha256([store.manifest(run), store.files.read(f"items/{items}/manifest.json").decode()])


def _sha256(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True, default=str).encode()).hexdigest()


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found
