"""The neighbours of a rank: what each of them knows, lacks, and is to be sent.

What a rank knows itself, and why this suffices, is in `adbo.comm.dissemination`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adbo.comm.kept_frames import KeptFrames, Part
from adbo.comm.messages import (
    ASKS_BACK,
    COMPLETE,
    DIGEST,
    NO_ENTRIES,
    URGENT,
    Entries,
    make_message,
    packed,
)
from adbo.comm.overlay import RouteTable, incoming, n_digits
from adbo.comm.pace import Pace
from adbo.comm.version_vectors import Versions, lacking

#: How urgently a neighbour is asked, or asks, for what is missing.
_NOT, _PATIENTLY, _URGENTLY = 0, 1, 2

#: Latest times between two polls that count: those of at least two evaluations, around each of
#: which a rank polls three times.
_N_PAUSES = 8


@dataclass
class Link:
    """What is known about a neighbour."""

    peer: int
    known: Versions
    """Its last digest, ``(P,)``."""
    cursor: int
    """Number of the first part that has not been pushed."""
    confirmed: int
    """Number of the first part that it may not know."""
    route: int | None = None
    """Number of the route to it; None if it only pushes to this rank."""
    is_neighbour: bool = False
    must_ask: int = _NOT
    asks: int = _NOT
    asks_back: bool = False
    last_digest: float = -math.inf
    is_told: bool = False
    """Whether it was told that this rank is complete."""
    is_complete: bool = False


class Neighbours:
    """The links of a rank.

    Parameters
    ----------
    rank, size, radix
        This rank, the number of ranks, and the radix of the overlay.
    pace
        How often to send.
    kept
        What may be sent.
    """

    def __init__(self, rank: int, size: int, radix: int, pace: Pace, kept: KeptFrames) -> None:
        self._place = rank, size, radix
        self._pace = pace
        self._kept = kept
        self._links: dict[int, Link] = {}
        self._most_hops = n_digits(size, radix)
        self._pauses = deque([0.0, 0.0], maxlen=_N_PAUSES)
        self.patience = 0.0
        """Seconds after which a frame is no longer expected on its usual way."""
        self.note_pause(0.0)
        self._last_asked = -math.inf
        self.connect(())

    @property
    def peers(self) -> list[int]:
        """The ranks with which this one exchanges messages."""
        return [link.peer for link in self._links.values() if link.is_neighbour]

    @property
    def are_served(self) -> bool:
        """Whether all are complete, know that this rank is, and have been pushed everything."""
        return not self._kept.has_fresh and all(
            link.is_told
            and link.is_complete
            and (link.route is None or link.cursor == self._kept.end)
            for link in self._links.values()
            if link.is_neighbour
        )

    def connect(self, dead: Collection[int]) -> None:
        """Find the neighbours among the living ranks."""
        rank, size, radix = self._place
        self._table = RouteTable(rank, size, radix, dead)
        routes = {peer: route for route, peer in enumerate(self._table.peers)}
        peers = {*routes, *incoming(rank, size, radix, dead)}
        self._links = {p: link for p, link in self._links.items() if p not in dead}
        for peer in sorted(peers, key=lambda peer: (peer - rank) % size):
            link = self.link(peer)
            link.route, link.is_neighbour = routes.get(peer), True
        self._kept.forget_routes()

    def note_pause(self, seconds: float) -> None:
        """Note the time between two polls of this rank, to know how long a frame may travel.

        Ranks that cannot poll while they evaluate pass a frame on after as long as that. A single
        long pause does not count.
        """
        self._pauses.append(seconds)
        hop = max(self._pace.tick, sorted(self._pauses)[-2])
        self.patience = self._pace.patience + (self._most_hops + 1) * hop

    def link(self, peer: int) -> Link:
        """Return the link to a rank, which need not be a neighbour yet."""
        link = self._links.get(peer)
        if link is None:
            known = np.zeros(self._place[1], dtype=np.int32)
            link = self._links[peer] = Link(peer, known, self._kept.end, self._kept.first)
        return link

    def note(self, link: Link, flags: int, digest: Versions | None) -> None:
        """Note what a message says about its sender."""
        link.is_complete |= bool(flags & COMPLETE)
        if digest is None:
            return
        np.maximum(link.known, digest, out=link.known)
        link.confirmed = max(link.confirmed, self._kept.first)
        while link.confirmed < self._kept.end:
            if lacking(link.known, self._kept[link.confirmed].entries).any():
                break
            link.confirmed += 1
        link.asks = max(link.asks, _URGENTLY if flags & URGENT else _PATIENTLY)
        if flags & ASKS_BACK:
            link.must_ask = _URGENTLY

    def ask_urgently(self, link: Link) -> None:
        """Ask a neighbour for everything that is missing."""
        link.must_ask = _URGENTLY

    def exchange_everything(self) -> None:
        """Ask all for everything that is missing, and let them ask."""
        for link in self._links.values():
            link.must_ask, link.asks_back = _URGENTLY, True

    def ask_one(self, now: float) -> None:
        """Ask the neighbour that was not asked for the longest time, if that is due."""
        neighbours = [link for link in self._links.values() if link.is_neighbour]
        if not neighbours:
            return
        interval = self._pace.digest / len(neighbours)
        if now >= self._last_asked + interval:
            link = min(neighbours, key=lambda link: link.last_digest)
            link.must_ask = max(link.must_ask, _PATIENTLY)
            self._last_asked = max(self._last_asked + interval, now - interval)

    def forget_confirmed(self) -> None:
        """Forget what all neighbours know, except for the latest frames."""
        if self._kept.bytes > self._pace.kept_bytes:
            confirmed = (link.confirmed for link in self._links.values() if link.is_neighbour)
            end = min(confirmed, default=self._kept.end if self._place[1] == 1 else 0)
            self._kept.forget(end, self._pace.kept_bytes)

    def messages(
        self, now: float, room: Callable[[int], int], known: Versions, is_complete: bool
    ) -> list[tuple[int, bytes]]:
        """Return what is to be sent now, each message with its receiver.

        Parameters
        ----------
        now
            Seconds.
        room
            Returns the number of messages that a neighbour can take now.
        known
            What this rank knows.
        is_complete
            Whether this rank is complete.
        """
        messages, others = self._quick_pushes(room, is_complete)
        for link in others:
            if (n := room(link.peer)) > 0:
                messages += self._messages_to(link, now, n, (known, is_complete))
        return messages

    def _quick_pushes(
        self, room: Callable[[int], int], is_complete: bool
    ) -> tuple[list[tuple[int, bytes]], list[Link]]:
        """Return the messages with the newest part as a whole, and the links that need others.

        Where all ranks send directly, these are nearly all messages, and all of them are the same.
        """
        messages, others = [], []
        end, data = self._kept.end, b""
        if end == self._kept.first:
            return [], list(self._links.values())
        part = self._kept[end - 1]
        part.find_routes(self._table)
        for link in self._links.values():
            if link.must_ask or link.asks or (is_complete and not link.is_told):
                others.append(link)
            elif link.cursor == end:
                continue
            elif link.cursor < end - 1:
                others.append(link)
            elif link.route is None or (n := part.n_on_route[link.route]) == 0:
                link.cursor = end
            elif n == len(part.frames) and room(link.peer) > 0:
                link.cursor = end
                data = data or make_message(0, part.entries, b"", part.frames)
                messages.append((link.peer, data))
            else:
                others.append(link)
        return messages, others

    def _messages_to(
        self, link: Link, now: float, room: int, state: tuple[Versions, bool]
    ) -> Iterator[tuple[int, bytes]]:
        """Yield messages with what a neighbour is to be pushed or asked for, or told."""
        flags, digest = 0, b""
        known, is_complete = state
        if link.must_ask:
            flags |= DIGEST | (URGENT if link.must_ask == _URGENTLY else 0)
            flags |= ASKS_BACK if link.asks_back else 0
            digest = known.tobytes()
            link.must_ask, link.asks_back, link.last_digest = _NOT, False, now
        if is_complete and not link.is_told:
            flags |= COMPLETE
            link.is_told = True
        repairs = self._repairs(link, now)
        pushes = self._pushes(link, room)
        for entries, frames in packed([*repairs, *pushes], self._pace.message_bytes):
            yield link.peer, make_message(flags, entries, digest, frames)
            flags, digest = 0, b""
        if flags:
            yield link.peer, make_message(flags, NO_ENTRIES, digest, ())

    def _pushes(self, link: Link, room: int) -> Iterator[tuple[Entries, list[bytes]]]:
        """Yield what is pushed to a neighbour: parts of as many messages as it has room for."""
        end = self._kept.end
        if link.route is None:
            link.cursor = end
        size, was_full = 0, link.cursor + 1 < end
        link.cursor = max(link.cursor, self._kept.first)
        while link.cursor < end and size < room * self._pace.message_bytes:
            part = self._kept[link.cursor]
            link.cursor += 1
            mask = self._on_route(part, link)
            if was_full:  # it may have received them from others meanwhile
                mask = mask & lacking(link.known, part.entries)
            if mask.any():
                size += part.size
                yield part.chosen(mask)

    def _repairs(self, link: Link, now: float) -> Iterator[tuple[Entries, list[bytes]]]:
        """Yield what a neighbour lacks according to the digest that it has sent, if it has."""
        asks, link.asks = link.asks, _NOT
        if not asks:
            return
        first = max(link.confirmed, self._kept.first)
        for number in range(first, min(link.cursor, self._kept.end)):
            part = self._kept[number]
            mask = lacking(link.known, part.entries)
            if asks == _PATIENTLY:
                if part.since > now - self.patience:
                    return
                if link.route is not None:  # what was pushed is under way
                    mask &= ~self._on_route(part, link)
            if mask.any():
                yield part.chosen(mask)

    def _on_route(self, part: Part, link: Link) -> NDArray[np.bool_]:
        """Return which frames are pushed to a neighbour, ``(n,)``."""
        part.find_routes(self._table)
        mask: NDArray[np.bool_] = part.on_routes[link.route]
        return mask
