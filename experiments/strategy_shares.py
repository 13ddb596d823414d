"""Which share of the asks and of the improvements each strategy has, by kind of problem.

    python experiments/strategy_shares.py --output experiments/raw/strategy_shares

Workers run in parallel on a virtual clock, on problems of `cases.py`. A row of the
file is a strategy in one run: its share of the evaluations, and its share of those that were
better than all before them. The table, in Markdown, has the means over the runs of each kind of
problem. Runs that are in the file are not repeated.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import pandas as pd
from cases import make_case
from searchers import Adbo
from versions import METHOD_VERSION, check_version
from virtual_clock import Budget, Space, asynchronously, regrets_of

from adbo.core.strategy_counts import strategies_of
from adbo.optimizer.settings import DEFAULT_SETTINGS

#: Problems by kind.
KINDS: Mapping[str, Sequence[str]] = {
    "smooth": ("sphere:5", "rosenbrock:5", "logarithmic", "faces"),
    "multimodal": ("ackley:5", "rotated:rastrigin:5", "schwefel:5", "levy:10"),
    "noisy": ("noisy:sphere:5", "noisy:ackley:5"),
    "integers": ("integer",),
    "categorical": ("categorical",),
    "mixed": ("mixed",),
    "conditional": ("conditional",),
}

COLUMNS = ("version", "kind", "problem", "workers", "evaluations", "seed", "strategy")
SHARES = ("asks", "improvements")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the runs that are not in the file, then print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=tuple(KINDS))
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--evaluations", type=int, default=300)
    parser.add_argument("--seeds", nargs="+", type=int, default=(1, 2, 3))
    parser.add_argument("--output", type=Path, default=Path("strategy_shares"), metavar="DIR")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    file = options.output / "strategy_shares.csv"
    rows = _load(file)
    done = set(rows[list(COLUMNS[:-1])].itertuples(index=False, name=None))
    budget = Budget(options.workers, options.evaluations)
    # Seeds are the outer loop, so that an interrupted run has all problems.
    for seed, kind in product(options.seeds, options.kinds):
        for problem in KINDS[kind]:
            part = (METHOD_VERSION, kind, problem, budget.workers, budget.evaluations, seed)
            if part not in done:
                new = [(*part, name, *shares) for name, shares in measure(problem, budget, seed)]
                rows = pd.concat([rows, pd.DataFrame(new, columns=[*COLUMNS, *SHARES])])
                rows.to_csv(file, index=False, float_format="%.6g")
    shown = rows["kind"].isin(options.kinds) & rows["seed"].isin(options.seeds)
    shown &= (rows["workers"] == budget.workers) & (rows["evaluations"] == budget.evaluations)
    print(table(rows[shown]))
    return 0


def measure(problem: str, budget: Budget, seed: int) -> list[tuple[str, tuple[float, ...]]]:
    """Return the name of each strategy, with its shares of the asks and of the improvements."""
    searchers: list[Adbo] = []

    def make_searcher(space: Space, seed: int, budget: Budget) -> Adbo:
        searchers.append(Adbo(space, seed))
        return searchers[-1]

    regrets_of(asynchronously(make_searcher), make_case(problem, seed), budget, seed)
    counts = strategies_of(searchers[0].optimizer.history) or {}
    total = {what: sum(count[what] for count in counts.values()) for what in SHARES}
    none = dict.fromkeys(SHARES, 0)
    return [
        (name, tuple(counts.get(name, none)[what] / max(total[what], 1) for what in SHARES))
        for name in DEFAULT_SETTINGS.strategies
    ]


def table(rows: pd.DataFrame) -> str:
    """Return the mean shares in Markdown: kinds of problem as rows, strategies as columns."""
    means = rows.groupby(["kind", "strategy"], sort=False)[list(SHARES)].mean() * 100
    cells = means.apply(lambda mean: f"{mean['asks']:.0f} / {mean['improvements']:.0f}", axis=1)
    columns = cells.unstack()[list(dict.fromkeys(rows["strategy"]))]
    lines = [["share of asks / of improvements, %", *columns], ["---"] * (1 + columns.shape[1])]
    lines += [
        [str(kind), *row] for kind, row in zip(columns.index, columns.to_numpy(), strict=True)
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _load(path: Path) -> pd.DataFrame:
    if not path.exists():
        return pd.DataFrame(columns=[*COLUMNS, *SHARES])
    rows = pd.read_csv(path, dtype={"version": str})  # a commit may be all digits
    check_version(path, rows["version"])
    return rows


if __name__ == "__main__":
    sys.exit(main())
