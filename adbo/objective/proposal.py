"""The proposed point, as the sampler of the study that the objective sees."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from adbo.core.allowed import DeadEndError, Predicate
from adbo.core.allowed_draws import draw_next
from adbo.core.space import SearchSpace

#: Internal values ``(d,)`` in the columns of a search space; NaN where there is none.
Point = Sequence[float] | np.ndarray[Any, Any]


class ProposalSampler(BaseSampler):
    """A sampler that returns a point which was proposed before.

    A parameter that the proposal does not have is drawn uniformly; a proposed value outside the
    range of the trial moves into it.

    Parameters
    ----------
    space
        The search space as far as the rank knows it.
    proposal
        Internal values ``(d,)`` in the columns of the space; NaN where there is none.
    rng
        Source of the parameters that the proposal does not have.
    allowed
        What such a parameter must satisfy, together with those before it; None for anything.
    given
        The parameters that the trial has when it begins.
    """

    def __init__(
        self,
        space: SearchSpace,
        proposal: Point,
        rng: np.random.Generator,
        allowed: Predicate | None = None,
        given: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.proposal = proposal
        self.rng = rng
        self._space = space
        self._allowed = allowed
        self._given = dict(given)
        self._params = dict(given)
        #: The distribution, by name, of the parameter that ended the trial, since no value of it
        #: is allowed together with those before it; empty if there is none.
        self.dead_end: Mapping[str, BaseDistribution] = {}

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return all parameters that the study has."""
        names = dict.fromkeys(self._space.names)
        return {n: known for n in names if (known := self._space.known(n)) is not None}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the proposed values that their distributions contain."""
        proposed = {name: self._proposed(name, d) for name, d in search_space.items()}
        possible = {
            name: search_space[name].to_external_repr(value)
            for name, value in proposed.items()
            if not math.isnan(value) and search_space[name]._contains(value)
        }
        self._params = {**possible, **self._given}
        return possible

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return the proposed value moved into the range, or a uniform draw if there is none.

        Raises
        ------
        adbo.core.allowed.DeadEndError
            If no value is allowed together with those before it; it is the `dead_end` then.
        adbo.core.allowed.NotAllowedError
            If there are none before it, and no value is allowed; or if the predicate fails.
        """
        proposed = self._proposed(param_name, param_distribution)
        if math.isnan(proposed):
            try:
                value = draw_next(
                    self._allowed, self._params, param_name, param_distribution, self.rng
                )
            except DeadEndError:
                self.dead_end = {param_name: param_distribution}
                raise
        else:
            alone = SearchSpace({param_name: param_distribution})
            internal = float(alone.from_unit(alone.to_unit(np.array([[proposed]])))[0, 0])
            value = param_distribution.to_external_repr(internal)
        self._params[param_name] = value
        return value

    def _proposed(self, name: str, distribution: BaseDistribution) -> float:
        """Return the proposed internal value; NaN if there is none."""
        column = self._space.column(name, distribution)
        if column is None or column >= len(self.proposal):
            return math.nan
        return float(self.proposal[column])
