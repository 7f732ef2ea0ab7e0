"""Kill a running study at random moments, resume it, and compare what it leaves byte by byte.

python -m benchmarks.faults                  200 kills (about 25 minutes of one core)
python -m benchmarks.faults --small          10 kills, to check that everything runs
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import math
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from benchmarks.faults import checks
from benchmarks.faults.kinds import KINDS, Kind, Scene, disk_for
from benchmarks.faults.places import SETTINGS, SHAPES, Hit, Place, Whole, place_in, uninterrupted
from benchmarks.faults.warm import Warm, warmed
from lthlib.lab.provenance import describe_environment
from lthlib.records import Files, to_json

RESULTS = Path(__file__).parents[1] / "results"
KILLS, SMALL_KILLS = 200, 10
MOST_KILLS = 5
"""Kills of one study; then it is left in peace until it is finished."""
COMPARISON = (
    "all files of the store, byte by byte, with nothing left out; every process was given one "
    "clock that stands still and one mark in place of the commit"
)


@dataclasses.dataclass
class Tally:
    """What came of one kind: its kills, its studies, its runs, and what was wrong."""

    hits: list[Hit] = dataclasses.field(default_factory=list)
    studies: int = 0
    runs: int = 0
    differing_runs: int = 0
    levels_trained: int = 0
    levels_given_up: int = 0
    seconds: float = 0.0
    findings: checks.Findings = dataclasses.field(default_factory=checks.Findings)

    def count(self, place: Place, hits: list[Hit], findings: checks.Findings) -> None:
        """Add what came of one study."""
        self.hits += hits
        self.studies += 1
        self.runs += len(place.runs())
        self.findings.add(findings)
        # A difference outside of any run, such as in the items, counts against each.
        tops = {path.split("/")[0] for path in findings.differing}
        own = tops & set(place.runs())
        self.differing_runs += len(own) if tops == own else len(place.runs())
        begun, finished = checks.levels(checks.read_journal(place.journal))
        self.levels_trained += finished
        self.levels_given_up += begun - finished

    def plain(self) -> dict[str, Any]:
        return {
            **{k: v for k, v in vars(self).items() if k not in ("hits", "findings")},
            "kills": len(self.hits),
            "resumes": len(self.hits),
            "findings": {k: len(v) for k, v in vars(self.findings).items()},
            "hits": [dataclasses.asdict(hit) for hit in self.hits],
        }


@dataclasses.dataclass
class Campaign:
    """Studies that are killed, one after the other.

    wholes: the uninterrupted run of each shape; work: an empty folder; seed: of all moments.
    """

    wholes: Mapping[str, Whole]
    work: Path
    seed: int

    def strike(self, name: str, kind: Kind, kills: int) -> Tally:
        """Let one kind strike so often."""
        tally, began = Tally(), time.monotonic()
        work = {shape: dict(whole.work) for shape, whole in self.wholes.items()}
        with contextlib.ExitStack() as stack:
            warm = None
            if kind.warm:
                made = warmed(self.work / f"{name}-warm", self.wholes["one"])
                warm, work["one"]["warm"] = stack.enter_context(made)
            while len(tally.hits) < kills:
                self._study(name, kind, kills, tally, work, warm)
        tally.seconds = round(time.monotonic() - began, 1)
        return tally

    def _study(
        self,
        name: str,
        kind: Kind,
        kills: int,
        tally: Tally,
        work: Mapping[str, dict[str, float]],
        warm: Warm | None,
    ) -> None:
        """One study in a folder that stays where something is found."""
        shape = kind.shapes[tally.studies % len(kind.shapes)]
        folder, whole = self.work / f"{name}-{tally.studies}", self.wholes[shape]
        disk = disk_for(kind, self.work / f"{folder.name}-disk", whole)
        try:
            with place_in(folder, shape, disk.folder / "store" if disk else None) as place:
                scene = Scene(place, whole, work[shape], warm, disk)
                most = min(MOST_KILLS, kills - len(tally.hits))
                hits = strike_study(kind, scene, f"{self.seed}/{folder.name}", most)
                if not hits and kind.times:
                    # Nobody disturbed it: the next moments are drawn over what it took now.
                    work[shape][kind.times] = place.work
                tally.count(place, hits, place.check(whole))
        finally:
            if disk:
                disk.close()
        print(f"  {folder.name}: {len(hits)} kills, {len(tally.hits)} in all", flush=True)
        if lines := place.findings.lines():
            print("\n".join(f"  {folder.name}: {line}" for line in lines), flush=True)
        else:
            shutil.rmtree(folder)


def strike_study(kind: Kind, scene: Scene, seed: str, kills: int) -> list[Hit]:
    """Kill and resume one study at most so often, then let it finish."""
    hits: list[Hit] = []
    while len(hits) < kills:
        hit = kind.strike(scene, random.Random(f"{seed}/{len(hits)}"))
        if hit is None:
            break
        hits.append(hit)
    # A study that ended before it was struck has finished by itself: this time it only reads.
    if len(hits) == kills or not scene.place.finished():
        kind.finish(scene)
    return hits


def shares(kills: int, kinds: Mapping[str, Kind]) -> dict[str, int]:
    """Kills of each kind, at least one; together at least as many as were asked for."""
    total = sum(kind.share for kind in kinds.values())
    return {
        name: max(1, math.ceil(kills * kind.share / total - 1e-9)) for name, kind in kinds.items()
    }


def measure(
    kinds: Mapping[str, Kind], kills: int, seed: int, beside: int, small: bool
) -> dict[str, Any]:
    """Everything, in a temporary folder that stays where something was found."""
    began, made = time.monotonic(), datetime.datetime.now(datetime.UTC)
    work = Path(tempfile.mkdtemp(prefix="lth-faults-"))
    wanted = {"one", *(shape for kind in kinds.values() for shape in kind.shapes)}
    wholes = {}
    for shape in sorted(wanted):
        print(f"uninterrupted: {shape}", flush=True)
        ways = [name for name in ("notebook", "grid") if name in kinds and shape == "one"]
        wholes[shape] = uninterrupted(work / f"whole-{shape}", shape, ways)
    counts = shares(kills, kinds)
    print(f"kills: {', '.join(f'{name} {count}' for name, count in counts.items())}", flush=True)
    campaign = Campaign(wholes, work, seed)
    with ThreadPoolExecutor(beside) as pool:
        futures = {n: pool.submit(campaign.strike, n, kinds[n], counts[n]) for n in kinds}
        tallies = {name: future.result() for name, future in futures.items()}
    about = {
        "made": made.isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - began, 1),
        "seed": seed,
        "small": small,
        "study": SETTINGS,
        "shapes": SHAPES,
        "comparison": COMPARISON,
        "uninterrupted_processor_seconds": {
            shape: whole.rounded() for shape, whole in wholes.items()
        },
        "disks": sorted({hit.victim for hit in tallies["disk"].hits} if "disk" in tallies else ()),
        **describe_environment(torch.device("cpu")),
    }
    if any(tally.findings.lines() for tally in tallies.values()):
        print(f"what was found wrong lies in {work}", flush=True)
    else:
        shutil.rmtree(work)
    kinds_found = {n: {"about": kinds[n].about, **t.plain()} for n, t in tallies.items()}
    return {"about": about, "kinds": kinds_found, "totals": totals(tallies)}


def totals(tallies: Mapping[str, Tally]) -> dict[str, int]:
    """Sums over all kinds."""
    all_ = list(tallies.values())
    found = checks.Findings()
    for tally in all_:
        found.add(tally.findings)
    runs, differing = sum(t.runs for t in all_), sum(t.differing_runs for t in all_)
    return {
        "kills": sum(len(t.hits) for t in all_),
        "resumes": sum(len(t.hits) for t in all_),
        "studies": sum(t.studies for t in all_),
        "runs": runs,
        "identical_runs": runs - differing,
        "differing_runs": differing,
        "levels_trained": sum(t.levels_trained for t in all_),
        "levels_given_up": sum(t.levels_given_up for t in all_),
        **{name: len(lines) for name, lines in vars(found).items()},
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.faults", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--kills", type=int, help=f"in all (default: {KILLS})")
    parser.add_argument("--seed", type=int, default=0, help="draws the same moments (default: 0)")
    parser.add_argument("--small", action="store_true", help="few kills, to check that all runs")
    parser.add_argument("--kind", action="append", choices=KINDS, help="only this one")
    parser.add_argument("--beside", type=int, default=1, help="kinds at the same time (1)")
    parser.add_argument("--out", type=Path, default=RESULTS / "faults.json", help="result file")
    options = parser.parse_args()
    kills = options.kills or (SMALL_KILLS if options.small else KILLS)
    kinds = {name: kind for name, kind in KINDS.items() if name in (options.kind or KINDS)}
    found = measure(kinds, kills, options.seed, options.beside, options.small)
    path = options.out.resolve()
    Files(path.parent).write(path.name, to_json(found))
    print(f"written to {path}")
    total = found["totals"]
    wrong = {f.name: total[f.name] for f in dataclasses.fields(checks.Findings) if total[f.name]}
    print(f"{total['kills']} kills, {total['identical_runs']} of {total['runs']} runs identical")
    if wrong:
        print(f"wrong: {wrong}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
