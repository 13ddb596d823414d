"""The scale of targets: finite, ordered like the costs, and fine among the elites."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from adbo.optimizer.models.targets import scale_targets


@given(
    npst.arrays(
        np.float64,
        st.integers(1, 30),
        elements=st.floats(allow_nan=True, allow_infinity=True, width=64),
    ),
    st.integers(0, 30),
)
def test_finite_and_ordered_like_the_costs(cost, n_elites):
    cost = np.sort(cost)  # NaN last
    y = scale_targets(cost, min(n_elites, int((~np.isnan(cost)).sum())))
    assert y.shape == cost.shape
    assert np.isfinite(y).all()
    assert np.isfinite(y**2).all()
    assert (np.diff(y) >= 0).all()


def test_resolves_the_elites_at_any_magnitude():
    for scale in (1e-300, 1.0, 1e300):
        y = scale_targets(np.array([0.0, 1.0, 2.0, 3.0, 1e6]) * scale, 4)
        np.testing.assert_allclose(y[:4], np.arcsinh([0, 0.5, 1, 1.5]))


def test_failure_counts_as_the_worst_finite_cost():
    y = scale_targets(np.array([0.0, 1.0, 5.0, np.nan, np.inf]), 3)
    assert y[2] == y[3] == y[4]


def test_all_failed_or_all_equal():
    np.testing.assert_array_equal(scale_targets(np.full(3, np.nan), 0), 0)
    np.testing.assert_array_equal(scale_targets(np.full(3, 7.0), 3), 0)


def test_infinitely_good_stays_the_best():
    y = scale_targets(np.array([-np.inf, 1.0, 2.0]), 3)
    assert y[0] <= y[1] < y[2]
