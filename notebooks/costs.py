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
# # What it costs
#
# How fast this library trains and prunes, beside the ways in which others do, and what keeping a
# mask and writing records cost. Each ratio compares two ways within one run on one machine
# (`make bench`): ratios travel better between machines than seconds. What a pruned model saves once
# it is found is the chapter "What does a ticket cost, what does it save".

# %% tags=["parameters", "hide-input"]
results: str = "benchmarks/results"  # folder with the results of `python -m benchmarks`

# %% tags=["hide-cell"]
from pathlib import Path

from lthlib.report import benchmarks
from lthlib.report.exhibits import model_name
from lthlib.report.show import say, show, table
from lthlib.study import check_parameters

check_parameters(globals(), ["results"])
found = benchmarks.read_benchmarks(Path(results))


def measured(part):
    """Each device on which a part was measured, its results, and a line on when and how."""
    if not any(part in each for each in found.values()):
        say(f"Not measured yet: `python -m benchmarks --only {part}` does it.")
    for device, each in found.items():
        if part in each:
            yield device, each, benchmarks.about(each, part)


# %% tags=["hide-input"]
for device, words in {"cpu": "on a processor", "cuda": "on a GPU"}.items():
    if device not in found:
        say(
            f"Nothing has been measured {words} yet: `make bench` on such a machine does it, and "
            "the tables below then get its figures."
        )

# %% [markdown]
# Ratios are of seconds, ours over theirs: below 1 the first is faster. The one of medians, in
# brackets the lowest and highest of all turns; the ways took turns within one run. The peers:
# *Lightning* is pytorch-lightning's loop with its pruning callback, the main source's way; the
# *plain loop* is a DataLoader and torch.nn.utils.prune, the VSR authors' way; *Trainer* is Hugging
# Face's. All have the same model, items, batch size and precision.
#
# ## Training
#
# An epoch of dense training: tiny models on digits, base-size ones on made-up items of VSR's size
# (36 regions of 2,048 numbers, captions padded to 30, about as VSR's authors pad them). First stand
# the kernels that the presets use there; the peers compute with the models' own, which are the
# plain ones, so that plain rows tell the loop alone. Fused ones also cut padding, which a peer's
# user could do as well.

# %% tags=["hide-input"]
for device, each, when in measured("steps"):
    kinds = {m["precision"] for models in each["steps"].values() for m in models.values()}
    peak = ", ".join(f"{p / 1e12:.3g} TFLOP/s in {kind}" for kind, p in each["peak"].items())
    show(
        table(benchmarks.steps(each)),
        f"steps-{device}",
        f"An epoch of dense training in {', '.join(sorted(kinds))}. Share of the peak: operations "
        "of matrix products, forwards and backwards, a second, over the most that a square matrix "
        f"product reached in the same run ({peak}). {when}",
    )
    show(
        table(benchmarks.kernels(each)),
        f"kernels-{device}",
        "The same epochs by this library's other kernels, against its plain ones: fused (attention "
        "in one kernel, batches cut to their longest item) and, on a GPU, compiled besides "
        f"(torch.compile). {when}",
    )

# %% [markdown]
# ## The main source's study
#
# What its fine-tunings of base-size models on VSR come to at this speed. The source gives 3.5 hours
# for one run of one model.

# %% tags=["hide-input"]
for device, each, when in measured("vsr"):
    part = each["vsr"]
    counted = max(model["items"] for model in part["models"].values())
    whole = all(model["whole"] for model in part["models"].values())
    more = (
        "Steps alone: answering the validation items after each epoch, and all held-out items at "
        f"the end, is {part['evaluation_share']:.0%} more by operations. "
        if "evaluation_share" in part
        else ""
    )
    show(
        table(benchmarks.study(each)),
        f"study-{device}",
        "A base-size fine-tuning on items of VSR's number and size, an epoch "
        f"{'measured whole' if whole else f'reckoned from {counted} items'}. At the mean of these, "
        f"the {part['fine_tunings']} fine-tunings of the main source's study of VSR take "
        f"{part['study_seconds'] / 3600:,.1f} hours on this machine. {more}{when}",
    )

# %% [markdown]
# ## A whole ladder
#
# Training and pruning, as the main source ran it: a tiny ladder of the protocol as_published, three
# rounds of training and pruning for each of two amounts. First on one core, then on the whole
# machine: this library runs a process of one thread on each core, as `lth run` does; one process of
# ours, and of each peer, as it is used, has as many threads as there are cores. Against a peer in
# processes: laid out as ours, which its users would have to do themselves; that ratio tells what
# the loop alone does.

# %% tags=["hide-input"]
for device, each, when in measured("ladder"):
    show(table(benchmarks.ladder(each)), f"ladder-{device}", f"A ladder with one thread. {when}")
for device, each, when in measured("cores"):
    show(
        table(benchmarks.cores(each)),
        f"cores-{device}",
        f"The same ladders on all {each['cores']['cores']} cores. Seconds are those of the machine "
        f"for each ladder. {when}",
    )

# %% [markdown]
# ## Several models at once
#
# Tiny models leave a machine waiting between small products. Seeds of one study can be stacked and
# trained as one (the setting `together`); results are equal up to rounding.

# %% tags=["hide-input"]
for device, each, when in measured("together"):
    show(
        table(benchmarks.together(each)),
        f"together-{device}",
        f"An epoch of several tiny models trained at once, against one after another. {when}",
    )

# %% [markdown]
# ## Keeping a mask

# %% tags=["hide-input"]
for device, each, when in measured("masks"):
    show(
        table(benchmarks.masks(each)),
        f"masks-{device}",
        "A training step with half of the prunable weights masked, against a dense one. Of the "
        f"ratio the table gives the one of medians and the one of minima. {when}",
    )

# %% [markdown]
# ## Pruning exactly
#
# Both ways prune the same share of all weights at once. This library keeps an exact number of them,
# ties included.

# %% tags=["hide-input"]
for device, each, when in measured("pruning"):
    show(
        table(benchmarks.pruning(each)),
        f"pruning-{device}",
        "Global magnitude pruning to half, this library against "
        "torch.nn.utils.prune.global_unstructured; at the larger size a processor runs the library "
        "alone, since torch's way needs several times as much memory and minutes. Extra memory: "
        f"above the weights, scores and masks included. {when}",
    )

# %% [markdown]
# ## Writing records, and reading many
#
# Check: every file against its SHA-256, as `lth verify` does. Read and measure: quality,
# agreements, the gate, fidelity between all records of a study, and its floor. Judge: every test of
# the verdicts. Each line is a fresh process, nothing is kept from one to the next, and the files
# lie in the page cache; memory is that of all its processes beside the page cache.

# %% tags=["hide-input"]
for device, each, when in measured("writing"):
    part = each["writing"]
    show(
        table(benchmarks.writing(each)),
        f"writing-{device}",
        f"Records of one run of {model_name(part['model'])} as in the preset quick: "
        f"{part['levels']} levels, {part['trainings']} trainings of {part['epochs']} epochs, "
        f"{part['bytes'] / 1e6:.2f} MB. Seconds from a finished level to its seal on the disk, the "
        f"wait for the disk included, beside {part['seconds']['training and evaluation']:,.1f} s "
        f"of training and evaluation. {when}",
    )
for device, each, when in measured("report"):
    part, form = each["report"], each["report"]["form"]
    slopes = {kind: part[f"growth of {kind}"]["seconds"] for kind in ("runs", "packs")}
    show(
        table(benchmarks.report(each)),
        f"report-{device}",
        f"Runs made up after those of the preset quick: studies of {form['seeds']} seeds, each run "
        f"with {form['levels']} levels, {form['records']} records of {form['items']:,} test items "
        f"and {form['bytes'] / 1e6:.2f} MB. Seconds grow with the number of runs to the power "
        f"{slopes['runs']:.2f} (packs: {slopes['packs']:.2f}; slope in logarithms, 1 is linear). "
        f"{when}",
    )

# %% [markdown]
# ## Reading at full size
#
# Published questions and region features do not fit into memory. Questions are read as a stream
# and kept in a compact form; regions stay on disk until a batch asks for them. First reading: from
# the archives; next reading: from what was kept of them. The store is a sparse file that reads as
# zeros, so that this tells memory, not the speed of a disk.

# %% tags=["hide-input"]
for device, each, when in measured("streaming"):
    part, ratio = each["streaming"]["streaming"], each["streaming"]["table"]["ratio"]
    show(
        table(benchmarks.streaming(each)),
        f"streaming-{device}",
        f"{part['questions']:,} questions with the regions of {part['images']:,} images, made up "
        f"at VQA v2's size: a store of {part['store_bytes'] / 1e9:.1f} GB. A batch of 64 random "
        f"questions with the worth of {part['answers']:,} answers takes "
        f"{1000 * part['batch_seconds']:.0f} ms (median). The same batches of 256 images take "
        f"{ratio['ratio_of_medians']:.3f} times as long from a store as from LXMERT's table "
        f"(medians; {ratio['ratio_of_minima']:.3f} of minima). {when}",
    )
