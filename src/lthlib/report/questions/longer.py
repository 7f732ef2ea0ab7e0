"""Training longer before pruning: does a better trained dense model leave a better ticket?

Dense models of one recipe are trained for more or fewer epochs, pruned once, and their tickets
trained by the same recipe. The main source left this open. Fidelity cannot exceed 1 - |A_d - A_m|,
so it rises with the accuracy of dense for a reason that is no virtue of the ticket; this ceiling
stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lthlib.report.draw import BLUE, GREEN, ORANGE, PURPLE, VERMILLION, Look, ladder, spoken
from lthlib.report.exhibits import MEASURES, Exhibit, model_name, sparsity_text, summary_text
from lthlib.report.measures import RECORD, at_stage
from lthlib.report.reading import Reading
from lthlib.report.statistics import DENSE_LEVEL, refusal, seed_summary, t_interval
from lthlib.report.tidy import in_order, models_in_order
from lthlib.report.words import counted, proper

NAMES = ("accuracy_dense", "accuracy_pruned", "fidelity", "ceiling")
CHANGES = {"accuracy_pruned": "accuracy", "fidelity": "fidelity", "ceiling": "its ceiling"}
COLOURS = {"fidelity": ((BLUE, "o"), (GREEN, "^")), "accuracy": ((VERMILLION, "s"), (ORANGE, "D"))}
DENSE_LOOK = Look("accuracy, dense", PURPLE, "X", ":")


def by_epochs(readings: Sequence[Reading]) -> pd.DataFrame:
    """Tickets by how long their dense model was trained.

    Returns model, epochs (of dense), seed, level, sparsity, accuracy_dense, accuracy_pruned,
    fidelity, ceiling (1 - |A_d - A_m|), beats (does the ticket beat the best trivial rule?), items.
    """
    frames = []
    for reading in readings:
        rows = at_stage(reading.agreements, reading.stage)
        rows = rows[(rows["branch"] == "main") & (rows["level"] != DENSE_LEVEL)]
        epochs = reading.study.dense_epochs or reading.study.epochs
        gate = reading.gate[[*RECORD, "beats"]]
        ceiling = 1 - (rows["accuracy_dense"] - rows["accuracy_pruned"]).abs()
        frames.append(rows.assign(ceiling=ceiling, epochs=epochs).merge(gate, on=RECORD))
    names = ["model", "epochs", "seed", "level", "sparsity", *NAMES, "beats", "items"]
    return pd.concat(frames, ignore_index=True)[names]


def epochs_table(rows: pd.DataFrame) -> Exhibit:
    """Accuracy and fidelity of tickets by epochs before pruning."""
    data = _summary(rows)
    keys = ["model", "level", "epochs"]
    cells = []
    for (model, _, epochs), part in models_in_order(data).groupby(keys, sort=False):
        own = part.set_index("measure")
        cells.append(
            {
                "model": model_name(str(model)),
                "sparsity, %": sparsity_text(part["sparsity"].iloc[0]),
                "epochs before pruning": str(epochs),
                "seeds": str(part["seeds"].iloc[0]),
                **{MEASURES[name].heading: _cell(own, name) for name in NAMES},
            }
        )
    caption = (
        "Tickets by how long their dense model was trained before it was pruned, once; every "
        f"ticket is then trained by the same recipe. {_basis(rows)}; in brackets 95 % t intervals "
        "over seeds."
    )
    table = pd.DataFrame(cells)
    return Exhibit(caption, f"Table of {len(table)} conditions.", data, table=table)


def epochs_figure(rows: pd.DataFrame) -> Exhibit:
    """The same as lines: a panel a model, a line for each measure and level."""
    data = _summary(rows)
    lengths = sorted(data["epochs"].unique())
    levels = sorted(data["level"].unique())
    data["place"] = data["epochs"].map(lengths.index)
    data["line"] = data["measure"] + "-" + data["level"].astype(str)
    first = data["level"] == levels[0]
    # Dense is the same at every level, and the ceiling is for the table.
    data = data[(data["measure"] != "accuracy_dense") | first]
    looks = {f"accuracy_dense-{levels[0]}": DENSE_LOOK}
    for place, level in enumerate(levels):
        at = f"{sparsity_text(data.loc[data['level'] == level, 'sparsity'].mean())} %"
        for name, short in (("accuracy_pruned", "accuracy"), ("fidelity", "fidelity")):
            colour, marker = COLOURS[short][place % 2]
            line = "-" if short == "accuracy" else "--"
            looks[f"{name}-{level}"] = Look(f"{short}, {at}", colour, marker, line)
    figure = ladder(
        data,
        looks,
        series="line",
        label="accuracy, fidelity, %",
        along=("place", "epochs of dense before pruning", [str(n) for n in lengths]),
        panel="model",
    ).figure
    caption = (
        "Accuracy of tickets and their fidelity to dense, by how long dense was trained before "
        f"pruning; the figures in the legend are sparsities. {_basis(rows)}; bars: 95 % t interval "
        "over seeds."
    )
    alt = f"Line charts of accuracy and fidelity in %: {spoken(data, looks, 'line', over='place')}."
    return Exhibit(caption, alt, data, figure)


def epochs_sentence(rows: pd.DataFrame) -> str:
    """What the longest training changes against the shortest one, paired by seed."""
    sentences = []
    for level in sorted(rows["level"].unique()):
        here = rows[rows["level"] == level]
        by_model = {model: here[here["model"] == model] for model in in_order(here["model"])}
        parts = [_by_model(own) for own in by_model.values() if own["beats"].any()]
        never = [model_name(m) for m, own in by_model.items() if not own["beats"].any()]
        if never:
            parts.append(f"no ticket of {', '.join(never)} is shown to beat the best trivial rule")
        share = sparsity_text(here["sparsity"].mean())
        sentences.append(f"At {share} % sparsity: {'; '.join(parts)}.")
    lengths = f"{rows['epochs'].min()} to {rows['epochs'].max()}"
    return (
        f"From {lengths} epochs before pruning, tickets change as follows, in points (in brackets "
        f"95 % t intervals over seeds, paired, not adjusted). "
        f"{' '.join(sentences)} The ceiling of fidelity, 1 − |A_d − A_m|, rises with a better "
        "dense model whatever the ticket answers."
    )


def _by_model(own: pd.DataFrame) -> str:
    """The changes of one model at one level, or why they say nothing."""
    name, lengths = model_name(own["model"].iloc[0]), sorted(own["epochs"].unique())
    if len(lengths) == 1:
        return f"{name}: only {lengths[0]} epochs are recorded so far"
    words = []
    for measure, title in CHANGES.items():
        wide = own.pivot_table(measure, "seed", "epochs").dropna()
        change = (wide[lengths[-1]] - wide[lengths[0]]).astype(float)
        words.append(f"{title} by {_change(change)}")
    return f"{name}: {', '.join(words)}"


def _change(differences: pd.Series[float]) -> str:
    """Mean difference in points with its interval, or why there is no interval."""
    if differences.empty:
        return "an unknown number (no seed has both)"
    text = f"{100 * differences.mean():+.1f}"
    why_not, found = refusal(differences), t_interval(differences)
    if why_not or found.low is None or found.high is None:
        text += f" ({why_not.split(':')[0]})"
    else:
        text += f" ({100 * found.low:+.1f} to {100 * found.high:+.1f}, {found.n} seeds)"
    return proper(text)


def _summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Long form: model, level, epochs, sparsity, measure, mean, low, high, n, seeds."""
    # Seeds of a condition that is still being run must not make the others look incomplete.
    groups = ["model", "level", "epochs"]
    sparsity = rows.groupby(groups, as_index=False)["sparsity"].mean()
    parts = [
        seed_summary(rows, [], name, groups=groups, seed="seed").assign(measure=name)
        for name in NAMES
    ]
    return pd.concat(parts, ignore_index=True).merge(sparsity, on=groups)


def _cell(own: pd.DataFrame, name: str) -> str:
    return summary_text(MEASURES[name], own.loc[[name]].iloc[0])


def _basis(rows: pd.DataFrame) -> str:
    seeds = counted(rows.groupby(["model", "level", "epochs"])["seed"].nunique(), "seed")
    return f"Means over {seeds}, {rows['items'].max():,} test items"
