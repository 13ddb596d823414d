"""What each default of the optimizer is worth: quality with it changed, beside quality with it.

    python experiments/ablation.py --output DIR

Each variant sets some constants of the modules, everything else stays; problems and workers are
those of `quality.py`. A figure is the median over the seeds of the logarithm of the regret (at
least 1e-9), less that of the defaults on the same problem: 1 is ten times worse. Differences
below half a unit are noise with five seeds. Parts that are in the file are not repeated.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from unittest import mock

import numpy as np
import optuna
import pandas as pd
from quality import append, load, regret

PROBLEMS = ("ackley:5", "rosenbrock:5", "schwefel:5", "rotated:rastrigin:5", "levy:10", "mixed")

#: The least regret that counts.
FLOOR = 1e-9

DEFAULT = "default"

#: Variants: names of constants below `adbo`, and what they are set to.
VARIANTS: Mapping[str, Mapping[str, object]] = {
    DEFAULT: {},
    "kappa 0": {"optimizer.Optimizer.__init__.__kwdefaults__.kappa": 0.0},
    "kappa x 1/4": {"optimizer.Optimizer.__init__.__kwdefaults__.kappa": 0.49},
    "kappa x 4": {"optimizer.Optimizer.__init__.__kwdefaults__.kappa": 7.84},
    "3 trees": {"forest.TREES": 3},
    "30 trees": {"forest.TREES": 30},
    "64 elites": {"history.ELITES": 64},
    "64 other rows": {"optimizer.UNIFORM_ROWS": 64},
    "rows uniform in time": {"history._EARLY": 10**9},
    "250 candidates": {"candidates.CANDIDATES": 250},
    "4,000 candidates": {"candidates.CANDIDATES": 4000},
    "no uniform candidates": {"candidates.UNIFORM_SHARE": 0.0},
    "half uniform candidates": {"candidates.UNIFORM_SHARE": 0.5},
    "no crossover": {"candidates.CROSSOVER_SHARE": 0.0},
    "one parent": {"candidates.PARENTS": 1},
    "pool of 4 to 16": {"candidates.POOL_HIGH": 16},
    "no exchange": {"acquisition.EXCHANGE_SHARE": 0.0},
    "always exchange": {"acquisition.EXCHANGE_SHARE": 1.0},
    "no niches": {"niches.NICHE_SHARE": 0.0, "niches.SCATTERED_SHARE": 0.0},
    "50 % niches once gathered": {"niches.NICHE_SHARE": 0.5},
    "60 % niches from the start": {"niches.SCATTERED_SHARE": 0.6},
    "isolation ^ 3": {"niches.ISOLATION_POWER": 3.0},
    "heads by 1 / sum": {"niches.RANK_POWER": 1.0},
    "niches without limits": {"niches.CELL": 1e9},
    "no branches": {"branches.BRANCH_SHARE": 0.0},
    "no rows from the reserve": {"acquisition.CLOSER_ROWS": 0},
    "no trend": {"acquisition.TREND_SHARE": 0.0, "acquisition.NICHE_TREND_SHARE": 0.0},
    "30 % trend": {"acquisition.TREND_SHARE": 0.3},
    "no translations": {"trend.TRANSLATED_SHARE": 0.0},
    "no quintic splines": {"descent.QUINTIC_SHARE": 0.0},
    "splines of 160 points": {"descent.SPLINE_HIGH": 160},
    "no descent": {"acquisition.DESCENT_SHARE": 0.0, "acquisition.NICHE_DESCENT_SHARE": 0.0},
    "more descent": {"acquisition.DESCENT_SHARE": 0.95, "acquisition.NICHE_DESCENT_SHARE": 0.6},
    "splines only": {"descent.SPLINE_SHARE": 1.0},
    "quadratics only": {"descent.SPLINE_SHARE": 0.0},
    "no products in quadratics": {"descent.QUADRATIC_MOST": 0},
    "10 first points": {"acquisition.INITIAL_MOST": 10},
    "50 first points": {"acquisition.INITIAL_MOST": 50},
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing, print the table, draw it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=tuple(VARIANTS))
    parser.add_argument("--problems", nargs="+", default=PROBLEMS)
    parser.add_argument("--seeds", nargs="+", type=int, default=(700, 701, 702, 703, 704))
    parser.add_argument("--evaluations", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--output", type=Path, default=Path("ablation"), metavar="DIR")
    options = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    options.output.mkdir(parents=True, exist_ok=True)
    file = options.output / "ablation.csv"
    done = load(file)
    # Seeds outermost, so that a run that is broken off has compared all variants.
    for seed, problem, variant in product(options.seeds, options.problems, options.variants):
        part = (variant, problem, options.workers, options.evaluations, seed)
        if part not in done:
            with changed(VARIANTS[variant]):
                done[part] = regret("adbo", *part[1:])
            append(file, part, done[part])
    frame = table(pd.read_csv(file))
    print(frame.to_string(float_format="{:+.1f}".format))
    draw(frame, options.output / "ablation.png")
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
    """Powers of ten by which each variant is worse than the defaults, for each problem."""
    logarithm = np.log10(frame["regret"].clip(lower=FLOOR))
    medians = logarithm.groupby([frame["method"], frame["problem"]], sort=False).median().unstack()
    medians = medians[list(dict.fromkeys(frame["problem"]))]
    worse = medians.loc[list(dict.fromkeys(frame["method"]))] - medians.loc[DEFAULT]
    return worse.assign(mean=worse.mean(axis=1)).drop(index=DEFAULT)


def draw(worse: pd.DataFrame, path: Path) -> None:
    """Draw the table as coloured cells."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 1.5 + 0.26 * len(worse)), layout="constrained")
    image = axes.imshow(worse, cmap="RdBu_r", vmin=-3, vmax=3, aspect="auto")
    axes.set_xticks(range(len(worse.columns)), worse.columns, rotation=30, ha="right")
    axes.set_yticks(range(len(worse)), worse.index)
    for (row, column), value in np.ndenumerate(worse.to_numpy()):
        axes.text(column, row, f"{value:+.1f}", ha="center", va="center", fontsize=8)
    axes.set_title("powers of ten worse (red) or better (blue) than the defaults")
    figure.colorbar(image)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    sys.exit(main())
