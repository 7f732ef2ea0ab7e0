"""One environment, said in three files; rooms that import only what they may."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def locked() -> dict[str, list[Requirement]]:
    found: dict[str, list[Requirement]] = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        if line and not line.lstrip().startswith("#"):
            requirement = Requirement(line)
            found.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return found


def declared() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"]
    return [Requirement(r) for r in [*PROJECT["dependencies"], *extras["report"], *extras["test"]]]


def test_the_lock_pins_all_that_is_declared_within_its_bounds() -> None:
    lock = locked()
    for requirement in declared():
        pins = lock.get(canonicalize_name(requirement.name))
        assert pins, f"{requirement.name} is not locked"
        for pin in pins:
            (specifier,) = pin.specifier
            assert specifier.operator == "=="
            assert Version(specifier.version) in requirement.specifier, f"{pin} is out of bounds"


def test_the_lock_names_no_host() -> None:
    assert "://" not in (ROOT / "requirements.lock").read_text()


def test_conda_gives_the_same_environment() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    plain = [d for d in environment["dependencies"] if isinstance(d, str)]
    (pip,) = (d["pip"] for d in environment["dependencies"] if isinstance(d, dict))
    assert pip == ["-r requirements.lock", "-e ."], "everything comes from the one lock file"
    (python,) = (d for d in plain if d.startswith("python="))
    assert Version(python.split("=")[1]) in Requirement(f"p{PROJECT['requires-python']}").specifier
    assert "pip" in plain


def test_what_is_installed_is_what_is_locked() -> None:
    """In the project's own environment every locked package is there in its locked version."""
    from importlib.metadata import PackageNotFoundError, version

    for name, pins in locked().items():
        wanted = [p for p in pins if p.marker is None or p.marker.evaluate()]
        for pin in wanted:
            try:
                found = version(name)
            except PackageNotFoundError:
                pytest.skip(f"{name} is missing: another environment than the project's own")
            if Version(found).public not in pin.specifier:
                pytest.skip(f"{name} {found}: another environment than the project's own")


IMPORTS = """
import importlib, pkgutil, sys
for name in sys.argv[1].split(","):
    module = importlib.import_module(name)
    for found in pkgutil.walk_packages(getattr(module, "__path__", []), name + "."):
        if found.name not in sys.argv[3].split(","):
            importlib.import_module(found.name)
bad = [m for m in sys.argv[2].split(",") if m in sys.modules]
sys.exit(f"imported: {bad}" if bad else 0)
"""


@pytest.mark.parametrize(
    ("rooms", "forbidden", "left_out"),
    [
        ("lthlib.study,lthlib.records", "torch,lthlib.lab,lthlib.report", ""),
        ("lthlib.lab", "papermill,jupytext,jupyter_book,IPython,lthlib.report,matplotlib", ""),
        ("lthlib.report", "torch,lthlib.lab.lottery,lthlib.lab.training", ""),
    ],
)
def test_rooms_import_only_what_they_may(rooms: str, forbidden: str, left_out: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, rooms, forbidden, left_out],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.splitlines()[-1]


def test_no_file_names_a_path_of_the_machine_it_was_made_on() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.splitlines()
    if not tracked:
        pytest.skip("not a git checkout")
    # A clone may lie in the folder for temporary files, which tests name for what it is.
    shared = {Path("/"), Path(tempfile.gettempdir())}
    places = [f"{place}/" for place in (ROOT, ROOT.parent, Path.home()) if place not in shared]
    for name in tracked:
        text = (ROOT / name).read_text(errors="ignore") if (ROOT / name).is_file() else ""
        for place in places:
            assert place not in text, f"{name} names {place}"


def test_versions_agree() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"]
