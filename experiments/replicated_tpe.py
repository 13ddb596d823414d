"""Optuna's TPE on several processes: with `adbo.storage`, and with a shared database.

    python experiments/replicated_tpe.py --output results
    python experiments/replicated_tpe.py --output results --database postgresql://user@host/db

The number of processes and trials, the objective and the seeds are the same; only the storage
differs. With ``adbo`` the processes are the ranks of an MPI job, with a database they are ordinary
processes. The clock of a run starts when all processes are ready. The file has the best value and
the seconds after every tenth trial of each run; runs that exist are not repeated.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
from versions import code_version, save

import adbo
from adbo.benchmark_functions.problems import parse, shifted
from adbo.comm.environment import rank_hint

COLUMNS = ("version", "storage", "evaluation_seconds", "seed", "trials", "best_value", "seconds")

#: Number of trials, best value, seconds since the start of the run.
Row = tuple[int, float, float]

#: Trials between two rows of a run.
_STEP = 10

#: Seconds after which a run has failed.
_PATIENCE = 1800


def work(storage: str, rank: int, options: argparse.Namespace) -> None:
    """Optimize in one process, and write the end times and values of its trials."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    problem = shifted(parse(options.problem), np.random.default_rng(options.seed))
    mine: list[tuple[float, float]] = []

    def objective(trial: optuna.Trial) -> float:
        value = problem.objective(trial)
        time.sleep(options.evaluation_seconds)
        return value

    with _opened(storage) as opened:
        study = optuna.create_study(
            storage=opened,
            study_name=f"{options.problem}-{options.evaluation_seconds}-{options.seed}",
            sampler=optuna.samplers.TPESampler(
                seed=1000 * options.seed + rank, multivariate=True, constant_liar=True
            ),
            load_if_exists=True,
        )
        began = time.time()
        study.optimize(
            objective,
            n_trials=options.trials,
            callbacks=[lambda study, trial: mine.append((time.time(), trial.value or 0.0))],
        )
    (options.directory / f"{rank}.json").write_text(json.dumps([began, mine]))


@contextlib.contextmanager
def _opened(storage: str) -> Iterator[optuna.storages.BaseStorage | str]:
    """Yield the storage once all processes are ready."""
    if storage == "adbo":
        with adbo.storage() as replicated:
            yield replicated
        return
    optuna.storages.RDBStorage(storage)
    print("ready", flush=True)
    sys.stdin.readline()
    yield storage


def run(storage: str, seconds: float, seed: int, options: argparse.Namespace) -> list[Row]:
    """Run one study; return a row for every tenth trial."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        choices = ["--problem", options.problem, "--trials", str(options.trials)]
        choices += ["--evaluation-seconds", str(seconds), "--seed", str(seed)]
        worker = [__file__, "work", "--directory", name, *choices]
        if storage == "adbo":
            _launch_ranks(options.processes, worker)
        else:
            url = f"sqlite:///{directory}/study.db" if storage == "sqlite" else options.database
            # The first process that opens a database creates its tables; two at once can fail.
            optuna.storages.RDBStorage(url)
            _launch_processes(options.processes, [*worker, "--url", url])
        parts = [json.loads(path.read_text()) for path in directory.glob("*.json")]
    began = min(part[0] for part in parts)
    trials = sorted((ended, value) for _, mine in parts for ended, value in mine)
    best = np.minimum.accumulate([value for _, value in trials])
    return [
        (n, float(best[n - 1]), round(trials[n - 1][0] - began, 4))
        for n in range(_STEP, len(trials) + 1, _STEP)
    ]


def _launch_ranks(n: int, worker: Sequence[str]) -> None:
    mpiexec = shutil.which("mpiexec", path=sysconfig.get_path("scripts")) or "mpiexec"
    command = [mpiexec, "-n", str(n), sys.executable, *worker]
    subprocess.run(command, check=True, timeout=_PATIENCE)


def _launch_processes(n: int, worker: Sequence[str]) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, *worker, "--rank", str(rank)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(n)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in processes:
            process.wait(timeout=_PATIENCE)
            if process.returncode:
                raise RuntimeError(f"a process ended with status {process.returncode}")
    finally:
        for process in processes:
            process.kill()


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the best values and the rates of whole runs, and the ratio of adbo's rate to them."""
    groups = ends_of(rows).groupby(["evaluation_seconds", "storage"])
    best = groups["best_value"]
    found = pd.DataFrame(
        {
            "runs": best.size(),
            "best value, median": best.median(),
            "lowest": best.min(),
            "highest": best.max(),
            "trials per second": groups["rate"].median(),
        }
    )
    own = found["trials per second"].xs("adbo", level="storage")
    found["adbo is faster by"] = own / found["trials per second"]
    return found.round(2)


def ends_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the last row of each run, with its trials per second."""
    ends = rows[rows["trials"] == rows["trials"].max()]
    return ends.assign(rate=ends["trials"] / ends["seconds"])


def draw(rows: pd.DataFrame, path: Path) -> None:
    """Draw the best value and the seconds against the number of trials."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    durations = sorted(rows["evaluation_seconds"].unique())
    figure, axes = plt.subplots(2, len(durations), figsize=(4 * len(durations), 5), squeeze=False)
    for column, duration in enumerate(durations):
        part = rows[rows["evaluation_seconds"] == duration]
        for storage, runs in part.groupby("storage"):
            for axis, quantity in zip(axes[:, column], ("best_value", "seconds"), strict=True):
                quantiles = runs.groupby("trials")[quantity].quantile([0.25, 0.5, 0.75]).unstack()
                axis.plot(quantiles.index, quantiles[0.5], label=storage)
                axis.fill_between(quantiles.index, quantiles[0.25], quantiles[0.75], alpha=0.2)
        axes[0, column].set(title=f"evaluations of {duration:g} s", ylabel="best value")
        axes[1, column].set(xlabel="trials", ylabel="seconds", ylim=(0, None))
    axes[0, 0].legend()
    figure.tight_layout()
    save(figure, path, ", ".join(sorted(set(rows["version"]))))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("replicated_tpe"), metavar="DIR")
    storages = ["adbo", "sqlite"]
    parser.add_argument("--storages", nargs="+", choices=storages, default=storages)
    parser.add_argument("--database", metavar="URL", help="an empty database, in addition")
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--trials", type=int, default=50, help="trials of each process")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--seconds", type=float, nargs="+", default=[0.0, 0.2])
    parser.add_argument("--problem", default="ackley:5")
    return parser


def _worker_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--url", default="adbo")
    parser.add_argument("--rank", type=int)
    parser.add_argument("--problem")
    parser.add_argument("--trials", type=int)
    parser.add_argument("--evaluation-seconds", type=float)
    parser.add_argument("--seed", type=int)
    return parser


def main(arguments: Sequence[str]) -> int:
    """Run the missing studies, then print and draw the table."""
    if arguments[:1] == ["work"]:
        worker = _worker_parser().parse_args(arguments[1:])
        work(worker.url, rank_hint() if worker.rank is None else worker.rank, worker)
        return 0
    options = _parser().parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "replicated_tpe.csv"
    storages = list(options.storages)
    if options.database is not None:
        storages.append(options.database.partition(":")[0].partition("+")[0])
    done = _done(path)
    for seed in options.seeds:
        for seconds in options.seconds:
            for storage in storages:
                if (storage, seconds, seed) not in done:
                    _append(path, storage, seconds, seed, run(storage, seconds, seed, options))
    rows = pd.read_csv(path, dtype={"version": str})
    print(table(rows).to_string())
    draw(rows, path.with_suffix(".png"))
    return 0


def _done(path: Path) -> set[tuple[str, float, int]]:
    if not path.exists():
        return set()
    keys = pd.read_csv(path)[["storage", "evaluation_seconds", "seed"]]
    return set(keys.itertuples(index=False, name=None))


def _append(path: Path, storage: str, seconds: float, seed: int, rows: list[Row]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(COLUMNS)
        writer.writerows((code_version(), storage, seconds, seed, *row) for row in rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
