"""A run under way, as anybody on its rank may look at it."""

from __future__ import annotations

from dataclasses import dataclass, field

from adbo.history import History
from adbo.objective import Enqueued
from adbo.settings import Settings


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
