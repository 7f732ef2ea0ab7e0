"""Pickles of arrays, read so that nothing in them can run.

A pickle is a program: `pickle.load` calls whatever it names. This reader knows the names that an
array of numbers needs, stands in for each with a function of its own, and refuses every other name
before it is looked up. numpy itself never sees what the file says until it has been checked.
"""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lthlib.errors import FeatureError, reason


class _Type:
    """Stands in for a numpy type of plain numbers."""

    def __init__(self, code: object, *_: object) -> None:
        if not isinstance(code, str) or not code.isascii():
            raise pickle.UnpicklingError("an array of an unknown type")
        self.type = np.dtype(code)
        if self.type.kind not in "fiub" or self.type.itemsize > 8:
            raise pickle.UnpicklingError(f"an array of {self.type}, not of numbers")

    def __setstate__(self, state: object) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if order not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError("a damaged type of numbers")
        self.type = self.type.newbyteorder(order)


class _Array:
    """Stands in for an array until its content is known."""

    value: NDArray[Any] | None = None

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise pickle.UnpicklingError("a damaged array")
        _, shape, kind, fortran, content = state
        self.value = _filled(content, kind, shape, "F" if fortran else "C")


def _filled(content: object, kind: object, shape: object, order: object = "C") -> NDArray[Any]:
    if not isinstance(kind, _Type) or not isinstance(content, bytes | bytearray):
        raise pickle.UnpicklingError("an array of objects, not of numbers")
    if not isinstance(shape, tuple) or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise pickle.UnpicklingError(f"an array of shape {shape!r}")
    order = "F" if order == "F" else "C"
    return np.frombuffer(content, kind.type).reshape(shape, order=order)  # type: ignore[call-overload, no-any-return]


def _number(kind: object, content: object) -> Any:
    return _filled(content, kind, (1,))[0]


def _bytes(text: object, encoding: object) -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError("bytes in another encoding")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    return b""


_PLAIN_ARRAY = "numpy.ndarray"
_CORES = ("numpy.core", "numpy._core")  # before numpy 2, and since
_KNOWN: dict[tuple[str, str], Callable[..., Any] | str] = {
    **{(f"{core}.multiarray", "_reconstruct"): lambda *_: _Array() for core in _CORES},
    **{(f"{core}.multiarray", "scalar"): _number for core in _CORES},
    **{(f"{core}.numeric", "_frombuffer"): _filled for core in _CORES},
    ("numpy", "ndarray"): _PLAIN_ARRAY,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _bytes,  # how protocol 2 writes bytes
    ("__builtin__", "bytes"): _no_bytes,  # and none
}


# The C unpickler reserves memory for any memo number that a file names; this one keeps a dict.
class _Reader(pickle._Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _KNOWN[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it calls {module}.{name}, which is no array") from None

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to something outside itself")


class _Bounded(io.FileIO):
    """A file that refuses a length it does not have before any memory is reserved for it."""

    def read(self, size: int | None = -1, /) -> bytes:
        left = os.fstat(self.fileno()).st_size - self.tell()
        if size is not None and size > left:
            raise EOFError("it ends too early")
        return super().read(size if size is not None and size >= 0 else left) or b""


def load_arrays(path: Path) -> Any:
    """Lists, tuples, dicts, text and numbers around numpy arrays of numbers.

    Raises FeatureError for a file that cannot be read, is no pickle, or calls anything else; none
    of what it calls has run then.
    """
    try:
        with _Bounded(path) as file:
            return _unwrapped(_Reader(file).load(), {})
    except OSError as error:
        raise FeatureError(f"{path} cannot be read ({reason(error)})") from None
    except Exception as error:  # a damaged pickle fails in as many ways as there are opcodes
        why = str(error) or type(error).__name__
        raise FeatureError(f"{path} is no pickle of plain arrays: {why}") from None


def _unwrapped(found: Any, seen: dict[int, Any]) -> Any:
    """The same with arrays in place of what stands in for them; `seen`: parts met before."""
    if id(found) in seen:
        return seen[id(found)]
    if isinstance(found, dict):
        new: Any = {key: _unwrapped(value, seen) for key, value in found.items()}
    elif isinstance(found, list | tuple):
        new = type(found)(_unwrapped(value, seen) for value in found)
    elif isinstance(found, _Array):
        new = found.value
    elif isinstance(found, str | bytes | bytearray | int | float | np.generic | np.ndarray | None):
        new = found
    else:
        raise pickle.UnpicklingError(f"it holds a {type(found).__name__}")
    seen[id(found)] = new
    return new
