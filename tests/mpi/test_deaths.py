"""Ranks that die. Open MPI can go on without them; MPICH's launcher ends the job."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from shared import few_more
from studies import check_sound, load, wait_for, wait_for_trials

RANKS = 4

OBJECTIVE = """
import os
import time

def objective(trial):
    x = trial.suggest_float("x", -5, 5)
    time.sleep(0.05)
    while trial.number >= 60 and not os.path.exists("killed"):
        time.sleep(0.01)
    with open(f"sent-{os.environ['OMPI_COMM_WORLD_RANK']}", "a") as log:
        print(trial.number, file=log)
    return x * x
"""


@pytest.mark.parametrize("victims", [[2], [0], [0, 1]], ids=str)
def test_survivors_finish_the_study(start_job, open_mpi, tmp_path: Path, victims) -> None:
    (tmp_path / "slow.py").write_text(OBJECTIVE)
    command = (*open_mpi.command, "--continuous", "--with-ft", "ulfm")
    options = ["--trials", "120", "--study-name", "s", "--json", "s.json"]
    job = start_job(
        RANKS,
        *["-m", "adbo", "run", "slow.py:objective", *options],
        launcher=replace(open_mpi, command=command),
    )
    wait_for_trials(tmp_path, "s", 20)
    for victim in victims:
        os.kill(job.ranks()[victim], signal.SIGKILL)
        wait_for(lambda victim=victim: victim not in job.ranks(), f"the end of rank {victim}")
    (tmp_path / "killed").touch()
    status, _, err = job.end()
    assert status == 0, err
    assert f"ranks {victims} died" in err
    trials = check_sound(load(tmp_path, "s"))
    assert len(trials) in few_more(120, RANKS)
    stored = {t.user_attrs["adbo:rank"]: set() for t in trials}
    for trial in trials:
        stored[trial.user_attrs["adbo:rank"]].add(trial.user_attrs["adbo:seq"])
    for rank in range(RANKS):
        made = [int(line) // RANKS for line in (tmp_path / f"sent-{rank}").read_text().split()]
        # A victim had sent all evaluations but its last one.
        known = made[:-1] if rank in victims else made
        assert set(known) <= stored[rank]
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["n_complete"] == len(trials)


@pytest.mark.parametrize("seed", range(1, 6))
def test_survivors_on_an_overlay_lose_nothing(start_job, open_mpi, seed: int) -> None:
    """Up to five of 24 ranks die while they send records, or while they end."""
    command = (*open_mpi.command, "--continuous", "--with-ft", "ulfm")
    program = str(Path(__file__).parent / "programs" / "deaths.py")
    job = start_job(24, program, str(seed), launcher=replace(open_mpi, command=command))
    _, out, err = job.end()
    results = [line.split() for line in out.splitlines() if line.startswith("RESULT")]
    assert 24 - 5 <= len(results) < 24, err
    assert len({tuple(known) for _, _, *known in results}) == 1
    assert all(has_own == "True" for *_, has_own in results)


@pytest.mark.parametrize(
    "deaths",
    [{0: 0.0}, {0: 0.0, 1: 0.0, 2: 0.3}, {0: 0.0, 1: 3.0}, {5: 0.0, 0: 1.0, 1: 1.5, 7: 4.0}],
    ids=str,
)
def test_deaths_during_the_start_end_the_job_with_one_line(
    start_job, open_mpi, tmp_path: Path, deaths: dict[int, float]
) -> None:
    """Some ranks die after a number of seconds, also while others have noticed a death."""
    (tmp_path / "deadly.py").write_text(
        "import os, signal, time\n"
        f"seconds = {deaths}.get(int(os.environ['OMPI_COMM_WORLD_RANK']))\n"
        "if seconds is not None:\n"
        "    time.sleep(seconds)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "def objective(trial):\n"
        "    return trial.suggest_float('x', 0, 1)\n"
    )
    command = (*open_mpi.command, "--continuous", "--with-ft", "ulfm")
    options = ["run", "deadly.py:objective", "--trials", "20", "--storage", "none"]
    job = start_job(8, "-m", "adbo", *options, launcher=replace(open_mpi, command=command))
    status, out, err = job.end()
    assert status == 1
    assert "Traceback" not in err
    lines = [line for line in (out + err).splitlines() if "while the run was starting" in line]
    assert len(lines) == 1
    assert f"adbo: ranks {sorted(deaths)} died" in lines[0]


@pytest.mark.slow
def test_a_job_that_was_killed_resumes(start_job, adbo, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(OBJECTIVE.replace("OMPI_COMM_WORLD_RANK", "PMI_RANK"))
    options = ["run", "slow.py:objective", "--trials", "120", "--study-name", "s"]
    job = start_job(RANKS, "-m", "adbo", *options)
    wait_for_trials(tmp_path, "s", 20)
    os.kill(job.ranks()[0], signal.SIGKILL)
    status, _, _ = job.end()
    assert status != 0
    (tmp_path / "killed").touch()
    before = check_sound(load(tmp_path, "s"))
    status, _, err = adbo(RANKS, *options, "--resume")
    assert status == 0, err
    after = check_sound(load(tmp_path, "s"))
    assert len(after) in few_more(120, RANKS)
    assert [t.params for t in after[: len(before)]] == [t.params for t in before]
