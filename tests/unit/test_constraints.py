"""The constraints that trials have as system attributes."""

from __future__ import annotations

import math
from typing import Any

import pytest

from adbo.core.constraints import as_system_attrs, constraints_of


def test_there_and_back() -> None:
    constraints = {"mass": 1.5, "": -2.0}
    assert constraints_of(as_system_attrs(constraints)) == constraints


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ([1, -2.5], {"0": 1.0, "1": -2.5}),
        ((), {}),
        (None, {}),
        ([1.0, "high"], {"0": 1.0, "1": math.inf}),
        ([None], {"0": math.inf}),
        ([math.nan, "nan", 10**400], {"0": math.inf, "1": math.inf, "2": math.inf}),
        ("12", {"0": 12.0}),
        (3.0, {"0": 3.0}),
        ({"a": 1}, {"0": math.inf}),
    ],
)
def test_what_other_programs_have_stored(stored: Any, expected: dict[str, float]) -> None:
    """What is no number counts as violated."""
    assert constraints_of({"constraints": stored}) == expected
