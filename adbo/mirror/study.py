"""Optuna studies: opening them, reading their trials, and choosing how to write to them.

Whatever is wrong with a storage becomes a `StudyError`, one line for the user.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence

import optuna
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection

from adbo.core.enqueued import Enqueued
from adbo.core.evaluation import FINISHED_STATES, Evaluation
from adbo.core.optuna_trials import evaluation_of
from adbo.mirror.bulk_writer import BulkWriter
from adbo.mirror.connection import (
    StudyError,
    check_exists,
    connect,
    quietly,
    storage_name,
    uncached,
)
from adbo.mirror.mirror import Writer
from adbo.mirror.queue import Queue, RdbQueue, StudyQueue
from adbo.mirror.reader import read_finished
from adbo.mirror.schema import REVISION
from adbo.mirror.settings import DEFAULTS, ConnectionSettings
from adbo.mirror.storage_errors import DatabaseError, RefusedError, explained, translated
from adbo.mirror.trial_writer import TrialWriter


def open_study(
    storage: str | BaseStorage,
    name: str,
    direction: str,
    resume: bool,
    connection: ConnectionSettings = DEFAULTS.connection,
) -> optuna.Study:
    """Create a study, or open an existing one to continue it.

    Parameters
    ----------
    storage
        A database URL, or a storage of Optuna.
    name
        The name of the study.
    direction
        ``"minimize"`` or ``"maximize"``.
    resume
        Whether the study may exist already.
    connection
        How persistently the database is opened.

    Raises
    ------
    StudyError
        If the storage cannot be used, the study exists and `resume` is False, or the study has
        other directions.
    """
    with explained(storage), quietly():
        opened = connect(storage, connection)
        try:
            return optuna.create_study(
                storage=opened, study_name=name, direction=StudyDirection[direction.upper()]
            )
        except optuna.exceptions.DuplicatedStudyError:
            if not resume:
                raise StudyError(
                    f"there is a study {name!r} in {storage_name(storage)} already: continue it"
                    " with --resume, or choose another --study-name"
                ) from None
        study = optuna.load_study(storage=opened, study_name=name)
    directions = [d.name.lower() for d in study.directions]
    if directions != [direction]:
        raise StudyError(
            f"the study {name!r} has direction {', '.join(directions)}, not {direction}"
        )
    return study


def load_study(storage: str | BaseStorage, name: str | None) -> optuna.Study:
    """Load an existing study; without a name, the one that was created last.

    Raises
    ------
    StudyError
        If there is no such study or the storage cannot be used.
    """
    with explained(storage), quietly():
        check_exists(storage)
        opened = connect(storage)
        names = [study.study_name for study in opened.get_all_studies()]
        if not names:
            raise StudyError(f"there is no study in {storage_name(storage)}")
        if name is not None and name not in names:
            raise StudyError(
                f"there is no study {name!r} in {storage_name(storage)}:"
                f" the latest is {names[-1]!r}"
            )
        return optuna.load_study(storage=opened, study_name=names[-1] if name is None else name)


def read_evaluations(study: optuna.Study) -> list[Evaluation]:
    """Return all finished trials of a study as evaluations, in the order of their numbers.

    Trials that adbo did not make have rank -1 and their number as ``seq``.

    Raises
    ------
    StudyError
        If the storage fails.
    """
    with _accessed("read"):
        database = _supported_database(study)
        if database is not None:
            return read_finished(database.engine, study._study_id)
        with translated(study._storage):
            trials = study.get_trials(deepcopy=False, states=FINISHED_STATES)
        return [evaluation_of(trial) for trial in trials]


def take_enqueued(study: optuna.Study) -> list[Enqueued]:
    """Take all trials that wait, and those that an earlier run took and did not finish.

    Raises
    ------
    StudyError
        If the storage fails.
    """
    with _accessed("read"):
        queue = queue_for(study)
        return [*queue.take_lost(), *queue.take()]


def writer_for(study: optuna.Study) -> Writer:
    """Return the fastest way to store evaluations in a study.

    Raises
    ------
    adbo.mirror.storage_errors.DatabaseError
        If the database fails.
    """
    database = _supported_database(study)
    if database is not None:
        return BulkWriter(database.engine, study._study_id)
    return TrialWriter(study)


def queue_for(study: optuna.Study) -> Queue:
    """Return the queue of the trials that somebody enqueued.

    Raises
    ------
    adbo.mirror.storage_errors.DatabaseError
        If the database fails.
    """
    database = _supported_database(study)
    return StudyQueue(study) if database is None else RdbQueue(database.engine, study._study_id)


def unsupported_revision(study: optuna.Study) -> str | None:
    """Return the revision of a database's schema if adbo does not know it and is slow with it.

    Raises
    ------
    adbo.mirror.storage_errors.DatabaseError
        If the database fails.
    """
    storage = uncached(study._storage)
    if not isinstance(storage, RDBStorage):
        return None
    with translated(storage.engine):
        revision = storage.get_current_version()
    return None if revision == REVISION else revision


def store(study: optuna.Study, evaluations: Sequence[Evaluation], epoch: float) -> None:
    """Write evaluations whose times count from `epoch`, in seconds since the Unix epoch.

    Raises
    ------
    StudyError
        If the storage does not take them.
    """
    with _accessed("write"):
        writer, size = writer_for(study), DEFAULTS.pace.batch
        for start in range(0, len(evaluations), size):
            writer.write(
                [
                    dataclasses.replace(e, started=epoch + e.started, finished=epoch + e.finished)
                    for e in evaluations[start : start + size]
                ]
            )


#: The system attribute of a study that holds the numbering of its last run.
_NUMBERING = "adbo:numbering"


def read_numbering(study: optuna.Study) -> tuple[int, int, int] | None:
    """Return what the last run wrote by `write_numbering`, None if there is nothing.

    Raises
    ------
    StudyError
        If the storage fails.
    """
    with explained(study._storage):
        found = study._storage.get_study_system_attrs(study._study_id).get(_NUMBERING)
    return None if found is None else (found[0], found[1], found[2])


def write_numbering(study: optuna.Study, numbering: Sequence[int]) -> None:
    """Store the numbers by which this run names and numbers its trials.

    Raises
    ------
    StudyError
        If the storage fails.
    """
    with explained(study._storage):
        study._storage.set_study_system_attr(study._study_id, _NUMBERING, list(numbering))


def _supported_database(study: optuna.Study) -> RDBStorage | None:
    """Return the database behind a study, if it is one whose tables are known."""
    storage = uncached(study._storage)
    if isinstance(storage, RDBStorage) and unsupported_revision(study) is None:
        return storage
    return None


@contextlib.contextmanager
def _accessed(verb: str) -> Iterator[None]:
    """Raise an error of the storage as a message for the user."""
    try:
        yield
    except (DatabaseError, RefusedError) as error:
        raise StudyError(f"cannot {verb} the study: {error}") from None
