"""Does the likeness of weights explain when rewinding helps? (Ma et al. 2021, computed.)

Ma et al. find that original weights help a ticket where training leaves the weights close to where
they started, as it does at a small learning rate. Here the gain of rewinding is the accuracy of the
ticket less that of the same mask with fresh start values, and it is set beside Pearson's r, over
the surviving weights, of trained weights with their start and with those of the dense model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy import stats

from lthlib.report.draw import BLACK, MODEL_LOOKS, PAPER, POINTS, WIDTH, Look, paper_style
from lthlib.report.exhibits import Exhibit, model_name
from lthlib.report.judgement.families import adjust
from lthlib.report.measures import Floats, at_stage
from lthlib.report.reading import Reading
from lthlib.report.statistics import DENSE_LEVEL, MIN_SEEDS
from lthlib.report.tidy import in_order
from lthlib.report.words import counted, proper

LIKENESS = {
    "correlation_start": "with their start",
    "correlation_dense": "with dense",
}
"""Columns of the table `weights`, and of what they are the correlation of trained weights."""
RESTS = {
    "concluding": "levels of one run",
    "rates": "learning rates at one level",
    "sufficient": "levels of one run, trained four times as long",
}
"""The parts of the reference study that have both sides, and what varies within a seed of each."""
FILLS: dict[str, Literal["full", "none", "bottom"]] = {
    "concluding": "full",
    "rates": "none",
    "sufficient": "bottom",
}
_TINY = 1e-9
_NO_GAIN = 0.01  # a gain below one point counts as none


def gains(reading: Reading, part: str) -> pd.DataFrame:
    """The gain of rewinding beside the likeness of weights, per run and level.

    Returns part, model, seed, learning_rate, level, sparsity, accuracy, fresh (accuracy with fresh
    start values), gain, fresh_beats (do fresh values beat the best trivial rule?), and the columns
    of LIKENESS over all prunable weights. Levels without the branch `reinitialised` are left out.
    """
    keys = ["run", "level"]
    quality = at_stage(reading.quality, reading.stage)
    sides = quality[quality["level"] != DENSE_LEVEL].set_index([*keys, "branch"])["accuracy"]
    wide = sides.astype(float).unstack("branch")  # noqa: PD010, no values are joined here
    if "reinitialised" not in wide.columns:
        return pd.DataFrame(columns=_COLUMNS)
    wide = wide.dropna(subset=["main", "reinitialised"]).reset_index()
    gate = at_stage(reading.gate, reading.stage)
    fresh = gate[gate["branch"] == "reinitialised"][[*keys, "beats"]]
    likeness = reading.table("weights")
    likeness = likeness[(likeness["group"] == "all") & (likeness["branch"] == "main")]
    facts = quality[quality["branch"] == "main"][[*keys, "model", "seed", "sparsity"]]
    rows = wide.merge(fresh, on=keys).merge(facts, on=keys).merge(likeness, on=keys)
    rows = rows.rename(columns={"main": "accuracy", "reinitialised": "fresh"})
    rows = rows.rename(columns={"beats": "fresh_beats"})
    rows = rows.assign(part=part, learning_rate=reading.study.learning_rate)
    return rows.assign(gain=rows["accuracy"] - rows["fresh"])[_COLUMNS]


_COLUMNS = [
    *("part", "model", "seed", "learning_rate", "level", "sparsity"),
    *("accuracy", "fresh", "gain", "fresh_beats", *LIKENESS),
]


# -- correlation within seeds ---------------------------------------------------------------------
def within(
    frame: pd.DataFrame, x: str, y: str, subject: str, given: Sequence[str] = ()
) -> dict[str, float | int | str | None]:
    """Repeated-measures correlation of x and y, given others: what varies within a subject only.

    Each subject has its own level of every variable, which is taken away together with what is
    linear in `given`; r is the correlation of what is left. Without `given` this is the rmcorr of
    Bland and Altman (1995) and Bakdash and Marusich (2017). With N rows, S subjects and k others it
    has df = N - S - 1 - k degrees of freedom; t = r sqrt(df / (1 - r^2)), and the 95 % interval is
    Fisher's with standard error 1 / sqrt(df - 1).

    Returns r, low, high, p, df, subjects, n, flags; the numbers are None, and flags says why, with
    fewer than three subjects, too few rows, or nothing that varies within subjects.
    """
    rows = frame.dropna(subset=[x, y, *given])
    subjects, n = int(rows[subject].nunique()), len(rows)
    df = n - subjects - 1 - len(given)
    empty: dict[str, float | int | str | None] = dict.fromkeys(("r", "low", "high", "p"))
    about: dict[str, float | int | str | None] = {"df": df, "subjects": subjects, "n": n}
    if subjects < MIN_SEEDS:
        flags = f"{counted(subjects, 'seed')}: too few for a test"
        return {**empty, **about, "flags": flags}
    if df < 2:
        return {**empty, **about, "flags": "too few levels within seeds: no test"}
    own = rows[[x, y, *given]].astype(float)
    centred = (own - own.groupby(rows[subject]).transform("mean")).to_numpy()
    left = _residuals(centred[:, :2], centred[:, 2:])
    spread = np.linalg.norm(left, axis=0)
    scale = np.linalg.norm(centred[:, :2], axis=0)
    for name, rest, total in zip((x, y), spread, scale, strict=True):
        if rest <= _TINY * max(1.0, total):
            return {**empty, **about, "flags": f"{name} does not vary within seeds: no test"}
    r = float(np.clip(left[:, 0] @ left[:, 1] / spread.prod(), -1, 1))
    if 1 - abs(r) < _TINY:
        return {**empty, **about, "r": r, "flags": "no scatter at all: no test"}
    t = r * np.sqrt(df / (1 - r**2))
    reach = stats.norm.ppf(0.975) / np.sqrt(df - 1)
    low, high = (float(np.tanh(np.arctanh(r) + sign * reach)) for sign in (-1, 1))
    p = float(2 * stats.t.sf(abs(t), df))
    return {"r": r, "low": low, "high": high, "p": p, **about, "flags": ""}


def _residuals(values: Floats, others: Floats) -> Floats:
    """What is left of each column of `values` [N, 2] when others [N, k] have explained theirs."""
    if not others.shape[1]:
        return values
    weights = np.linalg.lstsq(others, values, rcond=None)[0]
    return np.asarray(values - others @ weights, dtype=np.float64)


def explained(rows: pd.DataFrame) -> pd.DataFrame:
    """The correlation of gain and likeness within seeds, by part, model and kind of likeness.

    rows: frames of :func:`gains`, joined. Where levels vary, sparsity moves both sides, and a
    second row has it partialled out. Where no re-initialised ticket beats the best trivial rule,
    gain is the ticket's own accuracy less a constant, and the row says so. Holm's adjustment is
    over the whole table, which is one family.

    Returns part, model, likeness, given, r, low, high, p_likeness, holm_likeness, df, subjects, n,
    chance (do all re-initialised tickets fail against the trivial rule?), flags.
    """
    found = []
    for part in [name for name in RESTS if name in set(rows["part"])]:
        of_part = rows[rows["part"] == part]
        for model in in_order(of_part["model"]):
            own = of_part[of_part["model"] == model]
            chance = not own["fresh_beats"].any()
            conditions = [[], ["sparsity"]] if len(own["level"].unique()) > 1 else [[]]
            for likeness in LIKENESS:
                for given in conditions:
                    row = within(own, likeness, "gain", "seed", given)
                    key = {"part": part, "model": model, "likeness": likeness}
                    found.append({**key, "given": ", ".join(given), **row, "chance": chance})
    table = pd.DataFrame(found).rename(columns={"p": "p_likeness"})
    return adjust(table.astype(dict.fromkeys(["r", "low", "high", "p_likeness"], "Float64")))


# -- exhibits -------------------------------------------------------------------------------------
def explained_table(rows: pd.DataFrame) -> Exhibit:
    """Correlations of gain with likeness, and why there is none where there is none."""
    data = explained(rows)
    table = pd.DataFrame(
        {
            "within": [RESTS[part] for part in data["part"]],
            "model": data["model"].map(model_name),
            "trained weights": data["likeness"].map(LIKENESS),
            "given": data["given"].replace("", "nothing"),
            "r": [_r_text(row) for _, row in data.iterrows()],
            "p (Holm)": [_p_text(row) for _, row in data.iterrows()],
            "fresh start values": [
                "at chance everywhere" if chance else "above chance somewhere"
                for chance in data["chance"]
            ],
        }
    )
    caption = (
        "Correlation, within seeds, of the gain of rewinding (accuracy of the ticket less that of "
        "the same mask with fresh start values) with that of trained weights with their start or "
        f"with dense. {_basis(rows)} In brackets 95 % intervals (Fisher); repeated-measures "
        "correlation, and given sparsity the partial one. p after Holm over this table. Where "
        "fresh start values are at chance everywhere, gain is the ticket's own accuracy less a "
        "constant, and a correlation says nothing of rewinding."
    )
    return Exhibit(caption, f"Table of {len(table)} correlations.", data, table=table)


def gain_figure(rows: pd.DataFrame) -> Exhibit:
    """Gain against likeness; colour and form are the model, the marker's fill is the part.

    The legend has one entry for each pair that is drawn, and names parts where there are several.
    """
    models = in_order(rows["model"])
    parts = [part for part in RESTS if part in set(rows["part"])]
    with paper_style():
        size = (WIDTH, 3.0 * len(LIKENESS) + 1.4)
        figure = Figure(figsize=size, layout="constrained", facecolor=PAPER)
        panels = figure.subplots(len(LIKENESS), squeeze=False)[:, 0]
        for axes, (name, words) in zip(panels, LIKENESS.items(), strict=True):
            for model in models:
                for part in parts:
                    own = rows[(rows["model"] == model) & (rows["part"] == part)]
                    look = MODEL_LOOKS[model]
                    axes.plot(
                        own[name],
                        100 * own["gain"],
                        linestyle="",
                        marker=look.marker,
                        color=look.colour,
                        fillstyle=FILLS[part],
                        alpha=0.7,
                    )
            axes.axhline(0, color=BLACK, linewidth=1)
            axes.locator_params(axis="x", nbins=5)
            axes.set(xlabel=f"correlation of trained weights {words}", ylabel="gain, points")
        held = set(zip(rows["model"], rows["part"], strict=True))
        drawn = [(m, p) for m in models for p in parts if (m, p) in held]
        figure.legend(
            handles=[
                _sample(
                    MODEL_LOOKS[model],
                    FILLS[part],
                    model_name(model) + (f", {part}" if len(parts) > 1 else ""),
                )
                for model, part in drawn
            ],
            loc="outside lower center",
            ncols=2,
            frameon=False,
            fontsize=POINTS,
        )
    caption = (
        "The gain of rewinding against the correlation of trained weights with their start (above) "
        f"and with the dense model's (below), over surviving weights. {_basis(rows)} Each mark is "
        "one level of one run."
    )
    reach = f"{100 * rows['gain'].min():.1f} to {100 * rows['gain'].max():.1f}"
    alt = f"Scatter charts of {len(rows)} tickets: gains of {reach.replace('-', '−')} points."
    return Exhibit(caption, alt, rows, figure)


def _sample(look: Look, fill: Literal["full", "none", "bottom"], name: str) -> Line2D:
    """One entry of the legend."""
    return Line2D(
        [], [], linestyle="", marker=look.marker, color=look.colour, fillstyle=fill, label=name
    )


def gain_sentence(rows: pd.DataFrame) -> str:
    """Does likeness explain the gain? Where the records cannot say, why."""
    chance = rows.groupby("model")["fresh_beats"].any()
    at_chance = [model_name(model) for model in in_order(rows["model"]) if not chance[model]]
    least, most = 100 * rows["gain"].min(), 100 * rows["gain"].max()
    text = proper(
        f"Rewinding gains between {least:+.1f} and {most:+.1f} points over fresh start values in "
        f"{len(rows)} comparisons."
    )
    text += f" {_PRETRAINED}"
    if at_chance:
        text += (
            " With fresh start values these models are never shown to beat the best trivial rule: "
            f"{', '.join(at_chance)}, {_tried(rows[~rows['model'].map(chance)])}. There the "
            "gain is the ticket's own accuracy less a constant, and whether the likeness of "
            "weights explains when rewinding helps cannot be told."
        )
    still, moved = rows["gain"] < _NO_GAIN, rows["gain"] >= _NO_GAIN
    if still.any() and moved.any():
        near, far = (rows.loc[kind, "correlation_start"].mean() for kind in (still, moved))
        text += (
            f" Not tested: the {int(still.sum())} that gain less than {100 * _NO_GAIN:.0f} point "
            f"end at a mean correlation of {near:.4f} with their start, the others at {far:.4f}."
        )
    learning = rows[rows["model"].isin(chance.index[chance])]
    return f"{text} {_answer(explained(learning))}".strip() if len(learning) else text


_PRETRAINED = (
    "The start values of a ticket are pre-trained, so fresh ones take pre-training away too: this "
    "gain is that of both, and never of the lottery's draw alone."
)


def _tried(rows: pd.DataFrame) -> str:
    """What was run: the levels, and whatever else varied in the parts that are held."""
    parts = set(rows["part"])
    levels = len(rows.loc[rows["part"] != "rates", "level"].unique())
    tried = [f"at {levels} {'level' if levels == 1 else 'levels'} of the ladder"] if levels else []
    if "rates" in parts:
        rates = len(rows.loc[rows["part"] == "rates", "learning_rate"].unique())
        tried.append(f"at {rates} learning {'rate' if rates == 1 else 'rates'} of one level")
    if "sufficient" in parts:
        tried.append("after training four times as long")
    return " and ".join(tried)


def _answer(found: pd.DataFrame) -> str:
    """The significant correlations, in words."""
    tested = found[found["holm_likeness"].notna()]
    if tested.empty:
        reasons = ", ".join(dict.fromkeys(found["flags"]))
        return f"Where fresh start values do learn, there is no test yet ({reasons})."
    hits = tested[tested["holm_likeness"] < 0.05]
    words = [
        f"{model_name(r['model'])}, {RESTS[r['part']]}, {LIKENESS[r['likeness']]}"
        f"{', given sparsity' if r['given'] else ''}: r = {_r_text(r)}"
        for _, r in hits.iterrows()
    ]
    return (
        f"Where fresh start values do learn, {len(hits)} of {len(tested)} correlations of the gain "
        f"with the likeness of weights are told from 0 (p < 0.05 after Holm; in brackets 95 % "
        "intervals of the repeated-measures correlation)"
        f"{': ' + '; '.join(words) if words else ''}."
    )


def _r_text(row: pd.Series[Any]) -> str:
    if pd.isna(row["r"]):
        return str(row["flags"])
    text = f"{row['r']:.2f}"
    if not pd.isna(row["low"]):
        text += f" ({row['low']:.2f} to {row['high']:.2f})"
    return proper(text)


def _p_text(row: pd.Series[Any]) -> str:
    if pd.isna(row["holm_likeness"]):
        return str(row["flags"])
    return "< 0.0001" if row["holm_likeness"] < 1e-4 else f"{row['holm_likeness']:.4f}"


def _basis(rows: pd.DataFrame) -> str:
    seeds = rows.groupby(["part", "model"])["seed"].nunique()
    return f"{len(rows)} tickets, {counted(seeds, 'seed')} a model."
