"""Messages of the dissemination: frames with their names, and version vectors, as bytes.

It does not know who sends them, nor what the frames contain.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from adbo.core.wire import FORMAT_VERSION, MAGIC, FormatError

#: Start of a message: magic, format version, flags, number of entries. The entries follow, then
#: the digest if there is one, and the frames. An entry is four numbers of 32 bits.
_HEAD = struct.Struct("<4sBBxxI")
ORIGIN, INDEX, SIZE, KIND = range(4)
_ENTRY = struct.Struct("<4i")
DIGEST, URGENT, ASKS_BACK, COMPLETE = 1, 2, 4, 8

#: Kinds of entries: a frame, the last frame of a stream, a report of deaths.
FRAME, LAST, REPORT = 0, 1, 2

#: The name, size and kind of each of n frames, ``(n, 4)``.
Entries = NDArray[np.int32]
NO_ENTRIES = np.empty((0, 4), dtype=np.int32)


def parse_message(
    data: bytes, size: int
) -> tuple[int, bytes, NDArray[np.int32] | None, list[bytes]]:
    """Return the flags, the entries as bytes, the digest, and the frames of a message."""
    if len(data) < _HEAD.size:
        raise FormatError("not a message of adbo")
    magic, version, flags, n = _HEAD.unpack_from(data)
    if magic != MAGIC:
        raise FormatError("not a message of adbo")
    if version != FORMAT_VERSION:
        raise FormatError(
            f"message of format version {version}, but this is adbo's version {FORMAT_VERSION}:"
            " run the same adbo on every rank"
        )
    start = _HEAD.size + n * _ENTRY.size
    end = start + (4 * size if flags & DIGEST else 0)
    if len(data) < end:
        raise FormatError("truncated message")
    entries = data[_HEAD.size : start]
    digest = np.frombuffer(data, dtype="<i4", count=size, offset=start) if end > start else None
    frames = []
    for origin, _, length, _ in _ENTRY.iter_unpack(entries):
        if not 0 <= origin < size or length < 0:
            raise FormatError("message with an unknown origin")
        frames.append(data[end : end + length])
        end += length
    if end != len(data):
        raise FormatError("truncated message")
    return flags, entries, digest, frames


def read_entries(data: bytes) -> Entries:
    """Return entries from their bytes."""
    return np.frombuffer(data, dtype="<i4").reshape(-1, 4)


def make_message(flags: int, entries: Entries, digest: bytes, frames: Sequence[bytes]) -> bytes:
    head = _HEAD.pack(MAGIC, FORMAT_VERSION, flags, len(entries))
    return b"".join([head, entries.tobytes(), digest, *frames])


def packed(
    pieces: Iterable[tuple[Entries, list[bytes]]], most: int
) -> Iterator[tuple[Entries, list[bytes]]]:
    """Yield entries and frames of several pieces together, up to a size."""
    entries: list[Entries] = []
    frames: list[bytes] = []
    size = 0
    for some, theirs in pieces:
        entries.append(some)
        frames += theirs
        size += int(some[:, SIZE].sum())
        if size >= most:
            yield np.concatenate(entries), frames
            entries, frames, size = [], [], 0
    if entries:
        yield np.concatenate(entries) if len(entries) > 1 else entries[0], frames
