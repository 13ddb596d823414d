"""The summary of a stored study, from its trials."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import optuna
from optuna.trial import TrialState

from adbo.core.constraints import as_system_attrs, constraints_of
from adbo.core.evaluation import NO_EXTRAS, Evaluation, Extras, Layout, to_batches
from adbo.core.history import History
from adbo.core.job import job_of
from adbo.core.optuna_trials import name_of
from adbo.core.settings import signs_of
from adbo.core.strategy_counts import strategies_of
from adbo.core.summary import Summary, best_of
from adbo.mirror.study import table_of
from adbo.mirror.trial_table import TableRow
from adbo.run.recommended import with_recommendation

#: Trials that are added to the history at once; one by one is slower.
_CHUNK = 1000


def summarize_study(
    study: optuna.Study, storage: str, rows: Iterable[TableRow] | None = None
) -> Summary:
    """Return the summary of a stored study.

    It reads one page of trials after the other, and keeps their numbers only.

    Parameters
    ----------
    study
        A study that adbo mirrored; all trials that adbo did not make count as those of one rank.
        If there are no others, nothing is known of ranks, and the utilization is NaN.
    storage
        The name of its storage.
    rows
        Its trials; they are read if this is None.

    Raises
    ------
    adbo.mirror.storage_errors.DatabaseError
        If the database fails.
    """
    history = History(signs_of([direction.name.lower() for direction in study.directions]))
    finished: list[Evaluation] = []
    states: Counter[TrialState] = Counter()
    ranks: Counter[tuple[int, int]] = Counter()
    jobs: defaultdict[int, _Times] = defaultdict(_Times)
    whole = _Times()
    for row in table_of(study).rows if rows is None else rows:
        states[row.state] += 1
        if not row.state.is_finished():
            continue
        finished.append(_evaluation(row))
        if len(finished) == _CHUNK:
            history.extend(to_batches(finished))
            finished.clear()
        name = name_of(row.user_attrs)
        job = -1 if name is None else job_of(name[1])
        if name is not None:
            ranks[job, name[0]] += 1
        jobs[job].add(row)
        whole.add(row)
    history.extend(to_batches(finished))
    available = sum(
        times.seconds * max(1, sum(of == job for of, _ in ranks)) for job, times in jobs.items()
    )
    summary = Summary(
        study_name=study.study_name,
        storage=storage,
        **best_of(history),
        strategies=strategies_of(history),
        n_complete=states[TrialState.COMPLETE],
        n_pruned=states[TrialState.PRUNED],
        n_fail=states[TrialState.FAIL],
        n_running=states[TrialState.RUNNING],
        n_waiting=states[TrialState.WAITING],
        n_jobs=len(jobs.keys() - {-1}),
        n_ranks=len(ranks) or 1,
        wall_seconds=whole.seconds,
        utilization=_utilization(whole.busy, available) if ranks else math.nan,
        evaluations_per_rank=[ranks[rank] for rank in sorted(ranks)],
    )
    return with_recommendation(summary, history)


def _utilization(busy: float, available: float) -> float:
    return busy / available if available > 0 else 0.0


def _evaluation(row: TableRow) -> Evaluation:
    """Return a finished trial without its times, named by its number; with its constraints."""
    value, *more_values = row.values or [math.nan]
    constraints = constraints_of(row.system_attrs)
    return Evaluation(
        rank=-1,
        seq=row.number,
        state=row.state,
        value=value,
        started=0.0,
        finished=0.0,
        layout=Layout.of(row.distributions, 1 + len(more_values)),
        internal=tuple(
            distribution.to_internal_repr(row.params[name])
            for name, distribution in row.distributions.items()
        ),
        extras=Extras(system_attrs=as_system_attrs(constraints)) if constraints else NO_EXTRAS,
        origin=row.origin,
        more_values=tuple(more_values),
    )


@dataclass
class _Times:
    """The times of some finished trials."""

    first: float = math.inf
    last: float = -math.inf
    busy: float = 0.0
    """The sum of the durations."""

    def add(self, row: TableRow) -> None:
        """Add a trial, if it has a start and an end."""
        if row.started is not None and row.completed is not None:
            start, end = row.started.timestamp(), row.completed.timestamp()
            self.first, self.last = min(self.first, start), max(self.last, end)
            self.busy += end - start

    @property
    def seconds(self) -> float:
        """Seconds from the first start to the last end."""
        return max(self.last - self.first, 0.0)
