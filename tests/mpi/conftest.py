"""Real MPI jobs by the launchers of MPICH and Open MPI, both from PyPI."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Launcher:
    """An MPI library: the command that starts ranks, and the Python that loads it."""

    command: tuple[str, ...]
    python: str
    pythonpath: str = ""


class Job:
    """A running MPI job, in a process group of its own so that nothing of it outlives a test."""

    def __init__(
        self, launcher: Launcher, ranks: int, arguments: tuple[str, ...], cwd: Path
    ) -> None:
        environment = {k: v for k, v in os.environ.items() if k != "DATABASE_URL"}
        # Jobs of the tests have more ranks than the machine has cores.
        environment["OMP_NUM_THREADS"] = "1"
        if launcher.pythonpath:
            environment["PYTHONPATH"] = launcher.pythonpath
        self.process = subprocess.Popen(
            [*launcher.command, "-n", str(ranks), launcher.python, *arguments],
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def end(self, timeout: float = 120) -> tuple[int, str, str]:
        """Wait for the end; return exit status, standard output and standard error."""
        out, err = self.process.communicate(timeout=timeout)
        return self.process.returncode, out, err

    def ranks(self) -> dict[int, int]:
        """Return the process of each living rank."""
        found = {}
        for process in _descendants(self.process.pid):
            try:
                words = Path(f"/proc/{process}/cmdline").read_text().split("\0")
                text = Path(f"/proc/{process}/environ").read_text()
            except OSError:
                continue
            environment = dict(pair.partition("=")[::2] for pair in text.split("\0"))
            rank = environment.get("PMI_RANK", environment.get("OMPI_COMM_WORLD_RANK"))
            if rank is not None and "python" in words[0]:
                found.setdefault(int(rank), process)
        return found

    def kill(self) -> None:
        """Kill all processes of the job."""
        processes = _descendants(self.process.pid)
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
        for process in processes:
            if Path(f"/proc/{process}").exists():
                os.kill(process, signal.SIGKILL)


def _descendants(process: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parent = int(stat.rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found, queue = [], [process]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


@pytest.fixture(scope="session")
def mpich() -> Launcher:
    """MPICH, which the extra mpich brings."""
    command = shutil.which("mpiexec", path=sysconfig.get_path("scripts"))
    command = command or shutil.which("mpiexec")
    assert command is not None, "the extra mpich brings an mpiexec"
    return Launcher((command,), sys.executable)


@pytest.fixture(scope="session")
def open_mpi(open_mpi_prefix: Path) -> Launcher:
    """Open MPI."""
    root = Path(__file__).parents[2]
    return Launcher(
        (str(open_mpi_prefix / "bin" / "mpiexec"), "--allow-run-as-root", "--oversubscribe"),
        str(open_mpi_prefix / "bin" / "python"),
        f"{root}{os.pathsep}{sysconfig.get_path('purelib')}",
    )


@pytest.fixture(params=["mpich", "open_mpi"])
def launcher(request: pytest.FixtureRequest) -> Launcher:
    """Each library."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def over_tcp(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ranks exchange messages as between nodes without remote access to memory."""
    monkeypatch.setenv("MPIR_CVAR_NOLOCAL", "1")
    monkeypatch.setenv("UCX_TLS", "tcp,self")
    monkeypatch.setenv("OMPI_MCA_btl", "tcp,self")


@pytest.fixture
def jobs() -> Iterator[list[Job]]:
    """The jobs of a test, killed at its end."""
    started: list[Job] = []
    yield started
    for job in started:
        job.kill()


@pytest.fixture
def start_job(mpich: Launcher, jobs: list[Job], tmp_path: Path) -> Callable[..., Job]:
    """Return a function that starts a job in the directory of the test."""

    def start(ranks: int, *arguments: str, launcher: Launcher = mpich) -> Job:
        jobs.append(Job(launcher, ranks, arguments, tmp_path))
        return jobs[-1]

    return start


@pytest.fixture
def adbo(start_job: Callable[..., Job]) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs the command line on a number of ranks to its end."""

    def run(ranks: int, *arguments: str, **options: Launcher) -> tuple[int, str, str]:
        return start_job(ranks, "-m", "adbo", *arguments, **options).end()

    return run
