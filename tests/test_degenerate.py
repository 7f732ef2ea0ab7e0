"""Studies in which a measure is not defined: no exhibit stops, and no cell reads nan or inf."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import made_readings
import synthetic
from lthlib.report import figures, findings, tables
from lthlib.report.answers import figures as answer_figures
from lthlib.report.answers import findings as answer_findings
from lthlib.report.answers import tables as answer_tables
from lthlib.report.answers.frames import Answers
from lthlib.report.exhibits import Exhibit
from lthlib.report.judgement import evidence, kinds, resampling, trends, verdicts
from lthlib.report.judgement.families import families_table
from lthlib.report.reading import Reading, floors, joined

Answer = Callable[[np.ndarray, int, int], np.ndarray]
NO_NUMBER = re.compile(r"(?<![\w-])(nan|NaN|inf|<NA>|None)(?![\w-])")


def study(answer: Answer, *, seeds: int = 3, items: int = 8, label: int | None = None) -> Reading:
    """Dense and two levels; answer(labels, seed, level) gives what a model says."""
    labels = np.arange(items) % 2 if label is None else np.full(items, label)
    records = [
        synthetic.one_record(labels, answer(labels, seed, level), run=f"r-s{seed}", level=level,
                             branch=branch)
        for seed in range(seeds)
        for level in range(3)
        for branch in (("main", "random-mask") if level else ("main",))
    ]  # fmt: skip
    return made_readings.reading(made_readings.with_logits(pd.concat(records, ignore_index=True)))


def never(labels: np.ndarray, seed: int, level: int) -> np.ndarray:
    """Two dense seeds agree on no item; with a third no pair can all differ."""
    return labels if seed % 2 == 0 else 1 - labels


DEGENERATE: dict[str, Reading] = {
    "dense seeds agree on nothing": study(never, seeds=2),
    "one seed agrees with none of the others": study(
        lambda y, seed, _: np.zeros_like(y) if seed else np.ones_like(y)
    ),
    "constant everywhere": study(lambda y, *_: np.zeros_like(y)),
    "right everywhere": study(lambda y, *_: y),
    "wrong everywhere": study(lambda y, *_: 1 - y),
    "right when dense, wrong when pruned": study(lambda y, _, level: 1 - y if level else y),
    "wrong when dense, right when pruned": study(lambda y, _, level: y if level else 1 - y),
    "one seed": study(lambda y, *_: y, seeds=1),
    "one item": study(lambda y, *_: y, items=1),
    "one kind of label": study(lambda y, *_: y, label=0),
    "the other kind of label": study(lambda y, seed, level: (y + seed + level) % 2, label=1),
}


def exhibits(reading: Reading) -> dict[str, Exhibit]:
    readings = [reading]
    quality, agreements = joined(readings, "quality"), joined(readings, "agreements")
    judged = verdicts.judge(readings)
    found = Answers(readings)
    level = found.level
    pairs = [trends.trends(judged.scored), trends.correlations(judged.scored)]
    within = resampling.mcnemar_rows(reading)
    made = {
        "comparison": tables.comparison_table(quality, agreements),
        "comparison figure": figures.comparison_figure(quality, agreements),
        "fidelity": figures.fidelity_figure(reading.agreements, floor=reading.floor),
        "faithfulness": figures.faithfulness_figure(reading.agreements),
        "cells": figures.cells_figure(reading.agreements),
        "accuracy": figures.accuracy_figure(reading.quality),
        "matrix": figures.fidelity_matrix_figure(reading.matrix, reading.levels),
        "quality": tables.quality_table(reading.quality, gate=reading.gate),
        "agreement": tables.agreement_table(reading.agreements),
        "verdicts": verdicts.verdict_table(judged.rows),
        "verdict grid": verdicts.verdict_grid(judged.rows),
        "power": evidence.power_table(judged.tests),
        "differences": evidence.differences_table(judged.tests),
        "difference figure": evidence.differences_figure(judged.tests),
        "margins": evidence.margins_figure(judged.tests),
        "resampling": resampling.resampling_table(resampling.bootstrap_rows(reading), within),
        "kinds": kinds.kinds_table(kinds.ticket_kinds(judged.scored, judged.tests)),
        "sparsest": kinds.sparsest_table(kinds.sparsest_matching(judged.scored, judged.tests)),
        "trends": trends.trends_table(pairs[0]),
        "correlations": trends.correlations_table(pairs[1]),
        "families": families_table([judged.tests, *pairs, within]),
        "kept": answer_tables.kept_table(found.kept),
        "null": answer_tables.null_table(found.kept, level),
        "exemplars": answer_tables.exemplar_table(found.exemplars, found.icc),
        "blocks": answer_tables.block_table(found.blocks),
        "probabilities": answer_tables.probability_table(found.probabilities),
        "answers accuracy": answer_figures.accuracy_null_figure(found.kept),
        "answers fidelity": answer_figures.fidelity_null_figure(found.kept),
        "flips": answer_figures.flips_figure(found.kept),
        "churn": answer_figures.churn_figure(found.kept),
        "kappa": answer_figures.kappa_figure(found.kept),
        "kl": answer_figures.probability_figure(found.probabilities, "kl"),
        "reliability": answer_figures.reliability_figure(found.reliability, level),
    }
    if len(found.beside_floor):
        made["beside floor"] = answer_figures.floor_difference_figure(found.beside_floor)
    return made


def sentences(reading: Reading) -> list[str]:
    readings = [reading]
    quality, agreements = joined(readings, "quality"), joined(readings, "agreements")
    gate, judged, found = joined(readings, "gate"), verdicts.judge(readings), Answers(readings)
    level = found.level
    return [
        findings.dense_sentence(quality, gate),
        findings.accuracy_sentence(quality, level),
        findings.ladder_sentence(quality, gate),
        findings.answers_sentence(agreements, floors(readings), level),
        findings.controls_sentence(quality, level),
        verdicts.verdict_sentence(judged.rows),
        verdicts.dense_sentence(judged.scored),
        verdicts.coverage_sentence(judged.scored),
        kinds.sparsest_sentence(kinds.sparsest_matching(judged.scored, judged.tests)),
        answer_findings.short_sentence(found.kept, found.claims, level),
        answer_findings.floor_sentence(found.kept, level),
        answer_findings.null_sentence(found.kept, level),
        answer_findings.flips_sentence(found.kept, level),
        answer_findings.exemplar_sentence(found.exemplars, found.icc, found.claims, level),
        answer_findings.block_sentence(found.blocks),
        answer_findings.probability_sentence(found.probabilities, level),
    ]


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("name", DEGENERATE)
def test_no_exhibit_stops_and_no_cell_is_no_number(name: str) -> None:
    for kind, exhibit in exhibits(DEGENERATE[name]).items():
        texts = [exhibit.caption, exhibit.alt]
        if exhibit.table is not None:
            texts += [str(cell) for cell in exhibit.table.to_numpy().ravel()]
        for text in texts:
            assert not NO_NUMBER.search(text), f"{kind}: {text}"
        numbers = exhibit.data.select_dtypes("number").to_numpy(dtype=float, na_value=np.nan)
        assert not np.isinf(numbers).any(), kind


@pytest.mark.parametrize("name", DEGENERATE)
def test_no_sentence_stops_or_says_no_number(name: str) -> None:
    for text in sentences(DEGENERATE[name]):
        assert text.strip() and not NO_NUMBER.search(text), text


def test_relative_fidelity_is_missing_where_its_floor_is_nothing() -> None:
    kept = Answers([DEGENERATE["dense seeds agree on nothing"]]).kept
    main = kept[(kept["branch"] == "main") & (kept["level"] > 0)]
    assert (main["floor"] == 0).all() and main["relative_fidelity"].isna().all()
