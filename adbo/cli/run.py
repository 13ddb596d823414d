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
from typing import TYPE_CHECKING, Any

from adbo.benchmark_functions.names import NAMES
from adbo.cli.parser import DEFAULT_STORAGE, DEMONSTRATION_TRIALS, make_parser
from adbo.comm.environment import rank_hint
from adbo.comm.launch import find_ranks, use_node
from adbo.core.errors import UsageError, one_line
from adbo.core.settings import Settings, default_study_name

if TYPE_CHECKING:
    from adbo.objective.evaluate import Objective
    from adbo.run.execute import Outcome, Ranks
    from adbo.simulation.simulate import Simulation

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


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
        options = make_parser().parse_args(words)
        return _COMMANDS[options.command](options)
    except UsageError as error:
        if rank_hint() > 0:
            # The first rank speaks, and its status counts. Were others to fail before it has
            # spoken, some launchers would kill it.
            return DONE
        print(f"adbo: {one_line(error)}", file=sys.stderr, flush=True)
        return USAGE


def _run(options: argparse.Namespace) -> int:
    # Imported late: --help and wrong usage need no more than the parser.
    from adbo.core.stopping import Interruption
    from adbo.run.groups import Led, follow
    from adbo.run.walltime import within_walltime

    settings = _settings(options)
    ranks = find_ranks()
    settings = within_walltime(settings, ranks)
    use_node(ranks, options.gpus_per_node)
    objective = _objective(options, ranks)
    if options.ranks_per_trial == 1:
        return _optimize(objective, settings, ranks, options)
    if ranks.size % options.ranks_per_trial:
        raise UsageError(
            f"ranks per trial is {options.ranks_per_trial}, but there are {ranks.size} ranks:"
            " start a multiple of it"
        )
    leaders, channel = ranks.groups(options.ranks_per_trial)
    if channel.rank > 0:
        with Interruption(settings.timeout, settings.walltime) as interruption:
            return follow(objective, channel, interruption)
    led = Led(objective, channel)
    status = USAGE
    try:
        status = _optimize(led, settings, leaders, options)
    finally:
        led.dismiss(status)
    return status


def _optimize(
    objective: Objective, settings: Settings, ranks: Ranks, options: argparse.Namespace
) -> int:
    """Run one rank, and say what happened."""
    from adbo.mirror.connection import StudyError
    from adbo.report.report import Quiet, Terminal, is_watched
    from adbo.run.execute import Reporter, execute

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
    from adbo.objective.loading import load

    objective, problem = None, None
    try:
        objective = load(options.objective)
        _check_writable(options.json)
    except UsageError as error:
        problem = str(error)
    problems = [text for text in ranks.agree(problem) if text is not None]
    if problems:
        raise UsageError(problems[0])
    assert objective is not None
    return objective


def _status(outcome: Outcome) -> int:
    from adbo.report.report import common_failure

    if outcome.reason is not None and outcome.reason.is_signal:
        return INTERRUPTED
    if (
        outcome.n_unwritten
        or common_failure(outcome.history, outcome.progress.n_before) is not None
    ):
        return FAILED
    return DONE


def _conclude(outcome: Outcome, options: argparse.Namespace) -> None:
    """Say how the run ended; on the rank that speaks for all."""
    from adbo.report.report import common_failure, is_watched, last_words

    if options.json is not None:
        _write_json(options.json, outcome.summary)
    if not options.quiet:
        # Under a launcher the two streams are pipes that overtake each other: where somebody
        # watches the live line, what follows it goes the same way.
        piped = is_watched(sys.stderr) and not sys.stderr.isatty()
        lines = "\n".join(last_words(outcome))
        print(lines, file=sys.stderr if piped else sys.stdout, flush=True)
    failure = common_failure(outcome.history, outcome.progress.n_before)
    if failure is not None:
        print(f"adbo: no evaluation succeeded ({failure})", file=sys.stderr, flush=True)
    if outcome.died:
        print(f"adbo: ranks {outcome.died} died", file=sys.stderr, flush=True)
    if outcome.missing:
        print(f"adbo: ranks {outcome.missing} did not answer", file=sys.stderr, flush=True)


def _simulate(options: argparse.Namespace) -> int:
    from adbo.comm.in_process import Alone
    from adbo.core.stopping import signals_ignored
    from adbo.mirror.connection import StudyError, storage_name
    from adbo.mirror.study import open_study, store
    from adbo.report.report import SimulationBar, describe_best, describe_simulation, is_watched
    from adbo.simulation.settings import SimulationSettings
    from adbo.simulation.simulate import simulate

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
    try:
        study = None if storage is None else open_study(storage, name, options.direction, False)
    except StudyError as error:
        raise UsageError(str(error)) from None
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with SimulationBar(live=not options.quiet and is_watched(sys.stderr)) as bar:
        simulation = simulate(objective, settings, bar.update)
    stored_in = "none" if storage is None else storage_name(storage)
    with signals_ignored():
        summary = {**simulation.summary(name, stored_in), "seed": seed}
        if options.json is not None:
            _write_json(options.json, summary)
        if not options.quiet:
            print(describe_best(summary))
            print(describe_simulation(summary), flush=True)
        status = _status_of(simulation)
    if study is not None:
        try:
            store(study, simulation.history.evaluations(), time.time() - simulation.seconds)
        except StudyError as error:
            print(f"adbo: {one_line(error)}", file=sys.stderr)
            return FAILED
        except KeyboardInterrupt:
            print("adbo: broken off while storing: the study is not complete", file=sys.stderr)
            return INTERRUPTED
    return status


def _status_of(simulation: Simulation) -> int:
    """How a simulation ended; says so if it was not well."""
    from adbo.report.report import common_failure

    failure = common_failure(simulation.history)
    if failure is not None:
        print(f"adbo: no evaluation succeeded ({failure})", file=sys.stderr)
    if simulation.failure is not None:
        print(f"adbo: {simulation.failure}; what it had done is kept", file=sys.stderr)
    if failure is not None or simulation.failure is not None:
        return FAILED
    return INTERRUPTED if simulation.interrupted else DONE


def _report(options: argparse.Namespace) -> int:
    from adbo.mirror.connection import StudyError, storage_name
    from adbo.mirror.study import load_study
    from adbo.report.report import describe_best, describe_study

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


_COMMANDS = {"run": _run, "simulate": _simulate, "report": _report}
