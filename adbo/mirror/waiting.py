"""Telling the user that opening a study waits for its database."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import sqlalchemy as sa
from optuna.storages import BaseStorage

from adbo.mirror.connection import storage_name, storage_url
from adbo.mirror.settings import DEFAULTS, ConnectionSettings

#: Seconds after which a wait is reported.
SECONDS = 2.0

#: Seconds for which an SQLite file must stay locked to count as locked by another process: the
#: transactions of this process are shorter.
_LOCKED_SECONDS = 0.5


@contextlib.contextmanager
def told_of_waiting(
    storage: str | BaseStorage,
    report: Callable[[str], None],
    connection: ConnectionSettings = DEFAULTS.connection,
    seconds: float = SECONDS,
) -> Iterator[None]:
    """Report, once, that the code in this context waits for the storage, if it does.

    Parameters
    ----------
    storage
        The storage that is opened in this context, or its URL.
    report
        Takes one line for the user; called from another thread.
    connection
        How persistently the storage is opened.
    seconds
        The duration of the context after which the line is reported.
    """
    over = threading.Event()

    def watch() -> None:
        if not over.wait(seconds):
            text = _description(storage, connection)
            if text is not None and not over.is_set():
                report(text)

    threading.Thread(target=watch, name="adbo-waiting", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _description(storage: str | BaseStorage, connection: ConnectionSettings) -> str | None:
    """Return what is being waited for, None if the storage is only slow."""
    name, url = storage_name(storage), storage_url(storage)
    if not url.startswith("sqlite"):
        return f"waiting for {name}: it does not answer, or another process holds a lock"
    if not _is_locked(url):
        return None
    # The patience of a storage object is its own.
    end = f"; giving up after {connection.busy_seconds:g} s" if url is storage else ""
    return f"waiting for {name}: another process holds a lock{end}"


def _is_locked(url: str) -> bool:
    patience = {"timeout": _LOCKED_SECONDS}
    engine = sa.create_engine(url, connect_args=patience, poolclass=sa.pool.NullPool)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
    except sa.exc.SQLAlchemyError as error:
        return "locked" in str(error)
    return False
