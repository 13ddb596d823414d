"""The jobs of a study: each takes a number, and shows the others that it is running.

Each job has a system attribute of the study with its presence. Times are those of the database
server where `RdbJobs` works with one, since the clocks of nodes may differ; `StudyJobs` knows only
the clock of its own node.
"""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any, Protocol

import optuna
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from adbo.core.job import job_of
from adbo.core.optuna_trials import SEQ, is_name
from adbo.mirror.orphans import number_orphans
from adbo.mirror.presence import Presence
from adbo.mirror.schema import (
    IDENTITY,
    STUDY_ATTRS,
    TRIALS,
    USER_ATTRS,
    connected,
    identity_of,
    locked,
)
from adbo.mirror.storage_errors import translated

#: Prefix of the system attributes of a study that belong to jobs.
PREFIX = "adbo:job:"

#: In a study that was deleted and made again, new jobs have numbers so much greater than that of
#: the first job that returned. The other jobs that return should have numbers in between.
_RESERVED = 1000

#: The system attribute by which earlier versions numbered trials: such a study has had a job.
_EARLIER_NUMBERING = "adbo:numbering"

#: Longest random pause, in seconds, of jobs that chose the same number, before they choose again.
_PAUSE = 0.2


class Jobs(Protocol):
    """The jobs of a study.

    All methods raise `adbo.mirror.storage_errors.DatabaseError` if the storage fails.
    """

    def enter(self, above: int = -1) -> int:
        """Begin a job; return its number, greater than `above`, which no job has or had."""

    def identity(self) -> str:
        """Return what tells the study from others of the same name; call it after `enter`."""

    def come_back(self, number: int, identity: str) -> bool:
        """Continue the job of this number; return False if the study is not that of `identity`.

        A study without identity was made anew, and takes it over.
        """

    def running(self, number: int) -> set[int]:
        """Return the numbers of the jobs that are running, other than that of this number."""

    def stay(self, number: int) -> None:
        """Show that the job of this number is running."""

    def leave(self, number: int) -> None:
        """Show that the job of this number has ended."""


class RdbJobs:
    """The jobs of a study in a database whose tables are known.

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

    def enter(self, above: int = -1) -> int:
        """Begin a job under the lock of the study; remove what jobs that ended have left."""
        with translated(self._engine), locked(self._engine, self._study_id) as connection:
            now, present = _clock(connection), self._read(connection)
            taken = [p.number for p in present.values()] + self._named(connection)
            identity = self._read_identity(connection) or self._identify(connection, _random(), 0)
            number = max([identity[1], 1 + above, *(1 + n for n in taken)])
            ended = [key for key, p in present.items() if not p.is_running(now)]
            old = STUDY_ATTRS.c.key.in_(ended)
            connection.execute(STUDY_ATTRS.delete().where(self._mine, old))
            self._insert(connection, Presence.of_this_process(number, now))
        return number

    def identity(self) -> str:
        """Return what tells the study from others of the same name; empty without a job."""
        with translated(self._engine), connected(self._engine) as connection:
            found = self._read_identity(connection)
        return "" if found is None else found[0]

    def come_back(self, number: int, identity: str) -> bool:
        """Continue the job of this number; return False if the study is another one."""
        with translated(self._engine), locked(self._engine, self._study_id) as connection:
            found = self._read_identity(connection)
            if found is None:
                self._identify(connection, identity, number + _RESERVED)
            elif found[0] != identity:
                return False
        self.stay(number)
        return True

    def running(self, number: int) -> set[int]:
        """Return the numbers of the other jobs that are running."""
        with translated(self._engine), connected(self._engine) as connection:
            now, present = _clock(connection), self._read(connection)
        return {p.number for p in present.values() if p.is_running(now)} - {number}

    def stay(self, number: int) -> None:
        """Show that the job of this number is running."""
        self._write(lambda now: Presence.of_this_process(number, now))

    def leave(self, number: int) -> None:
        """Show that the job of this number has ended; the number stays taken."""
        self._write(lambda now: Presence.of_this_process(number, 0.0))

    def _write(self, make: Callable[[float], Presence]) -> None:
        with translated(self._engine), locked(self._engine, self._study_id) as connection:
            presence = make(_clock(connection))
            found = connection.execute(
                STUDY_ATTRS.update()
                .where(self._mine, STUDY_ATTRS.c.key == _key(presence.number))
                .values(value_json=_text(presence))
            )
            if not found.rowcount:  # others had taken the job for dead
                self._insert(connection, presence)

    def _read_identity(self, connection: Connection) -> tuple[str, int] | None:
        text = connection.scalar(sa.select(identity_of(self._study_id)))
        return None if text is None else tuple(json.loads(text)[:2])

    def _identify(self, connection: Connection, identity: str, first: int) -> tuple[str, int]:
        number_orphans(connection, self._study_id)
        self._insert_attr(connection, IDENTITY, json.dumps([identity, first, _random()]))
        return identity, first

    def _insert(self, connection: Connection, presence: Presence) -> None:
        self._insert_attr(connection, _key(presence.number), _text(presence))

    def _insert_attr(self, connection: Connection, key: str, text: str) -> None:
        connection.execute(
            STUDY_ATTRS.insert().values(study_id=self._study_id, key=key, value_json=text)
        )

    @property
    def _mine(self) -> sa.ColumnElement[bool]:
        """The condition for the attributes of this study."""
        return STUDY_ATTRS.c.study_id == self._study_id

    def _read(self, connection: Connection) -> dict[str, Presence]:
        rows = connection.execute(
            sa.select(STUDY_ATTRS.c.key, STUDY_ATTRS.c.value_json).where(
                self._mine, STUDY_ATTRS.c.key.startswith(PREFIX)
            )
        )
        return {key: Presence(**json.loads(text)) for key, text in rows}

    def _named(self, connection: Connection) -> list[int]:
        """Return the number of the last job in the names of trials, if there is one."""
        names = (
            sa.select(USER_ATTRS.c.value_json)
            .join(TRIALS, TRIALS.c.trial_id == USER_ATTRS.c.trial_id)
            .where(TRIALS.c.study_id == self._study_id, USER_ATTRS.c.key == SEQ)
        )
        earlier = sa.select(STUDY_ATTRS.c.key).where(
            self._mine, STUDY_ATTRS.c.key == _EARLIER_NUMBERING
        )
        is_earlier = connection.execute(earlier).first() is not None
        return _last_job((json.loads(text) for text in connection.scalars(names)), is_earlier)


class StudyJobs:
    """The jobs of a study in any storage, through Optuna's interface.

    Such a storage has no lock that other programs can take. A job writes the number that it wants,
    then looks whether another job has written the same one, and if so, chooses again. Of two jobs
    with the same number, the one that wrote last sees the other, so not both can keep it.

    Parameters
    ----------
    study
        The study.
    """

    def __init__(self, study: optuna.Study) -> None:
        self._study = study
        self._storage = study._storage

    def enter(self, above: int = -1) -> int:
        """Begin a job; return its number."""
        key = PREFIX + _random()
        with translated(self._storage):
            while True:
                taken = [p.number for p in self._read().values()] + self._named()
                identity = self._read_identity() or self._identify(_random(), 0)
                number = max([identity[1], 1 + above, *(1 + n for n in taken)])
                self._write(key, Presence.of_this_process(number, time.time()))
                if [p.number for p in self._read().values()].count(number) == 1:
                    return number
                time.sleep(random.uniform(0.0, _PAUSE))

    def identity(self) -> str:
        """Return what tells the study from others of the same name; empty without a job."""
        with translated(self._storage):
            found = self._read_identity()
        return "" if found is None else found[0]

    def come_back(self, number: int, identity: str) -> bool:
        """Continue the job of this number; return False if the study is another one."""
        with translated(self._storage):
            found = self._read_identity() or self._identify(identity, number + _RESERVED)
            if found[0] != identity:
                return False
            keys = [key for key, p in self._read().items() if p.number == number]
            key = keys[0] if keys else PREFIX + _random()
            self._write(key, Presence.of_this_process(number, time.time()))
        return True

    def running(self, number: int) -> set[int]:
        """Return the numbers of the other jobs that are running."""
        with translated(self._storage):
            now, present = time.time(), self._read().values()
        return {p.number for p in present if p.is_running(now)} - {number}

    def stay(self, number: int) -> None:
        """Show that the job of this number is running."""
        self._update(number, time.time())

    def leave(self, number: int) -> None:
        """Show that the job of this number has ended; the number stays taken."""
        self._update(number, 0.0)

    def _update(self, number: int, seen: float) -> None:
        with translated(self._storage):
            for key, presence in self._read().items():
                if presence.number == number:
                    self._write(key, Presence.of_this_process(number, seen))

    def _write(self, key: str, presence: Presence) -> None:
        self._storage.set_study_system_attr(self._study._study_id, key, asdict(presence))

    def _read(self) -> dict[str, Presence]:
        attributes = self._storage.get_study_system_attrs(self._study._study_id)
        return {k: Presence(**v) for k, v in attributes.items() if k.startswith(PREFIX)}

    def _read_identity(self) -> tuple[str, int] | None:
        found = self._storage.get_study_system_attrs(self._study._study_id).get(IDENTITY)
        return None if found is None else tuple(found[:2])

    def _identify(self, identity: str, first: int) -> tuple[str, int]:
        value: list[str | int] = [identity, first, _random()]
        self._storage.set_study_system_attr(self._study._study_id, IDENTITY, value)
        return identity, first

    def _named(self) -> list[int]:
        """Return the number of the last job in the names of trials, if there is one."""
        attributes = self._storage.get_study_system_attrs(self._study._study_id)
        trials = self._study.get_trials(deepcopy=False)
        seqs = (trial.user_attrs[SEQ] for trial in trials if SEQ in trial.user_attrs)
        return _last_job(seqs, _EARLIER_NUMBERING in attributes)


def _last_job(seqs: Iterable[Any], is_earlier: bool) -> list[int]:
    """Return the last job of some sequence numbers; job 0 is also that of earlier versions."""
    jobs = [job_of(seq) for seq in seqs if is_name(0, seq)]
    return [max(jobs, default=0)] if jobs or is_earlier else []


def _random() -> str:
    return uuid.uuid4().hex


def _key(number: int) -> str:
    return f"{PREFIX}{number}"


def _text(presence: Presence) -> str:
    return json.dumps(asdict(presence))


#: How servers tell the seconds since the epoch, by dialect; SQLite has no clock of its own.
_CLOCKS = {
    "postgresql": "SELECT extract(epoch FROM clock_timestamp())",
    "mysql": "SELECT unix_timestamp()",
    "mariadb": "SELECT unix_timestamp()",
}


def _clock(connection: Connection) -> float:
    """Return the time of the database in seconds since the epoch."""
    statement = _CLOCKS.get(connection.dialect.name)
    if statement is None:
        return time.time()
    return float(connection.exec_driver_sql(statement).scalar_one())
