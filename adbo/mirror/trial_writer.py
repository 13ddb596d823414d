"""Evaluations as Optuna's trials, and storing them by Optuna's public interface."""

from __future__ import annotations

from collections.abc import Sequence

import optuna
from optuna.trial import TrialState

from adbo.core.evaluation import FINISHED_STATES, Evaluation
from adbo.core.optuna_trials import ENQUEUED, evaluation_of, trial_of
from adbo.mirror import schema
from adbo.mirror.connection import cause_of, storage_url
from adbo.mirror.redaction import redact


class TrialWriter:
    """Stores evaluations through Optuna's public interface, one by one, for any storage.

    Parameters
    ----------
    study
        Where they go. No other process may write trials of adbo to it.
    """

    def __init__(self, study: optuna.Study) -> None:
        self._study = study
        self._stored: schema.Names | None = None

    def write(self, evaluations: Sequence[Evaluation]) -> None:
        """Store those of the evaluations that are not stored yet.

        Raises
        ------
        adbo.mirror.schema.RefusedError
            If the storage will never take one of them.
        adbo.mirror.schema.DatabaseError
            If the storage fails in any other way.
        """
        for evaluation in evaluations:
            schema.check(evaluation)
        try:
            stored = self._names()
            for evaluation in evaluations:
                name = (evaluation.rank, evaluation.seq)
                if evaluation.rank >= 0 and name not in stored:
                    self._store(evaluation)
                    stored.add(*name)
        except Exception as error:
            # Whether the last one was stored is unknown: look it up next time.
            self._stored = None
            if isinstance(error, ValueError):
                raise
            text = redact(cause_of(error), storage_url(self._study._storage))
            raise schema.DatabaseError(text) from None

    def _store(self, evaluation: Evaluation) -> None:
        trial = trial_of(evaluation)
        trial_id = evaluation.extras.system_attrs.get(ENQUEUED)
        if trial_id is None:
            self._study.add_trial(trial)
            return
        storage = self._study._storage
        enqueued = storage.get_trial(trial_id)
        if enqueued.state != TrialState.RUNNING:
            self._study.add_trial(trial)
            return
        # An attempt that failed may have stored some of it.
        for name, value in zip(evaluation.layout.names, evaluation.internal, strict=True):
            if name not in enqueued.params:
                distribution = evaluation.layout.distributions[name]
                storage.set_trial_param(trial_id, name, value, distribution)
        for key, attribute in trial.user_attrs.items():
            storage.set_trial_user_attr(trial_id, key, attribute)
        for key, attribute in {**trial.system_attrs, ENQUEUED: None}.items():
            storage.set_trial_system_attr(trial_id, key, attribute)
        for step, value in trial.intermediate_values.items():
            storage.set_trial_intermediate_value(trial_id, step, value)
        storage.set_trial_state_values(trial_id, trial.state, trial.values)

    def _names(self) -> schema.Names:
        if self._stored is None:
            self._stored = schema.Names()
            for trial in self._study.get_trials(deepcopy=False, states=FINISHED_STATES):
                own = evaluation_of(trial)
                if own.rank >= 0:
                    self._stored.add(own.rank, own.seq)
        return self._stored
