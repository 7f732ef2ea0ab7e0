"""Equivalence: is a ticket as accurate as its reference, within a margin fixed beforehand?

"No significant difference" is no evidence of equality: with few seeds everything passes. Two
one-sided tests (TOST, Schuirmann 1987) turn the burden round: they show that the difference lies
within -+ a margin, or fail to. The unit is the seed, and both sides share it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from lthlib.errors import RecordError
from lthlib.report.statistics import ALPHA, holm_rows, refusal, t_interval

# One point of accuracy, absolute. A test set of 1,600 items has a standard error of about half a
# point at 95 % accuracy, so that less than a point could not be told from the choice of items; and
# at such accuracies it is what Gan et al. (2022) let a relaxed ticket lose, 1 % of the dense score.
MARGIN = 0.01
# Where another reader might have put it; the sensitivity figure shows every margin in between.
MARGINS = (0.005, 0.01, 0.02, 0.05)
# A margin says something only where it is small against what dense has over the best rule that
# looks at no input: at a fifth of it, a ticket within the margin keeps at least 80 % of that.
LARGEST_PART = 0.2

EQUIVALENT, INFERIOR, SUPERIOR = "equivalent", "inferior", "superior"
INCONCLUSIVE, NOT_APPLICABLE = "inconclusive", "not applicable"
# Against a control that answers as if at chance: see contrasts.contrast_tests.
UNTRAINED = "control did not train"
VERDICTS = (EQUIVALENT, INFERIOR, SUPERIOR, INCONCLUSIVE, NOT_APPLICABLE)


@dataclass(frozen=True)
class Criterion:
    """What tickets of a task are judged on, and how far they may differ to be equivalent.

    measure: a column of :func:`lthlib.report.measures.quality`; the best trivial rule's value of it
    is the column `trivial_<measure>`. margin: absolute, declared before any result was seen.
    """

    measure: str
    margin: float


_ACCURACY = Criterion("accuracy", MARGIN)
# Where one class is most of them, accuracy is nearly won by saying it: a random mask then lies
# within a point of dense. These measures a trivial rule cannot win: it has 1/K of the balanced
# accuracy, and 2p / (1 + p) of the F1 of a finding that is True for a share p of the items.
_BALANCED = Criterion("balanced_accuracy", MARGIN)
# A mean of findings with ten to a hundred positives each has a standard error of about two points.
_FINDINGS = Criterion("macro_f1", 2 * MARGIN)
_CRITERIA = {
    "digit-reports": _FINDINGS,
    "open-i": _FINDINGS,
    "cub-attributes": _FINDINGS,
    "vqa-v2": _BALANCED,
    "vqa-cp-v2": _BALANCED,
}


def criterion(task: str) -> Criterion:
    """The measure and margin of a task; one's own data, whose classes nobody knows, are balanced.

    >>> criterion("digits").measure, criterion("open-i").measure, criterion("own-shop").measure
    ('accuracy', 'macro_f1', 'balanced_accuracy')
    """
    return _CRITERIA.get(task, _BALANCED if task.startswith("own-") else _ACCURACY)


class Tost(NamedTuple):
    """Two one-sided tests of paired differences.

    low, high: the 90 % t interval, which lies within the margin exactly where p < 0.05; None with
        one seed, or an undefined difference.
    p_lower, p_upper: that the difference is above -margin (not inferior), and below +margin.
    p: the larger of the two. All three are None where `note` says why there is no test.
    """

    low: float | None
    high: float | None
    p_lower: float | None
    p_upper: float | None
    p: float | None
    note: str


def tost(differences: Iterable[float], margin: float = MARGIN) -> Tost:
    """Two one-sided paired t tests of differences, one per seed (ticket minus reference).

    t_lower = (mean + margin) / (sd / sqrt(n)), t_upper = (mean - margin) / (sd / sqrt(n)), each
    with n - 1 degrees of freedom (Schuirmann 1987).

    Raises RecordError for a margin that is not above 0.

    >>> found = tost([0.001, -0.002, 0.003, 0.0])
    >>> round(found.p, 4), round(found.low, 4), round(found.high, 4)
    (0.0014, -0.0019, 0.0029)
    >>> tost([0.001, -0.002]).note
    '2 seeds: too few for a test'
    """
    _check_margin(margin)
    numbers = np.asarray(list(differences), dtype=np.float64)
    note = refusal(numbers)
    if not np.isfinite(numbers).all():
        return Tost(None, None, None, None, None, note)
    low, high = t_interval(numbers, 1 - 2 * ALPHA)[:2]
    if note:
        return Tost(low, high, None, None, None, note)
    above = float(stats.ttest_1samp(numbers, -margin, alternative="greater").pvalue)
    below = float(stats.ttest_1samp(numbers, margin, alternative="less").pvalue)
    return Tost(low, high, above, below, max(above, below), "")


def verdict(p_equivalence: float, p_difference: float, difference: float) -> str:
    """The verdict of two tests, both adjusted within their families.

    equivalent: TOST, p < 0.05; a difference may be shown too, but it is smaller than the margin.
    inferior, superior: a difference, p < 0.05, and not equivalent. inconclusive: neither, which
    says that there are too few seeds to know and not that nothing differs. A three-way reading
    counts equivalent and superior together: not worse.

    >>> verdict(0.01, 0.20, 0.001), verdict(0.60, 0.01, -0.030), verdict(0.40, 0.30, -0.010)
    ('equivalent', 'inferior', 'inconclusive')
    """
    if p_equivalence < ALPHA:
        return EQUIVALENT
    if p_difference < ALPHA:
        return INFERIOR if difference < 0 else SUPERIOR
    return INCONCLUSIVE


def smallest_margins(tests: pd.DataFrame, *, finest: float = 0.0005) -> pd.Series[float]:
    """The smallest margin at which each test of one family would show equivalence, after Holm.

    tests: difference (mean), sd (of the differences) and n of each member of one family; `note`
    is empty where a test is possible. As the margin grows each p falls, and Holm keeps their
    order, so there is one such margin, found here on a grid to `finest` (0.05 points).

    Returns shares of accuracy, <NA> where no test is possible or no margin below 1 is enough.
    """
    result = pd.Series(pd.NA, index=tests.index, dtype="Float64")
    able = tests[tests["note"] == ""]
    if able.empty:
        return result
    margins = np.arange(finest, 1 + finest / 2, finest)
    mean, sd, n = (able[c].to_numpy(dtype=np.float64) for c in ("difference", "sd", "n"))
    t = (margins[:, None] - abs(mean)) / (sd / np.sqrt(n))
    shown = holm_rows(stats.t.sf(t, n - 1)) < ALPHA
    least = np.where(shown.any(axis=0), margins[shown.argmax(axis=0)], np.nan)
    result[able.index] = pd.array(least, dtype="Float64")
    return result


def _check_margin(margin: float) -> None:
    if not margin > 0:
        raise RecordError(f"equivalence: a margin of {margin!r} will not do: give a share above 0")


def margins_table(tests: pd.DataFrame, margins: tuple[float, ...] = MARGINS) -> pd.DataFrame:
    """The smallest margin of each test against dense: study, model, level, sparsity, margin, note.

    And for each of `margins` a column `within_x` that says whether equivalence is shown there.
    """
    dense = tests[tests["against"] == "dense"]
    parts = [part.assign(margin=smallest_margins(part)) for _, part in dense.groupby("study")]
    own = pd.concat(parts)
    columns = ["study", "model", "level", "sparsity", "sparsity_all", "n", "margin", "note"]
    shown = {f"within_{m:g}": own["margin"].le(m).fillna(False) for m in margins}
    return own[columns].assign(**shown).reset_index(drop=True)
