"""What goes wrong, in one line each: the thing, the place, the remedy."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class LthError(Exception):
    """Base of every error this library raises on purpose; its text is one line."""

    def _render_traceback_(self) -> list[str]:
        """What IPython, and so a notebook, shows in place of a traceback."""
        return [f"{type(self).__name__}: {self}"]


class StudyError(LthError):
    """A study that cannot be run as it is described."""


class TaskError(LthError):
    """A task that is unknown, or cannot be made as asked."""


class FeatureError(LthError):
    """Region features that are missing, damaged, or do not fit what is asked of them."""


class WeightsError(LthError):
    """A weight file that is missing, damaged, or made for another model."""


class TicketError(LthError):
    """A mask that does not fit, or a ticket file that is damaged."""


class RecordError(LthError):
    """A record that is missing, damaged, incomplete, or in another format."""


class UnusableRecordError(RecordError):
    """A record that no second try makes usable: damaged, or made by other code, weights or data."""


class TrainingError(LthError):
    """A training run that cannot go on, such as one whose loss is no longer a number."""


class GridError(LthError):
    """A study that could not be spread over machines, or whose jobs failed there."""


def reason(error: OSError) -> str:
    """Why a file could not be read or written, in the system's words."""
    return error.strerror or str(error) or type(error).__name__


def in_one_line(error: BaseException) -> str:
    """What another library said, short and without line breaks."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """One line that refuses a name, offers the nearest known one, and lists them all.

    >>> unknown("model", "uniterr", ["visualbert", "lxmert", "uniter"])
    "unknown model 'uniterr'; did you mean 'uniter'? (known: visualbert, lxmert, uniter)"
    """
    names = list(known)
    near = get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {name!r}{hint} (known: {', '.join(names)})"
