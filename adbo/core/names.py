"""Which evaluations are known, by their names: the rank that made them, and their number there.

In each job, a rank numbers its evaluations one after the other from the start of the job's block
(`adbo.core.job`), and they mostly become known in this order. So the number of the first ones says
nearly everything, and a million names take no memory of their own.
"""

from __future__ import annotations

from adbo.core.job import SEQS_PER_JOB, job_of


class Names:
    """A set of names ``(rank, seq)``."""

    def __init__(self) -> None:
        # Of each rank in each job: its numbers from the first one up to this one are in the set.
        self._ends: dict[tuple[int, int], int] = {}
        self._others: set[tuple[int, int]] = set()

    def __contains__(self, name: tuple[int, int]) -> bool:
        rank, seq = name
        return seq < self._end(rank, seq) or name in self._others

    @property
    def n_out_of_order(self) -> int:
        """The number of names that came before an earlier one of their rank: they take memory."""
        return len(self._others)

    def count(self, job: int) -> int:
        """Return the number of names of a job."""
        first = job * SEQS_PER_JOB
        in_order = sum(end - first for (_, of), end in self._ends.items() if of == job)
        return in_order + sum(job_of(seq) == job for _, seq in self._others)

    def add(self, rank: int, seq: int) -> bool:
        """Add a name; return whether it is new."""
        end = self._end(rank, seq)
        if seq == end:
            end += 1
            while self._others and (rank, end) in self._others:
                self._others.remove((rank, end))
                end += 1
            self._ends[rank, job_of(seq)] = end
            return True
        if (rank, seq) in self:
            return False
        self._others.add((rank, seq))
        return True

    def discard(self, rank: int, seq: int) -> None:
        """Remove a name, if it is there."""
        end = self._end(rank, seq)
        if seq < end:
            self._ends[rank, job_of(seq)] = seq
            self._others.update((rank, later) for later in range(seq + 1, end))
        self._others.discard((rank, seq))

    def _end(self, rank: int, seq: int) -> int:
        job = job_of(seq)
        return self._ends.get((rank, job), job * SEQS_PER_JOB)
