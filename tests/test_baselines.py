"""What text alone answers: rules by hand, rankings against scikit-learn, and the real data."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from lthlib.errors import RecordError, TaskError
from lthlib.lab import baselines as lab
from lthlib.lab import corpora, text_only
from lthlib.lab.tasks import load
from lthlib.lab.text_only import Choice
from lthlib.records import RecordStore, project_root
from lthlib.report.baselines import findings
from lthlib.report.baselines import tables as baselines
from lthlib.report.baselines.tables import Answer

RECORDED = project_root() / "records" / "baselines"
SHARED = os.environ.get("LTHLIB_SHARED")
needs_data = pytest.mark.skipif(not SHARED, reason="LTHLIB_SHARED is not set")
DATA = Path(SHARED or ".") / "data"


@pytest.fixture(scope="module")
def found() -> baselines.Baselines:
    return baselines.read_baselines(RECORDED)


def items(*rows: tuple[str, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["text", "label"])


# --- the rule ------------------------------------------------------------------------------------
TRAIN = items(("a", 1), ("b", 0), ("b", 0), ("b", 1), ("c", 0), ("c", 1), ("d", 1))


def test_the_rule_answers_the_opposite_of_what_training_leans_to() -> None:
    rule = text_only.opposite(TRAIN, pd.Series(["a", "b", "c", "new", "A"]))
    assert rule["where"].tolist() == ["opposite", "opposite", "even", "unseen", "unseen"]
    assert rule["answer"].tolist() == [0, 1, 1, 1, 1]  # True is the most common label: 4 of 7


def test_an_even_training_set_has_false_as_its_most_common_label() -> None:
    assert text_only.most_common(pd.Series([0, 1])) == 0
    assert text_only.most_common(pd.Series([1, 1, 0])) == 1


def test_tables_of_captions_by_hand() -> None:
    test = items(("a", 0), ("b", 1), ("c", 1), ("new", 0), ("a", 1))
    tables = text_only.caption_tables("x", {"train": TRAIN, "dev": test, "test": test})
    counts = {
        (row["rule"], row["where"]): (row["right"], row["items"])
        for row in tables["answers"]
        if row["part"] == "test"
    }
    assert counts["majority", "all"] == (3, 5)
    assert counts["opposite", "all"] == (3, 5)
    assert counts["opposite", "opposite"] == (2, 3)
    assert counts["opposite", "even"] == (1, 1)
    assert counts["opposite", "unseen"] == (0, 1)
    # The best choice on dev, and the worst one turned round.
    right = [row["right"] for row in tables["choices"]]
    assert counts["text", "all"] == (max(right), 5)
    assert counts["reversed", "all"] == (5 - min(right), 5)
    (shared,) = tables["shared"]
    assert shared["caption_in_training"] == 4
    assert (shared["captions"], shared["items"]) == (5, 17)
    assert "image_in_training" not in shared


def test_images_are_counted_where_there_are_some() -> None:
    train = items(("a", 1), ("b", 0)).assign(image=["1", "2"])
    test = items(("a", 0), ("b", 1), ("c", 1)).assign(image=["1", "1", "3"])
    shared = text_only._shared("x", {"train": train, "dev": train[:0], "test": test})
    assert (shared["image_in_training"], shared["both_in_training"]) == (2, 1)


def twins(count: int) -> dict[str, pd.DataFrame]:
    """Captions that each come once true and once false, split at random."""
    words = [f"w{i} is near w{(7 * i) % count}" for i in range(count)]
    pool = items(*[(text, label) for text in words for label in (0, 1)])
    pool = pool.sample(frac=1, random_state=0, ignore_index=True)
    return {"train": pool[: count + 200], "dev": pool[count + 200 : count + 300],
            "test": pool[count + 300 :]}  # fmt: skip


def test_twins_parted_by_a_random_split_are_given_away_and_by_caption_they_are_not() -> None:
    rows = pd.DataFrame(text_only.resplit_tables("x", twins(400), Choice(1, 1.0), 3)["resplits"])
    share = (rows["right"] / rows["items"]).groupby([rows["by"], rows["rule"]]).mean()
    assert share["item", "opposite"] > 0.75
    assert (rows.loc[rows["by"] == "caption", "covered"] == 0).all()
    assert share["caption", "opposite"] == share["caption", "majority"] == 0.5
    known = rows[(rows["by"] == "item") & (rows["rule"] == "opposite")]
    assert (known["right"] >= known["covered"]).all(), "a twin of a known caption is never missed"


# --- rankings ------------------------------------------------------------------------------------
@given(st.integers(0, 2**32 - 1))
def test_rankings_are_those_of_scikit_learn(seed: int) -> None:
    draw = np.random.default_rng(seed)
    n = int(draw.integers(2, 30))
    labels = np.r_[0, 1, draw.integers(0, 2, n - 2)]
    scores = draw.integers(0, 5, n).astype(float)  # ties
    weights = draw.exponential(size=(3, n))
    got = text_only.ranking(labels, scores, weights)
    for i, weight in enumerate(weights):
        auc = roc_auc_score(labels, scores, sample_weight=weight)
        ap = average_precision_score(labels, scores, sample_weight=weight)
        assert got["auc"][i] == pytest.approx(auc, abs=1e-12)
        assert got["ap"][i] == pytest.approx(ap, abs=1e-12)


def reports(count: int, seed: int) -> pd.DataFrame:
    """`said` is in the text, `seen` is not, `never` does not occur."""
    draw = np.random.default_rng(seed)
    said, seen = draw.integers(0, 2, (2, count))
    text = [f"{'mass' if each else 'clear'} lung {draw.integers(50)}" for each in said]
    return pd.DataFrame({"text": text, "said": said, "seen": seen, "never": 0})


def test_findings_in_the_text_are_ranked_and_others_are_not() -> None:
    names = ["said", "seen", "never"]
    tables = text_only.finding_tables("x", reports(300, 0), reports(200, 1), names, draws=200)
    said, seen, never = tables["findings"]
    assert said["auc"] == 1.0 and said["auc_low"] == pytest.approx(1)
    assert seen["auc_low"] < 0.5 < seen["auc_high"]
    assert never["auc"] is None and never["auc_low"] is None
    assert {row["where"] for row in tables["averages"]} == {"all"}, "no text of test is new"
    mean = tables["averages"][0]
    assert mean["findings"] == 2 and mean["value"] == pytest.approx((1 + seen["auc"]) / 2)
    right = {row["rule"]: row["right"] for row in tables["answers"]}
    assert right["all negative"] + right["all positive"] == 600
    assert right["text"] >= 200 + 200, "`said` is known, and `never` is never claimed"


def test_findings_without_both_labels_are_refused() -> None:
    frame = reports(10, 0)
    with pytest.raises(TaskError, match="x: no finding has both labels"):
        text_only.finding_tables("x", frame, frame, ["never"])


# --- readers -------------------------------------------------------------------------------------
GOOD = {"caption": "The cat is on the mat.", "image": "1.jpg", "label": 1}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2 is no JSON"),
        ("[1]", "line 2 has no caption, image and label"),
        (json.dumps({"caption": "c", "label": 1}), "line 2 has no caption, image and label"),
        (json.dumps(GOOD | {"label": 2}), "line 2 has label 2"),
        (json.dumps(GOOD | {"label": "1"}), "line 2 has label '1'"),
        (json.dumps(GOOD | {"caption": None}), "caption None"),
    ],
)
def test_a_line_that_is_no_item_of_vsr_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps(GOOD) + "\n" + line + "\n")
    with pytest.raises(TaskError, match=message) as error:
        corpora.read_vsr_file(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)


def test_files_that_are_missing_short_or_no_text_are_named(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"train.jsonl cannot be read .*No such file"):
        corpora.read_vsr(tmp_path, "v1", "random")
    path = tmp_path / corpora.vsr_file("v1", "random", "train")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(GOOD) + "\n")
    with pytest.raises(TaskError, match=r"has 1 items where VSR v1, random split, train has 7,083"):
        corpora.read_vsr(tmp_path, "v1", "random")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(TaskError, match="no UTF-8 text"):
        corpora.read_vsr_file(path)


HEAD = ",".join(["id", *corpora.OPENI_FINDINGS, "split", "TXT"])
ROW = ",".join(["1", *["0"] * 14, "train", '"Clear lungs.\nNo finding."'])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column 'Atelectasis'"),
        (HEAD.replace("Hernia,", ""), "no column 'Hernia'"),
        (f"{HEAD}\n{ROW}\n{ROW.replace('1,0', '1,x', 1)}", "line 5: Atelectasis is 'x'"),
        (f"{HEAD}\n{ROW.replace('train', 'dev')}", "line 3: no report, or no part"),
        (f"{HEAD}\n1,0", "line 2: Cardiomegaly is None"),
        (f"{HEAD}\n{ROW}", "has 1 items where Open-I, train has 2,912"),
    ],
)
def test_a_row_that_is_no_report_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / corpora.OPENI_FILE
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(TaskError, match=message) as error:
        corpora.read_openi(tmp_path)
    assert "\n" not in str(error.value)


def test_the_command_says_in_one_line_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lab.main([str(tmp_path / "nowhere"), "--out", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("baselines: ") and said.count("\n") == 1
    assert not list(tmp_path.iterdir())


# --- the recorded results -----------------------------------------------------------------------
def test_recorded_counts_are_those_known(found: baselines.Baselines) -> None:
    rule = found.answer("VSR current random", "opposite")
    assert rule == (1605, 2195) and f"{rule.share:.3f}" == "0.731"
    assert found.answer("VSR v1 random", "majority", part="dev") == (535, 1012)
    assert found.answer("VSR v1 random", "opposite", part="dev") == (696, 1012)
    assert found.answer("Open-I", "all negative").share == pytest.approx(0.9686343, abs=5e-8)
    assert found.answer("Open-I", "all positive").share == pytest.approx(0.0313657, abs=5e-8)
    assert round(found.average("Open-I", "auc")["value"], 2) == 0.98
    sizes = found.parts.set_index(["data", "part"])["items"]
    for (version, split), parts in corpora.VSR_ITEMS.items():
        for part, count in parts.items():
            assert sizes[f"VSR {version} {split}", part] == count


def test_recorded_counts_add_up(found: baselines.Baselines) -> None:
    assert (found.answers["right"] <= found.answers["items"]).all()
    for (data, part), own in found.answers.query("rule == 'opposite'").groupby(["data", "part"]):
        cases = own.set_index("where")[["right", "items"]]
        assert (cases.drop("all").sum() == cases.loc["all"]).all(), (data, part)
    ranked = found.findings.dropna(subset=["auc"])
    for kind in ("auc", "ap"):
        assert ranked[kind].between(ranked[f"{kind}_low"], ranked[f"{kind}_high"]).all()
    by_caption = found.resplits.query("by == 'caption'")
    assert (by_caption["covered"] == 0).all()
    assert by_caption["resplit"].nunique() == 10


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from strings(each)
    elif isinstance(value, str):
        yield value


def test_no_text_of_others_is_kept() -> None:
    for path in RECORDED.glob("*.json"):
        held = json.loads(path.read_text())
        held.pop("about")
        assert max(map(len, strings(held))) < 25, "names of data, rules and findings only"


def test_the_controls_of_our_own_task_hold_for_the_items_of_this_code() -> None:
    digits = load("digits")
    parts = {"train": digits.train, "dev": digits.validation, "test": digits.test}
    frames = {name: lab._texts(split, ["label"]) for name, split in parts.items()}
    rule = text_only.opposite(frames["train"], frames["test"]["text"])
    assert (rule["answer"] == frames["test"]["label"]).mean() == 0.5
    evenly = frames["test"].groupby("text")["label"].mean()
    assert (evenly == 0.5).all(), "any rule of the caption alone is right on half"


# --- the real data -------------------------------------------------------------------------------
@needs_data
@pytest.mark.parametrize(("version", "split"), list(corpora.VSR_ITEMS))
def test_vsr_recomputed(found: baselines.Baselines, version: str, split: str) -> None:
    data = f"VSR {version} {split}"
    tables = text_only.caption_tables(data, corpora.read_vsr(DATA, version, split))
    for row in tables["answers"]:
        held = found.answer(data, row["rule"], part=row["part"], where=row["where"])
        close = 3 if "words" in row else 0  # another machine's solver may turn an item over
        assert abs(held.right - row["right"]) <= close and held.items == row["items"], row
    held_row = found.common(data)
    assert all(held_row[name] == value for name, value in tables["shared"][0].items())


@needs_data
def test_openi_recomputed(found: baselines.Baselines) -> None:
    parts = corpora.read_openi(DATA)
    chosen = found.answers.query("data == 'Open-I' and rule == 'text'").iloc[0]
    names, choices = corpora.OPENI_FINDINGS, [Choice(int(chosen["words"]), chosen["c"])]
    tables = text_only.finding_tables(
        "Open-I", parts["train"], parts["test"], names, choices=choices, draws=2
    )
    held = found.findings.query("data == 'Open-I'").set_index("finding")
    for row in tables["findings"]:
        recorded = held.loc[row["finding"]]
        for part in ("train_positive", "test_positive"):
            assert recorded[part] == row[part]
        for kind in ("auc", "ap"):
            expected = np.nan if row[kind] is None else row[kind]
            assert recorded[kind] == pytest.approx(expected, abs=1e-3, nan_ok=True)
    for row in tables["averages"]:
        mean = found.average("Open-I", row["measure"], row["where"])
        assert mean["value"] == pytest.approx(row["value"], abs=1e-3)
    for row in tables["answers"]:
        close = 5 if row["rule"] == "text" else 0
        assert abs(found.answer("Open-I", row["rule"]).right - row["right"]) <= close


@needs_data
def test_recorded_files_are_these(found: baselines.Baselines) -> None:
    for name in ("vsr", "openi"):
        held: dict[str, Any] = found.about[name]["inputs"]
        assert lab.inputs(DATA, [Path(each) for each in held]) == held


# --- the report ----------------------------------------------------------------------------------
def test_answers_as_text() -> None:
    assert Answer(1605, 2195).text() == "73.1 (71.2 to 75.0)"
    assert Answer(0, 0).text() == "not defined (no item)"


def test_a_missing_or_damaged_record_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"vsr.json is missing: `python -m lthlib.lab.baselines"):
        baselines.read_baselines(tmp_path)
    for name in baselines.FILES:
        shutil.copy(RECORDED / f"{name}.json", tmp_path)
    for text, message in (("{", "is damaged"), ("[]", "holds no baselines")):
        (tmp_path / "openi.json").write_text(text)
        with pytest.raises(RecordError, match=message):
            baselines.read_baselines(tmp_path)


def test_what_was_not_counted_is_refused(found: baselines.Baselines) -> None:
    with pytest.raises(RecordError, match=r"0 rows of data 'VSR', part 'test', rule 'majority'"):
        found.answer("VSR", "majority")


def test_published_numbers_name_their_source() -> None:
    models = baselines.published_accuracies()
    assert models["accuracy"].between(0.5, 0.8).all() and models["source"].ne("").all()
    assert findings.best_published("VSR current random")["accuracy"] == 0.701
    best = findings.best_published("VSR v1 random", "dev")
    assert best["model"] == "LXMERT" and best["accuracy"] == pytest.approx(0.67207)


def test_exhibits_say_items_and_interval(found: baselines.Baselines, tmp_path: Path) -> None:
    dense = baselines.dense_answers(RecordStore(tmp_path), ["blind"])
    assert dense.empty
    for exhibit in (
        baselines.rules_table(found),
        baselines.cases_table(found),
        baselines.shared_table(found),
        baselines.resplits_table(found),
        baselines.findings_table(found),
        baselines.own_table(found, dense),
    ):
        assert not exhibit.data.empty or exhibit.data is dense
        assert "interval" in exhibit.caption
        assert "nan" not in exhibit.table_html().lower()
    for figure in (baselines.rules_figure(found), baselines.findings_figure(found)):
        assert figure.figure is not None and "95 %" in figure.caption
    assert "opposite 73.1 %" in baselines.rules_figure(found).alt
    table = baselines.findings_table(found).table
    assert table is not None
    hernia = table.set_index("finding").loc["Hernia"]
    assert hernia["AUC"] == "not defined (no positive)"


def test_dense_models_are_summed_up_over_seeds_and_cut(found: baselines.Baselines) -> None:
    dense = pd.DataFrame(
        {
            "task": "digits",
            "model": "uniter",
            "regions": ["none", "none", "shown", "shown", "shuffled"],
            "run": list("abcde"),
            "accuracy": [0.5, 0.5, 0.95, 0.99, 0.51],
            "macro_auc": np.nan,
        }
    )
    table = baselines.own_table(found, dense).table
    assert table is not None
    cells = table.set_index("what answers")["accuracy, %"]
    assert cells["UNITER with its image"] == "97.0 (71.6 to 100.0, n = 2)"
    assert cells["UNITER with another item's image"] == "51.0 (n = 1: no interval)"
    said = findings.own_sentence(found, dense)
    assert "800 of 1,600" in said
    assert "without any image on 50.0 %, 95 % t interval over 2 seeds 50.0 to 50.0 (UNITER)" in said
    assert "not run yet" in findings.own_sentence(found, dense[:0])


def test_sentences_give_their_numbers(found: baselines.Baselines) -> None:
    said = findings.opposite_sentence(found)
    assert "73.1 % of 2,195 items (95 % exact interval 71.2 to 75.0 %)" in said
    assert "70.1 %, which lies below that interval" in said
    assert "72.5 %, which lies inside that interval" in said
    source = findings.source_sentence(found)
    assert "68.8 % (95 % exact interval 65.8 to 71.6 %)" in source and "none is higher" in source
    assert "No test item has both" in findings.why_sentence(found)
    assert "64.3 %" in findings.text_model_sentence(found)
    control = findings.control_sentence(found)
    assert "split anew 10 times" in control and "(splits: 72.0 to 74.2 %)" in control
    assert "63.2 %, which lies above" in findings.limits_sentence(found)
    assert "0.9686343" in findings.constants_sentence(found)
    report = findings.report_sentence(found)
    assert "Mass (3), Pneumothorax (5) and Fibrosis (5)" in report
    assert "0.984 (95 % bootstrap interval 0.979 to 0.989)" in report


def test_a_weaker_rule_is_not_praised(found: baselines.Baselines) -> None:
    answers = found.answers.copy()
    dev = (answers["rule"] == "opposite") & (answers["part"] == "dev")
    answers.loc[dev & (answers["where"] == "all"), "right"] = 600
    weak = baselines.Baselines(**{**vars(found), "answers": answers})
    said = findings.source_sentence(weak)
    assert "none is higher" not in said and "which lies above that interval" in said
