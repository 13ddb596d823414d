"""The real problems of the experiments: defined everywhere, deterministic, best where they say."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FixedTrial

from adbo.core.errors import UsageError

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(EXPERIMENTS)
    return importlib.import_module("real")


def _random_points(case: Any, number: int) -> list[dict[str, Any]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    return [study.ask(case.space).params for _ in range(number)]


@pytest.mark.parametrize("seed", [1, 2])
def test_every_problem_is_finite_and_deterministic(real: Any, seed: int) -> None:
    """A point that fails has a finite regret too, so that a method may ignore failures."""
    assert len(real.NAMES) == len(set(real.NAMES)) >= 22
    for name in real.NAMES:
        case, again = real.make_case(name, seed), real.make_case(name, seed)
        points = _random_points(case, 30)
        regrets = [case.regret(FixedTrial(params)) for params in points]
        assert all(math.isfinite(regret) for regret in regrets), name
        assert len(set(regrets)) > 1, name
        assert [again.regret(FixedTrial(params)) for params in points] == regrets, name
        assert {case.fails(params) for params in points} <= {False, True}, name


@pytest.mark.parametrize("seed", [1, 2])
def test_the_best_known_point_is_allowed_and_better_than_random_ones(real: Any, seed: int) -> None:
    for name in real.NAMES:
        case = real.make_case(name, seed)
        params = dict(zip(case.space, real.best_point(name, seed), strict=True))
        for parameter, distribution in case.space.items():
            assert distribution._contains(distribution.to_internal_repr(params[parameter])), name
        assert not case.fails(params), name
        best = case.regret(FixedTrial(params))
        assert best == pytest.approx(0, abs=1e-9), name
        regrets = [case.regret(FixedTrial(other)) for other in _random_points(case, 20)]
        assert min(regrets) > best, name


def test_stored_values_are_those_of_the_stored_points(real: Any) -> None:
    for name, seeds in real.stored_points().items():
        for seed, entry in seeds.items():
            value = real.make_problem(name, int(seed)).value(entry["point"])
            assert value == pytest.approx(entry["value"], rel=1e-6), (name, seed)


def test_seeds_differ(real: Any) -> None:
    for name in real.NAMES:
        problem, other = real.make_problem(name, 1), real.make_problem(name, 2)
        assert problem.space == other.space, name
        (params,) = _random_points(problem, 1)
        x = list(params.values())
        assert problem.value(x) != other.value(x), name


def test_unknown_problems_and_seeds_are_named(real: Any) -> None:
    with pytest.raises(UsageError, match=r"problem is 'nothing'; must be one of .*lanczos"):
        real.make_case("nothing", 1)
    with pytest.raises(UsageError, match="seed is 123456; the best value of osborne_1 is known"):
        real.make_case("osborne_1", 123456)
