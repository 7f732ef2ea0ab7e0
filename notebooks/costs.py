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
# How fast this library trains and prunes, beside the ways in which others do, and what keeping a
# mask and writing records cost. Each ratio compares two ways within one run on one machine
# (`make bench`): ratios travel better between machines than seconds. What a pruned model saves once
# it is found is the chapter "What does a ticket cost, what does it save".

# %% tags=["parameters", "hide-input"]
results: str = "benchmarks/results"  # folder with the results of `python -m benchmarks`

# %% tags=["hide-input"]
from pathlib import Path

from lthlib.report import benchmarks
from lthlib.report.show import say, show
from lthlib.study import check_parameters

check_parameters(globals(), ["results"])
found = benchmarks.read_benchmarks(Path(results))
for line in benchmarks.what_is_there(found):
    say(line)


def tables(part, table):
    if not any(part in measured for measured in found.values()):
        say(f"Not measured yet: `python -m benchmarks --only {part}` does it.")
    for device, measured in found.items():
        if part in measured:
            show(table(measured), f"{table.__name__.removesuffix('_table')}-{device}")


# %% [markdown]
# ## Training
#
# The same model, items, batch size and precision in every way; with plain kernels only the loop
# differs.

# %% tags=["hide-input"]
tables("steps", benchmarks.steps_table)
tables("steps", benchmarks.kernels_table)

# %% [markdown]
# ## The main source's study
#
# What its fine-tunings of base-size models on VSR come to at this speed.

# %% tags=["hide-input"]
tables("vsr", benchmarks.study_table)

# %% [markdown]
# ## A whole ladder
#
# Training and pruning, as the main source ran it; first on one core, then on the whole machine.

# %% tags=["hide-input"]
tables("ladder", benchmarks.ladder_table)
tables("cores", benchmarks.cores_table)

# %% [markdown]
# ## Several models at once
#
# Tiny models leave a machine waiting between small products. Seeds of one study can be stacked and
# trained as one (the setting `together`); results are equal up to rounding.

# %% tags=["hide-input"]
tables("together", benchmarks.together_table)

# %% [markdown]
# ## Keeping a mask

# %% tags=["hide-input"]
tables("masks", benchmarks.masks_table)

# %% [markdown]
# ## Pruning exactly
#
# Both ways prune the same share of all weights at once. This library keeps an exact number of them,
# ties included.

# %% tags=["hide-input"]
tables("pruning", benchmarks.pruning_table)

# %% [markdown]
# ## Writing records, and reading many

# %% tags=["hide-input"]
tables("writing", benchmarks.writing_table)
tables("report", benchmarks.report_table)

# %% [markdown]
# ## Reading at full size
#
# Published questions and region features do not fit into memory. Questions are read as a stream
# and kept in a compact form; regions stay on disk until a batch asks for them.

# %% tags=["hide-input"]
tables("streaming", benchmarks.streaming_table)
