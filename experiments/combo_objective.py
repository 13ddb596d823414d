"""Mini-Combo as an objective: 22 parameters, 50 epochs with reports, validation R2 to maximize.

    mpiexec -n 4 adbo run experiments/combo_objective.py:combo --direction maximize --trials 100

It trains one network in PyTorch on a processor, for some seconds. A training that diverges raises
an exception, which is a failed trial.
"""

from __future__ import annotations

import functools

import optuna
import torch
from combo.space import suggest
from combo.synthetic import make_measurements
from combo.training import train

_measurements = functools.cache(make_measurements)


def combo(trial: optuna.Trial) -> float:
    """Return the validation R2 of the last epoch."""
    torch.set_num_threads(1)  # each rank has its own network
    r2 = float("nan")
    for number, epoch in enumerate(train(suggest(trial), _measurements(), trial.number), 1):
        r2 = epoch.r2
        trial.report(r2, number)
        if trial.should_prune():
            raise optuna.TrialPruned
    return r2
