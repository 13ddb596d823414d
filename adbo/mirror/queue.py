"""Trials that somebody enqueued (`optuna.study.Study.enqueue_trial`), each taken by one run only.

A trial is taken as Optuna takes one, by making it RUNNING. Until its evaluation is stored, it has
the system attribute `adbo.core.optuna_trials.ENQUEUED`, by which other jobs find the trials of a
job that died.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import (
    Callable,
    Collection,
    Container,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from typing import Any, Protocol

import optuna
import sqlalchemy as sa
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import Connection, Engine

from adbo.core.enqueued import Enqueued
from adbo.core.evaluation import Extras
from adbo.core.optuna_trials import ENQUEUED, FIXED_PARAMS
from adbo.core.trial_json import decode_distribution
from adbo.mirror.reader import parts, read_details
from adbo.mirror.schema import SYSTEM_ATTRS, TRIALS, USER_ATTRS, connected, locked
from adbo.mirror.storage_errors import translated

#: Parameters and user attributes of a trial that is to wait.
Waiting = tuple[Mapping[str, Any], Mapping[str, Any]]


class Queue(Protocol):
    """The trials of a study that wait to be evaluated.

    All methods raise `adbo.mirror.storage_errors.DatabaseError` if the storage fails.
    """

    def add(self, points: Sequence[Mapping[str, Any]]) -> None:
        """Add a trial that waits for each point that nobody has enqueued in the study before."""

    def put(self, trials: Sequence[Waiting]) -> None:
        """Add trials that wait."""

    def take(self, ids: Collection[int]) -> list[Enqueued]:
        """Take the trials of these ids that wait, in the order of their numbers."""

    def take_lost(self, ids: Collection[int], running: Container[int]) -> list[Enqueued]:
        """Take over those trials of these ids that jobs took which are not running."""

    def give_back(self) -> None:
        """Make all trials wait again that this job took and did not finish."""


class RdbQueue:
    """The queue of a study in a database whose tables are known.

    Parameters
    ----------
    engine
        The engine of the database.
    study_id
        The study.
    job
        The number of the job that takes trials.
    """

    def __init__(self, engine: Engine, study_id: int, job: int) -> None:
        self._engine = engine
        self._study_id = study_id
        self._job = job

    def add(self, points: Sequence[Mapping[str, Any]]) -> None:
        """Add a trial for each new point; the lock keeps two jobs from adding it both."""
        of_study = TRIALS.c.study_id == self._study_id
        fixed = (
            sa.select(SYSTEM_ATTRS.c.value_json)
            .join(TRIALS, TRIALS.c.trial_id == SYSTEM_ATTRS.c.trial_id)
            .where(of_study, SYSTEM_ATTRS.c.key == FIXED_PARAMS)
        )
        with translated(self._engine), locked(self._engine, self._study_id) as connection:
            known = map(json.loads, connection.scalars(fixed))
            self._put(connection, [(point, {}) for point in _new(points, known)])

    def put(self, trials: Sequence[Waiting]) -> None:
        """Add trials that wait."""
        with translated(self._engine), locked(self._engine, self._study_id) as connection:
            self._put(connection, trials)

    def take(self, ids: Collection[int]) -> list[Enqueued]:
        """Take the trials of these ids that wait; there is no lock if there are none."""
        taken: list[Enqueued] = []
        with translated(self._engine):
            for part in parts(ids):
                waiting = TRIALS.c.trial_id.in_(part) & (TRIALS.c.state == TrialState.WAITING)
                with connected(self._engine) as connection:
                    some = connection.scalar(sa.select(TRIALS.c.trial_id).where(waiting).limit(1))
                if some is not None:
                    taken += self._take(waiting)
        return taken

    def take_lost(self, ids: Collection[int], running: Container[int]) -> list[Enqueued]:
        """Take over those trials of these ids that jobs took which are not running."""
        taken: list[Enqueued] = []
        with translated(self._engine):
            for part in parts(ids):
                among = TRIALS.c.trial_id.in_(part)
                with connected(self._engine) as connection:
                    if not self._taken(connection, among, lambda job: job not in running):
                        continue
                with locked(self._engine, self._study_id) as connection:
                    lost = self._taken(connection, among, lambda job: job not in running)
                    self._mark(connection, lost)
                    taken += _read(connection, lost)
        return taken

    def give_back(self) -> None:
        """Make all trials wait again that this job took and did not finish."""
        with translated(self._engine), locked(self._engine, self._study_id) as connection:
            ids = self._taken(connection, sa.true(), lambda job: job == self._job)
            for part in parts(ids):
                self._unmark(connection, part)
                connection.execute(
                    TRIALS.update()
                    .where(TRIALS.c.trial_id.in_(part))
                    .values(state=TrialState.WAITING, datetime_start=None)
                )

    def _put(self, connection: Connection, trials: Iterable[Waiting]) -> None:
        of_study = TRIALS.c.study_id == self._study_id
        count = connection.scalar(sa.select(sa.func.count()).where(of_study)) or 0
        for number, (params, user_attrs) in enumerate(trials, count):
            trial = {"number": number, "study_id": self._study_id}
            added = connection.execute(TRIALS.insert(), {**trial, "state": TrialState.WAITING})
            key = added.inserted_primary_key
            assert key is not None
            rows = [(SYSTEM_ATTRS, FIXED_PARAMS, params)]
            rows += [(USER_ATTRS, name, value) for name, value in user_attrs.items()]
            for table, name, value in rows:
                row = {"trial_id": key[0], "key": name, "value_json": json.dumps(value)}
                connection.execute(table.insert(), row)

    def _take(self, which: sa.ColumnElement[bool]) -> list[Enqueued]:
        with locked(self._engine, self._study_id) as connection:
            # Optuna locks the trial that it takes, not the study.
            waiting = sa.select(TRIALS.c.trial_id).where(
                which, TRIALS.c.state == TrialState.WAITING
            )
            ids = list(connection.scalars(waiting.with_for_update()))
            if not ids:
                return []
            now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
            connection.execute(
                TRIALS.update()
                .where(TRIALS.c.trial_id.in_(ids))
                .values(state=TrialState.RUNNING, datetime_start=now)
            )
            self._mark(connection, ids)
            return _read(connection, ids)

    def _mark(self, connection: Connection, ids: Collection[int]) -> None:
        """Note that this job has taken trials, whatever another one has noted there."""
        self._unmark(connection, ids)
        rows = [
            {"trial_id": i, "key": ENQUEUED, "value_json": json.dumps([i, self._job])} for i in ids
        ]
        if rows:
            connection.execute(SYSTEM_ATTRS.insert(), rows)

    def _unmark(self, connection: Connection, ids: Collection[int]) -> None:
        connection.execute(
            SYSTEM_ATTRS.delete().where(
                SYSTEM_ATTRS.c.trial_id.in_(ids), SYSTEM_ATTRS.c.key == ENQUEUED
            )
        )

    def _taken(
        self,
        connection: Connection,
        among: sa.ColumnElement[bool],
        by: Callable[[int | None], bool],
    ) -> list[int]:
        """Return the ids of the trials that certain jobs took and did not finish."""
        marks = connection.execute(
            sa.select(TRIALS.c.trial_id, SYSTEM_ATTRS.c.value_json)
            .join(SYSTEM_ATTRS, SYSTEM_ATTRS.c.trial_id == TRIALS.c.trial_id)
            .where(
                among,
                TRIALS.c.study_id == self._study_id,
                TRIALS.c.state == TrialState.RUNNING,
                SYSTEM_ATTRS.c.key == ENQUEUED,
            )
            .order_by(TRIALS.c.trial_id)
        )
        return [trial_id for trial_id, text in marks if by(_taker(json.loads(text)))]


def _new(
    points: Iterable[Mapping[str, Any]], known: Iterable[Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Yield the points that are not known, each once."""
    seen = {json.dumps(point, sort_keys=True) for point in known}
    for point in map(dict, points):
        text = json.dumps(point, sort_keys=True)
        if text not in seen:
            seen.add(text)
            yield point


def _read(connection: Connection, ids: list[int]) -> list[Enqueued]:
    details = read_details(connection, TRIALS.c.trial_id.in_(ids))
    enqueued = []
    for trial_id in sorted(ids):
        params = {
            name: decode_distribution(text).to_external_repr(value)
            for name, value, text in details.params.get(trial_id, [])
        }
        enqueued.append(_enqueued(params, details.extras(trial_id)))
    return enqueued


def _taker(mark: Any) -> int | None:
    """Return the number of the job that marked a trial; earlier versions did not note it."""
    return mark[1] if isinstance(mark, list) else None


class StudyQueue:
    """The queue of a study in any storage, through Optuna's interface.

    Parameters
    ----------
    study
        The study.
    job
        The number of the job that takes trials.
    """

    def __init__(self, study: optuna.Study, job: int) -> None:
        self._study = study
        self._job = job
        self._storage = study._storage
        self._claimed: list[int] = []  # ids of trials that `take` took and has not returned yet

    def add(self, points: Sequence[Mapping[str, Any]]) -> None:
        """Add a trial for each new point."""
        with translated(self._storage):
            attrs = [trial.system_attrs for trial in self._study.get_trials(deepcopy=False)]
            known = [attr[FIXED_PARAMS] for attr in attrs if FIXED_PARAMS in attr]
            for point in _new(points, known):
                self._study.enqueue_trial(point)

    def put(self, trials: Sequence[Waiting]) -> None:
        """Add trials that wait."""
        with translated(self._storage):
            for params, user_attrs in trials:
                self._study.enqueue_trial(dict(params), dict(user_attrs))

    def take(self, ids: Collection[int]) -> list[Enqueued]:
        """Take the trials that wait; after an error, also those that the last call had taken."""
        with translated(self._storage):
            for trial_id in self._claimed:
                self._mark(trial_id)
            for trial in self._trials(ids, TrialState.WAITING):
                if self._claim(trial._trial_id):
                    self._claimed.append(trial._trial_id)
                    self._mark(trial._trial_id)
            taken = [_enqueued_of(self._storage.get_trial(i)) for i in self._claimed]
        self._claimed = []
        return taken

    def take_lost(self, ids: Collection[int], running: Container[int]) -> list[Enqueued]:
        """Take over those trials of these ids that jobs took which are not running."""
        with translated(self._storage):
            lost = self._taken(ids, lambda job: job not in running)
            for trial in lost:
                self._mark(trial._trial_id)
            return [_enqueued_of(self._storage.get_trial(trial._trial_id)) for trial in lost]

    def give_back(self) -> None:
        """Make all trials wait again that this job took and did not finish."""
        with translated(self._storage):
            running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            ids = [trial._trial_id for trial in running]
            for trial in self._taken(ids, lambda job: job == self._job):
                self._storage.set_trial_system_attr(trial._trial_id, ENQUEUED, None)
                self._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)

    def _claim(self, trial_id: int) -> bool:
        """Make a trial RUNNING; return whether nobody else did so first."""
        try:
            return self._storage.set_trial_state_values(trial_id, TrialState.RUNNING)
        except optuna.exceptions.UpdateFinishedTrialError:
            return False

    def _mark(self, trial_id: int) -> None:
        self._storage.set_trial_system_attr(trial_id, ENQUEUED, [trial_id, self._job])

    def _taken(self, ids: Collection[int], by: Callable[[int | None], bool]) -> list[FrozenTrial]:
        running = self._trials(ids, TrialState.RUNNING)
        marked = [(trial, trial.system_attrs.get(ENQUEUED)) for trial in running]
        return [trial for trial, mark in marked if mark is not None and by(_taker(mark))]

    def _trials(self, ids: Collection[int], state: TrialState) -> list[FrozenTrial]:
        trials = [self._storage.get_trial(i) for i in sorted(ids)]
        return [trial for trial in trials if trial.state == state]


def _enqueued_of(trial: FrozenTrial) -> Enqueued:
    extras = Extras(trial.user_attrs, trial.system_attrs, trial.intermediate_values)
    return _enqueued(trial.params, extras)


def _enqueued(params: dict[str, Any], extras: Extras) -> Enqueued:
    return Enqueued(
        {**params, **extras.system_attrs.get(FIXED_PARAMS, {})},
        dict(extras.user_attrs),
        dict(extras.system_attrs),
        dict(extras.intermediate_values),
    )
