"""How close several jobs come to the optimum of one study, and one job with as many workers.

    python experiments/simulated_jobs.py --workers 32 --jobs 1 4 32 --duration normal:0.5,0.17 \\
        --times 10 20 30 40 --output simulated_jobs.csv

The workers are simulated. Those of one job hear of each other after ``--latency`` seconds, those
of different jobs after ``--job-latency``. The same seed gives the same problem, with its optimum
moved, and the same durations for every number of jobs. The file has a row for each of the
``--times`` of each run: the evaluations that had finished, the distance of the best value from the
optimum, and the utilization. Runs that exist are not repeated.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from versions import METHOD_VERSION, check_version

from adbo.benchmark_functions.problems import parse, shifted
from adbo.core.errors import UsageError
from adbo.simulation.settings import SimulationSettings
from adbo.simulation.simulate import Simulation, simulate

#: Columns that identify a run.
RUN = ("problem", "workers", "jobs", "duration", "latency", "job_latency", "ask_cost", "seed")


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate the missing runs, then print the table."""
    options = _parser().parse_args(arguments)
    try:
        runs = [settings_of(*part, options) for part in product(options.seeds, options.jobs)]
    except UsageError as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        return 2
    rows = load(options.output)
    for settings in runs:
        run = name_of(settings, options.problem)
        if len(_rows_of(run, rows)):
            continue
        problem = shifted(parse(options.problem), np.random.default_rng(settings.seed))
        simulation = simulate(problem.objective, settings)
        if simulation.interrupted:
            return 130
        states = [state_at(time, simulation, problem.optimum) for time in options.times]
        new = pd.DataFrame([{"version": METHOD_VERSION, **run, **state} for state in states])
        append(options.output, new)
        rows = pd.concat([rows, new], ignore_index=True)
    named = [_rows_of(name_of(settings, options.problem), rows) for settings in runs]
    print("distance from the optimum by virtual seconds and number of jobs: median [range]")
    print(table(pd.concat(named)))
    return 0


def settings_of(seed: int, jobs: int, options: argparse.Namespace) -> SimulationSettings:
    """Return the settings of a run."""
    return SimulationSettings(
        workers=options.workers,
        seconds=max(options.times),
        duration=options.duration,
        latency=options.latency,
        ask_cost=options.ask_cost,
        seed=seed,
        processes=options.processes,
        jobs=jobs,
        job_latency=options.job_latency,
    )


def name_of(settings: SimulationSettings, problem: str) -> dict[str, object]:
    """Return the columns `RUN` of a run."""
    return {key: problem if key == "problem" else getattr(settings, key) for key in RUN}


def state_at(seconds: float, simulation: Simulation, optimum: float) -> dict[str, float]:
    """Return how far a simulation was after some virtual seconds."""
    log = simulation.log
    n = int(np.searchsorted(log["finished"], seconds, "right"))
    busy = (log["finished"] - log["started"])[:n].sum()
    return {
        "seconds": seconds,
        "evaluations": n,
        "regret": simulation.best_so_far[n - 1] - optimum if n else np.nan,
        "utilization": busy / (seconds * simulation.settings.workers),
    }


def load(path: Path) -> pd.DataFrame:
    """Return the rows of a file, none if there is no file.

    Raises
    ------
    SystemExit
        If they were measured with another version of the method.
    """
    if not path.exists():
        return pd.DataFrame(columns=["version", *RUN])
    rows = pd.read_csv(path, dtype={"version": str})
    check_version(path, rows["version"])
    return rows


def append(path: Path, rows: pd.DataFrame) -> None:
    """Add the rows of a run to the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows.to_csv(path, mode="a", header=not path.exists(), index=False)


def table(rows: pd.DataFrame) -> str:
    """Return the median [lowest, highest] regret over the seeds by time and number of jobs."""
    cells = rows.groupby(["seconds", "jobs"])["regret"].agg(
        lambda r: f"{r.median():.2g} [{r.min():.2g}, {r.max():.2g}]"
    )
    return cells.unstack().to_string()


def _rows_of(run: dict[str, object], rows: pd.DataFrame) -> pd.DataFrame:
    return rows[(rows[list(RUN)] == pd.Series(run)).all(axis=1)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add = parser.add_argument
    add("--problem", default="ackley:5")
    add("--workers", type=int, default=32, help="of all jobs together (default: 32)")
    add("--jobs", type=int, nargs="+", default=[1, 4, 32], help="numbers of jobs")
    add("--seeds", type=int, nargs="+", default=[1, 2, 3])
    add("--times", type=float, nargs="+", default=[60.0, 120.0, 180.0, 240.0, 300.0])
    add("--duration", default="normal:60,20", help="of an evaluation (default: normal:60,20)")
    add("--latency", type=float, default=0.001, help="seconds (default: 0.001)")
    add("--job-latency", type=float, default=1.0, help="seconds (default: 1)")
    add("--ask-cost", type=float, default=0.01, help="seconds (default: 0.01)")
    add("--processes", type=int, default=1, help="processes that compute the asks (default: 1)")
    add("--output", type=Path, default=Path("simulated_jobs.csv"), metavar="CSV")
    return parser


if __name__ == "__main__":
    sys.exit(main())
