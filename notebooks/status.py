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
# (`records/local`), those that came with the repository (`records/shipped`), and three that come
# packed, all runs of a study in one folder: those of the reference study (`records/reference`), of
# real text (`records/real-text`), and of the example of one's own data (`records/example`).

# %% tags=["parameters", "hide-input"]
stores: list = ["records/local", "records/shipped", "records/reference"]  # where records may lie

# %% tags=["hide-input"]
from lthlib.packs import PackedStore, store_at
from lthlib.report import status
from lthlib.report.show import number, say, show
from lthlib.report.words import in_bytes
from lthlib.study import check_parameters

check_parameters(globals(), ["stores"])
opened = {store: store_at(store) for store in stores}
packed = {name: store for name, store in opened.items() if isinstance(store, PackedStore)}
whole = {name: store for name, store in opened.items() if name not in packed}

# %% [markdown]
# ## Studies

# %% tags=["hide-input"]
show(status.studies_table(opened), "studies")

# %% [markdown]
# ## Runs
#
# Packed runs stand in a table of their own, study by study.

# %% tags=["hide-input"]
show(status.runs_table(whole), "runs")

# %% tags=["hide-input"]
if packed:
    show(status.packs_table(packed), "packs")
reference = packed.get("records/reference")
if reference is not None and reference.runs():
    number("bytes-a-run", in_bytes(status.bytes_a_run(reference)))  # for the page on records

# %% [markdown]
# ## The same numbers again?

# %% tags=["hide-input"]
repeated = status.repeated_table(*list(whole.values())[:2])
if repeated is None:
    say("No run was made both here and for the repository, so there is nothing to compare yet.")
else:
    show(repeated, "repeated")
