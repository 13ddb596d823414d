"""Uniform draws of parameters that the user's predicate allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution

from adbo.core.allowed import (
    DRAWS,
    DeadEndError,
    NothingAllowedError,
    Predicate,
    is_allowed,
)
from adbo.core.choices import sorted_choices
from adbo.core.space import SearchSpace


def draw_next(
    predicate: Predicate | None,
    before: Mapping[str, Any],
    name: str,
    distribution: BaseDistribution,
    rng: np.random.Generator,
) -> Any:
    """Draw a parameter that is allowed together with those before it.

    Parameters
    ----------
    predicate
        Allows parameters or not; None to allow all.
    before
        The parameters that the trial has already, or will have.
    name
        The name of the next one.
    distribution
        Its distribution.
    rng
        The source of randomness.

    Raises
    ------
    DeadEndError
        If no value is allowed with those before it.
    NotAllowedError
        If there are none before it, and no value is allowed; or if the predicate fails.
    """
    draw = _drawer(distribution, rng)
    try:
        return _draw(predicate, lambda: {**before, name: draw()})[name]
    except NothingAllowedError:
        if not before:
            raise
    raise DeadEndError(f"no value of {name!r} is allowed together with those before it")


def draw_together(
    predicate: Predicate | None,
    distributions: Mapping[str, BaseDistribution],
    rng: np.random.Generator,
) -> Mapping[str, Any]:
    """Draw parameters that are allowed.

    Raises
    ------
    NotAllowedError
        If none are, or the predicate fails.
    """
    draws = {name: _drawer(distribution, rng) for name, distribution in distributions.items()}
    return _draw(predicate, lambda: {name: draw() for name, draw in draws.items()})


def _draw(predicate: Predicate | None, draw: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the first drawn parameters that are allowed."""
    for _ in range(DRAWS):
        params = draw()
        if predicate is None or is_allowed(predicate, params):
            return params
    raise NothingAllowedError


def _drawer(distribution: BaseDistribution, rng: np.random.Generator) -> Callable[[], Any]:
    """Return what draws a value of a distribution."""
    alone = SearchSpace({"": distribution})

    def draw() -> Any:
        internal = float(alone.from_unit(rng.random((1, 1)))[0, 0])
        if isinstance(distribution, CategoricalDistribution):
            # The choices may have another order on each rank of a group.
            internal = float(sorted_choices(distribution)[int(internal)])
        return distribution.to_external_repr(internal)

    return draw
