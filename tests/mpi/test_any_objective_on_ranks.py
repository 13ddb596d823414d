"""Objectives that misbehave, on several ranks. In one process: tests/unit."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import any_objective
import pytest
from any_objective import GOOD, SWALLOWED
from studies import check_sound, load, wait_for

from adbo.core.evaluation import FAIL_REASON

FILE = any_objective.__file__


def _options(name: str, *more: str) -> list[str]:
    return ["run", f"{FILE}:{name}", "--study-name", "s", "--json", "summary.json", *more]


@pytest.mark.parametrize(
    ("name", "group"),
    [("catches_everything", 1), ("catches_everything", 2), ("waits_for_threads", 1)],
)
def test_an_abandoned_evaluation_is_not_stored(adbo, tmp_path: Path, name, group) -> None:
    options = _options(name, "--timeout", "3", "--ranks-per-trial", str(group))
    status, out, err = adbo(2, *options)
    assert status == 0, err
    assert "stopped early: the time was up" in out
    trials = check_sound(load(tmp_path, "s"))
    assert {trial.state.name for trial in trials} == {"COMPLETE"}
    assert SWALLOWED not in [trial.value for trial in trials]
    assert json.loads((tmp_path / "summary.json").read_text())["wall_seconds"] < 120


def test_a_follower_that_is_interrupted_ends_the_run(start_job, tmp_path: Path) -> None:
    job = start_job(2, "-m", "adbo", *_options("leader_is_done", "--ranks-per-trial", "2"))
    wait_for(lambda: list(tmp_path.glob("late-*")), "the late trial of the follower")
    os.kill(job.ranks()[1], signal.SIGTERM)
    status, out, err = job.end()
    assert status == 130, err
    assert "stopped early: SIGTERM" in out
    assert [trial.state.name for trial in load(tmp_path, "s").trials] == ["COMPLETE"] * GOOD


@pytest.mark.slow  # it waits for the end of the ranks' patience
@pytest.mark.parametrize("name", ["leader_waits_in_mpi", "follower_waits_in_mpi"])
def test_ranks_that_wait_for_each_other_in_mpi_do_not_hang(adbo, tmp_path: Path, name) -> None:
    """One of them is interrupted while the other one waits for it in MPI."""
    status, out, err = adbo(2, *_options(name, "--ranks-per-trial", "2", "--timeout", "3"))
    states = [trial.state.name for trial in load(tmp_path, "s").trials]
    assert states == ["COMPLETE"] * len(states)
    assert len(states) <= GOOD
    if "stopped early: the time was up" in out:  # the leader was interrupted
        assert status in (0, 1), err  # that of the leader, or of the rank that it had to abort
        assert (tmp_path / "summary.json").exists()
    else:
        assert status == 1, err
        assert "adbo: rank 1 was interrupted, but the leader of its group did not stop" in err


def test_whatever_a_follower_raises_is_a_failure(adbo, tmp_path: Path) -> None:
    options = _options("raises_in_a_follower", "--trials", "6", "--ranks-per-trial", "2")
    status, _, err = adbo(2, *options)
    assert status == 0, err
    reasons = [trial.user_attrs.get(FAIL_REASON) for trial in load(tmp_path, "s").trials]
    failure = "RuntimeError: rank 1 of the group: GeneratorExit: in a follower"
    assert reasons == [None] * GOOD + [failure] * 2


@pytest.mark.parametrize("name", ["ends_in_python", "ends_in_c"])
def test_a_rank_that_the_objective_ends_is_an_error(adbo, launcher, name: str) -> None:
    status, out, err = adbo(3, *_options(name, "--trials", "30"), launcher=launcher)
    assert status not in (0, 130), err
    assert any(
        f"adbo: rank {rank} vanished: the objective, or a library" in err for rank in range(3)
    )
    assert "best value" not in out


def test_open_mpi_takes_a_rank_that_ends_at_once_for_an_error(adbo, open_mpi) -> None:
    """MPICH does not: mpiexec ends with the status of the rank, 0."""
    status, out, err = adbo(2, *_options("ends_in_c_at_once", "--trials", "30"), launcher=open_mpi)
    assert status not in (0, 130), err
    assert "best value" not in out


@pytest.mark.slow  # it waits for the end of rank 0's patience
def test_a_rank_that_does_not_answer_at_the_end_is_an_error(adbo, tmp_path: Path) -> None:
    status, out, err = adbo(2, *_options("never_comes_back_on_rank_1", "--timeout", "3"))
    assert status == 1
    assert "stopped early: the time was up" in out
    assert "adbo: ranks [1] did not answer" in err
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["status"], summary["reason"]) == (1, "the time was up")
    assert len(check_sound(load(tmp_path, "s"))) == summary["n_own"]


def test_a_working_directory_that_is_deleted(adbo, tmp_path: Path) -> None:
    status, _, err = adbo(2, *_options("deletes_its_directory", "--trials", "10"))
    assert status == 0, err
    assert err == ""
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["n_complete"] == len(check_sound(load(tmp_path, "s"))) >= 10
