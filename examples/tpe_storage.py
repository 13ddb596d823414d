"""Run Optuna's TPE and a pruner of Optuna on many ranks, without a database.

    mpiexec -n 4 python examples/tpe_storage.py

Every rank holds all trials in its memory, also the running ones of the other ranks, so that
samplers and pruners of Optuna work as with one database for all. The
optimizer is Optuna's, not adbo's.
"""

import time

import optuna
from mpi4py import MPI

import adbo


def objective(trial):
    """Return the last loss of something like a training, of 9 epochs of 20 ms."""
    rate = trial.suggest_float("rate", 1e-4, 1.0, log=True)
    width = trial.suggest_int("width", 8, 512, log=True)
    loss = 1.0
    for epoch in range(9):
        time.sleep(0.02)
        loss = abs(rate - 0.03) + abs(width - 100) / 500 + 1 / (1 + epoch)
        trial.report(loss, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    return loss


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with adbo.storage() as storage:  # every rank makes the same calls
        study = optuna.create_study(
            storage=storage,
            study_name="tpe",
            sampler=optuna.samplers.TPESampler(constant_liar=True),
            pruner=optuna.pruners.MedianPruner(),
        )
        study.optimize(objective, n_trials=25)  # on this rank
    # After the storage is closed, every rank has the trials of all.
    if MPI.COMM_WORLD.rank == 0:
        n_pruned = len(study.get_trials(states=[optuna.trial.TrialState.PRUNED]))
        print(f"{len(study.trials)} trials, {n_pruned} of them pruned")
        print(f"best value {study.best_value:.4g} at {study.best_params}")
