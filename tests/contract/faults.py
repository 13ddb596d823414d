"""Databases that fail at chosen points, or that adbo does not know."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator

import sqlalchemy as sa
from optuna.storages import RDBStorage
from sqlalchemy.engine import Engine


@contextlib.contextmanager
def interposed(engine: Engine, strike: Callable[[int], None]) -> Iterator[None]:
    """Call ``strike`` before and after each statement and each commit, with a running number.

    Numbers before an operation are even, those after it odd.
    """
    dialect = engine.dialect
    number = 0

    def wrapped(original: Callable[..., object]) -> Callable[..., object]:
        def operation(*arguments: object, **options: object) -> object:
            nonlocal number
            number += 2
            strike(number - 2)
            result = original(*arguments, **options)
            strike(number - 1)
            return result

        return operation

    names = ("do_execute", "do_execute_no_params", "do_executemany", "do_commit")
    originals = {name: getattr(dialect, name) for name in names}
    for name, original in originals.items():
        setattr(dialect, name, wrapped(original))
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(dialect, name, original)


class Counter:
    """Counts the points at which a fault could strike, in a first run without faults."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self, number: int) -> None:
        self.number = number + 1


def losing(engine: Engine, *points: int) -> Callable[[int], None]:
    """Return a fault that loses the connection at the given points."""
    error = engine.dialect.loaded_dbapi.OperationalError  # type: ignore[union-attr]

    def strike(number: int) -> None:
        if number in points:
            raise error("server closed the connection unexpectedly")

    return strike


def killed_at(point: int, work: Callable[[Callable[[int], None]], None]) -> bool:
    """Do some work in a process that is killed at a point of it; return whether it was."""

    def strike(number: int) -> None:
        if number == point:
            os.kill(os.getpid(), signal.SIGKILL)

    process = os.fork()
    if process == 0:
        try:
            work(strike)
        finally:
            os._exit(0)
    _, status = os.waitpid(process, 0)
    return os.WIFSIGNALED(status)


def of_unknown_revision(url: str) -> RDBStorage:
    """Open a new database and mark its tables as those of an unknown version of Optuna."""
    storage = RDBStorage(url)
    with storage.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'v0.0.0'")
    return storage


class Relay:
    """Forwards requests of a client to a server, and cuts the connection at a chosen one."""

    def __init__(self, url: str) -> None:
        self._server = sa.make_url(url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = self._server.set(port=self._listener.getsockname()[1]).render_as_string(False)
        self.requests = 0
        self._cut_at = -1
        self._answer_is_lost = False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, request: int, answer_is_lost: bool) -> None:
        """Cut the connection before or after the server gets a request, counted from now."""
        self.requests = 0
        self._cut_at = request
        self._answer_is_lost = answer_is_lost

    def close(self) -> None:
        """Accept no more clients."""
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = socket.create_connection(("127.0.0.1", self._server.port))
        threading.Thread(target=self._answers, args=(server, client), daemon=True).start()
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 20):
                self.requests += 1
                if self.requests - 1 == self._cut_at:
                    if self._answer_is_lost:
                        self._shut(client)
                        server.sendall(data)
                    break
                server.sendall(data)
        self._shut(client)
        self._shut(server)

    def _answers(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 20):
                client.sendall(data)
        self._shut(client)

    def _shut(self, line: socket.socket) -> None:
        with contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)
