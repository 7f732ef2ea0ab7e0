"""Running many studies: progress, workers, the command line and its one-line errors."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil
import pytest

from lthlib import records
from lthlib.book.chapters import read_book
from lthlib.errors import RecordError, StudyError, TaskError
from lthlib.lab import lottery
from lthlib.lab.lottery import Lab
from lthlib.lab.models import start_name
from lthlib.packs import reference_store
from lthlib.records import RecordStore, open_store, project_root
from lthlib.study import Study, plan
from lthlib.workflow import cli, local

SMALL: dict[str, Any] = {
    "epochs": 1, "levels": 1, "start": "random", "batch_size": 16,
    "train_items": 32, "validation_items": 16, "test_items": 16,
}  # fmt: skip


@pytest.mark.usefixtures("in_process")
def test_runs_what_is_missing_and_says_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "SAY_SECONDS", 0.0)
    store, said = open_store(tmp_path), list[str]()
    studies = [Study.build({**SMALL, "seeds": [0, 1]})]
    names = local.run(studies, store, workers=2, say=said.append)
    assert names == studies[0].run_ids() == sorted(store.runs())
    assert said[0].startswith("2 of 2 runs to do in 2 processes")
    assert "training 4 of 4, run 2 of 2 done" in said[-1]
    said.clear()
    more = [Study.build({**SMALL, "seeds": [0, 1, 2]})]
    local.run(more, store, workers=1, say=said.append)
    assert said[0].startswith("1 of 3 runs to do")
    said.clear()
    local.run(more, store, say=said.append)
    assert said == [f"all 3 runs are in {tmp_path}: nothing to train"]


def test_one_process_or_two_give_the_same_records(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    studies = [Study.build({**SMALL, "seeds": [0, 1]})]
    stores = [open_store(tmp_path / name) for name in ("two", "one")]
    local.run(studies, stores[0], workers=2, say=lambda _: None)
    request.getfixturevalue("in_process")
    local.run(studies, stores[1], say=lambda _: None)
    for run in studies[0].run_ids():
        two, one = (store.blob(run, "predictions.parquet") for store in stores)
        assert one == two


def test_an_error_in_a_worker_arrives_as_it_was(tmp_path: Path) -> None:
    study = Study.build({**SMALL, "train_items": 33})
    with pytest.raises(TaskError, match="train_items must be even"):
        local.run([study], open_store(tmp_path), say=lambda _: None)


def test_workers_must_be_a_number(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="workers: 0"):
        local.run([Study.build(SMALL)], open_store(tmp_path), workers=0)


@pytest.mark.usefixtures("in_process")
def test_a_run_of_other_code_or_weights_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, study = open_store(tmp_path), Study.build({**SMALL, "start": "pretrained"})
    local.run([study], store, say=lambda _: None)
    assert local.missing([study], store) == []
    monkeypatch.setattr(local, "LAB_FORMAT", 99)
    with pytest.raises(RecordError, match=r"made with another lab.*delete"):
        local.missing([study], store)
    monkeypatch.undo()
    monkeypatch.setattr(local, "_identity", lambda _: {"start weights": "other"})
    with pytest.raises(RecordError, match="another start weights"):
        local.run([study], store, say=lambda _: None)


def test_the_identity_is_the_labs_own() -> None:
    for study in plan("quick"):
        own = Lab(study, 0)
        assert local._identity(study).items() <= own.identity().items()
        assert study.start_name == start_name(own.model)


@pytest.mark.usefixtures("in_process")
def test_what_a_dead_process_left_of_a_finished_run_is_removed(tmp_path: Path) -> None:
    store, study = open_store(tmp_path), Study.build(SMALL)
    (name,) = local.run([study], store, say=lambda _: None)
    store.files.write(f"{name}/parts/level-000/trained.safetensors", b"left behind")
    local.run([study], store, say=lambda _: None)
    assert not store.files.exists(f"{name}/parts")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("memory://lost", "lives in one process only"),
        ("dir::memory://lost", "lives in one process only"),
        ("PACKS", "holds packs, which are only read"),
        ("http://127.0.0.1:9/records", "cannot be written"),
    ],
)
def test_a_store_that_cannot_keep_a_run_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, words: str
) -> None:
    monkeypatch.setattr(local, "_run_jobs", lambda *_: pytest.fail("it trained"))
    (tmp_path / "packs.json").write_text("{}")
    store = RecordStore(url.replace("PACKS", str(tmp_path)))
    with pytest.raises(RecordError, match=words):
        local.run([Study.build(SMALL)], store, say=lambda _: None)


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_folder_that_cannot_be_written_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(records, "write_atomically", refuse)
    monkeypatch.setattr(local, "_run_jobs", lambda *_: pytest.fail("it trained"))
    with pytest.raises(RecordError, match=f"{os.strerror(code)}; nothing was begun"):
        local.run([Study.build(SMALL)], open_store(tmp_path), say=lambda _: None)


@pytest.mark.usefixtures("in_process")
def test_a_store_that_is_complete_need_not_be_writable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, store = Study.build(SMALL), open_store(tmp_path)
    local.run([study], store, say=lambda _: None)
    monkeypatch.setattr(records, "write_atomically", lambda *_: pytest.fail("it wrote"))
    assert local.run([study], store, say=lambda _: None) == study.run_ids()
    assert sorted(path.name for path in (tmp_path / "locks").iterdir()) == [
        f"{study.run_id(0)}.lock"
    ]


def test_all_runs_of_a_block_are_freed_when_it_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a URL a killed worker's claims stay, and a block has one for each of its runs."""

    class Noting(RecordStore):
        def release(self, run: str, processes: Iterable[int]) -> None:
            freed.append(run)

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    freed: list[str] = []
    study = Study.build({**SMALL, "together": 2, "seeds": [0, 1]})
    monkeypatch.setattr(local, "_watch", stopped)
    with pytest.raises(KeyboardInterrupt):
        local.run([study], Noting(str(tmp_path)), workers=1, say=lambda _: None)
    assert freed == study.run_ids()


def test_time_left_comes_from_the_speed_so_far(tmp_path: Path) -> None:
    jobs = [local.Job(Study.build({**SMALL, "seeds": [seed]}), seed) for seed in range(3)]
    progress = local.Progress(jobs, open_store(tmp_path), lambda _: None)
    assert progress.total == 6
    progress.began = time.monotonic() - 60
    assert progress._left(2) == ", about 2 min 00 s left"
    assert progress._left(0) == ", 1 min 00 s spent"


def test_a_training_that_takes_long_gives_a_sign_of_life(tmp_path: Path) -> None:
    study, said = Study.build(SMALL), list[str]()
    progress = local.Progress([local.Job(study, 0)], open_store(tmp_path), said.append)
    progress.last_said = time.monotonic() - local.SAY_SECONDS - 1
    progress.tell()
    assert said == []
    progress.last_said = time.monotonic() - local.STILL_SECONDS - 1
    progress.tell()
    progress.tell()
    assert len(said) == 1 and said[0].startswith("training 0 of 2, run 0 of 1 done")


def test_plan_lists_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "--preset", "quick", "--store", str(tmp_path)]) == 0
    *studies, total, shipped = capsys.readouterr().out.splitlines()
    assert len(studies) == 4 and all("3 runs (3 to do)" in line for line in studies)
    assert total.startswith("12 runs to do: about ")
    assert shipped.startswith("12 of these are recorded in ") and "shipped" in shipped


def test_plan_counts_runs_that_are_trained_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = Study.build({"together": 2, "seeds": [0, 1, 2, 3]})
    monkeypatch.setattr(cli, "plan", lambda _: [study])
    assert cli.main(["plan", "--store", str(tmp_path)]) == 0
    first, total = capsys.readouterr().out.splitlines()[:2]
    assert "4 runs (4 to do)" in first
    assert total.startswith("4 runs to do")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plan", "--preset", "quik"], "did you mean 'quick'"),
        (["run", "--preset", "quik"], "did you mean 'quick'"),
        (["book", "--preset", "quik"], "did you mean 'quick'"),
        (["report", "--store", "nosuch://x"], "cannot be opened"),
        (["ship", "--store", "/nonexistent/store"], "not in /nonexistent/store"),
        (["verify", "NOWHERE"], "is not there"),
        (["verify", "EMPTY"], "holds no finished run"),
        (["pack", "--store", "NOWHERE"], "is not there"),
        (["pack", "--store", "EMPTY"], "nothing to pack"),
        (["book", "--store", "NOWHERE"], "is not there"),
        *(
            ([*command, "FILE"], "is no folder")
            for command in (
                ["verify"], ["run", "--store"], ["plan", "--store"], ["book", "--store"],
                ["report", "--store"], ["ship", "--store"], ["pack", "--store"], ["pack", "--to"],
                ["data", "list", "--folder"], ["features", "check", "x", "--folder"],
            )
        ),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_status_1(
    tmp_path: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {name: tmp_path / name.lower() for name in ("NOWHERE", "EMPTY", "FILE")}
    places["EMPTY"].mkdir()
    places["FILE"].touch()
    assert cli.main([str(places.get(word, word)) for word in arguments]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert words in error
    assert not places["NOWHERE"].exists()


def test_a_reference_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LTHLIB_REFERENCE", "/nonexistent/store")
    for read in (reference_store, lambda: read_book(project_root())):
        with pytest.raises(RecordError, match="/nonexistent/store is not there"):
            read()


@pytest.mark.parametrize(
    ("arguments", "into", "status", "error"),
    [
        (["plan"], "closed", 141, ""),
        (["data", "list"], "closed", 141, ""),
        (["data", "list"], "/dev/full", 1, "lth: what it prints: No space left on device\n"),
    ],
)
def test_a_pipe_that_its_reader_closed_gives_no_traceback(
    arguments: list[str], into: str, status: int, error: str
) -> None:
    reader, pipe = os.pipe()
    os.close(reader)
    output = pipe if into == "closed" else os.open(into, os.O_WRONLY)
    done = subprocess.run(
        [sys.executable, "-m", "lthlib.workflow.cli", *arguments],
        stdout=output, stderr=subprocess.PIPE, text=True, check=False, cwd=project_root(),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (status, error)


@pytest.mark.usefixtures("in_process")
def test_verify_names_the_damaged_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    local.run([Study.build(SMALL)], open_store(tmp_path), say=lambda _: None)
    assert cli.main(["verify", str(tmp_path)]) == 0
    assert "1 finished runs checked" in capsys.readouterr().out
    path = next(tmp_path.glob("*/predictions.parquet"))
    path.write_bytes(path.read_bytes()[:-9])
    assert cli.main(["verify", str(tmp_path)]) == 1
    assert str(path) in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seconds", "killed", "status", "words"),
    [
        (0.0, False, 130, "lth: stopped; what was finished is kept"),
        (0.7, False, 130, "lth: stopped; what was finished is kept"),
        (3.0, False, 130, "lth: stopped; what was finished is kept"),
        (3.0, True, 1, "lth: a training process died"),
    ],
)
def test_workers_that_are_stopped_leave_one_line(
    tmp_path: Path, seconds: float, killed: bool, status: int, words: str
) -> None:
    """Ctrl-C, which a terminal sends to every process, also while they start; a dead one."""
    process = subprocess.Popen(
        [sys.executable, "-m", "lthlib.workflow.cli", "run", "--preset", "quick", "--workers", "2",
         "--store", str(tmp_path)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        cwd=project_root(),
    )  # fmt: skip
    assert process.stdout
    assert "runs to do" in process.stdout.readline()
    assert "in 2 processes" in process.stdout.readline()
    time.sleep(seconds)
    workers = [
        p for p in psutil.Process(process.pid).children() if "spawn_main" in str(p.cmdline())
    ]
    if killed:
        workers[0].kill()
    else:
        os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == status
    assert error.startswith(words) and error.count("\n") == 1
    assert not any(worker.is_running() for worker in workers)


RUN = """
import sys
from lthlib.records import open_store
from lthlib.study import Study
from lthlib.workflow.local import run
if __name__ == "__main__":
    run([Study.build(eval(sys.argv[2]))], open_store(sys.argv[1]), workers=1)
"""


@pytest.mark.slow
def test_kill_the_controller_and_go_on(tmp_path: Path) -> None:
    """The whole process group dies in the middle; what was finished is not computed again."""
    script = tmp_path / "run.py"
    script.write_text(RUN)
    choices = {**SMALL, "train_items": 512, "levels": 3, "seeds": [0]}
    study, store = Study.build(choices), open_store(tmp_path / "killed")
    command = [sys.executable, str(script), store.files.url, repr(choices)]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
    while not all(store.levels_done(run) for run in study.run_ids()):
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = {
        path: path.stat().st_mtime_ns
        for run in study.run_ids()
        for path in Path(store.files.path(run)).glob("parts/level-000/*")
    }
    assert kept
    whole = open_store(tmp_path / "whole")
    seen: dict[Path, int] = {}
    real = store.levels_done

    def watch(run: str) -> int:
        seen.update({p: p.stat().st_mtime_ns for p in kept if p.exists()})
        return real(run)

    store.levels_done = watch  # type: ignore[method-assign]
    local.run([study], store, workers=1, say=lambda _: None)
    for seed in study.seeds:
        lottery.run(study, seed, whole)
    assert all(kept[path] == stamp for path, stamp in seen.items())
    for run in study.run_ids():
        assert store.blob(run, "predictions.parquet") == whole.blob(run, "predictions.parquet")
