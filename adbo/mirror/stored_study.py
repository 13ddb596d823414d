"""The study of a job through all trouble: a database that fails, a study or a file that goes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence

import optuna

from adbo.core.enqueued import Enqueued
from adbo.core.evaluation import Evaluation
from adbo.core.job import Job
from adbo.core.leftover import Leftover
from adbo.core.settings import Settings
from adbo.mirror.connection import StudyError
from adbo.mirror.mirror import DataLossError, StudyGoneError
from adbo.mirror.presence import BEAT_SECONDS
from adbo.mirror.reader import START, Cursor
from adbo.mirror.storage_errors import DatabaseError, RefusedError
from adbo.mirror.study import StudyAccess, access_to, reopen_study, unsupported_revision


class StoredStudy:
    """The study of a job, opened when it is first needed, and again after trouble.

    Parameters
    ----------
    settings
        Name, storage and direction of the study.
    job
        The job.
    cursor
        Up to where the study has been read.
    study
        The study, if it is open.
    report
        Takes one line for the user.
    """

    def __init__(
        self,
        settings: Settings,
        job: Job,
        cursor: Cursor,
        study: optuna.Study | None,
        report: Callable[[str], None],
    ) -> None:
        self.settings = settings
        self.job = job
        self._cursor = cursor
        self._report = report
        self._n_confirmed = 0
        self._access: StudyAccess | None = None
        self._stay_at = time.monotonic() + BEAT_SECONDS
        self.study = study

    def write(self, evaluations: Sequence[Evaluation]) -> None:
        """Store evaluations; see `adbo.mirror.mirror.Writer`."""
        with self._accessed() as access:
            access.write(evaluations)

    def read(self) -> list[Evaluation]:
        """Return the trials that others finished since the last call."""
        with self._accessed() as access:
            own = list(access.writer.written)
            evaluations = access.reader.read(own)
            del access.writer.written[: len(own)]
            self._cursor = access.reader.cursor
        return evaluations

    def take_enqueued(self) -> list[Enqueued]:
        """Take the trials that wait."""
        with self._accessed() as access:
            return access.queue.take(self._cursor.unfinished)

    def stay(self) -> list[Enqueued]:
        """Show now and then that this job is running; take over what jobs that died had taken."""
        if time.monotonic() < self._stay_at:
            return []
        with self._accessed() as access:
            access.jobs.stay(self.job.number)
            lost = access.take_lost(self._cursor)
        self._stay_at = time.monotonic() + BEAT_SECONDS
        return lost

    def add(self, leftovers: Sequence[Leftover]) -> None:
        """Store what the ranks have left, or say that some of it is not stored."""
        if not any(any(leftover) for leftover in leftovers):
            return
        try:
            with self._accessed() as access:
                access.add(leftovers)
        except (DatabaseError, RefusedError, StudyGoneError) as error:
            self._report(f"attributes of the study, or enqueued trials, are not stored ({error})")
        n_dropped = sum(leftover.n_dropped for leftover in leftovers)
        if n_dropped:
            self._report(f"{n_dropped} enqueued trials are not stored: there are too many")

    def conclude(self) -> list[Evaluation]:
        """Let unfinished trials wait again, and leave; return the last news of others.

        Raises
        ------
        StudyGoneError
            If there is no such study any more.
        """
        try:
            with self._accessed() as access:
                access.queue.give_back()
                access.jobs.leave(self.job.number)
            return self.read()
        except (DatabaseError, RefusedError) as error:
            self._report(f"enqueued trials that were not evaluated remain RUNNING ({error})")
            return []

    @contextlib.contextmanager
    def _accessed(self) -> Iterator[StudyAccess]:
        """Open the study if it is not open, and close it if it has gone or may be another file."""
        try:
            if self._access is None:
                self._access = self._opened()
            yield self._access
        except StudyGoneError:
            if self._access is not None:
                with contextlib.suppress(DatabaseError, StudyGoneError):
                    self._access.remove_orphans()
            self._forget()
            raise
        except DataLossError:
            self._forget()
            raise
        except DatabaseError:
            access = self._access
            if access is not None and access.is_gone:
                self._forget()
                # Whatever failed, perhaps a deadlock with the deletion, was not the cause.
                raise StudyGoneError("the study is no longer in the database") from None
            if access is not None and access.is_file:
                n_confirmed = access.writer.n_confirmed
                self._forget()
                self._n_confirmed = n_confirmed
            raise

    def _opened(self) -> StudyAccess:
        settings = self.settings
        assert settings.storage is not None
        study, is_first = self.study, self.study is not None
        if study is None:
            try:
                study = reopen_study(settings.storage, settings.study_name, settings.direction)
            except StudyError as error:
                raise DatabaseError(str(error)) from None
        revision = unsupported_revision(study)
        if revision is not None:
            self._report(
                f"the database has version {revision} of Optuna's tables, which this adbo does"
                " not know: it writes trial by trial, slowly, as Optuna does"
            )
        access = access_to(study, self.job.number, self._cursor, self._n_confirmed)
        if not is_first and not access.jobs.come_back(self.job.number, self.job.study):
            access.close()
            raise StudyGoneError(
                f"the study {settings.study_name!r} is another one, which was made after it"
            )
        self.study = study  # not before it is known to be the study of this job
        return access

    def _forget(self) -> None:
        """Close the study; what is there later is another one, to be read from its beginning."""
        if self._access is not None:
            self._access.close()
        self._access = self.study = None
        self._cursor, self._n_confirmed = START, 0
