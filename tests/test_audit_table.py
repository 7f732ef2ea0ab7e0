"""A whole table under audit: planted faults are caught, honest rows are not; and the command."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from audited_tables import TOLD, Cut, cut, honest, rounded
from lthlib.errors import RecordError
from lthlib.records import project_root
from lthlib.report.audit import audit_table, read
from lthlib.report.audit.files import read_csv
from lthlib.report.audit.table import UNDERSTOOD
from lthlib.workflow import cli


@pytest.mark.parametrize("how", [rounded, cut])
@pytest.mark.parametrize(
    ("runs", "items", "digits"), [(1, 57, 2), (1, 1012, 5), (2, 200, 3), (10, 1012, 5)]
)
def test_no_honest_row_is_impossible(runs: int, items: int, digits: int, how: Cut) -> None:
    table = honest(2500, items=items, runs=runs, digits=digits, seed=digits, how=how)
    found = audit_table(table, **TOLD)
    assert (found["verdict"] != "impossible").all(), found.loc[
        found["verdict"] == "impossible", "why"
    ]
    # At this fineness few honest rows hit the accuracy of a constant answer.
    if items == 1012:
        assert (found["verdict"] == "constant answer").mean() < 0.01


def test_no_honest_row_is_impossible_when_little_is_known() -> None:
    table = honest(3000, items=300, runs=5, digits=4, seed=6)
    for drop in (["runs"], ["items", "positives"], ["runs", "items", "positives"]):
        assert (audit_table(table.drop(columns=drop), **TOLD)["verdict"] != "impossible").all()
    in_percent = honest(2000, items=300, runs=3, digits=6, seed=7)
    shares = [c for c in in_percent if c not in {"items", "positives", "runs", "kappa", *COUNTS}]
    for name in shares:
        in_percent[name] = ["" if v == "" else f"{100 * float(v):.1f}" for v in in_percent[name]]
    assert (audit_table(in_percent, percent=True, **TOLD)["verdict"] != "impossible").all()


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
    found = audit_table(table, **TOLD)
    assert (found["verdict"] == "impossible").all()
    untold = audit_table(table)["verdict"]
    assert untold.isin(["impossible", "depends"]).all()
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
    assert audit_table(low)["verdict"].tolist() == ["depends"]
    assert audit_table(low, classes=2, runs=1)["verdict"].tolist() == ["impossible"]
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
    assert audit_table(pd.DataFrame(row), runs=10, classes=2)["verdict"].tolist() == ["possible"]
    sd = {"sd_fidelity": ["0.021375"], "sd_faithful_accuracy": ["0.011566"]}
    found = audit_table(pd.DataFrame(row | sd), runs=10, classes=2)
    assert found["verdict"].tolist() == ["impossible"]


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
    assert cli.main(command) == 0
    out = capsys.readouterr().out
    assert "depends: accuracy 0.50461 is no mean of 10 counts over 1,012 items" in out
    assert "(if every run answers the same items)" in out
    assert out.splitlines()[-1].endswith("say which it is: --test-set same or folds.")
    assert cli.main([*command, "--test-set", "same"]) == 1
    assert "impossible: accuracy 0.50461 is no mean of 10" in capsys.readouterr().out
    assert cli.main([*command, "--test-set", "folds"]) == 0
    assert "25 %  not checked" in capsys.readouterr().out.replace("possible", "not checked")


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
        ("a,b\n1,2,3,4\n1\n", "row 1 has 4 cells, and the header 2"),
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


# -- tables as people have them -------------------------------------------------------------------
PLAIN = "model,accuracy,fidelity\nA,0.52252,0.81\nB,0.50464,0.79\n"
AS_SAVED = {
    "semicolons": PLAIN.replace(",", ";"),
    "semicolons and decimal commas": PLAIN.replace(",", ";").replace(".", ","),
    "tabs": PLAIN.replace(",", "\t"),
    "decimal commas in quotes": 'model,accuracy,fidelity\nA,"0,52252","0,81"\nB,"0,50464","0,79"\n',
    "a title above the header": f"Table 4. Results\n\n{PLAIN}",
    "other case and blanks": PLAIN.replace("accuracy,fidelity", "Accuracy , FIDELITY"),
    "empty columns": PLAIN.replace("\n", ",,\n"),
    "an empty line": PLAIN.replace("\nB", "\n,,\nB"),
    "no line end": PLAIN.rstrip(),
    "carriage returns": PLAIN.replace("\n", "\r\n"),
    "footnotes": PLAIN.replace("0.81", "0.81*").replace("0.79", "0.79†"),
    "percent in the headings": "model,accuracy (%),fidelity %\nA,52.252,81\nB,50.464,79\n",
}


@pytest.mark.parametrize("how", AS_SAVED)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_table_reads_alike_however_it_was_saved(how: str, encoding: str, tmp_path: Path) -> None:
    for name, text in (("plain", PLAIN), ("saved", AS_SAVED[how])):
        (tmp_path / name).write_bytes(text.encode("utf-8" if name == "plain" else encoding))
    plain, saved = (read_csv(tmp_path / name) for name in ("plain", "saved"))
    assert list(saved.columns) == ["model", "accuracy", "fidelity"]
    for name in ("accuracy", "fidelity"):
        ours, theirs = (read(table[name]) for table in (saved, plain))
        assert ours.value.tolist() == theirs.value.tolist()
        assert ours.decimals.tolist() == theirs.decimals.tolist()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"PK\x03\x04rest", "a ZIP archive, or a file of an office program"),
        (b"\x1f\x8brest", "compressed by gzip"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"accuracy\0\n0.5\n", "bytes that no text has"),
        (b'accuracy\n"0.5\n', "not a CSV file"),
        (b"Acuracy,note\n0.5,x\n", "'Acuracy' (did you mean 'accuracy'?)"),
        ("accuracy\n0.52 ± 0.01\n".encode(), "give the second a column sd_accuracy"),
        (b"accuracy,Accuracy\n0.5,0.5\n", "is there twice"),
        (b"accuracy,fidelity\n52.25,81\n50.46,79\n", "Then add --percent"),
    ],
)
def test_what_is_no_table_is_said_in_one_line(
    data: bytes, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes(data)
    assert cli.main(["audit", str(file)]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_dashes_alone_are_empty_and_before_a_digit_a_minus() -> None:
    cells = ["—", "–", "-", "--", "\u2212", "–0.05", "\u22120.05", "n/a", "n.a."]
    numbers = read(cells)
    assert numbers.present.tolist() == [False] * 5 + [True, True, False, False]
    assert numbers.value[5:7].tolist() == [-0.05, -0.05]


def test_whole_floats_and_thousands_are_whole_numbers(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text('accuracy,items,runs\n0.47134,1012.0,10.0\n0.47134,"1,012",10\n')
    found = audit_table(read_csv(file), positives=535, test_set="same")
    assert found["verdict"].tolist() == ["constant answer"] * 2
    with pytest.raises(RecordError, match="whole numbers"):
        audit_table(pd.DataFrame({"accuracy": ["0.5"], "items": ["10.5"]}))


def test_columns_with_nearly_a_known_name_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "t.csv"
    file.write_text("accuracy,fidelty,Kappa,model\n0.5,0.8,3,A\n")
    assert cli.main(["audit", str(file)]) == 1
    out = capsys.readouterr().out
    assert "kappa 3 lies outside" in out
    assert "Left alone: 'fidelty' (did you mean 'fidelity'?)." in out
