"""An objective that contradicts the study ends the run at its first trial, and uses nothing up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

import adbo
from adbo.cli.main import main

URL = "sqlite:///adbo.db"

OBJECTIVES = """
def first(trial):
    trial.suggest_float("x", 0, 1)
    return len(trial.suggest_categorical("k", ["a", "b", "c"]))

def other_order(trial):
    k = trial.suggest_categorical("k", ["c", "a", "b"])
    trial.set_user_attr("k", k)
    return trial.suggest_float("x", 0, 1)

def choices(trial):
    return len(trial.suggest_categorical("k", ["a", "b"]))

def kind(trial):
    return trial.suggest_int("x", 0, 1)

def log(trial):
    return trial.suggest_float("x", 0.1, 1, log=True)

def hidden(trial):
    try:
        return trial.suggest_int("x", 0, 1)
    except:
        return 1e9
"""


@pytest.fixture(autouse=True)
def _in_a_directory_with_a_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    Path("my.py").write_text(OBJECTIVES)
    assert main(["run", "my.py:first", "--study-name", "s", "--trials", "5"]) == 0
    capfd.readouterr()


def _trials() -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name="s", storage=URL).get_trials()


K = "CategoricalDistribution(choices=('a', 'b', 'c'))"
X = "FloatDistribution(high=1.0, log=False, low=0.0, step=None)"
INT = "IntDistribution(high=1, log=False, low=0, step=1)"


@pytest.mark.parametrize(
    ("function", "name", "asked", "known"),
    [
        ("choices", "k", "CategoricalDistribution(choices=('a', 'b'))", K),
        ("kind", "x", INT, X),
        ("log", "x", "FloatDistribution(high=1.0, log=True, low=0.1, step=None)", X),
        ("hidden", "x", INT, X),
    ],
)
def test_it_is_told_in_one_line(
    function: str, name: str, asked: str, known: str, capfd: pytest.CaptureFixture[str]
) -> None:
    before = _trials()
    options = ["--study-name", "s", "--resume", "--trials", "50", "--json", "s.json", "--quiet"]
    assert main(["run", f"my.py:{function}", *options]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err == (
        f"adbo: parameter {name!r}: the objective asks for {asked}, the study has {known}:"
        " use another --study-name, or the objective of the study\n"
    )
    assert _trials() == before
    assert {path.name for path in Path().iterdir()} <= {"my.py", "adbo.db", "__pycache__"}


def test_from_python_it_is_a_value_error() -> None:
    before = _trials()
    with pytest.raises(ValueError, match="parameter 'x': the objective asks for IntDistribution"):
        adbo.optimize(
            lambda trial: trial.suggest_int("x", 0, 1), n_trials=9, study_name="s", resume=True
        )
    assert _trials() == before


def test_an_enqueued_trial_is_not_used_up() -> None:
    study = optuna.load_study(study_name="s", storage=URL)
    study.enqueue_trial({"x": 0.5})
    assert main(["run", "my.py:kind", "--study-name", "s", "--resume", "--trials", "9"]) == 2
    assert _trials()[-1].state == TrialState.WAITING
    assert main(["run", "my.py:first", "--study-name", "s", "--resume", "--trials", "9"]) == 0
    assert _trials()[5].params["x"] == 0.5
    assert [trial.state for trial in _trials()] == [TrialState.COMPLETE] * 9


def test_another_order_of_the_choices_is_no_contradiction() -> None:
    options = ["--study-name", "s", "--resume", "--trials", "20"]
    assert main(["run", "my.py:other_order", *options]) == 0
    trials = _trials()
    assert len(trials) == 20
    assert {str(trial.distributions["k"]) for trial in trials} == {K}
    assert all(trial.params["k"] == trial.user_attrs["k"] for trial in trials[5:])


@pytest.fixture
def late() -> Callable[[Any], float]:
    """An objective of which each trial but the first contradicts the study."""
    n_calls = 0

    def objective(trial: Any) -> float:
        nonlocal n_calls
        n_calls += 1
        return trial.suggest_float("x", 0, 1) if n_calls == 1 else trial.suggest_int("x", 0, 1)

    return objective


def test_a_later_trial_fails_and_the_run_goes_on(late: Callable[[Any], float]) -> None:
    study = adbo.optimize(late, n_trials=9, study_name="s", resume=True)
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.COMPLETE] * 6 + [TrialState.FAIL] * 3
    assert study.trials[-1].user_attrs["adbo:fail_reason"] == (
        f"ValueError: parameter 'x': the objective asks for {INT}, the study has {X}"
    )
