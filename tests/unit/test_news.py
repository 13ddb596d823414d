"""The model of arrival times is that of ranks which exchange messages."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from adbo.comm.dissemination import Disseminator
from adbo.comm.pace import Pace
from adbo.simulation.news import MessageCosts, News

TRANSIT = 0.001
PACE = Pace(digest=1e9)


def _exchanged(size: int, phases: np.ndarray, born: dict[bytes, tuple[float, int]]) -> dict:
    """Return when each rank can receive each frame, by exchanging messages tick by tick."""
    ranks = [Disseminator(rank, size, 2, PACE) for rank in range(size)]
    inboxes: list[list[tuple[float, int, bytes]]] = [[] for _ in ranks]
    arrived: dict[tuple[bytes, int], float] = {}
    waiting = sorted((when, rank, frame) for frame, (when, rank) in born.items())
    last = waiting[-1][0] + size
    ticks = sorted(
        (phase + n * PACE.tick, rank)
        for rank, phase in enumerate(phases)
        for n in range(int(last / PACE.tick))
    )
    for now, rank in ticks:
        while waiting and waiting[0][0] <= now:
            _, maker, frame = waiting.pop(0)
            ranks[maker].publish([frame], now)
        for message in [m for m in inboxes[rank] if m[0] <= now]:
            inboxes[rank].remove(message)
            for frame in ranks[rank].receive([message[1:]], now):
                arrived[frame, rank] = message[0]
        ranks[rank].due = now  # exactly one tick later, whatever the rounding
        for peer, data in ranks[rank].poll(now, lambda peer: 1):
            inboxes[peer].append((now + TRANSIT, rank, data))
    return arrived


@pytest.mark.parametrize("size", [64, 50])
def test_the_model_agrees_with_ranks_that_exchange_messages(size: int) -> None:
    random = Random(0)
    phases = np.array([random.random() * PACE.tick for _ in range(size)])
    born = {b"%d" % n: (1 + random.random() * 3, random.randrange(size)) for n in range(20)}
    arrived = _exchanged(size, phases, born)
    assert len(arrived) == 20 * (size - 1)
    frames, ranks = zip(*arrived, strict=True)
    news = News(size, phases, PACE, MessageCosts(transit=TRANSIT))
    expected = news.arrival(
        np.array([born[frame][0] for frame in frames]),
        np.array([born[frame][1] for frame in frames]),
        np.array(ranks),
    )
    assert np.allclose(list(arrived.values()), expected)


def test_messages_are_counted() -> None:
    random = np.random.default_rng(0)
    many = News(4096, random.random(4096) / 2)
    assert 20 < many.messages(1.0) < 12 * 2 + 2
    # Where news are rare, each record takes one message to each rank, less those that meet.
    assert News(64, random.random(64) / 2, Pace(digest=1e9)).messages(1e-6) == pytest.approx(
        63e-6, rel=1e-3
    )
    assert many.share(1.0) > many.share(1 / 60) > 0
