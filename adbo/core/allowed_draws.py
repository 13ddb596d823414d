"""Uniform draws of parameters that the user's predicate allows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
from adbo.core.space import FloatArray, SearchSpace

#: All values of a parameter with at most this number are tried.
_FEW = 1000


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
    for value in _values(distribution, rng):
        if predicate is None or is_allowed(predicate, {**before, name: value}):
            return value
    if not before:
        raise NothingAllowedError
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
    alone = {name: SearchSpace({"": distribution}) for name, distribution in distributions.items()}
    for _ in range(DRAWS):
        params = {name: _value(space, rng.random((1, 1))) for name, space in alone.items()}
        if predicate is None or is_allowed(predicate, params):
            return params
    raise NothingAllowedError


def _values(distribution: BaseDistribution, rng: np.random.Generator) -> Iterator[Any]:
    """Yield random values of a distribution; if it has few, each once after the first one."""
    alone = SearchSpace({"": distribution})
    yield _value(alone, rng.random((1, 1)))
    if alone.levels[0] <= _FEW:
        units = rng.permutation(alone.all_units())
        yield from (_value(alone, unit[np.newaxis]) for unit in units)
    else:
        yield from (_value(alone, rng.random((1, 1))) for _ in range(DRAWS))


def _value(alone: SearchSpace, unit: FloatArray) -> Any:
    """Return the value at a point ``(1, 1)`` of the unit cube of one parameter."""
    (distribution,) = alone.distributions
    internal = float(alone.from_unit(unit)[0, 0])
    if isinstance(distribution, CategoricalDistribution):
        # The choices may have another order on each rank of a group.
        internal = float(sorted_choices(distribution)[int(internal)])
    return distribution.to_external_repr(internal)
