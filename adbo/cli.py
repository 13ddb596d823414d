"""The command line: parse, check, run, say what happened."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import adbo
from adbo.launch import find_ranks, rank_hint
from adbo.optimizer import DIRECTIONS, KAPPA
from adbo.problems import NAMES
from adbo.settings import Settings, UsageError

if TYPE_CHECKING:
    from adbo.objective import Objective
    from adbo.run import Outcome, Ranks

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments
        Without the program's name; None for those of this process.

    Returns
    -------
    int
        0 done, 1 the run failed, 2 wrong usage, 130 after Ctrl-C or SIGTERM.
    """
    words = list(sys.argv[1:] if arguments is None else arguments) or ["run"]
    try:
        options = _parser().parse_args(words)
        status: int = options.command(options)
    except UsageError as error:
        if rank_hint() == 0:
            print(f"adbo: {_one_line(error)}", file=sys.stderr)
        return USAGE
    return status


def _parser() -> argparse.ArgumentParser:
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
        help="when to end; running evaluations are abandoned (default: no limit)",
    )
    _add_study(parser, "default: objective and start time", _STORAGE)
    parser.add_argument(
        "--resume", action="store_true", help="continue the study of that name if there is one"
    )
    _add_optimizer(parser)
    parser.add_argument("--quiet", action="store_true", help="say nothing but errors")
    parser.set_defaults(command=_run)


def _add_report(commands: Any) -> None:
    parser = commands.add_parser(
        "report",
        help="say how far a study is",
        description="Say how far a study is.",
        allow_abbrev=False,
    )
    _add_study(parser, "default: the latest of the storage", _STORAGE)
    parser.set_defaults(command=_report)


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
    parser.set_defaults(command=_simulate)


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


def _run(options: argparse.Namespace) -> int:
    # Imported late: --help and wrong usage need no numerical libraries.
    from adbo.report import Quiet, Terminal, is_watched
    from adbo.run import Reporter, execute
    from adbo.study import StudyError

    settings = _settings(options)
    ranks = find_ranks()
    objective = _objective(options, ranks)
    reporter: Reporter = Quiet(sys.stderr)  # what the keeper of the mirror has to complain of
    if ranks.rank == 0 and not options.quiet:
        reporter = Terminal(sys.stderr, live=is_watched(sys.stderr))
    try:
        outcome = execute(objective, settings, ranks, reporter)
    except StudyError as error:
        raise UsageError(str(error)) from None
    status = _status(outcome)
    if outcome.is_keeper:
        _conclude(outcome, options)
        if outcome.missing:
            ranks.abort(status)
    if outcome.gone:
        ranks.depart(status)
    return status


def _study_name(options: argparse.Namespace) -> str:
    from adbo.api import default_study_name

    if options.study_name is not None:
        return str(options.study_name)
    name = options.objective.rpartition("/")[2].replace(".py:", ".").replace(":", "-")
    return default_study_name(name)


def _settings(options: argparse.Namespace) -> Settings:
    n_trials = options.trials
    if n_trials is None and options.timeout is None and options.objective.split(":")[0] in NAMES:
        n_trials = DEMONSTRATION_TRIALS
    return Settings(
        n_trials=n_trials,
        timeout=options.timeout,
        direction=options.direction,
        storage=_storage(options.storage),
        study_name=_study_name(options),
        resume=options.resume,
        seed=options.seed,
        kappa=options.kappa,
    )


def _objective(options: argparse.Namespace, ranks: Ranks) -> Objective:
    """The objective, on every rank; what is wrong on any of them is raised on all."""
    from adbo.objective import ObjectiveError, load

    objective, problem = None, None
    try:
        objective = load(options.objective)
        _check_writable(options.json)
    except (ObjectiveError, UsageError) as error:
        problem = str(error)
    problems = [text for text in ranks.agree(problem) if text is not None]
    if problems:
        raise UsageError(problems[0])
    assert objective is not None
    return objective


def _status(outcome: Outcome) -> int:
    from adbo.report import common_failure

    if outcome.reason is not None and outcome.reason.is_signal:
        return INTERRUPTED
    if outcome.n_unwritten or common_failure(outcome) is not None:
        return FAILED
    return DONE


def _conclude(outcome: Outcome, options: argparse.Namespace) -> None:
    """Say how the run ended; on the rank that speaks for all."""
    from adbo.report import common_failure, is_watched, last_words

    if options.json is not None:
        _write_json(options.json, outcome.summary)
    if not options.quiet:
        # Under a launcher the two streams are pipes that overtake each other: where somebody
        # watches the live line, what follows it goes the same way.
        piped = is_watched(sys.stderr) and not sys.stderr.isatty()
        lines = "\n".join(last_words(outcome))
        print(lines, file=sys.stderr if piped else sys.stdout, flush=True)
    failure = common_failure(outcome)
    if failure is not None:
        print(f"adbo: no evaluation succeeded ({failure})", file=sys.stderr, flush=True)
    if outcome.gone:
        print(f"adbo: ranks {outcome.gone} died", file=sys.stderr, flush=True)
    if outcome.missing:
        print(f"adbo: ranks {outcome.missing} did not answer", file=sys.stderr, flush=True)


def _simulate(options: argparse.Namespace) -> int:
    from adbo.local import Alone
    from adbo.report import SimulationBar, describe_best, describe_simulation, is_watched
    from adbo.simulation import SimulationSettings, simulate
    from adbo.study import StudyError, open_study, storage_name, store

    seed = secrets.randbits(32) if options.seed is None else options.seed
    settings = SimulationSettings(
        workers=options.workers,
        n_trials=options.trials,
        seconds=options.time,
        duration=options.duration,
        latency=options.latency,
        ask_cost=options.ask_cost,
        method=options.method,
        direction=options.direction,
        seed=seed,
        kappa=options.kappa,
        processes=options.processes,
    )
    objective = _objective(options, Alone())
    storage = _storage(options.storage or "none")
    name = _study_name(options)
    stored_in = "none"
    try:
        study = None if storage is None else open_study(storage, name, options.direction, False)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with SimulationBar(live=not options.quiet and is_watched(sys.stderr)) as bar:
            simulation = simulate(objective, settings, bar.update)
        if study is not None and storage is not None:
            store(study, simulation.history.evaluations(), time.time() - simulation.seconds)
            stored_in = storage_name(storage)
    except StudyError as error:
        raise UsageError(str(error)) from None
    summary = {**simulation.summary(name, stored_in), "seed": seed}
    if options.json is not None:
        _write_json(options.json, summary)
    if not options.quiet:
        print(describe_best(summary))
        print(describe_simulation(summary))
    return INTERRUPTED if simulation.interrupted else DONE


def _report(options: argparse.Namespace) -> int:
    from adbo.report import describe_best, describe_study
    from adbo.study import StudyError, load_study, storage_name

    storage = _storage(options.storage)
    if storage is None:
        raise UsageError("report reads a storage: none has nothing to report")
    _check_writable(options.json)
    try:
        study = load_study(storage, options.study_name)
    except StudyError as error:
        raise UsageError(str(error)) from None
    summary = {**describe_study(study), "storage": storage_name(storage)}
    if options.json is not None:
        _write_json(options.json, summary)
    print(f"study {summary['study_name']} in {summary['storage']}")
    print(describe_best(summary))
    print(
        f"{summary['n_complete']} complete, {summary['n_pruned']} pruned,"
        f" {summary['n_fail']} failed, {summary['n_running']} running,"
        f" {summary['n_waiting']} waiting"
    )
    print(
        f"{summary['n_ranks']} rank{'s' * (summary['n_ranks'] > 1)},"
        f" {summary['wall_seconds']:.1f} s from the first start to the last result,"
        f" utilization {summary['utilization']:.0%}"
    )
    return DONE


def _storage(text: str | None) -> str | None:
    url = text or os.environ.get("DATABASE_URL") or DEFAULT_STORAGE
    return None if url == "none" else url


def _check_writable(path: Path | None) -> None:
    if path is None:
        return
    if path.is_dir():
        raise UsageError(f"cannot write {path}: it is a directory")
    if not path.parent.is_dir():
        raise UsageError(f"cannot write {path}: there is no directory {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(f"cannot write {path}: permission denied")


def _write_json(path: Path, summary: dict[str, Any]) -> None:
    path.write_text(json.dumps(summary, indent=2) + "\n")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
