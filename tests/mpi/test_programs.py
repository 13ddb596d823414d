"""A program as the objective on real ranks, also one that uses MPI itself."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from debian import installed
from optuna.trial import FrozenTrial, TrialState
from studies import check_sound, load, wait_for

EXAMPLE = Path(__file__).parents[2] / "examples" / "simulation"


@pytest.fixture
def example(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The example of a simulation, compiled in the directory of the test."""
    compiler = shutil.which("cc")
    if compiler is None and request.node.get_closest_marker("extended"):
        compiler = installed("gcc libc6-dev", lambda: shutil.which("cc"))
    if compiler is None:
        pytest.skip("there is no C compiler; the extended tests install one")
    for name in ("study.toml", "rod.c", "rod.in", "measured.txt"):
        shutil.copy(EXAMPLE / name, tmp_path)
    # As examples/simulation/README.md says.
    subprocess.run([compiler, "-O2", "-o", "rod", "rod.c", "-lm"], cwd=tmp_path, check=True)
    return tmp_path


def _check_example(trials: list[FrozenTrial], place: Path) -> None:
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}, _reasons(trials)
    best = min(trials, key=lambda trial: trial.value)
    assert best.value < 0.5
    assert best.params["end"] == "air"
    assert 100 < best.params["conductivity"] < 140
    for trial in trials:
        assert ("loss" in trial.params) == (trial.params["end"] == "air")
        assert trial.user_attrs["steps"] > 10
    assert os.listdir(place / "trials") == []


def _reasons(trials: Iterable[FrozenTrial]) -> set[str]:
    return {trial.user_attrs.get("adbo:fail_reason") for trial in trials}


def test_a_simulation_in_one_process(example: Path) -> None:
    command = [sys.executable, "-m", "adbo", "run", "study.toml", "--trials", "200", "--seed", "1"]
    environment = {k: v for k, v in os.environ.items() if k != "DATABASE_URL"}
    result = subprocess.run(
        [*command, "--study-name", "rod"],
        cwd=example,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    _check_example(check_sound(load(example, "rod")), example)


def test_a_simulation_on_two_ranks(adbo, launcher, example: Path) -> None:
    options = ["--trials", "200", "--seed", "1", "--study-name", "rod"]
    status, _, err = adbo(2, "run", "study.toml", *options, launcher=launcher)
    assert status == 0, err
    _check_example(check_sound(load(example, "rod")), example)


#: A program that uses MPI, as simulations do: its ranks add up parts of the result.
PARALLEL = """\
import sys
from mpi4py import MPI
comm = MPI.COMM_WORLD
value = comm.reduce((float(sys.argv[1]) - comm.rank) ** 2)
if comm.rank == 0:
    print("ranks", comm.size)
    print(repr(value))
"""

STUDY = """\
command = [{command}]

[parameters.x]
kind = "float"
low = -5
high = 5

[attributes]
ranks.regex = "ranks (.*)"
"""

OBJECTIVE = """\
import subprocess, adbo

def objective(trial):
    x = trial.suggest_float("x", -5, 5)
    run = subprocess.run([{command}, repr(x)], env=adbo.program_environment(),
                         stdout=subprocess.PIPE, check=True, text=True)
    ranks, value = run.stdout.splitlines()
    trial.set_user_attr("ranks", int(ranks.split()[1]))
    return float(value)
"""


@pytest.mark.parametrize("kind", ["study.toml", "objective.py:objective"])
@pytest.mark.parametrize("size", [None, 2], ids=["singleton", "mpiexec"])
def test_a_program_that_uses_mpi(adbo, launcher, tmp_path: Path, size, kind: str) -> None:
    script = tmp_path / "parallel.py"
    script.write_text(PARALLEL)
    start = [] if size is None else [*launcher.command, "-n", str(size)]
    words = [*start, launcher.python, str(script)]
    (tmp_path / "study.toml").write_text(STUDY.format(command=str([*words, "{x}"])[1:-1]))
    (tmp_path / "objective.py").write_text(OBJECTIVE.format(command=str(words)[1:-1]))
    options = ["--study-name", "p", "--trials", "4", "--seed", "1"]
    status, _, err = adbo(2, "run", kind, *options, launcher=launcher)
    trials = check_sound(load(tmp_path, "p"))
    assert status == 0, (err, _reasons(trials))
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}, _reasons(trials)
    for trial in trials:
        assert trial.user_attrs["ranks"] == (size or 1)
        expected = sum((trial.params["x"] - rank) ** 2 for rank in range(size or 1))
        assert trial.value == pytest.approx(expected, rel=1e-12)


ENDLESS = """\
command = ["sh", "-c", "sleep 600 & echo $$ $! > pids.part; mv pids.part pids; wait"]
keep = "failed"

[parameters.x]
kind = "float"
low = 0
high = 1
"""


def test_the_end_of_a_run_ends_the_programs(start_job, tmp_path: Path) -> None:
    (tmp_path / "endless.toml").write_text(ENDLESS)
    job = start_job(2, "-m", "adbo", "run", "endless.toml", "--study-name", "e", "--trials", "9")
    files = tmp_path / "trials"
    wait_for(lambda: len(list(files.glob("*/pids"))) == 2, "a program of each rank")
    job.process.terminate()
    status, _, err = job.end(timeout=60)
    assert status != 0, err
    processes = [int(word) for path in files.glob("*/pids") for word in path.read_text().split()]
    assert len(processes) == 4
    wait_for(lambda: not any(map(_is_alive, processes)), "the end of the programs")
    assert load(tmp_path, "e").trials == []


def _is_alive(process: int) -> bool:
    """Return whether a process runs; one that ended and was not yet waited for does not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.slow
def test_a_wrong_study_file_is_one_line(adbo, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY.format(command="'./gone', '{x}'"))
    status, out, err = adbo(2, "run", "study.toml", "--trials", "9")
    assert (status, out) == (2, "")
    assert err == "adbo: study.toml: command: there is no program ./gone\n"
    assert not list(tmp_path.glob("*.db"))


def test_a_group_of_ranks_starts_one_program(adbo, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY.format(command="'echo', '{x}'"))
    options = ["--study-name", "g", "--trials", "6", "--ranks-per-trial", "2"]
    status, _, err = adbo(2, "run", "study.toml", *options)
    assert status == 0, err
    trials = check_sound(load(tmp_path, "g"))
    assert len(trials) == len(os.listdir(tmp_path / "trials")) == 6
    assert [trial.value for trial in trials] == [trial.params["x"] for trial in trials]
