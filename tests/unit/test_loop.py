"""The loop, alone and among peers in one process."""

from __future__ import annotations

import numpy as np
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from adbo.comm.endpoint import Endpoint
from adbo.comm.in_process import network
from adbo.core.evaluation import Batch, Evaluation, Layout, to_batch
from adbo.core.history import History
from adbo.optimizer.ask import Proposal, propose
from adbo.run.loop import work

LAYOUT = Layout({"x": FloatDistribution(-5, 5)})
NOWHERE = Proposal(np.zeros(1), 0)


def _evaluation(rank: int, seq: int, x: float = 0.0) -> Evaluation:
    return Evaluation(rank, seq, TrialState.COMPLETE, x * x, 0.0, 1.0, LAYOUT, (x,))


class Peers:
    """The exchange of a rank whose transport carries nothing but evaluations."""

    def __init__(self, transport: Endpoint) -> None:
        self.broadcast = transport.broadcast
        self._transport = transport

    def receive(self) -> list[Batch]:
        return self._transport.receive().batches


class Script:
    """An exchange that returns prepared batches, and records what is sent."""

    def __init__(self, arriving: list[list[Evaluation]]) -> None:
        self.arriving = arriving
        self.sent: list[Evaluation] = []

    def broadcast(self, evaluation: Evaluation) -> None:
        self.sent.append(evaluation)

    def receive(self):
        return [to_batch(e) for e in (self.arriving.pop(0) if self.arriving else [])]


def test_everything_that_arrived_is_known_before_each_ask() -> None:
    transport = Script([[_evaluation(1, 0)], [], [_evaluation(1, 1), _evaluation(2, 0)]])
    history = History()
    sizes: list[int] = []
    loop = work(history, lambda h: sizes.append(len(h)) or NOWHERE, transport, lambda: False)
    next(loop)
    for seq in range(2):
        loop.send(_evaluation(0, seq))
    # One from a peer; then the rank's own; then its own and two from peers.
    assert sizes == [1, 2, 5]
    assert [e.seq for e in transport.sent] == [0, 1]


def test_stop_is_called_after_receiving_and_before_each_ask() -> None:
    transport = Script([[], [_evaluation(1, 0)]])
    history = History()
    loop = work(history, lambda h: NOWHERE, transport, lambda: len(history) >= 2)
    next(loop)
    try:
        loop.send(_evaluation(0, 0))
    except StopIteration:
        stopped = True
    assert stopped
    assert len(history) == 2
    assert len(transport.sent) == 1


def test_a_network_of_ranks_agrees_in_the_end() -> None:
    transports = network(5)
    histories = [History() for _ in transports]
    rngs = [np.random.default_rng(rank) for rank in range(5)]
    loops = [
        work(h, lambda k, rng=rng: propose(k, 1.96, rng), Peers(t), lambda h=h: len(h) >= 60)
        for h, t, rng in zip(histories, transports, rngs, strict=True)
    ]
    points = dict(enumerate(next(loop) for loop in loops))
    seqs = [0] * 5
    order = np.random.default_rng(0)
    while points:
        rank = int(order.choice(list(points)))
        point = points[rank].point
        x = float(point[0]) if len(point) else 1.0
        try:
            points[rank] = loops[rank].send(_evaluation(rank, seqs[rank], x))
        except StopIteration:
            del points[rank]
            transports[rank].leave({"rank": rank})
        seqs[rank] += 1
    for _ in range(3):  # what is sent, and twice that a rank knows everything
        for history, transport in zip(histories, transports, strict=True):
            history.extend(transport.receive().batches)
    assert all(transport.settled for transport in transports)
    names = [
        {(e.rank, e.seq, e.value, e.internal) for e in history.evaluations()}
        for history in histories
    ]
    assert len(names[0]) == sum(seqs)
    assert all(known == names[0] for known in names)
