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
# # The main source, made again: learning rates
#
# The {ref}`main source <hu>` ran VisualBERT and LXMERT on Visual Spatial Reasoning at five learning
# rates, once each. Ours run the same grid on `digits`, as published; below it stand lottery tickets
# over a wider range of rates.

# %% tags=["parameters", "hide-input"]
# One line alone would be read as IPython's magic of that name.
store: str = ""  # folder or URL of the reference records; empty: those of this project

# %% tags=["hide-input"]
from lthlib import study
from lthlib.packs import reference_store
from lthlib.report.parts import not_run
from lthlib.report.show import say, show
from lthlib.report.source import reproduced
from lthlib.report.source import words as reproduced_words
from lthlib.report.source.evidence import gather
from lthlib.report.source.rates import lottery_rates_table

study.check_parameters(globals(), ["store"])
page, task = "source-rates", "digits"
evidence = gather(reference_store(store), ["published-rates", "rates"], task=task)
say(reproduced_words.records_sentence(evidence))

# %% [markdown]
# ## What the source says, and what its numbers are

# %% tags=["hide-input"]
say(reproduced_words.rates_sentence("VSR"))

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
# ## Precision and recall
#
# The source's F1 of 0.6879 and its misprinted 0.6538 are one and the same model, one that always
# answers True: the first is averaged over batches of 32, the second over batches of 4.

# %% tags=["hide-input"]
for exhibit, name in reproduced.section(page, "Precision and recall", evidence):
    show(exhibit, name)

# %% [markdown]
# ## Fidelity
#
# Two models that each give one answer to everything agree on all items or on none.

# %% tags=["hide-input"]
for exhibit, name in reproduced.section(page, "Fidelity", evidence):
    show(exhibit, name)

# %% [markdown]
# ## Beside them: lottery tickets over learning rates
#
# The source has no such table. It asks whether small learning rates find tickets; the rewound
# ticket and the same mask with fresh start values say whether the original weights matter.

# %% tags=["hide-input"]
held = [model for model in study.MODELS if evidence.readings("rates", model=model)]
for model in held:
    show(lottery_rates_table(evidence, model=model), f"lottery-rates-{model}")
if len(held) < len(study.MODELS):
    say(not_run("rates"))
