"""Peers that call the objective themselves, on the unit cube, until the budget is spent.

Each function takes the objective of points ``(d,)``, the dimension d, the seed and the budget.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize
from virtual_clock import Budget, FloatArray

Objective = Callable[[FloatArray], float]

#: Initial standard deviation of CMA-ES, and the box of its first mean: as in its COCO experiments.
SIGMA = 0.2
FIRST_MEAN = (0.1, 0.9)


def turbo(objective: Objective, d: int, seed: int, budget: Budget) -> None:
    """Run the reference code of TuRBO-1, synchronously in batches of one point for each worker.

    The first batch has at least one point for each worker, because a smaller one would leave
    workers idle, and at least the 2 d points that its authors recommend.

    Eriksson et al. (2019), Scalable global optimization via local Bayesian optimization.
    """
    import torch
    from turbo import Turbo1

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    np.random.seed(seed)  # TuRBO uses NumPy's global generator
    Turbo1(
        objective,
        np.zeros(d),
        np.ones(d),
        n_init=max(2 * d, budget.workers),
        max_evals=sys.maxsize,
        batch_size=budget.workers,
        verbose=False,
    ).optimize()


def hebo(objective: Objective, d: int, seed: int, budget: Budget) -> None:
    """Run HEBO with its defaults, synchronously in batches of one point for each worker.

    Cowen-Rivers et al. (2022), HEBO: pushing the limits of sample-efficient hyperparameter
    optimisation.
    """
    import torch
    from hebo.design_space.design_space import DesignSpace
    from hebo.optimizers.hebo import HEBO

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    np.random.seed(seed)
    axes = [{"name": f"x{i:03d}", "type": "num", "lb": 0, "ub": 1} for i in range(d)]
    optimizer = HEBO(DesignSpace().parse(axes), scramble_seed=seed)
    while True:
        points = optimizer.suggest(n_suggestions=budget.workers)
        costs = [objective(point) for point in points.to_numpy(dtype=float)]
        optimizer.observe(points, np.array(costs)[:, np.newaxis])


def cobyqa(objective: Objective, d: int, seed: int, budget: Budget) -> None:
    """Run COBYQA of SciPy one evaluation after the other, from random points.

    Ragonneau (2022), Model-based derivative-free optimization methods and software.
    """
    rng = np.random.default_rng(seed)
    while True:
        minimize(objective, rng.random(d), method="COBYQA", bounds=[(0.0, 1.0)] * d)


def lq_cma(objective: Objective, d: int, seed: int, budget: Budget) -> None:
    """Run lq-CMA-ES of pycma one evaluation after the other, with restarts.

    Hansen (2019), A global surrogate assisted CMA-ES.
    """
    import cma

    rng = np.random.default_rng(seed)
    for restart in range(sys.maxsize):
        options = _cma_options(seed + restart)
        cma.fmin_lq_surr2(objective, rng.uniform(*FIRST_MEAN, size=d), SIGMA, options)


def pycma(objective: Objective, d: int, seed: int, budget: Budget) -> None:
    """Run pycma, synchronously with a population of at least the number of workers.

    Each restart doubles the population (IPOP).

    Auger and Hansen (2005), A restart CMA evolution strategy with increasing population size.
    """
    import cma

    rng = np.random.default_rng(seed)
    population = max(4 + int(3 * np.log(d)), budget.workers)
    for restart in range(sys.maxsize):
        options = {**_cma_options(seed + restart), "popsize": population * 2**restart}
        strategy = cma.CMAEvolutionStrategy(rng.uniform(*FIRST_MEAN, size=d), SIGMA, options)
        while not strategy.stop():
            points = strategy.ask()
            strategy.tell(points, [objective(point) for point in points])


def _cma_options(seed: int) -> dict[str, object]:
    # pycma takes the time for seed 0.
    return {"bounds": [0.0, 1.0], "seed": seed + 1, "verbose": -9}
