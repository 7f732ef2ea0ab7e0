"""Sentences and tables of the book, against numbers that were worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

import synthetic
from degenerate import execute
from lthlib.errors import RecordError
from lthlib.lab.tasks import load
from lthlib.packs import PackedStore, pack, store_at
from lthlib.records import LAB_FORMAT, Files, RecordStore, shipped_store
from lthlib.report import benchmarks, reading, status
from lthlib.study import PRESETS, Study, plan


def about(study: Study, seed: int) -> dict[str, object]:
    versions = {"python": "3.11.2", "torch": "0.0.1"}
    hardware = {"processor": "a processor", "device": "cpu", "cores": 2}
    return {
        "format": 1, "run": study.run_id(seed), "seed": seed, "study": study.settings(),
        "identity": {"lab": LAB_FORMAT, "start weights": "gone"}, "items": "k",
        "commit": "c" * 40 + "+changes",
        "started": "2026-01-02T03:00:00+00:00", "finished": "2026-01-02T03:04:30+00:00",
        "versions": versions, "hardware": hardware,
    }  # fmt: skip


def write(store: RecordStore, study: Study, flip: int = 0) -> None:
    """Every run of a study; flip: how many predictions of each differ from the usual ones."""
    predictions = synthetic.predictions(
        runs=study.run_ids(), levels=1, branches=study.branches, items=50
    )
    levels = synthetic.levels(predictions)
    store.write_items("k", pd.DataFrame({"item": sorted(predictions["item"].unique())}))
    for seed in study.seeds:
        run = study.run_id(seed)
        own = predictions[predictions["run"] == run].reset_index(drop=True)
        own.loc[: flip - 1, "prediction"] = 1 - own.loc[: flip - 1, "prediction"]
        tables = {"predictions": own, "levels": levels[levels["run"] == run]}
        tables |= dict.fromkeys(("training", "curves"), own[["run"]].head(1))
        with store.writer(run, {}) as writer:
            writer.write_level(0, tables, {})
            writer.finish(about(study, seed), b"")


@pytest.fixture
def study() -> Study:
    return Study.build(model="lxmert", levels=1, seeds=[0, 1], epochs=7)


def test_reading_measures_and_describes_every_run(tmp_path: Path, study: Study) -> None:
    store = RecordStore(tmp_path / "records" / "shipped")
    write(store, study)
    found = reading.read(study, store)
    assert sorted(found.quality["run"].unique()) == study.run_ids()
    assert set(found.quality["model"]) == {"lxmert"} and "sparsity_all" in found.agreements
    assert found.floor is not None and 0 < found.floor < 1
    assert reading.records_line([found]) == (
        "Shown here: 2 runs of LXMERT on digits (seeds 0, 1) from records/shipped, the records "
        "that come with the repository, made 2026-01-02 on a processor with torch 0.0.1."
    )
    assert reading.floors([found]).to_dict() == {"lxmert": found.floor}


def test_groups_differ_in_the_model_alone(tmp_path: Path, study: Study) -> None:
    store = RecordStore(tmp_path)
    others = [study.model_copy(update={"model": "uniter"}), study.model_copy(update={"epochs": 8})]
    for each in [study, *others]:
        write(store, each)
    readings = [reading.read(each, store) for each in [study, *others]]
    groups = reading.side_by_side(readings)
    assert [[r.study.model for r in group] for group in groups] == [
        ["lxmert", "uniter"],
        ["lxmert"],
    ]
    said: list[str] = []
    named = [name("accuracy") for _, name in reading.each_group(groups, said.append)]
    assert named == ["accuracy", f"accuracy-{others[1].hash}"]
    assert said[0] == "**digits: protocol lottery, imp ladder**" and others[1].hash in said[1]
    assert len(reading.joined(groups[0], "quality")["run"].unique()) == 4


# -- status ---------------------------------------------------------------------------------------
def test_status_says_what_was_run_and_what_has_changed_since(tmp_path: Path, study: Study) -> None:
    store = RecordStore(tmp_path)
    write(store, study)
    table = status.studies({"here": store}).iloc[0]
    assert table["study"] == study.name and table["seeds"] == "0, 1"
    assert table["settings"] == "epochs 7, levels 1, model lxmert"
    run = status.runs({"here": store}).iloc[1]
    assert run["run"] == study.run_id(1) and run["minutes"] == "4.5"
    assert run["made"] == "2026-01-02 03:04" and run["commit"] == "cccccccccc+changes"
    assert "torch 0.0.1 is now " in run["since then"]
    assert "its start weights are no longer those that ship" in run["since then"]
    assert "lab now computes" not in run["since then"]
    with pytest.raises(RecordError, match="make report"):
        status.runs({"here": RecordStore(tmp_path / "empty")})


def test_files_are_whole_only_once_they_were_checked(tmp_path: Path, study: Study) -> None:
    store = RecordStore(tmp_path)
    write(store, study)
    damaged = tmp_path / study.run_id(1) / "curves.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    with pytest.raises(RecordError, match=r"s1/curves.parquet is damaged: its SHA-256") as caught:
        status.runs({"here": store})
    assert "\n" not in str(caught.value)


def test_packed_studies_say_what_they_were_made_with(tmp_path: Path) -> None:
    (study,) = (s for s in plan("quick", model="uniter") if s.task == "digits")
    run = study.run_ids()[0]
    pack([run], shipped_store(), Files(tmp_path))
    store = store_at(tmp_path)
    assert isinstance(store, PackedStore)
    rows = status.packs({"reference": store})
    sizes = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert status.bytes_a_run(store) == sizes / len(store.runs())
    assert len(rows) == 1
    row, made = rows.iloc[0], status.runs({"shipped": shipped_store()})
    same = made[made["run"] == run].iloc[0]
    assert (row["study"], row["seeds"]) == (study.name, str(study.seeds[0]))
    for column in ("commit", "made", "hardware", "versions", "since then", "files"):
        assert row[column] == same[column]
    damaged = next((tmp_path / study.name).glob("curves.*.parquet"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    with pytest.raises(RecordError, match=r"curves\..*parquet is damaged: its SHA-256"):
        status.packs({"reference": store})
    with pytest.raises(RecordError, match="no pack holds a finished run"):
        status.packs({})


def test_minutes_are_those_of_all_sessions(study: Study) -> None:
    # Interrupted: 90 seconds of work within four and a half minutes.
    assert status._minutes({**about(study, 0), "seconds": 90.0}) == 1.5
    assert status._minutes(about(study, 0)) == 4.5


@pytest.mark.parametrize("then", [LAB_FORMAT - 1, None])
def test_a_lab_that_computes_other_numbers_is_a_change(study: Study, then: int | None) -> None:
    made = {**about(study, 0), "versions": {}, "identity": {"start weights": "random"}}
    made["identity"] |= {} if then is None else {"lab": then}  # type: ignore[operator]
    assert status._changes(made) == "the lab now computes other numbers from the same study"
    made["identity"] = {"lab": LAB_FORMAT, "start weights": "random"}
    assert status._changes(made) == "nothing has changed"


def test_repeated_runs_are_compared_answer_by_answer(tmp_path: Path, study: Study) -> None:
    local, shipped = RecordStore(tmp_path / "local"), RecordStore(tmp_path / "shipped")
    write(shipped, study)
    assert status.repeated(local, shipped) is None
    write(local, study, flip=10)  # of 50 at level 0, of 100 in all
    same = status.repeated(local, shipped)
    assert same is not None
    row = same.iloc[0]
    assert (row["answers"], row["same"]) == ("100", "90.00 %")
    assert row["same, level by level"] == "80.00 %, 100 %"


# -- what can be asked ----------------------------------------------------------------------------
def test_every_parameter_is_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = execute("parameters", monkeypatch).shown
    table = shown["parameters"].data.set_index("parameter")
    assert list(table.index) == list(Study.model_fields)
    assert table.loc["model", "may be"] == "visualbert, lxmert, uniter"
    assert table.loc["seeds", "may be"] == "list of: whole number"
    assert table.loc["train_items", "default"] == "null"
    assert table.loc["clip_norm", "default"] == "1.0" and table.loc["boxes", "default"] == "true"
    assert "secondary" in table.loc["ladder", "may be"]
    presets = shown["presets"].data.set_index("preset")
    assert list(presets.index) == list(PRESETS)
    assert presets.loc["quick", "runs"] == sum(len(s.seeds) for s in plan("quick"))
    # Dense and six levels, each with two controls, for three models and ten seeds.
    parts = shown["parts"].data.set_index("part")
    assert parts.loc["concluding", "trainings"] == (1 + 6 * 3) * 3 * 10
    ladders = shown["ladders"].data.set_index(["ladder", "level"])["sparsity, %"]
    assert ladders["concluding", 1] == "27.1" and ladders["imp", 2] == "36.0"


def test_sample_scenes_are_the_first_test_items(monkeypatch: pytest.MonkeyPatch) -> None:
    page = execute("scenes", monkeypatch, samples=2)
    task = load("digits", train_items=8, validation_items=8)
    shown = page.shown["scenes-digits"]
    assert shown.data["text"].tolist() == task.test.facts["text"].head(2).tolist()
    assert all(text in shown.alt for text in shown.data["text"])
    regions = task.test.inputs.region_mask[:2].sum(dim=1).tolist()
    assert [each.count(";") + 1 for each in shown.data["boxes"]] == regions
    counted = page.shown["make-up-digits"].data
    assert counted["items"].sum() == len(task.test) and counted["share"].sum() == pytest.approx(1)
    assert page.faults() == []


# -- benchmarks -----------------------------------------------------------------------------------
RATIOS = {
    "ratio_of_medians": 0.5, "ratio_of_minima": 0.4, "lowest_ratio": 0.3, "highest_ratio": 0.6,
}  # fmt: skip
TIME = {"min": 1.0, "median": 2.0, "repeats": 3}
MADE = {
    "made": "2026-01-02T03:04:05+00:00", "versions": {"torch": "9"}, "commit": "abcdef012345",
    "small": True,
    "hardware": {"processor": "a processor", "device": "cpu", "cores": 2},
}  # fmt: skip
AGAINST = {"lightning": RATIOS, "loop": RATIOS}
FOUND = {
    "about": {
        "device": "cpu",
        "parts": dict.fromkeys(
            ("masks", "ladder", "pruning", "steps", "vsr", "cores", "together"), MADE
        ),
    },
    "peak": {"float32": 1e11},
    "masks": {"tiny": {"uniter": {**RATIOS, "masked": TIME, "dense": TIME}}},
    "ladder": {"uniter": {"seconds": {"ours": TIME, "lightning": TIME}, "against": AGAINST,
                          "peak_bytes": {"ours": 1e6, "lightning": 2e6}}},
    "cores": {"cores": 2, "models": {"uniter": {
        "seconds": {"processes": TIME},
        "against": {"threads": RATIOS, "loop": RATIOS, "loop, processes": RATIOS}}}},
    "together": {"uniter": {"8": {**RATIOS, "together": TIME, "one by one": TIME}}},
    "steps": {"base": {"uniter": {
        "items": 10, "batch_size": 5, "precision": "float32", "usual": "fused",
        "seconds": {"plain": TIME, "fused": TIME}, "flops": {"plain": 5e10, "fused": 4e10},
        "against": AGAINST,
        "plain_against": {**AGAINST, "loop": {**RATIOS, "ratio_of_medians": 0.97}},
        "kernels": {"fused": RATIOS}}}},
    "vsr": {"fine_tunings": 390, "study_seconds": 390 * 60.0, "models": {"uniter": {
        "items": 16, "epoch_seconds": 20.0, "fine_tuning_seconds": 60.0,
        "flops_per_second": 2.5e10, "precision": "float32", "whole": False}}},
    "pruning": {"100": {**RATIOS, "weights": 100, "differing": 2, "differing_beyond_ties": 0,
                        "seconds": {"lthlib": TIME, "torch": TIME},
                        "extra_bytes": {"lthlib": 1e6, "torch": 2e6}},
                "200": {"weights": 200, "seconds": {"lthlib": TIME},
                        "extra_bytes": {"lthlib": 1200}}},
}  # fmt: skip


def test_benchmarks_become_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert benchmarks.read_benchmarks(tmp_path) == {}
    (tmp_path / "cpu.json").write_text(json.dumps(FOUND))
    page = execute("costs", monkeypatch, results=str(tmp_path))
    names = ("masks", "pruning", "kernels", "together", "ladder", "steps", "cores", "study")
    made = {name: page.shown[f"{name}-cpu"] for name in names}
    for name, exhibit in made.items():
        assert "a processor" in exhibit.caption and "too short" in exhibit.caption, name
        assert "abcdef0" in exhibit.caption
    rows = {name: exhibit.data for name, exhibit in made.items()}
    for name in names[:4]:
        assert rows[name].iloc[0]["ratio of medians"] == "0.500 (0.300 to 0.600)"
    for name in names[4:7]:
        assert rows[name].iloc[0]["against plain loop"] == "0.50 (0.30 to 0.60)"
    assert rows["ladder"].iloc[0]["peak memory, MB"] == "ours 1, Lightning 2"
    for layout in ("one process of ours", "plain loop in processes"):
        assert rows["cores"].iloc[0][f"against {layout}"] == "0.50 (0.30 to 0.60)"
    # The loop alone: with the kernels that the peers have too.
    assert rows["steps"]["kernels"].tolist() == ["fused", "plain"]
    assert rows["steps"].iloc[1]["against plain loop"] == "0.97 (0.30 to 0.60)"
    # 4e10 and 5e10 operations in a second of a machine that does 1e11.
    assert rows["steps"]["share of the peak"].tolist() == ["40%", "50%"]
    assert rows["steps"].iloc[0]["items a second"] == "10"
    assert rows["study"].iloc[0]["share of the peak"] == "25%"
    assert "390 fine-tunings" in made["study"].caption and "6.5 hours" in made["study"].caption
    assert "more by operations" not in made["study"].caption
    assert rows["pruning"].iloc[0]["masks differ in"] == "2 weights, 0 of them no ties"
    assert rows["pruning"].iloc[1]["extra memory over scores"] == "1.50"
    assert page.faults() == []
    assert any("Nothing has been measured on a GPU yet" in line for line in page.said)
    assert "Not measured yet: `python -m benchmarks --only writing` does it." in page.said
    (tmp_path / "cpu.json").write_text("{")
    with pytest.raises(RecordError, match=r"cpu.json is damaged: run `make bench` again"):
        benchmarks.read_benchmarks(tmp_path)
