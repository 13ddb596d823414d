"""Translations: from one basin of a lattice to others, to new places inside the cube."""

from __future__ import annotations

import numpy as np
import pytest

from adbo.translations import translations


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_minima_of_a_turned_lattice_lead_to_others(rng):
    turned = 0.1 * np.array([[0.8, 0.6], [-0.6, 0.8]])
    known = np.array([0.5, 0.5]) + np.array([[0, 0], [1, 0], [0, 1], [2, 1]]) @ turned
    points = np.concatenate([translations(known, rng) for _ in range(50)])
    steps = (points - 0.5) @ np.linalg.inv(turned)
    assert len(points)
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-9)
    assert len(np.unique(np.round(steps), axis=0)) > 10


def test_places_are_new_and_inside(rng):
    x = rng.random((100, 3))
    for _ in range(20):
        points = translations(x, rng)
        assert ((points >= 0) & (points <= 1)).all()
        squares = np.sum((points[:, None] - x) ** 2, axis=2)
        assert (squares.min(axis=1, initial=1.0) > 0).all()


def test_heads_are_moved_by_differences_of_heads(rng):
    x = np.concatenate([[[0.5, 0.5]], rng.random((15, 2))])
    steps = (x[:, None] - x).reshape(-1, 2)
    for _ in range(20):
        points = translations(x, rng)
        moved = (points[:, None, None] - x[:, None] - steps).reshape(len(points), len(x), -1, 2)
        exact = (np.abs(moved) < 1e-12).all(axis=-1).any(axis=-1)
        assert exact.any(axis=1).all()
        # The first row is always a head, and always moved, unless all of it ends outside.
        assert exact[:, 0].any()


@pytest.mark.parametrize("m", [1, 2, 20])
@pytest.mark.parametrize("spread", [0.0, 1e-16, 0.1])
def test_few_rows_or_one_place(rng, m, spread):
    x = 0.5 + spread * rng.standard_normal((m, 2))
    points = translations(x, rng)
    assert points.shape[1:] == (2,)
    assert np.isfinite(points).all()
