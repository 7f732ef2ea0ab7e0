"""Unpacking what others packed: nothing leaves its folder, nothing outgrows its limit."""

from __future__ import annotations

import gzip
import shutil
import tarfile
import tempfile
import zlib
from pathlib import Path

from lthlib.errors import TaskError, in_one_line, reason

MOST_MEMBERS = 100_000
# What tarfile and what it stands on raise for damaged content, names and times included.
_DAMAGED = (
    *(tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile),
    *(ValueError, OverflowError),
)


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
    except _DAMAGED as error:
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
            file.extract(member, place, filter=_data_of_the_umask)


def _data_of_the_umask(member: tarfile.TarInfo, place: str) -> tarfile.TarInfo:
    """tarfile's filter for data, and modes as of any new file here, not those of its maker."""
    return tarfile.data_filter(member, place).replace(mode=None, deep=False)  # type: ignore[arg-type]


def _below(place: Path, name: str) -> bool:
    return (place / name).resolve().is_relative_to(place.resolve())
