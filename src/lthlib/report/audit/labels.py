"""What the audit needs to know of two real label files, kept so that it runs without them.

The main source was evaluated on VSR (version 1, random split) and on the test reports of Li et al.
2020 from Open-I. Their labels do not ship; `labels.json` beside this file holds the few numbers
that :func:`measure` takes from them, with the check sums of the files, and a test takes them again
where the files are.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lthlib.errors import RecordError
from lthlib.report.audit.detectors import batch_averages

VSR, OPEN_I = "vsr/splits_v1/random", "openi/openIdf.csv"
SPLITS = ("train", "dev", "test")
NOT_FINDINGS = ("id", "Normal", "split", "TXT")
LARGEST_BATCH = 64


@cache
def labels() -> dict[str, Any]:
    """The kept numbers: what :func:`measure` returned on the real files."""
    text = files("lthlib.report.audit").joinpath("labels.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def vsr_counts(split: str = "dev") -> dict[str, int]:
    """How many captions of a split of VSR v1 (random) are False and True."""
    items, true = (labels()["vsr"][split][name] for name in ("items", "true"))
    return {"False": items - true, "True": true}


def open_i_counts() -> dict[str, int]:
    """How many of the test reports' label cells are negative and positive."""
    cells, positive = (labels()["open_i"][name] for name in ("cells", "positive"))
    return {"negative": cells - positive, "positive": positive}


def always_true_by_batch() -> pd.DataFrame:
    """Batch averages of a model that calls every caption of VSR's dev split true.

    See :func:`lthlib.report.audit.batch_averages`; in the order of the file, as an unshuffled
    loader reads it.
    """
    return pd.DataFrame(**labels()["always_true_by_batch"])


def measure(folder: Path) -> dict[str, Any]:
    """The numbers of `labels.json` from the files themselves.

    folder: holds `vsr/splits_v1/random/{train,dev,test}.jsonl` (cambridgeltl/visual-spatial-
        reasoning, commit b1cf884d) and `openi/openIdf.csv` (masoud-monajati/BERTHop, 3fd30761).
    Raises RecordError for a file that is missing.
    """
    paths = {split: folder / VSR / f"{split}.jsonl" for split in SPLITS}
    splits = {split: _vsr(path) for split, path in paths.items()}
    scan = batch_averages(splits["dev"], np.ones_like(splits["dev"]), range(1, LARGEST_BATCH + 1))
    reports = pd.read_csv(_there(folder / OPEN_I), index_col=0)
    test = reports.loc[reports["split"] == "test"].drop(columns=list(NOT_FINDINGS))
    return {
        "sha256": {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in [*paths.values(), folder / OPEN_I]
        },
        "vsr": {
            split: {"items": len(label), "true": int(label.sum())}
            for split, label in splits.items()
        },
        "open_i": {
            "reports": len(test),
            "findings": test.shape[1],
            "cells": int(test.size),
            "positive": int(test.to_numpy().sum()),
        },
        "always_true_by_batch": {
            "columns": list(scan.columns),
            "data": scan.round(9).to_numpy().tolist(),
        },
    }


def _vsr(path: Path) -> Any:
    lines = _there(path).read_text(encoding="utf-8").splitlines()
    return np.array([json.loads(line)["label"] for line in lines])


def _there(path: Path) -> Path:
    if not path.is_file():
        raise RecordError(f"{path}: no such file; give the folder that holds {VSR} and {OPEN_I}")
    return path
