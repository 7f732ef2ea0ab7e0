"""The look over a built book: it is silent on a sound site and names each planted fault."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from lthlib.book.check import check, main

GOOD = """<!doctype html><html><head><link rel="stylesheet" href="_static/a.css">
<script src="_static/a.js"></script><style>p {{ color: red }}</style></head><body>
<h1 id="top">Title</h1><p>It is 0.8, and finance and an infant mean nothing.</p>
<img src="_static/a.png" alt="a figure"><a href="other.html#there">there</a> <a href="#top">up</a>
<a href="https://arxiv.org/abs/1803.03635">a paper</a> <a href="{csv}" download="x.csv">data</a>
<pre>float("nan") # {{glue:text}}`x`</pre><code>nan</code>{extra}</body></html>"""
OTHER = '<html><body><p id="there">There.</p></body></html>'


def csv(text: str) -> str:
    return f"data:text/csv;base64,{base64.b64encode(text.encode()).decode()}"


def make_site(folder: Path, extra: str = "", data: str = "a,b\n1,2\n") -> Path:
    (folder / "_static").mkdir()
    for name in ("a.css", "a.js", "a.png"):
        (folder / "_static" / name).write_text("")
    # A theme ships templates that are no pages.
    (folder / "_static" / "macros.html").write_text('<img src="{{ x }}">')
    (folder / "index.html").write_text(GOOD.format(extra=extra, csv=csv(data)))
    (folder / "other.html").write_text(OTHER)
    return folder


def test_a_sound_site_has_no_faults(tmp_path: Path) -> None:
    assert check(make_site(tmp_path)) == []


@pytest.mark.parametrize(
    ("planted", "fault"),
    [
        ("<pre>Traceback (most recent call last)</pre>", "shows a traceback"),
        ('<div class="output traceback">x</div>', "shows a traceback"),
        ("<td>nan</td>", "shows 'nan'"),
        ("<p>from NaN to 3</p>", "shows 'NaN'"),
        ("<td>&lt;NA&gt;</td>", "shows '<NA>'"),
        ("<td>-inf</td>", "shows '-inf'"),
        ("<p>It is {glue:text}`a.ipynb::b:s`.</p>", "unresolved glue"),
        ('<p class="system-message">?</p>', "a message of Sphinx"),
        ('<img src="_static/a.png">', "image _static/a.png has no alternative text"),
        ('<img src="_static/a.png" alt=" ">', "image _static/a.png has no alternative text"),
        ('<svg role="img"></svg>', "drawing (svg) has no alternative text"),
        ('<script src="https://x.org/a.js"></script>', "loads https://x.org/a.js from outside"),
        ('<script src="//x.org/a.js"></script>', "loads //x.org/a.js from outside"),
        ('<link rel="icon" href="https://x.org/i.png">', "loads https://x.org/i.png from outside"),
        ('<img src="https://x.org/a.png" alt="a">', "loads https://x.org/a.png from outside"),
        ('<img src="a.png" srcset="https://x.org/b.png 2x" alt="a">', "loads https://x.org/b.png"),
        ("<style>@import 'https://x.org/a.css';</style>", "loads https://x.org/a.css"),
        ('<p style="background: url(https://x.org/b.png)">x</p>', "loads https://x.org/b.png"),
        ('<script>load("https://unpkg.com/thebe/index.js")</script>', "loads https://unpkg.com"),
        ('<iframe src="https://x.org/"></iframe>', "loads https://x.org/ from outside"),
        ('<a href="gone.html">x</a>', "link gone.html leads to a page or file that is not there"),
        ('<a href="other.html#no">x</a>', "link other.html#no leads to a place that is not on"),
        ('<a href="#no">x</a>', "link #no leads to a place that is not on its page"),
        ('<a href="../up.html">x</a>', "link ../up.html leads out of the book"),
        ('<a href="book:chapters/a">x</a>', "link book:chapters/a has an address that no browser"),
    ],
)
def test_each_planted_fault_is_named(tmp_path: Path, planted: str, fault: str) -> None:
    faults = check(make_site(tmp_path, planted))
    assert any(fault in line and line.startswith("index.html: ") for line in faults), faults


@pytest.mark.parametrize(
    ("data", "fault"), [("a,b\n", "holds no data"), ("a,b\n1,nan\n", "no number: 1,nan")]
)
def test_data_in_links_is_looked_at(tmp_path: Path, data: str, fault: str) -> None:
    assert any(fault in line for line in check(make_site(tmp_path, data=data)))


def test_style_sheets_are_looked_at(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    (site / "_static" / "a.css").write_text("@font-face { src: url('//x.org/f.woff2') }")
    assert check(site) == ["_static/a.css: loads //x.org/f.woff2 from outside"]


def test_no_site_is_a_fault(tmp_path: Path) -> None:
    assert check(tmp_path) == [f"{tmp_path}: no HTML page is there; build the book first"]


def test_the_command_prints_faults_and_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = make_site(tmp_path)
    assert main([str(site)]) == 0
    assert "no faults found" in capsys.readouterr().out
    (site / "other.html").unlink()
    assert main([str(site)]) == 1
    assert f"{site}/index.html: link other.html#there leads" in capsys.readouterr().out
