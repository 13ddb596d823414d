"""The figures of the scaling experiment, with the published results for comparison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from versions import save

from adbo.benchmark_functions import problems as benchmark_functions

#: Name of the method that is measured on MPI ranks.
REAL = "adbo-real"

#: The published results, means over five seeds, with their problem, time and durations.
PUBLISHED_PROBLEM = "ackley:5"
PUBLISHED_SECONDS = 1800.0
PUBLISHED_DURATION = "normal:60,20"
PUBLISHED = pd.DataFrame(
    [
        ("ADBO 2022", 128, 2975, 0.928, 4.18, 5.6),
        ("ADBO 2022", 256, 5912, 0.918, 4.00, 6.4),
        ("ADBO 2022", 512, 11702, 0.909, 3.50, 7.1),
        ("ADBO 2022", 1024, 22863, 0.893, 3.08, 8.7),
        ("ADBO 2022", 2048, 43914, 0.855, 2.87, 12.1),
        ("ADBO 2022", 4096, 79473, 0.773, 2.81, 21.0),
        ("SDBO 2022", 128, 1658, 0.519, 11.41, np.nan),
        ("SDBO 2022", 256, 3301, 0.517, 8.31, np.nan),
        ("SDBO 2022", 512, 6633, 0.518, 6.51, np.nan),
        ("SDBO 2022", 1024, 13154, 0.513, 5.44, np.nan),
        ("SDBO 2022", 2048, 25599, 0.499, 3.95, np.nan),
        ("SDBO 2022", 4096, 49964, 0.486, 3.96, np.nan),
    ],
    columns=["method", "workers", "evaluations", "utilization", "best", "overhead"],
)

#: Utilization of the published ADBO at 4,096 workers by the dimension of Ackley.
PUBLISHED_DIMENSIONS = {5: 0.748, 10: 0.659, 30: 0.486, 50: 0.296, 100: 0.147}

#: Largest number of curves in a figure that shows the range over the seeds as bands.
MOST_BANDS = 8


@dataclass(frozen=True)
class Part:
    """One simulation, or one measurement on real ranks."""

    method: str
    problem: str
    workers: int
    seed: int

    @property
    def name(self) -> str:
        """Return the common stem of the names of its files."""
        problem = self.problem.replace(":", "-")
        return f"{self.method}_{problem}_{self.workers}_{self.seed}"

    def path(self, folder: Path, kind: str = "") -> Path:
        """Return the path of its summary, or with ``.curve`` that of its best values."""
        return folder / f"{self.name}{kind}.csv"

    @classmethod
    def of(cls, row: pd.Series) -> Part:
        """Return the part of a row of a summary."""
        return cls(row["method"], row["problem"], row["workers"], row["seed"])


def draw(results: pd.DataFrame, folder: Path, published: bool) -> None:
    """Draw each figure for which there are results.

    Parameters
    ----------
    results
        The summaries of parts.
    folder
        The folder that has their curves and gets the figures.
    published
        Whether to show the published results, which have the same time and durations.
    """
    version = ", ".join(sorted(set(results["version"])))
    first = results["problem"].iloc[0]
    scaling = results[results["problem"] == first]
    published &= first == PUBLISHED_PROBLEM
    _save(folder / "best.png", version, lambda axes: _draw_best(axes, scaling, folder, published))
    _save(
        folder / "utilization.png",
        version,
        lambda axes: _draw_utilization(axes, scaling, published),
    )
    if results["problem"].nunique() > 1:
        _save(folder / "problems.png", version, lambda axes: _draw_problems(axes, results, folder))
    dimensions = results[results["problem"].str.match(r"ackley:\d+$")]
    if dimensions["problem"].nunique() > 1:
        _save(folder / "dimensions.png", version, lambda axes: _draw_dimensions(axes, dimensions))


def _draw_best(axes: Axes, results: pd.DataFrame, folder: Path, published: bool) -> None:
    styles = _styles(results)
    for (method, workers), group in results.groupby(["method", "workers"]):
        style = styles[method, workers]
        label = f"{method}, {workers:,} workers"
        _draw_regret(axes, group, folder, {**style, "label": label}, len(styles) <= MOST_BANDS)
    if published:
        for (method, group), mark in zip(PUBLISHED.groupby("method"), ("k_", "r_"), strict=True):
            place = [PUBLISHED_SECONDS] * len(group)
            label = f"{method}, 128 to 4,096 (means)"
            axes.plot(place, group["best"], mark, markersize=12, label=label)
    _name_regret(axes)


def _draw_problems(axes: Axes, results: pd.DataFrame, folder: Path) -> None:
    largest = results[results["workers"] == results["workers"].max()]
    for i, (names, group) in enumerate(largest.groupby(["problem", "method"], sort=False)):
        style = {"color": f"C{i % 10}", "label": ", ".join(names)}
        _draw_regret(axes, group, folder, style, True)
    axes.set_title(f"{largest['workers'].iloc[0]:,} workers", fontsize="medium")
    _name_regret(axes)


def _draw_regret(
    axes: Axes, group: pd.DataFrame, folder: Path, style: dict[str, Any], band: bool
) -> None:
    """Draw the median of some parts against time, with the range as a band."""
    optimum = benchmark_functions.parse(group["problem"].iloc[0]).optimum
    parts = [Part.of(row) for _, row in group.iterrows()]
    curves = [pd.read_csv(part.path(folder, ".curve")) for part in parts]
    end = max((curve["seconds"].max() for curve in curves if len(curve)), default=0.0)
    times = np.linspace(0, end, 300)
    regrets = np.array([_at(curve, times) for curve in curves]) - optimum
    # NaN until each part has finished an evaluation.
    [line] = axes.plot(times, np.median(regrets, axis=0), **style)
    if band and len(parts) > 1:
        low, high = regrets.min(axis=0), regrets.max(axis=0)
        axes.fill_between(times, low, high, color=line.get_color(), alpha=0.1, linewidth=0)


def _name_regret(axes: Axes) -> None:
    label = "best value less the optimum (median of seeds)"
    axes.set(xlabel="time (s)", ylabel=label, yscale="log")


def _at(curve: pd.DataFrame, times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the best value at each time, NaN before the first evaluation."""
    if curve.empty:
        return np.full(len(times), np.nan)
    last = np.searchsorted(curve["seconds"], times, "right") - 1
    return np.where(last >= 0, curve["best"].to_numpy()[last], np.nan)


def _styles(results: pd.DataFrame) -> dict[tuple[str, int], dict[str, Any]]:
    """Return the line style of each method and number of workers.

    Colours tell apart whichever of the two has more values, and dashes the other.
    """
    methods, workers = list(results["method"].unique()), sorted(results["workers"].unique())
    by_method = len(methods) > len(workers)
    styles = {}
    for method, n in results.groupby(["method", "workers"]).groups:
        places = methods.index(method), workers.index(n)
        colour, dash = places if by_method else places[::-1]
        styles[method, n] = {
            "color": f"C{colour % 10}",
            "linestyle": ("-", "--", ":", "-.")[dash % 4],
        }
    return styles


def _draw_utilization(axes: Axes, results: pd.DataFrame, published: bool) -> None:
    for method, group in results.groupby("method"):
        means = group.groupby("workers")["utilization"].mean()
        axes.plot(means.index, means, "o-", label=method)
    attainable = results.groupby("workers")["attainable"].mean()
    axes.plot(attainable.index, attainable, "k:", label="attainable (free asks)")
    for method, group in PUBLISHED.groupby("method") if published else ():
        axes.plot(group["workers"], group["utilization"], "s--", alpha=0.6, label=method)
    axes.set(xlabel="workers", ylabel="utilization", ylim=(0, 1.02))
    _count_workers(axes)


def _count_workers(axes: Axes) -> None:
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda workers, _: f"{workers:,.0f}")


def _draw_dimensions(axes: Axes, results: pd.DataFrame) -> None:
    largest = results[results["workers"] == results["workers"].max()]
    dimension = largest["problem"].str.partition(":")[2].astype(int)
    largest = largest.assign(dimension=dimension)
    for method, group in largest.groupby("method"):
        means = group.groupby("dimension")["utilization"].mean()
        axes.plot(means.index, means, "o-", label=method)
    axes.plot(
        list(PUBLISHED_DIMENSIONS),
        list(PUBLISHED_DIMENSIONS.values()),
        "s--",
        alpha=0.6,
        label="ADBO 2022, 4,096 workers",
    )
    workers = largest["workers"].iloc[0]
    axes.set(
        xlabel=f"dimension of Ackley, {workers:,} workers", ylabel="utilization", xscale="log"
    )
    axes.set_ylim(0, 1.02)


def _save(path: Path, version: str, plot: Callable[[Axes], None]) -> None:
    figure = Figure(figsize=(7, 4.4), layout="constrained")
    axes = figure.subplots()
    plot(axes)
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize="small")
    save(figure, path, version)
