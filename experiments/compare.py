"""Compare adbo and other optimizers on the problems of a suite, with the same evaluations.

    python experiments/compare.py --suite bbob --methods adbo tpe turbo --workers 32 \\
        --evaluations 500 --seeds 1 2 3 --output experiments/raw/bbob
    python experiments/compare.py --suite bbob --problems f{1..24}:10 ...
    python experiments/compare.py --suite cases --problems mixed noisy:sphere:5 --workers 8 ...

A suite is a module with `NAMES`, its problems, and `make_case(name, seed)`: `cases`, test
functions of all kinds of parameters; `bbob`; `real`; `tuning`. `methods.py` has the methods, and
says which are asynchronous; `virtual_clock.py` has their workers. Sequential methods with more
than one worker, and ones of the unit cube on conditional spaces are left out. Of methods that are
not installed, only the runs in the folder are compared.

The folder has a file for each method with a row for each run: the regret after each of
`rows.CHECKPOINTS` and at the end, and the seconds of CPU time. A run that exists is not
repeated, so a copy of `peer_runs` saves the runs of other optimizers. The tables compare the
methods that were named, see `comparison.py`.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Protocol

import optuna
import pandas as pd
from cases import Case
from comparison import report, score
from methods import METHODS
from rows import Part, append, load, parts_of
from virtual_clock import Budget, ConditionalSpace, regrets_of

from adbo.core.errors import UsageError

SUITES = ("cases", "bbob", "real", "tuning")


class Suite(Protocol):
    """A module with problems."""

    NAMES: Sequence[str]

    def make_case(self, name: str, seed: int) -> Case:
        """Return the problem of a name; the seed determines what is random in it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the missing runs, then print the tables."""
    options = _parser().parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")  # of the peers, about their defaults
    try:
        suite = importlib.import_module(options.suite)
        parts = list(plan(options, suite.NAMES))
        measure(parts, suite, options.output)
    except UsageError as error:
        print(f"compare.py: {error}", file=sys.stderr)
        return 2
    rows = [load(path) for path in sorted(options.output.glob("*.csv"))]
    if rows:
        values, wanted = score(pd.concat(rows)), set(parts)
        shown = values[[part in wanted for part in parts_of(values)]]
        if not shown.empty:
            print(report(shown))
    return 0


def plan(options: argparse.Namespace, names: Sequence[str]) -> Iterator[Part]:
    """Yield all runs; name the methods that are left out."""
    methods = []
    for method in options.methods:
        if METHODS[method].sequential and options.workers > 1:
            print(f"{method} is left out: it is sequential", file=sys.stderr)
            continue
        if missing := ", ".join(METHODS[method].missing):
            print(
                f"{method}: {missing} is not installed; only its runs in {options.output} count",
                file=sys.stderr,
            )
        methods.append(method)
    # Seeds come first, so that an interrupted comparison has all problems.
    for seed, method, name in product(options.seeds, methods, options.problems or names):
        yield Part(options.suite, name, method, options.workers, options.evaluations, seed)


def measure(parts: Sequence[Part], suite: Suite, folder: Path) -> None:
    """Make the runs of installed methods that are not in the folder."""
    installed = [m for m in sorted({p.method for p in parts}) if not METHODS[m].missing]
    files = {method: folder / f"{method}.csv" for method in installed}
    done = {
        part
        for method, path in files.items()
        for part in parts_of(load(path, METHODS[method].version))
    }
    left_out: set[tuple[str, str]] = set()
    for part in parts:
        is_possible = part.method in files and (part.problem, part.method) not in left_out
        if part in done or not is_possible:
            continue
        case = suite.make_case(part.problem, part.seed)
        start = time.process_time()
        try:
            regrets = regrets_of(
                METHODS[part.method].run, case, Budget(part.workers, part.evaluations), part.seed
            )
        except ConditionalSpace:
            left_out.add((part.problem, part.method))
            print(f"{part.method} leaves out {part.problem}: conditional", file=sys.stderr)
            continue
        seconds = time.process_time() - start
        append(files[part.method], METHODS[part.method].version, part, regrets, seconds)
        print(
            f"{part.method} {part.problem} seed {part.seed}: {regrets[-1]:.3g} in {seconds:.1f} s",
            file=sys.stderr,
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--suite", choices=SUITES, default="cases")
    parser.add_argument("--problems", nargs="+", help="default: all NAMES of the suite")
    parser.add_argument(
        "--methods", nargs="+", choices=METHODS, default=("adbo", "tpe", "random"), metavar="NAME"
    )
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--evaluations", type=int, default=500)
    parser.add_argument("--seeds", nargs="+", type=int, default=(1, 2, 3))
    parser.add_argument("--output", type=Path, default=Path("comparison"), metavar="DIR")
    return parser


if __name__ == "__main__":
    sys.exit(main())
