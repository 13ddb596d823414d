"""The same processes as one job, as several jobs and as single processes on one study.

    python experiments/jobs.py --output experiments/raw/jobs

The script compares 1 job of 32 ranks, 4 jobs of 8 ranks and 32 jobs of one process with each
other, and with 32 processes of Optuna's TPE on the same database. Each evaluation sleeps for 0.4
to 0.6 s. The clock starts when all processes are in their first evaluation: to start 32 processes
of Python takes long on a small machine, and is not what is compared. ``jobs.csv`` has a row for
each run, ``best.csv`` the best value at each half second. Runs that exist are not repeated, and
seeds are the outermost loop, so that an interrupted series is balanced. A run that fails is
reported and left out; the same command repeats it.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import math
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import database_servers
import numpy as np
import optuna
import pandas as pd
from jobs_worker import EVALUATING, IMPORTED, STUDY
from processes import Processes, ProcessesFailed
from versions import code_version, save

from adbo.mirror.connection import connect

#: The table says when the best value was at most this.
TARGETS = (0.1, 1e-3)

#: Seconds between two points of a curve.
_STEP = 0.5


class Key(NamedTuple):
    """One run. A worker of TPE counts as a job of one process."""

    problem: str
    database: str
    method: str
    jobs: int
    seed: int


class Observed(NamedTuple):
    """What the processes of a run wrote, with seconds since the start of the clock.

    ``evaluations`` has the columns started, ended and value; ``transactions`` ended and writes.
    """

    evaluations: pd.DataFrame
    transactions: pd.DataFrame
    stored: int


def observe(key: Key, url: str, options: argparse.Namespace) -> Observed:
    """Run all processes once."""
    if key.method == "tpe":  # as documented by Optuna, the study exists before its workers start
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        optuna.create_study(study_name=STUDY, storage=connect(url))
    with tempfile.TemporaryDirectory() as name, Processes(Path(name)) as processes:
        for command in _commands(key, url, name, options):
            processes.start(command)
        processes.open_gate(IMPORTED, options.processes)
        start = processes.open_gate(EVALUATING, options.processes)
        processes.wait()
        evaluations = [
            pd.read_csv(path, names=["started", "ended", "value"])
            for path in Path(name).glob("*.evaluations")
        ]
        transactions = [
            transaction
            for path in Path(name).glob("*.transactions.json")
            for transaction in json.loads(path.read_text())
        ]
    study = optuna.load_study(study_name=STUDY, storage=connect(url))
    complete = study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])
    found = pd.concat(evaluations)
    found[["started", "ended"]] -= start
    ended = pd.DataFrame(transactions, columns=["ended", "writes"])
    ended["ended"] -= start
    return Observed(found.sort_values("ended"), ended, len(complete))


def _commands(
    key: Key, url: str, directory: str, options: argparse.Namespace
) -> Iterator[list[str]]:
    worker = [sys.executable, str(Path(__file__).with_name("jobs_worker.py")), key.method]
    worker += ["--directory", directory, "--url", url, "--problem", key.problem]
    worker += ["--seed", str(key.seed), "--seconds", str(options.moments[-1])]
    n_ranks = options.processes // key.jobs
    if n_ranks == 1:
        yield [*worker, "--first-index", "0", "--copies", str(options.processes)]
        return
    for first in range(0, options.processes, n_ranks):
        yield [_mpiexec(), "-n", str(n_ranks), *worker, "--first-index", str(first)]


def _mpiexec() -> str:
    return shutil.which("mpiexec", path=sysconfig.get_path("scripts")) or "mpiexec"


def summarize(observed: Observed, jobs: int, options: argparse.Namespace) -> dict[str, float]:
    """Return what the table has of a run; evaluations that end after the last moment count not."""
    seconds, table = options.moments[-1], observed.evaluations
    busy = (table["ended"].clip(upper=seconds) - table["started"].clip(upper=seconds)).sum()
    within = observed.transactions[observed.transactions["ended"].between(0, seconds)]
    return {
        **{f"best_{t:g}": best for t, best in curve(observed, options.moments)},
        **{f"seconds_to_{target:g}": _reached(observed, target, seconds) for target in TARGETS},
        "evaluations": int((table["ended"] <= seconds).sum()),
        "utilization": busy / (options.processes * seconds),
        "writes_per_second": within["writes"].sum() / (jobs * seconds),
        "reads_per_second": (~within["writes"].astype(bool)).sum() / (jobs * seconds),
        "made": len(table),
        "stored": observed.stored,
    }


def _reached(observed: Observed, target: float, seconds: float) -> float:
    """Return when the first evaluation ended that reached a target; NaN if none did in time."""
    table = observed.evaluations
    ended = table["ended"][table["value"] <= target].min()  # NaN if there is none
    return float(ended) if ended <= seconds else math.nan


def curve(observed: Observed, moments: Iterable[float]) -> list[tuple[float, float]]:
    """Return moments, in seconds, and the best values of the evaluations that ended before."""
    times = list(moments)
    best = np.minimum.accumulate(observed.evaluations["value"].to_numpy())
    n_ended = np.searchsorted(observed.evaluations["ended"], times, side="right")
    padded = np.concatenate([[np.nan], best])
    return list(zip(times, padded[n_ended].tolist(), strict=True))


def table(rows: pd.DataFrame) -> str:
    """Return the medians and ranges over the seeds as a table in Markdown."""
    moments = [name for name in rows if name.startswith("best_")]
    bests = (f"best after {name[5:]} s" for name in moments)
    reached = [name for name in rows if name.startswith("seconds_to_")]
    times = (f"seconds to {name[11:]}" for name in reached)
    last = ("evaluations", "utilization", "writes, reads per second and job")
    lines: list[Sequence[str]] = [("problem", "database", "processes", *bests, *times, *last)]
    lines.append(["---"] * len(lines[0]))
    for key, runs in rows.groupby(["problem", "database", "method", "jobs"], sort=False):
        problem, database, method, jobs = key
        median = runs.median(numeric_only=True)
        lines.append(
            (
                problem,
                database,
                _label(method, jobs, int(median["processes"])),
                *(_range(runs[name]) for name in [*moments, *reached]),
                f"{median['evaluations']:,.0f}",
                f"{median['utilization']:.2f}",
                f"{median['writes_per_second']:.1f}, {median['reads_per_second']:.1f}",
            )
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _range(values: pd.Series) -> str:
    """Return median and range; "-" if not all runs have a value."""
    if values.isna().any():
        return "-"
    return f"{values.median():.2g} [{_short(values.min())}, {_short(values.max())}]"


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1g}"


def _label(method: str, jobs: int, processes: int) -> str:
    if method == "tpe":
        return f"TPE, {jobs} processes"
    number = "1 job" if jobs == 1 else f"{jobs} jobs"
    ranks = processes // jobs
    return f"{number} of {ranks} rank{'s' if ranks > 1 else ''}"


def draw(curves: pd.DataFrame, path: Path) -> None:
    """Draw the best value against time: median and range over the seeds."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    problems, databases = curves["problem"].unique(), curves["database"].unique()
    size = (4.5 * len(databases), 3 * len(problems))
    figure, axes = plt.subplots(
        len(problems), len(databases), figsize=size, sharex=True, sharey="row", squeeze=False
    )
    for (row, problem), (column, database) in itertools.product(
        enumerate(problems), enumerate(databases)
    ):
        axis = axes[row, column]
        part = curves[(curves["problem"] == problem) & (curves["database"] == database)]
        for (method, jobs, processes), runs in part.groupby(["method", "jobs", "processes"]):
            best = runs.groupby("seconds")["best"].quantile([0, 0.5, 1]).unstack()
            axis.semilogy(best.index, best[0.5], label=_label(method, jobs, processes))
            axis.fill_between(best.index, best[0], best[1], alpha=0.15)
        axis.set(title=f"{problem}, {database}", xlabel="seconds", ylabel="best value")
    axes[0, 0].legend(fontsize="small")
    figure.tight_layout()
    save(figure, path, ", ".join(sorted(set(curves["version"]))))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing, then print the table and draw the figure."""
    options = _parser().parse_args(arguments)
    options.moments.sort()
    options.output.mkdir(parents=True, exist_ok=True)
    summaries, curves = options.output / "jobs.csv", options.output / "best.csv"
    done = _done(summaries)
    variants = [("adbo", jobs) for jobs in options.jobs] + [("tpe", options.processes)]
    n_failed = 0
    with _databases() as new_database:
        for seed, problem, database, (method, jobs) in itertools.product(
            options.seeds, options.problems, options.databases, variants
        ):
            key = Key(problem, database, method, jobs, seed)
            if key in done:
                continue
            try:
                observed = observe(key, new_database(database), options)
            except ProcessesFailed as error:
                print(f"{_named(key)}: {error}", file=sys.stderr, flush=True)
                n_failed += 1
                continue
            fixed = {"version": code_version(), **key._asdict(), "processes": options.processes}
            steps = np.arange(_STEP, options.moments[-1] + _STEP / 2, _STEP)
            lines = [{**fixed, "seconds": t, "best": b} for t, b in curve(observed, steps)]
            _append(curves, lines)
            summary = summarize(observed, jobs, options)
            _append(summaries, [{**fixed, **summary}])
            print(f"{_named(key)}: {_shown(summary)}", file=sys.stderr, flush=True)
    if not summaries.exists():
        return 1
    print(table(pd.read_csv(summaries, dtype={"version": str})))
    draw(
        pd.read_csv(curves, dtype={"version": str}).drop_duplicates([*Key._fields, "seconds"]),
        options.output / "jobs.png",
    )
    return int(n_failed > 0)


def _named(key: Key) -> str:
    return " ".join(map(str, key))


def _shown(summary: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in summary.items())


@contextlib.contextmanager
def _databases() -> Iterator[Callable[[str], str]]:
    """Yield a function that returns the URL of an empty database of a kind."""
    with contextlib.ExitStack() as stack:
        servers: dict[str, Any] = {}
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        numbers = itertools.count()

        def new(kind: str) -> str:
            if kind == "sqlite":
                return f"sqlite:///{directory}/{next(numbers)}.db"
            if kind not in servers:
                servers[kind] = stack.enter_context(database_servers.start(kind))
            return str(servers[kind].new_database())

        yield new


def _done(path: Path) -> set[Key]:
    if not path.exists():
        return set()
    keys = pd.read_csv(path)[list(Key._fields)]
    return {Key(*row) for row in keys.itertuples(index=False, name=None)}


def _append(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    pd.DataFrame(rows).to_csv(path, mode="a", header=not path.exists(), index=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("jobs"), metavar="DIR")
    parser.add_argument("--problems", nargs="+", default=["ackley:5", "mixed"])
    parser.add_argument("--databases", nargs="+", default=["postgresql", "sqlite"])
    parser.add_argument("--processes", type=int, default=32, help="in all jobs together")
    parser.add_argument("--jobs", nargs="+", type=int, default=[1, 4, 32], metavar="J")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument(
        "--moments",
        nargs="+",
        type=float,
        default=[5, 10, 20],
        metavar="SECONDS",
        help="when the best value is noted; the run ends after the last one",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
