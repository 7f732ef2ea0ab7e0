"""Tables of our own pass the audit that other tables fail; a wrong table of ours does not."""

from __future__ import annotations

import pandas as pd
import pytest

import synthetic
from audited_tables import TOLD
from lthlib.errors import RecordError
from lthlib.records import RecordStore, shipped_store
from lthlib.report.audit import __main__ as command
from lthlib.report.audit import audit_table, own

RUNS = ("uniter-digits-s0", "uniter-digits-s1", "uniter-digits-s2")


@pytest.mark.parametrize("decisions", [("label",), synthetic.FINDINGS])
def test_tables_of_made_up_records_are_possible(decisions: tuple[str, ...]) -> None:
    answers = synthetic.predictions(runs=RUNS, decisions=decisions, branches=("random-mask",))
    # Runs of one study share their test items.
    truth = answers.drop_duplicates(["item", "decision"]).set_index(["item", "decision"])["label"]
    answers["label"] = truth.loc[pd.MultiIndex.from_frame(answers[["item", "decision"]])].to_numpy()
    every = own.measured(answers)
    for digits, percent in ((5, False), (1, True)):
        table = own.means_table(every, digits=digits, percent=percent)
        found = audit_table(table, percent=percent, **TOLD)
        assert (found["verdict"] != "impossible").all(), found["why"].tolist()
        assert table["runs"].eq(3).all() and table["items"].eq(40 * len(decisions)).all()
    pruned = found[table["level"] > 0]
    assert pruned["checks"].str.contains("identities").all()


def test_a_wrong_mean_is_seen() -> None:
    table = own.means_table(own.measured(synthetic.predictions(items=400)))
    assert (audit_table(table, **TOLD)["verdict"] != "impossible").all()
    for name, step in (("accuracy_pruned", 0.001), ("fidelity", 0.01), ("faithful_accuracy", 0.02)):
        wrong = table.copy()
        wrong[name] = [f"{float(v) - step:.5f}" if v else "" for v in wrong[name]]
        filled = wrong[name] != ""
        assert (audit_table(wrong, **TOLD)["verdict"] == "impossible")[filled].all()


def test_runs_with_other_items_are_refused() -> None:
    parts = [
        synthetic.predictions(runs=(run,), items=n)
        for run, n in zip(RUNS[:2], (40, 50), strict=True)
    ]
    with pytest.raises(RecordError, match="differ in their test items"):
        own.means_table(own.measured(pd.concat(parts)))


def test_an_empty_store_has_nothing_to_audit(
    tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert own.audit_store(RecordStore(str(tmp_path))).empty
    assert command.main([str(tmp_path)]) == 2
    assert "no finished run to audit" in capsys.readouterr().err


def test_tables_of_the_records_that_ship_are_possible() -> None:
    """Those of the reference study are audited with every change, by `.ci/run`."""
    store = shipped_store()
    found = own.audit_store(store)
    assert own.faults(found) == []
    verdict = own.verdicts(found)
    assert verdict.verdict.startswith("0 of ")
    told = own.constants_told(found).exhibit.table
    assert told is not None
    # The detector sees means only, and never takes a model with two answers for a constant one.
    assert told["told constant"].astype(int)[1:].sum() == 0


def test_a_constant_dense_model_makes_all_rows_beside_it_constant() -> None:
    label, answers = [0, 1] * 10, [0, 1, 1, 1] * 5
    for dense, ticket, expected in (([0] * 20, answers, [1, 1]), (answers, [0] * 20, [0, 1])):
        records = [
            synthetic.one_record(label, given, run="uniter-digits-s0", level=level)
            for level, given in enumerate((dense, ticket))
        ]
        found = own.measured(pd.concat(records, ignore_index=True))
        assert found.sort_values("level")["constant"].tolist() == expected
