"""Checks of the options, as far as the command line and the file system tell what is wrong.

Nothing here imports numpy, scikit-learn, Optuna or MPI.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import secrets
import threading
from pathlib import Path

from adbo.benchmark_functions.names import NAMES
from adbo.cli.parser import DEMONSTRATION_TRIALS, make_parser
from adbo.comm.environment import is_launched
from adbo.core.errors import UsageError
from adbo.core.settings import (
    DEFAULT_STORAGE,
    Settings,
    check_not_in_memory,
    check_trial_timeout,
    default_study_name,
)
from adbo.objective.reference import check_file, check_test_function, is_study_file
from adbo.simulation.settings import SimulationSettings

#: The databases for which SQLAlchemy itself has a dialect.
_DATABASES = frozenset({"sqlite", "postgresql", "mysql", "mariadb", "oracle", "mssql"})

#: The path that means standard output.
STANDARD_OUTPUT = Path("-")

_DATABASE_URLS = "it must be sqlite:///FILE, postgresql://... or mysql://..."


def check_run(options: argparse.Namespace) -> Settings:
    """Return the settings of a run; raise UsageError if an option is wrong."""
    n_trials = options.trials
    if n_trials is None and options.timeout is None and options.objective.split(":")[0] in NAMES:
        n_trials = DEMONSTRATION_TRIALS
    storage = _storage(options.storage)
    settings = Settings(
        n_trials=n_trials,
        timeout=options.timeout,
        direction=directions(options),
        storage=storage,
        study_name=study_name(options),
        resume=options.resume,
        seed=options.seed,
        kappa=options.kappa,
        retries=options.retries,
        target=options.target,
        patience=options.patience,
        max_failures=options.max_failures,
        strategies=options.strategies,
        pruner=options.pruner,
        reduction_factor=options.reduction_factor,
        min_resource=options.min_resource,
    )
    check_isolation(options)
    if options.resume and options.study_name is None:
        raise UsageError("resume needs the name of the study: give --study-name")
    if is_study_file(options.objective) and len(settings.directions) > 1:
        raise UsageError(f"{options.objective} has one objective: give --direction once")
    if options.on_exit is not None and not options.on_exit.strip():
        raise UsageError("on-exit is empty: it must be a shell command")
    check_test_function(options.objective)
    if not is_launched():
        # Files and environments may differ among the nodes of a job: there, the ranks must first
        # agree on what is wrong.
        check_group_size(options.ranks_per_trial, 1)
        check_files(options)
        _check_storage(storage)
    return settings


def check_simulate(options: argparse.Namespace) -> SimulationSettings:
    """Return the settings of a simulation; raise UsageError if an option is wrong."""
    missing = [
        n for n, v in (("OBJECTIVE", options.objective), ("--workers", options.workers)) if not v
    ]
    if missing:
        raise UsageError(f"the following arguments are required: {', '.join(missing)}")
    if len(options.workers) > 1:
        raise UsageError("several numbers of workers need --from STUDY")
    if options.workers_per_node != 1:
        raise UsageError("--workers-per-node needs --from STUDY")
    settings = SimulationSettings(
        workers=options.workers[0],
        n_trials=options.trials,
        seconds=options.time,
        duration=options.duration,
        latency=options.latency,
        ask_cost=options.ask_cost,
        method=options.method,
        direction=directions(options),
        seed=secrets.randbits(32) if options.seed is None else options.seed,
        kappa=options.kappa,
        processes=options.processes,
        jobs=options.jobs,
        job_latency=options.job_latency,
        strategies=options.strategies,
    )
    check_test_function(options.objective)
    check_files(options)
    _check_storage(simulation_storage(options))
    return settings


#: What ``simulate --from STUDY`` uses.
_OF_PREDICTION = frozenset(
    {"from_study", "workers", "workers_per_node", "trials", "time", "storage", "json", "quiet"}
)


def check_prediction(options: argparse.Namespace) -> str:
    """Return the URL of the storage of ``simulate --from``; raise UsageError if it is wrong."""
    if options.objective is not None:
        raise UsageError("--from replays a study, without an objective: leave out one of them")
    usual = vars(make_parser().parse_args(["simulate"]))
    for name, value in vars(options).items():
        if name not in _OF_PREDICTION and value != usual[name]:
            raise UsageError(f"--from does not use --{name.replace('_', '-')}: leave it out")
    for name, least in (("trials", 1), ("time", 1e-9)):
        value = getattr(options, name)
        if value is not None and not least <= value < math.inf:
            raise UsageError(f"{name} is {value}: it must be positive")
    for number in options.workers or ():
        if number < 1:
            raise UsageError(f"workers is {number}: it must be a positive integer")
    return _stored(options)


def _stored(options: argparse.Namespace) -> str:
    """Return the URL of a storage that must be there already."""
    storage = _storage(options.storage)
    if storage is None:
        raise UsageError(f"storage is none: {options.command} needs a database")
    _check_storage(storage)
    path = _sqlite_file(storage)
    if path is not None and not os.path.exists(path):
        raise UsageError(f"there is no file {path}")
    _check_writable(options.json)
    return storage


def check_report(options: argparse.Namespace) -> str:
    """Return the URL of the storage to report on; raise UsageError if an option is wrong."""
    _check_page(options)
    storage = _stored(options)
    if options.csv != STANDARD_OUTPUT:
        _check_writable(options.csv)
    given = [path for path in (options.csv, options.html, options.json) if path is not None]
    if len({path.absolute() for path in given}) < len(given):
        raise UsageError("--csv, --html and --json must be different files")
    return storage


def _check_page(options: argparse.Namespace) -> None:
    """Raise UsageError if the page of a report cannot be written."""
    _check_writable(options.html)
    if options.watch is not None:
        if not 1 <= options.watch <= threading.TIMEOUT_MAX:
            raise UsageError(
                f"watch is {options.watch:g}: it must be at least 1 second, at most"
                f" {threading.TIMEOUT_MAX:.0f}"
            )
        if options.html is None:
            raise UsageError("--watch needs --html PATH, the page to write again")
        for name in ("csv", "json"):
            if getattr(options, name) is not None:
                raise UsageError(f"--watch writes a page: use --{name} without it")
    if options.html is not None and importlib.util.find_spec("matplotlib") is None:
        raise UsageError("--html needs matplotlib: pip install 'adbo[report]'")


def check_files(options: argparse.Namespace) -> None:
    """Raise UsageError if the objective's file is missing or the summary cannot be written."""
    check_file(options.objective)
    _check_writable(options.json)


def check_isolation(options: argparse.Namespace) -> None:
    """Raise UsageError if the options for isolated evaluations are wrong."""
    check_trial_timeout(options.trial_timeout)
    if is_isolated(options) and options.ranks_per_trial > 1:
        raise UsageError(
            "an isolated evaluation is that of one rank: use --isolate and --trial-timeout only"
            " with --ranks-per-trial 1"
        )


def is_isolated(options: argparse.Namespace) -> bool:
    """Return whether each rank evaluates in a process of its own."""
    return options.isolate or options.trial_timeout is not None


def check_group_size(ranks_per_trial: int, n_ranks: int) -> None:
    """Raise UsageError unless the ranks can be divided into groups of this size."""
    if n_ranks % ranks_per_trial:
        raise UsageError(
            f"ranks per trial is {ranks_per_trial}: it must divide the number of ranks, {n_ranks}"
        )


def directions(options: argparse.Namespace) -> tuple[str, ...]:
    """Return the direction of each objective; without an option, that of one to minimize."""
    return tuple(options.direction or ("minimize",))


def study_name(options: argparse.Namespace) -> str:
    """Return the study name, by default one that no other start has."""
    if options.study_name is not None:
        return str(options.study_name)
    name = options.objective.rpartition("/")[2].replace(".py:", ".").replace(":", "-")
    return default_study_name(name.removesuffix(".toml"))


def simulation_storage(options: argparse.Namespace) -> str | None:
    """Return the URL of the storage of a simulation, None without one."""
    return _storage("none" if options.storage is None else options.storage)


def _storage(text: str | None) -> str | None:
    if text == "":
        raise UsageError(f"storage is empty: {_DATABASE_URLS}, or none")
    url = text or os.environ.get("DATABASE_URL") or DEFAULT_STORAGE
    return None if url == "none" else url


def _check_storage(url: str | None) -> None:
    """Raise UsageError if this is not the URL of a lasting database that SQLAlchemy knows."""
    if url is None:
        return
    check_not_in_memory(url)
    scheme, separator, _ = url.partition("://")
    if not separator:
        raise UsageError(f"{scheme.rpartition('@')[2]} is not a database URL: {_DATABASE_URLS}")
    if scheme.partition("+")[0] not in _DATABASES and scheme not in _dialect_plugins():
        raise UsageError(f"{scheme}://... is not a database URL: {_DATABASE_URLS}")
    path = _sqlite_file(url)
    if path is not None and not os.path.isdir(path.parent):
        raise UsageError(f"cannot use {path}: there is no directory {path.parent}")


def _dialect_plugins() -> set[str]:
    """Return the schemes of the dialects that other packages add to SQLAlchemy."""
    import importlib.metadata  # half of the time of --help, and seldom needed

    plugins = importlib.metadata.entry_points(group="sqlalchemy.dialects")
    return {plugin.name.replace(".", "+") for plugin in plugins}


def _sqlite_file(url: str) -> Path | None:
    """Return the file of an SQLite database, None if the URL is that of another database."""
    scheme, _, path = url.partition(":///")
    path = path.partition("?")[0]
    if scheme.partition("+")[0] != "sqlite" or path.startswith((":memory:", "file:")):
        return None
    return Path(path) if path else None


def _check_writable(path: Path | None) -> None:
    if path is None:
        return
    existing = path
    try:
        path.stat()
    except FileNotFoundError:
        existing = path.parent  # in which it would be made
    except OSError as error:  # such as a name that is too long
        raise UsageError(f"cannot write {path}: {error.strerror}") from None
    if existing == path and os.path.isdir(path):
        raise UsageError(f"cannot write {path}: it is a directory")
    if not os.path.isdir(path.parent):
        raise UsageError(f"cannot write {path}: there is no directory {path.parent}")
    if not os.access(existing, os.W_OK):
        raise UsageError(f"cannot write {path}: permission denied")
