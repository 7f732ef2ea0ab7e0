"""Measures against hand-computed numbers, scikit-learn, brute force, and planted faults."""

from __future__ import annotations

from itertools import product
from time import perf_counter

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from sklearn import metrics

import synthetic
from lthlib.errors import RecordError
from lthlib.report import measures
from lthlib.report.measures import (
    agreement,
    agreements,
    beats_trivial,
    check_identities,
    check_predictions,
    describe,
    fidelity_matrix,
    identity_errors,
    kappa_bounds,
    kappa_range,
    quality,
    quality_by_decision,
    require_identities,
    seed_floor,
    square,
    trivial,
)

# (label, dense, pruned) of each decision
Triples = list[tuple[int, int, int]]


def triples(classes: int, least: int = 1, most: int = 40) -> st.SearchStrategy[Triples]:
    answer = st.integers(0, classes - 1)
    return st.lists(st.tuples(answer, answer, answer), min_size=least, max_size=most)


def pair(rows: Triples) -> pd.DataFrame:
    return synthetic.pair(*zip(*rows, strict=True))


# -- quality --------------------------------------------------------------------------------------
def test_quality_by_hand() -> None:
    """tp 3, fp 1, tn 4, fn 2."""
    label = [1, 1, 1, 1, 1, 0, 0, 0, 0, 0]
    answer = [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    row = quality(synthetic.one_record(label, answer)).iloc[0]
    assert row[["tp", "fp", "tn", "fn"]].tolist() == [3, 1, 4, 2]
    assert row["accuracy"] == pytest.approx(7 / 10)
    assert row["precision"] == pytest.approx(3 / 4)
    assert row["recall"] == pytest.approx(3 / 5)
    assert row["specificity"] == pytest.approx(4 / 5)
    assert row["f1"] == pytest.approx(6 / 9)
    assert row["balanced_accuracy"] == pytest.approx(0.7)
    assert row["informedness"] == pytest.approx(0.4)
    assert row["mcc"] == pytest.approx((3 * 4 - 1 * 2) / np.sqrt(4 * 5 * 5 * 6))
    assert row["positive_share"] == pytest.approx(0.4)
    assert row["label_positive_share"] == pytest.approx(0.5)
    assert row[["items", "decisions"]].tolist() == [10, 10]
    assert row["trivial_accuracy"] == pytest.approx(0.5)
    assert row["flags"] == ""


@given(triples(2, least=2))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_quality_is_scikit_learns(rows: Triples) -> None:
    label, _, answer = (list(part) for part in zip(*rows, strict=True))
    row = quality(synthetic.one_record(label, answer)).iloc[0]
    assert [[row.tn, row.fp], [row.fn, row.tp]] == metrics.confusion_matrix(
        label, answer, labels=[0, 1]
    ).tolist()
    undefined = {"precision": sum(answer) == 0, "recall": sum(label) == 0}
    undefined["f1"] = undefined["precision"] and undefined["recall"]
    for name in ("precision", "recall", "f1"):
        theirs = getattr(metrics, f"{name}_score")(label, answer, zero_division=0)
        assert pd.isna(row[name]) == undefined[name]
        if not undefined[name]:
            assert row[name] == pytest.approx(theirs)
            assert row[f"macro_{name}"] == pytest.approx(theirs)
    assert row["mcc"] == pytest.approx(metrics.matthews_corrcoef(label, answer))
    if len(set(label)) == 2:
        balanced = metrics.balanced_accuracy_score(label, answer)
        assert row["balanced_accuracy"] == pytest.approx(balanced)


def test_macro_means_over_findings_are_scikit_learns() -> None:
    predicted = synthetic.predictions(decisions=synthetic.FINDINGS, items=60)
    table = quality(predicted).set_index(["level"])
    for level, part in predicted.groupby("level"):
        label, answer = (
            part[name].to_numpy().reshape(-1, len(synthetic.FINDINGS))
            for name in ("label", "prediction")
        )
        macro = metrics.f1_score(label, answer, average="macro")
        assert table.loc[level, "macro_f1"] == pytest.approx(macro)
        pooled = metrics.f1_score(label, answer, average="micro")
        assert table.loc[level, "f1"] == pytest.approx(pooled)
    assert (table["items"] == 60).all()
    assert (table["decisions"] == 180).all()


def test_macro_means_say_when_a_finding_is_left_out() -> None:
    # The second finding is never there and never said: it has neither precision nor recall.
    label, answer = [1, 0, 0, 0, 1, 0], [1, 0, 1, 0, 0, 0]
    row = quality(synthetic.one_record(label, answer, decisions=("one", "two"))).iloc[0]
    assert row["macro_f1"] == pytest.approx(row["f1"]) == pytest.approx(0.5)
    assert "leave out findings" in row["flags"]


def test_quality_by_decision_is_quality_of_each_finding() -> None:
    predicted = synthetic.predictions(decisions=synthetic.FINDINGS)
    table = quality_by_decision(predicted)
    for finding in synthetic.FINDINGS:
        mine = table[table["decision"] == finding].reset_index(drop=True)
        alone = quality(predicted[predicted["decision"] == finding])
        for name in ("accuracy", "precision", "recall", "f1", "mcc", "tp", "fn"):
            assert mine[name].tolist() == alone[name].tolist()


def test_constant_true_on_the_published_labels() -> None:
    """535 True and 477 False: F1 over all items is .6917; batch means would give .6879 or .6583."""
    row = quality(synthetic.one_record([1] * 535 + [0] * 477, [1] * 1012)).iloc[0]
    assert round(row["accuracy"], 6) == 0.528656
    assert round(row["f1"], 4) == 0.6917
    assert row["informedness"] == 0
    assert row["mcc"] == 0
    assert row["flags"] == "constant prediction: True"


def test_order_of_rows_changes_nothing() -> None:
    predicted = synthetic.predictions(decisions=synthetic.FINDINGS, branches=("random-mask",))
    shuffled = predicted.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(quality(predicted), quality(shuffled))
    pd.testing.assert_frame_equal(agreements(predicted), agreements(shuffled))


@pytest.mark.parametrize(
    ("label", "answer", "undefined", "flag"),
    [
        ([1, 0, 1], [0, 0, 0], {"precision"}, "constant prediction: False"),
        ([1, 0, 1], [1, 1, 1], set(), "constant prediction: True"),
        ([0, 0, 0], [0, 1, 0], {"recall", "balanced_accuracy", "informedness"}, "no positive"),
        ([1, 1, 1], [0, 1, 0], {"specificity", "balanced_accuracy", "informedness"}, "no negative"),
        ([0, 0], [0, 0], {"precision", "recall", "f1", "balanced_accuracy"}, "no positive labels"),
    ],
)
def test_degenerate_quality_is_flagged(
    label: list[int], answer: list[int], undefined: set[str], flag: str
) -> None:
    row = quality(synthetic.one_record(label, answer)).iloc[0]
    for name in ("accuracy", "precision", "recall", "f1", "specificity", "mcc", "positive_share"):
        assert pd.isna(row[name]) == (name in undefined), name
    assert all(pd.isna(row[name]) for name in undefined)
    assert flag in row["flags"]


def test_quality_of_several_classes_is_that_of_another_library() -> None:
    draw = np.random.default_rng(0)
    label = draw.integers(5, size=300)
    answer = np.where(draw.random(300) < 0.6, label, draw.integers(4, size=300))
    row = quality(synthetic.one_record(label.tolist(), answer.tolist())).iloc[0]
    assert row["accuracy"] == pytest.approx(metrics.accuracy_score(label, answer))
    assert row["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(label, answer))
    assert row["macro_recall"] == row["balanced_accuracy"]
    assert row["mcc"] == pytest.approx(metrics.matthews_corrcoef(label, answer))
    assert row["macro_f1"] == pytest.approx(metrics.f1_score(label, answer, average="macro"))
    said = metrics.precision_score(label, answer, average=None, zero_division=np.nan)
    assert row["macro_precision"] == pytest.approx(np.nanmean(said))
    assert pd.isna(row["precision"]) and pd.isna(row["tp"]) and row["flags"] == ""


def test_a_constant_answer_among_several_classes_is_flagged() -> None:
    row = quality(synthetic.one_record([0, 1, 2, 2], [2, 2, 2, 2])).iloc[0]
    assert row["flags"] == "constant prediction: class 2" and row["mcc"] == 0
    assert row["trivial_rule"] == "always class 2" and row["trivial_accuracy"] == 0.5
    assert set(quality(synthetic.one_record([0, 1, 1], [0, 1, 0])).columns) == set(row.index)


def test_quality_refuses_two_classes_beside_several() -> None:
    several = synthetic.one_record([0, 1, 2], [0, 1, 2], run="r")
    two = synthetic.one_record([0, 1, 1], [0, 1, 1], run="s")
    with pytest.raises(RecordError, match=r"run r has more classes than False and True"):
        quality(pd.concat([several, two]))


# -- agreement ------------------------------------------------------------------------------------
def test_agreement_by_hand_with_three_classes() -> None:
    """a 4, b 3, c 2, e 1, g 2."""
    row = agreements(synthetic.from_cells(4, 3, 2, 1, 2)).iloc[0]
    assert [row[f"n_{cell}"] for cell in "abceg"] == [4, 3, 2, 1, 2]
    assert row["accuracy_dense"] == pytest.approx(7 / 12)
    assert row["accuracy_pruned"] == pytest.approx(6 / 12)
    assert row["fidelity"] == row["invariability"] == pytest.approx(5 / 12)
    assert row["faithful_accuracy"] == pytest.approx(4 / 5)
    assert row["unfaithful_accuracy_dense"] == pytest.approx(3 / 7)
    assert row["unfaithful_accuracy_pruned"] == pytest.approx(2 / 7)
    assert row["confidence"] == pytest.approx((4 / 5) / (1 / 2))
    assert row["churn"] == pytest.approx(7 / 12)
    assert row["unnecessary_churn"] == pytest.approx(6 / 12)
    assert row["negative_flips"] == pytest.approx(3 / 12)
    assert row["positive_flips"] == pytest.approx(2 / 12)
    assert row["flips"] == pytest.approx(5 / 12)
    assert pd.isna(row["kappa_low"])
    assert pd.isna(row["positive_share_dense"])


@given(triples(3, least=2))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_kappa_and_mcc_are_scikit_learns(rows: Triples) -> None:
    _, dense, pruned = zip(*rows, strict=True)
    row = agreements(pair(rows)).iloc[0] if max(r[0] for r in rows) > 1 else None
    if row is None:
        return
    assert row["mcc"] == pytest.approx(metrics.matthews_corrcoef(dense, pruned))
    if len({*dense, *pruned}) > 1:
        assert row["kappa"] == pytest.approx(metrics.cohen_kappa_score(dense, pruned))
    else:
        assert row["kappa"] == 0
        assert "degenerate" in row["flags"]


@given(triples(2))
@settings(derandomize=True, deadline=None, max_examples=100)
def test_identities_hold_for_any_answers_with_two_classes(rows: Triples) -> None:
    predicted = pair(rows)
    check_identities(predicted)
    row = agreements(predicted).iloc[0]
    assert row["g"] == 0
    if row["fidelity"] < 1:
        assert row["unfaithful_accuracy_dense"] + row["unfaithful_accuracy_pruned"] == (
            pytest.approx(1)
        )
    assert row["kappa_low"] - 1e-12 <= row["kappa"] <= row["kappa_high"] + 1e-12
    low, high = kappa_range(row["positive_share_dense"], row["positive_share_pruned"])
    assert low - 1e-12 <= row["kappa"] <= high + 1e-12


@given(triples(4))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_identities_hold_for_any_answers_with_four_classes(rows: Triples) -> None:
    if max(label for label, _, _ in rows) > 1:
        check_identities(pair(rows))


@given(*(st.integers(0, 30) for _ in range(5)))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_identities_hold_for_any_five_cells(a: int, b: int, c: int, e: int, g: int) -> None:
    if a + b + c + e + g:
        predicted = synthetic.from_cells(a, b, c, e, g)
        check_identities(predicted)
        assert [agreements(predicted).iloc[0][f"n_{x}"] for x in "abceg"] == [a, b, c, e, g]


def test_identities_hold_on_rare_disagreement() -> None:
    """Ratios of a few in many decisions must not trip the 1e-12."""
    check_identities(synthetic.from_cells(99_990, 3, 4, 3))
    check_identities(synthetic.from_cells(3, 49_990, 50_004, 3))


@pytest.mark.parametrize("name", measures._IDENTITY_INPUT)
def test_a_wrong_measure_is_caught(name: str) -> None:
    table = agreements(synthetic.predictions(items=200))
    require_identities(table)
    table.loc[1, name] += 1e-9 if not name.startswith("positive_share") else 0.9
    with pytest.raises(RecordError, match=r"run uniter-digits-s0, level 2, main.*identity [0-5] "):
        require_identities(table)


def test_the_earlier_reading_of_unfaithful_accuracy_is_caught() -> None:
    """Putting the pruned model's number in the place of the dense one's breaks identity 2."""
    table = agreements(synthetic.from_cells(50, 20, 10, 20))
    table["unfaithful_accuracy_dense"] = table["unfaithful_accuracy_pruned"]
    errors = identity_errors(table).iloc[0]
    assert errors["2 (A_d = F A_f + (1-F) U_d)"] == pytest.approx(0.1)
    assert errors["1 ((1-F)(U_d + U_m) = 1 - F - g)"] == pytest.approx(0.1)


def test_agreement_of_two_frames_is_symmetric_where_it_should_be() -> None:
    one = synthetic.predictions(levels=1)
    dense, pruned = one[one["level"] == 0], one[one["level"] == 1]
    forth, back = agreement(dense, pruned), agreement(pruned, dense)
    for name in ("fidelity", "kappa", "mcc", "a", "e", "faithful_accuracy"):
        assert forth[name] == pytest.approx(back[name])
    assert (forth["b"], forth["accuracy_dense"]) == (back["c"], back["accuracy_pruned"])
    assert forth["fidelity"] == agreements(one).iloc[0]["fidelity"]


def test_constant_false_pruned_model() -> None:
    """F is the share of False in dense, A_f its NPV, U_d its PPV, kappa 0: nothing of pruning."""
    draw = np.random.default_rng(1)
    label = draw.integers(2, size=500)
    dense = np.where(draw.random(500) < 0.7, label, 1 - label)
    row = agreements(synthetic.pair(label, dense, np.zeros(500, dtype=int))).iloc[0]
    assert row["fidelity"] == pytest.approx((dense == 0).mean())
    assert row["faithful_accuracy"] == pytest.approx((label[dense == 0] == 0).mean())
    assert row["unfaithful_accuracy_dense"] == pytest.approx((label[dense == 1] == 1).mean())
    assert row["kappa"] == row["mcc"] == 0
    assert row["flags"] == "pruned model is constant"
    assert row["trivial_fidelity"] == pytest.approx(max((dense == 0).mean(), (dense == 1).mean()))


@pytest.mark.parametrize(
    ("dense", "pruned", "undefined", "flag"),
    [
        ([0, 1, 1], [0, 1, 1], {"unfaithful_accuracy_dense"}, "no unfaithful decision"),
        ([0, 1, 1], [1, 0, 0], {"faithful_accuracy", "confidence"}, "no faithful decision"),
        ([0, 1, 1], [1, 0, 0], {"faithful_accuracy"}, "pruned model is never right"),
        ([0, 0, 0], [0, 0, 0], {"unfaithful_accuracy_pruned"}, "degenerate: kappa is 0/0"),
        ([1, 1, 1], [0, 1, 1], set(), "dense model is constant"),
    ],
)
def test_degenerate_agreement_is_flagged(
    dense: list[int], pruned: list[int], undefined: set[str], flag: str
) -> None:
    row = agreements(synthetic.pair([0, 1, 1], dense, pruned)).iloc[0]
    assert flag in row["flags"]
    assert all(pd.isna(row[name]) for name in undefined)
    check_identities(synthetic.pair([0, 1, 1], dense, pruned))


def test_several_findings_are_pooled_and_compared_one_by_one() -> None:
    predicted = synthetic.predictions(decisions=synthetic.FINDINGS, items=50)
    row = agreements(predicted).iloc[0]
    dense = predicted[predicted["level"] == 0]["prediction"].to_numpy()
    pruned = predicted[predicted["level"] == 1]["prediction"].to_numpy()
    assert row["fidelity"] == pytest.approx((dense == pruned).mean())
    assert row["kappa"] == pytest.approx(metrics.cohen_kappa_score(dense, pruned))
    check_identities(predicted)


def test_runs_with_different_items_stand_side_by_side() -> None:
    both = pd.concat(
        [
            synthetic.predictions(runs=["visualbert-digits-s0"], items=30),
            synthetic.predictions(runs=["x-reports-s0"], items=20, decisions=synthetic.FINDINGS),
        ]
    )
    table = agreements(both).groupby("run")["decisions"].first()
    assert table.to_dict() == {"visualbert-digits-s0": 30, "x-reports-s0": 60}
    check_identities(both)


def test_a_run_without_dense_is_named() -> None:
    predicted = synthetic.predictions()
    with pytest.raises(RecordError, match=r"run uniter-digits-s0 has no dense record"):
        agreements(predicted[predicted["level"] > 0])


def test_dense_alone_has_nothing_to_agree_with() -> None:
    assert agreements(synthetic.predictions(levels=0)).empty


# -- label-blind models and chance ----------------------------------------------------------------
@pytest.mark.parametrize(("true_labels", "dense_true"), [(6, 7), (6, 3), (3, 7), (4, 2)])
def test_label_blind_models_correlate_perfectly(true_labels: int, dense_true: int) -> None:
    """A pruned model that answers True at rate q, whatever the item, has accuracy and fidelity
    both affine in q, so that they correlate at sign((2 pi - 1)(2 p - 1)), which is no finding."""
    label = [1] * 10 * true_labels + [0] * 10 * (10 - true_labels)
    # Within each label, dense says True on the same tenths: independence of all three is exact.
    dense = [int(i % 10 < dense_true) for i in range(100)]
    cells = [(y, d) for y, d in zip(label, dense, strict=True)]
    points = []
    for q in range(1, 10):
        rows = [(y, d, int(k < q)) for y, d in cells for k in range(10)]
        row = agreements(pair(rows)).iloc[0]
        points.append((row["accuracy_pruned"], row["fidelity"]))
        assert row["kappa"] == pytest.approx(0)
    correlation = np.corrcoef(*zip(*points, strict=True))[0, 1]
    assert correlation == pytest.approx(np.sign((true_labels - 5) * (dense_true - 5)))


def test_kappa_bounds_against_all_tables_of_24() -> None:
    n, best = 24, {}
    for both, dense_only in product(range(n + 1), repeat=2):
        for pruned_only in range(n + 1 - both - dense_only if both + dense_only <= n else 0):
            p, q = (both + dense_only) / n, (both + pruned_only) / n
            neither = n - both - dense_only - pruned_only
            f, chance = (both + neither) / n, p * q + (1 - p) * (1 - q)
            kappa = 0.0 if chance == 1 else (f - chance) / (1 - chance)
            low, high = best.get(both + neither, (1.0, -1.0))
            best[both + neither] = min(low, kappa), max(high, kappa)
            allowed = kappa_range(p, q)
            assert allowed[0] - 1e-12 <= kappa <= allowed[1] + 1e-12
    for agreed, (low, high) in best.items():
        bound_low, bound_high = kappa_bounds(np.array([agreed / n]))
        assert bound_low[0] - 1e-12 <= low
        assert high <= bound_high[0] + 1e-12
        if agreed % 2 == 0 and agreed < n:  # reached where the counts can be halved
            assert low == pytest.approx(bound_low[0])
            assert high == pytest.approx(bound_high[0])


def test_kappa_bounds_as_published() -> None:
    low, high = kappa_bounds(np.array([0.46, 0.9]))
    assert low.round(2).tolist() == [-0.37, -0.05]
    assert high.round(2).tolist() == [0.16, 0.80]


# -- trivial rules --------------------------------------------------------------------------------
def test_trivial_rules_of_a_skewed_task() -> None:
    """772 reports x 14 findings with 339 positive labels: all-negative .9686343."""
    label = np.zeros((772, 14), dtype=int)
    label.ravel()[:: 10808 // 339][:339] = 1
    findings = [f"finding {i:02d}" for i in range(14)]
    frame = synthetic.one_record(label.ravel().tolist(), [0] * 10808, decisions=findings)
    assert label.sum() == 339
    table = trivial(frame).set_index("rule")
    assert round(table.loc["always False", "accuracy"], 7) == 0.9686343
    assert round(table.loc["always True", "accuracy"], 7) == 0.0313657
    row = quality(frame).iloc[0]
    assert row["trivial_rule"] == "always False"
    assert row["accuracy"] == row["trivial_accuracy"]
    assert not beats_trivial(frame)["beats"].any()


def test_the_most_frequent_value_of_each_finding_can_beat_a_constant() -> None:
    frame = synthetic.one_record([1, 0, 1, 0, 1, 0, 0, 0], [0] * 8, decisions=("one", "two"))
    best = trivial(frame).iloc[0]
    assert best["rule"] == "most frequent value of each finding"
    assert best["right"] == 7
    assert quality(frame).iloc[0]["trivial_rule"] == best["rule"]
    assert quality(frame).iloc[0]["trivial_accuracy"] == pytest.approx(7 / 8)


@pytest.mark.parametrize(("findings", "classes"), [(1, 2), (3, 2), (1, 4)])
def test_the_most_that_trivial_rules_reach_is_that_of_the_best_of_all(
    findings: int, classes: int
) -> None:
    """Brute force: every way to give each finding one answer, measured like a model's answers."""
    draw = np.random.default_rng(5)
    label = draw.choice(
        classes, (40, findings), p=np.array([0.7, *[0.3 / (classes - 1)] * (classes - 1)])
    )
    label[:classes, 0] = range(classes)
    names = [f"finding {d}" for d in range(findings)]
    found = []
    for rule in product(range(classes), repeat=findings):
        frame = pd.concat(
            synthetic.one_record(label[:, d], np.full(40, rule[d])).assign(decision=names[d])
            for d in range(findings)
        )
        found.append(quality(frame).iloc[0])
    table = pd.DataFrame(found)
    for measure in ("accuracy", "balanced_accuracy", "macro_f1"):
        most = table[measure].astype(float).max()
        assert table[f"trivial_{measure}"].to_list() == pytest.approx([most] * len(table)), measure


def test_trivial_needs_labels() -> None:
    with pytest.raises(RecordError, match="no column 'label'"):
        trivial(pd.DataFrame({"decision": ["label"]}))
    with pytest.raises(RecordError, match="no rows"):
        trivial(pd.DataFrame({"decision": [], "label": []}))


def test_the_gate_is_mcnemars_exact_test_with_one_decision() -> None:
    """Always True is right on 6 of 10; the model wins 4 false ones and loses one true one."""
    label, answer = [1] * 6 + [0] * 4, [1] * 5 + [0] + [0] * 4
    row = beats_trivial(synthetic.one_record(label, answer)).iloc[0]
    assert (row["wins"], row["losses"]) == (4, 1)
    assert row["p"] == pytest.approx((1 + 5) / 32)
    assert not row["beats"]


def test_the_gate_opens_for_skill_and_stays_shut_without() -> None:
    draw = np.random.default_rng(0)
    label = (draw.random(1000) < 0.7).astype(int)
    skilled = np.where(draw.random(1000) < 0.9, label, 1 - label)
    almost_constant = np.where(draw.random(1000) < 0.01, 1 - label, 1)
    gate = beats_trivial(synthetic.pair(label, skilled, almost_constant))
    assert gate["beats"].tolist() == [True, False]
    constant = beats_trivial(synthetic.one_record(label, np.ones(1000, dtype=int)))
    assert constant.iloc[0]["p"] == 1
    assert constant.iloc[0]["flags"] == "answers exactly like the trivial rule"


# -- matrix ---------------------------------------------------------------------------------------
def test_fidelity_matrix_agrees_with_pairwise_agreement() -> None:
    predicted = synthetic.predictions(runs=["a-s0", "a-s1"], levels=2, branches=("random-mask",))
    matrix = fidelity_matrix(predicted)
    wide = square(matrix)
    assert wide.shape == (6, 6)
    assert (np.diag(wide) == 1).all()
    assert np.allclose(wide, wide.T)
    main = predicted[predicted["branch"] == "main"].set_index(["run", "level"])
    for one in main.index.unique():
        for other in main.index.unique():
            expected = agreement(main.loc[[one]], main.loc[[other]])["fidelity"]
            assert wide.loc[one, other] == pytest.approx(expected)
    assert seed_floor(matrix) == pytest.approx(wide.loc[("a-s0", 0), ("a-s1", 0)])
    assert seed_floor(fidelity_matrix(predicted[predicted["run"] == "a-s0"])) is None


def test_fidelity_matrix_refuses_runs_on_other_items() -> None:
    both = [synthetic.predictions(runs=["a"], items=20), synthetic.predictions(runs=["b"], seed=9)]
    with pytest.raises(RecordError, match="different items or labels"):
        fidelity_matrix(pd.concat(both))


# -- bad predictions ------------------------------------------------------------------------------
def broken(fault: str) -> pd.DataFrame:
    frame = synthetic.predictions()
    last = frame.index[-1]
    if fault == "doubled":
        return pd.concat([frame, frame.iloc[[-1]]], ignore_index=True)
    if fault == "missing":
        return frame.drop(index=last)
    if fault == "relabelled":
        frame.loc[last, "label"] = 1 - frame.loc[last, "label"]
    elif fault == "stage":
        frame.loc[last, "stage"] = "trainde"
    elif fault == "branch":
        frame.loc[last, "branch"] = "master"
    elif fault == "class":
        frame.loc[last, "prediction"] = 2
    elif fault == "negative":
        frame.loc[last, "prediction"] = -1
    elif fault == "gap":
        frame.loc[last, "item"] = None
    elif fault == "column":
        return frame.drop(columns="prediction")
    elif fault == "empty":
        return frame.iloc[:0]
    return frame


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("doubled", r"level 3, main, trained: decision 'label' of item 'test-000039' .* twice"),
        ("missing", r"level 3, main, trained: .* item 'test-000039' is missing"),
        ("relabelled", r"level 3, main, trained: .* 'test-000039' has label \d, and \d elsewhere"),
        ("stage", r"unknown stage 'trainde'; did you mean 'trained'"),
        ("branch", r"unknown branch 'master'"),
        ("class", r"level 3, main, trained: .* prediction 2, and its labels are 0 and 1 only"),
        ("negative", r"column 'prediction' must hold class numbers"),
        ("gap", r"column 'item' has a gap"),
        ("column", r"no column 'prediction'"),
        ("empty", r"predictions are empty"),
    ],
)
def test_bad_predictions_are_refused_in_one_line(fault: str, message: str) -> None:
    for measure in (check_predictions, quality, agreements, check_identities, beats_trivial):
        with pytest.raises(RecordError, match=message) as caught:
            measure(broken(fault))
        assert "\n" not in str(caught.value)


# -- describe -------------------------------------------------------------------------------------
def test_describe_puts_sparsity_and_model_beside_each_record() -> None:
    predicted = synthetic.predictions(branches=("random-mask",))
    table = describe(quality(predicted), synthetic.levels(predicted), synthetic.runs(predicted))
    assert len(table) == len(quality(predicted))
    assert set(table["model"]) == {"uniter"}
    level_1 = table[table["level"] == 1]
    assert level_1["sparsity"].tolist() == pytest.approx([0.2, 0.2])
    assert level_1["sparsity_all"].tolist() == pytest.approx([0.16, 0.16])


def test_describe_names_what_is_missing_or_double() -> None:
    predicted = synthetic.predictions()
    levels = synthetic.levels(predicted)
    with pytest.raises(RecordError, match="levels do not describe run uniter-digits-s0, level 3"):
        describe(quality(predicted), levels.iloc[:-1])
    with pytest.raises(RecordError, match=r"levels describe run uniter-digits-s0, level 0.* twice"):
        describe(quality(predicted), pd.concat([levels, levels.iloc[[0]]]))


def test_a_hundred_runs_take_seconds() -> None:
    """100 runs x 10 levels x 1,000 items: a million decisions."""
    predicted = synthetic.predictions(runs=[f"m-s{i}" for i in range(100)], levels=9, items=1000)
    started = perf_counter()
    check_identities(predicted)
    quality(predicted)
    assert perf_counter() - started < 10
