"""One rank's part in studies that all ranks change.

A trial belongs to one rank at a time, the one that runs it, and no other rank changes it. So the
ranks need not agree on anything. This module knows no MPI and no storage of Optuna.
"""

from __future__ import annotations

import json
import pickle
import threading
import time
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from adbo.comm.background import BackgroundSender
from adbo.comm.backoff import Backoff
from adbo.comm.in_process import network
from adbo.comm.protocols import Transport
from adbo.core.trial_json import encode_trial
from adbo.core.wire import change as change_frame
from adbo.replicated.replica import Key, Replica, ReplicatedStudy, ReplicatedTrial

#: Kinds of changes that are sent at once. Others, such as a parameter, wait for the background
#: sender, so that the ten or so changes of a trial need only two messages.
_URGENT = frozenset({"state", "report", "study", "delete"})


class Replicator:
    """A replica of all studies, and its exchange with the replicas of other ranks.

    Parameters
    ----------
    transport
        The way to the peers.
    """

    def __init__(self, transport: Transport) -> None:
        self.rank = transport.rank
        self.size = transport.size
        self.replica = Replica()
        self.lock = threading.RLock()
        self.closed = False
        self._transport = transport
        self._outbox: list[str] = []
        self._background = BackgroundSender(self._exchange)
        self._introduced: set[Key] = set()  # studies that this rank has told the others of
        self._abandoned: set[int] = set()  # failed ranks whose running trials were failed here
        self._n_trials: dict[Key | None, int] = {}  # made by this rank, by study; None: in all
        self._n_waiting = 0
        self._is_drained = False

    def __getstate__(self) -> bytes:
        """Return all that is known, for a copy without peers."""
        not_copied = ("lock", "_transport", "_background")
        with self.lock:  # the background sender must not change it meanwhile
            return pickle.dumps({n: v for n, v in self.__dict__.items() if n not in not_copied})

    def __setstate__(self, state: bytes) -> None:
        self.__dict__.update(pickle.loads(state))
        self.lock = threading.RLock()
        self._transport = network(1)[0]
        self._background = BackgroundSender(self._exchange)

    def start_background(self) -> None:
        """Exchange changes in the background as well, if MPI allows it."""
        if self._transport.may_use_threads:
            self._background.start()

    def receive(self) -> None:
        """Apply the changes that have arrived.

        Raises
        ------
        RuntimeError
            If ranks created a study with different directions.
        """
        self._background.check()
        self._apply_arrived()
        if self.replica.conflict is not None:
            raise RuntimeError(self.replica.conflict)

    def change(self, key: Key, kind: str, *arguments: Any) -> None:
        """Make a change on this rank, and send it to all others.

        Raises
        ------
        RuntimeError
            After `close`.
        TypeError
            If the change cannot be written as JSON.
        """
        if self.closed:
            raise RuntimeError("the storage is closed: it can only be read")
        text = json.dumps([self.replica.clock + 1, self.rank, kind, *key, *arguments])
        self.replica.apply(json.loads(text))  # exactly what the others will apply
        self._outbox.append(text)
        if kind in _URGENT or not self._background.is_alive():
            self._flush()
        else:
            self._background.wake()
        if kind == "study":
            self._introduced.add(key)

    def change_study(self, study: ReplicatedStudy, kind: str, *arguments: Any) -> None:
        """Change something within a study."""
        if study.key not in self._introduced:
            # A peer may receive this change before it receives the creation by another rank.
            self.change(study.key, "study", [direction.name for direction in study.directions])
        self.change(study.key, kind, *arguments)

    def change_trial(self, replicated: ReplicatedTrial, kind: str, *arguments: Any) -> None:
        """Change a trial of this rank.

        Raises
        ------
        RuntimeError
            If the trial belongs to another rank.
        """
        owner = self._owner(replicated)
        if owner != self.rank:
            raise RuntimeError(
                f"trial {replicated.trial.number} belongs to rank {owner}: only that rank can"
                " change it"
            )
        arguments = (replicated.trial._trial_id, replicated.version + 1, *arguments)
        self.change_study(replicated.study, kind, *arguments)

    def add_trial(self, study: ReplicatedStudy, trial: FrozenTrial) -> int:
        """Add a trial with the next id and number of this rank; return its id."""
        n_all, n_here = self._n_trials.get(None, 0), self._n_trials.get(study.key, 0)
        trial_id, number = (n * self.size + self.rank for n in (n_all, n_here))
        runner = self.rank
        if trial.state is TrialState.WAITING:
            runner = self._next_runner()
        fields = encode_trial(trial)
        self.change_study(study, "trial", trial_id, 0, number, runner, fields)
        self._n_trials[None], self._n_trials[study.key] = n_all + 1, n_here + 1
        self._n_waiting += trial.state is TrialState.WAITING
        return trial_id

    def start_trial(self, replicated: ReplicatedTrial, time: str | None) -> bool:
        """Start a waiting trial; return False if another rank must do so."""
        trial = replicated.trial
        if trial.state is not TrialState.WAITING or self._owner(replicated) != self.rank:
            return False
        # Send the whole trial: peers may not have received it yet from the rank that made it.
        fields = {**encode_trial(trial), "state": "RUNNING", "start": time}
        self.change_trial(replicated, "trial", trial.number, self.rank, fields)
        return True

    def close(self, timeout: float | None) -> list[int]:
        """Send no more, and wait until every rank has everything.

        See `ReplicatedStorage.close`.
        """
        self._background.stop()
        with self.lock:
            if not self.closed:
                self.closed = True
                self._flush()
                self._transport.leave({"rank": self.rank})
            if not self._is_drained:
                self._drain(timeout)
            missing = set(range(self._transport.size)) - self._transport.farewells.keys()
        return sorted(missing - self._transport.failed)

    def _apply_arrived(self) -> int:
        """Apply the changes that have arrived; return their number."""
        with self.lock:
            received = self._transport.receive()
            for change in received.changes:
                self.replica.apply(change)
            new = self._transport.failed - self._abandoned
            if new and self._transport.agreed:
                for rank in new:
                    self.replica.abandon(rank)
                self._abandoned |= new
            return len(received.changes)

    def _flush(self) -> None:
        """Send the changes in the outbox."""
        texts, self._outbox = self._outbox, []
        if texts:
            self._transport.send(*map(change_frame, texts))

    def _exchange(self) -> None:
        """Do the work of the background sender."""
        with self.lock:
            self._flush()
            self._apply_arrived()

    def _owner(self, replicated: ReplicatedTrial) -> int:
        """Return the one rank that may change a trial.

        A waiting trial belongs to its runner or, if that has left, to the first rank in an order
        that all know. No trial is started twice: when a rank's farewell has arrived, or the
        survivors have agreed, all its changes are known.
        """
        if replicated.trial.state is not TrialState.WAITING:
            return replicated.runner
        absent = self._transport.farewells.keys() | self._abandoned
        maker = replicated.trial._trial_id % self.size
        candidates = (replicated.runner, maker, *range(self.size))
        return next((rank for rank in candidates if rank not in absent), replicated.runner)

    def _next_runner(self) -> int:
        """Return the rank that shall run the next waiting trial made by this rank."""
        absent = (self._transport.farewells.keys() | self._transport.failed) - {self.rank}
        present = [rank for rank in range(self.size) if rank not in absent]
        return present[(present.index(self.rank) + self._n_waiting) % len(present)]

    def _drain(self, timeout: float | None) -> None:
        """Receive until every rank has everything, or the time is up."""
        deadline = None if timeout is None else time.monotonic() + timeout
        backoff = Backoff()
        while not self._transport.settled:
            if deadline is not None and time.monotonic() > deadline:
                return
            if self._apply_arrived():
                backoff.reset()
            backoff.pause()
        self._apply_arrived()
        self._is_drained = True
        if not self._transport.failed:
            self._transport.barrier()
