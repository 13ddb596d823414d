"""The rank's side of a trial in another process: a thread that answers calls about the trial.

A child that the objective forks is such a process, too. The thread is started just before the
fork, and in the child the study calls the rank from then on.
"""

from __future__ import annotations

import contextlib
import copyreg
import hmac
import os
import pickle
import secrets
import sys
import threading
import time
import weakref
from functools import partial
from multiprocessing import connection as sockets
from multiprocessing.connection import Client, Connection, Listener
from typing import Any

from adbo.objective.remote import Address, Line, RemoteStorage, make_remote
from adbo.objective.trial import RankStudy, Trial, remote_trial

#: Seconds until the next attempt if no connection can be accepted.
_PAUSE = 0.1


class TrialServer:
    """Answers other processes about the running trial of a rank.

    Parameters
    ----------
    study
        The study of the rank.
    """

    def __init__(self, study: RankStudy) -> None:
        self.study = study
        self._listener: Listener | None = None
        self._address: Address | None = None
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._is_closed = False
        self._lock = threading.Lock()
        self._pid = os.getpid()
        _SERVERS.add(self)

    @property
    def address(self) -> Address:
        """Where this rank answers; the first use starts the thread."""
        if self._address is None:
            path, key = _new_path(), secrets.token_bytes(32)
            self._listener = Listener(path, family="AF_UNIX", backlog=64)
            self._address = Address(path, key)
            threading.Thread(target=self._accept, name="adbo-trial-server", daemon=True).start()
        return self._address

    def close(self) -> None:
        """Answer no more."""
        _SERVERS.discard(self)
        self._is_closed = True
        if self.study.trial is not None:
            self.study.storage.running.is_over = True
        if self._address is not None and self._pid == os.getpid():
            with contextlib.suppress(OSError):  # it may have ended by itself
                Client(self._address.path).close()  # wake the thread

    def before_fork(self) -> None:
        """Start the thread if the child may need it."""
        if self.study.is_evaluating and self._pid == os.getpid():
            assert self.address

    def after_fork(self) -> None:
        """In the child, let the study and its running trial call the rank."""
        # Held open here, they would let the child wait for an answer when the rank has ended.
        for held in (self._listener, *self._connections):
            if held is not None:
                held.close()
        if self._address is not None and self.study.is_evaluating:
            line = Line(self._address)
            make_remote(self.study.study, line)
            assert self.study.trial is not None
            self.study.trial.storage = self.study.study._storage

    def _accept(self) -> None:
        assert self._listener is not None
        with self._listener:
            while not self._is_closed:
                try:
                    connection = self._listener.accept()
                except OSError:  # such as too many open files
                    time.sleep(_PAUSE)
                    continue
                self._connections.add(connection)
                serve = threading.Thread(target=self._serve, args=(connection,), daemon=True)
                serve.start()

    def _serve(self, connection: Connection) -> None:
        """Answer one process, once it has shown the key; nothing is unpickled before."""
        assert self._address is not None
        try:
            key = connection.recv_bytes(len(self._address.key))
            if not hmac.compare_digest(key, self._address.key):
                return
            while True:
                request = connection.recv_bytes()
                if self._is_closed:
                    return
                connection.send(self._answer(request))
        except (EOFError, OSError):
            return
        finally:
            # Before it is closed: a child that is forked just after would close it again, and by
            # then its number may be that of another file.
            self._connections.discard(connection)
            connection.close()

    def _answer(self, request: bytes) -> tuple[Exception | None, Any]:
        """Return what a method raised, or None and what it returned."""
        study = self.study.study
        with self._lock:  # several processes, or threads of one, may call at the same time
            try:
                # It may be made of classes that only the other process can import.
                target, method, args, kwargs = pickle.loads(request)
                if target == "storage":
                    return None, getattr(self.study.storage, method)(*args, **kwargs)
                if target == "pruner":
                    return None, study.pruner.prune(study, study._storage.get_trial(*args))
                sample = partial(getattr(study.sampler, method), study, None)
                return None, sample(*args, **kwargs)
            except Exception as error:
                return error, None


def _new_path() -> str:
    """Return a new path for a socket; on Linux one that is not in the file system."""
    if sys.platform == "linux":
        return f"\0adbo-{os.getpid()}-{secrets.token_hex(8)}"
    return str(sockets.arbitrary_address("AF_UNIX"))


_SERVERS: weakref.WeakSet[TrialServer] = weakref.WeakSet()


def _before_fork() -> None:
    for server in list(_SERVERS):
        server.before_fork()


def _after_fork() -> None:
    for server in list(_SERVERS):
        server.after_fork()


os.register_at_fork(before=_before_fork, after_in_child=_after_fork)


def address_of(trial: Trial) -> Address:
    """Return where the rank that evaluates a trial answers; TypeError if no rank does."""
    for server in _SERVERS:
        if server.study.trial is trial:
            return server.address
    if isinstance(trial.storage, RemoteStorage):
        return trial.storage.line.address
    raise TypeError("a trial that no rank evaluates cannot be sent to another process")


def _reduce(trial: Trial) -> tuple[Any, ...]:
    """Return how to make a trial in another process to which it is pickled."""
    return remote_trial, (trial.study.study_name, address_of(trial), trial._trial_id)


copyreg.pickle(Trial, _reduce)
