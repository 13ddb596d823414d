"""The choice among fitted models."""

from __future__ import annotations

import math
from typing import NamedTuple

import pytest

from adbo.optimizer.models.selection import best_fit


class Model(NamedTuple):
    name: str
    error: float


@pytest.mark.parametrize(
    ("errors", "expected"),
    [([3.0, 1.0, 2.0], 1), ([1.0, 1.0, 2.0], 0), ([math.inf, 5.0], 1), ([math.inf, math.inf], 0)],
)
def test_the_lowest_error_is_chosen(errors, expected):
    models = [Model(str(i), error) for i, error in enumerate(errors)]
    assert best_fit(iter(models)) is models[expected]
