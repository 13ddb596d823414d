"""``sbatch slurm/study.sbatch`` on two nodes: what ends a job loses nothing that was finished."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import sysconfig
from pathlib import Path

import optuna
import pytest
from cluster import ROOT, Cluster, wait_for
from optuna.trial import FrozenTrial
from shared import few_more

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
    mine = {"OBJECTIVE": "sleeper.py:objective", "STUDY": "adbo", **environment}
    return cluster.submit(place, *arguments, **mine)


def _trials(place: Path, name: str = "adbo") -> list[FrozenTrial]:
    file = place / f"{name}.db"
    assert file.exists()  # else Optuna would make one
    return optuna.load_study(study_name=name, storage=f"sqlite:///{file}").trials


def _check(place: Path) -> list[FrozenTrial]:
    """Return the trials: each finished evaluation once, numbered without gaps."""
    trials = _trials(place)
    finished = sorted(map(float, (place / "finished").read_text().split()))
    assert sorted(trial.params["x"] for trial in trials) == finished
    assert [trial.number for trial in trials] == list(range(len(trials)))
    names = {(trial.user_attrs["adbo:rank"], trial.user_attrs["adbo:seq"]) for trial in trials}
    assert len(names) == len(trials)
    return trials


def _output(place: Path, job: str) -> str:
    return (place / f"job-{job}.out").read_text()


def _at_work(place: Path, n: int = 12) -> None:
    """Wait until the database has this number of trials."""

    file = place / "adbo.db"

    def is_so() -> bool:
        try:  # only to read: Optuna would make the tables that it misses
            with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
                return database.execute("SELECT count(*) FROM trials").fetchone()[0] >= n
        except sqlite3.OperationalError:  # it may not be there, or only half
            return False

    wait_for(is_so, 60, f"{n} trials")


def test_a_study_on_two_nodes_and_once_more(cluster: Cluster, place: Path) -> None:
    job = _submit(cluster, place, TRIALS="30")
    assert cluster.end(job) == "COMPLETED", _output(place, job)
    trials = _check(place)
    assert len(trials) in few_more(30, 4)
    assert {trial.user_attrs["node"] for trial in trials} == {"n1", "n2"}
    again = _submit(cluster, place, TRIALS="30")
    assert cluster.end(again) == "COMPLETED", _output(place, again)
    assert "already has its 30 trials" in _output(place, again)
    assert len(_check(place)) == len(trials)


def test_the_time_limit_and_the_same_again(cluster: Cluster, place: Path) -> None:
    disk = place / "disk"
    disk.mkdir()
    # A minute is the shortest limit that Slurm knows.
    job = _submit(cluster, place, "--time=1", TRIALS="100000", NODE_DISK=str(disk))
    assert cluster.end(job) == "COMPLETED", _output(place, job)
    assert "submit the same job again to go on" in _output(place, job)
    n = len(_check(place))
    assert n > 100
    assert not list(disk.iterdir())
    again = _submit(cluster, place, TRIALS=str(n + 20))
    assert cluster.end(again) == "COMPLETED", _output(place, again)
    assert len(_check(place)) in few_more(n + 20, 4)


def test_a_signal(cluster: Cluster, place: Path) -> None:
    job = _submit(cluster, place, TRIALS="100000")
    _at_work(place)
    # To the ranks, as `sbatch --signal` does it.
    cluster.call("scancel", "--signal=USR1", job)
    assert cluster.end(job, 60) == "FAILED", _output(place, job)
    assert "stopped early: SIGUSR1" in _output(place, job)
    _check(place)


def test_a_node_fails(cluster: Cluster, place: Path) -> None:
    """Slurm puts the job back into the queue by itself, and it goes on."""
    job = _submit(cluster, place, TRIALS="60")
    _at_work(place, 20)
    before = {trial.params["x"] for trial in _trials(place)}
    cluster.call("scontrol", "update", "NodeName=n2", "State=DOWN", "Reason=test")
    wait_for(lambda: cluster.restarts(job) == 1, 30, "the job's way back into the queue")
    with contextlib.suppress(AssertionError):  # it may be back already, since its slurmd lives
        cluster.call("scontrol", "update", "NodeName=n2", "State=RESUME")
    assert cluster.end(job) == "COMPLETED", _output(place, job)
    trials = _trials(place)
    assert len(trials) in few_more(60, 4)
    assert before <= {trial.params["x"] for trial in trials}
    assert [trial.number for trial in trials] == list(range(len(trials)))


def test_a_job_queues_itself_until_the_study_is_done(cluster: Cluster, place: Path) -> None:
    """When ranks die, which makes Slurm end the others, and when the time is up."""
    job = _submit(cluster, place, "--", "--timeout", "8", TRIALS="150", REQUEUES="9")
    _at_work(place, 24)
    before = {trial.params["x"] for trial in _trials(place)}
    for rank in _ranks(job, "n2"):
        os.kill(rank, signal.SIGKILL)
    assert cluster.end(job) == "COMPLETED", _output(place, job)
    assert "ended with status 137, queued again to go on" in _output(place, job)
    assert "ended with status 0, queued again to go on" in _output(place, job)
    assert 2 <= cluster.restarts(job) <= 9
    trials = _trials(place)
    assert len(trials) in few_more(150, 4)
    assert before <= {trial.params["x"] for trial in trials}
    assert [trial.number for trial in trials] == list(range(len(trials)))


def test_open_mpi_goes_on_without_them(
    cluster: Cluster, place: Path, open_mpi: dict[str, str]
) -> None:
    mpirun = f"{open_mpi['PREFIX']}/bin/mpirun --continuous --with-ft ulfm"
    job = _submit(cluster, place, TRIALS="100", **{**open_mpi, "LAUNCHER": mpirun})
    _at_work(place, 20)
    for rank in _ranks(job, "n2"):
        os.kill(rank, signal.SIGKILL)
    assert cluster.end(job) == "COMPLETED", _output(place, job)
    assert "adbo: ranks [2, 3] died" in _output(place, job)
    trials = _trials(place)
    assert len(trials) >= 100
    assert {trial.user_attrs["node"] for trial in trials[-20:]} == {"n1"}


def test_open_mpi_by_srun(cluster: Cluster, place: Path, open_mpi: dict[str, str]) -> None:
    launcher = "srun --mpi=pmix --kill-on-bad-exit=1"
    job = _submit(cluster, place, TRIALS="20", **{**open_mpi, "LAUNCHER": launcher})
    assert cluster.end(job) == "COMPLETED", _output(place, job)
    assert {trial.user_attrs["node"] for trial in _check(place)} == {"n1", "n2"}


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
    """As its first lines say, and by nothing but them."""
    text = (ROOT / "slurm" / "study.sbatch").read_text()
    head, ruler, rest = text.partition("# ---")
    for line, edited in (
        ("##SBATCH --gpus-per-node=4", "#SBATCH --gpus-per-node=2"),
        ("--ntasks-per-node=32", "--ntasks-per-node=2"),
        ("{OBJECTIVE:-objective.py:objective}", "{OBJECTIVE:-sleeper.py:objective}"),
        ("{STUDY-my-study}", "{STUDY-adbo}"),
        ("{TRIALS-10000}", "{TRIALS-16}"),
    ):
        assert line in head
        head = head.replace(line, edited)
    (place / "study.sbatch").write_text(head + ruler + rest)
    job = cluster.call("sbatch", "--parsable", "study.sbatch", cwd=place).strip()
    assert cluster.end(job) == "COMPLETED", (place / f"adbo-{job}.out").read_text()
    seen = {(t.user_attrs["node"], t.user_attrs["gpu"]) for t in _check(place)}
    # Both nodes are one machine, so adbo counts the ranks of both.
    assert {gpu for _, gpu in seen} == {"0", "1"}


def test_jobs_that_share_a_node_keep_to_their_gpus(cluster: Cluster, place: Path) -> None:
    options = ("--nodes=1", "--nodelist=n1", "--gpus-per-node=1")
    names = ("one", "other")
    jobs = [_submit(cluster, place, *options, STUDY=name, TRIALS="20") for name in names]
    for job in jobs:
        assert cluster.end(job) == "COMPLETED", _output(place, job)
    gpus = [{t.user_attrs["gpu"] for t in _trials(place, name)} for name in names]
    assert sorted(map(sorted, gpus)) == [["0"], ["1"]]


def test_several_ranks_for_each_evaluation_by_mpirun(cluster: Cluster, place: Path) -> None:
    (place / "sleeper.py").write_text(
        "import os\n"
        "def objective(trial):\n"
        "    x = trial.suggest_float('x', -5, 5)\n"
        "    trial.set_user_attr('node', os.environ['SLURMD_NODENAME'])\n"
        "    assert trial.comm.Get_size() == 2\n"
        "    return trial.comm.allreduce(x * x / 2)\n"
    )
    mpirun = shutil.which("mpirun", path=sysconfig.get_path("scripts")) or "mpirun"
    job = _submit(cluster, place, TRIALS="20", RANKS_PER_TRIAL="2", LAUNCHER=mpirun)
    assert cluster.end(job) == "COMPLETED", _output(place, job)
    trials = _trials(place)
    assert all(t.value == pytest.approx(t.params["x"] ** 2) for t in trials)
    assert {t.user_attrs["node"] for t in trials} == {"n1", "n2"}


def test_a_file_on_the_disk_of_the_node(cluster: Cluster, place: Path) -> None:
    """It is copied home from time to time, and in the end, however that comes."""
    disk = place / "disk"
    disk.mkdir()
    often = {"NODE_DISK": str(disk), "COPY_SECONDS": "1"}
    job = _submit(cluster, place, TRIALS="100000", **often)
    _at_work(place)  # at home, while the run goes on
    assert (disk / f"adbo-{job}.db").exists()
    cluster.call("scancel", job)
    assert cluster.end(job) == "CANCELLED"
    n = len(_check(place))
    assert not list(disk.iterdir())
    # Nothing is left of a job whose node dies but what was copied before.
    job = _submit(cluster, place, TRIALS="100000", **often)
    _at_work(place, n + 12)
    cluster.call("scancel", "--full", "--signal=KILL", job)
    assert cluster.end(job) == "CANCELLED"
    assert len(_trials(place)) >= n + 12


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


def test_a_job_array_of_single_processes(cluster: Cluster, place: Path) -> None:
    """They start at once, without MPI, and find each other by the study alone."""
    command = (
        f"{sys.executable} -m adbo run sleeper.py:objective --study-name adbo --resume"
        " --storage sqlite:///adbo.db --trials 200 --json $SLURM_ARRAY_TASK_ID.json"
    )
    options = ("--parsable", "--array=1-8", "--ntasks=1", "--output=job-%a.out")
    job = cluster.call("sbatch", *options, f"--wrap={command}", cwd=place).strip()

    def has_ended() -> bool:
        states = re.findall(r"JobState=(\w+)", cluster.call("scontrol", "show", "job", job))
        return not {"PENDING", "CONFIGURING", "RUNNING", "COMPLETING"} & set(states)

    wait_for(has_ended, 240, "the end of all tasks")
    outputs = [(place / f"job-{task}.out").read_text() for task in range(1, 9)]
    states = re.findall(r"JobState=(\w+)", cluster.call("scontrol", "show", "job", job))
    assert set(states) == {"COMPLETED"}, outputs
    trials = _check(place)
    # In the two seconds in which jobs hear of each other, each makes at most seven evaluations.
    assert 200 <= len(trials) <= 200 + 8 * 8
    summaries = [json.loads((place / f"{task}.json").read_text()) for task in range(1, 9)]
    assert sum(summary["n_own"] for summary in summaries) == len(trials)
    assert len({trial.user_attrs["adbo:seq"] // 10**9 for trial in trials}) == 8
    assert sum("joins a running study" in output for output in outputs) >= 1, outputs


@pytest.mark.parametrize(
    "more", [["--nodes", "2", "--ranks-per-node", "2"], ["--array", "3"]], ids=["ranks", "array"]
)
def test_what_jobscript_writes_is_submitted_unchanged(
    cluster: Cluster, place: Path, more: list[str]
) -> None:
    options = ["--objective", "sleeper.py:objective", "--study-name", "adbo", "--trials", "20"]
    options += ["--storage", f"sqlite:///{place}/adbo.db", "--time", "0:05", *more]
    script = place / "adbo.sbatch"
    with script.open("w") as file:
        command = [sys.executable, "-m", "adbo", "jobscript", "slurm", *options]
        subprocess.run(command, cwd=ROOT, stdout=file, check=True)
    job = cluster.call("sbatch", "--parsable", script.name, cwd=place).strip()
    tasks = [job] if "--array" not in more else [f"{job}_{task}" for task in (1, 2, 3)]
    for task in tasks:
        assert cluster.end(task) == "COMPLETED", [f.read_text() for f in place.glob("adbo-*.out")]
    trials = _check(place)
    assert 20 <= len(trials) <= 80  # news take a second, and an evaluation a third of it
    assert {trial.user_attrs["node"] for trial in trials} <= {"n1", "n2"}


def test_slurm_understands_the_script_for_pbs(cluster: Cluster, place: Path) -> None:
    """sbatch reads the directives of PBS, too. There is no PBS here to read them."""
    options = ["--objective", "sleeper.py:objective", "--study-name", "adbo", "--trials", "20"]
    options += ["--nodes", "2", "--ranks-per-node", "2", "--time", "0:05"]
    script = place / "study.pbs"
    with script.open("w") as file:
        command = [sys.executable, "-m", "adbo", "jobscript", "pbs", *options]
        subprocess.run(command, cwd=ROOT, stdout=file, check=True)
    launcher = "srun --mpi=pmi2 --kill-on-bad-exit=1"
    job = cluster.call("sbatch", "--parsable", script.name, cwd=place, LAUNCHER=launcher).strip()
    described = cluster.call("scontrol", "show", "job", job)
    for field in ("JobName=adbo", "NumNodes=2", "TimeLimit=00:05:00", "Requeue=1"):
        assert re.search(rf"\b{field}\b", described), described
    assert cluster.end(job) == "COMPLETED", [f.read_text() for f in place.glob("*.o*")]
    trials = _check(place)
    assert {trial.user_attrs["adbo:rank"] for trial in trials} == {0, 1, 2, 3}
