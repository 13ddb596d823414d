"""How much of the asks each strategy gets, learned from what it has brought.

All ranks learn it from their histories alone. The credit of an evaluation is high if it is among
the best of the latest evaluations, or on the front of several objectives. Since only the order of
the costs counts, their scale does not matter. A strategy's share grows with the mean credit of its
evaluations, and has a floor, so that none dies out. This is adaptive operator selection with a
rank-based credit (Fialho, Schoenauer and Sebag, GECCO 2010) and probability matching in a sliding
window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adbo.core.history import History
from adbo.core.origins import NO_ORIGIN
from adbo.core.space import FloatArray, IntArray
from adbo.optimizer.preference import Preference


@dataclass(frozen=True)
class ShareSettings:
    """How shares are learned."""

    window: int = 256
    """Latest evaluations that count."""
    best_fraction: float = 0.05
    """Fraction of them over which the credit of the best decays to 1 / e."""
    power: float = 2.0
    """Shares are proportional to this power of the mean credit; more is greedier."""
    prior_asks: float = 4.0
    """Evaluations with the mean credit that each strategy is assumed to have had."""
    floor: float = 0.03
    """Least share."""


@dataclass(frozen=True)
class Credits:
    """What the evaluations of each origin have brought lately.

    Parameters
    ----------
    total, count
        Sum of the credits, and number of the evaluations, of each code ``(256,)``.
    settings
        Tunables.
    """

    total: FloatArray
    count: FloatArray
    settings: ShareSettings

    def draw_order(self, arms: Sequence[IntArray], rng: np.random.Generator) -> IntArray:
        """Return the numbers of all arms ``(n,)`` in an order drawn by their shares."""
        return rng.choice(len(arms), size=len(arms), replace=False, p=self.shares(arms))

    def shares(self, arms: Sequence[IntArray]) -> FloatArray:
        """Return the share of each arm ``(n,)``, an array of different codes; their sum is 1."""
        total = np.array([self.total[codes].sum() for codes in arms])
        count = np.array([self.count[codes].sum() for codes in arms])
        n, prior = len(arms), self.settings.prior_asks
        mean = total.sum() / count.sum() if total.sum() > 0 else 1.0
        credit = ((total + prior * mean) / (count + prior)) ** self.settings.power
        floor = min(self.settings.floor, 1 / n)
        return np.asarray(floor + (1 - n * floor) * credit / credit.sum())


def learn_credits(
    history: History, settings: ShareSettings, preference: Preference | None = None
) -> Credits:
    """Return what the latest evaluations that strategies proposed have brought.

    With constraints, the preference of the ask says what is good. Of several objectives, those are
    good that are on the front: a cost would be that of one trade-off, and the latest evaluations
    were made for many.
    """
    latest = np.arange(max(0, len(history) - settings.window), len(history))
    origin = history.column("origin")[latest]
    if history.n_objectives > 1 and len(history.front.rows):
        credit = np.isin(latest, history.front.rows).astype(np.float64)
    else:
        cost = history.cost(latest) if preference is None else preference.cost(history, latest)
        credit = _credit_by_position(cost, settings.best_fraction)
    is_own = origin != NO_ORIGIN
    total, count = np.zeros(256), np.zeros(256)
    np.add.at(total, origin[is_own], credit[is_own])
    np.add.at(count, origin[is_own], 1.0)
    return Credits(total, count, settings)


def _credit_by_position(cost: FloatArray, best_fraction: float) -> FloatArray:
    """Return the credit of costs ``(m,)`` by their positions in order; see `ShareSettings`."""
    cost = np.where(np.isnan(cost), np.inf, cost)
    position = np.empty(len(cost))
    position[np.argsort(cost, kind="stable")] = np.arange(len(cost))
    return np.exp(-position / (best_fraction * max(len(cost), 1)))
