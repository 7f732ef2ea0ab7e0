"""The command `lth`: what `make` and a shell call."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from lthlib.errors import LthError, RecordError, reason
from lthlib.packs import PackedStore, named_store, other_packs, pack, reference_store
from lthlib.records import Files, RecordStore, open_store, project_root, shipped_store
from lthlib.study import DEFAULT_PRESET, MODELS, PRESETS, Study, plan
from lthlib.workflow import data, estimate, grid, own
from lthlib.workflow.local import Job, default_workers, device, missing, run, runs_to_do


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; errors of this library become one line and exit status 1."""
    try:
        with _flushed():
            options = _parser().parse_args(arguments)
            command: Callable[[argparse.Namespace], int] = options.command
            return command(options)
    except LthError as error:
        print(f"lth: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lth: stopped; what was finished is kept, run again to go on", file=sys.stderr)
        return 130
    except OSError as error:
        _drop_output()
        if isinstance(error, BrokenPipeError):  # the reader has enough, as `| head` does
            return 128 + signal.SIGPIPE
        print(f"lth: {error.filename or 'what it prints'}: {reason(error)}", file=sys.stderr)
        return 1


@contextlib.contextmanager
def _flushed() -> Iterator[None]:
    """A pipe that was closed shows when a command ends, and not when Python does."""
    try:
        yield
    finally:
        if sys.stdout is not None:
            sys.stdout.flush()


def _drop_output() -> None:
    """What is still to be written cannot be: let the interpreter not try it again."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lth", description="Lottery tickets in vision-language models: run, verify, report."
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    def add(
        name: str, command: Callable[[argparse.Namespace], int], about: str
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=about, description=about)
        sub.set_defaults(command=command)
        return sub

    def add_preset(sub: argparse.ArgumentParser) -> None:
        # No choices here: plan() refuses unknown names and offers the nearest.
        sub.add_argument("--preset", default=DEFAULT_PRESET, help=", ".join(PRESETS))
        sub.add_argument("--store", help="folder or URL of records (default: records/local)")

    for name, command, about in (
        ("report", _report, "run what is missing of a preset, then build the book"),
        ("run", _run, "run what is missing of a preset"),
        ("plan", _plan, "list the runs of a preset and what is left to do"),
    ):
        sub = add(name, command, about)
        add_preset(sub)
        if command is not _plan:
            sub.add_argument("--workers", type=int, help="processes at once (default: one a core)")
    add_preset(add("book", _book, "build the book from the records that are there"))
    verify = add("verify", _verify, "check every file of every run against its checksum")
    verify.add_argument("store", nargs="?", help="folder or URL (default: local and shipped)")
    ship = add("ship", _ship, "copy the finished runs of a preset into records/shipped")
    add_preset(ship)
    packing = add("pack", _pack, "pack the finished runs of a preset, small enough to ship")
    add_preset(packing)
    packing.add_argument("--to", help="folder or URL of the packs (default: records/reference)")
    pretrain = add("pretrain", _pretrain, "make the shipped starts again, one notebook a model")
    pretrain.add_argument("--model", action="append", choices=MODELS, help="only this one")
    audit = add("audit", _audit, "check whether the numbers of a table can be, row by row")
    audit.epilog = (
        "Columns: accuracy_dense, accuracy (of the pruned model), fidelity, faithful_accuracy, "
        "kappa, recall, ... (the book's page on the audit has all); others name the row. "
        "Exit status: 0 nothing is impossible, 1 something is, 2 no readable table."
    )
    audit.add_argument("table", help="CSV file with a header, and numbers as they were printed")
    audit.add_argument("--items", type=int, help="how many decisions each accuracy is over")
    audit.add_argument("--positives", type=int, help="how many of them are true")
    audit.add_argument("--runs", type=int, help="how many runs each number is a mean over")
    audit.add_argument("--classes", type=int, help="how many answers there are")
    audit.add_argument(
        "--average",
        help="what precision, recall and F1 are: binary (of True answers), or classes (macro, "
        "weighted)",
    )
    audit.add_argument(
        "--test-set", help="same: every run answers the same items; folds: they share them out"
    )
    audit.add_argument("--percent", action="store_true", help="shares are printed in %%")
    data.add_commands(add)
    own.add_command(add)
    grid.add_command(add)
    return parser


def _run(options: argparse.Namespace) -> int:
    studies, store = plan(options.preset), open_store(options.store)
    if jobs := missing(studies, store):
        workers = min(len(jobs), options.workers or default_workers())
        todo = len(runs_to_do(jobs, store))
        print(f"{todo} runs to do: {_how_long(jobs, workers)}; to stop and go on is safe")
    run(studies, store, workers=options.workers)
    return 0


def _how_long(jobs: Sequence[Job], workers: int) -> str:
    measured, on = estimate.paces([reference_store(), shipped_store()]), device()
    return estimate.in_words(estimate.seconds_of(jobs, measured, on), workers, on)


def _report(options: argparse.Namespace) -> int:
    _run(options)
    return _book(options)


def _book(options: argparse.Namespace) -> int:
    """`jupyter-book build book`, strict, with this interpreter."""
    plan(options.preset)  # an unknown preset is refused before anything is built
    root = project_root()
    environment = {**os.environ, "LTHLIB_PRESET": options.preset}
    if options.store:
        named_store(options.store)
        # The book is built from the project's folder, and a path is given from the current one.
        url = "://" in options.store
        environment["LTHLIB_STORE"] = options.store if url else str(Path(options.store).resolve())
    program = str(Path(sys.executable).with_name("jupyter-book"))
    command = [program, "build", "-W", "--keep-going", "book"]
    status = subprocess.run(command, cwd=root, env=environment, check=False).returncode
    index = root / "_build" / "html" / "index.html"
    if status or not index.is_file():
        print("lth: the book was not built; the lines above say why", file=sys.stderr)
        return status or 1
    print(f"The report is at {index.as_uri()}")
    return 0


def _plan(options: argparse.Namespace) -> int:
    store, studies = open_store(options.store), plan(options.preset)
    jobs = missing(studies, store)
    left = set(runs_to_do(jobs, store))
    for study in studies:
        todo = sum(name in left for name in study.run_ids())
        levels = ", ".join(f"{100 * rung.sparsity:.4g}" for rung in study.rungs())
        print(
            f"{study.name}: {len(study.seeds)} runs ({todo} to do), each {study.trainings()} "
            f"trainings of {study.epochs} epochs; sparsity {levels} %"
        )
    if jobs:
        print(f"{len(left)} runs to do: {_how_long(jobs, default_workers())}")
    for other in (reference_store(), *other_packs(), shipped_store()):
        held = sum(map(other.has, left))
        if held and other.files.url != store.files.url:
            print(
                f"{held} of these are recorded in {other.files.url} already: the book reads "
                f"them there, and `lth run` would make them again in {store.files.url}"
            )
    if lack := data.lacking(job.study for job in jobs):
        print(f"before they can run: {lack}")
    return 0


def _verify(options: argparse.Namespace) -> int:
    usual = [open_store(), shipped_store(), reference_store(), *other_packs()]
    any_damaged = False
    for store in [named_store(options.store)] if options.store else usual:
        runs = store.runs()
        if options.store and not runs:
            raise RecordError(f"{options.store} holds no finished run: nothing was checked")
        # Runs of one pack share their files, and so their fault.
        for fault in dict.fromkeys(map(str, store.damaged(runs).values())):
            any_damaged = True
            print(f"lth: {fault}", file=sys.stderr)
        print(f"{store.files.url}: {len(runs)} finished runs checked")
    return 1 if any_damaged else 0


def _ship(options: argparse.Namespace) -> int:
    """Copy verified runs, and the items they tested, as they are; draw the README's figure."""
    source, target = open_store(options.store), shipped_store()
    names = [name for study in plan(options.preset) for name in study.run_ids()]
    for name in names:
        source.copy(name, target)
    print(f"{len(names)} runs copied to {target.files.url}")
    for path in _draw(plan(options.preset, task="digits"), target):
        print(f"written: {path}")
    return 0


def _pack(options: argparse.Namespace) -> int:
    """Pack what is finished, study by study; seeds that are packed there already stay."""
    source = named_store(options.store) if options.store else open_store()
    target = Files(options.to or project_root() / "records" / "reference")
    studies = plan(options.preset)
    held = [[name for name in study.run_ids() if source.has(name)] for study in studies]
    if not any(held):
        raise RecordError(
            f"no run of the preset {options.preset} is finished in {source.files.url}: nothing to "
            f"pack; `lth run --preset {options.preset}` makes them"
        )
    for study, runs in zip(studies, held, strict=True):
        if runs:
            pack(runs, source, target)
            print(f"{study.name}: {len(runs)} of {len(study.seeds)} runs packed")
    packed = PackedStore(target.url)
    print(f"{target.url} holds {len(packed.runs())} runs of {len(packed.packed())} studies")
    return 0


def _draw(studies: Sequence[Study], store: RecordStore) -> list[Path]:
    """The README's figure, and the numbers behind it."""
    from lthlib.report.reading import joined, read
    from lthlib.report.shared import accuracy_and_fidelity

    readings = [read(study, store) for study in studies]
    drawn = accuracy_and_fidelity(joined(readings, "quality"), joined(readings, "agreements"))
    return drawn.save(project_root() / "docs", "accuracy-and-fidelity")


def _pretrain(options: argparse.Namespace) -> int:
    root = project_root()
    (root / "runs").mkdir(exist_ok=True)
    for model in options.model or MODELS:
        notebook = Path("notebooks") / "pretrain.ipynb"
        output = Path("runs") / f"pretrain-{model}.ipynb"
        command = ["papermill", str(notebook), str(output), "-p", "model", model]
        done = subprocess.run(
            [sys.executable, "-m", *command], cwd=root, stdin=subprocess.DEVNULL, check=False
        )
        if done.returncode:
            return done.returncode
    return 0


def _audit(options: argparse.Namespace) -> int:
    from lthlib.report.audit.command import run as audit

    return audit(options)


if __name__ == "__main__":
    sys.exit(main())
