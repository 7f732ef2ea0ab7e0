"""How long it will take, and packing from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from lthlib.packs import PackedStore, store_at
from lthlib.records import shipped_store
from lthlib.study import Study, plan
from lthlib.workflow import cli
from lthlib.workflow.estimate import Pace, in_words, paces, seconds_of
from lthlib.workflow.local import Job


def jobs(**choices: object) -> list[Job]:
    return [Job(Study.build(model="uniter", **choices), 0)]


def test_every_epoch_of_every_training_counts() -> None:
    # Two seconds for an epoch of a thousand items, where a study names no number.
    measured = {("uniter", "digits", "tiny", "cpu"): Pace(0.002, 1000)}
    level = {"ladder": [0.3, 0.6], "epochs": 3}
    assert seconds_of(jobs(**level), measured) == 3 * 3 * 2
    controls = {"branches": ["random-mask"], "branch_levels": [2]}
    assert seconds_of(jobs(**level, **controls), measured) == 4 * 3 * 2
    assert seconds_of(jobs(**level, observe=["barriers"]), measured) == 6 * 3 * 2
    longer = jobs(ladder=[0.3], search="one-shot", dense_epochs=12, epochs=3)
    assert seconds_of(longer, measured) == (12 + 3) * 2
    published = jobs(protocol="as_published", ladder="secondary")
    assert seconds_of(published, measured) == 7 * 3 * 2


def test_fewer_items_take_less() -> None:
    measured = {("uniter", "digits", "tiny", "cpu"): Pace(0.002, 1000)}
    few = jobs(ladder=[0.3], epochs=1, train_items=100)
    assert seconds_of(few, measured) == pytest.approx(0.4)


def test_what_was_never_measured_is_usual_or_not_known() -> None:
    once = jobs(levels=0, epochs=1)
    assert seconds_of(once, {}) == pytest.approx(4.0)
    base = jobs(size="base", start="random", levels=0, epochs=1)
    assert seconds_of(base, {}) is None
    # What a core takes says nothing of a GPU.
    measured = paces([shipped_store()])
    assert seconds_of(once, measured) is not None
    assert seconds_of(once, measured, "cuda") is None
    assert "not known" in in_words(None, 2)


def test_words() -> None:
    assert in_words(3600, 2) == "about 60 min of one core, 30 min on 2"
    assert in_words(36000, 4, "cuda") == "about 10.0 h of one GPU, 2.5 h on 4"


def test_shipped_records_tell_the_usual_time() -> None:
    measured = paces([shipped_store()])
    assert {model for model, task, _, _ in measured if task == "digits"} == {
        "visualbert", "lxmert", "uniter",
    }  # fmt: skip
    assert all(0.2 < pace.seconds * pace.items < 120 for pace in measured.values())


def test_pack_packs_what_is_finished_and_the_book_can_read_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = shipped_store().files.url
    assert cli.main(["pack", "--preset", "quick", "--store", source, "--to", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "3 of 3 runs packed" in said
    assert "holds 12 runs of 4 studies" in said
    packed = store_at(tmp_path)
    assert isinstance(packed, PackedStore)
    assert packed.runs() == sorted(run for study in plan("quick") for run in study.run_ids())
    assert cli.main(["verify", str(tmp_path)]) == 0
    assert "12 finished runs checked" in capsys.readouterr().out


def test_plan_says_how_long(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "--preset", "ci", "--store", str(tmp_path)]) == 0
    assert "8 runs to do: about" in capsys.readouterr().out
