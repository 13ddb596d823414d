"""The wire format: how evaluations and notices become bytes, and back.

An evaluation is encoded once, by the rank that made it, and every rank appends the same bytes to
its history. This module does not know who sends the bytes, nor what is done with them.

A *message* is ``MAGIC``, one byte of format version, and frames. A *frame* is its kind (1 byte),
the length of its payload (4 bytes) and the payload. Kinds:

- a *layout*, which precedes the first record that uses it;
- a *record*: the header and the internal values of one evaluation; then, if it has extras, the
  intermediate values, and the attributes as JSON;
- a *farewell*: no record of this rank follows; with statistics about the rank;
- a *change* of a replicated Optuna storage (`adbo.replicated`), a JSON array;
- a *report* of a running trial at a rung (`adbo.core.rungs`), named by rank, sequence number of
  the trial, and number of reports.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from adbo.core.evaluation import NO_EXTRAS, Batch, Evaluation, Extras, Layout, key_of, to_batch
from adbo.core.intermediate_values import IntermediateValues, from_bytes, to_bytes
from adbo.core.rungs import Report

T = TypeVar("T")

MAGIC = b"adbo"
FORMAT_VERSION = 6
_LAYOUT, _RECORD, _FAREWELL, _CHANGE, _REPORT = 1, 2, 3, 4, 5
_FRAME = struct.Struct("<BI")
_REPORT_PAYLOAD = struct.Struct("<iQId")
_PREFIX = MAGIC + bytes([FORMAT_VERSION])


class FormatError(ValueError):
    """The bytes are not a message of this format version."""


class Encoder:
    """Turns evaluations into frames.

    The frames of one encoder form a stream: a decoder must read them in the order in which they
    were made, since a layout is sent only once.
    """

    def __init__(self) -> None:
        self._announced: set[int] = set()

    def frames(self, evaluation: Evaluation) -> bytes:
        """Return the frame of one evaluation, preceded by its layout if that is new."""
        layout, rows, _ = to_batch(evaluation)
        record = _frame(_RECORD, rows.tobytes() + _encode_extras(evaluation.extras))
        if layout.key in self._announced:
            return record
        self._announced.add(layout.key)
        return _frame(_LAYOUT, layout.text.encode()) + record


def farewell(statistics: Mapping[str, Any]) -> bytes:
    """Return the last frame of a rank's evaluations, with statistics about the rank."""
    return _frame(_FAREWELL, json.dumps(statistics).encode())


def change(text: str) -> bytes:
    """Return the frame of one change of a replicated study, given as a JSON array."""
    return _frame(_CHANGE, text.encode())


def report(content: Report) -> bytes:
    """Return the frame of a report of a running trial."""
    return _frame(_REPORT, _REPORT_PAYLOAD.pack(*content))


def message(frames: Iterable[bytes]) -> bytes:
    """Return one message that holds the frames."""
    return b"".join([_PREFIX, *frames])


class Received(NamedTuple):
    """The content of messages."""

    batches: list[Batch]
    farewells: list[dict[str, Any]]
    changes: list[list[Any]]
    reports: list[Report]


class Decoder:
    """Reads messages of any number of streams, and remembers the layouts that they announced."""

    def __init__(self) -> None:
        self._layouts: dict[int, Layout] = {}

    def decode(self, messages: Sequence[bytes]) -> Received:
        """Return the content of messages, with records grouped by layout into long arrays.

        Raises
        ------
        FormatError
            If the bytes have another format or version, or the layout of a record is unknown.
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
                    # Not by the key of the layout: that of an equal one, with a bound of -0.0
                    # instead of 0.0, may be another one.
                    self._layouts[key_of(payload)] = _parsed(payload, Layout.from_text)
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
            raise FormatError(f"record of an unknown layout {key:#x}") from None


def _batch(layout: Layout, payloads: Sequence[bytes]) -> Batch:
    """Return the records of one layout, in their order."""
    size = layout.dtype.itemsize
    if all(len(payload) == size for payload in payloads):
        return Batch(layout, np.frombuffer(b"".join(payloads), dtype=layout.dtype), {})
    rows = np.frombuffer(b"".join(payload[:size] for payload in payloads), dtype=layout.dtype)
    extras = {
        i: _parsed(payload[size:], _decode_extras)
        for i, payload in enumerate(payloads)
        if len(payload) > size
    }
    return Batch(layout, rows, extras)


def _encode_extras(extras: Extras) -> bytes:
    """Return intermediate values and attributes as bytes; no bytes if there are none."""
    if not extras:
        return b""
    values = extras.intermediate_values
    if not isinstance(values, IntermediateValues):
        values = IntermediateValues.of(values)
    attrs = [dict(extras.user_attrs), dict(extras.system_attrs)]
    return to_bytes(values) + (json.dumps(attrs).encode() if any(attrs) else b"")


def _decode_extras(data: bytes) -> Extras:
    if not data:
        return NO_EXTRAS
    values, attrs = from_bytes(data)
    user_attrs, system_attrs = json.loads(attrs) if attrs else ({}, {})
    return Extras(dict(user_attrs), dict(system_attrs), values)


def _report(payload: bytes) -> Report:
    try:
        return Report(*_REPORT_PAYLOAD.unpack(payload))
    except struct.error as error:
        raise ValueError(error) from None


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
    _CHANGE: _change,
    _REPORT: _report,
}


def _parsed(payload: bytes, parse: Callable[[bytes], T]) -> T:
    """Return the parsed payload; anything that cannot be parsed is a `FormatError`."""
    try:
        return parse(payload)
    except (ValueError, LookupError, TypeError, ArithmeticError, RecursionError) as error:
        # ArithmeticError: bounds that overflow. RecursionError: thousands of nested brackets.
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
