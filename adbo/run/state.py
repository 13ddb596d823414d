"""The state of a run: what all ranks know before it begins, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adbo.core.enqueued import Enqueued
from adbo.core.history import History
from adbo.core.job import Job
from adbo.core.settings import Settings
from adbo.mirror.reader import START, Cursor


@dataclass(frozen=True)
class StartInfo:
    """What every rank must know before it begins."""

    study_name: str
    storage: str
    """Without a password."""
    entropy: int
    """Of all random streams."""
    known: list[bytes] = field(default_factory=list)
    """Messages with the finished trials of the study."""
    enqueued: list[Enqueued] = field(default_factory=list)
    """Trials that somebody enqueued. Of P ranks, rank r evaluates those at r, r + P, ..."""
    job: Job = field(default_factory=Job)
    n_other_jobs: int = 0
    """Jobs that were running on the study already."""
    study_attrs: dict[str, Any] = field(default_factory=dict)
    """User attributes that the study had at the start."""
    cursor: Cursor = START
    """Up to where the study was read."""


@dataclass(frozen=True)
class RunState:
    """A run under way; any thread of the rank may read it."""

    history: History
    settings: Settings
    start: StartInfo
    n_ranks: int
    n_before: int
    """Rows of the history that are older than this run."""
    started: float
    """Seconds since the epoch."""

    @property
    def n_other_jobs(self) -> int:
        """Jobs that were running on the study when this one began."""
        return self.start.n_other_jobs

    def own(self, first: int, last: int) -> NDArray[np.bool_]:
        """Return which of the rows from `first` to `last` are evaluations of this job."""
        rank, seq = (self.history.column(name)[first:last] for name in ("rank", "seq"))
        made: NDArray[np.bool_] = self.start.job.made(rank, seq)
        return made
