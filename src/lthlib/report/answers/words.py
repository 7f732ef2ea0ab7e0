"""How this chapter writes its numbers: true minus signs, no negative zeros, no lonely % signs."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

P = ParamSpec("P")

_ZERO = re.compile(r"(?<![\w.])[-−](0(?:\.0+)?)(?!\.?\d)")
_MINUS = re.compile(r"(?<![\w.)])-(?=\d)")
_PERCENT = re.compile(r"(?<=\d) (?=%)")


def proper(text: str) -> str:
    """Text with a minus sign for a hyphen before a number, and 0 for a negative zero.

    >>> proper("-0.5 (-1.2 to 0.2), -0.00, -0.004, 2019-11")
    '−0.5 (−1.2 to 0.2), 0.00, −0.004, 2019-11'
    """
    return _MINUS.sub("−", _ZERO.sub(r"\1", text))


def finished(sentence: Callable[P, str]) -> Callable[P, str]:
    """A maker of sentences whose numbers are proper, and stay on one line with their %."""

    @wraps(sentence)
    def written(*args: P.args, **kwargs: P.kwargs) -> str:
        return _PERCENT.sub("\u00a0", proper(sentence(*args, **kwargs)))

    return written
