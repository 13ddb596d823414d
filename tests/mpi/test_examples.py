"""The examples, as the page of the documentation says how to start them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path
from types import ModuleType

import nbclient
import nbformat
import pytest
from optuna.trial import TrialState
from studies import check_sound, load

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
MAXIMIZE = ["--direction", "maximize", "--seed", "1", "--study-name", "e"]

#: Without those in directories of their own.
FILES = [p.name for p in EXAMPLES.iterdir() if p.suffix in (".py", ".sh", ".ipynb")]


@pytest.mark.parametrize("name", FILES)
def test_an_example_is_short_and_on_the_page(name: str) -> None:
    page = (ROOT / "docs" / "examples.md").read_text()
    assert f"examples/{name}" in page
    if not name.endswith(".ipynb"):
        assert (EXAMPLES / name).read_text().count("\n") < 60
        assert f"```{{literalinclude}} ../examples/{name}\n" in page


@pytest.fixture
def active(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `python` and `mpiexec` be those of the tests, as in an environment that is active."""
    scripts = sysconfig.get_path("scripts")
    monkeypatch.setenv("PATH", f"{scripts}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("DATABASE_URL", raising=False)


def test_conditional_space(adbo, tmp_path: Path) -> None:
    example = f"{EXAMPLES}/conditional.py:objective"
    status, _, err = adbo(2, "run", example, *MAXIMIZE, "--trials", "40")
    assert status == 0, err
    study = load(tmp_path, "e")
    own = {"svm": {"cost", "kernel"}, "neighbours": {"neighbours"}, "trees": {"depth"}}
    own_of_kernel = {"rbf": {"gamma"}, "poly": {"degree"}, None: set()}
    for trial in check_sound(study):
        wanted = own[trial.params["classifier"]] | own_of_kernel[trial.params.get("kernel")]
        assert set(trial.params) == {"classifier"} | wanted
    assert study.best_value > 0.96


def test_two_objectives(adbo, tmp_path: Path) -> None:
    example = f"{EXAMPLES}/truss.py:truss"
    options = ["--seed", "1", "--study-name", "e", "--trials", "60"]
    directions = ["--direction", "minimize"] * 2
    status, _, err = adbo(2, "run", example, *directions, *options)
    assert status == 0, err
    front = load(tmp_path, "e").best_trials
    assert len(front) > 10
    assert all(trial.constraints["stress"] <= 0 for trial in front)


def test_constraints(adbo, tmp_path: Path) -> None:
    example = f"{EXAMPLES}/spring.py:objective"
    options = ["--seed", "1", "--study-name", "e", "--trials", "400"]
    status, _, err = adbo(2, "run", example, "--allowed", "can_be_wound", *options)
    assert status == 0, err
    study = load(tmp_path, "e")
    assert all(t.params["coil"] >= 4 * t.params["wire"] for t in check_sound(study))
    assert max(study.best_trial.constraints.values()) <= 0
    assert study.best_value < 0.0145  # the best known is 0.012665


def test_groups(adbo, tmp_path: Path) -> None:
    example = f"{EXAMPLES}/groups.py:objective"
    options = ["--ranks-per-trial", "2", "--seed", "1", "--study-name", "e", "--trials", "80"]
    status, _, err = adbo(4, "run", example, *options)
    assert status == 0, err
    study = load(tmp_path, "e")
    assert {trial.state for trial in check_sound(study)} == {TrialState.COMPLETE}
    assert study.best_value < 0.01
    assert study.best_params["conductivity"] == pytest.approx(0.3, abs=0.05)


def test_tpe_storage(start_job) -> None:
    status, out, err = start_job(2, str(EXAMPLES / "tpe_storage.py")).end()
    assert status == 0, err
    first, second = out.splitlines()
    assert first.startswith("50 trials, ")
    assert 0 < int(first.split()[2]) < 50
    assert second.startswith("best value 0.")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "best"), [("iris", 0.9), ("xgboost", 0.85)])
def test_tutorials_of_optuna(adbo, tmp_path: Path, name: str, best: float) -> None:
    example = f"{EXAMPLES}/{name}_objective.py:objective"
    status, _, err = adbo(2, "run", example, *MAXIMIZE, "--trials", "8")
    assert status == 0, err
    study = load(tmp_path, "e")
    assert {trial.state for trial in check_sound(study)} == {TrialState.COMPLETE}
    assert study.best_value > best


def test_pytorch_trains_and_is_pruned(adbo, torch: ModuleType, tmp_path: Path) -> None:
    example = f"{EXAMPLES}/pytorch_objective.py:objective"
    status, _, err = adbo(4, "run", example, *MAXIMIZE, "--trials", "40")
    assert status == 0, err
    study = load(tmp_path, "e")
    trials = check_sound(study)
    assert {trial.user_attrs["adbo:rank"] for trial in trials} == {0, 1, 2, 3}
    pruned = [trial for trial in trials if trial.state is TrialState.PRUNED]
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    assert len(pruned) > 10
    assert len(pruned) + len(complete) == len(trials)
    assert {len(trial.intermediate_values) for trial in pruned} <= {1, 3, 9}
    assert {len(trial.intermediate_values) for trial in complete} == {10}
    best = study.best_trial
    assert best.value > 0.9
    assert best.intermediate_values[0] < best.value == best.intermediate_values[9]


@pytest.mark.slow
def test_node_hours(active: None, tmp_path: Path) -> None:
    script = ["sh", str(EXAMPLES / "node_hours.sh")]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in lines[2:6]] == ["2", "32", "128", "512"]
    assert done.stdout.count("best value:") == 2
    assert (tmp_path / "node_hours.json").exists()


@pytest.mark.slow
def test_a_notebook_watches_a_study(active: None, tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "conditional.py", tmp_path)
    notebook = nbformat.read(EXAMPLES / "running_study.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    client = nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3")
    client.resources = {"metadata": {"path": str(tmp_path)}}
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    text = "".join(output.get("text", "") for output in outputs)
    assert "the run is running" in text
    assert "proposed by" in text
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    assert "<svg" in (tmp_path / "watched.html").read_text()
