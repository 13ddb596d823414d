"""The proposed point, as the sampler of the study that the objective sees."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from adbo.core.allowed import DeadEndError, Predicate, is_allowed
from adbo.core.allowed_draws import draw_next
from adbo.core.cells import meant_choice
from adbo.core.space import SearchSpace, contains
from adbo.objective.rank_storage import RunningTrial

#: Internal values ``(d,)`` in the columns of a search space; NaN where there is none.
Point = Sequence[float] | np.ndarray[Any, Any]


class ProposalSampler(BaseSampler):
    """A sampler that returns a point which was proposed before.

    A proposed value outside the range of the trial moves into it. A parameter that the proposal
    does not have, or whose moved value is not allowed, is drawn uniformly.

    Parameters
    ----------
    space
        The search space as far as the rank knows it.
    proposal
        Internal values ``(d,)`` in the columns of the space; NaN where there is none.
    rng
        Source of the parameters that are drawn.
    running
        The trial.
    allowed
        What the parameters of the trial must satisfy; None for anything.
    """

    def __init__(
        self,
        space: SearchSpace,
        proposal: Point,
        rng: np.random.Generator,
        running: RunningTrial,
        allowed: Predicate | None = None,
    ) -> None:
        self.proposal = proposal
        self.rng = rng
        self._space = space
        self._running = running
        self._allowed = None if running.is_unrestricted else allowed
        self._fixed = _as_known(running.enqueued.fixed, space)
        self._possible: dict[str, Any] = {}
        #: The distribution, by name, of the parameter that ended the trial, since no value of it
        #: is allowed together with the others; empty if there is none.
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
        self._possible = {
            name: search_space[name].to_external_repr(value)
            for name, value in proposed.items()
            if not math.isnan(value) and contains(search_space[name], value)
        }
        if self._fixed and not self._allows({}):
            return {}  # those that contradict what is fixed are drawn anew, one by one
        return self._possible

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return the proposed value moved into the range, or a uniform draw.

        Raises
        ------
        adbo.core.allowed.DeadEndError
            If no value is allowed together with the others; it is the `dead_end` then.
        adbo.core.allowed.NotAllowedError
            If there are no others, and no value is allowed; or if the predicate fails.
        """
        for value in self._preferred(param_name, param_distribution):
            if self._allows({param_name: value}):
                return value
        others = {} if self._allowed is None else self._params
        try:
            return draw_next(self._allowed, others, param_name, param_distribution, self.rng)
        except DeadEndError:
            self.dead_end = {param_name: param_distribution}
            raise

    def check(self, name: str, distribution: BaseDistribution, internal: float) -> None:
        """Check a value that the trial is to have, unless all of it so far was enqueued.

        Raises
        ------
        adbo.core.allowed.DeadEndError
            If it is not allowed together with the others; it is the `dead_end` then.
        adbo.core.allowed.NotAllowedError
            If the predicate fails.
        """
        is_fixed = self._running.enqueued.fixed.keys() >= {name, *self._running.distributions}
        value = distribution.to_external_repr(internal)
        if not is_fixed and not self._allows({name: value}):
            self.dead_end = {name: distribution}
            raise DeadEndError(f"{name} = {value!r} is not allowed together with the others")

    @property
    def _params(self) -> dict[str, Any]:
        """The parameters that the trial has, will have for sure, or probably."""
        running = self._running
        return {**self._possible, **self._fixed, **running.wanted, **running.params}

    def _allows(self, new: Mapping[str, Any]) -> bool:
        """Return whether new values are allowed together with the other parameters."""
        return self._allowed is None or is_allowed(self._allowed, {**self._params, **new})

    def _preferred(self, name: str, distribution: BaseDistribution) -> Iterator[Any]:
        """Yield the wanted value, if the range has it, and the proposed one, moved into it."""
        if name in self._running.wanted and _contains(distribution, self._running.wanted[name]):
            yield self._running.wanted[name]
        proposed = self._proposed(name, distribution)
        if not math.isnan(proposed):
            alone = SearchSpace({name: distribution})
            internal = float(alone.from_unit(alone.to_unit(np.array([[proposed]])))[0, 0])
            yield distribution.to_external_repr(internal)

    def _proposed(self, name: str, distribution: BaseDistribution) -> float:
        """Return the proposed internal value; NaN if there is none."""
        column = self._space.column(name, distribution)
        if column is None or column >= len(self.proposal):
            return math.nan
        return float(self.proposal[column])


def _as_known(params: Mapping[str, Any], space: SearchSpace) -> dict[str, Any]:
    """Return those of the parameters that the space has, choices of other types as it has them."""
    known = {name: space.known(name) for name in params if name in space.names}
    return {name: meant(params[name], one) for name, one in known.items() if one is not None}


def meant(value: Any, distribution: BaseDistribution) -> Any:
    """Return the value of a parameter that is meant, as a choice that has another type."""
    if isinstance(distribution, CategoricalDistribution):
        return meant_choice(value, distribution.choices)
    return value


def _contains(distribution: BaseDistribution, value: Any) -> bool:
    try:
        return contains(distribution, distribution.to_internal_repr(value))
    except (TypeError, ValueError):  # another choice, or not a number
        return False
