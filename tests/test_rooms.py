"""The house keeps its shape: no room outgrows its ceiling, and prose stays in notebooks."""

from __future__ import annotations

from pathlib import Path

import pytest

import rooms


@pytest.mark.parametrize("room", rooms.CEILINGS)
def test_no_room_exceeds_its_ceiling(room: str) -> None:
    assert rooms.size_of(room) <= rooms.CEILINGS[room]


def test_no_closed_door_is_added() -> None:
    assert {kind: count for kind, count in rooms.doors().items() if count > rooms.DOORS[kind]} == {}


def test_only_code_is_counted(tmp_path: Path) -> None:
    source = (
        '"""A module\n\nof two lines."""\n\n# said\nx = 1  # a value\n\n\n'
        'def f():\n    """Docs."""\n    return """a\n    b"""\n'
    )
    (tmp_path / "m.py").write_text(source)
    assert rooms.lines_of_code(tmp_path / "m.py") == 4
