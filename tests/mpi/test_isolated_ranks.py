"""Isolated evaluations on real ranks: the run is complete, whatever an evaluation does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from shared import few_more
from studies import check_sound, load

OBJECTIVE = """
import ctypes, os, time
from adbo.core.launcher_environment import without_launcher

def objective(trial):
    x = trial.suggest_float("x", -5, 5)
    trial.set_user_attr("launcher", sorted({*os.environ} - {*without_launcher(os.environ)}))
    trial.set_user_attr("threads", os.environ.get("OMP_NUM_THREADS"))
    kind = trial.number % 10
    if kind == 3:
        os.kill(os.getpid(), 9)
    if kind == 4:
        ctypes.string_at(0)
    if kind == 5:
        ctypes.PyDLL(None).sleep(600)  # holds the interpreter's lock, as a loop in C does
    time.sleep(0.02)
    return x * x
"""

REASONS = {
    "the process of the evaluation was killed by SIGKILL: perhaps the memory was exhausted",
    "the process of the evaluation was killed by SIGSEGV",
    "no result after 2 s",
}


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_whose_evaluations_die(adbo, launcher, ranks: int, tmp_path: Path) -> None:
    (tmp_path / "dies.py").write_text(OBJECTIVE)
    options = ["--trial-timeout", "2", "--trials", "40", "--study-name", "s", "--json", "s.json"]
    status, _, err = adbo(ranks, "run", "dies.py:objective", *options, launcher=launcher)
    assert status == 0, err
    assert "Traceback" not in err
    trials = check_sound(load(tmp_path, "s"))
    assert len(trials) in few_more(40, ranks)
    reasons = {trial.user_attrs.get("adbo:fail_reason") for trial in trials}
    assert reasons == {None, *REASONS}
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    assert all(trial.user_attrs["launcher"] == [] for trial in complete)
    assert all(trial.user_attrs["threads"] == "1" for trial in complete)
    assert json.loads((tmp_path / "s.json").read_text())["n_ranks"] == ranks


def test_all_ranks_hear_that_the_objective_cannot_be_loaded(adbo, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import os\nos._exit(0)\n")
    status, out, err = adbo(2, "run", "broken.py:objective", "--isolate")
    assert status == 2
    assert out == ""
    assert err == (
        "adbo: cannot import the objective: the evaluation ended its process with exit status 0\n"
    )


HOLDS_THE_LOCK = """
import ctypes, time

def objective(trial):
    if trial.number % 2 == 0:
        time.sleep(0.02)
        return trial.suggest_float("x", 0, 1)
    before = trial.storage.get_n_trials(trial.study._study_id)
    ctypes.PyDLL(None).sleep(3)
    after = trial.storage.get_n_trials(trial.study._study_id)
    trial.set_user_attr("heard", after - before)
    return trial.suggest_float("x", 0, 1)
"""


def test_messages_flow_while_an_objective_holds_the_interpreters_lock(
    adbo, tmp_path: Path
) -> None:
    (tmp_path / "holds.py").write_text(HOLDS_THE_LOCK)
    options = ["--isolate", "--timeout", "8", "--study-name", "s"]
    status, _, err = adbo(2, "run", "holds.py:objective", *options)
    assert status == 0, err
    heard = [t.user_attrs["heard"] for t in load(tmp_path, "s").trials if "heard" in t.user_attrs]
    assert heard
    assert min(heard) >= 3
