"""Errors of a storage as exceptions of adbo, with a message of one line and no password in it.

While the run goes on, an error is either trouble that may pass (`DatabaseError`) or about an
evaluation that will never be stored (`RefusedError`); see `translated`. When a study is opened, it
is a message for the user (`adbo.mirror.connection.StudyError`); see `explained`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from optuna.storages import BaseStorage
from sqlalchemy.engine import Engine

from adbo.mirror.connection import StudyError, not_a_url, storage_name, storage_url
from adbo.mirror.redaction import redact


class DatabaseError(Exception):
    """The storage failed; it may work again later."""


class RefusedError(ValueError):
    """The storage will never take this as it is."""


@contextlib.contextmanager
def translated(source: Engine | BaseStorage) -> Iterator[None]:
    """Raise an error of a database or of an Optuna storage as one of adbo.

    Parameters
    ----------
    source
        An engine, if the statements are adbo's own: then only errors of the database are
        translated. A storage, if they are Optuna's: then any error is, since a file, a database or
        a proxy server fails in its own way.

    Raises
    ------
    RefusedError
        If the storage will never take what it was given.
    DatabaseError
        If the storage failed in any other way.
    """
    try:
        yield
    except (DatabaseError, RefusedError):
        raise
    except Exception as error:
        driver: Any = source.dialect.loaded_dbapi if isinstance(source, Engine) else None
        if isinstance(error, _permanent(driver)):
            raise RefusedError(describe(error, _url(source))) from error
        if isinstance(error, _temporary(driver)):
            raise DatabaseError(describe(error, _url(source))) from error
        raise


def _permanent(driver: Any) -> tuple[type[Exception], ...]:
    """Return the classes of errors that come again whenever the same is written.

    SQLAlchemy does not wrap what the driver raises for statements that SQLAlchemy does not see.
    """
    errors = (sa.exc.DataError, sa.exc.IntegrityError, OverflowError, ValueError)
    return errors if driver is None else (*errors, driver.DataError)


def _temporary(driver: Any) -> tuple[type[Exception], ...]:
    return (Exception,) if driver is None else (sa.exc.SQLAlchemyError, driver.Error)


def _url(source: Engine | BaseStorage) -> str:
    if isinstance(source, Engine):
        return source.url.render_as_string(hide_password=False)
    return storage_url(source)


#: The extra of adbo that installs the driver, by kind of database.
_EXTRAS = {"postgresql": "postgresql", "mysql": "mysql", "mariadb": "mysql"}


@contextlib.contextmanager
def explained(storage: str | BaseStorage) -> Iterator[None]:
    """Raise what goes wrong while a storage is opened as a message for the user.

    Raises
    ------
    StudyError
        If the storage cannot be used.
    """
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
        raise StudyError(not_a_url(name)) from None
    except StudyError:
        raise
    except Exception as error:
        # The database, Optuna on another version's schema, a driver on a URL that it cannot read,
        # or what is behind a storage object: a file, a proxy server.
        raise StudyError(f"cannot use {name}: {describe(error, storage_url(storage))}") from None


def describe(error: BaseException, url: str) -> str:
    """Return what the driver or the proxy said, on one line without the secrets of the URL.

    That is the text of the innermost error, without SQLAlchemy's statement and parameters.
    """
    while error.__cause__ is not None:
        error = error.__cause__
    original = getattr(error, "orig", None) or error
    details = getattr(original, "details", None)  # the text of a gRPC error has many lines
    text = str(details() if callable(details) else original).strip()
    return redact(text or type(original).__name__, url)
