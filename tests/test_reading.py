"""Reading many records at once: the same frames as reading one by one, and no more memory."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import made_readings
import synthetic
from lthlib.errors import RecordError
from lthlib.packs import reference_store
from lthlib.parquet import ANSWERS, answers_from_parquet, from_parquet
from lthlib.records import RecordStore, open_store, shipped_store, to_parquet
from lthlib.report import measures, reading
from lthlib.report.answers.kept import same_skill
from lthlib.report.judgement import verdicts
from lthlib.report.reading import Reading, read, read_many, recorded_part
from lthlib.study import Study, plan

FRAMES = ("levels", "quality", "agreements", "gate", "matrix")


def stores() -> list[tuple[RecordStore, list[Study]]]:
    """Real records: whole runs of two tasks, and packs of both protocols."""
    packed = reference_store()
    some = recorded_part("concluding", packed) + recorded_part("published-rates", packed)[:2]
    return [(shipped_store(), plan("quick")), (packed, some)]


def exactly(ours: pd.DataFrame, theirs: pd.DataFrame) -> None:
    assert_frame_equal(ours, theirs, check_exact=True, check_index_type=True)
    assert type(ours.index) is type(theirs.index)


@pytest.mark.parametrize(("store", "studies"), stores(), ids=["runs", "packs"])
def test_answers_are_the_predictions(store: RecordStore, studies: Sequence[Study]) -> None:
    names = studies[0].run_ids()
    answers, whole = store.answers(names), store.table("predictions", names)
    words = [name for name in ANSWERS if isinstance(answers[name].dtype, pd.CategoricalDtype)]
    assert words == ["run", "branch", "stage", "item", "decision"]
    exactly(answers.astype(dict.fromkeys(words, "str")), whole[list(ANSWERS)])


@pytest.mark.parametrize(("store", "studies"), stores(), ids=["runs", "packs"])
def test_many_are_read_as_one_by_one(store: RecordStore, studies: Sequence[Study]) -> None:
    together = read_many(studies, store)
    assert [r.study for r in together] == list(studies)
    for study, ours in zip(studies, together, strict=True):
        alone = read(study, store)
        for name in FRAMES:
            exactly(getattr(ours, name), getattr(alone, name))
        assert (ours.floor, ours.about, ours.source) == (alone.floor, alone.about, alone.source)
        assert ours.skill is not None
        assert alone.skill is not None
        exactly(ours.skill, alone.skill)


@pytest.mark.parametrize(("store", "studies"), stores(), ids=["runs", "packs"])
def test_a_reading_is_what_its_predictions_say(
    store: RecordStore, studies: Sequence[Study]
) -> None:
    """Measured from the plain frame, and joined by pandas' own merge."""
    study = studies[-1]
    found, answers = read(study, store), store.table("predictions", study.run_ids())
    runs = found.levels[["run", "model", "task", "seed"]].drop_duplicates()
    facts = found.levels[measures.FACTS]
    exactly(found.predictions.drop(columns="logits"), answers.drop(columns="logits"))
    for ours, plain in (
        (found.quality, measures.quality(answers)),
        (found.agreements, measures.agreements(answers)),
        (found.gate, measures.beats_trivial(answers)),
    ):
        described = plain.merge(facts, on=measures.RECORD, how="left").merge(runs, on="run")
        exactly(ours, described)
    exactly(found.matrix, measures.fidelity_matrix(answers, stage=study.judged_stage))
    tickets = measures.at_stage(answers, study.judged_stage)
    assert found.skill is not None
    exactly(found.skill, same_skill(tickets[tickets["branch"] == "main"]))


def test_judging_many_studies_is_judging_each() -> None:
    readings = read_many(plan("quick", task="digits"), shipped_store())
    together = verdicts.judge(readings)
    alone = [verdicts.judge([one]) for one in sorted(readings, key=lambda r: r.study.name)]
    for name in ("tests", "rows"):
        parts = [getattr(one, name) for one in alone]
        exactly(getattr(together, name), pd.concat(parts, ignore_index=True))
    scored = pd.concat([verdicts.judge([one]).scored for one in readings], ignore_index=True)
    exactly(together.scored, scored)


# -- what goes wrong -----------------------------------------------------------------------------
def test_one_damaged_run_is_named_among_many(tmp_path: Path) -> None:
    store, shipped = open_store(tmp_path), shipped_store()
    studies = [s.model_copy(update={"seeds": (0,)}) for s in plan("quick", task="digits")]
    for study in studies:
        shipped.copy(study.run_id(0), store)
    path = tmp_path / studies[1].run_id(0) / "predictions.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    for fails in (lambda: read_many(studies, store), lambda: read(studies[1], store)):
        with pytest.raises(RecordError, match=rf"{studies[1].run_id(0)}.*is damaged"):
            fails()


# -- files ---------------------------------------------------------------------------------------
def test_tables_are_joined_as_pandas_joins_them() -> None:
    frame = pd.DataFrame({"run": ["a", "b"], "level": [0, 1], "amount": [None, None]})
    other = frame.assign(amount=[0.5, 0.25], run=["c", "d"])
    for frames in ([frame, frame.assign(run="x")], [frame, other], [frame[:0], frame]):
        blobs = [to_parquet(f) for f in frames]
        plain = pd.concat([pd.read_parquet(io.BytesIO(b)) for b in blobs], ignore_index=True)
        exactly(from_parquet(blobs), plain)


def test_words_of_several_files_are_told_apart() -> None:
    """The dictionaries differ in their words and in their order."""
    case = {"level": 0, "branch": "main", "stage": "trained", "decision": "label", "label": 1}
    one = pd.DataFrame({"run": "a", "item": ["x", "y", "x"], "prediction": [0, 1, 1], **case})
    two = pd.DataFrame({"run": "b", "item": ["z", "x"], "prediction": [1, 0], **case})
    found = answers_from_parquet([to_parquet(one), to_parquet(two)])
    assert found["item"].tolist() == ["x", "y", "x", "z", "x"]
    assert found["run"].tolist() == ["a"] * 3 + ["b"] * 2
    gap = two.assign(item=[None, "x"])
    assert answers_from_parquet([to_parquet(one), to_parquet(gap)])["item"].isna().sum() == 1
    with pytest.raises(RecordError, match="'item' has a gap"):
        measures.grid_of(answers_from_parquet([to_parquet(gap)]))


# -- grids ---------------------------------------------------------------------------------------
def ragged() -> pd.DataFrame:
    """Two runs with other items, several decisions an item."""
    one, two = (
        synthetic.predictions(
            runs=[run], items=items, decisions=synthetic.FINDINGS, branches=["random-mask"],
            stages=["rewound", "trained"], seed=items,
        )
        for run, items in (("r0", 7), ("r1", 9))
    )  # fmt: skip
    return pd.concat([one, two], ignore_index=True)


def test_part_of_a_grid_is_the_grid_of_that_part() -> None:
    answers = ragged()
    grid = measures.grid_of(answers)
    assert not grid.whole
    for of_records in (
        lambda f: f["run"] == "r1",
        lambda f: (f["branch"] == "main") & (f["stage"] == "trained"),
        lambda f: f["level"] > 1,
    ):
        part = grid.where(of_records(grid.records).to_numpy())
        plain = measures.grid_of(answers[of_records(answers)])
        exactly(part.records, plain.records)
        exactly(part.cases, plain.cases)
        for name in ("run", "present", "label", "prediction"):
            np.testing.assert_array_equal(getattr(part, name), getattr(plain, name))


def laid_out(answers: pd.DataFrame) -> pd.DataFrame:
    """The answers as they come out of records: words are categories."""
    return answers_from_parquet([to_parquet(answers)])


def in_blocks(runs: list[str], items: int = 7) -> pd.DataFrame:
    return synthetic.predictions(
        runs=runs, items=items, decisions=synthetic.FINDINGS, branches=["random-mask"],
        stages=["rewound", "trained"], seed=items,
    )  # fmt: skip


@pytest.mark.parametrize("order", ["as written", "runs backwards", "items backwards", "shuffled"])
def test_rows_of_one_record_after_another_give_the_grid_of_any_order(order: str) -> None:
    answers = in_blocks(["r1", "r0"])
    width = len(answers.drop_duplicates(measures.CASE))
    row = np.arange(len(answers))
    places = {
        "as written": row,
        "runs backwards": row.reshape(-1, width)[::-1].ravel(),
        "items backwards": row[::-1],
        "shuffled": np.random.default_rng(0).permutation(row),
    }[order]
    turned = laid_out(answers.iloc[places])
    assert (measures._laid_in_blocks(turned) is None) == (order == "shuffled")
    # Without categories rows are looked up one by one.
    found, plain = measures.grid_of(turned), measures.grid_of(answers)
    exactly(found.records, plain.records)
    exactly(found.cases.astype(object), plain.cases.astype(object))
    for name in ("run", "present", "label", "prediction"):
        np.testing.assert_array_equal(getattr(found, name), getattr(plain, name))


def test_blocks_that_are_not_what_they_seem_are_refused_as_ever() -> None:
    answers = in_blocks(["r0", "r1"])
    width = len(answers.drop_duplicates(measures.CASE))
    twice = pd.concat([answers, answers[:width]], ignore_index=True)
    other_case = answers.assign(item=answers["item"].where(answers.index != width + 1, "odd"))
    level = answers["level"].where(answers.index != width + 1, 7)
    gap = answers.assign(item=answers["item"].where(answers.index % width != 3, None))
    for bad, message in (
        (twice, "recorded twice"),
        (other_case, "is missing"),
        (answers.assign(level=level), "is missing|twice"),
        (gap, "'item' has a gap"),
        (answers[:-1], "is missing"),
    ):
        with pytest.raises(RecordError, match=message):
            measures.grid_of(laid_out(bad))


def test_tallies_count_what_is_there() -> None:
    answers = ragged()
    grid = measures.grid_of(answers)
    right = answers.assign(right=answers["label"] == answers["prediction"])
    wide = right.pivot_table("right", measures.RECORD, "item", aggfunc="sum", fill_value=0)
    counted = grid.per_item(grid.label == grid.prediction)
    rows = pd.MultiIndex.from_frame(grid.records)
    np.testing.assert_array_equal(counted, wide.loc[rows].to_numpy())
    said = pd.crosstab([answers[c] for c in measures.RECORD], answers["decision"],
                       values=answers["prediction"], aggfunc="sum")  # fmt: skip
    np.testing.assert_array_equal(grid.tally(grid.prediction)[:, :, 1], said.loc[rows].to_numpy())


# -- memory --------------------------------------------------------------------------------------
def test_predictions_are_read_when_asked_for_and_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    studies = plan("quick", task="digits")
    readings = read_many(studies, shipped_store())
    held = [vars(r)["predictions"] for r in readings]
    assert all(one.frame is None for one in held)
    rows = len(readings[0].predictions)
    assert readings[0].predictions is readings[0].predictions
    monkeypatch.setattr(reading, "MOST_ROWS", 2 * rows)
    for one in readings:
        assert len(one.predictions) == rows
    assert [one.frame is None for one in held] == [True, False, False]
    exactly(
        readings[0].predictions.drop(columns="logits"),
        shipped_store().table("predictions", studies[0].run_ids()).drop(columns="logits"),
    )


def test_a_reading_may_hold_a_frame_of_its_own() -> None:
    answers = synthetic.predictions(runs=["r0", "r1"])
    made: Reading = made_readings.reading(answers)
    assert made.predictions is made.predictions
    assert made.skill is None


@pytest.mark.slow
def test_several_processes_read_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "AT_ONCE", 3)
    studies = plan("quick", task="digits")
    one, two = (read_many(studies, shipped_store(), workers=workers) for workers in (1, 2))
    for ours, theirs in zip(one, two, strict=True):
        for name in FRAMES:
            exactly(getattr(ours, name), getattr(theirs, name))
    assert len(two[0].predictions) == len(one[0].predictions)
