"""Compare what real ranks find over the overlay with what they find if all send to all others.

    mpiexec -n 64 python experiments/real_best.py --output FILE.csv

Both ways alternate, on the same problems of `cases.py` and with the same seeds. An evaluation
sleeps. Rank 0 appends a row for each run to the file: the distance from the optimum, and the
seconds that the run took.
"""

from __future__ import annotations

import argparse
import time
from itertools import product
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
from cases import Case, make_case
from mpi4py import MPI
from versions import code_version

from adbo.comm.endpoint import Endpoint, MessagingSettings
from adbo.comm.mpi import MpiMail, MpiRanks
from adbo.core.settings import Settings
from adbo.run.execute import Silence, execute


class RanksOfWay(MpiRanks):
    """All ranks of the job, with an overlay of a radix.

    Parameters
    ----------
    radix
        Of the overlay; the number of ranks to send directly.
    """

    def __init__(self, radix: int) -> None:
        super().__init__()
        self._radix = radix

    def transport(self) -> Endpoint:
        """Return a transport between the ranks; collective."""
        return Endpoint(MpiMail(MPI.COMM_WORLD), MessagingSettings(radix=self._radix))


def main() -> None:
    """Make all runs; all ranks must call it together."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--problems", nargs="+", default=("ackley:5", "mixed"))
    parser.add_argument("--seeds", nargs="+", type=int, default=(1, 2, 3))
    parser.add_argument("--trials", type=int, default=640)
    parser.add_argument("--evaluation", type=float, default=2.0, help="mean seconds")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.csv")
    options = parser.parse_args()
    ways = {"overlay": 2, "direct": MPI.COMM_WORLD.size}
    for seed, problem, way in product(options.seeds, options.problems, ways):
        ranks, start = RanksOfWay(ways[way]), time.monotonic()
        regret = regret_of(make_case(problem, seed), options, seed, ranks)
        if ranks.rank == 0:
            row = {
                "version": code_version(),
                "ranks": ranks.size,
                "problem": problem,
                "trials": options.trials,
                "evaluation_seconds": options.evaluation,
                "way": way,
                "seed": seed,
                "regret": regret,
                "seconds": round(time.monotonic() - start, 1),
            }
            is_new = not options.output.exists()
            pd.DataFrame([row]).to_csv(options.output, mode="a", header=is_new, index=False)
            print(row, flush=True)


def regret_of(case: Case, options: argparse.Namespace, seed: int, ranks: MpiRanks) -> float:
    """Return the distance from the optimum that all ranks together have reached."""
    rng = np.random.default_rng([seed, ranks.rank])

    def objective(trial: optuna.trial.BaseTrial) -> float:
        time.sleep(options.evaluation * rng.uniform(0.5, 1.5))
        return case.regret(trial)

    settings = Settings(n_trials=options.trials, storage=None, study_name="real", seed=seed)
    history = execute(objective, settings, ranks, Silence()).history
    return float(history.column("value")[history.best])


if __name__ == "__main__":
    main()
