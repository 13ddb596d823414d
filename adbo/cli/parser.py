"""The words of the command line; what they do is the affair of `adbo.cli.main`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NoReturn

import adbo
from adbo.benchmark_functions.names import NAMES
from adbo.core.errors import UsageError
from adbo.core.settings import DIRECTIONS, KAPPA

DEFAULT_STORAGE = "sqlite:///adbo.db"

#: Trials of a test function when neither --trials nor --timeout is given: a demonstration ends.
DEMONSTRATION_TRIALS = 600

_EPILOG = """\
examples:
  mpiexec -n 4 python -m adbo run ackley --trials 600
  mpirun -n 4096 python -m adbo run simulation.py:objective --timeout 3500 --storage sqlite:///s.db
  python -m adbo run simulation.py:objective --study-name s1 --resume --trials 20000
"""


class _Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is one line, from the first rank only."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


def make_parser() -> argparse.ArgumentParser:
    """The parser; the namespace's ``command`` names what to do."""
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
        help="finished trials that the study shall have in the end, over all ranks and earlier"
        f" runs (default: no limit; for a test function without --timeout {DEMONSTRATION_TRIALS})",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        metavar="SECONDS",
        help="when to end; running evaluations are abandoned (default: shortly before the time"
        " limit of the Slurm job; none elsewhere)",
    )
    _add_study(parser, "default: objective and start time", _STORAGE)
    parser.add_argument(
        "--resume", action="store_true", help="continue the study of that name if there is one"
    )
    _add_optimizer(parser)
    parser.add_argument(
        "--ranks-per-trial",
        type=_positive,
        default=1,
        metavar="K",
        help="ranks that evaluate together; trial.comm is their communicator (default: 1)",
    )
    parser.add_argument(
        "--gpus-per-node",
        type=_positive,
        metavar="G",
        help="give each rank of a node one of its GPUs (sets CUDA_VISIBLE_DEVICES)",
    )
    parser.add_argument("--quiet", action="store_true", help="say nothing but errors")
    parser.set_defaults(command="run")


def _add_report(commands: Any) -> None:
    parser = commands.add_parser(
        "report",
        help="say how far a study is",
        description="Say how far a study is.",
        allow_abbrev=False,
    )
    _add_study(parser, "default: the latest of the storage", _STORAGE)
    parser.set_defaults(command="report")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not a whole number from 1 on")
    return number


def _add_simulate(commands: Any) -> None:
    parser = commands.add_parser(
        "simulate",
        help="run an objective on virtual workers",
        description="Run the same optimizer on any number of virtual workers, under a virtual"
        " clock that is charged with the cost of every ask.",
        allow_abbrev=False,
    )
    _add_objective(parser)
    parser.add_argument("--workers", type=int, required=True, metavar="W", help="virtual workers")
    parser.add_argument("--trials", type=int, metavar="N", help="finished evaluations to end at")
    parser.add_argument("--time", type=float, metavar="SECONDS", help="virtual time to end at")
    parser.add_argument(
        "--duration",
        default="normal:60,20",
        metavar="DISTRIBUTION",
        help="virtual seconds of an evaluation: normal:MEAN,SD, constant:SECONDS,"
        " lognormal:MU,SIGMA or exponential:MEAN (default: normal:60,20)",
    )
    parser.add_argument(
        "--latency",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="until a result is known to the other workers (default: 0)",
    )
    parser.add_argument(
        "--ask-cost",
        type=float,
        metavar="SECONDS",
        help="that an ask takes; makes the simulation deterministic (default: as measured)",
    )
    parser.add_argument(
        "--method",
        default="adbo",
        help="adbo, or what to compare it with: sdbo, acbo-rf, acbo-gp, tpe, asha, random, ..."
        " (a wrong name is answered with all of them; default: adbo)",
    )
    parser.add_argument(
        "--processes", type=int, default=1, metavar="P", help="to compute with (default: 1)"
    )
    _add_study(parser, "default: objective and start time", "default: none")
    _add_optimizer(parser)
    parser.add_argument("--quiet", action="store_true", help="say nothing but errors")
    parser.set_defaults(command="simulate")


def _add_objective(parser: argparse.ArgumentParser, **more: Any) -> None:
    parser.add_argument(
        "objective",
        metavar="OBJECTIVE",
        help="path/file.py:function, package.module:function, or a test function with an optional"
        f" dimension such as ackley:10 ({', '.join(NAMES)})"
        + (f"; default: {more['default']}" if "default" in more else ""),
        **more,
    )


def _add_optimizer(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--direction", choices=tuple(DIRECTIONS), default="minimize", help="default: minimize"
    )
    parser.add_argument(
        "--seed", type=int, metavar="S", help="of all random streams (default: a fresh one)"
    )
    parser.add_argument(
        "--kappa",
        type=float,
        default=KAPPA,
        metavar="K",
        help="mean of the exponential distribution of the weight of the uncertainty"
        f" (default: {KAPPA})",
    )


_STORAGE = f"default: the environment's DATABASE_URL, else {DEFAULT_STORAGE}"


def _add_study(parser: argparse.ArgumentParser, default_name: str, default_storage: str) -> None:
    parser.add_argument("--study-name", metavar="NAME", help=default_name)
    parser.add_argument(
        "--storage",
        metavar="URL",
        help="where the results are mirrored: any Optuna storage URL, or none"
        f" ({default_storage})",
    )
    parser.add_argument(
        "--json", type=Path, metavar="PATH", help="write the summary there as one JSON object"
    )
