"""The choices of a simulation, checked without importing what carries it out.

The command line reports a wrong one before numpy, Optuna or scikit-learn are loaded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from adbo.core.errors import UsageError
from adbo.core.settings import KAPPA, check_strategies, directions_of
from adbo.simulation.durations import parse_duration

if TYPE_CHECKING:
    from adbo.simulation.virtual_ranks import Machine

#: Methods whose worker 0 is a manager, which evaluates nothing.
MANAGED = frozenset({"acbo-rf", "acbo-rf-liar", "acbo-gp", "acbo-random", "tpe"})

#: Methods that can be simulated in several jobs: every worker asks for itself, without a barrier.
IN_JOBS = ("adbo", "random")

#: Methods that can have several objectives.
SEVERAL = ("adbo", "random")

#: Methods with the optimizer of this package, whose strategies can be chosen.
ADBO = ("adbo", "adbo-halving")

#: The names of `adbo.simulation.methods.METHODS`, in the same order.
METHOD_NAMES = (
    "adbo",
    "adbo-halving",
    "adbo-2022",
    "sdbo",
    "sdbo-10",
    "acbo-rf",
    "acbo-rf-liar",
    "acbo-gp",
    "acbo-random",
    "random",
    "asha",
    "tpe",
    "tpe-rdb",
)


#: The fields whose options have other names.
_OPTIONS = {"n_trials": "trials", "seconds": "time"}


@dataclass(frozen=True)
class SimulationSettings:
    """The choices of a simulation.

    Parameters
    ----------
    workers
        Number of virtual workers.
    n_trials, seconds
        Number of finished evaluations, and virtual time, at which to end; at least one is needed.
    duration
        Virtual duration of an evaluation, see `parse_duration`.
    latency
        Seconds until a finished evaluation is known to the other workers of its job. None for the
        median age of news among so many ranks, for the methods `IN_JOBS` with more than 32 workers
        in a job; else 0. Only these methods are charged for messages, too.
    ask_cost, ask_cost_per_evaluation
        Seconds that an ask takes, and additional seconds for each evaluation known to the worker.
        Without `ask_cost`, an ask takes its measured CPU time. With it, the seed determines the
        result, together with `processes` for some methods.
    method
        One of `METHOD_NAMES`.
    direction, seed, kappa
        As in `adbo.core.settings.Settings`.
    processes
        Number of processes that compute the asks. With `ask_cost` they change the result only of
        methods that share a surrogate in each process: adbo-2022, sdbo and sdbo-10. Methods with a
        manager, tpe-rdb, adbo-halving and asha compute in one process whatever the number.
    jobs
        Number of jobs of equal size into which the workers are divided.
    job_latency
        Seconds until a finished evaluation is known to the workers of other jobs, at least the
        latency within a job: less than a given `latency` is refused, less than its default is
        raised to it. Without effect if there is one job.
    strategies
        Names of the strategies that the methods `ADBO` use; None for all, and for other methods.

    Raises
    ------
    UsageError
        If one of them is out of range, or the method cannot be simulated in several jobs.
    """

    workers: int
    n_trials: int | None = None
    seconds: float | None = None
    duration: str = "normal:60,20"
    latency: float | None = None
    ask_cost: float | None = None
    ask_cost_per_evaluation: float = 0.0
    method: str = "adbo"
    direction: str | Sequence[str] = "minimize"
    seed: int = 0
    kappa: float = KAPPA
    processes: int = 1
    jobs: int = 1
    job_latency: float = 1.0
    strategies: Sequence[str] | None = None

    def __post_init__(self) -> None:
        parse_duration(self.duration)
        has_manager = self.method in MANAGED
        enough = "at least 2, since one worker is the manager" if has_manager else _POSITIVE
        checks = {
            "workers": (self.workers >= 1 + has_manager, enough),
            "n_trials": (self.n_trials is None or self.n_trials >= 1, _POSITIVE),
            "seconds": (
                self.seconds is None or 0 < self.seconds < math.inf,
                "a positive number of seconds",
            ),
            "latency": (self.latency is None or 0 <= self.latency < math.inf, _DELAY),
            "ask_cost": (self.ask_cost is None or 0 <= self.ask_cost < math.inf, _DELAY),
            "ask_cost_per_evaluation": (0 <= self.ask_cost_per_evaluation < math.inf, _DELAY),
            "method": (self.method in METHOD_NAMES, f"one of {', '.join(METHOD_NAMES)}"),
            "seed": (self.seed >= 0, "a non-negative integer"),
            "kappa": (0 <= self.kappa < math.inf, "a finite non-negative number"),
            "processes": (self.processes >= 1, _POSITIVE),
            "jobs": (self.jobs >= 1, _POSITIVE),
            "job_latency": (0 <= self.job_latency < math.inf, _DELAY),
        }
        self._check(checks)
        if len(directions_of(self.direction)) > 1:
            allowed = " or ".join(SEVERAL)
            self._check({"method": (self.method in SEVERAL, f"{allowed} with several objectives")})
        check_strategies(self.strategies)
        if self.strategies is not None:
            self._check({"method": (self.method in ADBO, "adbo or adbo-halving with strategies")})
        if self.jobs > 1:
            self._check_jobs()
        if self.n_trials is None and self.seconds is None:
            raise UsageError("a simulation needs an end: give a number of trials or of seconds")

    def _check_jobs(self) -> None:
        """Raise UsageError unless the workers can be divided into several jobs."""
        divides = self.workers % self.jobs == 0
        latency_fits = self.latency is None or self.job_latency >= self.latency
        self._check(
            {
                "method": (self.method in IN_JOBS, f"{' or '.join(IN_JOBS)} with several jobs"),
                "jobs": (divides, f"a divisor of the number of workers, {self.workers}"),
                "job_latency": (latency_fits, f"at least the latency, {self.latency}"),
            }
        )

    def _check(self, checks: Mapping[str, tuple[bool, str]]) -> None:
        """Raise UsageError for the first field that is not fine, saying what would be right."""
        for name, (fine, right) in checks.items():
            if not fine:
                option = _OPTIONS.get(name, name).replace("_", " ")
                raise UsageError(f"{option} is {getattr(self, name)!r}: it must be {right}")

    @property
    def machine(self) -> Machine:
        """The simulated workers: their durations, latencies and cost of an ask."""
        from adbo.simulation.news import latency_of, news_of  # it imports numpy
        from adbo.simulation.virtual_ranks import Machine  # it imports Optuna, too

        cost, size = self.ask_cost, self.workers // self.jobs
        latency = self.latency
        if latency is None:
            latency = latency_of(size) if self.has_news else 0.0
        return Machine(
            self.workers,
            parse_duration(self.duration),
            latency,
            None if cost is None else partial(_ask_cost, cost, self.ask_cost_per_evaluation),
            self.seed,
            self.processes,
            self.jobs,
            max(self.job_latency, latency),
            news_of(size) if self.has_news else None,
        )

    @property
    def has_news(self) -> bool:
        """Whether the workers exchange records as real ranks do."""
        return self.method in IN_JOBS and self.workers > self.jobs


_POSITIVE = "a positive integer"
_DELAY = "a non-negative number of seconds"


def _ask_cost(fixed: float, per_evaluation: float, n_known: int) -> float:
    return fixed + per_evaluation * n_known
