"""What a study in a database holds, as adbo reads it."""

from __future__ import annotations

import optuna

from adbo.core.enqueued import Enqueued
from adbo.core.evaluation import Evaluation
from adbo.mirror.study import access_to


def read_evaluations(study: optuna.Study) -> list[Evaluation]:
    """Return the finished trials of a study."""
    return access_to(study, job=0).reader.read()


def take_enqueued(study: optuna.Study, job: int = 0) -> list[Enqueued]:
    """Take all trials of a study that wait."""
    ids = [trial._trial_id for trial in study.get_trials(deepcopy=False)]
    return access_to(study, job).queue.take(ids)
