"""VQA v2 and VQA-CP v2: what is read, what an answer is worth, what is learned and recorded."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import zipfile
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

import made_vqa
from lthlib.errors import RecordError, TaskError
from lthlib.lab import lottery, training, vqa
from lthlib.lab.answers import read_answers
from lthlib.lab.models import build
from lthlib.lab.tasks import load
from lthlib.lab.tasks.inputs import Credits
from lthlib.records import RecordStore
from lthlib.report import credit
from lthlib.report.measures import agreements, quality
from lthlib.report.reading import read
from lthlib.study import Study

TASKS = ("vqa-v2", "vqa-cp-v2")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        made_vqa.small_counts(patch)
        patch.setattr(vqa, "LEAST_GIVEN", 9)
        folder = made_vqa.write_vqa(tmp_path_factory.mktemp("data"))
        patch.setenv("LTHLIB_DATA", str(folder))
        patch.setenv("LTHLIB_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield folder


# -- worth ----------------------------------------------------------------------------------------
def official(answers: list[str], said: str) -> float:
    """VQA's accuracy as its authors define it, by leaving each person out in turn."""
    scores = [
        min(sum(a == said for a in others) / 3, 1)
        for others in combinations(answers, len(answers) - 1)
    ]
    return float(np.mean(scores))


def test_ten_people_give_the_known_steps() -> None:
    worth = vqa.credit(np.arange(11), np.full(11, 10))
    assert worth == pytest.approx([0, 0.3, 0.6, 0.9, 1, 1, 1, 1, 1, 1, 1])


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=10))
def test_worth_is_the_official_accuracy(answers: list[str]) -> None:
    given_ = np.array([answers.count("a")])
    worth = vqa.credit(given_, np.array([len(answers)]))
    assert worth[0] == pytest.approx(official(answers, "a") if given_[0] else 0)


@pytest.mark.parametrize(
    ("said", "compared"),
    [
        ("Yes.", "yes"),
        ("two", "2"),
        ("a  Red bus", "red bus"),
        ("dont", "don't"),
        ("1,000", "1000"),
        ("black/white", "black white"),
        ("4.5", "4.5"),
        ("the U.S.", "us"),
        ("none", "0"),
        ("well", "well"),
        ("its", "its"),
        ("what?", "what"),
    ],
)
def test_answers_are_compared_in_one_form(said: str, compared: str) -> None:
    assert vqa.normal(said) == compared


@given(st.text(max_size=30))
def test_the_form_of_an_answer_is_stable(text: str) -> None:
    once = vqa.normal(text)
    assert once == once.strip() and "  " not in once
    assert not set(once.split()) & {"a", "an", "the"}


@pytest.mark.parametrize("name", ["lxmert_vqa_trainval_label2ans", "uniter_ans2label"])
def test_published_answers_are_in_that_form(name: str) -> None:
    path = Path(os.environ.get("LTHLIB_DATA", "")) / "labels" / f"{name}.json"
    if not path.is_file():
        pytest.skip("needs a data folder with the answers that LXMERT and UNITER know")
    answers = read_answers(path)
    assert len(answers) == 3129 and [a for a in answers if vqa.normal(a) != a] == []


def test_classes_are_answers_that_are_first_often_enough() -> None:
    first = ["b"] * 9 + ["a"] * 9 + ["c"] * 10 + ["rare"] * 8
    assert vqa.answer_classes(first) == ("c", "a", "b")
    with pytest.raises(TaskError, match="no answer is the first one of 9 training questions"):
        vqa.answer_classes(["a"] * 8)


# -- reading --------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", TASKS)
def test_parts_share_no_question_and_validation_no_image(data: Path, name: str) -> None:
    task = load(name)
    sizes = made_vqa.COUNTS[name]
    assert len(task.train) + len(task.validation) == sizes["train"]
    assert len(task.test) == sizes["test"] and len(task.validation) > 0
    assert not set(task.train.items) & set(task.validation.items)
    images = [set(part.facts["image"]) for part in (task.train, task.validation)]
    assert not images[0] & images[1]
    assert set(task.classes) == {"yes", "no", *made_vqa.COLOURS}
    assert task.kind == "single" and task.outputs == len(task.classes)


def test_what_was_given_is_what_is_worth_something(data: Path) -> None:
    task = load("vqa-v2")
    for place in (0, 7, 23):
        number = int(task.train.items[place].removeprefix("question-"))
        _, answered = made_vqa.question(number, "")
        answers = [a["answer"] for a in answered["answers"]]
        worth = task.train.credits.take(torch.tensor([place]), task.outputs)[0]  # type: ignore[union-attr]
        for i, answer in enumerate(task.classes):
            expected = official(answers, answer) if answer in answers else 0
            assert float(worth[i]) == pytest.approx(expected)
        assert task.classes[task.train.labels[place, 0]] == answered["multiple_choice_answer"]
        assert task.train.facts["image"][place].startswith("COCO_train2014_0000000000")
        assert task.train.facts["answer_type"][place] == answered["answer_type"]


def test_an_answer_outside_of_the_classes_is_nobodys(data: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(vqa, "answer_classes", vqa.answer_classes)
    from lthlib.lab.tasks import vqa as tasks

    monkeypatch.setattr(tasks, "answer_classes", lambda first: ("yes", "no"))
    task = load("vqa-v2")
    outside = task.test.labels[:, 0] == 2
    assert outside.any() and task.outputs == 2
    worth = task.test.credits.take(torch.arange(len(task.test)), 2)  # type: ignore[union-attr]
    assert float(worth[outside].sum()) == 0 and (worth[~outside].amax(dim=1) == 1).all()


def test_the_usual_answer_of_a_type_is_counted_in_training_alone(data: Path) -> None:
    task = load("vqa-cp-v2")
    facts, first = task.train.facts, task.train.labels[:, 0].numpy()
    for part in (task.train, task.test):
        for kind in ("is it", "what color is"):
            usual = np.bincount(first[(facts["question_type"] == kind).to_numpy()]).argmax()
            here = np.flatnonzero((part.facts["question_type"] == kind).to_numpy())
            worth = part.targets(torch.from_numpy(here), task.outputs)[:, usual]
            assert part.facts["usual_credit"].to_numpy()[here] == pytest.approx(worth.numpy())
    assert 0.2 < task.train.facts["usual_credit"].mean() < 0.8


def test_it_is_read_once(data: Path, monkeypatch: Any) -> None:
    first = load("vqa-v2")

    def refuse(*_: Any) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(vqa, "_read_part", refuse)
    again = load("vqa-v2")
    assert torch.equal(first.train.labels, again.train.labels)
    assert first.train.facts.equals(again.train.facts)


def test_unpacked_files_do_as_well(data: Path, tmp_path: Path, monkeypatch: Any) -> None:
    archived = load("vqa-v2")
    for about in vqa.PARTS["vqa-v2"].values():
        for name in (about.questions, about.annotations):
            (tmp_path / "vqa").mkdir(exist_ok=True)
            with zipfile.ZipFile(data / name) as archive:
                archive.extractall(tmp_path / "vqa")
    monkeypatch.setenv("LTHLIB_DATA", str(tmp_path))
    assert load("vqa-v2").test.items == archived.test.items


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def rewritten(change: Any) -> Any:
    """A change of the first record of VQA-CP's training annotations or questions."""

    def apply(path: Path) -> None:
        rows = json.loads(path.read_text())
        change(rows)
        path.write_text(json.dumps(rows))

    return apply


CP_QUESTIONS, CP_ANNOTATIONS = "vqacp_v2_train_questions.json", "vqacp_v2_train_annotations.json"


@pytest.mark.parametrize(
    ("file", "harm", "reason"),
    [
        (CP_ANNOTATIONS, cut, "is cut, or no JSON"),
        (CP_ANNOTATIONS, lambda p: p.write_text("<html>sign in</html>"), "is cut, or no JSON"),
        (CP_ANNOTATIONS, lambda p: p.unlink(), "is missing"),
        (CP_ANNOTATIONS, rewritten(lambda r: r.pop()), "leaves 1 questions"),
        (CP_ANNOTATIONS, rewritten(lambda r: r.append(r[0])), "annotation 91"),
        (CP_ANNOTATIONS, rewritten(lambda r: r[3].pop("answers")), "annotation 4 has no 'answers'"),
        (CP_ANNOTATIONS, rewritten(lambda r: r[3].update(answers=[])), "0 different answers"),
        (
            CP_ANNOTATIONS,
            rewritten(lambda r: r[3].update(answers=7)),
            "annotation 4 is no annotation",
        ),
        (CP_ANNOTATIONS, rewritten(lambda r: r[3].update(question_type=7)), "no type of question"),
        (CP_ANNOTATIONS, rewritten(lambda r: r.__setitem__(2, 5)), "annotation 3"),
        (CP_QUESTIONS, rewritten(lambda r: r.append(r[0])), "question 91: 1000 is there twice"),
        (CP_QUESTIONS, rewritten(lambda r: r[1].update(question=" ")), "question 2 has no text"),
        (CP_QUESTIONS, rewritten(lambda r: r[1].update(image_id="x")), "question 2 is no question"),
        (CP_QUESTIONS, rewritten(lambda r: r[1].pop("coco_split")), "question 2 is no question"),
        (CP_QUESTIONS, rewritten(lambda r: r.pop()), "answers no question|no 1089"),
    ],
)
def test_files_that_are_no_vqa_are_refused_in_one_line(
    data: Path, tmp_path: Path, file: str, harm: Any, reason: str
) -> None:
    made_vqa.write_part(tmp_path, "vqa-cp-v2", "train", 1000, 90)
    made_vqa.write_part(tmp_path, "vqa-cp-v2", "test", 5000, 30)
    harm(tmp_path / "vqa-cp" / file)
    with pytest.raises(TaskError, match=reason) as refusal:
        vqa.read_vqa(tmp_path, "vqa-cp-v2")
    assert "\n" not in str(refusal.value)


def test_another_number_of_questions_is_another_data_set(data: Path, tmp_path: Path) -> None:
    made_vqa.write_part(tmp_path, "vqa-cp-v2", "train", 1000, 89)
    with pytest.raises(TaskError, match="has 89 questions, not 90"):
        vqa.read_vqa(tmp_path, "vqa-cp-v2")


@pytest.mark.parametrize("kind", ["cut", "two", "bomb", "html"])
def test_archives_that_are_no_vqa_are_refused(
    data: Path, tmp_path: Path, kind: str, monkeypatch: Any
) -> None:
    made_vqa.write_part(tmp_path, "vqa-v2", "train", 2000, 120)  # not what the cache holds
    path = tmp_path / vqa.PARTS["vqa-v2"]["train"].questions
    if kind == "cut":
        cut(path)
    elif kind == "html":
        path.write_text("<html>")
    elif kind == "two":
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("../escaped.json", "{}")
    else:
        monkeypatch.setattr(vqa, "LARGEST", 1000)
    with pytest.raises(TaskError, match=r"damaged|where one of at most") as refusal:
        vqa.read_vqa(tmp_path, "vqa-v2")
    assert "\n" not in str(refusal.value) and not (tmp_path.parent / "escaped.json").exists()


# -- learning -------------------------------------------------------------------------------------
def test_the_loss_is_that_of_the_models_authors() -> None:
    """LXMERT: binary cross entropy, mean over all numbers, times the number of answers."""
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 6, generator=draw)
    worth = torch.rand(4, 6, generator=draw)
    task: Any = type("Task", (), {"kind": "single"})()
    expected = F.binary_cross_entropy_with_logits(logits, worth, reduction="sum") / 4
    assert float(training.loss_of(task, logits, worth)) == pytest.approx(float(expected))


def test_credits_are_spread_over_classes() -> None:
    credits = Credits(
        torch.tensor([[0, 2, 3], [3, 3, 3]]), torch.tensor([[0.3, 1.0, 0], [0, 0, 0]])
    )
    assert torch.equal(
        credits.take(torch.tensor([1, 0]), 3), torch.tensor([[0.0, 0, 0], [0.3, 0, 1.0]])
    )
    joined = credits.join(credits)
    assert len(joined.classes) == 4


def test_answers_batch_by_batch_are_those_at_once(data: Path, monkeypatch: Any) -> None:
    task = load("vqa-v2")
    model = build(
        "lxmert", size="tiny", vocabulary_size=len(task.vocabulary), feature_dim=1,
        outputs=task.outputs, seed=0,
    )  # fmt: skip
    whole = training.answer(model, task, task.test)
    monkeypatch.setattr(training, "MOST_LOGITS", 2)
    parts = training.answer(model, task, task.test, batch_size=7)
    assert parts.logits is None and whole.logits is not None
    assert torch.equal(parts.prediction, whole.prediction)
    assert parts.loss == pytest.approx(whole.loss, rel=1e-5)
    assert parts.accuracy == pytest.approx(whole.accuracy)
    assert parts.credit is not None and torch.equal(parts.credit, whole.credit)  # type: ignore[arg-type]
    probability = whole.logits.sigmoid().gather(1, whole.prediction).flatten()
    assert parts.confidence is not None and torch.allclose(parts.confidence, probability)


@pytest.mark.parametrize("logits_kept", [128, 2])
def test_a_study_runs_and_its_records_are_measured(
    data: Path, tmp_path: Path, monkeypatch: Any, logits_kept: int
) -> None:
    for module in (training, lottery):
        monkeypatch.setattr(module, "MOST_LOGITS", logits_kept)
    study = Study.build(
        task="vqa-cp-v2", model="uniter", regions="none", start="random", levels=1, epochs=2,
        batch_size=16, learning_rate=0.003,
    )  # fmt: skip
    store = RecordStore(tmp_path)
    (run,) = [lottery.run(study, seed, store) for seed in study.seeds]
    predictions = store.table("predictions", [run])
    kept = {"logits"} if logits_kept > 2 else {"confidence"}
    assert {"credit", *kept} <= set(predictions.columns)
    assert not ({"logits", "confidence"} - kept) & set(predictions.columns)
    assert predictions["credit"].between(0, 1).all()
    assert len(quality(predictions)) == 4 and len(agreements(predictions)) == 3
    facts = store.items(store.study(run)["items"])
    assert set(facts["answer_type"]) == {"yes/no", "other"}
    right = predictions["label"] == predictions["prediction"]
    assert (predictions.loc[right, "credit"] >= 0.3).all()
    reading = read(study, store)
    shown = credit.credit_table(reading)
    assert any(heading.startswith("yes/no (") for heading in shown.table.columns)  # type: ignore[union-attr]
    mean = predictions[(predictions["level"] == 0)]["credit"].mean()
    assert shown.data.query("kind == 'all' and level == 0")["mean"].iloc[0] == pytest.approx(mean)
    last = shown.table.iloc[-1]  # type: ignore[union-attr]
    assert last["branch"] == credit.USUAL
    assert float(last.iloc[4]) == pytest.approx(100 * facts["usual_credit"].mean(), abs=0.06)


def test_credit_by_kind_by_hand() -> None:
    rows = [("a", 1.0), ("b", 0.3), ("c", 0.0), ("d", 0.9)]
    predictions = pd.DataFrame(
        {"run": "r", "level": 0, "branch": "main", "stage": "trained", "decision": "label"}
        | {"item": [item for item, _ in rows], "credit": [worth for _, worth in rows]}
    )
    kinds = pd.Series({"a": "yes/no", "b": "yes/no", "c": "other", "d": "other"})
    found = credit.credit(predictions, kinds).set_index("kind")
    assert found["credit"].round(3).to_dict() == {"all": 0.55, "yes/no": 0.65, "other": 0.45}
    assert found["questions"].to_dict() == {"all": 4, "yes/no": 2, "other": 2}
    with pytest.raises(RecordError, match="no kind is known of item 'd'"):
        credit.credit(predictions, kinds.drop("d"))
    with pytest.raises(RecordError, match="no column 'credit'"):
        credit.credit(predictions.drop(columns="credit"), kinds)


def test_credit_counts_as_data(data: Path, monkeypatch: Any) -> None:
    from lthlib.lab.provenance import task_key

    task = load("vqa-v2")
    assert task.train.credits is not None
    before = task_key(task)
    task.train.credits.worth[0, 0] += 0.1
    assert task_key(task) != before


def test_labels_fit_their_column(data: Path) -> None:
    task = load("vqa-v2")
    answers = training.Answers(task.test.labels, 0.0, 1.0)
    assert lottery.prediction_frame(task, answers)["label"].dtype == np.int8
    many: Any = type("Task", (), {"test": task.test, "decisions": ("label",), "outputs": 3129})()
    far = training.Answers(torch.full((len(task.test), 1), 3128), 0.0, 1.0)
    frame: pd.DataFrame = lottery.prediction_frame(many, far)
    assert frame["prediction"].tolist() == [3128] * len(task.test)


# -- what a fresh pair of eyes found --------------------------------------------------------------
def test_many_findings_keep_their_logits(data: Path, monkeypatch: Any) -> None:
    """A finding has one logit, however many findings there are."""
    monkeypatch.setattr(training, "MOST_LOGITS", 2)
    task: Any = load("vqa-v2")
    findings = tuple(f"f{i}" for i in range(5))
    several = dataclasses.replace(task, kind="multi", decisions=findings, classes=("False", "True"))
    split = dataclasses.replace(
        task.test, labels=torch.ones(len(task.test), 5, dtype=torch.int64), credits=None
    )
    model = build(
        "uniter", size="tiny", vocabulary_size=len(task.vocabulary), feature_dim=1, outputs=5,
        seed=0,
    )  # fmt: skip
    found = training.answer(model, several, split)
    assert found.logits is not None and found.logits.shape == (len(split), 5)
    assert found.confidence is None


@pytest.mark.parametrize(
    "text", ["[" * 5000, '{"annotations": ' + "[" * 50, '[{"a": "\\\\"}, ' + '{"b": [' * 9]
)
def test_deep_files_are_refused_before_they_take_memory(tmp_path: Path, text: str) -> None:
    path = tmp_path / "deep.json"
    path.write_text(text)
    with pytest.raises(TaskError, match="is nested deeper than VQA"):
        list(vqa._records(path, "annotations"))


@given(st.recursive(st.text(max_size=8) | st.integers(), lambda x: st.lists(x, max_size=3)))
def test_depth_is_counted_outside_of_texts(value: Any) -> None:
    def depth(one: Any) -> int:
        return 1 + max(map(depth, one), default=0) if isinstance(one, list) else 0

    data = json.dumps(value, ensure_ascii=False).encode()
    for size in (1, 3, 1000):
        file = vqa._Shallow(io.BytesIO(data), Path("x"))
        refused = False
        try:
            while file.read(size):
                pass
        except TaskError:
            refused = True
        assert refused == (depth(value) > vqa.DEEPEST)


@pytest.mark.parametrize(
    ("file", "change", "reason"),
    [
        (CP_QUESTIONS, {"image_id": -1}, "question 2 is no question"),
        (CP_QUESTIONS, {"question_id": [1]}, "question 2 is no question"),
        (CP_QUESTIONS, {"coco_split": "../x"}, "question 2 is no question"),
        (CP_ANNOTATIONS, {"question_id": [1]}, "annotation 2"),
        (CP_ANNOTATIONS, {"question_type": None}, "no type of question"),
    ],
)
def test_records_of_other_kinds_are_refused(
    data: Path, tmp_path: Path, file: str, change: dict[str, Any], reason: str
) -> None:
    made_vqa.write_part(tmp_path, "vqa-cp-v2", "train", 1000, 90)
    rewritten(lambda rows: rows[1].update(change))(tmp_path / "vqa-cp" / file)
    with pytest.raises(TaskError, match=reason):
        vqa.read_vqa(tmp_path, "vqa-cp-v2")
