"""The optimizer as a sampler of Optuna.

For each study, the sampler keeps a history, to which it adds the trials that have finished since
the last ask, of any worker. So it works with threads and with distributed workers on one
database.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
from optuna import Study
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from adbo.core.allowed import DeadEndError, Predicate
from adbo.core.allowed_draws import draw_next, draw_together
from adbo.core.evaluation import FINISHED_STATES, to_batch
from adbo.core.history import History
from adbo.core.optuna_trials import FIXED_PARAMS, STRATEGY, evaluation_of
from adbo.core.origins import to_text
from adbo.core.settings import KAPPA, check_kappa, signs_of
from adbo.core.space import check_bounds, contains
from adbo.optimizer.ask import propose
from adbo.optimizer.settings import with_strategies


class QUCBSampler(BaseSampler):
    """The optimizer of `adbo.optimize` as an Optuna sampler.

    All parameters of finished trials are sampled jointly, conditional ones included. A parameter
    that no finished trial has is drawn uniformly; so is a parameter whose proposed value is
    outside the range of this trial. A pruned trial counts with the value that it is expected to
    have had in the end, by its position among the complete trials when it was pruned.

    Parameters
    ----------
    seed
        Seed of the random stream; None for a fresh one.
    kappa
        Mean of the exponential distribution of kappa, the weight of the uncertainty.
    strategies
        Names of the strategies that are used; None for all.
    allowed
        A function of the parameters, as a dictionary, that returns whether they may be evaluated;
        None to allow all.

    Raises
    ------
    ValueError
        If kappa is negative or infinite, or a strategy is unknown; when sampling, if the study has
        more than 5 directions.

    Examples
    --------
    >>> import optuna
    >>> import adbo
    >>> study = optuna.create_study(sampler=adbo.QUCBSampler(seed=0))
    >>> study.optimize(lambda trial: trial.suggest_float("x", -5, 5) ** 2, n_trials=40)
    >>> study.best_value < 0.1
    True
    """

    def __init__(
        self,
        *,
        seed: int | None = None,
        kappa: float = KAPPA,
        strategies: Sequence[str] | None = None,
        allowed: Predicate | None = None,
    ) -> None:
        check_kappa(kappa)
        self._kappa = kappa
        self._strategies = strategies
        self._allowed = allowed
        self._settings = with_strategies(strategies)
        self._rng = np.random.default_rng(seed)
        self._lock = threading.Lock()
        self._known: weakref.WeakKeyDictionary[Any, dict[int, _Known]]
        self._known = weakref.WeakKeyDictionary()

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs; it reads the history from the study itself."""
        return {
            "kappa": self._kappa,
            "strategies": self._strategies,
            "allowed": self._allowed,
            "rng": self._rng,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        rng = state.pop("rng")
        self.__init__(**state)  # type: ignore[misc]
        self._rng = rng

    def reseed_rng(self) -> None:
        """Start a fresh random stream; every process of a parallel study must do so."""
        self._rng = np.random.default_rng()

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return all parameters of finished trials; see `optuna.samplers.BaseSampler`."""
        with self._lock:
            space = self._history(study).space
            names = {name: space.known(name) for name in space.names}
        return {name: distribution for name, distribution in names.items() if distribution}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the next point; see `optuna.samplers.BaseSampler`."""
        with self._lock:
            history = self._history(study)
            if not search_space or not len(history):
                return {}
            columns = {n: history.space.column(n, d) for n, d in search_space.items()}
            point, origin = propose(
                history, self._kappa, self._rng, self._settings, predicate=self._allowed
            )
        text = to_text(origin)
        if text is not None and FIXED_PARAMS not in trial.system_attrs:
            # In the storage, since other processes must learn of it, too.
            study._storage.set_trial_system_attr(trial._trial_id, STRATEGY, text)
        proposed = {
            name: search_space[name].to_external_repr(float(point[column]))
            for name, column in columns.items()
            if column is not None
            and not np.isnan(point[column])
            and contains(search_space[name], float(point[column]))
        }
        self._of(study).proposed[trial.number] = proposed
        return proposed

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return a uniform draw; see `optuna.samplers.BaseSampler`.

        It is the proposed value if Optuna refused that because of rounding; see
        `adbo.core.space.contains`.

        Raises
        ------
        optuna.TrialPruned
            If no value is allowed together with those before it, which other values are.
        """
        _signs(study)
        check_bounds(param_name, param_distribution)
        proposed = self._of(study).proposed.get(trial.number, {})
        if isinstance(param_distribution, FloatDistribution):
            value = proposed.get(param_name, math.nan)
            if contains(param_distribution, value):
                return value
        others = {**proposed, **trial.params}
        with self._lock:
            try:
                return draw_next(self._allowed, others, param_name, param_distribution, self._rng)
            except DeadEndError as dead_end:
                distributions = {**trial.distributions, param_name: param_distribution}
                draw_together(self._allowed, distributions, self._rng)  # some values must be
                raise optuna.TrialPruned(str(dead_end)) from None

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Forget what was proposed; see `optuna.samplers.BaseSampler`."""
        self._of(study).proposed.pop(trial.number, None)

    def _history(self, study: Study) -> History:
        return self._of(study).update(study)

    def _of(self, study: Study) -> _Known:
        studies = self._known.setdefault(study._storage, {})
        if study._study_id not in studies:
            studies[study._study_id] = _Known(_signs(study))
        return studies[study._study_id]


class _Known:
    """The history of a study, and what was proposed for its running trials by their numbers."""

    def __init__(self, signs: tuple[int, ...]) -> None:
        self.history = History(signs)
        self.proposed: dict[int, dict[str, Any]] = {}
        self._numbers: set[int] = set()

    def update(self, study: Study) -> History:
        """Add the trials that have finished since the last call, and return the history."""
        trials = study._get_trials(deepcopy=False, states=FINISHED_STATES, use_cache=True)
        if len(trials) > len(self._numbers):
            new = [trial for trial in trials if trial.number not in self._numbers]
            # Numbers are unique within a study; names by rank need not be, if studies were merged.
            self.history.extend(
                to_batch(replace(evaluation_of(trial), rank=-1, seq=trial.number)) for trial in new
            )
            self._numbers.update(trial.number for trial in new)
        return self.history


def _signs(study: Study) -> tuple[int, ...]:
    """Return the sign of each direction; ValueError if there are too many."""
    return signs_of([direction.name.lower() for direction in study.directions])
