"""The trials of a study as rows of a table, read in pages so that a large study needs no memory.

Times are those of Optuna's trials: local, without a time zone.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.distributions import BaseDistribution
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import Connection, Engine

from adbo.core.constraints import constraints_of
from adbo.core.optuna_trials import origin_of
from adbo.core.trial_json import decode_distribution
from adbo.mirror.reader import read_details
from adbo.mirror.schema import PARAMS, TRIALS, USER_ATTRS, VALUES, connected
from adbo.mirror.storage_errors import translated

#: Trials that are in memory at once.
_PAGE = 5_000


@dataclass(frozen=True)
class TableRow:
    """One trial of a study, finished or not."""

    number: int
    state: TrialState
    values: list[float]
    """Empty if the trial has none."""
    started: datetime.datetime | None
    completed: datetime.datetime | None
    params: dict[str, Any]
    distributions: dict[str, BaseDistribution]
    """Those of the parameters."""
    user_attrs: dict[str, Any]
    system_attrs: dict[str, Any]
    origin: int
    """The code of the strategy that proposed it, 0 if none did; see `adbo.core.origins`."""
    steps: dict[int, float]
    """Step to reported value."""
    is_feasible: bool
    """Whether it violates none of Optuna's constraints."""


@dataclass(frozen=True)
class TrialTable:
    """All trials of a study.

    Parameters
    ----------
    params, user_attrs
        The sorted names that occur in them.
    n_objectives
        The number of values of a complete trial.
    rows
        The trials in the order of their numbers; can be read once.
    """

    params: list[str]
    user_attrs: list[str]
    n_objectives: int
    rows: Iterator[TableRow]


def table_from_database(engine: Engine, study: optuna.Study) -> TrialTable:
    """Return the trials of a study in a database whose tables are known.

    Raises
    ------
    adbo.mirror.storage_errors.DatabaseError
        If the database fails; also while the rows are read.
    """
    of_study = TRIALS.c.study_id == study._study_id
    with translated(engine), connected(engine) as connection:
        params, user_attrs = (
            sorted(
                connection.scalars(
                    sa.select(name)
                    .join(TRIALS, TRIALS.c.trial_id == trial_id)
                    .where(of_study)
                    .distinct()
                )
            )
            for name, trial_id in (
                (PARAMS.c.param_name, PARAMS.c.trial_id),
                (USER_ATTRS.c.key, USER_ATTRS.c.trial_id),
            )
        )
    rows = _pages(engine, of_study)
    return TrialTable(params, user_attrs, len(study.directions), rows)


def table_from_storage(study: optuna.Study) -> TrialTable:
    """Return the trials of a study in any storage."""
    with translated(study._storage):
        trials = study.get_trials(deepcopy=False)
    params = sorted({name for trial in trials for name in trial.params})
    user_attrs = sorted({name for trial in trials for name in trial.user_attrs})
    return TrialTable(params, user_attrs, len(study.directions), map(_row, trials))


def _row(trial: FrozenTrial) -> TableRow:
    return TableRow(
        trial.number,
        trial.state,
        list(trial.values or ()),
        trial.datetime_start,
        trial.datetime_complete,
        trial.params,
        trial.distributions,
        trial.user_attrs,
        trial.system_attrs,
        origin_of(trial.user_attrs, trial.system_attrs),
        trial.intermediate_values,
        _is_feasible(trial.system_attrs),
    )


def _is_feasible(system_attrs: dict[str, Any]) -> bool:
    """Return whether no constraint is positive; a trial without constraints is feasible."""
    return all(value <= 0 for value in constraints_of(system_attrs).values())


def _pages(engine: Engine, of_study: sa.ColumnElement[bool]) -> Iterator[TableRow]:
    last = -1
    with translated(engine), connected(engine) as connection:
        while True:
            # Trials get their ids in the order of their numbers.
            new = sa.select(TRIALS.c.trial_id).where(of_study, TRIALS.c.trial_id > last)
            ids = connection.scalars(new.order_by(TRIALS.c.trial_id).limit(_PAGE)).all()
            if not ids:
                return
            which = of_study & TRIALS.c.trial_id.between(ids[0], ids[-1])
            yield from _read(connection, which)
            last = ids[-1]


def _read(connection: Connection, which: sa.ColumnElement[bool]) -> list[TableRow]:
    details = read_details(connection, which)
    values: dict[int, list[float]] = {}
    of_trials = sa.select(VALUES.c.trial_id, VALUES.c.value, VALUES.c.value_type)
    of_trials = of_trials.join(TRIALS, TRIALS.c.trial_id == VALUES.c.trial_id).where(which)
    to_value = models.TrialValueModel.stored_repr_to_value
    for trial_id, value, kind in connection.execute(of_trials.order_by(VALUES.c.objective)):
        values.setdefault(trial_id, []).append(to_value(value, kind))
    trials = sa.select(
        TRIALS.c.trial_id,
        TRIALS.c.number,
        TRIALS.c.state,
        TRIALS.c.datetime_start,
        TRIALS.c.datetime_complete,
    )
    rows = []
    for trial_id, number, state, started, completed in connection.execute(
        trials.where(which).order_by(TRIALS.c.trial_id)
    ):
        params = details.params.get(trial_id, [])
        distributions = {name: decode_distribution(text) for name, _, text in params}
        user_attrs = details.user_attrs.get(trial_id, {})
        system_attrs = details.system_attrs.get(trial_id, {})
        row = TableRow(
            number,
            state,
            values.get(trial_id, []),
            _local(started),
            _local(completed),
            {name: distributions[name].to_external_repr(value) for name, value, _ in params},
            distributions,
            user_attrs,
            system_attrs,
            origin_of(user_attrs, system_attrs),
            details.steps.get(trial_id, {}),
            _is_feasible(system_attrs),
        )
        rows.append(row)
    return rows


def _local(time: datetime.datetime | None) -> datetime.datetime | None:
    """Return the local time of a time in UTC."""
    if time is None:
        return None
    return time.replace(tzinfo=datetime.UTC).astimezone().replace(tzinfo=None)
