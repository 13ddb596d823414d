"""The trial that an objective is given: Optuna's interface over a proposed point."""

from __future__ import annotations

import copy
import datetime
import json
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalChoiceType,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    check_distribution_compatibility,
    distribution_to_json,
)
from optuna.trial import BaseTrial

from adbo.core.cells import meant_choice
from adbo.core.choices import reordering, sorted_choices
from adbo.core.enqueued import OWN, Enqueued
from adbo.core.evaluation import FAIL_REASON, Extras, Layout
from adbo.core.space import SearchSpace, are_compatible, check_bounds, contradiction

#: Prefix of the system attributes in which Optuna 5 stores constraints.
_CONSTRAINT_PREFIX = "constraints:"

#: The reason of a failure is cut after this number of characters.
_REASON_CHARACTERS = 2000


class Trial(BaseTrial):
    """The trial that the objective is called with: Optuna's interface over a proposed point.

    Parameters
    ----------
    space
        The search space as far as the rank knows it.
    proposal
        Proposed internal values ``(d,)`` in the columns of the space; NaN where there is none.
    number
        The trial's number, unique within the study.
    started
        Seconds since the epoch.
    rng
        Source of parameters that the optimizer does not know yet.
    enqueued
        What was given with the trial, if somebody enqueued it.
    """

    def __init__(
        self,
        space: SearchSpace,
        proposal: Sequence[float] | np.ndarray[Any, Any],
        number: int,
        started: float,
        rng: np.random.Generator,
        enqueued: Enqueued = OWN,
    ) -> None:
        #: The communicator of the ranks that evaluate this trial together; None for one rank.
        self.comm: Any = None
        #: One line about the first parameter that contradicts the study, even if the objective
        #: caught the error; None if there is none.
        self.contradiction: str | None = None
        self._arguments = (space, proposal, number, started, copy.deepcopy(rng), enqueued)
        self._space = space
        self._proposal = proposal
        self._number = number
        self._started = started
        self._rng = rng
        self._fixed = enqueued.fixed
        self._internal: dict[str, float] = {}
        self._distributions: dict[str, BaseDistribution] = {}
        self._user_attrs: dict[str, Any] = copy.deepcopy(dict(enqueued.user_attrs))
        self._system_attrs: dict[str, Any] = copy.deepcopy(dict(enqueued.system_attrs))
        self._intermediate_values: dict[int, float] = dict(enqueued.intermediate_values)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Suggest a float; see `optuna.trial.Trial.suggest_float`."""
        return float(self._suggest(name, FloatDistribution(low, high, log=log, step=step)))

    def suggest_uniform(self, name: str, low: float, high: float) -> float:
        """Deprecated by Optuna: use `suggest_float`."""
        return self.suggest_float(name, low, high)

    def suggest_loguniform(self, name: str, low: float, high: float) -> float:
        """Deprecated by Optuna: use ``suggest_float(..., log=True)``."""
        return self.suggest_float(name, low, high, log=True)

    def suggest_discrete_uniform(self, name: str, low: float, high: float, q: float) -> float:
        """Deprecated by Optuna: use ``suggest_float(..., step=q)``."""
        return self.suggest_float(name, low, high, step=q)

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """Suggest an integer; see `optuna.trial.Trial.suggest_int`."""
        return int(self._suggest(name, IntDistribution(low, high, log=log, step=step)))

    def suggest_categorical(  # type: ignore[override]
        self, name: str, choices: Sequence[CategoricalChoiceType]
    ) -> CategoricalChoiceType:
        """Suggest a choice; see `optuna.trial.Trial.suggest_categorical`."""
        value: CategoricalChoiceType = self._suggest(name, CategoricalDistribution(choices))
        return value

    def report(self, value: float, step: int) -> None:
        """Report an intermediate value; only the first value of a step counts."""
        value = _as_float(value)
        try:
            step = int(step)
        except (TypeError, ValueError):
            raise TypeError(
                f"The `step` argument is of type '{type(step)}' but supposed to be an int."
            ) from None
        if step < 0:
            raise ValueError(f"`{step=}` must be non-negative.")
        if step in self._intermediate_values:
            warnings.warn(
                f"The reported value is ignored because this `{step=}` is already reported.",
                stacklevel=2,
            )
            return
        self._intermediate_values[step] = value

    def should_prune(self) -> bool:
        """Return False: adbo has no pruner."""
        return False

    def set_user_attr(self, key: str, value: Any) -> None:
        """Attach a value to this trial; it must be one that JSON can hold."""
        json.dumps({key: value})  # raises TypeError here, as Optuna's storages do
        self._user_attrs[key] = copy.deepcopy(value)

    def set_constraint(self, key: str, value: float) -> None:
        """Record a constraint. It is stored with the trial; the optimizer does not use it."""
        value = _as_float(value)
        if math.isnan(value):
            raise ValueError(f"Attempted to set a constraint for {key!r}, but NaN is not allowed.")
        self._system_attrs.setdefault(_CONSTRAINT_PREFIX + key, value)

    @property
    def params(self) -> dict[str, Any]:
        """The parameters suggested so far."""
        return {
            name: distribution.to_external_repr(self._internal[name])
            for name, distribution in self._distributions.items()
        }

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """The distributions of the parameters suggested so far."""
        return copy.deepcopy(self._distributions)

    @property
    def user_attrs(self) -> dict[str, Any]:
        """The attributes set by `set_user_attr`."""
        return copy.deepcopy(self._user_attrs)

    @property
    def system_attrs(self) -> dict[str, Any]:
        """The attributes that belong to Optuna itself."""
        return copy.deepcopy(self._system_attrs)

    @property
    def constraints(self) -> dict[str, float]:
        """The constraints recorded by `set_constraint`."""
        n = len(_CONSTRAINT_PREFIX)
        own = self._system_attrs.items()
        return {key[n:]: value for key, value in own if key.startswith(_CONSTRAINT_PREFIX)}

    @property
    def number(self) -> int:
        """The trial's number, unique within the study but not dense."""
        return self._number

    @property
    def datetime_start(self) -> datetime.datetime | None:
        """The start of the evaluation, in local time."""
        return datetime.datetime.fromtimestamp(self._started)

    @property
    def started(self) -> float:
        """The start of the evaluation, in seconds since the epoch."""
        return self._started

    @property
    def n_reports(self) -> int:
        """The number of steps with a reported value."""
        return len(self._intermediate_values)

    def arguments(self) -> tuple[Any, ...]:
        """Return the arguments with which another rank constructs an equal trial."""
        return self._arguments

    def layout(self) -> Layout:
        """Return the distributions suggested from so far."""
        return Layout.of(self._distributions)

    def internal(self) -> tuple[float, ...]:
        """Return Optuna's internal values, in the order of the layout."""
        return tuple(self._internal.values())

    def extras(self, reason: str | None) -> Extras:
        """Return attributes and intermediate values; with the reason if the evaluation failed."""
        if reason is not None:
            self._user_attrs[FAIL_REASON] = reason[:_REASON_CHARACTERS]
        return Extras(self._user_attrs, self._system_attrs, self._intermediate_values)

    def last_intermediate_value(self) -> float:
        """Return the value reported for the highest step; NaN if there is none."""
        if not self._intermediate_values:
            return math.nan
        return self._intermediate_values[max(self._intermediate_values)]

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        if name in self._distributions:
            asked = self._distributions[name]
            if not are_compatible(asked, distribution):
                check_distribution_compatibility(asked, distribution)
            return asked.to_external_repr(self._internal[name])
        known = self._space.known(name)
        check_bounds(name, distribution)
        if known != distribution:
            distribution_to_json(distribution)  # TypeError for choices JSON cannot hold
            if known is not None and not are_compatible(known, distribution):
                reason = contradiction(name, known, distribution)
                self.contradiction = self.contradiction or reason
                raise ValueError(reason)
        internal = self._choose(name, distribution)
        self._internal[name] = internal
        self._distributions[name] = distribution
        return distribution.to_external_repr(internal)

    def _choose(self, name: str, distribution: BaseDistribution) -> float:
        """Return the proposed value, clipped to this trial's range, or a random one."""
        if name in self._fixed:
            return self._fixed_value(name, distribution)
        proposed = self._proposed_value(name, distribution)
        if not math.isnan(proposed) and distribution._contains(proposed):
            return proposed
        alone = SearchSpace({name: distribution})
        if math.isnan(proposed):
            drawn = float(alone.from_unit(self._rng.random((1, 1)))[0, 0])
            if self.comm is not None and isinstance(distribution, CategoricalDistribution):
                # On each rank of the group the choices may have another order.
                return float(sorted_choices(distribution)[int(drawn)])
            return drawn
        return float(alone.from_unit(alone.to_unit(np.array([[proposed]])))[0, 0])

    def _proposed_value(self, name: str, distribution: BaseDistribution) -> float:
        """Return the proposed value, of choices the index in this trial's order; NaN if none."""
        column = self._space.column(name, distribution)
        if column is None or column >= len(self._proposal):
            return math.nan
        proposed = float(self._proposal[column])
        indices = reordering(self._space.distributions[column], distribution)
        if indices is None or math.isnan(proposed):
            return proposed
        return float(indices[int(proposed)])

    def _fixed_value(self, name: str, distribution: BaseDistribution) -> float:
        """Return the enqueued value, even if it is out of range; Optuna does the same."""
        value = self._fixed[name]
        if isinstance(distribution, CategoricalDistribution):
            value = meant_choice(value, distribution.choices)
        internal = distribution.to_internal_repr(value)
        if not distribution._contains(internal):
            warnings.warn(
                f"Fixed parameter {name} with value {value} is out of range for distribution"
                f" {distribution}.",
                stacklevel=5,
            )
        return internal


def _as_float(value: float) -> float:
    """Return a value as a float; raise what Optuna's trials raise if it is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(
            f"The `value` argument is of type '{type(value)}' but supposed to be a float."
        ) from None
