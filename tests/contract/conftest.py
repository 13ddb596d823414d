"""Databases of each kind: SQLite, and PostgreSQL and MariaDB on servers of the tests."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
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
