"""Programs that use MPI as objectives in Slurm jobs, compiled with MPICH's compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import optuna
import pytest
from cluster import Cluster, wait_for
from debian import installed
from optuna.trial import FrozenTrial, TrialState

#: MPICH's launcher, also where the environment of Python is not activated.
_SCRIPTS = sysconfig.get_path("scripts")
MPIEXEC = shutil.which("mpiexec", path=_SCRIPTS) or shutil.which("mpiexec")

SOURCE = """\
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    int rank, size;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    double part = (atof(argv[1]) - rank) * (atof(argv[1]) - rank), sum;
    MPI_Reduce(&part, &sum, 1, MPI_DOUBLE, MPI_SUM, 0, MPI_COMM_WORLD);
    if (rank == 0)
        printf("ranks %d\\nnode %s\\n%.17g\\n", size, getenv("SLURMD_NODENAME"), sum);
    MPI_Finalize();
    return 0;
}
"""

STUDY = """\
command = "{command} ./parallel {{x}}"
timeout = 60
{more}

[parameters.x]
kind = "float"
low = -5
high = 5

[attributes]
ranks.regex = "ranks (.*)"
node.regex = "node (.*)"
"""

ON_ITS_NODE = "srun --overlap --mpi=pmi2 --nodes=1 --ntasks=2 --nodelist={env.SLURMD_NODENAME}"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    installed("gcc libc6-dev", lambda: shutil.which("gcc"))
    compiler = shutil.which("mpicc", path=sysconfig.get_path("scripts")) or shutil.which("mpicc")
    assert compiler is not None, "the extra mpich brings an mpicc"
    (tmp_path / "parallel.c").write_text(SOURCE)
    command = [compiler, "-cc=gcc", "-o", "parallel", "parallel.c"]
    subprocess.run(command, cwd=tmp_path, check=True)
    return tmp_path


def _write(place: Path, command: str, more: str = "") -> None:
    (place / "study.toml").write_text(STUDY.format(command=command, more=more))


def _check(place: Path, job: str, size: int) -> list[FrozenTrial]:
    """Return the trials, whose programs ran on this number of ranks."""
    output = "".join(path.read_text() for path in place.glob(f"job-{job}*.out"))
    trials = optuna.load_study(study_name="s", storage=f"sqlite:///{place}/s.db").trials
    reasons = {trial.user_attrs.get("adbo:fail_reason") for trial in trials}
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}, (reasons, output)
    assert {trial.user_attrs["ranks"] for trial in trials} == {size}
    for trial in trials:
        expected = sum((trial.params["x"] - rank) ** 2 for rank in range(size))
        assert trial.value == pytest.approx(expected, rel=1e-12)
    return trials


@pytest.mark.parametrize(
    ("command", "size", "more"),
    [
        (ON_ITS_NODE, 2, ""),
        ("", 1, ""),
        (f"{MPIEXEC} -launcher fork -host localhost -n 2", 2, ""),
        (f"{MPIEXEC} -n 2", 2, 'unset = ["SLURM_*"]'),
    ],
    ids=["srun", "singleton", "mpiexec by fork", "mpiexec without Slurm"],
)
def test_programs_of_ranks(cluster: Cluster, place: Path, command: str, size: int, more) -> None:
    _write(place, command, more)
    job = cluster.submit(place, OBJECTIVE="study.toml", STUDY="s", TRIALS="8")
    assert cluster.end(job) == "COMPLETED", (place / f"job-{job}.out").read_text()
    nodes = {trial.user_attrs["node"] for trial in _check(place, job, size)}
    if command == ON_ITS_NODE:
        assert nodes == {"n1", "n2"}


@pytest.mark.parametrize("command", ["", ON_ITS_NODE], ids=["singleton", "srun"])
def test_programs_of_ranks_of_open_mpi(
    cluster: Cluster, place: Path, open_mpi: dict[str, str], command: str
) -> None:
    _write(place, command)
    launcher = "srun --mpi=pmix --kill-on-bad-exit=1"
    environment = {**open_mpi, "LAUNCHER": launcher}
    job = cluster.submit(place, OBJECTIVE="study.toml", STUDY="s", TRIALS="8", **environment)
    assert cluster.end(job) == "COMPLETED", (place / f"job-{job}.out").read_text()
    _check(place, job, 2 if command else 1)


def test_programs_of_a_job_array(cluster: Cluster, place: Path) -> None:
    """Each task of the array is one process of adbo, and has two tasks for its program."""
    _write(place, "srun --overlap --mpi=pmi2 --ntasks=2")
    script = str(Path(__file__).parents[2] / "slurm" / "array.sbatch")
    environment = {
        "OBJECTIVE": "study.toml",
        "STUDY": "s",
        "TRIALS": "8",
        "STORAGE": f"sqlite:///{place}/s.db",
    }
    options = ("--parsable", "--array=1-2", "--ntasks=2", "--nodes=1", "--output=job-%A_%a.out")
    job = cluster.call("sbatch", *options, script, cwd=place, **environment).strip()
    for task in ("1", "2"):
        assert cluster.end(f"{job}_{task}") == "COMPLETED", _output(place)
    trials = _check(place, job, 2)
    assert len(os.listdir(place / "trials")) == len(trials)


def test_the_time_limit_ends_what_srun_started(cluster: Cluster, place: Path) -> None:
    (place / "study.toml").write_text(HANGING)
    job = cluster.submit(place, "--nodes=1", OBJECTIVE="study.toml", STUDY="s")
    trials = place / "trials"

    def started() -> dict[Path, list[str]]:
        """Return the processes of each trial that has all of them."""
        found: dict[Path, list[str]] = {}
        for path in trials.glob("*/pid-*"):
            found.setdefault(path.parent, []).append(path.name.removeprefix("pid-"))
        return {path: processes for path, processes in found.items() if len(processes) == 2}

    wait_for(started, 60, "a program")
    path, processes = next(iter(started().items()))
    wait_for(lambda: len(started()) > 2, 60, f"the programs after {path}")
    wait_for(
        lambda: not any(Path("/proc", process).exists() for process in processes),
        20,
        "the end of the first program",
    )
    assert cluster.state(job) == "RUNNING"
    cluster.call("scancel", job)
    cluster.end(job)


HANGING = """\
command = ["srun", "--overlap", "--nodes=1", "--ntasks=2", "sh", "-c", "touch pid-$$; sleep 600"]
timeout = 3

[parameters.x]
kind = "float"
low = 0
high = 1
"""


def _output(place: Path) -> str:
    return "".join(path.read_text() for path in place.glob("job-*.out"))
