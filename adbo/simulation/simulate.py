"""`simulate`: a whole run on a virtual clock, and its metrics.

The methods of the workers are in `adbo.simulation.methods`, the order of events in
`adbo.simulation.events`.

The utilization is that of Egele et al. (arXiv 2207.00479, section IV): the summed durations of the
evaluations that finished, divided by the end time and the number of workers. Evaluations that are
running at the end do not count, so it stays below 1; `Simulation.attainable` is the utilization of
the same durations if asking were free.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.trial import TrialState

from adbo.core.history import History
from adbo.core.settings import signs_of
from adbo.core.space import FloatArray
from adbo.core.strategy_counts import strategies_of
from adbo.core.summary import Summary, best_of, counts_of
from adbo.core.wire import Decoder
from adbo.interruption.stopping import signals_ignored
from adbo.objective.evaluate import Objective
from adbo.optimizer.settings import with_strategies
from adbo.run.recommended import with_recommendation
from adbo.simulation.events import ProcessDied
from adbo.simulation.methods import MethodSettings, RunMethod, make_methods
from adbo.simulation.news import latency_of, typical_ages
from adbo.simulation.settings import SimulationSettings
from adbo.simulation.virtual_ranks import LogEntry, Task

#: Called with the completed fraction and the best value so far (None before the first one).
ProgressCallback = Callable[[float, float | None], None]

_LOG = np.dtype(
    [
        ("rank", "<i4"),
        ("seq", "<u4"),
        ("value", "<f8"),
        ("started", "<f8"),
        ("finished", "<f8"),
        ("ask_seconds", "<f8"),
    ]
)


@dataclass(frozen=True)
class Simulation:
    """The result of a simulation.

    Parameters
    ----------
    settings
        The settings of the simulation.
    history
        All finished evaluations, in the order in which they finished.
    ask_seconds
        Virtual seconds charged for the ask of each evaluation, ``(n,)``.
    seconds
        Virtual seconds at the end: the time limit, or the finish time of evaluation ``n_trials``,
        or that of the last one before an interruption.
    interrupted
        Whether it ended before its limits.
    failure
        Why a process failed, or None.
    """

    settings: SimulationSettings
    history: History
    ask_seconds: FloatArray
    seconds: float
    interrupted: bool
    failure: str | None = None

    @property
    def log(self) -> NDArray[Any]:
        """All evaluations ``(n,)``: rank, seq, value, started, finished, ask_seconds."""
        log = np.empty(len(self.history), dtype=_LOG)
        for name in _LOG.names or ():
            if name != "ask_seconds":
                log[name] = self.history.column(name)
        log["ask_seconds"] = self.ask_seconds
        return log

    @property
    def utilization(self) -> float:
        """Fraction of the workers' time spent on evaluations that finished."""
        available = self.seconds * self.settings.workers
        return self.history.busy_seconds / available if available else math.nan

    @cached_property
    def attainable(self) -> float:
        """The utilization of the same durations if asking and telling were free.

        A manager counts as a worker. Pruned evaluations count with their full durations, so that
        halving can exceed it.
        """
        machine = self.settings.machine
        busy = sum(
            _busy_seconds(machine.durations(r), self.seconds) for r in range(machine.workers)
        )
        return busy / (self.seconds * machine.workers) if self.seconds else math.nan

    @property
    def news_ages(self) -> list[float] | None:
        """The median and the 99 % quantile of the age at which workers see a record, in seconds.

        None if the latency was given, or if records are known at once.
        """
        settings = self.settings
        size = settings.workers // settings.jobs
        if settings.latency is not None or not settings.has_news or not latency_of(size):
            return None
        return list(typical_ages(size))

    @property
    def overhead(self) -> float:
        """Worker seconds not spent on finished evaluations, per finished evaluation."""
        n = len(self.history)
        lost = self.seconds * self.settings.workers - self.history.busy_seconds
        return lost / n if n else math.nan

    @property
    def idle(self) -> float:
        """Mean seconds between evaluations of a worker: the overhead without the running ones."""
        last = np.zeros(self.settings.workers)
        np.maximum.at(last, self.history.column("rank"), self.history.column("finished"))
        n = len(self.history)
        return float(last.sum() - self.history.busy_seconds) / n if n else math.nan

    @property
    def best_so_far(self) -> FloatArray:
        """Value of the incumbent after each evaluation ``(n,)``; NaN before the first."""
        complete = self.history.column("state") == TrialState.COMPLETE.value
        cost = np.where(complete, self.history.cost(slice(None)), math.nan)
        return self.history.sign * np.fmin.accumulate(cost)

    def summary(self, study_name: str, storage: str) -> Summary:
        """Return the summary of the simulation."""
        history, settings = self.history, self.settings
        n_complete, n_pruned, n_fail = counts_of(history)
        summary = Summary(
            study_name=study_name,
            storage=storage,
            **best_of(history),
            method=settings.method,
            strategies=strategies_of(history),
            n_complete=n_complete,
            n_pruned=n_pruned,
            n_fail=n_fail,
            n_jobs=settings.jobs,
            n_workers=settings.workers,
            wall_seconds=self.seconds,
            utilization=self.utilization if len(history) else 0.0,
            utilization_attainable=None if n_pruned else self.attainable if len(history) else 0.0,
            ask_seconds_median=float(np.median(self.ask_seconds)) if len(history) else math.nan,
            news_age_seconds=self.news_ages,
            evaluations_per_rank=np.bincount(
                history.column("rank"), minlength=settings.workers
            ).tolist(),
            seed=settings.seed,
        )
        return with_recommendation(summary, history)


def simulate(
    objective: Objective,
    settings: SimulationSettings,
    progress: ProgressCallback | None = None,
    *,
    methods: Mapping[str, RunMethod] | None = None,
) -> Simulation:
    """Run an objective on virtual workers.

    Parameters
    ----------
    objective
        A function of an Optuna trial. It is really called, in a child process if there are
        several processes, but its real duration does not count.
    settings
        The workers, the limits and the method.
    progress
        Called after each evaluation. If Ctrl-C or the death of a process ends the simulation,
        the evaluations so far are kept.
    methods
        Methods by name, to simulate with settings other than the default ones and those of
        `settings`; see `adbo.simulation.methods.make_methods`.

    Returns
    -------
    Simulation

    Examples
    --------
    >>> from adbo.simulation.settings import SimulationSettings
    >>> from adbo.simulation.simulate import simulate
    >>> def objective(trial):
    ...     return trial.suggest_float("x", -5, 5) ** 2
    >>> simulation = simulate(objective, SimulationSettings(workers=4, n_trials=8, ask_cost=0.0))
    >>> len(simulation.history)
    8
    """
    task = Task(objective, signs_of(settings.direction), settings.kappa)
    if methods is None:
        optimizer = with_strategies(settings.strategies)
        methods = make_methods(MethodSettings(optimizer=optimizer))
    until = math.inf if settings.seconds is None else settings.seconds
    entries: list[LogEntry] = []
    interrupted, failure, best = False, None, math.nan
    try:
        with closing(methods[settings.method](task, settings.machine, until)) as events:
            for entry in itertools.islice(events, settings.n_trials):
                entries.append(entry)
                best = np.fmin(best, entry.cost)
                if progress is not None:
                    progress(
                        _fraction(settings, len(entries), entry.finished),
                        None if math.isnan(best) else task.signs[0] * float(best),
                    )
    except KeyboardInterrupt:
        interrupted = True
    except ProcessDied as error:
        interrupted, failure = True, str(error)
    history = History(task.signs)
    decoder = Decoder()
    with signals_ignored():  # a second Ctrl-C would lose the evaluations
        for entry in entries:  # one by one, since a decoder groups records by layout
            history.extend(decoder.decode([entry.data]).batches)
    last = entries[-1].finished if entries else 0.0
    complete = settings.n_trials is not None and len(entries) == settings.n_trials
    return Simulation(
        settings,
        history,
        np.array([entry.ask_seconds for entry in entries]),
        last if complete or interrupted else until,
        interrupted,
        failure,
    )


def _fraction(settings: SimulationSettings, n: int, now: float) -> float:
    of_trials = n / settings.n_trials if settings.n_trials is not None else 0.0
    of_seconds = now / settings.seconds if settings.seconds is not None else 0.0
    return max(of_trials, of_seconds)


def _busy_seconds(durations: Iterator[float], until: float) -> float:
    """Return the sum of the consecutive durations that end by ``until``."""
    ends = itertools.takewhile(lambda end: end <= until, itertools.accumulate(durations))
    return max(ends, default=0.0)
