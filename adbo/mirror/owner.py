"""The mirror owner: the rank that copies the history to the study.

Every rank can become the owner; the lowest living rank is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import optuna

from adbo.core.enqueued import Enqueued
from adbo.core.evaluation import Evaluation
from adbo.core.history import History
from adbo.core.settings import Settings
from adbo.mirror import rescue
from adbo.mirror.connection import StudyError
from adbo.mirror.mirror import Mirror, Writer
from adbo.mirror.queue import Queue
from adbo.mirror.settings import ConnectionSettings, MirrorSettings
from adbo.mirror.storage_errors import DatabaseError, RefusedError
from adbo.mirror.study import open_study, queue_for, unsupported_revision, writer_for


class MirrorOwner:
    """Copies a history to the study from the moment at which this rank becomes the owner.

    Parameters
    ----------
    settings
        Name, storage and direction of the study.
    history
        The history.
    n_stored
        The number of rows, at the beginning of the history, that came from the study.
    report
        Takes one line for the user; called from any thread.
    study
        The study, if this rank has opened it.
    mirror_settings
        The tunables.
    """

    def __init__(
        self,
        settings: Settings,
        history: History,
        n_stored: int,
        report: Callable[[str], None],
        study: optuna.Study | None,
        mirror_settings: MirrorSettings,
    ) -> None:
        self.mirror_settings = mirror_settings
        self._settings = settings
        self._stored = _StoredStudy(settings, study, report, mirror_settings.connection)
        self._mirror: Mirror | None = None
        self._history = history
        self._n_stored = n_stored
        self._report = report
        self._enqueued: deque[Enqueued] = deque()
        self._takes_enqueued = True
        self.is_owner = False
        #: Names of the evaluations that contradict the study and were not stored.
        self.contradicting: set[tuple[int, int]] = set()
        #: Evaluations that the database did not take.
        self.n_unwritten = 0
        #: The file that holds them.
        self.rescued: Path | None = None

    @property
    def study(self) -> optuna.Study | None:
        """The study, if this rank has opened it."""
        return self._stored.study

    def take_over(self) -> None:
        """Become the owner; what is stored already is not stored again."""
        if self.is_owner:
            return
        self.is_owner = True
        if self._settings.storage is not None:
            history, page = self._history, self.mirror_settings.page
            self._mirror = Mirror(
                self,
                lambda cursor: history.evaluations(cursor, cursor + page),
                report=self._report,
                cursor=self._n_stored,
                pace=self.mirror_settings.pace,
                attend=self._take_enqueued,
            )
            self._mirror.start()

    def write(self, evaluations: Sequence[Evaluation]) -> None:
        """Store evaluations, but not those that contradict the study; see `Writer`.

        They end the run at once; the database would not take them, now or when it is resumed.
        """
        space = self._history.space
        if space.contradictions:
            refused = [e for e in evaluations if not space.accepts(e.layout.distributions)]
            self.contradicting.update((e.rank, e.seq) for e in refused)
            evaluations = [e for e in evaluations if (e.rank, e.seq) not in self.contradicting]
        self._stored.write(evaluations)

    def next_enqueued(self) -> Enqueued | None:
        """Return a trial that somebody enqueued during the run, for this rank to evaluate."""
        return self._enqueued.popleft() if self._enqueued else None

    def flush(self, patience: float) -> None:
        """Write all evaluations and stop; write those that the database does not take to a file.

        Parameters
        ----------
        patience
            Seconds without progress after which the database is given up.
        """
        self._takes_enqueued = False
        if self._mirror is None:
            return
        unwritten = self._mirror.flush_and_close(patience)
        self.n_unwritten = len(unwritten)
        if unwritten:
            self._rescue(unwritten)
        else:
            self._stored.conclude()

    def _take_enqueued(self) -> None:
        if self._takes_enqueued:
            self._enqueued.extend(self._stored.queue().take())

    def _rescue(self, unwritten: Sequence[Evaluation]) -> None:
        try:
            self.rescued = rescue.write(rescue.location(self._settings), unwritten)
        except rescue.RescueError as error:
            self._report(str(error))
        else:
            self._report(f"they are in {self.rescued}: --resume reads them from there")


class _StoredStudy:
    """A study that is opened when it is first needed, and tried again until that succeeds."""

    def __init__(
        self,
        settings: Settings,
        study: optuna.Study | None,
        report: Callable[[str], None],
        connection: ConnectionSettings,
    ) -> None:
        self._settings = settings
        self._report = report
        self._connection = connection
        self.study = study
        self._writer: Writer | None = None
        self._queue: Queue | None = None

    def write(self, evaluations: Sequence[Evaluation]) -> None:
        """Store evaluations; see `adbo.mirror.mirror.Writer`."""
        if self._writer is None:
            study = self._opened()
            revision = unsupported_revision(study)
            writer = writer_for(study)
            if revision is not None:
                self._report(
                    f"the database has version {revision} of Optuna's tables, which this adbo does"
                    " not know: it writes trial by trial, slowly, as Optuna does"
                )
            self._writer = writer
        self._writer.write(evaluations)

    def queue(self) -> Queue:
        """Return the queue of the trials that somebody enqueued."""
        if self._queue is None:
            self._queue = queue_for(self._opened())
        return self._queue

    def conclude(self) -> None:
        """Clean up when all is stored: remove rescue files, let unfinished trials wait again."""
        for path in rescue.find(rescue.location(self._settings)):
            path.unlink(missing_ok=True)
        try:
            self.queue().give_back()
        except (DatabaseError, RefusedError) as error:
            self._report(f"enqueued trials that were not evaluated remain RUNNING ({error})")

    def _opened(self) -> optuna.Study:
        if self.study is None:
            settings = self._settings
            assert settings.storage is not None
            try:
                self.study = open_study(
                    settings.storage,
                    settings.study_name,
                    settings.direction,
                    resume=True,
                    connection=self._connection,
                )
            except StudyError as error:
                raise DatabaseError(str(error)) from None
        return self.study
