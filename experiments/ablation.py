"""Compare the quality of the optimizer with one default changed to the quality with all defaults.

    python experiments/ablation.py --output DIR
    python experiments/ablation.py --variants "without gaussian" "equal shares" --suite bbob ...

A variant is an `OptimizerSettings` that lacks a strategy, has equal instead of learned shares, or
has one constant halved or doubled; or another kappa. The constants are those that `constants.py`
finds, so that the list of variants is always complete. The problems are those of `cases.py`, or of
another suite of `compare.py`.

A figure is the fraction of comparisons in which a run ends farther from the optimum than the other
variants' runs on the same instance of a problem, that is with the same seed. Most variants are as
good as the defaults; the figure of a tunable that makes no difference is 0.5. (Two runs of one
variant differ too much for a comparison with the defaults alone.) Distances below 1e-9 count as
equal, and equal ones as half. Runs that are in the output file are not repeated; the table has all
runs of the file, with a column for each suite.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import optuna
import pandas as pd
from compare import SUITES
from constants import constants, scaled, with_constant
from rows import Part, append, load, parts_of
from searchers import Adbo
from versions import METHOD_VERSION
from virtual_clock import Budget, Run, asynchronously, regrets_of

from adbo.core.settings import KAPPA
from adbo.optimizer.settings import DEFAULT_SETTINGS, OptimizerSettings, with_strategies

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


def without(strategy: str) -> Variant:
    """Return the default settings without a strategy."""
    return Variant(with_strategies([s for s in DEFAULT_SETTINGS.strategies if s != strategy]))


def changed(name: str, value: float) -> Variant:
    """Return the default settings with another value of a constant."""
    return Variant(with_constant(name, value))


#: By which factors a constant is changed, and what its variant is called.
FACTORS = {"halved": 0.5, "doubled": 2.0}

VARIANTS: Mapping[str, Variant] = {
    DEFAULT: Variant(),
    **{f"without {name}": without(name) for name in DEFAULT_SETTINGS.strategies},
    "forest and exploration alone": Variant(with_strategies(["forest", "exploration"])),
    "equal shares": changed("shares.power", 0.0),
    "no auxiliary rows": changed("sample.n_auxiliary", 0),
    "no branches": changed("regions.branch_probability", 0.0),
    "kappa 0": Variant(kappa=0.0),
    **{f"kappa {how}": Variant(kappa=KAPPA * factor) for how, factor in FACTORS.items()},
    **{
        f"{name} {how}": Variant(with_constant(name, scaled(name, value, factor)))
        for name, value in constants().items()
        for how, factor in FACTORS.items()
    },
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the variants that are not in the output file, then print and draw the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--variants", nargs="+", choices=VARIANTS, default=tuple(VARIANTS), metavar="NAME"
    )
    parser.add_argument("--suite", choices=SUITES, default="cases")
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
    suite = importlib.import_module(options.suite)
    budgets: Sequence[tuple[int, int, tuple[str, ...]]] = BUDGETS
    if options.problems or options.suite != "cases":
        problems = tuple(options.problems or suite.NAMES)
        budgets = ((options.workers, options.evaluations, problems),)
    cases = [(name, Budget(w, n)) for w, n, names in budgets for name in names]
    variants = list(dict.fromkeys([DEFAULT, *options.variants]))
    # Seeds are the outer loop, so that an interrupted run has compared all variants.
    for seed, (name, budget), variant in product(options.seeds, cases, variants):
        part = Part(options.suite, name, variant, budget.workers, budget.evaluations, seed)
        if part not in done:
            run, start = run_of(VARIANTS[variant]), time.process_time()
            regrets = regrets_of(run, suite.make_case(name, seed), budget, seed)
            append(file, METHOD_VERSION, part, regrets, time.process_time() - start)
    worse = summarize(load(file))
    table = worse.pivot_table("worse", "method", "suite", sort=False)
    print(table.to_string(float_format="{:.2f}".format))
    draw(worse, options.output / "ablation.png")
    return 0


def run_of(variant: Variant) -> Run:
    """Return a run of adbo with the settings of a variant."""
    return asynchronously(
        lambda space, seed, budget: Adbo(space, seed, variant.settings, variant.kappa)
    )


def summarize(rows: pd.DataFrame) -> pd.DataFrame:
    """Return how often each variant ends farther from the optimum than the others.

    Parameters
    ----------
    rows
        Rows of this script, of one or several suites.

    Returns
    -------
    pd.DataFrame
        Columns ``suite``, ``method``, ``worse``, its standard error ``error``, ``runs``, ``seeds``
        and ``version``.
    """
    regrets = rows.assign(regret=rows["regret"].clip(lower=FLOOR))
    instances = regrets.groupby(["suite", "problem", "workers", "evaluations", "seed"])["regret"]
    n_better = instances.rank(method="average") - 1  # equal ones count half
    scores = rows.assign(worse=n_better / (instances.transform("size") - 1))
    found = []
    for (suite, method), group in scores.groupby(["suite", "method"], sort=False):
        row = {"suite": suite, "method": method, "worse": group["worse"].mean()}
        row |= {"error": group["worse"].sem(), "runs": group["worse"].count()}
        row["seeds"] = " ".join(map(str, sorted(group["seed"].unique())))
        row["version"] = " ".join(sorted(set(group["version"])))
        found.append(row)
    return pd.DataFrame(found)


def draw(worse: pd.DataFrame, path: Path) -> None:
    """Draw the rows of `summarize`, with the variants in the order of their means."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    order = worse.groupby("method")["worse"].mean().sort_values(ascending=False).index
    figure, axes = plt.subplots(figsize=(7, 1.5 + 0.17 * len(order)), layout="constrained")
    axes.axvline(0.5, color="0.6", linewidth=1)
    for marker, (suite, group) in zip("os^D", worse.groupby("suite", sort=False), strict=False):
        places = order.get_indexer(group["method"])
        axes.errorbar(
            group["worse"], places, xerr=group["error"], fmt=marker, markersize=4, label=suite
        )
    axes.set_yticks(range(len(order)), order, fontsize=7)
    axes.set_xlabel("how often a variant is worse than the others (0.5: no difference)")
    axes.margins(y=0.01)
    axes.legend()
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    sys.exit(main())
