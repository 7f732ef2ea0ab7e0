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
# # What it costs
#
# Pruned weights stay in memory as zeros here, so a ticket is no faster than its dense model. What
# can be asked is what keeping a mask costs, and what finding it costs. Each ratio compares two ways
# within one run on one machine (`make bench`): ratios travel better between machines than seconds.

# %% tags=["parameters", "hide-input"]
results: str = "benchmarks/results"  # folder with the results of `python -m benchmarks`

# %% tags=["hide-input"]
from pathlib import Path

from lthlib.report import benchmarks
from lthlib.report.notebook import say, show
from lthlib.study import check_parameters

check_parameters(globals(), ["results"])
found = benchmarks.read_benchmarks(Path(results))
if not found:
    say("No benchmarks have been run yet: `make bench` runs them.")

# %% [markdown]
# ## Keeping a mask

# %% tags=["hide-input"]
for device, measured in found.items():
    show(benchmarks.masks_table(measured), f"masks-{device}")

# %% [markdown]
# ## A whole ladder

# %% tags=["hide-input"]
for device, measured in found.items():
    show(benchmarks.ladder_table(measured), f"ladder-{device}")

# %% [markdown]
# ## Pruning exactly
#
# Both ways prune the same share of all weights at once. This library keeps an exact number of them,
# ties included.

# %% tags=["hide-input"]
for device, measured in found.items():
    show(benchmarks.pruning_table(measured), f"pruning-{device}")

# %% [markdown]
# ## Reading at full size
#
# Published questions and region features do not fit into memory. Questions are read as a stream
# and kept in a compact form; regions stay on disk until a batch asks for them.

# %% tags=["hide-input"]
for device, measured in found.items():
    if "streaming" in measured:
        show(benchmarks.streaming_table(measured), f"streaming-{device}")
