"""What the README and the pages tell a reader to type works as it stands."""

from __future__ import annotations

import importlib.util
import re
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from lthlib.lab.tasks.own import read_own
from lthlib.records import shipped_store
from lthlib.report.measures import quality
from lthlib.study import PRESETS, studies_from_parameters
from lthlib.workflow import cli

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "book").glob("*.md"))]


def blocks(language: str) -> list[tuple[str, str]]:
    """(page, text) of each fenced block in a language."""
    found = []
    for page in PAGES:
        for text in re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL):
            found.append((page.name, text))
    return found


@pytest.mark.parametrize(("page", "query"), blocks("sql"))
def test_queries(page: str, query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    rows = duckdb.sql(query).fetchall()
    assert rows
    assert all(0 <= row[-1] <= 1 for row in rows)


@pytest.mark.parametrize(("page", "code"), blocks("python"))
def test_python(page: str, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    exec(compile(code, page, "exec"), {})


@pytest.mark.parametrize(("page", "query"), blocks("sql"))
def test_no_query_mixes_tickets_with_their_controls(page: str, query: str) -> None:
    """A mean over branches is of no model at all: LXMERT's ticket of 99 % would read 66 %."""
    if "predictions" in query:
        assert "branch" in query and "stage" in query, page


def test_the_readmes_query_gives_what_the_report_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    (query,) = (text for page, text in blocks("sql") if page == "README.md")
    found = duckdb.sql(query).df().set_index(["run", "level"])["accuracy"]
    predictions = shipped_store().table("predictions", [run := shipped_store().runs()[0]])
    ours = quality(predictions)
    ours = ours[(ours["branch"] == "main") & (ours["stage"] == "trained")].set_index("level")
    assert found[run].to_dict() == pytest.approx(ours["accuracy"].astype(float).to_dict())


# -- commands -------------------------------------------------------------------------------------
def lines() -> list[tuple[str, str]]:
    """(page, command) of each line that a page or a notebook prints for a shell."""
    found = []
    for page in (*PAGES, *sorted((ROOT / "notebooks").glob("*.py"))):
        text = re.sub(r"^# ?", "", page.read_text(), flags=re.M) if page.suffix == ".py" else ""
        for block in re.findall(r"```sh\n(.*?)```", text or page.read_text(), flags=re.DOTALL):
            line = ""
            for more in block.replace("\\\n", " ").splitlines():
                line = f"{line} {more}" if line else more
                if line.count("'") % 2 == 0:  # a setting in quotes may go over lines
                    found += [(page.name, line)] if line.split("#")[0].strip() else []
                    line = ""
            assert not line, f"{page.name}: {line}"
    return found


def told(words: list[str]) -> None:
    """Raises where `lth` would not take these words."""
    command = cli._parser().parse_args(words)
    if hasattr(command, "preset") and command.preset:
        assert command.preset in PRESETS


def papermill(words: list[str]) -> None:
    """Raises where a notebook is not there, or would refuse its parameters."""
    notebook = next(word for word in words if word.startswith("notebooks/"))
    assert (ROOT / notebook).is_file()
    given: dict[str, object] = {}
    for flag, *values in zip(words, words[1:], [*words[2:], ""], strict=False):
        if flag == "-p":
            given[values[0]] = yaml.safe_load(values[1])
        elif flag == "-y":
            given |= yaml.safe_load(values[0])
    if "help" not in " ".join(words) and notebook.endswith("prune.ipynb"):
        studies_from_parameters(given)


def make(words: list[str]) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert words[0] in targets


def files(words: list[str]) -> None:
    """A command whose words are files of the project, or options."""
    for word in words:
        if re.search(r"[/.]", word) and not word.startswith("-"):
            assert (ROOT / word).exists() or word.startswith(".venv"), word


def module(words: list[str]) -> None:
    if words[:1] == ["-m"]:
        assert importlib.util.find_spec(words[1]) is not None or (ROOT / words[1]).exists()
    else:
        files(words)


def extras(words: list[str]) -> None:
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    text = " ".join(words)
    asked = re.findall(r"\[(\w+)\]", text) + re.findall(r"--extra (\w+)", text)
    assert asked and set(asked) <= set(known)


def other(words: list[str]) -> None:
    """A tool of the system, about files that a reader has."""


KNOWN: dict[str, Callable[[list[str]], None]] = {
    "lth": told, "papermill": papermill, "make": make, "bash": files, "python": module,
    "source": files, "jupyter-book": other, "conda": other, "pip": extras, "uv": extras,
    "flock": other, "srun": other, "echo": other, "git": other,
}  # fmt: skip


@pytest.mark.parametrize(("page", "line"), lines())
def test_every_line_for_a_shell_can_be_typed(page: str, line: str) -> None:
    for part in re.split(r"\s(?:&&|\|)\s", line):
        words = shlex.split(part, comments=True)
        while re.fullmatch(r"[A-Z_]+=\S*", words[0]):
            words = words[1:]
        words[0] = Path(words[0]).name
        if words[0] == "jupyter-book":
            assert (ROOT / words[-1]).is_dir()
        assert words[0] in KNOWN, f"{page}: this test does not know {words[0]!r}"
        KNOWN[words[0]]([word for word in words[1:] if word != "&"])


def test_the_study_file_that_is_shown_can_be_run(tmp_path: Path, capsys: Any) -> None:
    shown = [text for page, text in blocks("toml") if page == "README.md"]
    assert shown
    (tmp_path / "study.toml").write_text(shown[0])
    command = ["grid", str(tmp_path / "study.toml"), "--store", str(tmp_path / "records")]
    assert cli.main([*command, "--dry-run"]) == 0
    assert "to do" in capsys.readouterr().out
    assert cli.main([*command, "--profile", "slurm", "--gpus", "8", "--dry-run"]) == 0


def test_the_table_that_is_shown_can_be_read(tmp_path: Path) -> None:
    (shown,) = (text for page, text in blocks("text") if page == "README.md")
    header, *rows = shown.splitlines()
    many = [row.replace("cat.png", f"{i}.png").replace("dog.png", f"{i}.png")
            for i in range(60) for row in rows]  # fmt: skip
    (tmp_path / "my.csv").write_text("\n".join([header, *many]) + "\n")
    assert read_own(tmp_path / "my.csv")[1] == ("false", "true")


def test_links_between_files() -> None:
    for page in PAGES[:2]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
