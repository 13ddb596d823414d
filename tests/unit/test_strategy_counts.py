"""Strategies in summaries and reports, and on the command line; the recommendation."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from labelled_asks import FOREST, LOCAL, label_asks
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState
from trial_strategies import evaluations, origins

import adbo
import adbo.run.rank
from adbo.cli.main import main
from adbo.core.evaluation import to_batch
from adbo.core.history import History
from adbo.core.origins import STRATEGIES, strategy_indices
from adbo.core.strategy_counts import count_strategies, strategies_of
from adbo.optimizer.recommend import recommend
from adbo.optimizer.settings import DEFAULT_SETTINGS, OptimizerSettings, with_strategies
from adbo.report.text import describe_strategies

costs = st.one_of(st.integers(-3, 3), st.floats(allow_nan=True)).map(float)


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)


@given(st.lists(st.tuples(costs, origins), max_size=12))
def test_counts_are_those_of_a_loop(rows: list[tuple[float, int]]) -> None:
    expected = {name: {"asks": 0, "improvements": 0} for name in STRATEGIES}
    best = math.inf
    for cost, origin in rows:
        index = int(strategy_indices(np.array([origin]))[0])
        if index >= 0:
            expected[STRATEGIES[index]]["asks"] += 1
            expected[STRATEGIES[index]]["improvements"] += cost < best
        best = cost if cost < best else best
    expected = {name: count for name, count in expected.items() if count["asks"]}
    cost, origin = (
        (np.array(column) for column in zip(*rows, strict=True))
        if rows
        else (np.empty(0), np.empty(0, dtype=int))
    )
    assert count_strategies(cost, origin) == (expected or None)


@given(st.lists(evaluations(), max_size=8, unique_by=lambda e: (e.rank, e.seq)), st.booleans())
def test_only_complete_evaluations_improve(appended, is_maximized: bool) -> None:
    sign = -1 if is_maximized else 1
    history = History(sign)
    history.extend(map(to_batch, appended))
    complete = [sign * e.value if e.state is TrialState.COMPLETE else math.nan for e in appended]
    codes = np.array([e.origin for e in appended], dtype=int)
    assert strategies_of(history) == count_strategies(np.array(complete), codes)


def test_the_line_of_the_strategies() -> None:
    counts = {
        "forest": {"asks": 22, "improvements": 1},
        "local": {"asks": 61, "improvements": 4},
        "additive": {"asks": 17, "improvements": 0},
    }
    assert describe_strategies(counts) == (
        "local 61% of asks and 80% of improvements, forest 22% and 20%, additive 17% and 0%"
    )
    nothing = {"local": {"asks": 5, "improvements": 0}}
    assert describe_strategies(nothing) == "local 100% of asks and 0% of improvements"


# Runs, simulations and reports


def test_a_run_and_its_report_count_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    label_asks(monkeypatch, [LOCAL, LOCAL, FOREST])
    options = ["run", "sphere:2", "--study-name", "s", "--seed", "1"]
    assert main([*options, "--trials", "12", "--enqueue", _points(2)]) == 0
    assert main([*options, "--trials", "20", "--resume", "--json", "run.json"]) == 0
    out = capsys.readouterr().out
    assert main(["report", "--json", "report.json"]) == 0
    run, report = (json.loads(Path(f"{name}.json").read_text()) for name in ("run", "report"))
    counts = run["strategies"]
    assert counts.keys() == {"local", "forest"}
    assert sum(count["asks"] for count in counts.values()) == 18
    assert sum(count["improvements"] for count in counts.values()) > 0
    assert report["strategies"] == counts
    line = f"strategies:    {describe_strategies(counts)}"
    assert line in out.splitlines()
    assert line in capsys.readouterr().out.splitlines()


def _points(n: int) -> str:
    Path("points.csv").write_text("x0\n" + "".join(f"{5 - i}\n" for i in range(n)))
    return "points.csv"


def test_a_simulation_counts_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    label_asks(monkeypatch)
    options = ["simulate", "sphere:2", "--workers", "4", "--trials", "20", "--json", "s.json"]
    assert main([*options, "--ask-cost", "0"]) == 0
    counts = json.loads(Path("s.json").read_text())["strategies"]
    assert counts.keys() == {"local", "forest"}
    assert sum(count["asks"] for count in counts.values()) == 20
    assert f"strategies:    {describe_strategies(counts)}\n" in capsys.readouterr().out
    assert main([*options, "--ask-cost", "0", "--method", "random"]) == 0
    assert "strategies" not in json.loads(Path("s.json").read_text())
    assert "strategies" not in capsys.readouterr().out


def test_a_study_of_the_sampler_is_counted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    label_asks(monkeypatch)
    sampler = adbo.QUCBSampler(seed=0)
    study = optuna.create_study(storage="sqlite:///adbo.db", study_name="s", sampler=sampler)
    study.optimize(lambda trial: trial.suggest_float("x", -1, 1) ** 2, n_trials=6)
    assert main(["report", "--json", "s.json"]) == 0
    counts = json.loads(Path("s.json").read_text())["strategies"]
    assert {name: count["asks"] for name, count in counts.items()} == {"local": 3, "forest": 2}


# The recommendation


def test_what_is_recommended_if_it_is_not_the_best(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["run", "sphere:1", "--study-name", "s", "--trials", "9", "--seed", "0"]
    monkeypatch.setattr("adbo.run.recommended.recommend", lambda history: (history.best, 0.5))
    assert main([*options, "--json", "run.json"]) == 0
    assert "recommended:" not in capsys.readouterr().out
    monkeypatch.setattr("adbo.run.recommended.recommend", lambda history: (1, 0.125))
    again = [*options, "--resume", "--json", "again.json"]
    for arguments in (again, ["report", "--json", "report.json"]):
        assert main(arguments) == 0
        summary = json.loads(Path(arguments[-1]).read_text())
        assert summary["recommended_value"] == 0.125
        assert summary["recommended_params"] != summary["best_params"]
        x = summary["recommended_params"]["x0"]
        line = f"recommended:   x0={x:.6g}, where the model expects 0.125"
        assert line in capsys.readouterr().out.splitlines()
    first, second = (json.loads(Path(f"{n}.json").read_text()) for n in ("again", "report"))
    assert first["recommended_params"] == second["recommended_params"]


def test_the_optimizer_recommends() -> None:
    optimizer = adbo.Optimizer({"x": FloatDistribution(-5, 5)}, direction="maximize", seed=0)
    with pytest.raises(ValueError, match="no evaluation is complete and feasible yet"):
        optimizer.recommend()
    optimizer.tell({"x": 1.0}, None)
    with pytest.raises(ValueError, match="no evaluation is complete and feasible yet"):
        optimizer.recommend()
    optimizer.tell({"x": 2.0}, 7.0)
    assert optimizer.recommend() == {"x": 2.0}
    assert recommend(optimizer.history) == (1, 7.0)


def test_nothing_is_recommended_where_nothing_is_complete() -> None:
    Path("o.py").write_text("def f(trial):\n    raise ValueError('no mesh')\n")
    assert main(["simulate", "o.py:f", "--workers", "2", "--trials", "4", "--json", "s.json"]) == 1
    assert "recommended_value" not in json.loads(Path("s.json").read_text())


# Some strategies alone


def test_every_name_is_that_of_a_strategy() -> None:
    assert with_strategies(None) == DEFAULT_SETTINGS
    for name in STRATEGIES:
        assert isinstance(with_strategies([name]), OptimizerSettings)
    assert isinstance(with_strategies(STRATEGIES), OptimizerSettings)


@pytest.mark.parametrize("names", [["tree"], ["forest", "tree"], [], "forest"])
@pytest.mark.parametrize(
    "use",
    [
        lambda names: adbo.optimize(_bowl, 1, storage=None, strategies=names),
        lambda names: adbo.Optimizer({}, strategies=names),
        lambda names: adbo.QUCBSampler(strategies=names),
    ],
    ids=["optimize", "Optimizer", "QUCBSampler"],
)
def test_an_unknown_name_lists_the_right_ones(use, names) -> None:
    with pytest.raises(ValueError, match=rf"strateg.* is .*must be.* {', '.join(STRATEGIES)}"):
        use(names)


def _bowl(trial) -> float:
    return trial.suggest_float("x", -1, 1) ** 2


def test_the_names_reach_every_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of an ask are those of the names, in runs, simulations and samplers."""
    asked: list[OptimizerSettings] = []
    propose = adbo.run.rank.propose

    def recording(history, kappa, rng, settings, *more, **options):
        asked.append(settings)
        return propose(history, kappa, rng, DEFAULT_SETTINGS, *more, **options)

    def some(names):
        assert list(names) == ["forest", "local"]
        return chosen

    chosen = replace(DEFAULT_SETTINGS, strategies=object())
    for room in ("run.rank", "optimizer.ask", "optimizer.ask_tell", "sampler"):
        monkeypatch.setattr(f"adbo.{room}.propose", recording)
    for room in ("run.rank", "simulation.simulate", "optimizer.ask_tell", "sampler"):
        monkeypatch.setattr(f"adbo.{room}.with_strategies", some)
    names = ["--strategies", "forest, local"]
    assert main(["run", "sphere:2", "--trials", "3", "--storage", "none", *names]) == 0
    assert main(["simulate", "sphere:2", "--workers", "2", "--trials", "3", *names]) == 0
    adbo.Optimizer({"x": FloatDistribution(0, 1)}, strategies=["forest", "local"]).ask()
    sampler = adbo.QUCBSampler(strategies=["forest", "local"])
    copy = pickle.loads(pickle.dumps(sampler))
    for one in (sampler, copy):
        optuna.create_study(sampler=one).optimize(_bowl, n_trials=2)
    assert len(asked) >= 3 + 3 + 1 + 2
    assert all(settings.strategies is chosen.strategies for settings in asked)
