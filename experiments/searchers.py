"""The optimizers that `quality.py` compares, behind one interface."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import BaseTrial, FixedTrial, TrialState

from adbo.core.settings import KAPPA
from adbo.optimizer.ask_tell import Optimizer
from adbo.optimizer.settings import DEFAULT_SETTINGS, OptimizerSettings

Space = Mapping[str, BaseDistribution]


class Searcher(Protocol):
    """An optimizer with ask and tell; the objective asks each trial for its parameters."""

    def ask(self) -> BaseTrial:
        """Return the next trial."""

    def tell(self, trial: BaseTrial, value: float | None) -> None:
        """Take the value of a trial, or None if the evaluation failed."""


class Adbo:
    """`adbo.Optimizer`, which asks as every rank does."""

    def __init__(
        self,
        space: Space,
        seed: int,
        settings: OptimizerSettings = DEFAULT_SETTINGS,
        kappa: float = KAPPA,
    ) -> None:
        self._optimizer = Optimizer(space, seed=seed, kappa=kappa, settings=settings)

    def ask(self) -> BaseTrial:
        """Return a trial whose parameters are all known."""
        return FixedTrial(self._optimizer.ask())

    def tell(self, trial: BaseTrial, value: float | None) -> None:
        """Tell the value of the parameters that the objective asked for."""
        self._optimizer.tell(trial.params, value)


class Optuna:
    """A sampler of Optuna."""

    def __init__(self, sampler: optuna.samplers.BaseSampler) -> None:
        self._study = optuna.create_study(sampler=sampler)

    def ask(self) -> BaseTrial:
        """Return a trial that samples a parameter when it is asked for it."""
        return self._study.ask()

    def tell(self, trial: BaseTrial, value: float | None) -> None:
        """Finish the trial."""
        assert isinstance(trial, optuna.Trial)
        if value is None:
            self._study.tell(trial, state=TrialState.FAIL)
        else:
            self._study.tell(trial, value)


class DeepHyper:
    """DeepHyper's centralized Bayesian optimization, where absent parameters have values, too."""

    def __init__(self, space: Space, seed: int, **options: object) -> None:
        from deephyper.hpo import CBO, HpProblem

        problem = HpProblem()
        for name, distribution in space.items():
            problem.add_hyperparameter(_as_deephyper(distribution), name)
        self._names = list(space)
        self._search = CBO(problem, random_state=seed, verbose=0, **options)
        self._asked: dict[int, Any] = {}

    def ask(self) -> BaseTrial:
        """Return a trial whose parameters are all known."""
        (params,) = self._search.ask(1)
        trial = FixedTrial({name: params[name] for name in self._names})
        self._asked[id(trial)] = trial, params
        return trial

    def tell(self, trial: BaseTrial, value: float | None) -> None:
        """Tell the negated value, since DeepHyper maximizes, or a text for a failure."""
        _, params = self._asked.pop(id(trial))
        self._search.tell([(params, "F_objective" if value is None else -value)])


def _as_deephyper(distribution: BaseDistribution) -> object:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = distribution.low, distribution.high
    return (low, high, "log-uniform") if distribution.log else (low, high)


def _tpe(space: Space, seed: int) -> Searcher:
    return Optuna(
        optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)
    )


MakeSearcher = Callable[[Space, int], Searcher]

METHODS: Mapping[str, MakeSearcher] = {
    "adbo": Adbo,
    "random": lambda space, seed: Optuna(optuna.samplers.RandomSampler(seed=seed)),
    "tpe": _tpe,
    "deephyper": DeepHyper,
    "deephyper-forest": lambda space, seed: DeepHyper(
        space, seed, surrogate_model="RF", acq_func="UCBd", acq_optimizer="sampling"
    ),
}


def is_installed(method: str) -> bool:
    """Return whether the library of a method is installed."""
    return not method.startswith("deephyper") or bool(importlib.util.find_spec("deephyper"))
