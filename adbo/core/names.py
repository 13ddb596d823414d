"""Which evaluations are known, by their names: the rank that made them, and their number there.

A rank numbers its evaluations 0, 1, 2, ..., and they mostly become known in this order. So the
number of the first ones says nearly everything, and a million names take no memory of their own.
"""

from __future__ import annotations


class Names:
    """A set of names ``(rank, seq)``."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}  # of each rank: 0, ..., count - 1 are in the set
        self._others: set[tuple[int, int]] = set()

    def __contains__(self, name: tuple[int, int]) -> bool:
        rank, seq = name
        return 0 <= seq < self._counts.get(rank, 0) or name in self._others

    @property
    def n_out_of_order(self) -> int:
        """The number of names that came before an earlier one of their rank: they take memory."""
        return len(self._others)

    def add(self, rank: int, seq: int) -> bool:
        """Add a name; return whether it is new."""
        count = self._counts.get(rank, 0)
        if seq == count:
            count += 1
            while self._others and (rank, count) in self._others:
                self._others.remove((rank, count))
                count += 1
            self._counts[rank] = count
            return True
        if (rank, seq) in self:
            return False
        self._others.add((rank, seq))
        return True

    def discard(self, rank: int, seq: int) -> None:
        """Remove a name, if it is there."""
        count = self._counts.get(rank, 0)
        if 0 <= seq < count:
            self._counts[rank] = seq
            self._others.update((rank, later) for later in range(seq + 1, count))
        self._others.discard((rank, seq))
