"""Optuna's tables: what is in them, and reading a study from them.

This module knows the tables of one schema (``REVISION``) and no other. Writing them is the affair
of `adbo.mirror.bulk_writer`.

Notation: a trial's *name* is ``(rank, seq)``, stored as two user attributes; its *id* is the
database's; its *number* is Optuna's, dense within a study.
"""

from __future__ import annotations

import datetime
import gc
import json
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from optuna.distributions import json_to_distribution
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy.engine import Connection, Engine

from adbo.core.evaluation import FINISHED_STATES, Evaluation, Extras, Layout
from adbo.core.optuna_trials import named
from adbo.mirror.redaction import redact

#: The revision of Optuna's schema that this module writes and reads.
REVISION = "v3.2.0.a"

#: Rows that are read at once.
_PART = 10_000

#: Optuna writes JSON without blanks around it, for which `json.loads` looks half of its time.
_decode = json.JSONDecoder().raw_decode

STUDIES = models.StudyModel.__table__
TRIALS = models.TrialModel.__table__
VALUES = models.TrialValueModel.__table__
PARAMS = models.TrialParamModel.__table__
USER_ATTRS = models.TrialUserAttributeModel.__table__
SYSTEM_ATTRS = models.TrialSystemAttributeModel.__table__
STEPS = models.TrialIntermediateValueModel.__table__


class DatabaseError(Exception):
    """The database failed; it may work again later."""


class RefusedError(ValueError):
    """The database will never take this as it is."""


class Names:
    """A set of ``(rank, seq)``, small for millions of them since every rank counts upwards."""

    def __init__(self) -> None:
        self._runs: dict[int, tuple[int, int]] = {}
        self._others: set[tuple[int, int]] = set()

    def __contains__(self, name: tuple[int, int]) -> bool:
        start, end = self._runs.get(name[0], (0, 0))
        return start <= name[1] < end or name in self._others

    def __len__(self) -> int:
        return sum(end - start for start, end in self._runs.values()) + len(self._others)

    def add(self, rank: int, seq: int) -> None:
        start, end = self._runs.get(rank, (seq, seq))
        if seq == end:
            end += 1
            while (rank, end) in self._others:
                self._others.remove((rank, end))
                end += 1
            self._runs[rank] = start, end
        elif not start <= seq < end:
            self._others.add((rank, seq))


def check(evaluation: Evaluation) -> None:
    """Refuse an evaluation that would be no valid trial.

    Raises
    ------
    RefusedError
        If it is COMPLETE without a value.
    """
    if evaluation.state == TrialState.COMPLETE and math.isnan(evaluation.value):
        raise RefusedError(f"evaluation {evaluation.rank}:{evaluation.seq} has no value")


@contextmanager
def locked(engine: Engine, study_id: int) -> Iterator[Connection]:
    """A transaction that holds the study's lock."""
    with engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            # The statements after the lock must see what was committed while waiting for it,
            # whatever isolation this database was configured for.
            connection = connection.execution_options(isolation_level="READ COMMITTED")
        with connection.begin():
            if connection.dialect.name == "sqlite":
                # It knows no row locks; the driver by itself would begin too late.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            study = sa.select(STUDIES.c.study_id).where(STUDIES.c.study_id == study_id)
            if connection.execute(study.with_for_update()).first() is None:
                raise DatabaseError("the study is no longer in the database")
            yield connection


@contextmanager
def translated(engine: Engine) -> Iterator[None]:
    """Tell what the database will never take from trouble that may pass.

    The driver's own errors are those of statements that SQLAlchemy knows nothing of.
    """
    driver: Any = engine.dialect.loaded_dbapi
    try:
        yield
    except (sa.exc.DataError, sa.exc.IntegrityError, driver.DataError, OverflowError) as error:
        raise RefusedError(one_line(error, engine.url)) from error
    except (sa.exc.SQLAlchemyError, driver.Error) as error:
        raise DatabaseError(one_line(error, engine.url)) from error


def one_line(error: BaseException, url: sa.URL) -> str:
    """What the driver said, on one line, without statement, parameters or password."""
    cause = getattr(error, "orig", None) or error
    text = str(cause).strip() or type(cause).__name__
    return redact(text, url.render_as_string(hide_password=False))


def is_supported(storage: RDBStorage) -> bool:
    """Whether the database has the schema that this module knows."""
    return storage.get_current_version() == REVISION


def read(engine: Engine, study_id: int) -> list[Evaluation]:
    """All finished trials of a study in the order of their numbers, as evaluations.

    Six statements whatever the number of trials; Optuna's objects are not made.
    """
    with translated(engine), _uncollected(), engine.connect() as connection:
        finished = (TRIALS.c.study_id == study_id) & TRIALS.c.state.in_(FINISHED_STATES)

        def select(table: sa.Table, *columns: sa.ColumnElement[Any]) -> Iterator[tuple[Any, ...]]:
            joined = sa.select(table.c.trial_id, *columns).join(
                TRIALS, TRIALS.c.trial_id == table.c.trial_id
            )
            key = next(iter(table.primary_key))
            # In large parts: asked for one by one, rows take twice as long.
            rows = connection.execute(joined.where(finished).order_by(key))
            for part in rows.partitions(_PART):
                yield from part

        params = _grouped(
            (trial_id, (name, value, text))
            for trial_id, name, value, text in select(
                PARAMS, PARAMS.c.param_name, PARAMS.c.param_value, PARAMS.c.distribution_json
            )
        )
        values = {
            trial_id: models.TrialValueModel.stored_repr_to_value(value, kind)
            for trial_id, value, kind in select(VALUES, VALUES.c.value, VALUES.c.value_type)
        }
        attributes = [
            _grouped(
                (trial_id, (key, text))
                for trial_id, key, text in select(table, table.c.key, table.c.value_json)
            )
            for table in (USER_ATTRS, SYSTEM_ATTRS)
        ]
        to_value = models.TrialIntermediateValueModel.stored_repr_to_intermediate_value
        steps = _grouped(
            (trial_id, (step, to_value(value, kind)))
            for trial_id, step, value, kind in select(
                STEPS,
                STEPS.c.step,
                STEPS.c.intermediate_value,
                STEPS.c.intermediate_value_type,
            )
        )
        trials = connection.execute(
            sa.select(
                TRIALS.c.trial_id,
                TRIALS.c.number,
                TRIALS.c.state,
                TRIALS.c.datetime_start,
                TRIALS.c.datetime_complete,
            )
            .where(finished)
            .order_by(TRIALS.c.number)
        )
        layouts: dict[tuple[tuple[str, str], ...], Layout] = {}
        evaluations = []
        for trial_id, number, state, started, completed in trials:
            own = params.get(trial_id, [])
            user, system = (
                {key: _decode(text)[0] for key, text in group.get(trial_id, [])}
                for group in attributes
            )
            extras = Extras(user, system, dict(steps.get(trial_id, [])))
            evaluations.append(
                named(
                    Evaluation(
                        rank=-1,
                        seq=number,
                        state=state,
                        value=values.get(trial_id, math.nan),
                        started=_seconds(started, completed),
                        finished=_seconds(completed, started),
                        layout=_layout(layouts, tuple((name, text) for name, _, text in own)),
                        internal=tuple(value for _, value, _ in own),
                        extras=extras,
                    )
                )
            )
        return evaluations


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the garbage collector, which looks again and again at millions of new rows in vain.

    It would take half of the time: 3.4 s become 8 for 100,000 trials.
    """
    is_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_enabled:
            gc.enable()


def _grouped(rows: Iterable[tuple[int, Any]]) -> dict[int, list[Any]]:
    groups: dict[int, list[Any]] = {}
    for trial_id, row in rows:
        groups.setdefault(trial_id, []).append(row)
    return groups


def _layout(
    layouts: dict[tuple[tuple[str, str], ...], Layout], texts: tuple[tuple[str, str], ...]
) -> Layout:
    """The layout of a trial; there are few, and many trials."""
    if texts not in layouts:
        layouts[texts] = Layout({name: json_to_distribution(text) for name, text in texts})
    return layouts[texts]


def _seconds(time: datetime.datetime | None, otherwise: datetime.datetime | None) -> float:
    """UTC as Optuna stores it in seconds since the epoch."""
    moment = time or otherwise
    return 0.0 if moment is None else moment.replace(tzinfo=datetime.UTC).timestamp()
