"""Each check of the audit: known answers, planted faults, and honest tables it must not accuse."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from audited_tables import Cut, cut, honest, rounded
from lthlib.errors import RecordError
from lthlib.report.audit import (
    batch_averages,
    batch_sizes,
    consistent_runs,
    constant_answers,
    feasibility,
    granularity,
    kappa_table,
    kind_of_test,
    label_blind,
    label_blind_sign,
    odd_pair,
    pearson_range,
    read,
    reconstruct,
    whose_accuracy,
)
from lthlib.report.audit.granularity import mean_of_counts
from lthlib.report.audit.identities import kappa_limits

LABELS = {"False": 477, "True": 535}


# -- printed numbers ------------------------------------------------------------------------------
@given(st.floats(0, 1), st.integers(0, 8))
def test_a_number_lies_in_the_range_of_its_print(value: float, digits: int) -> None:
    for how in (rounded, cut):
        span = read(how(np.array([value]), digits)).range()
        assert span.low[0] - 1e-12 <= value <= span.high[0] + 1e-12


def test_what_is_read() -> None:
    numbers = read([" 0. 52", "52%", "−0.5", "1e-3", 0.25, 1.0, None, "n/a", np.float64(0.5)])
    assert numbers.value[~np.isnan(numbers.value)].tolist() == [
        0.52,
        0.52,
        -0.5,
        0.001,
        0.25,
        1.0,
        0.5,
    ]
    assert numbers.decimals.tolist() == [2, 2, 1, 3, 2, 0, 0, 0, 1]
    assert read(["96.86"], percent=True).decimals.tolist() == [4]
    assert read(["0.12345678901"]).decimals.tolist() == [9]


@pytest.mark.parametrize("text", ["abc", "0.5 (0.1)", "inf", "1" * 30])
def test_what_is_no_number_is_named(text: str) -> None:
    with pytest.raises(RecordError, match=r"accuracy: .* is no"):
        read([text], what="accuracy")


# -- granularity ----------------------------------------------------------------------------------
@pytest.mark.parametrize("how", [rounded, cut])
def test_no_honest_mean_fails_granularity(how: Cut) -> None:
    draw = np.random.default_rng(1)
    items, runs = draw.integers(1, 2000, 20_000), draw.integers(1, 31, 20_000)
    counts = draw.binomial(items * runs, draw.random(20_000))
    for digits in (2, 4, 6, 9):
        printed = read(how(counts / (items * runs), digits))
        assert mean_of_counts(printed, items, runs).all()


def test_granularity_agrees_with_brute_force() -> None:
    for text in ("0.47134", "0.471", "0.5", "0", "1.0"):
        printed = read([text])
        span = printed.range()
        for decisions in (7, 90, 1012):
            shares = np.arange(decisions + 1) / decisions
            fits = (shares >= span.low[0] - 1e-12) & (shares <= span.high[0] + 1e-12)
            assert mean_of_counts(printed, decisions, 1)[0] == fits.any(), (text, decisions)


def test_granularity_finds_the_number_of_runs() -> None:
    draw = np.random.default_rng(2)
    means = draw.binomial(1012, 0.55, (13, 7)).mean(axis=1) / 1012
    assert consistent_runs(rounded(means, 5), 1012) == [7, 14, 21, 28]
    table = granularity(rounded(means, 5), 1012).set_index("runs")
    # One value of an honest table changed by one in the last digit is seen at the true number.
    off = [*rounded(means, 5)[:-1], f"{means[-1] + 3e-5:.5f}"]
    assert granularity(off, 1012).set_index("runs").loc[7, "consistent"] == 12
    assert table.loc[1, "by_chance"] == pytest.approx(13 * 1.5e-5 * 1012)


# -- p-values -------------------------------------------------------------------------------------
def table_of_p(
    samples: np.ndarray, *, test: str = "student", digits: int = 5
) -> tuple[dict[object, object], pd.DataFrame]:
    """Means and pairwise p-values of conditions x runs, as printed."""
    rows = []
    for i, j in combinations(range(len(samples)), 2):
        if test == "paired":
            p = stats.ttest_rel(samples[i], samples[j]).pvalue
        else:
            p = stats.ttest_ind(samples[i], samples[j], equal_var=test == "student").pvalue
        rows.append((i, j, f"{p:.{digits}g}"))
    means = {i: f"{row.mean():.6f}" for i, row in enumerate(samples)}
    return means, pd.DataFrame(rows, columns=["first", "second", "p"])


def drawn(runs: int, seed: int, conditions: int = 6) -> np.ndarray:
    draw = np.random.default_rng(seed)
    spread = draw.uniform(0.01, 0.05, (conditions, 1))
    return draw.uniform(0.4, 0.6, (conditions, 1)) + spread * draw.standard_normal(
        (conditions, runs)
    )


@pytest.mark.parametrize(("runs", "test"), [(4, "student"), (10, "student"), (7, "welch")])
def test_reconstruction_finds_runs_test_and_deviations(runs: int, test: str) -> None:
    samples = drawn(runs, seed=runs)
    found = reconstruct(*table_of_p(samples, test=test))
    assert (found.runs, found.test) == (runs, test)
    np.testing.assert_allclose(found.sd, samples.std(axis=1, ddof=1), rtol=2e-3)
    assert f"{runs} runs" in found.verdict


def test_the_true_number_of_runs_nearly_always_fits_and_no_other_is_named() -> None:
    wrong = misfit = 0
    for seed in range(60):
        found = reconstruct(*table_of_p(drawn(6, seed)), runs=range(4, 9), tests=["student"])
        at_six = found.by_runs.set_index("runs").loc[6]
        misfit += not at_six["fits"]
        wrong += found.runs not in (6, None)
    assert misfit == 0
    assert wrong == 0


def test_paired_tests_are_not_taken_for_independent_ones() -> None:
    samples = drawn(10, seed=3) + np.random.default_rng(4).normal(0, 0.05, 10)
    found = reconstruct(*table_of_p(samples, test="paired"))
    assert found.runs is None
    assert "no test of independent samples fits" in found.verdict
    assert kind_of_test(*table_of_p(samples, test="paired"))["samples"].startswith(
        "not independent"
    )


def test_a_planted_p_value_is_the_odd_one() -> None:
    means, pairs = table_of_p(drawn(10, seed=5))
    right = float(pairs.loc[7, "p"])
    pairs.loc[7, "p"] = f"{right / 100:.5g}"
    table = odd_pair(means, pairs, runs=10)
    assert table.loc[0, ["first", "second"]].tolist() == pairs.loc[7, ["first", "second"]].tolist()
    assert table.loc[0, "implied"] == pytest.approx(right, rel=0.02)
    assert table.loc[1, "rms"] > 20 * table.loc[0, "rms"]


def test_three_models_determine_deviations_but_no_number_of_runs() -> None:
    samples = drawn(10, seed=6, conditions=3)
    found = reconstruct(*table_of_p(samples))
    assert found.runs is None
    assert found.verdict.startswith("not determined")
    at_ten = reconstruct(*table_of_p(samples), runs=[10], tests=["student"])
    np.testing.assert_allclose(at_ten.sd, samples.std(axis=1, ddof=1), rtol=2e-3)


@pytest.mark.filterwarnings("ignore:Precision loss")
def test_known_deviations_close_a_table_that_is_too_small() -> None:
    samples = drawn(10, seed=7, conditions=3)
    samples[2] = 0.47134
    means, pairs = table_of_p(samples)
    against_first = pairs[pairs["first"] == 0]
    with pytest.raises(RecordError, match="2 usable pairs cannot give 3 deviations"):
        reconstruct(means, against_first)
    found = reconstruct(means, against_first, runs=[10], tests=["student"], known_sd={2: 0.0})
    np.testing.assert_allclose(found.sd, samples.std(axis=1, ddof=1), rtol=2e-3, atol=1e-6)


def test_equal_samples_tell_an_independent_test() -> None:
    samples = drawn(10, seed=8)
    samples[5] = samples[4]
    found = kind_of_test(*table_of_p(samples))
    assert (found["samples"], found["test"]) == ("independent", "Student")
    assert found["why_samples"] == "1 pairs of equal means have p = 1"


@pytest.mark.parametrize("p", ["0", "1.5", "x"])
def test_p_values_that_cannot_be_are_refused(p: str) -> None:
    means, pairs = table_of_p(drawn(5, seed=9))
    with pytest.raises(RecordError, match="p-values"):
        reconstruct(means, pairs.assign(p=p))
    with pytest.raises(RecordError, match="which has no mean"):
        reconstruct({0: "0.5"}, pairs)


# -- identities -----------------------------------------------------------------------------------
@pytest.mark.parametrize("runs", [1, 2, 10])
def test_no_honest_row_is_called_infeasible(runs: int) -> None:
    for how in (rounded, cut):
        table = honest(5000, items=1012, runs=runs, digits=5, seed=runs, how=how)
        assert feasibility(table).dropna()["feasible"].all()


def test_a_shifted_faithful_accuracy_is_infeasible() -> None:
    table = honest(500, items=1012, runs=10, digits=5, seed=3)
    whole = table[table["faithful_accuracy"] != ""].copy()
    shifted = feasibility(whole.assign(faithful_accuracy=_plus(whole, "faithful_accuracy", 0.2)))
    # A row is seen where the deviations leave no room for it; some have room.
    assert (~shifted["feasible"] == (shifted["gap"].abs() > shifted["bound"] * 1.001 + 2e-5)).all()
    one = honest(500, items=1012, runs=1, digits=5, seed=3)
    one = one[one["fidelity"].astype(float) > 0.05]
    assert not feasibility(one.assign(faithful_accuracy=_plus(one, "faithful_accuracy", 0.01)))[
        "feasible"
    ].any()


def _plus(table: pd.DataFrame, name: str, step: float) -> list[str]:
    return [f"{float(v) + step:.5f}" for v in table[name]]


def test_whose_accuracy_on_unfaithful_items_is_told() -> None:
    table = honest(12, items=1012, runs=1, digits=5, seed=4)
    for owner in ("dense", "pruned"):
        named = table.assign(unfaithful_accuracy=table[f"unfaithful_accuracy_{owner}"])
        error = whose_accuracy(named)
        assert error.idxmin() == owner
        assert error.min() < 1e-4 < error.max()


def test_kappa_and_its_ranges_against_brute_force() -> None:
    table = honest(3000, items=60, runs=1, digits=9, seed=5)
    found = kappa_table(table)
    kappa = table["kappa"].astype(float)
    np.testing.assert_allclose(found["kappa"], kappa, atol=1e-6)
    for low, high in (("f_low", "f_high"), ("low", "high")):
        assert (found[low] - 1e-6 <= kappa).all() and (kappa <= found[high] + 1e-6).all()
    assert not found["outside"].any()


def test_bounds_of_one_run_do_not_hold_for_means() -> None:
    # Half the runs agree never (kappa -1), half always with one answer (kappa 0/0, counted as 0).
    mean_f, mean_kappa = read(["0.5"]).range(), -0.5
    assert kappa_limits(mean_f, 1).low[0] > mean_kappa
    limits = kappa_limits(mean_f, 2)
    assert limits.low[0] <= mean_kappa <= limits.high[0]


# -- detectors ------------------------------------------------------------------------------------
def test_constant_answers_of_one_run_and_of_several() -> None:
    values = ["0.47134", "0.52866", "0.47233", "0.4713", "0.5"]
    assert constant_answers(values, LABELS) == [
        "always False",
        "always True",
        "",
        "always False",
        "",
    ]
    assert constant_answers(["0.50000"], LABELS, runs=4) == [
        "2 of 4 runs always True, the others always False"
    ]
    assert constant_answers(
        ["96.86", "3.137", "96.87"], {"no": 10469, "yes": 339}, percent=True
    ) == [
        "always no",
        "always yes",
        "",
    ]
    balanced = constant_answers(["0.50000", "0.50010"], {"a": 50, "b": 50}, runs=3)
    assert balanced == ["always a or always b in each run", ""]
    with pytest.raises(RecordError, match="two labels"):
        constant_answers(["0.5"], {"a": 1, "b": 1, "c": 1})


def test_constant_mixtures_of_drawn_constant_models_are_told() -> None:
    draw = np.random.default_rng(0)
    for _ in range(300):
        true, runs = int(draw.integers(300, 700)), int(draw.integers(1, 11))
        k = int(draw.integers(0, runs + 1))
        share = ((runs - k) * (1000 - true) + k * true) / (1000 * runs)
        if true == 500:
            continue
        (text,) = constant_answers(
            [f"{share:.7f}"], {"False": 1000 - true, "True": true}, runs=runs
        )
        whole = {0: "always False", runs: "always True"}
        assert text == whole.get(k, f"{k} of {runs} runs always True, the others always False")


def test_honest_accuracies_are_seldom_taken_for_constant() -> None:
    draw = np.random.default_rng(1)
    skill = draw.uniform(0.4, 0.9, (20_000, 1))
    means = draw.binomial(1012, skill, (20_000, 10)).mean(axis=1) / 1012
    told = [text != "" for text in constant_answers(rounded(means, 5), LABELS, runs=10)]
    # Eleven mixtures lie among the 10,120 values that a mean may have.
    assert np.mean(told) < 0.003


def test_batch_averages_against_a_plain_loop() -> None:
    draw = np.random.default_rng(2)
    label, given_ = draw.integers(0, 2, 101), draw.integers(0, 2, 101)
    table = batch_averages(label, given_, [7]).set_index("size")
    f1, n = [], []
    for start in range(0, 101, 7):
        y, z = label[start : start + 7], given_[start : start + 7]
        tp = int((y & z).sum())
        f1.append(2 * tp / max(int(y.sum() + z.sum()), 1))
        n.append(len(y))
    assert table.loc[7, "f1"] == pytest.approx(np.average(f1, weights=n))
    assert table.loc[7, "accuracy"] == pytest.approx(table.loc[0, "accuracy"])
    tp = int((label & given_).sum())
    assert table.loc[0, "f1"] == pytest.approx(2 * tp / (label.sum() + given_.sum()))
    with pytest.raises(RecordError, match="as many predictions as labels"):
        batch_averages([0, 1], [1], [2])


def test_the_batch_size_is_found_also_behind_a_transposition() -> None:
    label = np.random.default_rng(3).integers(0, 2, 500)
    scan = batch_averages(label, np.ones(500), range(1, 65))
    f1, recall = (f"{scan.loc[scan['size'] == 4, name].item():.5f}" for name in ("f1", "recall"))
    found = batch_sizes(scan, {"f1": f1, "recall": recall})
    assert found["size"].tolist() == [4]
    assert found["transposed"].tolist() == [""]
    swapped = f1[:4] + f1[5] + f1[4] + f1[6:]
    assert swapped != f1
    found = batch_sizes(scan, {"f1": swapped, "recall": recall})
    assert found[["size", "transposed"]].to_numpy().tolist() == [[4, "f1"]]
    assert batch_sizes(scan, {"f1": "0.12345", "recall": recall}).empty


# -- correlations ---------------------------------------------------------------------------------
def test_the_range_of_a_correlation_holds_the_true_one() -> None:
    draw = np.random.default_rng(4)
    for _ in range(500):
        x, y = draw.random((2, 6))
        p = stats.pearsonr(x, y).pvalue
        found = pearson_range(rounded(x, 4), rounded(y, 4), printed_p=f"{p:.5f}")
        assert found["p_low"] <= p * (1 + 1e-9) and p <= found["p_high"] * (1 + 1e-9)
        assert found["verdict"] == "reproduced"
        exact = stats.pearsonr([float(f"{v:.4f}") for v in x], [float(f"{v:.4f}") for v in y])
        assert (found["r"], found["p"]) == pytest.approx(tuple(exact))


def test_a_wrong_digit_of_a_p_value_is_told_from_a_wrong_p_value() -> None:
    x = ["0.60103", "0.52050", "0.5", "0.52149", "0.47727", "0.5"]
    y = ["0.617958", "0.67641", "0.499891", "0.37225", "0.46094", "0.34694"]
    assert pearson_range(x, y, printed_p="0.30794")["verdict"] == "reproduced"
    assert pearson_range(x, y, printed_p="0.80794")["verdict"] == "one digit off: 0.30794"
    assert pearson_range(x, y, printed_p="0.00001")["verdict"].startswith("not reproduced")
    flat = pearson_range(["0.5"] * 3, ["0.1", "0.2", "0.3"], printed_p="0.5")
    assert flat["verdict"] == "no correlation: a column does not vary" and np.isnan(flat["p"])


def test_label_blind_models_correlate_by_arithmetic() -> None:
    draw = np.random.default_rng(5)
    for _ in range(100):
        pi, p = draw.uniform(0.05, 0.95, 2)
        table = label_blind(draw.random(6), pi, p)
        r = np.corrcoef(table["accuracy"], table["fidelity"])[0, 1]
        assert r == pytest.approx(label_blind_sign(pi, p))
    # Drawn answers that look at nothing have these means.
    label, dense, blind = (draw.random(200_000) < share for share in (0.6, 0.7, 0.2))
    table = label_blind([0.2], 0.6, 0.7).iloc[0]
    assert (blind == label).mean() == pytest.approx(table["accuracy"], abs=0.005)
    assert (blind == dense).mean() == pytest.approx(table["fidelity"], abs=0.005)
