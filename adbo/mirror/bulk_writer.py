"""Writing finished trials to Optuna's tables, thousands in one transaction.

Optuna stores a trial with a dozen statements and a commit. Here a batch of trials takes a handful
of statements and one commit, and the rows are the same. This module does not know threads, retries
or MPI. The notation is that of `adbo.mirror.schema`.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy.engine import Connection, Engine

from adbo.core.choices import in_order_of
from adbo.core.evaluation import Evaluation, Layout
from adbo.core.names import Names
from adbo.core.optuna_trials import (
    ENQUEUED,
    RANK,
    SEQ,
    enqueued_id,
    has_value,
    is_name,
    system_attrs,
    user_attrs,
)
from adbo.core.space import are_compatible, contradiction
from adbo.mirror.bulk_insert import Row, insert
from adbo.mirror.mirror import DataLossError
from adbo.mirror.reader import Range
from adbo.mirror.schema import (
    PARAMS,
    STEPS,
    SYSTEM_ATTRS,
    TRIALS,
    USER_ATTRS,
    VALUES,
    check,
    identity_of,
    locked,
)
from adbo.mirror.storage_errors import DatabaseError, RefusedError, translated


class BulkWriter:
    """Stores evaluations as trials of one study, each batch in one transaction.

    The writer remembers the names of all trials up to a *frontier*, the id of the last trial it
    has seen. Each transaction locks the study, as Optuna does to number a trial, and first reads
    the names beyond the frontier: those of trials that others added, and of its own trials if the
    answer to a commit was lost. So no evaluation is stored twice.

    Parameters
    ----------
    engine
        The engine of Optuna's storage, whose pool gives each thread a connection.
    study_id
        The study.
    job
        The number of the job that writes.
    n_confirmed
        The number of its names that the study must hold at least. Those of other jobs do not
        count: they may write again what the database has lost of this one, but perhaps not all.
    """

    def __init__(self, engine: Engine, study_id: int, job: int, n_confirmed: int = 0) -> None:
        self._engine = engine
        self._study_id = study_id
        self._job = job
        #: The ids of the trials of each batch that was written; the user may remove them.
        self.written: list[Range] = []
        self._stored = Names()
        self._last_id = 0
        self._n_confirmed = n_confirmed
        self._forget()

    def write(self, evaluations: Sequence[Evaluation]) -> None:
        """Store those of the evaluations that are not stored yet; all of them or none.

        Raises
        ------
        adbo.mirror.storage_errors.RefusedError
            If the database will never take one of them.
        adbo.mirror.mirror.DataLossError
            If the database no longer has what it had confirmed.
        adbo.mirror.mirror.StudyGoneError
            If there is no such study any more.
        adbo.mirror.storage_errors.DatabaseError
            If the database fails. Whether the transaction was committed may be unknown.
        """
        for evaluation in evaluations:
            check(evaluation)
        named = {(e.rank, e.seq): e for e in evaluations}
        if all(name in self._stored for name in named):
            return
        try:
            with translated(self._engine), locked(self._engine, self._study_id) as connection:
                batch, ids, count = self._store(connection, named)
        except DatabaseError:
            self._forget()
            raise
        except RefusedError:
            self._forget_distributions()
            raise
        # Only after the commit is anything known to be stored.
        self._count = count
        if ids:
            if self.written and self.written[-1][1] == self._last_id:  # nothing is in between
                ids = self.written.pop()[0], ids[1]
            self.written.append(ids)
            self._last_id = ids[1]
        for evaluation in batch:
            self._stored.add(evaluation.rank, evaluation.seq)

    @property
    def n_confirmed(self) -> int:
        """The number of names of this job that the study must hold at least."""
        return max(self._n_confirmed, self._stored.count(self._job))

    def _forget(self) -> None:
        """Forget the names of stored trials, but not how many there must be at least.

        A commit that failed may have succeeded on the server, and a server that crashed may have
        lost earlier ones.
        """
        self._n_confirmed = self.n_confirmed
        self._stored = Names()
        self._last_id = 0
        self._count = 0
        self._identity: str | None = None
        self._forget_distributions()

    def _forget_distributions(self) -> None:
        """Forget the order of choices: it was not committed, and others may store another one."""
        self._distributions: dict[str, BaseDistribution] = {}
        self._layouts: dict[int, list[_Column]] = {}

    def _store(
        self, connection: Connection, named: Mapping[tuple[int, int], Evaluation]
    ) -> tuple[list[Evaluation], Range | None, int]:
        """Store what is not stored yet; return it, the ids of new trials, and the trial count."""
        self._advance(connection)
        n_lost, self._n_confirmed = self._n_confirmed - self._stored.count(self._job), 0
        if n_lost > 0:
            raise DataLossError(f"{n_lost} of them")
        open_ids = self._look_up_enqueued(connection, named.values())
        batch = [e for name, e in named.items() if name not in self._stored]
        for layout in {e.layout.key: e.layout for e in batch}.values():
            self._prepare(connection, layout)
        taken = [(i, e) for e in batch if (i := enqueued_id(e)) in open_ids]
        new = [e for e in batch if enqueued_id(e) not in open_ids]
        _finish(connection, taken)
        trials = self._insert(connection, new)
        self._insert_children(connection, [*taken, *trials])
        ids = [trial_id for trial_id, _ in trials]
        return batch, (min(ids), max(ids)) if ids else None, self._count + len(new)

    def _advance(self, connection: Connection) -> None:
        """Move the frontier to the last trial, and remember the names of those in between.

        The study is that of the last call if it has the same identity, and still the last trial.
        """
        identity = identity_of(self._study_id)
        of_study, ids = TRIALS.c.study_id == self._study_id, TRIALS.c.trial_id
        count, first_id, last_id, found = connection.execute(
            sa.select(sa.func.count(), sa.func.min(ids), sa.func.max(ids), identity).where(
                of_study, ids >= self._last_id
            )
        ).one()
        if self._last_id:
            if (first_id, found) != (self._last_id, self._identity):
                self._forget()
                self._n_confirmed = 0
                raise DataLossError("the study was made again")
            count -= 1
        self._identity = found
        if count:
            self._remember_names(connection, of_study & (ids > self._last_id))
            self._last_id, self._count = last_id, self._count + count

    def _look_up_enqueued(
        self, connection: Connection, evaluations: Iterable[Evaluation]
    ) -> set[int]:
        """Return the ids of enqueued trials that are still RUNNING and get these evaluations.

        The names of those that are finished, perhaps by a commit whose answer was lost, are
        remembered.
        """
        ids = [i for e in evaluations if (i := enqueued_id(e)) is not None]
        if not ids:
            return set()
        asked = (TRIALS.c.study_id == self._study_id) & TRIALS.c.trial_id.in_(ids)
        # In a study that was made again, the trial of this id is another one.
        running = (
            sa.select(TRIALS.c.trial_id)
            .join(SYSTEM_ATTRS, SYSTEM_ATTRS.c.trial_id == TRIALS.c.trial_id)
            .where(asked, TRIALS.c.state == TrialState.RUNNING, SYSTEM_ATTRS.c.key == ENQUEUED)
        )
        open_ids = set(connection.scalars(running))
        if len(open_ids) < len(ids):
            self._remember_names(connection, asked & ~TRIALS.c.trial_id.in_(open_ids))
        return open_ids

    def _remember_names(self, connection: Connection, which: sa.ColumnElement[bool]) -> None:
        rank, seq = USER_ATTRS.alias(), USER_ATTRS.alias()
        names = (
            sa.select(rank.c.value_json, seq.c.value_json)
            .select_from(TRIALS)
            .join(rank, (rank.c.trial_id == TRIALS.c.trial_id) & (rank.c.key == RANK))
            .join(seq, (seq.c.trial_id == TRIALS.c.trial_id) & (seq.c.key == SEQ))
            .where(which)
        )
        for attributes in connection.execute(names):
            name = tuple(json.loads(text) for text in attributes)
            if is_name(*name):
                self._stored.add(*name)

    def _prepare(self, connection: Connection, layout: Layout) -> None:
        """Prepare the columns that are constant for a layout.

        Raises
        ------
        RefusedError
            If a distribution is incompatible with the one that its parameter has in the study.
        """
        if layout.key in self._layouts:
            return
        known = dict(self._distributions)
        for name, distribution in layout.distributions.items():
            previous = known.get(name) or self._stored_distribution(connection, name)
            if previous is not None and not are_compatible(previous, distribution):
                raise RefusedError(contradiction(name, previous, distribution))
            known[name] = previous or distribution
        self._distributions = known
        stored, reorderings = in_order_of(known, layout)
        self._layouts[layout.key] = [
            _Column(name, distribution_to_json(d), reorderings.get(position))
            for position, (name, d) in enumerate(stored.distributions.items())
        ]

    def _stored_distribution(self, connection: Connection, name: str) -> BaseDistribution | None:
        text = connection.execute(
            sa.select(PARAMS.c.distribution_json)
            .join(TRIALS, TRIALS.c.trial_id == PARAMS.c.trial_id)
            .where((TRIALS.c.study_id == self._study_id) & (PARAMS.c.param_name == name))
            .limit(1)
        ).scalar()
        return None if text is None else json_to_distribution(text)

    def _insert(
        self, connection: Connection, batch: Sequence[Evaluation]
    ) -> list[tuple[int, Evaluation]]:
        """Insert trials; return them with their ids."""
        if not batch:
            return []
        rows: list[Row] = [
            (number, self._study_id, e.state.name, _utc(e.started), _utc(e.finished))
            for number, e in enumerate(batch, self._count)
        ]
        insert(connection, TRIALS, _TRIAL_COLUMNS, rows)
        # Read the ids back by number: databases differ in the ids they give to many rows.
        ids: dict[int, int] = {
            number: trial_id
            for trial_id, number in connection.execute(
                sa.select(TRIALS.c.trial_id, TRIALS.c.number).where(
                    (TRIALS.c.study_id == self._study_id) & (TRIALS.c.trial_id > self._last_id)
                )
            )
        }
        if ids.keys() != {row[0] for row in rows}:
            raise DatabaseError("another program writes to the study without locking it")
        return [(ids[number], e) for number, e in enumerate(batch, self._count)]

    def _insert_children(
        self, connection: Connection, trials: Sequence[tuple[int, Evaluation]]
    ) -> None:
        """Insert the values, parameters, attributes and intermediate values of trials."""
        insert(connection, VALUES, _VALUE_COLUMNS, _value_rows(trials))
        insert(connection, PARAMS, _PARAM_COLUMNS, self._param_rows(trials))
        for table, attributes in (
            (USER_ATTRS, user_attrs),
            (SYSTEM_ATTRS, system_attrs),
        ):
            rows: list[Row] = [
                (trial_id, key, json.dumps(value))
                for trial_id, e in trials
                for key, value in attributes(e).items()
            ]
            insert(connection, table, _ATTR_COLUMNS, rows)
        insert(connection, STEPS, _STEP_COLUMNS, _step_rows(trials))

    def _param_rows(self, trials: Iterable[tuple[int, Evaluation]]) -> list[Row]:
        return [
            (trial_id, column.name, column.stored(value), column.text)
            for trial_id, e in trials
            for column, value in zip(self._layouts[e.layout.key], e.internal, strict=True)
        ]


class _Column(NamedTuple):
    """What the rows of one parameter of a layout have in common."""

    name: str
    text: str
    """The distribution as JSON, of a categorical one with the choices in the study's order."""
    indices: NDArray[np.float64] | None
    """The index of each choice in the study; None if the order is the same."""

    def stored(self, value: float) -> float:
        """Return an internal value as the study stores it."""
        return value if self.indices is None else float(self.indices[int(value)])


_TRIAL_COLUMNS = ("number", "study_id", "state", "datetime_start", "datetime_complete")
_VALUE_COLUMNS = ("trial_id", "objective", "value", "value_type")
_PARAM_COLUMNS = ("trial_id", "param_name", "param_value", "distribution_json")
_ATTR_COLUMNS = ("trial_id", "key", "value_json")
_STEP_COLUMNS = ("trial_id", "step", "intermediate_value", "intermediate_value_type")


def _finish(connection: Connection, trials: Sequence[tuple[int, Evaluation]]) -> None:
    """Finish enqueued trials; remove their rows in other tables, which are inserted anew."""
    if not trials:
        return
    ids = [trial_id for trial_id, _ in trials]
    for table in (PARAMS, USER_ATTRS, SYSTEM_ATTRS, STEPS):
        connection.execute(table.delete().where(table.c.trial_id.in_(ids)))
    for trial_id, e in trials:
        connection.execute(
            TRIALS.update()
            .where(TRIALS.c.trial_id == trial_id)
            .values(
                state=e.state,
                datetime_start=_moment(e.started),
                datetime_complete=_moment(e.finished),
            )
        )


def _value_rows(trials: Iterable[tuple[int, Evaluation]]) -> list[Row]:
    rows: list[Row] = []
    for trial_id, e in trials:
        if has_value(e):
            for objective, of_objective in enumerate(e.values):
                value, kind = models.TrialValueModel.value_to_stored_repr(of_objective)
                rows.append((trial_id, objective, value, kind.name))
    return rows


def _step_rows(trials: Iterable[tuple[int, Evaluation]]) -> list[Row]:
    to_stored = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr
    rows: list[Row] = []
    for trial_id, e in trials:
        for step, intermediate in e.extras.intermediate_values.items():
            value, kind = to_stored(intermediate)
            rows.append((trial_id, step, value, kind.name))
    return rows


def _moment(seconds: float) -> datetime.datetime:
    """Return seconds since the epoch as Optuna stores times: in UTC, without a time zone."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).replace(tzinfo=None)


def _utc(seconds: float) -> str:
    """Return seconds since the epoch as a text that every database reads as a time in UTC."""
    return _moment(seconds).isoformat(" ", "microseconds")
