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
# # The records, run by run
#
# A run is one study at one seed. The records that this book may show are those made here
# (`records/local`) and those that came with the repository (`records/shipped`).

# %% tags=["parameters", "hide-input"]
stores: list = ["records/local", "records/shipped"]  # made here, and come with the repository

# %% tags=["hide-input"]
from lthlib.records import open_store
from lthlib.report import status
from lthlib.report.notebook import say, show
from lthlib.study import check_parameters

check_parameters(globals(), ["stores"])
opened = {store: open_store(store) for store in stores}

# %% [markdown]
# ## Studies

# %% tags=["hide-input"]
show(status.studies_table(opened), "studies")

# %% [markdown]
# ## Runs

# %% tags=["hide-input"]
show(status.runs_table(opened), "runs")

# %% [markdown]
# ## The same numbers again?

# %% tags=["hide-input"]
repeated = status.repeated_table(*opened.values())
if repeated is None:
    say("No run was made both here and for the repository, so there is nothing to compare yet.")
else:
    show(repeated, "repeated")
