"""A word that a comparison picks rests on a declared test, or its sentence says that none was made.

The sentences are read as they are written, in the syntax tree. That a model beats the trivial rule
is left to the tests of the gate.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

REPORT = Path(__file__).parent.parent / "src" / "lthlib" / "report"
# What compares no seeds: printed tables, timings, and what was done to a store.
APART = ("audit", "benchmarks.py", "chapters.py", "faults.py", "grid.py", "savings.py")
PICKED = re.compile(r"\b(more|fewer|better|worse|higher|lower|above|below|predicts?|learned)\b")
# Adjusted p-values of declared families, verdicts, made of them, or simultaneous intervals.
TESTED = re.compile(r"\bholm_|_word\(|simultaneous")
SAID = re.compile(
    r"\b(not|nothing is) (tested|adjusted|shown|said)\b|shown to|shown for|taken alone"
)
DESCRIBED = {
    "baselines.findings.own_sentence": "what a rank order by chance is",
    "baselines.findings.report_sentence": "counts of positive reports",
    "baselines.findings.source_sentence": "printed numbers beside an exact interval",
    "judgement.verdicts.dense_sentence": "the lowest accuracy but one",
    "own_data.enough_sentence": "power, before anything is compared",
    "questions.confidence.determined_sentence": "arithmetic",
    "source.words.claim_sentence": "the source's own claim",
}
# The source's own tests, made again; audits of printed tables; and where Holm's procedure stands.
MAY_ADJUST = ("judgement", "source", "audit")


def modules() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(REPORT.rglob("*.py")):
        yield path.relative_to(REPORT), ast.parse(path.read_text(encoding="utf-8"))


def words(function: ast.FunctionDef) -> str:
    """What a function may say: its literals of several words, without the docstring."""
    texts = (
        node.value
        for statement in function.body[1:]
        for node in ast.walk(statement)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    return " ".join(text for text in texts if len(text.split()) > 2)


def bare() -> dict[str, list[str]]:
    """The picked words of sentences that neither rest on a test nor say that there is none."""
    found = {}
    for name, module in modules():
        for node in module.body if name.parts[0] not in APART else []:
            if not (isinstance(node, ast.FunctionDef) and node.name.endswith("_sentence")):
                continue
            said, picked = words(node), sorted(set(PICKED.findall(words(node))))
            if picked and not TESTED.search(ast.unparse(node)) and not SAID.search(said):
                found[f"{'.'.join(name.with_suffix('').parts)}.{node.name}"] = picked
    return found


def test_every_comparison_is_tested_or_says_that_it_is_not() -> None:
    found = bare()
    assert {name: picked for name, picked in found.items() if name not in DESCRIBED} == {}
    assert sorted(DESCRIBED) == sorted(found), "an exception that is none"


def test_p_values_are_adjusted_in_declared_families_alone() -> None:
    """A frame with p-values and a Holm of its own is no family that the table declares."""
    own = {
        str(name)
        for name, module in modules()
        if name.parts[0] not in MAY_ADJUST
        for node in ast.walk(module)
        if (isinstance(node, ast.Constant) and node.value in ("p_holm", "holm_p"))
        or (isinstance(node, ast.Name) and node.id in ("holm", "holm_rows", "multicomp"))
    }
    assert own == set()
