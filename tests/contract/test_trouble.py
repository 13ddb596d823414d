"""Jobs on one study while others are killed, the database fails, or the study goes away."""

from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from runs import Run, Runs
from servers import Server


@pytest.fixture
def runs(tmp_path: Path, url: str) -> Iterator[Runs]:
    """Jobs on a study in an empty database of each kind."""
    started = Runs(tmp_path, url)
    yield started
    started.kill()


@pytest.fixture
def runs_on_file(tmp_path: Path) -> Iterator[Runs]:
    """Jobs on a study in an SQLite file."""
    started = Runs(tmp_path, f"sqlite:///{tmp_path}/study.db")
    yield started
    started.kill()


def _two_jobs(runs: Runs) -> list[Run]:
    """Start two jobs, and wait until each has stored trials and the second one knows the first."""
    jobs = []
    with runs.holding():
        for job in range(2):
            jobs.append(runs.start("--trials", "100000"))
            runs.wait_for_trials(30, job)
    runs.wait_for_trials(70)
    return jobs


def _stop(jobs: list[Run]) -> None:
    for job in jobs:
        job.process.terminate()
    for job in jobs:
        job.end(130)


def _delete(runs: Runs) -> None:
    """Delete the study; Optuna does nothing, in silence, if a job writes to a server meanwhile."""
    with contextlib.suppress(KeyError):
        while True:
            optuna.delete_study(study_name="s", storage=runs.url)


def _rescued(runs: Runs) -> list[set[str]]:
    """Return the ids of the evaluations in each rescue file."""
    return [
        {json.loads(line)["user_attrs"]["id"] for line in path.read_text().splitlines()[1:]}
        for path in sorted(runs.place.glob("*.rescued*.jsonl"))
    ]


def _check_rescued(runs: Runs) -> None:
    """Check that the files of two jobs have all, and that two jobs restore it, each once."""
    made = runs.made()
    files = _rescued(runs)
    assert len(files) == 2
    assert files[0] | files[1] == made
    # The second job knows at least the trials that there were when it began.
    assert len(files[0] & files[1]) >= 30
    again = [runs.start("--trials", str(len(made) + 40)) for _ in range(2)]
    for job in again:
        job.end()
    assert len(runs.check_all()) >= len(made) + 40
    assert _rescued(runs) == []


def test_a_study_that_is_deleted(runs: Runs) -> None:
    jobs = _two_jobs(runs)
    # A server deletes nothing while jobs write; an SQLite file does.
    with contextlib.nullcontext() if runs.url.startswith("sqlite") else runs.holding():
        _delete(runs)
    for job in jobs:
        runs.wait_for(lambda job=job: "no longer in the database" in job.err)
    _stop(jobs)
    _check_rescued(runs)


def test_a_study_that_is_deleted_and_made_again(runs: Runs) -> None:
    jobs = _two_jobs(runs)
    # A server deletes nothing while jobs write; an SQLite file does.
    with contextlib.nullcontext() if runs.url.startswith("sqlite") else runs.holding():
        _delete(runs)
    optuna.create_study(study_name="s", storage=runs.url)
    n = len(runs.made())
    runs.wait_for_trials(n)
    later = runs.start("--trials", str(n + 60))
    later.end()
    _stop(jobs)
    runs.check_all()
    assert _rescued(runs) == []


def test_a_study_that_is_deleted_and_begun_anew_by_another_job(runs: Runs) -> None:
    """Its trials and the names of the new job must not be mixed up."""
    with runs.holding():
        jobs = [runs.start("--trials", "100000") for _ in range(2)]
        # Jobs that wait write nothing, so they do not stop within a transaction.
        runs.wait_for(lambda: len(runs.trials()) == len(runs.made()) == 60)
        for job in jobs:
            job.process.send_signal(signal.SIGSTOP)
        _delete(runs)
        before = runs.made()
        runs.start("--trials", "10").end()
        for job in jobs:
            job.process.send_signal(signal.SIGCONT)
    for job in jobs:
        runs.wait_for(lambda job=job: "does not take evaluations" in job.err)
    _stop(jobs)
    assert before <= set().union(*_rescued(runs), (t.user_attrs["id"] for t in runs.check()))
    n_made = len(runs.made())
    runs.start("--trials", str(n_made + 10)).end()
    assert len(runs.check_all()) >= n_made + 10


def test_a_file_that_is_removed(runs_on_file: Runs) -> None:
    runs = runs_on_file
    jobs = _two_jobs(runs)
    (runs.place / "study.db").unlink()
    for job in jobs:
        runs.wait_for(lambda job=job: "there is no file" in job.err)
    _stop(jobs)
    _check_rescued(runs)


@pytest.mark.slow
def test_a_file_that_is_moved_away_and_back(runs_on_file: Runs) -> None:
    runs = runs_on_file
    jobs = _two_jobs(runs)
    path, elsewhere = runs.place / "study.db", runs.place / "elsewhere.db"
    path.rename(elsewhere)
    for job in jobs:
        runs.wait_for(lambda job=job: "there is no file" in job.err)
    elsewhere.rename(path)
    for job in jobs:
        runs.wait_for(lambda job=job: "takes evaluations again" in job.err)
    _stop(jobs)
    runs.check_all()
    assert _rescued(runs) == []


@pytest.mark.slow
def test_a_file_that_is_replaced_by_an_older_copy(runs_on_file: Runs) -> None:
    runs = runs_on_file
    path, copy = runs.place / "study.db", runs.place / "copy.db"
    jobs = _two_jobs(runs)
    n = len(runs.made())
    source, target = sqlite3.connect(path), sqlite3.connect(copy)
    source.backup(target)
    source.close()
    target.close()
    runs.wait_for_trials(n + 40)
    copy.replace(path)
    # The first job to notice it may write again all that is missing.
    runs.wait_for(lambda: any("lost evaluations" in job.err for job in jobs))
    runs.wait_for_trials(n + 60)
    _stop(jobs)
    runs.check_all()


@pytest.mark.slow
def test_jobs_that_are_killed(runs: Runs) -> None:
    """Only the last moments of the killed ones are lost."""
    jobs = [runs.start("--trials", "400") for _ in range(2)]
    runs.wait_for_trials(30)
    for _ in range(3):
        victim = runs.start("--trials", "100000")
        n = len(runs.trials())
        runs.wait_for(lambda n=n: len(runs.trials()) > n + 40)
        victim.kill()
    for job in jobs:
        job.end()
    trials = runs.check()
    assert len(trials) >= 400
    lost = runs.made() - {t.user_attrs["id"] for t in trials}
    assert len(lost) <= 3 * 41
    assert sum(job.summary["n_own"] for job in jobs) <= len(trials)


def test_a_server_that_is_gone_for_a_while(server: Server, tmp_path: Path) -> None:
    runs = Runs(tmp_path, server.new_database())
    try:
        jobs = _two_jobs(runs)
        server.kill()
        try:
            for job in jobs:
                runs.wait_for(lambda job=job: "does not take evaluations" in job.err)
            time.sleep(8)
        finally:
            server.start()
        for job in jobs:
            runs.wait_for(lambda job=job: "takes evaluations again" in job.err)
        _stop(jobs)
        runs.check_all()
        assert _rescued(runs) == []
    finally:
        runs.kill()
