"""Do forgettable items predict unfaithful ones: the ranking, its controls, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

import made_readings
import synthetic
from lthlib.errors import RecordError
from lthlib.report.questions import forgetting
from lthlib.report.reading import Reading
from lthlib.study import Study

ITEMS = 200


def training(times: np.ndarray, runs: tuple[str, ...] = ("h-s0", "h-s1")) -> pd.DataFrame:
    """A table of histories: each item forgotten so many times in every run; -1 is never learned."""
    names = [f"test-{i:06d}" for i in range(len(times))]
    one = pd.DataFrame(
        {
            "item": names,
            "learned": np.where(times < 0, -1, 0),
            "forgotten": np.maximum(times, 0),
            "right_at_end": times >= 0,
        }
    )
    return pd.concat([one.assign(run=run, level=0, branch="main") for run in runs])


def planted(seeds: int = 3, related: bool = True) -> tuple[Reading, Reading, np.ndarray]:
    """Tickets that change the answers to items forgotten twice (or to others), at 20 of 200."""
    label = np.arange(ITEMS) % 2
    changed = np.zeros(ITEMS, dtype=bool)
    changed[:20] = True
    frames = []
    for seed in range(seeds):
        dense = label.copy()
        dense[30 + seed : 34 + seed] ^= 1
        frames.append(synthetic.one_record(list(label), list(dense), run=f"r-s{seed}"))
        ticket = np.where(changed, 1 - dense, dense)
        frames.append(synthetic.one_record(list(label), list(ticket), run=f"r-s{seed}", level=1))
    predictions = made_readings.with_logits(pd.concat(frames, ignore_index=True))
    times = np.where(changed if related else np.arange(ITEMS) % 10 == 5, 2, 0)
    history = made_readings.reading(
        made_readings.with_logits(synthetic.predictions(runs=("h-s0", "h-s1"), items=ITEMS)),
        study=Study(model="uniter", task="digits", levels=0, epochs=7, seeds=(0, 1)),
        tables={"training": training(times)},
    )
    return made_readings.reading(predictions), history, changed


# -- AUROC ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(5))
def test_auroc_is_that_of_scikit_learn_ties_included(seed: int) -> None:
    random = np.random.default_rng(seed)
    positive = random.random(300) < 0.2
    score = random.integers(6, size=300) + 2.0 * positive
    assert forgetting.auroc(score, positive) == pytest.approx(roc_auc_score(positive, score))
    assert forgetting.auroc(-score, positive) == pytest.approx(1 - roc_auc_score(positive, score))


def test_auroc_needs_both_kinds_of_items() -> None:
    assert np.isnan(forgetting.auroc(np.arange(4.0), np.zeros(4, dtype=bool)))
    assert np.isnan(forgetting.auroc(np.arange(4.0), np.ones(4, dtype=bool)))


def test_shuffled_scores_lie_where_the_null_says() -> None:
    random = np.random.default_rng(0)
    positive = np.arange(400) < 30
    found = [forgetting.auroc(random.random(400), positive) for _ in range(2000)]
    inside = np.mean(np.abs(np.array(found) - 0.5) < forgetting.null_reach(30, 370))
    assert inside == pytest.approx(0.95, abs=0.015)


# -- histories ------------------------------------------------------------------------------------
def test_histories_are_means_and_never_learned_counts_as_most_forgotten() -> None:
    one, other = training(np.array([0, 3, -1])), training(np.array([2, 3, -1]))
    table = pd.concat([one[one["run"] == "h-s0"], other[other["run"] == "h-s1"]])
    found = forgetting.histories(table, ["test-000000", "test-000001", "test-000002"], epochs=12)
    assert found["forgotten"].tolist() == [1, 3, 12]
    assert found["learned"].tolist() == [0, 0, 12]


def test_an_item_without_a_history_is_refused() -> None:
    with pytest.raises(RecordError, match="test-000009 has no training history"):
        forgetting.histories(training(np.array([0, 1])), ["test-000009"], epochs=12)


# -- prediction -----------------------------------------------------------------------------------
def test_a_planted_relation_is_found_and_an_unrelated_one_is_not() -> None:
    reading, history, _ = planted()
    found = forgetting.predicted(reading, history)
    scores = found[found["predictor"] == "forgotten"]["auroc"]
    assert len(scores) == 3
    assert scores.tolist() == [1.0] * 3
    reading, history, _ = planted(related=False)
    found = forgetting.predicted(reading, history)
    assert found.loc[found["predictor"] == "forgotten", "auroc"].mean() == pytest.approx(
        0.5, abs=0.1
    )


def test_other_seeds_never_include_the_run_itself() -> None:
    values = np.array([[1.0, 5.0], [2.0, 7.0], [6.0, 0.0]])
    assert forgetting.of_others(values).tolist() == [[4.0, 3.5], [3.5, 2.5], [1.5, 6.0]]
    assert forgetting.of_others(values[:1]) is None


def test_what_needs_other_seeds_is_left_out_with_one() -> None:
    reading, history, _ = planted(seeds=1)
    found = forgetting.predicted(reading, history)
    assert "margin" in set(found["predictor"])
    assert not {"margin_others", "unfaithful_others"} & set(found["predictor"])
    table = forgetting.prediction_table(found, 1, 2).table
    assert (table.iloc[:, 1] == "one seed: there is no other").sum() == 4
    assert "no answer yet (one seed" in forgetting.prediction_sentence(found, 1)


def test_a_constant_ticket_has_no_auroc_and_the_table_says_why() -> None:
    reading, history, _ = planted()
    predictions = reading.predictions
    constant = predictions.assign(prediction=predictions["prediction"].where(
        predictions["level"] == 0, 0
    ))  # fmt: skip
    found = forgetting.predicted(made_readings.reading(constant), history)
    assert found["auroc"].isna().all()
    table = forgetting.prediction_table(found, 1, 2).table
    assert set(table.iloc[:, 1]) == {"not defined (no better than the trivial rule)"}
    assert "no ticket beats the trivial rule" in forgetting.prediction_sentence(found, 1)


def test_the_sentence_gives_the_verdict_and_the_rivals() -> None:
    reading, history, _ = planted()
    found = forgetting.predicted(reading, history)
    rising = found["auroc"].where(
        found["predictor"] != "forgotten", [*[0.7, 0.8, 0.75] * 99][: len(found)]
    )
    text = forgetting.prediction_sentence(found.assign(auroc=rising), 1)
    assert "UNITER: forgetting predicts which items change" in text
    assert text.startswith("UNITER: forgetting")  # the answer comes first
    assert "by other dense seeds' margin and by a random number" in text
    tested = forgetting.predicts(found.assign(auroc=rising), 1)
    values = [0.7, 0.8, 0.75]
    shown = rising[(found["level"] == 1) & (found["predictor"] == "forgotten")].tolist()
    assert sorted(shown) == sorted(values)
    p = stats.ttest_1samp(shown, 0.5).pvalue
    assert (
        tested["p_forgetting"].tolist() == tested["holm_forgetting"].tolist() == [pytest.approx(p)]
    )


def test_the_figure_says_what_its_bars_are_and_where_chance_is() -> None:
    reading, history, _ = planted()
    exhibit = forgetting.prediction_figure(forgetting.predicted(reading, history), seeds=2)
    assert "95 % t interval over seeds" in exhibit.caption
    assert "3 seeds, 200 test items" in exhibit.caption
    assert "forgotten in training: 100.0 to 100.0" in exhibit.alt


# -- pruning --------------------------------------------------------------------------------------
def test_forgetting_by_pruning_by_hand() -> None:
    label = [1, 1, 1, 1, 0, 0, 0, 0] * 10
    dense = [1, 1, 1, 0, 0, 0, 0, 1] * 10
    ticket = [1, 1, 0, 1, 0, 0, 0, 1] * 10
    predictions = made_readings.with_logits(synthetic.pair(label, dense, ticket))
    row = forgetting.pruning_forgetting(made_readings.reading(predictions)).iloc[0]
    assert row["turned_wrong"] == pytest.approx(1 / 6)
    assert row["turned_right"] == pytest.approx(1 / 2)


def test_items_forgotten_twice_by_both_correlate() -> None:
    reading, history, changed = planted()
    found = forgetting.same_items(reading, history)
    assert found["rho"].tolist() == pytest.approx([1.0] * 3)
    assert found["steps"].tolist() == [1] * 3
    assert "1.00 (UNITER; 1.00 to 1.00)" in forgetting.same_items_sentence(found)
    assert changed.sum() == 20


def test_several_findings_an_item_are_refused() -> None:
    predictions = synthetic.predictions(decisions=("seven", "overlap"))
    with pytest.raises(RecordError, match="several decisions"):
        forgetting.answers(made_readings.with_logits(predictions))
