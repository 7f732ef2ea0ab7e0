"""Where things lie: clones that change line ends, pipes that close, stores that are not there."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lthlib.errors import RecordError
from lthlib.packs import reference_store
from lthlib.records import (
    Files,
    project_root,
    read_sealed,
    remedy,
    write_atomically,
    write_sealed,
)
from lthlib.workflow import cli

ROOT = project_root(Path(__file__).parent)


def in_a_shell(line: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = line.replace("lth ", f"{sys.executable} -m lthlib.workflow.cli ")
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=folder, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


# -- clones ---------------------------------------------------------------------------------------
def test_a_clone_that_would_change_line_ends_keeps_every_byte(tmp_path: Path) -> None:
    """Windows' git asks for CRLF by default; records and notebooks are held against checksums."""
    source = tmp_path / "source"
    (source / "records" / "shipped" / "run").mkdir(parents=True)
    shutil.copy(ROOT / ".gitattributes", source)
    (source / "records" / "shipped" / "run" / "study.json").write_bytes(b'{\n "seed": 0\n}\n')
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-C", str(source)]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        subprocess.run([*git, *words], check=True)
    clone = tmp_path / "clone"
    subprocess.run(
        ["git", "clone", "-q", "-c", "core.autocrlf=true", str(source), str(clone)], check=True
    )
    for path in source.rglob("*.json"):
        assert (clone / path.relative_to(source)).read_bytes() == path.read_bytes()


def test_changed_line_ends_are_named_and_nothing_is_to_be_deleted(tmp_path: Path) -> None:
    files = Files(tmp_path / "store")
    write_sealed(files, "run", {"study.json": b"{\n}\n"}, {"run": "run"})
    manifest = {"files": {"study.json": {"bytes": 4, "sha256": _digest(files)}}}
    (tmp_path / "store" / "run" / "study.json").write_bytes(b"{\r\n}\r\n")
    with pytest.raises(RecordError, match="line ends were changed, as by git"):
        read_sealed(files, "run", "study.json", manifest)


def _digest(files: Files) -> str:
    import json

    return str(json.loads(files.read("run/manifest.json"))["files"]["study.json"]["sha256"])


def test_the_remedy_is_to_restore_what_comes_with_the_repository_and_to_say_what_it_costs() -> None:
    for folder in ("run", "items/digits"):
        shipped = remedy(Files(ROOT / "records" / "shipped"), folder)
        assert "git checkout" in shipped and "delete" not in shipped
    for elsewhere in (ROOT / "records" / "local", Path("/somewhere/records/mine")):
        assert "takes as long as it took" in remedy(Files(elsewhere), "run")


# -- files ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_files_have_the_modes_that_the_umask_leaves(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        write_atomically(tmp_path / "file", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


# -- pipes ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("command", ["lth plan --preset full", "lth data list", "lth --help"])
def test_a_pipe_that_closes_is_no_traceback(command: str) -> None:
    done = in_a_shell(f"{command} | head -c 1 >/dev/null; exit 0")
    assert "Traceback" not in done.stderr and "Broken" not in done.stderr


# -- what is recorded already ---------------------------------------------------------------------
def test_a_plan_says_what_comes_with_the_repository(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["plan", "--preset", "full", "--store", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    held = len(reference_store().runs())
    assert f"{held} of these are recorded in {reference_store().files.url} already" in out


def test_every_page_outside_the_contents_is_excluded_by_name() -> None:
    """In a folder with brackets Jupyter Book finds no page to exclude by itself."""
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text())
    listed = set(re.findall(r"'(?:file|root)': '([\w/-]+)'", str(contents)))
    excluded = yaml.safe_load((ROOT / "_config.yml").read_text())["exclude_patterns"]
    pages = {path.stem for path in (ROOT / "book").glob("*.md")}
    assert {f"{name}.md" for name in pages - listed} == set(excluded)
