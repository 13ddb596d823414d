"""Optuna studies: opening them, reading them, and how evaluations get into them.

What is wrong with a storage becomes one line for the user. Tables of databases are the affair of
`adbo.mirror.schema`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import optuna
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection

from adbo.core.enqueued import Enqueued
from adbo.core.evaluation import FINISHED_STATES, Evaluation
from adbo.core.optuna_trials import evaluation_of
from adbo.mirror import schema
from adbo.mirror.bulk_writer import BulkWriter
from adbo.mirror.connection import (
    StudyError,
    check_exists,
    connect,
    explained,
    quietly,
    storage_name,
    uncached,
)
from adbo.mirror.mirror import Writer
from adbo.mirror.queue import Queue, RdbQueue, StudyQueue
from adbo.mirror.trial_writer import TrialWriter

#: Evaluations that are written at once.
_PAGE = 1000


def open_study(
    storage: str | BaseStorage, name: str, direction: str, resume: bool
) -> optuna.Study:
    """Create a study, or take up an existing one.

    Parameters
    ----------
    storage
        A URL that Optuna knows, or a storage.
    name
        Of the study.
    direction
        ``"minimize"`` or ``"maximize"``.
    resume
        Whether it may exist already.

    Raises
    ------
    StudyError
        If the storage cannot be used, the study exists and shall not be resumed, or it has other
        directions.
    """
    with explained(storage), quietly():
        opened = connect(storage)
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
    """An existing study; without a name the one that was created last.

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
    """All finished trials of a study as evaluations, in the order of their numbers.

    Trials that adbo did not make get rank -1 and their number as ``seq``.

    Raises
    ------
    StudyError
        If the database fails.
    """
    try:
        database = _database(study)
        if database is not None:
            return schema.read(database.engine, study._study_id)
    except schema.DatabaseError as error:
        raise StudyError(f"cannot read the study: {error}") from None
    with explained(study._storage):
        trials = study.get_trials(deepcopy=False, states=FINISHED_STATES)
    return [evaluation_of(trial) for trial in trials]


def writer_for(study: optuna.Study) -> Writer:
    """The fastest way to store evaluations in a study.

    Raises
    ------
    adbo.mirror.schema.DatabaseError
        If the database fails.
    """
    database = _database(study)
    if database is not None:
        return BulkWriter(database.engine, study._study_id)
    return TrialWriter(study)


def queue_of(study: optuna.Study) -> Queue:
    """The trials that somebody enqueued.

    Raises
    ------
    adbo.mirror.schema.DatabaseError
        If the database fails.
    """
    database = _database(study)
    return StudyQueue(study) if database is None else RdbQueue(database.engine, study._study_id)


def read_enqueued(study: optuna.Study) -> list[Enqueued]:
    """Take all trials that wait, and those that an earlier run took and did not finish.

    Raises
    ------
    StudyError
        If the database fails.
    """
    try:
        queue = queue_of(study)
        with explained(study._storage):
            return [*queue.take_lost(), *queue.take()]
    except schema.DatabaseError as error:
        raise StudyError(f"cannot read the study: {error}") from None


#: The study's system attribute that tells how its last run numbered its trials.
_NUMBERING = "adbo:numbering"


def read_numbering(study: optuna.Study) -> tuple[int, int, int] | None:
    """What the last run wrote by `write_numbering`, if it is known.

    Raises
    ------
    StudyError
        If the database fails.
    """
    with explained(study._storage):
        found = study._storage.get_study_system_attrs(study._study_id).get(_NUMBERING)
    return None if found is None else (found[0], found[1], found[2])


def write_numbering(study: optuna.Study, numbering: Sequence[int]) -> None:
    """Remember the numbers by which this run names and numbers its trials.

    Raises
    ------
    StudyError
        If the database fails.
    """
    with explained(study._storage):
        study._storage.set_study_system_attr(study._study_id, _NUMBERING, list(numbering))


def unknown_schema(study: optuna.Study) -> str | None:
    """The version of a database's tables if adbo does not know them, and so cannot be fast.

    Raises
    ------
    adbo.mirror.schema.DatabaseError
        If the database fails.
    """
    storage = uncached(study._storage)
    if isinstance(storage, RDBStorage) and _database(study) is None:
        return str(storage.get_current_version())
    return None


def store(study: optuna.Study, evaluations: Sequence[Evaluation], epoch: float) -> None:
    """Write evaluations whose times count from the given one, in seconds since the epoch.

    Raises
    ------
    StudyError
        If the database does not take them.
    """
    try:
        with explained(study._storage):
            writer = writer_for(study)
            for page in range(0, len(evaluations), _PAGE):
                writer.write(
                    [
                        dataclasses.replace(
                            e, started=epoch + e.started, finished=epoch + e.finished
                        )
                        for e in evaluations[page : page + _PAGE]
                    ]
                )
    except (schema.DatabaseError, schema.RefusedError) as error:
        raise StudyError(f"cannot write the study: {error}") from None


def _database(study: optuna.Study) -> RDBStorage | None:
    """The database behind a study, if it is one whose tables are known."""
    storage = uncached(study._storage)
    if isinstance(storage, RDBStorage):
        with schema.translated(storage.engine):
            return storage if schema.is_supported(storage) else None
    return None
