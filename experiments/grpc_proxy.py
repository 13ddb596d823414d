"""Many workers on one PostgreSQL study: Optuna directly, Optuna through gRPC proxies, and adbo.

    python experiments/grpc_proxy.py --output experiments/raw/grpc_proxy

This is the benchmark with which Optuna presented its gRPC proxy, in small: there, 300 workers did
10,000 trials, with a proxy for each 10 workers. All ways have the same number of workers, and of
trials of 10 parameters, and an evaluation only sleeps. Optuna's workers have a `RandomSampler`,
whose asks cost nothing, so that what is measured is the storage. The workers of adbo are the ranks
of an MPI job with its own optimizer, one of which mirrors the study into the database.

The clock of a run goes from the start of its first trial to the end of its last one. The share is
that of the workers' time in which evaluations slept. Runs that exist are not repeated.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import shutil
import subprocess
import sys
import sysconfig
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import database_servers
import optuna
import pandas as pd
from optuna.storages import BaseStorage
from storage_ways import PATIENCE, STUDY, proxies, reopened
from versions import code_version

import adbo

COLUMNS = ["version", "way", "workers", "trials", "evaluation_seconds", "seconds", "rate", "share"]
WAYS = ("database", "proxy", "adbo")
N_PARAMETERS = 10

#: Seconds after which a run has failed.
_LIMIT = 1800


def objective(trial: optuna.trial.BaseTrial, seconds: float) -> float:
    """Sleep, and return the sum of squares of all parameters."""
    point = [trial.suggest_float(f"x{i}", -10, 10) for i in range(N_PARAMETERS)]
    time.sleep(seconds)
    return sum(x * x for x in point)


def run_optuna(url: str, way: str, options: argparse.Namespace) -> None:
    """Optimize by Optuna in one process for each worker."""
    storage = optuna.storages.get_storage(url)
    study = optuna.create_study(storage=storage, study_name=STUDY)
    study.get_trials()  # so that the storage has it in its cache
    storage._backend.engine.dispose()  # type: ignore[attr-defined]
    if way == "proxy":
        with proxies(storage, options.workers) as through:
            _run_workers(through, options)
    else:
        _run_workers([lambda: reopened(storage)] * options.workers, options)


def _run_workers(
    storages: Sequence[Callable[[], BaseStorage]], options: argparse.Namespace
) -> None:
    """Run one process for each storage, all of which begin at the same time."""
    fork = multiprocessing.get_context("fork")
    begin = fork.Barrier(len(storages))

    def work(rank: int, make: Callable[[], BaseStorage]) -> None:
        sampler = optuna.samplers.RandomSampler(seed=rank)
        study = optuna.load_study(study_name=STUDY, storage=make(), sampler=sampler)
        begin.wait(PATIENCE)
        study.optimize(
            partial(objective, seconds=options.evaluation_seconds),
            n_trials=options.trials // options.workers,
        )

    workers = [fork.Process(target=work, args=pair, daemon=True) for pair in enumerate(storages)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(_LIMIT)
        if worker.exitcode != 0:
            raise RuntimeError("a worker of Optuna failed, or took too long")


def run_adbo(url: str, options: argparse.Namespace) -> None:
    """Optimize by adbo on one rank for each worker."""
    mpiexec = shutil.which("mpiexec", path=sysconfig.get_path("scripts")) or "mpiexec"
    figures = map(str, (options.trials, options.evaluation_seconds))
    worker = [sys.executable, __file__, "work", url, *figures]
    command = [mpiexec, "-n", str(options.workers), *worker]
    subprocess.run(command, check=True, timeout=_LIMIT)


def work_adbo(url: str, trials: str, seconds: str) -> None:
    """Be one rank of adbo."""
    evaluate = partial(objective, seconds=float(seconds))
    adbo.optimize(evaluate, int(trials), storage=url, study_name=STUDY)


def measure(url: str, way: str, options: argparse.Namespace) -> list[float]:
    """Run one way on an empty database; return trials, seconds, trials per second, and share."""
    if way == "adbo":
        run_adbo(url, options)
    else:
        run_optuna(url, way, options)
    trials = optuna.load_study(study_name=STUDY, storage=url).get_trials(deepcopy=False)
    starts = [trial.datetime_start for trial in trials if trial.datetime_start is not None]
    ends = [trial.datetime_complete for trial in trials if trial.datetime_complete is not None]
    assert len(ends) == len(trials) >= options.trials
    seconds = (max(ends) - min(starts)).total_seconds()
    slept = len(trials) * options.evaluation_seconds
    return [len(trials), seconds, len(trials) / seconds, slept / seconds / options.workers]


def main(arguments: Sequence[str]) -> int:
    """Measure the ways that are missing, and print the table."""
    if arguments[:1] == ["work"]:
        work_adbo(*arguments[1:])
        return 0
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--workers", type=int, default=40)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--evaluation-seconds", type=float, default=1.0)
    parser.add_argument("--url", help="an empty database (default: a server of its own)")
    parser.add_argument("--output", type=Path, default=Path("grpc_proxy"), metavar="DIR")
    options = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "grpc_proxy.csv"
    setting = (options.workers, options.evaluation_seconds)
    for way in options.ways:
        if (way, *setting) not in _done(path):
            if options.url is not None:
                figures = measure(options.url, way, options)
            else:
                with database_servers.start("postgresql") as server:
                    figures = measure(server.new_database(), way, options)
            trials, *others = figures
            row = [way, options.workers, int(trials), options.evaluation_seconds, *others]
            _append(path, row)
    print(pd.read_csv(path, dtype={"version": str}).round(3).to_string(index=False))
    return 0


def _done(path: Path) -> set[tuple[str, int, float]]:
    if not path.exists():
        return set()
    keys = pd.read_csv(path)[["way", "workers", "evaluation_seconds"]]
    return set(keys.itertuples(index=False, name=None))


def _append(path: Path, row: Sequence[object]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(COLUMNS)
        writer.writerow([code_version(), *row])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
