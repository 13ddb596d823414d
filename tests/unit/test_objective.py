"""Loading an objective, the trial it is called with, and its evaluation."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

from adbo.core.errors import UsageError
from adbo.core.evaluation import FAIL_REASON, Evaluation
from adbo.core.history import History
from adbo.core.space import SearchSpace
from adbo.core.wire import Encoder
from adbo.interruption.stopping import EvaluationAbandoned
from adbo.objective.evaluate import evaluate
from adbo.objective.loading import load, load_both
from adbo.objective.trial import RankStudy, Trial


def _trial(space: SearchSpace | None = None, proposal: list[float] | None = None) -> Trial:
    rng = np.random.default_rng(0)
    return RankStudy(History(space=space)).begin(proposal or [], 7, 1000.0, rng)


def _outcome(objective: Callable[[Any], Any], trial: Trial | None = None) -> Evaluation:
    return evaluate(objective, trial or _trial(), (3, 5), lambda: 1002.5)


def _conditional(trial: optuna.trial.BaseTrial) -> float:
    kind = trial.suggest_categorical("kind", ["svc", None, 3])
    if kind == "svc":
        return trial.suggest_float("c", 1e-10, 1e10, log=True)
    return float(trial.suggest_int("depth", 2, 32, step=3)) + trial.suggest_float(
        "q", 0, 1, step=0.25
    )


@pytest.mark.parametrize(
    "params", [{"kind": "svc", "c": 0.5}, {"kind": None, "depth": 8, "q": 0.75}]
)
def test_the_same_values_as_with_optunas_trial(params: dict[str, Any]) -> None:
    space = SearchSpace(
        {
            "kind": CategoricalDistribution(["svc", None, 3]),
            "c": FloatDistribution(1e-10, 1e10, log=True),
            "depth": optuna.distributions.IntDistribution(2, 32, step=3),
            "q": FloatDistribution(0, 1, step=0.25),
        }
    )
    ours = _trial(space, space.encode(params).tolist())
    theirs = optuna.trial.FixedTrial(params)
    assert _conditional(ours) == _conditional(theirs)
    assert ours.params == theirs.params == params
    assert list(ours.params) == list(theirs.params)
    assert ours.distributions == theirs.distributions


def test_an_evaluation_has_everything_about_its_trial() -> None:
    def objective(trial):
        trial.set_user_attr("note", {"a": [1, 2]})
        trial.report(0.5, step=1)
        trial.set_constraint("c", 2)
        return trial.suggest_float("x", 0, 1)

    evaluation = _outcome(objective)
    assert (evaluation.rank, evaluation.seq) == (3, 5)
    assert evaluation.state == TrialState.COMPLETE
    assert evaluation.value == evaluation.params["x"]
    assert (evaluation.started, evaluation.finished) == (1000.0, 1002.5)
    assert evaluation.extras.user_attrs == {"note": {"a": [1, 2]}}
    assert evaluation.extras.system_attrs == {"constraints:c": 2.0}
    assert evaluation.extras.intermediate_values == {1: 0.5}


@pytest.mark.parametrize(
    ("result", "value"),
    [(3, 3.0), ("2.5", 2.5), (np.float32(0.5), 0.5), ([4.0], 4.0), (np.array(2.0), 2.0),
     (math.inf, math.inf), (True, 1.0)],
)  # fmt: skip
def test_results_that_are_numbers(result: Any, value: float) -> None:
    evaluation = _outcome(lambda trial: result)
    assert evaluation.state == TrialState.COMPLETE
    assert evaluation.value == value


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (None, "The value None could not be cast to float"),
        ("many", "The value 'many' could not be cast to float"),
        (math.nan, "The value nan is not acceptable"),
        ([1.0, 2.0], "number of the values 2 did not match"),
        ({}, "could not be cast"),
        (np.zeros((2, 2)), "The value array([[0., 0.], [0., 0.]]) could not be cast to float"),
    ],
)
def test_results_that_are_no_numbers_fail_with_a_reason(result: Any, reason: str) -> None:
    evaluation = _outcome(lambda trial: result)
    assert evaluation.state == TrialState.FAIL
    assert math.isnan(evaluation.value)
    assert reason in evaluation.extras.user_attrs[FAIL_REASON]


@pytest.mark.parametrize(
    "error",
    [
        *(RuntimeError("no mesh\nat all"), SystemExit(3), ValueError()),
        *(GeneratorExit(), asyncio.CancelledError(), BaseException("a panic in Rust")),
    ],
)
def test_an_exception_fails_with_a_reason(error: BaseException) -> None:
    def objective(trial):
        trial.suggest_float("x", 0, 1)
        raise error

    evaluation = _outcome(objective)
    assert evaluation.state == TrialState.FAIL
    assert list(evaluation.params) == ["x"]
    reason = evaluation.extras.user_attrs[FAIL_REASON]
    assert reason.startswith(type(error).__name__)
    assert "\n" not in reason


@pytest.mark.parametrize("error", [EvaluationAbandoned, KeyboardInterrupt])
def test_what_ends_the_run_is_no_failure(error: type[BaseException]) -> None:
    def objective(trial):
        raise error

    with pytest.raises(error):
        _outcome(objective)


def test_an_exception_without_text_fails_with_its_name() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    def objective(trial):
        raise Mute

    assert _outcome(objective).extras.user_attrs[FAIL_REASON] == "Mute"


def test_an_attribute_that_json_cannot_name_fails() -> None:
    evaluation = _outcome(lambda trial: trial.set_user_attr((1, 2), 3))
    assert evaluation.extras.user_attrs[FAIL_REASON].startswith("TypeError: keys must be")
    assert Encoder().frames(evaluation)  # the evaluation can still be sent


def test_pruned_with_the_last_intermediate_value() -> None:
    def objective(trial):
        trial.report(1.0, step=2)
        trial.report(5.0, step=1)
        raise optuna.TrialPruned

    assert _outcome(objective).state == TrialState.PRUNED
    assert _outcome(objective).value == 1.0


def test_pruned_without_any() -> None:
    def objective(trial):
        raise optuna.TrialPruned

    assert math.isnan(_outcome(objective).value)


def test_the_same_name_twice_is_the_same_value() -> None:
    trial = _trial()
    assert trial.suggest_float("x", 0, 1) == trial.suggest_float("x", 0, 1)
    with pytest.raises(ValueError, match="different distribution kind"):
        trial.suggest_categorical("x", [1, 2])


def test_an_incompatible_definition_of_a_known_name_fails() -> None:
    space = SearchSpace({"x": FloatDistribution(0, 1)})
    evaluation = _outcome(lambda trial: trial.suggest_int("x", 0, 9), _trial(space, [0.5]))
    assert evaluation.state == TrialState.FAIL
    assert evaluation.extras.user_attrs[FAIL_REASON] == (
        "ValueError: parameter 'x': the objective asks for IntDistribution(high=9, log=False,"
        " low=0, step=1), the study has FloatDistribution(high=1.0, log=False, low=0.0, step=None)"
    )


def test_choices_known_from_a_message_are_the_same_choices() -> None:
    # JSON turns a tuple into a list.
    space = SearchSpace({"x": CategoricalDistribution([[1, 2], [3]])})
    evaluation = _outcome(
        lambda trial: len(trial.suggest_categorical("x", [(1, 2), (3,)])), _trial(space, [1.0])
    )
    assert (evaluation.state, evaluation.value) == (TrialState.COMPLETE, 1.0)


def test_a_proposal_outside_a_narrower_range_moves_into_it() -> None:
    space = SearchSpace({"x": FloatDistribution(0, 10)})
    assert _trial(space, [9.0]).suggest_float("x", 0, 2) == 2.0


def test_unknown_parameters_are_drawn_at_random() -> None:
    first, second = (
        RankStudy(History())
        .begin([], 0, 0.0, np.random.default_rng(seed))
        .suggest_float("x", 0, 1)
        for seed in (1, 2)
    )
    assert first != second


def test_the_rest_of_the_interface() -> None:
    trial = _trial()
    assert trial.number == 7
    assert trial.datetime_start.timestamp() == 1000.0
    assert trial.should_prune() is False
    with pytest.raises(TypeError):
        trial.set_user_attr("x", object())
    with pytest.raises(ValueError, match="step"):
        trial.report(1.0, step=-1)
    with pytest.raises(TypeError):
        trial.report("a", step=1)
    trial.report(1.0, step=1)
    with pytest.warns(UserWarning, match="already reported"):
        trial.report(2.0, step=1)


def test_attributes_are_copies() -> None:
    trial = _trial()
    value = [1]
    trial.set_user_attr("x", value)
    value.append(2)
    trial.user_attrs["x"].append(3)
    assert trial.running.extras().user_attrs == {"x": [1]}


SOURCE = """
import neighbour
number = 3
def objective(trial):
    return neighbour.two + trial.suggest_float("x", 0, 1)
"""


def test_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "neighbour.py").write_text("two = 2\n")
    (tmp_path / "mine.py").write_text(SOURCE)
    for text in (f"{tmp_path}/mine.py:objective",):
        assert 2 <= _outcome(load(text)).value <= 3
    monkeypatch.chdir(tmp_path)
    assert 2 <= _outcome(load("mine:objective")).value <= 3
    assert len(_outcome(load("ackley:3")).params) == 3
    assert len(_outcome(load("hartmann6")).params) == 6


METHODS = """
class Solver:
    def __init__(self, scale=1):
        self.scale = scale

    def run(self, trial):
        return self.scale * trial.suggest_float("x", 1, 2)

    def __call__(self, trial):
        return self.run(trial)

    @classmethod
    def of_class(cls, trial):
        return cls(2).run(trial)

    @staticmethod
    def free(trial):
        return trial.suggest_float("x", 1, 2)

    def without_self(trial):
        return trial.suggest_float("x", 1, 2)

solver = Solver(4)
nested = type("Space", (), {"solver": solver})

def two(x, y): return x
def none(): return 0
def more(trial, scale=2, *others, **options): return scale * trial.suggest_float("x", 1, 2)
"""


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        *(("solver", 4, 8), ("solver.run", 4, 8), ("nested.solver.run", 4, 8)),
        *(("solver.of_class", 2, 4), ("Solver.of_class", 2, 4)),
        *(("Solver.free", 1, 2), ("Solver.without_self", 1, 2), ("more", 2, 4)),
    ],
)
def test_methods_and_instances(name: str, low: float, high: float, tmp_path: Path) -> None:
    (tmp_path / "methods.py").write_text(METHODS)
    assert low <= _outcome(load(f"{tmp_path}/methods.py:{name}")).value <= high


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("Solver", "Solver is a class: make an instance, as by instance = Solver(...), and name"),
        ("Solver.run", "Solver.run(self, trial) needs an instance: make one, as by solver = Solv"),
        ("Solver.gone", "methods.py has no function 'Solver.gone'"),
        ("solver.scale", "solver.scale is of type int: it must be a function of the trial"),
        ("two", "two(x, y) cannot be called with one argument, the trial"),
        ("none", "none() cannot be called with one argument, the trial"),
    ],
)
def test_what_cannot_be_called_with_a_trial(name: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "methods.py").write_text(METHODS)
    with pytest.raises(UsageError) as caught:
        load(f"{tmp_path}/methods.py:{name}")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("Solver", "methods.py:Solver is a class: make an instance"),
        ("two", "two(x, y) cannot be called with one argument, the parameters"),
        ("solver.scale", "solver.scale is of type int: it must be a function of the parameters"),
    ],
)
def test_what_cannot_be_called_with_parameters(name: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "methods.py").write_text(METHODS)
    with pytest.raises(UsageError) as caught:
        load_both(f"{tmp_path}/methods.py:solver", name)
    assert complaint in str(caught.value)


def test_a_module_is_imported_from_where_the_command_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "early.py").write_text(
        "def f(trial):\n    import late_one\n    return late_one.y\n"
    )
    (tmp_path / "late_one.py").write_text("y = 3\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [entry for entry in sys.path if entry])
    objective = load("early:f")
    monkeypatch.chdir("/")
    assert _outcome(objective).value == 3


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("gone.py:f", "no file 'gone.py'"),
        ("mine.py:f", "mine.py has no function 'f'"),
        ("mine.py:number", "mine.py:number is of type int"),
        ("broken.py:f", "cannot import broken.py: ZeroDivisionError: division by zero"),
        ("leaves.py:f", "cannot import leaves.py: SystemExit: 3"),
        ("syntax.py:f", "cannot import syntax.py: SyntaxError"),
        ("no.such:f", "cannot import no.such: ModuleNotFoundError"),
        ("mine.py", "no objective 'mine.py'"),
        ("akley", "no objective 'akley'"),
        ("ackley:0", "the dimension of ackley is '0'"),
        ("ackley:x", "the dimension of ackley is 'x'"),
        ("hartmann6:3", "the dimension of hartmann6 is '3': it must be 6"),
    ],
)
def test_objectives_that_cannot_be_loaded(
    text: str, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "neighbour.py").write_text("two = 2\n")
    (tmp_path / "mine.py").write_text(SOURCE)
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "leaves.py").write_text("raise SystemExit(3)\n")
    (tmp_path / "syntax.py").write_text("def f(:\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        load(text)
    assert str(caught.value).startswith(complaint)
    assert "\n" not in str(caught.value)
