"""Optuna's tables, the lock of a study, and the names of trials.

This module knows the tables of one revision of the schema and no other. They are read by
`adbo.mirror.reader` and written by `adbo.mirror.bulk_writer`.

Notation: a trial's *name* is ``(rank, seq)``, stored as two user attributes; its *id* is the
database's; its *number* is Optuna's, dense within a study.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy.engine import Connection, Engine

from adbo.core.evaluation import Evaluation
from adbo.core.optuna_trials import has_value
from adbo.mirror.connection import sqlite_file
from adbo.mirror.mirror import StudyGoneError
from adbo.mirror.storage_errors import RefusedError

#: The revision of Optuna's schema that adbo reads and writes with its own statements.
REVISION = "v3.2.0.a"

STUDIES = models.StudyModel.__table__
STUDY_ATTRS = models.StudySystemAttributeModel.__table__
TRIALS = models.TrialModel.__table__
VALUES = models.TrialValueModel.__table__
PARAMS = models.TrialParamModel.__table__
USER_ATTRS = models.TrialUserAttributeModel.__table__
SYSTEM_ATTRS = models.TrialSystemAttributeModel.__table__
STEPS = models.TrialIntermediateValueModel.__table__


#: The system attribute that tells a study from a later one of the same name. The first job makes
#: its value: a random text, the least number of the jobs to come, and another random text, which
#: differs after the study was deleted and made again.
IDENTITY = "adbo:identity"


def identity_of(study_id: int) -> sa.ScalarSelect[str]:
    """Return a column with the identity of a study as it is stored; NULL if it has none.

    SQLite uses the ids of deleted studies and trials again, so an id alone does not tell.
    """
    mine = (STUDY_ATTRS.c.study_id == study_id) & (STUDY_ATTRS.c.key == IDENTITY)
    return sa.select(STUDY_ATTRS.c.value_json).where(mine).scalar_subquery()


def check(evaluation: Evaluation) -> None:
    """Check that an evaluation can be a trial of Optuna.

    Raises
    ------
    RefusedError
        If it is COMPLETE without a value for each objective.
    """
    if evaluation.state == TrialState.COMPLETE and not has_value(evaluation):
        raise RefusedError(f"evaluation {evaluation.rank}:{evaluation.seq} has no value")


@contextmanager
def connected(engine: Engine) -> Iterator[Connection]:
    """Connect to the database.

    Raises
    ------
    StudyGoneError
        If it was an SQLite file and somebody removed it; connecting would create an empty one.
    """
    path = sqlite_file(engine.url)
    if path is not None and not path.exists():
        raise StudyGoneError(f"there is no file {path}")
    with engine.connect() as connection:
        yield connection


@contextmanager
def locked(engine: Engine, study_id: int) -> Iterator[Connection]:
    """Begin a transaction that holds the study's lock; commit it at the end.

    Raises
    ------
    StudyGoneError
        If the study was deleted.
    """
    with connected(engine) as connection:
        if connection.dialect.name == "postgresql":
            # Statements after the lock must see what others committed while this one waited for
            # it, whatever isolation level the database is configured for.
            connection = connection.execution_options(isolation_level="READ COMMITTED")
        with connection.begin():
            if connection.dialect.name == "sqlite":
                # SQLite has no row locks, and its driver would begin the transaction too late.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            study = sa.select(STUDIES.c.study_id).where(STUDIES.c.study_id == study_id)
            if connection.execute(study.with_for_update()).first() is None:
                raise StudyGoneError("the study is no longer in the database")
            yield connection
