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
# # The main source, made again: one model on one ladder
#
# The {ref}`main source <hu>` pruned each of its three models on Visual Spatial Reasoning with two
# sets of amounts, *secondary* and *concluding*, and printed for each the tables of this chapter.
# Here they are made again from our records on `digits`, which has the same form: once *as
# published*, which is what its code really did, and once as *lottery* tickets of the same sparsity,
# with a random mask beside them. Its own numbers stand in the first columns.

# %% tags=["parameters", "hide-input"]
store: str = ""  # folder or URL of the reference records; empty: those of this project
model: str = "visualbert"  # visualbert, lxmert or uniter
ladder: str = "concluding"  # secondary or concluding

# %% tags=["hide-input"]
from lthlib.packs import reference_store
from lthlib.report.show import say, show
from lthlib.report.source import reproduced
from lthlib.report.source import words as reproduced_words
from lthlib.report.source.evidence import gather
from lthlib.study import check_parameters

check_parameters(globals(), ["store", "model", "ladder"])
page = reproduced.page_of(model, ladder)
evidence = gather(reference_store(store), [f"published-{ladder}", ladder], model=model)
say(reproduced_words.records_sentence(evidence))

# %% [markdown]
# ## What the source says, and what its numbers are

# %% tags=["hide-input"]
say(reproduced_words.claim_sentence(model, ladder))
say(reproduced_words.numbers_sentence(model, ladder))

# %% [markdown]
# ## What our records say

# %% tags=["hide-input"]
for sentence in reproduced_words.ours_sentences(evidence, model, ladder):
    say(sentence)

# %% [markdown]
# ## Accuracy
#
# A test that finds no difference does not show that there is none: the difference and its interval
# stand beside each p-value.

# %% tags=["hide-input"]
for exhibit, name in reproduced.section(page, "Accuracy", evidence):
    show(exhibit, name)

# %% [markdown]
# ## Fidelity
#
# Fidelity is the share of items on which two models give the same answer. Two dense models of
# different seeds differ too, and two models that answer without looking can agree on everything.

# %% tags=["hide-input"]
for exhibit, name in reproduced.section(page, "Fidelity", evidence):
    show(exhibit, name)

# %% [markdown]
# ## Faithfulness
#
# With two answers, accuracy of both models and fidelity determine all of these numbers.

# %% tags=["hide-input"]
for exhibit, name in reproduced.section(page, "Faithfulness", evidence):
    show(exhibit, name)

# %% [markdown]
# ## Precision and recall
#
# The source prints these for its concluding ladder only. Ours are of all answers of a run, never
# averaged over batches.

# %% tags=["hide-input"]
if "Precision and recall" in reproduced.sections(page):
    for exhibit, name in reproduced.section(page, "Precision and recall", evidence):
        show(exhibit, name)
else:
    say("The source prints none for this ladder.")
