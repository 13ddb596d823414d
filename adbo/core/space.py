"""The search space: named Optuna distributions as columns of numbers.

A point has three representations: the user's ``params``; Optuna's exact internal float of each
parameter, which histories, messages and databases hold; and the unit cube, which surrogates see.

Notation: ``d`` columns, ``m`` rows, ``values (m, d)`` internal floats, ``units (m, d)`` in [0, 1].
NaN marks a parameter that is absent because its branch was not taken.

If a parameter has ``L`` possible values or choices, the k-th is in the middle of the k-th of ``L``
equal cells of the unit interval. A logarithmic parameter is scaled after taking the logarithm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from adbo.core.choices import choice_set

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Characters of a distribution that a message shows.
_SHOWN = 300


class SearchSpace:
    """An ordered set of named distributions, to which trials add new names.

    If the range of a number differs between trials, its column spans all ranges, so that the order
    in which they arrive does not matter. Choices have the order in which they were first seen. If
    two ranks define one name in incompatible ways at the same moment, each definition gets a
    column of its own, so that no evaluation is lost.

    Parameters
    ----------
    distributions
        The initial distributions, by name.

    Attributes
    ----------
    names, distributions
        One for each column ``(d,)``.
    first, last, step
        Lowest and highest internal value, and the distance between neighbouring values, which is 0
        for continuous columns ``(d,)``.
    levels
        Number of possible values ``(d,)``; infinity for continuous columns.
    categories
        Number of choices ``(d,)``; 0 for numbers.
    grid
        Description of the columns' grids. It changes if and only if `keys` would change.
    contradictions
        One line about each definition that is incompatible with the first one of its name.
    """

    def __init__(self, distributions: Mapping[str, BaseDistribution] | None = None) -> None:
        self.names: list[str] = []
        self.distributions: list[BaseDistribution] = []
        self.contradictions: list[str] = []
        self._columns: dict[tuple[str, str], int] = {}
        self._first: dict[str, int] = {}
        self._scale()
        for name, distribution in (distributions or {}).items():
            self.add(name, distribution)

    def __len__(self) -> int:
        return len(self.names)

    def add(self, name: str, distribution: BaseDistribution) -> int:
        """Add a distribution: a new column, or a wider range of the column of that name.

        Returns
        -------
        int
            The column number.
        """
        key = (name, _kind(distribution))
        column = self._columns.get(key)
        if column is None:
            known = self.known(name)
            if known is not None and not are_compatible(known, distribution):
                self.contradictions.append(contradiction(name, known, distribution))
            column = self._columns[key] = len(self.names)
            self._first.setdefault(name, column)
            self.names.append(name)
            self.distributions.append(distribution)
            self._scale()
        elif distribution != self.distributions[column]:
            widened = _union(self.distributions[column], distribution)
            if widened != self.distributions[column]:
                self.distributions[column] = widened
                self._scale()
        return column

    def known(self, name: str) -> BaseDistribution | None:
        """Return the distribution of the first column of this name, or None."""
        column = self._first.get(name)
        return None if column is None else self.distributions[column]

    def accepts(self, distributions: Mapping[str, BaseDistribution]) -> bool:
        """Return whether all are compatible with the first ones of their names."""
        known = [(self.known(name), distribution) for name, distribution in distributions.items()]
        return all(old is None or are_compatible(old, new) for old, new in known)

    def column(self, name: str, distribution: BaseDistribution) -> int | None:
        """Return the column of a name with this kind of distribution, or None."""
        return self._columns.get((name, _kind(distribution)))

    def encode(self, params: Mapping[str, Any]) -> FloatArray:
        """Return a point as internal floats ``(d,)``, NaN where ``params`` has no value.

        Raises
        ------
        ValueError
            If a name is unknown, or a value is not in its distribution.
        """
        row = np.full(len(self), np.nan)
        for name, value in params.items():
            column = self._first.get(name)
            if column is None:
                raise ValueError(f"unknown parameter {name!r}: the space has {self.names}")
            distribution = self.distributions[column]
            internal = distribution.to_internal_repr(value)
            if not contains(distribution, internal):
                raise ValueError(f"{name} = {value!r} is not in {distribution}")
            row[column] = internal
        return row

    def decode(self, row: Sequence[float] | FloatArray) -> dict[str, Any]:
        """Return the params of internal floats ``(d,)``: the exact inverse of `encode`."""
        return {
            name: distribution.to_external_repr(float(value))
            for name, distribution, value in zip(self.names, self.distributions, row, strict=True)
            if not math.isnan(value)
        }

    def to_unit(self, values: FloatArray) -> FloatArray:
        """Map internal floats ``(m, d)`` to the unit cube ``(m, d)``."""
        t = np.array(values, dtype=np.float64)
        if self._log.size:
            t[:, self._log] = np.log(t[:, self._log])
        # Halves, because high - low may overflow.
        units = np.full_like(t, 0.5)
        np.divide(t / 2 - self._low / 2, self._half_span, out=units, where=self._half_span > 0)
        units[np.isnan(t)] = np.nan
        return np.clip(units, 0.0, 1.0, out=units)

    def from_unit(self, units: FloatArray) -> FloatArray:
        """Map rows ``(m, d)`` of the unit cube to the nearest valid internal floats ``(m, d)``."""
        values = self._low * (1.0 - units) + self._high * units
        if self._log.size:
            values[:, self._log] = np.exp(values[:, self._log])
        grid = self._grid
        if grid.size:
            first, step = self.first[grid], self.step[grid]
            index = np.round((values[:, grid] - first) / step)
            np.clip(index, 0, self.levels[grid] - 1, out=index)
            values[:, grid] = index * step + first
        return np.clip(values, self.first, self.last, out=values)

    def snap(self, units: FloatArray) -> FloatArray:
        """Move rows ``(m, d)`` of the unit cube to the nearest valid points."""
        return self.to_unit(self.from_unit(units))

    def keys(self, values: FloatArray) -> FloatArray:
        """Return keys ``(m, d)`` of internal floats, which are equal for equal points.

        The key of a value on a grid is its index, so that 0.3 equals 3 * 0.1. Keys are comparable
        only if they were made with the same `grid`.
        """
        rows = values + 0.0  # -0.0 becomes 0.0
        grid = self._grid
        rows[:, grid] = np.round((rows[:, grid] - self.first[grid]) / self.step[grid])
        return rows + 0.0

    def all_units(self) -> FloatArray:
        """Return all points ``(N, d)`` of a space whose columns are all discrete."""
        levels = self.levels.astype(np.int64)
        periods = np.append(np.cumprod(levels[:0:-1])[::-1], 1)  # the last column changes fastest
        indices = np.arange(levels.prod())[:, np.newaxis] // periods % levels
        return self.to_unit(indices * self.step + self.first)

    @property
    def has_grid(self) -> bool:
        """Whether a column is discrete."""
        return self._grid.size > 0

    def _scale(self) -> None:
        """Recompute the arrays that describe the columns."""
        ds = self.distributions
        self.first = np.array([_first(d) for d in ds], dtype=np.float64)
        self.last = np.array([_last(d) for d in ds], dtype=np.float64)
        self.step = np.array([_step(d) for d in ds], dtype=np.float64)
        on_grid = self.step > 0
        self.levels: FloatArray = np.full(len(ds), np.inf)
        with np.errstate(over="ignore"):
            steps = (self.last - self.first)[on_grid] / self.step[on_grid]
        self.levels[on_grid] = np.round(steps) + 1
        self.levels[self.first == self.last] = 1
        self.categories: IntArray = np.array(
            [len(d.choices) if isinstance(d, CategoricalDistribution) else 0 for d in ds],
            dtype=np.int64,
        )
        self._log = np.array([i for i, d in enumerate(ds) if _log(d)], dtype=np.intp)
        self._grid = np.flatnonzero(on_grid)
        grid = self._grid
        self.grid = len(ds), *grid.tolist(), *self.first[grid].tolist(), *self.step[grid].tolist()
        # A value on a grid is the middle of its cell: outer cells reach half a step beyond it.
        low, high = self.first - self.step / 2, self.last + self.step / 2
        low[self._log], high[self._log] = np.log(low[self._log]), np.log(high[self._log])
        self._low, self._high = low, high
        self._half_span = high / 2 - low / 2


def check_bounds(name: str, distribution: BaseDistribution) -> None:
    """Check that the bounds of a parameter are finite.

    Raises
    ------
    OverflowError
        If one of them is infinite or NaN. Optuna's samplers raise this, too.
    """
    low, high = _first(distribution), _last(distribution)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise OverflowError(
            f"parameter {name!r} has the bounds {low:g} and {high:g}: they must be finite numbers"
        )


def contains(distribution: BaseDistribution, internal: float) -> bool:
    """Return whether a distribution has an internal value, up to rounding.

    Optuna's own test allows 1e-8 steps. Floats may be rounded by more if the steps are small: for
    example of 1e-6 between 1000 and 1001.
    """
    if distribution._contains(internal):
        return True
    if not isinstance(distribution, FloatDistribution) or distribution.step is None:
        return False
    low, high, step = distribution.low, distribution.high, distribution.step
    if not low <= internal <= high:
        return False
    nearest = low + round((internal - low) / step) * step
    return abs(internal - nearest) <= 2 * math.ulp(max(-low, high))


def are_compatible(old: BaseDistribution, new: BaseDistribution) -> bool:
    """Return whether one parameter may have both distributions."""
    return _kind(old) == _kind(new)


#: What to do about a contradiction.
REMEDY = "use another --study-name, or the objective of the study"


def contradiction(name: str, old: BaseDistribution, new: BaseDistribution) -> str:
    """Return one line about a definition that is incompatible with that of the study."""
    return (
        f"parameter {name!r}: the objective asks for {_shortened(new)},"
        f" the study has {_shortened(old)}"
    )


def _kind(distribution: BaseDistribution) -> str:
    """Return what the distributions of a column have in common."""
    if isinstance(distribution, CategoricalDistribution):
        return f"choices:{choice_set(distribution)}"
    return f"{type(distribution).__name__}:{_log(distribution)}"


def _union(old: BaseDistribution, new: BaseDistribution) -> BaseDistribution:
    """Return the smallest distribution of the same kind that holds the values of both."""
    if isinstance(old, FloatDistribution) and isinstance(new, FloatDistribution):
        low, high = min(old.low, new.low), max(old.high, new.high)
        same_grid = old.step is not None and old.step == new.step and low == old.low == new.low
        return FloatDistribution(low, high, log=old.log, step=old.step if same_grid else None)
    if isinstance(old, IntDistribution) and isinstance(new, IntDistribution):
        low, high = min(old.low, new.low), max(old.high, new.high)
        step = math.gcd(old.step, new.step, old.low - new.low)
        return IntDistribution(low, high, log=old.log, step=step)
    return old


def _shortened(distribution: BaseDistribution) -> str:
    text = str(distribution)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _log(distribution: BaseDistribution) -> bool:
    return bool(getattr(distribution, "log", False))


def _first(distribution: BaseDistribution) -> float:
    return float(getattr(distribution, "low", 0))


def _last(distribution: BaseDistribution) -> float:
    if isinstance(distribution, CategoricalDistribution):
        return float(len(distribution.choices) - 1)
    return float(getattr(distribution, "high", 0))


def _step(distribution: BaseDistribution) -> float:
    """Return the distance between neighbouring values; 0 for a continuous distribution."""
    if isinstance(distribution, FloatDistribution):
        return distribution.step or 0.0
    if isinstance(distribution, IntDistribution):
        return float(distribution.step)
    return 1.0
