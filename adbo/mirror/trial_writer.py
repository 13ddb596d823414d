"""Storing evaluations through Optuna's public interface, one by one, in any storage."""

from __future__ import annotations

from collections.abc import Sequence

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import TrialState

from adbo.core.choices import reordered
from adbo.core.evaluation import FINISHED_STATES, Evaluation
from adbo.core.names import Names
from adbo.core.optuna_trials import (
    ENQUEUED,
    add_trial,
    enqueued_id,
    name_of,
    trial_of,
    user_attrs,
)
from adbo.mirror.reader import Range
from adbo.mirror.schema import check
from adbo.mirror.storage_errors import translated


class TrialWriter:
    """Stores evaluations as trials of a study in any storage.

    Parameters
    ----------
    study
        The study.
    """

    def __init__(self, study: optuna.Study) -> None:
        self._study = study
        self.written: list[Range] = []  # always empty: the ids of new trials are not known
        self.n_confirmed = 0  # not counted
        self._distributions: dict[str, BaseDistribution] = {}

    def write(self, evaluations: Sequence[Evaluation]) -> None:
        """Store those of the evaluations that are not stored yet.

        Raises
        ------
        adbo.mirror.storage_errors.RefusedError
            If the storage will never take one of them.
        adbo.mirror.storage_errors.DatabaseError
            If the storage fails in any other way.
        """
        if not evaluations:
            return
        for evaluation in evaluations:
            check(evaluation)
        with translated(self._study._storage):
            # Each time, since other jobs store evaluations that this one reads.
            stored = self._read_names()
            for evaluation in evaluations:
                name = (evaluation.rank, evaluation.seq)
                if name not in stored:
                    self._store(self._reordered(evaluation))
                    stored.add(*name)

    def _reordered(self, evaluation: Evaluation) -> Evaluation:
        """Return an evaluation with its choices in the order that the study has."""
        for name, distribution in evaluation.layout.distributions.items():
            if name not in self._distributions and isinstance(
                distribution, CategoricalDistribution
            ):
                for trial in self._study.get_trials(deepcopy=False):
                    if name in trial.distributions:
                        self._distributions[name] = trial.distributions[name]
                        break
        return reordered(evaluation, self._distributions)

    def _store(self, evaluation: Evaluation) -> None:
        """Add a trial, or finish the one that was enqueued."""
        trial = trial_of(evaluation)
        trial.user_attrs = user_attrs(evaluation)
        storage = self._study._storage
        trial_id = enqueued_id(evaluation)
        if trial_id is None:
            add_trial(self._study, trial)
            return
        enqueued = storage.get_trial(trial_id)
        if enqueued.state != TrialState.RUNNING:
            add_trial(self._study, trial)
            return
        for name, value in zip(evaluation.layout.names, evaluation.internal, strict=True):
            if name not in enqueued.params:  # an attempt that failed may have stored some
                distribution = evaluation.layout.distributions[name]
                storage.set_trial_param(trial_id, name, value, distribution)
        for key, attribute in trial.user_attrs.items():
            storage.set_trial_user_attr(trial_id, key, attribute)
        for key, attribute in {**trial.system_attrs, ENQUEUED: None}.items():
            storage.set_trial_system_attr(trial_id, key, attribute)
        for step, value in trial.intermediate_values.items():
            storage.set_trial_intermediate_value(trial_id, step, value)
        storage.set_trial_state_values(trial_id, trial.state, trial.values)

    def _read_names(self) -> Names:
        names = Names()
        for trial in self._study.get_trials(deepcopy=False, states=FINISHED_STATES):
            if (name := name_of(trial.user_attrs)) is not None:
                names.add(*name)
        return names
