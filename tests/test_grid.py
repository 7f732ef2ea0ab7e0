"""A grid: study files, dry runs, devices, jobs that die, and what is refused in one line."""

from __future__ import annotations

import json
import multiprocessing
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest

from lthlib.errors import GridError, StudyError
from lthlib.records import LAB_FORMAT, RecordStore, open_store, shipped_store, to_json
from lthlib.study import Study, plan
from lthlib.workflow import cli, local
from lthlib.workflow.grid import command as command_module
from lthlib.workflow.grid import controller, forecast
from lthlib.workflow.grid.job import Diary, work
from lthlib.workflow.grid.plan import Plan, being_written, untils
from lthlib.workflow.grid.slots import (
    FOLDER,
    VISIBLE,
    device_slot,
    slots_folder,
    visible_devices,
)
from lthlib.workflow.grid.studies import expand, read_studies
from lthlib.workflow.local import Job

TESTS = Path(__file__).parent
SMALL: dict[str, Any] = {
    "model": "uniter", "task": "digits", "epochs": 1, "levels": 2, "start": "random",
    "batch_size": 16, "train_items": 32, "validation_items": 16, "test_items": 16,
}  # fmt: skip
COMPARED = ("predictions.parquet", "training.parquet", "curves.parquet", "tickets.safetensors")


def write(folder: Path, text: str, name: str = "study.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def small(folder: Path, **changes: Any) -> Path:
    return write(folder, json.dumps({**SMALL, **changes}), "study.json")


def command(study: Path, store: Path, *more: str) -> list[str]:
    return [
        sys.executable, "-m", "lthlib.workflow.cli", "grid", str(study), "--store", str(store),
        *more,
    ]  # fmt: skip


def diaries(store: Path) -> list[dict[str, Any]]:
    paths = store.glob("grid/*/log/*.jsonl")
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def levels_begun(store: Path) -> Counter[str]:
    return Counter(line["text"] for line in diaries(store) if line["event"] == "says")


# -- study files ----------------------------------------------------------------------------------
def test_lists_multiply(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        'model = ["visualbert", "lxmert", "uniter"]\ntask = ["digits", "digit-reports"]\n'
        'ladder = [[0.5], [0.5, 0.9], "secondary"]\nseeds = [0, 1, 2, 3]\n',
    )
    studies = read_studies(path)
    assert len(studies) == len({study.name for study in studies}) == 3 * 2 * 3
    assert {study.ladder for study in studies} == {(0.5,), (0.5, 0.9), "secondary"}
    assert all(study.seeds == (0, 1, 2, 3) for study in studies)


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({"ladder": [0.2, 0.5, 0.9]}, 1),
        ({"ladder": ["secondary", "concluding"]}, 2),
        ({"ladder": ["imp", [0.5]]}, 2),
        ({"branches": ["random-mask", "reinitialised"]}, 1),
        ({"branches": [[], ["random-mask"]]}, 2),
        ({"branches": []}, 1),
        ({"observe": ["weights"], "epochs": [1, 2]}, 2),
        ({"seeds": [0, 1, 2]}, 1),
        ({"features": [None, None]}, 2),
        ({}, 1),
    ],
)
def test_a_list_is_one_value_or_several(settings: dict[str, Any], count: int) -> None:
    assert len(list(expand(settings))) == count


def test_cells_share_settings_and_the_same_study_joins_its_seeds(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        'epochs = 2\nseeds = "3-5"\n[[cells]]\nmodel = "lxmert"\n'
        '[[cells]]\nmodel = ["uniter", "lxmert"]\nseeds = [5, 9]\n',
    )
    studies = {study.model: study for study in read_studies(path)}
    assert studies["lxmert"].seeds == (3, 4, 5, 9)
    assert studies["uniter"].seeds == (5, 9)
    assert {study.epochs for study in studies.values()} == {2}


def test_the_three_formats_say_the_same(tmp_path: Path) -> None:
    toml = write(tmp_path, 'model = ["lxmert", "uniter"]\nladder = [0.5]\nseeds = "0-1"\n')
    yaml = write(tmp_path, "model: [lxmert, uniter]\nladder: [0.5]\nseeds: 0-1\n", "study.yaml")
    plain = {"model": ["lxmert", "uniter"], "ladder": [0.5], "seeds": "0-1"}
    both = write(tmp_path, json.dumps(plain), "study.json")
    assert read_studies(toml) == read_studies(yaml) == read_studies(both)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("s.toml", 'modle = "uniter"', "unknown setting 'modle'; did you mean 'model'"),
        ("s.toml", 'models = ["uniter"]', "did you mean 'model'"),
        ("s.toml", 'model = ["uniter", "bert"]', "unknown model 'bert'"),
        ("s.toml", "ladder = [0.5, 1.2]", "ladder"),
        ("s.toml", "model = []", "model: an empty list"),
        ("s.toml", "seeds = 3", 'seeds: write [3] for one seed, or "0-3"'),
        ("s.toml", 'seeds = "5-3"', "neither a list nor a range"),
        ("s.toml", "epochs = ", "is no valid TOML"),
        ("s.toml", "", "describes no study"),
        ("s.toml", "cells = 3", "cells must be a list"),
        ("s.toml", "cells = []", "cells is empty"),
        ("s.toml", "[[cells]]\nepochs = 1\n[[cells]]\nepochs = 0\n", "cell 2: epochs: 0"),
        ("s.yaml", "a: [", "is no valid YAML"),
        ("s.yaml", "- 1", "describes no study"),
        ("s.json", "{", "is no valid JSON"),
        ("s.csv", "a,b", "must end in .toml, .yaml or .json"),
    ],
)
def test_what_is_no_study_is_one_line(tmp_path: Path, name: str, text: str, words: str) -> None:
    with pytest.raises(StudyError) as error:
        read_studies(write(tmp_path, text, name))
    assert words in str(error.value)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_or_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"none.toml cannot be read: No such file"):
        read_studies(tmp_path / "none.toml")
    (tmp_path / "s.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(StudyError, match="no text in UTF-8"):
        read_studies(tmp_path / "s.toml")


# -- plan and forecast ----------------------------------------------------------------------------
def test_a_run_is_cut_where_its_store_has_it(tmp_path: Path) -> None:
    job, store = Job(Study.build({**SMALL, "levels": 6}), 0), open_store(tmp_path)
    assert untils(job, store, None) == [7]
    assert untils(job, store, 3) == [3, 6, 7]
    assert untils(job, store, 7) == [7]
    for level in range(2):
        store.files.write(f"{job.name}/parts/level-{level:03d}/manifest.json", b"{}")
    assert untils(job, store, 3) == [5, 7]
    for level in range(2, 7):
        store.files.write(f"{job.name}/parts/level-{level:03d}/manifest.json", b"{}")
    assert untils(job, store, 3) == [7], "one job is left, to seal the run"


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    jobs = [Job(Study.build({**SMALL, "seeds": [0, 1]}), seed) for seed in (0, 1)]
    made = Plan.of(jobs, store, 1, device="cpu", devices=["3"], allotment="slots")
    made.write(tmp_path)
    read = Plan.read(tmp_path)
    assert read == Plan(**json.loads(to_json(made.__dict__)))
    assert read.job(jobs[1].name) == Job(Study.build(jobs[1].study.settings()), 1)
    assert read.jobs == 6
    assert read.last == [f"{job.name}.2" for job in jobs]
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(GridError, match="cannot be read"):
        Plan.read(tmp_path)


def test_the_forecast_of_recorded_runs_is_their_size() -> None:
    store = shipped_store()
    measured = forecast.bytes_per_training([store])
    for study in plan("quick"):
        real = [
            sum(entry["bytes"] for entry in store.manifest(run)["files"].values())
            for run in study.run_ids()
        ]
        found = forecast.record_bytes([Job(study, 0)], measured, 1)
        assert found is not None
        assert found[0] == pytest.approx(sum(real) / len(real), rel=0.05)
        assert found[1] > 4 * 4 * 100_000, "four levels' weights, while it runs"
    base = Study.build(size="base", start="random")
    assert forecast.record_bytes([Job(base, 0)], measured, 1) is None


@pytest.mark.usefixtures("in_process")
def test_a_dry_run_says_all_and_starts_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = small(tmp_path, seeds=[0, 1], model=["uniter", "lxmert"])
    store = tmp_path / "store"
    finished = Study.build({**SMALL, "seeds": [0]})
    local.run([finished], open_store(store), workers=1, say=lambda _: None)
    arguments = ["grid", str(study), "--store", str(store), "--rounds", "2", "--dry-run"]
    assert cli.main([*arguments, "--jobs", "4"]) == 0
    said = capsys.readouterr().out
    assert "2 runs, 1 finished, 1 to do; each 3 trainings" in said
    assert "2 runs, 0 finished, 2 to do" in said
    assert "3 of 4 runs to do in 6 jobs, 3 at once, on cpu: about" in said
    assert "they store about" in said
    assert not (store / "grid").exists()


def test_a_dry_run_needs_no_torch(tmp_path: Path) -> None:
    program = (
        "import sys; from lthlib.workflow.cli import main; status = main(sys.argv[1:]); "
        "bad = [m for m in ('torch', 'snakemake') if m in sys.modules]; "
        "sys.exit(f'imported: {bad}' if bad else status)"
    )
    arguments = ["grid", str(small(tmp_path)), "--store", str(tmp_path), "--dry-run"]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


# -- refused in one line --------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("more", "words"),
    [
        ([], "name a study file or --preset"),
        (["STUDY", "--preset", "quick"], "one of the two"),
        (["--preset", "quik"], "did you mean 'quick'"),
        (["STUDY", "--profile", "slrum"], "did you mean 'slurm'"),
        (["STUDY", "--store", "memory://x"], "lives in one process only"),
        (["STUDY", "--store", "nosuch://x"], "cannot be opened"),
        (["STUDY", "--jobs", "0"], "--jobs 0 will not do"),
        (["STUDY", "--rounds", "0"], "--rounds 0 will not do"),
        (["STUDY", "--retries", "-1"], "--retries -1 will not do"),
        (["STUDY", "--gpus", "-1"], "--gpus -1 will not do"),
        (["STUDY", "--gpus", "3"], "this machine shows 1"),
        (["STUDY", "--book"], "--book shows the runs of a preset"),
        (["STUDY", "--dry-run", "--store", "FILE"], "is no folder"),
        (["STUDY", "--dry-run", "--store", "FILE/below"], "is no folder"),
    ],
)
def test_bad_input_is_one_line_and_status_1(
    tmp_path: Path,
    more: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VISIBLE, "0")
    study = str(small(tmp_path))
    (tmp_path / "file").write_text("no store")
    given = [
        study if word == "STUDY" else word.replace("FILE", str(tmp_path / "file")) for word in more
    ]
    if "--store" not in given:
        given += ["--store", str(tmp_path / "store")]
    assert cli.main(["grid", *given]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert words in error


@pytest.mark.usefixtures("in_process")
def test_the_book_is_built_from_the_same_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(cli, "_book", lambda options: asked.append(vars(options)) or 0)
    store = str(tmp_path / "store")
    local.run([Study.build(SMALL)], open_store(store), workers=1, say=lambda _: None)
    monkeypatch.setattr(command_module, "plan", lambda _: [Study.build(SMALL)])
    given = ["grid", "--preset", "ci", "--store", store]
    assert cli.main(given) == 0
    assert asked == []
    assert cli.main([*given, "--book"]) == 0
    assert [(a["store"], a["preset"]) for a in asked] == [(store, "ci")]


def test_a_store_of_packs_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "packs.json").write_text("{}")
    assert cli.main(["grid", str(small(tmp_path)), "--store", str(tmp_path)]) == 1
    assert "holds packs" in capsys.readouterr().err


def test_without_the_extra_it_says_how_to_install_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controller, "find_spec", lambda _: None)
    assert cli.main(["grid", str(small(tmp_path)), "--store", str(tmp_path)]) == 1
    assert "pip install -e '.[grid]'" in capsys.readouterr().err


def test_slurm_where_there_is_none_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    given = ["grid", str(small(tmp_path)), "--store", str(tmp_path), "--profile", "slurm"]
    assert cli.main(given) == 1
    assert "this machine has no sbatch" in capsys.readouterr().err
    # A plan is told from anywhere.
    assert cli.main([*given, "--gpus", "8", "--dry-run"]) == 0
    assert "runs to do in" in capsys.readouterr().out


def test_a_profile_that_is_no_yaml_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "- : {", "config.yaml")
    given = ["grid", str(small(tmp_path)), "--store", str(tmp_path), "--profile", str(tmp_path)]
    assert cli.main(given) == 1
    assert "is no valid profile" in capsys.readouterr().err


@pytest.mark.usefixtures("in_process")
def test_a_finished_run_of_another_identity_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    local.run([Study.build(SMALL)], open_store(store), workers=1, say=lambda _: None)
    monkeypatch.setattr(local, "LAB_FORMAT", LAB_FORMAT + 1)
    assert cli.main(["grid", str(small(tmp_path)), "--store", str(store)]) == 1
    assert "was made with another lab" in capsys.readouterr().err
    assert not (store / "grid").exists()


def test_a_run_that_other_code_began_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = open_store(tmp_path / "store")
    run = Study.build(SMALL).run_id(0)
    begun = {"lab": LAB_FORMAT, "start weights": "random", "task data": "x", "torch": "1.0"}
    store.files.write(f"{run}/parts/identity.json", to_json({**begun, "lab": LAB_FORMAT + 1}))
    given = ["grid", str(small(tmp_path)), "--store", store.files.url, "--dry-run"]
    assert cli.main(given) == 1
    assert "was begun with another lab:" in capsys.readouterr().err
    # What cannot be told without making the task is left to the job.
    store.files.write(f"{run}/parts/identity.json", to_json(begun))
    assert cli.main(given) == 0


def test_data_that_is_lacking_is_said_before_anything_is_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LTHLIB_DATA", str(tmp_path / "none"))
    study = write(tmp_path, 'task = "vsr-random"\nregions = "none"\nstart = "random"\n')
    given = ["grid", str(study), "--store", str(tmp_path / "store")]
    assert cli.main(given) == 1
    assert "lth data get" in capsys.readouterr().err
    assert cli.main([*given, "--dry-run"]) == 0
    assert "before they can run" in capsys.readouterr().out


def test_snakemake_is_told_in_words_not_in_a_shell(tmp_path: Path) -> None:
    shipped = controller.Profile.named("local")
    assert shipped.local
    folder = tmp_path / "a b; $(x) [1]"
    given = controller.arguments(shipped, folder, 3, "gpu:1", 2, 5)
    assert str(folder) in given
    assert given[given.index("--cores") + 1] == "3"
    assert given[given.index("--resources") + 1] == "gpu=2"
    cluster = controller.Profile(tmp_path, "slurm")
    given = controller.arguments(cluster, folder, 8, "gpu:a100:1", 8, None)
    assert given[given.index("--jobs") + 1] == "8"
    assert given[given.index("--set-resources") + 1] == "part:gres=gpu:a100:1"
    assert "--retries" not in given


# -- devices --------------------------------------------------------------------------------------
def test_devices_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for named, devices in {
        "2,3": ["2", "3"],
        "": [],
        "-1": [],
        "GPU-8a, GPU-9b": ["GPU-8a", "GPU-9b"],
    }.items():
        monkeypatch.setenv(VISIBLE, named)
        assert visible_devices() == devices


def test_no_more_jobs_at_once_than_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    here = controller.Profile(Path("local"), "local")
    cluster = controller.Profile(Path("slurm"), "slurm")
    for profile in (here, cluster):
        assert command_module._at_once(None, profile, 8) == 8
        assert command_module._at_once(50, profile, 8) == 8
        assert command_module._at_once(3, profile, 8) == 3
        assert command_module._at_once(50, profile, 0) == 50
    assert command_module._at_once(None, cluster, 0) == command_module.CLUSTER_JOBS


def test_locks_of_devices_lie_in_one_folder_whoever_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = slots_folder()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert slots_folder() == usual
    monkeypatch.setenv(FOLDER, str(tmp_path / "elsewhere"))
    assert slots_folder() == tmp_path / "elsewhere"


def hold(folder: str, found: Any) -> None:
    with device_slot(["0", "1"], Path(folder)) as device:
        found.put((os.getpid(), device))
        time.sleep(600)


def test_a_device_has_one_holder_and_is_free_when_that_dies(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    found = context.Queue()
    holders = [context.Process(target=hold, args=(str(tmp_path), found)) for _ in range(3)]
    try:
        for holder in holders[:2]:
            holder.start()
        held = dict(found.get(timeout=60) for _ in range(2))
        assert sorted(held.values()) == ["0", "1"]
        holders[2].start()
        with pytest.raises(queue.Empty):
            found.get(timeout=5)
        dying = next(iter(held))
        os.kill(dying, signal.SIGKILL)
        assert found.get(timeout=60) == (holders[2].pid, held[dying])
    finally:
        for holder in holders:
            if holder.pid is not None:
                holder.kill()
                holder.join()


# -- jobs -----------------------------------------------------------------------------------------
def planned(
    tmp_path: Path, levels: int | None = None, **more: Any
) -> tuple[Job, RecordStore, Path]:
    """A plan of one run, in a controller's folder."""
    store, folder = open_store(tmp_path / "store"), tmp_path / "controller"
    folder.mkdir()
    job = Job(Study.build({**SMALL, **more.pop("settings", {})}), 0)
    Plan.of([job], store, levels, **more).write(folder)
    return job, store, folder


@pytest.mark.usefixtures("in_process")
def test_a_chain_of_jobs_makes_the_run_that_one_makes(tmp_path: Path) -> None:
    job, store, folder = planned(tmp_path, levels=1)
    for number in range(3):
        assert not store.has(job.name)
        assert store.levels_done(job.name) == number
        work(folder, job.name, number)
    plain = open_store(tmp_path / "plain")
    local.run([job.study], plain, workers=1, say=lambda _: None)
    for name in COMPARED:
        assert store.blob(job.name, name) == plain.blob(job.name, name)
    work(folder, job.name, 1)  # a job that comes again finds nothing to do
    assert Diary(folder, job.name).read()[-1]["event"] == "nothing to do"
    counted = Counter(x["text"] for x in Diary(folder, job.name).read() if x["event"] == "says")
    assert set(counted.values()) == {1}


def test_seeds_that_are_trained_together_are_one_job(tmp_path: Path) -> None:
    study = Study.build({**SMALL, "together": 2, "seeds": [0, 1]})
    store = open_store(tmp_path / "store")
    jobs = local.missing([study], store)
    Plan.of(jobs, store, None).write(tmp_path)
    assert [job.name for job in jobs] == study.run_ids()[:1]
    assert jobs[0].runs == study.run_ids()
    with store.writer(study.run_ids()[1], {}):
        assert being_written(store, study.run_ids()[1])
    store.files.remove(study.run_ids()[1])
    work(tmp_path, jobs[0].name, 0)
    assert store.runs() == study.run_ids()


def test_a_job_gets_a_device_that_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "7,8")
    monkeypatch.setenv(FOLDER, str(tmp_path / "devices"))
    job, _, folder = planned(tmp_path, allotment="slots", devices=["7", "8"])
    with device_slot(["7"]):
        work(folder, job.name, 0)
    (line,) = [x for x in Diary(folder, job.name).read() if x["event"] == "device"]
    assert line["visible"] == "8"


def test_an_error_that_will_come_again_is_not_tried_again(tmp_path: Path) -> None:
    job, _, folder = planned(tmp_path, settings={"train_items": 33})
    for _ in range(2):
        with pytest.raises(GridError, match="train_items must be even"):
            work(folder, job.name, 0)
    diary = Diary(folder, job.name)
    assert [line["event"] for line in diary.read()] == [
        "started", "device", "device given back", "refused",
    ]  # fmt: skip
    assert "train_items must be even" in diary.last_word()


def test_a_record_that_no_try_makes_usable_is_not_tried_again(tmp_path: Path) -> None:
    job, store, folder = planned(tmp_path)
    work(folder, job.name, 0)
    plain = store.files.read(f"{job.name}/study.json")
    store.files.write(f"{job.name}/parts/identity.json", b'{"lab": 0}')
    store.files.remove_file(f"{job.name}/manifest.json")
    for _ in range(2):
        with pytest.raises(GridError, match="was begun with another"):
            work(folder, job.name, 0)
    events = [line["event"] for line in Diary(folder, job.name).read()]
    assert events.count("refused") == 1
    assert events[-1] == "refused"
    assert store.files.read(f"{job.name}/study.json") == plain


def test_a_run_that_shows_late_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network file system may hide a new file from another machine for a while."""
    job, store, folder = planned(tmp_path)
    monkeypatch.setattr(controller, "POLL_SECONDS", 0.01)
    looks: list[str] = []

    def has(run: str) -> bool:
        looks.append(run)
        return len(looks) > 3

    monkeypatch.setattr(store, "has", has)
    diary = Diary(folder, job.name)
    diary.write("failed", why="no space")
    assert controller._lost([job], store, folder) == [job.name]
    assert len(looks) == 1, "a run that failed is not waited for"
    diary.write("done", until=3)
    assert controller._lost([job], store, folder) == []
    looks.clear()
    monkeypatch.setattr(controller, "LATENCY_SECONDS", 0.0)
    assert controller._lost([job], store, folder) == [job.name]
    assert "same store" in diary.last_word()


def test_a_gpu_that_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    job, _, folder = planned(tmp_path, device="cuda")
    with pytest.raises(GridError, match="torch sees none"):
        work(folder, job.name, 0)
    assert Diary(folder, job.name).read()[-1]["event"] == "failed", "another machine may have one"


def test_a_job_waits_for_the_writer_and_finds_the_run_finished(tmp_path: Path) -> None:
    job, store, folder = planned(tmp_path)
    script = (
        "import sys; from pathlib import Path; from lthlib.workflow.grid.job import work; "
        "work(Path(sys.argv[1]), sys.argv[2], 0)"
    )
    with store.writer(job.name, {}):
        assert being_written(store, job.name)
        waiting = subprocess.Popen([sys.executable, "-c", script, str(folder), job.name])
        diary = Diary(folder, job.name)
        while not any(line["event"] == "waiting" for line in diary.read()):
            assert waiting.poll() is None
            time.sleep(0.05)
        store.files.write(f"{job.name}/manifest.json", b"{}")
    assert waiting.wait(60) == 0
    assert diary.read()[-1]["event"] == "nothing to do"
    assert not being_written(store, job.name)


def test_at_a_url_the_claim_of_the_dead_is_freed_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder behind a filesystem that knows no locks, as an object store is."""
    job, _, folder = planned(tmp_path)
    store = RecordStore(f"dir::file://{tmp_path}/remote")
    assert not store.files.local
    Plan.of([job], store, None).write(folder)
    claim = f"locks/{job.name}.json"
    dead = {"host": "far-away", "process": 77, "user": "me"}
    store.files.write(claim, to_json(dead))
    diary = Diary(folder, job.name)
    diary.write("started", host="far-away", process=77)
    work(folder, job.name, 0)
    assert store.has(job.name)
    assert not store.files.exists(claim)
    other = {**dead, "process": 78}
    store.files.remove(job.name)
    store.files.write(claim, to_json(other))
    monkeypatch.setattr("lthlib.workflow.grid.job.CLAIM_SECONDS", 0.0)
    with pytest.raises(GridError, match=r"claimed by .*far-away.*if that process is gone, delete"):
        work(folder, job.name, 0)
    gone = subprocess.Popen(["true"])
    gone.wait()
    here = {**dead, "host": socket.gethostname()}
    store.files.write(claim, to_json({**here, "process": gone.pid}))
    work(folder, job.name, 0)
    assert store.has(job.name)


def test_a_diary_survives_half_a_line(tmp_path: Path) -> None:
    diary = Diary(tmp_path, "run")
    assert diary.last_word() == "none of its jobs was begun"
    diary.write("started")
    with diary.path.open("a") as file:
        file.write('{"event": "do')
    assert [line["event"] for line in diary.read()] == ["started"]
    assert "without a word" in diary.last_word()


# -- with Snakemake -------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.usefixtures("in_process")
def test_two_runs_then_one_more_seed_in_an_awkward_folder(tmp_path: Path) -> None:
    place = tmp_path / "a [{1}] it's; $HOME"
    place.mkdir()
    store = place / "store"
    study = small(place, seeds=[0, 1])
    done = subprocess.run(
        command(study, store, "--jobs", "2", "--keep"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 2 runs to do in 2 jobs" in done.stdout
    assert set(levels_begun(store).values()) == {1}
    plain = open_store(tmp_path / "plain")
    more = Study.build({**SMALL, "seeds": [0, 1, 2]})
    local.run([more], plain, workers=2, say=lambda _: None)
    kept = {
        run: open_store(store).files.read(f"{run}/manifest.json")
        for run in open_store(store).runs()
    }
    shutil.rmtree(store / "grid")
    study = small(place, seeds=[0, 1, 2])
    done = subprocess.run(
        command(study, store, "--keep"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert {text.split()[0] for text in levels_begun(store)} == {more.run_ids()[2]}
    grid = open_store(store)
    assert all(grid.files.read(f"{run}/manifest.json") == data for run, data in kept.items())
    for run in more.run_ids():
        for name in COMPARED:
            assert grid.blob(run, name) == plain.blob(run, name)
    done = subprocess.run(command(study, store), capture_output=True, text=True, check=False)
    assert "all 3 runs are in" in done.stdout
    assert len(list((store / "grid").iterdir())) == 1, "nothing was started"


def reach(process: subprocess.Popen[str], store: Path, level: str) -> int:
    """Wait until a level is begun; the process of the job that began it."""
    while level not in levels_begun(store):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    return int([line["process"] for line in diaries(store) if line["event"] == "started"][-1])


@pytest.mark.slow
def test_killed_jobs_and_controllers_leave_nothing_and_go_on(tmp_path: Path) -> None:
    """A job is killed, and tried again; then the controller, and its next call goes on."""
    store, study = tmp_path / "store", small(tmp_path, train_items=4096, levels=3)
    (run,) = Study.build({**SMALL, "train_items": 4096, "levels": 3}).run_ids()
    process = subprocess.Popen(
        command(study, store, "--keep"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    os.kill(reach(process, store, f"{run} level 1"), signal.SIGKILL)
    job = reach(process, store, f"{run} level 2")
    assert levels_begun(store)[f"{run} level 1"] == 2
    process.kill()
    process.wait()
    while psutil.pid_exists(job):
        time.sleep(0.1)
    assert not being_written(open_store(store), run)
    done = open_store(store).levels_done(run)
    assert 2 <= done < 4
    subprocess.run(command(study, store, "--keep"), check=True, stdout=subprocess.DEVNULL)
    again = {text: count for text, count in levels_begun(store).items() if count > 1}
    assert again in ({f"{run} level 1": 2}, {f"{run} level 1": 2, f"{run} level {done}": 2})
    open_store(store).verify(run)


@pytest.mark.slow
def test_a_job_that_fails_is_told_in_one_line_and_the_others_go_on(tmp_path: Path) -> None:
    store = tmp_path / "store"
    good = {key: value for key, value in SMALL.items() if key != "train_items"}
    study = write(tmp_path, json.dumps({**good, "train_items": [33, 32]}), "study.json")
    done = subprocess.run(command(study, store), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "1 of 2 runs are not finished" in done.stderr
    assert "train_items must be even" in done.stderr
    assert ".jsonl" in done.stderr
    assert len(open_store(store).runs()) == 1


@pytest.mark.slow
def test_snakemakes_own_trouble_is_one_line(tmp_path: Path) -> None:
    write(tmp_path, "no-such-option: 3\n", "config.yaml")
    given = command(small(tmp_path), tmp_path / "store", "--profile", str(tmp_path))
    done = subprocess.run(given, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "no job was begun" in done.stderr
    assert "no-such-option" in done.stderr


# -- with SLURM -----------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.skipif(
    not os.environ.get("LTHLIB_SLURM") or not shutil.which("slurmctld"),
    reason="needs SLURM's daemons, root, and LTHLIB_SLURM set",
)
def test_it_is_proven_on_slurm(tmp_path: Path) -> None:
    out = tmp_path / "slurm.json"
    script = TESTS / "slurm" / "prove.py"
    subprocess.run([sys.executable, str(script), "--small", "--out", str(out)], check=True)
    found = json.loads(out.read_text())
    assert all(check["passed"] for check in found["checks"].values())
