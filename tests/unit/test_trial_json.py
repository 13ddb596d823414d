"""The JSON forms of trials and evaluations: those of earlier versions must still be read."""

from __future__ import annotations

import dataclasses
import json
import math

import optuna
from hypothesis import given
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState
from trial_strategies import evaluations

from adbo.core import trial_json
from adbo.core.evaluation import Evaluation, Extras, Layout
from adbo.core.optuna_trials import trial_of
from adbo.core.origins import to_code

EXTRAS = Extras({"note": "Größe", "n": [1, None]}, {"constraints:c": -1.0}, {0: 1.5, 7: math.inf})
EVALUATION = Evaluation(
    rank=3,
    seq=2,
    state=TrialState.COMPLETE,
    value=0.5,
    started=1.0,
    finished=2.25,
    layout=Layout(
        {"x": FloatDistribution(-5.0, 5.0), "kind": CategoricalDistribution(("a", None))}
    ),
    internal=(0.25, 1.0),
    extras=EXTRAS,
    origin=to_code("local", "elites"),
)

#: `EVALUATION` in a rescue file.
RESCUED = r"""
{"rank": 3, "seq": 2, "state": "COMPLETE", "value": 0.5, "params": {"x": 0.25, "kind": null},
 "started": 1.0, "finished": 2.25, "strategy": "local/elites",
 "user_attrs": {"note": "Gr\u00f6\u00dfe", "n": [1, null]},
 "system_attrs": {"constraints:c": -1.0}, "intermediate_values": [[0, 1.5], [7, Infinity]],
 "internal": [0.25, 1.0], "distributions": {
 "x": {"name": "FloatDistribution",
       "attributes": {"step": null, "low": -5.0, "high": 5.0, "log": false}},
 "kind": {"name": "CategoricalDistribution", "attributes": {"choices": ["a", null]}}}}
"""


def test_the_form_of_an_evaluation() -> None:
    assert trial_json.encode_evaluation(EVALUATION) == json.loads(RESCUED)
    assert trial_json.decode_evaluation(json.loads(RESCUED)) == EVALUATION


def test_an_evaluation_of_an_earlier_version_has_no_origin() -> None:
    fields = json.loads(RESCUED)
    del fields["strategy"]
    assert trial_json.decode_evaluation(fields) == dataclasses.replace(EVALUATION, origin=0)


@given(evaluations())
def test_trials_come_back_as_they_were(evaluation: Evaluation) -> None:
    trial = trial_of(evaluation)
    fields = json.loads(json.dumps(trial_json.encode_trial(trial)))
    again = trial_json.decode_trial(trial._trial_id, trial.number, fields)
    assert repr(again) == repr(trial)  # NaN is not itself


def test_a_waiting_trial_comes_back_as_it_was() -> None:
    trial = optuna.trial.create_trial(state=TrialState.WAITING, user_attrs={"note": "mine"})
    fields = json.loads(json.dumps(trial_json.encode_trial(trial)))
    assert trial_json.decode_trial(trial._trial_id, trial.number, fields) == trial


def test_equal_texts_share_their_layout() -> None:
    first, second = (trial_json.decode_evaluation(json.loads(RESCUED)) for _ in range(2))
    assert first.layout is second.layout
