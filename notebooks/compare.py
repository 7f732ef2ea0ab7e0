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

# %% tags=["hide-input"]
from lthlib.records import open_store
from lthlib.report import figures, findings, tables
from lthlib.report.notebook import number, say, show
from lthlib.report.reading import each_group, floors, joined, read, records_line, side_by_side
from lthlib.study import studies_from_parameters

studies = studies_from_parameters(globals())
records = open_store(store or None)
readings = [read(study, records) for study in studies]
groups = side_by_side(readings)
number("records", records_line(readings))
say(records_line(readings))

# %% [markdown]
# ## In words
#
# Where sentences speak of one level, it was chosen by its place on the ladder, not by its result.

# %% tags=["hide-input"]
for group, name in each_group(groups, say):
    quality, agreements = joined(group, "quality"), joined(group, "agreements")
    level = findings.focus(quality)
    found = {
        "found-dense": findings.dense_sentence(quality, joined(group, "gate")),
        "found-accuracy": findings.accuracy_sentence(quality, level),
        "found-ladder": findings.ladder_sentence(quality, joined(group, "gate")),
        "found-collapse": findings.collapse_sentence(joined(group, "levels")),
        "found-answers": findings.answers_sentence(agreements, floors(group), level),
        "found-controls": findings.controls_sentence(quality, level),
        "found-note": findings.reading_note(quality),
    }
    for key, sentence in found.items():
        number(name(key), sentence)
        say(sentence)

# %% [markdown]
# ## Level by level

# %% tags=["hide-input"]
for group, name in each_group(groups, say):
    quality, agreements = joined(group, "quality"), joined(group, "agreements")
    stage = group[0].stage
    figure = figures.comparison_figure(quality, agreements, stage=stage)
    show(figure, name("accuracy-and-fidelity"))
    show(tables.comparison_table(quality, agreements, stage=stage), name("comparison"))
