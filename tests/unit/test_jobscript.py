"""``adbo jobscript``: the scripts, what options change, and what the scripts then do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import kubernetes_validate
import optuna
import pytest
import yaml

import adbo
from adbo.cli.jobscript import OPTIONS, script
from adbo.cli.main import main
from adbo.cli.parser import JOBSCRIPTS, make_parser

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "adbo" / "jobscripts"
RULER = re.compile(r"^# -{90,}\n", re.MULTILINE)

#: Characters that bash and YAML read as something else, where they are not escaped.
AWKWARD = "a\"b$HOME`id`'c}d\\e # f: {g} é\N{GRINNING FACE}"


def written(*arguments: str) -> str:
    """Return the script that the command line writes."""
    return script(make_parser().parse_args(["jobscript", *arguments]))


@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        (["slurm"], "study.sbatch"),
        (["slurm", "--array", "32"], "array.sbatch"),
        (["pbs"], "study.pbs"),
        (["lsf"], "study.lsf"),
        (["flux"], "study.flux"),
        (["kubernetes"], "kubernetes.yaml"),
        (["mpijob"], "mpijob.yaml"),
        (["docker"], "Dockerfile"),
        (["apptainer"], "adbo.def"),
    ],
)
def test_the_defaults_are_those_of_the_file(
    arguments: list[str], file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (TEMPLATES / file).read_text()
    assert main(["jobscript", *arguments]) == 0
    assert capsys.readouterr().out == text.replace("@VERSION@", adbo.__version__)
    if file.endswith(".sbatch"):
        assert (ROOT / "slurm" / file).read_text() == text


def test_every_kind_says_which_options_it_takes() -> None:
    assert tuple(OPTIONS) == JOBSCRIPTS


def test_images_have_the_installed_version() -> None:
    assert f'"adbo[postgresql]=={adbo.__version__}"' in written("docker")
    assert f'"adbo[mpich,postgresql]=={adbo.__version__}"' in written("apptainer")


JOB = ["--nodes", "3", "--ranks-per-node", "5", "--time", "26:30"]


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (
            ["slurm", *JOB],
            ["#SBATCH --nodes=3", "#SBATCH --ntasks-per-node=5", "#SBATCH --time=26:30:00"],
        ),
        (
            ["slurm", "--array", "7", "--time", "0:30:59"],
            ["#SBATCH --array=1-7", "#SBATCH --time=00:30:59"],
        ),
        (
            ["pbs", *JOB],
            ["#PBS -l select=3:ncpus=5:mpiprocs=5", "#PBS -l walltime=26:30:00"],
        ),
        (
            ["pbs", "--array", "7"],
            ["#PBS -J 1-7", "#PBS -l select=1:ncpus=1", 'LAUNCHER="${LAUNCHER-}"'],
        ),
        (["lsf", *JOB], ["#BSUB -n 15", '#BSUB -R "span[ptile=5]"', "#BSUB -W 26:30"]),
        (
            ["lsf", "--array", "7", "--time", "0:30:59"],
            ['#BSUB -J "adbo[1-7]"', "#BSUB -n 1", "#BSUB -W 00:31", 'LAUNCHER="${LAUNCHER-}"'],
        ),
        (
            ["flux", *JOB],
            [
                "# flux: --nodes=3",
                "# flux: --nslots=15",
                "# flux: --time-limit=1590m",
                'LAUNCHER="${LAUNCHER-flux run --nodes=3 --ntasks=15}"',
            ],
        ),
        (
            ["kubernetes", "--study-name", "10000", "--trials", "5"],
            ['            - "10000"', '            - "5"'],
        ),
        (
            ["mpijob", "--study-name", "16", "--trials", "5", "--nodes", "2"],
            ['                - "16"', '                - "8"', '                - "5"'],
        ),
    ],
)
def test_options_change_the_requests(arguments: list[str], lines: list[str]) -> None:
    assert set(lines) <= set(written(*arguments).splitlines())


def test_an_array_of_one_task_is_an_ordinary_job_of_pbs() -> None:
    text = written("pbs", "--array", "1")
    assert "#PBS -J" not in text
    assert "#PBS -l select=1:ncpus=1\n" in text


BATCH = ["slurm", "pbs", "lsf", "flux"]


@pytest.mark.parametrize("kind", BATCH)
def test_settings_are_the_texts_that_were_given(kind: str) -> None:
    given = {"OBJECTIVE": f"{AWKWARD}.py:f", "STUDY": AWKWARD, "STORAGE": f"sqlite:///{AWKWARD}"}
    options = ["--objective", given["OBJECTIVE"], "--study-name", AWKWARD, "--trials", "12"]
    text = written(kind, *options, "--storage", given["STORAGE"], "--time", "0:10")
    settings = RULER.split(text)[0] + "".join(
        f'printf "%s\\n" "${name}"\n' for name in (*given, "TRIALS")
    )
    environment = {"PATH": os.environ["PATH"], "HOME": "/nowhere", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        ["bash", "-u"], input=settings, env=environment, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == [*given.values(), "12"], done.stderr
    if kind != "slurm":
        assert "${TIMEOUT:-540}" in text


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["docker", "--trials", "3"], "docker has no --trials: it takes no options"),
        (["flux", "--array", "3"], "flux has no --array: it takes --objective, "),
        (["kubernetes", "--storage", "sqlite:///a.db"], "kubernetes has no --storage"),
        (["slurm", "--array", "3", "--nodes", "2"], "use it without --nodes"),
        (["slurm", "--study-name", "a/b"], "study-name is 'a/b': it must have none of / % ?"),
        (["lsf", "--study-name", "a%20b"], "study-name is 'a%20b': it must have none of / % ?"),
        (["pbs", "--study-name", "a?b"], "study-name is 'a?b': it must have none of / % ?"),
        (["slurm", "--objective", "a\nb"], "objective is 'a\\nb': it must be a text on one line"),
        (["pbs", "--storage", " "], "storage is ' '"),
        (["pbs", "--time", "0:00:59"], "'0:00:59' is not a time of a minute or more"),
        (["pbs", "--time", "2"], "'2' is not a time"),
        (["lsf", "--nodes", "0"], "'0' is not a positive integer"),
        (["mpijob", "--objective", "a.toml"], "'a.toml': mpijob cannot bring the files of a"),
        (["moab"], "invalid choice: 'moab'"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["jobscript", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert complaint in err


def test_the_scripts_differ_above_the_ruler_only() -> None:
    bodies = {RULER.split(written(kind))[1] for kind in ("pbs", "lsf", "flux")}
    assert len(bodies) == 1


def test_the_scripts_are_sound(tmp_path: Path) -> None:
    program = Path(sysconfig.get_path("scripts")) / "shellcheck"
    scripts = []
    for kind in ("pbs", "lsf", "flux"):
        scripts.append(tmp_path / kind)
        scripts[-1].write_text(written(kind))
    done = subprocess.run([program, *scripts], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


OBJECTIVE = """\
def objective(trial):
    return trial.suggest_float("x", -5, 5) ** 2
"""

#: Takes two ranks for as many as it is asked for, as `flux run` would be asked within a job.
FLUX = """\
#!/bin/sh
echo "$1 $2 $3" >> "$PWD/flux-calls"
shift 3
exec mpiexec -n 2 "$@"
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "objective.py").write_text(OBJECTIVE)
    (tmp_path / "nodes").write_text("localhost\nlocalhost\n")
    flux = tmp_path / "bin" / "flux"
    flux.parent.mkdir()
    flux.write_text(FLUX)
    flux.chmod(0o755)
    return tmp_path


def run(place: Path, text: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script as its batch system would on one node: the variables that it sets, no more."""
    (place / "job").write_text(text)
    path = os.pathsep.join([str(place / "bin"), sysconfig.get_path("scripts"), os.environ["PATH"]])
    fixed = {"PYTHON": sys.executable, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        ["bash", place / "job"],
        cwd=place,
        env={**os.environ, "PATH": path, **fixed, **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.mpi
@pytest.mark.parametrize(
    ("kind", "environment"),
    [
        ("pbs", {"PBS_NODEFILE": "nodes", "PBS_O_WORKDIR": "."}),
        ("lsf", {"LSB_DJOB_NUMPROC": "2", "LS_SUBCWD": "."}),
        ("flux", {}),
    ],
)
def test_a_script_runs_a_study_on_its_ranks(
    place: Path, kind: str, environment: dict[str, str]
) -> None:
    """The batch systems themselves are not here: this is what they would start."""
    done = run(place, written(kind, "--trials", "20", "--study-name", "s1"), **environment)
    assert done.returncode == 0, done.stderr
    trials = optuna.load_study(study_name="s1", storage=f"sqlite:///{place}/s1.db").trials
    assert len(trials) >= 20
    assert {trial.user_attrs["adbo:rank"] for trial in trials} == {0, 1}
    if kind == "flux":
        assert (place / "flux-calls").read_text() == "run --nodes=2 --ntasks=64\n"


def test_a_task_of_an_array_is_one_process(place: Path) -> None:
    text = written("pbs", "--array", "4", "--trials", "5", "--study-name", "s1")
    refused = run(place, text, DATABASE_URL="")
    assert refused.returncode == 2
    assert refused.stderr == "adbo job: STORAGE is empty: it must be the URL of a database\n"
    url = f"sqlite:///{place}/array.db"
    done = run(place, text, DATABASE_URL=url)
    assert done.returncode == 0, done.stderr
    assert len(optuna.load_study(study_name="s1", storage=url).trials) == 5


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("OBJECTIVE", "nowhere.py:objective", "OBJECTIVE: there is no file nowhere.py in"),
        ("STUDY", "a/b", "STUDY must be a name, without slashes"),
        ("STUDY", "a%20b", "/a%20b.db has a % or ?: use another STUDY or directory, or set STOR"),
        ("STUDY", "a?b", "/a?b.db has a % or ?"),
        ("LAUNCHER", "mpiexec-nowhere -x", "LAUNCHER: there is no mpiexec-nowhere"),
        ("PYTHON", "/bin/false", "PYTHON: /bin/false has no adbo"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    place: Path, variable: str, value: str, complaint: str
) -> None:
    done = run(place, written("lsf"), **{variable: value})
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert complaint in done.stderr


def manifest(*arguments: str) -> dict[str, Any]:
    return yaml.safe_load(written(*arguments))


def arguments_of_run(container: dict[str, Any]) -> Any:
    """Return the options of ``adbo run`` in the command of a container."""
    command = container["command"]
    return make_parser().parse_args(command[command.index("adbo") + 1 :])


STUDY = ["--objective", "code/mine.py:f", "--study-name", AWKWARD, "--trials", "77"]


def test_pods_of_a_job() -> None:
    job = manifest("kubernetes", *STUDY, "--array", "5")
    kubernetes_validate.validate(job, kubernetes_validate.latest_version(), strict=True)
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == 5
    options = arguments_of_run(job["spec"]["template"]["spec"]["containers"][0])
    assert (options.objective, options.study_name) == ("/objective/mine.py:f", AWKWARD)
    assert options.trials == 77
    assert options.resume
    text = written("kubernetes", *STUDY)
    assert "--from-file=code/mine.py" in text
    assert text.isascii()  # the locale may have an encoding that YAML has not
    spaced = written("kubernetes", "--objective", "my code/mine.py:f")
    assert "--from-file='my code/mine.py'" in spaced


def test_ranks_of_an_mpijob() -> None:
    job = manifest("mpijob", *STUDY, "--nodes", "3", "--ranks-per-node", "2")
    assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v2beta1", "MPIJob")
    spec = job["spec"]
    # The fields of mpi-operator's types.go that are used here.
    assert set(spec) == {
        "mpiImplementation",
        "slotsPerWorker",
        "launcherCreationPolicy",
        "runPolicy",
        "mpiReplicaSpecs",
    }
    assert set(spec["runPolicy"]) == {"cleanPodPolicy", "backoffLimit"}
    replicas = spec["mpiReplicaSpecs"]
    assert {name: each["replicas"] for name, each in replicas.items()} == {
        "Launcher": 1,
        "Worker": 3,
    }
    for each in replicas.values():
        # Its pods are those of Kubernetes, whose schema knows them as the pods of a Job.
        template = each["template"]
        pod = {**template, "spec": {**template["spec"], "restartPolicy": each["restartPolicy"]}}
        as_job = {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": pod}}
        kubernetes_validate.validate(as_job, kubernetes_validate.latest_version(), strict=True)
    (launcher,) = replicas["Launcher"]["template"]["spec"]["containers"]
    assert launcher["command"][:5] == ["mpirun", "--hostfile", "/etc/mpi/hostfile", "-n", "6"]
    assert spec["slotsPerWorker"] == 2
    options = arguments_of_run(launcher)
    assert (options.objective, options.study_name) == ("/objective/mine.py:f", AWKWARD)


def test_the_schemas_refuse_what_is_wrong() -> None:
    job = manifest("kubernetes")
    job["spec"]["paralelism"] = job["spec"].pop("parallelism")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("objective", ["package.module:f", "/opt/study.toml"])
def test_an_objective_of_the_image_stays_as_it_is(objective: str) -> None:
    job = manifest("kubernetes", "--objective", objective)
    options = arguments_of_run(job["spec"]["template"]["spec"]["containers"][0])
    assert options.objective == objective
