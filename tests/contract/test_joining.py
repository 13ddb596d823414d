"""Jobs of the command line that work on one study at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from runs import Run, Runs


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
    lines = second.err.splitlines()
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
