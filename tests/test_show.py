"""What is shown: drawings and tables of summaries, labelled, described, and never a NaN."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

import synthetic
from lthlib.errors import RecordError
from lthlib.report import draw, shared, tidy
from lthlib.report.exhibits import MEASURES, Measure, sparsity_text, summary_text
from lthlib.report.measures import CELLS, agreements, beats_trivial, describe, quality
from lthlib.report.show import Table, basis, ladder_table, lines

SEEDS = ("uniter-digits-s0", "uniter-digits-s1", "uniter-digits-s2")
UNDEFINED = re.compile(r"\b(nan|<na>|none|nat|inf)\b|&lt;NA&gt;", re.IGNORECASE)
MEASURED = {
    quality: ["accuracy", "balanced_accuracy", "precision", "recall", "macro_f1", "mcc", "tp"],
    agreements: ["fidelity", "kappa", "faithful_accuracy", "unfaithful_accuracy_dense", *CELLS],
}
SHARES = {name: draw.Look(name, draw.BLUE) for name in CELLS}


def described(
    predicted: pd.DataFrame, measure: Callable[[pd.DataFrame], pd.DataFrame] = quality
) -> pd.DataFrame:
    return describe(measure(predicted), synthetic.levels(predicted), synthetic.runs(predicted))


def degenerate(run: str = "uniter-digits-s0") -> pd.DataFrame:
    """Dense is right; level 1 always says False; level 2 is always wrong; level 3 equals dense."""
    label = [0, 1] * 10
    answers = [label, [0] * 20, [1 - y for y in label], label]
    records = [synthetic.one_record(label, a, run=run, level=i) for i, a in enumerate(answers)]
    return pd.concat(records, ignore_index=True)


def accuracy(predicted: pd.DataFrame) -> draw.Drawing:
    data = tidy.with_seeds(described(predicted), shared.BY_BRANCH, ["accuracy"])
    return draw.ladder(data, draw.BRANCH_LOOKS, series="branch", lines={"always False": 0.5})


def every_drawing(predicted: pd.DataFrame) -> dict[str, draw.Drawing]:
    kept = tidy.main_branch(described(predicted, agreements))
    faithful = ["faithful_accuracy", "unfaithful_accuracy_dense"]
    looks = {name: draw.Look(name, draw.BLUE) for name in faithful}
    matrix = pd.DataFrame([[1.0, 0.5], [0.5, 1.0]])
    return {
        "accuracy": accuracy(predicted),
        "faithful": draw.ladder(tidy.with_seeds(kept, ["level"], faithful), looks, label="%"),
        "cells": draw.stacked(
            tidy.over_seeds(tidy.with_dense_cells(kept), ["level"], CELLS), SHARES, "decisions, %"
        ),
        "models": shared.accuracy_and_fidelity(described(predicted), kept),
        "heat": draw.heat({"a": matrix}, matrix, pd.Series([0.0, 0.2]), "equal answers, %"),
    }


def drawn(made: draw.Drawing) -> Figure:
    made.figure.savefig(io.BytesIO())  # warns or fails where something cannot be drawn
    return made.figure


@pytest.fixture(scope="module")
def shown() -> dict[str, draw.Drawing]:
    return every_drawing(synthetic.predictions(runs=SEEDS, branches=("random-mask",), items=200))


# -- drawings -------------------------------------------------------------------------------------
def test_every_drawing_is_labelled_and_described(shown: dict[str, draw.Drawing]) -> None:
    for name, made in shown.items():
        figure = drawn(made)
        assert len(made.alt) > 60 and not made.data.empty, name
        labels = {axes.get_xlabel() for axes in figure.axes if axes.get_xlabel()}
        assert labels == {"sparsity (prunable weights that are zero), %"}, name
        assert all(axes.get_ylabel().endswith("%") for axes in figure.axes), name
        assert figure.get_facecolor()[3] == 1 and min(to_rgb(figure.get_facecolor())) > 0.9


def test_text_is_at_least_nine_points_on_a_phone(shown: dict[str, draw.Drawing]) -> None:
    """360 pixels at 96 to the inch are 3.75 inches."""
    for made in shown.values():
        scale = 3.75 / made.figure.get_figwidth()
        for axes in made.figure.axes:
            texts = [axes.xaxis.label, axes.yaxis.label, *axes.get_xticklabels(), *axes.texts]
            assert all(text.get_fontsize() * scale > 9 for text in texts if text.get_text())


def test_alt_text_gives_the_numbers_of_the_data(shown: dict[str, draw.Drawing]) -> None:
    made = shown["accuracy"]
    main = made.data[made.data["branch"] == "main"].drop_duplicates("level")["mean"]
    assert f"ticket: {100 * main.iloc[0]:.1f} to {100 * main.iloc[-1]:.1f}" in made.alt
    assert made.alt.endswith("Lines: always False, 50.0.")


def test_a_ladder_has_a_thin_line_a_seed_and_bars_of_the_interval() -> None:
    made = accuracy(synthetic.predictions(runs=SEEDS, branches=("random-mask",), items=200))
    axes = drawn(made).axes[0]
    thin = [line for line in axes.get_lines() if line.get_linewidth() < 1]
    names = axes.get_legend_handles_labels()[1]
    assert names == ["always False", "ticket", "random mask"] or set(names) == {
        "ticket", "random mask", "always False",
    }  # fmt: skip
    ticket = made.data[made.data["branch"] == "main"].drop_duplicates("level")
    bars = next(c for c in axes.containers if c.get_label() == "ticket")
    ends = [segment[:, 1].tolist() for segment in bars.lines[2][0].get_segments()]
    expected = 100 * ticket[["low", "high"]].astype(float).clip(0, 1).to_numpy()
    assert ends == [pytest.approx(row) for row in expected.tolist()]
    assert bars.lines[0].get_ydata().tolist() == pytest.approx(
        (100 * ticket["mean"]).astype(float).tolist()
    )
    assert len(thin) == 2 * len(SEEDS)


def test_a_series_that_lacks_levels_is_not_joined() -> None:
    predicted = synthetic.predictions(runs=SEEDS, branches=("random-mask",), levels=4)
    few = predicted[(predicted["branch"] == "main") | (predicted["level"] == 2)]
    (container,) = (
        c for c in accuracy(few).figure.axes[0].containers if c.get_label() == "random mask"
    )
    assert container.lines[0].get_linestyle() == "None"


def test_cells_stack_to_all_decisions_and_empty_ones_are_left_out() -> None:
    for classes, seen in ((2, 4), (4, 5)):
        predicted = synthetic.predictions(runs=SEEDS, classes=classes)
        made = every_drawing(predicted)["cells"]
        assert made.data.groupby("level")["mean"].sum().astype(float).tolist() == pytest.approx(
            [1.0] * 4
        )
        assert len(drawn(made).axes[0].collections) == seen


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "predicted",
    [
        synthetic.predictions(),
        synthetic.predictions(levels=1),
        synthetic.predictions(levels=30),
        synthetic.predictions(decisions=synthetic.FINDINGS, runs=SEEDS),
        synthetic.pair([0, 1], [0, 1], [0, 1]).assign(run="uniter-x-s0"),
        synthetic.pair([0, 1], [1, 0], [0, 0]).assign(run="uniter-x-s0"),
    ],
    ids=["one seed", "one level", "long ladder", "findings", "equal to dense", "dense wrong"],
)
def test_odd_cases_are_drawn_without_a_warning(predicted: pd.DataFrame) -> None:
    for made in every_drawing(predicted).values():
        drawn(made)
        assert not UNDEFINED.search(made.alt)


def test_series_differ_in_colour_marker_and_line() -> None:
    for looks in (draw.BRANCH_LOOKS, draw.MODEL_LOOKS):
        for part in ("colour", "marker", "line"):
            values = [getattr(look, part) for look in looks.values()]
            assert len(set(values)) == len(values)


def test_a_drawing_saves_its_picture_and_numbers(
    shown: dict[str, draw.Drawing], tmp_path: Path
) -> None:
    paths = shown["accuracy"].save(tmp_path / "new", "accuracy")
    assert [path.name for path in paths] == ["accuracy.csv", "accuracy.png"]
    assert paths[1].read_bytes().startswith(b"\x89PNG")
    assert len(pd.read_csv(paths[0])) == len(shown["accuracy"].data)


# -- tables ---------------------------------------------------------------------------------------
def every_table(predicted: pd.DataFrame) -> list[Table]:
    model = predicted["run"].str.split("-").str[0]
    one = predicted[model == model.iloc[0]]
    made = [shared.measures(described(one, measure), names) for measure, names in MEASURED.items()]
    both = shared.accuracy_and_agreement(described(predicted), described(predicted, agreements))
    return [*made, both]


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
    for made in every_table(predicted):
        for cell in made.table.to_numpy().ravel():
            assert isinstance(cell, str) and cell and not UNDEFINED.search(cell)
        assert not UNDEFINED.search(made.alt)


def test_a_planted_nan_is_found_by_that_scan() -> None:
    assert UNDEFINED.search("nan") and UNDEFINED.search("&lt;NA&gt;")
    assert not UNDEFINED.search("dominant: 12.3 (1.0 to 2.0), fusion, banana")


def test_undefined_cells_give_their_reason() -> None:
    good, kept = (
        shared.measures(described(degenerate(), measure), names).table
        for measure, names in MEASURED.items()
    )
    assert good.loc[1, "precision, %"] == "not defined (never answers True)"
    assert good.loc[1, "recall, %"] == "0.0"
    assert kept.loc[1, "accuracy on faithful, %"] == "not defined (no faithful decision)"
    assert kept.loc[2, "dense on unfaithful, %"] == "not defined (no unfaithful decision)"
    for predicted in (degenerate(), synthetic.pair([0, 0], [0, 0], [0, 0])):
        for measure, names in MEASURED.items():
            frame = measure(predicted)
            for name in names:
                assert frame[name].notna().all() or MEASURES[name].undefined, name


def test_cells_hold_the_mean_and_interval_of_the_data() -> None:
    made = shared.measures(described(synthetic.predictions(runs=SEEDS)), ["accuracy"])
    mean, low, high = (100 * made.data.loc[1, name] for name in ("mean", "low", "high"))
    assert made.table["accuracy, %"].iloc[1] == f"{mean:.1f} ({low:.1f} to {min(high, 100):.1f})"


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
    table = shared.measures(described(predicted), ["accuracy"]).table
    assert table["level"].tolist()[-3:] == ["11"] * 3
    assert table["branch"].tolist()[-3:] == ["main", "random-mask", "high-magnitude"]
    assert table["sparsity, %"].iloc[1:4].tolist() == ["20.0"] * 3


def test_further_columns_go_by_level_and_branch() -> None:
    predicted = synthetic.predictions(runs=SEEDS, items=200)
    beats = beats_trivial(predicted).groupby(shared.BY_BRANCH)["beats"].sum().astype(str)
    summary = tidy.over_seeds(described(predicted), shared.BY_BRANCH, ["accuracy"])
    table = ladder_table(summary, {"beats": beats}).table
    assert table["beats"].iloc[0] == "3"


def test_models_side_by_side_say_what_was_not_run_and_what_is_dense() -> None:
    short = synthetic.predictions(runs=["lxmert-a-s0"], levels=1)
    long = synthetic.predictions(runs=["uniter-a-s0"], levels=2)
    both = pd.concat([short, long], ignore_index=True)
    table = every_table(both)[-1].table
    assert table["LXMERT", "accuracy, %"].iloc[2] == "not run"
    assert table["UNITER", "fidelity, %"].iloc[0] == "is dense"
    assert list(table.columns.get_level_values(0).unique()) == ["", "LXMERT", "UNITER"]


def test_means_over_different_studies_are_refused() -> None:
    both = described(synthetic.predictions(runs=["uniter-a-s0", "uniter-b-s0"]))
    with pytest.raises(RecordError, match="runs of one study, not of uniter-a, uniter-b"):
        tidy.over_seeds(both, shared.BY_BRANCH, ["accuracy"])


# -- words ----------------------------------------------------------------------------------------
def test_a_caption_says_seeds_items_interval_and_both_sparsities() -> None:
    several = described(synthetic.predictions(runs=SEEDS, items=1200, levels=2))
    assert basis(several) == (
        "3 seeds, 1,200 test items; 95 % t interval over seeds, cut where a measure ends. At the "
        "last level 36.0 % of prunable weights are zero, which is 28.8 % of all weights."
    )
    assert basis(described(synthetic.predictions())).startswith(
        "1 seed, 40 test items; no interval, since there is one seed."
    )
    findings = described(synthetic.predictions(decisions=synthetic.FINDINGS))
    assert "40 test items (120 decisions)" in basis(findings)


def test_lines_write_shares_and_points_with_their_intervals() -> None:
    told = pd.DataFrame(
        {
            "model": ["uniter", "lxmert"], "accuracy": [0.98, 0.5], "accuracy_low": [0.95, None],
            "accuracy_high": [1.01, None], "change": [-0.0123, None], "n": [3, 1],
        }
    )  # fmt: skip
    assert lines(told, "- {model}: {accuracy:%}, {change:pt}, {n} {n:03d}").splitlines() == [
        "- UNITER: 98.0 % (95.0 to 100.0), −1.2, 3 003",
        "- LXMERT: 50.0 %, not defined, 1 001",
    ]
    assert lines(told.head(0), "- {model}") == ""
