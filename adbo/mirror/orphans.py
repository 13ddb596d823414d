"""Trials that Optuna left in an SQLite file when it deleted their study.

Optuna reads a study before it deletes it, and does not delete what others add in between. SQLite
uses ids again, so these trials would belong to the next study. Other databases check that the
study of a trial exists.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from adbo.mirror.schema import (
    PARAMS,
    STEPS,
    STUDIES,
    STUDY_ATTRS,
    SYSTEM_ATTRS,
    TRIALS,
    USER_ATTRS,
    VALUES,
    connected,
)


def remove_orphans(engine: Engine, study_id: int) -> None:
    """Remove the trials of a study that is not in an SQLite file any more."""
    with connected(engine) as connection, connection.begin():
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        study = sa.select(STUDIES.c.study_id).where(STUDIES.c.study_id == study_id)
        if connection.execute(study).first() is not None:
            return
        orphans = sa.select(TRIALS.c.trial_id).where(TRIALS.c.study_id == study_id)
        for table in (VALUES, PARAMS, USER_ATTRS, SYSTEM_ATTRS, STEPS):
            connection.execute(table.delete().where(table.c.trial_id.in_(orphans)))
        for table in (STUDY_ATTRS, TRIALS):
            connection.execute(table.delete().where(table.c.study_id == study_id))


def number_orphans(connection: Connection, study_id: int) -> None:
    """Give dense numbers to the trials of a new study that has trials of a deleted one.

    See `remove_orphans`, which comes too late if the study is made again at once.
    """
    mine = TRIALS.c.study_id == study_id
    if connection.dialect.name != "sqlite":
        return
    count, last = connection.execute(
        sa.select(sa.func.count(), sa.func.max(TRIALS.c.number)).where(mine)
    ).one()
    if last is None or last == count - 1:
        return
    ids = connection.scalars(sa.select(TRIALS.c.trial_id).where(mine).order_by(TRIALS.c.trial_id))
    rows = [{"id": trial_id, "dense": number} for number, trial_id in enumerate(ids)]
    one = TRIALS.c.trial_id == sa.bindparam("id")
    connection.execute(TRIALS.update().where(one).values(number=sa.bindparam("dense")), rows)
