"""How fast fronts grow with the number of workers, on the virtual clock.

    python experiments/several_scaling.py --workers 64 256 1024 --output several_scaling.csv

Evaluations take N(60, 20) s; asks are charged with their measured time. The file has a row for
each of the ``--times`` of each run: the evaluations that had finished, the hypervolume as in
`several.py`, and the utilization. Runs that exist are not repeated.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from optuna.distributions import FloatDistribution
from optuna.trial import BaseTrial
from several import score
from several_problems import FRONTS, Problem
from versions import check_version, code_version

from adbo.simulation.settings import SimulationSettings
from adbo.simulation.simulate import Simulation, simulate

#: Columns that identify a run.
RUN = ("problem", "workers", "seed")


def objective_of(problem: Problem) -> Callable[[BaseTrial], list[float]]:
    """Return the objective of a problem whose parameters are floats."""

    def objective(trial: BaseTrial) -> list[float]:
        point = []
        for name, distribution in problem.space.items():
            assert isinstance(distribution, FloatDistribution)
            point.append(trial.suggest_float(name, distribution.low, distribution.high))
        return problem.evaluate(np.array(point))[0]

    return objective


def state_at(time: float, simulation: Simulation, problem: Problem) -> dict[str, float]:
    """Return the number of evaluations at a time, their hypervolume, and the utilization."""
    finished = simulation.history.column("finished")
    n = int(np.count_nonzero(finished <= time))
    values = simulation.history.objectives(np.arange(n)).tolist()
    busy = float((finished[:n] - simulation.history.column("started")[:n]).sum())
    return {
        "time": time,
        "evaluations": n,
        "hypervolume": score(problem, [(of_one, []) for of_one in values]),
        "utilization": busy / (time * simulation.settings.workers),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate the missing runs, then print the medians."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--problems", nargs="+", default=["zdt1", "dtlz2"], choices=list(FRONTS))
    parser.add_argument("--workers", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--times", type=float, nargs="+", default=[150.0, 300.0, 450.0, 600.0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, default=Path("several_scaling.csv"))
    options = parser.parse_args(arguments)
    version = code_version()
    rows = pd.DataFrame(columns=["version", *RUN])
    if options.output.exists():
        rows = pd.read_csv(options.output, dtype={"version": str})
        check_version(options.output, rows["version"], version)
    known = set(rows[list(RUN)].itertuples(index=False, name=None))
    for run in product(options.problems, options.workers, options.seeds):
        if run in known:
            continue
        name, workers, seed = run
        settings = SimulationSettings(
            workers=workers,
            seconds=max(options.times),
            duration="normal:60,20",
            direction=["minimize"] * len(FRONTS[name].reference),
            seed=seed,
        )
        simulation = simulate(objective_of(FRONTS[name]), settings)
        if simulation.interrupted:
            return 130
        states = [state_at(time, simulation, FRONTS[name]) for time in options.times]
        named = dict(zip(RUN, run, strict=True))
        new = pd.DataFrame([{"version": version, **named, **state} for state in states])
        rows = new if rows.empty else pd.concat([rows, new], ignore_index=True)
        rows.to_csv(options.output, index=False)
    table = rows.groupby(["problem", "time", "workers"])[["hypervolume", "utilization"]]
    print(table.median().unstack("workers").to_string(float_format="%.3f"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
