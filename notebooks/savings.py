# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What does a ticket cost, what does it save?
#
# A ticket is sold as a smaller model. Finding it takes several trainings, and zeros save nothing by
# being zeros: something has to leave them out. This chapter measures both sides: what the search
# costs, what sparsity buys in time, memory and file size, and which tickets are worth their cost.

# %% tags=["parameters", "hide-input"]
results: str = "benchmarks/results"  # folder with the results of `python -m benchmarks`
store: str = ""  # folder or URL of the reference records; empty: those of this project

# %% tags=["hide-input"]
from pathlib import Path

from lthlib.packs import reference_store
from lthlib.report import fronts, savings
from lthlib.report.parts import held_part, not_run
from lthlib.report.reading import records_line
from lthlib.report.show import number, say, show
from lthlib.study import check_parameters

check_parameters(globals(), ["results", "store"])
readings = held_part("concluding", reference_store(store))
found = savings.read_savings(Path(results))
say(records_line(readings) if readings else not_run("concluding"))
if not found:
    say(savings.NOT_MEASURED)

# %% [markdown]
# ## What finding it costs
#
# Iterative pruning trains the dense model, then every level down to the one that is wanted. The
# controls, which tell whether the ticket is more than its sparsity, come on top.

# %% tags=["hide-input"]
if readings:
    costs = fronts.search_costs(readings)
    sentence = fronts.search_sentence(costs)
    number("search-sentence", sentence)
    say(sentence)
    show(fronts.search_table(costs, readings), "search")

# %% [markdown]
# ## Time
#
# On a processor, zeros can be left out in compressed rows (CSR): for each weight that is left its
# value and its column. Looking up columns costs time too, so that CSR pays only beyond some
# sparsity, and only where matrices are large. On a GPU there is 2:4: of every four weights in a
# row two are zero, no more and no fewer.

# %% tags=["hide-input"]
for device, measured in found.items():
    say(savings.zeros_sentence(measured))
    for size in savings.base_and_tiny(measured):
        if device == "cpu":
            sentence = savings.break_even_sentence(measured, size)
            number(f"break-even-{size}", sentence)
            say(sentence)
        figure = savings.ratio_figure(measured, "csr", size)
        if figure:
            show(figure, f"csr-{size}-{device}")
    say(savings.two_of_four_sentence(measured))

# %% [markdown]
# ## Taking out what is dead
#
# A head or neuron is dead where all weights into it or out of it are zero. It can be taken out
# exactly: the smaller model is dense again, needs no sparse kernels, and gives the same answers.
# How many do tickets of single weights leave dead, and is that more than chance would?

# %% tags=["hide-input"]
counted = savings.first_with(found, "dead")
if counted:
    sentence = savings.dead_sentence(counted)
    number("dead-sentence", sentence)
    say(sentence)
    show(savings.dead_table(counted), "dead")

# %% tags=["hide-input"]
for device, measured in found.items():
    say(savings.removal_sentence(measured))
    for size in savings.base_and_tiny(measured):
        say(savings.structured_sentence(measured, size))
        show(savings.ratio_figure(measured, "structured", size), f"structured-{size}-{device}")

# %% [markdown]
# ## Every time that was measured

# %% tags=["hide-input"]
for device, measured in found.items():
    for size in savings.base_and_tiny(measured):
        show(savings.latency_table(measured, size), f"latency-{size}-{device}")

# %% [markdown]
# ## Memory

# %% tags=["hide-input"]
for device, measured in found.items():
    table = savings.memory_table(measured)
    if table:
        show(table, f"memory-{device}")

# %% [markdown]
# ## File size
#
# A file needs the weights that are left, and which they are. The second part cannot be shorter than
# the entropy of the masks, if nothing is known of them but how many weights each tensor keeps.
# `lthlib.lab.coding` comes close to it: `export_ticket` writes such a file, `load_ticket` reads it.

# %% tags=["hide-input"]
written = savings.first_with(found, "files")
if written:
    sentence = savings.coding_sentence(written)
    number("coding-sentence", sentence)
    say(sentence)
    show(savings.files_figure(written), "files")
    for of in ("drawn", "recorded", "starts"):
        show(savings.files_table(written, of), f"files-{of}")

# %% [markdown]
# ## The front
#
# Accuracy and fidelity against cost, for the tickets of the reference study. A ticket is in front
# where nothing of the same model is at least as good for less: neither another ticket, nor dense,
# nor a random mask or fresh start values of the same sparsity, nor the rule that looks at no input,
# which needs no model at all.

# %% tags=["hide-input"]
if readings and written:
    rows = fronts.front_rows(readings, written)
    sentence = fronts.front_sentence(rows)
    number("front-sentence", sentence)
    say(sentence)
    for measure in ("accuracy", "fidelity"):
        for cost in fronts.COSTS:
            figure = fronts.front_figure(rows, readings, written, measure, cost)
            show(figure, f"front-{measure}-{cost}")
    show(fronts.front_table(rows, readings, written), "front")
