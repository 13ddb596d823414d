"""Distinct rows of boolean matrices."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from adbo.optimizer.models import boolean_rows


@given(arrays.arrays(bool, st.tuples(st.integers(1, 30), st.integers(1, 20))))
def test_distinct_rows_are_those_of_numpy(mask: np.ndarray) -> None:
    rows, which = boolean_rows.unique_rows(mask)
    expected, inverse = np.unique(mask, axis=0, return_inverse=True)
    assert np.array_equal(rows, expected)
    assert np.array_equal(which, inverse.ravel())


def test_the_mask_need_not_be_contiguous() -> None:
    mask = np.random.default_rng(0).random((9, 40)) < 0.5
    rows, which = boolean_rows.unique_rows(mask[::2, ::3])
    assert np.array_equal(rows[which], mask[::2, ::3])
