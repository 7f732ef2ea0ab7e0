"""Where a record comes from: data, versions, hardware, and the state of the source tree."""

from __future__ import annotations

import datetime
import hashlib
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import lthlib
from lthlib.lab.tasks import Task
from lthlib.lab.tasks.inputs import HeldInputs

PACKAGES = ("lthlib", "torch", "transformers", "numpy", "pandas", "pyarrow", "safetensors")


def now() -> str:
    """This moment in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def task_key(task: Task) -> str:
    """The task's name and twelve digits of the SHA-256 of all that a model is shown of it."""
    digest = hashlib.sha256()
    for split in (task.train, task.validation, task.test):
        digest.update("\n".join(split.items).encode())
        digest.update(split.labels.contiguous().numpy().tobytes())
        assert not isinstance(split.inputs, HeldInputs), "a task is named before it goes to a GPU"
        for content in split.inputs.content():
            digest.update(content)
        if split.credits is not None:
            digest.update(split.credits.classes.numpy().tobytes())
            digest.update(split.credits.worth.numpy().tobytes())
    return f"{task.name}-{digest.hexdigest()[:12]}"


def describe_environment(device: torch.device) -> dict[str, Any]:
    """Commit, versions and hardware, as plain data for study.json."""
    return {
        "commit": _commit(),
        "versions": {"python": platform.python_version(), **{p: _version(p) for p in PACKAGES}},
        "hardware": {
            "machine": platform.machine(),
            "system": platform.system(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        },
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _commit() -> str:
    """The commit of the source tree, marked when files differ from it; empty outside git."""
    here = Path(lthlib.__file__).parent
    try:
        head = _git(here, "rev-parse", "HEAD")
        return head + ("+changes" if _git(here, "status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
