"""`simulate`: a whole run on a virtual clock, and what there is to say about it.

It knows durations, limits and metrics; what the workers do is a method of
`adbo.simulation.methods`, when they do it the affair of `adbo.simulation.events`.

Utilization is that of Egele et al. (arXiv 2207.00479, section IV): the summed durations of the
evaluations finished by the end, over the end times the number of workers. Evaluations cut by the
end do not count, so 1 is out of reach; `Simulation.attainable` is the utilization of the same
durations without any cost of asking.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.trial import TrialState

from adbo.core.history import History
from adbo.core.settings import DIRECTIONS
from adbo.core.space import FloatArray
from adbo.core.stopping import signals_ignored
from adbo.core.summary import Summary, best_of, counts_of
from adbo.core.wire import Decoder
from adbo.objective.evaluate import Objective
from adbo.simulation.events import ProcessDied
from adbo.simulation.methods import METHODS
from adbo.simulation.settings import SimulationSettings
from adbo.simulation.virtual_ranks import Entry, Task

#: Called with the fraction done and the best value so far (None if there is none).
Progress = Callable[[float, float | None], None]

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
        Of what.
    history
        All evaluations that finished, in order.
    ask_seconds
        What was charged for the ask of each, ``(n,)``.
    seconds
        When it ended: the time limit, or when the last evaluation finished that was asked for.
    interrupted
        Whether it was broken off before that.
    failure
        Why it could not go on, if it could not.
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
        """The utilization of the same durations, were asking and telling free.

        All workers count, also one that is a manager; pruning does not.
        """
        machine = self.settings.machine
        busy = sum(
            _busy_seconds(machine.durations(r), self.seconds) for r in range(machine.workers)
        )
        return busy / (self.seconds * machine.workers) if self.seconds else math.nan

    @property
    def overhead(self) -> float:
        """Seconds of a worker for each evaluation that were not spent on one that finished."""
        n = len(self.history)
        lost = self.seconds * self.settings.workers - self.history.busy_seconds
        return lost / n if n else math.nan

    @property
    def idle(self) -> float:
        """Mean seconds between the evaluations of a worker: the overhead but for the end."""
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
        best_value, best_params = best_of(history)
        n_complete, n_pruned, n_fail = counts_of(history)
        return Summary(
            study_name=study_name,
            storage=storage,
            direction=settings.direction,
            method=settings.method,
            best_value=best_value,
            best_params=best_params,
            n_complete=n_complete,
            n_pruned=n_pruned,
            n_fail=n_fail,
            n_workers=settings.workers,
            wall_seconds=self.seconds,
            utilization=self.utilization if len(history) else 0.0,
            utilization_attainable=self.attainable if len(history) else 0.0,
            ask_seconds_median=float(np.median(self.ask_seconds)) if len(history) else math.nan,
            evaluations_per_rank=np.bincount(
                history.column("rank"), minlength=settings.workers
            ).tolist(),
            seed=settings.seed,
        )


def simulate(
    objective: Objective, settings: SimulationSettings, progress: Progress | None = None
) -> Simulation:
    """Run an objective on virtual workers.

    Parameters
    ----------
    objective
        A function of an Optuna trial; it is called for real, in a child process if there are
        several, but its real duration does not count.
    settings
        How many workers, how long, which method.
    progress
        Told after each evaluation; Ctrl-C ends the simulation and keeps what there is, as does
        the death of a process.

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
    task = Task(objective, DIRECTIONS[settings.direction], settings.kappa)
    until = math.inf if settings.seconds is None else settings.seconds
    entries: list[Entry] = []
    interrupted, failure, best = False, None, math.nan
    try:
        with closing(METHODS[settings.method](task, settings.machine, until)) as events:
            for entry in itertools.islice(events, settings.n_trials):
                entries.append(entry)
                best = np.fmin(best, entry.cost)
                if progress is not None:
                    progress(
                        _fraction(settings, len(entries), entry.finished),
                        None if math.isnan(best) else task.sign * float(best),
                    )
    except KeyboardInterrupt:
        interrupted = True
    except ProcessDied as error:
        interrupted, failure = True, str(error)
    history = History(task.sign)
    decoder = Decoder()
    with signals_ignored():  # or a second Ctrl-C would lose what the first one kept
        for entry in entries:  # one by one, to keep their order
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
    """Sum of the durations, one after the other, of which the last ends by then."""
    ends = itertools.takewhile(lambda end: end <= until, itertools.accumulate(durations))
    return max(ends, default=0.0)
