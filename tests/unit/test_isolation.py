"""Evaluations in a process of their own: whatever happens there is a trial, not the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest

import adbo
from adbo.core.evaluation import FAIL_REASON

#: The 1st, 2nd, ... trial of each objective misbehaves; the others do not.
MISBEHAVIOUR = {
    "is killed": ("os.kill(os.getpid(), 9)", "killed by SIGKILL: perhaps the memory"),
    "crashes": ("ctypes.string_at(0)", "the process of the evaluation was killed by SIGSEGV"),
    "exits": ("os._exit(0)", "the evaluation ended its process with exit status 0"),
    "exits in C": ("ctypes.CDLL(None).exit(3)", "ended its process with exit status 3"),
    "exits in C at once": ("ctypes.CDLL(None)._exit(0)", "its process with exit status 0"),
    "hangs": ("time.sleep(600)", "no result after 2 s"),
    "hangs with the interpreter's lock": ("ctypes.PyDLL(None).sleep(600)", "no result after 2 s"),
    "starts a group": ("os.system('timeout 600 sleep 600')", "no result after 2 s"),
    "raises": ("raise GeneratorExit", "GeneratorExit"),
    "returns nothing": ("return None", "The value None could not be cast to float"),
    "forks": ("os.fork() or sys.exit(3)", None),
    "changes its directory": ("os.chdir('/')", None),
}  # fmt: skip

OBJECTIVE = """
import ctypes, os, sys, time
{head}

def objective(trial):
    x = trial.suggest_float("x", -5, 5)
    trial.set_user_attr("pid", os.getpid())
    if trial.number == 1:
        {line}
    return x * x
"""

OPTIONS = ["--trials", "3", "--seed", "1", "--storage", "sqlite:///s.db", "--study-name", "s"]


def started(directory: Path, line: str, *options: str, head: str = "") -> subprocess.Popen[str]:
    (directory / "f.py").write_text(OBJECTIVE.format(line=line, head=head))
    command = [sys.executable, "-m", "adbo", "run", "f.py:objective", *OPTIONS, *options]
    return subprocess.Popen(
        command, cwd=directory, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def trials_in(directory: Path) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name="s", storage=f"sqlite:///{directory}/s.db").trials


def processes_in(directory: Path) -> list[psutil.Process]:
    """Return the processes of evaluations, and their guards, that work in a directory."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(directory) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            pass
    return found


@pytest.mark.parametrize("what", MISBEHAVIOUR)
def test_what_an_evaluation_does_is_a_trial(what: str, tmp_path: Path) -> None:
    line, reason = MISBEHAVIOUR[what]
    run = started(tmp_path, line, "--isolate", "--trial-timeout", "2")
    _, err = run.communicate(timeout=100)
    assert run.returncode == 0, err
    assert "Traceback" not in err
    first, second, third = trials_in(tmp_path)
    assert first.state.name == third.state.name == "COMPLETE"
    assert list(second.params) == ["x"]
    assert second.user_attrs.get("pid") not in (None, run.pid)
    if reason is None:
        assert second.state.name == "COMPLETE"
    else:
        assert second.state.name == "FAIL"
        assert reason in second.user_attrs[FAIL_REASON]
    assert processes_in(tmp_path) == []


def test_the_process_loads_the_objective_once(tmp_path: Path) -> None:
    run = started(tmp_path, "pass", "--isolate", head="print('loaded', flush=True)")
    out, err = run.communicate(timeout=100)
    assert run.returncode == 0, err
    assert out.count("loaded") == 1
    assert len({trial.user_attrs["pid"] for trial in trials_in(tmp_path)} - {run.pid}) == 1


@pytest.mark.parametrize(
    ("head", "complaint"),
    [("1 / 0", "cannot import f.py: ZeroDivisionError"), ("os._exit(3)", "exit status 3")],
)
def test_an_objective_that_cannot_be_loaded(head: str, complaint: str, tmp_path: Path) -> None:
    run = started(tmp_path, "pass", "--isolate", head=head)
    _, err = run.communicate(timeout=100)
    assert run.returncode == 2
    assert complaint in err
    assert len(err.splitlines()) == 1
    assert processes_in(tmp_path) == []


def waits_for(path: Path, run: subprocess.Popen[str]) -> None:
    while not path.exists():
        assert run.poll() is None
        time.sleep(0.01)


@pytest.mark.parametrize("line", ["time.sleep(600)", "ctypes.PyDLL(None).sleep(600)"])
def test_a_rank_that_is_killed_takes_the_evaluation_along(line: str, tmp_path: Path) -> None:
    run = started(tmp_path, f"open('begun', 'w'); {line}", "--isolate")
    waits_for(tmp_path / "begun", run)
    assert len(processes_in(tmp_path)) >= 3  # the rank, its guard and the evaluation
    run.kill()
    run.communicate(timeout=100)
    _, alive = psutil.wait_procs(processes_in(tmp_path), timeout=30)
    assert alive == []


def test_an_interrupted_evaluation_cleans_up_and_is_no_trial(tmp_path: Path) -> None:
    line = "open('begun', 'w'); exec(open('wait.py').read())"
    (tmp_path / "wait.py").write_text(
        "try:\n    time.sleep(600)\nfinally:\n    open('cleaned', 'w')\n"
    )
    run = started(tmp_path, line, "--isolate")
    waits_for(tmp_path / "begun", run)
    run.send_signal(signal.SIGTERM)
    _, err = run.communicate(timeout=100)
    assert run.returncode == 130, err
    assert "Traceback" not in err
    assert (tmp_path / "cleaned").exists()
    assert [trial.state.name for trial in trials_in(tmp_path)] == ["COMPLETE"]
    assert processes_in(tmp_path) == []


def test_the_same_trials_as_without(tmp_path: Path) -> None:
    values = []
    for name, isolate in (("a", False), ("b", True)):
        study = adbo.optimize(
            lambda trial: trial.suggest_float("x", -5, 5) ** 2, 6, seed=3, isolate=isolate,
            storage=None, study_name=name,
        )  # fmt: skip
        values.append([trial.value for trial in study.trials])
    assert values[0] == values[1]


OWN_CLASSES = """
import enum

class Mode(str, enum.Enum):
    FAST = "fast"
    SLOW = "slow"

class Point:
    pass

def objective(trial):
    mode = trial.suggest_categorical("mode", list(Mode))
    trial.set_user_attr("mode", mode)
    trial.set_user_attr("is a member", mode in list(Mode) and isinstance(mode, Mode))
    for name, set_it in (
        ("attribute", lambda: trial.set_user_attr("point", Point())),
        ("choice", lambda: trial.suggest_categorical("point", [Point(), 1])),
        ("enqueued", lambda: trial.study.enqueue_trial({"mode": Point()})),
    ):
        try:
            set_it()
        except Exception as error:
            trial.set_user_attr(name, type(error).__name__)
    return float(trial.suggest_float("x", -5, 5) ** 2)
"""


@pytest.mark.parametrize("isolate", [[], ["--isolate"]])
def test_classes_of_the_objective_need_not_be_known_elsewhere(
    isolate: list[str], tmp_path: Path
) -> None:
    """The rank, and a run that continues, know choices and attributes as JSON has them."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "own.py").write_text(OWN_CLASSES)
    for n_trials in ("3", "6"):
        command = [sys.executable, "-m", "adbo", "run", "elsewhere/own.py:objective", "--resume"]
        command += [*OPTIONS, "--trials", n_trials, *isolate]
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
        assert run.returncode == 0, run.stderr
        assert "Traceback" not in run.stderr
    trials = trials_in(tmp_path)
    assert len(trials) == 6
    enqueued = "ModuleNotFoundError" if isolate else "TypeError"
    for trial in trials:
        assert trial.user_attrs["mode"] == trial.params["mode"]
        assert trial.user_attrs["is a member"] is True
        assert trial.user_attrs["attribute"] == trial.user_attrs["choice"] == "TypeError"
        assert trial.user_attrs["enqueued"] == enqueued


def test_a_process_that_dies_between_two_evaluations_fails_none() -> None:
    def objective(trial: optuna.Trial) -> float:
        trial.set_user_attr("pid", os.getpid())
        return trial.suggest_float("x", -5, 5) ** 2

    def kill(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        os.kill(trial.user_attrs["pid"], signal.SIGKILL)
        os.waitid(os.P_PID, trial.user_attrs["pid"], os.WEXITED | os.WNOWAIT)  # all its threads

    study = adbo.optimize(objective, 3, storage=None, isolate=True, callbacks=[kill])
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 3


def test_the_study_of_the_trial_in_its_process() -> None:
    def objective(trial: optuna.Trial) -> float:
        best = trial.study.best_value if trial.number else None
        trial.set_user_attr("best", best)
        if trial.number == 3:
            trial.study.stop()
        trial.report(2.0, step=1)
        if trial.number == 1:
            raise optuna.TrialPruned
        return float(-trial.number)

    study = adbo.optimize(objective, 50, storage=None, isolate=True)
    assert [trial.value for trial in study.trials] == [0.0, 2.0, -2.0, -3.0]
    assert [trial.user_attrs["best"] for trial in study.trials] == [None, 0.0, 0.0, -2.0]


def test_a_contradiction_ends_the_run(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/s.db"
    adbo.optimize(lambda trial: trial.suggest_float("x", 0, 1), 1, storage=storage, study_name="s")
    with pytest.raises(ValueError, match="parameter 'x': the objective asks for IntDistribution"):
        adbo.optimize(
            lambda trial: trial.suggest_int("x", 0, 1), 2, storage=storage, study_name="s",
            resume=True, isolate=True,
        )  # fmt: skip


@pytest.mark.parametrize("isolate", [False, True])
def test_failed_trials_are_evaluated_again(isolate: bool, tmp_path: Path) -> None:
    def objective(trial: optuna.Trial) -> Any:
        x = trial.suggest_float("x", 0, 1)
        with open(tmp_path / f"{trial.number}", "a") as file:
            file.write(f"{x!r}\n")
        attempt = len((tmp_path / f"{trial.number}").read_text().splitlines())
        trial.report(attempt, step=0)
        trial.set_user_attr("attempt", attempt)
        if attempt <= trial.number:
            raise RuntimeError("no licence")
        return x

    study = adbo.optimize(objective, 4, storage=None, isolate=isolate, retries=2)
    assert [t.state.name for t in study.trials] == ["COMPLETE"] * 3 + ["FAIL"]
    assert [t.user_attrs["attempt"] for t in study.trials] == [1, 2, 3, 3]
    assert [t.intermediate_values for t in study.trials] == [{0: 1}, {0: 2}, {0: 3}, {0: 3}]
    for number in range(4):
        assert len(set((tmp_path / f"{number}").read_text().splitlines())) == 1


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (
            ["--trial-timeout", "0"],
            "trial timeout is 0.0: it must be a positive number",
        ),
        (["--trial-timeout", "inf"], "trial timeout is inf"),
        (["--retries", "-1"], "retries is -1: it must be a non-negative integer"),
        (["--isolate", "--ranks-per-trial", "2"], "only with --ranks-per-trial 1"),
    ],
)
def test_wrong_options(options: list[str], complaint: str, tmp_path: Path) -> None:
    run = started(tmp_path, "pass", *options)
    _, err = run.communicate(timeout=100)
    assert run.returncode == 2
    assert complaint in err
    assert len(err.splitlines()) == 1


def test_the_environment_has_no_launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMPI_COMM_WORLD_LOCAL_RANK", "0")
    monkeypatch.setenv("MINE", "1")

    def objective(trial: optuna.Trial) -> float:
        trial.set_user_attr(
            "names", sorted({"OMPI_COMM_WORLD_LOCAL_RANK", "MINE"} & {*os.environ})
        )
        return 1.0

    [trial] = adbo.optimize(objective, 1, storage=None, isolate=True).trials
    assert trial.user_attrs["names"] == ["MINE"]
