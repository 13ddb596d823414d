"""The mirror owner: the rank that exchanges evaluations between its job and the study.

Every rank can become the owner; the lowest living rank is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import optuna

from adbo.core.enqueued import Enqueued
from adbo.core.evaluation import Evaluation, to_batch
from adbo.core.history import History
from adbo.core.leftover import Leftover
from adbo.mirror import rescue
from adbo.mirror.mirror import Mirror
from adbo.mirror.settings import MirrorSettings
from adbo.mirror.stored_study import StoredStudy


class MirrorOwner:
    """Keeps a history and the study alike from the moment at which this rank becomes the owner.

    Parameters
    ----------
    stored
        The study.
    history
        The history, into which the study has been read up to the cursor of `stored`.
    report
        Takes one line for the user; called from any thread.
    mirror_settings
        The tunables.
    """

    def __init__(
        self,
        stored: StoredStudy,
        history: History,
        report: Callable[[str], None],
        mirror_settings: MirrorSettings,
    ) -> None:
        self.mirror_settings = mirror_settings
        self._stored = stored
        self._has_storage = stored.settings.storage is not None
        # Not later, since objectives may change the directory.
        self._location = rescue.location(stored.settings) if self._has_storage else None
        self._mirror: Mirror | None = None
        self._history = history
        self._n_stored = len(history)
        self._report = report
        self._news: deque[Evaluation] = deque()
        self._enqueued: deque[Enqueued] = deque()
        self._leftovers: Sequence[Leftover] = ()
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
        if self._has_storage:
            history, page = self._history, self.mirror_settings.page
            self._mirror = Mirror(
                self,
                lambda cursor: history.evaluations(cursor, cursor + page),
                report=self._report,
                cursor=self._n_stored,
                pace=self.mirror_settings.pace,
                attend=self._attend,
                conclude=self._conclude,
                is_own=self._is_own,
            )
            self._mirror.start()

    def write(self, evaluations: Sequence[Evaluation]) -> None:
        """Store evaluations, but not those that contradict the study; see `Writer`.

        They end the run at once; the database would not take them, now or when it is resumed.
        """
        space = self._history.space
        if space.contradictions:
            own = [e for e in evaluations if self._is_own(e)]
            refused = [e for e in own if not space.accepts(e.layout.distributions)]
            self.contradicting.update((e.rank, e.seq) for e in refused)
            evaluations = [e for e in evaluations if (e.rank, e.seq) not in self.contradicting]
        self._stored.write(evaluations)

    def news(self) -> list[Evaluation]:
        """Return what others have stored since the last call and the history does not have."""
        news = [self._news.popleft() for _ in range(len(self._news))]
        return [e for e in news if not self._history.knows(e.rank, e.seq)]

    def next_enqueued(self) -> Enqueued | None:
        """Return a trial that somebody enqueued during the run, for this rank to evaluate."""
        return self._enqueued.popleft() if self._enqueued else None

    def flush(self, patience: Callable[[], float], leftovers: Sequence[Leftover] = ()) -> None:
        """Write all evaluations and stop; write those that the database does not take to a file.

        Parameters
        ----------
        patience
            Returns the seconds without progress after which the database is given up.
        leftovers
            Of all ranks.
        """
        if self._mirror is None:
            return
        self._leftovers = leftovers
        unwritten = self._mirror.flush_and_close(patience)
        if any(map(any, leftovers)) and not self._mirror.has_concluded:
            self._report("enqueued trials, or attributes set by callbacks, are not stored")
        self.n_unwritten = len(unwritten)
        if unwritten:
            self._rescue(unwritten)
        # Nothing must be broadcast after the farewell of this rank, but its summary counts all.
        self._history.extend(map(to_batch, self.news()))

    def _is_own(self, evaluation: Evaluation) -> bool:
        return bool(self._stored.job.made(evaluation.rank, evaluation.seq))

    def _attend(self) -> None:
        """Read what others did to the study, and show them that this job is running."""
        self._news.extend(self._stored.read())
        self._enqueued.extend(self._stored.take_enqueued())
        self._enqueued.extend(self._stored.stay())

    def _conclude(self) -> None:
        """Leave the study; store what the ranks have left."""
        self._news.extend(self._stored.conclude())
        self._stored.add(self._leftovers)

    def _rescue(self, unwritten: Sequence[Evaluation]) -> None:
        assert self._location is not None
        try:
            self.rescued = rescue.write(self._location, unwritten)
        except rescue.RescueError as error:
            self._report(str(error))
        else:
            self._report(f"they are in {self.rescued}: --resume reads them from there")
