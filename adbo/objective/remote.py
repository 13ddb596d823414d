"""A trial in another process than that of its rank: calls travel to the rank over a socket.

Such a process is a child that the objective started, or an evaluation process of its own
(`adbo.objective.isolation`). This module does not know which one it is.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from functools import lru_cache
from multiprocessing.connection import Client, Connection
from typing import Any, NamedTuple

import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from adbo.objective.rank_storage import without_numpy


class Address(NamedTuple):
    """Where a rank answers calls about its running trial."""

    path: str
    """The socket."""
    key: bytes
    """The secret that a caller must know."""


class Line:
    """Calls the rank from this process; a forked child of the process opens a line of its own."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._pid = -1
        self._lock = threading.Lock()
        self._connection: Connection | None = None

    def __getstate__(self) -> Address:
        return self.address

    def __setstate__(self, address: Address) -> None:
        self.__init__(address)  # type: ignore[misc]

    def call(self, target: str, method: str, *args: Any, **kwargs: Any) -> Any:
        """Return what a method of the rank returns, or raise what it raises.

        Parameters
        ----------
        target
            ``"storage"``, ``"sampler"`` or ``"pruner"``.
        method, args, kwargs
            The call.

        Raises
        ------
        ConnectionError
            If the rank has ended.
        """
        if self._pid != os.getpid():
            # The lock of the parent process may be held by a thread that does not exist here.
            self._pid, self._lock, self._connection = os.getpid(), threading.Lock(), None
        with self._lock:
            try:
                error, result = self._exchange((target, method, args, kwargs))
            except (EOFError, ConnectionError, FileNotFoundError) as broken:
                self._connection = None
                raise ConnectionError("the rank of this trial has ended") from broken
            except BaseException:  # of a signal handler: the answer belongs to no later call
                self._connection = None
                raise
        if error is not None:
            raise error
        return result

    def _exchange(self, request: tuple[Any, ...]) -> Any:
        if self._connection is None:
            self._connection = Client(self.address.path)
            self._connection.send_bytes(self.address.key)
        self._connection.send(request)
        return self._connection.recv()


def _forwarded(name: str) -> Callable[..., Any]:
    def method(self: RemoteStorage, *args: Any, **kwargs: Any) -> Any:
        return self.line.call("storage", name, *args, **kwargs)

    method.__name__ = name
    return method


def _forwarded_attr(name: str) -> Callable[..., Any]:
    """Forward an attribute as JSON has it: the rank need not know its classes."""

    def method(self: RemoteStorage, *args: Any, **kwargs: Any) -> None:
        args, kwargs = json.loads(json.dumps([args, kwargs], default=without_numpy))
        self.line.call("storage", name, *args, **kwargs)

    method.__name__ = name
    return method


class RemoteStorage(BaseStorage):
    """The storage of a rank, seen from another process."""

    def __init__(self, line: Line) -> None:
        self.line = line

    create_new_study = _forwarded("create_new_study")
    delete_study = _forwarded("delete_study")
    set_study_user_attr = _forwarded_attr("set_study_user_attr")
    set_study_system_attr = _forwarded_attr("set_study_system_attr")
    get_study_id_from_name = _forwarded("get_study_id_from_name")
    get_study_name_from_id = _forwarded("get_study_name_from_id")
    get_study_directions = _forwarded("get_study_directions")
    get_study_user_attrs = _forwarded("get_study_user_attrs")
    get_study_system_attrs = _forwarded("get_study_system_attrs")
    get_all_studies = _forwarded("get_all_studies")
    create_new_trial = _forwarded("create_new_trial")
    set_trial_param = _forwarded("set_trial_param")
    set_trial_state_values = _forwarded("set_trial_state_values")
    set_trial_intermediate_value = _forwarded("set_trial_intermediate_value")
    set_trial_user_attr = _forwarded_attr("set_trial_user_attr")
    set_trial_system_attr = _forwarded_attr("set_trial_system_attr")
    get_trial = _forwarded("get_trial")
    get_trial_id_from_study_id_trial_number = _forwarded("get_trial_id_from_study_id_trial_number")
    get_all_trials = _forwarded("get_all_trials")
    get_best_trial = _forwarded("get_best_trial")
    stop_study = _forwarded("stop_study")


class Study(optuna.Study):
    """Optuna's study, which objectives, callbacks and their child processes may stop."""

    def stop(self) -> None:
        """End the run on all ranks, when the evaluations that are running are finished."""
        storage = self._storage
        storage.stop_study()  # type: ignore[attr-defined]


class RemoteSampler(BaseSampler):
    """The sampler of a rank, seen from another process."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return all parameters that the study has."""
        space: dict[str, BaseDistribution]
        space = self._line.call("sampler", "infer_relative_search_space")
        return space

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the proposed values that their distributions contain."""
        values: dict[str, Any] = self._line.call("sampler", "sample_relative", search_space)
        return values

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return the value of a parameter that `sample_relative` did not return."""
        return self._line.call("sampler", "sample_independent", param_name, param_distribution)


class RemotePruner(BasePruner):
    """The pruner of a rank, seen from another process."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Return whether the rank's pruner ends the trial."""
        ends: bool = self._line.call("pruner", "prune", trial._trial_id)
        return ends


def make_remote(study: optuna.Study, line: Line) -> None:
    """Let a study call the rank from now on."""
    study._storage = RemoteStorage(line)
    study.sampler = RemoteSampler(line)
    study.pruner = RemotePruner(line)


@lru_cache(maxsize=1)
def remote_study(name: str, address: Address) -> optuna.Study:
    """Return the study of a rank, seen from another process; the same for one trial after another.

    To connect again takes nearly as long as all calls of a trial.
    """
    line = Line(address)
    return Study(name, RemoteStorage(line), RemoteSampler(line), RemotePruner(line))
