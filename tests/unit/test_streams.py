"""Results and the command of --on-exit survive streams and files that cannot be written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import optuna
import pytest

OBJECTIVES = """
import shutil, sys

def f(trial):
    return trial.suggest_float("x", -1, 1) ** 2

def closes(trial):
    sys.stdout.close()
    sys.stderr.close()
    return f(trial)

class Tee:
    def write(self, text):
        pass
    def flush(self):
        pass

def replaces(trial):
    sys.stdout, sys.stderr = Tee(), None
    return f(trial)

def removes(trial):
    shutil.rmtree("there", ignore_errors=True)
    return f(trial)

def infinite(trial):
    return f(trial) + float("inf")

def ends(trial):
    import os
    os._exit(0)
"""

RUN = ["run", "--trials", "4", "--study-name", "s", "--on-exit", "touch ran"]
SIMULATE = ["simulate", "--workers", "2", "--trials", "4", "--study-name", "s"]


def _adbo(place: Path, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of adbo in a shell, which redirects its streams."""
    (place / "objectives.py").write_text(OBJECTIVES)
    (place / "there").mkdir()
    words = [sys.executable, "-m", "adbo", *arguments, "--storage", "sqlite:///adbo.db"]
    script = f'set -o pipefail; "$@" {command}'
    return subprocess.run(
        ["bash", "-c", script, "bash", *words], cwd=place, capture_output=True, text=True
    )


def _n_trials(place: Path) -> int:
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{place}/adbo.db")
    return len(study.trials)


@pytest.mark.parametrize(
    ("redirection", "arguments", "status", "line"),
    [
        ("> /dev/full", (), 1, "adbo: cannot write the output: No space left on device"),
        ("| true", (), 0, None),
        (">&-", (), 0, None),
        ("2>&-", (), 0, None),
        ("", ("--json", "/dev/full"), 1, "adbo: cannot write /dev/full: No space left on device"),
    ],
)
@pytest.mark.parametrize("words", [RUN, SIMULATE], ids=["run", "simulate"])
def test_what_was_found_is_kept(
    words: list[str],
    redirection: str,
    arguments: tuple[str, ...],
    status: int,
    line: str | None,
    tmp_path: Path,
) -> None:
    job = _adbo(tmp_path, redirection, *words, "objectives.py:f", *arguments)
    assert job.returncode == status
    assert job.stderr.splitlines() == ([] if line is None else [line])
    assert _n_trials(tmp_path) == 4
    assert (tmp_path / "ran").exists() == (words is RUN)


@pytest.mark.parametrize("objective", ["closes", "replaces", "removes"])
def test_what_an_objective_destroys_is_not_the_end(objective: str, tmp_path: Path) -> None:
    arguments = ["--json", "there/summary.json"] if objective == "removes" else []
    job = _adbo(tmp_path, "", *RUN, f"objectives.py:{objective}", *arguments)
    assert job.returncode == (1 if objective == "removes" else 0)
    assert len(job.stderr.splitlines()) == len(arguments) / 2
    assert _n_trials(tmp_path) == 4
    assert (tmp_path / "ran").exists()


def test_an_infinite_value_is_null_in_json(tmp_path: Path) -> None:
    job = _adbo(tmp_path, "", *RUN, "objectives.py:infinite", "--json", "summary.json")
    assert job.returncode == 0, job.stderr

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    text = (tmp_path / "summary.json").read_text()
    assert json.loads(text, parse_constant=refuse)["best_value"] is None


def test_a_simulated_objective_that_ends_the_process_is_an_error(tmp_path: Path) -> None:
    job = _adbo(tmp_path, "", *SIMULATE, "objectives.py:ends")
    assert job.returncode == 1
    assert job.stderr.startswith("adbo: the simulation vanished: the objective has ended it")
