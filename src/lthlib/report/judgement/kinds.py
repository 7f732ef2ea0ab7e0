"""Kinds of tickets: which of the literature's names a level earns, and how far down the ladder.

Each name is a definition of its paper, in this project's words, with every comparison paired by
seed:

matching
    as accurate as dense, up to one standard deviation of the dense model over seeds (after Chen et
    al. 2020). A definition over means: nothing is tested.
winning
    matching, with the survivors back at theta_0 (Frankle and Carbin 2019; Chen et al. 2020).
relaxed
    at least 99 % of the dense score (after Gan et al. 2022): on average, or shown by a test.
jackpot, secondary prize
    after Ma et al. 2021, section 2.2, conditions 3 to 5: the ticket is clearly better than its mask
    with fresh start values, however long those train (3); it reaches dense at the same recipe (4);
    it reaches dense at a sufficient recipe (5). All three: jackpot. 3 and 4 without 5: secondary
    prize. The paper's condition 2, against a small dense model, is not tested here. The paper
    calls 0.5 to 1.5 points "similar" and 0.5 points "clear"; here "reaches" is non-inferiority
    within the margin, and "better" a difference that is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from lthlib.errors import RecordError
from lthlib.report.exhibits import Exhibit, model_name, sparsity_text
from lthlib.report.judgement.contrasts import AGAINST_DENSE, RELAXED
from lthlib.report.judgement.equivalence import (
    EQUIVALENT,
    INFERIOR,
    NOT_APPLICABLE,
    SUPERIOR,
    UNTRAINED,
)
from lthlib.report.judgement.verdicts import judged_by, seeds_line
from lthlib.report.plain import plain_table
from lthlib.report.statistics import ALPHA, DENSE_LEVEL, MIN_SEEDS, Floats
from lthlib.report.tidy import in_order
from lthlib.report.words import counted, points, points_of

DRAWS = 2000
JACKPOT, SECONDARY, NO_PRIZE, UNDECIDED = "jackpot", "secondary prize", "neither", "undecided"


# -- matching, winning, relaxed --------------------------------------------------------------------
def ticket_kinds(scored: pd.DataFrame, tests: pd.DataFrame) -> pd.DataFrame:
    """Which names each level earns, one row per study and level.

    scored, tests: frames of :func:`contrasts.scores` and ``contrast_tests``.
    Returns study, model, task, protocol, level, sparsity, sparsity_all, n, score, reference
    (dense), dense_sd, ratio, holm_relaxed, matching, winning, relaxed. The last three are words:
    "yes", "no", or why the question does not apply.
    """
    dense = scored[(scored["level"] == DENSE_LEVEL) & (scored["branch"] == "main")]
    by_study = dense.groupby("study")
    spread = by_study["score"].std().rename("dense_sd")
    original = by_study["original_weights"].first()
    table = tests[tests["against"] == AGAINST_DENSE].merge(spread, on="study")
    table = table.merge(original, on="study")
    named = table.assign(
        matching=[_matching(row) for _, row in table.iterrows()],
        winning=[_winning(row) for _, row in table.iterrows()],
        relaxed=[_relaxed(row) for _, row in table.iterrows()],
    )
    facts = ["study", "model", "task", "protocol", "level", "sparsity", "sparsity_all", "n"]
    numbers = ["score", "reference", "dense_sd", "ratio", "holm_relaxed"]
    return named[[*facts, *numbers, "matching", "winning", "relaxed"]]


def _matching(row: pd.Series[Any]) -> str:
    if row["verdict"].startswith(NOT_APPLICABLE):
        return NOT_APPLICABLE
    if pd.isna(row["dense_sd"]) or pd.isna(row["difference"]):
        return "not defined: one seed" if row["n"] == 1 else "not defined: a seed is missing"
    return "yes" if row["difference"] >= -row["dense_sd"] else "no"


def _winning(row: pd.Series[Any]) -> str:
    matching = _matching(row)
    return "no: not rewound" if matching == "yes" and not row["original_weights"] else matching


def _relaxed(row: pd.Series[Any]) -> str:
    if row["verdict"].startswith(NOT_APPLICABLE):
        return NOT_APPLICABLE
    if pd.isna(row["ratio"]):
        return "not defined: a seed is missing"
    if pd.notna(row["holm_relaxed"]) and row["holm_relaxed"] < ALPHA:
        return "yes, shown"
    return "on average" if row["ratio"] >= RELAXED else "no"


def kinds_table(kinds: pd.DataFrame) -> Exhibit:
    """One row per model and level: matching, winning and relaxed."""
    rows = [
        {
            "model": model_name(row["model"]),
            "sparsity, %": sparsity_text(row["sparsity"]),
            "of dense accuracy, %": _percent(row["ratio"]),
            "matching": row["matching"],
            "winning": row["winning"],
            "relaxed": row["relaxed"],
        }
        for _, row in _ordered(kinds).iterrows()
    ]
    table = pd.DataFrame(rows)
    same = table["matching"].equals(table["winning"])
    if same:
        table = table.drop(columns="winning")
    winning = "Winning: matching, with survivors rewound to theta_0"
    if same:
        winning += ", which here gives the same answer at every level"
    caption = (
        f"Names that levels earn: {seeds_line(kinds)}. Matching: mean accuracy not below dense by "
        "more than one standard deviation of dense over seeds (after Chen et al. 2020; nothing is "
        f"tested). {winning}. Relaxed: at least {100 * RELAXED:g} % of the dense "
        "score (after Gan et al. 2022); shown: one-sided paired t test at 5 %, after Holm."
    )
    return plain_table(table, caption, data=kinds)


# -- jackpot and secondary prize -------------------------------------------------------------------
def prizes(short: pd.DataFrame, sufficient: pd.DataFrame) -> pd.DataFrame:
    """Jackpot and secondary prize, at each sparsity that both recipes have.

    short, sufficient: frames of :func:`contrasts.contrast_tests`, with dense and
    re-initialised references, of the same models and tasks under a short and a sufficient recipe.

    Returns model, task, measure, margin, sparsity, short_n, sufficient_n, and for each recipe the
    verdicts against dense and re-initialised and the differences, and `prize`: jackpot, secondary
    prize, neither or undecided (too few seeds, or a test that decides nothing).

    Raises RecordError where the two have no sparsity in common.
    """
    sides = [_recipe(short, "short"), _recipe(sufficient, "sufficient")]
    on = ["model", "task", "rung", "measure", "margin"]
    both = sides[0].merge(sides[1], on=on, validate="one_to_one")
    if both.empty:
        raise RecordError("prizes: the two recipes have no level in common; give them one ladder")
    return both.assign(prize=[_prize(row) for _, row in both.iterrows()]).drop(columns="rung")


def _recipe(tests: pd.DataFrame, name: str) -> pd.DataFrame:
    """One row per model and level: what was shown against dense and against fresh start values."""
    keys = ["model", "task", "rung"]
    # Levels of two ladders meet where their rungs do; counts of weights differ by rounding alone.
    rung = tests["sparsity"].astype(float).round(3)
    parts = []
    for against, short_name in ((AGAINST_DENSE, "dense"), ("reinitialised", "fresh")):
        own = tests.assign(rung=rung)[tests["against"] == against]
        named = pd.DataFrame(
            {
                f"{name}_against_{short_name}": own["verdict"],
                f"{name}_difference_{short_name}": own["difference"],
                f"{name}_reaches_{short_name}": [_reaches(row) for _, row in own.iterrows()],
                f"{name}_better_{short_name}": [_better(row) for _, row in own.iterrows()],
            }
        )
        parts.append(pd.concat([own[keys], named], axis=1))
    facts = tests.assign(rung=rung)[tests["against"] == AGAINST_DENSE]
    judged = [*keys, "measure", "margin"]
    facts = facts[[*judged, "n"]].rename(columns={"n": f"{name}_n"})
    if name == "short":
        facts["sparsity"] = tests.loc[facts.index, "sparsity"]
    return facts.merge(parts[0], on=keys).merge(parts[1], on=keys)


def _reaches(row: pd.Series[Any]) -> bool | None:
    """Not inferior within the margin: shown, refuted by a loss that is shown, or undecided."""
    if pd.notna(row["holm_not_inferior"]) and row["holm_not_inferior"] < ALPHA:
        return True
    return False if row["verdict"] == INFERIOR else None


def _better(row: pd.Series[Any]) -> bool | None:
    if row["verdict"] == SUPERIOR:
        return True
    # Where neither learns anything, the ticket is not better either.
    beaten = row["verdict"] in (EQUIVALENT, INFERIOR)
    return False if beaten or row["beats"] == row["reference_beats"] == 0 else None


def _prize(row: pd.Series[Any]) -> str:
    better, well = row["sufficient_better_fresh"], row["sufficient_reaches_dense"]
    same = _either(row["short_reaches_dense"], well)
    if better is False or same is False:
        return NO_PRIZE
    if better and well:
        return JACKPOT
    return SECONDARY if better and same and well is False else UNDECIDED


def _either(first: bool | None, second: bool | None) -> bool | None:
    """Or, of three values."""
    if first or second:
        return True
    return None if first is None or second is None else False


_CONDITIONS = (
    ("reaches_dense", "dense", "reached", "missed"),
    ("better_fresh", "fresh start values", "beaten", "not beaten"),
)


def prizes_table(found: pd.DataFrame) -> Exhibit:
    """The two recipes beside each other, and the prize."""
    rows = []
    for _, row in _ordered(found).iterrows():
        cells = {"model": model_name(row["model"]), "sparsity, %": sparsity_text(row["sparsity"])}
        for recipe in ("short", "sufficient"):
            for side, head, shown, refuted in _CONDITIONS:
                holds = row[f"{recipe}_{side}"]
                word = UNDECIDED if holds is None else shown if holds else refuted
                against = side.rpartition("_")[2]
                change = points(row[f"{recipe}_difference_{against}"])
                blank = row[f"{recipe}_against_{against}"] == UNTRAINED
                text = UNTRAINED if blank else f"{word} ({change})"
                cells[f"{recipe} recipe: {head}"] = text
        rows.append(cells | {"prize": row["prize"]})
    caption = (
        f"Jackpot and secondary prize (after Ma et al. 2021, section 2.2): short recipe "
        f"{counted(int(found['short_n'].min()), 'seed')}, sufficient recipe "
        f"{counted(int(found['sufficient_n'].min()), 'seed')}, paired by seed within a recipe; in "
        "brackets: mean difference in points. Dense is reached where the ticket is not inferior "
        f"(within {points_of(judged_by(found)[1])}, one-sided) and missed "
        "where it is shown to be worse; fresh start values are beaten where the ticket is shown "
        "to be better; each at 5 % after Holm. Jackpot: both under the sufficient recipe. "
        "Secondary prize: fresh start values beaten under it, and dense reached under the short "
        "recipe alone. Control did not train: fresh start values stay at chance at every seed, and "
        "beating them shows nothing, so that the prize is undecided. The paper's "
        "comparison with a small dense model is left out."
    )
    return plain_table(pd.DataFrame(rows), caption, data=found)


# -- how far down the ladder -----------------------------------------------------------------------
def sparsest_matching(
    scored: pd.DataFrame, tests: pd.DataFrame, *, draws: int = DRAWS
) -> pd.DataFrame:
    """The sparsest level that matches dense: chosen on validation items, stated on test items.

    Chosen: the last level at which mean validation accuracy over seeds is not below dense by more
    than the margin. Test accuracy has no say in it; a level picked for its test accuracy would look
    better than it is. The interval of the choice comes from choosing again in `draws` samples of
    seeds with replacement (2.5 and 97.5 % of the sparsities; 0 where no level matches); with few
    seeds it is too narrow.

    Validation holds accuracy alone: where a task is judged on something else, nothing is chosen and
    `note` says so.

    Returns one row per study: study, model, task, protocol, measure, margin, n, level, sparsity,
    sparsity_all, low, high, and from `tests` at that level: difference, difference_low,
    difference_high, verdict; level 0 and no difference where no level matches.
    """
    rows = [_sparsest(part, tests, draws) for _, part in scored.groupby("study")]
    return pd.DataFrame(rows)


def _sparsest(part: pd.DataFrame, tests: pd.DataFrame, draws: int) -> dict[str, Any]:
    main = part[part["branch"] == "main"]
    wide = main.pivot_table("validation_accuracy", "run", "level", dropna=False).astype(float)
    sparsity = main.groupby("level")[["sparsity", "sparsity_all"]].mean()
    first = part.iloc[0]
    about = ("study", "model", "task", "protocol", "measure", "margin")
    row: dict[str, Any] = {name: first[name] for name in about}
    row |= {"n": len(wide)}
    row |= dict.fromkeys(_STATED)
    margin = float(first["margin"])
    if first["measure"] != "accuracy":
        return row | {"level": None, "note": "validation holds no more than accuracy"}
    lacking = wide.index[wide.isna().any(axis=1)]
    if len(lacking):
        return row | {"level": None, "note": f"validation of {lacking[0]} is incomplete"}
    loss = wide.sub(wide[DENSE_LEVEL], axis=0).to_numpy()
    level = int(wide.columns[_last_within(loss.mean(axis=0)[None], margin)[0]])
    row |= {"level": level, "note": ""}
    row |= {name: sparsity.loc[level, name] for name in ("sparsity", "sparsity_all")}
    if len(wide) >= MIN_SEEDS:
        row |= _again(loss, sparsity["sparsity"].to_numpy(dtype=np.float64), margin, draws)
    there = tests[(tests["study"] == row["study"]) & (tests["level"] == level)]
    there = there[there["against"] == AGAINST_DENSE]
    if len(there):
        stated = there.iloc[0]
        row |= {
            "difference": stated["difference"],
            "difference_low": stated["low"],
            "difference_high": stated["high"],
            "verdict": stated["verdict"],
        }
    return row


_STATED = (
    *("sparsity", "sparsity_all", "low", "high", "difference", "difference_low"),
    *("difference_high", "verdict"),
)


def _again(loss: Floats, sparsity: Floats, margin: float, draws: int) -> dict[str, float]:
    """The choice made again in samples of seeds; loss: [seeds, levels] against dense."""
    seeds = np.random.default_rng(0).integers(len(loss), size=(draws, len(loss)))
    chosen = sparsity[_last_within(loss[seeds].mean(axis=1), margin)]
    low, high = np.quantile(chosen, [0.025, 0.975], method="inverted_cdf")
    return {"low": float(low), "high": float(high)}


def _last_within(loss: Floats, margin: float) -> np.ndarray[Any, np.dtype[np.intp]]:
    """[draws], the last level of each row [draws, levels] that loses no more than the margin.

    Dense, the first, loses nothing. Rounding must not decide at the margin itself.
    """
    within = loss >= -margin - 1e-12
    last: np.ndarray[Any, np.dtype[np.intp]] = (
        within.shape[1] - 1 - np.argmax(within[:, ::-1], axis=1)
    )
    return last


def sparsest_table(found: pd.DataFrame) -> Exhibit:
    """The sparsest matching level of each model: chosen on validation, stated on test."""
    _, margin = judged_by(found)
    rows = []
    for _, row in _ordered(found).iterrows():
        cells = {"model": model_name(row["model"]), "seeds": str(row["n"])}
        rows.append(cells | _sparsest_cells(row))
    caption = (
        f"The sparsest level whose mean validation accuracy is within {points_of(margin)} of "
        "dense, and what the test items, which had no say in the choice, make of it: mean "
        "difference to dense with its 95 % t interval over seeds, and the verdict. Interval of the "
        f"sparsity: {DRAWS:,} bootstrap samples of seeds, 2.5 to 97.5 %; with few seeds it is too "
        "narrow."
    )
    return plain_table(pd.DataFrame(rows), caption, data=found)


def sparsest_sentence(found: pd.DataFrame) -> str:
    """The sparsest matching level of each model, and what the test items make of it."""
    parts = []
    for _, row in _ordered(found).iterrows():
        cells = _sparsest_cells(row)
        name = model_name(row["model"])
        if row["note"]:
            parts.append(f"{name}: {row['note']}")
        elif row["level"] == DENSE_LEVEL:
            parts.append(f"{name}: no level matches")
        else:
            interval = "95 % bootstrap interval " if pd.notna(row["low"]) else ""
            parts.append(
                f"{name}: {cells['sparsity, %']} % ({interval}{cells['interval, %']}), on test "
                f"{cells['on test, points']} points, {cells['verdict']}"
            )
    return (
        "The sparsest level that matches dense on validation items, and on test its difference "
        f"with a 95 % t interval over seeds. {'; '.join(parts)}."
    )


def _sparsest_cells(row: pd.Series[Any]) -> dict[str, str]:
    heads = ("sparsity, %", "of all weights, %", "interval, %", "on test, points", "verdict")
    if row["note"]:
        return dict.fromkeys(heads, str(row["note"]))
    interval = "no interval: too few seeds"
    if pd.notna(row["low"]):
        interval = f"{sparsity_text(row['low'])} to {sparsity_text(row['high'])}"
    if row["level"] == DENSE_LEVEL:
        return dict(zip(heads, ("none", "none", interval, "none", "no level matches"), strict=True))
    change = points(row["difference"])
    if pd.notna(row["difference_low"]):
        ends = (points(row["difference_low"]), points(row["difference_high"]))
        change += f" ({ends[0]} to {ends[1]})"
    shares = (sparsity_text(row["sparsity"]), sparsity_text(row["sparsity_all"]))
    return dict(zip(heads, (*shares, interval, change, str(row["verdict"])), strict=True))


def _ordered(frame: pd.DataFrame) -> pd.DataFrame:
    rank = {model: i for i, model in enumerate(in_order(frame["model"]))}
    keys: Sequence[str] = ["model", "sparsity"]
    return frame.sort_values(list(keys), key=lambda c: c.map(rank) if c.name == "model" else c)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}" if pd.notna(share) else "not defined"
