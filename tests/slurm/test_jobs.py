"""``sbatch slurm/study.sbatch`` on two nodes: what ends a job loses nothing that was finished."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sysconfig
from pathlib import Path

import optuna
import pytest
from cluster import ROOT, Cluster, wait_for
from optuna.trial import FrozenTrial

#: Every evaluation that comes to its end is a line of a file.
OBJECTIVE = """\
import os, time

def objective(trial):
    x = trial.suggest_float("x", -5, 5)
    trial.set_user_attr("gpu", os.environ.get("CUDA_VISIBLE_DEVICES", ""))
    trial.set_user_attr("node", os.environ["SLURMD_NODENAME"])
    time.sleep(0.3)
    with open("finished", "a") as file:
        file.write(f"{x!r}\\n")
    return x * x
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "sleeper.py").write_text(OBJECTIVE)
    return tmp_path


def _submit(cluster: Cluster, place: Path, *arguments: str, **environment: str) -> str:
    return cluster.submit(place, *arguments, OBJECTIVE="sleeper.py:objective", **environment)


def _trials(place: Path, name: str = "adbo") -> list[FrozenTrial]:
    study = optuna.load_study(study_name=name, storage=f"sqlite:///{place}/{name}.db")
    return study.trials


def _check(place: Path) -> list[FrozenTrial]:
    """Every finished evaluation is there, once, and the numbers have no gaps."""
    trials = _trials(place)
    finished = sorted(map(float, (place / "finished").read_text().split()))
    assert sorted(trial.params["x"] for trial in trials) == finished
    assert [trial.number for trial in trials] == list(range(len(trials)))
    names = {(trial.user_attrs["adbo:rank"], trial.user_attrs["adbo:seq"]) for trial in trials}
    assert len(names) == len(trials)
    return trials


def _output(place: Path, job: str) -> str:
    return (place / f"job-{job}.out").read_text()


def _at_work(place: Path, n: int = 12, seconds: float = 60) -> None:
    """Wait until so many evaluations are in the database."""

    def is_so() -> bool:
        try:
            return len(_trials(place)) >= n
        except Exception:  # the study may not be there, or only half
            return False

    wait_for(is_so, seconds, f"{n} trials")


def test_a_study_on_two_nodes_and_once_more(cluster: Cluster, place: Path) -> None:
    job = _submit(cluster, place, TRIALS="30")
    assert cluster.end(job) == "COMPLETED", _output(place, job)
    trials = _check(place)
    assert 30 <= len(trials) <= 34
    assert {trial.user_attrs["node"] for trial in trials} == {"n1", "n2"}
    again = _submit(cluster, place, TRIALS="30")
    assert cluster.end(again) == "COMPLETED", _output(place, again)
    assert "already has its 30 trials" in _output(place, again)
    assert len(_check(place)) == len(trials)


def test_the_time_limit_and_the_same_again(cluster: Cluster, place: Path) -> None:
    # A minute is the shortest limit that Slurm knows.
    job = _submit(cluster, place, "--time=1", TRIALS="100000")
    assert cluster.end(job) == "COMPLETED", _output(place, job)
    assert "submit the same job again to go on" in _output(place, job)
    n = len(_check(place))
    assert n > 100
    again = _submit(cluster, place, TRIALS=str(n + 20))
    assert cluster.end(again) == "COMPLETED", _output(place, again)
    assert n + 20 <= len(_check(place)) <= n + 24


def test_a_job_queues_itself_until_the_study_is_done(cluster: Cluster, place: Path) -> None:
    job = _submit(cluster, place, "--", "--timeout", "3", TRIALS="60", REQUEUES="5")
    _at_work(place, 60, 120)
    assert cluster.end(job) == "COMPLETED", _output(place, job)
    assert 60 <= len(_check(place)) <= 64
    restarts = re.search(r"Restarts=(\d+)", cluster.call("scontrol", "show", "job", job))
    assert restarts is not None
    assert 1 <= int(restarts[1]) <= 5


@pytest.mark.parametrize("name", ["TERM", "USR1"])
def test_signals(cluster: Cluster, place: Path, name: str) -> None:
    job = _submit(cluster, place, TRIALS="100000")
    _at_work(place)
    # To the ranks, as `sbatch --signal` does it.
    cluster.call("scancel", f"--signal={name}", job)
    assert cluster.end(job, 30) == "FAILED", _output(place, job)
    assert f"stopped early: SIG{name}" in _output(place, job)
    _check(place)


def test_scancel_and_the_same_again(cluster: Cluster, place: Path) -> None:
    job = _submit(cluster, place, TRIALS="100000")
    _at_work(place)
    cluster.call("scancel", job)
    assert cluster.end(job, 60) == "CANCELLED"
    n = len(_check(place))
    again = _submit(cluster, place, TRIALS=str(n + 8))
    assert cluster.end(again) == "COMPLETED", _output(place, again)
    assert len(_check(place)) >= n + 8


def test_the_ranks_of_a_node_die(cluster: Cluster, place: Path) -> None:
    job = _submit(cluster, place, TRIALS="100000")
    _at_work(place, 30)
    for rank in _ranks(job, "n2"):
        os.kill(rank, signal.SIGKILL)
    assert cluster.end(job, 60) == "FAILED", _output(place, job)
    before = {trial.params["x"] for trial in _trials(place)}
    n = len(before)
    assert n >= 30
    again = _submit(cluster, place, TRIALS=str(n + 8))
    assert cluster.end(again) == "COMPLETED", _output(place, again)
    trials = _trials(place)
    assert len(trials) >= n + 8
    assert before <= {trial.params["x"] for trial in trials}
    assert [trial.number for trial in trials] == list(range(len(trials)))


def _ranks(job: str, node: str) -> list[int]:
    """The processes of a job's ranks on one node."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        wanted = {f"SLURM_JOB_ID={job}".encode(), f"SLURMD_NODENAME={node}".encode()}
        if wanted <= set(environment) and b"adbo" in command and b"slurmstepd" not in command:
            found.append(int(entry.name))
    assert len(found) == 2
    return found


def test_a_gpu_for_each_rank(cluster: Cluster, place: Path) -> None:
    job = _submit(cluster, place, "--gpus-per-node=2", "--", "--gpus-per-node", "2", TRIALS="16")
    assert cluster.end(job) == "COMPLETED", _output(place, job)
    seen = {(t.user_attrs["node"], t.user_attrs["gpu"]) for t in _check(place)}
    # Both nodes are one machine, so adbo counts the ranks of both.
    assert {gpu for _, gpu in seen} == {"0", "1"}


def test_several_ranks_for_each_evaluation(cluster: Cluster, place: Path) -> None:
    (place / "sleeper.py").write_text(
        "def objective(trial):\n"
        "    x = trial.suggest_float('x', -5, 5)\n"
        "    assert trial.comm.Get_size() == 2\n"
        "    return trial.comm.allreduce(x * x / 2)\n"
    )
    job = _submit(cluster, place, "--", "--ranks-per-trial", "2", TRIALS="20")
    assert cluster.end(job) == "COMPLETED", _output(place, job)
    assert all(t.value == pytest.approx(t.params["x"] ** 2) for t in _trials(place))


def test_a_file_on_the_disk_of_the_node(cluster: Cluster, place: Path) -> None:
    disk = place / "disk"
    disk.mkdir()
    for total in (12, 24):
        job = _submit(cluster, place, TRIALS=str(total), NODE_DISK=str(disk))
        assert cluster.end(job) == "COMPLETED", _output(place, job)
        assert f"sqlite:///{disk}/adbo-{job}.db" in _output(place, job)
        assert total <= len(_check(place)) <= total + 4
    assert not list(disk.iterdir())


def test_the_scaling_jobs(cluster: Cluster, place: Path) -> None:
    script = str(ROOT / "slurm" / "ackley_scaling.sh")
    sizes = {"WORKERS": "2 4", "SECONDS_EACH": "4", "ACKLEY_SLEEP": "0.1,0.03"}
    answer = cluster.call("bash", script, cwd=place, **sizes)
    jobs = re.findall(r"Submitted batch job (\d+)", answer)
    assert len(jobs) == 2
    for job, ranks in zip(jobs, (2, 4), strict=True):
        assert cluster.end(job) == "COMPLETED", [f.read_text() for f in place.glob("*.out")]
        trials = _trials(place, f"ackley-{ranks}-seed14")
        assert {trial.user_attrs["adbo:rank"] for trial in trials} == set(range(ranks))
        assert len(trials) > 10 * ranks


def test_the_scripts_are_sound() -> None:
    program = Path(sysconfig.get_path("scripts")) / "shellcheck"
    scripts = sorted(map(str, (ROOT / "slurm").iterdir()))
    assert len(scripts) == 2
    done = subprocess.run([program, *scripts], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
