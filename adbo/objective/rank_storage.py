"""What a rank knows, as a storage of Optuna: the study that the objective sees.

Finished trials are read from the history. One trial is running, and only that one can be changed.
This module does not know how trials are proposed, and no database.

The number of a finished trial is its row in the history, so that ``study.trials[n].number`` is
``n``, as in any study of Optuna. The running trial has the number that its rank gave it.
"""

from __future__ import annotations

import copy
import datetime
import json
import math
import threading
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

from adbo.core.enqueued import OWN, Enqueued
from adbo.core.evaluation import FAIL_REASON, Extras
from adbo.core.history import History
from adbo.core.intermediate_values import MAX_STEP
from adbo.core.optuna_trials import FIXED_PARAMS, trial_of

#: The reason of a failure is cut after this number of characters.
_REASON_CHARACTERS = 2000

#: Distance between the ids of the attempts at one trial, more than there are numbers.
_IDS_PER_ATTEMPT = 2**62

_STUDY_ID = 0


@dataclass
class RunningTrial:
    """The trial that is being evaluated."""

    number: int
    started: float
    """Seconds since the epoch."""
    user_attrs: dict[str, Any]
    system_attrs: dict[str, Any]
    intermediate_values: dict[int, float]
    distributions: dict[str, BaseDistribution] = field(default_factory=dict)
    internal: dict[str, float] = field(default_factory=dict)
    """Optuna's internal value of each parameter, in the order in which they were suggested."""
    is_over: bool = False
    """Whether its evaluation has ended, so that nothing can be changed any more."""
    enqueued: Enqueued = OWN
    """What was given with the trial."""
    attempt: int = 0
    """How often it has been evaluated before."""
    wanted: dict[str, Any] = field(default_factory=dict)
    """Values by name that parameters take where they can, since they are allowed together."""
    is_unrestricted: bool = False
    """Whether the predicate does not count, since it allows nothing with what was enqueued."""

    @property
    def trial_id(self) -> int:
        """The id, by which only the processes of this attempt can change the trial."""
        return self.number + self.attempt * _IDS_PER_ATTEMPT

    @classmethod
    def new(cls, number: int, started: float, enqueued: Enqueued = OWN) -> RunningTrial:
        """Return a trial that begins; see `RankStudy.begin`."""
        system_attrs = copy.deepcopy(dict(enqueued.system_attrs))
        if enqueued.fixed:
            system_attrs[FIXED_PARAMS] = dict(enqueued.fixed)
        return cls(
            number,
            started,
            copy.deepcopy(dict(enqueued.user_attrs)),
            system_attrs,
            dict(enqueued.intermediate_values),
            enqueued=enqueued,
        )

    def again(self) -> RunningTrial:
        """Return the trial as it was when it began, but with the parameters that it has by now."""
        again = RunningTrial.new(self.number, self.started, self.enqueued)
        again.distributions, again.internal = dict(self.distributions), dict(self.internal)
        again.attempt = self.attempt + 1
        return again

    @property
    def params(self) -> dict[str, Any]:
        """The parameters that were suggested so far."""
        return {n: d.to_external_repr(self.internal[n]) for n, d in self.distributions.items()}

    @property
    def last_intermediate_value(self) -> float:
        """The value reported for the highest step; NaN if there is none."""
        values = self.intermediate_values
        return values[max(values)] if values else math.nan

    def extras(self, reason: str | None = None) -> Extras:
        """Return attributes and intermediate values; with the reason if the evaluation failed."""
        user_attrs = self.user_attrs
        if reason is not None:
            user_attrs = {**user_attrs, FAIL_REASON: reason[:_REASON_CHARACTERS]}
        return Extras(user_attrs, self.system_attrs, self.intermediate_values)

    def frozen(self) -> FrozenTrial:
        """Return the trial as it is now."""
        return FrozenTrial(
            number=self.number,
            trial_id=self.trial_id,
            state=TrialState.RUNNING,
            value=None,
            datetime_start=datetime.datetime.fromtimestamp(self.started),
            datetime_complete=None,
            params=self.params,
            distributions=dict(self.distributions),
            user_attrs=copy.deepcopy(self.user_attrs),
            system_attrs=copy.deepcopy(self.system_attrs),
            intermediate_values=dict(self.intermediate_values),
        )


class RankStorage(BaseStorage):
    """An Optuna storage with one study: the history of this rank, and one running trial.

    Parameters
    ----------
    history
        What the rank knows.
    study_name
        The name of the study.
    study_attrs
        The user attributes that the study has at the start.
    reported
        Called with each number of reports that the running trial has reached, and the last value.
    suggested
        Called with the name, distribution and internal value of each parameter, before the
        running trial has it; may raise.
    """

    def __init__(
        self,
        history: History,
        study_name: str,
        study_attrs: dict[str, Any] | None = None,
        reported: Callable[[int, float], None] = lambda n_reports, value: None,
        suggested: Callable[[str, BaseDistribution, float], None] = lambda *parameter: None,
    ) -> None:
        self.history = history
        #: Trials that the objective enqueued; the rank takes them from here.
        self.enqueued: list[Enqueued] = []
        self._study_name = study_name
        self._study_attrs: dict[str, dict[str, Any]] = {"user": study_attrs or {}, "system": {}}
        self._changes: dict[str, dict[str, Any]] = {}  # of these, which no trial carries yet
        self._reported = reported
        self._suggested = suggested
        self._running: RunningTrial | None = None
        self._finished: list[FrozenTrial] = []
        self._lock = threading.Lock()  # of `_finished`; an objective may have several threads
        #: Whether the objective or a callback called ``study.stop()``.
        self.is_stopped = False

    @property
    def running(self) -> RunningTrial:
        """The trial that is being evaluated, or was the last one."""
        assert self._running is not None
        return self._running

    def begin(self, trial: RunningTrial) -> int:
        """Make this the running trial, and return its id."""
        self._running = trial
        return trial.trial_id

    # The study

    def get_study_id_from_name(self, study_name: str) -> int:
        """Return the id of the study."""
        if study_name != self._study_name:
            raise KeyError(study_name)
        return _STUDY_ID

    def get_study_name_from_id(self, study_id: int) -> str:
        """Return the name of the study."""
        return self._study_name

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """Return the directions of the study."""
        minimize, maximize = StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE
        return [minimize if sign > 0 else maximize for sign in self.history.signs]

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """Return the user attributes of the study."""
        return copy.deepcopy(self._study_attrs["user"])

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """Return the system attributes of the study."""
        return copy.deepcopy(self._study_attrs["system"])

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Set an attribute of the study; see `take_changes`."""
        self._set_study_attr("user", key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Set an attribute of the study; see `take_changes`."""
        self._set_study_attr("system", key, value)

    def take_changes(self) -> dict[str, dict[str, Any]]:
        """Return the attributes of the study that were set since the last call.

        They travel to the database with the next trial that this rank finishes.
        """
        changes, self._changes = self._changes, {}
        return changes

    def get_all_studies(self) -> list[FrozenStudy]:
        """Return the study."""
        return [
            FrozenStudy(
                study_name=self._study_name,
                direction=None,
                directions=self.get_study_directions(_STUDY_ID),
                user_attrs=self.get_study_user_attrs(_STUDY_ID),
                system_attrs=self.get_study_system_attrs(_STUDY_ID),
                study_id=_STUDY_ID,
            )
        ]

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        """Raise RuntimeError: this storage has one study."""
        raise RuntimeError("make another study in a storage of its own, not in that of this trial")

    def delete_study(self, study_id: int) -> None:
        """Raise RuntimeError: the study is being optimized."""
        raise RuntimeError("the study of this trial is being optimized: it cannot be deleted")

    def stop_study(self) -> None:
        """Begin no further trial; see `adbo.objective.remote.Study`."""
        self.is_stopped = True

    # Trials

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Enqueue a trial for this rank.

        Raises
        ------
        RuntimeError
            If it is not a waiting trial: the ranks themselves make and finish trials.
        TypeError
            If a parameter or an attribute is not a JSON value.
        """
        if template_trial is None or template_trial.state is not TrialState.WAITING:
            raise RuntimeError(
                "the ranks of the run make and finish the trials of this study; use"
                " study.enqueue_trial to have a point evaluated"
            )
        self.enqueued.append(
            Enqueued(
                _json_value(FIXED_PARAMS, template_trial.system_attrs.get(FIXED_PARAMS, {})),
                _json_value("user_attrs", template_trial.user_attrs),
                _json_value("system_attrs", template_trial.system_attrs),
                dict(template_trial.intermediate_values),
            )
        )
        return -1

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        """Set a parameter of the running trial.

        Raises
        ------
        TypeError
            If a choice is not a JSON value, so that other ranks could not be told of it.
        adbo.core.allowed.DeadEndError
            If it is not allowed.
        """
        trial = self._changeable(trial_id)
        if self.history.space.known(param_name) != distribution:
            distribution_to_json(distribution)
        self._suggested(param_name, distribution, param_value_internal)
        trial.internal[param_name] = float(param_value_internal)
        trial.distributions[param_name] = distribution

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Raise RuntimeError: the value of a trial is what the objective returns."""
        raise RuntimeError("the value of this trial is what the objective returns, not study.tell")

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """Set a value of the running trial; OverflowError if the step is too large."""
        if abs(step) > MAX_STEP:
            raise OverflowError(f"step is {step}: it must be at most {MAX_STEP}")
        values = self._changeable(trial_id).intermediate_values
        values[step] = float(intermediate_value)
        self._reported(len(values), values[step])

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set a user attribute of the running trial; TypeError if it is not a JSON value."""
        self._changeable(trial_id).user_attrs[key] = _json_value(key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set a system attribute of the running trial; TypeError if it is not a JSON value."""
        self._changeable(trial_id).system_attrs[key] = _json_value(key, value)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial; KeyError if there is none of this id."""
        if self._running is not None and trial_id == self._running.trial_id:
            return self._running.frozen()
        row = _row(trial_id)
        if not 0 <= row < len(self.history):
            raise KeyError(f"there is no trial of the id {trial_id}")
        return self._frozen(row)

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        """Return the id of the trial of a number; KeyError if there is none."""
        running = self._running
        if running is not None and trial_number == running.number and not running.is_over:
            return running.trial_id
        if not 0 <= trial_number < len(self.history):
            raise KeyError(f"there is no trial of the number {trial_number}")
        return _id(trial_number)

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Return the finished trials that this rank knows, then the running one."""
        with self._lock:
            rows = range(len(self._finished), len(self.history))
            self._finished += [self._frozen(row) for row in rows]
            trials = list(self._finished)
        if self._running is not None and not self._running.is_over:
            trials.append(self._running.frozen())
        if states is not None:
            trials = [trial for trial in trials if trial.state in states]
        return copy.deepcopy(trials) if deepcopy else trials

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        """Return the incumbent, in constant time; ValueError before the first complete trial."""
        row = self.history.best
        if row is None:
            raise ValueError("No trials are completed yet.")
        return self._frozen(row)

    def latest_trial(self) -> FrozenTrial:
        """Return the finished trial that this rank has known for the shortest time."""
        return self._frozen(len(self.history) - 1)

    def _frozen(self, row: int) -> FrozenTrial:
        trial = trial_of(self.history.evaluation(row))
        trial.number, trial._trial_id = row, _id(row)
        return trial

    def _changeable(self, trial_id: int) -> RunningTrial:
        trial = self._running
        if trial is None or trial_id != trial.trial_id or trial.is_over:
            raise UpdateFinishedTrialError(f"Trial of the id {trial_id} has already finished.")
        return trial

    def _set_study_attr(self, scope: str, key: str, value: Any) -> None:
        value = _json_value(key, value)
        self._study_attrs[scope][key] = copy.deepcopy(value)
        self._changes.setdefault(scope, {})[key] = copy.deepcopy(value)


def _id(row: int) -> int:
    """Return the id of the finished trial of a row; ids from 0 on are those of running trials."""
    return -2 - row


def _row(trial_id: int) -> int:
    return -2 - trial_id


def _json_value(key: str, value: Any) -> Any:
    """Return a copy of an attribute; arrays and numbers of numpy become lists and numbers.

    Raises
    ------
    TypeError
        If it is not a JSON value then, so that other ranks could not be told of it.
    UnicodeEncodeError
        If UTF-8 cannot write the key, as no database can.
    """
    str(key).encode()
    try:
        json.dumps({key: value})
    except TypeError:
        return json.loads(json.dumps({key: value}, default=without_numpy))[key]
    return copy.deepcopy(value)


def without_numpy(value: Any) -> Any:
    """Return an array or a number of numpy as what JSON can hold; TypeError for anything else."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
