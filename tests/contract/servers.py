"""Real database servers, installed from Debian where they are missing.

Each has one user, whose password needs quoting in URLs.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
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
    directory
        Where it has its data and its log.
    crash
        The signal that ends it at once, without an orderly shutdown.
    """

    def __init__(
        self,
        command: Sequence[str],
        user: str,
        url: sa.URL,
        directory: Path,
        crash: signal.Signals,
    ) -> None:
        self.url = url
        self._command = command
        self._user = user
        self._directory = directory
        self._crash = crash

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        path = self._directory / "log"
        with path.open("ab") as log:
            # Its number only: whichever process of the tests is the last one ends a shared server.
            self._process = subprocess.Popen(
                self._command, **_as_user(self._user), stdout=log, stderr=log
            ).pid
        deadline = time.monotonic() + 60
        while True:
            try:
                self.execute("SELECT 1")
                return
            except sa.exc.OperationalError:
                if _has_ended(self._process) or time.monotonic() > deadline:
                    self.kill()
                    raise RuntimeError(path.read_text()) from None
                time.sleep(0.1)

    def kill(self) -> None:
        """End it as a crash would."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process, self._crash)
        while not _has_ended(self._process):
            time.sleep(0.01)

    def remove(self) -> None:
        """End it and delete its data."""
        self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def new_database(self, options: str = "") -> str:
        """Create an empty database and return its URL."""
        name = f"study_{secrets.token_hex(8)}"
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


def postgresql() -> Server:
    """Start a PostgreSQL server."""
    binaries = Path(installed("postgresql", _postgresql_binary)).parent
    directory = _directory("postgres")
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
    server = Server([*command, *options], "postgres", url, directory, signal.SIGQUIT)
    server.start()
    return server


def mariadb() -> Server:
    """Start a MariaDB server."""
    binary = installed("mariadb-server", lambda: shutil.which("mariadbd", path=PATH))
    directory = _directory("mysql")
    # A server that starts removes the temporary tables of the others in its directory for them.
    places = [f"--datadir={directory / 'data'}", f"--tmpdir={directory}"]
    installer = shutil.which("mariadb-install-db", path=PATH)
    assert installer is not None
    _run([installer, "--no-defaults", *places, "--skip-test-db", "--skip-name-resolve"], "mysql")
    users = directory / "users.sql"
    users.write_text(
        f"CREATE USER IF NOT EXISTS '{USER}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n"
        f"GRANT ALL ON *.* TO '{USER}'@'127.0.0.1';\n"
    )
    port = free_port()
    command = [
        binary,
        "--no-defaults",
        *places,
        f"--port={port}",
        f"--socket={directory / 'socket'}",
        f"--pid-file={directory / 'pid'}",
        f"--init-file={users}",
        "--bind-address=127.0.0.1",
        "--innodb-flush-log-at-trx-commit=2",
    ]
    url = _url("mysql+pymysql", port, "mysql")
    server = Server(command, "mysql", url, directory, signal.SIGKILL)
    server.start()
    return server


def _url(driver: str, port: int, database: str) -> sa.URL:
    return sa.URL.create(driver, USER, PASSWORD, "127.0.0.1", port, database)


def _postgresql_binary() -> str | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return str(found[-1]) if found else shutil.which("initdb", path=PATH)


def _directory(user: str) -> Path:
    """Make a directory that the user owns; those of pytest are closed to other users."""
    directory = Path(tempfile.mkdtemp(prefix="adbo-"))
    if os.geteuid() == 0:
        shutil.chown(directory, user)
    return directory


def _has_ended(process: int) -> bool:
    with contextlib.suppress(ChildProcessError):  # another process may have started it
        os.waitpid(process, os.WNOHANG)
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


def _as_user(user: str) -> dict[str, str]:
    """Return options of a process that has to run as a user, since servers refuse root."""
    return {"user": user, "group": pwd.getpwnam(user).pw_gid} if os.geteuid() == 0 else {}


def _run(command: Sequence[str], user: str) -> None:
    subprocess.run(command, **_as_user(user), stdout=subprocess.DEVNULL, check=True)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
