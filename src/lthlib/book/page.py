"""An executed notebook as one page: HTML that asks for nothing else, light or dark, wide or narrow.

Text and outputs are kept, code is left out. What exhibits are made of lies in the page already
(see :mod:`lthlib.report.show`).
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from string import Template
from typing import Any

from lthlib.report.show import GLUE_PREFIX


def page(notebook: Mapping[str, Any], head: str = "") -> str:
    """The page of a notebook; its title is the first heading. head: more for the page's head."""
    body = "\n".join(_cells(notebook))
    title = re.search(r"<h1[^>]*>(.*?)</h1>", body, flags=re.DOTALL)
    plain = re.sub(r"<[^>]+>", "", title[1]) if title else "Report"
    return _PAGE.substitute(title=plain, head=head, style=_STYLE, body=body)


def _cells(notebook: Mapping[str, Any]) -> Iterator[str]:
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            yield _markdown("".join(cell["source"]))
        for output in cell.get("outputs", ()):
            yield _output(output)


def _output(output: Mapping[str, Any]) -> str:
    data = output.get("data", {})
    if "text/html" in data:
        return "".join(data["text/html"])
    if "text/markdown" in data:
        return _markdown("".join(data["text/markdown"]))
    if any(kind.startswith(GLUE_PREFIX) for kind in data):
        return ""
    text = "".join(output.get("text", data.get("text/plain", "")))
    return f"<pre>{html.escape(text)}</pre>" if text else ""


def _markdown(text: str) -> str:
    from markdown_it import MarkdownIt

    return str(
        MarkdownIt("commonmark", {"html": False}).enable("table").disable("image").render(text)
    )


_PAGE = Template(
    """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
$head
<title>$title</title>
<style>$style</style>
</head>
<body>
<main>
$body
</main>
</body>
</html>
"""
)

_STYLE = """
:root{--ink:#1a1a1a;--paper:#fff;--line:#ccc;--soft:#555;--link:#0b5cad}
@media (prefers-color-scheme:dark){
:root{--ink:#e4e4e4;--paper:#161616;--line:#444;--soft:#aaa;--link:#7db7ff}
img.exhibit-image{filter:invert(.9) hue-rotate(180deg)}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:1rem/1.55 system-ui,sans-serif;
-webkit-text-size-adjust:100%}
main{max-width:52rem;margin:0 auto;padding:1rem 1rem 4rem}
h1{font-size:1.7rem;line-height:1.2}h2{font-size:1.25rem;margin-top:2.2rem}
p,li{overflow-wrap:break-word}
a{color:var(--link)}code{font-size:.9em}
pre{white-space:pre-wrap;overflow-wrap:anywhere;border:1px solid var(--line);padding:.6rem;
font-size:.85em}
figure.exhibit{margin:1.2rem 0 2rem;max-width:100%}
figcaption{margin-top:.5rem;font-size:.87em;color:var(--soft)}
.exhibit-links{white-space:nowrap}
img.exhibit-image{display:block;width:100%;max-width:36rem;height:auto;background:#fff}
table.exhibit-table{border-collapse:collapse;font-size:.85em}
table.exhibit-table th,table.exhibit-table td{padding:.25rem .6rem;text-align:left;
vertical-align:top;white-space:nowrap;border-bottom:1px solid var(--line)}
table.exhibit-table td.long{min-width:16rem;white-space:normal}
table.exhibit-table thead th{vertical-align:bottom;white-space:normal}
table.exhibit-table th:first-child,table.exhibit-table td:first-child{position:sticky;left:0;
background:var(--paper)}
"""
