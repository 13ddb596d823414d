"""The trials of a study as arrays, read in one pass.

Notation: ``n`` finished trials, ``m`` objectives, ``k`` trials in a sample.

The numbers of every trial are kept, 100 bytes for each. Parameters and intermediate values are
kept of uniform samples of fixed size, so that the memory does not depend on their number.
"""

from __future__ import annotations

import heapq
import math
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.trial import TrialState

from adbo.core.evaluation import FAIL_REASON
from adbo.core.job import job_of
from adbo.core.optuna_trials import name_of
from adbo.core.space import FloatArray
from adbo.mirror.trial_table import TableRow

T = TypeVar("T")

#: Complete trials whose parameters are kept; more show the same picture.
_SAMPLE = 10_000

#: Best trials that are kept whatever the sample is.
_BEST = 10

#: Learning curves that are kept of complete, and of pruned trials; more hide each other.
_CURVES = 60

#: Different reasons of failures that are counted; all further ones count together.
_REASONS = 1000

#: The columns of numbers of each trial.
_INTEGERS = ("number", "state", "job", "rank", "origin")
_NAMES = (*_INTEGERS, "started", "finished", "feasible", "last_step")

#: The reason of failures beyond `_REASONS`, and of failures without one.
OTHER_REASONS, NO_REASON = "other reasons", "no reason was stored"

#: Characters of a reason of a failure that tell it from others.
_REASON_LENGTH = 200


class SampledTrial(NamedTuple):
    """A complete trial of the sample."""

    number: int
    values: list[float]
    params: dict[str, float]
    """Optuna's internal representation of each parameter."""


class Curve(NamedTuple):
    """The intermediate values of a trial, in the order of the steps."""

    number: int
    is_pruned: bool
    steps: list[int]
    values: list[float]


class Reservoir(Generic[T]):
    """A uniform sample of fixed size of all items that are offered.

    Parameters
    ----------
    size
        The number of items that are kept.
    rng
        Decides which.
    """

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self.items: list[T] = []
        self.n_offered = 0
        self._size = size
        self._rng = rng

    def place(self) -> int | None:
        """Return where to keep the next item, or None to drop it; each call counts as an offer."""
        self.n_offered += 1
        if self.n_offered <= self._size:
            return self.n_offered - 1
        index = int(self._rng.integers(self.n_offered))
        return index if index < self._size else None

    def keep(self, place: int, item: T) -> None:
        """Keep an item at a place that `place` has returned."""
        if place < len(self.items):
            self.items[place] = item
        else:
            self.items.append(item)


@dataclass(frozen=True)
class Columns:
    """The trials of a study; the arrays are in the order of the trials' numbers.

    Parameters
    ----------
    number, state
        Of the finished trials ``(n,)``; states are the numbers of ``optuna.trial.TrialState``.
    values
        ``(n, m)``, NaN where a trial has none.
    started, finished
        Seconds since the epoch ``(n,)``, NaN where they are unknown.
    job, rank
        ``(n,)``, -1 for trials that adbo did not make.
    origin
        Codes of `adbo.core.origins` ``(n,)``.
    feasible
        Whether a trial violates no constraint ``(n,)``.
    last_step
        The last step with an intermediate value ``(n,)``, NaN without one.
    n_running, n_waiting
        Numbers of unfinished trials.
    reasons
        Reason to the number of trials that failed for it.
    distributions
        Name to the distribution of each parameter.
    sample, n_sampled
        A uniform sample of the complete feasible trials with finite values, and of how many.
    best
        The best of these trials by the first objective, the best one first.
    curves, n_curves
        Samples of the intermediate values of complete and of pruned trials, and of how many.
    """

    number: NDArray[np.int64]
    state: NDArray[np.int64]
    values: FloatArray
    started: FloatArray
    finished: FloatArray
    job: NDArray[np.int64]
    rank: NDArray[np.int64]
    origin: NDArray[np.int64]
    feasible: NDArray[np.bool_]
    last_step: FloatArray
    n_running: int
    n_waiting: int
    reasons: Mapping[str, int]
    distributions: Mapping[str, BaseDistribution]
    sample: list[SampledTrial]
    n_sampled: int
    best: list[SampledTrial]
    curves: list[Curve]
    n_curves: int

    def __len__(self) -> int:
        return len(self.number)

    @property
    def complete(self) -> NDArray[np.bool_]:
        """Which trials count: complete and feasible, with finite values, ``(n,)``."""
        is_complete = self.state == TrialState.COMPLETE.value
        finite = np.isfinite(self.values).all(axis=1)
        counts: NDArray[np.bool_] = is_complete & self.feasible & finite
        return counts

    def count(self, state: TrialState) -> int:
        """Return the number of finished trials of a state."""
        return int(np.count_nonzero(self.state == state.value))


@dataclass
class Collector:
    """Gathers the columns of trials that pass by.

    Parameters
    ----------
    signs
        +1 for each objective to minimize, -1 to maximize, ``(m,)``.
    """

    signs: Sequence[int]
    _columns: dict[str, array[Any]] = field(
        default_factory=lambda: {n: array("d") for n in _NAMES}
    )
    _values: array[float] = field(default_factory=lambda: array("d"))
    _unfinished: Counter[TrialState] = field(default_factory=Counter)
    _reasons: Counter[str] = field(default_factory=Counter)
    _distributions: dict[str, BaseDistribution] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._best: list[tuple[float, int, SampledTrial]] = []
        rng = np.random.default_rng(0)  # the same trials give the same page
        self._sample: Reservoir[SampledTrial] = Reservoir(_SAMPLE, rng)
        self._curves: dict[bool, Reservoir[Curve]] = {
            is_pruned: Reservoir(_CURVES, rng) for is_pruned in (False, True)
        }

    def passing(self, rows: Iterable[TableRow]) -> Iterator[TableRow]:
        """Yield trials unchanged, and add them."""
        for row in rows:
            self.add(row)
            yield row

    def add(self, row: TableRow) -> None:
        """Add a trial."""
        if not row.state.is_finished():
            self._unfinished[row.state] += 1
            return
        self._append(row)
        if row.state is TrialState.FAIL:
            self._reasons[self._reason(row.user_attrs)] += 1
        if row.state is TrialState.COMPLETE and row.is_feasible:
            self._add_to_sample(row)
        if row.steps and row.state is not TrialState.FAIL:
            reservoir = self._curves[row.state is TrialState.PRUNED]
            if (place := reservoir.place()) is not None:
                reservoir.keep(place, _curve(row))

    def columns(self) -> Columns:
        """Return all that has been added."""
        numbers = {name: np.array(column) for name, column in self._columns.items()}
        integers = {name: numbers[name].astype(np.int64) for name in _INTEGERS}
        curves = [self._curves[is_pruned] for is_pruned in (False, True)]
        return Columns(
            **integers,
            values=np.array(self._values).reshape(-1, len(self.signs)),
            started=numbers["started"],
            finished=numbers["finished"],
            last_step=numbers["last_step"],
            feasible=numbers["feasible"] > 0,
            n_running=self._unfinished[TrialState.RUNNING],
            n_waiting=self._unfinished[TrialState.WAITING],
            reasons=dict(self._reasons),
            distributions=dict(self._distributions),
            sample=sorted(self._sample.items, key=lambda trial: trial.number),
            n_sampled=self._sample.n_offered,
            best=[trial for _, _, trial in sorted(self._best, reverse=True)],
            curves=[curve for reservoir in curves for curve in reservoir.items],
            n_curves=sum(reservoir.n_offered for reservoir in curves),
        )

    def _append(self, row: TableRow) -> None:
        name = name_of(row.user_attrs)
        is_known = name is not None and name[0] >= 0
        job, rank = (job_of(name[1]), name[0]) if name is not None and is_known else (-1, -1)
        columns = self._columns
        columns["number"].append(row.number)
        columns["state"].append(row.state.value)
        columns["started"].append(math.nan if row.started is None else row.started.timestamp())
        ended = row.completed
        columns["finished"].append(math.nan if ended is None else ended.timestamp())
        columns["job"].append(job)
        columns["rank"].append(rank)
        columns["origin"].append(row.origin)
        columns["feasible"].append(row.is_feasible)
        columns["last_step"].append(max(row.steps, default=math.nan))
        n = len(self.signs)
        self._values.extend([*row.values, *[math.nan] * n][:n])

    def _add_to_sample(self, row: TableRow) -> None:
        if len(row.values) != len(self.signs) or not all(map(math.isfinite, row.values)):
            return
        place = self._sample.place()
        # The first of equal trials counts as better.
        rank = (-self.signs[0] * row.values[0], -row.number)
        is_best = len(self._best) < _BEST or rank > self._best[0][:2]
        if place is None and not is_best:
            return
        self._distributions.update(row.distributions)
        params = {
            n: float(d.to_internal_repr(row.params[n])) for n, d in row.distributions.items()
        }
        trial = SampledTrial(row.number, list(row.values), params)
        if place is not None:
            self._sample.keep(place, trial)
        if is_best:
            push = heapq.heappush if len(self._best) < _BEST else heapq.heapreplace
            push(self._best, (*rank, trial))

    def _reason(self, user_attrs: Mapping[str, Any]) -> str:
        lines = str(user_attrs.get(FAIL_REASON, NO_REASON)).strip().splitlines()
        reason = lines[0][:_REASON_LENGTH] if lines else NO_REASON
        return (
            reason if reason in self._reasons or len(self._reasons) < _REASONS else OTHER_REASONS
        )


def _curve(row: TableRow) -> Curve:
    steps = sorted(row.steps)
    values = [row.steps[step] for step in steps]
    return Curve(row.number, row.state is TrialState.PRUNED, steps, values)
