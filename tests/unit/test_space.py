"""The search space: exact where it must be, and growing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from trial_strategies import distributions, internal_values, spaces

from adbo.core.space import SearchSpace, check_bounds, contains


@given(st.data(), spaces)
def test_params_survive_encoding(data, distributions_) -> None:
    space = SearchSpace(distributions_)
    params = {
        name: d.to_external_repr(data.draw(internal_values(d)))
        for name, d in distributions_.items()
        if data.draw(st.booleans())
    }
    row = space.encode(params)
    assert np.isnan(row).sum() == len(space) - len(params)
    decoded = space.decode(row)
    assert decoded == params
    assert [type(v) for v in decoded.values()] == [type(params[n]) for n in decoded]


@given(st.data(), distributions)
def test_discrete_values_survive_the_unit_cube(data, distribution) -> None:
    space = SearchSpace({"x": distribution})
    value = data.draw(internal_values(distribution))
    unit = space.to_unit(np.array([[value]]))
    assert 0 <= unit[0, 0] <= 1
    back = space.from_unit(unit)[0, 0]
    if np.isfinite(space.levels[0]):
        assert back == pytest.approx(value, rel=1e-12, abs=1e-12)
    assert distribution._contains(back)


@given(distributions, st.floats(0, 1))
def test_every_point_of_the_cube_is_a_valid_value(distribution, unit: float) -> None:
    space = SearchSpace({"x": distribution})
    value = float(space.from_unit(np.array([[unit]]))[0, 0])
    assert math.isfinite(value)
    assert distribution._contains(value)
    snapped = space.snap(np.array([[unit]]))
    np.testing.assert_allclose(space.from_unit(snapped)[0, 0], value, rtol=1e-9, atol=1e-300)


def test_equal_cells_for_every_level() -> None:
    space = SearchSpace({"x": IntDistribution(1, 4)})
    units = np.linspace(0.001, 0.999, 1000)[:, None]
    _, counts = np.unique(space.from_unit(units), return_counts=True)
    assert len(counts) == 4
    assert counts.max() - counts.min() <= 2


def test_logarithms() -> None:
    space = SearchSpace({"x": FloatDistribution(1e-4, 1e4, log=True)})
    assert space.to_unit(np.array([[1.0]]))[0, 0] == pytest.approx(0.5)


def test_absent_parameters_stay_absent() -> None:
    space = SearchSpace({"x": FloatDistribution(0, 1), "n": IntDistribution(0, 9)})
    unit = space.to_unit(np.array([[0.5, np.nan]]))
    assert np.isnan(unit[0, 1])
    assert space.decode(np.array([0.5, np.nan])) == {"x": 0.5}


def test_wrong_params_are_named() -> None:
    space = SearchSpace({"x": FloatDistribution(0, 1)})
    with pytest.raises(ValueError, match="unknown parameter 'y'"):
        space.encode({"y": 1})
    with pytest.raises(ValueError, match="x = 3 is not in"):
        space.encode({"x": 3})


@given(st.permutations([(0, 1), (-2, 0.5), (0.25, 4)]))
def test_ranges_widen_in_any_order(ranges) -> None:
    space = SearchSpace()
    columns = {space.add("x", FloatDistribution(low, high)) for low, high in ranges}
    assert columns == {0}
    assert space.known("x") == FloatDistribution(-2, 4)


def test_grids_that_do_not_match_still_hold_all_values() -> None:
    space = SearchSpace({"n": IntDistribution(0, 10, step=5)})
    space.add("n", IntDistribution(3, 9, step=3))
    for value in (0, 5, 10, 3, 6, 9):
        assert space.encode({"n": value})[0] == value


def test_incompatible_definitions_have_columns_of_their_own() -> None:
    space = SearchSpace()
    number = space.add("x", FloatDistribution(0, 1))
    choice = space.add("x", CategoricalDistribution(["a", "b"]))
    assert number != choice
    assert space.known("x") == FloatDistribution(0, 1)
    assert space.column("x", CategoricalDistribution(["a", "b"])) == choice
    assert space.column("x", FloatDistribution(5, 6)) == number


def test_the_widest_range_does_not_overflow() -> None:
    largest = np.finfo(float).max
    space = SearchSpace({"x": FloatDistribution(-largest, largest)})
    units = np.array([[0.0], [0.5], [1.0]])
    np.testing.assert_allclose(space.to_unit(space.from_unit(units)), units, atol=1e-12)


@pytest.mark.parametrize(
    ("low", "high"), [(0, math.inf), (-math.inf, 0), (math.nan, 1), (0, math.nan)]
)
def test_bounds_must_be_finite(low: float, high: float) -> None:
    with pytest.raises(OverflowError, match=r"'x' has the bounds .* they must be finite numbers"):
        check_bounds("x", FloatDistribution(low, high))


@given(distributions)
def test_finite_bounds_are_fine(distribution) -> None:
    check_bounds("x", distribution)
    check_bounds("x", FloatDistribution(-1.7e308, 1.7e308))


@given(
    st.integers(-10_000, 10_000),
    st.sampled_from([1e-10, 1e-9, 3e-9, 1e-8, 1e-7, 1e-6]),
    st.integers(0, 10**8),
    st.floats(0, 1),
)
def test_small_steps_may_be_rounded(low: int, step: float, n: int, unit: float) -> None:
    space = SearchSpace({"x": FloatDistribution(low, low + n * step, step=step)})
    row = space.from_unit(np.array([[unit]]))[0]
    assert space.encode(space.decode(row)).tolist() == row.tolist()


def test_values_between_steps_are_refused() -> None:
    distribution = FloatDistribution(1000, 1001, step=1e-6)
    assert contains(distribution, 1000.144159)
    for value in (1000.1441595, 1000.14415901, 999.999999, 1001.000001, math.nan, math.inf):
        assert not contains(distribution, value)
