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
# # Sample scenes
#
# Both tasks show handwritten digits on a canvas of 64 by 64 pixels. A model does not see the
# canvas: it sees, for each box, a crop of 8 by 8 pixels and where the box lies, as a detector would
# give them. Boxes are jittered, and some hold no digit. These are test items, the ones on which
# every prediction is recorded.

# %% tags=["parameters", "hide-input"]
data_seed: int = 0  # seed of the items
samples: int = 6  # scenes of each task to show

# %% tags=["hide-input"]
import pandas as pd

from lthlib.lab.tasks import load, render
from lthlib.report import draw
from lthlib.report.show import say, show, table
from lthlib.study import check_parameters

check_parameters(globals(), ["data_seed", "samples"])
tasks = {
    name: load(name, data_seed=data_seed, train_items=8, validation_items=8)
    for name in ("digits", "digit-reports")
}


def said(task, label):
    """A label in words."""
    if task.kind == "single":
        return task.classes[label[0]]
    there = [name for name, holds in zip(task.decisions, label, strict=True) if holds]
    return ", ".join(there) or "normal"


def sampled(name):
    """The first test items of a task, drawn."""
    task = tasks[name]
    inputs = task.test.inputs
    return draw.scenes(
        [render(task.test, item) for item in range(samples)],
        [inputs.boxes[i][inputs.region_mask[i]].tolist() for i in range(samples)],
        task.test.facts["text"].head(samples).tolist(),
        [said(task, label) for label in task.test.labels[:samples].tolist()],
    )


def make_up(values, what):
    """How often each value occurs among the test items."""
    counts = values.value_counts()
    data = pd.DataFrame({what: counts.index, "items": counts.to_numpy()})
    data["share"] = data["items"] / data["items"].sum()
    cells = {"items": data["items"].map("{:,}".format), "share": data["share"].map("{:.1%}".format)}
    return table(data.assign(**cells), data=data)


single = (
    f"{samples} test items: the scene, the boxes of its regions, the text, and in brackets the "
    "label. A box without a digit is a distractor. These are single items, so there is no interval."
)
counts = "Counts of the whole test split."

# %% [markdown]
# ## digits: is the caption true?
#
# The form is that of Visual Spatial Reasoning ({ref}`Liu and others 2023 <vsr>`). Captions use its
# names of relations where geometry decides them. Every caption comes twice, once with a scene of
# which it is true and once with one of which it is false, so a rule that reads the caption alone is
# right on exactly half of the items.

# %% tags=["hide-input"]
show(sampled("digits"), "scenes-digits", single)

# %% tags=["hide-input"]
kinds = tasks["digits"].test.facts["meta_category"]
show(make_up(kinds, "kind of relation"), "make-up-digits", counts)

# %% [markdown]
# ## digit-reports: what does the scene show?
#
# The form is that of Open-I ({ref}`Demner-Fushman and others 2016 <openi>`): fourteen findings,
# most of them rare, and a short report that never lies but leaves findings out. Always saying
# "nothing found" is right on most decisions, so accuracy alone says little here.

# %% tags=["hide-input"]
show(sampled("digit-reports"), "scenes-digit-reports", single)

# %% tags=["hide-input"]
findings = tasks["digit-reports"].test.facts["findings"].replace("", "normal")
show(make_up(findings.str.split(",").explode(), "finding"), "make-up-digit-reports", counts)

# %% tags=["hide-input"]
say(
    "A test split has "
    + " and ".join(f"{len(task.test):,} items (`{name}`)" for name, task in tasks.items())
    + ". No digit image is shared between training, validation and test items."
)
