"""Objectives of simulations: a sphere, and a conditional one with all ends of a trial."""

from __future__ import annotations

import optuna


def sphere(trial):
    return sum(trial.suggest_float(f"x{i}", -5, 5) ** 2 for i in range(3))


def branching(trial):
    """Conditional, partly discrete, sometimes pruned or failed, with attributes."""
    x = trial.suggest_float("x", -5, 5)
    kind = trial.suggest_categorical("kind", ["a", "b", "c"])
    trial.set_user_attr("kind", kind)
    if kind == "a":
        return x**2 + trial.suggest_int("n", 1, 9)
    if kind == "b":
        trial.report(x, 1)
        raise optuna.TrialPruned
    if x > 4:
        raise ValueError("too far")
    return x**2 + trial.suggest_float("y", 1e-3, 1, log=True)
