"""The history: all evaluations that a rank knows, appended once and never changed.

It stores columns instead of objects, so that a million evaluations need the memory of their
numbers, and an ask reads only a bounded sample of them. To recognize repeated points, it builds a
set of all points when it is asked for the first time. It does not know where evaluations come
from. The choices of a parameter have one order in the whole history, that of the search space.

Notation: ``n`` evaluations, ``d`` columns of the search space, ``m`` sampled rows, ``q``
objectives, ``c`` constraints.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.trial import TrialState

from adbo.core.choices import in_order_of
from adbo.core.constraints import constraints_of, violation
from adbo.core.evaluation import (
    HEADER_FIELDS,
    MORE_VALUES,
    NO_EXTRAS,
    Batch,
    Evaluation,
    Extras,
    Layout,
)
from adbo.core.front import Front
from adbo.core.names import Names
from adbo.core.pruned_costs import PrunedCosts
from adbo.core.space import FloatArray, IntArray, SearchSpace

#: Number of best evaluations that are kept in order; the sample of an ask has at most as many.
ELITES = 256

#: Fields of a record that the history copies; it numbers layouts by itself.
_COPIED_FIELDS = [(n, t) for n, t in HEADER_FIELDS if n != "layout"]
_HEADER = np.dtype([("layout", "<i4"), *_COPIED_FIELDS])

_INITIAL_CAPACITY = 256


class History:
    """An append-only log of evaluations that keeps the best ones in order.

    One thread may append; other threads may read rows below ``len(history)`` at the same time.

    Parameters
    ----------
    sign
        +1 to minimize the values, -1 to maximize them; of several objectives, one for each. Costs
        are values times the sign.
    space
        The initial columns; new layouts add columns.
    """

    def __init__(self, sign: int | Sequence[int] = 1, space: SearchSpace | None = None) -> None:
        self.signs = (sign,) if isinstance(sign, int) else tuple(sign)
        self.sign = self.signs[0]
        self.space = SearchSpace() if space is None else space
        self.counts = {state: 0 for state in TrialState if state.is_finished()}
        self.busy_seconds = 0.0
        self._n = 0
        self._header = np.empty(_INITIAL_CAPACITY, dtype=_HEADER)
        self._values = np.full((_INITIAL_CAPACITY, len(self.space)), np.nan)
        self._more_values = np.empty((_INITIAL_CAPACITY, self.n_objectives - 1))
        self._constraints = np.empty((_INITIAL_CAPACITY, 0))
        #: The names of the constraints that evaluations have, ``(c,)``.
        self.constraint_names: tuple[str, ...] = ()
        self._extras: dict[int, Extras] = {}
        self._layouts: list[Layout] = []
        self._layout_index: dict[int, int] = {}
        self._layout_columns: list[IntArray] = []
        # Of the layouts whose choices have another order: position to the index of each choice.
        self._reorderings: dict[int, dict[int, FloatArray]] = {}
        self._names = Names()
        self._elites: IntArray = np.empty(0, dtype=np.int64)
        self._elite_cost: FloatArray = np.empty(0)
        self._elite_violation: FloatArray = np.empty(0)
        self._front = Front.empty(self.n_objectives), 0  # and the number of rows that it has seen
        self._pruned = PrunedCosts(self.sign)
        self._points: set[bytes] = set()
        self._n_points = 0
        self._points_grid: tuple[float, ...] = ()

    def __len__(self) -> int:
        return self._n

    def extend(self, batches: Iterable[Batch]) -> int:
        """Append evaluations whose ``(rank, seq)`` is new, and ignore the others.

        Returns
        -------
        int
            Number of appended evaluations.
        """
        before = self._n
        for batch in batches:
            self._append(batch)
        return self._n - before

    def sort(self) -> None:
        """Put all rows in the order in which their evaluations finished.

        Messages group records by layout, so a stored study arrives in another order. Row numbers
        change: sort before anything refers to them.
        """
        order = np.argsort(self.column("finished"), kind="stable")
        self._header[: self._n] = self._header[order]
        self._values[: self._n] = self._values[order]
        self._more_values[: self._n] = self._more_values[order]
        self._constraints[: self._n] = self._constraints[order]
        row_of = {old: new for new, old in enumerate(order.tolist())} if self._extras else {}
        self._extras = {row_of[row]: extras for row, extras in self._extras.items()}
        self._elites, self._elite_cost = np.empty(0, dtype=np.int64), np.empty(0)
        self._elite_violation = np.empty(0)
        self._select_elites(0, self._n)
        self._front = Front.empty(self.n_objectives), 0
        self._pruned = PrunedCosts(self.sign)

    @property
    def n_objectives(self) -> int:
        """The number of objectives."""
        return len(self.signs)

    @property
    def best(self) -> int | None:
        """Row number of the incumbent of one objective.

        None before the first complete evaluation that is feasible, and for several objectives.
        """
        if not self._elites.size or self._elite_violation[0] > 0:
            return None
        return int(self._elites[0])

    @property
    def elites(self) -> IntArray:
        """Row numbers of the best complete evaluations, best first, at most `ELITES`.

        Feasible ones come first; infeasible ones are in the order of their violations. There are
        none for several objectives.
        """
        return self._elites

    @property
    def front(self) -> Front:
        """The complete and feasible evaluations that no other one dominates; see `Front`."""
        (front, start), stop = self._front, self._n
        if start < stop:
            rows = np.arange(start, stop)
            complete = self.column("state")[rows] == TrialState.COMPLETE.value
            rows = rows[complete & (self.violation(rows) == 0)]
            front = front.extended(rows, self.costs(rows))
            self._front = front, stop  # at once, since several threads may be here
        return front

    def objectives(self, rows: IntArray | slice) -> FloatArray:
        """Return the values of all objectives ``(m, q)``; NaN for failures."""
        first = self._header["value"][: self._n][rows]
        return np.column_stack([first, self._more_values[: self._n][rows]])

    def costs(self, rows: IntArray | slice) -> FloatArray:
        """Return the costs of all objectives ``(m, q)``; NaN for failures."""
        return self.objectives(rows) * np.array(self.signs)

    def constraints(self, rows: IntArray | slice) -> FloatArray:
        """Return the constraints ``(m, c)``; NaN where an evaluation does not have one."""
        return self._constraints[: self._n][rows]

    def violation(self, rows: IntArray | slice) -> FloatArray:
        """Return how much constraints are violated ``(m,)``; 0 where all are satisfied."""
        return violation(self.constraints(rows))

    def cost(self, rows: IntArray | slice) -> FloatArray:
        """Return costs of the first objective to minimize ``(m,)``; NaN for failures.

        The cost of a pruned trial that has reported values is what it is expected to have had in
        the end (`adbo.core.pruned_costs`).
        """
        costs = self.last_cost(rows)
        pruned = np.flatnonzero(self.column("state")[rows] == TrialState.PRUNED.value)
        if pruned.size:
            self._read_pruned()
            if isinstance(rows, slice):
                rows = np.arange(*rows.indices(self._n))
            expected = self._pruned.costs(rows[pruned])
            costs[pruned] = np.where(np.isnan(expected), costs[pruned], expected)
        return costs

    def last_cost(self, rows: IntArray | slice) -> FloatArray:
        """Return costs to minimize ``(m,)``, of pruned trials the last one that they reported."""
        return self.sign * self._header["value"][: self._n][rows]

    def values(self, rows: IntArray | slice) -> FloatArray:
        """Return internal parameter values ``(m, d)``; NaN for absent parameters."""
        return self._values[: self._n][rows]

    def column(self, name: str) -> NDArray[Any]:
        """Return ``rank``, ``seq``, ``state``, ``value``, ``started``, ``finished`` or ``origin``.

        Returns
        -------
        NDArray
            ``(n,)``; origins are codes of `adbo.core.origins`.
        """
        return self._header[name][: self._n]

    def sample(
        self, size: int, rng: np.random.Generator, excluded: IntArray, n_early: int = 100
    ) -> IntArray:
        """Draw row numbers from all times, in O(size).

        The logarithm of time is uniform. Late in a study most rows belong to the incumbent's
        basin; the early rows are those that inform about other basins.

        Parameters
        ----------
        size
            Largest number of rows.
        rng
            Source of the draw.
        excluded
            Rows ``(k,)`` that are left out.
        n_early
            Rows over which the draw is about uniform in time; it is log-uniform after them.

        Returns
        -------
        IntArray
            ``(m,)`` with ``m <= size``, without repetitions, in order; all rows if they are few.
        """
        if self._n <= size + excluded.size:
            rows = np.arange(self._n)
        else:
            growth = (1 + self._n / n_early) ** rng.random(size)
            rows = sorted_unique((n_early * (growth - 1)).astype(np.int64))
        return rows[~np.isin(rows, excluded)]

    def knows(self, rank: int, seq: int) -> bool:
        """Return whether the evaluation of a name has been appended."""
        return (rank, seq) in self._names

    def contains(self, values: FloatArray) -> NDArray[np.bool_]:
        """Return which points ``(m, d)`` of internal values have been evaluated ``(m,)``."""
        if self._points_grid != self.space.grid:
            self._points, self._n_points, self._points_grid = set(), 0, self.space.grid
        new = self.space.keys(self._values[self._n_points : self._n])
        self._points.update(row.tobytes() for row in new)
        self._n_points = self._n
        known = (row.tobytes() in self._points for row in self.space.keys(values))
        return np.fromiter(known, dtype=bool, count=len(values))

    def evaluation(self, row: int) -> Evaluation:
        """Return one row as an object."""
        header = self._header[row]
        index = int(header["layout"])
        layout = self._layouts[index]
        internal = self._values[row, self._layout_columns[index]]
        return Evaluation(
            rank=int(header["rank"]),
            seq=int(header["seq"]),
            state=TrialState(int(header["state"])),
            value=float(header["value"]),
            started=float(header["started"]),
            finished=float(header["finished"]),
            layout=layout,
            internal=tuple(internal.tolist()),
            extras=self._extras.get(row, NO_EXTRAS),
            origin=int(header["origin"]),
            more_values=tuple(self._more_values[row, : layout.n_values - 1].tolist()),
        )

    def reports(self, start: int, stop: int) -> Iterator[tuple[int, Sequence[float]]]:
        """Yield the rows from `start` to `stop` that have intermediate values, and these values.

        The values of a trial are in the order in which it reported them.
        """
        for row in range(start, stop):
            extras = self._extras.get(row)
            if extras and extras.intermediate_values:
                yield row, list(extras.intermediate_values.values())

    def evaluations(self, start: int = 0, stop: int | None = None) -> Sequence[Evaluation]:
        """Return rows ``start`` to ``stop`` as objects; by default, up to the last one."""
        stop = self._n if stop is None else min(stop, self._n)
        return [self.evaluation(row) for row in range(start, stop)]

    def batches(self, start: int = 0) -> list[Batch]:
        """Return the rows from ``start`` on, in order, as batches for another history."""
        layouts = self._header["layout"][start : self._n]
        cuts = start + np.flatnonzero(np.diff(layouts)) + 1
        edges = [start, *cuts.tolist(), self._n] if layouts.size else []
        return [self._batch(first, last) for first, last in itertools.pairwise(edges)]

    def _batch(self, start: int, stop: int) -> Batch:
        """Return rows of one layout."""
        header = self._header[start:stop]
        index = int(header["layout"][0])
        layout = self._layouts[index]
        rows = np.empty(stop - start, dtype=layout.dtype)
        rows["layout"] = layout.key
        for name, _ in _COPIED_FIELDS:
            rows[name] = header[name]
        rows["internal"] = self._values[start:stop, self._layout_columns[index]]
        if layout.n_values > 1:
            rows[MORE_VALUES] = self._more_values[start:stop, : layout.n_values - 1]
        extras = {i - start: e for i in range(start, stop) if (e := self._extras.get(i))}
        return Batch(layout, rows, extras)

    def _append(self, batch: Batch) -> None:
        rows, extras = batch.rows, batch.extras
        fresh = self._fresh(rows)
        if len(fresh) < len(rows):
            extras = {new: extras[old] for new, old in enumerate(fresh) if old in extras}
            rows = rows[fresh]
        if not len(rows):
            return
        index = self._layout(batch.layout)
        start, stop = self._n, self._n + len(rows)
        self._reserve(stop)
        header = self._header[start:stop]
        header["layout"] = index
        for name, _ in _COPIED_FIELDS:
            header[name] = rows[name]
        internal = rows["internal"]
        if self._reorderings[index]:
            internal = internal.copy()
            for position, indices in self._reorderings[index].items():
                internal[:, position] = indices[internal[:, position].astype(np.intp)]
        self._values[start:stop, self._layout_columns[index]] = internal
        more = rows[MORE_VALUES] if batch.layout.n_values > 1 else np.empty((len(rows), 0))
        self._more_values[start:stop] = _in_width(more, self.n_objectives - 1)
        self._extras.update({start + i: e for i, e in extras.items()})
        self._set_constraints(start, stop, extras)
        self._n = stop
        self._count(header)
        self._select_elites(start, stop)

    def _set_constraints(self, start: int, stop: int, extras: Mapping[int, Extras]) -> None:
        """Set the constraints of new rows, whose extras these are; a new name adds a column."""
        self._constraints[start:stop] = np.nan
        for i, e in extras.items():
            for name, value in constraints_of(e.system_attrs).items():
                if name not in self.constraint_names:
                    self.constraint_names = (*self.constraint_names, name)
                    column = np.full((len(self._constraints), 1), np.nan)
                    self._constraints = np.hstack([self._constraints, column])
                self._constraints[start + i, self.constraint_names.index(name)] = value

    def _read_pruned(self) -> None:
        """Let the expected costs of pruned trials include all rows."""
        start = self._pruned.n_read
        if start < self._n:
            states = self.column("state")
            reports = self.reports(start, self._n)
            self._pruned.read(states, self.column("value"), reports)

    def _fresh(self, rows: NDArray[Any]) -> list[int]:
        names = zip(rows["rank"].tolist(), rows["seq"].tolist(), strict=True)
        return [i for i, name in enumerate(names) if self._names.add(*name)]

    def _layout(self, layout: Layout) -> int:
        index = self._layout_index.get(layout.key)
        if index is None:
            columns = [self.space.add(n, d) for n, d in layout.distributions.items()]
            index = len(self._layouts)
            known = {self.space.names[c]: self.space.distributions[c] for c in columns}
            own_layout, self._reorderings[index] = in_order_of(known, layout)
            self._layouts.append(own_layout)
            self._layout_columns.append(np.array(columns, dtype=np.int64))
            self._layout_index[layout.key] = index
        return index

    def _reserve(self, n: int) -> None:
        """Make room for ``n`` rows and all columns.

        Arrays are replaced, not resized, because other threads may be reading them.
        """
        capacity = len(self._header)
        if n > capacity:
            capacity = max(n, 2 * capacity)
            header = np.empty(capacity, dtype=_HEADER)
            header[: self._n] = self._header[: self._n]
            self._header = header
            self._more_values = _with_rows(self._more_values, capacity)
            self._constraints = _with_rows(self._constraints, capacity)
        if self._values.shape != (capacity, len(self.space)):
            values = np.full((capacity, len(self.space)), np.nan)
            values[: self._n, : self._values.shape[1]] = self._values[: self._n]
            self._values = values

    def _count(self, header: NDArray[Any]) -> None:
        for state in self.counts:
            self.counts[state] += int(np.count_nonzero(header["state"] == state.value))
        self.busy_seconds += float(np.sum(header["finished"] - header["started"]))

    def _select_elites(self, start: int, stop: int) -> None:
        if self.n_objectives > 1:
            return
        cost, violated = self.last_cost(slice(start, stop)), self.violation(slice(start, stop))
        eligible = self._header["state"][start:stop] == TrialState.COMPLETE.value
        if self._elites.size >= ELITES:
            least = self._elite_violation[-1]
            better = (violated == least) & (cost < self._elite_cost[-1])
            eligible &= better | (violated < least)
        chosen = np.flatnonzero(eligible)
        if not chosen.size:
            return
        rows = np.concatenate([self._elites, start + chosen])
        costs = np.concatenate([self._elite_cost, cost[chosen]])
        violations = np.concatenate([self._elite_violation, violated[chosen]])
        order = np.lexsort([costs, violations])[:ELITES]
        self._elites, self._elite_cost = rows[order], costs[order]
        self._elite_violation = violations[order]


def _with_rows(array: FloatArray, capacity: int) -> FloatArray:
    """Return a copy ``(capacity, k)`` of an array, with more rows."""
    larger = np.empty((capacity, array.shape[1]))
    larger[: len(array)] = array
    return larger


def _in_width(array: FloatArray, width: int) -> FloatArray:
    """Return the first columns of an array ``(m, width)``; NaN where it has fewer."""
    padded = np.full((len(array), width), np.nan)
    padded[:, : array.shape[1]] = array[:, :width]
    return padded


def sorted_unique(rows: IntArray) -> IntArray:
    """Return row numbers, which are not negative, in order and without repetitions.

    It is faster than numpy's ``unique``.
    """
    rows = np.sort(rows)
    return rows[np.diff(rows, prepend=-1) > 0]
