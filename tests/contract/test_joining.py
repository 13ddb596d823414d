"""Jobs of the command line that work on one study at the same time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from runs import Run, Runs

from adbo.core.job import job_of


@pytest.fixture
def runs(tmp_path: Path, url: str) -> Iterator[Runs]:
    """Jobs on a study in an empty database of each kind."""
    started = Runs(tmp_path, url)
    yield started
    started.kill()


def _check_together(runs: Runs, jobs: list[Run], n_trials: int, ranks: int) -> None:
    """Check what jobs stored that ran at the same time, and their summaries."""
    trials = runs.check_all()
    # In the two seconds in which jobs hear of each other, each rank makes at most 40 evaluations.
    assert n_trials <= len(trials) <= n_trials + 41 * ranks * len(jobs)
    summaries = [job.summary for job in jobs]
    assert sum(summary["n_own"] for summary in summaries) == len(trials)
    for summary in summaries:
        assert n_trials <= summary["n_complete"] <= len(trials)
        assert sum(summary["evaluations_per_rank"]) == summary["n_own"] > 0
        assert summary["n_ranks"] == ranks
        assert 1 <= summary["n_jobs"] <= len(jobs)  # one may end before it hears of the other


@pytest.mark.parametrize(
    "ranks", [1, 2, pytest.param(4, marks=pytest.mark.slow)], ids="{} ranks".format
)
@pytest.mark.mpi
def test_the_same_job_submitted_twice(runs: Runs, ranks: int) -> None:
    jobs = [runs.start("--trials", "80", ranks=ranks) for _ in range(2)]
    for job in jobs:
        job.end()
    _check_together(runs, jobs, 80, ranks)


@pytest.mark.parametrize(
    "ranks", [1, 2, pytest.param(4, marks=pytest.mark.slow)], ids="{} ranks".format
)
@pytest.mark.mpi
def test_a_job_that_joins_later(runs: Runs, ranks: int) -> None:
    n_trials = 80 * ranks
    with runs.holding():
        first = runs.start("--trials", str(n_trials), ranks=ranks)
        runs.wait_for_trials(20)
        second = runs.start("--trials", str(n_trials), ranks=ranks)
        runs.wait_for_trials(5, job=1)
    for job in (first, second):
        job.end()
    _check_together(runs, [first, second], n_trials, ranks)
    assert first.summary["n_before"] == 0
    n_before = second.summary["n_before"]
    assert second.summary["n_jobs"] == 2
    assert n_before >= 20
    # On a loaded machine, the start may have waited for the lock of the study, and say so first.
    lines = [line for line in second.err.splitlines() if not line.startswith("adbo: waiting")]
    assert lines[0] == f"adbo: joins a running study: 1 other job, {n_before} trials so far"


def test_single_processes_that_start_at_the_same_instant(runs: Runs) -> None:
    """There is neither a study nor a file yet, and no MPI."""
    jobs = [runs.start("--trials", "100") for _ in range(4)]
    for job in jobs:
        job.end()
    trials = runs.check_all()
    assert len(trials) >= 100
    assert sum(job.summary["n_own"] for job in jobs) == len(trials)
    assert max(job.summary["n_jobs"] for job in jobs) <= 4


@pytest.mark.mpi
def test_a_plain_worker_of_optuna_beside_a_job(runs: Runs) -> None:
    """Its trials count, on all ranks: each would otherwise make 20 evaluations too many."""
    with runs.holding():
        job = runs.start("--trials", "130", ranks=2)
        runs.wait_for_trials(30)
        by_optuna = optuna.samplers.TPESampler(seed=0)
        optuna.load_study(study_name="s", storage=runs.study._storage, sampler=by_optuna).optimize(
            lambda trial: trial.suggest_float("x", -5, 5) ** 2, n_trials=20
        )
        time.sleep(3)  # a job reads once a second
    job.end()
    trials = runs.study.get_trials()
    assert [t.number for t in trials] == list(range(len(trials)))
    own = [t.user_attrs["id"] for t in trials if "adbo:rank" in t.user_attrs]
    assert sorted(own) == sorted(runs.made())
    assert len(own) == len(trials) - 20
    assert 130 <= len(trials) < 150
    assert job.summary["n_own"] == len(own)
    assert job.summary["n_complete"] == len(trials)


def test_enqueued_trials_during_fast_evaluations(runs: Runs) -> None:
    """The mirror takes them although it always has something to write."""
    runs.slowly(0.0)
    job = runs.start("--trials", "1000000")
    runs.wait_for_trials(100)
    runs.study.enqueue_trial({"x": 4.25})
    started = time.monotonic()
    runs.wait_for(lambda: any(t.params.get("x") == 4.25 for t in runs.trials()))
    assert time.monotonic() - started < 60
    assert job.process.poll() is None
    job.process.terminate()
    job.end(130)
    runs.check_all()


#: Late ones of each job wait while there is a file ``hold``.
TRAINING = """\
import os
import time

import optuna


def objective(trial):
    x = trial.suggest_float("x", 0, 1)
    while trial.number % 1000000 >= 30 and os.path.exists({hold!r}):
        time.sleep(0.01)
    for step in range(1, 10):
        time.sleep(0.01)
        trial.report({offset} + x, step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return {offset} + x
"""


@pytest.mark.mpi
def test_jobs_prune_by_what_the_others_reported(runs: Runs) -> None:
    """All that the second job evaluates is worse than what it knows of the first one."""
    jobs = []
    hold = str(runs.place / "hold")
    with runs.holding():
        for number, offset in enumerate((0, 100)):
            text = TRAINING.format(hold=hold, offset=offset)
            (runs.place / "objective.py").write_text(text)
            jobs.append(runs.start("--trials", "100", "--pruner", "halving", ranks=2))
            runs.wait_for_trials(20, job=number)
    for job in jobs:
        job.end()
    trials = runs.study.get_trials()
    assert [t.number for t in trials] == list(range(len(trials)))
    assert sum(job.summary["n_own"] for job in jobs) == len(trials) >= 100
    # The best third goes on; later, the first job's are less than a third of all.
    early = [t for t in trials if job_of(t.user_attrs["adbo:seq"]) == 1][:20]
    assert len(early) == 20
    assert {(t.state.name, len(t.intermediate_values)) for t in early} == {("PRUNED", 1)}
    assert {t.state.name for t in trials} == {"PRUNED", "COMPLETE"}
    assert all(len(t.intermediate_values) == 9 for t in trials if t.state.name == "COMPLETE")
