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
# # The main source under audit
#
# Numbers that were computed from the same answers hang together. A mean of counts comes in steps;
# two accuracies and fidelity determine faithful accuracy; pairwise p-values give away standard
# deviations and the number of runs. Each section below takes one claim of the main source, names
# the function of `lthlib.report.audit` that tests it, and shows what it finds. The functions take
# plain data frames, and `lth audit TABLE.csv` applies them to any table (see
# [](../audit-tool.md)); [another chapter](audit-own.ipynb) applies them to ours.
#
# The numbers are those that the source printed, held in `published.json`. A number is called
# impossible only if neither rounding nor cutting at its last digit makes it possible. None of this
# needs a record or a model.

# %% tags=["hide-input"]
from lthlib.report.audit import findings, findings_together
from lthlib.report.audit.findings import present

# %% [markdown]
# ## Which captions
#
# The number of captions and their labels say which file was used.

# %% tags=["hide-input"]
present(findings.split(), "audit-split")

# %% [markdown]
# ## Models that always say the same
#
# An accuracy that equals the share of one label, to every printed digit, is what a model gets that
# gives every caption that answer.

# %% tags=["hide-input"]
present(findings.constant_rows(), "audit-constant-rows")

# %% [markdown]
# ## The learning rates on VSR

# %% tags=["hide-input"]
present(findings.constant_cells(), "audit-constant-cells")

# %% [markdown]
# ## F1 averaged over batches
#
# Precision, recall and F1 of a whole are not averages over its batches. Which batch size gives a
# printed F1 can be read from the labels in the order of their file; a summary of the real labels
# comes with the library.

# %% tags=["hide-input"]
present(findings.batches(), "audit-batches")

# %% [markdown]
# ## Open-I: two plateaus
#
# Findings are rare, so that a model which finds nothing is right nearly everywhere.

# %% tags=["hide-input"]
present(findings.plateaus(), "audit-plateaus")

# %% [markdown]
# ## How many runs: steps of the means
#
# Brown and Heathers (2017) call this the GRIM test.

# %% tags=["hide-input"]
present(findings.runs_by_granularity(), "audit-granularity")

# %% [markdown]
# ## How many runs: p-values
#
# Six means with six unknown standard deviations have fifteen p-values between them. Only the right
# number of runs, and the right test, fits them all.

# %% tags=["hide-input"]
present(findings_together.runs_by_p_values(), "audit-p-values")

# %% [markdown]
# ## Which test

# %% tags=["hide-input"]
present(findings_together.kind(), "audit-test")

# %% [markdown]
# ## A p-value that does not belong
#
# Left out one at a time, the others either fit each other or they do not.

# %% tags=["hide-input"]
present(findings_together.odd_p_value(), "audit-odd-p")

# %% [markdown]
# ## Rows that cannot be
#
# With two answers, accuracies A_d and A_m and fidelity F leave nothing open: both models are right
# on (A_d + A_m - 1 + F) / 2 of the captions, which is F times the faithful accuracy A_f. Averages
# over runs keep this up to a covariance, and standard deviations bound it.

# %% tags=["hide-input"]
present(findings_together.impossible_rows(), "audit-rows")

# %% [markdown]
# ## Whose accuracy on unfaithful captions

# %% tags=["hide-input"]
present(findings_together.whose(), "audit-whose")

# %% [markdown]
# ## Fidelity that cannot be
#
# Two models that say True on shares p and q of the captions agree on |p + q - 1| of them at least
# and on 1 - |p - q| at most.

# %% tags=["hide-input"]
present(findings_together.fidelity_beyond_bounds(), "audit-fidelity")

# %% [markdown]
# ## Agreement beyond chance

# %% tags=["hide-input"]
present(findings_together.kappa(), "audit-kappa")

# %% [markdown]
# ## Is there any skill to lose?
#
# Informedness is the chance of an informed answer: 0 for a coin of any bias, 1 for a perfect
# model.

# %% tags=["hide-input"]
present(findings.skill(), "audit-skill")

# %% [markdown]
# ## Correlations, computed again

# %% tags=["hide-input"]
present(findings.pearson_rows(), "audit-pearson")

# %% [markdown]
# ## The headline correlation, VisualBERT's, is arithmetic
#
# The control is a model that looks at nothing and says True as often as the pruned one does. The
# argument holds for models without skill.

# %% tags=["hide-input"]
present(findings.blind_correlation(), "audit-blind")

# %% [markdown]
# ## Misprints and other faults

# %% tags=["hide-input"]
present(findings_together.misprints(), "audit-misprints")

# %% [markdown]
# ## What this does not show
#
# A row that passes is possible and need not be right. Not established: how the averages of
# fidelity were made, which are no averages of agreement counts; why the dense model inside the
# tables of faithfulness is another one than in the tables of accuracy; and the p-value of faithful
# accuracy that no digit explains.
