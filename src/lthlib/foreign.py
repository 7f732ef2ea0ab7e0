"""What a file is that is not what it was taken for, told from its first bytes."""

from __future__ import annotations

from pathlib import Path

_POINTER = "a Git LFS pointer, not the file itself: fetch it with `git lfs pull`"
_PAGE = "a web page, not the file that it was to be: fetch that"
_STARTS = (
    (b"version https://git-lfs", _POINTER),
    (b"<!doctype html", _PAGE),
    (b"<html", _PAGE),
    (b"<?xml", "an XML file"),
    (b"pk\x03\x04", "a ZIP archive, or a file of an office program"),
    (b"\xd0\xcf\x11\xe0", "a file of an old office program"),
    (b"\x1f\x8b", "compressed by gzip: unpack it first"),
    (b"bzh", "compressed by bzip2: unpack it first"),
    (b"\xfd7zxz", "compressed by xz: unpack it first"),
    (b"%pdf", "a PDF"),
)


def kind_of(data: bytes) -> str:
    """What a file is that begins so, in words, or "" where nothing is known of it.

    >>> kind_of(b"version https://git-lfs.github.com/spec/v1")[:17]
    'a Git LFS pointer'
    >>> kind_of(b"image,text,label"), kind_of(b"")
    ('', 'empty')
    """
    begun = data.lstrip(b"\xef\xbb\xbf \t\r\n")[:64].lower()
    if not begun:
        return "empty"
    return next((what for start, what in _STARTS if begun.startswith(start)), "")


def kind_of_file(path: Path) -> str:
    """The same of a file; "" where it cannot be read."""
    try:
        with path.open("rb") as file:
            return kind_of(file.read(256))
    except OSError:
        return ""
