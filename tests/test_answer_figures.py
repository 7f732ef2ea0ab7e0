"""The chapter on answers: frames, figures, tables and sentences, with many seeds and with one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import synthetic
from lthlib.errors import RecordError
from lthlib.records import RecordStore
from lthlib.report import measures
from lthlib.report.answers import figures, findings, frames, tables
from lthlib.report.answers.frames import Answers, skilled_levels
from lthlib.report.answers.kept import block_test
from lthlib.report.exhibits import Exhibit
from lthlib.report.judgement.families import count_families
from lthlib.report.reading import Reading
from lthlib.report.words import proper
from lthlib.study import Study

MODELS = ("visualbert", "uniter")
RELATIONS = ("left of", "near", "touching")


@dataclass
class Items(RecordStore):
    """A store that knows the items alone."""

    facts: pd.DataFrame

    def items(self, key: str) -> pd.DataFrame:
        return self.facts


def reading(model: str, seeds: int, *, constant: int | None = None, **more: Any) -> Reading:
    """Made-up records of a study; `constant`: a level at which every answer is False."""
    names = [f"{model}-digits-s{i}" for i in range(seeds)]
    predicted = synthetic.predictions(runs=names, items=90, branches=["random-mask"], **more)
    if constant is not None:
        predicted.loc[predicted["level"] == constant, "prediction"] = np.int8(0)
    draw = np.random.default_rng(0)
    sign = 2 * predicted["prediction"] - 1
    size = np.where(predicted["level"] == constant, 0.0, draw.gamma(2, 1, len(predicted)))
    predicted["logits"] = [[0.0, z] for z in sign * size]
    levels, runs = synthetic.levels(predicted), synthetic.runs(predicted).assign(task="digits")
    item = predicted["item"].unique()
    kinds = np.resize(RELATIONS, len(item))
    facts = pd.DataFrame({"item": item, "relation": kinds, "meta_category": kinds})
    if len(predicted["decision"].unique()) > 1:
        facts = facts[["item"]]
    matrix = measures.fidelity_matrix(predicted)
    return Reading(
        study=Study.build({"model": model, "seeds": list(range(seeds))}),
        source="made up",
        about=({"items": "key"},),
        levels=levels.merge(runs, on="run"),
        quality=measures.describe(measures.quality(predicted), levels, runs),
        agreements=measures.describe(measures.agreements(predicted), levels, runs),
        gate=measures.describe(measures.beats_trivial(predicted), levels, runs),
        matrix=matrix,
        floor=measures.seed_floor(matrix),
        predictions=predicted,
        store=Items(facts),
    )


@cache
def study(seeds: int, findings_of: tuple[str, ...] = ("label",), constant: int = 3) -> Answers:
    more = {"decisions": findings_of, "constant": constant}
    return Answers([reading(model, seeds, **more) for model in MODELS])


STUDIES = {
    "four seeds": (4, ("label",)),
    "two seeds": (2, ("label",)),
    "one seed": (1, ("label",)),
    "several findings": (3, synthetic.FINDINGS),
}


@pytest.fixture(params=STUDIES.values(), ids=STUDIES)
def found(request: pytest.FixtureRequest) -> Answers:
    return study(*request.param)


@cache
def every_figure(which: str) -> dict[str, Exhibit]:
    found = study(*STUDIES[which])
    matrices = {r.study.model: r.matrix for r in found.readings}
    column, words = next(iter(found.groupings.items()))
    kept, probabilities = found.kept, found.probabilities
    return {
        "accuracy": figures.accuracy_null_figure(kept),
        "fidelity": figures.fidelity_null_figure(kept),
        **(
            {"beside-floor": figures.floor_difference_figure(found.beside_floor)}
            if len(found.beside_floor)
            else {}
        ),
        "churn": figures.churn_figure(kept),
        "faithfulness": figures.faithfulness_null_figure(kept),
        "kappa": figures.kappa_figure(kept),
        "flips": figures.flips_figure(kept),
        "exemplars": figures.exemplar_figure(found.exemplars),
        "consistency": figures.consistency_figure(found.counts, found.level),
        "groups": figures.group_figure(found.groups(column), found.level, words),
        "kl": figures.probability_figure(probabilities, "kl"),
        "ece": figures.probability_figure(probabilities, "ece"),
        "reliability": figures.reliability_figure(found.reliability, found.level),
        "block": figures.block_figure(found.readings[0].matrix, found.sparsity, MODELS[0]),
        "map": figures.map_figure(matrices, found.sparsity),
    }


def every_table(found: Answers) -> dict[str, Exhibit]:
    column, words = next(iter(found.groupings.items()))
    return {
        "kept": tables.kept_table(found.kept),
        "null": tables.null_table(found.kept, found.level),
        "exemplars": tables.exemplar_table(found.exemplars, found.icc),
        "blocks": tables.block_table(found.blocks),
        "probabilities": tables.probability_table(found.probabilities),
        "groups": tables.group_table(found.groups(column), found.level, words),
    }


def every_sentence(found: Answers) -> dict[str, str]:
    column, words = next(iter(found.groupings.items()))
    return {
        "short": findings.short_sentence(found.kept, found.claims, found.level),
        "floor": findings.floor_sentence(found.kept, found.level),
        "null": findings.null_sentence(found.kept, found.level),
        "flips": findings.flips_sentence(found.kept, found.level),
        "exemplars": findings.exemplar_sentence(
            found.exemplars, found.icc, found.claims, found.level
        ),
        "blocks": findings.block_sentence(found.blocks),
        "probabilities": findings.probability_sentence(found.probabilities, found.level),
        "groups": findings.group_sentence(
            found.groups(column), found.level, words, found.alike(column)
        ),
    }


@pytest.mark.parametrize("which", ["four seeds", "one seed", "several findings"])
def test_every_figure_is_drawn_labelled_and_described(which: str) -> None:
    for name, exhibit in every_figure(which).items():
        figure = exhibit.figure
        assert figure is not None and len(exhibit.data), name
        figure.canvas.draw()
        for axes in figure.axes:
            if name != "map":
                assert axes.get_ylabel() or axes.get_yticklabels(), name
        for text in (exhibit.caption, exhibit.alt):
            assert len(text) > 40 and "nan" not in text and "<NA>" not in text, (name, text)


def test_the_null_is_drawn_beside_each_measure() -> None:
    drawn = every_figure("four seeds")
    for name in ("accuracy", "fidelity", "churn", "kappa", "flips", "exemplars", "groups", "kl"):
        legends = drawn[name].figure.legends  # type: ignore[union-attr]
        texts = [text.get_text() for legend in legends for text in legend.get_texts()]
        assert any("label-blind" in text for text in texts), name


def test_tables_are_finished_text(found: Answers) -> None:
    for name, exhibit in every_table(found).items():
        assert exhibit.table is not None and len(exhibit.table), name
        cells = exhibit.table.to_numpy().ravel().tolist()
        for cell in cells:
            assert isinstance(cell, str) and cell, name
            assert cell not in {"nan", "<NA>", "None"} and "nan" not in cell.split(), (name, cell)


def test_sentences_are_whole(found: Answers) -> None:
    for name, sentence in every_sentence(found).items():
        assert sentence.endswith("."), (name, sentence)
        assert "nan" not in sentence.split() and "<NA>" not in sentence, (name, sentence)
        assert " .." not in sentence and "  " not in sentence, (name, sentence)


def test_few_seeds_are_said_and_give_no_p_value() -> None:
    one, two = study(1), study(2)
    assert "With one seed there is no floor" in every_sentence(one)["short"]
    assert "With one seed there is neither" in every_sentence(one)["floor"]
    with pytest.raises(RecordError, match="no distance from a floor"):
        figures.floor_difference_figure(one.beside_floor)
    for few in (one, two):
        assert "too few seeds" in every_sentence(few)["groups"]
        assert "too few seeds for an intraclass" in every_sentence(few)["exemplars"]
        cells = every_table(few)["blocks"].table
        assert cells is not None and cells["p"].str.contains("no test").all()
    assert "not defined (one seed: no floor)" in set(every_table(one)["kept"].table["floor, %"])


def test_a_level_of_one_answer_is_its_own_null_everywhere() -> None:
    kept = study(4).kept
    residual = kept.loc[kept["level"] == 3].filter(like="_residual").astype("Float64")
    assert residual.abs().max().max() < 1e-9
    icc = study(4).icc
    last = icc[icc["level"] == 3]
    assert last["icc"].tolist() == pytest.approx(last["blind"].tolist())
    pie = study(4).exemplars
    assert (pie["pie"] == pie["blind"])[pie["level"] == 3].all()


def test_where_only_the_share_of_answers_is_left_is_found() -> None:
    kept = study(4).kept
    main = kept[(kept["branch"] == "main") & (kept["model"] == "uniter")]
    start = findings.blind_from(main)
    assert start == pytest.approx(1 - 0.8**3, abs=0.01)
    assert findings.blind_from(main[main["level"] < 3]) is None
    one = study(1).kept
    assert findings.blind_from(one[one["branch"] == "main"]) is None


def test_the_dense_level_has_neither_null_nor_divergence() -> None:
    frame = study(4).probabilities
    dense = frame[frame["level"] == 0]
    assert dense[["kl", "ece_null", "kl_null"]].isna().all(axis=None)
    assert dense["ece"].notna().all()
    cells = every_table(study(4))["probabilities"].table
    assert cells is not None
    assert (cells.loc[cells["sparsity, %"] == "0", "KL from dense, nats"] == "is dense").all()
    spearman = cells.loc[cells["sparsity, %"] == "48.8", "Spearman of log-odds"]
    assert spearman.tolist() == ["not defined (logits do not vary)"] * 2


def test_a_planted_weak_group_is_named() -> None:
    predicted = study(4).groups("relation")
    weak = (predicted["group"] == "near") & (predicted["level"] == 2)
    draw = np.random.default_rng(0)
    predicted["fidelity"] = 0.9 + 0.001 * draw.random(len(predicted))
    predicted.loc[weak, "fidelity"] -= 0.2
    sentence = findings.group_sentence(predicted, 2, "relation")
    assert "Fewer answers than the rest of its model are kept on VisualBERT: near" in sentence
    for words in ("two dense seeds", "skill alone", "dense models are right on"):
        assert words in sentence
    predicted["floor"] = 0.5
    again = findings.group_sentence(predicted, 2, "relation", {"near": "category Proximity"})
    assert "near (the same decisions as category Proximity; fidelity" in again
    # That two dense seeds agree no more is a number beside it, and no cause that was tested.
    assert "two dense seeds 50.0\u00a0%" in again and "hard" not in again
    calm = predicted.assign(fidelity=0.9 + 0.01 * draw.random(len(predicted)))
    assert "No relation differs" in findings.group_sentence(calm, 2, "relation")


def test_findings_with_one_answer_are_said_to_say_nothing() -> None:
    groups = study(3, synthetic.FINDINGS).groups("decision")
    assert "says nothing" not in findings.group_sentence(groups, 2, "finding")
    groups.loc[groups["group"] == "seven", ["fidelity", "fidelity_null"]] = 1.0
    sentence = findings.group_sentence(groups, 2, "finding")
    assert "1 of 3 (VisualBERT) and 1 of 3 (UNITER)" in sentence and "says nothing" in sentence


def test_group_intervals_are_simultaneous() -> None:
    gaps = tables.group_gaps(study(4).groups("relation"), 2)
    assert gaps["interval"].str.contains("98.3333").all()


def test_findings_are_the_groups_where_items_have_no_facts() -> None:
    assert study(3, synthetic.FINDINGS).groupings == {"decision": "finding"}
    assert study(4).groupings == {"meta_category": "category", "relation": "relation"}


@pytest.mark.parametrize(
    ("relative", "own", "said", "unsaid"),
    [
        ([0.90, 0.91, 0.92], [-0.01, 0.0, 0.01], "changes more answers", "their own dense"),
        ([0.98, 1.0, 1.02], [0.05, 0.06, 0.07], "keep their own dense", "Pruning changes more"),
        ([0.98, 1.0, 1.02], [-0.01, 0.0, 0.01], "For no model", "Pruning changes"),
    ],
)  # fmt: skip
def test_the_opening_sentence_says_what_the_tests_allow(
    relative: list[float], own: list[float], said: str, unsaid: str
) -> None:
    frame = pd.DataFrame(
        {
            "model": "uniter", "run": [f"uniter-s{i}" for i in range(3)], "level": 1,
            "branch": "main", "stage": "trained", "sparsity": 0.5, "sparsity_all": 0.4,
            "fidelity": 0.95, "floor": 0.95, "relative_fidelity": relative, "own_answers": own,
            "items": 40, "decisions": 40,
        }
    )  # fmt: skip
    none = pd.DataFrame({"model": ["uniter"], "level": 1, "excess": None})
    untested = pd.Series([None], ["uniter"], dtype="Float64")
    claims = frames.claims(frame.assign(study="one"), none, untested, 1)
    sentence = findings.short_sentence(frame, claims, 1)
    assert said in sentence and unsaid not in sentence


def test_blocks_leave_out_levels_that_do_not_beat_the_trivial_rule() -> None:
    """Constant models of one seed, and of all, agree on everything: level 3 is no evidence."""
    found = study(4)
    assert 3 in set(found.readings[0].matrix["level_a"])
    assert [skilled_levels(r) for r in found.readings] == [[0, 1, 2]] * 2
    assert found.blocks["levels"].tolist() == [3, 3] and found.blocks["left_out"].tolist() == [1, 1]
    kept = found.readings[0].matrix
    kept = kept[kept[["level_a", "level_b"]].lt(3).all(axis=1)]
    different = kept[(kept["run_a"] != kept["run_b"]) & (kept["level_a"] != kept["level_b"])]
    assert found.blocks["between"][0] == pytest.approx(different["fidelity"].mean())
    table = tables.block_table(found.blocks).table
    assert table is not None and table["levels"].tolist() == ["3 of 4"] * 2
    assert (found.beside_floor["level"] < 3).all()
    nothing = block_test(kept[:0]).iloc[0]
    assert nothing["flags"] == "no level: nothing to compare" and pd.isna(nothing["p"])


def test_the_sentence_on_blocks_concludes() -> None:
    tests = pd.DataFrame(
        {
            "model": ["visualbert", "lxmert", "uniter"], "within": [0.906, 0.98, None],
            "between": [0.903, 0.98, None], "difference": [0.003, 0.0, None],
            "p_block": [0.001, 0.4, None], "holm_block": [0.002, 0.4, None],
            "flags": ["", "", "2 of at least 3 seeds: no test"],
            "permutations": 99, "seeds": 3, "levels": 5, "left_out": 2,
        }
    ).astype(
        dict.fromkeys(("within", "between", "difference", "p_block", "holm_block"), "Float64")
    )  # fmt: skip
    sentence = findings.block_sentence(tests)
    assert "form a block for VisualBERT, though a faint one: they share 0.30 points" in sentence
    assert "No block is shown for LXMERT." in sentence
    assert "cannot be told (UNITER, 2 of at least 3 seeds: no test)" in sentence
    assert "90.60 against 90.30\u00a0%" in sentence


def test_exemplars_are_concluded_on_by_a_test_and_not_by_a_sign() -> None:
    found = study(4)
    said = [
        findings.exemplar_sentence(found.exemplars, found.icc, claims, 2)
        for claims in (
            found.claims.assign(excess=0.01, holm_exemplars=0.06),
            found.claims.assign(excess=0.01, holm_exemplars=0.04),
            found.claims.assign(excess=-0.01, holm_exemplars=0.04),
        )
    ]
    shown = "For VisualBERT and UNITER pruning changes more than seeds alone do."
    assert [shown in sentence for sentence in said] == [False, True, False]
    assert "shown to change more than seeds alone do. With 2 seeds against 2 of 4" in said[0]
    assert "p = 0.06" in said[0].replace("\u00a0", " ")


def test_claims_of_a_page_are_adjusted_over_its_models() -> None:
    """Three models at p = 0.03 to 0.09, each shown by an interval of its own, show nothing."""
    kept = pd.DataFrame(
        [
            {"study": m, "model": m, "run": f"{m}-s{i}", "level": 1, "branch": "main",
             "own_answers": value + spread * (i - 4.5), "relative_fidelity": 1.0 + 0.001 * i}
            for m, value, spread in (("a", 0.003, 0.001), ("b", 0.004, 0.001), ("c", 0.002, 0.001))
            for i in range(10)
        ]
    )  # fmt: skip
    usual = pd.DataFrame({"model": list("abc"), "level": 1, "excess": 0.0})
    p = pd.Series([0.14, 0.24, 0.12], list("abc"), dtype="Float64")
    found = frames.claims(kept, usual, p, 1)
    values = kept.loc[kept["model"] == "a", "own_answers"]
    assert found["p_own_answers"][0] == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    assert found["holm_exemplars"].tolist() == pytest.approx([0.36, 0.36, 0.36])
    assert (found["holm_own_answers"] >= found["p_own_answers"]).all()
    assert found["holm_own_answers"].min() == pytest.approx(3 * found["p_own_answers"].min())
    counted = count_families([found])
    assert counted["tests"].tolist() == [3, 3, 3] and set(counted["study"]) == {"a and b and c"}


def test_every_measure_is_shown_under_one_name() -> None:
    exhibit = every_table(study(4))["null"]
    assert exhibit.table is not None
    assert not exhibit.table["measure"].isin(["flips, %", "negative flips, %"]).any()
    assert not exhibit.table["measure"].str.startswith("g:").any()
    assert "dense alone (b)" in exhibit.caption


@pytest.mark.parametrize("which", ["four seeds", "several findings"])
def test_no_hyphen_and_no_negative_zero_stands_for_a_number(which: str) -> None:
    found = study(*STUDIES[which])
    cells = [
        cell
        for name, exhibit in every_table(found).items()
        if exhibit.table is not None and name != "groups"
        for cell in exhibit.table.to_numpy().ravel()
    ]
    for text in [*cells, *every_sentence(found).values()]:
        assert proper(str(text)) == text
    assert all(" %" not in sentence for sentence in every_sentence(found).values())


def test_the_distance_from_the_floor_is_that_of_each_series() -> None:
    frame = study(4).beside_floor
    data = figures.floor_difference_figure(frame).data
    for series, column in {"main": "fidelity", "other_ticket": "other_ticket"}.items():
        expected = (frame[column] - frame["floor"]).groupby([frame["model"], frame["level"]]).mean()
        own = data[data["series"] == series].set_index(["model", "level"])["mean"]
        assert own.astype(float).to_dict() == pytest.approx(expected.astype(float).to_dict())
    low = figures.floor_difference_figure(frame.assign(fidelity=frame["floor"] - 0.2))
    assert "VisualBERT at 36.0 %, −20.0" in low.caption
