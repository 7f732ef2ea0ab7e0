"""Tables: what they say, and that no cell is ever a NaN."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import synthetic
from lthlib.errors import RecordError
from lthlib.report.exhibits import MEASURES, Exhibit, Measure, sparsity_text, summary_text
from lthlib.report.measures import agreements, beats_trivial, describe, quality
from lthlib.report.tables import (
    AGREEMENT,
    QUALITY,
    agreement_table,
    comparison_table,
    levels_table,
    quality_table,
)

UNDEFINED = re.compile(r"\b(nan|<na>|none|nat|inf)\b|&lt;NA&gt;", re.IGNORECASE)
SEEDS = ("uniter-digits-s0", "uniter-digits-s1", "uniter-digits-s2")


def described(
    predicted: pd.DataFrame, measure: Callable[[pd.DataFrame], pd.DataFrame] = quality
) -> pd.DataFrame:
    levels, runs = synthetic.levels(predicted), synthetic.runs(predicted)
    return describe(measure(predicted), levels, runs)


def degenerate(run: str = "uniter-digits-s0") -> pd.DataFrame:
    """Dense is right; level 1 always says False; level 2 is always wrong; level 3 equals dense."""
    label = [0, 1] * 10
    answers = [label, [0] * 20, [1 - y for y in label], label]
    records = [synthetic.one_record(label, a, run=run, level=i) for i, a in enumerate(answers)]
    return pd.concat(records, ignore_index=True)


def every_table(predicted: pd.DataFrame) -> list[Exhibit]:
    levels, runs = synthetic.levels(predicted), synthetic.runs(predicted)
    good, kept = described(predicted), described(predicted, agreements)
    one = runs["run"].str.contains(runs["model"].iloc[0])
    mine = set(runs.loc[one, "run"])
    of = {
        name: frame[frame["run"].isin(mine)]
        for name, frame in {"q": good, "a": kept, "l": levels, "p": predicted}.items()
    }
    return [
        levels_table(of["l"]),
        quality_table(of["q"], gate=beats_trivial(of["p"])),
        quality_table(of["q"], measures=["macro_precision", "macro_f1"]),
        agreement_table(of["a"]),
        comparison_table(good, kept),
    ]


@pytest.mark.parametrize(
    "predicted",
    [
        synthetic.predictions(runs=SEEDS, branches=("random-mask",)),
        synthetic.predictions(runs=("uniter-digits-s0",)),
        synthetic.predictions(runs=SEEDS, decisions=synthetic.FINDINGS),
        synthetic.predictions(runs=("uniter-a-s0", "lxmert-a-s0", "lxmert-a-s1"), levels=1),
        degenerate(),
        pd.concat([degenerate("uniter-x-s0"), degenerate("uniter-x-s1")]),
    ],
    ids=["seeds", "one seed", "findings", "models", "degenerate", "degenerate seeds"],
)
def test_no_cell_is_ever_a_nan(predicted: pd.DataFrame) -> None:
    for exhibit in every_table(predicted):
        assert exhibit.table is not None
        assert exhibit.table.map(lambda cell: isinstance(cell, str) and cell != "").all(axis=None)
        cells = re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", exhibit.table_html())
        # "none" is a word in the levels table: no modality has collapsed.
        assert not [cell for cell in cells if cell != "none" and UNDEFINED.search(cell)]
        assert not UNDEFINED.search(exhibit.caption + exhibit.alt)


def test_a_planted_nan_is_found_by_that_scan() -> None:
    assert UNDEFINED.search("nan") and UNDEFINED.search("&lt;NA&gt;")
    assert not UNDEFINED.search("dominant: 12.3 (1.0 to 2.0), fusion, banana")


def test_undefined_cells_give_their_reason() -> None:
    predicted = degenerate()
    table = quality_table(described(predicted)).table
    assert table is not None
    assert table.loc[1, "precision, %"] == "not defined (never answers True)"
    assert table.loc[1, "recall, %"] == "0.0"
    table = agreement_table(described(predicted, agreements)).table
    assert table is not None
    assert table.loc[1, "accuracy on faithful, %"] == "not defined (no faithful decision)"
    assert table.loc[2, "dense on unfaithful, %"] == "not defined (no unfaithful decision)"


def test_every_measure_that_may_be_undefined_has_a_reason() -> None:
    for predicted in (degenerate(), synthetic.pair([0, 0], [0, 0], [0, 0])):
        for measure, names in ((quality, QUALITY), (agreements, AGREEMENT)):
            frame = measure(predicted)
            for name in names:
                assert frame[name].notna().all() or MEASURES[name].undefined, name


def test_both_sparsities_and_the_numbers_of_seeds_and_items() -> None:
    predicted = synthetic.predictions(runs=SEEDS, items=1200, levels=2)
    for exhibit in every_table(predicted)[1:]:
        assert "3 seeds, 1,200 test items" in exhibit.caption
        assert "95 % t interval over seeds" in exhibit.caption
        table = exhibit.table
        assert table is not None
        flat = table.set_axis([c[-1] if isinstance(c, tuple) else c for c in table.columns], axis=1)
        assert flat["sparsity, %"].iloc[-1] == "36.0"
        assert flat["of all weights, %"].iloc[-1] == "28.8"


def test_one_seed_has_no_interval_and_the_caption_says_so() -> None:
    exhibit = quality_table(described(synthetic.predictions()))
    assert "no interval, since there is one seed" in exhibit.caption
    assert "1 seed, 40 test items" in exhibit.caption
    assert exhibit.table is not None
    assert not exhibit.table["accuracy, %"].str.contains("to").any()


def test_several_findings_are_counted_as_decisions() -> None:
    predicted = synthetic.predictions(decisions=synthetic.FINDINGS)
    assert "40 test items (120 decisions)" in quality_table(described(predicted)).caption


def test_cells_hold_the_mean_and_interval_of_the_data() -> None:
    exhibit = quality_table(described(synthetic.predictions(runs=SEEDS)))
    row = exhibit.data[(exhibit.data["measure"] == "accuracy") & (exhibit.data["level"] == 1)]
    mean, low, high = (100 * row[name].iloc[0] for name in ("mean", "low", "high"))
    assert exhibit.table is not None
    text = exhibit.table["accuracy, %"].iloc[1]
    assert text == f"{mean:.1f} ({low:.1f} to {min(high, 100):.1f})"


def test_intervals_are_cut_where_a_share_ends() -> None:
    row = pd.Series({"mean": 0.99, "low": 0.97, "high": 1.01, "n": 3, "seeds": 3})
    assert summary_text(MEASURES["accuracy"], row) == "99.0 (97.0 to 100.0)"
    row["seeds"] = 5
    assert summary_text(MEASURES["kappa"], row) == "0.990 (0.970 to 1.000), 3 of 5"
    assert summary_text(Measure("n", "count"), row * 100) == "99, 300 of 500"


def test_sparsity_never_rounds_to_all_or_nothing() -> None:
    shares = [0.0, 0.00004, 0.2, 0.9733, 0.99991, 0.9999999, 1.0]
    assert [sparsity_text(share) for share in shares] == [
        *("0", "0.004", "20.0", "97.3", "99.99", "99.99999", "100")
    ]


def test_rows_go_main_first_and_levels_in_order() -> None:
    predicted = synthetic.predictions(levels=11, branches=("high-magnitude", "random-mask"))
    table = quality_table(described(predicted)).table
    assert table is not None
    assert table["level"].tolist()[-3:] == ["11"] * 3
    assert table["branch"].tolist()[-3:] == ["main", "random-mask", "high-magnitude"]


def test_the_gate_is_counted_over_seeds() -> None:
    predicted = synthetic.predictions(runs=SEEDS, items=200)
    table = quality_table(described(predicted), gate=beats_trivial(predicted)).table
    assert table is not None
    assert table["beats trivial rule"].iloc[0] == "3 of 3"


def test_the_as_published_stage_is_shown_beside_dense() -> None:
    predicted = synthetic.predictions(stages=("pruned",))
    table = quality_table(described(predicted), stage="pruned").table
    assert table is not None
    assert table["level"].tolist() == ["0", "1", "2", "3"]
    with pytest.raises(RecordError, match="unknown stage"):
        quality_table(described(predicted), stage="prund")


def test_comparison_says_what_was_not_run_and_what_is_dense() -> None:
    short = synthetic.predictions(runs=["lxmert-a-s0"], levels=1)
    long = synthetic.predictions(runs=["uniter-a-s0"], levels=2)
    both = pd.concat([short, long], ignore_index=True)
    table = comparison_table(described(both), described(both, agreements)).table
    assert table is not None
    assert table["LXMERT", "accuracy, %"].iloc[2] == "not run"
    assert table["UNITER", "fidelity, %"].iloc[0] == "is dense"
    assert list(table.columns.get_level_values(0).unique()) == ["", "LXMERT", "UNITER"]


def test_means_over_different_studies_are_refused() -> None:
    both = described(synthetic.predictions(runs=["uniter-a-s0", "uniter-b-s0"]))
    with pytest.raises(RecordError, match="runs of one study, not of uniter-a, uniter-b"):
        quality_table(both)
    with pytest.raises(RecordError, match="no column 'model'"):
        comparison_table(both.drop(columns="model"), both)


def test_a_table_saves_its_numbers(tmp_path: Path) -> None:
    exhibit = quality_table(described(synthetic.predictions()))
    paths = exhibit.save(tmp_path / "new", "quality")
    assert [path.name for path in paths] == ["quality.csv"]
    assert len(pd.read_csv(paths[0])) == len(exhibit.data)


def test_levels_table_shows_where_the_weights_went() -> None:
    levels = synthetic.levels(synthetic.predictions(runs=SEEDS, levels=2))
    levels.loc[levels["level"] == 2, ["zeros_vision", "collapsed"]] = [30_000, "vision"]
    table = levels_table(levels).table
    assert table is not None
    assert table["zeros"].tolist() == ["0", "24,000", "43,200"]
    assert table["left in vision, %"].tolist() == ["100", "76.0", "0"]
    assert table["collapsed"].tolist() == ["none", "none", "vision"]
    assert "left in embeddings, %" not in table.columns
