"""What one finished evaluation is, and how it travels.

A finished evaluation is encoded once, where it was made, and appended as it is by everybody who
receives it. This module knows the bytes; it does not know who sends them, who keeps them, or what
is done with them.

Notation: ``k`` parameters in a layout, ``n`` records in a batch.

A *layout* is the ordered set of named distributions that a trial asked for. A static search space
has one; every branch of a conditional one has its own. Its key is a hash of its text, the same on
every rank, so records need no negotiated numbering and may be relayed by anyone.

A *message* is ``MAGIC``, one byte of format version, and frames: kind (1 byte), payload length
(4 bytes), payload. A layout's frame precedes the first record that uses it. A *change* is what a
replicated Optuna storage sends instead of evaluations (`adbo.replicated.replica`); here it is only
bytes.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    distribution_to_json,
    json_to_distribution,
)
from optuna.trial import TrialState

T = TypeVar("T")

MAGIC = b"adbo"
FORMAT_VERSION = 1
_LAYOUT, _RECORD, _FAREWELL, _OBITUARY, _CHANGE = 1, 2, 3, 4, 5
_FRAME = struct.Struct("<BI")
_PREFIX = MAGIC + bytes([FORMAT_VERSION])

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
HEADER_BYTES = np.dtype(HEADER_FIELDS).itemsize


class FormatError(ValueError):
    """Bytes that are no message of this format version."""


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

    def to_bytes(self) -> bytes:
        """UTF-8 JSON; nothing at all for nothing."""
        if not self:
            return b""
        steps = [[step, value] for step, value in self.intermediate_values.items()]
        return json.dumps([dict(self.user_attrs), dict(self.system_attrs), steps]).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Extras:
        if not data:
            return NO_EXTRAS
        user_attrs, system_attrs, steps = json.loads(data)
        return cls(dict(user_attrs), dict(system_attrs), {int(s): float(v) for s, v in steps})


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


class Encoder:
    """Turns evaluations into frames, each layout's before its first record.

    The frames of one encoder form a stream: they must reach a decoder in the order in which they
    were made.
    """

    def __init__(self) -> None:
        self._announced: set[int] = set()

    def frames(self, evaluation: Evaluation) -> bytes:
        """The bytes of one evaluation, preceded by its layout if that is new."""
        extras = evaluation.extras.to_bytes()
        rows = to_batch(evaluation).rows
        rows["extras_bytes"] = len(extras)
        record = _frame(_RECORD, rows.tobytes() + extras)
        layout = evaluation.layout
        if layout.key in self._announced:
            return record
        self._announced.add(layout.key)
        return _frame(_LAYOUT, layout.text.encode()) + record


def farewell(statistics: Mapping[str, Any]) -> bytes:
    """The frame that ends a rank's own evaluations: none of them comes after it."""
    return _frame(_FAREWELL, json.dumps(statistics).encode())


def obituary(notice: Mapping[str, Any]) -> bytes:
    """A frame that tells of the death of a rank, and how much of its stream was received."""
    return _frame(_OBITUARY, json.dumps(notice).encode())


def change(text: str) -> bytes:
    """A frame for one change of a study: a JSON array that only its readers understand."""
    return _frame(_CHANGE, text.encode())


def message(frames: Iterable[bytes]) -> bytes:
    """One message out of frames."""
    return b"".join([_PREFIX, *frames])


class Received(NamedTuple):
    """What messages held."""

    batches: list[Batch]
    farewells: list[dict[str, Any]]
    obituaries: list[dict[str, Any]]
    changes: list[list[Any]]


class Decoder:
    """Reads the messages of any number of streams; remembers the layouts they announced."""

    def __init__(self) -> None:
        self._layouts: dict[int, Layout] = {}

    def decode(self, messages: Sequence[bytes]) -> Received:
        """Read messages, their records grouped by layout so that numpy sees few, long arrays.

        Raises
        ------
        FormatError
            If the bytes are of another format or version, or a record's layout is unknown.
        """
        records: dict[int, list[bytes]] = {}
        notices: dict[int, list[Any]] = {kind: [] for kind in _PARSERS}
        for data in messages:
            for kind, payload in _frames(data):
                if kind == _RECORD:
                    key = int.from_bytes(payload[:8], "little")
                    if len(payload) < self._layout(key).dtype.itemsize:
                        raise FormatError("truncated record")
                    records.setdefault(key, []).append(payload)
                elif kind == _LAYOUT:
                    layout = _parsed(payload, Layout.from_text)
                    self._layouts[layout.key] = layout
                elif kind in notices:
                    notices[kind].append(_parsed(payload, _PARSERS[kind]))
                else:
                    raise FormatError(f"unknown kind of frame {kind}")
        batches = [_batch(self._layout(key), payloads) for key, payloads in records.items()]
        return Received(batches, *notices.values())

    def _layout(self, key: int) -> Layout:
        try:
            return self._layouts[key]
        except KeyError:
            raise FormatError(f"record of a layout that was not announced: {key:#x}") from None


def _batch(layout: Layout, payloads: Sequence[bytes]) -> Batch:
    """Records of one layout, in their order, with what is attached to some of them."""
    size = layout.dtype.itemsize
    if all(len(payload) == size for payload in payloads):
        return Batch(layout, np.frombuffer(b"".join(payloads), dtype=layout.dtype), {})
    rows = np.frombuffer(b"".join(payload[:size] for payload in payloads), dtype=layout.dtype)
    extras = {
        i: _parsed(payload[size:], Extras.from_bytes)
        for i, payload in enumerate(payloads)
        if len(payload) > size
    }
    return Batch(layout, rows, extras)


def _notice(payload: bytes) -> dict[str, Any]:
    notice = json.loads(payload)
    if not isinstance(notice, dict):
        raise TypeError("a notice is a JSON object")
    return notice


def _change(payload: bytes) -> list[Any]:
    match json.loads(payload):
        case [int(), int(), str(), str(), int(), *_] as content:
            return content
    raise TypeError("a change is a JSON array of clock, rank, kind, study, incarnation, and more")


_PARSERS: dict[int, Callable[[bytes], Any]] = {
    _FAREWELL: _notice,
    _OBITUARY: _notice,
    _CHANGE: _change,
}


def _parsed(payload: bytes, parse: Callable[[bytes], T]) -> T:
    """JSON within a message; what is none is no message of ours."""
    try:
        return parse(payload)
    except (ValueError, LookupError, TypeError, ArithmeticError, RecursionError) as error:
        # Arithmetic: bounds that overflow. Recursion: brackets thousands deep.
        raise FormatError(f"unreadable frame: {error}") from None


def _frame(kind: int, payload: bytes) -> bytes:
    return _FRAME.pack(kind, len(payload)) + payload


def _frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    if data[: len(MAGIC)] != MAGIC or len(data) < len(_PREFIX):
        raise FormatError("not a message of adbo")
    if data[len(MAGIC)] != FORMAT_VERSION:
        raise FormatError(
            f"message of format version {data[len(MAGIC)]}, but this is adbo's version"
            f" {FORMAT_VERSION}: run the same adbo on every rank"
        )
    start = len(_PREFIX)
    while start < len(data):
        if start + _FRAME.size > len(data):
            raise FormatError("truncated message")
        kind, length = _FRAME.unpack_from(data, start)
        start += _FRAME.size
        if start + length > len(data):
            raise FormatError("truncated message")
        yield kind, data[start : start + length]
        start += length
