"""Every frame that a living rank knows reaches every living rank, whatever happens."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from adbo.comm.dissemination import Disseminator
from adbo.comm.in_process import network
from adbo.comm.overlay import n_digits
from adbo.comm.pace import Pace
from adbo.core.wire import FormatError, change


@dataclass
class World:
    """Ranks on a virtual clock: they poll at intervals, and messages take a random time.

    Messages of one rank to another arrive in their order, some of them twice. A dead rank receives
    nothing more; of what it had sent, some messages are lost. Ranks that evaluate for `busy`
    seconds poll only before and after it.
    """

    size: int
    radix: int
    random: Random
    pace: Pace = field(default_factory=Pace)
    longest_delay: float = 0.2
    duplicates: float = 0.0
    busy: float = 0.0
    now: float = 0.0
    silent_until: dict[int, float] = field(default_factory=dict)
    dead: set[int] = field(default_factory=set)
    n_messages: int = 0

    def __post_init__(self) -> None:
        self.ranks = [
            Disseminator(rank, self.size, self.radix, self.pace) for rank in range(self.size)
        ]
        self.heard: list[dict[bytes, float]] = [{} for _ in self.ranks]
        self.twice: list[bytes] = []
        self._inboxes: list[list[tuple[float, int, bytes]]] = [[] for _ in self.ranks]
        self._arrival: dict[tuple[int, int], float] = {}
        self._noted: dict[int, dict[int, float]] = {}
        self._polls = [(self.random.random() * self.pace.tick, r) for r in range(self.size)]
        heapq.heapify(self._polls)

    def publish(self, rank: int, frame: bytes) -> None:
        self.heard[rank][frame] = self.now
        self.ranks[rank].publish([frame], self.now)

    def close(self, rank: int) -> None:
        frame = b"end of %d" % rank
        self.heard[rank][frame] = self.now
        self.ranks[rank].close(frame, self.now)

    def die(self, rank: int) -> None:
        """Let a rank die; each survivor notices it some time later."""
        self.dead.add(rank)
        self._noted[rank] = {
            other: self.now + self.random.random() * 3 for other in range(self.size)
        }
        for inbox in self._inboxes:
            last = self.random.randint(0, len(inbox))
            inbox[:] = inbox[:last] + [m for m in inbox[last:] if m[1] != rank]

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self._polls and self._polls[0][0] <= end:
            self.now, rank = heapq.heappop(self._polls)
            if rank in self.dead:
                continue
            awake = self.silent_until.get(rank, 0.0)
            if self.now < awake:
                heapq.heappush(self._polls, (awake, rank))
                continue
            self._poll(rank)
            if self.busy:
                self._poll(rank)
            step = self.ranks[rank].due - self.now
            step = min(self.pace.tick, step) if step > 0 else self.pace.tick
            heapq.heappush(self._polls, (self.now + max(step, self.busy), rank))
        self.now = end

    def _poll(self, rank: int) -> None:
        state = self.ranks[rank]
        arrived = [m for m in self._inboxes[rank] if m[0] <= self.now]
        self._inboxes[rank] = [m for m in self._inboxes[rank] if m[0] > self.now]
        for frame in state.receive([m[1:] for m in arrived], self.now):
            if frame in self.heard[rank]:
                self.twice.append(frame)
            self.heard[rank][frame] = self.now
        state.fail([d for d, when in self._noted.items() if when[rank] <= self.now], self.now)
        for peer, data in state.poll(self.now, lambda peer: 2):
            self.n_messages += 1
            pair = (rank, peer)
            delay = self.random.random() * self.longest_delay
            arrival = max(self.now + delay, self._arrival.get(pair, 0.0))
            self._arrival[pair] = arrival
            copies = 1 + (self.random.random() < self.duplicates)
            self._inboxes[peer] += [(arrival, rank, data)] * copies

    def living(self) -> list[int]:
        return [rank for rank in range(self.size) if rank not in self.dead]


#: Some keep nothing that is confirmed, which the memory of real ranks would hide.
_worlds = st.builds(
    World,
    st.integers(1, 40),
    st.integers(2, 8),
    st.builds(Random, st.integers(0, 10**6)),
    st.sampled_from([Pace(kept_bytes=0), Pace()]),
    st.sampled_from([0.0, 0.2, 3.0]),
    st.sampled_from([0.0, 0.3]),
)


@given(
    world=_worlds,
    deaths=st.lists(st.integers(0, 39), max_size=5),
    silent=st.lists(st.tuples(st.integers(0, 39), st.floats(1, 40)), max_size=4),
)
@settings(max_examples=30, deadline=None, phases=[Phase.explicit, Phase.generate])
def test_the_living_end_with_the_same_frames(world, deaths, silent) -> None:
    random = world.random
    world.silent_until = {rank % world.size: end for rank, end in silent}
    die_at = {rank % world.size: random.random() * 30 for rank in deaths}
    numbers = itertools.count()
    while world.now < 25:
        for rank in world.living():
            if random.random() < 0.3:
                world.publish(rank, b"%d" % next(numbers))
        world.run(random.random())
        for rank in [r for r, when in die_at.items() if when < world.now]:
            if rank not in world.dead and len(world.living()) > 1:
                world.die(rank)
    for rank in world.living():
        world.close(rank)
    world.run(25)
    for rank in [r for r in die_at if r not in world.dead][: len(world.living()) - 1]:
        world.die(rank)  # while ending
    world.run(60)
    living = world.living()
    assert not world.twice
    assert all(world.ranks[rank].settled and world.ranks[rank].agreed for rank in living)
    first = world.heard[living[0]].keys()
    assert all(world.heard[rank].keys() == first for rank in living)
    assert {b"end of %d" % rank for rank in living} <= first


@pytest.mark.parametrize(("size", "radix"), [(64, 2), (50, 2), (64, 8), (30, 30)])
def test_without_trouble_each_frame_is_sent_once_and_takes_few_hops(size: int, radix: int) -> None:
    world = World(size, radix, Random(1), Pace(digest=1e9), longest_delay=0.0)
    born = {}
    for n in range(400):
        rank = world.random.randrange(size)
        frame = b"%d" % n
        born[frame] = world.now
        world.publish(rank, frame)
        world.run(0.02)
    world.run(10)
    hops = n_digits(size, radix)
    for heard in world.heard:
        assert heard.keys() == born.keys()
        ages = [when - born[frame] for frame, when in heard.items()]
        assert max(ages) <= (hops + 1) * world.pace.tick
    assert not world.twice


def test_ranks_that_send_directly_do_not_ask_until_one_dies() -> None:
    world = World(8, 8, Random(1))
    for rank in range(8):
        world.publish(rank, b"%d" % rank)
    world.run(60)
    assert world.n_messages == 8 * 7
    world.die(3)
    world.run(60)
    assert world.n_messages > 8 * 7 + 6 * 7


@pytest.mark.parametrize("radix", [2, 4])
def test_the_last_living_rank_ends_alone(radix: int) -> None:
    world = World(4, radix, Random(1))
    world.publish(0, b"x")
    for rank in (1, 2, 3):
        world.die(rank)
    world.close(0)
    world.run(60)
    assert world.ranks[0].settled


def test_what_arrived_before_a_death_was_noticed_is_not_lost() -> None:
    """Ranks that are busy see the messages of a dead rank and its death at the same time."""
    transports = network(3)
    transports[2].send(change('[1, 2, "study", "s", 0]'))
    living = transports[:2]
    for transport in living:
        transport._mail.failed.add(2)
    assert [len(transport.receive().changes) for transport in living] == [1, 1]
    for transport in [*living, *living]:
        assert not transport.receive().changes
    assert all(transport.agreed for transport in living)


def test_two_messages_of_one_origin_may_be_read_together() -> None:
    sender, receiver = Disseminator(0, 3, 3, Pace()), Disseminator(1, 3, 3, Pace())
    sent = []
    for n in range(3):
        sender.publish([b"%d" % n], float(n))
        sent += [(0, data) for peer, data in sender.poll(float(n), lambda peer: 9) if peer == 1]
    assert receiver.receive(sent[:2], 3.0) == [b"0", b"1"]
    assert receiver.receive([sent[2], sent[1], sent[2]], 3.0) == [b"2"]


def test_a_silent_rank_does_not_hold_up_the_others() -> None:
    world = World(32, 2, Random(0), longest_delay=0.0)
    world.run(5)
    world.silent_until = {16: 60.0}  # half of what rank 0 makes would pass through it
    born = {}
    for n in range(50):
        frame = b"%d" % n
        born[frame] = world.now
        world.publish(0, frame)
        world.run(0.4)
    world.run(20)
    patience = world.pace.patience + (n_digits(32, 2) + 1) * world.pace.tick
    for rank in set(range(32)) - {16}:
        ages = [when - born[frame] for frame, when in world.heard[rank].items()]
        assert len(ages) == 50
        assert max(ages) < patience + world.pace.digest + 5 * world.pace.tick
    world.run(30)
    assert world.heard[16].keys() == born.keys()


def test_confirmed_frames_are_forgotten() -> None:
    world = World(16, 2, Random(0), Pace(kept_bytes=0), longest_delay=0.0)
    most = 0
    for n in range(600):
        world.publish(n % 16, b"%0100d" % n)
        world.run(0.1)
        most = max(most, *(rank.kept_bytes for rank in world.ranks))
    frames_a_second = 10
    assert most < 3 * world.pace.digest * frames_a_second * (100 + 64 + 700)


@pytest.mark.parametrize("silent_until", [{}, {16: 1e9}], ids=["none", "one"])
def test_ranks_that_cannot_poll_while_they_evaluate_repair_and_forget(silent_until: dict) -> None:
    world = World(32, 2, Random(0), Pace(kept_bytes=0), longest_delay=0.0, busy=10.0)
    world.silent_until = silent_until
    for n in range(1200):
        world.publish(n % 16, b"%01000d" % n)
        world.run(0.5)
    # Half of what rank 0 makes would pass through rank 16.
    heard = [len(heard) for rank, heard in enumerate(world.heard) if rank not in silent_until]
    assert min(heard) > 1000
    if not silent_until:  # nobody may forget what a silent neighbour does not confirm
        assert max(rank.kept_bytes for rank in world.ranks) < 400 * 1000


def test_what_is_no_message_is_refused() -> None:
    rank = Disseminator(0, 4, 2, Pace())
    other = Disseminator(1, 4, 2, Pace())
    other.publish([b"x"], 0.0)
    [(_, data), *_] = other.poll(0.0, lambda peer: 1)
    for wrong in (b"", b"hello", data[:-1], data + b"x", b"adbo\xff" + data[5:]):
        with pytest.raises(FormatError):
            rank.receive([(1, wrong)], 0.0)
    assert rank.receive([(1, data)], 0.0) == [b"x"]
