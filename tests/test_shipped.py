"""The records that come with the repository: whole, of this code, and as good as is said."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import pytest

from lthlib.lab.lottery import LAB_FORMAT
from lthlib.lab.models.starts import WEIGHTS
from lthlib.lab.provenance import task_key
from lthlib.lab.tasks import load
from lthlib.lab.tickets import Ticket
from lthlib.records import shipped_store
from lthlib.report import measures
from lthlib.report.reading import read
from lthlib.study import Study, plan

STORE = shipped_store()
STUDIES = plan("quick")


def test_the_whole_quick_preset_is_shipped_and_nothing_else() -> None:
    assert STORE.runs() == sorted(run for study in STUDIES for run in study.run_ids())
    for run in STORE.runs():
        STORE.verify(run)


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: f"{study.model}-{study.task}")
def test_records_belong_to_this_code_these_weights_and_this_data(study: Study) -> None:
    start = (WEIGHTS / f"{study.model}-tiny.safetensors").read_bytes()
    for run in study.run_ids():
        about = STORE.study(run)
        # Records that are older than a setting do not name it: it was at its default.
        assert Study.build(about["study"]).settings() == study.settings()
        assert about["identity"]["lab"] == LAB_FORMAT
        assert about["identity"]["start weights"] == hashlib.sha256(start).hexdigest()
        assert about["identity"]["task data"] == task_key(load(study.task))
        assert not about["commit"].endswith("+changes"), "made from a tree that nobody can get"


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: f"{study.model}-{study.task}")
def test_tickets_are_exact_and_nested(study: Study) -> None:
    for run in study.run_ids():
        data = STORE.blob(run, "tickets.safetensors")
        main = [
            Ticket.from_bytes(data, prefix=f"level-{rung.level:03d}/main") for rung in study.rungs()
        ]
        for rung, ticket in zip(study.rungs(), main, strict=True):
            assert ticket.zeros == rung.zeros(ticket.prunable)
        assert all(later.is_within(earlier) for earlier, later in pairwise(main))


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: f"{study.model}-{study.task}")
def test_dense_models_beat_the_trivial_rules(study: Study) -> None:
    reading = read(study, STORE)
    measures.check_identities(STORE.table("predictions", study.run_ids()))
    dense = reading.gate[reading.gate["level"] == 0]
    assert len(dense) == len(study.seeds)
    assert dense["beats"].all()
    if study.task == "digits":
        quality = reading.quality
        assert (quality[quality["level"] == 0]["accuracy"] >= 0.9).all()
