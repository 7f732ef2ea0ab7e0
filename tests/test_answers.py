"""Kept answers: nulls, floors, exemplars and blocks, against hand counts and planted causes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations, product

import numpy as np
import pandas as pd
import pytest

import synthetic
from lthlib.errors import RecordError
from lthlib.report.answers import kept as answers
from lthlib.report.measures import RECORD, agreements, fidelity_matrix, quality, seed_floor, square
from lthlib.report.statistics import t_interval
from synthetic import one_record

RUNS = tuple(f"uniter-digits-s{i}" for i in range(4))


def study(
    labels: np.ndarray, dense: np.ndarray, pruned: list[np.ndarray], run: str = "r-s0"
) -> pd.DataFrame:
    """One run: dense and one level for each array of answers."""
    records = [one_record(labels, dense, run=run)]
    records += [one_record(labels, own, run=run, level=i) for i, own in enumerate(pruned, 1)]
    return pd.concat(records, ignore_index=True)


def shares(true: int, of: int = 1000) -> np.ndarray:
    return (np.arange(of) < true).astype(int)


# -- nulls ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(("p", "sign"), [(693, 1), (465, -1)])
def test_label_blind_accuracy_and_fidelity_correlate_by_plus_or_minus_one(
    p: int, sign: int
) -> None:
    # METHOD's theorem: corr(A_m, F) = sign((2 pi - 1)(2 p - 1)), exactly, along any ladder of q.
    draw = np.random.default_rng(0)
    dense = draw.permutation(shares(p))
    ladder = [draw.permutation(shares(q)) for q in (0, 130, 480, 500, 660, 1000)]
    null = answers.label_blind(study(shares(529), dense, ladder))
    correlation = np.corrcoef(null["accuracy"].astype(float), null["fidelity"].astype(float))
    assert correlation[0, 1] == pytest.approx(sign, abs=1e-12)


def test_a_constant_model_is_its_own_null() -> None:
    draw = np.random.default_rng(1)
    labels, dense = shares(535, 1012), draw.permutation(shares(480, 1012))
    predicted = study(labels, dense, [np.zeros(1012, int)])
    row = answers.label_blind(predicted).iloc[0]
    assert row["fidelity"] == pytest.approx((dense == 0).mean())
    assert row["kappa"] == 0
    assert row["faithful_accuracy"] == pytest.approx((labels[dense == 0] == 0).mean())  # NPV
    assert row["unfaithful_accuracy_dense"] == pytest.approx((labels[dense == 1] == 1).mean())
    beside = answers.beside_null(
        agreements(predicted), answers.label_blind(predicted), ["fidelity", "kappa", "a", "b"]
    )
    residuals = beside.filter(like="_residual").astype(float).to_numpy()
    assert residuals == pytest.approx(0, abs=1e-12)


def test_a_label_blind_model_has_no_residual_and_a_copying_one_has() -> None:
    draw = np.random.default_rng(2)
    labels = draw.integers(2, size=4000)
    dense = np.where(draw.random(4000) < 0.9, labels, 1 - labels)
    blind = (draw.random(4000) < 0.3).astype(int)
    copying = np.where(draw.random(4000) < 0.5, dense, blind)
    predicted = study(labels, dense, [blind, copying])
    names = ["accuracy", "fidelity", "a", "b", "c", "e", "kappa"]
    beside = answers.beside_null(agreements(predicted), answers.label_blind(predicted), names)
    residual = beside[[f"{name}_residual" for name in names]].astype(float)
    error = 0.5 / np.sqrt(4000)
    assert (residual.iloc[0].abs() < 4 * error).all()
    assert (residual.iloc[1][["accuracy_residual", "fidelity_residual"]] > 10 * error).all()


def test_the_null_is_the_mean_over_shuffles_for_several_findings() -> None:
    predicted = synthetic.predictions(items=60, decisions=synthetic.FINDINGS, levels=2)
    # Findings differ in how often they are True, so that pooling matters.
    rare = predicted["decision"] == "seven"
    predicted.loc[rare, "prediction"] = (predicted.loc[rare, "prediction"] * 0).astype("int8")
    null = answers.label_blind(predicted).set_index(RECORD)
    names = ["accuracy_pruned", "fidelity", "a", "b", "c", "e"]
    found = [
        agreements(answers.shuffled(predicted, seed=seed)).set_index(RECORD)[names]
        for seed in range(50)
    ]
    mean = sum(frame.astype(float) for frame in found) / len(found)
    expected = null[["accuracy", *names[1:]]].astype(float)
    assert mean.to_numpy() == pytest.approx(expected.to_numpy(), abs=0.02)
    assert (null["kappa"] > 0.05).all()  # of models that look at nothing


@pytest.mark.parametrize("classes", [2, 3])
def test_expected_measures_of_the_real_table_are_the_measured_ones(classes: int) -> None:
    predicted = synthetic.predictions(
        items=80, decisions=synthetic.FINDINGS[:2], levels=3, classes=classes
    )
    joint, records = answers._joint(predicted)
    again = answers._expected(records, joint).set_index(RECORD)
    measured = agreements(predicted).set_index(RECORD)
    if classes == 2:
        good = quality(predicted).set_index(RECORD)
        measured = measured.join(good[["precision", "recall", "f1", "informedness", "specificity"]])
    else:
        assert again["precision"].isna().all()
    assert again["accuracy"].tolist() == pytest.approx(measured["accuracy_pruned"].tolist())
    for name in set(again.columns) & set(measured.columns):
        assert again[name].isna().tolist() == measured[name].isna().tolist(), name
        known = measured[name].notna()
        assert again[name][known].tolist() == pytest.approx(measured[name][known].tolist()), name


def test_same_skill_keeps_accuracy_and_makes_errors_independent() -> None:
    draw = np.random.default_rng(3)
    labels = draw.integers(2, size=6000)
    dense = np.where(draw.random(6000) < 0.8, labels, 1 - labels)
    apart = np.where(draw.random(6000) < 0.7, labels, 1 - labels)
    predicted = study(labels, dense, [apart, dense])
    null, measured = answers.same_skill(predicted), agreements(predicted)
    assert null["accuracy"].tolist() == pytest.approx(measured["accuracy_pruned"].tolist())
    assert null["fidelity"][0] == pytest.approx(float(measured["fidelity"][0]), abs=0.02)
    assert null["fidelity"][1] == pytest.approx(0.8**2 + 0.2**2, abs=0.02)  # it copies: F = 1


def test_shuffling_keeps_answers_moves_logits_along_and_leaves_dense_alone() -> None:
    predicted = synthetic.predictions(runs=RUNS[:2], decisions=synthetic.FINDINGS, levels=2)
    predicted["logits"] = [[float(i)] for i in range(len(predicted))]
    dealt = answers.shuffled(predicted)
    pd.testing.assert_frame_equal(dealt, answers.shuffled(predicted))
    dense = predicted["level"] == 0
    pd.testing.assert_frame_equal(dealt[dense], predicted[dense])
    keys = [*RECORD, "decision"]
    counts = [frame.groupby(keys)["prediction"].sum() for frame in (predicted, dealt)]
    pd.testing.assert_series_equal(*counts)
    came_from = [int(own[0]) for own in dealt["logits"]]
    assert dealt["prediction"].tolist() == predicted["prediction"].iloc[came_from].tolist()
    assert came_from != list(range(len(predicted)))


def test_a_null_of_other_records_is_refused() -> None:
    predicted = synthetic.predictions(levels=2)
    null = answers.label_blind(predicted)
    with pytest.raises(RecordError, match="null model: run uniter-digits-s0 has no row"):
        answers.beside_null(agreements(predicted), null[null["level"] == 1], ["fidelity"])


# -- floors ---------------------------------------------------------------------------------------
def test_floors_are_means_over_the_other_seeds() -> None:
    labels = np.zeros(4, int)
    given = {"s0": ([0, 0, 0, 0], [0, 0, 0, 1]), "s1": ([0, 0, 1, 1], [1, 0, 1, 1])}
    predicted = pd.concat(
        study(labels, np.array(dense), [np.array(pruned)], run)
        for run, (dense, pruned) in given.items()
    )
    matrix = fidelity_matrix(predicted)
    floors = answers.seed_floors(matrix).set_index("run")
    assert floors["floor"].tolist() == [0.5, 0.5] == [seed_floor(matrix)] * 2
    # Dense of s0 against the ticket of s1 agree on 0.25, dense of s1 and the ticket of s0 on 0.75.
    assert floors["other_ticket"].tolist() == [0.5, 0.5]
    relative = answers.relative_fidelity(agreements(predicted), floors.reset_index())
    assert relative["relative_fidelity"].tolist() == [1.5, 1.5]
    assert relative["own_answers"].tolist() == pytest.approx([0.25, 0.25])


def test_intervals_over_pairs_of_seeds_are_jackknife_intervals() -> None:
    runs = [f"uniter-digits-s{i}" for i in range(5)]
    predicted = synthetic.predictions(runs=runs, levels=1, items=60)
    matrix, measured = fidelity_matrix(predicted), agreements(predicted)
    table = answers.relative_fidelity(measured, answers.seed_floors(matrix))
    square_ = square(matrix)

    def statistics(chosen: list[str]) -> tuple[float, float, float]:
        """Floor, fidelity over floor, own less other, from scratch for some of the seeds."""
        pairs = [(a, b) for a in chosen for b in chosen if a != b]
        floor = np.mean([square_.loc[(a, 0), (b, 0)] for a, b in pairs])
        other = np.mean([square_.loc[(a, 0), (b, 1)] for a, b in pairs])
        own = measured.loc[measured["run"].isin(chosen), "fidelity"].astype(float).mean()
        return floor, own / floor, own - other

    whole = np.array(statistics(runs))
    without = np.array([statistics([r for r in runs if r != left]) for left in runs])
    error = np.sqrt(4 / 5 * ((without - without.mean(axis=0)) ** 2).sum(axis=0))
    found = table.set_index("run")[["floor", "relative_fidelity", "own_answers"]].astype(float)
    assert found.std(ddof=1).to_numpy() / np.sqrt(5) == pytest.approx(error)
    bias_corrected = 5 * whole - 4 * without.mean(axis=0)
    assert found.mean().to_numpy() == pytest.approx(bias_corrected)
    assert bias_corrected[[0, 2]] == pytest.approx(whole[[0, 2]])


def test_the_interval_of_the_floor_covers_as_it_says() -> None:
    # Models that are right with a skill of their own agree as their skills have it; an interval
    # over the plain means of overlapping pairs covers 60 to 85 % instead of 95.
    draw, hits, plain = np.random.default_rng(1), 0, 0
    for _ in range(400):
        skill = draw.normal(0.9, 0.03, 5)
        pair = np.multiply.outer(skill, skill) + np.multiply.outer(1 - skill, 1 - skill)
        means = pd.Series((pair.sum(axis=1) - np.diag(pair)) / 4)
        truth = 0.9**2 + 0.1**2
        for kind, values in (("jackknife", answers.pseudo_values(means)), ("plain", means)):
            low, high, *_ = t_interval(values)
            covered = low is not None and high is not None and low <= truth <= high
            hits += kind == "jackknife" and covered
            plain += kind == "plain" and covered
    assert 0.92 <= hits / 400 <= 0.99
    assert plain / 400 < 0.85


def test_one_seed_and_controls_have_no_floor() -> None:
    one = synthetic.predictions(levels=2)
    floors = answers.seed_floors(fidelity_matrix(one))
    assert floors.empty
    assert answers.relative_fidelity(agreements(one), floors)["relative_fidelity"].isna().all()
    two = synthetic.predictions(runs=RUNS[:2], levels=2, branches=["random-mask"])
    table = answers.relative_fidelity(agreements(two), answers.seed_floors(fidelity_matrix(two)))
    assert table.groupby("branch")["floor"].count().to_dict() == {"main": 4, "random-mask": 0}


# -- the same decisions at several seeds ----------------------------------------------------------
def three_seeds() -> pd.DataFrame:
    """Four decisions; usual dense answers 1 1 0 0, usual pruned ones 1 0 0 1."""
    dense = ([1, 1, 0, 0], [1, 1, 0, 1], [1, 0, 0, 0])
    pruned = ([1, 0, 0, 1], [1, 0, 1, 1], [0, 1, 0, 0])
    return pd.concat(
        study(np.array([1, 1, 0, 0]), np.array(d), [np.array(m)], f"s{i}")
        for i, (d, m) in enumerate(zip(dense, pruned, strict=True))
    )


def test_exemplars_by_hand() -> None:
    table = answers.exemplars(three_seeds())
    assert table["dense"].tolist() == [1, 1, 0, 0]
    assert table["pruned"].tolist() == [1, 0, 0, 1]
    assert table["pie"].tolist() == [False, True, False, True]
    assert not table["tied"].any()
    assert table["unfaithful"].tolist() == pytest.approx([1 / 3, 1, 1 / 3, 1 / 3])
    row = answers.exemplar_shares(three_seeds()).iloc[0]
    assert (row["pie"], row["loss"], row["gain"], row["seeds"]) == (0.5, 0.5, 0.0, 3)
    # Halves hold one seed each: dense 0 against 1 and 2, and 1 against 2, both ways.
    assert row["null"] == pytest.approx((1 / 4 + 1 / 4 + 2 / 4) / 3)


def test_ties_are_said_and_are_no_exemplars() -> None:
    two = three_seeds()
    table = answers.exemplars(two[two["run"] != "s2"])
    assert table["tied"].tolist() == [False, False, True, True]
    assert table["pie"].tolist() == [False, True, False, False]
    assert answers.exemplar_shares(two[two["run"] != "s2"])["tied"][0] == 0.5


def test_without_pruning_halves_have_no_excess() -> None:
    predicted = synthetic.predictions(runs=RUNS, levels=1, items=400)
    dense = predicted[predicted["level"] == 0]
    same = pd.concat([dense, dense.assign(level=1)], ignore_index=True)
    row = answers.exemplar_shares(same).iloc[0]
    assert row["pie"] == 0 and row["excess"] == pytest.approx(0)
    one = answers.exemplar_shares(predicted[predicted["run"] == RUNS[0]]).iloc[0]
    assert one[["halves", "null", "excess"]].isna().all()


def test_the_test_of_exemplars_exchanges_ticket_and_dense_within_seeds() -> None:
    """Brute force: records change their names at some seeds, and everything is counted again."""
    draw = np.random.default_rng(8)
    labels = draw.integers(0, 2, 60)
    usual = labels ^ (draw.random(60) < 0.2)
    runs = []
    for i in range(4):
        dense = usual ^ (draw.random(60) < 0.1)
        runs.append(study(labels, dense, [dense ^ (draw.random(60) < 0.15)], f"s{i}"))

    def excess(swapped: Sequence[int]) -> float:
        parts = [
            run.assign(level=1 - run["level"]) if swap else run
            for run, swap in zip(runs, swapped, strict=True)
        ]
        stages = pd.concat(parts).assign(stage="trained")
        return float(answers.exemplar_shares(stages)["excess"].iloc[0])

    values = np.array([excess(swapped) for swapped in product((0, 1), repeat=4)])
    tails = [(sign * (values - values[0]) >= -1e-9).mean() for sign in (1, -1)]
    found = answers.exemplars_p(pd.concat(runs), 1)
    assert found == pytest.approx(min(1, 2 * min(tails)))
    assert answers.exemplars_p(pd.concat(runs[:2]), 1) is None


@pytest.mark.parametrize(("planted", "least", "most"), [(0.0, 0, 3), (0.2, 14, 16)])
def test_the_test_of_exemplars_keeps_its_level_and_finds_a_planted_change(
    planted: float, least: int, most: int
) -> None:
    draw, labels, found = np.random.default_rng(0), np.zeros(80, int), []
    for _ in range(16):
        dense = draw.random(80) * 0.2
        ticket = np.where(draw.random(80) < planted, 0.9, dense)
        runs = [
            study(labels, draw.binomial(1, dense), [draw.binomial(1, ticket)], f"s{i}")
            for i in range(8)
        ]
        found.append(answers.exemplars_p(pd.concat(runs), 1))
    assert least <= sum(p is not None and p < 0.05 for p in found) <= most


def test_counts_of_unfaithful_seeds_and_those_by_chance() -> None:
    table = answers.unfaithful_counts(three_seeds())
    assert table["decisions"].tolist() == [0, 3, 0, 1]
    rates = [2 / 4, 2 / 4, 2 / 4]  # of the seeds
    every = np.prod(rates)
    assert table["by_chance"].iloc[-1] == pytest.approx(every)
    assert table["by_chance"].sum() == pytest.approx(1)


def test_icc_of_planted_and_of_independent_unfaithfulness() -> None:
    draw = np.random.default_rng(4)
    zeros, hard = np.zeros(500, int), draw.random(500) < 0.2
    runs = {}
    for name, where in {"same": lambda: hard, "own": lambda: draw.random(500) < 0.2}.items():
        runs[name] = pd.concat(
            study(zeros, zeros, [where().astype(int)], f"s{i}") for i in range(4)
        )
    same, own = (answers.unfaithful_icc(frame).iloc[0] for frame in runs.values())
    assert same["icc"] == pytest.approx(1)
    assert own["low"] < 0 < own["high"] and abs(own["icc"]) < 0.06


def test_icc_is_that_of_a_two_way_analysis_of_variance() -> None:
    draw = np.random.default_rng(5)
    x = (draw.random((4, 60)) < draw.random(60)).astype(float)
    k, n = x.shape
    rows, columns = x.mean(axis=0), x.mean(axis=1)
    between = k * ((rows - x.mean()) ** 2).sum() / (n - 1)
    seeds = n * ((columns - x.mean()) ** 2).sum() / (k - 1)
    rest = ((x - rows - columns[:, None] + x.mean()) ** 2).sum() / ((n - 1) * (k - 1))
    expected = (between - rest) / (between + (k - 1) * rest + k * (seeds - rest) / n)
    assert answers._icc(x.astype(bool))[0] == pytest.approx(expected, abs=1e-6)


def test_icc_refuses_what_has_none() -> None:
    two = answers.unfaithful_icc(synthetic.predictions(runs=RUNS[:2], levels=1)).iloc[0]
    assert pd.isna(two["icc"]) and two["flags"] == "2 of at least 3 seeds: no ICC"
    zeros = np.zeros(5, int)
    alike = pd.concat(study(zeros, zeros, [zeros], f"s{i}") for i in range(3))
    assert "alike" in answers.unfaithful_icc(alike)["flags"][0]


def test_seeds_must_share_items_and_levels() -> None:
    predicted = synthetic.predictions(runs=RUNS[:2], levels=2)
    lacking = predicted[~((predicted["run"] == RUNS[1]) & (predicted["level"] == 2))]
    with pytest.raises(RecordError, match=f"level 2, run {RUNS[1]} is missing"):
        answers.exemplars(lacking)
    other = predicted.copy()
    other.loc[other["run"] == RUNS[1], "item"] += "x"
    with pytest.raises(RecordError, match="different items"):
        answers.exemplars(other)
    with pytest.raises(RecordError, match="no dense record"):
        answers.unfaithful_counts(predicted[predicted["level"] > 0])


# -- the matrix -----------------------------------------------------------------------------------
def test_blocks_of_tickets_that_keep_their_own_answers_are_found() -> None:
    found = answers.block_test(fidelity_matrix(synthetic.predictions(runs=RUNS, levels=2)))
    assert found["difference"][0] > 0.05 and found["p"][0] < 0.01
    assert found[["seeds", "levels", "flags"]].iloc[0].tolist() == [4, 3, ""]


def test_no_blocks_where_tickets_have_no_tie_to_their_seed() -> None:
    """Answers independent of the seed's: p must be small no more often than it says."""
    draw = np.random.default_rng(6)
    small = 0
    for seed in range(40):
        labels = draw.integers(2, size=30)
        runs = [
            study(labels, *(own := draw.integers(2, size=(3, 30)))[:1], list(own[1:]), f"s{i}")
            for i in range(4)
        ]
        matrix = fidelity_matrix(pd.concat(runs))
        small += answers.block_test(matrix, permutations=99, seed=seed)["p"][0] <= 0.1
    assert small <= 9


def test_block_test_counts_permutations_as_brute_force_does() -> None:
    predicted = synthetic.predictions(runs=RUNS[:3], levels=1, items=12)
    matrix = fidelity_matrix(predicted)
    square, *_ = answers._by_run_and_level(matrix)
    pairs = square[:, 0, :, 1]
    sums = [sum(pairs[i, j] for i, j in enumerate(order)) for order in permutations(range(3))]
    share = np.mean(np.array(sums) >= np.trace(pairs) - 1e-9)
    row = answers.block_test(matrix, permutations=4000).iloc[0]
    assert row["p"] == pytest.approx(share, abs=0.03)
    assert row["within"] == pytest.approx(np.trace(pairs) / 3)
    off = (pairs.sum() - np.trace(pairs)) / 6
    assert row["between"] == pytest.approx(off)


def test_the_block_test_refuses_in_words() -> None:
    two = answers.block_test(fidelity_matrix(synthetic.predictions(runs=RUNS[:2], levels=1)))
    assert two["p"].isna()[0] and two["flags"][0] == "2 of at least 3 seeds: no test"
    assert two["difference"].notna()[0]
    one = answers.block_test(fidelity_matrix(synthetic.predictions(runs=RUNS, levels=0)))
    assert one["flags"][0] == "one level: nothing to compare" and one["p"].isna()[0]
    zeros = np.zeros(5, int)
    alike = pd.concat(study(zeros, zeros, [zeros], f"s{i}") for i in range(3))
    assert answers.block_test(fidelity_matrix(alike))["flags"][0] == "all answers alike: no test"
    uneven = synthetic.predictions(runs=RUNS[:2], levels=1)
    uneven = uneven[~((uneven["run"] == RUNS[1]) & (uneven["level"] == 1))]
    with pytest.raises(RecordError, match=f"run {RUNS[1]} lacks level 1"):
        answers.block_test(fidelity_matrix(uneven))


def test_the_map_keeps_distances_that_fit_in_a_plane() -> None:
    labels = np.zeros(8, int)
    dense, pruned = np.zeros(8, int), shares(4, 8)
    predicted = study(labels, dense, [pruned, 1 - pruned])
    points = answers.answer_map(fidelity_matrix(predicted))
    assert points["shown"][0] == pytest.approx(1)
    place = points[["x", "y"]].to_numpy()
    apart = ((place[:, None] - place) ** 2).sum(axis=2)
    assert apart == pytest.approx(np.array([[0, 0.5, 0.5], [0.5, 0, 1], [0.5, 1, 0]]))


# -- groups ---------------------------------------------------------------------------------------
def test_groups_by_hand() -> None:
    labels, dense = np.array([1, 1, 0, 0]), np.array([1, 1, 1, 0])
    predicted = study(labels, dense, [np.array([1, 0, 0, 0])])
    items = pd.DataFrame(
        {"item": predicted["item"].unique(), "relation": ["left", "left", "left", "near"]}
    )
    table = answers.by_group(predicted, items, "relation")
    left = table[(table["level"] == 1) & (table["group"] == "left")].iloc[0]
    assert left[["items", "decisions"]].tolist() == [3, 3]
    expected = {"accuracy_dense": 2 / 3, "accuracy": 2 / 3, "fidelity": 1 / 3}
    expected |= {"negative_flips": 1 / 3, "positive_flips": 1 / 3}
    expected |= {"accuracy_null": 5 / 12, "fidelity_null": 1 / 4}  # it says True to a quarter
    for name, value in expected.items():
        assert left[name] == pytest.approx(value), name
    # Two True labels, of which dense has both and the ticket one: one agreement; a False: none.
    assert left["fidelity_skill"] == pytest.approx(1 / 3)
    assert table["floor"].isna().all()
    gap = answers.group_differences(table, "fidelity")
    assert gap["difference"].tolist() == pytest.approx([0, 0, -2 / 3, 2 / 3])


def test_same_skill_and_floor_by_group_add_up_and_are_those_of_the_whole() -> None:
    predicted = synthetic.predictions(runs=RUNS[:3], decisions=synthetic.FINDINGS, levels=2)
    items = pd.DataFrame({"item": predicted["item"].unique(), "relation": "near"})
    one = answers.by_group(predicted, items, "relation").set_index(["run", "level"])
    pruned = one[one.index.get_level_values("level") > 0]
    skill = answers.same_skill(predicted).set_index(["run", "level"])["fidelity"]
    assert pruned["fidelity_skill"].tolist() == pytest.approx(skill[pruned.index].tolist())
    floor = seed_floor(fidelity_matrix(predicted))
    assert one["floor"].groupby("level").mean().tolist() == pytest.approx([floor] * 3)


def test_groups_that_hold_the_same_items_are_known() -> None:
    facts = pd.DataFrame({"relation": ["on", "on", "near", "by"], "category": ["A", "A", "B", "B"]})
    assert answers.groups_alike(facts, "relation", "category") == {"on": "A"}


def test_groups_add_up_to_the_whole() -> None:
    predicted = synthetic.predictions(runs=RUNS[:2], decisions=synthetic.FINDINGS, levels=2)
    table = answers.by_group(predicted, pd.DataFrame(), "decision")
    weighed = table.assign(fidelity=table["fidelity"] * table["decisions"])
    sums = weighed.groupby(["run", "level"])[["fidelity", "decisions"]].sum()
    whole = agreements(predicted).set_index(["run", "level"])["fidelity"]
    assert (sums["fidelity"] / sums["decisions"])[whole.index].tolist() == pytest.approx(
        whole.tolist()
    )
    null = answers.label_blind(predicted).set_index(["run", "level"])["fidelity"]
    weighed = (table["fidelity_null"] * table["decisions"]).groupby(
        [table["run"], table["level"]]
    ).sum() / sums["decisions"]
    assert weighed[null.index].tolist() == pytest.approx(null.tolist())


def test_groups_that_items_do_not_have_are_refused() -> None:
    predicted = synthetic.predictions(levels=1, items=3)
    items = pd.DataFrame({"item": ["test-000000"], "relation": ["left"]})
    with pytest.raises(RecordError, match="items have no column 'category' to group by"):
        answers.by_group(predicted, items, "category")
    with pytest.raises(RecordError, match="item 'test-000001' has no relation"):
        answers.by_group(predicted, items, "relation")


def test_a_single_group_has_no_rest() -> None:
    predicted = synthetic.predictions(levels=1)
    table = answers.by_group(predicted, pd.DataFrame(), "decision")
    assert answers.group_differences(table, "fidelity")["difference"].isna().all()
