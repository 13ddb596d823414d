"""The commands and options of the command line, and their help."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any, NoReturn

import adbo
from adbo.benchmark_functions.names import NAMES
from adbo.core.errors import UsageError
from adbo.core.limits import MOST_OBJECTIVES
from adbo.core.origins import STRATEGIES
from adbo.core.settings import (
    DEFAULT_STORAGE,
    DIRECTIONS,
    FAILURES,
    FAILURES_PER_RANK,
    HALVING,
    KAPPA,
    MIN_RESOURCE,
    PRUNERS,
    REDUCTION_FACTOR,
)

#: Number of trials of a test function if neither --trials nor --timeout is given.
DEMONSTRATION_TRIALS = 600

#: What ``adbo jobscript`` writes scripts for.
JOBSCRIPTS = ("slurm", "pbs", "lsf", "flux", "kubernetes", "mpijob", "docker", "apptainer")

_EPILOG = """\
examples:
  mpiexec -n 4 python -m adbo run ackley --trials 600
  mpirun -n 4096 python -m adbo run simulation.py:objective --timeout 3500 --storage sqlite:///s.db
  python -m adbo run simulation.py:objective --study-name s1 --resume --trials 20000
"""


class _Parser(argparse.ArgumentParser):
    """An argument parser that raises errors, so that only the first rank prints them."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # Before Python 3.14, -1e-3 is taken for an option. No option of adbo begins with a digit.
        self._negative_number_matcher = re.compile(r"-\.?\d")

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser; ``command`` of its namespace is the name of the command."""
    parser = _Parser(
        prog="adbo",
        description="Asynchronous decentralized Bayesian optimization.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"adbo {adbo.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_run(commands)
    _add_simulate(commands)
    _add_report(commands)
    _add_jobscript(commands)
    return parser


def _add_run(commands: Any) -> None:
    parser = commands.add_parser(
        "run",
        help="optimize an objective, alone or under mpirun, mpiexec or srun",
        description="Optimize an objective, alone or under mpirun, mpiexec or srun.",
        allow_abbrev=False,
    )
    _add_objective(parser, nargs="?", default="ackley")
    parser.add_argument(
        "--trials",
        type=int,
        metavar="N",
        help="stop when the study has N finished trials, those of all ranks, jobs and earlier runs"
        f" (default: no limit; {DEMONSTRATION_TRIALS} for a test function without --timeout)",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        metavar="SECONDS",
        help="stop after this time and abandon running evaluations (default: shortly before the"
        " time limit of the Slurm job; no limit elsewhere)",
    )
    _add_ends(parser)
    _add_study(parser, _STUDY_NAME, f", or none {_STORAGE}")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue the study of that name if it exists, and join other jobs that work on it",
    )
    parser.add_argument(
        "--enqueue",
        type=Path,
        metavar="FILE",
        help="evaluate the points of this file first: CSV, also that of adbo report --csv, or JSON"
        " lines; empty cells are left to the optimizer",
    )
    _add_optimizer(parser)
    _add_pruner(parser)
    parser.add_argument(
        "--ranks-per-trial",
        type=_positive_integer,
        default=1,
        metavar="K",
        help="number of ranks that evaluate a trial together; trial.comm is their communicator"
        " (default: 1)",
    )
    parser.add_argument(
        "--gpus-per-node",
        type=_positive_integer,
        metavar="G",
        help="number of GPUs of a node; each rank is given one of them by CUDA_VISIBLE_DEVICES",
    )
    parser.add_argument(
        "--isolate",
        action="store_true",
        help="evaluate in a process of its own for each rank: a crash is then a failed trial",
    )
    parser.add_argument(
        "--trial-timeout",
        type=float,
        metavar="SECONDS",
        help="kill an evaluation after this time: a failed trial; implies --isolate",
    )
    parser.add_argument(
        "--retries",
        type=int,
        default=0,
        metavar="K",
        help="evaluate a failed trial up to K times more before it counts (default: 0)",
    )
    parser.add_argument(
        "--allowed",
        metavar="FUNCTION",
        help="name of a function beside the objective that takes the parameters, as a dictionary,"
        " and returns whether they may be evaluated (default: all may)",
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    parser.set_defaults(command="run")


def _add_ends(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--target",
        type=float,
        metavar="VALUE",
        help="stop when the best value of the study is at least as good as this",
    )
    parser.add_argument(
        "--patience",
        type=int,
        metavar="N",
        help="stop when the best value did not improve in the last N finished trials",
    )
    parser.add_argument(
        "--max-failures",
        type=int,
        metavar="N",
        help="give up, with exit status 1, after N failed evaluations in a row over all ranks"
        f" (default: {FAILURES}, and {FAILURES_PER_RANK} more for each rank)",
    )
    parser.add_argument(
        "--on-exit",
        metavar="COMMAND",
        help="shell command to run once at the end; ADBO_STATUS, ADBO_REASON and ADBO_SUMMARY in"
        " its environment say how the run ended",
    )


def _add_report(commands: Any) -> None:
    parser = commands.add_parser(
        "report",
        help="print the state of a study",
        description="Print the state of a study in a storage.",
        allow_abbrev=False,
    )
    name_help = "study to report on (default: the latest one in the storage)"
    _add_study(parser, name_help, f" {_STORAGE}")
    parser.add_argument(
        "--csv",
        type=Path,
        metavar="PATH",
        help="write all trials to this file as CSV; - is standard output",
    )
    parser.add_argument(
        "--html",
        type=Path,
        metavar="PATH",
        help="write a page with plots to this file, which needs no network (needs matplotlib:"
        " pip install 'adbo[report]')",
    )
    parser.add_argument(
        "--watch",
        type=float,
        metavar="SECONDS",
        help="write the page again every so many seconds until Ctrl-C; a browser reads it again",
    )
    parser.set_defaults(command="report")


def _add_jobscript(commands: Any) -> None:
    parser = commands.add_parser(
        "jobscript",
        help="write a script for a batch system, Kubernetes or a container",
        description="Write a commented script on standard output, for a batch system (slurm, pbs,"
        " lsf, flux), Kubernetes (pods of a Job, or MPI ranks of an mpijob) or an image (docker,"
        " apptainer). Edit what the options do not change.",
        epilog="example: adbo jobscript slurm --nodes 4 --study-name s1 > study.sbatch",
        allow_abbrev=False,
    )
    parser.add_argument("kind", choices=JOBSCRIPTS, help="what the script is for")
    parser.add_argument("--objective", metavar="OBJECTIVE", help="objective, as adbo run takes it")
    parser.add_argument("--study-name", metavar="NAME", help="name of the study")
    parser.add_argument(
        "--trials", type=_positive_integer, metavar="N", help="finished trials over all jobs"
    )
    parser.add_argument("--storage", metavar="URL", help="database of the study")
    parser.add_argument(
        "--nodes", type=_positive_integer, metavar="N", help="nodes, or pods of an mpijob"
    )
    parser.add_argument(
        "--ranks-per-node", type=_positive_integer, metavar="K", help="MPI ranks of each of them"
    )
    parser.add_argument(
        "--time",
        type=_duration,
        metavar="H:MM:SS",
        help="time limit of the job (default: 4:00:00)",
    )
    parser.add_argument(
        "--array",
        type=_positive_integer,
        metavar="N",
        help="N single processes without MPI that share a database: a job array, or pods",
    )
    parser.set_defaults(command="jobscript")


def _duration(text: str) -> int:
    """Return the seconds of a time that is written as hours, minutes and seconds."""
    found = re.fullmatch(r"(\d+):([0-5]\d)(?::([0-5]\d))?", text)
    seconds = (
        0
        if found is None
        else sum(
            int(part or 0) * unit for part, unit in zip(found.groups(), (3600, 60, 1), strict=True)
        )
    )
    if seconds < 60:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time of a minute or more, H:MM:SS")
    return seconds


def _positive_integer(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")
    return number


def _integers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"invalid int value: {text!r}") from None


def _add_simulate(commands: Any) -> None:
    parser = commands.add_parser(
        "simulate",
        help="optimize an objective on virtual workers",
        description="Optimize an objective on any number of virtual workers. A virtual clock"
        " counts the durations of evaluations and the cost of every ask. Or predict, from the"
        " durations and failures of a finished study, what other numbers of workers would take.",
        allow_abbrev=False,
    )
    _add_objective(parser, nargs="?")
    parser.add_argument(
        "--workers",
        type=_integers,
        metavar="W",
        help="number of virtual workers; with --from several ones, separated by commas (default:"
        " multiples of those of the study)",
    )
    parser.add_argument(
        "--from",
        dest="from_study",
        metavar="STUDY",
        help="replay this study instead of optimizing an objective, with --workers, --trials,"
        " --time, --workers-per-node, --storage (default: that of run), --json"
        " and --quiet only",
    )
    parser.add_argument(
        "--workers-per-node",
        type=_positive_integer,
        default=1,
        metavar="K",
        help="with --from: workers of a node, to count node hours (default: 1)",
    )
    parser.add_argument(
        "--trials", type=int, metavar="N", help="stop after N finished evaluations"
    )
    parser.add_argument(
        "--time", type=float, metavar="SECONDS", help="stop after this virtual time"
    )
    parser.add_argument(
        "--duration",
        default="normal:60,20",
        metavar="DISTRIBUTION",
        help="virtual duration of an evaluation in seconds: normal:MEAN,STD, constant:SECONDS,"
        " lognormal:MU,SIGMA or exponential:MEAN (default: normal:60,20)",
    )
    parser.add_argument(
        "--latency",
        type=float,
        metavar="SECONDS",
        help="time until a result is known to the other workers of its job (default: with the"
        " methods adbo and random and more than 32 workers in a job, as among real ranks; else 0)",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=1,
        metavar="J",
        help="number of jobs of equal size into which the workers are divided (default: 1)",
    )
    parser.add_argument(
        "--job-latency",
        type=float,
        default=1.0,
        metavar="SECONDS",
        help="time until a result is known to the workers of other jobs, at least the latency"
        " within a job, to whose default it is raised (default: 1)",
    )
    parser.add_argument(
        "--ask-cost",
        type=float,
        metavar="SECONDS",
        help="virtual time that an ask takes, which makes the simulation deterministic (default:"
        " its measured CPU time)",
    )
    parser.add_argument(
        "--method",
        default="adbo",
        metavar="METHOD",
        help="method of the workers, such as adbo, sdbo, tpe or random; an unknown name lists"
        " all of them (default: adbo)",
    )
    parser.add_argument(
        "--processes",
        type=int,
        default=1,
        metavar="P",
        help="number of processes that compute the asks; without effect on adbo-halving, asha,"
        " acbo-*, tpe and tpe-rdb (default: 1)",
    )
    _add_study(parser, _STUDY_NAME, ", or none (default: none)")
    _add_optimizer(parser)
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    parser.set_defaults(command="simulate")


def _add_objective(parser: argparse.ArgumentParser, **more: Any) -> None:
    parser.add_argument(
        "objective",
        metavar="OBJECTIVE",
        help="path/file.py:function, package.module:function, path/study.toml (a program), or a"
        f" test function with an optional dimension such as ackley:10 ({', '.join(NAMES)})"
        + (f"; default: {more['default']}" if "default" in more else ""),
        **more,
    )


def _add_optimizer(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--direction",
        choices=tuple(DIRECTIONS),
        action="append",
        help="whether lower or higher values are better (default: minimize); give it once for each"
        f" value of an objective that returns a tuple, in their order, at most {MOST_OBJECTIVES}"
        " times",
    )
    parser.add_argument(
        "--seed", type=int, metavar="S", help="seed of all random streams (default: a random one)"
    )
    parser.add_argument(
        "--kappa",
        type=float,
        default=KAPPA,
        metavar="K",
        help="mean of the exponential distribution of kappa, the weight of the uncertainty"
        f" (default: {KAPPA})",
    )
    parser.add_argument(
        "--strategies",
        type=_names,
        metavar="NAME,...",
        help=f"strategies that are used, separated by commas: some of {', '.join(STRATEGIES)}"
        " (default: all)",
    )


def _add_pruner(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--pruner",
        choices=PRUNERS,
        default=HALVING,
        help="what trial.should_prune() answers: whether the trial is not among the best of all"
        f" ranks at a rung, or always False (default: {HALVING})",
    )
    parser.add_argument(
        "--reduction-factor",
        type=int,
        default=REDUCTION_FACTOR,
        metavar="ETA",
        help="the best 1/ETA of the trials at a rung go on, and each rung takes ETA times as many"
        f" reports as the one before (default: {REDUCTION_FACTOR})",
    )
    parser.add_argument(
        "--min-resource",
        type=int,
        default=MIN_RESOURCE,
        metavar="N",
        help=f"reports of a trial before it may be pruned (default: {MIN_RESOURCE})",
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


_STUDY_NAME = "name of the study (default: objective, start time and a random suffix)"
_STORAGE = f"(default: the environment's DATABASE_URL, else {DEFAULT_STORAGE})"


def _add_study(parser: argparse.ArgumentParser, name_help: str, more_of_storage: str) -> None:
    parser.add_argument("--study-name", metavar="NAME", help=name_help)
    parser.add_argument(
        "--storage",
        metavar="URL",
        help=f"database of the study: any Optuna storage URL{more_of_storage}",
    )
    parser.add_argument(
        "--json", type=Path, metavar="PATH", help="write the summary to this file as a JSON object"
    )
