"""Sentences of the chapter on answers, computed from the frames of its figures and tables.

Each takes frames of one or more models and the level that it speaks of, which is chosen by its
place on the ladder (:func:`lthlib.report.tidy.focus`), never by its result. A number stands
beside its control in the same sentence.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from lthlib.report.answers.tables import group_gaps
from lthlib.report.exhibits import model_name, sparsity_text
from lthlib.report.findings import by_model, points, sparsity_of
from lthlib.report.statistics import ALPHA, MIN_SEEDS, seed_summary
from lthlib.report.tidy import in_order, interval_of, main_branch, over_seeds
from lthlib.report.words import counted, finished, listed


@finished
def floor_sentence(frame: pd.DataFrame, level: int) -> str:
    """What belonging to the same seed adds, and relative fidelity; see `short_sentence`."""
    at = main_branch(frame[frame["level"] == level])
    known = at[at["floor"].notna()]
    if known.empty:
        return "With one seed there is neither a floor nor a ticket of another seed."
    return (
        f"That a ticket was pruned from this very model, and not from that of another seed, adds "
        f"{_changes(known, 'own_answers')} (95 % jackknife intervals over seeds, one by one). "
        f"Relative fidelity is {_means(known, 'relative_fidelity', 1)}."
    )


@finished
def short_sentence(frame: pd.DataFrame, claims: pd.DataFrame, level: int) -> str:
    """Fidelity beside its floor, and what the tests let one say of the two.

    claims: of :attr:`frames.Answers.claims`.
    """
    at = main_branch(frame[frame["level"] == level])
    text = (
        f"At {sparsity_of(at, level)} sparsity a ticket gives its dense model's answer on "
        f"{_means(at, 'fidelity')} of all decisions"
    )
    known = at[at["floor"].notna()]
    if known.empty:
        return f"{text}. With one seed there is no floor to set this against."
    text += f"; two dense models of different seeds agree on {_means(known, 'floor')}."
    if known.groupby("model")["run"].nunique().min() < MIN_SEEDS:
        return f"{text} With fewer than {MIN_SEEDS} seeds nothing is said of the difference."
    fewer = _shown(claims, "beyond_floor", claims["relative_fidelity"] < 1)
    own = _shown(claims, "own_answers", claims["own_answers"] > 0)
    than_seeds = (
        f"Pruning changes more answers than another seed does for {listed(fewer)}"
        if fewer
        else "For no model is pruning shown to change more answers than another seed does"
    )
    than_others = (
        f"tickets of {listed(own)} keep their own dense model's answers better than another's"
        if own
        else "and for none is a ticket shown to be closer to its own dense model than to another's"
    )
    tested = f"t tests of jackknife values, after Holm over {len(claims)} models"
    return f"{text} {than_seeds}{'; ' if own else ', '}{than_others} ({tested})."


def _shown(claims: pd.DataFrame, claim: str, side: pd.Series[bool]) -> list[str]:
    """Models of which a claim is shown, on one side, after Holm."""
    found = claims[(claims[f"holm_{claim}"] < ALPHA).fillna(False) & side.fillna(False)]
    return [model_name(model) for model in in_order(found["model"])]


@finished
def null_sentence(frame: pd.DataFrame, level: int) -> str:
    """What the share of answers, and skill, alone would give; from where on no more is left."""
    main = main_branch(frame)
    at = main[main["level"] == level]
    blind = []
    for model in in_order(main["model"]):
        start = blind_from(main[main["model"] == model])
        where = "at no level" if start is None else f"from {sparsity_text(start)} % on"
        blind.append(f"{model_name(model)} {where}")
    text = (
        f"Skill alone, with errors of its own, would agree with dense on "
        f"{_means(at, 'fidelity_skill')}; a model that looks at nothing on "
        f"{_means(at, 'fidelity_null')}."
    )
    if main.groupby("model")["run"].nunique().max() < MIN_SEEDS:
        return f"{text} With fewer than {MIN_SEEDS} seeds nothing is said about single levels."
    return (
        f"{text} The 95 % t interval over seeds of fidelity minus the latter, level by level, "
        f"includes zero: {'; '.join(blind)}."
    )


def blind_from(frame: pd.DataFrame) -> float | None:
    """Sparsity from which on every level's fidelity residual has an interval that includes zero.

    frame: the main branch of one model. None where the last level has none, or seeds are too few.
    """
    data = over_seeds(frame, ["level"], ["fidelity_residual"]).sort_values("level")
    found = None
    for _, row in data[::-1].iterrows():
        # Constant models have a residual of exactly 0 at every seed, up to rounding.
        if row["n"] < MIN_SEEDS or not row["low"] <= 1e-9 or not row["high"] >= -1e-9:
            break
        found = float(row["sparsity"])
    return found


@finished
def flips_sentence(frame: pd.DataFrame, level: int) -> str:
    """Answers lost and gained, and how many of them the change of accuracy does not ask for."""
    at = main_branch(frame[frame["level"] == level])
    churn = by_model(at, "unnecessary_churn")
    return (
        f"Of all decisions {by_model(at, 'negative_flips')} were right and are wrong now, and "
        f"{by_model(at, 'positive_flips')} the other way round; accuracy sees the difference only. "
        f"Unnecessary churn, which no change of accuracy explains, is {churn} "
        f"(label-blind: {_means(at, 'unnecessary_churn_null')})."
    )


@finished
def exemplar_sentence(
    shares: pd.DataFrame, icc: pd.DataFrame, claims: pd.DataFrame, level: int
) -> str:
    """Exemplars against those of dense halves, and whether seeds change the same decisions."""
    at, same = (frame[frame["level"] == level] for frame in (shares, icc))
    models = in_order(at["model"])
    rows = {model: at[at["model"] == model].iloc[0] for model in models}
    share = f"{sparsity_text(at['sparsity'].mean())} %"
    pie = listed([f"{100 * rows[m]['pie']:.1f} % ({model_name(m)})" for m in models])
    text = f"At {share} sparsity {pie} of all decisions are pruning-identified exemplars."
    halves = [
        f"{100 * rows[m]['halves']:.1f} against {100 * rows[m]['null']:.1f} % ({model_name(m)}, "
        f"{_p_of(claims, m)})"
        for m in models
        if pd.notna(rows[m]["halves"])
    ]
    if halves:
        more = _shown(claims, "exemplars", claims["excess"] > 0)
        verdict = (
            f"For {listed(more)} pruning changes more than seeds alone do."
            if more
            else "For no model is pruning shown to change more than seeds alone do."
        )
        text += (
            f" {verdict} {_halving(int(at['seeds'].min()))}, tickets and dense models of "
            "other seeds differ in their most frequent answer, against dense models and dense "
            f"models, on {listed(halves)} of decisions (exact exchange of ticket and dense within "
            f"seeds, after Holm over {len(claims)} models)."
        )
    known = same[same["icc"].notna()]
    if known.empty:
        return f"{text} There are too few seeds for an intraclass correlation."
    values = [
        f"{row['icc']:.2f}, label-blind {_or_none(row['blind'])} ({model_name(row['model'])})"
        for _, row in known.iterrows()
    ]
    return (
        f"{text} How far the same decisions are unfaithful at different seeds, the intraclass "
        f"correlation says (0: unrelated, 1: the same): {listed(values)}."
    )


def _p_of(claims: pd.DataFrame, model: str) -> str:
    p = claims.loc[claims["model"] == model, "holm_exemplars"].iloc[0]
    return "no test" if pd.isna(p) else f"p = {p:.2f}"


@finished
def block_sentence(tests: pd.DataFrame) -> str:
    """Whether levels of one seed share more answers than levels of different seeds.

    tests: of :attr:`frames.Answers.blocks`.
    """
    made = tests[tests["p_block"].notna()]
    parts = [
        f"{100 * row['within']:.2f} against {100 * row['between']:.2f} % "
        f"({model_name(row['model'])}; p = {row['p_block']:.4f}, after Holm "
        f"{row['holm_block']:.4f})"
        for _, row in made.iterrows()
    ]
    refused = [
        f"{model_name(row['model'])}, {row['flags']}"
        for _, row in tests[tests["p_block"].isna()].iterrows()
    ]
    none = f"Whether models of one seed form a block cannot be told ({'; '.join(refused)})."
    if made.empty:
        return none
    block = (made["holm_block"] < ALPHA) & (made["difference"] > 0)
    conclusions = []
    if block.any():
        gaps = sorted(100 * made.loc[block, "difference"].astype(float))
        size = " to ".join(dict.fromkeys(f"{gap:.2f}" for gap in (gaps[0], gaps[-1])))
        small = ", though a faint one" if gaps[-1] < 1 else ""
        conclusions.append(
            f"Models of one seed form a block for {_names(made[block])}{small}: they share {size} "
            "points more of their answers than models of different seeds do."
        )
    if not block.all():
        conclusions.append(f"No block is shown for {_names(made[~block])}.")
    if refused:
        conclusions.append(none)
    return (
        f"{' '.join(conclusions)} Same seed against different seeds: {listed(parts)}, mean over "
        "pairs of different levels, among them pairs of tickets, of which one was pruned from the "
        "other. Levels at which some seed does not beat the trivial rule are left out, for models "
        "with one answer agree with each other on everything."
    )


def _names(frame: pd.DataFrame) -> str:
    return listed([model_name(model) for model in frame["model"]])


@finished
def probability_sentence(frame: pd.DataFrame, level: int) -> str:
    """Calibration before and after, and how far probabilities have moved."""
    at, dense = frame[frame["level"] == level], frame[frame["level"] == 0]
    text = (
        f"The expected calibration error is {_means(dense, 'ece')} of the dense models and "
        f"{_means(at, 'ece')} at {sparsity_of(at, level)} sparsity. KL from dense is then "
        f"{_means(at, 'kl', 1)} nats; dealt out anew, the same probabilities would be "
        f"{_means(at, 'kl_null', 1)} away"
    )
    if at["kl_floor"].notna().any():
        text += f", and a dense model of another seed is {_means(at, 'kl_floor', 1)} away"
    return (
        f"{text}. A model that collapsed to saying 1/2 is perfectly calibrated and knows nothing."
    )


@finished
def group_sentence(
    groups: pd.DataFrame, level: int, what: str, alike: Mapping[str, str] | None = None
) -> str:
    """Which groups keep fewer or more answers than the rest, by simultaneous intervals.

    Each stands beside what two dense seeds, and skill alone, would give there. alike: groups that
    hold the same decisions as one that was spoken of before, and its name.
    """
    gaps, alone = group_gaps(groups, level), _one_answer(groups[groups["level"] == level], what)
    if gaps["n"].max() < MIN_SEEDS:
        few = f"There are too few seeds to say which {what} keeps fewer answers than the others."
        return few + alone
    sides = {"fewer": gaps["high"] < 0, "more": gaps["low"] > 0}
    sentences = []
    for word, where in sides.items():
        parts = [
            f"{model_name(model)}: {', '.join(texts)}"
            for model in in_order(gaps["model"])
            for found in [gaps[where.fillna(False) & (gaps["model"] == model)].sort_values("mean")]
            for texts in [[_group_text(groups, level, m, alike or {}) for m in _keys(found)]]
            if texts
        ]
        if parts:
            sentences.append(
                f"{word} answers than the rest of its model are kept on {'; '.join(parts)}"
            )
    if not sentences:
        none = f"No {what} differs from the rest: every simultaneous 95 % interval includes zero."
        return none + alone
    text = ". ".join(sentence[0].upper() + sentence[1:] for sentence in sentences)
    return f"{text} (simultaneous 95 % intervals over every {what}).{alone}"


def _keys(gaps: pd.DataFrame) -> list[tuple[str, str]]:
    """Model and group of each row."""
    return list(zip(gaps["model"], gaps["group"], strict=True))


def _group_text(
    groups: pd.DataFrame, level: int, key: tuple[str, str], alike: Mapping[str, str]
) -> str:
    """A group with its fidelity, and beside it that of two dense seeds and of skill alone."""
    model, group = key
    own = groups[(groups["model"] == model) & (groups["group"] == group)]
    means = own[own["level"] == level].mean(numeric_only=True)
    floor = means["floor"]
    same = f"the same decisions as {alike[group]}; " if group in alike else ""
    dense = "" if pd.isna(floor) else f"two dense seeds {100 * floor:.1f} %, "
    return (
        f"{group} ({same}fidelity {100 * means['fidelity']:.1f} %, {dense}skill alone "
        f"{100 * means['fidelity_skill']:.1f} %; dense models are right on "
        f"{100 * means['accuracy_dense']:.1f} %)"
    )


def _one_answer(groups: pd.DataFrame, what: str) -> str:
    """Where dense model and ticket say the same one thing at every seed, as the null does."""
    parts = []
    for model in in_order(groups["model"]):
        least = groups[groups["model"] == model].groupby("group")["fidelity_null"].min()
        alike = int((least > 1 - 1e-9).sum())
        if alike:
            parts.append(f"{alike} of {len(least)} ({model_name(model)})")
    if not parts:
        return ""
    return (
        f" Of all groups by {what}, {listed(parts)} get one and the same answer for every item, "
        "from dense models and tickets alike: fidelity is 100 % there, and says nothing."
    )


def _changes(frame: pd.DataFrame, name: str) -> str:
    """A difference in points of every model, with its interval."""
    data = seed_summary(frame, [], name, groups=["model"], interval=interval_of(name))
    data = data.assign(flags="no interval")
    data = data.rename(columns={"mean": "difference"})
    parts = [
        f"{points(data[data['model'] == model].iloc[0])} for {model_name(model)}"
        for model in in_order(data["model"])
    ]
    return listed(parts)


def _means(frame: pd.DataFrame, name: str, scale: int = 100) -> str:
    """Means of a column, by model: shares in %, or (scale 1) numbers."""
    parts = []
    for model in in_order(frame["model"]):
        mean = frame.loc[frame["model"] == model, name].mean()
        value = f"{100 * mean:.1f} %" if scale == 100 else f"{mean:.3f}"
        parts.append(f"{'unknown' if pd.isna(mean) else value} ({model_name(model)})")
    return listed(parts)


def _halving(seeds: int) -> str:
    """How seeds were halved, in words."""
    size = seeds // 2
    rest = " (one is left out)" if seeds % 2 else ""
    return (
        f"With {counted(size, 'seed')} against {size} of {seeds}{rest}, mean over all such choices"
    )


def _or_none(value: float) -> str:
    return "not defined" if pd.isna(value) else f"{value:.2f}"
