"""`python -m adbo run` under a real launcher, as a user types it."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import optuna
import pytest
from studies import check_sound, load, wait_for_trials

RANKS = 4


def test_the_main_job(adbo, launcher, tmp_path: Path) -> None:
    options = ["--trials", "200", "--study-name", "a", "--seed", "1", "--json", "summary.json"]
    status, out, err = adbo(RANKS, "run", "ackley", *options, launcher=launcher)
    assert status == 0, err
    assert err == ""
    assert "best value" in out
    assert "optuna-dashboard sqlite:///adbo.db" in out
    summary = json.loads((tmp_path / "summary.json").read_text())
    trials = check_sound(load(tmp_path, "a"))
    # An evaluation takes microseconds here, a rank without a core some milliseconds to hear.
    assert 200 <= len(trials) < 300
    assert summary["n_ranks"] == RANKS
    assert summary["n_complete"] == len(trials) == sum(summary["evaluations_per_rank"])
    assert summary["best_value"] == min(t.value for t in trials)
    assert 0 < summary["utilization"] <= 1
    assert {t.user_attrs["adbo:rank"] for t in trials} == set(range(RANKS))


SLOW = """
import time

def objective(trial):
    x = trial.suggest_float("x", -5, 5)
    time.sleep(0.05)
    return x * x

def endless(trial):
    x = trial.suggest_float("x", -5, 5)
    if trial.number >= 8:
        time.sleep(600)  # rank 0, too: what others send must reach the mirror all the same
    return x * x
"""


def test_a_stopped_study_resumes(start_job, adbo, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    options = ["slow.py:objective", "--study-name", "s", "--trials", "300"]
    job = start_job(RANKS, "-m", "adbo", "run", *options)
    wait_for_trials(tmp_path, "s", 20)
    job.process.send_signal(signal.SIGTERM)
    job.end()
    before = check_sound(load(tmp_path, "s"))
    assert 20 <= len(before) < 300
    status, out, err = adbo(RANKS, "run", *options, "--resume")
    assert status == 0, err
    after = check_sound(load(tmp_path, "s"))
    assert 300 <= len(after) < 300 + 4 * RANKS
    assert [t.params for t in after[: len(before)]] == [t.params for t in before]
    assert "study s in sqlite:///adbo.db" in out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_ranks_keeps_what_is_finished(start_job, tmp_path, number) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    options = ["slow.py:endless", "--study-name", "s", "--trials", "300", "--json", "s.json"]
    job = start_job(RANKS, "-m", "adbo", "run", *options)
    wait_for_trials(tmp_path, "s", 8)
    time.sleep(0.5)  # every rank is in its endless evaluation now
    for process in job.ranks().values():
        os.kill(process, number)
    status, out, err = job.end(timeout=30)
    assert status == 130, err
    assert "stopped early" in out
    assert len(check_sound(load(tmp_path, "s"))) == 8
    assert json.loads((tmp_path / "s.json").read_text())["n_complete"] == 8


def test_the_deadline_abandons_what_is_running(adbo, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    start = time.monotonic()
    status, out, err = adbo(RANKS, "run", "slow.py:endless", "--study-name", "s", "--timeout", "3")
    assert status == 0, err
    assert time.monotonic() - start < 60  # and not 600
    assert "the time was up" in out
    assert len(check_sound(load(tmp_path, "s"))) == 8


FAILING = """
import optuna

def objective(trial):
    x = trial.suggest_float("x", -5, 5)
    if trial.number % 4 == 0:
        raise RuntimeError("no convergence")
    if trial.number % 4 == 1:
        return float("nan")
    if trial.number % 4 == 2:
        trial.report(x, step=1)
        raise optuna.TrialPruned
    return x

def always(trial):
    raise RuntimeError("no convergence")
"""


def test_failures_are_trials(adbo, tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(FAILING)
    status, _, err = adbo(
        RANKS, "run", "failing.py:objective", "--study-name", "f", "--trials", "40"
    )
    assert status == 0, err
    states = [t.state.name for t in check_sound(load(tmp_path, "f"))]
    assert {"FAIL", "PRUNED", "COMPLETE"} == set(states)
    reasons = {t.user_attrs.get("adbo:fail_reason") for t in load(tmp_path, "f").trials}
    assert "RuntimeError: no convergence" in reasons
    assert len(err.splitlines()) == 1


def test_nothing_but_failures_is_a_failed_run(adbo, tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(FAILING)
    status, _, err = adbo(RANKS, "run", "failing.py:always", "--study-name", "f", "--trials", "9")
    assert status == 1
    assert "no evaluation succeeded (RuntimeError: no convergence)" in err
    assert len(load(tmp_path, "f").trials) >= 9


BAD_INPUT = {
    "no such option": ["run", "ackley", "--trails", "5"],
    "no such command": ["walk"],
    "trials no number": ["run", "ackley", "--trials", "many"],
    "no trials": ["run", "ackley", "--trials", "0"],
    "negative timeout": ["run", "ackley", "--timeout", "-1"],
    "bad kappa": ["run", "ackley", "--kappa", "nan"],
    "bad seed": ["run", "ackley", "--seed", "-3"],
    "bad direction": ["run", "ackley", "--direction", "down"],
    "no such problem": ["run", "akley"],
    "bad dimension": ["run", "ackley:0"],
    "no such file": ["run", "nowhere.py:objective"],
    "no such function": ["run", "bad.py:missing"],
    "not callable": ["run", "bad.py:number"],
    "import error": ["run", "broken.py:objective"],
    "syntax error": ["run", "syntax.py:objective"],
    "no such module": ["run", "no.such.module:objective"],
    "no such directory of the database": ["run", "ackley", "--storage", "sqlite:////no/dir/a.db"],
    "no such kind of database": ["run", "ackley", "--storage", "oracel://x"],
    "no database server": ["run", "ackley", "--storage", "postgresql://u:secret@127.0.0.1:1/d"],
    "not a database": ["run", "ackley", "--storage", "sqlite:///bad.py"],
    "unwritable summary": ["run", "ackley", "--json", "no/dir/summary.json"],
    "existing study": ["run", "ackley", "--study-name", "exists"],
    "other direction": [
        "run", "ackley", "--study-name", "exists", "--resume", "--direction", "maximize",
    ],
    "report of nothing": ["report", "--study-name", "missing"],
}  # fmt: skip


@pytest.mark.parametrize("attempt", range(3))
def test_bad_input_under_either_library(adbo, launcher, attempt: int) -> None:
    status, _, err = adbo(3, "run", "ackley", "--trials", "x", launcher=launcher)
    assert status == 2
    assert err.count("adbo: argument --trials: invalid int value: 'x'") == 1


@pytest.mark.parametrize("arguments", BAD_INPUT.values(), ids=BAD_INPUT.keys())
def test_bad_input_is_one_line_and_status_2(adbo, tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "bad.py").write_text("number = 3\n")
    (tmp_path / "broken.py").write_text("import no_such_module\n")
    (tmp_path / "syntax.py").write_text("def objective(trial:\n")
    optuna.create_study(study_name="exists", storage=f"sqlite:///{tmp_path}/adbo.db")
    status, out, err = adbo(3, *arguments)
    assert status == 2, err
    assert out == ""
    assert len(err.splitlines()) == 1, err
    assert err.startswith("adbo: ")
    assert "Traceback" not in err
    assert "secret" not in err
    assert len(load(tmp_path, "exists").trials) == 0
