"""Figures: labelled, described, with their data; readable and drawable in every odd case."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

import synthetic
from lthlib.errors import RecordError
from lthlib.report import figures
from lthlib.report.exhibits import Exhibit
from lthlib.report.figures import (
    accuracy_figure,
    cells_figure,
    comparison_figure,
    density_figure,
    faithfulness_figure,
    fidelity_figure,
    fidelity_matrix_figure,
)
from lthlib.report.measures import agreements, describe, fidelity_matrix, quality, seed_floor

SEEDS = ("uniter-digits-s0", "uniter-digits-s1", "uniter-digits-s2")


def every_figure(predicted: pd.DataFrame) -> dict[str, Exhibit]:
    levels, runs = synthetic.levels(predicted), synthetic.runs(predicted)
    good = describe(quality(predicted), levels, runs)
    kept = describe(agreements(predicted), levels, runs)
    matrix = fidelity_matrix(predicted)
    return {
        "accuracy": accuracy_figure(good),
        "fidelity": fidelity_figure(kept, floor=seed_floor(matrix)),
        "faithfulness": faithfulness_figure(kept),
        "cells": cells_figure(kept),
        "matrix": fidelity_matrix_figure(matrix, levels),
        "comparison": comparison_figure(good, kept),
        "density": density_figure(levels),
    }


def drawn(exhibit: Exhibit) -> Figure:
    assert exhibit.figure is not None
    exhibit.figure.savefig(io.BytesIO())  # warns or fails where something cannot be drawn
    return exhibit.figure


@pytest.fixture(scope="module")
def shown() -> dict[str, Exhibit]:
    return every_figure(synthetic.predictions(runs=SEEDS, branches=("random-mask",), items=200))


def test_every_figure_has_caption_alt_data_and_labels(shown: dict[str, Exhibit]) -> None:
    for name, exhibit in shown.items():
        figure = drawn(exhibit)
        assert "3 seeds" in exhibit.caption, name
        assert "% of all weights" in exhibit.caption, name
        assert len(exhibit.alt) > 80, name
        assert not exhibit.data.empty, name
        labels = [axes.get_xlabel() for axes in figure.axes if axes.get_xlabel()]
        assert labels, name
        assert all(text == "sparsity (prunable weights that are zero), %" for text in labels), name
        assert all(axes.get_ylabel().endswith("%") for axes in figure.axes), name


def test_captions_define_the_intervals(shown: dict[str, Exhibit]) -> None:
    for name in ("accuracy", "fidelity", "faithfulness", "comparison"):
        assert "band: 95 % t interval over seeds" in shown[name].caption
        assert "200 test items" in shown[name].caption
    assert "controls, with the same interval" in shown["accuracy"].caption
    assert "dense of another seed" in shown["fidelity"].caption


def test_alt_text_gives_the_numbers_of_the_data(shown: dict[str, Exhibit]) -> None:
    data = shown["accuracy"].data
    main = data[data["branch"] == "main"].drop_duplicates("level").set_index("level")["mean"]
    assert f"ticket {100 * main[0]:.1f} % at 0 %" in shown["accuracy"].alt
    assert f"to {100 * main[3]:.1f} % at 48.8 %" in shown["accuracy"].alt


def test_data_holds_every_seed_and_the_interval(shown: dict[str, Exhibit]) -> None:
    data = shown["accuracy"].data
    assert set(data["run"]) == set(SEEDS)
    assert {"value", "mean", "low", "high", "n", "sparsity", "sparsity_all"} <= set(data.columns)
    means = data.groupby(["level", "branch"])["value"].mean().astype(float)
    stored = data.groupby(["level", "branch"])["mean"].first().astype(float)
    pd.testing.assert_series_equal(means, stored, check_names=False)


def test_one_thin_line_per_seed_one_mean_and_the_trivial_rule(shown: dict[str, Exhibit]) -> None:
    lines = drawn(shown["accuracy"]).axes[0].get_lines()
    assert len([line for line in lines if line.get_linewidth() < 1]) == len(SEEDS)
    named = {str(line.get_label()): line for line in lines}
    assert named["ticket"].get_linewidth() == 2
    trivial = next(line for label, line in named.items() if label.endswith("(trivial)"))
    assert trivial.get_linestyle() == "--"


def test_cells_stack_to_all_decisions(shown: dict[str, Exhibit]) -> None:
    data = shown["cells"].data.drop_duplicates(["level", "measure"])
    assert data.groupby("level")["mean"].sum().astype(float).tolist() == pytest.approx([1.0] * 4)
    assert "Cell g (different wrong answers) is empty" in shown["cells"].caption
    several = synthetic.predictions(runs=SEEDS, classes=4)
    levels = synthetic.levels(several)
    exhibit = cells_figure(describe(agreements(several), levels))
    assert "is empty" not in exhibit.caption
    assert len(drawn(exhibit).axes[0].collections) == 5


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
    for exhibit in every_figure(predicted).values():
        drawn(exhibit)
        assert " nan" not in exhibit.alt + exhibit.caption


def test_one_seed_is_said_to_have_no_interval() -> None:
    shown = every_figure(synthetic.predictions())
    assert "no interval, since there is one seed" in shown["accuracy"].caption
    assert "no second panel" in shown["matrix"].caption


def test_series_differ_in_colour_marker_and_line() -> None:
    for looks in (figures.BRANCH_LOOKS, figures.MODEL_LOOKS, figures.FAITHFULNESS_LOOKS):
        for part in ("colour", "marker", "line"):
            values = [getattr(look, part) for look in looks.values()]
            assert len(set(values)) == len(values)
    assert len({hatch for _, hatch in figures.CELL_LOOKS.values()}) == len(figures.CELL_LOOKS)


def test_background_is_opaque_and_light(shown: dict[str, Exhibit]) -> None:
    for exhibit in shown.values():
        figure = drawn(exhibit)
        assert figure.get_facecolor()[3] == 1
        assert min(to_rgb(figure.get_facecolor())) > 0.9


def test_text_is_at_least_nine_points_on_a_phone(shown: dict[str, Exhibit]) -> None:
    """360 pixels at 96 to the inch are 3.75 inches."""
    for exhibit in shown.values():
        figure = drawn(exhibit)
        scale = 3.75 / figure.get_figwidth()
        for axes in figure.axes:
            texts = [axes.xaxis.label, axes.yaxis.label, *axes.get_xticklabels(), *axes.texts]
            assert all(text.get_fontsize() * scale > 9 for text in texts if text.get_text())


def test_a_figure_saves_its_picture_and_numbers(shown: dict[str, Exhibit], tmp_path: Path) -> None:
    paths = shown["accuracy"].save(tmp_path, "accuracy")
    assert [path.name for path in paths] == ["accuracy.csv", "accuracy.png"]
    assert paths[1].read_bytes().startswith(b"\x89PNG")
    with pytest.raises(TypeError, match="a figure, not a table"):
        shown["accuracy"].table_html()


def test_a_comparison_has_a_line_for_each_model() -> None:
    predicted = synthetic.predictions(runs=["lxmert-a-s0", "uniter-a-s0", "visualbert-a-s0"])
    levels, runs = synthetic.levels(predicted), synthetic.runs(predicted)
    good = describe(quality(predicted), levels, runs)
    kept = describe(agreements(predicted), levels, runs)
    exhibit = comparison_figure(good, kept)
    named = [str(line.get_label()) for line in drawn(exhibit).axes[0].get_lines()]
    assert [name for name in named if name in ("VisualBERT", "LXMERT", "UNITER")] == [
        *("VisualBERT", "LXMERT", "UNITER")
    ]
    with pytest.raises(RecordError, match="no column 'model'"):
        comparison_figure(good.drop(columns="model"), kept)
    with pytest.raises(RecordError, match="runs of one study"):
        accuracy_figure(good.drop(columns="model"))
