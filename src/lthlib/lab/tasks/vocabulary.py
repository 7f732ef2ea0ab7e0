"""One small vocabulary of whole words, shared by both tasks, so that one start serves both."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from itertools import islice

import numpy as np
from numpy.typing import NDArray

_WORD = re.compile(r"\w+|[^\w\s]")
PAD, CLS, SEP, MASK, UNK = range(5)  # rows of vocabulary.txt


@cache
def vocabulary() -> tuple[str, ...]:
    """The words, by id; the first five are [PAD] [CLS] [SEP] [MASK] [UNK]."""
    return tuple(files(__package__).joinpath("vocabulary.txt").read_text("utf-8").split())


@cache
def _ids(known: tuple[str, ...]) -> dict[str, int]:
    return {word: i for i, word in enumerate(known)}


def words(text: str) -> list[str]:
    """Lower-case words and punctuation marks: `No large seven.` is `no`, `large`, `seven`, `.`"""
    return _WORD.findall(text.lower())


def cut(text: str, count: int) -> str:
    """A text up to the end of its first `count` words and marks, as it is written.

    >>> cut("No large seven. No eight.", 4)
    'No large seven.'
    """
    found = list(islice(_WORD.finditer(text), count))
    return text[: found[-1].end()] if found else ""


def encode(
    texts: Sequence[str], width: int, known: tuple[str, ...] | None = None
) -> NDArray[np.int64]:
    """Word ids [N, width]: [CLS], the words, [SEP], then zeros.

    known: words by id, this module's own unless given. Unknown words become [UNK]; a text that is
    too long is cut, and still ends in [SEP].
    """
    of = _ids(known or vocabulary())
    ids = np.full((len(texts), width), PAD, dtype=np.int64)
    for row, text in zip(ids, texts, strict=True):
        kept = [of.get(word, UNK) for word in words(text)[: width - 2]]
        row[: len(kept) + 2] = [CLS, *kept, SEP]
    return ids
