"""The numbers of the main source are those that it prints, and marks stand where they belong."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pandas as pd
import pytest

from lthlib.errors import RecordError
from lthlib.report.source import published


def as_printed(raw: str) -> float:
    return float(raw.replace(" ", "").strip("%"))


def test_every_value_is_what_its_text_says() -> None:
    cells = published.cells()
    lost_point = cells["raw"] == "509828%"
    assert cells[~lost_point].apply(lambda c: as_printed(c["raw"]) == c["value"], axis=1).all()
    assert cells.loc[lost_point, "value"].tolist() == [50.9828]


def test_misprints_say_what_they_should_read() -> None:
    cells = published.cells()
    wrong = cells[cells["kinds"].str.contains("misprint")]
    assert set(wrong["corrected"]) == {0.6583, 1.81e-05, 50.9828}
    right = cells[~cells["kinds"].str.contains("misprint")]
    assert (right["corrected"] == right["value"]).all()


def test_shares_are_shares_whatever_the_unit() -> None:
    cells = published.cells()
    assert cells["share"].dropna().between(0, 1).all()
    assert cells.loc[cells["unit"].isin(["percent", "fraction"]), "share"].notna().all()
    assert cells.loc[cells["unit"] == "p", "share"].isna().all()


def test_each_recovered_sd_stands_at_one_mean_of_runs() -> None:
    cells = published.cells().dropna(subset=["sd"])
    spread = published.recovered_sd()
    assert len(cells) == len(spread)
    assert sorted(cells["sd"]) == sorted(spread["sd"])
    # A pair of pruned levels has none: its p-values are not in the tables.
    assert not (cells["amount"].notna() & cells["amount_b"].notna()).any()
    dense = published.table("Table 25").set_index("row").loc["O"]
    assert (
        dense["sd"]
        == spread.query(
            "model == 'uniter' and pruning_set == 'concluding' and metric == 'accuracy'"
        )
        .loc[lambda f: f["amount"].isna(), "sd"]
        .item()
    )


def test_constant_answers_are_found_where_they_are() -> None:
    accuracy = published.select(metric="accuracy", dataset="VSR")
    ladders = accuracy[accuracy["pruning_set"].isin(["secondary", "concluding"])]
    pruned = ladders[ladders["amount"].notna()]
    assert len(pruned) == 36
    assert pruned["rule"].value_counts()["always False"] == 9
    half = pruned[pruned["rule"].str.startswith("half")]
    assert set(zip(half["model"], half["amount"], strict=True)) == {
        ("uniter", 0.25),
        ("uniter", 0.5),
    }
    rates = accuracy[accuracy["pruning_set"] == "lr"]
    assert len(rates) == 70 and (rates["rule"] != "").all()
    openi = published.select(metric="accuracy", dataset="OPEN-I")["rule"].value_counts()
    assert openi["all negative"] == 69 and openi["all positive"] == 15


def test_an_accuracy_near_a_constant_is_not_taken_for_it() -> None:
    assert published.constant_answer(478 / 1012) == ""
    assert published.constant_answer(0.4714) == ""
    assert published.constant_answer(round(477 / 1012, 4)) == "always False"


def test_confusion_matrices_hold_all_captions_but_for_cut_decimals() -> None:
    cells = published.cells()
    counts = cells[cells["metric"].str.startswith("confusion")]
    totals = counts.groupby(["table", "row"])["value"].sum()
    assert len(totals) == 21
    assert totals.between(published.ITEMS - 2, published.ITEMS).all()


def test_words_and_counts_of_tables() -> None:
    tables = published.tables()
    assert tables["numbers"].sum() == len(published.cells())
    assert set(tables.loc[tables["numbers"] == 0, "table"]) == {"Table 1.1", "Table 1.2"}
    words = published.word_table("Table 1.2")
    assert words.loc[1, "winning ticket"] == "Model: not confident"


def test_the_document_speaks_of_seeds_only_as_this_project_does() -> None:
    text = (Path(published.__file__).parent / "published.json").read_text(encoding="utf-8")
    assert not re.search(r"\bseeds?\b|SPEC|METHOD", text)


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda: published.table("Table 44"), "Table 4"),
        (lambda: published.word_table("Table 4"), "Table 1.1"),
        (lambda: published.select(metric="accuracy", model="gpt"), "gpt"),
        (lambda: published.inline_number("nothing"), "nothing"),
    ],
)
def test_unknown_names_are_one_clear_line(ask, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(RecordError, match=re.escape(words)) as caught:
        ask()
    assert "\n" not in str(caught.value)


def test_frames_are_copies() -> None:
    first = published.cells()
    first["value"] = 0.0
    assert published.cells()["value"].sum() > 0


@pytest.mark.skipif("LTHLIB_SHARED" not in os.environ, reason="needs the collected source")
def test_nothing_was_lost_or_changed_on_the_way_here() -> None:
    path = Path(os.environ["LTHLIB_SHARED"]) / "published" / "published.json"
    collected = json.loads(path.read_text(encoding="utf-8"))
    records = pd.DataFrame([r for r in collected["records"] if r["seed"] == "000"])
    cells = published.cells()
    names = {"amount_per_epoch": "amount", "amount_per_epoch_b": "amount_b"}
    whole = ["value", "raw", "row", "column", "metric", "amount", "amount_b", "learning_rate"]
    theirs = records.rename(columns=names)[whole].sort_values(whole, ignore_index=True)
    ours = cells[whole].sort_values(whole, ignore_index=True)
    pd.testing.assert_frame_equal(ours, theirs, check_dtype=False)
    own = {"inline_numbers": published.inline_numbers(), "misprints": published.misprints()}
    for key, frame in own.items():
        assert len(frame) == sum(entry["seed"] == "000" for entry in collected[key])
    figures = {f["figure"] for f in collected["figures"] if f["seed"] == "000"}
    assert figures == set(published.figures()["figure"])
    assert len(collected["recovered_sd"]) == len(published.recovered_sd())
    tables = sum(t["seed"] == "000" for t in collected["tables"]) + len(collected["text_tables"])
    assert tables == len(published.tables())
