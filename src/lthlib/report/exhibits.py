"""What a reader sees: an exhibit, the words and units of each measure, and numbers as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pandas as pd
from matplotlib.figure import Figure

from lthlib.report.words import counted

MODEL_NAMES = {"visualbert": "VisualBERT", "lxmert": "LXMERT", "uniter": "UNITER"}
NOT_DEFINED = "not defined"
NOT_RUN = "not run"


@dataclass(frozen=True)
class Exhibit:
    """A figure or a table, with all that belongs to it.

    caption: what it shows, on how many seeds and items, and what its intervals are.
    alt: the same for a reader who cannot see it: a figure's main numbers, a table's extent.
    data: the numbers behind it, for a CSV file.
    figure, table: one of the two; a table holds finished text in every cell.
    """

    caption: str
    alt: str
    data: pd.DataFrame
    figure: Figure | None = None
    table: pd.DataFrame | None = None

    def table_html(self) -> str:
        """The table as HTML that scrolls sideways on a narrow page; no styles of its own."""
        if self.table is None:
            raise TypeError("this exhibit is a figure, not a table")
        text = self.table.to_html(index=False, border=0, classes="exhibit-table", escape=True)
        return f'<div style="overflow-x: auto">{text}</div>'


@dataclass(frozen=True)
class Measure:
    """How a measure is called, written and bounded.

    unit: "share" is written in %, "number" as it is, "count" without an interval; low, high: what
    the measure cannot leave, so that an interval is cut there; undefined: why it may not exist.
    """

    title: str
    unit: Literal["share", "number", "count"] = "share"
    low: float = 0.0
    high: float = 1.0
    undefined: str = ""

    @property
    def heading(self) -> str:
        return f"{self.title}, %" if self.unit == "share" else self.title

    def text(self, value: float | None) -> str:
        if pd.isna(value):
            return f"{NOT_DEFINED} ({self.undefined})" if self.undefined else NOT_DEFINED
        if self.unit == "count":
            return f"{value:,.1f}".removesuffix(".0")
        return f"{100 * value:.1f}" if self.unit == "share" else f"{value:.3f}"


def _signed(title: str, undefined: str = "") -> Measure:
    return Measure(title, "number", -1.0, 1.0, undefined)


_NO_TRUE_LABEL, _NO_FALSE_LABEL = "no True label", "no False label"
_ONE_LABEL = "only one kind of label"
_TRIVIAL = "no better than the trivial rule"
_FAITHFUL, _UNFAITHFUL = "no faithful decision", "no unfaithful decision"
_ONE_SEED = "one seed: no floor"
_NO_RATIO = "one seed, or seeds that agree on nothing"
_NOWHERE = "for no finding or class"
MEASURES = {
    "accuracy": Measure("accuracy"),
    "credit": Measure("VQA accuracy"),
    "auc": Measure("macro AUC", undefined=_ONE_LABEL),
    "average_precision": Measure("mean average precision", undefined=_ONE_LABEL),
    "balanced_accuracy": Measure("balanced accuracy", undefined=_ONE_LABEL),
    "precision": Measure("precision", undefined="never answers True"),
    "recall": Measure("recall", undefined=_NO_TRUE_LABEL),
    "f1": Measure("F1", undefined="no True label, no True answer"),
    "specificity": Measure("specificity", undefined=_NO_FALSE_LABEL),
    "informedness": _signed("informedness J", _ONE_LABEL),
    "mcc": _signed("MCC"),
    "positive_share": Measure("answers True"),
    "tp": Measure("true positives", "count"),
    "fp": Measure("false positives", "count"),
    "tn": Measure("true negatives", "count"),
    "fn": Measure("false negatives", "count"),
    "macro_precision": Measure("macro precision", undefined=_NOWHERE),
    "macro_recall": Measure("macro recall", undefined=_NOWHERE),
    "macro_f1": Measure("macro F1", undefined=_NOWHERE),
    "fidelity": Measure("fidelity"),
    "faithful_accuracy": Measure("accuracy on faithful", undefined=_FAITHFUL),
    "unfaithful_accuracy_dense": Measure("dense on unfaithful", undefined=_UNFAITHFUL),
    "unfaithful_accuracy_pruned": Measure("pruned on unfaithful", undefined=_UNFAITHFUL),
    "confidence": Measure(
        "confidence", "number", high=float("inf"), undefined="no faithful or no right decision"
    ),
    "a": Measure("a: both right"),
    "b": Measure("b: only dense right (negative flip)"),
    "c": Measure("c: only pruned right (positive flip)"),
    "e": Measure("e: same wrong answer"),
    "g": Measure("g: different wrong answers"),
    "churn": Measure("churn"),
    "unnecessary_churn": Measure("unnecessary churn"),
    "flips": Measure("flips"),
    "negative_flips": Measure("negative flips"),
    "positive_flips": Measure("positive flips"),
    "kappa": _signed("kappa"),
    "auroc": Measure("AUROC", undefined=_TRIVIAL),
    "turned_wrong": Measure("right answers that turn wrong", undefined=_TRIVIAL),
    "turned_right": Measure("wrong answers that turn right", undefined=_TRIVIAL),
    "barrier": Measure("error barrier", undefined=_TRIVIAL),
    "accuracy_dense": Measure("accuracy of dense"),
    "accuracy_pruned": Measure("accuracy of the ticket"),
    "invariability": Measure("invariability"),
    "ceiling": Measure("the most that fidelity can be"),
    "cka": _signed("linear CKA", "no spread between items"),
    "rand": _signed("adjusted Rand index", "one cluster only"),
    "floor": Measure("dense of another seed", undefined=_ONE_SEED),
    "other_ticket": Measure("ticket of another seed", undefined=_ONE_SEED),
    "relative_fidelity": Measure(
        "relative fidelity", "number", high=float("inf"), undefined=_NO_RATIO
    ),
    "own_answers": Measure("own ticket minus another's", low=-1.0, undefined=_ONE_SEED),
    "ece": Measure("expected calibration error"),
    "brier": Measure("Brier score", "number"),
    "nll": Measure("negative log-likelihood, nats", "number", high=float("inf")),
    "overconfidence": Measure("overconfidence", low=-1.0),
    "kl": Measure("KL from dense, nats", "number", high=float("inf")),
    "js": Measure("Jensen-Shannon, nats", "number"),
    "margin_change": Measure(
        "margin change, log-odds", "number", low=float("-inf"), high=float("inf")
    ),
    "logit_spearman": _signed("Spearman of log-odds", "logits do not vary"),
    "beyond_floor": Measure("fidelity minus its floor", low=-1.0, undefined=_ONE_SEED),
}


def model_name(model: str) -> str:
    return MODEL_NAMES.get(model, model)


def sparsity_text(share: float) -> str:
    """A share in % with as many digits as it takes not to read as none or all.

    >>> sparsity_text(0.488), sparsity_text(0.9999), sparsity_text(1.0), sparsity_text(0.0)
    ('48.8', '99.99', '100', '0')
    """
    if share in (0.0, 1.0):
        return f"{100 * share:.0f}"
    texts = (f"{100 * share:.{digits}f}" for digits in range(1, 7))
    return next((text for text in texts if 0 < float(text) < 100), f"{100 * share:.7g}")


def summary_text(measure: Measure, row: pd.Series[float]) -> str:
    """One row of a seed summary: mean, interval where there is one, seeds where some are out."""
    if row["n"] == 0:
        return measure.text(float("nan"))
    text = measure.text(row["mean"])
    if pd.notna(row["low"]) and measure.unit != "count":
        low, high = max(row["low"], measure.low), min(row["high"], measure.high)
        text += f" ({measure.text(low)} to {measure.text(high)})"
    return text if row["n"] == row["seeds"] else f"{text}, {row['n']:.0f} of {row['seeds']:.0f}"


def seeds_and_items(frame: pd.DataFrame) -> str:
    """How many seeds, test items and decisions a frame of measures rests on, in words."""
    groups = frame.groupby("model")["run"] if "model" in frame.columns else [("", frame["run"])]
    seeds = counted([runs.nunique() for _, runs in groups], "seed")
    items, decisions = (sorted(frame[name].unique()) for name in ("items", "decisions"))
    text = f"{seeds}, {counted(items, 'test item')}"
    return text if items == decisions else f"{text} ({counted(decisions, 'decision')})"


def intervals(frame: pd.DataFrame) -> str:
    """What the intervals of a frame's summaries are, in words for a caption.

    A frame with a floor is shown with it.
    """
    groups = frame.groupby("model")["run"] if "model" in frame.columns else [("", frame["run"])]
    if max(runs.nunique() for _, runs in groups) == 1:
        return "no interval, since there is one seed"
    floors = "; of what is a mean over pairs of seeds (floor, other seed, and what is relative to "
    pairs = f"{floors}them), 95 % jackknife interval over seeds" if "floor" in frame.columns else ""
    return f"95 % t interval over seeds, cut where a measure ends{pairs}"
