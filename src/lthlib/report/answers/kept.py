"""Does a pruned model keep its answers? Each measure beside what it would be for a poor reason.

Three controls stand beside every number:

    label-blind    the pruned model has its own share of each answer, and looks at nothing
    floor          two dense models that differ in their seed alone
    another seed   the ticket of one seed against the dense model of another

Predictions are those of :mod:`lthlib.report.measures`; "main branch" and one stage are meant where
a function says nothing else. Everything is counted over decisions; runs stay apart, so that
intervals over seeds can be made from what is returned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pingouin

from lthlib.errors import RecordError
from lthlib.report.measures import (
    CELLS,
    RECORD,
    Bools,
    Floats,
    Grid,
    Ints,
    Predictions,
    at_stage,
    grid_of,
)
from lthlib.report.statistics import (
    DENSE_LEVEL,
    MIN_SEEDS,
    MOST_FLIPPED,
    pair_values,
    proportion_interval,
    pseudo_values,
    require_complete,
)

MOST_SPLITS = 252  # the number of ways to halve ten seeds, either half first
PERMUTATIONS = 9_999

EXPECTED = (
    *("accuracy", "fidelity", "faithful_accuracy", "unfaithful_accuracy_dense"),
    *("unfaithful_accuracy_pruned", "confidence", *CELLS, "churn", "unnecessary_churn", "flips"),
    *("negative_flips", "positive_flips", "kappa"),
    *("precision", "recall", "f1", "specificity", "balanced_accuracy", "informedness"),
)


# -- what every measure would be if ... -----------------------------------------------------------
def label_blind(predictions: Predictions) -> pd.DataFrame:
    """Every measure of a model that has the pruned model's share of each answer and sees nothing.

    Within each finding the pruned model gives answer k with share q_k. A model that gives it with
    chance q_k whatever the input has, beside dense answers d and labels y,
        F = sum_k P(d = k) q_k,     A_m = sum_k P(y = k) q_k,     a = sum_k P(d = k, y = k) q_k,
    and so on. All are affine in q with two classes, so accuracy and fidelity of such models
    correlate by exactly +1 or -1, and no trend in them need be an effect of pruning. With one
    finding its kappa is 0; pooled over several it is not, for findings differ in how often they are
    True, and that alone is agreement. Ratios are ratios of expected shares.

    Returns one row per record other than dense: run, level, branch, stage and the columns EXPECTED;
    <NA> where a measure does not exist (precision and its kin need two classes).
    Raises RecordError as :func:`lthlib.report.measures.agreements` does.

    Dense says True to a half and is right on three quarters; the pruned model says only False:

    >>> case = {"run": "r", "branch": "main", "stage": "trained", "item": list("wxyz"),
    ...         "decision": "label", "label": [1, 1, 0, 0]}
    >>> both = [pd.DataFrame(case | {"level": 0, "prediction": [1, 1, 1, 0]}),
    ...         pd.DataFrame(case | {"level": 1, "prediction": [0, 0, 0, 0]})]
    >>> names = ["accuracy", "fidelity", "faithful_accuracy", "unfaithful_accuracy_dense", "kappa"]
    >>> label_blind(pd.concat(both))[names].iloc[0].round(3).to_list()
    [0.5, 0.25, 1.0, 0.667, 0.0]
    """
    joint, records = _joint(predictions)
    per_finding = joint.sum(axis=(2, 3, 4), keepdims=True)
    share = joint.sum(axis=(2, 3), keepdims=True) / np.maximum(per_finding, 1)
    return _expected(records, joint.sum(axis=4, keepdims=True) * share)


def same_skill(predictions: Predictions) -> pd.DataFrame:
    """Every measure of a model with the pruned model's skill, whose errors are independent.

    Given the label, the pruned model answers k with share q_k(y); a model that does so without
    regard to anything else agrees with dense as much as two strangers of these skills do. What is
    above it are shared errors: the pruned model fails where dense fails. Columns as
    :func:`label_blind`; accuracy and its kin equal the measured ones by construction.
    """
    joint, records = _joint(predictions)
    per_label = joint.sum(axis=(3, 4), keepdims=True)
    share = joint.sum(axis=3, keepdims=True) / np.maximum(per_label, 1)
    return _expected(records, joint.sum(axis=4, keepdims=True) * share)


def shuffled(predictions: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """The same predictions with the answers of each pruned record dealt out anew among the items.

    Within each finding a record keeps its answers, and their logits, and nothing ties them to the
    items any more: a label-blind model with exactly the pruned model's answers. Any measure of it
    is the label-blind null of that measure, where :func:`label_blind` has no formula for it.
    Dense records stay as they are.
    """
    frame = predictions.reset_index(drop=True)
    order = np.arange(len(frame))
    draw = np.random.default_rng(seed)
    pruned = frame[frame["level"] != DENSE_LEVEL]
    for _, rows in pruned.groupby([*RECORD, "decision"], sort=True).indices.items():
        places = pruned.index.to_numpy()[rows]
        order[places] = draw.permutation(places)
    answers = [name for name in ("prediction", "logits") if name in frame.columns]
    return frame.assign(**{name: frame[name].take(order).array for name in answers})


def _joint(predictions: Predictions) -> tuple[Floats, pd.DataFrame]:
    """[R, D, K, K, K], decisions by finding, label, dense answer, own answer; and the R records."""
    grid = grid_of(predictions)
    dense = grid.dense()
    beside = grid.prediction[dense]
    classes = max(2, int(max(grid.label.max(), grid.prediction.max())) + 1)
    mixed = (grid.label * classes + beside) * classes + grid.prediction
    tally = grid.tally(mixed)
    tally = np.pad(tally, [(0, 0), (0, 0), (0, classes**3 - tally.shape[2])])
    pruned = np.flatnonzero(dense != np.arange(len(dense)))
    joint = tally[pruned].reshape(len(pruned), -1, classes, classes, classes).astype(np.float64)
    return joint, grid.records.iloc[pruned].reset_index(drop=True)


def _expected(records: pd.DataFrame, joint: Floats) -> pd.DataFrame:
    """The columns EXPECTED from an expected table [R, D, label, dense, pruned]."""
    table = joint.sum(axis=1)
    table = table / table.sum(axis=(1, 2, 3), keepdims=True)
    label, dense, pruned = np.indices(table.shape[1:])

    def share(where: Bools) -> Floats:
        return np.asarray(table[:, where].sum(axis=1), dtype=np.float64)

    same, right_d, right_m = dense == pruned, label == dense, label == pruned
    cells = {
        "a": share(right_d & right_m),
        "b": share(right_d & ~right_m),
        "c": share(~right_d & right_m),
        "e": share(~right_d & same),
        "g": share(~right_d & ~right_m & ~same),
    }
    a, b, c = cells["a"], cells["b"], cells["c"]
    f, accuracy = share(same), share(right_m)
    by_chance = (table.sum(axis=(1, 3)) * table.sum(axis=(1, 2))).sum(axis=1)
    measures = {
        "accuracy": accuracy,
        "fidelity": f,
        "faithful_accuracy": _over(a, f),
        "unfaithful_accuracy_dense": _over(b, 1 - f),
        "unfaithful_accuracy_pruned": _over(c, 1 - f),
        "confidence": _over(a, f * accuracy),
        **cells,
        "churn": 1 - f,
        "unnecessary_churn": 1 - f - abs(c - b),
        "flips": b + c,
        "negative_flips": b,
        "positive_flips": c,
        # 0/0 counts as 0, as in the measured kappa; what is left by rounding is none.
        "kappa": np.nan_to_num(_over(f - by_chance, 1 - by_chance)).round(12) + 0.0,
    }
    if table.shape[1] == 2:
        tp, fp, fn = (share((label == y) & (pruned == m)) for y, m in ((1, 1), (0, 1), (1, 0)))
        recall, specificity = _over(tp, tp + fn), _over(1 - tp - fp - fn, 1 - tp - fn)
        measures |= {
            "precision": _over(tp, tp + fp),
            "recall": recall,
            "f1": _over(2 * tp, 2 * tp + fp + fn),
            "specificity": specificity,
            "balanced_accuracy": (recall + specificity) / 2,
            "informedness": recall + specificity - 1,
        }
    nothing = np.full(len(table), np.nan)
    columns = {name: measures.get(name, nothing) for name in EXPECTED}
    return pd.concat([records, pd.DataFrame(columns).astype("Float64")], axis=1)


def _over(top: Floats, bottom: Floats) -> Floats:
    """top / bottom, NaN where bottom is 0 up to rounding."""
    quotient: Floats = np.full(len(top), np.nan)
    np.divide(top, bottom, out=quotient, where=bottom > 1e-12)
    return quotient


def beside_null(
    measured: pd.DataFrame, null: pd.DataFrame, names: Sequence[str], *, suffix: str = "null"
) -> pd.DataFrame:
    """Measures with what they would be by chance, and the residual, which is the effect itself.

    measured: a frame of agreements, described or not; null: of :func:`label_blind` or
    :func:`same_skill`. Adds accuracy, which is accuracy_pruned, and for each name <name>_<suffix>
    and <name>_residual. A residual of 0 says that the measure needs no more
    than the pruned model's shares of answers. Raises RecordError where the null lacks a record.
    """
    frame = measured.assign(accuracy=measured["accuracy_pruned"])
    ours = null[[*RECORD, *names]].rename(columns={name: f"{name}_{suffix}" for name in names})
    joined = frame.merge(ours, on=RECORD, how="left", validate="one_to_one", indicator="_found")
    if (joined["_found"] != "both").any():
        run = joined.loc[joined["_found"] != "both", "run"].iloc[0]
        raise RecordError(f"null model: run {run} has no row; make both from the same predictions")
    residuals = {f"{name}_residual": joined[name] - joined[f"{name}_{suffix}"] for name in names}
    return joined.drop(columns="_found").assign(**residuals)


# -- the floor: what training alone changes -------------------------------------------------------
def seed_floors(matrix: pd.DataFrame, *, groups: Sequence[str] = ()) -> pd.DataFrame:
    """Fidelity between seeds, of dense models and of tickets, as one number a run and level.

    matrix: see :func:`lthlib.report.measures.fidelity_matrix`. Each is a mean over pairs of seeds:
        floor          dense models of two seeds
        other_ticket   a dense model and this level's ticket of another seed, either way round
    A ticket that is no more faithful to its own dense model than to others has kept good answers,
    but not *its* answers.

    Each is a pseudo-value of :func:`lthlib.report.statistics.pair_values`.

    groups: columns that tell several studies apart, each with pairs of its own.

    Returns groups, run, level (dense left out), floor, other_ticket; no rows with one seed.
    """
    one = matrix[matrix["level_a"] == DENSE_LEVEL].rename(columns={"level_b": "level"})
    values = pair_values(one, "fidelity", groups=[*groups, "level"])
    dense = values["level"] == DENSE_LEVEL
    floor = values[dense].rename(columns={"fidelity": "floor"})[[*groups, "run", "floor"]]
    others = values[~dense].rename(columns={"fidelity": "other_ticket"})
    return others[[*groups, "run", "level", "other_ticket"]].merge(floor, on=[*groups, "run"])


def relative_fidelity(
    agreements: pd.DataFrame, floors: pd.DataFrame, *, groups: Sequence[str] = ()
) -> pd.DataFrame:
    """Fidelity of the main branch against its floor; floors: of :func:`seed_floors`.

    Adds the columns of the floors, and
        relative_fidelity = F / floor, of means over seeds: above 1 the ticket keeps more of its
            dense model's answers than a second training of the dense model would
        own_answers = F - other_ticket: what belonging to the same seed adds
    From three seeds on they are jackknife pseudo-values over seeds, as the floors are. All are <NA>
    for controls, and with one seed, which has no floor. groups: as for the floors.
    """
    ours = floors.assign(branch="main")
    keys = [*groups, "run", "level", "branch"]
    joined = agreements.merge(ours, on=keys, how="left", validate="many_to_one")
    joined = joined.astype(dict.fromkeys(["floor", "other_ticket"], "Float64"))
    by = [*groups, "level", "branch", *(["stage"] if "stage" in joined.columns else [])]
    fidelity, floor = (
        joined[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in ("fidelity", "floor")
    )
    ratios = np.full(len(joined), np.nan)
    for own in joined.groupby(by).indices.values():
        ratios[own] = _ratio_values(fidelity[own], floor[own])
    return joined.assign(
        relative_fidelity=pd.array(ratios, dtype="Float64"),
        own_answers=joined["fidelity"] - joined["other_ticket"],
    )


def _ratio_values(fidelity: Floats, floor: Floats) -> Floats:
    """Pseudo-values of mean fidelity over mean floor, of the seeds of one level.

    All NaN where dense models of different seeds agree on nothing, with or without one of them:
    the mean of some pseudo-values is no estimate of the ratio.
    """
    n = len(fidelity)
    if n < 3 or np.isnan(floor).any():
        return _over(fidelity, floor)
    # The floor's own pseudo-values give back the mean over the pairs without each seed.
    without = (n * floor.mean() - floor) / (n - 1)
    left_out = _over((n * fidelity.mean() - fidelity) / (n - 1), without)
    whole = _over(np.array([fidelity.mean()]), np.array([floor.mean()]))
    values = n * whole - (n - 1) * left_out
    return values if np.isfinite(values).all() else np.full(n, np.nan)


# -- the same items at several seeds --------------------------------------------------------------
@dataclass(frozen=True)
class _Cube:
    """Answers of the main branch at one stage, as arrays [K seeds, L levels, C decisions]."""

    runs: list[str]
    levels: list[int]  # the first is dense
    cases: pd.DataFrame  # C rows: item, decision
    label: Ints  # [C]
    answer: Ints  # [K, L, C]

    @property
    def unfaithful(self) -> Bools:
        """[K, L - 1, C], where a ticket answers other than the dense model of its seed."""
        return np.asarray(self.answer[:, 1:] != self.answer[:, :1])


def _cube(predictions: pd.DataFrame, stage: str) -> _Cube:
    chosen = at_stage(predictions, stage)
    grid = grid_of(chosen[chosen["branch"] == "main"])
    require_complete(grid.records, ["level"])
    if not grid.present.all() or (grid.label != grid.label[0]).any():
        raise RecordError(
            "the runs have different items or labels: choose runs of one task and one data seed"
        )
    runs, levels = (sorted(grid.records[name].unique()) for name in ("run", "level"))
    if levels[0] != DENSE_LEVEL:
        raise RecordError("there is no dense record (level 0) to compare with: keep it")
    shape = (len(runs), len(levels), len(grid.cases))
    return _Cube(runs, levels, grid.cases, grid.label[0], grid.prediction.reshape(shape))


def exemplars(predictions: pd.DataFrame, *, stage: str = "trained") -> pd.DataFrame:
    """Pruning-identified exemplars: decisions whose usual answer changes (Hooker et al. 2019).

    The usual answer of a level is the most frequent one over all its seeds; a decision is a PIE
    where that of the dense models differs from that of the pruned ones. Where two answers are
    equally frequent there is no usual one: `tied`, and no PIE.

    Returns one row per level (dense left out) and decision: level, item, decision, label, dense,
    pruned (the usual answers), tied, pie, unfaithful (share of seeds whose ticket and dense model
    differ there: the one-run, noisy version of the same question).
    Raises RecordError if runs differ in items, labels or levels.
    """
    cube = _cube(predictions, stage)
    votes = _votes(cube)
    usual, tied = votes.argmax(axis=2), _tied(votes)
    parts = []
    for i, level in enumerate(cube.levels[1:], start=1):
        either = tied[0] | tied[i]
        columns = {"label": cube.label, "dense": usual[0], "pruned": usual[i], "tied": either}
        part = cube.cases.assign(level=level, **columns, pie=(usual[0] != usual[i]) & ~either)
        parts.append(part.assign(unfaithful=cube.unfaithful[:, i - 1].mean(axis=0)))
    table = pd.concat(parts, ignore_index=True)
    return table[["level", *(name for name in table.columns if name != "level")]]


def exemplar_shares(predictions: pd.DataFrame, *, stage: str = "trained") -> pd.DataFrame:
    """How many decisions are PIE at each level, and how many would be without any pruning.

    pie is the share over all K seeds, with low and high its exact interval over decisions (seeds
    are not resampled); loss and gain are the PIE where only the usual dense, or only the usual
    pruned answer is right; tied is the share without a usual answer. To see what seeds alone do,
    the seeds are halved in every way (at most 252): halves is the share of PIE between dense models
    of one half and tickets of the other, null that between dense models of both halves. The two
    have the same number of models in each mode, and so compare; excess is their difference.

    Returns level, seeds, decisions, pie, low, high, loss, gain, tied, halves, null, excess; the
    last three are <NA> with one seed.
    """
    table = exemplars(predictions, stage=stage)
    cube = _cube(predictions, stage)
    halved = [_halves(cube, place) for place in range(1, len(cube.levels))]
    rows = []
    for i, (level, part) in enumerate(table.groupby("level")):
        pie = part[part["pie"]]
        n = len(part)
        interval = proportion_interval(len(pie), n)
        right = {name: float((pie[name] == pie["label"]).sum() / n) for name in _SIDES}
        ends = (len(pie) / n, interval.low, interval.high)
        kinds = (right["dense"], right["pruned"], part["tied"].mean())
        rows.append((level, len(cube.runs), n, *ends, *kinds, *(share[0] for share in halved[i])))
    names = ["level", "seeds", "decisions", "pie", "low", "high", "loss", "gain", "tied"]
    shares = pd.DataFrame(rows, columns=[*names, "halves", "null"])
    shares = shares.astype({"halves": "Float64", "null": "Float64"})
    return shares.assign(excess=shares["halves"] - shares["null"])


def exemplars_p(predictions: pd.DataFrame, level: int, *, stage: str = "trained") -> float | None:
    """Two-sided p of the excess of :func:`exemplar_shares` at one level.

    If pruning changed nothing but what another training does, dense model and ticket of a seed
    could change places. Exact, over all ways to exchange them within seeds (Fisher 1935); its least
    value is 2 / 2^K. None with fewer than three seeds or more than twelve.
    """
    cube = _cube(predictions, stage)
    seeds = len(cube.runs)
    if not MIN_SEEDS <= seeds <= MOST_FLIPPED:
        return None
    halves, null = _halves(cube, cube.levels.index(level), exchanged=True)
    # The first exchange is none at all.
    excess = halves - null
    above, below = ((sign * (excess - excess[0]) >= -1e-9).mean() for sign in (1, -1))
    return float(min(1.0, 2 * min(above, below)))


_SIDES = ("dense", "pruned")


def _votes(cube: _Cube) -> Ints:
    """[L, C, classes], how many seeds give each answer."""
    classes = np.arange(int(cube.answer.max()) + 1)
    return np.asarray((cube.answer[..., None] == classes).sum(axis=0), dtype=np.int64)


def _tied(votes: npt.NDArray[Any]) -> Bools:
    """Where the two most frequent answers are equally frequent; votes: [..., classes]."""
    if votes.shape[-1] == 1:
        return np.zeros(votes.shape[:-1], dtype=bool)
    ordered = np.sort(votes, axis=-1)
    return np.asarray(ordered[..., -1] == ordered[..., -2])


def _halves(cube: _Cube, place: int, *, exchanged: bool = False) -> tuple[Floats, Floats]:
    """halves and null of the level at `place` in the cube, [exchanges]; <NA> with one seed.

    Means over ordered pairs of halves; with an odd number of seeds each pair leaves one out, to
    keep the sizes equal. exchanged: of all 2^K ways to exchange dense model and ticket within
    seeds, the first of which is none; else of that alone.
    """
    seeds, size = len(cube.runs), len(cube.runs) // 2
    if not size:
        return np.array([np.nan]), np.array([np.nan])
    parts = [
        (half, other)
        for half in combinations(range(seeds), size)
        for other in combinations([s for s in range(seeds) if s not in half], size)
    ]
    if len(parts) > MOST_SPLITS:
        chosen = np.random.default_rng(0).choice(len(parts), MOST_SPLITS, replace=False)
        parts = [parts[i] for i in sorted(chosen)]
    # Exchanges [exchanges, seeds]: 1 where a seed's two models change places.
    swaps = np.array(list(product((0, 1) if exchanged else (0,), repeat=seeds)))
    classes = np.arange(int(cube.answer.max()) + 1)
    answer = cube.answer[:, [0, place]]
    # Where all models of all seeds agree, no choice among them changes the usual answer.
    told = answer[..., (answer != answer[:1, :1]).any(axis=(0, 1))]
    given = (told[..., None] == classes).astype(np.float32)
    halves, null = np.zeros(len(swaps)), np.zeros(len(swaps))
    for half, other in parts:
        ours, theirs = (_usual(given[list(own)], each=exchanged) for own in (half, other))
        clear = ours.sum(axis=2) @ theirs.sum(axis=2).T
        changed = clear - np.tensordot(ours, theirs, axes=((1, 2), (1, 2)))
        ours_at, theirs_at = (swaps[:, own] @ 2 ** np.arange(size)[::-1] for own in (half, other))
        # The other half's models in the other mode: where these are swapped, those are not.
        halves += changed[ours_at, len(theirs) - 1 - theirs_at]
        null += changed[ours_at, theirs_at]
    halves, null = (sums / len(parts) / answer.shape[2] for sums in (halves, null))
    return halves, null


def _usual(given: npt.NDArray[np.float32], *, each: bool) -> npt.NDArray[np.float32]:
    """[patterns, C, classes], the usual answers of some seeds' models; nothing where two are tied.

    given: [seeds, dense or pruned, C, classes], 1 at each answer; a pattern chooses a model of
    each seed, the first the dense ones and the last the pruned ones. each: all patterns, not just
    these two.
    """
    size = len(given)
    chosen = product((0, 1), repeat=size) if each else ((0,) * size, (1,) * size)
    votes = np.stack([given[range(size), which].sum(axis=0) for which in chosen])
    usual = votes == votes.max(axis=2, keepdims=True)
    return np.asarray(usual & (usual.sum(axis=2, keepdims=True) == 1), dtype=np.float32)


def unfaithful_counts(predictions: pd.DataFrame, *, stage: str = "trained") -> pd.DataFrame:
    """At how many seeds is each decision unfaithful, and at how many would it be by chance?

    by_chance: each seed's unfaithful decisions fall where they will, independently of the others',
    at that seed's own rate (a Poisson-binomial distribution).

    Returns level, seeds (0 to K), decisions, share, by_chance.
    """
    cube = _cube(predictions, stage)
    k = len(cube.runs)
    parts = []
    for i, level in enumerate(cube.levels[1:]):
        changed = cube.unfaithful[:, i]
        counts = np.bincount(changed.sum(axis=0), minlength=k + 1)
        chance = np.ones(1)
        for rate in changed.mean(axis=1):
            chance = np.convolve(chance, [1 - rate, rate])
        columns = {"seeds": range(k + 1), "decisions": counts, "share": counts / counts.sum()}
        parts.append(pd.DataFrame(columns).assign(by_chance=chance, level=level))
    table = pd.concat(parts, ignore_index=True)
    return table[["level", "seeds", "decisions", "share", "by_chance"]]


def unfaithful_icc(predictions: pd.DataFrame, *, stage: str = "trained") -> pd.DataFrame:
    """Intraclass correlation of unfaithfulness over seeds: is it a property of the decision?

    A decision is unfaithful (1) or not (0) at each of K seeds. ICC(2,1), for one seed drawn at
    random and a two-way layout of decisions by seeds (Shrout and Fleiss 1979), by pingouin, with
    its F interval: 0 says that seeds change unrelated decisions, 1 that all change the same ones.

    Returns level, icc, low, high, seeds, decisions, flags; icc is <NA>, and `flags` says why, below
    three seeds, for one decision, or where every decision is faithful, or unfaithful, at every
    seed. Where all seeds change the same decisions it is 1, and has no interval, as `flags` says.
    """
    cube = _cube(predictions, stage)
    rows = []
    for i, level in enumerate(cube.levels[1:]):
        icc, low, high, why = _icc(cube.unfaithful[:, i])
        rows.append((level, icc, low, high, len(cube.runs), len(cube.cases), why))
    names = ["level", "icc", "low", "high", "seeds", "decisions", "flags"]
    table = pd.DataFrame(rows, columns=names)
    return table.astype(dict.fromkeys(["icc", "low", "high"], "Float64"))


def _icc(changed: Bools) -> tuple[float | None, float | None, float | None, str]:
    """ICC, low, high and why there is none; changed: [K, C]."""
    seeds = len(changed)
    if seeds < MIN_SEEDS:
        return None, None, None, f"{seeds} of at least {MIN_SEEDS} seeds: no ICC"
    if changed.all() or not changed.any():
        return None, None, None, "every decision alike at every seed: no ICC"
    if changed.shape[1] == 1:
        return None, None, None, "one decision: no ICC"
    if (changed == changed[0]).all():
        # Without any error its F is infinite.
        return 1.0, None, None, "no interval: all seeds alike"
    seed, case = np.indices(changed.shape)
    columns = {"seed": seed.ravel(), "case": case.ravel(), "changed": changed.ravel().astype(float)}
    table = pingouin.intraclass_corr(pd.DataFrame(columns), "case", "seed", "changed")
    row = table.iloc[1]  # ICC(2,1): two-way random effects, absolute agreement, one seed
    low, high = row.filter(like="CI").iloc[0]
    return float(row["ICC"]), float(low), float(high), ""


# -- the fidelity matrix --------------------------------------------------------------------------
def block_test(
    matrix: pd.DataFrame, *, permutations: int = PERMUTATIONS, seed: int = 0
) -> pd.DataFrame:
    """Do the answers of one seed's levels belong together? A permutation test of seed labels.

    The statistic is the mean fidelity between different levels of the same seed, minus that
    between different levels of different seeds. If a ticket had no tie to its own seed, its name
    could be exchanged with those of the other tickets of its level; names are permuted within each
    level, so that differences between levels are left alone. p = (1 + hits) / (1 + permutations),
    one-sided (Phipson and Smyth 2010).

    Returns one row: within, between, difference, p, permutations, seeds, levels, flags; p is <NA>
    and `flags` says why below three seeds, with fewer than two levels, or where all answers are
    alike. Raises RecordError where a seed lacks a level.
    """
    if matrix.empty:
        names = ["within", "between", "difference", "p"]
        table = pd.DataFrame([[None] * 4], columns=names).astype("Float64")
        return table.assign(permutations=0, seeds=0, levels=0, flags="no level: nothing to compare")
    square, runs, levels = _by_run_and_level(matrix)
    k, count = len(runs), len(levels)
    upper = np.triu_indices(count, 1)
    pairs = square[:, upper[0], :, upper[1]]  # [pairs of levels, seed at one, seed at the other]
    numbers: tuple[float | None, ...] = (None, None, None, None)
    done, why = 0, ""
    if count > 1:
        own = float(np.trace(pairs, axis1=1, axis2=2).mean() / k)
        numbers = (own, None, None, None)
        if k > 1:
            other = float((pairs.sum(axis=(1, 2)).mean() - k * own) / (k * (k - 1)))
            numbers = (own, other, own - other, None)
    if count == 1:
        why = "one level: nothing to compare"
    elif k < MIN_SEEDS:
        why = f"{k} of at least {MIN_SEEDS} seeds: no test"
    elif np.ptp(pairs) == 0:
        why = "all answers alike: no test"
    else:
        reached, done = _as_much_by_chance(pairs, upper, permutations, seed), permutations
        numbers = (*numbers[:3], (1 + reached) / (1 + done))
    names = ["within", "between", "difference", "p"]
    table = pd.DataFrame([numbers], columns=names).astype("Float64")
    return table.assign(permutations=done, seeds=k, levels=count, flags=why)


def _as_much_by_chance(
    pairs: Floats, levels: tuple[npt.NDArray[Any], ...], permutations: int, seed: int
) -> int:
    """How many permutations of seed names within levels agree as much within a seed as found."""
    count, k = int(levels[1].max()) + 1, pairs.shape[1]
    order = np.random.default_rng(seed).random((permutations, count, k)).argsort(axis=2)
    sums = np.zeros(permutations)
    for square, a, b in zip(pairs, *levels, strict=True):
        sums += square[order[:, a], order[:, b]].sum(axis=1)
    found = np.trace(pairs, axis1=1, axis2=2).sum()
    return int((sums >= found - 1e-9).sum())


def _by_run_and_level(matrix: pd.DataFrame) -> tuple[Floats, list[str], list[int]]:
    """[K, L, K, L] of fidelity, the K runs and the L levels."""
    runs, levels = (sorted(matrix[name].unique()) for name in ("run_a", "level_a"))
    rows = pd.MultiIndex.from_product([runs, levels])
    wide = matrix.pivot_table("fidelity", ["run_a", "level_a"], ["run_b", "level_b"])
    wide = wide.reindex(index=rows, columns=rows)
    if wide.isna().any(axis=None):
        # A record that is there agrees with itself.
        run, level = wide.index[int(np.argmax(np.isnan(np.diag(wide))))]
        raise RecordError(f"fidelity matrix: run {run} lacks level {level}; finish it or leave out")
    k, count = len(runs), len(levels)
    return wide.to_numpy(dtype=np.float64).reshape(k, count, k, count), runs, levels


def answer_map(matrix: pd.DataFrame) -> pd.DataFrame:
    """All models as points in a plane, whose distances are shares of different answers.

    Classical scaling (Torgerson 1952) of 1 - fidelity. Returns run, level, x, y, and shown: the
    share of the squared distances (of positive eigenvalues) that the plane holds.
    """
    square, runs, levels = _by_run_and_level(matrix)
    n = len(runs) * len(levels)
    # Hamming distances are squared Euclidean ones, between vectors of answers.
    apart = 1 - square.reshape(n, n)
    middle = np.eye(n) - 1 / n
    values, vectors = np.linalg.eigh(-middle @ apart @ middle / 2)
    values, vectors = values[::-1].clip(min=0), vectors[:, ::-1]
    points = np.zeros((n, 2))
    points[:, : min(2, n)] = (vectors * np.sqrt(values))[:, :2]
    # Eigenvectors have no sign of their own: dense models stand at the left and below.
    dense = points[:: len(levels)].mean(axis=0)
    points *= np.where(dense > 0, -1, 1)
    names = pd.MultiIndex.from_product([runs, levels], names=["run", "level"]).to_frame(index=False)
    shown = float(values[:2].sum() / values.sum()) if values.sum() > 0 else 1.0
    return names.assign(x=points[:, 0], y=points[:, 1], shown=shown)


# -- by relation, category or finding -------------------------------------------------------------
def by_group(
    predictions: pd.DataFrame, items: pd.DataFrame, column: str, *, stage: str = "trained"
) -> pd.DataFrame:
    """Accuracy, fidelity and flips within each group of decisions, for the main branch.

    items: one row per item with its facts; column: the one that names the group (relation,
    meta_category), or "decision" for each finding. The label-blind null keeps the model's share of
    answers over *all* groups, for a model that sees nothing does not know the group either.

    fidelity_skill is the fidelity of two models with these accuracies on each label of the group,
    whose errors are independent; floor is that between dense models of two seeds, as a jackknife
    pseudo-value of this run (see :func:`lthlib.report.statistics.pair_values`; <NA> with one seed).

    Returns run, level, group, items, decisions, accuracy_dense, accuracy, fidelity, negative_flips,
    positive_flips, accuracy_null, fidelity_null, fidelity_skill, floor.
    Raises RecordError for a column that items lack, or an item without facts.
    """
    chosen = at_stage(predictions, stage)
    grid = grid_of(chosen[chosen["branch"] == "main"])
    code, names = pd.factorize(_groups(grid, items, column), sort=True)
    dense = grid.dense()
    beside = grid.prediction[dense]
    right_d, right_m = beside == grid.label, grid.prediction == grid.label
    own, agree = _blind_chances(grid, beside)
    values = {
        "accuracy_dense": right_d,
        "accuracy": right_m,
        "fidelity": grid.prediction == beside,
        "negative_flips": right_d & ~right_m,
        "positive_flips": ~right_d & right_m,
        "accuracy_null": own,
        "fidelity_null": agree,
    }
    member = np.eye(len(names))[code]
    size = grid.present @ member
    record, group = np.nonzero(size)
    per_item = pd.DataFrame({"item": grid.cases["item"], "group": code}).drop_duplicates()
    items_of = per_item["group"].value_counts().sort_index().to_numpy()
    table = grid.records[["run", "level"]].iloc[record].reset_index(drop=True)
    table = table.assign(group=names.to_numpy()[group], items=items_of[group])
    table["decisions"] = size[record, group].astype(np.int64)
    for name, value in values.items():
        sums = np.where(grid.present, value, 0) @ member
        table[name] = sums[record, group] / size[record, group]
    skill = _same_skill_by_group(grid, dense, code, len(names)) / np.maximum(size, 1)
    table["fidelity_skill"] = skill[record, group]
    floor = _floor_by_group(grid, member)[dense]
    table["floor"] = pd.array(floor[record, group], dtype="Float64")
    return table


def _same_skill_by_group(grid: Grid, dense: Ints, code: Ints, groups: int) -> Floats:
    """[R, groups], expected number of agreements where errors are independent given the label."""
    finding = pd.factorize(grid.cases["decision"], sort=True)[0]
    place = code * (finding.max() + 1) + finding
    stratum = place * (grid.label.max() + 1) + grid.label
    count = int(stratum.max()) + 1
    group_of = np.zeros(count, dtype=np.int64)
    group_of[stratum.ravel()] = np.broadcast_to(code, stratum.shape).ravel()
    expected = np.zeros((len(stratum), groups))
    for i, own in enumerate(stratum):
        here = grid.present[i]
        total = np.bincount(own[here], minlength=count)
        for answer in range(int(grid.prediction.max()) + 1):
            given, beside = (
                np.bincount(own[here & (grid.prediction[record] == answer)], minlength=count)
                for record in (i, dense[i])
            )
            both = given * beside / np.maximum(total, 1)
            expected[i] += np.bincount(group_of, weights=both, minlength=groups)
    return expected


def _floor_by_group(grid: Grid, member: Floats) -> Floats:
    """[R, groups], pseudo-values of how dense records of two seeds agree; NaN for the others."""
    floor: Floats = np.full((len(grid.records), member.shape[1]), np.nan)
    records = np.flatnonzero(grid.records["level"] == DENSE_LEVEL)
    for i in records:
        others = [j for j in records if j != i and (grid.present[i] & grid.present[j]).any()]
        shares = []
        for j in others:
            both = grid.present[i] & grid.present[j]
            size = both @ member
            agree = (both & (grid.prediction[i] == grid.prediction[j])) @ member
            shares.append(np.where(size > 0, agree / np.maximum(size, 1), np.nan))
        if shares:
            floor[i] = np.mean(shares, axis=0)
    floor[records] = pseudo_values(pd.DataFrame(floor[records]))
    return floor


def groups_alike(items: pd.DataFrame, one: str, other: str) -> dict[str, str]:
    """Groups by `one` that hold exactly the items of a group by `other`, and the latter's name.

    >>> facts = pd.DataFrame({"relation": ["on", "on", "near"], "category": ["A", "A", "B"]})
    >>> groups_alike(facts, "relation", "category")
    {'near': 'B', 'on': 'A'}
    """
    counts = pd.crosstab(items[one], items[other])
    alone = (counts > 0).sum(axis=1).eq(1)
    home = counts.idxmax(axis=1)
    whole = home.map((counts > 0).sum(axis=0)).eq(1)
    found = home[alone & whole]
    return {str(name): str(group) for name, group in found.items()}


def _groups(grid: Grid, items: pd.DataFrame, column: str) -> pd.Series[str]:
    if column == "decision":
        return grid.cases["decision"]
    if column not in items.columns:
        raise RecordError(f"items have no column {column!r} to group by; they have {list(items)}")
    found = grid.cases["item"].map(items.set_index("item")[column])
    if found.isna().any():
        item = grid.cases["item"][found.isna()].iloc[0]
        raise RecordError(f"item {item!r} has no {column}: read the items of the same run")
    return found


def _blind_chances(grid: Grid, dense: Ints) -> tuple[Floats, Floats]:
    """[R, C] each: chance that the label-blind model is right, and that it agrees with dense."""
    given = grid.tally(grid.prediction)
    classes = max(given.shape[2], int(max(grid.label.max(), dense.max())) + 1)
    given = np.pad(given, [(0, 0), (0, 0), (0, classes - given.shape[2])])
    share = given / np.maximum(given.sum(axis=2, keepdims=True), 1)
    finding = pd.factorize(grid.cases["decision"], sort=True)[0]
    record = np.arange(len(given))[:, None]
    return share[record, finding, grid.label], share[record, finding, dense]


def group_differences(groups: pd.DataFrame, name: str) -> pd.DataFrame:
    """How each group differs from all the others of the same run and level.

    groups: a frame of :func:`by_group`; name: one of its measures. Returns run, level, group,
    difference: the group's value minus that of all other decisions; <NA> where there are none.
    """
    weight, key = groups["decisions"], [groups["run"], groups["level"]]
    total = (groups[name] * weight).groupby(key).transform("sum")
    rest = weight.groupby(key).transform("sum") - weight
    others = (total - groups[name] * weight) / rest.where(rest > 0)
    frame = groups[["run", "level", "group"]].assign(difference=groups[name] - others)
    return frame.astype({"difference": "Float64"})
