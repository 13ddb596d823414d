"""The loop every rank runs: ask, evaluate, broadcast.

Evaluating is the only thing that takes time, so it is the loop's only suspension point. What
evaluating means, what time it is and how records travel are the driver's affair: the same
generator runs under MPI, in one process and on a virtual clock.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Protocol

from adbo.core.evaluation import Batch, Evaluation, to_batch
from adbo.core.history import History
from adbo.core.space import FloatArray


class Transport(Protocol):
    """How the records of this rank reach its peers, and theirs this rank. Never blocks."""

    def broadcast(self, evaluation: Evaluation) -> None:
        """Send one evaluation of this rank to every peer."""

    def receive(self) -> Iterable[Batch]:
        """Everything that has arrived since the last call."""


def work(
    history: History,
    propose: Callable[[History], FloatArray],
    transport: Transport,
    stop: Callable[[], bool],
) -> Generator[FloatArray, Evaluation, None]:
    """Ask, evaluate, broadcast until told to stop.

    Parameters
    ----------
    history
        What this rank knows; everything that has arrived is in it before each ask.
    propose
        The next point, as internal values ``(d,)``, from the history.
    transport
        The way to the peers.
    stop
        Asked before every ask.

    Yields
    ------
    FloatArray
        A point to evaluate; the driver sends back its evaluation.
    """
    while True:
        history.extend(transport.receive())
        if stop():
            return
        evaluation = yield propose(history)
        history.extend([to_batch(evaluation)])
        transport.broadcast(evaluation)
