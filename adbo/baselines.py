"""What simulated workers can do: adbo itself, and what it is compared with."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from functools import partial

import numpy as np

from adbo import optimizer
from adbo.cohort import Entry, Machine, Propose, Task
from adbo.events import decentralized
from adbo.history import History
from adbo.space import FloatArray

#: Runs workers until a virtual time; yields evaluations in the order in which they finish.
Run = Callable[[Task, Machine, float], Generator[Entry, None, None]]


def adbo(kappa_mean: float, rng: np.random.Generator) -> Propose:
    """The optimizer of a real rank."""
    return lambda history: optimizer.propose(history, kappa_mean, rng)


def random_search(kappa_mean: float, rng: np.random.Generator) -> Propose:
    """Uniform in the unit cube, whatever is known."""

    def propose(history: History) -> FloatArray:
        points = history.space.from_unit(rng.random((1, len(history.space))))
        return np.asarray(points[0])

    return propose


METHODS: Mapping[str, Run] = {
    "adbo": partial(decentralized, method=adbo),
    "random": partial(decentralized, method=random_search),
}
