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
# # The main source, table by table
#
# Every table and figure of the {ref}`main source <hu>`, from the first about its data on, by its
# number: where it stands in this book, how many numbers the source prints of it, and which part of
# our reference study stands beside it, with how many of its seeds.

# %% tags=["parameters", "hide-input"]
# One line alone would be read as IPython's magic of that name.
store: str = ""  # folder or URL of the reference records; empty: those of this project

# %% tags=["hide-input"]
from lthlib.packs import reference_store
from lthlib.report.show import number, say
from lthlib.report.source import reproduced
from lthlib.study import check_parameters

check_parameters(globals(), ["store"])
table = reproduced.index(reference_store(store))
counted = (
    f"{len(table)} tables and figures, {table['printed'].sum():,} printed numbers, "
    f"{table['page'].nunique()} chapters."
)
number("source-counted", counted)
say(counted)

# %% tags=["hide-input"]
say(reproduced.index_html(table))
