"""What a user can choose about a run, checked before anything happens."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adbo.core.errors import UsageError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

#: Mean of the exponential distribution of kappa (arXiv 2207.00479, section III-B).
KAPPA = 1.96

#: +1 to minimize, -1 to maximize: the sign that turns a value into a cost.
DIRECTIONS = {"minimize": 1, "maximize": -1}


def check_kappa(kappa: float) -> None:
    """Raise ValueError unless kappa is a finite number that is not negative."""
    if not 0 <= kappa < math.inf:
        raise ValueError(f"kappa is {kappa!r}: use a finite number that is not negative")


@dataclass(frozen=True)
class Settings:
    """The choices of a run; `adbo.optimize` says what they mean.

    Raises
    ------
    UsageError
        If one of them is out of range.
    """

    n_trials: int | None = None
    timeout: float | None = None
    walltime: float | None = None
    """When the batch job leaves no more time, in seconds since the epoch."""
    direction: str = "minimize"
    storage: str | BaseStorage | None = None
    study_name: str = "study"
    resume: bool = False
    seed: int | None = None
    kappa: float = KAPPA

    def __post_init__(self) -> None:
        if self.direction not in DIRECTIONS:
            raise UsageError(f"direction is {self.direction!r}: use minimize or maximize")
        if self.n_trials is not None and self.n_trials < 1:
            raise UsageError(f"trials is {self.n_trials}: use a whole number from 1 on")
        if self.timeout is not None and not 0 < self.timeout <= threading.TIMEOUT_MAX:
            raise UsageError(f"timeout is {self.timeout}: use a number of seconds above 0")
        if not (self.kappa >= 0 and math.isfinite(self.kappa)):
            raise UsageError(f"kappa is {self.kappa}: use a finite number that is not negative")
        if self.seed is not None and self.seed < 0:
            raise UsageError(f"seed is {self.seed}: use a whole number that is not negative")
        if not self.study_name:
            raise UsageError("the study name is empty: give it at least one character")
