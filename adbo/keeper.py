"""The duty to keep the mirror: it falls to one rank, and to the next one when that dies."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import optuna

from adbo.history import History
from adbo.mirror import Mirror
from adbo.rdb import DatabaseError
from adbo.records import Evaluation
from adbo.settings import Settings
from adbo.study import StudyError, open_study, writer_for

#: How long, in seconds, the end of an interrupted run waits for a database that makes no progress.
#: Slurm kills a job 30 s after its SIGTERM unless configured otherwise.
PATIENCE = 10.0

#: The same for the end of a run that nobody interrupted.
LONG_PATIENCE = 60.0

#: Evaluations that the mirror takes at once.
PAGE = 1000


class Keeper:
    """Copies a history to the study, from when the duty falls to this rank.

    Parameters
    ----------
    settings
        Where the study is.
    history
        What is copied.
    n_before
        Rows that came from the study.
    report
        Takes one line for people; from any thread.
    study
        The study, where it was opened already.
    """

    def __init__(
        self,
        settings: Settings,
        history: History,
        n_before: int,
        report: Callable[[str], None],
        study: optuna.Study | None,
    ) -> None:
        self._writer = _StudyWriter(settings, study)
        self._mirror: Mirror | None = None
        self._has_storage = settings.storage is not None
        self._history = history
        self._n_before = n_before
        self._report = report
        self.on_duty = False

    @property
    def study(self) -> optuna.Study | None:
        """The study, on the rank that keeps it."""
        return self._writer.study

    @property
    def n_unwritten(self) -> int:
        """Evaluations that are not known to be in the database."""
        return 0 if self._mirror is None else len(self._mirror.unwritten())

    def take_up(self) -> None:
        """From now on this rank keeps the mirror; what is stored already is not stored again."""
        if self.on_duty:
            return
        self.on_duty = True
        if self._has_storage:
            history = self._history
            self._mirror = Mirror(
                self._writer,
                lambda cursor: history.evaluations(cursor, cursor + PAGE),
                report=self._report,
                cursor=self._n_before,
            )
            self._mirror.start()

    def flush(self, patience: float) -> None:
        """Write what is left, and stop."""
        if self._mirror is not None:
            self._mirror.flush_and_close(patience)


class _StudyWriter:
    """Writes to a study that is opened when it is first needed, and again until that succeeds."""

    def __init__(self, settings: Settings, study: optuna.Study | None) -> None:
        self._settings = settings
        self.study = study
        self._writer = None if study is None else writer_for(study)

    def write(self, evaluations: Sequence[Evaluation]) -> None:
        """Store evaluations; see `adbo.mirror.Writer`."""
        if self._writer is None:
            settings = self._settings
            assert settings.storage is not None
            try:
                self.study = open_study(
                    settings.storage, settings.study_name, settings.direction, resume=True
                )
            except StudyError as error:
                raise DatabaseError(str(error)) from None
            self._writer = writer_for(self.study)
        self._writer.write(evaluations)
