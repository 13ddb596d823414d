"""Regret against virtual time on tables of real trainings, whose durations differ.

    python experiments/table_times.py --workers 64 --output experiments/raw/table_times

Each of the workers trains a configuration for as long as it really took (`tuning_tables.py`), and
asks for the next one when it has finished (`training_clock.py`). The virtual time is a multiple of
the median duration in the table. The tables have last epochs only, so that nothing can be stopped
early. Asks cost what `combo_study.py` charges. A run that exists is not repeated.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FixedTrial
from rows import append_row, has_row
from training_clock import Clock, Params, Searcher, Training
from training_searchers import Adbo, Random, Space, Tpe
from tuning_tables import TABLES, index_of, make_case, make_space, training_seconds
from versions import METHOD_VERSION

#: Parts of the virtual time after which a row has the regret.
PARTS = (0.1, 0.25, 0.5, 1.0)

#: Makes a searcher from the space, a seed and the number of workers.
METHODS: Mapping[str, Callable[[Space, int, int], Searcher]] = {
    "adbo": Adbo,
    "tpe": lambda space, seed, workers: Tpe(space, seed),
    "random": lambda space, seed, workers: Random(space, seed),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the missing runs."""
    options = _parser().parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for seed in options.seeds:
        for method in options.methods:
            for table in options.tables:
                path = options.output / f"{method}.csv"
                key = {"problem": table, "method": method, "workers": options.workers}
                key |= {"medians": options.medians, "seed": seed}
                if not has_row(path, key):
                    row = {"version": METHOD_VERSION, **key, **run(key)}
                    append_row(path, row)
                    print(" ".join(f"{k}={v}" for k, v in row.items()), flush=True)
    return 0


def run(key: Mapping[str, Any]) -> dict[str, float]:
    """Return the results of a run."""
    table, workers = key["problem"], key["workers"]
    space, train = make_space(table), make_train(table)
    until = key["medians"] * float(np.median(training_seconds(table)))
    began = time.process_time()
    searcher = METHODS[key["method"]](space, key["seed"], workers)
    outcome = Clock(searcher, train, workers).run(until)
    return {
        **{f"regret_{part:g}": outcome.best_at(part * until) for part in PARTS},
        "evaluations": outcome.n_complete,
        "utilization": outcome.busy_seconds / (until * workers),
        "seconds_to_optimum": outcome.seconds_to(0.0),
        "cpu_seconds": round(time.process_time() - began, 1),
    }


def make_train(table: str) -> Callable[[Params], Training]:
    """Return what looks up the regret and the duration of a configuration."""
    space, regret, seconds = make_space(table), make_case(table).regret, training_seconds(table)

    def train(params: Params) -> Training:
        trial = FixedTrial(dict(params))
        index = index_of(trial, space)
        return Training(np.array([regret(trial)]), np.array([seconds[index]]))

    return train


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, metavar="NAME")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=TABLES, metavar="NAME")
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument(
        "--medians", type=float, default=10.0, help="virtual time in median durations (10)"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=(1, 2, 3))
    parser.add_argument("--output", type=Path, default=Path("table_times"), metavar="DIR")
    return parser


if __name__ == "__main__":
    sys.exit(main())
