"""Enqueued trials in a job of several ranks."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from studies import load, wait_for_trials

RANKS = 3

OBJECTIVE = """
import time

def objective(trial):
    x = trial.suggest_float("x", -5, 5)
    kind = trial.suggest_categorical("kind", ["a", "b"])
    trial.set_user_attr("began", time.time())
    time.sleep(0.02)
    return x * x + (kind == "a")

def slow(trial):
    if trial.number >= 3:
        time.sleep(600)
    return objective(trial)
"""


def test_more_enqueued_trials_than_ranks(adbo, launcher, tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(OBJECTIVE)
    study = optuna.create_study(study_name="s", storage=f"sqlite:///{tmp_path}/adbo.db")
    study.add_trial(
        optuna.trial.create_trial(
            params={"x": 4.0},
            distributions={"x": optuna.distributions.FloatDistribution(-5, 5)},
            value=16.0,
        )
    )
    points = [number / 10 for number in range(10)]
    for x in points:
        study.enqueue_trial({"x": x, "kind": "b"}, user_attrs={"note": f"point {x}"})
    options = ["module.py:objective", "--study-name", "s", "--trials", "40", "--resume"]
    status, _, err = adbo(RANKS, "run", *options, launcher=launcher)
    assert status == 0, err
    trials = load(tmp_path, "s").get_trials()
    assert [t.number for t in trials] == list(range(len(trials)))
    assert all(t.state.is_finished() for t in trials)
    enqueued, others = trials[1:11], trials[11:]
    assert [t.params for t in enqueued] == [{"x": x, "kind": "b"} for x in points]
    assert [t.user_attrs["note"] for t in enqueued] == [f"point {x}" for x in points]
    assert [t.value for t in enqueued] == [x * x for x in points]
    assert len(others) >= 29
    assert not any("note" in t.user_attrs for t in others)
    # All ranks evaluate some, before any other trial.
    assert {t.user_attrs["adbo:rank"] for t in enqueued} == set(range(RANKS))
    for rank in range(RANKS):
        began, later = (
            [t.user_attrs["began"] for t in group if t.user_attrs["adbo:rank"] == rank]
            for group in (enqueued, others)
        )
        assert len(began) >= len(points) // RANKS
        assert max(began) < min(later, default=float("inf"))


@pytest.mark.slow
def test_enqueued_trials_of_a_killed_job(start_job, adbo, tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(OBJECTIVE)
    study = optuna.create_study(study_name="s", storage=f"sqlite:///{tmp_path}/adbo.db")
    points = [number / 10 for number in range(8)]
    for x in points:
        study.enqueue_trial({"x": x, "kind": "b"})
    options = ["--study-name", "s", "--resume"]
    job = start_job(RANKS, "-m", "adbo", "run", "module.py:slow", *options)
    wait_for_trials(tmp_path, "s", RANKS)
    job.kill()
    before = load(tmp_path, "s").get_trials()
    assert sum(t.state.is_finished() for t in before) == RANKS
    status, _, err = adbo(RANKS, "run", "module.py:objective", "--trials", "20", *options)
    assert status == 0, err
    trials = load(tmp_path, "s").get_trials()
    assert all(t.state.is_finished() for t in trials)
    assert [t.params["x"] for t in trials[:8]] == points
    # An ask may change the other parameter only.
    assert sum(t.params["x"] in points and t.params["kind"] == "b" for t in trials) == 8
    for old, new in zip(before, trials, strict=False):
        if old.state.is_finished():
            assert (old.values, old.datetime_complete) == (new.values, new.datetime_complete)
