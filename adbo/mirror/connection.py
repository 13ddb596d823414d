"""Connecting to a storage of Optuna; what is wrong with it becomes one line for the user."""

from __future__ import annotations

import contextlib
import importlib.util
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._cached_storage import _CachedStorage

from adbo.mirror import schema
from adbo.mirror.redaction import redact, shown

#: Seconds for which SQLite waits while another process reads or writes the file.
_BUSY_SECONDS = 60

#: How often a database is tried before it is given up, and seconds in between: somebody else,
#: such as a dashboard, may be creating the same tables at the same time.
_ATTEMPTS, _PAUSE = 4, 0.3


class StudyError(ValueError):
    """The study cannot be had; the message is one line for the user."""


def storage_name(storage: str | BaseStorage) -> str:
    """A storage as one may print it: its URL without password, or its class."""
    url = storage_url(storage)
    if url:
        return shown(url)
    return type(storage).__name__


def storage_url(storage: str | BaseStorage) -> str:
    """The URL of a storage, with its password; empty if it has none."""
    if isinstance(storage, str):
        return storage
    behind = uncached(storage)
    return str(behind.url) if isinstance(behind, RDBStorage) else ""


def uncached(storage: BaseStorage) -> BaseStorage:
    """The storage behind Optuna's cache."""
    return storage._backend if isinstance(storage, _CachedStorage) else storage


def connect(storage: str | BaseStorage) -> BaseStorage:
    """The storage, from its URL if that is given.

    Raises
    ------
    StudyError
        If the URL is that of no database.
    Exception
        Whatever the database and its driver raise; see `explained`.
    """
    if not isinstance(storage, str):
        return optuna.storages.get_storage(storage)
    if storage.startswith(("redis://", "journal:")):
        raise StudyError(
            f"{storage_name(storage)} is no URL of a database: use sqlite:///FILE,"
            " postgresql://... or mysql://..."
        )
    url = _with_driver(sa.make_url(storage))
    text = url.render_as_string(hide_password=False)
    arguments: dict[str, Any] = {}
    if url.get_backend_name() == "sqlite":
        arguments = {"connect_args": {"timeout": _BUSY_SECONDS}}
    return optuna.storages.get_storage(_connected(text, arguments))


def _connected(url: str, arguments: dict[str, Any]) -> RDBStorage:
    """The storage; Optuna stumbles where another process is creating the tables."""
    for _ in range(_ATTEMPTS - 1):
        with contextlib.suppress(sa.exc.SQLAlchemyError, RuntimeError, AssertionError):
            return RDBStorage(url, engine_kwargs=dict(arguments))
        time.sleep(_PAUSE)
    return RDBStorage(url, engine_kwargs=dict(arguments))


def check_exists(storage: str | BaseStorage) -> None:
    """Refuse an SQLite file that is not there: opening it would make an empty one."""
    if isinstance(storage, str):
        url = sa.make_url(storage)
        if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
            raise StudyError(f"there is no file {url.database}")


#: Drivers by kind of database, those that SQLAlchemy would not choose by itself among them.
_DRIVERS = {
    "postgresql": ("psycopg2", "psycopg"),
    "mysql": ("MySQLdb", "pymysql"),
    "mariadb": ("MySQLdb", "pymysql"),
}


def _with_driver(url: sa.URL) -> sa.URL:
    """A URL that names no driver, with the first that is installed."""
    for module in _DRIVERS.get(url.drivername, ()):
        if importlib.util.find_spec(module) is not None:
            return url.set(drivername=f"{url.drivername}+{module.lower()}")
    return url


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Optuna's remarks on creating studies are not the user's concern."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)


#: What the extras are called that bring the driver of a kind of database.
_EXTRAS = {"postgresql": "postgresql", "mysql": "mysql", "mariadb": "mysql"}


@contextlib.contextmanager
def explained(storage: str | BaseStorage) -> Iterator[None]:
    """Turn what goes wrong with a storage into one line, without a password in it."""
    name = storage_name(storage)
    try:
        yield
    except ImportError:
        kind = name.partition(":")[0].partition("+")[0]
        extra = _EXTRAS.get(kind)
        remedy = f'pip install "adbo[{extra}]"' if extra else "install it"
        raise StudyError(f"the driver for {name} is missing: {remedy}") from None
    except sa.exc.NoSuchModuleError:
        raise StudyError(
            f"{name}: no such kind of database; use sqlite:///FILE, postgresql://... or mysql://..."
        ) from None
    except sa.exc.ArgumentError:
        raise StudyError(
            f"{name} is no URL of a database: use sqlite:///FILE, postgresql://... or mysql://..."
        ) from None
    except (StudyError, schema.DatabaseError):
        raise
    except Exception as error:
        # The database, Optuna on another version's schema, a driver on a URL that it cannot read,
        # or a storage object in its own way: a file, a proxy, whatever is behind it.
        raise StudyError(
            f"cannot use {name}: {redact(cause_of(error), storage_url(storage))}"
        ) from None


def cause_of(error: BaseException) -> str:
    """What the database's driver or the proxy said: the innermost error."""
    while error.__cause__ is not None:
        error = error.__cause__
    original = getattr(error, "orig", None) or error
    details = getattr(original, "details", None)  # gRPC's own text has many lines
    return str(details() if callable(details) else original).strip() or type(original).__name__
