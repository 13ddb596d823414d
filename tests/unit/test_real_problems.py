"""The real problems of the experiments: defined everywhere, deterministic, best where they say."""

from __future__ import annotations

import importlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
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


def test_the_search_keeps_the_best_point(
    real: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    search = importlib.import_module("real_best_known")
    file = tmp_path / "best_known.json"
    monkeypatch.setattr(search, "BEST_KNOWN", file)
    arguments = ["--problems", "three_bar_truss", "lanczos", "--seeds", "1", "--starts", "0"]
    assert search.main([*arguments, "--evaluations", "1000"]) == 0
    found = json.loads(file.read_text())
    assert list(found) == ["three_bar_truss"]  # the minimum of the other one is known
    known = real.stored_points()["three_bar_truss"]["1"]["value"]
    assert found["three_bar_truss"]["1"]["value"] == pytest.approx(known, rel=1e-3)


def test_a_short_search_does_not_replace_a_better_point(
    real: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    search = importlib.import_module("real_best_known")
    file = tmp_path / "best_known.json"
    stored = {"inventory": {"1": real.stored_points()["inventory"]["1"]}}
    file.write_text(json.dumps(stored))
    monkeypatch.setattr(search, "BEST_KNOWN", file)
    arguments = ["--problems", "inventory", "--seeds", "1", "2", "--starts", "0"]
    assert search.main([*arguments, "--evaluations", "20"]) == 0
    found = json.loads(file.read_text())["inventory"]
    assert found["1"] == stored["inventory"]["1"]
    assert found["2"]["value"] > real.stored_points()["inventory"]["2"]["value"]


class _NoVariation:
    """A random generator for the data of the literature: all variations are 0."""

    def uniform(self, low: float, high: float, size: int) -> Any:
        return np.zeros(size)

    def normal(self, mean: float, deviation: float, size: int) -> Any:
        return np.zeros(size)

    def standard_normal(self, size: tuple[int, int]) -> Any:
        return np.zeros(size)


PUBLISHED = [
    ("osborne_1", [0.3754, 1.9358, 1.4647, 0.01287, 0.02212], 5.46e-5, 0.02),
    (
        "osborne_2",
        [1.31, 0.4315, 0.6336, 0.5993, 0.7539, 0.9056, 1.3651, 4.8248, 2.3988, 4.5689, 5.6754],
        0.0401377,
        1e-4,
    ),
    ("alpha_pinene", [5.926e-5, 2.963e-5, 2.047e-5, 2.745e-4, 3.998e-5], 19.872, 1e-4),
    ("piston_lever", [0.05, 2.0416, 4.0831, 120], 8.4127, 1e-3),
    ("welded_beam", [0.20573, 3.470489, 9.036624, 0.20573], 1.724852, 1e-4),
    ("pressure_vessel", [13, 7, 42.0984455, 176.6366], 6059.714, 1e-5),
    ("speed_reducer", [3.5, 0.7, 17, 7.3, 7.71532, 3.35021, 5.28665], 2994.47, 1e-5),
    ("tension_spring", [0.05172, 0.357, 11.3], 0.012665, 5e-3),
    ("coil_spring", [9, 1.223, 35], 2.6586, 1e-4),
    ("three_bar_truss", [0.7887, 0.4083], 263.8958, 1e-3),
    (
        "ten_bar_truss",
        [30.52, 0.1, 23.2, 15.22, 0.1, 0.551, 7.457, 21.04, 21.53, 0.1],
        5060.85,
        1e-4,
    ),
    ("lennard_jones", None, -12.712062, 1e-7),
]


@pytest.mark.parametrize(("name", "point", "value", "tolerance"), PUBLISHED)
def test_published_optima(
    real: Any, name: str, point: list[Any] | None, value: float, tolerance: float
) -> None:
    problem = real.PROBLEMS[name](_NoVariation())
    assert problem.value(problem.best if point is None else point) == pytest.approx(
        value, rel=tolerance
    )


def test_reflectance_of_a_quarter_wave_layer(real: Any) -> None:
    """Born and Wolf, section 1.6: the amplitude of reflection is (n - m^2) / (n + m^2)."""
    optics = importlib.import_module("real.optics")
    wavelength = np.array([550.0])
    (bare,) = optics.reflectance([], 1.52, wavelength)
    (coated,) = optics.reflectance([(1.38, 550 / 4 / 1.38)], 1.52, wavelength)
    assert bare == pytest.approx((0.52 / 2.52) ** 2)
    assert coated == pytest.approx(((1.52 - 1.38**2) / (1.52 + 1.38**2)) ** 2)
    (brewster,) = optics.reflectance([], 1.52, wavelength, np.arctan(1.52))
    s_polarized = np.cos(2 * np.arctan(1.52)) ** 2
    assert brewster == pytest.approx(s_polarized / 2)  # nothing of the other polarization
