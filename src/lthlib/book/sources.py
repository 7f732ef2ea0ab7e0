"""What a chapter is made by: the modules that its cells import, and those that these import.

A caption that changes in one module makes those chapters stale that show it, and no other.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

from lthlib.book.execution import Cell
from lthlib.records import file_sha256

MAKES_RECORDS = "lthlib.workflow"
"""What a chapter reaches through it is told by the records: `lab` and weights of each run."""
EXECUTED_BY = "book/execution.py"
DATA = (".json", ".toml")
"""Files beside a module that it reads."""


def code_of(cells: Sequence[Cell], package: Path) -> dict[str, str]:
    """SHA-256 of each file of the library that a notebook with these cells runs or reads.

    package: the folder `lthlib`. Imports are read off the syntax tree, those inside functions too,
    so that nothing is imported to know them.
    """
    lines = "\n".join(text for kind, text, _ in cells if kind == "code").splitlines()
    # IPython's own lines are no Python, and import nothing of the library.
    plain = "\n".join(line for line in lines if not line.lstrip().startswith(("%", "!")))
    seen: set[Path] = set()
    todo = list(_imported(plain.encode(), package))
    while todo:
        if (path := todo.pop()) not in seen:
            seen.add(path)
            todo += _imported(path.read_bytes(), package)
    beside = {data for path in seen for data in path.parent.iterdir() if data.suffix in DATA}
    found = sorted(seen | beside | {package / EXECUTED_BY})
    return {path.relative_to(package).as_posix(): file_sha256(path) for path in found}


@cache  # by what the code is: it is read anew each time
def _imported(source: bytes, package: Path) -> tuple[Path, ...]:
    """Files of the modules that a piece of code imports, and of the packages they lie in."""
    found = []
    for name in _names(ast.parse(source)):
        parts = name.split(".")
        if parts[0] != package.name or name.startswith(MAKES_RECORDS):
            continue
        for end in range(1, len(parts) + 1):
            place = package.joinpath(*parts[1:end])
            # The last part may be a name inside a module, such as a function's.
            found += [p for p in (place / "__init__.py", place.with_suffix(".py")) if p.is_file()]
    return tuple(found)


def _names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files_of(root: Path, patterns: Iterable[str]) -> dict[str, str]:
    """SHA-256 of each file that a pattern below a folder finds."""
    paths = sorted({path for pattern in patterns for path in root.glob(pattern) if path.is_file()})
    return {path.relative_to(root).as_posix(): file_sha256(path) for path in paths}
