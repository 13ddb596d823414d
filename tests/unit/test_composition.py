"""Models of several objectives and constraints."""

from __future__ import annotations

import numpy as np
import pytest

from adbo.optimizer.composition import Composition
from adbo.optimizer.preference import Parts, Preference


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _preference(q: int, c: int, penalty: float = 3.0) -> Preference:
    one = np.ones(q)
    return Preference(one / q, 0 * one, one, 0.05, np.ones(c), penalty)


@pytest.mark.parametrize("is_scaled", [False, True])
@pytest.mark.parametrize(("q", "c"), [(1, 1), (1, 3), (2, 0), (3, 2)])
def test_exact_predictions_make_the_known_cost(
    q: int, c: int, is_scaled: bool, rng: np.random.Generator
) -> None:
    parts = 10 ** rng.uniform(-2, 4, (50, q + c)) * rng.choice([-1, 1], (50, q + c))
    preference = _preference(q, c)
    composition = Composition(Parts(parts, preference), is_scaled)
    predicted = composition.predictor(lambda _: composition.targets)(np.zeros((50, 2)))
    expected = preference.combine(parts)
    np.testing.assert_allclose(predicted, expected, atol=1e-9 * np.abs(expected).max())


def test_a_constraint_that_is_never_violated_is_not_modelled(rng: np.random.Generator) -> None:
    parts = rng.standard_normal((20, 3))
    parts[:, 1] = -np.abs(parts[:, 1])
    preference = _preference(1, 2)
    composition = Composition(Parts(parts, preference), is_scaled=False)
    assert composition.targets.shape == (20, 2)
    predicted = composition.predictor(lambda _: composition.targets)(np.zeros((20, 2)))
    np.testing.assert_allclose(predicted, preference.combine(parts))


def test_failures_and_infinite_parts(rng: np.random.Generator) -> None:
    for parts in (
        np.full((5, 2), np.nan),
        np.array([[np.inf, 1.0], [np.nan, np.nan], [-np.inf, -1.0], [1e308, np.inf]]),
        np.array([[1e308, 1.0], [-1e308, 1e308], [0.0, 0.0]]),
    ):
        for is_scaled in (False, True):
            composition = Composition(Parts(parts, _preference(1, 1, np.inf)), is_scaled)
            assert np.isfinite(composition.targets).all()
            points = rng.random((len(parts), 2))
            predicted = composition.predictor(lambda _, c=composition: c.targets)(points)
            assert not np.isnan(predicted).any()
