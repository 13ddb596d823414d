"""A whole run of one rank, from the opening of the study to its end.

This is where the parts are put together: history, worker, transport, objective, mirror. The ranks,
the objective and whoever tells the user are passed in.
"""

from __future__ import annotations

import math
import statistics
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import optuna

from adbo.core.enqueued import Enqueued
from adbo.core.evaluation import Evaluation
from adbo.core.history import History
from adbo.core.settings import DIRECTIONS, Settings
from adbo.core.stopping import Interruption, StopReason
from adbo.core.summary import Summary, best_of, counts_of
from adbo.core.wire import Decoder, Encoder, message
from adbo.mirror import rescue
from adbo.mirror.connection import StudyError, storage_name
from adbo.mirror.filesystem import shared_kind
from adbo.mirror.owner import PATIENCE, Keeper, rescue_place
from adbo.mirror.study import (
    open_study,
    read_enqueued,
    read_evaluations,
    read_numbering,
    write_numbering,
)
from adbo.objective.evaluate import Objective
from adbo.run.groups import Channel
from adbo.run.rank import FinalTransport, Rank
from adbo.run.state import Numbering, Progress, Start, next_numbering

T = TypeVar("T")

#: Evaluations in one message of the start.
_PAGE = 1000


class Ranks(Protocol):
    """The ranks of a run, as one of them sees them."""

    rank: int
    size: int

    def transport(self) -> FinalTransport:
        """A way to the peers; collective."""

    def agree(self, value: T) -> list[T]:
        """What every rank says, by rank, on every rank; collective."""

    def share(self, make: Callable[[], T]) -> T:
        """What rank 0 makes, or the exception it raises, on every rank; collective."""

    def abort(self, status: int) -> None:
        """End the whole job at once, without waiting for anybody."""

    def depart(self, status: int) -> None:
        """End this process after others have died."""

    def node(self) -> tuple[int, list[frozenset[int]]]:
        """This rank's place on its node, and the processors of each rank there; collective."""

    def groups(self, size: int) -> tuple[Ranks, Channel]:
        """The leaders of groups of so many ranks, and this rank's group; collective."""


class Reporter(Protocol):
    """Whoever tells the user."""

    def begin(self, progress: Progress) -> None:
        """The run begins."""

    def say(self, text: str) -> None:
        """One line for the user; from any thread."""

    def end(self) -> None:
        """The run is over."""


class Silence:
    """The reporter that says nothing."""

    def begin(self, progress: Progress) -> None:
        """Say nothing."""

    def say(self, text: str) -> None:
        """Say nothing."""

    def end(self) -> None:
        """Say nothing."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Parameters
    ----------
    history
        What this rank knows: everything, unless ranks did not answer in the end.
    study
        The mirrored study on the keeper, if there is a mirror.
    reason
        Why it stopped before it was complete, if it did.
    n_unwritten
        Evaluations that the database did not take, on the keeper.
    missing
        Ranks that did not answer in the end.
    gone
        Ranks whose processes ended before this one.
    died
        Those of them that had not said farewell. Where one has died, the others do not wait for
        each other in the end, so that the last ones miss those that had done their part.
    is_keeper
        Whether this rank kept the mirror in the end, and so speaks for all.
    """

    progress: Progress
    summary: Summary
    study: optuna.Study | None
    reason: StopReason | None
    n_unwritten: int
    missing: list[int]
    gone: list[int]
    died: list[int]
    is_keeper: bool
    rescued: Path | None = None
    """Where those are that the database did not take."""

    @property
    def history(self) -> History:
        return self.progress.history


def execute(objective: Objective, settings: Settings, ranks: Ranks, reporter: Reporter) -> Outcome:
    """Run one rank to the end of the study; all ranks must do so together.

    Raises
    ------
    adbo.mirror.connection.StudyError
        On every rank, before anything is evaluated, if rank 0 cannot open the study.
    """
    study: optuna.Study | None = None

    def begin() -> Start:
        nonlocal study
        if settings.storage is not None:
            study = open_study(
                settings.storage, settings.study_name, settings.direction, settings.resume
            )
        return _start(study, settings, ranks.size, reporter)

    start = ranks.share(begin)
    history = History(DIRECTIONS[settings.direction])
    history.extend(Decoder().decode(start.known).batches)
    n_stored = len(history)
    history.extend(Decoder().decode(start.rescued).batches)
    progress = Progress(history, settings, start, ranks.size, len(history), time.time())
    keeper = Keeper(
        replace(settings, study_name=start.study_name),
        history,
        n_stored,
        reporter.say,
        study,
    )
    with Interruption(settings.timeout, settings.walltime) as interruption:
        transport = ranks.transport()
        reporter.begin(progress)
        if study is not None:
            _warn_of_locks(start.storage, reporter)
        rank = Rank(objective, progress, transport, interruption, keeper)
        try:
            rank.optimize()
            missing = rank.finish()
        except BaseException:
            # A bug. The others would wait for this rank forever; what is known gets written.
            traceback.print_exc()
            keeper.flush(PATIENCE)
            ranks.abort(1)
            raise
        finally:
            reporter.end()
    return Outcome(
        progress,
        summarize(progress, transport.farewells),
        keeper.study,
        rank.stopped_early,
        keeper.n_unwritten,
        missing,
        sorted(transport.gone),
        sorted(transport.gone - transport.farewells.keys()),
        keeper.on_duty,
        keeper.rescued,
    )


def _warn_of_locks(storage: str, reporter: Reporter) -> None:
    """Tell whoever put a SQLite file where other machines might write it too."""
    scheme, _, path = storage.partition(":///")
    kind = shared_kind(Path(path)) if scheme == "sqlite" else None
    if kind is not None:
        reporter.say(
            f"{path} is on {kind}, where SQLite's locks may fail: only this run must write to it,"
            " from one machine; or use a disk of the node, or PostgreSQL"
        )


def _start(
    study: optuna.Study | None, settings: Settings, n_ranks: int, reporter: Reporter
) -> Start:
    known: list[Evaluation] = []
    rescued: list[Evaluation] = []
    enqueued: list[Enqueued] = []
    numbering = Numbering(n_ranks=n_ranks)
    if study is not None:
        known = read_evaluations(study)
        if settings.resume:
            rescued = _read_rescued(settings, known, reporter)
        enqueued = read_enqueued(study)
        last = read_numbering(study)
        numbering = next_numbering([*known, *rescued], n_ranks, last and Numbering(*last))
        write_numbering(study, astuple(numbering))
    return Start(
        settings.study_name,
        "none" if settings.storage is None else storage_name(settings.storage),
        int(np.random.SeedSequence(settings.seed).entropy),  # type: ignore[arg-type]
        _pages(known),
        _pages(rescued),
        enqueued,
        numbering,
    )


def _pages(evaluations: Sequence[Evaluation]) -> list[bytes]:
    encoder = Encoder()
    frames = [encoder.frames(e) for e in evaluations]
    return [message(frames[page : page + _PAGE]) for page in range(0, len(frames), _PAGE)]


def _read_rescued(
    settings: Settings, known: Sequence[Evaluation], reporter: Reporter
) -> list[Evaluation]:
    """What an earlier run could not store."""
    rescued: list[Evaluation] = []
    for path in rescue.find(rescue_place(settings)):
        try:
            new = rescue.renamed(rescue.read(path), [*known, *rescued])
        except rescue.RescueError as error:
            raise StudyError(str(error)) from None
        reporter.say(f"{len(new)} evaluations that the database had not taken are from {path}")
        rescued += new
    return rescued


def summarize(progress: Progress, farewells: Mapping[int, Mapping[str, Any]]) -> Summary:
    """Return the summary of a run."""
    history = progress.history
    new = slice(progress.n_before, len(history))
    busy = history.column("finished")[new] - history.column("started")[new]
    wall_seconds = time.time() - progress.started
    asks = [f["ask_seconds"] for f in farewells.values() if f["evaluations"]]
    best_value, best_params = best_of(history)
    n_complete, n_pruned, n_fail = counts_of(history)
    return Summary(
        study_name=progress.start.study_name,
        storage=progress.start.storage,
        direction=progress.settings.direction,
        best_value=best_value,
        best_params=best_params,
        n_complete=n_complete,
        n_pruned=n_pruned,
        n_fail=n_fail,
        n_before=progress.n_before,
        n_ranks=progress.n_ranks,
        wall_seconds=wall_seconds,
        utilization=float(busy.sum()) / (progress.n_ranks * wall_seconds),
        ask_seconds_median=statistics.median(asks) if asks else math.nan,
        evaluations_per_rank=np.bincount(
            history.column("rank")[new], minlength=progress.n_ranks
        ).tolist(),
    )
