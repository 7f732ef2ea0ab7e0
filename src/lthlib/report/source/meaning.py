"""What the main source says in words, quotes from others, or concludes: beside what we measure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lthlib.report.exhibits import Exhibit, model_name
from lthlib.report.measures import at_stage
from lthlib.report.plain import plain_table
from lthlib.report.reading import Reading
from lthlib.report.source import published
from lthlib.report.source import significance as tests
from lthlib.report.source.columns import mean_text, trivial_line
from lthlib.report.source.evidence import (
    NOT_RUN_YET,
    Arm,
    Evidence,
    Printed,
    amount_text,
    arms,
    levels_of,
    middle_level,
    seeds_line,
    span_line,
)
from lthlib.report.statistics import DENSE_LEVEL
from lthlib.report.words import proper
from lthlib.study import MODELS

Floats = npt.NDArray[np.float64]
# Where the words of Tables 1.1 and 1.2 are looked at: the middle level, which tickets survive, and
# the last one of the source's own protocol, which nothing does. Chosen by place, not by result.
_WINNING, _LOSING = middle_level("concluding"), levels_of("concluding")[-1]
_FORCED = 0.9  # a correlation that arithmetic holds above this tells nothing


# -- Tables 1.1 and 1.2 ---------------------------------------------------------------------------
def meaning_table(
    evidence: Evidence,
    *,
    table: str,
    question: str,
    measure: Callable[[Reading, int], tuple[Floats, Floats]],
) -> Exhibit:
    """The source's words about faithful and unfaithful samples, and what there is to them.

    question: what is measured, for the caption;
    measure: gives one number per seed for faithful and for unfaithful decisions of a level, such as
    :func:`ease` or :func:`sureness`.
    """
    words = published.word_table(table)
    settings = {
        "winning ticket": ("concluding", _WINNING, "lottery"),
        "non-winning ticket": ("published-concluding", _LOSING, "as published"),
    }
    heads = {
        setting: f"ours, {how}, {amount_text('concluding', level)} a round, %"
        for setting, (_, level, how) in settings.items()
    }
    rows, data = [], []
    for model in MODELS:
        found = {}
        for setting, (part, level, _) in settings.items():
            reading = evidence.reading(part, model=model)
            found[setting] = measure(reading, level) if reading else None
        for place, samples in enumerate(words["samples"]):
            row = {"model": model_name(model), "samples": samples}
            for setting in settings:
                sides = found[setting]
                values = [] if sides is None else [v for v in sides[place] if np.isfinite(v)]
                row[f"source: {setting}"] = words[setting].iloc[place].partition(": ")[2]
                gap = NOT_RUN_YET if sides is None else "needs two seeds or such decisions"
                row[heads[setting]] = mean_text(values, gap)
                data += [
                    {"model": model, "samples": samples, "setting": setting, "value": v}
                    for v in values
                ]
            rows.append(row)
    ours = "; ".join(span_line(how, evidence.readings(part)) for part, _, how in settings.values())
    caption = (
        f"{question} Mean over seeds; in brackets 95 % t intervals. If pruned and dense model are "
        "equally accurate, each is right on exactly half of the decisions on which two answers "
        "differ, whatever these are: that is arithmetic and says nothing of hard samples. "
        f"Ours: {ours}."
    )
    return plain_table(pd.DataFrame(rows), caption, data=pd.DataFrame(data))


def ease(reading: Reading, level: int) -> tuple[Floats, Floats]:
    """Share of right answers that dense models of other seeds give to the decisions.

    Returns one number per seed for faithful and unfaithful decisions; missing with one seed.
    """
    dense, pruned, label = _answers(reading, level)
    right = dense == label
    others = (right.sum(axis=0) - right) / max(1, len(right) - 1)
    if len(right) == 1:
        others = np.full(right.shape, np.nan)
    return _by_faith(others, dense == pruned)


def sureness(reading: Reading, level: int) -> tuple[Floats, Floats]:
    """Mean probability that the pruned model gives its own answer.

    Returns one number per seed for faithful and unfaithful decisions.
    """
    dense, pruned, _ = _answers(reading, level)
    logits = np.stack(_wide(reading, level, "logits").map(np.asarray).to_numpy().tolist())
    logits = np.asarray(logits.tolist(), dtype=float)
    gap = np.abs(logits[..., 1] - logits[..., 0])
    return _by_faith(1 / (1 + np.exp(-gap)), dense == pruned)


def _by_faith(values: Floats, faithful: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    sides = []
    for where in (faithful, ~faithful):
        counts = where.sum(axis=1)
        total = np.where(where, values, 0.0).sum(axis=1)
        sides.append(np.divide(total, counts, out=np.full(len(counts), np.nan), where=counts > 0))
    return sides[0], sides[1]


def _answers(reading: Reading, level: int) -> tuple[Any, Any, Any]:
    """[seeds, decisions] of the dense model's answers, of a level's, and the labels."""
    dense = _wide(reading, DENSE_LEVEL, "prediction").to_numpy()
    pruned = _wide(reading, level, "prediction").to_numpy()
    return dense, pruned, _wide(reading, DENSE_LEVEL, "label").to_numpy()


def _wide(reading: Reading, level: int, column: str) -> pd.DataFrame:
    answers = at_stage(reading.predictions, reading.stage)
    here = answers[(answers["level"] == level) & (answers["branch"] == "main")]
    return here.set_index(["run", "item", "decision"])[column].unstack([1, 2])  # noqa: PD010


# -- quoted from others ---------------------------------------------------------------------------
def literature_table(evidence: Evidence, *, table: str, part: str, task: str) -> Exhibit:
    """Results that the source takes from other papers, and our dense models on the same form."""
    printed = Printed(table)
    cells = printed.cells
    rows = []
    for model in MODELS:
        own = cells[cells["model"] == model].set_index("metric")
        arm = Arm("dense", evidence.reading(part, model=model))
        quoted = "accuracy_baseline_from_literature"
        rows.append(
            {
                "model": model_name(model),
                "source: accuracy, %": own.loc[quoted, "raw"] if len(own) else "none printed",
                "source: epochs": own.loc["epochs", "raw"] if len(own) else "none printed",
                f"ours: dense on {task}, %": arm.texts("accuracy", [DENSE_LEVEL])[0],
            }
        )
    columns = [Arm("dense", evidence.reading(part, model=model)) for model in MODELS]
    note = " ".join(cells["note"].replace("", pd.NA).dropna().unique())
    caption = (
        f"Quoted by the source, as it prints them. {note} Ours: "
        f"{span_line(f'dense on {task}', evidence.readings(part))}. In brackets: 95 % t interval "
        f"over seeds. {trivial_line(columns)}"
    )
    return plain_table(pd.DataFrame(rows), caption.strip(), data=cells)


def concepts_table(evidence: Evidence, *, table: str) -> Exhibit:
    """Alignment of latent concepts of seven language models, quoted; none of them sees images."""
    cells = Printed(table).cells
    shown = pd.DataFrame({"model": cells["row"], "alignment (quoted)": cells["raw"]})
    note = cells["note"].iloc[0]
    caption = (
        f"{note} These models see no image and are not pruned: the source quotes them for what one "
        "could do. Hidden states of our dense and pruned models are compared in a chapter of their "
        "own."
    )
    return plain_table(shown, caption, data=cells)


# -- Figure 8 -------------------------------------------------------------------------------------
def steps_table(evidence: Evidence) -> Exhibit:
    """The source's four steps, and what each protocol does at them."""
    readings = [evidence.reading(part) for part in ("published-concluding", "concluding")]
    last = [_last_event(reading) for reading in readings]
    rows = [
        ("1", "initialise f(x; θ0)", "pre-trained weights, fresh head", "the same"),
        ("2", "train for j iterations", "one epoch", "all epochs of the recipe"),
        ("3", "prune p % of the parameters", "p % of what is left, of all weights and biases",
         "the share that the level asks for, of encoder weights"),
        ("4", "reset the rest to θ0", "no effect: the library wrote the old values where the next "
         "forward pass overwrote them", "rewind to θ0, bit by bit, and train again"),
        ("", "repeat 2 to 4 three times", "three rounds", "one round a level"),
        ("", "evaluate", f"last event before: {last[0]}", f"last event before: {last[1]}"),
    ]  # fmt: skip
    heads = ["step", "source", "as published", "lottery"]
    caption = (
        "The steps that the source quotes from Frankle and Carbin, what its code did at each as "
        "far as its text and its library tell, and what a lottery ticket needs. Last events are "
        "read from our records."
    )
    return plain_table(pd.DataFrame(rows, columns=heads), caption)


def _last_event(reading: Reading | None) -> str:
    if reading is None:
        return NOT_RUN_YET
    levels = reading.levels
    here = (levels["stage"] == reading.stage) & (levels["level"] > 0) & (levels["branch"] == "main")
    return ", ".join(sorted(set(levels.loc[here, "last_event"])))


# -- correlations ---------------------------------------------------------------------------------
_CLAIMS = (
    ("visualbert", "fidelity", "Pearson p, VisualBERT accuracy vs fidelity (concluding)"),
    ("lxmert", "fidelity", "Pearson p, LXMERT accuracy vs fidelity"),
    ("uniter", "fidelity", "Pearson p, UNITER accuracy vs fidelity"),
    (
        "visualbert",
        "faithful_accuracy",
        "Pearson p, VisualBERT faithful accuracy vs average accuracy",
    ),
)


def printed_means(model: str, measure: str) -> list[float]:
    """The source's means over runs at the six pruned levels of its concluding set."""
    cells = published.select(
        model=model, pruning_set="concluding", metric=measure, unit="fraction", dataset="VSR"
    )
    if measure == "fidelity":
        cells = cells[cells["amount"].isna()]
        return [float(share) for share in cells.sort_values("amount_b")["share"]]
    return [float(s) for s in cells.dropna(subset=["amount"]).sort_values("amount")["share"]]


def correlations_table(evidence: Evidence) -> Exhibit:
    """The source's four correlations: as printed, from its own tables, and in our records."""
    rows, data = [], []
    for model, measure, quantity in _CLAIMS:
        inline = published.inline_numbers().set_index("quantity").loc[quantity]
        again = tests.pearson(printed_means(model, "accuracy"), printed_means(model, measure))
        row = {
            "model": model_name(model),
            "accuracy and": measure.replace("_", " "),
            "source: p": f"{float(str(inline['value'])):.5f}",
            "source's tables: r": _r_text(again),
            "source's tables: p": "" if again.p is None else f"{again.p:.5f}",
            "so": _verdict(float(str(inline["value"])), again, float(str(inline["corrected"]))),
        }
        data.append({"model": model, "measure": measure, "whose": "source", **_numbers(again)})
        for arm in arms(evidence, model, "concluding")[:2]:
            whole, given, least = _our_correlations(arm, measure)
            row[f"{arm.name}: r"] = _r_text(whole, arm) + _least_text(least)
            row[f"{arm.name}: r given share of True"] = _r_text(given, arm)
            data.append({"model": model, "measure": measure, "whose": arm.name, "least": least,
                         **_numbers(whole)})  # fmt: skip
        rows.append(row)
    columns = arms(evidence, _CLAIMS[0][0], "concluding")[:2]
    caption = (
        "Pearson's r of means over runs at the six pruned levels of the concluding ladder; in "
        "brackets its 95 % interval (Fisher's z). Dense is left out: its fidelity is 1 by "
        "definition. Given share of True: with what the pruned model's share of True answers "
        "explains taken out of both. A model that answers without looking has |r| = 1. With two "
        "answers accuracy A and fidelity F differ by at most the dense model's share of errors, "
        "|A − F| ≤ 1 − A_d, so a good dense model forces r: where it cannot be below "
        f"{_FORCED}, the least that it can be is given, and what is left given the share of True "
        "is not asked, for it would say nothing of the answers; faithful accuracy is "
        f"1/2 + (A + A_d − 1) / (2 F), which follows. {seeds_line(columns)}"
    )
    return plain_table(pd.DataFrame(rows), caption, data=pd.DataFrame(data))


def _our_correlations(arm: Arm, measure: str) -> tuple[tests.Outcome, tests.Outcome, float | None]:
    """r over levels, r given the share of True, and the least that r can be where it is forced."""
    levels = list(levels_of("concluding"))[1:]
    if arm.reading is None:
        missing = tests.Outcome(None, why=arm.gap)
        return missing, missing, None
    means = arm.by_seed("accuracy").mean()
    x = means.reindex(levels).tolist()
    y, share = (
        arm.by_seed(name).mean().reindex(levels).tolist() for name in (measure, "positive_share")
    )
    least = least_r(x, float(means[DENSE_LEVEL]))
    if least is None or least < _FORCED:
        return tests.pearson(x, y), tests.partial_pearson(x, y, share), None
    given = tests.Outcome(None, n=len(x), why=_NOT_ASKED[measure])
    return tests.pearson(x, y), given, least if measure == "fidelity" else None


_NOT_ASKED = {
    "fidelity": "not asked: accuracy and fidelity are one number, but for the errors of dense",
    "faithful_accuracy": "not asked: it follows from accuracy and fidelity, which are one number",
}


def least_r(accuracies: Sequence[float], dense: float) -> float | None:
    """The least r of accuracies and fidelities over levels that |A - F| <= 1 - A_d allows.

    F = A + d with |d| <= e = 1 - A_d at each level, so the centred d is at most as long as e is
    over all levels, and r >= sqrt(1 - (e / s)^2) with s the standard deviation of the accuracies
    (dividing by their number). None where e >= s: there nothing is forced.

    dense: A_d, the accuracy of the dense model.

    >>> round(least_r([0.98, 0.97, 0.96, 0.95, 0.60, 0.50], 0.97), 3)
    0.989
    >>> least_r([0.60, 0.58, 0.56, 0.50], 0.62)
    """
    reach, spread = 1 - dense, float(np.std(accuracies))
    return float(np.sqrt(1 - (reach / spread) ** 2)) if reach < spread else None


def _least_text(least: float | None) -> str:
    return "" if least is None else f"; at least {np.floor(100 * least) / 100:.2f} by arithmetic"


def _r_text(outcome: tests.Outcome, arm: Arm | None = None) -> str:
    if arm is not None and arm.reading is None:
        return arm.gap
    if outcome.statistic is None or outcome.low is None or outcome.high is None:
        return outcome.why
    text = f"{outcome.statistic:+.3f} ({outcome.low:+.2f} to {outcome.high:+.2f})"
    return proper(text)


def _verdict(said: float, again: tests.Outcome, corrected: float) -> str:
    """Does the printed p follow from the printed means?"""
    if again.p is None:
        return again.why
    if abs(again.p - said) < 1e-4:
        return "follows"
    if abs(again.p - corrected) < 1e-4:
        return f"misprint of {corrected:.5f}"
    return "does not follow"


def _numbers(outcome: tests.Outcome) -> dict[str, object]:
    return {"r": outcome.statistic, "low": outcome.low, "high": outcome.high, "p": outcome.p,
            "levels": outcome.n, "flags": outcome.why}  # fmt: skip


def correlations_sentence(evidence: Evidence) -> str:
    """How much of the headline correlation the source's tables give, in words."""
    parts: Sequence[str] = [
        f"{row['model']}, {row['accuracy and']}: {row['so']}"
        for _, row in _shown(correlations_table(evidence)).iterrows()
    ]
    return f"Of the source's four correlations, from its own tables: {'; '.join(parts)}."


def _shown(exhibit: Exhibit) -> pd.DataFrame:
    assert exhibit.table is not None
    return exhibit.table
