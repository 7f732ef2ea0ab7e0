"""What notebooks say: exhibits with their caption and data, numbers for other pages, prose.

A notebook stays a few calls long because everything that is shown goes through here. All of it is
ordinary notebook output: it looks the same in Jupyter, after papermill, and in the book, and it
needs no file beside the notebook. Links that only the book can follow are written as `book:page`,
and the book's Sphinx extension gives them their address.
"""

from __future__ import annotations

import base64
import html
import io
import os
import re
from collections.abc import Callable, Mapping

import IPython.display
import matplotlib as mpl
from matplotlib.figure import Figure

from lthlib.report.exhibits import Exhibit

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


def show(exhibit: Exhibit, name: str) -> None:
    """Show a figure or a table with its caption, its data as CSV, and its notebook.

    name: unique in the notebook; the anchor of the exhibit, the name of its CSV file, and the key
        under which other pages can glue it.
    """
    data = {
        "text/html": exhibit_html(exhibit, name, chapter=os.environ.get("LTHLIB_CHAPTER")),
        "text/plain": repr(f"{exhibit.alt} {exhibit.caption}"),
    }
    _publish(data, {"scrapbook": {"name": name, "mime_prefix": ""}})


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
