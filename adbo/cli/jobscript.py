"""The command ``jobscript``: write a commented script for a batch system or a container.

The scripts are files in ``adbo/jobscripts``. Each works as it is. An option replaces the lines of
the file that say the same; everything else is edited in the file.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
from collections.abc import Callable
from importlib.resources import files

import adbo
from adbo.cli.output import DONE, FAILED, print_text
from adbo.core.errors import UsageError

#: The defaults of the options, as in the scripts: nodes, ranks of each, seconds (which the help
#: says, too), pods.
NODES, RANKS_PER_NODE, TIME, PODS = 2, 32, 4 * 3600, 16

#: The same of an MPIJob, whose pods are smaller than nodes.
WORKERS, RANKS_PER_WORKER = 4, 4

#: Seconds, and fraction of the time limit, that at most are kept for the start and the end.
_RESERVE_SECONDS, _RESERVE_FRACTION = 300, 0.1

_STUDY = ("objective", "study_name", "trials")
_RANKS = ("nodes", "ranks_per_node")

#: The options that each kind of script takes.
OPTIONS: dict[str, tuple[str, ...]] = {
    "slurm": (*_STUDY, *_RANKS, "time", "storage", "array"),
    "pbs": (*_STUDY, *_RANKS, "time", "storage", "array"),
    "lsf": (*_STUDY, *_RANKS, "time", "storage", "array"),
    "flux": (*_STUDY, *_RANKS, "time", "storage"),
    "kubernetes": (*_STUDY, "array"),
    "mpijob": (*_STUDY, *_RANKS),
    "docker": (),
    "apptainer": (),
}

#: Pairs of a text that a script has once and what takes its place.
Edits = list[tuple[str, str]]


def jobscript(options: argparse.Namespace) -> int:
    """Print the script, and return the exit status; raise UsageError if an option is wrong."""
    text = script(options).removesuffix("\n")
    return DONE if print_text(text, sys.stdout) else FAILED


def script(options: argparse.Namespace) -> str:
    """Return the text of the script that the options describe."""
    _check(options)
    name, edits = _EDITS[options.kind](options)
    text = files("adbo").joinpath("jobscripts", name).read_text(encoding="utf-8")
    assert all(text.count(old) == 1 for old, _ in edits), name
    # All at once, since what takes a text's place may hold another one of these texts.
    new = dict(edits)
    return re.sub("|".join(map(re.escape, new)), lambda match: new[match[0]], text)


def _check(options: argparse.Namespace) -> None:
    known = {name for names in OPTIONS.values() for name in names}
    given = {name for name in known if getattr(options, name) is not None}
    for name in sorted(given - set(OPTIONS[options.kind])):
        takes = ", ".join(_option(each) for each in OPTIONS[options.kind]) or "no options"
        raise UsageError(f"{options.kind} has no {_option(name)}: it takes {takes}")
    if options.array is not None and given & {*_RANKS}:
        raise UsageError(
            "array means single processes without MPI: use it without --nodes and --ranks-per-node"
        )
    for name in ("objective", "study_name", "storage"):
        value = getattr(options, name)
        if value is not None and (not value.strip() or not value.isprintable()):
            raise UsageError(f"{_option(name)[2:]} is {value!r}: it must be a text on one line")
    # In the URL of a database file, % and ? are no part of the name.
    if set(options.study_name or "") & set("/%?"):
        raise UsageError(
            f"study-name is {options.study_name!r}: it must have none of / % ?, since it names"
            " the files of the study"
        )


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _slurm(options: argparse.Namespace) -> tuple[str, Edits]:
    edits = _study_of_shell(options)
    if options.time is not None:
        edits.append(("#SBATCH --time=04:00:00", f"#SBATCH --time={clock(options.time)}"))
    if options.array is not None:
        edits.append(("#SBATCH --array=1-32", f"#SBATCH --array=1-{options.array}"))
        edits += _storage_of_shell(options, '"${STORAGE:-${DATABASE_URL:-}}"')
        return "array.sbatch", edits
    edits += _storage_of_shell(options, '"${STORAGE:-sqlite:///$PWD/$STUDY.db}"')
    nodes, ranks_per_node = _ranks(options)
    edits.append(("#SBATCH --nodes=2", f"#SBATCH --nodes={nodes}"))
    edits.append(
        ("#SBATCH --ntasks-per-node=32", f"#SBATCH --ntasks-per-node={ranks_per_node}"),
    )
    return "study.sbatch", edits


def _pbs(options: argparse.Namespace) -> tuple[str, Edits]:
    edits = _study_of_batch(options)
    nodes, ranks = _ranks(options)
    select = f"#PBS -l select={nodes}:ncpus={ranks}:mpiprocs={ranks}"
    limit = f"#PBS -l walltime={clock(options.time or TIME)}"
    if options.array is not None:
        # PBS refuses an array of one task, which is an ordinary job.
        array = f"#PBS -J 1-{options.array}\n" if options.array > 1 else ""
        select = f"{array}#PBS -l select=1:ncpus=1"
        edits += _without_launcher('mpiexec -n $(wc -l < "${PBS_NODEFILE:-/dev/null}")')
    edits.append(("#PBS -l select=2:ncpus=32:mpiprocs=32", select))
    edits.append(("#PBS -l walltime=04:00:00", limit))
    return "study.pbs", edits


def _lsf(options: argparse.Namespace) -> tuple[str, Edits]:
    edits = _study_of_batch(options)
    nodes, ranks_per_node = _ranks(options)
    hours, minutes = divmod(-(-(options.time or TIME) // 60), 60)
    edits.append(("#BSUB -W 04:00", f"#BSUB -W {hours:02d}:{minutes:02d}"))
    if options.array is not None:
        edits.append(("#BSUB -J adbo", f'#BSUB -J "adbo[1-{options.array}]"'))
        edits.append(("-o adbo-%J.out", "-o adbo-%J-%I.out"))
        edits.append(("#BSUB -n 64", "#BSUB -n 1"))
        edits.append(('#BSUB -R "span[ptile=32]"\n', ""))
        return "study.lsf", edits + _without_launcher("mpiexec -n ${LSB_DJOB_NUMPROC:-1}")
    edits.append(("#BSUB -n 64", f"#BSUB -n {nodes * ranks_per_node}"))
    edits.append(("span[ptile=32]", f"span[ptile={ranks_per_node}]"))
    return "study.lsf", edits


def _flux(options: argparse.Namespace) -> tuple[str, Edits]:
    nodes, ranks_per_node = _ranks(options)
    n_ranks, minutes = nodes * ranks_per_node, -(-(options.time or TIME) // 60)
    return "study.flux", [
        *_study_of_batch(options),
        ("# flux: --nodes=2", f"# flux: --nodes={nodes}"),
        ("# flux: --nslots=64", f"# flux: --nslots={n_ranks}"),
        ("# flux: --time-limit=240m", f"# flux: --time-limit={minutes}m"),
        ("--nodes=2 --ntasks=64", f"--nodes={nodes} --ntasks={n_ranks}"),
    ]


def _kubernetes(options: argparse.Namespace) -> tuple[str, Edits]:
    pods = options.array or PODS
    return "kubernetes.yaml", [
        *_study_of_manifest(options),
        ("by 16 pods", f"by {pods} pods"),
        ("completions: 16", f"completions: {pods}"),
        ("parallelism: 16", f"parallelism: {pods}"),
    ]


def _mpijob(options: argparse.Namespace) -> tuple[str, Edits]:
    workers = options.nodes or WORKERS
    ranks = options.ranks_per_node or RANKS_PER_WORKER
    return "mpijob.yaml", [
        *_study_of_manifest(options),
        ("slotsPerWorker: 4", f"slotsPerWorker: {ranks}"),
        ('- "16"', f'- "{workers * ranks}"'),
        ("replicas: 4", f"replicas: {workers}"),
        ('cpu: "4"', f'cpu: "{ranks}"'),
        ("memory: 2048Mi", f"memory: {ranks * 512}Mi"),
    ]


def _docker(options: argparse.Namespace) -> tuple[str, Edits]:
    return "Dockerfile", [("@VERSION@", adbo.__version__)]


def _apptainer(options: argparse.Namespace) -> tuple[str, Edits]:
    return "adbo.def", [("@VERSION@", adbo.__version__)]


def _ranks(options: argparse.Namespace) -> tuple[int, int]:
    """Return the numbers of nodes, and of ranks on each."""
    return options.nodes or NODES, options.ranks_per_node or RANKS_PER_NODE


def _study_of_batch(options: argparse.Namespace) -> Edits:
    """Return the edits that the scripts of PBS, LSF and Flux have in common."""
    limit = options.time or TIME
    timeout = limit - int(min(_RESERVE_SECONDS, _RESERVE_FRACTION * limit))
    default = '"${STORAGE:-sqlite:///$DIRECTORY/$STUDY.db}"'
    edits = _study_of_shell(options) + _storage_of_shell(options, default)
    if options.array is not None and options.storage is None:
        # Several processes need one database, which the environment or the user names.
        edits.append((default, '"${STORAGE:-${DATABASE_URL:-}}"'))
    return [*edits, ("${TIMEOUT:-14100}", f"${{TIMEOUT:-{timeout}}}")]


def _study_of_shell(options: argparse.Namespace) -> Edits:
    edits = []
    if options.objective is not None:
        old = "${OBJECTIVE:-objective.py:objective}"
        edits.append((old, f"${{OBJECTIVE:-{_shell(options.objective)}}}"))
    if options.study_name is not None:
        edits.append(("${STUDY-my-study}", f"${{STUDY-{_shell(options.study_name)}}}"))
    if options.trials is not None:
        edits.append(("${TRIALS-10000}", f"${{TRIALS-{options.trials}}}"))
    return edits


def _storage_of_shell(options: argparse.Namespace, default: str) -> Edits:
    if options.storage is None:
        return []
    return [(default, f'"${{STORAGE:-{_shell(options.storage)}}}"')]


def _without_launcher(launcher: str) -> Edits:
    return [(f"${{LAUNCHER-{launcher}}}", "${LAUNCHER-}")]


def _shell(text: str) -> str:
    """Return a text as it is written within ``"${NAME:-text}"`` of bash."""
    escaped = re.sub(r'([\\"$`}])', r"\\\1", text)
    return escaped.replace(
        "'", '"\'"'
    )  # bash takes a single quote there for the start of a string


def _study_of_manifest(options: argparse.Namespace) -> Edits:
    edits = []
    if options.objective is not None:
        file, colon, function = options.objective.rpartition(":")
        path = file if colon else function
        if path.endswith(".toml") and not path.startswith("/"):
            # The volume of the objective has one file, without the templates and the program that
            # this one names, and trials cannot write beside it.
            raise UsageError(
                f"objective is {options.objective!r}: {options.kind} cannot bring the files of a"
                " program: put it into the image and name it by its absolute path there"
            )
        if path.endswith(".py"):
            name = path.rpartition("/")[2]
            edits.append(("--from-file=objective.py", f"--from-file={shlex.quote(path)}"))
            target = f"/objective/{name}{colon}{function if colon else ''}"
        else:
            target = options.objective
        edits.append(('"/objective/objective.py:objective"', _yaml(target)))
    if options.study_name is not None:
        edits.append(('"my-study"', _yaml(options.study_name)))
    if options.trials is not None:
        edits.append(('"10000"', _yaml(str(options.trials))))
    return edits


def _yaml(text: str) -> str:
    """Return a text in quotation marks; YAML does not know the pairs of escapes of JSON.

    It is ASCII, since YAML is UTF-8, also where the encoding of the locale is another one.
    """
    quoted = json.dumps(text, ensure_ascii=False)
    return re.sub("[^ -~]", lambda match: f"\\U{ord(match[0]):08x}", quoted)


def clock(seconds: int) -> str:
    """Return a time as hours, minutes and seconds, such as 04:00:00."""
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


_EDITS: dict[str, Callable[[argparse.Namespace], tuple[str, Edits]]] = {
    "slurm": _slurm,
    "pbs": _pbs,
    "lsf": _lsf,
    "flux": _flux,
    "kubernetes": _kubernetes,
    "mpijob": _mpijob,
    "docker": _docker,
    "apptainer": _apptainer,
}
