"""Numbers as they stand on paper: what each may have been before its last digit was cut.

A printed 0.52252 was anything from 0.522515 (rounded up) to 0.52253 (cut off), for nobody says how
the digits were dropped. Every check of this package asks whether some value in that range is
possible, so that a number is called impossible only if no way of printing it makes it possible.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
import pandas as pd

from lthlib.errors import RecordError
from lthlib.report.measures import Bools, Floats, Ints

# Beyond this a float holds no more, and integers of 64 bits hold any product that is needed.
MOST_DECIMALS = 9
_DASHES = re.compile("[\u2010-\u2015\u2212\ufe63\uff0d]")
_FOOTNOTES = "*\u2020\u2021\u00a7"


@dataclass(frozen=True)
class Range:
    """Closed ranges [low, high], one for each row; NaN where there is no number.

    Sums and products hold every value that they may have, and sometimes more (a number that
    appears twice is taken as two). So a check may miss a fault, but never invents one.

    >>> share = Range.exactly([0.25]) * Range(np.array([0.4]), np.array([0.6])) - 1
    >>> share.low.round(2).tolist(), share.high.round(2).tolist()
    ([-0.9], [-0.85])
    """

    low: Floats
    high: Floats

    @classmethod
    def exactly(cls, values: Any) -> Range:
        numbers = np.asarray(values, dtype=np.float64)
        return cls(numbers, numbers)

    def to(self, high: float) -> Range:
        """The range from this number up to another."""
        return Range(self.low, np.asarray(high, dtype=np.float64))

    @property
    def middle(self) -> Floats:
        return np.asarray((self.low + self.high) / 2)

    @staticmethod
    def _of(other: Range | float) -> Range:
        return other if isinstance(other, Range) else Range.exactly(other)

    def __add__(self, other: Range | float) -> Range:
        more = self._of(other)
        return Range(self.low + more.low, self.high + more.high)

    def __neg__(self) -> Range:
        return Range(-self.high, -self.low)

    def __sub__(self, other: Range | float) -> Range:
        return self + -self._of(other)

    def __rsub__(self, other: float) -> Range:
        return -self + other

    def __mul__(self, other: Range | float) -> Range:
        more = self._of(other)
        corners = [a * b for a in (self.low, self.high) for b in (more.low, more.high)]
        return Range(np.minimum.reduce(corners), np.maximum.reduce(corners))

    __radd__, __rmul__ = __add__, __mul__

    def size(self) -> Range:
        """Absolute values."""
        low, high = np.abs(self.low), np.abs(self.high)
        across = (self.low <= 0) & (self.high >= 0)
        return Range(np.where(across, 0.0, np.minimum(low, high)), np.maximum(low, high))

    def known(self) -> Bools:
        return ~np.isnan(self.low)

    def apart(self, other: Range | float) -> Floats:
        """How far two ranges are apart; 0 where they touch, NaN where one is not known."""
        more = self._of(other)
        return np.maximum(np.maximum(self.low - more.high, more.low - self.high), 0.0)


@dataclass(frozen=True)
class Printed:
    """A column of printed numbers: mantissa / 10^decimals, where present."""

    mantissa: Ints
    decimals: Ints
    present: Bools

    def __len__(self) -> int:
        return len(self.mantissa)

    @property
    def value(self) -> Floats:
        return np.where(self.present, self.mantissa / 10.0**self.decimals, np.nan)

    @property
    def unit(self) -> Floats:
        """One step of the last printed digit."""
        return np.where(self.present, 10.0**-self.decimals, np.nan)

    def range(self) -> Range:
        """What each number may have been: rounded by up to half a step, or cut by up to one.

        A zero may have been cut from either side: most programs print -0.04 as -0.0, some as 0.0.

        >>> both = read(["0.52252"]).range()
        >>> both.low.round(6).tolist(), both.high.round(6).tolist()
        ([0.522515], [0.52253])
        """
        size = np.abs(self.mantissa)
        low, high = (size - np.where(size == 0, 1, 0.5)) * self.unit, (size + 1) * self.unit
        negative = self.mantissa < 0
        return Range(np.where(negative, -high, low), np.where(negative, -low, high))

    def with_common_decimals(self) -> Printed:
        """The same values with the digits of the longest: spreadsheets drop zeros at the end.

        A 0.5 among numbers such as 0.52149 was most likely 0.50000. That is a guess, so that it
        serves to recognise a value and not to call one impossible.
        """
        most = int(self.decimals[self.present].max(initial=0))
        more = np.where(self.present, most - self.decimals, 0)
        decimals = np.where(self.present, most, 0)
        return Printed(self.mantissa * 10**more, decimals, self.present)


def read(values: Iterable[object], *, percent: bool = False, what: str = "values") -> Printed:
    """Numbers from text, with the digits that were printed; or from floats, with those they need.

    percent: the numbers are shares in %. A text that ends in % is read so in any case. Spaces
    within a number do not count, nor do footnote marks behind it; an empty cell, dashes alone,
    "n/a" or NaN is no number. A dash before a digit is a minus.

    Raises RecordError for any other text, with the name `what` of the column.

    >>> numbers = read(["52.252%", "0. 5287", "", 9.18439e-8])
    >>> numbers.value.tolist()[:2], numbers.decimals.tolist(), numbers.present.tolist()
    ([0.52252, 0.5287], [5, 4, 0, 9], [True, True, False, True])
    """
    cells = [_cell(value, percent, what) for value in values]
    return Printed(
        mantissa=np.array([cell[0] if cell else 0 for cell in cells], dtype=np.int64),
        decimals=np.array([cell[1] if cell else 0 for cell in cells], dtype=np.int64),
        present=np.array([cell is not None for cell in cells], dtype=bool),
    )


def _cell(value: object, percent: bool, what: str) -> tuple[int, int] | None:
    """Mantissa and decimals of one number; None where there is none."""
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return None
    number = repr(float(value)) if isinstance(value, float | np.floating) else str(value)
    # A whole float stands for a whole number: 1.0 was printed by Python, not by an author.
    text = number.removesuffix(".0") if isinstance(value, float | np.floating) else number
    text = _DASHES.sub("-", "".join(text.split())).rstrip(_FOOTNOTES)
    if text.lower() in {"", "n/a", "na", "n.a.", "nan", "<na>", "none"} or not text.strip("-"):
        return None
    if "±" in text:
        raise RecordError(
            f"{what}: {str(value)!r} holds two numbers; give the second a column sd_{what}"
        )
    scale = 2 if percent or text.endswith("%") else 0
    try:
        _, digits, exponent = (parsed := Decimal(text.removesuffix("%"))).as_tuple()
    except InvalidOperation:
        raise RecordError(f"{what}: {str(value)!r} is no number; correct or empty it") from None
    if not isinstance(exponent, int) or len(digits) > 17 or exponent > MOST_DECIMALS:
        raise RecordError(f"{what}: {str(value)!r} is no share or count; correct or empty it")
    decimals = max(0, scale - exponent)
    shift = min(decimals, MOST_DECIMALS)
    # More digits than fit are cut, which the range of a printed number allows for.
    return int(parsed.scaleb(shift - scale)), shift
