# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Verdicts
#
# Is a ticket as good as its dense model, and better than what a random mask or fresh start values
# would give? "Not significantly different" is no answer, since with few seeds everything passes.
# So each verdict is a test that could have failed: *equivalent* within a margin that was fixed
# beforehand for the task, *inferior*, *superior*, or *inconclusive*. A margin says something only
# where it is small against what dense has over a rule that looks at no input. So tasks of several
# findings, where answering "no" to everything is right on most decisions, are judged on macro F1.

# %% tags=["parameters", "hide-input"]
# One line alone would be read as IPython's magic of that name.
store: str = ""  # folder or URL of the reference records; empty: those of this project

# %% tags=["hide-input"]
import pandas as pd

from lthlib.packs import reference_store
from lthlib.report.judgement import evidence, kinds, resampling, trends, verdicts
from lthlib.report.judgement.families import families_table
from lthlib.report.parts import held_part, not_run
from lthlib.report.reading import records_line
from lthlib.report.show import number, say, show
from lthlib.study import check_parameters

check_parameters(globals(), ["store"])
records = reference_store(store)
tested = []  # every frame of p-values of this page, for the table of families
readings = held_part("concluding", records)
judged = verdicts.judge(readings) if readings else None
held = held_part("sufficient", records)  # the same models, trained four times as long
sufficient = verdicts.judge(held) if held else None
say(records_line(readings) if readings else not_run("concluding"))

# %% [markdown]
# ## The verdicts
#
# Lottery tickets at the sparsities of the concluding ladder: train, prune, rewind, train again.
#
# Two controls share the ticket's sparsity and training. A *random mask* keeps the start values and
# chooses other weights. *Fresh start values* keep the mask and draw every prunable weight of the
# encoder anew. The start of these models is pre-trained, so this control takes away pre-training
# together with the draw: it cannot tell whether the ticket lives on its own start values or on
# any that were pre-trained, as it could in Frankle and Carbin (2019), who start at random.

# %% tags=["hide-input"]
if judged:
    tested.append(judged.tests)
    sentence = verdicts.verdict_sentence(judged.rows)
    number("verdict-sentence", sentence)
    say(sentence)
    dense = verdicts.dense_sentence(judged.scored, sufficient.scored if sufficient else None)
    number("dense-sentence", dense)
    say(dense)
    covered = verdicts.coverage_sentence(judged.scored)
    number("coverage-sentence", covered)  # for the page on method
    say(covered)
    show(verdicts.verdict_grid(judged.rows), "verdict-grid")
    show(verdicts.verdict_table(judged.rows), "verdict-table")

# %% [markdown]
# ## What they rest on
#
# The same differences with their intervals; and how far the verdict hangs on the margin.

# %% tags=["hide-input"]
if judged:
    show(evidence.differences_figure(judged.tests), "differences")
    show(evidence.margins_figure(judged.tests), "margins")
    for against in judged.tests["against"].drop_duplicates()[1:]:
        figure = evidence.differences_figure(judged.tests, against=against)
        show(figure, f"differences-{against}")
    show(evidence.differences_table(judged.tests), "differences-table")

# %% [markdown]
# An inconclusive verdict says that these seeds could not tell. What could they have told?

# %% tags=["hide-input"]
if judged:
    show(evidence.power_table(judged.tests), "power")

# %% [markdown]
# ## Would other seeds or other items change it?
#
# A t test over seeds takes the test items as given. A bootstrap of both does not, and McNemar's
# test asks about the items within a single seed.

# %% tags=["hide-input"]
if judged:
    intervals = pd.concat([resampling.bootstrap_rows(r) for r in judged.readings])
    within = pd.concat([resampling.mcnemar_rows(r) for r in judged.readings])
    tested.append(within)
    show(resampling.resampling_table(intervals, within), "resampling")

# %% [markdown]
# ## What kind of tickets they are
#
# The literature has several names for a good ticket. Each level earns those whose definition it
# meets.

# %% tags=["hide-input"]
if judged:
    show(kinds.kinds_table(kinds.ticket_kinds(judged.scored, judged.tests)), "kinds")

# %% [markdown]
# The sparsest level that still matches is chosen on validation items and stated on test items: a
# level that is chosen for its test accuracy looks better than it is.

# %% tags=["hide-input"]
if judged:
    found = kinds.sparsest_matching(judged.scored, judged.tests)
    number("sparsest-sentence", kinds.sparsest_sentence(found))
    say(kinds.sparsest_sentence(found))
    show(kinds.sparsest_table(found), "sparsest")

# %% [markdown]
# A ticket may match a dense model that was not trained for long enough. Ma et al. call it a
# secondary prize; the jackpot is to match a dense model under a sufficient recipe, here one of four
# times as many epochs, and to do better than fresh start values.

# %% tags=["hide-input"]
if judged and sufficient:
    tested.append(sufficient.tests)
    show(kinds.prizes_table(kinds.prizes(judged.tests, sufficient.tests)), "prizes")
else:
    say(not_run("sufficient"))

# %% [markdown]
# ## Trends, and what correlations of accuracy and fidelity are worth
#
# The main source found that fidelity correlates with accuracy over six levels. Six points are six
# points however many seeds there are. And the two are tied by arithmetic: with two classes they
# cannot differ by more than the dense model errs. So beside each correlation stands the one that a
# model of the same accuracy would show whose errors have nothing to do with those of dense.
#
# A trend is taken over the levels at which the ticket still beats the best trivial rule at every
# seed: a slope through levels at chance would tell how many of them the ladder has.

# %% tags=["hide-input"]
if judged:
    slopes, pairs = trends.trends(judged.scored), trends.correlations(judged.scored)
    tested += [slopes, pairs]
    show(trends.trends_table(slopes), "trends")
    show(trends.correlations_table(pairs), "correlations")

# %% [markdown]
# ## The other ladders, protocols and tasks
#
# The same verdicts for sparser tickets, for several findings at once, and for what the main source
# ran: no rewinding, and no training after the last pruning.

# %% tags=["hide-input"]
for part in ("secondary", "reports", "published-concluding", "published-secondary"):
    others = held_part(part, records)
    if not others:
        say(not_run(part))
        continue
    other = verdicts.judge(others)
    slopes, pairs = trends.trends(other.scored), trends.correlations(other.scored)
    tested += [other.tests, slopes, pairs]
    say(f"**{others[0].study.task}, {others[0].study.protocol}, {others[0].study.ladder} ladder**")
    number(f"verdict-sentence-{part}", verdicts.verdict_sentence(other.rows))
    say(verdicts.verdict_sentence(other.rows))
    show(verdicts.verdict_table(other.rows), f"verdict-table-{part}")
    show(trends.trends_table(slopes), f"trends-{part}")
    show(trends.correlations_table(pairs), f"correlations-{part}")

# %% [markdown]
# ## Every test of this page, and the family it belongs to

# %% tags=["hide-input"]
if tested:
    show(families_table(tested), "families")
