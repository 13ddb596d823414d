"""`storage`: an Optuna storage that every rank holds in memory, for any Optuna sampler.

Every rank has all studies in memory. It sends each of its changes to all others without waiting,
and applies what has arrived before Optuna reads anything.
"""

from __future__ import annotations

import atexit
import copy
import logging
import uuid
from collections.abc import Container, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any

from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.exceptions import DuplicatedStudyError
from optuna.storages import BaseStorage
from optuna.storages._base import DEFAULT_STUDY_NAME_PREFIX
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState, create_trial

from adbo.comm.launch import find_ranks
from adbo.core.trial_json import encode_distribution, encode_time, encode_values
from adbo.replicated.replica import Key, ReplicatedStudy, ReplicatedTrial
from adbo.replicated.replicator import Replicator

_logger = logging.getLogger("optuna.adbo")


def storage(comm: Any = None) -> ReplicatedStorage:
    """Return a storage that all ranks share, each with a full copy in its memory.

    Under ``mpiexec``, ``mpirun`` or ``srun``, every rank must make the same call; in a single
    process, it is a storage in memory. Studies of one name that several ranks create are one
    study.

    Parameters
    ----------
    comm
        An mpi4py communicator; None for all ranks of the job.

    Returns
    -------
    ReplicatedStorage
        A storage for ``optuna.create_study(storage=...)`` and everything else that takes one.
        The end of its context, `ReplicatedStorage.close` and the end of the program wait until
        every rank has all trials of all ranks.

    Raises
    ------
    ValueError
        If a launcher started several processes but MPI cannot connect them.

    Examples
    --------
    >>> import adbo, optuna
    >>> with adbo.storage() as storage:
    ...     study = optuna.create_study(storage=storage, study_name="s", load_if_exists=True)
    ...     study.optimize(lambda trial: trial.suggest_float("x", -5, 5) ** 2, n_trials=5)
    >>> len(study.trials)
    5
    """
    ranks = find_ranks(comm)
    token = ranks.share(lambda: str(uuid.uuid4()))
    replicator = Replicator(ranks.transport())
    replicator.start_background()
    if ranks.size > 1:
        # The other ranks cannot end before this one has left and has everything.
        atexit.register(replicator.close, None)
    return ReplicatedStorage(replicator, token)


class ReplicatedStorage(BaseStorage):
    """An Optuna storage with the same content on all ranks; made by `storage`.

    Trial ids and numbers are unique over all ranks without any agreement, and therefore not
    dense: rank ``r`` of ``P`` uses ``r, r + P, r + 2 P, ...``. Attributes must be plain JSON
    values. Only the rank that runs a trial may change it. Trials that a rank enqueues are given to
    all ranks in turn, beginning with that rank; if a rank has left, another one runs its trials.

    Parameters
    ----------
    replicator
        This rank's replica and its exchange with the others.
    token
        A unique text, equal on all ranks, in the names of studies that were created without one.
    """

    def __init__(self, replicator: Replicator, token: str) -> None:
        self._replicator = replicator
        self._token = token
        self._created: set[Key] = set()  # studies that this rank created
        self._n_unnamed = 0

    def __enter__(self) -> ReplicatedStorage:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None and self._replicator.size > 1:
            _logger.error(
                f"rank {self._replicator.rank} ended with {kind.__name__}: {error}; it waits for"
                " the other ranks"
            )
        self.close()

    def close(self, timeout: float | None = None) -> list[int]:
        """Wait until every rank has all trials of all ranks; make the storage read-only.

        Parameters
        ----------
        timeout
            Seconds to wait for the other ranks; None to wait until each has closed or died. After
            that, the end of the program waits for them.

        Returns
        -------
        list of int
            Ranks that did not answer in time.
        """
        return self._replicator.close(timeout)

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        """Create a study, or join the one that another rank created with this name.

        Raises
        ------
        optuna.exceptions.DuplicatedStudyError
            If this rank has created it before.
        RuntimeError
            If another rank has created it with other directions.
        """
        with self._replicator.lock:
            if study_name is None:
                study_name = f"{DEFAULT_STUDY_NAME_PREFIX}{self._token}-{self._n_unnamed}"
                self._n_unnamed += 1
            self._replicator.receive()
            key = self._replicator.replica.key(study_name)
            if key in self._created:
                raise DuplicatedStudyError
            self._replicator.change(key, "study", [direction.name for direction in directions])
            self._created.add(key)
            return self.get_study_id_from_name(study_name)

    def delete_study(self, study_id: int) -> None:
        """Delete a study on all ranks."""
        with self._replicator.lock:
            self._replicator.change(self._study(study_id).key, "delete")

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Set an attribute on all ranks; of several values, the same one wins everywhere."""
        with self._replicator.lock:
            self._replicator.change_study(self._study(study_id), "attr", "user", key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Set an attribute on all ranks; of several values, the same one wins everywhere."""
        with self._replicator.lock:
            self._replicator.change_study(self._study(study_id), "attr", "system", key, value)

    def get_study_id_from_name(self, study_name: str) -> int:
        """Return the id of a study, valid on this rank."""
        with self._replicator.lock:
            self._replicator.receive()
            replica = self._replicator.replica
            study = replica.find(replica.key(study_name))
            if study is None:
                raise KeyError(f"No such study {study_name}.")
            return study.study_id

    def get_study_name_from_id(self, study_id: int) -> str:
        """Return the name of a study."""
        return self._study(study_id).key[0]

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """Return the directions of a study."""
        return self._study(study_id).directions

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """Return the attributes that users set."""
        return self._study(study_id).attrs["user"]

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """Return the attributes that Optuna set."""
        return self._study(study_id).attrs["system"]

    def get_all_studies(self) -> list[FrozenStudy]:
        """Return all studies that this rank knows."""
        with self._replicator.lock:
            self._replicator.receive()
            return [_frozen(study) for study in self._replicator.replica.studies.values()]

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Add a trial of this rank; a waiting trial is for the rank whose turn it is."""
        with self._replicator.lock:
            trial = template_trial or create_trial(state=TrialState.RUNNING)
            return self._replicator.add_trial(self._study(study_id), trial)

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        """Set a parameter of a trial of this rank."""
        with self._replicator.lock:
            entry = self._unfinished(trial_id)
            known = entry.study.distributions.get(param_name, distribution)
            check_distribution_compatibility(known, distribution)
            value, text = float(param_value_internal), encode_distribution(distribution)
            self._replicator.change_trial(entry, "param", param_name, value, text)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Set the state of a trial of this rank; return False if another rank must start it.

        Raises
        ------
        RuntimeError
            If another rank runs the trial.
        """
        with self._replicator.lock:
            entry = self._unfinished(trial_id)
            now = encode_time(datetime.now())
            if state is TrialState.RUNNING:
                return self._replicator.start_trial(entry, now)
            numbers = encode_values(values)
            self._replicator.change_trial(entry, "state", state.name, numbers, now)
            return True

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """Report a value of a trial of this rank."""
        with self._replicator.lock:
            value = float(intermediate_value)
            self._replicator.change_trial(self._unfinished(trial_id), "report", int(step), value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set an attribute of a trial of this rank."""
        with self._replicator.lock:
            self._replicator.change_trial(self._unfinished(trial_id), "user", key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set an attribute of a trial of this rank."""
        with self._replicator.lock:
            self._replicator.change_trial(self._unfinished(trial_id), "system", key, value)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial of any rank."""
        return self._entry(trial_id).trial

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        """Return the id of a trial, the same on all ranks."""
        entries = self._study(study_id).entries
        if trial_number not in entries:
            raise KeyError(f"No trial has the number {trial_number} in study {study_id}.")
        return entries[trial_number].trial._trial_id

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Return the trials of all ranks that have arrived, in the order of their numbers."""
        with self._replicator.lock:
            study = self._study(study_id)
            if states == (TrialState.WAITING,):  # every ask of Optuna begins with this query
                trials = [study.entries[number].trial for number in sorted(study.waiting)]
            else:
                trials = study.trials()
        if states is not None:
            trials = [trial for trial in trials if trial.state in states]
        return copy.deepcopy(trials) if deepcopy else trials

    def _study(self, study_id: int) -> ReplicatedStudy:
        with self._replicator.lock:
            self._replicator.receive()
            studies = self._replicator.replica.studies
            if study_id not in studies:
                raise KeyError(f"No study has the id {study_id}.")
            return studies[study_id]

    def _entry(self, trial_id: int) -> ReplicatedTrial:
        with self._replicator.lock:
            self._replicator.receive()
            entries = self._replicator.replica.entries
            if trial_id not in entries:
                raise KeyError(f"No trial has the id {trial_id}.")
            return entries[trial_id]

    def _unfinished(self, trial_id: int) -> ReplicatedTrial:
        entry = self._entry(trial_id)
        self.check_trial_is_updatable(trial_id, entry.trial.state)
        return entry


def _frozen(study: ReplicatedStudy) -> FrozenStudy:
    return FrozenStudy(
        study_name=study.key[0],
        direction=None,
        directions=study.directions,
        user_attrs=copy.deepcopy(study.attrs["user"]),
        system_attrs=copy.deepcopy(study.attrs["system"]),
        study_id=study.study_id,
    )
