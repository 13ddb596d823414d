"""Seconds to propose a point of mini-Combo, by the number of known evaluations.

    python experiments/combo_fit_times.py --output experiments/raw/combo_fit_times

A manager of `combo_study.py` fits its forest or its Gaussian process to everything before it can
propose, and predicts its candidates. Beside them is an ask of adbo, which reads a bounded sample.
CPU seconds with one thread of BLAS, after random configurations whose costs are those of the
surrogate. A measurement that exists is not repeated.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from combo.runs import load_runs
from combo.space import SPACE
from combo.surrogate import Surrogate
from combo_study import METHODS as STUDIED
from rows import append_row, has_row
from training_clock import Params, Searcher
from training_searchers import Random
from versions import METHOD_VERSION

from adbo.optimizer.threads import one_thread

#: The searchers of the study that are timed.
METHODS = ("adbo", "managed-forest", "managed-gp")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the missing measurements."""
    options = _parser().parse_args(arguments)
    path = options.output / "combo_fit_times.csv"
    predict = Surrogate(load_runs())
    for seed in options.seeds:
        for method in options.methods:
            for n in options.evaluations:
                key = {"method": method, "n": n, "seed": seed}
                if has_row(path, key) or (method == "managed-gp" and n > options.most_of_gp):
                    continue
                searcher = STUDIED[method](seed, 1, 0.0)
                _tell(searcher, n, seed, lambda params: -predict(params).expected)
                with one_thread():
                    began = time.process_time()
                    searcher.ask(now=0.0, worker=0)
                    seconds = time.process_time() - began
                append_row(path, {"version": METHOD_VERSION, **key, "seconds": seconds})
                print(f"{method} {n}: {seconds:.3g} s", flush=True)
    return 0


def _tell(searcher: Searcher, n: int, seed: int, cost: Callable[[Params], float]) -> None:
    """Tell random configurations; those that diverge have failed."""
    random = Random(SPACE, seed)
    for _ in range(n):
        trial = random.ask(0.0, 0)
        trial.asked = (0, 0)
        found = cost(trial.params)
        searcher.tell(trial, found if np.isfinite(found) else None, 0.0, 1.0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    integers = partial(parser.add_argument, type=int)
    integers("--evaluations", nargs="+", default=(100, 300, 1000, 3000, 10000), metavar="N")
    integers("--most-of-gp", default=3000, metavar="N", help="evaluations of the Gaussian process")
    integers("--seeds", nargs="+", default=(1, 2, 3), metavar="SEED")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, metavar="NAME")
    parser.add_argument("--output", type=Path, default=Path("combo_fit_times"), metavar="DIR")
    return parser


if __name__ == "__main__":
    sys.exit(main())
