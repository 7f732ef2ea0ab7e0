"""From records to the frames of the chapter on answers, for one model or several side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy import stats

from lthlib.report.answers import calibration
from lthlib.report.answers import kept as answers
from lthlib.report.judgement.families import adjust
from lthlib.report.measures import RECORD, at_stage
from lthlib.report.reading import Reading
from lthlib.report.statistics import DENSE_LEVEL, refusal
from lthlib.report.tidy import focus


@dataclass(frozen=True)
class Answers:
    """What studies that differ in their model alone say about kept answers; frames as asked for.

    Every frame has the columns model, sparsity and sparsity_all beside those of its maker.
    """

    readings: Sequence[Reading]

    @cached_property
    def kept(self) -> pd.DataFrame:
        """Agreements beside their nulls and floors: see :func:`kept`."""
        return for_each(self.readings, kept)

    @cached_property
    def probabilities(self) -> pd.DataFrame:
        """Calibration and divergence: see :func:`probabilities`."""
        return for_each(self.readings, probabilities)

    @cached_property
    def reliability(self) -> pd.DataFrame:
        """Accuracy in each bin of confidence: see :func:`calibration.reliability`."""
        return for_each(self.readings, lambda r: calibration.reliability(_main(r)))

    @cached_property
    def exemplars(self) -> pd.DataFrame:
        """Shares of exemplars, and `blind`, the PIE of shuffled answers."""
        return self._with_blind(answers.exemplar_shares, "pie")

    @cached_property
    def icc(self) -> pd.DataFrame:
        """Intraclass correlations, and `blind`, those of shuffled answers.

        Where a model says only False, the same decisions are unfaithful at every seed, and the
        blind model has the same high correlation.
        """
        return self._with_blind(answers.unfaithful_icc, "icc")

    @cached_property
    def counts(self) -> pd.DataFrame:
        """At how many seeds decisions are unfaithful."""
        return for_each(
            self.readings, lambda r: answers.unfaithful_counts(r.predictions, stage=r.stage)
        )

    @cached_property
    def blocks(self) -> pd.DataFrame:
        """One block test a model, over :func:`skilled_levels`; left_out: how many others."""
        return adjust(for_each(self.readings, _block))

    @cached_property
    def claims(self) -> pd.DataFrame:
        """What is claimed of the level that the text speaks of, tested; see :func:`claims`."""
        found = [answers.exemplars_p(_main(r), self.level, stage=r.stage) for r in self.readings]
        p = pd.Series(found, [r.study.model for r in self.readings], dtype="Float64")
        return claims(self.kept, self.exemplars, p, self.level)

    @cached_property
    def beside_floor(self) -> pd.DataFrame:
        """The tickets of `kept` at :func:`skilled_levels` that have a floor; none with one seed."""
        frame = self.kept[(self.kept["branch"] == "main") & (self.kept["level"] != DENSE_LEVEL)]
        frame = frame[frame["floor"].notna()]
        parts = [
            frame[(frame["model"] == r.study.model) & frame["level"].isin(skilled_levels(r))]
            for r in self.readings
        ]
        return pd.concat(parts, ignore_index=True)

    def alike(self, column: str) -> dict[str, str]:
        """Groups by a column that hold the same items as a group by an earlier one, in words."""
        columns = list(self.groupings)
        found: dict[str, str] = {}
        for earlier in columns[: columns.index(column)]:
            same = answers.groups_alike(self.readings[0].items(), column, earlier)
            what = self.groupings[earlier]
            found |= {group: f"{what} {name}" for group, name in same.items()}
        return found

    def groups(self, column: str) -> pd.DataFrame:
        """Measures within each relation, category or finding."""
        return for_each(
            self.readings,
            lambda r: answers.by_group(r.predictions, r.items(), column, stage=r.stage),
        )

    @property
    def groupings(self) -> dict[str, str]:
        """Columns to group by, and what they are called."""
        facts = self.readings[0].items().columns
        named = {"meta_category": "category", "relation": "relation"}
        found = {column: words for column, words in named.items() if column in facts}
        return found or {"decision": "finding"}

    @property
    def level(self) -> int:
        """The level that sentences speak of, chosen by its place on the ladder."""
        return focus(self.kept)

    @property
    def sparsity(self) -> dict[int, float]:
        """Sparsity of each level, mean over models."""
        levels = pd.concat([r.levels[r.levels["branch"] == "main"] for r in self.readings])
        means = levels.groupby("level")["sparsity"].mean()
        return dict(zip(means.index.to_list(), means.to_list(), strict=True))

    def _with_blind(self, measure: Callable[..., pd.DataFrame], name: str) -> pd.DataFrame:
        def both(reading: Reading) -> pd.DataFrame:
            chosen = _main(reading)
            pair = (chosen, answers.shuffled(chosen))
            found, blind = (measure(own, stage=reading.stage) for own in pair)
            blind = blind[["level", name]].rename(columns={name: "blind"})
            return found.merge(blind, on="level", validate="one_to_one")

        return for_each(self.readings, both)


def skilled_levels(reading: Reading) -> list[int]:
    """Levels, dense included, at which every seed beats the trivial rule at the judged stage.

    Constant models agree with each other on everything, and that says nothing about answers kept.
    """
    gate = at_stage(reading.gate, reading.stage)
    beats = gate[gate["branch"] == "main"].groupby("level")["beats"].all()
    return [int(level) for level in beats.index[beats]]


def _block(reading: Reading) -> pd.DataFrame:
    levels, matrix = skilled_levels(reading), reading.matrix
    ours = matrix[matrix["level_a"].isin(levels) & matrix["level_b"].isin(levels)]
    found = answers.block_test(ours).rename(columns={"p": "p_block"})
    return found.assign(left_out=matrix["level_a"].nunique() - len(levels))


def claims(
    kept: pd.DataFrame, exemplars: pd.DataFrame, p_exemplars: pd.Series[float], level: int
) -> pd.DataFrame:
    """The tests of one level, a row a model, adjusted over the models.

    kept, exemplars: frames of :class:`Answers`; p_exemplars: of :func:`kept.exemplars_p`, by model.
    relative_fidelity and own_answers are means over seeds of jackknife values, with the p of a t
    test that they are 1 and 0; excess is that of :func:`kept.exemplar_shares`. <NA>, and `note`
    says why, where :func:`lthlib.report.statistics.refusal` does.
    """
    at = kept[(kept["level"] == level) & (kept["branch"] == "main")]
    tests = {"relative_fidelity": ("p_beyond_floor", 1.0), "own_answers": ("p_own_answers", 0.0)}
    rows = []
    for (study, model), own in at.groupby(["study", "model"], sort=False):
        row: dict[str, object] = {"study": study, "model": model, "level": level, "n": len(own)}
        notes = []
        for name, (p, expected) in tests.items():
            values = own[name].to_numpy(dtype=np.float64, na_value=np.nan)
            why_not = refusal(values - expected)
            notes += [f"{name}: {why_not}"] if why_not else []
            row[name] = None if np.isnan(values).any() else values.mean()
            row[p] = None if why_not else stats.ttest_1samp(values, expected).pvalue
        rows.append(row | {"note": "; ".join(notes)})
    numbers = [*tests, *(p for p, _ in tests.values())]
    table = pd.DataFrame(rows).astype(dict.fromkeys(numbers, "Float64"))
    usual = exemplars.loc[exemplars["level"] == level, ["model", "excess"]]
    table = table.merge(usual, on="model", how="left", validate="one_to_one")
    return adjust(table.assign(p_exemplars=table["model"].map(p_exemplars)))


def kept(reading: Reading) -> pd.DataFrame:
    """Agreements of a study at its judged stage, beside both nulls and the floors.

    <measure>_null and <measure>_residual are against :func:`kept.label_blind`,
    fidelity_skill is the fidelity of `same_skill`; floor, other_ticket, relative_fidelity and
    own_answers as `relative_fidelity` has them.
    """
    predictions = at_stage(reading.predictions, reading.stage)
    measured = reading.agreements[reading.agreements["stage"] == reading.stage]
    shared = [*measured.columns, "accuracy"]
    ours = [name for name in answers.EXPECTED if name not in shared]
    quality = reading.quality[[*RECORD, *ours]]
    measured = measured.merge(quality, on=RECORD, how="left", validate="one_to_one")
    null = answers.label_blind(predictions)
    beside = answers.beside_null(measured, null, answers.EXPECTED)
    skill = answers.same_skill(predictions)[[*RECORD, "fidelity"]]
    skill = skill.rename(columns={"fidelity": "fidelity_skill"})
    beside = beside.merge(skill, on=RECORD, how="left", validate="one_to_one")
    return answers.relative_fidelity(beside, answers.seed_floors(reading.matrix))


def probabilities(reading: Reading) -> pd.DataFrame:
    """Calibration and divergence of a study's main branch, each with its null and its floor.

    Columns <measure>_null are those of predictions shuffled once, <measure>_floor those between
    dense models of different seeds (<NA> with one). The dense level has neither divergence nor
    null. Raises RecordError where no logits were kept.
    """
    chosen = _main(reading)
    found = _measured(chosen)
    null = _measured(answers.shuffled(chosen)).drop(columns=["decisions", "flags"])
    # Dense answers are not shuffled, for they are what tickets are compared with.
    null = null[null["level"] != DENSE_LEVEL]
    frame = found.merge(null, on=RECORD, how="left", suffixes=("", "_null"), validate="one_to_one")
    names = list(calibration.DIVERGENCE)
    floor = calibration.divergence_floor(chosen).astype(dict.fromkeys(names, "Float64"))
    floor = floor.rename(columns={name: f"{name}_floor" for name in names})
    frame = frame.merge(floor, on="run", how="left", validate="many_to_one")
    about = ["items", "sparsity", "sparsity_all", "model", "task", "seed"]
    facts = reading.quality[[*RECORD, *about]]
    return frame.merge(facts, on=RECORD, how="left", validate="one_to_one")


def for_each(readings: Sequence[Reading], make: Callable[[Reading], pd.DataFrame]) -> pd.DataFrame:
    """One frame of what `make` finds for each reading, with its study, model and sparsity."""
    parts = []
    for reading in readings:
        levels = reading.levels[reading.levels["branch"] == "main"]
        sparsity = levels.groupby("level", as_index=False)[["sparsity", "sparsity_all"]].mean()
        found = make(reading).assign(model=reading.study.model, study=reading.study.name)
        if "level" in found.columns and "sparsity" not in found.columns:
            found = found.merge(sparsity, on="level", how="left", validate="many_to_one")
        parts.append(found)
    return pd.concat(parts, ignore_index=True)


def _main(reading: Reading) -> pd.DataFrame:
    """The main branch at the judged stage, and dense."""
    chosen = at_stage(reading.predictions, reading.stage)
    return chosen[chosen["branch"] == "main"]


def _measured(predictions: pd.DataFrame) -> pd.DataFrame:
    apart = calibration.divergence(predictions).drop(columns="decisions")
    own = calibration.calibration(predictions)
    return own.merge(apart, on=RECORD, how="left", validate="one_to_one")
