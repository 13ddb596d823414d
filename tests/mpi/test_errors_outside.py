"""Programs that call `adbo.optimize`, and fail before or after it on some of their ranks."""

from __future__ import annotations

from pathlib import Path

import pytest
from studies import check_sound, load

#: As docs/running.md says: MPI is loaded first, and `python -m mpi4py` starts the program.
HEAD = """\
from mpi4py import MPI
import optuna, adbo

rank = MPI.COMM_WORLD.rank

def objective(trial):
    return trial.suggest_float("x", -5, 5) ** 2

def fail(on):
    if rank == on:
        raise ValueError(f"rank {rank} lacks a file")

def optimize(storage="sqlite:///adbo.db"):
    adbo.optimize(objective, 12, study_name="s", storage=storage, seed=1)
"""


@pytest.fixture
def run(start_job, launcher, tmp_path: Path):
    """Return a function that runs the head and further lines on three ranks, as documented."""

    def run(*lines: str) -> tuple[int, str]:
        (tmp_path / "program.py").write_text("\n".join([HEAD, *lines, ""]))
        status, _, err = start_job(3, "-m", "mpi4py", "program.py", launcher=launcher).end()
        return status, err

    return run


@pytest.mark.parametrize("rank", [0, 2])
def test_an_error_before_the_run_ends_the_job(run, rank: int) -> None:
    status, err = run(f"fail({rank})", "optimize()")
    assert status != 0
    assert f"ValueError: rank {rank} lacks a file" in err
    assert err.count("Traceback") == 1


def test_an_error_after_the_run_ends_the_job(run, tmp_path: Path) -> None:
    status, err = run("optimize()", "fail(1)", "MPI.COMM_WORLD.Barrier()")
    assert status != 0
    assert "ValueError: rank 1 lacks a file" in err
    assert len(check_sound(load(tmp_path, "s"))) >= 12


def test_every_rank_makes_the_tables_of_a_new_database(run, tmp_path: Path) -> None:
    """Optuna's constructor fails on ranks that are late; then the job ends, and does not hang."""
    status, err = run(
        "MPI.COMM_WORLD.Barrier()",
        'optimize(optuna.storages.RDBStorage("sqlite:///adbo.db"))',
    )
    if status == 0:
        assert len(check_sound(load(tmp_path, "s"))) >= 12
    else:
        assert "RDBStorage(" in err
        assert "sqlite3." in err


def test_rank_0_makes_the_tables_of_a_new_database(run, tmp_path: Path) -> None:
    status, err = run("optimize()")
    assert status == 0, err
    assert err == ""
    assert len(check_sound(load(tmp_path, "s"))) >= 12
