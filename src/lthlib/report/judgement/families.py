"""The families of tests: which p-values belong together, declared once, and adjusted by it.

A p-value in a frame of this report lies in a column that begins with `p_`. The table here declares
every such column: what it asks, which test answers, and whether Holm's procedure adjusts it. One
family is one claim within one study, that is one model, task, protocol and ladder; where a claim is
about a reference, one claim against one reference. All its levels are in it, because a reader looks
along the ladder for the level that does best. A p-value is in exactly one family, for its row names
the study and the reference, and its column the claim.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lthlib.errors import RecordError, unknown
from lthlib.report.exhibits import Exhibit
from lthlib.report.plain import plain_table
from lthlib.report.statistics import Floats, Ints, holm_rows

PREFIX, ADJUSTED = "p_", "holm_"


@dataclass(frozen=True)
class Claim:
    """What a column of p-values asks.

    question, test: in words, for the book; members: which tests of one study are its family, or
    where it has `models`, of all studies that differ in their model alone; adjusted: by Holm
    (1979); where not, `why_not` says so.
    """

    question: str
    test: str
    members: str
    why_not: str = ""
    models: bool = False

    @property
    def adjusted(self) -> bool:
        return not self.why_not


_CONTRASTS = "all levels, against one reference"
_MODELS = "all models, at the level that the text speaks of"
CLAIMS = {
    "p_difference": Claim(
        "Does accuracy differ from the reference's?", "paired t, two-sided", _CONTRASTS
    ),
    "p_sign_flip": Claim(
        "The same, without a normal distribution", "exact sign flips of the mean", _CONTRASTS
    ),
    "p_wilcoxon": Claim(
        "The same, by ranks", "Wilcoxon's signed ranks, exact, zeros after Pratt", _CONTRASTS
    ),
    "p_equivalence": Claim(
        "Is accuracy within the margin of the reference's?",
        "two one-sided paired t (TOST)",
        _CONTRASTS,
    ),
    "p_not_inferior": Claim(
        "Is accuracy not below the reference's by the margin?", "one-sided paired t", _CONTRASTS
    ),
    "p_relaxed": Claim(
        "Is accuracy at least 99 % of the dense model's?", "one-sided paired t", "all levels"
    ),
    "p_within_seed": Claim(
        "Are ticket and dense model of one seed right equally often?",
        "exact McNemar; sign test over items where an item has several decisions",
        "all levels at all seeds",
    ),
    "p_trend": Claim(
        "Does a measure fall with sparsity?",
        "Page's L over pruned levels, one-sided",
        "accuracy and fidelity",
    ),
    "p_correlation": Claim(
        "Do accuracy and fidelity go together within a seed, and at equal shares of True answers?",
        "repeated-measures correlation, plain and partial",
        "the two correlations",
    ),
    "p_beyond_floor": Claim(
        "Does pruning change another number of answers than another seed does?",
        "t of jackknife values of relative fidelity against 1, two-sided",
        _MODELS,
        models=True,
    ),
    "p_own_answers": Claim(
        "Does a ticket keep its own dense model's answers better or worse than another's?",
        "t of jackknife values against 0, two-sided",
        _MODELS,
        models=True,
    ),
    "p_exemplars": Claim(
        "Does pruning change another number of usual answers than other seeds do?",
        "exact exchange of dense and ticket within seeds, two-sided",
        _MODELS,
        models=True,
    ),
    "p_forgetting": Claim(
        "Does forgetting tell which items change (AUROC against 1/2)?",
        "t over seeds, two-sided",
        _MODELS,
        models=True,
    ),
    "p_visible": Claim(
        "Does a visible fact tell how often an item's answer changes?",
        "Kruskal and Wallis over items",
        "all facts of all models",
        models=True,
    ),
    "p_likeness": Claim(
        "Does the gain of rewinding go with the likeness of weights within a seed?",
        "repeated-measures correlation, plain and partial",
        "all parts, models and kinds of likeness",
        models=True,
    ),
    "p_looks": Claim(
        "Does an item's own image change a dense model's accuracy?",
        "paired t, two-sided",
        "all models, against no image and another item's",
        models=True,
    ),
    "p_block": Claim(
        "Do the levels of one seed share more answers than levels of different seeds?",
        "permutation of the seeds' names within levels, one-sided",
        "all models",
        models=True,
    ),
    "p_published": Claim(
        "Do level means of accuracy and fidelity go together?",
        "Pearson over level means, plain and partial",
        "the two correlations",
        why_not="not adjusted: the main source's way, shown for comparison",
    ),
}


def p_columns(frame: pd.DataFrame) -> list[str]:
    """The columns of p-values in a frame; raises RecordError for one that is not declared."""
    columns = [str(c) for c in frame.columns if str(c).startswith(PREFIX)]
    for column in columns:
        if column not in CLAIMS:
            raise RecordError(unknown("column of p-values", column, CLAIMS))
    return columns


def adjust(frame: pd.DataFrame) -> pd.DataFrame:
    """Put beside each declared column p_x its adjusted values holm_x, family by family.

    frame: a column `study`, a column `against` where claims are about references, and columns of
    p-values; <NA> where no test was made. Such rows count for nothing: a family is made of the
    tests that were made. Where a claim has `models` the frame holds studies that differ in their
    model alone, and all of its rows are one family.

    Raises RecordError for a column of p-values that no claim declares.
    """
    # Of the rows of each family, as numbers: groups of a frame cost more than what is done to them.
    keys = family_keys(frame)
    groups: dict[Any, Any] = dict(frame.groupby(keys).indices) if keys else {}
    whole = [np.arange(len(frame))]
    adjusted = {
        ADJUSTED + column.removeprefix(PREFIX): _holm(
            frame[column], whole if CLAIMS[column].models else [*groups.values()]
        )
        for column in p_columns(frame)
        if CLAIMS[column].adjusted
    }
    return frame.assign(**adjusted)


def _holm(p: pd.Series[float], families: Sequence[Ints]) -> pd.Series[float]:
    """p-values adjusted family by family; <NA> where no test was made."""
    values: Floats = np.asarray(p.astype("Float64").to_numpy(np.float64, na_value=np.nan))
    adjusted = np.full(len(values), np.nan)
    for family in families:
        tested = family[~np.isnan(values[family])]
        adjusted[tested] = holm_rows(values[None, tested])[0]
    return pd.Series(pd.array(adjusted, dtype="Float64"), index=p.index, name=p.name)


def family_keys(frame: pd.DataFrame) -> list[str]:
    """The columns of a frame that name, with the claim, the family of a test."""
    return [name for name in ("study", "against") if name in frame.columns]


def count_families(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """One row per family that is shown: study, against, claim, tests (made), refused (not made).

    The claim that is about dense alone is left out against other references.

    frames: all frames of p-values of a page, each with a column `study`.

    Raises RecordError where two frames hold tests of one family, which Holm would then have
    adjusted in two halves.
    """
    counts: dict[tuple[str, str, str], tuple[int, int]] = {}
    for frame in frames:
        for column in p_columns(frame):
            for key, p in _families(frame, column):
                study, against = (*key, "")[:2]
                family = (str(study), str(against), column)
                if family in counts:
                    raise RecordError(
                        f"tests of {column} for {study} are in two tables: put them into one, "
                        "for they are one family"
                    )
                counts[family] = int(p.notna().sum()), int(p.isna().sum())
    rows = [(*family, *count) for family, count in counts.items()]
    table = pd.DataFrame(rows, columns=["study", "against", "claim", "tests", "refused"])
    foreign = (table["claim"] == "p_relaxed") & (table["against"] != "dense")
    return table[~foreign].reset_index(drop=True)


def _families(frame: pd.DataFrame, column: str) -> Iterable[tuple[Any, pd.Series[float]]]:
    """The names of each family in a column of p-values, and its tests."""
    if CLAIMS[column].models:
        return [((" and ".join(sorted(set(frame["study"]))),), frame[column])]
    return frame.groupby(family_keys(frame))[column]


def families_table(frames: Sequence[pd.DataFrame]) -> Exhibit:
    """What is tested on a page, in which families, and how many tests each has."""
    counted = count_families(frames)
    table = pd.DataFrame(
        [
            _row(CLAIMS[claim], counted[counted["claim"] == claim])
            for claim in CLAIMS
            if claim in set(counted["claim"])
        ]
    )
    caption = (
        f"All tests of this page: {counted['tests'].sum():,} in {len(counted)} families. A family "
        "is one question put to one study (model, task, protocol, ladder and recipe) against one "
        "reference, and its p-values are adjusted together after Holm (1979). Refused: no test "
        "could be made, and the tables say why."
    )
    return plain_table(table, caption, data=counted)


def _row(claim: Claim, families: pd.DataFrame) -> Mapping[str, str]:
    sizes = sorted(set(families["tests"]))
    return {
        "question": claim.question,
        "test": claim.test,
        "one family": claim.members,
        "families": str(len(families)),
        "tests in each": " to ".join(str(n) for n in dict.fromkeys((sizes[0], sizes[-1]))),
        "refused": str(families["refused"].sum()),
        "adjusted": claim.why_not or "Holm",
    }
