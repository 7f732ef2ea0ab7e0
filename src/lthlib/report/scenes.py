"""Sample scenes as a figure: canvas, boxes, text and label of single items."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lthlib.report.draw import ORANGE, PAPER, POINTS
from lthlib.report.exhibits import Exhibit
from lthlib.report.plain import plain_table

Box = Sequence[float]
_COLUMNS, _SIDE, _LINES = 2, 2.3, 0.95  # inches of a canvas and of the text above it
_CHARACTERS = 24  # of text in one line above a canvas


def gallery(
    canvases: Sequence[npt.NDArray[np.float32]],
    boxes: Sequence[Sequence[Box]],
    texts: Sequence[str],
    labels: Sequence[str],
    task: str,
) -> Exhibit:
    """Scenes with their boxes, each under its text and its label.

    canvases: [H, W], 0 (paper) to 1 (ink); boxes: x1 y1 x2 y2 in 0..1 for each region of a scene.
    """
    rows = -(-len(canvases) // _COLUMNS)
    size = (_COLUMNS * _SIDE, rows * (_SIDE + _LINES))
    figure = Figure(figsize=size, layout="constrained", facecolor=PAPER)
    axes = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for ax in axes:
        ax.set_axis_off()
    for ax, canvas, regions, text, label in zip(axes, canvases, boxes, texts, labels, strict=False):
        height, width = canvas.shape
        ax.imshow(canvas, cmap="Greys", vmin=0, vmax=1, extent=(0, width, height, 0))
        for x1, y1, x2, y2 in regions:
            corner, reach = (x1 * width, y1 * height), ((x2 - x1) * width, (y2 - y1) * height)
            ax.add_patch(Rectangle(corner, *reach, fill=False, edgecolor=ORANGE, linewidth=1.5))
        ax.add_patch(Rectangle((0, 0), width, height, fill=False, linewidth=0.8))
        ax.set_title(f"{textwrap.fill(text, _CHARACTERS)}\n[{label}]", fontsize=POINTS - 2)
    data = pd.DataFrame(
        {
            "text": texts,
            "label": labels,
            "boxes": ["; ".join(" ".join(f"{x:.3f}" for x in b) for b in part) for part in boxes],
        }
    )
    caption = (
        f"{len(canvases)} test items of {task}: the scene, the boxes of its regions, the text, and "
        "in brackets the label. A box without a digit is a distractor. These are single items, "
        "so there is no interval."
    )
    seen = "; ".join(f"{text} [{label}]" for text, label in zip(texts, labels, strict=True))
    return Exhibit(caption, f"Scenes of {task}, each with its text and label: {seen}", data, figure)


def make_up(values: pd.Series[str], what: str) -> Exhibit:
    """How often each value occurs among the test items."""
    counts = values.value_counts()
    total = counts.sum()
    data = pd.DataFrame(
        {what: counts.index, "items": counts.to_numpy(), "share": counts.to_numpy() / total}
    )
    table = data.assign(
        items=data["items"].map("{:,}".format),
        share=[f"{100 * share:.1f} %" for share in data["share"]],
    )
    return plain_table(table, f"Test items by {what}: counts of the whole split.", data=data)
