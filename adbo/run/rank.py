"""One rank of a run: it optimizes until it must stop, then drains until all is delivered."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from optuna.trial import TrialState

from adbo.comm.background import BackgroundReceiver
from adbo.comm.backoff import Backoff
from adbo.comm.protocols import Transport
from adbo.core.allowed import NotAllowedError
from adbo.core.enqueued import OWN, Enqueued
from adbo.core.evaluation import Batch, Evaluation, to_batch
from adbo.core.history import History
from adbo.core.leftover import Leftover
from adbo.core.optuna_trials import ENQUEUED, STUDY_ATTRS
from adbo.core.rungs import Report
from adbo.core.space import REMEDY
from adbo.core.wire import report
from adbo.interruption.stopping import EvaluationAbandoned, Interruption, StopReason
from adbo.mirror.owner import MirrorOwner
from adbo.objective.evaluate import Objective, evaluate
from adbo.objective.trial import DEAD_ENDS, RankStudy, Trial
from adbo.objective.trial_server import TrialServer
from adbo.optimizer.ask import Proposal, propose
from adbo.optimizer.settings import with_strategies
from adbo.run.ends import ENDS, Ends, Pace
from adbo.run.loop import work
from adbo.run.pruning import make_pruner
from adbo.run.state import RunState

#: The next evaluation is expected to take the median duration of this number of latest ones.
_RECENT = 1000

#: A report waits at most this number of seconds for the thread that exchanges messages.
_REPORT_SECONDS = 0.1

#: All ranks together leave at most this number of enqueued trials: each rank is told of all.
_MOST_LEFT = 10_000

#: The summary reports the median duration of this number of latest asks.
_ASKS = 4096


class Rank:
    """One rank, from its first ask to its last message; also its loop's `Exchange`.

    Parameters
    ----------
    objective
        The user's function.
    state
        The run.
    transport
        The way to the peers.
    interruption
        Tells when to stop early.
    owner
        Keeps the mirror, if that is this rank's duty.
    """

    def __init__(
        self,
        objective: Objective,
        state: RunState,
        transport: Transport,
        interruption: Interruption,
        owner: MirrorOwner,
    ) -> None:
        self._objective = objective
        self._state = state
        self._history = state.history
        self._transport = transport
        self._interruption = interruption
        self._owner = owner
        self._background = (
            BackgroundReceiver(self._receive, lambda: transport.seconds_until_due)
            if transport.may_use_threads
            else None
        )
        self._rank = rank = transport.rank
        self._unsent: deque[Report] = deque()  # of the running trial
        pruner = make_pruner(state.settings, self._history, self._publish)
        start = state.start
        self._allowed = state.settings.allowed
        self._study = RankStudy(
            self._history, start.study_name, start.study_attrs, pruner, self._allowed
        )
        self._server = TrialServer(self._study)
        #: What a callback raised, which ends the run.
        self.callback_error: BaseException | None = None
        #: One line about a parameter of the objective that contradicts the study, or None.
        self.contradiction: str | None = None
        self._n_old_contradictions = len(self._history.space.contradictions)
        self._n_evaluations = 0
        self._enqueued = deque(state.start.enqueued[rank :: state.n_ranks])
        self._unfinished: Enqueued | None = None  # what was given with the running trial
        self._too_late = False  # to finish another evaluation before the deadline
        self._ends = Ends(state)
        self._end: StopReason | None = None  # an end that follows from the history of some rank
        self._pace = Pace()
        self._ask_seconds: deque[float] = deque(maxlen=_ASKS)
        # No job must repeat the random numbers of another one.
        job = state.start.job.number
        seed = np.random.SeedSequence(state.start.entropy, spawn_key=(rank, job))
        ask_seed, trial_seed = seed.spawn(2)
        self._rng = np.random.default_rng(ask_seed)
        self._trial_rng = np.random.default_rng(trial_seed)
        self._optimizer_settings = with_strategies(state.settings.strategies)

    @property
    def study_attrs(self) -> dict[str, Any]:
        """The user attributes of the study, as this rank's objective and callbacks see them."""
        return self._study.study.user_attrs

    def optimize(self) -> None:
        """Ask, evaluate and broadcast until there is a reason to stop."""
        loop = work(self._history, self._propose, self, self._should_stop)
        try:
            proposal = next(loop)
            while True:
                proposal = loop.send(self._evaluate(proposal))
        except (StopIteration, EvaluationAbandoned):
            pass
        except NotAllowedError as error:
            self._contradict(str(error))
        except KeyboardInterrupt:
            self._interruption.request_stop(StopReason.SIGINT)
        finally:
            self._server.close()
            if self._background is not None:
                self._background.stop()

    def finish(self) -> list[int]:
        """Drain until all records are delivered and written; return ranks that did not answer.

        The mirror owner leaves last, when everything is written. So the others wait for it
        asleep, and not in `MPI_Finalize`, which keeps a processor busy.
        """
        self._attend()
        if not self._owner.is_owner:
            self._leave()
        self._wait(lambda: self._transport.settled or self._owner.is_owner)
        if self._owner.is_owner:
            self._wait(lambda: not self._silent and self._transport.agreed)
            farewells = self._transport.farewells.values()
            leftovers = [*(f["leftover"] for f in farewells), self._leftover()]
            self._owner.flush(self._patience, [Leftover(*leftover) for leftover in leftovers])
            self._leave()
            self._wait(lambda: self._transport.settled)
        missing = sorted(self._silent)
        if not missing and not self._transport.failed:
            self._transport.barrier()
        return missing

    def broadcast(self, evaluation: Evaluation) -> None:
        """Send one evaluation of this rank to every peer, and then call the callbacks."""
        self._pace.end(evaluation.state)
        self._unsent.clear()  # the record has them
        self._transport.broadcast(evaluation)
        self._call_back()

    def receive(self) -> list[Batch]:
        """Return what has arrived from peers or from other jobs since the last call.

        The reports of the running trial are sent first, those of other ranks are noted.
        """
        while self._unsent:
            self._transport.send(report(self._unsent.popleft()))
        received = self._transport.receive()
        for content in received.reports:
            if self._study.halving is not None:
                self._study.halving.rungs.add(content)
        news = self._owner.news()
        self._transport.broadcast(*news)
        return [*received.batches, *map(to_batch, news)]

    @property
    def stopped_early(self) -> StopReason | None:
        """Why the study does not have all its trials, or None if it has."""
        reason = self._interruption.reason
        if reason is not None and reason.is_signal:
            return reason
        if self._complete:
            return None
        if self._end is None and reason is None and self._too_late:
            return self._interruption.deadline_reason
        return self._end or reason

    @property
    def _complete(self) -> bool:
        n_trials = self._state.settings.n_trials
        return n_trials is not None and len(self._history) >= n_trials

    @property
    def _silent(self) -> set[int]:
        """The other living ranks that have not left yet."""
        others = set(range(self._state.n_ranks)) - self._transport.failed - {self._rank}
        return others - self._transport.farewells.keys()

    @property
    def _is_lowest(self) -> bool:
        """Whether all ranks before this one have died."""
        return self._transport.failed.issuperset(range(self._rank))

    def _should_stop(self) -> bool:
        """Return whether to begin no further evaluation; wait first, where that is due."""
        self._attend()
        backoff = Backoff()
        while not self._must_stop():
            if self._pace.seconds_left <= 0:
                return False
            backoff.pause()
            self._receive()
        return True

    def _must_stop(self) -> bool:
        if self._study.is_stopped:
            self._end = self._end or StopReason.STUDY
        if self.contradiction is not None or self._complete:
            return True
        self._end = self._end or self._ends.reason()
        if self._end is not None or self._interruption.check() is not None:
            return True
        left = self._interruption.seconds_left
        self._too_late = left is not None and left < usual_duration(self._history)
        return self._too_late

    def _propose(self, history: History) -> Proposal:
        start = time.perf_counter()
        kappa, part = self._state.settings.kappa, (self._rank, self._state.n_ranks)
        settings = self._optimizer_settings
        proposal = propose(history, kappa, self._rng, settings, part, self._allowed)
        self._ask_seconds.append(time.perf_counter() - start)
        self._pace.begin()
        return proposal

    def _evaluate(self, proposal: Proposal) -> Evaluation:
        job = self._state.start.job
        seq = job.first_seq + self._n_evaluations
        number = job.trial_number(self._rank, seq)
        self._enqueued.extend(self._study.take_enqueued())
        enqueued = self._enqueued.popleft() if self._enqueued else self._owner.next_enqueued()
        self._unfinished = enqueued
        point, origin = proposal if enqueued is None else (proposal.point, 0)
        if self._study.halving is not None:
            self._study.halving.begin(self._rank, seq)
        trial = self._study.begin(point, number, time.time(), self._trial_rng, enqueued or OWN)
        with contextlib.nullcontext() if self._background is None else self._background.lent():
            evaluation = evaluate(self._abandonable, trial, (self._rank, seq), time.time)
            left = {False: self._state.settings.retries, True: DEAD_ENDS}
            while self._must_restart(trial, evaluation, left[self._study.is_dead_end]):
                left[self._study.is_dead_end] -= 1
                trial = self._study.restart()
                evaluation = evaluate(self._abandonable, trial, (self._rank, seq), time.time)
        if trial.contradiction is not None and self._n_evaluations == 0:
            # The objective is not that of the study: nothing of it is worth a trial.
            self._contradict(trial.contradiction)
            raise EvaluationAbandoned
        self._n_evaluations += 1
        self._unfinished = None
        if changes := self._study.storage.take_changes():  # also of callbacks and failed attempts
            system_attrs = {**evaluation.extras.system_attrs, STUDY_ATTRS: changes}
            extras = replace(evaluation.extras, system_attrs=system_attrs)
            evaluation = replace(evaluation, extras=extras)
        return replace(evaluation, origin=origin)

    def _must_restart(self, trial: Trial, evaluation: Evaluation, left: int) -> bool:
        """Return whether to evaluate a trial again, if so many attempts are left."""
        if trial.contradiction is not None:
            return False
        has_failed = evaluation.state is TrialState.FAIL
        return left > 0 and (has_failed or self._study.is_dead_end)

    def _publish(self, content: Report) -> None:
        """Send a report of the running trial, and receive what peers reported before.

        The thread of the objective does not use the transport, since a signal may interrupt it.
        """
        if self._transport.size == 1:
            return
        self._unsent.append(content)
        if self._background is not None:
            self._background.hurry(_REPORT_SECONDS)

    def _call_back(self) -> None:
        """Call the callbacks with the study and the trial, as Optuna does."""
        if not self._state.settings.callbacks:
            return
        trial = self._study.storage.latest_trial()  # nothing is received between two evaluations
        try:
            for callback in self._state.settings.callbacks:
                self._interruption.call(callback, self._study.study, trial)
        except (EvaluationAbandoned, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.callback_error = error
            self._end = self._end or StopReason.CALLBACK

    def _contradict(self, text: str) -> None:
        """Note that the objective contradicts the study, which ends the run on all ranks."""
        self.contradiction = self.contradiction or text

    def _abandonable(self, trial: Any) -> Any:
        return self._interruption.call(self._objective, trial)

    def _receive(self) -> int:
        """Add what has arrived to the history; return the number of new evaluations."""
        n_new = self._history.extend(self.receive())
        self._attend()
        return n_new

    def _attend(self) -> None:
        """React to what peers said about themselves and about failed ranks."""
        if self._is_lowest:
            self._owner.take_over()
        for text in self._history.space.contradictions[self._n_old_contradictions :]:
            # Two ranks, or jobs, met a new parameter at the same time.
            self._contradict(f"{text}: {REMEDY}")
        # A rank that was told to stop tells the others by its farewell.
        for farewell in self._transport.farewells.values():
            if farewell["contradiction"] is not None:
                self._contradict(farewell["contradiction"])
            if farewell["reason"] is None:
                continue
            reason = StopReason[farewell["reason"]]
            if reason in ENDS:
                self._end = self._end or reason
            else:
                self._interruption.request_stop(reason)

    def _leave(self) -> None:
        if self._rank in self._transport.farewells:
            return
        reason = self._interruption.reason or self._end
        self._transport.leave(
            {
                "rank": self._rank,
                "reason": None if reason is None else reason.name,
                "contradiction": self.contradiction,
                "ask_seconds": statistics.median(self._ask_seconds or [0.0]),
                "evaluations": self._n_evaluations,
                "leftover": self._leftover(),
            }
        )

    def _leftover(self) -> Leftover:
        """Return what no trial of this rank carries to the study, once."""
        if self._state.settings.storage is None:
            return Leftover({}, [], 0)
        waiting = [self._unfinished, *self._enqueued, *self._study.take_enqueued()]
        self._unfinished, self._enqueued = None, deque()
        new = [e for e in waiting if e is not None and ENQUEUED not in e.system_attrs]
        most = max(1, _MOST_LEFT // self._state.n_ranks)
        points = [(one.fixed, one.user_attrs) for one in new[:most]]
        return Leftover(self._study.storage.take_changes(), points, max(0, len(new) - most))

    def _patience(self) -> float:
        """Return the seconds without progress after which the database is given up."""
        settings = self._owner.mirror_settings
        is_interrupted = self._interruption.check() is not None
        reason = self.stopped_early
        is_end = not is_interrupted and (reason is None or reason in ENDS)
        return settings.patience if is_end else settings.interrupted_patience

    def _wait(self, done: Callable[[], bool]) -> None:
        """Receive until done; on the owner of an interrupted run, until patience is over."""
        backoff = Backoff()
        while not done():
            if self._receive():
                backoff.reset()
            since = self._interruption.since
            patience = self._owner.mirror_settings.interrupted_patience
            patient = since is None or time.monotonic() - since < patience
            if self._owner.is_owner and not patient:
                return
            backoff.pause()


def usual_duration(history: History) -> float:
    """Return the median duration of recent complete evaluations, in seconds; 0 without any.

    An evaluation that has less time left is not begun, since it would hardly finish.
    """
    recent = slice(max(0, len(history) - _RECENT), len(history))
    complete = history.column("state")[recent] == TrialState.COMPLETE.value
    seconds = (history.column("finished")[recent] - history.column("started")[recent])[complete]
    return float(np.median(seconds)) if seconds.size else 0.0
