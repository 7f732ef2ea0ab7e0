"""What the README and the pages tell a reader to type works as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pytest

from lthlib.study import PRESETS
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


def test_commands_exist() -> None:
    shell = "\n".join(text for _, text in blocks("sh"))
    parser = cli._parser()
    (commands,) = (a.choices for a in parser._actions if a.choices)
    assert set(re.findall(r"\blth (\w+)", shell)) <= set(commands)
    assert set(re.findall(r"--preset ([\w-]+)", shell)) <= set(PRESETS)
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert set(re.findall(r"^make (\w+)", shell, flags=re.MULTILINE)) <= set(targets)
    for notebook in re.findall(r"papermill (?:--help-notebook )?(notebooks/\S+)", shell):
        assert (ROOT / notebook).is_file()


def test_links_between_files() -> None:
    for page in PAGES[:2]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
