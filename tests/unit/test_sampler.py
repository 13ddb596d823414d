"""`adbo.QUCBSampler`, first by the tests that Optuna ships for samplers."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
)

import adbo


class TestOptunasCases(
    BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase
):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: adbo.QUCBSampler(seed=0)


def _objective(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", -5, 5)
    if trial.suggest_categorical("branch", ["a", "b"]) == "a":
        return (x - 1) ** 2
    return (x + 2) ** 2 + trial.suggest_float("y", 0, 1) + 0.5


def _values(sampler: BaseSampler, n_trials: int, **options: int) -> list[float]:
    study = optuna.create_study(sampler=sampler)
    study.optimize(_objective, n_trials=n_trials, **options)
    return [trial.value for trial in study.trials]


def test_finds_a_minimum_of_a_conditional_space() -> None:
    assert min(_values(adbo.QUCBSampler(seed=1), 60)) < 0.6  # each branch has one


def test_a_seed_determines_the_trials() -> None:
    first, second, other = (_values(adbo.QUCBSampler(seed=s), 40) for s in (3, 3, 4))
    assert first == second
    assert first != other


def test_reseeding_changes_the_stream() -> None:
    sampler = adbo.QUCBSampler(seed=3)
    sampler.reseed_rng()
    assert _values(sampler, 5) != _values(adbo.QUCBSampler(seed=3), 5)


def test_threads_share_one_sampler() -> None:
    study = optuna.create_study(sampler=adbo.QUCBSampler(seed=0))
    study.optimize(
        lambda trial: sum((trial.suggest_float(name, -5, 5) - 1) ** 2 for name in "xy"),
        n_trials=60,
        n_jobs=4,
    )
    assert len(study.trials) == 60
    # Which thread asks when is not determined; random points reach 1e-2 in 1 of 30 runs.
    assert study.best_value < 1e-2


def test_maximize() -> None:
    study = optuna.create_study(sampler=adbo.QUCBSampler(seed=0), direction="maximize")
    study.optimize(lambda trial: -((trial.suggest_float("x", -5, 5) - 1) ** 2), n_trials=40)
    assert study.best_value > -1e-2


def test_trials_of_others_are_used(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/s.db"
    first = optuna.create_study(storage=storage, study_name="s", sampler=adbo.QUCBSampler(seed=0))
    second = optuna.load_study(storage=storage, study_name="s", sampler=adbo.QUCBSampler(seed=1))
    first.optimize(_objective, n_trials=30)
    best = first.best_value
    second.optimize(_objective, n_trials=10)
    # From its first trial on it works around the elites of the other.
    late = [t.value for t in second.trials[30:]]
    assert np.median(late) < np.median([t.value for t in second.trials[:10]])
    assert second.best_value <= best


def _worker(storage: str) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.load_study(storage=storage, study_name="s", sampler=adbo.QUCBSampler())
    study.optimize(_objective, n_trials=10)


def test_distributed_workers_over_a_database(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/s.db"
    study = optuna.create_study(storage=storage, study_name="s")
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(_worker, [storage] * 2))
    points = {tuple(trial.params.values()) for trial in study.trials}
    assert len(points) == len(study.trials) == 20


def test_pickling_keeps_the_stream() -> None:
    sampler = adbo.QUCBSampler(seed=5)
    _values(sampler, 3)
    copy = pickle.loads(pickle.dumps(sampler))
    assert _values(copy, 30) == _values(sampler, 30)


def test_choices_may_be_anything() -> None:
    study = optuna.create_study(sampler=adbo.QUCBSampler(seed=0))

    def objective(trial: optuna.Trial) -> float:
        n = trial.suggest_categorical("n", list(np.arange(3)))
        function = trial.suggest_categorical("function", [np.sin, np.cos, np.exp])
        return float(function(n + trial.suggest_float("x", 0, 1)))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna's, that a database could not hold them
        study.optimize(objective, n_trials=40)
    assert study.best_value < -0.98


def test_trials_of_merged_studies_all_count() -> None:
    study = optuna.create_study(sampler=adbo.QUCBSampler(seed=0))
    distributions = {"x": optuna.distributions.FloatDistribution(-5, 5)}
    for x in np.linspace(-5, 5, 41):
        attributes = {"adbo:rank": 0, "adbo:seq": int(x > 0)}
        study.add_trial(
            optuna.create_trial(
                params={"x": x},
                distributions=distributions,
                value=(x - 2) ** 2,
                user_attrs=attributes,
            )
        )
    asked = [study.ask(distributions).params["x"] for _ in range(20)]
    assert np.median(np.abs(np.array(asked) - 2)) < 0.1


def test_a_negative_kappa_is_refused() -> None:
    with pytest.raises(ValueError, match="kappa is -1"):
        adbo.QUCBSampler(kappa=-1)


def test_pruned_trials_are_learned_from() -> None:
    study = optuna.create_study()
    for x, reports, state in (
        (1.0, [8.0, 1.0], "COMPLETE"),
        (2.0, [10.0, 5.0], "COMPLETE"),
        (3.0, [9.0], "PRUNED"),
        (4.0, [2.0], "PRUNED"),
    ):
        trial = optuna.trial.create_trial(
            params={"x": x},
            distributions={"x": optuna.distributions.FloatDistribution(-5, 5)},
            intermediate_values=dict(enumerate(reports)),
            value=reports[-1],
            state=optuna.trial.TrialState[state],
        )
        study.add_trial(trial)
    history = adbo.QUCBSampler(seed=0)._history(study)
    assert history.cost(slice(None)).tolist() == [1.0, 5.0, 3.0, 1.0]


@pytest.mark.parametrize("n_before", [0, 3])
def test_a_parameter_without_bounds_is_refused(n_before: int) -> None:
    study = optuna.create_study(sampler=adbo.QUCBSampler(seed=0))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=n_before)
    with pytest.raises(OverflowError, match="they must be finite numbers"):
        study.optimize(lambda trial: trial.suggest_float("y", 0, np.inf), n_trials=1)


def test_small_steps_are_sampled_although_floats_are_rounded() -> None:
    study = optuna.create_study(sampler=adbo.QUCBSampler(seed=0))
    study.optimize(
        lambda trial: (trial.suggest_float("x", 1000, 1001, step=1e-8) - 1000.3) ** 2, n_trials=40
    )
    assert study.best_value < 1e-9  # of uniform draws about 1e-4
