"""Several objectives, and constraints, from the ask to the summary."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

import adbo
from adbo.cli.main import main
from adbo.core.errors import UsageError
from adbo.core.evaluation import Layout, to_batches
from adbo.core.history import History
from adbo.core.hypervolume import hypervolume
from adbo.core.trial_json import decode_evaluation, encode_evaluation
from adbo.core.wire import Decoder, Encoder, message
from adbo.simulation.settings import SimulationSettings
from adbo.simulation.simulate import simulate

SPACE = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}

BOTH = ["minimize", "maximize"]


def _two(trial: optuna.trial.BaseTrial) -> tuple[float, float]:
    """Return values whose front is y = 0."""
    x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
    return x + y, math.sqrt(x) - y


def _optimizer(n_trials: int, seed: int = 0) -> adbo.Optimizer:
    optimizer = adbo.Optimizer(SPACE, directions=BOTH, seed=seed)
    for _ in range(n_trials):
        params = optimizer.ask()
        optimizer.tell(params, _two(optuna.trial.FixedTrial(params)))
    return optimizer


def test_the_front_is_found() -> None:
    optimizer = _optimizer(60)
    costs = optimizer.history.front.costs
    assert len(optimizer.front) == len(costs) >= 10
    # The whole front is worth 2 / 3; uniform draws of 60 points reach 0.45 on average.
    assert hypervolume(costs, np.array([1.0, 0.0])) > 0.58
    for params, values in optimizer.front:
        assert values == list(_two(optuna.trial.FixedTrial(params)))
    for ask_for_one in (lambda: optimizer.best_params, optimizer.recommend):
        with pytest.raises(ValueError, match="use front"):
            ask_for_one()


def test_the_seed_determines_the_asks() -> None:
    first, second = (_optimizer(25).history for _ in range(2))
    np.testing.assert_array_equal(first.values(slice(None)), second.values(slice(None)))


@pytest.mark.parametrize("q", [2, 3, 5])
def test_scales_and_shifts_of_the_objectives_do_not_matter(q: int) -> None:
    scale, shift = 10.0 ** np.arange(q), np.arange(q)
    points = []
    for factor, offset in ((np.ones(q), np.zeros(q)), (2.0**40 * np.ones(q), np.zeros(q))):
        optimizer = adbo.Optimizer(SPACE, directions=["minimize"] * q, seed=0)
        for _ in range(12):
            params = optimizer.ask()
            values = [abs(params["x"] - i / q) + params["y"] for i in range(q)]
            optimizer.tell(params, factor * (scale * np.array(values) + shift) + offset)
        points.append(optimizer.history.values(slice(None)))
    np.testing.assert_allclose(*points, rtol=1e-6)


@pytest.mark.parametrize("value", [1.0, (1.0,), (1.0, 2.0, 3.0)])
def test_another_number_of_values_is_refused(value) -> None:
    optimizer = adbo.Optimizer(SPACE, directions=BOTH)
    with pytest.raises(ValueError, match=r"values of an evaluation, but 2 directions"):
        optimizer.tell({"x": 0.5, "y": 0.5}, value)


def test_failures_have_no_values() -> None:
    optimizer = adbo.Optimizer(SPACE, directions=BOTH, seed=0)
    for value in (None, (math.nan, 1.0), (math.inf, 0.0), (1.0, 2.0)):
        optimizer.tell(optimizer.ask(), value)
    assert optimizer.history.counts[TrialState.FAIL] == 2
    assert [values for _, values in optimizer.front] == [[1.0, 2.0]]
    for _ in range(8):
        optimizer.tell(optimizer.ask(), None)


def test_records_carry_all_values() -> None:
    history = History((1, -1, 1))
    study = optuna.create_study(directions=["minimize", "maximize", "minimize"])
    study.optimize(_three_or_failure, n_trials=12, catch=ZeroDivisionError)
    from adbo.core.optuna_trials import evaluation_of, trial_of

    evaluations = [evaluation_of(trial) for trial in study.trials]
    encoder = Encoder()
    data = [message([encoder.frames(e) for e in evaluations])]
    history.extend(Decoder().decode(data).batches)
    history.sort()
    again = History((1, -1, 1))
    again.extend(history.batches())
    for known in (history, again):
        found = known.evaluations()
        assert [e.values for e in found] == [
            tuple(t.values or [math.nan]) if t.values else pytest.approx((math.nan,), nan_ok=True)
            for t in study.trials
        ]
        assert [trial_of(e).values for e in found] == [t.values for t in study.trials]
        assert known.objectives(slice(None)).shape == (12, 3)
        assert known.constraint_names == ("c",)
        assert sorted(known.front.rows.tolist()) == [t.number for t in study.best_trials]
    for e in evaluations:
        assert repr(decode_evaluation(encode_evaluation(e))) == repr(e)
    assert len(to_batches(evaluations)) > 1


def _three_or_failure(trial: optuna.Trial) -> tuple[float, ...]:
    x = trial.suggest_float("x", 0, 1)
    trial.set_constraint("c", x - 0.9)
    if trial.number % 5 == 2:
        raise ZeroDivisionError
    return x, x**2, 1 - x


def test_a_layout_knows_its_number_of_values() -> None:
    layouts = [Layout.of(SPACE, n) for n in (1, 2, 5)]
    assert len({layout.key for layout in layouts}) == 3
    for layout in layouts:
        assert Layout.from_text(layout.text) is layout
    with pytest.raises(ValueError, match="a layout of 6 values"):
        Layout.from_text(Layout.of(SPACE, 6).text)


def test_a_whole_run(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    known = {"storage": url, "study_name": "s", "directions": BOTH, "seed": 0}
    adbo.optimize(_two, 20, **known)
    study = adbo.optimize(_two, 30, **known, resume=True)
    assert len(study.trials) == 30
    assert [d.name for d in study.directions] == ["MINIMIZE", "MAXIMIZE"]
    assert len(study.best_trials) >= 5
    assert all(trial.user_attrs["adbo:strategy"] for trial in study.trials[1:])
    with pytest.raises(ValueError, match=r"has directions minimize, maximize, not minimize"):
        adbo.optimize(_two, 40, storage=url, study_name="s", resume=True)
    study = adbo.optimize(_two, 5, storage=None, directions=BOTH)
    assert len(study.trials) == 5
    assert study.best_trials


def test_the_trial_sees_a_study_of_several_objectives() -> None:
    seen = []

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        seen.append((len(trial.study.directions), len(trial.study.best_trials)))
        return _two(trial)

    adbo.optimize(objective, 4, storage=None, directions=BOTH)
    assert [n for n, _ in seen] == [2] * 4
    assert seen[-1][1] >= 1


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        (1.0, "The number of the values 1 did not match the number of the objectives 2"),
        ((1, 2, 3), "The number of the values 3 did not match the number of the objectives 2"),
        ((1.0, math.nan), "The value nan is not acceptable"),
        ((1.0, "a"), "The value 'a' could not be cast to float"),
    ],
)
def test_what_is_no_two_values_fails(returned, reason: str) -> None:
    study = adbo.optimize(lambda trial: returned, 1, storage=None, directions=BOTH)
    assert study.trials[0].state is TrialState.FAIL
    assert study.trials[0].user_attrs["adbo:fail_reason"] == reason


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"directions": []}, "there are 0 directions"),
        ({"directions": ["minimize"] * 6}, "there are 6 directions"),
        ({"directions": ["down", "maximize"]}, "direction is 'down'"),
        ({"directions": "minimize"}, "it must be a list"),
        ({"directions": BOTH, "direction": "maximize"}, "use one of them"),
        ({"directions": BOTH, "target": 1.0}, "target is 1.0: it needs one objective"),
        ({"directions": BOTH, "patience": 3}, "patience is 3: it needs one objective"),
    ],
)
def test_wrong_choices_are_named(wrong, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        adbo.optimize(_two, 1, storage=None, **wrong)


def test_the_command_line(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Path("two.py").write_text(
        "def two(trial):\n    x = trial.suggest_float('x', 0, 1)\n    return x, x * x\n"
    )
    words = ["--direction", "minimize", "--direction", "maximize"]
    run = ["run", "two.py:two", *words, "--study-name", "s", "--trials", "15", "--quiet"]
    assert main(run) == 0
    assert main(["report", "--study-name", "s", "--json", "s.json"]) == 0
    out = capsys.readouterr().out
    assert "hypervolume" in out
    assert "reference point (" in out
    assert "0 (min)" in out
    assert '"pareto_front"' in Path("s.json").read_text()
    simulated = ["simulate", "two.py:two", *words, "--workers", "4", "--trials", "8", "--quiet"]
    assert main([*simulated, "--ask-cost", "0"]) == 0
    assert main([*simulated, "--method", "tpe"]) == 2
    assert "adbo or random with several objectives" in capsys.readouterr().err


def test_a_simulation_of_several_objectives() -> None:
    settings = SimulationSettings(workers=8, n_trials=60, ask_cost=0.0, direction=tuple(BOTH))
    simulation = simulate(_two, settings)
    summary = simulation.summary("s", "none")
    assert summary.directions == BOTH
    assert summary.pareto_front
    assert len(summary.pareto_front) == len(simulation.history.front.rows)
    assert simulate(_two, settings).history.front.rows.tolist() == (
        simulation.history.front.rows.tolist()
    )


def _constrained(trial: optuna.trial.BaseTrial) -> float:
    """Return a value whose feasible minimum is 0.5, at x = y = 0.5; the minimum is infeasible."""
    x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
    trial.set_constraint("sum", 1 - x - y)
    return x**2 + y**2


def test_constraints_that_the_objective_sets_are_respected() -> None:
    study = adbo.optimize(_constrained, 60, storage=None, seed=0)
    best = study.best_trial
    assert best.constraints["sum"] <= 0
    assert best.value < 0.505
    feasible = [t.constraints["sum"] <= 0 for t in study.trials[30:]]
    assert 0 < sum(feasible) < 30


def test_the_best_is_feasible_whatever_the_values() -> None:
    optimizer = adbo.Optimizer(SPACE, seed=0)
    optimizer.tell({"x": 0.1, "y": 0.1}, -10.0, {"c": 2.0})
    optimizer.tell({"x": 0.2, "y": 0.1}, -5.0, {"c": 1.0})
    with pytest.raises(ValueError, match="feasible"):
        _ = optimizer.best_params
    assert optimizer.history.elites.tolist() == [1, 0]
    optimizer.tell({"x": 0.9, "y": 0.1}, 7.0, {"c": 0.0})
    optimizer.tell({"x": 0.8, "y": 0.1}, 8.0, {"c": -1.0})
    assert optimizer.best_value == 7.0
    assert optimizer.history.elites.tolist() == [2, 3, 1, 0]
    assert optimizer.recommend()["x"] == pytest.approx(0.9)


def test_an_infeasible_front_is_no_front() -> None:
    optimizer = adbo.Optimizer(SPACE, directions=BOTH, seed=0)
    optimizer.tell({"x": 0.1, "y": 0.1}, (0.0, 9.0), {"c": 1.0})
    assert optimizer.front == []
    optimizer.tell({"x": 0.2, "y": 0.1}, (1.0, 5.0), {"c": 0.0})
    assert [values for _, values in optimizer.front] == [[1.0, 5.0]]
    for _ in range(6):
        params = optimizer.ask()
        optimizer.tell(params, (params["x"], params["y"]), {"c": params["x"] - 0.5})


def test_no_target_is_reached_by_an_infeasible_trial() -> None:
    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        trial.set_constraint("c", 1.0 if trial.number < 5 else 0.0)
        return x

    study = adbo.optimize(objective, 30, storage=None, target=1.0, seed=0)
    assert len(study.trials) == 6
