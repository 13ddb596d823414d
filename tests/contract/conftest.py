"""Every test of a contract meets every database that it is a contract with."""

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
    """Each of the servers."""
    return request.getfixturevalue(f"{request.param}_server")


@pytest.fixture
def make_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """Makes the URL of an empty database of the kind that one asks for."""
    numbers = itertools.count()

    def make(kind: str) -> str:
        if kind == "sqlite":
            return f"sqlite:///{tmp_path}/{next(numbers)}.db"
        server: Server = request.getfixturevalue(f"{kind}_server")
        return server.new_database()

    return make


@pytest.fixture(params=KINDS)
def new_url(request: pytest.FixtureRequest, make_url: Callable[[str], str]) -> Callable[[], str]:
    """Makes the URLs of empty databases, of each kind."""
    return functools.partial(make_url, request.param)


@pytest.fixture
def url(new_url: Callable[[], str]) -> str:
    """The URL of an empty database, of each kind."""
    return new_url()
