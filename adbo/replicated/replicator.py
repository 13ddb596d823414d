"""One rank's part in studies that all ranks change: what it does reaches all, and who may do what.

A trial belongs to one rank at a time, the one that runs it, and nobody else changes it: so nothing
needs to be agreed upon. This module knows no MPI and no storage of Optuna.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from optuna.trial import FrozenTrial, TrialState

from adbo.comm.courier import Courier
from adbo.comm.failover import Survivors
from adbo.comm.in_process import network
from adbo.core.trial_json import encode_trial
from adbo.replicated.replica import Entry, Key, Replica, Study

#: Shortest and longest sleep, in seconds, between two looks at the network in the end.
_PAUSES = (1e-4, 2e-2)


#: Changes that are sent at once. The others, such as a parameter, wait for more for the moment
#: that the courier takes: a trial makes about ten changes but only two messages, and messages may
#: take only a small share of a rank's time.
_URGENT = frozenset({"state", "report", "study", "delete"})


class Transport(Protocol):
    """The way to the peers; nothing but `part` waits."""

    rank: int
    size: int
    farewells: dict[int, dict[str, Any]]
    gone: set[int]
    may_use_threads: bool

    def publish(self, texts: Sequence[str]) -> None:
        """Send changes to every peer."""

    def receive(self) -> object:
        """Take in what has arrived."""

    def changes(self) -> list[list[Any]]:
        """What peers published since the last call."""

    def announce(self, notice: Mapping[str, Any]) -> None:
        """Tell every peer about the death of a rank."""

    def obituaries(self) -> list[dict[str, Any]]:
        """What peers announced since the last call."""

    def leave(self, statistics: Mapping[str, Any]) -> None:
        """Tell every peer that no change of this rank follows."""

    def part(self) -> None:
        """Wait until all ranks are settled."""

    @property
    def settled(self) -> bool:
        """Whether every living rank has left and everything is with all of them."""


class Replication:
    """A copy of all studies, and the way to the copies of the others.

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
        self._survivors = Survivors(self, transport)
        self._courier = Courier(self._exchange)
        self._introduced: set[Key] = set()  # studies that this rank told the others of
        self._abandoned: set[int] = set()
        self._n_trials: dict[Key | None, int] = {}  # made here, in a study and in all
        self._n_waiting = 0
        self._parted = False

    def __getstate__(self) -> dict[str, Any]:
        """All that is known, for a copy that hears of nothing more."""
        here = ("lock", "_transport", "_survivors", "_courier")
        return {name: value for name, value in self.__dict__.items() if name not in here}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.lock = threading.RLock()
        self._transport = network(1)[0]
        self._survivors = Survivors(self, self._transport)
        self._courier = Courier(self._exchange)

    def listen(self) -> None:
        """Take in and pass on in the background as well, where MPI permits."""
        if self._transport.may_use_threads:
            self._courier.start()

    def receive(self) -> None:
        """Take in what has arrived.

        Raises
        ------
        RuntimeError
            If ranks created a study with different directions.
        """
        self._courier.check()
        self._take_in()
        if self.replica.conflict is not None:
            raise RuntimeError(self.replica.conflict)

    def change(self, key: Key, kind: str, *arguments: Any) -> None:
        """Make a change here, and send it.

        Raises
        ------
        RuntimeError
            After `close`.
        TypeError
            If it cannot be written as JSON.
        """
        if self.closed:
            raise RuntimeError("the storage is closed: it can only be read")
        text = json.dumps([self.replica.clock + 1, self.rank, kind, *key, *arguments])
        self.replica.apply(json.loads(text))  # here as everywhere
        self._outbox.append(text)
        if kind in _URGENT or not self._courier.is_alive():
            self._flush()
        else:
            self._courier.wake()
        if kind == "study":
            self._introduced.add(key)

    def change_study(self, study: Study, kind: str, *arguments: Any) -> None:
        """Change something within a study."""
        if study.key not in self._introduced:
            # Who created it may be heard of later than what this rank does to it.
            self.change(study.key, "study", [direction.name for direction in study.directions])
        self.change(study.key, kind, *arguments)

    def change_trial(self, entry: Entry, kind: str, *arguments: Any) -> None:
        """Change a trial of this rank.

        Raises
        ------
        RuntimeError
            If it is another rank's.
        """
        owner = self._owner(entry)
        if owner != self.rank:
            raise RuntimeError(
                f"trial {entry.trial.number} is rank {owner}'s: no other can change it"
            )
        arguments = (entry.trial._trial_id, entry.version + 1, *arguments)
        self.change_study(entry.study, kind, *arguments)

    def add_trial(self, study: Study, trial: FrozenTrial) -> int:
        """Add a trial; return its id. Its number and its id are the next ones of this rank."""
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

    def start_trial(self, entry: Entry, time: str | None) -> bool:
        """Begin a trial that waits, if it is for this rank."""
        if entry.trial.state is not TrialState.WAITING or self._owner(entry) != self.rank:
            return False
        # All of it: it may have been made by another rank, which is perhaps heard of later.
        fields = {**encode_trial(entry.trial), "state": "RUNNING", "start": time}
        self.change_trial(entry, "trial", entry.trial.number, self.rank, fields)
        return True

    def close(self, timeout: float | None) -> list[int]:
        """As `ReplicatedStorage.close`: send no more, wait until every rank has everything."""
        self._courier.stop()
        with self.lock:
            if not self.closed:
                self.closed = True
                self._flush()
                self._transport.leave({"rank": self.rank})
            if not self._parted:
                self._settle(timeout)
            missing = set(range(self._transport.size)) - self._transport.farewells.keys()
        return sorted(missing - self._transport.gone)

    def known(self, rank: int) -> int:
        """The clock of the latest change of a rank."""
        return self.replica.known.get(rank, 0)

    def pass_on(self, rank: int, start: int, stop: int) -> None:
        """Send what a dead rank changed between two clocks."""
        changes = self.replica.since(rank, start, stop)
        self._transport.publish([json.dumps(change) for change in changes])

    def _take_in(self) -> int:
        """Take in what has arrived; return how many changes."""
        with self.lock:
            self._transport.receive()
            changes = self._transport.changes()
            for change in changes:
                self.replica.apply(change)
            self._survivors.attend()
            new = self._transport.gone - self._abandoned
            if new and self._survivors.agreed:
                for rank in new:
                    self.replica.abandon(rank)
                self._abandoned |= new
            return len(changes)

    def _flush(self) -> None:
        """Send what was kept back."""
        texts, self._outbox = self._outbox, []
        if texts:
            self._transport.publish(texts)

    def _exchange(self) -> None:
        """What the courier does."""
        with self.lock:
            self._flush()
            self._take_in()

    def _owner(self, entry: Entry) -> int:
        """The one rank that may change a trial; of one that waits, the first that is still here.

        Nobody takes up a trial twice: all changes of a rank are known when its farewell is, or
        when the survivors have agreed.
        """
        if entry.trial.state is not TrialState.WAITING:
            return entry.runner
        absent = self._transport.farewells.keys() | self._abandoned
        heirs = (entry.runner, entry.trial._trial_id % self.size, *range(self.size))
        return next((rank for rank in heirs if rank not in absent), entry.runner)

    def _next_runner(self) -> int:
        """Whose turn it is to get a waiting trial of this rank."""
        absent = (self._transport.farewells.keys() | self._transport.gone) - {self.rank}
        present = [rank for rank in range(self.size) if rank not in absent]
        return present[(present.index(self.rank) + self._n_waiting) % len(present)]

    def _settle(self, timeout: float | None) -> None:
        deadline = None if timeout is None else time.monotonic() + timeout
        shortest, longest = _PAUSES
        pause = shortest
        while not (self._transport.settled and self._survivors.agreed):
            if deadline is not None and time.monotonic() > deadline:
                return
            pause = shortest if self._take_in() else min(2 * pause, longest)
            time.sleep(pause)
        self._take_in()
        self._parted = True
        if not self._transport.gone:
            self._transport.part()
