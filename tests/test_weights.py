"""Correlations within seeds against pingouin, what is refused, and what chance hides."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pingouin
import pytest

import made_readings
import synthetic
from lthlib.report.questions import confidence, weights
from lthlib.report.reading import Reading


def made(seeds: int = 4, levels: int = 6, slope: float = 0.5, seed: int = 0) -> pd.DataFrame:
    """Seeds with levels of their own, and y that rises with x within each."""
    random = np.random.default_rng(seed)
    subject = np.repeat(np.arange(seeds), levels)
    z = np.tile(np.linspace(0, 1, levels), seeds)
    x = random.normal(size=len(z)) + z - 5 * subject
    y = slope * x + random.normal(size=len(z)) + z + 9 * subject
    return pd.DataFrame({"seed": subject, "x": x, "y": y, "z": z})


@pytest.mark.parametrize("seed", range(4))
def test_within_is_the_repeated_measures_correlation_of_pingouin(seed: int) -> None:
    frame = made(seed=seed)
    found = weights.within(frame, "x", "y", "seed")
    other = pingouin.rm_corr(frame, x="x", y="y", subject="seed").iloc[0]
    assert found["r"] == pytest.approx(other["r"])
    assert found["p"] == pytest.approx(other.filter(like="p").iloc[0])
    assert found["df"] == other["dof"]


def test_given_a_common_cause_is_the_partial_correlation_of_dummies() -> None:
    frame = made()
    found = weights.within(frame, "x", "y", "seed", ["z"])
    dummies = pd.get_dummies(frame["seed"], prefix="s", drop_first=True, dtype=float)
    wide = frame.join(dummies)
    other = pingouin.partial_corr(wide, x="x", y="y", covar=["z", *dummies.columns])
    assert found["r"] == pytest.approx(other["r"].iloc[0])
    assert found["p"] == pytest.approx(other.filter(like="p").iloc[0, 0])


def test_a_common_cause_is_partialled_out() -> None:
    z = np.tile(np.linspace(0, 1, 20), 4)
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"seed": np.repeat(range(4), 20), "z": z})
    frame["x"], frame["y"] = (z + 0.05 * random.normal(size=80) for _ in range(2))
    assert weights.within(frame, "x", "y", "seed")["r"] > 0.9
    assert abs(weights.within(frame, "x", "y", "seed", ["z"])["r"]) < 0.3


def test_what_cannot_be_tested_gets_words_and_no_number() -> None:
    flags = {
        "2 seeds: too few for a test": made(seeds=2),
        "too few levels within seeds: no test": made(levels=1),
        "y does not vary within seeds: no test": made().assign(y=lambda f: 0.1 * f["seed"]),
        "x does not vary within seeds: no test": made().assign(x=0.3),
    }
    for flag, frame in flags.items():
        found = weights.within(frame, "x", "y", "seed")
        assert (found["r"], found["p"], found["flags"]) == (None, None, flag)
    exact = weights.within(made().assign(y=lambda f: 2 * f["x"]), "x", "y", "seed")
    assert exact["p"] is None
    assert exact["flags"] == "no scatter at all: no test"


def reading(fresh: float, seeds: int = 3) -> Reading:
    """Tickets right on 90 to 98 %, fresh start values right on a given share."""
    label = np.arange(200) % 2

    def answers(share: float) -> list[int]:
        right = np.arange(200) < round(200 * share)
        return list(np.where(right, label, 1 - label) if share > 0.5 else np.zeros(200, dtype=int))

    frames, table = [], []
    random = np.random.default_rng(0)
    for seed in range(seeds):
        run = f"r-s{seed}"
        frames.append(synthetic.one_record(list(label), answers(0.9), run=run))
        for level in range(1, 5):
            gain = 0.88 + 0.02 * random.integers(1, 6)
            frames.append(synthetic.one_record(list(label), answers(gain), run=run, level=level))
            frames.append(
                synthetic.one_record(
                    list(label), answers(fresh), run=run, level=level, branch="reinitialised"
                )
            )
            for group in ("all", "vision"):
                row = {"run": run, "level": level, "branch": "main", "group": group}
                table.append(
                    row | {"correlation_start": gain, "correlation_dense": 0.7 + level / 9}
                )
    predictions = pd.concat(frames, ignore_index=True)
    return made_readings.reading(predictions, tables={"weights": pd.DataFrame(table)})


def test_gain_is_ticket_less_fresh_start_values() -> None:
    rows = weights.gains(reading(0.7), "concluding")
    assert len(rows) == 12
    assert rows["gain"].to_numpy() == pytest.approx((rows["accuracy"] - 0.7).to_numpy())
    assert rows["fresh_beats"].all()
    assert rows["correlation_start"].between(0.9, 0.99).all()


def test_a_study_without_fresh_start_values_has_no_gain() -> None:
    only = reading(0.7)
    main = only.predictions[only.predictions["branch"] == "main"]
    assert weights.gains(made_readings.reading(main), "observed").empty


def test_fresh_values_at_chance_everywhere_are_called_so() -> None:
    rows = weights.gains(reading(0.5), "concluding")
    text = weights.gain_sentence(rows)
    assert "cannot be told" in text and "never shown to beat" in text
    assert "correlations of the gain" not in text
    table = weights.explained_table(rows).table
    assert set(table["fresh start values"]) == {"at chance everywhere"}


def test_fresh_values_that_learn_get_tests_with_holm() -> None:
    rows = weights.gains(reading(0.7), "concluding")
    found = weights.explained(rows)
    assert not found["chance"].any()
    tested = found["p_likeness"].notna()
    assert (found.loc[tested, "holm_likeness"] >= found.loc[tested, "p_likeness"]).all()
    text = weights.gain_sentence(rows)
    assert "Where fresh start values do learn" in text
    assert "cannot be told" not in text


def test_the_figure_names_models_and_parts() -> None:
    exhibit = weights.gain_figure(weights.gains(reading(0.7), "concluding"))
    assert "12 tickets" in exhibit.alt
    names = [text.get_text() for text in exhibit.figure.legends[0].get_texts()]
    assert names == ["UNITER"]


def test_the_legend_shows_every_mark_that_is_drawn_and_no_other() -> None:
    rows = weights.gains(reading(0.7), "concluding")
    both = pd.concat([rows, rows.assign(part="rates"), rows.assign(model="lxmert")])
    figure = weights.gain_figure(both).figure
    handles = figure.legends[0].legend_handles
    looks = [(h.get_marker(), h.get_color(), h.get_fillstyle()) for h in handles]
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) and line.get_marker()]
    drawn = {(m.get_marker(), m.get_color(), m.get_fillstyle()) for m in lines}
    assert set(looks) <= drawn
    names = [handle.get_label() for handle in handles]
    assert names == ["LXMERT, concluding", "UNITER, concluding", "UNITER, rates"]


def test_the_sentence_names_only_what_was_run() -> None:
    rows = weights.gains(reading(0.5), "concluding")
    text = weights.gain_sentence(rows)
    levels = rows["level"].nunique()
    assert f"best trivial rule: UNITER, at {levels} levels of the ladder. There" in text
    assert "learning rate" not in text and "as long" not in text
    assert "fresh ones take pre-training away too" in text
    more = pd.concat([rows, rows[rows["level"] == 1].assign(part="rates")])
    assert "of the ladder and at 1 learning rate of one level." in weights.gain_sentence(more)


# -- confidence and invariability -----------------------------------------------------------------
def test_confidence_and_invariability_follow_from_three_numbers() -> None:
    made_up = synthetic.predictions(runs=("uniter-digits-s0", "uniter-digits-s1"), items=200)
    agreements = made_readings.reading(made_up).agreements
    found = confidence.determined(agreements)
    assert found["invariability_error"].max() == 0
    assert found["confidence_error"].max() < 1e-12
    assert "invariability differs from fidelity by nothing at all" in (
        confidence.determined_sentence(agreements)
    )


def test_a_planted_error_in_confidence_is_seen() -> None:
    agreements = made_readings.reading(synthetic.predictions(items=200)).agreements
    wrong = agreements.assign(confidence=agreements["confidence"] + 0.01)
    assert confidence.determined(wrong)["confidence_error"].min() == pytest.approx(0.01)
    assert "at most 1e-02" in confidence.determined_sentence(wrong)


def test_the_table_shows_one_number_twice() -> None:
    agreements = made_readings.reading(synthetic.predictions(items=200)).agreements
    table = confidence.determined_table(agreements).table
    assert table["fidelity, %"].tolist() == table["invariability, %"].tolist()
