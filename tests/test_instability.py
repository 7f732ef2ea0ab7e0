"""Error barriers by hand, what counts as stable, and training longer before pruning."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

import made_readings
import synthetic
from lthlib.errors import RecordError
from lthlib.report.questions import instability, longer
from lthlib.study import Study


def line(error: list[float], run: str = "r", level: int = 0) -> pd.DataFrame:
    alpha = np.linspace(0, 1, len(error))
    return pd.DataFrame({"run": run, "level": level, "alpha": alpha, "error": error, "loss": 0.0})


def rows(**columns: object) -> pd.DataFrame:
    """A frame of measured(): two seeds of one model, dense and one level."""
    base = {
        "model": "uniter",
        "run": ["uniter-x-s0", "uniter-x-s1"] * 2,
        "level": [0, 0, 1, 1],
        "sparsity": [0.0, 0.0, 0.5, 0.5],
        "sparsity_all": [0.0, 0.0, 0.4, 0.4],
        "barrier": [0.10, 0.20, 0.001, 0.005],
        "ends": 0.05,
        "apart": 0.01,
        "change": [0.0, 0.0, 0.01, -0.005],
        "beats": True,
        "one_learns": False,
        "learnt": 0.045,
        "failed": 0.055,
        "items": 100,
        "decisions": 100,
    }
    return pd.DataFrame(base | columns)


def test_a_barrier_by_hand() -> None:
    found = instability.barriers(line([0.1, 0.3, 0.2])).iloc[0]
    assert found["barrier"] == pytest.approx(0.15)
    assert found["ends"] == pytest.approx(0.15)
    assert found["apart"] == pytest.approx(0.1)


def test_a_straight_or_sagging_line_has_half_of_what_its_ends_are_apart() -> None:
    for error in ([0.1, 0.2, 0.3], [0.1, 0.0, 0.3]):
        assert instability.barriers(line(error))["barrier"].iloc[0] == pytest.approx(0.1)


def test_the_order_of_rows_does_not_matter() -> None:
    path = line([0.1, 0.5, 0.1, 0.2])
    mixed = path.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(instability.barriers(path), instability.barriers(mixed))


def test_a_line_without_an_end_is_refused() -> None:
    with pytest.raises(RecordError, match="run r, level 0: the line lacks an end"):
        instability.barriers(line([0.1, 0.2, 0.3]).iloc[:2])


def test_measured_joins_accuracy_and_the_gate() -> None:
    label = [0, 1] * 50
    wrong = [1 - y for y in label]
    dense = label[:90] + wrong[90:]
    predictions = synthetic.pair(label, dense, [0] * 100)
    paths = pd.concat([line([0.1, 0.2, 0.1], "r", 0), line([0.5, 0.5, 0.5], "r", 1)])
    reading = made_readings.reading(predictions, tables={"barriers": paths})
    found = instability.measured(reading).set_index("level")
    assert found["barrier"].tolist() == pytest.approx([0.1, 0.0])
    assert found["change"].tolist() == pytest.approx([0.0, -0.4])
    assert found["beats"].tolist() == [True, False]


def test_the_sentence_counts_stable_seeds_and_says_what_it_cannot_tell() -> None:
    text = instability.stability_sentence(rows())
    assert "UNITER 15.0 points, stable at 0 of 2 seeds" in text
    assert "(2 seeds a model), 2 of 2 that are stable are at most 1 point below" in text
    assert "None is not stable: nothing here says that stability is what matters" in text
    both = instability.stability_sentence(rows(barrier=[0.1, 0.2, 0.001, 0.05]))
    assert "1 of 1 that are stable and 1 of 1 that are not stable are at most 1 point" in both
    assert "nothing here says" not in both


def test_tickets_above_their_dense_model_are_counted_as_such() -> None:
    text = instability.stability_sentence(rows(change=[0.0, 0.0, 0.02, -0.005]))
    assert "2 of 2 that are stable are at most 1 point below their dense model; 1 of these" in text
    below = instability.stability_sentence(rows(change=[0.0, 0.0, 0.02, -0.03]))
    assert "1 of 2 that are stable" in below


@pytest.mark.parametrize("learns_first", [True, False])
def test_a_level_that_learns_in_one_order_alone_counts_as_unstable(learns_first: bool) -> None:
    label = [0, 1] * 50
    wrong = [1 - y for y in label]
    dense = label[:90] + wrong[90:]
    predictions = synthetic.pair(label, dense, dense if learns_first else [0] * 100)
    path = [0.1, 0.5, 0.5] if learns_first else [0.5, 0.5, 0.1]
    paths = pd.concat([line([0.1, 0.2, 0.1], "r", 0), line(path, "r", 1)])
    found = instability.measured(made_readings.reading(predictions, tables={"barriers": paths}))
    ticket = found.set_index("level").loc[1]
    assert ticket["beats"]
    assert ticket["one_learns"]
    assert ticket["barrier"] == pytest.approx(0.2)
    text = instability.stability_sentence(found)
    assert re.search(r"and the other is not: UNITER at [\d.]+ %, seed 0 \(", text)
    assert "50.0 % of answers wrong after one training, 10.0 % after the other" in text
    assert f"{int(learns_first)} of 1 that are not stable" in text
    assert instability.barrier_table(found).table["stable seeds"].iloc[1] == "0 of 1"


def test_only_an_accuracy_that_beats_the_rule_whatever_its_answers_surely_beats() -> None:
    accuracy, trivial, items = pd.Series([0.57, 0.60, 0.40]), pd.Series([0.5] * 3), pd.Series(100)
    found = instability.surely_beats(accuracy, trivial, items.repeat(3).reset_index(drop=True))
    # 43 lost and 50 won: p = 0.27; 40 and 50: p = 0.17, so neither is sure.
    assert found.tolist() == [False, False, False]
    more = instability.surely_beats(accuracy, trivial, pd.Series([1600] * 3))
    assert more.tolist() == [True, True, False]


def test_a_constant_ticket_is_not_counted_as_stable() -> None:
    beats = [True, True, False, False]
    text = instability.stability_sentence(rows(beats=beats))
    assert "No ticket beats the best trivial rule" in text
    table = instability.barrier_table(rows(beats=beats)).table
    assert table["stable seeds"].tolist() == ["0 of 2", "none counts"]
    assert "no better than the trivial rule" in table["barrier, points"].iloc[1]


def test_the_table_writes_points_and_intervals() -> None:
    table = instability.barrier_table(rows(barrier=[0.1, 0.1, 0.001, 0.005])).table
    assert table["barrier, points"].iloc[0] == "10.0 (10.0 to 10.0)"
    assert table["accuracy less dense, points"].iloc[1] == "+0.2"


def test_figures_draw_every_model_and_say_their_numbers() -> None:
    two = pd.concat([rows(), rows(model="lxmert", run=["lxmert-x-s0", "lxmert-x-s1"] * 2)])
    exhibit = instability.barrier_figure(two)
    assert "UNITER, two orders of items: 15.0 to 0.3" in exhibit.alt
    assert len(exhibit.figure.axes) == 2
    paths = pd.concat([line([0.1, 0.4, 0.1], r, k) for r in two["run"].unique() for k in (0, 1)])
    exhibit = instability.path_figure(paths, two)
    assert "LXMERT 40.0 %" in exhibit.alt


# -- longer training ------------------------------------------------------------------------------
def lengths(seeds: int = 3) -> pd.DataFrame:
    """Rows of by_epochs: the ticket gains two points and fidelity six, a little unevenly."""
    frames = []
    for epochs, accuracy, fidelity in ((1, 0.90, 0.85), (12, 0.92, 0.91)):
        for seed in range(seeds):
            off = 0.001 * seed * epochs
            frames.append(
                {
                    "model": "uniter",
                    "epochs": epochs,
                    "seed": seed,
                    "level": 1,
                    "sparsity": 0.5,
                    "accuracy_dense": accuracy,
                    "accuracy_pruned": accuracy + off,
                    "fidelity": fidelity + off,
                    "ceiling": 1 - off,
                    "beats": True,
                    "items": 100,
                }
            )
    return pd.DataFrame(frames)


def test_longer_training_is_compared_by_seed() -> None:
    text = longer.epochs_sentence(lengths())
    assert "UNITER: accuracy by +3.1 (+0.4 to +5.8, 3 seeds)" in text
    assert "fidelity by +7.1" in text and "95 % t intervals over seeds, paired" in text


def test_one_seed_and_one_length_get_words() -> None:
    assert "accuracy by +2.0 (one seed)" in longer.epochs_sentence(lengths(1))
    only = lengths()
    assert "only 1 epochs are recorded so far" in longer.epochs_sentence(only[only["epochs"] == 1])


def test_tickets_at_chance_are_named_as_such() -> None:
    text = longer.epochs_sentence(lengths().assign(beats=False))
    assert "no ticket of UNITER is shown to beat the best trivial rule" in text
    assert "accuracy by" not in text


def test_by_epochs_reads_the_length_off_the_study_and_gives_the_ceiling() -> None:
    label = [0, 1] * 50
    wrong = [1 - y for y in label]
    predictions = synthetic.pair(label, label[:90] + wrong[90:], label[:70] + wrong[70:])
    study = Study(model="uniter", task="digits", dense_epochs=12, levels=1, seeds=(0,))
    row = longer.by_epochs([made_readings.reading(predictions, study=study)]).iloc[0]
    assert row["epochs"] == 12
    assert row["fidelity"] == pytest.approx(0.8)
    assert row["ceiling"] == pytest.approx(0.8)
    assert bool(row["beats"])


def test_the_table_and_figure_of_lengths() -> None:
    table = longer.epochs_table(lengths()).table
    assert table["epochs before pruning"].tolist() == ["1", "12"]
    exhibit = longer.epochs_figure(lengths())
    assert "fidelity, 50.0 %: 85.1 to 92.2" in exhibit.alt
