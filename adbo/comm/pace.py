"""How often the ranks of a dissemination send, and how much they keep."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pace:
    """How often ranks send, and how much they keep.

    Parameters
    ----------
    tick
        Seconds between two messages to a neighbour: news are older, and messages fewer.
    last_tick
        The same once this rank has closed its stream, and others may be waiting for it.
    digest
        Seconds between two digests to the same neighbour, if there are not too many neighbours for
        one digest per tick. Losses are repaired later, and frames kept longer.
    patience
        Seconds for which a frame is expected on its usual way, beside one tick per hop, or the
        time between two polls if that is longer.
    message_bytes
        A message ends with the part that reaches this size.
    kept_bytes
        Confirmed frames up to this size are kept nevertheless.
    """

    tick: float = 0.5
    last_tick: float = 0.1
    digest: float = 10.0
    patience: float = 1.0
    message_bytes: int = 1 << 20
    kept_bytes: int = 4 << 20
