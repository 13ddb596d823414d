"""What simulated workers can do, by name: adbo, and what it is compared with."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from adbo.core.history import History
from adbo.core.space import FloatArray
from adbo.optimizer import ask
from adbo.simulation import egele2022
from adbo.simulation.centralized import BatchManager, MakeManager, TPEManager, managed, stored
from adbo.simulation.events import decentralized, synchronous
from adbo.simulation.halving import HalvingTrial, Rungs, share
from adbo.simulation.virtual_ranks import Entry, Machine, Method, Propose, Task

#: Runs workers until a virtual time; yields evaluations in the order in which they finish.
Run = Callable[[Task, Machine, float], Generator[Entry, None, None]]


def adbo(kappa_mean: float, rng: np.random.Generator) -> Propose:
    """The optimizer of a real rank."""
    return lambda history: ask.propose(history, kappa_mean, rng)


def random_search(kappa_mean: float, rng: np.random.Generator) -> Propose:
    """Uniform in the unit cube, whatever is known."""
    return lambda history: random_batch(history, 1, rng)[0]


def random_batch(history: History, size: int, rng: np.random.Generator) -> FloatArray:
    """Points ``(size, d)`` uniform in the unit cube."""
    return history.space.from_unit(rng.random((size, len(history.space))))


def _on_shared_forest(make_propose: Callable[..., Propose]) -> Method:
    forest = egele2022.SharedForest()
    return Method(partial(make_propose, forest=forest), ask_cost=egele2022.fit_seconds)


def _adbo_2022(task: Task, machine: Machine, until: float) -> Generator[Entry, None, None]:
    method = _on_shared_forest(egele2022.adbo_2022)
    return decentralized(task, machine, until, method=method)


def _sdbo(
    task: Task, machine: Machine, until: float, *, evaluations: int
) -> Generator[Entry, None, None]:
    method = _on_shared_forest(egele2022.sdbo)
    return synchronous(task, machine, until, method=method, evaluations=evaluations)


def _asha(task: Task, machine: Machine, until: float) -> Generator[Entry, None, None]:
    method = Method(random_search, partial(HalvingTrial, Rungs()), share)
    # Pruning makes an evaluation shorter than what `decentralized` relies on to run ahead.
    return decentralized(task, replace(machine, processes=1), until, method=method)


def _by_batch(propose: Callable[[History, int, np.random.Generator], FloatArray]) -> MakeManager:
    return lambda task, rng: BatchManager(task, rng, propose)


def _by_liar(fit: egele2022.Fit) -> MakeManager:
    return lambda task, rng: BatchManager(
        task, rng, partial(egele2022.liar_batch, kappa=task.kappa, fit=fit)
    )


def _by_qucb(task: Task, rng: np.random.Generator) -> BatchManager:
    return BatchManager(task, rng, partial(egele2022.qucb_batch, kappa_mean=task.kappa))


def _each(batch: int) -> int:
    return batch


METHODS: Mapping[str, Run] = {
    "adbo": partial(decentralized, method=Method(adbo)),
    "adbo-2022": _adbo_2022,
    "sdbo": partial(_sdbo, evaluations=1),
    "sdbo-10": partial(_sdbo, evaluations=10),
    "acbo-rf": partial(managed, make_manager=_by_qucb),
    "acbo-rf-liar": partial(managed, make_manager=_by_liar(egele2022.fit_forest), fits=_each),
    "acbo-gp": partial(managed, make_manager=_by_liar(egele2022.fit_process), fits=_each),
    "acbo-random": partial(managed, make_manager=_by_batch(random_batch)),
    "random": partial(decentralized, method=Method(random_search)),
    "asha": _asha,
    "tpe": partial(managed, make_manager=TPEManager, fits=_each),
    "tpe-rdb": partial(stored, make_manager=TPEManager),
}
