"""Unpacking what others packed: nothing leaves its folder, nothing outgrows its limit."""

from __future__ import annotations

import gzip
import shutil
import tarfile
import tempfile
import zlib
from pathlib import Path
from typing import IO, cast

from lthlib.errors import TaskError, in_one_line, reason

MOST_MEMBERS = 100_000
DAMAGED = (
    *(tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile),
    *(ValueError, OverflowError),
    AttributeError,  # of tarfile's own handling of zlib.error before Python 3.11.4
)
"""What tarfile and what it stands on raise for damaged content, names and times included."""


def unpack(archive: Path, folder: Path, *, most_bytes: int) -> None:
    """Unpack a .tar.gz into a folder that is not there yet, all of it or none.

    Only plain files and folders are taken, and only under their own names below `folder`. Raises
    TaskError for an archive that is damaged, holds a path that leads elsewhere, a link or a device,
    or more than `most_bytes` in all, and where the disk is full.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=folder.parent))
    try:
        unpacked = place / "unpacked"  # the folder around it is for its owner alone
        unpacked.mkdir()
        _extract(archive, unpacked, most_bytes)
        unpacked.replace(folder)
    except DAMAGED as error:
        raise TaskError(f"{archive} is damaged ({in_one_line(error)}): get it again") from None
    except OSError as error:
        raise TaskError(f"{archive} cannot be unpacked into {folder} ({reason(error)})") from None
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _extract(archive: Path, place: Path, most_bytes: int) -> None:
    with tarfile.open(archive, "r|gz") as file:
        size = 0
        for number, member in enumerate(file, start=1):
            size += member.size
            if size > most_bytes or number > MOST_MEMBERS:
                raise TaskError(
                    f"{archive} holds more than {most_bytes:,} bytes or {MOST_MEMBERS:,} files: "
                    "it is not what was published"
                )
            if not (member.isreg() or member.isdir()):
                raise TaskError(f"{archive}: {member.name!r} is no file and no folder")
            if not _below(place, member.name):
                raise TaskError(f"{archive}: {member.name!r} leads out of its folder")
            _write(file, member, place / member.name)


def _write(file: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    """A file or folder as any new one here, with neither owner, mode nor time of its maker."""
    if member.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # tarfile's own filters came with Python 3.11.4.
    with cast(IO[bytes], file.extractfile(member)) as source, path.open("wb") as target:
        shutil.copyfileobj(source, target)


def _below(place: Path, name: str) -> bool:
    return (place / name).resolve().is_relative_to(place.resolve())
