"""How the report writes counts, lists and numbers: true minus signs, no lonely % signs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any, ParamSpec

import pandas as pd

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


def signed(share: float) -> str:
    """A difference of shares in points, such as "−0.3"."""
    return proper(f"{100 * share:+.1f}")


def listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def counted(numbers: int | Iterable[Any], noun: str) -> str:
    """One count, or the ends of several, with their noun.

    >>> counted(1, "seed"), counted([3, 10, 3], "seed"), counted([1600], "test item")
    ('1 seed', '3 to 10 seeds', '1,600 test items')
    """
    known = [numbers] if isinstance(numbers, int) else [int(n) for n in numbers]
    low, high = min(known), max(known)
    span = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    return f"{span} {noun if high == 1 else noun + 's'}"


def in_bytes(size: float) -> str:
    """A size in words.

    >>> in_bytes(640), in_bytes(5.2e5), in_bytes(2.5e6), in_bytes(9.9e10)
    ('1 kB', '520 kB', '2.5 MB', '99 GB')
    """
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            value = size / unit
            return f"{value:.1f} {name}" if value < 10 else f"{value:,.0f} {name}"
    return f"{max(1, round(size / 1e3)):,} kB"


def points(share: float | None) -> str:
    """A difference of shares in points.

    >>> points(-0.003), points(0.0123), points(-0.0001), points(None)
    ('−0.3', '+1.2', '0.0', 'not defined')
    """
    if share is None or pd.isna(share):
        return "not defined"
    text = proper(f"{100 * share:+.1f}")
    return "0.0" if text == "+0.0" else text


def points_of(margin: float) -> str:
    """A margin in words, such as "1 point"."""
    return f"{100 * margin:g} point{'' if margin == 0.01 else 's'}"


def p_text(p: Any) -> str:
    """A p-value as text; "no test" where there is none.

    >>> p_text(0.0312), p_text(0.00001), p_text(0.9999)
    ('0.031', '< 0.001', '> 0.999')
    """
    if pd.isna(p):
        return "no test"
    if p < 0.001:
        return "< 0.001"
    return "> 0.999" if p > 0.999 else f"{p:.3f}"
