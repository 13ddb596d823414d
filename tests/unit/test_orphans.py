"""Trials that were written to a study in an SQLite file while Optuna deleted it."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.storages import RDBStorage

from adbo.mirror.orphans import remove_orphans
from adbo.mirror.study import enter


@pytest.fixture
def storage(tmp_path: Path) -> RDBStorage:
    """A storage with two trials of a study of id 1 that is not there."""
    storage = RDBStorage(f"sqlite:///{tmp_path}/s.db")
    study = optuna.create_study(storage=storage, study_name="s")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=5)
    with storage.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM trials WHERE trial_id < 4")
        for table in ("study_directions", "studies"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    return storage


def test_they_are_removed(storage: RDBStorage) -> None:
    remove_orphans(storage.engine, 1)
    with storage.engine.connect() as connection:
        for table in ("trials", "trial_values", "trial_params"):
            query = f"SELECT count(*) FROM {table} WHERE trial_id > 3"
            assert connection.exec_driver_sql(query).scalar() == 0


def test_those_of_a_study_that_is_there_are_not(storage: RDBStorage) -> None:
    optuna.create_study(storage=storage, study_name="s")
    remove_orphans(storage.engine, 1)
    assert len(optuna.load_study(storage=storage, study_name="s").trials) == 2


def test_a_study_that_gets_them_has_dense_numbers(storage: RDBStorage) -> None:
    study = optuna.create_study(storage=storage, study_name="s")
    enter(study)
    storage = RDBStorage(str(storage.url))
    trials = optuna.load_study(storage=storage, study_name="s").get_trials()
    assert [trial.number for trial in trials] == [0, 1]
