"""Latent concepts of dense and pruned models: do their hidden states group items alike?

The hidden states of the first test items are clustered in each model, at three sites: what the head
reads (pooled), and the means over the states of words and of regions. Two models are compared by
linear CKA, which asks how alike their states are, and by the adjusted Rand index of their clusters,
which asks how alike they group items. Clusters are also held against what items are about. Beside
every number stands what two dense models of different seeds reach.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import combinations
from typing import Any, cast

import numpy as np
import pandas as pd
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from lthlib.errors import RecordError
from lthlib.report.draw import BLUE, GREEN, VERMILLION, Look, ladder, spoken
from lthlib.report.exhibits import (
    MEASURES,
    Exhibit,
    model_name,
    seeds_and_items,
    sparsity_text,
    summary_text,
)
from lthlib.report.measures import Floats, Ints, at_stage
from lthlib.report.questions.weights import within
from lthlib.report.reading import Reading
from lthlib.report.statistics import DENSE_LEVEL, jackknife_interval, pair_values
from lthlib.report.tidy import in_order, over_seeds
from lthlib.report.words import proper

CLUSTERS = 10
SEED = 0
SHUFFLES = 200
SITES = {
    "pooled": Look("what the head reads", BLUE, "o"),
    "words": Look("words", VERMILLION, "s", "--"),
    "regions": Look("regions", GREEN, "^", "-."),
}
FACTS = {
    "label": "the label",
    "answer": "the model's own answer",
    "relation": "its relation",
    "meta_category": "the kind of its relation",
    "subject": "its subject (a digit)",
    "object": "its object (a digit)",
}


# -- two sets of states ---------------------------------------------------------------------------
def linear_cka(x: Floats, y: Floats) -> float:
    """Debiased linear CKA of two representations of the same items.

    HSIC(x, y) / sqrt(HSIC(x, x) HSIC(y, y)) with linear kernels K = x x', L = y y' (Kornblith et
    al. 2019) and the unbiased estimate of HSIC (Song et al. 2012, eq. 5): with zeros on the
    diagonals of K and L,
        HSIC = [tr(K L) + 1'K1 1'L1 / ((n-1)(n-2)) - 2 / (n-2) 1'K L 1] / (n (n-3)).
    1 for states that differ by rotation, scale and shift; 0 on average for unrelated ones, where
    the biased estimate grows towards 1 as states have more dimensions than there are items.

    x: [n, d], y: [n, e]; n >= 4. NaN where a representation has no spread between items.
    Raises RecordError for other shapes.
    """
    if len(x) != len(y) or len(x) < 4:
        raise RecordError(f"CKA of {len(x)} and {len(y)} items: needs the same items, 4 at least")
    k, other = _gram(x), _gram(y)
    own = _hsic(k, k) * _hsic(other, other)
    return _hsic(k, other) / float(np.sqrt(own)) if own > 0 else float("nan")


def _gram(states: Floats) -> Floats:
    """[n, n], products of centred states, 0 on the diagonal, scaled to a mean square of 1."""
    centred = states - states.mean(axis=0)
    gram = centred @ centred.T
    if np.abs(gram).max() <= 1e-12 * max(1.0, float(np.abs(states).max()) ** 2):
        return np.zeros_like(gram)
    np.fill_diagonal(gram, 0.0)
    return np.asarray(gram / np.sqrt((gram**2).mean()))


def _hsic(k: Floats, other: Floats) -> float:
    n = len(k)
    rows, columns = k.sum(axis=0), other.sum(axis=0)
    value = (k * other).sum() + rows.sum() * columns.sum() / ((n - 1) * (n - 2))
    return float((value - 2 / (n - 2) * (rows @ columns)) / (n * (n - 3)))


def clusters(states: Floats, count: int = CLUSTERS, seed: int = SEED) -> Ints:
    """[n], the cluster of each item: k-means with a fixed seed, best of ten starts.

    Fewer clusters where there are fewer different states; all 0 where there is one.
    """
    different = len(np.unique(states.round(6), axis=0))
    fitted = KMeans(min(count, different), n_init=10, random_state=seed).fit(states)
    return np.asarray(fitted.labels_, dtype=np.int64)


def shuffled_rand(one: Ints, other: Ints, shuffles: int = SHUFFLES) -> Floats:
    """[shuffles], adjusted Rand index of two groupings after the items of one are shuffled.

    ARI = (S - E) / (M - E): S pairs of items that both groupings put together, E = A B / C(n, 2),
    M = (A + B) / 2, with A and B the pairs of each alone (Hubert and Arabie 1985). Only S changes.
    """
    n, wide = len(one), int(other.max()) + 1
    random = np.random.default_rng(SEED)
    mixed = random.permuted(np.broadcast_to(other, (shuffles, n)), axis=1)
    size = (int(one.max()) + 1) * wide
    cell = np.arange(shuffles)[:, None] * size + one * wide + mixed
    together = _pairs(np.bincount(cell.ravel(), minlength=shuffles * size).reshape(shuffles, size))
    a, b = (float(_pairs(np.bincount(group))) for group in (one, other))
    expected, most = a * b / (n * (n - 1) / 2), (a + b) / 2
    if most == expected:
        return np.zeros(shuffles)
    return np.asarray((together - expected) / (most - expected))


def _pairs(counts: Ints) -> Floats:
    return np.asarray((counts * (counts - 1) // 2).sum(axis=-1), dtype=np.float64)


# -- a study --------------------------------------------------------------------------------------
class States:
    """The hidden states of a study, by run, level and site, with clusters made when asked for.

    items: their names, in the order of every array.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        self.items = sorted(table["item"].unique())
        self.held: dict[tuple[str, int, str], Floats] = {}
        for key, part in table.groupby(["run", "level", "site"], sort=True):
            run, level, site = cast(tuple[str, int, str], key)
            ordered = part.set_index("item")["state"].reindex(self.items)
            if ordered.isna().any():
                raise RecordError(f"run {run}, level {level}: an item has no state at {site}")
            self.held[run, level, site] = np.stack(ordered.to_list()).astype(np.float64)
        self.clusters = cache(lambda *key: clusters(self.held[key]))
        self.again = cache(lambda *key: clusters(self.held[key], seed=SEED + 1))

    @property
    def runs(self) -> list[str]:
        return sorted({run for run, _, _ in self.held})

    @property
    def levels(self) -> list[int]:
        return sorted({level for _, level, _ in self.held})

    def alike(self, one: tuple[str, int], other: tuple[str, int], site: str) -> tuple[float, float]:
        """Linear CKA and adjusted Rand index of two models at a site."""
        a, b = (*one, site), (*other, site)
        same = adjusted_rand_score(self.clusters(*a), self.clusters(*b))
        return linear_cka(self.held[a], self.held[b]), float(same)


def likeness(reading: Reading, states: States) -> pd.DataFrame:
    """How alike dense and each level are, and two dense models of different seeds (the floor).

    Returns model, run, level, sparsity, sparsity_all, site, cka, rand, fidelity (on the same
    items), cka_floor, rand_floor (between dense models of two seeds, as pseudo-values of
    :func:`lthlib.report.statistics.pair_values`; <NA> with one seed),
    rand_again (dense states clustered twice, from other starts), beats (do both beat the best
    trivial rule?), items, decisions.
    """
    rows = []
    for site in SITES:
        floors = _floors(states, site)
        for run in states.runs:
            dense = (run, DENSE_LEVEL)
            floor = floors.loc[run] if len(floors) else (None, None)
            key = (*dense, site)
            again = adjusted_rand_score(states.clusters(*key), states.again(*key))
            for level in states.levels:
                if level != DENSE_LEVEL:
                    found = states.alike(dense, (run, level), site)
                    rows.append((run, level, site, *found, *floor, again))
    names = ["run", "level", "site", "cka", "rand", "cka_floor", "rand_floor", "rand_again"]
    frame = pd.DataFrame(rows, columns=names)
    frame = frame.astype(dict.fromkeys(names[3:], "Float64"))
    size = len(states.items)
    frame = frame.assign(model=reading.study.model, items=size, decisions=size)
    return frame.merge(_levels(reading, states.items), on=["run", "level"])


def _floors(states: States, site: str) -> pd.DataFrame:
    """cka and rand between dense models of two seeds at a site, by run; no rows with one."""
    pairs = pd.DataFrame(
        [
            (a, b, *states.alike((a, DENSE_LEVEL), (b, DENSE_LEVEL), site))
            for a, b in combinations(states.runs, 2)
        ],
        columns=["run_a", "run_b", "cka", "rand"],
    )
    values = [pair_values(pairs, name).set_index("run") for name in ("cka", "rand")]
    return pd.concat(values, axis=1)


def _levels(reading: Reading, items: Sequence[str]) -> pd.DataFrame:
    """run, level, sparsity, sparsity_all, fidelity on these items, beats."""
    keys = ["run", "level"]
    main = at_stage(reading.predictions, reading.stage)
    main = main[(main["branch"] == "main") & main["item"].isin(items)]
    wide = main.pivot_table("prediction", keys, "item")
    dense = wide.xs(DENSE_LEVEL, level="level").reindex(wide.index.get_level_values("run"))
    same = pd.Series((wide.to_numpy() == dense.to_numpy()).mean(axis=1), wide.index)
    gate = at_stage(reading.gate, reading.stage)
    beats = gate[gate["branch"] == "main"].set_index(keys)["beats"].astype(bool)
    first = beats.xs(DENSE_LEVEL, level="level").reindex(beats.index.get_level_values("run"))
    levels = at_stage(reading.levels, reading.stage)
    levels = levels[levels["branch"] == "main"][[*keys, "sparsity", "sparsity_all"]]
    facts = pd.DataFrame({"fidelity": same, "beats": beats & first.to_numpy()}).reset_index()
    return levels.merge(facts, on=keys)


def alignment(reading: Reading, states: States) -> pd.DataFrame:
    """How far clusters follow what an item is about, against the same clusters shuffled.

    Returns model, run, level, sparsity, sparsity_all, site, fact, rand, null (97.5 % quantile of
    `SHUFFLES` shuffles), items, decisions.
    """
    items = reading.items().set_index("item").loc[states.items]
    main = at_stage(reading.predictions, reading.stage)
    main = main[(main["branch"] == "main") & main["item"].isin(states.items)]
    given = {key: part.set_index("item") for key, part in main.groupby(["run", "level"])}
    rows = []
    for run, level, site in states.held:
        found, own = states.clusters(run, level, site), given[run, level].loc[states.items]
        about = {"label": own["label"], "answer": own["prediction"]}
        about |= {name: items[name] for name in FACTS if name in items.columns}
        for name, values in about.items():
            codes = pd.factorize(values, sort=True)[0].astype(np.int64)
            null = float(np.quantile(shuffled_rand(found, codes), 0.975))
            rows.append((run, level, site, name, adjusted_rand_score(codes, found), null))
    frame = pd.DataFrame(rows, columns=["run", "level", "site", "fact", "rand", "null"])
    size = len(states.items)
    frame = frame.assign(model=reading.study.model, items=size, decisions=size)
    return frame.merge(_levels(reading, states.items), on=["run", "level"])


# -- exhibits -------------------------------------------------------------------------------------
def likeness_figure(frame: pd.DataFrame, measure: str = "cka") -> Exhibit:
    """Likeness of dense and pruned states over the ladder, with the floor of the pooled site.

    measure: "cka" or "rand".
    """
    data = over_seeds(frame, ["model", "level", "site"], [measure])
    head = frame[frame["site"] == "pooled"].groupby("model")
    lines = {
        name: {str(model): float(value) for model, value in head[column].mean().dropna().items()}
        for name, column in _LINES[measure].items()
    }
    title = MEASURES[measure].title
    figure = ladder(data, SITES, series="site", label=title, lines=lines, panel="model").figure
    caption = (
        f"{title[0].upper()}{title[1:]} of the hidden states of dense and pruned model: mean over "
        f"{seeds_and_items(frame)}; bars: 95 % t interval over seeds. {_HOW[measure]} "
        f"{_floor_text(frame, measure)}"
    )
    alt = f"Line charts of {title} by level: {spoken(data, SITES, 'site', 2)}."
    return Exhibit(caption, alt, data, figure)


_HOW = {
    "cka": "Debiased linear CKA; 1: alike but for rotation and scale, 0: unrelated.",
    "rand": f"Clusters by k-means with k = {CLUSTERS}; 1: the same groups, 0: chance.",
}
_LINES = {
    "cka": {"two dense seeds": "cka_floor"},
    "rand": {"two dense seeds": "rand_floor", "dense clustered twice": "rand_again"},
}


def _floor_text(frame: pd.DataFrame, measure: str) -> str:
    """What the level lines of a figure are."""
    known = bool(frame[f"{measure}_floor"].notna().any())
    text = "With one seed there is no floor."
    if known:
        text = "Dashed: the same between dense models of two seeds, for what the head reads."
    if measure == "rand":
        text += " Dotted: dense states clustered twice, which is what clustering alone changes."
    return text


def likeness_table(frame: pd.DataFrame, site: str = "pooled") -> Exhibit:
    """CKA and adjusted Rand at one site beside fidelity on the same items, and the floor."""
    names = ["cka", "rand", "fidelity"]
    here = frame[frame["site"] == site]
    data = over_seeds(here, ["model", "level"], names)
    floors = here.groupby("model")[["cka_floor", "rand_floor", "rand_again"]].mean()
    cells = []
    for model in in_order(here["model"]):
        for _, own in data[data["model"] == model].groupby("level"):
            texts = {
                MEASURES[row["measure"]].heading: summary_text(MEASURES[row["measure"]], row)
                for _, row in own.iterrows()
            }
            cells.append(
                {
                    "model": model_name(model),
                    "sparsity, %": sparsity_text(own["sparsity"].iloc[0]),
                    **texts,
                    "CKA, two dense seeds": _number(floors.loc[model, "cka_floor"]),
                    "Rand, two dense seeds": _number(floors.loc[model, "rand_floor"]),
                    "Rand, dense clustered twice": _number(floors.loc[model, "rand_again"]),
                }
            )
    caption = (
        f"Hidden states of dense and pruned models ({SITES[site].name}): {seeds_and_items(here)}. "
        f"Mean over seeds, in brackets 95 % t intervals. {_HOW['cka']} {_HOW['rand']} Fidelity is "
        "that on these items. Numbers of the other sites are in the data."
    )
    table = pd.DataFrame(cells)
    return Exhibit(caption, f"Table of {len(table)} comparisons.", frame, table=table)


def _number(value: Any) -> str:
    return "one seed" if pd.isna(value) else f"{value:.3f}"


def alignment_table(frame: pd.DataFrame, level: int) -> Exhibit:
    """Which facts clusters follow, in dense models and at one level."""
    here = frame[frame["level"].isin([DENSE_LEVEL, level])]
    data = over_seeds(here, ["model", "level", "site", "fact"], ["rand"])
    null = here.groupby("fact")["null"].max()
    share = sparsity_text(here.loc[here["level"] == level, "sparsity"].mean())
    columns: dict[str, list[str]] = {"model": [], "clusters follow": []}
    cells: dict[str, list[str]] = {}
    models = in_order(here["model"])
    facts = [name for name in FACTS if name in set(here["fact"])]
    for model in models:
        for fact in facts:
            columns["model"].append(model_name(model))
            columns["clusters follow"].append(FACTS[fact])
            own = data[(data["model"] == model) & (data["fact"] == fact)]
            for site, look in SITES.items():
                for place in sorted({DENSE_LEVEL, level}):
                    which = "dense" if place == DENSE_LEVEL else f"{share} %"
                    row = own[(own["site"] == site) & (own["level"] == place)].iloc[0]
                    text = proper(f"{row['mean']:.2f}")
                    text += "*" if row["mean"] > null[fact] else ""
                    cells.setdefault(f"{look.name}, {which}", []).append(text)
    shown = sum(map(len, cells.values()))
    bounds = ", ".join(f"{null[fact]:.3f} ({FACTS[fact]})" for fact in facts)
    caption = (
        f"Adjusted Rand index of clusters (k-means, k = {CLUSTERS}) with facts of the items, in "
        f"dense models and at {share} % sparsity: mean over {seeds_and_items(here)}. 0 is chance. "
        f"A star: beyond the 97.5 % quantile of {SHUFFLES} shuffles of the same clusters in every "
        f"run, at most {bounds}. {shown} numbers are compared so, without adjustment: chance alone "
        f"may star {0.025 * shown:.1f} of them, and fewer the more seeds there are."
    )
    table = pd.DataFrame(columns | cells)
    return Exhibit(caption, f"Table of {len(table)} facts of items.", frame, table=table)


def concepts_sentence(frame: pd.DataFrame, level: int) -> str:
    """Are a ticket's states more like those of its dense model than another seed's are?"""
    parts = []
    for model in in_order(frame["model"]):
        own = frame[(frame["model"] == model) & (frame["site"] == "pooled")]
        here = own[own["level"] == level]
        text = (
            f"{model_name(model)}: CKA {here['cka'].mean():.2f}, "
            f"adjusted Rand {here['rand'].mean():.2f}, where clustering the dense states twice "
            f"gives {here['rand_again'].mean():.2f}"
        )
        above = (here["cka"] - here["cka_floor"]).dropna().astype(float)
        if above.empty:
            parts.append(f"{text} (one seed: no floor)")
            continue
        text += f" (two dense seeds: {here['cka_floor'].mean():.2f}, "
        text += f"{here['rand_floor'].mean():.2f}; {_beyond(above)})"
        parts.append(text)
    share = sparsity_text(frame.loc[frame["level"] == level, "sparsity"].mean())
    return (
        f"At {share} % sparsity, the likeness of what the head reads to that of the dense model: "
        f"{'; '.join(parts)}."
    )


def _beyond(differences: pd.Series[float]) -> str:
    """CKA less its floor, whose values are pseudo-values, one a seed."""
    found = jackknife_interval(differences)
    text = f"CKA less floor {differences.mean():+.2f}"
    if found.low is None or found.high is None:
        return proper(f"{text}, {found.kind}")
    return proper(f"{text}, {found.kind} {found.low:+.2f} to {found.high:+.2f}")


def fidelity_sentence(frame: pd.DataFrame) -> str:
    """Does likeness of states go with fidelity, within seeds, among levels that beat the rule?"""
    counted = frame[(frame["site"] == "pooled") & frame["beats"]]
    parts = []
    for model in in_order(frame["model"]):
        found = within(counted[counted["model"] == model], "cka", "fidelity", "run")
        if found["r"] is None or found["flags"]:
            parts.append(f"{model_name(model)}: {found['flags']}")
            continue
        text = f"r = {found['r']:.2f} ({found['low']:.2f} to {found['high']:.2f})"
        parts.append(f"{model_name(model)}: {text.replace('-', '−')}")
    return (
        "Over the levels that beat the best trivial rule, correlated within seeds, CKA of what the "
        "head reads and fidelity on the same items have (95 % intervals in brackets, not adjusted) "
        f"{'; '.join(parts)}."
    )
