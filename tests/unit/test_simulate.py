"""Whole simulations: limits, costs charged to the virtual clock, metrics and settings."""

from __future__ import annotations

import itertools
import json
import math
import os
import signal
from functools import partial

import numpy as np
import optuna
import pytest
from simulated_objectives import branching, sphere

from adbo.core.errors import UsageError
from adbo.simulation import virtual_ranks
from adbo.simulation.durations import parse_duration
from adbo.simulation.settings import SimulationSettings
from adbo.simulation.simulate import simulate


def test_receiving_is_charged_by_the_record(monkeypatch):
    monkeypatch.setattr(virtual_ranks, "measure_receive_seconds", lambda evaluation: 100.0)
    log = simulate(sphere, SimulationSettings(3, n_trials=40, duration="constant:100")).log
    for rank in range(3):
        mine, others = log[log["rank"] == rank], log[log["rank"] != rank]
        n_known = 0
        for before, after in itertools.pairwise(mine):
            n_now = np.count_nonzero(others["finished"] <= before["finished"])
            assert after["ask_seconds"] // 100.0 == n_now - n_known
            n_known = n_now


def test_evaluations_cut_by_the_end_do_not_count():
    run = partial(SimulationSettings, 3, seconds=35.0, duration="constant:10")
    free = simulate(sphere, run(ask_cost=0.0))
    costly = simulate(sphere, run(ask_cost=2.0))
    assert len(free.history) == 9
    assert free.utilization == free.attainable == pytest.approx(30 / 35)
    assert free.idle == 0
    assert len(costly.history) == 6
    assert costly.utilization == pytest.approx(20 / 35)
    assert costly.attainable == pytest.approx(30 / 35)
    assert costly.overhead == pytest.approx(15 / 35 * 35 * 3 / 6)
    assert costly.idle == pytest.approx(2.0)
    assert costly.log["ask_seconds"].tolist() == [2.0] * 6
    assert costly.log["finished"].tolist() == [12.0] * 3 + [24.0] * 3
    assert costly.log["started"].tolist() == [2.0] * 3 + [14.0] * 3


def test_the_measured_cost_of_an_ask_is_charged():
    log = simulate(sphere, SimulationSettings(4, n_trials=60)).log
    assert (log["ask_seconds"] > 0).all()
    for rank in range(4):
        mine = log[log["rank"] == rank]
        free = np.concatenate([[0.0], mine["finished"][:-1]])
        assert mine["started"] == pytest.approx(free + mine["ask_seconds"])


def test_it_ends_with_the_last_trial_asked_for():
    settings = SimulationSettings(4, n_trials=10, ask_cost=0.0, seconds=1e6)
    simulation = simulate(sphere, settings)
    assert len(simulation.history) == 10
    assert simulation.seconds == simulation.log["finished"][-1]
    assert not simulation.interrupted


def test_the_seed_decides():
    def run(seed):
        settings = SimulationSettings(4, n_trials=30, ask_cost=0.01, seed=seed, latency=0.1)
        return simulate(branching, settings).history.evaluations()

    assert repr(run(1)) == repr(run(1))
    assert repr(run(1)) != repr(run(2))


def test_the_seed_decides_with_several_jobs_too():
    def run(seed, processes=1):
        jobs = {"jobs": 2, "job_latency": 45.0, "processes": processes}
        settings = SimulationSettings(4, 30, ask_cost=0.01, seed=seed, latency=0.1, **jobs)
        return repr(simulate(branching, settings).history.evaluations())

    assert run(1) == run(1) == run(1, processes=2)
    assert run(1) != run(2)


def test_the_latency_may_exceed_the_job_latency_of_a_single_job():
    run = partial(SimulationSettings, 4, 30, ask_cost=0.01, seed=1, latency=20.0)
    logs = [simulate(sphere, settings).log for settings in (run(), run(job_latency=45.0))]
    assert (logs[0] == logs[1]).all()


@pytest.mark.parametrize("processes", [1, 2])
def test_interruption_keeps_what_is_done(processes):
    calls = []

    def progress(fraction, best):
        calls.append((fraction, best))
        if len(calls) == 5:
            raise KeyboardInterrupt

    settings = SimulationSettings(4, n_trials=20, ask_cost=0.0, processes=processes)
    simulation = simulate(sphere, settings, progress)
    assert simulation.interrupted
    assert len(simulation.history) == 5
    assert simulation.seconds == simulation.log["finished"][-1]
    assert calls == [
        ((n + 1) / 20, best) for n, best in enumerate(simulation.best_so_far.tolist())
    ]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_the_death_of_a_process_keeps_what_is_done():
    """A process may be killed because it uses too much memory."""

    def objective(trial):
        if trial.number == 13:
            os.kill(os.getpid(), signal.SIGKILL)
        return sphere(trial)

    settings = SimulationSettings(4, n_trials=40, ask_cost=0.0, processes=2)
    simulation = simulate(objective, settings)
    assert "died" in simulation.failure
    assert 4 <= len(simulation.history) < 20


def test_failures_and_pruned_trials_have_no_part_in_the_best():
    def objective(trial):
        x = trial.suggest_float("x", 0, 1)
        if trial.number % 3 == 0:
            raise ValueError("no")
        if trial.number % 3 == 1:
            trial.report(2.0, 0)
            raise optuna.TrialPruned
        return x

    settings = SimulationSettings(3, n_trials=30, ask_cost=0.0, direction="maximize")
    simulation = simulate(objective, settings)
    values = simulation.log["value"][simulation.history.column("state") == 1]
    best = simulation.best_so_far
    assert best[-1] == values.max() <= 1
    assert (np.diff(best[~np.isnan(best)]) >= 0).all()
    summary = json.loads(json.dumps(simulation.summary("name", "none").to_json()))
    assert summary["best_value"] == best[-1]
    assert summary["n_complete"] + summary["n_pruned"] + summary["n_fail"] == 30
    assert min(summary["n_complete"], summary["n_pruned"], summary["n_fail"]) > 0
    assert sum(summary["evaluations_per_rank"]) == 30
    assert summary["direction"] == "maximize"
    assert simulation.log["value"].size == 30


def test_nothing_finished_is_a_result_too():
    simulation = simulate(
        sphere, SimulationSettings(2, seconds=1.0, duration="constant:5", ask_cost=0.0)
    )
    summary = simulation.summary("name", "none")
    assert (summary.n_complete, summary.best_value, summary.utilization) == (0, None, 0)
    assert math.isnan(simulation.overhead)


@pytest.mark.parametrize(
    ("text", "mean", "std"),
    [
        ("normal:60,20", 60, 20),
        ("constant:3.5", 3.5, 0),
        ("exponential:2", 2, 2),
        ("lognormal:0,0.5", math.exp(0.125), math.exp(0.125) * math.sqrt(math.exp(0.25) - 1)),
    ],
)
def test_durations(text, mean, std):
    rng = np.random.default_rng(0)
    seconds = np.array([parse_duration(text)(rng) for _ in range(20_000)])
    assert seconds.min() >= 0
    assert seconds.mean() == pytest.approx(mean, rel=0.02)
    assert seconds.std() == pytest.approx(std, rel=0.03)


@pytest.mark.parametrize(
    "text", ["", "normal", "normal:60", "normal:a,b", "constant:0", "normal:60,-1", "weibull:1"]
)
def test_durations_that_make_no_sense(text):
    with pytest.raises(UsageError, match=r"must be (one of|positive)"):
        parse_duration(text)


@pytest.mark.parametrize(
    "text", ["lognormal:60,20", "lognormal:800,1", "lognormal:-1000,0", "constant:1e-300"]
)
def test_durations_for_which_no_clock_is_made(text):
    with pytest.raises(UsageError, match="evaluations must take from 1e-06 to 1e"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("workers", 0),
        ("n_trials", 0),
        ("seconds", -1.0),
        ("latency", -0.1),
        ("ask_cost", -1.0),
        ("method", "magic"),
        ("direction", "up"),
        ("seed", -1),
        ("kappa", -1.0),
        ("processes", 0),
        ("jobs", 0),
        ("job_latency", -1.0),
        ("job_latency", math.inf),
    ],
)
def test_settings_that_make_no_sense(name, value):
    option = {"n_trials": "trials", "seconds": "time"}.get(name, name).replace("_", " ")
    with pytest.raises(UsageError, match=f"^{option} is .*: it must be "):
        SimulationSettings(**{"workers": 2, "n_trials": 1, name: value})


def test_a_simulation_needs_an_end():
    with pytest.raises(UsageError, match="needs an end"):
        SimulationSettings(4)
