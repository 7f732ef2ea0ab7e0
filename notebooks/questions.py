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
# # The source's open questions
#
# The main source closes with questions that it leaves to others, and defines measures that it does
# not print. Each is answered here in one computed sentence, with what it rests on below. Whether
# faithful items *look* different has a page of its own, the
# [gallery](gallery.ipynb).

# %% tags=["parameters", "hide-input"]
store: str = ""  # folder or URL of the reference records; empty: those of this project
level: int = None  # the level that sentences speak of; None: the middle one of the ladder

# %% tags=["hide-input"]
import pandas as pd

from lthlib.packs import reference_store
from lthlib.report.parts import held_part, not_run
from lthlib.report.questions import (
    concepts,
    confidence,
    forgetting,
    instability,
    longer,
    start,
    weights,
)
from lthlib.report.reading import joined, records_line
from lthlib.report.show import number, say, show
from lthlib.report.tidy import focus
from lthlib.study import check_parameters

check_parameters(globals(), ["store", "level"])
records = reference_store(store)
parts = ("concluding", "histories", "observed", "longer", "rates", "sufficient", "scratch")
held = {part: held_part(part, records) for part in parts}
if level is None and held["concluding"]:
    level = focus(joined(held["concluding"], "quality"))


def answer(name, sentence):
    number(name, sentence)
    say(sentence)


for part in parts:
    say(f"Part `{part}`. {records_line(held[part])}" if held[part] else not_run(part))

# %% [markdown]
# ## Do forgettable samples predict unfaithful ones?
#
# An item is forgotten when training gets it right and then wrong again
# ({ref}`Toneva and others 2019 <toneva>`). Test items have no such history, so other models train
# on them too; what those forget is held against the answers of models that never saw them.

# %% tags=["hide-input"]
past = {reading.study.model: reading for reading in held["histories"]}
pairs = [(r, past[r.study.model]) for r in held["concluding"] if r.study.model in past]
if pairs:
    seeds = max(len(reading.runs) for reading in held["histories"])
    predicted = pd.concat([forgetting.predicted(*pair) for pair in pairs], ignore_index=True)
    answer("found-forgetting", forgetting.prediction_sentence(predicted, level))
    show(forgetting.prediction_figure(predicted, seeds), "forgetting")
    show(forgetting.prediction_table(predicted, level, seeds), "forgetting-predictors")
else:
    say(not_run("concluding", "histories"))

# %% [markdown]
# Pruning forgets too: an item may be right at one level and wrong at the next.

# %% tags=["hide-input"]
if held["concluding"]:
    steps = [forgetting.pruning_forgetting(reading) for reading in held["concluding"]]
    show(forgetting.pruning_table(pd.concat(steps, ignore_index=True)), "pruning-forgetting")
if pairs:
    same = pd.concat([forgetting.same_items(*pair) for pair in pairs], ignore_index=True)
    answer("found-same-items", forgetting.same_items_sentence(same))

# %% [markdown]
# ## Does the correlation of weights explain when rewinding helps?
#
# {ref}`Ma and others 2021 <ma>` tie the worth of original weights to how close training stays to
# them. The gain of rewinding is the accuracy of a ticket less that of its mask with fresh start
# values.

# %% tags=["hide-input"]
gains = [weights.gains(r, part) for part in weights.RESTS for r in held[part]]
if gains:
    rows = pd.concat(gains, ignore_index=True)
    answer("found-weights", weights.gain_sentence(rows))
    show(weights.gain_figure(rows), "rewinding-gain")
    show(weights.explained_table(rows), "rewinding-explained")
starts = [reading for part in ("concluding", "scratch") for reading in held[part]]
if held["scratch"] and held["concluding"]:
    accuracies = start.start_accuracies(starts)
    answer("found-start", start.start_sentence(accuracies))
    show(start.start_table(accuracies), "start")
else:
    say(not_run(*weights.RESTS))

# %% [markdown]
# ## Do pruned models keep the latent concepts of dense ones?
#
# Hidden states of the same items are compared by linear CKA
# ({ref}`Kornblith and others 2019 <kornblith>`), and by how alike they are grouped when each
# model's states are clustered.

# %% tags=["hide-input"]
if held["observed"]:
    states = [(r, concepts.States(r.table("states"))) for r in held["observed"]]
    alike = pd.concat([concepts.likeness(*pair) for pair in states], ignore_index=True)
    about = pd.concat([concepts.alignment(*pair) for pair in states], ignore_index=True)
    middle = level or focus(joined(held["observed"], "quality"))
    answer("found-concepts", concepts.concepts_sentence(alike, middle))
    answer("found-concepts-fidelity", concepts.fidelity_sentence(alike))
    show(concepts.likeness_figure(alike, "cka"), "concepts-cka")
    show(concepts.likeness_figure(alike, "rand"), "concepts-rand")
    show(concepts.likeness_table(alike), "concepts")
    show(concepts.alignment_table(about, middle), "concepts-facts")
else:
    say(not_run("observed"))

# %% [markdown]
# ## Are tickets stable?
#
# Two trainings of one ticket that differ in the order of items alone end in one basin or in two
# ({ref}`Frankle and others 2020 <frankle2020>`). The barrier on the line between them tells.

# %% tags=["hide-input"]
if held["observed"]:
    measured = pd.concat([instability.measured(r) for r in held["observed"]], ignore_index=True)
    paths = pd.concat([r.table("barriers") for r in held["observed"]], ignore_index=True)
    answer("found-instability", instability.stability_sentence(measured))
    show(instability.barrier_figure(measured), "barriers")
    show(instability.path_figure(paths, measured), "barrier-paths")
    show(instability.barrier_table(measured), "barrier-table")
else:
    say(not_run("observed"))

# %% [markdown]
# ## Does training longer before pruning help?

# %% tags=["hide-input"]
if held["longer"]:
    lengths = longer.by_epochs(held["longer"])
    answer("found-longer", longer.epochs_sentence(lengths))
    show(longer.epochs_figure(lengths), "longer")
    show(longer.epochs_table(lengths), "longer-table")
else:
    say(not_run("longer"))

# %% [markdown]
# ## Confidence and invariability

# %% tags=["hide-input"]
if held["concluding"]:
    agreements = joined(held["concluding"], "agreements")
    answer("found-confidence", confidence.determined_sentence(agreements))
    show(confidence.determined_table(agreements), "confidence")
else:
    say(not_run("concluding"))
