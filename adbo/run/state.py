"""The state of a run: what all ranks know before it begins, and how far it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from adbo.core.enqueued import Enqueued
from adbo.core.evaluation import Evaluation
from adbo.core.history import History
from adbo.core.settings import Settings


@dataclass(frozen=True)
class Numbering:
    """Names and numbers of a run's trials that no other run of the study uses.

    Parameters
    ----------
    first_seq
        Sequence number of the first trial of every rank.
    n_ranks
        Number of ranks.
    first_number
        Number of the first trial of rank 0. The ranks take numbers in turn.
    """

    first_seq: int = 0
    n_ranks: int = 1
    first_number: int = 0

    def number(self, rank: int, seq: int) -> int:
        """Return the number of a trial."""
        return self.first_number + (seq - self.first_seq) * self.n_ranks + rank


def next_numbering(
    evaluations: Iterable[Evaluation], n_ranks: int, last: Numbering | None
) -> Numbering:
    """Return the numbering of the next run.

    Parameters
    ----------
    evaluations
        The evaluations of earlier runs, perhaps on other numbers of ranks, and the trials that
        adbo did not make.
    n_ranks
        Number of ranks of the next run.
    last
        The numbering of the last run, or None if it is unknown.
    """
    names = [(e.rank, e.seq) for e in evaluations]
    n_own = 1 + max((seq for rank, seq in names if rank >= 0), default=-1)
    if last is None:
        # The last number of ranks is unknown; the highest rank seen is probably the last one.
        n_used = n_own * max(n_ranks, 1 + max((rank for rank, _ in names), default=0))
    else:
        n_used = last.number(0, max(n_own, last.first_seq))
    # The sequence number of a trial that adbo did not make is its trial number.
    others = 1 + max((seq for rank, seq in names if rank < 0), default=-1)
    return Numbering(n_own, n_ranks, max(n_used, others, len(names)))


@dataclass(frozen=True)
class StartInfo:
    """What every rank must know before it begins."""

    study_name: str
    storage: str
    """Without a password."""
    entropy: int
    """Of all random streams."""
    known: list[bytes]
    """Messages with the finished trials of the study."""
    rescued: list[bytes] = field(default_factory=list)
    """Messages with evaluations that the database had not taken in an earlier run."""
    enqueued: list[Enqueued] = field(default_factory=list)
    """Trials that somebody enqueued. Of P ranks, rank r evaluates those at r, r + P, ..."""
    numbering: Numbering = field(default_factory=Numbering)


@dataclass(frozen=True)
class RunState:
    """A run under way; any thread of the rank may read it."""

    history: History
    settings: Settings
    start: StartInfo
    n_ranks: int
    n_before: int
    """Rows of the history that are from earlier runs."""
    started: float
    """Seconds since the epoch."""
