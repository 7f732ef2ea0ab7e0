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
# # What text alone answers
#
# Before a model is praised for what it sees, one has to know what can be answered without looking.
# Here rules and linear models read the text and see no image: on Visual Spatial Reasoning
# ({ref}`Liu and others 2023 <vsr>`), where a caption is true or false of an image; on Open-I
# ({ref}`Demner-Fushman and others 2016 <openi>`), where a report comes with a chest X-ray; and on
# this project's own tasks, which take their form.

# %% tags=["parameters", "hide-input"]
results: str = "records/baselines"  # folder with what `python -m lthlib.lab.baselines` counted
store: str = ""  # folder or URL of the reference records; empty: those of this project

# %% tags=["hide-input"]
from pathlib import Path

from lthlib.packs import reference_store
from lthlib.report.baselines import findings
from lthlib.report.baselines import tables as baselines
from lthlib.report.show import number, say, show
from lthlib.study import check_parameters

check_parameters(globals(), ["results", "store"])
found = baselines.read_baselines(Path(results))
say(baselines.made_of(found))

# %% [markdown]
# ## VSR: the opposite of what training said

# %% tags=["hide-input"]
for key, sentence in {
    "text-alone-vsr": findings.opposite_sentence(found),
    "text-alone-source": findings.source_sentence(found),
}.items():
    number(key, sentence)
    say(sentence)
show(baselines.rules_figure(found), "text-alone-rules")

# %% [markdown]
# ## Why it works

# %% tags=["hide-input"]
say(findings.why_sentence(found))
say(findings.text_model_sentence(found))
show(baselines.cases_table(found), "text-alone-cases")
show(baselines.shared_table(found), "text-alone-shared")

# %% [markdown]
# ## The control: other splits of the same items

# %% tags=["hide-input"]
say(findings.control_sentence(found))
show(baselines.resplits_table(found), "text-alone-resplits")
say(findings.limits_sentence(found))
show(baselines.rules_table(found), "text-alone-table")

# %% [markdown]
# ## Open-I: the report without the image

# %% tags=["hide-input"]
say(findings.constants_sentence(found))
number("text-alone-openi", findings.report_sentence(found))
say(findings.report_sentence(found))
show(baselines.findings_figure(found), "text-alone-findings")
show(baselines.findings_table(found), "text-alone-findings-table")

# %% [markdown]
# ## Our own tasks
#
# Their captions are made so that text alone is worth nothing: every caption comes with a scene of
# which it is true and with one of which it is false, in the same part.

# %% tags=["hide-input"]
dense = baselines.dense_answers(reference_store(store), ["concluding", "reports", "blind"])
number("text-alone-own", findings.own_sentence(found, dense))
say(findings.own_sentence(found, dense))
show(baselines.own_table(found, dense), "text-alone-own-table")
