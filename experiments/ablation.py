"""Compare the quality of the optimizer with one default changed to the quality with all defaults.

    python experiments/ablation.py --output DIR

A variant is an `OptimizerSettings` in which some tunables differ from the defaults, or another
kappa. The problems are those of `cases.py`. A figure is the fraction of comparisons in which a
run ends farther from the optimum than the other variants' runs on the same instance of a problem,
that is with the same seed. Most variants are as good as the defaults; the figure of a tunable that
makes no difference is 0.5. (Two runs of one variant differ too much for a comparison with the
defaults alone.) Distances below 1e-9 count as equal, and equal ones as half. Runs that are in the
output file are not repeated.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
from cases import make_case
from rows import Part, append, load, parts_of
from runs import Budget, Run, asynchronously, regrets_of
from searchers import Adbo
from versions import METHOD_VERSION

from adbo.core.settings import KAPPA
from adbo.optimizer.settings import (
    DEFAULT_SETTINGS,
    OptimizerSettings,
    QuadraticSettings,
    RBFSettings,
)

#: Workers, evaluations, and problems.
BUDGETS = (
    (16, 500, ("ackley:5", "rosenbrock:5", "schwefel:5", "rotated:rastrigin:5", "levy:10")),
    (64, 1500, ("stretched:rotated:rastrigin:5",)),
    (16, 400, ("mixed", "conditional", "integer", "noisy:ackley:5", "faces")),
    (16, 150, ("categorical",)),
)

#: Regrets below this value count as equal.
FLOOR = 1e-9

DEFAULT = "default"


@dataclass(frozen=True)
class Variant:
    """A configuration of the optimizer."""

    settings: OptimizerSettings = DEFAULT_SETTINGS
    kappa: float = KAPPA


def changed(**parts: Mapping[str, Any]) -> Variant:
    """Return the default settings with some fields replaced, given by part: ``forest={...}``.

    Raises
    ------
    AttributeError, TypeError
        If there is no part or no field of that name.
    """
    replaced = {
        part: replace(getattr(DEFAULT_SETTINGS, part), **new) for part, new in parts.items()
    }
    return Variant(replace(DEFAULT_SETTINGS, **replaced))


#: Quadratics without enough rows for more than an isotropic Hessian.
FEW_TERMS = QuadraticSettings(rows_per_coefficient=math.inf)

NO_QUINTIC = {"rbf": RBFSettings(quintic_rows_per_coefficient=math.inf)}
NO_GLOBAL_QUADRATIC = {"quadratic_probability": 0.0, "region_quadratic_probability": 0.0}

VARIANTS: Mapping[str, Variant] = {
    DEFAULT: Variant(),
    "kappa 0": Variant(kappa=0.0),
    "kappa x 1/4": Variant(kappa=0.49),
    "kappa x 4": Variant(kappa=7.84),
    "3 trees": changed(forest={"n_trees": 3}),
    "30 trees": changed(forest={"n_trees": 30}),
    "trees not scaled to the incumbent": changed(forest={"scale": 1.0}),
    "64 elites": changed(sample={"n_elites": 64}),
    "64 other rows": changed(sample={"n_others": 64}),
    "no auxiliary rows": changed(sample={"n_auxiliary": 0}),
    "rows uniform in time": changed(sample={"n_early": 10**9}),
    "250 candidates": changed(candidates={"n_candidates": 250}),
    "4,000 candidates": changed(candidates={"n_candidates": 4000}),
    "no uniform candidates": changed(candidates={"uniform_fraction": 0.0}),
    "pool of 4 to 16": changed(candidates={"pool_range": (4, 16)}),
    "no basins": changed(regions={"probability": 0.0}),
    "60 % basins": changed(regions={"probability": 0.6}),
    "distance power 3": changed(regions={"distance_power": 3.0}),
    "cumulative power 1": changed(regions={"cumulative_power": 1.0}),
    "cumulative power 2": changed(regions={"cumulative_power": 2.0}),
    "basins without limits": changed(regions={"radius_fraction": 1e9}),
    "no restarts": changed(regions={"restart_probability": 0.0}),
    "50 % restarts": changed(regions={"restart_probability": 0.5}),
    "no branches": changed(branches={"probability": 0.0}),
    "no additive model": changed(strategies={"additive_probability": 0.0}),
    "40 % additive models": changed(strategies={"additive_probability": 0.4}),
    "additive models of plain costs": changed(additive={"plain_probability": 1.0}),
    "one attempt at an additive model": changed(additive={"attempts": 1}),
    "additive models always used": changed(additive={"correlation_power": 0}),
    "no global quadratic": changed(strategies=NO_GLOBAL_QUADRATIC),
    "30 % global quadratics": changed(strategies={"quadratic_probability": 0.3}),
    "global quadratics with equal weights": changed(global_quadratic={"weight_power": 0}),
    "posterior draws of global quadratics": changed(
        global_quadratic={"width_exponents": (0.0, 0.0)}
    ),
    "posterior means of global quadratics": changed(
        global_quadratic={"width_exponents": (-9.0, -9.0)}
    ),
    "isotropic global quadratics": changed(global_quadratic={"quadratic": FEW_TERMS}),
    "no quintic RBF": changed(local_search=NO_QUINTIC),
    "no smoothed RBF": changed(local_search={"smoothing_exponents": (-8.0, -8.0)}),
    "60 % RBF": changed(local_search={"rbf_probability": 0.6}),
    "RBF of 160 rows": changed(local_search={"rbf_most_rows": 160}),
    "no surrogate minimization": changed(
        strategies={"minimize_probability": 0.0, "region_minimize_probability": 0.0}
    ),
    "less surrogate minimization in regions": changed(
        strategies={"region_minimize_probability": 0.35}
    ),
    "more surrogate minimization": changed(
        strategies={"minimize_probability": 0.95, "region_minimize_probability": 0.8}
    ),
    "RBF only": changed(local_search={"rbf_probability": 1.0}),
    "quadratics only": changed(local_search={"rbf_probability": 0.0}),
    "no mixed terms in quadratics": changed(
        local_search={"quadratic_most_rows": 0, "quadratic": FEW_TERMS}
    ),
    "points 0.1 spreads off faces": changed(local_search={"face_exponents": (-1.0, -1.0)}),
    "no reflections": changed(local_search={"reflections_per_spread": 0.0}),
    "reflections always": changed(local_search={"reflections_per_spread": 1e300}),
    "10 first points": changed(strategies={"initial_most": 10}),
    "50 first points": changed(strategies={"initial_most": 50}),
    "neither global quadratic nor quintic RBF": changed(
        strategies=NO_GLOBAL_QUADRATIC, local_search=NO_QUINTIC
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the variants that are not in the output file, then print and draw the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=tuple(VARIANTS))
    parser.add_argument(
        "--problems", nargs="+", help="problems to use instead of the table's, with one budget"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=(830, 831, 832, 833))
    parser.add_argument("--evaluations", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--output", type=Path, default=Path("ablation"), metavar="DIR")
    options = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    options.output.mkdir(parents=True, exist_ok=True)
    file = options.output / "ablation.csv"
    done = set(parts_of(load(file, METHOD_VERSION)))
    budgets: Sequence[tuple[int, int, tuple[str, ...]]] = BUDGETS
    if options.problems:
        budgets = ((options.workers, options.evaluations, tuple(options.problems)),)
    cases = [(name, Budget(w, n)) for w, n, names in budgets for name in names]
    variants = list(dict.fromkeys([DEFAULT, *options.variants]))
    # Seeds are the outer loop, so that an interrupted run has compared all variants.
    for seed, (name, budget), variant in product(options.seeds, cases, variants):
        part = Part("cases", name, variant, budget.workers, budget.evaluations, seed)
        if part not in done:
            run, start = run_of(VARIANTS[variant]), time.process_time()
            regrets = regrets_of(run, make_case(name, seed), budget, seed)
            append(file, METHOD_VERSION, part, regrets, time.process_time() - start)
    rows = load(file)
    settings = [(part.problem, Budget(part.workers, part.evaluations)) for part in parts_of(rows)]
    rows = rows[[setting in cases for setting in settings]]
    chance = table(rows)
    print(chance.to_string(float_format="{:.2f}".format))
    draw(chance, options.output / "ablation.png")
    return 0


def run_of(variant: Variant) -> Run:
    """Return a run of adbo with the settings of a variant."""
    return asynchronously(
        lambda space, seed, budget: Adbo(space, seed, variant.settings, variant.kappa)
    )


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return how often each variant ends farther from the optimum than the others, and the mean.

    Parameters
    ----------
    frame
        Columns ``method``, ``problem``, ``seed`` and ``regret``.

    Returns
    -------
    pd.DataFrame
        A row for each variant, a column for each problem.
    """
    regrets = frame.assign(regret=frame["regret"].clip(lower=FLOOR))
    same_instance = regrets.groupby(["problem", "seed"])["regret"]
    n_better = same_instance.rank(method="average") - 1  # equal ones count half
    scores = regrets.assign(worse=n_better / (same_instance.transform("size") - 1))
    chance = scores.pivot_table(index="method", columns="problem", values="worse", sort=False)
    return chance.assign(mean=chance.mean(axis=1))


def draw(chance: pd.DataFrame, path: Path) -> None:
    """Draw the table as coloured cells, with the variants in the order of their means."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    chance = chance.sort_values("mean")
    figure, axes = plt.subplots(figsize=(9, 1.5 + 0.26 * len(chance)), layout="constrained")
    image = axes.imshow(chance, cmap="RdBu_r", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(chance.columns)), chance.columns, rotation=30, ha="right")
    axes.set_yticks(range(len(chance)), chance.index)
    for (row, column), value in np.ndenumerate(chance.to_numpy()):
        if np.isfinite(value):
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8)
    axes.set_title("how often a variant is worse than the others")
    figure.colorbar(image, label="0.5: no difference")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    sys.exit(main())
