"""A whole run on one rank, from opening the study to the summary.

Here the parts are put together: history, loop, transport, objective, mirror. The ranks, the
objective and the reporter are passed in.
"""

from __future__ import annotations

import contextlib
import json
import math
import statistics
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import optuna

from adbo.comm.environment import process_name
from adbo.comm.protocols import Ranks
from adbo.core.enqueued import Enqueued
from adbo.core.evaluation import Evaluation
from adbo.core.history import History
from adbo.core.job import Job, job_of
from adbo.core.optuna_trials import FIXED_PARAMS
from adbo.core.settings import Settings, signs_of
from adbo.core.strategy_counts import strategies_of
from adbo.core.streams import write
from adbo.core.summary import Summary, best_of, counts_of
from adbo.core.wire import Decoder, Encoder, message
from adbo.interruption.stopping import Interruption, StopReason
from adbo.mirror import rescue
from adbo.mirror.connection import StudyError, absolute, storage_name
from adbo.mirror.filesystem import shared_kind
from adbo.mirror.owner import MirrorOwner
from adbo.mirror.settings import DEFAULTS, MirrorSettings
from adbo.mirror.stored_study import StoredStudy
from adbo.mirror.study import access_to, accessed, enter, open_study
from adbo.mirror.waiting import told_of_waiting
from adbo.objective.evaluate import Objective, describe_error
from adbo.run.hooks import NO_HOOKS, Hooks
from adbo.run.rank import Rank
from adbo.run.recommended import with_recommendation
from adbo.run.state import RunState, StartInfo

T = TypeVar("T")

#: Evaluations in one message at the start.
_PAGE = 1000


class Reporter(Protocol):
    """Tells the user how a run goes."""

    def begin(self, state: RunState) -> None:
        """Show that the run begins."""

    def say(self, text: str) -> None:
        """Show one line; may be called from any thread."""

    def end(self) -> None:
        """Show that the run is over."""


class Silence:
    """A reporter that says nothing."""

    def begin(self, state: RunState) -> None:
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
    state
        The run with its history: everything, unless ranks did not answer at the end.
    summary
        What ``--json`` writes.
    study
        The mirrored study on the mirror owner, if there is a mirror.
    reason
        Why the run stopped before the study was complete, or None.
    n_unwritten
        On the mirror owner, evaluations that the database did not take.
    missing
        Ranks that did not answer at the end.
    failed
        Ranks whose processes ended before this one.
    died
        The failed ranks that had not left. (After a death, ranks do not wait for each other at
        the end, so the last ones see the others fail that had done their part.)
    contradiction
        One line about a parameter of the objective that contradicts the study, which ended the
        run; None if there is none.
    is_owner
        Whether this rank owned the mirror at the end, and therefore speaks for all.
    rescued
        The file with the evaluations that the database did not take.
    callback_error
        What a callback raised on this rank, which ended the run.
    study_attrs
        The user attributes of the study, as the objective and the callbacks of this rank saw them.
    """

    state: RunState
    summary: Summary
    study: optuna.Study | None
    reason: StopReason | None
    n_unwritten: int
    missing: list[int]
    failed: list[int]
    died: list[int]
    is_owner: bool
    contradiction: str | None = None
    rescued: Path | None = None
    callback_error: BaseException | None = None
    study_attrs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def history(self) -> History:
        """What this rank knows."""
        return self.state.history


def execute(
    objective: Objective,
    settings: Settings,
    ranks: Ranks,
    reporter: Reporter,
    mirror_settings: MirrorSettings = DEFAULTS,
    hooks: Hooks = NO_HOOKS,
) -> Outcome:
    """Run one rank to the end of the study; collective.

    Raises
    ------
    adbo.mirror.connection.StudyError
        On every rank, before anything is evaluated, if rank 0 cannot open the study.
    """
    study: optuna.Study | None = None

    def begin() -> StartInfo:
        nonlocal study
        if settings.storage is not None:
            with told_of_waiting(settings.storage, reporter.say, mirror_settings.connection):
                study = open_study(
                    settings.storage,
                    settings.study_name,
                    settings.direction,
                    settings.resume,
                    mirror_settings.connection,
                )
        return _start(study, settings, ranks.size, reporter)

    with hooks.opening():
        start = ranks.share(begin)
    history = History(signs_of(settings.direction))
    history.extend(Decoder().decode(start.known).batches)
    history.sort()
    state = RunState(history, settings, start, ranks.size, len(history), time.time())
    url = settings.storage
    storage = absolute(url) if isinstance(url, str) else url
    named = replace(settings, study_name=start.study_name, storage=storage)
    stored = StoredStudy(named, start.job, start.cursor, study, reporter.say)
    owner = MirrorOwner(stored, history, reporter.say, mirror_settings)
    limits = settings.timeout, settings.walltime
    with Interruption(*limits, process_name(), hooks.ended_by) as interruption:
        hooks.begin()
        transport = ranks.transport()
        reporter.begin(state)
        if study is not None:
            _warn_of_locks(start.storage, reporter)
        rank = Rank(objective, state, transport, interruption, owner)
        try:
            rank.optimize()
            missing = rank.finish()
        except BaseException as error:
            # A bug. The other ranks would wait for this one forever, so write what is known.
            write(traceback.format_exc(), sys.stderr)
            owner.flush(lambda: mirror_settings.interrupted_patience)
            try:
                summary = summarize(state, transport.farewells)
                hooks.error(replace(summary, status=1, reason=describe_error(error)))
            finally:
                ranks.abort(1)
            raise
        finally:
            reporter.end()
    summary = summarize(state, transport.farewells)
    if owner.is_owner:
        summary = with_recommendation(summary, history)
    return Outcome(
        state,
        summary,
        owner.study,
        rank.stopped_early,
        owner.n_unwritten,
        missing,
        sorted(transport.failed),
        sorted(transport.failed - transport.farewells.keys()),
        owner.is_owner,
        _with_refused(rank.contradiction, len(owner.contradicting)),
        owner.rescued,
        rank.callback_error,
        rank.study_attrs,
    )


def _warn_of_locks(storage: str, reporter: Reporter) -> None:
    """Warn if the SQLite file is on a file system that other machines can write."""
    scheme, _, path = storage.partition(":///")
    kind = shared_kind(Path(path)) if scheme == "sqlite" else None
    if kind is not None:
        reporter.say(
            f"{path} is on {kind}, where SQLite's locks may fail: only this run must write to it,"
            " from one machine; or use a disk of the node, or PostgreSQL"
        )


def _with_refused(contradiction: str | None, n_refused: int) -> str | None:
    """Return the line about a contradiction, with what was not stored."""
    if contradiction is None or not n_refused:
        return contradiction
    return f"{contradiction}; {n_refused} evaluations that contradict it are not stored"


def _start(
    study: optuna.Study | None, settings: Settings, n_ranks: int, reporter: Reporter
) -> StartInfo:
    start = StartInfo(
        settings.study_name,
        "none" if settings.storage is None else storage_name(settings.storage),
        int(np.random.SeedSequence(settings.seed).entropy),  # type: ignore[arg-type]
        job=Job(n_ranks=n_ranks),
    )
    if study is None:
        points = {json.dumps(point, sort_keys=True): dict(point) for point in settings.enqueue}
        enqueued = [Enqueued(point, {}, {FIXED_PARAMS: point}) for point in points.values()]
        return replace(start, enqueued=enqueued)
    return _joined(start, study, settings, reporter)


def _joined(
    start: StartInfo, study: optuna.Study, settings: Settings, reporter: Reporter
) -> StartInfo:
    """Begin a job on a study, and return what all ranks must know with what is stored there."""
    files = rescue.location(settings) if settings.resume else None
    with accessed("read"), _rescue_explained():
        last_job = -1 if files is None else rescue.last_job(files)
        with told_of_waiting(study._storage, reporter.say):
            number, identity, n_other_jobs = enter(study, last_job)
        access = access_to(study, number)
        if settings.enqueue:
            access.queue.add(settings.enqueue)
        known = access.reader.read()
        job = replace(start.job, number=number, n_before=len(known), study=identity)
        if files is not None:
            known += rescue.restore(files, access, known, reporter.say)
        cursor = access.reader.cursor
        access.jobs.stay(number)  # reading may take longer than a job may be silent
        enqueued = [*access.take_lost(cursor), *access.queue.take(cursor.unfinished)]
    return replace(
        start,
        known=_pages(known),
        enqueued=enqueued,
        job=job,
        n_other_jobs=n_other_jobs,
        study_attrs=study.user_attrs,
        cursor=cursor,
    )


@contextlib.contextmanager
def _rescue_explained() -> Iterator[None]:
    """Raise what is wrong with a rescue file as a message for the user."""
    try:
        yield
    except rescue.RescueError as error:
        raise StudyError(str(error)) from None


def _pages(evaluations: Sequence[Evaluation]) -> list[bytes]:
    encoder = Encoder()
    frames = [encoder.frames(e) for e in evaluations]
    return [message(frames[page : page + _PAGE]) for page in range(0, len(frames), _PAGE)]


def summarize(state: RunState, farewells: Mapping[int, Mapping[str, Any]]) -> Summary:
    """Return the summary of a run."""
    history = state.history
    own = state.n_before + np.flatnonzero(state.own(state.n_before, len(history)))
    busy = history.column("finished")[own] - history.column("started")[own]
    rank, seq = history.column("rank"), history.column("seq")
    jobs = {state.start.job.number, *np.unique(job_of(seq[rank >= 0])).tolist()}
    wall_seconds = time.time() - state.started
    asks = [f["ask_seconds"] for f in farewells.values() if f["evaluations"]]
    n_complete, n_pruned, n_fail = counts_of(history)
    return Summary(
        study_name=state.start.study_name,
        storage=state.start.storage,
        **best_of(history),
        strategies=strategies_of(history),
        n_complete=n_complete,
        n_pruned=n_pruned,
        n_fail=n_fail,
        n_before=state.n_before,
        n_own=len(own),
        n_jobs=len(jobs),
        n_ranks=state.n_ranks,
        wall_seconds=wall_seconds,
        utilization=float(busy.sum()) / (state.n_ranks * wall_seconds),
        ask_seconds_median=statistics.median(asks) if asks else math.nan,
        evaluations_per_rank=np.bincount(rank[own], minlength=state.n_ranks).tolist(),
    )
