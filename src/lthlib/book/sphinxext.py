"""Sphinx extension that keeps the book fresh: `jupyter-book build book` is all one has to type.

Before anything is read, it executes the chapters that are missing or stale. Pages that glue a
value from a changed chapter are then read again too, for Sphinx knows of no such dependence.
Warnings fail the build, and fail the next one as well until their cause is gone.
"""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

from lthlib.book.chapters import read_book, refresh
from lthlib.errors import LthError
from lthlib.records import project_root

logger = logging.getLogger(__name__)

# {glue:text}`chapters/compare.ipynb::key:s`, or the option `:doc: chapters/compare.ipynb`
GLUED_FROM = re.compile(r"(?:`|:doc:\s*)([\w./-]+)\.ipynb\b")
# What exhibits write where they mean a page or a file of the book; see lthlib.report.show.
LINK = re.compile(r'"book:([\w./-]+)(#[\w-]+)?"')


def refresh_chapters(app: Sphinx) -> None:
    """Execute stale chapters before Sphinx looks at the files."""
    try:
        refresh(read_book(project_root(Path(app.srcdir))), say=logger.info)
    except LthError as error:
        # An exception would reach the user under two tracebacks; this is one line and status 1.
        raise SystemExit(f"error: {error}") from None
    except KeyboardInterrupt:
        print("stopped; chapters that were finished are kept, build again", file=sys.stderr)
        raise SystemExit(130) from None


def only_pages_of_contents(app: Sphinx, config: Config) -> None:
    """Read the pages that `_toc.yml` names, and no other.

    `only_build_toc_files` alone excludes what it finds by a pattern made of the folder's own name,
    in which brackets are no brackets.
    """
    named = [*config.external_site_map]
    config["include_patterns"] = [*named, *(f"{page}.*" for page in named)]


def pages_that_glue(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> list[str]:
    """Names of the pages that glue values from a chapter that is new or changed."""
    touched = added | changed | removed
    return [
        page for page in env.found_docs if touched & _sources_of(Path(env.doc2path(page)), page)
    ]


def _sources_of(path: Path, page: str) -> set[str]:
    """Pages from which this one glues."""
    if path.suffix != ".md":
        return set()
    found = GLUED_FROM.findall(path.read_text(encoding="utf-8"))
    return {posixpath.normpath(posixpath.join(posixpath.dirname(page), name)) for name in found}


def resolve_links(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: object
) -> None:
    """Give the links inside exhibits their address as seen from this page."""

    def address(match: re.Match[str]) -> str:
        target, anchor = match.group(1), match.group(2) or ""
        if target.endswith(".ipynb"):
            return f'"{context["pathto"]("_sources/" + target, 1)}"'
        return f'"{context["pathto"](target)}{anchor}"'

    if "body" in context:
        context["body"] = LINK.sub(address, context["body"])


def forget_warned(app: Sphinx, exception: Exception | None) -> None:
    """After warnings, drop what Sphinx remembers of the pages: the next build warns again."""
    if app._warncount:
        (Path(app.doctreedir) / "environment.pickle").unlink(missing_ok=True)


def setup(app: Sphinx) -> dict[str, bool]:
    # Finish, show every warning, and exit with status 1 if there was one.
    app.keep_going = True
    # After sphinx_external_toc has read the contents, at 900.
    app.connect("config-inited", only_pages_of_contents, priority=950)
    app.connect("builder-inited", refresh_chapters)
    app.connect("env-get-outdated", pages_that_glue)
    app.connect("html-page-context", resolve_links)
    app.connect("build-finished", forget_warned)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
