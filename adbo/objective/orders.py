"""What a rank and its evaluation process say to each other (`adbo.objective.isolation`)."""

from __future__ import annotations

from dataclasses import dataclass

from adbo.objective.evaluate import Result
from adbo.objective.remote import Address


@dataclass(frozen=True)
class Load:
    """Load the objective. The answer is None, or one line about what is wrong."""

    objective: str | bytes
    """What the user named, or a function as `cloudpickle` wrote it."""
    path: list[str]
    """Where Python looks for modules."""
    environ: dict[str, str]
    """Environment variables to set before."""


@dataclass(frozen=True)
class Evaluate:
    """Evaluate a trial. The answer is an `Answer`."""

    study_name: str
    address: Address
    trial_id: int
    n_objectives: int


@dataclass(frozen=True)
class Answer:
    """How an evaluation ended."""

    result: Result
    contradiction: str | None
    """See `adbo.objective.trial.Trial`."""
