"""Optuna studies: opening them, and choosing how to read and to write them.

Whatever is wrong with a storage becomes a `StudyError`, one line for the user.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import optuna
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection

from adbo.core.enqueued import Enqueued
from adbo.core.evaluation import Evaluation
from adbo.core.leftover import Leftover
from adbo.core.optuna_trials import STUDY_ATTRS
from adbo.core.settings import directions_of
from adbo.mirror.bulk_writer import BulkWriter
from adbo.mirror.connection import (
    StudyError,
    check_lasting,
    connect,
    file_exists,
    quietly,
    storage_name,
    storage_url,
    uncached,
)
from adbo.mirror.jobs import Jobs, RdbJobs, StudyJobs
from adbo.mirror.mirror import StudyGoneError, Writer
from adbo.mirror.orphans import remove_orphans
from adbo.mirror.queue import Queue, RdbQueue, StudyQueue
from adbo.mirror.reader import START, BulkReader, Cursor, Range, Reader, TrialReader
from adbo.mirror.schema import REVISION
from adbo.mirror.settings import DEFAULTS, ConnectionSettings
from adbo.mirror.storage_errors import DatabaseError, RefusedError, explained, translated
from adbo.mirror.trial_table import TrialTable, table_from_database, table_from_storage
from adbo.mirror.trial_writer import TrialWriter


def open_study(
    storage: str | BaseStorage,
    name: str,
    direction: str | Sequence[str],
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
        ``"minimize"`` or ``"maximize"``; of several objectives, one for each.
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
                storage=opened,
                study_name=name,
                directions=[StudyDirection[one.upper()] for one in directions_of(direction)],
            )
        except optuna.exceptions.DuplicatedStudyError:
            if not resume:
                raise StudyError(
                    f"there is a study {name!r} in {storage_name(storage)} already: choose another"
                    " --study-name, or continue it with run --resume"
                ) from None
        study = optuna.load_study(storage=opened, study_name=name)
    _check_direction(study, direction)
    return study


def load_study(storage: str | BaseStorage, name: str | None) -> optuna.Study:
    """Load an existing study; without a name, the one that was created last.

    Raises
    ------
    StudyError
        If there is no such study or the storage cannot be used.
    """
    with explained(storage), quietly():
        check_lasting(storage)
        if not file_exists(storage):
            raise StudyError(f"there is no file for {storage_name(storage)}")
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


def reopen_study(
    storage: str | BaseStorage, name: str, direction: str | Sequence[str]
) -> optuna.Study:
    """Open a study again that was there before, perhaps after it was deleted and made again.

    Raises
    ------
    StudyGoneError
        If there is no such study at present.
    StudyError
        If the storage cannot be used, or the study has other directions.
    """
    if not file_exists(storage):
        raise StudyGoneError(f"there is no file for {storage_name(storage)}")
    study = None
    with explained(storage), quietly(), contextlib.suppress(KeyError):
        study = optuna.load_study(storage=connect(storage), study_name=name)
    if study is None:
        raise StudyGoneError(f"there is no study {name!r} in {storage_name(storage)}")
    _check_direction(study, direction)
    return study


class StudyWriter(Writer, Protocol):
    """Stores evaluations in one study."""

    written: list[Range]
    """The first and the last id of the trials of each batch; whoever uses them removes them."""

    @property
    def n_confirmed(self) -> int:
        """The number of evaluations that the study must hold at least."""


@dataclass(frozen=True)
class StudyAccess:
    """All that one job does with a study, in the fastest way that its storage allows."""

    study: optuna.Study
    job: int
    writer: StudyWriter
    reader: Reader
    queue: Queue
    jobs: Jobs

    def write(self, evaluations: Sequence[Evaluation]) -> None:
        """Store evaluations, and the attributes of the study that objectives set meanwhile.

        See `adbo.mirror.mirror.Writer`.
        """
        self.writer.write(evaluations)
        for evaluation in evaluations:
            self._set_attrs(evaluation.extras.system_attrs.get(STUDY_ATTRS, {}))

    def add(self, leftovers: Sequence[Leftover]) -> None:
        """Store what the ranks have left."""
        for leftover in leftovers:
            self._set_attrs(leftover.study_attrs)
        self.queue.put([trial for leftover in leftovers for trial in leftover.enqueued])

    def _set_attrs(self, changes: Mapping[str, Mapping[str, Any]]) -> None:
        with translated(self.study._storage):
            for key, value in changes.get("user", {}).items():
                self.study.set_user_attr(key, value)
            for key, value in changes.get("system", {}).items():
                self.study._storage.set_study_system_attr(self.study._study_id, key, value)

    @property
    def is_file(self) -> bool:
        """Whether the study is in an SQLite file, which somebody may replace."""
        return storage_url(self.study._storage).startswith("sqlite")

    @property
    def is_gone(self) -> bool:
        """Whether the storage says that there is no such study any more."""
        try:
            uncached(self.study._storage).get_study_name_from_id(self.study._study_id)
        except KeyError:
            return True
        except Exception:  # the storage does not work at present
            return False
        return False

    def take_lost(self, cursor: Cursor) -> list[Enqueued]:
        """Take over the enqueued trials that jobs had taken which died."""
        if not cursor.unfinished:
            return []
        running = self.jobs.running(self.job)
        return self.queue.take_lost(cursor.unfinished, {self.job, *running})

    def remove_orphans(self) -> None:
        """Remove what was written to the study in an SQLite file while Optuna deleted it."""
        storage = uncached(self.study._storage)
        if self.is_file and isinstance(storage, RDBStorage):
            with translated(storage.engine):
                remove_orphans(storage.engine, self.study._study_id)

    def close(self) -> None:
        """Close the connections; the next one opens the file that is there then."""
        storage = uncached(self.study._storage)
        if isinstance(storage, RDBStorage):
            storage.engine.dispose()


def access_to(
    study: optuna.Study, job: int, cursor: Cursor = START, n_confirmed: int = 0
) -> StudyAccess:
    """Return the access of the job of a number to a study.

    Parameters
    ----------
    study
        The study.
    job
        The number of the job.
    cursor
        Up to where the study has been read.
    n_confirmed
        The number of evaluations of the job that the study must hold at least.

    Raises
    ------
    adbo.mirror.storage_errors.DatabaseError
        If the database fails.
    """
    database = _supported_database(study)
    if database is None:
        return StudyAccess(
            study,
            job,
            TrialWriter(study),
            TrialReader(study, cursor),
            StudyQueue(study, job),
            StudyJobs(study),
        )
    engine, study_id = database.engine, study._study_id
    return StudyAccess(
        study,
        job,
        BulkWriter(engine, study_id, job, n_confirmed),
        BulkReader(engine, study_id, cursor),
        RdbQueue(engine, study_id, job),
        RdbJobs(engine, study_id),
    )


def table_of(study: optuna.Study) -> TrialTable:
    """Return all trials of a study as a table.

    Raises
    ------
    adbo.mirror.storage_errors.DatabaseError
        If the database fails; also while the rows are read.
    """
    database = _supported_database(study)
    if database is None:
        return table_from_storage(study)
    return table_from_database(database.engine, study)


def writer_for(study: optuna.Study) -> Writer:
    """Return the fastest way to store evaluations in a study; see `access_to`."""
    return access_to(study, job=0).writer


def enter(study: optuna.Study, above: int = -1) -> tuple[int, str, int]:
    """Begin a job on a study; return its number, the study's identity, the number of other jobs.

    Parameters
    ----------
    study
        The study.
    above
        The greatest number of a job whose trials may come to the study later.

    Raises
    ------
    adbo.mirror.storage_errors.DatabaseError
        If the database fails.
    """
    database = _supported_database(study)
    jobs = StudyJobs(study) if database is None else RdbJobs(database.engine, study._study_id)
    number = jobs.enter(above)
    return number, jobs.identity(), len(jobs.running(number))


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
    with accessed("write"):
        writer, size = writer_for(study), DEFAULTS.pace.batch
        for start in range(0, len(evaluations), size):
            writer.write(
                [
                    dataclasses.replace(e, started=epoch + e.started, finished=epoch + e.finished)
                    for e in evaluations[start : start + size]
                ]
            )


def _check_direction(study: optuna.Study, direction: str | Sequence[str]) -> None:
    stored, wanted = [d.name.lower() for d in study.directions], directions_of(direction)
    if stored != list(wanted):
        word = "direction" if len(stored) == 1 else "directions"
        raise StudyError(
            f"the study {study.study_name!r} has {word} {', '.join(stored)},"
            f" not {', '.join(wanted)}"
        )


def _supported_database(study: optuna.Study) -> RDBStorage | None:
    """Return the database behind a study, if it is one whose tables are known."""
    storage = uncached(study._storage)
    if isinstance(storage, RDBStorage) and unsupported_revision(study) is None:
        return storage
    return None


@contextlib.contextmanager
def accessed(verb: str) -> Iterator[None]:
    """Raise an error of the storage as a message for the user."""
    try:
        yield
    except (DatabaseError, RefusedError, StudyGoneError) as error:
        raise StudyError(f"cannot {verb} the study: {error}") from None
