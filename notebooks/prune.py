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
# # Prune one model
#
# The notebook trains what is not recorded yet, level by level, and then reads the records: what was
# pruned, how well each level answers, and whether it still gives the answers of its dense model.
#
# ```
# papermill notebooks/prune.ipynb runs/uniter.ipynb -p model uniter
# ```
#
# Every number below comes from recorded predictions, and every figure and table says how many seeds
# and items it rests on.

# %% tags=["parameters", "hide-input"]
model: str = "uniter"  # which architecture: visualbert, lxmert or uniter
task: str = "digits"  # what the model learns: digits, digit-reports, or published data
preset: str = "quick"  # what is None below comes from it: ci, quick, full, real-text or base
store: str = ""  # folder or URL of the records; empty: records/local of this project
workers: int = None  # training processes at once; None: one for each core
boxes: bool = None  # VisualBERT sees box positions (as published: no)
size: str = None  # tiny (0.2 M weights) or base
start: str = None  # theta_0: the pre-trained weights, or drawn at random
checkpoint: str = None  # published weights: a file in the data folder, or owner/name
regions: str = None  # image regions: shown, none (a blind model), shuffled between items
features: str = None  # store of region features in the data folder, for published tasks
protocol: str = None  # lottery: train, prune, rewind, train; as_published: what the source ran
search: str = None  # prune level by level, or each level straight from dense
rewind: str = None  # after pruning: weights back to theta_k, learning rate only, or neither
rewind_step: int = None  # k, in optimizer steps: rewind to theta_k; 0 is the start
ladder: object = None  # imp, secondary, concluding, or a list of sparsities
levels: int = None  # levels of the imp ladder, 20 % of the rest each
score: str = None  # what is pruned first
scope: str = None  # one threshold for all weights, for each layer, or for each modality
prunable: str = None  # which weights may be pruned
branches: list = None  # controls trained beside each level
branch_levels: list = None  # levels that get the controls; an empty list means every pruned level
observe: list = None  # what else each level records: weights, states, barriers
epochs: int = None  # passes over the training items at each level
dense_epochs: int = None  # passes at level 0, before any pruning; null: as epochs
batch_size: int = None  # items in one step
learning_rate: float = None  # peak of the schedule
weight_decay: float = None  # AdamW's decoupled decay
warmup: float = None  # share of steps that warm up linearly
clip_norm: float = None  # largest norm of the gradient
kernels: str = None  # plain, fused (attention in one kernel, padding cut) or compiled
precision: str = None  # of matrix products: float32, or bfloat16 (for GPUs)
together: int = None  # seeds trained at once, in blocks of so many, by one process
train_on: str = None  # train+test: test items get a training history, and test nothing any more
train_items: int = None  # training items; null: the default
validation_items: int = None  # validation items; null: the default
test_items: int = None  # test items; null: the task's default
data_seed: int = None  # seed of the task's items
seeds: list = None  # one run for each

# %% tags=["hide-cell"]
from lthlib.records import open_store
from lthlib.report import credit, figures, ranking, tables
from lthlib.report.notebook import say, show
from lthlib.report.reading import each, pruned, read, records_line
from lthlib.study import studies_from_parameters
from lthlib.workflow.local import run

studies = studies_from_parameters(globals())
records = open_store(store or None)
runs = run(studies, records, workers=workers)

# %% tags=["hide-input"]
readings = [read(study, records) for study in studies]
say(records_line(readings))

# %% [markdown]
# ## What was pruned
#
# Each level keeps an exact number of weights. A global threshold need not treat the modalities
# alike, so what is left of each is shown.

# %% tags=["hide-input"]
for r, name in each(readings, say):
    show(figures.density_figure(r.levels, stage=r.stage), name("density"))
    show(tables.levels_table(r.levels), name("levels"))

# %% [markdown]
# ## How well it answers
#
# Accuracy means little where a rule that looks at no input does as well; the last column of the
# table says at how many seeds the model beats it.

# %% tags=["hide-input"]
for r, name in each(readings, say):
    show(figures.accuracy_figure(r.quality, stage=r.stage), name("accuracy"))
    show(tables.quality_table(r.quality, gate=r.gate, stage=r.stage), name("quality"))
    if ranking.ranks_findings(r):
        show(ranking.ranking_table(r), name("ranking"))
    if credit.has_credit(r):
        show(credit.credit_table(r), name("credit"))
        show(credit.credit_table(r, by="question_type"), name("credit-by-question"))

# %% [markdown]
# ## Whether it keeps its answers
#
# Fidelity is the share of decisions on which a level answers as its dense model does. Two lines
# help to read it: a constant answer also agrees with the dense model now and then, and dense models
# of different seeds do not agree fully with each other.

# %% tags=["hide-input"]
for r, name in each(pruned(readings), say):
    fidelity = figures.fidelity_figure(r.agreements, floor=r.floor, stage=r.stage)
    show(fidelity, name("fidelity"))
    show(figures.cells_figure(r.agreements, stage=r.stage), name("cells"))
    show(figures.faithfulness_figure(r.agreements, stage=r.stage), name("faithfulness"))
    show(tables.agreement_table(r.agreements, stage=r.stage), name("agreement"))

# %% [markdown]
# ## Level against level
#
# How alike are any two levels? Below, the same question across seeds, where start of the head and
# order of the data differ as well.

# %% tags=["hide-input"]
for r, name in each(pruned(readings), say):
    show(figures.fidelity_matrix_figure(r.matrix, r.levels), name("matrix"))
