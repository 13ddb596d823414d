"""Parameters that contradict each other are never proposed."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

import adbo
from adbo.core.allowed import DeadEndError, NotAllowedError, is_allowed
from adbo.core.allowed_draws import draw_next, draw_together
from adbo.optimizer.allowed import allowed_first, allowed_points

TRIANGLE = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}


def _below_the_diagonal(params: Mapping[str, Any]) -> bool:
    return bool(params["x"] + params["y"] <= 1)


def _is_below(point: np.ndarray[Any, np.dtype[np.float64]]) -> bool:
    return bool(point.sum() <= 1)


def _divides(params: Mapping[str, Any]) -> bool:
    return bool(params["d_model"] % params["n_heads"] == 0)


def test_what_asks_for_a_missing_parameter_is_allowed() -> None:
    assert is_allowed(_below_the_diagonal, {"x": 0.9})
    assert not is_allowed(_below_the_diagonal, {"x": 0.9, "y": 0.2})


def _raise(text: str) -> None:
    raise ValueError(text)


def test_other_errors_name_the_function() -> None:
    with pytest.raises(NotAllowedError, match="what is allowed raised ZeroDivisionError"):
        is_allowed(lambda params: 1 / params["x"], {"x": 0})
    with pytest.raises(NotAllowedError, match=r"raised ValueError: invalid literal .* 'a b'$"):
        is_allowed(lambda params: _raise("invalid literal\nof 'a\nb'"), {})


def test_a_parameter_is_drawn_until_it_agrees_with_those_before() -> None:
    rng, unit = np.random.default_rng(0), FloatDistribution(0, 1)
    for _ in range(50):
        assert draw_next(_below_the_diagonal, {"x": 0.95}, "y", unit, rng) <= 0.05
    with pytest.raises(NotAllowedError, match="none of 10,000 random points is allowed"):
        draw_next(lambda params: False, {}, "x", unit, rng)
    with pytest.raises(DeadEndError, match="no value of 'y' is allowed together with those"):
        draw_next(_below_the_diagonal, {"x": 1.5}, "y", unit, rng)


def test_parameters_are_drawn_together() -> None:
    rng = np.random.default_rng(0)
    assert _below_the_diagonal(draw_together(_below_the_diagonal, TRIANGLE, rng))
    with pytest.raises(NotAllowedError, match="none of 10,000 random points is allowed"):
        draw_together(lambda params: False, TRIANGLE, rng)


def _width_first(trial: optuna.Trial) -> float:
    """Suggest a width that often is divisible by none of the heads."""
    width = trial.suggest_int("d_model", 16, 64)
    assert width % trial.suggest_categorical("n_heads", (7, 11, 13)) == 0
    return width + trial.suggest_float("x", 0, 1)


@pytest.mark.parametrize("isolate", [False, True])
def test_a_trial_at_a_dead_end_begins_again(isolate: bool) -> None:
    for seed in range(3):
        study = adbo.optimize(
            _width_first, 12, allowed=_divides, storage=None, seed=seed, isolate=isolate
        )
        assert {t.state.name for t in study.trials} == {"COMPLETE"}
        assert all(_divides(t.params) and len(t.params) == 3 for t in study.trials)


def test_what_is_enqueued_stays_after_a_dead_end() -> None:
    """Most first widths are divisible by no number of heads."""

    def objective(trial: optuna.Trial) -> float:
        return trial.suggest_int("extra", 0, 9**9) + _width_first(trial)

    for seed in range(3):
        study = adbo.optimize(
            objective, 1, allowed=_divides, enqueue=[{"extra": 7}], storage=None, seed=seed
        )
        assert study.trials[0].params["extra"] == 7
        assert _divides(study.trials[0].params)


def test_what_a_dead_end_led_to_is_stored_only_if_the_objective_asks_for_it() -> None:
    """In one branch most first values are a dead end, in the other one there is no y."""

    def objective(trial: optuna.Trial) -> float:
        if trial.suggest_categorical("kind", ("a", "b")) == "b":
            return trial.suggest_float("z", 0, 1)
        return trial.suggest_float("x", 0, 1) + trial.suggest_int("y", 1, 2)

    def allowed(params: Mapping[str, Any]) -> bool:
        return params["kind"] == "b" or params["x"] + params["y"] <= 1.1

    for seed in range(6):
        study = adbo.optimize(objective, 3, allowed=allowed, storage=None, seed=seed)
        for trial in study.trials:
            assert set(trial.params) == (
                {"kind", "x", "y"} if "y" in trial.params else {"kind", "z"}
            )
            assert allowed(trial.params)


def test_ranges_that_depend_on_others_hold_after_a_dead_end() -> None:
    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_int("x", 0, 10)
        y = trial.suggest_int("y", 0, 10 - x)
        assert 0 <= y <= 10 - x
        return x + y + trial.suggest_int("z", 0, 3)

    for seed in range(12):
        study = adbo.optimize(
            objective, 3, allowed=lambda p: p["x"] + p["z"] == 9, storage=None, seed=seed
        )
        assert {t.state.name for t in study.trials} == {"COMPLETE"}
        assert all(t.params["x"] + t.params["z"] == 9 for t in study.trials)


def test_other_parameters_agree_with_what_is_enqueued() -> None:
    """With the first ones drawn, too, before the objective comes to the one that is enqueued."""

    calls = []

    def objective(trial: optuna.Trial) -> float:
        calls.append(trial.number)
        a, b = trial.suggest_int("a", 0, 10), trial.suggest_int("b", 0, 10)
        return a + b + trial.suggest_int("c", 0, 10)

    def allowed(params: Mapping[str, Any]) -> bool:
        return bool(params["a"] + params["b"] == params["c"])

    for seed in range(4):
        calls.clear()
        study = adbo.optimize(
            objective,
            12,
            allowed=allowed,
            enqueue=[{"c": 3}, {"a": 9, "b": 9}],
            seed=seed,
            storage=None,
        )
        contradicting = [t.params for t in study.trials if not allowed(t.params)]
        assert [(p["a"], p["b"]) for p in contradicting] == [(9, 9)]
        assert study.trials[0].params["c"] == 3
        assert len(calls) < 16


def test_a_range_without_an_allowed_value_ends_no_run() -> None:
    """The best trials are next to such a range."""

    def objective(trial: optuna.Trial) -> float:
        n = trial.suggest_int("n", 1, 5)
        return -n - trial.suggest_int("m", n, 5)

    for seed in range(4):
        study = adbo.optimize(
            objective, 30, allowed=lambda p: p["m"] <= 4, storage=None, seed=seed
        )
        assert {t.state.name for t in study.trials} == {"COMPLETE"}
        assert all(t.params["m"] <= 4 for t in study.trials)
        assert study.best_value == -8


def test_an_enqueued_choice_of_another_type_is_the_choice_that_is_meant() -> None:
    def objective(trial: optuna.Trial) -> float:
        return trial.suggest_float("x", 0, 1) + len(trial.suggest_categorical("c", ("1", "2")))

    def allowed(params: Mapping[str, Any]) -> bool:
        return not (params["c"].startswith("1") and params["x"] > 0.1)

    for seed in range(3):
        study = adbo.optimize(
            objective, 6, allowed=allowed, enqueue=[{"c": 1}], storage=None, seed=seed
        )
        assert study.trials[0].params["c"] == "1"
        assert all(allowed(t.params) for t in study.trials)


@pytest.mark.parametrize("width_comes_first", [False, True])
def test_a_parameter_of_one_value_counts(width_comes_first: bool) -> None:
    def objective(trial: optuna.Trial) -> float:
        if width_comes_first:
            trial.suggest_int("d_model", 12, 12)
        heads = trial.suggest_int("n_heads", 1, 12)
        return heads + trial.suggest_int("d_model", 12, 12)

    for seed in range(4):
        study = adbo.optimize(objective, 3, allowed=_divides, storage=None, seed=seed)
        assert all(_divides(t.params) for t in study.trials)


def test_a_value_moved_into_its_range_is_allowed() -> None:
    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        return x + trial.suggest_float("y", 0, 0.1 if x < 0.5 else 1)

    def allowed(params: Mapping[str, Any]) -> bool:
        return bool(params["x"] + params["y"] >= 0.5)

    study = adbo.optimize(objective, 40, allowed=allowed, storage=None, seed=0)
    assert {t.state.name for t in study.trials} == {"COMPLETE"}
    assert all(allowed(t.params) for t in study.trials)


def test_a_sampler_of_optuna_draws_what_agrees_with_its_proposal() -> None:
    def objective(trial: optuna.Trial) -> float:
        y = trial.suggest_float("y", 0, (0.3, 1)[trial.number % 2])
        return y + trial.suggest_float("x", 0, 1)

    def allowed(params: Mapping[str, Any]) -> bool:
        return bool(params["x"] + params["y"] >= 1)

    study = optuna.create_study(sampler=adbo.QUCBSampler(seed=0, allowed=allowed))
    study.optimize(objective, 40)
    assert all(allowed(t.params) for t in study.trials if t.state.name == "COMPLETE")


def test_a_sampler_of_optuna_prunes_a_trial_at_a_dead_end() -> None:
    study = optuna.create_study(sampler=adbo.QUCBSampler(seed=0, allowed=_divides))
    study.optimize(_width_first, 30)
    complete = [t for t in study.trials if t.state.name == "COMPLETE"]
    assert {t.state.name for t in study.trials} == {"COMPLETE", "PRUNED"}
    assert len(complete) > 15
    assert all(_divides(t.params) for t in complete)


def test_failures_before_the_last_parameter() -> None:
    """What failed early seems to be a branch without the parameters that were not suggested."""

    def objective(trial: optuna.Trial) -> float:
        width = trial.suggest_int("d_model", 8, 32)
        if width % 2:
            raise RuntimeError("odd")
        assert width % trial.suggest_categorical("n_heads", (1, 2, 3, 4, 5, 6)) == 0
        return width

    for seed in range(3):
        study = adbo.optimize(objective, 40, allowed=_divides, storage=None, seed=seed)
        reasons = {t.user_attrs.get("adbo:fail_reason") for t in study.trials}
        assert reasons <= {None, "RuntimeError: odd"}
        assert study.best_value == 8


def test_a_dead_end_without_a_way_out_ends_the_run() -> None:
    with pytest.raises(ValueError, match="none of 10,000 random points is allowed"):
        adbo.optimize(_width_first, 5, allowed=lambda p: p["n_heads"] == 1, storage=None)


@given(st.integers(0, 2**32 - 1))
def test_a_point_moves_to_the_boundary(seed: int) -> None:
    rng = np.random.default_rng(seed)
    known, points = rng.random((30, 3)) / 3, 1 / 3 + rng.random((40, 3))
    moved = allowed_points(points, known, _is_below, lambda points: points)
    assert len(moved) == 8
    assert (moved.sum(axis=1) <= 1).all()
    assert (moved.sum(axis=1) > 1 - 0.01).all()


@given(st.integers(0, 2**32 - 1), st.integers(0, 100))
def test_allowed_points_come_first(seed: int, n: int) -> None:
    points = np.random.default_rng(seed).random((n, 3))
    ordered = allowed_first(points, _is_below)
    np.testing.assert_array_equal(np.sort(ordered, axis=0), np.sort(points, axis=0))
    of_first = points[:64][points[:64].sum(axis=1) <= 1][:8]
    np.testing.assert_array_equal(ordered[: len(of_first)], of_first)
    kept = allowed_points(points, points[:0], _is_below, lambda points: points)
    np.testing.assert_array_equal(kept, of_first)


def test_points_stay_on_the_grid_and_need_an_allowed_neighbour() -> None:
    snap = lambda points: np.round(points * 10) / 10  # noqa: E731 - as Geometry has it
    beyond = np.array([[0.9, 0.9]])
    moved = allowed_points(beyond, np.array([[0.1, 0.2]]), _is_below, snap)
    np.testing.assert_array_equal(moved, snap(moved))
    assert moved.sum() <= 1
    assert not len(allowed_points(beyond, np.array([[0.8, 0.8]]), _is_below, snap))


@pytest.mark.parametrize("weights", [(1, 1), (1, 9)], ids=["round", "oblong"])
def test_the_best_point_is_on_the_boundary(weights: tuple[int, int]) -> None:
    """Towards the minimum of the model leads straight out; only the boundary leads to the best."""
    a, b = weights
    best = 0.36 * a * b / (a + b)  # of a (x - 0.8)^2 + b (y - 0.8)^2 where x + y = 1
    tested = []

    def allowed(params: Mapping[str, Any]) -> bool:
        tested.append(params)
        return _below_the_diagonal(params)

    excess = []
    for seed in range(5):
        optimizer = adbo.Optimizer(TRIANGLE, seed=seed, allowed=allowed)
        for _ in range(60):
            params = optimizer.ask()
            assert _below_the_diagonal(params)
            x, y = params["x"], params["y"]
            optimizer.tell(params, a * (x - 0.8) ** 2 + b * (y - 0.8) ** 2)
        excess.append(optimizer.best_value / best - 1)
    assert np.median(excess) < 2e-3
    assert len(tested) < 5 * 60 * 600


@pytest.mark.parametrize("n", [30, 72])
def test_grids_and_branches(n: int) -> None:
    """Also when all that is allowed has been evaluated: it is 66 points."""

    def objective(trial: optuna.Trial) -> float:
        d_model = trial.suggest_int("d_model", 8, 32)
        n_heads = trial.suggest_categorical("n_heads", (1, 2, 3, 4, 5, 6))
        assert d_model % n_heads == 0
        if n_heads == 2:
            return d_model - trial.suggest_int("only_with_two", 0, 3)
        return d_model

    study = adbo.optimize(objective, n, allowed=_divides, storage=None, seed=1)
    assert {t.state.name for t in study.trials} == {"COMPLETE"}
    assert study.best_value == 5


def test_what_is_enqueued_is_evaluated_all_the_same() -> None:
    study = adbo.optimize(
        lambda trial: trial.suggest_float("x", 0, 1) + trial.suggest_float("y", 0, 1),
        20,
        allowed=_below_the_diagonal,
        enqueue=[{"x": 1.0, "y": 1.0}],
        storage=None,
    )
    assert [t.value for t in study.trials if t.value > 1] == [2.0]


def test_a_sampler_of_optuna() -> None:
    def objective(trial: optuna.Trial) -> float:
        return trial.suggest_float("x", 0, 1) * trial.suggest_float("y", 0, 1)

    study = optuna.create_study(sampler=adbo.QUCBSampler(seed=0, allowed=_below_the_diagonal))
    study.optimize(objective, 40)
    assert all(_below_the_diagonal(t.params) for t in study.trials)


def test_a_space_of_one_allowed_point() -> None:
    space = {"a": IntDistribution(0, 9), "b": CategoricalDistribution(("u", "v"))}
    optimizer = adbo.Optimizer(space, seed=0, allowed=lambda p: p["a"] == 7 and p["b"] == "v")
    for _ in range(6):
        params = optimizer.ask()
        assert params == {"a": 7, "b": "v"}
        optimizer.tell(params, 1.0)


def test_nothing_is_allowed() -> None:
    optimizer = adbo.Optimizer(TRIANGLE, seed=0, allowed=lambda params: False)
    with pytest.raises(ValueError, match="none of 10,000 random points is allowed"):
        optimizer.ask()


OBJECTIVE = """
def objective(trial):
    x = trial.suggest_float("x", 0, 1)
    y = trial.suggest_float("y", 0, 1)
    if x + y > 1:
        raise RuntimeError("not allowed")
    return x * y

def fits(params):
    return params["x"] + params["y"] <= 1

def nothing(params):
    return False

def leaves(params):
    raise SystemExit(3)

def breaks(params):
    return params["x"] + params["y"] <= limit
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "plan.py").write_text(OBJECTIVE)
    return tmp_path


def _run(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "adbo", "run", "plan.py:objective", *words, "--storage", "none"],
        cwd=place,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


@pytest.mark.parametrize("more", [(), ("--isolate",)])
def test_the_command_line(place: Path, more: tuple[str, ...]) -> None:
    run = _run(place, "--allowed", "fits", "--trials", "30", *more)
    assert run.returncode == 0, run.stderr
    assert " 0 failed" in run.stdout


@pytest.mark.parametrize("more", [(), ("--isolate",)])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "none of 10,000 random points is allowed"),
        ("breaks", "the function that says what is allowed raised NameError"),
        ("leaves", "the function that says what is allowed raised SystemExit: 3"),
        ("missing", "plan.py has no function 'missing'"),
    ],
)
def test_mistakes_end_the_run_with_one_line(
    place: Path, name: str, message: str, more: tuple[str, ...]
) -> None:
    run = _run(place, "--allowed", name, "--trials", "60", *more)
    assert run.returncode == 2
    assert message in run.stderr
    assert "Traceback" not in run.stderr
    assert "--study-name" not in run.stderr  # another study would not help


def test_a_test_function_has_no_function_beside_it(place: Path) -> None:
    words = ["run", "ackley", "--allowed", "fits", "--trials", "3"]
    run = subprocess.run(
        [sys.executable, "-m", "adbo", *words], cwd=place, capture_output=True, text=True
    )
    assert run.returncode == 2
    assert run.stderr.count("\n") <= 2
    assert "--allowed fits needs an objective that is a function in Python" in run.stderr


def test_proposals_are_the_same_as_without_where_all_is_allowed() -> None:
    proposed = []
    for allowed in (None, lambda params: True):
        optimizer = adbo.Optimizer(TRIANGLE, seed=3, allowed=allowed)
        points = []
        for _ in range(40):
            params = optimizer.ask()
            points.append(params)
            optimizer.tell(params, params["x"] + params["y"])
        proposed.append(points)
    assert all(a == b for a, b in itertools.zip_longest(*proposed))
