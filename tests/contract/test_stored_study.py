"""A job's study through trouble: what others finish meanwhile, and studies that are made again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from optuna.distributions import FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

from adbo.core.evaluation import Evaluation, Layout, to_batch
from adbo.core.history import History
from adbo.core.job import Job
from adbo.core.leftover import Leftover
from adbo.core.settings import Settings
from adbo.mirror import jobs
from adbo.mirror import reader as readers
from adbo.mirror.bulk_writer import BulkWriter
from adbo.mirror.mirror import Mirror, StudyGoneError
from adbo.mirror.settings import Pace
from adbo.mirror.storage_errors import DatabaseError
from adbo.mirror.stored_study import StoredStudy
from adbo.mirror.study import access_to, enter, open_study


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/study.db"


def _joined(url: str) -> StoredStudy:
    """Begin a job on the study, as a run does."""
    study = open_study(url, "s", "minimize", resume=True)
    number, identity, _ = enter(study)
    reader = access_to(study, number).reader
    reader.read()
    settings = Settings(storage=url, study_name="s", resume=True)
    return StoredStudy(settings, Job(number, study=identity), reader.cursor, study, print)


def _square(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", 0, 1) ** 2


def test_what_cannot_be_stored_at_the_end_is_told(url: str, capsys: Any) -> None:
    stored = _joined(url)
    stored.add([Leftover({}, [], 0)])
    assert not capsys.readouterr().out
    stored.add([Leftover({"user": {"a": 1}}, [({"x": 1}, {}), ({"x": 2}, {"b": 3})], 4)])
    assert capsys.readouterr().out == "4 enqueued trials are not stored: there are too many\n"
    study = optuna.load_study(study_name="s", storage=url)
    assert study.user_attrs == {"a": 1}
    assert [t.system_attrs for t in study.trials] == [{"fixed_params": {"x": i}} for i in (1, 2)]
    assert [t.user_attrs for t in study.trials] == [{}, {"b": 3}]
    optuna.delete_study(study_name="s", storage=url)
    stored.add([Leftover({}, [({"x": 1}, {})], 0)])
    assert "enqueued trials, are not stored (" in capsys.readouterr().out


def test_a_trial_that_is_finished_while_it_is_read_is_read_whole_later(url: str) -> None:
    """Otherwise its parameters, read before its end, would be those of an empty trial."""
    study = open_study(url, "s", "minimize", resume=False)
    other = optuna.load_study(study_name="s", storage=url)
    trial = other.ask()
    trial.suggest_float("x", 0, 1)
    reader = access_to(study, job=0).reader
    finished = []

    def finish(_: object, __: object, statement: str, *___: object) -> None:
        if not finished and statement.startswith("SELECT trials.trial_id, trials.number"):
            finished.append(True)
            other.tell(trial, -5.0)

    sa.event.listen(study._storage._backend.engine, "before_cursor_execute", finish)
    history = History()
    for _ in range(3):
        history.extend(map(to_batch, reader.read()))
    assert finished
    assert [e.value for e in history.evaluations()] == [-5.0]
    assert history.evaluation(0).params == trial.params


def test_trials_of_one_name_are_all_read_also_after_an_error(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = open_study(url, "s", "minimize", resume=False)
    for value in (1.0, 2.0):
        study.add_trial(create_trial(value=value, user_attrs={"adbo:rank": 3, "adbo:seq": 0}))
    reader = access_to(study, job=0).reader
    read = readers._read_finished

    def fail(*arguments) -> None:
        read(*arguments)
        raise DatabaseError("the database is locked")

    monkeypatch.setattr(readers, "_read_finished", fail)
    with pytest.raises(DatabaseError):
        reader.read()
    monkeypatch.undo()
    assert [(e.rank, e.seq, e.value) for e in reader.read()] == [(3, 0, 1.0), (-1, 1, 2.0)]


def test_a_study_that_is_made_again_by_another_job_is_not_read(url: str) -> None:
    """SQLite gives it the id of the old one; this job has nothing to write meanwhile."""
    stored = _joined(url)
    optuna.load_study(study_name="s", storage=url).optimize(_square, 2)
    assert len(stored.read()) == 2
    optuna.delete_study(study_name="s", storage=url)
    again = _joined(url)
    again.study.optimize(_square, 5)
    for _ in range(3):
        with pytest.raises(StudyGoneError):
            stored.read()


def test_a_deadlock_with_the_deletion_is_reported_as_the_deletion(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server ends the transaction of the job in favour of the one that deletes the study."""
    stored = _joined(url)

    def fail(*_: object) -> None:
        optuna.delete_study(study_name="s", storage=url)
        raise DatabaseError("Deadlock found when trying to get lock")

    monkeypatch.setattr(BulkWriter, "write", fail)
    with pytest.raises(StudyGoneError, match="no longer in the database"):
        stored.write([])


def test_it_is_not_taken_for_the_old_one_after_an_error(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = _joined(url)
    optuna.delete_study(study_name="s", storage=url)
    with pytest.raises(StudyGoneError):
        stored.read()
    _joined(url)

    def fail(*_: object) -> bool:
        monkeypatch.undo()
        raise DatabaseError("the database is locked")

    monkeypatch.setattr(jobs.RdbJobs, "come_back", fail)
    with pytest.raises(DatabaseError, match="locked"):
        stored.read()
    with pytest.raises(StudyGoneError, match="another one"):
        stored.read()


def test_evaluations_of_other_jobs_are_not_written(tmp_path: Path) -> None:
    """In a journal, whose writer knows no lock, they would be stored once more."""
    backend = JournalFileBackend(str(tmp_path / "journal"))
    study = open_study(JournalStorage(backend), "s", "minimize", resume=False)
    own, other = Job(0), Job(1)
    layout = Layout({"x": FloatDistribution(0, 1)})
    known = [
        Evaluation(0, job.first_seq, TrialState.COMPLETE, 1.0, 0.0, 1.0, layout, (0.5,))
        for job in (own, other)
    ]
    mirror = Mirror(
        access_to(study, own.number).writer,
        lambda cursor: known[cursor:],
        report=print,
        pace=Pace(interval=0.01),
        is_own=lambda e: bool(own.made(e.rank, e.seq)),
    )
    mirror.start()
    assert mirror.flush_and_close(lambda: 10) == []
    assert [trial.user_attrs["adbo:seq"] for trial in study.get_trials()] == [0]
