"""Ranking: does a model's score put items that have a finding before items that have not?

Where findings are rare, saying "nothing found" to everything is right on most decisions, and
accuracy tells little. AUC and average precision look at the order of scores alone.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score

from lthlib.report.answers.calibration import with_log_odds
from lthlib.report.measures import RECORD, at_stage
from lthlib.report.reading import Reading

RANKING = ("auc", "average_precision")


def ranking(predictions: pd.DataFrame) -> pd.DataFrame:
    """Macro AUC and mean average precision of each record: means over its findings.

    A finding that no item has, or that every item has, has no order to judge: it is left out of
    both means, and named. Equal scores count half in AUC; a model that gives one score to all has
    AUC 1/2 and the average precision `chance`.

    Returns run, level, branch, stage, auc, average_precision, chance (mean share of items that have
    the finding), findings (how many count), undefined (the others), for records with logits. Both
    measures are <NA> where no finding counts. Raises RecordError as
    :func:`lthlib.report.answers.calibration.with_log_odds` does.
    """
    rows = []
    for key, part in with_log_odds(predictions).groupby(RECORD, sort=True):
        found, undefined = [], []
        for name, own in part.groupby("decision", sort=False):
            label, score = own["label"].to_numpy(), own["log_odds"].to_numpy()
            if label.min() == label.max():
                undefined.append(str(name))
            else:
                auc = float(roc_auc_score(label, score))
                found.append((auc, float(average_precision_score(label, score)), label.mean()))
        means = np.mean(found, axis=0).tolist() if found else [None] * 3
        rows.append((*key, *means, len(found), ", ".join(undefined)))
    columns = [*RECORD, *RANKING, "chance", "findings", "undefined"]
    numbers = dict.fromkeys((*RANKING, "chance"), "Float64")
    return pd.DataFrame(rows, columns=columns).astype(numbers)


def ranks_findings(reading: Reading) -> bool:
    """Whether a task has several decisions on each item, so that there is a ranking for each."""
    return len(reading.predictions["decision"].unique()) > 1


def ranked(reading: Reading) -> pd.DataFrame:
    """:func:`ranking` of a study at its stage, with items, sparsity and model beside it."""
    found = ranking(at_stage(reading.predictions, reading.stage))
    facts = reading.quality[[*RECORD, "items", "decisions", "sparsity", "sparsity_all", "model"]]
    return found.merge(facts, on=RECORD, how="left", validate="one_to_one")
