"""The methods that can be simulated, by name: adbo, and those it is compared with."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from adbo.core.history import History
from adbo.core.rungs import Halving
from adbo.core.space import FloatArray
from adbo.optimizer import ask
from adbo.optimizer.settings import DEFAULT_SETTINGS, OptimizerSettings
from adbo.simulation import egele2022
from adbo.simulation.centralized import (
    BatchManager,
    TPEManager,
    run_managed,
    run_on_storage,
)
from adbo.simulation.egele2022 import Egele2022Settings
from adbo.simulation.events import run_asynchronous, run_synchronous
from adbo.simulation.halving import run_halved
from adbo.simulation.virtual_ranks import LogEntry, Machine, Method, Part, Propose, Task

#: Runs workers until a virtual time; yields evaluations in the order in which they finish.
RunMethod = Callable[[Task, Machine, float], Generator[LogEntry, None, None]]


def adbo(
    kappa_mean: float,
    rng: np.random.Generator,
    part: Part,
    settings: OptimizerSettings = DEFAULT_SETTINGS,
) -> Propose:
    """Return the optimizer of a real rank."""
    return lambda history: ask.propose(history, kappa_mean, rng, settings, part)


def random_search(kappa_mean: float, rng: np.random.Generator, part: Part) -> Propose:
    """Return a random search, uniform in the unit cube."""
    return lambda history: ask.Proposal(random_batch(history, 1, rng)[0], 0)


def random_batch(history: History, size: int, rng: np.random.Generator) -> FloatArray:
    """Propose points ``(size, d)`` uniform in the unit cube."""
    return history.space.from_unit(rng.random((size, len(history.space))))


@dataclass(frozen=True)
class MethodSettings:
    """Settings of adbo and of the methods that it is compared with.

    Parameters
    ----------
    egele
        Settings of the optimizers of Egele et al. (2022).
    halving
        The rule of the methods that stop trials early.
    storage_seconds
        Virtual seconds for which the shared storage is busy with one trial: its creation, its
        parameters and its value.
    optimizer
        Settings of adbo.
    """

    egele: Egele2022Settings = field(default_factory=Egele2022Settings)
    halving: Halving = field(default_factory=Halving)
    storage_seconds: float = 0.05
    optimizer: OptimizerSettings = DEFAULT_SETTINGS


def make_methods(settings: MethodSettings) -> Mapping[str, RunMethod]:
    """Return all methods by name."""
    egele = settings.egele
    fit_forest = partial(egele2022.fit_random_forest, n_trees=egele.n_trees)
    liar = partial(_liar_manager, n_candidates=egele.n_candidates)
    sdbo = partial(_sdbo, settings=egele)
    ours = Method(partial(adbo, settings=settings.optimizer))
    return {
        "adbo": partial(run_asynchronous, method=ours),
        "adbo-halving": partial(run_halved, method=ours, halving=settings.halving),
        "adbo-2022": partial(_adbo_2022, settings=egele),
        "sdbo": partial(sdbo, evaluations=1),
        "sdbo-10": partial(sdbo, evaluations=10),
        "acbo-rf": partial(run_managed, make_manager=partial(_qucb_manager, settings=egele)),
        "acbo-rf-liar": partial(
            run_managed, make_manager=partial(liar, fit=fit_forest), n_fits=_one_per_ask
        ),
        "acbo-gp": partial(
            run_managed,
            make_manager=partial(liar, fit=egele2022.fit_gaussian_process),
            n_fits=_one_per_ask,
        ),
        "acbo-random": partial(
            run_managed, make_manager=partial(BatchManager, propose=random_batch)
        ),
        "random": partial(run_asynchronous, method=Method(random_search)),
        "asha": partial(run_halved, method=Method(random_search), halving=settings.halving),
        "tpe": partial(run_managed, make_manager=TPEManager, n_fits=_one_per_ask),
        "tpe-rdb": partial(
            run_on_storage, make_manager=TPEManager, storage_seconds=settings.storage_seconds
        ),
    }


def _shared_forest_method(
    make_propose: Callable[..., Propose], settings: Egele2022Settings
) -> Method:
    forest = egele2022.SharedForest(settings)
    return Method(partial(make_propose, forest=forest), ask_cost=settings.ask_seconds)


def _adbo_2022(
    task: Task, machine: Machine, until: float, *, settings: Egele2022Settings
) -> Generator[LogEntry, None, None]:
    method = _shared_forest_method(egele2022.adbo_2022, settings)
    return run_asynchronous(task, machine, until, method=method)


def _sdbo(
    task: Task, machine: Machine, until: float, *, settings: Egele2022Settings, evaluations: int
) -> Generator[LogEntry, None, None]:
    method = _shared_forest_method(egele2022.sdbo, settings)
    return run_synchronous(task, machine, until, method=method, evaluations=evaluations)


def _liar_manager(
    task: Task, rng: np.random.Generator, *, fit: egele2022.Fit, n_candidates: int
) -> BatchManager:
    liar = egele2022.ConstantLiar(fit, task.kappa, n_candidates)
    return BatchManager(task, rng, liar.propose)


def _qucb_manager(
    task: Task, rng: np.random.Generator, *, settings: Egele2022Settings
) -> BatchManager:
    propose = partial(egele2022.qucb_batch, kappa_mean=task.kappa, settings=settings)
    return BatchManager(task, rng, propose)


def _one_per_ask(batch_size: int) -> int:
    return batch_size


METHODS: Mapping[str, RunMethod] = make_methods(MethodSettings())
