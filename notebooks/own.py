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
# # Do tickets keep their answers on these data?
#
# Models were trained on a table of images, texts and labels, and then pruned level by level. Each
# number below says on how many seeds and test items it rests.

# %% tags=["parameters", "hide-input"]
store: str = "records/example"  # what `lth own` wrote: a folder with own.json and records
most: int = 12  # items to show at the most, of those whose answers change

# %% tags=["hide-input"]
from pathlib import Path

from lthlib.lab import example
from lthlib.report import own_data, shared, tidy
from lthlib.report.exhibits import model_name
from lthlib.report.judgement import verdicts
from lthlib.report.reading import joined, records_line
from lthlib.report.show import basis, number, say, show
from lthlib.study import check_parameters

check_parameters(globals(), ["store", "most"])
given = own_data.read_given(Path(store))
readings, dense = given.readings(), given.dense()
quality, agreements = joined(readings, "quality"), joined(readings, "agreements")
judged, standing = verdicts.judge(readings), shared.standing(readings)
level = tidy.focus(quality)
open_image = example.picture if given.images is None else given.open_image
say(own_data.made(given))

# %% [markdown]
# ## What was given

# %% tags=["hide-input"]
say(own_data.given_sentence(given))
show(own_data.given_table(given), "own-given")
show(own_data.sample(given, open_image), "own-sample")
say(records_line(readings))

# %% [markdown]
# ## Does the model look at the image?
#
# Three things answer the same test items without looking: a constant, rules that read the text
# alone, and the same models trained blind. Models that are shown another item's image are the
# fourth: they see pictures, but none that helps.

# %% tags=["hide-input"]
looks = own_data.looks_sentence(own_data.looks(dense))
number("own-looks", looks)
number("own-dense", shared.dense_lines(standing))
say(shared.dense_lines(standing))
say(own_data.text_sentence(given))
say(looks)
show(own_data.looks_table(given, dense), "own-looks-table")

# %% [markdown]
# ## Level by level
#
# Accuracy asks whether a ticket is right, fidelity whether it still answers as its own dense model
# does. Two dense models that differ in their seed alone do not agree on everything either: that is
# the floor that fidelity has to be held against.

# %% tags=["hide-input"]
say(shared.level_lines(standing, level))
say(shared.control_lines(shared.controls(readings, level)))
show(
    shared.accuracy_and_fidelity(quality, agreements),
    "own-ladder",
    f"Accuracy (above) and fidelity to the dense model (below): {basis(quality)} Thin lines: "
    "single seeds. Dashed: the best rule that looks at no input.",
)
show(
    shared.accuracy_and_agreement(quality, agreements),
    "own-ladder-table",
    f"The models side by side, mean over seeds: {basis(quality)}",
)
show(
    shared.changes_table(standing),
    "own-changes",
    f"Accuracy against dense, paired by seed: {basis(quality)}",
)
for r in readings:
    show(
        shared.fidelity(r),
        f"own-fidelity-{r.study.model}",
        f"{model_name(r.study.model)}: fidelity to the dense model: {basis(r.agreements)}",
    )

# %% [markdown]
# ## What is shown, and what is not

# %% tags=["hide-input"]
number("own-verdict", verdicts.verdict_sentence(judged.rows))
say(verdicts.verdict_sentence(judged.rows))
say(own_data.enough_sentence(given, judged.tests))
show(verdicts.verdict_table(judged.rows), "own-verdicts")
show(
    shared.power(judged.tests),
    "own-power",
    f"What the paired tests against dense can find: {verdicts.seeds_line(judged.tests)}. "
    "Detectable: the true difference that a two-sided t test at 5 % finds with 80 % power, before "
    "Holm. Seeds needed: for equivalence to be shown so where nothing differs.",
)

# %% [markdown]
# ## Items whose answers change

# %% tags=["hide-input"]
show(own_data.flipped(given, open_image, most), "own-flipped")
