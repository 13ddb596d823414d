"""Search for the best known points of the real problems whose minimum is not known otherwise.

    python experiments/real_best_known.py --seeds 1 2 3 4 5
    python experiments/real_best_known.py --problems rover well_field --starts 2 3 4

Local searches over the floats, by L-BFGS-B and Nelder-Mead, start from the best point of each
run of differential evolution, and from the points stored for all seeds of the problem, so that a
second call hands good points on. `real/best_known.json` keeps the best point found by all calls.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from real import BEST_KNOWN, NAMES, make_problem
from real.problem import FloatArray, Problem, bounded
from scipy.optimize import differential_evolution, minimize

#: Rounds of local searches at most: after differential evolution, and from stored points.
POLISHING, IMPROVING = 10, 3

#: A round that lowers the value by less than this fraction is the last one, after the first three.
GAIN = 1e-8

#: The value of a point that fails, for the search.
FAILED = 2e9


def main(arguments: Sequence[str] | None = None) -> int:
    """Search, and store what is better than the stored points."""
    options = _parser().parse_args(arguments)
    stored: dict[str, dict[str, Any]] = (
        json.loads(BEST_KNOWN.read_text()) if BEST_KNOWN.exists() else {}
    )
    searched = [name for name in NAMES if make_problem(name, 0).best is None]
    stored = {name: stored[name] for name in searched if name in stored}
    for name in [name for name in options.problems if name in searched]:
        entries = stored.setdefault(name, {})
        for seed in options.seeds:
            problem = make_problem(name, seed)
            # A good point for one seed is near one for another, where a search may miss it.
            known = [entry["point"] for entry in entries.values()]
            points = [search(problem, options.evaluations, start) for start in options.starts]
            points += known + [improve(problem, point, IMPROVING) for point in known]
            values = [bounded(problem.value(point)) for point in points]
            best = int(np.argmin(values))
            entries[str(seed)] = {"value": values[best], "point": points[best]}
            print(
                name,
                seed,
                " ".join(f"{v:.10g}" for v in values[: len(options.starts)]),
                flush=True,
            )
            BEST_KNOWN.write_text(_as_text(stored))
    return 0


def search(problem: Problem, evaluations: int, seed: int) -> list[Any]:
    """Return a point with a low value, in the order of the space."""
    n = len(problem.space)
    members = max(5, min(15, 150 // n))
    result = differential_evolution(
        partial(_value, problem),
        [(0.0, 1.0)] * n,
        popsize=members,
        maxiter=evaluations // (members * n),
        tol=1e-12,
        rng=seed,
        polish=False,
        init="sobol",
    )
    return improve(problem, _of_units(problem, result.x), POLISHING)


def improve(problem: Problem, point: Sequence[Any], rounds: int) -> list[Any]:
    """Return the end of local searches over the floats, which begin at a point."""
    distributions = list(problem.space.values())
    unit = _to_unit(point, distributions)
    floats = np.array([isinstance(d, FloatDistribution) for d in distributions])

    def value(part: FloatArray) -> float:
        unit[floats] = np.clip(part, 0, 1)
        return _value(problem, unit)

    best = unit[floats]
    lowest = value(best)
    for i in range(rounds if floats.any() else 0):
        before = lowest
        for method, options in (
            ("L-BFGS-B", {"eps": 10.0 ** -(7 + i % 3)}),
            ("Nelder-Mead", {"maxfev": 200 * len(best), "xatol": 1e-12, "fatol": 1e-14}),
        ):
            found = minimize(
                value, best, method=method, bounds=[(0, 1)] * len(best), options=options
            )
            if found.fun < lowest:
                best, lowest = np.clip(found.x, 0, 1), float(found.fun)
        if i >= 2 and before - lowest <= GAIN * abs(before):
            break
    unit[floats] = best
    return _of_units(problem, unit)


def _value(problem: Problem, unit: FloatArray) -> float:
    x = _of_units(problem, unit)
    return FAILED if problem.fails(x) else bounded(problem.value(x))


def _of_units(problem: Problem, unit: FloatArray) -> list[Any]:
    return [_of_unit(u, d) for u, d in zip(unit, problem.space.values(), strict=True)]


def _of_unit(u: float, distribution: BaseDistribution) -> Any:
    """Return the value of a parameter at a place between 0 and 1."""
    if isinstance(distribution, FloatDistribution):
        low, high = distribution.low, distribution.high
        value = low * (high / low) ** u if distribution.log else low + u * (high - low)
        return float(min(max(value, low), high))
    if isinstance(distribution, IntDistribution):
        count = distribution.high - distribution.low + 1
        return distribution.low + min(int(u * count), count - 1)
    assert isinstance(distribution, CategoricalDistribution)
    count = len(distribution.choices)
    return distribution.choices[min(int(u * count), count - 1)]


def _to_unit(point: Sequence[Any], distributions: Sequence[BaseDistribution]) -> FloatArray:
    """Return the places of parameters between 0 and 1."""
    places = []
    for value, d in zip(point, distributions, strict=True):
        if isinstance(d, FloatDistribution) and d.log:
            places.append(np.log(value / d.low) / np.log(d.high / d.low))
        elif isinstance(d, FloatDistribution):
            places.append((value - d.low) / (d.high - d.low))
        elif isinstance(d, IntDistribution):
            places.append((value - d.low + 0.5) / (d.high - d.low + 1))
        else:
            assert isinstance(d, CategoricalDistribution)
            places.append((d.choices.index(value) + 0.5) / len(d.choices))
    return np.clip(places, 0, 1)


def _as_text(stored: dict[str, dict[str, Any]]) -> str:
    """Return JSON with a line for each problem and seed."""
    problems = []
    for name in sorted(stored):
        entries = sorted(stored[name].items(), key=lambda entry: int(entry[0]))
        lines = ",\n".join(f'  "{seed}": {json.dumps(entry)}' for seed, entry in entries)
        problems.append(f' "{name}": {{\n{lines}\n }}')
    return "{\n" + ",\n".join(problems) + "\n}\n"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--problems", nargs="+", choices=NAMES, default=NAMES, metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=(1, 2, 3, 4, 5))
    parser.add_argument("--evaluations", type=int, default=50_000, help="of each restart")
    parser.add_argument(
        "--starts", nargs="+", type=int, default=(0, 1), help="seeds of the restarts"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
