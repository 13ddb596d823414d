"""Optuna studies: opening them, reading them, and how evaluations get into them.

What is wrong with a storage becomes one line for the user. This module knows Optuna's storages;
their tables are the affair of `adbo.rdb`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import importlib.util
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from adbo import rdb
from adbo.enqueued import Queue, RdbQueue, StudyQueue
from adbo.mirror import Writer
from adbo.objective import Enqueued
from adbo.rdb_writer import BulkWriter
from adbo.records import FINISHED_STATES, Evaluation, Extras, Layout
from adbo.secrecy import redact, shown

#: Seconds for which SQLite waits while another process reads or writes the file.
_BUSY_SECONDS = 60

#: How often a database is tried before it is given up, and seconds in between: somebody else,
#: such as a dashboard, may be creating the same tables at the same time.
_ATTEMPTS, _PAUSE = 4, 0.3

#: Evaluations that are written at once.
_PAGE = 1000


class StudyError(ValueError):
    """The study cannot be had; the message is one line for the user."""


def open_study(
    storage: str | BaseStorage, name: str, direction: str, resume: bool
) -> optuna.Study:
    """Create a study, or take up an existing one.

    Parameters
    ----------
    storage
        A URL that Optuna knows, or a storage.
    name
        Of the study.
    direction
        ``"minimize"`` or ``"maximize"``.
    resume
        Whether it may exist already.

    Raises
    ------
    StudyError
        If the storage cannot be used, the study exists and shall not be resumed, or it has other
        directions.
    """
    with _explained(storage), quietly():
        opened = _storage(storage)
        try:
            return optuna.create_study(
                storage=opened, study_name=name, direction=StudyDirection[direction.upper()]
            )
        except optuna.exceptions.DuplicatedStudyError:
            if not resume:
                raise StudyError(
                    f"there is a study {name!r} in {storage_name(storage)} already: continue it"
                    " with --resume, or choose another --study-name"
                ) from None
        study = optuna.load_study(storage=opened, study_name=name)
    directions = [d.name.lower() for d in study.directions]
    if directions != [direction]:
        raise StudyError(
            f"the study {name!r} has direction {', '.join(directions)}, not {direction}"
        )
    return study


def load_study(storage: str | BaseStorage, name: str | None) -> optuna.Study:
    """An existing study; without a name the one that was created last.

    Raises
    ------
    StudyError
        If there is no such study or the storage cannot be used.
    """
    with _explained(storage), quietly():
        _check_exists(storage)
        opened = _storage(storage)
        names = [study.study_name for study in opened.get_all_studies()]
        if not names:
            raise StudyError(f"there is no study in {storage_name(storage)}")
        if name is not None and name not in names:
            raise StudyError(
                f"there is no study {name!r} in {storage_name(storage)}:"
                f" the latest is {names[-1]!r}"
            )
        return optuna.load_study(storage=opened, study_name=names[-1] if name is None else name)


def read_evaluations(study: optuna.Study) -> list[Evaluation]:
    """All finished trials of a study as evaluations, in the order of their numbers.

    Trials that adbo did not make get rank -1 and their number as ``seq``.

    Raises
    ------
    StudyError
        If the database fails.
    """
    try:
        database = _database(study)
        if database is not None:
            return rdb.read(database.engine, study._study_id)
    except rdb.DatabaseError as error:
        raise StudyError(f"cannot read the study: {error}") from None
    with _explained(study._storage):
        trials = study.get_trials(deepcopy=False, states=FINISHED_STATES)
    return [evaluation_of(trial) for trial in trials]


def writer_for(study: optuna.Study) -> Writer:
    """The fastest way to store evaluations in a study.

    Raises
    ------
    adbo.rdb.DatabaseError
        If the database fails.
    """
    database = _database(study)
    if database is not None:
        return BulkWriter(database.engine, study._study_id)
    return TrialWriter(study)


def queue_of(study: optuna.Study) -> Queue:
    """The trials that somebody enqueued.

    Raises
    ------
    adbo.rdb.DatabaseError
        If the database fails.
    """
    database = _database(study)
    return StudyQueue(study) if database is None else RdbQueue(database.engine, study._study_id)


def read_enqueued(study: optuna.Study) -> list[Enqueued]:
    """Take all trials that wait, and those that an earlier run took and did not finish.

    Raises
    ------
    StudyError
        If the database fails.
    """
    try:
        queue = queue_of(study)
        with _explained(study._storage):
            return [*queue.take_lost(), *queue.take()]
    except rdb.DatabaseError as error:
        raise StudyError(f"cannot read the study: {error}") from None


#: The study's system attribute that tells how its last run numbered its trials.
_NUMBERING = "adbo:numbering"


def read_numbering(study: optuna.Study) -> tuple[int, int, int] | None:
    """What the last run wrote by `write_numbering`, if it is known.

    Raises
    ------
    StudyError
        If the database fails.
    """
    with _explained(study._storage):
        found = study._storage.get_study_system_attrs(study._study_id).get(_NUMBERING)
    return None if found is None else (found[0], found[1], found[2])


def write_numbering(study: optuna.Study, numbering: Sequence[int]) -> None:
    """Remember the numbers by which this run names and numbers its trials.

    Raises
    ------
    StudyError
        If the database fails.
    """
    with _explained(study._storage):
        study._storage.set_study_system_attr(study._study_id, _NUMBERING, list(numbering))


def unknown_schema(study: optuna.Study) -> str | None:
    """The version of a database's tables if adbo does not know them, and so cannot be fast.

    Raises
    ------
    adbo.rdb.DatabaseError
        If the database fails.
    """
    storage = _backend(study)
    if isinstance(storage, RDBStorage) and _database(study) is None:
        return str(storage.get_current_version())
    return None


def store(study: optuna.Study, evaluations: Sequence[Evaluation], epoch: float) -> None:
    """Write evaluations whose times count from the given one, in seconds since the epoch.

    Raises
    ------
    StudyError
        If the database does not take them.
    """
    try:
        with _explained(study._storage):
            writer = writer_for(study)
            for page in range(0, len(evaluations), _PAGE):
                writer.write(
                    [
                        dataclasses.replace(
                            e, started=epoch + e.started, finished=epoch + e.finished
                        )
                        for e in evaluations[page : page + _PAGE]
                    ]
                )
    except (rdb.DatabaseError, rdb.RefusedError) as error:
        raise StudyError(f"cannot write the study: {error}") from None


class TrialWriter:
    """Stores evaluations through Optuna's public interface, one by one, for any storage.

    Parameters
    ----------
    study
        Where they go. No other process may write trials of adbo to it.
    """

    def __init__(self, study: optuna.Study) -> None:
        self._study = study
        self._stored: rdb.Names | None = None

    def write(self, evaluations: Sequence[Evaluation]) -> None:
        """Store those of the evaluations that are not stored yet.

        Raises
        ------
        adbo.rdb.RefusedError
            If the storage will never take one of them.
        adbo.rdb.DatabaseError
            If the storage fails in any other way.
        """
        for evaluation in evaluations:
            rdb.check(evaluation)
        try:
            stored = self._names()
            for evaluation in evaluations:
                name = (evaluation.rank, evaluation.seq)
                if evaluation.rank >= 0 and name not in stored:
                    self._store(evaluation)
                    stored.add(*name)
        except Exception as error:
            # Whether the last one was stored is unknown: look it up next time.
            self._stored = None
            if isinstance(error, ValueError):
                raise
            text = redact(_cause(error), storage_url(self._study._storage))
            raise rdb.DatabaseError(text) from None

    def _store(self, evaluation: Evaluation) -> None:
        trial = trial_of(evaluation)
        trial_id = evaluation.extras.system_attrs.get(rdb.ENQUEUED)
        if trial_id is None:
            self._study.add_trial(trial)
            return
        storage = self._study._storage
        enqueued = storage.get_trial(trial_id)
        if enqueued.state != TrialState.RUNNING:
            self._study.add_trial(trial)
            return
        # An attempt that failed may have stored some of it.
        for name, value in zip(evaluation.layout.names, evaluation.internal, strict=True):
            if name not in enqueued.params:
                distribution = evaluation.layout.distributions[name]
                storage.set_trial_param(trial_id, name, value, distribution)
        for key, attribute in trial.user_attrs.items():
            storage.set_trial_user_attr(trial_id, key, attribute)
        for key, attribute in {**trial.system_attrs, rdb.ENQUEUED: None}.items():
            storage.set_trial_system_attr(trial_id, key, attribute)
        for step, value in trial.intermediate_values.items():
            storage.set_trial_intermediate_value(trial_id, step, value)
        storage.set_trial_state_values(trial_id, trial.state, trial.values)

    def _names(self) -> rdb.Names:
        if self._stored is None:
            self._stored = rdb.Names()
            for trial in self._study.get_trials(deepcopy=False, states=FINISHED_STATES):
                own = evaluation_of(trial)
                if own.rank >= 0:
                    self._stored.add(own.rank, own.seq)
        return self._stored


def evaluation_of(trial: FrozenTrial) -> Evaluation:
    """A finished Optuna trial as an evaluation."""
    distributions = {name: trial.distributions[name] for name in trial.params}
    times = [t.timestamp() for t in (trial.datetime_start, trial.datetime_complete) if t]
    return rdb.named(
        Evaluation(
            rank=-1,
            seq=trial.number,
            state=trial.state,
            value=math.nan if trial.values is None else float(trial.values[0]),
            started=min(times, default=0.0),
            finished=max(times, default=0.0),
            layout=Layout(distributions),
            internal=tuple(
                d.to_internal_repr(trial.params[name]) for name, d in distributions.items()
            ),
            extras=Extras(trial.user_attrs, trial.system_attrs, trial.intermediate_values),
        )
    )


def trial_of(evaluation: Evaluation) -> FrozenTrial:
    """An evaluation as a finished Optuna trial; its number is for a storage to give."""
    named = evaluation.rank >= 0
    return FrozenTrial(
        number=-1,
        trial_id=-1,
        state=evaluation.state,
        value=evaluation.value if rdb.has_value(evaluation) else None,
        datetime_start=datetime.datetime.fromtimestamp(evaluation.started),
        datetime_complete=datetime.datetime.fromtimestamp(evaluation.finished),
        params=evaluation.params,
        distributions=dict(evaluation.layout.distributions),
        user_attrs=rdb.user_attrs(evaluation) if named else dict(evaluation.extras.user_attrs),
        system_attrs=rdb.system_attrs(evaluation),
        intermediate_values=dict(evaluation.extras.intermediate_values),
    )


def storage_name(storage: str | BaseStorage) -> str:
    """A storage as one may print it: its URL without password, or its class."""
    url = storage_url(storage)
    if url:
        return shown(url)
    return type(storage).__name__


def storage_url(storage: str | BaseStorage) -> str:
    """The URL of a storage, with its password; empty if it has none."""
    if isinstance(storage, _CachedStorage):
        storage = storage._backend
    if isinstance(storage, RDBStorage):
        return str(storage.url)
    return storage if isinstance(storage, str) else ""


def _storage(storage: str | BaseStorage) -> BaseStorage:
    if not isinstance(storage, str):
        return optuna.storages.get_storage(storage)
    if storage.startswith(("redis://", "journal:")):
        raise StudyError(
            f"{storage_name(storage)} is no URL of a database: use sqlite:///FILE,"
            " postgresql://... or mysql://..."
        )
    url = _with_driver(sa.make_url(storage))
    text = url.render_as_string(hide_password=False)
    arguments: dict[str, Any] = {}
    if url.get_backend_name() == "sqlite":
        arguments = {"connect_args": {"timeout": _BUSY_SECONDS}}
    return optuna.storages.get_storage(_connected(text, arguments))


def _connected(url: str, arguments: dict[str, Any]) -> RDBStorage:
    """The storage; Optuna stumbles where another process is creating the tables."""
    for _ in range(_ATTEMPTS - 1):
        with contextlib.suppress(sa.exc.SQLAlchemyError, RuntimeError, AssertionError):
            return RDBStorage(url, engine_kwargs=dict(arguments))
        time.sleep(_PAUSE)
    return RDBStorage(url, engine_kwargs=dict(arguments))


def _check_exists(storage: str | BaseStorage) -> None:
    """Refuse an SQLite file that is not there: opening it would make an empty one."""
    if isinstance(storage, str):
        url = sa.make_url(storage)
        if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
            raise StudyError(f"there is no file {url.database}")


#: Drivers by kind of database, those that SQLAlchemy would not choose by itself among them.
_DRIVERS = {
    "postgresql": ("psycopg2", "psycopg"),
    "mysql": ("MySQLdb", "pymysql"),
    "mariadb": ("MySQLdb", "pymysql"),
}


def _with_driver(url: sa.URL) -> sa.URL:
    """A URL that names no driver, with the first that is installed."""
    for module in _DRIVERS.get(url.drivername, ()):
        if importlib.util.find_spec(module) is not None:
            return url.set(drivername=f"{url.drivername}+{module.lower()}")
    return url


def _database(study: optuna.Study) -> RDBStorage | None:
    """The database behind a study, if it is one whose tables are known."""
    storage = _backend(study)
    if isinstance(storage, RDBStorage):
        with rdb.translated(storage.engine):
            return storage if rdb.is_supported(storage) else None
    return None


def _backend(study: optuna.Study) -> BaseStorage:
    """The storage behind Optuna's cache."""
    storage = study._storage
    return storage._backend if isinstance(storage, _CachedStorage) else storage


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Optuna's remarks on creating studies are not the user's concern."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)


#: What the extras are called that bring the driver of a kind of database.
_EXTRAS = {"postgresql": "postgresql", "mysql": "mysql", "mariadb": "mysql"}


@contextlib.contextmanager
def _explained(storage: str | BaseStorage) -> Iterator[None]:
    """Turn what goes wrong with a storage into one line, without a password in it."""
    name = storage_name(storage)
    try:
        yield
    except ImportError:
        kind = name.partition(":")[0].partition("+")[0]
        extra = _EXTRAS.get(kind)
        remedy = f'pip install "adbo[{extra}]"' if extra else "install it"
        raise StudyError(f"the driver for {name} is missing: {remedy}") from None
    except sa.exc.NoSuchModuleError:
        raise StudyError(
            f"{name}: no such kind of database; use sqlite:///FILE, postgresql://... or mysql://..."
        ) from None
    except sa.exc.ArgumentError:
        raise StudyError(
            f"{name} is no URL of a database: use sqlite:///FILE, postgresql://... or mysql://..."
        ) from None
    except (StudyError, rdb.DatabaseError):
        raise
    except Exception as error:
        # The database, Optuna on another version's schema, a driver on a URL that it cannot read,
        # or a storage object in its own way: a file, a proxy, whatever is behind it.
        raise StudyError(
            f"cannot use {name}: {redact(_cause(error), storage_url(storage))}"
        ) from None


def _cause(error: BaseException) -> str:
    """What the database's driver or the proxy said: the innermost error."""
    while error.__cause__ is not None:
        error = error.__cause__
    original = getattr(error, "orig", None) or error
    details = getattr(original, "details", None)  # gRPC's own text has many lines
    return str(details() if callable(details) else original).strip() or type(original).__name__
