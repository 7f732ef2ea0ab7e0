"""Notebooks: read one from its pair of files, and execute it as a chapter.

A notebook is stored twice: as `x.py` (py:percent, the one to read and review) and as `x.ipynb`
(without outputs, the one that papermill runs). They must say the same; `jupytext --test` exits 0
on a pair that differs and `--sync` follows file times, so the comparison is made here.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lthlib.errors import LthError, unknown

Cell = tuple[str, str, tuple[str, ...]]


class NotebookError(LthError):
    """A notebook that cannot be read or executed, or a book that declares a wrong one."""


def cells(path: Path) -> list[Cell]:
    """(type, source, tags) of each cell of a notebook file, `.py` or `.ipynb`.

    Raises NotebookError when the file is missing or no notebook.
    """
    import jupytext

    try:
        notebook = jupytext.read(path)
    except FileNotFoundError:
        raise NotebookError(
            f"{path} is missing: restore it, or make it again from its pair"
        ) from None
    except Exception as error:  # jupytext and nbformat raise many kinds
        raise NotebookError(f"{path} cannot be read as a notebook: {_first_line(error)}") from None
    return [
        (cell.cell_type, cell.source.strip(), tuple(cell.metadata.get("tags", ())))
        for cell in notebook.cells
    ]


def read_pair(path: Path) -> list[Cell]:
    """The cells of `x.ipynb`, once `x.py` beside it is found to say the same.

    Raises NotebookError that names the first cell in which the two differ.
    """
    script, notebook = cells(path.with_suffix(".py")), cells(path.with_suffix(".ipynb"))
    if script == notebook:
        return notebook
    equal = [a == b for a, b in zip(script, notebook, strict=False)]
    first = (equal.index(False) if False in equal else len(equal)) + 1
    raise NotebookError(
        f"{path.with_suffix('.py')} and {path.with_suffix('.ipynb')} differ from cell {first} on: "
        f"keep the one you want, then `jupytext --update --to ipynb {path.with_suffix('.py')}` "
        f"(or `--to py:percent {path.with_suffix('.ipynb')}`)"
    )


def execute(
    notebook: Path, parameters: Mapping[str, Any], folder: Path, environment: Mapping[str, str]
) -> dict[str, Any]:
    """Run a notebook through papermill with this very interpreter; returns it executed.

    notebook: the `.ipynb` file.
    folder: the folder in which its code runs.
    environment: variables that its code sees beside the ones of this process.

    What differs from run to run (times, paths, random cell ids) is left out of the result.
    Raises NotebookError in one line that names the notebook, the cell and the cause.
    """
    import papermill
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    # papermill takes what stands between braces in a path for the name of a parameter.
    path = str(notebook).replace("{", "{{").replace("}", "}}")
    try:
        known = papermill.inspect_notebook(path)
    except ValueError as error:  # such as a notebook that names no kernel
        raise NotebookError(f"{notebook.name}: {_first_line(error)}") from None
    for name in parameters:
        if name not in known:
            raise NotebookError(f"{notebook.name}: {unknown('parameter', name, known)}")
    with _own_kernel(environment) as sockets:
        try:
            executed = papermill.execute_notebook(
                path,
                None,
                dict(parameters),
                kernel_name="python3",
                progress_bar=False,
                cwd=folder,
                # Sockets in a private folder: ports of TCP can be lost to another kernel.
                config=Config({"KernelManager": {"transport": "ipc", "ip": str(sockets / "k")}}),
            )
        except PapermillExecutionError as error:
            # papermill has put a cell with the parameters before the one that failed.
            cell = error.cell_index + 1 - bool(parameters)
            cause = f"{error.ename}: {_first_line(error.evalue)}"
            raise NotebookError(f"{notebook.name} failed in cell {cell}: {cause}") from None
    return _without_traces(executed)


@contextlib.contextmanager
def _own_kernel(environment: Mapping[str, str]) -> Iterator[Path]:
    """A kernel `python3` that is this interpreter, whatever is activated or installed elsewhere.

    Its settings, start-up files and sockets live in a folder of their own, so that nothing in a
    user's home changes a chapter. Yields the folder for the sockets.
    """
    with tempfile.TemporaryDirectory(prefix="lth-", ignore_cleanup_errors=True) as name:
        home = Path(name)
        spec = home / "kernels" / "python3" / "kernel.json"
        spec.parent.mkdir(parents=True)
        launch = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        # Kernels log how they are shut down as an error.
        argv = [*launch, "--IPKernelApp.log_level=50"]
        named = {"display_name": "Python 3 (ipykernel)", "language": "python"}
        spec.write_text(json.dumps({"argv": argv, **named}))
        own = {
            "JUPYTER_PATH": str(home),
            "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
            "IPYTHONDIR": str(home / "ipython"),
            **environment,
        }
        before = {name: os.environ.get(name) for name in own}
        os.environ.update(own)
        try:
            yield home
        finally:
            for key, value in before.items():
                if value is None:
                    del os.environ[key]
                else:
                    os.environ[key] = value


def _without_traces(notebook: Any) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(notebook))
    metadata = plain["metadata"]
    # With `jupytext` left in, opening the chapter in Jupyter would write a stray script beside it.
    plain["metadata"] = {k: metadata[k] for k in ("kernelspec", "language_info") if k in metadata}
    for number, cell in enumerate(plain["cells"]):
        cell["id"] = f"cell-{number:03d}"
        cell["metadata"] = {
            k: v for k, v in cell["metadata"].items() if k in {"tags", "mystnb", "slideshow"}
        }
        if "injected-parameters" in cell["metadata"].get("tags", ()):
            cell["metadata"]["tags"].append("hide-input")
    return plain


def _first_line(error: object) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
