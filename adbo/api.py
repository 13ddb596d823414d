"""`optimize`: a whole run of one rank, from the opening of the study to its end.

This is where the parts are put together: history, worker, transport, objective, mirror. The only
choice of transport is made here, too.
"""

from __future__ import annotations

import functools
import os
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
import optuna
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from adbo import local, rdb
from adbo.history import History
from adbo.interruption import BrokenOff, Interruption, Reason
from adbo.mirror import Mirror
from adbo.objective import Objective, Trial, evaluate
from adbo.optimizer import DIRECTIONS, KAPPA, propose
from adbo.records import Batch, Decoder, Encoder, Evaluation, message
from adbo.space import FloatArray
from adbo.study import open_study, read_evaluations
from adbo.worker import Transport, work

T = TypeVar("T")

#: How long, in seconds, an interrupted rank waits for peers that do not answer, and for a database
#: that does not accept. Slurm kills a job 30 s after SIGTERM by default (KillWait).
PATIENCE = 10.0

#: Longest sleep, in seconds, between two looks at the network while a rank waits for the others.
_LONGEST_PAUSE = 0.02


class Ranks(Protocol):
    """The ranks of a run as one of them sees them."""

    rank: int
    size: int

    def transport(self) -> FinalTransport:
        """A way to the peers; all ranks must make one together."""

    def agree(self, value: T) -> list[T]:
        """What every rank says, by rank, on every rank."""

    def share(self, make: Callable[[], T]) -> T:
        """What rank 0 makes, or the exception it raises, on every rank."""


class FinalTransport(Transport, Protocol):
    """A transport with an end."""

    farewells: dict[int, dict[str, Any]]

    def leave(self, statistics: Mapping[str, Any]) -> None:
        """Tell every peer that no record of this rank follows."""

    @property
    def settled(self) -> bool:
        """Whether every rank has left and every record is everywhere."""


class UsageError(ValueError):
    """Something the user asked for cannot be; the message is one line that says what can."""


class RunError(RuntimeError):
    """The run failed; what was evaluated before is kept."""


@dataclass(frozen=True)
class Settings:
    """What a user can choose about a run; see `optimize`."""

    n_trials: int | None = None
    timeout: float | None = None
    direction: str = "minimize"
    storage: str | BaseStorage | None = None
    study_name: str | None = None
    resume: bool = False
    seed: int | None = None
    kappa: float = KAPPA

    def __post_init__(self) -> None:
        if self.direction not in DIRECTIONS:
            raise UsageError(f"direction is {self.direction!r}: use minimize or maximize")
        if self.n_trials is not None and self.n_trials < 1:
            raise UsageError(f"trials is {self.n_trials}: use a whole number from 1")
        if self.timeout is not None and not 0 < self.timeout < threading.TIMEOUT_MAX:
            raise UsageError(f"timeout is {self.timeout}: use a number of seconds above 0")
        if not 0 <= self.kappa < float("inf"):
            raise UsageError(f"kappa is {self.kappa}: use a number that is not negative")
        if self.seed is not None and self.seed < 0:
            raise UsageError(f"seed is {self.seed}: use a whole number that is not negative")


@dataclass
class Progress:
    """The state of a run as a reporter may look at it, on the rank where it is."""

    history: History
    settings: Settings
    n_ranks: int
    n_before: int
    study_name: str
    storage: str
    started: float = field(default_factory=time.time)


class Reporter(Protocol):
    """Whoever tells the user; on rank 0."""

    def begin(self, progress: Progress) -> None:
        """The run begins."""

    def update(self) -> None:
        """Something may have changed."""

    def say(self, text: str) -> None:
        """One line for the user."""

    def end(self) -> None:
        """No more updates."""


class Silence:
    """The reporter that says nothing."""

    def begin(self, progress: Progress) -> None:
        pass

    def update(self) -> None:
        pass

    def say(self, text: str) -> None:
        pass

    def end(self) -> None:
        pass


@dataclass(frozen=True)
class Outcome:
    """How a run ended, on this rank."""

    summary: dict[str, Any]
    reason: Reason | None
    history: History
    study: optuna.Study | None
    n_unwritten: int = 0


def optimize(
    objective: Objective,
    n_trials: int | None = None,
    timeout: float | None = None,
    direction: str = "minimize",
    storage: str | BaseStorage | None = "sqlite:///adbo.db",
    study_name: str | None = None,
    resume: bool = False,
    seed: int | None = None,
    comm: Any = None,
) -> optuna.Study:  # noqa: PLR0913 - the public signature
    ...
