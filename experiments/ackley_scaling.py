"""The weak scaling experiment of Egele et al. (arXiv 2207.00479, section IV) on a virtual clock.

    python experiments/ackley_scaling.py --output results --workers 128 256 512 --seeds 14 42

Each combination of method, problem, number of workers and seed is one part and has its own files.
Finished parts are not repeated, so that the same command continues after an interruption. At the
end the script prints a table with the published figures and draws the results.

The first problem is measured with each number of workers. The dimensions and the other problems
are measured with the largest number of workers only.

With ``--real``, on the ranks of an MPI job, the script measures these ranks in real time as the
method ``adbo-real``:

    mpiexec -n 8 python experiments/ackley_scaling.py --real --seconds 60 --duration normal:2,0.667
    python experiments/ackley_scaling.py --methods adbo adbo-real --workers 8 --seconds 60 \\
        --duration normal:2,0.667
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from real_ranks import measure
from scaling_figures import (
    PUBLISHED,
    PUBLISHED_DURATION,
    PUBLISHED_SECONDS,
    REAL,
    Part,
    draw,
)
from tqdm import tqdm
from versions import METHOD_VERSION

from adbo.benchmark_functions import problems as benchmark_functions
from adbo.benchmark_functions.problems import Problem
from adbo.comm.in_process import SingleRank
from adbo.comm.launch import find_ranks
from adbo.comm.protocols import Ranks
from adbo.core.errors import UsageError
from adbo.core.space import FloatArray
from adbo.simulation.methods import METHODS
from adbo.simulation.settings import SimulationSettings
from adbo.simulation.simulate import Simulation, simulate

#: Seeds of the published experiment.
SEEDS = (14, 42, 60, 71, 92)

#: Largest number of points of a stored curve, besides those at which the best value improves.
CURVE_POINTS = 2000

#: Distances from the optimum; the time until each is reached is stored.
TARGETS = (1e-3, 1e-8)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the missing parts, then print and draw all parts."""
    options = _parser().parse_args(arguments)
    ranks: Ranks = SingleRank()
    try:
        if options.real:
            ranks = find_ranks()
            options.methods, options.workers = [REAL], [ranks.size]
        parts = list(plan(options))
        for part in parts:
            settings_of(part, options)  # reports a mistake before a folder is created
        ranks.share(partial(_check_folder, options))
        done = _measure(parts, options, ranks) if options.real else _run(parts, options)
    except UsageError as error:
        if ranks.rank == 0:
            print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        return 2
    status = 0 if done else 130
    if ranks.rank:
        return status
    results = load(options.output, parts)
    if results.empty:
        return status
    print(table(results))
    finished = results[results["evaluations"] > 0]
    if finished.empty:
        print("no evaluation finished in time: there is nothing to draw")
        return status
    published = (options.seconds, options.duration) == (PUBLISHED_SECONDS, PUBLISHED_DURATION)
    draw(finished, options.output, published)
    print(f"figures and files in {options.output}")
    return status


def plan(options: argparse.Namespace) -> Iterable[Part]:
    """Return all parts, those with few workers first."""
    first, *others = options.problems
    largest = max(options.workers)
    runs = [(first, workers) for workers in sorted(options.workers)]
    runs += [(f"ackley:{d}", largest) for d in options.dimensions]
    runs += [(problem, largest) for problem in others]
    for problem, workers in dict.fromkeys(runs):
        for method in options.methods:
            for seed in options.seeds:
                yield Part(method, problem, workers, seed)


def settings_of(part: Part, options: argparse.Namespace) -> tuple[Problem, SimulationSettings]:
    """Return the problem of a part and the settings of its simulation."""
    try:
        problem = benchmark_functions.parse(part.problem)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if options.shifted:
        problem = benchmark_functions.shifted(problem, np.random.default_rng(part.seed))
    return problem, SimulationSettings(
        workers=part.workers,
        seconds=options.seconds,
        duration=options.duration,
        latency=options.latency,
        ask_cost=options.ask_cost,
        ask_cost_per_evaluation=options.ask_cost_per_evaluation,
        method="adbo" if part.method == REAL else part.method,
        seed=part.seed,
        processes=options.processes,
    )


def run(part: Part, options: argparse.Namespace, bar: tqdm) -> Simulation:
    """Simulate one part and show the progress."""
    problem, settings = settings_of(part, options)
    before = bar.n

    def progress(fraction: float, best: float | None) -> None:
        bar.update(before + fraction * part.workers - bar.n)

    bar.set_description(part.name)
    return simulate(problem.objective, settings, progress)


def save(part: Part, simulation: Simulation, folder: Path) -> None:
    """Write the files of a part; the summary is the last and marks the part as finished."""
    log = simulation.log
    kept = np.unique(np.linspace(0, len(log) - 1, min(CURVE_POINTS, len(log))).astype(int))
    best = simulation.best_so_far
    improved = np.flatnonzero(np.diff(best, prepend=np.inf) < 0)
    curve = np.union1d(kept, improved)
    pd.DataFrame(
        {"seconds": log["finished"][curve], "evaluations": curve + 1, "best": best[curve]}
    ).to_csv(part.path(folder, ".curve"), index=False)
    optimum = benchmark_functions.parse(part.problem).optimum
    summary = {
        "version": METHOD_VERSION,
        **asdict(part),
        "evaluations": len(log),
        "utilization": simulation.utilization,
        "attainable": simulation.attainable,
        "overhead": simulation.overhead,
        "idle": simulation.idle,
        "best": best[-1] if len(log) else np.nan,
        "regret": best[-1] - optimum if len(log) else np.nan,
        "ask_seconds_median": np.median(log["ask_seconds"]) if len(log) else np.nan,
        **{f"seconds_to_{t:g}": _seconds_to(log["finished"], best - optimum, t) for t in TARGETS},
    }
    path = part.path(folder)
    temporary = path.with_suffix(".part")
    pd.DataFrame([summary]).to_csv(temporary, index=False)
    temporary.replace(path)


def _seconds_to(seconds: FloatArray, regret: FloatArray, target: float) -> float:
    """Return the time at which the decreasing ``regret`` reaches a target, NaN if never."""
    reached = np.flatnonzero(regret <= target)
    return float(seconds[reached[0]]) if len(reached) else np.nan


def load(folder: Path, parts: Iterable[Part]) -> pd.DataFrame:
    """Return the summaries of the finished parts."""
    paths = [path for part in parts if (path := part.path(folder)).exists()]
    summaries = [pd.read_csv(path, dtype={"version": str}) for path in paths]
    return pd.concat(summaries, ignore_index=True) if paths else pd.DataFrame()


def table(results: pd.DataFrame) -> str:
    """Return the medians over the seeds and the published figures as text."""
    medians = results.groupby(["problem", "method", "workers"]).agg(
        seeds=("seed", "size"),
        evaluations=("evaluations", "median"),
        utilization=("utilization", "median"),
        attainable=("attainable", "median"),
        overhead=("overhead", "median"),
        idle=("idle", "median"),
        best=("best", "median"),
        ask_seconds=("ask_seconds_median", "median"),
    )
    return (
        f"method {METHOD_VERSION}, medians; overhead and idle in seconds per evaluation\n"
        f"{medians.to_string(float_format='{:.4g}'.format)}\n\n"
        "published, ackley:5, means over 5 seeds:\n"
        f"{PUBLISHED.to_string(index=False, float_format='{:.4g}'.format)}"
    )


def _measure(parts: Sequence[Part], options: argparse.Namespace, ranks: Ranks) -> bool:
    """Measure the missing parts on all ranks; return False if the user interrupted them."""
    for part in parts:
        if ranks.share(part.path(options.output).exists):
            continue
        real = measure(*settings_of(part, options), ranks)
        if any(ranks.agree(real.interrupted)):
            return False
        if ranks.rank == 0:
            save(part, real, options.output)
    return True


def _run(parts: Sequence[Part], options: argparse.Namespace) -> bool:
    """Simulate the missing parts; return False if the user interrupted them."""
    parts = [p for p in parts if p.method != REAL and not p.path(options.output).exists()]
    total = sum(part.workers for part in parts)
    with tqdm(
        total=total,
        bar_format="{desc}{percentage:.0f}%|{bar}| {elapsed}<{remaining}",
        disable=None,  # shown on a terminal only
    ) as bar:
        for part in parts:
            simulation = run(part, options, bar)
            if simulation.interrupted:
                return False
            save(part, simulation, options.output)
            tqdm.write(f"{part.name} done", file=sys.stderr)
    return True


def _check_folder(options: argparse.Namespace) -> None:
    """Create the folder of the results, or refuse one that has results for other settings."""
    options.output.mkdir(parents=True, exist_ok=True)
    machine = {"version": METHOD_VERSION} | {
        name: getattr(options, name)
        for name in (
            "seconds",
            "duration",
            "latency",
            "ask_cost",
            "ask_cost_per_evaluation",
            "shifted",
        )
    }
    path = options.output / "machine.json"
    if path.exists() and json.loads(path.read_text()) != machine:
        raise UsageError(f"{options.output} has results for other settings, see {path}")
    path.write_text(json.dumps(machine, indent=2) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--output", type=Path, default=Path("ackley_scaling"), help="folder of the results")
    add("--workers", type=int, nargs="+", default=[128 * 2**i for i in range(6)])
    add("--seeds", type=int, nargs="+", default=list(SEEDS))
    add("--seconds", type=float, default=1800.0, help="virtual seconds (default: 1800)")
    add(
        "--methods",
        nargs="+",
        default=["adbo"],
        choices=[*METHODS, REAL],
        metavar="METHOD",
        help=f"any of {', '.join(METHODS)} (default: adbo), and {REAL} if measured before",
    )
    add(
        "--problems", nargs="+", default=["ackley:5"], help="the first with each number of workers"
    )
    add("--dimensions", type=int, nargs="*", default=[], help="further dimensions of Ackley")
    add("--duration", default="normal:60,20", help="of an evaluation (default: normal:60,20)")
    add("--latency", type=float, default=0.001, help="seconds (default: 0.001)")
    add("--ask-cost", type=float, help="seconds (default: the CPU time that asks take here)")
    add("--ask-cost-per-evaluation", type=float, default=0.0, help="seconds per known evaluation")
    add("--real", action="store_true", help="measure on the ranks of this MPI job")
    add("--shifted", action="store_true", help="move the optimum to a random point")
    add("--processes", type=int, default=1, help="processes that compute the asks (default: 1)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
