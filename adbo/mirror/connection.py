"""Opening a storage of Optuna from its URL, and naming it without its password."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._cached_storage import _CachedStorage

from adbo.core.errors import UsageError
from adbo.core.settings import check_not_in_memory
from adbo.mirror.redaction import without_password
from adbo.mirror.settings import DEFAULTS, ConnectionSettings


class StudyError(UsageError):
    """The study is not available; the message is one line for the user."""


def storage_name(storage: str | BaseStorage) -> str:
    """Return a storage's URL without password, or the name of its class, for messages."""
    url = storage_url(storage)
    return without_password(url) if url else type(storage).__name__


def storage_url(storage: str | BaseStorage) -> str:
    """Return the URL of a storage, with its password; empty if it has none."""
    if isinstance(storage, str):
        return storage
    backend = uncached(storage)
    return str(backend.url) if isinstance(backend, RDBStorage) else ""


def uncached(storage: BaseStorage) -> BaseStorage:
    """Return the storage behind Optuna's cache."""
    return storage._backend if isinstance(storage, _CachedStorage) else storage


def connect(
    storage: str | BaseStorage, settings: ConnectionSettings = DEFAULTS.connection
) -> BaseStorage:
    """Return a storage, opened if it is given by its URL.

    Raises
    ------
    StudyError
        If the URL is not a database URL, or that of a database in memory.
    Exception
        Whatever the database and its driver raise; see `adbo.mirror.storage_errors.explained`.
    """
    check_lasting(storage)
    if not isinstance(storage, str):
        return optuna.storages.get_storage(storage)
    if storage.startswith(("redis://", "journal:")):
        raise StudyError(not_a_url(storage_name(storage)))
    url = _with_driver(sa.make_url(absolute(storage)))
    text = url.render_as_string(hide_password=False)
    arguments: dict[str, Any] = {}
    if url.get_backend_name() == "sqlite":
        arguments = {"connect_args": {"timeout": settings.busy_seconds}}
    return optuna.storages.get_storage(_opened(text, arguments, settings))


def absolute(storage: str) -> str:
    """Return a URL with the absolute path of its SQLite file: objectives change directories."""
    scheme, separator, path = storage.partition(":///")
    if not scheme.startswith("sqlite") or not path or path.startswith(("file:", ":memory:")):
        return storage
    return f"{scheme}{separator}{Path(path).absolute()}"


def not_a_url(name: str) -> str:
    """Return the message about something that is not a database URL."""
    return f"{name} is not a database URL: use sqlite:///FILE, postgresql://... or mysql://..."


def file_exists(storage: str | BaseStorage) -> bool:
    """Return False if a storage is an SQLite file that is missing; opening would create it."""
    if not isinstance(storage, str):
        return True
    path = sqlite_file(sa.make_url(storage))
    return path is None or os.path.exists(path)


def sqlite_file(url: sa.URL) -> Path | None:
    """Return the file of an SQLite database; None for other databases, memory and URIs."""
    database = url.database or ":memory:"
    is_file = database != ":memory:" and "uri" not in url.query
    return Path(database) if url.get_backend_name() == "sqlite" and is_file else None


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Hide Optuna's messages about creating and loading studies."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)


def check_lasting(storage: str | BaseStorage) -> None:
    """Raise StudyError if the mirror's thread would find an empty database in memory."""
    url = storage_url(storage)
    if not isinstance(storage, str):
        backend = uncached(storage)
        is_static = isinstance(backend, RDBStorage) and isinstance(
            backend.engine.pool, sa.pool.StaticPool
        )
        if is_static or "cache=shared" in url:
            return  # all threads see one database, for as long as the caller keeps the storage
    try:
        check_not_in_memory(url)
    except UsageError as error:
        raise StudyError(str(error)) from None


def _opened(url: str, arguments: dict[str, Any], settings: ConnectionSettings) -> RDBStorage:
    """Open a database; Optuna fails while another process is creating the tables.

    A database that was locked for all of `settings.busy_seconds` is not tried again.
    """
    end = time.monotonic() + settings.busy_seconds
    for attempt in itertools.count(1):
        try:
            return RDBStorage(url, engine_kwargs=dict(arguments))
        except (sa.exc.SQLAlchemyError, RuntimeError, AssertionError):
            if attempt >= settings.attempts or time.monotonic() >= end:
                raise
        time.sleep(settings.pause)
    raise AssertionError("unreachable")


#: Drivers by kind of database, in the order in which they are tried.
_DRIVERS = {
    "postgresql": ("psycopg2", "psycopg"),
    "mysql": ("MySQLdb", "pymysql"),
    "mariadb": ("MySQLdb", "pymysql"),
}


def _with_driver(url: sa.URL) -> sa.URL:
    """Return a URL with an installed driver, if it names none."""
    for module in _DRIVERS.get(url.drivername, ()):
        if importlib.util.find_spec(module) is not None:
            return url.set(drivername=f"{url.drivername}+{module.lower()}")
    return url
