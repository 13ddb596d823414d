"""The metrics by which optimizers are compared."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture
def comparison(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(EXPERIMENTS)
    return importlib.import_module("comparison")


def _rows(suite: str, regrets: dict[str, dict[str, list[float]]]) -> pd.DataFrame:
    """Return rows of 60 evaluations: method -> problem -> regret after 60 of each seed."""
    found: list[dict[str, Any]] = []
    for method, problems in regrets.items():
        for problem, values in problems.items():
            for seed, value in enumerate(values, start=1):
                row = {"version": "v1", "suite": suite, "problem": problem, "method": method}
                row |= {"workers": 4, "evaluations": 60, "seed": seed, "regret": value}
                row |= {f"regret_{n}": math.nan for n in (100, 150, 200, 300, 500, 1000, 2000)}
                found.append(row | {"regret_50": 2 * value})
    return pd.DataFrame(found)


def _at_the_end(summary: pd.DataFrame) -> dict[str, dict[str, Any]]:
    end = summary[summary["checkpoint"] == 60]
    return {row["method"]: row for row in end.to_dict("records")}


def test_share_of_targets_and_ranks_with_ties(comparison: ModuleType) -> None:
    rows = _rows(
        "bbob",
        {
            "adbo": {"f1:5": [0.0, 1.0]},
            "tpe": {"f1:5": [1e-9, 2e2]},  # 0 and 1e-9 are both below the last target
            "random": {"f1:5": [1e3, 1.0]},
        },
    )
    end = _at_the_end(comparison.summarize(comparison.score(rows)))
    assert end["adbo"]["targets"] == pytest.approx((1 + 11 / 51) / 2)  # 10^2 ... 10^0 of 51
    assert end["tpe"]["targets"] == pytest.approx(1 / 2)
    assert end["random"]["targets"] == pytest.approx(11 / 51 / 2)
    assert [end[m]["rank"] for m in ("adbo", "tpe", "random")] == [1.5, 2.25, 2.25]
    assert [end["tpe"][k] for k in ("wins", "ties", "losses")] == [1, 1, 0]
    assert end["adbo"]["dimension"] == 5


def test_regrets_are_divided_by_the_median_of_random_search(comparison: ModuleType) -> None:
    rows = _rows(
        "real",
        {
            "adbo": {"a": [1.0, -1.0], "b": [0.0, 900.0]},
            "random": {"a": [1.0, 3.0], "b": [0.0, 0.0]},
        },
    )
    end = _at_the_end(comparison.summarize(comparison.score(rows)))
    assert end["adbo"]["regret"] == pytest.approx((1 / 2 + 0 + 0 + 2) / 4)
    assert end["random"]["regret"] == pytest.approx((1 / 2 + 3 / 2) / 4)


def test_the_best_run_is_the_best_known_value_of_a_task(comparison: ModuleType) -> None:
    rows = _rows(
        "tuning",
        {
            "adbo": {"svc": [0.2, 0.1], "protein": [0.2, 0.2]},
            "random": {"svc": [0.4, 0.3], "protein": [0.4, 0.4]},
        },
    )
    end = _at_the_end(comparison.summarize(comparison.score(rows)))
    assert end["adbo"]["regret"] == pytest.approx((0 + 0 + 1 / 2 + 1 / 2) / 4)
    assert end["random"]["regret"] == pytest.approx(1)


def test_only_runs_that_all_methods_have_are_compared(comparison: ModuleType) -> None:
    rows = _rows("bbob", {"adbo": {"f1:5": [1.0, 1.0], "f2:5": [1.0]}, "tpe": {"f1:5": [2.0]}})
    end = _at_the_end(comparison.summarize(comparison.score(rows)))
    assert end["adbo"]["runs"] == end["tpe"]["runs"] == 1
    assert "f2:5" in comparison.report(comparison.score(rows))


def test_runs_on_the_virtual_clock_have_exactly_their_evaluations(
    comparison: ModuleType,
) -> None:
    cases, clock, methods = map(importlib.import_module, ("cases", "virtual_clock", "methods"))
    budget = clock.Budget(workers=7, evaluations=30)
    random = methods.METHODS["random"].run
    regrets = clock.regrets_of(random, cases.make_case("sphere:2", 1), budget, 1)
    assert regrets.shape == (30,)
    assert (np.diff(regrets) <= 0).all()
    with pytest.raises(clock.ConditionalSpace):
        clock.regrets_of(
            methods.METHODS["cobyqa"].run, cases.make_case("conditional", 1), budget, 1
        )


@pytest.mark.parametrize(
    "name", ["adbo", "random", "tpe", "cma", "gp", "turbo", "pycma", "ngopt", "cobyqa", "lq-cma"]
)
def test_every_method_has_its_evaluations_although_some_fail(
    comparison: ModuleType, name: str
) -> None:
    cases, clock, methods = map(importlib.import_module, ("cases", "virtual_clock", "methods"))
    method = methods.METHODS[name]
    if method.missing:
        pytest.skip(f"{', '.join(method.missing)} is not installed")
    case = cases.make_case("failing:sphere:3", 1)
    budget = clock.Budget(workers=1 if method.sequential else 4, evaluations=24)
    regrets = clock.regrets_of(method.run, case, budget, 1)
    assert regrets.shape == (24,)
    assert 0 <= regrets[-1] < math.inf
    assert method.version


def test_a_trial_samples_its_parameters_when_its_evaluation_starts(
    comparison: ModuleType,
) -> None:
    cases, clock = map(importlib.import_module, ("cases", "virtual_clock"))
    events: list[str] = []

    class Recorder:
        def ask(self) -> optuna.trial.BaseTrial:
            events.append("ask")
            return optuna.trial.FixedTrial({"x0": 0.0, "x1": 0.0})

        def tell(self, trial: optuna.trial.BaseTrial, value: float | None) -> None:
            assert trial.params == {"x0": 0.0, "x1": 0.0}
            events.append("tell")

    run = clock.asynchronously(lambda space, seed, budget: Recorder())
    clock.regrets_of(run, cases.make_case("sphere:2", 1), clock.Budget(2, 4), 1)
    assert events == ["ask", "ask", "tell", "ask", "tell", "ask", "tell", "tell"]


def test_all_bbob_functions_are_above_their_optimum(
    comparison: ModuleType,
) -> None:
    pytest.importorskip("cocoex")
    bbob = importlib.import_module("bbob")
    rng = np.random.default_rng(0)
    assert len(bbob.NAMES) == 24
    for name in bbob.NAMES:
        case = bbob.make_case(name, 1)
        points = [dict(zip(case.space, rng.uniform(-5, 5, size=5), strict=True)) for _ in range(9)]
        assert min(case.regret(optuna.trial.FixedTrial(point)) for point in points) > 0
    with pytest.raises(ValueError, match="f1 to f24"):
        bbob.make_case("f25:5", 1)
