"""The five-dimensional Ackley function with evaluations that sleep, for scaling runs on clusters.

As in Egele et al. (arXiv 2207.00479), the box is [-32.768, 32.768]^5 and each evaluation sleeps
max(N(60, 20), 0) s. The environment variable ``ACKLEY_SLEEP=MEAN,SD`` sets other durations in
seconds.
"""

from __future__ import annotations

import os
import random
import time

import numpy as np
import optuna

from adbo.benchmark_functions.functions import ackley

MEAN, DEVIATION = map(float, os.environ.get("ACKLEY_SLEEP", "60,20").split(","))


def objective(trial: optuna.Trial) -> float:
    """Sleep, then return the value."""
    x = np.array([[trial.suggest_float(f"x{i}", -32.768, 32.768) for i in range(5)]])
    time.sleep(max(random.gauss(MEAN, DEVIATION), 0.0))
    return float(ackley(x)[0])
