"""Test functions: nothing in the box is lower than the optimum, which is where it should be."""

from __future__ import annotations

import numpy as np
import optuna
import pytest

from adbo.benchmark_functions import functions
from adbo.benchmark_functions.names import NAMES
from adbo.benchmark_functions.problems import parse, rotated, shifted, stretched


def as_it_is(problem, rng):
    return problem


def shifted_and_rotated(problem, rng):
    return rotated(shifted(problem, rng), rng)


def shifted_stretched_and_rotated(problem, rng):
    return rotated(stretched(shifted(problem, rng)), rng)


VARIANTS = [as_it_is, shifted, rotated, shifted_and_rotated, shifted_stretched_and_rotated]
DEFAULTS = {
    "ackley": (5, 32.768),
    "levy": (10, 10),
    "griewank": (10, 600),
    "schwefel": (5, 500),
    "rosenbrock": (5, 10),
    "rastrigin": (5, 5.12),
    "sphere": (5, 5),
    "hartmann6": (6, 1),
}


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def value_at(problem, x):
    return problem.function(np.atleast_2d(x))[0]


@pytest.mark.parametrize("name", NAMES)
def test_default_dimension_and_box(name):
    problem = parse(name)
    assert (problem.dimension, problem.high) == DEFAULTS[name]
    assert problem.name == f"{name}:{problem.dimension}"
    assert problem.low == {"rosenbrock": -5, "hartmann6": 0}.get(name, -problem.high)


@pytest.mark.parametrize("name", NAMES)
def test_published_optimum(name):
    published = -3.32236801141551 if name == "hartmann6" else 0
    assert parse(name).optimum == pytest.approx(published, abs=1e-10)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", NAMES)
def test_the_optimum_is_in_the_box_and_attained(name, variant, rng):
    problem = variant(parse(name), rng)
    assert np.all((problem.low <= problem.argmin) & (problem.argmin <= problem.high))
    assert value_at(problem, problem.argmin) == pytest.approx(problem.optimum, abs=1e-9)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", NAMES)
def test_no_point_is_lower(name, variant, rng):
    for _ in range(5):
        problem = variant(parse(name), rng)
        anywhere = rng.uniform(problem.low, problem.high, (10_000, problem.dimension))
        steps = (problem.high - problem.low) * 10 ** rng.uniform(-9, 0, (10_000, 1))
        near = problem.argmin + steps * rng.standard_normal((10_000, problem.dimension))
        points = np.vstack([anywhere, np.clip(near, problem.low, problem.high)])
        assert problem.function(points).min() >= problem.optimum - 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_points_are_evaluated_independently(name, rng):
    problem = parse(name)
    points = rng.uniform(problem.low, problem.high, (7, problem.dimension))
    together = problem.function(points)
    assert together.shape == (7,)
    np.testing.assert_allclose(together, [value_at(problem, x) for x in points], rtol=1e-12)


@pytest.mark.parametrize(
    ("function", "x", "value"),
    [
        (functions.ackley, [1, 1], 20 - 20 * np.exp(-0.2)),
        (functions.levy, [5, 5], 1 + 10 * np.sin(1) ** 2 + 1),
        (functions.griewank, [np.pi, 0], np.pi**2 / 4000 + 2),
        (functions.schwefel, [0, 0], 2 * 418.982887272433799),
        (
            functions.schwefel,
            [(2.5 * np.pi) ** 2],
            418.982887272433799 - (2.5 * np.pi) ** 2,
        ),
        (
            functions.schwefel,
            [600],
            418.982887272433799 - 500 * np.sin(np.sqrt(500)) + 100,
        ),
        (functions.rosenbrock, [0, 0, 2], 1 + 1 + 400),
        (functions.rastrigin, [0.5, 1], 0.25 + 20 + 1),
        (functions.sphere, [3, 4], 25),
        (functions.hartmann6, [0, 0, 0, 0, 0, 0], -0.00508911288366444),
    ],
)
def test_values_by_hand(function, x, value):
    assert function(np.array([x], dtype=float))[0] == pytest.approx(value, rel=1e-9)


def test_a_dimension_is_taken():
    assert parse("levy:3").dimension == 3
    assert parse("hartmann6:6").dimension == 6


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ackly", "no test function 'ackly'.*ackley"),
        ("", "no test function ''"),
        ("ackley:0", "dimension of ackley is '0'.*from 1"),
        ("ackley:-3", "'-3'"),
        ("ackley:x", "'x'"),
        ("ackley:", "''"),
        ("ackley:2.5", "'2.5'"),
        ("ackley:\N{SUPERSCRIPT TWO}", "dimension of ackley"),
        ("ackley:5:5", "'5:5'"),
        ("ackley:1000000", "to 10000"),
        ("rosenbrock:1", "from 2"),
        ("hartmann6:3", "must be 6"),
    ],
)
def test_mistakes_are_named_in_one_line(text, says):
    with pytest.raises(ValueError, match=says) as error:
        parse(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", NAMES)
def test_the_objective_suggests_every_coordinate(name, rng):
    problem = shifted(parse(name), rng)
    trial = optuna.trial.FixedTrial({f"x{i}": x for i, x in enumerate(problem.argmin)})
    assert problem.objective(trial) == pytest.approx(problem.optimum, abs=1e-9)
    for distribution in trial.distributions.values():
        assert (distribution.low, distribution.high) == (problem.low, problem.high)
    assert len(trial.params) == problem.dimension


@pytest.mark.parametrize("variant", [shifted, rotated])
def test_variants_are_given_by_their_seed(variant):
    x = np.linspace(-3, 4, 5)
    values = [
        value_at(variant(parse("ackley"), np.random.default_rng(seed)), x) for seed in (1, 1, 2)
    ]
    assert values[0] == values[1] != values[2]


def test_a_rotation_keeps_distances_from_the_optimum(rng):
    x = rng.uniform(-5, 5, (100, 5))
    sphere = parse("sphere")
    np.testing.assert_allclose(rotated(sphere, rng).function(x), sphere.function(x))


def test_a_rotation_couples_the_coordinates(rng):
    rastrigin = rotated(parse("rastrigin:2"), rng)
    a, b = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    apart = value_at(rastrigin, a) + value_at(rastrigin, b)
    assert value_at(rastrigin, a + b) != pytest.approx(apart, rel=0.01)


def test_a_stretched_sphere_is_ten_times_as_steep(rng):
    sphere = shifted(parse("sphere:3"), rng)
    steps = np.eye(3)
    values = stretched(sphere).function(sphere.argmin + steps)
    np.testing.assert_allclose(values, [1.0, np.sqrt(10), 10.0])
