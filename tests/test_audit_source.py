"""The audit of the main source gives what was found by hand; kept labels are those of the files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lthlib.errors import RecordError
from lthlib.report.audit import feasibility, findings, findings_together, labels, source
from lthlib.report.audit.findings import Finding
from lthlib.report.source import published

SHARED = os.environ.get("LTHLIB_SHARED")
ALL = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module, names in {
        findings: [
            *("split", "constant_rows", "constant_cells", "plateaus", "batches"),
            *("runs_by_granularity", "pearson_rows", "blind_correlation", "skill"),
        ],
        findings_together: [
            *("runs_by_p_values", "kind", "odd_p_value", "impossible_rows", "whose"),
            *("fidelity_beyond_bounds", "kappa", "misprints"),
        ],
    }.items()
    for name in names
}


@pytest.fixture(scope="module")
def found() -> dict[str, Finding]:
    return {name.rpartition(".")[2]: make() for name, make in ALL.items()}


# What each verdict must say: numbers of METHOD.md, part B.
SAYS = {
    "split": [
        "1,012 captions, 535 of them true, is the dev split",
        "has 2,024",
        "were not reported",
    ],
    "constant_rows": [
        "9 of 36 pruned rows",
        "VisualBERT secondary 4, LXMERT concluding 1 and UNITER secondary 4",
        "UNITER concluding 25 %",
        "UNITER concluding 50 %",
    ],
    "constant_cells": ["70 of 70 cells"],
    "plateaus": [
        *("69 of 105 cells", "10,469 of 10,808", "15 what", "11 lie above (97.02 to 98.41 %)"),
        "10 below",
    ],
    "batches": [
        *("0.6917 over all", "0.6879 averaged over batches of 32", "0.6583 (recall 0.9684)"),
        "batches of 4, with two digits of F1 transposed",
    ],
    "runs_by_granularity": [
        "VisualBERT concluding 10 or",
        "LXMERT secondary none",
        "LXMERT concluding 7 or",
        "UNITER secondary 5 or",
        "UNITER concluding 4 or",
        "6 of 6 tables of fidelity (103 different values)",
    ],
    "runs_by_p_values": [
        "VisualBERT concluding 10 runs, LXMERT secondary 10 runs",
        "LXMERT concluding 7 runs and UNITER concluding 4 runs",
        "0.00002 to 0.001",
    ],
    "kind": ["treated as independent", "4 groups are told to be Student's", "3 different p-values"],
    "odd_p_value": ["1.83678e-15", "imply 1.81e-05", "exponent -5 was printed as -15"],
    "impossible_rows": [
        "11 of 12 (VisualBERT), 0 of 12 (LXMERT) and 0 of 12 (UNITER)",
        "1.2 times (VisualBERT concluding 10 %)",
        "VisualBERT secondary 25 % is impossible for 10 runs alone, and 10, 20 and 30 are admitted",
    ],
    "whose": ["5 of 6 groups", "0.467, 0.533, 0.513 and 0.490"],
    "fidelity_beyond_bounds": [
        *("14 of 63 entries", "must be 0.5353 (printed 0.4606)", "must be 0.6340"),
        *("must be 0.7160", "60 of 60"),
    ],
    "kappa": [
        "15 of 18",
        "(kappa -0.31 to +0.00)",
        "other 3 have +0.09 to +0.34",
        "-0.05 to +0.80",
        "0.875 to 1.085",
    ],
    "pearson_rows": [
        *("2 of 4 are reproduced", "one digit off: 0.30794", "+0.88119"),
        "not reproduced, nor with any one digit changed",
    ],
    "blind_correlation": [
        *("+0.001 to +0.006", "+1 for VisualBERT, -1 for LXMERT"),
        "VisualBERT from +0.959 to +0.15 (95 % interval -0.84 to +0.91, p 0.807)",
        "LXMERT from +0.544 to +0.98 (95 % interval +0.77 to +1.00, p 0.00242)",
        "UNITER from +0.504 to +0.79 (95 % interval -0.30 to +0.99, p 0.111)",
        "left out: LXMERT +0.33",
    ],
    "skill": ["3 of 18", "LXMERT 10 %", "UNITER 10 %", "VisualBERT (+0.045) does not", "0.00128"],
    "misprints": ["23 faults are known", "0.6583", "1.81e-05"],
}


@pytest.mark.parametrize("name", SAYS)
def test_a_finding_says_what_was_found_by_hand(name: str, found: dict[str, Finding]) -> None:
    for text in SAYS[name]:
        assert text in found[name].verdict
    finding = found[name]
    assert (
        finding.claim and finding.by and finding.exhibit.caption.endswith("nothing here is ours.")
    )
    assert not pd.isna(finding.exhibit.data.drop(columns="sd", errors="ignore")).all().any()


def test_every_finding_is_tested() -> None:
    assert {name.rpartition(".")[2] for name in ALL} == set(SAYS)


def test_pearson_rows_to_five_digits(found: dict[str, Finding]) -> None:
    table = found["pearson_rows"].exhibit.table
    assert table is not None
    assert table["r"].tolist() == ["+0.95927", "+0.54442", "+0.50404", "+0.88119"]
    assert table["p"].tolist() == ["0.00245", "0.26405", "0.30797", "0.02033"]


def test_recovered_deviations_are_those_that_are_published() -> None:
    ours = findings_together.recovered()
    keys = ["model", "pruning_set", "metric", "amount"]
    theirs = published.recovered_sd().fillna({"amount": 0.0})
    both = theirs.merge(ours, on=keys, how="left", suffixes=("", "_ours"), validate="one_to_one")
    assert len(both) == 118
    np.testing.assert_allclose(both["sd_ours"], both["sd"], rtol=1e-3, atol=1e-6)


def test_a_row_is_impossible_only_if_it_is_at_every_number_of_runs_that_is_admitted() -> None:
    table, admitted = findings_together.feasible_rows()
    assert admitted["VisualBERT secondary"] == [10, 20, 30]
    assert admitted["UNITER concluding"] == [4]
    row = table[(table["pruning_set"] == "secondary") & (table["amount"] == 0.25)].iloc[0]
    assert (row["model"], row["feasible"], row["impossible_at"]) == ("visualbert", True, [10])
    rest = table[table["model"] != "visualbert"]
    assert not rest["feasible"].any()


def test_feasibility_of_each_group() -> None:
    table = source.rows()
    table["feasible"] = feasibility(table)["feasible"]
    counts = table.groupby(["model", "pruning_set"])["feasible"].sum()
    assert counts.loc["visualbert"].tolist() == [5, 5]
    assert counts.drop("visualbert").sum() == 0
    assert len(table) == 36 and set(table.groupby("model").size()) == {12}


def test_kept_label_counts() -> None:
    assert labels.vsr_counts("dev") == {"False": 477, "True": 535}
    counts = labels.open_i_counts()
    assert counts["negative"] / sum(counts.values()) == pytest.approx(0.9686343, abs=5e-8)
    scan = labels.always_true_by_batch().set_index("size")
    assert scan.loc[32, "f1"].round(4) == 0.6879
    assert scan.loc[4, ["f1", "recall", "precision"]].round(4).tolist() == [0.6583, 0.9684, 0.5287]


@pytest.mark.skipif(not SHARED, reason="needs LTHLIB_SHARED, a folder with the label files")
def test_kept_numbers_are_those_of_the_real_label_files() -> None:
    assert labels.measure(Path(str(SHARED)) / "data") == labels.labels()


def test_a_missing_label_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"train.jsonl: no such file; give the folder that holds"):
        labels.measure(tmp_path)
