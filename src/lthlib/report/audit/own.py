"""The same audit on tables of our own: means over seeds, printed as the report prints them.

A record's measures come from one set of answers, so that nothing here can be impossible unless a
measure, a mean or a table is wrong. `python -m lthlib.report.audit STORE` fails when one is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pandas as pd

from lthlib.errors import RecordError
from lthlib.records import RecordStore
from lthlib.report import measures
from lthlib.report.audit.checks import CONSTANT, COUNTS, IMPOSSIBLE, NUMBERS, SHARES
from lthlib.report.audit.findings import Finding
from lthlib.report.audit.source import joined
from lthlib.report.audit.table import audit_table
from lthlib.report.measures import RECORD
from lthlib.report.plain import plain_table
from lthlib.report.statistics import DENSE_LEVEL

CONDITION = [name for name in RECORD if name != "run"]
# As CSV files beside the exhibits round them at the least, and as tables print shares in %.
DIGITS, PERCENT_DIGITS = 5, 1
_SPREAD = (
    "fidelity",
    "faithful_accuracy",
    "unfaithful_accuracy_dense",
    "unfaithful_accuracy_pruned",
)
_OWN = {"accuracy": "accuracy_pruned"}  # of a record's own answers, dense ones included
_FOUND = ["study", *CONDITION, "runs", "printed", "verdict", "why", "checks", "constant"]
COLUMNS = [name for name in SHARES if name not in {"accuracy", "unfaithful_accuracy"}]


def measured(predictions: pd.DataFrame) -> pd.DataFrame:
    """Every measure of every record, of its own answers and against dense; one row per record.

    predictions: see :mod:`lthlib.report.measures`. constant: does the record, or the dense model
    that stands beside it in a table, give one answer to all? positives: how many decisions are
    true.
    """
    table = measures.quality(predictions).rename(columns=_OWN)
    own = table["flags"].str.contains("constant prediction")
    is_dense = (table["level"] == DENSE_LEVEL) & (table["branch"] == "main")
    dense = set(table.loc[is_dense & own, "run"])
    table["constant"] = (own | table["run"].isin(dense)).astype(float)
    table["positives"] = table["tp"] + table["fn"]
    pairs = measures.agreements(predictions).drop(columns=["flags", "items", "decisions"])
    return table.merge(pairs.drop(columns="accuracy_pruned"), on=RECORD, how="left")


def means_table(
    table: pd.DataFrame, *, digits: int = DIGITS, percent: bool = False
) -> pd.DataFrame:
    """Means over the runs of one study as text, with all that the audit needs to know.

    table: see :func:`measured`. One row per level, branch and stage: shares, kappa, counts and
    standard deviations over runs with `digits` decimals, items (decisions), positives, runs, and
    constant (share of the runs). A measure that some run does not have is left empty.

    Raises RecordError for runs with different test items.
    """
    groups = table.groupby(CONDITION, sort=False)
    if groups[["decisions", "positives"]].nunique().gt(1).any(axis=None):
        raise RecordError("audit: the runs of a study differ in their test items")
    shown = [name for name in COLUMNS if name in table.columns]
    mean, spread = groups[[*shown, *NUMBERS, *COUNTS]].mean(), groups[list(_SPREAD)].std()
    whole = groups[[*shown, *NUMBERS]].count().eq(groups.size(), axis=0)
    scale = 100 if percent else 1
    text = {name: _texts(mean[name].where(whole[name]), scale, digits) for name in shown}
    text |= {name: _texts(mean[name].where(whole[name]), 1, digits) for name in NUMBERS}
    text |= {name: _texts(mean[name], 1, digits) for name in COUNTS}
    text |= {f"sd_{n}": _texts(spread[n].where(whole[n]), scale, digits) for n in _SPREAD}
    facts = {
        "items": groups["decisions"].first(),
        "positives": groups["positives"].first(),
        "runs": groups.size(),
        "constant": groups["constant"].mean(),
    }
    return pd.DataFrame(text | facts).reset_index()


def _texts(values: pd.Series[float], scale: int, digits: int) -> pd.Series[str]:
    return values.map(lambda v: "" if pd.isna(v) else f"{scale * v:.{digits}f}")


def studies(store: RecordStore) -> Iterator[tuple[str, list[str]]]:
    """The name of each study in a store, and its runs."""
    names = pd.Series(store.runs(), dtype=str)
    for study, runs in names.groupby(names.str.replace(r"-s\d+$", "", regex=True)):
        yield str(study), runs.tolist()


def audit_store(store: RecordStore) -> pd.DataFrame:
    """Every study of a store, audited as printed in full and as printed in %.

    Returns study, level, branch, stage, runs, printed, verdict, why, checks and constant (share of
    runs that are constant, by their answers); no rows for an empty store.
    """
    parts = []
    for study, runs in studies(store):
        every = measured(store.table("predictions", runs))
        for percent, digits in ((False, DIGITS), (True, PERCENT_DIGITS)):
            table = means_table(every, digits=digits, percent=percent)
            told = audit_table(table, classes=2, average="binary", test_set="same", percent=percent)
            found = pd.concat([table, told], axis=1)
            printed = f"{digits} decimals{' of a %' if percent else ''}"
            parts.append(found.assign(study=study, printed=printed)[_FOUND])
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=_FOUND)


def verdicts(found: pd.DataFrame) -> Finding:
    """What the audit says of our tables, in one sentence and one table."""
    fine = found[found["printed"] == f"{DIGITS} decimals"]
    impossible = int((found["verdict"] == IMPOSSIBLE).sum())
    study = found["study"].map(_without_hash)
    by_study = found.assign(study=study, impossible=found["verdict"] == IMPOSSIBLE)
    counts = by_study.groupby("study").agg(
        rows=("impossible", "size"), runs=("runs", "max"), impossible=("impossible", "sum")
    )
    checks = sorted({name for text in found["checks"] for name in text.split(", ") if name})
    verdict = (
        f"{impossible} of {len(found):,} rows of our own tables are impossible "
        f"({found['study'].nunique()} studies, {len(fine):,} rows with {DIGITS} decimals and as "
        f"many printed in % with {PERCENT_DIGITS}). Checked: {joined(checks)}."
    )
    shown = counts.reset_index().astype(str)
    caption = (
        "Our tables under the audit: rows (levels, branches and stages, each with five decimals "
        "and in %), seeds at most, and rows that are impossible."
    )
    claim = "The numbers of this report are possible."
    return Finding(claim, [audit_table], verdict, plain_table(shown, caption, data=found))


def constants_told(found: pd.DataFrame) -> Finding:
    """Does the detector of constant answers, which sees means only, agree with the answers?"""
    fine = found[found["printed"] == f"{DIGITS} decimals"]
    really, told = fine["constant"] == 1, fine["verdict"] == CONSTANT
    some = (fine["constant"] > 0) & ~really
    rows = [
        (name, int((mask & told).sum()), int((mask & ~told).sum()))
        for name, mask in {
            "it, or its dense model, constant in every run": really,
            "constant in some runs": some,
            "constant in no run": fine["constant"] == 0,
        }.items()
    ]
    verdict = (
        f"Of {int(really.sum())} rows with a model that gives one answer in every run, the "
        f"detector tells {rows[0][1]} from their mean accuracy and recall alone; of "
        f"{int((~really).sum())} others it takes {rows[1][1] + rows[2][1]} for constant."
    )
    table = pd.DataFrame(rows, columns=["by their answers", "told constant", "not told"])
    caption = (
        "The detector of constant answers against the answers themselves, on rows with five "
        "decimals (levels, branches and stages of all our studies)."
    )
    claim = "A constant model can be told from the mean accuracy that is printed."
    return Finding(claim, [audit_table], verdict, plain_table(table, caption))


def faults(found: pd.DataFrame) -> list[str]:
    """One line for each impossible row."""
    bad = found[found["verdict"] == IMPOSSIBLE]
    return [
        f"{row.study}, level {row.level}, {row.branch}, {row.stage}, {row.printed}: {row.why}"
        for row in bad.itertuples()
    ]


def _without_hash(study: str) -> str:
    return re.sub(r"-[0-9a-f]{8}$", "", study)
