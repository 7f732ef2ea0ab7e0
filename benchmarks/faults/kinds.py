"""Kinds of fault: how each strikes a study once, and how the study is finished afterwards."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks import killing
from benchmarks.faults.places import PATIENCE, Disk, Hit, Place, Whole, outputs
from benchmarks.faults.processes import end_all, in_role, kill, wait_until, work_done
from benchmarks.faults.warm import Warm
from lthlib.records import RecordStore


@dataclass
class Scene:
    """What a strike needs: the study, its uninterrupted run, and what else is there.

    work: processor seconds of what nobody disturbs, as last measured.
    """

    place: Place
    whole: Whole
    work: Mapping[str, float]
    warm: Warm | None = None
    disk: Disk | None = None


Strike = Callable[[Scene, random.Random], Hit | None]
"""Start the study, strike at a random moment; None where it ended before."""


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    share: of all kills; shapes: of its studies, in turn; times: over whose work its
    moments are drawn, if so; warm, disk: whether it needs such.
    """

    about: str
    share: float
    strike: Strike
    finish: Callable[[Scene], None]
    shapes: tuple[str, ...] = ("one",)
    times: str = ""
    warm: bool = False
    disk: bool = False


# -- a worker -------------------------------------------------------------------------------------
def strike_worker(scene: Scene, draw: random.Random) -> Hit | None:
    """Kill one training process; `lth run` must say so in one line, and end."""
    place, share = scene.place, draw.random()
    process = place.start_lth()
    wanted = len(place.runs())

    def ready() -> bool:
        return len(in_role(place.mark, "worker")) == wanted or process.poll() is not None

    wait_until(ready, PATIENCE)
    begun = work_done(place.mark, place.old)
    running = place.watch(process, begun + share * (scene.work["lth"] - begun))
    workers = in_role(place.mark, "worker") if running else []
    victim = draw.choice(workers) if workers else None
    if victim is None or not kill(victim):
        place.expect_end(process)
        return None
    hit = place.hit("worker", "worker", victim)
    status = place.wait(process)
    # A worker may have handed over all its work; then nobody misses it.
    if status != 0 or not place.finished():
        place.expect_one_line(status, "a training process died")
    return hit


# -- the controller -------------------------------------------------------------------------------
def strike_controller(scene: Scene, draw: random.Random) -> Hit | None:
    """Kill `lth run`, now and then with all its processes; the others must end by themselves."""
    place, share, alone = scene.place, draw.random(), draw.random() < 2 / 3
    process = place.start_lth()
    if not place.watch(process, share * scene.work["lth"]):
        place.expect_end(process)
        return None
    workers = [] if alone else in_role(place.mark, "worker")
    kill(process.pid)
    for worker in workers:
        kill(worker)
    hit = place.hit("controller", "controller and workers" if workers else "controller")
    process.wait()
    # The study is resumed at once, beside workers that may still be at it.
    return hit


def finish_lth(scene: Scene) -> None:
    scene.place.expect_end(scene.place.start_lth())


# -- the controller of a grid ---------------------------------------------------------------------
def strike_grid(scene: Scene, draw: random.Random) -> Hit | None:
    """Kill `lth grid`; Snakemake and its jobs must end by themselves."""
    place, share = scene.place, draw.random()
    process = place.start_grid()
    if not place.watch(process, share * scene.work["grid"]):
        place.expect_end(process)
        return None
    kill(process.pid)
    hit = place.hit("grid", "controller")
    process.wait()
    return hit


def finish_grid(scene: Scene) -> None:
    scene.place.expect_end(scene.place.start_grid())


# -- a notebook -----------------------------------------------------------------------------------
def strike_notebook(scene: Scene, draw: random.Random) -> Hit | None:
    """Kill the kernel, papermill, or both, while the notebook `prune` is executed."""
    place, share = scene.place, draw.random()
    victim = draw.choice(("kernel", "papermill", "kernel and papermill"))
    process = place.start_notebook()
    if not place.watch(process, share * scene.work["notebook"]):
        place.expect_end(process)
        return None
    kernels = in_role(place.mark, "kernel")
    if not kernels:
        victim = "papermill"
    if victim != "kernel":
        kill(process.pid)
    if victim != "papermill":
        for kernel in kernels:
            kill(kernel)
    hit = place.hit("notebook", victim)
    status = place.wait(process)  # papermill must notice a dead kernel
    if victim == "kernel" and status == 0 and not place.finished():
        place.findings.unclear_ends.append("papermill ended well although its kernel had died")
    return hit


def finish_notebook(scene: Scene) -> None:
    place = scene.place
    place.expect_end(place.start_notebook())
    if not place.findings.unclear_ends and outputs(place) != scene.whole.shown:
        place.findings.differing.append("what the notebook shows")


# -- the process that trains, without its start-up -------------------------------------------------
def strike_training(scene: Scene, draw: random.Random) -> Hit | None:
    """Kill the process that trains and writes, at any moment after all is imported."""
    place = scene.place
    assert scene.warm is not None
    status = scene.warm.run(place, {"after": draw.random() * scene.work["warm"]})
    if status == -9:
        return place.hit("training", "worker")
    if status:
        place.findings.unclear_ends.append(f"status {status}")
    return None


# -- in the middle of a write ---------------------------------------------------------------------
def strike_write(scene: Scene, draw: random.Random) -> Hit | None:
    """Die in one of the writes that are left, or while the parts are removed at the end."""
    place, store = scene.place, RecordStore(scene.place.store)
    assert scene.warm is not None
    left = len(scene.whole.sizes) - _written(place, store)
    number, moment = draw.randint(1, max(1, left) + 1), draw.choice(killing.MOMENTS)
    fault: dict[str, object]
    if number > left:
        fault = {"remove": draw.randrange(len(scene.whole.sizes) // 2)}
    else:
        fault = {"write": number, "moment": moment}
    victim = f"in a write, {moment}" if number <= left else "while removing"
    status = scene.warm.run(place, fault)
    if status == -9:
        return place.hit("write", victim)
    if status:
        place.findings.unclear_ends.append(f"status {status}")
    return None


def _written(place: Place, store: RecordStore) -> int:
    """Files that need not be written again."""
    items = [f"items/{key}" for key in store.files.names("items")]
    levels = [
        f"{run}/parts/level-{level:03d}"
        for run in place.runs()
        for level in range(store.levels_done(run))
    ]
    begun = sum(store.files.exists(f"{run}/parts/identity.json") for run in place.runs())
    sealed = [f for f in items + levels if store.files.exists(f"{f}/manifest.json")]
    visible = [n for f in sealed for n in store.files.names(f) if not n.startswith(".")]
    return begun + len(visible)


def finish_warm(scene: Scene) -> None:
    assert scene.warm is not None
    if status := scene.warm.run(scene.place, {}):
        scene.place.findings.unclear_ends.append(f"resumed: status {status}")


# -- a full disk ----------------------------------------------------------------------------------
def strike_disk(scene: Scene, draw: random.Random) -> Hit | None:
    """Leave too little room; `lth run` must say so in one line and leave no half-written file."""
    place, disk, share = scene.place, scene.disk, draw.random()
    assert disk is not None
    environment = {}
    if disk.real:
        used = sum(path.stat().st_size for path in place.store.rglob("*") if path.is_file())
        disk.leave(int(share * max(0, scene.whole.needed() - used)))
    else:
        environment["LTH_FAULTS_FULL"] = str(1 + int(share * len(scene.whole.sizes)))
    process = place.start_lth(environment)
    status = place.wait(process)
    if status == 0:
        return None
    hit = place.hit("disk", "tmpfs" if disk.real else "injected")
    place.expect_one_line(status, "No space left on device")
    place.findings.left_running += end_all(place.mark)
    half = [p for p in place.store.rglob(".*") if p.is_file()]
    place.findings.stray += [f"on a full disk: {path.name}" for path in half]
    return hit


def finish_disk(scene: Scene) -> None:
    """Room again, and the same command."""
    assert scene.disk is not None
    scene.disk.ballast.unlink(missing_ok=True)
    finish_lth(scene)


MIXED = ("one", "two", "one", "one")
KINDS: dict[str, Kind] = {
    "worker": Kind(
        "a worker of `lth run` is killed", 0.12, strike_worker, finish_lth, MIXED, "lth"
    ),
    "controller": Kind(
        "`lth run` itself is killed", 0.12, strike_controller, finish_lth, MIXED, "lth"
    ),
    "notebook": Kind(
        "the notebook `prune` is killed under papermill",
        0.06,
        strike_notebook,
        finish_notebook,
        times="notebook",
    ),
    "training": Kind(
        "the process that trains is killed, once it has started",
        0.28,
        strike_training,
        finish_warm,
        times="warm",
        warm=True,
    ),
    "write": Kind(
        "the process that trains dies in a write", 0.3, strike_write, finish_warm, warm=True
    ),
    "disk": Kind("the disk is full", 0.08, strike_disk, finish_disk, disk=True),
    "grid": Kind(
        "`lth grid` is killed, the controller of a grid",
        0.04,
        strike_grid,
        finish_grid,
        times="grid",
    ),
    # A further kind is one more entry: how it strikes, and how its study is finished.
}
"""Every kind by name; the shares add up to 1."""


def disk_for(kind: Kind, folder: Path, whole: Whole) -> Disk | None:
    """A disk with room for the whole study and a little more, for kinds that need one."""
    return Disk(folder, 2 * whole.needed()) if kind.disk else None
