"""Every test of a contract meets every database that it is a contract with."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servers import Server, mariadb, postgresql


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
    """Each of the servers."""
    return request.getfixturevalue(f"{request.param}_server")


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Makes the URLs of empty databases, of each kind."""
    if request.param == "sqlite":
        numbers = itertools.count()
        return lambda: f"sqlite:///{tmp_path}/{next(numbers)}.db"
    server: Server = request.getfixturevalue(f"{request.param}_server")
    return server.new_database


@pytest.fixture
def url(new_url: Callable[[], str]) -> str:
    """The URL of an empty database, of each kind."""
    return new_url()
