"""Fortran: ``STOP`` in a subroutine that the objective calls, and a program as the objective."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from debian import installed

from adbo.core.evaluation import FAIL_REASON

pytestmark = pytest.mark.slow  # it installs a compiler

SUBROUTINE = """\
subroutine simulate(n, x, y) bind(c)
  use iso_c_binding
  integer(c_int), value :: n
  real(c_double), value :: x
  real(c_double) :: y
  if (n == 2) stop
  y = x**2
end subroutine
"""

OBJECTIVE = """\
import ctypes
from pathlib import Path

library = ctypes.CDLL(str(Path(__file__).with_name("simulate.so")))

def objective(trial):
    x, y = trial.suggest_float("x", -5, 5), ctypes.c_double()
    library.simulate(trial.number, ctypes.c_double(x), ctypes.byref(y))
    return y.value
"""

PROGRAM = """\
program simulate
  character(64) :: word
  double precision :: x
  call get_command_argument(1, word)
  read (word, *) x
  if (x > 0) error stop 3
  print *, x**2
  stop
end program
"""

STUDY = """\
command = ["./simulate", "{x}"]

[parameters.x]
kind = "float"
low = -5
high = 5
"""


def _compile(directory: Path, source: str, *options: str) -> None:
    compiler = installed("gfortran libc6-dev", lambda: shutil.which("gfortran"))
    (directory / "simulate.f90").write_text(source)
    subprocess.run([compiler, "simulate.f90", *options], cwd=directory, check=True)


def _run(directory: Path, objective: str, *options: str) -> tuple[int, str, list]:
    """Return the exit status, standard error and the stored trials of a run of six trials."""
    command = [sys.executable, "-m", "adbo", "run", objective, "--study-name", "s", "--seed", "1"]
    done = subprocess.run(
        [*command, "--trials", "6", "--storage", "sqlite:///s.db", *options],
        cwd=directory,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{directory}/s.db")
    return done.returncode, done.stderr, study.trials


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A directory with an objective that calls a subroutine, which stops in trial 2."""
    _compile(tmp_path, SUBROUTINE, "-shared", "-fPIC", "-o", "simulate.so")
    (tmp_path / "objective.py").write_text(OBJECTIVE)
    return tmp_path


def test_stop_in_a_subroutine_is_an_error(library: Path) -> None:
    status, err, trials = _run(library, "objective.py:objective")
    assert status == 1
    assert err.startswith("adbo: the process vanished: the objective, or a library")
    assert err.count("\n") == 1
    assert {trial.state.name for trial in trials} <= {"COMPLETE"}


def test_stop_in_an_isolated_subroutine_is_a_failed_trial(library: Path) -> None:
    status, err, trials = _run(library, "objective.py:objective", "--isolate")
    assert status == 0, err
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 2 + ["FAIL"] + ["COMPLETE"] * 3
    reason = "the evaluation ended its process with exit status 0"
    assert trials[2].user_attrs[FAIL_REASON] == reason


def test_a_program(tmp_path: Path) -> None:
    _compile(tmp_path, PROGRAM, "-o", "simulate")
    (tmp_path / "study.toml").write_text(STUDY)
    status, err, trials = _run(tmp_path, "study.toml")
    assert status == 0, err
    assert {trial.state.name for trial in trials} == {"COMPLETE", "FAIL"}
    for trial in trials:
        x = trial.params["x"]
        if x > 0:
            assert "exit code 3" in trial.user_attrs[FAIL_REASON]
        else:
            assert trial.value == pytest.approx(x**2, rel=1e-12)
