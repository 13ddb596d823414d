"""Measure how far apart the points are that thousands of ranks propose at the same moment.

    python experiments/diversity.py --output DIR

A simulated run makes some evaluations of Ackley's function. Then each of 4,096 ranks, all of which
know exactly these evaluations, asks once with its own random stream. The figure shows the distance
of each proposal from the nearest other proposal and from the incumbent, and the same for uniform
points.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from versions import METHOD_VERSION

from adbo.benchmark_functions import problems as benchmark_functions
from adbo.core.evaluation import to_batch
from adbo.core.history import History
from adbo.core.settings import KAPPA
from adbo.optimizer.ask import propose
from adbo.simulation.settings import SimulationSettings
from adbo.simulation.simulate import Simulation, simulate


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask, then print and draw the distances."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--ranks", type=int, default=4096)
    parser.add_argument("--evaluations", type=int, nargs="+", default=[100, 1000, 10000])
    parser.add_argument("--problem", default="ackley:5")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("diversity"), metavar="DIR")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    problem = benchmark_functions.shifted(
        benchmark_functions.parse(options.problem), np.random.default_rng(options.seed)
    )
    run = simulate(
        problem.objective,
        SimulationSettings(
            workers=64, n_trials=max(options.evaluations), ask_cost=0.0, seed=options.seed
        ),
    )
    tables = []
    for n in options.evaluations:
        points, incumbent = ask_all(run, n, options.ranks, options.seed)
        tables.append(distances(points, incumbent).assign(evaluations=n))
    rng = np.random.default_rng(options.seed)
    uniform = rng.random((options.ranks, problem.dimension))
    tables.append(distances(uniform, uniform[0]).assign(evaluations=0))
    table = pd.concat(tables)
    table.assign(version=METHOD_VERSION).to_csv(
        options.output / "diversity.csv", index=False, float_format="%.6g"
    )
    print(summary(table))
    draw(table, options.output / "diversity.png")
    return 0


def ask_all(
    run: Simulation, n: int, ranks: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return proposals ``(ranks, d)`` and incumbent ``(d,)`` in the unit cube.

    The ranks know the first ``n`` evaluations of the run.
    """
    history = History()
    history.extend(to_batch(evaluation) for evaluation in run.history.evaluations(0, n))
    streams = np.random.default_rng([seed, n]).spawn(ranks)
    points = np.array([propose(history, KAPPA, rng).point for rng in streams])
    return history.space.to_unit(points), history.space.to_unit(history.values(history.elites))[0]


def distances(points: NDArray[np.float64], incumbent: NDArray[np.float64]) -> pd.DataFrame:
    """Return each point's distance to the nearest other one and to the incumbent, in diagonals."""
    diagonal = np.sqrt(points.shape[1])
    nearest, _ = cKDTree(points).query(points, k=2)
    from_incumbent = np.linalg.norm(points - incumbent, axis=1)
    return pd.DataFrame(
        {"nearest": nearest[:, 1] / diagonal, "incumbent": from_incumbent / diagonal}
    )


def summary(table: pd.DataFrame) -> str:
    """Return quantiles of the distances as text."""
    quantiles = table.groupby("evaluations", sort=False).quantile([0.1, 0.5, 0.9]).unstack()
    equal = table.groupby("evaluations", sort=False)["nearest"].agg(
        equal=lambda nearest: int((nearest == 0).sum())
    )
    return quantiles.join(pd.concat({"": equal}, axis=1)).to_string(float_format="{:.2g}".format)


def draw(table: pd.DataFrame, path: Path) -> None:
    """Draw the fraction of the points that are farther than a distance."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    for axes, name, label in zip(
        figure.subplots(1, 2),
        ("nearest", "incumbent"),
        ("to the nearest other proposal", "to the incumbent"),
        strict=True,
    ):
        for n, group in table.groupby("evaluations", sort=False):
            ordered = np.sort(group[name])
            share = 1 - np.arange(len(ordered)) / len(ordered)
            axes.plot(ordered, share, label=f"{n:,} evaluations known" if n else "uniform")
        axes.set(xscale="log", xlabel=f"distance {label} (diagonals)", ylabel="fraction farther")
        axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    sys.exit(main())
