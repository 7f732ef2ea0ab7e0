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
# # Our own tables under the same audit
#
# The checks that find impossible rows in [the main source](audit.ipynb) run here on this report:
# means over seeds of every study of the reference records, at every level, branch and stage, with
# five decimals and as tables print them. `python -m lthlib.report.audit` does the same and fails
# if a row is impossible; it runs with every change.

# %% tags=["parameters", "hide-input"]
# Read as they are; nothing is run.
store: str = ""  # folder or URL of the reference records; empty: those of this project

# %% tags=["hide-input"]
from lthlib.packs import reference_store
from lthlib.report.audit import own
from lthlib.report.audit.findings import present
from lthlib.report.show import say
from lthlib.study import check_parameters

check_parameters(globals(), ["store"])

# %% tags=["hide-input"]
found = own.audit_store(reference_store(store))
if found.empty:
    say("No run of the reference study is recorded yet, so there is nothing to audit.")

# %% [markdown]
# ## Every row

# %% tags=["hide-input"]
if len(found):
    present(own.verdicts(found), "own-verdicts")

# %% [markdown]
# ## Can the audit see what is there?
#
# An audit that never finds anything would pass everything. One thing our records can decide:
# models that give every item one answer exist among the sparse levels, the answers themselves say
# which, and the detector sees their means alone. Planted faults, and false alarms on thousands of
# drawn tables, are counted in the tests.

# %% tags=["hide-input"]
if len(found):
    present(own.constants_told(found), "own-constants")
