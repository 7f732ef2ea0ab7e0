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
# # Gallery: what do changed answers look like?
#
# The main source asks whether faithful samples, those that dense and pruned model answer alike,
# look different from others. Here they are: each card is one test item with what the dense models
# and their tickets answer. Filter them by model, level, and by what became of the answer.

# %% tags=["parameters", "hide-input"]
store: str = ""  # folder or URL of the reference records; empty: those of this project
unstable: int = 36  # items whose answers change most often
stable: int = 24  # items drawn from the quarter that changes least

# %% tags=["hide-input"]
import pandas as pd

from lthlib.lab.tasks import load, render
from lthlib.packs import reference_store
from lthlib.report.parts import not_run
from lthlib.report.questions import gallery, visible
from lthlib.report.show import number, say, show
from lthlib.study import check_parameters

check_parameters(globals(), ["store", "unstable", "stable"])
studies = gallery.seen("concluding", reference_store(store))

# %% tags=["hide-input"]
if studies:
    study = studies[0].study
    counts = {"train_items": 8, "validation_items": 8, "test_items": study.test_items}
    split = load(study.task, data_seed=study.data_seed, **counts).test
    place = {item: i for i, item in enumerate(split.items)}
    boxes = pd.Series(split.inputs.region_mask.sum(dim=1).tolist(), list(split.items))
    found = visible.looks(studies, boxes)
    answer = visible.looks_sentence(found)
    number("found-looks", answer)
    say(answer)

    def scene(item):
        i = place[item]
        boxes = split.inputs.boxes[i][split.inputs.region_mask[i]].tolist()
        return gallery.Scene(split.facts["text"][i], render(split, i), boxes)

    shown = gallery.chosen(studies, unstable, stable)
    scenes = {item: scene(item) for item in shown["item"]}
    show(gallery.gallery(studies, shown, scenes), "gallery")
else:
    say(not_run("concluding"))

# %% [markdown]
# ## Do they look different?

# %% tags=["hide-input"]
if studies:
    show(visible.looks_table(found), "looks")
