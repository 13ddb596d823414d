"""The trial that the objective is given: Optuna's own, of a study that is what the rank knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    distribution_to_json,
    json_to_distribution,
)
from optuna.pruners import BasePruner, NopPruner

from adbo.core.allowed import NotAllowedError, NothingAllowedError, Predicate
from adbo.core.allowed_draws import draw_together
from adbo.core.choices import reordering
from adbo.core.enqueued import OWN, Enqueued
from adbo.core.history import History
from adbo.core.space import REMEDY, are_compatible, check_bounds, contradiction
from adbo.objective.halving import HalvingPruner
from adbo.objective.proposal import Point, ProposalSampler, meant
from adbo.objective.rank_storage import RankStorage, RunningTrial
from adbo.objective.remote import Address, Study, remote_study

#: After this number of attempts at a trial that came to parameters of which no values are allowed,
#: nothing else is tried.
DEAD_ENDS = 10


class Trial(optuna.trial.Trial):
    """Optuna's trial, whose parameters must agree with those that the study has already.

    Parameters
    ----------
    study
        A study whose storage is a `RankStorage`.
    trial_id
        The id of its running trial.
    """

    def __init__(self, study: optuna.Study, trial_id: int) -> None:
        super().__init__(study, trial_id)
        #: The communicator of the ranks that evaluate this trial together; None for one rank.
        self.comm: Any = None
        #: One line about the first parameter that contradicts the study, even if the objective
        #: caught the error; None if there is none.
        self.contradiction: str | None = None

    @property
    def running(self) -> RunningTrial:
        """What the trial is made of, on the rank that evaluates it."""
        assert isinstance(self.storage, RankStorage)
        return self.storage.running

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        """Suggest a value; of choices, the one of this distribution that the study's choice means.

        Raises
        ------
        OverflowError
            If a bound is not finite.
        ValueError
            If the study has an incompatible parameter of the same name.
        """
        check_bounds(name, distribution)
        try:
            return self._agreed(name, distribution)
        except NotAllowedError as error:
            self.contradiction = self.contradiction or str(error)
            raise

    def _agreed(self, name: str, distribution: BaseDistribution) -> Any:
        """Suggest a value of the distribution that the study has."""
        known = self._known(name) or _as_stored(distribution)
        if name in self._fixed_params:
            value = meant(self._fixed_params[name], known)
            self._fixed_params = {**self._fixed_params, name: value}
        agrees = known == distribution or are_compatible(known, distribution)
        if not agrees and name not in self.distributions:
            reason = contradiction(name, known, distribution)
            self.contradiction = self.contradiction or f"{reason}: {REMEDY}"
            raise ValueError(reason)
        if agrees and isinstance(known, CategoricalDistribution):
            assert isinstance(distribution, CategoricalDistribution)
            choice = super()._suggest(name, known)
            index = _index_of(choice, known)
            if index != known.to_internal_repr(choice):
                self.storage.set_trial_param(self._trial_id, name, index, known)
            indices = reordering(known, distribution)
            return distribution.choices[index if indices is None else int(indices[index])]
        return super()._suggest(name, distribution)

    def _known(self, name: str) -> BaseDistribution | None:
        """Return the distribution that a parameter has in this trial or in the study."""
        own = self._cached_frozen_trial.distributions.get(name)
        if own is not None:
            return own
        assert self.relative_params is not None  # which also infers the search space
        assert self.relative_search_space is not None
        return self.relative_search_space.get(name)


def _as_stored(distribution: BaseDistribution) -> BaseDistribution:
    """Return a distribution whose choices are JSON values, as other ranks and databases have them.

    Members of an enumeration become what they are equal to; TypeError for what JSON cannot hold.
    """
    if isinstance(distribution, CategoricalDistribution):
        return json_to_distribution(distribution_to_json(distribution))
    return distribution


def _index_of(choice: Any, distribution: CategoricalDistribution) -> int:
    """Return the index of a choice; Optuna takes the first equal one, such as 1.0 for 1."""
    index = int(distribution.to_internal_repr(choice))
    if type(distribution.choices[index]) is type(choice):
        return index
    alike = (i for i, c in enumerate(distribution.choices) if type(c) is type(choice))
    return next((i for i in alike if distribution.choices[i] == choice), index)


def remote_trial(name: str, address: Address, trial_id: int) -> Trial:
    """Return the running trial of a rank, in another process."""
    return Trial(remote_study(name, address), trial_id)


class RankStudy:
    """Makes the trials of a rank, one after the other; they belong to one study.

    Parameters
    ----------
    history
        What the rank knows.
    name
        The name of the study.
    attrs
        The user attributes that the study has at the start.
    pruner
        Decides whether a trial goes on; None for no pruning. A `HalvingPruner` is told of reports.
    allowed
        What the parameters must satisfy that no proposal has; None for anything.
    """

    def __init__(
        self,
        history: History,
        name: str = "study",
        attrs: dict[str, Any] | None = None,
        pruner: BasePruner | None = None,
        allowed: Predicate | None = None,
    ) -> None:
        #: Successive halving, if that is the pruner.
        self.halving = pruner if isinstance(pruner, HalvingPruner) else None
        told: dict[str, Any] = {} if self.halving is None else {"reported": self.halving.reported}
        if allowed is not None:
            told["suggested"] = self._suggested
        self.storage = RankStorage(history, name, attrs, **told)
        self._allowed = allowed
        nothing = RunningTrial.new(0, 0.0)
        sampler = ProposalSampler(history.space, (), np.random.default_rng(0), nothing)
        #: The trial that began last.
        self.trial: Trial | None = None
        self.study = Study(name, self.storage, sampler, pruner or NopPruner())

    def begin(
        self,
        point: Point,
        number: int,
        started: float,
        rng: np.random.Generator,
        enqueued: Enqueued = OWN,
    ) -> Trial:
        """Begin a trial, and so end the one before.

        Parameters
        ----------
        point
            Proposed internal values ``(d,)`` in the columns of the history's search space; NaN
            where there is none.
        number
            The trial's number, unique within the study.
        started
            Seconds since the epoch.
        rng
            Source of parameters that the optimizer does not know yet.
        enqueued
            What was given with the trial, if somebody enqueued it.
        """
        return self.resume(point, RunningTrial.new(number, started, enqueued), rng)

    def resume(self, point: Point, running: RunningTrial, rng: np.random.Generator) -> Trial:
        """Begin a trial that another rank has begun; it suggests the same values there."""
        space = self.storage.history.space
        self.study.sampler = ProposalSampler(space, point, rng, running, self._allowed)
        self.trial = Trial(self.study, self.storage.begin(running))
        return self.trial

    def restart(self) -> Trial:
        """Begin the last trial once more, with the same parameters and what it had at first.

        After a dead end, its parameters are drawn anew, all together, but not what was enqueued.
        They are only wanted, since the objective may ask for others now.

        Raises
        ------
        adbo.core.allowed.NotAllowedError
            If the predicate fails, or after `DEAD_ENDS` attempts at the first trial of all.
        """
        running, last = self.storage.running.again(), self._sampler
        if not self.is_dead_end:
            return self.resume(last.proposal, running, last.rng)
        asked = {**running.distributions, **last.dead_end}
        running.distributions, running.internal = {}, {}
        try:
            running.wanted = self._drawn(asked, running.enqueued.fixed, last.rng)
        except NothingAllowedError:
            if running.attempt >= DEAD_ENDS and not len(self.storage.history):
                raise
            # Other ranges, which the objective asks for then, may have allowed ones. What
            # somebody enqueued is evaluated in any case.
            running.is_unrestricted = bool(running.enqueued.fixed)
        return self.resume((), running, last.rng)  # the proposal may contradict these

    def _drawn(
        self,
        asked: Mapping[str, BaseDistribution],
        fixed: Mapping[str, Any],
        rng: np.random.Generator,
    ) -> dict[str, Any]:
        """Return the fixed parameters, and the others drawn to be allowed together with them."""
        allowed = self._allowed
        assert allowed is not None
        free = {name: one for name, one in asked.items() if name not in fixed}
        given = {name: meant(fixed[name], one) for name, one in asked.items() if name in fixed}
        drawn = draw_together(lambda drawn: allowed({**given, **drawn}), free, rng)
        return {**given, **drawn}

    def _suggested(self, name: str, distribution: BaseDistribution, internal: float) -> None:
        self._sampler.check(name, distribution, internal)

    @property
    def is_dead_end(self) -> bool:
        """Whether the last trial has come to parameters of which no values are allowed."""
        return bool(self._sampler.dead_end)

    @property
    def _sampler(self) -> ProposalSampler:
        assert isinstance(self.study.sampler, ProposalSampler)
        return self.study.sampler

    @property
    def is_evaluating(self) -> bool:
        """Whether a trial is being evaluated."""
        return self.trial is not None and not self.storage.running.is_over

    @property
    def is_stopped(self) -> bool:
        """Whether the objective or a callback called ``study.stop()``."""
        return self.storage.is_stopped

    def take_enqueued(self) -> list[Enqueued]:
        """Return the trials that the objective or a callback enqueued since the last call."""
        taken, self.storage.enqueued = self.storage.enqueued, []
        return taken
