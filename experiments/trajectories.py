"""Whether two versions of adbo propose the same points, by hashes of what they propose.

    OMP_NUM_THREADS=1 python experiments/trajectories.py > before.txt
    OMP_NUM_THREADS=1 python experiments/trajectories.py | diff before.txt -

Run it before and after a change that must not alter the method. For each of three search spaces
and three seeds, it asks 300 times with 8 evaluations under way, and prints a hash of all proposed
points and the best value. Only public names of adbo are used, so that older versions run too
(``PYTHONPATH=CHECKOUT``). One thread, since the rounding of BLAS depends on the number of threads.
"""

from __future__ import annotations

import hashlib
import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

import adbo

ASKS, UNDER_WAY, SEEDS = 300, 8, (0, 1, 2)

Params = Mapping[str, Any]
Space = dict[str, BaseDistribution]

#: Returns the parameters that were used, without those of branches not taken, and the value.
Evaluate = Callable[[Params], tuple[Params, float]]


def floats(params: Params) -> tuple[Params, float]:
    """Evaluate Rosenbrock's function in five dimensions."""
    x = [params[f"x{i}"] for i in range(5)]
    terms = (100 * (x[i + 1] - x[i] ** 2) ** 2 + (1 - x[i]) ** 2 for i in range(4))
    return params, sum(terms)


def mixed(params: Params) -> tuple[Params, float]:
    """Evaluate a bowl in parameters of every kind; evaluations fail in a part of the space."""
    value = (params["x"] - 1.3) ** 2 + (math.log10(params["rate"]) + 3) ** 2
    value += (params["q"] - 0.35) ** 2 + (math.log(params["n"]) - 3) ** 2
    value += abs(params["k"] - 7) / 7 + {"a": 0.0, "b": 0.5, "c": 1.0, "d": 0.2}[params["c"]]
    return params, math.nan if params["k"] > 17 else value


def conditional(params: Params) -> tuple[Params, float]:
    """Evaluate one of three models, two of which have parameters of their own."""
    used = {"model": params["model"], "a": params["a"]}
    value = (params["a"] - 0.5) ** 2
    if params["model"] == "u":
        used["b"] = params["b"]
        value += (params["b"] + 1) ** 2 + 0.3
    elif params["model"] == "v":
        used |= {"d": params["d"], "n": params["n"]}
        value += (math.log10(params["d"]) + 2) ** 2 + abs(params["n"] - 4) * 0.2
    else:
        value += 0.7
    return used, value


CASES: Mapping[str, tuple[Space, Evaluate]] = {
    "float": ({f"x{i}": FloatDistribution(-5, 10) for i in range(5)}, floats),
    "mixed": (
        {
            "x": FloatDistribution(-5, 5),
            "rate": FloatDistribution(1e-6, 1.0, log=True),
            "q": FloatDistribution(0, 1, step=0.05),
            "n": IntDistribution(1, 512, log=True),
            "k": IntDistribution(0, 20),
            "c": CategoricalDistribution(["a", "b", "c", "d"]),
        },
        mixed,
    ),
    "conditional": (
        {
            "model": CategoricalDistribution(["u", "v", "w"]),
            "a": FloatDistribution(-3, 3),
            "b": FloatDistribution(-3, 3),
            "d": FloatDistribution(1e-4, 1, log=True),
            "n": IntDistribution(1, 9),
        },
        conditional,
    ),
}


def trajectory(space: Space, evaluate: Evaluate, seed: int, asks: int = ASKS) -> tuple[str, float]:
    """Return a hash of the proposed points, and the best value."""
    optimizer = adbo.Optimizer(space, seed=seed)
    digest = hashlib.sha256()
    under_way: deque[Params] = deque()
    for _ in range(asks):
        params = optimizer.ask()
        digest.update(repr(sorted(params.items())).encode())
        under_way.append(params)
        if len(under_way) == UNDER_WAY:
            optimizer.tell(*evaluate(under_way.popleft()))
    return digest.hexdigest()[:16], optimizer.best_value


def main() -> None:
    """Print a line for each space and seed."""
    for name, (space, evaluate) in CASES.items():
        for seed in SEEDS:
            print(name, seed, *trajectory(space, evaluate, seed), flush=True)


if __name__ == "__main__":
    main()
