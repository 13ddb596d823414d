"""Optimize through the replicated storage and write what this rank knows in the end.

Usage: sampling.py SAMPLER TRIALS
"""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path

import optuna
from optuna.samplers import GridSampler, NSGAIISampler, RandomSampler, TPESampler

import adbo
from adbo.comm.environment import rank_hint

logging.getLogger("optuna").setLevel(logging.WARNING)
name, n_trials = sys.argv[1], int(sys.argv[2])
rank = rank_hint()
samplers = {
    "tpe": lambda: TPESampler(seed=rank, constant_liar=True),
    "random": lambda: RandomSampler(seed=rank),
    "grid": lambda: GridSampler({"x": list(range(-5, 5)), "y": list(range(4))}, seed=rank),
    "nsga": lambda: NSGAIISampler(seed=rank, population_size=8),
}


def objective(trial):
    x = trial.suggest_float("x", -5, 5)
    y = trial.suggest_int("y", 0, 3)
    trial.set_user_attr("made_by", rank)
    for step in range(5):
        time.sleep(0.002)
        if name != "nsga":  # Optuna prunes with one objective only
            trial.report((1 + abs(x)) * (5 - step), step)
            if trial.should_prune():
                raise optuna.TrialPruned
    return (x * x + y, abs(x - 1)) if name == "nsga" else x * x + y


with adbo.storage() as storage:
    study = optuna.create_study(
        storage=storage,
        study_name="s",
        sampler=samplers[name](),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4),
        directions=["minimize", "minimize"] if name == "nsga" else ["minimize"],
    )
    if rank == 0:
        for x in range(4):
            study.enqueue_trial({"x": x, "y": 0}, user_attrs={"enqueued": x})
    study.set_user_attr(f"rank {rank}", "was here")
    study.optimize(objective, n_trials=n_trials)

study = optuna.load_study(study_name="s", storage=storage)
known = [
    {
        "number": trial.number,
        "state": trial.state.name,
        "params": trial.params,
        "user_attrs": trial.user_attrs,
        "all": str(trial),
    }
    for trial in study.trials
]
Path(f"trials-{rank}.json").write_text(json.dumps([known, study.user_attrs], sort_keys=True))
