"""What the pre-trained start is worth: dense models from it, and from a random start.

Fresh start values take two things from a ticket: the values that belong to its mask, and all that
pre-training put into them. Dense models from a random start say what the second alone costs.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lthlib.report.exhibits import MEASURES, Exhibit, model_name, summary_text
from lthlib.report.plain import plain_table
from lthlib.report.reading import Reading
from lthlib.report.statistics import DENSE_LEVEL, seed_summary
from lthlib.report.tidy import in_order
from lthlib.report.words import counted, listed

_START = ["model", "start", "epochs"]


def start_accuracies(readings: Sequence[Reading]) -> pd.DataFrame:
    """Accuracy of every dense model, one row a run, beside where it started and how long it took.

    Returns model, start, epochs, run, accuracy, beats (the best rule that looks at no input, by an
    exact test over items), items, decisions.
    """
    frames = []
    for reading in readings:
        quality = reading.quality[reading.quality["level"] == DENSE_LEVEL]
        gate = reading.gate.loc[reading.gate["level"] == DENSE_LEVEL, ["run", "beats"]]
        frame = quality[["model", "run", "accuracy", "items", "decisions"]].merge(gate, on="run")
        epochs = reading.study.dense_epochs or reading.study.epochs
        frames.append(frame.assign(start=reading.study.start, epochs=epochs))
    return pd.concat(frames, ignore_index=True).drop_duplicates(subset=[*_START, "run"])


def start_table(accuracies: pd.DataFrame) -> Exhibit:
    """Dense accuracy by start and length of training."""
    body, data = [], []
    for key, part in _parts(accuracies):
        summary = seed_summary(part.assign(level=DENSE_LEVEL), ["level"], "accuracy").iloc[0]
        data.append({**dict(zip(_START, key, strict=True)), **summary.drop("level")})
        body.append(
            {
                "model": model_name(str(key[0])),
                "start": key[1],
                "epochs": str(key[2]),
                "accuracy, %": summary_text(MEASURES["accuracy"], summary),
                "beats the trivial rule, seeds": f"at {int(part['beats'].sum())} of {len(part)}",
            }
        )
    seeds = counted([len(part) for _, part in _parts(accuracies)], "seed")
    caption = (
        f"Dense models by where they start: {seeds} each, {accuracies['items'].max():,} test "
        "items. In brackets: 95 % t interval over seeds, cut where accuracy ends."
    )
    return plain_table(pd.DataFrame(body), caption, data=pd.DataFrame(data))


def start_sentence(accuracies: pd.DataFrame) -> str:
    """Whether dense models learn from a random start at all, and for how long they were trained."""
    random = accuracies[accuracies["start"] == "random"]
    if random.empty:
        return "Dense models from a random start are not run yet."
    told = []
    for epochs, part in random.groupby("epochs"):
        means = part.groupby("model")["accuracy"].mean()
        shares = [f"{100 * means[m]:.1f} % ({model_name(m)})" for m in in_order(part["model"])]
        beating = f"{int(part['beats'].sum())} of {len(part)} beat the best trivial rule"
        told.append(f"after {epochs} epochs {listed(shares)}, and {beating}")
    text = f"Dense models from a random start reach {'; '.join(told)}."
    if random["beats"].any():
        return text
    return (
        f"{text} Nothing shows that they learn in that time, even unpruned, so the control with "
        "fresh start values tells what pre-training is worth here, and not what the ticket's own "
        "values are."
    )


def _parts(accuracies: pd.DataFrame) -> list[tuple[tuple[object, ...], pd.DataFrame]]:
    order = {model: i for i, model in enumerate(in_order(accuracies["model"]))}
    ranked = accuracies.assign(_rank=accuracies["model"].map(order))
    return [
        (tuple(key[1:]), part.drop(columns="_rank"))
        for key, part in ranked.groupby(["_rank", *_START], sort=True)
    ]
