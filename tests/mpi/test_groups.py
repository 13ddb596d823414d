"""Groups of ranks for each evaluation, with their GPUs."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from pathlib import Path

import optuna
import pytest
from studies import check_sound, load

OBJECTIVE = """
import os
import optuna
from mpi4py import MPI

def objective(trial):
    x = trial.suggest_float("x", -5, 5)
    trial.suggest_categorical("kind", ["a", "b"])
    if x > 0:
        trial.suggest_int("n", 1, 9)
    everywhere = trial.comm.allgather(dict(trial.params))
    assert all(params == everywhere[0] for params in everywhere)
    trial.set_user_attr("world", trial.comm.allgather(MPI.COMM_WORLD.rank))
    trial.set_user_attr("gpu", os.environ.get("CUDA_VISIBLE_DEVICES"))
    trial.set_user_attr("threads", os.environ.get("OMP_NUM_THREADS"))
    if trial.number % 9 == 3 and trial.comm.rank == 2:
        raise ValueError("no mesh")
    if trial.number % 9 == 4:
        raise optuna.TrialPruned
    return x * x if trial.number % 9 in (3, 4) else trial.comm.allreduce(x * x) / trial.comm.size
"""


def test_a_group_evaluates_together(adbo, launcher, tmp_path: Path) -> None:
    (tmp_path / "together.py").write_text(OBJECTIVE)
    options = ["--ranks-per-trial", "3", "--gpus-per-node", "4", "--trials", "40"]
    arguments = ["run", "together.py:objective", *options, "--study-name", "g", "--json", "s.json"]
    status, _, err = adbo(6, *arguments, launcher=launcher)
    assert status == 0, err
    trials = check_sound(load(tmp_path, "g"))
    assert json.loads((tmp_path / "s.json").read_text())["n_ranks"] == 2
    reasons = {t.user_attrs.get("adbo:fail_reason") for t in trials}
    assert reasons == {None, "RuntimeError: rank 2 of the group: ValueError: no mesh"}
    assert {t.state.name for t in trials} == {"COMPLETE", "FAIL", "PRUNED"}
    assert {tuple(t.user_attrs["world"]) for t in trials} == {(0, 1, 2), (3, 4, 5)}
    assert {t.user_attrs["gpu"] for t in trials} == {"0", "3"}


LARGE = """
import time

def objective(trial):
    begun = time.monotonic()
    if trial.comm.rank == 0:
        for step in range(60_000 if trial.number == 0 else 0):
            trial.report(0.0, step)
        time.sleep(2)
    begun = trial.comm.allgather(begun)
    trial.set_user_attr("late", max(begun) - min(begun))
    return trial.suggest_float("x", -5, 5)
"""


def test_a_group_begins_together_though_much_is_new(
    adbo, launcher, tmp_path: Path, over_tcp: None
) -> None:
    (tmp_path / "large.py").write_text(LARGE)
    options = ["--ranks-per-trial", "2", "--trials", "2", "--study-name", "g"]
    status, _, err = adbo(2, "run", "large.py:objective", *options, launcher=launcher)
    assert status == 0, err
    assert max(trial.user_attrs["late"] for trial in load(tmp_path, "g").trials) < 1


PLAN = """
def fits(params):
    return params["width"] % params["heads"] == 0

def objective(trial):
    width = trial.suggest_int("width", 16, 64)
    heads = trial.suggest_categorical("heads", (11, 13, 7) if trial.comm.rank else (7, 11, 13))
    pairs = trial.comm.allgather((width, heads))
    assert set(pairs) == {(width, heads)}
    assert width % heads == 0
    return abs(width - 40)
"""


@pytest.mark.slow
def test_a_group_begins_again_when_no_value_is_allowed(adbo, launcher, tmp_path: Path) -> None:
    (tmp_path / "plan.py").write_text(PLAN)
    options = ["--ranks-per-trial", "2", "--trials", "12", "--allowed", "fits"]
    for seed in ("0", "1"):  # the first width of some group fits no number of heads
        arguments = ["run", "plan.py:objective", *options, "--study-name", seed, "--seed", seed]
        status, _, err = adbo(4, *arguments, launcher=launcher)
        assert status == 0, err
        trials = check_sound(load(tmp_path, seed))
        assert {t.user_attrs.get("adbo:fail_reason") for t in trials} == {None}


SLOW = """
import time

def objective(trial):
    x = trial.suggest_float("x", -5, 5)
    time.sleep(3)
    return sum(trial.comm.allgather(x))
"""


def test_the_time_of_a_group_begins_when_the_study_is_open(start_job, tmp_path: Path) -> None:
    """Members whose time was up before that of their leader abandoned it in MPI."""
    (tmp_path / "slow.py").write_text(SLOW)
    optuna.create_study(storage=f"sqlite:///{tmp_path}/adbo.db", study_name="other")
    options = ["--ranks-per-trial", "2", "--timeout", "5.5", "--quiet", "--json", "s.json"]
    with contextlib.closing(sqlite3.connect(tmp_path / "adbo.db")) as holder:
        holder.execute("BEGIN IMMEDIATE")
        job = start_job(2, "-m", "adbo", "run", "slow.py:objective", *options)
        assert "waiting for sqlite" in job.process.stderr.readline()
        time.sleep(5)
    status, _, err = job.end()
    assert status == 0, err
    assert json.loads((tmp_path / "s.json").read_text())["n_complete"] == 1


ENDED = """
import ctypes

def objective(trial):
    if trial.comm.rank == RANK:
        ctypes.CDLL(None).exit(0)
    return trial.comm.allreduce(trial.suggest_float("x", -5, 5))
"""


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_ends_may_not_be_the_one_to_blame(adbo, tmp_path: Path, rank: int) -> None:
    """Where another one has ended the job, MPI ends the ranks that wait in the objective."""
    (tmp_path / "ended.py").write_text(ENDED.replace("RANK", str(rank)))
    options = ["--ranks-per-trial", "2", "--trials", "4", "--storage", "none", "--quiet"]
    status, _, err = adbo(2, "run", "ended.py:objective", *options)
    assert status == 1
    (line,) = [line for line in err.splitlines() if f"rank {rank} vanished" in line]
    assert line.endswith("or STOP in Fortran, or another rank has ended the job")


def test_groups_must_fit(adbo, tmp_path: Path) -> None:
    status, out, err = adbo(5, "run", "ackley", "--ranks-per-trial", "2")
    assert status == 2
    assert out == ""
    assert err == "adbo: ranks per trial is 2: it must divide the number of ranks, 5\n"


@pytest.mark.slow
def test_members_stop_when_the_leader_cannot_start(adbo, tmp_path: Path) -> None:
    arguments = ["run", "ackley", "--ranks-per-trial", "2", "--storage", "sqlite:////no/dir/s.db"]
    status, _, err = adbo(4, *arguments)
    assert status == 2
    assert len(err.splitlines()) == 1
