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
# # The main source, made again: its summary
#
# What the {ref}`main source <hu>` says of its data, its steps and its models, and its figures 3
# to 18 with the correlations that it draws from them.

# %% tags=["parameters", "hide-input"]
# One line alone would be read as IPython's magic of that name.
store: str = ""  # folder or URL of the reference records; empty: those of this project

# %% tags=["hide-input"]
from dataclasses import replace

from lthlib import study
from lthlib.lab.tasks import load, render
from lthlib.packs import reference_store
from lthlib.report.show import number, say, show
from lthlib.report.source import meaning as reproduced_meaning
from lthlib.report.source import reproduced
from lthlib.report.source import words as reproduced_words
from lthlib.report.source.evidence import gather
from lthlib.report.source.items import sample_of

study.check_parameters(globals(), ["store"])
page = "source-summary"
parts = ["published-secondary", "published-concluding", "concluding", "reports"]
samples = {task: sample_of(load(task), render) for task in study.EMBEDDED}
evidence = replace(gather(reference_store(store), parts), samples=samples)
say(reproduced_words.records_sentence(evidence))

# %% [markdown]
# ## In words

# %% tags=["hide-input"]
found = {
    "source-headline": reproduced_words.headline_sentence(evidence),
    "source-constant": reproduced_words.constant_rows_sentence(),
    "source-correlations": reproduced_meaning.correlations_sentence(evidence),
    "source-misprints": reproduced_words.misprints_sentence(),
}
for key, sentence in found.items():
    number(key, sentence)
    say(sentence)

# %% [markdown]
# ## What samples and steps are said to be

# %% tags=["hide-input"]
for exhibit, name in reproduced.section(page, "Words", evidence):
    show(exhibit, name)

# %% [markdown]
# ## Data

# %% tags=["hide-input"]
for exhibit, name in reproduced.section(page, "Data", evidence):
    show(exhibit, name)

# %% [markdown]
# ## How much is pruned

# %% tags=["hide-input"]
for exhibit, name in reproduced.section(page, "How much is pruned", evidence):
    show(exhibit, name)

# %% [markdown]
# ## VisualBERT

# %% tags=["hide-input"]
for exhibit, name in reproduced.section(page, "VisualBERT", evidence):
    show(exhibit, name)

# %% [markdown]
# ## LXMERT

# %% tags=["hide-input"]
for exhibit, name in reproduced.section(page, "LXMERT", evidence):
    show(exhibit, name)

# %% [markdown]
# ## UNITER

# %% tags=["hide-input"]
for exhibit, name in reproduced.section(page, "UNITER", evidence):
    show(exhibit, name)

# %% [markdown]
# ## Correlations
#
# "Accuracy and fidelity correlate" is the source's main finding. It must be so for any model that
# loses its skill. With two answers the two differ by no more than the dense model's share of
# errors, so tickets of a good dense model have r near 1 whatever they answer: that is no test they
# could fail, and no further question is asked of it.

# %% tags=["hide-input"]
show(reproduced_meaning.correlations_table(evidence), "correlations")

# %% [markdown]
# ## Latent concepts

# %% tags=["hide-input"]
for exhibit, name in reproduced.section(page, "Latent concepts", evidence):
    show(exhibit, name)
