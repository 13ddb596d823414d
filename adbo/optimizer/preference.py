"""What one ask wants of several objectives, or of an objective with constraints: one cost.

Each ask draws its own trade-off, as it draws its own kappa, so ranks that know the same
evaluations work on different parts of the front, and nobody deals these parts out (D-MoBO, Egele
et al., arXiv 2309.14936). The cost is the augmented Chebyshev function of Knowles' ParEGO (IEEE
Trans. Evol. Comput. 10, 2006): ``max_i w_i z_i + rho sum_i w_i z_i``, where ``z`` are the
objectives in the ranges that the front has. Beyond the front, z grows with its logarithm only,
so that the scale of bad values does not matter.

Violated constraints add a penalty, without a step at the boundary, which local models could not
follow; large violations count with their logarithm. Each ask draws the weight of the penalty: at
the highest, no violation pays off in what is known.

Notation: ``m`` evaluations, ``q`` objectives, ``c`` constraints.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from adbo.core.constraints import violation
from adbo.core.history import History
from adbo.core.space import FloatArray, IntArray

#: Least component of the direction in which an ask searches the front: weights are its inverse.
_LEAST_COMPONENT = 1e-3


@dataclass(frozen=True)
class PreferenceSettings:
    """How several objectives and constraints become one cost."""

    rho: float = 0.05
    """Weight of the sum in the augmented Chebyshev function."""
    penalty_quantiles: tuple[float, float] = (0.5, 1.0)
    """Range of the quantile, among the gains of violations, that is the weight of a violation."""


@dataclass(frozen=True)
class Preference:
    """Makes one cost of objectives and constraints.

    Parameters
    ----------
    weights
        Of the objectives ``(q,)``; their sum is 1.
    low, span
        Cost of each objective that becomes 0, and what is added to it for 1 ``(q,)``.
    rho
        Weight of the sum.
    limits
        Violation of each constraint up to which it counts linearly ``(c,)``.
    penalty
        Cost of a scaled violation of 1; infinity if nothing feasible is
        known, so that only violations count.
    """

    weights: FloatArray
    low: FloatArray
    span: FloatArray
    rho: float
    limits: FloatArray
    penalty: float

    def cost(self, history: History, rows: IntArray) -> FloatArray:
        """Return the costs of evaluations ``(m,)``; NaN for failures."""
        return self.combine(self.parts(_costs(history, rows), history.constraints(rows)))

    def parts(self, costs: FloatArray, constraints: FloatArray) -> FloatArray:
        """Return what the cost is made of ``(m, q + c)``; NaN for failures.

        These are the objectives ``(m, q)``, scaled if there are several, and the constraints
        ``(m, c)``, scaled.
        """
        scaled = _scaled_constraints(constraints, self.limits)
        return np.concatenate([self._scaled(costs), scaled], axis=1)

    def combine(self, parts: FloatArray) -> FloatArray:
        """Return the costs ``(m,)`` of parts ``(m, q + c)``, known or predicted."""
        q = len(self.weights)
        cost = self._scalarized(parts[:, :q])
        if parts.shape[1] == q:
            return cost
        violated = violation(parts[:, q:])
        if np.isinf(self.penalty):
            return np.where(np.isnan(cost), np.nan, violated)
        with np.errstate(over="ignore", invalid="ignore"):
            return np.where(violated > 0, cost + self.penalty * violated, cost)

    def _scaled(self, costs: FloatArray) -> FloatArray:
        """Return the costs of several objectives ``(m, q)`` in the ranges of the front."""
        if costs.shape[1] == 1:
            return costs
        with np.errstate(over="ignore", invalid="ignore"):
            z = (costs - self.low) / self.span
            return np.where(z > 1.0, 1.0 + np.log(np.maximum(z, 1.0)), z)

    def _scalarized(self, scaled: FloatArray) -> FloatArray:
        """Return one cost ``(m,)`` of scaled costs ``(m, q)``."""
        if scaled.shape[1] == 1:
            return scaled[:, 0]
        with np.errstate(over="ignore", invalid="ignore"):
            weighted = self.weights * scaled
            return np.asarray(weighted.max(axis=1) + self.rho * weighted.sum(axis=1))


@dataclass(frozen=True)
class Parts:
    """What the costs of rows are made of.

    Parameters
    ----------
    values
        The parts ``(m, q + c)``; NaN for failures.
    preference
        Makes the costs of them.
    """

    values: FloatArray
    preference: Preference

    def __getitem__(self, rows: IntArray | slice) -> Parts:
        """Return the parts of some of the rows."""
        return Parts(self.values[rows], self.preference)

    @property
    def costs(self) -> FloatArray:
        """The costs of the rows ``(m,)``; NaN for failures."""
        return self.preference.combine(self.values)


def is_plain(history: History) -> bool:
    """Return whether there is one objective without constraints: no preference is needed."""
    return history.n_objectives == 1 and not history.constraint_names


def draw_preference(
    history: History, rows: IntArray, rng: np.random.Generator, settings: PreferenceSettings
) -> Parts:
    """Draw the preference of one ask, and return it with the parts of the rows.

    Parameters
    ----------
    history
        All evaluations that this rank knows.
    rows
        Those that the ask reads ``(m,)``; the ranges of objectives and constraints are theirs.
    rng
        Source of the trade-off and of the weight of violations.
    settings
        Tunables.
    """
    costs, constraints = _costs(history, rows), history.constraints(rows)
    limits = _limits(constraints)
    low, span = _range(history, costs)
    # The best point of a plane front lies in the direction 1 / w, and these are uniform in it.
    direction = np.maximum(rng.dirichlet(np.ones(costs.shape[1])), _LEAST_COMPONENT)
    weights = 1.0 / direction
    preference = Preference(weights / weights.sum(), low, span, settings.rho, limits, 0.0)
    parts = Parts(preference.parts(costs, constraints), preference)
    if not constraints.shape[1]:
        return parts
    quantile = rng.uniform(*settings.penalty_quantiles)
    penalty = _penalty(parts.costs, violation(parts.values[:, costs.shape[1] :]), quantile)
    return replace(parts, preference=replace(preference, penalty=penalty))


def _costs(history: History, rows: IntArray) -> FloatArray:
    """Return the costs of all objectives ``(m, q)``; of pruned trials, what is expected."""
    return history.cost(rows)[:, None] if history.n_objectives == 1 else history.costs(rows)


def _range(history: History, costs: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the lowest cost of each objective on the front, and the range there ``(q,)``.

    The range of an objective in which the front has one value is that of the better half of all.
    """
    front = history.front.costs if history.n_objectives > 1 else costs[:0]
    finite = front[np.isfinite(front).all(axis=1)]
    others = costs[np.isfinite(costs).all(axis=1)]
    if not len(others):
        return np.zeros(costs.shape[1]), np.ones(costs.shape[1])
    low = (finite if len(finite) else others).min(axis=0)
    high = finite.max(axis=0) if len(finite) else low
    with np.errstate(over="ignore"):
        span = high - low
        span = np.where(span > 0, span, _quantile(others, 0.5) - low)
    return low, np.where((span > 0) & np.isfinite(span), span, 1.0)


def _limits(constraints: FloatArray) -> FloatArray:
    """Return the median violation of each constraint among those that violate it ``(c,)``."""
    violated = np.where((constraints > 0) & np.isfinite(constraints), constraints, np.nan)
    limits = np.ones(constraints.shape[1])
    for column in np.flatnonzero((~np.isnan(violated)).any(axis=0)):
        limits[column] = _quantile(violated[~np.isnan(violated[:, column]), column], 0.5)
    return limits


def _scaled_constraints(constraints: FloatArray, limits: FloatArray) -> FloatArray:
    """Return log(1 + constraint / limit) ``(m, c)``, odd about 0; limits are ``(c,)``.

    A constraint that an evaluation does not have is satisfied.
    """
    known = np.where(np.isnan(constraints), -limits, constraints)
    with np.errstate(over="ignore"):  # infinite, as a violation that is
        return np.asarray(np.sign(known) * np.log1p(np.abs(known) / limits))


def _penalty(cost: FloatArray, violated: FloatArray, quantile: float) -> float:
    """Return the weight of violations ``(m,)``, from the gains in cost that they brought.

    A gain is how much lower than the best feasible cost a cost is, for a violation of 1. The
    weight is twice a quantile of the gains, so that with the largest one, no evaluation is better
    than the best feasible one. Infinity if no evaluation is feasible.
    """
    feasible = (violated == 0) & ~np.isnan(cost)
    if not feasible.any():
        return np.inf
    best = cost[feasible].min()
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        gains = (best - cost) / violated
    gains = gains[(gains > 0) & np.isfinite(gains)]
    if gains.size:
        return min(2.0 * float(_quantile(gains, quantile)), np.finfo(float).max)
    known = cost[np.isfinite(cost)]
    if not known.size:
        return 1.0
    with np.errstate(over="ignore"):
        return min(float(_quantile(known, 0.5) - known.min()), np.finfo(float).max)


def _quantile(values: FloatArray, fraction: float) -> FloatArray:
    """Return one of the values for each column; their mean might overflow."""
    return np.quantile(values, fraction, axis=0, method="lower")
