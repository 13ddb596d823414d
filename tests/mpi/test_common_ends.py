"""Runs that end for a reason in their history end on all ranks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from optuna.trial import TrialState
from studies import check_sound, load

RANKS = 3

OBJECTIVES = """
import time
from pathlib import Path

from mpi4py import MPI

rank = MPI.COMM_WORLD.rank

def good(trial):
    x = trial.suggest_float("x", -5, 5)
    if rank == 1 and not Path("found").exists():
        Path("found").touch()
        return 0.0
    if rank == 0:
        # The result of rank 1 arrives while this evaluation runs, which is finished.
        while not Path("found").exists():
            time.sleep(0.01)
        time.sleep(2)
    time.sleep(0.05)
    return 1 + abs(x)

def bad(trial):
    trial.suggest_float("x", -5, 5)
    raise ValueError("no mesh")

def points(trial):
    time.sleep(0.05)
    return trial.suggest_float("x", -5, 5) ** 2
"""

SAVE = "echo $ADBO_STATUS: $ADBO_REASON >> said; cp $ADBO_SUMMARY summary.json; env > env"


@pytest.fixture(autouse=True)
def _objectives(tmp_path: Path) -> None:
    (tmp_path / "o.py").write_text(OBJECTIVES)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--target", "0.5"], "the target 0.5 was reached"),
        (["--patience", "9"], "no improvement in the last 9 trials"),
    ],
)
def test_all_ranks_end_well(adbo, tmp_path: Path, options: list[str], reason: str) -> None:
    words = ["run", "o.py:good", "--study-name", "s", *options, "--on-exit", SAVE]
    status, out, err = adbo(RANKS, *words)
    assert status == 0, err
    assert f"{reason}\n" in out
    assert (tmp_path / "said").read_text() == f"0: {reason}\n"
    summary = json.loads((tmp_path / "summary.json").read_text())
    trials = check_sound(load(tmp_path, "s"))
    assert summary["best_value"] == 0
    # Rank 0 had begun an evaluation; it is finished and kept.
    assert {t.user_attrs["adbo:rank"] for t in trials} >= {0, 1}
    assert "PMI_RANK" not in (tmp_path / "env").read_text()


def test_all_ranks_give_up(adbo, tmp_path: Path) -> None:
    words = ["run", "o.py:bad", "--study-name", "s", "--max-failures", "60", "--on-exit", SAVE]
    status, _, err = adbo(RANKS, *words)
    reason = "the last 60 evaluations failed: ValueError: no mesh"
    assert status == 1
    assert f"adbo: {reason}\n" in err
    assert (tmp_path / "said").read_text() == f"1: {reason}\n"
    trials = check_sound(load(tmp_path, "s"))
    assert {t.state for t in trials} == {TrialState.FAIL}
    assert len(trials) >= 60


def test_points_are_evaluated_once_over_all_ranks(adbo, tmp_path: Path) -> None:
    values = [i / 10 for i in range(10)]
    (tmp_path / "p.csv").write_text("x\n" + "".join(f"{x}\n" for x in values))
    words = ["run", "o.py:points", "--study-name", "s", "--resume", "--enqueue", "p.csv"]
    for n_trials in ("20", "30"):
        status, _, err = adbo(RANKS, *words, "--trials", n_trials)
        assert status == 0, err
    trials = check_sound(load(tmp_path, "s"))
    found = [t.params["x"] for t in trials]
    assert [found.count(x) for x in values] == [1] * 10
    assert len({t.user_attrs["adbo:rank"] for t in trials if t.params["x"] in values}) == RANKS


def test_a_wrong_file_of_points_ends_all_ranks(adbo, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("x\n1,2\n")
    status, out, err = adbo(RANKS, "run", "o.py:points", "--enqueue", "p.csv", "--trials", "9")
    assert status == 2
    assert out == ""
    assert err == "adbo: p.csv, line 2: it has 2 cells: it must have 1, as the header\n"
    assert not (tmp_path / "adbo.db").exists()
