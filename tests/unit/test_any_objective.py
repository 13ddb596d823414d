"""Objectives that misbehave, each in a run of one process. On several ranks: tests/mpi."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import any_objective
import optuna
import psutil
import pytest
from any_objective import GOOD, SWALLOWED

from adbo.core.evaluation import FAIL_REASON

FILE = any_objective.__file__

#: Seconds in which a run must end; far more than it needs, so that a busy machine fails no test.
LONG = 300


class Run:
    """A run of one process."""

    def __init__(self, place: Path, *arguments: str, **environment: str) -> None:
        self.place = place
        self.process = subprocess.Popen(
            [sys.executable, "-m", "adbo", *arguments],
            cwd=place,
            env=os.environ | {"OMP_NUM_THREADS": "1", "DATABASE_URL": ""} | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.out = self.err = b""

    def end(self, status: int) -> Run:
        """Wait for the end."""
        self.out, self.err = self.process.communicate(timeout=LONG)
        assert self.process.returncode == status, self.err.decode()
        return self

    def kill(self) -> None:
        """Kill all its processes."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate()

    @property
    def summary(self) -> dict[str, Any]:
        """The summary."""
        summary: dict[str, Any] = json.loads((self.place / "summary.json").read_text())
        return summary

    @property
    def trials(self) -> list[optuna.trial.FrozenTrial]:
        """The stored trials."""
        storage = f"sqlite:///{self.place}/adbo.db"
        return optuna.load_study(study_name="s", storage=storage).trials


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Return a function that starts a run of one of the objectives."""
    runs: list[Run] = []

    def start(name: str, *options: str, **environment: str) -> Run:
        arguments = ["--study-name", "s", "--json", "summary.json", *options]
        runs.append(Run(tmp_path, "run", f"{FILE}:{name}", *arguments, **environment))
        return runs[-1]

    yield start
    for run in runs:
        run.kill()


@pytest.mark.parametrize(
    "name",
    [
        *("catches_everything", "tries_again"),
        *("waits_for_a_program", "calls_the_shell", "waits_for_threads"),
    ],
)
def test_an_abandoned_evaluation_is_not_stored_and_leaves_nothing(start, tmp_path, name) -> None:
    run = start(name, "--timeout", "2").end(0)
    assert b"stopped early: the time was up" in run.out
    assert run.summary["wall_seconds"] < LONG  # the objective takes 600
    values = [trial.value for trial in run.trials]
    assert len(values) <= GOOD
    assert SWALLOWED not in values
    program = tmp_path / "program"
    if program.exists():
        assert not psutil.pid_exists(int(program.read_text()))


def test_whatever_is_raised_is_a_failure(start) -> None:
    run = start("raises_anything", "--trials", str(GOOD + 4)).end(0)
    reasons = [trial.user_attrs.get(FAIL_REASON) for trial in run.trials]
    expected = ["GeneratorExit", "CancelledError: by a loop", "Panic", "SystemExit: 3"]
    assert reasons == [None] * GOOD + expected


@pytest.mark.parametrize(
    "name",
    [
        *("ends_in_python", "ends_by_what_was_imported"),
        *("ends_in_c", "ends_in_c_with_the_lock"),
    ],
)
def test_a_process_that_the_objective_ends_is_an_error(start, name) -> None:
    run = start(name, "--trials", "20").end(1)
    assert run.err.startswith(b"adbo: the process vanished: the objective, or a library")
    assert run.err.count(b"\n") == 1


@pytest.mark.parametrize("end", ["os._exit(0)", "ctypes.CDLL(None).exit(0)"])
def test_a_process_that_ends_while_the_objective_is_loaded_is_an_error(tmp_path, end) -> None:
    (tmp_path / "ends.py").write_text(f"import ctypes, os\n{end}\n")
    run = Run(tmp_path, "run", "ends.py:objective").end(1)
    assert run.err.startswith(b"adbo: the process vanished: the objective's file, or a library")
    assert run.err.count(b"\n") == 1
    assert not (tmp_path / "adbo.db").exists()


def test_children_that_are_told_to_end_do_so_in_silence(start) -> None:
    run = start("uses_pools", "--trials", "4").end(0)
    assert run.err == b""
    assert [trial.state.name for trial in run.trials] == ["COMPLETE"] * 4


def test_a_forked_child_does_not_become_an_optimizer(start, tmp_path) -> None:
    run = start("forks", "--trials", "6").end(0)
    assert [trial.user_attrs["child"] for trial in run.trials] == [7, 1, 0, 7, 1, 0]
    assert len(list(tmp_path.glob("call-*"))) == 6
    assert run.err.count(b"ValueError: of the child") == 2
    assert run.out.count(b"child of 2") == run.out.count(b"child of 5") == 1
    assert run.out.count(b"best value") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_can_be_stopped_whatever_handlers_the_objective_has_left(
    start, tmp_path, number
) -> None:
    run = start("leaves_handlers")
    deadline = time.monotonic() + LONG
    while not (tmp_path / "late").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    run.process.send_signal(number)
    run.end(130)
    assert [trial.state.name for trial in run.trials] == ["COMPLETE"] * GOOD


@pytest.mark.parametrize("name", ["deletes_its_directory", "goes_elsewhere"])
def test_the_summary_and_the_study_are_where_the_command_was_started(start, name) -> None:
    run = start(name, "--trials", "5").end(0)
    assert run.err == b""
    assert run.summary["n_complete"] == len(run.trials) == 5


def test_importing_an_objective_moves_nothing_either(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    text = (
        "import os\nos.chdir('elsewhere')\n\ndef f(trial): return trial.suggest_int('x', 0, 1)\n"
    )
    (tmp_path / "moving.py").write_text(text)
    options = ["--study-name", "s", "--json", "summary.json", "--trials", "3"]
    run = Run(tmp_path, "run", "moving:f", *options).end(0)
    assert run.summary["n_complete"] == len(run.trials) == 3


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
    ids=["encoding", "locale"],
)
def test_a_terminal_that_lacks_characters(start, tmp_path, environment) -> None:
    run = start("has_a_german_name", "--trials", "6", **environment).end(0)
    assert rb"at Gr\xf6\xdfe=" in run.out
    assert rb"(ValueError: das Ma\xdf ist voll)" in run.err
    if "LC_ALL" not in environment:
        assert rb"at Gr\xf6\xdfe=" in Run(tmp_path, "report", **environment).end(0).out
    assert list(run.trials[0].params) == ["Größe"]
