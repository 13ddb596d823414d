"""Runs real MPI jobs with the launcher of the environment the tests run in."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"


def launcher() -> str:
    """The mpiexec that belongs to the MPI library of this environment."""
    found = shutil.which("mpiexec", path=sysconfig.get_path("scripts")) or shutil.which("mpiexec")
    assert found is not None, "the extra mpich brings an mpiexec"
    return found


class Job:
    """A running MPI job, in a process group of its own so that nothing of it outlives a test."""

    def __init__(self, ranks: int, arguments: list[str], cwd: Path) -> None:
        environment = {k: v for k, v in os.environ.items() if k != "DATABASE_URL"}
        # The tests put more ranks than cores on a machine.
        environment["OMP_NUM_THREADS"] = "1"
        self.process = subprocess.Popen(
            [launcher(), "-n", str(ranks), sys.executable, *arguments],
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def end(self, timeout: float = 120) -> tuple[int, str, str]:
        """Exit status, standard output, standard error; a job that hangs is a failure."""
        out, err = self.process.communicate(timeout=timeout)
        return self.process.returncode, out, err

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate()


@pytest.fixture
def start_job(tmp_path: Path) -> Iterator[Callable[..., Job]]:
    """Start a job of so many ranks in the test's directory."""
    jobs: list[Job] = []

    def start(ranks: int, *arguments: str) -> Job:
        jobs.append(Job(ranks, list(arguments), tmp_path))
        return jobs[-1]

    yield start
    for job in jobs:
        job.kill()


@pytest.fixture
def adbo(start_job: Callable[..., Job]) -> Callable[..., tuple[int, str, str]]:
    """Run the command line on so many ranks to its end."""

    def run(ranks: int, *arguments: str) -> tuple[int, str, str]:
        return start_job(ranks, "-m", "adbo", *arguments).end()

    return run
