"""Jobs of a study, and the names and numbers that each of them gives to its trials.

A *job* is one run: all ranks of one MPI world, or one process. Several jobs may work on one study,
one after the other or at the same time. The study numbers them, 0, 1, 2, ..., and a job takes its
sequence numbers from a block of its own. So the name ``(rank, seq)`` of an evaluation is unique
within the study.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: Sequence numbers of each job.
SEQS_PER_JOB = 1_000_000_000

#: Trial numbers of each job. Objectives use them as seeds, which must be below 2**32.
NUMBERS_PER_JOB = 1_000_000

#: Where the numbers continue that do not fit into the block of a job.
_FURTHER_NUMBERS = 10**12


def job_of(seq: Any) -> Any:
    """Return the number of the job that made the trial of a sequence number, or of an array."""
    return seq // SEQS_PER_JOB


@dataclass(frozen=True)
class Job:
    """One of the jobs that work on a study.

    Parameters
    ----------
    number
        The number that the study gave to the job; 0 for the first one.
    n_ranks
        The number of its ranks.
    n_before
        The number of trials that the job found in the study when it began.
    study
        What tells the study from others of the same name; empty without a storage.
    """

    number: int = 0
    n_ranks: int = 1
    n_before: int = 0
    study: str = ""

    @property
    def first_seq(self) -> int:
        """The sequence number of the first trial of every rank."""
        return self.number * SEQS_PER_JOB

    def trial_number(self, rank: int, seq: int) -> int:
        """Return the number by which the objective knows a trial; the ranks take turns."""
        index = (seq - self.first_seq) * self.n_ranks + rank
        if self.number == 0:
            index += self.n_before
        if index < NUMBERS_PER_JOB:
            return self.number * NUMBERS_PER_JOB + index
        return (self.number + 1) * _FURTHER_NUMBERS + index

    def made(self, rank: Any, seq: Any) -> Any:
        """Return which trials this job made, from their names: numbers, or arrays ``(n,)``."""
        return (rank >= 0) & (job_of(seq) == self.number)
