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
# # Real text
#
# The other chapters run on tasks that come with this project. Here the same models, in their tiny
# size and from a random start, read real text: the captions of Visual Spatial Reasoning
# ({ref}`Liu and others 2023 <vsr>`) and the reports of Open-I
# ({ref}`Demner-Fushman and others 2016 <openi>`), with their labels and their splits. No region
# features come with them, so that models go blind, or see regions that are made up.
#
# ```
# lth data get vsr open-i
# lth features follow follow-90 --task vsr-random --share 0.9
# lth run --preset real-text
# ```

# %% tags=["parameters", "hide-input"]
results: str = "records/baselines"  # folder with what `python -m lthlib.lab.baselines` counted
store: str = ""  # folder or URL of the records; empty: records/real-text of this project

# %% tags=["hide-input"]
from pathlib import Path

from lthlib import real_text
from lthlib.packs import store_at
from lthlib.records import project_root
from lthlib.report.baselines.tables import read_baselines
from lthlib.report.judgement.verdicts import verdict_grid, verdict_table
from lthlib.report.real_text import evidence, findings, tables
from lthlib.report.show import number, say, show
from lthlib.study import check_parameters

check_parameters(globals(), ["results", "store"])
parts = evidence.gather(store_at(store or project_root() / "records" / "real-text"))
found = read_baselines(Path(results))
held = evidence.by_task(parts)
rules = {task: evidence.rules_of(own, found) for task, own in held.items()}
captions, reports = (held.get(task, []) for task in (real_text.CAPTIONS, real_text.REPORTS))
followed = [part for part in captions if part.shown == evidence.FOLLOWED and part.pruned]
blind = [part for part in captions if part.shown == evidence.BLIND]
say(findings.records_sentence(parts))
number("real-text-short", findings.short_sentence(parts, rules))
say(findings.short_sentence(parts, rules))

# %% [markdown]
# ## Captions: what is learned from words and boxes
#
# Every number stands beside its controls: the same models with the regions of another item, the
# same models blind, and rules that read the captions of the very same test items. In brackets,
# where a sentence does not say otherwise, stand 95 % t intervals over seeds, each taken alone.

# %% tags=["hide-input"]
say(findings.made_up_sentence())
if captions:
    say(findings.followed_sentence(captions, rules[real_text.CAPTIONS]))
    show(tables.dense_figure(captions, rules[real_text.CAPTIONS]), "real-text-dense")
    show(tables.dense_table(captions, rules[real_text.CAPTIONS]), "real-text-dense-table")
else:
    say(findings.not_run("models of captions"))

# %% [markdown]
# ## Captions: whether tickets keep it

# %% tags=["hide-input"]
for part in followed:
    number("real-text-kept", findings.kept_sentence(part))
    say(findings.kept_sentence(part))
    say(findings.controls_sentence(part))
    show(tables.ladder_figure(part, rules[real_text.CAPTIONS]), "real-text-followed")
    show(tables.part_table(part, rules[real_text.CAPTIONS]), "real-text-followed-table")

# %% [markdown]
# Whether a ticket is as accurate as its dense model is tested as in the other chapters, seed by
# seed. Beside accuracy stands fidelity: the share of items that get the dense model's answer.

# %% tags=["hide-input"]
for part in followed:
    say(findings.tested_sentence(part))
    show(verdict_grid(part.judged.rows), "real-text-verdicts")
    show(verdict_table(part.judged.rows), "real-text-verdicts-table")
    show(tables.fidelity_figure(part), "real-text-fidelity")

# %% [markdown]
# ## Captions: blind

# %% tags=["hide-input"]
if not blind:
    say(findings.not_run("blind models of captions"))
for part in blind:
    number("real-text-blind", findings.blind_sentence(part, rules[real_text.CAPTIONS]))
    say(findings.blind_sentence(part, rules[real_text.CAPTIONS]))
    say(findings.why_sentence(part, found))
    show(tables.ladder_figure(part, rules[real_text.CAPTIONS]), "real-text-blind-captions")
    show(tables.part_table(part, rules[real_text.CAPTIONS]), "real-text-blind-captions-table")

# %% [markdown]
# ## Reports: blind
#
# The labels of Open-I were read off its reports, so that a model of the report alone can do well.
# Records hold the names of the reports and no word of them: their licence keeps the texts from
# being passed on.

# %% tags=["hide-input"]
if not reports:
    say(findings.not_run("models of reports"))
for part in reports:
    number("real-text-reports", findings.blind_sentence(part, rules[real_text.REPORTS]))
    say(findings.blind_sentence(part, rules[real_text.REPORTS]))
    say(findings.ranking_sentence(part, rules[real_text.REPORTS]))
    say(findings.lengths_sentence(found))
    show(tables.ladder_figure(part, rules[real_text.REPORTS], "auc"), "real-text-reports-auc")
    show(tables.part_table(part, rules[real_text.REPORTS]), "real-text-reports-table")

# %% [markdown]
# ## Reports: whether tickets keep it

# %% tags=["hide-input"]
for part in (part for part in reports if part.pruned):
    say(findings.kept_sentence(part))
    say(findings.ranking_kept_sentence(part))
    show(
        tables.ladder_figure(part, rules[real_text.REPORTS], "average_precision"),
        "real-text-reports-precision",
    )
