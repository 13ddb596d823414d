"""Tune mini-Combo with thousands of simulated workers, with and without stopping trials early.

    python experiments/combo_study.py --workers 64 --seeds 1 2 3 4 5 --output experiments/raw/combo

The workers train on a virtual clock (`training_clock.py`); what comes of a training is predicted
from real ones (`combo/surrogate.py`). ``--hours`` of virtual time are 3, as in the study. An ask
of adbo costs `training_searchers.ASK_SECONDS`, one of Optuna's TPE its CPU time, and each write
to the database of TPE 4 ms, one after the other.

The folder has a file for each method with a row for each run: the best final R2 at some times, the
trials by their states, the utilization, and all improvements. A run that exists is not repeated.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from combo.runs import N_EPOCHS, load_runs
from combo.space import SPACE
from combo.surrogate import Surrogate
from rows import append_row, has_row
from training_clock import Clock, Outcome, Params, Searcher, Training
from training_searchers import (
    Adbo,
    Halving,
    Managed,
    OneEpoch,
    Random,
    Tpe,
    hyperband,
    successive_halving,
)
from versions import code_version

from adbo.optimizer.sample import Pruned
from adbo.simulation.egele2022 import (
    Egele2022Settings,
    fit_gaussian_process,
    fit_random_forest,
)

#: Virtual minutes after which a row has the best R2.
MINUTES = (10, 20, 30, 60, 90, 120, 150, 180)

#: Makes a searcher from a seed, the number of workers, and the virtual seconds of the run.
Make = Callable[[int, int, float], Searcher]

#: The forest of the managers of Egele et al.
FIT_FOREST = partial(fit_random_forest, n_trees=Egele2022Settings().n_trees)

METHODS: Mapping[str, Make] = {
    "adbo": lambda seed, workers, until: Adbo(SPACE, seed, workers),
    "adbo-halving": lambda seed, workers, until: Adbo(SPACE, seed, workers, Halving()),
    "adbo-halving-ignored": lambda seed, workers, until: Adbo(
        SPACE, seed, workers, Halving(), Pruned.IGNORED
    ),
    "adbo-halving-last": lambda seed, workers, until: Adbo(
        SPACE, seed, workers, Halving(), Pruned.LAST
    ),
    "random": lambda seed, workers, until: Random(SPACE, seed),
    "asha": lambda seed, workers, until: Random(SPACE, seed, Halving()),
    "managed-random": lambda seed, workers, until: Managed(SPACE, seed),
    "managed-forest": lambda seed, workers, until: Managed(SPACE, seed, FIT_FOREST),
    "managed-gp": lambda seed, workers, until: Managed(SPACE, seed, fit_gaussian_process),
    "one-epoch": lambda seed, workers, until: OneEpoch(Random(SPACE, seed), until),
    "adbo-one-epoch": lambda seed, workers, until: OneEpoch(Adbo(SPACE, seed, workers), until),
    "tpe": lambda seed, workers, until: Tpe(SPACE, seed),
    "tpe-halving": lambda seed, workers, until: Tpe(SPACE, seed, successive_halving()),
    "tpe-hyperband": lambda seed, workers, until: Tpe(SPACE, seed, hyperband(N_EPOCHS)),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the missing runs, then print the table."""
    options = _parser().parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    runs, version = load_runs(), code_version()
    predict = Surrogate(runs)

    def train(params: Params) -> Training:
        curve = predict(params)
        return Training(-curve.r2, curve.seconds, curve.failed_after, -curve.expected)

    for seed in options.seeds:
        for method in options.methods:
            path = options.output / f"{method}.csv"
            key = {"method": method, "workers": options.workers, "seed": seed}
            key |= {"hours": options.hours, "trainings": len(runs.units)}
            if has_row(path, key, version):
                continue
            began, until = time.process_time(), 3600 * options.hours
            searcher = METHODS[method](seed, options.workers, until)
            outcome = Clock(searcher, train, options.workers).run(until)
            row = {"version": version, **key, **summary(outcome, options.workers, until)}
            row["cpu_seconds"] = round(time.process_time() - began)
            append_row(path, row)
            shown = {k: v for k, v in row.items() if k != "improvements"}
            print(" ".join(f"{k}={v}" for k, v in shown.items()), flush=True)
    return 0


def summary(outcome: Outcome, workers: int, until: float) -> dict[str, Any]:
    """Return the columns of a run that ended at a time."""
    improvements = [(round(i.seconds, 1), -i.cost, -i.expected) for i in outcome.improvements]
    return {
        **{f"best_{m}": round(-outcome.best_at(60.0 * m), 5) for m in MINUTES},
        "expected": round(improvements[-1][2], 5) if improvements else None,
        "evaluations": outcome.n_complete + outcome.n_pruned + outcome.n_failed,
        "complete": outcome.n_complete,
        "failed": outcome.n_failed,
        "epochs": outcome.n_steps,
        "utilization": round(outcome.busy_seconds / (until * workers), 4),
        "improvements": json.dumps([[t, round(c, 5), round(e, 5)] for t, c, e in improvements]),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, metavar="NAME")
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--hours", type=float, default=3.0)
    parser.add_argument("--seeds", nargs="+", type=int, default=(1, 2, 3, 4, 5))
    parser.add_argument("--output", type=Path, default=Path("combo"), metavar="DIR")
    return parser


if __name__ == "__main__":
    sys.exit(main())
