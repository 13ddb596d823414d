"""The loop that every rank runs: ask, evaluate, broadcast.

Evaluating is the only step that takes time, so it is the only point at which the loop is
suspended. The driver decides what evaluating means, what time it is and how evaluations travel:
the same generator runs under MPI, in one process and on a virtual clock.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

from adbo.comm.protocols import Exchange
from adbo.core.evaluation import Evaluation, to_batch
from adbo.core.history import History
from adbo.optimizer.ask import Proposal


def work(
    history: History,
    propose: Callable[[History], Proposal],
    exchange: Exchange,
    stop: Callable[[], bool],
) -> Generator[Proposal, Evaluation, None]:
    """Ask, evaluate and broadcast until told to stop.

    Parameters
    ----------
    history
        What this rank knows. Before each ask, everything that has arrived is added.
    propose
        Returns the next point from the history.
    exchange
        The way to the peers.
    stop
        Called before every ask; the loop ends if it returns True.

    Yields
    ------
    Proposal
        A point to evaluate; the driver sends back its evaluation.
    """
    while True:
        history.extend(exchange.receive())
        if stop():
            return
        evaluation = yield propose(history)
        history.extend([to_batch(evaluation)])
        exchange.broadcast(evaluation)
