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
from lthlib.report.show import number, say, show, table
from lthlib.report.words import in_bytes
from lthlib.study import check_parameters

check_parameters(globals(), ["stores"])
opened = {store: store_at(store) for store in stores}
packed = {name: store for name, store in opened.items() if isinstance(store, PackedStore)}
whole = {name: store for name, store in opened.items() if name not in packed}

# %% [markdown]
# ## Studies

# %% tags=["hide-input"]
show(
    table(status.studies(opened)),
    "studies",
    "Studies with finished runs, and what they took together. Settings that are not named have "
    "their default value, which the page on parameters gives.",
)

# %% [markdown]
# ## Runs
#
# Times are in UTC. All files of all runs were checked against their SHA-256 when this page was
# made. "Since then" compares what a run was made with to what is installed now. Packed runs stand
# in a table of their own, study by study.

# %% tags=["hide-input"]
show(table(status.runs(whole)), "runs", "Every finished run.")

# %% tags=["hide-input"]
if packed:
    show(
        table(status.packs(packed)),
        "packs",
        "Every packed study, from the first run that was finished to the last. Where runs of one "
        "study differ, all their commits, hardware and versions are named.",
    )
reference = packed.get("records/reference")
if reference is not None and reference.runs():
    number("bytes-a-run", in_bytes(status.bytes_a_run(reference)))  # for the page on records

# %% [markdown]
# ## The same numbers again?

# %% tags=["hide-input"]
repeated = status.repeated(*list(whole.values())[:2])
if repeated is None:
    say("No run was made both here and for the repository, so there is nothing to compare yet.")
else:
    show(
        table(repeated),
        "repeated",
        "Runs made here that also come with the repository: share of answers that are the same, "
        "over all items, decisions, branches and stages, and for each level from dense on. Other "
        "processors and versions round differently, and training makes much of it.",
    )
