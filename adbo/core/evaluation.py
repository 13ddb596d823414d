"""A finished evaluation, alone (`Evaluation`) or with others of its layout (`Batch`).

A *layout* is the ordered set of named distributions that a trial asked for, and the number of
values that it has. A static search space has one; each branch of a conditional space has its own,
and so have failed trials of several objectives. The key of a layout is a hash of its text.
It is the same on every rank, so ranks need not agree on a numbering.

Notation: ``k`` parameters in a layout, ``n`` records in a batch.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    distribution_to_json,
    json_to_distribution,
)
from optuna.trial import TrialState

from adbo.core.intermediate_values import IntermediateValues
from adbo.core.limits import MOST_OBJECTIVES

#: States in which an evaluation can end; the numbers are those of ``optuna.trial.TrialState``.
FINISHED_STATES = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)

#: The fields that every record has; ``value``, the first one, is NaN if the evaluation has none.
HEADER_FIELDS: list[tuple[str, str]] = [
    ("layout", "<u8"),
    ("rank", "<i4"),
    ("seq", "<u8"),
    ("state", "<u4"),
    ("value", "<f8"),
    ("started", "<f8"),
    ("finished", "<f8"),
    ("origin", "<u1"),
]

#: The field of a record of several objectives with the values of all but the first one.
MORE_VALUES = "more_values"

#: User attribute that holds the reason of a failed evaluation.
FAIL_REASON = "adbo:fail_reason"

#: Layouts that are kept for reuse; a study has one for each branch of its space, rarely more.
_INTERNED_LAYOUTS = 4096


@dataclass(frozen=True)
class Layout:
    """The ordered distributions of one kind of trial.

    Parameters
    ----------
    distributions
        Name to distribution, in the order in which the trial asked for them.
    n_values
        Number of objective values, at least 1.
    """

    distributions: Mapping[str, BaseDistribution]
    n_values: int = 1

    @classmethod
    def of(cls, distributions: Mapping[str, BaseDistribution], n_values: int = 1) -> Layout:
        """Return the one shared layout of these distributions and this number of values.

        Writing a layout as text and hashing it costs as much as all else about a trial, so equal
        trials share their layout.
        """
        items = tuple(distributions.items())
        try:
            return _interned(items, tuple(_choice_types(d) for _, d in items), n_values)
        except TypeError:  # choices without a hash, which Optuna keeps in memory only
            return cls(dict(distributions), n_values)

    @classmethod
    def from_text(cls, text: str | bytes) -> Layout:
        """Return the layout that `text` describes."""
        content = json.loads(text)
        n_values = content.pop() if content and isinstance(content[-1], int) else 1
        if not 1 <= n_values <= MOST_OBJECTIVES:
            raise ValueError(f"a layout of {n_values} values")
        return cls.of({name: json_to_distribution(d) for name, d in content}, n_values)

    @cached_property
    def text(self) -> str:
        """The layout as JSON, equal for equal layouts; the number of values if it is not 1.

        Raises
        ------
        TypeError
            If a categorical choice cannot be written as JSON.
        """
        content: list[Any] = [[n, distribution_to_json(d)] for n, d in self.distributions.items()]
        return json.dumps(content if self.n_values == 1 else [*content, self.n_values])

    @cached_property
    def key(self) -> int:
        """64 bits that identify this layout on every rank.

        If a choice cannot be written as JSON, the key is valid in this process only.
        """
        try:
            text = self.text
        except TypeError:
            text = repr((self.distributions, self.n_values))
        return key_of(text.encode())

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the parameters, ``(k,)``."""
        return tuple(self.distributions)

    @cached_property
    def dtype(self) -> np.dtype[np.void]:
        """The type of one record: the header, ``k`` internal values, and the further values."""
        fields = [*HEADER_FIELDS, ("internal", "<f8", (len(self.distributions),))]
        if self.n_values > 1:
            fields.append((MORE_VALUES, "<f8", (self.n_values - 1,)))
        return np.dtype(fields)


def key_of(text: bytes) -> int:
    """Return a number that a text determines, such as the key of a layout."""
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


@lru_cache(_INTERNED_LAYOUTS)
def _interned(
    items: tuple[tuple[str, BaseDistribution], ...], types: Hashable, n_values: int
) -> Layout:
    """Return the shared layout; `types` tells choices apart that are equal, such as 1 and True."""
    return Layout(dict(items), n_values)


def _choice_types(distribution: BaseDistribution) -> tuple[type, ...]:
    if isinstance(distribution, CategoricalDistribution):
        return tuple(type(choice) for choice in distribution.choices)
    return ()


@dataclass(frozen=True)
class Extras:
    """What an evaluation carries beside its numbers; most evaluations carry nothing.

    Parameters
    ----------
    user_attrs, system_attrs
        Attributes of the trial, values that JSON can hold.
    intermediate_values
        Step to reported value, in the order of the reports.

    Raises
    ------
    OverflowError
        If a step does not fit into 64 bits.
    """

    user_attrs: Mapping[str, Any] = field(default_factory=dict)
    system_attrs: Mapping[str, Any] = field(default_factory=dict)
    intermediate_values: Mapping[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        values = self.intermediate_values
        if values and not isinstance(values, IntermediateValues):
            object.__setattr__(self, "intermediate_values", IntermediateValues.of(values))

    def __bool__(self) -> bool:
        return bool(self.user_attrs or self.system_attrs or self.intermediate_values)


NO_EXTRAS = Extras()


@dataclass(frozen=True)
class Evaluation:
    """One finished evaluation.

    Parameters
    ----------
    rank, seq
        Its unique name: the rank that made it, and its sequence number on that rank, from the
        block of the rank's job (see `adbo.core.job`). A trial that adbo did not make has rank -1
        and its trial number as ``seq``.
    state
        COMPLETE, PRUNED or FAIL.
    value
        What the objective returned, in the user's sign; NaN if there is no value. The first value
        if there are several objectives.
    started, finished
        Seconds since the epoch.
    layout, internal
        The distributions, and Optuna's internal representation of each value, ``(k,)``.
    extras
        Attributes and intermediate values.
    origin
        The code of the strategy that proposed it, 0 if none did; see `adbo.core.origins`.
    more_values
        The values of the other objectives, as many as the layout has.
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
    origin: int = 0
    more_values: tuple[float, ...] = ()

    @property
    def values(self) -> tuple[float, ...]:
        """The values of all objectives."""
        return (self.value, *self.more_values)

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
    """Records of one layout."""

    layout: Layout
    rows: np.ndarray[Any, Any]
    """``(n,)`` of ``layout.dtype``."""
    extras: Mapping[int, Extras]
    """Row number to the extras of that row, for the rows that have some."""


def to_batch(evaluation: Evaluation) -> Batch:
    """Return a batch that holds one evaluation."""
    return _batch(evaluation.layout, [evaluation])


def to_batches(evaluations: Iterable[Evaluation]) -> list[Batch]:
    """Return evaluations, in their order, in as few batches as there are changes of the layout."""
    runs = itertools.groupby(evaluations, key=lambda evaluation: evaluation.layout.key)
    groups = [list(group) for _, group in runs]
    return [_batch(group[0].layout, group) for group in groups]


def _batch(layout: Layout, evaluations: Sequence[Evaluation]) -> Batch:
    """Return evaluations of one layout as a batch."""
    key = layout.key
    records: list[tuple[Any, ...]] = [
        (key, e.rank, e.seq, e.state.value, e.value, e.started, e.finished, e.origin, e.internal)
        for e in evaluations
    ]
    if layout.n_values > 1:
        records = [(*r, e.more_values) for r, e in zip(records, evaluations, strict=True)]
    extras = {i: e.extras for i, e in enumerate(evaluations) if e.extras}
    return Batch(layout, np.array(records, dtype=layout.dtype), extras)
