"""BERT's word pieces: the words that published checkpoints know (Devlin and others 2019).

VisualBERT and LXMERT were trained on the uncased vocabulary, UNITER on the cased one. The files are
`vocab.txt` of bert-base-uncased and bert-base-cased; a data folder may hold them as

    bert/uncased-vocab.txt    bert/cased-vocab.txt
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lthlib.errors import TaskError
from lthlib.lab.hub import fetch


@dataclass(frozen=True)
class Vocabulary:
    """A published vocabulary. size: its words, by which a wrong file is told."""

    name: str
    repository: str
    lowercase: bool
    size: int


UNCASED = Vocabulary("uncased", "google-bert/bert-base-uncased", True, 30522)
CASED = Vocabulary("cased", "google-bert/bert-base-cased", False, 28996)
OF_MODEL = {"visualbert": UNCASED, "lxmert": UNCASED, "uniter": CASED}


class WordPieces:
    """Splits texts as a model's checkpoints expect them. folder: the data folder.

    Raises WeightsError where the vocabulary is missing and cannot be fetched, and TaskError where
    it is another.
    """

    def __init__(self, model: str, folder: Path) -> None:
        self._of = OF_MODEL[model]
        self.path = folder / "bert" / f"{self._of.name}-vocab.txt"
        if not self.path.is_file():
            self.path = fetch(self._of.repository, ("vocab.txt",), self.path)
        try:
            words = self.path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise TaskError(f"{self.path} cannot be read as a vocabulary ({error})") from None
        if len(words) != self._of.size or "[CLS]" not in words:
            raise TaskError(
                f"{self.path} has {len(words):,} lines where BERT's {self._of.name} vocabulary has "
                f"{self._of.size:,}: give the published file"
            )
        self.words = tuple(words)

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import BertWordPieceTokenizer

        return BertWordPieceTokenizer(
            {word: i for i, word in enumerate(self.words)}, lowercase=self._of.lowercase
        )

    def encode(self, texts: Sequence[str], width: int) -> NDArray[np.int64]:
        """Ids [N, width]: [CLS], the pieces, [SEP], then zeros; what is too long is cut."""
        self._tokenizer.enable_truncation(width)
        self._tokenizer.enable_padding(length=width)
        found = self._tokenizer.encode_batch(list(texts))
        return np.array([one.ids for one in found], dtype=np.int64).reshape(-1, width)
