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
# # The main source, made again: reports with several findings
#
# On Open-I, chest X-rays with fourteen possible findings, the {ref}`main source <hu>` varied the
# learning rate. Most findings are rare, so that saying "nothing found" to everything is right on
# most decisions. Our `digit-reports` has the same form and is as skewed.

# %% tags=["parameters", "hide-input"]
# One line alone would be read as IPython's magic of that name.
store: str = ""  # folder or URL of the reference records; empty: those of this project

# %% tags=["hide-input"]
from lthlib.packs import reference_store
from lthlib.report.show import say, show
from lthlib.report.source import reproduced
from lthlib.report.source import words as reproduced_words
from lthlib.report.source.evidence import gather
from lthlib.study import check_parameters

check_parameters(globals(), ["store"])
page, task = "source-reports", "digit-reports"
evidence = gather(reference_store(store), ["published-rates"], task=task)
say(reproduced_words.records_sentence(evidence))

# %% [markdown]
# ## What the source says, and what its numbers are

# %% tags=["hide-input"]
say(reproduced_words.rates_claim())
say(reproduced_words.rates_sentence("OPEN-I"))

# %% [markdown]
# ## What our records say

# %% tags=["hide-input"]
say(reproduced_words.our_rates_sentence(evidence, task))

# %% [markdown]
# ## Accuracy

# %% tags=["hide-input"]
for exhibit, name in reproduced.section(page, "Accuracy", evidence):
    show(exhibit, name)

# %% [markdown]
# ## Figures

# %% tags=["hide-input"]
for exhibit, name in reproduced.section(page, "Figures", evidence):
    show(exhibit, name)
