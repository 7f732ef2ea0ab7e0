"""Packs: what they keep is what the records say, and what they drop is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lthlib.errors import RecordError
from lthlib.packs import PackedStore, pack, reference_store, store_at
from lthlib.records import Files, RecordStore, shipped_store
from lthlib.report.reading import read
from lthlib.study import Study, plan

SOURCE = shipped_store()
STUDIES = {s.task: s for s in plan("quick", model="uniter")}


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> PackedStore:
    folder = tmp_path_factory.mktemp("packs")
    for study in STUDIES.values():
        pack(study.run_ids(), SOURCE, Files(folder))
    store = store_at(folder)
    assert isinstance(store, PackedStore)
    return store


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_measures_of_a_pack_are_those_of_its_records(study: Study, packed: PackedStore) -> None:
    ours, theirs = read(study, packed), read(study, SOURCE)
    pd.testing.assert_frame_equal(ours.levels, theirs.levels)
    keys = ["run", "level", "branch", "stage"]
    for name in ("quality", "agreements", "gate"):
        one, two = (getattr(reading, name).set_index(keys) for reading in (ours, theirs))
        kept = two[(two.index.get_level_values("stage") == "trained") |
                   (two.index.get_level_values("branch") == "main")]  # fmt: skip
        pd.testing.assert_frame_equal(one.sort_index(), kept.sort_index())
    pd.testing.assert_frame_equal(ours.items(), theirs.items())
    assert ours.floor == theirs.floor


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_logits_are_right_to_two_decimals(study: Study, packed: PackedStore) -> None:
    keys = ["run", "level", "branch", "stage", "item", "decision"]
    frames = [s.table("predictions", study.run_ids()[:1]) for s in (packed, SOURCE)]
    ours, theirs = (f[f["stage"] == "trained"].set_index(keys).sort_index() for f in frames)
    assert ours.index.equals(theirs.index)
    assert ours["prediction"].equals(theirs["prediction"])
    one, two = (np.stack(f["logits"].to_list()) for f in (ours, theirs))
    margins = [m[:, -1] - m[:, 0] if m.shape[1] == 2 else m[:, 0] for m in (one, two)]
    assert np.abs(margins[0] - margins[1]).max() <= 0.00501
    untrained = frames[0][frames[0]["stage"] != "trained"]
    assert untrained["logits"].isna().all()


def test_equal_records_give_equal_packs(packed: PackedStore, tmp_path: Path) -> None:
    runs = STUDIES["digits"].run_ids()
    name = pack(runs, SOURCE, Files(tmp_path))
    assert PackedStore(tmp_path).manifest(runs[0]) == packed.manifest(runs[0])
    assert name == STUDIES["digits"].name
    assert set(PackedStore(tmp_path).runs()) == set(runs)


def test_seeds_join_a_pack_as_if_packed_together(packed: PackedStore, tmp_path: Path) -> None:
    runs = STUDIES["digits"].run_ids()
    for part in ([runs[2]], [runs[0]], [runs[1], runs[2]]):
        pack(part, SOURCE, Files(tmp_path))
    store = PackedStore(tmp_path)
    assert store.runs() == sorted(runs)
    assert store.manifest(runs[0]) == packed.manifest(runs[0])
    files = {path.name for path in (tmp_path / STUDIES["digits"].name).iterdir()}
    assert files == {*store.manifest(runs[0])["files"], "manifest.json"}, "nothing old is left"


def test_a_pack_stays_whole_when_its_successor_is_not_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, files = STUDIES["digits"].run_ids(), Files(tmp_path)
    pack(runs[:1], SOURCE, files)

    def full_disk(name: str, data: bytes) -> None:
        if name.endswith("manifest.json"):
            raise RecordError("no space left")
        Files(tmp_path).write(name, data)

    monkeypatch.setattr(files, "write", full_disk)
    with pytest.raises(RecordError, match="no space"):
        pack(runs[1:], SOURCE, files)
    store = PackedStore(tmp_path)
    store.verify(runs[0])
    assert store.runs() == runs[:1]


def test_a_pack_says_where_its_records_came_from(packed: PackedStore) -> None:
    run = STUDIES["digits"].run_ids()[1]
    about = packed.study(run)
    assert about["files"] == SOURCE.manifest(run)["files"]
    assert about["seed"] == 1


def test_damage_is_named(packed: PackedStore, tmp_path: Path) -> None:
    runs = STUDIES["digits"].run_ids()
    name = pack(runs, SOURCE, Files(tmp_path))
    (path,) = (tmp_path / name).glob("predictions.*.parquet")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(RecordError, match=r"predictions\.\w+\.parquet is damaged"):
        PackedStore(tmp_path).table("predictions", runs)
    with pytest.raises(RecordError, match=r"predictions\.\w+\.parquet is damaged"):
        PackedStore(tmp_path).verify(runs[2])
    absent = runs[0].rpartition("-s")[0] + "-s99"
    found = PackedStore(tmp_path).damaged([*runs, absent])
    assert set(found) == {*runs, absent}
    assert "is damaged" in str(found[runs[2]])
    assert packed.damaged(packed.runs()) == {}


def test_what_cannot_be_packed_or_found_is_one_line(packed: PackedStore, tmp_path: Path) -> None:
    runs = [study.run_id(0) for study in STUDIES.values()]
    with pytest.raises(RecordError, match="the runs of one study, not of"):
        pack(runs, SOURCE, Files(tmp_path))
    with pytest.raises(RecordError, match="run its study"):
        pack([STUDIES["digits"].run_id(7)], SOURCE, Files(tmp_path))
    assert not (tmp_path / "packs.json").exists()
    with pytest.raises(RecordError, match="not packed"):
        packed.table("levels", [STUDIES["digits"].run_id(7)])
    with pytest.raises(RecordError, match="only read"):
        packed.writer("x", {})


def test_the_reference_can_be_another_folder(
    packed: PackedStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LTHLIB_REFERENCE", packed.files.url)
    assert reference_store().runs() == packed.runs()
    assert type(reference_store(str(tmp_path))) is RecordStore


def test_every_pack_that_comes_with_the_project_is_verified(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from lthlib.packs import other_packs
    from lthlib.workflow import cli

    names = {store.files.url.rsplit("/", 1)[-1] for store in other_packs()}
    assert names == {"example", "real-text"}
    assert cli.main(["verify"]) == 0
    said = capsys.readouterr().out
    assert all(f"records/{name}: " in said for name in (*names, "reference", "shipped"))
