"""GPUs of one machine, one job each: a file lock stands for each device.

Snakemake counts GPUs on a machine but does not say which one a job gets. A lock on a file does, and
the system frees it when its holder dies, however it dies. The files lie in one folder for the whole
machine, so that two controllers do not share a device either, as long as both call it by one name.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

POLL_SECONDS = 0.2
VISIBLE = "CUDA_VISIBLE_DEVICES"
FOLDER = "LTHLIB_DEVICES"
"""The variable that names another folder of locks."""


def slots_folder() -> Path:
    """The machine's folder of locks, for all its users: not TMPDIR, which may be each one's own."""
    return Path(os.environ.get(FOLDER) or Path("/tmp") / "lthlib-devices")


def visible_devices() -> list[str]:
    """Names of the GPUs that this process may use, as CUDA_VISIBLE_DEVICES has them."""
    named = os.environ.get(VISIBLE)
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip() not in ("", "-1")]
    # CUDA counts those that a container was given from 0, whatever their files are called.
    return [str(number) for number, _ in enumerate(Path("/dev").glob("nvidia[0-9]*"))]


@contextlib.contextmanager
def device_slot(devices: Sequence[str], folder: Path | None = None) -> Iterator[str]:
    """Hold one of these devices, and no other process that asks here holds it meanwhile.

    Waits until one is free. Raises OSError where the folder cannot be written.
    """
    place = folder or slots_folder()
    if not place.is_dir():
        place.mkdir(parents=True, exist_ok=True)
        place.chmod(0o1777)  # as the folder for temporary files: every user may lock
    locks = {device: FileLock(place / f"{_plain(device)}.lock", mode=0o666) for device in devices}
    while True:
        for device, lock in locks.items():
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            try:
                yield device
            finally:
                lock.release()
            return
        time.sleep(POLL_SECONDS)


def _plain(device: str) -> str:
    """A device's name as a file name: GPUs are numbers or such as GPU-8932f937-d72c."""
    return re.sub(r"[^A-Za-z0-9-]", "_", device)
