"""The programs that an evaluation has started, and which of them end with it."""

from __future__ import annotations

import multiprocessing.resource_tracker
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from adbo.interruption import programs
from adbo.interruption.programs import Programs, signal_session


def _sleep() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "600"])


def test_what_was_started_later_ends_and_nothing_else() -> None:
    earlier = _sleep()
    try:
        started = Programs()
        later, shell = _sleep(), subprocess.Popen(["sh", "-c", "sleep 600; true"])
        while not (below := psutil.Process(shell.pid).children()):
            pass
        started.end()
        assert not psutil.pid_exists(later.pid)
        assert not psutil.pid_exists(below[0].pid)
        assert earlier.poll() is None
        started.end()  # there are none left
    finally:
        earlier.kill()
        earlier.wait()


def test_what_an_earlier_server_starts_goes_on() -> None:
    """A database server, for example, starts a process for each connection."""
    with subprocess.Popen(["sh", "-s"], stdin=subprocess.PIPE, text=True) as server:
        started = Programs()
        assert server.stdin is not None
        server.stdin.write("sleep 600 &\n")
        server.stdin.flush()
        while not (below := psutil.Process(server.pid).children()):
            pass
        started.end()
        assert below[0].is_running()
        assert server.poll() is None
        below[0].kill()


def test_a_program_that_ignores_sigterm_is_killed(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(programs, "PATIENCE", 0.2)
    started = Programs()
    ready = tmp_path / "ready"
    code = (
        "import pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f"pathlib.Path({str(ready)!r}).touch(); time.sleep(600)"
    )
    stubborn = subprocess.Popen([sys.executable, "-c", code])
    while not ready.exists():
        assert stubborn.poll() is None
    started.end()
    assert not psutil.pid_exists(stubborn.pid)


def test_the_process_that_removes_shared_memory_goes_on() -> None:
    started = Programs()
    code = "from multiprocessing.resource_tracker import main; import time; time.sleep(600)"
    tracker = subprocess.Popen([sys.executable, "-c", code])
    other = _sleep()
    try:
        assert [process.pid for process in started.send(signal.SIGKILL)] == [other.pid]
        assert tracker.poll() is None
    finally:
        for process in (tracker, other):
            process.kill()
            process.wait()
    # Its command line is known from what multiprocessing itself starts.
    source = Path(multiprocessing.resource_tracker.__file__).read_text()
    assert "resource_tracker import main" in source


def test_a_group_ends_where_the_system_does_not_tell_of_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(psutil, "PROCFS_PATH", "/nowhere")
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as leader:
        try:
            signal_session(leader.pid, signal.SIGTERM)
            assert leader.wait(60) == -signal.SIGTERM
        finally:
            leader.kill()


def test_a_leader_is_killed_before_its_groups_are_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It could start another one meanwhile."""
    with subprocess.Popen(["sleep", "10"], start_new_session=True) as leader:
        ended: list[int] = []
        monkeypatch.setattr(psutil, "pids", lambda: ended.append(leader.wait()) or [])
        signal_session(leader.pid, signal.SIGKILL)
    assert ended == [-signal.SIGKILL]
