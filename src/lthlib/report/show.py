"""What notebooks say: exhibits with their caption and data, numbers for other pages, prose.

Everything that is shown goes through :func:`show`: a drawing of :mod:`lthlib.report.draw`, or a
table made here, with the caption that the notebook gives it. All of it is ordinary notebook output:
it looks the same in Jupyter, after papermill, and in the book, and it needs no file beside the
notebook. Links that only the book can follow are written as `book:page`, and the book's Sphinx
extension gives them their address.
"""

from __future__ import annotations

import base64
import html
import io
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import IPython.display
import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from lthlib.report.draw import Drawing
from lthlib.report.exhibits import (
    MEASURES,
    Exhibit,
    intervals,
    model_name,
    seeds_and_items,
    sparsity_text,
    summary_text,
)
from lthlib.report.tidy import in_level_order, models_in_order, over_seeds
from lthlib.report.words import proper

# Glued values lie in outputs of this type, which no notebook shows (myst-nb reads them).
GLUE_PREFIX = "application/papermill.record/"
LONG_CELL = re.compile(r"<td>([^<]{48,})</td>")


def say(text: str) -> None:
    """Show prose (Markdown) that was computed."""
    _publish({"text/markdown": text, "text/plain": text}, {})


def number(name: str, text: str) -> None:
    """Keep a formatted number, or a sentence, for pages that glue it under this name."""
    data = {f"{GLUE_PREFIX}text/plain": repr(text)}
    _publish(data, {"scrapbook": {"name": name, "mime_prefix": GLUE_PREFIX}})


class Table(NamedTuple):
    """Finished text in every cell, the numbers behind it, and its extent for who cannot see it."""

    table: pd.DataFrame
    data: pd.DataFrame
    alt: str


def show(made: Drawing | Table | Exhibit, name: str, caption: str = "") -> None:
    """Show a figure or a table with its caption, its data as CSV, and its notebook.

    name: unique in the notebook; the anchor of the exhibit, the name of its CSV file, and the key
        under which other pages can glue it.
    caption: what is shown, on how many seeds and items, what its intervals are (:func:`basis`).
    """
    exhibit = made if isinstance(made, Exhibit) else as_exhibit(made, caption)
    data = {
        "text/html": exhibit_html(exhibit, name, chapter=os.environ.get("LTHLIB_CHAPTER")),
        "text/plain": repr(f"{exhibit.alt} {exhibit.caption}"),
    }
    _publish(data, {"scrapbook": {"name": name, "mime_prefix": ""}})


def as_exhibit(made: Drawing | Table, caption: str) -> Exhibit:
    """A drawing or a table with its caption; minus signs in words are true ones."""
    figure, table = (made.figure, None) if isinstance(made, Drawing) else (None, made.table)
    return Exhibit(proper(caption), proper(made.alt), made.data, figure, table)


def _publish(data: Mapping[str, str], metadata: Mapping[str, object]) -> None:
    """Put out a notebook output of several types, as display() would."""
    put: Callable[..., object] = IPython.display.display
    put(dict(data), raw=True, metadata=dict(metadata))


def exhibit_html(exhibit: Exhibit, name: str, chapter: str | None = None) -> str:
    """An exhibit as one `<figure>` that needs nothing else.

    chapter: the page of the book that this is made for, to link its notebook.
    """
    body = _image(exhibit.figure, exhibit.alt) if exhibit.figure else _table(exhibit)
    packed = _packed(exhibit.data.to_csv(index=False).encode())
    links = [f'<a download="{name}.csv" href="data:text/csv;base64,{packed}">data (CSV)</a>']
    if chapter:
        links.append(f'<a href="book:chapters/{chapter}.ipynb">notebook</a>')
    caption = html.escape(exhibit.caption, quote=False)
    label = "" if exhibit.figure else f' aria-label="{html.escape(exhibit.alt)}"'
    return (
        f'<figure class="exhibit" id="{name}"{label}>{body}<figcaption>{caption} '
        f'<span class="exhibit-links">[{" · ".join(links)}]</span></figcaption></figure>'
    )


def _image(figure: Figure, alt: str) -> str:
    """The figure as SVG, the same bytes each time it is drawn."""
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "lthlib"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    source = f"data:image/svg+xml;base64,{_packed(buffer.getvalue())}"
    return f'<img class="exhibit-image" src="{source}" alt="{html.escape(alt)}">'


def _table(exhibit: Exhibit) -> str:
    # Cells of a few words stay on one line and the table scrolls; sentences may wrap.
    return LONG_CELL.sub(r'<td class="long">\1</td>', exhibit.table_html())


def _packed(data: bytes) -> str:
    return base64.b64encode(data).decode()


# -- tables ---------------------------------------------------------------------------------------
SPARSITY, OF_ALL = "sparsity, %", "of all weights, %"


def table(frame: pd.DataFrame, *, data: pd.DataFrame | None = None) -> Table:
    """A table of a frame of finished text; data: the numbers behind it, where they differ."""
    heads = ", ".join(str(column) for column in frame.columns)
    alt = f"Table of {len(frame)} {'row' if len(frame) == 1 else 'rows'}: {heads}."
    return Table(frame.astype(str), frame if data is None else data, alt)


def texts(
    column: pd.Series[Any], write: Callable[[Any], str], missing: str = "not defined"
) -> pd.Series[str]:
    """Each value of a column as text, and `missing` where there is none."""
    told = [missing if pd.isna(value) else proper(write(value)) for value in column]
    return pd.Series(told, index=column.index, dtype=object)


def ladder_table(summary: pd.DataFrame, extra: Mapping[str, pd.Series[str]] | None = None) -> Table:
    """Measures by level and branch: mean with interval of each.

    summary: a frame of :func:`lthlib.report.tidy.over_seeds` by level and branch, whose measures
    are the columns, in their order; extra: more columns, finished text by (level, branch).
    """
    by = ["level", "branch"]
    data = in_level_order(summary)
    rows = data.drop_duplicates(by)
    index = pd.MultiIndex.from_frame(rows[by])
    columns = level_columns(rows)
    for name in summary["measure"].unique():
        part = data[data["measure"] == name].set_index(by).loc[index]
        columns[MEASURES[name].heading] = _summaries(name, part)
    columns |= {heading: list(cells.loc[index]) for heading, cells in (extra or {}).items()}
    return table(pd.DataFrame(columns), data=data)


def level_table(frame: pd.DataFrame, names: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measures by model and level as finished text, and the summary behind it.

    frame: model, run, level, sparsity, sparsity_all and the measures `names`, one row a run and
    level; see :func:`lthlib.report.tidy.over_seeds`.
    """
    data = models_in_order(over_seeds(frame, ["model", "level"], names))
    rows = data.drop_duplicates(["model", "level"])
    columns = {
        "model": list(rows["model"].map(model_name)),
        SPARSITY: list(rows["sparsity"].map(sparsity_text)),
    }
    for name in names:
        columns[MEASURES[name].heading] = _summaries(name, data[data["measure"] == name])
    return pd.DataFrame(columns), data


def models_table(
    summary: pd.DataFrame, absent: Callable[[str, int], str], extra: Sequence[str] = ()
) -> Table:
    """Models side by side: a row a level, and for each model its measures.

    summary: by model and level; absent: what stands where a measure is not there at a level.
    """
    levels = sorted(summary["level"].unique())
    sparsity = summary.groupby("level")["sparsity"].mean()
    columns: dict[tuple[str, str], list[str]] = {
        ("", "level"): [str(level) for level in levels],
        ("", SPARSITY): [sparsity_text(sparsity[level]) for level in levels],
    }
    for model, own in models_in_order(summary).groupby("model", sort=False):
        shares = own.groupby("level")["sparsity_all"].mean()
        columns[model_name(str(model)), OF_ALL] = [
            sparsity_text(shares[k]) if k in shares.index else absent("", k) for k in levels
        ]
        for name, part in own.groupby("measure", sort=False):
            cells = dict(zip(part["level"], _summaries(str(name), part), strict=True))
            heading = MEASURES[str(name)].heading
            columns[model_name(str(model)), heading] = [
                cells.get(k) or absent(str(name), k) for k in levels
            ]
    return table(pd.DataFrame(columns), data=summary)


def level_columns(rows: pd.DataFrame) -> dict[str, list[str]]:
    """What rows of a table begin with; rows: level, branch, sparsity, sparsity_all."""
    return {
        "level": [str(level) for level in rows["level"]],
        "branch": list(rows["branch"]),
        SPARSITY: [sparsity_text(share) for share in rows["sparsity"]],
        OF_ALL: [sparsity_text(share) for share in rows["sparsity_all"]],
    }


def _summaries(name: str, rows: pd.DataFrame) -> list[str]:
    return [summary_text(MEASURES[name], row) for _, row in rows.iterrows()]


# -- words ----------------------------------------------------------------------------------------
def basis(frame: pd.DataFrame) -> str:
    """What a caption rests on: seeds, items, interval, sparsity.

    frame: run, items, decisions, sparsity, sparsity_all, of the runs that are shown.
    """
    return f"{seeds_and_items(frame)}; {intervals(frame)}. {sparsity_note(frame)}"


def sparsity_note(frame: pd.DataFrame) -> str:
    prunable, everything = (frame[name].max() for name in ("sparsity", "sparsity_all"))
    return (
        f"At the last level {sparsity_text(prunable)} % of prunable weights are zero, "
        f"which is {sparsity_text(everything)} % of all weights."
    )


class _Cell:
    """A value that a template writes: `%` a share, `pt` a difference in points, both with interval.

    Any other form is that of the value itself.
    """

    def __init__(self, value: Any, low: Any, high: Any) -> None:
        self.value, self.low, self.high = value, low, high

    def __format__(self, form: str) -> str:
        if form not in ("%", "pt"):
            return format(self.value, form)
        if pd.isna(self.value):
            return "not defined"
        write = "{:+.1f}" if form == "pt" else "{:.1f}"
        unit = " %" if form == "%" else ""
        text = f"{write.format(100 * self.value)}{unit}"
        if pd.isna(self.low):
            return text
        # The interval of a share is cut where shares end.
        ends = (self.low, self.high) if form == "pt" else (max(0, self.low), min(1, self.high))
        return f"{text} ({' to '.join(write.format(100 * end) for end in ends)})"


def lines(frame: pd.DataFrame, template: str) -> str:
    """One line a row of a frame, as a template says: the only way in which prose tells results.

    template: names of columns in braces. `{accuracy:%}` is a share and `{change:pt}` a difference
    in points, with the interval in accuracy_low, accuracy_high where these are columns; models have
    their names.

    >>> told = pd.DataFrame({"model": ["uniter"], "a": [0.5], "a_low": [0.4], "a_high": [0.6]})
    >>> lines(told, "- {model}: {a:%}, {a:.2f}")
    '- UNITER: 50.0 % (40.0 to 60.0), 0.50'
    """
    written = []
    for row in frame.to_dict("records"):
        cells = {str(k): _Cell(v, *map(row.get, (f"{k}_low", f"{k}_high"))) for k, v in row.items()}
        named = {"model": model_name(row["model"])} if "model" in row else {}
        written.append(proper(template.format(**cells | named)))
    return "\n".join(written)
