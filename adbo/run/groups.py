"""Several ranks for each evaluation: one of a group optimizes, all of it evaluate together.

The leader tells its members of a trial; every member calls the objective with an equal trial, so
that all suggest the same values, and answers how that went. This module knows no MPI: how a group
talks is passed in.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

import optuna
from optuna.trial import BaseTrial

from adbo.core.stopping import EvaluationAbandoned, Interruption
from adbo.objective.evaluate import Objective, describe_error
from adbo.objective.trial import Trial

#: Longest sleep, in seconds, between two looks for a word of the group: members that wait cost
#: next to no CPU, at the price of this delay at the start of an evaluation.
_PAUSE = 2e-3

#: Seconds for which a leader that was told to stop waits for its members.
_PATIENCE = 5.0


class Channel(Protocol):
    """How a group talks; nothing of it blocks."""

    comm: Any
    rank: int
    size: int

    def tell(self, word: object) -> None:
        """Send a word to every other rank of the group."""

    def answer(self, word: object) -> None:
        """Send a word to the leader."""

    def hear(self) -> tuple[int, Any] | None:
        """The next word and the rank it is from, if one has arrived."""


class Led:
    """An objective that the leader's whole group evaluates.

    Parameters
    ----------
    objective
        The user's function; called on every rank of the group. The trial's ``comm`` is the
        communicator of the group.
    channel
        The way to the members.
    """

    def __init__(self, objective: Objective, channel: Channel) -> None:
        self._objective = objective
        self._channel = channel

    def __call__(self, trial: BaseTrial) -> Any:
        """Evaluate together; the leader's value counts.

        Raises
        ------
        optuna.TrialPruned
            If any rank of the group raised it.
        RuntimeError
            If the objective failed on any other rank.
        """
        assert isinstance(trial, Trial)
        self._channel.tell(("trial", trial.order()))
        trial.comm = self._channel.comm
        try:
            value = self._objective(trial)
        except Exception:
            self._gather()
            raise
        reasons = self._gather()
        if any(reason == "pruned" for _, reason in reasons):
            raise optuna.TrialPruned
        for rank, reason in reasons:
            if reason is not None:
                raise RuntimeError(f"rank {rank} of the group: {reason}")
        return value

    def dismiss(self, status: int) -> None:
        """Tell the members that there is no more to do, and wait until they know.

        Parameters
        ----------
        status
            What they shall exit with.
        """
        self._channel.tell(("done", status))
        deadline = time.monotonic() + _PATIENCE
        left = self._channel.size - 1
        while left and time.monotonic() < deadline:
            heard = self._channel.hear()
            if heard is None:
                time.sleep(_PAUSE)
            elif heard[1] == "bye":
                left -= 1

    def _gather(self) -> list[tuple[int, str | None]]:
        reasons: list[tuple[int, str | None]] = []
        while len(reasons) < self._channel.size - 1:
            heard = self._channel.hear()
            if heard is None:
                time.sleep(_PAUSE)
            else:
                reasons.append(heard)
        return reasons


def follow(objective: Objective, channel: Channel, interruption: Interruption) -> int:
    """Evaluate with the leader until dismissed.

    Parameters
    ----------
    objective
        The user's function.
    channel
        The way to the leader.
    interruption
        Breaks off an evaluation.

    Returns
    -------
    int
        The status to exit with.
    """
    while True:
        heard = channel.hear()
        if heard is None:
            time.sleep(_PAUSE)
            continue
        kind, order = heard[1]
        if kind == "done":
            channel.answer("bye")
            return int(order)
        trial = Trial(*order)
        trial.comm = channel.comm
        channel.answer(_reason(objective, trial, interruption.abandonable))


def _reason(objective: Objective, trial: Trial, abandonable: Callable[[], Any]) -> str | None:
    """Why this rank's part of an evaluation failed, if it did."""
    try:
        with abandonable():
            objective(trial)
    except optuna.TrialPruned:
        return "pruned"
    except EvaluationAbandoned:
        return "broken off"
    except (Exception, SystemExit) as error:
        return describe_error(error)
    return None
