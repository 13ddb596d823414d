"""Dissemination: every frame of every rank reaches every living rank, over a sparse overlay.

Each rank makes a *stream* of frames (bytes that this module does not read), named by their origin
and their index: (rank, 0), (rank, 1), ... What a rank knows of each stream is a prefix, so a
*version vector*, the length of each prefix, says exactly what it knows. This module is a state
machine: messages and the time are passed in, and it returns what is to be sent.

**Pushing.** At most once in a *tick*, a rank sends to each neighbour one message with all frames
that are new since the last one and that the neighbour is to have from it (`adbo.comm.overlay`).
The trees of the overlay bring each frame to each rank exactly once.

**Repair.** From time to time, a rank sends its version vector (a *digest*) to a neighbour, which
sends what is missing: only what it has had for longer than a record needs to travel, since the
rest is still on its way. After a death, and on receiving a frame that does not continue the known
prefix (which is then ignored), the digest is *urgent*: the neighbour sends everything that is
missing at once, and asks for what itself lacks. A frame that is new to a rank is pushed on,
however it came; one that is known is ignored. So duplicates and their order do no harm. Where all
ranks send directly, only a death makes repair necessary; before, ranks send digests only if they
keep much.

**Why every frame that a living rank knows reaches every living rank.** The neighbours of a rank
are those to which it pushes and from which it is pushed to. A frame is forgotten only when all of
the neighbours have confirmed it by a digest. Suppose that some of the living ranks know a frame
and others do not. The neighbours are connected, whichever ranks have died, so there are neighbours
of which one knows it and the other does not. The first has not forgotten it, and sends it when the
digest of the second comes. (An exception are deaths that separate survivors in the overlay of
before: that takes as many at once as a rank had neighbours, with all of them. To survive even most
of these, the latest `Pace.kept_bytes` are kept also if they are confirmed.)

**How long it takes.** Without deaths and with ranks that answer, at most `hops` hops, each of one
tick at most. A rank that is silent, or slow, does not hold up others: what it should have passed
on they get from another neighbour after `patience` and the time between digests. When it answers
again, its neighbours send what it lacks. Nobody waits for it. A dead rank is replaced by the ranks
behind it as soon as the death is known.

**Memory.** Frames are kept until the neighbours confirmed them, usually for two intervals between
digests. If a neighbour is silent, they are kept until it answers: at most as many bytes as all
frames, about a quarter of what the history of the same records needs. There is one vector of 4 P
bytes for each neighbour.

**Deaths.** What a rank sent to some before it died, and not to others, survives as above. Each
survivor makes a *report* of how much it knows of the streams of the dead, which travels as a frame
in its own stream; from then on, it ignores messages of the dead. So when a rank has the reports of
all living ranks and as much as they say, then nobody knows more (`agreed`).

**The end.** The last frame of a stream closes it. A rank is *complete* when it knows the whole
streams of all living ranks, and has agreed about the dead. It tells its neighbours, and is
`settled` when all of them are complete, too. So no rank leaves while a neighbour may need it, and
a rank that lacks something still has all its living neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from adbo.comm.messages import (
    ASKS_BACK,
    COMPLETE,
    DIGEST,
    FRAME,
    INDEX,
    KIND,
    LAST,
    NO_ENTRIES,
    ORIGIN,
    REPORT,
    REPORTED,
    SIZE,
    URGENT,
    Entries,
    Part,
    joined,
    make_message,
    packed,
    parse_message,
    read_entries,
)
from adbo.comm.overlay import Route, incoming, levels, n_digits, outgoing

#: How urgently a neighbour is asked, or asks, for what is missing.
_NOT, _PATIENTLY, _URGENTLY = 0, 1, 2


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
        Seconds for which a frame is expected on its usual way, beside one tick per hop.
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


@dataclass
class _Link:
    """What is known about a neighbour."""

    peer: int
    known: NDArray[np.int32]
    """The version vector of its last digest, ``(P,)``."""
    route: Route | None = None
    """The records that are pushed to it; None if it only pushes to this rank."""
    row: int = 0
    """Number of the route."""
    cursor: int = 0
    """Number of the first part that has not been pushed."""
    confirmed: int = 0
    """Number of the first part that it may not know."""
    must_ask: int = _NOT
    asks: int = _NOT
    asks_back: bool = False
    last_digest: float = -math.inf
    is_told: bool = False
    """Whether it was told that this rank is complete."""
    is_complete: bool = False
    is_neighbour: bool = True


@dataclass
class Disseminator:
    """One rank's part in the dissemination.

    Parameters
    ----------
    rank, size
        This rank, and the number of ranks.
    radix
        The radix of the overlay (`adbo.comm.overlay.choose_radix`), the same on all ranks.
    pace
        How often to send.
    """

    rank: int
    size: int
    radix: int
    pace: Pace = Pace()
    failed: set[int] = field(default_factory=set)
    _parts: list[Part] = field(default_factory=list)
    _n_forgotten: int = 0  # parts removed from the start of _parts
    _fresh: list[Part] = field(default_factory=list)  # known, but not yet pushed
    _due: float = -math.inf
    _awake_since: float = -math.inf
    _last_poll: float = -math.inf
    _last_asked: float = -math.inf
    _kept_bytes: int = 0
    _reports: dict[int, NDArray[np.int64]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.known: NDArray[np.int32] = np.zeros(self.size, dtype=np.int32)
        self.closed: NDArray[np.bool_] = np.zeros(self.size, dtype=np.bool_)
        self.hops = n_digits(self.size, self.radix)
        self._levels = levels(self.size, self.radix)
        self._links: dict[int, _Link] = {}
        self._connect()

    @property
    def neighbours(self) -> list[int]:
        """The ranks with which this one exchanges messages."""
        return [link.peer for link in self._links.values() if link.is_neighbour]

    @property
    def patience(self) -> float:
        """Seconds after which a frame is no longer expected on its usual way."""
        return self.pace.patience + (self.hops + 1) * self.pace.tick

    @property
    def due(self) -> float:
        """The time from which `poll` may send."""
        return self._due

    def publish(self, frames: Iterable[bytes], now: float) -> None:
        """Append frames to the stream of this rank."""
        self._publish([(frame, FRAME) for frame in frames], now)

    def close(self, frame: bytes, now: float) -> None:
        """Append the last frame to the stream of this rank."""
        self._publish([(frame, LAST)], now)
        self.closed[self.rank] = True
        self._due = -math.inf

    def receive(self, messages: Sequence[tuple[int, bytes]], now: float) -> list[bytes]:
        """Take messages, each with its sender; return the frames that are new.

        Those of each origin are in their order.

        Raises
        ------
        FormatError
            If the bytes are not such a message.
        """
        opened = [
            (self._link(sender), *parse_message(data, self.size))
            for sender, data in messages
            if sender not in self.failed
        ]
        if not opened:
            return []
        pieces = [(link, entries, frames) for link, _, entries, _, frames in opened]
        new = self._accept_all(pieces, now)
        for link, flags, _, digest, _ in opened:
            link.is_complete |= bool(flags & COMPLETE)
            if digest is not None:
                self._note_digest(link, digest, flags)
        return new

    def poll(self, now: float, room: Callable[[int], int]) -> list[tuple[int, bytes]]:
        """Return the messages that are to be sent now, each with its receiver.

        Call it after `receive`, in each tick if possible.

        Parameters
        ----------
        now
            Seconds.
        room
            Returns the number of messages that a neighbour can take now.
        """
        if not now - self._last_poll <= self.patience:  # also at the first poll
            self._awake_since = now  # what others sent meanwhile should arrive before asking
        self._last_poll = now
        if now < self._due:
            return []
        self._seal()
        self._choose_whom_to_ask(now)
        is_complete = self.complete
        messages, others = self._quick_pushes(room, is_complete)
        messages += [
            (link.peer, data)
            for link in others
            if (n := room(link.peer)) > 0
            for data in self._messages(link, now, n, is_complete)
        ]
        self._forget()
        if messages:
            tick = min(self.pace.tick, self.pace.last_tick)
            self._due = now + (tick if self.closed[self.rank] else self.pace.tick)
        return messages

    def fail(self, dead: Iterable[int], now: float) -> None:
        """Note that ranks have died: report it, route around them, and repair what they held."""
        dead = sorted(set(dead) - self.failed)
        if not dead:
            return
        self.failed |= set(dead)
        report = np.empty(len(dead), dtype=REPORTED)
        report["dead"], report["known"] = dead, self.known[dead]
        self._seal()
        self._publish([(report.tobytes(), REPORT)], now)
        self._connect()
        for link in self._links.values():
            link.must_ask, link.asks_back = _URGENTLY, True
        self._due = -math.inf

    @property
    def agreed(self) -> bool:
        """Whether this rank knows all that any living rank knows of the streams of the dead."""
        living = [rank for rank in range(self.size) if rank not in self.failed]
        return all(
            self.closed[dead]
            or (
                bool((self._reports[dead][living] >= 0).all())
                and self.known[dead] >= self._reports[dead][living].max()
            )
            for dead in self.failed
        )

    @property
    def complete(self) -> bool:
        """Whether this rank knows everything that any living rank knows or will make."""
        n_open = self.size - int(np.count_nonzero(self.closed))
        return n_open <= len(self.failed) and self._all_living_closed() and self.agreed

    @property
    def settled(self) -> bool:
        """Whether no other rank needs this one, once what `poll` returned has been delivered."""
        end = self._end
        return (
            not self._fresh
            and all(
                link.is_told and link.is_complete and (link.route is None or link.cursor == end)
                for link in self._links.values()
                if link.is_neighbour
            )
            and self.complete
        )

    @property
    def kept_bytes(self) -> int:
        """Memory of the frames that are kept for neighbours."""
        return self._kept_bytes

    @property
    def _is_reliable(self) -> bool:
        """Whether each frame comes from the rank that made it, so that none needs repair."""
        return self.radix >= self.size and not self.failed

    @property
    def _end(self) -> int:
        return self._n_forgotten + len(self._parts)

    def _all_living_closed(self) -> bool:
        return all(rank in self.failed for rank in np.flatnonzero(~self.closed).tolist())

    def _publish(self, frames: Sequence[tuple[bytes, int]], now: float) -> None:
        entries = np.empty((len(frames), 4), dtype=np.int32)
        entries[:, ORIGIN] = self.rank
        entries[:, INDEX] = self.known[self.rank] + np.arange(len(frames))
        entries[:, SIZE] = [len(frame) for frame, _ in frames]
        entries[:, KIND] = [kind for _, kind in frames]
        self._accept(entries, [frame for frame, _ in frames], now)

    def _accept_all(
        self, pieces: Sequence[tuple[_Link, bytes, list[bytes]]], now: float
    ) -> list[bytes]:
        """Keep what is new of frames that arrived; return it."""
        entries = read_entries(b"".join([data for _, data, _ in pieces]))
        if self._continue_known(entries):  # as without trouble
            return self._accept(entries, [f for *_, frames in pieces for f in frames], now)
        new = []
        for link, data, frames in pieces:
            entries = read_entries(data)
            places = np.flatnonzero(self._is_fresh(entries, link)).tolist()
            new += self._accept(entries[places], [frames[i] for i in places], now)
        return new

    def _continue_known(self, entries: Entries) -> bool:
        """Return whether entries continue what is known, in order and without duplicates."""
        origin, index = entries[:, ORIGIN], entries[:, INDEX]
        if (index == self.known[origin]).all():
            return len(set(origin.tolist())) == len(origin)
        order = np.argsort(origin, kind="stable")
        origin, index = origin[order], index[order]
        expected = self.known[origin]
        follows = np.flatnonzero(origin[1:] == origin[:-1])
        expected[follows + 1] = index[follows] + 1
        return bool((index == expected).all())

    def _is_fresh(self, entries: Entries, link: _Link) -> NDArray[np.bool_]:
        """Return which entries continue what is known; ask urgently if one leaves a gap."""
        origin, index = entries[:, ORIGIN], entries[:, INDEX]
        fresh: NDArray[np.bool_] = index >= self.known[origin]
        origins, first = np.unique(origin, return_index=True)
        gaps = origins[index[first] > self.known[origins]]
        if gaps.size:
            link.must_ask = _URGENTLY
            fresh &= ~np.isin(origin, gaps)
        return fresh

    def _accept(self, entries: Entries, frames: list[bytes], now: float) -> list[bytes]:
        """Keep new frames to pass them on; return those that are not for this module."""
        if not frames:
            return []
        self.known[entries[:, ORIGIN]] = entries[:, INDEX] + 1  # the last one of an origin counts
        self._fresh.append(Part(entries, frames, sum(map(len, frames)), now))
        if not entries[:, KIND].any():
            return frames
        new = []
        for (origin, _, _, kind), frame in zip(entries.tolist(), frames, strict=True):
            if kind == REPORT:
                self._note_report(origin, frame)
                continue
            self.closed[origin] |= kind == LAST
            new.append(frame)
        return new

    def _note_report(self, by: int, frame: bytes) -> None:
        for dead, known in np.frombuffer(frame, dtype=REPORTED).tolist():
            unreported = np.full(self.size, -1, dtype=np.int64)
            self._reports.setdefault(dead, unreported)[by] = known

    def _note_digest(self, link: _Link, digest: NDArray[np.int32], flags: int) -> None:
        np.maximum(link.known, digest, out=link.known)
        link.confirmed = max(link.confirmed, self._n_forgotten)
        while link.confirmed < self._end and self._knows_all(link, link.confirmed):
            link.confirmed += 1
        link.asks = max(link.asks, _URGENTLY if flags & URGENT else _PATIENTLY)
        if flags & ASKS_BACK:
            link.must_ask = _URGENTLY

    def _knows_all(self, link: _Link, number: int) -> bool:
        entries = self._parts[number - self._n_forgotten].entries
        return bool((entries[:, INDEX] < link.known[entries[:, ORIGIN]]).all())

    def _seal(self) -> None:
        """Make the fresh frames into as few parts as their sizes allow."""
        fresh, self._fresh = self._fresh, []
        while fresh:
            taken = 1
            size = fresh[0].size
            while taken < len(fresh) and size < self.pace.message_bytes:
                size += fresh[taken].size
                taken += 1
            self._parts.append(joined(fresh[:taken]))
            self._kept_bytes += self._parts[-1].memory
            del fresh[:taken]

    def _choose_whom_to_ask(self, now: float) -> None:
        """Ask the neighbour that was not asked for the longest time, if that is due."""
        if now < self._awake_since + self.patience:
            return
        if self._is_reliable and self._kept_bytes <= self.pace.kept_bytes:
            return
        neighbours = [link for link in self._links.values() if link.is_neighbour]
        if not neighbours:
            return
        interval = self.pace.digest / len(neighbours)
        if now >= self._last_asked + interval:
            link = min(neighbours, key=lambda link: link.last_digest)
            link.must_ask = max(link.must_ask, _PATIENTLY)
            self._last_asked = max(self._last_asked + interval, now - interval)

    def _quick_pushes(
        self, room: Callable[[int], int], is_complete: bool
    ) -> tuple[list[tuple[int, bytes]], list[_Link]]:
        """Return the messages with the newest part as a whole, and the links that need others.

        Where all ranks send directly, these are nearly all messages, and all of them are the same.
        """
        messages, others = [], []
        end, data = self._end, b""
        if not self._parts:
            return [], list(self._links.values())
        part = self._parts[-1]
        self._set_routes(part)
        for link in self._links.values():
            if link.must_ask or link.asks or (is_complete and not link.is_told):
                others.append(link)
            elif link.cursor == end:
                continue
            elif link.cursor < end - 1:
                others.append(link)
            elif link.route is None or (n := part.n_on_route[link.row]) == 0:
                link.cursor = end
            elif n == len(part.frames) and room(link.peer) > 0:
                link.cursor = end
                data = data or make_message(0, part.entries, b"", part.frames)
                messages.append((link.peer, data))
            else:
                others.append(link)
        return messages, others

    def _messages(self, link: _Link, now: float, room: int, is_complete: bool) -> Iterator[bytes]:
        """Yield messages with what a neighbour is to be pushed or asked for, or told."""
        flags, digest = 0, b""
        if link.must_ask:
            flags |= DIGEST | (URGENT if link.must_ask == _URGENTLY else 0)
            flags |= ASKS_BACK if link.asks_back else 0
            digest = self.known.tobytes()
            link.must_ask, link.asks_back, link.last_digest = _NOT, False, now
        if is_complete and not link.is_told:
            flags |= COMPLETE
            link.is_told = True
        repairs = self._repairs(link, now)
        pushes = self._pushes(link, room)
        for entries, frames in packed([*repairs, *pushes], self.pace.message_bytes):
            yield make_message(flags, entries, digest, frames)
            flags, digest = 0, b""
        if flags:
            yield make_message(flags, NO_ENTRIES, digest, ())

    def _pushes(self, link: _Link, room: int) -> Iterator[tuple[Entries, list[bytes]]]:
        """Yield what is pushed to a neighbour: parts of as many messages as it has room for."""
        end = self._end
        if link.route is None:
            link.cursor = end
        size, was_full = 0, link.cursor + 1 < end
        link.cursor = max(link.cursor, self._n_forgotten)
        while link.cursor < end and size < room * self.pace.message_bytes:
            part = self._parts[link.cursor - self._n_forgotten]
            link.cursor += 1
            mask = self._on_route(part, link)
            if was_full:  # it may have received them from others meanwhile
                mask = mask & self._lacks(link, part)
            if mask.any():
                size += part.size
                yield part.chosen(mask)

    def _repairs(self, link: _Link, now: float) -> Iterator[tuple[Entries, list[bytes]]]:
        """Yield what a neighbour lacks according to the digest that it has sent, if it has."""
        asks, link.asks = link.asks, _NOT
        if not asks:
            return
        first = max(link.confirmed, self._n_forgotten)
        for number in range(first, min(link.cursor, self._end)):
            part = self._parts[number - self._n_forgotten]
            mask = self._lacks(link, part)
            if asks == _PATIENTLY:
                if part.since > now - self.patience:
                    return
                if link.route is not None:  # what was pushed is under way
                    mask &= ~self._on_route(part, link)
            if mask.any():
                yield part.chosen(mask)

    def _lacks(self, link: _Link, part: Part) -> NDArray[np.bool_]:
        """Return which frames a neighbour lacked when it sent its last digest, ``(n,)``."""
        lacks: NDArray[np.bool_] = part.entries[:, INDEX] >= link.known[part.entries[:, ORIGIN]]
        return lacks

    def _on_route(self, part: Part, link: _Link) -> NDArray[np.bool_]:
        """Return which frames are pushed to a neighbour, ``(n,)``."""
        self._set_routes(part)
        mask: NDArray[np.bool_] = part.on_routes[link.row]
        return mask

    def _set_routes(self, part: Part) -> None:
        """Find out which frames are pushed to which neighbour, unless that is known."""
        if part.n_on_route:
            return
        digits, room = self._routes
        if self.radix >= self.size:  # the same, sooner: only what this rank made is pushed
            own = part.entries[:, ORIGIN] == self.rank
            part.on_routes = own[np.newaxis].repeat(len(digits), axis=0)
            part.n_on_route = [int(np.count_nonzero(own))] * len(digits)
            return
        distance = (self.rank - part.entries[:, ORIGIN]) % self.size
        part.on_routes = (self._levels[distance] > digits) & (distance < room)
        part.n_on_route = part.on_routes.sum(axis=1).tolist()

    def _forget(self) -> None:
        """Forget what all neighbours know, except for the latest frames."""
        if self._kept_bytes <= self.pace.kept_bytes:
            return
        number = min((x.confirmed for x in self._links.values() if x.is_neighbour), default=0)
        number = self._end if self.size == 1 else number
        n = 0
        while self._n_forgotten + n < number and self._kept_bytes > self.pace.kept_bytes:
            self._kept_bytes -= self._parts[n].memory
            n += 1
        del self._parts[:n]
        self._n_forgotten += n

    def _connect(self) -> None:
        """Find the neighbours among the living ranks."""
        routes = {r.peer: r for r in outgoing(self.rank, self.size, self.radix, self.failed)}
        rows = {peer: row for row, peer in enumerate(routes)}
        peers = {*routes, *incoming(self.rank, self.size, self.radix, self.failed)}
        self._links = {p: link for p, link in self._links.items() if p not in self.failed}
        for peer in sorted(peers, key=lambda peer: (peer - self.rank) % self.size):
            link = self._link(peer)
            link.route, link.is_neighbour = routes.get(peer), True
            link.row = rows.get(peer, 0)
        digits = np.array([route.digit for route in routes.values()], dtype=np.int64)
        offsets = np.array([route.offset for route in routes.values()], dtype=np.int64)
        self._routes = digits[:, np.newaxis], self.size - offsets[:, np.newaxis]
        for part in self._parts:
            part.n_on_route = ()

    def _link(self, peer: int) -> _Link:
        """Return the link to a rank, which need not be a neighbour yet."""
        link = self._links.get(peer)
        if link is None:
            known = np.zeros(self.size, dtype=np.int32)
            link = _Link(peer, known, None, self._end, self._n_forgotten, is_neighbour=False)
            self._links[peer] = link
        return link
