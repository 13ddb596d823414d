"""Optimizers with ask and tell, behind one interface (`runs.Searcher`)."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import BaseTrial, FixedTrial, TrialState
from virtual_clock import Budget, Penalty, Space

from adbo.core.settings import KAPPA
from adbo.core.space import SearchSpace
from adbo.optimizer.ask_tell import Optimizer
from adbo.optimizer.settings import DEFAULT_SETTINGS, OptimizerSettings


class Adbo:
    """`adbo.Optimizer`, which asks as every rank does.

    Attributes
    ----------
    optimizer
        The optimizer, with its history.
    """

    def __init__(
        self,
        space: Space,
        seed: int,
        settings: OptimizerSettings = DEFAULT_SETTINGS,
        kappa: float = KAPPA,
    ) -> None:
        self.optimizer = Optimizer(space, seed=seed, kappa=kappa, settings=settings)

    def ask(self) -> BaseTrial:
        """Return a trial whose parameters are all known."""
        return FixedTrial(self.optimizer.ask())

    def tell(self, trial: BaseTrial, value: float | None) -> None:
        """Tell the value of the parameters that the objective asked for."""
        self.optimizer.tell(trial.params, value)


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


class Nevergrad:
    """NGOpt of nevergrad, which chooses an algorithm by the kinds of parameters and the budget."""

    def __init__(self, space: Space, seed: int, budget: Budget) -> None:
        import nevergrad
        from nevergrad.optimization import metamodel

        # nevergrad 1.0 calls float() of arrays with one element, which NumPy 2.4 refuses.
        metamodel.float = lambda array: np.asarray(array).item()
        parameters = nevergrad.p.Dict(**{k: _as_nevergrad(d) for k, d in space.items()})
        parameters.random_state = np.random.RandomState(seed)
        self._optimizer = nevergrad.optimizers.NGOpt(
            parameters, budget=budget.evaluations, num_workers=budget.workers
        )
        self._penalty = Penalty()
        self._asked: dict[int, Any] = {}

    def ask(self) -> BaseTrial:
        """Return a trial whose parameters are all known."""
        candidate = self._optimizer.ask()
        trial = FixedTrial(candidate.value)
        self._asked[id(trial)] = trial, candidate
        return trial

    def tell(self, trial: BaseTrial, value: float | None) -> None:
        """Tell the value, or the worst one so far: some of its algorithms hang on infinity."""
        _, candidate = self._asked.pop(id(trial))
        self._optimizer.tell(candidate, self._penalty(value))


def _as_nevergrad(distribution: BaseDistribution) -> Any:
    from nevergrad import p

    if isinstance(distribution, CategoricalDistribution):
        return p.Choice(list(distribution.choices))
    if isinstance(distribution, IntDistribution) and distribution.step == 1:
        scale = p.Log if distribution.log else p.Scalar
        return scale(lower=distribution.low, upper=distribution.high).set_integer_casting()
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    if distribution.step is not None:
        return p.TransitionChoice(_grid(distribution))
    scale = p.Log if distribution.log else p.Scalar
    return scale(lower=distribution.low, upper=distribution.high)


def _grid(distribution: BaseDistribution) -> list[Any]:
    """Return all choices, or all values of a number with a step."""
    space = SearchSpace({"x": distribution})
    return [space.decode(space.from_unit(row[np.newaxis])[0])["x"] for row in space.all_units()]


class Smac:
    """SMAC with its defaults for hyperparameters, where absent parameters have values, too."""

    def __init__(self, space: Space, seed: int, budget: Budget) -> None:
        from ConfigSpace import ConfigurationSpace
        from smac import HyperparameterOptimizationFacade, Scenario

        self._values = {name: _grid(d) for name, d in space.items() if _is_listed(d)}
        configurations = ConfigurationSpace(seed=seed)
        configurations.add([_as_config_space(name, d) for name, d in space.items()])
        self._folder = TemporaryDirectory()  # it writes its state
        scenario = Scenario(
            configurations,
            n_trials=budget.evaluations,
            seed=seed,
            deterministic=True,  # it asks for each point once
            output_directory=Path(self._folder.name),
        )
        self._facade = HyperparameterOptimizationFacade(
            scenario, lambda config, seed=0: 0.0, logging_level=False
        )
        self._asked: dict[int, Any] = {}
        self._penalty = Penalty()

    def ask(self) -> BaseTrial:
        """Return a trial whose parameters are all known."""
        info = self._facade.ask()
        params = {
            name: self._values[name][int(value)] if name in self._values else value
            for name, value in dict(info.config).items()
        }
        trial = FixedTrial(params)
        self._asked[id(trial)] = trial, info
        return trial

    def tell(self, trial: BaseTrial, value: float | None) -> None:
        """Tell the value, or the worst one so far: its forest cannot use an infinite cost."""
        from smac.runhistory import TrialValue

        _, info = self._asked.pop(id(trial))
        self._facade.tell(info, TrialValue(cost=self._penalty(value)))


def _is_listed(distribution: BaseDistribution) -> bool:
    """Return whether SMAC gets the index of a value: choices, and numbers with a step."""
    if isinstance(distribution, FloatDistribution):
        return distribution.step is not None
    return not isinstance(distribution, IntDistribution) or distribution.step != 1


def _as_config_space(name: str, distribution: BaseDistribution) -> Any:
    import ConfigSpace

    if isinstance(distribution, CategoricalDistribution):
        return ConfigSpace.Categorical(name, range(len(distribution.choices)))
    if _is_listed(distribution):
        return ConfigSpace.OrdinalHyperparameter(name, range(len(_grid(distribution))))
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    kind: Any = (
        ConfigSpace.Float if isinstance(distribution, FloatDistribution) else ConfigSpace.Integer
    )
    return kind(name, (distribution.low, distribution.high), log=distribution.log)


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
