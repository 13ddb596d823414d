"""Reading the finished trials of a study: all at the start, and the new ones from time to time.

`BulkReader` reads Optuna's tables, those of `adbo.mirror.schema`, with a few statements for
thousands of trials and without making Optuna's objects. `TrialReader` reads any storage.
"""

from __future__ import annotations

import datetime
import gc
import json
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import optuna
import sqlalchemy as sa
from optuna.storages._rdb import models
from sqlalchemy.engine import Connection, Engine

from adbo.core.evaluation import FINISHED_STATES, Evaluation, Extras
from adbo.core.names import Names
from adbo.core.optuna_trials import evaluation_of, named
from adbo.core.trial_json import decode_layout
from adbo.mirror.mirror import StudyGoneError
from adbo.mirror.schema import (
    PARAMS,
    STEPS,
    SYSTEM_ATTRS,
    TRIALS,
    USER_ATTRS,
    VALUES,
    connected,
    identity_of,
)
from adbo.mirror.storage_errors import translated

#: Rows that are fetched at once; fetching them one by one is slower.
_ROWS = 10_000

#: Unlike `json.loads`, this does not look for blanks around the text. Optuna writes none.
_decode = json.JSONDecoder().raw_decode

#: Ids in one statement; SQLite takes 32,766 values.
_IDS = 10_000

#: Ranges of ids in one statement; SQLite takes an expression of 1,000 levels.
_RANGES = 500

#: The first and the last of some consecutive ids of trials.
Range = tuple[int, int]


@dataclass(frozen=True)
class Cursor:
    """Up to where the trials of a study have been read.

    Parameters
    ----------
    last
        The id of the last trial that has been looked at.
    unfinished
        The ids of the trials up to it that were not finished yet.
    identity
        The identity of the study, if it is known (see `adbo.mirror.schema.identity_of`).
    """

    last: int
    unfinished: frozenset[int] = frozenset()
    identity: str | None = None


#: The cursor before the first trial; Optuna's ids begin at 0 or 1.
START = Cursor(-1)


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


class Reader(Protocol):
    """Reads the finished trials of a study, each one once."""

    cursor: Cursor

    def read(self, own: Sequence[Range] = ()) -> list[Evaluation]:
        """Return the trials that were finished since the last call.

        They are in the order of their numbers, except that those known before as unfinished are
        first. Trials without a name, or with that of a trial that this reader has returned, have
        rank -1 and their number as ``seq``.

        Parameters
        ----------
        own
            Ranges of ids that this job wrote; a reader may leave them out.

        Raises
        ------
        adbo.mirror.storage_errors.DatabaseError
            If the storage fails.
        adbo.mirror.mirror.StudyGoneError
            If there is no such study any more.
        """


class BulkReader:
    """Reads the trials of one study in a database whose tables are known.

    The cost of a call depends on the number of new and of unfinished trials, not on that of all
    trials. It takes no lock: trials get their ids in the order in which they become visible, since
    whoever adds one holds the lock of the study.

    Parameters
    ----------
    engine
        The engine of the database.
    study_id
        The study.
    cursor
        Where to begin.
    """

    def __init__(self, engine: Engine, study_id: int, cursor: Cursor = START) -> None:
        self._engine = engine
        self._study_id = study_id
        self._names = Names()
        self.cursor = cursor

    def read(self, own: Sequence[Range] = ()) -> list[Evaluation]:
        """Return the trials that were finished since the last call; see `Reader`."""
        last, unfinished = self.cursor.last, self.cursor.unfinished
        new = (TRIALS.c.study_id == self._study_id) & (TRIALS.c.trial_id > last)
        finished = TRIALS.c.state.in_(FINISHED_STATES)
        ids = sa.select(TRIALS.c.trial_id)
        evaluations: list[tuple[int, Evaluation]] = []
        now_finished: set[int] = set()
        with _garbage_collection_paused(), self._connected() as connection:
            last_id = sa.func.max(TRIALS.c.trial_id)
            end, identity = connection.execute(
                sa.select(last_id, identity_of(self._study_id)).where(new)
            ).one()
            self._check(identity)
            for part in parts(unfinished):
                among = TRIALS.c.trial_id.in_(part) & finished
                if part_finished := set(connection.scalars(ids.where(among))):
                    now_finished |= part_finished
                    among = TRIALS.c.trial_id.in_(part_finished)
                    evaluations += _read_finished(connection, among)
            if end is not None:
                new &= TRIALS.c.trial_id <= end
                unfinished |= set(connection.scalars(ids.where(new, ~finished)))
                for first, after in own[-_RANGES:]:
                    new &= ~TRIALS.c.trial_id.between(first, after)
                evaluations += _read_finished(connection, new & finished, unfinished)
        self.cursor = Cursor(last if end is None else end, unfinished - now_finished, identity)
        # Not earlier: after an error the next call reads the same trials.
        return _with_unique_names(evaluations, self._names)

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        with translated(self._engine), connected(self._engine) as connection:
            yield connection

    def _check(self, identity: str | None) -> None:
        """Raise StudyGoneError unless the study is the one that has been read so far."""
        if self.cursor.identity not in (None, identity):
            is_deleted = identity is None
            what = "is no longer in the database" if is_deleted else "was made again"
            raise StudyGoneError(f"the study {what}")


class TrialReader:
    """Reads the trials of a study in any storage, through Optuna's interface.

    Each call looks at all trials.

    Parameters
    ----------
    study
        The study.
    cursor
        Where to begin.
    """

    def __init__(self, study: optuna.Study, cursor: Cursor = START) -> None:
        self._study = study
        self._names = Names()
        self.cursor = cursor

    def read(self, own: Sequence[Range] = ()) -> list[Evaluation]:
        """Return the trials that were finished since the last call; see `Reader`."""
        last, before = self.cursor.last, self.cursor.unfinished
        with translated(self._study._storage):
            trials = self._study.get_trials(deepcopy=False)
        new = [t for t in trials if t._trial_id > last or t._trial_id in before]
        unfinished = frozenset(t._trial_id for t in new if not t.state.is_finished())
        self.cursor = Cursor(max([last, *(t._trial_id for t in new)]), unfinished)
        finished = [(t.number, evaluation_of(t)) for t in new if t.state.is_finished()]
        return _with_unique_names(finished, self._names)


def _read_finished(
    connection: Connection, which: sa.ColumnElement[bool], left_out: Collection[int] = ()
) -> list[tuple[int, Evaluation]]:
    """Return finished trials with their numbers, in the order of these.

    A trial that is finished between two of the statements would be read in part. So those that
    were not finished before the first one are left out, and read by the next call.
    """
    details = read_details(connection, which)
    values = _read_values(connection, which)
    trials = sa.select(
        TRIALS.c.trial_id,
        TRIALS.c.number,
        TRIALS.c.state,
        TRIALS.c.datetime_start,
        TRIALS.c.datetime_complete,
    )
    evaluations = []
    for trial_id, number, state, started, completed in connection.execute(
        trials.where(which).order_by(TRIALS.c.number)
    ):
        if trial_id in left_out:
            continue
        params = details.params.get(trial_id, [])
        value, *more_values = values.get(trial_id, (math.nan,))
        evaluation = Evaluation(
            rank=-1,
            seq=number,
            state=state,
            value=value,
            started=_seconds(started or completed),
            finished=_seconds(completed or started),
            layout=decode_layout(
                tuple((name, text) for name, _, text in params), 1 + len(more_values)
            ),
            internal=tuple(internal for _, internal, _ in params),
            extras=details.extras(trial_id),
            more_values=tuple(more_values),
        )
        evaluations.append((number, named(evaluation)))
    return evaluations


def _with_unique_names(
    numbered: Iterable[tuple[int, Evaluation]], names: Names
) -> list[Evaluation]:
    """Return evaluations, each with the number of its trial; add their names to the known ones.

    A trial that was copied into the study, as by ``study.add_trials(other.trials)``, may have the
    name of another one there. Then it gets that of a trial that adbo did not make.
    """
    evaluations = []
    for number, evaluation in numbered:
        if (evaluation.rank, evaluation.seq) in names:
            evaluation = replace(evaluation, rank=-1, seq=number)
        names.add(evaluation.rank, evaluation.seq)
        evaluations.append(evaluation)
    return evaluations


def parts(ids: Collection[int]) -> Iterator[list[int]]:
    """Yield ids in order, as many at a time as one statement takes."""
    ordered = sorted(ids)
    for start in range(0, len(ordered), _IDS):
        yield ordered[start : start + _IDS]


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


def _read_values(connection: Connection, which: sa.ColumnElement[bool]) -> dict[int, list[float]]:
    """Read the values of trials, by trial id, in the order of the objectives."""
    columns = (VALUES.c.objective, VALUES.c.value, VALUES.c.value_type)
    to_value = models.TrialValueModel.stored_repr_to_value
    values: dict[int, list[float]] = {}
    later = []
    for trial_id, objective, value, kind in _rows(connection, which, VALUES, *columns):
        if objective == 0:
            values[trial_id] = [to_value(value, kind)]
        else:
            later.append((objective, trial_id, to_value(value, kind)))
    for _, trial_id, value in sorted(later):
        values[trial_id].append(value)
    return values


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
