"""What each default of the optimizer is worth: quality with it changed, beside quality with it.

    python experiments/ablation.py --output DIR

Each variant sets some constants or functions of the modules, everything else stays; problems are
those of `quality.py`. A figure is how often a run ends farther from the optimum than the others on
the same instance of a problem, that is with the same seed: the other variants and the defaults.
Most variants are as good as the defaults, so it is 0.5 if one makes no difference, and many runs
say so; two runs of the same variant differ too much for a comparison with the defaults alone.
Distances below 1e-9 count as equal, and equal ones as half. Parts that are in the file are not
repeated.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import optuna
import pandas as pd
from numpy.typing import NDArray
from quality import KEYS, append, load, regret
from sklearn.ensemble import RandomForestRegressor

from adbo.core.settings import KAPPA
from adbo.core.space import FloatArray
from adbo.optimizer import strategies
from adbo.optimizer.candidates import Geometry, Sample
from adbo.optimizer.models import forest, quadratic

#: Workers, evaluations, and what they are spent on.
BUDGETS = (
    (16, 500, ("ackley:5", "rosenbrock:5", "schwefel:5", "rotated:rastrigin:5", "levy:10")),
    (64, 1500, ("stretched:rotated:rastrigin:5",)),
    (16, 400, ("mixed", "conditional", "integer", "noisy:ackley:5", "faces")),
    (16, 150, ("categorical",)),
)

#: The least regret that counts.
FLOOR = 1e-9

DEFAULT = "default"

_draw = quadratic.draw


def grow_best_splits(X: NDArray[np.float32], y: FloatArray, seed: int) -> Sequence[forest.Tree]:
    """The trees of an ordinary random forest: the best splits of bootstrapped rows."""
    model = RandomForestRegressor(forest.TREES, random_state=seed).fit(X, y)
    return [tree.tree_ for tree in model.estimators_]


def plain_targets(cost: FloatArray, n_elites: int) -> FloatArray:
    """Costs as they are; failures get the worst."""
    return np.where(np.isnan(cost), np.nanmax(cost, initial=0.0), cost)


def ranks_as_listed(units: FloatArray, y: FloatArray, n_choices: int) -> FloatArray:
    """Choices in the order in which they were given."""
    return (np.arange(n_choices) + 0.5) / n_choices


def propose_with_one_kappa(sample: Sample, geometry: Geometry, kappa: float, *rest: Any) -> Any:
    """An ask whose kappa is the mean of the distribution."""
    return strategies.propose(sample, geometry, KAPPA, *rest)


def round_only(m: float, d: int, shapes: Any = quadratic._shapes) -> Iterator[Any]:
    """The shape of trends that are equal in all directions."""
    yield next(shapes(m, d))


def draw_of_all_alike(z: FloatArray, y: FloatArray, weight: FloatArray, *rest: Any) -> Any:
    """A trend to which all rows count the same."""
    return _draw(z, y, np.ones(len(z)), *rest)


#: Variants: names of constants below `adbo`, and what they are set to.
VARIANTS: Mapping[str, Mapping[str, object]] = {
    DEFAULT: {},
    "kappa 0": {"optimizer.ask.Optimizer.__init__.__kwdefaults__.kappa": 0.0},
    "kappa x 1/4": {"optimizer.ask.Optimizer.__init__.__kwdefaults__.kappa": 0.49},
    "kappa x 4": {"optimizer.ask.Optimizer.__init__.__kwdefaults__.kappa": 7.84},
    "one kappa": {"optimizer.ask.propose_unit": propose_with_one_kappa},
    "3 trees": {"optimizer.models.forest.TREES": 3},
    "30 trees": {"optimizer.models.forest.TREES": 30},
    "best splits": {"optimizer.models.forest.grow_privately": grow_best_splits},
    "trees not scaled to the incumbent": {"optimizer.models.forest._SCALE": 1.0},
    "targets as they are": {"optimizer.models.forest.targets": plain_targets},
    "choices as listed": {"optimizer.models.forest._category_ranks": ranks_as_listed},
    "64 elites": {"core.history.ELITES": 64},
    "64 other rows": {"optimizer.ask.UNIFORM_ROWS": 64},
    "no reserve": {"optimizer.ask.RESERVE_ROWS": 0},
    "rows uniform in time": {"core.history._EARLY": 10**9},
    "250 candidates": {"optimizer.candidates.CANDIDATES": 250},
    "4,000 candidates": {"optimizer.candidates.CANDIDATES": 4000},
    "no uniform candidates": {"optimizer.candidates.UNIFORM_SHARE": 0.0},
    "pool of 4 to 16": {"optimizer.candidates.POOL_HIGH": 16},
    "no niches": {"optimizer.regions.NICHE_SHARE": 0.0},
    "60 % niches": {"optimizer.regions.NICHE_SHARE": 0.6},
    "isolation ^ 3": {"optimizer.regions.ISOLATION_POWER": 3.0},
    "heads by 1 / sum": {"optimizer.regions.RANK_POWER": 1.0},
    "heads by 1 / sum ^ 2": {"optimizer.regions.RANK_POWER": 2.0},
    "niches without limits": {"optimizer.regions.CELL": 1e9},
    "polished basins not left": {"optimizer.regions.LEAVING_SHARE": 0.0},
    "half leave polished basins": {"optimizer.regions.LEAVING_SHARE": 0.5},
    "no branches": {"optimizer.branches.BRANCH_SHARE": 0.0},
    "no additive model": {"optimizer.strategies.ADDITIVE_SHARE": 0.0},
    "40 % additive models": {"optimizer.strategies.ADDITIVE_SHARE": 0.4},
    "additive models of plain costs": {"optimizer.models.additive.PLAIN_SHARE": 1.0},
    "one try of an additive model": {"optimizer.models.additive.TRIES": 1},
    "additive models whatever they predict": {"optimizer.models.additive.CORRELATION_POWER": 0},
    "no trend": {
        "optimizer.strategies.TREND_SHARE": 0.0,
        "optimizer.strategies.NICHE_TREND_SHARE": 0.0,
    },
    "30 % trend": {"optimizer.strategies.TREND_SHARE": 0.3},
    "trend through all rows alike": {"optimizer.models.quadratic.draw": draw_of_all_alike},
    "whole draws of trends": {"optimizer.global_quadratic.WIDTH_EXPONENTS": (0.0, 0.0)},
    "means of trends, no draws": {"optimizer.global_quadratic.WIDTH_EXPONENTS": (-9.0, -9.0)},
    "round trends only": {"optimizer.models.quadratic._shapes": round_only},
    "no quintic splines": {"optimizer.models.rbf.POINTS_PER_COEFFICIENT": math.inf},
    "no smooth splines": {"optimizer.local_search.SMOOTHING_EXPONENTS": (-8.0, -8.0)},
    "60 % splines": {"optimizer.local_search.SPLINE_SHARE": 0.6},
    "splines of 160 points": {"optimizer.local_search.SPLINE_HIGH": 160},
    "no descent": {
        "optimizer.strategies.DESCENT_SHARE": 0.0,
        "optimizer.strategies.NICHE_DESCENT_SHARE": 0.0,
    },
    "less descent in niches": {"optimizer.strategies.NICHE_DESCENT_SHARE": 0.35},
    "more descent": {
        "optimizer.strategies.DESCENT_SHARE": 0.95,
        "optimizer.strategies.NICHE_DESCENT_SHARE": 0.8,
    },
    "splines only": {"optimizer.local_search.SPLINE_SHARE": 1.0},
    "quadratics only": {"optimizer.local_search.SPLINE_SHARE": 0.0},
    "no products in quadratics": {
        "optimizer.local_search.QUADRATIC_MOST": 0,
        "optimizer.models.quadratic.POINTS_PER_COEFFICIENT": math.inf,
    },
    "points 0.1 deviations off faces": {"optimizer.local_search.FACE_EXPONENTS": (-1.0, -1.0)},
    "no descents folded back": {"optimizer.local_search.FOLDED_PER_DEVIATION": 0.0},
    "all descents folded back": {"optimizer.local_search.FOLDED_PER_DEVIATION": 1e300},
    "10 first points": {"optimizer.strategies.INITIAL_MOST": 10},
    "50 first points": {"optimizer.strategies.INITIAL_MOST": 50},
    "neither trend nor quintic splines": {
        "optimizer.strategies.TREND_SHARE": 0.0,
        "optimizer.strategies.NICHE_TREND_SHARE": 0.0,
        "optimizer.models.rbf.POINTS_PER_COEFFICIENT": math.inf,
    },
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing, print the table, draw it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=tuple(VARIANTS))
    parser.add_argument(
        "--problems", nargs="+", help="others than those of the table, all with the same budget"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=(830, 831, 832, 833))
    parser.add_argument("--evaluations", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--output", type=Path, default=Path("ablation"), metavar="DIR")
    options = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    options.output.mkdir(parents=True, exist_ok=True)
    file = options.output / "ablation.csv"
    done = load(file)
    budgets: Sequence[tuple[int, int, tuple[str, ...]]] = BUDGETS
    if options.problems:
        budgets = ((options.workers, options.evaluations, tuple(options.problems)),)
    cases = [(name, *budget) for *budget, names in budgets for name in names]
    variants = list(dict.fromkeys([DEFAULT, *options.variants]))
    # Seeds outermost, so that a run that is broken off has compared all variants.
    parts = [
        (variant, *case, seed) for seed, case, variant in product(options.seeds, cases, variants)
    ]
    for part in parts:
        if part not in done:
            with changed(VARIANTS[part[0]]):
                done[part] = regret("adbo", *part[1:])
            append(file, part, done[part])
    rows = [(*part, regret) for part, regret in done.items() if part[1:4] in cases]
    chance = table(pd.DataFrame(rows, columns=[*KEYS, "regret"]))
    print(chance.to_string(float_format="{:.2f}".format))
    draw(chance, options.output / "ablation.png")
    return 0


@contextlib.contextmanager
def changed(constants: Mapping[str, object]) -> Iterator[None]:
    """Set constants for a while.

    Raises
    ------
    AttributeError, KeyError
        If there is none of a name.
    """
    with contextlib.ExitStack() as stack:
        for path, value in constants.items():
            module, *names, last = path.split(".")
            target = importlib.import_module(f"adbo.{module}")
            for name in names:
                target = getattr(target, name)
            if isinstance(target, dict):
                target[last]  # raises if there is none
                stack.enter_context(mock.patch.dict(target, {last: value}))
            else:
                stack.enter_context(mock.patch.object(target, last, value))
        yield


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """How often each variant ends farther from the optimum than others, and the mean.

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
    """Draw the table as coloured cells, the variants in the order of their means."""
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
