"""A whole run of one rank, from the opening of the study to its end.

This is where the parts are put together: history, worker, transport, objective, mirror. The ranks,
the objective and whoever tells the user are passed in.
"""

from __future__ import annotations

import statistics
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import optuna

from adbo.history import History
from adbo.interruption import BrokenOff, Interruption, Reason
from adbo.mirror import Mirror
from adbo.objective import Objective, Trial, evaluate
from adbo.optimizer import DIRECTIONS, propose
from adbo.records import Decoder, Encoder, message
from adbo.settings import Settings
from adbo.space import FloatArray
from adbo.study import open_study, read_evaluations, storage_name, writer_for
from adbo.worker import Transport, work

T = TypeVar("T")

#: How long, in seconds, an interrupted run waits for ranks that do not answer and for a database
#: that makes no progress. Slurm kills a job 30 s after its SIGTERM unless configured otherwise.
PATIENCE = 10.0

#: The same for a database at the end of a run that nobody interrupted.
LONG_PATIENCE = 60.0

#: Shortest and longest sleep, in seconds, between two looks at the network while waiting for
#: others: idle ranks cost next to no CPU, and what comes in is answered soon.
_PAUSES = (1e-4, 2e-2)

#: Asks over which the median duration of an ask is taken.
_ASKS = 4096

#: Evaluations that the mirror takes at once.
_MIRROR_PAGE = 1000


class FinalTransport(Transport, Protocol):
    """A transport with an end."""

    farewells: dict[int, dict[str, Any]]

    def leave(self, statistics: Mapping[str, Any]) -> None:
        """Tell every peer that no record of this rank follows."""

    @property
    def settled(self) -> bool:
        """Whether every rank has left and every record is everywhere."""


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


@dataclass(frozen=True)
class Start:
    """What every rank must know before it begins."""

    study_name: str
    storage: str
    entropy: int
    known: list[bytes]
    """Messages with the finished trials that the study already had."""


@dataclass(frozen=True)
class Progress:
    """A run under way, as a reporter may look at it from any thread of its rank."""

    history: History
    settings: Settings
    start: Start
    n_ranks: int
    n_before: int
    started: float
    """Seconds since the epoch."""


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
        The mirrored study on rank 0, if there is a mirror.
    reason
        Why it stopped before it was complete, if it did.
    n_unwritten
        Evaluations that the database did not take, on rank 0.
    missing
        Ranks that did not answer in the end.
    """

    progress: Progress
    summary: dict[str, Any]
    study: optuna.Study | None
    reason: Reason | None
    n_unwritten: int
    missing: list[int]

    @property
    def history(self) -> History:
        return self.progress.history


def execute(objective: Objective, settings: Settings, ranks: Ranks, reporter: Reporter) -> Outcome:
    """Run one rank to the end of the study; all ranks must do so together.

    Raises
    ------
    adbo.study.StudyError
        On every rank, before anything is evaluated, if rank 0 cannot open the study.
    """
    study: optuna.Study | None = None

    def begin() -> Start:
        nonlocal study
        if settings.storage is not None:
            study = open_study(
                settings.storage, settings.study_name, settings.direction, settings.resume
            )
        return _start(study, settings)

    start = ranks.share(begin)
    history = History(DIRECTIONS[settings.direction].sign)
    history.extend(Decoder().decode(start.known).batches)
    progress = Progress(history, settings, start, ranks.size, len(history), time.time())
    mirror = _mirror(study, history, reporter)
    with Interruption(settings.timeout) as interruption:
        transport = ranks.transport()
        if mirror is not None:
            mirror.start()
        reporter.begin(progress)
        rank = _Rank(objective, progress, transport, interruption, ranks.rank)
        try:
            rank.optimize()
            missing = rank.finish(lambda: _flush(mirror, interruption))
        except BaseException:
            # A bug. The others would wait for this rank forever; what is known gets written.
            traceback.print_exc()
            interruption.note(Reason.SIGTERM)
            _flush(mirror, interruption)
            ranks.abort(1)
            raise
        finally:
            reporter.end()
    return Outcome(
        progress,
        summarize(progress, transport.farewells),
        study,
        interruption.reason,
        0 if mirror is None else len(mirror.unwritten()),
        missing,
    )


def _start(study: optuna.Study | None, settings: Settings) -> Start:
    encoder = Encoder()
    known = [encoder.frames(e) for e in read_evaluations(study)] if study is not None else []
    pages = range(0, len(known), _MIRROR_PAGE)
    return Start(
        settings.study_name,
        "none" if settings.storage is None else storage_name(settings.storage),
        int(np.random.SeedSequence(settings.seed).entropy),  # type: ignore[arg-type]
        [message(known[page : page + _MIRROR_PAGE]) for page in pages],
    )


def _mirror(study: optuna.Study | None, history: History, reporter: Reporter) -> Mirror | None:
    if study is None:
        return None
    return Mirror(
        writer_for(study),
        lambda cursor: history.evaluations(cursor, cursor + _MIRROR_PAGE),
        report=reporter.say,
        cursor=len(history),
    )


def _flush(mirror: Mirror | None, interruption: Interruption) -> None:
    if mirror is not None:
        mirror.flush_and_close(LONG_PATIENCE if interruption.reason is None else PATIENCE)


class _Rank:
    """One rank in its two stretches of time: until it is stopped, and after."""

    def __init__(
        self,
        objective: Objective,
        progress: Progress,
        transport: FinalTransport,
        interruption: Interruption,
        rank: int,
    ) -> None:
        self._objective = objective
        self._progress = progress
        self._history = progress.history
        self._transport = transport
        self._interruption = interruption
        self._rank = rank
        self._first_seq = first_seq(self._history, progress.n_ranks)
        self._n_evaluations = 0
        self._ask_seconds: deque[float] = deque(maxlen=_ASKS)
        # A resumed run must not repeat the random numbers of the one before.
        seed = np.random.SeedSequence(progress.start.entropy, spawn_key=(rank, progress.n_before))
        ask_seed, trial_seed = seed.spawn(2)
        self._rng = np.random.default_rng(ask_seed)
        self._trial_rng = np.random.default_rng(trial_seed)

    def optimize(self) -> None:
        """Ask, evaluate and broadcast until there is a reason to stop."""
        loop = work(self._history, self._propose, self._transport, self._should_stop)
        try:
            point = next(loop)
            while True:
                point = loop.send(self._evaluate(point))
        except (StopIteration, BrokenOff):
            pass
        except KeyboardInterrupt:
            self._interruption.note(Reason.SIGINT)

    def finish(self, flush: Callable[[], None]) -> list[int]:
        """Wait until every record is everywhere and written; return ranks that did not answer.

        Rank 0 leaves last, when all is written, so that the others wait for it in their sleep and
        not in `MPI_Finalize`, which spins.
        """
        if self._rank != 0:
            self._leave()
        else:
            n_peers = self._progress.n_ranks - 1
            self._wait(lambda: len(self._transport.farewells) >= n_peers)
            flush()
            self._leave()
        self._wait(lambda: self._transport.settled)
        return [r for r in range(self._progress.n_ranks) if r not in self._transport.farewells]

    def _propose(self, history: History) -> FloatArray:
        start = time.perf_counter()
        point = propose(history, self._progress.settings.kappa, self._rng)
        self._ask_seconds.append(time.perf_counter() - start)
        return point

    def _evaluate(self, point: FloatArray) -> Any:
        seq = self._first_seq + self._n_evaluations
        number = seq * self._progress.n_ranks + self._rank
        trial = Trial(self._history.space, point, number, time.time(), self._trial_rng)
        evaluation = evaluate(self._breakable, trial, (self._rank, seq), time.time)
        self._n_evaluations += 1
        return evaluation

    def _breakable(self, trial: Any) -> Any:
        with self._interruption.breakable():
            return self._objective(trial)

    def _should_stop(self) -> bool:
        self._listen()
        n_trials = self._progress.settings.n_trials
        complete = n_trials is not None and len(self._history) >= n_trials
        return complete or self._interruption.check() is not None

    def _listen(self) -> None:
        """A rank that was told to stop tells the others by its farewell."""
        for statistics_ in self._transport.farewells.values():
            if statistics_["reason"] is not None:
                self._interruption.note(Reason[statistics_["reason"]])

    def _leave(self) -> None:
        reason = self._interruption.reason
        self._transport.leave(
            {
                "rank": self._rank,
                "reason": None if reason is None else reason.name,
                "ask_seconds": statistics.median(self._ask_seconds or [0.0]),
                "evaluations": self._n_evaluations,
            }
        )

    def _wait(self, done: Callable[[], bool]) -> None:
        """Receive until done, or, on an interrupted rank 0, until patience is over."""
        shortest, longest = _PAUSES
        pause = shortest
        while not done():
            news = self._history.extend(self._transport.receive())
            self._listen()
            since = self._interruption.since
            if self._rank == 0 and since is not None and time.monotonic() - since > PATIENCE:
                return
            pause = shortest if news else min(2 * pause, longest)
            time.sleep(pause)


def first_seq(history: History, n_ranks: int) -> int:
    """The first ``seq`` of every rank, such that ``seq * n_ranks + rank`` is a new trial number.

    Parameters
    ----------
    history
        Evaluations of earlier runs, perhaps on another number of ranks, and trials that adbo did
        not make.
    n_ranks
        Ranks of this run.
    """
    if not len(history):
        return 0
    seqs = int(history.column("seq").max()) + 1
    ranks = max(int(history.column("rank").max()) + 1, n_ranks)
    return -(-max(seqs * ranks, len(history)) // n_ranks)


def summarize(progress: Progress, farewells: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """The summary of a run, as ``--json`` writes it."""
    history, settings = progress.history, progress.settings
    new = slice(progress.n_before, len(history))
    busy = history.column("finished")[new] - history.column("started")[new]
    wall_seconds = time.time() - progress.started
    asks = [f["ask_seconds"] for f in farewells.values() if f["evaluations"]]
    best = history.best
    counts = {state.name: count for state, count in history.counts.items()}
    return {
        "study_name": progress.start.study_name,
        "storage": progress.start.storage,
        "direction": settings.direction,
        "best_value": None if best is None else float(history.column("value")[best]),
        "best_params": None if best is None else history.evaluation(best).params,
        "n_complete": counts["COMPLETE"],
        "n_pruned": counts["PRUNED"],
        "n_fail": counts["FAIL"],
        "n_before": progress.n_before,
        "n_ranks": progress.n_ranks,
        "wall_seconds": wall_seconds,
        "utilization": float(busy.sum()) / (progress.n_ranks * wall_seconds),
        "ask_seconds_median": statistics.median(asks) if asks else None,
        "evaluations_per_rank": np.bincount(
            history.column("rank")[new], minlength=progress.n_ranks
        ).tolist(),
    }
