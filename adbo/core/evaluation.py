"""What one finished evaluation is, alone and by the batch.

A *layout* is the ordered set of named distributions that a trial asked for. A static search space
has one; every branch of a conditional one has its own. Its key is a hash of its text, the same on
every rank, so records need no negotiated numbering and may be relayed by anyone.

Notation: ``k`` parameters in a layout, ``n`` records in a batch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    distribution_to_json,
    json_to_distribution,
)
from optuna.trial import TrialState

#: States an evaluation can end in; the numbers are those of ``optuna.trial.TrialState``.
FINISHED_STATES = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)

#: The part of a record that every evaluation has; ``value`` is NaN where there is none.
HEADER_FIELDS: list[tuple[str, str]] = [
    ("layout", "<u8"),
    ("rank", "<i4"),
    ("seq", "<u4"),
    ("state", "<u4"),
    ("extras_bytes", "<u4"),
    ("value", "<f8"),
    ("started", "<f8"),
    ("finished", "<f8"),
]


#: User attribute under which the reason of a failed evaluation is kept.
FAIL_REASON = "adbo:fail_reason"


@dataclass(frozen=True)
class Layout:
    """The ordered distributions of one kind of trial.

    Parameters
    ----------
    distributions
        Name to distribution, in the order in which the trial asked for them.

    Raises
    ------
    TypeError
        When it is written, if a categorical choice is no JSON.
    """

    distributions: Mapping[str, BaseDistribution]

    @cached_property
    def text(self) -> str:
        """The layout as JSON, equal for equal layouts."""
        return json.dumps([[n, distribution_to_json(d)] for n, d in self.distributions.items()])

    @cached_property
    def key(self) -> int:
        """64 bits that name this layout on every rank; in this process, if it is no JSON."""
        try:
            text = self.text
        except TypeError:
            text = repr(self.distributions)
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        return int.from_bytes(digest, "little")

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(self.distributions)

    @cached_property
    def dtype(self) -> np.dtype[np.void]:
        """One record of this layout: the header and ``k`` internal values."""
        return np.dtype([*HEADER_FIELDS, ("internal", "<f8", (len(self.distributions),))])

    @classmethod
    def from_text(cls, text: str | bytes) -> Layout:
        return cls({name: json_to_distribution(d) for name, d in json.loads(text)})


@dataclass(frozen=True)
class Extras:
    """What an evaluation carries beside its numbers; most carry nothing."""

    user_attrs: Mapping[str, Any] = field(default_factory=dict)
    system_attrs: Mapping[str, Any] = field(default_factory=dict)
    intermediate_values: Mapping[int, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.user_attrs or self.system_attrs or self.intermediate_values)


NO_EXTRAS = Extras()


@dataclass(frozen=True)
class Evaluation:
    """One finished evaluation.

    Parameters
    ----------
    rank, seq
        Its unique name: who made it, and the how-manieth it was there. Trials that adbo did not
        make have rank -1 and their trial number as ``seq``.
    state
        COMPLETE, PRUNED or FAIL.
    value
        What the objective returned, in the user's sign; NaN if it has no value.
    started, finished
        Seconds since the epoch.
    layout, internal
        The distributions, and Optuna's internal representation of each value, ``(k,)``.
    extras
        Attributes and intermediate values.
    """

    rank: int
    seq: int
    state: TrialState
    value: float
    started: float
    finished: float
    layout: Layout
    internal: tuple[float, ...]
    extras: Extras = NO_EXTRAS

    @property
    def params(self) -> dict[str, Any]:
        """The parameters as the objective saw them."""
        return {
            name: distribution.to_external_repr(value)
            for (name, distribution), value in zip(
                self.layout.distributions.items(), self.internal, strict=True
            )
        }


class Batch(NamedTuple):
    """``n`` records of one layout: ``rows (n,)`` of ``layout.dtype`` and what goes beside them."""

    layout: Layout
    rows: np.ndarray[Any, Any]
    extras: Mapping[int, Extras]
    """Row number within the batch to its extras, where there are any."""


def to_batch(evaluation: Evaluation) -> Batch:
    """One evaluation as a batch of one."""
    extras = evaluation.extras
    row = np.array(
        [
            (
                evaluation.layout.key,
                evaluation.rank,
                evaluation.seq,
                evaluation.state.value,
                0,
                evaluation.value,
                evaluation.started,
                evaluation.finished,
                evaluation.internal,
            )
        ],
        dtype=evaluation.layout.dtype,
    )
    return Batch(evaluation.layout, row, {0: extras} if extras else {})
