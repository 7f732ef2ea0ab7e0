"""Records: whole or absent, checked on every read, resumable, one writer at a time."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from lthlib import records
from lthlib.errors import RecordError
from lthlib.records import TABLES, Files, RecordStore, open_store, project_root

IDENTITY = {"lab": 1, "start weights": "abc"}


def tables(level: int) -> dict[str, pd.DataFrame]:
    frame = pd.DataFrame(
        {"run": "r", "level": level, "value": [0.5, None], "logits": [[1.0], [2.0]]}
    )
    return dict.fromkeys(TABLES, frame)


def write_run(store: RecordStore, run: str = "r", levels: int = 2) -> None:
    store.write_items("k", pd.DataFrame({"item": ["a", "b"]}))
    with store.writer(run, IDENTITY) as writer:
        for level in range(levels):
            if level not in writer.levels():
                writer.write_level(level, tables(level), {"trained.safetensors": b"weights"})
        writer.finish({"run": run, "items": "k"}, b"tickets")


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> RecordStore:
    if request.param == "local":
        return open_store(tmp_path / "store")
    return RecordStore(f"memory://{tmp_path.name}-{request.node.name}")


def test_a_run_is_read_back(store: RecordStore) -> None:
    assert store.runs() == []
    write_run(store)
    assert store.runs() == ["r"]
    assert store.table("predictions")["level"].tolist() == [0, 0, 1, 1]
    assert store.study("r") == {"run": "r", "items": "k"}
    assert store.items("k")["item"].tolist() == ["a", "b"]
    store.verify("r")
    assert not store.files.fs.find(store.files.path("r/parts"))


def test_other_programs_read_it(tmp_path: Path) -> None:
    write_run(open_store(tmp_path), "r1")
    write_run(open_store(tmp_path), "r2")
    count = duckdb.sql(f"select count(*) from '{tmp_path}/*/predictions.parquet'").fetchall()
    assert count == [(8,)]
    assert len(pd.read_parquet(tmp_path / "r1" / "levels.parquet")) == 4


def test_equal_frames_give_equal_bytes(store: RecordStore) -> None:
    write_run(store, "a")
    write_run(store, "b")
    for name in TABLES:
        assert store.blob("a", f"{name}.parquet") == store.blob("b", f"{name}.parquet")


def test_an_unfinished_run_is_no_run_and_goes_on(store: RecordStore) -> None:
    with store.writer("r", IDENTITY) as writer:
        writer.write_level(0, tables(0), {"trained.safetensors": b"weights"})
    assert store.runs() == []
    assert store.levels_done("r") == 1
    with pytest.raises(RecordError, match="not finished"):
        store.table("levels", ["r"])
    with store.writer("r", IDENTITY) as writer:
        assert writer.levels() == [0]
        assert writer.read_level(0, "trained.safetensors") == b"weights"
    write_run(store)
    assert store.runs() == ["r"]


def test_a_finished_run_is_not_written_again(store: RecordStore) -> None:
    write_run(store)
    with store.writer("r", {"lab": 2}) as writer:
        assert writer.finished


def test_going_on_with_another_identity_is_refused(store: RecordStore) -> None:
    with store.writer("r", IDENTITY):
        pass
    with (
        pytest.raises(RecordError, match=r"begun with another start weights.*delete"),
        store.writer("r", {**IDENTITY, "start weights": "xyz"}),
    ):
        pass


@pytest.mark.parametrize("name", ["levels.parquet", "study.json", "tickets.safetensors"])
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data[:-1], "bytes where"),
        (lambda data: data[:5] + bytes([data[5] ^ 1]) + data[6:], "SHA-256"),
        (None, "missing"),
    ],
)
def test_damage_is_named_and_refused(tmp_path: Path, name: str, damage: Any, words: str) -> None:
    store = open_store(tmp_path)
    write_run(store)
    path = tmp_path / "r" / name
    data = path.read_bytes()
    path.unlink()
    if damage:
        path.write_bytes(damage(data))
    with pytest.raises(RecordError, match=words) as caught:
        store.verify("r")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damaged_parts_are_refused_too(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with store.writer("r", IDENTITY) as writer:
        writer.write_level(0, tables(0), {"trained.safetensors": b"weights"})
        part = tmp_path / "r" / "parts" / "level-000" / "trained.safetensors"
        part.write_bytes(b"weightz")
        with pytest.raises(RecordError, match=r"level-000.*delete"):
            writer.read_level(0, "trained.safetensors")


def test_a_store_lies_in_a_folder_of_any_name(tmp_path: Path) -> None:
    names = ["a [1] b", "a {b} #%20 ä'*?~"]
    for name in names:
        store = open_store(tmp_path / name)
        store.files.check_writable()
        write_run(store)
        assert store.runs() == ["r"]
        assert not (tmp_path / name / "r" / "parts").exists()
        store.verify("r")
        store.copy("r", open_store(tmp_path / name / "copy"))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_items_that_runs_share_are_checked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, read = open_store(tmp_path), list[str]()
    for name in ("r", "s"):
        write_run(store, name)
    real = store.files.read
    monkeypatch.setattr(store.files, "read", lambda name: read.append(name) or real(name))
    monkeypatch.setattr("lthlib.records.READERS", 1)
    assert store.damaged(["r", "s"]) == {}
    assert read.count("items/k/items.parquet") == 1 and read.count("r/manifest.json") == 1
    (tmp_path / "items" / "k" / "items.parquet").write_bytes(b"")
    assert set(store.damaged(["r", "s"])) == {"r", "s"}


def test_damaged_items_are_written_again_by_the_next_run(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    write_run(store)
    (tmp_path / "items" / "k" / "items.parquet").write_bytes(b"")
    for read in (lambda: store.items("k"), lambda: store.verify("r")):
        with pytest.raises(RecordError, match=r"move .*k away, or .* next run of its task writes"):
            read()
    store.files.remove("items/k")
    write_run(store, "another")
    assert store.items("k")["item"].tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"format": 0, "files": {}}', "format 0, and this version reads 1"),
        ('{"format": 1, "fi', "damaged"),
        ("[]", "damaged"),
        ('{"format": 1, "files": {"x": {}}}', "damaged"),
    ],
)
def test_older_and_broken_manifests(tmp_path: Path, text: str, words: str) -> None:
    store = open_store(tmp_path)
    write_run(store)
    (tmp_path / "r" / "manifest.json").write_text(text)
    with pytest.raises(RecordError, match=words):
        store.table("levels")


def test_a_full_disk_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path)
    with store.writer("r", IDENTITY) as writer:
        writer.write_level(0, tables(0), {"trained.safetensors": b"weights"})
        real, calls = os.fsync, []

        def full(handle: int) -> None:
            calls.append(handle)
            if len(calls) == 3:
                raise OSError(errno.ENOSPC, "No space left on device")
            real(handle)

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(RecordError, match="No space left on device; nothing of it was kept"):
            writer.write_level(1, tables(1), {})
        monkeypatch.undo()
        assert writer.levels() == [0]
        assert not [p for p in tmp_path.rglob(".*") if p.is_file()], "temporary files were left"
    write_run(store)
    store.verify("r")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_really_full_device(tmp_path: Path) -> None:
    # A file system of a few pages, where the system allows one without mounting: /dev/full answers
    # every write with ENOSPC.
    with pytest.raises(OSError, match="No space left"), Path("/dev/full").open("wb", 0) as file:
        file.write(b"x")
    files = Files(tmp_path)
    (tmp_path / "r").symlink_to("/proc/self/fd")  # a folder in which no file can be made
    with pytest.raises(RecordError, match="cannot be written"):
        files.write("r/x", b"data")


def test_no_permission(tmp_path: Path) -> None:
    # /proc takes no new folder from anyone, not even from root.
    place = "/proc/lthlib" if os.geteuid() == 0 else tmp_path / "store"
    tmp_path.chmod(0o500)
    with pytest.raises(RecordError, match="cannot be written"), open_store(place).writer("r", {}):
        pass
    with pytest.raises(RecordError, match="cannot be written"):
        write_run(open_store(place))


def test_a_file_in_place_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("not a folder")
    with pytest.raises(RecordError, match="store"):
        write_run(open_store(tmp_path / "store"))


def test_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(RecordError, match="cannot be opened"):
        RecordStore("nosuch://place")


def _hold(url: str, seconds: float, entered: Any) -> None:
    with RecordStore(url).writer("r", IDENTITY):
        entered.set()
        time.sleep(seconds)


def test_two_processes_do_not_collide(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    entered = context.Event()
    process = context.Process(target=_hold, args=(str(tmp_path), 3, entered))
    process.start()
    assert entered.wait(60)
    with (
        pytest.raises(RecordError, match="being written by another process"),
        open_store(tmp_path).writer("r", IDENTITY, wait=0.1),
    ):
        pass
    process.kill()  # the system frees the lock of a process that died
    process.join()
    with open_store(tmp_path).writer("r", IDENTITY, wait=10) as writer:
        assert not writer.finished


def test_a_remote_run_has_one_claimant() -> None:
    store = RecordStore("memory://claims")
    with (
        store.writer("r", IDENTITY),
        pytest.raises(RecordError, match="is claimed by"),
        store.writer("r", IDENTITY),
    ):
        pass
    with store.writer("r", IDENTITY):
        pass


KILLED = """
import sys
sys.path[:0] = [sys.argv[2], sys.argv[2] + "/.."]
from benchmarks.killing import die_in_write
from lthlib.records import open_store
from test_records import write_run
die_in_write(int(sys.argv[3]))
write_run(open_store(sys.argv[1]))
"""


@pytest.mark.slow
def test_kill_in_every_write_then_resume(tmp_path: Path) -> None:
    """kill -9 in the middle of each write in turn; the resumed run equals the uninterrupted one."""
    whole = open_store(tmp_path / "whole")
    write_run(whole)
    here = str(Path(__file__).parent)
    for limit in (1, 3, 4, 7, 9, 12, 15, 20, 22):
        place = tmp_path / f"killed-{limit}"
        command = [sys.executable, "-c", KILLED, str(place), here, str(limit)]
        assert subprocess.run(command, check=False).returncode == -9
        write_run(open_store(place))
        for name in whole.manifest("r")["files"]:
            assert (place / "r" / name).read_bytes() == whole.blob("r", name), (limit, name)


def test_a_claim_is_released_for_the_dead_only() -> None:
    store = RecordStore("memory://release")
    with store.writer("r", IDENTITY):
        store.release("r", [os.getpid() + 1])
        with pytest.raises(RecordError, match="is claimed by"), store.writer("r", IDENTITY):
            pass
        store.release("r", [os.getpid()])
        with store.writer("r", IDENTITY):
            pass
    store.release("r", [os.getpid()])


def test_copy_keeps_bytes(tmp_path: Path) -> None:
    source, target = open_store(tmp_path / "a"), open_store(tmp_path / "b")
    write_run(source)
    source.copy("r", target)
    source.copy("r", target)
    target.verify("r")
    assert target.blob("r", "levels.parquet") == source.blob("r", "levels.parquet")
    assert json.loads(target.blob("r", "study.json"))["items"] == "k"
    assert len(target.items("k")) == 2


@pytest.mark.parametrize("name", ["../../planted", "/tmp/planted", "a/b", ".hidden", ""])
def test_a_manifest_that_points_outside_is_refused(tmp_path: Path, name: str) -> None:
    source = open_store(tmp_path / "a")
    write_run(source)
    path = tmp_path / "a" / "r" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"][name] = manifest["files"]["levels.parquet"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(RecordError, match=r"manifest\.json is damaged"):
        source.copy("r", open_store(tmp_path / "b"))
    assert not (tmp_path / "b").exists()


def test_a_damaged_identity_is_one_line(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with store.writer("r", IDENTITY):
        pass
    (tmp_path / "r" / "parts" / "identity.json").write_text("{")
    with pytest.raises(RecordError, match=r"identity.json is damaged.*delete"):
        write_run(store)


def test_outside_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert (project_root() / "notebooks").is_dir()


def test_a_claim_is_removed_by_its_holder_alone(tmp_path: Path) -> None:
    """At a URL: another process has freed the claim of the dead and holds the run by now."""
    store = RecordStore(f"dir::file://{tmp_path}")
    with store.writer("run", {}):
        ours = store.files.read("locks/run.json")
        store.files.write("locks/run.json", b"another's")
        records.remove_claim(store.files, "run", ours)
        assert store.files.exists("locks/run.json")
    assert store.files.read("locks/run.json") == b"another's"
    records.remove_claim(store.files, "run", b"another's")
    assert not store.files.exists("locks/run.json")
    records.remove_claim(store.files, "run", b"another's")  # gone already


def test_names_of_a_folder_that_is_none(tmp_path: Path) -> None:
    assert open_store(tmp_path / "absent").runs() == []
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="below is no folder"):
        open_store(tmp_path / "file" / "below")
