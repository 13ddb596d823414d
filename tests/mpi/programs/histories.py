"""Run a study and write what this rank knows in the end, for a test to compare.

Usage: histories.py TRIALS SLOW_RANK FACTOR
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from mpi4py import MPI

from adbo.comm.launch import find_ranks
from adbo.core.settings import Settings
from adbo.run.execute import Silence, execute

n_trials, slow_rank, factor = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
rank = MPI.COMM_WORLD.Get_rank()
steps = []


def objective(trial):
    time.sleep(0.01 * (factor if rank == slow_rank else 1.0))
    x = trial.suggest_float("x", -5, 5)
    kind = trial.suggest_categorical("kind", ["square", "absolute"])
    if rank == 1 and len(steps) > 5:  # a parameter that only one rank has, and late
        x += trial.suggest_float("late", 0, 1)
    steps.append(None)
    trial.set_user_attr("made_by", rank)
    return x * x if kind == "square" else abs(x)


outcome = execute(objective, Settings(n_trials=n_trials, seed=1), find_ranks(), Silence())
known = {
    f"{e.rank}:{e.seq}": [e.value, e.state.name, e.params, e.extras.user_attrs, e.finished]
    for e in outcome.history.evaluations()
}
Path(f"history-{rank}.json").write_text(json.dumps(known, sort_keys=True))
Path(f"summary-{rank}.json").write_text(json.dumps(outcome.summary.to_json()))
