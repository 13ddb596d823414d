"""The tuning tasks with several objectives count sizes and costs, and do not depend on chance."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import optuna
import pytest

SMALLEST = {
    "forest": {
        **{"n_estimators": 1, "criterion": "gini", "max_leaf_nodes": 2, "max_features": 1.0},
        **{"min_samples_leaf": 1, "ccp_alpha": 1e-5, "bootstrap": False, "max_samples": 1.0},
    },
    "perceptron": {
        **{"features": 1, "layers": 1, "units0": 1, "units1": 1, "activation": "relu"},
        **{"alpha": 1.0, "max_iter": 20},
    },
}


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "experiments")
    return importlib.import_module("several")


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("forest", [3, 2]),  # a root with two leaves; each sample visits the root and a leaf
        ("perceptron", [4]),  # two weights and two intercepts
    ],
)
def test_sizes_are_counted(several: ModuleType, name: str, counts: list[int]) -> None:
    task = several.TUNING[name]
    (error, *sizes), constraints = task.evaluate(several.point_of(task, SMALLEST[name]))
    assert sizes == pytest.approx([math.log10(count) for count in counts])
    assert 0.4 < error < 1
    assert constraints == []


@pytest.mark.parametrize("name", ["forest", "perceptron"])
def test_random_models(several: ModuleType, name: str) -> None:
    task = several.TUNING[name]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    params = [study.ask(dict(task.space)).params for _ in range(15)]
    outcomes = [task.evaluate(several.point_of(task, of_one)) for of_one in params]
    again = task.evaluate(several.point_of(task, params[-1]))
    assert again == outcomes[-1]
    values = np.array([of_one for of_one, _ in outcomes])
    assert (values >= 0).all()
    assert (values[:, 0] <= 10).all()
    assert len(np.unique(values, axis=0)) > 12
    assert 0.1 < several.score(task, outcomes) < 1


def test_all_methods_propose_choices(several: ModuleType) -> None:
    task = several.TUNING["perceptron"]
    for method in ("adbo", "tpe", "nsga2"):
        searcher = several.make_searcher(method, task, 2, 0)
        outcomes = several.run(task, searcher, 2, 12)
        assert len(outcomes) == 12


def test_limits_of_the_objectives_are_constraints(several: ModuleType) -> None:
    seen = several.seen_by("tpe-limits", several.TUNING["perceptron"])
    assert seen(np.zeros(7), ([1.5, 2.0], [])) == ([1.5, 2.0], [0.5, -1.0])
