"""The search space: named Optuna distributions as columns of numbers.

It knows three views of a point: the user's ``params``, Optuna's internal float of each parameter
(exact: what histories, messages and databases hold), and the unit cube (what the surrogate sees).

Notation: ``d`` columns, ``m`` rows, ``values (m, d)`` internal floats, ``units (m, d)`` in [0, 1];
NaN in either marks a parameter that is absent because its branch was not taken.

In the unit cube a number with ``L`` possible values, and a categorical with ``L`` choices, has its
k-th value in the middle of the k-th of ``L`` equal cells; a logarithmic parameter is scaled after
taking the logarithm.
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
    distribution_to_json,
)

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class SearchSpace:
    """An ordered set of named distributions that grows as trials meet new names.

    A name whose numeric range differs between trials has one column that spans all ranges seen,
    so the order of arrival does not matter. Should two ranks define one name in incompatible ways
    at the same moment, each definition gets a column of its own and nothing is lost.

    Parameters
    ----------
    distributions
        What is known from the start, by name.
    """

    def __init__(self, distributions: Mapping[str, BaseDistribution] | None = None) -> None:
        self.names: list[str] = []
        self.distributions: list[BaseDistribution] = []
        self._columns: dict[tuple[str, str], int] = {}
        self._first: dict[str, int] = {}
        self._scale()
        for name, distribution in (distributions or {}).items():
            self.add(name, distribution)

    def __len__(self) -> int:
        return len(self.names)

    def add(self, name: str, distribution: BaseDistribution) -> int:
        """Take in a distribution, widening the column of that name if need be.

        Returns
        -------
        int
            Its column.
        """
        key = (name, _kind(distribution))
        column = self._columns.get(key)
        if column is None:
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
        """The distribution under which this name was first met, or None."""
        column = self._first.get(name)
        return None if column is None else self.distributions[column]

    def column(self, name: str, distribution: BaseDistribution) -> int | None:
        """The column of a name with this kind of distribution, or None."""
        return self._columns.get((name, _kind(distribution)))

    def encode(self, params: Mapping[str, Any]) -> FloatArray:
        """One point as internal floats ``(d,)``, NaN where ``params`` has no value.

        Raises
        ------
        ValueError
            If a name is unknown or a value is not one its distribution can hold.
        """
        row = np.full(len(self), np.nan)
        for name, value in params.items():
            column = self._first.get(name)
            if column is None:
                raise ValueError(f"unknown parameter {name!r}: the space has {self.names}")
            distribution = self.distributions[column]
            internal = distribution.to_internal_repr(value)
            if not distribution._contains(internal):
                raise ValueError(f"{name} = {value!r} is not in {distribution}")
            row[column] = internal
        return row

    def decode(self, row: Sequence[float] | FloatArray) -> dict[str, Any]:
        """The params of one row of internal floats ``(d,)``; the exact inverse of `encode`."""
        return {
            name: distribution.to_external_repr(float(value))
            for name, distribution, value in zip(self.names, self.distributions, row, strict=True)
            if not math.isnan(value)
        }

    def to_unit(self, values: FloatArray) -> FloatArray:
        """Internal floats ``(m, d)`` in the unit cube ``(m, d)``."""
        t = np.array(values, dtype=np.float64)
        if self._log.size:
            t[:, self._log] = np.log(t[:, self._log])
        # Halves, because high - low of the widest floats overflows.
        units = np.full_like(t, 0.5)
        np.divide(t / 2 - self._low / 2, self._half_span, out=units, where=self._half_span > 0)
        units[np.isnan(t)] = np.nan
        return np.clip(units, 0.0, 1.0, out=units)

    def from_unit(self, units: FloatArray) -> FloatArray:
        """The nearest representable internal floats ``(m, d)`` of unit-cube rows ``(m, d)``."""
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
        """Unit-cube rows ``(m, d)`` moved to the nearest points the distributions can hold."""
        return self.to_unit(self.from_unit(units))

    def keys(self, values: FloatArray) -> FloatArray:
        """Rows ``(m, d)`` that are equal where internal floats are the same points.

        Values on a grid count by their index: 0.3 is the same as 3 * 0.1. Keys that were made with
        another `grid` are not to be compared.
        """
        rows = values + 0.0  # -0.0 becomes 0.0
        grid = self._grid
        rows[:, grid] = np.round((rows[:, grid] - self.first[grid]) / self.step[grid])
        return rows + 0.0

    def all_units(self) -> FloatArray:
        """All points of a space whose columns all have a finite number of values, ``(N, d)``."""
        indices = np.indices([int(n) for n in self.levels]).reshape(len(self), -1).T
        return self.to_unit(indices * self.step + self.first)

    @property
    def has_grid(self) -> bool:
        """Whether some column has a finite number of values."""
        return self._grid.size > 0

    def _scale(self) -> None:
        """Recompute the vectorised description of the columns."""
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
        # A grid value is the middle of its cell, so the outer cells reach half a step further.
        low, high = self.first - self.step / 2, self.last + self.step / 2
        low[self._log], high[self._log] = np.log(low[self._log]), np.log(high[self._log])
        self._low, self._high = low, high
        self._half_span = high / 2 - low / 2


def _kind(distribution: BaseDistribution) -> str:
    """What must agree for two definitions of a name to be compatible, as Optuna sees it."""
    if isinstance(distribution, CategoricalDistribution):
        try:
            return distribution_to_json(distribution)
        except TypeError:  # choices that Optuna keeps in memory only, such as functions
            return repr(distribution.choices)
    return f"{type(distribution).__name__}:{_log(distribution)}"


def _union(old: BaseDistribution, new: BaseDistribution) -> BaseDistribution:
    """The smallest distribution of the same kind that holds the values of both."""
    if isinstance(old, FloatDistribution) and isinstance(new, FloatDistribution):
        low, high = min(old.low, new.low), max(old.high, new.high)
        same_grid = old.step is not None and old.step == new.step and low == old.low == new.low
        return FloatDistribution(low, high, log=old.log, step=old.step if same_grid else None)
    if isinstance(old, IntDistribution) and isinstance(new, IntDistribution):
        low, high = min(old.low, new.low), max(old.high, new.high)
        step = math.gcd(old.step, new.step, old.low - new.low)
        return IntDistribution(low, high, log=old.log, step=step)
    return old


def _log(distribution: BaseDistribution) -> bool:
    return bool(getattr(distribution, "log", False))


def _first(distribution: BaseDistribution) -> float:
    return float(getattr(distribution, "low", 0))


def _last(distribution: BaseDistribution) -> float:
    if isinstance(distribution, CategoricalDistribution):
        return float(len(distribution.choices) - 1)
    return float(getattr(distribution, "high", 0))


def _step(distribution: BaseDistribution) -> float:
    """Distance between neighbouring values; 0 for a continuous one."""
    if isinstance(distribution, FloatDistribution):
        return distribution.step or 0.0
    if isinstance(distribution, IntDistribution):
        return float(distribution.step)
    return 1.0
