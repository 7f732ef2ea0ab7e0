"""Notebooks: both files of a pair agree, parameters are explained, and exhibits stand alone."""

from __future__ import annotations

import ast
import base64
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import pandas as pd
import papermill
import pytest
from matplotlib.figure import Figure

from lthlib.book.execution import NotebookError, cells, execute, read_pair
from lthlib.errors import StudyError
from lthlib.records import project_root
from lthlib.report.exhibits import Exhibit
from lthlib.report.show import exhibit_html
from lthlib.study import Study, studies_from_parameters
from small_book import NOTEBOOK, write_notebook

ROOT = project_root(Path(__file__).parent)
NAMES = sorted(path.stem for path in (ROOT / "notebooks").glob("*.py"))


# -- pairs --------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", NAMES)
def test_both_files_of_a_pair_say_the_same(name: str) -> None:
    assert read_pair(ROOT / "notebooks" / name)


def test_each_notebook_has_its_pair() -> None:
    assert sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb")) == NAMES
    assert {"prune", "compare", "pretrain"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_stored_notebooks_hold_no_outputs(name: str) -> None:
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in notebook.cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None


@pytest.mark.parametrize(
    ("old", "new"),
    [("0.800", "0.8"), ("share:.3f", "share:.2f"), ("# # Accuracy", "# # Precision")],
)
def test_an_edit_of_one_file_is_refused(tmp_path: Path, old: str, new: str) -> None:
    (tmp_path / "notebooks").mkdir()
    write_notebook(tmp_path, NOTEBOOK + "\n# 0.800\n")
    read_pair(tmp_path / "notebooks" / "accuracy")
    script = tmp_path / "notebooks" / "accuracy.py"
    script.write_text(script.read_text().replace(old, new))
    with pytest.raises(NotebookError, match=r"accuracy.ipynb differ from cell \d on: keep the one"):
        read_pair(script)


def test_a_changed_tag_and_a_missing_cell_are_differences(tmp_path: Path) -> None:
    (tmp_path / "notebooks").mkdir()
    write_notebook(tmp_path)
    script = tmp_path / "notebooks" / "accuracy.py"
    whole = script.read_text()
    script.write_text(whole.replace('"parameters"', '"settings"'))
    with pytest.raises(NotebookError, match="from cell 2 on"):
        read_pair(script)
    script.write_text(whole + "\n# %% [markdown]\n# The end.\n")
    with pytest.raises(NotebookError, match="from cell 4 on"):
        read_pair(script)


def test_what_is_no_notebook_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotebookError, match=r"x.py is missing: restore it"):
        cells(tmp_path / "x.py")
    (tmp_path / "x.ipynb").write_text('{"cells": [')
    with pytest.raises(NotebookError, match=r"x.ipynb cannot be read as a notebook"):
        cells(tmp_path / "x.ipynb")


# -- parameters -----------------------------------------------------------------------------------
def parameters_of(name: str) -> dict[str, dict[str, Any]]:
    return dict(papermill.inspect_notebook(str(ROOT / "notebooks" / f"{name}.ipynb")))


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_explained(name: str) -> None:
    for parameter in parameters_of(name).values():
        assert parameter["help"], parameter
        assert parameter["inferred_type_name"] != "None", parameter


def test_prune_takes_every_field_of_a_study() -> None:
    found = parameters_of("prune")
    assert set(found) == {*Study.model_fields, "preset", "store", "workers"}
    for name, field in Study.model_fields.items():
        if name not in {"model", "task"}:
            assert found[name]["default"] == "None"
            assert found[name]["help"] == field.description


@pytest.mark.parametrize("name", ["prune", "compare"])
def test_default_parameters_describe_studies(name: str) -> None:
    defaults = {key: eval(p["default"]) for key, p in parameters_of(name).items()}
    studies = studies_from_parameters(defaults)
    models = {"prune": ["uniter"], "compare": ["visualbert", "lxmert", "uniter"]}
    assert [study.model for study in studies] == models[name]
    assert {study.task for study in studies} == {"digits"}


CHECKED = [name for name in NAMES if name not in {"parameters", "audit", "prune", "compare"}]


def run_first_cells(name: str, changed: dict[str, Any]) -> None:
    """The cell of parameters, what papermill puts after it, and the next cell."""
    found = read_pair(ROOT / "notebooks" / name)
    (at,) = (i for i, (_, _, tags) in enumerate(found) if "parameters" in tags)
    variables: dict[str, Any] = {"__name__": "__main__"}
    exec(found[at][1], variables)
    variables |= changed
    exec(found[at + 1][1], variables)


@pytest.mark.parametrize("name", CHECKED)
def test_an_unknown_name_is_refused_in_the_first_cell(name: str) -> None:
    wrong = f"{next(iter(parameters_of(name)))}_"
    with pytest.raises(StudyError, match=f"unknown parameter '{wrong}'; did you mean"):
        run_first_cells(name, {wrong: 1})


@pytest.mark.parametrize("name", CHECKED)
def test_the_first_cell_takes_the_defaults(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    run_first_cells(name, {})


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.py")), ids=lambda p: p.stem)
def test_what_a_notebook_takes_from_the_library_is_there(path: Path) -> None:
    """Cells that no test executes, for want of records, cannot name what is gone."""
    tree = ast.parse("\n".join(source for kind, source, _ in cells(path) if kind == "code"))
    taken: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("lthlib"):
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")
                taken[alias.asname or alias.name] = getattr(module, alias.name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            held = taken.get(node.value.id)
            if isinstance(held, ModuleType):
                assert hasattr(held, node.attr), f"{held.__name__} has no {node.attr}"


@pytest.mark.parametrize("change", [{"least": "x"}, {"tries": 0}, {"seed": -1}, {"folder": 7}])
def test_pretrain_checks_every_value_in_the_first_cell(change: dict[str, Any]) -> None:
    with pytest.raises(StudyError, match=f"{next(iter(change))}: .* will not do"):
        run_first_cells("pretrain", change)


# -- execution ------------------------------------------------------------------------------------
SUM = NOTEBOOK.split("# %% tags")[0] + (
    '# %% tags=["parameters"]\na: int = 1  # a number\n\n# %%\nimport sys\na + 1, sys.executable\n'
)


@pytest.fixture
def summing(tmp_path: Path) -> Path:
    (tmp_path / "notebooks").mkdir()
    write_notebook(tmp_path, SUM, "sum")
    return tmp_path / "notebooks" / "sum.ipynb"


@pytest.mark.slow
def test_execution_is_the_same_each_time_and_leaves_no_trace(
    summing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # no environment is activated
    made = [execute(summing, {"a": 41}, summing.parent, {}) for _ in range(2)]
    assert json.dumps(made[0]) == json.dumps(made[1])
    assert made[0]["cells"][-1]["outputs"][0]["data"]["text/plain"] == f"(42, '{sys.executable}')"
    assert set(made[0]["metadata"]) == {"kernelspec", "language_info"}
    assert str(summing.parent) not in json.dumps(made[0])


@pytest.mark.slow
def test_a_failing_cell_is_named_in_one_line(summing: Path) -> None:
    write_notebook(summing.parent.parent, SUM + "\n# %%\nraise ValueError('no\\nmore')\n", "sum")
    with pytest.raises(NotebookError) as caught:
        execute(summing, {"a": 1}, summing.parent, {})
    assert str(caught.value) == "sum.ipynb failed in cell 4: ValueError: no"


def test_an_unknown_parameter_is_refused(summing: Path) -> None:
    with pytest.raises(NotebookError, match=r"sum.ipynb: unknown parameter 'aa'; did you mean 'a'"):
        execute(summing, {"aa": 1}, summing.parent, {})


def run_papermill(output: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """The user's command."""
    command = [str(Path(sys.executable).with_name("papermill")), "notebooks/prune.ipynb"]
    return subprocess.run(
        [*command, str(output), *options],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-p", "modle", "uniter"], "unknown parameter 'modle'; did you mean 'model'?"),
        (["-y", "ladder: [0.5, 1.2]"], "1.2 is no sparsity"),
    ],
)
def test_bad_parameters_are_refused_before_anything_is_trained(
    tmp_path: Path, options: list[str], said: str
) -> None:
    done = run_papermill(tmp_path / "out.ipynb", "-p", "store", str(tmp_path / "s"), *options)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("StudyError: ") and said in last
    assert not (tmp_path / "s").exists()


# -- exhibits -------------------------------------------------------------------------------------
DATA = pd.DataFrame({"level": [0, 1], "accuracy": [0.9, None]})


def test_a_figure_carries_its_words_and_its_data() -> None:
    figure = Figure()
    figure.subplots().plot([1, 2])
    exhibit = Exhibit("Accuracy & more: 95 % t interval.", 'From 0.9 to "x".', DATA, figure)
    text = exhibit_html(exhibit, "accuracy", chapter="prune-uniter")
    assert 'alt="From 0.9 to &quot;x&quot;."' in text
    assert "Accuracy &amp; more: 95 % t interval." in text
    assert 'href="book:chapters/prune-uniter.ipynb"' in text
    packed = re.search(r'download="accuracy.csv" href="data:text/csv;base64,([^"]+)"', text)
    assert packed
    assert base64.b64decode(packed[1]).decode() == "level,accuracy\n0,0.9\n1,\n"
    drawn = re.search(r'src="data:image/svg\+xml;base64,([^"]+)"', text)
    assert drawn and b"<svg" in base64.b64decode(drawn[1])
    assert exhibit_html(exhibit, "accuracy", chapter="prune-uniter") == text


def test_a_table_carries_its_words_and_outside_the_book_no_link_to_it() -> None:
    table = pd.DataFrame({"level": ["0", "1"], "why": ["<", "a long sentence " * 5]})
    text = exhibit_html(Exhibit("Caption.", "Two levels.", DATA, table=table), "levels")
    assert 'id="levels" aria-label="Two levels."' in text
    assert "&lt;" in text and '<td class="long">a long' in text
    assert "book:" not in text
