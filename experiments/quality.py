"""How close adbo and other optimizers come to the optimum with the same number of evaluations.

    python experiments/quality.py --output quality.csv --problems ackley:5 levy:10 --seeds 0 1 2
    python experiments/quality.py --problems mixed noisy:sphere:5 --workers 8 --evaluations 200

The workers run in parallel on a virtual clock, and an evaluation takes 60 +- 10 virtual seconds.
`cases.py` defines the problems, and `searchers.py` the methods; methods that are not installed are
skipped. A row of the file is the result of one method on one problem with one seed; rows that
exist are not measured again.
"""

from __future__ import annotations

import argparse
import csv
import heapq
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
from cases import MIXED, make_case
from optuna.trial import BaseTrial
from searchers import METHODS, MakeSearcher, is_installed
from versions import METHOD_VERSION, check_version

PROBLEMS = (
    "ackley:5",
    "ackley:10",
    "rosenbrock:5",
    "hartmann6",
    "schwefel:5",
    "levy:10",
    "griewank:5",
    "rotated:rastrigin:5",
    "ackley:30",
    *MIXED,
    "noisy:sphere:5",
    "noisy:ackley:5",
    "failing:ackley:5",
)

#: Virtual seconds of an evaluation: mean and standard deviation of a normal distribution, minimum.
DURATION = (60.0, 10.0, 1.0)

KEYS = ("method", "problem", "workers", "evaluations", "seed")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the missing rows, then print the table."""
    options = _parser().parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    parts = list(plan(options))
    done = load(options.output)
    for part in parts:
        if part not in done:
            done[part] = regret(*part)
            append(options.output, part, done[part])
    print(table({part: done[part] for part in parts}))
    return 0


def plan(options: argparse.Namespace) -> Iterator[tuple[str, str, int, int, int]]:
    """Yield the keys of all rows, in the order of `KEYS`."""
    for problem, method, seed in product(options.problems, options.methods, options.seeds):
        if is_installed(method):
            yield method, problem, options.workers, options.evaluations, seed


def regret(method: str, name: str, workers: int, evaluations: int, seed: int) -> float:
    """Return the regret of a method of `METHODS`; see `regret_of`."""
    return regret_of(METHODS[method], name, workers, evaluations, seed)


def regret_of(
    make_searcher: MakeSearcher, name: str, workers: int, evaluations: int, seed: int
) -> float:
    """Return the regret of the point with the best observed value, without noise.

    The regret is the value of the noiseless objective less its minimum.
    """
    case = make_case(name, seed)
    searcher = make_searcher(case.space, seed)
    mean, deviation, least = DURATION
    rng, noise = np.random.default_rng([seed, 1]), np.random.default_rng([seed, 3])

    def start(now: float, worker: int) -> tuple[float, int, BaseTrial]:
        return now + max(rng.normal(mean, deviation), least), worker, searcher.ask()

    running = [start(0.0, worker) for worker in range(workers)]
    heapq.heapify(running)
    best = np.inf, np.inf
    for _ in range(evaluations):
        now, worker, trial = heapq.heappop(running)
        true = case.regret(trial)
        if case.fails(trial.params):
            searcher.tell(trial, None)
        else:
            observed = true + case.noise * noise.standard_normal()
            best = min(best, (observed, true))
            searcher.tell(trial, observed)
        heapq.heappush(running, start(now, worker))
    return best[1]


def load(path: Path) -> dict[tuple[str, str, int, int, int], float]:
    """Return the regrets in a file, none if there is no file.

    Raises
    ------
    SystemExit
        If they were measured with another version of the method.
    """
    if not path.exists():
        return {}
    frame = pd.read_csv(path, dtype={"version": str})
    check_version(path, frame["version"])
    return dict(
        zip(frame[list(KEYS)].itertuples(index=False, name=None), frame["regret"], strict=True)
    )


def append(path: Path, part: tuple[str, str, int, int, int], value: float) -> None:
    """Add a row to the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(["version", *KEYS, "regret"])
        writer.writerow([METHOD_VERSION, *part, repr(value)])


def table(regrets: Mapping[tuple[str, str, int, int, int], float]) -> str:
    """Return median [lowest, highest] over the seeds: problems as rows, methods as columns."""
    frame = pd.DataFrame(
        [[*part, value] for part, value in regrets.items()], columns=[*KEYS, "regret"]
    )
    cells = frame.groupby(["problem", "method"], sort=False)["regret"].agg(
        lambda r: f"{r.median():.2g} [{r.min():.2g}, {r.max():.2g}]"
    )
    return cells.unstack().to_string()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--problems", nargs="+", default=PROBLEMS)
    parser.add_argument("--seeds", nargs="+", type=int, default=(300, 301, 302, 303, 304))
    parser.add_argument("--evaluations", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=tuple(METHODS))
    parser.add_argument("--output", type=Path, default=Path("quality.csv"), metavar="CSV")
    return parser


if __name__ == "__main__":
    sys.exit(main())
