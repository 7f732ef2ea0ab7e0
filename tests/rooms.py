"""How large each room of the house is: `python tests/rooms.py` (`make lint` prints it).

Lines of code are counted without docstrings, comments and blank lines: what is said about code is
not what makes it hard to read.
"""

from __future__ import annotations

import ast
import io
import tokenize
from pathlib import Path

ROOT = Path(__file__).parents[1]
SILENT = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT),
    tokenize.ENDMARKER,
}
GOALS = {"src/lthlib": 12_000, "src/lthlib/lab": 5_500, "src/lthlib/report": 4_500, "tests": 14_000}
"""What a room may grow to once it is in order."""
CEILINGS = {
    "src/lthlib": 25_780, "src/lthlib/lab": 7_100, "src/lthlib/report": 14_850,
    "src/lthlib/book": 660, "src/lthlib/workflow": 1_750, "tests": 17_700, "benchmarks": 2_650,
}  # fmt: skip
"""What no room may exceed today; each falls with what is taken out, and never rises."""


def lines_of_code(path: Path) -> int:
    """Lines of a module that are neither blank, nor a comment, nor part of a docstring."""
    source = path.read_text(encoding="utf-8")
    held: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in SILENT:
            held.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            held.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(held)


def size_of(room: str) -> int:
    return sum(map(lines_of_code, (ROOT / room).rglob("*.py")))


DOORS = {"-> Exhibit": 98, "*_sentence": 74, "drawn by hand": 85}
"""What of the report half is still a closed door, at the most: each falls to 0, and never rises.

-> Exhibit: functions that return a finished exhibit instead of a frame, outside show and shared.
*_sentence: functions that write English. drawn by hand: calls on axes outside draw.
"""


def doors() -> dict[str, int]:
    """How many of each kind of closed door the report half has."""
    found = dict.fromkeys(DOORS, 0)
    for path in (ROOT / "src/lthlib/report").rglob("*.py"):
        if path.name in ("show.py", "shared.py", "draw.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                made = node.returns
                found["-> Exhibit"] += isinstance(made, ast.Name) and made.id == "Exhibit"
                found["*_sentence"] += node.name.endswith(("_sentence", "_sentences"))
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                on = node.func.value
                found["drawn by hand"] += isinstance(on, ast.Name) and on.id in ("axes", "ax")
    return found


def main() -> None:
    for kind, count in doors().items():
        print(f"{count:>7,} closed doors: {kind} (at most {DOORS[kind]}, goal 0)")
    for room, ceiling in CEILINGS.items():
        goal = f", goal {GOALS[room]:,}" if room in GOALS else ""
        print(f"{size_of(room):>7,} lines of code in {room} (at most {ceiling:,}{goal})")


if __name__ == "__main__":
    main()
