"""The jobs of a study: each takes a number, and shows the others that it is running.

Each job has a system attribute of the study. It holds the number of the job, the time at which the
job was last there, and its process. Times are those of the database server where there is one,
since the clocks of nodes may differ.
"""

from __future__ import annotations

import json
import os
import random
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import optuna
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from adbo.core.optuna_trials import RANK
from adbo.mirror.schema import STUDY_ATTRS, TRIALS, USER_ATTRS, connected, locked
from adbo.mirror.storage_errors import translated

#: Prefix of the system attributes of a study that belong to jobs.
PREFIX = "adbo:job:"

#: The system attribute by which earlier versions numbered trials: such a study has had a job.
_EARLIER_NUMBERING = "adbo:numbering"

#: Seconds between two signs of life, and seconds without one after which a job counts as ended.
BEAT_SECONDS, SILENCE_SECONDS = 5.0, 60.0

#: Longest random pause, in seconds, of jobs that chose the same number, before they choose again.
_PAUSE = 0.2


@dataclass(frozen=True)
class Presence:
    """What a job shows of itself.

    Parameters
    ----------
    number
        The number of the job.
    seen
        When it was last there, in seconds; 0 after its end.
    host, pid
        The machine and the process that keeps its mirror.
    """

    number: int
    seen: float
    host: str
    pid: int

    @classmethod
    def of_this_process(cls, number: int, now: float) -> Presence:
        """Return that of a job whose mirror this process keeps."""
        return cls(number, now, _host(), os.getpid())

    def is_running(self, now: float) -> bool:
        """Return whether the job seems to run; a process that died here is noticed at once."""
        if now - self.seen > SILENCE_SECONDS:
            return False
        return self.host != _host() or _exists(self.pid)


class Jobs(Protocol):
    """The jobs of a study.

    All methods raise `adbo.mirror.storage_errors.DatabaseError` if the storage fails.
    """

    def enter(self, first: int = 0) -> int:
        """Begin a job; return its number, from `first` on, which no other job has or had."""

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

    def enter(self, first: int = 0) -> int:
        """Begin a job under the lock of the study; remove what jobs that ended have left."""
        with translated(self._engine), locked(self._engine, self._study_id) as connection:
            now, present = _clock(connection), self._read(connection)
            taken = [p.number for p in present.values()]
            number = 1 + max(taken) if taken else self._first_number(connection)
            number = max(number, first)
            ended = [key for key, p in present.items() if not p.is_running(now)]
            old = STUDY_ATTRS.c.key.in_(ended)
            connection.execute(STUDY_ATTRS.delete().where(self._mine, old))
            self._insert(connection, Presence.of_this_process(number, now))
        return number

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

    def _insert(self, connection: Connection, presence: Presence) -> None:
        connection.execute(
            STUDY_ATTRS.insert().values(
                study_id=self._study_id, key=_key(presence.number), value_json=_text(presence)
            )
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

    def _first_number(self, connection: Connection) -> int:
        """Return 0 if no earlier version of adbo made trials; they have the names of job 0."""
        earlier = sa.select(STUDY_ATTRS.c.key).where(
            self._mine, STUDY_ATTRS.c.key == _EARLIER_NUMBERING
        )
        named = (
            sa.select(TRIALS.c.trial_id)
            .join(USER_ATTRS, USER_ATTRS.c.trial_id == TRIALS.c.trial_id)
            .where(TRIALS.c.study_id == self._study_id, USER_ATTRS.c.key == RANK)
            .limit(1)
        )
        return int(any(connection.execute(q).first() is not None for q in (earlier, named)))


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

    def enter(self, first: int = 0) -> int:
        """Begin a job; return its number."""
        key = PREFIX + uuid.uuid4().hex
        with translated(self._storage):
            while True:
                taken = [p.number for p in self._read().values()]
                number = max(first, 1 + max(taken) if taken else self._first_number())
                self._write(key, Presence.of_this_process(number, time.time()))
                if [p.number for p in self._read().values()].count(number) == 1:
                    return number
                time.sleep(random.uniform(0.0, _PAUSE))

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

    def _first_number(self) -> int:
        """Return 0 if no earlier version of adbo made trials; they have the names of job 0."""
        attributes = self._storage.get_study_system_attrs(self._study._study_id)
        trials = self._study.get_trials(deepcopy=False)
        is_named = any(RANK in trial.user_attrs for trial in trials)
        return int(_EARLIER_NUMBERING in attributes or is_named)


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


def _host() -> str:
    """Return a name for the set of processes that can see each other."""
    try:
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def _exists(pid: int) -> bool:
    """Return whether a process of this machine exists, and has not just ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return not Path("/proc/self/stat").exists()  # if this system tells nothing, believe it
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] != "Z"
