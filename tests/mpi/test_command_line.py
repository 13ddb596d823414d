"""`python -m adbo run` under a real launcher, as a user types it."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import optuna
import pytest
from shared import few_more
from studies import check_sound, load, wait_for, wait_for_trials

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
    # An evaluation takes microseconds; a rank that waits for a core hears of it much later.
    assert 200 <= len(trials) < 300
    assert summary["n_ranks"] == RANKS
    assert summary["n_complete"] == len(trials) == sum(summary["evaluations_per_rank"])
    assert summary["best_value"] == min(t.value for t in trials)
    assert 0 < summary["utilization"] <= 1
    assert {t.user_attrs["adbo:rank"] for t in trials} == set(range(RANKS))


SLOW = """
import time
from pathlib import Path

def objective(trial):
    x = trial.suggest_float("x", -5, 5)
    time.sleep(0.05)
    return x * x

def endless(trial):
    x = trial.suggest_float("x", -5, 5)
    if trial.number >= 8:
        Path(f"endless-{trial.number}").touch()
        time.sleep(600)  # on rank 0, too: the trials of others must reach the mirror all the same
    return x * x
"""


@pytest.mark.slow
def test_a_stopped_study_resumes(start_job, adbo, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    options = ["slow.py:objective", "--study-name", "s", "--trials"]
    job = start_job(RANKS, "-m", "adbo", "run", *options, "100000")
    wait_for_trials(tmp_path, "s", 20)
    job.process.send_signal(signal.SIGTERM)
    job.end()
    before = check_sound(load(tmp_path, "s"))
    assert len(before) >= 20
    n_trials = len(before) + 60
    status, out, err = adbo(RANKS, "run", *options, str(n_trials), "--resume")
    assert status == 0, err
    after = check_sound(load(tmp_path, "s"))
    assert len(after) in few_more(n_trials, RANKS)
    assert [t.params for t in after[: len(before)]] == [t.params for t in before]
    assert "s in sqlite:///adbo.db\n" in out


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM]
)
def test_a_signal_to_the_ranks_keeps_what_is_finished(start_job, tmp_path, number) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    options = ["slow.py:endless", "--study-name", "s", "--trials", "300", "--json", "s.json"]
    job = start_job(RANKS, "-m", "adbo", "run", *options)
    wait_for_trials(tmp_path, "s", 8)
    wait_for(lambda: len(list(tmp_path.glob("endless-*"))) == RANKS, "every rank's last trial")
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
    assert time.monotonic() - start < 60  # an evaluation takes 600
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


@pytest.mark.slow
def test_nothing_but_failures_is_a_failed_run(adbo, tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(FAILING)
    status, _, err = adbo(RANKS, "run", "failing.py:always", "--study-name", "f", "--trials", "9")
    assert status == 1
    assert "no evaluation succeeded (RuntimeError: no convergence)" in err
    assert len(load(tmp_path, "f").trials) >= 9


WRONG_USAGE = {
    "the parser": ["run", "ackley", "--trials", "x"],
    "every rank": ["run", "nowhere.py:objective"],
    "the mirror owner": ["run", "ackley", "--study-name", "exists"],
}


@pytest.mark.parametrize("arguments", WRONG_USAGE.values(), ids=WRONG_USAGE.keys())
def test_one_rank_reports_wrong_usage(
    adbo, launcher, tmp_path: Path, arguments: list[str]
) -> None:
    """Whichever rank finds it. What counts as wrong: tests/unit/test_usage_errors.py."""
    optuna.create_study(study_name="exists", storage=f"sqlite:///{tmp_path}/adbo.db")
    status, out, err = adbo(3, *arguments, launcher=launcher)
    assert status == 2, err
    assert out == ""
    assert sum(line.startswith("adbo: ") for line in err.splitlines()) == 1, err
    assert "Traceback" not in err
    assert len(load(tmp_path, "exists").trials) == 0
