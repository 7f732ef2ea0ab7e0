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
# # A grid of machines
#
# One study, spread over the cores of a machine, its GPUs, or a cluster under SLURM. One command
# does it, and the same command goes on with what is left:
#
# ```sh
# pip install -e '.[grid]'                        # Snakemake (`make install` has brought it)
# lth grid study.toml --dry-run                   # what would run, how long, how many bytes
# lth grid study.toml --store /shared/records     # run it here, a job per core or GPU
# lth grid study.toml --store /shared/records --profile slurm --gpus 8
# lth grid --preset full --store /shared/records --book
# ```
#
# The third asks SLURM for eight GPUs at once, one a job. A preset can stand in for a study file,
# and then `--book` builds this book from the records when all is done: its chapters show presets.
# Runs of a study file are read with the notebooks (parameter `store`) or any reader of Parquet.

# %% tags=["parameters", "hide-input"]
results: str = "benchmarks/results"  # folder with what `tests/slurm/prove.py` wrote
stores: list = ["records/shipped", "records/reference"]  # whose runs tell what a run costs

# %% tags=["hide-input"]
from pathlib import Path

import lthlib
from lthlib.packs import store_at
from lthlib.report import benchmarks, grid
from lthlib.report.show import say, show
from lthlib.study import check_parameters

check_parameters(globals(), ["results", "stores"])
opened = {store: store_at(store) for store in stores}
costs = grid.recorded_costs(opened)
found = grid.read_outcome(Path(results) / "slurm.json")

# %% [markdown]
# ## A study file
#
# A study file is TOML, YAML or JSON. Its keys are settings of a study (the chapter on parameters
# lists them), a list of values stands for one study each, and lists multiply: models x tasks x
# ladders x seeds.
#
# ```toml
# model = ["visualbert", "lxmert", "uniter"]
# ladder = [[0.5, 0.8, 0.9], "secondary"]    # two ladders: a list, and one that has a name
# seeds = "0-9"                              # ten runs of each
#
# [[cells]]                                  # cells share what stands above, and add to it
# task = "digits"
#
# [[cells]]
# task = "digit-reports"
# epochs = [4, 12]
# ```
#
# That is 3 models x 2 ladders x (1 + 2) studies at ten seeds each. Settings that are lists by
# themselves (a ladder of sparsities, branches) stand for several where they are lists of lists. A
# name or a value that will not do is refused in one line before anything is started.
#
# ## Jobs
#
# One job is one run, a study at one seed. Its rounds follow each other inside the job; seeds and
# studies spread over what there is. Where jobs have a wall-time limit, `--rounds N` cuts a run into
# a chain of jobs of at most N levels each.
#
# - **Nothing is computed twice.** The store says what is done; a job asks it first. A run is
#   claimed by a lock of the store while it is written. A job that finds its run claimed waits,
#   before it takes a GPU, and then finds the run finished. So a seed more runs only what is new,
#   and several controllers may work on one store.
# - **Nothing finished is lost.** A level is sealed when it is done. A job that is killed, runs out
#   of time or loses its machine is tried again (`retries` of the profile) and goes on with the
#   level at which it was. So does the next call, when the controller itself was killed: what it had
#   running is either cancelled with it or goes on to its end.
# - **A run of other code or weights is refused**, finished or only begun, in one line and before
#   anything is started. What cannot be told without making the task (other data, another torch) is
#   refused by the job.
# - **What failed** is said at the end in one line: the run, its last words, and where its log is.
#   The other runs go on meanwhile. An error that would come again is not tried again.
#
# Each controller keeps its logs in a folder of its own below the store (`grid/`, or where `--work`
# says), a line of JSON for each thing that a job did. The folder goes when all went well, unless
# `--keep` is given, and nothing in it is needed to go on.
#
# ## GPUs
#
# Under SLURM a job asks for `--gres` (default `gpu:1`), and SLURM sets CUDA_VISIBLE_DEVICES. On one
# machine Snakemake only counts GPUs; there a job takes a file lock that stands for one device, in
# one folder for the whole machine (`lthlib-devices` in `/tmp`, or where LTHLIB_DEVICES says). The
# system frees a lock when its holder dies, and controllers of different users and studies keep
# apart, as long as all of them name a device alike: by its number, or by its UUID in
# CUDA_VISIBLE_DEVICES.
# Without GPUs there is a job per core.

# %% [markdown]
# ## On your own cluster
#
# 1. Install `lthlib[grid]` into an environment that all nodes see at the same path, and put data
#    (LTHLIB_DATA) and the store on a file system that they share.
# 2. Copy the profile below, edit what is marked EDIT, and name the copy: `--profile my-cluster`.
# 3. `lth grid study.toml --store ... --profile my-cluster --dry-run`, then without `--dry-run`, in
#    `tmux` or `screen` on a login node: the controller has to live as long as the study, and needs
#    next to no processor time.

# %% tags=["hide-input"]
profile = Path(lthlib.__path__[0]) / "workflow" / "grid" / "profiles" / "slurm" / "config.yaml"
say(grid.file_text(profile, "yaml"))

# %% [markdown]
# **Locks on network file systems.** Claims are `flock` locks. They hold across nodes on NFS (whose
# Linux client makes byte-range locks of them), on CephFS, and on Lustre when it is mounted with
# `-o flock`. They do not on Lustre with `-o localflock`, and on NFS with `nolock` or
# `local_lock=flock`; where a mount knows no `flock` at all, the lock becomes a file, which a crash
# leaves behind. Try it, on two nodes:
#
# ```sh
# flock -n /shared/records/try sleep 60 &
# srun --nodes=1 --exclude=$(hostname) flock -n /shared/records/try true && echo "NOT shared"
# ```
#
# Where locks are not shared, run one controller at a time: it starts no second job of a run unless
# SLURM lost sight of the first. Two jobs of one run would mostly waste time, since every file is
# put in its place whole and both compute the same numbers; but two that seal it in the same moment
# could mix their files, which `lth verify` finds.
#
# **Object stores.** At a URL such as `s3://bucket/records` a claim is a small object that only one
# writer can create, if fsspec's driver and the service know such conditional writes (mode `xb`). A
# job frees the claim of its own killed try before it, and of processes of its machine that are no
# more. Between reading a claim and removing it another job can claim the run: two jobs of two
# controllers may then compute the same numbers, which wastes time and harms nothing else. Claims
# of jobs that died elsewhere together with their controller stay: a job waits an hour
# without a level more, and then fails with a line that names the object to delete. Logs go to
# `lth-grid` in the current folder, which the nodes must share.

# %% [markdown]
# ## What it costs
#
# `--dry-run` tells hours and bytes for a study, from recorded runs of the same model, task and
# size (hours also of the same kind of device), by the number of its items. The table tells them
# for many runs like those that come with this project: tiny models, on
# one core each. For base-size models on GPUs, run one seed first: the dry run then knows.

# %% tags=["hide-input"]
show(grid.cost_table(costs, found), "cost-model")

# %% tags=["hide-input"]
packed = [size for store in opened.values() if (size := grid.packed_bytes(store)) is not None]
say(grid.cost_sentence(costs, found, packed[0] if packed else None))
say(grid.while_running(costs))
say(grid.gpu_sentence(benchmarks.read_benchmarks(Path(results))))
if found:
    say(grid.planning_sentence(found))

# %% [markdown]
# Give more jobs than that to several controllers, or to one after another: study files with
# `seeds = "0-99"`, `seeds = "100-199"` and so on. SLURM is asked for the state of all jobs in one
# call, however many there are, and gets new jobs no faster than the profile says.
#
# ## Proven on SLURM
#
# A script starts a real SLURM on one node (Debian's packages, its own key and configuration, two
# files that stand for GPUs), runs a small study over it in many ways, kills jobs and controllers,
# and compares every record with that of a plain run: `python tests/slurm/prove.py`.

# %% tags=["hide-input"]
if found is None:
    say("It has not been run here yet.")
else:
    say(grid.outcome_sentence(found))
    show(grid.outcome_table(found), "proof")
    show(grid.throughput_table(found), "throughput")
