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
# # Every parameter
#
# A study is plain validated data. Every field below is a parameter of `notebooks/prune.ipynb`
# (`-p name value`) and of `lthlib.study.Study`; what a notebook leaves open comes from the preset.
# A study is named by a hash over everything but its seeds, so a run can never be taken for another.

# %% tags=["hide-cell"]
import json
from typing import Literal, get_args, get_origin

import pandas as pd

from lthlib.reference import PARTS
from lthlib.report.exhibits import sparsity_text
from lthlib.report.show import show, table
from lthlib.study import (
    PRESETS,
    PUBLISHED_AMOUNTS,
    PUBLISHED_ROUNDS,
    Study,
    cumulative,
    plan,
    reference,
)


def kind(annotation):
    """A type in words."""
    if get_origin(annotation) is Literal:
        return ", ".join(str(choice) for choice in get_args(annotation))
    if get_origin(annotation) is tuple:
        return f"list of: {kind(get_args(annotation)[0])}"
    if hasattr(annotation, "__metadata__"):
        return kind(annotation.__origin__)
    if get_args(annotation):
        return ", or ".join(kind(part) for part in get_args(annotation))
    names = {bool: "true, false", int: "whole number", float: "number", type(None): "null"}
    return names.get(annotation, str(annotation))


def setting(value):
    """A value as a study file writes it."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(setting(part) for part in value)}]"
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


# %% tags=["hide-input"]
fields = [
    {
        "parameter": name,
        "may be": kind(field.annotation),
        "default": setting(field.default),
        "meaning": field.description,
    }
    for name, field in Study.model_fields.items()
]
show(
    table(pd.DataFrame(fields)),
    "parameters",
    "Every parameter of a study, from its own definition.",
)

# %% [markdown]
# ## Presets
#
# A preset is a set of studies that belong together. Parameters that are given narrow it or change
# it: `preset=quick` with `model=uniter` leaves UNITER's studies.

# %% tags=["hide-input"]
planned = {name: plan(name) for name in PRESETS}
presets = [
    {
        "preset": name,
        "meant for": preset.about,
        "settings": ", ".join(f"{key} {setting(value)}" for key, value in preset.shared.items()),
        "studies": len(planned[name]),
        "runs": sum(len(study.seeds) for study in planned[name]),
        "trainings": sum(len(study.seeds) * study.trainings() for study in planned[name]),
    }
    for name, preset in PRESETS.items()
]
show(
    table(pd.DataFrame(presets)),
    "presets",
    "The presets. A run is one study at one seed; each of its levels trains.",
)

# %% [markdown]
# ## The reference study
#
# The preset `full` in its parts. The chapters on the main source read its records. A study that
# stands in two parts is run once.

# %% tags=["hide-input"]
asked = {name: reference(name) for name in PARTS}
parts = [
    {
        "part": name,
        "asks": part.about,
        "studies": len(asked[name]),
        "seeds": len(asked[name][0].seeds),
        "trainings": sum(len(study.seeds) * study.trainings() for study in asked[name]),
    }
    for name, part in PARTS.items()
]
show(table(pd.DataFrame(parts)), "parts", "The parts of the reference study.")

# %% [markdown]
# ## Ladders
#
# Sparsities are shares of the prunable weights. Under `as_published` a ladder lists the share that
# is pruned in each of three rounds, and the sparsity follows from it; under `lottery` the same name
# stands for the same sparsities, so that both protocols meet. Level 0 is dense everywhere, and the
# imp ladder goes on as far as the parameter `levels` says.

# %% tags=["hide-input"]
ladders = [
    ("imp", r.level, "20 % of the rest, once", r.sparsity) for r in Study.build().rungs()[1:]
]
for name, amounts in PUBLISHED_AMOUNTS.items():
    for level, amount in enumerate(amounts, start=1):
        pruned = f"{100 * amount:g} % of the rest, {PUBLISHED_ROUNDS} times"
        ladders.append((name, level, pruned, cumulative(amount)))
frame = pd.DataFrame(ladders, columns=["ladder", "level", "pruned each round", "sparsity, %"])
frame["sparsity, %"] = frame["sparsity, %"].map(sparsity_text)
show(table(frame), "ladders", "The named ladders.")
