"""Frames that several notebooks start from, against numbers that were worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import made_readings
import synthetic
from degenerate import execute
from lthlib.records import project_root, shipped_store
from lthlib.report import shared, tidy
from lthlib.report.reading import Reading
from lthlib.study import Study

LABELS = [0, 1] * 10
ROOT = project_root(Path(__file__).parent)


def reading(model: str, dense: list[int], ticket: list[int], random: list[int]) -> Reading:
    """Runs with so many right answers of 20: dense, at level 1, and its random mask."""
    frames = [
        synthetic.one_record(
            LABELS, [y if i < right else 1 - y for i, y in enumerate(LABELS)],
            run=f"{model}-digits-s{seed}", level=level, branch=branch,
        )
        for seed, counts in enumerate(zip(dense, ticket, random, strict=True))
        for right, (level, branch) in zip(
            counts, [(0, "main"), (1, "main"), (1, "random-mask")], strict=True
        )
    ]  # fmt: skip
    study = Study(model=model, task="digits", seeds=(0, 1, 2))  # type: ignore[arg-type]
    return made_readings.reading(pd.concat(frames, ignore_index=True), study=study)


@pytest.fixture
def readings() -> list[Reading]:
    return [
        reading("uniter", [20, 20, 20], [17, 18, 19], [20, 10, 10]),
        reading("lxmert", [18, 19, 20], [18, 19, 20], [10, 11, 12]),
    ]


def test_how_models_stand(readings: list[Reading]) -> None:
    found = shared.standing(readings).set_index(["model", "level"])
    assert [model for model, _ in found.index] == ["lxmert", "lxmert", "uniter", "uniter"]
    uniter = found.loc[("uniter", 1)]
    # Differences -15, -10, -5 points: -10 -+ 4.303 * 5 / sqrt(3).
    assert uniter["change"] == pytest.approx(-0.1)
    assert uniter["change_low"] == pytest.approx(-0.2242, abs=1e-4)
    assert uniter["change_high"] == pytest.approx(0.0242, abs=1e-4)
    assert uniter["churn"] == pytest.approx(0.1) and uniter["fidelity"] == pytest.approx(0.9)
    assert uniter[["trivial_rule", "trivial_accuracy", "beats", "seeds"]].tolist() == [
        "always False", 0.5, 3, 3,
    ]  # fmt: skip
    assert uniter["floor_churn"] == 0  # all dense seeds are right everywhere
    # Dense seeds of LXMERT differ on 1, 2 and 1 of 20 items.
    assert found.loc[("lxmert", 0), "floor_churn"] == pytest.approx(4 / 60)
    assert found.loc[("lxmert", 1), ["change", "change_low", "change_high"]].tolist() == [0, 0, 0]
    assert pd.isna(found.loc[("lxmert", 0), "change"])


def test_lines_of_models(readings: list[Reading]) -> None:
    stands = shared.standing(readings)
    assert shared.dense_lines(stands).splitlines()[0] == (
        "- **LXMERT**, dense: right on 95.0 % (82.6 to 100.0) of all decisions; always False on "
        "50.0 %, beaten at 3 of 3 seeds"
    )
    assert shared.level_lines(stands, 1).splitlines()[1] == (
        "- **UNITER** with 20.0 % of its prunable weights gone (16.0 % of all): accuracy −10.0 "
        "(−22.4 to +2.4) points, another answer on 10.0 % (0.0 to 22.4); two dense seeds differ "
        "on 0.0 %"
    )
    changes = shared.changes_table(stands)
    assert changes.table["change, points"].tolist() == [
        "+0.0 (+0.0 to +0.0)",
        "−10.0 (−22.4 to +2.4)",
    ]
    assert changes.table["beats the rule at"].tolist() == ["3 of 3", "3 of 3"]


def test_controls_count_seeds_and_test_nothing(readings: list[Reading]) -> None:
    found = shared.controls(readings, 1)
    assert found[["model", "branch", "wins", "seeds"]].to_numpy().tolist() == [
        ["lxmert", "random-mask", 3, 3], ["uniter", "random-mask", 2, 3],
    ]  # fmt: skip
    assert shared.control_lines(found).startswith(
        "- **LXMERT**, random-mask: 55.0 % (42.6 to 67.4)"
    )
    assert shared.controls(readings, 0).empty


def test_a_collapsed_modality_is_named_where_it_is_first() -> None:
    levels = synthetic.levels(synthetic.predictions(runs=("uniter-a-s0", "uniter-a-s1"), levels=3))
    levels = levels.assign(model="uniter", collapsed="")
    assert tidy.collapses(levels).empty
    levels.loc[(levels["level"] == 2) & levels["run"].str.endswith("s1"), "collapsed"] = "vision"
    levels.loc[levels["level"] == 3, "collapsed"] = "vision"
    (found,) = tidy.collapses(levels).to_dict("records")
    assert (found["collapsed"], found["level"], found["seeds"]) == ("vision", 2, 1)
    assert found["sparsity"] == pytest.approx(0.36)


def test_the_level_spoken_of_is_chosen_by_place() -> None:
    def quality(levels: list[int], controls: list[int]) -> pd.DataFrame:
        branch = ["main"] * len(levels) + ["random-mask"] * len(controls)
        return pd.DataFrame({"level": [*levels, *controls], "branch": branch})

    assert tidy.focus(quality([0, 1, 2, 3], [])) == 2
    assert tidy.focus(quality([0, 1, 2, 3], [3])) == 3
    assert tidy.focus(quality([0], [])) == 0


def test_weights_that_are_left_by_modality() -> None:
    levels = synthetic.levels(synthetic.predictions(levels=2))
    levels.loc[levels["level"] == 2, "zeros_vision"] = 30_000
    found = tidy.left_by_modality(levels)
    assert found["left_vision"].tolist() == pytest.approx([1, 0.76, 0])
    assert "left_embeddings" not in found


# -- the notebooks that are made of them -----------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("compare", {"accuracy-and-fidelity", "comparison", "changes"}),
        (
            "prune",
            {
                "density", "levels", "accuracy", "quality", "fidelity", "cells", "faithfulness",
                "agreement", "matrix",
            },
        ),
    ],
)  # fmt: skip
def test_notebooks_show_all_of_it(
    name: str, shown: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    page = execute(name, monkeypatch, store=shipped_store().files.url)
    assert set(page.shown) == shown
    assert page.faults() == []
    assert all("3 seeds" in made.caption and made.alt for made in page.shown.values())
