"""A history that many virtual ranks share.

It does not know the clock: `adbo.simulation.virtual_ranks` decides which records are published,
and which are appended for the duration of an ask.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from adbo.core.evaluation import Batch
from adbo.core.history import History
from adbo.core.space import FloatArray

#: Attributes of the set of all points: it has published rows only, so it need not be restored.
_POINTS = frozenset({"_points", "_n_points", "_points_grid"})


class SharedHistory(History):
    """A history of the records that all ranks know.

    One rank at a time appends the other records that it knows, for the duration of its ask.
    """

    def __init__(self, sign: int | Sequence[int]) -> None:
        super().__init__(sign)
        self._published = 0

    @contextmanager
    def overlaid(self, unpublished: Sequence[Batch]) -> Iterator[None]:
        """Append the ``unpublished`` records known to the asking rank, and remove them afterwards.

        Only the search space is copied, and only if a record has a new layout.
        """
        self._published = self._n
        self._read_pruned()
        _ = self.front  # of what is published, to be kept
        before = {name: was for name, was in self.__dict__.items() if name not in _POINTS}
        self.counts = dict(self.counts)
        self._pruned = self._pruned.copy()
        if any(batch.layout.key not in self._layout_index for batch in unpublished):
            self.space = copy.deepcopy(self.space)
            self._layouts = list(self._layouts)
            self._layout_columns = list(self._layout_columns)
            self._layout_index = dict(self._layout_index)
        try:
            self.extend(unpublished)
            yield
        finally:
            if self._n > self._published:
                rows = slice(self._published, self._n)
                self._forget_names(rows)
                self.__dict__.update(before)
                self._values[rows] = np.nan  # a new column may have replaced the array

    @property
    def n_published(self) -> int:
        """The number of rows that every rank knows; the asking rank knows the others."""
        return self._published

    def contains(self, values: FloatArray) -> NDArray[np.bool_]:
        """Return which points ``(m, d)`` of internal values have been evaluated, ``(m,)``."""
        n = self._n
        self._n = min(n, self._published)  # the set of points keeps published rows only
        found = super().contains(values)
        self._n = n
        for row in self._values[self._published : n]:
            found |= ((values == row) | (np.isnan(values) & np.isnan(row))).all(axis=1)
        return found

    def _forget_names(self, rows: slice) -> None:
        for row in range(rows.start, rows.stop):
            header = self._header[row]
            self._names.discard(int(header["rank"]), int(header["seq"]))
            self._extras.pop(row, None)


def n_published(history: History) -> int:
    """Return the number of rows that every rank knows; the asking rank knows the others."""
    return history.n_published if isinstance(history, SharedHistory) else len(history)
