"""A small project folder with records, one notebook and a book of three pages, for tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import jupytext
import pandas as pd

from lthlib.records import RecordStore
from lthlib.study import Study, plan

CHAPTERS = """
preset = "ci"

[chapters.accuracy]
notebook = "accuracy"
parameters = {model = "uniter", task = "digits"}
reads = "study"
"""

NOTEBOOK = """# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Accuracy

# %% tags=["parameters"]
model: str = "uniter"  # which model
task: str = "digits"  # which task
preset: str = "ci"  # which preset
store: str = "records/local"  # where the records are

# %%
from lthlib.records import open_store
from lthlib.report.show import number, say
from lthlib.study import studies_from_parameters

studies = studies_from_parameters(globals())
predictions = open_store(store).table("predictions", studies[0].run_ids())
share = (predictions["label"] == predictions["prediction"]).mean()
number("accuracy", f"{share:.3f}")
say(f"The accuracy is {share:.3f}.")
"""

CONFIG = """
title: a small book
only_build_toc_files: true
execute: {execute_notebooks: "off", stderr_output: remove-warn}
sphinx:
  config:
    extensions: [myst_nb, jupyter_book, sphinx_comments, sphinx_external_toc, sphinx_book_theme,
      lthlib.book.sphinxext]
"""
TOC = "format: jb-book\nroot: intro\nchapters:\n- file: chapters/accuracy\n- file: other\n"
INTRO = "# Intro\n\nIt is {glue:text}`chapters/accuracy.ipynb::accuracy:s` here.\n"
OTHER = "# Other\n\nNothing is glued here.\n"


def study() -> Study:
    (found,) = plan("ci", model="uniter", task="digits")
    return found


def write_run(store: RecordStore, run: str, right: int, of: int = 10) -> None:
    """A finished run of one level whose model answers `right` of `of` items rightly."""
    items = [f"test-{i:06d}" for i in range(of)]
    about = {"run": run, "level": 0, "branch": "main", "stage": "trained"}
    labels = [i % 2 for i in range(of)]
    answers = [label if i < right else 1 - label for i, label in enumerate(labels)]
    predictions = pd.DataFrame(
        {**about, "item": items, "decision": "label", "label": labels, "prediction": answers}
    )
    row = pd.DataFrame([about])
    tables = {"levels": row, "predictions": predictions, "training": row, "curves": row}
    store.write_items("synthetic", pd.DataFrame({"item": items, "text": "a caption"}))
    with store.writer(run, {}) as writer:
        writer.write_level(0, tables, {})
        writer.finish({"format": 1, "run": run, "items": "synthetic"}, b"")


def rewrite_runs(store: RecordStore, right: int) -> None:
    for run in study().run_ids():
        store.files.remove(run)
        write_run(store, run, right)


def write_notebook(root: Path, text: str = NOTEBOOK, name: str = "accuracy") -> None:
    """Both files of a pair."""
    script = root / "notebooks" / f"{name}.py"
    script.write_text(text)
    jupytext.write(jupytext.read(script), script.with_suffix(".ipynb"))


def make_project(root: Path) -> Path:
    """A project whose shipped runs answer 8 of 10 items rightly, and whose local store is empty."""
    for folder in ("book", "notebooks"):
        (root / folder).mkdir(parents=True)
    pages = {"book/chapters.toml": CHAPTERS, "book/_toc.yml": TOC, "_config.yml": CONFIG}
    for name, text in {**pages, "book/intro.md": INTRO, "book/other.md": OTHER}.items():
        (root / name).write_text(text)
    write_notebook(root)
    rewrite_runs(RecordStore(root / "records" / "shipped"), right=8)
    return root


def build(root: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`jupyter-book build book` as a user types it, in a process of its own."""
    clean: Mapping[str, str] = {k: v for k, v in os.environ.items() if not k.startswith("LTHLIB_")}
    return subprocess.run(
        [str(Path(sys.executable).with_name("jupyter-book")), "build", "book"],
        cwd=root,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
