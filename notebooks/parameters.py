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
# # Every parameter
#
# A study is plain validated data. Every field below is a parameter of `notebooks/prune.ipynb`
# (`-p name value`) and of `lthlib.study.Study`; what a notebook leaves open comes from the preset.
# A study is named by a hash over everything but its seeds, so a run can never be taken for another.

# %% tags=["hide-input"]
from lthlib.report import studies
from lthlib.report.show import show

show(studies.parameters(), "parameters")

# %% [markdown]
# ## Presets
#
# A preset is a set of studies that belong together. Parameters that are given narrow it or change
# it: `preset=quick` with `model=uniter` leaves UNITER's studies.

# %% tags=["hide-input"]
show(studies.presets(), "presets")

# %% [markdown]
# ## The reference study
#
# The preset `full` in its parts. The chapters on the main source read its records.

# %% tags=["hide-input"]
show(studies.parts(), "parts")

# %% [markdown]
# ## Ladders
#
# Sparsities are shares of the prunable weights. Under `as_published` a ladder lists the share that
# is pruned in each of three rounds, and the sparsity follows from it; under `lottery` the same name
# stands for the same sparsities, so that both protocols meet.

# %% tags=["hide-input"]
show(studies.ladders(), "ladders")
