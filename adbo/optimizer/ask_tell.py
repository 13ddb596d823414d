"""`Optimizer`: ask and tell on its own, without MPI, database or clock."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.trial import TrialState

from adbo.core.allowed import Predicate
from adbo.core.constraints import as_system_attrs
from adbo.core.evaluation import MORE_VALUES, Batch, Extras, Layout
from adbo.core.history import History
from adbo.core.intermediate_values import MAX_STEP
from adbo.core.settings import KAPPA, check_kappa, one_or_several, signs_of
from adbo.core.space import FloatArray, SearchSpace, check_bounds
from adbo.optimizer.ask import propose
from adbo.optimizer.asked import Asked
from adbo.optimizer.recommend import recommend
from adbo.optimizer.settings import DEFAULT_SETTINGS, OptimizerSettings, with_strategies

_NOTHING_COMPLETE = "no evaluation is complete and feasible yet"


class Optimizer:
    """Propose points with `ask` and learn from results with `tell`.

    Parameters
    ----------
    space
        Maps parameter names to Optuna distributions.
    direction
        ``"minimize"`` or ``"maximize"``.
    directions
        The direction of each of several objectives, at most 5.
    seed
        Seed of the random stream; None for an unpredictable one. The seed and the sequence of
        asks and tells determine every proposal.
    kappa
        Mean of the exponential distribution of kappa, the weight of the standard deviation.
    settings
        Tunables of the method.
    strategies
        Names of the strategies that are used; None for all.
    allowed
        A function of the parameters, as a dictionary, that returns whether they may be proposed;
        None to allow all.

    Raises
    ------
    ValueError
        If a direction is neither of the two, kappa is negative or not finite, or a strategy is
        unknown.
    TypeError
        If a value of the space is no distribution of Optuna.
    OverflowError
        If a bound of a parameter is not finite.

    Examples
    --------
    >>> import adbo, optuna
    >>> optimizer = adbo.Optimizer({"x": optuna.distributions.FloatDistribution(-5, 5)}, seed=0)
    >>> for _ in range(30):
    ...     params = optimizer.ask()
    ...     optimizer.tell(params, (params["x"] - 1) ** 2)
    >>> abs(optimizer.best_params["x"] - 1) < 0.5
    True
    """

    def __init__(  # noqa: PLR0913 - choices with defaults
        self,
        space: Mapping[str, BaseDistribution],
        *,
        direction: str = "minimize",
        directions: Sequence[str] | None = None,
        seed: int | None = None,
        kappa: float = KAPPA,
        settings: OptimizerSettings = DEFAULT_SETTINGS,
        strategies: Sequence[str] | None = None,
        allowed: Predicate | None = None,
    ) -> None:
        signs = signs_of(one_or_several(direction, directions))
        check_kappa(kappa)
        for name, distribution in space.items():
            if not isinstance(distribution, BaseDistribution):
                raise TypeError(f"space[{name!r}] is {distribution!r}: it must be a distribution")
            check_bounds(name, distribution)
        self.history = History(signs, SearchSpace(space))
        self._layout = Layout(dict(space), len(signs))
        self._kappa = kappa
        self._settings = settings
        if strategies is not None:
            self._settings = replace(settings, strategies=with_strategies(strategies).strategies)
        self._rng = np.random.default_rng(seed)
        self._asked = Asked()
        self._allowed = allowed

    def ask(self) -> dict[str, Any]:
        """Return the parameters to evaluate next.

        Raises
        ------
        ValueError
            If the function that says what is allowed fails, or allows nothing.
        """
        proposal = propose(
            self.history, self._kappa, self._rng, self._settings, predicate=self._allowed
        )
        params = self.history.space.decode(proposal.point)
        self._asked.add(self.history.space.encode(params), proposal.origin)
        return params

    def tell(
        self,
        params: Mapping[str, Any],
        value: float | Sequence[float] | None,
        constraints: Mapping[str, float] | None = None,
        *,
        reports: Mapping[int, float] | None = None,
        pruned: bool = False,
    ) -> None:
        """Add one result, of a point that was asked for or of any other.

        Parameters
        ----------
        params
            The parameters that were evaluated, without those of branches that were not taken.
        value
            The value of the objective, or those of several; None or NaN if the evaluation failed.
        constraints
            Constraints by name, at most 0 where they are satisfied; see `docs/several.md`.
        reports
            The values that one objective reported on the way, by step. From those of complete
            evaluations follows what a pruned one would have had in the end.
        pruned
            Whether the evaluation was ended early. Its value is then None: the last of the
            reports counts, as in Optuna.

        Raises
        ------
        ValueError
            If a parameter is unknown or its value is outside its distribution, or there are not
            as many values as directions; if a constraint is NaN, a step is no integer of at least
            0, a pruned evaluation has a value, or there are reports of several objectives.
        TypeError
            If the parameters, constraints or reports are not mappings, or a constraint or report
            is no number.
        """
        taken = _reports(reports)
        if (taken or pruned) and self.history.n_objectives > 1:
            raise ValueError("evaluations of several objectives have no reports, nor are pruned")
        if pruned:
            if value is not None:
                raise ValueError("a pruned evaluation has reports, but no value: give None")
            value = next(reversed(taken.values()), None)
        attributes = _constraints(constraints)
        extras = Extras(intermediate_values=taken, system_attrs=attributes)
        values = np.array([self._numbers(value)])
        row = self._row(params)
        self._extend(row[np.newaxis], values, {0: extras} if extras else {}, pruned)

    def tell_many(
        self,
        params: Sequence[Mapping[str, Any]],
        values: Sequence[float | Sequence[float] | None],
        constraints: Sequence[Mapping[str, float]] | None = None,
    ) -> None:
        """Add results, one of ``values`` (and ``constraints``) for each of ``params``; see `tell`.

        Each of the values of several objectives is a sequence.
        """
        rows = [self._row(p) for p in params]
        numbers = [self._numbers(value) for value in values]
        if len(rows) != len(numbers):
            raise ValueError(f"{len(rows)} params but {len(numbers)} values")
        if rows or constraints:
            shape = len(rows), len(self.history.space)
            self.tell_array(np.reshape(rows, shape), np.array(numbers), constraints)

    def _row(self, params: Mapping[str, Any]) -> FloatArray:
        """Return Optuna's internal values of parameters, ``(d,)``."""
        return self.history.space.encode(_as_mapping(params, "params", "names to values"))

    def _numbers(self, value: float | Sequence[float] | None) -> list[float]:
        """Return the values of all objectives; NaN for a failure."""
        n = self.history.n_objectives
        if value is None:
            return [math.nan] * n
        numbers: list[float] = np.atleast_1d(np.asarray(value, dtype=float)).tolist()
        if len(numbers) != n:
            raise ValueError(f"{len(numbers)} values of an evaluation, but {n} directions")
        return numbers

    def tell_array(
        self,
        internal: FloatArray,
        values: FloatArray,
        constraints: Sequence[Mapping[str, float]] | None = None,
    ) -> None:
        """Add results as arrays, without a check of values against their ranges.

        Parameters
        ----------
        internal
            Optuna's internal values ``(n, d)``, columns in the order of the space, NaN for
            absent parameters.
        values
            Values of the objective ``(n,)``, or of several ``(n, q)``, NaN for failures.
        constraints
            See `tell_many`.

        Raises
        ------
        ValueError
            If the shapes do not match the space or each other.
        """
        values = np.reshape(values, (len(values), self.history.n_objectives))
        expected = (len(values), len(self.history.space))
        if np.shape(internal) != expected:
            raise ValueError(f"internal has the shape {np.shape(internal)}, not {expected}")
        if constraints is not None and len(constraints) != len(values):
            raise ValueError(f"{len(values)} values but {len(constraints)} constraints")
        extras = {
            i: Extras(system_attrs=_constraints(of_row))
            for i, of_row in enumerate(constraints or ())
            if of_row
        }
        self._extend(internal, values, extras)

    def _extend(
        self,
        internal: FloatArray,
        values: FloatArray,
        extras: Mapping[int, Extras],
        pruned: bool = False,
    ) -> None:
        """Append ``internal (n, d)`` with the values ``(n, q)``, NaN for failures."""
        rows = np.zeros(len(values), dtype=self._layout.dtype)
        rows["seq"] = np.arange(len(self.history), len(self.history) + len(values))
        rows["value"] = values[:, 0]
        if self.history.n_objectives > 1:
            rows[MORE_VALUES] = values[:, 1:]
        state = TrialState.PRUNED if pruned else TrialState.COMPLETE
        failed = np.isnan(values).any(axis=1) & (not pruned)
        rows["state"] = np.where(failed, TrialState.FAIL.value, state.value)
        rows["internal"] = internal
        if self._asked:
            rows["origin"] = [self._asked.take(row) for row in rows["internal"]]
        self.history.extend([Batch(self._layout, rows, extras)])

    def recommend(self) -> dict[str, Any]:
        """Return the parameters that the model believes best.

        On a noisy objective, `best_params` are those of the luckiest evaluation.

        Raises
        ------
        ValueError
            If no evaluation is complete and feasible yet, or there are several objectives.
        """
        self._check_one_objective()
        recommendation = recommend(self.history)
        if recommendation is None:
            raise ValueError(_NOTHING_COMPLETE)
        return self._params(recommendation.row)

    @property
    def front(self) -> list[tuple[dict[str, Any], list[float]]]:
        """The parameters and values of the evaluations that no other one dominates.

        With one objective, they are the best feasible ones; see `adbo.core.front.MOST`.
        """
        rows = self.history.front.rows
        values = self.history.objectives(rows).tolist()
        return [(self._params(row), of_row) for row, of_row in zip(rows, values, strict=True)]

    @property
    def best_params(self) -> dict[str, Any]:
        """The parameters of the incumbent of one objective.

        Raises
        ------
        ValueError
            If no evaluation is complete and feasible yet, or there are several objectives.
        """
        return self._params(self._incumbent())

    @property
    def best_value(self) -> float:
        """The value of the incumbent; raises ValueError where `best_params` does."""
        return float(self.history.column("value")[self._incumbent()])

    def _incumbent(self) -> int:
        row = self.history.best
        self._check_one_objective()
        if row is None:
            raise ValueError(_NOTHING_COMPLETE)
        return row

    def _check_one_objective(self) -> None:
        if self.history.n_objectives > 1:
            raise ValueError("several objectives have no best evaluation: use front")

    def _params(self, row: int) -> dict[str, Any]:
        return self.history.space.decode(self.history.values(np.array([row]))[0])


def _as_mapping(given: Mapping[Any, Any], argument: str, of: str) -> Mapping[Any, Any]:
    if not isinstance(given, Mapping):
        raise TypeError(f"{argument} must be a mapping of {of}, not {type(given).__name__}")
    return given


def _number(given: Any, what: str) -> float:
    if not isinstance(given, (str, bytes)):
        with contextlib.suppress(TypeError, ValueError):
            return float(given)
    raise TypeError(f"{what} must be a number, not {type(given).__name__}")


def _constraints(given: Mapping[str, float] | None) -> dict[str, float]:
    """Return constraints as the system attributes of a trial."""
    constraints = _as_mapping({} if given is None else given, "constraints", "names to numbers")
    checked = {str(name): _number(of, f"constraint {name!r}") for name, of in constraints.items()}
    for name, number in checked.items():
        if math.isnan(number):  # nobody knows whether it is satisfied
            raise ValueError(f"constraint {name!r} is NaN: it must be a number")
    return as_system_attrs(checked)


def _reports(given: Mapping[int, float] | None) -> dict[int, float]:
    """Return reports in the order of their steps."""
    reports = _as_mapping({} if given is None else given, "reports", "steps to numbers")
    for step in reports:
        if not isinstance(step, Integral) or not 0 <= int(step) <= MAX_STEP:
            raise ValueError(f"step {step!r} of the reports must be an integer of at least 0")
    return {
        int(step): _number(value, f"the report at step {step}")
        for step, value in sorted(reports.items())
    }
