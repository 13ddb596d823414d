"""The lightest and the stiffest two-bar truss, below a limit of the stress.

Each evaluation returns two values, volume and joint displacement, and says how far the stress
exceeds its limit. Alone or on four ranks:

    python -m adbo run examples/truss.py:truss \
        --direction minimize --direction minimize --trials 200
    mpiexec -n 4 python -m adbo run ... (the same)

The last lines show the front; `optuna-dashboard sqlite:///adbo.db` plots it.
"""

from __future__ import annotations

import math

import optuna

LOAD = 80e3  # N, downwards on the joint
WIDTH = 2.0  # m between the supports
MODULUS = 210e9  # Pa, of steel
LIMIT = 160e6  # Pa


def truss(trial: optuna.Trial) -> tuple[float, float]:
    """Return the volume in litres and the displacement of the joint in millimetres."""
    area = trial.suggest_float("area", 1e-4, 1e-2, log=True)  # of each bar, in square metres
    height = trial.suggest_float("height", 0.2, 3.0)  # of the joint over the supports, in metres
    length = math.hypot(WIDTH / 2, height)
    force = LOAD / 2 * length / height
    stress = force / area
    trial.set_constraint("stress", stress / LIMIT - 1)  # feasible if at most 0
    volume = 2 * area * length
    displacement = stress / MODULUS * length * length / height
    return 1e3 * volume, 1e3 * displacement
