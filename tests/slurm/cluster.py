"""A real SLURM cluster of one node, for as long as a test needs it.

    python tests/slurm/cluster.py COMMAND ...     runs a command on it, then takes it down

Debian's `slurm-wlm` and `munge` (installed if they are not there), run as root without systemd: a
key, a configuration and a folder of its own, and two files that stand for GPUs, so that SLURM
allots them (there is no GPU behind them). SLURM's commands look for the configuration at its
default place, where it is put, and from where it is taken again.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

CONFIGURATION = Path("/etc/slurm")
FILES = ("slurm.conf", "gres.conf", "cgroup.conf")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")
PACKAGES = ("slurm-wlm", "munge")
MARK = "# made by tests/slurm/cluster.py\n"
WAIT_SECONDS = 60.0

SLURM_CONF = """
ClusterName=lthlib
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={controller}
SlurmdPort={node}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=bf_interval=2,sched_interval=2
MpiDefault=none
ReturnToService=2
MinJobAge=300
KillWait=2
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} Gres=gpu:2 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def installed() -> bool:
    return all(shutil.which(name) for name in PROGRAMS)


def install() -> None:
    """Debian's packages, unless they are there."""
    if installed():
        return
    quiet = {
        "stdout": subprocess.DEVNULL,
        "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
    }
    for command in (
        ["apt-get", "update"],
        ["apt-get", "install", "-y", "--no-install-recommends", *PACKAGES],
    ):
        subprocess.run(command, check=True, **quiet)


@contextlib.contextmanager
def cluster(cpus: int = 2) -> Iterator[Path]:
    """A cluster that is up; gives its folder, with the daemons' logs. Needs root."""
    if os.geteuid() != 0:
        raise SystemExit("cluster: needs root, to install SLURM and to make device files")
    install()
    taken = [CONFIGURATION / name for name in FILES]
    for path in taken:
        if path.exists() and not path.read_text().startswith(MARK):
            raise SystemExit(
                f"cluster: {path} is there already: this machine has a SLURM of its own"
            )
    folder = Path(tempfile.mkdtemp(prefix="lthlib-slurm-"))
    folder.chmod(0o755)
    daemons: list[subprocess.Popen[bytes]] = []
    # So that it is taken down as well when this process is told to end.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit("cluster: told to end"))
    try:
        _configure(folder, cpus)
        for command in _daemons(folder):
            log = (folder / f"{Path(command[0]).name}.out").open("wb")
            daemons.append(
                subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
            )
            if command[0] == "munged":
                _until((folder / "munge" / "socket").exists, "munged")
        _until(_node_is_idle, f"slurmd (logs: {folder})")
        yield folder
    finally:
        signal.signal(signal.SIGTERM, before)
        _take_down(daemons)
        for path in taken:
            path.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def _configure(folder: Path, cpus: int) -> None:
    for name in ("munge", "state", "spool"):
        (folder / name).mkdir(mode=0o755)
    key = folder / "munge" / "key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    devices = [folder / f"gpu{number}" for number in range(2)]
    for device in devices:
        # What /dev/null is: SLURM only wants a device file to allot.
        subprocess.run(["mknod", str(device), "c", "1", "3"], check=True)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    values = {
        "host": socket.gethostname(), "folder": folder, "cpus": cpus, "memory": memory // 2,
        "controller": _free_port(), "node": _free_port(),
    }  # fmt: skip
    gres = "".join(f"Name=gpu File={device}\n" for device in devices)
    CONFIGURATION.mkdir(parents=True, exist_ok=True)
    (CONFIGURATION / "slurm.conf").write_text(MARK + SLURM_CONF.format(**values))
    (CONFIGURATION / "gres.conf").write_text(MARK + gres)
    (CONFIGURATION / "cgroup.conf").write_text(MARK + "CgroupPlugin=cgroup/v1\n")


def _daemons(folder: Path) -> list[list[str]]:
    munge = folder / "munge"
    return [
        [
            "munged", "--foreground", "--force", f"--key-file={munge}/key",
            f"--socket={munge}/socket", f"--pid-file={munge}/pid", f"--log-file={munge}/log",
            f"--seed-file={munge}/seed",
        ],
        ["slurmctld", "-D"],
        ["slurmd", "-D", "-N", socket.gethostname()],
    ]  # fmt: skip


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _node_is_idle() -> bool:
    said = subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True, check=False)
    return said.stdout.strip() == "idle"


def _until(true: object, what: str) -> None:
    began = time.monotonic()
    while not true():  # type: ignore[operator]
        if time.monotonic() - began > WAIT_SECONDS:
            raise SystemExit(f"cluster: {what} did not come up within {WAIT_SECONDS:.0f} s")
        time.sleep(0.2)


def _take_down(daemons: Sequence[subprocess.Popen[bytes]]) -> None:
    if daemons:
        # Jobs first: their processes belong to daemons of their own.
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(["scancel", "--user=root"], capture_output=True, check=False, timeout=10)
            time.sleep(3)
    for daemon in reversed(daemons):
        daemon.terminate()
        try:
            daemon.wait(10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


if __name__ == "__main__":
    with cluster():
        sys.exit(subprocess.run(sys.argv[1:] or ["sinfo", "-N", "-l"], check=False).returncode)
