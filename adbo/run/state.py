"""A run under way, as anybody on its rank may look at it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from adbo.core.enqueued import Enqueued
from adbo.core.evaluation import Evaluation
from adbo.core.history import History
from adbo.core.settings import Settings


@dataclass(frozen=True)
class Numbering:
    """How a run names and numbers its trials, such that no other run of the study does so.

    Parameters
    ----------
    first_seq
        Of every rank.
    n_ranks
        Ranks of the run.
    first_number
        The number of the first trial of rank 0; those of the ranks are in turn.
    """

    first_seq: int = 0
    n_ranks: int = 1
    first_number: int = 0

    def number(self, rank: int, seq: int) -> int:
        """The number of a trial."""
        return self.first_number + (seq - self.first_seq) * self.n_ranks + rank


def next_numbering(
    evaluations: Iterable[Evaluation], n_ranks: int, last: Numbering | None
) -> Numbering:
    """The numbering of a run.

    Parameters
    ----------
    evaluations
        Of earlier runs, perhaps on other numbers of ranks, and trials that adbo did not make.
    n_ranks
        Ranks of this run.
    last
        The numbering of the last run, if it is known.
    """
    names = [(e.rank, e.seq) for e in evaluations]
    n_own = 1 + max((seq for rank, seq in names if rank >= 0), default=-1)
    if last is None:
        # Whatever the last number of ranks was, some of the last rank are probably there.
        n_used = n_own * max(n_ranks, 1 + max((rank for rank, _ in names), default=0))
    else:
        n_used = last.number(0, max(n_own, last.first_seq))
    # The seq of a trial that adbo did not make is its number.
    others = 1 + max((seq for rank, seq in names if rank < 0), default=-1)
    return Numbering(n_own, n_ranks, max(n_used, others, len(names)))


@dataclass(frozen=True)
class Start:
    """What every rank must know before it begins."""

    study_name: str
    storage: str
    entropy: int
    known: list[bytes]
    """Messages with the finished trials that the study already had."""
    rescued: list[bytes] = field(default_factory=list)
    """Messages with those that its database had not taken."""
    enqueued: list[Enqueued] = field(default_factory=list)
    """Trials that somebody enqueued: of P ranks, rank r takes r, r + P, ..."""
    numbering: Numbering = field(default_factory=Numbering)


@dataclass(frozen=True)
class Progress:
    """A run under way, as a reporter may look at it from any thread of its rank."""

    history: History
    settings: Settings
    start: Start
    n_ranks: int
    n_before: int
    started: float
    """Seconds since the epoch."""
