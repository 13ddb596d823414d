"""The duty to keep the mirror: it falls to one rank, and to the next one when that dies."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import optuna
import sqlalchemy as sa

from adbo.core.enqueued import Enqueued
from adbo.core.evaluation import Evaluation
from adbo.core.history import History
from adbo.core.settings import Settings
from adbo.mirror import rescue
from adbo.mirror.connection import StudyError, storage_name, storage_url
from adbo.mirror.mirror import Mirror, Writer
from adbo.mirror.queue import Queue
from adbo.mirror.schema import DatabaseError
from adbo.mirror.study import open_study, queue_of, unknown_schema, writer_for

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
    n_stored
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
        n_stored: int,
        report: Callable[[str], None],
        study: optuna.Study | None,
    ) -> None:
        self._settings = settings
        self._stored = _Stored(settings, study, report)
        self._mirror: Mirror | None = None
        self._history = history
        self._n_stored = n_stored
        self._report = report
        self._enqueued: deque[Enqueued] = deque()
        self._is_taking = True
        self.on_duty = False
        self.n_unwritten = 0
        #: Where they are kept instead, if they are.
        self.rescued: Path | None = None

    @property
    def study(self) -> optuna.Study | None:
        """The study, on the rank that keeps it."""
        return self._stored.study

    def take_up(self) -> None:
        """From now on this rank keeps the mirror; what is stored already is not stored again."""
        if self.on_duty:
            return
        self.on_duty = True
        if self._settings.storage is not None:
            history = self._history
            self._mirror = Mirror(
                self._stored,
                lambda cursor: history.evaluations(cursor, cursor + PAGE),
                report=self._report,
                cursor=self._n_stored,
                attend=self._attend,
            )
            self._mirror.start()

    def next_enqueued(self) -> Enqueued | None:
        """A trial that somebody enqueued during the run, for this rank to evaluate."""
        return self._enqueued.popleft() if self._enqueued else None

    def flush(self, patience: float) -> None:
        """Write what is left, and stop; what the database does not take goes into a file.

        Parameters
        ----------
        patience
            Seconds without any progress after which the database is given up.
        """
        self._is_taking = False
        if self._mirror is None:
            return
        unwritten = self._mirror.flush_and_close(patience)
        self.n_unwritten = len(unwritten)
        if unwritten:
            self._rescue(unwritten)
        else:
            self._stored.conclude()

    def _attend(self) -> None:
        if self._is_taking:
            self._enqueued.extend(self._stored.queue().take())

    def _rescue(self, unwritten: Sequence[Evaluation]) -> None:
        try:
            self.rescued = rescue.write(rescue_place(self._settings), unwritten)
        except rescue.RescueError as error:
            self._report(str(error))
        else:
            self._report(f"they are in {self.rescued}: --resume reads them from there")


def rescue_place(settings: Settings) -> rescue.Place:
    """Where evaluations are kept that the database of a run did not take."""
    assert settings.storage is not None
    name, beside = storage_name(settings.storage), None
    if name.startswith("sqlite"):
        path = Path(sa.make_url(storage_url(settings.storage)).database or "").absolute()
        name, beside = f"sqlite:///{path}", path.parent
    return rescue.Place(settings.study_name, name, rescue.usual_directories(beside))


class _Stored:
    """A study that is opened when it is first needed, and again until that succeeds."""

    def __init__(
        self, settings: Settings, study: optuna.Study | None, report: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._report = report
        self.study = study
        self._writer: Writer | None = None
        self._queue: Queue | None = None

    def write(self, evaluations: Sequence[Evaluation]) -> None:
        """Store evaluations; see `adbo.mirror.mirror.Writer`."""
        if self._writer is None:
            study = self._opened()
            version = unknown_schema(study)
            writer = writer_for(study)
            if version is not None:
                self._report(
                    f"the database has version {version} of Optuna's tables, which this adbo does"
                    " not know: it writes trial by trial, slowly, as Optuna does"
                )
            self._writer = writer
        self._writer.write(evaluations)

    def queue(self) -> Queue:
        """The trials that others enqueue."""
        if self._queue is None:
            self._queue = queue_of(self._opened())
        return self._queue

    def conclude(self) -> None:
        """Everything is stored: nothing needs to be rescued, and nobody evaluates any more."""
        place = rescue_place(self._settings)
        for path in rescue.find(place):
            path.unlink(missing_ok=True)
        try:
            self.queue().give_back()
        except Exception as error:
            self._report(f"enqueued trials that were not evaluated remain RUNNING ({error})")

    def _opened(self) -> optuna.Study:
        if self.study is None:
            settings = self._settings
            assert settings.storage is not None
            try:
                self.study = open_study(
                    settings.storage, settings.study_name, settings.direction, resume=True
                )
            except StudyError as error:
                raise DatabaseError(str(error)) from None
        return self.study
