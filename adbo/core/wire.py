"""How evaluations travel: messages of frames.

A finished evaluation is encoded once, where it was made, and appended as it is by everybody who
receives it. This module knows the bytes; it does not know who sends them, who keeps them, or what
is done with them.

A *message* is ``MAGIC``, one byte of format version, and frames: kind (1 byte), payload length
(4 bytes), payload. A layout's frame precedes the first record that uses it. A *change* is what a
replicated Optuna storage sends instead of evaluations (`adbo.replicated.replica`); here it is only
bytes.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from adbo.core.evaluation import Batch, Evaluation, Layout, to_batch
from adbo.core.trial_json import decode_extras, encode_extras

T = TypeVar("T")

MAGIC = b"adbo"
FORMAT_VERSION = 1
_LAYOUT, _RECORD, _FAREWELL, _OBITUARY, _CHANGE = 1, 2, 3, 4, 5
_FRAME = struct.Struct("<BI")
_PREFIX = MAGIC + bytes([FORMAT_VERSION])


class FormatError(ValueError):
    """Bytes that are no message of this format version."""


class Encoder:
    """Turns evaluations into frames, each layout's before its first record.

    The frames of one encoder form a stream: they must reach a decoder in the order in which they
    were made.
    """

    def __init__(self) -> None:
        self._announced: set[int] = set()

    def frames(self, evaluation: Evaluation) -> bytes:
        """The bytes of one evaluation, preceded by its layout if that is new."""
        extras = encode_extras(evaluation.extras)
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
        i: _parsed(payload[size:], decode_extras)
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
