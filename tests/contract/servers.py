"""Real database servers, installed from Debian where they are missing.

Each has one user, whose password needs quoting in URLs.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from debian import PATH, installed

#: The databases that adbo knows; a SQLite file needs no server.
KINDS = ("sqlite", "postgresql", "mariadb")

USER, PASSWORD = "keeper", "gehe:im%/@wort"


class Server:
    """A server that can be started, killed, and started again with the same data.

    Parameters
    ----------
    command
        The command that starts it in the foreground.
    user
        The user of the system as which it runs.
    url
        The URL of a database that it always has.
    log
        The file of its log.
    crash
        The signal that ends it at once, without an orderly shutdown.
    """

    def __init__(
        self, command: Sequence[str], user: str, url: sa.URL, log: Path, crash: signal.Signals
    ) -> None:
        self.url = url
        self._command = command
        self._user = user
        self._log = log
        self._crash = crash
        self._process: subprocess.Popen[bytes] | None = None
        self._n_databases = 0

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, **_as_user(self._user), stdout=log, stderr=log
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                self.execute("SELECT 1")
                return
            except sa.exc.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.kill()
                    raise RuntimeError(self._log.read_text()) from None
                time.sleep(0.1)

    def kill(self) -> None:
        """End it as a crash would."""
        assert self._process is not None
        self._process.send_signal(self._crash)
        self._process.wait()

    def new_database(self, options: str = "") -> str:
        """Create an empty database and return its URL."""
        self._n_databases += 1
        name = f"study_{self._n_databases}"
        self.execute(f"CREATE DATABASE {name} {options}")
        return self.url.set(database=name).render_as_string(hide_password=False)

    def execute(self, statement: str) -> Any:
        """Execute a statement and return its value, if it has one."""
        engine = sa.create_engine(self.url, isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                result = connection.exec_driver_sql(statement)
                return result.scalar() if result.returns_rows else None
        finally:
            engine.dispose()


@contextlib.contextmanager
def postgresql() -> Iterator[Server]:
    """Run a PostgreSQL server."""
    binaries = Path(installed("postgresql", _postgresql_binary)).parent
    with _directory("postgres") as directory:
        (directory / "password").write_text(PASSWORD)
        data = str(directory / "data")
        initialize = [str(binaries / "initdb"), "-D", data, "-U", USER, "-E", "UTF8"]
        security = ["-A", "scram-sha-256", f"--pwfile={directory / 'password'}", "--no-sync"]
        _run([*initialize, *security], "postgres")
        port = free_port()
        options = ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        command = [str(binaries / "postgres"), "-D", data, "-p", str(port), "-k", str(directory)]
        url = _url("postgresql+psycopg2", port, "postgres")
        # SIGKILL would leave its child processes behind.
        crash, log = signal.SIGQUIT, directory / "log"
        yield from _running(Server([*command, *options], "postgres", url, log, crash))


@contextlib.contextmanager
def mariadb() -> Iterator[Server]:
    """Run a MariaDB server."""
    binary = installed("mariadb-server", lambda: shutil.which("mariadbd", path=PATH))
    with _directory("mysql") as directory:
        data = f"--datadir={directory / 'data'}"
        installer = shutil.which("mariadb-install-db", path=PATH)
        assert installer is not None
        _run([installer, "--no-defaults", data, "--skip-test-db", "--skip-name-resolve"], "mysql")
        users = directory / "users.sql"
        users.write_text(
            f"CREATE USER IF NOT EXISTS '{USER}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n"
            f"GRANT ALL ON *.* TO '{USER}'@'127.0.0.1';\n"
        )
        port = free_port()
        yield from _running(
            Server(
                [
                    binary,
                    "--no-defaults",
                    data,
                    f"--port={port}",
                    f"--socket={directory / 'socket'}",
                    f"--pid-file={directory / 'pid'}",
                    f"--init-file={users}",
                    "--bind-address=127.0.0.1",
                    "--innodb-flush-log-at-trx-commit=2",
                ],
                "mysql",
                _url("mysql+pymysql", port, "mysql"),
                directory / "log",
                signal.SIGKILL,
            )
        )


def _running(server: Server) -> Iterator[Server]:
    server.start()
    try:
        yield server
    finally:
        server.kill()


def _url(driver: str, port: int, database: str) -> sa.URL:
    return sa.URL.create(driver, USER, PASSWORD, "127.0.0.1", port, database)


def _postgresql_binary() -> str | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return str(found[-1]) if found else shutil.which("initdb", path=PATH)


@contextlib.contextmanager
def _directory(user: str) -> Iterator[Path]:
    """Make a directory that the user owns; those of pytest are closed to other users."""
    directory = Path(tempfile.mkdtemp(prefix="adbo-"))
    if os.geteuid() == 0:
        shutil.chown(directory, user)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _as_user(user: str) -> dict[str, str]:
    """Return options of a process that has to run as a user, since servers refuse root."""
    return {"user": user, "group": pwd.getpwnam(user).pw_gid} if os.geteuid() == 0 else {}


def _run(command: Sequence[str], user: str) -> None:
    subprocess.run(command, **_as_user(user), stdout=subprocess.DEVNULL, check=True)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
