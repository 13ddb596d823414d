"""Run Slurm on two nodes of this machine, from Debian's packages."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from debian import installed

ROOT = Path(__file__).parents[2]
# Slurm opens libpmix.so, which the developers' package has.
PACKAGES = "slurmctld slurmd slurm-client munge libpmix-dev"

# MessageTimeout is longer than KillWait: a node answers to the killing of a step only after
# KillWait, and without an answer the controller kills again a minute later. A job that is back
# from the queue by then, as here by the short cred_expire, would lose its step of the same number.
CONFIGURATION = """\
ClusterName=adbo
FirstJobId={first_job}
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={path}/munge.socket,cred_expire=5
SlurmctldPort={ports[0]}
SlurmctldPidFile={path}/slurmctld.pid
SlurmdPidFile={path}/%n/slurmd.pid
SlurmdSpoolDir={path}/%n
TmpFS={path}/%n
StateSaveLocation={path}/state
SlurmctldLogFile={path}/slurmctld.log
SlurmdLogFile={path}/%n/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=pmi2
KillWait=10
MessageTimeout=60
SchedulerParameters=sched_interval=2,bf_interval=2
ReturnToService=2
SlurmdParameters=config_overrides
SwitchType=switch/none
MailProg=/bin/true
GresTypes=gpu
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=64 Gres=gpu:2
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=64 Gres=gpu:2
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Cluster:
    """A cluster as its users see it: its commands, and an environment for them."""

    def __init__(self, path: Path) -> None:
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "DATABASE_URL"))},
            "SLURM_CONF": str(path / "slurm.conf"),
            "PYTHON": sys.executable,
            "OMP_NUM_THREADS": "1",
            # Both nodes are this machine, and PMI2 has no room for UCX's addresses of all its
            # network devices.
            "MPIR_CVAR_CH4_NETMOD": "ofi",
            "FI_PROVIDER": "tcp",
        }

    def call(self, *command: str, cwd: Path | None = None, **environment: str) -> str:
        """Run one of Slurm's commands, and return what it prints."""
        done = subprocess.run(
            command,
            cwd=cwd,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def submit(self, cwd: Path, *arguments: str, **environment: str) -> str:
        """Submit ``slurm/study.sbatch``; arguments of sbatch come before a ``--``."""
        before, after = arguments, ()
        if "--" in arguments:
            cut = arguments.index("--")
            before, after = arguments[:cut], arguments[cut + 1 :]
        script = str(ROOT / "slurm" / "study.sbatch")
        options = ("--parsable", "--ntasks-per-node=2", "--output=job-%j.out", *before)
        return self.call("sbatch", *options, script, *after, cwd=cwd, **environment).strip()

    def restarts(self, job: str) -> int:
        """Return how often a job went back into the queue."""
        found = re.search(r"Restarts=(\d+)", self.call("scontrol", "show", "job", job))
        assert found is not None
        return int(found[1])

    def state(self, job: str) -> str:
        """Return the state of a job as Slurm names it: RUNNING, COMPLETED, ..."""
        found = re.search(r"JobState=(\w+)", self.call("scontrol", "show", "job", job))
        assert found is not None
        return found[1]

    def end(self, job: str, seconds: float = 240) -> str:
        """Wait for a job's end, and return its state."""
        active = {"PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "REQUEUED", "SUSPENDED"}
        wait_for(lambda: self.state(job) not in active, seconds, f"the end of job {job}")
        return self.state(job)


def wait_for(is_so: Callable[[], object], seconds: float, what: str) -> None:
    """Look until a condition holds; a failure names what did not come."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.2)


def install() -> None:
    assert os.geteuid() == 0, "these tests start slurmd, which needs root"
    installed(PACKAGES, _find)


def _find() -> bool | None:
    programs = ("slurmctld", "slurmd", "sbatch", "munged")
    pmix = list(Path("/usr/lib").glob("*/pmix2/lib/libpmix.so"))
    return True if pmix and all(map(shutil.which, programs)) else None


def start(path: Path, command: Sequence[str]) -> subprocess.Popen[bytes]:
    with (path / f"{command[0]}.out").open("ab") as out:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**os.environ, "SLURM_CONF": str(path / "slurm.conf")},
        )


def free_ports(n: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def idle_nodes(cluster: Cluster) -> int:
    done = subprocess.run(
        ["sinfo", "--noheader", "--states=idle", "--format=%D"],
        env=cluster.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return sum(int(word) for word in done.stdout.split() if word.isdigit())
