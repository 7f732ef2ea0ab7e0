"""Real text: its preset, the regions that follow captions, tables by hand, and what ships."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import synthetic
from lthlib import real_text
from lthlib.book.chapters import editions, read_book
from lthlib.book.execution import execute
from lthlib.errors import RecordError, StudyError
from lthlib.lab import corpora
from lthlib.lab.features import synthetic as made_up
from lthlib.lab.features.store import RegionStore
from lthlib.lab.features.synthetic import follow_captions
from lthlib.packs import PackedStore, store_at
from lthlib.real_text import CAPTIONS, CEILING, FEATURES, REPORTS, REPORTS_READ
from lthlib.records import RecordStore, project_root
from lthlib.report.baselines.tables import Baselines
from lthlib.report.real_text import findings, tables
from lthlib.report.real_text.evidence import (
    BLIND,
    FOLLOWED,
    SHUFFLED,
    Part,
    by_task,
    gather,
    rules_of,
    shown,
)
from lthlib.study import MODELS, PRESETS, Study, plan
from lthlib.workflow.cli import main

ROOT = project_root(Path(__file__).parent)
SHIPPED = ROOT / "records" / "real-text"
DATA = os.environ.get("LTHLIB_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="LTHLIB_DATA is not set")


# -- the preset -----------------------------------------------------------------------------------
def test_the_preset_asks_what_the_chapter_tells() -> None:
    studies = plan("real-text")
    assert len({study.name for study in studies}) == len(studies) == 4 * len(MODELS)
    asked = {(s.task, shown(s)) for s in studies}
    assert asked == {
        (CAPTIONS, FOLLOWED), (CAPTIONS, SHUFFLED), (CAPTIONS, BLIND), (REPORTS, BLIND),
    }  # fmt: skip
    for study in studies:
        assert study.start == "random" and len(study.seeds) == 3
        assert study.features == (None if shown(study) == BLIND else FEATURES)
        assert bool(study.branches) == (shown(study) == FOLLOWED)
    for model in MODELS:
        own = [s for s in studies if (s.task, s.model) == (CAPTIONS, model)]
        recipes = {(s.epochs, s.learning_rate, s.batch_size) for s in own}
        assert len(recipes) == 1, "what is compared is trained alike"


def test_its_name_and_the_command_for_its_regions_are_told_once() -> None:
    assert "real-text" in PRESETS
    assert FEATURES in real_text.MAKE_FEATURES and f"{real_text.SHARE:g}" in real_text.MAKE_FEATURES
    assert pytest.approx(0.95) == CEILING


def test_a_choice_of_task_and_model_keeps_all_that_is_compared() -> None:
    chosen = plan("real-text", task=CAPTIONS, model="uniter")
    assert [shown(study) for study in chosen] == [FOLLOWED, BLIND, SHUFFLED]


# -- regions that follow captions -----------------------------------------------------------------
RELATIONS = ("left of", "under", "behind", "inside", "above", "near")


def captions(count: int) -> pd.DataFrame:
    draw = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "item": [f"train-{i:05d}" for i in range(count)],
            "relation": draw.choice(RELATIONS, count),
            "label": draw.integers(2, size=count),
        }
    )


def said_left(items: pd.DataFrame) -> np.ndarray:
    """On which side relation and label ask for the subject."""
    turned = items["relation"].map(made_up._reversed).to_numpy(dtype=bool)
    return items["label"].to_numpy(dtype=bool) ^ turned


def sides(store: RegionStore) -> np.ndarray:
    """Whether the subject lies left of the object, item by item."""
    boxes = store.boxes(np.arange(len(store)))
    return boxes[:, made_up.SUBJECT, 0] < boxes[:, made_up.OBJECT, 0]


@pytest.mark.parametrize("share", [0.0, 0.6, 1.0])
def test_boxes_follow_for_the_known_share(tmp_path: Path, share: float) -> None:
    items = captions(4000)
    store = follow_captions(items, tmp_path / "s", share=share)
    right = (sides(store) == said_left(items)).mean()
    # Those that do not follow are right by chance.
    assert right == pytest.approx(share + (1 - share) / 2, abs=0.03)


def test_words_or_boxes_alone_tell_nothing(tmp_path: Path) -> None:
    items = captions(6000)
    left = sides(follow_captions(items, tmp_path / "s", share=1.0))
    assert abs(items["label"][left].mean() - items["label"][~left].mean()) < 0.1 < 0.9
    by_relation = items.assign(left=left).groupby(["relation", "left"])["label"].mean()
    assert set(by_relation) == {0.0, 1.0}, "together they tell all"


def test_features_are_about_as_long_as_those_of_a_detector(tmp_path: Path) -> None:
    store = follow_captions(captions(50), tmp_path / "s", share=1.0)
    length = np.linalg.norm(store.features(np.arange(50))[:, : made_up.OBJECT + 1], axis=-1)
    assert length.min() > 20 and length.max() < 60


# -- the commands ---------------------------------------------------------------------------------
LINE = {"image": "1.jpg", "caption": "The cat is left of the dog.", "label": 1}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data folder with a few captions in the place of VSR's."""
    counts = {"train": 30, "dev": 10, "test": 20}
    monkeypatch.setattr(corpora, "VSR_ITEMS", dict.fromkeys(corpora.VSR_ITEMS, counts))
    monkeypatch.setenv("LTHLIB_DATA", str(tmp_path / "data"))
    for part, count in counts.items():
        for version, relation in (("current", "left of"), ("v1", "")):
            path = tmp_path / "data" / corpora.vsr_file(version, "random", part)
            path.parent.mkdir(parents=True, exist_ok=True)
            line = json.dumps({**LINE, "relation": relation})
            path.write_text(f"{line}\n" * count)
    yield tmp_path / "data"


def test_the_command_makes_regions_of_every_item(data: Path, capsys: Any) -> None:
    command = ["features", "follow", "mine", "--task", CAPTIONS, "--share", "0.9"]
    assert main(command) == 0
    assert "60 images, 4 regions of 16 features, extractor: made up: 90% follow" in (
        capsys.readouterr().out
    )
    assert main(["features", "check", "mine", "--task", CAPTIONS]) == 0
    capsys.readouterr()
    assert main(command) == 1
    assert "holds a finished store: name another" in capsys.readouterr().err
    # The same command makes the same regions, another seed others.
    digests = {RegionStore(data / "features" / "mine").digest}
    for name, seed in (("again", "0"), ("other", "1")):
        assert main([*command[:2], name, *command[3:], "--seed", seed]) == 0
        digests.add(RegionStore(data / "features" / name).digest)
    assert len(digests) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give --task and --share, such as `--task vsr-random --share 0.9`"),
        (["--task", CAPTIONS], "give --task and --share"),
        (["--task", CAPTIONS, "--share", "90"], "--share 90 is no share of items: give 0 to 1"),
        (["--task", CAPTIONS, "--share", "nan"], "--share nan is no share of items"),
        (["--task", CAPTIONS, "--share", "0.5", "--seed", "-1"], "--seed -1 will not do"),
        (["--task", "digits", "--share", "1"], "unknown task with published captions 'digits'"),
        (["--task", "vsr-v1-random", "--share", "1"], "its texts name no relation"),
        (["--task", "vsr-zeroshot", "--share", "1"], "zeroshot"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    data: Path, capsys: Any, words: list[str], said: str
) -> None:
    assert main(["features", "follow", "mine", *words]) == 1
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1
    assert not (data / "features").exists(), "nothing is left half written"


def test_a_plan_says_what_data_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("LTHLIB_DATA", str(tmp_path / "none"))
    assert main(["plan", "--preset", "real-text", "--store", str(tmp_path)]) == 0
    (line,) = [x for x in capsys.readouterr().out.splitlines() if "lacks" in x]
    assert "`lth data get vsr open-i`" in line and real_text.MAKE_FEATURES in line
    assert main(["plan", "--preset", "ci", "--store", str(tmp_path)]) == 0
    assert "lacks" not in capsys.readouterr().out


# -- tables by hand -------------------------------------------------------------------------------
ITEMS = 200
SOME = ("lxmert", "uniter")  # two models are enough here
FINDINGS = ("Mass", "Edema", "Hernia")
Answers = Callable[[Study, int, int, str], float]


def write_study(store: RecordStore, study: Study, right: Answers) -> None:
    """Runs that answer a known share of decisions rightly: right(study, seed, level, branch)."""
    several = study.task == REPORTS
    decisions = FINDINGS if several else ("label",)
    count = ITEMS * len(decisions)
    labels = np.arange(count) % 4 == 0 if several else np.arange(count) % 20 < 11
    if several:
        labels &= np.tile(np.array(FINDINGS) != "Hernia", ITEMS)
    for seed in study.seeds:
        frames = []
        for rung in study.rungs():
            for branch in ("main", *study.branches_at(rung.level)):
                # Wrong answers are spread over both labels.
                wrong = (
                    np.arange(count) * 7 % count >= right(study, seed, rung.level, branch) * count
                )
                given = np.where(wrong, ~labels, labels).astype(int)
                frame = synthetic.one_record(
                    labels.astype(int), given, run=study.run_id(seed), level=rung.level,
                    branch=branch, decisions=decisions,
                )  # fmt: skip
                score = 2.0 * given - 1
                logits = [[s] for s in score] if several else [[-s, s] for s in score]
                frames.append(frame.assign(logits=logits))
        predictions = pd.concat(frames, ignore_index=True)
        levels = synthetic.levels(predictions)
        shares = {rung.level: rung.sparsity for rung in study.rungs()}
        levels = levels.assign(sparsity=levels["level"].map(shares))
        key = f"{study.task}-made"
        store.write_items(key, pd.DataFrame({"item": predictions["item"].unique()}))
        with store.writer(study.run_id(seed), {}) as writer:
            for level in shares:
                part = predictions[predictions["level"] == level]
                writer.write_level(
                    level,
                    {
                        "predictions": part,
                        "levels": levels[levels["level"] == level],
                        "training": part[["run", "level", "branch"]].head(1),
                        "curves": part[["run", "level", "branch"]].head(1),
                    },
                    {},
                )
            writer.finish(
                {
                    "format": 1, "run": study.run_id(seed), "seed": seed, "items": key,
                    "study": study.settings(), "identity": {}, "finished": "2026-01-01T00:00",
                    "hardware": {"device": "cpu", "processor": "a processor"},
                    "versions": {"torch": "0"},
                },
                b"",
            )  # fmt: skip


def learned(study: Study, seed: int, level: int, branch: str) -> float:
    """Regions are learned and kept at level 1, by tickets alone; nothing else is known."""
    if study.task == REPORTS:
        return (0.95, 0.93, 0.9)[level] + 0.01 * (seed - 1)
    if shown(study) != FOLLOWED or branch != "main":
        return 0.45 + 0.01 * (seed - 1)
    return (0.9, 0.88, 0.5)[level] + 0.01 * (seed - 1)


def baselines() -> Baselines:
    """Counts of rules on the items above: 110 of 200 captions are True."""
    positive = 100
    answers = [
        ("VSR current random", "majority", 110, 200),
        ("VSR current random", "opposite", 140, 200),
        ("VSR current random", "text", 100, 200),
        ("VSR current random", "reversed", 130, 200),
        (REPORTS_READ, "all negative", 600 - positive, 600),
        (REPORTS_READ, "text", 590, 600),
    ]
    ranked = [(REPORTS_READ, "all", "auc", 0.99), (REPORTS_READ, "all", "ap", 0.8)]
    ranked.append(("Open-I", "all", "auc", 0.995))
    counted = pd.DataFrame(answers, columns=["data", "rule", "right", "items"])
    leaning = {"data": "VSR current random", "rule": "opposite", "right": 90, "items": 100}
    counted = pd.concat(
        [counted.assign(where="all"), pd.DataFrame([{**leaning, "where": "opposite"}])],
        ignore_index=True,
    ).assign(part="test")
    return Baselines(
        {},
        counted,
        pd.DataFrame(
            [{"data": "VSR current random", "test_items": 200, "caption_in_training": 150,
              "captions": 100, "captions_of_both_labels_evenly": 80}]
        ),
        pd.DataFrame(),
        pd.DataFrame(),
        pd.DataFrame(ranked, columns=["data", "where", "measure", "value"]).assign(
            low=0.7, high=0.995
        ),
        pd.DataFrame(),
        pd.DataFrame([{"data": "Open-I", "part": "test", "items": 772, "longer": 157}]),
    )  # fmt: skip


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Part]:
    store = RecordStore(tmp_path_factory.mktemp("records"))
    for study in plan("real-text"):
        if study.model in SOME:
            write_study(store, study, learned)
    return gather(store)


def test_parts_are_what_models_are_shown(parts: list[Part]) -> None:
    held = by_task(parts)
    assert [part.shown for part in held[CAPTIONS]] == [FOLLOWED, SHUFFLED, BLIND]
    assert [part.shown for part in held[REPORTS]] == [BLIND]
    assert all(len(part.readings) == len(SOME) for part in parts)
    assert [part.pruned for part in held[CAPTIONS]] == [True, False, True]
    assert not len(held[CAPTIONS][1].agreements)


def test_accuracy_by_hand(parts: list[Part]) -> None:
    (followed, *_), found = by_task(parts)[CAPTIONS], baselines()
    rules = rules_of([followed], found)
    assert [(r.key, r.accuracy) for r in rules] == [
        ("majority", 0.55), ("opposite", 0.7), ("text", 0.5), ("reversed", 0.65),
    ]  # fmt: skip
    shown_table = tables.part_table(followed, rules)
    rows = shown_table.table.set_index("what answers")
    # 178, 180 and 182 of 200: mean 90, sd 1 point, t(2) = 4.30, 4.30 / sqrt(3) = 2.48.
    assert rows.loc["UNITER, dense", "accuracy, %"] == "90.0 (87.5 to 92.5)"
    assert rows.loc["UNITER, ticket at 80.0 %", "accuracy, %"] == "88.0 (85.5 to 90.5)"
    assert rows.loc["UNITER, random mask at 80.0 %", "accuracy, %"] == "45.0 (42.5 to 47.5)"
    # 176 of 200 right with the same 4 wrong beyond dense: 98 % of answers are kept.
    assert rows.loc["UNITER, ticket at 80.0 %", "fidelity, %"].startswith("98.0")
    beaten = rows["beats the constant answer"]
    assert beaten["UNITER, dense"] == "3 of 3"
    assert beaten["UNITER, ticket at 95.0 %"] == "0 of 3"
    opposite = rows.loc["rule: opposite of the caption's training label"]
    assert opposite["accuracy, %"] == "70.0 (63.1 to 76.3)"
    assert rows["accuracy, %"].iloc[-1] == "95.0" == f"{100 * CEILING:.1f}"


def test_ranking_by_hand(parts: list[Part]) -> None:
    (part,) = by_task(parts)[REPORTS]
    dense = part.quality[(part.quality["level"] == 0) & (part.quality["seed"] == 1)]
    # Scores are answers: AUC of a finding is the mean of recall and specificity.
    predictions = part.readings[0].predictions
    own = predictions[(predictions["level"] == 0) & predictions["run"].str.endswith("s1")]
    expected = []
    for _, finding in own[own["decision"] != "Hernia"].groupby("decision"):
        right = finding["label"] == finding["prediction"]
        expected.append(right.groupby(finding["label"]).mean().mean())
    assert dense["auc"].iloc[0] == pytest.approx(np.mean(expected))
    assert dense["undefined"].iloc[0] == "Hernia"
    text = tables.part_table(part, rules_of([part], baselines()))
    assert "without a positive test report: Hernia" in text.caption
    assert "ranks nothing" in set(text.table["macro AUC, %"])


def test_other_items_than_the_rules_had_are_refused(parts: list[Part]) -> None:
    found = baselines()
    found.answers.loc[0, "right"] = 111
    with pytest.raises(RecordError, match=r"111 of the common kind.*200 and 110: count them again"):
        rules_of(by_task(parts)[CAPTIONS], found)


def test_verdicts_in_words(parts: list[Part]) -> None:
    held, found = by_task(parts), baselines()
    rules = {task: rules_of(own, found) for task, own in held.items()}
    followed, _, blind = held[CAPTIONS]
    learned_words = findings.followed_sentence(held[CAPTIONS], rules[CAPTIONS])
    assert "regions at every seed is shown for LXMERT and UNITER. With" in learned_words
    assert "With the regions of another item no model is shown to beat it" in learned_words
    assert "They train for 2 epochs (LXMERT and UNITER), whatever a model is shown" in learned_words
    kept = findings.kept_sentence(followed)
    assert kept.count("not shown at 95.0\u00a0%, at any seed") == 2 and "−2.0 points" in kept
    assert "95\u00a0% t intervals over seeds" in kept
    said = findings.blind_sentence(blind, rules[CAPTIONS])
    assert "beat it at 0 of 3 seeds (LXMERT)" in said
    assert "is right on 70.0\u00a0% (95\u00a0% exact interval over decisions 63.1 to 76.3)" in said
    assert "by its mean over seeds LXMERT and UNITER are below" in said
    why = findings.why_sentence(blind, found)
    assert "80.0\u00a0% of the captions are as often True as False" in why
    assert "the other one for 90.0\u00a0%" in why
    (reports,) = held[REPORTS]
    assert "No model reaches the text model's AUC" in findings.ranking_sentence(
        reports, rules[REPORTS]
    )
    short = findings.short_sentence(parts, rules)
    assert "2 of 2 blind models beat the constant" in short
    assert "at 80.0\u00a0% sparsity 2 of 2 do, at 95.0\u00a0% sparsity none of 2 do" in short


def test_other_records_give_other_words(tmp_path: Path) -> None:
    """Nothing learned at a seed, regions of others that help, blind models that read the rule."""

    def other(study: Study, seed: int, level: int, branch: str) -> float:
        if shown(study) == FOLLOWED:
            return 0.9 if seed or study.model == "uniter" else 0.5
        return 0.75 if shown(study) == SHUFFLED else 0.3

    store = RecordStore(tmp_path)
    for study in plan("real-text", task=CAPTIONS):
        if study.model in SOME:
            write_study(store, study, other)
    parts, found = gather(store), baselines()
    held = by_task(parts)
    rules = rules_of(held[CAPTIONS], found)
    said = findings.followed_sentence(held[CAPTIONS], rules)
    assert "regions at every seed is shown for UNITER, and not for LXMERT." in said
    assert "With the regions of another item 6 of 6 runs beat it" in said
    assert "LXMERT's dense models have nothing sure to keep" in findings.kept_sentence(
        held[CAPTIONS][0]
    )
    why = findings.why_sentence(held[CAPTIONS][2], found)
    assert "not tested, LXMERT and UNITER lie below the worse of the two constant" in why
    assert "70.0\u00a0%" in why
    assert REPORTS not in held


def test_what_is_not_recorded_is_left_out_or_said(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"no run of the preset real-text .*lth run --preset"):
        gather(RecordStore(tmp_path))
    (study,) = (s for s in plan("real-text", model="uniter", task=CAPTIONS) if shown(s) == BLIND)
    write_study(RecordStore(tmp_path), study.model_copy(update={"seeds": (0,)}), learned)
    (part,) = gather(RecordStore(tmp_path))
    rules = rules_of([part], baselines())
    assert "Not run yet" in findings.followed_sentence([part], rules)
    assert "35 of the 36 runs" in findings.records_sentence([part])
    assert "0 of 1 seeds" in findings.blind_sentence(part, rules)
    assert tables.dense_figure([part], rules).figure is not None
    assert tables.ladder_figure(part, rules).figure is not None
    assert findings.kept_sentence(part) and findings.tested_sentence(part)


def test_figures_say_what_they_compare_with(parts: list[Part]) -> None:
    held, found = by_task(parts), baselines()
    rules = {task: rules_of(own, found) for task, own in held.items()}
    followed, _, blind = held[CAPTIONS]
    assert tables.reference_lines(followed, rules[CAPTIONS], "accuracy") == {
        "best possible": CEILING, "most common training label": 0.55,
    }  # fmt: skip
    assert tables.reference_lines(blind, rules[CAPTIONS], "accuracy") == {
        "opposite of the caption's training label": 0.7, "most common training label": 0.55,
    }  # fmt: skip
    assert tables.reference_lines(held[REPORTS][0], rules[REPORTS], "auc") == {
        "text model": 0.99, "no order at all": 0.5,
    }  # fmt: skip
    overview = tables.dense_figure(held[CAPTIONS], rules[CAPTIONS])
    assert "UNITER with made-up regions 90.0 %" in overview.alt
    assert "best possible, 95.0 %" in overview.caption


# -- what ships -----------------------------------------------------------------------------------
def shipped_packs() -> PackedStore:
    store = store_at(SHIPPED)
    assert isinstance(store, PackedStore)
    return store


def test_the_shipped_pack_is_whole_and_small() -> None:
    store = shipped_packs()
    for run in store.runs():
        store.verify(run)
        assert len(store.items(store.study(run)["items"]))
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file()) < 3e6


def test_the_shipped_pack_holds_the_preset() -> None:
    store, names = shipped_packs(), {run for s in plan("real-text") for run in s.run_ids()}
    assert set(store.runs()) == names


def words_of(store: PackedStore, task: str) -> str:
    """All text of all files that belong to a task: tables, items, and what is said of the runs."""
    told = []
    for path in sorted(SHIPPED.rglob("*")):
        if task not in str(path.relative_to(SHIPPED)) or not path.is_file():
            continue
        if path.suffix == ".parquet":
            frame = pd.read_parquet(path)
            for column in frame.columns[frame.dtypes.map(pd.api.types.is_numeric_dtype) == 0]:
                told += {str(value) for value in frame[column]}
        else:
            told.append(path.read_text())
    return " ".join(told)


def test_no_record_holds_a_report() -> None:
    store = shipped_packs()
    keys = {store.study(run)["items"] for run in store.runs() if REPORTS in run}
    assert keys
    for key in keys:
        items = store.items(key)
        assert list(items.columns) == ["item"]
        assert items["item"].str.fullmatch(r"report-\d+").all()
    text = words_of(store, REPORTS)
    assert not re.search(r"\b(lungs?|pleural effusion|cardiomediastinal|radiograph)\b", text, re.I)


@needs_data
def test_no_sentence_of_any_report_is_in_the_pack() -> None:
    text = words_of(shipped_packs(), REPORTS).lower()
    reports = pd.concat(corpora.read_openi(Path(DATA or ".")).values())["text"]
    sentences = {s.strip().lower() for report in reports for s in report.split(".")}
    long = [s for s in sentences if len(s.split()) > 1]
    assert len(long) > 1000
    assert not [s for s in long if s in text]


# -- the chapter ----------------------------------------------------------------------------------
def test_the_chapter_follows_its_own_store() -> None:
    book = read_book(ROOT)
    (chapter,) = (c for c in book.chapters if c.name == "real-text")
    assert (chapter.store, chapter.reads) == ("records/real-text", "none")
    assert book.store(chapter.store).runs()
    made = {e.chapter.name: e.parameters for e in editions(book)}
    assert made["real-text"] == {"store": "records/real-text"}
    assert "records/real-text" in made["status"]["stores"]


@pytest.mark.slow
def test_the_chapter_needs_no_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LTHLIB_DATA", str(tmp_path / "none"))
    executed = execute(
        ROOT / "notebooks" / "real-text.ipynb", {"store": "records/real-text"}, ROOT, {}
    )
    text = json.dumps(executed)
    assert "Shown here" in text and "made-up regions" in text
    assert text.count("exhibit-table") >= 4


# -- end to end -----------------------------------------------------------------------------------
@needs_data
@pytest.mark.slow
@pytest.mark.parametrize("task", [CAPTIONS, "vsr-grouped", REPORTS])
def test_each_task_runs_from_the_command_to_the_tables(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("vsr", "openi"):
        (folder / name).symlink_to(Path(DATA or ".").resolve() / name)
    monkeypatch.setenv("LTHLIB_DATA", str(folder))
    follows = task != REPORTS
    if follows:
        assert main(["features", "follow", FEATURES, "--task", task, "--share", "0.9"]) == 0
    tiny = {"train_items": 64, "validation_items": 16, "test_items": 40, "epochs": 1}
    study = Study.build(
        task=task, start="random", ladder=[0.5], features=FEATURES if follows else None,
        regions="shown" if follows else "none", **tiny,
    )  # fmt: skip
    from lthlib.lab import lottery

    store = RecordStore(tmp_path / "records")
    lottery.run(study, 0, store)
    (part,) = gather(store, [study])
    assert (part.task, part.shown) == (task, FOLLOWED if follows else BLIND)
    assert list(part.quality["items"].unique()) == [40]
    assert findings.kept_sentence(part)
    if not follows:
        assert list(store.items(store.study(study.run_id(0))["items"])) == ["item"]


def test_shuffled_regions_need_a_store() -> None:
    with pytest.raises(StudyError, match="has none without a store"):
        Study.build(task=CAPTIONS, regions="shuffled", start="random")


def test_how_much_of_a_report_is_read_is_said() -> None:
    said = findings.lengths_sentence(baselines())
    assert (
        "the first 62 words and marks of a report, and 157 of 772 test reports are longer" in said
    )
    assert "99.5 in place of 99.0\u00a0%" in said
