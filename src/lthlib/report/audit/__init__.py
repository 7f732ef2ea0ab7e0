"""Arithmetic checks of published tables, this project's own included.

Numbers that were computed from the same answers hang together: means of counts come in steps,
fidelity and two accuracies determine faithful accuracy, p-values give away deviations and runs.
Each check is a function on plain data frames, or on columns of printed numbers:

    granularity, consistent_runs        which numbers of runs allow printed means (GRIM)
    reconstruct, odd_pair               runs, deviations and test behind pairwise p-values
    feasibility, whose_accuracy         accuracies, fidelity and faithful accuracy together
    kappa_table                         agreement beyond chance, and what it could have been
    constant_answers                    accuracies of models that look at nothing
    batch_averages, batch_sizes         measures averaged over batches, and the batch's size
    kind_of_test                        independent or paired samples, Student or Welch
    pearson_range                       a correlation again, with the range that rounding leaves
    label_blind, label_blind_sign       correlations that base rates alone bring about
    audit_table                         all that applies to a table, one verdict a row

Numbers are best given as text, as printed: 0.50 and 0.5 do not say the same. Rounding and cutting
are both accepted. From a shell: `lth audit TABLE.csv`.
"""

from lthlib.report.audit.correlations import label_blind, label_blind_sign, pearson_range
from lthlib.report.audit.detectors import (
    batch_averages,
    batch_sizes,
    constant_answers,
    kind_of_test,
)
from lthlib.report.audit.granularity import consistent_runs, granularity
from lthlib.report.audit.identities import feasibility, kappa_table, whose_accuracy
from lthlib.report.audit.printed import Printed, Range, read
from lthlib.report.audit.reconstruction import Reconstruction, odd_pair, reconstruct
from lthlib.report.audit.table import audit_table

__all__ = [
    "Printed",
    "Range",
    "Reconstruction",
    "audit_table",
    "batch_averages",
    "batch_sizes",
    "consistent_runs",
    "constant_answers",
    "feasibility",
    "granularity",
    "kappa_table",
    "kind_of_test",
    "label_blind",
    "label_blind_sign",
    "odd_pair",
    "pearson_range",
    "read",
    "reconstruct",
    "whose_accuracy",
]
