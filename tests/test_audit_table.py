"""A whole table under audit: planted faults are caught, honest rows are not; and the command."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from audited_tables import Cut, cut, honest, rounded
from lthlib.errors import RecordError
from lthlib.records import project_root
from lthlib.report.audit import audit_table
from lthlib.report.audit.table import UNDERSTOOD
from lthlib.workflow import cli


@pytest.mark.parametrize("how", [rounded, cut])
@pytest.mark.parametrize(
    ("runs", "items", "digits"), [(1, 57, 2), (1, 1012, 5), (2, 200, 3), (10, 1012, 5)]
)
def test_no_honest_row_is_impossible(runs: int, items: int, digits: int, how: Cut) -> None:
    table = honest(2500, items=items, runs=runs, digits=digits, seed=digits, how=how)
    found = audit_table(table)
    assert (found["verdict"] != "impossible").all(), found.loc[
        found["verdict"] == "impossible", "why"
    ]
    # At this fineness few honest rows hit the accuracy of a constant answer.
    if items == 1012:
        assert (found["verdict"] == "constant answer").mean() < 0.01


def test_no_honest_row_is_impossible_when_little_is_known() -> None:
    table = honest(3000, items=300, runs=5, digits=4, seed=6)
    for drop in (["runs"], ["items", "positives"], ["runs", "items", "positives"]):
        assert (audit_table(table.drop(columns=drop))["verdict"] != "impossible").all()
    in_percent = honest(2000, items=300, runs=3, digits=6, seed=7)
    shares = [c for c in in_percent if c not in {"items", "positives", "runs", "kappa", *COUNTS}]
    for name in shares:
        in_percent[name] = ["" if v == "" else f"{100 * float(v):.1f}" for v in in_percent[name]]
    assert (audit_table(in_percent, percent=True)["verdict"] != "impossible").all()


COUNTS = ("tp", "fp", "tn", "fn")
# One change to one number of an honest row of one run, and the check that must see it.
PLANTED = {
    "accuracy_pruned": ("granularity", 0.0004),
    "fidelity": ("granularity", 0.0004),
    "recall": ("granularity", 0.0004),
    "faithful_accuracy": ("identities", 0.01),
    "unfaithful_accuracy_dense": ("identities", 0.05),
    "unfaithful_accuracy_pruned": ("identities", 0.05),
    "unfaithful_accuracy": ("identities", 0.05),
    "churn": ("identities", 0.002),
    "a": ("identities", 0.002),
    "kappa": ("kappa", 0.02),
    "precision": ("confusion", 0.02),
    "f1": ("confusion", 0.02),
    "positive_share": ("confusion", 0.005),
    "specificity": ("confusion", 0.02),
    "tp": ("confusion", 4),
    "tn": ("confusion", 4),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_caught(name: str) -> None:
    table = honest(300, items=1012, runs=1, digits=5, seed=8)
    fidelity = table["fidelity"].astype(float)
    table = table[(fidelity > 0.1) & (fidelity < 0.9)].reset_index(drop=True)
    check, step = PLANTED[name]
    values = table[name].astype(float)
    # Towards the middle, so that the number stays one that could stand there.
    moved = values + np.where(values > (500 if name in COUNTS else 0.5), -step, step)
    table[name] = [f"{v:.5f}" for v in moved]
    found = audit_table(table)
    assert (found["verdict"] == "impossible").all()
    assert found["checks"].str.contains(check).all()
    assert found["why"].str.contains(name.replace("_", " ").split()[0], case=False).mean() > 0.9


def test_fidelity_that_accuracies_or_shares_rule_out() -> None:
    row = {"accuracy_dense": ["0.90"], "accuracy_pruned": ["0.50"], "fidelity": ["0.80"]}
    found = audit_table(pd.DataFrame(row))
    assert "fidelity 0.8 misses by" in found["why"][0]
    shares = {
        "positive_share_dense": ["0.95"],
        "positive_share_pruned": ["0.10"],
        "fidelity": ["0.40"],
    }
    assert "positive share pruned allow" in audit_table(pd.DataFrame(shares))["why"][0]
    # Ten classes: two wrong models may both be wrong, in different ways.
    low = pd.DataFrame(
        {"accuracy_dense": ["0.10"], "accuracy_pruned": ["0.20"], "fidelity": ["0.15"]}
    )
    assert audit_table(low)["verdict"].tolist() == ["impossible"]
    assert audit_table(low, classes=10)["verdict"].tolist() == ["possible"]


def test_ranges_and_deviations() -> None:
    table = pd.DataFrame(
        {"accuracy": ["1.2", "-0.3", "0.5", "0.5"], "sd_accuracy": ["", "", "0.6", "0.5"]}
    )
    found = audit_table(table, runs=10)
    assert found["verdict"].tolist() == ["impossible", "impossible", "impossible", "possible"]
    assert "standard deviation of accuracy" in found["why"][2]


def test_deviations_sharpen_the_identities() -> None:
    row = {
        "accuracy_dense": ["0.61216"],
        "accuracy_pruned": ["0.52266"],
        "fidelity": ["0.50564"],
        "faithful_accuracy": ["0.48967"],
    }
    assert audit_table(pd.DataFrame(row), runs=10)["verdict"].tolist() == ["possible"]
    sd = {"sd_fidelity": ["0.021375"], "sd_faithful_accuracy": ["0.011566"]}
    assert audit_table(pd.DataFrame(row | sd), runs=10)["verdict"].tolist() == ["impossible"]


def test_rows_that_say_nothing_and_tables_that_cannot_be_read() -> None:
    table = pd.DataFrame({"accuracy": ["0.5", ""], "note": ["x", "y"]})
    assert audit_table(table, items=10, positives=4)["verdict"].tolist() == [
        "possible",
        "not checked",
    ]
    with pytest.raises(RecordError, match="no column is understood among note"):
        audit_table(table[["note"]])
    with pytest.raises(RecordError, match=r"'sd_fidelty'; did you mean 'sd_fidelity'"):
        audit_table(table.assign(sd_fidelty="0.1"))
    with pytest.raises(RecordError, match="more positives than items"):
        audit_table(table, items=10, positives=11)
    with pytest.raises(RecordError, match="column 'runs' must hold whole numbers"):
        audit_table(table.assign(runs=["2.5", "3"]))
    with pytest.raises(RecordError, match="classes"):
        audit_table(table, classes=1)


# -- the command ----------------------------------------------------------------------------------
GOOD = "level,accuracy,runs\n25 %,0.50464,10\n75 %,0.47134,10\n"


def test_the_command_tells_each_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "t.csv"
    file.write_text(GOOD)
    command = ["audit", str(file), "--items", "1012", "--positives", "535"]
    assert cli.main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["25", "%", "possible"]
    assert lines[1].startswith("75 %  constant answer: accuracy is what constant answers get")
    assert lines[2].startswith("2 rows: 1 possible, 1 constant answer. Checked: ")
    file.write_text(GOOD.replace("0.50464", "0.50461"))
    assert cli.main(command) == 1
    assert "0.50461 is no mean of 10 counts over 1,012 items" in capsys.readouterr().out


def test_the_command_finds_the_number_of_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "t.csv"
    file.write_text("accuracy\n52.252\n50.464\n48.498\n47.134\n")
    assert cli.main(["audit", str(file), "--items", "1012", "--percent"]) == 0
    out = capsys.readouterr().out
    assert "row 1  possible" in out
    assert out.splitlines()[-1].endswith("that allow all of accuracy: 10, 20, 30.")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file"),
        ("", "not a CSV file"),
        ("accuracy\n", "the table has no rows"),
        ("accuracy,accuracy\n0.1,0.2\n", "no column is understood|is there twice"),
        ("a,b\n1,2,3,4\n1\n", "not a CSV|no column is understood"),
        ("accuracy\nhigh\n", "accuracy: 'high' is no number"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    text: str | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "t.csv"
    if text is not None:
        file.write_text(text)
    assert cli.main(["audit", str(file)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert any(part in error for part in message.split("|"))


def test_the_example_of_the_page_does_what_the_page_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (project_root(Path(__file__).parent) / "book" / "audit-tool.md").read_text()
    (example,) = re.findall(r"```text\n(.*?)```", page, flags=re.DOTALL)
    (line,) = re.findall(r"^lth (audit table\.csv .*)$", page, flags=re.MULTILINE)
    (tmp_path / "table.csv").write_text(example)
    command = [str(tmp_path / word) if word == "table.csv" else word for word in line.split()]
    assert cli.main(command) == 1
    assert "25 %  impossible: fidelity 0.43959" in capsys.readouterr().out
    # Every column that the page names is understood.
    named = set(re.findall(r"`(\w+)`", page.split("## Columns")[1].split("## Checks")[0]))
    assert named - {"sd_"} <= set(UNDERSTOOD)
