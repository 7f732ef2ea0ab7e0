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
# # The models side by side
#
# The same task, protocol and ladder for every model. Records are only read here; `prune` makes
# them.

# %% tags=["parameters", "hide-input"]
task: str = "digits"  # which task: digits or digit-reports
preset: str = "quick"  # which studies: ci, quick, full or base
store: str = ""  # folder or URL of the records; empty: records/local of this project
protocol: str = None  # lottery or as_published; None: as the preset says
ladder: object = None  # imp, secondary, concluding, or a list of sparsities; None: as above
epochs: int = None  # passes over the training items at each level; None: as above
seeds: list = None  # one run for each; None: as above

# %% tags=["hide-cell"]
from lthlib.records import open_store
from lthlib.report import shared, tidy
from lthlib.report.reading import each_group, joined, read, records_line, side_by_side
from lthlib.report.show import basis, lines, number, say, show
from lthlib.study import studies_from_parameters

studies = studies_from_parameters(globals())
records = open_store(store or None)
readings = [read(study, records) for study in studies]
groups = side_by_side(readings)
number("records", records_line(readings))

# %% tags=["hide-input"]
say(records_line(readings))

# %% [markdown]
# ## Accuracy and answers
#
# How well do dense models answer, and do they beat the best rule that looks at no input? Then, at
# one level, which is chosen by its place on the ladder and not by its result: what has pruning done
# to accuracy, and on how many decisions is the answer another than the dense model's? In brackets
# stand 95 % t intervals over seeds; a change is paired by seed, and its interval is taken alone, so
# that it is no claim.

# %% tags=["hide-input"]
for group, name in each_group(groups, say):
    standing = shared.standing(group)
    level = tidy.focus(joined(group, "quality"))
    number(name("found-dense"), shared.dense_lines(standing))
    say(shared.dense_lines(standing))
    number(name("found-answers"), shared.level_lines(standing, level))
    say(shared.level_lines(standing, level))

# %% [markdown]
# ## Level by level

# %% tags=["hide-input"]
for group, name in each_group(groups, say):
    quality, agreements = joined(group, "quality"), joined(group, "agreements")
    show(
        shared.accuracy_and_fidelity(quality, agreements),
        name("accuracy-and-fidelity"),
        f"Accuracy (above) and fidelity to the dense model (below): {basis(quality)} Thin lines: "
        "single seeds. Dashed: the best rule that looks at no input.",
    )
    show(
        shared.accuracy_and_agreement(quality, agreements),
        name("comparison"),
        f"The models side by side, mean over seeds: {basis(quality)}",
    )

# %% [markdown]
# ## Change from dense, and where a modality is gone
#
# Differences of accuracy from the same seed's dense model. A modality has collapsed when less than
# 1 % of its prunable weights is left.

# %% tags=["hide-input"]
for group, name in each_group(groups, say):
    standing = shared.standing(group)
    show(
        shared.changes_table(standing),
        name("changes"),
        f"Accuracy against dense, paired by seed: {basis(joined(group, 'quality'))}",
    )
    gone = tidy.collapses(joined(group, "levels"))
    say(lines(gone, "- **{model}**: {collapsed} from level {level} ({sparsity:%}), {seeds} seeds"))

# %% [markdown]
# ## Controls
#
# A ticket beside others of the same level. Seeds at which the ticket has more right are counted and
# not tested; the chapter on verdicts tests.

# %% tags=["hide-input"]
for group, name in each_group(groups, say):
    level = tidy.focus(joined(group, "quality"))
    told = shared.control_lines(shared.controls(group, level))
    number(name("found-controls"), told)
    say(told)
