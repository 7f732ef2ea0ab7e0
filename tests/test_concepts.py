"""CKA against a naive estimate and its invariances, clusters, and their null."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

import made_readings
import synthetic
from lthlib.errors import RecordError
from lthlib.report.questions import concepts
from lthlib.report.reading import Reading

RANDOM = np.random.default_rng(0)


def naive_hsic(x: np.ndarray, y: np.ndarray) -> float:
    """The U-statistic of HSIC, summed over all ordered fours of different items."""
    k, other = x @ x.T, y @ y.T
    fours = list(permutations(range(len(x)), 4))
    return float(
        np.mean([k[i, j] * (other[i, j] + other[q, r] - 2 * other[i, q]) for i, j, q, r in fours])
    )


def test_cka_is_the_naive_estimate() -> None:
    x, y = RANDOM.normal(size=(7, 3)), RANDOM.normal(size=(7, 2))
    y[:, 0] += x[:, 0]
    naive = naive_hsic(x, y) / np.sqrt(naive_hsic(x, x) * naive_hsic(y, y))
    assert concepts.linear_cka(x, y) == pytest.approx(naive)


def test_cka_does_not_change_with_rotation_scale_and_shift() -> None:
    x, y = RANDOM.normal(size=(40, 5)), RANDOM.normal(size=(40, 4))
    turn = np.linalg.qr(RANDOM.normal(size=(5, 5)))[0]
    assert concepts.linear_cka(x, 3 * x @ turn + 7) == pytest.approx(1)
    assert concepts.linear_cka(x, y) == pytest.approx(concepts.linear_cka(y, 9 * x @ turn - 1))


def test_unrelated_states_have_no_cka_even_with_many_dimensions() -> None:
    found = []
    for seed in range(20):
        random = np.random.default_rng(seed)
        found.append(
            concepts.linear_cka(random.normal(size=(50, 100)), random.normal(size=(50, 100)))
        )
    assert abs(np.mean(found)) < 0.02


def test_states_without_spread_have_no_cka() -> None:
    flat = np.full((10, 3), 0.3)
    assert np.isnan(concepts.linear_cka(flat, RANDOM.normal(size=(10, 3))))
    assert np.isnan(concepts.linear_cka(flat, flat))


def test_cka_refuses_other_items() -> None:
    with pytest.raises(RecordError, match="5 and 6 items"):
        concepts.linear_cka(np.zeros((5, 2)), np.zeros((6, 2)))


def test_clusters_find_planted_groups_and_repeat_themselves() -> None:
    group = np.arange(60) % 3
    states = np.eye(3)[group] * 10 + RANDOM.normal(size=(60, 3)) * 0.1
    found = concepts.clusters(states, 3)
    assert adjusted_rand_score(group, found) == 1
    assert (found == concepts.clusters(states, 3)).all()
    assert set(concepts.clusters(np.ones((8, 2)))) == {0}


def test_shuffles_have_the_adjusted_rand_index_of_scikit_learn() -> None:
    one, other = RANDOM.integers(4, size=50), RANDOM.integers(6, size=50)
    found = concepts.shuffled_rand(one, other, shuffles=5)
    random = np.random.default_rng(concepts.SEED)
    mixed = random.permuted(np.broadcast_to(other, (5, 50)), axis=1)
    assert found == pytest.approx([adjusted_rand_score(one, row) for row in mixed])
    assert abs(concepts.shuffled_rand(one, other, 500).mean()) < 0.01
    assert (concepts.shuffled_rand(np.zeros(9, dtype=int), np.zeros(9, dtype=int)) == 0).all()


def test_an_item_without_a_state_is_refused() -> None:
    row = {"run": "r", "level": 0, "site": "pooled", "state": np.ones(2)}
    lacking = pd.DataFrame(
        [row | {"item": "a"}, row | {"item": "b"}, row | {"level": 1, "item": "a"}]
    )
    with pytest.raises(RecordError, match="run r, level 1: an item has no state at pooled"):
        concepts.States(lacking)


@pytest.fixture(scope="module")
def pair() -> tuple[Reading, concepts.States]:
    """Three seeds; level 1 turns dense's states around, level 2 forgets them."""
    runs = ("r-s0", "r-s1", "r-s2")
    predictions = synthetic.predictions(runs=runs, levels=2, items=60)
    names = sorted(predictions["item"].unique())
    random, rows = np.random.default_rng(1), []
    for run in runs:
        own = random.normal(size=(60, 4)) + 3 * np.eye(4)[np.arange(60) % 4]
        turn = np.linalg.qr(random.normal(size=(4, 4)))[0]
        for level, states in enumerate((own, own @ turn, random.normal(size=(60, 4)))):
            for site in concepts.SITES:
                rows += [
                    {"run": run, "level": level, "branch": "main", "item": item, "site": site,
                     "state": state}
                    for item, state in zip(names, states, strict=True)
                ]  # fmt: skip
    reading = made_readings.reading(predictions, tables={"states": pd.DataFrame(rows)})
    return reading, concepts.States(reading.table("states"))


def test_likeness_tells_a_turn_from_forgetting_and_gives_the_floor(
    pair: tuple[Reading, concepts.States],
) -> None:
    found = concepts.likeness(*pair)
    means = found[found["site"] == "pooled"].groupby("level")[["cka", "rand"]].mean()
    assert means.loc[1, "cka"] == pytest.approx(1)
    assert means.loc[1, "rand"] > 0.9
    assert abs(means.loc[2, "cka"]) < 0.2
    assert 0.2 < found["cka_floor"].mean() < 0.95
    assert found["fidelity"].between(0.4, 1).all()
    assert found["rand_again"].between(0.3, 1).all()
    text = concepts.concepts_sentence(found, 1)
    assert "UNITER: CKA 1.00" in text
    assert "two dense seeds" in text


def test_alignment_is_held_against_shuffles(pair: tuple[Reading, concepts.States]) -> None:
    found = concepts.alignment(*pair)
    assert set(found["fact"]) == set(concepts.FACTS)
    relation = found[(found["fact"] == "relation") & (found["level"] == 0)]
    assert (relation["rand"] > relation["null"]).all()
    constant = found[found["fact"] == "meta_category"]
    assert (constant["null"] == 0).all()
    assert "*" in concepts.alignment_table(found, 1).table["what the head reads, dense"].str.cat()


def test_exhibits_say_their_basis(pair: tuple[Reading, concepts.States]) -> None:
    found = concepts.likeness(*pair)
    for measure in ("cka", "rand"):
        exhibit = concepts.likeness_figure(found, measure)
        assert "3 seeds, 60 test items" in exhibit.caption
    assert len(concepts.likeness_table(found).table) == 2
    said = concepts.fidelity_sentence(found)
    assert "CKA of what the head reads and fidelity on the same items" in said
    assert "not adjusted" in said
