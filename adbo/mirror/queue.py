"""Trials that somebody enqueued (`optuna.study.Study.enqueue_trial`), each taken by one run only.

A trial is taken as Optuna takes one, by making it RUNNING. Until its evaluation is stored, it has
the system attribute `adbo.core.optuna_trials.ENQUEUED`, by which a resumed run finds the trials
whose evaluation was lost.
"""

from __future__ import annotations

import datetime
import json
from typing import Any, Protocol

import optuna
import sqlalchemy as sa
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import Connection, Engine

from adbo.core.enqueued import Enqueued
from adbo.core.evaluation import Extras
from adbo.core.optuna_trials import ENQUEUED
from adbo.core.trial_json import decode_distribution
from adbo.mirror.reader import read_details
from adbo.mirror.schema import SYSTEM_ATTRS, TRIALS, locked
from adbo.mirror.storage_errors import translated

#: The system attribute in which Optuna keeps the parameters of an enqueued trial.
_FIXED_PARAMS = "fixed_params"


class Queue(Protocol):
    """The trials of a study that wait to be evaluated.

    All methods raise `adbo.mirror.storage_errors.DatabaseError` if the storage fails.
    """

    def take(self) -> list[Enqueued]:
        """Take all trials that wait, in the order of their numbers."""

    def take_lost(self) -> list[Enqueued]:
        """Return the trials that an earlier run took and did not finish."""

    def give_back(self) -> None:
        """Make all trials wait again that were taken and are not finished."""


class RdbQueue:
    """The queue of a study in a database whose tables are known.

    Parameters
    ----------
    engine
        The engine of the database.
    study_id
        The study.
    """

    def __init__(self, engine: Engine, study_id: int) -> None:
        self._engine = engine
        self._study_id = study_id
        self._last_id = 0

    def take(self) -> list[Enqueued]:
        """Take all trials that wait; if there are none, this is one cheap statement.

        Only trials that were added since the last call are looked at.
        """
        is_new = (TRIALS.c.study_id == self._study_id) & (TRIALS.c.trial_id > self._last_id)
        waiting = sa.case((TRIALS.c.state == TrialState.WAITING, 1), else_=0)
        with translated(self._engine):
            with self._engine.connect() as connection:
                last_id, n_waiting = connection.execute(
                    sa.select(sa.func.max(TRIALS.c.trial_id), sa.func.sum(waiting)).where(is_new)
                ).one()
            taken = self._take(is_new) if n_waiting else []
        self._last_id = last_id or self._last_id
        return taken

    def take_lost(self) -> list[Enqueued]:
        """Return the trials that an earlier run took and did not finish."""
        with translated(self._engine), locked(self._engine, self._study_id) as connection:
            return _read(connection, list(connection.scalars(self._taken())))

    def give_back(self) -> None:
        """Make all trials wait again that were taken and are not finished."""
        with translated(self._engine), locked(self._engine, self._study_id) as connection:
            ids = list(connection.scalars(self._taken()))
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
            connection.execute(
                SYSTEM_ATTRS.insert(),
                [{"trial_id": i, "key": ENQUEUED, "value_json": json.dumps(i)} for i in ids],
            )
            return _read(connection, ids)

    def _taken(self) -> sa.Select[tuple[int]]:
        """Select the ids of the trials that were taken and are not finished."""
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


class StudyQueue:
    """The queue of a study in any storage, through Optuna's interface.

    Parameters
    ----------
    study
        The study.
    """

    def __init__(self, study: optuna.Study) -> None:
        self._study = study
        self._storage = study._storage
        self._claimed: list[int] = []  # ids of trials that `take` took and has not returned yet

    def take(self) -> list[Enqueued]:
        """Take all trials that wait; after an error, also those that the last call had taken."""
        with translated(self._storage):
            for trial_id in self._claimed:
                self._mark(trial_id)
            for trial in self._trials(TrialState.WAITING):
                if self._claim(trial._trial_id):
                    self._claimed.append(trial._trial_id)
                    self._mark(trial._trial_id)
            taken = [_enqueued_of(self._storage.get_trial(i)) for i in self._claimed]
        self._claimed = []
        return taken

    def take_lost(self) -> list[Enqueued]:
        """Return the trials that an earlier run took and did not finish."""
        with translated(self._storage):
            return [_enqueued_of(trial) for trial in self._taken()]

    def give_back(self) -> None:
        """Make all trials wait again that were taken and are not finished."""
        with translated(self._storage):
            for trial in self._taken():
                self._storage.set_trial_system_attr(trial._trial_id, ENQUEUED, None)
                self._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)

    def _claim(self, trial_id: int) -> bool:
        """Make a trial RUNNING; return whether nobody else did so first."""
        try:
            return self._storage.set_trial_state_values(trial_id, TrialState.RUNNING)
        except optuna.exceptions.UpdateFinishedTrialError:
            return False

    def _mark(self, trial_id: int) -> None:
        self._storage.set_trial_system_attr(trial_id, ENQUEUED, trial_id)

    def _taken(self) -> list[FrozenTrial]:
        running = self._trials(TrialState.RUNNING)
        return [t for t in running if t.system_attrs.get(ENQUEUED) is not None]

    def _trials(self, state: TrialState) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=(state,))


def _enqueued_of(trial: FrozenTrial) -> Enqueued:
    extras = Extras(trial.user_attrs, trial.system_attrs, trial.intermediate_values)
    return _enqueued(trial.params, extras)


def _enqueued(params: dict[str, Any], extras: Extras) -> Enqueued:
    return Enqueued(
        {**params, **extras.system_attrs.get(_FIXED_PARAMS, {})},
        dict(extras.user_attrs),
        dict(extras.system_attrs),
        dict(extras.intermediate_values),
    )
