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
from lthlib.lab.tasks import load, render
from lthlib.report.scenes import gallery, make_up
from lthlib.report.show import say, show
from lthlib.study import check_parameters

check_parameters(globals(), ["data_seed", "samples"])
tasks = {
    name: load(name, data_seed=data_seed, train_items=8, validation_items=8)
    for name in ("digits", "digit-reports")
}


def sampled(name):
    """Canvases, boxes, texts and labels of the first test items."""
    task = tasks[name]
    inputs, facts = task.test.inputs, task.test.facts
    said = [
        task.classes[label[0]]
        if task.kind == "single"
        else ", ".join(d for d, there in zip(task.decisions, label, strict=True) if there)
        or "normal"
        for label in task.test.labels[:samples].tolist()
    ]
    return {
        "canvases": [render(task.test, item) for item in range(samples)],
        "boxes": [inputs.boxes[i][inputs.region_mask[i]].tolist() for i in range(samples)],
        "texts": facts["text"].head(samples).tolist(),
        "labels": said,
    }


# %% [markdown]
# ## digits: is the caption true?
#
# The form is that of Visual Spatial Reasoning ({ref}`Liu and others 2023 <vsr>`). Captions use its
# names of relations where geometry decides them. Every caption comes twice, once with a scene of
# which it is true and once with one of which it is false, so a rule that reads the caption alone is
# right on exactly half of the items.

# %% tags=["hide-input"]
show(gallery(**sampled("digits"), task="digits"), "scenes-digits")

# %% tags=["hide-input"]
show(make_up(tasks["digits"].test.facts["meta_category"], "kind of relation"), "make-up-digits")

# %% [markdown]
# ## digit-reports: what does the scene show?
#
# The form is that of Open-I ({ref}`Demner-Fushman and others 2016 <openi>`): fourteen findings,
# most of them rare, and a short report that never lies but leaves findings out. Always saying
# "nothing found" is right on most decisions, so accuracy alone says little here.

# %% tags=["hide-input"]
show(gallery(**sampled("digit-reports"), task="digit-reports"), "scenes-digit-reports")

# %% tags=["hide-input"]
findings = tasks["digit-reports"].test.facts["findings"].replace("", "normal")
show(make_up(findings.str.split(",").explode(), "finding"), "make-up-digit-reports")

# %% tags=["hide-input"]
say(
    "A test split has "
    + " and ".join(f"{len(task.test):,} items (`{name}`)" for name, task in tasks.items())
    + ". No digit image is shared between training, validation and test items."
)
