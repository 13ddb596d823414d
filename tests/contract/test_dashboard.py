"""Looking at a running study: optuna-dashboard in a browser, Optuna's plots."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from servers import free_port

import adbo

SLOW = """
import time

def objective(trial):
    x = trial.suggest_float("x", -5, 5)
    time.sleep(0.05)
    return x * x + 1
"""


@pytest.fixture
def running_study(tmp_path: Path) -> Iterator[optuna.Study]:
    """Return a study that another process is running."""
    (tmp_path / "slow.py").write_text(SLOW)
    job = subprocess.Popen(
        [
            *(sys.executable, "-m", "adbo", "run", "slow.py:objective"),
            *("--study-name", "watched study", "--timeout", "300"),
        ],
        cwd=tmp_path,
    )
    study = _wait_for(lambda: _load(tmp_path))
    _wait_for(lambda: len(study.trials) >= 10)
    yield study
    assert job.poll() is None, "it must run while it is watched"
    job.send_signal(signal.SIGTERM)
    assert job.wait(60) == 130


def _load(path: Path) -> optuna.Study:
    assert (path / "adbo.db").exists()  # otherwise loading would create it
    return optuna.load_study(study_name="watched study", storage=f"sqlite:///{path}/adbo.db")


def _wait_for(look: Callable[[], object]) -> object:
    """Return the first true result; ignore errors for a minute."""
    deadline = time.monotonic() + 60
    while True:
        try:
            if found := look():
                return found
        except Exception:
            if time.monotonic() > deadline:
                raise
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def dashboard(running_study: optuna.Study, tmp_path: Path) -> Iterator[str]:
    """Start a dashboard; return the address of the study in it."""
    port = free_port()
    arguments = ["--port", str(port), "--server", "wsgiref", f"sqlite:///{tmp_path}/adbo.db"]
    server = subprocess.Popen(
        [sys.executable, "-c", "from optuna_dashboard._cli import main; main()", *arguments]
    )
    address = f"http://127.0.0.1:{port}"
    _wait_for(lambda: urllib.request.urlopen(f"{address}/api/studies").read())
    yield f"{address}/dashboard/studies/{running_study._study_id}"
    server.kill()
    server.wait()


def test_the_dashboard_of_a_running_study(
    running_study: optuna.Study, dashboard: str, read_page: Callable[[str], str]
) -> None:
    def n_shown() -> int:
        found = re.search(r"(\d+) Trials", read_page(f"{dashboard}/trials"))
        assert found is not None
        return int(found[1])

    before = len(running_study.trials)
    n_trials = n_shown()
    assert before <= n_trials <= len(running_study.trials)
    page = read_page(dashboard)
    assert "watched study" in page
    best = re.search(r"Best Trial \(number=(\d+)\) (\S+) Params = \[x: (\S+)\]", page)
    assert best is not None, page
    number, value, x = int(best[1]), float(best[2]), float(best[3])
    assert running_study.trials[number].value == pytest.approx(value)
    assert running_study.trials[number].params == {"x": pytest.approx(x)}
    assert value <= min(t.value for t in running_study.trials[:before])
    _wait_for(lambda: len(running_study.trials) > n_trials + 10)
    _wait_for(lambda: n_shown() > n_trials)  # the dashboard caches for a while


def _objective(trial: optuna.trial.BaseTrial) -> float:
    x = trial.suggest_float("x", -5, 5)
    n = trial.suggest_int("n", 1, 64, log=True)
    kind = trial.suggest_categorical("kind", ["a", "b"])
    y = trial.suggest_float("y", 0, 1) if kind == "b" else 0.5
    trial.report(x, 1)
    if trial.number % 10 == 8:
        raise optuna.TrialPruned
    if trial.number % 10 == 9:
        raise ArithmeticError("too small")
    return x**2 + n / 8 + y


def test_the_plots_of_optuna(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    adbo.optimize(_objective, 80, storage=url, study_name="s", seed=1)
    study = optuna.load_study(study_name="s", storage=url)
    counts = {state: sum(t.state == state for t in study.trials) for state in TrialState}
    assert min(counts[s] for s in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)) > 0
    n_complete = counts[TrialState.COMPLETE]
    plots = optuna.visualization
    values, best, *_ = plots.plot_optimization_history(study).data
    assert sorted(values.y) == sorted(t.value for t in study.trials if t.state.name == "COMPLETE")
    assert min(best.y) == best.y[-1] == study.best_value
    (importances,) = plots.plot_param_importances(study).data
    assert set(importances.y) == {"x", "n", "kind", "y"}
    assert sum(importances.x) == pytest.approx(1)
    points = {len(t.x) for t in plots.plot_slice(study, params=["x", "n", "kind"]).data}
    assert points == {n_complete}
    lines = plots.plot_parallel_coordinate(study, params=["x", "n", "kind"]).data
    assert sum(t.y is not None and len(t.y) == 4 for t in lines) == n_complete
    assert any(t.type == "contour" for t in plots.plot_contour(study, ["x", "n"]).data)
    bars = {t.name: len(t.y) for t in plots.plot_timeline(study).data}
    assert bars == {state.name: count for state, count in counts.items() if count}
    assert {t.x for t in plots.plot_intermediate_values(study).data} == {(1,)}
