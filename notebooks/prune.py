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
# # Prune one model
#
# The notebook trains what is not recorded yet, level by level, and then reads the records: what was
# pruned, how well each level answers, and whether it still gives the answers of its dense model.
#
# ```
# papermill notebooks/prune.ipynb runs/uniter.ipynb -p model uniter
# ```
#
# Every number below comes from recorded predictions, and every figure and table says how many seeds
# and items it rests on.

# %% tags=["parameters", "hide-input"]
model: str = "uniter"  # which architecture: visualbert, lxmert or uniter
task: str = "digits"  # what the model learns: digits, digit-reports, or published data
preset: str = "quick"  # what is None below comes from it: ci, quick, full, real-text or base
store: str = ""  # folder or URL of the records; empty: records/local of this project
workers: int = None  # training processes at once; None: one for each core
boxes: bool = None  # VisualBERT sees box positions (as published: no)
size: str = None  # tiny (0.2 M weights) or base
start: str = None  # theta_0: the pre-trained weights, or drawn at random
checkpoint: str = None  # published weights: a file in the data folder, or owner/name
regions: str = None  # image regions: shown, none (a blind model), shuffled between items
features: str = None  # store of region features in the data folder, for published tasks
protocol: str = None  # lottery: train, prune, rewind, train; as_published: what the source ran
search: str = None  # prune level by level, or each level straight from dense
rewind: str = None  # after pruning: weights back to theta_k, learning rate only, or neither
rewind_step: int = None  # k, in optimizer steps: rewind to theta_k; 0 is the start
ladder: object = None  # imp, secondary, concluding, or a list of sparsities
levels: int = None  # levels of the imp ladder, 20 % of the rest each
score: str = None  # what is pruned first
scope: str = None  # one threshold for all weights, for each layer, or for each modality
prunable: str = None  # which weights may be pruned
branches: list = None  # controls trained beside each level
branch_levels: list = None  # levels that get the controls; an empty list means every pruned level
observe: list = None  # what else each level records: weights, states, barriers
epochs: int = None  # passes over the training items at each level
dense_epochs: int = None  # passes at level 0, before any pruning; null: as epochs
batch_size: int = None  # items in one step
learning_rate: float = None  # peak of the schedule
weight_decay: float = None  # AdamW's decoupled decay
warmup: float = None  # share of steps that warm up linearly
clip_norm: float = None  # largest norm of the gradient
kernels: str = None  # plain, fused (attention in one kernel, padding cut) or compiled
precision: str = None  # of matrix products: float32, or bfloat16 (for GPUs)
together: int = None  # seeds trained at once, in blocks of so many, by one process
train_on: str = None  # train+test: test items get a training history, and test nothing any more
train_items: int = None  # training items; null: the default
validation_items: int = None  # validation items; null: the default
test_items: int = None  # test items; null: the task's default
data_seed: int = None  # seed of the task's items
seeds: list = None  # one run for each

# %% tags=["hide-cell"]
import pandas as pd

from lthlib.records import open_store
from lthlib.report import credit, draw, exhibits, measures, ranking, shared, tidy
from lthlib.report.draw import Look
from lthlib.report.exhibits import sparsity_text
from lthlib.report.measures import at_stage
from lthlib.report.reading import each, pruned, read, records_line
from lthlib.report.show import basis, level_columns, say, show, sparsity_note, table
from lthlib.study import studies_from_parameters
from lthlib.workflow.local import run

studies = studies_from_parameters(globals())
records = open_store(store or None)
runs = run(studies, records, workers=workers)

# %% tags=["hide-input"]
readings = [read(study, records) for study in studies]
say(records_line(readings))

# %% [markdown]
# Every mean below is over seeds. Bars, and brackets in tables, are 95 % t intervals over seeds, cut
# where a measure ends; thin lines are single seeds. Sparsity is the share of prunable weights that
# are zero.
#
# ## What was pruned
#
# Each level keeps an exact number of weights. A global threshold need not treat the modalities
# alike, so what is left of each is shown. A modality has collapsed when less than 1 % of its
# prunable weights is left.

# %% tags=["hide-input"]
MODALITIES = {
    "left_language": Look("language", draw.BLUE),
    "left_vision": Look("vision", draw.VERMILLION, "s", "--"),
    "left_fusion": Look("fusion", draw.GREEN, "^", "-."),
}
for r, name in each(readings, say):
    kept = tidy.left_by_modality(r.levels)
    left = [column for column in MODALITIES if column in kept]
    main = tidy.main_branch(at_stage(kept, r.stage))
    density = draw.ladder(
        tidy.with_seeds(main, ["level"], left),
        MODALITIES,
        label="share left, %",
        lines={"collapse: below 1 %": 0.01},
    )
    # Linear below 1 %, so that nothing left at all has a place too.
    axes = density.figure.axes[0]
    axes.set_yscale("symlog", linthresh=1, linscale=0.5)
    axes.set(ylim=(0, 130))
    axes.set_yticks([0, 1, 3, 10, 30, 100], labels=["0", "1", "3", "10", "30", "100"])
    show(
        density,
        name("density"),
        f"Share of each modality's prunable weights that is left, {main['run'].nunique()} seeds, "
        f"on a logarithmic scale that is linear below 1 %. {sparsity_note(main)}",
    )

# %% tags=["hide-input"]
KEYS = ["level", "branch", "stage"]
COUNTS = ["zeros", "prunable", "weights", "epochs", "steps", "validation_accuracy", "train_loss"]
for r, name in each(readings, say):
    kept = tidy.left_by_modality(r.levels)
    left = [column for column in MODALITIES if column in kept]
    means = kept.groupby(KEYS)[["sparsity", "sparsity_all", *COUNTS, *left]].mean()
    events = kept.groupby(KEYS)[["collapsed", "last_event"]].agg(
        lambda texts: "; ".join(sorted(set(texts) - {""}))
    )
    data = tidy.in_level_order(means.join(events).reset_index())
    cells = {
        **level_columns(data),
        "stage": data["stage"],
        "zeros": data["zeros"].map("{:,.0f}".format),
        "prunable weights": data["prunable"].map("{:,.0f}".format),
        **{f"left in {column[5:]}, %": data[column].map(sparsity_text) for column in left},
        "collapsed": data["collapsed"].replace("", "none"),
        "last event": data["last_event"],
        "epochs": data["epochs"].map("{:g}".format),
        "validation accuracy, %": data["validation_accuracy"].map(
            exhibits.MEASURES["accuracy"].text
        ),
    }
    show(
        table(pd.DataFrame(cells), data=data),
        name("levels"),
        f"Levels of the ladder: means over {kept['run'].nunique()} seeds.",
    )

# %% [markdown]
# ## How well it answers
#
# Accuracy means little where a rule that looks at no input does as well; the last column of the
# table says at how many seeds the model beats it, by an exact one-sided test over items, p < 0.05.

# %% tags=["hide-input"]
QUALITY = [
    "accuracy", "balanced_accuracy", "precision", "recall", "f1", "informedness", "mcc",
    "positive_share", "tp", "fp", "tn", "fn",
]  # fmt: skip
# Where a decision has more than two classes, none of them is the positive one.
OF_CLASSES = ["accuracy", "balanced_accuracy", "macro_precision", "macro_f1", "mcc"]
for r, name in each(readings, say):
    quality = at_stage(r.quality, r.stage)
    rule, share = quality.iloc[0][["trivial_rule", "trivial_accuracy"]]
    accuracy = draw.ladder(
        tidy.with_seeds(quality, shared.BY_BRANCH, ["accuracy"]),
        draw.BRANCH_LOOKS,
        series="branch",
        lines={f"{rule} (trivial)": share},
    )
    best = f"Best rule that looks at no input: {rule}, {100 * share:.1f} %."
    show(accuracy, name("accuracy"), f"Accuracy: {basis(quality)} {best}")
    beats = at_stage(r.gate, r.stage).groupby(shared.BY_BRANCH)["beats"]
    told = beats.agg(lambda seeds: f"{seeds.sum()} of {len(seeds)}")
    names = OF_CLASSES if quality["tp"].isna().all() else QUALITY
    show(
        shared.measures(quality, names, **{"beats trivial rule": told}),
        name("quality"),
        f"Quality against the labels: {basis(quality)} {best}",
    )

# %% tags=["hide-input"]
for r, name in each(readings, say):
    if ranking.ranks_findings(r):
        ranked = ranking.ranked(r)
        undefined = sorted({one for names in ranked["undefined"] for one in names.split(", ")})
        show(
            shared.measures(ranked, ranking.RANKING),
            name("ranking"),
            f"Ranking of items by each of {ranked['findings'].max()} findings: {basis(ranked)} A "
            "model that knows nothing has an AUC of 50 % and a mean average precision of "
            f"{100 * ranked['chance'].mean():.1f} %. Left out, since no test items differ in it: "
            f"{', '.join(filter(None, undefined)) or 'none'}.",
        )
    if credit.has_credit(r):
        show(credit.credit_table(r), name("credit"))
        show(credit.credit_table(r, by="question_type"), name("credit-by-question"))

# %% [markdown]
# ## Whether it keeps its answers
#
# Fidelity is the share of decisions on which a level answers as its dense model does. Two lines
# help to read it: a constant answer also agrees with the dense model now and then, and dense models
# of different seeds do not agree fully with each other. Faithful decisions are those on which dense
# and pruned model agree; a, b, c, e and g divide all decisions.

# %% tags=["hide-input"]
FAITHFULNESS = {
    "faithful_accuracy": Look("faithful: both models", draw.BLUE),
    "unfaithful_accuracy_dense": Look("unfaithful: dense", draw.VERMILLION, "s", "--"),
    "unfaithful_accuracy_pruned": Look("unfaithful: pruned", draw.GREEN, "^", "-."),
}
SHARES = {
    "a": Look(exhibits.MEASURES["a"].title, draw.BLUE),
    "b": Look(exhibits.MEASURES["b"].title, draw.VERMILLION, hatch="//"),
    "c": Look(exhibits.MEASURES["c"].title, draw.SKY, hatch="\\\\"),
    "e": Look(exhibits.MEASURES["e"].title, draw.YELLOW, hatch=".."),
    "g": Look(exhibits.MEASURES["g"].title, draw.PURPLE, hatch="xx"),
}
for r, name in each(pruned(readings), say):
    agreements = at_stage(r.agreements, r.stage)
    main = tidy.main_branch(agreements)
    show(shared.fidelity(r), name("fidelity"), f"Fidelity to the dense model: {basis(agreements)}")
    show(
        draw.stacked(
            tidy.with_seeds(tidy.with_dense_cells(main), ["level"], measures.CELLS),
            SHARES,
            "share of decisions, %",
        ),
        name("cells"),
        f"What becomes of the dense model's decisions, mean shares: {basis(main)} Dense itself, at "
        "0, is right (a) or wrong (e); a cell that is empty everywhere is not shown.",
    )
    show(
        draw.ladder(
            tidy.with_seeds(main, ["level"], list(FAITHFULNESS)), FAITHFULNESS, label="accuracy, %"
        ),
        name("faithfulness"),
        f"Accuracy on faithful decisions and on the others: {basis(main)} A line stops where no "
        "such decision is left.",
    )

# %% tags=["hide-input"]
AGREEMENT = [
    "fidelity", "kappa", "faithful_accuracy", "unfaithful_accuracy_dense",
    "unfaithful_accuracy_pruned", "confidence", "unnecessary_churn", *measures.CELLS,
]  # fmt: skip
for r, name in each(pruned(readings), say):
    agreements = at_stage(r.agreements, r.stage)
    show(
        shared.measures(agreements, AGREEMENT),
        name("agreement"),
        f"Agreement with the dense model: {basis(agreements)} Cells a, b, c, e and g are shares of "
        "all decisions.",
    )

# %% [markdown]
# ## Level against level
#
# How alike are any two levels? Below, the same question across seeds, where start of the head and
# order of the data differ as well; its diagonal is what training alone changes. With one seed there
# is no second panel.

# %% tags=["hide-input"]
for r, name in each(pruned(readings), say):
    same = r.matrix["run_a"] == r.matrix["run_b"]
    pairs = r.matrix.assign(pairs=same.map({True: "same seed", False: "different seeds"}))
    squares = {
        kind: pairs[pairs["pairs"] == kind].pivot_table("fidelity", "level_a", "level_b")
        for kind in ("same seed", "different seeds")
        if (pairs["pairs"] == kind).any()
    }
    sparsity = r.levels.groupby("level")["sparsity"].mean()
    show(
        draw.heat(squares, pairs, sparsity, "equal answers, %"),
        name("matrix"),
        f"Share of test decisions that two levels answer alike, {pairs['run_a'].nunique()} seeds: "
        f"means over seeds, and over all pairs of two seeds. {sparsity_note(r.levels)}",
    )
