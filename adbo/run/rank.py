"""One rank of a run: it optimizes until there is a reason to stop, and sees its records home."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from optuna.trial import TrialState

from adbo.comm.failover import Evaluations, Survivors
from adbo.comm.listener import Listener
from adbo.core.enqueued import OWN
from adbo.core.history import History
from adbo.core.space import FloatArray
from adbo.core.stopping import EvaluationAbandoned, Interruption, StopReason
from adbo.mirror.owner import MirrorOwner
from adbo.objective.evaluate import Objective, evaluate
from adbo.objective.trial import Trial
from adbo.optimizer.ask import propose
from adbo.run.loop import Transport, work
from adbo.run.state import Progress

#: Shortest and longest sleep, in seconds, between two looks at the network while waiting for
#: others: idle ranks cost next to no CPU, and what comes in is answered soon.
_PAUSES = (1e-4, 2e-2)

#: Evaluations whose durations tell how long the next one takes.
_RECENT = 1000

#: Asks over which the median duration of an ask is taken.
_ASKS = 4096


class FinalTransport(Transport, Protocol):
    """A transport with an end."""

    rank: int
    size: int
    farewells: dict[int, dict[str, Any]]
    gone: set[int]
    may_use_threads: bool

    def leave(self, statistics: Mapping[str, Any]) -> None:
        """Tell every peer that no record of this rank follows."""

    def announce(self, notice: Mapping[str, Any]) -> None:
        """Tell every peer about the death of a rank."""

    def obituaries(self) -> list[dict[str, Any]]:
        """What peers announced since the last call."""

    def part(self) -> None:
        """Wait until all ranks are settled."""

    @property
    def settled(self) -> bool:
        """Whether every living rank has left and every record is with all of them."""


class Rank:
    """One rank in its two stretches of time: until it is stopped, and after.

    Parameters
    ----------
    objective
        The user's function.
    progress
        The run.
    transport
        The way to the peers.
    interruption
        Tells when to stop early.
    keeper
        Keeps the mirror if that falls to this rank.
    """

    def __init__(
        self,
        objective: Objective,
        progress: Progress,
        transport: FinalTransport,
        interruption: Interruption,
        keeper: MirrorOwner,
    ) -> None:
        self._objective = objective
        self._progress = progress
        self._history = progress.history
        self._transport = transport
        self._interruption = interruption
        self._keeper = keeper
        self._mirror_settings = keeper.mirror_settings
        evaluations = Evaluations(self._history, progress.n_before, transport)
        self._survivors = Survivors(evaluations, transport)
        self._listener = Listener(self._receive) if transport.may_use_threads else None
        self._rank = rank = transport.rank
        self._n_evaluations = 0
        self._enqueued = deque(progress.start.enqueued[rank :: progress.n_ranks])
        self._too_late = False  # for another evaluation before the deadline
        self._ask_seconds: deque[float] = deque(maxlen=_ASKS)
        # A resumed run must not repeat the random numbers of the one before.
        seed = np.random.SeedSequence(progress.start.entropy, spawn_key=(rank, progress.n_before))
        ask_seed, trial_seed = seed.spawn(2)
        self._rng = np.random.default_rng(ask_seed)
        self._trial_rng = np.random.default_rng(trial_seed)

    def optimize(self) -> None:
        """Ask, evaluate and broadcast until there is a reason to stop."""
        loop = work(self._history, self._propose, self._transport, self._should_stop)
        try:
            point = next(loop)
            while True:
                point = loop.send(self._evaluate(point))
        except (StopIteration, EvaluationAbandoned):
            pass
        except KeyboardInterrupt:
            self._interruption.request_stop(StopReason.SIGINT)

    def finish(self) -> list[int]:
        """Wait until every record is everywhere and written; return ranks that did not answer.

        The keeper of the mirror leaves last, when all is written, so that the others wait for it
        in their sleep and not in `MPI_Finalize`, which spins.
        """
        self._listen()
        if not self._keeper.is_owner:
            self._leave()
        self._wait(lambda: self._settled or self._keeper.is_owner)
        if self._keeper.is_owner:
            self._wait(lambda: not self._others - self._transport.farewells.keys())
            self._keeper.flush(
                self._mirror_settings.patience
                if self.stopped_early is None
                else self._mirror_settings.interrupted_patience
            )
            self._leave()
            self._wait(lambda: self._settled)
        missing = sorted(self._others - self._transport.farewells.keys())
        if not missing and not self._transport.gone:
            self._transport.part()
        return missing

    @property
    def _others(self) -> set[int]:
        """The other ranks that are alive."""
        return set(range(self._progress.n_ranks)) - self._transport.gone - {self._rank}

    @property
    def _settled(self) -> bool:
        return self._transport.settled and self._survivors.agreed

    def _propose(self, history: History) -> FloatArray:
        start = time.perf_counter()
        point = propose(history, self._progress.settings.kappa, self._rng)
        self._ask_seconds.append(time.perf_counter() - start)
        return point

    def _evaluate(self, point: FloatArray) -> Any:
        numbering = self._progress.start.numbering
        seq = numbering.first_seq + self._n_evaluations
        number = numbering.number(self._rank, seq)
        enqueued = self._enqueued.popleft() if self._enqueued else self._keeper.next_enqueued()
        trial = Trial(
            self._history.space, point, number, time.time(), self._trial_rng, enqueued or OWN
        )
        with contextlib.nullcontext() if self._listener is None else self._listener.away():
            evaluation = evaluate(self._abandonable, trial, (self._rank, seq), time.time)
        self._n_evaluations += 1
        return evaluation

    def _abandonable(self, trial: Any) -> Any:
        with self._interruption.abandonable():
            return self._objective(trial)

    def _receive(self) -> int:
        """Take in what has arrived; return how many evaluations were new."""
        news = self._history.extend(self._transport.receive())
        self._listen()
        return news

    @property
    def stopped_early(self) -> StopReason | None:
        """Why the study has not all its trials, or not all are here, if so."""
        reason = self._interruption.reason
        if reason is None and self._too_late:
            reason = self._interruption.deadline_reason
        is_signal = reason is not None and reason.is_signal
        return None if self._complete and not is_signal else reason

    @property
    def _complete(self) -> bool:
        n_trials = self._progress.settings.n_trials
        return n_trials is not None and len(self._history) >= n_trials

    def _should_stop(self) -> bool:
        self._listen()
        if self._complete or self._interruption.check() is not None:
            return True
        left = self._interruption.seconds_left
        self._too_late = left is not None and left < usual_duration(self._history)
        return self._too_late

    def _listen(self) -> None:
        """Attend to what peers said about themselves and the dead."""
        self._survivors.attend()
        if self._survivors.lowest == self._rank:
            self._keeper.take_over()
        # A rank that was told to stop tells the others by its farewell.
        for statistics_ in self._transport.farewells.values():
            if statistics_["reason"] is not None:
                self._interruption.request_stop(StopReason[statistics_["reason"]])

    def _leave(self) -> None:
        if self._rank in self._transport.farewells:
            return
        reason = self._interruption.reason
        self._transport.leave(
            {
                "rank": self._rank,
                "reason": None if reason is None else reason.name,
                "ask_seconds": statistics.median(self._ask_seconds or [0.0]),
                "evaluations": self._n_evaluations,
            }
        )

    def _wait(self, done: Callable[[], bool]) -> None:
        """Receive until done, or, on an interrupted keeper, until patience is over."""
        shortest, longest = _PAUSES
        pause = shortest
        while not done():
            news = self._receive()
            since = self._interruption.since
            patience = self._mirror_settings.interrupted_patience
            patient = since is None or time.monotonic() - since < patience
            if self._keeper.is_owner and not patient:
                return
            pause = shortest if news else min(2 * pause, longest)
            time.sleep(pause)


def usual_duration(history: History) -> float:
    """The median of the durations of recent complete evaluations, in seconds; 0 without any.

    An evaluation that has less time left is not begun: it would rather not finish. Of N(60, 20) s
    and a run of half an hour, this begins 0.13 evaluations per rank in vain instead of 1, and
    finishes 29.4 instead of 29.6 (exponential durations: 0.49, and 29.9 instead of 30.0).
    """
    recent = slice(max(0, len(history) - _RECENT), len(history))
    complete = history.column("state")[recent] == TrialState.COMPLETE.value
    seconds = (history.column("finished")[recent] - history.column("started")[recent])[complete]
    return float(np.median(seconds)) if seconds.size else 0.0
