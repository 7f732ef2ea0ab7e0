"""Do forgettable samples predict unfaithful ones? The main source's open question, computed.

A training history says of an item when it was first answered rightly and how often it went from
right to wrong afterwards (Toneva et al. 2019). Test items have no such history. So other models
train on training and test items together (part "histories" of the reference study), and what they
forgot is held against the answers of models that never trained on a test item: the histories are
held out from the models that are measured. One decision per item is meant throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from lthlib.errors import RecordError
from lthlib.report.draw import BLUE, GREEN, ORANGE, PURPLE, VERMILLION, Look, ladder, spoken
from lthlib.report.exhibits import (
    MEASURES,
    Exhibit,
    model_name,
    seeds_and_items,
    sparsity_text,
    summary_text,
)
from lthlib.report.judgement.families import adjust
from lthlib.report.measures import Bools, Floats, at_stage
from lthlib.report.reading import Reading
from lthlib.report.show import level_table
from lthlib.report.statistics import ALPHA, DENSE_LEVEL, refusal, t_interval
from lthlib.report.tidy import in_order, over_seeds
from lthlib.report.words import counted, proper

HISTORY = ("forgotten", "learned")
PREDICTORS = {
    "forgotten": "how often it is forgotten",
    "learned": "how late it is learned",
    "forgotten_right": "how often it is forgotten, among items that dense gets right",
    "margin": "small margin of the same dense model",
    "margin_others": "small margin of dense models of other seeds",
    "loss": "loss of the same dense model",
    "loss_others": "loss of dense models of other seeds",
    "relation": "how often items of its relation change at other seeds",
    "unfaithful_others": "how often it changes itself at other seeds",
    "random": "a random number",
}
LOOKS = {
    "forgotten": Look("forgotten in training", BLUE, "o"),
    "margin": Look("margin, same dense", ORANGE, "D", "-."),
    "margin_others": Look("margin, others", VERMILLION, "s", "--"),
    "unfaithful_others": Look("changes, others", GREEN, "^", (0, (5, 1, 1, 1))),
    "random": Look("random number", PURPLE, "X", ":"),
}


# -- one number per item --------------------------------------------------------------------------
def histories(training: pd.DataFrame, items: Sequence[str], epochs: int) -> pd.DataFrame:
    """Means over seeds of what models that trained on these items forgot of them.

    training: table of that name; epochs: passes over the items. An item that was never answered
    rightly counts as forgotten each time and learned after the last epoch, as Toneva et al. (2019,
    section 2) put the never learned beyond the most forgotten.

    Returns forgotten (times) and learned (epoch, from 0), indexed by item.
    Raises RecordError for an item without a history.
    """
    own = training[training["item"].isin(items)]
    never = own["learned"] < 0
    own = own.assign(
        forgotten=own["forgotten"].mask(never, epochs),
        learned=own["learned"].mask(never, epochs),
    )
    means = own.groupby("item")[list(HISTORY)].mean().reindex(list(items)).astype(float)
    if means.isna().any(axis=None):
        item = means.index[means.isna().any(axis=1)][0]
        raise RecordError(f"item {item} has no training history: read the part 'histories'")
    return means


@dataclass(frozen=True)
class Answers:
    """One study's main branch as arrays: R runs, L levels beyond dense, N items.

    label: [N]; dense: [R, N]; ticket: [R, L, N]; margin: [R, N], logit of True less that of False.
    """

    runs: list[str]
    levels: list[int]
    items: list[str]
    label: Bools
    dense: Bools
    ticket: Bools
    margin: Floats

    @property
    def unfaithful(self) -> Bools:
        """[R, L, N], True where ticket and dense differ."""
        return np.asarray(self.ticket != self.dense[:, None])

    @property
    def loss(self) -> Floats:
        """[R, N], cross entropy of the dense models."""
        signed = np.where(self.label, self.margin, -self.margin)
        return np.asarray(np.logaddexp(0.0, -signed), dtype=np.float64)


def answers(predictions: pd.DataFrame, stage: str = "trained") -> Answers:
    """The main branch of a study at one stage, laid out item by item.

    Raises RecordError for several decisions an item, or where a record lacks an item.
    """
    main = at_stage(predictions[predictions["branch"] == "main"], stage)
    if len(main["decision"].unique()) != 1:
        raise RecordError("items have several decisions: choose a task with one, such as digits")
    wide = main.pivot_table("prediction", ["run", "level"], "item")
    if wide.isna().any(axis=None):
        run, level = wide.index[wide.isna().any(axis=1)][0]
        raise RecordError(f"run {run}, level {level} lacks an item: read whole records")
    runs, levels = (list(wide.index.unique(name)) for name in ("run", "level"))
    items = list(wide.columns)
    given = wide.to_numpy().astype(bool).reshape(len(runs), len(levels), len(items))
    dense = main[main["level"] == DENSE_LEVEL].sort_values(["run", "item"])
    logits = np.stack(dense["logits"].to_list()).reshape(len(runs), len(items), 2)
    return Answers(
        runs=runs,
        levels=levels[1:],
        items=items,
        label=dense["label"].to_numpy()[: len(items)].astype(bool),
        dense=given[:, 0],
        ticket=given[:, 1:],
        margin=(logits[..., 1] - logits[..., 0]).astype(np.float64),
    )


def of_others(values: Floats) -> Floats | None:
    """[R, ...]: for each run the mean over all other runs; None with one run."""
    count = len(values)
    return None if count == 1 else np.asarray((values.sum(axis=0) - values) / (count - 1))


# -- how well it predicts -------------------------------------------------------------------------
def auroc(score: Floats, positive: Bools) -> float:
    """Chance that a positive item has a higher score than another one; ties count half.

    (R - n1 (n1 + 1) / 2) / (n1 n0), R the sum of the positives' ranks: Mann and Whitney's U over
    n1 n0. NaN without both kinds of items.

    >>> auroc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    0.75
    """
    n1 = int(positive.sum())
    n0 = len(positive) - n1
    if n1 == 0 or n0 == 0:
        return float("nan")
    ranks = stats.rankdata(score)
    return float((ranks[positive].sum() - n1 * (n1 + 1) / 2) / (n1 * n0))


def null_reach(n1: int, n0: int, level: float = 0.95) -> float:
    """How far from 1/2 the AUROC of a shuffled score lies in `level` of shuffles.

    Its standard deviation is sqrt((n1 + n0 + 1) / (12 n1 n0)) without ties (Mann and Whitney 1947).

    >>> round(null_reach(50, 1550), 3)
    0.081
    """
    sd = np.sqrt((n1 + n0 + 1) / (12 * n1 * n0))
    return float(stats.norm.ppf((1 + level) / 2) * sd)


def predicted(reading: Reading, history: Reading) -> pd.DataFrame:
    """How well each predictor ranks the items that change their answer, per run and level.

    reading: tickets; history: models of the same kind that trained on the test items too. A level
    counts where both it and its dense model beat the best trivial rule; a constant answer is
    unfaithful wherever dense says the other thing, and no item is the cause.

    Returns model, run, level, sparsity, sparsity_all, predictor, auroc (<NA> where it does not
    count or does not exist), unfaithful, items, decisions.
    """
    found = answers(reading.predictions, reading.stage)
    past = histories(history.table("training"), found.items, history.study.epochs)
    facts = reading.items().set_index("item").loc[found.items]
    rows = []
    for position, level in enumerate(found.levels):
        changed = found.unfaithful[:, position]
        scores = _scores(found, past, facts["relation"], position)
        for r, run in enumerate(found.runs):
            counts = _beats(reading, run, level)
            for name, score in scores.items():
                among = found.dense[r] == found.label if name == "forgotten_right" else slice(None)
                value = auroc(score[r][among], changed[r][among]) if counts else np.nan
                rows.append((run, level, name, value, int(changed[r].sum())))
    frame = pd.DataFrame(rows, columns=["run", "level", "predictor", "auroc", "unfaithful"])
    frame["auroc"] = frame["auroc"].astype("Float64")
    size = len(found.items)
    frame = frame.assign(model=reading.study.model, items=size, decisions=size)
    return frame.merge(_sparsity(reading), on=["run", "level"])


def _scores(
    found: Answers, past: pd.DataFrame, relation: pd.Series[str], position: int
) -> dict[str, Floats]:
    """[R, N] of each predictor that exists: higher means that a change is expected."""
    changed = found.unfaithful[:, position]
    shape = changed.shape
    margin, loss = -np.abs(found.margin), found.loss
    scores = {name: np.broadcast_to(past[name].to_numpy(), shape) for name in HISTORY}
    scores |= {"forgotten_right": scores["forgotten"], "margin": margin, "loss": loss}
    for name, values in (("margin", margin), ("loss", loss), ("unfaithful", changed.astype(float))):
        others = of_others(values)
        if others is not None:
            scores[f"{name}_others"] = others
    if "unfaithful_others" in scores:
        by_relation = pd.DataFrame(scores["unfaithful_others"].T).groupby(relation.to_numpy())
        scores["relation"] = by_relation.transform("mean").to_numpy().T
    scores["random"] = np.random.default_rng(position).random(shape)
    return scores


def _beats(reading: Reading, run: str, level: int) -> bool:
    """Do dense and this level of a run both beat the best trivial rule?"""
    gate = at_stage(reading.gate, reading.stage)
    rows = gate[(gate["run"] == run) & (gate["branch"] == "main")]
    return bool(rows.loc[rows["level"].isin([DENSE_LEVEL, level]), "beats"].all())


def _sparsity(reading: Reading) -> pd.DataFrame:
    rows = at_stage(reading.levels, reading.stage)
    rows = rows[rows["branch"] == "main"]
    return rows[["run", "level", "sparsity", "sparsity_all"]]


def prediction_table(frame: pd.DataFrame, level: int, seeds: int) -> Exhibit:
    """AUROC of each predictor at one level, model by model; seeds: histories behind them."""
    data = over_seeds(frame, ["model", "level", "predictor"], ["auroc"])
    here = data[data["level"] == level]
    columns = {"predictor": list(PREDICTORS.values())}
    for model in in_order(frame["model"]):
        own = here[here["model"] == model]
        texts = {r["predictor"]: summary_text(MEASURES["auroc"], r) for _, r in own.iterrows()}
        columns[f"{model_name(model)}, AUROC in %"] = [
            texts.get(name, _ONE_SEED) for name in PREDICTORS
        ]
    caption = (
        f"How well each number, by which items are ranked, tells those that change their answer at "
        f"{_share(frame, level)} sparsity: {_over(frame)}. {_histories(seeds)} "
        f"50 % is chance; {_null(frame, level)}"
    )
    table = pd.DataFrame(columns)
    alt = f"Table of {len(table)} predictors: AUROC of unfaithful items for each model."
    return Exhibit(caption, alt, data, table=table)


_ONE_SEED = "one seed: there is no other"


def _histories(seeds: int) -> str:
    return (
        f"Forgetting is the mean of {counted(seeds, 'seed')} of models that trained on these items "
        "too; none of them is among the models measured."
    )


def prediction_figure(frame: pd.DataFrame, seeds: int) -> Exhibit:
    """AUROC of the main predictors over the ladder."""
    data = over_seeds(frame, ["model", "level", "predictor"], ["auroc"])
    looks = {name: look for name, look in LOOKS.items() if name in set(data["predictor"])}
    chance = dict.fromkeys(in_order(frame["model"]), 0.5)
    figure = ladder(
        data,
        looks,
        series="predictor",
        label="AUROC, %",
        lines={"chance": chance},
        between=(30, 102),
        panel="model",
    ).figure
    caption = (
        f"Which items change their answer, predicted: {_over(frame)}; bars: 95 % t interval over "
        f"seeds. {_histories(seeds)} Levels that do not beat the best trivial rule "
        f"are left out; {_null(frame, int(data['level'].min()))}"
    )
    alt = f"Line charts of AUROC in % by level: {spoken(data, looks, 'predictor')}."
    return Exhibit(caption, alt, data, figure)


def prediction_sentence(frame: pd.DataFrame, level: int) -> str:
    """Do forgettable items change their answer more often, and does a margin say as much?"""
    verdicts: dict[str, list[str]] = {}
    numbers: list[str] = []
    tests = predicts(frame, level).set_index("model")
    rival = "margin_others" if "margin_others" in set(frame["predictor"]) else "margin"
    whose = "other dense seeds'" if rival == "margin_others" else "its own dense model's"
    for model in in_order(frame["model"]):
        here = frame[(frame["model"] == model) & (frame["level"] == level)]
        counted, name = here.dropna(subset="auroc"), model_name(model)
        wide = counted.pivot_table("auroc", "run", "predictor").astype(float)
        if wide.empty:
            verdicts.setdefault("no ticket beats the trivial rule", []).append(name)
            continue
        verdicts.setdefault(_verdict(tests.loc[[model]].iloc[0]), []).append(name)
        numbers.append(
            f"{name} {_mean(wide['forgotten'])}, {_mean(wide[rival])} and {_mean(wide['random'])} "
            f"({_gap(wide['forgotten'] - wide[rival])})"
        )
    answer = "; ".join(f"{', '.join(names)}: {verdict}" for verdict, names in verdicts.items())
    text = f"{answer}, at {_share(frame, level)} sparsity."
    if numbers:
        text += (
            f" AUROC by forgetting, by {whose} margin and by a random number is, in this order: "
            f"{'; '.join(numbers)}."
        )
    return text


def predicts(frame: pd.DataFrame, level: int) -> pd.DataFrame:
    """Is AUROC by forgetting told from chance at one level? Adjusted over the models.

    Returns model, auroc (mean over seeds), p_forgetting, holm_forgetting, flags (why no test).
    """
    here = frame[(frame["level"] == level) & (frame["predictor"] == "forgotten")]
    rows = []
    for model, own in here.dropna(subset="auroc").groupby("model"):
        values = own["auroc"].to_numpy(dtype=np.float64)
        why_not = refusal(values)
        p = None if why_not else float(stats.ttest_1samp(values, 0.5).pvalue)
        rows.append((model, values.mean(), p, why_not))
    table = pd.DataFrame(rows, columns=["model", "auroc", "p_forgetting", "flags"])
    return adjust(table.astype({"p_forgetting": "Float64"}))


def _verdict(row: pd.Series[Any]) -> str:
    """Is forgetting a predictor at all?"""
    if pd.isna(row["holm_forgetting"]):
        return f"no answer yet ({row['flags']})"
    if row["holm_forgetting"] >= ALPHA:
        return "forgetting is not told from chance"
    if row["auroc"] < 0.5:
        return "forgotten items change less"
    return "forgetting predicts which items change"


def _gap(differences: pd.Series[float]) -> str:
    """Forgetting less margin, paired by seed, in points."""
    found, why_not = t_interval(differences), refusal(differences)
    text = f"forgetting less margin {100 * differences.mean():+.1f} points"
    if not why_not and found.low is not None and found.high is not None:
        text += f", {100 * found.low:+.1f} to {100 * found.high:+.1f}, {found.kind}"
    return proper(text)


def _mean(values: pd.Series[float]) -> str:
    return f"{100 * values.astype(float).mean():.1f} %"


def _over(frame: pd.DataFrame) -> str:
    return f"means over {seeds_and_items(frame)}"


def _share(frame: pd.DataFrame, level: int) -> str:
    return f"{sparsity_text(frame.loc[frame['level'] == level, 'sparsity'].mean())} %"


def _null(frame: pd.DataFrame, level: int) -> str:
    """Where shuffled scores lie, for the fewest unfaithful items among the runs of a level."""
    here = frame[(frame["level"] == level) & frame["auroc"].notna()]
    if here.empty:
        return "no run counts at this level."
    least, items = int(here["unfaithful"].min()), int(here["items"].iloc[0])
    reach = 100 * null_reach(least, items - least)
    return (
        f"shuffled scores of a single run lie within {reach:.1f} points of it in 95 % of shuffles "
        f"(at {_share(frame, level)} sparsity, with the {least} changed items of the run that has "
        "the fewest)."
    )


# -- forgetting by pruning ------------------------------------------------------------------------
def pruning_forgetting(reading: Reading) -> pd.DataFrame:
    """What each step of the ladder forgets: items right at one level and wrong at the next.

    The same as forgetting in training, over rounds of pruning instead of epochs. Steps to a level
    that does not beat the best trivial rule have no value.

    Returns model, run, level (the later one), sparsity, sparsity_all, turned_wrong (share of the
    items that were right), turned_right (of those that were wrong), items, decisions.
    """
    found = answers(reading.predictions, reading.stage)
    right = np.concatenate([found.dense[:, None], found.ticket], axis=1) == found.label
    rows = []
    for r, run in enumerate(found.runs):
        for position, level in enumerate(found.levels):
            before, after = right[r, position], right[r, position + 1]
            lost = gained = None
            if _beats(reading, run, level):
                lost = _share_of(~after, before)
                gained = _share_of(after, ~before)
            rows.append((run, level, lost, gained))
    frame = pd.DataFrame(rows, columns=["run", "level", "turned_wrong", "turned_right"])
    frame = frame.astype({"turned_wrong": "Float64", "turned_right": "Float64"})
    size = len(found.items)
    frame = frame.assign(model=reading.study.model, items=size, decisions=size)
    return frame.merge(_sparsity(reading), on=["run", "level"])


def _share_of(event: Bools, among: Bools) -> float | None:
    return float(event[among].mean()) if among.any() else None


def pruning_table(frame: pd.DataFrame) -> Exhibit:
    """How much each step of the ladder forgets and learns."""
    table, data = level_table(frame, ["turned_wrong", "turned_right"])
    caption = (
        f"Forgetting by pruning: shares of the answers that were right, or wrong, one level "
        f"before, {_over(frame)}; in brackets 95 % t intervals over seeds. Levels that do not beat "
        "the best trivial rule have no value."
    )
    return Exhibit(caption, f"Table of {len(table)} steps of pruning.", data, table=table)


def same_items(reading: Reading, history: Reading) -> pd.DataFrame:
    """Does pruning forget the items that training forgets? Spearman's rho over items, per run.

    Counted are the steps of the ladder at which an item turns wrong, over levels that beat the
    trivial rule, against its mean training-forgetting. rho is <NA> where either is constant.

    Returns model, run, rho, steps (how many of the ladder count).
    """
    found = answers(reading.predictions, reading.stage)
    past = histories(history.table("training"), found.items, history.study.epochs)["forgotten"]
    right = np.concatenate([found.dense[:, None], found.ticket], axis=1) == found.label
    turned = right[:, :-1] & ~right[:, 1:]
    rows = []
    for r, run in enumerate(found.runs):
        counts = np.array([_beats(reading, run, level) for level in found.levels])
        times = turned[r, counts].sum(axis=0)
        spread = np.ptp(times) > 0 and np.ptp(past.to_numpy()) > 0
        rho = float(stats.spearmanr(times, past).statistic) if spread else None
        rows.append((reading.study.model, run, rho, int(counts.sum())))
    frame = pd.DataFrame(rows, columns=["model", "run", "rho", "steps"])
    return frame.astype({"rho": "Float64"})


def same_items_sentence(frame: pd.DataFrame) -> str:
    """Whether items forgotten in pruning are those forgotten in training, model by model."""
    parts = []
    for model in in_order(frame["model"]):
        rho = frame.loc[frame["model"] == model, "rho"].dropna().astype(float)
        if rho.empty:
            parts.append(f"not defined for {model_name(model)}")
            continue
        found = t_interval(rho)
        inside = "one seed" if found.low is None else f"{found.low:.2f} to {found.high:.2f}"
        text = f"{rho.mean():.2f} ({model_name(model)}; {inside})"
        parts.append(proper(text))
    return (
        "Items that pruning forgets, step by step of the ladder, are those that training forgets "
        f"with a rank correlation over items of {', '.join(parts)}; in brackets 95 % t intervals "
        "over seeds."
    )
