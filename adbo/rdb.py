"""Finished trials in Optuna's tables, by the thousand.

Optuna stores a trial with a dozen statements and a commit; here a batch of trials is a handful of
statements and one commit, and what they leave behind is the same to the byte. This module knows
the tables of one schema (``REVISION``) and no other; it does not know threads, retries or MPI.

Notation: a trial's *name* is ``(rank, seq)``, stored as two user attributes; its *id* is the
database's; its *number* is Optuna's, dense within a study.
"""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from optuna.distributions import (
    BaseDistribution,
    check_distribution_compatibility,
    distribution_to_json,
    json_to_distribution,
)
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy.engine import Connection, Engine

from adbo.records import FINISHED_STATES, Evaluation, Extras, Layout

#: The revision of Optuna's schema that this module writes and reads.
REVISION = "v3.2.0.a"

#: The user attributes that hold a trial's name.
RANK, SEQ = "adbo:rank", "adbo:seq"

_STUDIES = models.StudyModel.__table__
_TRIALS = models.TrialModel.__table__
_VALUES = models.TrialValueModel.__table__
_PARAMS = models.TrialParamModel.__table__
_USER_ATTRS = models.TrialUserAttributeModel.__table__
_SYSTEM_ATTRS = models.TrialSystemAttributeModel.__table__
_STEPS = models.TrialIntermediateValueModel.__table__

_Row = dict[str, Any]


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


class BulkWriter:
    """Stores evaluations as trials of one study, a batch in a transaction.

    Every transaction locks the study, as Optuna does to number a trial, and then looks at the
    trials beyond its frontier, up to which it knows all. So it meets what others added, and also
    what it added itself by a commit whose answer was lost, and stores nothing twice.

    Parameters
    ----------
    engine
        Of the database; shared with Optuna's storage, whose pool gives each thread a connection.
    study_id
        The study.
    """

    def __init__(self, engine: Engine, study_id: int) -> None:
        self._engine = engine
        self._study_id = study_id
        self._stored = Names()
        self._last_id = 0
        self._count = 0
        self._distributions: dict[str, BaseDistribution] = {}
        self._layouts: dict[int, list[tuple[str, str]]] = {}

    def write(self, evaluations: Sequence[Evaluation]) -> None:
        """Store those of the evaluations that are not stored yet, all or none.

        Evaluations of rank -1 came from the database and are never written to it.

        Raises
        ------
        RefusedError
            If the database will never take one of them.
        DatabaseError
            If the database fails. What became of the transaction may be unknown.
        """
        for evaluation in evaluations:
            check(evaluation)
        with _translated(self._engine), self._transaction() as connection:
            self._advance(connection)
            new = {(e.rank, e.seq): e for e in evaluations if e.rank >= 0}
            batch = [e for name, e in new.items() if name not in self._stored]
            if not batch:
                return
            for layout in {e.layout.key: e.layout for e in batch}.values():
                self._admit(connection, layout)
            last_id = self._insert(connection, batch)
        # Committed: only now is any of it known to be stored.
        self._last_id, self._count = last_id, self._count + len(batch)
        for evaluation in batch:
            self._stored.add(evaluation.rank, evaluation.seq)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """A transaction that holds the study's lock."""
        with self._engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                # The statements after the lock must see what was committed while waiting for it,
                # whatever isolation this database was configured for.
                connection = connection.execution_options(isolation_level="READ COMMITTED")
            with connection.begin():
                if connection.dialect.name == "sqlite":
                    # It knows no row locks; the driver by itself would begin too late.
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                study = sa.select(_STUDIES.c.study_id).where(_STUDIES.c.study_id == self._study_id)
                if connection.execute(study.with_for_update()).first() is None:
                    raise DatabaseError("the study is no longer in the database")
                yield connection

    def _advance(self, connection: Connection) -> None:
        """Take note of the trials beyond the frontier, and move it there."""
        beyond = (_TRIALS.c.study_id == self._study_id) & (_TRIALS.c.trial_id > self._last_id)
        count, last_id = connection.execute(
            sa.select(sa.func.count(), sa.func.max(_TRIALS.c.trial_id)).where(beyond)
        ).one()
        if not count:
            return
        rank, seq = _USER_ATTRS.alias(), _USER_ATTRS.alias()
        names = (
            sa.select(rank.c.value_json, seq.c.value_json)
            .select_from(_TRIALS)
            .join(rank, (rank.c.trial_id == _TRIALS.c.trial_id) & (rank.c.key == RANK))
            .join(seq, (seq.c.trial_id == _TRIALS.c.trial_id) & (seq.c.key == SEQ))
            .where(beyond)
        )
        for attributes in connection.execute(names):
            name = tuple(json.loads(text) for text in attributes)
            if is_name(*name):
                self._stored.add(*name)
        self._last_id, self._count = last_id, self._count + count

    def _admit(self, connection: Connection, layout: Layout) -> None:
        """Prepare a layout's constant columns; refuse it where Optuna would."""
        if layout.key in self._layouts:
            return
        known = dict(self._distributions)
        for name, distribution in layout.distributions.items():
            previous = known.get(name) or self._stored_distribution(connection, name)
            if previous is not None:
                try:
                    check_distribution_compatibility(previous, distribution)
                except ValueError as error:
                    raise RefusedError(f"parameter {name!r}: {error}") from None
            known[name] = previous or distribution
        self._distributions = known
        self._layouts[layout.key] = [
            (name, distribution_to_json(d)) for name, d in layout.distributions.items()
        ]

    def _stored_distribution(self, connection: Connection, name: str) -> BaseDistribution | None:
        text = connection.execute(
            sa.select(_PARAMS.c.distribution_json)
            .join(_TRIALS, _TRIALS.c.trial_id == _PARAMS.c.trial_id)
            .where((_TRIALS.c.study_id == self._study_id) & (_PARAMS.c.param_name == name))
            .limit(1)
        ).scalar()
        return None if text is None else json_to_distribution(text)

    def _insert(self, connection: Connection, batch: Sequence[Evaluation]) -> int:
        """Insert trials and all that belongs to them; return the last id."""
        rows = [
            {
                "number": number,
                "study_id": self._study_id,
                "state": e.state,
                "datetime_start": _utc(e.started),
                "datetime_complete": _utc(e.finished),
            }
            for number, e in enumerate(batch, self._count)
        ]
        connection.execute(_TRIALS.insert(), rows)
        # Read back by number: how a database hands out ids to many rows is its own affair.
        ids: dict[int, int] = {
            number: trial_id
            for trial_id, number in connection.execute(
                sa.select(_TRIALS.c.trial_id, _TRIALS.c.number).where(
                    (_TRIALS.c.study_id == self._study_id) & (_TRIALS.c.trial_id > self._last_id)
                )
            )
        }
        if set(ids) != {row["number"] for row in rows}:
            raise DatabaseError("another program writes to the study without locking it")
        trials = [(ids[number], e) for number, e in enumerate(batch, self._count)]
        for table, children in (
            (_VALUES, _value_rows(trials)),
            (_PARAMS, self._param_rows(trials)),
            (_USER_ATTRS, _user_attr_rows(trials)),
            (_SYSTEM_ATTRS, _system_attr_rows(trials)),
            (_STEPS, _step_rows(trials)),
        ):
            if children:
                connection.execute(table.insert(), children)
        return max(ids.values())

    def _param_rows(self, trials: Iterable[tuple[int, Evaluation]]) -> list[_Row]:
        return [
            {
                "trial_id": trial_id,
                "param_name": name,
                "param_value": value,
                "distribution_json": text,
            }
            for trial_id, e in trials
            for (name, text), value in zip(self._layouts[e.layout.key], e.internal, strict=True)
        ]


def check(evaluation: Evaluation) -> None:
    """Refuse an evaluation that would be no valid trial.

    Raises
    ------
    RefusedError
        If it is COMPLETE without a value.
    """
    if evaluation.state == TrialState.COMPLETE and math.isnan(evaluation.value):
        raise RefusedError(f"evaluation {evaluation.rank}:{evaluation.seq} has no value")


def has_value(evaluation: Evaluation) -> bool:
    """Whether its trial has a value: Optuna gives none to a failed one."""
    return evaluation.state != TrialState.FAIL and not math.isnan(evaluation.value)


def user_attrs(evaluation: Evaluation) -> dict[str, Any]:
    """The user attributes of its trial: its own, then its name."""
    return {**evaluation.extras.user_attrs, RANK: evaluation.rank, SEQ: evaluation.seq}


def is_name(rank: object, seq: object) -> bool:
    """Whether two user attributes are the name of a trial that adbo made."""
    return all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in (rank, seq))


def _value_rows(trials: Iterable[tuple[int, Evaluation]]) -> list[_Row]:
    rows = []
    for trial_id, e in trials:
        if has_value(e):
            value, kind = models.TrialValueModel.value_to_stored_repr(e.value)
            rows.append({"trial_id": trial_id, "objective": 0, "value": value, "value_type": kind})
    return rows


def _user_attr_rows(trials: Iterable[tuple[int, Evaluation]]) -> list[_Row]:
    return _attr_rows((trial_id, user_attrs(e)) for trial_id, e in trials)


def _system_attr_rows(trials: Iterable[tuple[int, Evaluation]]) -> list[_Row]:
    return _attr_rows((trial_id, e.extras.system_attrs) for trial_id, e in trials)


def _attr_rows(attributes: Iterable[tuple[int, Mapping[str, Any]]]) -> list[_Row]:
    return [
        {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
        for trial_id, attrs in attributes
        for key, value in attrs.items()
    ]


def _step_rows(trials: Iterable[tuple[int, Evaluation]]) -> list[_Row]:
    to_stored = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr
    rows = []
    for trial_id, e in trials:
        for step, intermediate in e.extras.intermediate_values.items():
            value, kind = to_stored(intermediate)
            rows.append(
                {
                    "trial_id": trial_id,
                    "step": step,
                    "intermediate_value": value,
                    "intermediate_value_type": kind,
                }
            )
    return rows


def _utc(seconds: float) -> datetime.datetime:
    """Seconds since the epoch as Optuna stores times: UTC without saying so."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).replace(tzinfo=None)


@contextmanager
def _translated(engine: Engine) -> Iterator[None]:
    """Tell what the database will never take from trouble that may pass."""
    try:
        yield
    except sa.exc.DataError as error:
        raise RefusedError(_first_line(error)) from error
    except sa.exc.SQLAlchemyError as error:
        raise DatabaseError(_first_line(error)) from error


def _first_line(error: sa.exc.SQLAlchemyError) -> str:
    """What the driver said, without statement and parameters."""
    cause = getattr(error, "orig", None) or error
    return next(iter(str(cause).splitlines()), "") or type(cause).__name__


def is_supported(storage: RDBStorage) -> bool:
    """Whether the database has the schema that this module knows."""
    return storage.get_current_version() == REVISION


def read(engine: Engine, study_id: int) -> list[Evaluation]:
    """All finished trials of a study in the order of their numbers, as evaluations.

    Six statements whatever the number of trials; Optuna's objects are not made.
    """
    with _translated(engine), engine.connect() as connection:
        finished = (_TRIALS.c.study_id == study_id) & _TRIALS.c.state.in_(FINISHED_STATES)

        def select(table: sa.Table, *columns: sa.ColumnElement[Any]) -> Iterator[tuple[Any, ...]]:
            joined = sa.select(table.c.trial_id, *columns).join(
                _TRIALS, _TRIALS.c.trial_id == table.c.trial_id
            )
            key = next(iter(table.primary_key))
            yield from connection.execute(joined.where(finished).order_by(key))

        params = _grouped(
            (trial_id, (name, value, text))
            for trial_id, name, value, text in select(
                _PARAMS, _PARAMS.c.param_name, _PARAMS.c.param_value, _PARAMS.c.distribution_json
            )
        )
        values = {
            trial_id: models.TrialValueModel.stored_repr_to_value(value, kind)
            for trial_id, value, kind in select(_VALUES, _VALUES.c.value, _VALUES.c.value_type)
        }
        attributes = [
            _grouped(
                (trial_id, (key, text))
                for trial_id, key, text in select(table, table.c.key, table.c.value_json)
            )
            for table in (_USER_ATTRS, _SYSTEM_ATTRS)
        ]
        to_value = models.TrialIntermediateValueModel.stored_repr_to_intermediate_value
        steps = _grouped(
            (trial_id, (step, to_value(value, kind)))
            for trial_id, step, value, kind in select(
                _STEPS,
                _STEPS.c.step,
                _STEPS.c.intermediate_value,
                _STEPS.c.intermediate_value_type,
            )
        )
        trials = connection.execute(
            sa.select(
                _TRIALS.c.trial_id,
                _TRIALS.c.number,
                _TRIALS.c.state,
                _TRIALS.c.datetime_start,
                _TRIALS.c.datetime_complete,
            )
            .where(finished)
            .order_by(_TRIALS.c.number)
        )
        layouts: dict[tuple[tuple[str, str], ...], Layout] = {}
        evaluations = []
        for trial_id, number, state, started, completed in trials:
            own = params.get(trial_id, [])
            user, system = (
                {key: json.loads(text) for key, text in group.get(trial_id, [])}
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


def named(evaluation: Evaluation) -> Evaluation:
    """A trial as it was read, under the name that its user attributes tell, if they do."""
    attrs = evaluation.extras.user_attrs
    if not is_name(attrs.get(RANK), attrs.get(SEQ)):
        return evaluation
    others = {key: value for key, value in attrs.items() if key not in (RANK, SEQ)}
    extras = Extras(others, evaluation.extras.system_attrs, evaluation.extras.intermediate_values)
    return replace(evaluation, rank=attrs[RANK], seq=attrs[SEQ], extras=extras)


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
