"""What the pre-trained start is worth: what is counted, and what may be said of it."""

from __future__ import annotations

import pandas as pd
import pytest

from lthlib.report.questions.start import start_sentence, start_table


def accuracies(random: float, beats: bool) -> pd.DataFrame:
    rows = [
        {"model": "uniter", "start": start, "epochs": 3, "run": f"uniter-{start}-s{seed}",
         "accuracy": value + 0.01 * seed, "beats": good, "items": 40, "decisions": 40}
        for start, value, good in (("pretrained", 0.9, True), ("random", random, beats))
        for seed in range(3)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_the_table_counts_seeds_by_start() -> None:
    exhibit = start_table(accuracies(0.5, beats=False))
    assert exhibit.table is not None
    assert list(exhibit.table["start"]) == ["pretrained", "random"]
    assert list(exhibit.table["beats the trivial rule, seeds"]) == ["at 3 of 3", "at 0 of 3"]
    assert exhibit.table["accuracy, %"].iloc[1].startswith("51.0")
    assert exhibit.data["mean"].to_list() == pytest.approx([0.91, 0.51])


def test_the_sentence_follows_what_was_learned() -> None:
    nothing = start_sentence(accuracies(0.5, beats=False))
    assert "0 of 3 beat" in nothing and "Nothing shows that they learn" in nothing
    learned = start_sentence(accuracies(0.8, beats=True))
    assert "3 of 3 beat" in learned and "Nothing shows" not in learned
    dense = accuracies(0.5, beats=False)
    assert "not run yet" in start_sentence(dense[dense["start"] == "pretrained"])
