"""Ask and tell: every kind of space, direction, failure and size of value."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

import adbo
import adbo.optimizer.ask_tell
from adbo.benchmark_functions.problems import parse
from adbo.core.history import History
from adbo.optimizer.ask import propose
from adbo.optimizer.ask_tell import Optimizer
from adbo.optimizer.settings import OptimizerSettings

MIXED = {
    "kind": CategoricalDistribution(["a", "b", None]),
    "layers": IntDistribution(1, 8),
    "width": IntDistribution(1, 4096, log=True),
    "rate": FloatDistribution(1e-6, 1e-1, log=True),
    "dropout": FloatDistribution(0, 0.5, step=0.125),
    "fixed": IntDistribution(3, 3),
}
SQUARE = {"x": FloatDistribution(-5, 5), "y": FloatDistribution(-5, 5)}


def square(params):
    return (params["x"] - 1) ** 2 + (params["y"] + 2) ** 2


def run(optimizer, function, n):
    for _ in range(n):
        params = optimizer.ask()
        optimizer.tell(params, function(params))
    return optimizer


def test_documented_example():
    assert doctest.testmod(adbo.optimizer.ask_tell).failed == 0


class TestOptimizes:
    def test_square(self):
        assert run(Optimizer(SQUARE, seed=0), square, 80).best_value < 0.01

    def test_maximizes(self):
        optimizer = Optimizer(SQUARE, direction="maximize", seed=0)
        run(optimizer, lambda params: 7 - square(params), 80)
        assert 6.99 < optimizer.best_value <= 7
        assert abs(optimizer.best_params["x"] - 1) < 0.2

    def test_batches(self):
        problem = parse("ackley:2")
        optimizer = Optimizer({f"x{i}": FloatDistribution(-32, 32) for i in range(2)}, seed=0)
        for _ in range(10):
            batch = [optimizer.ask() for _ in range(16)]
            X = np.array([list(params.values()) for params in batch])
            optimizer.tell_many(batch, problem.function(X).tolist())
        assert optimizer.best_value < 2

    def test_mixed_space(self):
        def loss(params):
            return (
                {"a": 1.0, "b": 0.0, None: 2.0}[params["kind"]]
                + abs(params["layers"] - 6) / 4
                + abs(math.log10(params["width"] / 300))
                + abs(math.log10(params["rate"]) + 3)
                + abs(params["dropout"] - 0.25)
            )

        best = run(Optimizer(MIXED, seed=1), loss, 200).best_params
        assert best["kind"] == "b"
        assert abs(best["layers"] - 6) <= 1
        assert abs(math.log10(best["rate"]) + 3) < 0.3

    def test_conditional_space(self):
        space = {
            "model": CategoricalDistribution(["tree", "net"]),
            "depth": IntDistribution(1, 30),
            "rate": FloatDistribution(1e-5, 1, log=True),
        }
        optimizer = Optimizer(space, seed=0)
        for _ in range(100):
            params = optimizer.ask()
            if params["model"] == "tree":
                params.pop("rate")
                value = 1 + abs(params["depth"] - 12) / 10
            else:
                params.pop("depth")
                value = abs(math.log10(params["rate"]) + 2)
            optimizer.tell(params, value)
        assert optimizer.best_params.keys() == {"model", "rate"}
        assert optimizer.best_value < 0.05

    def test_leaves_a_failing_region(self):
        optimizer = Optimizer(SQUARE, seed=0)
        failures = []
        for _ in range(150):
            params = optimizer.ask()
            failures.append(params["x"] > 0)
            optimizer.tell(params, None if params["x"] > 0 else square(params))
        assert np.mean(failures[75:]) < 0.45
        assert optimizer.best_value < 1.1

    @pytest.mark.parametrize("first_points", [0, 20])
    def test_a_few_points_are_all_tried(self, first_points):
        settings = OptimizerSettings(initial=first_points)
        space = {"a": CategoricalDistribution(list("xyz")), "n": IntDistribution(0, 3)}
        optimizer = Optimizer(space, seed=0, settings=settings)
        asked = []
        for _ in range(14):
            asked.append(tuple(optimizer.ask().values()))
            optimizer.tell(dict(zip(space, asked[-1], strict=True)), float(asked[-1][1]))
        assert len(set(asked)) == 12

    def test_the_last_point_of_a_finite_space_is_found(self):
        space = {
            "n": IntDistribution(1, 700, log=True),
            "kind": CategoricalDistribution(list("abcdefg")),
        }
        optimizer = Optimizer(space, seed=0)
        values = np.array([[n, kind] for n in range(1, 701) for kind in range(7)], dtype=float)
        optimizer.tell_array(np.delete(values, 3000, axis=0), np.arange(4899.0))
        expected = {"n": values[3000, 0], "kind": "abcdefg"[int(values[3000, 1])]}
        assert [optimizer.ask() for _ in range(3)] == [expected] * 3

    def test_a_value_on_a_grid_is_known_however_it_was_computed(self):
        optimizer = Optimizer({"x": FloatDistribution(0, 1, step=0.1)}, seed=0)
        for x in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.9, 1.0):
            optimizer.tell({"x": x}, x)
        assert optimizer.ask()["x"] == pytest.approx(0.8)

    def test_values_that_differ_more_than_a_float_can_hold(self, recwarn):
        rng = np.random.default_rng(0)
        optimizer = Optimizer(SQUARE, seed=0)
        values = np.where(np.arange(300) == 40, -1.7e308, 1.7e308 * rng.uniform(0.5, 1, 300))
        optimizer.tell_array(rng.uniform(-5, 5, (300, 2)), values)
        for _ in range(40):
            optimizer.ask()
        assert not recwarn.list

    def test_many_optional_parameters_make_no_noise(self, recwarn):
        switches = {f"use{i}": CategoricalDistribution([False, True]) for i in range(8)}
        numbers = {f"x{i}": FloatDistribution(0, 1) for i in range(8)}
        optimizer = Optimizer({**switches, **numbers}, seed=0)
        for _ in range(40):
            params = optimizer.ask()
            for i in range(8):
                if not params[f"use{i}"]:
                    params.pop(f"x{i}", None)
            optimizer.tell(params, sum(params.get(f"x{i}", 0.5) for i in range(8)))
        assert not recwarn.list

    def test_a_kappa_that_is_no_weight_is_refused(self):
        for kappa in (-1.0, math.inf, math.nan):
            with pytest.raises(ValueError, match="kappa is"):
                Optimizer(SQUARE, kappa=kappa)

    def test_arrays_of_another_shape_are_refused(self):
        with pytest.raises(ValueError, match=r"shape \(2,\), not \(5, 2\)"):
            Optimizer(SQUARE).tell_array(np.zeros(2), np.zeros(5))

    def test_no_repeats_in_a_mixed_space(self):
        space = {
            "kind": CategoricalDistribution(list("ab")),
            "n": IntDistribution(0, 2),
            "x": FloatDistribution(0, 1),
        }
        optimizer = run(Optimizer(space, seed=0), lambda params: params["n"] + params["x"], 80)
        values = optimizer.history.values(slice(None))
        assert len({row.tobytes() for row in values}) == 80


class TestAsk:
    def test_seed_determines_the_trajectory(self):
        first, second = (run(Optimizer(MIXED, seed=3), lambda p: p["layers"], 60) for _ in "ab")
        np.testing.assert_array_equal(
            first.history.values(slice(None)), second.history.values(slice(None))
        )

    @settings(max_examples=25, deadline=None)
    @given(
        st.lists(
            st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True)), max_size=12
        ),
        st.sampled_from(["minimize", "maximize"]),
    )
    def test_asks_are_valid_after_any_results(self, values, direction):
        few = OptimizerSettings(initial=3)
        optimizer = Optimizer(MIXED, direction=direction, seed=0, settings=few)
        for value in values:
            optimizer.tell(optimizer.ask(), value)
        params = optimizer.ask()
        assert params.keys() == MIXED.keys()
        for name, distribution in MIXED.items():
            assert distribution._contains(distribution.to_internal_repr(params[name]))

    def test_empty_space(self):
        optimizer = Optimizer({}, seed=0)
        assert optimizer.ask() == {}
        assert propose(History(), 1.0, np.random.default_rng(0)).point.shape == (0,)

    def test_thousands_of_asks_on_one_history_differ(self):
        optimizer = run(Optimizer(SQUARE, seed=0), square, 40)
        points = {tuple(optimizer.ask().values()) for _ in range(256)}
        assert len(points) == 256


class TestTell:
    def test_best(self):
        optimizer = Optimizer(SQUARE, seed=0)
        with pytest.raises(ValueError, match="no evaluation"):
            _ = optimizer.best_value
        optimizer.tell_many([{"x": 1, "y": 2}, {"x": 3, "y": 4}], [5.0, None])
        assert optimizer.best_value == 5
        assert optimizer.best_params == {"x": 1, "y": 2}

    def test_many_equals_one_by_one(self):
        points = [{"x": float(i), "y": -float(i)} for i in range(5)]
        one, many = Optimizer(SQUARE, seed=0), Optimizer(SQUARE, seed=0)
        for params in points:
            one.tell(params, square(params))
        many.tell_many(points, [square(params) for params in points])
        assert one.ask() == many.ask()

    def test_a_pruned_evaluation_counts_by_what_others_had_reported_by_then(self):
        optimizer = Optimizer(SQUARE, seed=0)
        for first, last in ((10.0, 1.0), (20.0, 2.0), (30.0, 3.0)):
            optimizer.tell({"x": last, "y": 0}, last, reports={5: last, 1: first})
        optimizer.tell({"x": 4, "y": 0}, None, reports={1: 20.0}, pruned=True)
        optimizer.tell({"x": 5, "y": 0}, None, pruned=True)
        history = optimizer.history
        assert history.counts[TrialState.COMPLETE] == 3
        assert history.counts[TrialState.PRUNED] == 2
        assert 2 <= history.cost(np.array([3]))[0] <= 3
        assert list(history.evaluation(0).extras.intermediate_values) == [1, 5]
        assert optimizer.best_value == 1
        assert set(optimizer.ask()) == {"x", "y"}

    def test_wrong_use_says_what_is_wrong(self):
        optimizer = Optimizer(SQUARE, seed=0)
        with pytest.raises(ValueError, match="give None"):
            optimizer.tell({"x": 0, "y": 0}, 1.0, pruned=True)
        two = Optimizer(SQUARE, directions=["minimize", "maximize"])
        with pytest.raises(ValueError, match="several objectives"):
            two.tell({"x": 0, "y": 0}, (1, 2), reports={1: 2.0})
        with pytest.raises(ValueError, match="unknown parameter 'z'"):
            optimizer.tell({"z": 1}, 0)
        with pytest.raises(ValueError, match="x = 9"):
            optimizer.tell({"x": 9, "y": 0}, 0)
        with pytest.raises(ValueError, match="1 params but 2 values"):
            optimizer.tell_many([{"x": 0, "y": 0}], [1, 2])
        point = {"x": 0, "y": 0}
        for wrong, message in (
            ({"params": [0, 0]}, "params must be a mapping of names to values, not list"),
            (
                {"constraints": [1.0]},
                "constraints must be a mapping of names to numbers, not list",
            ),
            ({"constraints": {"c": None}}, "constraint 'c' must be a number, not NoneType"),
            ({"reports": [3.0, 2.0]}, "reports must be a mapping of steps to numbers, not list"),
            ({"reports": {1: "2"}}, "the report at step 1 must be a number, not str"),
            ({"params": "x"}, "params must be a mapping of names to values, not str"),
        ):
            with pytest.raises(TypeError, match=message):
                optimizer.tell(**{"params": point, "value": 1.0, **wrong})
        with pytest.raises(ValueError, match="constraint 'c' is NaN: it must be a number"):
            optimizer.tell(point, 1.0, {"c": math.nan})
        for constraints in ([{"c": 1.0}], [{"c": 1.0}] * 3):
            with pytest.raises(ValueError, match=f"2 values but {len(constraints)} constraints"):
                optimizer.tell_array(np.zeros((2, 2)), np.zeros(2), constraints)
            with pytest.raises(ValueError, match=f"2 values but {len(constraints)} constraints"):
                optimizer.tell_many([point] * 2, [1.0, 2.0], constraints)
        assert not len(optimizer.history)
        with pytest.raises(TypeError, match="it must be a distribution"):
            Optimizer({"x": (0, 1)})
        with pytest.raises(OverflowError, match="they must be finite"):
            Optimizer({"x": FloatDistribution(0, math.inf)})
        for step in (0.5, -1, "1", 2**63):
            with pytest.raises(
                ValueError, match=f"step {step!r} of the reports must be an integer"
            ):
                optimizer.tell(point, 1.0, reports={step: 1.0})
        with pytest.raises(ValueError, match="direction"):
            Optimizer(SQUARE, direction="up")
        with pytest.raises(ValueError, match="kappa"):
            Optimizer(SQUARE, kappa=-1)


def test_an_optimum_at_faces_of_the_box_is_approached_as_closely_as_any() -> None:
    space = {f"x{i}": FloatDistribution(-1, 1) for i in range(3)}
    optimizer = Optimizer(space, seed=0)
    best = np.array([-1.0, 1.0, 0.3])  # of the box; the bowl is lowest at (-1.5, 1.5, 0.3)
    for _ in range(200):
        params = optimizer.ask()
        x = np.array(list(params.values()))
        optimizer.tell(params, float(np.sum((x - [-1.5, 1.5, 0.3]) ** 2)))
    np.testing.assert_allclose(list(optimizer.best_params.values()), best, atol=2e-4)
