"""A real Slurm cluster of two nodes on this machine."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import CONFIGURATION, ROOT, Cluster, free_ports, idle_nodes, install, start, wait_for


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Run two nodes, n1 and n2, for which Slurm believes in two GPUs each."""
    install()
    path = Path(tempfile.mkdtemp(prefix="adbo-slurm-"))
    for name in ("state", "n1", "n2"):
        (path / name).mkdir()
    key = path / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o600)
    host = socket.gethostname().partition(".")[0]
    configuration = path / "slurm.conf"
    # MPICH names its shared memory after the job, and killed ranks leave it behind.
    first_job = 1000 + secrets.randbelow(1_000_000)
    configuration.write_text(
        CONFIGURATION.format(host=host, path=path, ports=free_ports(3), first_job=first_job)
    )
    for index, device in enumerate(("/dev/null", "/dev/zero")):
        (path / f"gpu{index}").symlink_to(device)
    (path / "gres.conf").write_text(f"Name=gpu File={path}/gpu[0-1]\n")
    cluster = Cluster(path)
    daemons = [
        start(
            path,
            ["munged", "--foreground", "--force", f"--socket={path}/munge.socket"]
            + [f"--{n}-file={path}/munge.{n}" for n in ("key", "pid", "log", "seed")],
        )
    ]
    try:
        wait_for((path / "munge.socket").exists, 20, "munged's socket")
        daemons.append(start(path, ["slurmctld", "-D", "-f", str(configuration)]))
        for node in ("n1", "n2"):
            daemons.append(start(path, ["slurmd", "-D", "-f", str(configuration), "-N", node]))
        wait_for(lambda: idle_nodes(cluster) == 2, 60, f"two idle nodes; see {path}")
        yield cluster
        cluster.call("scancel", "--user=root")
        wait_for(lambda: not cluster.call("squeue", "--noheader"), 60, "the end of all jobs")
    finally:
        for daemon in reversed(daemons):
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def open_mpi(open_mpi_prefix: Path) -> dict[str, str]:
    """Return the environment of a job with Open MPI, whose directory is PREFIX."""
    return {
        "PREFIX": str(open_mpi_prefix),
        "PYTHON": str(open_mpi_prefix / "bin" / "python"),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{sysconfig.get_path('purelib')}",
        # See "Launchers" in docs/clusters.md.
        "SLURM_PMIX_FENCE": "ring",
        # The tests run as root.
        **{f"{name}_ALLOW_RUN_AS_ROOT": "1" for name in ("OMPI", "PRTE")},
        **{f"{name}_ALLOW_RUN_AS_ROOT_CONFIRM": "1" for name in ("OMPI", "PRTE")},
    }
