"""Databases of each kind: SQLite, and PostgreSQL and MariaDB on servers of the tests."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servers import KINDS, Server, mariadb, postgresql


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Server]:
    with postgresql() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[Server]:
    with mariadb() as server:
        yield server


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> Server:
    """A server of each kind. A test that kills it starts it again."""
    return request.getfixturevalue(f"{request.param}_server")


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
