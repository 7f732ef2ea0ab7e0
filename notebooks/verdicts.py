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
from lthlib.report import draw, shared
from lthlib.report.exhibits import model_name, sparsity_text
from lthlib.report.judgement import kinds, resampling, trends, verdicts
from lthlib.report.judgement.contrasts import in_reading_order
from lthlib.report.judgement.equivalence import margins_table
from lthlib.report.judgement.families import families_table
from lthlib.report.parts import held_part, not_run
from lthlib.report.reading import records_line
from lthlib.report.show import number, say, show, table, texts
from lthlib.report.words import p_text, points, points_of
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
# The same differences with their intervals. Thick bars are 90 % t intervals over seeds, which show
# equivalence where they lie in the grey band (before Holm); thin bars are 95 %. Differences of up
# to 5 points are above, where bars that leave the panel go on, and the others below, on a scale of
# their own. No bar: one seed.

# %% tags=["hide-input"]
if judged:
    tests = in_reading_order(judged.tests)
    judged_on, margin = verdicts.judged_by(tests)
    for against, own in tests.groupby("against", sort=False):
        show(
            draw.forest(
                own,
                draw.MODEL_LOOKS,
                f"difference in {judged_on.title}, points",
                band=margin,
                near=0.05,
            ),
            "differences" if against == "dense" else f"differences-{against}",
            f"Tickets minus {verdicts.TITLES[str(against)]} in {judged_on.title}, by sparsity: "
            f"{verdicts.seeds_line(own)}, paired by seed. Grey: ±{points_of(margin)}.",
        )

# %% [markdown]
# How far does a verdict hang on the margin? Each mark is the smallest margin at which the ticket
# would be called equivalent to dense (TOST at 5 %, after Holm within a ladder). A mark below the
# dashed line is equivalent in this report; no mark: no test, for the reasons in the table.

# %% tags=["hide-input"]
if judged:
    smallest = margins_table(judged.tests)
    line = f"this report's margin, {points_of(margin)}"
    sensitivity = draw.ladder(
        smallest.assign(measure="margin", mean=smallest["margin"], low=pd.NA, high=pd.NA),
        draw.MODEL_LOOKS,
        series="model",
        label="smallest margin, points",
        lines={line: margin},
    )
    axes = sensitivity.figure.axes[0]
    axes.set(yscale="log", ylim=(0.2, 100))
    axes.set_yticks([0.3, 1, 3, 10, 30, 100], labels=["0.3", "1", "3", "10", "30", "100"])
    axes.minorticks_off()
    show(
        sensitivity._replace(data=smallest),
        "margins",
        f"Sensitivity to the margin, on a logarithmic scale: {verdicts.seeds_line(smallest)}.",
    )

# %% [markdown]
# Every contrast with its effect and all tests of it. g_av is Hedges' g with the average of both
# variances (Cumming 2012). p-values stand as they are and, after the arrow, after Holm within a
# study; exact sign flips cannot fall below 2 in 2^n of n seeds. A control that did not train beats
# the trivial rule at no seed, its seeds lie within the margin of one another, and no test is made.

# %% tags=["hide-input"]
if judged:
    tested_by = {
        "paired t": "difference",
        "sign flips": "sign_flip",
        "Wilcoxon": "wilcoxon",
        "TOST": "equivalence",
        "not inferior": "not_inferior",
    }
    told = {
        "g_av": texts(tests["g_av"], "{:.2f}".format, "one side has no spread"),
        **{
            head: tests[f"p_{name}"].map(p_text) + " → " + tests[f"holm_{name}"].map(p_text)
            for head, name in tested_by.items()
        },
    }
    ends = tests["low"].map(points) + " to " + tests["high"].map(points)
    difference = tests["difference"].map(points)
    cells = {
        "model": tests["model"].map(model_name),
        "sparsity, %": tests["sparsity"].map(sparsity_text),
        "against": tests["against"].map(verdicts.TITLES),
        "difference, points": difference.mask(tests["low"].notna(), difference + " (" + ends + ")"),
        **{head: cell.mask(tests["note"] != "", tests["note"]) for head, cell in told.items()},
    }
    show(
        table(pd.DataFrame(cells), data=judged.tests),
        "differences-table",
        f"Each ticket minus its reference, in {judged_on.title}: {verdicts.seeds_line(tests)}, "
        "paired by seed; in brackets 95 % t intervals over seeds. TOST and non-inferiority with a "
        f"margin of {points_of(margin)}.",
    )

# %% [markdown]
# An inconclusive verdict says that these seeds could not tell. What could they have told?
# Detectable is the true difference that a two-sided t test at 5 % finds with 80 % power, before
# Holm; seeds needed are those that show equivalence with the same power where nothing differs.

# %% tags=["hide-input"]
if judged:
    show(
        shared.power(judged.tests),
        "power",
        f"What the paired tests against dense can find in {judged_on.title}: "
        f"{verdicts.seeds_line(tests)}; equivalence within ±{points_of(margin)}.",
    )

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
