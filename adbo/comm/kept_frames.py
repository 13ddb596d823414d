"""The frames that a rank keeps to pass them on, in the order in which it came to know them.

It does not know the neighbours, nor what each of them has been sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from adbo.comm.messages import ORIGIN, Entries
from adbo.comm.overlay import RouteTable

#: Bytes that a kept part takes, and each of its frames, beside the frames themselves.
_PART_OVERHEAD, _FRAME_OVERHEAD = 700, 64


@dataclass
class Part:
    """Frames that became known together, ``(n,)``; frames of one origin in their order."""

    entries: Entries
    frames: list[bytes]
    size: int
    """Bytes of the frames."""
    since: float
    """When the first of them became known."""
    on_routes: NDArray[np.bool_] = field(default_factory=lambda: np.empty((0, 0), dtype=np.bool_))
    """Which frames take which route, ``(routes, n)``; valid with `n_on_route`."""
    n_on_route: Sequence[int] = ()
    """The number of frames that take each route, ``(routes,)``; empty until it is known."""

    @property
    def memory(self) -> int:
        """About the number of bytes that keeping it takes."""
        return _PART_OVERHEAD + self.size + _FRAME_OVERHEAD * len(self.frames)

    def find_routes(self, table: RouteTable) -> None:
        """Find out which frames take which route, unless that is known."""
        if not self.n_on_route:
            self.on_routes = table.taken(self.entries[:, ORIGIN])
            self.n_on_route = self.on_routes.sum(axis=1).tolist()

    def chosen(self, mask: NDArray[np.bool_]) -> tuple[Entries, list[bytes]]:
        """Return the entries and the frames that a mask selects."""
        places = np.flatnonzero(mask).tolist()
        if len(places) == len(self.frames):
            return self.entries, self.frames
        return self.entries[places], [self.frames[i] for i in places]


class KeptFrames:
    """Parts by their numbers: 0 for the first that this rank knew, which it may have forgotten."""

    def __init__(self) -> None:
        self.first = 0
        """The number of the first part that is kept."""
        self.bytes = 0
        """Memory of the parts that are kept."""
        self._parts: list[Part] = []
        self._fresh: list[Part] = []  # have no number yet

    @property
    def end(self) -> int:
        """The number of parts so far."""
        return self.first + len(self._parts)

    @property
    def has_fresh(self) -> bool:
        """Whether there are frames without a number, which cannot be sent yet."""
        return bool(self._fresh)

    def __getitem__(self, number: int) -> Part:
        """Return a part that is kept."""
        return self._parts[number - self.first]

    def append(self, part: Part) -> None:
        """Keep frames."""
        self._fresh.append(part)

    def seal(self, message_bytes: int) -> None:
        """Make the fresh frames into as few parts as their sizes allow, and number them."""
        fresh, self._fresh = self._fresh, []
        while fresh:
            taken = 1
            size = fresh[0].size
            while taken < len(fresh) and size < message_bytes:
                size += fresh[taken].size
                taken += 1
            self._parts.append(_joined(fresh[:taken]))
            self.bytes += self._parts[-1].memory
            del fresh[:taken]

    def forget(self, end: int, most_bytes: int) -> None:
        """Forget parts before a number, the first ones first, until few bytes are kept."""
        n = 0
        while self.first + n < end and self.bytes > most_bytes:
            self.bytes -= self._parts[n].memory
            n += 1
        del self._parts[:n]
        self.first += n

    def forget_routes(self) -> None:
        """Note that other routes are taken from now on."""
        for part in self._parts:
            part.n_on_route = ()


def _joined(parts: Sequence[Part]) -> Part:
    """Return parts as one."""
    if len(parts) == 1:
        return parts[0]
    return Part(
        np.concatenate([part.entries for part in parts]),
        [frame for part in parts for frame in part.frames],
        sum(part.size for part in parts),
        parts[0].since,
    )
