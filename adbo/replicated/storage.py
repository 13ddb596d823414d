"""`storage`: any sampler of Optuna on all ranks, without a database.

Every rank has all studies in memory. What it changes it sends to all others without waiting, and
whenever Optuna reads, what others sent is taken in first.
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
from adbo.replicated.replica import Entry, Key, Study
from adbo.replicated.replicator import Replication

_logger = logging.getLogger("optuna.adbo")


def storage(comm: Any = None) -> ReplicatedStorage:
    """Make a storage that all ranks share, each with all of it in its memory.

    Started by ``mpiexec``, ``mpirun`` or ``srun``, every rank must make the same call; alone, it
    is a storage in memory. Studies that the ranks create with one name are one study.

    Parameters
    ----------
    comm
        An mpi4py communicator; None for all ranks of the job.

    Returns
    -------
    ReplicatedStorage
        For ``optuna.create_study(storage=...)`` and all else that takes a storage. Leaving its
        context, or `ReplicatedStorage.close`, waits until every rank has all trials of all ranks;
        so does the end of the program.

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
    replication = Replication(ranks.transport())
    replication.listen()
    if ranks.size > 1:
        atexit.register(_end, replication)
    return ReplicatedStorage(replication, token)


class ReplicatedStorage(BaseStorage):
    """A storage of Optuna that is equal on all ranks; made by `storage`.

    Trial ids and numbers are unique over all ranks without any agreement, and hence not dense:
    rank ``r`` of ``P`` makes ``r, r + P, r + 2 P``. Attributes must be plain JSON values. Only the
    rank that runs a trial may change it. Trials that a rank enqueues go round to all ranks in
    turn, beginning with itself; those of a rank that has finished go to another.

    Parameters
    ----------
    replication
        This rank's part.
    token
        Equal on all ranks and unlike any other: it names the studies that have no name.
    """

    def __init__(self, replication: Replication, token: str) -> None:
        self._replication = replication
        self._token = token
        self._created: set[Key] = set()  # studies that were created here
        self._n_unnamed = 0

    def __enter__(self) -> ReplicatedStorage:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None and self._replication.size > 1:
            _logger.error(
                f"rank {self._replication.rank} ended with {kind.__name__}: {error}; it waits for"
                " the others"
            )
        self.close()

    def close(self, timeout: float | None = None) -> list[int]:
        """Wait until every rank has all trials of all ranks. Afterwards it can be read only.

        Parameters
        ----------
        timeout
            Seconds to wait for the others; None to wait until they close theirs, or die.

        Returns
        -------
        list of int
            Ranks that did not answer in time.
        """
        return self._replication.close(timeout)

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        """Create a study, or join the one that others created with this name.

        Raises
        ------
        optuna.exceptions.DuplicatedStudyError
            If this rank created it before.
        RuntimeError
            If another rank created it with other directions.
        """
        with self._replication.lock:
            if study_name is None:
                study_name = f"{DEFAULT_STUDY_NAME_PREFIX}{self._token}-{self._n_unnamed}"
                self._n_unnamed += 1
            self._replication.receive()
            key = self._replication.replica.key(study_name)
            if key in self._created:
                raise DuplicatedStudyError
            self._replication.change(key, "study", [direction.name for direction in directions])
            self._created.add(key)
            return self.get_study_id_from_name(study_name)

    def delete_study(self, study_id: int) -> None:
        """Delete a study on all ranks."""
        with self._replication.lock:
            self._replication.change(self._study(study_id).key, "delete")

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Set it on all ranks; if several do so, the same one wins everywhere."""
        with self._replication.lock:
            self._replication.change_study(self._study(study_id), "attr", "user", key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Set it on all ranks; if several do so, the same one wins everywhere."""
        with self._replication.lock:
            self._replication.change_study(self._study(study_id), "attr", "system", key, value)

    def get_study_id_from_name(self, study_name: str) -> int:
        """The id of a study, on this rank."""
        with self._replication.lock:
            self._replication.receive()
            replica = self._replication.replica
            study = replica.find(replica.key(study_name))
            if study is None:
                raise KeyError(f"No such study {study_name}.")
            return study.study_id

    def get_study_name_from_id(self, study_id: int) -> str:
        """The name of a study."""
        return self._study(study_id).key[0]

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """The directions of a study."""
        return self._study(study_id).directions

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """The attributes that users set."""
        return self._study(study_id).attrs["user"]

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """The attributes that Optuna set."""
        return self._study(study_id).attrs["system"]

    def get_all_studies(self) -> list[FrozenStudy]:
        """All studies that this rank has heard of."""
        with self._replication.lock:
            self._replication.receive()
            return [_frozen(study) for study in self._replication.replica.studies.values()]

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Make a trial of this rank, or, if it waits, one for the rank whose turn it is."""
        with self._replication.lock:
            trial = template_trial or create_trial(state=TrialState.RUNNING)
            return self._replication.add_trial(self._study(study_id), trial)

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        """Set a parameter of a trial of this rank."""
        with self._replication.lock:
            entry = self._unfinished(trial_id)
            known = entry.study.distributions.get(param_name, distribution)
            check_distribution_compatibility(known, distribution)
            value, text = float(param_value_internal), encode_distribution(distribution)
            self._replication.change_trial(entry, "param", param_name, value, text)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Set the state of a trial of this rank; False if it is not for this rank to start.

        Raises
        ------
        RuntimeError
            If another rank runs it.
        """
        with self._replication.lock:
            entry = self._unfinished(trial_id)
            now = encode_time(datetime.now())
            if state is TrialState.RUNNING:
                return self._replication.start_trial(entry, now)
            numbers = encode_values(values)
            self._replication.change_trial(entry, "state", state.name, numbers, now)
            return True

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """Report a value of a trial of this rank."""
        with self._replication.lock:
            value = float(intermediate_value)
            self._replication.change_trial(self._unfinished(trial_id), "report", int(step), value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set an attribute of a trial of this rank."""
        with self._replication.lock:
            self._replication.change_trial(self._unfinished(trial_id), "user", key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set an attribute of a trial of this rank."""
        with self._replication.lock:
            self._replication.change_trial(self._unfinished(trial_id), "system", key, value)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """A trial of any rank."""
        return self._entry(trial_id).trial

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        """The id of a trial, the same on all ranks."""
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
        """All trials of all ranks that have arrived, by number."""
        with self._replication.lock:
            study = self._study(study_id)
            if states == (TrialState.WAITING,):  # what every ask of Optuna begins with
                trials = [study.entries[number].trial for number in sorted(study.waiting)]
            else:
                trials = study.trials()
        if states is not None:
            trials = [trial for trial in trials if trial.state in states]
        return copy.deepcopy(trials) if deepcopy else trials

    def _study(self, study_id: int) -> Study:
        with self._replication.lock:
            self._replication.receive()
            studies = self._replication.replica.studies
            if study_id not in studies:
                raise KeyError(f"No study has the id {study_id}.")
            return studies[study_id]

    def _entry(self, trial_id: int) -> Entry:
        with self._replication.lock:
            self._replication.receive()
            entries = self._replication.replica.entries
            if trial_id not in entries:
                raise KeyError(f"No trial has the id {trial_id}.")
            return entries[trial_id]

    def _unfinished(self, trial_id: int) -> Entry:
        entry = self._entry(trial_id)
        self.check_trial_is_updatable(trial_id, entry.trial.state)
        return entry


def _end(replication: Replication) -> None:
    """At the end of the program: the others wait for a word of this rank."""
    if not replication.closed:
        replication.close(None)


def _frozen(study: Study) -> FrozenStudy:
    return FrozenStudy(
        study_name=study.key[0],
        direction=None,
        directions=study.directions,
        user_attrs=copy.deepcopy(study.attrs["user"]),
        system_attrs=copy.deepcopy(study.attrs["system"]),
        study_id=study.study_id,
    )
