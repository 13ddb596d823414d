"""Optuna's samplers and pruners on real ranks, through the replicated storage."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from studies import wait_for

RANKS = 4

PROGRAM = str(Path(__file__).parent / "programs" / "sampling.py")


def _read(path: Path, rank: int) -> tuple[list[dict[str, Any]], dict[str, str]]:
    trials, attrs = json.loads((path / f"trials-{rank}.json").read_text())
    return trials, attrs


SLOW = (pytest.param(name, marks=pytest.mark.slow) for name in ("random", "grid", "nsga"))


@pytest.mark.parametrize("sampler", ["tpe", *SLOW])
def test_every_rank_ends_with_every_trial(start_job, tmp_path: Path, sampler: str) -> None:
    status, _, err = start_job(RANKS, PROGRAM, sampler, "10").end()
    assert status == 0, err
    trials, attrs = _read(tmp_path, 0)
    for rank in range(1, RANKS):
        assert _read(tmp_path, rank) == (trials, attrs)
    assert attrs == {f"rank {rank}": "was here" for rank in range(RANKS)}
    numbers = [trial["number"] for trial in trials]
    assert len(set(numbers)) == len(numbers)
    finished = [trial for trial in trials if trial["state"] in ("COMPLETE", "PRUNED")]
    makers = Counter(trial["user_attrs"]["made_by"] for trial in finished)
    assert makers == dict.fromkeys(range(RANKS), 10)
    enqueued = [trial["params"]["x"] for trial in finished if "enqueued" in trial["user_attrs"]]
    assert len(set(enqueued)) == len(enqueued) >= 1


def test_with_open_mpi_and_no_context(start_job, open_mpi, tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text(
        """
import os
import time
from pathlib import Path

import optuna

import adbo

rank = int(os.environ["OMPI_COMM_WORLD_RANK"])
storage = adbo.storage()
study = optuna.create_study(storage=storage, study_name="s")
while rank > 0 and not Path("asked").exists():
    time.sleep(0.01)
study.optimize(lambda trial: trial.suggest_float("x", -1, 1) ** 2, n_trials=5 * rank)
if rank == 0:
    assert storage.close(timeout=0.01)  # others have not ended
    Path("asked").touch()
    assert storage.close() == []
    print(len(study.trials), len(study.best_params))
"""
    )
    status, out, err = start_job(3, "plain.py", launcher=open_mpi).end()
    assert status == 0, err
    assert out == "15 1\n"


def test_a_rank_whose_patience_was_over_waits_at_its_end(start_job, tmp_path: Path) -> None:
    (tmp_path / "impatient.py").write_text(
        """
import os
import time

import optuna

import adbo

storage = adbo.storage()
study = optuna.create_study(storage=storage, study_name="s")
study.optimize(lambda trial: trial.suggest_float("x", -1, 1) ** 2, n_trials=3)
if os.environ["PMI_RANK"] == "2":
    assert storage.close(timeout=0.01) == [0, 1]
    open("over", "w").close()
else:
    while not os.path.exists("over"):
        time.sleep(0.01)
    assert storage.close() == []
    assert len(study.trials) == 9
"""
    )
    status, _, err = start_job(3, "impatient.py").end(timeout=60)
    assert status == 0, err


@pytest.mark.slow
def test_plots_from_memory_on_every_rank(start_job, tmp_path: Path) -> None:
    (tmp_path / "plots.py").write_text(
        """
import matplotlib

matplotlib.use("Agg")
import optuna
import optuna.visualization.matplotlib as plots

import adbo


def objective(trial):
    x = trial.suggest_float("x", -1, 1)
    y = trial.suggest_float("y", -1, 1)
    trial.report(x**2, 0)
    return x**2 + y**2


with adbo.storage() as storage:
    optuna.create_study(storage=storage, study_name="s").optimize(objective, n_trials=10)
study = optuna.load_study(study_name="s", storage=storage)
names = ["contour", "edf", "intermediate_values", "optimization_history", "parallel_coordinate"]
for name in [*names, "param_importances", "rank", "slice", "timeline"]:
    axes = getattr(plots, f"plot_{name}")(study)
    assert axes is not None
print(len(study.trials))
"""
    )
    status, out, err = start_job(2, "plots.py").end()
    assert status == 0, err
    assert out == "20\n20\n"


def test_a_run_of_adbo_in_the_memory_of_every_rank(start_job, tmp_path: Path) -> None:
    (tmp_path / "mirrored.py").write_text(
        """
import json
import os

import optuna

import adbo


def objective(trial):
    return trial.suggest_float("x", -1, 1) ** 2


with adbo.storage() as storage:
    adbo.optimize(objective, n_trials=30, storage=storage, study_name="s")
study = optuna.load_study(study_name="s", storage=storage)
trials = sorted([t.value, t.user_attrs["adbo:rank"]] for t in study.trials)
with open(f"trials-{os.environ['PMI_RANK']}.json", "w") as file:
    json.dump((trials, {}), file)
"""
    )
    status, _, err = start_job(2, "mirrored.py").end()
    assert status == 0, err
    first, second = (_read(tmp_path, rank)[0] for rank in range(2))
    assert first == second
    assert len(first) >= 30


@pytest.mark.slow
def test_a_rank_that_fails_lets_the_others_finish(start_job, tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(
        """
import os
from pathlib import Path

import optuna

import adbo

rank = int(os.environ["PMI_RANK"])


def objective(trial):
    if rank == 1 and trial.number > 5:
        raise ValueError("no such mesh")
    return trial.suggest_float("x", 0, 1)


try:
    with adbo.storage() as storage:
        study = optuna.create_study(storage=storage, study_name="s")
        study.optimize(objective, n_trials=20)
finally:
    Path(f"states-{rank}").write_text(" ".join(t.state.name for t in study.trials))
"""
    )
    status, _, err = start_job(2, "failing.py").end()
    assert status != 0
    assert "rank 1 ended with ValueError: no such mesh" in err
    states = [(tmp_path / f"states-{rank}").read_text().split() for rank in range(2)]
    assert states[0] == states[1]
    assert Counter(states[0]) == {"COMPLETE": 23, "FAIL": 1}


SURVIVING = """
import json
import os
import time
from pathlib import Path

import optuna

import adbo

rank = int(os.environ["OMPI_COMM_WORLD_RANK"])


def objective(trial):
    x = trial.suggest_float("x", 0, 1)
    Path(f"number-{rank}").write_text(str(trial.number))
    time.sleep(0.05)
    while trial.number >= 120 and not Path("killed").exists():
        time.sleep(0.01)
    return x


storage = adbo.storage()
study = optuna.create_study(storage=storage, study_name="s")
study.optimize(objective, n_trials=60)
missing = storage.close()
known = sorted([t.number, t.state.name, t.params.get("x")] for t in study.trials)
Path(f"known-{rank}").write_text(json.dumps([missing, known]))
os._exit(0)  # MPI_Finalize may wait for the dead for ever
"""


def test_survivors_have_all_that_a_dead_rank_had_sent(start_job, open_mpi, tmp_path) -> None:
    (tmp_path / "surviving.py").write_text(SURVIVING)
    command = (*open_mpi.command, "--continuous", "--with-ft", "ulfm")
    job = start_job(RANKS, "surviving.py", launcher=replace(open_mpi, command=command))
    last = tmp_path / "number-2"
    wait_for(
        lambda: last.exists() and last.read_text() not in ("", "2", "6", "10"), "trials of rank 2"
    )
    os.kill(job.ranks()[2], signal.SIGKILL)
    (tmp_path / "killed").touch()
    _, _, err = job.end()
    begun = int(last.read_text())
    known = [(tmp_path / f"known-{rank}").read_text() for rank in (0, 1, 3)]
    assert known[0] == known[1] == known[2], err
    missing, trials = json.loads(known[0])
    assert missing == []
    of_dead = [trial for trial in trials if trial[0] % RANKS == 2]
    assert [number for number, _, _ in of_dead][: begun // RANKS] == list(range(2, begun, RANKS))
    assert all(state == "COMPLETE" for number, state, _ in of_dead if number < begun - RANKS)
    assert all(state != "RUNNING" for _, state, _ in trials)
    assert len(trials) - len(of_dead) == 60 * (RANKS - 1)
