"""Reading trials from Optuna's tables, thousands with a few statements.

Optuna's objects are not made. The tables are those of `adbo.mirror.schema`.
"""

from __future__ import annotations

import datetime
import gc
import json
import math
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import sqlalchemy as sa
from optuna.storages._rdb import models
from sqlalchemy.engine import Connection, Engine

from adbo.core.evaluation import FINISHED_STATES, Evaluation, Extras
from adbo.core.optuna_trials import named
from adbo.core.trial_json import decode_layout
from adbo.mirror.schema import PARAMS, STEPS, SYSTEM_ATTRS, TRIALS, USER_ATTRS, VALUES
from adbo.mirror.storage_errors import translated

#: Rows that are fetched at once; fetching them one by one is slower.
_ROWS = 10_000

#: Unlike `json.loads`, this does not look for blanks around the text. Optuna writes none.
_decode = json.JSONDecoder().raw_decode


class Details(NamedTuple):
    """Parameters, attributes and intermediate values of trials, by trial id."""

    params: dict[int, list[tuple[str, float, str]]]
    """Name, internal value and distribution (as JSON) of each parameter."""
    user_attrs: dict[int, dict[str, Any]]
    system_attrs: dict[int, dict[str, Any]]
    steps: dict[int, dict[int, float]]

    def extras(self, trial_id: int) -> Extras:
        """Return the attributes and intermediate values of one trial."""
        return Extras(
            self.user_attrs.get(trial_id, {}),
            self.system_attrs.get(trial_id, {}),
            self.steps.get(trial_id, {}),
        )


def read_finished(engine: Engine, study_id: int) -> list[Evaluation]:
    """Return the finished trials of a study as evaluations, in the order of their numbers.

    Raises
    ------
    adbo.mirror.storage_errors.DatabaseError
        If the database fails.
    """
    finished = (TRIALS.c.study_id == study_id) & TRIALS.c.state.in_(FINISHED_STATES)
    with translated(engine), _garbage_collection_paused(), engine.connect() as connection:
        details = read_details(connection, finished)
        values = {
            trial_id: models.TrialValueModel.stored_repr_to_value(value, kind)
            for trial_id, value, kind in _rows(
                connection, finished, VALUES, VALUES.c.value, VALUES.c.value_type
            )
        }
        trials = sa.select(
            TRIALS.c.trial_id,
            TRIALS.c.number,
            TRIALS.c.state,
            TRIALS.c.datetime_start,
            TRIALS.c.datetime_complete,
        )
        evaluations = []
        for trial_id, number, state, started, completed in connection.execute(
            trials.where(finished).order_by(TRIALS.c.number)
        ):
            params = details.params.get(trial_id, [])
            evaluation = Evaluation(
                rank=-1,
                seq=number,
                state=state,
                value=values.get(trial_id, math.nan),
                started=_seconds(started or completed),
                finished=_seconds(completed or started),
                layout=decode_layout(tuple((name, text) for name, _, text in params)),
                internal=tuple(value for _, value, _ in params),
                extras=details.extras(trial_id),
            )
            evaluations.append(named(evaluation))
        return evaluations


def read_details(connection: Connection, which: sa.ColumnElement[bool]) -> Details:
    """Read what belongs to the trials of a condition, in the order of the rows."""
    params: dict[int, list[tuple[str, float, str]]] = defaultdict(list)
    columns = (PARAMS.c.param_name, PARAMS.c.param_value, PARAMS.c.distribution_json)
    for trial_id, name, internal, text in _rows(connection, which, PARAMS, *columns):
        params[trial_id].append((name, internal, text))
    to_value = models.TrialIntermediateValueModel.stored_repr_to_intermediate_value
    steps: dict[int, dict[int, float]] = defaultdict(dict)
    columns = (STEPS.c.step, STEPS.c.intermediate_value, STEPS.c.intermediate_value_type)
    user_attrs, system_attrs = (
        _read_attrs(connection, which, table) for table in (USER_ATTRS, SYSTEM_ATTRS)
    )
    for trial_id, step, value, kind in _rows(connection, which, STEPS, *columns):
        steps[trial_id][step] = to_value(value, kind)
    return Details(params, user_attrs, system_attrs, steps)


def _read_attrs(
    connection: Connection, which: sa.ColumnElement[bool], table: sa.Table
) -> dict[int, dict[str, Any]]:
    attrs: dict[int, dict[str, Any]] = defaultdict(dict)
    for trial_id, key, text in _rows(connection, which, table, table.c.key, table.c.value_json):
        attrs[trial_id][key] = _decode(text)[0]
    return attrs


def _rows(
    connection: Connection,
    which: sa.ColumnElement[bool],
    table: sa.Table,
    *columns: sa.ColumnElement[Any],
) -> Iterator[Any]:
    """Yield trial id and other columns of the rows that belong to trials of a condition."""
    joined = sa.select(table.c.trial_id, *columns).join(
        TRIALS, TRIALS.c.trial_id == table.c.trial_id
    )
    key = next(iter(table.primary_key))
    for rows in connection.execute(joined.where(which).order_by(key)).partitions(_ROWS):
        yield from rows


@contextmanager
def _garbage_collection_paused() -> Iterator[None]:
    """Pause the garbage collector.

    It would scan millions of new rows again and again, and find no garbage.
    """
    is_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_enabled:
            gc.enable()


def _seconds(time: datetime.datetime | None) -> float:
    """Return a time as Optuna stores it, in UTC, in seconds since the epoch; 0 without a time."""
    return 0.0 if time is None else time.replace(tzinfo=datetime.UTC).timestamp()
