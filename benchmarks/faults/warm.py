"""Runs of studies in processes that are forked from one that has imported everything already.

Importing takes longer than a tiny study. Where the fault lies in the run itself, and not in how
processes are started, many faults fit into the time this way.

python -m benchmarks.faults.warm reads one job a line (JSON) and answers with the exit status and
the processor seconds of its work.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from benchmarks import killing
from benchmarks.faults.checks import differences
from benchmarks.faults.places import ROOT, Place, Whole, place_in, refuse
from benchmarks.faults.processes import MARK, POLL_SECONDS, work_of


class Warm:
    """The process that forks; one job at a time."""

    def __init__(self, place: Place) -> None:
        command = [sys.executable, "-m", "benchmarks.faults.warm"]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=place.environment(), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def run(self, place: Place, fault: Mapping[str, Any]) -> int:
        """The runs of a place one after the other, with one fault; the exit status.

        fault: {} for none, {"after": processor seconds}, {"write": n, "moment": one of
            killing.MOMENTS}, or {"remove": n}.
        """
        place.begin_attempt()
        names = ("LTH_FAULTS_JOURNAL", "LTHLIB_CACHE", MARK)
        environment = {name: place.environment()[name] for name in names}
        job = {"store": str(place.store), "environment": environment, "fault": dict(fault)}
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps({**job, "settings": place.settings}) + "\n")
        self.process.stdin.flush()
        status, work = self.process.stdout.readline().split()
        place.work = float(work)
        return int(status)

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


@contextlib.contextmanager
def warmed(work: Path, whole: Whole) -> Iterator[tuple[Warm, float]]:
    """A process to fork from, and the processor seconds of one of its runs.

    Raises RuntimeError where that run does not equal `whole`.
    """
    with place_in(work / "first", "one") as place, place_in(work / "timed", "one") as timed:
        warm = Warm(place)
        try:
            warm.run(place, {})  # the first is slower
            warm.run(timed, {})
            timed.findings.differing += differences(timed.store, whole.store)
            refuse(timed.findings)
            yield warm, timed.work
        finally:
            warm.close()


def _work(job: Mapping[str, Any]) -> None:
    from lthlib.lab import lottery
    from lthlib.records import RecordStore
    from lthlib.study import Study

    os.environ.update(job["environment"])
    fault = job["fault"]
    if "write" in fault:
        killing.die_in_write(fault["write"], fault["moment"])
    if "remove" in fault:
        killing.die_in_removal(fault["remove"])
    study = Study.build(job["settings"])
    for seed in study.seeds:
        lottery.run(study, seed, RecordStore(job["store"]))


def _fork(job: Mapping[str, Any]) -> tuple[int, float]:
    """Do a job in a process of its own; its exit status, and its work in processor seconds."""
    if child := os.fork():
        ended = False
        while "after" in job["fault"] and not ended and work_of(child) < job["fault"]["after"]:
            time.sleep(POLL_SECONDS)
            ended = os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        if "after" in job["fault"] and not ended:
            os.kill(child, signal.SIGKILL)
        _, status, usage = os.wait4(child, 0)
        return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime
    try:
        _work(job)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def main() -> None:
    import lthlib.lab.lottery  # noqa: F401  (so that no forked process has to)

    for line in sys.stdin:
        print(*_fork(cast(Mapping[str, Any], json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
