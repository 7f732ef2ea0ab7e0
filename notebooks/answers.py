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
# # Does it keep its answers?
#
# A pruned model can be as accurate as its dense model and still answer differently. Fidelity is the
# share of decisions on which both agree. Agreement has poor reasons too, so four controls stand
# beside it: a **label-blind** model, which has the ticket's share of each answer and looks at
# nothing; two models of the **same skill**, with errors of their own; two **dense models of
# different seeds**, the floor; and the **ticket of another seed**.

# %% tags=["parameters", "hide-input"]
part: str = "concluding"  # part of the reference study: concluding, secondary, reports, ...
store: str = ""  # folder or URL of the reference records; empty: those of this project
task: str = ""  # digits or digit-reports; empty: the tasks of the part

# %% tags=["hide-input"]
from lthlib.packs import reference_store
from lthlib.report.answers import figures, findings, tables
from lthlib.report.answers.frames import Answers
from lthlib.report.judgement.families import families_table
from lthlib.report.parts import held_part, not_run
from lthlib.report.reading import each_group, pruned, records_line, side_by_side
from lthlib.report.show import number, say, show
from lthlib.study import check_parameters

check_parameters(globals(), ["part", "store", "task"])
choices = {"task": task} if task else {}
readings = pruned(held_part(part, reference_store(store), **choices))
line = records_line(readings) if readings else not_run(part)
number("records", line)
say(line)
studied = [(Answers(group), name) for group, name in each_group(side_by_side(readings), say)]

# %% [markdown]
# ## Agreement, and what it would be for a poor reason
#
# Relative fidelity is fidelity divided by its floor; a residual is what a measure has beyond its
# label-blind null. Sentences that speak of one level chose it by its place on the ladder, not by
# its result. In their brackets, where they do not say otherwise, stand 95 % t intervals over seeds,
# each taken alone: they describe, and only what is said to be tested is a finding.

# %% tags=["hide-input"]
for found, name in studied:
    sentences = {
        # Also for the opening page.
        "found-short": findings.short_sentence(found.kept, found.claims, found.level),
        "found-floor": findings.floor_sentence(found.kept, found.level),
        "found-null": findings.null_sentence(found.kept, found.level),
    }
    for key, sentence in sentences.items():
        number(name(key), sentence)
        say(sentence)
    if len(found.beside_floor):
        show(figures.floor_difference_figure(found.beside_floor), name("beside-floor"))
    show(figures.fidelity_null_figure(found.kept), name("fidelity"))
    show(figures.accuracy_null_figure(found.kept), name("accuracy"))
    show(tables.kept_table(found.kept), name("kept"))

# %% [markdown]
# Accuracy on faithful decisions falls, and on unfaithful ones that of the dense model rises, when
# a ticket does no more than keep its share of answers: the dashed lines show how much of the trend
# that explains. Kappa corrects fidelity for the shares of answers; how high it *can* be still hangs
# on fidelity, which the shading shows.

# %% tags=["hide-input"]
for found, name in studied:
    show(figures.faithfulness_null_figure(found.kept), name("faithfulness"))
    show(figures.kappa_figure(found.kept), name("kappa"))
    show(tables.null_table(found.kept, found.level), name("every-measure"))

# %% [markdown]
# ## Lost and gained

# %% tags=["hide-input"]
for found, name in studied:
    sentence = findings.flips_sentence(found.kept, found.level)
    number(name("found-flips"), sentence)
    say(sentence)
    show(figures.flips_figure(found.kept), name("flips"))
    show(figures.churn_figure(found.kept), name("churn"))

# %% [markdown]
# ## The same decisions at every seed?
#
# A pruning-identified exemplar (Hooker et al. 2019) is a decision whose usual answer over many
# seeds changes. Unfaithfulness of one seed is the noisy form of the same question.

# %% tags=["hide-input"]
for found, name in studied:
    sentence = findings.exemplar_sentence(found.exemplars, found.icc, found.claims, found.level)
    number(name("found-exemplars"), sentence)
    say(sentence)
    show(figures.exemplar_figure(found.exemplars), name("exemplars"))
    show(figures.consistency_figure(found.counts, found.level), name("consistency"))
    show(tables.exemplar_table(found.exemplars, found.icc), name("exemplar-table"))

# %% [markdown]
# ## Which kinds of decisions?

# %% tags=["hide-input"]
for found, name in studied:
    for column, words in found.groupings.items():
        groups = found.groups(column)
        alike = found.alike(column)
        sentence = findings.group_sentence(groups, found.level, words, alike)
        number(name(f"found-{words}"), sentence)
        say(sentence)
        show(figures.group_figure(groups, found.level, words), name(f"by-{words}"))
        show(tables.group_table(groups, found.level, words), name(f"by-{words}-table"))

# %% [markdown]
# ## Probabilities
#
# An answer can stay while the probability behind it moves, and the other way round.

# %% tags=["hide-input"]
for found, name in studied:
    sentence = findings.probability_sentence(found.probabilities, found.level)
    number(name("found-probabilities"), sentence)
    say(sentence)
    for measure in ("kl", "ece", "brier"):
        show(figures.probability_figure(found.probabilities, measure), name(measure))
    show(figures.reliability_figure(found.reliability, found.level), name("reliability"))
    show(tables.probability_table(found.probabilities), name("probabilities"))

# %% [markdown]
# ## All levels of all seeds
#
# If tickets kept *their* model's answers, models of one seed would form a block.

# %% tags=["hide-input"]
for found, name in studied:
    sentence = findings.block_sentence(found.blocks)
    number(name("found-blocks"), sentence)
    say(sentence)
    show(tables.block_table(found.blocks), name("blocks"))
    for reading in found.readings:
        model = reading.study.model
        show(figures.block_figure(reading.matrix, found.sparsity, model), name(f"matrix-{model}"))
    matrices = {reading.study.model: reading.matrix for reading in found.readings}
    show(figures.map_figure(matrices, found.sparsity), name("map"))

# %% [markdown]
# ## Every test of this page, and the family it belongs to

# %% tags=["hide-input"]
for found, name in studied:
    show(families_table([found.claims, found.blocks]), name("families"))
