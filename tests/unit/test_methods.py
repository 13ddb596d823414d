"""The methods that adbo is compared with."""

from __future__ import annotations

import itertools
import math
import sys
import time
import warnings
from dataclasses import replace
from functools import partial

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from adbo.core.errors import UsageError
from adbo.core.evaluation import to_batch
from adbo.core.rungs import LATEST
from adbo.simulation import egele2022
from adbo.simulation.egele2022 import Egele2022Settings
from adbo.simulation.methods import METHODS, MethodSettings, make_methods
from adbo.simulation.settings import SimulationSettings
from adbo.simulation.shared_history import SharedHistory
from adbo.simulation.simulate import simulate as simulate_with


def sphere(trial):
    return sum(trial.suggest_float(f"x{i}", -5, 5) ** 2 for i in range(2))


def mixed(trial):
    x = trial.suggest_float("x", 1e-3, 1, log=True)
    if trial.suggest_categorical("kind", ["a", "b"]) == "a":
        return x + trial.suggest_int("n", 1, 5)
    if x > 0.5:
        raise ValueError("too large")
    return x


def training(trial):
    """Nine epochs that approach the value x."""
    x = trial.suggest_float("x", 0, 1)
    for epoch in range(9):
        trial.report(x + 1 / (epoch + 1), epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    return x


SETTINGS = SimulationSettings(5, n_trials=40, duration="normal:10,4", ask_cost=0.5, seed=2)


#: Small surrogates, so that all methods are simulated in seconds.
SMALL = Egele2022Settings(n_candidates=300, n_trees=5)
simulate = partial(simulate_with, methods=make_methods(MethodSettings(SMALL)))


def by_rank(log):
    for rank in np.unique(log["rank"]):
        yield log[log["rank"] == rank]


@pytest.mark.parametrize("objective", [sphere, mixed])
@pytest.mark.parametrize("method", METHODS)
def test_every_method(method, objective):
    settings = replace(SETTINGS, method=method, latency=0.25)
    simulation = simulate(objective, settings)
    log = simulation.log
    assert len(log) == 40
    complete = simulation.history.column("state") == TrialState.COMPLETE.value
    assert complete.all() or objective is not sphere
    assert (np.diff(log["finished"]) >= 0).all()
    for mine in by_rank(log):
        assert mine["seq"].tolist() == list(range(len(mine)))
        assert (mine["started"][1:] >= mine["finished"][:-1] + 0.5 - 1e-9).all()
    again = simulate(objective, settings)
    assert repr(again.history.evaluations()) == repr(simulation.history.evaluations())


@pytest.mark.parametrize("method", METHODS)
def test_the_durations_are_the_same_for_every_method(method):
    durations = SETTINGS.machine.durations(1)
    log = simulate(sphere, replace(SETTINGS, method=method, seconds=80.0, n_trials=None)).log
    mine = log[log["rank"] == 1]
    expected = [next(durations) for _ in mine]
    assert len(mine) > 3
    assert mine["finished"] - mine["started"] == pytest.approx(expected)
    assert log["finished"].max() <= 80


@pytest.mark.parametrize(("method", "evaluations"), [("sdbo", 1), ("sdbo-10", 10)])
def test_a_barrier_waits_for_the_slowest(method, evaluations):
    settings = replace(SETTINGS, method=method, latency=0.25, n_trials=100)
    log = simulate(sphere, settings).log
    of_round = log["seq"] // evaluations
    for r in range(1, of_round.max() + 1):
        last, first = log[of_round == r - 1], log[(of_round == r)]
        first = first[first["seq"] == r * evaluations]
        assert first["started"] == pytest.approx(last["finished"].max() + 0.25 + 0.5)
    assert of_round.max() >= 1


@pytest.mark.parametrize("method", ["acbo-rf", "acbo-gp", "acbo-random", "acbo-rf-liar", "tpe"])
def test_workers_queue_at_a_manager(method):
    """The manager answers one batch at a time, for the workers that have returned by then."""
    settings = replace(SETTINGS, method=method, duration="normal:2,1", n_trials=60)
    settings = replace(settings, ask_cost=1.0, ask_cost_per_evaluation=0.1, latency=0.25)
    log = simulate(sphere, settings).log
    assert 0 not in log["rank"]
    starts = np.unique(log["started"])[:10]
    batches = [log[log["started"] == start] for start in starts]
    one_fit = method in ("acbo-rf", "acbo-random")
    end = sum(1.0 for _ in batches[0][: 1 if one_fit else None])
    n_told = 0
    for batch, following in itertools.pairwise(batches):
        assert batch["started"] == pytest.approx(end + 0.25)
        waiting = following["rank"]
        returned = [
            log[(log["rank"] == rank) & (log["started"] < following["started"][0])][-1]["finished"]
            for rank in waiting
        ]
        begin = max(end, min(returned) + 0.25)
        assert max(returned) + 0.25 <= begin + 1e-9
        n_told += len(following)
        end = begin + (1 if one_fit else len(following)) * (1.0 + 0.1 * n_told)


def test_a_manager_alone_is_refused():
    with pytest.raises(UsageError, match="at least 2, since one worker is the manager"):
        simulate(sphere, replace(SETTINGS, workers=1, method="acbo-rf"))


def test_workers_ask_for_themselves_but_queue_for_the_storage():
    settings = replace(SETTINGS, method="tpe-rdb", duration="normal:2,1", n_trials=60)
    log = simulate(sphere, replace(settings, latency=0.25, ask_cost=1.0)).log
    served = 0.0
    free = {rank: 0.0 for rank in range(SETTINGS.workers)}
    for entry in np.sort(log, order="started"):
        served = max(served, free[entry["rank"]] + 0.25) + MethodSettings().storage_seconds
        assert entry["started"] == pytest.approx(served + 0.25 + 1.0)
        free[entry["rank"]] = entry["finished"]


@pytest.mark.parametrize("method", ["asha", "adbo-halving"])
def test_halving_prunes_the_worse_and_saves_their_time(method):
    settings = replace(SETTINGS, method=method, duration="constant:9", n_trials=80, ask_cost=0.0)
    simulation = simulate(training, settings)
    evaluations = simulation.history.evaluations()
    pruned = [e for e in evaluations if e.state.name == "PRUNED"]
    complete = [e for e in evaluations if e.state.name == "COMPLETE"]
    assert len(pruned) > len(complete) > 0
    late = evaluations[10:]
    for evaluation in late:
        n_reports = len(evaluation.extras.intermediate_values)
        assert n_reports in (1, 3, 9)
        assert evaluation.finished - evaluation.started == pytest.approx(n_reports)
    mean = {
        name: np.mean([e.params["x"] for e in late if e.state.name == name])
        for name in ("PRUNED", "COMPLETE")
    }
    assert mean["COMPLETE"] < mean["PRUNED"]


def test_a_rung_is_judged_by_what_all_workers_have_reported_by_then():
    settings = replace(SETTINGS, method="adbo-halving", n_trials=250, ask_cost=0.5)
    evaluations = simulate(training, replace(settings, duration="lognormal:2,0.3")).history
    evaluations = evaluations.evaluations()
    longest = max(len(e.extras.intermediate_values) for e in evaluations)
    first_end = min(e.finished for e in evaluations if e.state.name == "COMPLETE")

    def time_of(evaluation, n_reports):
        made = len(evaluation.extras.intermediate_values)
        seconds = evaluation.finished - evaluation.started
        return evaluation.started + seconds * n_reports / made

    reports = {
        rung: [
            (time_of(e, rung), list(e.extras.intermediate_values.values())[rung - 1])
            for e in evaluations
            if len(e.extras.intermediate_values) >= rung
        ]
        for rung in (1, 3, 9)
    }
    # Those that are running at the end are not among the evaluations.
    checked = [e for e in evaluations[:200] if e.state.name == "PRUNED"]
    assert len(checked) > 20
    for evaluation in checked:
        rung = len(evaluation.extras.intermediate_values)
        assert rung in (1, 3, 9)
        assert rung <= longest
        assert evaluation.finished > first_end
        known = [v for t, v in sorted(reports[rung]) if t <= evaluation.finished][-LATEST:]
        n_better = sum(v < evaluation.value for v in known)
        assert n_better >= max(1, len(known) // 3)


def test_a_trial_that_never_asks_is_not_pruned():
    def silent(trial):
        x = trial.suggest_float("x", 0, 1)
        for epoch in range(9):
            trial.report(x, epoch)
        return x

    settings = replace(SETTINGS, method="asha", n_trials=60, ask_cost=0.0)
    history = simulate(silent, settings).history
    assert history.counts[optuna.trial.TrialState.COMPLETE] == 60


def test_a_report_of_nan_is_pruned_and_counts_for_nobody():
    def diverging(trial):
        x = trial.suggest_float("x", 0, 1)
        for epoch in range(9):
            trial.report(math.nan if x > 0.7 else x, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return x

    settings = replace(SETTINGS, method="asha", n_trials=200, ask_cost=0.0)
    evaluations = simulate(diverging, settings).history.evaluations()[10:]
    complete = [e for e in evaluations if e.state.name == "COMPLETE"]
    assert max(e.params["x"] for e in complete) <= 0.7
    # NaN does not count as a bad cost: most complete trials are among the best.
    assert np.mean([e.params["x"] < 0.35 for e in complete]) > 0.8


@pytest.mark.parametrize("method", METHODS)
def test_evaluations_that_fail_before_their_first_parameter(method):
    def objective(trial):
        raise ValueError("no licence")

    history = simulate(objective, replace(SETTINGS, method=method)).history
    assert history.counts[optuna.trial.TrialState.FAIL] == 40


@pytest.mark.parametrize("method", ["adbo-2022", "sdbo", "acbo-rf", "acbo-rf-liar", "acbo-gp"])
def test_penalties_as_large_as_floats_can_be(method):
    def objective(trial):
        x = trial.suggest_float("x", -1, 1)
        return x if x < 0 else sys.float_info.max

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        simulation = simulate(objective, replace(SETTINGS, method=method))
    assert len(simulation.history) == 40


@pytest.mark.parametrize("method", ["acbo-rf", "acbo-rf-liar"])
def test_more_workers_than_candidates(method):
    methods = make_methods(MethodSettings(replace(SMALL, n_candidates=3)))
    log = simulate(sphere, replace(SETTINGS, method=method, workers=9), methods=methods).log
    assert set(log["rank"]) == set(range(1, 9))
    assert len(np.unique(log["value"][:8])) == 8


def test_a_shared_forest_knows_what_all_ranks_know():
    simulation = simulate(sphere, replace(SETTINGS, method="random"))
    batches = [to_batch(e) for e in simulation.history.evaluations()]
    known = SharedHistory(1)
    known.extend(batches[:20])
    C = np.random.default_rng(0).random((50, 2))
    with known.overlaid([]):
        expected = egele2022.SharedForest(SMALL).fitted_to(known).predict(C)
    with known.overlaid(batches[20:]):
        np.testing.assert_equal(
            egele2022.SharedForest(SMALL).fitted_to(known).predict(C), expected
        )
    nothing = SharedHistory(1)
    with nothing.overlaid(batches):
        assert egele2022.SharedForest(SMALL).fitted_to(nothing) is None


@pytest.mark.parametrize("method", ["adbo-2022", "sdbo", "sdbo-10"])
def test_fits_that_are_shared_are_charged_as_published(method):
    settings = replace(SETTINGS, method=method, ask_cost=None)
    log = simulate(sphere, settings).log
    assert log["ask_seconds"].min() >= 5
    assert log["ask_seconds"].max() == pytest.approx(5, abs=0.0004 * 40)


@pytest.mark.parametrize("method", ["acbo-random", "tpe", "tpe-rdb"])
def test_nobody_pays_for_the_objective(method):
    def slow(trial):
        value = sphere(trial)
        end = time.thread_time() + 0.1
        while time.thread_time() < end:
            pass
        return value

    log = simulate(slow, replace(SETTINGS, method=method, n_trials=10, ask_cost=None)).log
    assert 0 < np.median(log["ask_seconds"]) < 0.05


@pytest.mark.parametrize("method", ["adbo", "adbo-2022", "sdbo", "acbo-rf", "acbo-gp", "tpe"])
def test_every_optimizer_beats_random_search(method):
    settings = replace(SETTINGS, n_trials=80, ask_cost=0.0)
    best = simulate(sphere, replace(settings, method=method)).best_so_far[-1]
    random = [
        simulate(sphere, replace(settings, method="random", seed=seed)).best_so_far[-1]
        for seed in range(9)
    ]
    assert best < np.median(random)
