"""Dissemination: every frame of every rank reaches every living rank, over a sparse overlay.

Each rank makes a *stream* of frames (bytes that this module does not read), named by their origin
and their index: (rank, 0), (rank, 1), ... What a rank knows of each stream is a prefix, so a
*version vector*, the length of each prefix, says exactly what it knows. This module is a state
machine: messages and the time are passed in, and it returns what is to be sent.
Its parts are what a rank keeps for others (`adbo.comm.kept_frames`), what is sent to each
neighbour (`adbo.comm.neighbours`), and what survivors report of the dead
(`adbo.comm.death_reports`). What follows is about all of them.

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

**How long it takes.** Without deaths and with ranks that answer, at most `n_digits` hops (see
`adbo.comm.overlay`), each of one tick at most. A rank that is silent, or slow, does not hold up
others: what it should have passed on they get from another neighbour after `patience` and the time
between digests. When it answers again, its neighbours send what it lacks. Nobody waits for it. A
dead rank is replaced by the ranks behind it as soon as the death is known.

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
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from adbo.comm.death_reports import DeathReports, make_report
from adbo.comm.kept_frames import KeptFrames, Part
from adbo.comm.messages import (
    FRAME,
    INDEX,
    KIND,
    LAST,
    ORIGIN,
    REPORT,
    SIZE,
    Entries,
    parse_message,
    read_entries,
)
from adbo.comm.neighbours import Link, Neighbours
from adbo.comm.pace import Pace
from adbo.comm.version_vectors import Versions, continues, fresh


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

    def __init__(self, rank: int, size: int, radix: int, pace: Pace) -> None:
        self.rank, self.size, self.radix, self.pace = rank, size, radix, pace
        self.failed: set[int] = set()
        self.known: Versions = np.zeros(size, dtype=np.int32)
        self.closed: NDArray[np.bool_] = np.zeros(size, dtype=np.bool_)
        self.due = -math.inf
        """The time from which `poll` may send."""
        self._kept = KeptFrames()
        self._neighbours = Neighbours(rank, size, radix, pace, self._kept)
        self._reports = DeathReports(size)
        self._awake_since = -math.inf
        self._last_poll = -math.inf

    @property
    def neighbours(self) -> list[int]:
        """The ranks with which this one exchanges messages."""
        return self._neighbours.peers

    def publish(self, frames: Iterable[bytes], now: float) -> None:
        """Append frames to the stream of this rank."""
        self._publish([(frame, FRAME) for frame in frames], now)

    def close(self, frame: bytes, now: float) -> None:
        """Append the last frame to the stream of this rank."""
        self._publish([(frame, LAST)], now)
        self.closed[self.rank] = True
        self.due = -math.inf

    def receive(self, messages: Sequence[tuple[int, bytes]], now: float) -> list[bytes]:
        """Take messages, each with its sender; return the frames that are new.

        Those of each origin are in their order.

        Raises
        ------
        FormatError
            If the bytes are not such a message.
        """
        opened = [
            (self._neighbours.link(sender), *parse_message(data, self.size))
            for sender, data in messages
            if sender not in self.failed
        ]
        if not opened:
            return []
        pieces = [(link, entries, frames) for link, _, entries, _, frames in opened]
        new = self._accept_all(pieces, now)
        for link, flags, _, digest, _ in opened:
            self._neighbours.note(link, flags, digest)
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
        pause, self._last_poll = now - self._last_poll, now
        self._neighbours.note_pause(pause)
        patience = self._neighbours.patience
        if not pause <= patience:  # also at the first poll
            self._awake_since = now  # what others sent meanwhile should arrive before asking
        if now < self.due:
            return []
        self._kept.seal(self.pace.message_bytes)
        if now >= self._awake_since + patience and self._needs_digests:
            self._neighbours.ask_one(now)
        messages = self._neighbours.messages(now, room, self.known, self.complete)
        self._neighbours.forget_confirmed()
        if messages:
            tick = min(self.pace.tick, self.pace.last_tick)
            self.due = now + (tick if self.closed[self.rank] else self.pace.tick)
        return messages

    def fail(self, dead: Iterable[int], now: float) -> None:
        """Note that ranks have died: report it, route around them, and repair what they held."""
        dead = sorted(set(dead) - self.failed)
        if not dead:
            return
        self.failed |= set(dead)
        self._kept.seal(self.pace.message_bytes)
        self._publish([(make_report(dead, self.known), REPORT)], now)
        self._neighbours.connect(self.failed)
        self._neighbours.exchange_everything()
        self.due = -math.inf

    @property
    def agreed(self) -> bool:
        """Whether this rank knows all that any living rank knows of the streams of the dead."""
        living = [rank for rank in range(self.size) if rank not in self.failed]
        return all(
            self.closed[dead]
            or self._reports.nobody_knows_more(dead, int(self.known[dead]), living)
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
        return self._neighbours.are_served and self.complete

    @property
    def kept_bytes(self) -> int:
        """Memory of the frames that are kept for neighbours."""
        return self._kept.bytes

    @property
    def _needs_digests(self) -> bool:
        """Whether frames may come on other ways than from their origins, or many are kept."""
        is_reliable = self.radix >= self.size and not self.failed
        return not is_reliable or self._kept.bytes > self.pace.kept_bytes

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
        self, pieces: Sequence[tuple[Link, bytes, list[bytes]]], now: float
    ) -> list[bytes]:
        """Keep what is new of frames that arrived; return it."""
        entries = read_entries(b"".join([data for _, data, _ in pieces]))
        if continues(self.known, entries):  # as without trouble
            return self._accept(entries, [f for *_, frames in pieces for f in frames], now)
        new = []
        for link, data, frames in pieces:
            entries = read_entries(data)
            mask, has_gap = fresh(self.known, entries)
            if has_gap:
                self._neighbours.ask_urgently(link)
            places = np.flatnonzero(mask).tolist()
            new += self._accept(entries[places], [frames[i] for i in places], now)
        return new

    def _accept(self, entries: Entries, frames: list[bytes], now: float) -> list[bytes]:
        """Keep new frames to pass them on; return those that are not for this module."""
        if not frames:
            return []
        self.known[entries[:, ORIGIN]] = entries[:, INDEX] + 1  # the last one of an origin counts
        self._kept.append(Part(entries, frames, sum(map(len, frames)), now))
        if not entries[:, KIND].any():
            return frames
        new = []
        for (origin, _, _, kind), frame in zip(entries.tolist(), frames, strict=True):
            if kind == REPORT:
                self._reports.note(origin, frame)
                continue
            self.closed[origin] |= kind == LAST
            new.append(frame)
        return new
