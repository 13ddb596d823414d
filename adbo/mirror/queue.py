"""Trials that somebody enqueued (`optuna.study.Study.enqueue_trial`): who takes one, has it alone.

A trial is taken as Optuna takes one, by making it RUNNING. It carries the mark
`adbo.mirror.trials.ENQUEUED` until its evaluation is stored, by which a resumed run finds those
whose evaluation was lost.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable
from typing import Any, Protocol

import optuna
import sqlalchemy as sa
from optuna.distributions import json_to_distribution
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import Connection, Engine

from adbo.core.enqueued import Enqueued
from adbo.core.optuna_trials import ENQUEUED
from adbo.mirror.schema import PARAMS, STEPS, SYSTEM_ATTRS, TRIALS, USER_ATTRS, locked, translated

#: Where Optuna keeps the parameters of a trial that was enqueued.
_FIXED_PARAMS = "fixed_params"


class Queue(Protocol):
    """The trials of a study that wait for somebody."""

    def take(self) -> list[Enqueued]:
        """Take all that are new, in the order of their numbers."""

    def take_lost(self) -> list[Enqueued]:
        """Take those that an earlier run took and did not finish."""

    def give_back(self) -> None:
        """Let everything wait again that was taken and is not finished."""


class RdbQueue:
    """The queue of a study in a database whose tables are known.

    Parameters
    ----------
    engine
        Of the database.
    study_id
        The study.
    """

    def __init__(self, engine: Engine, study_id: int) -> None:
        self._engine = engine
        self._study_id = study_id
        self._last_id = 0

    def take(self) -> list[Enqueued]:
        """Take all that are new; without any, one statement that looks at new trials only."""
        beyond = (TRIALS.c.study_id == self._study_id) & (TRIALS.c.trial_id > self._last_id)
        waiting = sa.case((TRIALS.c.state == TrialState.WAITING, 1), else_=0)
        with translated(self._engine):
            with self._engine.connect() as connection:
                last_id, n_waiting = connection.execute(
                    sa.select(sa.func.max(TRIALS.c.trial_id), sa.func.sum(waiting)).where(beyond)
                ).one()
            taken = self._take(beyond) if n_waiting else []
        self._last_id = last_id or self._last_id
        return taken

    def take_lost(self) -> list[Enqueued]:
        """Take those that an earlier run took and did not finish."""
        with translated(self._engine), locked(self._engine, self._study_id) as connection:
            return _read(connection, list(connection.scalars(self._marked())))

    def give_back(self) -> None:
        """Let everything wait again that was taken and is not finished."""
        with translated(self._engine), locked(self._engine, self._study_id) as connection:
            ids = list(connection.scalars(self._marked()))
            connection.execute(
                SYSTEM_ATTRS.delete().where(
                    SYSTEM_ATTRS.c.trial_id.in_(ids), SYSTEM_ATTRS.c.key == ENQUEUED
                )
            )
            connection.execute(
                TRIALS.update()
                .where(TRIALS.c.trial_id.in_(ids))
                .values(state=TrialState.WAITING, datetime_start=None)
            )

    def _take(self, which: sa.ColumnElement[bool]) -> list[Enqueued]:
        with locked(self._engine, self._study_id) as connection:
            # Optuna locks the one trial that it takes, not the study.
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
            connection.execute(
                SYSTEM_ATTRS.insert(),
                [{"trial_id": i, "key": ENQUEUED, "value_json": json.dumps(i)} for i in ids],
            )
            return _read(connection, ids)

    def _marked(self) -> sa.Select[tuple[int]]:
        return (
            sa.select(TRIALS.c.trial_id)
            .join(SYSTEM_ATTRS, SYSTEM_ATTRS.c.trial_id == TRIALS.c.trial_id)
            .where(
                TRIALS.c.study_id == self._study_id,
                TRIALS.c.state == TrialState.RUNNING,
                SYSTEM_ATTRS.c.key == ENQUEUED,
            )
            .order_by(TRIALS.c.trial_id)
        )


def _read(connection: Connection, ids: Iterable[int]) -> list[Enqueued]:
    to_value = models.TrialIntermediateValueModel.stored_repr_to_intermediate_value
    enqueued = []
    for trial_id in sorted(ids):

        def rows(table: sa.Table, *columns: sa.Column[Any], of: int = trial_id) -> Any:
            key = next(iter(table.primary_key))
            chosen = sa.select(*columns).where(table.c.trial_id == of).order_by(key)
            return connection.execute(chosen)

        params = {
            name: json_to_distribution(text).to_external_repr(value)
            for name, value, text in rows(
                PARAMS, PARAMS.c.param_name, PARAMS.c.param_value, PARAMS.c.distribution_json
            )
        }
        user, system = (
            {key: json.loads(text) for key, text in rows(table, table.c.key, table.c.value_json)}
            for table in (USER_ATTRS, SYSTEM_ATTRS)
        )
        steps = {
            step: to_value(value, kind)
            for step, value, kind in rows(
                STEPS, STEPS.c.step, STEPS.c.intermediate_value, STEPS.c.intermediate_value_type
            )
        }
        enqueued.append(_enqueued(params, user, system, steps))
    return enqueued


class StudyQueue:
    """The queue of a study in any storage, through Optuna's interface.

    Parameters
    ----------
    study
        The study.
    """

    def __init__(self, study: optuna.Study) -> None:
        self._study = study

    def take(self) -> list[Enqueued]:
        """Take all that wait."""
        storage, taken = self._study._storage, []
        for trial in self._trials(TrialState.WAITING):
            try:
                is_mine = storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
            except optuna.exceptions.UpdateFinishedTrialError:
                continue
            if is_mine:
                storage.set_trial_system_attr(trial._trial_id, ENQUEUED, trial._trial_id)
                taken.append(_enqueued_of(storage.get_trial(trial._trial_id)))
        return taken

    def take_lost(self) -> list[Enqueued]:
        """Take those that an earlier run took and did not finish."""
        return [_enqueued_of(trial) for trial in self._marked()]

    def give_back(self) -> None:
        """Let everything wait again that was taken and is not finished."""
        for trial in self._marked():
            storage = self._study._storage
            storage.set_trial_system_attr(trial._trial_id, ENQUEUED, None)
            storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)

    def _marked(self) -> list[FrozenTrial]:
        running = self._trials(TrialState.RUNNING)
        return [t for t in running if t.system_attrs.get(ENQUEUED) is not None]

    def _trials(self, state: TrialState) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=(state,))


def _enqueued_of(trial: FrozenTrial) -> Enqueued:
    return _enqueued(trial.params, trial.user_attrs, trial.system_attrs, trial.intermediate_values)


def _enqueued(
    params: dict[str, Any],
    user_attrs: dict[str, Any],
    system_attrs: dict[str, Any],
    steps: dict[int, float],
) -> Enqueued:
    fixed = {**params, **system_attrs.get(_FIXED_PARAMS, {})}
    return Enqueued(fixed, dict(user_attrs), dict(system_attrs), dict(steps))
