# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What a crash leaves
#
# A study may be killed at any moment and started again: what was finished stands, and the rest is
# computed as if nothing had happened. This page puts that to the test. A small study runs,
# something kills it, the same command is given again, and at the end its store is compared with one
# that nobody disturbed. `python -m benchmarks.faults` makes these results.

# %% tags=["parameters", "hide-input"]
results: str = "benchmarks/results/faults.json"  # file that `python -m benchmarks.faults` wrote

# %% tags=["hide-input"]
from pathlib import Path

from lthlib.report import faults
from lthlib.report.show import say, show
from lthlib.study import check_parameters

check_parameters(globals(), ["results"])
found = faults.read_faults(Path(results))
say(faults.summary(found))

# %% [markdown]
# ## What was struck
#
# The processes of a study are the command `lth run` and its workers, or papermill, a notebook's
# kernel and its workers. Killed means SIGKILL: no process can prepare for it. A full disk is
# another matter: the run must say so in one line, leave no half-written file, and go on once there
# is room.

# %% tags=["hide-input"]
if found:
    show(faults.kinds_table(found), "kinds")

# %% [markdown]
# ## When it was struck

# %% tags=["hide-input"]
if found:
    show(faults.phases_table(found), "phases")

# %% [markdown]
# What this does not show: a machine that loses power. Files are synced before they take their
# place, but no power was cut here; and records at a URL depend on the service that keeps them.
