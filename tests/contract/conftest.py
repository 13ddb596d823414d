"""Databases of each kind, with servers of the tests for PostgreSQL and MariaDB; a browser."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from debian import installed
from servers import KINDS, Server, mariadb, postgresql
from shared import shared


def _shared(
    factory: pytest.TempPathFactory, start: Callable[[], Server]
) -> contextlib.AbstractContextManager[Server]:
    """Return a server of all processes of pytest-xdist; each test has databases of its own."""
    directory = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        directory = directory.parent
    return shared(directory, start.__name__, start, Server.remove)


@pytest.fixture(scope="session")
def postgresql_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with _shared(tmp_path_factory, postgresql) as server:
        yield server


@pytest.fixture(scope="session")
def mariadb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with _shared(tmp_path_factory, mariadb) as server:
        yield server


@pytest.fixture(scope="session")
def own_postgresql_server() -> Iterator[Server]:
    with postgresql() as server:
        yield server


@pytest.fixture(scope="session")
def own_mariadb_server() -> Iterator[Server]:
    with mariadb() as server:
        yield server


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> Server:
    """A server of each kind that a test may kill and start again; other processes have others."""
    return request.getfixturevalue(f"own_{request.param}_server")


@pytest.fixture
def make_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """Return a function that makes an empty database of a given kind and returns its URL."""
    numbers = itertools.count()

    def make(kind: str) -> str:
        if kind == "sqlite":
            return f"sqlite:///{tmp_path}/{next(numbers)}.db"
        server: Server = request.getfixturevalue(f"{kind}_server")
        return server.new_database()

    return make


@pytest.fixture(params=KINDS)
def new_url(request: pytest.FixtureRequest, make_url: Callable[[str], str]) -> Callable[[], str]:
    """Return a function that makes empty databases of one kind, for each kind."""
    return functools.partial(make_url, request.param)


@pytest.fixture
def url(new_url: Callable[[], str]) -> str:
    """The URL of an empty database, for each kind."""
    return new_url()


@pytest.fixture
def read_page(tmp_path: Path) -> Callable[..., str]:
    """Return a function that reads the text a browser shows after the scripts have run."""
    chromium = installed("chromium", lambda: shutil.which("chromium"))

    def read(address: str, *more: str) -> str:
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=15000"]
        options += more
        page = subprocess.run(
            [chromium, *options, f"--user-data-dir={tmp_path}/browser", "--dump-dom", address],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=True,
            timeout=120,
        ).stdout
        page = re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.DOTALL)
        return " ".join(re.sub(r"<[^>]*>", " ", page).split())

    return read
