"""Look over a built book as a reader without a network would: `python -m lthlib.book.check`.

A build can succeed and still show a traceback, a "nan", a link that leads nowhere, or an image
that only loads online. Every fault is one line that names the page and the thing.
"""

from __future__ import annotations

import base64
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}
# Attributes from which a browser loads something as soon as the page opens.
LOADED = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "source": ("src", "srcset"),
    "iframe": ("src",),
    "video": ("src", "poster"),
    "audio": ("src",),
    "embed": ("src",),
    "object": ("data",),
    "image": ("href", "xlink:href"),
    "use": ("href", "xlink:href"),
}
LOADING_LINKS = {
    "stylesheet",
    "icon",
    "preload",
    "prefetch",
    "modulepreload",
    "preconnect",
    "manifest",
}
CODE, MACHINE = {"pre", "code"}, {"script", "style"}
NOT_A_NUMBER = re.compile(r"(?<![\w.-])(nan|NaN|NaT|<NA>|-?inf)(?![\w.-])")
GLUE = re.compile(r"\{glue[:}]|glue:(text|md|figure|any)")
TRACEBACK = "Traceback (most recent call last)"
CSS_LOADS = re.compile(r"""(?:url\(\s*|@import\s+)["']?((?:https?:)?//[^"')\s]+)""")
SCRIPT_LOADS = re.compile(r"""(?:https?:)?//[\w.-]+/[^\s"'`]*\.(?:m?js|css|woff2?)\b""")


@dataclass
class Page(HTMLParser):
    """What one HTML page holds, as far as this check needs it."""

    text: str
    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    prose: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)
    machine: list[str] = field(default_factory=list)
    stack: list[tuple[str, list[str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        classes = given.get("class", "").split()
        self.ids |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        self._note_loads(tag, given)
        if tag == "img" and not given.get("alt", "").strip():
            self.unnamed.append(f"image {given.get('src', '')[:60]}")
        if tag == "svg" and given.get("role") == "img" and not given.get("aria-label", "").strip():
            self.unnamed.append("drawing (svg)")
        if {"system-message", "problematic"} & set(classes):
            self.faults.append("shows a message of Sphinx in place of what it could not resolve")
        if "traceback" in classes:
            self.faults.append("shows a traceback")
        if tag not in VOID:
            # What is inside goes with what is around it, unless this tag says otherwise.
            inner = self.stack[-1][1] if self.stack else self.prose
            if tag in MACHINE:
                inner = self.machine
            elif tag in CODE or "cell_input" in classes:
                inner = self.code
            self.stack.append((tag, inner))

    def handle_endtag(self, tag: str) -> None:
        open_tags = [name for name, _ in self.stack]
        if tag in open_tags:
            del self.stack[len(open_tags) - 1 - open_tags[::-1].index(tag) :]

    def handle_data(self, data: str) -> None:
        (self.stack[-1][1] if self.stack else self.prose).append(data)

    def _note_loads(self, tag: str, given: dict[str, str]) -> None:
        for name in LOADED.get(tag, ()):
            for part in (
                given.get(name, "").split(",") if name == "srcset" else [given.get(name, "")]
            ):
                self.loads += part.split()[:1]
        if tag == "link" and LOADING_LINKS & set(given.get("rel", "").split()):
            self.loads.append(given.get("href", ""))
        self.loads += CSS_LOADS.findall(given.get("style", ""))


def check(site: Path) -> list[str]:
    """Every fault of the site in a folder, one line each, sorted; empty when all is well."""
    # Files below _static are parts of the theme, not pages.
    files = [f for f in sorted(site.rglob("*.html")) if "_static" not in f.relative_to(site).parts]
    if not files:
        return [f"{site}: no HTML page is there; build the book first"]
    pages = {file: Page(file.read_text(encoding="utf-8")) for file in files}
    faults = {
        f"{file.relative_to(site)}: {fault}"
        for file, page in pages.items()
        for fault in [*_content(page), *_offline(page), *_links(site, file, pages)]
    }
    for sheet in site.rglob("*.css"):
        for url in CSS_LOADS.findall(sheet.read_text(encoding="utf-8", errors="replace")):
            faults.add(f"{sheet.relative_to(site)}: loads {url} from outside")
    return sorted(faults)


def _content(page: Page) -> Iterator[str]:
    yield from page.faults
    yield from (f"{what} has no alternative text" for what in page.unnamed)
    prose = "\n".join(page.prose)
    if TRACEBACK in prose or any(TRACEBACK in code for code in page.code):
        yield "shows a traceback"
    for found in NOT_A_NUMBER.finditer(prose):
        yield f"shows {found.group()!r} where a number belongs: {_around(prose, found)}"
    for found in GLUE.finditer(prose):
        yield f"shows an unresolved glue: {_around(prose, found)}"


def _around(text: str, found: re.Match[str]) -> str:
    return "..." + " ".join(text[max(0, found.start() - 30) : found.end() + 30].split()) + "..."


def _offline(page: Page) -> Iterator[str]:
    inline = "\n".join(page.machine)
    for url in [*page.loads, *CSS_LOADS.findall(inline), *SCRIPT_LOADS.findall(inline)]:
        if urlsplit(url).netloc:
            yield f"loads {url} from outside"


def _links(site: Path, file: Path, pages: dict[Path, Page]) -> Iterator[str]:
    page = pages[file]
    for link in [*page.links, *page.loads]:
        if link.startswith("data:"):
            yield from _data(link)
            continue
        parts = urlsplit(link)
        if parts.netloc or parts.scheme in {"mailto", "javascript"}:
            continue
        if parts.scheme:
            yield f"link {link} has an address that no browser knows"
            continue
        target = (file.parent / unquote(parts.path)).resolve() if parts.path else file.resolve()
        if target.is_dir():
            target /= "index.html"
        if not target.is_relative_to(site.resolve()):
            yield f"link {link} leads out of the book"
        elif not target.is_file():
            yield f"link {link} leads to a page or file that is not there"
        elif parts.fragment and not _has_anchor(target, unquote(parts.fragment), site, pages):
            yield f"link {link} leads to a place that is not on its page"


def _has_anchor(target: Path, anchor: str, site: Path, pages: dict[Path, Page]) -> bool:
    page = pages.get(site / target.relative_to(site.resolve()))
    return page is None or anchor in page.ids


def _data(link: str) -> Iterator[str]:
    """Faults of a CSV table that is carried in its link."""
    head, _, packed = link.partition(",")
    if head != "data:text/csv;base64":
        return
    rows = base64.b64decode(packed).decode().splitlines()
    if len(rows) < 2:
        yield "a CSV link holds no data"
    for row in rows:
        if NOT_A_NUMBER.search(row):
            yield f"a CSV link holds a value that is no number: {row[:80]}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the faults of the sites in the given folders; status 1 if there are any."""
    folders = list(sys.argv[1:] if arguments is None else arguments) or ["_build/html"]
    faults = [f"{folder}/{fault}" for folder in folders for fault in check(Path(folder))]
    print("\n".join(faults) if faults else f"{', '.join(folders)}: no faults found")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
