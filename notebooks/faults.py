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
from lthlib.report.show import say, show, table
from lthlib.study import check_parameters

check_parameters(globals(), ["results"])
found = faults.read_faults(Path(results))
if found is None:
    say("No faults have been tried yet: `python -m benchmarks.faults` does it.")

# %% tags=["hide-input"]
if found:
    total, about = found["totals"], found["about"]
    same = total["runs"] - total["differing_runs"]
    say(
        f"- strikes at random moments, each followed by a resume: **{total['kills']:,}**\n"
        f"- runs finished in the end: **{total['runs']:,}**, of which equal the uninterrupted run "
        f"in every byte: **{same:,}**\n"
        f"- levels trained: {total['levels_trained']:,}; begun when a strike came, and trained "
        f"again from their start: {total['levels_given_up']:,}"
    )
    say(
        f"Made {about['made'][:10]} in {about['seconds'] / 60:.0f} minutes on "
        f"{about['hardware']['processor']} with torch {about['versions']['torch']}; a study of "
        f"{about['study']['levels']} pruned levels and {about['study']['train_items']} training "
        f"items{', as a small check that everything runs' if about['small'] else ''}."
    )
    show(
        table(faults.totals(found)),
        "totals",
        f"What was looked for after the resumes. Compared were {about['comparison']}.",
    )

# %% [markdown]
# ## What was struck
#
# The processes of a study are the command `lth run` and its workers, or papermill, a notebook's
# kernel and its workers. Killed means SIGKILL: no process can prepare for it. A full disk is
# another matter: the run must say so in one line, leave no half-written file, and go on once there
# is room. It is a disk of its own (tmpfs) that was filled, and where none could be mounted, writes
# that failed as on a full disk (injected).

# %% tags=["hide-input"]
if found:
    heads = {"about": "what happens", "else": "anything else"}
    show(
        table(faults.kinds(found).drop(columns="kind").rename(columns=heads)),
        "kinds",
        "Faults at random moments, each followed by a resume; a study may be struck several times "
        "before it is left to finish. Identical: runs of which every file equals the uninterrupted "
        "run's. Anything else: of the table above. Full disks were "
        f"{', '.join(about.get('disks', ()))}.",
    )

# %% [markdown]
# ## When it was struck
#
# Moments were drawn uniformly over the work of an uninterrupted study, in measured processor
# seconds, over the writes that were left, or over the room that was left on a disk; those that came
# after its end do not count. Start-up is long beside so small a study: packages are imported. After
# the records: the notebook reads them, or processes end.

# %% tags=["hide-input"]
if found:
    show(
        table(faults.phases(found)),
        "phases",
        "Where the study stood when it was struck, from what its processes had noted on disk. Seed "
        f"of the moments: {about['seed']}.",
    )

# %% [markdown]
# What this does not show: a machine that loses power. Files are synced before they take their
# place, but no power was cut here; and records at a URL depend on the service that keeps them.
