"""A start that waits for a locked database says so."""

from __future__ import annotations

import contextlib
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest

from adbo.mirror.connection import StudyError
from adbo.mirror.settings import ConnectionSettings
from adbo.mirror.study import open_study
from adbo.mirror.waiting import told_of_waiting

WAITING = "adbo: waiting for sqlite:///adbo.db: another process holds a lock; giving up after 60 s"


@contextlib.contextmanager
def _held(path: Path, kind: str = "EXCLUSIVE") -> Iterator[None]:
    """Hold a lock of an SQLite file."""
    connection = sqlite3.connect(path, isolation_level=None)
    with contextlib.closing(connection):
        connection.execute(f"BEGIN {kind}")
        yield


RUN = ["run", "sphere:2", "--trials", "3", "--storage", "sqlite:///adbo.db"]
SIMULATE = ["simulate", "sphere:2", "--workers", "2", "--trials", "3"]


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (RUN, "EXCLUSIVE"),
        ([*RUN, "--quiet"], "IMMEDIATE"),
        ([*SIMULATE, "--storage", "sqlite:///adbo.db"], "EXCLUSIVE"),
        (["report", "--storage", "sqlite:///adbo.db"], "EXCLUSIVE"),
    ],
    ids=["run", "quiet", "simulate", "report"],
)
def test_the_start_says_that_it_waits(tmp_path: Path, arguments: list[str], kind: str) -> None:
    optuna.create_study(storage=f"sqlite:///{tmp_path}/adbo.db", study_name="other")
    command = [sys.executable, "-m", "adbo", *arguments]
    pipe = subprocess.PIPE
    with _held(tmp_path / "adbo.db", kind):
        process = subprocess.Popen(command, cwd=tmp_path, stdout=pipe, stderr=pipe, text=True)
        assert process.stderr is not None
        # The lock is released after the line; without it the process ends after a minute.
        line = process.stderr.readline()
    _, rest = process.communicate()
    assert line == WAITING + "\n"
    assert rest == ""
    assert process.returncode == 0


def test_ctrl_c_ends_a_start_that_waits(tmp_path: Path) -> None:
    """SQLite waits in C, so Python would notice it after a minute, and print a traceback."""
    optuna.create_study(storage=f"sqlite:///{tmp_path}/adbo.db", study_name="other")
    command = [sys.executable, "-m", "adbo", *RUN]
    with _held(tmp_path / "adbo.db"):
        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
            # A shell starts its background jobs with SIGINT ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        assert process.stderr is not None
        line = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate()
    assert line == WAITING + "\n"
    assert rest == ""
    assert process.returncode == -signal.SIGINT  # 130 in a shell


def test_a_slow_start_without_a_lock_is_silent(tmp_path: Path) -> None:
    lines: list[str] = []
    url = f"sqlite:///{tmp_path}/s.db"
    with told_of_waiting(url, lines.append, seconds=0.0):
        open_study(url, "s", "minimize", resume=False)
        for thread in threading.enumerate():
            if thread.name == "adbo-waiting":
                thread.join()
    assert lines == []


def test_a_quick_start_is_silent(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    lines: list[str] = []
    with _held(path), told_of_waiting(f"sqlite:///{path}", lines.append, seconds=30.0):
        pass
    with _held(path), told_of_waiting(f"sqlite:///{path}", lines.append, seconds=0.0):
        while not lines:
            time.sleep(0.01)
    assert len(lines) == 1


def test_a_server_that_does_not_answer() -> None:
    lines: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = f"127.0.0.1:{server.getsockname()[1]}/d"

        def report(text: str) -> None:
            lines.append(text)
            server.close()  # ends the attempt to connect

        url = f"postgresql://u:secret@{place}"
        once = ConnectionSettings(attempts=1)
        with (
            pytest.raises(StudyError, match="cannot use"),
            told_of_waiting(url, report, once, seconds=0.1),
        ):
            open_study(url, "s", "minimize", resume=False, connection=once)
    assert lines == [
        f"waiting for postgresql://u:***@{place}: it does not answer, or another process holds"
        " a lock"
    ]


def test_a_lock_is_waited_for_once(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    patience = ConnectionSettings(busy_seconds=0.2, attempts=1000)
    start = time.monotonic()
    with _held(path), pytest.raises(StudyError, match="database is locked"):
        open_study(f"sqlite:///{path}", "s", "minimize", resume=False, connection=patience)
    assert time.monotonic() - start < 100
